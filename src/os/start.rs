//! What has to be so before anything else runs. `main.rs` is entered by the C library, not by Rust's own start-up, which
//! reads the memory map to guard the stack and costs a short client a fifth of its start; what that does and we need is
//! here.

#![allow(unsafe_code)] // C's argv, and signal dispositions, are only to be had from libc.

use std::ffi::{c_char, c_int, CStr, OsString};
use std::fs::OpenOptions;
use std::os::fd::IntoRawFd;
use std::os::unix::ffi::OsStringExt;
use std::thread::available_parallelism;

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

/// For a program that does the same again and again: of memory that was freed up to `bytes` are kept for the next time,
/// instead of being given back to the system and asked for again, page by page.
pub fn keep_freed_memory(bytes: i32) {
    // SAFETY: sets limits of the allocator; a value that it does not take changes nothing.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, (bytes / 2).min(MMAP_THRESHOLD_MAX));
        libc::mallopt(libc::M_TRIM_THRESHOLD, bytes);
    }
}

/// For a program that soon fills much memory, before it starts threads: the allocator's next `bytes` come in large pages,
/// as far as the kernel has them, since each page that is touched first costs a step into the kernel, and each that is
/// touched at all a place among the few that the processor remembers. Several heaps would not: so there is one, unless
/// so many processors would wait for it.
pub fn grow_in_large_pages(bytes: usize) {
    const PROCESSORS_MAX: usize = 8;
    const LARGE_PAGE_BYTES: usize = 2 << 20;
    if available_parallelism().map_or(1, usize::from) > PROCESSORS_MAX {
        return;
    }
    // SAFETY: nobody else moves the end of the heap meanwhile; it is only asked for, and what is advised lies below it.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_TOP_PAD, bytes.try_into().unwrap_or_default());
        let before = libc::sbrk(0);
        // More than the heap has left, less than would be mapped on its own.
        libc::free(std::hint::black_box(libc::malloc(512 << 10)));
        let grown = libc::sbrk(0).addr().saturating_sub(before.addr());
        let skipped = before.addr().next_multiple_of(LARGE_PAGE_BYTES) - before.addr();
        if let Some(length) = grown.checked_sub(skipped) {
            libc::madvise(before.byte_add(skipped), length, libc::MADV_HUGEPAGE);
        }
    }
}

/// The largest value that the allocator takes for it.
const MMAP_THRESHOLD_MAX: i32 = 32 << 20;

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
