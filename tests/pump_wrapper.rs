//! `pump COMMAND`: what the command is told, what it says and how it ends; hosts that are asked; and that nothing is left
//! behind, whatever ends it. Sessions of `--startup` have a file of their own.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{files_below, free_port, signal, wait_for, Client, Farm, Ran, Running, Which, BOUND};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// A host list that is good enough where nothing is compiled.
const HOSTS: &str = "127.0.0.1:9,cpp,lzo";

fn client<'f>(farm: &'f Farm) -> Client<'f> {
    farm.client(Which::Ours, HOSTS)
}

#[track_caller]
fn pump(client: &Client, words: &[&str]) -> Ran {
    client.run(&[&["pump"], words].concat())
}

#[track_caller]
fn shell(client: &Client, script: &str) -> Ran {
    pump(client, &["sh", "-c", script])
}

/// `NAME=VALUE` lines of a command's output.
fn value<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let lines = text.lines();
    lines
        .filter_map(|line| line.split_once('='))
        .find_map(|(found, value)| (found == name).then_some(value))
}

fn executable(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn the_help_has_many_names() {
    let farm = Farm::new();
    for words in [&[][..], &[""], &["-h"], &["--help"], &["--help", "x"]] {
        let ran = pump(&client(&farm).without("DISTCC_HOSTS"), words).expect(0);
        assert!(ran.stdout.starts_with("Usage: pump COMMAND"), "{ran}");
        assert_eq!(ran.stderr, "");
    }
    let links = farm.masquerade(Which::Ours, &["pump", "distcc-pump"]);
    for name in ["pump", "distcc-pump"] {
        let ran = client(&farm).run_other(&[links.join(name)]).expect(0);
        assert!(ran.stdout.starts_with("Usage: pump COMMAND"), "{ran}");
    }
}

#[test]
fn the_command_is_told_where_the_include_server_is_and_little_else() {
    let farm = Farm::new();
    let script = "env; ls -ld $(dirname $INCLUDE_SERVER_PORT); test -S $INCLUDE_SERVER_PORT && echo it is there";
    let ran = shell(&client(&farm), script).expect(0);
    let port = value(&ran.stdout, "INCLUDE_SERVER_PORT").unwrap();
    let tmp = farm.path("tmp").canonicalize().unwrap();
    let start = format!("{}/distcc-pump.", tmp.display());
    assert!(
        port.starts_with(&start) && port.ends_with("/socket"),
        "{port}"
    );
    assert!(ran.stdout.contains("drwx------"), "{ran}");
    assert!(ran.stdout.contains("it is there"), "{ran}");
    assert_eq!(value(&ran.stdout, "DISTCC_HOSTS"), Some(HOSTS));
    for unset in ["INCLUDE_SERVER_PID", "INCLUDE_SERVER_DIR"] {
        assert_eq!(value(&ran.stdout, unset), None);
    }
    assert!(!Path::new(port).parent().unwrap().exists());
    farm.expect_clean("a command");
}

#[test]
fn progress_is_told_as_stock_tells_it_unless_nobody_wants_it() {
    let farm = Farm::new();
    let location = Path::new(common::OURS).parent().unwrap().display();
    for (hosts, line) in [
        ("a,cpp,lzo", "Using 1 distcc server in pump mode"),
        ("a,cpp,lzo b,cpp,lzo", "Using 2 distcc servers in pump mode"),
        (
            "--randomize localhost a,cpp,lzo b",
            "Using 3 distcc servers, of which only 1 support(s) pump mode",
        ),
    ] {
        let client = farm.client(Which::Ours, hosts);
        let ran = pump(&client, &["echo", "now"]).expect(0);
        let expected = format!(
            "__________Using distcc-pump from {location}\n__________{line}\nnow\n\
             __________Shutting down distcc-pump include server\n"
        );
        assert_eq!(ran.stdout, expected);
        assert_eq!(ran.stderr, "");
        let quiet = client.env("DISTCC_TESTING_INCLUDE_SERVER", "1");
        assert_eq!(pump(&quiet, &["echo", "now"]).expect(0).stdout, "now\n");
    }
}

#[test]
fn the_host_list_may_be_a_file_but_must_name_a_host_that_preprocesses() {
    let farm = Farm::new();
    fs::write(farm.path("top/hosts"), "fromfile,lzo,cpp # and no other\n").unwrap();
    let with_file = client(&farm).without("DISTCC_HOSTS");
    let ran = pump(&with_file, &["true"]).expect(0);
    assert!(
        ran.stdout.contains("Using 1 distcc server in pump mode"),
        "{ran}"
    );
    fs::remove_file(farm.path("top/hosts")).unwrap();
    for (client, words) in [
        (
            client(&farm).env("DISTCC_HOSTS", "box/8,lzo localhost"),
            "write box/8,cpp,lzo",
        ),
        (
            client(&farm).env("DISTCC_HOSTS", "box,cpp"),
            "write ,cpp,lzo",
        ),
        (
            client(&farm).env("DISTCC_HOSTS", "box/x,cpp,lzo"),
            "'box/x,cpp,lzo'",
        ),
        (
            client(&farm).env("DISTCC_HOSTS", ""),
            "$DISTCC_HOSTS contained no hosts",
        ),
    ] {
        let ran = pump(&client, &["touch", "ran"]).expect(1);
        assert!(ran.stderr.contains(words), "{ran}");
        assert!(!farm.work().join("ran").exists(), "the command was run");
    }
    farm.expect_clean("refusals");
}

#[test]
fn the_status_is_the_commands() {
    let farm = Farm::new();
    let client = client(&farm);
    shell(&client, "exit 7").expect(7);
    shell(&client, "kill -SEGV $$").expect(128 + 11);
    let ran = pump(&client, &["no-such-command"]).expect(127);
    assert!(ran.stderr.contains("no-such-command: not found"), "{ran}");
    let ran = pump(&client, &["/"]).expect(126);
    assert!(ran.stderr.contains("pump: /: Permission denied"), "{ran}");
    for words in [
        &["--startup", "--foo"][..],
        &["--shutdown", ""],
        &["--version"],
        &["-j8", "make"],
    ] {
        let ran = pump(&client, words).expect(127);
        // Nothing was started for it.
        assert_eq!(ran.stdout, "");
        let begin = format!("pump: {}: ", words[0]);
        assert!(ran.stderr.starts_with(&begin), "{ran}");
    }
    executable(&farm.path("bin").join("-odd"), "#!/bin/sh\nexit 9\n");
    let path = format!("{}:/usr/bin:/bin", farm.path("bin").display());
    pump(&client.env("PATH", path), &["-odd"]).expect(9);
    farm.expect_clean("ends of all kinds");
}

#[test]
fn words_are_the_commands_as_they_are() {
    let farm = Farm::new();
    let odd = ["a b", "$HOME", "`id`", "*", "", "'", "--", "--help"];
    let script = ["sh", "-c", "printf '%s\\n' \"$@\"", "-"];
    let ran = pump(&client(&farm), &[&script[..], &odd].concat()).expect(0);
    let said: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(said[2..said.len() - 1], odd, "{ran}");
    // A file without #! is a script, for a shell and so for people.
    executable(&farm.work().join("build"), "echo built with $1\n");
    let ran = pump(&client(&farm), &["./build", "pump"]).expect(0);
    assert!(ran.stdout.contains("\nbuilt with pump\n"), "{ran}");
}

#[test]
fn a_limit_of_discrepancies_that_is_none_is_refused() {
    let farm = Farm::new();
    for bad in ["0", "-3", "x"] {
        let client = client(&farm).env("DISTCC_MAX_DISCREPANCY", bad);
        let ran = pump(&client, &["touch", "ran"]).expect(1);
        let expected =
            format!("Bad DISTCC_MAX_DISCREPANCY value: \"{bad}\". Needs to be 1 or greater.");
        assert!(ran.stderr.contains(&expected), "{ran}");
        assert!(!farm.work().join("ran").exists());
    }
}

#[test]
fn discrepancies_are_reported_at_the_end() {
    let farm = Farm::new();
    let client = client(&farm).env("DISTCC_MAX_DISCREPANCY", "3");
    let script = |bytes: &str| {
        format!("printf {bytes} > $(dirname $INCLUDE_SERVER_PORT)/discrepancy_counter")
    };
    let warning = |count: u32| {
        format!("__________Warning: {count} pump-mode compilation(s) failed on server, but succeeded locally.\n")
    };
    let ran = shell(&client, &script("@@")).expect(0);
    assert!(ran.stderr.starts_with(&warning(2)), "{ran}");
    assert!(!ran.stderr.contains("demoted"), "{ran}");
    let ran = shell(&client, &script("@@@")).expect(0);
    let demoted = "__________Distcc-pump was demoted to plain mode.\n";
    assert!(ran.stderr.starts_with(&(warning(3) + demoted)), "{ran}");
    assert!(ran.stderr.contains("include_server(1)"), "{ran}");
}

#[test]
fn without_an_include_server_the_command_runs_all_the_same() {
    let farm = Farm::new();
    let hosts = "--randomize --localslots=3 a/2,cpp,lzo";
    let client = farm
        .client(Which::Ours, hosts)
        .env("INCLUDE_SERVER_PORT", "/somewhere/else");
    for (name, bad, why) in [
        (
            "INCLUDE_SERVER_ARGS",
            "--no-such-option",
            "--no-such-option",
        ),
        (
            "INCLUDE_SERVER_ARGS",
            "'unpaired",
            "$INCLUDE_SERVER_ARGS is",
        ),
        // Stock's pump hangs.
        ("DISTCC_CLIENT_TMP", "relative", "DISTCC_CLIENT_TMP"),
    ] {
        let client = client.clone().env(name, bad);
        let ran = shell(&client, "env; exit 4").expect(4);
        assert!(
            ran.stderr
                .contains("__________Could not start distcc-pump include server: "),
            "{ran}"
        );
        assert!(ran.stderr.contains(why), "{ran}");
        assert!(ran.stderr.contains("without pump mode"), "{ran}");
        assert_eq!(value(&ran.stdout, "INCLUDE_SERVER_PORT"), None);
        let plain = "--randomize --localslots=3 a/2,lzo";
        assert_eq!(value(&ran.stdout, "DISTCC_HOSTS"), Some(plain));
        assert!(!ran.stdout.contains("in pump mode"), "{ran}");
    }
    farm.expect_clean("include servers that do not start");
}

#[test]
fn where_the_session_lies_may_have_any_name() {
    let farm = Farm::new();
    let script = "echo PORT=$(dirname \"$INCLUDE_SERVER_PORT\"); test -S \"$INCLUDE_SERVER_PORT\"";
    for name in ["a  b", "it's", "$x", "ä*", "relative/../relative"] {
        fs::create_dir_all(farm.work().join(name)).unwrap();
        let ran = shell(&client(&farm).env("TMPDIR", name), script).expect(0);
        let port = value(&ran.stdout, "PORT").unwrap();
        let parent = farm.work().join(name).canonicalize().unwrap();
        assert!(Path::new(port).is_absolute(), "{ran}");
        // The shell has put blanks together.
        let start = parent.to_str().unwrap().replace("  ", " ");
        assert!(port.replace("  ", " ").starts_with(&start), "{ran}");
        assert_eq!(files_below(&parent), [""; 0]);
    }
    let long = farm.work().join("x".repeat(100));
    fs::create_dir(&long).unwrap();
    for unfit in [long.to_str().unwrap(), "/nonexistent/folder", ""] {
        let ran = shell(&client(&farm).env("TMPDIR", unfit), script).expect(0);
        let port = value(&ran.stdout, "PORT").unwrap();
        assert!(port.starts_with("/tmp/distcc-pump."), "{ran}");
        assert!(!Path::new(port).exists());
    }
}

#[test]
fn path_keeps_its_masquerade_folder() {
    let farm = Farm::new();
    farm.write("x.c", "int x;\n");
    let daemon = farm.daemon(Which::Ours).start();
    // distcc beside the compilers, and a folder of links to it before them: as distributions have it.
    let bin = farm.path("bin/all");
    fs::create_dir(&bin).unwrap();
    symlink(common::OURS, bin.join("distcc")).unwrap();
    symlink("/usr/bin/gcc", bin.join("gcc")).unwrap();
    let links = farm.path("bin/links");
    fs::create_dir(&links).unwrap();
    symlink("../all/distcc", links.join("gcc")).unwrap();
    let path = format!("{}:{}:/usr/bin:/bin", links.display(), bin.display());
    let hosts = format!("{},cpp,lzo", daemon.host());
    let client = farm
        .client(Which::Ours, &hosts)
        .env("PATH", &path)
        .env("DISTCC_LOCATION", &bin);
    let ran = shell(&client, "env && gcc -c x.c").expect(0);
    assert_eq!(value(&ran.stdout, "PATH"), Some(path.as_str()));
    assert_eq!(ran.hosts().len(), 1, "not distributed: {ran}");
    let said = format!("__________Using distcc-pump from {}\n", bin.display());
    assert!(ran.stdout.starts_with(&said), "{ran}");
}

#[test]
fn path_gets_our_distcc_where_another_would_be_found() {
    let farm = Farm::new();
    let other = farm.path("bin/other");
    fs::create_dir(&other).unwrap();
    executable(&other.join("distcc"), "#!/bin/sh\nexit 9\n");
    let path = format!("/nowhere:{}:/usr/bin:/bin", other.display());
    let with_other = client(&farm).env("PATH", &path);
    let ran = shell(&with_other, "env; distcc --version").expect(0);
    let ours = Path::new(common::OURS).parent().unwrap();
    let expected = path.replace("/nowhere:", &format!("/nowhere:{}:", ours.display()));
    assert_eq!(value(&ran.stdout, "PATH"), Some(expected.as_str()));
    // Beside a compiler that would take the place of another one it can't get there.
    let bin = farm.path("bin/all");
    let first = farm.path("bin/first");
    for folder in [&bin, &first] {
        fs::create_dir(folder).unwrap();
        executable(&folder.join("distcc"), "#!/bin/sh\n");
    }
    executable(&bin.join("gcc"), "#!/bin/sh\n");
    let path = format!("{}:/usr/bin:/bin", first.display());
    let client = client(&farm)
        .env("PATH", &path)
        .env("DISTCC_LOCATION", &bin);
    let ran = shell(&client, "env").expect(0);
    assert_eq!(value(&ran.stdout, "PATH"), Some(path.as_str()));
    assert!(ran.stderr.contains("comes first on PATH"), "{ran}");
    let ran = pump(&client.env("DISTCC_LOCATION", "/nowhere"), &["true"]).expect(1);
    assert!(
        ran.stderr.contains("can't find distcc (looked in /nowhere"),
        "{ran}"
    );
}

#[test]
fn potential_hosts_are_asked_and_those_that_answer_are_used() {
    let farm = Farm::new();
    farm.write("x.c", "int x;\n");
    let daemon = farm.daemon(Which::Ours).start();
    let dead = format!("127.0.0.1:{}", free_port());
    let client = farm.client(Which::Ours, "").without("DISTCC_HOSTS").env(
        "DISTCC_POTENTIAL_HOSTS",
        format!("{dead} {}", daemon.host()),
    );
    let script = "env; distcc gcc -c x.c";
    let ours = Path::new(common::OURS).parent().unwrap().display();
    let client = client.env("PATH", format!("{ours}:/usr/bin:/bin"));
    let ran = shell(&client, script).expect(0);
    assert!(
        ran.stdout
            .contains("\n__________Found 1 available distcc servers\n"),
        "{ran}"
    );
    let expected = format!("--randomize {},cpp,lzo", daemon.host());
    assert_eq!(value(&ran.stdout, "DISTCC_HOSTS"), Some(expected.as_str()));
    assert_eq!(ran.hosts().len(), 1, "not distributed: {ran}");
    // A limit stays; what is no host is named.
    let words = format!("{}/3 nobody@nowhere", daemon.host());
    let limited = client.clone().env("DISTCC_POTENTIAL_HOSTS", words);
    let ran = shell(&limited, script).expect(0);
    let expected = format!("--randomize {}/3,cpp,lzo", daemon.host());
    assert_eq!(value(&ran.stdout, "DISTCC_HOSTS"), Some(expected.as_str()));
    assert!(ran.stderr.contains("'nobody@nowhere' is no host"), "{ran}");
    assert_eq!(ran.hosts().len(), 1, "not distributed: {ran}");
    // More options for lsdistcc; and without an include server the hosts are used, not refused.
    let more = client
        .clone()
        .env("LSDISTCC_ARGS", format!("-l -r{}", daemon.port))
        .env("DISTCC_POTENTIAL_HOSTS", "127.0.0.1")
        .env("INCLUDE_SERVER_ARGS", "--no-such-option");
    let ran = shell(&more, script).expect(0);
    let expected = format!("--randomize {},lzo", daemon.host());
    assert_eq!(value(&ran.stdout, "DISTCC_HOSTS"), Some(expected.as_str()));
    assert_eq!(ran.hosts().len(), 1, "not distributed: {ran}");
    let none = client.env("DISTCC_POTENTIAL_HOSTS", &dead);
    let ran = shell(&none, script).expect(0);
    assert!(
        ran.stdout
            .contains("__________Found 0 available distcc servers"),
        "{ran}"
    );
    assert!(
        ran.stderr
            .contains("none of the hosts in $DISTCC_POTENTIAL_HOSTS answers"),
        "{ran}"
    );
    assert!(farm.work().join("x.o").exists());
    farm.expect_clean("potential hosts");
}

/// Starts a command under pump that tells where its include server is and waits to be ended; returns that place.
fn start_endless(farm: &Farm, client: &Client) -> (Running, String) {
    let file = farm.work().join("port");
    let _ = fs::remove_file(&file);
    let script = "echo $$ > pid; echo $INCLUDE_SERVER_PORT > new && mv new port; exec sleep 60";
    let (running, _) = client.start(&["pump", "sh", "-c", script]);
    wait_for("the command", BOUND, || file.exists());
    let port = fs::read_to_string(file).unwrap();
    (running, port.trim_end().to_owned())
}

#[test]
fn signals_end_the_command_and_nothing_is_left() {
    for (name, number) in [("TERM", 15), ("INT", 2), ("HUP", 1), ("QUIT", 3)] {
        let farm = Farm::new();
        let (running, port) = start_endless(&farm, &client(&farm));
        running.signal(name);
        let ran = running.finish(BOUND);
        assert_eq!(ran.status, 128 + number, "{name}: {ran}");
        assert!(ran.stdout.contains("__________Shutting down"), "{ran}");
        assert!(!Path::new(&port).parent().unwrap().exists(), "{name}");
        farm.expect_clean(name);
    }
}

#[test]
fn a_command_that_heeds_a_signal_decides_how_it_ends() {
    let farm = Farm::new();
    let script = "trap 'exit 5' TERM; touch runs; while :; do sleep 0.01; done";
    let (running, _) = client(&farm).start(&["pump", "sh", "-c", script]);
    wait_for("the command", BOUND, || farm.work().join("runs").exists());
    running.signal("TERM");
    assert_eq!(running.finish(BOUND).status, 5);
    farm.expect_clean("a signal that is heeded");
}

#[test]
fn an_interrupt_from_the_terminal_reaches_the_command_once() {
    if !common::have("interrupt", &["script"]) {
        return;
    }
    let farm = Farm::new();
    let trap = "trap \"echo interrupted >> log\" INT; touch runs; while [ ! -e log ]; do sleep 0.01; done; \
                test -S $INCLUDE_SERVER_PORT && exit 5";
    let line = format!("exec {} pump sh -c '{trap}'", common::OURS);
    let mut command = Command::new("script");
    client(&farm).dress(command.args(["-qefc", &line, "/dev/null"]));
    let mut script = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("the command", BOUND, || farm.work().join("runs").exists());
    let mut terminal = script.stdin.take().unwrap();
    terminal.write_all(b"\x03").unwrap();
    wait_for("the end", BOUND, || {
        matches!(script.try_wait(), Ok(Some(_)))
    });
    assert_eq!(script.wait().unwrap().code(), Some(5));
    let log = fs::read_to_string(farm.work().join("log")).unwrap();
    assert_eq!(log, "interrupted\n");
    farm.expect_clean("an interrupt");
}

#[test]
fn nobody_who_reads_is_no_reason_to_leave_anything() {
    let farm = Farm::new();
    let script = format!(
        "{} pump sh -c 'while echo line; do :; done; exit 3' | head -n 3",
        common::OURS
    );
    let ran = client(&farm).run_other(&["sh", "-c", &script]).expect(0);
    assert!(
        ran.stdout.starts_with("__________Using distcc-pump from "),
        "{ran}"
    );
    farm.expect_clean("a closed pipe");
    let (running, port) = start_endless(&farm, &client(&farm));
    running.signal("PIPE");
    std::thread::sleep(Duration::from_millis(50));
    assert!(Path::new(&port).exists(), "SIGPIPE is nothing to end by");
    running.signal("TERM");
    running.finish(BOUND);
    farm.expect_clean("SIGPIPE");
}

#[test]
fn after_a_kill_the_include_server_ends_and_the_next_session_tidies_up() {
    let farm = Farm::new();
    let (running, port) = start_endless(&farm, &client(&farm));
    running.signal("KILL");
    running.finish(BOUND);
    wait_for("the end of the socket", BOUND, || {
        !Path::new(&port).exists()
    });
    signal(
        "TERM",
        fs::read_to_string(farm.work().join("pid"))
            .unwrap()
            .trim_end(),
    );
    wait_for("the end of all", BOUND, || farm.processes().is_empty());
    let folder = Path::new(&port).parent().unwrap();
    assert!(folder.exists());
    pump(
        &client(&farm),
        &["test", "!", "-e", folder.to_str().unwrap()],
    )
    .expect(0);
    farm.expect_clean("a kill");
}

#[test]
fn sessions_that_live_are_let_live() {
    let farm = Farm::new();
    let (one, port) = start_endless(&farm, &client(&farm));
    pump(&client(&farm), &["test", "-S", &port]).expect(0);
    one.signal("TERM");
    one.finish(BOUND);
    farm.expect_clean("two sessions");
}

/// The numbers of this session's include servers, of which there should be one.
fn include_servers(farm: &Farm, port: &str) -> Vec<String> {
    let found = farm.processes();
    let of = found
        .iter()
        .filter(|process| process.contains("--port") && process.contains(port));
    of.filter_map(|process| Some(process.split([' ', ':']).nth(1)?.to_owned()))
        .collect()
}

#[test]
fn an_include_server_that_is_killed_is_started_again_and_the_build_goes_on() {
    let farm = Farm::new();
    let (running, port) = start_endless(&farm, &client(&farm));
    let first = include_servers(&farm, &port);
    assert_eq!(first.len(), 1);
    signal("KILL", &first[0]);
    wait_for("another include server", BOUND, || {
        let now = include_servers(&farm, &port);
        now.len() == 1 && now != first
    });
    // And no more than a few times: it may be a source that ends it.
    let mut quiet = 0;
    while quiet < 20 {
        let now = include_servers(&farm, &port);
        quiet = if now.is_empty() { quiet + 1 } else { 0 };
        now.iter().for_each(|pid| signal("KILL", pid));
        std::thread::sleep(Duration::from_millis(20));
    }
    signal(
        "TERM",
        fs::read_to_string(farm.work().join("pid"))
            .unwrap()
            .trim_end(),
    );
    let ran = running.finish(BOUND).expect(128 + 15);
    let again =
        "__________Warning: the include server was ended by signal 9; it has been started again\n";
    let count = ran.stderr.matches(again).count();
    assert!((1..=5).contains(&count), "{ran}");
    assert!(
        ran.stderr
            .ends_with("is compiled from here on is preprocessed here\n"),
        "{ran}"
    );
    farm.expect_clean("killed include servers");
}

#[test]
fn descriptors_of_a_make_reach_the_command() {
    let farm = Farm::new();
    let script = format!(
        "echo token > token; exec 7< token; {} pump sh -c 'cat <&7'",
        common::OURS
    );
    let ran = client(&farm).run_other(&["sh", "-c", &script]).expect(0);
    assert!(ran.stdout.contains("\ntoken\n"), "{ran}");
}
