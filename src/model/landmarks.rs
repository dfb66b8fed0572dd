//! Where a preprocessed text holds what matters before it travels. A text is long, and most of it is of no interest: all of
//! it is found in one walk, which looks at many bytes at once for pairs that are rare elsewhere.

use std::ops::Range;

/// How many bytes are looked at at once.
const BLOCK_BYTES: usize = 32;

/// What a call has that gives a source's columns.
const LOCATION: &[u8] = b"__builtin_source_location";

/// Where in it the pair stands that is looked for.
const LOCATION_PAIR_AT: usize = 13;

/// The places that matter, in their order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Landmarks {
    /// Lines, but for the first, that begin with `# `, as markers do.
    pub hashes: Vec<usize>,
    /// `.inc`, as `.incbin` and `.include` begin in assembler code.
    pub includes: Vec<usize>,
    /// `GCC`, as in pragmas.
    pub gcc: Vec<usize>,
    /// `__builtin_source_location` is called.
    pub asks_location: bool,
}

impl Landmarks {
    /// Those of a text.
    pub fn of(text: &[u8]) -> Landmarks {
        let mut found = Landmarks::default();
        let mut from = 0;
        // Each block has the first byte of the next one with it, so that no pair is cut.
        while let Some(block) = text.get(from..).and_then(<[u8]>::first_chunk) {
            if is_of_interest(block) {
                found.look(text, from..from + BLOCK_BYTES);
            }
            from += BLOCK_BYTES;
        }
        found.look(text, from..text.len());
        found
    }

    /// Looks closely at the bytes of this range.
    fn look(&mut self, text: &[u8], range: Range<usize>) {
        let bytes = text.get(range.clone()).unwrap_or_default();
        for (at, byte) in range.zip(bytes) {
            if matches!(byte, b'#' | b'.' | b'C' | b'r') {
                self.note(text, at, *byte);
            }
        }
    }

    /// Notes what this byte is a part of.
    #[inline(never)]
    fn note(&mut self, text: &[u8], at: usize, byte: u8) {
        let starts = |back: usize, word: &[u8]| {
            let rest = at.checked_sub(back).and_then(|at| text.get(at..));
            rest.is_some_and(|rest| rest.starts_with(word))
        };
        match byte {
            b'#' if starts(1, b"\n# ") => self.hashes.push(at),
            b'.' if starts(0, b".inc") => self.includes.push(at),
            b'C' if starts(1, b"GCC") => self.gcc.push(at - 1),
            b'r' => self.asks_location |= starts(LOCATION_PAIR_AT, LOCATION),
            _ => {}
        }
    }
}

/// Whether a block may hold any of it. Written so that the compiler makes steps of many bytes of it.
fn is_of_interest(block: &[u8; BLOCK_BYTES + 1]) -> bool {
    let mut found = 0;
    for at in 0..BLOCK_BYTES {
        let (byte, next) = (block[at], block[at + 1]);
        let pair = |one, other| u8::from(byte == one) & u8::from(next == other);
        found |= u8::from(byte == b'#') | pair(b'.', b'i') | pair(b'C', b'C') | pair(b'r', b'c');
    }
    found != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same, word by word.
    fn plainly(text: &[u8]) -> Landmarks {
        let all = |word| memchr::memmem::find_iter(text, word).collect::<Vec<usize>>();
        Landmarks {
            hashes: all("\n# ").into_iter().map(|at| at + 1).collect(),
            includes: all(".inc"),
            gcc: all("GCC"),
            asks_location: !all("__builtin_source_location").is_empty(),
        }
    }

    #[test]
    fn all_is_found_wherever_blocks_begin() {
        for word in [
            "\n# 1",
            ".include",
            "GCC",
            "__builtin_source_location",
            "rc",
            "#",
        ] {
            for before in 0..2 * BLOCK_BYTES {
                for after in [0, 1, 60, 70] {
                    let text = format!("{}{word}{}", " ".repeat(before), "x".repeat(after));
                    let found = Landmarks::of(text.as_bytes());
                    assert_eq!(found, plainly(text.as_bytes()), "{text:?}");
                }
            }
        }
        assert!(
            Landmarks::of(b"# 1 \"x.c\"\n").hashes.is_empty(),
            "not the first line"
        );
    }

    proptest! {
        #[test]
        fn nothing_else_is_found(words in proptest::collection::vec(
            "\n|# |#|\\.inc|\\.i|G|C|GCC|__builtin_source_location|rce|[a-z ]{1,70}", 0..40)
        ) {
            let text = words.concat();
            prop_assert_eq!(Landmarks::of(text.as_bytes()), plainly(text.as_bytes()));
        }
    }
}
