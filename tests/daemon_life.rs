//! Our daemon as a process: the ways to start and to end it, what it refuses to start with, and what compilers see of it.
#![allow(clippy::unwrap_used)]

mod common;

use common::fake::*;
use common::{wait_for, BOUND};
use distcc::model::wire::Version;
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

#[test]
fn only_who_is_allowed_may_connect() {
    let (farm, folder) = fake_farm();
    let daemon = fake_daemon(&farm, &folder).start();
    expect_ok(&daemon);
    drop(daemon);
    let gcc = folder.join("gcc").display().to_string();
    // The fixture's own --allow comes first; inetd mode shows the list alone.
    let (ours, theirs) = connected_pair();
    let mut command = daemon_command(&[
        "--inetd",
        "--allow",
        "10.0.0.0/8",
        "--log-stderr",
        "--compilers",
        &gcc,
    ]);
    let child = command
        .stdin(OwnedFd::from(theirs.try_clone().unwrap()))
        .stdout(OwnedFd::from(theirs))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(command);
    assert!(rest_of(&ours).is_empty());
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(113));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("may not connect"));
}

fn connected_pair() -> (TcpStream, TcpStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    ours.set_read_timeout(Some(BOUND)).unwrap();
    (ours, listener.accept().unwrap().0)
}

fn daemon_command(options: &[&str]) -> Command {
    let mut command = Command::new(common::OURS);
    command
        .args(["distccd", "--config", "none"])
        .args(options)
        .env_clear()
        .env("PATH", "/usr/bin:/bin");
    command
}

#[test]
fn inetd_and_ssh_get_one_job() {
    let (_farm, folder) = fake_farm();
    let gcc = folder.join("gcc").display().to_string();
    let whole = request(Version::V2, "gcc -fake=stdout -c x.c -o x.o", "int a;\n");
    // A socket, recognised without --inetd.
    let (mut ours, theirs) = connected_pair();
    let mut command = daemon_command(&["--compilers", &gcc, "--log-file", "/dev/null"]);
    let mut child = command
        .stdin(OwnedFd::from(theirs.try_clone().unwrap()))
        .stdout(OwnedFd::from(theirs))
        .spawn()
        .unwrap();
    drop(command);
    ours.write_all(&whole).unwrap();
    let answer = reply(Version::V2, &rest_of(&ours));
    assert_eq!(
        (answer.status.0, answer.object.unwrap()),
        (0, b"OBJ".to_vec())
    );
    assert_eq!(child.wait().unwrap().code(), Some(0));
    // Pipes, as from sshd.
    let mut child = daemon_command(&["--inetd", "--enable-tcp-insecure", "--log-stderr"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .env(
            "DISTCCD_PATH",
            format!("{}:/usr/bin:/bin", folder.display()),
        )
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&whole).unwrap();
    let ended = child.wait_with_output().unwrap();
    drop(stdin);
    let answer = reply(Version::V2, &ended.stdout);
    assert_eq!(answer.stderr, b"and stderr\n");
    assert_eq!(ended.status.code(), Some(0));
    let log = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(
        log.contains("client: NOTSOCKET COMPILE_OK exit:0 sig:0 core:0 ret:0 time:"),
        "{log}"
    );
    assert!(log.trim_end().ends_with("ms gcc x.c"), "{log}");
}

#[test]
fn a_compiler_sees_nothing_that_is_not_its_job() {
    let (farm, folder) = fake_farm();
    // Only where all is shown there is a /proc to look into.
    for sandbox in ["auto", "off"] {
        let daemon = fake_daemon(&farm, &folder)
            .options(&["--sandbox", sandbox])
            .env("CPATH", "/nowhere")
            .env("SECRET", "x")
            .start();
        reply(Version::V1, &job(&daemon, "gcc -fake=look -c x.c -o x.o"));
        let seen = fs::read_to_string(folder.join("seen")).unwrap();
        let tmp = daemon.tmp.canonicalize().unwrap();
        let root = format!("{}/distccd_", tmp.display());
        assert!(seen.starts_with(&root), "{seen}");
        assert!(seen.contains(&format!("\nTMPDIR={root}")), "{seen}");
        assert!(seen.contains("\n_DISTCC_SAFEGUARD=1"), "{seen}");
        let is_unblocked = seen.contains("SigBlk:\t0000000000000000");
        assert_eq!(is_unblocked, sandbox == "off", "{seen}");
        for hidden in ["CPATH", "SECRET", "socket:", "/log", "\nopen "] {
            assert!(!seen.contains(hidden), "{hidden}: {seen}");
        }
        reply(
            Version::V1,
            &job(&daemon, "gcc -fake=mess -c d/x.c -o d/x.o"),
        );
        assert_eq!(daemon.leftovers(), [""; 0]);
    }
}

#[test]
fn a_full_disk_ends_the_job_and_nothing_else() {
    let (farm, folder) = fake_farm();
    let mut words = match common::is_root() {
        true => vec![
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
        ],
        false => Vec::new(),
    };
    words.extend("unshare --user --map-current-user --keep-caps --mount sh -c".split(' '));
    words.push("mount -t tmpfs -o size=64k none \"$TMPDIR\" && exec \"$0\" \"$@\"");
    // Views keep the source in memory.
    let plan = fake_daemon(&farm, &folder).within(&words);
    let daemon = plan.options(&["--sandbox=off"]).start();
    for _ in 0..3 {
        let large = request(Version::V1, "gcc -c x.c -o x.o", &" ".repeat(1 << 20));
        assert!(ask(&daemon, &large).is_empty());
        expect_line(&daemon, &["write the source: No space left"]);
        expect_ok(&daemon);
    }
}

#[test]
fn without_files_it_lives_and_recovers() {
    let (farm, folder) = fake_farm();
    // Connections alone take nearly all of these.
    let plan = fake_daemon(&farm, &folder).within(&["prlimit", "--nofile=26:26"]);
    let plan = plan.allow(Some("127.0.0.0/8")).jobs(2);
    let mut daemon = plan.env("DISTCC_TCP_DEFER_ACCEPT", "0").start();
    let idle: Vec<TcpStream> = (0..40).map(|_| connect(&daemon)).collect();
    let mut jobs: Vec<TcpStream> = Vec::new();
    for _ in 0..8 {
        let mut stream = connect(&daemon);
        let _ = stream.write_all(&request(Version::V1, "gcc -c x.c -o x.o", ""));
        jobs.push(stream);
    }
    drop(idle);
    for stream in jobs {
        rest_of(&stream); // Answered or hung up on, but not left alone.
    }
    wait_for("an answer", BOUND, || {
        !job(&daemon, "gcc -c x.c -o x.o").is_empty()
    });
    assert!(daemon.alive());
}

#[test]
fn the_background_begins_when_it_listens() {
    let (farm, folder) = fake_farm();
    let gcc = folder.join("gcc").display().to_string();
    let tmp = farm.path("background");
    fs::create_dir_all(&tmp).unwrap();
    fs::set_permissions(&tmp, fs::Permissions::from_mode(0o777)).unwrap();
    let log = tmp.join("log");
    let ran = daemon_command(&[
        "--daemon",
        "--port=0",
        "--compilers",
        &gcc,
        "--pid-file",
        "pid",
    ])
    .args(["--lifetime", "60", "--log-file"])
    .arg(&log)
    .env("TMPDIR", &tmp)
    .output()
    .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    assert!(String::from_utf8_lossy(&ran.stderr).contains("--allow"));
    let address = said.strip_prefix("listening on ").unwrap().trim_end();
    let pid = fs::read_to_string(tmp.join("pid")).unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .write_all(&request(Version::V1, "gcc -c x.c -o x.o", ""))
        .unwrap();
    assert_eq!(
        reply(Version::V1, &rest_of(&stream)).object.unwrap(),
        b"OBJ"
    );
    common::signal("TERM", pid.trim());
    wait_for("its end", BOUND, || !alive(pid.trim()));
    assert_eq!(
        fs::read_dir(&tmp).unwrap().count(),
        1,
        "the log alone stays"
    );
    assert!(fs::read_to_string(&log)
        .unwrap()
        .contains("ended by SIGTERM"));
}

#[test]
fn a_file_that_can_t_be_written_is_told_on_the_terminal() {
    let (farm, folder) = fake_farm();
    let gcc = folder.join("gcc").display().to_string();
    let tmp = farm.path("background");
    fs::create_dir_all(&tmp).unwrap();
    fs::set_permissions(&tmp, fs::Permissions::from_mode(0o777)).unwrap();
    let locked = farm.path("locked");
    fs::create_dir(&locked).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o555)).unwrap();
    let (pid, log) = (locked.join("pid"), locked.join("log"));
    let ran = daemon_command(&["--daemon", "--port=0", "--listen=127.0.0.1", "--lifetime=1"])
        .args(["--compilers", &gcc, "--pid-file"])
        .arg(&pid)
        .arg("--log-file")
        .arg(&log)
        .env("TMPDIR", &tmp)
        .output()
        .unwrap();
    assert!(ran.status.success());
    let whom = match common::is_root() {
        true => " for ",
        false => "",
    };
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    let lines: Vec<&str> = said.lines().collect();
    let expected = [
        ("log", &log, "syslog"),
        ("pid", &pid, "going on without it"),
    ];
    assert_eq!(lines.len(), expected.len(), "{said}");
    for (line, (name, path, then)) in lines.iter().zip(expected) {
        let begin = format!(
            "distccd: --{name}-file {}: Permission denied",
            path.display()
        );
        assert!(line.starts_with(&begin), "{said}");
        assert!(line.contains(whom) && line.ends_with(then), "{said}");
    }
}

/// Then the kernel keeps no status of a child for who asks how it ended.
#[test]
fn one_started_where_the_end_of_children_is_ignored_serves_all_the_same() {
    let (farm, folder) = fake_farm();
    let daemon = fake_daemon(&farm, &folder)
        .within(&["env", "--ignore-signal=CHLD"])
        .start();
    expect_ok(&daemon);
    let usual = fake_daemon(&farm, &folder).start();
    let layers = |daemon: &common::Daemon| {
        expect_line(daemon, &["sandbox: "]);
        let log = daemon.log_text();
        let told = log.split_once("sandbox: ").unwrap().1;
        told.lines().next().unwrap().to_owned()
    };
    assert_eq!(layers(&daemon), layers(&usual));
}

#[test]
fn wrong_words_are_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for (options, status, named) in [
        (&["--frobnicate"][..], 101, "--frobnicate"),
        (&["--jobs"], 101, "--jobs"),
        (&["-j0"], 101, "--jobs 0"),
        (&["--allow=1.2.3.4/abc"], 101, "1.2.3.4/abc"),
        (&["--sysroot=/x"], 101, "--sysroot"),
        (&["--blacklist", "/f"], 101, "Kerberos"),
        (&["--compilers", "nosuchcc"], 110, "nosuchcc"),
        (
            &[
                "--no-detach",
                "--enable-tcp-insecure",
                "--listen",
                "127.0.0.1",
                "-p",
                &port,
            ],
            102,
            &port,
        ),
        (
            &[
                "--no-detach",
                "--enable-tcp-insecure",
                "--listen",
                "no.such.host.invalid",
            ],
            102,
            "no.such.host.invalid",
        ),
    ] {
        let ran = daemon_command(options).output().unwrap();
        assert_eq!(ran.status.code(), Some(status), "{options:?}");
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(
            said.contains("distccd: ") && said.contains(named),
            "{options:?}: {said}"
        );
    }
    let mut lost = daemon_command(&["--no-detach", "--enable-tcp-insecure"]);
    let ran = lost.env("TMPDIR", "/no/such/folder").output().unwrap();
    assert_eq!(ran.status.code(), Some(107));
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(
        said.contains("distccd: can't enter /no/such/folder: "),
        "{said}"
    );
    for option in ["--help", "--version"] {
        let ran = daemon_command(&[option, "--frobnicate"]).output().unwrap();
        assert!(
            ran.status.success() && ran.stdout.ends_with(b"\n"),
            "{option}"
        );
    }
}
