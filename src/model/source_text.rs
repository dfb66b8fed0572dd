//! Source text as bytes: where lines, comments and literals end, with backslash-newlines wherever they may be. This is the
//! part that has to be fast; what the lines mean is the business of `source_scan`.

use std::borrow::Cow;

use super::blocks::{bits, first, Block, Sixteen};
use super::dialect::Dialect;
use super::tokens::{blanks, in_name, is_raw_prefix};

/// Told of what is not to be seen as text.
pub trait Gaps {
    /// The bytes from `start` to `end` are a backslash-newline, or, if `blank`, a comment, which counts as a blank.
    fn gap(&mut self, start: usize, end: usize, blank: bool);
    /// Something that different readers might read differently.
    fn odd(&mut self, why: &'static str);
    /// A `//` comment where strict C90 may have none.
    fn slashes(&mut self) {}
}

/// Text and how to read it.
#[derive(Clone, Copy)]
pub struct Text<'t> {
    /// All of it.
    pub bytes: &'t [u8],
    /// The rules.
    pub dialect: Dialect,
}

/// Bytes at which a line of code needs a closer look.
static SPECIAL: [bool; 256] = {
    let mut table = [false; 256];
    let special = b"\n\r\\/\"'";
    let mut at = 0;
    while at < special.len() {
        table[special[at] as usize] = true;
        at += 1;
    }
    table
};

impl Text<'_> {
    /// The byte at `at`; a newline at the end.
    pub fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(b'\n')
    }

    /// Where the line of `at` ends, if that is plain: without comments, backslashes and raw strings, quotes can't matter.
    pub fn plain_end(&self, at: usize) -> Option<usize> {
        let end = first(self.bytes, at, |block: &Block| {
            bits(|at| {
                let byte = Sixteen::of(block, at);
                self.special(block, at) | byte.is(b'\n') | byte.is(b'\r')
            })
        });
        matches!(self.byte(end), b'\n' | b'\r').then_some(end)
    }

    /// A bit for each place of a block that keeps a line from being plain, or may begin a directive.
    #[inline(always)]
    pub fn stops(&self, block: &Block) -> u32 {
        bits(|at| {
            let byte = Sixteen::of(block, at);
            // One choice of a byte, not of answers: a branch would take vectors to pieces.
            let other = if self.dialect.digraphs { b'%' } else { b'#' };
            self.special(block, at) | byte.is(b'#') | byte.is(other)
        })
    }

    /// Which of the bytes from `at` on keep a line from being plain.
    #[inline(always)]
    fn special(&self, block: &Block, at: usize) -> Sixteen {
        let [byte, next] = [0, 1].map(|ahead| Sixteen::of(block, at + ahead));
        let raw = if self.dialect.raw_strings { b'R' } else { b'/' };
        byte.is(b'/') | byte.is(b'\\') | (byte.is(raw) & next.is(b'"'))
    }

    /// Where the line begins that `at` is in, which is not before `start`.
    pub fn line_start(&self, start: usize, at: usize) -> usize {
        let lines = self.bytes.get(start..at).unwrap_or_default();
        let last = memchr::memrchr2(b'\n', b'\r', lines);
        last.map_or(start, |last| start + last + 1)
    }

    /// If a backslash-newline is at `at`: what follows it. Both compilers allow blanks before the newline.
    pub fn splice(&self, at: usize) -> Option<usize> {
        if self.byte(at) != b'\\' {
            return None;
        }
        let after = self.bytes.get(at + 1..)?;
        let newline = at + 1 + blanks(after);
        match self.bytes.get(newline)? {
            b'\n' | b'\r' => Some(self.after_newline(newline)),
            _ => None,
        }
    }

    /// What follows the newline at `at`: a line feed, a carriage return, or both.
    pub fn after_newline(&self, at: usize) -> usize {
        match self.bytes.get(at) {
            Some(b'\r') if self.bytes.get(at + 1) == Some(&b'\n') => at + 2,
            Some(_) => at + 1,
            None => at,
        }
    }

    /// What follows all backslash-newlines at `at`.
    pub fn after_splices(&self, at: usize) -> usize {
        let mut at = at;
        while let Some(after) = self.splice(at) {
            at = after;
        }
        at
    }

    /// If a comment starts at `at`: what follows it; of a line comment, the newline.
    pub fn comment(&self, at: usize) -> Option<usize> {
        if self.byte(at) != b'/' {
            return None;
        }
        let second = self.after_splices(at + 1);
        match self.byte(second) {
            b'*' => Some(self.block_end(second + 1)),
            b'/' => Some(self.line_end(second + 1)),
            _ => None,
        }
    }

    /// What follows the `*/` after `at`.
    fn block_end(&self, at: usize) -> usize {
        let rest = self.bytes.get(at..).unwrap_or_default();
        let ends = |slash: &usize| without_splices(&rest[..*slash]).ends_with(b"*");
        let slash = memchr::memchr_iter(b'/', rest).find(ends);
        slash.map_or(self.bytes.len(), |slash| at + slash + 1)
    }

    /// Where the newline is that ends the line of `at`.
    pub fn line_end(&self, at: usize) -> usize {
        let mut at = at;
        loop {
            let rest = self.bytes.get(at..).unwrap_or_default();
            let Some(newline) = memchr::memchr2(b'\n', b'\r', rest) else {
                return self.bytes.len();
            };
            let line = &rest[..newline];
            let is_blank = |byte: &u8| blanks(&[*byte]) == 1;
            let last = line.iter().rposition(|byte| !is_blank(byte));
            at += newline;
            match last {
                Some(last) if line[last] == b'\\' => at = self.after_newline(at),
                _ => return at,
            }
        }
    }

    /// Reads the line of code from `at` on; returns where its newline is. `directive`: it is one.
    pub fn code(&self, at: usize, directive: bool, gaps: &mut impl Gaps) -> usize {
        let (mut at, mut since, mut separator) = (at, at, 0);
        loop {
            let rest = self.bytes.get(at..).unwrap_or_default();
            let Some(skip) = rest.iter().position(|byte| SPECIAL[usize::from(*byte)]) else {
                return self.bytes.len();
            };
            at += skip;
            match self.bytes[at] {
                b'\n' | b'\r' => return at,
                b'\\' => match self.splice(at) {
                    Some(after) => {
                        gaps.gap(at, after, false);
                        at = after;
                    }
                    None => at += 1,
                },
                b'/' => match self.comment(at) {
                    Some(after) => {
                        self.check_slashes(at, after, gaps);
                        gaps.gap(at, after, true);
                        at = after;
                        since = at;
                    }
                    None => at += 1,
                },
                b'\'' if self.separates_digits(since, separator, at) => {
                    separator = at;
                    at += 1;
                }
                _ => {
                    at = self.quoted(since, at, directive, gaps);
                    since = at;
                }
            }
        }
    }

    /// In strict C90 `//` is a comment in some places only; where it would matter, nobody can tell here.
    fn check_slashes(&self, at: usize, after: usize, gaps: &mut impl Gaps) {
        if !self.dialect.strict_c90 || self.byte(self.after_splices(at + 1)) != b'/' {
            return;
        }
        gaps.slashes();
        let comment = &self.bytes[at..after];
        if comment.contains(&b'\n') || memchr::memmem::find(&comment[1..], b"/*").is_some() {
            gaps.odd("a comment with // that strict C90 may not see");
        }
    }

    /// Is the `'` at `at` within a number that starts no earlier than `since`? The one at `separator` is, if it is later.
    fn separates_digits(&self, since: usize, separator: usize, at: usize) -> bool {
        let next = self.byte(at + 1);
        if !self.dialect.digit_separators || !(next.is_ascii_alphanumeric() || next == b'_') {
            return false;
        }
        let is_part = |byte: &u8| in_name(*byte) || matches!(byte, b'.' | b'\'');
        if separator > since && self.bytes[separator..at].iter().all(is_part) {
            return true;
        }
        let before = &self.bytes[since.max(separator)..at];
        let start = before.iter().rposition(|byte| !is_part(byte));
        let number = &before[start.map_or(0, |start| start + 1)..];
        match number {
            [b'.', digit, ..] | [digit, ..] => digit.is_ascii_digit(),
            [] => false,
        }
    }

    /// What follows the literal whose quote is at `at`; if it is not closed, the newline.
    fn quoted(&self, since: usize, at: usize, directive: bool, gaps: &mut impl Gaps) -> usize {
        if self.bytes[at] == b'"' && self.dialect.raw_strings && self.is_raw(since, at) {
            if let Some(end) = self.raw_end(at) {
                let lines = &self.bytes[at..end];
                if directive && lines.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
                    gaps.odd("a raw string of several lines in a directive");
                }
                return end;
            }
            gaps.odd("a raw string without an end");
        }
        let quote = self.bytes[at];
        let mut at = at + 1;
        loop {
            match self.byte(at) {
                b'\n' | b'\r' => return at.min(self.bytes.len()),
                b'\\' => match self.splice(at) {
                    Some(after) => {
                        gaps.gap(at, after, false);
                        at = after;
                    }
                    None => at = self.escaped(at + 1, gaps),
                },
                byte if byte == quote => return at + 1,
                _ => at += 1,
            }
        }
    }

    /// What follows the character that a backslash before `at` escapes.
    fn escaped(&self, at: usize, gaps: &mut impl Gaps) -> usize {
        let character = self.after_splices(at);
        if character > at {
            gaps.gap(at, character, false);
        }
        match self.byte(character) {
            b'\n' | b'\r' => character,
            _ => character + 1,
        }
    }

    /// Is the string whose quote is at `at` a raw one? Its prefix starts no earlier than `since`.
    fn is_raw(&self, since: usize, at: usize) -> bool {
        let before = &self.bytes[since..at];
        if !before.ends_with(b"R") {
            // A backslash-newline may be between them.
            return before.ends_with(b"\n") && self.is_raw_over_lines(before);
        }
        let start = before.iter().rposition(|byte| !in_name(*byte));
        is_raw_prefix(&before[start.map_or(0, |start| start + 1)..])
    }

    fn is_raw_over_lines(&self, before: &[u8]) -> bool {
        let mut joined = Vec::new();
        let text = Text {
            bytes: before,
            dialect: self.dialect,
        };
        let mut at = 0;
        while at < before.len() {
            match text.splice(at) {
                Some(after) => at = after,
                None => {
                    joined.push(before[at]);
                    at += 1;
                }
            }
        }
        let start = joined.iter().rposition(|byte| !in_name(*byte));
        is_raw_prefix(&joined[start.map_or(0, |start| start + 1)..])
    }

    /// What follows the raw string whose quote is at `at`.
    fn raw_end(&self, at: usize) -> Option<usize> {
        const DELIMITER_BYTES_MAX: usize = 16;
        let rest = self.bytes.get(at + 1..)?;
        let open = rest
            .iter()
            .take(DELIMITER_BYTES_MAX + 1)
            .position(|byte| *byte == b'(')?;
        let delimiter = &rest[..open];
        let is_bad = |byte: &u8| matches!(byte, b' ' | b')' | b'\\' | b'\t'..=b'\r' | b'"');
        if delimiter.iter().any(is_bad) {
            return None;
        }
        let close = [b")", delimiter, b"\""].concat();
        let end = memchr::memmem::find(&rest[open..], &close)?;
        Some(at + 1 + open + end + close.len())
    }
}

/// The text without the backslash-newlines that it ends in.
fn without_splices(text: &[u8]) -> &[u8] {
    let mut text = text;
    loop {
        let line = match text {
            [line @ .., b'\r', b'\n'] | [line @ .., b'\n' | b'\r'] => line,
            _ => return text,
        };
        let is_blank = |byte: &u8| blanks(&[*byte]) == 1;
        match line.iter().rposition(|byte| !is_blank(byte)) {
            Some(last) if line[last] == b'\\' => text = &line[..last],
            _ => return text,
        }
    }
}

/// The nine trigraphs replaced where the dialect has them.
pub(super) fn without_trigraphs(text: &[u8], dialect: Dialect) -> Cow<'_, [u8]> {
    if !dialect.trigraphs || memchr::memmem::find(text, b"??").is_none() {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let meant = match text.get(at..at + 3) {
            Some([b'?', b'?', third]) => trigraph(*third),
            _ => None,
        };
        out.push(meant.unwrap_or(*byte));
        at += if meant.is_some() { 3 } else { 1 };
    }
    Cow::Owned(out)
}

fn trigraph(third: u8) -> Option<u8> {
    let at = b"=/'()!<>-".iter().position(|byte| *byte == third)?;
    b"#\\^[]|{}~".get(at).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Default)]
    struct Seen {
        gaps: Vec<(usize, usize, bool)>,
        odd: usize,
        slashes: usize,
    }

    impl Gaps for Seen {
        fn gap(&mut self, start: usize, end: usize, blank: bool) {
            self.gaps.push((start, end, blank));
        }

        fn odd(&mut self, _: &'static str) {
            self.odd += 1;
        }

        fn slashes(&mut self) {
            self.slashes += 1;
        }
    }

    const MODERN: Dialect = Dialect {
        clang: false,
        raw_strings: true,
        digit_separators: true,
        trigraphs: false,
        digraphs: true,
        strict_c90: false,
        elifdef: true,
        modules: false,
        objective: false,
    };

    /// The line without what is not text, and what follows it.
    fn line(text: &str, dialect: Dialect) -> (String, String) {
        let bytes = text.as_bytes();
        let mut seen = Seen::default();
        let end = Text { bytes, dialect }.code(0, false, &mut seen);
        let mut kept = text[..end].to_owned();
        for (start, end, blank) in seen.gaps.iter().rev() {
            kept.replace_range(start..end, if *blank { "~" } else { "" });
        }
        (kept, text[end..].to_owned())
    }

    #[test]
    fn lines_end_where_compilers_end_them() {
        for (text, kept, rest) in [
            ("a b\nc", "a b", "\nc"),
            ("a\r\nc", "a", "\r\nc"),
            ("a\rc", "a", "\rc"),
            ("a\\\nb\\ \t\x0c\r\nc\nd", "abc", "\nd"),
            ("a /* x\ny */ b // c \\\n d\ne", "a ~ b ~", "\ne"),
            ("a /\\\n* x *\\\n/ b\nc", "a ~ b", "\nc"),
            ("a /\\\n/ x\nb", "a ~", "\nb"),
            ("/*/ x */ b\n", "~ b", "\n"),
            ("/**/b\n", "~b", "\n"),
            ("a /* b", "a ~", ""),
            ("\"/*\" '\"' /* */ b\n", "\"/*\" '\"' ~ b", "\n"),
            ("don't /* x\ny */\n", "don't /* x", "\ny */\n"),
            ("\"a\\\"b\\\\\" /**/\n", "\"a\\\"b\\\\\" ~", "\n"),
            ("\"a\\\nb\" /**/\n", "\"ab\" ~", "\n"),
            ("\"a\\\\\n\" /**/\n", "\"a\\\" /**/", "\n"),
            ("R\"(\n\" /* )\" x\n", "R\"(\n\" /* )\" x", "\n"),
            ("u8R\"-(\n)\" )-\" x\n", "u8R\"-(\n)\" )-\" x", "\n"),
            ("R\\\n\"(\n)\" x\n", "R\"(\n)\" x", "\n"),
            ("FOOR\"(\n\"\n", "FOOR\"(", "\n\"\n"),
            ("a\\b\n", "a\\b", "\n"),
            ("1'000'0 /**/ 'a'\n", "1'000'0 ~ 'a'", "\n"),
            ("u8'a' /**/ 0x'/*'\n", "u8'a' ~ 0x'/*'", "\n"),
            ("a/b\n", "a/b", "\n"),
            ("", "", ""),
            ("\\", "\\", ""),
            ("'\\", "'\\", ""),
        ] {
            let expected = (kept.to_owned(), rest.to_owned());
            assert_eq!(line(text, MODERN), expected, "{text:?}");
        }
        let old = Dialect::default();
        assert_eq!(line("R\"(\n", old).1, "\n");
        assert_eq!(line("1'0 /*\n", old).1, "\n");
    }

    #[test]
    fn what_is_read_in_different_ways_is_odd() {
        let check = |text: &str, directive, dialect| {
            let mut seen = Seen::default();
            let bytes = text.as_bytes();
            Text { bytes, dialect }.code(0, directive, &mut seen);
            (seen.odd, seen.slashes)
        };
        let strict = Dialect {
            strict_c90: true,
            ..Dialect::default()
        };
        assert_eq!(check("R\"(\n)\"\n", true, MODERN), (1, 0));
        assert_eq!(check("R\"(\n)\"\n", false, MODERN), (0, 0));
        assert_eq!(check("R\"(\n", false, MODERN), (1, 0));
        assert_eq!(check("a // b\n", false, strict), (0, 1));
        assert_eq!(check("a // /*\n", false, strict), (1, 1));
        assert_eq!(check("a //* */ b\n", false, strict), (1, 1));
        assert_eq!(check("a // \\\n b\n", false, strict), (1, 1));
        assert_eq!(check("a /* // */\n", false, strict), (0, 0));
    }

    #[test]
    fn plain_lines_are_passed_over() {
        for (text, next) in [
            ("a\nb\n#c\nd\n", "#c\nd\n"),
            ("a\nb c # d\n", "b c # d\n"),
            ("a\n b / c\n#d\n", " b / c\n#d\n"),
            ("a\n\"b\n\\\n#d\n", "\\\n#d\n"),
            ("a\nR\"(\n", "R\"(\n"),
            ("a\n  %:c\n", "  %:c\n"),
            ("a\r\nb\rc#\n", "c#\n"),
            ("a\nb\n", ""),
            ("#a", "#a"),
        ] {
            // The first line is looked at anyway.
            let whole = format!("x\n{text}");
            let (bytes, dialect) = (whole.as_bytes(), MODERN);
            let text = Text { bytes, dialect };
            let stop = first(bytes, 2, |block| text.stops(block));
            let at = match stop < bytes.len() {
                true => text.line_start(2, stop),
                false => stop,
            };
            assert_eq!(whole[at..], *next, "{whole:?}");
        }
    }

    #[test]
    fn plain_lines_have_their_ends() {
        let blanks = " ".repeat(40);
        for (text, end) in [
            ("", Some(0)),
            ("a\n", Some(1)),
            ("a % # \"\r\n", Some(7)),
            ("a / b\n", None),
            ("a\\\nb", None),
            ("R\"(\n", None),
            ("a", Some(1)),
            ("R", Some(1)),
        ] {
            for before in ["", "  ", &blanks] {
                let whole = format!("{before}{text}");
                let (bytes, dialect) = (whole.as_bytes(), MODERN);
                let found = Text { bytes, dialect }.plain_end(0);
                let expected = end.map(|end| before.len() + end);
                assert_eq!(found, expected, "{whole:?}");
            }
        }
    }

    proptest! {
        /// As it is defined: what follows the first `*` that a slash follows.
        #[test]
        fn block_comments_end_at_the_first_star_with_a_slash(
            parts in proptest::collection::vec("[*/\\\\\n\r \tx]|\\\\ ?\n|\\\\\r\n|\\*/", 0..12),
        ) {
            let whole = format!("/*{}", parts.concat());
            let (bytes, dialect) = (whole.as_bytes(), MODERN);
            let text = Text { bytes, dialect };
            let slash = |star| text.after_splices(star + 1);
            let stars = memchr::memchr_iter(b'*', bytes).filter(|star| *star >= 2);
            let end = stars.map(slash).find(|slash| bytes.get(*slash) == Some(&b'/'));
            let expected = end.map_or(bytes.len(), |slash| slash + 1);
            prop_assert_eq!(text.comment(0), Some(expected), "{:?}", whole);
        }
    }
}
