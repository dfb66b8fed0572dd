//! What comes of words in the text between directives that matter to the preprocessor or to whoever sends the file elsewhere:
//! the clock, files named in assembler text, macros that are pushed and popped by `_Pragma`.

use memchr::memmem::find;

use super::directives::{Change, Clock, Directive, Odd};
use super::interner::{intern, Id};
use super::text_words::{behind, change, Hit, INCBIN, INCLUDE};
use super::tokens::{blanks, in_name, name_length};

/// A longer name of a macro that pushes and pops is not read: one may hold as many such words as it likes.
const NAME_MAX: usize = 4096;

/// Which of them it is.
fn clock(after: &[u8]) -> Clock {
    match after.starts_with(b"__DA") || after.starts_with(b"__TIME__") {
        true => Clock::Run,
        false => Clock::File,
    }
}

/// The name before the parenthesis that `text` ends in.
fn called(text: &[u8]) -> Id {
    let text = text.trim_ascii_end();
    let text = text.strip_suffix(b"(").unwrap_or(text).trim_ascii_end();
    let start = text.iter().rposition(|byte| !in_name(*byte));
    intern(&text[start.map_or(0, |start| start + 1)..])
}

/// What a hit at `at` in the line from `start` to `end` comes to.
pub(super) fn in_text(
    text: &[u8],
    start: usize,
    end: usize,
    at: usize,
    hit: Hit,
) -> Option<Directive> {
    let line = text.get(start..end).unwrap_or_default();
    let (before, after) = line.split_at(at.saturating_sub(start).min(line.len()));
    let odd = |why| Some(Directive::Odd { why });
    match hit {
        Hit::Clock => Some(Directive::Clock(clock(after))),
        Hit::Pragma => pragma_decides(after).then_some(Directive::Odd { why: Odd::Pragma }),
        Hit::MacroStack => macro_stack(before, after).or(odd(Odd::MacroStack)),
        Hit::Options => after.get(3..).and_then(change).map(Directive::Options),
        Hit::Once => Some(Directive::Made {
            name: called(before),
        }),
        Hit::Carrier => match name_around(line, before.len()) {
            None => odd(Odd::MacroStack),
            Some(name) if line.trim_ascii().len() == name.len() => {
                Some(Directive::Alone { name: intern(name) })
            }
            Some(name) => Some(Directive::Amid { name: intern(name) }),
        },
        Hit::Assembler => match behind(after, INCBIN).map(assembler_file) {
            Some(Some(name)) => Some(Directive::Incbin { name }),
            Some(None) => odd(Odd::Assembler),
            None => names_file(after).then_some(Directive::Odd {
                why: Odd::Assembler,
            }),
        },
        Hit::Import => odd(Odd::Module),
    }
}

/// What a hit in the line of a `#define` of `defined` comes to.
pub(super) fn in_definition(line: &[u8], at: usize, hit: Hit, defined: Id) -> Option<Directive> {
    let (before, after) = line.split_at(at.min(line.len()));
    let odd = |why| Some(Directive::Odd { why });
    match hit {
        Hit::Clock => Some(Directive::Clock(clock(after))),
        Hit::Pragma if pragma_decides(after) => odd(Odd::Pragma),
        Hit::Pragma => (!is_literal(after)).then_some(Directive::Maker),
        Hit::Options => Some(Directive::Options(Change::Unknown)),
        Hit::Once => Some(Directive::Made {
            name: called(before),
        }),
        Hit::MacroStack => Some(Directive::Carrier { name: defined }),
        Hit::Carrier => match name_around(line, before.len()).map(intern) {
            None => odd(Odd::MacroStack),
            Some(name) if name == defined => None,
            Some(name) => Some(Directive::Amid { name }),
        },
        Hit::Assembler if behind(after, INCBIN).is_some() => odd(Odd::Assembler),
        Hit::Assembler => names_file(after).then_some(Directive::Odd {
            why: Odd::Assembler,
        }),
        Hit::Import => odd(Odd::Module),
    }
}

/// The whole name that `at` is in, unless it is too long.
fn name_around(line: &[u8], at: usize) -> Option<&[u8]> {
    let (before, after) = line.split_at(at.min(line.len()));
    let is_part = |byte: &&u8| in_name(**byte);
    let behind = before.iter().rev().take(NAME_MAX).take_while(is_part);
    let ahead = after.iter().take(NAME_MAX).take_while(is_part);
    let (start, end) = (before.len() - behind.count(), at + ahead.count());
    line.get(start..end).filter(|name| name.len() < NAME_MAX)
}

/// Is `text` a `_Pragma ("…")` about once-only headers and the like?
fn pragma_decides(text: &[u8]) -> bool {
    const DECIDING: [&[u8]; 4] = [
        b"once",
        b"GCC dependency",
        b"clang module",
        b"clang dependency",
    ];
    let text = text
        .strip_prefix(b"_Pragma")
        .unwrap_or(text)
        .trim_ascii_start();
    let text = text.strip_prefix(b"(").unwrap_or(text).trim_ascii_start();
    let quote = text.iter().position(|byte| *byte == b'"');
    let inside = quote.map_or(&b""[..], |quote| text[quote + 1..].trim_ascii_start());
    DECIDING.iter().any(|word| inside.starts_with(word))
}

/// Is it `_Pragma ("`?
fn is_literal(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"_Pragma").unwrap_or(text);
    let text = text.trim_ascii_start().strip_prefix(b"(");
    text.is_some_and(|text| text.trim_ascii_start().starts_with(b"\""))
}

/// `_Pragma("push_macro(\"NAME\")")`; `before` ends in `push` or `pop`.
fn macro_stack(before: &[u8], after: &[u8]) -> Option<Directive> {
    let after = after.strip_prefix(b"_macro")?.trim_ascii_start();
    let after = after.strip_prefix(b"(")?.trim_ascii_start();
    let after = after.strip_prefix(b"\\\"")?;
    let length = after.iter().take_while(|byte| in_name(**byte)).count();
    let (name, after) = after.split_at(length);
    let after = after.strip_prefix(b"\\\"")?.trim_ascii_start();
    let after = after.strip_prefix(b")")?.trim_ascii_start();
    after.strip_prefix(b"\"")?;
    let (before, is_push) = match before.strip_suffix(b"push") {
        Some(before) => (before, true),
        None => (before.strip_suffix(b"pop")?, false),
    };
    let before = before
        .trim_ascii_end()
        .strip_suffix(b"\"")?
        .trim_ascii_end();
    let before = before.strip_suffix(b"(")?.trim_ascii_end();
    let before = before.strip_suffix(b"_Pragma")?;
    // Among a macro's arguments it may count twice, or not at all.
    let count = |byte| memchr::memchr_iter(byte, before).count();
    if count(b'(') != count(b')') {
        return None;
    }
    let name = intern(name);
    Some(match is_push {
        true => Directive::Push { name },
        false => Directive::Pop { name },
    })
}

/// The file in ` \"FILE\"` within a string.
fn assembler_file(text: &[u8]) -> Option<Id> {
    let blank = blanks(text);
    let text = text.get(blank..)?.strip_prefix(b"\\\"")?;
    let end = find(text, b"\\\"")?;
    let name = &text[..end];
    let is_odd = |byte: &u8| matches!(byte, b'\\' | b'"' | b'\n' | b'\r' | b'%');
    (blank > 0 && !name.is_empty() && !name.iter().any(is_odd)).then(|| intern(name))
}

/// Does a file name, or the end of a string, follow `.include`?
fn names_file(text: &[u8]) -> bool {
    let text = behind(text, INCLUDE).unwrap_or(text);
    let blank = blanks(text);
    blank > 0 && matches!(text.get(blank), Some(b'"' | b'\\'))
}

/// Does a line start as the directives of C++ modules do?
pub(super) fn starts_module(line: &[u8]) -> bool {
    let (mut name, mut rest) = line.split_at(name_length(line));
    if name == b"export" {
        rest = rest.trim_ascii_start();
        (name, rest) = rest.split_at(name_length(rest));
    }
    let first = rest.trim_ascii_start().first().copied().unwrap_or(b'\n');
    match name {
        b"import" => in_name(first) || matches!(first, b'<' | b'"' | b':'),
        b"module" => in_name(first) || matches!(first, b';' | b':'),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::dialect::Dialect;
    use crate::model::text_words::Hits;

    fn notes(line: &str) -> Vec<Directive> {
        let text = line.as_bytes();
        let dialect = Dialect {
            objective: true,
            clang: true,
            ..Dialect::default()
        };
        let mut hits = Hits::new(text, dialect);
        std::iter::from_fn(|| hits.before(text.len()))
            .filter_map(|(at, hit)| in_text(text, 0, text.len(), at, hit))
            .collect()
    }

    #[test]
    fn words_that_matter_are_found() {
        let odd = |why| Directive::Odd { why };
        let name = |text: &str| intern(text.as_bytes());
        for (line, expected) in [
            (
                "x = __DATE__ __TIME__;",
                vec![Directive::Clock(Clock::Run); 2],
            ),
            ("__TIMESTAMP__", vec![Directive::Clock(Clock::File)]),
            ("my__DATE__ __TIME_T __DATES", vec![]),
            ("CAT(__DATE, __)", vec![Directive::Clock(Clock::Run)]),
            ("__DA ## TE__", vec![Directive::Clock(Clock::Run)]),
            ("__TI ## ME__", vec![Directive::Clock(Clock::File)]),
            ("__DAB __TIN", vec![]),
            (
                "CAT(__TIMES, TAMP__) __TIME",
                vec![Directive::Clock(Clock::File); 2],
            ),
            ("_Pragma(\"once\") x", vec![odd(Odd::Pragma)]),
            ("_Pragma ( \"GCC diagnostic push\" )", vec![]),
            (
                "_Pragma(\"push_macro(\\\"min\\\")\") _Pragma(\"pop_macro( \\\"max\\\" )\")",
                vec![
                    Directive::Push { name: name("min") },
                    Directive::Pop { name: name("max") },
                ],
            ),
            ("DO(push_macro(\"x\"))", vec![odd(Odd::MacroStack)]),
            (
                "F(_Pragma(\"push_macro(\\\"x\\\")\"))",
                vec![odd(Odd::MacroStack)],
            ),
            (
                "_Pragma(\"GCC target(\\\"avx\\\")\") DO(GCC pop_options)",
                vec![
                    Directive::Options(Change::Target),
                    Directive::Options(Change::Pop),
                ],
            ),
            ("the GCC targets", vec![]),
            (
                "DO ( once ) at once",
                vec![Directive::Made { name: name("DO") }],
            ),
            ("my_macro()", vec![]),
            (
                "  _LIBCPP_PUSH_MACROS ",
                vec![Directive::Alone {
                    name: name("_LIBCPP_PUSH_MACROS"),
                }],
            ),
            (
                "A_POP_MACROS x",
                vec![Directive::Amid {
                    name: name("A_POP_MACROS"),
                }],
            ),
            (
                "asm(\".incbin \\\"a/b.bin\\\", 2\");",
                vec![Directive::Incbin {
                    name: name("a/b.bin"),
                }],
            ),
            ("asm(\".incbin \" NAME);", vec![odd(Odd::Assembler)]),
            (
                "asm(\".INCBIN \\\"a\\\"\");",
                vec![Directive::Incbin { name: name("a") }],
            ),
            ("asm(\".Include \\\"a\\\"\");", vec![odd(Odd::Assembler)]),
            ("incbin(x)", vec![]),
            ("asm(\".include \\\"a\\\"\");", vec![odd(Odd::Assembler)]),
            ("x.include_dirs(y)", vec![]),
            ("@import Foo;", vec![odd(Odd::Module)]),
        ] {
            assert_eq!(notes(line), expected, "{line}");
        }
        let long = "PUSH_MACROS".repeat(NAME_MAX);
        assert_eq!(notes(&long), vec![odd(Odd::MacroStack); NAME_MAX]);
    }
}
