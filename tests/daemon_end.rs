//! How our daemon ends: after the jobs that run, at once, in bounded time; what it leaves to clients and to a next daemon.
#![allow(clippy::unwrap_used)]

mod common;

use common::fake::*;
use common::{wait_for, Daemon, BOUND};
use distcc::model::wire::Version;
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;

const GATE: &str = "gcc -fake=gate -c x.c -o x.o";

/// Sends a job on a connection of its own.
fn begin(daemon: &Daemon, words: &str) -> TcpStream {
    let mut stream = connect(daemon);
    let request = request(Version::V1, words, "int a;\n");
    stream.write_all(&request).unwrap();
    stream
}

/// A daemon with a single slot, and a job that runs in it until the gate opens.
fn with_a_job_behind_the_gate(daemon: &Daemon, folder: &Path) -> (TcpStream, Vec<String>) {
    let _ = fs::remove_file(folder.join("pids"));
    let stream = begin(daemon, GATE);
    (stream, noted(folder))
}

#[test]
fn term_lets_the_jobs_end_that_run() {
    let (farm, folder) = fake_farm();
    let plan = fake_daemon(&farm, &folder).jobs(1);
    let mut daemon = plan
        .options(&["--pid-file=pid", "--log-level=debug"])
        .start();
    let pid_file = daemon.tmp.join("pid");
    let text = fs::read_to_string(&pid_file).unwrap();
    assert_eq!(text, format!("{}\n", daemon.pid()));
    let (running, _) = with_a_job_behind_the_gate(&daemon, &folder);
    let waiting = begin(&daemon, "gcc -c y.c -o y.o");
    let wholes = |daemon: &Daemon| daemon.log_text().matches("the request is whole").count();
    wait_for("both requests", BOUND, || wholes(&daemon) == 2);
    let mut half = connect(&daemon);
    half.write_all(b"DIST00000001ARGC").unwrap();
    daemon.signal("TERM");
    // Who only waits need not wait any longer: his job is done elsewhere.
    assert!(rest_of(&waiting).is_empty());
    assert!(rest_of(&half).is_empty());
    expect_line(&daemon, &["SIGTERM: no new jobs", "25s"]);
    wait_for("the port to be free", BOUND, || {
        TcpStream::connect(("127.0.0.1", daemon.port)).is_err()
    });
    assert!(daemon.alive());
    // A next daemon may take its place meanwhile.
    assert!(!pid_file.exists());
    fs::write(folder.join("gate"), "").unwrap();
    let answer = reply(Version::V1, &rest_of(&running));
    assert_eq!(answer.object.unwrap(), b"OBJ");
    wait_for("the daemon's end", BOUND, || !daemon.alive());
    assert_eq!(daemon.ended_by(), Some(15));
    expect_line(&daemon, &["ended by SIGTERM"]);
    assert_eq!(daemon.leftovers(), [""; 0]);
}

#[test]
fn an_answer_that_is_slowly_taken_is_sent_to_its_end() {
    let (farm, folder) = fake_farm();
    let mut daemon = fake_daemon(&farm, &folder).start();
    let stream = begin(&daemon, "gcc -fake=huge -c x.c -o x.o");
    // More than fits into the socket: it is sent while it is read.
    wait_for("its answer to begin", BOUND, || {
        stream.peek(&mut [0]).is_ok_and(|count| count == 1)
    });
    daemon.signal("TERM");
    expect_line(&daemon, &["SIGTERM: no new jobs"]);
    let answer = reply(Version::V1, &rest_of(&stream));
    assert_eq!(answer.object.unwrap().len(), 60_000_000);
    wait_for("the daemon's end", BOUND, || !daemon.alive());
    assert_eq!(daemon.ended_by(), Some(15));
}

#[test]
fn other_signals_and_a_second_term_end_jobs_at_once() {
    let (farm, folder) = fake_farm();
    for (signals, status) in [(&["TERM", "TERM"][..], 15), (&["INT"], 2), (&["QUIT"], 3)] {
        let _ = fs::remove_file(folder.join("pids"));
        let plan = fake_daemon(&farm, &folder);
        let mut daemon = plan.options(&["--pid-file=pid", "--drain=3600"]).start();
        let stream = begin(&daemon, "gcc -fake=sleep -c x.c -o x.o");
        let pids = noted(&folder);
        for (index, name) in signals.iter().enumerate() {
            daemon.signal(name);
            if index + 1 < signals.len() {
                expect_line(&daemon, &["no new jobs"]);
            }
        }
        wait_for("the daemon's end", BOUND, || !daemon.alive());
        assert_eq!(daemon.ended_by(), Some(status), "{signals:?}");
        expect_gone(&pids);
        assert_eq!(daemon.leftovers(), [""; 0]);
        assert!(rest_of(&stream).is_empty());
    }
}

#[test]
fn jobs_that_take_too_long_do_not_keep_it() {
    let (farm, folder) = fake_farm();
    for options in [
        &["--drain=0"][..],
        &["--drain=1"],
        &["--lifetime=1", "--drain=0"],
    ] {
        let _ = fs::remove_file(folder.join("pids"));
        let mut daemon = fake_daemon(&farm, &folder).options(options).start();
        let stream = begin(&daemon, "gcc -fake=stubborn -c x.c -o x.o");
        let by_itself = options.len() > 1;
        if !by_itself {
            let pids = noted(&folder);
            daemon.signal("TERM");
            expect_gone(&pids);
        }
        wait_for("the daemon's end", BOUND, || !daemon.alive());
        assert_eq!(daemon.ended_by(), Some(if by_itself { 14 } else { 15 }));
        assert_eq!(daemon.leftovers(), [""; 0]);
        assert!(rest_of(&stream).is_empty());
    }
}
