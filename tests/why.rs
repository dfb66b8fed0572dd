//! `distcc why`: that it says what a compile would then do, and neither compiles nor asks a host.
#![allow(clippy::unwrap_used)]

mod common;

use common::pump::{failed_reply, files, Does, FakeHost, FakeIncludeServer};
use common::{free_port, have, Farm, Ran, Went, Which, OURS};
use distcc::model::direct::Covered;
use distcc::model::wire::Remark;
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
        &[
            "x.c is compiled here: native means this machine's processor: ",
            "-mcpu=native  keeps it here: native means",
        ],
    ),
    (
        "gcc -g3 -O2 -c x.c",
        &[
            "-g3  keeps it here: records where each macro came from",
            "-O2  sent",
        ],
    ),
    (
        "gcc -flto -O2 -c x.c",
        &["-flto  keeps it here: leaves optimisation"],
    ),
    (
        "clang -g -gdwarf-4 -grecord-gcc-switches -c x.c",
        &["-grecord-gcc-switches  keeps it here: has clang put all its options"],
    ),
    (
        "clang -O2 -frecord-gcc-switches -c x.c",
        &["-frecord-gcc-switches  keeps it here: records the command"],
    ),
    // The word is not named in the reason, but without it there would be none.
    (
        "clang -g -O2 -c x.c",
        &["-g     keeps it here: clang's DWARF 5 holds", "-O2    sent"],
    ),
    (
        "clang -O2 -Rpass=inline -c x.c",
        &["-Rpass=inline  keeps it here: remarks show columns"],
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

/// What a word does depends on where the command goes.
#[test]
fn words_agree_with_the_verdict_in_pump_mode() {
    if !have("why", &["gcc", "clang"]) {
        return;
    }
    let farm = farm();
    let client = farm.client(Which::Ours, "127.0.0.1:1,cpp,lzo");
    let below = |command: &str| {
        let words = [OURS, "pump", OURS, "why"].into_iter();
        client.run_other(&words.chain(command.split(' ')).collect::<Vec<_>>())
    };
    for (command, status, line) in [
        (
            "gcc -g3 -c x.c",
            0,
            "-g3  sent, in pump mode only: records where",
        ),
        (
            "gcc -flto -c x.c",
            0,
            "-flto  sent in pump mode only, to a distccd of this version",
        ),
        (
            "clang -g -c x.c",
            0,
            "-g     sent, in pump mode only: clang's DWARF 5",
        ),
        (
            "clang -O2 -frecord-gcc-switches -c x.c",
            1,
            "-frecord-gcc-switches  keeps it here: ",
        ),
        (
            "clang -g -gdwarf-4 -grecord-gcc-switches -c x.c",
            1,
            "-grecord-gcc-switches  keeps it here: has clang put",
        ),
    ] {
        let said = below(command);
        assert_eq!(said.status, status, "{said}");
        assert!(said.stdout.contains(line), "{line} is missing: {said}");
    }
    farm.expect_clean("explanations below pump");
}

/// What a host could not do of late it would not be sent again.
#[test]
fn hosts_that_are_known_to_fail_take_nothing() {
    if !have("why", &["gcc"]) {
        return;
    }
    let farm = farm();
    let name = |name: &str| farm.work().join(name).display().to_string();
    let source = "#include \"h.h\"\nint f(int a) { return a * V; }\n";
    let covered = Covered {
        needs_ours: true,
        ..files(&[(&name("x.c"), source), ("/.distcc/about", "s\0")])
    };
    let refused = |remark| failed_reply(113, "distccd[7] ERROR: job refused: no\n", Some(remark));
    for (first, then, command, status, line) in [
        (
            Remark::NotHere,
            Remark::NotHere,
            "gcc -c x.c",
            0,
            "not in pump mode: this host would not give",
        ),
        (
            Remark::NotHere,
            Remark::NotHere,
            "gcc -flto -c x.c",
            1,
            "can't take it: not in pump mode",
        ),
        (
            Remark::OtherSystem,
            Remark::NotHere,
            "gcc -c x.c",
            0,
            "not in pump mode: ",
        ),
        (
            Remark::OtherSystem,
            Remark::NotHere,
            "gcc -flto -c x.c",
            1,
            "can't take it: not in pump mode: ",
        ),
        (
            Remark::NoSides,
            Remark::NoSides,
            "gcc -fstack-usage -c x.c",
            1,
            "can't take it: ",
        ),
    ] {
        let server = FakeIncludeServer::naming(&farm, covered.clone());
        let host = FakeHost::start(move |_, number| {
            let reply = if number == 0 {
                refused(first)
            } else {
                refused(then)
            };
            let (mut bytes, body) = reply.encode().unwrap();
            bytes.extend_from_slice(&body);
            Does::Sends(bytes)
        });
        let client = server
            .client(&farm, &host.pump_host())
            .env("DISTCC_BACKOFF_PERIOD", "0");
        let said = why(&client, command);
        assert!(
            said.status == 0 && said.stdout.contains("in pump mode\n"),
            "{said}"
        );
        client.run(&command.split(' ').collect::<Vec<_>>());
        let said = why(&client, command);
        assert_eq!(said.status, status, "{first:?}: {said}");
        assert!(said.stdout.contains(line), "{first:?}: {line}: {said}");
        std::fs::remove_dir_all(farm.path("top")).unwrap();
        std::fs::create_dir(farm.path("top")).unwrap();
    }
}

#[test]
fn programs_are_told_in_json() {
    if !have("why", &["gcc"]) {
        return;
    }
    let farm = farm();
    let client = farm
        .client(Which::Ours, "there other/3,down")
        .env("CPATH", "d");
    let ask = |command: &str, status| {
        let words: Vec<&str> = ["why", "--json"]
            .into_iter()
            .chain(command.split(' '))
            .collect();
        let ran = client.run(&words).expect(status);
        assert_eq!(ran.stdout.lines().count(), 1, "{ran}");
        serde_json::from_str::<serde_json::Value>(&ran.stdout).unwrap()
    };
    let told = ask("gcc -O2 -I d -c x.c", 0);
    let mut keys: Vec<_> = told.as_object().unwrap().keys().cloned().collect();
    keys.sort();
    let all = [
        "hosts",
        "hosts_from",
        "pump",
        "remote",
        "text",
        "variables",
        "verdict",
        "words",
    ];
    assert_eq!(keys, all);
    assert_eq!(
        told["verdict"],
        "x.c can be compiled on another machine: there."
    );
    assert_eq!(told["remote"], true);
    let pairs = [
        (&told["words"][1]["words"], serde_json::json!(["-O2"])),
        (&told["words"][1]["effect"], "code".into()),
        (&told["words"][2]["words"], serde_json::json!(["-I", "d"])),
        (&told["words"][2]["effect"], "headers".into()),
        (&told["text"]["why_not"], serde_json::Value::Null),
        (&told["text"]["here"][1], "-E".into()),
        (
            &told["pump"]["why_not"],
            "no host of the list has ,cpp".into(),
        ),
        (&told["hosts_from"], "$DISTCC_HOSTS".into()),
        (&told["hosts"][0]["host"], "there".into()),
        (&told["hosts"][0]["takes"], true.into()),
        (&told["hosts"][1]["takes"], false.into()),
        (&told["variables"][0]["name"], "CPATH".into()),
    ];
    for (found, expected) in pairs {
        assert_eq!(*found, expected, "{told}");
    }
    let told = ask("gcc -flto -c x.c", 1);
    assert_eq!(
        (&told["words"][0]["effect"], &told["remote"]),
        (&"keeps".into(), &false.into())
    );
    let told = ask("gcc x.c -o x", 1);
    assert!(told["text"].is_null() && told["pump"].is_null(), "{told}");
    client.run(&["why", "--json"]).expect(101);
}

#[test]
fn links_and_odd_usage() {
    let farm = farm();
    let client = farm.client(Which::Ours, "there");
    let help = client.run(&["why", "--help"]).expect(0);
    assert!(help.stdout.starts_with("Usage: distcc why "), "{help}");
    let ran = client.run(&["why"]).expect(101);
    assert!(ran.stderr.contains("missing operand"), "{ran}");
    let ran = client.run(&["why", "/usr/bin/make", "-j4"]).expect(101);
    assert!(ran.stderr.contains("distcc try make -j4"), "{ran}");
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
    // Named by its path, too, whether its folder is on PATH or not.
    let link = links.join("gcc").display().to_string();
    for path in [
        format!("{}:/usr/bin:/bin", links.display()),
        "/usr/bin:/bin".into(),
    ] {
        let client = client.clone().env("PATH", path);
        let said = why(&client, &format!("{link} -O2 -c x.c")).expect(0);
        assert_eq!(said.stdout, why(&client, "gcc -O2 -c x.c").stdout, "{said}");
    }
    farm.expect_clean("explanations through a link");
}
