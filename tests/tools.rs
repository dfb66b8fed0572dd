//! The small programs: both monitors show both kinds of clients, lsdistcc finds whom stock's finds and more.
#![allow(clippy::unwrap_used)]

mod common;

use common::{have, BlackHole, Direction, Ending, Farm, Peer, Ran, Running, Which, BOUND};
use common::{wait_for, Recorded, OURS};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

/// Time limits that no busy machine reaches, for jobs that have to succeed.
const PATIENT: [&str; 3] = ["-t60", "-c50000", "-k50000"];

/// A tool under its own name.
fn tool(farm: &Farm, which: Which, name: &str) -> PathBuf {
    match which {
        Which::Stock => PathBuf::from("/usr/bin").join(name),
        Which::Ours => {
            let link = farm.path("bin").join(name);
            let _ = symlink(OURS, &link);
            link
        }
    }
}

/// Runs a tool with these words.
#[track_caller]
fn run(farm: &Farm, which: Which, name: &str, words: &[&str]) -> Ran {
    let program = tool(farm, which, name);
    let words = [&[program.to_str().unwrap()], words].concat();
    farm.client(Which::Ours, "").run_other(&words)
}

fn lsdistcc(farm: &Farm, words: &[&str]) -> Ran {
    run(farm, Which::Ours, "lsdistcc", words)
}

fn sorted(ran: &Ran) -> Vec<&str> {
    let mut lines: Vec<&str> = ran.stdout.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn both_monitors_show_both_clients() {
    if !have("tools", &["distcc", "distccmon-text", "gcc"]) {
        return;
    }
    let farm = Farm::new();
    farm.write("words.c", "int f(void) { return 1; }\n");
    let server = Peer::silent();
    let mut clients: Vec<Running> = [Which::Ours, Which::Stock]
        .map(|which| {
            let client = farm.client(which, &server.host());
            client.start(&["gcc", "-c", "words.c"]).0
        })
        .into();
    let show = |which| run(&farm, which, "distccmon-text", &[]).expect(0);
    wait_for("both compile there", BOUND, || {
        show(Which::Ours).stdout.matches(" Compile ").count() == 2
    });
    let (ours, stocks) = (show(Which::Ours), show(Which::Stock));
    assert_eq!(sorted(&ours), sorted(&stocks));
    for client in &clients {
        let line = ours
            .stdout
            .lines()
            .find(|line| line.trim_start().starts_with(&client.pid().to_string()));
        let words: Vec<&str> = line.unwrap().split_whitespace().skip(1).collect();
        assert_eq!(words[..2], ["Compile", "words.c"], "{ours}");
        assert!(words[2].starts_with("127.0.0.1["), "{ours}");
    }
    while let Some(client) = clients.pop() {
        client.signal("TERM");
        client.finish(BOUND);
    }
    // Stock leaves its file behind, but nobody is there any more.
    assert_eq!(show(Which::Ours).stdout, "\n");
    for entry in fs::read_dir(farm.path("top/state")).unwrap() {
        let file = fs::File::options().write(true).open(entry.unwrap().path());
        let long_ago = SystemTime::now() - Duration::from_secs(3600);
        file.unwrap().set_modified(long_ago).unwrap();
    }
    show(Which::Ours);
    assert_eq!(common::files_below(&farm.path("top/state")), [""; 0]);
}

#[test]
fn the_monitor_repeats_until_it_is_ended() {
    let farm = Farm::new();
    let mut command = Command::new(tool(&farm, Which::Ours, "distccmon-text"));
    farm.client(Which::Ours, "").dress(&mut command);
    let mut monitor = command.arg("0.01").stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(monitor.stdout.take().unwrap()).lines();
    assert_eq!(lines.map_while(Result::ok).take(3).collect::<String>(), "");
    // Nobody reads on, so it ends by itself.
    assert!(!monitor.wait().unwrap().success());
}

#[test]
fn the_monitor_refuses_what_stocks_refuses() {
    let farm = Farm::new();
    for (words, fault) in [
        (&["soon"][..], "'soon' is no number of seconds"),
        (&["1", "2"], "there are too many words"),
        (&["-1"], "'-1' is no number of seconds"),
    ] {
        let ran = run(&farm, Which::Ours, "distccmon-text", words).expect(1);
        let begin = format!("distccmon-text: {fault}\nusage: distccmon-text");
        assert!(ran.stderr.starts_with(&begin), "{ran}");
    }
    let ran = run(&farm, Which::Ours, "distccmon-text", &["--help"]).expect(1);
    assert!(ran.stderr.starts_with("usage: distccmon-text"), "{ran}");
    for which in [Which::Ours, Which::Stock] {
        let program = tool(&farm, which, "distccmon-text");
        if !program.exists() {
            continue;
        }
        let client = farm.client(Which::Ours, "");
        let words = [program.to_str().unwrap()];
        let client = client.env("DISTCC_DIR", farm.path("missing"));
        client.run_other(&words).expect(107);
        // A bad setting of the client's is not the monitor's business.
        let client = client.env("DISTCC_DIR", farm.path("top"));
        let ran = client.env("DISTCC_IO_TIMEOUT", "x").run_other(&words);
        assert_eq!(ran.expect(0).stdout, "\n");
        assert!(farm.path("top/state").is_dir());
    }
}

#[test]
fn lsdistcc_finds_whom_stocks_finds() {
    if !have("tools", &["lsdistcc", "distccd", "gcc"]) {
        return;
    }
    let farm = Farm::new();
    for which in [Which::Ours, Which::Stock] {
        let daemon = farm.daemon(which).start();
        let port = format!("-r{}", daemon.port);
        for options in [
            &[][..],
            &["-x"],
            &["-n", "-x"],
            &["-P2", "-x"],
            &["-P3"],
            &["-c0"],
            &["-pgcc"],
            &["-pgcc", "-P2"],
            &["-pno-such-cc", "-x"],
            &["-pgcc", "-k0", "-x"],
        ] {
            // Of two equal options the second counts.
            let words = [&PATIENT, options].concat();
            let words = [&words[..], &[&port, "127.0.0.1", "127.0.0.2"]].concat();
            let [ours, stocks] =
                [Which::Ours, Which::Stock].map(|lister| run(&farm, lister, "lsdistcc", &words));
            assert_eq!(sorted(&ours), sorted(&stocks), "{options:?} {which:?}");
            // Where all are down, stock says that all is well.
            let is_any_up = ours.stdout.lines().any(|line| !line.contains(",down"));
            assert_eq!(ours.status, i32::from(!is_any_up), "{ours}");
        }
    }
}

#[test]
fn a_test_compile_with_protocol_3() {
    if !have("tools", &["distccd", "gcc"]) {
        return;
    }
    let farm = Farm::new();
    let daemon = farm.daemon(Which::Stock).start();
    let ran = lsdistcc(
        &farm,
        &[&PATIENT[..], &["-pgcc", "-P3", &daemon.host()]].concat(),
    );
    let line = format!("{},lzo,cpp\n", daemon.host());
    assert_eq!(ran.expect(0).stdout, line);
}

#[test]
fn hosts_are_printed_as_they_answer_and_the_time_is_bound() {
    let farm = Farm::new();
    let (daemon, hole) = (farm.daemon(Which::Ours).start(), BlackHole::open());
    let (up, down) = (daemon.host(), format!("127.0.0.1:{}", hole.port));
    let ran = lsdistcc(&farm, &["-t60", "-c1500", "-x", &down, &up]).expect(0);
    assert_eq!(ran.stdout, format!("{up}\n{down},down\n"));
    let ran = lsdistcc(&farm, &["-t2", "-c50000", "-x", &down, &up]).expect(0);
    assert_eq!(ran.stdout, format!("{up}\n"));
    assert!(ran.took >= Duration::from_secs(2), "{ran}");
    let ran = lsdistcc(&farm, &["-t1", "-c50000", "-x", &down]).expect(1);
    assert_eq!(ran.stdout, "");
}

#[test]
fn latency_needs_a_connection() {
    let farm = Farm::new();
    let daemon = farm.daemon(Which::Ours).start();
    let ran = lsdistcc(&farm, &["-c50000", "-l", &daemon.host()]).expect(0);
    let (host, ms) = ran.stdout.trim_end().split_once(' ').unwrap();
    assert_eq!(host, daemon.host());
    assert!(ms.parse::<u64>().is_ok(), "{ran}");
    let ran = lsdistcc(&farm, &["-c0", "-l", &daemon.host()]).expect(0);
    assert_eq!(ran.stdout, format!("{}\n", daemon.host()));
}

#[test]
fn only_a_whole_answer_counts() {
    if !have("tools", &["gcc"]) {
        return;
    }
    let farm = Farm::new();
    let daemon = farm.daemon(Which::Ours).start();
    let relay = Peer::relay(daemon.port);
    lsdistcc(&farm, &[&PATIENT[..], &["-pgcc", &relay.host()]].concat()).expect(0);
    let recorded = relay.recorded();
    let length = recorded.reply.len();
    let answered = |recorded: &Recorded, length, ending| {
        let peer = Peer::play(recorded.cut(Direction::Reply, length, ending));
        let ran = lsdistcc(&farm, &["-t60", "-c50000", "-k2000", "-pgcc", &peer.host()]);
        ran.status == 0
    };
    assert!(answered(&recorded, length, Ending::Close));
    assert!(!answered(&recorded, length, Ending::Stall), "no end");
    assert!(!answered(&recorded, length - 1, Ending::Close), "too short");
    assert!(!answered(&recorded, 0, Ending::Close), "no answer");
    let changed = |at: usize, bytes: &[u8]| {
        let mut changed = recorded.clone();
        changed.reply.splice(at..at + bytes.len(), bytes.to_vec());
        changed
    };
    let close = Ending::Close;
    assert!(!answered(&changed(11, b"2"), length, close), "version");
    assert!(!answered(&changed(20, b"100"), length, close), "status");
    assert!(!answered(&changed(12, b"HTTP"), length, close), "words");
    let mut longer = recorded.clone();
    longer.reply.push(b'x');
    assert!(!answered(&longer, length + 1, close), "too long");
}

#[test]
fn ipv6_hosts_are_found() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        println!("skipped: no IPv6 here");
        return;
    };
    let farm = Farm::new();
    let port = listener.local_addr().unwrap().port();
    let there = format!("[::1]:{port}");
    for words in [&[there.as_str()][..], &[&format!("-r{port}"), "::1"]] {
        let ran = lsdistcc(&farm, &[&PATIENT[..], words].concat()).expect(0);
        assert_eq!(ran.stdout, format!("{there}\n"));
    }
}

#[test]
fn names_without_an_address_stop_formats_only() {
    let farm = Farm::new();
    let daemon = farm.daemon(Which::Ours).start();
    let (up, port) = (daemon.host(), format!("-r{}", daemon.port));
    let words = ["no-such-host.invalid", "nor-this.invalid", &up];
    let ran = lsdistcc(&farm, &[&PATIENT[..], &words].concat()).expect(0);
    assert_eq!(ran.stdout, format!("{up}\n"));
    let ran = lsdistcc(
        &farm,
        &[&PATIENT[..], &["-x", &port, "127.0.0.%d"]].concat(),
    );
    assert_eq!(ran.expect(0).stdout.lines().count(), 255);
    let ran = lsdistcc(
        &farm,
        &[&PATIENT[..], &["no-such-host-%d.invalid"]].concat(),
    );
    assert_eq!(ran.expect(1).stdout, "");
}

#[test]
fn a_host_may_have_a_limit_and_what_is_no_host_is_named() {
    let farm = Farm::new();
    let daemon = farm.daemon(Which::Ours).start();
    let (up, port) = (daemon.host(), daemon.port);
    let hosts = [
        format!("{up}/3"),
        format!("127.0.0.1/5:{port}"),
        format!("{up},lzo"),
        format!("{up}/0"),
        "me@a".to_owned(),
    ];
    let hosts = hosts.iter().map(String::as_str);
    let words: Vec<&str> = PATIENT.into_iter().chain(["-P2"]).chain(hosts).collect();
    let ran = lsdistcc(&farm, &words).expect(0);
    let expected = [format!("{up}/3,lzo"), format!("{up}/5,lzo")];
    assert_eq!(sorted(&ran), expected, "{ran}");
    for word in ["me@a", &format!("{up},lzo"), &format!("{up}/0")] {
        assert!(
            ran.stderr.contains(&format!("'{word}' is no host")),
            "{ran}"
        );
    }
}

#[test]
fn lsdistcc_explains_itself_on_stdout() {
    let farm = Farm::new();
    for which in [Which::Ours, Which::Stock] {
        if !tool(&farm, which, "lsdistcc").exists() {
            continue;
        }
        for word in ["--help", "-z", "-P4", "-p", "-r0"] {
            let ran = run(&farm, which, "lsdistcc", &[word]).expect(1);
            assert!(ran.stdout.starts_with("Usage: lsdistcc"), "{ran}");
            let is_named = which == Which::Ours && word != "--help";
            let fault = format!("lsdistcc: {word}: ");
            assert_eq!(ran.stderr.starts_with(&fault), is_named, "{ran}");
            assert_eq!(ran.stderr.lines().count(), usize::from(is_named), "{ran}");
        }
    }
}

/// A prefix with distcc and its masquerade folder, and a folder of pretended compilers.
fn prefix(farm: &Farm, compilers: &[&str]) -> (PathBuf, PathBuf) {
    let prefix = farm.path("prefix");
    let folder = farm.path("compilers");
    for new in [&prefix.join("bin"), &prefix.join("lib/distcc"), &folder] {
        fs::create_dir_all(new).unwrap();
    }
    fs::copy(OURS, prefix.join("bin/distcc")).unwrap();
    symlink("distcc", prefix.join("bin/update-distcc-symlinks")).unwrap();
    for name in compilers {
        symlink("/bin/true", folder.join(name)).unwrap();
    }
    (prefix, folder)
}

#[test]
fn what_lies_beside_the_links_is_no_reason_to_remove_them() {
    let farm = Farm::new();
    let (prefix, compilers) = prefix(&farm, &["zz-linux-gnu-gcc-99"]);
    let links = prefix.join("lib/distcc");
    let update = |words: &[&str]| {
        let mut command = Command::new(prefix.join("bin/update-distcc-symlinks"));
        let path = format!("{}:{}", links.display(), compilers.display());
        let out = command.args(words).env("PATH", path).output().unwrap();
        assert!(out.status.success());
        String::from_utf8(out.stdout).unwrap()
    };
    let linked = update(&[]);
    assert!(linked.contains("zz-linux-gnu-gcc-99: linked"), "{linked}");
    fs::write(links.join("notes"), "").unwrap();
    fs::create_dir(links.join("folder")).unwrap();
    symlink("/bin/true", links.join("foreign-linux-gnu-gcc")).unwrap();
    assert_eq!(update(&[]), "");
    let listed = update(&["--list"]);
    assert!(listed.contains("zz-linux-gnu-gcc-99\n"), "{listed}");
    assert!(!listed.contains("foreign"), "{listed}");
    assert!(links.join("zz-linux-gnu-gcc-99").is_symlink() && links.join("notes").exists());
}
