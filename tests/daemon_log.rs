//! What the daemon's log says of each job that was refused or failed: who, what and why; in words, and as JSON.
#![allow(clippy::unwrap_used)]

mod common;

use common::fake::*;
use common::{wait_for, Daemon, BOUND};
use distcc::model::wire::{encode_plain_request, Version};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::net::Shutdown;

/// What comes to nothing, each in its way: a name, what makes it, and what the log says of it.
type Trouble = (&'static str, fn(&Daemon), &'static [&'static str]);

const TROUBLES: &[Trouble] = &[
    (
        "a compiler that may not run",
        |daemon| drop(job(daemon, "perl -c x.c -o x.o")),
        &["perl x.c: ", "job refused: ", "not in --compilers"],
    ),
    (
        "an option that leads out",
        |daemon| drop(job(daemon, "gcc -fplugin=/x.so -c x.c -o x.o")),
        &["gcc", "job refused: gcc -fplugin=/x.so -c x.c -o x.o: "],
    ),
    (
        "a compiler that is killed because its client goes",
        |daemon| {
            let mut peer = connect(daemon);
            peer.write_all(&request(
                Version::V1,
                "gcc -fake=sleep -c x.c -o x.o",
                "int a;\n",
            ))
            .unwrap();
            wait_for("the compiler", BOUND, || {
                daemon.log_text().contains("-fake=sleep")
            });
        },
        &["gcc x.c: ", "killed, the client hung up"],
    ),
    (
        "a compiler that makes nothing",
        |daemon| drop(job(daemon, "gcc -fake=rmout -c x.c -o x.o")),
        &["gcc x.c: ", "the compiler succeeded without an output"],
    ),
    (
        "half a request",
        |daemon| {
            let mut peer = connect(daemon);
            peer.write_all(b"DIST00000001ARGC0000").unwrap();
            peer.shutdown(Shutdown::Write).unwrap();
            rest_of(&peer);
        },
        &["no request that could be served: "],
    ),
    (
        "no request",
        |daemon| drop(ask(daemon, b"GET / HTTP/1.1\r\n\r\n")),
        &["no request that could be served: "],
    ),
];

#[test]
fn whatever_comes_to_nothing_leaves_its_reason() {
    let (farm, folder) = fake_farm();
    for (name, make, said) in TROUBLES {
        let daemon = fake_daemon(&farm, &folder).start();
        make(&daemon);
        wait_for(name, BOUND, || daemon.jobs().len() == 1);
        let log = daemon.log_text();
        let peer = daemon.jobs()[0].line.clone();
        let peer = peer
            .split("client: ")
            .nth(1)
            .unwrap()
            .split(' ')
            .next()
            .unwrap();
        let parts = [&[peer][..], said].concat();
        let found = log
            .lines()
            .any(|line| line.contains("Warning: ") && parts.iter().all(|part| line.contains(part)));
        assert!(found, "{name}: no {parts:?} in {log}");
    }
}

#[test]
fn a_compiler_that_is_gone_is_said_with_its_job() {
    let (farm, folder) = fake_farm();
    let daemon = fake_daemon(&farm, &folder).start();
    fs::write(folder.join("gcc"), "#!/nowhere/at/all\n").unwrap();
    let answer = reply(Version::V1, &job(&daemon, "gcc -c x.c -o x.o"));
    assert_eq!(answer.status.exit_code(), Some(110));
    expect_line(
        &daemon,
        &["ERROR: 127.0.0.1:", ": gcc x.c: failed to exec "],
    );
}

#[test]
fn json_lines_say_the_same_whatever_is_in_them() {
    let (farm, folder) = fake_farm();
    let daemon = fake_daemon(&farm, &folder)
        .options(&["--log-format", "json"])
        .start();
    let odd = b"a\"b\\\n\x1b\xff\xe2\x80\xa8{}.c";
    let words = [&b"gcc"[..], b"-c", odd, b"-o", b"x.o"];
    ask(
        &daemon,
        &encode_plain_request(Version::V1, &words, [b"int a;\n", b""]).unwrap(),
    );
    let jobs = || -> Vec<Value> {
        let log = daemon.log_text();
        let lines = log.lines().map(|line| {
            serde_json::from_str::<Value>(line).unwrap_or_else(|err| panic!("{err}: {line}"))
        });
        lines.filter(|line| line["event"] == "job").collect()
    };
    wait_for("a job", BOUND, || jobs().len() == 1);
    job(&daemon, "perl -c x.c -o x.o");
    wait_for("another", BOUND, || jobs().len() == 2);
    let jobs = jobs();
    assert_eq!(jobs[0]["file"], *String::from_utf8_lossy(odd));
    for (name, value) in [
        ("level", "notice".into()),
        ("job", 1.into()),
        ("result", "ok".into()),
        ("compiler", "gcc".into()),
        ("exit", 0.into()),
        ("signal", 0.into()),
    ] as [(&str, Value); 6]
    {
        assert_eq!(jobs[0][name], value, "{}", jobs[0]);
    }
    for name in [
        "ms",
        "waited_ms",
        "compiled_ms",
        "received_bytes",
        "sent_bytes",
    ] {
        assert!(jobs[0][name].is_u64(), "{name}: {}", jobs[0]);
    }
    assert!(jobs[0]["time"].as_str().unwrap().ends_with('Z'));
    assert!(jobs[0].get("reason").is_none());
    let reason = jobs[1]["reason"].as_str().unwrap();
    assert!(reason.contains("not in --compilers"), "{}", jobs[1]);
    assert_eq!(jobs[1]["result"], "refused");
}
