//! Our daemon as its peers see it: recorded requests, refusals, hang-ups, slow peers and many at once.
#![allow(clippy::unwrap_used)]

mod common;

use common::fake::*;
use common::{have, wait_for, Farm, Which, BOUND};
use distcc::model::wire::Version;
use std::fs;
use std::io::Write;
use std::net::{Shutdown, TcpStream};

#[test]
fn recorded_compiles_are_answered_as_by_stock() {
    if !have("daemon", &["gcc", "g++", "clang"]) {
        return;
    }
    let farm = Farm::new();
    let list = "gcc,g++,clang,x86_64-linux-gnu-gcc,x86_64-linux-gnu-g++";
    let daemon = farm
        .daemon(Which::Ours)
        .options(&["--compilers", list])
        .start();
    let recorded_with =
        String::from_utf8_lossy(&capture("v1-asm-output.resp.bin")).contains("12.2.0");
    let ran = farm.local(&["gcc", "--version"]).expect(0);
    let same_compiler = recorded_with && ran.stdout.contains("(Debian 12.2.0-14+deb12u1)");
    for name in [
        "v1-ok",
        "v1-ok-no-rewrite",
        "v1-ok-debug",
        "v1-cxx",
        "v1-clang",
        "v1-asm-output",
        "v1-implicit-output",
        "v1-warning",
        "v1-error",
        "v1-empty-c",
        "v1-empty-i",
        "v1-big",
        "v2-ok",
        "v2-warning",
        "v2-error",
        "v2-empty-i",
        "v2-big",
        "ssh-v2-ok",
        "accepted-usr-bin-compiler",
    ] {
        let version = if name.contains("v2") {
            Version::V2
        } else {
            Version::V1
        };
        let theirs = reply(version, &capture(&format!("{name}.resp.bin")));
        let ours = reply(version, &ask(&daemon, &capture(&format!("{name}.req.bin"))));
        assert_eq!(ours.status, theirs.status, "{name}");
        assert_eq!(ours.stdout, theirs.stdout, "{name}");
        assert_eq!(ours.object.is_some(), theirs.object.is_some(), "{name}");
        assert_eq!(ours.stderr.is_empty(), theirs.stderr.is_empty(), "{name}");
        if !ours.status.success() {
            // The client may compile it all the same: then only the log tells why this one did not.
            let said = String::from_utf8_lossy(&ours.stderr);
            let line = format!(": says: {}", said.lines().next().unwrap());
            let log = daemon.log_text();
            assert!(log.contains(&line), "{name}: no {line:?} in {log}");
        }
        if same_compiler {
            assert_eq!(ours.stderr, theirs.stderr, "{name}");
            // A text that names no file: stock's object shows stock's temporary name, ours the client's.
            let shows_name = |object: &Vec<u8>| object.windows(8).any(|part| part == b"distccd_");
            let named = theirs.object.as_ref().is_some_and(shows_name);
            assert!(
                named || ours.object == theirs.object,
                "{name}: another object"
            );
            assert!(!ours.object.as_ref().is_some_and(shows_name), "{name}");
        }
    }
    assert_eq!(daemon.leftovers(), [""; 0]);
}

#[test]
fn recorded_oddities_are_answered_as_by_stock() {
    let (farm, folder) = fake_farm();
    let daemon = fake_daemon(&farm, &folder).start();
    for (name, status, object) in [
        ("ok-stdout-v1", 0, Some(3)),
        ("ok-stdout-v2", 0, Some(3)),
        ("ok-3MB-zeros-v2", 0, Some(3_000_000)),
        ("ok-zero-length-output", 0, Some(0)),
        ("odd-trailing-bytes", 0, Some(3)),
        ("fail-exit-3-with-output", 0x300, None),
        ("fail-signal-segv", 0x0b, None),
    ] {
        let request = capture(&format!("{name}.req.bin"));
        let version = if request.starts_with(b"DIST00000002") {
            Version::V2
        } else {
            Version::V1
        };
        let ours = reply(version, &ask(&daemon, &request));
        assert_eq!(ours.status.0 & !0x80, status, "{name}");
        assert_eq!(ours.object.map(|object| object.len()), object, "{name}");
        if name != "odd-trailing-bytes" {
            let theirs = reply(version, &capture(&format!("{name}.resp.bin")));
            assert_eq!(
                (ours.stdout, ours.stderr),
                (theirs.stdout, theirs.stderr),
                "{name}"
            );
        }
    }
    let answer = ask(&daemon, &capture("broken-output-removed.req.bin"));
    assert_eq!(answer, capture("broken-output-removed.resp.bin"));
    assert_eq!(daemon.leftovers(), [""; 0]);
}

#[test]
fn what_is_refused_is_explained() {
    let (farm, folder) = fake_farm();
    let daemon = fake_daemon(&farm, &folder).start();
    let broken = [
        "bad-garbage-http",
        "bad-version-4",
        "hostile-argc-zero",
        "odd-loose-hex",
        "odd-version-0",
        "v2-gssapi",
    ];
    let other = [
        ("refused-unlisted-compiler", "ret:0 "),
        ("refused-absolute-compiler", "ret:0 "),
        ("refused-no-dash-c", "ret:100 "),
        ("refused-march-native", "ret:100 "),
        ("refused-fplugin", "ret:100 "),
        ("refused-specs", "ret:100 "),
        ("hostile-wrapper", "ret:100 "),
        ("hostile-argv0-dash", "ret:100 "),
    ];
    let broken = broken.iter().map(|name| (*name, "REJ_BAD_REQ", "ret:109 "));
    let other = other.iter().map(|(name, code)| (*name, "OTHER", *code));
    let lost = [
        ("bad-lzo", "CLI_DISCONN", "ret:107 "),
        ("hostile-argc-huge", "CLI_DISCONN", "ret:107 "),
    ];
    for (name, class, code) in broken.chain(other).chain(lost) {
        let before = daemon.jobs().len();
        let answer = ask(&daemon, &capture(&format!("{name}.req.bin")));
        // Stock is silent; a request that could be read gets the reason from us, and pump's sender is silenced early.
        if class == "OTHER" && name != "v3-ok" {
            let answer = reply(Version::V1, &answer);
            assert_eq!(answer.status.exit_code(), Some(113), "{name}");
            let words = String::from_utf8(answer.stderr).unwrap();
            assert!(words.contains("ERROR: job refused: "), "{name}: {words}");
        } else {
            assert!(answer.is_empty(), "{name}: {}", answer.escape_ascii());
        }
        wait_for("the job's line", BOUND, || daemon.jobs().len() > before);
        let line = &daemon.jobs()[before].line;
        assert!(
            line.contains(class) && line.contains(code),
            "{name}: {line}"
        );
        // What is no request has no compiler to be named.
        assert_eq!(line.ends_with("ms "), class != "OTHER", "{name}: {line}");
    }
    for words in ["nosuchcc", "/opt/cc/gcc", "-wrapper", "-march=native"] {
        expect_line(&daemon, &["Warning: ", words]);
    }
    expect_ok(&daemon);
    assert_eq!(daemon.leftovers(), [""; 0]);
}

#[test]
fn requests_cut_anywhere_do_no_harm() {
    let (farm, folder) = fake_farm();
    let daemon = fake_daemon(&farm, &folder).start();
    let whole = request(Version::V1, "gcc -c x.c -o x.o", "int a;\n");
    for cut in 0..whole.len() {
        let mut stream = connect(&daemon);
        stream.write_all(&whole[..cut]).unwrap();
        if cut % 2 == 0 {
            stream.shutdown(Shutdown::Write).unwrap();
            assert!(rest_of(&stream).is_empty(), "cut after {cut}");
        }
    }
    expect_ok(&daemon);
    assert_eq!(daemon.leftovers(), [""; 0]);
}

#[test]
fn a_client_that_goes_takes_its_compiler_with_it() {
    let (farm, folder) = fake_farm();
    let daemon = fake_daemon(&farm, &folder).start();
    for (fake, half) in [("sleep", false), ("sleep", true), ("stubborn", false)] {
        let _ = fs::remove_file(folder.join("pids"));
        let mut stream = connect(&daemon);
        let words = format!("gcc -fake={fake} -c x.c -o x.o");
        stream.write_all(&request(Version::V1, &words, "")).unwrap();
        let pids = noted(&folder);
        assert!(pids.iter().all(|pid| alive(pid)));
        match half {
            true => {
                stream.shutdown(Shutdown::Write).unwrap();
                let answer = reply(Version::V1, &rest_of(&stream));
                assert_eq!(answer.status.0, 0x6b00);
            }
            false => drop(stream),
        }
        expect_gone(&pids);
    }
    wait_for("three lines", BOUND, || daemon.jobs().len() == 3);
    assert!(daemon.jobs().iter().all(|job| job.class == "CLI_DISCONN"));
    expect_ok(&daemon);
    assert_eq!(daemon.leftovers(), [""; 0]);
}

#[test]
fn a_job_may_be_limited_in_time() {
    let (farm, folder) = fake_farm();
    let daemon = fake_daemon(&farm, &folder)
        .options(&["--job-lifetime=1"])
        .start();
    let mut stream = connect(&daemon);
    let words = "gcc -fake=sleep -c x.c -o x.o";
    stream.write_all(&request(Version::V1, words, "")).unwrap();
    let pids = noted(&folder);
    let answer = reply(Version::V1, &rest_of(&stream));
    assert_eq!(answer.status.0, 0x7600);
    expect_gone(&pids);
    expect_line(&daemon, &["COMPILE_TIMEOUT", "ret:118", "ms gcc x.c"]);
    assert_eq!(daemon.leftovers(), [""; 0]);
}

#[test]
fn a_silent_client_is_dropped_and_holds_no_slot() {
    let (farm, folder) = fake_farm();
    let daemon = fake_daemon(&farm, &folder)
        .jobs(1)
        .env("DISTCC_IO_TIMEOUT", "2")
        .start();
    let whole = request(Version::V1, "gcc -c x.c -o x.o", "int a;\n");
    let silent: Vec<TcpStream> = (0..20)
        .map(|count| {
            let mut stream = connect(&daemon);
            stream.write_all(&whole[..count * 3]).unwrap();
            stream
        })
        .collect();
    expect_ok(&daemon);
    for stream in &silent {
        assert!(rest_of(stream).is_empty());
    }
    let mut slow = connect(&daemon);
    for byte in &whole {
        slow.write_all(&[*byte]).unwrap();
    }
    assert_eq!(reply(Version::V1, &rest_of(&slow)).object.unwrap(), b"OBJ");
}

#[test]
fn a_client_that_does_not_read_holds_no_slot() {
    let (farm, folder) = fake_farm();
    let daemon = fake_daemon(&farm, &folder).jobs(1).start();
    let mut lazy = connect(&daemon);
    lazy.write_all(&request(Version::V1, "gcc -fake=huge -c x.c -o x.o", ""))
        .unwrap();
    expect_ok(&daemon);
    let answer = reply(Version::V1, &rest_of(&lazy));
    assert_eq!(answer.object.unwrap().len(), 60_000_000);
    let mut gone = connect(&daemon);
    gone.write_all(&request(Version::V1, "gcc -fake=huge -c x.c -o x.o", ""))
        .unwrap();
    expect_ok(&daemon);
    drop(gone);
    expect_line(&daemon, &["CLI_DISCONN", "ret:107", "ms gcc x.c"]);
    assert_eq!(daemon.leftovers(), [""; 0]);
}

#[test]
fn many_clients_at_once_are_all_served() {
    let (farm, folder) = fake_farm();
    let daemon = fake_daemon(&farm, &folder).jobs(2).start();
    let whole = request(Version::V1, "gcc -c x.c -o x.o", "int a;\n");
    let mut streams: Vec<TcpStream> = (0..300).map(|_| connect(&daemon)).collect();
    for stream in &mut streams {
        stream.write_all(&whole).unwrap();
    }
    for stream in &streams {
        assert_eq!(reply(Version::V1, &rest_of(stream)).object.unwrap(), b"OBJ");
    }
    wait_for("all lines", BOUND, || daemon.compiled() == 300);
    assert_eq!(daemon.leftovers(), [""; 0]);
}

#[test]
fn stock_clients_get_local_objects() {
    if !have("daemon", &["distcc", "gcc", "g++"]) {
        return;
    }
    let farm = Farm::new();
    farm.write(
        "x.c",
        "#include <stdio.h>\nint f(int a) { return printf(\"%d\", a); }\n",
    );
    farm.write(
        "x.cc",
        "#include <vector>\nint f(int a) { return std::vector<int>(a).size(); }\n",
    );
    let daemon = farm
        .daemon(Which::Ours)
        .options(&["--compilers", "gcc,g++"])
        .start();
    for (compiler, source) in [("gcc", "x.c"), ("g++", "x.cc")] {
        let local = farm.work().join("l.o");
        farm.local(&[compiler, "-O2", "-c", source, "-o", "l.o"])
            .expect(0);
        for options in ["", ",lzo"] {
            let client = farm.client(Which::Stock, &format!("{}{options}", daemon.host()));
            let client = client.env("DISTCC_FALLBACK", "0");
            client
                .run(&[compiler, "-O2", "-c", source, "-o", "r.o"])
                .expect(0);
            assert_eq!(common::same_file(&local, &farm.work().join("r.o")), None);
        }
    }
    wait_for("four compiles", BOUND, || daemon.compiled() == 4);
    assert_eq!(daemon.leftovers(), [""; 0]);
}

#[test]
fn debug_information_is_the_clients() {
    if !have("daemon", &["gcc"]) {
        return;
    }
    let farm = Farm::new();
    farm.write(
        "inc/h.h",
        "#if __has_include(<stdio.h>)\n#define SQUARE(x) ((x) * (x))\n#endif\n",
    );
    farm.write(
        "sub/x.c",
        "#include \"../inc/h.h\"\nint f(int a) { return SQUARE(a) + a; }\n",
    );
    let daemon = |sandbox| {
        let options = ["--compilers", "gcc", "--sandbox", sandbox];
        farm.daemon(Which::Ours).options(&options).start()
    };
    let daemons = ["require", "off"].map(daemon);
    let absolute = farm.work().join("sub/x.c").display().to_string();
    for source in ["sub/x.c", "./sub/../sub/x.c", absolute.as_str()] {
        let ran = farm
            .local(&["gcc", "-g", "-O2", "-c", source, "-o", "l.o"])
            .expect(0);
        assert!(ran.stderr.is_empty());
        let text = farm
            .local(&["gcc", "-g", "-E", "-fdirectives-only", source])
            .expect(0)
            .stdout;
        let words = format!("gcc -fdirectives-only -g -O2 -c {source} -o r.o");
        let local = fs::read(farm.work().join("l.o")).unwrap();
        for daemon in &daemons {
            let answer = ask(daemon, &request(Version::V1, &words, &text));
            let object = reply(Version::V1, &answer).object.unwrap();
            assert_eq!(common::same_bytes(&local, &object), None, "{source}");
            assert_eq!(daemon.leftovers(), [""; 0]);
        }
    }
}
