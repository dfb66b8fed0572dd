//! The terminal that messages go to.

#![allow(unsafe_code)] // its size is only to be had from libc.

use std::os::fd::{AsRawFd, BorrowedFd};

/// How many columns the terminal has; `None` if it does not know.
pub fn columns(fd: BorrowedFd) -> Option<usize> {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: writes the structure, and nothing if this is no terminal.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    (result == 0 && size.ws_col > 0).then_some(usize::from(size.ws_col))
}
