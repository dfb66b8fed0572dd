//! The first process of a process namespace, as a container's only program is: all that lose their parents become its
//! children, and stay as dead entries in the table of processes unless it waits for them. A program that has children of its
//! own can't do that beside its work, so it leaves that place to a process that does nothing else.

#![allow(unsafe_code)] // fork and signals are only to be had from libc.

use super::daemonize::close_all_but_standard;
use super::signals;
use super::sys::check;
use crate::model::wait_status::WaitStatus;
use std::io;

/// What a shell adds to the number of the signal by which a program was ended.
const BY_SIGNAL: i32 = 128;

/// If this process is the first of its namespace: goes on as its child, while it stays behind, passes on the signals that mean
/// something to a daemon, and ends as the child does. To be called before there is a second thread.
pub fn leave_first_place() -> io::Result<()> {
    if std::process::id() != 1 {
        return Ok(());
    }
    // SAFETY: the sets are plain data that the calls fill and read. There is no other thread that could hold a lock, so the
    // child may go on as any program; prctl touches no memory.
    let (child, all) = unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        // From here on signals wait until they are asked for: none is lost in between.
        check(libc::sigprocmask(libc::SIG_SETMASK, &all, &mut before))?;
        let child = libc::fork();
        if child > 0 {
            (child, all)
        } else {
            let failed = io::Error::last_os_error();
            libc::sigprocmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
            if child < 0 {
                return Err(failed);
            }
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
            return Ok(());
        }
    };
    stay_behind(child, &all)
}

fn stay_behind(child: libc::pid_t, all: &libc::sigset_t) -> ! {
    // SAFETY: touches no memory. The child has a clock of its own, and would hear of ours, too.
    unsafe { libc::alarm(0) };
    // What is open is the child's to close: a socket that listens must not do so for as long as we live.
    // SAFETY: this process uses no descriptor any more, and drops nothing that has one.
    unsafe { close_all_but_standard() };
    loop {
        // SAFETY: reads the set; nothing is to be known of a signal but its number.
        let signal = unsafe { libc::sigwaitinfo(all, std::ptr::null_mut()) };
        if signal == libc::SIGCHLD {
            if let Some(ended) = reap(child) {
                let by_signal = ended.signal().map(|number| BY_SIGNAL + number as i32);
                let status = ended.exit_code().map(i32::from).or(by_signal);
                // SAFETY: nothing of ours is to be done first: what is not yet written is the child's.
                unsafe { libc::_exit(status.unwrap_or(BY_SIGNAL)) }
            }
        } else if signal == libc::SIGCONT || signals::is_final(signal) {
            // SAFETY: touches no memory; the child was not waited for, so the number is its own.
            unsafe { libc::kill(child, signal) };
        }
    }
}

/// Waits for all children that have ended; how this one has, if it is among them.
fn reap(child: libc::pid_t) -> Option<WaitStatus> {
    let mut ended = None;
    loop {
        let mut status = 0;
        // SAFETY: writes the status.
        let pid = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) };
        if pid <= 0 {
            return ended;
        }
        if pid == child {
            ended = Some(WaitStatus(status as u32));
        }
    }
}
