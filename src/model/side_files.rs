//! Files that a compile makes beside its object: which ones a command can make, and in which folders. The client believes
//! no other name of a host, and the daemon sends none from elsewhere.

use super::command_line::{self, text, SideWord};
use super::compiler_options::{Reason, Role, Side, Why};
use super::family::Family;
use super::sources::{self, Language};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// The folders in which compilers make such files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Beside {
    /// That of the object.
    Output,
    /// The working directory.
    Working,
}

/// One of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SideFile {
    /// The folder that it is in.
    pub folder: Beside,
    /// Its name there.
    pub name: Vec<u8>,
    /// What it holds.
    pub content: Vec<u8>,
}

/// How many files a command may make beside its object; gcc's dumps of all passes are some 300.
pub const COUNT_MAX: usize = 4096;

/// Longest name of one.
pub const NAME_BYTES_MAX: usize = 255;

/// What gives way to such a file, by the program that writes it (tried: gcc 12, GNU objcopy 2.40, clang 14).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    /// What is there is written over, through links.
    Overwrites,
    /// As an object of GNU as: a file that is not empty gives way to a new one.
    ReplacesFilled,
    /// A file or a link gives way to a new file.
    Replaces,
}

/// A file that the command names.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Named {
    folder: Beside,
    name: Vec<u8>,
    kind: Side,
}

/// What a command makes beside its object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SideFiles {
    /// Why the command stays here where they would be lost.
    pub reason: Reason,
    /// Why nobody may make them who does not bring them home: files that are named, paths in the object.
    pub wants_home: Option<Reason>,
    kinds: Vec<Side>,
    output: Vec<u8>,
    /// What names may begin with: object and source, with and without their endings.
    stems: Vec<Vec<u8>>,
    named: Vec<Named>,
    language: Language,
}

impl SideFiles {
    /// What `words` make of the source `input` beside `output`; `None` if that is nothing.
    ///
    /// # Errors
    /// A file is named that lies neither in the output's folder nor in the working directory.
    pub fn of(
        words: &[SideWord<'_>],
        input: &[u8],
        output: &[u8],
        language: Language,
    ) -> Result<Option<SideFiles>, Reason> {
        let Some(first) = words.first() else {
            return Ok(None);
        };
        let reason = |word: &SideWord| Reason::Option(text(word.word), word.files.why());
        let mut named = Vec::new();
        for word in words {
            if let Some(name) = word.named {
                let place = place(name, output).ok_or_else(|| reason(word))?;
                named.extend(place.map(|(folder, name)| Named {
                    folder,
                    name: name.to_vec(),
                    kind: word.files,
                }));
            }
        }
        let is_home_bound = |word: &&SideWord| {
            word.files.why() != Why::ExtraFiles
                || word.named.is_some_and(|name| name.contains(&b'/'))
        };
        Ok(Some(SideFiles {
            reason: reason(first),
            wants_home: words.iter().find(is_home_bound).map(reason),
            kinds: words.iter().map(|word| word.files).collect(),
            output: sources::base_name(output).to_vec(),
            stems: stems(sources::base_name(input), sources::base_name(output)),
            named,
            language,
        }))
    }

    /// What a command that a daemon received makes; `roles` are those of its words.
    pub fn received(argv: &[Vec<u8>], roles: &[Role]) -> Result<Option<SideFiles>, Reason> {
        if !roles.contains(&Role::Side) {
            return Ok(None);
        }
        let words: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
        let word = |index: usize| words.get(index).copied().unwrap_or_default();
        let walk = command_line::walk(&words, command_line::Side::Pump)?;
        let at = walk.input.ok_or(Reason::NoInput)?;
        let input = word(at.index);
        let output = match walk.output {
            Some(at) if at.joined => word(at.index)
                .get(b"-o".len()..)
                .unwrap_or_default()
                .to_vec(),
            Some(at) => word(at.index).to_vec(),
            // A client of ours names it where compilers don't agree.
            None => sources::default_output(input, walk.assembly).unwrap_or_default(),
        };
        let kind = match at.explicit {
            true => at.kind,
            false => sources::as_seen_by(OsStr::from_bytes(word(0)), at.kind),
        };
        SideFiles::of(&walk.sides, input, &output, kind.language)
    }

    /// Which kind of file that is; `None`: the command makes none of this name in this folder. `is_same` says that both
    /// folders are one.
    pub fn kind(&self, folder: Beside, name: &[u8], is_same: bool) -> Option<Side> {
        let is_plain = !matches!(name, b"" | b"." | b"..")
            && !name.iter().any(|byte| matches!(byte, 0 | b'/'));
        let is_here = |other: Beside| other == folder || is_same;
        let is_output = is_here(Beside::Output) && name == self.output;
        if !is_plain || name.len() > NAME_BYTES_MAX || is_output {
            return None;
        }
        let mut named = self.named.iter();
        if let Some(named) = named.find(|named| is_here(named.folder) && named.name == name) {
            return Some(named.kind);
        }
        let tails = self
            .stems
            .iter()
            .filter_map(|stem| name.strip_prefix(stem.as_slice()));
        let tails: Vec<&[u8]> = tails.collect();
        let of_output = self
            .stems
            .first()
            .and_then(|stem| name.strip_prefix(stem.as_slice()));
        // With `-save-temps` gcc and clang make also others there.
        let moves = |kind: &Side| matches!(kind, Side::Temps | Side::Stats);
        let is_used = is_here(Beside::Output) || self.kinds.iter().any(moves);
        let mut kinds = self.kinds.iter().filter(|_| is_used);
        kinds
            .find(|kind| match kind {
                // Named after the output alone, but of a compile in steps: `x.json` may well be somebody's.
                Side::Trace if !self.saves_temps() => {
                    of_output.is_some_and(|tail| self.ends_so(**kind, tail))
                }
                _ => tails.iter().any(|tail| self.ends_so(**kind, tail)),
            })
            .copied()
    }

    fn ends_so(&self, kind: Side, tail: &[u8]) -> bool {
        match kind {
            Side::SplitDwarf => tail == b".dwo",
            Side::Coverage => tail == b".gcno",
            Side::StackUsage => tail == b".su",
            Side::CallGraph => tail == b".ci",
            Side::Temps => {
                let preprocessed = self.language.preprocessed_suffix().as_bytes();
                tail == preprocessed || matches!(tail, b".s" | b".bc")
            }
            Side::Stats => tail == b".stats",
            Side::Trace => tail == b".json",
            Side::Record => matches!(
                tail,
                b".opt-record.json.gz" | b".opt.yaml" | b".opt.bitstream"
            ),
            Side::Dump => tail == b".gkd" || is_dump(tail),
            Side::Named | Side::Diagnostics => false,
        }
    }

    /// `-save-temps`: gcc then saves the words of response files, too, which no host is sent.
    pub fn saves_temps(&self) -> bool {
        self.kinds.contains(&Side::Temps)
    }

    /// How a compiler of this family writes such a file.
    pub fn manner(kind: Side, family: Option<Family>) -> Manner {
        match (kind, family) {
            (Side::SplitDwarf, Some(Family::Gcc)) => Manner::ReplacesFilled,
            (Side::Temps | Side::Diagnostics, Some(Family::Clang)) => Manner::Replaces,
            _ => Manner::Overwrites,
        }
    }

    /// The names that old counts may have, beside the object, which gcc removes with `-frandom-seed`: the new ones could not
    /// be told from them.
    pub fn counts(&self) -> Vec<Vec<u8>> {
        if !self.kinds.contains(&Side::Coverage) {
            return Vec::new();
        }
        let stems = self.stems.iter();
        stems
            .map(|stem| [stem.as_slice(), b".gcda"].concat())
            .collect()
    }
}

/// Where a file is that the command names, if it is one and can be brought home; nothing for gcc's names of its outputs.
fn place<'n>(name: &'n [u8], output: &[u8]) -> Option<Option<(Beside, &'n [u8])>> {
    let folder = |path: &[u8]| path.len() - sources::base_name(path).len();
    let (at, base) = name.split_at_checked(folder(name))?;
    let of_output = output.get(..folder(output)).unwrap_or_default();
    match (at, base) {
        (b"", b"stdout" | b"stderr") => Some(None),
        (_, b"" | b"." | b".." | b"-") => None,
        (b"", _) => Some(Some((Beside::Working, base))),
        (at, _) if at == of_output => Some(Some((Beside::Output, base))),
        _ => None,
    }
}

/// gcc: the output's stem, for dumps with the source's ending. clang: the source's stem, or the output's.
fn stems(input: &[u8], output: &[u8]) -> Vec<Vec<u8>> {
    let dot = |name: &[u8]| memchr::memrchr(b'.', name).unwrap_or(name.len());
    let stem = |name: &[u8]| name.get(..dot(name)).unwrap_or_default().to_vec();
    let ending = input.get(dot(input)..).unwrap_or_default();
    vec![
        stem(output),
        [stem(output).as_slice(), ending].concat(),
        output.to_vec(),
        stem(input),
        input.to_vec(),
    ]
}

/// `.123t.name`: a pass by its number and kind.
fn is_dump(tail: &[u8]) -> bool {
    let Some((b".", rest)) = tail.split_at_checked(1) else {
        return false;
    };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let is_name =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'+' | b'.');
    match rest.get(digits..) {
        Some([b't' | b'i' | b'r' | b'l', b'.', name @ ..]) => {
            digits > 0 && !name.is_empty() && name.iter().all(is_name)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::command_line::{walk, Side as Whose};
    use super::*;
    use proptest::prelude::*;

    fn of(line: &str, output: &str) -> Result<Option<SideFiles>, Reason> {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let walk = walk(&words, Whose::Client)?;
        let input = words[walk.input.unwrap().index];
        SideFiles::of(&walk.sides, input, output.as_bytes(), Language::C)
    }

    fn kinds(line: &str, output: &str, names: &[&str]) -> Vec<Option<Side>> {
        let sides = of(line, output).unwrap().unwrap();
        let kind = |name: &&str| sides.kind(Beside::Output, name.as_bytes(), false);
        names.iter().map(kind).collect()
    }

    #[test]
    fn names_are_those_that_compilers_derive() {
        assert_eq!(of("gcc -c x.c", "x.o").unwrap(), None);
        let dump = Some(Side::Dump);
        let names = [
            "y.c.123t.cp1-x",
            "x.c.005t.original",
            "y.c.gkd",
            "y.000i.ipa-clones",
            "y.o.1r.x",
        ];
        let line = "gcc -fdump-tree-all -c d/x.c";
        assert_eq!(kinds(line, "o/y.o", &names), [dump; 5]);
        for (options, name, kind) in [
            ("-gsplit-dwarf", "y.dwo", Side::SplitDwarf),
            ("--coverage", "y.gcno", Side::Coverage),
            ("-fstack-usage", "y.su", Side::StackUsage),
            ("-fcallgraph-info", "y.ci", Side::CallGraph),
            ("-save-temps", "y.i", Side::Temps),
            ("-save-temps", "x.s", Side::Temps),
            ("-save-temps=obj", "x.bc", Side::Temps),
            ("-save-stats", "x.stats", Side::Stats),
            ("-ftime-trace", "y.json", Side::Trace),
            (
                "-fsave-optimization-record",
                "y.c.opt-record.json.gz",
                Side::Record,
            ),
            ("-fsave-optimization-record", "y.opt.yaml", Side::Record),
            ("-aux-info o/y.aux", "y.aux", Side::Named),
            ("-serialize-diagnostics o/dia", "dia", Side::Diagnostics),
        ] {
            let line = format!("gcc {options} -c d/x.c");
            assert_eq!(kinds(&line, "o/y.o", &[name]), [Some(kind)], "{options}");
            assert_eq!(
                kinds("gcc -fcallgraph-info -c x.c", "o/z.o", &[name]),
                [None]
            );
        }
    }

    #[test]
    fn a_trace_has_the_name_of_the_output() {
        let names = [
            "libx-config.json",
            "config.json",
            "config.c.json",
            "libx-config.o.json",
        ];
        let found = kinds("clang -ftime-trace -c config.c", "libx-config.o", &names);
        assert_eq!(found, [Some(Side::Trace), None, None, None]);
    }

    #[test]
    fn no_other_name_is_believed() {
        let line =
            "gcc -save-temps -gsplit-dwarf -fstack-usage -fdump-tree-all -aux-info aux -c d/x.c";
        for name in [
            "",
            ".",
            "..",
            "y.o",
            "x.c",
            "y.h",
            "y.c",
            "x.h",
            "y",
            "yy.su",
            "z.su",
            ".su",
            "su",
            "y.su.su",
            "Makefile",
            "y.ii",
            "y.gcno",
            "y.c.t.x",
            "y.c.1t.",
            "y.c.1x.x",
            "y.c.1t.x/z",
            "../y.su",
            "o/y.su",
            "/y.su",
            "y.su\0",
            "y.c.1t.a b",
            "aux",
        ] {
            assert_eq!(kinds(line, "o/y.o", &[name]), [None], "{name:?}");
        }
        let long = format!("y.c.1t.{}", "x".repeat(NAME_BYTES_MAX));
        assert_eq!(kinds(line, "o/y.o", &[&long]), [None]);
        let sides = of(line, "o/y.o").unwrap().unwrap();
        for (name, kind) in [
            ("x.i", Some(Side::Temps)),
            ("aux", Some(Side::Named)),
            ("y.su", Some(Side::StackUsage)),
            ("y.gcno", None),
            ("y.o", None),
        ] {
            assert_eq!(
                sides.kind(Beside::Working, name.as_bytes(), false),
                kind,
                "{name}"
            );
        }
        let elsewhere = of("gcc -fstack-usage -c d/x.c", "o/y.o").unwrap().unwrap();
        assert_eq!(elsewhere.kind(Beside::Working, b"y.su", false), None);
        // Where both are one folder, so are their names; but the output is never one of them.
        for (name, is_known) in [("y.su", true), ("aux", true), ("y.o", false)] {
            let kind = sides.kind(Beside::Working, name.as_bytes(), true);
            assert_eq!(kind.is_some(), is_known, "{name}");
        }
    }

    #[test]
    fn named_files_lie_where_files_come_home_to() {
        for name in ["x", "o/x", "stdout", "o/stdout"] {
            of(&format!("gcc -fdump-tree-all={name} -c a.c"), "o/y.o").unwrap();
        }
        for name in [
            "",
            "-",
            ".",
            "..",
            "o/",
            "/x",
            "p/x",
            "./x",
            "../x",
            "o/../x",
            "/dev/stdout",
        ] {
            let refused = of(&format!("gcc -fdump-tree-all={name} -c a.c"), "o/y.o");
            assert!(refused.is_err(), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_believed_is_a_plain_name(name in proptest::collection::vec(any::<u8>(), 0..20), tail in 0usize..6) {
            let tail = [".su", ".dwo", ".i", ".c.1t.x", "", "aux"][tail];
            let name = [&name[..], tail.as_bytes()].concat();
            let line = "gcc -save-temps -gsplit-dwarf -fstack-usage -fdump-tree-all -aux-info aux -c d/x.c";
            let sides = of(line, "o/y.o").unwrap().unwrap();
            if sides.kind(Beside::Output, &name, true).is_some() {
                prop_assert!(name == b"aux" || name.starts_with(b"x.") || name.starts_with(b"y."));
                prop_assert!(!name.contains(&b'/') && !name.contains(&0));
            }
        }
    }
}
