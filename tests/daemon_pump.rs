//! Pump jobs of our daemon, by requests made by hand and recorded ones: what comes back is what a compile of the same
//! files gives here.
#![allow(clippy::unwrap_used)]

mod common;

use common::v3::{difference, Files};
use common::{have, Daemon, Farm, Which};
use distcc::model::about::About;
use std::path::Path;

const COMPILERS: &str = "gcc,g++,clang,clang++,x86_64-linux-gnu-gcc,x86_64-linux-gnu-g++";

fn real(farm: &Farm) -> Daemon {
    farm.daemon(Which::Ours)
        .options(&["--compilers", COMPILERS])
        .start()
}

/// A small project: headers in three folders, one found by an absolute path, one through a link.
fn project(cwd: &Path, words: &str) -> Files {
    let absolute = cwd.parent().unwrap().join("absolute");
    let source = format!(
        "#include <assert.h>\n#include \"near.h\"\n#include <inc.h>\n#include <abs.h>\n#include \"ln/linked.h\"\n\
         #include \"{}/named.h\"\n\
         #ifdef __cplusplus\nnamespace {{ struct hidden {{ int x; }}; }}\n#endif\n\
         const char *name(void) {{ return __FILE__ NEAR INC ABS LINKED __BASE_FILE__; }}\n\
         int check(int x) {{ assert(x > near(x)); return abs_function(x); }}\n",
        absolute.display()
    );
    Files::new(cwd, words)
        .file("x.c", &source)
        .file("x.cc", &source)
        .file("near.h", "#define NEAR __FILE__\nstatic inline int near(int x) { return x - 1; }\n")
        .file("inc/inc.h", "#pragma once\n#define INC __FILE__\n")
        .file(absolute.join("abs.h"), "#define ABS __FILE__\nstatic inline int abs_function(int x) { assert(x); return x + 2; }\n")
        .file(absolute.join("named.h"), "struct named { int x; };\n")
        .file("real/linked.h", "#define LINKED __FILE__\n")
        .link("ln", cwd.join("real"))
}

/// Compiles there and here, and compares.
fn differs(daemon: &Daemon, files: &Files) -> Option<String> {
    let here = files.compiled_here(None);
    let there = files.compiled_there(daemon);
    let words = files.words.join(" ");
    difference(&there, &here).map(|how| format!("{words}\n{how}\n"))
}

#[test]
fn objects_are_those_of_a_local_compile() {
    if !have("daemon_pump", &["gcc", "g++", "clang", "clang++"]) {
        return;
    }
    let farm = Farm::new();
    let daemon = real(&farm);
    let cwd = farm.path("home/me/src");
    let absolute = farm.path("home/me/absolute").display().to_string();
    let common = format!("-Iinc -I{absolute} -c");
    let mut found = Vec::new();
    for compiler in ["gcc", "g++", "clang", "clang++"] {
        let source = if compiler.ends_with("++") {
            "x.cc"
        } else {
            "x.c"
        };
        for options in [
            "-O2",
            "-g",
            "-g3",
            "-gdwarf-4",
            "-g -gz",
            "-O1 -g -fsanitize=address",
            "-MD",
            "-MMD -MP -MT some/target",
            "-g -S",
        ] {
            for source in [source.to_owned(), cwd.join(source).display().to_string()] {
                let words = format!("{compiler} {common} {options} {source} -o out/x.o");
                let files = project(&cwd, &words).told(About::default());
                found.extend(differs(&daemon, &files));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert_eq!(daemon.leftovers(), [""; 0]);
}
