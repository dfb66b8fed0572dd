//! A tree that changes at random, in the user's folders and in the system's, which are watched: after each change the
//! server that has seen everything says what one says that has seen nothing.

use crate::common::have;
use crate::server::Server;
use distcc::model::direct::Query;
use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap() % sides
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.roll(of.len())]
    }
}

const FOLDERS: [&str; 7] = ["a", "b", "a/d", "b/d", "sys", "sys/d", "sys/late"];
const NAMES: [&str; 4] = ["h.h", "g.h", "n.h", "conf.h"];
/// All of one length.
const TEXTS: [&str; 5] = [
    "#define ON 0  \n",
    "#define ON 1  \n",
    "#include <g.h>\n",
    "#undef ON //  \n",
    "#pragma once  \n",
];

fn put(path: &Path, text: &str) {
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).open(path);
    if let Ok(mut file) = file {
        let _ = file.write_all(text.as_bytes());
    }
}

fn remove(path: &Path) {
    match path.symlink_metadata() {
        Ok(about) if about.is_dir() => drop(fs::remove_dir_all(path)),
        _ => drop(fs::remove_file(path)),
    }
}

/// Changes something; says what.
fn change(dice: &mut Dice, root: &Path) -> String {
    let folder = dice.pick(&FOLDERS);
    let name = dice.pick(&NAMES);
    let path: PathBuf = root.join(folder).join(name);
    let text = dice.pick(&TEXTS);
    let beside = root.join("beside");
    let other = dice.pick(&FOLDERS);
    let kind = dice.roll(14);
    match kind {
        0 | 1 => put(&path, text),
        2 => {
            let _ = fs::write(&beside, text);
            let _ = fs::rename(&beside, &path);
        }
        3 => remove(&path),
        4 => {
            remove(&path);
            let _ = fs::create_dir(&path);
        }
        5 => {
            remove(&path);
            let _ = symlink(root.join(other).join(dice.pick(&NAMES)), &path);
        }
        6 => {
            let _ = fs::rename(root.join(folder), &beside);
            let _ = fs::rename(root.join(other), root.join(folder));
            let _ = fs::rename(&beside, root.join(other));
            remove(&beside);
        }
        7 => {
            remove(&root.join(folder));
            let _ = symlink(root.join("real"), root.join(folder));
        }
        8 => {
            let old = SystemTime::now() - Duration::from_secs(5000);
            if let Ok(file) = OpenOptions::new().write(true).open(&path) {
                let _ = (&file).write_all(text.as_bytes());
                let _ = file.set_modified(old);
            }
        }
        9 => {
            // An edit under another name of the same file.
            let link = root.join(format!("hard-{}", dice.roll(1000)));
            if fs::hard_link(&path, &link).is_ok() {
                put(&link, text);
            }
        }
        10 => {
            for link in fs::read_dir(root).unwrap().flatten() {
                if link.file_name().as_bytes().starts_with(b"hard-") {
                    put(&link.path(), text);
                }
            }
        }
        11 => {
            remove(&root.join(folder));
            let _ = fs::create_dir_all(root.join(folder));
            put(&path, text);
        }
        12 => {
            let mode = [0o000, 0o644][dice.roll(2)];
            let _ = fs::set_permissions(&path, Permissions::from_mode(mode));
        }
        _ => {
            for folder in FOLDERS {
                if !root.join(folder).exists() {
                    remove(&root.join(folder));
                    let _ = fs::create_dir_all(root.join(folder));
                }
            }
        }
    }
    format!("{kind} at {folder}/{name}, {text:?}, {other}")
}

/// The question about a source, for a gcc that takes `sys` for a folder of the system's.
fn query(server: &Server, source: &str) -> Query {
    let sys = server.at("sys");
    let script = format!("#!/bin/sh\nexec /usr/bin/gcc -isystem {sys} \"$@\"\n");
    let gcc = server.write("gcc", script);
    fs::set_permissions(&gcc, Permissions::from_mode(0o755)).unwrap();
    Query {
        program: gcc.as_os_str().as_bytes().to_vec(),
        ..server.query(&format!("gcc -Ia -Ib -c {source}"))
    }
}

/// What a watch over a folder does not tell: an edit of a file in it under a name that the file has elsewhere.
#[test]
fn files_with_names_elsewhere_are_looked_at() {
    if !have("names elsewhere", &["gcc"]) {
        return;
    }
    let server = Server::start();
    server.write("x.c", "#include <h.h>\n");
    let header = server.write("sys/h.h", TEXTS[0]);
    let query = query(&server, "x.c");
    let link = server.work().join("link");
    fs::hard_link(header, &link).unwrap();
    // So old that its identity alone tells its state.
    std::thread::sleep(Duration::from_millis(2100));
    for text in &TEXTS[1..3] {
        for _ in 0..3 {
            server.ask(&query);
        }
        put(&link, text);
        server.says_what_a_new_one_says(&query, text);
        std::thread::sleep(Duration::from_millis(2100));
    }
}

#[test]
fn a_server_that_has_seen_all_knows_no_more_than_a_new_one() {
    if !have("churn", &["gcc"]) {
        return;
    }
    let number = |name: &str, otherwise: u64| {
        std::env::var(name).map_or(otherwise, |value| value.parse().unwrap())
    };
    let server = Server::start();
    let root = server.work();
    server.write(
        "x.c",
        "#include <h.h>\n#include <d/g.h>\n#if __has_include(<n.h>)\n#include <n.h>\n#endif\n\
         #include \"a/conf.h\"\n#if ON\n#include <late/h.h>\n#endif\n#include <y.h>\n",
    );
    for folder in FOLDERS {
        for name in NAMES {
            server.write(&format!("{folder}/{name}"), TEXTS[0]);
        }
    }
    for name in ["real/h.h", "real/g.h", "real/d/g.h"] {
        server.write(name, TEXTS[1]);
    }
    server.write("sys/y.h", "");
    for name in ["y.c", "z.c"] {
        server.write(name, "#include <h.h>\n#include <d/g.h>\n");
    }
    let others = ["y.c", "z.c"].map(|source| query(&server, source));
    let query = query(&server, "x.c");
    let seed = number("SEED", 1);
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut story = Vec::new();
    let pause = number("PAUSE_MS", 0);
    for round in 0..number("STEPS", 40) {
        for _ in 0..=dice.roll(2) {
            story.push(change(&mut dice, &root));
        }
        if dice.roll(3) == 0 {
            // Now and then all is asked for again, so that it is known well.
            server.ask(&query);
        }
        std::thread::sleep(Duration::from_millis(pause));
        let last = &story[story.len().saturating_sub(6)..];
        // Those that begin likewise, so that how they begin is known.
        for query in &others {
            server.ask(query);
        }
        server.says_what_a_new_one_says(&query, &format!("seed {seed}, round {round}: {last:#?}"));
    }
}
