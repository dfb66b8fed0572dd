//! The program's allocator: dlmalloc's, with one lock. Where there are several threads, freed blocks of few bytes wait on
//! shelves for the next that wants such ones: each thread has a shelf, which it shares only if there are very many. It
//! costs a client nothing before it is used, and an include server less than the allocators of the C libraries: musl's own
//! asks the kernel for memory again and again.

#![allow(unsafe_code)] // An allocator deals in addresses, and its pages are only to be had from libc.

use super::store::{map, Fresh, Store, PAGE_BYTES};
use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Blocks of a class are so many bytes longer than those of the one before. dlmalloc needs eight bytes beside a block, and
/// divides its memory by sixteen, so that those of 8 and a multiple of it waste nothing.
const STEP_BYTES: usize = 16;
const CLASSES: usize = 64;

/// How far dlmalloc aligns what it gives without being asked.
const ALIGNMENT: usize = 2 * size_of::<usize>();

const SHELVES: usize = 32;

/// So many bytes of a class a shelf keeps, if they are no more blocks than this; and half of these it gets, and gives back, at a
/// time.
const KEPT_BYTES: usize = 8 << 10;
const KEPT_BLOCKS: usize = 64;

/// Blocks of so many bytes have pages of their own, which go back to the kernel when they are freed.
const MAPPED_BYTES: usize = 4 << 20;

#[global_allocator]
static HEAP: Heap = Heap::new(&FRESH);
static FRESH: Fresh = Fresh::nothing();

/// The allocator. Of its locks that of a shelf comes first, then that of the store.
struct Heap {
    store: Mutex<Store>,
    shelves: [Mutex<Shelf>; SHELVES],
    /// Whether the shelves are in use.
    shelved: AtomicBool,
    /// How many threads have got a shelf.
    threads: AtomicUsize,
}

/// Blocks that nobody uses, of each class a list.
struct Shelf {
    first: [*mut Block; CLASSES],
    count: [usize; CLASSES],
}

/// A block that nobody uses.
struct Block {
    next: *mut Block,
}

// SAFETY: the blocks of a shelf are nobody else's, whichever thread has it.
unsafe impl Send for Shelf {}

/// The class of a block that goes by a shelf.
fn class_of(layout: Layout) -> Option<usize> {
    let class = (layout.size() + STEP_BYTES / 2 - 1) / STEP_BYTES;
    (class < CLASSES && layout.align() <= ALIGNMENT).then_some(class)
}

/// How long its blocks are; the shortest that dlmalloc has is of class 1.
fn class_bytes(class: usize) -> usize {
    class.max(1) * STEP_BYTES + STEP_BYTES / 2
}

fn kept_blocks(class: usize) -> usize {
    (KEPT_BYTES / class_bytes(class)).clamp(8, KEPT_BLOCKS)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shelf {
    const EMPTY: Shelf = Shelf {
        first: [ptr::null_mut(); CLASSES],
        count: [0; CLASSES],
    };

    /// # Safety
    /// The block is of this class, and nobody uses it.
    unsafe fn put(&mut self, class: usize, block: *mut u8) {
        let block = block.cast::<Block>();
        // SAFETY: it is long enough, and aligned well enough, for any class.
        unsafe {
            block.write(Block {
                next: self.first[class],
            })
        };
        self.first[class] = block;
        self.count[class] += 1;
    }

    fn take(&mut self, class: usize) -> Option<*mut u8> {
        let block = self.first[class];
        if block.is_null() {
            return None;
        }
        // SAFETY: it was put there, and has been nobody's since.
        self.first[class] = unsafe { (*block).next };
        self.count[class] -= 1;
        Some(block.cast())
    }
}

impl Heap {
    /// One that has no memory yet, and no use for shelves.
    const fn new(fresh: &'static Fresh) -> Heap {
        Heap {
            store: Mutex::new(Store::new(fresh)),
            shelves: [const { Mutex::new(Shelf::EMPTY) }; SHELVES],
            shelved: AtomicBool::new(false),
            threads: AtomicUsize::new(0),
        }
    }

    fn use_shelves(&self) {
        self.shelved.store(true, Ordering::Relaxed);
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        thread_local! {
            static NUMBER: Cell<usize> = const { Cell::new(usize::MAX) };
        }
        let number = NUMBER.with(|number| {
            if number.get() == usize::MAX {
                number.set(self.threads.fetch_add(1, Ordering::Relaxed) % SHELVES);
            }
            number.get()
        });
        locked(&self.shelves[number % SHELVES])
    }

    /// A block of this class; others are put on the shelf with it.
    #[cold]
    fn fetch(&self, class: usize, shelf: &mut Shelf) -> *mut u8 {
        let mut store = locked(&self.store);
        for _ in 0..kept_blocks(class) / 2 {
            let block = store.malloc(class_bytes(class), ALIGNMENT);
            if block.is_null() {
                break;
            }
            // SAFETY: it is of this length, and nobody else's.
            unsafe { shelf.put(class, block) };
        }
        shelf.take(class).unwrap_or(ptr::null_mut())
    }

    #[cold]
    fn give_back(&self, class: usize, shelf: &mut Shelf) {
        let mut store = locked(&self.store);
        for _ in 0..kept_blocks(class) / 2 {
            if let Some(block) = shelf.take(class) {
                // SAFETY: it came from there, with this length, and nobody uses it.
                unsafe { store.free(block, class_bytes(class), ALIGNMENT) };
            }
        }
    }

    fn is_shelved(&self) -> bool {
        self.shelved.load(Ordering::Relaxed)
    }
}

/// The length of pages of its own, if a block of this layout has such.
fn mapped_bytes(layout: Layout) -> Option<usize> {
    let is_so = layout.size() >= MAPPED_BYTES && layout.align() <= PAGE_BYTES;
    is_so.then(|| layout.size().next_multiple_of(PAGE_BYTES))
}

/// The length that a block of this layout was, or will be, asked for.
fn asked_bytes(layout: Layout) -> usize {
    class_of(layout).map_or(layout.size(), class_bytes)
}

// SAFETY: blocks come from dlmalloc, or from the kernel, as their layout says; they are as long and as aligned as was asked, and
// are on one shelf, or in one's use, or back where they came from. None is asked for, or given back, with another length than
// that of its class. Nothing here allocates, and only what is broken already panics.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if let Some(class) = class_of(layout).filter(|_| self.is_shelved()) {
            let mut shelf = self.shelf();
            return match shelf.take(class) {
                Some(block) => block,
                None => self.fetch(class, &mut shelf),
            };
        }
        if let Some(bytes) = mapped_bytes(layout) {
            return map(bytes).unwrap_or(ptr::null_mut());
        }
        locked(&self.store).malloc(asked_bytes(layout), layout.align())
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let Some(class) = class_of(layout).filter(|_| self.is_shelved()) {
            let mut shelf = self.shelf();
            // SAFETY: it was asked for with the length of its class, and the caller is done with it.
            unsafe { shelf.put(class, block) };
            if shelf.count[class] > kept_blocks(class) {
                self.give_back(class, &mut shelf);
            }
            return;
        }
        // SAFETY: that is what it was asked for with, and of whom.
        unsafe {
            match mapped_bytes(layout) {
                Some(bytes) => drop(libc::munmap(block.cast(), bytes)),
                None => locked(&self.store).free(block, asked_bytes(layout), layout.align()),
            }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if let Some(bytes) = mapped_bytes(layout) {
            return map(bytes).unwrap_or(ptr::null_mut());
        }
        if class_of(layout).is_none() {
            return locked(&self.store).zeros(layout.size(), layout.align());
        }
        // SAFETY: the caller's layout.
        let block = unsafe { self.alloc(layout) };
        if !block.is_null() {
            // SAFETY: it is as long as that.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: the caller keeps to what a layout may be.
        let wanted = unsafe { Layout::from_size_align_unchecked(bytes, layout.align()) };
        let (class, wanted_class) = (class_of(layout), class_of(wanted));
        if class.is_some() && class == wanted_class {
            return block;
        }
        let pages = [mapped_bytes(layout), mapped_bytes(wanted)];
        if let [Some(before), Some(after)] = pages {
            // SAFETY: these are the block's pages, and what becomes of them is the block.
            let moved = unsafe { libc::mremap(block.cast(), before, after, libc::MREMAP_MAYMOVE) };
            return match moved == libc::MAP_FAILED {
                true => ptr::null_mut(),
                false => moved.cast(),
            };
        }
        let is_stores = class.is_none() && wanted_class.is_none() || !self.is_shelved();
        if is_stores && pages == [None, None] {
            let (before, after) = (asked_bytes(layout), asked_bytes(wanted));
            // SAFETY: that is what it was asked for with.
            return unsafe { locked(&self.store).realloc(block, before, layout.align(), after) };
        }
        // SAFETY: the caller's layout.
        let other = unsafe { self.alloc(wanted) };
        if !other.is_null() {
            // SAFETY: both are as long as that, and the first is not used any more.
            unsafe {
                ptr::copy_nonoverlapping(block, other, layout.size().min(bytes));
                self.dealloc(block, layout);
            }
        }
        other
    }
}

/// For a program that has several threads, before it starts them.
pub fn use_shelves() {
    HEAP.use_shelves();
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use std::sync::mpsc;
    use std::sync::Arc;
    use std::thread;

    fn heap() -> Heap {
        Heap::new(Box::leak(Box::new(Fresh::nothing())))
    }

    /// A block in use, all of it filled with one byte.
    struct Filled {
        place: *mut u8,
        layout: Layout,
        byte: u8,
    }

    // SAFETY: it is its owner's alone.
    unsafe impl Send for Filled {}

    impl Filled {
        fn new(heap: &Heap, bytes: usize, align: usize, byte: u8) -> Filled {
            let layout = Layout::from_size_align(bytes, align).unwrap();
            // SAFETY: the layout has a length.
            Filled::at(unsafe { heap.alloc(layout) }, layout, byte)
        }

        fn at(place: *mut u8, layout: Layout, byte: u8) -> Filled {
            assert!(!place.is_null() && place.addr() % layout.align() == 0);
            // SAFETY: the block is new, and of this layout.
            unsafe { place.write_bytes(byte, layout.size()) };
            Filled {
                place,
                layout,
                byte,
            }
        }

        /// The same where it was zero before.
        fn zeroed(heap: &Heap, bytes: usize, align: usize, byte: u8) -> Filled {
            let layout = Layout::from_size_align(bytes, align).unwrap();
            // SAFETY: the layout has a length, which is that of the block.
            let place = unsafe {
                let place = heap.alloc_zeroed(layout);
                assert!(!place.is_null());
                let all = std::slice::from_raw_parts(place, bytes);
                assert!(all.iter().all(|byte| *byte == 0));
                place
            };
            Filled::at(place, layout, byte)
        }

        fn check(&self, bytes: usize) {
            // SAFETY: at least so many have been written.
            let all = unsafe { std::slice::from_raw_parts(self.place, bytes) };
            assert!(all.iter().all(|byte| *byte == self.byte));
        }

        fn resize(&mut self, heap: &Heap, bytes: usize) {
            let before = self.layout;
            // SAFETY: the block is of this layout, and as long as asked for afterwards.
            unsafe { self.place = heap.realloc(self.place, before, bytes) };
            assert!(!self.place.is_null() && self.place.addr() % before.align() == 0);
            self.check(before.size().min(bytes));
            // SAFETY: see above.
            unsafe { self.place.write_bytes(self.byte, bytes) };
            self.layout = Layout::from_size_align(bytes, before.align()).unwrap();
        }

        fn free(self, heap: &Heap) {
            self.check(self.layout.size());
            // SAFETY: the block is of this layout, and is not used again.
            unsafe { heap.dealloc(self.place, self.layout) };
        }
    }

    proptest! {
        #[test]
        fn blocks_are_ones_own_whatever_is_asked(
            shelved: bool,
            steps in proptest::collection::vec((0..5u8, any::<prop::sample::Index>(), 1..3000usize, 0..13u32), 1..300)
        ) {
            let heap = heap();
            if shelved {
                heap.use_shelves();
            }
            let mut blocks: Vec<Filled> = Vec::new();
            for (number, (what, which, bytes, align)) in steps.into_iter().enumerate() {
                match what {
                    0 if !blocks.is_empty() => blocks.swap_remove(which.index(blocks.len())).free(&heap),
                    1 if !blocks.is_empty() => {
                        let which = which.index(blocks.len());
                        blocks[which].resize(&heap, bytes);
                    }
                    2 => blocks.push(Filled::zeroed(&heap, bytes * 70, 1 << align, number as u8)),
                    _ => blocks.push(Filled::new(&heap, bytes, 1 << align, number as u8)),
                }
            }
            blocks.into_iter().for_each(|block| block.free(&heap));
        }
    }

    #[test]
    fn blocks_go_from_thread_to_thread() {
        let heap = Arc::new(heap());
        // Some were asked for before there were shelves.
        let (give, take) = mpsc::sync_channel::<Filled>(1000);
        for bytes in 1..500 {
            give.send(Filled::new(&heap, bytes, 1, 0xaa)).unwrap();
        }
        heap.use_shelves();
        // More threads than shelves, half of which only free.
        let makers: Vec<_> = (0..SHELVES as u8)
            .map(|number| {
                let (heap, give) = (Arc::clone(&heap), give.clone());
                thread::spawn(move || {
                    for round in 0..2000 {
                        let bytes = 1 + round * 7 % 1500;
                        give.send(Filled::new(&heap, bytes, 8, number)).unwrap();
                    }
                })
            })
            .collect();
        drop(give);
        let take = Arc::new(Mutex::new(take));
        let takers: Vec<_> = (0..SHELVES)
            .map(|_| {
                let (heap, take) = (Arc::clone(&heap), Arc::clone(&take));
                thread::spawn(move || loop {
                    let next = locked(&take).recv();
                    match next {
                        Ok(block) => block.free(&heap),
                        Err(_) => return,
                    }
                })
            })
            .collect();
        for thread in makers.into_iter().chain(takers) {
            thread.join().unwrap();
        }
    }

    #[test]
    fn what_was_freed_is_used_again() {
        let heap = heap();
        heap.use_shelves();
        let first = Filled::new(&heap, 100, 1, 1);
        let place = first.place;
        first.free(&heap);
        let second = Filled::new(&heap, 97, 1, 2);
        assert_eq!(second.place, place);
        second.free(&heap);
        // A shelf does not keep more than it should.
        let many: Vec<Filled> = (0..1000).map(|_| Filled::new(&heap, 100, 1, 3)).collect();
        many.into_iter().for_each(|block| block.free(&heap));
        let class = class_of(Layout::from_size_align(100, 1).unwrap()).unwrap();
        assert!(heap.shelf().count[class] <= kept_blocks(class));
    }

    #[test]
    fn zeros_are_zeros() {
        let heap = heap();
        let mut blocks = Vec::new();
        for round in 0..200usize {
            let bytes = 1 + round * 977 % 70_000;
            blocks.push(Filled::zeroed(&heap, bytes, 1, 0xff));
            if round % 3 == 0 {
                blocks.swap_remove(round / 4).free(&heap);
            }
        }
        blocks.into_iter().for_each(|block| block.free(&heap));
    }

    #[test]
    fn very_large_blocks_have_pages_of_their_own() {
        for shelved in [false, true] {
            let heap = heap();
            if shelved {
                heap.use_shelves();
            }
            let mut block = Filled::new(&heap, 100, 1, 7);
            for bytes in [
                MAPPED_BYTES - 1,
                MAPPED_BYTES,
                3 * MAPPED_BYTES + 1,
                MAPPED_BYTES + 5,
                50,
            ] {
                block.resize(&heap, bytes);
                // dlmalloc's have something in front of them.
                assert!(bytes < MAPPED_BYTES || block.place.addr() % PAGE_BYTES == 0);
            }
            block.free(&heap);
            Filled::zeroed(&heap, MAPPED_BYTES + 1, 4096, 1).free(&heap);
            Filled::new(&heap, MAPPED_BYTES, 8192, 1).free(&heap);
        }
    }
}
