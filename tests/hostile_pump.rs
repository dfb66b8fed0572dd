//! What a peer may send with pump jobs to break out of its job or to wear the daemon down; each is refused, or harmless,
//! and the next job is served.
#![allow(clippy::unwrap_used)]

mod common;

use common::fake::{ask, capture, expect_line, reply};
use common::v3::{Entry, Files};
use common::{have, wait_for, Daemon, DaemonPlan, Farm, Which, BOUND};
use distcc::model::about::{About, Lookup};
use distcc::model::wire::{encode_pump_head, put_file, Remark, Version};
use distcc::os::fence;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// A compiler that does to its surroundings what `-DX=…` says, and writes an object.
const MISCHIEF: &str = r#"#!/bin/sh
for word; do
  case $word in -DX=*) what=${word#-DX=};; -DOF=*) of=${word#-DOF=};; esac
  case $before in -o) out=$word;; esac
  before=$word
done
printf OBJ > "$out"
case $what in
  link) rm "$out"; ln -s /etc/passwd "$out";;
  linked-folder) mv sub gone; ln -s /etc sub;;
  fifo) rm "$out"; mkfifo "$out";;
  folder) rm "$out"; mkdir "$out";;
  mess) mkdir -p a/b c; touch a/b/x; chmod 0 a/b; chmod 500 a; chmod 300 c; ln -s / a2; mkdir "$TMPDIR/t"; touch "$TMPDIR/t/x"; chmod 0 "$TMPDIR/t";;
  look) { pwd; env; ls -la / /usr/src /dev /etc /tmp /proc /home; echo TMP; ls -la "$TMPDIR"; } 2>&1;;
  write) for place in /usr/x /usr/include/x /etc/x /bin/x /dev/x /x "$TMPDIR/x"; do (echo x > $place) 2>/dev/null && echo "wrote $place"; done;;
  mount) mount -t tmpfs none /home && echo mounted; chroot / /usr/bin/true && echo chrooted;;
  run) printf '#!/bin/sh\necho ran\n' > x.sh; chmod 755 x.sh; ./x.sh; /usr/bin/env sh -c 'echo alive';;
  fill) yes > big;;
  sleep) sleep 600 & wait;;
  deep) perl -e 'chdir $ENV{TMPDIR}; for (1..2000) { mkdir "d"; chdir "d" }';;
  stay) (setsid sleep $of || sleep $of) >/dev/null 2>&1 & perl -e 'setpgrp; fork or exec "sleep", @ARGV' $of;;
  connect) bash -c "exec 3<>/dev/tcp/127.0.0.1/$of" && echo connected;;
  gain) unshare -U true && echo users; unshare -m true && echo mounts; ipcmk -M 10 && echo shares;;
  signal) kill -0 $of && echo signalled;;
  read) cat /etc/passwd /proc/$of/environ; ls -d ../../../*; echo '#include "/etc/passwd"' | gcc -E -;;
esac 2>&1
exit 0
"#;

fn mischievous(farm: &Farm) -> (Daemon, PathBuf) {
    mischievous_by(farm, farm.daemon(Which::Ours))
}

/// With namespaces and without.
fn each_way(check: impl Fn(&Daemon, &PathBuf, &str)) {
    for way in ["views", "mirrors"] {
        let farm = Farm::new();
        let plan = match way {
            "views" => farm.daemon(Which::Ours),
            _ if !have("hostile_pump", &["unshare", "setpriv"]) => continue,
            _ => farm.daemon(Which::Ours).without_namespaces(),
        };
        let (mut daemon, folder) = mischievous_by(&farm, plan);
        expect_line(
            &daemon,
            &[if way == "views" {
                "see their"
            } else {
                "can't see their"
            }],
        );
        check(&daemon, &folder, way);
        expect_served(&daemon);
        assert_eq!(daemon.leftovers(), [""; 0], "{way}");
        assert!(daemon.alive(), "{way}");
    }
}

fn mischievous_by(farm: &Farm, plan: DaemonPlan) -> (Daemon, PathBuf) {
    let folder = farm.path("mischief");
    fs::create_dir_all(&folder).unwrap();
    let gcc = folder.join("gcc");
    fs::write(&gcc, MISCHIEF).unwrap();
    fs::set_permissions(&gcc, fs::Permissions::from_mode(0o755)).unwrap();
    let list = gcc.display().to_string();
    let daemon = plan.options(&["--compilers", &list]).start();
    (daemon, folder)
}

fn job(what: &str) -> Files {
    Files::new("/home/me", &format!("gcc -DX={what} -c x.c -o sub/x.o")).file("x.c", "int x;\n")
}

#[track_caller]
fn expect_served(daemon: &Daemon) {
    assert_eq!(job("nothing").ask(daemon).object.unwrap(), b"OBJ");
}

/// Panics unless the job is refused in words, and its reason is in the log.
#[track_caller]
fn expect_refused(daemon: &Daemon, files: &Files, why: &str) {
    let reply = files.ask(daemon);
    let said = String::from_utf8_lossy(&reply.stderr);
    assert_eq!(reply.status.exit_code(), Some(113), "{why}: {said}");
    assert!(said.contains(why), "{why}: {said}");
    expect_line(daemon, &["job refused", why]);
}

#[test]
fn no_name_leads_out_of_the_job() {
    let farm = Farm::new();
    let (mut daemon, _) = mischievous(&farm);
    let victim = farm.path("victim");
    fs::write(&victim, "intact").unwrap();
    fs::set_permissions(&victim, fs::Permissions::from_mode(0o666)).unwrap();
    let victim_name = victim.display().to_string();
    let up = "../".repeat(30);
    let out = format!("{up}{}", victim_name.trim_start_matches('/'));
    let deep = "/d".repeat(200);
    let long = format!("/{}", "x".repeat(256));
    for (name, why) in [
        (format!("!/{out}"), "has . or .."),
        ("!/home/./x.c".to_owned(), "has . or .."),
        ("!x.c".to_owned(), "is not absolute"),
        ("!".to_owned(), "is not absolute"),
        ("!/".to_owned(), "is the top"),
        ("!/.distcc/deps".to_owned(), "server's own"),
        ("!/usr/bin/as".to_owned(), "is where programs are"),
        (
            "!/usr/lib/x86_64-linux-gnu/libc.so.6".to_owned(),
            "is where programs are",
        ),
        (
            "!/lib/x86_64-linux-gnu/libc.so.6".to_owned(),
            "is where programs are",
        ),
        (
            "!/usr/lib/gcc/x86_64-linux-gnu/12/specs".to_owned(),
            "is where programs are",
        ),
        (
            "!/usr/share/locale/de/LC_MESSAGES/gcc.mo".to_owned(),
            "is where programs are",
        ),
        (
            "!/usr/x86_64-linux-gnu/lib/specs".to_owned(),
            "is where programs are",
        ),
        (
            "!/usr/x86_64-linux-gnu/lib/x86_64-linux-gnu/12/specs".to_owned(),
            "is where programs are",
        ),
        ("!/home/me/x.h.gch".to_owned(), "is a precompiled header"),
        ("!/etc/ld.so.preload".to_owned(), "is where programs are"),
        ("!/etc/ld.so.cache".to_owned(), "own"),
        ("!/proc/self/exe".to_owned(), "is where programs are"),
        ("!/dev/null".to_owned(), "own"),
        ("!/usr".to_owned(), "a folder and something else"),
        ("!/lib".to_owned(), "written to a link"),
        (format!("!{deep}"), "too deep"),
        (format!("!{long}"), "too long"),
        ("!/home/me/x.c/y".to_owned(), "below a file"),
    ] {
        expect_refused(&daemon, &job("nothing").file(&name, "int evil;\n"), why);
    }
    for (links, why) in [
        (&[("/home/me/ln", out.as_str())][..], "climbs out"),
        (&[("/ln", "/../../etc")], "climbs out"),
        (&[("/a/b", "/"), ("/c", "a/b/../x")], "climbs out"),
        (&[("/a", "b"), ("/b", "a")], "in a circle"),
        (&[("/usr/include", "../usr/include")], "in a circle"),
        (&[("/home/me/as", "/usr/bin/python3")], "where programs are"),
        (&[("/sys/bin", "/usr/bin")], "where programs are"),
        (&[("/usr/bin/as", "/home/me/as")], "where programs are"),
        (
            &[("/usr/no-such-machine/bin/as", "/home/me/as")],
            "where programs are",
        ),
        (&[("/lib", "/home/me")], "comes twice"),
        (&[("/proc", "/home/me")], "where programs are"),
        (
            &[("/home/me/ln", "/a"), ("/home/me/ln", "/b")],
            "comes twice",
        ),
        (&[("/home/me/sub", "/no")], ""),
    ] {
        let mut files = job("nothing");
        for (name, to) in links {
            files = files.link(name, to);
        }
        match why {
            "" => assert!(files.ask(&daemon).status.success()),
            why => expect_refused(&daemon, &files, why),
        }
    }
    for through in ["/home/me/ln", "/home/me/ln/x", "/home/me/ln/deep/x"] {
        let files = job("nothing")
            .link("/home/me/ln", "/home/other")
            .file(through, "evil");
        expect_refused(&daemon, &files, "link");
    }
    for cwd in ["/..", "home", "", "/home/..", "/.distcc", &long] {
        let mut files = job("nothing");
        files.cwd = cwd.to_owned();
        assert_eq!(files.ask(&daemon).status.exit_code(), Some(113), "{cwd}");
    }
    for output in [
        "../../../x.o",
        "/../x.o",
        "/.distcc/tmp/x",
        "/usr/bin/x.o",
        "/etc/x.o",
        "sub/",
        "..",
        "/home",
    ] {
        let files = job("nothing").with_words(&format!("gcc -c x.c -o {output}"));
        let reply = files.ask(&daemon);
        assert_eq!(reply.status.exit_code(), Some(113), "{output}");
    }
    for system in ["/home/me/sysroot/usr/include", "/etc", "/nowhere"] {
        let link = format!("{}{}", "../".repeat(30), system.trim_start_matches('/'));
        let files = job("nothing").link(system, link);
        expect_refused(&daemon, &files, "no folder of the system's");
    }
    assert_eq!(fs::read(&victim).unwrap(), b"intact");
    expect_served(&daemon);
    assert_eq!(daemon.leftovers(), [""; 0]);
    assert!(daemon.alive());
}

#[test]
fn recorded_attacks_are_refused() {
    let farm = Farm::new();
    let (mut daemon, _) = mischievous(&farm);
    for (name, why) in [
        ("hostile-v3-name-dotdot", "has . or .."),
        ("hostile-v3-cwd-dotdot", "has . or .."),
        ("hostile-v3-write-through-symlink", "link"),
        ("hostile-v3-mt-last", "-MT lacks its value"),
    ] {
        let request = capture(&format!("{name}.req.bin"));
        let reply = reply(Version::V3, &ask(&daemon, &request));
        assert_eq!(reply.status.exit_code(), Some(113), "{name}");
        let said = String::from_utf8_lossy(&reply.stderr);
        assert!(said.contains(why), "{name}: {said}");
    }
    assert_eq!(ask(&daemon, &capture("v3-bad-token.req.bin")), b"");
    expect_served(&daemon);
    assert!(!farm.path("escape").exists() && !daemon.tmp.join("../escape").exists());
    assert_eq!(daemon.leftovers(), [""; 0]);
    assert!(daemon.alive());
}

/// What a compiler leaves in place of its output is not read through, and goes with its job.
#[test]
fn what_a_compiler_leaves_is_no_way_out() {
    let farm = Farm::new();
    let (mut daemon, _) = mischievous(&farm);
    for what in ["link", "linked-folder", "fifo", "folder"] {
        let answer = ask(&daemon, &job(what).bytes());
        let said = String::from_utf8_lossy(&answer);
        assert!(!said.contains("root:"), "{what}: {said}");
        assert!(!said.contains("DOTO"), "{what}: {said}");
    }
    assert_eq!(job("mess").ask(&daemon).object.unwrap(), b"OBJ");
    expect_served(&daemon);
    assert_eq!(daemon.leftovers(), [""; 0]);
    assert!(daemon.alive());
}

#[test]
fn a_compiler_sees_its_job_and_the_toolchain() {
    let farm = Farm::new();
    let (daemon, _) = mischievous(&farm);
    let reply = job("look").file("/usr/src/mine.h", "").ask(&daemon);
    let seen = String::from_utf8_lossy(&reply.stdout);
    assert!(seen.starts_with("/home/me\n"), "{seen}");
    for hidden in ["shadow", "passwd", "distccd_", "/proc:", "lost+found"] {
        assert!(!seen.contains(hidden), "{hidden}: {seen}");
    }
    for line in [
        "TMPDIR=/.distcc/tmp",
        "HOME=/.distcc/tmp",
        "PWD=/home/me",
        "mine.h",
    ] {
        assert!(seen.contains(line), "{line}: {seen}");
    }
    let temporary = seen.split("TMP\n").nth(1).unwrap();
    assert_eq!(temporary.lines().count(), 3, "{temporary}");
    let wrote = job("write").ask(&daemon);
    let wrote = String::from_utf8_lossy(&wrote.stdout).into_owned();
    assert_eq!(
        wrote,
        "wrote /etc/x\nwrote /dev/x\nwrote /x\nwrote /.distcc/tmp/x\n"
    );
    let gained = String::from_utf8_lossy(&job("mount").ask(&daemon).stdout).into_owned();
    assert!(
        !gained.contains("mounted") && !gained.contains("chrooted"),
        "{gained}"
    );
    let ran = String::from_utf8_lossy(&job("run").ask(&daemon).stdout).into_owned();
    assert!(ran.contains("alive") && !ran.contains("\nran"), "{ran}");
    assert!(!std::path::Path::new("/etc/x").exists());
    expect_served(&daemon);
    assert_eq!(daemon.leftovers(), [""; 0]);
}

/// What a compiler does beside its files: nothing of it goes beyond the job.
#[test]
fn a_compiler_reaches_nobody_and_stays_with_its_job() {
    if !have(
        "hostile_pump",
        &["perl", "bash", "setsid", "ipcmk", "unshare"],
    ) || !fence::has_filters()
    {
        return;
    }
    each_way(|daemon, folder, way| {
        let said = |what: &str| {
            let reply = job(what).ask(daemon);
            assert_eq!(reply.object.as_deref(), Some(&b"OBJ"[..]), "{way}: {what}");
            String::from_utf8_lossy(&reply.stdout).into_owned()
        };
        said("deep");
        let connected = said(&format!("connect -DOF={}", daemon.port));
        assert!(!connected.contains("connected"), "{way}: {connected}");
        let gained = said("gain");
        for what in ["users", "mounts", "shares"] {
            assert!(!gained.contains(what), "{way}: {gained}");
        }
        let signalled = said(&format!("signal -DOF={}", daemon.pid()));
        assert!(
            !fence::has_scopes() || !signalled.contains("signalled"),
            "{way}"
        );
        // A number that is in no other command line of this machine.
        let time = format!("{}.25", 60_000 + daemon.port as u32);
        said(&format!("stay -DOF={time}"));
        let lines = || {
            let processes = fs::read_dir("/proc").unwrap().flatten();
            let lines = processes.map(|process| fs::read(process.path().join("cmdline")));
            lines.map(Result::unwrap_or_default).collect::<Vec<_>>()
        };
        let sleeps = |line: &Vec<u8>| line == format!("sleep\0{time}\0").as_bytes();
        wait_for("nobody stays", BOUND, || !lines().iter().any(sleeps));
        let read = said(&format!("read -DOF={}", daemon.pid()));
        for other in ["root:", "LC_ALL=", &folder.display().to_string()] {
            assert!(
                !read.contains(other) || !fence::has_files(),
                "{way}: {read}"
            );
        }
    });
}

/// A job's folder is in memory: it is bounded.
#[test]
fn a_compiler_that_fills_its_folder_is_stopped() {
    let farm = Farm::new();
    let (mut daemon, _) = mischievous(&farm);
    let reply = job("fill").ask(&daemon);
    let said = String::from_utf8_lossy(&reply.stdout).into_owned();
    assert!(
        said.contains("No space left") || said.contains("File too large"),
        "{said}"
    );
    expect_served(&daemon);
    assert_eq!(daemon.leftovers(), [""; 0]);
    assert!(daemon.alive());
}

#[test]
fn bombs_do_not_go_off() {
    let farm = Farm::new();
    let (mut daemon, _) = mischievous(&farm);
    let words: Vec<&[u8]> = vec![b"gcc", b"-c", b"x.c", b"-o", b"x.o"];
    let many = encode_pump_head(b"/p", &words, 65_537).unwrap();
    assert_eq!(ask(&daemon, &many), b"");
    expect_line(&daemon, &["65537 files"]);
    let mut zeros = b"\x15    \x20".to_vec();
    zeros.resize(2 << 20, 0);
    zeros.extend(b"\x01\0\0\x11\0\0");
    let mut bomb = encode_pump_head(b"/p", &words, 2).unwrap();
    put_file(&mut bomb, b"/p/x.c", &zeros).unwrap();
    put_file(&mut bomb, b"/p/y.c", &zeros).unwrap();
    assert_eq!(ask(&daemon, &bomb), b"");
    expect_line(&daemon, &["expanded bytes"]);
    let deep = "/d".repeat(100);
    let mut folders = job("nothing");
    for number in 0..5000 {
        folders = folders.file(format!("/{number}{deep}/x"), "");
    }
    expect_refused(&daemon, &folders, "one too many");
    let mut told = job("nothing");
    told.entries
        .push(("/.distcc/about".to_owned(), Entry::File(vec![b'z'; 100])));
    expect_refused(&daemon, &told, "what is told of the job");
    told.entries.pop();
    told.entries
        .push(("/.distcc/about".to_owned(), Entry::File(vec![0; 9 << 20])));
    expect_refused(&daemon, &told, "too much is told");
    expect_served(&daemon);
    assert_eq!(daemon.leftovers(), [""; 0]);
    assert!(daemon.alive());
}

/// An account of a job that would make programs believe a client's file, or keep us busy.
#[test]
fn what_is_told_is_not_believed_blindly() {
    let farm = Farm::new();
    let (mut daemon, _) = mischievous(&farm);
    let variable = |name: &str, value: &str| About {
        variables: vec![(name.into(), value.into())],
        ..About::default()
    };
    for (name, value, taken) in [
        ("LANGUAGE", "../../../home/me:de", false),
        ("LC_ALL", "/home/me/locale", false),
        ("LANG", "de_DE.UTF-8@euro", true),
        ("TZ", "/home/me/zone", false),
        ("TZ", ":../../home/me/zone", false),
        ("TZ", ":/etc/localtime", true),
        ("TZ", "Europe/Berlin", true),
    ] {
        let reply = job("nothing").told(variable(name, value)).ask(&daemon);
        let remark = if taken {
            Remark::Exact
        } else {
            Remark::NotHere
        };
        assert_eq!(reply.remark, Some(remark), "{name}={value}");
    }
    let dirs = |count: usize| -> Vec<Vec<u8>> {
        (0..count)
            .map(|number| format!("/usr/{number}").into())
            .collect()
    };
    let missing = |count: usize| -> Vec<Lookup> {
        let missing = |number| Lookup::Missing {
            start: 0,
            name: format!("{number}").into(),
        };
        (0..count).map(missing).collect()
    };
    for (dirs, system, why) in [
        (dirs(1001), Vec::new(), "too much is told"),
        (dirs(1), missing(100_001), "too much is told"),
        (dirs(1000), missing(100_000), "it would take too long"),
    ] {
        let about = About {
            system_dirs: dirs,
            system,
            ..About::default()
        };
        expect_refused(&daemon, &job("nothing").told(about), why);
    }
    // Each link is followed to its end, however long the way is.
    let mut winding = job("nothing");
    let long = format!("{}l", "./".repeat(2000));
    for number in 0..5000 {
        winding = winding.link(format!("l{number}"), format!("{long}{}", number + 1));
    }
    expect_refused(&daemon, &winding, "is too long");
    expect_served(&daemon);
    assert_eq!(daemon.leftovers(), [""; 0]);
    assert!(daemon.alive());
}

/// A compiler whose folder a client's link would lead elsewhere, or that lies in a folder of sources.
#[test]
fn a_compilers_own_folder_stays_its_own() {
    let farm = Farm::new();
    let (daemon, folder) = mischievous(&farm);
    let above = folder.parent().unwrap();
    for (name, to) in [
        (folder.as_path(), "/home/me"),
        (above, "/home/me"),
        (above, "me"),
    ] {
        expect_refused(
            &daemon,
            &job("nothing").link(name, to),
            "this machine's own",
        );
    }
    for name in ["as", "gcc", "clang.cfg", "lib/specs"] {
        let name = folder.join(name);
        expect_refused(
            &daemon,
            &job("nothing").file(name, "x"),
            "where programs are",
        );
    }
    expect_served(&daemon);
}

/// A client that goes takes its compiler with it, and all of the job.
#[test]
fn hang_ups_leave_nothing() {
    let farm = Farm::new();
    let (mut daemon, _) = mischievous(&farm);
    let request = job("sleep").told(About::default()).bytes();
    for end in (0..request.len()).step_by(37) {
        let mut stream = common::fake::connect(&daemon);
        stream.write_all(&request[..end]).unwrap();
    }
    let mut stream = common::fake::connect(&daemon);
    stream.write_all(&request).unwrap();
    wait_for("the compiler runs", BOUND, || !daemon.children().is_empty());
    drop(stream);
    wait_for("the compiler is gone", BOUND, || {
        daemon.children().is_empty()
    });
    expect_line(&daemon, &["CLI_DISCONN"]);
    expect_served(&daemon);
    assert_eq!(daemon.leftovers(), [""; 0]);
    let limited = farm.daemon(Which::Ours);
    let list = farm.path("mischief/gcc").display().to_string();
    let limited = limited
        .options(&["--compilers", &list, "--job-lifetime", "1"])
        .start();
    let reply = job("sleep").told(About::default()).ask(&limited);
    assert_eq!((reply.status.exit_code(), reply.remark), (Some(118), None));
    assert_eq!(limited.leftovers(), [""; 0]);
    let mut stream = common::fake::connect(&daemon);
    stream.write_all(&request).unwrap();
    wait_for("the compiler runs", BOUND, || !daemon.children().is_empty());
    daemon.signal("INT");
    wait_for("the daemon is gone", BOUND, || !daemon.alive());
    assert_eq!(daemon.leftovers(), [""; 0]);
}

/// Options that would run or load something are refused with files, too.
#[test]
fn no_option_runs_anything() {
    if !have("hostile_pump", &["gcc", "clang"]) {
        return;
    }
    let farm = Farm::new();
    let plan = farm.daemon(Which::Ours);
    let daemon = plan.options(&["--compilers", "gcc,clang"]).start();
    let files = Files::new("/home/me", "gcc")
        .file("x.c", "int x;\n")
        .file("specs", "*cc1:\nsh -c 'echo ran >&2'\n")
        .file("clang.cfg", "-fplugin=./x.so\n");
    for words in [
        "-specs=specs",
        "--specs=/home/me/specs",
        "-B/home/me",
        "-wrapper sh",
        "-fplugin=./x.so",
        "--config clang.cfg",
        "--config=/home/me/clang.cfg",
        "@clang.cfg",
        "-Xclang -load",
        "-Wa,-I,/",
        "-no-integrated-as --sysroot=/home/me",
    ] {
        for compiler in ["gcc", "clang"] {
            let words = format!("{compiler} {words} -c x.c -o x.o");
            let reply = files.with_words(&words).ask(&daemon);
            assert_eq!(reply.status.exit_code(), Some(113), "{words}");
        }
    }
    assert!(files
        .with_words("gcc -c x.c -o x.o")
        .ask(&daemon)
        .status
        .success());
}
