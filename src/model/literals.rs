//! Strings, characters and comments of a text: where they end, and the text without them. For those who look at a whole text
//! for one thing; what reads sources exactly is `source_text`.

use std::collections::BTreeSet;
use std::ops::Range;

use memchr::memmem;

use super::blocks::{bits, first, Sixteen, BLOCK_BYTES};

/// The most characters between the quote of a raw string and its parenthesis.
const DELIMITER_MAX: usize = 16;

/// How many delimiters that nothing closes are looked for to the text's end.
const MISSING_MAX: usize = 16;

/// No number is longer.
const NUMBER_MAX: usize = 64;

/// Where the raw strings of a text without comments are, from their `R` on: lines in them are no markers.
pub fn raw_strings(text: &[u8]) -> Vec<Range<usize>> {
    let mut spans: Vec<Range<usize>> = Vec::new();
    let mut missing = BTreeSet::new();
    // Up to here the text was read, and what was read last is whole.
    let mut read = 0;
    for at in memmem::find_iter(text, b"R\"") {
        let quote = at + 1;
        let Some(end) = raw_end_mark(text, quote) else {
            continue;
        };
        // Any other string ends on its line.
        let line = memchr::memrchr(b'\n', text.get(..at).unwrap_or_default());
        read = read.max(line.map_or(0, |line| line + 1));
        while read < quote {
            read += literal_length(text, read).unwrap_or(1);
        }
        if read > quote || missing.len() >= MISSING_MAX || missing.contains(&end) {
            continue;
        }
        match memmem::find(text.get(quote..).unwrap_or_default(), &end) {
            Some(found) => {
                read = quote + found + end.len();
                spans.push(at..read);
            }
            None => {
                missing.insert(end);
            }
        }
    }
    spans
}

/// If the quote at `quote` begins a raw string: what ends it.
fn raw_end_mark(text: &[u8], quote: usize) -> Option<Vec<u8>> {
    let (before, rest) = text.split_at_checked(quote)?;
    if before.last() != Some(&b'R')
        || !matches!(word_before(before), b"R" | b"u8R" | b"uR" | b"UR" | b"LR")
    {
        return None;
    }
    let content = rest.get(1..)?;
    let head = content.get(..content.len().min(DELIMITER_MAX + 1))?;
    let delimiter = head.get(..memchr::memchr(b'(', head)?)?;
    let is_odd =
        |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'"' | b')' | b'\\' | b'\x0b');
    (!delimiter.iter().any(is_odd)).then(|| [b")", delimiter, b"\""].concat())
}

/// The word that a text ends in.
fn word_before(text: &[u8]) -> &[u8] {
    let letters = text.iter().rev();
    let letters = letters.take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_');
    text.get(text.len() - letters.count()..).unwrap_or_default()
}

/// The length of the string or character whose quote is at `at`, but for raw strings; none if no such thing begins there.
fn literal_length(text: &[u8], at: usize) -> Option<usize> {
    let rest = text.get(at..)?;
    let quote = *rest.first()?;
    match quote {
        b'"' => Some(quoted_length(rest, quote)),
        b'\'' if !separates_digits(text, at) => Some(quoted_length(rest, quote)),
        _ => None,
    }
}

/// Is the `'` at `at` one in `1'000'000`?
fn separates_digits(text: &[u8], at: usize) -> bool {
    let (before, after) = text.split_at(at.min(text.len()));
    let in_number = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'\'');
    let goes_on = after.get(1).is_some_and(u8::is_ascii_alphanumeric);
    let ends = before.last().is_some_and(u8::is_ascii_alphanumeric);
    let length = || {
        before
            .iter()
            .rev()
            .take(NUMBER_MAX)
            .take_while(|byte| in_number(byte))
            .count()
    };
    goes_on && ends && before.get(at - length()).is_some_and(u8::is_ascii_digit)
}

/// The length of a string or a character with its quotes; it ends at the line's end at the latest.
fn quoted_length(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while let Some(byte) = rest.get(at) {
        match byte {
            b'\\' => at += 1,
            b'\n' => return at,
            byte if *byte == quote => return at + 1,
            _ => {}
        }
        at += 1;
    }
    rest.len()
}

/// The length of a backslash with the end of its line.
pub fn splice_length(rest: &[u8]) -> Option<usize> {
    let mark = match rest {
        [b'\\', ..] => 1,
        [b'?', b'?', b'/', ..] => 3,
        _ => return None,
    };
    let after = rest.get(mark..)?;
    let blanks = after
        .iter()
        .take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r'));
    let end = blanks.count();
    (after.get(end) == Some(&b'\n')).then_some(mark + end + 1)
}

/// The source with blanks for comments, nothing in strings, and continued lines joined.
pub fn without_comments(source: &[u8]) -> Vec<u8> {
    blanked(source, b'\n').0
}

/// The same, if no comment and no raw string is cut by the end.
pub fn whole_without_comments(source: &[u8]) -> Option<Vec<u8>> {
    let (text, is_whole) = blanked(source, b'\n');
    is_whole.then_some(text)
}

/// The same, but a comment ends no line, as a directive is read.
pub fn comments_in_line(source: &[u8]) -> Vec<u8> {
    blanked(source, b' ').0
}

/// Without comments; `newline` stands for their ends of lines. And whether all comments and raw strings have an end.
fn blanked(source: &[u8], newline: u8) -> (Vec<u8>, bool) {
    let mut text = Vec::with_capacity(source.len());
    let (mut at, mut missing, mut is_whole) = (0, BTreeSet::new(), true);
    while let Some(byte) = source.get(at).copied() {
        let rest = source.get(at..).unwrap_or_default();
        at += match byte {
            b'/' if rest.starts_with(b"/*") => {
                let end = memmem::find(rest.get(2..).unwrap_or_default(), b"*/");
                is_whole &= end.is_some();
                let comment = rest.get(..end.map_or(rest.len(), |end| end + 4));
                let comment = comment.unwrap_or(rest);
                text.extend(comment.iter().map(|byte| match byte {
                    b'\n' => newline,
                    b'\t' => b'\t',
                    _ => b' ',
                }));
                comment.len()
            }
            b'/' if rest.starts_with(b"//") => line_comment_length(rest),
            b'/' => {
                text.push(byte);
                1
            }
            b'\\' => match splice_length(rest) {
                Some(length) => length,
                None => {
                    text.push(byte);
                    1
                }
            },
            b'"' | b'\'' => {
                text.push(byte);
                opaque_length(source, at, &mut text, &mut missing)
            }
            _ => {
                let plain = first(source, at, begins_other);
                text.extend_from_slice(source.get(at..plain).unwrap_or_default());
                plain - at
            }
        };
    }
    (text, is_whole && missing.is_empty())
}

/// The bytes with which something begins that is not taken as it is.
#[inline(always)]
fn begins_other(block: &[u8; BLOCK_BYTES]) -> u32 {
    bits(|at| {
        let byte = Sixteen::of(block, at);
        byte.is(b'/') | byte.is(b'\\') | byte.is(b'"') | byte.is(b'\'')
    })
}

/// The length of what the quote at `at` begins; the lines of a raw string are kept. Ends of such that are `missing` are not
/// looked for.
fn opaque_length(
    source: &[u8],
    at: usize,
    text: &mut Vec<u8>,
    missing: &mut BTreeSet<Vec<u8>>,
) -> usize {
    let end = raw_end_mark(source, at);
    if let Some(end) = end.filter(|end| missing.len() < MISSING_MAX && !missing.contains(end)) {
        let rest = source.get(at..).unwrap_or_default();
        if let Some(found) = memmem::find(rest, &end) {
            let inside = rest.get(..found).unwrap_or_default();
            text.extend(inside.iter().filter(|byte| **byte == b'\n'));
            return found + end.len();
        }
        missing.insert(end);
    }
    literal_length(source, at).unwrap_or(1)
}

/// The length of a `//` comment without the end of its last line.
fn line_comment_length(rest: &[u8]) -> usize {
    let mut from = 0;
    while let Some(newline) = memchr::memchr(b'\n', rest.get(from..).unwrap_or_default()) {
        let end = from + newline;
        let line = rest.get(..end).unwrap_or_default().trim_ascii_end();
        if line.last() != Some(&b'\\') {
            return end;
        }
        from = end + 1;
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Vec<&str> {
        let spans = raw_strings(text.as_bytes());
        spans
            .into_iter()
            .filter_map(|span| text.get(span))
            .collect()
    }

    #[test]
    fn raw_strings_are_told_from_others() {
        for (text, expected) in [
            (
                "s = R\"(a\n)\" + u8R\"x(\n)\" )x\";",
                vec!["R\"(a\n)\"", "R\"x(\n)\" )x\""],
            ),
            ("long y = 1'000; s = R\"(\")\";", vec!["R\"(\")\""]),
            ("c = L'\"'; s = LR\"(\")\";", vec!["R\"(\")\""]),
            ("R\"(a)\" R\"(b)\"", vec!["R\"(a)\"", "R\"(b)\""]),
            ("R\"(\nx)\", \"R\",(\")\")", vec!["R\"(\nx)\""]),
            ("\"FOR\"(\")\" R\"x y(\" R\"(", vec![]),
            ("k(\"R\", (x), 0); k(\"x\", (x)+1, \"a\");", vec![]),
            ("k(\"R\",(x)); k(\"x\",(x)\"a\");", vec![]),
            ("k(\"R\"f(x)); k(\"x\"f)f\");", vec![]),
            ("R\"12345678901234567(a)12345678901234567\"", vec![]),
        ] {
            assert_eq!(raw(text), expected, "{text}");
        }
    }

    #[test]
    fn text_stays_without_comments_and_what_is_in_strings() {
        for (text, expected) in [
            ("a /* \" */ b // c \\\n d\ne", "a         b \ne"),
            ("f(\"/*\") '\"' x", "f(\") ' x"),
            ("s = R\"(/*\n\")\"; x", "s = R\"\n; x"),
            (
                "y = 1'000'ab + 0xa'b; if (x) ;",
                "y = 1'000'ab + 0xa'b; if (x) ;",
            ),
            ("u8'a' L'1' x", "u8' L' x"),
            ("a \\\n b \\ \r\n c \\n", "a  b  c \\n"),
        ] {
            let made = without_comments(text.as_bytes());
            assert_eq!(String::from_utf8_lossy(&made), expected, "{text}");
        }
    }
}
