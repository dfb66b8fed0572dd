//! Signals at every stage of a compile: the client dies by the signal, and nothing is left: no temporary or state file,
//! no output, no child, no lock.
#![allow(clippy::unwrap_used)]

mod common;

use common::{in_parallel, wait_for, BlackHole, Client, Ending, Farm, Peer, Script, Which, BOUND};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ExitStatus, Stdio};

const SIGNALS: [(&str, i32); 4] = [("TERM", 15), ("INT", 2), ("HUP", 1), ("QUIT", 3)];

/// What the client is doing when the signal comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Preprocessing,
    Connecting,
    Sending,
    RemoteCompile,
    Receiving,
    OverSsh,
    LocalCompile,
    NoCompile,
    WaitingForHost,
    WaitingHere,
}

use Stage::*;

const STAGES: [Stage; 10] = [
    Preprocessing,
    Connecting,
    Sending,
    RemoteCompile,
    Receiving,
    OverSsh,
    LocalCompile,
    NoCompile,
    WaitingForHost,
    WaitingHere,
];

/// A peer that says this and then nothing.
fn silent(read: usize, reply: &str) -> Peer {
    Peer::play(Script {
        read,
        reply: reply.into(),
        pace: None,
        ending: Ending::Stall,
    })
}

/// A program of this name that sleeps if its words match a shell pattern, and else is the one in /usr/bin.
fn sleeper(farm: &Farm, name: &str, pattern: &str) -> String {
    let path = farm.path("bin").join(name);
    let text = format!(
        "#!/bin/sh\ncase \" $* \" in {pattern}) exec sleep 60 ;; esac\nexec /usr/bin/{name} \"$@\"\n"
    );
    // Written by another process: a child that another thread is just starting would have it open, and who is written to
    // can't be run.
    let write = "printf %s \"$2\" >\"$1\" && chmod 755 \"$1\"";
    let written = std::process::Command::new("/bin/sh")
        .args(["-c", write, "sh"])
        .args([path.as_os_str(), text.as_ref()])
        .status();
    assert!(written.unwrap().success());
    path.to_str().unwrap().to_owned()
}

fn spawn(client: &Client, words: &[&str]) -> Child {
    let (mut command, _) = client.command(words);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap()
}

#[track_caller]
fn ended(child: &mut Child) -> ExitStatus {
    let mut status = None;
    wait_for("the client's end", BOUND, || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    status.unwrap()
}

/// The phase in a client's state file.
fn phase(farm: &Farm, child: &Child) -> Option<u8> {
    let file = farm.path(&format!("top/state/binstate_{}", child.id()));
    fs::read(file).ok()?.get(284).copied()
}

fn sleeps(farm: &Farm) -> bool {
    let found = farm.processes();
    found.iter().any(|process| process.contains(": sleep 60"))
}

/// Brings a client to a stage, sends it a signal, and looks at what is left.
fn check(stage: Stage, signal: &str, number: i32) {
    let context = format!("{signal} while {stage:?}");
    let farm = Farm::new();
    farm.write("x.c", "int f;\n");
    // More than sockets hold.
    let big: String = (0..400_000).map(|i| format!("int i{i};\n")).collect();
    let hole = (stage == Connecting).then(BlackHole::open);
    let peer = match stage {
        Sending => silent(1, ""),
        Receiving => silent(4, "DONE00000001STAT00000000SERR0000"),
        _ => silent(4, ""),
    };
    let host = match (stage, &hole) {
        (Connecting, Some(hole)) => format!("127.0.0.1:{}", hole.port),
        (OverSsh, _) => "@far".to_owned(),
        (LocalCompile, _) => "localhost".to_owned(),
        (WaitingHere, _) => format!("{} --localslots=1", peer.host()),
        _ => format!("{}/1", peer.host()),
    };
    let mut client = farm
        .client(Which::Ours, &host)
        .env("DISTCC_CONNECT_TIMEOUT", "60");
    let gcc = match stage {
        Preprocessing => sleeper(&farm, "gcc", "*' -E '*"),
        LocalCompile => sleeper(&farm, "gcc", "*"),
        NoCompile | WaitingHere => sleeper(&farm, "gcc", "*' -v '*"),
        _ => "gcc".to_owned(),
    };
    if stage == OverSsh {
        client = client.env("DISTCC_SSH", sleeper(&farm, "ssh", "*"));
    }
    if stage == Sending {
        farm.write("x.c", &big);
    }
    let words: &[&str] = match stage {
        NoCompile => &[&gcc, "-v"],
        _ => &[&gcc, "-c", "x.c", "-MD"],
    };
    let mut first = None;
    let mut child = match stage {
        WaitingForHost => {
            first = Some(spawn(&client, words));
            let holder = first.as_ref().unwrap();
            wait_for("a holder", BOUND, || phase(&farm, holder) == Some(5));
            spawn(&client, words)
        }
        WaitingHere => {
            first = Some(spawn(&client, &[&gcc, "-v"]));
            wait_for("a holder", BOUND, || sleeps(&farm));
            spawn(&client, &["gcc", "--version"])
        }
        _ => spawn(&client, words),
    };
    let at_least = |wanted: u8| {
        wait_for(&context, BOUND, || {
            phase(&farm, &child).is_some_and(|now| now >= wanted)
        });
    };
    match stage {
        Preprocessing | LocalCompile | NoCompile | OverSsh => {
            wait_for(&context, BOUND, || {
                assert_eq!(child.try_wait().unwrap(), None, "{context}: it ended");
                sleeps(&farm)
            });
        }
        Connecting => wait_for(&context, BOUND, || farm.path("work/x.d").exists()),
        // They may have passed by the time one looks.
        Sending => at_least(4),
        RemoteCompile => at_least(5),
        Receiving => at_least(6),
        // Nothing tells that it waits; a signal that comes too early is one more stage.
        WaitingForHost | WaitingHere => {
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }
    common::signal(signal, &child.id().to_string());
    let status = ended(&mut child);
    assert_eq!(status.signal(), Some(number), "{context}: {status:?}");
    if let Some(mut first) = first {
        assert_eq!(
            first.try_wait().unwrap(),
            None,
            "{context}: the holder goes on"
        );
        common::signal("TERM", &first.id().to_string());
        ended(&mut first);
    }
    let mut left = common::files_below(&farm.work());
    left.retain(|path| !path.ends_with("/x.c") && !path.ends_with("/x.d"));
    assert_eq!(left, [""; 0], "{context}");
    farm.expect_clean(&context);
}

#[test]
fn signals_end_it_tidily_at_every_stage() {
    let mut cases = Vec::new();
    for stage in STAGES {
        for (signal, number) in SIGNALS {
            cases.push((stage, signal, number));
        }
    }
    in_parallel(&cases, |(stage, signal, number)| {
        check(*stage, signal, *number)
    });
}

#[test]
fn a_terminals_signal_reaches_the_whole_group_once() {
    let farm = Farm::new();
    farm.write("x.c", "int f;\n");
    let gcc = sleeper(&farm, "gcc", "*");
    let client = farm.client(Which::Ours, "localhost");
    let mut child = spawn(&client, &[&gcc, "-c", "x.c"]);
    wait_for("the compiler", BOUND, || sleeps(&farm));
    common::signal("INT", &format!("-{}", child.id()));
    assert_eq!(ended(&mut child).signal(), Some(2));
    farm.expect_clean("an interrupt from the terminal");
}

#[test]
fn what_is_ignored_from_the_start_stays_ignored() {
    let farm = Farm::new();
    farm.write("x.c", "int f;\n");
    let daemon = farm.daemon(Which::Ours).start();
    let path = farm.path("bin/gcc");
    let text =
        "#!/bin/sh\n: > ready\nwhile [ ! -e go ]; do sleep 0.02; done\nexec /usr/bin/gcc \"$@\"\n";
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let client = farm.client(Which::Ours, &daemon.host());
    let command = format!(
        "trap '' HUP; exec {} {} -c x.c",
        common::OURS,
        path.display()
    );
    let mut shell = std::process::Command::new("/bin/sh");
    client.dress(shell.args(["-c", &command]));
    let running = common::Running::start(&mut shell);
    wait_for("the preprocessor", BOUND, || {
        farm.path("work/ready").exists()
    });
    running.signal("HUP");
    fs::write(farm.path("work/go"), "").unwrap();
    running.finish(BOUND).expect(0);
    assert!(farm.path("work/x.o").exists(), "as under nohup");
    farm.expect_clean("an ignored signal");
}

/// Then the kernel keeps no status of a child for who asks how it ended.
#[test]
fn who_ignores_the_end_of_children_gets_objects_all_the_same() {
    let farm = Farm::new();
    farm.write("x.c", "int f;\n");
    let daemon = farm.daemon(Which::Ours).start();
    let there = format!("{},cpp,lzo", daemon.host());
    for (hosts, words) in [
        (&there, "gcc -c x.c"),
        (&"localhost".to_owned(), "gcc -c x.c"),
        (&there, "gcc x.c -shared -o x.o"),
        (&there, "pump distcc gcc -c x.c"),
    ] {
        let links = farm.masquerade(Which::Ours, &["distcc", "pump"]);
        let client = farm.client(Which::Ours, hosts);
        let client = client.env("PATH", format!("{}:/usr/bin:/bin", links.display()));
        let words = words.replacen("gcc", "distcc gcc", usize::from(!words.contains("pump")));
        let words = words.split_whitespace();
        let command: Vec<&str> = ["env", "--ignore-signal=CHLD"]
            .into_iter()
            .chain(words)
            .collect();
        client.run_other(&command).expect(0);
        fs::remove_file(farm.path("work/x.o")).unwrap();
    }
    farm.expect_clean("children whose end is ignored");
}

#[test]
fn a_compiler_that_dies_by_a_signal_is_told_as_the_shell_does() {
    let farm = Farm::new();
    farm.write("x.c", "int f;\n");
    let path = farm.path("bin/gcc");
    fs::write(&path, "#!/bin/sh\nkill -SEGV $$\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    for words in [&["-c", "x.c"][..], &["x.c"]] {
        let client = farm.client(Which::Ours, "localhost");
        let all = [&[path.to_str().unwrap()][..], words].concat();
        client.run(&all).expect(128 + 11);
    }
    // One that dies over there may live here.
    let reply = "DONE00000001STAT0000000bSERR00000000SOUT00000000DOTO00000000";
    let peer = Peer::play(Script {
        read: 4,
        reply: reply.into(),
        pace: None,
        ending: Ending::Close,
    });
    for (fallback, status) in [("1", 0), ("0", 128 + 11)] {
        let client = farm.client(Which::Ours, &peer.host());
        let ran = client
            .env("DISTCC_FALLBACK", fallback)
            .run(&["gcc", "-c", "x.c"]);
        assert_eq!(ran.status, status, "{ran}");
    }
    farm.expect_clean("crashes");
}
