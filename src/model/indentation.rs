//! Does a source look as if gcc might warn of the way that its statements are laid out? Of indentation gcc judges by the
//! columns of the file itself, which a server does not have; of macros, by their definitions, which `-E` takes away. So
//! these warnings, part of `-Wall`, would never be given there. Errs on the side of yes.

use super::literals::without_comments;

/// Is there a line that seems to belong to an `if`, `else`, `for` or `while` without braces, but follows its statement?
pub fn may_mislead(source: &[u8]) -> bool {
    let text = without_comments(source);
    let lines: Vec<&[u8]> = text
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.trim_ascii().is_empty())
        .collect();
    (0..lines.len()).any(|at| {
        is_guard(lines[at]) && misleads(lines[at], &lines[at + 1..])
            || late_guard(lines[at]).is_some_and(|guard| misleads(&guard, &lines[at + 1..]))
    })
}

/// A guard behind something else on its line, whose statement is below, as if it began the line: `{ if (a)`.
fn late_guard(line: &[u8]) -> Option<Vec<u8>> {
    let mut depth = 0;
    let begins = line.iter().rposition(|byte| {
        match byte {
            b')' => depth += 1,
            b'(' => depth -= 1,
            _ => {}
        }
        depth == 0 && b"{};".contains(byte)
    })?;
    let guard = line.get(begins + 1..)?;
    let blanks = line.iter().take_while(|byte| matches!(byte, b' ' | b'\t'));
    is_guard(guard).then(|| {
        let blanks: Vec<u8> = blanks.copied().collect();
        [&blanks, guard.trim_ascii()].concat()
    })
}

/// Is there a macro that is more than one statement, as `-Wmultistatement-macros` looks for?
pub fn defines_statements(source: &[u8]) -> bool {
    let text = without_comments(source);
    let mut lines = text.split(|byte| *byte == b'\n');
    lines.any(|line| {
        let directive = line.trim_ascii().strip_prefix(b"#").map(<[u8]>::trim_ascii);
        let defined = directive.and_then(|words| words.strip_prefix(b"define"));
        defined.is_some_and(|macros| {
            let body = macros.trim_ascii();
            statements(body) > usize::from(ends_with(body, b';'))
        })
    })
}

/// Whether the lines below a guard without a brace go on after its statement as if they belonged to it.
fn misleads(guard: &[u8], rest: &[&[u8]]) -> bool {
    if statements(guard) > 1 {
        return true;
    }
    let mut depth = depth_after(0, guard);
    let mut complete = depth == 0 && ends_with(guard, b';');
    for line in rest {
        let words = line.trim_ascii();
        if words.starts_with(b"#") {
            // The other branch of a condition holds another version of the statement.
            complete &= !(words.starts_with(b"#el") || words.starts_with(b"#if"));
            continue;
        }
        if depth == 0 && (column(line) <= column(guard) || words.starts_with(b"{")) {
            return false;
        }
        let goes_on = begins_with(words, b"else") || words.starts_with(b"}");
        if (complete && !goes_on) || (depth == 0 && statements(line) > 1) {
            return true;
        }
        depth = depth_after(depth, line);
        if depth == 0 && ends_with(line, b'{') {
            return false;
        }
        complete = depth == 0 && ends_with(line, b';');
    }
    false
}

/// A line that begins with a control word and leaves its statement, if any, without braces.
fn is_guard(line: &[u8]) -> bool {
    let words = line.trim_ascii();
    let inner = words.strip_prefix(b"}").unwrap_or(words).trim_ascii();
    let closes_do = inner.len() < words.len() && begins_with(inner, b"while");
    let keywords: [&[u8]; 4] = [b"if", b"else", b"for", b"while"];
    !ends_with(words, b'{') && !closes_do && keywords.iter().any(|word| begins_with(inner, word))
}

/// Whether a text begins with this word, and not with a longer one.
pub(super) fn begins_with(words: &[u8], keyword: &[u8]) -> bool {
    words.strip_prefix(keyword).is_some_and(|rest| {
        !rest
            .first()
            .is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
    })
}

fn ends_with(line: &[u8], end: u8) -> bool {
    line.trim_ascii_end().last() == Some(&end)
}

/// How many statements end on a line, those in braces and the parts of a `for` left out.
fn statements(line: &[u8]) -> usize {
    let mut depth = 0;
    let ends = line.iter().filter(|byte| {
        match byte {
            b'(' | b'{' => depth += 1,
            b')' | b'}' => depth -= 1,
            _ => {}
        }
        **byte == b';' && depth == 0
    });
    ends.count()
}

/// How many parentheses are open after a line.
fn depth_after(depth: i32, line: &[u8]) -> i32 {
    line.iter().fold(depth, |depth, byte| match byte {
        b'(' => depth + 1,
        b')' => depth - 1,
        _ => depth,
    })
}

/// The column at which a line's text begins; a tab goes to the next multiple of 8, as gcc has it by default.
fn column(line: &[u8]) -> usize {
    let blanks = line.iter().take_while(|byte| matches!(byte, b' ' | b'\t'));
    blanks.fold(0, |column, byte| match byte {
        b'\t' => (column / 8 + 1) * 8,
        _ => column + 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gcc_warns_of_is_seen() {
        for source in [
            "void f(int a) {\n  if (a)\n    foo();\n    bar();\n}\n",
            "\tif (a) /* x */\n\t\tfoo();\n\t\tbar();\n",
            "  if (a) foo();\n    bar();\n",
            "  for (i = 0;\n       i < 3; i++)\n    foo();\n    bar();\n",
            "  if (a)\n    foo();\n  else\n    bar();\n    baz();\n",
            "  if (a) foo(); bar();\n",
            "  if (a)\n    foo(); bar();\n",
            "  while (a)\n    foo(\"{;\",\n        b);\n    bar();\n",
            "void f(int a) { if (a)\n  foo();\n  bar(); }\n",
            "  foo(); for (i = 0; i < 3; i++)\n    foo();\n    bar();\n",
        ] {
            assert!(may_mislead(source.as_bytes()), "{source}");
        }
    }

    #[test]
    fn macros_of_several_statements_are_seen() {
        assert!(defines_statements(
            b"#define SWAP(x, y) c = x; \\\n  y = x\n"
        ));
        assert!(defines_statements(b"# define A a(); b();\n"));
        for source in [
            &b"#define A a();\n"[..],
            b"#define A do { a(); b(); } while (0)\n",
            b"#define A(x) ((x) + 1) /* a; b */\n",
            b"a(); b();\n",
        ] {
            assert!(!defines_statements(source));
        }
    }

    #[test]
    fn usual_code_is_not_suspected() {
        for source in [
            "  if (a)\n    foo();\n  bar();\n",
            "  if (a) {  /* why */\n    foo();\n    bar();\n  }\n",
            "  if (a)\n  {\n    foo();\n    bar();\n  }\n",
            "  for (i = 0;\n       i < 3; i++)\n    if (a)\n      foo();\n    else\n      bar();\n  baz();\n",
            "  if (a)\n#ifdef B\n    foo();\n#else\n    bar();\n#endif\n  baz();\n",
            "  if (a &&\n      b)\n    foo(a,\n        b);\n",
            "  for (i = 0; i < 3; i++) { foo(); bar(); }\n  baz();\n",
            "  do {\n    foo();\n  } while (a);\n  bar();\n",
            "int f(int a) { if (a) return 1; return 0; }\n",
            "  // if this\n  //   or that;\n  foo();\n    bar();\n",
        ] {
            assert!(!may_mislead(source.as_bytes()), "{source}");
        }
    }
}
