//! The tools that call compilers: make, ninja through cmake, ccache, shells. And what the user does to them: ^C.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{have, wait_for, Client, Daemon, Farm, Ran, Which, BOUND};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

const FILES: usize = 6;

/// A farm with one of our daemons and a small project: C, C++, a Makefile, a CMakeLists.txt.
struct Site {
    farm: Farm,
    daemon: Daemon,
}

impl Site {
    fn new() -> Site {
        let farm = Farm::new();
        let daemon = farm.daemon(Which::Ours).start();
        let mut calls = String::new();
        for number in 0..FILES {
            let text =
                format!("#include \"all.h\"\nint f{number}(void) {{ return SUM({number}, 1); }}\n");
            farm.write(&format!("f{number}.c"), &text);
            calls += &format!(" + f{number}()");
        }
        let declare = |number| format!("int f{number}(void);\n");
        let header = (0..FILES).map(declare).collect::<String>();
        let header = format!("#ifdef __cplusplus\nextern \"C\" {{\n#endif\n{header}#ifdef __cplusplus\n}}\n#endif\n#define SUM(a, b) ((a) + (b))\n");
        farm.write("all.h", &header);
        let main = format!("#include <cstdio>\n#include \"all.h\"\nint main() {{ std::printf(\"%d\\n\", 0{calls}); }}\n");
        farm.write("main.cc", &main);
        farm.write("Makefile", "objects := $(patsubst %.c,%.o,$(sort $(wildcard f*.c))) main.o\nprog: $(objects)\n\t$(CXX) -o $@ $^\n");
        farm.write("CMakeLists.txt", "cmake_minimum_required(VERSION 3.13)\nproject(small C CXX)\nfile(GLOB sources f*.c)\nadd_executable(prog ${sources} main.cc)\n");
        Site { farm, daemon }
    }

    fn client(&self) -> Client<'_> {
        self.farm
            .client(Which::Ours, &self.daemon.host())
            .bound(5 * BOUND)
    }

    /// A client for builds whose PATH begins with links of these names.
    fn with_links(&self, names: &[&str]) -> Client<'_> {
        let links = self.farm.masquerade(Which::Ours, names);
        self.client()
            .env("PATH", format!("{}:/usr/bin:/bin", links.display()))
    }

    /// The project was compiled remotely, whole, and gives what it should.
    #[track_caller]
    fn check(&self, ran: &Ran, program: &str) {
        let expected: usize = (0..FILES).map(|number| number + 1).sum();
        let said = self.farm.local(&[self.farm.work().join(program)]).expect(0);
        assert_eq!(said.stdout.trim(), expected.to_string(), "{ran}");
        for name in (0..FILES)
            .map(|number| format!("f{number}.c"))
            .chain(["main.cc".into()])
        {
            let line = format!("compile {name} on {} completed ok", self.daemon.host());
            assert!(ran.log.contains(&line), "no line: {line}\n{ran}");
        }
        self.farm.expect_clean("the build");
        assert_eq!(self.daemon.leftovers(), [""; 0]);
    }
}

#[test]
fn make_explicit_and_masqueraded() {
    if !have("make", &["make", "gcc", "g++"]) {
        return;
    }
    let site = Site::new();
    let explicit = site.with_links(&["distcc"]);
    let ran = explicit.run_other(&["make", "-j8", "CC=distcc gcc", "CXX=distcc g++"]);
    site.check(&ran.expect(0), "prog");
    site.farm
        .local(&["/bin/sh", "-c", "rm -f *.o prog"])
        .expect(0);
    let masquerade = site.with_links(&["cc", "c++", "g++"]);
    let ran = masquerade.run_other(&["make", "-j8", "CXX=g++"]);
    site.check(&ran.expect(0), "prog");
}

#[test]
fn make_with_the_number_of_jobs_that_hosts_take() {
    if !have("make -j", &["make"]) {
        return;
    }
    let farm = Farm::new();
    farm.write("Makefile", "all:\n\t@echo made with $(MAKEFLAGS)\n");
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/man/distcc.1")).unwrap();
    let idiom = r"make -j \(dq$(distcc -j)\(dq";
    assert_eq!(page.matches(idiom).count(), 2, "the manual's words");
    let command = idiom.replace(r"\(dq", "\"");
    let links = farm.masquerade(Which::Ours, &["distcc"]);
    let client = |hosts: &str| {
        let path = format!("{}:/usr/bin:/bin", links.display());
        let client = farm.client(Which::Ours, hosts).env("PATH", path);
        client.run_other(&["/bin/sh", "-c", &command])
    };
    let ran = client("a/3 b/2").expect(0);
    assert!(ran.stdout.contains("-j5"), "{ran}");
    // A list without hosts, or with a fault, must not mean as many jobs as there are files.
    for hosts in ["", "a,foo"] {
        let ran = client(hosts);
        assert!(ran.status != 0 && !ran.stdout.contains("made"), "{ran}");
    }
}

#[test]
fn ninja_through_cmake() {
    if !have("ninja", &["cmake", "ninja", "gcc", "g++"]) {
        return;
    }
    let site = Site::new();
    for (build, client, words) in [
        (
            "launched",
            site.with_links(&["distcc"]),
            &[
                "-DCMAKE_C_COMPILER_LAUNCHER=distcc",
                "-DCMAKE_CXX_COMPILER_LAUNCHER=distcc",
            ][..],
        ),
        ("masqueraded", site.with_links(&["cc", "c++"]), &[][..]),
        (
            "both",
            site.with_links(&["cc", "c++", "distcc"])
                .env("CMAKE_C_COMPILER_LAUNCHER", "distcc")
                .env("CMAKE_CXX_COMPILER_LAUNCHER", "distcc"),
            &[],
        ),
    ] {
        let configure = [&["cmake", "-G", "Ninja", "-S", ".", "-B", build], words].concat();
        client.run_other(&configure).expect(0);
        let ran = client.run_other(&["ninja", "-j8", "-C", build]).expect(0);
        site.check(&ran, &format!("{build}/prog"));
    }
}

#[test]
fn ccache_in_front() {
    if !have("ccache", &["ccache", "make", "gcc", "g++"]) {
        return;
    }
    let site = Site::new();
    let client = site
        .with_links(&["distcc"])
        .env("CCACHE_PREFIX", "distcc")
        .env("CCACHE_DIR", site.farm.path("home/ccache"));
    let build = ["make", "-j8", "CC=ccache gcc", "CXX=ccache g++"];
    let ran = client.run_other(&build).expect(0);
    site.check(&ran, "prog");
    let jobs = site.daemon.jobs().len();
    let objects: Vec<Vec<u8>> = objects(&site.farm);
    site.farm
        .local(&["/bin/sh", "-c", "rm -f *.o prog"])
        .expect(0);
    // The second time all comes from the cache.
    let ran = client.run_other(&build).expect(0);
    assert!(ran.hosts().is_empty(), "{ran}");
    assert_eq!(site.daemon.jobs().len(), jobs);
    assert!(
        objects == self::objects(&site.farm),
        "other objects from the cache"
    );
}

fn objects(farm: &Farm) -> Vec<Vec<u8>> {
    (0..FILES)
        .map(|number| fs::read(farm.work().join(format!("f{number}.o"))).unwrap())
        .collect()
}

/// A compiler that takes its time, so that signals find it at work; here and on the daemon.
fn slow_compiler(farm: &Farm) -> String {
    let path = farm.path("bin/slow-gcc");
    // On the daemon the whole group is ended; here a signal to the client reaches the compiler itself, as it would
    // without distcc.
    let text = "#!/bin/sh\ncase \" $* \" in *' -E '*) exec gcc \"$@\";; esac\n\
        if [ \"$DISTCC_TEST_FARM\" ]; then exec sleep 60; fi\nsleep 60 & wait\n";
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.parent().unwrap().display().to_string()
}

/// A client that is ended by a signal leaves nothing, wherever it was: its compiler on the daemon is ended, too.
#[test]
fn signals_leave_nothing() {
    if !have("signals", &["gcc"]) {
        return;
    }
    let farm = Farm::new();
    let path = format!("{}:/usr/bin:/bin", slow_compiler(&farm));
    let daemon = farm
        .daemon(Which::Ours)
        .options(&["--enable-tcp-insecure"])
        .env("PATH", &path)
        .start();
    farm.write("x.c", "int f(void) { return 1; }\n");
    for (hosts, where_at) in [
        (daemon.host(), "on the daemon"),
        ("localhost".into(), "here"),
    ] {
        for (name, number) in [("TERM", 15), ("INT", 2), ("HUP", 1), ("QUIT", 3)] {
            let client = farm.client(Which::Ours, &hosts).env("PATH", &path);
            let (running, log) = client.start(&["slow-gcc", "-c", "x.c", "-o", "x.o"]);
            wait_for("the compile to begin", BOUND, || sleeps(&path) > 0);
            running.signal(name);
            let ran = running.finish(Duration::from_secs(20));
            let log = fs::read_to_string(log).unwrap_or_default();
            assert_eq!(ran.status, 128 + number, "{name} {where_at}: {ran}{log}");
            farm.expect_clean(&format!("{name} {where_at}"));
            wait_for(
                &format!("no compiler after {name} {where_at}"),
                BOUND,
                || sleeps(&path) == 0,
            );
            assert_eq!(daemon.leftovers(), [""; 0], "{name} {where_at}");
            assert!(
                !farm.work().join("x.o").exists(),
                "{name} {where_at}: an object"
            );
        }
    }
}

/// How many `sleep 60` run whose PATH this is.
fn sleeps(path: &str) -> usize {
    let wanted = format!("PATH={path}");
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter(|entry| {
            let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
            read("cmdline") == b"sleep\x0060\x00"
                && read("environ")
                    .split(|byte| *byte == 0)
                    .any(|word| word == wanted.as_bytes())
        })
        .count()
}
