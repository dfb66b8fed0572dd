//! System headers that are others on the server than at the client: they are noticed, and then travel with the job, which
//! sees no others.
#![allow(clippy::unwrap_used)]

mod common;

use common::fake::expect_line;
use common::twice::{assert_pumped, Pump};
use common::v3::Files;
use common::{have, is_root, run, Daemon, Farm, Which, BOUND};
use distcc::model::about::{content_hash, About, Lookup};
use distcc::model::wire::Remark;
use std::fs;
use std::path::Path;
use std::process::Command;

const COMPILERS: &str = "gcc,g++,clang,clang++,x86_64-linux-gnu-gcc,x86_64-linux-gnu-g++";

fn real(farm: &Farm) -> Daemon {
    let plan = farm.daemon(Which::Ours);
    plan.options(&["--compilers", COMPILERS]).start()
}

fn have_all(test: &str) -> bool {
    have(test, &["gcc", "g++", "clang", "clang++"])
}

fn told() -> About {
    About::default()
}

/// A daemon on a system like this one, but for what `script` mounts; `$1` is a folder of its own.
fn elsewhere(farm: &Farm, script: &str) -> Daemon {
    let script = format!("{script}; shift; exec \"$@\"");
    let folder = farm.new_folder("elsewhere").display().to_string();
    let mut words = vec!["unshare", "--mount"];
    if !is_root() {
        words.extend(["--user", "--map-current-user", "--keep-caps"]);
    }
    words.extend(["sh", "-ec", &script, "sh", &folder]);
    let plan = farm.daemon(Which::Ours).within(&words).jobs(4);
    plan.options(&["--compilers", COMPILERS]).start()
}

/// One header is another here, one is missing, and one is here that the client has not.
const OTHER_SYSTEM: &str = "\
cp /usr/include/ctype.h $1/ctype.h; echo '#define OTHER_CTYPE 7' >> $1/ctype.h; mount --bind $1/ctype.h /usr/include/ctype.h
mkdir $1/net; mount --bind $1/net /usr/include/net
mkdir $1/local; echo '#define SURPLUS 7' > $1/local/surplus.h; mount --bind $1/local /usr/local/include";

#[test]
fn a_build_on_a_host_with_other_headers_is_exact() {
    if !have_all("daemon_system") || !have("daemon_system", &["unshare"]) {
        return;
    }
    let farm = Farm::new();
    let daemon = elsewhere(&farm, OTHER_SYSTEM);
    expect_line(&daemon, &["pump jobs see their clients' own paths"]);
    let pump = Pump { farm, daemon };
    let changed = "\
#include <ctype.h>
#include \"h.h\"
#ifdef OTHER_CTYPE
int other;
#endif
int f(int c) { return isalpha(c) + H; }
";
    let surplus = "\
#if __has_include(<surplus.h>)
#include <surplus.h>
int surplus = SURPLUS;
#endif
#include \"h.h\"
int h = H;
";
    let missing = "#include <net/if.h>\n#include \"h.h\"\nint n = IFNAMSIZ + H;\n";
    let same = "#include <stddef.h>\n#include \"h.h\"\nsize_t s = H;\n";
    for (name, text) in [
        ("changed", changed),
        ("surplus", surplus),
        ("missing", missing),
        ("same", same),
    ] {
        // Each is noticed by itself: what a client has found out about a host, it keeps.
        let _ = fs::remove_dir_all(pump.farm.path("top/lock"));
        let source = format!("{name}.c");
        let script = "$CC -g -O2 -c NAME.c -o gcc.o; $CLANG -g -c NAME.c -o clang.o; $CXX -g -MD -x c++ -c NAME.c -o gxx.o";
        let script = script.replace("NAME", name);
        let files = [(source.as_str(), text), ("h.h", "#define H 3\n")];
        let log = pump.same(&files, &script);
        assert_pumped(3, &log, &script);
        let again = log.contains("to be sent again: its system headers are others");
        assert_eq!(again, name != "same", "{name}: {log}");
    }
    for words in [
        "/usr/include/ctype.h is not the client's",
        "/usr/local/include/surplus.h is here",
        "/usr/include/net/if.h is not here",
    ] {
        expect_line(&pump.daemon, &["system headers differ", words]);
    }
}

/// System headers of another system travel with the job, and those here are not seen.
#[test]
fn a_hermetic_job_sees_its_own_system_headers() {
    if !have_all("daemon_pump") {
        return;
    }
    let farm = Farm::new();
    let daemon = real(&farm);
    let source = "#include <stdio.h>\n#ifdef __has_include\n#if __has_include(<pthread.h>)\nint pthread;\n#endif\n#endif\nint other = OTHER_SYSTEM;\n";
    fs::write(farm.path("x.c"), source).unwrap();
    let listing = run(
        Command::new("gcc")
            .args(["-M", "-DOTHER_SYSTEM=1"])
            .arg(farm.path("x.c")),
        BOUND,
    )
    .expect(0);
    let headers = listing
        .stdout
        .split_whitespace()
        .filter(|word| word.starts_with("/usr"));
    let mut files = Files::new("/home/me", "gcc -c x.c -o x.o").file("x.c", source);
    for header in headers {
        let mut text = fs::read(header).unwrap();
        if header.ends_with("/stdio.h") {
            text.extend(b"\n#define OTHER_SYSTEM 7\n");
        }
        files = files.file(header, text);
    }
    let system_dirs = [
        "/usr/lib/gcc/x86_64-linux-gnu/12/include",
        "/usr/local/include",
        "/usr/include/x86_64-linux-gnu",
        "/usr/include",
        "/usr/lib/gcc/x86_64-linux-gnu/99/include",
    ];
    let about = About {
        hermetic: true,
        system_dirs: system_dirs.map(|dir| dir.as_bytes().to_vec()).to_vec(),
        ..told()
    };
    let reply = files.clone().told(about.clone()).ask(&daemon);
    let said = String::from_utf8_lossy(&reply.stderr);
    assert_eq!(reply.remark, Some(Remark::Exact), "{said}");
    assert!(reply.status.success(), "{said}");
    let object = reply.object.unwrap();
    assert!(
        !object.windows(7).any(|part| part == b"pthread"),
        "our headers were seen"
    );
    let programs = About {
        system_dirs: vec![b"/usr/bin".to_vec()],
        ..about
    };
    assert_eq!(
        files.told(programs).ask(&daemon).status.exit_code(),
        Some(113)
    );
    assert_eq!(daemon.leftovers(), [""; 0]);
}

#[test]
fn other_system_headers_are_noticed() {
    if !have_all("daemon_pump") {
        return;
    }
    let farm = Farm::new();
    let daemon = real(&farm);
    let path = Path::new("/usr/include/stdio.h");
    let hash = content_hash(&fs::read(path).unwrap());
    let found = |hash| Lookup::Found {
        start: 0,
        at: 1,
        hash,
        name: b"stdio.h".to_vec(),
    };
    let missing = |name: &str| Lookup::Missing {
        start: 0,
        name: name.into(),
    };
    for (system, words) in [
        (vec![found(hash), missing("no-such.h")], ""),
        (
            vec![found([0; 16])],
            "/usr/include/stdio.h is not the client's",
        ),
        (
            vec![found(hash), missing("stdlib.h")],
            "/usr/include/stdlib.h is here",
        ),
        (
            vec![Lookup::Holds {
                path: b"/etc/passwd".to_vec(),
                hash,
            }],
            "/etc/passwd is not here",
        ),
    ] {
        let files = Files::new("/home/me", "gcc -c x.c -o x.o")
            .file("x.c", "#include <stdio.h>\n")
            .told(About {
                system_dirs: vec![b"/usr/local/include".to_vec(), b"/usr/include".to_vec()],
                system,
                ..told()
            });
        for _ in 0..2 {
            let reply = files.ask(&daemon);
            let said = String::from_utf8_lossy(&reply.stderr);
            let remark = if words.is_empty() {
                Remark::Exact
            } else {
                Remark::OtherSystem
            };
            assert_eq!(reply.remark, Some(remark), "{said}");
            assert!(said.contains(words), "{said}");
            let status = if words.is_empty() { 0 } else { 113 };
            assert_eq!(reply.status.exit_code(), Some(status));
        }
    }
}

/// One request could end the daemon: each folder is looked for in the one above it, however many there are.
#[test]
fn what_is_told_of_the_system_can_be_looked_at() {
    let farm = Farm::new();
    let mut daemon = farm
        .daemon(Which::Ours)
        .options(&["--compilers", "gcc"])
        .start();
    let job = Files::new("/home/me", "gcc -c x.c -o x.o").file("x.c", "int x;\n");
    let refused = |system: Vec<Lookup>, why: &str| {
        let about = About {
            system_dirs: vec![b"/usr/include".to_vec()],
            system,
            ..told()
        };
        let reply = job.clone().told(about).ask(&daemon);
        let said = String::from_utf8_lossy(&reply.stderr);
        assert!(said.contains(why), "{why}: {said}");
    };
    for place in ["/d".repeat(3_000_000), "/".repeat(6_000_000)] {
        let place = place.into_bytes();
        let (start, at, hash) = (0, 0, [0; 16]);
        let name = || place.clone();
        let missing = Lookup::Missing {
            start,
            name: name(),
        };
        let found = Lookup::Found {
            start,
            at,
            hash,
            name: name(),
        };
        let holds = Lookup::Holds { path: name(), hash };
        let nothing = Lookup::Nothing { path: name() };
        for lookup in [missing, found, holds, nothing] {
            refused(vec![lookup], "too much is told");
        }
    }
    // A folder that jobs don't see has many names.
    let under = |number: u32| {
        let steps = (0..12).map(|bit| match number >> bit & 1 {
            0 => "/.",
            _ => "//.",
        });
        let steps: String = steps.collect();
        let path = format!("/tmp{steps}{}/x", "/.".repeat(100)).into_bytes();
        Lookup::Nothing { path }
    };
    refused((0..1 << 12).map(under).collect(), "it would take too long");
    assert!(job.ask(&daemon).status.success() && daemon.alive());
}
