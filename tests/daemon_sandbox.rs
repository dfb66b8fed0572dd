//! What the daemon is told of its sandbox, and what it says of it: how much there must be, and what jobs see beside the system.
#![allow(clippy::unwrap_used)]

mod common;

use common::daemon::{CLOSE_RANGE, NO_NAMESPACES, WITHOUT_CALL};
use common::fake::{ask, expect_line, reply, request};
use common::v3::Files;
use common::{have, is_root, run, Farm, Ran, Which, BOUND, OURS};
use distcc::model::wire::{Reply, Version};
use distcc::os::fence;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

/// The calls that would make what is given up of files, and a filter of calls.
const LANDLOCK: &str = "444";
const SECCOMP: &str = "317";

/// Where nobody sees the processes of others, nor of his own those that don't want it.
const HIDDEN: &[&str] = &[
    "unshare",
    "--user",
    "--map-current-user",
    "--keep-caps",
    "--mount",
    "--pid",
    "--fork",
    "sh",
    "-ec",
    "mount -t proc -o hidepid=2 proc /proc; exec setpriv --ambient-caps=-all --inh-caps=-all \"$0\" \"$@\"",
];

fn have_all() -> bool {
    have("daemon_sandbox", &["perl", "unshare", "setpriv"])
        && fence::has_filters()
        && fence::has_files()
        && cfg!(target_arch = "x86_64") // Whose numbers of calls the filter knows.
}

/// Starts a daemon that is to end by itself, at last after ten seconds.
fn started(within: &[&str], options: &[&str]) -> Ran {
    let nobody = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
    ];
    let drop: &[&str] = if is_root() { &nobody } else { &[] };
    let words = [drop, within].concat();
    let mut words = words.iter().copied().chain([OURS]);
    let mut command = Command::new(words.next().unwrap());
    command
        .args(words)
        .args([
            "distccd",
            "--daemon",
            "--no-detach",
            "--log-stderr",
            "--port=0",
            "--lifetime=10",
        ])
        .args(["--listen=127.0.0.1", "--enable-tcp-insecure"])
        .args(options)
        .env("TMPDIR", "/tmp");
    run(&mut command, BOUND)
}

#[test]
fn it_is_there_or_required_in_vain() {
    if !have_all() {
        return;
    }
    let [no_landlock, no_seccomp] =
        [LANDLOCK, SECCOMP].map(|call| ["perl", "-e", WITHOUT_CALL, call]);
    let neither = [NO_NAMESPACES, &no_landlock].concat();
    let hidden = [HIDDEN, &no_seccomp].concat();
    let cases = [
        (
            &[][..],
            "--sandbox=require",
            None,
            "] sandbox: namespaces, seccomp, Landlock, limits, memory watched",
        ),
        (
            &no_landlock,
            "--sandbox=require",
            None,
            "] sandbox: namespaces, seccomp, limits, memory watched",
        ),
        (
            NO_NAMESPACES,
            "--sandbox=require",
            None,
            "] sandbox: seccomp, Landlock, limits, memory watched",
        ),
        (
            &neither,
            "--sandbox=auto",
            None,
            "Warning: sandbox: seccomp, limits, memory watched; compilers can read what this user can read",
        ),
        (
            &neither,
            "--sandbox=require",
            Some(112),
            "--sandbox=require: compilers can read what this user can read",
        ),
        (
            &[],
            "--sandbox=off",
            None,
            "Warning: sandbox: limits, memory watched; --sandbox=off",
        ),
        (
            &no_seccomp,
            "--sandbox=auto",
            None,
            "Warning: sandbox: namespaces, Landlock, limits, memory watched; compilers can't be kept from the network",
        ),
        (
            HIDDEN,
            "--sandbox=require",
            None,
            "] sandbox: namespaces, seccomp, Landlock, limits, memory watched",
        ),
        // They could hide what they hold.
        (
            &hidden,
            "--sandbox=auto",
            None,
            "Warning: sandbox: namespaces, Landlock, limits; compilers can't be kept from the network",
        ),
        (
            HIDDEN,
            "--sandbox=off",
            None,
            "Warning: sandbox: limits; --sandbox=off",
        ),
        (
            HIDDEN,
            "--sandbox=off",
            None,
            "--job-memory holds for each process of a job alone",
        ),
        (&[], "--sandbox=no", Some(101), "--sandbox no"),
        (&[], "--show=/no/such", Some(101), "--show /no/such"),
        (&[], "--share=/", Some(101), "all jobs' folders"),
        (&[], "--job-memory=1M", Some(101), "--job-memory 1M"),
        (&[], "--job-memory=x", Some(101), "--job-memory x"),
    ];
    // Beside each other, since most last as long as they may.
    thread::scope(|scope| {
        for (within, option, status, said) in cases {
            scope.spawn(move || expect(&started(within, &[option]), option, status, said));
        }
    });
}

#[track_caller]
fn expect(ran: &Ran, option: &str, status: Option<i32>, said: &str) {
    assert!(ran.stderr.contains(said), "{option}: {said}: {ran}");
    match status {
        // It has served until its time was over.
        None => assert!(ran.stderr.contains("listening on"), "{option}: {ran}"),
        Some(status) => assert_eq!(ran.status, status, "{option}: {ran}"),
    }
}

fn executable(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn compiled(farm: &Farm, compiler: &Path, options: &[&str], env: &[(&str, &str)]) -> Reply {
    let list = compiler.display().to_string();
    let mut plan = farm
        .daemon(Which::Ours)
        .options(&["--compilers", &list])
        .options(options);
    for (name, value) in env {
        plan = plan.env(name, value);
    }
    let daemon = plan.start();
    let name = compiler.file_name().unwrap().to_str().unwrap();
    let words = format!("{name} -O2 -c x.c -o x.o");
    let answer = ask(
        &daemon,
        &request(Version::V1, &words, "int answer(void) { return 42; }\n"),
    );
    expect_line(&daemon, &["client: "]);
    assert_eq!(daemon.leftovers(), [""; 0]);
    reply(Version::V1, &answer)
}

/// What a script calls is not found by looking at the script.
#[test]
fn a_toolchain_elsewhere_is_shown() {
    if !have("daemon_sandbox", &["gcc"]) {
        return;
    }
    let farm = Farm::new();
    let tool = farm.path("elsewhere/tools/real-gcc");
    executable(&tool, "#!/bin/sh\nexec gcc \"$@\"\n");
    let script = farm.path("scripts/gcc");
    executable(
        &script,
        &format!("#!/bin/sh\nexec {} \"$@\"\n", tool.display()),
    );
    let elsewhere = farm.path("elsewhere").display().to_string();
    let hidden = compiled(&farm, &script, &[], &[]);
    assert_eq!(hidden.status.exit_code(), Some(127));
    let seen = compiled(&farm, &script, &["--show", &elsewhere], &[]);
    assert!(seen.status.success(), "{}", seen.stderr.escape_ascii());
    let open = compiled(&farm, &script, &["--sandbox=off"], &[]);
    assert_eq!(open.object, seen.object);
}

/// A cache is used only if it is shared; the compiler behind it works in any case, and gives the same.
#[test]
fn ccache_works_and_keeps_its_cache_to_itself() {
    if !have("daemon_sandbox", &["gcc", "ccache"]) {
        return;
    }
    let farm = Farm::new();
    let link: PathBuf = farm.path("links/gcc");
    fs::create_dir_all(link.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink("/usr/bin/ccache", &link).unwrap();
    let cache = farm.path("cache");
    fs::create_dir(&cache).unwrap();
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o777)).unwrap();
    let place = cache.display().to_string();
    let env = [("CCACHE_DIR", place.as_str())];
    let count = || common::files_below(&cache).len();
    let alone = compiled(&farm, &link, &[], &env);
    assert!(alone.status.success(), "{}", alone.stderr.escape_ascii());
    assert_eq!(count(), 0);
    let first = compiled(&farm, &link, &["--share", &place], &env);
    assert!(first.status.success(), "{}", first.stderr.escape_ascii());
    let after_first = count();
    assert!(after_first > 0);
    let second = compiled(&farm, &link, &["--share", &place], &env);
    assert!(alone.object == first.object && first.object == second.object);
}

/// Also where the system can't close all of it at once, or not when another program begins.
#[test]
fn what_the_daemon_was_started_with_is_not_its_compilers() {
    if !have_all() {
        return;
    }
    let farm = Farm::new();
    let secret = farm.path("secret");
    fs::write(&secret, "a secret of whoever has started it").unwrap();
    let script = farm.path("scripts/gcc");
    let text = "#!/bin/sh\nfor out; do :; done; echo OBJ >$out; cat <&9 || :\n";
    executable(&script, text);
    let open = format!("exec 9<{}; exec \"$0\" \"$@\"", secret.display());
    let open = ["sh", "-c", &open];
    let no_call = ["perl", "-e", WITHOUT_CALL, CLOSE_RANGE];
    for before in [&[][..], &no_call] {
        let daemon = farm
            .daemon(Which::Ours)
            .within(&[&open, before].concat())
            .options(&["--compilers", &script.display().to_string()])
            .start();
        for kind in [Version::V1, Version::V3] {
            let words = "gcc -c x.c -o x.o";
            let request = match kind {
                Version::V3 => Files::new("/home/me", words).file("x.c", "").bytes(),
                _ => request(kind, words, ""),
            };
            let reply = reply(kind, &ask(&daemon, &request));
            let said = [reply.stdout, reply.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            assert!(reply.status.success(), "{said}");
            let is_closed = said.contains('9') && !said.contains("secret");
            assert!(is_closed, "{before:?}: {said}");
        }
    }
}
