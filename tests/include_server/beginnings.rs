//! Sources that begin with the same header: what was found out for one of them serves the next one, and never shows.

use crate::common::have;
use crate::server::Server;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

/// The header, what the sources hold, and what else there is.
type Case<'c> = (&'c str, [&'c str; 4], &'c [(&'c str, &'c str)]);

const PLAIN: [&str; 4] = [
    "#include \"h.h\"\n",
    "// One.\n#include \"h.h\"\n#include \"n.h\"\n",
    "#include \"h.h\"\n#if A\n#include \"a.h\"\n#else\n#include \"b.h\"\n#endif\n",
    "#include \"h.h\"\n#include \"h.h\"\n#ifdef N\n#include \"c.h\"\n#endif\n",
];

const CASES: &[Case] = &[
    ("#include \"n.h\"\n#define A N\n", PLAIN, &[]),
    (
        "#pragma once\n#include <stdio.h>\n#ifdef EOF\n#define A 1\n#endif\n",
        PLAIN,
        &[],
    ),
    ("#ifdef SET\n#include \"c.h\"\n#endif\n", PLAIN, &[]),
    // The source's own name.
    (
        "#if __has_include(\"x1.c\")\n#include \"c.h\"\n#endif\n",
        PLAIN,
        &[],
    ),
    (
        "#ifndef H\n#define H\n#include \"x1.c\"\n#endif\n",
        PLAIN,
        &[],
    ),
    (
        "#ifndef H\n#define H\n#include __BASE_FILE__\n#endif\n",
        PLAIN,
        &[],
    ),
    ("#include __FILE__ \".h\"\n", PLAIN, &[]),
    (
        "#if __INCLUDE_LEVEL__ == 1\n#include \"c.h\"\n#endif\n",
        PLAIN,
        &[],
    ),
    ("#pragma push_macro(\"N\")\n#define N 1\n", PLAIN, &[]),
    ("#pragma GCC optimize(\"O3\")\n", PLAIN, &[]),
    ("asm(\".incbin \\\"x1.c\\\"\");\n", PLAIN, &[]),
    ("asm(\".incbin \\\"x2.c\\\"\");\n", PLAIN, &[]),
    ("asm(\".incbin \\\"./x1.c\\\"\");\n", PLAIN, &[]),
    // A header that is what a source is, to the second.
    (
        "#pragma once\n#import \"t.h\"\n",
        PLAIN,
        &[("t.h", PLAIN[1])],
    ),
    (
        "#import \"t.h\"\n#import \"x3.c\"\n",
        PLAIN,
        &[("t.h", PLAIN[2])],
    ),
    // Another file that is called as the source is.
    (
        "",
        ["#include \"e/h.h\"\n"; 4],
        &[
            (
                "e/h.h",
                "#ifndef H\n#define H\n#include __BASE_FILE__\n#endif\n",
            ),
            ("e/x1.c", "#include \"../a.h\"\n"),
            ("e/x2.c", "#include \"../b.h\"\n"),
        ],
    ),
    // One that can't be followed, one that is not there, one that is none.
    ("#if\n", PLAIN, &[]),
    ("#include \"nowhere.h\"\n", PLAIN, &[]),
    (
        "int x;\n",
        [
            "#include \"h.h\"\n",
            "#include \"d/../h.h\"\n",
            "#include <h.h>\n",
            "#define A 1\n#include \"h.h\"\n",
        ],
        &[],
    ),
];

#[test]
fn sources_that_begin_likewise_are_told_apart() {
    if !have("beginnings", &["gcc"]) {
        return;
    }
    let old = SystemTime::now() - Duration::from_secs(5000);
    for (header, sources, more) in CASES {
        let server = Server::start();
        let write = |name: &str, text: &str| {
            let path = server.write(name, text);
            let file = File::options().write(true).open(path).unwrap();
            file.set_modified(old).unwrap();
        };
        write("h.h", header);
        write("n.h", "#define N 1\n");
        for (name, text) in more.iter().chain(&[("a.h", ""), ("b.h", ""), ("c.h", "")]) {
            write(name, text);
        }
        fs::create_dir_all(server.work().join("d")).unwrap();
        write("d/h.h", "#include \"../n.h\"\n");
        for (number, text) in sources.iter().enumerate() {
            write(&format!("x{number}.c"), text);
            write(&format!("d/x{number}.c"), text);
        }
        symlink("x2.c", server.work().join("link.c")).unwrap();
        fs::hard_link(server.at("x2.c"), server.at("hard.c")).unwrap();
        for options in ["", "-DSET -Id -I."] {
            let names = ["x0.c", "x1.c", "x2.c", "x3.c", "link.c", "hard.c"];
            let names = names.map(str::to_owned).into_iter();
            let below = (0..4).map(|number| format!("d/x{number}.c"));
            let absolute = (0..4).map(|number| server.at(&format!("x{number}.c")));
            for name in names.chain(below).chain(absolute) {
                let command = format!("gcc {options} -c {name}").replace("  ", " ");
                let what = format!("{header:?}, {command}");
                server.says_what_a_new_one_says(&server.query(&command), &what);
            }
        }
    }
}

#[test]
fn a_beginning_that_has_changed_is_read_again() {
    if !have("beginnings that change", &["gcc"]) {
        return;
    }
    let server = Server::start();
    for name in ["on.h", "off.h"] {
        server.write(name, "");
    }
    for round in 0..12 {
        let on = round % 2;
        server.write("h.h", "#include \"conf.h\"\n");
        server.write("conf.h", format!("#define ON {on}\n"));
        for number in 0..4 {
            let name = format!("s{round}_{number}.c");
            server.write(
                &name,
                "#include \"h.h\"\n#if ON\n#include \"on.h\"\n#else\n#include \"off.h\"\n#endif\n",
            );
            let got = server.covered(&format!("gcc -c {name}"));
            assert_eq!(got.files.contains_key(&server.at("on.h")), on == 1);
            assert_eq!(got.files.contains_key(&server.at("off.h")), on == 0);
            assert!(got.names[0].ends_with(&name), "{:?}", got.names);
            let sources = got.names.iter().filter(|name| name.ends_with(".c"));
            assert_eq!(sources.count(), 1, "{:?}", got.names);
        }
    }
}
