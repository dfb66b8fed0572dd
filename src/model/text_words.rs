//! Words in the text between directives that may matter, found as the text is read; what comes of them is the business of
//! `text_notes`.

use std::collections::VecDeque;

use super::blocks::{bits, each_bit, lowest, with_block, Block, Sixteen, BLOCK_BYTES};
use super::dialect::Dialect;
use super::directives::Change;
use super::tokens::{in_name, name_length};

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

/// What an assembler reads a file with.
pub const INCBIN: &[u8] = b".incbin";
/// What it reads more text with.
pub const INCLUDE: &[u8] = b".include";

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

    /// What is found next, or, if that comes first, the first place not yet looked at that has its bit in what `stops` answers
    /// of its block; the end of the text if there is neither. No word may hold such a byte: it would be cut.
    #[inline(always)]
    pub fn next_or(&mut self, stops: impl Fn(&Block) -> u32) -> usize {
        let end = self.text.len();
        while self.waiting.is_empty() && self.looked < end && self.look_at_block(end, &stops) {}
        let found = self.waiting.front().map(|(at, _)| *at);
        found.unwrap_or(self.looked)
    }

    /// What is in a comment is not said. Comments are told of in their order, each before anything behind it is looked at.
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

/// What the rest of a pragma after `GCC` does to options.
pub(super) fn change(after: &[u8]) -> Option<Change> {
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

/// What follows an assembler's directive, which counts in any case.
pub fn behind<'t>(text: &'t [u8], directive: &[u8]) -> Option<&'t [u8]> {
    let (word, rest) = text.split_at_checked(directive.len())?;
    word.eq_ignore_ascii_case(directive).then_some(rest)
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
