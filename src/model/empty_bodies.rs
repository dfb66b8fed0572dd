//! Conditions and loops with nothing behind them on their line, as clang warns of them by the lines of the file, in a text
//! of its preprocessor. Errs on the side of yes.

use memchr::memmem;
use std::collections::BTreeSet;

use super::indentation::begins_with;
use super::landmarks::Landmarks;
use super::literals::{whole_without_comments, without_comments};
use super::plain_text::marker;

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
pub fn has_empty_body(text: &[u8], landmarks: &Landmarks, macros: &[u8]) -> bool {
    let macros = without_comments(macros);
    let found = own_parts(text, landmarks).zip(defines(text));
    let Some((parts, defines)) = found else {
        let text = without_comments(text);
        return is_in(&text, &Guards::of([&text, &macros]));
    };
    let guards = Guards::of([&defines, &macros]);
    parts.iter().any(|part| is_in(part, &guards))
}

/// What is not in system headers, without comments, up to the next of them; none if one of its parts is no whole by itself.
/// A text is long, and most of it is the system's.
fn own_parts(text: &[u8], landmarks: &Landmarks) -> Option<Vec<Vec<u8>>> {
    let mut parts = Vec::new();
    let mut begin = Some(0);
    for at in [0].iter().chain(&landmarks.hashes).copied() {
        let rest = text.get(at..).unwrap_or_default();
        if !rest.get(2).is_some_and(u8::is_ascii_digit) {
            continue;
        }
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let line = rest.get(..end).unwrap_or_default().trim_ascii_end();
        let Some(found) = marker(line) else {
            continue;
        };
        match (found.flags.contains(&b'3'), begin) {
            (true, Some(from)) => {
                // With the mark of the line that follows.
                parts.push(text.get(from..=at).unwrap_or_default());
                begin = None;
            }
            (false, None) => begin = Some(at),
            _ => {}
        }
    }
    parts.extend(begin.and_then(|from| text.get(from..)));
    let count = |text: &[u8], byte| memchr::memchr_iter(byte, text).count();
    let parts = parts.into_iter().map(|part| {
        let part = whole_without_comments(part)?;
        (count(&part, b'(') == count(&part, b')')).then_some(part)
    });
    parts.collect()
}

/// The lines that define macros, without comments; none if such a line is oddly written.
fn defines(text: &[u8]) -> Option<Vec<u8>> {
    let mut lines = Vec::new();
    for at in memmem::find_iter(text, b"define") {
        let (before, rest) = text.split_at_checked(at)?;
        // As in `defined`.
        if rest.get(b"define".len()).is_some_and(|byte| in_name(*byte)) {
            continue;
        }
        let is_blank = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\r');
        let blanks = before.iter().rev().take_while(is_blank).count();
        let before = before.get(..at - blanks)?;
        let is_odd = |end: &&[u8]| before.ends_with(end);
        if [&b"*/"[..], b"\\\n", b"??/\n"].iter().any(is_odd) {
            return None;
        }
        if before.ends_with(b"#") {
            let line = rest.get(..line_length(rest))?;
            lines.push(b'#');
            match memchr::memchr3(b'/', b'\\', b'?', line) {
                Some(_) => lines.extend(without_comments(line)),
                None => lines.extend_from_slice(line),
            }
            lines.push(b'\n');
        }
    }
    Some(lines)
}

/// The length of a text's first line, with those that continue it.
fn line_length(text: &[u8]) -> usize {
    let is_end = |end: &usize| {
        let line = text.get(..*end).unwrap_or_default().trim_ascii_end();
        !line.ends_with(b"\\") && !line.ends_with(b"??/")
    };
    let end = memchr::memchr_iter(b'\n', text).find(is_end);
    end.unwrap_or(text.len())
}

/// The same of a text without comments.
fn is_in(text: &[u8], guards: &Guards<'_>) -> bool {
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
            let is_empty = ends.any(|end| is_empty_body(text, begin + end));
            if is_empty || has_hidden_condition(text, begin, at, guards) {
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

    fn is_seen(text: &str) -> bool {
        let text = text.as_bytes();
        has_empty_body(text, &Landmarks::of(text, true), b"")
    }

    #[test]
    fn only_what_is_no_systems_is_looked_at() {
        const SYSTEM: &str = "\n# 1 \"/usr/include/s.h\" 1 3\n";
        const OWN: &str = "\n# 2 \"a.c\" 2\n";
        for (text, expected) in [
            (format!("b();{SYSTEM}if (a);{OWN}b();\n"), false),
            (format!("b();{SYSTEM}#define A if (a)\n{OWN}A;\n"), true),
            (
                format!("b();{SYSTEM}# define A \\\n if /* a */ (a) // b\n{OWN}A;\n"),
                true,
            ),
            (
                format!("b();{SYSTEM}/**/ # /**/ define A if (a)\n{OWN}A;\n"),
                true,
            ),
            (
                format!("b();{SYSTEM}# \\\ndefine A if (a)\n{OWN}A;\n"),
                true,
            ),
            (format!("while (a);{SYSTEM}{OWN}b();\n"), true),
            (format!("if (a{SYSTEM}{OWN});\n"), true),
            (format!("/* {SYSTEM}*/\nif (a);\n"), true),
            (format!("s = R\"({SYSTEM})\";\nif (a);\n"), true),
            (
                format!("b();{SYSTEM}\n# 1 \"/usr/include/t.h\" 1 3\nif (a);{OWN}"),
                false,
            ),
            (format!("b();{OWN}if (a);\n"), true),
        ] {
            assert_eq!(is_seen(&text), expected, "{text}");
        }
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
            assert!(is_seen(text), "{text}");
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
            assert!(!is_seen(text), "{text}");
        }
    }
}
