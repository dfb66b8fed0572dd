//! A text in blocks of many bytes, which the processor compares all at once. Who looks for words in a long text says what a
//! block must have where one may begin, and looks closer only there.

use std::ops::{BitAnd, BitOr};

/// How many places of a block are looked at at once.
pub const BLOCK_BYTES: usize = 32;

/// A block with what follows it, for words that three bytes tell.
pub type Block = [u8; BLOCK_BYTES + 2];

/// Calls `note` with each place of a text that has its bit in what `begins` answers of its block, in their order. A block of
/// N bytes is [`BLOCK_BYTES`] and some that follow them, so that no word is cut; behind the end they are zeros.
#[inline(always)]
pub fn walk<const N: usize>(
    text: &[u8],
    begins: impl Fn(&[u8; N]) -> u32,
    mut note: impl FnMut(usize),
) {
    let mut from = 0;
    while from < text.len() {
        let starts = with_block(text, from, &begins);
        each_bit(starts, |place| note(from + place));
        from += BLOCK_BYTES;
    }
}

/// The first place from `from` on that has its bit in what `begins` answers of its block; the end if there is none.
#[inline(always)]
pub fn first<const N: usize>(text: &[u8], from: usize, begins: impl Fn(&[u8; N]) -> u32) -> usize {
    let mut from = from;
    while from < text.len() {
        let starts = with_block(text, from, &begins);
        if starts != 0 {
            return from + starts.trailing_zeros() as usize;
        }
        from += BLOCK_BYTES;
    }
    text.len()
}

/// What `answer` makes of the block at `from`.
#[inline(always)]
pub fn with_block<const N: usize, A>(
    text: &[u8],
    from: usize,
    answer: impl Fn(&[u8; N]) -> A,
) -> A {
    let rest = text.get(from..).unwrap_or_default();
    let padded;
    // Only here are there two ways: compilers take vectors to pieces where two ways with answers meet.
    let block = match rest.first_chunk() {
        Some(block) => block,
        None => {
            padded = with_zeros(rest);
            &padded
        }
    };
    answer(block)
}

/// The places of the bits that are set, the lowest first.
#[inline(always)]
pub fn each_bit(bits: u32, mut note: impl FnMut(usize)) {
    let mut left = bits;
    while left != 0 {
        note(left.trailing_zeros() as usize);
        left &= left - 1;
    }
}

/// The lowest `count` bits.
#[inline(always)]
pub fn lowest(count: usize) -> u32 {
    match count {
        0..BLOCK_BYTES => (1 << count) - 1,
        _ => u32::MAX,
    }
}

fn with_zeros<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut all = [0; N];
    all.iter_mut().zip(bytes).for_each(|(to, byte)| *to = *byte);
    all
}

/// The bits of a block, of which this answers for sixteen places from the given one on.
#[inline(always)]
pub fn bits(half: impl Fn(usize) -> Sixteen) -> u32 {
    half(0).bits() | half(16).bits() << 16
}

#[cfg(target_arch = "x86_64")]
pub use vectors::Sixteen;

#[cfg(not(target_arch = "x86_64"))]
pub use plainly::Sixteen;

#[cfg(target_arch = "x86_64")]
mod vectors {
    use safe_arch::{bitand_m128i, bitor_m128i, cmp_eq_mask_i8_m128i, m128i};
    use safe_arch::{move_mask_i8_m128i, set_splat_i8_m128i};

    /// Sixteen bytes; of an answer all bits of a byte are set, or none.
    #[derive(Clone, Copy)]
    pub struct Sixteen(m128i);

    impl Sixteen {
        /// Those of a block from `at` on.
        #[inline(always)]
        pub fn of<const N: usize>(block: &[u8; N], at: usize) -> Sixteen {
            let mut bytes = [0; 16];
            bytes.copy_from_slice(&block[at..at + 16]);
            Sixteen(m128i::from(bytes))
        }

        /// Which of them are this one.
        #[inline(always)]
        pub fn is(self, byte: u8) -> Sixteen {
            let all = set_splat_i8_m128i(byte as i8);
            Sixteen(cmp_eq_mask_i8_m128i(self.0, all))
        }

        /// All without these bits.
        #[inline(always)]
        pub fn without(self, bits: u8) -> Sixteen {
            self.and(Sixteen(set_splat_i8_m128i(!bits as i8)))
        }

        #[inline(always)]
        pub(super) fn and(self, other: Sixteen) -> Sixteen {
            Sixteen(bitand_m128i(self.0, other.0))
        }

        #[inline(always)]
        pub(super) fn or(self, other: Sixteen) -> Sixteen {
            Sixteen(bitor_m128i(self.0, other.0))
        }

        /// An answer as bits, that of the first byte the lowest.
        #[inline(always)]
        pub fn bits(self) -> u32 {
            move_mask_i8_m128i(self.0) as u32
        }
    }
}

/// The same on any machine.
#[cfg(any(test, not(target_arch = "x86_64")))]
mod plainly {
    /// Sixteen bytes; of an answer all bits of a byte are set, or none.
    #[derive(Clone, Copy)]
    pub struct Sixteen([u8; 16]);

    impl Sixteen {
        /// Those of a block from `at` on.
        pub fn of<const N: usize>(block: &[u8; N], at: usize) -> Sixteen {
            Sixteen(std::array::from_fn(|place| block[at + place]))
        }

        /// Which of them are this one.
        pub fn is(self, byte: u8) -> Sixteen {
            Sixteen(self.0.map(|other| if other == byte { 0xff } else { 0 }))
        }

        /// All without these bits.
        pub fn without(self, bits: u8) -> Sixteen {
            Sixteen(self.0.map(|byte| byte & !bits))
        }

        #[cfg(not(target_arch = "x86_64"))]
        pub(super) fn and(self, other: Sixteen) -> Sixteen {
            Sixteen(std::array::from_fn(|at| self.0[at] & other.0[at]))
        }

        #[cfg(not(target_arch = "x86_64"))]
        pub(super) fn or(self, other: Sixteen) -> Sixteen {
            Sixteen(std::array::from_fn(|at| self.0[at] | other.0[at]))
        }

        /// An answer as bits, that of the first byte the lowest.
        pub fn bits(self) -> u32 {
            let bits = self.0.iter().enumerate();
            bits.fold(0, |bits, (at, byte)| bits | u32::from(byte >> 7) << at)
        }
    }
}

impl BitAnd for Sixteen {
    type Output = Sixteen;

    #[inline(always)]
    fn bitand(self, other: Sixteen) -> Sixteen {
        self.and(other)
    }
}

impl BitOr for Sixteen {
    type Output = Sixteen;

    #[inline(always)]
    fn bitor(self, other: Sixteen) -> Sixteen {
        self.or(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn all_places_are_told_once_and_in_order() {
        for length in 0..3 * BLOCK_BYTES {
            let text: Vec<u8> = (0..length).map(|at| b"ab"[at / 3 % 2]).collect();
            let mut found = Vec::new();
            let pair = |block: &[u8; BLOCK_BYTES + 1]| {
                bits(|at| Sixteen::of(block, at).is(b'a') & Sixteen::of(block, at + 1).is(b'b'))
            };
            walk(&text, pair, |at| found.push(at));
            let expected: Vec<usize> = memchr::memmem::find_iter(&text, "ab").collect();
            assert_eq!(found, expected, "{length}");
        }
    }

    proptest! {
        #[test]
        fn any_machine_answers_the_same(block in any::<[u8; 17]>(), mask in any::<u8>()) {
            for byte in block {
                let vector = Sixteen::of(&block, 1).without(mask).is(byte & !mask).bits();
                let plain = plainly::Sixteen::of(&block, 1).without(mask).is(byte & !mask).bits();
                prop_assert_eq!(vector, plain);
            }
        }
    }
}
