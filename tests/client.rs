//! The client as it is called: its own words, explicit, implicit and masqueraded compilers, and distcc within distcc.
//! Each test drives the real binary with real compilers and a daemon of ours.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Client, Daemon, Farm, Ran, Which, OURS};
use std::fs;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::Path;

const SOURCE: &str = "int f(int a) { return a * 3; }\n";

/// A farm with one daemon, and `x.c`.
fn farm() -> (Farm, Daemon) {
    let farm = Farm::new();
    farm.write("x.c", SOURCE);
    let daemon = farm.daemon(Which::Ours).start();
    (farm, daemon)
}

/// Panics unless the result came from a host, and nothing was said about it.
#[track_caller]
fn expect_remote(ran: Ran) {
    let ran = ran.expect(0);
    assert!(!ran.hosts().is_empty(), "nothing went to a host: {ran}");
    assert!(!ran.log.contains("compiled locally"), "{ran}");
    assert_eq!((&*ran.stdout, &*ran.stderr), ("", ""), "{ran}");
}

/// Panics unless it ran here without an attempt elsewhere.
#[track_caller]
fn expect_local(ran: &Ran) {
    assert!(!ran.log.contains("exec on 127"), "sent away: {ran}");
    assert!(ran.log.contains("exec on localhost"), "not run: {ran}");
}

#[track_caller]
fn expect_in(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
}

/// A script in the farm that can be run.
fn script(farm: &Farm, name: &str, text: &str) -> String {
    let path = farm.path(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

fn path_of(folders: &[&Path]) -> String {
    let names: Vec<String> = folders.iter().map(|f| f.display().to_string()).collect();
    format!("{}:/usr/bin:/bin", names.join(":"))
}

#[test]
fn version_and_help_have_stocks_shape_and_depend_on_nothing() {
    let farm = Farm::new();
    let words = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    // Settings and lists that are wrong must not matter.
    let client = farm
        .client(Which::Ours, "a,nonsense")
        .env("DISTCC_IO_TIMEOUT", "soon")
        .without("HOME")
        .without("DISTCC_DIR");
    let version = client.run(&["--version", "more"]).expect(0);
    let mut lines = version.stdout.lines();
    let first: Vec<&str> = lines.next().unwrap().split(' ').collect();
    assert_eq!((first.len(), first[0]), (3, "distcc"), "{version}");
    assert!(first.iter().all(|w| w.chars().all(words)), "{version}");
    let second = lines.next().unwrap();
    let protocols = second.trim_start_matches([' ', '\t']);
    assert!(
        protocols.len() < second.len() && protocols.starts_with("(protocol"),
        "{version}"
    );
    assert!(protocols.ends_with(") (default port 3632)"), "{version}");
    assert!(version.stdout.ends_with('\n'), "{version}");
    let help = client.run(&["--help"]).expect(0);
    assert!(help.stdout.starts_with(&version.stdout), "{help}");
    expect_in(
        &help.stdout,
        &[
            "Usage:",
            "DISTCC_HOSTS",
            "$DISTCC_DIR/hosts",
            "~/.distcc/hosts",
            "/etc/distcc/hosts",
            "3632",
        ],
    );
    assert_eq!(format!("{}{}", version.stderr, help.stderr), "");
    assert!(!farm.path("home/.distcc").exists());
}

#[test]
fn nothing_at_all_is_a_usage_error() {
    let farm = Farm::new();
    let ran = farm.client(Which::Ours, "").run::<&str>(&[]).expect(101);
    expect_in(&ran.stderr, &["missing option/operand", "--help"]);
    assert_eq!(ran.stdout, "");
}

#[test]
fn the_host_list_is_shown_and_counted() {
    let farm = Farm::new();
    let hosts = "localhost --localslots=7 b/12,lzo me@c:/opt/distccd d:400/3 e,down # no more";
    let client = farm.client(Which::Ours, hosts);
    let shown = client.run(&["--show-hosts"]).expect(0);
    assert_eq!(
        shown.stdout,
        "localhost\nb/12,lzo\nme@c:/opt/distccd\nd:400/3\ne,down\n"
    );
    assert_eq!(client.run(&["-j"]).expect(0).stdout, "25\n");
    let sorted = |ran: Ran| {
        let mut lines: Vec<String> = ran.stdout.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let client = farm.client(Which::Ours, "--randomize a b c d");
    assert_eq!(
        sorted(client.run(&["--show-hosts"])),
        ["a", "b", "c", "d"],
        "randomized lists lose nothing"
    );
}

#[test]
fn a_bad_list_is_said_with_status_0() {
    let farm = Farm::new();
    for (hosts, parts) in [
        ("", &["$DISTCC_HOSTS contained no hosts"][..]),
        (" # nothing\n", &["contained no hosts"]),
        ("good a,foo", &["a,foo"]),
        ("good angry::", &["angry::"]),
        ("a,cpp", &["lzo"]),
    ] {
        for option in ["--show-hosts", "-j"] {
            let client = farm.client(Which::Ours, hosts).env("DISTCC_LOG", "");
            let ran = client.run(&[option]).expect(0);
            assert_eq!(ran.stdout, "", "{ran}");
            expect_in(&ran.stderr, &["CRITICAL! Failed to get host list"]);
            expect_in(&ran.stderr, parts);
        }
    }
}

#[test]
fn scan_includes_wants_an_operand_and_never_compiles() {
    let (farm, daemon) = farm();
    let client = farm.client(Which::Ours, &daemon.host());
    let ran = client.run(&["--scan-includes"]).expect(101);
    expect_in(&ran.stderr, &["missing operand"]);
    for words in [
        &["--scan-includes", "gcc", "-c", "x.c"][..],
        &["--scan-includes", "gcc", "x.c", "-o", "x"],
    ] {
        let ran = client.run(words);
        assert_ne!(ran.status, 0, "{ran}");
        assert!(!ran.stderr.is_empty(), "{ran}");
    }
    assert!(!farm.work().join("x.o").exists() && !farm.work().join("x").exists());
}

#[test]
fn a_role_is_named_by_the_first_word_or_by_a_link() {
    let farm = Farm::new();
    let client = farm.client(Which::Ours, "");
    let by_word = client.run(&["distccd", "--help"]).expect(0);
    let link = farm.path("bin/distccd");
    symlink(OURS, &link).unwrap();
    let by_link = client
        .run_other(&[link.to_str().unwrap(), "--help"])
        .expect(0);
    expect_in(&by_word.stdout, &["--jobs", "--allow"]);
    assert_eq!(by_word.stdout, by_link.stdout);
    // Any other name that contains distcc is the client, never a masqueraded compiler.
    let other = farm.path("bin/my-distcc-3");
    symlink(OURS, &other).unwrap();
    let ran = client.run_other(&[other.to_str().unwrap(), "--version"]);
    expect_in(&ran.expect(0).stdout, &["distcc "]);
}

#[test]
fn explicit_and_implicit_compiles_are_sent() {
    let (farm, daemon) = farm();
    farm.write(
        "y.cc",
        "template<class T> T g(T t) { return t; } int h() { return g(1); }\n",
    );
    let client = farm.client(Which::Ours, &daemon.host());
    for words in [
        &["gcc", "-c", "x.c"][..],
        &["/usr/bin/gcc", "-c", "x.c"],
        &["-c", "x.c"],
        &["x.c", "-c"],
        &["-O2", "-o", "x.o", "-c", "x.c"],
        &["y.cc", "-c", "-o", "x.o"],
        &["g++", "-S", "y.cc", "-o", "x.o"],
        &["clang", "x.c", "-c"],
    ] {
        let _ = fs::remove_file(farm.work().join("x.o"));
        expect_remote(client.run(words));
        let sent = fs::read(farm.work().join("x.o")).unwrap();
        let mut local: Vec<&str> = words.to_vec();
        if words[0].starts_with('-') || words[0].contains('.') {
            local.insert(0, "cc");
        }
        farm.local(&local).expect(0);
        let here = fs::read(farm.work().join("x.o")).unwrap();
        assert_eq!(common::same_bytes(&here, &sent), None, "distcc {words:?}");
    }
    farm.expect_clean("compiles in all forms");
}

#[test]
fn what_is_no_compile_runs_here_as_it_is() {
    let (farm, daemon) = farm();
    farm.write("main.c", "int main(void) { return 7; }\n");
    farm.write("conftest.c", SOURCE);
    farm.write("a.s", ".globl q\nq: ret\n");
    let client = farm.client(Which::Ours, &daemon.host());
    expect_remote(client.run(&["gcc", "-c", "main.c"]));
    for (words, product) in [
        (&["main.o", "-o", "linked"][..], "linked"),
        (&["gcc", "main.c", "-o", "whole"], "whole"),
        (&["main.c"], "a.out"),
    ] {
        let ran = client.run(words).expect(0);
        expect_local(&ran);
        let program = farm.work().join(product);
        farm.local(&[program.to_str().unwrap()]).expect(7);
    }
    for words in [
        &["gcc", "-E", "x.c"][..],
        &["gcc", "-v"],
        &["gcc", "-dumpversion"],
        &["gcc", "--version"],
        &["gcc", "--help"],
        &["gcc", "-c", "conftest.c"],
        &["gcc", "-c", "a.s"],
        &["gcc", "-M", "x.c"],
        &["gcc", "-S", "x.c", "-o", "-"],
        &["gcc", "-c", "x.c", "-o", "/dev/null"],
        &["gcc", "-mcpu=native", "-c", "x.c"],
        &["gcc"],
        &["gcc", "-c"],
        &["gcc", "--no-such-option", "-c", "x.c"],
        &["gcc", "-c", "no-such-file.c"],
    ] {
        let native = farm.local(words);
        let ran = client.run(words);
        assert_eq!(
            (ran.status, &ran.stdout, &ran.stderr),
            (native.status, &native.stdout, &native.stderr),
            "expected {native} got {ran}"
        );
        expect_local(&ran);
    }
    let ran = client.run(&["true", "--help"]);
    assert_ne!(ran.stdout.lines().next(), Some("distcc"), "{ran}");
    farm.expect_clean("local commands");
}

#[test]
fn masquerade_is_found_however_its_folder_is_spelled() {
    let (farm, daemon) = farm();
    let links = farm.masquerade(Which::Ours, &["gcc", "cc", "g++", "clang"]);
    let alias = farm.path("bin/alias");
    symlink(&links, &alias).unwrap();
    let show = |path: &Path, rest: &str| format!("{}{rest}", path.display());
    let plain = show(&links, "");
    let client = |path: &str| {
        let path = format!("{path}:/usr/bin:/bin");
        farm.client(Which::Ours, &daemon.host()).env("PATH", path)
    };
    let dotted = show(&links, "/./");
    let doubled = plain.replace("/bin/", "//bin//");
    let up = show(&farm.path("work/../bin"), "/alias/../masquerade-1");
    let expect_once = |ran: Ran, how: &str| {
        let before = ran.log.matches("exec on").count();
        assert_eq!(before, 1, "{how}: {ran}");
        expect_remote(ran);
    };
    for path in [&plain, &dotted, &doubled, &show(&alias, ""), &up] {
        let client = client(path);
        expect_once(client.run_other(&["gcc", "-c", "x.c"]), path);
        for name in [&plain, &doubled, &show(&alias, "")] {
            let program = format!("{name}/gcc");
            let ran = client.run_other(&[&program, "-c", "x.c"]);
            expect_once(ran, &format!("{program} with PATH {path}"));
        }
        farm.write("bin/x.c", SOURCE);
        fs::copy(farm.work().join("x.c"), links.join("x.c")).unwrap();
        let inside = client.clone().folder(&links);
        let ran = inside.run_other(&["/bin/sh", "-c", "./gcc -c x.c"]);
        expect_once(ran, "./gcc inside the folder");
        let ran = client.clone().folder(farm.path("bin"));
        let ran = ran.run_other(&["/bin/sh", "-c", "alias/../masquerade-1/gcc -c ../work/x.c"]);
        expect_once(ran, "a relative name");
    }
    // The folder need not be on PATH at all.
    let off = farm.client(Which::Ours, &daemon.host());
    let ran = off.run_other(&[&show(&links, "/cc"), "-c", "x.c"]);
    expect_once(ran, "a folder off PATH");
    farm.expect_clean("masquerade");
}

#[test]
fn a_masqueraded_link_runs_the_real_compiler() {
    let (farm, daemon) = farm();
    farm.write("main.c", "int main(void) { return 9; }\n");
    let links = farm.masquerade(Which::Ours, &["gcc", "cc", "g++", "clang"]);
    let client = farm
        .client(Which::Ours, &daemon.host())
        .env("PATH", path_of(&[&links]));
    for name in ["gcc", "cc", "clang"] {
        expect_remote(client.run_other(&[name, "-c", "main.c"]));
        let ran = client.run_other(&[name, "main.o", "-o", "main"]);
        expect_local(&ran.expect(0));
        farm.local(&["./main"]).expect(9);
        let version = client.run_other(&[name, "--version"]).expect(0);
        assert_eq!(version.stdout, farm.local(&[name, "--version"]).stdout);
    }
    // Own options are not those of a masqueraded compiler.
    let ran = client.run_other(&["gcc", "--show-hosts"]);
    assert_ne!(ran.status, 0, "{ran}");
}

#[test]
fn the_compiler_may_find_distcc_again_where_it_does_no_harm() {
    let (farm, daemon) = farm();
    let links = farm.masquerade(Which::Ours, &["gcc", "cc", "g++"]);
    let more = farm.masquerade(Which::Ours, &["gcc"]);
    symlink(OURS, farm.path("bin/distcc")).unwrap();
    let bin = farm.path("bin");
    let client = |path: String| farm.client(Which::Ours, &daemon.host()).env("PATH", path);
    // An explicit call whose compiler is a link.
    let ran = client(path_of(&[&links])).run(&["gcc", "-c", "x.c"]);
    expect_remote(ran);
    let ran = client(path_of(&[&links])).run(&["gcc", "-dumpversion"]);
    assert_eq!(
        ran.stdout,
        farm.local(&["gcc", "-dumpversion"]).stdout,
        "{ran}"
    );
    // A script called cc that names the real compiler.
    script(&farm, "bin/scripts/cc", "exec distcc /usr/bin/gcc \"$@\"");
    let scripts = farm.path("bin/scripts");
    let ran = client(path_of(&[&scripts, &bin])).run_other(&["cc", "-c", "x.c"]);
    expect_remote(ran);
    // Two masquerade folders.
    let ran = client(path_of(&[&links, &more])).run_other(&["gcc", "-c", "x.c"]);
    expect_remote(ran);
    farm.expect_clean("calls within calls");
}

/// A word with a folder that leads to ourselves, as CMake calls with a launcher what it found through masquerade, and a bare
/// one that PATH has as a link first: the compiler itself is run, never distcc once more.
#[test]
fn an_explicit_compiler_that_is_a_link_to_distcc_is_the_one_behind_it() {
    let (farm, daemon) = farm();
    let (links, more) = (
        farm.masquerade(Which::Ours, &["gcc", "clang"]),
        farm.masquerade(Which::Ours, &["gcc"]),
    );
    symlink(links.join("gcc"), farm.path("bin/gcc")).unwrap();
    let seen = farm.path("home/seen");
    let real = farm.path("bin/real");
    script(
        &farm,
        "bin/real/gcc",
        &format!(
            "echo $_DISTCC_SAFEGUARD $PATH >> {}; exec /usr/bin/gcc \"$@\"",
            seen.display()
        ),
    );
    let behind = format!("{}:/usr/bin:/bin", real.display());
    let link = links.join("gcc").display().to_string();
    let outside = farm.path("bin/gcc").display().to_string();
    for (program, folders, level) in [
        ("gcc", &[&links][..], 1),
        ("gcc", &[&links, &more, &links], 1),
        (&link, &[&links], 1),
        (&link, &[&more, &links], 1),
        (&link, &[], 1),
        (&outside, &[&links], 1),
        ("../bin/gcc", &[], 1),
    ] {
        let mut path: Vec<String> = folders
            .iter()
            .map(|folder| folder.display().to_string())
            .collect();
        path.push(behind.clone());
        let how = format!("{program} with PATH {path:?}");
        let client = farm
            .client(Which::Ours, &daemon.host())
            .env("PATH", path.join(":"));
        for words in [&[program, "-g", "-c", "x.c"][..], &[program, "-E", "x.c"]] {
            let _ = fs::remove_file(&seen);
            let ran = client.run(words).expect(0);
            let told = fs::read_to_string(&seen).unwrap();
            let expected = format!("{level} {behind}");
            assert!(told.lines().all(|line| line == expected), "{how}: {told}");
            if words.len() == 4 {
                expect_remote(ran);
            }
        }
    }
    // A file that can't be run, or a folder, of the compiler's name is passed over, as by a shell.
    farm.write("file/gcc", "");
    farm.write("folder/gcc/x", "");
    let odd = path_of(&[&farm.path("work/file"), &farm.path("work/folder")]);
    let client = farm.client(Which::Ours, &daemon.host()).env("PATH", odd);
    client.run(&["gcc", "-E", "x.c"]).expect(0);
    expect_remote(client.run(&["gcc", "-c", "x.c"]));
    // What distcc says of itself must not look like what the preprocessor says.
    let client = farm
        .client(Which::Ours, &daemon.host())
        .env("PATH", path_of(&[&links]))
        .env("DISTCC_VERBOSE", "1")
        .env("DISTCC_LOG", "");
    for program in ["gcc", "clang", &link] {
        let ran = client.run(&[program, "-c", "x.c"]).expect(0);
        assert!(!ran.stderr.contains("something to say"), "{ran}");
        assert!(ran.stderr.contains("compile x.c on 127"), "{ran}");
    }
    // No other compiler than a link is a loop still, and so is distcc as its own compiler.
    let only = farm
        .client(Which::Ours, &daemon.host())
        .env("PATH", links.display().to_string());
    only.run(&["gcc", "-E", "x.c"]).expect(111);
    only.run(&[OURS, OURS, "gcc", "-E", "x.c"]).expect(111);
    farm.expect_clean("links as compilers");
}

#[test]
fn recursion_is_refused_and_both_places_are_named() {
    let (farm, daemon) = farm();
    let links = farm.masquerade(Which::Ours, &["gcc"]);
    let more = farm.masquerade(Which::Ours, &["gcc"]);
    let bin = farm.path("bin");
    symlink(OURS, bin.join("distcc")).unwrap();
    let client = |path: String| {
        farm.client(Which::Ours, &daemon.host())
            .env("PATH", path)
            .env("DISTCC_LOG", "")
    };
    // A compiler that calls distcc by name, for ever.
    script(&farm, "bin/scripts/gcc", "exec distcc gcc \"$@\"");
    let scripts = farm.path("bin/scripts");
    let endless = client(path_of(&[&scripts, &bin]));
    let ran = endless
        .run_other(&["distcc", "gcc", "-E", "x.c"])
        .expect(111);
    let distcc = bin.join("distcc").display().to_string();
    let wrapper = scripts.join("gcc").display().to_string();
    expect_in(
        &ran.stderr,
        &[
            "distcc seems to have invoked itself recursively",
            &distcc,
            &wrapper,
        ],
    );
    let masqueraded = client(path_of(&[&links, &scripts, &bin]));
    let ran = masqueraded.run_other(&["gcc", "-E", "x.c"]).expect(111);
    let link = links.join("gcc").display().to_string();
    expect_in(&ran.stderr, &["recursively", &link, &distcc]);
    assert_eq!(ran.stderr.matches("recursively").count(), 1, "{ran}");
    // Three folders of links, of which each takes off its own.
    let third = farm.masquerade(Which::Ours, &["gcc"]);
    let ran = client(path_of(&[&links, &more, &third])).run_other(&["gcc", "-E", "x.c"]);
    let (first, last) = (links.join("gcc"), third.join("gcc"));
    let places = [&first, &last].map(|path| path.display().to_string());
    let ran = ran.expect(111);
    expect_in(&ran.stderr, &["recursively", &places[0], &places[1]]);
    // Nothing but links.
    let only_links = client(links.display().to_string());
    let ran = only_links.run_other(&["gcc", "-E", "x.c"]).expect(111);
    let why = "there is no compiler gcc on PATH besides distcc's links";
    expect_in(&ran.stderr, &["recursively", why, &link]);
    // The same for a compile, which must neither be sent nor loop.
    let ran = masqueraded.run_other(&["gcc", "-c", "x.c"]);
    assert_eq!(ran.status, 111, "{ran}");
    for level in ["1", "2", "x", ""] {
        let ran = endless.clone().env("_DISTCC_SAFEGUARD", level);
        ran.run(&["/usr/bin/gcc", "-c", "x.c"]).expect(111);
    }
    farm.expect_clean("recursion");
}

/// Put before a build distcc distributes nothing, and a distcc below it refuses: who does so is told.
#[test]
fn a_build_is_no_compiler() {
    let (farm, daemon) = farm();
    symlink(OURS, farm.path("bin/distcc")).unwrap();
    let (scripts, bin) = (farm.path("bin/scripts"), farm.path("bin"));
    let client = farm
        .client(Which::Ours, &daemon.host())
        .env("DISTCC_LOG", "");
    let client = client.env("PATH", path_of(&[&scripts, &bin]));
    for (makes, status) in [("exit 0", 0), ("exec distcc gcc -c x.c", 111)] {
        script(&farm, "bin/scripts/make", makes);
        let ran = client.run_other(&["distcc", "make", "-j4"]).expect(status);
        expect_in(
            &ran.stderr,
            &["make is no compiler", "make CC='distcc gcc'"],
        );
        assert!(!ran.stderr.contains("take its folder off PATH"), "{ran}");
    }
    assert_eq!(
        client
            .run(&["gcc", "-v"])
            .stderr
            .matches("no compiler")
            .count(),
        0
    );
}

#[test]
fn words_in_a_file_are_read_as_the_compiler_reads_them() {
    let (farm, daemon) = farm();
    farm.write("sp ace.c", SOURCE);
    farm.write("args", "-O2 -c 'sp ace.c'\n-o x.o @more");
    farm.write("more", "-DNAME=\"a b\"");
    let client = farm.client(Which::Ours, &daemon.host());
    expect_remote(client.run(&["gcc", "@args"]));
    let sent = fs::read(farm.work().join("x.o")).unwrap();
    farm.local(&["gcc", "@args"]).expect(0);
    let here = fs::read(farm.work().join("x.o")).unwrap();
    assert_eq!(common::same_bytes(&here, &sent), None);
    // A pipe can be read only once: by the compiler.
    for command in [
        "cat args | DISTCC gcc @/dev/stdin",
        "cat x.c | DISTCC gcc -x c -c /dev/stdin -o x.o",
        "cat x.c | DISTCC gcc -include /dev/stdin -c 'sp ace.c' -Df=g -o x.o",
    ] {
        check_shell(&farm, &client, command);
    }
    farm.expect_clean("words in files");
}

/// Runs a shell command with DISTCC standing for our program, and without it, and compares `x.o`.
#[track_caller]
fn check_shell(farm: &Farm, client: &Client, command: &str) {
    let object = farm.work().join("x.o");
    let run = |command: String| {
        let _ = fs::remove_file(&object);
        let ran = client.run_other(&["/bin/sh", "-c", &command]);
        (ran, fs::read(&object).unwrap_or_default())
    };
    let (ran, with) = run(command.replace("DISTCC", OURS));
    let (native, without) = run(command.replace("DISTCC ", ""));
    let difference = common::same_bytes(&without, &with);
    assert_eq!(difference, None, "{command}: {ran} but {native}");
    assert_eq!((ran.status, &ran.stderr), (native.status, &native.stderr));
}
