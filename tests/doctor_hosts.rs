//! `distcc doctor` of hosts: that it finds what is wrong with real daemons, peers that are none and ssh, blames nobody else, and
//! leaves nothing behind.
#![allow(clippy::unwrap_used)]

mod common;

use common::doctor::{client, doctor, PATIENT};
use common::{free_port, have, BlackHole, Ending, Farm, Peer, Script, Which, OURS};
use std::fs;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::PathBuf;

#[test]
fn a_host_that_works_is_said_to_work() {
    if !have("doctor", &["gcc"]) {
        return;
    }
    let farm = Farm::new();
    let daemon = farm
        .daemon(Which::Ours)
        .options(&["--compilers", "gcc"])
        .start();
    let host = format!("{}/3,cpp,lzo", daemon.host());
    let found = doctor(&client(&farm, &host), &[PATIENT], 0);
    found.expect("hosts", "$DISTCC_HOSTS", "ok", "1 host, 3 jobs at once");
    for (check, words) in [
        ("connect", "answers after"),
        ("protocol", "1 (plain), 2 (lzo) and 3 (pump)"),
        ("compilers", "the same as here: gcc"),
        ("daemon", "one of ours"),
        ("clock", "as here"),
        ("compile", "the object is that of a compile here"),
        ("pump", "the object is that of a compile here"),
    ] {
        found.expect(check, &host, "ok", words);
    }
    found.expect_no_other(&host, &[]);
    farm.expect_clean("a look at a host");
    assert!(daemon.leftovers().is_empty());
    assert!(!farm.path("top/lock").exists(), "no host gets a mark");
}

#[test]
fn stocks_daemon_is_known_and_works() {
    if !have("doctor with stock", &["gcc", "distccd"]) {
        return;
    }
    let farm = Farm::new();
    let daemon = farm.daemon(Which::Stock).start();
    let host = format!("{},cpp,lzo", daemon.host());
    let found = doctor(&client(&farm, &host), &[PATIENT], 0);
    found.expect("daemon", &host, "ok", "a stock daemon");
    found.expect(
        "compile",
        &host,
        "ok",
        "the object is that of a compile here",
    );
    found.expect("pump", &host, "ok", "the object is that of a compile here");
    found.expect_no_other(&host, &[]);
}

#[test]
fn each_trouble_with_a_host_is_told_from_the_others() {
    if !have("doctor", &["gcc"]) {
        return;
    }
    let farm = Farm::new();
    let closed = format!("127.0.0.1:{}", free_port());
    let hole = BlackHole::open();
    let play = |reply: &[u8], read: usize, ending| {
        Peer::play(Script {
            read,
            reply: reply.to_vec(),
            pace: None,
            ending,
        })
    };
    let web = play(b"HTTP/1.1 400 Bad Request\r\n\r\n", 4, Ending::Close);
    let silent = play(b"", 4, Ending::Stall);
    let hangs_up = play(b"", 4, Ending::Close);
    let denying = farm.daemon(Which::Ours).allow(Some("192.0.2.1")).start();
    let without = farm
        .daemon(Which::Ours)
        .options(&["--compilers", "/usr/bin/true"])
        .start();
    let rows = [
        (closed, "connect", "refuses connections"),
        (
            format!("127.0.0.1:{}", hole.port),
            "connect",
            "does not answer",
        ),
        (
            "no.such.host.invalid".to_owned(),
            "resolve",
            "correct the name",
        ),
        (web.host(), "protocol", "does not speak as distccd does"),
        (silent.host(), "protocol", "answers nothing"),
        (hangs_up.host(), "access", "hangs up on every request"),
        (denying.host(), "access", "let this machine in"),
        (
            without.host(),
            "compilers",
            "add them to the --compilers of its daemon",
        ),
    ];
    let hosts: Vec<&str> = rows.iter().map(|(host, ..)| host.as_str()).collect();
    let found = doctor(&client(&farm, &hosts.join(" ")), &["--time=8"], 1);
    for (host, check, words) in &rows {
        found.expect(check, host, "fault", words);
        found.expect_no_other(host, &[check]);
    }
    farm.expect_clean("a look at hosts in trouble");
    assert!(!farm.path("top/lock").exists(), "no host gets a mark");
}

#[test]
fn another_version_and_another_build_of_the_compiler_are_told_apart() {
    if !have("doctor", &["gcc"]) {
        return;
    }
    let farm = Farm::new();
    let script_of = |first: &str, words: &str| {
        let folder = farm.new_folder("compiler");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        let gcc = folder.join("gcc");
        fs::write(
            &gcc,
            format!("#!/bin/sh\n{first}\nexec /usr/bin/gcc {words} \"$@\"\n"),
        )
        .unwrap();
        fs::set_permissions(&gcc, fs::Permissions::from_mode(0o755)).unwrap();
        let options = [
            "--compilers",
            &gcc.display().to_string(),
            "--show",
            &folder.display().to_string(),
        ];
        farm.daemon(Which::Ours).options(&options).start()
    };
    let script = |words: &str| script_of("", words);
    let other = script("-U__VERSION__ '-D__VERSION__=\"1.2.3\"'");
    let alike = script("-Dprobe -fno-ident");
    let target = script("-m32");
    // What __TIME__ is there, so that the same compiler seems to run on a machine whose clock shows 2001.
    let late = script_of("export SOURCE_DATE_EPOCH=1000000000", "");
    let hosts = [other.host(), alike.host(), target.host(), late.host()];
    let client = client(&farm, &hosts.join(" ")).env("DISTCC_NO_REWRITE_CROSS", "");
    let found = doctor(&client, &[PATIENT], 1);
    found.expect(
        "compilers",
        &other.host(),
        "fault",
        "gcc: version 1.2.3 there, ",
    );
    found.expect(
        "compilers",
        &alike.host(),
        "warning",
        "but not of the same build: gcc",
    );
    found.expect(
        "compile",
        &alike.host(),
        "fault",
        "not that of a compile here",
    );
    found.expect(
        "compilers",
        &target.host(),
        "fault",
        "gcc: for i386, linux, pointers of 4 bytes",
    );
    found.expect("clock", &late.host(), "warning", " s behind this machine's");
    found.expect("clock", &late.host(), "warning", "by NTP");
    found.expect_no_other(&late.host(), &["clock"]);
}

#[test]
fn the_note_of_a_stock_daemon_goes_when_it_is_ours() {
    if !have("doctor", &["gcc"]) {
        return;
    }
    let farm = Farm::new();
    let daemon = farm.daemon(Which::Ours).start();
    let lock = farm.path("top/lock");
    fs::create_dir(&lock).unwrap();
    let mark = |what: &str| lock.join(format!("{what}_tcp_{}", daemon.host().replace(':', "_")));
    for what in ["stock", "inexact"] {
        fs::write(mark(what), "x").unwrap();
    }
    let found = doctor(&client(&farm, &daemon.host()), &[PATIENT], 0);
    found.expect("noted", &daemon.host(), "ok", "the note has been removed");
    assert!(!mark("stock").exists() && !mark("inexact").exists());
}

#[test]
fn the_advice_fits_the_refusal() {
    if !have("doctor", &["gcc", "clang"]) {
        return;
    }
    let farm = Farm::new();
    let folder = farm.new_folder("compiler");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    let gcc = folder.join("gcc");
    fs::write(&gcc, "#!/bin/sh\nexec /opt/no/such/gcc \"$@\"\n").unwrap();
    fs::set_permissions(&gcc, fs::Permissions::from_mode(0o755)).unwrap();
    let daemon = |compilers: &str| {
        let options = ["--compilers", compilers];
        farm.daemon(Which::Ours).options(&options).start()
    };
    let helpless = daemon(&gcc.display().to_string());
    let clang = daemon("clang");
    let hosts = format!("{} {}", helpless.host(), clang.host());
    let client = client(&farm, &hosts).env("DISTCC_NO_REWRITE_CROSS", "");
    symlink("/usr/bin/clang", farm.path("bin/one/clang")).unwrap();
    let found = doctor(&client, &[PATIENT], 1);
    found.expect("compilers", &helpless.host(), "fault", "--show DIR");
    let words = "add them to the --compilers";
    found.expect("compilers", &clang.host(), "fault", words);
}

/// A program in place of ssh.
fn ssh(farm: &Farm, name: &str, text: &str) -> PathBuf {
    let path = farm.path(&format!("bin/{name}"));
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn ssh_is_tried_before_anything_is_sent_through_it() {
    if !have("doctor", &["gcc"]) {
        return;
    }
    let farm = Farm::new();
    // A daemon that root starts works as somebody else.
    fs::set_permissions(farm.path("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    let daemon = farm.path("bin/distccd");
    symlink(OURS, &daemon).unwrap();
    let words = "--compilers gcc --config none";
    let good = ssh(&farm, "good", &format!("shift; program=$1; shift; case $1 in --version) exec $program $1;; esac; exec $program \"$@\" {words}"));
    let host = format!("@far:{}", daemon.display());
    let found = doctor(&client(&farm, &host).env("DISTCC_SSH", good), &[PATIENT], 0);
    found.expect("ssh", &host, "ok", "there is distccd ");
    found.expect(
        "compile",
        &host,
        "ok",
        "the object is that of a compile here",
    );
    let refusing = ssh(
        &farm,
        "refusing",
        "echo 'me@far: Permission denied (publickey).' >&2; exit 255",
    );
    let found = doctor(&client(&farm, &host).env("DISTCC_SSH", refusing), &[], 1);
    found.expect("ssh", &host, "fault", "Permission denied (publickey)");
    found.expect_no_other(&host, &["ssh"]);
    let named = "root@far";
    let refusing = farm.path("bin/refusing");
    let found = doctor(&client(&farm, named).env("DISTCC_SSH", refusing), &[], 1);
    found.expect("ssh", named, "fault", " root@far distccd --version` ");
    found.expect("ssh", named, "fault", "`ssh-copy-id root@far`");
    let missing = farm.path("bin/missing");
    let found = doctor(&client(&farm, &host).env("DISTCC_SSH", missing), &[], 1);
    found.expect("ssh", &host, "fault", "let DISTCC_SSH name it");
    farm.expect_clean("looks through ssh");
}

#[test]
fn a_host_that_has_answered_and_then_is_slow_is_no_fault() {
    if !have("doctor", &["gcc"]) {
        return;
    }
    let farm = Farm::new();
    fs::set_permissions(farm.path("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    let daemon = farm.path("bin/distccd");
    symlink(OURS, &daemon).unwrap();
    let asked = farm.path("asked");
    let text = format!(
        "shift; program=$1; shift; case $1 in --version) exec $program $1;; esac; \
         /bin/mkdir {} 2>/dev/null || exec /bin/sleep 1000; exec $program \"$@\" --compilers gcc --config none",
        asked.display()
    );
    let slow = ssh(&farm, "slow", &text);
    let host = format!("@far:{}", daemon.display());
    let client = client(&farm, &host).env("DISTCC_SSH", slow);
    let found = doctor(&client, &["--time=8"], 0);
    found.expect("compilers", &host, "ok", "the same as here: gcc");
    let is_told = |found: &[String; 5]| found[1] == host && found[4].contains("--time 60");
    assert!(found.0.iter().any(is_told), "{:#?}", found.0);
}
