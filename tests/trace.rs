//! The trace of a build: what clients add to it in each mode, and that no trouble with the file disturbs a compile.
#![allow(clippy::unwrap_used)]

mod common;

use common::{have, Client, Farm, Which};
use distcc::model::trace::{Activity, Entry, Mode};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn farm() -> (Farm, PathBuf) {
    let farm = Farm::new();
    farm.write("x.c", "int f(int a) { return a * 3; }\n");
    farm.write("bad.c", "int f(int a) { return b; }\n");
    let trace = farm.path("trace");
    (farm, trace)
}

fn entries(trace: &Path) -> Vec<Entry> {
    let bytes = fs::read(trace).unwrap_or_default();
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    lines.map(|line| Entry::parse(line).unwrap()).collect()
}

/// What one run adds.
fn traced(client: Client, trace: &Path, command: &str, status: i32) -> Entry {
    let before = entries(trace).len();
    let words: Vec<&str> = command.split(' ').collect();
    client.env("DISTCC_TRACE", trace).run(&words).expect(status);
    let mut all = entries(trace);
    assert_eq!(all.len(), before + 1, "{all:?}");
    all.pop().unwrap()
}

fn did(entry: &Entry) -> Vec<Activity> {
    entry.phases.iter().map(|(what, _)| *what).collect()
}

#[test]
fn a_job_that_is_sent() {
    if !have("trace", &["gcc"]) {
        return;
    }
    let (farm, trace) = farm();
    let daemon = farm.daemon(Which::Ours).start();
    let host = format!("{}/3,lzo", daemon.host());
    let client = farm.client(Which::Ours, &host);
    let entry = traced(client, &trace, "gcc -c x.c -o x.o", 0);
    use Activity::*;
    assert_eq!(
        did(&entry),
        [Start, Wait, WaitHere, Preprocess, Connect, Preprocess, Send, Compile, Receive, Write]
    );
    assert_eq!((entry.mode, entry.status), (Mode::Plain, 0));
    assert_eq!((entry.host.as_str(), entry.slot), (host.as_str(), Some(0)));
    assert_eq!(entry.src.as_deref(), Some("x.c"));
    assert_eq!(entry.out.as_deref(), Some("x.o"));
    assert_eq!(entry.why, None);
    assert!(entry.sent > 50 && entry.received > 500, "{entry:?}");
    let held: Vec<(&str, u32)> = entry.held.iter().map(|h| (h.0.as_str(), h.1)).collect();
    assert_eq!(held, [(host.as_str(), 0), ("localhost", 0)]);
    // The slot there is held to the end of the answer, the one here only while the preprocessor runs.
    let begin = |what| entry.spans().find(|span| span.0 == what).unwrap().1;
    assert!(entry.held[0].3 >= begin(Receive), "{entry:?}");
    assert!(entry.held[1].3 <= begin(Send), "{entry:?}");
    let sum: u64 = entry.spans().map(|(_, _, us)| us).sum();
    assert_eq!(sum, entry.us);
    assert_eq!(Path::new(&entry.dir), farm.work().canonicalize().unwrap());
}

#[test]
fn what_runs_here_says_why() {
    if !have("trace", &["gcc"]) {
        return;
    }
    let (farm, trace) = farm();
    for (hosts, command, status, why, host) in [
        (
            "localhost",
            "gcc -c x.c",
            0,
            "it was placed on localhost",
            "localhost",
        ),
        (
            "a",
            "gcc x.o -o x",
            0,
            "compiler apparently called not for compile",
            "localhost",
        ),
        ("127.0.0.1:1", "gcc -c x.c", 0, "127.0.0.1:1", "localhost"),
        ("", "gcc -c bad.c", 1, "no hosts", "localhost"),
    ] {
        if command.contains("x.o") {
            farm.write("m.c", "int main(void) { return 0; }\n");
            farm.local(&["gcc", "-c", "m.c", "-o", "x.o"]).expect(0);
        }
        let entry = traced(farm.client(Which::Ours, hosts), &trace, command, status);
        assert_eq!((entry.mode, i32::from(entry.status)), (Mode::Local, status));
        assert_eq!(entry.host, host);
        assert!(entry.slot.is_some(), "{entry:?}");
        assert_eq!(did(&entry).last(), Some(&Activity::Here), "{entry:?}");
        let found = entry.why.unwrap();
        assert!(found.contains(why), "{command}: {found}");
    }
}

#[test]
fn a_fault_of_the_source_is_tried_here_and_both_runs_are_told() {
    if !have("trace", &["gcc"]) {
        return;
    }
    let (farm, trace) = farm();
    let daemon = farm.daemon(Which::Ours).start();
    let client = farm.client(Which::Ours, &daemon.host());
    let entry = traced(client, &trace, "gcc -c bad.c", 1);
    let all = did(&entry);
    assert!(all.contains(&Activity::Compile) && all.ends_with(&[Activity::Wait, Activity::Here]));
    assert_eq!((entry.mode, entry.status), (Mode::Local, 1));
    assert!(entry.why.unwrap().contains("the remote compile"));
}

#[test]
fn trouble_with_the_file_is_one_warning() {
    if !have("trace", &["gcc", "mkfifo"]) {
        return;
    }
    let (farm, _) = farm();
    let fifo = farm.path("fifo");
    assert!(Command::new("mkfifo")
        .arg(&fifo)
        .status()
        .unwrap()
        .success());
    let places = [
        farm.path("no/such/folder/trace"),
        farm.path("work"),
        fifo,
        PathBuf::from("/dev/full"),
    ];
    for place in places {
        let run = || {
            let client = farm.client(Which::Ours, "localhost");
            let client = client.env("DISTCC_TRACE", &place).env("DISTCC_LOG", "");
            client.run(&["gcc", "-c", "x.c"]).expect(0)
        };
        let said = run().stderr;
        assert!(said.contains("DISTCC_TRACE: add to "), "{place:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert_eq!(run().stderr, "");
        fs::remove_file(farm.path("top/lock/notrace")).unwrap();
    }
}
