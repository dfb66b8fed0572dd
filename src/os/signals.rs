//! The signals that a daemon heeds: those that end it at once, and those that it obeys when it can, which are to read its
//! configuration again and to end after the jobs that run.

#![allow(unsafe_code)] // sigaction and eventfd are only to be had from libc.

use super::sys::check;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

/// The signals that end a daemon, with their names.
const FINAL_SIGNALS: [(libc::c_int, &str); 5] = [
    (libc::SIGTERM, "SIGTERM"),
    (libc::SIGINT, "SIGINT"),
    (libc::SIGHUP, "SIGHUP"),
    (libc::SIGQUIT, "SIGQUIT"),
    (libc::SIGALRM, "SIGALRM"),
];

/// The signal that asks for an end.
pub const TERM: i32 = libc::SIGTERM;

/// The signal that ends us at once, 0 as long as none has come.
static CAUGHT: AtomicI32 = AtomicI32::new(0);

/// What the handlers write to, so that whoever polls [`FinalSignals`] or [`Wishes`] wakes up.
static WAKE: AtomicI32 = AtomicI32::new(-1);
static WISHED: AtomicI32 = AtomicI32::new(-1);

/// The signal that asked for an end after the jobs that run, 0 as long as none has.
static LEAVE: AtomicI32 = AtomicI32::new(0);

/// Whether the configuration is to be read again.
static REREAD: AtomicBool = AtomicBool::new(false);

/// The final signals, noted instead of obeyed. Readable (nobody needs to read it) once we shall end at once.
#[derive(Debug)]
pub struct FinalSignals(pub OwnedFd);

/// What is wished of a daemon that serves many. Readable when there is something new to [`Wishes::take`].
#[derive(Debug)]
pub struct Wishes(OwnedFd);

/// A wish.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    /// To read the configuration again.
    Reread,
    /// To end after the jobs that run; with the signal that asked for it.
    Leave(i32),
}

/// Catches the final signals; to be called once in a process. They are not blocked, as children would inherit that;
/// handlers they don't inherit. One that is ignored when we start is caught, too.
pub fn catch_final_signals() -> io::Result<FinalSignals> {
    let fd = wake_up(&WAKE)?;
    for (signal, _) in FINAL_SIGNALS {
        catch(signal, on_final_signal)?;
    }
    Ok(FinalSignals(fd))
}

/// From here on SIGTERM and SIGALRM ask for an end after the jobs that run, and end us at once when they come a second time.
/// With `rereads` SIGHUP asks for the configuration to be read again. To be called once, after [`catch_final_signals`].
pub fn catch_wishes(rereads: bool) -> io::Result<Wishes> {
    let fd = wake_up(&WISHED)?;
    catch(libc::SIGTERM, on_wish)?;
    catch(libc::SIGALRM, on_wish)?;
    if rereads {
        catch(libc::SIGHUP, on_wish)?;
    }
    Ok(Wishes(fd))
}

/// A descriptor that handlers make readable.
fn wake_up(at: &AtomicI32) -> io::Result<OwnedFd> {
    // SAFETY: a plain system call; the descriptor is new and ours alone.
    let fd = unsafe {
        let fd = check(libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK))?;
        OwnedFd::from_raw_fd(fd)
    };
    at.store(fd.as_raw_fd(), Ordering::Relaxed);
    Ok(fd)
}

fn catch(signal: libc::c_int, handler: extern "C" fn(libc::c_int)) -> io::Result<()> {
    // SAFETY: the structure is plain data; both handlers only do what is allowed in a signal handler.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        check(libc::sigaction(signal, &action, std::ptr::null_mut())).map(drop)
    }
}

extern "C" fn on_final_signal(signal: libc::c_int) {
    CAUGHT.store(signal, Ordering::Relaxed);
    wake(&WAKE);
}

extern "C" fn on_wish(signal: libc::c_int) {
    if signal == libc::SIGHUP {
        REREAD.store(true, Ordering::Relaxed);
    } else if LEAVE.swap(signal, Ordering::Relaxed) != 0 {
        return on_final_signal(signal);
    }
    wake(&WISHED);
}

fn wake(at: &AtomicI32) {
    let one: u64 = 1;
    // SAFETY: write is async-signal-safe; errno, which it may change, is put back.
    unsafe {
        let errno = *libc::__errno_location();
        let wake = at.load(Ordering::Relaxed);
        libc::write(wake, (&raw const one).cast(), size_of::<u64>());
        *libc::__errno_location() = errno;
    }
}

/// Whether a signal ends a daemon, unless it asks for something else.
pub fn is_final(signal: i32) -> bool {
    FINAL_SIGNALS.iter().any(|(number, _)| *number == signal)
}

/// A signal's name.
pub fn name(signal: i32) -> &'static str {
    let known = FINAL_SIGNALS.iter().find(|(number, _)| *number == signal);
    known.map_or("a signal", |(_, name)| name)
}

impl FinalSignals {
    /// The signal that ends us at once, if one did come.
    pub fn caught(&self) -> Option<i32> {
        match CAUGHT.load(Ordering::Relaxed) {
            0 => None,
            signal => Some(signal),
        }
    }

    /// Ends all that is still at work, as if `signal` had come to that purpose.
    pub fn end_at_once(&self, signal: i32) {
        on_final_signal(signal);
    }
}

impl Wishes {
    /// What is wished and was not told yet.
    pub fn take(&self) -> Vec<Wish> {
        let mut count = 0_u64;
        // SAFETY: the counter has eight bytes. That there is nothing to read is no fault.
        unsafe {
            libc::read(
                self.0.as_raw_fd(),
                (&raw mut count).cast(),
                size_of::<u64>(),
            )
        };
        let mut wishes = Vec::new();
        if REREAD.swap(false, Ordering::Relaxed) {
            wishes.push(Wish::Reread);
        }
        match LEAVE.load(Ordering::Relaxed) {
            0 => {}
            signal => wishes.push(Wish::Leave(signal)),
        }
        wishes
    }
}

impl AsFd for Wishes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Ends this process by `signal`, so that whoever waits for us sees why.
pub fn end_by(signal: i32) -> ! {
    // SAFETY: these calls touch no memory; the signal is not blocked.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
    std::process::exit(128 + signal)
}
