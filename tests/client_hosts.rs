//! Where the host list comes from, what becomes of hosts that fail, and which exit code tells of it.
#![allow(clippy::unwrap_used)]

mod common;

use common::{BlackHole, Client, Daemon, Ending, Farm, Peer, Ran, Script, Went, Which};
use std::fs;
use std::time::{Duration, Instant};

const SOURCE: &str = "int f(int a) { return a * 3; }\n";
const COMPILE: [&str; 5] = ["gcc", "-c", "x.c", "-o", "x.o"];

/// A machine with `x.c`, and what a local compile makes of it in `local.o`.
fn machine() -> Farm {
    let farm = Farm::new();
    farm.write("x.c", SOURCE);
    farm.local(&["gcc", "-c", "x.c", "-o", "local.o"]).expect(0);
    farm
}

fn with_daemon() -> (Farm, Daemon) {
    let farm = machine();
    let daemon = farm.daemon(Which::Ours).start();
    (farm, daemon)
}

/// A client that says on stderr what it has to say.
fn client<'f>(farm: &'f Farm, hosts: &str) -> Client<'f> {
    farm.client(Which::Ours, hosts).env("DISTCC_LOG", "")
}

#[track_caller]
fn expect_in(ran: &Ran, parts: &[&str]) {
    for part in parts {
        let text = format!("{}{}", ran.stderr, ran.log);
        assert!(text.contains(part), "no {part:?} in: {ran}");
    }
}

/// Panics unless `x.o` is what a local compile makes.
#[track_caller]
fn expect_object(farm: &Farm, ran: &Ran) {
    let (right, made) = (farm.work().join("local.o"), farm.work().join("x.o"));
    let difference = common::same_file(&right, &made);
    assert_eq!(difference, None, "{ran}");
    fs::remove_file(made).unwrap();
}

/// Which hosts are marked as in trouble.
fn marks(farm: &Farm) -> Vec<String> {
    let mut found: Vec<String> = fs::read_dir(farm.path("top/lock"))
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("backoff_"))
        .collect();
    found.sort();
    found
}

fn mark_of(port: u16) -> String {
    format!("backoff_tcp_127.0.0.1_{port}_0")
}

/// Where nobody listens: a free port could be taken by a daemon of another test.
fn unused() -> String {
    "127.0.0.1:1".to_owned()
}

/// A peer that waits for a whole request of this much and says this.
fn says(read: usize, reply: &str, ending: Ending) -> Peer {
    Peer::play(Script {
        read,
        reply: reply.as_bytes().to_vec(),
        pace: None,
        ending,
    })
}

#[test]
fn the_list_is_taken_from_the_first_place_that_has_one() {
    let (farm, daemon) = with_daemon();
    let file = farm.path("top/hosts");
    fs::write(&file, format!("# mine\n{}/3\r\n", daemon.host())).unwrap();
    let from_file = farm.client(Which::Ours, "").without("DISTCC_HOSTS");
    let ran = from_file.run(&COMPILE).expect(0);
    assert_eq!(ran.hosts(), [format!("{}/3", daemon.host())], "{ran}");
    expect_object(&farm, &ran);
    // The variable counts even if it is empty.
    let ran = client(&farm, "").run(&COMPILE).expect(0);
    expect_in(
        &ran,
        &[
            "Warning",
            "$DISTCC_HOSTS contained no hosts; can't distribute work",
        ],
    );
    expect_object(&farm, &ran);
    // Without DISTCC_DIR the folder is in HOME, and is made.
    let homely = from_file.clone().without("DISTCC_DIR");
    homely.run(&["--show-hosts"]).expect(0);
    let folder = farm.path("home/.distcc");
    assert!(folder.is_dir(), "~/.distcc is made");
    fs::copy(&file, folder.join("hosts")).unwrap();
    let ran = homely.run(&COMPILE).expect(0);
    assert_eq!(ran.hosts(), [format!("{}/3", daemon.host())], "{ran}");
    assert!(folder.join("lock").is_dir());
    expect_object(&farm, &ran);
    // The machine's list is the last.
    fs::remove_file(file).unwrap();
    let system = fs::read_to_string("/etc/distcc/hosts").ok();
    let ran = from_file.env("DISTCC_LOG", "").run(&["--show-hosts"]);
    match system {
        Some(text) => {
            let hosts = text.lines().filter(|line| !line.starts_with('#')).count();
            assert_eq!(ran.stdout.lines().count(), hosts, "{ran}");
        }
        None => expect_in(&ran, &["no hostlist is set; can't distribute work"]),
    }
}

#[test]
fn no_list_or_a_bad_one_is_said_and_the_job_runs_here() {
    let farm = machine();
    for (hosts, code, parts) in [
        (
            "",
            116,
            &["$DISTCC_HOSTS contained no hosts; can't distribute work"][..],
        ),
        ("--randomize", 116, &["contained no hosts"]),
        ("a,down b,down", 116, &["down"]),
        ("here and,there", 106, &["and,there", "$DISTCC_HOSTS"]),
        ("a:12x", 106, &["a:12x"]),
        ("a,cpp", 106, &["a,cpp", "lzo"]),
        ("a/0", 106, &["a/0"]),
        ("[::1", 106, &["[::1"]),
        ("@", 106, &["@"]),
    ] {
        let ran = client(&farm, hosts).run(&COMPILE).expect(0);
        expect_in(&ran, parts);
        expect_in(
            &ran,
            &["Warning", "failed to distribute, running locally instead"],
        );
        expect_object(&farm, &ran);
        let strict = client(&farm, hosts).env("DISTCC_FALLBACK", "0");
        let ran = strict.run(&COMPILE).expect(code);
        expect_in(&ran, parts);
        expect_in(&ran, &["failed to distribute and fallbacks are disabled"]);
        assert!(!farm.work().join("x.o").exists(), "{ran}");
        // What is no compile does not depend on the list.
        let ran = strict.run(&["gcc", "-E", "x.c"]).expect(0);
        assert_eq!(ran.stderr, "", "{ran}");
    }
    assert_eq!(marks(&farm), [""; 0]);
    farm.expect_clean("bad lists");
}

#[test]
fn with_fallback_off_the_code_names_the_cause() {
    let farm = machine();
    let hole = BlackHole::open();
    let done = "DONE00000001";
    let cases = [
        (unused(), None, 103, "failed to connect to 127.0.0.1:"),
        ("no-such-host.invalid".into(), None, 103, "failed to resolve host no-such-host.invalid"),
        (format!("127.0.0.1:{}", hole.port), None, 103, "timeout while connecting to 127.0.0.1:"),
    ]
    .into_iter()
    .chain(
        [
            (says(4, "", Ending::Close), 108, "server provided no answer."),
            (says(4, "", Ending::Reset), 108, "server provided no answer. It hung up before it had read the request"),
            (says(4, &done[..7], Ending::Close), 108, "hung up where"),
            (says(4, "DONE00000001STAT000000", Ending::Close), 108, "hung up where"),
            (says(4, "DONE00000001STAT00000000SERR00000000SOUT00000000DOTO00001000xyz", Ending::Close), 108, "hung up where"),
            (says(4, "HTTP/1.1 400 Bad Request\r\n\r\n", Ending::Close), 109, "DONE"),
            (says(4, "DONE00000002STAT", Ending::Close), 109, "version"),
            (says(4, "DONE00000001JUNK00000000", Ending::Close), 109, "STAT"),
            (says(4, "DONE00000001STAT00000000SERRffffffff", Ending::Stall), 107, "more than the limit"),
            (says(4, "", Ending::Stall), 118, "IO timeout"),
            (says(4, "DONE00000001STAT00000000", Ending::Stall), 118, "IO timeout"),
            (says(4, "DONE00000001STAT00006e00SERR00000020distccd[7] ERROR: failed to execSOUT00000000DOTO00000000", Ending::Close), 110, "failed to exec"),
            (says(4, "DONE00000001STAT00007100SERR00000009not that\nSOUT00000000DOTO00000000", Ending::Close), 113, "not that"),
        ]
        .map(|(peer, code, words)| (peer.host(), Some(peer), code, words)),
    );
    for (host, peer, code, words) in cases {
        let strict = client(&farm, &host)
            .env("DISTCC_FALLBACK", "0")
            .env("DISTCC_IO_TIMEOUT", "1")
            .env("DISTCC_CONNECT_TIMEOUT", "1")
            .env("DISTCC_BACKOFF_PERIOD", "0");
        let begun = Instant::now();
        let ran = strict.run(&COMPILE);
        assert_eq!(ran.status, code, "{words}: {ran}");
        expect_in(
            &ran,
            &[words, "failed to distribute and fallbacks are disabled"],
        );
        let errors = ran.stderr.matches("ERROR: ").count();
        assert_eq!(errors, 2, "the cause, and that there is no way out: {ran}");
        assert!(!farm.work().join("x.o").exists(), "{ran}");
        // With it, the same is a line or two on the way to the right object.
        let ran = strict.env("DISTCC_FALLBACK", "1").run(&COMPILE).expect(0);
        let fallback = format!("failed to distribute x.c to {host}, running locally instead");
        expect_in(&ran, &[words, &fallback]);
        expect_object(&farm, &ran);
        assert!(begun.elapsed() < Duration::from_secs(20), "{words}");
        drop(peer);
    }
    assert_eq!(marks(&farm), [""; 0], "no marks without a backoff period");
    farm.expect_clean("failing hosts");
}

#[test]
fn a_compiler_that_is_not_there() {
    let (farm, daemon) = with_daemon();
    farm.write("t.i", "# 1 \"t.c\"\nint t;\n");
    for words in [
        &["no-such-compiler", "-c", "x.c"][..],
        &["no-such-compiler", "x.o", "-o", "x"],
        &["/no/such/gcc", "-c", "x.c"],
    ] {
        for fallback in ["0", "1"] {
            let client = client(&farm, &daemon.host()).env("DISTCC_FALLBACK", fallback);
            let ran = client.run(words).expect(110);
            expect_in(&ran, &["failed to exec", words[0]]);
        }
    }
    // What the host says of it: that it may not run it, or that it has none.
    let open = farm.daemon(Which::Ours).options(&["--enable-tcp-insecure"]);
    let open = open.start();
    for (host, code, words) in [
        (daemon.host(), 113, "is not allowed here"),
        (open.host(), 110, "failed to exec no-such-compiler"),
    ] {
        let compile = ["no-such-compiler", "-c", "t.i"];
        let strict = client(&farm, &host).env("DISTCC_FALLBACK", "0");
        expect_in(&strict.run(&compile).expect(code), &[words]);
        let ran = client(&farm, &host).run(&compile).expect(110);
        expect_in(&ran, &[words, "failed to exec no-such-compiler"]);
    }
    // One compiler that is missing there is no reason to leave the host alone.
    assert_eq!(marks(&farm), [""; 0]);
    let ran = farm.client(Which::Ours, &daemon.host()).run(&COMPILE);
    assert_eq!(ran.hosts(), [daemon.host()], "{ran}");
    farm.expect_clean("missing compilers");
}

/// Shells look in the folders after it, too; `execvp` does not, and so neither do compilers that want an assembler.
#[test]
fn a_folder_on_path_whose_name_is_too_long_is_passed_over() {
    let (farm, daemon) = with_daemon();
    for long in ["/".to_owned() + &"x".repeat(300), "/x".repeat(3000)] {
        let path = format!("{long}:/usr/bin:/bin");
        for (hosts, went) in [("localhost", Went::Local), (&daemon.host(), Went::Remote)] {
            let ran = client(&farm, hosts)
                .env("PATH", &path)
                .without("DISTCC_LOG");
            let ran = ran.run(&["gcc", "-S", "x.c", "-o", "x.s"]).expect(0);
            assert_eq!(ran.went(), went, "{ran}");
        }
    }
}

#[test]
fn a_bad_host_is_named_once_and_the_next_one_compiles() {
    let (farm, daemon) = with_daemon();
    let bad = unused();
    let hosts = format!("{bad} {}", daemon.host());
    for backoff in ["60", "0"] {
        let client = client(&farm, &hosts).env("DISTCC_BACKOFF_PERIOD", backoff);
        let ran = client.run(&COMPILE).expect(0);
        expect_object(&farm, &ran);
        let lines: Vec<&str> = ran.stderr.lines().collect();
        assert_eq!(lines.len(), 1, "{ran}");
        let next = "; trying another host for x.c";
        expect_in(&ran, &["ERROR: failed to connect to", &bad, next]);
        let port = bad.rsplit(':').next().unwrap().parse().unwrap();
        let expected = match backoff {
            "0" => vec![],
            _ => vec![mark_of(port)],
        };
        assert_eq!(marks(&farm), expected, "backoff period {backoff}");
        if let [mark] = &expected[..] {
            let mark = farm.path("top/lock").join(mark);
            assert_eq!(fs::read(&mark).unwrap(), b"x");
            // It is left alone, silently.
            let ran = client.run(&COMPILE).expect(0);
            assert_eq!(ran.stderr, "");
            expect_object(&farm, &ran);
            fs::remove_file(mark).unwrap();
        }
    }
    common::wait_for("three jobs in the log", common::BOUND, || {
        daemon.jobs().len() == 3
    });
    farm.expect_clean("a retry");
}

#[test]
fn hosts_that_hang_up_are_left_alone_and_come_back() {
    let (farm, daemon) = with_daemon();
    let peer = says(4, "DONE0000", Ending::Close);
    let hosts = format!("{} {}", peer.host(), daemon.host());
    let client = farm.client(Which::Ours, &hosts);
    for _ in 0..3 {
        let ran = client.run(&COMPILE).expect(0);
        assert_eq!(ran.hosts(), [daemon.host()], "{ran}");
    }
    assert_eq!(peer.connections(), 1, "tried once, then left alone");
    assert_eq!(marks(&farm), [mark_of(peer.port)]);
    // A result of any kind takes the mark away.
    fs::write(farm.path("top/lock").join(mark_of(daemon.port)), "x").unwrap();
    let ran = client.clone().env("DISTCC_FALLBACK", "0").run(&COMPILE);
    assert_eq!(ran.status, 116, "{ran}");
    expect_in(&ran, &["left alone, for ", "DISTCC_BACKOFF_PERIOD=0"]);
    let relay = Peer::relay(daemon.port);
    let mark = farm.path("top/lock").join(mark_of(relay.port));
    fs::write(&mark, "x").unwrap();
    let hour_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
    let file = fs::File::options().write(true).open(&mark).unwrap();
    file.set_modified(hour_ago).unwrap();
    let ran = farm.client(Which::Ours, &relay.host()).run(&COMPILE);
    assert_eq!(ran.hosts(), [relay.host()], "{ran}");
    assert!(!mark.exists(), "a host that works loses its mark");
}

#[test]
fn no_folder_for_locks_is_no_reason_not_to_compile() {
    let (farm, daemon) = with_daemon();
    let client = client(&farm, &daemon.host());
    fs::write(farm.path("file"), "").unwrap();
    let missing = farm.path("missing");
    for (client, words) in [
        (client.clone().without("DISTCC_DIR").without("HOME"), "HOME"),
        (client.clone().env("DISTCC_DIR", &missing), "missing"),
        (client.clone().env("DISTCC_DIR", farm.path("file")), "file"),
        (
            client.clone().without("DISTCC_DIR").env("HOME", &missing),
            "missing",
        ),
    ] {
        let ran = client.run(&COMPILE).expect(0);
        expect_in(&ran, &["Warning: ", words]);
        expect_object(&farm, &ran);
        let strict = client.env("DISTCC_FALLBACK", "0").run(&COMPILE);
        assert_ne!(strict.status, 0, "{strict}");
    }
    assert!(!missing.exists(), "DISTCC_DIR is not made");
    assert_eq!(daemon.jobs().len(), 0);
}

#[test]
fn localhost_in_the_list_compiles_here_with_the_users_words() {
    let farm = machine();
    let client = farm
        .client(Which::Ours, "localhost/2")
        .env("DISTCC_FALLBACK", "0");
    let ran = client.run(&COMPILE).expect(0);
    assert!(
        ran.log.contains("exec on localhost: gcc -c x.c -o x.o"),
        "{ran}"
    );
    expect_object(&farm, &ran);
    assert!(farm.path("top/lock/cpu_localhost_0").exists());
    farm.expect_clean("a compile on localhost");
}

#[test]
fn timeouts_that_are_no_numbers_are_named() {
    let farm = machine();
    for value in ["0", "-3", "soon"] {
        let client = client(&farm, &unused()).env("DISTCC_IO_TIMEOUT", value);
        let ran = client.run(&COMPILE).expect(101);
        expect_in(&ran, &["DISTCC_IO_TIMEOUT", value]);
    }
    // Where a number that is none does no harm, the default is used.
    let client = client(&farm, "localhost").env("DISTCC_BACKOFF_PERIOD", "soon");
    let ran = client.run(&COMPILE).expect(0);
    expect_in(&ran, &["Warning: DISTCC_BACKOFF_PERIOD is 'soon'"]);
    assert_eq!(ran.stderr.lines().count(), 1, "{ran}");
    expect_object(&farm, &ran);
}
