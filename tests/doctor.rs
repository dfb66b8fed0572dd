//! `distcc doctor` of this machine: that it finds what is wrong with folders, settings, PATH and its links, tells people and
//! programs, and leaves nothing behind.
#![allow(clippy::unwrap_used)]

mod common;

use common::doctor::{client, doctor, PATIENT};
use common::{free_port, have, wait_for, Ending, Farm, Peer, Script, Which, BOUND, OURS};
use std::fs;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::PathBuf;

#[test]
fn people_get_lines_and_a_summary() {
    let farm = Farm::new();
    let host = format!("127.0.0.1:{}", free_port());
    let ran = client(&farm, "").run(&["doctor", &host]).expect(1);
    assert!(
        ran.stdout
            .contains(&format!("FAULT    connect     {host}: ")),
        "{ran}"
    );
    assert!(
        ran.stdout.contains("(README: A host is not reached)\n"),
        "{ran}"
    );
    assert!(ran.stdout.ends_with("1 fault, 1 warning.\n"), "{ran}");
    assert!(
        ran.stdout
            .contains("DISTCC_TEST_FARM: is no variable of distcc's"),
        "{ran}"
    );
}

#[test]
fn a_mark_is_told_and_stays() {
    let farm = Farm::new();
    let host = format!("127.0.0.1:{}", free_port());
    let lock = farm.path("top/lock");
    fs::create_dir(&lock).unwrap();
    let mark = lock.join(format!("backoff_tcp_{}_0", host.replace(':', "_")));
    fs::write(&mark, "x").unwrap();
    let found = doctor(&client(&farm, &host), &[], 1);
    found.expect(
        "backoff",
        &host,
        "warning",
        &format!("rm {}", mark.display()),
    );
    assert!(mark.exists());
}

#[test]
fn a_script_that_calls_distcc_is_passed_over() {
    if !have("doctor", &["gcc"]) {
        return;
    }
    let farm = Farm::new();
    let daemon = farm.daemon(Which::Ours).start();
    let scripts = farm.path("bin/scripts");
    fs::create_dir(&scripts).unwrap();
    let gcc = scripts.join("gcc");
    fs::write(&gcc, "#!/bin/sh\nexec distcc gcc \"$@\"\n").unwrap();
    fs::set_permissions(&gcc, fs::Permissions::from_mode(0o755)).unwrap();
    let client = client(&farm, &daemon.host());
    let path = format!("{}:{}", scripts.display(), farm.path("bin/one").display());
    let found = doctor(&client.env("PATH", path), &[PATIENT], 0);
    found.expect("recursion", "", "warning", "scripts that call distcc: gcc");
    found.expect("compile", &daemon.host(), "ok", "that of a compile here");
}

#[test]
fn folders_and_lists_that_are_no_good_are_named() {
    let farm = Farm::new();
    fs::write(farm.path("file"), "").unwrap();
    let in_farm = |name: &str| farm.path(name).display().to_string();
    for (variable, value, check, words) in [
        ("DISTCC_DIR", in_farm("nowhere"), "distcc-dir", "mkdir -p"),
        ("DISTCC_DIR", in_farm("file"), "distcc-dir", "is no folder"),
        ("TMPDIR", in_farm("nowhere"), "tmpdir", "No such file"),
        (
            "DISTCC_HOSTS",
            "a\n b,foo".into(),
            "hosts",
            "line 2, column 2: 'b,foo'",
        ),
        ("DISTCC_HOSTS", "a,cpp".into(), "hosts", "needs compression"),
        ("DISTCC_HOSTS", String::new(), "hosts", "contained no hosts"),
        (
            "DISTCC_IO_TIMEOUT",
            "soon".into(),
            "variables",
            "DISTCC_IO_TIMEOUT is 'soon'",
        ),
        (
            "GCC_EXEC_PREFIX",
            "/x".into(),
            "variables",
            "everything is compiled here",
        ),
        (
            "_DISTCC_SAFEGUARD",
            "1".into(),
            "recursion",
            "unset _DISTCC_SAFEGUARD",
        ),
        (
            "PATH",
            in_farm("home"),
            "compilers",
            "there is no C or C++ compiler on PATH",
        ),
    ] {
        let client = client(&farm, "localhost/2").env(variable, &value);
        doctor(&client, &[], 1).expect(check, "", "fault", words);
    }
    farm.expect_clean("looks at what is no good");
}

/// Where nothing can be tried for want of a folder, that is said once, and what was not done is no fault.
#[test]
fn one_cause_is_one_fault() {
    let farm = Farm::new();
    let client = client(&farm, "127.0.0.1:1").env("TMPDIR", farm.path("nowhere"));
    let found = doctor(&client, &[], 1);
    found.expect("tmpdir", "", "fault", "let TMPDIR name a folder");
    found.expect("hosts", "", "ok", "not asked");
    assert_eq!(found.0.iter().filter(|one| one[2] == "fault").count(), 1);
}

/// What is advised for links that a distcc which went has left behind does away with them.
#[test]
fn the_advice_for_links_that_lead_nowhere_works() {
    let farm = Farm::new();
    let links = farm.path("links");
    fs::create_dir(&links).unwrap();
    for name in ["gcc", "gcc-99"] {
        symlink("/gone/bin/distcc", links.join(name)).unwrap();
    }
    symlink(OURS, farm.path("bin/update-distcc-symlinks")).unwrap();
    let mut folders = vec![links.clone(), farm.path("bin")];
    folders.extend(["/usr/bin", "/bin"].map(PathBuf::from));
    let path = std::env::join_paths(folders).unwrap();
    let client = farm.client(Which::Ours, "a,down").env("PATH", path);
    let advice = format!("update-distcc-symlinks --dir {}", links.display());
    let found = doctor(&client, &[], 0);
    found.expect("links", "", "warning", &format!("`{advice}`"));
    client.run_other(&["sh", "-c", &advice]).expect(0);
    let found = doctor(&client, &[], 0);
    assert!(
        found.0.iter().all(|one| one[0] != "links"),
        "{:#?}",
        found.0
    );
}

#[test]
fn what_may_be_meant_is_a_warning() {
    let farm = Farm::new();
    for (variable, value, check, words) in [
        ("DISTCC_HOST", "a", "variables", "is DISTCC_HOSTS meant?"),
        ("DISTCC_VERBOSE", "yes", "variables", "neither 0 nor 1"),
        (
            "DISTCC_FALLBACK",
            "0",
            "variables",
            "instead of running here",
        ),
        ("DISTCC_HOSTS", "localhost", "hosts", "only this machine"),
        (
            "DISTCC_HOSTS",
            "localhost localhost",
            "hosts",
            "more than once",
        ),
        ("DISTCC_BACKOFF_PERIOD", "abc", "variables", "no number"),
    ] {
        let client = client(&farm, "localhost/2").env(variable, value);
        doctor(&client, &[], 0).expect(check, "", "warning", words);
    }
}

#[test]
fn links_before_and_behind_the_compilers_are_told_apart() {
    if !have("doctor", &["gcc"]) {
        return;
    }
    let farm = Farm::new();
    let links = farm.masquerade(Which::Ours, &["gcc", "clang"]);
    let links = links.display().to_string();
    let real = farm.new_folder("real");
    symlink("/usr/bin/gcc", real.join("gcc")).unwrap();
    let real = real.display().to_string();
    let look = |path: String| doctor(&client(&farm, "localhost/2").env("PATH", path), &[], 0);
    look(format!("{real}:{links}")).expect(
        "masquerade",
        &links,
        "warning",
        "before their links: gcc",
    );
    let found = look(format!("{links}:{real}"));
    found.expect("masquerade", &links, "ok", "2 of them");
    found.expect(
        "masquerade",
        &links,
        "warning",
        "no compiler behind the link on PATH: clang",
    );
}

#[test]
fn a_signal_ends_it_and_nothing_stays() {
    let farm = Farm::new();
    let silent = Peer::play(Script {
        read: 1,
        reply: Vec::new(),
        pace: None,
        ending: Ending::Stall,
    });
    let host = silent.host();
    let (running, _) = client(&farm, &host).start(&["doctor", PATIENT]);
    wait_for("a connection", BOUND, || silent.connections() > 0);
    running.signal("TERM");
    assert_eq!(running.finish(BOUND).status, 128 + 15);
    farm.expect_clean("an end by a signal");
}

#[test]
fn words_that_are_wrong_are_refused() {
    let farm = Farm::new();
    let client = client(&farm, "localhost");
    let ran = client.run(&["doctor", "--frobnicate"]).expect(101);
    assert!(ran.stderr.contains("--frobnicate"), "{ran}");
    let ran = client.run(&["doctor", "--help"]).expect(0);
    assert!(ran.stdout.starts_with("Usage: distcc doctor "), "{ran}");
    doctor(&client, &["a,foo"], 1).expect(
        "hosts",
        "",
        "fault",
        "the command line: line 1, column 1: 'a,foo'",
    );
}

/// Scripts that fail because of one compiler, which they call, are one finding.
#[test]
fn compilers_that_fail_for_one_reason_are_named_together() {
    let farm = Farm::new();
    let bin = farm.new_folder("broken");
    for name in ["gcc", "c89", "c99"] {
        let script = bin.join(name);
        fs::write(&script, "#!/bin/sh\necho no licence >&2\nexit 3\n").unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let found = doctor(&client(&farm, "localhost/2").env("PATH", bin), &[], 0);
    let failed = found.0.iter().filter(|one| one[3].contains("no licence"));
    assert_eq!(failed.count(), 1, "{:#?}", found.0);
    found.expect("compilers", "c89, c99, gcc", "warning", "does not compile");
}
