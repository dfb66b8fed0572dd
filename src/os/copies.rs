//! Copying and comparing bytes for programs that are linked with musl: its own goes byte by byte, or by an instruction that
//! takes long to begin, and cost an include server 8 % of its time. They have the C library's names, so the whole
//! program comes here, and neither they nor what they call may be written as anything that a compiler makes a call of them.

#![allow(unsafe_code)] // What a C library does is done by addresses.

use std::arch::asm;
use std::arch::x86_64::{
    __m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_storeu_si128,
};

/// From so many bytes on the processor's own instruction is the fastest.
const LONG_BYTES: usize = 2 << 10;

/// # Safety
/// `count` bytes are there to be read, and as many to be written, and none of these is one of those.
#[cfg_attr(all(target_env = "musl", not(debug_assertions)), no_mangle)]
pub unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    // SAFETY: the caller's promise.
    unsafe {
        match count {
            0..=64 => few(to, from, count),
            65..LONG_BYTES => forwards(to, from, count),
            _ => many(to, from, count),
        }
    }
    to
}

/// # Safety
/// `count` bytes are there to be read, and as many to be written.
#[cfg_attr(all(target_env = "musl", not(debug_assertions)), no_mangle)]
pub unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    // Whether what is written first has not been read.
    let behind = to.addr().wrapping_sub(from.addr()) < count;
    // SAFETY: the caller's promise.
    unsafe {
        match count {
            0..=64 => few(to, from, count),
            _ if behind => backwards(to, from, count),
            65..LONG_BYTES => forwards(to, from, count),
            _ => many(to, from, count),
        }
    }
    to
}

/// # Safety
/// `count` bytes of each are there to be read.
#[cfg_attr(all(target_env = "musl", not(debug_assertions)), no_mangle)]
pub unsafe extern "C" fn memcmp(one: *const u8, other: *const u8, count: usize) -> i32 {
    let mut at = 0;
    // SAFETY: the caller's promise.
    unsafe {
        while at + 16 <= count {
            let same = _mm_cmpeq_epi8(vector(one, at), vector(other, at));
            let differ = !_mm_movemask_epi8(same) & 0xffff;
            if differ != 0 {
                at += differ.trailing_zeros() as usize;
                return i32::from(*one.add(at)) - i32::from(*other.add(at));
            }
            at += 16;
        }
        while at + 4 <= count {
            let (a, b): (u32, u32) = (word(one, at), word(other, at));
            if a != b {
                return if a.swap_bytes() < b.swap_bytes() {
                    -1
                } else {
                    1
                };
            }
            at += 4;
        }
        while at < count {
            let (a, b) = (*one.add(at), *other.add(at));
            if a != b {
                return i32::from(a) - i32::from(b);
            }
            at += 1;
        }
    }
    0
}

/// # Safety
/// As for [`memcmp`], of which this is all that BSD's name says.
#[cfg_attr(all(target_env = "musl", not(debug_assertions)), no_mangle)]
pub unsafe extern "C" fn bcmp(one: *const u8, other: *const u8, count: usize) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { memcmp(one, other, count) }
}

#[inline(always)]
unsafe fn word<T: Copy>(from: *const u8, at: usize) -> T {
    // SAFETY: the caller's promise.
    unsafe { from.add(at).cast::<T>().read_unaligned() }
}

#[inline(always)]
unsafe fn put<T>(to: *mut u8, at: usize, value: T) {
    // SAFETY: the caller's promise.
    unsafe { to.add(at).cast::<T>().write_unaligned(value) }
}

#[inline(always)]
unsafe fn vector(from: *const u8, at: usize) -> __m128i {
    // SAFETY: the caller's promise.
    unsafe { _mm_loadu_si128(from.add(at).cast()) }
}

#[inline(always)]
unsafe fn put_vector(to: *mut u8, at: usize, value: __m128i) {
    // SAFETY: the caller's promise.
    unsafe { _mm_storeu_si128(to.add(at).cast(), value) }
}

/// Up to 64 bytes, of which all are read before any is written: from both ends, which may overlap.
#[inline(always)]
unsafe fn few(to: *mut u8, from: *const u8, count: usize) {
    // SAFETY: the caller's promise, and what is read and written lies within `count` bytes.
    unsafe {
        match count {
            0 => {}
            1 => put::<u8>(to, 0, word(from, 0)),
            2..4 => both_ends::<u16>(to, from, count, 2),
            4..8 => both_ends::<u32>(to, from, count, 4),
            8..16 => both_ends::<u64>(to, from, count, 8),
            16..=32 => both_ends::<__m128i>(to, from, count, 16),
            _ => {
                let (one, two) = (vector(from, 0), vector(from, 16));
                let (three, four) = (vector(from, count - 32), vector(from, count - 16));
                put_vector(to, 0, one);
                put_vector(to, 16, two);
                put_vector(to, count - 32, three);
                put_vector(to, count - 16, four);
            }
        }
    }
}

#[inline(always)]
unsafe fn both_ends<T: Copy>(to: *mut u8, from: *const u8, count: usize, length: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let (first, last): (T, T) = (word(from, 0), word(from, count - length));
        put(to, 0, first);
        put(to, count - length, last);
    }
}

/// 64 bytes, of which all are read before any is written.
#[inline(always)]
unsafe fn block(to: *mut u8, from: *const u8, at: usize) {
    // SAFETY: the caller's promise.
    unsafe { few(to.add(at), from.add(at), 64) };
    // So that a loop of these is not taken for what it does.
    // SAFETY: nothing is done.
    unsafe { asm!("", options(nostack, preserves_flags)) };
}

/// More than 64 bytes, from the first to the last.
#[inline(always)]
unsafe fn forwards(to: *mut u8, from: *const u8, count: usize) {
    // SAFETY: the caller's promise; the last ones are read before they may be written over.
    unsafe {
        let (one, two) = (vector(from, count - 64), vector(from, count - 48));
        let (three, four) = (vector(from, count - 32), vector(from, count - 16));
        let mut at = 0;
        while at + 64 < count {
            block(to, from, at);
            at += 64;
        }
        put_vector(to, count - 64, one);
        put_vector(to, count - 48, two);
        put_vector(to, count - 32, three);
        put_vector(to, count - 16, four);
    }
}

/// More than 64 bytes, from the last to the first.
#[inline(always)]
unsafe fn backwards(to: *mut u8, from: *const u8, count: usize) {
    // SAFETY: the caller's promise; the first ones are read before they may be written over.
    unsafe {
        let (one, two) = (vector(from, 0), vector(from, 16));
        let (three, four) = (vector(from, 32), vector(from, 48));
        let mut at = count;
        while at > 64 {
            at -= 64;
            block(to, from, at);
        }
        put_vector(to, 0, one);
        put_vector(to, 16, two);
        put_vector(to, 32, three);
        put_vector(to, 48, four);
    }
}

/// Any number of bytes, from the first to the last.
#[inline(always)]
unsafe fn many(to: *mut u8, from: *const u8, count: usize) {
    // SAFETY: the caller's promise; the direction is that which all functions find and leave.
    unsafe {
        asm!(
            "rep movsb",
            inout("rcx") count => _,
            inout("rdi") to => _,
            inout("rsi") from => _,
            options(nostack, preserves_flags)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No two neighbours are the same, nor what is 256 bytes away.
    fn pattern() -> Vec<u8> {
        (0..6000u32).map(|at| (at * 7 + at / 256) as u8).collect()
    }

    fn lengths() -> impl Iterator<Item = usize> {
        (0..=200).chain([255, 256, 1000, 2047, 2048, 2049, 2500])
    }

    #[test]
    fn copies_are_the_same_and_nothing_else_is_touched() {
        let from = pattern();
        for count in lengths() {
            for shift in 0..3 {
                let mut to = vec![0xee; count + 200];
                // SAFETY: both are longer.
                let given = unsafe {
                    let place = to.as_mut_ptr().add(100 + shift);
                    memcpy(place, from.as_ptr().add(shift), count) == place
                };
                let (before, rest) = to.split_at(100 + shift);
                let (copied, behind) = rest.split_at(count);
                assert!(given && copied == &from[shift..shift + count], "{count}");
                assert!(
                    before.iter().chain(behind).all(|byte| *byte == 0xee),
                    "{count}"
                );
            }
        }
    }

    #[test]
    fn what_overlaps_is_moved_either_way() {
        for count in lengths() {
            for (from, to) in [
                (0, 1),
                (1, 0),
                (0, 40),
                (40, 0),
                (0, 64),
                (64, 0),
                (70, 0),
                (0, 900),
            ] {
                let (mut moved, mut expected) = (pattern(), pattern());
                expected.copy_within(from..from + count, to);
                // SAFETY: both places lie in the vector.
                unsafe {
                    let start = moved.as_mut_ptr();
                    memmove(start.add(to), start.add(from), count);
                }
                assert!(moved == expected, "{count} from {from} to {to}");
            }
        }
    }

    #[test]
    fn the_first_difference_decides() {
        let one = pattern();
        // SAFETY: both are as long as that.
        let order = |one: &[u8], other: &[u8]| unsafe {
            let count = one.len().min(other.len());
            assert_eq!(bcmp(one.as_ptr(), other.as_ptr(), count) == 0, one == other);
            memcmp(one.as_ptr(), other.as_ptr(), count).signum()
        };
        for count in lengths() {
            let part = &one[..count];
            assert_eq!(order(part, part), 0);
            for at in [0, 1, count / 2, count.saturating_sub(1)] {
                if at >= count {
                    continue;
                }
                let mut other = part.to_vec();
                // As far apart as can be: the order is that of bytes without a sign.
                for (byte, expected) in [(255, -1), (0, 1)] {
                    other[at] = byte;
                    if count > at + 1 {
                        other[at + 1] = !other[at];
                    }
                    if other[at] != part[at] {
                        assert_eq!(order(part, &other), expected, "{count} {at}");
                        assert_eq!(order(&other, part), -expected, "{count} {at}");
                    }
                    other = part.to_vec();
                }
            }
        }
    }
}
