//! The words of pump mode against the installed compilers: options for `CPATH` and its kin search as those do, and the
//! dependency options for a server make the file that a local run makes.
#![allow(clippy::unwrap_used)]

mod common;

use common::{have, run, Farm, BOUND};
use distcc::model::family::family;
use distcc::model::invocation::{scan, Invocation, Scan};
use distcc::model::{dependencies, pump_words, search_variables};
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

const COMPILERS: [&str; 4] = ["gcc", "g++", "clang", "clang++"];

fn invocation(words: &[&str]) -> Invocation {
    let argv: Vec<OsString> = words.iter().map(OsString::from).collect();
    match scan(&argv, &|_| None) {
        Scan::Distributable(invocation) => invocation,
        Scan::Local(local) => panic!("{words:?}: {}", local.reason),
    }
}

/// Values of the variables; empty elements are the working directory, and one folder is not there.
const VARIABLES: [(&str, &str); 5] = [
    ("CPATH", ":any:none:a b:"),
    ("C_INCLUDE_PATH", "c::any"),
    ("CPLUS_INCLUDE_PATH", "cxx"),
    ("OBJC_INCLUDE_PATH", ":objc"),
    ("OBJCPLUS_INCLUDE_PATH", "objcxx:"),
];

/// Runs a compiler, with the variables or without.
fn output(farm: &Farm, words: &[OsString], variables: bool) -> (String, String) {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).current_dir(farm.work());
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", "C");
    if variables {
        command.envs(VARIABLES);
    }
    let ran = run(&mut command, BOUND).expect(0);
    (ran.stdout, ran.stderr)
}

#[test]
fn options_search_as_the_variables_do() {
    if !have("pump words", &["gcc", "g++", "clang"]) {
        return;
    }
    let farm = Farm::new();
    for folder in [
        "any", "a b", "c", "cxx", "objc", "objcxx", "user", "sys", ".",
    ] {
        farm.write(&format!("{folder}/h.h"), "#include_next <h.h>\n");
    }
    farm.write("last/h.h", "");
    for source in ["x.c", "x.cc", "x.m", "x.mm"] {
        farm.write(source, "#include <h.h>\n");
        for compiler in COMPILERS {
            for options in [
                "",
                "-Iuser",
                "-Iuser -isystem sys",
                "-Iany -isystem c -isystem cxx",
                "-nostdinc",
            ] {
                let mut words = vec![compiler];
                words.extend(options.split_whitespace());
                words.extend(["-idirafter", "last", "-c", source]);
                let invocation = invocation(&words);
                let lookup = |name: &str| {
                    let found = VARIABLES.iter().find(|(known, _)| *known == name);
                    found.map(|(_, value)| OsString::from(value))
                };
                let family = family(Path::new(compiler));
                let more = search_variables::words(&invocation, family, &lookup).unwrap();
                assert!(!more.is_empty());
                let given: Vec<OsString> = words.iter().map(OsString::from).collect();
                let all = |more: &[OsString]| {
                    let mut all = given.clone();
                    all.retain(|word| word != "-c");
                    all.extend_from_slice(more);
                    all.extend(["-M", "-v"].map(OsString::from));
                    all
                };
                let expected = output(&farm, &all(&[]), true);
                let found = output(&farm, &all(&more), false);
                let context = format!("{words:?} {more:?}");
                assert_eq!(expected.0, found.0, "{context}");
                assert_eq!(list(&expected.1), list(&found.1), "{context}");
            }
        }
    }
}

/// The folders that a compiler says it searches.
fn list(said: &str) -> &str {
    let (_, rest) = said.split_once("search starts here:").unwrap();
    rest.split_once("End of search list").unwrap().0
}

#[test]
fn a_server_makes_the_dependency_file_of_a_local_run() {
    if !have("pump words", &["gcc", "g++", "clang"]) {
        return;
    }
    let farm = Farm::new();
    farm.write(
        "s/x.c",
        "#include <stddef.h>\n#include \"a b.h\"\n#include \"z.h\"\n",
    );
    farm.write("s/a b.h", "");
    farm.write("s/z.h", "");
    fs::create_dir(farm.work().join("o")).unwrap();
    for compiler in COMPILERS {
        for options in [
            "-MD",
            "-MMD -o o/x.o",
            "-MD -MP -oo/y.1.o",
            "-MMD -MF f.d -MT t$1 -MQu$2 -MTv -o o/x.o",
            "-MP -MD -MQ a\u{e9}b -MFo/q -S",
            "-Wp,-MD,w.d -o o/x.o",
            "-Wp,-MMD,w.d",
            "-MMD -o o/x$y.o",
        ] {
            let mut words = vec![compiler, "-c", "s/x.c"];
            words.extend(options.split(' '));
            let invocation = invocation(&words);
            let file = farm.work().join(dependencies::file(&invocation).unwrap());
            let given: Vec<OsString> = words.iter().map(OsString::from).collect();
            output(&farm, &given, false);
            let expected = fs::read_to_string(&file).unwrap();
            fs::remove_file(&file).unwrap();

            let family = family(Path::new(compiler));
            let mut server =
                pump_words::server_words(&invocation, family, false, &|_| None).unwrap();
            // As a daemon does it: an output and a dependency file of its own.
            let output_at = server.iter().position(|word| word == "-o");
            match output_at {
                Some(at) => server[at + 1] = "server.o".into(),
                None => server.retain(|word| !word.to_string_lossy().starts_with("-oo")),
            }
            server.extend(["-MF", "server.d"].map(OsString::from));
            output(&farm, &server, false);
            let made = fs::read_to_string(farm.work().join("server.d")).unwrap();
            assert_eq!(expected, made, "{words:?} {server:?}");
        }
    }
}
