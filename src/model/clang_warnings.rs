//! Warnings that clang gives by the files themselves, also unasked: by their lines, and by where one ends. Preprocessed text
//! has neither, so they would be lost (tried: clang 14). Errs on the side of yes.

use memchr::memmem;
use std::collections::BTreeSet;

use super::clang_text;
use super::indentation::begins_with;
use super::invocation::Invocation;
use super::landmarks::Landmarks;
use super::literals::without_comments;
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
    (warns_of(BODIES, text, invocation) && has_empty_body(text, &macros))
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
    let line = before
        .rsplit(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let is_define = || {
        let word = line.trim_ascii_start().strip_prefix(b"#");
        word.is_some_and(|word| word.trim_ascii_start().starts_with(b"define"))
    };
    let last = before.trim_ascii_end().last();
    !before.last().is_some_and(|byte| in_name(*byte))
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

/// Macros that begin a statement.
#[derive(Default)]
struct Guards<'t> {
    /// They end in `if` or its kin, whose condition follows.
    keywords: BTreeSet<&'t [u8]>,
    /// Its condition is in them.
    heads: BTreeSet<&'t [u8]>,
    /// Those of both that are of `while`, which may also end a loop that others begin.
    whiles: BTreeSet<&'t [u8]>,
    /// Macros that are `do`.
    dos: BTreeSet<&'t [u8]>,
}

impl<'t> Guards<'t> {
    /// Those that texts without comments define.
    fn of(texts: [&'t [u8]; 2]) -> Guards<'t> {
        let mut guards = Guards::default();
        let lines = texts.map(|text| text.split(|byte| *byte == b'\n'));
        let mut defines: Vec<(&[u8], &[u8])> =
            lines.into_iter().flatten().filter_map(define).collect();
        let dos = defines.iter().filter(|(_, body)| *body == b"do");
        guards.dos = dos.map(|(name, _)| *name).collect();
        loop {
            let before = defines.len();
            defines.retain(|(name, body)| !guards.add(name, body));
            let is_empty = guards.keywords.is_empty() && guards.heads.is_empty();
            if defines.len() == before || is_empty {
                return guards;
            }
        }
    }

    /// Adds a macro if it is such a one.
    fn add(&mut self, name: &'t [u8], body: &'t [u8]) -> bool {
        let inside = body.strip_suffix(b")");
        let Some(head) = inside.map_or(Some(body), before_parentheses) else {
            return false;
        };
        let word = last_word(head);
        let is_while = word == b"while" || self.whiles.contains(word);
        let begins_do = || {
            let first = body.iter().take_while(|byte| in_name(**byte)).count();
            let first = body.get(..first).unwrap_or_default();
            first == b"do" || self.dos.contains(first)
        };
        if !(is_keyword(word) || self.keywords.contains(word) || self.heads.contains(word))
            || is_while && begins_do()
        {
            return false;
        }
        if is_while {
            self.whiles.insert(name);
        }
        match inside.is_some() || self.heads.contains(word) {
            true => self.heads.insert(name),
            false => self.keywords.insert(name),
        }
    }
}

/// The name of a macro that a line defines, and what it stands for.
fn define(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = line.trim_ascii().strip_prefix(b"#")?.trim_ascii_start();
    let line = line.strip_prefix(b"define")?.trim_ascii_start();
    let end = line.iter().position(|byte| !in_name(*byte))?;
    let (name, rest) = line.split_at_checked(end)?;
    let body = match rest.first() {
        Some(b'(') => rest.get(memchr::memchr(b')', rest)? + 1..)?,
        _ => rest,
    };
    let body = body.trim_ascii();
    // Most end in something else.
    let may = body
        .last()
        .is_some_and(|byte| *byte == b')' || in_name(*byte));
    may.then_some((name, body))
}

/// Might clang warn of a condition or loop with nothing behind it on its line? It counts lines of the file for that, and a
/// preprocessed text has others. What is in system headers it does not warn of. `macros` are those of the command.
fn has_empty_body(text: &[u8], macros: &[u8]) -> bool {
    let (text, macros) = (without_comments(text), without_comments(macros));
    let guards = Guards::of([&text, &macros]);
    let (mut at, mut is_system) = (0, false);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let begin = at;
        at += line.len();
        let words = line.trim_ascii();
        if let Some(marked) = words.strip_prefix(b"# ") {
            if marked.first().is_some_and(u8::is_ascii_digit) {
                let flags = memchr::memrchr(b'"', marked).and_then(|end| marked.get(end..));
                is_system = flags.is_some_and(|flags| flags.contains(&b'3'));
                continue;
            }
        }
        if !is_system && !words.starts_with(b"#") {
            let mut ends = memchr::memchr_iter(b';', line);
            let is_empty = ends.any(|end| is_empty_body(&text, begin + end));
            if is_empty || has_hidden_condition(&text, begin, at, &guards) {
                return true;
            }
        }
    }
    false
}

/// Whether between `at` and `end` something begins whose condition a macro holds, or that a macro begins, and that may guard
/// nothing.
fn has_hidden_condition(text: &[u8], mut at: usize, end: usize, guards: &Guards<'_>) -> bool {
    while at < end {
        let rest = text.get(at..).unwrap_or_default();
        let length = rest.iter().take_while(|byte| in_name(**byte)).count();
        let (word, rest) = rest.split_at_checked(length).unwrap_or_default();
        let begin = at;
        at += length.max(1);
        let is_macro = guards.keywords.contains(word) || guards.heads.contains(word);
        if !is_macro && !is_keyword(word) {
            continue;
        }
        let rest = rest.trim_ascii_start();
        let rest = rest
            .strip_prefix(b"constexpr")
            .unwrap_or(rest)
            .trim_ascii_start();
        let is_seen = rest.starts_with(b"(");
        let is_empty = match guards.heads.contains(word) || is_macro && is_seen {
            // A macro's arguments, and those of one that it is.
            true => match behind_parentheses(behind_parentheses(rest)).strip_prefix(b";") {
                Some(after) => !guards.whiles.contains(word) || guards_next(text, begin, after),
                None => false,
            },
            false => !is_seen && ends_early(rest),
        };
        if is_empty {
            return true;
        }
    }
    false
}

/// Whether a statement ends before a block begins, as far as a condition may reach.
fn ends_early(text: &[u8]) -> bool {
    let near = text.get(..LENGTH_MAX);
    let end = memchr::memchr2(b';', b'{', near.unwrap_or(text));
    end.map_or(near.is_some(), |end| text.get(end) == Some(&b';'))
}

/// What follows the parentheses that a text begins with, if it does, and blanks.
fn behind_parentheses(text: &[u8]) -> &[u8] {
    let mut depth = 0;
    for (at, byte) in text.iter().enumerate().take(LENGTH_MAX) {
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            let after = if at == 0 { 0 } else { at + 1 };
            return text.get(after..).unwrap_or_default().trim_ascii_start();
        }
    }
    text
}

fn is_keyword(word: &[u8]) -> bool {
    matches!(word, b"if" | b"for" | b"while" | b"switch")
}

fn in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The word that a text ends in, but for `constexpr`.
fn last_word(text: &[u8]) -> &[u8] {
    let text = text.trim_ascii_end();
    let letters = text.iter().rev().take_while(|byte| in_name(**byte));
    let (before, word) = text.split_at(text.len() - letters.count());
    match word {
        b"constexpr" => last_word(before),
        word => word,
    }
}

/// Whether the semicolon at `end` is all that a condition or loop on its line guards, where clang warns of it.
fn is_empty_body(text: &[u8], end: usize) -> bool {
    let before = text.get(..end).unwrap_or_default().trim_ascii_end();
    let Some(head) = before.strip_suffix(b")").and_then(before_parentheses) else {
        return false;
    };
    let head = head.trim_ascii_end();
    let letters = head
        .iter()
        .rev()
        .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_');
    let (rest, keyword) = head.split_at(head.len() - letters.count());
    let is_loop = match keyword {
        b"if" | b"constexpr" | b"switch" => false,
        b"for" | b"while" => true,
        _ => return false,
    };
    let after = text.get(end + 1..).unwrap_or_default();
    match is_loop {
        true => guards_next(text, rest.len(), after),
        false => !begins_with(after.trim_ascii_start(), b"else"),
    }
}

/// Whether a text goes on `after` a loop with no more than a semicolon as if that were its body: deeper than the loop, at
/// `begin`.
fn guards_next(text: &[u8], begin: usize, after: &[u8]) -> bool {
    let next = after.trim_ascii_start();
    let column = |at: usize| {
        let line = text.get(..at).unwrap_or_default();
        at - memchr::memrchr(b'\n', line).map_or(0, |end| end + 1)
    };
    match next.first() {
        Some(b'{' | b'#') => true,
        Some(b'}') | None => false,
        Some(_) => column(text.len() - next.len()) > column(begin),
    }
}

/// No condition is longer.
const LENGTH_MAX: usize = 4096;

/// What stands before the parenthesis that belongs to one that closes behind `inside`.
fn before_parentheses(inside: &[u8]) -> Option<&[u8]> {
    let mut depth = 1;
    let bytes = inside.iter().enumerate().rev().take(LENGTH_MAX);
    for (at, byte) in bytes {
        match byte {
            b')' => depth += 1,
            b'(' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return inside.get(..at);
        }
    }
    None
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

    #[test]
    fn bodies_that_are_empty_are_seen() {
        for text in [
            "if (a) ;\n",
            "#define P (x)\nif P;\n",
            "if COND(x);\n",
            "#define WAIT while\n  WAIT (g(x)) ;\n    g(1);\n",
            "#define B() A\n# define A(x) x else if constexpr (x)\nB()(a) ;\n",
            "#define IF_A if (a)\nIF_A;\n",
            "#define EACH(x) for (x = 0; x < 3; x++)\nEACH(a) ;\n",
            "s = R\"(\n/*\n)\";\nif (a);\n",
            "long y = 1'000; if (x) ;\n",
            "if (f(')', \")\")) /* no */ ;\n",
            "switch (a);\n",
            "while (a); {\n",
            "  while (a);\n    b();\n",
            "for (;;) ; b();\n",
            "# 1 \"a.h\" 1 3\n# 2 \"a.c\" 2\nif (a);\n",
            "#define W while (g())\nif (a) { b(); } W; { c(); }\n",
            "#define W while (g())\n#define END } W\nif (a) { b(); END; { c(); }\n",
            "#define W while (g())\n  W;\n    c();\n",
            "#define IF_A if (a)\n#define X(b) { b; } IF_A\nX(b());\n",
        ] {
            assert!(has_empty_body(text.as_bytes(), b""), "{text}");
        }
        for text in [
            "if (a)\n  b();\nf(a);\n",
            "if (a); else b();\n",
            "do {\n  b();\n  } while (a);\n  b();\n",
            "  while (a) ; // wait\n  b();\n",
            "while (a);\n}\n",
            "#define EACH(x) for (x = 0; x < 3; x++)\nEACH(a) b();\nif (EACH) {}\n",
            "#define DO(x) do { if (x) b(); } while (0)\nDO(a);\n",
            "#define S do\n#define E } while (0)\n#define X(a) S { a(); E\nX(b);\n#if 1\n#endif\nS { a(); E;\n",
            "#define W while (0)\n#define X(a) do { a(); } W\nX(b);\n#if 1\n#endif\ndo { a(); } W;\na();\n",
            "#define POP(a) a(); } while (0)\nPOP(a);\nb();\n",
            "#define F(x) f(x)\nF(a); iff; if constexpr (a) b();\nif consteval { b(); }\n",
            "#define A(x) if (x) b()\nA(a);\n",
            "#define A(x) if (x) ; \\\n  for (;;); x\n",
            "# 1 \"/usr/include/a.h\" 1 3\nif (a);\n",
        ] {
            assert!(!has_empty_body(text.as_bytes(), b""), "{text}");
        }
    }
}
