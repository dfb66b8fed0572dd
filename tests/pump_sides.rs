//! The client and files beside the object, with hosts that do as a test tells them: what is written, what is thrown away,
//! and which hosts are not asked again.
#![allow(clippy::unwrap_used)]

mod common;

use common::pump::{
    exact_reply, failed_reply, files, stock_reply, words, Does, FakeHost, FakeIncludeServer,
};
use common::{Farm, Ran};
use distcc::model::direct::Covered;
use distcc::model::side_files::{Beside, SideFile};
use distcc::model::wire::{Remark, Reply};
use std::fs;

const SOURCE: &str = "#include \"x.h\"\nint f(int a) { return a + X; }\n";

const HEADER: &str = "#define X 1\n";

fn farm() -> Farm {
    let farm = Farm::new();
    farm.write("x.c", SOURCE);
    farm.write("x.h", HEADER);
    fs::create_dir(farm.work().join("d")).unwrap();
    farm
}

/// What an include server names: the source and its header.
fn covered(farm: &Farm) -> Covered {
    let name = |name: &str| farm.work().join(name).display().to_string();
    files(&[
        (&name("x.c"), SOURCE),
        (&name("x.h"), HEADER),
        ("/.distcc/about", "s\0"),
    ])
}

fn with(sides: &[(Beside, &str, &str)]) -> Reply {
    let side = |(folder, name, content): &(Beside, &str, &str)| SideFile {
        folder: *folder,
        name: name.as_bytes().to_vec(),
        content: content.as_bytes().to_vec(),
    };
    Reply {
        sides: Some(sides.iter().map(side).collect()),
        ..exact_reply()
    }
}

fn run(client: &common::Client, line: &str) -> Ran {
    let words: Vec<&str> = line.split(' ').collect();
    client.run(&words).expect(0)
}

#[track_caller]
fn holds(farm: &Farm, name: &str) -> String {
    let bytes = fs::read(farm.work().join(name)).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[track_caller]
fn expect_local(farm: &Farm, ran: &Ran, object: &str) {
    let bytes = fs::read(farm.work().join(object)).unwrap();
    assert!(bytes.starts_with(b"\x7fELF"), "{ran}");
    assert_eq!((&*ran.stdout, &*ran.stderr), ("", ""), "{ran}");
}

/// All that is below the working directory.
fn tree(farm: &Farm) -> Vec<String> {
    let mut names = Vec::new();
    for folder in ["", "d/"] {
        for entry in fs::read_dir(farm.work().join(folder)).unwrap().flatten() {
            let name = entry.file_name().into_string().unwrap();
            names.push(format!("{folder}{name}"));
        }
    }
    names.sort();
    names
}

/// What was found out of hosts is forgotten.
fn forget(farm: &Farm) {
    fs::remove_dir_all(farm.path("top")).unwrap();
    fs::create_dir(farm.path("top")).unwrap();
}

#[test]
fn files_are_written_beside_the_object() {
    let farm = farm();
    let server = FakeIncludeServer::naming(&farm, covered(&farm));
    use Beside::{Output, Working};
    let sides = [
        (Working, "y.su", "su"),
        (Working, "y.i", "i"),
        (Output, "aux", ""),
    ];
    let host = FakeHost::answering(with(&sides));
    let client = server.client(&farm, &host.pump_host());
    let ran = run(
        &client,
        "gcc -fstack-usage -save-temps=cwd -aux-info d/aux -c x.c -o d/y.o",
    );
    assert!(!ran.log.contains("localhost"), "{ran}");
    let expected = ["d", "d/aux", "d/y.o", "x.c", "x.h", "y.i", "y.su"];
    assert_eq!(tree(&farm), expected);
    for (name, content) in [
        ("y.su", "su"),
        ("y.i", "i"),
        ("d/aux", ""),
        ("d/y.o", "pumped"),
    ] {
        assert_eq!(holds(&farm, name), content);
    }
    // The output is named to the host only if the user has named it.
    run(
        &client,
        "gcc -fstack-usage -aux-info aux -save-temps -c x.c",
    );
    let request = host.requests().pop().unwrap();
    assert!(words(&request).ends_with("-aux-info aux -save-temps -c x.c"));
    farm.expect_clean("files beside the object");
}

#[test]
fn no_host_writes_where_it_likes() {
    use Beside::{Output, Working};
    let farm = farm();
    let server = FakeIncludeServer::naming(&farm, covered(&farm));
    let outside = farm.path("outside").display().to_string();
    let long = format!("y.c.1t.{}", "x".repeat(240));
    let evil: &[&[(Beside, &str, &str)]] = &[
        &[(Output, "../evil", "e")],
        &[(Output, "../y.su", "e")],
        &[(Output, &outside, "e")],
        &[(Output, "sub/y.su", "e")],
        &[(Output, "..", "e")],
        &[(Output, ".", "e")],
        &[(Output, "", "e")],
        &[(Output, "evil", "e")],
        &[(Output, ".bashrc", "e")],
        &[(Output, "y.o", "e")],
        &[(Output, "y.dwo", "e")],
        &[(Output, "y.h", "e")],
        &[(Output, "z.su", "e")],
        &[(Output, "y.su\n", "e")],
        &[(Output, &long, "e")],
        &[(Working, "x.c", "e")],
        &[(Working, "x.h", "e")],
        &[(Working, "y.su", "e")],
        &[(Working, "Makefile", "e")],
        &[(Output, "y.su", "good"), (Output, "y.su", "e")],
        &[(Output, "y.su", "good"), (Working, "evil", "e")],
    ];
    for sides in evil {
        let host = FakeHost::answering(with(sides));
        let client = server.client(&farm, &host.pump_host());
        let line = "gcc -fstack-usage -c x.c -o d/y.o";
        let ran = run(&client, line);
        expect_local(&farm, &ran, "d/y.o");
        assert_eq!(
            tree(&farm),
            ["d", "d/y.o", "d/y.su", "x.c", "x.h"],
            "{sides:?}"
        );
        assert!(holds(&farm, "d/y.su").contains("static"), "{sides:?}");
        assert!(!farm.path("outside").exists() && !farm.path("evil").exists());
        assert_eq!(holds(&farm, "x.c"), SOURCE);
        let told = ran.log.lines().filter(|line| line.contains("Warning: 127"));
        assert_eq!(told.count(), 1, "{ran}");
        // It is said once, and such a host is left alone.
        let ran = run(&client, line);
        expect_local(&farm, &ran, "d/y.o");
        assert!(!ran.log.contains("Warning"), "{ran}");
        assert_eq!(host.versions(), [3], "{sides:?}");
        for name in ["d/y.o", "d/y.su"] {
            fs::remove_file(farm.work().join(name)).unwrap();
        }
        forget(&farm);
    }
}

/// A name that another compiler makes, or this one for another command, is another file of somebody's here.
#[test]
fn only_what_this_compiler_makes_is_believed() {
    use Beside::{Output, Working};
    let farm = farm();
    let server = FakeIncludeServer::naming(&farm, covered(&farm));
    for (line, folder, name) in [
        ("gcc -save-temps -c x.c -o d/y.o", Working, "x.s"),
        ("gcc -save-temps -c x.c -o d/y.o", Working, "y.s"),
        ("gcc -save-temps -c x.c -o d/y.o", Output, "x.s"),
        ("gcc -save-temps=cwd -c x.c -o d/y.o", Output, "y.s"),
        (
            "gcc -fdump-tree-original -c x.c -o d/y.o",
            Output,
            "x.c.005t.original",
        ),
        (
            "gcc -fdump-tree-original -save-temps -c x.c -o d/y.o",
            Working,
            "y.c.005t.original",
        ),
        ("clang -save-temps -c x.c -o d/y.o", Output, "y.s"),
        ("clang -save-temps -c x.c -o d/y.o", Working, "y.s"),
        ("clang -save-temps=obj -c x.c -o d/y.o", Working, "x.s"),
        (
            "clang -save-temps -ftime-trace -c x.c -o d/y.o",
            Output,
            "y.json",
        ),
    ] {
        let there = match folder {
            Output => format!("d/{name}"),
            Working => name.to_owned(),
        };
        farm.write(&there, "somebody's");
        let host = FakeHost::answering(with(&[(folder, name, "evil")]));
        let client = server.client(&farm, &host.pump_host());
        let ran = run(&client, line);
        assert!(
            ran.log.contains("which this compile does not make"),
            "{line}: {ran}"
        );
        assert_eq!(holds(&farm, &there), "somebody's", "{line}");
        fs::remove_file(farm.work().join(&there)).unwrap();
        forget(&farm);
    }
}

#[test]
fn what_a_compile_reads_is_not_written() {
    let farm = farm();
    let server = FakeIncludeServer::naming(&farm, covered(&farm));
    let host = FakeHost::answering(with(&[(Beside::Working, "x.h", "evil")]));
    let client = server.client(&farm, &host.pump_host());
    // gcc would empty it before it reads it.
    let ran = client
        .run(&["gcc", "-aux-info", "x.h", "-c", "x.c"])
        .expect(1);
    assert!(ran.log.contains("which this compile reads"), "{ran}");
    assert!(ran.log.contains("exec on localhost"), "{ran}");
    let header = fs::read_to_string(farm.work().join("x.h")).unwrap_or_default();
    assert!(!header.contains("evil") && !farm.work().join("x.o").exists());
}

#[test]
fn hosts_that_bring_nothing_home_are_asked_once() {
    let farm = farm();
    let server = FakeIncludeServer::naming(&farm, covered(&farm));
    let refused = |remark| failed_reply(113, "distccd[7] ERROR: job refused: no\n", Some(remark));
    for (answer, versions, why) in [
        (stock_reply(), &[3][..], "only a distccd of this version"),
        (
            exact_reply(),
            &[3],
            "it brings home no files but the object",
        ),
        (
            refused(Remark::NoSides),
            &[3],
            "it brings home no files but the object",
        ),
        // That may be so for this job alone.
        (
            refused(Remark::NotHere),
            &[3, 3],
            "it says that it can't do this job exactly",
        ),
    ] {
        let host = FakeHost::answering(answer);
        let client = server.client(&farm, &host.pump_host());
        let ran = run(&client, "gcc -save-temps -c x.c");
        assert!(ran.log.contains(why), "no {why:?}: {ran}");
        expect_local(&farm, &ran, "x.o");
        let ran = run(&client, "gcc -save-temps -c x.c");
        expect_local(&farm, &ran, "x.o");
        assert_eq!(host.versions(), versions);
        if versions.len() == 1 {
            let told = "-save-temps writes files besides the object, and no host is known to bring them home";
            assert!(ran.log.contains(told), "{ran}");
        }
        assert!(holds(&farm, "x.i").contains("# 1 "));
        forget(&farm);
    }
}

#[test]
fn such_a_host_still_does_other_jobs_and_another_does_this_one() {
    let farm = farm();
    let server = FakeIncludeServer::naming(&farm, covered(&farm));
    let old = FakeHost::answering(exact_reply());
    let new = FakeHost::answering(with(&[(Beside::Output, "x.su", "su")]));
    let hosts = format!("{} {}", old.pump_host(), new.pump_host());
    let client = server.client(&farm, &hosts);
    for _ in 0..2 {
        run(&client, "gcc -fstack-usage -c x.c");
        assert_eq!(
            (&*holds(&farm, "x.o"), &*holds(&farm, "x.su")),
            ("pumped", "su")
        );
    }
    assert_eq!((old.versions(), new.versions()), (vec![3], vec![3, 3]));
    run(&client, "gcc -c x.c");
    assert_eq!(old.versions(), [3, 3]);
}

#[test]
fn an_answer_that_is_cut_is_none() {
    let farm = farm();
    let server = FakeIncludeServer::naming(&farm, covered(&farm));
    let reply = with(&[(Beside::Output, "x.su", "su")]);
    let (mut whole, body) = reply.encode().unwrap();
    whole.extend_from_slice(&body);
    let begin = whole.windows(4).position(|at| at == b"NSID").unwrap();
    let length = whole.len();
    let host = FakeHost::start(move |_, number| Does::Sends(whole[..begin + number].to_vec()));
    let client = server
        .client(&farm, &host.pump_host())
        .env("DISTCC_BACKOFF_PERIOD", "0");
    for cut in begin..length {
        let ran = run(&client, "gcc -fstack-usage -c x.c");
        expect_local(&farm, &ran, "x.o");
        assert!(holds(&farm, "x.su").contains("static"), "{cut}: {ran}");
        forget(&farm);
    }
    run(&client, "gcc -fstack-usage -c x.c");
    assert_eq!(
        (&*holds(&farm, "x.o"), &*holds(&farm, "x.su")),
        ("pumped", "su")
    );
}

#[test]
fn without_pump_mode_such_commands_ask_nobody() {
    let farm = farm();
    let host = FakeHost::answering(exact_reply());
    let client = farm.client(common::Which::Ours, &host.pump_host());
    let ran = run(&client, "gcc -save-temps -c x.c");
    expect_local(&farm, &ran, "x.o");
    let told = "x.c compiled locally: -save-temps writes files besides the object";
    assert!(ran.log.contains(told), "{ran}");
    // Nor where a host takes text alone.
    let server = FakeIncludeServer::naming(&farm, covered(&farm));
    let client = server.client(&farm, &host.pump_host().replace(",cpp", ""));
    let ran = run(&client, "gcc -save-temps -c x.c");
    expect_local(&farm, &ran, "x.o");
    assert!(ran.log.contains(told), "{ran}");
    assert_eq!((host.versions().len(), server.queries().len()), (0, 0));
}

#[test]
fn old_counts_that_gcc_removes_keep_the_compile_here() {
    let farm = farm();
    let server = FakeIncludeServer::naming(&farm, covered(&farm));
    let host = FakeHost::answering(with(&[(Beside::Output, "y.gcno", "notes")]));
    let client = server.client(&farm, &host.pump_host());
    let seeded = "gcc -frandom-seed=1 --coverage -c x.c -o d/y.o";
    farm.write("d/y.gcda", "old");
    let ran = run(&client, seeded);
    expect_local(&farm, &ran, "d/y.o");
    assert!(ran.log.contains("would remove d/y.gcda"), "{ran}");
    assert!(
        !farm.work().join("d/y.gcda").exists(),
        "gcc has not removed it"
    );
    run(&client, seeded);
    assert_eq!(holds(&farm, "d/y.gcno"), "notes");
    farm.write("d/y.gcda", "old");
    run(&client, "gcc --coverage -c x.c -o d/y.o");
    assert_eq!(
        (holds(&farm, "d/y.gcda"), host.versions().len()),
        ("old".into(), 2)
    );
}
