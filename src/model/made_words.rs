//! Words that a text makes by pasting, or holds in pieces over several lines: macros that are another machine's to tell, and
//! `__COUNTER__` in conditions, of which clang's `-frewrite-includes` leaves nothing. What headers of the system say among
//! themselves is not suspected of either; what others hand to them is. Errs on the side of yes.

use super::invocation::Reason;
use super::landmarks::Landmarks;
use super::literals::{comments_in_line, splice_length};
use super::plain_text::marker;
use memchr::memmem;
use std::collections::BTreeSet;

const COUNTER: &str = "__COUNTER__";

/// Macros whose values differ where text is compiled: clocks and files are others there.
const OF_THE_PLACE: [&str; 5] = [
    "__DATE__",
    "__TIME__",
    "__TIMESTAMP__",
    "__BASE_FILE__",
    "__INCLUDE_LEVEL__",
];

/// No such word is longer.
const LENGTH_MAX: usize = "__INCLUDE_LEVEL__".len();

/// Of how many pieces such a word is pasted at most: those of `__BASE_FILE__`, cut at its underscores.
const PIECES_MAX: usize = 5;

/// Other names that matter where macros have not been expanded, and are looked for.
const OTHERS: [&[u8]; 8] = [
    b"_Pragma",
    b"pragma",
    b"define",
    b"pack",
    b"GCC",
    b"_Nonnull",
    b"_Nullable",
    b"_Null_unspecified",
];

/// Why a text whose macros have not been expanded is not compiled elsewhere. `command` has the macros that the text has not
/// itself; of clang's it is asked what conditions count, too: who compiles it counts one less.
pub fn keeps_local(
    text: &[u8],
    landmarks: &Landmarks,
    command: &[u8],
    is_clangs: bool,
) -> Option<Reason> {
    let own = pastes(text, landmarks, command).then(|| own_lines(text, landmarks, command));
    let words = own.as_deref().map(words_to_paste).unwrap_or_default();
    if is_clangs && counts_in_conditions(text, command, can_be_made(COUNTER, &words)) {
        return Some(Reason::new("a condition counts on __COUNTER__"));
    }
    if splits_name(text) {
        return Some(Reason::new("a name that matters goes on in the next line"));
    }
    let mut names = OF_THE_PLACE.into_iter();
    let name = names.find(|name| holds(text, name) || can_be_made(name, &words))?;
    Some(Reason::new(format!("{name} would get the server's value")))
}

/// Does a text hold the name of a macro whose value is another where it is compiled?
pub fn names_the_place(text: &[u8]) -> bool {
    OF_THE_PLACE.iter().any(|name| holds(text, name))
}

fn holds(text: &[u8], name: &str) -> bool {
    memmem::find(text, name.as_bytes()).is_some()
}

/// Is a name that matters cut by the end of a line? It would not be found.
fn splits_name(text: &[u8]) -> bool {
    memchr::memchr2_iter(b'\\', b'?', text).any(|at| is_split(text, at))
}

/// Is a name that matters cut by the end of a line, which a backslash at `at`, or its trigraph, continues?
fn is_split(text: &[u8], at: usize) -> bool {
    let (before, rest) = text.split_at_checked(at).unwrap_or_default();
    let is_cut = before.last().is_some_and(|byte| in_name(*byte)) && splice_length(rest).is_some();
    if !is_cut {
        return false;
    }
    let length = before.iter().rev().take_while(|byte| in_name(**byte));
    let mut name = before
        .get(at - length.count()..)
        .unwrap_or_default()
        .to_vec();
    let mut rest = rest;
    while let Some(length) = splice_length(rest) {
        rest = rest.get(length..).unwrap_or_default();
        let more = rest.iter().take_while(|byte| in_name(**byte)).count();
        name.extend_from_slice(rest.get(..more).unwrap_or_default());
        rest = rest.get(more..).unwrap_or_default();
    }
    is_word_that_matters(&name)
}

fn is_word_that_matters(name: &[u8]) -> bool {
    let mut names = OF_THE_PLACE.iter().chain([&COUNTER]);
    names.any(|other| other.as_bytes() == name) || OTHERS.contains(&name)
}

/// Whether a condition, or the name of an include, may use `__COUNTER__`, which others can be pasted to if `is_pasted`. Macros
/// are told by their names, wherever they are defined.
fn counts_in_conditions(text: &[u8], command: &[u8], is_pasted: bool) -> bool {
    let is_there = |text: &[u8]| memmem::find(text, COUNTER.as_bytes()).is_some();
    if !is_pasted && ![text, command].into_iter().any(is_there) {
        return false;
    }
    let texts = [text, command].map(plain_lines);
    let lines = texts
        .iter()
        .flat_map(|text| text.split(|byte| *byte == b'\n'));
    let all: Vec<(&[u8], &[u8])> = lines.filter_map(directive).collect();
    let defines = all.iter().filter(|(word, _)| *word == b"define");
    let mut defines: Vec<&[u8]> = defines.map(|(_, rest)| *rest).collect();
    let mut counting: BTreeSet<&[u8]> = BTreeSet::from([COUNTER.as_bytes()]);
    if is_pasted {
        let pasting = defines
            .iter()
            .filter(|define| paste_places(define).any(|at| pastes_pieces(define, at)));
        counting.extend(pasting.filter_map(|define| identifiers(define).next()));
    }
    loop {
        let before = counting.len();
        defines.retain(|define| {
            let mut names = identifiers(define);
            let name = names.next();
            let counts = names.any(|name| counting.contains(name));
            counting.extend(name.filter(|_| counts));
            !counts
        });
        if counting.len() == before {
            break;
        }
    }
    all.iter().any(|(word, rest)| {
        let evaluated = match *word {
            b"if" | b"elif" => behind_defined(rest),
            b"include" | b"include_next" | b"import" => match rest.first() {
                Some(b'"' | b'<') => b"",
                _ => *rest,
            },
            _ => b"",
        };
        identifiers(evaluated).any(|name| counting.contains(name))
    })
}

/// A condition without its beginning, as far as that only asks what is defined, which expands no macro. What follows any
/// other name may be a macro's argument.
fn behind_defined(mut condition: &[u8]) -> &[u8] {
    loop {
        let rest = behind(condition, |byte| !in_name(byte));
        let (word, more) = first_word(rest);
        let is_number = word.first().is_some_and(u8::is_ascii_digit);
        condition = match word {
            b"defined" => {
                let operand = behind(more, |byte| byte.is_ascii_whitespace() || byte == b'(');
                first_word(operand).1
            }
            _ if is_number => more,
            _ => return rest,
        };
    }
}

/// The name or number that a text begins with, and what follows it.
fn first_word(text: &[u8]) -> (&[u8], &[u8]) {
    let rest = behind(text, in_name);
    text.split_at_checked(text.len() - rest.len())
        .unwrap_or_default()
}

/// A text from its first byte on that is not as asked.
fn behind(text: &[u8], is: impl Fn(u8) -> bool) -> &[u8] {
    let end = text.iter().position(|byte| !is(*byte));
    text.get(end.unwrap_or(text.len())..).unwrap_or_default()
}

/// Whether a file that is none of the system's pastes what it may choose: by a macro of its own, or by one of a header of the
/// system that it names.
fn pastes(text: &[u8], landmarks: &Landmarks, command: &[u8]) -> bool {
    if paste_places(command).next().is_some() {
        return true;
    }
    let mut others = BTreeSet::new();
    let (mut start, mut last, mut found) = (0, 0, None);
    let mut read = Read::default();
    for at in landmarks.pastes.iter().copied().chain(digraphs(text)) {
        // What is read already is not read again, but for the digraphs.
        let known = (last > 0 && last < at).then_some((start, last));
        let begin = directive_start(text, at, known);
        let line = text.get(begin..).unwrap_or_default();
        if known.is_none() || begin != start {
            found = directive(first_line(line));
        }
        (start, last) = (begin, at);
        let pastes = match found {
            Some((b"define", _)) => pastes_pieces(line, at - start),
            // Behind a comment a definition may begin, or go on.
            found => found.is_none(),
        };
        if pastes && is_own(text, landmarks, at, &mut read) {
            return true;
        }
        let name = found.filter(|_| pastes);
        others.extend(name.and_then(|(_, rest)| identifiers(rest).next()));
    }
    let own = match others.is_empty() {
        true => Vec::new(),
        false => own_text(text, landmarks),
    };
    others.iter().any(|name| memmem::find(&own, name).is_some())
}

/// Where the directive begins that goes on at `at`, if it is known of a place before where the one there begins.
fn directive_start(text: &[u8], at: usize, known: Option<(usize, usize)>) -> usize {
    let (start, from) = known.unwrap_or_default();
    let mut end = at;
    loop {
        let before = text.get(..end).unwrap_or_default();
        let near = before.get(from..).unwrap_or_default();
        let Some(newline) = memchr::memrchr(b'\n', near).map(|newline| from + newline) else {
            return start;
        };
        let line = before.get(..newline).unwrap_or_default();
        let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r');
        let blanks = line.iter().rev().take_while(|byte| is_blank(byte)).count();
        let line = line.get(..newline - blanks).unwrap_or_default();
        if !line.ends_with(b"\\") && !line.ends_with(b"??/") {
            return newline + 1;
        }
        end = newline;
    }
}

fn first_line(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == b'\n').next().unwrap_or_default()
}

/// Whether what the marks at `at` paste may be pieces of a word that matters: the macro's arguments, or such pieces.
fn pastes_pieces(define: &[u8], at: usize) -> bool {
    let (before, after) = define.split_at_checked(at).unwrap_or_default();
    let marks = if after.starts_with(b"#") { 2 } else { 4 };
    let is_gap = |byte: &u8| byte.is_ascii_whitespace() || *byte == b'\\';
    let gap = before.iter().rev().take_while(|byte| is_gap(byte)).count();
    let before = before.get(..before.len() - gap).unwrap_or_default();
    let after = after.get(marks..).unwrap_or_default();
    let gap = after.iter().take_while(|byte| is_gap(byte)).count();
    let after = after.get(gap..).unwrap_or_default();
    let left = before.iter().rev().take_while(|byte| in_name(**byte));
    let left = before
        .get(before.len() - left.count()..)
        .unwrap_or_default();
    let right = after.iter().take_while(|byte| in_name(**byte)).count();
    let right = after.get(..right).unwrap_or_default();
    // What stands behind a comment, or is made by __VA_OPT__, is not looked for.
    let may = |word: &[u8], beside: Option<&u8>| match word {
        [] => matches!(beside, Some(b')' | b'/' | b'#' | b'%')),
        // As a suffix of numbers.
        b"L" | b"U" | b"UL" => is_parameter(define, word),
        _ => is_parameter(define, word) || is_piece(word),
    };
    may(left, before.last()) && may(right, after.first())
}

/// Whether a macro has a parameter of this name. One of no name is a word of its own.
fn is_parameter(define: &[u8], word: &[u8]) -> bool {
    let list = memchr::memchr(b'(', define).and_then(|at| define.get(at..));
    let list = list.unwrap_or_default().split(|byte| *byte == b')').next();
    let is_word = |name: &[u8]| name == word;
    word.starts_with(b"__VA_") || identifiers(list.unwrap_or_default()).any(is_word)
}

/// Whether a word that matters may be made of this and others.
fn is_piece(word: &[u8]) -> bool {
    let is_like = |byte: &u8| byte.is_ascii_uppercase() || *byte == b'_';
    if word.len() > LENGTH_MAX || !word.iter().all(is_like) {
        return false;
    }
    let mut names = OF_THE_PLACE.iter().chain([&COUNTER]);
    names.any(|name| memmem::find(name.as_bytes(), word).is_some())
}

/// Whether a name is two or more of these words, one behind the other, but not more than anybody would paste.
fn can_be_made(name: &str, words: &BTreeSet<&[u8]>) -> bool {
    if words.is_empty() {
        return false;
    }
    let name = name.as_bytes();
    let pieces = words.iter().filter(|word| **word != name);
    let pieces: Vec<&[u8]> = pieces.copied().collect();
    // How many pieces at least make what ends there.
    let mut counts = vec![0];
    counts.resize(name.len() + 1, PIECES_MAX + 1);
    for at in 0..name.len() {
        let rest = name.get(at..).unwrap_or_default();
        let count = counts.get(at).map_or(PIECES_MAX, |count| *count) + 1;
        for piece in pieces.iter().filter(|piece| rest.starts_with(piece)) {
            if let Some(end) = counts.get_mut(at + piece.len()) {
                *end = count.min(*end);
            }
        }
    }
    counts.last().is_some_and(|count| *count <= PIECES_MAX)
}

/// The words of a text that can be pasted. Underscores alone, as a function's name, are no part of a word that matters.
fn words_to_paste(text: &[u8]) -> BTreeSet<&[u8]> {
    let pieces = identifiers(text).filter(|word| is_piece(word));
    let mut words: BTreeSet<&[u8]> = pieces.collect();
    for underscores in [&b"_"[..], b"__"] {
        let is_called = |at: usize| {
            let rest = text.get(at + underscores.len()..).unwrap_or_default();
            rest.trim_ascii_start().starts_with(b"(")
        };
        let is_whole = |at: usize| {
            let before = at.checked_sub(1).and_then(|at| text.get(at));
            let after = text.get(at + underscores.len());
            ![before, after]
                .into_iter()
                .flatten()
                .any(|byte| in_name(*byte))
        };
        let mut places = memmem::find_iter(text, underscores);
        if !places.any(|at| is_whole(at) && !is_called(at)) {
            words.remove(underscores);
        }
    }
    words
}

/// How many lines that may be markers were read, and whether the last of these began a part that is the system's.
type Read = (usize, bool);

/// Whether `at` is not in a header of the system. Of places in their order each marker is read once.
fn is_own(text: &[u8], landmarks: &Landmarks, at: usize, read: &mut Read) -> bool {
    let before = landmarks.hashes.partition_point(|hash| *hash <= at);
    if *read == Read::default() || before < read.0 {
        *read = (0, is_system(text, 0) == Some(true));
    }
    let mut starts = landmarks
        .hashes
        .get(read.0..before)
        .unwrap_or_default()
        .iter()
        .rev();
    let system = starts.find_map(|start| is_system(text, *start));
    *read = (before, system.unwrap_or(read.1));
    !read.1
}

/// Whether a marker at `start`, if there is one, begins a part that is the system's, or the compiler's own.
fn is_system(text: &[u8], start: usize) -> Option<bool> {
    let found = marker(first_line(text.get(start..)?).trim_ascii_end())?;
    let is_compilers = found.name.starts_with(b"<") && !found.name.starts_with(b"<command");
    Some(is_compilers || found.flags.contains(&b'3'))
}

/// The parts of a text that are none of the system's.
fn own_text(text: &[u8], landmarks: &Landmarks) -> Vec<u8> {
    let mut own = Vec::new();
    let (mut from, mut system) = (0, is_system(text, 0) == Some(true));
    for hash in landmarks.hashes.iter().chain([&text.len()]) {
        let next = is_system(text, *hash);
        if next.is_none() && *hash < text.len() {
            continue;
        }
        if !system {
            own.extend_from_slice(text.get(from..*hash).unwrap_or_default());
        }
        (from, system) = (*hash, next == Some(true));
    }
    own
}

/// The same as plain lines, and those of the command.
fn own_lines(text: &[u8], landmarks: &Landmarks, command: &[u8]) -> Vec<u8> {
    let mut own = own_text(text, landmarks);
    own.push(b'\n');
    own.extend_from_slice(command);
    plain_lines(&own)
}

/// Where a text has `##`, also as a digraph.
fn paste_places(text: &[u8]) -> impl Iterator<Item = usize> + '_ {
    memmem::find_iter(text, b"##").chain(digraphs(text))
}

fn digraphs(text: &[u8]) -> impl Iterator<Item = usize> + '_ {
    memmem::find_iter(text, b"%:%:")
}

/// A line's directive: its word, and what follows that.
fn directive(line: &[u8]) -> Option<(&[u8], &[u8])> {
    const HASHES: [&[u8]; 3] = [b"#", b"%:", b"??="];
    let line = line.trim_ascii();
    let rest = HASHES.iter().find_map(|hash| line.strip_prefix(*hash))?;
    let (word, rest) = first_word(rest.trim_ascii_start());
    Some((word, rest.trim_ascii()))
}

/// The text without comments, each directive on one line.
fn plain_lines(text: &[u8]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memchr2(b'\\', b'?', rest) {
        let (line, more) = rest.split_at_checked(at).unwrap_or_default();
        joined.extend_from_slice(line);
        let length = splice_length(more);
        let kept = if length.is_some() { 0 } else { 1 };
        joined.extend_from_slice(more.get(..kept).unwrap_or_default());
        rest = more.get(length.unwrap_or(1)..).unwrap_or_default();
    }
    joined.extend_from_slice(rest);
    comments_in_line(&joined)
}

fn identifiers(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let words = text.split(|byte| !in_name(*byte));
    words.filter(|word| word.first().is_some_and(|byte| !byte.is_ascii_digit()))
}

/// Whether a byte may be a part of a name: letters of other scripts, too.
fn in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || !byte.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_that_count_are_seen() {
        let counts = |command: &str, text: &str| {
            let landmarks = Landmarks::of(text.as_bytes(), true);
            let kept = keeps_local(text.as_bytes(), &landmarks, command.as_bytes(), true);
            kept.is_some_and(|why| why.to_string().contains("condition"))
        };
        for text in [
            "#if __COUNTER__\n#endif\n",
            " # define A \\\n __COUNTER__\n#define B(x) x A\n#if 0\n# elif B(1)\n#endif\n",
            "#if(__COUNTER__)\n#endif\n",
            "#if\t__COUNTER__ == 0\n#endif\n",
            "#if!__COUNTER__\n#endif\n",
            "%:if __COUNTER__\n#endif\n",
            "??=if 1 ??/\n && __COUNTER__\n#endif\n",
            "#/**/if __COUNTER__\n#endif\n",
            "/* \n */ # if /* a\n b */ __COUNTER__\n#endif\n",
            "#define C __COUNTER__\n#if 1 /*\n*/ && C\n#endif\n",
            "#define C /*\n*/ __COUNTER__\n#if 1 \\ \n && C\n#endif\n",
            "#define \u{e9} __COUNTER__\n#if \u{e9}\n#endif\n",
            "#define J K(__COUNTER__)\n#define K(n) <h ## n>\n#include J\n",
            "s = R\"(/*)\";\n#if __COUNTER__\n#endif\n",
            "#if defined(__COUNTER__) && __COUNTER__ > 0\n#endif\n",
            "#define A __COUNTER__\n#define I(x) x\n#if I(defined(A))\n#endif\n",
        ] {
            assert!(counts("", text), "{text}");
        }
        for text in [
            "#define A __COUNTER__\nint x = A;\n#if 1\n#elif B\n#endif\n#ifdef A\n#endif\n",
            "#if 1\n#endif\n",
            "#define A __COUNTER__\n#if !defined(A) || 1 > 0x2 && defined A && ! defined ( B )\n#endif\n",
            "#if defined(__COUNTER__) && A\n#endif\n",
            "#define A __COUNTER__\n#include \"A\"\n#include <A>\n/*\n#if A\n*/\n",
        ] {
            assert!(!counts("", text), "{text}");
        }
        assert!(counts("#define A __COUNTER__\n", "#if A\n#endif\n"));
    }

    const SYSTEM: &str = "\n# 1 \"/usr/include/s.h\" 1 3\n";
    const OWN: &str = "\n# 2 \"x.c\" 2\n";

    fn made(text: &str, command: &str) -> Option<Reason> {
        let landmarks = Landmarks::of(text.as_bytes(), false);
        keeps_local(text.as_bytes(), &landmarks, command.as_bytes(), false)
    }

    #[test]
    fn words_that_are_pasted_are_seen() {
        const CAT: &str = "#define CAT(a, b) a ## b\n";
        for text in [
            "s = __DATE__;".to_owned(),
            format!("{CAT}s = CAT(__DA, TE__);"),
            format!("{CAT}s = CAT(__, CAT(DATE,__));"),
            format!("{CAT}s = CAT(CAT(__, CAT(INCLUDE,_)), CAT(LEVEL, __));"),
            "#define P(n) __##n##__\nint l = P(INCLUDE_LEVEL);".to_owned(),
            "#define P(n) \\\n  __ \\\n ## n ## __\nint l = P(DATE);".to_owned(),
            "# define L __INC%:%:LUDE_LEVEL__\nint l = L;".to_owned(),
            "#define X(n) n##1 \\\n n##2\n#define P(n) 1##2 \\\n __##n##__\nint l = P(INCLUDE_LEVEL);"
                .to_owned(),
            format!("{SYSTEM}#define A(n) A##n\n# define B(n) B##n\n{OWN}# 7 \"y.h\"\n{CAT}s = CAT(__DA, TE__);"),
            format!("/* x\n */\n{CAT}s = CAT(__DA, TE__);"),
            format!("/* x */ {CAT}s = CAT(__DA, TE__);"),
            "#define C(a, b) /*\n*/ a##b\ns = C(__DA, TE__);".to_owned(),
            format!("#define X a \\\n\n{CAT}s = CAT(__DA, TE__);"),
            "#define X(a) a \\ \r\n ## __ \nint d = X(__DATE);".to_owned(),
            "#define C(...) C_(__VA_ARGS__)\n#define C_(a, b...) a/**/##b\ns = C(__DA, TE__);"
                .to_owned(),
            format!("{SYSTEM}#define __CONCAT(x,y) x ## y\n{OWN}s = __CONCAT(__TI,ME__);"),
        ] {
            assert!(made(&text, "").is_some(), "{text}");
        }
        assert!(made("s = C(__DA, TE__);", "#define C(a,b) a##b\n").is_some());
        for text in [
            "#define P(n) __attribute__((__##n##__))\nP(noreturn) f();".to_owned(),
            "#define P(n) __##n##__\nint DATA;".to_owned(),
            format!("{CAT}printf(_(\"a\")); enum {{ DATE, TIME }};"),
            format!("{SYSTEM}#define __CONCAT(x,y) x ## y\n{OWN}s = A(__TI,ME__);"),
            format!("{CAT}// __DATE, __\n"),
            "#define D(c) c ## UL\nint DATE = D(1), __;".to_owned(),
            format!("{CAT}template <class T, class A, class D, class E> int f(T _);"),
        ] {
            assert_eq!(made(&text, ""), None, "{text}");
        }
    }

    #[test]
    fn conditions_that_count_by_pasting_are_seen() {
        const CAT: &str = "#define CAT_(a, b) a##b\n#define CAT(a, b) CAT_(a, b)\n";
        let counts = |text: &str| {
            let landmarks = Landmarks::of(text.as_bytes(), true);
            let kept = keeps_local(text.as_bytes(), &landmarks, b"", true);
            kept.is_some_and(|why| why.to_string().contains("condition"))
        };
        for (text, expected) in [
            ("#if CAT(__COUN, TER__) == 0\n#endif\n", true),
            ("#define P(n) __##n##__\n#elif P(COUNTER)\n", true),
            ("#if CAT(__CO, CAT(U, NTER__))\n#endif\n", true),
            ("int c = CAT(__COUN, TER__);\n#if CAT(1, 2)\n#endif\n", true),
            ("int c = CAT(__COUN, TER__);\n#if A(1, 2)\n#endif\n", false),
            (
                "#define V(n) VERSION_##n\n#if V(1) > 2\nint __COUN, TER__;\n#endif\n",
                false,
            ),
            (
                "#if CAT(1, 2)\nint COUNTER, c = __COUNTER__;\n#endif\n",
                false,
            ),
        ] {
            assert_eq!(counts(&format!("{CAT}{text}")), expected, "{text}");
        }
    }

    #[test]
    fn names_over_several_lines_are_seen() {
        for (text, expected) in [
            ("s = __DA\\\nTE__;", true),
            ("s = __\\\nDA\\ \r\nTE__;", true),
            ("#pra\\\ngma pack(1)", true),
            ("#def\\\nine A if (a)", true),
            ("b = __BASE??/\n_FILE__;", true),
            ("a = b ? __DATE : __x;", false),
            ("#define A __DA \\\n TE__", false),
            ("s = \"usage:\\n\\\nfoo\\\nbar\";", false),
            ("int __DATE\\\n_x__;", false),
        ] {
            assert_eq!(splits_name(text.as_bytes()), expected, "{text}");
        }
    }
}
