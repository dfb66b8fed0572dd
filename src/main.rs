//! Start: argv in, exit status out. Entered by the C library itself; see `os::start`.
#![no_main]

use distcc::{multicall, os::start};
use std::ffi::{c_char, c_int};
use std::io::Write;

/// The program's entry.
///
/// # Safety
/// To be called by the C library only.
#[no_mangle]
#[allow(unsafe_code)] // The name that the C library calls, and what it hands over.
pub unsafe extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
    start::prepare();
    // SAFETY: these are the arguments of main.
    let words = unsafe { start::words(argc, argv) };
    let status = multicall::run(words);
    // Rust's own start-up would do so; nobody is left to hear of a failure.
    let _ = std::io::stdout().flush();
    status.0.into()
}
