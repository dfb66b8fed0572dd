//! The lines of one file's part of a preprocessed text, without what is no code: which of them a guard has, and which seem
//! to be its.

use super::indentation::begins_with;
use super::literals::without_comments;

/// A stretch without comments, directives and markers, its lines as the file has them.
pub struct Lines {
    /// The code.
    pub text: Vec<u8>,
    /// Where the numbers of lines go on otherwise than by one, and the number of the line there; and other places, so that
    /// one is never far. A line that a marker cuts may be there in parts.
    numbers: Vec<(usize, usize)>,
}

impl Lines {
    /// Of the text of a stretch that begins with line `first`.
    pub fn of(stretch: &[u8], first: usize) -> Lines {
        let blanked = without_comments(stretch);
        let mut lines = Lines {
            text: Vec::with_capacity(blanked.len()),
            numbers: vec![(0, first)],
        };
        // What is taken, and up to where there is no other `#`.
        let (mut from, mut seen) = (0, 0);
        for hash in memchr::memchr_iter(b'#', &blanked) {
            // None: it is in a line that is taken.
            let Some(between) = blanked.get(seen..hash) else {
                continue;
            };
            let begin = match memchr::memrchr(b'\n', between) {
                Some(end) => Some(seen + end + 1),
                None => Some(seen).filter(|seen| *seen == from),
            };
            seen = hash + 1;
            let is_first = |begin: &usize| {
                let before = blanked.get(*begin..hash).unwrap_or_default();
                before.trim_ascii_start().is_empty()
            };
            if let Some(begin) = begin.filter(is_first) {
                let rest = blanked.get(begin..).unwrap_or_default();
                let length = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
                lines.take(blanked.get(from..begin).unwrap_or_default());
                lines.take_directive(rest.get(..length).unwrap_or_default());
                from = begin + length;
                seen = from;
            }
        }
        lines.take(blanked.get(from..).unwrap_or_default());
        lines
    }

    /// Takes lines as they are.
    fn take(&mut self, lines: &[u8]) {
        for part in lines.chunks(COUNTED_BYTES_MAX) {
            let at = self.text.len();
            let known = self.numbers.last().map_or(0, |(begin, _)| *begin);
            if at - known >= COUNTED_BYTES_MAX {
                self.numbers.push((at, self.number(at)));
            }
            self.text.extend_from_slice(part);
        }
    }

    /// Takes a line that begins with `#`: leaves it empty, or goes on with the line that it says.
    fn take_directive(&mut self, line: &[u8]) {
        let Some(marked) = marked_line(line) else {
            self.text.push(b'\n');
            return;
        };
        // A macro of a system's header is in the midst of a line.
        if marked.wrapping_add(1) == self.number(self.text.len()) {
            if let Some(last @ b'\n') = self.text.last_mut() {
                *last = b' ';
            }
        }
        self.numbers.push((self.text.len(), marked));
    }

    /// The number of the line in which this place is.
    pub fn number(&self, at: usize) -> usize {
        let known = self.numbers.partition_point(|(begin, _)| *begin <= at);
        let last = known.checked_sub(1).and_then(|last| self.numbers.get(last));
        last.map_or(0, |(begin, number)| {
            let lines = self.text.get(*begin..at).unwrap_or_default();
            number + memchr::memchr_iter(b'\n', lines).count()
        })
    }

    /// From a guard on to the end of its line, if what follows its statement is on it.
    pub fn line(&self, at: usize, next: usize) -> Option<&[u8]> {
        let rest = self.text.get(at..)?;
        let rest = rest.get(..SPAN_MAX).unwrap_or(rest);
        let line = rest.get(..memchr::memchr(b'\n', rest)?)?;
        (at + line.len() > next).then_some(line)
    }

    /// The guard at `at`, if what follows its statement may seem to belong to it, and where that is if on one line with it.
    pub fn judge(&self, at: usize) -> Option<(&[u8], Option<usize>)> {
        let guard = word_at(&self.text, at);
        let body = self.behind_condition(at)?;
        if self.text.get(body) == Some(&b'{') {
            return None;
        }
        let end = self.end_of_statement(body, 0)?;
        let next = self.skip_blanks(end);
        let rest = self.text.get(next..).unwrap_or_default();
        if rest.is_empty()
            || matches!(rest.first(), Some(b'}' | b';'))
            || begins_with(rest, b"else")
        {
            return None;
        }
        let between = self.text.get(end..next).unwrap_or_default();
        if memchr::memchr(b'\n', between).is_none() {
            return Some((guard, Some(next)));
        }
        let [guards, bodys, nexts] = [at, body, next].map(|at| self.column(at));
        let may_align = |one: usize, other: usize| one <= other && other <= 8 * one;
        let is_empty = self.text.get(body) == Some(&b';');
        let aligned = is_empty || may_align(bodys, nexts) || may_align(nexts, bodys);
        (nexts != guards && aligned).then_some((guard, None))
    }

    /// How many bytes stand before the first word of this place's line.
    fn column(&self, at: usize) -> usize {
        let before = self.text.get(..at).unwrap_or_default();
        let begin = memchr::memrchr(b'\n', before).map_or(0, |end| end + 1);
        let line = self.text.get(begin..).unwrap_or_default();
        let blanks = line.iter().take_while(|byte| matches!(byte, b' ' | b'\t'));
        blanks.count()
    }

    fn skip_blanks(&self, at: usize) -> usize {
        let rest = self.text.get(at..).unwrap_or_default();
        at + rest.len() - rest.trim_ascii_start().len()
    }

    /// Where the statement begins that a guard at `at` has.
    fn behind_condition(&self, at: usize) -> Option<usize> {
        let word = word_at(&self.text, at);
        let after = self.skip_blanks(at + word.len());
        if matches!(word, b"else" | b"do") {
            return Some(after);
        }
        let more = word_at(&self.text, after);
        let after = self.skip_blanks(after + more.len());
        match self.text.get(after) {
            Some(b'(') => Some(self.skip_blanks(self.behind_closing(after)?)),
            _ => None,
        }
    }

    /// What follows the bracket that closes the one at `at`.
    fn behind_closing(&self, at: usize) -> Option<usize> {
        let mut depth = 0usize;
        for (at, byte) in self.text.iter().enumerate().skip(at).take(SPAN_MAX) {
            match byte {
                b'(' | b'{' | b'[' => depth += 1,
                b')' | b'}' | b']' => depth = depth.checked_sub(1)?,
                _ => {}
            }
            if depth == 0 {
                return Some(at + 1);
            }
        }
        None
    }

    /// The end of the statement that begins at `at`, if that can be seen.
    fn end_of_statement(&self, at: usize, depth: usize) -> Option<usize> {
        if depth > DEPTH_MAX {
            return None;
        }
        if self.text.get(at) == Some(&b'{') {
            return self.behind_closing(at);
        }
        match word_at(&self.text, at) {
            word @ (b"if" | b"for" | b"while" | b"switch") => {
                let end = self.end_of_statement(self.behind_condition(at)?, depth + 1)?;
                let next = self.skip_blanks(end);
                match word == b"if" && word_at(&self.text, next) == b"else" {
                    true => self.end_of_statement(self.behind_condition(next)?, depth + 1),
                    false => Some(end),
                }
            }
            b"do" => {
                let end = self.end_of_statement(self.behind_condition(at)?, depth + 1)?;
                self.behind_semicolon(end)
            }
            _ => self.behind_semicolon(at),
        }
    }

    fn behind_semicolon(&self, mut at: usize) -> Option<usize> {
        let end = at + SPAN_MAX;
        while at < end {
            match self.text.get(at)? {
                b';' => return Some(at + 1),
                b'(' | b'{' | b'[' => at = self.behind_closing(at)?,
                b')' | b'}' | b']' => return None,
                _ => at += 1,
            }
        }
        None
    }
}

/// No condition, statement or block that is guarded without braces is longer; what is may be anything.
pub const SPAN_MAX: usize = 1 << 16;

/// About how many bytes lie between two places whose lines are known.
const COUNTED_BYTES_MAX: usize = 4096;

/// Statements in statements are looked through so deep.
const DEPTH_MAX: usize = 64;

/// The line that a marker speaks of, in a text without what is in strings.
fn marked_line(line: &[u8]) -> Option<usize> {
    let rest = line.strip_prefix(b"# ")?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = rest.split_at_checked(digits)?;
    (!digits.is_empty() && rest.starts_with(b" \"")).then(|| number_of(digits))
}

/// The word that begins at `at`.
pub fn word_at(text: &[u8], at: usize) -> &[u8] {
    let rest = text.get(at..).unwrap_or_default();
    let length = rest.iter().take_while(|byte| in_name(**byte)).count();
    rest.get(..length).unwrap_or_default()
}

/// May a name hold this byte?
pub fn in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// A line's number as it is written.
pub fn number_of(digits: &[u8]) -> usize {
    let digits = std::str::from_utf8(digits).unwrap_or_default();
    digits.parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same, line by line.
    fn plainly(stretch: &[u8], first: usize) -> (Vec<u8>, Vec<(usize, usize)>) {
        let blanked = without_comments(stretch);
        let (mut text, mut numbers, mut number) = (Vec::new(), Vec::new(), first);
        for line in blanked.split_inclusive(|byte| *byte == b'\n') {
            if let Some(marked) = marked_line(line) {
                if marked.wrapping_add(1) == number && text.last() == Some(&b'\n') {
                    text.pop();
                    text.push(b' ');
                }
                number = marked;
                continue;
            }
            numbers.push((text.len(), number));
            match line.trim_ascii_start().first() {
                Some(b'#') => text.push(b'\n'),
                _ => text.extend_from_slice(line),
            }
            number += 1;
        }
        (text, numbers)
    }

    #[test]
    fn lines_of_long_parts_are_counted_from_near_by() {
        let stretch = "some_code();\n".repeat(10_000) + "# 5 \"h.h\"\n" + &"\n".repeat(9_000);
        let lines = Lines::of(stretch.as_bytes(), 1);
        let places = lines.numbers.windows(2);
        let steps = places.map(|pair| pair[1].0 - pair[0].0);
        assert!(steps.max() <= Some(2 * COUNTED_BYTES_MAX));
        for (at, number) in plainly(stretch.as_bytes(), 1).1 {
            assert_eq!(lines.number(at), number, "{at}");
        }
    }

    proptest! {
        #[test]
        fn lines_are_those_that_one_sees_one_by_one(
            parts in proptest::collection::vec(
                "x|\n|\r\n| |#|# |#define X\n|\n# [1-4] \"h.h\"\n|# [1-4] \"h.h\"\n|/\\*\n\\*/|\"#\"|;\n", 0..30),
        ) {
            let stretch = parts.concat();
            let lines = Lines::of(stretch.as_bytes(), 2);
            let (text, numbers) = plainly(stretch.as_bytes(), 2);
            prop_assert_eq!(&lines.text, &text);
            for (at, number) in numbers.into_iter().filter(|(at, _)| *at < text.len()) {
                prop_assert_eq!(lines.number(at), number, "{:?} at {}", stretch, at);
            }
        }
    }
}
