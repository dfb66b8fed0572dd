//! Warnings that clang gives by the files themselves, also unasked: by their lines, and by where one ends. Preprocessed text
//! has neither, so they would be lost (tried: clang 14). Errs on the side of yes.

use memchr::memmem;

use super::clang_text;
use super::empty_bodies::has_empty_body;
use super::invocation::Invocation;
use super::landmarks::Landmarks;
use super::plain_text::marker;

/// Why a text that clang's preprocessor made is not compiled elsewhere, but for `#pragma pack`.
pub fn keeps_local(
    text: &[u8],
    landmarks: &Landmarks,
    invocation: &Invocation,
) -> Option<&'static str> {
    if is_silent(invocation) {
        return None;
    }
    if landmarks.nullability && warns_of(NULLABILITY, text, invocation) {
        return Some("clang tells by the files where _Nonnull and its kin are left out");
    }
    let macros = clang_text::macros(invocation).unwrap_or_default();
    (warns_of(BODIES, text, invocation) && has_empty_body(text, landmarks, &macros))
        .then_some("clang warns of empty bodies by the lines of the file")
}

/// Whether clang might warn of `#pragma pack` where one file includes another, as far as a text tells. What is not in use
/// only `-E` leaves out.
pub fn may_warn_of_packs(text: &[u8], landmarks: &Landmarks, invocation: &Invocation) -> bool {
    let packs = || packs_over_files(text, landmarks);
    !is_silent(invocation) && (packs() || landmarks.makes_pragmas && makes_packs(text))
}

/// The same of a text of `-frewrite-includes`, which also uses the macros that the command defines.
pub fn may_pack(text: &[u8], landmarks: &Landmarks, invocation: &Invocation) -> bool {
    let macros = clang_text::macros(invocation).unwrap_or_default();
    let of_command = Landmarks::of(&macros, true);
    let commands = of_command.makes_pragmas || !of_command.packs.is_empty();
    let may = commands || may_warn_of_packs(text, landmarks, invocation);
    may && !is_silent(invocation)
}

fn is_silent(invocation: &Invocation) -> bool {
    clang_text::words(invocation).any(|word| word == b"-w")
}

/// Whether clang has said something of a text that it may say only because conditions and markers were rewritten, or lines
/// are others.
pub fn tells_of_rewriting(said: &[u8]) -> bool {
    const SAYS: [&[u8]; 3] = [
        b": embedding a directive within macro arguments",
        b": macro is not used",
        b" has empty body",
    ];
    SAYS.iter().any(|words| memmem::find(said, words).is_some())
}

/// What words of clang's about empty bodies begin with.
const BODIES: &str = "empty-body";

/// What those about `_Nonnull` and its kin begin with; one of them is about arrays only.
const NULLABILITY: &str = "nullability-completeness";

/// Whether clang may warn so: it does unless told otherwise, by the last word about it and in the text.
fn warns_of(warning: &str, text: &[u8], invocation: &Invocation) -> bool {
    let warning = warning.as_bytes();
    let mut words = clang_text::words(invocation);
    let last = words.rfind(|word| {
        let word = word.strip_prefix(b"-W").unwrap_or_default();
        let word = word.strip_prefix(b"no-").unwrap_or(word);
        let word = word.strip_prefix(b"error=").unwrap_or(word);
        word.starts_with(warning) || word == b"everything"
    });
    let no = last.and_then(|word| word.strip_prefix(b"-Wno-"));
    let is_off = no.is_some_and(|word| word == warning || word == b"everything");
    let names = |word: &[u8]| memmem::find(text, word).is_some();
    !is_off || names(&[b"W", warning].concat()) || names(b"Weverything")
}

/// Whether `#pragma pack` is in force, or something is kept by it, where a file begins or ends.
fn packs_over_files(text: &[u8], landmarks: &Landmarks) -> bool {
    let (mut packed, mut kept) = (false, Vec::new());
    let mut packs = landmarks.packs.iter().peekable();
    if packs.peek().is_none() {
        return false;
    }
    for hash in landmarks.hashes.iter().chain(Some(&text.len())) {
        while let Some(at) = packs.next_if(|at| *at < hash) {
            let line = text.get(*at..).unwrap_or_default();
            let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
            let Some(value) = pack_value(line) else {
                return true;
            };
            let words = value.split(|byte| *byte == b',');
            let mut words = words.map(<[u8]>::trim_ascii).peekable();
            let first = words.next_if(|word| matches!(*word, b"push" | b"pop" | b"show"));
            let sets = words.any(|word| !word.is_empty());
            match first {
                Some(b"push") => kept.push(packed),
                Some(b"pop") => packed = kept.pop().unwrap_or(packed),
                Some(_) => {}
                None => packed = false,
            }
            packed |= sets;
        }
        let line = text.get(*hash..).unwrap_or_default();
        let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let crosses = |flags: &[u8]| flags.contains(&b'1') || flags.contains(&b'2');
        if marker(line).is_some_and(|marker| crosses(marker.flags)) && (packed || !kept.is_empty())
        {
            return true;
        }
    }
    false
}

/// Whether a macro may make `#pragma pack`, or what is like it, of what it is given, where macros make pragmas.
fn makes_packs(text: &[u8]) -> bool {
    [b"pack", &b"align"[..], b"options"].iter().any(|word| {
        memmem::find_iter(text, word).any(|at| {
            let (before, rest) = text.split_at_checked(at).unwrap_or_default();
            let rest = rest
                .get(word.len()..)
                .unwrap_or_default()
                .trim_ascii_start();
            let follows = match *word {
                b"pack" => rest.starts_with(b"("),
                b"align" => rest.starts_with(b"="),
                _ => rest.starts_with(b"align"),
            };
            follows && may_be_given(before)
        })
    })
}

/// Whether what follows may be an argument of a macro, in a string, or what a macro stands for.
fn may_be_given(before: &[u8]) -> bool {
    let is_define = || {
        let line = memchr::memrchr(b'\n', before).and_then(|end| before.get(end..));
        let word = line.unwrap_or(before).trim_ascii_start().strip_prefix(b"#");
        word.is_some_and(|word| word.trim_ascii_start().starts_with(b"define"))
    };
    let last = before.trim_ascii_end().last();
    let in_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    !before.last().is_some_and(in_name)
        && (matches!(last, Some(b'(' | b',' | b'"' | b'/')) || is_define())
}

/// What stands in the parentheses of `pragma pack (…)`, if that can be seen.
fn pack_value(line: &[u8]) -> Option<&[u8]> {
    let line = line.strip_prefix(b"ragma")?.trim_ascii_start();
    let line = line.strip_prefix(b"(").unwrap_or(line).trim_ascii_start();
    let line = line.strip_prefix(b"\"").unwrap_or(line).trim_ascii_start();
    let line = line.strip_prefix(b"pack")?.trim_ascii_start();
    let line = line.strip_prefix(b"(")?;
    line.get(..memchr::memchr(b')', line)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::invocation;

    fn keeps(command: &str, text: &str) -> bool {
        let text = text.as_bytes();
        let (landmarks, invocation) = (Landmarks::of(text, true), invocation(command));
        keeps_local(text, &landmarks, &invocation).is_some()
            || may_warn_of_packs(text, &landmarks, &invocation)
    }

    #[test]
    fn the_last_word_about_empty_bodies_counts() {
        let pragma = "#pragma clang diagnostic warning \"-Wempty-body\"\nif (a);\n";
        for (command, text, kept) in [
            ("clang -c a.c", "if (a);\n", true),
            ("clang -Wno-empty-body -c a.c", "if (a);\n", false),
            ("clang -Wno-empty-body -Wall -c a.c", "if (a);\n", false),
            (
                "clang -Wno-empty-body -Wempty-body -c a.c",
                "if (a);\n",
                true,
            ),
            (
                "clang -Wempty-body -Wno-empty-body -c a.c",
                "if (a);\n",
                false,
            ),
            (
                "clang -Wno-empty-body -Werror=empty-body -c a.c",
                "if (a);\n",
                true,
            ),
            ("clang -Wno-empty-body -c a.c", pragma, true),
            ("clang -Wno-empty-body -c a.c -w", pragma, false),
            ("clang -DA=if(a) -c a.c", "A;\n", true),
        ] {
            assert_eq!(keeps(command, text), kept, "{command}: {text}");
        }
    }

    #[test]
    fn the_last_word_about_nullability_counts() {
        let text = "extern int *_Nonnull p; extern int *q;\n";
        let pragma = format!("#pragma clang diagnostic error \"-Weverything\"\n{text}");
        let on = "-Wnullability-completeness-on-arrays";
        for (words, text, kept) in [
            ("", text, true),
            ("-Wno-nullability", text, true),
            ("-Wno-nullability-completeness", text, false),
            ("-Wno-nullability-completeness -Wall", text, false),
            ("-Wno-nullability-completeness", &pragma, true),
            ("-Wno-everything", text, false),
            (&format!("-Wno-nullability-completeness {on}"), text, true),
            (&format!("{on} -Wno-nullability-completeness"), text, false),
        ] {
            assert_eq!(
                keeps(format!("clang -c a.c {words}").trim_end(), text),
                kept,
                "{words}"
            );
        }
    }

    #[test]
    fn what_clang_tells_by_files_is_seen() {
        let enters = "\n# 1 \"h.h\" 1\n";
        let leaves = "\n# 2 \"a.c\" 2\n";
        for (header, kept) in [
            ("extern int *_Nonnull p; extern int *q;", true),
            ("extern int *_Nullable p;", true),
            ("extern int *_Null_unspecified p;", true),
            ("int MY_NONE;", false),
            ("#pragma pack(push,1)", true),
            ("#pragma pack(push,1)\nint a;\n# pragma pack ( pop )", false),
            ("#pragma pack(2)\nint a;\n#pragma pack()", false),
            ("#pragma pack(2)\nint a;\n#pragma pack(4)", true),
            ("#pragma pack(SIZE)", true),
            ("_Pragma(\"pack(push)\")", true),
            (
                "_Pragma(\"pack(push, 2)\") int a; _Pragma ( \"pack(pop)\")",
                false,
            ),
            ("#pragma /**/ pack(2)", true),
            ("#pragma once\nint pack(int);", false),
            ("#pragma pack(show)", false),
            ("#define P(x) _Pragma(#x)\nP(pack(push, 1))", true),
            (
                "#define P(x) _Pragma (#x)\n#define Q pack (1)\nR(P, Q)",
                true,
            ),
            ("#define P \"pack(1)\"\n_Pragma(P)", true),
            ("_Pragma\n(\"pack(1)\")", true),
            ("#define P(x) _Pragma(#x)\nP(options align=packed)", true),
            (
                "#define P(x) _Pragma(#x)\nint a = pack(1); // a pack (x)",
                false,
            ),
            ("#define P(x) _Pragma(#x)\nint a = f(repack(1));", false),
            (
                "# define __glibc_macro_warning1(message) _Pragma (#message)\nf(pack(1));",
                false,
            ),
        ] {
            let text = format!("# 1 \"a.c\"{enters}{header}{leaves}int b;\n");
            assert_eq!(keeps("clang -c a.c", &text), kept, "{header}");
        }
        let around = format!("#pragma pack(1){enters}int a;{leaves}#pragma pack()\n");
        assert!(keeps("clang -c a.c", &around));
        let own = "# 1 \"a.c\"\n#pragma pack(1)\n# 7 \"a.c\"\nint a;\n";
        assert!(!keeps("clang -c a.c", own), "no file begins or ends");
    }
}
