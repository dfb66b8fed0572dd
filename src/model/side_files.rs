//! Files that a compile makes beside its object: which ones a command can make, and in which folders. The client believes
//! no other name of a host, and the daemon sends none from elsewhere.

use super::command_line::{self, text, SideWord};
use super::compiler_options::{Reason, Role, Side, Why};
use super::family::Family;
use super::side_names::{is_dump, without_ending, Clang, Gcc, Made};
use super::sources;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

pub use super::side_names::{Beside, Compile};

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

/// What a command makes beside its object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SideFiles {
    /// Why the command stays here where they would be lost.
    pub reason: Reason,
    /// Why nobody may make them who does not bring them home: files that are named, paths in the object.
    pub wants_home: Option<Reason>,
    kinds: Vec<Side>,
    output: Vec<u8>,
    /// What old counts may be named after: object and source, with and without their endings.
    stems: Vec<Vec<u8>>,
    made: Vec<Made>,
    /// clang leaves some beside what an assembler of its own reads.
    leaves_temporary: bool,
    /// Where gcc's dumps are, and how their names begin.
    dumps: Option<(Beside, Vec<u8>)>,
}

impl SideFiles {
    /// What `words` make in a compile; `None` if that is nothing.
    ///
    /// # Errors
    /// A file is named that lies neither in the output's folder nor in the working directory.
    pub fn of(words: &[SideWord<'_>], compile: Compile<'_>) -> Result<Option<SideFiles>, Reason> {
        let Some(first) = words.first() else {
            return Ok(None);
        };
        let reason = |word: &SideWord| Reason::Option(text(word.word), word.files.why());
        let mut made = Vec::new();
        for word in words {
            if let Some(name) = word.named {
                let place = place(name, compile.output).ok_or_else(|| reason(word))?;
                made.extend(place.map(|(folder, name)| Made {
                    folder,
                    name: name.to_vec(),
                    kind: word.files,
                    family: None,
                }));
            }
        }
        let is_home_bound = |word: &&SideWord| {
            word.files.why() != Why::ExtraFiles
                || word.named.is_some_and(|name| name.contains(&b'/'))
        };
        let gcc = Gcc::of(words, compile);
        made.extend(words.iter().flat_map(|word| gcc.makes(word.files)));
        let clang = Clang::of(words, compile);
        made.extend(clang.makes());
        let output = sources::base_name(compile.output);
        Ok(Some(SideFiles {
            reason: reason(first),
            wants_home: words.iter().find(is_home_bound).map(reason),
            kinds: words.iter().map(|word| word.files).collect(),
            output: output.to_vec(),
            stems: stems(sources::base_name(compile.input), output),
            made,
            leaves_temporary: clang.leaves_temporary(),
            dumps: gcc.dumps(words),
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
        let compile = Compile {
            input,
            output: &output,
            language: kind.language,
            assembly: walk.assembly,
            lto: is_lto(&words),
        };
        SideFiles::of(&walk.sides, compile)
    }

    /// Which kind of file that is; `None`: a compiler of this family makes none of this name in this folder. `is_same`
    /// says that both folders are one. Where the family is not known, all are believed that any would make.
    pub fn kind(
        &self,
        family: Option<Family>,
        folder: Beside,
        name: &[u8],
        is_same: bool,
    ) -> Option<Side> {
        let is_plain = !matches!(name, b"" | b"." | b"..")
            && !name.iter().any(|byte| matches!(byte, 0 | b'/'));
        let is_here = |other: Beside| other == folder || is_same;
        let is_output = is_here(Beside::Output) && name == self.output;
        if !is_plain || name.len() > NAME_BYTES_MAX || is_output {
            return None;
        }
        let is_theirs =
            |whose: Option<Family>| family.is_none() || whose.is_none_or(|it| Some(it) == family);
        let mut made = self.made.iter();
        let found =
            made.find(|made| is_here(made.folder) && made.name == name && is_theirs(made.family));
        if let Some(found) = found {
            return Some(found.kind);
        }
        let (place, head) = self.dumps.as_ref()?;
        let tail = name.strip_prefix(head.as_slice())?;
        let is_dump = is_here(*place) && is_theirs(Some(Family::Gcc)) && is_dump(tail);
        is_dump.then_some(Side::Dump)
    }

    /// `-save-temps`: gcc then saves the words of response files, too, which no host is sent.
    pub fn saves_temps(&self) -> bool {
        self.kinds.contains(&Side::Temps)
    }

    /// Whether clang leaves some in the folder for temporary files, where it runs an assembler.
    pub fn leaves_temporary(&self) -> bool {
        self.leaves_temporary
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

/// Whether the last word about it is `-flto`.
pub fn is_lto(words: &[&[u8]]) -> bool {
    let mut words = words.iter().rev();
    // `-flto-partition=…` and its kin don't turn it on.
    let turns_on = |word: &[u8]| word == b"-flto" || word.starts_with(b"-flto=");
    let last = words.find(|word| turns_on(word) || **word == b"-fno-lto");
    last.is_some_and(|word| turns_on(word))
}

fn stems(input: &[u8], output: &[u8]) -> Vec<Vec<u8>> {
    let ending = input.get(without_ending(input).len()..).unwrap_or_default();
    vec![
        without_ending(output).to_vec(),
        [without_ending(output), ending].concat(),
        output.to_vec(),
        without_ending(input).to_vec(),
        input.to_vec(),
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::command_line::{walk, Side as Whose};
    use super::super::family::family;
    use super::super::sources::Language;
    use super::*;
    use proptest::prelude::*;
    use std::path::Path;

    fn of(line: &str, output: &str) -> Result<Option<SideFiles>, Reason> {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let walk = walk(&words, Whose::Client)?;
        let compile = Compile {
            input: words[walk.input.unwrap().index],
            output: output.as_bytes(),
            language: Language::C,
            assembly: walk.assembly,
            lto: is_lto(&words),
        };
        SideFiles::of(&walk.sides, compile)
    }

    /// Commands, and all files that they make beside the object: as `o/NAME` in its folder, as `NAME` in the working
    /// directory (tried: gcc 12, clang 14).
    const MADE: &[(&str, &str, &str)] = &[
        ("gcc -fstack-usage -c d/x.c", "o/y.o", "o/y.su"),
        ("gcc -fstack-usage -c x.c", "o/y", "o/y.su"),
        ("gcc -fstack-usage -c x.c", "o/x.c.o", "o/x.c.su"),
        ("gcc -fstack-usage -c x.c", "o/.o", "o/.o.su"),
        ("gcc --coverage -S d/x.c", "o/y.s", "o/y.gcno"),
        ("gcc -fcallgraph-info -c d/x.c", "o/y.o", "o/y.ci"),
        ("gcc -gsplit-dwarf -c d/x.c", "o/y.o", "o/y.dwo"),
        ("gcc -gsplit-dwarf -S d/x.c", "o/y.t", ""),
        ("gcc -save-temps -c d/x.c", "o/y.o", "o/y.i o/y.s"),
        ("gcc -save-temps=obj -c d/x.c", "o/y.z.o", "o/y.z.i o/y.z.s"),
        ("gcc -save-temps=cwd -c d/x.c", "o/y.o", "y.i y.s"),
        ("gcc -save-temps=cwd -save-temps -c d/x.c", "o/y.o", "y.i y.s"),
        ("gcc -save-temps=cwd -save-temps=obj -c d/x.c", "o/y.o", "o/y.i o/y.s"),
        ("gcc -save-temps -S d/x.c", "o/y.t", "o/y.i"),
        (
            "gcc -save-temps=cwd -fstack-usage --coverage -gsplit-dwarf -fdump-tree-original -c d/x.c",
            "o/y.o",
            "y.i y.s y.su y.gcno y.dwo y.c.005t.original",
        ),
        (
            "gcc -fsave-optimization-record -c d/x.c",
            "o/y.o",
            "o/y.c.opt-record.json.gz",
        ),
        (
            "gcc -fsave-optimization-record -x c -c noext",
            "o/y.o",
            "o/y.opt-record.json.gz",
        ),
        ("gcc -fdump-tree-original -c x.c", "o/x.c.o", "o/x.c.c.005t.original"),
        ("gcc -da -c d/x.c", "o/y.o", "o/y.c.005t.original"),
        ("gcc -aux-info o/aux -fdump-tree-all=z -c d/x.c", "o/y.o", "o/aux z"),
        ("gcc -save-stats -ftime-trace -c d/x.c", "o/y.o", ""),
        ("clang -fstack-usage -c d/x.c", "o/y.o", "o/y.su"),
        ("clang -fstack-usage -c d/x.c", "o/.o", "o/.su"),
        ("clang --coverage -S d/x.c", "o/y.t", "o/y.gcno"),
        ("clang -gsplit-dwarf -c d/x.c", "o/y.o", "o/y.dwo"),
        ("clang -gsplit-dwarf=single -c d/x.c", "o/y.o", ""),
        ("clang -gsplit-dwarf -S d/x.c", "o/y.t", "x.dwo"),
        ("clang -save-temps -c d/x.c", "o/y.o", "x.i x.bc x.s"),
        ("clang -save-temps=obj -c d/x.c", "o/y.o", "o/x.i o/x.bc o/x.s"),
        ("clang -save-temps=obj --save-temps -c d/x.c", "o/y.o", "x.i x.bc x.s"),
        ("clang -save-temps -S d/x.c", "o/y.t", "x.i x.bc"),
        ("clang -save-temps -flto -c d/x.c", "o/y.o", "x.i x.bc"),
        ("clang -save-temps -flto -fno-lto -c d/x.c", "o/y.o", "x.i x.bc x.s"),
        ("clang -save-stats -c d/x.c", "o/y.o", "x.stats"),
        ("clang -save-stats=obj -c d/x.c", "o/y.o", "o/x.stats"),
        ("clang -save-temps -save-stats=obj -c d/x.c", "o/y.o", "x.i x.bc x.s x.stats"),
        (
            "clang -save-temps -save-stats=obj -S d/x.c",
            "o/y.t",
            "x.i x.bc x.stats o/x.stats",
        ),
        ("clang -ftime-trace -c config.c", "o/libx-config.o", "o/libx-config.json"),
        (
            "clang -save-temps=obj -ftime-trace -c config.c",
            "o/libx-config.o",
            "o/config.i o/config.bc o/config.s o/config.json",
        ),
        (
            "clang -save-temps -ftime-trace -flto -c config.c",
            "o/libx-config.o",
            "config.i config.bc config.json o/libx-config.json",
        ),
        ("clang -fsave-optimization-record -c d/x.c", "o/y.o", "o/y.opt.yaml"),
        ("clang -fsave-optimization-record=bitstream -c x.c", "o/y.o", "o/y.opt.bitstream"),
        (
            "clang -serialize-diagnostics o/dia -foptimization-record-file=r -c d/x.c",
            "o/y.o",
            "o/dia r",
        ),
        ("clang -fcallgraph-info -fdump-tree-all -c d/x.c", "o/y.o", ""),
    ];

    /// Names that no command makes.
    const NEVER: &[&str] = &[
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
        "su",
        "y.su.su",
        "Makefile",
        "memcpy.s",
        "y.ii",
        "y.c.t.x",
        "y.c.1t.",
        "y.c.1x.x",
        "y.c.1t.x/z",
        "../y.su",
        "o/y.su",
        "/y.su",
        "y.su\0",
        "y.c.1t.a b",
    ];

    #[test]
    fn names_are_those_that_compilers_make_and_no_others() {
        assert_eq!(of("gcc -c x.c", "x.o").unwrap(), None);
        let place = |name: &'static str| match name.strip_prefix("o/") {
            Some(name) => (Beside::Output, name),
            None => (Beside::Working, name),
        };
        let made = |names: &'static str| names.split_whitespace().map(place);
        let mut all: Vec<_> = MADE.iter().flat_map(|(_, _, names)| made(names)).collect();
        let both = |name: &&'static str| [(Beside::Output, *name), (Beside::Working, *name)];
        all.extend(NEVER.iter().flat_map(both));
        let others: Vec<_> = all
            .iter()
            .map(|(_, name)| (Beside::Working, *name))
            .collect();
        all.extend(others);
        for (line, output, names) in MADE {
            let sides = of(line, output).unwrap().unwrap();
            let kin = family(Path::new(line.split(' ').next().unwrap()));
            let expected: Vec<_> = made(names).collect();
            for (folder, name) in &all {
                let found = sides.kind(kin, *folder, name.as_bytes(), false);
                let is_made = expected.contains(&(*folder, *name));
                assert_eq!(
                    found.is_some(),
                    is_made,
                    "{line} -o {output}: {folder:?} {name:?}"
                );
                // Of an unknown kin what any compiler would make is believed.
                let found = sides.kind(None, *folder, name.as_bytes(), false);
                assert!(found.is_some() || !is_made, "{line}: {name}");
            }
        }
    }

    #[test]
    fn dumps_have_the_name_of_the_output_and_the_source() {
        let sides = of("gcc -fdump-tree-all -c d/x.c", "o/y.o")
            .unwrap()
            .unwrap();
        let is_dump = |family, name: &str| {
            let kind = sides.kind(family, Beside::Output, name.as_bytes(), false);
            kind == Some(Side::Dump)
        };
        for name in [
            "y.c.123t.cp1-x",
            "y.c.000i.ipa-clones",
            "y.c.gkd",
            "y.c.1r.x.dot",
        ] {
            assert!(
                is_dump(Some(Family::Gcc), name) && is_dump(None, name),
                "{name}"
            );
            assert!(!is_dump(Some(Family::Clang), name), "{name}");
        }
        let long = format!("y.c.1t.{}", "x".repeat(NAME_BYTES_MAX));
        for name in ["x.c.005t.original", "y.005t.original", "y.o.1r.x", &long] {
            assert!(!is_dump(None, name), "{name}");
        }
    }

    #[test]
    fn where_both_folders_are_one_so_are_their_names() {
        let sides = of("gcc -fstack-usage -aux-info aux -c x.c", "o/y.o")
            .unwrap()
            .unwrap();
        for (name, is_known) in [("y.su", true), ("aux", true), ("y.o", false)] {
            let kind = sides.kind(Some(Family::Gcc), Beside::Working, name.as_bytes(), true);
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
            if sides.kind(None, Beside::Output, &name, true).is_some() {
                prop_assert!(name == b"aux" || name.starts_with(b"x.") || name.starts_with(b"y."));
                prop_assert!(!name.contains(&b'/') && !name.contains(&0));
            }
        }
    }
}
