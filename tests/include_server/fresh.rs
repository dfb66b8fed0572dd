//! Nothing that is answered is stale: edits, new and vanished files, replaced links, moved trees, from one request to the
//! next and without any time between.

use crate::common::have;
use crate::server::Server;
use distcc::pump::content::Want;
use distcc::pump::tree::Tree;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::sync::Arc;

const COMMAND: &str = "gcc -Ia -Ib -c x.c";

fn server(test: &str) -> Option<Server> {
    have(test, &["gcc"]).then(Server::start)
}

#[test]
fn edits_are_seen_at_once() {
    let Some(server) = server("edits") else {
        return;
    };
    for round in 0..100 {
        let source = format!("#include <h.h>\nint v{round:03};\n");
        let header = format!("#define H {round:03}\n");
        server.write("x.c", &source);
        server.write("a/h.h", &header);
        let got = server.covered(COMMAND);
        assert_eq!(got.files[&server.at("x.c")], source.as_bytes());
        assert_eq!(got.files[&server.at("a/h.h")], header.as_bytes());
    }
}

#[test]
fn directives_that_change_are_followed() {
    let Some(server) = server("directives") else {
        return;
    };
    server.write(
        "x.c",
        "#include \"conf.h\"\n#if ON\n#include \"on.h\"\n#else\n#include \"off.h\"\n#endif\n",
    );
    server.write("on.h", "");
    server.write("off.h", "");
    for round in 0..20 {
        let on = round % 2;
        server.write("conf.h", format!("#define ON {on}\n"));
        let got = server.covered(COMMAND);
        assert_eq!(got.files.contains_key(&server.at("on.h")), on == 1);
        assert_eq!(got.files.contains_key(&server.at("off.h")), on == 0);
    }
}

#[test]
fn nearer_headers_appear_and_vanish() {
    let Some(server) = server("nearer") else {
        return;
    };
    server.write("x.c", "#include <d/h.h>\n");
    server.write("b/d/h.h", "far");
    fs::create_dir(server.work().join("a")).unwrap();
    for round in 0..10 {
        let got = server.covered(COMMAND);
        assert_eq!(got.names[1], server.at("b/d/h.h"), "{round}");
        server.write("a/d/h.h", "near");
        let got = server.covered(COMMAND);
        assert_eq!(got.names[1], server.at("a/d/h.h"), "{round}");
        // The folder alone is not enough; neither is a folder of the header's name.
        match round % 3 {
            0 => fs::remove_file(server.work().join("a/d/h.h")).unwrap(),
            1 => fs::remove_dir_all(server.work().join("a/d")).unwrap(),
            _ => {
                fs::remove_file(server.work().join("a/d/h.h")).unwrap();
                fs::create_dir(server.work().join("a/d/h.h")).unwrap();
                server.covered(COMMAND);
                fs::remove_dir_all(server.work().join("a/d")).unwrap();
            }
        }
    }
    fs::remove_dir_all(server.work().join("b")).unwrap();
    server.not_covered(COMMAND);
    server.write("b/d/h.h", "back");
    assert_eq!(
        server.covered(COMMAND).files[&server.at("b/d/h.h")],
        b"back"
    );
}

#[test]
fn links_and_trees_are_replaced() {
    let Some(server) = server("replaced") else {
        return;
    };
    server.write("x.c", "#include <h.h>\n");
    server.write("one/h.h", "1");
    server.write("two/h.h", "2");
    let link = server.work().join("a");
    for round in 0..10 {
        let (target, text) = if round % 2 == 0 {
            ("one", b"1")
        } else {
            ("two", b"2")
        };
        let _ = fs::remove_file(&link);
        symlink(target, &link).unwrap();
        let got = server.covered(COMMAND);
        assert_eq!(got.files[&server.at(&format!("{target}/h.h"))], text);
        assert_eq!(got.links[&server.at("a")], server.at(target));
    }
    fs::remove_file(&link).unwrap();
    // A real folder in place of the link, then another one moved there.
    fs::rename(server.work().join("one"), &link).unwrap();
    let got = server.covered(COMMAND);
    assert_eq!(got.files[&server.at("a/h.h")], b"1");
    assert!(!got.links.contains_key(&server.at("a")));
    fs::rename(&link, server.work().join("away")).unwrap();
    fs::rename(server.work().join("two"), &link).unwrap();
    assert_eq!(server.covered(COMMAND).files[&server.at("a/h.h")], b"2");
}

#[test]
fn compilers_are_asked_again_when_their_folders_change() {
    let Some(server) = server("compiler") else {
        return;
    };
    fs::create_dir_all(server.work().join("sr/usr/include")).unwrap();
    server.write("x.c", "#include <own.h>\n");
    server.write("sr/usr/include/own.h", "later");
    let command = "gcc --sysroot=sr -c x.c";
    let got = server.covered(command);
    assert_eq!(got.names[1], server.at("sr/usr/include/own.h"));
    server.write("sr/usr/local/include/own.h", "earlier");
    let got = server.covered(command);
    assert_eq!(got.names[1], server.at("sr/usr/local/include/own.h"));
}

/// An edit that keeps size and time of modification has another time of change.
#[test]
fn times_that_are_set_back_deceive_nobody() {
    let Some(server) = server("times") else {
        return;
    };
    let path = server.write("x.c", "int a;\n");
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(1000);
    let age = || fs::File::open(&path).unwrap().set_modified(old).unwrap();
    age();
    server.covered(COMMAND);
    server.write("x.c", "int b;\n");
    age();
    assert_eq!(
        server.covered(COMMAND).files[&server.at("x.c")],
        b"int b;\n"
    );
}

/// What is written through a shared map gives a file another time only once, so it stands for edits within one tick.
#[test]
#[allow(unsafe_code)] // Whoever maps a file says that nobody shortens it.
fn a_change_without_another_time_is_seen_although_the_content_was_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let path = fs::canonicalize(dir.path()).unwrap().join("f.h");
    fs::write(&path, "#define A 1\n").unwrap();
    let file = fs::OpenOptions::new().read(true).write(true).open(&path);
    // SAFETY: only this test knows the file.
    let mut map = unsafe { memmap2::MmapMut::map_mut(&file.unwrap()).unwrap() };
    map[10] = b'2';
    let tree = Tree::default();
    let names = path.as_os_str().as_bytes().split(|byte| *byte == b'/');
    let place = names
        .filter(|name| !name.is_empty())
        .fold(Arc::clone(tree.root()), |at, name| at.child(name).unwrap());
    let want = Want::default();
    place.load(tree.clock(), tree.begin(), want).unwrap();
    let before = place.check(tree.clock(), tree.begin());
    tree.shrink(usize::MAX);
    map[10] = b'3';
    let after = place.check(tree.clock(), tree.begin());
    assert_eq!(after.identity, before.identity);
    assert_ne!(after.version, before.version);
}
