//! The trace of a build: what clients add to it in each mode, and that no trouble with the file disturbs a compile.
#![allow(clippy::unwrap_used)]

mod common;

use common::{have, Client, Farm, Which, BOUND, OURS};
use distcc::model::trace::{Activity, Entry, Mode};
use serde_json::{json, Value};
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

/// What the file has by now may be all that files may have here, though the object is small.
#[test]
fn a_file_as_large_as_may_be_does_not_end_the_client() {
    if !have("trace", &["gcc"]) {
        return;
    }
    let (farm, trace) = farm();
    fs::File::create(&trace).unwrap().set_len(64 << 20).unwrap();
    let client = farm.client(Which::Ours, "localhost");
    let client = client.env("DISTCC_TRACE", &trace).env("DISTCC_LOG", "");
    let distcc = env!("CARGO_BIN_EXE_distcc");
    let script = format!("ulimit -f 65536; exec {distcc} gcc -c x.c");
    let said = client.run_other(&["sh", "-c", &script]).expect(0).stderr;
    assert!(said.contains("DISTCC_TRACE: add to "), "{said}");
    assert!(farm.path("work/x.o").exists());
}

/// A build of a few files, some of them here.
fn build(farm: &Farm, trace: &Path) {
    let daemon = farm.daemon(Which::Ours).start();
    for number in 0..4 {
        let client = farm.client(Which::Ours, &daemon.host());
        let client = client.env("DISTCC_TRACE", trace);
        let object = format!("{number}.o");
        client.run(&["gcc", "-c", "x.c", "-o", &object]).expect(0);
    }
    let client = farm.client(Which::Ours, &daemon.host());
    let client = client.env("DISTCC_TRACE", trace);
    client.run(&["gcc", "-E", "x.c", "-o", "x.i"]).expect(0);
}

fn tool(farm: &Farm, words: &[&str]) -> common::Ran {
    let mut command = Command::new(OURS);
    command.arg("trace").args(words).current_dir(farm.path("."));
    common::run(&mut command, BOUND)
}

/// Properties of the format that viewers rely on.
fn check_events(path: &Path) -> Vec<Value> {
    let events: Vec<Value> = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let mut ends: std::collections::BTreeMap<(u64, u64), Vec<(u64, u64)>> = Default::default();
    for event in &events {
        let number = |name: &str| {
            event[name]
                .as_u64()
                .unwrap_or_else(|| panic!("{name}: {event}"))
        };
        let lane = (number("pid"), number("tid"));
        assert!(event["name"].is_string() && event["args"].is_object());
        match event["ph"].as_str().unwrap() {
            "M" => assert!(event["args"]["name"].is_string(), "{event}"),
            "X" => ends
                .entry(lane)
                .or_default()
                .push((number("ts"), number("dur"))),
            other => panic!("{other}: {event}"),
        }
    }
    for (lane, mut spans) in ends {
        // Of two that begin together the outer one comes first; then each lies within those that are still open.
        spans.sort_by_key(|(at, us)| (*at, std::cmp::Reverse(*us)));
        let mut open: Vec<u64> = Vec::new();
        for (at, us) in spans {
            open.retain(|end| *end > at);
            assert!(
                open.iter().all(|end| at + us <= *end),
                "{lane:?}: {at} {us} {open:?}"
            );
            open.push(at + us);
        }
    }
    events
}

#[test]
fn the_tool_draws_and_sums_up() {
    if !have("trace", &["gcc"]) {
        return;
    }
    let (farm, trace) = farm();
    build(&farm, &trace);
    let said = tool(&farm, &["trace"]).expect(0).stdout;
    for part in [
        "; 5 runs: 4 elsewhere (0 in pump mode), 1 here; 0 failed",
        "compile there",
        "slowest files",
        "-E does not make an object",
        "open trace.json in https://ui.perfetto.dev",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let events = check_events(&farm.path("trace.json"));
    let lanes = events.iter().filter(|event| event["name"] == "thread_name");
    let names: Vec<&str> = lanes
        .map(|lane| lane["args"]["name"].as_str().unwrap())
        .collect();
    // One client after another: one lane of theirs, one slot there, one here.
    assert_eq!(names, ["client 1", "slot 0", "slot 0"]);
    let compiles = events
        .iter()
        .filter(|event| event["name"] == "compile there");
    assert_eq!(compiles.count(), 4);
}

/// Below `pump`, with so many clients at once that each writes while others do: nothing is lost, and no line lies in another.
#[test]
fn many_at_once_in_pump_mode() {
    const CLIENTS: usize = 80;
    if !have("trace", &["gcc"]) {
        return;
    }
    let (farm, trace) = farm();
    farm.write("h.h", "#define THREE 3\n");
    let daemon = farm.daemon(Which::Ours).start();
    let host = format!("{}/{CLIENTS},cpp,lzo", daemon.host());
    let mut script = String::new();
    for number in 0..CLIENTS {
        let text = "#include \"h.h\"\nint f(int a) { return a * THREE; }\n";
        farm.write(&format!("f{number}.c"), text);
        script.push_str(&format!("$0 gcc -c f{number}.c & "));
    }
    script.push_str("wait");
    let client = farm.client(Which::Ours, &host).env("DISTCC_TRACE", &trace);
    client.run(&["pump", "sh", "-c", &script, OURS]).expect(0);
    let all = entries(&trace);
    let sources: std::collections::BTreeSet<_> = all.iter().map(|entry| &entry.src).collect();
    assert_eq!((all.len(), sources.len()), (CLIENTS, CLIENTS));
    use Activity::*;
    for entry in &all {
        assert_eq!((entry.mode, entry.status), (Mode::Pump, 0), "{entry:?}");
        let phases = [Start, Wait, Ask, Connect, Send, Compile, Receive, Write];
        assert_eq!(did(entry), phases, "{entry:?}");
        let sum: u64 = entry.spans().map(|(_, _, us)| us).sum();
        assert_eq!(sum, entry.us);
    }
    let said = tool(&farm, &["trace"]).expect(0).stdout;
    let runs =
        format!("{CLIENTS} runs: {CLIENTS} elsewhere ({CLIENTS} in pump mode), 0 here; 0 failed");
    assert!(said.contains(&runs), "{said}");
    let events = check_events(&farm.path("trace.json"));
    let asked = events
        .iter()
        .filter(|event| event["name"] == "include server");
    assert_eq!(asked.count(), CLIENTS);
}

/// A file that holds nothing of ours is read to its end in little memory, and nobody is sent to look at an empty picture.
#[test]
fn what_is_no_trace_has_no_run_in_it() {
    let (farm, trace) = farm();
    let long = vec![b'['; 64 << 20];
    let rows: [(&[u8], &str); 4] = [
        (b"", ""),
        (b"\0\n\xff\n\n", "passed over: 3 damaged lines\n"),
        (&long, "passed over: 1 damaged line\n"),
        (
            b"{\"at\":18446744073709551615}\n",
            "passed over: 1 damaged line\n",
        ),
    ];
    for (bytes, words) in rows {
        fs::write(&trace, bytes).unwrap();
        let limited = "ulimit -v 60000; exec $0 trace trace";
        let mut command = Command::new("sh");
        let command = command
            .args(["-c", limited, OURS])
            .current_dir(farm.path("."));
        let said = common::run(command, BOUND).expect(0).stdout;
        assert!(
            said.contains(words) && said.contains("there is no run in it"),
            "{said}"
        );
        assert!(!said.contains("perfetto"), "{said}");
    }
}

#[test]
fn damaged_lines_and_several_builds() {
    if !have("trace", &["gcc"]) {
        return;
    }
    let (farm, trace) = farm();
    build(&farm, &trace);
    let whole = fs::read(&trace).unwrap();
    let text = String::from_utf8(whole.clone()).unwrap();
    // Another build an hour later, a line that is not whole, and garbage in between.
    let later = text.replace("{\"at\":", "{\"at\":1");
    assert_ne!(later, text);
    let cut = &whole[..whole.len() / 2 - 3];
    fs::write(
        &trace,
        [later.as_bytes(), b"\x00\xff\n[]\n", &whole, cut].concat(),
    )
    .unwrap();
    let words = ["--json", "trace", "-o", "out"];
    let told: Value = serde_json::from_str(&tool(&farm, &words).expect(0).stdout).unwrap();
    assert_eq!(told["damaged"], 3, "{told}");
    let runs: Vec<&Value> = told["builds"]
        .as_array()
        .unwrap()
        .iter()
        .map(|build| &build["runs"])
        .collect();
    let in_cut = cut.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(runs, [&json!(5 + in_cut), &json!(5)]);
    assert_eq!(told["builds"][1]["elsewhere"], 4);
    let events: Vec<Value> = serde_json::from_slice(&fs::read(farm.path("out")).unwrap()).unwrap();
    assert!(events.len() > 20);
    assert!(!farm.path("trace.json").exists());
    // What can't be read or written is named.
    for (words, fault) in [
        (&["missing"][..], "read missing: "),
        (&["."], ". is no plain file"),
        (&["trace", "-o", "trace"], "that is the same file"),
        (&["trace", "-o", "no/out"], "make no/out from trace"),
    ] {
        let ran = tool(&farm, words).expect(107);
        assert!(ran.stderr.contains(fault), "{ran}");
    }
    assert_eq!(
        fs::read(&trace).unwrap().len(),
        2 * whole.len() + 5 + cut.len() + 6
    );
    tool(&farm, &[]).expect(101);
}
