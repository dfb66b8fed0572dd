//! Pump jobs of our daemon, by requests made by hand and recorded ones: what comes back is what a compile of the same
//! files gives here.
#![allow(clippy::unwrap_used)]

mod common;

use common::fake::{ask, capture, expect_line, reply};
use common::v3::{all_that_differs, differs, differs_with_pwd, project, Files};
use common::{have, run, Daemon, Farm, Which, BOUND};
use distcc::model::about::{About, Time};
use distcc::model::wire::{Remark, Reply, Version};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

const COMPILERS: &str = "gcc,g++,clang,clang++,x86_64-linux-gnu-gcc,x86_64-linux-gnu-g++";

fn real(farm: &Farm) -> Daemon {
    let plan = farm.daemon(Which::Ours);
    let daemon = plan.options(&["--compilers", COMPILERS]).start();
    expect_line(&daemon, &["pump jobs see their clients' own paths"]);
    daemon
}

fn have_all(test: &str) -> bool {
    have(test, &["gcc", "g++", "clang", "clang++"])
}

#[track_caller]
fn expect_none(found: &[String]) {
    assert!(found.is_empty(), "{}", found.join("\n"));
}

fn told() -> About {
    About::default()
}

#[test]
fn objects_are_those_of_a_local_compile() {
    if !have_all("daemon_pump") {
        return;
    }
    let farm = Farm::new();
    let daemon = real(&farm);
    let cwd = farm.path("home/me/src");
    let absolute = farm.path("home/me/absolute").display().to_string();
    let include = format!("-Iinc -I{absolute} -include {absolute}/named.h");
    let named = format!("#include \"{absolute}/named too.h\"\n");
    let options = [
        "-O2",
        "-g",
        "-g3",
        "-gdwarf-4",
        "-g -gz",
        "-O1 -g -fsanitize=address",
        "-MD",
        "-MMD -MP -MT some/target",
        "-g -S",
        "-g -ffile-prefix-map=/tmp=/else",
        "-Wall -Wextra -DUNUSED",
    ];
    let found = all_that_differs(&daemon, &cwd, &options, |words| {
        let (compiler, rest) = words.split_once(' ').unwrap();
        project(&cwd, &format!("{compiler} {include} {rest}"))
            .file(format!("{absolute}/named.h"), &named)
            .file(format!("{absolute}/named too.h"), "static int unused;\n")
            .told(told())
    });
    expect_none(&found);
    assert_eq!(daemon.leftovers(), [""; 0]);
}

/// Who starts the daemon makes no difference.
#[test]
fn an_ordinary_users_daemon_does_the_same() {
    if !have_all("daemon_pump") || !have("daemon_pump", &["setpriv"]) {
        return;
    }
    let farm = Farm::new();
    let plan = farm.daemon(Which::Ours).by_nobody();
    let daemon = plan.options(&["--compilers", COMPILERS]).start();
    expect_line(&daemon, &["pump jobs see their clients' own paths"]);
    let cwd = farm.path("home/me/src");
    let absolute = farm.path("home/me/absolute").display().to_string();
    let mut found = Vec::new();
    for compiler in ["gcc", "clang++"] {
        let words = format!("{compiler} -g -MD -Iinc -I{absolute} -c x.cc -o out/x.o");
        found.extend(differs(&daemon, &project(&cwd, &words).told(told())));
    }
    expect_none(&found);
    assert_eq!(daemon.leftovers(), [""; 0]);
}

/// A folder that has another name where the user stands: that name is in the debug information.
#[test]
fn the_working_directory_has_the_name_that_its_user_gives_it() {
    if !have_all("daemon_pump") {
        return;
    }
    let farm = Farm::new();
    let daemon = real(&farm);
    let cwd = farm.path("real/src");
    let link = farm.path("link");
    let mut found = Vec::new();
    for (compiler, pwd) in [
        ("gcc", link.join("src")),
        ("clang", link.join("src")),
        ("gcc", farm.path("nowhere")),
    ] {
        let files = Files::new(&cwd, &format!("{compiler} -g -c x.c -o x.o"))
            .file("x.c", "int x;\n")
            .link(&link, farm.path("real"))
            .told(About {
                pwd: Some(pwd.as_os_str().as_bytes().to_vec()),
                ..told()
            });
        found.extend(differs_with_pwd(&daemon, &files, Some(&pwd)));
    }
    expect_none(&found);
}

#[test]
fn odd_names_are_names() {
    if !have_all("daemon_pump") {
        return;
    }
    let farm = Farm::new();
    let daemon = real(&farm);
    let cwd = farm.path("a b/\u{e4}\u{f6},=$x/#");
    let mut found = Vec::new();
    for compiler in ["gcc", "clang"] {
        let files = Files::new(
            &cwd,
            &format!("{compiler} -g -MD -I../up -c s\u{fc}b/x.c -o o\u{fc}t/$x.o"),
        )
        .file(
            "s\u{fc}b/x.c",
            "#include <h h.h>\n#include \"\u{fc}.h\"\nconst char *f = __FILE__ H;\n",
        )
        .file("s\u{fc}b/\u{fc}.h", "int h;\n")
        .file("../up/h h.h", "#define H __FILE__\n");
        // A name that climbs is no name of a file that is sent.
        let mut files = files.told(told());
        for (name, _) in &mut files.entries {
            *name = name.replace("/#/../", "/");
        }
        files.words[3] = "-I../up".to_owned();
        found.extend(differs(&daemon, &files));
    }
    expect_none(&found);
}

/// The client's variables are set, and of those ours are none.
#[test]
fn variables_are_the_clients() {
    if !have_all("daemon_pump") {
        return;
    }
    let farm = Farm::new();
    let daemon = farm
        .daemon(Which::Ours)
        .options(&["--compilers", COMPILERS])
        .env("SOURCE_DATE_EPOCH", "1000000000")
        .env("LC_ALL", "POSIX")
        .start();
    let files =
        Files::new("/home/me", "gcc -S -c x.c -o x.s").file("x.c", "const char *d = __DATE__;\n");
    let text = |variables: &[(&str, &str)]| {
        let variables = variables.iter();
        let variables =
            variables.map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
        let about = About {
            variables: variables.collect(),
            ..told()
        };
        let reply = files.clone().told(about).ask(&daemon);
        assert_eq!(reply.remark, Some(Remark::Exact));
        String::from_utf8(reply.object.unwrap()).unwrap()
    };
    assert!(text(&[("SOURCE_DATE_EPOCH", "86400")]).contains("Jan  2 1970"));
    assert!(!text(&[("PATH", "/nowhere"), ("LD_PRELOAD", "/x")]).contains("Sep  9 2001"));
    assert_eq!(daemon.leftovers(), [""; 0]);
}

/// gcc takes files of the same age, size and content for one: each has the age that it has at the client, or one of its own.
#[test]
fn twins_under_pragma_once_are_two_files() {
    if !have_all("daemon_pump") {
        return;
    }
    let farm = Farm::new();
    let daemon = real(&farm);
    let twin = "#pragma once\n#ifdef ONE\nint two;\n#endif\n#define ONE\n";
    let files = Files::new("/home/me", "gcc -S x.c -o x.s")
        .file("x.c", "#include \"a/t.h\"\n#include \"b/t.h\"\n")
        .file("a/t.h", twin)
        .file("b/t.h", twin);
    let has_both = |files: &Files| {
        let object = files.ask(&daemon).object.unwrap();
        object.windows(3).any(|part| part == b"two")
    };
    let times = |seconds: [i64; 3]| About {
        times: seconds
            .map(|seconds| Time {
                seconds,
                nanoseconds: 0,
            })
            .to_vec(),
        ..told()
    };
    assert!(has_both(&files), "a stock client's");
    assert!(has_both(&files.clone().told(times([1, 2, 3]))));
    assert!(
        !has_both(&files.clone().told(times([1, 2, 2]))),
        "as at the client"
    );
}

#[test]
fn outputs_go_where_they_are_wanted() {
    if !have_all("daemon_pump") {
        return;
    }
    let farm = Farm::new();
    let daemon = real(&farm);
    let files = Files::new("/home/me", "gcc")
        .file("d/x.y.c", "int x;\n")
        .link("ln", "/home/other");
    for words in [
        "gcc -c d/x.y.c",
        "gcc -S d/x.y.c",
        "gcc -c d/x.y.c -o /dev/null",
        "gcc -c d/x.y.c -o/dev/null",
        "gcc -c d/x.y.c -o ../../home/new/x.o",
        "gcc -c d/x.y.c -oln/deep/x.o",
        "gcc -c d/x.y.c -o /x.o",
        "/usr/bin/gcc -c d/x.y.c -o d/x.y",
        "x86_64-linux-gnu-gcc -c /home/me/d/x.y.c",
    ] {
        let reply = files.with_words(words).ask(&daemon);
        let said = String::from_utf8_lossy(&reply.stderr);
        assert!(reply.status.success(), "{words}: {said}");
        assert!(!reply.object.unwrap().is_empty(), "{words}");
        assert_eq!(reply.deps.unwrap(), b"", "{words}");
        assert_eq!(reply.remark, None, "{words}");
    }
    let deps = |words: &str| {
        let reply = files.with_words(words).ask(&daemon);
        String::from_utf8(reply.deps.unwrap()).unwrap()
    };
    assert_eq!(deps("gcc -MMD -c d/x.y.c -o out/x.o"), "out/x.o: d/x.y.c\n");
    assert_eq!(deps("gcc -c d/x.y.c -o out/x.o -MT t"), "t: d/x.y.c\n");
    assert_eq!(
        deps("gcc -MMD -MF /no/such/x.d -MQ $t -c d/x.y.c"),
        "$$t: d/x.y.c\n"
    );
    assert_eq!(daemon.leftovers(), [""; 0]);
}

#[test]
fn recorded_pump_jobs_are_answered_as_by_stock() {
    if !have_all("daemon_pump") {
        return;
    }
    let farm = Farm::new();
    let daemon = real(&farm);
    let recorded_with =
        String::from_utf8_lossy(&capture("v1-asm-output.resp.bin")).contains("12.2.0");
    let ran = farm.local(&["gcc", "--version"]).expect(0);
    let same_compiler = recorded_with && ran.stdout.contains("(Debian 12.2.0-14+deb12u1)");
    for name in [
        "v3-ok",
        "v3-minimal",
        "v3-empty-c",
        "v3-big",
        "v3-absinc",
        "v3-warning",
        "v3-error",
        "v3-missing-source",
        "v3-deps-MD",
        "v3-deps-MMD-MF-MT",
        "v3-debug",
        "v3-debug-dwarf4",
    ] {
        let theirs = reply(Version::V3, &capture(&format!("{name}.resp.bin")));
        let ours = reply(
            Version::V3,
            &ask(&daemon, &capture(&format!("{name}.req.bin"))),
        );
        assert_eq!(ours.status, theirs.status, "{name}");
        assert_eq!(ours.object.is_some(), theirs.object.is_some(), "{name}");
        assert_eq!(ours.remark, None, "{name}");
        if name.starts_with("v3-deps") || name == "v3-big" {
            // Stock's lines are broken where the names were longer.
            let names = |deps: Option<Vec<u8>>| {
                let text = String::from_utf8(deps.unwrap()).unwrap();
                let names = text.split_whitespace().filter(|name| *name != "\\");
                names.map(str::to_owned).collect::<Vec<_>>()
            };
            assert_eq!(names(ours.deps), names(theirs.deps), "{name}");
        }
        let shows_root = |bytes: &[u8]| bytes.windows(8).any(|part| part == b"distccd_");
        assert!(!ours.object.as_deref().is_some_and(shows_root), "{name}");
        if same_compiler {
            assert_eq!(ours.stderr, theirs.stderr, "{name}");
            let is_debug = name.starts_with("v3-debug");
            assert!(
                is_debug || ours.object == theirs.object,
                "{name}: another object"
            );
        }
    }
    assert_eq!(daemon.leftovers(), [""; 0]);
}

/// A stock client's files say by a first line what path they have: here they have it.
#[test]
fn stocks_lines_leave_no_trace() {
    if !have_all("daemon_pump") {
        return;
    }
    let farm = Farm::new();
    let daemon = real(&farm);
    let cwd = farm.path("home/me");
    let name = |name: &str| cwd.join(name).display().to_string();
    let words = format!("gcc -g -Wall -I{} -c {} -o x.o", name("inc"), name("x.c"));
    let bare = Files::new(&cwd, &words)
        .file(
            "x.c",
            "\u{feff}#include \"h.h\"\nint f(void) { int unused; return H; }\n",
        )
        .file("inc/h.h", "#define H __LINE__\n");
    let here = bare.compiled_here(None);
    let mut files = bare.clone();
    for (name, entry) in &mut files.entries {
        if let common::v3::Entry::File(content) = entry {
            let line = format!("#line 1 \"{name}\"\n").into_bytes();
            content.splice(0..0, line);
        }
    }
    let there = files.compiled_there(&daemon);
    assert_eq!(common::v3::difference(&there, &here), None);
}

/// A toolchain of its own folder, in which there is a project, too, also in place of what is there.
#[test]
fn projects_among_this_machines_own_folders_are_seen_in_their_place() {
    if !have_all("daemon_pump") {
        return;
    }
    let farm = Farm::new();
    let cross = farm.path("cross");
    for folder in ["bin", "lib/gcc", "src/old", "include"] {
        fs::create_dir_all(cross.join(folder)).unwrap();
    }
    let gcc = cross.join("bin/gcc");
    fs::write(&gcc, "#!/bin/sh\nexec /usr/bin/gcc \"$@\"\n").unwrap();
    fs::set_permissions(&gcc, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(cross.join("src/old/seen.h"), "#define SEEN 1\n").unwrap();
    fs::write(cross.join("src/old/other.h"), "#define OTHER 1\n").unwrap();
    let list = gcc.display().to_string();
    let daemon = farm
        .daemon(Which::Ours)
        .options(&["--compilers", &list])
        .start();
    let ask = |files: &Files| -> Reply { files.ask(&daemon) };
    for (cwd, include) in [
        (cross.join("src/new"), "../old"),
        (cross.join("src/old"), "."),
    ] {
        let files = Files::new(&cwd, &format!("{list} -g -I{include} -c x.c -o sub/x.o"))
            .file(
                "x.c",
                "#if __has_include(<seen.h>)\nint seen;\n#endif\n#include <other.h>\nint x[OTHER];\n",
            )
            .file(cross.join("src/old/other.h"), "#define OTHER 22\n");
        let table = |files: &Files, remark| {
            let reply = ask(files);
            let said = String::from_utf8_lossy(&reply.stderr);
            assert_eq!(reply.remark, remark, "{said}");
            let object = farm.path("x.o");
            fs::write(&object, reply.object.unwrap()).unwrap();
            let ran = run(Command::new("nm").arg("-S").arg(&object), BOUND);
            let table = ran.expect(0).stdout;
            assert!(table.contains(&format!("{:016x} B x", 22 * 4)), "{table}");
            table
        };
        // A client of ours has told of all that it has; one of stock's may rely on what is here.
        let told_of = table(&files.clone().told(told()), Some(Remark::Exact));
        assert!(!told_of.contains(" seen"), "{told_of}");
        let untold = table(&files, None);
        assert!(untold.contains(" seen"), "{untold}");
    }
    assert_eq!(
        fs::read(cross.join("src/old/other.h")).unwrap(),
        b"#define OTHER 1\n"
    );
    assert!(!cross.join("src/new").exists() && !cross.join("src/old/sub").exists());
    let tool = cross.join("src/old/tool");
    fs::copy(&gcc, &tool).unwrap();
    let files = Files::new("/home/me", &format!("{list} -c x.c -o x.o"))
        .file("x.c", "int x;\n")
        .link("as", &tool);
    assert_eq!(
        ask(&files).status.exit_code(),
        Some(113),
        "a link to a program"
    );
    for (name, refused) in [
        (cross.join("bin/as"), true),
        (cross.join("lib/gcc/specs"), true),
        (cross.join("lib/gcc/new/specs"), true),
        (cross.join("lib/gcc/new/x.h"), false),
        (cross.join("src/old/lib/x.txt"), false),
        (cross.join("include/specs"), false),
    ] {
        let files = Files::new("/home/me", &format!("{list} -c x.c -o x.o"))
            .file("x.c", "int x;\n")
            .file(&name, "x");
        let status = ask(&files).status.exit_code();
        assert_eq!(status == Some(113), refused, "{}", name.display());
    }
    assert_eq!(daemon.leftovers(), [""; 0]);
}
