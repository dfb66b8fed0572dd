//! The daemon's question about a command that came over the network: is it one compile that runs nothing and reads and
//! writes nothing outside its job? What is not surely harmless is refused; the sender then compiles at home.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::command_line::{self, text, OutputAt, Side};
use super::compiler_options::Reason;
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

/// Reads a received command. Everything that could run a program, load a library, or name a file beside source and output is refused.
pub fn scan_received(argv: &[Vec<u8>]) -> Result<Received, Reason> {
    let words: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
    let compiler = words.first().copied().ok_or(Reason::Empty)?;
    if compiler.is_empty() || matches!(compiler[0], b'-' | b'@') {
        return Err(Reason::UnknownOption(text(compiler)));
    }
    if let Some(word) = words.iter().find(|word| word.contains(&0)) {
        return Err(Reason::UnknownOption(text(word)));
    }
    let walk = command_line::walk(&words, Side::Daemon)?;
    if !walk.object && !walk.assembly {
        return Err(Reason::NotACompile);
    }
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
        for words in [
            "-wrapper sh",
            "-wrapper",
            "-B/d",
            "-B /d",
            "-B",
            "-fplugin=/x.so",
            "-fplugin-arg-x-y=z",
            "-fpass-plugin=x.so",
            "-specs=x",
            "-specs x",
            "--specs=x",
            "--specs x",
            "@x",
            "-I @x",
            "-D @x",
            "-Xclang -load",
            "-Xassembler -al=x",
            "-Wa,-al=/x",
            "-Wa,-ahl=x",
            "-Wa,--MD,x",
            "-Wa,@x",
            "-Wa,-I,/",
            "-Wa,-mfoo=/x",
            "-Wp,-MD,/x",
            "--config x",
            "--config=x",
            "-include /etc/passwd",
            "-include/etc/passwd",
            "-imacros/etc/passwd",
            "-include-pch x",
            "-fmodule-file=x",
            "-fmodule-map-file=x",
            "-fmodules",
            "-fdump-tree-all=/x",
            "-fopt-info-vec=/x",
            "-ftime-trace=/x",
            "-fdump-go-spec=../x",
            "-dumpdir /x",
            "-dumpbase /x",
            "-aux-info /x",
            "-aux-info=/x",
            "-MF /x",
            "-MF/x",
            "-MF ../x",
            "-MJ x",
            "-fprofile-use=/x",
            "-fprofile-dir=/x",
            "-fauto-profile=/x",
            "-fsanitize-blacklist=/x",
            "-fsanitize-ignorelist=/x",
            "-fcrash-diagnostics-dir=/x",
            "-working-directory /x",
            "-resource-dir /x",
            "-gcc-toolchain /x",
            "--gcc-toolchain=/x",
            "--prefix=/x",
            "-no-integrated-cpp",
            "-fno-preprocessed",
            "--driver-mode=cl",
            "-target ../x",
            "--target=../x",
            "-mmcu=../x",
            "-mllvm -load=x.so",
            "-mllvm -o=/x",
            "-mllvm=-load=x",
            "-serialize-diagnostics x",
            "-foptimization-record-file=/x",
            "-fbasic-block-sections=/x",
            "-funheard=/x",
            "-munheard=/x",
            "-gunheard=/x",
            "-unheard",
            "-o x -o y",
            "b.c",
            "x.o",
            "x.so",
            "",
            "-E",
            "-M",
            "-fsyntax-only",
            "-emit-ast",
            "-framework -wrapper",
            "-iframework -B",
            "-ivfsoverlay x",
            "-iplugindir=x",
            "-dsym-dir x",
            "-mllvm -inline-threshold=5",
            "-R -D -wrapper",
            "-D -wrapper",
            "-Xlinker -wrapper",
            "-MT -c",
            "-R",
            "-f",
            "-filelist x",
            "-ftrapv-handler x",
            "-gnatO x",
            "-fcompare-debug=-fplugin=x",
            "--print-file-name x",
            "--help",
            "-march=native",
            "-mcpu=native",
            "-x",
            "-D",
            "-o -",
            "-o /dev/sda",
            "--",
            "-x assembler-with-cpp -x ir b.s",
        ] {
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
