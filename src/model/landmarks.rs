//! Where a preprocessed text holds what matters before it travels. A text is long, and most of it is of no interest: all of
//! it is found in one walk, which looks for pairs of bytes that are rare elsewhere.

use super::blocks::{bits, walk, Sixteen, BLOCK_BYTES};

/// The bit by which small letters differ from capitals.
const CASE: u8 = 0x20;

/// What a call has that gives a source's columns.
const LOCATION: &[u8] = b"__builtin_source_location";

/// What gives the column of a call.
const COLUMN: &[u8] = b"__builtin_COLUMN";

/// Where in it the pair stands that is looked for.
const COLUMN_PAIR_AT: usize = 10;

/// Where in the other it stands.
const LOCATION_PAIR_AT: usize = 13;

/// As `.incbin` and `.include` begin.
const INCLUDE: &[u8] = b".inc";

/// Where in `ragma`, as both `#pragma` and `_Pragma` end, the pair stands that is looked for.
const PRAGMA_PAIR_AT: usize = 2;

/// What the C library puts before a pragma that it makes, for warnings.
const OF_LIBRARY: &[u8] = b"# define __glibc_macro_warning1(message) _P";

/// What clang tells by the files where it is left out.
const NULLABILITY: [&[u8]; 3] = [b"_Nonnull", b"_Nullable", b"_Null_unspecified"];

/// The places that matter, in their order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Landmarks {
    /// Lines, but for the first, that begin with `# `, as markers do.
    pub hashes: Vec<usize>,
    /// The first `#line` directive.
    pub line_directive: Option<usize>,
    /// `.inc`, as `.incbin` and `.include` begin in assembler code, which has them in any case.
    pub includes: Vec<usize>,
    /// `GCC`, as in pragmas.
    pub gcc: Vec<usize>,
    /// In a text of clang's, `ragma`, as pragmas are written, in front of what may be `pack`.
    pub packs: Vec<usize>,
    /// In a text of clang's, `_Nonnull` or one of its kin is there.
    pub nullability: bool,
    /// `##`, what macros paste with, where they have not been expanded.
    pub pastes: Vec<usize>,
    /// In a text of clang's, `_Pragma` is there without a string on its line.
    pub makes_pragmas: bool,
    /// `R"` is there, as raw strings begin.
    pub raw_strings: bool,
    /// `__builtin_COLUMN` is called.
    pub asks_column: bool,
    /// `__builtin_source_location` is called.
    pub asks_location: bool,
}

impl Landmarks {
    /// Those of a text; `packs`, `nullability` and `makes_pragmas` only if it is clang's.
    pub fn of(text: &[u8], is_clangs: bool) -> Landmarks {
        match is_clangs {
            true => Landmarks::walk::<true>(text),
            false => Landmarks::walk::<false>(text),
        }
    }

    fn walk<const CLANG: bool>(text: &[u8]) -> Landmarks {
        let mut found = Landmarks::default();
        walk(text, pairs::<CLANG>, |at| {
            if let Some(byte) = text.get(at) {
                found.note(text, at, *byte);
            }
        });
        found
    }

    /// Notes what this byte is a part of.
    #[inline(never)]
    fn note(&mut self, text: &[u8], at: usize, byte: u8) {
        let starts = |back: usize, word: &[u8]| {
            let rest = at.checked_sub(back).and_then(|at| text.get(at..));
            rest.is_some_and(|rest| rest.starts_with(word))
        };
        match byte {
            b'#' => {
                if starts(1, b"\n# ") {
                    self.hashes.push(at);
                } else if starts(0, b"##") {
                    self.pastes.push(at);
                }
                if self.line_directive.is_none() && is_line_directive(text, at) {
                    self.line_directive = Some(at);
                }
            }
            b'g' if starts(PRAGMA_PAIR_AT, b"ragma") => self.note_pragma(text, at - PRAGMA_PAIR_AT),
            b'_' => self.nullability |= NULLABILITY.iter().any(|word| starts(0, word)),
            b'.' if is_include(text, at) => self.includes.push(at),
            b'C' if starts(1, b"GCC") => self.gcc.push(at - 1),
            b'C' => self.asks_column |= starts(COLUMN_PAIR_AT, COLUMN),
            b'R' => self.raw_strings |= starts(0, b"R\""),
            b'r' => self.asks_location |= starts(LOCATION_PAIR_AT, LOCATION),
            _ => {}
        }
    }

    /// Notes a pragma of clang's, of which `ragma` is at `at`.
    fn note_pragma(&mut self, text: &[u8], at: usize) {
        let (before, rest) = text.split_at_checked(at).unwrap_or_default();
        let rest = rest.get(b"ragma".len()..).unwrap_or_default();
        let is_operator = before.ends_with(b"_P");
        if is_operator && !before.ends_with(OF_LIBRARY) {
            let is_gap = |byte: &u8| matches!(byte, b' ' | b'\t' | b'(');
            let value = rest.iter().find(|byte| !is_gap(byte));
            self.makes_pragmas |= value != Some(&b'"');
        }
        if may_pack(rest) {
            self.packs.push(at);
        }
    }
}

/// Whether the `#` at `at` begins a `#line`.
fn is_line_directive(text: &[u8], at: usize) -> bool {
    let (before, rest) = text.split_at_checked(at).unwrap_or_default();
    let is_blank = |byte: &&u8| matches!(byte, b' ' | b'\t');
    let skip = |text: &[u8]| text.iter().take_while(is_blank).count();
    let word = rest.get(1..).unwrap_or_default();
    let word = word.get(skip(word)..).unwrap_or_default();
    word.strip_prefix(b"line")
        .is_some_and(|rest| skip(rest) > 0)
        && matches!(
            before.iter().rev().find(|byte| !is_blank(byte)),
            None | Some(b'\n')
        )
}

/// Is `.inc` there, in any case?
fn is_include(text: &[u8], at: usize) -> bool {
    let word = text.get(at..at + INCLUDE.len());
    word.is_some_and(|word| word.eq_ignore_ascii_case(INCLUDE))
}

/// Whether a pragma, of which this is the rest, may be about `pack`, or about what is like it.
fn may_pack(rest: &[u8]) -> bool {
    let marks = |byte: &u8| matches!(byte, b' ' | b'\t' | b'(' | b'"');
    let skipped = rest.iter().take_while(|byte| marks(byte)).count();
    let rest = rest.get(skipped..).unwrap_or_default();
    // What stands behind a comment or on the next line is not looked for.
    [&b"pack"[..], b"options", b"align", b"/*", b"\\"]
        .iter()
        .any(|word| rest.starts_with(word))
}

/// Where in a block something of it may begin, a bit for each byte.
#[inline(always)]
fn pairs<const CLANG: bool>(block: &[u8; BLOCK_BYTES + 1]) -> u32 {
    bits(|at| {
        let (bytes, next) = (Sixteen::of(block, at), Sixteen::of(block, at + 1));
        let pair = |one, other| bytes.is(one) & next.is(other);
        let dot = bytes.is(b'.') & next.without(CASE).is(b'I');
        let capitals = bytes.is(b'C') & next.without(b'C' ^ b'O').is(b'C');
        let found = bytes.is(b'#') | dot | capitals | pair(b'r', b'c') | pair(b'R', b'"');
        match CLANG {
            true => found | pair(b'g', b'm') | pair(b'_', b'N'),
            false => found,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same pairs, byte by byte.
    fn pairs_by_bytes<const CLANG: bool>(block: &[u8; BLOCK_BYTES + 1]) -> u32 {
        let begins = |at: &usize| {
            let (byte, next) = (block[*at], block[at + 1]);
            match byte {
                b'#' => true,
                b'.' => next & !CASE == b'I',
                b'C' => next & !(b'C' ^ b'O') == b'C',
                b'r' => next == b'c',
                b'R' => next == b'"',
                b'g' => CLANG && next == b'm',
                b'_' => CLANG && next == b'N',
                _ => false,
            }
        };
        let places = (0..BLOCK_BYTES).filter(begins);
        places.fold(0, |found, at| found | 1 << at)
    }

    /// The same, word by word.
    fn plainly(text: &[u8]) -> Landmarks {
        let all = |word: &str| memchr::memmem::find_iter(text, word).collect::<Vec<usize>>();
        let packs = ["ragma pack", "ragma(\"pack", "ragma(pack"];
        let mut packs = packs.map(all).concat();
        packs.sort_unstable();
        let lower = text.to_ascii_lowercase();
        let mut at = 0;
        let mut line_directive = None;
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let trimmed = String::from_utf8_lossy(line).replace('\t', " ");
            let words = trimmed.trim_start_matches(' ').strip_prefix('#');
            let words = words.map(|words| words.trim_start_matches(' ').starts_with("line "));
            if words == Some(true) && line_directive.is_none() {
                line_directive = Some(at + memchr::memchr(b'#', line).unwrap_or_default());
            }
            at += line.len();
        }
        let mut pastes: Vec<usize> = (0..text.len())
            .filter(|at| text[*at..].starts_with(b"##"))
            .collect();
        let hashes: Vec<usize> = all("\n# ").into_iter().map(|at| at + 1).collect();
        pastes.retain(|at| !hashes.contains(at));
        Landmarks {
            line_directive,
            hashes,
            pastes,
            makes_pragmas: !all("_Pragma(#").is_empty(),
            includes: memchr::memmem::find_iter(&lower, ".inc").collect(),
            packs,
            nullability: NULLABILITY
                .iter()
                .any(|word| memchr::memmem::find(text, word).is_some()),
            gcc: all("GCC"),
            raw_strings: !all("R\"").is_empty(),
            asks_column: !all("__builtin_COLUMN").is_empty(),
            asks_location: !all("__builtin_source_location").is_empty(),
        }
    }

    #[test]
    fn all_is_found_wherever_blocks_begin() {
        for word in [
            "\n# 1",
            "\n #\t line 7",
            "\n#liner",
            "x #line 7",
            ".include",
            ".INCBIN",
            ".iNc",
            "#pragma pack(1)",
            "_Pragma(\"pack()\")",
            "int *_Nonnull p",
            "_Nullable",
            "pragma once",
            "GCC",
            "R\"(",
            "__builtin_COLUMN",
            "__builtin_source_location",
            "a##b",
            "_Pragma(#x)",
            "rc",
            "#",
        ] {
            for before in 0..2 * BLOCK_BYTES {
                for after in [0, 1, 60, 70] {
                    let text = format!("{}{word}{}", " ".repeat(before), "x".repeat(after));
                    let found = Landmarks::of(text.as_bytes(), true);
                    assert_eq!(found, plainly(text.as_bytes()), "{text:?}");
                    let less = Landmarks {
                        packs: Vec::new(),
                        nullability: false,
                        makes_pragmas: false,
                        ..found
                    };
                    let of_gcc = Landmarks::of(text.as_bytes(), false);
                    assert_eq!(of_gcc, less, "{text:?}");
                }
            }
        }
        assert!(
            Landmarks::of(b"# 1 \"x.c\"\n", true).hashes.is_empty(),
            "not the first line"
        );
    }

    proptest! {
        #[test]
        fn bytes_and_vectors_see_the_same(block in "[#.iICORrc\"gm_N ]{33}") {
            let mut bytes = [0; BLOCK_BYTES + 1];
            bytes.copy_from_slice(block.as_bytes());
            let block = &bytes;
            prop_assert_eq!(pairs::<true>(block), pairs_by_bytes::<true>(block));
            prop_assert_eq!(pairs::<false>(block), pairs_by_bytes::<false>(block));
        }

        #[test]
        fn nothing_else_is_found(words in proptest::collection::vec(
            "\n|# |#|#line |line |\\.inc|\\.i|\\.INC|G|C|GCC|pragma|pragma pack|Pragma\\(\"pack|_N|_Nonnull|_Nullable|__builtin_source_location|rce|_Pragma\\(#|##|[a-z ]{1,70}", 0..40)
        ) {
            let text = words.concat();
            prop_assert_eq!(Landmarks::of(text.as_bytes(), true), plainly(text.as_bytes()));
        }
    }
}
