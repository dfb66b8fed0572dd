//! The pragmas that matter to the preprocessor.

use super::dialect::Dialect;
use super::directives::{Change, Directive, Odd};
use super::interner::{intern, known, Id};
use super::tokens::{name_length, tokenize, Kind, Place, Token};

/// What `#pragma TEXT` does, if it matters.
pub(super) fn pragma(text: &[u8], dialect: Dialect) -> Option<Directive> {
    let text = text.trim_ascii_start();
    const FIRST: [&[u8]; 5] = [b"once", b"push_macro", b"pop_macro", b"GCC", b"clang"];
    if !FIRST.iter().any(|word| text.starts_with(word)) {
        return None;
    }
    let tokens = tokenize(text, dialect, Place::Plain);
    let words: Vec<&[u8]> = tokens.iter().map(|token| token.id.spelling()).collect();
    match (words.first().copied()?, words.get(1).copied()) {
        (b"once", _) => Some(Directive::Once),
        (b"push_macro", _) => Some(stack(&tokens, |name| Directive::Push { name })),
        (b"pop_macro", _) => Some(stack(&tokens, |name| Directive::Pop { name })),
        (b"GCC", Some(b"target")) => Some(Directive::Options(Change::Target)),
        (b"GCC", Some(b"optimize")) => Some(Directive::Options(Change::Optimize)),
        (b"GCC", Some(b"push_options")) => Some(Directive::Options(Change::Push)),
        (b"GCC", Some(b"pop_options")) => Some(Directive::Options(Change::Pop)),
        (b"GCC", Some(b"reset_options")) => Some(Directive::Options(Change::Reset)),
        (b"GCC", Some(b"system_header")) => Some(Directive::System),
        (b"GCC" | b"clang", Some(b"dependency")) => Some(dependency(text)),
        (b"GCC", Some(b"pch_preprocess")) | (b"clang", Some(b"module")) => Some(Directive::Odd {
            why: Odd::Precompiled,
        }),
        _ => None,
    }
}

/// `push_macro("NAME")`; what compilers make of anything else is their own affair.
fn stack(tokens: &[Token], make: impl FnOnce(Id) -> Directive) -> Directive {
    let name = match tokens {
        [_, open, string, close, ..]
            if open.is(known::OPEN) && close.is(known::CLOSE) && string.kind == Kind::String =>
        {
            let name = string.id.spelling().strip_prefix(b"\"");
            name.and_then(|name| name.strip_suffix(b"\""))
        }
        _ => None,
    };
    let is_name = |name: &&[u8]| {
        let first = name.first().copied().unwrap_or(b'0');
        !first.is_ascii_digit() && name_length(name) == name.len() && name.is_ascii()
    };
    match name.filter(is_name) {
        Some(name) => make(intern(name)),
        None => Directive::Odd {
            why: Odd::MacroStack,
        },
    }
}

fn dependency(text: &[u8]) -> Directive {
    let after = memchr::memmem::find(text, b"dependency").map_or(0, |at| at + b"dependency".len());
    match header_name(text.get(after..).unwrap_or_default().trim_ascii_start()) {
        Some((name, angle)) => Directive::Dependency {
            name: intern(name),
            angle,
        },
        None => Directive::Odd { why: Odd::NoName },
    }
}

/// The name in `"NAME"` or `<NAME>` at the start of `text`, and whether it is the latter.
pub fn header_name(text: &[u8]) -> Option<(&[u8], bool)> {
    let close = match text.first()? {
        b'"' => b'"',
        b'<' => b'>',
        _ => return None,
    };
    let inside = &text[1..];
    let end = inside.iter().position(|byte| *byte == close)?;
    Some((&inside[..end], close == b'>'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pragmas_that_matter_are_told_from_the_rest() {
        let name = |text: &str| intern(text.as_bytes());
        for (text, expected) in [
            (" once", Some(Directive::Once)),
            (" once more", Some(Directive::Once)),
            (" oncemore", None),
            (
                "\tpush_macro ( \"min\" )",
                Some(Directive::Push { name: name("min") }),
            ),
            (
                " pop_macro(\"min\")",
                Some(Directive::Pop { name: name("min") }),
            ),
            (
                " push_macro(min)",
                Some(Directive::Odd {
                    why: Odd::MacroStack,
                }),
            ),
            (
                " push_macro(\" min \")",
                Some(Directive::Odd {
                    why: Odd::MacroStack,
                }),
            ),
            (
                " GCC target(\"avx2\")",
                Some(Directive::Options(Change::Target)),
            ),
            (" GCC pop_options", Some(Directive::Options(Change::Pop))),
            (" GCC poison x", None),
            (
                " GCC dependency \"a b.h\" text",
                Some(Directive::Dependency {
                    name: name("a b.h"),
                    angle: false,
                }),
            ),
            (
                " clang dependency <a//b.h>",
                Some(Directive::Dependency {
                    name: name("a//b.h"),
                    angle: true,
                }),
            ),
            (
                " GCC dependency X",
                Some(Directive::Odd { why: Odd::NoName }),
            ),
            (
                " clang module import a",
                Some(Directive::Odd {
                    why: Odd::Precompiled,
                }),
            ),
            ("", None),
            (" omp parallel", None),
        ] {
            assert_eq!(
                pragma(text.as_bytes(), Dialect::default()),
                expected,
                "{text}"
            );
        }
    }
}
