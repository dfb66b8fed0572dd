//! The include server names every file that the compiler names: for the units of real projects, as Debian has them, what it
//! sends is compared with the compiler's own list (`-M`), of gcc and of clang, and what it sends beyond that is counted.
//! With DISTCC_TESTS_WHOLE=1 all units are asked for, else some.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[path = "include_server/server.rs"]
#[allow(dead_code)]
mod server;

use common::tree::{self, bound, Tree, GIT, LIBTORRENT, LUA, PUGIXML, ZLIB};
use common::{have, in_parallel, run, skip};
use distcc::model::about;
use distcc::model::direct::{Answer, Query};
use distcc::model::entries::{Entries, Raw};
use distcc::model::path_list::folder_of;
use server::Server;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// How much more than the compiler names may be sent.
const MORE_PERCENT_MAX: usize = 10;

/// A compile, without `-c` and what says where results go.
struct Unit {
    folder: PathBuf,
    compiler: String,
    words: Vec<String>,
}

/// Files, without links and detours in their names.
type Files = BTreeSet<PathBuf>;

/// What was found for some units.
#[derive(Default)]
struct Found {
    units: usize,
    /// Files that the compiler names outside its own folders, each unit's counted.
    named: usize,
    sent: usize,
    missing: Vec<String>,
    /// What is sent beyond, and for how many units.
    more: BTreeMap<PathBuf, usize>,
}

/// Compares for each so manieth unit, all of them if the whole is wanted.
fn check(tree: &Tree, step: usize) {
    let test = format!("what is sent for {}", tree.package);
    if !have(&test, tree.needs) || !have(&test, &["clang"]) {
        return;
    }
    let Some(source) = tree::fetch(tree.package) else {
        skip(&test, "its source can't be fetched with apt-get source");
        return;
    };
    let server = Server::start();
    let step = if tree::whole().is_empty() { step } else { 1 };
    let units: Vec<Unit> = units(tree, &source, &server)
        .into_iter()
        .step_by(step)
        .collect();
    assert!(!units.is_empty(), "{test}: no units");
    for (family, instead) in [("gcc", "g"), ("clang", "clang")] {
        let found = Mutex::new(Found::default());
        in_parallel(&units, |unit| {
            let cxx = unit.compiler.contains("++");
            let program = match (cxx, instead) {
                (false, "g") => "gcc".to_owned(),
                (false, _) => "clang".to_owned(),
                (true, other) => format!("{other}++"),
            };
            compare(&server, unit, &program, &found);
        });
        report(tree, family, &found.into_inner().unwrap());
    }
}

fn report(tree: &Tree, family: &str, found: &Found) {
    let more = found.more.values().sum::<usize>();
    let percent = 100.0 * more as f64 / found.named.max(1) as f64;
    println!(
        "{} with {family}: {} units, {} files named, {} sent, {} missing, {more} more ({percent:.2} %)",
        tree.package,
        found.units,
        found.named,
        found.sent,
        found.missing.len()
    );
    for (path, units) in &found.more {
        println!("    beyond, for {units} units: {}", path.display());
    }
    assert!(found.missing.is_empty(), "{:#?}", found.missing);
    assert!(found.named >= found.units, "a unit names its source");
    assert!(
        more * 100 <= found.named * MORE_PERCENT_MAX,
        "too much is sent"
    );
}

/// The compiles of a build in a copy of the tree, done by a compiler that only takes notes.
fn units(tree: &Tree, source: &Path, server: &Server) -> Vec<Unit> {
    let place = server.work().join("tree");
    let notes = server.work().join("notes");
    let note = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/note-compile");
    tree::copy(source, &place);
    let shell = |commands: &str| {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", commands])
            .env("CC", "gcc")
            .env("CXX", "g++")
            .env("LAUNCH", format!("{} ", note.display()))
            .env("FLAGS", "")
            .env("WHOLE", tree::whole())
            .env("PWD", &place)
            .current_dir(&place);
        command
    };
    run(&mut shell(tree.configure), bound()).expect(0);
    // Programs can't be linked from empty objects.
    let mut build = shell(tree.build);
    let built = run(build.env("NOTES", &notes).env("MAKEFLAGS", "-k"), bound());
    let text = std::fs::read_to_string(notes).unwrap_or_else(|err| panic!("{err}: {built}"));
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.iter().map(|line| unit(line)).collect()
}

fn unit(line: &str) -> Unit {
    let mut parts = line.split('\t').map(str::to_owned);
    let folder = parts.next().unwrap().into();
    let compiler = parts.nth(1).unwrap();
    Unit {
        folder,
        compiler,
        words: parts.collect(),
    }
}

fn compare(server: &Server, unit: &Unit, program: &str, found: &Mutex<Found>) {
    let named = named_by_compiler(unit, program);
    let own = own_folders(program);
    let of_user = |path: &&PathBuf| !own.iter().any(|folder| path.starts_with(folder));
    let of_user: Files = named.iter().filter(of_user).cloned().collect();
    let sent = sent(server, unit, program, false);
    let with_system = sent_with_system(server, unit, program);
    let what = |path: &PathBuf| {
        let words = unit.words.join(" ");
        let folder = unit.folder.display();
        format!("{}: {folder}: {program} {words}", path.display())
    };
    let mut found = found.lock().unwrap();
    found.units += 1;
    found.named += of_user.len();
    found.sent += sent.len();
    found.missing.extend(of_user.difference(&sent).map(what));
    found
        .missing
        .extend(named.difference(&with_system).map(what));
    for path in sent.difference(&of_user) {
        *found.more.entry(path.clone()).or_default() += 1;
    }
}

/// All that the compiler reads for a unit, as it says itself.
fn named_by_compiler(unit: &Unit, program: &str) -> Files {
    let mut command = Command::new(program);
    command
        .args(&unit.words)
        .arg("-M")
        .current_dir(&unit.folder);
    let rule = run(&mut command, bound()).expect(0).stdout;
    let (_, names) = rule.split_once(": ").unwrap();
    assert!(!names.contains("\\ "), "names with blanks: {names}");
    names
        .split_whitespace()
        .filter(|word| *word != "\\")
        .map(|name| {
            let path = unit
                .folder
                .join(name.replace("\\#", "#").replace("$$", "$"));
            path.canonicalize()
                .unwrap_or_else(|err| panic!("{name}: {err}"))
        })
        .collect()
}

/// The folders that are searched without being asked for.
fn own_folders(program: &str) -> Files {
    let mut command = Command::new(program);
    command.args(["-E", "-v", "-x", "c++", "/dev/null"]);
    let said = run(&mut command, bound()).expect(0).stderr;
    let (_, rest) = said
        .split_once("#include <...> search starts here:\n")
        .unwrap();
    let (list, _) = rest.split_once("End of search list").unwrap();
    let folders: Files = list
        .lines()
        .filter_map(|line| Path::new(line.trim()).canonicalize().ok())
        .collect();
    assert!(folders.contains(Path::new("/usr/include")), "{said}");
    folders
}

/// What is sent for a unit; the system's headers, too, if they are wanted.
fn sent(server: &Server, unit: &Unit, program: &str, hermetic: bool) -> Files {
    let folder = unit.folder.as_os_str().as_bytes().to_vec();
    let compiler = [program, "-c", "-o", "x.o"].map(str::to_owned);
    let words = compiler.iter().chain(&unit.words);
    let query = Query {
        pwd: folder.clone(),
        cwd: folder,
        program: format!("/usr/bin/{program}").into_bytes(),
        argv: words.map(|word| word.clone().into_bytes()).collect(),
        hermetic,
        ..Query::default()
    };
    let covered = match server.ask(&query) {
        Answer::Covered(covered) => covered,
        Answer::NotCovered(why) => panic!("{why}: {program} {:?}", unit.words),
    };
    let entries = Entries::of(&covered.entries).map(Result::unwrap);
    entries
        .filter_map(|entry| match entry {
            Raw::File(name, _) if name != about::NAME && folder_of(name).is_none() => {
                Some(Path::new(OsStr::from_bytes(name)).canonicalize().unwrap())
            }
            _ => None,
        })
        .collect()
}

fn sent_with_system(server: &Server, unit: &Unit, program: &str) -> Files {
    sent(server, unit, program, true)
}

#[test]
fn lua() {
    check(&LUA, 1);
}

#[test]
fn zlib() {
    check(&ZLIB, 1);
}

#[test]
fn pugixml() {
    check(&PUGIXML, 4);
}

#[test]
fn git() {
    check(&GIT, 2);
}

#[test]
fn libtorrent_on_boost() {
    if !Path::new("/usr/include/boost/asio.hpp").exists() {
        skip(
            "what is sent for libtorrent",
            "libboost-dev is not installed",
        );
        return;
    }
    check(&LIBTORRENT, 1);
}
