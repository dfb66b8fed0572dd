//! `distcc why`: that it says what a compile would then do, and neither compiles nor asks a host.
#![allow(clippy::unwrap_used)]

mod common;

use common::{free_port, have, Farm, Ran, Went, Which, OURS};
use std::net::TcpListener;

fn farm() -> Farm {
    let farm = Farm::new();
    farm.write("x.c", "#include \"h.h\"\nint f(int a) { return a * V; }\n");
    farm.write("h.h", "#define V 3\n");
    farm.write("y.s", ".globl f\n");
    farm.write("m.m", "int v;\n");
    farm
}

fn why(client: &common::Client, command: &str) -> Ran {
    let words: Vec<&str> = ["why"].into_iter().chain(command.split(' ')).collect();
    client.run(&words)
}

/// Commands with what their explanation has to hold; whether they are sent is found out by sending them.
const ROWS: &[(&str, &[&str])] = &[
    (
        "gcc -O2 -Wall -c x.c -o x.o",
        &[
            "x.c can be compiled on another machine: ",
            "-o x.o  the output",
            "as text",
            "-O2 -Wall x.c",
        ],
    ),
    (
        "gcc -I. -DX -MMD -c x.c",
        &[
            "-I.   names headers",
            "-DX   for the preprocessor",
            "-MMD  the dependency file",
            "-MQ x.o",
        ],
    ),
    ("clang -O2 -c x.c", &["-frewrite-includes"]),
    ("-c x.c", &["cc   the compiler"]),
    ("x.c -c", &["x.c  the source"]),
    ("gcc -g -c x.c", &["-fdirectives-only"]),
    (
        "gcc -save-temps -O2 -c x.c",
        &[
            "x.c is compiled here: -save-temps writes files besides the object.",
            "-save-temps  makes files beside the object: sent in pump mode only",
        ],
    ),
    (
        "gcc -Q -nonsense -c x.c",
        &[
            "-nonsense  keeps it here: is not a known option",
            "-Q         keeps it here: prints about",
        ],
    ),
    (
        "gcc -c y.s",
        &["y.s is compiled here: assembler sources are not compiled elsewhere."],
    ),
    (
        "gcc x.c -o x",
        &["This command runs here: compiler apparently called not for compile"],
    ),
    (
        "gcc -c missing.c",
        &["missing.c is compiled here: the source is not there."],
    ),
    (
        "clang -g -c x.c",
        &["x.c is compiled here: clang's DWARF 5 holds checksums"],
    ),
    (
        "clang -c m.m",
        &["is compiled here: clang puts the name of the file"],
    ),
    (
        "gcc -O2 -mcpu=native -c x.c",
        &["x.c is compiled here: native means this machine's processor: "],
    ),
];

#[test]
fn what_it_says_is_what_a_compile_does() {
    if !have("why", &["gcc", "clang"]) {
        return;
    }
    let farm = farm();
    let daemon = farm.daemon(Which::Ours).start();
    let client = farm.client(Which::Ours, &daemon.host());
    for (command, phrases) in ROWS {
        let said = why(&client, command);
        assert!(common::files_below(&farm.work())
            .iter()
            .all(|name| !name.ends_with(".o")));
        for phrase in *phrases {
            assert!(
                said.stdout.contains(phrase),
                "{phrase:?} is missing: {said}"
            );
        }
        assert_eq!(said.stderr, "", "{said}");
        let did = client.run(&command.split(' ').collect::<Vec<_>>());
        let expected = if did.went() == Went::Remote { 0 } else { 1 };
        assert_eq!(said.status, expected, "{said}{did}");
        for made in ["x.o", "x.d", "x.i", "x.s", "x", "m.o", "y.o"] {
            let _ = std::fs::remove_file(farm.work().join(made));
        }
    }
    farm.expect_clean("explanations");
}

#[test]
fn no_host_is_asked() {
    let farm = farm();
    let host = TcpListener::bind("127.0.0.1:0").unwrap();
    host.set_nonblocking(true).unwrap();
    let client = farm.client(Which::Ours, &host.local_addr().unwrap().to_string());
    let said = why(&client, "gcc -c x.c");
    assert_eq!(said.status, 0, "{said}");
    let asked = host.accept().map(|_| ());
    assert!(asked.is_err_and(|err| err.kind() == std::io::ErrorKind::WouldBlock));
    assert!(!farm.work().join("x.o").exists());
    farm.expect_clean("an explanation");
}

#[test]
fn hosts_are_shown_as_they_are_now() {
    if !have("why", &["gcc"]) {
        return;
    }
    let farm = farm();
    let dead = format!("127.0.0.1:{}", free_port());
    let hosts = format!("{dead} localhost/2 off/3,down other,cpp,lzo");
    let client = farm.client(Which::Ours, &hosts);
    let has = |said: &Ran, lines: &[&str]| {
        for line in lines {
            let line = line.replace("DEAD", &dead);
            assert!(said.stdout.contains(&line), "{line} is missing: {said}");
        }
    };
    let said = why(&client, "gcc -c x.c");
    assert_eq!(said.status, 0, "{said}");
    has(
        &said,
        &[
            "another machine: 2 hosts, DEAD first.",
            "Hosts, from $DISTCC_HOSTS:",
            "localhost/2    ",
            "not used: it is marked ,down",
            "INCLUDE_SERVER_PORT not set",
        ],
    );
    farm.client(Which::Ours, &dead)
        .run(&["gcc", "-c", "x.c"])
        .expect(0);
    let said = why(&client, "gcc -c x.c");
    has(
        &said,
        &["another machine: other,cpp,lzo.", "left alone for "],
    );
    let none = why(&client.clone().env("DISTCC_HOSTS", &dead), "gcc -c x.c");
    has(&none, &["x.c is compiled here: no host can take it now."]);
    assert_eq!(none.status, 1, "{none}");
    let odd = why(
        &client.clone().env("DISTCC_HOSTS", "a,nonsense"),
        "gcc -c x.c",
    );
    has(&odd, &["x.c is compiled here: ", "nonsense"]);
    let unset = client.clone().without("DISTCC_HOSTS");
    std::fs::write(farm.path("top/hosts"), "there").unwrap();
    let said = why(&unset, "gcc -c x.c");
    has(&said, &["another machine: there.", "top/hosts:"]);
}

#[test]
fn variables_that_matter_are_named() {
    let farm = farm();
    let client = farm.client(Which::Ours, "there");
    let with = |name: &str, value: &str| why(&client.clone().env(name, value), "gcc -c x.c");
    let said = with("GCC_EXEC_PREFIX", "/x/");
    assert_eq!(said.status, 1, "{said}");
    assert!(
        said.stdout
            .starts_with("x.c is compiled here: $GCC_EXEC_PREFIX is set"),
        "{said}"
    );
    for (name, text) in [
        ("CPATH", "in pump mode sent as options"),
        ("SOURCE_DATE_EPOCH", "told to hosts"),
        ("DISTCC_SKIP_LOCAL_RETRY", "is believed"),
    ] {
        let said = with(name, "1");
        let is_said = |line: &str| line.trim_start().starts_with(name) && line.contains(text);
        assert!(said.stdout.lines().any(is_said), "{name}: {said}");
        assert_eq!(said.status, 0, "{said}");
    }
}

#[test]
fn pump_mode_is_explained_with_the_include_servers_answer() {
    if !have("why", &["gcc"]) {
        return;
    }
    let farm = farm();
    farm.write(
        "stamp.c",
        "#if __COUNTER__ == 0\n#include \"h.h\"\n#endif\nint a;\n",
    );
    let client = farm.client(Which::Ours, "127.0.0.1:1,cpp,lzo");
    let said = client.run_other(&[OURS, "pump", OURS, "why", "gcc", "-O2", "-c", "x.c"]);
    assert_eq!(said.status, 0, "{said}");
    for text in [
        "In pump mode:\n  files        2, ",
        "127.0.0.1:1,cpp,lzo  in pump mode",
    ] {
        assert!(said.stdout.contains(text), "{text} is missing: {said}");
    }
    let said = client.run_other(&[OURS, "pump", OURS, "why", "gcc", "-O2", "-c", "stamp.c"]);
    assert_eq!(said.status, 0, "{said}");
    assert!(said.stdout.contains("In pump mode:\n  no  "), "{said}");
    assert!(
        said.stdout.contains("127.0.0.1:1,cpp,lzo  as text"),
        "{said}"
    );
    farm.expect_clean("explanations below pump");
}

#[test]
fn links_and_odd_usage() {
    let farm = farm();
    let client = farm.client(Which::Ours, "there");
    let help = client.run(&["why", "--help"]).expect(0);
    assert!(help.stdout.starts_with("Usage: distcc why "), "{help}");
    let ran = client.run(&["why"]).expect(101);
    assert!(ran.stderr.contains("missing operand"), "{ran}");
    if !have("why", &["gcc"]) {
        return;
    }
    // Behind a link that is distcc itself the compiler is meant, also where it is asked.
    let links = farm.masquerade(Which::Ours, &["gcc"]);
    let path = format!("{}:/usr/bin:/bin", links.display());
    let said = why(
        &client.clone().env("PATH", path),
        "gcc -O2 -march=x86-64 -mtune=native -c x.c",
    );
    if cfg!(target_arch = "x86_64") {
        assert_eq!(said.status, 0, "{said}");
        assert!(
            said.stdout
                .contains("this machine's processor: sent as what it means here"),
            "{said}"
        );
    }
    farm.expect_clean("explanations through a link");
}
