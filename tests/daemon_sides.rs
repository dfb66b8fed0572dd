//! Pump jobs of our daemon that make files beside the object: who is sent them, and when the job is not done at all.
#![allow(clippy::unwrap_used)]

mod common;

use common::fake::expect_line;
use common::v3::Files;
use common::{have, Daemon, Farm, Which};
use distcc::model::about::About;
use distcc::model::side_files::{Beside, SideFile};
use distcc::model::wire::{Remark, Reply};
use std::fs;
use std::os::unix::fs::PermissionsExt;

fn told(wants_sides: bool) -> About {
    About {
        wants_sides,
        ..About::default()
    }
}

fn files(words: &str) -> Files {
    Files::new("/home/me", words)
        .file("x.c", "#include \"x.h\"\nint f(int x) { return X; }\n")
        .file("x.h", "#define X x\n")
        .link("ln.h", "x.h")
}

/// Folder, name and length of each file beside the object.
fn names(reply: &Reply) -> Vec<String> {
    let shown = |side: &SideFile| {
        let folder = match side.folder {
            Beside::Output => "out",
            Beside::Working => "cwd",
        };
        let is_empty = if side.content.is_empty() {
            " (empty)"
        } else {
            ""
        };
        format!("{folder}/{}{is_empty}", side.name.escape_ascii())
    };
    let mut names: Vec<_> = reply.sides.as_ref().unwrap().iter().map(shown).collect();
    names.sort();
    names
}

fn shows(daemon: &Daemon) {
    expect_line(daemon, &["pump jobs see their clients' own paths"]);
}

#[test]
fn files_come_to_those_who_ask_for_them() {
    if !have("daemon_sides", &["gcc", "clang"]) {
        return;
    }
    let farm = Farm::new();
    let plan = farm.daemon(Which::Ours);
    let daemon = plan.options(&["--compilers", "gcc,clang"]).start();
    shows(&daemon);
    for (words, expected) in [
        ("gcc -fstack-usage -c x.c -o d/y.o", &["out/y.su"][..]),
        ("gcc -fstack-usage -c x.c", &["out/x.su"]),
        (
            "gcc -save-temps=cwd -g -gsplit-dwarf -c x.c -o d/y.o",
            &["cwd/y.dwo", "cwd/y.i", "cwd/y.s"],
        ),
        (
            "clang -save-temps --coverage -MD -c x.c -o d/y.o",
            &["cwd/x.bc", "cwd/x.i", "cwd/x.s", "out/y.gcno"],
        ),
        (
            "gcc -aux-info d/aux -fdump-tree-original=z -c x.c -o d/y.o",
            &["cwd/z", "out/aux"],
        ),
    ] {
        let reply = files(words).told(told(true)).ask(&daemon);
        let said = String::from_utf8_lossy(&reply.stderr);
        assert_eq!(reply.remark, Some(Remark::Exact), "{words}: {said}");
        assert_eq!(names(&reply), expected, "{words}");
        assert_eq!(said, "", "{words}");
    }
    // Nobody else is sent more than the object, as ever; and what needs its files at home is not done for them.
    for (words, status) in [
        ("gcc -fstack-usage -save-temps -c x.c -o d/y.o", 0),
        ("gcc --coverage -c x.c -o d/y.o", 113),
        ("gcc -aux-info aux -c x.c -o d/y.o", 113),
        ("gcc -fdump-tree-original=d/z -c x.c -o d/y.o", 113),
    ] {
        for about in [None, Some(told(false))] {
            let mut files = files(words);
            files.about = about;
            let bytes = common::fake::ask(&daemon, &files.bytes());
            assert!(!bytes.windows(4).any(|at| at == b"NSID"), "{words}");
            let status_of = files.ask(&daemon).status.exit_code();
            assert_eq!(status_of, Some(status), "{words}");
        }
    }
    // A compile that failed leaves nothing.
    let reply = files("gcc -fstack-usage -c none.c")
        .told(told(true))
        .ask(&daemon);
    assert_eq!((reply.status.exit_code(), reply.sides), (Some(1), None));
    assert_eq!(daemon.leftovers(), [""; 0]);
}

/// A compiler that does something else than compilers do, as a plugin or a fault could make it.
#[test]
fn what_can_not_come_home_sends_the_job_home() {
    if !have("daemon_sides", &["gcc", "truncate", "mkfifo"]) {
        return;
    }
    let farm = Farm::new();
    let bin = farm.path("tools/bin");
    fs::create_dir_all(&bin).unwrap();
    let gcc = bin.join("gcc");
    // The source says what it does.
    let script = "#!/bin/sh\n/usr/bin/gcc \"$@\" || exit\n. ./deed.h\n";
    fs::write(&gcc, script).unwrap();
    fs::set_permissions(&gcc, fs::Permissions::from_mode(0o755)).unwrap();
    let list = gcc.display().to_string();
    let plan = farm.daemon(Which::Ours);
    let daemon = plan.options(&["--compilers", &list]).start();
    shows(&daemon);
    let ask = |deed: &str| {
        let words = format!("{list} -fstack-usage -fdump-tree-original -c x.c -o d/y.o");
        let deed = format!("{deed} || kill -9 $$\n");
        files(&words)
            .file("deed.h", deed)
            .told(told(true))
            .ask(&daemon)
    };
    for (deed, why) in [
        ("echo x >other", "/home/me/other was made"),
        ("echo x >d/x.h", "/home/me/d/x.h was made"),
        ("echo x >y.su", "/home/me/y.su was made"),
        ("echo x >../x.su", "/home/x.su was made"),
        ("mkdir d/y.c.1t.x", "y.c.1t.x is no plain file"),
        ("ln -s x.h d/y.c.1t.x", "y.c.1t.x is no plain file"),
        ("mkfifo d/y.c.1t.x", "y.c.1t.x is no plain file"),
        ("echo >>x.h", "/home/me/x.h was changed"),
        ("touch x.h", "/home/me/x.h was changed"),
        ("rm x.h", "/home/me had something removed from it"),
        ("rm ln.h && echo >ln.h", "/home/me/ln.h was changed"),
        ("rm x.h && mkdir x.h", "/home/me/x.h was changed"),
        ("truncate -s 300M d/y.c.1t.x", "y.c.1t.x is too large"),
        ("truncate -s 140M d/y.c.1t.x && truncate -s 140M d/y.c.2t.x", "is too large"),
        ("for a in 1 2 3 4 5 6 7; do for b in 1 2 3 4 5 6; do for c in a b c d e f g h i j; do for d in 0 1 2 3 4 5 6 7 8 9; do : >d/y.c.1t.$a$b$c$d; done; done; done; done", "was made"),
    ] {
        let reply = ask(deed);
        let said = String::from_utf8_lossy(&reply.stderr);
        assert_eq!(reply.remark, Some(Remark::NotHere), "{deed}: {said}");
        assert!(said.contains(why), "{deed}: {said}");
    }
    let reply = ask("echo more >d/y.c.1t.x && : >d/y.c.2t.x && chmod 777 d/y.c.2t.x");
    assert_eq!(reply.remark, Some(Remark::Exact));
    let expected = [
        "out/y.c.005t.original",
        "out/y.c.1t.x",
        "out/y.c.2t.x (empty)",
        "out/y.su",
    ];
    assert_eq!(names(&reply), expected);
    assert_eq!(daemon.leftovers(), [""; 0]);
}

#[test]
fn without_namespaces_none_come_home() {
    if !have("daemon_sides", &["gcc", "unshare", "setpriv"]) {
        return;
    }
    let farm = Farm::new();
    let plan = farm.daemon(Which::Ours).without_namespaces();
    let daemon = plan.options(&["--compilers", "gcc"]).start();
    for words in [
        "gcc -fstack-usage -c x.c -o y.o",
        "gcc --coverage -c x.c",
        "gcc -aux-info a -c x.c",
    ] {
        let reply = files(words).told(told(true)).ask(&daemon);
        assert_eq!(reply.remark, Some(Remark::NoSides), "{words}");
        assert_eq!((reply.status.exit_code(), reply.sides), (Some(113), None));
    }
    for (words, status) in [
        ("gcc -fstack-usage -c x.c", 0),
        ("gcc -aux-info a -c x.c", 113),
    ] {
        let reply = files(words).told(told(false)).ask(&daemon);
        assert_eq!(reply.status.exit_code(), Some(status), "{words}");
    }
    assert_eq!(daemon.leftovers(), [""; 0]);
}
