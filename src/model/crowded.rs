//! Lines of a text on which more than one statement stands behind a guard, and what their file has there: gcc warns of a
//! guarded macro of several statements, unless guard and statements come from the same macro.

use std::collections::BTreeSet;

use super::literals::without_comments;

/// A line of a text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Crowd {
    /// What guards: `if` and its like.
    guards: BTreeSet<Vec<u8>>,
    /// From the first guard on to the end of the line, if each guard and what follows its statement are on it.
    text: Option<Vec<u8>>,
}

/// What a file has in the place of such a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum There {
    /// The same.
    Plain,
    /// Macros, and none of them behind another that might guard it.
    Macro,
    /// Perhaps a macro behind a guard.
    Unclear,
}

impl Crowd {
    /// A line with this guard.
    pub fn new(guard: &[u8], text: Option<&[u8]>) -> Crowd {
        Crowd {
            guards: BTreeSet::from([guard.to_vec()]),
            text: text.map(<[u8]>::to_vec),
        }
    }

    /// Adds another guard of the line, or another text of it.
    pub fn add(&mut self, guard: &[u8], text: Option<&[u8]>) {
        if !self.guards.contains(guard) {
            self.guards.insert(guard.to_vec());
        }
        match (&self.text, text) {
            (Some(known), Some(more)) if known.ends_with(more) => {}
            (Some(known), Some(more)) if more.ends_with(known) => self.text = Some(more.to_vec()),
            _ => self.text = None,
        }
    }

    /// Judges by what the file holds from the beginning of the line on.
    pub fn compare(&self, file: &[u8]) -> There {
        let Some(text) = &self.text else {
            return There::Unclear;
        };
        let end = memchr::memchr(b'\n', file).unwrap_or(file.len());
        let line = without_comments(file.get(..end).unwrap_or_default());
        if tokens(&line).any(|word| self.guards.contains(word)) {
            let [line, text] =
                [&line, text].map(|line| tokens(line.trim_ascii_end()).collect::<Vec<_>>());
            return match line.ends_with(&text) {
                true => There::Plain,
                false => There::Unclear,
            };
        }
        let code = without_comments(file.get(..CALL_MAX).unwrap_or(file));
        match guards_nothing_else(&code) {
            true => There::Macro,
            false => There::Unclear,
        }
    }
}

/// No call of a macro that is longer is looked through.
const CALL_MAX: usize = 4096;

/// Words that end no macro that guards what follows.
const KEYWORDS: [&[u8]; 25] = [
    b"auto",
    b"bool",
    b"case",
    b"char",
    b"const",
    b"double",
    b"enum",
    b"extern",
    b"float",
    b"goto",
    b"inline",
    b"int",
    b"long",
    b"register",
    b"return",
    b"short",
    b"signed",
    b"sizeof",
    b"static",
    b"struct",
    b"typedef",
    b"union",
    b"unsigned",
    b"void",
    b"volatile",
];

/// Whether no macro stands behind another one on the first line, with those on which its parentheses close: then what a
/// macro guards is its own. A call that ends its line is the last of what is on the text's line; after a name, what follows
/// may have been looked at for its parenthesis.
fn guards_nothing_else(code: &[u8]) -> bool {
    let ends_macro = |word: &[u8]| word == b")" || is_name(word) && !KEYWORDS.contains(&word);
    let (mut last, mut depth, mut ended) = (None, 0usize, false);
    for token in tokens(code) {
        match token {
            b"\n" if last.is_none() => return false,
            b"\n" if depth == 0 && last == Some(&b")"[..]) => return true,
            b"\n" => {
                ended |= depth == 0;
                continue;
            }
            b"(" => depth += 1,
            b")" if depth == 0 => return false,
            b")" => depth -= 1,
            _ => {}
        }
        if is_name(token) && last.is_some_and(ends_macro) {
            return false;
        }
        if ended {
            return true;
        }
        last = Some(token);
    }
    last.is_some() && depth == 0 && code.len() < CALL_MAX
}

/// The words, other characters and ends of lines of a text.
fn tokens(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let blanks = rest
            .iter()
            .take_while(|byte| byte.is_ascii_whitespace() && **byte != b'\n');
        rest = rest.get(blanks.count()..)?;
        let length = rest.iter().take_while(|byte| in_name(**byte)).count();
        let (token, more) = rest.split_at_checked(length.max(1))?;
        rest = more;
        Some(token)
    })
}

fn is_name(token: &[u8]) -> bool {
    token.first().is_some_and(|byte| in_name(*byte))
}

fn in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_has_on_a_line_is_told() {
        use There::{Macro, Plain, Unclear};
        let text = without_comments(b"if (a) b(\"x\"); c();");
        for (file, expected) in [
            ("  { if  (a) b(\"y\") ; /* if */ c(); // x\nT", Plain),
            ("  if (a) TWO;", Unclear),
            ("  endif (a) b(\"\"); c(); if (a) b(\"\"); c()", Unclear),
            ("  if (a) b(\"\"); c(); d();", Unclear),
            ("  CHECK(a);", Macro),
            ("  CHECK(a); x = CHECK(b); return CHECK(c); }\n", Macro),
            ("  CHECK\n  ;", Macro),
            (
                "SET(set, struct id, long, 0, hash, equal)\n\nSET(other)\n",
                Macro,
            ),
            ("SET(set,\n  hash)\n\nSET(other)\n", Macro),
            ("  CHECK(a,\n    b c\n", Unclear),
            ("  CHECK(a,\n    b);\n  c d;", Macro),
            ("  EACH TWO;", Unclear),
            ("  EACH(a) TWO;", Unclear),
            ("  EACH(a)\n    TWO;", Macro),
            ("  EACH\n    TWO;", Unclear),
            ("  EACH(a,\n    b) TWO;", Unclear),
            ("  b) TWO;", Unclear),
            ("\nx;", Unclear),
            ("", Unclear),
        ] {
            let crowd = Crowd::new(b"if", Some(&text));
            assert_eq!(crowd.compare(file.as_bytes()), expected, "{file}");
        }
        assert_eq!(Crowd::new(b"if", None).compare(b"CHECK(a);"), Unclear);
    }

    #[test]
    fn texts_of_a_line_must_agree() {
        let mut crowd = Crowd::new(b"for", Some(b"for (;;) b; c;"));
        crowd.add(b"if", Some(b"if (a) for (;;) b; c;"));
        crowd.add(b"for", Some(b"for (;;) b; c;"));
        assert_eq!(crowd.compare(b"{ if (a) for (;;) b; c;"), There::Plain);
        let mut other = crowd.clone();
        other.add(b"if", Some(b"if (a) d; c;"));
        crowd.add(b"if", None);
        for crowd in [crowd, other] {
            assert_eq!(crowd.compare(b"if (a) for (;;) b; c;"), There::Unclear);
        }
    }
}
