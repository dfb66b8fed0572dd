//! Peers of the daemon that hold on, drip, scan and send what others have recorded: they cost next to nothing, and the next
//! honest job is served.
#![allow(clippy::unwrap_used)]

mod common;

use common::fake::*;
use common::{reset_when_closed, wait_for, Daemon, BOUND};
use distcc::model::wire::Version;
use distcc::os::daemonize::raise_descriptor_limit;
use std::fs;
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::path::Path;

/// A number of the daemon's from the system's account of it.
fn status(daemon: &Daemon, name: &str) -> usize {
    let text = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.unwrap().trim_matches([':', '\t', ' ']);
    number.split(' ').next().unwrap().parse().unwrap()
}

fn descriptors(daemon: &Daemon) -> usize {
    fs::read_dir(format!("/proc/{}/fd", daemon.pid())).map_or(0, Iterator::count)
}

#[test]
fn two_thousand_idle_connections_cost_next_to_nothing() {
    let many = 2000;
    if raise_descriptor_limit() < 2 * many + 500 {
        common::skip("hostile_peers", "not enough descriptors are allowed");
        return;
    }
    let (farm, folder) = fake_farm();
    let mut daemon = fake_daemon(&farm, &folder).jobs(2).start();
    expect_ok(&daemon);
    let (threads, memory, open) = (
        status(&daemon, "Threads"),
        status(&daemon, "VmRSS"),
        descriptors(&daemon),
    );
    let whole = request(Version::V1, "gcc -c x.c -o x.o", "int a;\n");
    let idle: Vec<TcpStream> = (0..many)
        .map(|number| {
            let mut stream = connect(&daemon);
            stream.write_all(&whole[..number % whole.len()]).unwrap();
            stream
        })
        .collect();
    expect_ok(&daemon);
    wait_for("most are taken", BOUND, || descriptors(&daemon) > many / 2);
    expect_ok(&daemon);
    assert_eq!(status(&daemon, "Threads"), threads);
    let more = status(&daemon, "VmRSS").saturating_sub(memory);
    assert!(more < 64 << 10, "{more} KB for {many} idle peers");
    drop(idle);
    wait_for("all are closed", BOUND, || descriptors(&daemon) <= open);
    expect_ok(&daemon);
    assert!(daemon.alive());
}

/// Each sends a byte when all others have.
#[test]
fn dripping_requests_hold_no_slot() {
    let (farm, folder) = fake_farm();
    let mut daemon = fake_daemon(&farm, &folder).jobs(1).start();
    let whole = request(Version::V1, "gcc -c x.c -o x.o", "int a;\n");
    let mut slow: Vec<TcpStream> = (0..100).map(|_| connect(&daemon)).collect();
    for (at, byte) in whole.iter().enumerate() {
        for stream in &mut slow {
            stream.write_all(&[*byte]).unwrap();
        }
        if at % 40 == 0 {
            expect_ok(&daemon);
        }
    }
    for stream in &slow {
        assert_eq!(reply(Version::V1, &rest_of(stream)).object.unwrap(), b"OBJ");
    }
    assert_eq!(daemon.leftovers(), [""; 0]);
    assert!(daemon.alive());
}

#[test]
fn a_port_scan_leaves_nothing_open() {
    let (farm, folder) = fake_farm();
    let mut daemon = fake_daemon(&farm, &folder).start();
    expect_ok(&daemon);
    let open = descriptors(&daemon);
    for number in 0..600 {
        let stream = connect(&daemon);
        match number % 3 {
            0 => reset_when_closed(&stream),
            1 => stream.shutdown(Shutdown::Write).unwrap(),
            _ => {}
        }
    }
    expect_ok(&daemon);
    wait_for("all are closed", BOUND, || descriptors(&daemon) <= open);
    assert_eq!(daemon.leftovers(), [""; 0]);
    assert!(daemon.alive());
}

/// Whatever stock's peers have been recorded with, whole and cut.
#[test]
fn recorded_requests_in_any_state_are_survived() {
    let (farm, folder) = fake_farm();
    let mut daemon = fake_daemon(&farm, &folder).start();
    let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures");
    let mut asked = 0;
    for entry in fs::read_dir(captures).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        // Some of these words make the fake compiler last.
        if !name.ends_with(".req.bin") || name.starts_with("fail-") {
            continue;
        }
        let bytes = fs::read(entry.path()).unwrap();
        for end in [bytes.len(), bytes.len() / 2, bytes.len().saturating_sub(1)] {
            let mut stream = connect(&daemon);
            let _ = stream.write_all(&bytes[..end]);
            let _ = stream.shutdown(Shutdown::Write);
            let _ = rest_of(&stream);
            asked += 1;
        }
    }
    assert!(asked > 100, "{asked}");
    expect_ok(&daemon);
    assert_eq!(daemon.leftovers(), [""; 0]);
    assert!(daemon.alive());
}
