//! The one step from a system call's −1 to an error, used by every other file of this floor.

use std::io;

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
