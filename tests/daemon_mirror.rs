//! Pump jobs of our daemon where the system forbids namespaces: what comes back is what a compile of the same files gives
//! here, or the job is refused in a way that a client of ours understands.
#![allow(clippy::unwrap_used)]

mod common;

use common::fake::{ask, capture, expect_line, reply};
use common::v3::{all_that_differs, differs, differs_with_pwd, project, Files};
use common::{have, Daemon, Farm, Which};
use distcc::model::about::About;
use distcc::model::wire::{Remark, Version};
use std::os::unix::ffi::OsStrExt;

const COMPILERS: &str = "gcc,g++,clang,clang++,x86_64-linux-gnu-gcc";

fn mirroring(farm: &Farm) -> Daemon {
    let plan = farm.daemon(Which::Ours).without_namespaces();
    let daemon = plan.options(&["--compilers", COMPILERS]).start();
    let line = "pump jobs can't see their clients' own paths";
    expect_line(&daemon, &[line, "than user.max_user_namespaces"]);
    daemon
}

fn have_all(test: &str) -> bool {
    have(
        test,
        &["gcc", "g++", "clang", "clang++", "unshare", "setpriv"],
    )
}

fn told() -> About {
    About::default()
}

#[test]
fn objects_are_those_of_a_local_compile() {
    if !have_all("daemon_mirror") {
        return;
    }
    let farm = Farm::new();
    let daemon = mirroring(&farm);
    let cwd = farm.path("home/me/src");
    let absolute = farm.path("home/me/absolute").display().to_string();
    let include = format!("-Iinc -I{absolute}");
    let job = |words: &str| {
        let (compiler, rest) = words.split_once(' ').unwrap();
        project(&cwd, &format!("{compiler} {include} {rest}")).told(told())
    };
    let options = [
        "-O2",
        "-g",
        "-g3",
        "-g -gz",
        "-MD",
        "-MMD -MP -MT some/target",
        "-g -S",
        "-Wall -Wextra -DNEAR=1",
        "-g -ffile-prefix-map=rel=x -fdebug-prefix-map=src=y",
    ];
    let mut found = all_that_differs(&daemon, &cwd, &options, job);
    // Where the user maps his paths already, too.
    let home = farm.path("home").display().to_string();
    for maps in [
        format!("-ffile-prefix-map={home}=/else"),
        format!("-fdebug-prefix-map={home}/me=. -fmacro-prefix-map={home}=M"),
        format!("-ffile-prefix-map={home}=/a -ffile-prefix-map={home}/me=/b"),
        "-ffile-prefix-map==/every".to_owned(),
    ] {
        let source = cwd.join("x.c");
        let files = job(&format!("gcc -g {maps} -c {} -o out/x.o", source.display()));
        found.extend(differs(&daemon, &files));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert_eq!(daemon.leftovers(), [""; 0]);
}

#[test]
fn the_working_directory_has_the_name_that_its_user_gives_it() {
    if !have_all("daemon_mirror") {
        return;
    }
    let farm = Farm::new();
    let daemon = mirroring(&farm);
    let (cwd, link) = (farm.path("real/src"), farm.path("link"));
    let pwd = link.join("src");
    for compiler in ["gcc", "clang"] {
        let files = Files::new(&cwd, &format!("{compiler} -g -c x.c -o x.o"))
            .file("x.c", "int x;\n")
            .link(&link, farm.path("real"))
            .told(About {
                pwd: Some(pwd.as_os_str().as_bytes().to_vec()),
                ..told()
            });
        assert_eq!(differs_with_pwd(&daemon, &files, Some(&pwd)), None);
    }
}

#[test]
fn what_can_not_be_exact_is_refused() {
    if !have_all("daemon_mirror") {
        return;
    }
    let farm = Farm::new();
    let daemon = mirroring(&farm);
    let files = |words: &str| {
        Files::new("/home/me", words)
            .file("x.c", "int x;\n")
            .file("/abs/h.h", "")
    };
    let plain = "gcc -g -c x.c -o x.o";
    let abouts = [
        About {
            needs_paths: true,
            ..told()
        },
        About {
            hermetic: true,
            ..told()
        },
        About {
            pwd: Some(b"/home/other".to_vec()),
            ..told()
        },
    ];
    for about in abouts {
        let reply = files(plain).told(about.clone()).ask(&daemon);
        assert_eq!(reply.remark, Some(Remark::NotHere), "{about:?}");
        assert_eq!(reply.status.exit_code(), Some(113), "{about:?}");
    }
    for words in [
        "gcc --sysroot=/abs -c x.c -o x.o",
        "gcc -isysroot /abs -c x.c -o x.o",
        "gcc -I=/abs -c x.c -o x.o",
        "gcc -g -gdwarf-4 -I/abs -c x.c -o x.o",
        "gcc -fsanitize=address -c /home/me/x.c -o x.o",
        "gcc -flto -c x.c -o x.o",
        "gcc -Wp,-I/abs -c x.c -o x.o",
        "gcc -Xpreprocessor -I/abs -c x.c -o x.o",
        "clang -ffile-prefix-map=/abs=x -c x.c -o x.o",
        "gcc -ffile-prefix-map=/abs=x -fmacro-prefix-map=/abs=y -c x.c -o x.o",
        "gcc -I../../../.. -c x.c -o x.o",
        "gcc -include ../../../etc/passwd -c x.c -o x.o",
        "gcc -c ../../../x.c -o x.o",
    ] {
        let reply = files(words).told(told()).ask(&daemon);
        assert_eq!(reply.remark, Some(Remark::NotHere), "{words}");
        assert_eq!(reply.status.exit_code(), Some(113), "{words}");
    }
    for words in [
        plain,
        "gcc -g -gdwarf-4 -c x.c -o x.o",
        "gcc -I/usr/include/x86_64-linux-gnu -c x.c -o x.o",
    ] {
        let reply = files(words).told(told()).ask(&daemon);
        assert_eq!(reply.remark, Some(Remark::Exact), "{words}");
    }
    assert_eq!(daemon.leftovers(), [""; 0]);
}

/// Stock's clients get what they get of stock's daemon, and no path of ours.
#[test]
fn stock_clients_are_served() {
    if !have_all("daemon_mirror") {
        return;
    }
    let farm = Farm::new();
    let daemon = mirroring(&farm);
    for name in [
        "v3-ok",
        "v3-minimal",
        "v3-absinc",
        "v3-warning",
        "v3-error",
        "v3-deps-MD",
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
        let shows_root = |bytes: &[u8]| bytes.windows(8).any(|part| part == b"distccd_");
        assert!(!ours.object.as_deref().is_some_and(shows_root), "{name}");
        assert!(!shows_root(&ours.stderr), "{name}");
    }
    for name in [
        "hostile-v3-name-dotdot",
        "hostile-v3-cwd-dotdot",
        "hostile-v3-write-through-symlink",
    ] {
        let ours = reply(
            Version::V3,
            &ask(&daemon, &capture(&format!("{name}.req.bin"))),
        );
        assert_eq!(ours.status.exit_code(), Some(113), "{name}");
    }
    // Its own link to a folder of the system, and an option that goes through it.
    let up = "../".repeat(22);
    let files = Files::new(
        "/home/me",
        "gcc -I/usr/include/arpa -I/usr/include -c x.c -o x.o",
    )
    .file(
        "x.c",
        "#include <stdio.h>\n#include <limits.h>\n#include <inet.h>\n",
    )
    .link("/usr/include", format!("{up}usr/include"));
    let reply = files.ask(&daemon);
    let said = String::from_utf8_lossy(&reply.stderr);
    assert!(reply.status.success(), "{said}");
    assert_eq!(daemon.leftovers(), [""; 0]);
}
