//! Hosts that fail, at every byte of an exchange and in every other way: the build goes on in bounded time with the
//! right object, nothing is left behind; with fallback off, the status names the cause.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{
    free_port, have, in_parallel, same_file, wait_for, BlackHole, Client, Daemon, Direction,
    Ending, Farm, Peer, Ran, Recorded, Script, Went, Which, BOUND,
};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const SOURCE: &str = "# 1 \"x.c\"\nint f(int a) { return a + 3; }\n";

/// A farm with one of our daemons, a source, and the object that a local compile makes of it.
struct Scene {
    farm: Farm,
    daemon: Daemon,
    local: PathBuf,
}

impl Scene {
    /// `None` if there is no compiler.
    fn new(test: &str) -> Option<Scene> {
        if !have(test, &["gcc"]) {
            return None;
        }
        let farm = Farm::new();
        farm.write("x.i", SOURCE);
        let daemon = farm.daemon(Which::Ours).start();
        farm.local(&["gcc", "-c", "x.i", "-o", "local.o"]).expect(0);
        let local = farm.work().join("local.o");
        Some(Scene {
            farm,
            daemon,
            local,
        })
    }

    /// A client that has no memory of failures and does not wait long.
    fn client(&self, hosts: &str) -> Client<'_> {
        self.farm
            .client(Which::Ours, hosts)
            .env("DISTCC_BACKOFF_PERIOD", "0")
            .env("DISTCC_IO_TIMEOUT", "1")
            .env("DISTCC_CONNECT_TIMEOUT", "1")
    }

    /// All bytes of a good exchange, with this option of the host.
    fn record(&self, option: &str) -> Recorded {
        let relay = Peer::relay(self.daemon.port);
        let client = self.client(&format!("{}{option}", relay.host()));
        let ran = client.run(&compile(0)).expect(0);
        assert_eq!(ran.went(), Went::Remote, "{ran}");
        let recorded = relay.recorded();
        assert!(recorded.request.len() > 50 && recorded.reply.len() > 50);
        recorded
    }

    /// Compiles into an object of this number; whatever the host does, it must be right and silent.
    #[track_caller]
    fn compiles(&self, client: &Client, number: usize, what: &str) -> Ran {
        let ran = client.run(&compile(number));
        assert_eq!(ran.status, 0, "{what}: {ran}");
        assert_eq!(ran.stderr, "", "{what}: {ran}");
        let object = self.farm.work().join(object(number));
        assert_eq!(same_file(&self.local, &object), None, "{what}: {ran}");
        ran
    }

    /// The same with fallback off: this status, no object, and a word of explanation.
    #[track_caller]
    fn fails(&self, client: &Client, number: usize, status: i32, what: &str) {
        let ran = client
            .clone()
            .env("DISTCC_FALLBACK", "0")
            .run(&compile(number));
        assert_eq!(ran.status, status, "{what}, no fallback: {ran}");
        assert!(ran.log.contains("ERROR"), "{what}, no explanation: {ran}");
        let object = self.farm.work().join(object(number));
        assert!(
            !object.exists(),
            "{what}: an object although it failed: {ran}"
        );
    }
}

/// All commands, and so all exchanges, are of one length.
fn compile(number: usize) -> [String; 5] {
    ["gcc", "-c", "x.i", "-o", &object(number)].map(str::to_owned)
}

fn object(number: usize) -> String {
    format!("x{number:05}.o")
}

#[test]
fn cut_after_every_byte() {
    let Some(scene) = Scene::new("cuts") else {
        return;
    };
    let mut cases = Vec::new();
    for option in ["", ",lzo"] {
        let recorded = scene.record(option);
        for (direction, length) in [
            (Direction::Request, recorded.request.len()),
            (Direction::Reply, recorded.reply.len()),
        ] {
            for after in 0..length {
                // Inside the uncompressed object one byte is like another.
                let dull = option.is_empty() && after > 150 && after % 7 != 0;
                for ending in [Ending::Close, Ending::Reset] {
                    if !dull {
                        cases.push((
                            option,
                            direction,
                            after,
                            recorded.cut(direction, after, ending),
                        ));
                    }
                }
                if after % 37 == 5 {
                    let script = recorded.cut(direction, after, Ending::Stall);
                    cases.push((option, direction, after, script));
                }
            }
        }
    }
    let numbered: Vec<_> = cases.into_iter().enumerate().collect();
    in_parallel(&numbered, |(number, (option, direction, after, script))| {
        let peer = Peer::play(script.clone());
        let client = scene.client(&format!("{}{option}", peer.host()));
        let what = format!(
            "{:?} after byte {after} of the {direction:?}{option}",
            script.ending
        );
        let ran = scene.compiles(&client, *number, &what);
        assert_eq!(ran.went(), Went::Local, "{what}: {ran}");
    });
    println!("{} cuts", numbered.len());
    scene.farm.expect_clean("all cuts");
}

#[test]
fn what_comes_after_the_reply_does_not_matter() {
    let Some(scene) = Scene::new("after the reply") else {
        return;
    };
    let recorded = scene.record("");
    for (number, ending) in [Ending::Close, Ending::Reset, Ending::Stall]
        .into_iter()
        .enumerate()
    {
        let script = recorded.cut(Direction::Reply, recorded.reply.len(), ending);
        let peer = Peer::play(script);
        let what = format!("{ending:?} after the reply");
        let ran = scene.compiles(&scene.client(&peer.host()), number, &what);
        // A reset may overtake what was sent before it.
        assert!(
            ending == Ending::Reset || ran.went() == Went::Remote,
            "{what}: {ran}"
        );
    }
    scene.farm.expect_clean("replies");
}

#[test]
fn garbage_and_huge_lengths() {
    let Some(scene) = Scene::new("garbage") else {
        return;
    };
    let noise: Vec<u8> = (0..100_000u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let head = "DONE00000001STAT00000000SERR00000000SOUT00000000";
    let lzo = head.replace("DONE00000001", "DONE00000002");
    // What expands to far more than it is: 17 literal bytes, then matches of the same byte without end.
    let bomb = [&b"\x22aaaaaaaaaaaaaaaaa\x20"[..], &[0; 400_000]].concat();
    let bomb = [
        lzo.as_bytes(),
        format!("DOTO{:08x}", bomb.len()).as_bytes(),
        &bomb,
    ]
    .concat();
    let text = |text: &str| text.as_bytes().to_vec();
    let protocol = 109;
    for (number, (what, reply, statuses)) in [
        (
            "a web server",
            text("HTTP/1.1 400 Bad Request\r\n\r\n"),
            &[protocol][..],
        ),
        ("noise", noise, &[protocol]),
        ("zeros", vec![0; 4096], &[protocol]),
        (
            "another version",
            text("DONE00000007STAT00000000"),
            &[protocol],
        ),
        ("no number", text("DONE0000000gSTAT00000000"), &[protocol]),
        (
            "the wrong order",
            text("DONE00000001SERR00000000"),
            &[protocol],
        ),
        (
            "a huge message",
            text(&head.replace("SERR00000000", "SERRffffffff")),
            &[protocol, 108, 107],
        ),
        (
            "a huge output",
            text(&head.replace("SOUT00000000", "SOUTfffffffe")),
            &[protocol, 108, 107],
        ),
        (
            "a huge object",
            text(&format!("{head}DOTOffffffff")),
            &[protocol, 108, 107],
        ),
        (
            "a large object that never comes",
            text(&format!("{head}DOTO3fffffffabc")),
            &[protocol, 108],
        ),
        (
            "a failure with an object",
            text("DONE00000001STAT00000100SERR00000000SOUT00000000DOTO00000001x"),
            &[protocol, 1],
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let script = Script {
            read: 0,
            reply,
            pace: None,
            ending: Ending::Close,
        };
        let peer = Peer::play(script);
        let client = scene.client(&peer.host());
        let ran = scene.compiles(&client, 2 * number, what);
        assert_eq!(ran.went(), Went::Local, "{what}: {ran}");
        let ran = client
            .env("DISTCC_FALLBACK", "0")
            .run(&compile(2 * number + 1));
        assert!(statuses.contains(&ran.status), "{what}: {ran}");
    }
    let peer = Peer::play(Script {
        read: 0,
        reply: bomb,
        pace: None,
        ending: Ending::Close,
    });
    let client = scene.client(&format!("{},lzo", peer.host()));
    let ran = scene.compiles(&client, 1000, "a bomb");
    assert_eq!(ran.went(), Went::Local, "a bomb: {ran}");
    scene.farm.expect_clean("garbage");
}

#[test]
fn nobody_there_or_nobody_answers() {
    let Some(scene) = Scene::new("silence") else {
        return;
    };
    let hole = BlackHole::open();
    let silent = Peer::play(Script {
        read: 0,
        reply: Vec::new(),
        pace: None,
        ending: Ending::Stall,
    });
    for (number, (what, host, status)) in [
        ("refused", format!("127.0.0.1:{}", free_port()), 103),
        ("no such name", "no-such-host.invalid".to_owned(), 103),
        ("a black hole", format!("127.0.0.1:{}", hole.port), 103),
        ("silence", silent.host(), 118),
    ]
    .into_iter()
    .enumerate()
    {
        let client = scene.client(&host);
        let begun = Instant::now();
        let ran = scene.compiles(&client, 2 * number, what);
        assert_eq!(ran.went(), Went::Local, "{what}: {ran}");
        // Limits of a second each, on a machine that may be busy.
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}: {ran}");
        scene.fails(&client, 2 * number + 1, status, what);
        // With another host there, that one is taken.
        let client = scene.client(&format!("{host} {}", scene.daemon.host()));
        let ran = scene.compiles(&client, 2 * number, what);
        assert_eq!(ran.hosts(), [scene.daemon.host()], "{what}: {ran}");
    }
    scene.farm.expect_clean("silence");
}

/// As long as something comes, it is waited for.
#[test]
fn a_slow_host_is_waited_for() {
    let Some(scene) = Scene::new("slow") else {
        return;
    };
    let recorded = scene.record("");
    let mut script = recorded.cut(Direction::Reply, recorded.reply.len(), Ending::Close);
    script.pace = Some((recorded.reply.len() / 20, Duration::from_millis(100)));
    let peer = Peer::play(script);
    // Twenty pauses are longer than the limit for one.
    let ran = scene.compiles(&scene.client(&peer.host()), 1, "slow");
    assert_eq!(ran.went(), Went::Remote, "{ran}");
    assert!(ran.took > Duration::from_millis(1500), "{ran}");
    scene.farm.expect_clean("a slow host");
}

/// A compiler on the daemon that waits until it is ended; locally the real one.
fn waiting_compiler(farm: &Farm) -> (Daemon, PathBuf) {
    let folder = farm.path("bin/remote");
    fs::create_dir(&folder).unwrap();
    let path = folder.join("gcc");
    fs::write(&path, "#!/bin/sh\nexec sleep 60\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let list = format!("{}:/usr/bin:/bin", folder.display());
    let daemon = farm
        .daemon(Which::Ours)
        .options(&["--enable-tcp-insecure"])
        .env("PATH", &list)
        .start();
    (daemon, folder)
}

/// The process that runs `sleep 60` with this folder first on its PATH.
fn sleeper(folder: &Path) -> Option<String> {
    let wanted = format!("PATH={}:", folder.display());
    fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
        let ours = read("cmdline") == b"sleep\x0060\x00"
            && read("environ")
                .split(|byte| *byte == 0)
                .any(|word| word.starts_with(wanted.as_bytes()));
        ours.then(|| entry.file_name().into_string().unwrap())
    })
}

#[test]
fn the_daemon_or_its_compiler_is_killed_in_the_middle() {
    let Some(scene) = Scene::new("killed") else {
        return;
    };
    let (mut daemon, folder) = waiting_compiler(&scene.farm);
    let client = scene
        .client(&daemon.host())
        .env("DISTCC_IO_TIMEOUT", "60")
        .env("DISTCC_NO_REWRITE_CROSS", "1");
    for (number, victim) in ["the compiler", "the daemon"].into_iter().enumerate() {
        let (running, log) = client.start(&compile(number));
        wait_for("the compile to begin", BOUND, || sleeper(&folder).is_some());
        match victim {
            "the daemon" => daemon.kill(),
            _ => common::signal("KILL", &sleeper(&folder).unwrap()),
        }
        // The limit on silence is not reached: the end is noticed.
        let ran = running.finish(Duration::from_secs(30)).expect(0);
        let log = fs::read_to_string(log).unwrap();
        assert!(log.contains("exec on localhost"), "{victim}: {ran}{log}");
        let object = scene.farm.work().join(object(number));
        assert_eq!(same_file(&scene.local, &object), None, "{victim}: {ran}");
        if victim == "the compiler" {
            assert_eq!(daemon.leftovers(), [""; 0]);
            assert!(daemon.alive());
        }
    }
    // Who is killed outright cannot end its compilers; they end by themselves, this one after a minute.
    if let Some(left) = sleeper(&folder) {
        common::signal("KILL", &left);
    }
    scene.farm.expect_clean("killing");
}
