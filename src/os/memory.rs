//! The memory of this process: what its allocator keeps and how it grows. With the GNU C library that is its own allocator,
//! which is told; with musl, whose own asks the kernel again and again, one of the program's.

#![allow(unsafe_code)] // The allocator is only to be had from libc.

#[cfg(target_env = "gnu")]
pub use gnu::{grow_in_large_pages, keep_freed_memory, prepare};
#[cfg(not(target_env = "gnu"))]
pub use other::{grow_in_large_pages, keep_freed_memory, prepare};

#[cfg(target_env = "gnu")]
mod gnu {
    use std::thread::available_parallelism;

    /// The largest value that the allocator takes for it.
    const MMAP_THRESHOLD_MAX: i32 = 32 << 20;

    /// To be called before anything else is.
    pub fn prepare() {}

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
}

#[cfg(not(target_env = "gnu"))]
mod other {
    #[cfg(target_env = "musl")]
    #[global_allocator]
    static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

    /// To be called before anything else is.
    pub fn prepare() {
        // SAFETY: nothing has been allocated yet.
        #[cfg(target_env = "musl")]
        unsafe {
            dlmalloc::enable_alloc_after_fork();
        }
    }

    /// This allocator keeps what it keeps.
    pub fn keep_freed_memory(_bytes: i32) {}

    /// This allocator grows as it grows.
    pub fn grow_in_large_pages(_bytes: usize) {}
}
