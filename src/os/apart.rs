//! A process that stays behind for another: it forks, and ends as its child has ended. So somebody answers for a program, and
//! takes all of it along when its own parent dies; in a process namespace the first process does that for one program after
//! the other.

#![allow(unsafe_code)] // fork, clone, waitpid and signal handlers are only to be had from libc.

use super::liveness;
use super::net::{wait_any, Event};
use super::process::process_descriptor;
use super::sys::{check, check_uninterrupted};
use crate::model::wait_status::WaitStatus;
use memmap2::MmapOptions;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// How soon it is looked for the first time how many processes there are, and how long it may be until the next time.
const FIRST_LOOK: Duration = Duration::from_millis(100);
const LOOKS_APART: Duration = Duration::from_secs(1);

/// A child that we wait for.
#[derive(Debug)]
pub struct Child(u32);

/// What a child does unless it becomes another program: ends with this status.
pub type Work<'w> = &'w mut dyn FnMut() -> u8;

/// Starts a child of this process, which has a single thread. If the parent goes, in whatever way, the child does.
pub fn start(work: Work) -> io::Result<Child> {
    lend_to_child(work).map(Child)
}

/// The same with memory of its own: a child that lives on beside us. In a process namespace that our children are to have it
/// is the first, and the end of all others when it ends.
pub fn start_beside(work: Work) -> io::Result<Child> {
    match fork()? {
        Some(child) => Ok(Child(child)),
        None => end(work().into()),
    }
}

/// Addresses for the stack of a child; of the memory behind them it takes what it uses.
const STACK_BYTES: usize = 1 << 20;

/// Starts a child that has the use of our memory, while we stand still, until it ends or becomes another program: so nothing
/// of it has to be copied.
fn lend_to_child(mut work: Work) -> io::Result<u32> {
    extern "C" fn run(work: *mut libc::c_void) -> libc::c_int {
        // SAFETY: it is the pointer that was given along, to what lives until we have ended; prctl touches no memory.
        let work = unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
            &mut *work.cast::<Work>()
        };
        work().into()
    }
    let mut stack = MmapOptions::new().len(STACK_BYTES).stack().map_anon()?;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the stack grows down from its end, which is at the end of a page, and nobody else uses it. This process stands
    // still while the child runs, and has no other thread, so that nothing is used by two at once.
    let child = unsafe {
        let top = stack.as_mut_ptr().add(STACK_BYTES).cast();
        check(libc::clone(run, top, flags, (&raw mut work).cast()))?
    };
    Ok(child as u32)
}

/// In the first process of a process namespace: waits for a child, and for all that lose their parents meanwhile; then ends
/// all that are left in the namespace, and waits for these, too.
pub fn outlive(child: Child) -> io::Result<WaitStatus> {
    let mut status = 0;
    // SAFETY: writes the status.
    let mut next = || check_uninterrupted(|| unsafe { libc::waitpid(-1, &mut status, 0) });
    while next()? as u32 != child.0 {}
    let ended = WaitStatus(status as u32);
    // Anywhere else it would be all of our user's.
    if std::process::id() != 1 {
        return Err(io::ErrorKind::Unsupported.into());
    }
    // SAFETY: touches no memory; the first process of a namespace is never meant by itself.
    unsafe { libc::kill(-1, libc::SIGKILL) };
    let mut other = 0;
    loop {
        // SAFETY: writes the status.
        match check_uninterrupted(|| unsafe { libc::waitpid(-1, &mut other, 0) }) {
            Ok(_) => {}
            Err(err) if err.raw_os_error() == Some(libc::ECHILD) => return Ok(ended),
            Err(err) => return Err(err),
        }
    }
}

fn end(status: libc::c_int) -> ! {
    // SAFETY: nothing of ours is to be done first: what is not yet written is the other half's.
    unsafe { libc::_exit(status) }
}

fn fork() -> io::Result<Option<u32>> {
    // SAFETY: there is no other thread that could hold a lock, so the child may go on as any program; prctl touches no memory.
    unsafe {
        match check(libc::fork())? {
            0 => {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
                Ok(None)
            }
            child => Ok(Some(child as u32)),
        }
    }
}

/// When our own parent goes, our whole group does: what a child has started in its turn would outlive it.
pub fn end_group_with_parent() {
    extern "C" fn end(_: libc::c_int) {
        // SAFETY: kill is allowed in a handler, and 0 is our own group.
        unsafe { libc::kill(0, libc::SIGKILL) };
    }
    let handler = end as extern "C" fn(libc::c_int);
    // SAFETY: the handler has the shape that is wanted and calls nothing else; prctl touches no memory.
    unsafe {
        libc::signal(libc::SIGHUP, handler as libc::sighandler_t);
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGHUP, 0, 0, 0);
    }
}

/// From here on this process is not stopped by the signals of a terminal. For one that starts no program any more, which
/// would inherit that.
pub fn ignore_stops() {
    for signal in [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU] {
        // SAFETY: signal takes any valid signal.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// How the watch over a child ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Watched {
    /// It has ended.
    Ended(WaitStatus),
    /// It still runs, and our group has too many processes.
    Crowded,
    /// It still runs, and nobody wants it any more.
    Unwanted,
}

/// How many processes and threads our group may have.
#[derive(Clone, Copy, Debug)]
pub struct Bound<'p> {
    /// So many.
    pub most: usize,
    /// The table of processes to look at.
    pub proc: &'p Path,
    /// All others come from the child, also when they have lost their parents, as from the first process of a namespace: while
    /// it has no children there are none.
    pub is_first: bool,
}

impl Bound<'_> {
    fn is_passed(&self, child: &Child) -> bool {
        (!self.is_first || liveness::may_have_children(self.proc, child.0))
            && liveness::group_size(self.proc, std::process::id()) > self.most
    }
}

/// Waits for the child. With `processes` it is looked now and then whether our group has become larger than that; with
/// `wanted` whether that socket's other side has gone.
pub fn wait(
    child: Child,
    processes: Option<Bound>,
    wanted: Option<BorrowedFd>,
) -> io::Result<Watched> {
    if processes.is_some() || wanted.is_some() {
        let ended = process_descriptor(child.0)?;
        // What is watched twice says the same twice.
        let other = match wanted {
            Some(socket) => (socket, Event::Gone),
            None => (ended.as_fd(), Event::Read),
        };
        let mut pause = FIRST_LOOK;
        loop {
            let until = processes.map(|_| Instant::now() + pause);
            match wait_any([(ended.as_fd(), Event::Read), other], until)? {
                Some([true, _]) => break,
                Some(_) => return Ok(Watched::Unwanted),
                None => {}
            }
            if processes.is_some_and(|bound| bound.is_passed(&child)) {
                return Ok(Watched::Crowded);
            }
            pause = LOOKS_APART.min(pause * 2);
        }
    }
    let mut status = 0;
    let pid = child.0 as libc::pid_t;
    // SAFETY: writes the status.
    check_uninterrupted(|| unsafe { libc::waitpid(pid, &mut status, 0) })?;
    Ok(Watched::Ended(WaitStatus(status as u32)))
}

/// Ends our whole group, ourselves included.
pub fn end_group() -> ! {
    // SAFETY: touches no memory; 0 is our own group.
    unsafe { libc::kill(0, libc::SIGKILL) };
    std::process::exit(u8::MAX.into())
}

/// Ends as another process has ended.
pub fn end_like(status: WaitStatus) -> ! {
    if let Some(signal) = status.signal() {
        let none = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: reads the structure; the usual effect is a valid handler.
        unsafe {
            libc::setrlimit(libc::RLIMIT_CORE, &none);
            libc::signal(signal as libc::c_int, libc::SIG_DFL);
            libc::kill(libc::getpid(), signal as libc::c_int);
        }
    }
    std::process::exit(status.exit_code().unwrap_or(u8::MAX).into())
}

/// Whether this process, in a user namespace of its own, is counted apart from all others of its user, so that a limit on
/// processes is one of this namespace alone. To be tried in a child that ends after that.
pub fn is_counted_apart() -> bool {
    // Itself, its parent and that one's, and one more: its user has more than that, beside them.
    let limit = libc::rlimit {
        rlim_cur: 4,
        rlim_max: 4,
    };
    // SAFETY: reads the structure; the child ends at once.
    unsafe {
        libc::setrlimit(libc::RLIMIT_NPROC, &limit);
        match libc::fork() {
            0 => libc::_exit(0),
            child => child == libc::waitpid(child, std::ptr::null_mut(), 0) && child > 0,
        }
    }
}
