//! The client's question about a compiler command: may it be distributed, and if so, what is compiled into what?
//! The command itself is never changed for a local run.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::command_line::{self, text, DepWords, InputAt, Side, Walk};
use super::expand;
use super::option_table;
use super::side_files::{self, Compile, SideFiles};
use super::sources::{self, Language};

pub use super::compiler_options::{Reason, Role};

/// What can be done with a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scan {
    /// One source, one object: it may travel.
    Distributable(Invocation),
    /// It has to run here, as the user wrote it.
    Local(LocalOnly),
}

/// Why a command stays here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LocalOnly {
    /// One line for the log.
    pub reason: Reason,
    /// `-E` is among the words: as light as a preprocessor run, and takes such a slot.
    pub preprocess_only: bool,
    /// What it compiles, if it makes an object or assembler file; None for links, `-E`, questions about the compiler.
    pub source: Option<PathBuf>,
}

/// A compile that may be distributed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Invocation {
    /// The command after `@file` expansion; ends in `-o OUT` if the user gave no output. Word 0 is the compiler.
    pub argv: Vec<OsString>,
    /// What each word of `argv` is for; a separate value has its option's role.
    pub roles: Vec<Role>,
    /// Index of the source in `argv`.
    pub input_index: usize,
    /// The source as it is named in `argv`.
    pub input: PathBuf,
    /// Where the result belongs, as named by the user or as the driver names it.
    pub output: PathBuf,
    /// The user gave `-o`; if not, the last two words of `argv` are ours.
    pub output_given: bool,
    /// `-S`: the result is assembler text.
    pub assembly: bool,
    /// What the compiler takes the source for, by `-x`, extension and driver.
    pub language: Language,
    /// The user gave `-x` before the source.
    pub explicit_language: bool,
    /// The source has been preprocessed already.
    pub preprocessed: bool,
    /// `-g` in any form but `-g0`.
    pub debug_info: bool,
    /// A word means this machine's processor, and is no other's business as it stands; see `native`.
    pub native: bool,
    /// `-MD` or `-MMD` is given: a dependency file is wanted.
    pub deps: Option<Deps>,
    /// Files that are made beside the object; only a host that brings them home can do that.
    pub sides: Option<Box<SideFiles>>,
    /// Why nobody but a daemon of ours gives a local compile's result.
    pub only_ours: Option<Reason>,
}

impl Invocation {
    /// Does the user say whether messages have colour? The last word counts; `auto` leaves it to the compiler.
    pub fn says_color(&self) -> bool {
        const OPTIONS: [&[u8]; 5] = [
            b"-fdiagnostics-color",
            b"-fno-diagnostics-color",
            b"-fcolor-diagnostics",
            b"-fno-color-diagnostics",
            b"-fdiagnostics-plain-output",
        ];
        let mut words = self.argv.iter().zip(&self.roles);
        let last = words.rfind(|(word, role)| {
            let starts = |option: &&[u8]| word.as_bytes().starts_with(option);
            **role == Role::Code && OPTIONS.iter().any(starts)
        });
        last.is_some_and(|(word, _)| !word.as_bytes().ends_with(b"=auto"))
    }
}

/// The dependency file that is wanted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deps {
    /// `-MD` is among the words.
    pub md: bool,
    /// `-MMD` is among the words: without system headers.
    pub mmd: bool,
    /// Its name by `-MF` or `-Wp,-MD,FILE`; None: derived from the output.
    pub file: Option<OsString>,
    /// By `-MT` and `-MQ`, in order; empty: derived.
    pub targets: Vec<DepTarget>,
    /// `-MP`: a phony rule for each header.
    pub phony: bool,
    /// Given as `-Wp,-MD,FILE`: gcc's derived target is then the source's base name with `.o`,
    /// whatever `-o` says; clang makes no difference (tried).
    pub from_wp: bool,
}

/// A target of the dependency rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DepTarget {
    /// `-MQ`: to be quoted for make; `-MT`: as it is.
    pub quoted: bool,
    /// The name as given.
    pub name: OsString,
}

/// Reads a command; `argv[0]` is the compiler. `read_file` gives the content of a response file, or None.
pub fn scan(argv: &[OsString], read_file: &dyn Fn(&Path) -> Option<Vec<u8>>) -> Scan {
    let expanded = expand::without_mark(expand::expand(argv, read_file));
    let names_words = |word: &OsString| word.as_bytes().starts_with(b"@");
    let reads_words = argv.iter().any(names_words);
    let made = distributable(&expanded).and_then(|invocation| {
        let sides = invocation.sides.as_ref();
        match sides.filter(|sides| reads_words && sides.saves_temps()) {
            Some(sides) => Err(sides.reason.clone()),
            None => Ok(invocation),
        }
    });
    match made {
        Ok(invocation) => Scan::Distributable(invocation),
        Err(reason) => Scan::Local(LocalOnly {
            reason: plainest(reason, &expanded),
            preprocess_only: contains(&expanded, &["-E"]),
            source: source_of_compile(&expanded),
        }),
    }
}

fn contains(argv: &[OsString], words: &[&str]) -> bool {
    argv.iter()
        .skip(1)
        .any(|arg| words.iter().any(|word| arg == *word))
}

/// The source of a compile, for people: the first word that is a source by its name, or else the first that is no option.
fn source_of_compile(argv: &[OsString]) -> Option<PathBuf> {
    const NO_OBJECT: [&str; 7] = [
        "-E",
        "-M",
        "-MM",
        "-fsyntax-only",
        "-###",
        "--help",
        "--version",
    ];
    if !contains(argv, &["-c", "-S"]) || contains(argv, &NO_OBJECT) {
        return None;
    }
    let mut operands = Vec::new();
    let mut words = argv.iter().skip(1).map(|word| word.as_bytes());
    while let Some(word) = words.next() {
        if word == b"-" || !word.starts_with(b"-") {
            operands.push(word);
        } else if option_table::find(word).is_some_and(|found| found.takes_next) {
            words.next();
        }
    }
    let is_source = |word: &&&[u8]| sources::kind_of_name(word).is_some();
    let named = operands.iter().find(is_source).or(operands.first())?;
    Some(PathBuf::from(OsStr::from_bytes(named)))
}

/// A link is best called that, rather than by its first object.
fn plainest(reason: Reason, argv: &[OsString]) -> Reason {
    match reason {
        Reason::LinkerInput(_) | Reason::Assembler | Reason::TwoInputs(..)
            if !contains(argv, &["-c", "-S", "-E"]) =>
        {
            Reason::NotACompile
        }
        reason => reason,
    }
}

fn distributable(argv: &[OsString]) -> Result<Invocation, Reason> {
    let words: Vec<&[u8]> = argv.iter().map(|word| word.as_bytes()).collect();
    let walk = command_line::walk(&words, Side::Client)?;
    if !walk.object && !walk.assembly {
        return Err(Reason::NotACompile);
    }
    let input = walk.input.ok_or(Reason::NoInput)?;
    assemble(argv, &words, input, dependencies(&walk.deps)?, walk)
}

fn dependencies(words: &DepWords<'_>) -> Result<Option<Deps>, Reason> {
    let wanted = words.md || words.mmd;
    let stray = words.file.is_some() || !words.targets.is_empty() || words.phony;
    if words.contradictory || (!wanted && stray) {
        return Err(Reason::Dependencies);
    }
    let owned = |name: &[u8]| OsString::from_vec(name.to_vec());
    Ok(wanted.then(|| Deps {
        md: words.md,
        mmd: words.mmd,
        file: words.file.map(owned),
        targets: words
            .targets
            .iter()
            .map(|target| DepTarget {
                quoted: target.quoted,
                name: owned(target.name),
            })
            .collect(),
        phony: words.phony,
        from_wp: words.from_wp,
    }))
}

fn assemble(
    argv: &[OsString],
    words: &[&[u8]],
    input: InputAt,
    deps: Option<Deps>,
    walk: Walk<'_>,
) -> Result<Invocation, Reason> {
    let name = words.get(input.index).copied().ok_or(Reason::NoInput)?;
    if sources::is_probe(name) {
        return Err(Reason::Probe(text(name)));
    }
    let driver = argv.first().map(OsString::as_os_str).unwrap_or_default();
    let kind = match input.explicit {
        true => input.kind,
        false => sources::as_seen_by(driver, input.kind),
    };
    let mut argv = argv.to_vec();
    let mut roles = walk.roles;
    let output = match walk.output.and_then(|at| Some((at, argv.get(at.index)?))) {
        Some((at, word)) => {
            let skip = if at.joined { b"-o".len() } else { 0 };
            let bytes = word.as_bytes().get(skip..).unwrap_or_default();
            OsStr::from_bytes(bytes).to_owned()
        }
        None => {
            let output = sources::default_output(name, walk.assembly);
            let output = output.ok_or_else(|| Reason::OddOutput(text(name)))?;
            let output = OsString::from_vec(output);
            argv.extend([OsString::from("-o"), output.clone()]);
            roles.extend([Role::Output, Role::Output]);
            output
        }
    };
    if output.as_bytes() == name || output.as_bytes().starts_with(b"-") {
        return Err(Reason::OddOutput(text(output.as_bytes())));
    }
    let language = kind.language;
    let compile = Compile {
        input: name,
        output: output.as_bytes(),
        language,
        assembly: walk.assembly,
        lto: side_files::is_lto(words),
    };
    let sides = SideFiles::of(&walk.sides, compile)?;
    Ok(Invocation {
        argv,
        roles,
        input_index: input.index,
        input: PathBuf::from(OsStr::from_bytes(name)),
        output: PathBuf::from(output),
        output_given: walk.output.is_some(),
        assembly: walk.assembly,
        language,
        explicit_language: input.explicit,
        preprocessed: kind.preprocessed,
        debug_info: walk.debug_info,
        native: walk.native,
        deps,
        sides: sides.map(Box::new),
        only_ours: walk.only_ours,
    })
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use super::*;

    fn argv(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    fn remote(line: &str) -> Invocation {
        match scan(&argv(line), &|_| None) {
            Scan::Distributable(invocation) => invocation,
            Scan::Local(local) => panic!("{line}: local, {}", local.reason),
        }
    }

    fn local(line: &str) -> LocalOnly {
        match scan(&argv(line), &|_| None) {
            Scan::Local(local) => local,
            Scan::Distributable(_) => panic!("{line}: distributable"),
        }
    }

    /// The commands whose fate in distcc 3.4 is known, and ours; where they differ, the reason is beside.
    #[test]
    fn known_commands_have_their_fate() {
        for (line, output) in [
            ("gcc -c hello.c", "hello.o"),
            ("gcc -c -S d/hello.c", "hello.s"),
            ("cc -c hello.c", "hello.o"),
            ("cc hello.c -c", "hello.o"),
            ("gcc -x c -c hello.c", "hello.o"),
            ("gcc -x c++ -c hello.c", "hello.o"),
            ("gcc -x cpp-output -c hello.c", "hello.o"),
            // Local in stock, which looks at the word after -xLANG and takes no `none`.
            ("gcc -xc -c hello.c", "hello.o"),
            ("gcc -c -xc hello.c", "hello.o"),
            ("gcc -x none -c hello.c", "hello.o"),
            // Both compilers, too, write `penmp`.
            ("gcc -c hello.c -openmp", "penmp"),
            // Local in stock, which takes the values of options for sources.
            ("gcc -include x.c -c a.c", "a.o"),
            ("gcc -D F=x.c -c a.c", "a.o"),
            ("gcc -c conftestx.c", "conftestx.o"),
            ("gcc -MMD -MP -MFx.d -MTy -c x.c", "x.o"),
            ("gcc -Wa,-xarch=v8 -c x.c", "x.o"),
            // To our own daemon only.
            ("gcc -flto -c x.c", "x.o"),
            ("gcc -flto=4 -c x.c", "x.o"),
            ("gcc -c /abs/x.cc -o d/x.o", "d/x.o"),
            ("gcc -c x.c -od/x.o", "d/x.o"),
            // Stock's -mcpu=native means the server's processor.
            ("gcc -march=native -mcpu=native+crc -c x.c", "x.o"),
        ] {
            assert_eq!(remote(line).output, Path::new(output), "{line}");
        }
        for line in [
            "cc hello.c",
            "cc hello.o",
            "gcc -v",
            "gcc -dumpversion",
            "gcc -x assembler -c hello.c",
            "gcc -c hello.c -o a.o b.o",
            "gcc -c a.c b.c",
            "gcc -c a.s",
            "gcc -c a.S",
            "gcc -c -",
            "gcc -c conftest.c",
            "gcc -c d/tmp.conftest.c",
            "gcc -S x.c -o -",
            "gcc -c .c",
            "gcc -specs=f -c x.c",
            "gcc -M -c x.c",
            "gcc -Wp,-M -c x.c",
            "gcc -Wa,-adhln=x -c x.c",
            "gcc -Wa,-q,-al -c x.c",
            "gcc -Wa,--MD -c x.c",
            // From here on remote in stock. A missing value is the compiler's to report.
            "gcc -c hello.c -x",
            "gcc -c hello.c -o",
            // The driver hands h2.o to the linker; it is no output.
            "gcc -c hello.c h2.o",
            // No ordinary file, and made in no time.
            "gcc -S x.c -o /dev/null",
        ] {
            local(line);
        }
    }

    #[test]
    fn a_preprocessor_run_is_known_as_such() {
        assert!(local("gcc -E x.c").preprocess_only);
        assert!(local("gcc -wrapper x -E x.c").preprocess_only);
        assert!(!local("gcc -M x.c").preprocess_only);
        assert_eq!(local("gcc a.o b.o -o prog").reason, Reason::NotACompile);
        assert_eq!(local("gcc a.c b.c").reason, Reason::NotACompile);
        assert_eq!(scan(&[], &|_| None), {
            let reason = Reason::Empty;
            Scan::Local(LocalOnly {
                reason,
                preprocess_only: false,
                source: None,
            })
        });
    }

    #[test]
    fn what_compiles_here_is_told_from_all_else() {
        for (line, source) in [
            ("gcc -fprofile-use -c x.c -o x.o", Some("x.c")),
            ("gcc -flto -MF x.d -o y.o -S d/x.c", Some("d/x.c")),
            ("gcc -c x.s", Some("x.s")),
            ("gcc -c -x assembler -", Some("-")),
            ("gcc -c h2.o hello.c", Some("hello.c")),
            ("gfortran -c -I a.c x.f90", Some("x.f90")),
            ("gcc -c conftest.c", Some("conftest.c")),
            ("gcc x.c -o x", None),
            ("gcc -c", None),
            ("gcc -E -c x.c", None),
            ("gcc -MM -c x.c", None),
            ("gcc -fsyntax-only -c x.c", None),
            ("gcc -v", None),
        ] {
            assert_eq!(
                local(line).source.as_deref(),
                source.map(Path::new),
                "{line}"
            );
        }
    }

    #[test]
    fn assembler_sources_are_called_that() {
        assert_eq!(local("gcc -c x.s").reason, Reason::Assembler);
        assert_eq!(local("gcc -g -c d/x.S -o x.o").reason, Reason::Assembler);
        assert_eq!(local("gcc x.s main.o -o x").reason, Reason::NotACompile);
        let reason = Reason::LinkerInput("h2.o".into());
        assert_eq!(local("gcc -c hello.c h2.o").reason, reason);
    }

    #[test]
    fn values_of_options_are_no_sources() {
        for option in [
            "-include h.c",
            "-imacros h.c",
            "-isystem d.c",
            "-iquote d.c",
            "-idirafter d.c",
            "-isysroot d.c",
            "--sysroot d.c",
            "-I d.c",
            "-I d.o",
            "-L d.o",
            "-l x.c",
            "-u x.c",
            "-z x.c",
            "-T x.c",
            "-MT x.c -MD",
            "-MQ x.o -MD",
            "-MF x.c -MD",
            "-target x.c",
            "--param x.c",
            "-Xlinker x.c",
            "-D x.c",
            "-U x.c",
            "-A x.c",
            "-G x.c",
            "-mllvm -x.c",
            "-Xpreprocessor -Dx.c",
        ] {
            let invocation = remote(&format!("gcc {option} -c a.c"));
            assert_eq!(invocation.input, Path::new("a.c"), "{option}");
            assert_eq!(invocation.output, Path::new("a.o"), "{option}");
            assert_eq!(
                invocation.roles.len(),
                invocation.argv.len(),
                "{option}: a role for each word"
            );
        }
    }

    #[test]
    fn other_files_keep_a_command_here() {
        for option in [
            "-aux-info d/x",
            "-dumpdir /d",
            "-dumpbase d -fstack-usage",
            "-fdump-ada-spec",
            "-fdump-tree-all=/x",
            "-fdump-tree-all=-",
            "--serialize-diagnostics ../x",
            "-foptimization-record-file=d/",
            "-ftime-trace=x",
            "-fopt-info-vec=x",
            "-fprofile-use=x",
            "-fauto-profile=x",
            "-fbranch-probabilities",
            "-fmodules",
            "-fmodules-ts",
            "-fmodule-file=x",
            "-include-pch x",
            "-MJ x",
            "-fplugin=x",
            "-fpass-plugin=x",
            "-Xclang -load",
            "-wrapper x",
            "-B x",
            "-Bx",
            "--config x",
            "-fsanitize-ignorelist=x",
            "-fsanitize-blacklist=x",
            "-working-directory x",
            "-funheard-of-file=x",
            "-funheard-of=/x",
            "-emit-llvm",
            "-fsyntax-only",
            "-M",
            "-MM",
            "-###",
            "--help",
            "--version",
            "-print-search-dirs",
            "-unheard",
            "@missing",
            "-I @missing",
            "-MG",
            "-MF x.d",
            "-MD -MF -",
            "-MD -MF a.d -MF b.d",
            "-o a.o -o b.o",
            "-o a.c",
        ] {
            let line = format!("gcc -c a.c {option}");
            let reason = local(&line).reason.to_string();
            assert!(!reason.is_empty() && !reason.contains('\n'), "{line}");
        }
    }

    #[test]
    fn files_beside_the_object_are_noted() {
        let invocation = remote("gcc --coverage -fdump-tree-all=d/x -c x.c -o d/x.o");
        let reason = invocation.sides.map(|sides| sides.reason.to_string());
        let told = "--coverage needs coverage or profile data here";
        assert_eq!(reason.as_deref(), Some(told));
        assert_eq!(invocation.roles[1], Role::Side);
        assert!(remote("gcc -gsplit-dwarf -c x.c").debug_info);
        assert_eq!(remote("gcc -g -c x.c").sides, None);
    }

    #[test]
    fn language_is_what_the_compiler_takes_it_for() {
        for (line, language, preprocessed) in [
            ("gcc -c a.c", Language::C, false),
            ("gcc -c a.i", Language::C, true),
            ("g++ -c a.c", Language::Cxx, false),
            ("clang++-14 -c a.i", Language::Cxx, true),
            ("g++ -x c -c a.c", Language::C, false),
            ("gcc -x c++ -c a.inc", Language::Cxx, false),
            ("gcc -xobjective-c++ -c a.c", Language::ObjCxx, false),
            ("gcc -x c++ -xnone -c a.m", Language::ObjC, false),
            (
                "gcc -x assembler -x c++-cpp-output -c a.s",
                Language::Cxx,
                true,
            ),
        ] {
            let invocation = remote(line);
            assert_eq!(invocation.language, language, "{line}");
            assert_eq!(invocation.preprocessed, preprocessed, "{line}");
        }
        for language in [
            "c-header",
            "cuda",
            "assembler-with-cpp",
            "go",
            "ir",
            "nonsense",
        ] {
            local(&format!("gcc -x {language} -c a.c"));
        }
    }

    #[test]
    fn dependencies_and_debug_are_noted() {
        let invocation = remote("gcc -MMD -MP -MF x.d -MQ$y -MT z -g -c x.c -o o.o");
        let deps = invocation.deps.unwrap_or_else(|| panic!("no deps"));
        assert!((deps.mmd, deps.md, deps.phony, deps.from_wp) == (true, false, true, false));
        assert_eq!(deps.file.as_deref(), Some(OsStr::new("x.d")));
        let targets: Vec<_> = deps
            .targets
            .iter()
            .map(|target| (target.quoted, target.name.to_str()))
            .collect();
        assert_eq!(targets, [(true, Some("$y")), (false, Some("z"))]);
        assert!(invocation.debug_info && invocation.output_given);

        let kernel = remote("gcc -Wp,-MMD,a/.b.o.d -c b.c -g -g0");
        let deps = kernel.deps.unwrap_or_else(|| panic!("no deps"));
        assert!(deps.from_wp && deps.file.as_deref() == Some(OsStr::new("a/.b.o.d")));
        assert!(!kernel.debug_info && !kernel.output_given);
        assert_eq!(kernel.roles[1], Role::Dependency);
        assert_eq!(kernel.argv.last(), Some(&OsString::from("b.o")));
        assert_eq!(remote("gcc -Wp,-DX,-UY -c b.c").roles[1], Role::Preprocess);
    }

    #[test]
    fn response_files_are_read() {
        let read = |path: &Path| (path == Path::new("args")).then(|| b"-c 'x y.c'".to_vec());
        match scan(&argv("gcc @args"), &read) {
            Scan::Distributable(invocation) => {
                assert_eq!(invocation.output, Path::new("x y.o"));
            }
            Scan::Local(local) => panic!("{}", local.reason),
        }
        let temps = scan(&argv("gcc -save-temps @args"), &read);
        assert!(matches!(temps, Scan::Local(_)), "gcc saves the words");
    }
}
