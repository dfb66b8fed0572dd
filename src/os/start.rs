//! What has to be so before anything else runs. `main.rs` is entered by the C library, not by Rust's own start-up, which
//! reads the memory map to guard the stack and costs a short client a fifth of its start; what that does and we need is
//! here.

#![allow(unsafe_code)] // C's argv, and signal dispositions, are only to be had from libc.

use std::ffi::{c_char, c_int, CStr, OsString};
use std::fs::OpenOptions;
use std::os::fd::IntoRawFd;
use std::os::unix::ffi::OsStringExt;

/// The words of the command line.
///
/// # Safety
/// The arguments are those that the C library gives to `main`.
pub unsafe fn words(argc: c_int, argv: *const *const c_char) -> Vec<OsString> {
    let count = usize::try_from(argc).unwrap_or_default();
    (0..count)
        .map(|index| {
            // SAFETY: argv has argc entries, each a string that ends with NUL and lives as long as the program.
            let word = unsafe { CStr::from_ptr(*argv.add(index)) };
            OsString::from_vec(word.to_bytes().to_vec())
        })
        .collect()
}

/// The folder of this program, as a static C library asks for it at every start: the name of our own file, looked up in
/// `/proc`, one part in fifty of a client's work. It is wanted for libraries that are named relative to it, of which there
/// are none; -1 says that it is not known. Where the library is another one, or not static, nobody calls this.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[no_mangle]
extern "C" fn _dl_get_origin() -> *const c_char {
    std::ptr::without_provenance(usize::MAX)
}

/// A panic is a fault in this program, and ends it. Who can go on without what has panicked takes the hook away again.
pub fn end_on_panic() {
    let say = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        say(info);
        std::process::abort();
    }));
}

/// Makes sure that descriptors 0 to 2 are open, so that no file of ours takes their place and is written to as stderr;
/// that writing to a peer that has gone is an error, not our end; and that children can be waited for, also if whoever
/// started us ignores the end of its own: the kernel would keep no status of ours.
pub fn prepare() {
    let closed = |fd: c_int| libc::pollfd {
        fd,
        events: 0,
        revents: 0,
    };
    let mut standard = [closed(0), closed(1), closed(2)];
    // SAFETY: poll writes to the three entries that it is given; signal takes any valid signal.
    unsafe {
        libc::poll(standard.as_mut_ptr(), 3, 0);
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
    }
    for entry in standard {
        if entry.revents & libc::POLLNVAL != 0 {
            // The lowest free number is taken, so in this order it is the one that is missing.
            if let Ok(file) = OpenOptions::new().read(true).write(true).open("/dev/null") {
                let _ = file.into_raw_fd();
            }
        }
    }
}
