//! What a peer may send to break out of its job, to get in where it must not, or to wear the daemon down.
#![allow(clippy::unwrap_used)]

mod common;

use common::fake::*;
use common::{have, run, wait_for, Daemon, Farm, Which, BOUND, OURS};
use distcc::model::received::scan_received;
use distcc::model::wire::{encode_plain_request, encode_request_head, Version};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::process::Command;

/// A request whose words may hold anything.
fn words(words: &[&str], text: &str) -> Vec<u8> {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    encode_plain_request(Version::V1, &words, [text.as_bytes(), b""]).unwrap()
}

fn real(farm: &Farm) -> Daemon {
    let list = "gcc,g++,clang,clang++";
    farm.daemon(Which::Ours)
        .options(&["--compilers", list])
        .start()
}

/// Panics if a compiler was started.
#[track_caller]
fn expect_refused(daemon: &Daemon, argv: &[&str]) {
    let before = daemon.log_text();
    let answer = ask(daemon, &words(argv, "int a;\n"));
    let said = String::from_utf8_lossy(&answer);
    // Refused without a word, or with a status that no compile has.
    let refused = ["", "DONE00000001STAT00006e", "DONE00000001STAT000071"];
    assert!(
        answer.is_empty() || refused[1..].iter().any(|head| said.starts_with(head)),
        "{argv:?}: {said}\n{}",
        &daemon.log_text()[before.len()..]
    );
}

/// Whichever compiler knows them: judged by the table alone.
#[test]
fn options_of_other_versions_are_refused_too() {
    for smuggled in [
        "--ld-path=/x",
        "-foffload=-fplugin=x",
        "-fopenmp-targets=x -Xopenmp-target -load",
        "-print-prog-name=as",
        "-print-file-name=x",
        "-dumpspecs",
        "--sysroot /x -T -wrapper",
        "-fprofile-use",
        "-fprofile-sample-use=/x",
        "-fmodule-mapper=|sh",
        "-fmodules-ts -fmodule-header",
        "-fprebuilt-module-path=/x",
        "-fplugin-arg-x=y",
        "-Xclang=-load",
        "-Xanalyzer -load",
        "-cc1 -load x",
        "-load x",
        "--config-user-dir=/x",
        "--config-system-dir=/x",
        "--gcc-install-dir=/x",
        "--gcc-triple=../x",
        "-fembed-offload-object=/x",
        "-fxray-always-instrument=/x",
        "-fdiagnostics-set-output=sarif:file=/x",
        "-fdiagnostics-add-output=sarif:file=/x",
        "-fsanitize-coverage-allowlist=/x",
        "-mrelocation-model=/x",
        "-mfloat-abi=/x",
        "-Xarch_host -load",
        "-Xcuda-ptxas x",
        "-cc1as x",
        "-fthinlto-index=/x",
        "-frandom-seed=/x -wrapper sh",
    ] {
        for compiler in ["gcc", "clang-19"] {
            let line = format!("{compiler} -c a.c {smuggled} -o a.o");
            let argv: Vec<Vec<u8>> = line.split(' ').map(|word| word.into()).collect();
            assert!(scan_received(&argv).is_err(), "{line}");
        }
    }
}

#[test]
fn no_option_runs_or_names_anything() {
    if !have("hostile", &["gcc", "clang"]) {
        return;
    }
    let farm = Farm::new();
    let daemon = real(&farm);
    let noted = daemon.tmp.join("ran");
    let run = format!("sh,-c,touch {}", noted.display());
    for smuggled in [
        // gcc takes the word after -R: from there on it reads other words as options than we do.
        &["-R", "-D", "-wrapper", &run, "-R", "-D", "/etc/passwd"][..],
        &["-framework", "/etc/passwd", "-mllvm", "-wrapper", &run],
        &["-Xlinker", "-wrapper", &run],
        &["-MT", "-wrapper", &run],
        &["-filelist", "-D", "-fplugin=./x.so", "x"],
        &["-ftrapv-handler", "-I", "-fplugin=./x.so", "x"],
        &["-Tdata", "-D", "-specs=x", "x"],
        &["-mllvm", "-specs=x", "x"],
        &["-fcompare-debug=-fplugin=x -o %:getenv(HOME /x)", "x"],
        &["-Xclang", "-load", "x"],
        &["-fpass-plugin=x.so", "x"],
        &["--config", "x", "x"],
        &["-no-integrated-as", "-B.", "x"],
        &["--print-file-name", "-wrapper", &run],
        &["@x", "x"],
    ] {
        for compiler in ["gcc", "clang"] {
            let argv = [&[compiler, "-x", "c", "-c"], smuggled, &["-o", "x.o"]].concat();
            expect_refused(&daemon, &argv);
        }
    }
    for name in [
        "../gcc",
        "./gcc",
        "/usr/bin/../bin/gcc",
        "sh",
        "/bin/sh",
        ".",
        "..",
        "",
        "-c",
        "gcc\n",
        "/usr/bin/gcc/../sh",
        "gcc -wrapper sh",
        "@gcc",
    ] {
        expect_refused(&daemon, &[name, "-c", "x.c", "-o", "x.o"]);
    }
    // Ours sends no NUL.
    for name in ["gcc~", "gcc~/../sh", "~gcc"] {
        let mut bytes = words(&[name, "-c", "x.c", "-o", "x.o"], "int a;\n");
        let at = bytes.iter().position(|byte| *byte == b'~').unwrap();
        bytes[at] = 0;
        assert_eq!(ask(&daemon, &bytes), b"", "{name}");
        expect_line(&daemon, &["REJ_BAD_REQ"]);
    }
    assert!(!noted.exists());
    assert_eq!(daemon.leftovers(), [""; 0]);
}

/// A list of compilers that is not there, or says nothing, allows nothing; one that vanishes later goes on to count.
#[test]
fn a_command_list_never_fails_open() {
    let (farm, folder) = fake_farm();
    let list = farm.path("list");
    let daemon_of = |list: &std::path::Path| {
        farm.daemon(Which::Ours)
            .env("DISTCC_CMDLIST", &list.display().to_string())
    };
    let folder_of_lists = farm.path("lists");
    fs::create_dir(&folder_of_lists).unwrap();
    fs::write(&list, "\n").unwrap();
    for list in [&farm.path("none"), &folder_of_lists, &list] {
        let mut command = Command::new(OURS);
        command
            .args([
                "distccd",
                "--daemon",
                "--no-detach",
                "--log-stderr",
                "--port=0",
                "--lifetime=5",
            ])
            .env("DISTCC_CMDLIST", list);
        let ran = run(&mut command, BOUND).expect(101);
        assert!(ran.stderr.contains("DISTCC_CMDLIST"), "{ran}");
    }
    fs::write(&list, format!("{}\n", folder.join("gcc").display())).unwrap();
    let daemon = daemon_of(&list).start();
    expect_ok(&daemon);
    fs::remove_file(&list).unwrap();
    expect_ok(&daemon);
    for name in ["sh", "/bin/sh", "gcc/sh", "", "cc"] {
        expect_refused(&daemon, &[name, "-c", "x.c", "-o", "x.o"]);
    }
}

/// The last part of a name that can't be used as it is must not become an option of the compiler.
#[test]
fn names_are_not_taken_for_options() {
    let (farm, folder) = fake_farm();
    let daemon = fake_daemon(&farm, &folder).start();
    let deep = format!("{}-fake=look.c", "d/".repeat(600));
    let marker = "# 1 \"-fake=look\"\n# 1 \"/home//\"\n# 1 \"<command-line>\"\nint a;\n";
    for (name, text) in [
        ("/x/-fake=look.c", ""),
        ("/x/@look.c", ""),
        (&deep, ""),
        ("x.c", marker),
    ] {
        let argv = [
            "gcc",
            "-fdirectives-only",
            "-g",
            "-x",
            "c",
            "-c",
            name,
            "-o",
            "x.o",
        ];
        let answer = reply(Version::V1, &ask(&daemon, &words(&argv, text)));
        assert!(answer.status.success(), "{name}");
        assert!(
            !folder.join("seen").exists(),
            "{name} was read as an option"
        );
    }
    assert!(!daemon.log_text().contains(" @"), "{}", daemon.log_text());
    assert_eq!(daemon.leftovers(), [""; 0]);
}

/// Names that are long, climb, or are no text; each stays in its job.
#[test]
fn odd_names_stay_in_the_job() {
    if !have("hostile", &["gcc"]) {
        return;
    }
    let farm = Farm::new();
    let mut daemon = real(&farm);
    let long = format!("{}.c", "x".repeat(5000));
    let climbing = format!("{}etc/x.c", "../".repeat(60));
    for name in [
        "/etc/passwd.c",
        "/../../../x.c",
        &climbing,
        &long,
        "a\nb.c",
        "a\u{1b}[2J.c",
        "./-x.c",
        "in/../../in/x.c",
        "out.o/x.c",
        "%s%n.c",
    ] {
        let request = words(&["gcc", "-c", name, "-o", "/etc/x.o"], "int a;\n");
        let answer = reply(Version::V1, &ask(&daemon, &request));
        assert!(
            answer.status.success(),
            "{name}: {}",
            answer.stderr.escape_ascii()
        );
        assert!(answer.object.unwrap().starts_with(b"\x7fELF"), "{name}");
    }
    let mut bytes = words(&["gcc", "-c", "x.c", "-o", "x.o"], "int a;\n");
    let at = bytes.windows(3).position(|part| part == b"x.c").unwrap();
    bytes[at] = 0xff;
    assert!(reply(Version::V1, &ask(&daemon, &bytes)).status.success());
    for line in daemon.log_text().lines() {
        assert!(line.starts_with("distccd["), "forged: {line}");
        assert!(!line.contains('\u{1b}'), "{line}");
    }
    assert_eq!(daemon.leftovers(), [""; 0]);
    assert!(daemon.alive());
}

/// Text that was preprocessed by the client is not preprocessed once more, with our headers, if `-x c` comes with it, or it
/// becomes source again. Not even where nothing else would keep the compiler from our files.
#[test]
fn preprocessed_texts_include_nothing() {
    if !have("hostile", &["gcc"]) {
        return;
    }
    let farm = Farm::new();
    let daemon = farm.daemon(Which::Ours);
    let daemon = daemon
        .options(&["--compilers", "gcc,g++", "--sandbox=off"])
        .start();
    let text = "#include \"/etc/passwd\"\nint a;\n";
    for argv in [&["gcc", "-x", "c"][..], &["g++", "-xc++"], &["gcc"]] {
        let argv = [argv, &["-c", "x.c", "-o", "x.o"]].concat();
        let answer = reply(Version::V1, &ask(&daemon, &words(&argv, text)));
        let said = String::from_utf8_lossy(&answer.stderr).into_owned();
        assert!(!said.contains("root:"), "{argv:?}: {said}");
    }
    let marker = "# 1 \"x.c\"\n# 1 \"/home//\"\n# 1 \"<command-line>\"\n# 1 \"x.c\"\n";
    for include in [
        "#include \"/etc/passwd\"",
        "  # \tinclude </etc/passwd>",
        "%:include \"/etc/passwd\"",
        "??=include \"/etc/passwd\"",
        "#/**/include \"/etc/passwd\"",
        "#in\\\nclude \"/etc/passwd\"",
        "/* x\n*/ #import \"/etc/passwd\"",
        "#include_next \"/etc/passwd\"",
        "#define X \"/etc/passwd\"\n#include X",
        "#if __has_include(\"/etc/passwd\")\n#error root:\n#endif",
        "#pragma GCC dependency \"/etc/passwd\" root:",
    ] {
        let words = "gcc -trigraphs -fdirectives-only -g -x c -c x.c -o x.o".split(' ');
        let request = self::words(
            &words.collect::<Vec<_>>(),
            &format!("{marker}{include}\nint a;\n"),
        );
        let answer = reply(Version::V1, &ask(&daemon, &request));
        let said = String::from_utf8_lossy(&answer.stderr).into_owned();
        assert!(
            answer.status.exit_code() == Some(113) && said.contains("names files"),
            "{include}: {said}"
        );
    }
}

/// Peers that send much, and then nothing more, may not keep the memory that others wait for.
#[test]
fn slow_senders_do_not_stop_others() {
    let (farm, folder) = fake_farm();
    let mut daemon = fake_daemon(&farm, &folder).start();
    let mut head = encode_request_head(Version::V1, &[b"gcc".as_slice(), b"-c", b"x.c"]).unwrap();
    head.extend(b"DOTI0fffffff");
    let part = vec![b' '; 10 << 20];
    let slow: Vec<_> = (0..3)
        .map(|_| {
            let mut stream = connect(&daemon);
            stream.write_all(&head).unwrap();
            // The last parts are perhaps not read any more: then they would never be taken.
            stream
                .set_write_timeout(Some(std::time::Duration::from_secs(2)))
                .unwrap();
            for _ in 0..9 {
                if stream.write_all(&part).is_err() {
                    break;
                }
            }
            stream
        })
        .collect();
    expect_ok(&daemon);
    drop(slow);
    assert!(daemon.alive());
}

/// Connections that say nothing, or end anywhere, leave neither descriptors nor processes nor files.
#[test]
fn peers_that_go_away_leave_nothing() {
    let (farm, folder) = fake_farm();
    let mut daemon = fake_daemon(&farm, &folder).start();
    let proc = format!("/proc/{}", daemon.pid());
    let descriptors = || fs::read_dir(format!("{proc}/fd")).map_or(0, Iterator::count);
    expect_ok(&daemon);
    let before = descriptors();
    let idle: Vec<_> = (0..500).map(|_| connect(&daemon)).collect();
    let request = words(&["gcc", "-c", "x.c", "-o", "x.o"], "int a;\n");
    for end in 0..=request.len() {
        let mut stream = connect(&daemon);
        stream.write_all(&request[..end]).unwrap();
        if end % 2 == 0 {
            common::reset_when_closed(&stream);
        }
    }
    expect_ok(&daemon);
    drop(idle);
    wait_for("the descriptors are closed", BOUND, || {
        descriptors() <= before
    });
    let children = fs::read_to_string(format!("{proc}/task/{}/children", daemon.pid()));
    assert_eq!(children.unwrap_or_default(), "");
    assert_eq!(daemon.leftovers(), [""; 0]);
    assert!(daemon.alive());
}

#[test]
fn a_compiler_that_talks_without_end_is_stopped() {
    let (farm, folder) = fake_farm();
    let mut daemon = fake_daemon(&farm, &folder).start();
    let answer = reply(Version::V1, &job(&daemon, "gcc -fake=flood -c x.c -o x.o"));
    assert!(answer.stderr.len() <= 64 << 20);
    assert!(answer.stderr.starts_with(b"y\ny\n"));
    expect_ok(&daemon);
    assert!(daemon.alive());
}

/// What the daemon was started with is not for those whom it starts.
#[test]
fn compilers_inherit_no_descriptor() {
    let (farm, folder) = fake_farm();
    let distccd = farm.path("distccd");
    symlink(OURS, &distccd).unwrap();
    let tmp = farm.path("jobs");
    fs::create_dir_all(&tmp).unwrap();
    fs::set_permissions(&tmp, fs::Permissions::from_mode(0o777)).unwrap();
    let asked = farm.path("request");
    let words = ["gcc", "-fake=look", "-c", "x.c", "-o", "x.o"];
    fs::write(&asked, self::words(&words, "int a;\n")).unwrap();
    let mut command = Command::new("/bin/sh");
    command
        .args([
            "-c",
            "exec 7</etc/passwd; exec \"$0\" --inetd --log-stderr --sandbox=off --compilers \"$1\" <\"$2\"",
        ])
        .args([&distccd, &folder.join("gcc"), &asked])
        .env("TMPDIR", &tmp);
    let ran = run(&mut command, BOUND).expect(0);
    let seen = fs::read_to_string(folder.join("seen")).unwrap_or_default();
    assert!(seen.contains(" 0 -> /dev/null"), "{seen}\n{ran}");
    assert!(!seen.contains("passwd"), "{seen}");
}

/// Four megabytes that stand for a gigabyte are refused before they are that.
#[test]
fn a_bomb_of_lzo_does_not_go_off() {
    let (farm, folder) = fake_farm();
    let mut daemon = fake_daemon(&farm, &folder).start();
    let mut bomb = b"\x15    \x20".to_vec();
    bomb.resize(4 << 20, 0);
    bomb.extend(b"\x01\0\0\x11\0\0");
    let mut request =
        encode_request_head(Version::V2, &[b"gcc".as_slice(), b"-c", b"x.c"]).unwrap();
    request.extend(format!("DOTI{:08x}", bomb.len()).bytes());
    request.extend(bomb);
    assert_eq!(ask(&daemon, &request), b"");
    expect_line(&daemon, &["expanded bytes"]);
    expect_ok(&daemon);
    assert!(daemon.alive());
}
