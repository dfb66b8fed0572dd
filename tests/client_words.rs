//! What is said: compilers' messages byte for byte as a local run gives them, each failure once, the log where it was
//! asked for, and the records that monitors show.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Client, Daemon, Ending, Farm, Peer, Ran, Script, Which, OURS};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

const SOURCE: &str = "int f(int a) { return a * 3; }\n";

/// Sources with faults of many kinds: name, text.
const FAULTY: [(&str, &str); 14] = [
    ("unused.c", "int f(void) { int unused; int *p = 3; return *p; }\n"),
    ("format.c", "#include <stdio.h>\nvoid f(long x) {\n\tprintf(\"%d %s\\n\", x, 3);\n}\n"),
    ("macro.c", "#define TWICE(x) ((x) + (x) == 1 ? \"a\" : 7)\nint f(int a) {\n  return TWICE(a);\n}\n"),
    ("system.c", "#include <stddef.h>\n#include <limits.h>\nchar *f(void) { return NULL; }\nint g(unsigned a) { return a < 0 || a > INT_MAX; }\n"),
    ("cppwarn.c", "#warning look here\nint x;\n"),
    ("redefined.c", "#define A 1\n#define A 2\nint x = A; int f(void) { int y; return 0; }\n"),
    ("fall.c", "int f(int a) {\n  switch (a) {\n  case 1: a = 5;\n  /* fall through */\n  case 2: return a;\n  case 3: a = 2;\n  default: return 9;\n  }\n}\n"),
    ("indent.c", "void a(void), b(void);\nvoid f(int x) {\n  if (x)\n    a();\n    b();\n}\n"),
    ("several.c", "#define SWAP(x, y) c = x; \\\n  y = x\nvoid f(int c, int *p) {\n  if (c)\n    SWAP(1, *p);\n}\n"),
    ("types.cc", "#include <string>\nint f(const std::string &s) { unsigned u = 3; for (int i = 0; i < s.size() + u; i++) { int dead; } return s == nullptr; }\n"),
    ("class.cc", "struct A { virtual void f(); };\nstruct B : A { int b, a; B() : a(1), b(a) {} void f(); };\nB b;\n"),
    ("error.c", "#include <stdio.h>\nint f(void) { return nothing; }\nint g(void) { int y }\n"),
    ("error.cc", "#include <vector>\nint f() { std::vector<int> v; return v.front().x + v; }\n"),
    ("fatal.c", "#include \"not-here.h\"\nint f(void) { return nothing; }\n"),
];

fn with_daemon() -> (Farm, Daemon) {
    let farm = Farm::new();
    farm.write("x.c", SOURCE);
    let daemon = farm.daemon(Which::Ours).start();
    (farm, daemon)
}

fn compiler_of(name: &str, family: &str) -> &'static str {
    match (name.ends_with(".cc"), family) {
        (true, "gcc") => "g++",
        (false, "gcc") => "gcc",
        (true, _) => "clang++",
        (false, _) => "clang",
    }
}

fn marks(farm: &Farm) -> usize {
    let names = fs::read_dir(farm.path("top/lock")).into_iter().flatten();
    names
        .filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            name.to_str().unwrap().starts_with("backoff_")
        })
        .count()
}

/// Runs a compile with and without distcc; panics unless status, words and object are the same.
#[track_caller]
fn expect_same(farm: &Farm, client: &Client, words: &[&str]) -> Ran {
    let object = farm.work().join("x.o");
    let _ = fs::remove_file(&object);
    let native = farm.local(words);
    let right = fs::read(&object).unwrap_or_default();
    let _ = fs::remove_file(&object);
    let ran = client.run(words);
    let made = fs::read(&object).unwrap_or_default();
    let differ = |part, right: &str, made: &str| {
        let difference = common::same_bytes(right.as_bytes(), made.as_bytes());
        assert_eq!(
            difference, None,
            "{part} of {words:?}\n{ran}expected as {native}"
        );
    };
    differ(
        "status",
        &native.status.to_string(),
        &ran.status.to_string(),
    );
    differ("stderr", &native.stderr, &ran.stderr);
    differ("stdout", &native.stdout, &ran.stdout);
    assert_eq!(
        common::same_bytes(&right, &made),
        None,
        "object of {words:?}\n{ran}"
    );
    ran
}

#[test]
fn messages_are_those_of_a_local_run() {
    let (farm, daemon) = with_daemon();
    for (name, text) in FAULTY {
        farm.write(name, text);
    }
    let client = farm.client(Which::Ours, &daemon.host());
    let mut cases = Vec::new();
    for (name, _) in FAULTY {
        for family in ["gcc", "clang"] {
            for more in [
                &["-Wall", "-Wextra", "-O2"][..],
                &["-Wall", "-Werror"],
                &["-w"],
            ] {
                cases.push((name, family, more));
            }
        }
    }
    // One after another, as each leaves its object in the same place.
    for (name, family, more) in cases {
        let compiler = compiler_of(name, family);
        let mut words = vec![compiler, "-c", name, "-o", "x.o"];
        words.extend(more);
        let ran = expect_same(&farm, &client, &words);
        let here = ran.log.matches("exec on localhost").count();
        assert!(here <= 1, "compiled here twice: {ran}");
    }
    assert_eq!(marks(&farm), 0, "no source is a host's fault");
    farm.expect_clean("faulty sources");
}

#[test]
fn what_a_remote_compiler_says_is_believed_if_wanted() {
    let (farm, daemon) = with_daemon();
    for (name, text) in FAULTY {
        farm.write(name, text);
    }
    let client = farm
        .client(Which::Ours, &daemon.host())
        .env("DISTCC_SKIP_LOCAL_RETRY", "");
    for words in [
        ["gcc", "-c", "error.c"],
        ["clang", "-c", "error.c"],
        ["g++", "-c", "error.cc"],
    ] {
        let native = farm.local(&words);
        let ran = client.run(&words).expect(1);
        assert!(!ran.log.contains("exec on localhost"), "{ran}");
        let first = |ran: &Ran| {
            let text = ran.stderr.lines().find(|line| line.contains("error:"));
            text.unwrap_or_default().to_owned()
        };
        assert_eq!(first(&ran), first(&native), "the same first error: {ran}");
        assert_eq!(marks(&farm), 0);
    }
    // An older object does not outlive a failed compile, where the compiler would have removed it.
    farm.local(&["gcc", "-c", "x.c", "-o", "old.o"]).expect(0);
    fs::copy(farm.work().join("old.o"), farm.work().join("native.o")).unwrap();
    farm.local(&["gcc", "-c", "error.c", "-o", "native.o"]);
    client
        .run(&["gcc", "-c", "error.c", "-o", "old.o"])
        .expect(1);
    let there = |name: &str| farm.work().join(name).exists();
    assert_eq!(there("old.o"), there("native.o"), "as gcc leaves it");
}

#[test]
fn a_remote_failure_is_repeated_here_once_and_said_so() {
    let (farm, daemon) = with_daemon();
    farm.write("error.c", "int f(void) { return nothing; }\n");
    let client = farm
        .client(Which::Ours, &daemon.host())
        .env("DISTCC_LOG", "");
    let native = farm.local(&["gcc", "-c", "error.c"]);
    let ran = client.run(&["gcc", "-c", "error.c"]).expect(1);
    let (ours, compilers): (Vec<&str>, Vec<&str>) = ran
        .stderr
        .lines()
        .partition(|line| line.starts_with("distcc["));
    assert_eq!(
        compilers,
        native.stderr.lines().collect::<Vec<_>>(),
        "{ran}"
    );
    assert_eq!(ours.len(), 2, "{ran}");
    assert!(
        ours[0].ends_with(&format!(
            "ERROR: compile error.c on {} failed",
            daemon.host()
        )),
        "{ran}"
    );
    assert!(
        ours[1].ends_with("Warning: remote compilation of 'error.c' failed, retrying locally"),
        "{ran}"
    );
    // With fallback off the remote words are all there is.
    let ran = client
        .env("DISTCC_FALLBACK", "0")
        .run(&["gcc", "-c", "error.c"])
        .expect(1);
    assert!(ran.stderr.contains("'nothing' undeclared"), "{ran}");
    assert_eq!(marks(&farm), 0);
    // A compile that fails only over there is a discrepancy.
    let reply = "DONE00000001STAT00000100SERR00000006wrong\nSOUT00000000DOTO00000000";
    let peer = Peer::play(Script {
        read: 4,
        reply: reply.into(),
        pace: None,
        ending: Ending::Close,
    });
    let client = farm.client(Which::Ours, &peer.host()).env("DISTCC_LOG", "");
    let compile = ["gcc", "-c", "x.c"];
    let ran = client.run(&compile).expect(0);
    let words = "remote compilation of 'x.c' failed, retried locally and got a different result.";
    assert!(
        ran.stderr.contains(words) && !ran.stderr.contains("wrong"),
        "{ran}"
    );
    // What that one said is in the log.
    let ran = farm.client(Which::Ours, &peer.host()).run(&compile);
    let said = format!("{} says: wrong", peer.host());
    assert!(ran.log.contains(&said), "{ran}");
}

#[test]
fn a_preprocessor_that_fails_is_nobody_elses_fault() {
    let farm = Farm::new();
    farm.write(
        "fatal.c",
        "#include \"not-here.h\"\nint f(void) { return nothing; }\n",
    );
    farm.write("hash.c", "#error stop\nint f(void) { return nothing; }\n");
    let peer = Peer::play(Script {
        read: 4,
        reply: vec![],
        pace: None,
        ending: Ending::Stall,
    });
    for fallback in ["0", "1"] {
        let client = farm.client(Which::Ours, &peer.host()).env("DISTCC_LOG", "");
        let client = client.env("DISTCC_FALLBACK", fallback);
        for source in ["fatal.c", "hash.c"] {
            for compiler in ["gcc", "clang"] {
                // All words on stderr, the log's too.
                expect_same(
                    &farm,
                    &client,
                    &[compiler, "-c", source, "-o", "x.o", "-MD"],
                );
                assert_eq!(marks(&farm), 0);
            }
        }
    }
    farm.expect_clean("failing preprocessors");
}

#[test]
fn the_log_goes_where_it_is_wanted() {
    let (farm, daemon) = with_daemon();
    let client = farm.client(Which::Ours, &daemon.host());
    let compile = ["gcc", "-c", "x.c"];
    let ran = client.clone().env("DISTCC_LOG", "").run(&compile).expect(0);
    assert_eq!(ran.stderr, "", "nothing is said of what goes well");
    let ran = client.run(&compile).expect(0);
    let host = daemon.host();
    let completed = format!("compile x.c on {host} completed ok");
    let exec = format!("exec on {host}: ");
    let bytes = format!(" bytes from x.c compiled on {host} in ");
    for part in [
        &exec[..],
        "compile from x.c to x.o",
        "no visible output file, going to add \"-o x.o\" at end",
        "cpp x.c on localhost completed ok",
        &completed,
        &bytes,
        " bytes received in ",
        "s, rate ",
        "elapsed compilation time ",
        "exit: code 0; self: ",
    ] {
        assert!(ran.log.contains(part), "no {part:?} in: {ran}");
    }
    for line in ran.log.lines() {
        let pid = line
            .strip_prefix("distcc[")
            .and_then(|rest| rest.split_once("] "));
        assert!(
            pid.is_some_and(|(pid, _)| pid.parse::<u32>().is_ok()),
            "{line}"
        );
    }
    let verbose = client.clone().env("DISTCC_VERBOSE", "1");
    for part in [
        "got cpu lock on",
        "release lock",
        "setting safeguard: _DISTCC_SAFEGUARD=1",
    ] {
        let ran = verbose.run(&compile);
        assert!(ran.log.contains(part), "no {part:?} in: {ran}");
        let ran = verbose.clone().env("DISTCC_LOG", "").run(&compile);
        assert!(ran.stderr.contains(part), "no {part:?} in: {ran}");
    }
    for bad in ["missing/log", "."] {
        let ran = client
            .clone()
            .env("DISTCC_LOG", bad)
            .run(&compile)
            .expect(0);
        assert!(
            ran.stderr.contains("ERROR: failed to open logfile"),
            "{ran}"
        );
        assert_eq!(
            ran.stderr.lines().count(),
            1,
            "warnings and worse only: {ran}"
        );
    }
    // What ccache leaves open. Compilers' words still go to stderr.
    let silent = client.env("DISTCC_LOG", "").env("DISTCC_HOSTS", "");
    let shell = |fd: &str, redirect: &str| {
        let command = format!("{OURS} gcc -Wall -c u.c {redirect}");
        farm.write("u.c", "void f(void) { int unused; }\n");
        let ran = silent
            .clone()
            .env("UNCACHED_ERR_FD", fd)
            .run_other(&["/bin/sh", "-c", &command]);
        let log = fs::read_to_string(farm.work().join("fd")).unwrap_or_default();
        (ran.expect(0), log)
    };
    let (ran, log) = shell("5", "5>fd");
    assert!(
        log.contains("contained no hosts") && !ran.stderr.contains("distcc["),
        "{ran}{log}"
    );
    assert!(
        ran.stderr.contains("unused variable") && !log.contains("unused"),
        "{ran}"
    );
    for (fd, redirect) in [
        ("7", ""),
        ("0", ""),
        ("x", ""),
        ("5", "5</dev/null"),
        ("5", "5>/dev/full"),
    ] {
        let (ran, _) = shell(fd, redirect);
        assert!(
            ran.stderr.contains("contained no hosts"),
            "{fd} {redirect}: {ran}"
        );
    }
    let ran = silent
        .env("DISTCC_LOG", "/dev/full")
        .run(&compile)
        .expect(0);
    assert!(
        ran.stderr.contains("contained no hosts"),
        "a full log is no hiding place: {ran}"
    );
}

#[test]
fn what_is_compiled_here_is_named_and_told_from_other_commands() {
    let (farm, daemon) = with_daemon();
    farm.write("y.s", ".globl f\n");
    let client = farm.client(Which::Ours, &daemon.host());
    for (words, line) in [
        (
            &["gcc", "-ftime-report", "-c", "x.c"][..],
            "x.c compiled locally: -ftime-report prints about this machine's compiler",
        ),
        (
            &["gcc", "-c", "y.s"],
            "y.s compiled locally: assembler sources are not compiled elsewhere",
        ),
        (
            &["gcc", "-E", "x.c"],
            "run locally: -E does not make an object or assembler file",
        ),
    ] {
        let ran = client.run(words).expect(0);
        assert!(ran.log.contains(line), "no {line:?} in: {ran}");
    }
    let ran = client.run(&["gcc", "-c", "nowhere.c"]).expect(1);
    let line = "nowhere.c compiled locally: the source is not there";
    assert!(ran.log.contains(line), "{ran}");
}

/// A compiler that takes its time to compile, but not to preprocess.
fn slow_compiler(farm: &Farm) -> String {
    let path = farm.path("bin/gcc");
    let script =
        "#!/bin/sh\ncase \" $* \" in *' -E '*) ;; *) exec sleep 30 ;; esac\nexec /usr/bin/gcc \"$@\"\n";
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn monitors_see_what_is_going_on_and_nothing_is_left() {
    let farm = Farm::new();
    farm.write("dir/words.c", SOURCE);
    let peer = Peer::play(Script {
        read: 4,
        reply: vec![],
        pace: None,
        ending: Ending::Stall,
    });
    let slow = slow_compiler(&farm);
    let monitor = common::find_program("distccmon-text");
    for (hosts, compiler, phase, host) in [
        (format!("{}/3", peer.host()), "gcc", "Compile", "127.0.0.1"),
        ("localhost".to_owned(), &slow, "Compile", "localhost"),
    ] {
        let client = farm.client(Which::Ours, &hosts);
        let (running, _) = client.start(&[compiler, "-c", "dir/words.c"]);
        let file = farm.path(&format!("top/state/binstate_{}", running.pid()));
        let phase_of = || {
            fs::read(&file)
                .ok()
                .filter(|b| b.len() == 296)
                .map(|b| b[284])
        };
        common::wait_for("the phase Compile", common::BOUND, || phase_of() == Some(5));
        let record = fs::read(&file).unwrap();
        let word = |at: usize| u64::from_ne_bytes(record[at..at + 8].try_into().unwrap());
        let text = |at: usize| {
            let end = record[at..at + 128].iter().position(|b| *b == 0).unwrap();
            String::from_utf8_lossy(&record[at..at + end]).into_owned()
        };
        assert_eq!((word(0), word(8)), (296, 0x4449_4800));
        assert_eq!(word(16), u64::from(running.pid()));
        assert_eq!((&*text(24), &*text(152)), ("words.c", host));
        assert_eq!(record[280..284], [0; 4], "slot 0");
        if let Some(monitor) = &monitor {
            let mut command = Command::new(monitor);
            let ran = common::run(command.env("DISTCC_DIR", farm.path("top")), common::BOUND);
            let line = format!(
                "{:6}  {phase:<10}  {:<30} {host:>24}[0]",
                running.pid(),
                "words.c"
            );
            assert_eq!(ran.stdout.lines().next(), Some(&*line), "{ran}");
        }
        running.signal("TERM");
        assert_eq!(running.finish(common::BOUND).status, 128 + 15);
        farm.expect_clean("a compile that was watched");
    }
    let ran = farm
        .client(Which::Ours, "")
        .run(&["gcc", "-c", "dir/words.c"]);
    assert_eq!(ran.status, 0, "{ran}");
    farm.expect_clean("a compile that ended by itself");
}

#[test]
fn what_was_sent_is_kept_if_wanted() {
    let (farm, daemon) = with_daemon();
    farm.write("y.cc", SOURCE);
    let client = farm.client(Which::Ours, &daemon.host());
    let client = client.env("DISTCC_SAVE_TEMPS", "1");
    for (compiler, source, suffix) in [("gcc", "x.c", ".i"), ("g++", "y.cc", ".ii")] {
        client.run(&[compiler, "-c", source]).expect(0);
        let kept = common::files_below(&farm.path("tmp"));
        let [file] = &kept[..] else {
            panic!("one file is kept: {kept:?}");
        };
        assert!(
            file.contains("/distcc_") && file.ends_with(suffix),
            "{file}"
        );
        let text = fs::read_to_string(file).unwrap();
        assert!(text.ends_with(SOURCE), "{text}");
        fs::remove_file(file).unwrap();
    }
}
