//! Where a preprocessed text looks as if a compiler might warn of how its files are laid out: statements that seem guarded and are
//! not, and macros of several statements of which one is guarded. A text does not show tabs and macros, so what is found is
//! a suspicion, and the file itself tells; see `indentation` for that. And where a file begins or ends among the arguments of a
//! macro, which is an error only as long as it is a file.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use super::clang_text::words;
use super::crowded::{Crowd, There};
use super::family::Family;
use super::indentation::may_mislead;
use super::invocation::Invocation;
use super::landmarks::Landmarks;
use super::layout_lines::{in_name, number_of, Lines};
use super::literals::without_comments;
use super::plain_text::{marker, path_of};

/// What has to be looked for in a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asked {
    /// In system headers, too.
    pub system: bool,
    /// In the source itself, which is not yet looked through.
    pub source: bool,
    /// Macros were expanded, and what stands on one line may be one.
    pub expanded: bool,
}

impl Asked {
    /// Of a text that `family`'s compiler is to be given for `invocation`, if it may be asked to warn of such things. clang
    /// judges by what it is given, so that only an expanded text tells it less.
    pub fn of(invocation: &Invocation, family: Option<Family>, expanded: bool) -> Option<Asked> {
        let is_gccs = family == Some(Family::Gcc);
        let crowds = is_gccs && expanded && asks_gcc_for(invocation, b"multistatement-macros");
        let misleads = match family {
            Some(Family::Gcc) => asks_gcc_for(invocation, INDENTATION),
            Some(Family::Clang) => expanded && words(invocation).any(asks_of_indentation),
            None => false,
        };
        (crowds || misleads).then(|| Asked {
            system: words(invocation).any(|word| word == b"-Wsystem-headers"),
            source: invocation.preprocessed || !is_gccs,
            expanded: crowds,
        })
    }
}

/// gcc's and clang's name of the warning of indentation.
pub const INDENTATION: &[u8] = b"misleading-indentation";

/// Whether gcc is asked for this warning, one of `-Wall`: by the last word that names it, and only else by `-Wall`.
pub fn asks_gcc_for(invocation: &Invocation, warning: &[u8]) -> bool {
    let names = |word: &&[u8]| {
        let name = word.strip_prefix(b"-W").unwrap_or_default();
        let name = [&b"no-"[..], b"error="]
            .into_iter()
            .find_map(|before| name.strip_prefix(before))
            .unwrap_or(name);
        name == warning
    };
    let is_word = |known: &[&[u8]]| words(invocation).any(|word| known.contains(&word));
    let is_asked = match words(invocation).rfind(names) {
        Some(last) => !last.starts_with(b"-Wno-"),
        None => is_word(&[b"-Wall", b"-Werror=all"]),
    };
    is_asked && !is_word(&[b"-w"])
}

/// Whether tabs may stand for other columns than `indentation` takes them for.
pub fn has_other_tabs(invocation: &Invocation) -> bool {
    words(invocation).any(|word| word.starts_with(b"-ftabstop=") && word != b"-ftabstop=8")
}

fn asks_of_indentation(word: &[u8]) -> bool {
    let warning = word.strip_prefix(b"-W").unwrap_or_default();
    let warning = warning.strip_prefix(b"error=").unwrap_or(warning);
    matches!(warning, b"all" | b"everything") || warning == INDENTATION
}

/// A file to be looked at.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Suspect<'t> {
    /// As the text's markers name it.
    file: &'t [u8],
    /// A statement seems to be guarded that is not.
    misleads: bool,
    /// The lines, from 1 on, on which more than one statement stands behind a guard.
    crowded: BTreeMap<usize, Crowd>,
}

impl Suspect<'_> {
    /// Where the file is, as seen from the working directory.
    pub fn path(&self) -> PathBuf {
        path_of(self.file)
    }

    /// Whether there might be a guarded macro, and not only indentation.
    pub fn is_crowded(&self) -> bool {
        !self.crowded.is_empty()
    }

    /// Whether a compiler might warn of it, told by what the file holds.
    pub fn is_so(&self, content: &[u8]) -> bool {
        let mut misleads = self.misleads;
        if !self.crowded.is_empty() {
            let ends = memchr::memchr_iter(b'\n', content).map(|end| end + 1);
            let begins: Vec<usize> = std::iter::once(0).chain(ends).collect();
            for (number, crowd) in &self.crowded {
                let begin = number.checked_sub(1).and_then(|before| begins.get(before));
                let file = begin.and_then(|begin| content.get(*begin..));
                match crowd.compare(file.unwrap_or_default()) {
                    There::Unclear => return true,
                    There::Plain => misleads = true,
                    There::Macro => {}
                }
            }
        }
        misleads && may_mislead(content)
    }
}

/// The suspicious files; `landmarks` are those of the text.
pub fn suspects<'t>(text: &'t [u8], landmarks: &Landmarks, asked: Asked) -> Vec<Suspect<'t>> {
    let mut found: Vec<Suspect> = Vec::new();
    let source = text.split(|byte| *byte == b'\n').next().and_then(marker);
    let source = source.map(|first| first.name).unwrap_or_default();
    for stretch in stretches(text, landmarks, asked.system) {
        let seeks_all = asked.source || stretch.file != source;
        let part = text.get(stretch.text).unwrap_or_default();
        // Most headers only declare.
        if !seeks_all && !asked.expanded || guards(part).next().is_none() {
            continue;
        }
        let known = found.iter().position(|known| known.file == stretch.file);
        let mut suspect = known.map(|at| found.swap_remove(at)).unwrap_or_default();
        suspect.file = stretch.file;
        let lines = Lines::of(part, stretch.line);
        for at in guards(&lines.text) {
            match lines.judge(at) {
                Some((guard, Some(next))) if asked.expanded => {
                    let text = lines.line(at, next);
                    let crowded = suspect.crowded.entry(lines.number(at));
                    crowded
                        .and_modify(|crowd| crowd.add(guard, text))
                        .or_insert_with(|| Crowd::new(guard, text));
                }
                Some(_) => suspect.misleads |= seeks_all,
                None => {}
            }
        }
        if suspect.misleads || !suspect.crowded.is_empty() {
            found.push(suspect);
        }
    }
    found
}

/// Whether a file that is no system header begins or ends in parentheses. If they are a macro's, a compiler refuses that, but
/// not where a text has all in one.
pub fn opens_over_files(text: &[u8], landmarks: &Landmarks) -> bool {
    stretches(text, landmarks, false)
        .into_iter()
        .any(|stretch| {
            let is_last = stretch.text.end == text.len();
            let part = text.get(stretch.text).unwrap_or_default();
            // Most end in a statement, or in nothing.
            let end = part
                .iter()
                .rposition(|byte| matches!(byte, b';' | b'{' | b'}'));
            let tail = part.get(end.unwrap_or(0)..).unwrap_or_default();
            !is_last && memchr::memchr(b'(', tail).is_some() && stays_open(part)
        })
}

/// Whether parentheses are open at the end of a text.
fn stays_open(part: &[u8]) -> bool {
    let blanked = without_comments(part);
    let lines = blanked.split(|byte| *byte == b'\n');
    let code = lines.filter(|line| line.trim_ascii_start().first() != Some(&b'#'));
    let depth = code.flatten().fold(0usize, |depth, byte| match byte {
        b'(' => depth + 1,
        b')' => depth.saturating_sub(1),
        b';' | b'{' | b'}' => 0,
        _ => depth,
    });
    depth > 0
}

/// A part of the text that is one file's, without any other in it.
struct Stretch<'t> {
    file: &'t [u8],
    /// The number of its first line.
    line: usize,
    text: Range<usize>,
}

/// The parts of files that are no system headers, unless those count, too.
fn stretches<'t>(text: &'t [u8], landmarks: &Landmarks, system: bool) -> Vec<Stretch<'t>> {
    let mut found: Vec<Stretch> = Vec::new();
    let mut open: Option<Stretch> = None;
    for at in std::iter::once(0).chain(landmarks.hashes.iter().copied()) {
        let rest = text.get(at..).unwrap_or_default();
        let length = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
        let Some(mark) = rest
            .get(..length)
            .map(<[u8]>::trim_ascii_end)
            .and_then(marker)
        else {
            continue;
        };
        let crosses = mark.flags.contains(&b'1') || mark.flags.contains(&b'2') || open.is_none();
        // What a system header's macros stand for is marked as that header's.
        if !crosses
            && open
                .as_ref()
                .is_some_and(|stretch| stretch.file == mark.name)
        {
            continue;
        }
        if let Some(mut stretch) = open.take() {
            stretch.text.end = at;
            found.push(stretch);
        }
        let is_own = system || !mark.flags.contains(&b'3');
        open = Some(Stretch {
            file: if is_own { mark.name } else { b"" },
            line: number_of(mark.line),
            text: at + length..text.len(),
        });
    }
    found.extend(open);
    found.retain(|stretch| !matches!(stretch.file.first(), None | Some(b'<')));
    found
}

/// The places of `if` and its like, but for a `while` that closes a block.
fn guards(text: &[u8]) -> impl Iterator<Item = usize> + '_ {
    const WORDS: [&[u8]; 4] = [b"if", b"else", b"for", b"while"];
    let places = |word| memchr::memmem::find_iter(text, word).map(move |at| (at, word));
    let begins = |text: &[u8]| text.last().is_none_or(|byte| !in_name(*byte));
    let ends = |text: &[u8]| text.first().is_none_or(|byte| !in_name(*byte));
    let guards = WORDS
        .into_iter()
        .flat_map(places)
        .filter(move |(at, word)| {
            let (before, rest) = text.split_at_checked(*at).unwrap_or_default();
            let is_word = begins(before) && ends(rest.get(word.len()..).unwrap_or_default());
            is_word && (*word != b"while" || before.trim_ascii_end().last() != Some(&b'}'))
        });
    guards.map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::super::layout_lines::SPAN_MAX;
    use super::*;

    fn found(text: &str, asked: Asked) -> Vec<(String, usize, bool)> {
        let landmarks = Landmarks::of(text.as_bytes(), false);
        let suspects = suspects(text.as_bytes(), &landmarks, asked);
        let mut told = Vec::new();
        for suspect in suspects {
            let file = || String::from_utf8_lossy(suspect.file).into_owned();
            told.extend(suspect.misleads.then(|| (file(), 0, false)));
            let crowded = suspect.crowded.iter();
            told.extend(crowded.map(|(line, _)| (file(), *line, true)));
        }
        told
    }

    const HEADERS: Asked = Asked {
        system: false,
        source: false,
        expanded: true,
    };

    /// The lines of a header's text as suspects.
    fn lines(header: &str) -> Vec<(usize, bool)> {
        let text = format!("# 0 \"a.c\"\n# 1 \"a.c\"\n# 1 \"h.h\" 1\n{header}\n# 2 \"a.c\" 2\n");
        let found = found(&text, HEADERS);
        found
            .into_iter()
            .map(|(_, line, one)| (line, one))
            .collect()
    }

    #[test]
    fn what_seems_guarded_is_found_in_headers() {
        for (header, expected) in [
            ("void f() {\n  if (a)\n    b();\n    c();\n}", vec![(0, false)]),
            ("void f() {\n  if (a)\n    b();\n  c();\n}", vec![]),
            ("void f() {\n  if (a)\n    b();\n}", vec![]),
            ("void f() {\n  if (a)\n    b();\n  else\n    c();\n  d();\n}", vec![]),
            ("void f() {\n  if (a)\n    b();\n  else\n    c();\n    d();\n}", vec![(0, false)]),
            // Tabs are single blanks in such a text.
            ("void f() {\n      if (a)\n b();\n c();\n}", vec![(0, false)]),
            (" if (a)\n  for (;;)\n   b();\n c();\n", vec![(0, false)]),
            ("  if (a)\n    for (;;)\n      if (b) {\n      }\nc();\n", vec![]),
            (" if (a)\n  do x(); while (b);\n  c();\n", vec![(0, false)]),
            (" while (f(\")\",\n  (b)))\n  c();\n  d();\n", vec![(0, false)]),
            (" if constexpr (a)\n  c();\n  d();\n", vec![(0, false)]),
            ("  do {\n  } while (b);\n    c();\n", vec![]),
            // A macro, and one that a system's macros are in.
            ("  if (a) t = x; x = y; y = t;\n", vec![(1, true)]),
            ("  if (a)\n# 2 \"h.h\" 3 4\n    E\n# 2 \"h.h\"\n    = 3; return\n# 2 \"h.h\" 3 4\n    E\n# 2 \"h.h\"\n    ;\n", vec![(1, true)]),
            ("  if (a) b();\n# 30 \"h.h\"\n  c();\n", vec![]),
            ("  if (a) b();\n# 2 \"h.h\" 3 4\n  c();\n", vec![]),
            ("  int elif, form, wh; iff (a) b(); c();\n", vec![]),
            ("  if (a", vec![]),
            (&format!("  if (a) b{} = 1; c();\n", " ".repeat(SPAN_MAX)), vec![]),
            ("  if (a)) b; }", vec![]),
        ] {
            assert_eq!(lines(header), expected, "{header}");
        }
    }

    #[test]
    fn only_files_that_count_are_looked_at() {
        let bad = "if (a)\n  b();\n  c();\n";
        let text = format!(
            "# 0 \"a.c\"\n# 1 \"/w//\"\n# 0 \"<command-line>\"\n# 1 \"a.c\"\n{bad}# 1 \"/usr/s.h\" 1 3\n{bad}# 1 \"t.h\" 1 3\n{bad}\
             # 5 \"a.c\" 2\n{bad}# 1 \"h.h\" 1\n{bad}{bad}# 8 \"a.c\" 2\n"
        );
        let files = |asked| {
            let found = found(&text, asked);
            found.into_iter().map(|(file, ..)| file).collect::<Vec<_>>()
        };
        assert_eq!(files(HEADERS), ["h.h"]);
        let source = true;
        assert_eq!(files(Asked { source, ..HEADERS }), ["a.c", "h.h"]);
        let system = true;
        assert_eq!(
            files(Asked { system, ..HEADERS }),
            ["/usr/s.h", "t.h", "h.h"]
        );
        let macros = "# 1 \"a.c\"\nif (a) b(); c();\n";
        assert_eq!(found(macros, HEADERS), [("a.c".to_owned(), 1, true)]);
        let split = "# 1 \"a.c\"\n# 1 \"s.h\" 1 3\n# 2 \"a.c\" 2\nint f() { if (a) a\n# 2 \"a.c\" 3 4\n    ++;\n\
                     # 2 \"a.c\"\n    a\n# 2 \"a.c\" 3 4\n    ++\n# 2 \"a.c\"\n    ; return a; }\n";
        assert_eq!(found(split, HEADERS), [("a.c".to_owned(), 2, true)]);
        let expanded = false;
        assert_eq!(
            found(
                macros,
                Asked {
                    expanded,
                    ..HEADERS
                }
            ),
            []
        );
    }

    #[test]
    fn parentheses_that_are_open_over_files_are_seen() {
        for (before, expected) in [
            ("int x = F(1,\n", true),
            ("int x = F(1, /* ) */\n", true),
            (
                "int a; // (see\n#define A (\nchar c = '(';\n/* ; ( */\n",
                false,
            ),
            ("int x[] = { F(1),\n", false),
            ("", false),
        ] {
            let text =
                format!("# 1 \"a.c\"\n{before}# 1 \"h.h\" 1\n2\n# 3 \"a.c\" 2\n);\nint y = F(\n");
            let landmarks = Landmarks::of(text.as_bytes(), false);
            let found = opens_over_files(text.as_bytes(), &landmarks);
            assert_eq!(found, expected, "{before}");
        }
    }

    #[test]
    fn files_tell_whether_it_is_so() {
        let is_so = |statements: &str, content: &str| {
            let text = format!("# 1 \"a.c\"\n# 1 \"h.h\" 1\n{statements}");
            let text = text.as_bytes();
            let found = suspects(text, &Landmarks::of(text, false), HEADERS);
            assert_eq!(found.len(), 1, "{statements}");
            found
                .iter()
                .any(|suspect| suspect.is_so(content.as_bytes()))
        };
        let crowded = "if (a) b(); c();\n";
        assert!(is_so(crowded, "if (a) SWAP;\n"));
        assert!(!is_so(crowded, "MACRO;\nif (a)\n  b();\n"));
        assert!(is_so(crowded, ""));
        assert!(is_so(crowded, "if (a) b(); c();\n"));
        let behind = "{ if (a) b(); c(); }\n";
        assert!(!is_so(behind, behind));
        assert!(is_so(behind, &format!("{behind}if (a) b(); c();\n")));
        // Single blanks may be tabs.
        let unclear = "  if (a)\n b();\n c();\n";
        assert!(is_so(unclear, "  if (a)\n\tb();\n\tc();\n"));
        assert!(!is_so(unclear, "\tif (a)\n\t b();\n\tc();\n"));
    }
}
