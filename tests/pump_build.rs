//! Whole builds under pump, with the real include server and a real daemon: they run in pump mode, give what a local build
//! gives, and go on if the include server is lost.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{have, same_file, signal, wait_for, Client, Daemon, Farm, Ran, Which, BOUND, OURS};
use std::fs;

/// How many sources the project has.
const SOURCES: usize = 12;

/// A project of a few sources that share headers, with a Makefile and a shell script that build it.
fn project(farm: &Farm) {
    farm.write("inc/config.h", "#define SIZE 7\n");
    farm.write(
        "inc/common.h",
        "#include <stddef.h>\n#include \"config.h\"\nint all(int);\n",
    );
    for number in 0..SOURCES {
        let text = format!(
            "#include \"common.h\"\nint f{number}(int n) {{ return n + SIZE * {number}; }}\n"
        );
        farm.write(&format!("f{number}.c"), &text);
    }
    let objects: Vec<String> = (0..SOURCES).map(|number| format!("f{number}.o")).collect();
    let objects = objects.join(" ");
    farm.write(
        "Makefile",
        &format!("all: {objects}\n\n%.o: %.c\n\t$(CC) -Iinc $(MORE) -MD -O2 -c $< -o $@\n\nclean:\n\trm -f *.o *.d\n"),
    );
}

fn hosts(daemon: &Daemon) -> String {
    format!("{}/4,cpp,lzo", daemon.host())
}

/// How many compiles were sent in pump mode and taken.
#[track_caller]
fn pumped(ran: &Ran) -> usize {
    let sent = ran.log.matches(" files in pump mode").count();
    assert_eq!(ran.hosts().len(), sent, "{ran}");
    sent
}

#[track_caller]
fn build(client: &Client, more: &str) -> Ran {
    let make = ["pump", "make", "-j4", more, &format!("CC={OURS} gcc")];
    client.run(&make).expect(0)
}

/// Keeps what is there, builds without distcc, and compares.
#[track_caller]
fn assert_like_local(farm: &Farm, more: &str, kinds: &[&str]) {
    let kept = farm.path("kept");
    fs::create_dir(&kept).unwrap();
    let built: Vec<_> = (0..SOURCES)
        .flat_map(|number| kinds.iter().map(move |kind| format!("f{number}.{kind}")))
        .collect();
    for name in &built {
        fs::rename(farm.work().join(name), kept.join(name)).unwrap();
    }
    farm.local(&["make", "-j4", more, "CC=gcc"]).expect(0);
    for name in &built {
        assert_eq!(same_file(&farm.work().join(name), &kept.join(name)), None);
    }
}

#[test]
fn a_make_runs_in_pump_mode() {
    if !have("a make", &["make", "gcc"]) {
        return;
    }
    let farm = Farm::new();
    project(&farm);
    let daemon = farm.daemon(Which::Ours).start();
    let client = farm.client(Which::Ours, &hosts(&daemon));
    let ran = build(&client.env("DISTCC_VERBOSE", "1"), "MORE=-g");
    assert_eq!(pumped(&ran), SOURCES, "{ran}");
    // The files did not go through the clients.
    let sent = "the include server has sent the request but for 0 bytes";
    assert_eq!(ran.log.matches(sent).count(), SOURCES, "{ran}");
    assert!(
        ran.stdout
            .ends_with("__________Shutting down distcc-pump include server\n"),
        "{ran}"
    );
    assert_eq!(ran.stderr, "");
    farm.expect_clean("a make");
    assert_like_local(&farm, "MORE=-g", &["o", "d"]);
}

/// ccache preprocesses for itself, and hands over the source, not that text, unless it is told otherwise.
#[test]
fn a_make_with_ccache_in_front_runs_in_pump_mode() {
    if !have("ccache below pump", &["make", "gcc", "ccache"]) {
        return;
    }
    let farm = Farm::new();
    project(&farm);
    let daemon = farm.daemon(Which::Ours).start();
    let links = farm.masquerade(Which::Ours, &["distcc"]);
    let client = farm
        .client(Which::Ours, &hosts(&daemon))
        .env("PATH", format!("{}:/usr/bin:/bin", links.display()))
        .env("CCACHE_PREFIX", "distcc")
        .env("CCACHE_DIR", farm.path("home/ccache"));
    let make = ["pump", "make", "-j4", "MORE=-g", "CC=ccache gcc"];
    let ran = client.run(&make).expect(0);
    assert_eq!(pumped(&ran), SOURCES, "{ran}");
    farm.expect_clean("ccache below pump");
    assert_like_local(&farm, "MORE=-g", &["o", "d"]);
}

#[test]
fn steps_of_a_session_run_in_pump_mode() {
    let farm = Farm::new();
    project(&farm);
    let daemon = farm.daemon(Which::Ours).start();
    let links = farm.masquerade(Which::Ours, &["gcc"]);
    let client = farm
        .client(Which::Ours, &hosts(&daemon))
        .env("PUMP", OURS)
        .env("PATH", format!("{}:/usr/bin:/bin", links.display()));
    let script = "eval `$PUMP pump --startup` && gcc -Iinc -c f1.c && echo '#define SIZE 8' > inc/config.h && \
                  gcc -Iinc -c f2.c && $PUMP pump --shutdown";
    let ran = client.run_other(&["sh", "-c", script]).expect(0);
    assert_eq!(pumped(&ran), 2, "{ran}");
    farm.expect_clean("a session");
    fs::rename(farm.work().join("f2.o"), farm.path("f2.o")).unwrap();
    farm.local(&["gcc", "-Iinc", "-c", "f2.c"]).expect(0);
    assert_eq!(
        same_file(&farm.work().join("f2.o"), &farm.path("f2.o")),
        None
    );
}

#[test]
fn a_build_goes_on_when_its_include_server_is_killed() {
    let farm = Farm::new();
    project(&farm);
    let daemon = farm.daemon(Which::Ours).start();
    let client = farm.client(Which::Ours, &hosts(&daemon)).env("OURS", OURS);
    // Between two compiles it is not there, or is another one.
    let script = "for i in 0 1 2 3 4 5; do \"$OURS\" gcc -Iinc -g -c f$i.c || exit 1; \
                  echo $i > step; while [ -e step ]; do sleep 0.01; done; done";
    let (running, log) = client.start(&["pump", "sh", "-c", script]);
    let step = farm.work().join("step");
    for number in 0..6 {
        wait_for("a compile", BOUND, || {
            fs::read_to_string(&step).is_ok_and(|text| text == format!("{number}\n"))
        });
        let found = farm.processes();
        for server in found.iter().filter(|process| process.contains("--port")) {
            signal("KILL", server.split([' ', ':']).nth(1).unwrap());
        }
        fs::remove_file(&step).unwrap();
    }
    let ran = running.finish(BOUND).expect(0);
    assert!(
        ran.stderr
            .contains("the include server was ended by signal 9"),
        "{ran}"
    );
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains(" files in pump mode"), "{log}");
    for number in 0..6 {
        assert!(log.contains(&format!(" compile f{number}.c on ")), "{log}");
    }
    assert!(farm.work().join("f5.o").exists());
    farm.expect_clean("killed include servers");
}

#[test]
fn potential_hosts_are_used_in_pump_mode() {
    let farm = Farm::new();
    project(&farm);
    let daemon = farm.daemon(Which::Ours).start();
    let client = farm
        .client(Which::Ours, "")
        .without("DISTCC_HOSTS")
        .env("DISTCC_POTENTIAL_HOSTS", daemon.host())
        .env("OURS", OURS);
    let ran = client
        .run(&["pump", OURS, "gcc", "-Iinc", "-c", "f1.c"])
        .expect(0);
    assert_eq!(pumped(&ran), 1, "{ran}");
    let script =
        "eval \"$($OURS pump --startup)\" && $OURS gcc -Iinc -c f2.c && echo $DISTCC_HOSTS && \
                  $OURS pump --shutdown";
    let ran = client.run_other(&["sh", "-c", script]).expect(0);
    assert_eq!(pumped(&ran), 1, "{ran}");
    let expected = format!("--randomize {},cpp,lzo\n", daemon.host());
    assert!(ran.stdout.starts_with(&expected), "{ran}");
    farm.expect_clean("potential hosts");
}

#[test]
fn stocks_daemon_is_served_too() {
    if !have("stock's daemon", &["distccd", "make"]) {
        return;
    }
    let farm = Farm::new();
    project(&farm);
    let daemon = farm.daemon(Which::Stock).start();
    let ran = build(&farm.client(Which::Ours, &hosts(&daemon)), "MORE=");
    assert_eq!(ran.hosts().len(), SOURCES, "{ran}");
    farm.expect_clean("a build with stock's daemon");
    assert_like_local(&farm, "MORE=", &["o", "d"]);
}

#[test]
fn stocks_client_works_under_it() {
    if !have("stock's client", &["distcc", "make"]) {
        return;
    }
    let farm = Farm::new();
    project(&farm);
    for which in [Which::Ours, Which::Stock] {
        let daemon = farm.daemon(which).start();
        let client = farm
            .client(Which::Ours, &hosts(&daemon))
            .env("DISTCC_LOCATION", "/usr/bin")
            .env("DISTCC_VERBOSE", "1");
        let make = ["pump", "make", "-j4", "MORE=", "CC=distcc gcc"];
        let ran = client.run(&make).expect(0);
        assert!(
            ran.stdout
                .starts_with("__________Using distcc-pump from /usr/bin\n"),
            "{ran}"
        );
        assert_eq!(ran.hosts().len(), SOURCES, "{which:?}: {ran}");
        assert!(
            !ran.log.contains("failed to get includes"),
            "{which:?}: {ran}"
        );
        farm.expect_clean("a build with stock's client");
        // Its dependency files break lines elsewhere.
        assert_like_local(&farm, "MORE=", &["o"]);
        farm.local(&["make", "clean"]).expect(0);
        fs::remove_dir_all(farm.path("kept")).unwrap();
    }
}
