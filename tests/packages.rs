//! What `packaging/` holds for other people's systems: packages are built with this program, looked through, and the Debian one
//! is taken through its life in a copy of this machine.
#![allow(clippy::unwrap_used)]

mod common;

use common::{have, is_root, skip};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn packaging(name: &str) -> PathBuf {
    Path::new(ROOT).join("packaging").join(name)
}

/// What it says, if it ends well.
fn well(command: &mut Command) -> String {
    let out = command.output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{command:?}: {said}{errors}");
    said
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
