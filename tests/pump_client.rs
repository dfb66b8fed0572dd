//! The client in pump mode, between an include server and hosts that do as a test tells them: what is asked and sent,
//! and what becomes of each answer.
#![allow(clippy::unwrap_used)]

mod common;

use common::pump::{
    exact_reply, failed_reply, files, names, stock_reply, words, Does, FakeHost, FakeIncludeServer,
    Says,
};
use common::{Client, Farm, Ran};
use distcc::model::direct::Covered;
use distcc::model::wire::{put_link, EntryKind, Remark, Reply, Source};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

const SOURCE: &str = "#include \"x.h\"\nint f(int a) { return a + X; }\n";

const COMPILE: [&str; 5] = ["gcc", "-c", "x.c", "-o", "x.o"];

/// A farm with a source and its header.
fn farm() -> Farm {
    let farm = Farm::new();
    farm.write("x.c", SOURCE);
    farm.write("x.h", "#define X 1\n");
    farm
}

fn covered() -> Covered {
    files(&[("/w/x.c", SOURCE), ("/.distcc/about", "")])
}

#[track_caller]
fn object(farm: &Farm) -> String {
    let bytes = fs::read(farm.work().join("x.o")).unwrap();
    match bytes.starts_with(b"\x7fELF") {
        true => "local".to_owned(),
        false => String::from_utf8_lossy(&bytes).into_owned(),
    }
}

/// Panics unless the object is so, and nothing was said.
#[track_caller]
fn expect_object(farm: &Farm, ran: Ran, kind: &str) -> Ran {
    let ran = ran.expect(0);
    assert_eq!(object(farm), kind, "{ran}");
    assert_eq!((&*ran.stdout, &*ran.stderr), ("", ""), "{ran}");
    fs::remove_file(farm.work().join("x.o")).unwrap();
    ran
}

#[test]
fn the_include_server_is_asked_and_the_host_is_sent_what_it_names() {
    let farm = farm();
    let server = FakeIncludeServer::naming(&farm, covered());
    let host = FakeHost::answering(exact_reply());
    symlink(farm.work(), farm.path("link")).unwrap();
    let client = server
        .client(&farm, &host.pump_host())
        .folder(farm.path("link"))
        .env("PWD", farm.path("link"))
        .env("SOURCE_DATE_EPOCH", "1")
        .env("CPATH", "inc:")
        .env("C_INCLUDE_PATH", "sys");
    let ran = client.run(&["gcc", "-g3", "-xc", "-Iy", "-c", "x.c", "-lm"]);
    let ran = expect_object(&farm, ran, "pumped");
    assert_eq!(ran.hosts(), [host.pump_host()], "{ran}");
    assert!(!ran.log.contains("cpp "), "preprocessed here: {ran}");

    let [query] = &server.queries()[..] else {
        panic!("not one query")
    };
    let bytes = |name: &str| farm.path(name).display().to_string().into_bytes();
    assert_eq!((&query.cwd, &query.pwd), (&bytes("work"), &bytes("link")));
    assert_eq!(query.program, b"/usr/bin/gcc");
    let variables: Vec<_> = query
        .variables
        .iter()
        .map(|v| v.escape_ascii().to_string())
        .collect();
    assert_eq!(variables, ["LC_ALL=C", "SOURCE_DATE_EPOCH=1"]);
    assert!(!query.hermetic && query.missed.is_empty());
    let asked = query.argv.join(&b' ').escape_ascii().to_string();
    let rest = "-g3 -x c -Iy -c x.c -lm -o x.o -Iinc -I. -isystemsys";
    assert_eq!(asked, format!("gcc {rest}"));

    let [request] = &host.requests()[..] else {
        panic!("not one request")
    };
    assert_eq!(words(request), format!("x86_64-linux-gnu-gcc {rest}"));
    assert_eq!(names(request), ["/w/x.c", "/.distcc/about"]);
    let Source::Files { cwd, .. } = &request.source else {
        panic!("no files")
    };
    assert_eq!(*cwd, bytes("work"));
    farm.expect_clean("a pump job");
}

#[test]
fn an_exact_answer_is_a_local_runs_word_for_word() {
    let farm = farm();
    let server = FakeIncludeServer::naming(&farm, covered());
    let host = FakeHost::answering(Reply {
        stderr: b"x.c:1: warning: odd\n".to_vec(),
        stdout: b"said\n".to_vec(),
        deps: Some(b"d/x.o: x.c x.h\n".to_vec()),
        ..exact_reply()
    });
    fs::create_dir(farm.work().join("d")).unwrap();
    let client = server.client(&farm, &host.pump_host());
    let ran = client
        .run(&["gcc", "-MD", "-c", "x.c", "-o", "d/x.o"])
        .expect(0);
    assert_eq!(
        (&*ran.stdout, &*ran.stderr),
        ("said\n", "x.c:1: warning: odd\n")
    );
    assert!(!ran.log.contains("exec on localhost"), "{ran}");
    let deps = fs::read_to_string(farm.work().join("d/x.d")).unwrap();
    assert_eq!(deps, "d/x.o: x.c x.h\n");
    assert_eq!(fs::read(farm.work().join("d/x.o")).unwrap(), b"pumped");
    assert!(words(&host.requests()[0]).ends_with(" -MD -MQd/x.o"));
}

#[test]
fn dependency_files_are_where_a_local_run_writes_them() {
    let farm = farm();
    let server = FakeIncludeServer::naming(&farm, covered());
    let host = FakeHost::answering(exact_reply());
    let client = server.client(&farm, &host.pump_host());
    for (options, file, sent) in [
        ("-MMD", "x.d", "-MMD -MQx.o"),
        ("-MD -MF a.dep -MP -MT t -MQu", "a.dep", "-MD -MP -MTt -MQu"),
        ("-Wp,-MD,b.dep", "b.dep", "-MD -MQx.o"),
    ] {
        let mut command = COMPILE.to_vec();
        command.extend(options.split(' '));
        expect_object(&farm, client.run(&command), "pumped");
        let request = host.requests().pop().unwrap();
        assert!(words(&request).ends_with(sent), "{}", words(&request));
        let path = farm.work().join(file);
        assert_eq!(fs::read(&path).unwrap(), b"x.o: x.c\n", "{options}");
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn an_answer_without_the_dependencies_is_none() {
    let farm = farm();
    for deps in [None, Some(Vec::new())] {
        let server = FakeIncludeServer::naming(&farm, covered());
        let host = FakeHost::answering(Reply {
            deps,
            ..stock_reply()
        });
        let client = server.client(&farm, &host.pump_host());
        let mut command = COMPILE.to_vec();
        let ran = client.run(&command).expect(0);
        assert_eq!(object(&farm), "pumped", "{ran}");
        command.push("-MD");
        let ran = expect_object(&farm, client.run(&command), "local");
        assert!(ran.log.contains("(DOTD) were due"), "{ran}");
        let deps = fs::read_to_string(farm.work().join("x.d")).unwrap();
        assert!(deps.contains("x.h"), "{deps}");
        fs::remove_dir_all(farm.path("top")).unwrap();
        fs::create_dir(farm.path("top")).unwrap();
    }
}

#[test]
fn other_system_headers_are_sent_along_at_once_from_then_on() {
    let farm = farm();
    let server = FakeIncludeServer::naming(&farm, covered());
    let host = FakeHost::start(|_, number| {
        Does::Answers(match number {
            0 => failed_reply(113, "other headers\n", Some(Remark::OtherSystem)),
            _ => exact_reply(),
        })
    });
    let client = server.client(&farm, &host.pump_host());
    expect_object(&farm, client.run(&COMPILE), "pumped");
    let hermetic = |server: &FakeIncludeServer| -> Vec<bool> {
        server
            .queries()
            .iter()
            .map(|query| query.hermetic)
            .collect()
    };
    assert_eq!(hermetic(&server), [false, true]);
    expect_object(&farm, client.run(&COMPILE), "pumped");
    assert_eq!(hermetic(&server), [false, true, true]);
    assert_eq!(host.versions(), [3, 3, 3]);
    assert!(!farm
        .path("top/lock")
        .read_dir()
        .unwrap()
        .flatten()
        .any(|entry| { entry.file_name().to_string_lossy().starts_with("backoff_") }));
}

#[test]
fn a_host_that_is_never_content_gets_text() {
    let farm = farm();
    let server = FakeIncludeServer::naming(&farm, covered());
    let host = FakeHost::answering(failed_reply(113, "", Some(Remark::OtherSystem)));
    let client = server.client(&farm, &host.pump_host());
    expect_object(&farm, client.run(&COMPILE), "plain");
    assert_eq!(host.versions(), [3, 3, 2]);
    // It is remembered.
    expect_object(&farm, client.run(&COMPILE), "plain");
    assert_eq!(host.versions(), [3, 3, 2, 2]);
    assert_eq!(server.queries().len(), 2);
}

#[test]
fn what_a_host_cannot_do_in_pump_mode_it_gets_as_text() {
    let farm = farm();
    let server = FakeIncludeServer::naming(
        &farm,
        Covered {
            needs_ours: true,
            ..covered()
        },
    );
    let said = "distccd[7] ERROR: job refused: a path\n";
    let host = FakeHost::answering(failed_reply(113, said, Some(Remark::NotHere)));
    let client = server.client(&farm, &host.pump_host());
    let ran = expect_object(&farm, client.run(&COMPILE), "plain");
    assert_eq!(host.versions(), [3, 2]);
    assert!(ran.log.contains(&format!("says: {said}")), "{ran}");
    // It is remembered.
    expect_object(&farm, client.run(&COMPILE), "plain");
    assert_eq!(host.versions(), [3, 2, 2]);
    // Text of -g3 is not exact; another host may do it in pump mode.
    let other = FakeHost::answering(exact_reply());
    let hosts = format!(
        "{}/1 {}/1",
        host.pump_host().replace(",cpp", "/1,cpp"),
        other.pump_host()
    );
    let hosts = hosts.replace("lzo/1", "lzo");
    let client = server.client(&farm, &hosts);
    let command = ["gcc", "-g3", "-c", "x.c", "-o", "x.o"];
    expect_object(&farm, client.run(&command), "pumped");
    assert_eq!((host.versions().len(), other.versions()), (3, vec![3]));
}

#[test]
fn commands_that_have_no_exact_text_still_go_by_pump_mode() {
    let farm = farm();
    let server = FakeIncludeServer::naming(&farm, covered());
    let host = FakeHost::answering(exact_reply());
    let plain = FakeHost::answering(exact_reply());
    let hosts = format!("127.0.0.1:{}/1,lzo {}", plain.port, host.pump_host());
    let client = server.client(&farm, &hosts);
    let command = ["gcc", "-g3", "-c", "x.c", "-o", "x.o"];
    expect_object(&farm, client.run(&command), "pumped");
    assert_eq!(plain.versions(), [0; 0]);
    // Others go to whoever comes first.
    expect_object(&farm, client.run(&COMPILE), "plain");
    // What was preprocessed already goes as it is.
    farm.write("y.i", "# 1 \"y.c\"\nint y;\n");
    let ran = client.run(&["gcc", "-c", "y.i", "-o", "x.o"]);
    expect_object(&farm, ran, "plain");
    let only_pump = server.client(&farm, &host.pump_host());
    let ran = only_pump.run(&["gcc", "-c", "y.i", "-o", "x.o"]);
    expect_object(&farm, ran, "plain");
    assert_eq!(server.queries().len(), 1);
}

#[test]
fn the_next_host_gets_the_same_files() {
    let farm = farm();
    let server = FakeIncludeServer::naming(&farm, covered());
    let bad = FakeHost::start(|_, _| Does::Sends(b"DONE00000003STAT".to_vec()));
    let good = FakeHost::answering(exact_reply());
    let hosts = format!("{} {}", bad.pump_host(), good.pump_host());
    let client = server
        .client(&farm, &hosts)
        .env("DISTCC_BACKOFF_PERIOD", "0");
    let ran = client.run(&COMPILE).expect(0);
    assert_eq!(object(&farm), "pumped", "{ran}");
    assert_eq!(server.queries().len(), 1);
    assert_eq!((bad.versions().len(), good.versions().len()), (1, 1));
    // What was handed over once is asked for again.
    let server = FakeIncludeServer::handing_back(&farm, covered());
    let client = client.env("INCLUDE_SERVER_PORT", server.port());
    expect_object(&farm, client.run(&COMPILE), "pumped");
    assert_eq!(server.queries().len(), 2);
    let [first, second] = [bad, good].map(|host| host.requests().pop().unwrap());
    assert!(first == second, "both get the same");
}

#[test]
fn commands_that_stay_here_ask_nobody() {
    let farm = farm();
    let server = FakeIncludeServer::naming(&farm, covered());
    let host = FakeHost::answering(exact_reply());
    let client = server.client(&farm, &host.pump_host());
    for command in ["gcc -E x.c", "gcc -ftime-report -c x.c -o x.o"] {
        let words: Vec<&str> = command.split(' ').collect();
        client.run(&words).expect(0);
    }
    assert!(server.queries().is_empty() && host.requests().is_empty());
}

#[test]
fn what_is_not_covered_goes_as_text_and_is_told_once() {
    let farm = farm();
    let server = FakeIncludeServer::start(&farm, |_, _| Says::NotCovered("it asks for the date"));
    let host = FakeHost::answering(exact_reply());
    let client = server.client(&farm, &host.pump_host());
    let told =
        "failed to get includes from include server, preprocessing locally: it asks for the date";
    let ran = expect_object(&farm, client.run(&COMPILE), "plain");
    assert!(ran.log.contains(&format!("Warning: x.c: {told}")), "{ran}");
    let ran = expect_object(&farm, client.run(&COMPILE), "plain");
    let logged = "] x.c: not in pump mode: it asks for the date";
    assert_eq!(ran.log.matches("it asks for the date").count(), 1, "{ran}");
    assert!(ran.log.contains(logged), "{ran}");
    // Without text that is exact it is compiled here.
    let ran = client.run(&["gcc", "-g3", "-c", "x.c", "-o", "x.o"]);
    expect_object(&farm, ran, "local");
    assert_eq!(host.versions(), [2, 2]);
}

#[test]
fn without_an_include_server_hosts_get_text() {
    let farm = farm();
    let host = FakeHost::answering(exact_reply());
    let client = farm.client(common::Which::Ours, &host.pump_host());
    let told = "INCLUDE_SERVER_PORT not set";
    let ran = expect_object(&farm, client.run(&COMPILE), "plain");
    assert!(
        ran.log.contains("Warning") && ran.log.contains(told),
        "{ran}"
    );
    let ran = expect_object(&farm, client.run(&COMPILE), "plain");
    assert!(
        !ran.log.contains("Warning") && ran.log.contains(told),
        "{ran}"
    );
}

/// A client of a session whose include server does so.
fn faulty<'f>(farm: &'f Farm, server: &FakeIncludeServer, host: &FakeHost) -> Client<'f> {
    server
        .client(farm, &host.pump_host())
        .env("DISTCC_IO_TIMEOUT", "1")
        .bound(Duration::from_secs(20))
}

#[test]
fn include_servers_that_fail_cost_only_pump_mode() {
    let farm = farm();
    let host = FakeHost::answering(exact_reply());
    let whole = common::pump::covered_bytes(&covered());
    let mut wrong_count = whole.clone();
    let at = wrong_count.windows(4).position(|at| at == b"NFIL").unwrap();
    wrong_count[at + 11] = b'9';
    let mut wrong_body = whole.clone();
    let at = wrong_body.windows(4).position(|at| at == b"FILE").unwrap();
    wrong_body[at] = b'X';
    for (bytes, why) in [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "was due"),
        (vec![0; 5000], "was due"),
        (b"DRCT00000003".to_vec(), "version 3"),
        (
            b"DRCT00000002OURS00000000ABSL00000000NFIL00000001BODYffffffff".to_vec(),
            "limit",
        ),
        (Vec::new(), "hung up"),
        (wrong_count, "number of files"),
        (wrong_body, "malformed"),
    ] {
        let server = FakeIncludeServer::start(&farm, move |_, _| Says::Bytes(bytes.clone()));
        let client = faulty(&farm, &server, &host);
        let ran = expect_object(&farm, client.run(&COMPILE), "plain");
        assert!(ran.log.contains(why), "no {why:?}: {ran}");
    }
    // Not every client waits for a process that has been stopped.
    let silent = FakeIncludeServer::start(&farm, |_, _| Says::Nothing);
    let is_asked = || {
        let before = silent.queries().len();
        let ran = expect_object(&farm, faulty(&farm, &silent, &host).run(&COMPILE), "plain");
        assert!(ran.log.contains("silent for too long"), "{ran}");
        silent.queries().len() > before
    };
    assert!(is_asked() && !is_asked());
    let long_ago = SystemTime::now() - Duration::from_secs(3600);
    let noted = fs::File::options().write(true).open(silent.file("silent"));
    noted.unwrap().set_modified(long_ago).unwrap();
    assert!(is_asked());

    let gone = FakeIncludeServer::naming(&farm, covered());
    let client = faulty(&farm, &gone, &host).env("INCLUDE_SERVER_PORT", gone.file("none/socket"));
    let ran = expect_object(&farm, client.run(&COMPILE), "plain");
    let told = "Warning: x.c: failed to get includes from include server";
    assert!(ran.log.contains("has the include server ended?"), "{ran}");
    assert!(ran.log.contains(told), "{ran}");
    let long = farm.path(&"x".repeat(120)).join("socket");
    let client = client.env("INCLUDE_SERVER_PORT", long);
    let ran = expect_object(&farm, client.run(&COMPILE), "plain");
    assert!(ran.log.contains("107 bytes at most"), "{ran}");
    farm.expect_clean("faults of include servers");
}

#[test]
fn an_answer_cut_anywhere_is_no_answer() {
    let farm = farm();
    let host = FakeHost::answering(exact_reply());
    let whole = common::pump::covered_bytes(&covered());
    let length = whole.len();
    let server = FakeIncludeServer::start(&farm, move |_, number| {
        Says::Bytes(whole[..number].to_vec())
    });
    let client = faulty(&farm, &server, &host);
    for _ in 0..length {
        expect_object(&farm, client.run(&COMPILE), "plain");
    }
    expect_object(&farm, client.run(&COMPILE), "pumped");
}

#[test]
fn ten_thousand_files_are_sent_like_two() {
    let farm = farm();
    let names: Vec<String> = (0..10_000).map(|n| format!("/w/{n}.h")).collect();
    let text = "int x;\n".repeat(100);
    let many: Vec<(&str, &str)> = names
        .iter()
        .map(|name| (name.as_str(), text.as_str()))
        .collect();
    let server = FakeIncludeServer::naming(&farm, files(&many));
    let host = FakeHost::start(|request, _| {
        assert_eq!(common::pump::names(request).len(), 10_000);
        Does::Answers(exact_reply())
    });
    let client = server.client(&farm, &host.pump_host());
    expect_object(&farm, client.run(&COMPILE), "pumped");
}

/// An include server of stock's that names these paths below its spool, and the spool.
fn stocks(farm: &Farm, paths: &[&str]) -> (impl Drop, PathBuf, PathBuf) {
    let (folder, spool) = (farm.new_folder("stock"), farm.new_folder("spool"));
    assert_eq!(
        spool.components().count(),
        4,
        "TMPDIR is not /tmp or its like"
    );
    let mut answer = format!("ARGC{:08x}", paths.len()).into_bytes();
    for path in paths {
        let path = path.replace("SPOOL", spool.to_str().unwrap());
        answer.extend(format!("ARGV{:08x}{path}", path.len()).into_bytes());
    }
    let port = folder.join("socket");
    let served = common::pump::serve_socket(&port, move |mut stream| {
        let mut query = [0; 4096];
        let count = stream.read(&mut query).unwrap();
        assert!(query[..count].starts_with(b"CDIR"));
        let _ = stream.write_all(&answer);
    });
    (served, port, spool)
}

#[test]
fn stocks_lists_of_paths_become_entries() {
    let farm = farm();
    let host = FakeHost::answering(stock_reply());
    let source = farm.work().join("x.c").display().to_string();
    let client = |port: &PathBuf| {
        farm.client(common::Which::Ours, &host.pump_host())
            .env("INCLUDE_SERVER_PORT", port)
    };
    let file = format!("SPOOL{source}.lzo");
    let paths = [
        &*file,
        "SPOOL/usr/include",
        "SPOOL/w/link.lzo",
        "SPOOL/w/forcing_technique_271828",
    ];
    let (_served, port, spool) = stocks(&farm, &paths);
    let put = |name: &str| {
        let path = PathBuf::from(format!("{}{name}", spool.display()));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    };
    let body = distcc::model::lzo::compress(SOURCE.as_bytes()).unwrap();
    fs::write(put(&format!("{source}.lzo")), body).unwrap();
    symlink("../../../usr/include", put("/usr/include")).unwrap();
    symlink("/w/real.h", put("/w/link.lzo")).unwrap();
    expect_object(&farm, client(&port).run(&COMPILE), "pumped");
    let Source::Files { entries, .. } = host.requests().pop().unwrap().source else {
        panic!("no files")
    };
    let shown: Vec<String> = entries
        .iter()
        .map(|entry| match &entry.kind {
            EntryKind::File(text) => format!("{} {}", entry.name.escape_ascii(), text.len()),
            EntryKind::Link(to) => {
                format!("{} -> {}", entry.name.escape_ascii(), to.escape_ascii())
            }
        })
        .collect();
    let expected = [
        format!("{source} {}", SOURCE.len()),
        "/usr/include -> ../../../usr/include".to_owned(),
        "/w/link.lzo -> /w/real.h".to_owned(),
        "/w/forcing_technique_271828 0".to_owned(),
    ];
    assert_eq!(shown, expected);
    // What such an answer leads to says nothing of the host.
    assert!(!farm
        .path("top/lock")
        .read_dir()
        .unwrap()
        .flatten()
        .any(|entry| { entry.file_name().to_string_lossy().starts_with("stock_") }));
    for (paths, why) in [
        (&[][..], "gave up analyzing"),
        (&["SPOOL/w/gone.c.lzo"], "No such file"),
        (&["/etc/passwd"], "no path of its own"),
        (&["SPOOL/usr"], "not compressed"),
    ] {
        let (_served, port, spool) = stocks(&farm, paths);
        fs::create_dir(spool.join("usr")).unwrap();
        let ran = expect_object(&farm, client(&port).run(&COMPILE), "plain");
        assert!(ran.log.contains(why), "no {why:?}: {ran}");
    }
}

#[test]
fn a_refusal_in_pump_mode_is_none_of_text() {
    let farm = farm();
    let server = FakeIncludeServer::naming(&farm, covered());
    let host = FakeHost::answering(failed_reply(113, "distccd[1] ERROR: no pump mode\n", None));
    let client = server.client(&farm, &host.pump_host());
    expect_object(&farm, client.run(&COMPILE), "plain");
    // One that lacks the compiler is not asked twice.
    let host = FakeHost::answering(failed_reply(110, "distccd[1] ERROR: no gcc\n", None));
    let client = server.client(&farm, &host.pump_host());
    let ran = expect_object(&farm, client.run(&COMPILE), "local");
    assert!(ran.log.contains("no gcc"), "{ran}");
    assert_eq!(host.versions(), [3]);
}

#[test]
fn scan_includes_asks_the_include_server_alone() {
    let farm = farm();
    let mut named = files(&[
        ("/w/x.c", SOURCE),
        ("/w/d/forcing_technique_271828", ""),
        ("/.distcc/about", ""),
    ]);
    for (name, target) in [
        ("/usr/include", "../../../usr/include"),
        ("/w/l.h", "/w/x.h"),
    ] {
        put_link(&mut named.entries, name.as_bytes(), target.as_bytes()).unwrap();
        named.entry_count += 1;
    }
    let server = FakeIncludeServer::naming(&farm, named);
    let client = server.client(&farm, "");
    let lines = "FILE      /w/x.c\nDIRECTORY /w/d\nSYSTEMDIR /usr/include\nSYMLINK   /w/l.h\n";
    for command in ["gcc -c x.c -o x.o", "-c x.c"] {
        let mut words = vec!["--scan-includes"];
        words.extend(command.split(' '));
        let ran = client.run(&words).expect(0);
        assert_eq!((&*ran.stdout, &*ran.stderr), (lines, ""), "{ran}");
    }
    assert_eq!(server.queries().len(), 2);
    assert!(!farm.path("top/lock").exists() && !farm.work().join("x.o").exists());

    farm.write("y.i", "int y;\n");
    for command in ["gcc x.c -o prog", "gcc -E x.c", "gcc -c y.i"] {
        let mut words = vec!["--scan-includes"];
        words.extend(command.split(' '));
        let ran = client.run(&words).expect(100);
        assert!(
            ran.stderr.contains("wouldn't have used include server"),
            "{ran}"
        );
    }
    let without = client.clone().without("INCLUDE_SERVER_PORT");
    without
        .run(&["--scan-includes", "gcc", "-c", "x.c"])
        .expect(100);
    client.run(&["--scan-includes"]).expect(101);
    let silent = FakeIncludeServer::start(&farm, |_, _| Says::NotCovered("it is odd"));
    let ran = silent
        .client(&farm, "")
        .run(&["--scan-includes", "gcc", "-c", "x.c"])
        .expect(1);
    assert!(ran.log.contains("it is odd"), "{ran}");
    assert_eq!(ran.stdout, "");
    assert!(!farm.work().join("prog").exists() && !farm.work().join("y.o").exists());
}
