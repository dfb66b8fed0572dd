//! What other files of this floor share: the step from a system call's −1 to an error, and the signals that end a program.

#![allow(unsafe_code)] // Signal handlers are only to be had from libc.

use std::io;

/// The signals that ask a program to end.
pub const FINAL_SIGNALS: [libc::c_int; 4] =
    [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT];

/// Turns the −1 of a system call into the error that it left behind.
pub fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        other => Ok(other),
    }
}

/// Like [`check`], repeated for as long as a signal interrupts the call.
pub fn check_uninterrupted(mut call: impl FnMut() -> libc::c_int) -> io::Result<libc::c_int> {
    loop {
        match check(call()) {
            Err(err) if err.kind() == io::ErrorKind::Interrupted => continue,
            other => return other,
        }
    }
}

/// Catches the final signals from here on. One that is ignored when we start (`nohup`) stays ignored.
///
/// # Safety
/// `handler` is a function of the shape that `flags` say, and does only what is allowed in a signal handler.
pub unsafe fn catch_final_signals(handler: *const (), flags: libc::c_int) -> io::Result<()> {
    for signal in FINAL_SIGNALS {
        // SAFETY: the caller answers for the handler.
        unsafe { catch(signal, handler, flags)? };
    }
    Ok(())
}

/// The same for one signal.
///
/// # Safety
/// As for [`catch_final_signals`].
pub unsafe fn catch(signal: libc::c_int, handler: *const (), flags: libc::c_int) -> io::Result<()> {
    // SAFETY: both structures are plain data that sigaction fills or reads; the caller answers for the handler.
    unsafe {
        let mut before: libc::sigaction = std::mem::zeroed();
        check(libc::sigaction(signal, std::ptr::null(), &mut before))?;
        if before.sa_sigaction == libc::SIG_IGN {
            return Ok(());
        }
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as libc::sighandler_t;
        action.sa_flags = flags;
        check(libc::sigaction(signal, &action, std::ptr::null_mut())).map(drop)
    }
}
