//! `pump --startup` and `pump --shutdown`: what shells are told, whatever TMPDIR is called; that only a session of ours is
//! ended; and how sessions end that nobody ends.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{files_below, signal, wait_for, Client, Farm, Ran, Which, BOUND, OURS};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const HOSTS: &str = "--randomize 127.0.0.1:9,cpp,lzo";

const SHELLS: [&str; 3] = ["sh", "dash", "bash"];

fn client<'f>(farm: &'f Farm) -> Client<'f> {
    // Kept sessions are started by this program, so pump's own folder says nothing.
    farm.client(Which::Ours, HOSTS).env("PUMP", OURS)
}

#[track_caller]
fn script(client: &Client, shell: &str, script: &str) -> Ran {
    client.run_other(&[shell, "-c", script])
}

/// A session that goes on: number of the keeper, and the folder.
struct Session {
    pid: String,
    folder: String,
}

#[track_caller]
fn start(client: &Client) -> Session {
    let ran = client.run(&["pump", "--startup"]).expect(0);
    assert_eq!(ran.stderr, "");
    let value = |name: &str| {
        let start = format!("export {name}='");
        let line = ran
            .stdout
            .lines()
            .find_map(|line| line.strip_prefix(&start));
        line.unwrap().trim_end_matches('\'').to_owned()
    };
    Session {
        pid: value("INCLUDE_SERVER_PID"),
        folder: value("INCLUDE_SERVER_DIR"),
    }
}

#[track_caller]
fn shut_down(client: &Client, pid: &str, folder: &str) -> Ran {
    client
        .clone()
        .env("INCLUDE_SERVER_PID", pid)
        .env("INCLUDE_SERVER_DIR", folder)
        .run(&["pump", "--shutdown"])
        .expect(0)
}

fn end_of(what: &str, folder: &str) {
    wait_for(what, BOUND, || !Path::new(folder).exists());
}

#[test]
fn settings_come_in_stocks_order_and_nothing_else_does() {
    let farm = Farm::new();
    let client = client(&farm);
    let ran = client.run(&["pump", "--startup"]).expect(0);
    let names: Vec<&str> = ran
        .stdout
        .lines()
        .map(|line| line.split_once('=').unwrap().0)
        .collect();
    let expected = [
        "export INCLUDE_SERVER_PID",
        "export INCLUDE_SERVER_DIR",
        "export INCLUDE_SERVER_PORT",
        "export DISTCC_HOSTS",
        "export PATH",
    ];
    assert_eq!(names, expected, "{ran}");
    assert!(
        ran.stdout
            .contains(&format!("export DISTCC_HOSTS='{HOSTS}'\n")),
        "{ran}"
    );
    let ran = script(
        &client,
        "sh",
        &format!("{}\n$PUMP pump --shutdown", ran.stdout),
    );
    assert_eq!(
        ran.stdout,
        "__________Shutting down distcc-pump include server\n"
    );
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    farm.expect_clean("a session");
}

#[test]
fn every_shell_can_evaluate_them_wherever_the_session_lies() {
    let farm = Farm::new();
    let tmp = farm.path("tmp");
    let long = "x".repeat(100);
    let names = [
        "plain",
        "a  b",
        " it's ",
        "$HOME `id`",
        "a*",
        "[ab]?",
        "\"\\",
        "\t",
        "two\nlines",
        "\u{e4}",
        &long,
    ];
    let files = ["a1", "a", "b"];
    for name in names.iter().chain(&files) {
        fs::create_dir_all(farm.work().join(name)).unwrap();
    }
    let using = "&& test -S \"$INCLUDE_SERVER_PORT\" -a -d \"$INCLUDE_SERVER_DIR\" && \
                 cd \"$INCLUDE_SERVER_DIR\" && echo in $(pwd -P) && \"$PUMP\" pump --shutdown && \
                 ! test -e \"$INCLUDE_SERVER_DIR\"";
    for shell in SHELLS {
        for eval in [
            "eval `$PUMP pump --startup`",
            "eval \"$($PUMP pump --startup)\"",
        ] {
            for name in names {
                let client = client(&farm).env("TMPDIR", farm.work().join(name));
                let ran = script(&client, shell, &format!("{eval} {using}"));
                assert_eq!(ran.status, 0, "{shell}: {eval}: {name}: {ran}");
                assert_eq!(ran.stderr, "", "{name}");
                let is_elsewhere = name == long || name.contains('\n');
                let is_in_tmp = ran.stdout.starts_with("in /tmp/distcc-pump.");
                assert_eq!(is_in_tmp, is_elsewhere, "{name}: {ran}");
            }
        }
    }
    assert_eq!(files_below(&tmp), [""; 0]);
    farm.expect_clean("many sessions");
}

#[test]
fn who_reads_what_is_printed_is_not_kept_waiting() {
    let farm = Farm::new();
    let client = client(&farm).bound(Duration::from_secs(30));
    // Also by a descriptor that pump knows nothing of, and by stderr.
    let reading =
        "all=$({ \"$PUMP\" pump --startup 3>&1 2>&1; echo done; }); eval \"${all%done}\" && \
                   case $all in *done) \"$PUMP\" pump --shutdown ;; *) exit 1 ;; esac";
    script(&client, "sh", reading).expect(0);
    farm.expect_clean("a reader");
}

#[test]
fn a_start_that_fails_leaves_nothing() {
    let farm = Farm::new();
    let bad = client(&farm).env("INCLUDE_SERVER_ARGS", "--no-such-option");
    let ran = bad.run(&["pump", "--startup"]).expect(1);
    assert_eq!(ran.stdout, "false\n");
    assert!(
        ran.stderr.starts_with("__________Expected a socket at '"),
        "{ran}"
    );
    assert!(ran.stderr.contains("--no-such-option"), "{ran}");
    farm.expect_clean("a bad option");
    // Nobody hears of the session.
    let ran = script(
        &client(&farm),
        "sh",
        "exec \"$PUMP\" pump --startup >/dev/full",
    );
    assert_eq!(ran.status, 1, "{ran}");
    assert!(ran.stderr.contains("write to stdout"), "{ran}");
    farm.expect_clean("a full disk");
    let ran = script(
        &client(&farm).env("DISTCC_HOSTS", "a"),
        "sh",
        "exec \"$PUMP\" pump --startup",
    );
    assert_eq!((ran.status, ran.stdout.as_str()), (1, "false\n"), "{ran}");
    farm.expect_clean("no host");
}

#[test]
fn a_script_can_end_when_the_start_fails() {
    let farm = Farm::new();
    for client in [
        client(&farm).env("INCLUDE_SERVER_ARGS", "--no-such-option"),
        client(&farm).env("DISTCC_HOSTS", "a"),
        client(&farm).env("DISTCC_MAX_DISCREPANCY", "0"),
    ] {
        for shell in SHELLS {
            for eval in [
                "eval `$PUMP pump --startup`",
                "eval \"$($PUMP pump --startup)\"",
            ] {
                let ran = script(&client, shell, &format!("{eval} || exit 3; echo went on"));
                assert_eq!((ran.status, ran.stdout.as_str()), (3, ""), "{shell}: {ran}");
            }
        }
    }
    farm.expect_clean("starts that failed");
}

#[test]
fn shutting_down_reports_discrepancies_and_says_what_the_include_server_said() {
    let farm = Farm::new();
    let client = client(&farm)
        .env("INCLUDE_SERVER_ARGS", "-t")
        .env("DISTCC_MAX_DISCREPANCY", "1");
    let session = start(&client);
    fs::write(Path::new(&session.folder).join("discrepancy_counter"), "@").unwrap();
    fs::write(Path::new(&session.folder).join("stdout"), "statistics\n").unwrap();
    let ran = shut_down(&client, &session.pid, &session.folder);
    let expected =
        "__________Warning: 1 pump-mode compilation(s) failed on server, but succeeded locally.\n\
                    __________Distcc-pump was demoted to plain mode.\n";
    assert!(ran.stderr.starts_with(expected), "{ran}");
    // The line about the manual, and the times.
    assert!(ran.stderr.lines().count() > 3, "{ran}");
    assert!(
        ran.stdout.ends_with("include server\nstatistics\n"),
        "{ran}"
    );
    farm.expect_clean("a report");
}

#[test]
fn there_may_be_nothing_to_shut_down() {
    let farm = Farm::new();
    let ran = client(&farm).run(&["pump", "--shutdown"]).expect(0);
    assert_eq!((ran.stdout, ran.stderr), (String::new(), String::new()));
    let gone = farm.path("tmp/gone");
    let ran = shut_down(&client(&farm), "1", gone.to_str().unwrap());
    assert_eq!((ran.stdout, ran.stderr), (String::new(), String::new()));
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let farm = Farm::new();
    let mut stranger = Command::new("sleep").arg("60").spawn().unwrap();
    let pid = stranger.id().to_string();
    // A folder of somebody else's session, stock's for example.
    let folder = farm.path("bin/distcc-pump.stock");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("socket"), "").unwrap();
    let ran = shut_down(&client(&farm), &pid, folder.to_str().unwrap());
    assert!(
        ran.stderr
            .contains("is no session of this pump; it is left alone"),
        "{ran}"
    );
    assert!(folder.join("socket").exists());
    // A number that was used again, and a folder of ours that nobody owns any more.
    let session = start(&client(&farm));
    let ran = shut_down(&client(&farm), &pid, &session.folder);
    assert_eq!(ran.stdout, "", "{ran}");
    assert!(Path::new(&session.folder).exists());
    assert!(
        stranger.try_wait().unwrap().is_none(),
        "a stranger was ended"
    );
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    shut_down(&client(&farm), &session.pid, &session.folder);
    farm.expect_clean("strangers");
}

#[test]
fn it_ends_when_its_folder_is_removed() {
    let farm = Farm::new();
    let session = start(&client(&farm));
    assert!(Path::new(&session.folder).join("socket").exists());
    fs::remove_dir_all(&session.folder).unwrap();
    farm.expect_clean("the removal of the folder");
}

#[test]
fn signals_end_it() {
    for name in ["TERM", "INT", "HUP", "QUIT"] {
        let farm = Farm::new();
        let session = start(&client(&farm));
        signal(name, &session.pid);
        end_of(name, &session.folder);
        farm.expect_clean(name);
    }
}

#[test]
fn after_a_kill_its_include_server_ends_and_the_folder_is_tidied_up() {
    for next_is_shutdown in [false, true] {
        let farm = Farm::new();
        let client = client(&farm);
        let session = start(&client);
        signal("KILL", &session.pid);
        // A process loses its environment before it gives up its locks.
        let stat = format!("/proc/{}/stat", session.pid);
        let is_dead = |stat: String| stat.contains(") Z ");
        wait_for("the end of the keeper", BOUND, || {
            fs::read_to_string(&stat).map_or(true, is_dead)
        });
        wait_for("the end of all", BOUND, || farm.processes().is_empty());
        let folder = Path::new(&session.folder);
        assert!(folder.exists() && !folder.join("socket").exists());
        match next_is_shutdown {
            true => drop(shut_down(&client, &session.pid, &session.folder)),
            false => {
                let next = start(&client);
                assert!(!folder.exists(), "it is still there");
                shut_down(&client, &next.pid, &next.folder);
            }
        }
        farm.expect_clean("a kill");
    }
}

#[test]
fn a_killed_include_server_is_started_again() {
    let farm = Farm::new();
    let session = start(&client(&farm));
    let include_server = || {
        let found = farm.processes();
        let line = found.iter().find(|process| process.contains("--port"))?;
        Some(line.split([' ', ':']).nth(1)?.to_owned())
    };
    let first = include_server().unwrap();
    signal("KILL", &first);
    wait_for("another one", BOUND, || {
        include_server().is_some_and(|now| now != first)
    });
    let [_, stderr] = ["stdout", "stderr"].map(|name| Path::new(&session.folder).join(name));
    wait_for("a note of it", BOUND, || {
        !fs::read(&stderr).unwrap().is_empty()
    });
    let ran = shut_down(&client(&farm), &session.pid, &session.folder);
    let expected =
        "__________Warning: the include server was ended by signal 9; it has been started again\n";
    assert_eq!(ran.stderr, expected);
    farm.expect_clean("a killed include server");
}

#[test]
fn a_signal_while_it_starts_leaves_nothing() {
    let farm = Farm::new();
    // The shell that reads this takes its time.
    let slow = client(&farm).env("INCLUDE_SERVER_ARGS", "$(touch reading; sleep 1)");
    let (running, _) = slow.start(&["pump", "--startup"]);
    wait_for("a slow start", BOUND, || {
        farm.work().join("reading").exists()
    });
    running.signal("TERM");
    let ran = running.finish(BOUND);
    let expected = (128 + 15, "false\n");
    assert_eq!((ran.status, ran.stdout.as_str()), expected, "{ran}");
    farm.expect_clean("a signal");
    fs::remove_file(farm.work().join("reading")).unwrap();
    let (running, _) = slow.start(&["pump", "--startup"]);
    wait_for("a slow start", BOUND, || {
        farm.work().join("reading").exists()
    });
    running.signal("KILL");
    running.finish(BOUND);
    farm.expect_clean("a kill");
}

/// Starts a keeper with a second of grace from a shell in a session of its own that has no parent any more, and that
/// then does `afterwards`; returns the session's folder.
fn start_alone(client: &Client, afterwards: &str) -> String {
    let (report, theirs) = UnixStream::pair().unwrap();
    // The inner shell waits until it has been adopted.
    let inner = "while [ $(ps -o ppid= -p $$) = $PARENT ]; do sleep 0.01; done; \
                 { \"$PUMP\" pump --keeper 1 <&3 3<&- & } 3<&0; ";
    let script = format!("PARENT=$$ setsid sh -c '{inner} {afterwards}' <&4 & exit");
    let mut command = Command::new("sh");
    client.dress(command.args(["-c", &format!("exec 4<&0; {script}")]));
    let mut shell = command
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    shell.wait().unwrap();
    drop(command);
    report.set_read_timeout(Some(BOUND)).unwrap();
    let mut line = String::new();
    BufReader::new(report).read_line(&mut line).unwrap();
    let folder = line.trim_end().strip_prefix('+');
    folder.unwrap_or_else(|| panic!("{line:?}")).to_owned()
}

#[test]
fn it_ends_when_nobody_can_know_of_it_any_more_and_not_before() {
    let farm = Farm::new();
    let client = client(&farm);
    let alone = start_alone(&client, "");
    // The shell that started this one waits for a build in the same session.
    let waited_for = start_alone(&client, "echo $$ > shell; sleep 60; true");
    end_of("a session without anybody", &alone);
    std::thread::sleep(Duration::from_secs(3));
    assert!(Path::new(&waited_for).join("socket").exists());
    let shell = fs::read_to_string(farm.work().join("shell")).unwrap();
    for process in farm.processes() {
        if process.contains(": sleep 60") {
            signal("TERM", process.split([' ', ':']).nth(1).unwrap());
        }
    }
    signal("TERM", shell.trim_end());
    end_of("a session that was left", &waited_for);
    farm.expect_clean("sessions that nobody ended");
}

#[test]
fn it_outlives_the_terminal_that_it_was_started_from() {
    if !common::have("a terminal that closes", &["script"]) {
        return;
    }
    let farm = Farm::new();
    let line = "$PUMP pump --startup > settings";
    client(&farm)
        .run_other(&["script", "-qefc", line, "/dev/null"])
        .expect(0);
    std::thread::sleep(Duration::from_millis(200));
    let using = ". ./settings; test -S $INCLUDE_SERVER_PORT && $PUMP pump --shutdown";
    script(&client(&farm), "sh", using).expect(0);
    farm.expect_clean("a terminal that closed");
}
