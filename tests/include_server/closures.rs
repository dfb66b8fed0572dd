//! Which files, links and folders are named for a unit, and what is told beside them.

use crate::common::have;
use crate::server::{Got, Server};
use distcc::model::about::Lookup;
use std::fs;
use std::os::unix::fs::{symlink, MetadataExt};

fn server(test: &str) -> Option<Server> {
    have(test, &["gcc"]).then(Server::start)
}

/// Names below the folder for sources, without it.
fn short(server: &Server, names: impl IntoIterator<Item = String>) -> Vec<String> {
    let head = server.at("");
    let names = names.into_iter();
    let mut names: Vec<String> = names
        .map(|name| name.strip_prefix(&head).unwrap_or(&name).to_owned())
        .collect();
    names.sort();
    names
}

fn files(server: &Server, got: &Got) -> Vec<String> {
    short(server, got.names.iter().cloned())
}

#[test]
fn what_is_needed_and_no_more() {
    let Some(server) = server("closure") else {
        return;
    };
    server.write("real/deep/linked_real.h", "");
    server.write("lib/api/api.h", "#include \"linked.h\"\n");
    symlink(
        "../../real/deep/linked_real.h",
        server.work().join("lib/api/linked.h"),
    )
    .unwrap();
    server.write(
        "inc/conf.h",
        "#include \"sub/subconf.h\"\n#define HDR <computed.h>\n",
    );
    server.write("inc/sub/subconf.h", "");
    server.write("inc/computed.h", "");
    server.write("src/util.h", "");
    server.write("src/inactive.h", "");
    server.write("src/local.h", "");
    fs::create_dir(server.work().join("src/sub")).unwrap();
    server.write(
        "src/main.c",
        "#include <stdio.h>\n#include \"util.h\"\n#include \"../inc/conf.h\"\n#include <api/api.h>\n\
         #include \"sub/../local.h\"\n#ifdef NOT_DEFINED\n#include \"never.h\"\n#include \"inactive.h\"\n#endif\n\
         #include HDR\n",
    );
    // Headers of one content would be others for gcc if a second began between them.
    let now = std::time::SystemTime::now();
    for name in [
        "inc/computed.h",
        "inc/sub/subconf.h",
        "real/deep/linked_real.h",
        "src/local.h",
        "src/util.h",
    ] {
        let file = fs::File::options().write(true).open(server.at(name));
        file.unwrap().set_modified(now).unwrap();
    }
    let mut query = server.query("gcc -I../inc -I../lib -c main.c -o main.o");
    query.cwd = server.at("src").into_bytes();
    query.pwd.clone_from(&query.cwd);
    let got = server.covered_query(&query);
    assert_eq!(
        files(&server, &got),
        [
            "inc/computed.h",
            "inc/conf.h",
            "inc/sub/subconf.h",
            "lib/api/api.h",
            "real/deep/linked_real.h",
            "src/local.h",
            "src/main.c",
            "src/util.h"
        ]
    );
    assert_eq!(got.names[0], server.at("src/main.c"));
    let link = server.at("lib/api/linked.h");
    assert_eq!(got.links[&link], server.at("real/deep/linked_real.h"));
    assert_eq!(short(&server, got.folders.clone()), ["src/sub"]);
    let system = "../".repeat(22) + "usr/include";
    assert_eq!(got.links["/usr/include"], system);
    assert!(!got.needs_ours && !got.spelled);
    assert_eq!(server.covered_query(&query).names, got.names, "from memory");
}

#[test]
fn links_are_replicated_with_their_ends() {
    let Some(server) = server("links") else {
        return;
    };
    server.write("lk/real/r.h", "");
    server.write("inc/conf.h", "");
    fs::create_dir_all(server.work().join("lk/abs")).unwrap();
    symlink("real", server.work().join("lk/ln")).unwrap();
    symlink("ln", server.work().join("lk/chain")).unwrap();
    symlink("../real/r.h", server.work().join("lk/abs/r2.h")).unwrap();
    symlink(server.at("inc"), server.work().join("lk/absln")).unwrap();
    symlink(server.at("lk"), server.work().join("unused")).unwrap();
    server.write(
        "lk/m.c",
        "#include \"ln/r.h\"\n#include \"chain/r.h\"\n#include \"abs/r2.h\"\n#include \"absln/conf.h\"\n",
    );
    let mut query = server.query("gcc -c m.c");
    query.cwd = server.at("lk").into_bytes();
    query.pwd.clone_from(&query.cwd);
    let got = server.covered_query(&query);
    assert_eq!(
        files(&server, &got),
        ["inc/conf.h", "lk/m.c", "lk/real/r.h"]
    );
    for (link, target) in [
        ("lk/ln", "lk/real"),
        ("lk/chain", "lk/real"),
        ("lk/abs/r2.h", "lk/real/r.h"),
        ("lk/absln", "inc"),
    ] {
        assert_eq!(got.links[&server.at(link)], server.at(target), "{link}");
    }
    assert_eq!(got.links.get(&server.at("unused")), None);
    // The next unit has nothing to do with them.
    server.write("other.c", "");
    let other = server.covered("gcc -c other.c");
    let of_user = other.links.keys().filter(|name| !name.starts_with("/usr"));
    assert_eq!(of_user.count(), 0);
    assert_eq!(other.folders, Vec::<String>::new());
}

#[test]
fn names_and_bytes_are_of_any_kind() {
    let Some(server) = server("names") else {
        return;
    };
    let names = [
        "with blank.h",
        "a@b~c=d:e.h",
        "(x)&%!.h",
        "grüße.h",
        "comma,back\\slash.h",
    ];
    let mut text = String::from("const char *s = \"café 🦀\";\n");
    for name in names {
        server.write(name, "");
        text += &format!("%:include \"{name}\"\n#inc\\\nlude \"{name}\"\n");
    }
    server.write("x.c", &text);
    let got = server.covered("gcc -c x.c");
    assert_eq!(got.files.len(), names.len() + 1);
    assert_eq!(got.files[&server.at("x.c")], text.as_bytes());
    // Not UTF-8, in the text and in the command.
    use std::os::unix::ffi::OsStrExt;
    let odd = std::ffi::OsStr::from_bytes(b"\xff\xfe");
    fs::create_dir(server.work().join(odd)).unwrap();
    fs::write(server.work().join(odd).join("\u{e9}.h"), b"\xff").unwrap();
    fs::write(server.work().join("y.c"), b"#include <\xc3\xa9.h>\n").unwrap();
    let mut query = server.query("gcc -c y.c");
    query.argv.push(b"-I\xff\xfe".to_vec());
    let got = server.covered_query(&query);
    assert!(got.files.values().any(|bytes| bytes == b"\xff"));
}

#[test]
fn probes_and_embedded_files_are_sent() {
    let Some(server) = server("probes") else {
        return;
    };
    server.write("there.h", "#error never read\n");
    server.write("blob.bin", [0_u8, 1, 2, 255]);
    server.write(
        "x.c",
        "#if __has_include(\"there.h\") && !__has_include(\"nowhere.h\")\nint a;\n#endif\n\
         #if __has_include(<stdint.h>)\nint b;\n#endif\n__asm__(\".incbin \\\"blob.bin\\\"\");\n",
    );
    let got = server.covered("gcc -c x.c");
    assert_eq!(files(&server, &got), ["blob.bin", "there.h", "x.c"]);
    let found = |wanted: &[u8]| {
        let told =
            |lookup: &&Lookup| matches!(lookup, Lookup::Found { name, .. } if name == wanted);
        got.about.system.iter().any(|lookup| told(&lookup))
    };
    assert!(found(b"stdint.h"));
    let missed =
        |lookup: &Lookup| matches!(lookup, Lookup::Missing { name, .. } if name == b"nowhere.h");
    assert!(
        got.about.system.iter().any(missed),
        "{:?}",
        got.about.system
    );
}

/// Each of them, also where one answer has done for all names with that folder.
#[test]
fn a_host_is_told_what_its_folders_must_not_have() {
    let Some(server) = server("after the system") else {
        return;
    };
    let names = ["own/a.h", "own/b.h", "plain.h", "own/c.h"];
    for name in names {
        server.write(&format!("far/{name}"), "");
    }
    let includes = names.map(|name| format!("#include <{name}>\n")).concat();
    server.write("x.c", includes + "#include <sys/types.h>\n");
    let got = server.covered("gcc -idirafter far -c x.c");
    let told = |path: &[u8]| {
        let nothing =
            |lookup: &&Lookup| matches!(lookup, Lookup::Nothing { path: told } if told == path);
        got.about.system.iter().filter(nothing).count()
    };
    assert!(got.about.system_dirs.len() > 2);
    for dir in &got.about.system_dirs {
        for name in names {
            let path = [dir, name.as_bytes()].join(&b'/');
            assert_eq!(told(&path), 1, "{}", String::from_utf8_lossy(&path));
        }
    }
    // And of the first header's precompiled form, which gcc would take.
    server.write(
        "y.c",
        "#if __has_include(<own/no.h>)\n#endif\n#include <own/a.h>\n",
    );
    let got = server.covered("gcc -idirafter far -c y.c");
    for dir in &got.about.system_dirs {
        for name in ["own/no.h.gch", "own/a.h.gch"] {
            let path = [dir, name.as_bytes()].join(&b'/');
            let nothing =
                |lookup: &Lookup| matches!(lookup, Lookup::Nothing { path: told } if *told == path);
            let is_told = got.about.system.iter().any(nothing);
            assert!(is_told, "{}", String::from_utf8_lossy(&path));
        }
    }
}

#[test]
fn absolute_includes_count_where_they_are_met() {
    let Some(server) = server("absolute") else {
        return;
    };
    let header = server.write("far/h.h", "");
    let line = format!("#include \"{}\"\n", header.display());
    server.write("off.c", format!("#if 0\n{line}#endif\n/*\n{line}*/\n"));
    let got = server.covered("gcc -c off.c");
    assert_eq!((got.names.len(), got.needs_ours), (1, false));
    server.write("on.c", &line);
    let got = server.covered("gcc -c on.c");
    assert_eq!(files(&server, &got), ["far/h.h", "on.c"]);
    assert!(got.needs_ours && got.about.needs_paths);
    // What one unit met does not concern the next one.
    assert!(!server.covered("gcc -c off.c").needs_ours);
}

#[test]
fn stock_hosts_get_their_own_form() {
    let Some(server) = server("for stock") else {
        return;
    };
    server.write("inc/w.h", "\u{feff}#define W __FILE__\n");
    server.write("a/all.h", "#pragma once\nint x;\n");
    server.write("b/all.h", "#pragma once\nint x;\n");
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(100);
    let twin = fs::File::open(server.work().join("b/all.h")).unwrap();
    twin.set_modified(old).unwrap();
    server.write(
        "x.c",
        "#include \"a/all.h\"\n#include \"b/all.h\"\n#include <w.h>\n",
    );
    for (folder, spelled) in [
        ("inc".to_owned(), false),
        (server.at("inc"), true),
        ("inc".to_owned(), false),
    ] {
        let mut query = server.query(&format!("gcc -I{folder} -c x.c"));
        let ours = server.covered_query(&query);
        assert!(ours.spelled, "twins and names need another form");
        assert!(ours.files[&server.at("inc/w.h")].starts_with("\u{feff}#define".as_bytes()));
        query.for_stock = true;
        let theirs = server.covered_query(&query);
        let line = format!("\u{feff}#line 1 \"{folder}/w.h\"\n#define");
        let header = &theirs.files[&server.at("inc/w.h")];
        assert_eq!(header.starts_with(line.as_bytes()), spelled);
        let twins = ["a/all.h", "b/all.h"].map(|name| &theirs.files[&server.at(name)]);
        assert_ne!(twins[0], twins[1]);
        assert!(!theirs.needs_ours);
    }
}

#[test]
fn a_sysroot_of_the_user_is_his() {
    let Some(server) = server("sysroot") else {
        return;
    };
    server.write("sr/usr/include/own.h", "");
    server.write("x.c", "#include <own.h>\n#include <stddef.h>\n");
    let got = server.covered("gcc --sysroot=sr -c x.c");
    assert_eq!(files(&server, &got), ["sr/usr/include/own.h", "x.c"]);
    assert!(!got.needs_ours);
    let absolute = format!("gcc --sysroot={} -c x.c", server.at("sr"));
    assert!(server.covered(&absolute).needs_ours);
}

#[test]
fn system_headers_travel_when_they_are_asked_for() {
    let Some(server) = server("hermetic") else {
        return;
    };
    server.write("x.c", "#include <stdio.h>\n");
    let plain = server.covered("gcc -c x.c");
    assert_eq!(plain.names.len(), 1);
    let mut query = server.query("gcc -c x.c");
    query.hermetic = true;
    let got = server.covered_query(&query);
    assert!(got.files.contains_key("/usr/include/stdio.h"));
    assert!(got.about.hermetic && got.about.system.is_empty());
    let dirs = &got.about.system_dirs;
    assert!(dirs.iter().any(|dir| dir == b"/usr/include"), "{dirs:?}");
    assert!(!got.links.values().any(|target| target.starts_with("../")));
}

#[test]
fn what_a_host_missed_is_added() {
    let Some(server) = server("missed") else {
        return;
    };
    server.write("x.c", "");
    server.write("odd/extra.txt", "extra");
    let mut query = server.query("gcc -c x.c");
    query.missed = vec![
        b"odd/extra.txt".to_vec(),
        b"nowhere".to_vec(),
        b"/usr/include/stdio.h".to_vec(),
    ];
    let got = server.covered_query(&query);
    assert_eq!(files(&server, &got), ["odd/extra.txt", "x.c"]);
    assert_eq!(server.covered("gcc -c x.c").names.len(), 1);
}

#[test]
fn the_entry_for_our_daemon_tells_all() {
    let Some(server) = server("about") else {
        return;
    };
    server.write("x.c", "#include \"y.h\"\n#include <stdio.h>\n");
    server.write("y.h", "");
    symlink(server.work(), server.work().join("pwd")).unwrap();
    let mut query = server.query("gcc -g -c x.c");
    query.pwd = server.at("pwd").into_bytes();
    query.variables = vec![
        b"TZ=UTC".to_vec(),
        b"LANG=C=x".to_vec(),
        b"OTHER=1".to_vec(),
    ];
    let got = server.covered_query(&query);
    assert!(
        got.needs_ours,
        "its debug information names the folder otherwise"
    );
    assert_eq!(got.about.pwd.as_deref(), Some(query.pwd.as_slice()));
    assert_eq!(
        got.links[&server.at("pwd")],
        server.at("").trim_end_matches('/')
    );
    let variables =
        [("LANG", "C=x"), ("TZ", "UTC")].map(|(name, value)| (name.into(), value.into()));
    assert_eq!(got.about.variables, variables);
    for (name, time) in got.names.iter().zip(&got.about.times) {
        let meta = fs::metadata(name).unwrap();
        assert_eq!(
            (time.seconds, i64::from(time.nanoseconds)),
            (meta.mtime(), meta.mtime_nsec())
        );
    }
    let stdio = distcc::model::about::content_hash(&fs::read("/usr/include/stdio.h").unwrap());
    let number = |dir: &[u8]| got.about.system_dirs.iter().position(|known| known == dir);
    let at = number(b"/usr/include").unwrap();
    let expected = Lookup::Found {
        start: 0,
        at: u16::try_from(at).unwrap(),
        hash: stdio,
        name: b"stdio.h".to_vec(),
    };
    assert!(
        got.about.system.contains(&expected),
        "{:?}",
        got.about.system
    );
    query.pwd.clone_from(&query.cwd);
    assert_eq!(server.covered_query(&query).about.pwd, None);
}

#[test]
fn time_of_day_and_other_things_go_another_way() {
    let Some(server) = server("not covered") else {
        return;
    };
    server.write("time.c", "const char *t = __TIME__;\n");
    server.write("plain.c", "");
    server.write("pieces.c", "const char *d = J(__DA, TE__);\n");
    server.write("x.i", "");
    for (command, why) in [
        ("gcc -c time.c", "__TIME__"),
        ("gcc -DT=__DATE__ -c plain.c", "__DATE__"),
        ("gcc -DJ(a,b)=a##b -c pieces.c", "__DATE__"),
        ("gcc -c nowhere.c", "not there"),
        ("gcc -c x.i", "preprocessed"),
        ("gcc plain.c", "-c"),
        ("no-such-compiler -c plain.c", "no-such-compiler"),
    ] {
        let said = server.not_covered(command);
        assert!(said.contains(why), "{command}: {said}");
    }
    server.write("quoted.c", "// __TIME__\nconst char *t = \"x\";\n");
    server.covered("gcc -c quoted.c");
}

#[test]
fn frameworks_are_looked_into() {
    let Some(server) = have("frameworks", &["clang"]).then(Server::start) else {
        return;
    };
    server.write("fw/Foo.framework/Headers/Bar.h", "#include \"Own.h\"\n");
    server.write("fw/Foo.framework/Headers/Own.h", "");
    server.write("x.c", "#include <Foo/Bar.h>\n");
    let got = server.covered("clang -F fw -c x.c");
    assert_eq!(
        files(&server, &got),
        [
            "fw/Foo.framework/Headers/Bar.h",
            "fw/Foo.framework/Headers/Own.h",
            "x.c"
        ]
    );
    // One that it has not says nothing of the others.
    server.write("z/Foo/Own.h", "#error the wrong one\n");
    server.write(
        "y.c",
        "#if __has_include(<Foo/None.h>)\n#endif\n#include <Foo/Own.h>\n",
    );
    let got = server.covered("clang -F fw -idirafter z -c y.c");
    let own = "fw/Foo.framework/Headers/Own.h";
    assert_eq!(files(&server, &got), [own, "y.c"]);
}
