//! Memory for the allocator: dlmalloc's, with one who has it at a time, and what the kernel gives for it. What the kernel has just
//! given is zeros and takes no memory yet, so that it is not cleared for who asks for zeros.

#![allow(unsafe_code)] // An allocator deals in addresses, and its pages are only to be had from libc.

use dlmalloc::{Allocator, Dlmalloc};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The size of pages, or a part of it: lengths that are no multiple of theirs the kernel rounds up.
pub(super) const PAGE_BYTES: usize = 4096;

/// The size and alignment of large pages on most machines; where they have another size the memory comes in small ones.
pub(super) const LARGE_PAGE_BYTES: usize = 2 << 20;

/// All memory that is on no shelf.
pub(super) struct Store {
    dlmalloc: Dlmalloc<Pages>,
    fresh: &'static Fresh,
}

/// Where the memory lies that the kernel gave last and nobody has had: it is all zeros, and takes no memory yet. Only looked at
/// by whom has the store.
pub(super) struct Fresh {
    start: AtomicUsize,
    end: AtomicUsize,
}

/// So many bytes behind a block dlmalloc may have written to.
const TRACE_BYTES: usize = 256;

/// What the kernel gives.
struct Pages(&'static Fresh);

/// How much dlmalloc asks it for at least, in bytes: addresses only.
const GRANULARITY: usize = 1 << 20;

/// How many bytes the next step into the kernel is to bring, in large pages.
static AHEAD: AtomicUsize = AtomicUsize::new(0);

/// Whether memory that was freed is kept.
static KEEPS: AtomicBool = AtomicBool::new(false);

impl Fresh {
    /// Nowhere.
    pub(super) const fn nothing() -> Fresh {
        Fresh {
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
        }
    }
}

impl Store {
    /// One that has no memory yet.
    pub(super) const fn new(fresh: &'static Fresh) -> Store {
        let mut dlmalloc = Dlmalloc::new_with_allocator(Pages(fresh));
        assert!(dlmalloc.set_granularity(GRANULARITY));
        Store { dlmalloc, fresh }
    }

    /// Notes that somebody has a block now. Gives how many of its bytes, from the first, may not be zeros.
    fn handed_out(&mut self, block: *mut u8, bytes: usize, align: usize) -> usize {
        let (first, behind) = (block.addr(), block.addr() + bytes);
        let start = self.fresh.start.load(Ordering::Relaxed);
        let end = self.fresh.end.load(Ordering::Relaxed);
        if end <= first {
            return bytes;
        }
        // For an alignment dlmalloc takes so much more at first, and gives it back.
        let reach = behind + align + TRACE_BYTES;
        self.fresh.start.store(start.max(reach), Ordering::Relaxed);
        match behind <= end {
            true => start.saturating_sub(first).min(bytes),
            false => bytes,
        }
    }

    /// A block, or null.
    pub(super) fn malloc(&mut self, bytes: usize, align: usize) -> *mut u8 {
        // SAFETY: any length and alignment may be asked for.
        let block = unsafe { self.dlmalloc.malloc(bytes, align) };
        if !block.is_null() {
            self.handed_out(block, bytes, align);
        }
        block
    }

    /// The same, of zeros.
    pub(super) fn zeros(&mut self, bytes: usize, align: usize) -> *mut u8 {
        // SAFETY: any length and alignment may be asked for.
        let block = unsafe { self.dlmalloc.malloc(bytes, align) };
        if !block.is_null() {
            let used = self.handed_out(block, bytes, align);
            // SAFETY: the block is as long as that.
            unsafe { block.write_bytes(0, used) };
        }
        block
    }

    /// # Safety
    /// The block is the store's, of so many bytes and so aligned, and is not used again.
    pub(super) unsafe fn free(&mut self, block: *mut u8, bytes: usize, align: usize) {
        // SAFETY: the caller's promise.
        unsafe { self.dlmalloc.free(block, bytes, align) }
    }

    /// # Safety
    /// As for [`Store::free`].
    pub(super) unsafe fn realloc(
        &mut self,
        block: *mut u8,
        from: usize,
        align: usize,
        to: usize,
    ) -> *mut u8 {
        // SAFETY: the caller's promise.
        let block = unsafe { self.dlmalloc.realloc(block, from, align, to) };
        if !block.is_null() {
            self.handed_out(block, to, align);
        }
        block
    }
}

/// For a program that soon fills much memory: the allocator's next `bytes` come in large pages, as far as the kernel has them,
/// since each page that is touched first costs a step into the kernel, and each that is touched at all a place among the
/// few that the processor remembers. What is freed then stays this program's.
pub fn grow_in_large_pages(bytes: usize) {
    AHEAD.store(bytes.next_multiple_of(LARGE_PAGE_BYTES), Ordering::Relaxed);
    KEEPS.store(true, Ordering::Relaxed);
}

/// So many bytes at any address.
pub(super) fn map(bytes: usize) -> Option<*mut u8> {
    let (access, kind) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
    );
    // SAFETY: a new place is nobody's.
    let place = unsafe { libc::mmap(ptr::null_mut(), bytes, access, kind, -1, 0) };
    (place != libc::MAP_FAILED).then_some(place.cast())
}

/// The same, for large pages.
fn map_large(bytes: usize) -> Option<*mut u8> {
    let place = map(bytes + LARGE_PAGE_BYTES)?;
    let before = place.align_offset(LARGE_PAGE_BYTES);
    let start = place.wrapping_add(before);
    // SAFETY: all of it is ours, and what is given back nobody has seen. A kernel without large pages refuses the advice.
    unsafe {
        if before > 0 {
            libc::munmap(place.cast(), before);
        }
        if before < LARGE_PAGE_BYTES {
            libc::munmap(start.add(bytes).cast(), LARGE_PAGE_BYTES - before);
        }
        libc::madvise(start.cast(), bytes, libc::MADV_HUGEPAGE);
    }
    Some(start)
}

// SAFETY: what is mapped is new, zero, and as long as is said; only what dlmalloc gives back is unmapped.
unsafe impl Allocator for Pages {
    fn alloc(&self, bytes: usize) -> (*mut u8, usize, u32) {
        let ahead = AHEAD.swap(0, Ordering::Relaxed);
        let large = (ahead > bytes).then(|| map_large(ahead)).flatten();
        let mapped = match large {
            Some(place) => Some((place, ahead)),
            None => map(bytes).map(|place| (place, bytes)),
        };
        let Some((place, bytes)) = mapped else {
            return (ptr::null_mut(), 0, 0);
        };
        let start = place.addr() + TRACE_BYTES;
        self.0.start.store(start, Ordering::Relaxed);
        let end = place.addr() + bytes - TRACE_BYTES;
        self.0.end.store(end, Ordering::Relaxed);
        (place, bytes, 0)
    }

    fn remap(&self, _: *mut u8, _: usize, _: usize, _: bool) -> *mut u8 {
        ptr::null_mut()
    }

    fn free_part(&self, place: *mut u8, before: usize, after: usize) -> bool {
        // SAFETY: dlmalloc has no more use for what is behind.
        before > after && unsafe { libc::munmap(place.add(after).cast(), before - after) == 0 }
    }

    fn free(&self, place: *mut u8, bytes: usize) -> bool {
        // SAFETY: dlmalloc has no more use for it.
        self.can_release_part(0) && unsafe { libc::munmap(place.cast(), bytes) == 0 }
    }

    fn can_release_part(&self, _: u32) -> bool {
        !KEEPS.load(Ordering::Relaxed)
    }

    fn allocates_zeros(&self) -> bool {
        true
    }

    fn page_size(&self) -> usize {
        PAGE_BYTES
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_fresh_stays_untouched() {
        // Of a block of fresh memory nothing has to be cleared.
        let mut store = Store::new(Box::leak(Box::new(Fresh::nothing())));
        for _ in 0..3 {
            let block = store.dlmalloc_block(100_000);
            assert!(store.handed_out(block, 100_000, 1) <= TRACE_BYTES);
        }
        let block = store.malloc(100_000, 1);
        // SAFETY: nobody has the block.
        unsafe { store.free(block, 100_000, 1) };
        let again = store.dlmalloc_block(100_000);
        assert_eq!(store.handed_out(again, 100_000, 1), 100_000);
    }

    impl Store {
        fn dlmalloc_block(&mut self, bytes: usize) -> *mut u8 {
            // SAFETY: any length may be asked for.
            unsafe { self.dlmalloc.malloc(bytes, 1) }
        }
    }

    #[test]
    fn large_pages_begin_where_they_can() {
        for bytes in [LARGE_PAGE_BYTES, 3 * LARGE_PAGE_BYTES] {
            let place = map_large(bytes).unwrap();
            assert_eq!(place.addr() % LARGE_PAGE_BYTES, 0);
            // SAFETY: so much is ours.
            unsafe {
                place.write_bytes(1, bytes);
                assert_eq!(libc::munmap(place.cast(), bytes), 0);
            }
        }
    }
}
