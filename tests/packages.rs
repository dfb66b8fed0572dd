//! What `packaging/` holds for other people's systems: packages are built with this program, looked through, and the Debian one
//! is taken through its life in a copy of this machine.
#![allow(clippy::unwrap_used)]

mod common;

use common::{have, is_root, skip, OURS};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn packaging(name: &str) -> PathBuf {
    Path::new(ROOT).join("packaging").join(name)
}

/// What it says, if it ends well.
fn well(command: &mut Command) -> String {
    ended_well(command).0
}

/// What it says, and what it complains of.
fn well_with_errors(command: &mut Command) -> String {
    let (said, errors) = ended_well(command);
    said + &errors
}

fn ended_well(command: &mut Command) -> (String, String) {
    let out = command.output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    let errors = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{command:?}: {said}{errors}");
    (said, errors)
}

fn build_deb(folder: &Path) -> PathBuf {
    let mut build = Command::new(packaging("build-deb"));
    build.args(["--binary", env!("CARGO_BIN_EXE_distcc"), "--output"]);
    PathBuf::from(well(build.arg(folder)).trim())
}

#[test]
fn the_debian_package_installs_upgrades_and_goes() {
    if !have("packages", &["dpkg-deb", "gcc", "unshare", "ip"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let package = build_deb(folder.path());
    let found = well(Command::new("dpkg-deb").arg("--contents").arg(&package));
    for name in [
        "./usr/bin/distccd ->",
        "./usr/sbin/update-distcc-symlinks ->",
        "./lib/systemd/system/distccd.service",
        "./etc/init.d/distcc",
        "man1/distcc.1.gz",
    ] {
        assert!(found.contains(name), "{name}: {found}");
    }
    if !is_root() {
        skip("packages", "only root can install one");
        return;
    }
    let tried = well(Command::new(packaging("try-deb")).arg(&package));
    assert!(tried.contains("purged: nothing is left"), "{tried}");
    // This machine has stock's, which was replaced.
    if Path::new("/usr/share/doc/distcc-pump").exists() {
        assert!(tried.contains("settings taken over"), "{tried}");
    }
}

/// A systemd that boots in a copy of this machine.
#[test]
fn the_service_and_the_socket_live_under_systemd() {
    let needed = [
        "/lib/systemd/systemd",
        "dbus-daemon",
        "dpkg-deb",
        "gcc",
        "unshare",
        "ip",
    ];
    if !have("packages", &needed) {
        return;
    }
    if !is_root() {
        skip("packages", "only root can boot one");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let package = build_deb(folder.path());
    let tried = well(Command::new(packaging("try-systemd")).arg(&package));
    for part in [
        "ok: with --sandbox=require every layer is there",
        "ok: systemctl stop lets jobs come to their end",
        "ok: with the socket a job starts the service",
        "ok: install.sh: the service and the socket",
    ] {
        assert!(tried.contains(part), "no {part}: {tried}");
    }
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    if !have("packages", &["systemd-analyze"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for name in ["distccd.service", "distccd.socket"] {
        let text = fs::read_to_string(packaging("systemd").join(name)).unwrap();
        let text = text.replace("/usr/local/bin/distccd", OURS);
        fs::write(folder.path().join(name), text).unwrap();
    }
    let analyze = |words: &[&str]| {
        let mut analyze = Command::new("systemd-analyze");
        let words = analyze.args(words).current_dir(folder.path());
        well_with_errors(words)
    };
    let said = analyze(&[
        "verify",
        "--man=no",
        "./distccd.service",
        "./distccd.socket",
    ]);
    assert_eq!(said, "");
    // It ends well if the service is at most so exposed, of 100.
    analyze(&[
        "security",
        "--offline=true",
        "--threshold=28",
        "./distccd.service",
    ]);
}

#[test]
fn lintian_finds_nothing_wrong_with_it() {
    if !have("packages", &["dpkg-deb", "lintian"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut lintian = Command::new("lintian");
    lintian.args(["--allow-root", "--fail-on", "error,warning"]);
    let said = well(lintian.arg(build_deb(folder.path())));
    assert!(!said.contains("E: ") && !said.contains("W: "), "{said}");
}

#[test]
fn the_rpm_can_be_built() {
    if !have("packages", &["rpmbuild"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut build = Command::new("rpmbuild");
    build.args([
        "-bb",
        "--quiet",
        "--build-in-place",
        "packaging/rpm/distcc-rs.spec",
    ]);
    build.args(["--define", concat!("binary ", env!("CARGO_BIN_EXE_distcc"))]);
    build
        .arg("--define")
        .arg(format!("_topdir {}", folder.path().display()));
    well(build.current_dir(ROOT));
    let found = well(
        Command::new("find")
            .arg(folder.path().join("RPMS"))
            .args(["-name", "*.rpm"]),
    );
    let files = well(Command::new("rpm").args(["-qpl", found.trim()]));
    for name in [
        "/usr/bin/distccd\n",
        "/etc/distcc/distccd.conf\n",
        "man8/update-distcc-symlinks.8",
    ] {
        assert!(files.contains(name), "{name}: {files}");
    }
}

#[test]
fn versions_and_programs_are_those_of_the_source() {
    let spec = fs::read_to_string(packaging("rpm/distcc-rs.spec")).unwrap();
    let version = spec
        .lines()
        .find_map(|line| line.strip_prefix("Version:"))
        .unwrap();
    assert_eq!(version.trim(), env!("CARGO_PKG_VERSION"));
    for script in [
        "sysv/distcc",
        "build-deb",
        "try-deb",
        "try-clean-root",
        "try-two-machines",
        "try-systemd",
        "debian/postinst",
        "debian/prerm",
        "debian/postrm",
    ] {
        let text = fs::read_to_string(packaging(script)).unwrap();
        let shell = if text.starts_with("#!/bin/bash") {
            "bash"
        } else {
            "sh"
        };
        well(Command::new(shell).arg("-n").arg(packaging(script)));
    }
}
