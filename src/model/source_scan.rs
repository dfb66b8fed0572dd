//! What the preprocessor wants to know of a file, read once: its directives. Made per content and dialect, shared by
//! threads, kept by whoever caches files.

use std::borrow::Cow;

use super::dialect::Dialect;
use super::directives::{Body, Directive, Line, Odd, Span, Verb, Words};
use super::interner::intern;
use super::pragmas::pragma;
use super::source_text::{without_trigraphs, Gaps, Text};
use super::text_notes::{in_definition, in_text, starts_module};
use super::text_words::Hits;
use super::tokens::{blanks, in_name, name_length};

/// A file's directives.
#[derive(Debug, Default)]
pub struct Scan {
    pub(super) directives: Vec<Directive>,
    pub(super) lines: Vec<Line>,
    pub(super) bodies: Vec<Body>,
    pub(super) words: Words,
    pub(super) dialect: Dialect,
    /// Why the file can't be followed, if so.
    pub(super) odd: Option<&'static str>,
    /// There is nothing in it.
    pub(super) is_empty: bool,
}

/// Where the next directive of a group is to be found that has none: the file ends.
pub(super) const NOWHERE: u32 = u32::MAX;

impl Scan {
    /// Reads a whole file.
    pub fn new(text: &[u8], dialect: Dialect) -> Scan {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let bytes = without_trigraphs(text, dialect);
        let replaced = matches!(bytes, Cow::Owned(_));
        let has_raw = || dialect.raw_strings && memchr::memmem::find(text, b"R\"").is_some();
        // About as much as headers have.
        let lines = text.len() / 100 + 4;
        let mut scanner = Scanner {
            text: Text {
                bytes: &bytes,
                dialect,
            },
            hits: Hits::new(&bytes, dialect),
            scan: Scan {
                dialect,
                is_empty: text.is_empty(),
                // In those strings they are not replaced.
                odd: (replaced && has_raw()).then_some("trigraphs beside raw strings"),
                directives: Vec::with_capacity(lines),
                bodies: Vec::with_capacity(lines / 2),
                words: Words(Vec::with_capacity(text.len() / 8)),
                ..Scan::default()
            },
            groups: Vec::new(),
            counted: (0, 1),
            returns: memchr::memchr(b'\r', &bytes).is_some(),
        };
        scanner.run();
        let mut scan = scanner.scan;
        scan.directives.shrink_to_fit();
        scan.lines.shrink_to_fit();
        scan.bodies.shrink_to_fit();
        scan.words.0.shrink_to_fit();
        scan
    }

    /// Whether it names files, or asks whether there are some: a text that was preprocessed does not.
    pub fn asks_for_files(&self) -> bool {
        self.directives.iter().any(|found| found.asks_for_files())
    }

    /// About how many bytes it takes in memory; it may grow a little when it is used.
    pub fn memory(&self) -> usize {
        use std::mem::size_of;
        let lines: usize = self.lines.iter().map(Line::memory).sum();
        let bodies: usize = self.bodies.iter().map(Body::memory).sum();
        size_of::<Scan>()
            + self.directives.capacity() * size_of::<Directive>()
            + self.lines.capacity() * size_of::<Line>()
            + self.bodies.capacity() * size_of::<Body>()
            + self.words.0.capacity()
            + lines
            + bodies
    }
}

struct Scanner<'t> {
    text: Text<'t>,
    hits: Hits<'t>,
    scan: Scan,
    /// For each group that is open: the number of its latest directive, and whether `#else` was seen.
    groups: Vec<(usize, bool)>,
    /// Up to where lines are counted, and the number of the line there.
    counted: (usize, u32),
    /// There are carriage returns.
    returns: bool,
}

/// Takes the text of a line as it is, without what gaps hold.
struct Clean<'s, 't> {
    bytes: &'t [u8],
    out: &'s mut Vec<u8>,
    from: usize,
    hits: &'s mut Hits<'t>,
    odd: &'s mut Option<&'static str>,
    slashes: bool,
}

impl Gaps for Clean<'_, '_> {
    fn gap(&mut self, start: usize, end: usize, blank: bool) {
        let kept = self.bytes.get(self.from..start).unwrap_or_default();
        self.out.extend_from_slice(kept);
        if blank {
            self.out.push(b' ');
        }
        self.hits.drop(start, end);
        self.from = end;
    }

    fn odd(&mut self, why: &'static str) {
        self.odd.get_or_insert(why);
    }

    fn slashes(&mut self) {
        self.slashes = true;
    }
}

/// Passes over a line.
struct Pass<'s, 't> {
    hits: &'s mut Hits<'t>,
    odd: &'s mut Option<&'static str>,
}

impl Gaps for Pass<'_, '_> {
    fn gap(&mut self, start: usize, end: usize, _: bool) {
        self.hits.drop(start, end);
    }

    fn odd(&mut self, why: &'static str) {
        self.odd.get_or_insert(why);
    }
}

/// The rest of a directive's line.
struct Rest {
    text: Span,
    end: usize,
    slashes: bool,
}

impl<'t> Scanner<'t> {
    fn run(&mut self) {
        let mut at = 0;
        // Whoever meets an odd file gives up.
        while at < self.text.bytes.len() && self.scan.odd.is_none() {
            at = self.line(at);
            // Any line may import a module.
            if !self.text.dialect.modules {
                at = self.after_plain_lines(at);
            }
        }
        if !self.groups.is_empty() {
            self.odd("a group of #if has no end");
        }
    }

    /// The start of the first line from `at` on, where one starts, that may not be passed over: one that is not plain, may be
    /// a directive, or holds something that matters.
    fn after_plain_lines(&mut self, at: usize) -> usize {
        self.hits.skip(at);
        let text = self.text;
        let stop = self.hits.next_or(|block| text.stops(block));
        match stop < text.bytes.len() {
            true => text.line_start(at, stop),
            false => stop,
        }
    }

    fn odd(&mut self, why: &'static str) {
        self.scan.odd.get_or_insert(why);
    }

    /// Reads the logical line that starts at `start`; returns where the next one starts.
    fn line(&mut self, start: usize) -> usize {
        let at = match self.text.bytes.get(start) {
            Some(byte) if in_name(*byte) || *byte == b'#' => start,
            _ => self.skip_blanks(start),
        };
        let second = || self.text.byte(self.text.after_splices(at + 1));
        let end = match self.text.byte(at) {
            b'\n' | b'\r' => at,
            b'#' => self.directive(at + 1),
            b'%' if self.text.dialect.digraphs && second() == b':' => {
                self.directive(self.text.after_splices(at + 1) + 1)
            }
            _ => {
                let end = self.pass(at);
                self.notes(at, end);
                end
            }
        };
        self.text.after_newline(end)
    }

    /// Blanks, comments and backslash-newlines; a line comment up to its newline. What is before them on the line does not matter.
    fn skip_blanks(&mut self, at: usize) -> usize {
        let mut at = at;
        loop {
            at += blanks(self.text.bytes.get(at..).unwrap_or_default());
            let after = match self.text.byte(at) {
                b'\\' => self.text.splice(at),
                b'/' => self.text.comment(at),
                _ => None,
            };
            let Some(after) = after else {
                return at;
            };
            self.hits.skip(after);
            at = after;
        }
    }

    /// Passes over the rest of a line; returns where its newline is.
    fn pass(&mut self, at: usize) -> usize {
        if let Some(end) = self.text.plain_end(at) {
            return end;
        }
        let mut pass = Pass {
            hits: &mut self.hits,
            odd: &mut self.scan.odd,
        };
        self.text.code(at, false, &mut pass)
    }

    /// What matters in a line of text.
    fn notes(&mut self, start: usize, end: usize) {
        if self.text.dialect.modules && starts_module(&self.text.bytes[start..end]) {
            self.push(Directive::Odd { why: Odd::Module });
        }
        while let Some((at, hit)) = self.hits.before(end) {
            if let Some(note) = in_text(self.text.bytes, start, end, at, hit) {
                self.push(note);
            }
        }
    }

    fn push(&mut self, directive: Directive) {
        self.scan.directives.push(directive);
    }

    /// The rest of a directive's line, cleaned.
    fn rest(&mut self, at: usize) -> Rest {
        let start = self.scan.words.0.len();
        if let Some(end) = self.text.plain_end(at) {
            self.scan
                .words
                .0
                .extend_from_slice(&self.text.bytes[at..end]);
            return Rest {
                text: self.scan.words.since(start),
                end,
                slashes: false,
            };
        }
        let mut clean = Clean {
            bytes: self.text.bytes,
            out: &mut self.scan.words.0,
            from: at,
            hits: &mut self.hits,
            odd: &mut self.scan.odd,
            slashes: false,
        };
        let end = self.text.code(at, true, &mut clean);
        clean.gap(end, end, false);
        let slashes = clean.slashes;
        Rest {
            text: self.scan.words.since(start),
            end,
            slashes,
        }
    }

    /// A name at `at`, perhaps over several lines, and what follows it.
    fn name(&self, at: usize) -> (Cow<'t, [u8]>, usize) {
        let rest = self.text.bytes.get(at..).unwrap_or_default();
        let length = name_length(rest);
        let mut end = at + length;
        if self.text.splice(end).is_none() {
            return (Cow::Borrowed(&rest[..length]), end);
        }
        let mut name = rest[..length].to_vec();
        loop {
            end = self.text.after_splices(end);
            match self.text.bytes.get(end) {
                Some(byte) if in_name(*byte) => name.push(*byte),
                _ => return (Cow::Owned(name), end),
            }
            end += 1;
        }
    }

    /// Does a name, which ends at `end`, hold only letters that are letters to everybody?
    fn is_plain(&self, name: &[u8], end: usize) -> bool {
        let escaped =
            self.text.byte(end) == b'\\' && matches!(self.text.byte(end + 1), b'u' | b'U');
        name.is_ascii() && !escaped
    }

    /// The directive whose `#` is before `at`; returns where its newline is.
    fn directive(&mut self, start: usize) -> usize {
        let at = self.skip_blanks(start);
        let (name, after) = self.name(at);
        let end = match &*name {
            b"define" => return self.define(after),
            b"undef" => self.named(after, |name| Directive::Undefine { name }),
            b"include" => self.include(after, Verb::Include),
            b"include_next" => self.include(after, Verb::Next),
            b"import" => self.include(after, Verb::Import),
            b"embed" => self.embed(after),
            b"pragma" => self.pragma(after),
            b"error" => {
                self.push(Directive::Odd { why: Odd::Error });
                self.pass(after)
            }
            b"line" => self.renamed(after),
            b"" if self.text.byte(at).is_ascii_digit() => self.renamed(after),
            _ => self.conditional(&name, start, after),
        };
        self.hits.skip(end);
        end
    }

    fn renamed(&mut self, at: usize) -> usize {
        self.push(Directive::Renamed);
        self.pass(at)
    }

    fn define(&mut self, at: usize) -> usize {
        let at = self.skip_blanks(at);
        let (name, after) = self.name(at);
        let is_name = name.first().is_some_and(|byte| !byte.is_ascii_digit());
        let is_plain = self.is_plain(&name, after);
        let name = intern(&name);
        let rest = self.rest(after);
        let body = u32::try_from(self.scan.bodies.len()).unwrap_or(u32::MAX);
        self.push(match (is_name, is_plain) {
            (true, true) => Directive::Define { name, body },
            (true, false) => Directive::Odd { why: Odd::Letters },
            (false, _) => Directive::Odd { why: Odd::NoName },
        });
        self.scan.bodies.push(Body::new(rest.text, rest.slashes));
        while let Some((hit_at, hit)) = self.hits.before(rest.end) {
            let line = &self.text.bytes[after.min(rest.end)..rest.end];
            let note = in_definition(line, hit_at.saturating_sub(after), hit, name);
            self.scan.directives.extend(note);
        }
        rest.end
    }

    /// A directive whose operand is a name.
    fn named(&mut self, at: usize, make: impl FnOnce(super::interner::Id) -> Directive) -> usize {
        let at = self.skip_blanks(at);
        let (name, after) = self.name(at);
        let directive = match name.first() {
            Some(_) if !self.is_plain(&name, after) => Directive::Odd { why: Odd::Letters },
            Some(byte) if !byte.is_ascii_digit() => make(intern(&name)),
            _ => Directive::Odd { why: Odd::NoName },
        };
        self.push(directive);
        self.pass(after)
    }

    /// `#if` and its kin, and what is no directive that matters.
    fn conditional(&mut self, name: &[u8], start: usize, at: usize) -> usize {
        let next = NOWHERE;
        let has_elifdef = self.text.dialect.elifdef;
        let here = self.scan.directives.len();
        match name {
            b"if" | b"elif" => {
                let (line, end) = self.operand(start, at);
                if name == b"if" {
                    self.groups.push((here, false));
                    self.push(Directive::If { line, next });
                } else {
                    self.link(false);
                    self.push(Directive::Elif { line, next });
                }
                end
            }
            b"ifdef" | b"ifndef" => {
                let negated = name == b"ifndef";
                self.groups.push((here, false));
                self.test(at, |name| Directive::Ifdef {
                    name,
                    next,
                    negated,
                })
            }
            b"elifdef" | b"elifndef" if has_elifdef => {
                let negated = name == b"elifndef";
                self.link(false);
                self.test(at, |name| Directive::Elifdef {
                    name,
                    next,
                    negated,
                })
            }
            b"else" => {
                self.link(true);
                self.push(Directive::Else { next });
                self.pass(at)
            }
            b"endif" => {
                self.link(false);
                self.groups.pop();
                self.push(Directive::Endif);
                self.pass(at)
            }
            _ => self.pass(at),
        }
    }

    /// The operand of `#ifdef` and its kin. Without a name it is an error, but not in a group that is skipped.
    fn test(&mut self, at: usize, make: impl FnOnce(super::interner::Id) -> Directive) -> usize {
        let at = self.skip_blanks(at);
        let (name, after) = self.name(at);
        let name = match name.first() {
            Some(byte) if !byte.is_ascii_digit() && self.is_plain(&name, after) => intern(&name),
            _ => intern(b""),
        };
        self.push(make(name));
        self.pass(after)
    }

    /// The text of a condition or computed include.
    fn operand(&mut self, start: usize, at: usize) -> (u32, usize) {
        let number = self.line_number(start);
        let rest = self.rest(at);
        let is_newline = |byte: &u8| matches!(byte, b'\n' | b'\r');
        let single = !self.text.bytes[start..rest.end].iter().any(is_newline);
        let line = u32::try_from(self.scan.lines.len()).unwrap_or(u32::MAX);
        self.scan
            .lines
            .push(Line::new(rest.text, number, single, rest.slashes));
        (line, rest.end)
    }

    /// The directive to come is the next one of the innermost group.
    fn link(&mut self, is_else: bool) {
        let here = self.scan.directives.len();
        let number = u32::try_from(here).unwrap_or(NOWHERE);
        let Some((latest, had_else)) = self.groups.last_mut() else {
            return self.odd("#else or #endif without #if");
        };
        if let Some(
            Directive::If { next, .. }
            | Directive::Ifdef { next, .. }
            | Directive::Elif { next, .. }
            | Directive::Elifdef { next, .. }
            | Directive::Else { next },
        ) = self.scan.directives.get_mut(*latest)
        {
            *next = number;
        }
        *latest = here;
        let twice = *had_else && is_else;
        *had_else |= is_else;
        if twice {
            self.odd("#else after #else");
        }
    }

    fn include(&mut self, at: usize, verb: Verb) -> usize {
        let start = at;
        let at = self.skip_blanks(at);
        match self.header(at) {
            Some((name, angle, after)) => {
                let escapes = self.text.dialect.clang && name.contains(&b'\\');
                let name = intern(&name);
                self.push(match escapes {
                    true => Directive::Odd {
                        why: Odd::Backslash,
                    },
                    false => Directive::Include { name, verb, angle },
                });
                self.after_header(at, after)
            }
            None => {
                let (line, end) = self.operand(start, at);
                self.push(Directive::Computed { line, verb });
                end
            }
        }
    }

    fn embed(&mut self, at: usize) -> usize {
        let at = self.skip_blanks(at);
        match self.header(at) {
            Some((name, angle, after)) => {
                let name = intern(&name);
                self.push(Directive::Embed { name, angle });
                self.after_header(at, after)
            }
            None => {
                self.push(Directive::Odd { why: Odd::NoName });
                self.pass(at)
            }
        }
    }

    /// `"NAME"` or `<NAME>` at `at`, whether it is the latter, and what follows.
    fn header(&self, at: usize) -> Option<(Cow<'_, [u8]>, bool, usize)> {
        let close = match self.text.byte(at) {
            b'"' => b'"',
            b'<' => b'>',
            _ => return None,
        };
        let rest = self.text.bytes.get(at + 1..)?;
        let end = memchr::memchr3(close, b'\n', b'\r', rest)?;
        if rest[end] == close {
            let name = Cow::Borrowed(&rest[..end]);
            return Some((name, close == b'>', at + 1 + end + 1));
        }
        let mut name = Vec::new();
        let mut at = at + 1;
        loop {
            at = self.text.after_splices(at);
            match self.text.byte(at) {
                b'\n' | b'\r' => return None,
                byte if byte == close => return Some((Cow::Owned(name), close == b'>', at + 1)),
                byte => name.push(byte),
            }
            at += 1;
        }
    }

    /// The newline after a header's name. In a group that is skipped the name is read as ordinary tokens; if that makes
    /// a difference, nobody can tell here.
    fn after_header(&mut self, at: usize, after: usize) -> usize {
        let name = &self.text.bytes[at + 1..after - 1];
        let suspicious = name
            .iter()
            .any(|byte| matches!(byte, b'\'' | b'"' | b'\\' | b'*'))
            || name.windows(2).any(|pair| pair == b"//");
        let end = self.pass(after);
        if suspicious && self.pass(at) != end {
            self.odd("a header's name that reads as a comment or literal");
        }
        end
    }

    fn pragma(&mut self, at: usize) -> usize {
        let start = self.scan.words.0.len();
        let rest = self.rest(at);
        let text = self.scan.words.get(rest.text);
        let found = pragma(text, self.text.dialect);
        self.scan.words.0.truncate(start);
        self.scan.directives.extend(found);
        rest.end
    }

    /// The number of the line that `at` is in.
    fn line_number(&mut self, at: usize) -> u32 {
        let (from, line) = self.counted;
        let passed = self.text.bytes.get(from..at).unwrap_or_default();
        let newlines = match self.returns {
            false => memchr::memchr_iter(b'\n', passed).count(),
            true => {
                let next = self.text.byte(at);
                let pairs = passed.iter().zip(passed.iter().skip(1).chain([&next]));
                pairs
                    .filter(|(byte, next)| **byte == b'\n' || (**byte == b'\r' && **next != b'\n'))
                    .count()
            }
        };
        let line = line.saturating_add(u32::try_from(newlines).unwrap_or(u32::MAX));
        self.counted = (at, line);
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_headers_name_that_may_be_read_otherwise_is_odd() {
        for (line, is_odd) in [
            ("#include <sys/*.h>\n", true),
            ("#include \"a\\\nb.h\"\n", false),
        ] {
            let scan = Scan::new(line.as_bytes(), Dialect::default());
            assert_eq!(scan.odd.is_some(), is_odd, "{line}");
        }
    }
}
