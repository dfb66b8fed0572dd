//! What stock's clients are told: paths of files and links that have been put ready, in the form that they know.

use crate::common::have;
use crate::server::{sent_on, Server};
use std::fs;
use std::path::Path;

fn start(test: &str, options: &[&str], base: Option<&str>) -> Option<Server> {
    let variables: Vec<_> = base
        .map(|base| ("DISTCC_CLIENT_TMP", base))
        .into_iter()
        .collect();
    have(test, &["gcc"]).then(|| Server::start_with(options, &variables))
}

#[test]
fn files_links_and_folders_are_put_ready() {
    let Some(server) = start("put ready", &[], None) else {
        return;
    };
    server.write(
        "src/main.c",
        "#include <stdio.h>\n#include \"sub/../../inc/conf.h\"\n#include <e.h>\n",
    );
    server.write("inc/conf.h", "x");
    server.write("inc/e.h", "");
    fs::create_dir(server.work().join("src/sub")).unwrap();
    std::os::unix::fs::symlink("inc", server.work().join("ln")).unwrap();
    let cwd = server.at("src");
    let argv: [&[u8]; 7] = [
        b"gcc", b"-I../ln", b"-c", b"main.c", b"-o", b"main.o", b"-O2",
    ];
    let paths = server.paths(cwd.as_bytes(), &argv);
    let root = server.roots(Path::new("/dev/shm"));
    assert_eq!(root.len(), 1);
    for path in &paths {
        assert!(path.starts_with(&root[0]), "{}", path.display());
    }
    let got = sent_on(&paths);
    assert_eq!(got.names[0], server.at("src/main.c"));
    assert_eq!(got.files[&server.at("inc/conf.h")], b"x");
    assert_eq!(got.files[&server.at("inc/e.h")], b"");
    assert_eq!(got.links[&server.at("ln")], server.at("inc"));
    assert_eq!(got.links["/usr/include"], "../".repeat(22) + "usr/include");
    assert_eq!(got.folders, [server.at("src/sub")]);
    assert!(!got.spelled);
    // Files, links of the system, links of the user, folders.
    let kind = |path: &std::path::PathBuf| match fs::symlink_metadata(path).unwrap() {
        meta if meta.is_symlink() => u8::from(!path.to_string_lossy().contains("/usr/")) + 1,
        meta if meta.len() == 0 && path.ends_with("forcing_technique_271828") => 3,
        _ => 0,
    };
    assert!(paths.iter().map(kind).is_sorted());
    // The same is said again, and what is there stays.
    assert_eq!(server.paths(cwd.as_bytes(), &argv), paths);
    server.write("inc/conf.h", "y");
    assert_eq!(
        sent_on(&server.paths(cwd.as_bytes(), &argv)).files[&server.at("inc/conf.h")],
        b"y"
    );
}

#[test]
fn absolutely_spelled_files_say_their_names() {
    let Some(server) = start("absolute", &[], None) else {
        return;
    };
    server.write("inc/w.h", "\u{feff}#define W __FILE__\n");
    server.write("x.c", "#include <w.h>\n");
    let absolute = format!("gcc -I{}/../inc -c x.c", server.at("inc"));
    for _ in 0..2 {
        let relative = server.put_ready("gcc -Iinc -c x.c");
        assert!(!relative.spelled);
        assert_eq!(
            relative.files[&server.at("inc/w.h")],
            "\u{feff}#define W __FILE__\n".as_bytes()
        );
        let got = server.put_ready(&absolute);
        assert!(got.spelled);
        let line = format!(
            "\u{feff}#line 1 \"{}/../inc/w.h\"\n#define W __FILE__\n",
            server.at("inc")
        );
        assert_eq!(got.files[&server.at("inc/w.h")], line.as_bytes());
    }
    // Two spellings of one file do not get into each other's way.
    let other = format!("gcc -I{} -c x.c", server.at("inc"));
    let one = server.put_ready(&absolute).files[&server.at("inc/w.h")].clone();
    let two = server.put_ready(&other).files[&server.at("inc/w.h")].clone();
    assert_ne!(one, two);
    assert_eq!(
        server.put_ready(&absolute).files[&server.at("inc/w.h")],
        one
    );
}

#[test]
fn what_can_not_be_named_is_an_empty_list() {
    let Some(server) = start("giving up", &[], None) else {
        return;
    };
    server.write("x.c", "int x;\n");
    let cwd = server.at("");
    let cwd = cwd.as_bytes();
    let commands: [&[&[u8]]; 8] = [
        &[b"gcc", b"-c", b"nowhere.c"],
        &[b"gcc"],
        &[b""],
        &[b"gcc", b"-c", b"x.c", b""],
        &[b"gcc", b"\xff\xfe"],
        &[b"no-such-compiler", b"-c", b"x.c"],
        &[b"gcc", b"-c", b"x.c", b"y.c"],
        &[b"./nowhere/gcc", b"-c", b"x.c"],
    ];
    for argv in commands {
        assert!(server.paths(cwd, argv).is_empty(), "{argv:?}");
        assert_eq!(server.paths(cwd, &[b"gcc", b"-c", b"x.c"]).len(), 4);
    }
    assert!(server
        .paths(b"/nowhere", &[b"gcc", b"-c", b"x.c"])
        .is_empty());
    assert!(server
        .paths(b"relative", &[b"gcc", b"-c", b"x.c"])
        .is_empty());
    let said = server.stderr();
    let line =
        "Include server not covering: the source is not there for translation unit 'nowhere.c'";
    assert!(said.contains(line), "{said}");
}

#[test]
fn roots_have_three_parts_wherever_they_are() {
    for (levels, base) in [(1, "/tmp".to_owned()), (2, String::new())] {
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        let base = if levels == 1 {
            base
        } else {
            dir.path().to_str().unwrap().to_owned()
        };
        let Some(server) = start("roots", &[], Some(&base)) else {
            return;
        };
        server.write("x.c", "");
        let got = server.put_ready("gcc -c x.c");
        assert_eq!(got.names, [server.at("x.c")]);
        let roots = server.roots(Path::new(&base));
        assert_eq!(roots.len(), 1);
        assert_eq!(roots[0].join("padding").exists(), levels == 1);
        drop(server);
        assert!(!roots[0].exists());
    }
}

#[test]
fn folders_are_left_out_and_lists_written_as_the_user_wishes() {
    let Some(server) = start("options", &["--no_force_dirs", "-w", "-v", "-s"], None) else {
        return;
    };
    server.write("x.c", "#include \"d/../x.h\"\n#include <stdio.h>\n");
    server.write("x.h", "");
    fs::create_dir(server.work().join("d")).unwrap();
    let got = server.put_ready("gcc -c x.c -o x.o");
    assert_eq!((got.files.len(), got.folders.len()), (2, 0));
    let list = |name: &str| fs::read_to_string(server.work().join(name)).unwrap();
    let expected = format!("{}\n{}\n", server.at("x.c"), server.at("x.h"));
    assert_eq!(list("x.d_approx"), expected);
    assert!(list("x.d_exact").contains(&server.at("x.h")));
}
