//! `distcc try`: a build without any set-up really is distributed, its status comes back, and nothing is left, whatever
//! ends it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A try with its own temporary folder, so that what is left can be seen.
struct Try {
    folder: tempfile::TempDir,
}

impl Try {
    fn new() -> Try {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("tmp")).unwrap();
        Try { folder }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_distcc"));
        command
            .arg("try")
            .args(words)
            .current_dir(self.folder.path())
            .env("TMPDIR", self.folder.path().join("tmp"))
            .env("DISTCC_HOSTS", "these.are.not.used.invalid");
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    fn assert_nothing_left(&self) {
        let left: Vec<_> = fs::read_dir(self.folder.path().join("tmp"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert!(left.is_empty(), "left on disk: {left:?}");
        let running = processes_that_name(self.folder.path());
        assert!(running.is_empty(), "left running: {running:?}");
    }
}

/// Processes whose environment names this folder; ours do in TMPDIR.
fn processes_that_name(folder: &Path) -> Vec<String> {
    let needle = folder.to_str().unwrap().as_bytes();
    let names = |path: &Path| {
        fs::read(path).is_ok_and(|bytes| bytes.windows(needle.len()).any(|part| part == needle))
    };
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .filter(|process| names(&process.join("environ")))
        .map(|process| {
            String::from_utf8_lossy(&fs::read(process.join("cmdline")).unwrap_or_default())
                .replace('\0', " ")
        })
        .collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The number that stands before these words in the summary.
fn number_of(what: &str, summary: &str) -> u64 {
    let line = summary
        .lines()
        .find(|line| line.contains(what))
        .unwrap_or_else(|| panic!("{what}: {summary}"));
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn the_sample_is_compiled_by_the_daemon() {
    for words in [&[][..], &["--plain"]] {
        let one = Try::new();
        let out = one.run(words);
        let said = text(&out.stdout);
        assert!(out.status.success(), "{said}{}", text(&out.stderr));
        assert!(said.contains("sample-c: works"), "{said}");
        let remote = number_of("compiled by the daemon", &said);
        assert!(remote >= 7, "{said}");
        match words {
            [] => assert_eq!(number_of("in pump mode", &said), remote, "{said}"),
            _ => assert!(!said.contains("in pump mode"), "{said}"),
        }
        assert_eq!(number_of("compiled locally", &said), 0, "{said}");
        assert!(number_of("other commands", &said) >= 1, "linking: {said}");
        assert!(!said.contains("(0 B sent"), "{said}");
        one.assert_nothing_left();
    }
}

#[test]
fn what_is_not_sent_with_its_headers_is_counted_with_the_reason() {
    let one = Try::new();
    fs::write(one.folder.path().join("x.c"), "int x;\n").unwrap();
    let out = one.run(&["sh", "-c", "cc -c x.c && cc -E x.c -o y.i && cc -c y.i"]);
    let said = text(&out.stdout);
    assert!(out.status.success(), "{said}{}", text(&out.stderr));
    assert_eq!(number_of("compiled by the daemon", &said), 2, "{said}");
    assert_eq!(number_of("in pump mode", &said), 1, "{said}");
    let why = "preprocessed here: it is preprocessed already";
    assert_eq!(number_of(why, &said), 1, "{said}");
    one.assert_nothing_left();
}

#[test]
fn without_an_include_server_it_is_plain_mode() {
    let one = Try::new();
    let long = one.folder.path().join("tmp").join("x".repeat(100));
    fs::create_dir(&long).unwrap();
    fs::write(one.folder.path().join("x.c"), "int x;\n").unwrap();
    let run = |words: &[&str]| {
        let mut command = one.command(words);
        command.env("TMPDIR", &long).output().unwrap()
    };
    let out = run(&["--plain", "cc", "-c", "x.c"]);
    assert!(out.status.success());
    assert_eq!(text(&out.stderr), "");
    let out = run(&["cc", "-c", "x.c"]);
    let (said, err) = (text(&out.stdout), text(&out.stderr));
    assert!(out.status.success(), "{said}{err}");
    assert!(
        err.contains("no pump mode, since") && err.contains("too long"),
        "{err}"
    );
    assert_eq!(number_of("compiled by the daemon", &said), 1, "{said}");
    assert!(!said.contains("in pump mode"), "{said}");
    fs::remove_dir(&long).unwrap();
    one.assert_nothing_left();
}

#[test]
fn ones_own_build_says_what_stays_and_why() {
    let one = Try::new();
    fs::write(
        one.folder.path().join("x.c"),
        "int main(void) { return 0; }\n",
    )
    .unwrap();
    let out = one.run(&[
        "sh",
        "-c",
        "cc -c x.c && cc -ftime-report -c x.c -o y.o && cc x.o -o x && ./x",
    ]);
    let said = text(&out.stdout);
    assert!(out.status.success(), "{said}{}", text(&out.stderr));
    assert_eq!(number_of("compiled by the daemon", &said), 1, "{said}");
    assert_eq!(number_of("compiled locally", &said), 1, "{said}");
    let why = "-ftime-report prints about this machine's compiler";
    assert_eq!(number_of(why, &said), 1, "{said}");
    assert_eq!(number_of("other commands", &said), 1, "{said}");
    assert!(one.folder.path().join("y.o").exists());
    one.assert_nothing_left();
}

/// README's line for CMake, for somebody who has set the launchers for good, whichever distcc they name.
#[test]
fn launchers_for_cmake_do_no_harm() {
    if !["cmake", "make", "gcc", "g++"].iter().all(|name| has(name)) {
        return;
    }
    let one = Try::new();
    for (name, text) in [
        (
            "CMakeLists.txt",
            "cmake_minimum_required(VERSION 3.5)\nproject(p C)\nadd_library(p x.c)\n",
        ),
        ("x.c", "int f(void) { return 1; }\n"),
    ] {
        fs::write(one.folder.path().join(name), text).unwrap();
    }
    let other = one.folder.path().join("other/distcc");
    fs::create_dir(other.parent().unwrap()).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_distcc"), &other).unwrap();
    let ours = env!("CARGO_BIN_EXE_distcc");
    for (launcher, word) in [
        ("distcc", ""),
        (other.to_str().unwrap(), ""),
        (ours, ""),
        ("", "-DCMAKE_C_COMPILER_LAUNCHER=distcc"),
    ] {
        let build = format!("rm -rf b && cmake {word} -S . -B b && cmake --build b -j 2");
        let out = one
            .command(&["sh", "-c", &build])
            .env("CMAKE_C_COMPILER_LAUNCHER", launcher)
            .env("CMAKE_CXX_COMPILER_LAUNCHER", launcher)
            .output()
            .unwrap();
        let (summary, how) = (text(&out.stdout), format!("{launcher} {word}"));
        assert!(out.status.success(), "{how}: {}", text(&out.stderr));
        let remote = number_of("compiled by the daemon", &summary);
        assert!(remote >= 1, "{how}: {summary}");
    }
    one.assert_nothing_left();
}

fn has(program: &str) -> bool {
    let version = Command::new(program).arg("--version").output();
    version.is_ok_and(|out| out.status.success())
}

#[test]
fn the_status_is_the_commands() {
    let one = Try::new();
    assert_eq!(one.run(&["sh", "-c", "exit 7"]).status.code(), Some(7));
    assert_eq!(
        one.run(&["sh", "-c", "kill -9 $$"]).status.code(),
        Some(128 + 9)
    );
    // Compiles that stay here are compiles.
    fs::write(one.folder.path().join("x.c"), "int x;\n").unwrap();
    let out = one.run(&["cc", "-save-temps", "-c", "x.c"]);
    assert!(
        !text(&out.stdout).contains("No compile"),
        "{}",
        text(&out.stdout)
    );
    let out = one.run(&["true"]);
    assert!(
        text(&out.stdout).contains("absolute path"),
        "no compile at all deserves a hint"
    );
    one.assert_nothing_left();
}

#[test]
fn bad_commands_and_surroundings_get_clear_words() {
    let one = Try::new();
    let out = one.run(&["no-such-command-anywhere"]);
    assert_eq!(out.status.code(), Some(110));
    assert!(text(&out.stderr).contains("no-such-command-anywhere"));
    let out = one
        .command(&[])
        .env("PATH", "/nonexistent")
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(110));
    assert!(
        text(&out.stderr).contains("install"),
        "{}",
        text(&out.stderr)
    );
    let out = one
        .command(&[])
        .env("TMPDIR", "/nonexistent")
        .output()
        .unwrap();
    assert!(!out.status.success());
    assert!(
        text(&out.stderr).contains("/nonexistent"),
        "{}",
        text(&out.stderr)
    );
    one.assert_nothing_left();
}

/// Starts a build that lasts until it is ended, and waits until it runs.
fn start_endless(one: &Try) -> Child {
    let child = one
        .command(&["sh", "-c", "touch runs; exec sleep 1000"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while !one.folder.path().join("runs").exists() {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "the build does not start"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

fn send(signal: &str, child: &Child) {
    let sent = Command::new("sh")
        .args(["-c", &format!("kill -{signal} {}", child.id())])
        .status()
        .unwrap();
    assert!(sent.success());
}

#[test]
fn signals_end_everything() {
    for (signal, number) in [("TERM", 15), ("INT", 2), ("HUP", 1)] {
        let one = Try::new();
        let mut child = start_endless(&one);
        send(signal, &child);
        assert_eq!(
            child.wait().unwrap().signal(),
            Some(number),
            "ended by the signal itself"
        );
        one.assert_nothing_left();
    }
}

#[test]
fn even_a_killed_try_is_tidied_up() {
    let one = Try::new();
    let mut child = one
        .command(&["sh", "-c", "echo $$ > pid; exec sleep 1000"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let pid_file = one.folder.path().join("pid");
    let begun = Instant::now();
    let pid = loop {
        match fs::read_to_string(&pid_file) {
            Ok(pid) if pid.ends_with('\n') => break pid,
            _ => assert!(
                begun.elapsed() < Duration::from_secs(60),
                "the build does not start"
            ),
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    child.kill().unwrap();
    child.wait().unwrap();
    while fs::read_dir(one.folder.path().join("tmp")).unwrap().count() > 0 {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "the folder stays"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    // The build itself nobody could end: it was not told.
    Command::new("sh")
        .args(["-c", &format!("kill {}", pid.trim())])
        .status()
        .unwrap();
}
