//! The other ways to a daemon: a real sshd with throw-away keys, and a real inetd.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{
    find_program, free_port, have, is_root, listens, same_file, skip, wait_for, Client, Farm,
    Running, Went, Which, BOUND,
};
use std::fs;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = "#include <stddef.h>\nint f(int a) { return a + (int)sizeof(size_t); }\n";

/// A service that runs for as long as this value lives.
struct Service {
    running: Option<Running>,
    port: u16,
}

impl Service {
    /// Starts a command that listens on a port of 127.0.0.1; a port that was taken meanwhile is tried again.
    fn start(name: &str, command: impl Fn(u16) -> Command) -> Service {
        let mut said = String::new();
        for _ in 0..5 {
            let port = free_port();
            let mut running = Running::start(&mut command(port));
            wait_for(name, BOUND, || listens(port) || running.has_ended());
            if listens(port) && !running.has_ended() {
                let running = Some(running);
                return Service { running, port };
            }
            said = running.finish(BOUND).to_string();
        }
        panic!("{name} does not start: {said}");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.signal("TERM");
            let ran = running.finish(BOUND);
            if std::thread::panicking() {
                eprintln!("{ran}");
            }
        }
    }
}

/// A key pair in a folder that only its owner can read, as ssh wants it.
fn key(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&path)
        .status();
    assert!(made.unwrap().success(), "ssh-keygen");
    path
}

/// An sshd that lets this user in with a key made for the occasion; returns it and the client's words.
fn sshd(farm: &Farm) -> (Service, String) {
    let folder = farm.path("ssh");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    let (host, user) = (key(&folder, "host"), key(&folder, "user"));
    let authorized = folder.join("authorized");
    fs::copy(user.with_extension("pub"), &authorized).unwrap();
    let config = folder.join("config");
    fs::write(&config, "").unwrap();
    if is_root() {
        // Where sshd separates its privileges; Debian makes it when the service starts.
        let _ = fs::create_dir("/run/sshd");
    }
    let program = find_program("sshd").unwrap();
    let service = Service::start("sshd", |port| {
        let mut command = Command::new(&program);
        command
            .args(["-D", "-e", "-f"])
            .arg(&config)
            .args(["-p", &port.to_string(), "-h"]);
        command.arg(&host);
        for option in [
            "ListenAddress=127.0.0.1",
            "PidFile=none",
            "UsePAM=no",
            "StrictModes=no",
            "PasswordAuthentication=no",
            "PermitRootLogin=prohibit-password",
            &format!("AuthorizedKeysFile={}", authorized.display()),
        ] {
            command.args(["-o", option]);
        }
        command
    });
    // In a file: stock's client passes no more than a dozen words on.
    let client = folder.join("client");
    let options = format!(
        "Port {}\nIdentityFile {}\nIdentitiesOnly yes\nBatchMode yes\nLogLevel ERROR\n\
         StrictHostKeyChecking no\nUserKnownHostsFile /dev/null\n",
        service.port,
        user.display()
    );
    fs::write(&client, options).unwrap();
    let words = format!("ssh -F {}", client.display());
    (service, words)
}

/// The farm with a source, the local object, and our daemon's name as a link.
fn farm() -> (Farm, PathBuf) {
    let farm = Farm::new();
    farm.write("x.c", SOURCE);
    farm.local(&["gcc", "-O2", "-c", "x.c", "-o", "local.o"])
        .expect(0);
    let daemon = farm.path("bin/distccd");
    symlink(common::OURS, &daemon).unwrap();
    (farm, daemon)
}

#[track_caller]
fn compiles_remotely(farm: &Farm, client: &Client, what: &str) {
    let ran = client.run(&["gcc", "-O2", "-c", "x.c", "-o", "remote.o"]);
    assert_eq!((ran.status, ran.went()), (0, Went::Remote), "{what}: {ran}");
    assert_eq!(ran.stderr, "", "{what}: {ran}");
    let [local, remote] = ["local.o", "remote.o"].map(|name| farm.work().join(name));
    assert_eq!(same_file(&local, &remote), None, "{what}: {ran}");
    fs::remove_file(remote).unwrap();
    farm.expect_clean(what);
}

#[test]
fn through_a_real_sshd() {
    let test = "sshd";
    if !have(test, &["sshd", "ssh", "ssh-keygen", "gcc", "distccd"]) {
        return;
    }
    let (farm, ours) = farm();
    let shell = farm
        .local(&["/bin/sh", "-c", "getent passwd $(id -u)"])
        .stdout;
    if ["nologin", "false"]
        .iter()
        .any(|end| shell.trim().ends_with(end))
    {
        skip(test, "this user has no shell");
        return;
    }
    let (service, words) = sshd(&farm);
    let user = farm.local(&["id", "-un"]).expect(0).stdout;
    let (user, ours) = (user.trim(), ours.display());
    let hosts = [
        ("plain", format!("@127.0.0.1:{ours}")),
        ("lzo", format!("@127.0.0.1:{ours},lzo")),
        ("with a limit", format!("@127.0.0.1/2:{ours}")),
        ("with a user", format!("{user}@127.0.0.1:{ours}")),
        (
            "stock's daemon",
            "@127.0.0.1:/usr/bin/distccd,lzo".to_owned(),
        ),
    ];
    for (what, host) in &hosts {
        let client = farm.client(Which::Ours, host).env("DISTCC_SSH", &words);
        compiles_remotely(&farm, &client, what);
        if !what.contains("stock") {
            let stock = farm.client(Which::Stock, host).env("DISTCC_SSH", &words);
            compiles_remotely(&farm, &stock, &format!("{what}, stock's client"));
        }
    }
    // In pump mode the files go through the client.
    let pumped = format!("@127.0.0.1:{ours},cpp,lzo");
    let client = farm
        .client(Which::Ours, &pumped)
        .env("DISTCC_SSH", &words)
        .env("DISTCC_VERBOSE", "1");
    let ran = client.run(&["pump", common::OURS, "gcc", "-c", "x.c"]);
    let ran = ran.expect(0);
    assert!(ran.log.contains(" files in pump mode"), "{ran}");
    assert!(!ran.log.contains("the include server has sent"), "{ran}");
    // A script as DISTCC_SSH, whose name as a whole is a program although it holds a blank.
    let script = farm.path("bin/my ssh");
    fs::write(&script, format!("#!/bin/sh\nexec {words} \"$@\"\n")).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let client = farm
        .client(Which::Ours, &hosts[0].1)
        .env("DISTCC_SSH", &script);
    compiles_remotely(&farm, &client, "a script");
    doctor_looks_through(&farm, &hosts[1].1, &words);
    drop(service);
}

/// `distcc doctor` with a host that is reached, with one that lets nobody in, and with one that has no daemon.
fn doctor_looks_through(farm: &Farm, host: &str, words: &str) {
    let bin = farm.path("bin/one");
    fs::create_dir(&bin).unwrap();
    for name in ["gcc", "as"] {
        symlink(Path::new("/usr/bin").join(name), bin.join(name)).unwrap();
    }
    let ssh = find_program("ssh").unwrap();
    let words = words.replacen("ssh", &ssh.display().to_string(), 1);
    let stranger = words.replace("ssh/client", "ssh/stranger");
    let client = fs::read_to_string(farm.path("ssh/client")).unwrap();
    let client = client.replace("IdentityFile ", "IdentityFile /nonexistent/");
    fs::write(farm.path("ssh/stranger"), client).unwrap();
    let no_daemon = "@127.0.0.1:/nonexistent/distccd";
    for (host, words, status, expected) in [
        (
            host,
            &words,
            0,
            &[
                "ok       ssh  ",
                " logs in, and ",
                "the object is that of a compile here",
            ][..],
        ),
        (
            host,
            &stranger,
            1,
            &[
                "FAULT    ssh  ",
                "Permission denied",
                "it must ask for nothing (`ssh-copy-id 127.0.0.1`)",
            ],
        ),
        (
            no_daemon,
            &words,
            1,
            &[
                "FAULT    ssh  ",
                "/nonexistent/distccd",
                "if /nonexistent/distccd is not found there, name it",
            ],
        ),
    ] {
        let doctor = farm.client(Which::Ours, host).env("DISTCC_SSH", words);
        let doctor = doctor.env("PATH", &bin);
        let ran = doctor.run(&["doctor", "--time=50"]).expect(status);
        for words in expected {
            assert!(ran.stdout.contains(words), "{words}: {ran}");
        }
        farm.expect_clean("a look through ssh");
    }
}

#[test]
fn an_ssh_that_fails_is_a_host_that_fails() {
    if !have("ssh", &["gcc"]) {
        return;
    }
    let (farm, ours) = farm();
    let script = |name: &str, text: &str| {
        let path = farm.path(&format!("bin/{name}"));
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    };
    let host = format!("@nowhere:{}", ours.display());
    for (what, ssh) in [
        ("missing", "/nonexistent/ssh".to_owned()),
        ("refused", script("refused", "echo refused >&2; exit 255")),
        ("closed at once", script("closed", "exit 0")),
        (
            "nonsense",
            script("nonsense", "echo Welcome to nowhere; exit 0"),
        ),
        (
            "reads and says nothing",
            script("silent", "exec cat >/dev/null"),
        ),
        ("never ends", script("endless", "exec sleep 60")),
    ] {
        let client = farm
            .client(Which::Ours, &host)
            .env("DISTCC_SSH", &ssh)
            .env("DISTCC_IO_TIMEOUT", "1")
            .env("DISTCC_BACKOFF_PERIOD", "0");
        let ran = client
            .run(&["gcc", "-O2", "-c", "x.c", "-o", "remote.o"])
            .expect(0);
        assert_eq!(ran.went(), Went::Local, "{what}: {ran}");
        let [local, remote] = ["local.o", "remote.o"].map(|name| farm.work().join(name));
        assert_eq!(same_file(&local, &remote), None, "{what}: {ran}");
        assert!(ran.took.as_secs() < 20, "{what}: {ran}");
        farm.expect_clean(what);
        fs::remove_file(remote).unwrap();
        let ran = client
            .env("DISTCC_FALLBACK", "0")
            .run(&["gcc", "-O2", "-c", "x.c", "-o", "remote.o"]);
        assert!((103..=118).contains(&ran.status), "{what}: {ran}");
        farm.expect_clean(&format!("{what}, no fallback"));
    }
}

#[test]
fn through_a_real_inetd() {
    let test = "inetd";
    if !have(test, &["inetd", "gcc", "distccd"]) {
        return;
    }
    if !is_root() && !skip(test, "only root's inetd can choose whom a service runs as") {
        return;
    }
    let (farm, ours) = farm();
    let tmp = farm.path("inetd");
    fs::create_dir(&tmp).unwrap();
    fs::set_permissions(&tmp, fs::Permissions::from_mode(0o777)).unwrap();
    let program = find_program("inetd").unwrap();
    for (what, options) in [("with --inetd", "--inetd "), ("by its stdin alone", "")] {
        let log = farm.path(&format!("inetd/log{}", options.len()));
        let config = farm.path("inetd.conf");
        let service = Service::start("inetd", |port| {
            let line = format!(
                "127.0.0.1:{port} stream tcp nowait root {} distccd {options}--log-file {} --log-level info\n",
                ours.display(),
                log.display()
            );
            fs::write(&config, line).unwrap();
            let mut command = Command::new(&program);
            command
                .args(["-i", "-l"])
                .arg(&config)
                .env_clear()
                .env("PATH", "/usr/bin:/bin")
                .env("TMPDIR", &tmp);
            command
        });
        for option in ["", ",lzo"] {
            let host = format!("127.0.0.1:{}{option}", service.port);
            for which in [Which::Ours, Which::Stock] {
                let client = farm.client(which, &host);
                compiles_remotely(&farm, &client, &format!("{what}{option}, {which:?} client"));
            }
        }
        let said = fs::read_to_string(&log).unwrap_or_default();
        assert_eq!(said.matches("COMPILE_OK").count(), 4, "{what}: {said}");
        fs::remove_file(&log).unwrap();
        let left = common::until_empty(BOUND, || common::files_below(&tmp));
        assert_eq!(left, [""; 0], "{what}");
    }
}
