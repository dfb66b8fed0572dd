//! Words in the text between directives that matter to the preprocessor or to whoever sends the file elsewhere: the
//! clock, files named in assembler text, macros that are pushed and popped by `_Pragma`.

use std::collections::VecDeque;

use memchr::memmem::find;

use super::blocks::{bits, each_bit, lowest, with_block, Block, Sixteen, BLOCK_BYTES};
use super::dialect::Dialect;
use super::directives::{Change, Clock, Directive, Odd};
use super::interner::{intern, Id};
use super::tokens::{blanks, in_name, name_length};

/// What was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hit {
    /// `__DATE__`, `__TIME__`, `__TIMESTAMP__`, also without their ends, which may be pasted to them.
    Clock,
    /// `_Pragma`
    Pragma,
    /// `push_macro`, `pop_macro`
    MacroStack,
    /// `PUSH_MACROS`, `POP_MACROS`: as the names of macros that do so end.
    Carrier,
    /// `.incbin`, `.include`
    Assembler,
    /// `GCC` and `target` or its kin behind it.
    Options,
    /// `(once)`
    Once,
    /// `@import`
    Import,
}

const INCBIN: &[u8] = b".incbin";
const INCLUDE: &[u8] = b".include";

/// Where in `_Pragma` the pair stands that is looked for.
const PRAGMA_PAIR_AT: usize = 4;

/// A bit for each place of a block where one of the words may begin, or, of `_Pragma`, its `gm` may be: what is rare elsewhere.
#[inline(always)]
fn rare(block: &Block) -> u32 {
    const CASE: u8 = 0x20;
    bits(|at| {
        let [first, second, third] = [0, 1, 2].map(|ahead| Sixteen::of(block, at + ahead));
        let clocks = third.without(b'D' ^ b'T').is(b'D');
        let macros = second.without(CASE).is(b'M') & third.without(CASE).is(b'A');
        let dot = (first.is(b'.') | first.is(b'@')) & second.without(CASE).is(b'I');
        let pragma = first.is(b'g') & second.is(b'm');
        let gcc = first.is(b'G') & second.is(b'C');
        let once = first.is(b'o') & third.is(b'c');
        (first.is(b'_') & (clocks | macros)) | dot | pragma | gcc | once
    })
}

/// The word at such a place, and where it begins.
fn word_at(text: &[u8], at: usize, dialect: Dialect) -> Option<(usize, Hit)> {
    let rest = text.get(at..)?;
    let hit = match rest.first()? {
        b'_' if rest.starts_with(b"__DA") || rest.starts_with(b"__TI") => Hit::Clock,
        b'_' if rest.starts_with(b"_macro") => Hit::MacroStack,
        b'_' if dialect.clang && rest.starts_with(b"_MACROS") => Hit::Carrier,
        b'.' => Hit::Assembler,
        b'@' if dialect.objective && rest.starts_with(b"@import") => Hit::Import,
        b'G' if rest.starts_with(b"GCC") => Hit::Options,
        b'o' if rest.starts_with(b"once") => Hit::Once,
        b'g' => {
            let start = at.checked_sub(PRAGMA_PAIR_AT)?;
            let is_there = text.get(start..)?.starts_with(b"_Pragma");
            return is_there.then_some((start, Hit::Pragma));
        }
        _ => return None,
    };
    Some((at, hit))
}

/// What is found in a text, in its order, looked for as the reader of the text goes on: not in comments, and not in
/// directives where it does not matter. Most texts have nothing.
#[derive(Debug)]
pub struct Hits<'t> {
    text: &'t [u8],
    dialect: Dialect,
    /// Up to where it was looked for.
    looked: usize,
    /// What was found and not asked for yet.
    waiting: VecDeque<(usize, Hit)>,
}

impl<'t> Hits<'t> {
    /// For a whole text.
    pub fn new(text: &'t [u8], dialect: Dialect) -> Hits<'t> {
        Hits {
            text,
            dialect,
            looked: 0,
            waiting: VecDeque::new(),
        }
    }

    /// The next one before `end`, where no word may be cut.
    pub fn before(&mut self, end: usize) -> Option<(usize, Hit)> {
        self.look(end);
        match self.waiting.front() {
            Some((at, _)) if *at < end => self.waiting.pop_front(),
            _ => None,
        }
    }

    /// The first place behind all that was looked at that has its bit in what `stops` answers of its block, or at which
    /// something is found; the end of the text if there is none. No word may go on over such a place.
    #[inline(always)]
    pub fn next_or(&mut self, stops: impl Fn(&Block) -> u32) -> usize {
        let end = self.text.len();
        while self.waiting.is_empty() && self.looked < end && self.look_at_block(end, &stops) {}
        let found = self.waiting.front().map(|(at, _)| *at);
        found.unwrap_or(self.looked)
    }

    /// What is in a comment is not said.
    pub fn drop(&mut self, start: usize, end: usize) {
        self.look(start);
        self.looked = self.looked.max(end);
        while self.waiting.back().is_some_and(|(at, _)| *at >= start) {
            self.waiting.pop_back();
        }
    }

    /// Goes on at `end`: what comes before it was asked for, or is not said.
    pub fn skip(&mut self, end: usize) {
        self.looked = self.looked.max(end);
        while self.waiting.front().is_some_and(|(at, _)| *at < end) {
            self.waiting.pop_front();
        }
    }

    /// Looks up to `end`.
    fn look(&mut self, end: usize) {
        let end = end.min(self.text.len());
        while self.looked < end {
            self.look_at_block(end, |_| 0);
        }
    }

    /// Looks at the next block, up to `end` or the first stop; whether there is none.
    #[inline(always)]
    fn look_at_block(&mut self, end: usize, stops: impl Fn(&Block) -> u32) -> bool {
        let from = self.looked;
        let (stop, rare) = with_block(self.text, from, |block| (stops(block), rare(block)));
        let room = BLOCK_BYTES
            .min(end - from)
            .min(stop.trailing_zeros() as usize);
        self.looked = from + room;
        let rare = rare & lowest(room);
        if rare != 0 {
            self.note(from, rare);
        }
        stop == 0
    }

    /// Notes what is at places of the block at `from`.
    #[cold]
    fn note(&mut self, from: usize, places: u32) {
        let (text, dialect) = (self.text, self.dialect);
        let known = self.waiting.len();
        each_bit(places, |place| {
            let found = word_at(text, from + place, dialect);
            let found = found.filter(|(at, hit)| is_word(text, *at, *hit));
            self.waiting.extend(found);
        });
        // Where `_Pragma` begins is before what is looked for.
        if self.waiting.len() > known + 1 {
            self.waiting.make_contiguous()[known..].sort_unstable_by_key(|(at, _)| *at);
        }
    }
}

fn is_word(text: &[u8], at: usize, hit: Hit) -> bool {
    let (before, after) = text.split_at(at.min(text.len()));
    let starts = !before.last().is_some_and(|byte| in_name(*byte));
    match hit {
        Hit::Clock => {
            const WORDS: [&[u8]; 3] = [b"__DATE__", b"__TIME__", b"__TIMESTAMP__"];
            let name = after.get(..name_length(after)).unwrap_or_default();
            let tells = |word: &&[u8]| name.starts_with(word) || word.starts_with(name);
            starts && WORDS.iter().any(tells)
        }
        Hit::Pragma => starts,
        Hit::MacroStack => before.ends_with(b"push") || before.ends_with(b"pop"),
        Hit::Carrier => before.ends_with(b"PUSH") || before.ends_with(b"POP"),
        Hit::Assembler => behind(after, INCBIN).is_some() || behind(after, INCLUDE).is_some(),
        Hit::Options => after.get(3..).and_then(change).is_some(),
        Hit::Once => {
            let after = after.strip_prefix(b"once").unwrap_or(after);
            before.trim_ascii_end().ends_with(b"(") && after.trim_ascii_start().starts_with(b")")
        }
        Hit::Import => true,
    }
}

/// Which of them it is.
fn clock(after: &[u8]) -> Clock {
    match after.starts_with(b"__DA") || after.starts_with(b"__TIME__") {
        true => Clock::Run,
        false => Clock::File,
    }
}

/// What the rest of a pragma after `GCC` does to options.
fn change(after: &[u8]) -> Option<Change> {
    let text = after.trim_ascii_start();
    // What stands behind a comment or on the next line is not looked for.
    const HIDES: [&[u8]; 3] = [b"/*", b"\\\n", b"\\\r"];
    if HIDES.iter().any(|hides| text.starts_with(hides)) {
        return Some(Change::Unknown);
    }
    if text.len() == after.len() {
        return None;
    }
    match &text[..name_length(text)] {
        b"target" => Some(Change::Target),
        b"optimize" => Some(Change::Optimize),
        b"push_options" => Some(Change::Push),
        b"pop_options" => Some(Change::Pop),
        b"reset_options" => Some(Change::Reset),
        _ => None,
    }
}

/// The name before the parenthesis that `text` ends in.
fn called(text: &[u8]) -> Id {
    let text = text.trim_ascii_end();
    let text = text.strip_suffix(b"(").unwrap_or(text).trim_ascii_end();
    let start = text.iter().rposition(|byte| !in_name(*byte));
    intern(&text[start.map_or(0, |start| start + 1)..])
}

/// What a hit at `at` in the line from `start` to `end` comes to.
pub(super) fn in_text(
    text: &[u8],
    start: usize,
    end: usize,
    at: usize,
    hit: Hit,
) -> Option<Directive> {
    let line = text.get(start..end).unwrap_or_default();
    let (before, after) = line.split_at(at.saturating_sub(start).min(line.len()));
    let odd = |why| Some(Directive::Odd { why });
    match hit {
        Hit::Clock => Some(Directive::Clock(clock(after))),
        Hit::Pragma => pragma_decides(after).then_some(Directive::Odd { why: Odd::Pragma }),
        Hit::MacroStack => macro_stack(before, after).or(odd(Odd::MacroStack)),
        Hit::Options => after.get(3..).and_then(change).map(Directive::Options),
        Hit::Once => Some(Directive::Made {
            name: called(before),
        }),
        Hit::Carrier => {
            let name = name_around(line, before.len());
            match line.trim_ascii().len() == name.len() {
                true => Some(Directive::Alone { name: intern(name) }),
                false => Some(Directive::Amid { name: intern(name) }),
            }
        }
        Hit::Assembler => match behind(after, INCBIN).map(assembler_file) {
            Some(Some(name)) => Some(Directive::Incbin { name }),
            Some(None) => odd(Odd::Assembler),
            None => names_file(after).then_some(Directive::Odd {
                why: Odd::Assembler,
            }),
        },
        Hit::Import => odd(Odd::Module),
    }
}

/// What a hit in the line of a `#define` of `defined` comes to.
pub(super) fn in_definition(line: &[u8], at: usize, hit: Hit, defined: Id) -> Option<Directive> {
    let (before, after) = line.split_at(at.min(line.len()));
    let odd = |why| Some(Directive::Odd { why });
    match hit {
        Hit::Clock => Some(Directive::Clock(clock(after))),
        Hit::Pragma if pragma_decides(after) => odd(Odd::Pragma),
        Hit::Pragma => (!is_literal(after)).then_some(Directive::Maker),
        Hit::Options => Some(Directive::Options(Change::Unknown)),
        Hit::Once => Some(Directive::Made {
            name: called(before),
        }),
        Hit::MacroStack => Some(Directive::Carrier { name: defined }),
        Hit::Carrier => match intern(name_around(line, before.len())) {
            name if name == defined => None,
            name => Some(Directive::Amid { name }),
        },
        Hit::Assembler if behind(after, INCBIN).is_some() => odd(Odd::Assembler),
        Hit::Assembler => names_file(after).then_some(Directive::Odd {
            why: Odd::Assembler,
        }),
        Hit::Import => odd(Odd::Module),
    }
}

/// The whole name that `at` is in.
fn name_around(line: &[u8], at: usize) -> &[u8] {
    let (before, after) = line.split_at(at.min(line.len()));
    let start = before.iter().rposition(|byte| !in_name(*byte));
    let length = after.iter().take_while(|byte| in_name(**byte)).count();
    &line[start.map_or(0, |start| start + 1)..at + length]
}

/// Is `text` a `_Pragma ("…")` about once-only headers and the like?
fn pragma_decides(text: &[u8]) -> bool {
    const DECIDING: [&[u8]; 4] = [
        b"once",
        b"GCC dependency",
        b"clang module",
        b"clang dependency",
    ];
    let text = text
        .strip_prefix(b"_Pragma")
        .unwrap_or(text)
        .trim_ascii_start();
    let text = text.strip_prefix(b"(").unwrap_or(text).trim_ascii_start();
    let quote = text.iter().position(|byte| *byte == b'"');
    let inside = quote.map_or(&b""[..], |quote| text[quote + 1..].trim_ascii_start());
    DECIDING.iter().any(|word| inside.starts_with(word))
}

/// Is it `_Pragma ("`?
fn is_literal(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"_Pragma").unwrap_or(text);
    let text = text.trim_ascii_start().strip_prefix(b"(");
    text.is_some_and(|text| text.trim_ascii_start().starts_with(b"\""))
}

/// `_Pragma("push_macro(\"NAME\")")`; `before` ends in `push` or `pop`.
fn macro_stack(before: &[u8], after: &[u8]) -> Option<Directive> {
    let after = after.strip_prefix(b"_macro")?.trim_ascii_start();
    let after = after.strip_prefix(b"(")?.trim_ascii_start();
    let after = after.strip_prefix(b"\\\"")?;
    let length = after.iter().take_while(|byte| in_name(**byte)).count();
    let (name, after) = after.split_at(length);
    let after = after.strip_prefix(b"\\\"")?.trim_ascii_start();
    let after = after.strip_prefix(b")")?.trim_ascii_start();
    after.strip_prefix(b"\"")?;
    let (before, is_push) = match before.strip_suffix(b"push") {
        Some(before) => (before, true),
        None => (before.strip_suffix(b"pop")?, false),
    };
    let before = before
        .trim_ascii_end()
        .strip_suffix(b"\"")?
        .trim_ascii_end();
    let before = before.strip_suffix(b"(")?.trim_ascii_end();
    let before = before.strip_suffix(b"_Pragma")?;
    // Among a macro's arguments it may count twice, or not at all.
    let count = |byte| memchr::memchr_iter(byte, before).count();
    if count(b'(') != count(b')') {
        return None;
    }
    let name = intern(name);
    Some(match is_push {
        true => Directive::Push { name },
        false => Directive::Pop { name },
    })
}

/// What follows an assembler's directive, which counts in any case.
fn behind<'t>(text: &'t [u8], directive: &[u8]) -> Option<&'t [u8]> {
    let (word, rest) = text.split_at_checked(directive.len())?;
    word.eq_ignore_ascii_case(directive).then_some(rest)
}

/// The file in ` \"FILE\"` within a string.
fn assembler_file(text: &[u8]) -> Option<Id> {
    let blank = blanks(text);
    let text = text.get(blank..)?.strip_prefix(b"\\\"")?;
    let end = find(text, b"\\\"")?;
    let name = &text[..end];
    let is_odd = |byte: &u8| matches!(byte, b'\\' | b'"' | b'\n' | b'\r' | b'%');
    (blank > 0 && !name.is_empty() && !name.iter().any(is_odd)).then(|| intern(name))
}

/// Does a file name, or the end of a string, follow `.include`?
fn names_file(text: &[u8]) -> bool {
    let text = behind(text, INCLUDE).unwrap_or(text);
    let blank = blanks(text);
    blank > 0 && matches!(text.get(blank), Some(b'"' | b'\\'))
}

/// Does a line start as the directives of C++ modules do?
pub(super) fn starts_module(line: &[u8]) -> bool {
    let (mut name, mut rest) = line.split_at(name_length(line));
    if name == b"export" {
        rest = rest.trim_ascii_start();
        (name, rest) = rest.split_at(name_length(rest));
    }
    let first = rest.trim_ascii_start().first().copied().unwrap_or(b'\n');
    match name {
        b"import" => in_name(first) || matches!(first, b'<' | b'"' | b':'),
        b"module" => in_name(first) || matches!(first, b';' | b':'),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use memchr::memmem::find_iter;
    use proptest::prelude::*;

    /// The same, word by word.
    fn plainly(text: &[u8], is_clangs: bool) -> Vec<(usize, Hit)> {
        let words = [
            ("__DA", Hit::Clock),
            ("__TI", Hit::Clock),
            ("_Pragma", Hit::Pragma),
            ("_macro", Hit::MacroStack),
            (".i", Hit::Assembler),
            (".I", Hit::Assembler),
            ("GCC", Hit::Options),
            ("once", Hit::Once),
            ("_MACROS", Hit::Carrier),
        ];
        let words = words.iter().take(if is_clangs { 9 } else { 8 });
        let places = |(word, hit): &(&str, Hit)| {
            let places: Vec<usize> = find_iter(text, word).collect();
            let hit = *hit;
            places.into_iter().map(move |at| (at, hit))
        };
        let mut all: Vec<(usize, Hit)> = words.flat_map(places).collect();
        all.retain(|(at, hit)| is_word(text, *at, *hit));
        all.sort_by_key(|(at, _)| *at);
        all
    }

    proptest! {
        #[test]
        fn one_walk_finds_what_single_searches_do(words in proptest::collection::vec(
            "__DATE__|__DA|__TIME|__TIMESTAMP__|_Pragma|pop_macro|push_m|POP_MACROS|PUSH_MACROS|\\.incbin|\\.INCLUDE \"|\\.i|GCC target|GC|\\(once|\\)|on|ragma|_|__|[ a-z]{1,40}", 0..40),
            clang in any::<bool>(),
        ) {
            let text = words.concat();
            let dialect = Dialect { clang, ..Dialect::default() };
            let mut hits = Hits::new(text.as_bytes(), dialect);
            let found: Vec<(usize, Hit)> = std::iter::from_fn(|| hits.before(text.len())).collect();
            prop_assert_eq!(&found, &plainly(text.as_bytes(), clang));
            // The same where it is asked line by line.
            let text = text.replace("  ", "\n\n").replace("a ", "/\n");
            let mut hits = Hits::new(text.as_bytes(), dialect);
            let mut found = Vec::new();
            for end in find_iter(text.as_bytes(), "\n").chain([text.len()]) {
                found.extend(std::iter::from_fn(|| hits.before(end)));
            }
            prop_assert_eq!(found, plainly(text.as_bytes(), clang));
        }
    }

    fn notes(line: &str) -> Vec<Directive> {
        let text = line.as_bytes();
        let dialect = Dialect {
            objective: true,
            clang: true,
            ..Dialect::default()
        };
        let mut hits = Hits::new(text, dialect);
        std::iter::from_fn(|| hits.before(text.len()))
            .filter_map(|(at, hit)| in_text(text, 0, text.len(), at, hit))
            .collect()
    }

    #[test]
    fn words_that_matter_are_found() {
        let odd = |why| Directive::Odd { why };
        let name = |text: &str| intern(text.as_bytes());
        for (line, expected) in [
            (
                "x = __DATE__ __TIME__;",
                vec![Directive::Clock(Clock::Run); 2],
            ),
            ("__TIMESTAMP__", vec![Directive::Clock(Clock::File)]),
            ("my__DATE__ __TIME_T __DATES", vec![]),
            ("CAT(__DATE, __)", vec![Directive::Clock(Clock::Run)]),
            ("__DA ## TE__", vec![Directive::Clock(Clock::Run)]),
            ("__TI ## ME__", vec![Directive::Clock(Clock::File)]),
            ("__DAB __TIN", vec![]),
            (
                "CAT(__TIMES, TAMP__) __TIME",
                vec![Directive::Clock(Clock::File); 2],
            ),
            ("_Pragma(\"once\") x", vec![odd(Odd::Pragma)]),
            ("_Pragma ( \"GCC diagnostic push\" )", vec![]),
            (
                "_Pragma(\"push_macro(\\\"min\\\")\") _Pragma(\"pop_macro( \\\"max\\\" )\")",
                vec![
                    Directive::Push { name: name("min") },
                    Directive::Pop { name: name("max") },
                ],
            ),
            ("DO(push_macro(\"x\"))", vec![odd(Odd::MacroStack)]),
            (
                "F(_Pragma(\"push_macro(\\\"x\\\")\"))",
                vec![odd(Odd::MacroStack)],
            ),
            (
                "_Pragma(\"GCC target(\\\"avx\\\")\") DO(GCC pop_options)",
                vec![
                    Directive::Options(Change::Target),
                    Directive::Options(Change::Pop),
                ],
            ),
            ("the GCC targets", vec![]),
            (
                "DO ( once ) at once",
                vec![Directive::Made { name: name("DO") }],
            ),
            ("my_macro()", vec![]),
            (
                "  _LIBCPP_PUSH_MACROS ",
                vec![Directive::Alone {
                    name: name("_LIBCPP_PUSH_MACROS"),
                }],
            ),
            (
                "A_POP_MACROS x",
                vec![Directive::Amid {
                    name: name("A_POP_MACROS"),
                }],
            ),
            (
                "asm(\".incbin \\\"a/b.bin\\\", 2\");",
                vec![Directive::Incbin {
                    name: name("a/b.bin"),
                }],
            ),
            ("asm(\".incbin \" NAME);", vec![odd(Odd::Assembler)]),
            (
                "asm(\".INCBIN \\\"a\\\"\");",
                vec![Directive::Incbin { name: name("a") }],
            ),
            ("asm(\".Include \\\"a\\\"\");", vec![odd(Odd::Assembler)]),
            ("incbin(x)", vec![]),
            ("asm(\".include \\\"a\\\"\");", vec![odd(Odd::Assembler)]),
            ("x.include_dirs(y)", vec![]),
            ("@import Foo;", vec![odd(Odd::Module)]),
        ] {
            assert_eq!(notes(line), expected, "{line}");
        }
    }

    #[test]
    fn what_is_in_comments_is_dropped() {
        let text = b"__DATE__ __TIME__ __DATE__";
        let mut hits = Hits::new(text, Dialect::default());
        hits.drop(5, 18);
        assert_eq!(hits.before(26), Some((0, Hit::Clock)));
        assert_eq!(hits.before(18), None);
        assert_eq!(hits.before(26), Some((18, Hit::Clock)));
        assert_eq!(hits.before(26), None);

        let mut hits = Hits::new(text, Dialect::default());
        hits.skip(17);
        assert_eq!(hits.before(18), None);
        assert_eq!(hits.next_or(|_| 0), 18);
        hits.drop(18, 26);
        assert_eq!(hits.before(26), None);
    }

    #[test]
    fn all_before_a_comment_is_found_however_far_it_is() {
        let gap = " ".repeat(3 * BLOCK_BYTES);
        let text = format!("__DATE__{gap}__TIME__{gap}/* __DATE__ */ __DATE__");
        let comment = text.find("/*").unwrap();
        let mut hits = Hits::new(text.as_bytes(), Dialect::default());
        hits.drop(comment, text.rfind("*/").unwrap() + 2);
        let found = std::iter::from_fn(|| hits.before(text.len()));
        let expected = [0, comment - gap.len() - 8, text.len() - 8];
        assert!(found.eq(expected.map(|at| (at, Hit::Clock))));
    }

    #[test]
    fn what_is_found_and_stops_come_in_their_order() {
        let text = [&[b'x'; 40][..], b"(; __TIME__; y #"].concat();
        let semicolons = |block: &Block| bits(|at| Sixteen::of(block, at).is(b';'));
        let mut hits = Hits::new(&text, Dialect::default());
        assert_eq!(hits.next_or(semicolons), 41);
        hits.skip(42);
        for _ in 0..2 {
            assert_eq!(hits.next_or(semicolons), 43);
        }
        assert_eq!(hits.before(51), Some((43, Hit::Clock)));
        assert_eq!(hits.next_or(semicolons), 51);
        hits.skip(52);
        assert_eq!(hits.next_or(semicolons), text.len());
    }
}
