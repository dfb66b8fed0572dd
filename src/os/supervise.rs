//! For a program that runs another one and has to tidy up after it: final signals are noted and passed on instead of
//! obeyed, and the program ends by them once it has tidied up. Not for the client, which `cleanup` serves.

#![allow(unsafe_code)] // Signal handlers, kill and raise are only to be had from libc.

use super::sys::{catch_final_signals, check};
use std::io;
use std::os::fd::BorrowedFd;
use std::process::Child;
use std::sync::atomic::{AtomicI32, Ordering};

static NOTED: AtomicI32 = AtomicI32::new(0);
static CHILD: AtomicI32 = AtomicI32::new(0);

/// What the handler writes to, so that whoever waits for [`coming`] wakes up.
static WAKE: AtomicI32 = AtomicI32::new(-1);

/// From here on final signals no longer end this program. One that is ignored when we start (`nohup`) stays ignored.
pub fn note_final_signals() -> io::Result<()> {
    if WAKE.load(Ordering::Relaxed) < 0 {
        // SAFETY: plain system call; the descriptor stays open to the end.
        let fd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        WAKE.store(fd, Ordering::Relaxed);
    }
    let flags = libc::SA_SIGINFO | libc::SA_RESTART;
    // SAFETY: the handler takes what SA_SIGINFO gives, and does only what is allowed in a signal handler.
    unsafe { catch_final_signals(on_final_signal as *const (), flags) }
}

/// Notes the signal. One that the terminal sent has reached the child as well; one that came from elsewhere has not.
extern "C" fn on_final_signal(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    _context: *mut libc::c_void,
) {
    NOTED.store(signal, Ordering::Relaxed);
    let child = CHILD.load(Ordering::Relaxed);
    let one: u64 = 1;
    // SAFETY: the kernel hands in a valid record; kill is async-signal-safe, and the child is not reaped while it
    // stands in CHILD. errno, which the calls may change, is put back.
    unsafe {
        let errno = *libc::__errno_location();
        if child != 0 && (*info).si_code != libc::SI_KERNEL {
            libc::kill(child, signal);
        }
        let wake = WAKE.load(Ordering::Relaxed);
        libc::write(wake, (&raw const one).cast(), size_of::<u64>());
        *libc::__errno_location() = errno;
    }
}

/// The last final signal that came, if any did.
pub fn noted() -> Option<i32> {
    match NOTED.load(Ordering::Relaxed) {
        0 => None,
        signal => Some(signal),
    }
}

/// Readable, for good, once a final signal has come; nothing before [`note_final_signals`].
pub fn coming() -> Option<BorrowedFd<'static>> {
    let fd = WAKE.load(Ordering::Relaxed);
    // SAFETY: the descriptor is ours and is never closed.
    (fd >= 0).then(|| unsafe { BorrowedFd::borrow_raw(fd) })
}

/// Passes signals on for as long as it lives; see [`pass_signals_to`].
#[derive(Debug)]
pub struct Passing(());

/// Passes final signals on to `child`, which is in our process group. Drop the guard when the child has been waited
/// for.
pub fn pass_signals_to(child: &Child) -> Passing {
    CHILD.store(child.id() as i32, Ordering::Relaxed);
    if let Some(signal) = noted() {
        send(child, signal);
    }
    Passing(())
}

impl Drop for Passing {
    fn drop(&mut self) {
        CHILD.store(0, Ordering::Relaxed);
    }
}

/// Asks a child that has not been waited for to end.
pub fn terminate(child: &Child) {
    send(child, libc::SIGTERM);
}

fn send(child: &Child, signal: libc::c_int) {
    // SAFETY: the child is ours and not reaped, so that its number is nobody else's. That it may have ended is no fault.
    unsafe { libc::kill(child.id() as i32, signal) };
}

/// Ends this program as `signal` would have ended it. Returns only if that signal ends nothing.
pub fn end_by(signal: i32) {
    // SAFETY: both calls take any number and only fail for one that is no signal.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}
