//! The daemon's question about a command that came over the network: is it one compile that runs nothing and reads and
//! writes nothing outside its job? What is not surely harmless is refused; the sender then compiles at home.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::command_line::{self, text, OutputAt, Side, Walk};
use super::compiler_options::{Reason, Role};
use super::sources::{self, SourceKind};

/// A command fit to be run for somebody else (protocols 1 and 2: the text comes preprocessed).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Received {
    /// Index of the word that names the source; never 0.
    pub input: usize,
    /// Where the output is named; None: there is no `-o`, so append one.
    pub output: Option<OutputAt>,
    /// What the compiler will take the text for.
    pub kind: SourceKind,
    /// The suffix, with its dot, for the file that holds the text.
    pub suffix: &'static str,
    /// `-S` instead of `-c`.
    pub assembly: bool,
    /// Where values of `-x` are; an attached one makes the word `-xVALUE`.
    pub languages: Vec<OutputAt>,
    /// A `-x` of the sender makes the compiler preprocess the text once more, so that an `#include` in it would read
    /// this machine's files. To prevent it put `kind.language.preprocessed_option_value()` in each place of `languages`.
    pub preprocesses: bool,
}

/// A command fit to be run where the files are that came with it (protocol 3).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReceivedPump {
    /// Index of the word that names the source; never 0.
    pub input: usize,
    /// Where the output is named; None: the compiler derives it from the source's name.
    pub output: Option<OutputAt>,
    /// `-S` instead of `-c`.
    pub assembly: bool,
    /// Why it has to run at the client's own paths.
    pub only_ours: Option<Reason>,
    /// The object will hold debug information.
    pub debug_info: bool,
    /// What is wanted of dependencies.
    pub deps: DepsWanted,
    /// One for each word.
    pub roles: Vec<Role>,
}

/// What a command wants of the dependency file that protocol 3 sends back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DepsWanted {
    /// None.
    No,
    /// There is a `-MD` or `-MMD`.
    Asked,
    /// There is only a target: the client found the file's name in its environment.
    TargetOnly,
}

/// Reads a received command. Everything that could run a program, load a library, or name a file beside source and output is refused.
pub fn scan_received(argv: &[Vec<u8>]) -> Result<Received, Reason> {
    let words: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
    let walk = walk_received(&words, Side::Daemon)?;
    let compiler = words.first().copied().unwrap_or_default();
    let input = walk.input.ok_or(Reason::NoInput)?;
    let kind = match input.explicit {
        true => input.kind,
        false => sources::as_seen_by(OsStr::from_bytes(compiler), input.kind),
    };
    Ok(Received {
        input: input.index,
        output: walk.output,
        kind,
        suffix: kind.language.preprocessed_suffix(),
        assembly: walk.assembly,
        languages: walk.languages,
        preprocesses: input.explicit && !kind.preprocessed,
    })
}

/// Reads a command that came with files, which it may name. What could run a program or load a library is refused.
pub fn scan_received_pump(argv: &[Vec<u8>]) -> Result<ReceivedPump, Reason> {
    let words: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
    let walk = walk_received(&words, Side::Pump)?;
    if walk.deps.from_wp {
        let value = "the name of a dependency file".to_owned();
        return Err(Reason::Value("-Wp,".to_owned(), value));
    }
    check_sysroot(&words)?;
    let deps = &walk.deps;
    Ok(ReceivedPump {
        input: walk.input.ok_or(Reason::NoInput)?.index,
        output: walk.output,
        assembly: walk.assembly,
        only_ours: walk.only_ours,
        debug_info: walk.debug_info,
        deps: match (deps.md || deps.mmd, deps.targets.is_empty()) {
            (true, _) => DepsWanted::Asked,
            (false, false) => DepsWanted::TargetOnly,
            (false, true) => DepsWanted::No,
        },
        roles: walk.roles,
    })
}

/// What holds for every command of a stranger's.
fn walk_received<'a>(words: &[&'a [u8]], side: Side) -> Result<Walk<'a>, Reason> {
    let compiler = words.first().copied().ok_or(Reason::Empty)?;
    if compiler.is_empty() || matches!(compiler[0], b'-' | b'@') {
        return Err(Reason::UnknownOption(text(compiler)));
    }
    if let Some(word) = words.iter().find(|word| word.contains(&0)) {
        return Err(Reason::UnknownOption(text(word)));
    }
    let walk = command_line::walk(words, side)?;
    if !walk.object && !walk.assembly {
        return Err(Reason::NotACompile);
    }
    Ok(walk)
}

/// clang looks for programs in a sysroot, too, which may be one of the client's: then it must need none.
fn check_sysroot(words: &[&[u8]]) -> Result<(), Reason> {
    const NEEDS_PROGRAM: &[&[u8]] = &[
        b"-no-integrated-as",
        b"-fno-integrated-as",
        b"-gsplit-dwarf",
    ];
    let mut options = words.iter().skip(1);
    let has_sysroot = options
        .clone()
        .any(|word| word.starts_with(b"--sysroot") || word.starts_with(b"-isysroot"));
    let needy = options.find(|word| NEEDS_PROGRAM.iter().any(|head| word.starts_with(head)));
    match needy.filter(|_| has_sysroot) {
        Some(word) => Err(Reason::Value("--sysroot".to_owned(), text(word))),
        None => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use super::*;
    use crate::model::compiler_options::Role;
    use crate::model::invocation::{scan, Invocation, Scan};
    use crate::model::option_table::ROWS;
    use proptest::prelude::*;
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    fn received(line: &str) -> Result<Received, Reason> {
        let argv: Vec<Vec<u8>> = line
            .split(' ')
            .map(|word| word.as_bytes().to_vec())
            .collect();
        scan_received(&argv)
    }

    #[test]
    fn what_stock_clients_send_is_taken() {
        for (line, input, output) in [
            ("gcc -c hello.c -o hello.o", 2, Some((4, false))),
            (
                "x86_64-linux-gnu-gcc -O2 -Wall -c d/hello.c -o d/hello.o",
                4,
                Some((6, false)),
            ),
            ("gcc -frandom-seed=a.c -c a.c -oa.o", 3, Some((4, true))),
            (
                "clang -c a.cc -o a.o -target x86_64-pc-linux-gnu",
                2,
                Some((4, false)),
            ),
            (
                "gcc -iquote d --sysroot=/s -isysroot /s -F d -c a.m -o a.o",
                9,
                Some((11, false)),
            ),
            (
                "gcc -gsplit-dwarf -save-temps -fstack-usage -ftime-trace -H -v -c a.c -o a.o",
                8,
                Some((10, false)),
            ),
            (
                "gcc -fdebug-prefix-map=/a=/b -S a.c -o a.s",
                3,
                Some((5, false)),
            ),
            (
                "gcc -flto=auto -Wa,--noexecstack -c a.c -o a.o",
                4,
                Some((6, false)),
            ),
            (
                "clang-14 -mllvm -inline-threshold=5 -mllvm -x86-asm-syntax=intel -c a.c -o a.o",
                6,
                Some((8, false)),
            ),
            ("gcc -x c -c a.c -o a.o", 4, Some((6, false))),
            ("gcc -c a.c", 2, None),
            ("gcc -S a.c -o /dev/null", 2, Some((4, false))),
        ] {
            let job = received(line).unwrap_or_else(|reason| panic!("{line}: {reason}"));
            assert_eq!(job.input, input, "{line}");
            assert_eq!(job.output.map(|at| (at.index, at.joined)), output, "{line}");
        }
        let twice = received("gcc -xc++ -c a.c -o a.o");
        let twice = twice.unwrap_or_else(|reason| panic!("{reason}"));
        assert!(twice.preprocesses && twice.suffix == ".ii");
        let at = OutputAt {
            index: 1,
            joined: true,
        };
        assert_eq!(twice.languages, [at]);
        let once = received("g++ -c a.c -o a.o").unwrap_or_else(|reason| panic!("{reason}"));
        assert!(!once.preprocesses && once.suffix == ".ii");
    }

    #[test]
    fn what_could_run_or_touch_something_is_refused() {
        let all = "\
            -wrapper sh | -wrapper | -B/d | -B /d | -B | -fplugin=/x.so | -fplugin-arg-x-y=z | -fpass-plugin=x.so | \
            -specs=x | -specs x | --specs=x | --specs x | @x | -I @x | -D @x | -Xclang -load | -Xassembler -al=x | \
            -Wa,-al=/x | -Wa,-ahl=x | -Wa,--MD,x | -Wa,@x | -Wa,-I,/ | -Wa,-mfoo=/x | -Wa,--defsym,@x | -Wa,--defsym,x | -Wp,-MD,/x | --config x | \
            --config=x | -include /etc/passwd | -include/etc/passwd | -imacros/etc/passwd | -include-pch x | \
            -fmodule-file=x | -fmodule-map-file=x | -fmodules | -fdump-tree-all=/x | -fopt-info-vec=/x | \
            -ftime-trace=/x | -fdump-go-spec=../x | -dumpdir /x | -dumpbase /x | -aux-info /x | -aux-info=/x | \
            -MF /x | -MF/x | -MF ../x | -MJ x | -fprofile-use=/x | -fprofile-dir=/x | -fauto-profile=/x | \
            -fsanitize-blacklist=/x | -fsanitize-ignorelist=/x | -fcrash-diagnostics-dir=/x | \
            -working-directory /x | -resource-dir /x | -gcc-toolchain /x | --gcc-toolchain=/x | --prefix=/x | \
            -no-integrated-cpp | -fno-preprocessed | --driver-mode=cl | -target ../x | --target=../x | -mmcu=../x | \
            -mllvm -load=x.so | -mllvm -o=/x | -mllvm=-load=x | -serialize-diagnostics x | \
            -foptimization-record-file=/x | -fbasic-block-sections=/x | -funheard=/x | -munheard=/x | -gunheard=/x | \
            -unheard | -o x -o y | b.c | x.o | x.so |  | -E | -M | -fsyntax-only | -emit-ast | --ld-path=/x | \
            -foffload=-fplugin=x | -fopenmp-targets=x -Xopenmp-target -load | -print-prog-name=as | \
            -print-file-name=x | -dumpspecs | --sysroot /x -T -wrapper | -fprofile-use | -fprofile-sample-use=/x | \
            -fmodule-mapper=|sh | -fmodules-ts -fmodule-header | -fprebuilt-module-path=/x | -fplugin-arg-x=y | \
            -Xclang=-load | -Xanalyzer -load | -cc1 -load x | -load x | --config-user-dir=/x | \
            --config-system-dir=/x | --gcc-install-dir=/x | --gcc-triple=../x | -fembed-offload-object=/x | \
            -fxray-always-instrument=/x | -fdiagnostics-set-output=sarif:file=/x | \
            -fdiagnostics-add-output=sarif:file=/x | -fsanitize-coverage-allowlist=/x | -mrelocation-model=/x | \
            -mfloat-abi=/x | -framework -wrapper | -iframework -B | -ivfsoverlay x | -iplugindir=x | -dsym-dir x | \
            -mllvm -inline-threshold=5 | -R -D -wrapper | -D -wrapper | -Xlinker -wrapper | -MT -c | -R | -f | \
            -filelist x | -ftrapv-handler x | -gnatO x | -fcompare-debug=-fplugin=x | --print-file-name x | --help | \
            -march=native | -mcpu=native | -x | -D | -o - | -o /dev/sda | -- | -x assembler-with-cpp -x ir b.s";
        for words in all.split(" | ") {
            let line = format!("gcc -c a.c {words}");
            assert!(received(&line).is_err(), "{line}");
        }
        for line in [
            "",
            "-c a.c",
            "@gcc -c a.c",
            "gcc",
            "gcc a.c",
            "gcc -c",
            "gcc -c a.s",
            "gcc -c -x assembler a.c",
            "gcc -x c -c @x",
            "gcc -c -",
            "a.c -c",
            "gcc -c a.c\0",
        ] {
            assert!(received(line).is_err(), "{line}");
        }
        assert_eq!(scan_received(&[]), Err(Reason::Empty));
    }

    fn pump(line: &str) -> Result<ReceivedPump, Reason> {
        let words = line.split(' ').map(|word| word.as_bytes().to_vec());
        scan_received_pump(&words.collect::<Vec<_>>())
    }

    #[test]
    fn with_files_their_names_are_taken() {
        for (line, deps) in [
            (
                "gcc -I/a/b -iquote d -include /a/x.h -imacrosy.h -isystem /s -DX=/y -c /a/x.c -o /b/x.o",
                DepsWanted::No,
            ),
            (
                "g++ --sysroot=/s -isysroot /s -iprefix /a/ -iwithprefix b -MD -MF /d/x.d -c x.cc -o x.o",
                DepsWanted::Asked,
            ),
            (
                "gcc -MMD -MQx.o -MP -Wp,-DX,-I/a,-include,h.h -c x.c",
                DepsWanted::Asked,
            ),
            ("gcc -c x.c -o x.o -MT x.o", DepsWanted::TargetOnly),
            ("gcc -S -x c++ x -o /dev/null", DepsWanted::No),
            ("clang -fno-integrated-as -gsplit-dwarf -c x.c", DepsWanted::No),
            ("gcc -traditional-cpp -H -save-temps -c x.c", DepsWanted::No),
        ] {
            let job = pump(line).unwrap_or_else(|reason| panic!("{line}: {reason}"));
            assert_eq!(job.deps, deps, "{line}");
            assert_eq!(job.roles.len(), line.split(' ').count());
        }
    }

    #[test]
    fn with_files_nothing_is_run_or_loaded() {
        for words in [
            "-wrapper sh",
            "-B/d",
            "-fplugin=/x.so",
            "-fpass-plugin=x.so",
            "-specs=x",
            "--config x",
            "-gcc-toolchain /x",
            "--gcc-toolchain=/x",
            "-resource-dir /x",
            "@x",
            "-I @x",
            "-D -wrapper",
            "-Xclang -load",
            "-Xassembler -al=x",
            "-Wa,-al=/x",
            "-Wa,-I,/",
            "-Wp,-MD,x",
            "-Wp,-include,@x",
            "-Wp,-include,-MD,x",
            "-Wp,-include",
            "-include-pch x",
            "-fmodule-file=x",
            "-ivfsoverlay x",
            "-target ../x",
            "-aux-info /x",
            "-dumpdir /x",
            "-fdump-tree-all=/x",
            "-MF -",
            "-o /dev/sda",
            "b.c",
            "--sysroot=/s -fno-integrated-as",
            "-isysroot /s -no-integrated-as",
            "--sysroot /s -gsplit-dwarf",
        ] {
            let line = format!("clang -c a.c {words}");
            assert!(pump(&line).is_err(), "{line}");
        }
        for line in [
            "",
            "-c a.c",
            "@gcc -c a.c",
            "gcc a.c",
            "gcc -c",
            "gcc -c a.s",
            "gcc -c -",
        ] {
            assert!(pump(line).is_err(), "{line}");
        }
    }

    /// Words that are likely to mean something, and now and then any bytes.
    fn word() -> impl Strategy<Value = Vec<u8>> {
        let tails = prop::sample::select(vec![
            "", "x", "=x", "=/x", "/x", ",x", "-x", "native", "=native", "0",
        ]);
        let row = (0..ROWS.len(), tails)
            .prop_map(|(row, tail)| format!("{}{tail}", ROWS[row].name).into_bytes());
        let plain = prop::sample::select(vec![
            "-c",
            "-S",
            "-o",
            "-x",
            "a.c",
            "b.ii",
            "c",
            "c++",
            "none",
            "assembler",
            "x.o",
            "-O2",
            "-g",
            "-Wall",
            "-MD",
            "-MF",
            "x.d",
            "-I",
            "d",
            "-DX",
            "-",
            "",
            "@a",
            "@b",
            "-Wp,-MD,x",
            "-Wa,--noexecstack",
        ])
        .prop_map(|word| word.as_bytes().to_vec());
        prop_oneof![4 => row, 6 => plain, 1 => prop::collection::vec(any::<u8>(), 0..12)]
    }

    fn command() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let tail = prop::collection::vec(word(), 0..8);
        let head = prop::sample::select(vec![
            "gcc -c a.c",
            "g++ -c a.ii -o x.o",
            "clang -S -x c b",
            "gcc",
            "",
        ]);
        (head, tail).prop_map(|(head, tail)| {
            let head = head.split(' ').map(|word| word.as_bytes().to_vec());
            head.chain(tail).collect()
        })
    }

    fn os(words: &[Vec<u8>]) -> Vec<OsString> {
        words.iter().cloned().map(OsString::from_vec).collect()
    }

    /// Expanding `@a` gives a nested file, `@b` itself.
    fn read(path: &std::path::Path) -> Option<Vec<u8>> {
        match path.to_str() {
            Some("a") => Some(b"-O3 'a' @b".to_vec()),
            Some("b") => Some(b"-g \"@b\"".to_vec()),
            _ => None,
        }
    }

    /// What a client leaves of its command for preprocessed text.
    fn stripped(invocation: &Invocation) -> Vec<Vec<u8>> {
        let stays = |role: &Role| {
            !matches!(
                role,
                Role::Define | Role::Include | Role::Preprocess | Role::Dependency | Role::Linker
            )
        };
        let words = invocation.argv.iter().zip(&invocation.roles);
        words
            .filter(|(_, role)| stays(role))
            .map(|(word, _)| word.as_bytes().to_vec())
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn a_distributable_command_is_stable(words in command()) {
            if let Scan::Distributable(invocation) = scan(&os(&words), &read) {
                prop_assert_eq!(invocation.argv.len(), invocation.roles.len());
                prop_assert_eq!(invocation.roles[invocation.input_index], Role::Input);
                let mut again = match scan(&invocation.argv, &|_| None) {
                    Scan::Distributable(again) => again,
                    Scan::Local(local) => return Err(TestCaseError::fail(local.reason.to_string())),
                };
                again.output_given = invocation.output_given;
                prop_assert_eq!(&again, &invocation);
            }
        }

        #[test]
        fn a_daemon_takes_what_a_client_sends(words in command()) {
            if let Scan::Distributable(invocation) = scan(&os(&words), &read) {
                let sent = stripped(&invocation);
                let hides = sent.windows(2).any(|pair| pair[1].first() == Some(&b'-'));
                let has_nul = sent.iter().any(|word| word.contains(&0));
                match scan_received(&sent) {
                    Ok(job) => prop_assert_eq!(job.kind.language, invocation.language),
                    Err(reason) => prop_assert!(hides || has_nul, "{}", reason),
                }
            }
        }

        #[test]
        fn any_bytes_are_survived(words in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..20)) {
            let _ = scan(&os(&words), &|_| Some(words.concat()));
            if let Ok(job) = scan_received_pump(&words) {
                prop_assert!(job.input > 0 && job.roles.len() == words.len());
            }
            if let Ok(job) = scan_received(&words) {
                prop_assert!(job.input > 0 && job.input < words.len());
                prop_assert!(job.output.is_none_or(|at| at.index < words.len() && at.index != job.input));
            }
        }

        #[test]
        fn a_received_command_names_places_that_exist(words in command()) {
            if let Ok(job) = scan_received(&words) {
                prop_assert!(job.input > 0 && job.input < words.len());
                if let Some(at) = job.output {
                    prop_assert!(at.index > 0 && at.index < words.len() && at.index != job.input);
                    prop_assert_eq!(at.joined, words[at.index].starts_with(b"-o") && words[at.index - 1] != b"-o");
                }
                for word in &words[1..] {
                    prop_assert!(word.first() != Some(&b'@'));
                }
            }
        }
    }
}
