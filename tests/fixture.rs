//! Does the fixture itself hold? Shown with stock's programs where they are installed, so that a failure elsewhere
//! is ours and not the fixture's.
#![allow(clippy::unwrap_used)]

mod common;

use common::{have, BlackHole, Direction, Ending, Farm, Peer, Went, Which};
use std::net::TcpStream;
use std::time::Duration;

const SOURCE: &str = "int f(int a) { return a + 3; }\n";

#[test]
fn stock_compiles_on_stock_and_the_log_tells() {
    if !have("fixture", &["distcc", "distccd", "gcc"]) {
        return;
    }
    let farm = Farm::new();
    farm.write("x.c", SOURCE);
    let daemon = farm.daemon(Which::Stock).start();
    let client = farm.client(Which::Stock, &daemon.host());
    let ran = client.run(&["gcc", "-c", "x.c", "-o", "r.o"]).expect(0);
    assert_eq!(ran.went(), Went::Remote, "{ran}");
    assert_eq!(ran.hosts(), [daemon.host()], "{ran}");
    common::wait_for("a line in the daemon's log", common::BOUND, || {
        daemon.compiled() == 1
    });
    farm.local(&["gcc", "-c", "x.c", "-o", "l.o"]).expect(0);
    let (local, remote) = (farm.work().join("l.o"), farm.work().join("r.o"));
    assert_eq!(common::same_file(&local, &remote), None);
    let ran = client.run(&["gcc", "-c", "x.c", "-o", "-"]);
    assert_eq!(ran.went(), Went::Local, "{ran}");
    farm.expect_clean("two compiles");
    assert_eq!(daemon.leftovers(), [""; 0]);
}

#[test]
fn peers_relay_cut_and_swallow() {
    if !have("fixture", &["distcc", "distccd", "gcc"]) {
        return;
    }
    let farm = Farm::new();
    farm.write("x.i", SOURCE);
    let daemon = farm.daemon(Which::Stock).start();
    let relay = Peer::relay(daemon.port);
    let compile = ["gcc", "-c", "x.i", "-o", "x.o"];
    let hosts = relay.host();
    let ran = farm.client(Which::Stock, &hosts).run(&compile).expect(0);
    assert_eq!(ran.went(), Went::Remote, "{ran}");
    let recorded = relay.recorded();
    assert!(recorded.request.starts_with(b"DIST00000001"));
    assert!(recorded.reply.starts_with(b"DONE00000001"));
    for direction in [Direction::Request, Direction::Reply] {
        for ending in [Ending::Close, Ending::Reset] {
            let peer = Peer::play(recorded.cut(direction, 20, ending));
            let client = farm.client(Which::Stock, &peer.host());
            let ran = client.run(&compile).expect(0);
            assert_eq!(ran.went(), Went::Local, "{ran}");
            assert_eq!(peer.connections(), 1);
        }
    }
    let hole = BlackHole::open();
    let bound = Duration::from_millis(200);
    let address = ([127, 0, 0, 1], hole.port).into();
    let err = TcpStream::connect_timeout(&address, bound).unwrap_err();
    assert_eq!(err.kind(), std::io::ErrorKind::TimedOut);
}

#[test]
fn what_is_left_behind_is_seen() {
    let farm = Farm::new();
    std::fs::write(farm.path("tmp/x"), "").unwrap();
    let client = farm.client(Which::Stock, "");
    let mut command = std::process::Command::new("/bin/sleep");
    client.dress(command.arg("60"));
    let running = common::Running::start(&mut command);
    common::wait_for("the process", common::BOUND, || farm.processes().len() == 1);
    running.signal("TERM");
    assert_eq!(running.finish(common::BOUND).status, 128 + 15);
    assert_eq!(farm.processes(), [""; 0]);
    let found = common::files_below(&farm.path("tmp"));
    assert!(found.len() == 1 && found[0].ends_with("tmp/x"), "{found:?}");
}
