//! A program that has taken a terminal for itself, and is stopped and let go on by a shell: so that it can put the terminal
//! back before, and take it again afterwards.

#![allow(unsafe_code)] // Signal handlers, kill and raise are only to be had from libc.

use super::sys::check;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

static IS_STOP_WANTED: AtomicBool = AtomicBool::new(false);
static HAS_GONE_ON: AtomicBool = AtomicBool::new(false);

/// From here on SIGTSTP no longer stops this program, but is noted, and so is that it goes on. One that is ignored when we
/// start stays ignored.
pub fn note_stops() -> io::Result<()> {
    let before = handle(libc::SIGTSTP, on_stop as *const () as libc::sighandler_t)?;
    if before == libc::SIG_IGN {
        handle(libc::SIGTSTP, before)?;
    }
    handle(
        libc::SIGCONT,
        on_going_on as *const () as libc::sighandler_t,
    )
    .map(drop)
}

/// Sets what a signal does, and gives what it did.
fn handle(signal: libc::c_int, action: libc::sighandler_t) -> io::Result<libc::sighandler_t> {
    // SAFETY: both structures are plain data that sigaction fills or reads; the handlers only store a flag.
    unsafe {
        let mut before: libc::sigaction = std::mem::zeroed();
        let mut new: libc::sigaction = std::mem::zeroed();
        new.sa_sigaction = action;
        new.sa_flags = libc::SA_RESTART;
        check(libc::sigaction(signal, &new, &mut before))?;
        Ok(before.sa_sigaction)
    }
}

extern "C" fn on_stop(_signal: libc::c_int) {
    IS_STOP_WANTED.store(true, Ordering::Relaxed);
}

extern "C" fn on_going_on(_signal: libc::c_int) {
    HAS_GONE_ON.store(true, Ordering::Relaxed);
}

/// Whether one of the two that follow would say yes.
pub fn is_pending() -> bool {
    IS_STOP_WANTED.load(Ordering::Relaxed) || HAS_GONE_ON.load(Ordering::Relaxed)
}

/// Whether SIGTSTP has come since this was asked last.
pub fn is_stop_wanted() -> bool {
    IS_STOP_WANTED.swap(false, Ordering::Relaxed)
}

/// Whether this program was stopped, by whatever, and goes on, since this was asked last.
pub fn has_gone_on() -> bool {
    HAS_GONE_ON.swap(false, Ordering::Relaxed)
}

/// Does what the terminal does for ^Z, unless its keys are read as they come: asks all programs of the job to stop.
pub fn ask_job_to_stop() {
    // SAFETY: plain system call; it fails for no process of ours.
    unsafe { libc::kill(0, libc::SIGTSTP) };
}

/// Stops this program as SIGTSTP would have. Returns when it goes on; at once if there is nobody who could let it.
pub fn stop() -> io::Result<()> {
    let noting = handle(libc::SIGTSTP, libc::SIG_DFL)?;
    // SAFETY: plain system call; it fails only for what is no signal.
    unsafe { libc::raise(libc::SIGTSTP) };
    handle(libc::SIGTSTP, noting)?;
    has_gone_on();
    Ok(())
}
