//! gcc's debug information through our daemon is a local compile's, byte for byte, with the words that builds of
//! packages use; and a host that can't do that is found out once.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{have, same_file, wait_for, Farm, Went, Which, BOUND};

/// `DIR` is the working directory.
const WORDS: &[&str] = &[
    "-g",
    "-ggdb -O2",
    "-g -gdwarf-4",
    "-g -O2 -DGREETING=1 -include inc/more.h",
    "-g -ffile-prefix-map=DIR=.",
    "-g -O2 -fdebug-prefix-map=DIR=/usr/src",
    "-g -ffile-prefix-map=/=/x -fdebug-prefix-map=src=foo",
    "-g -ffile-prefix-map=DIR=. -ffile-prefix-map=DIR/src=/y",
    "-g -fmacro-prefix-map=DIR=/q",
    "-g -O2 -ffile-prefix-map=DIR=. -fstack-protector-strong -Wformat -Werror=format-security -D_FORTIFY_SOURCE=2",
];

/// What a source can be called by.
const SOURCES: &[&str] = &["src/x.c", "DIR/src/x.c", "src/../src/x.c"];

fn tree(farm: &Farm) {
    farm.write(
        "inc/more.h",
        "#pragma once\n#define TWICE(x) ((x) + (x))\nstatic inline int more(int x) { return TWICE(x); }\n",
    );
    farm.write(
        "src/x.c",
        "#include <stdio.h>\n#include \"../inc/more.h\"\n\nstruct node { struct node *next; int value; };\n\n\
         int sum(const struct node *n)\n{\n\tint s = 0;\n\tfor (; n; n = n->next) s += TWICE(n->value) + more(s);\n\
         \tprintf(\"%s %d\\n\", __FILE__, s);\n\treturn s;\n}\n",
    );
}

#[test]
fn debug_information_is_a_local_compiles() {
    if !have("debug_information_is_a_local_compiles", &["gcc"]) {
        return;
    }
    let farm = Farm::new();
    tree(&farm);
    let daemon = farm.daemon(Which::Ours).start();
    let client = farm.client(Which::Ours, &daemon.host());
    let folder = farm.work().display().to_string();
    for words in WORDS {
        for source in SOURCES {
            let command = format!("gcc {words} -c {source}").replace("DIR", &folder);
            let with_output = |output| -> Vec<String> {
                let words = command.split(' ').map(str::to_owned);
                words.chain(["-o".to_owned(), output]).collect()
            };
            farm.local(&with_output("local.o".to_owned())).expect(0);
            let ran = client.run(&with_output("remote.o".to_owned())).expect(0);
            let difference = same_file(&farm.work().join("local.o"), &farm.work().join("remote.o"));
            assert_eq!(difference, None, "{command}");
            assert_eq!(ran.went(), Went::Remote, "{command}: {}", ran.log);
        }
    }
}

#[test]
fn it_shows_the_folder_as_it_is_spelled() {
    if !have("it_shows_the_folder_as_it_is_spelled", &["gcc"]) {
        return;
    }
    let farm = Farm::new();
    tree(&farm);
    let daemon = farm.daemon(Which::Ours).start();
    let client = farm.client(Which::Ours, &daemon.host());
    for ending in ["", "/", "/.", "/src/..", "//."] {
        let pwd = format!("{}{ending}", farm.work().display());
        let client = client.clone().env("PWD", &pwd);
        let words = ["gcc", "-g", "-c", "src/x.c", "-o"];
        let local = client.run_other(&[&words[..], &["local.o"]].concat());
        local.expect(0);
        let ran = client.run(&[&words[..], &["remote.o"]].concat()).expect(0);
        let difference = same_file(&farm.work().join("local.o"), &farm.work().join("remote.o"));
        assert_eq!(difference, None, "{pwd}: {}", ran.log);
        // No odd folder is held against the host.
        assert_eq!(ran.went() == Went::Remote, ending.is_empty(), "{}", ran.log);
    }
    let after = client.run(&["gcc", "-g", "-c", "src/x.c"]).expect(0);
    assert_eq!(after.went(), Went::Remote, "{}", after.log);
}

#[test]
fn a_host_whose_objects_are_not_exact_is_found_out_once() {
    if !have(
        "a_host_whose_objects_are_not_exact_is_found_out_once",
        &["gcc", "distccd"],
    ) {
        return;
    }
    let farm = Farm::new();
    tree(&farm);
    let daemon = farm.daemon(Which::Stock).start();
    let client = farm.client(Which::Ours, &daemon.host());
    for _ in 0..3 {
        farm.local(&["gcc", "-g", "-c", "src/x.c", "-o", "local.o"])
            .expect(0);
        client
            .run(&["gcc", "-g", "-c", "src/x.c", "-o", "remote.o"])
            .expect(0);
        let difference = same_file(&farm.work().join("local.o"), &farm.work().join("remote.o"));
        assert_eq!(difference, None);
    }
    // Stock's daemon writes its line after the client has its answer.
    wait_for("the job in the log", BOUND, || daemon.compiled() >= 1);
    assert_eq!(daemon.compiled(), 1, "{}", daemon.log_text());
    client
        .run(&["gcc", "-O2", "-c", "src/x.c", "-o", "remote.o"])
        .expect(0);
    wait_for("a job without -g in the log", BOUND, || {
        daemon.compiled() == 2
    });
}
