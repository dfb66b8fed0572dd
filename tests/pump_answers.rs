//! Answers that the client in pump mode must not simply believe: those of stock's daemons, and those of compiles that
//! failed. What is thrown away, sent again, counted and reported.
#![allow(clippy::unwrap_used)]

mod common;

use common::pump::{
    exact_reply, failed_reply, files, names, plain_reply, stock_reply, Does, FakeHost,
    FakeIncludeServer, Says,
};
use common::{Client, Farm, Ran};
use distcc::model::direct::Covered;
use distcc::model::wire::{Remark, Reply, Version};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const COMPILE: [&str; 5] = ["gcc", "-c", "x.c", "-o", "x.o"];

/// A farm with a source and its header.
fn farm() -> Farm {
    let farm = Farm::new();
    farm.write("x.c", "#include \"x.h\"\nint f(int a) { return a + X; }\n");
    farm.write("x.h", "#define X 1\n");
    farm
}

fn covered() -> Covered {
    files(&[("/w/x.c", "int x;\n"), ("/.distcc/about", "")])
}

#[track_caller]
fn expect_object(farm: &Farm, ran: Ran, kind: &str) -> Ran {
    let ran = ran.expect(0);
    let bytes = fs::read(farm.work().join("x.o")).unwrap();
    let is_local = bytes.windows(8).any(|at| at == b"GCC: (De");
    let found = if is_local {
        "local".into()
    } else {
        String::from_utf8_lossy(&bytes).into_owned()
    };
    assert_eq!(found, kind, "{ran}");
    assert_eq!(ran.stdout, "", "{ran}");
    fs::remove_file(farm.work().join("x.o")).unwrap();
    ran
}

fn marks(farm: &Farm) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(farm.path("top/lock"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with("cpu_"))
        .map(|name| name.split('_').next().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_stock_daemon_is_known_by_its_answer_and_asked_for_accordingly() {
    let farm = farm();
    let server = FakeIncludeServer::naming(
        &farm,
        Covered {
            spelled_absolutely: true,
            ..covered()
        },
    );
    let host = FakeHost::answering(stock_reply());
    let client = server.client(&farm, &host.pump_host());
    let asked = || -> Vec<bool> {
        server
            .queries()
            .iter()
            .map(|query| query.for_stock)
            .collect()
    };
    expect_object(&farm, client.run(&COMPILE), "pumped");
    assert_eq!((asked(), host.versions()), (vec![false, true], vec![3, 3]));
    assert_eq!(marks(&farm), ["stock"]);
    expect_object(&farm, client.run(&COMPILE), "pumped");
    assert_eq!(
        (asked(), host.versions()),
        (vec![false, true, true], vec![3; 3])
    );
}

#[test]
fn a_daemon_that_was_replaced_by_ours_is_believed_again() {
    let farm = farm();
    let server = FakeIncludeServer::naming(&farm, covered());
    let host = FakeHost::start(|_, number| {
        Does::Answers(match number {
            0 => stock_reply(),
            _ => exact_reply(),
        })
    });
    let client = server.client(&farm, &host.pump_host());
    expect_object(&farm, client.run(&COMPILE), "pumped");
    assert_eq!(marks(&farm), ["stock"]);
    expect_object(&farm, client.run(&COMPILE), "pumped");
    let asked: Vec<bool> = server
        .queries()
        .iter()
        .map(|query| query.for_stock)
        .collect();
    assert_eq!(asked, [false, true, false]);
    assert_eq!(marks(&farm), [""; 0]);
}

#[test]
fn what_only_ours_does_exactly_is_not_taken_from_stock() {
    let farm = farm();
    let server = FakeIncludeServer::naming(
        &farm,
        Covered {
            needs_ours: true,
            ..covered()
        },
    );
    let host = FakeHost::answering(stock_reply());
    let client = server.client(&farm, &host.pump_host());
    expect_object(&farm, client.run(&COMPILE), "plain");
    expect_object(&farm, client.run(&COMPILE), "plain");
    assert_eq!(host.versions(), [3, 2, 2]);
}

#[test]
fn variables_and_options_that_stock_does_not_heed_keep_jobs_from_it() {
    let farm = farm();
    let server = FakeIncludeServer::naming(&farm, covered());
    let host = FakeHost::answering(stock_reply());
    let client = server.client(&farm, &host.pump_host());
    let dated = client.clone().env("SOURCE_DATE_EPOCH", "1");
    expect_object(&farm, dated.run(&COMPILE), "plain");
    expect_object(&farm, dated.run(&COMPILE), "plain");
    let mut rooted = COMPILE.to_vec();
    rooted.push("--sysroot=/");
    expect_object(&farm, client.run(&rooted), "plain");
    expect_object(&farm, client.run(&COMPILE), "pumped");
    assert_eq!(host.versions(), [3, 2, 2, 2, 3]);
}

/// An object that the farm's own compiler makes of `text`, in a folder of stock's kind.
fn objects_of_stock(farm: &Farm, text: &str, option: &str) -> Vec<u8> {
    let root = farm.path("distccd_aB3dE6");
    let folder = root.join(farm.work().strip_prefix("/").unwrap());
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("x.c"), text).unwrap();
    let shell = format!("cd '{}' && gcc {option} -c x.c -o x.o", folder.display());
    farm.local(&["sh", "-c", &shell]).expect(0);
    fs::read(folder.join("x.o")).unwrap()
}

#[test]
fn an_answer_that_names_stocks_folder_is_thrown_away() {
    let farm = farm();
    let server = FakeIncludeServer::naming(&farm, covered());
    let root = farm.path("distccd_aB3dE6").display().to_string();
    let shown = format!("const char *f(void) {{ return \"{root}/x.c\"; }}\n");
    let with_text = objects_of_stock(&farm, &shown, "-g0");
    let with_debug = objects_of_stock(&farm, "int f(int a) { return a + 1; }\n", "-g");
    for (object, stderr) in [(with_text, ""), (with_debug, ""), (b"x".to_vec(), &*root)] {
        let host = FakeHost::answering(Reply {
            object: Some(object),
            stderr: stderr.as_bytes().to_vec(),
            ..stock_reply()
        });
        let client = server
            .client(&farm, &host.pump_host())
            .env("DISTCC_SKIP_LOCAL_RETRY", "1");
        let ran = expect_object(&farm, client.run(&COMPILE), "local");
        assert!(ran.log.contains("words of its own"), "{ran}");
    }
}

#[test]
fn stocks_warnings_are_repeated_here_unless_they_are_wanted_as_they_are() {
    let farm = farm();
    let server = FakeIncludeServer::naming(&farm, covered());
    let host = FakeHost::answering(Reply {
        stderr: b"x.c:1: warning: odd\n".to_vec(),
        ..stock_reply()
    });
    let client = server.client(&farm, &host.pump_host());
    let ran = expect_object(&farm, client.run(&COMPILE), "local");
    assert_eq!(ran.stderr, "", "{ran}");
    let trusting = client.env("DISTCC_SKIP_LOCAL_RETRY", "");
    let ran = expect_object(&farm, trusting.run(&COMPILE), "pumped");
    assert_eq!(ran.stderr, "x.c:1: warning: odd\n", "{ran}");
}

#[test]
fn a_file_that_the_host_missed_is_asked_for_before_anything_is_compiled_here() {
    let farm = farm();
    farm.write("inc/seen.h", "");
    for remark in [Some(Remark::Exact), None] {
        let server = FakeIncludeServer::start(&farm, |query, _| {
            let mut files_sent = vec![("/w/x.c", "int x;\n")];
            if query.missed == [b"inc/seen.h".to_vec()] {
                files_sent.push(("/w/inc/seen.h", ""));
            }
            Says::Files(files(&files_sent))
        });
        let host = FakeHost::start(move |request, _| {
            let is_whole = names(request).len() == 2;
            let said = "x.c:1:10: fatal error: seen.h: No such file or directory\ncompilation terminated.\n";
            Does::Answers(match is_whole {
                true => Reply {
                    remark,
                    sides: None,
                    ..exact_reply()
                },
                false => failed_reply(1, said, remark),
            })
        });
        let client = server.client(&farm, &host.pump_host());
        let mut command = COMPILE.to_vec();
        command.push("-Iinc");
        let ran = expect_object(&farm, client.run(&command), "pumped");
        assert!(!ran.log.contains("exec on localhost"), "{ran}");
        assert_eq!(host.versions(), [3, 3]);
        assert!(!server.file("discrepancy_counter").exists());
    }
}

#[test]
fn a_fault_of_the_source_is_told_by_the_local_compiler_and_is_nobodys() {
    let farm = farm();
    farm.write("x.c", "int f(int a) { return b; }\n");
    let server = FakeIncludeServer::naming(&farm, covered());
    let said =
        "x.c:1: error: 'b' undeclared\nx.c:2: fatal error: no.h: No such file or directory\n";
    let host = FakeHost::answering(failed_reply(1, said, Some(Remark::Exact)));
    let client = server.client(&farm, &host.pump_host());
    let ran = client.run(&COMPILE).expect(1);
    assert!(ran.stderr.contains("undeclared (first use"), "{ran}");
    assert!(!ran.log.contains("different result"), "{ran}");
    assert_eq!((host.versions(), marks(&farm)), (vec![3], vec![]));
    let trusting = client.env("DISTCC_SKIP_LOCAL_RETRY", "");
    let ran = trusting.run(&COMPILE).expect(1);
    assert_eq!(ran.stderr, said, "{ran}");
    assert!(!server.file("discrepancy_counter").exists());
}

/// A session of a build that is older than all its files, whose host can't compile.
struct Session {
    server: FakeIncludeServer,
    host: FakeHost,
}

impl Session {
    fn new(farm: &Farm) -> Session {
        let server = FakeIncludeServer::naming(farm, covered());
        let host = FakeHost::answering(failed_reply(1, "x.c:1: error: odd\n", Some(Remark::Exact)));
        Session { server, host }
    }

    fn client<'f>(&self, farm: &'f Farm) -> Client<'f> {
        self.server.client(farm, &self.host.pump_host())
    }

    fn count(&self) -> String {
        fs::read_to_string(self.server.file("discrepancy_counter")).unwrap_or_default()
    }

    /// Makes the socket that tells when the build began.
    fn begin(&self) {
        fs::write(self.server.port(), "").unwrap();
    }
}

#[test]
fn discrepancies_are_counted_and_end_pump_mode_when_there_are_too_many() {
    let farm = farm();
    let session = Session::new(&farm);
    let client = session.client(&farm).env("DISTCC_MAX_DISCREPANCY", "2");
    let ran = expect_object(&farm, client.run(&COMPILE), "local");
    let different = "failed, retried locally and got a different result.";
    let demoted = "now using plain distcc, possibly due to inconsistent file system changes";
    assert!(
        ran.log.contains(different) && !ran.log.contains(demoted),
        "{ran}"
    );
    assert_eq!(session.count(), "@");
    let ran = expect_object(&farm, client.run(&COMPILE), "local");
    assert!(ran.log.contains(demoted), "{ran}");
    assert_eq!(
        (session.count(), session.host.versions()),
        ("@@".into(), vec![3, 3])
    );
    let ran = expect_object(&farm, client.run(&COMPILE), "plain");
    assert!(!ran.log.contains("Warning"), "{ran}");
    let ran = client
        .run(&["--scan-includes", "gcc", "-c", "x.c"])
        .expect(100);
    assert!(
        ran.stderr.contains("wouldn't have used include server"),
        "{ran}"
    );
    // By default many are allowed.
    let ran = session.client(&farm).run(&COMPILE);
    expect_object(&farm, ran, "local");
    assert_eq!((session.count(), marks(&farm)), ("@@@".into(), vec![]));
    for odd in ["0", "-3", "many"] {
        let ran = client
            .clone()
            .env("DISTCC_MAX_DISCREPANCY", odd)
            .run(&COMPILE)
            .expect(101);
        assert!(ran.stderr.contains("DISTCC_MAX_DISCREPANCY is"), "{ran}");
    }
}

#[test]
fn a_file_that_changed_during_the_build_explains_a_discrepancy() {
    let farm = farm();
    let session = Session::new(&farm);
    session.begin();
    // The clock of files has passed on when they are written anew.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    fs::write(session.server.file("stamp"), "").unwrap();
    farm.write("x.h", "#define X 2\n");
    let mut command = COMPILE.to_vec();
    command.push("-MD");
    let client = session.client(&farm);
    let ran = expect_object(&farm, client.run(&command), "local");
    let fresh = "x.h, a dependency of x.c, changed during the build";
    // Both are as young as the build, the source comes first.
    let first = "x.c, a dependency of x.c, changed during the build";
    assert!(ran.log.contains(fresh) || ran.log.contains(first), "{ran}");
    let excluding = client.clone().env("DISTCC_EXCLUDE_FRESH_FILES", "*x.[hc]");
    let ran = expect_object(&farm, excluding.run(&command), "local");
    assert!(!ran.log.contains("changed during the build"), "{ran}");
    assert_eq!(session.count(), "@@");
}

#[test]
fn without_a_dependency_file_what_was_sent_is_looked_at() {
    let farm = farm();
    let [source, header] = ["x.c", "x.h"].map(|name| farm.work().join(name).display().to_string());
    let sent = files(&[("/.distcc/about", ""), (&source, "int x;\n"), (&header, "")]);
    let session = Session {
        // The client has not seen them, and asks for them.
        server: FakeIncludeServer::handing_back(&farm, sent),
        ..Session::new(&farm)
    };
    // Times are compared in seconds: the next one begins.
    let next_second = || std::thread::sleep(std::time::Duration::from_millis(1100));
    next_second();
    session.begin();
    farm.write("x.h", "#define X 2\n");
    let client = session.client(&farm);
    let ran = expect_object(&farm, client.run(&COMPILE), "local");
    let fresh = format!("{header}, a dependency of x.c, changed during the build");
    assert!(ran.log.contains(&fresh), "{ran}");
    let host = session.host.pump_host();
    assert!(
        ran.log.contains(&format!("{host} says: x.c:1: error: odd")),
        "{ran}"
    );
    // Where the include server can't say any more what was sent, something may have changed.
    let lost = FakeIncludeServer::start(&farm, |query, _| match query.hands_over {
        true => Says::HandsBack(covered()),
        false => Says::NotCovered("x.h is gone"),
    });
    let client_of_lost = client.clone().env("INCLUDE_SERVER_PORT", lost.port());
    let ran = expect_object(&farm, client_of_lost.run(&COMPILE), "local");
    let changed = "x.c: what the host had can't be told any more; perhaps a file changed during the build: x.h is gone";
    assert!(ran.log.contains(changed), "{ran}");
    // Dependencies that were written say it without another question.
    let mut command = COMPILE.to_vec();
    command.push("-MD");
    let asked = lost.queries().len();
    let ran = expect_object(&farm, client_of_lost.run(&command), "local");
    assert!(!ran.log.contains(changed), "{ran}");
    assert_eq!(lost.queries().len(), asked + 1);
    // A build that began after that is not explained by it.
    next_second();
    fs::remove_file(session.server.port()).unwrap();
    session.begin();
    let ran = expect_object(&farm, client.run(&COMPILE), "local");
    let is_told = |words: &str| ran.log.contains(words);
    assert!(
        is_told("different result") && !is_told("changed during"),
        "{ran}"
    );
}

fn mailer(farm: &Farm, script: &str) -> String {
    let folder = farm.path("mailer");
    fs::create_dir_all(&folder).unwrap();
    let mail = folder.join("mail");
    fs::write(&mail, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&mail, fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:/usr/bin:/bin", folder.display())
}

#[test]
fn a_discrepancy_is_mailed_to_whom_it_may_concern() {
    let farm = farm();
    let session = Session::new(&farm);
    let letter = farm.path("letter");
    let script = format!("{{ echo \"$@\"; cat; }} > '{}'", letter.display());
    let client = session.client(&farm).env("PATH", mailer(&farm, &script));
    expect_object(&farm, client.run(&COMPILE), "local");
    assert!(!letter.exists());
    let client = client.env("DISTCC_ENABLE_DISCREPANCY_EMAIL", "1");
    let ran = client
        .clone()
        .env("DCC_EMAILLOG_WHOM_TO_BLAME", "me@here")
        .run(&COMPILE);
    let ran = expect_object(&farm, ran, "local");
    assert!(ran.log.contains("Will send an email to me@here"), "{ran}");
    assert!(
        !ran.log.contains("release lock"),
        "debug lines in the log: {ran}"
    );
    let text = read(&letter);
    let begin = "-s distcc-pump email me@here\n";
    assert!(text.starts_with(begin), "{text}");
    for part in [
        "setting safeguard",
        "different result",
        "BEGIN server-side stderr\nx.c:1: error: odd\n\nEND server-side stderr",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    let failing = client.env("PATH", mailer(&farm, "exit 1"));
    let ran = expect_object(&farm, failing.run(&COMPILE), "local");
    assert!(
        ran.log.contains("please notify distcc-pump-errors"),
        "{ran}"
    );
    farm.expect_clean("mail");
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

#[test]
fn an_empty_object_is_no_object() {
    let farm = farm();
    let server = FakeIncludeServer::naming(&farm, covered());
    for hosts in ["pump", "plain"] {
        let host = FakeHost::start(|request, _| {
            Does::Answers(Reply {
                object: Some(Vec::new()),
                ..match request.version {
                    Version::V3 => exact_reply(),
                    version => plain_reply(version),
                }
            })
        });
        let list = match hosts {
            "pump" => host.pump_host(),
            _ => format!("127.0.0.1:{}", host.port),
        };
        let ran = server.client(&farm, &list).run(&COMPILE).expect(0);
        assert!(ran.log.contains("an empty object"), "{ran}");
        assert!(ran.log.contains("exec on localhost"), "{ran}");
        let made = fs::metadata(farm.work().join("x.o")).unwrap().len();
        assert!(made > 0, "{hosts}");
    }
}

#[test]
fn what_does_not_compile_here_either_is_no_matter_of_pump_mode() {
    let farm = farm();
    farm.write("bad.c", "#include \"none.h\"\n");
    let server = FakeIncludeServer::start(&farm, |_, _| Says::NotCovered("none.h is not found"));
    let host = FakeHost::answering(exact_reply());
    let client = server.client(&farm, &host.pump_host());
    let ran = client.run(&["gcc", "-c", "bad.c"]).expect(1);
    assert!(ran.log.contains("bad.c: not in pump mode: none.h"), "{ran}");
    assert!(!ran.log.contains("Warning"), "{ran}");
    // The next one is the first that the user hears of.
    let ran = client.run(&COMPILE).expect(0);
    assert!(
        ran.log.contains("Warning: x.c: failed to get includes"),
        "{ran}"
    );
}

#[test]
fn that_pump_mode_ends_is_said_once_whoever_counts_the_last() {
    let farm = farm();
    let server = FakeIncludeServer::naming(&farm, covered());
    let counter = server.file("discrepancy_counter");
    // While a host answers, another client counts, too.
    let other = counter.clone();
    let host = FakeHost::start(move |_, _| {
        let mut file = fs::File::options().append(true).create(true).open(&other);
        file.as_mut().unwrap().write_all(b"@").unwrap();
        Does::Answers(failed_reply(1, "x.c:1: error: no\n", Some(Remark::Exact)))
    });
    let client = server.client(&farm, &host.pump_host());
    let demoted = "now using plain distcc";
    let max = |count: &str| client.clone().env("DISTCC_MAX_DISCREPANCY", count);
    let ran = expect_object(&farm, max("1").run(&COMPILE), "local");
    assert!(ran.log.contains(demoted), "{ran}");
    // One that was on its way meanwhile.
    let ran = expect_object(&farm, max("3").run(&COMPILE), "local");
    assert!(!ran.log.contains(demoted), "{ran}");
    assert_eq!(fs::read_to_string(&counter).unwrap(), "@@@@");
}
