//! Pump jobs of our daemon when the machine fails them: processes that die, a full disk, more files than usual. Each job is
//! answered or given up in bounded time, and the next one is served.
#![allow(clippy::unwrap_used)]

mod common;

use common::fake::{alive, ask, connect, expect_line};
use common::v3::Files;
use common::{have, is_root, signal, wait_for, Daemon, DaemonPlan, Farm, Which, BOUND};
use distcc::model::about::About;
use distcc::model::wire::Remark;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

fn real(plan: DaemonPlan) -> Daemon {
    plan.options(&["--compilers", "gcc"]).start()
}

fn job() -> Files {
    Files::new("/home/me", "gcc -c x.c -o sub/x.o")
        .file("x.c", "#include <stdio.h>\nint x;\n")
        .told(About::default())
}

#[track_caller]
fn expect_served(daemon: &Daemon) {
    let reply = job().ask(daemon);
    let said = String::from_utf8_lossy(&reply.stderr);
    assert_eq!(reply.remark, Some(Remark::Exact), "{said}");
    assert!(reply.status.success(), "{said}");
}

/// The process between the daemon and a compiler, or the compiler, is ended or stopped at any moment.
#[test]
fn jobs_whose_processes_die_are_answered() {
    if !have("daemon_trouble", &["gcc"]) {
        return;
    }
    let farm = Farm::new();
    let mut daemon = real(farm.daemon(Which::Ours).jobs(2));
    let request = job().bytes();
    let mut died = 0;
    for round in 0..60 {
        let mut stream = connect(&daemon);
        stream.set_read_timeout(Some(BOUND)).unwrap();
        stream.write_all(&request).unwrap();
        wait_for("it has begun", BOUND, || {
            round % 5 == 0 || daemon.children().iter().any(|child| alive(child))
        });
        std::thread::sleep(Duration::from_millis(round % 20));
        for child in daemon.children() {
            signal("KILL", &child);
        }
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        died += usize::from(!answer.starts_with(b"DONE00000003STAT00000000"));
    }
    assert!(died > 5, "{died} died");
    expect_served(&daemon);
    assert_eq!(daemon.leftovers(), [""; 0]);
    assert!(daemon.alive());
}

#[test]
fn a_full_disk_is_no_end() {
    if !have("daemon_trouble", &["gcc", "unshare"]) {
        return;
    }
    for small in ["size=64k", "size=64k,nr_inodes=4"] {
        let farm = Farm::new();
        let script =
            format!("mount -t tmpfs -o mode=1777,{small} none \"$TMPDIR\"; exec \"$0\" \"$@\"");
        let mut words = vec!["unshare", "--mount"];
        if !is_root() {
            words.extend(["--user", "--map-current-user", "--keep-caps"]);
        }
        words.extend(["sh", "-ec", &script]);
        let mut daemon = real(farm.daemon(Which::Ours).within(&words));
        let large = job().file("big.h", "x\n".repeat(1 << 20));
        for files in [&large, &job(), &large] {
            // Files are in memory; a compiler that finds no room for what it writes fails, and is believed by nobody.
            let answer = ask(&daemon, &files.bytes());
            assert!(answer.is_empty() || answer.starts_with(b"DONE"));
        }
        assert!(daemon.alive(), "{small}");
    }
}

#[test]
fn a_job_of_very_many_files_is_done() {
    if !have("daemon_trouble", &["gcc"]) {
        return;
    }
    let farm = Farm::new();
    for plan in [
        farm.daemon(Which::Ours),
        farm.daemon(Which::Ours).without_namespaces(),
    ] {
        let mut daemon = real(plan);
        let mut files = job();
        for number in 0..20_000 {
            let name = format!("/home/me/d{}/e{}/h{number}.h", number % 7, number % 113);
            files = files.file(name, format!("#define H{number}\n"));
        }
        let reply = files.ask(&daemon);
        let said = String::from_utf8_lossy(&reply.stderr);
        assert_eq!(reply.remark, Some(Remark::Exact), "{said}");
        expect_served(&daemon);
        assert_eq!(daemon.leftovers(), [""; 0]);
        assert!(daemon.alive());
    }
}

/// What is killed outright leaves no process, and nothing on disk but a folder where jobs have no other place, which goes
/// when the next one starts.
#[test]
fn a_killed_daemon_takes_its_compilers_along() {
    if !have("daemon_trouble", &["gcc"]) {
        return;
    }
    let endless = Files::new("/home/me", "gcc -c x.c -o x.o").file(
        "x.c",
        "#define A(x) x x x x x x x x\n#define B(x) A(A(A(A(A(x)))))\nint a[] = { B(B(1,)) };\n",
    );
    let farm = Farm::new();
    for in_views in [true, false] {
        let plan = || match in_views {
            true => farm.daemon(Which::Ours),
            false => farm.daemon(Which::Ours).without_namespaces(),
        };
        let mut daemon = real(plan());
        let mut stream = connect(&daemon);
        stream.write_all(&endless.bytes()).unwrap();
        expect_line(&daemon, &["gcc as gcc -c x.c"]);
        wait_for("it runs", BOUND, || !daemon.children().is_empty());
        let compilers = daemon.children();
        daemon.kill();
        for compiler in compilers {
            let status = format!("/proc/{compiler}/stat");
            let is_gone = || {
                let stat = fs::read_to_string(&status).unwrap_or_default();
                stat.is_empty() || stat.contains(") Z")
            };
            wait_for("the compiler is gone", BOUND, is_gone);
        }
        let left = folders(&daemon.tmp);
        if in_views {
            assert_eq!(left, [""; 0].map(PathBuf::from));
            continue;
        }
        let [left] = &left[..] else {
            panic!("one folder is left: {left:?}");
        };
        let tmp = daemon.tmp.display().to_string();
        let start = || real(plan().env("TMPDIR", &tmp));
        // It could be one that another daemon is just about to use.
        drop(start());
        assert!(left.exists());
        let old = SystemTime::now() - Duration::from_secs(600);
        fs::File::open(left).unwrap().set_modified(old).unwrap();
        let next = start();
        wait_for("the folder is gone", BOUND, || !left.exists());
        expect_line(&next, &["1 folders", "killed"]);
    }
}

fn folders(tmp: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(tmp).unwrap().flatten();
    entries.map(|entry| entry.path()).collect()
}
