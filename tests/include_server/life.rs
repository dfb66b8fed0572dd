//! How the include server starts and ends: told so, or left alone, and what it leaves behind.

use crate::common::{have, wait_for, BOUND, OURS};
use crate::server::{roots, Server};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

fn server(test: &str) -> Option<Server> {
    let server = have(test, &["gcc"]).then(Server::start)?;
    server.write("x.c", "");
    assert_eq!(server.put_ready("gcc -c x.c").names.len(), 1);
    Some(server)
}

const BASE: &str = "/dev/shm";

#[test]
fn it_ends_when_told_and_when_left_and_removes_all() {
    for ending in ["-TERM", "-INT", "-HUP", "left"] {
        let Some(mut server) = server("endings") else {
            return;
        };
        assert_eq!(server.roots(Path::new(BASE)).len(), 1);
        match ending {
            "left" => drop(server.child.stdin.take()),
            signal => server.signal(signal),
        }
        server.ended();
        assert!(server.roots(Path::new(BASE)).is_empty(), "{ending}");
        assert!(
            !server.socket().exists() && !server.direct().exists(),
            "{ending}"
        );
    }
}

#[test]
fn what_a_killed_one_left_goes_with_the_next_one() {
    let Some(mut killed) = server("killed") else {
        return;
    };
    let pid = killed.child.id();
    assert_eq!(roots(Path::new(BASE), pid).len(), 1);
    killed.signal("-KILL");
    killed.ended();
    // Any that starts removes it, also one of another test.
    let _next = Server::start();
    assert!(roots(Path::new(BASE), pid).is_empty());
}

/// As stock's wrapper starts it: it goes to the background, and its parent ends when it serves.
#[test]
fn stocks_wrapper_finds_it_ready() {
    if !have("background", &["gcc"]) {
        return;
    }
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let (socket, pid_file) = (dir.path().join("socket"), dir.path().join("pid"));
    fs::write(&socket, "in the way").unwrap();
    let status = Command::new(OURS)
        .arg("include_server")
        .arg("--port")
        .arg(&socket)
        .arg("--pid_file")
        .arg(&pid_file)
        .args(["-d1", "-t"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let pid = fs::read_to_string(&pid_file).unwrap();
    let pid: u32 = pid.strip_suffix('\n').unwrap().parse().unwrap();
    std::os::unix::net::UnixStream::connect(&socket).unwrap();
    let kill = Command::new("kill").arg(pid.to_string()).status();
    assert!(kill.unwrap().success());
    wait_for("its end", BOUND, || !socket.exists());
    assert!(roots(Path::new(BASE), pid).is_empty());
}

#[test]
fn why_a_file_can_not_be_named_is_said_if_each_request_is() {
    for (option, is_said) in [("-d1", false), ("-d2", true)] {
        let server = Server::start_with(&[option], &[]);
        server.write("x.c", "const char *day = __DATE__;\n");
        let why = server.not_covered("gcc -c x.c");
        let said = server.stderr();
        assert_eq!(said.contains(&why), is_said, "{option}: {said}");
    }
}

#[test]
fn wrong_words_and_places_are_refused() {
    let run = |words: &[&str], base: &str| {
        let output = Command::new(OURS)
            .arg("include_server")
            .args(words)
            .env("DISTCC_CLIENT_TMP", base)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    for words in [&[][..], &["--nonsense"], &["--port", "x", "-dx"]] {
        let (status, stdout, stderr) = run(words, "/tmp");
        assert_eq!(status, Some(1));
        assert!(stdout.starts_with("Usage: include_server"), "{stdout}");
        assert!(!stderr.is_empty());
    }
    let long = format!("/tmp/{}/socket", "x".repeat(200));
    for (port, base, word) in [
        ("/nowhere/socket", "/tmp", "/nowhere/socket"),
        (long.as_str(), "/tmp", "xxx"),
        ("/tmp/no-socket", "relative", "DISTCC_CLIENT_TMP"),
        ("/tmp/no-socket", "/a/b/c", "DISTCC_CLIENT_TMP"),
    ] {
        let (status, stdout, _) = run(
            &["--port", port, "--control-fd", "0", "--ready-fd", "1"],
            base,
        );
        assert_ne!(status, Some(0), "{port}");
        assert!(
            stdout.starts_with("error: ") && stdout.contains(word),
            "{port}: {stdout}"
        );
        assert_eq!(stdout.lines().count(), 1);
    }
}
