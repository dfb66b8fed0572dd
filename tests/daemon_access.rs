//! Who may connect to our daemon, and whose turn it is: refusals, what they leave in the log, and that nobody keeps others from
//! being served.
#![allow(clippy::unwrap_used)]

mod common;

use common::fake::*;
use common::{skip, wait_for, Daemon, BOUND};
use distcc::model::wire::Version;
use socket2::{Domain, Socket, Type};
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

const GATE: &str = "gcc -fake=gate -c x.c -o x.o";

/// A connection from another address of this machine.
fn connect_from(daemon: &Daemon, ip: &str) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let from: SocketAddr = format!("{ip}:0").parse().unwrap();
    socket.bind(&from.into()).unwrap();
    let to = SocketAddr::from(([127, 0, 0, 1], daemon.port));
    socket.connect(&to.into()).unwrap();
    socket.set_read_timeout(Some(BOUND)).unwrap();
    socket.into()
}

/// Sends a small job, of this source, from an address.
fn send(daemon: &Daemon, ip: &str, words: &str) -> TcpStream {
    let mut stream = connect_from(daemon, ip);
    let request = request(Version::V1, words, "int a;\n");
    let _ = stream.write_all(&request); // It may be hung up on before.
    stream
}

#[track_caller]
fn expect_object(stream: &TcpStream) {
    let answer = reply(Version::V1, &rest_of(stream));
    assert_eq!(answer.object.unwrap(), b"OBJ");
}

fn wait_for_requests(daemon: &Daemon, count: usize) {
    wait_for("all requests to be there", BOUND, || {
        daemon.log_text().matches("the request is whole").count() == count
    });
}

#[test]
fn a_refused_peer_is_hung_up_on_and_does_not_fill_the_log() {
    let (farm, folder) = fake_farm();
    let plan = fake_daemon(&farm, &folder).allow(Some("127.0.0.2/255.255.255.255"));
    let daemon = plan.env("DISTCC_TCP_DEFER_ACCEPT", "0").start();
    for _ in 0..1000 {
        // Nothing was sent: it is not even waited for.
        assert!(rest_of(&connect_from(&daemon, "127.0.0.1")).is_empty());
    }
    expect_object(&send(&daemon, "127.0.0.2", "gcc -c x.c -o x.o"));
    let log = daemon.log_text();
    assert_eq!(log.matches("may not connect").count(), 5, "{log}");
}

#[test]
fn connections_without_a_request_do_not_fill_the_log() {
    let (farm, folder) = fake_farm();
    let plan = fake_daemon(&farm, &folder).allow(Some("127.0.0.0/8"));
    let daemon = plan.start();
    let scan = |ip: &str, bytes: &[u8]| {
        let mut stream = connect_from(&daemon, ip);
        stream.write_all(bytes).unwrap();
        let _ = stream.shutdown(Shutdown::Write); // It may be hung up on already.
        assert!(rest_of(&stream).is_empty());
    };
    let lines = |ip: &str| {
        let log = daemon.log_text();
        let lines = log.lines().filter(|line| line.contains("no request that"));
        lines.filter(|line| line.contains(ip)).count()
    };
    let scans: [(&str, &[u8]); 2] = [
        ("127.0.0.3", b"GET / HTTP/1.0\r\n\r\n"),
        ("127.0.0.4", b"DIST00000001ARGC0000"),
    ];
    for (ip, bytes) in scans {
        for _ in 0..100 {
            scan(ip, bytes);
        }
        wait_for("the first lines", BOUND, || lines(ip) == 20);
    }
    // The scans of one take nothing from another, and an honest job makes good for all.
    expect_object(&send(&daemon, "127.0.0.2", "gcc -c x.c -o x.o"));
    for (ip, bytes) in scans {
        assert_eq!(lines(ip), 20);
        expect_object(&send(&daemon, ip, "gcc -c x.c -o x.o"));
        scan(ip, bytes);
        wait_for("one more line", BOUND, || lines(ip) == 21);
    }
}

#[test]
fn peers_take_turns() {
    let (farm, folder) = fake_farm();
    let plan = fake_daemon(&farm, &folder).allow(Some("127.0.0.1, 127.0.0.2"));
    let daemon = plan.jobs(1).options(&["--log-level", "debug"]).start();
    let first = send(&daemon, "127.0.0.1", GATE);
    noted(&folder);
    let many: Vec<TcpStream> = (0..60)
        .map(|number| send(&daemon, "127.0.0.1", &format!("gcc -c m{number}.c -o x.o")))
        .collect();
    wait_for_requests(&daemon, 61);
    let few: Vec<TcpStream> = (0..5)
        .map(|number| send(&daemon, "127.0.0.2", &format!("gcc -c f{number}.c -o x.o")))
        .collect();
    wait_for_requests(&daemon, 66);
    fs::write(folder.join("gate"), "").unwrap();
    for stream in [first].iter().chain(&many).chain(&few) {
        expect_object(stream);
    }
    wait_for("all lines of jobs", BOUND, || daemon.jobs().len() == 66);
    let jobs = daemon.jobs();
    let sources: Vec<&str> = jobs
        .iter()
        .filter_map(|job| job.line.rsplit(' ').next())
        .collect();
    let done = sources.iter().position(|name| *name == "f4.c").unwrap();
    assert_eq!(done, 10, "{sources:?}");
    // Of one peer who came first is served first.
    let many: Vec<&str> = sources
        .iter()
        .copied()
        .filter(|name| name.starts_with('m'))
        .collect();
    let expected: Vec<String> = (0..60).map(|number| format!("m{number}.c")).collect();
    assert_eq!(many, expected);
}

#[test]
fn one_peer_can_not_have_all_connections() {
    let (farm, folder) = fake_farm();
    let plan = fake_daemon(&farm, &folder).allow(Some("127.0.0.0/8"));
    // 256 files are those of 184 connections beside one job.
    let daemon = plan
        .within(&["prlimit", "--nofile=256:256"])
        .env("DISTCC_TCP_DEFER_ACCEPT", "0")
        .jobs(1)
        .start();
    let mut idle: Vec<TcpStream> = (0..92)
        .map(|_| connect_from(&daemon, "127.0.0.1"))
        .collect();
    for _ in 0..20 {
        assert!(rest_of(&connect_from(&daemon, "127.0.0.1")).is_empty());
    }
    expect_line(&daemon, &["127.0.0.1:", "half of all connections"]);
    expect_object(&send(&daemon, "127.0.0.2", "gcc -c x.c -o x.o"));
    drop(idle.pop());
    wait_for("room for one more", BOUND, || {
        let mut stream = send(&daemon, "127.0.0.1", "gcc -c x.c -o x.o");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).is_ok() && !answer.is_empty()
    });
}

#[test]
fn a_client_that_went_while_it_waited_costs_no_compile() {
    let (farm, folder) = fake_farm();
    let daemon = fake_daemon(&farm, &folder)
        .jobs(1)
        .options(&["--log-level", "debug"])
        .start();
    let first = send(&daemon, "127.0.0.1", GATE);
    noted(&folder);
    drop(send(&daemon, "127.0.0.1", "gcc -fake=look -c x.c -o x.o"));
    wait_for_requests(&daemon, 2);
    fs::write(folder.join("gate"), "").unwrap();
    expect_object(&first);
    expect_line(&daemon, &["hung up while its job waited"]);
    expect_ok(&daemon);
    assert!(!folder.join("seen").exists());
}

#[test]
fn without_memory_jobs_run_one_at_a_time() {
    let (farm, folder) = fake_farm();
    // No machine has that much.
    let daemon = fake_daemon(&farm, &folder)
        .options(&["--memory-floor", "1000000000", "--oom-score-adj", "900"])
        .start();
    let score = format!("/proc/{}/oom_score_adj", daemon.pid());
    assert_eq!(fs::read_to_string(score).unwrap(), "900\n");
    let jobs: Vec<TcpStream> = (0..4).map(|_| send(&daemon, "127.0.0.1", GATE)).collect();
    expect_line(
        &daemon,
        &["jobs wait, and run one at a time", "--memory-floor"],
    );
    noted(&folder);
    assert_eq!(daemon.children().len(), 1);
    fs::write(folder.join("gate"), "").unwrap();
    for job in &jobs {
        expect_object(job);
    }
    let log = daemon.log_text();
    assert_eq!(log.matches("jobs wait").count(), 1, "{log}");
}

#[test]
fn ipv6_peers_are_told_apart_from_others() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        skip("daemon_access", "this machine has no IPv6");
        return;
    }
    let (farm, folder) = fake_farm();
    let port = common::free_port();
    let listen = format!("[::1]:{port}");
    let plan = fake_daemon(&farm, &folder).options(&["--listen", &listen]);
    let daemon = plan.start();
    let six = TcpStream::connect(("::1", port)).unwrap();
    six.set_read_timeout(Some(BOUND)).unwrap();
    (&six).write_all(b"x").unwrap();
    assert!(rest_of(&six).is_empty());
    expect_line(&daemon, &["[::1]:", "may not connect"]);
    expect_ok(&daemon);
}
