//! A small build, done twice at the same place by the same script: without distcc, and below `pump` on a daemon of ours
//! that preprocesses. Compares every file that the two leave.

use super::{run, same_bytes, Client, Daemon, Farm, Ran, Which, BOUND, OURS};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a client logs of a job that went in pump mode.
pub const IN_PUMP_MODE: &str = " files in pump mode";

/// What [`files`] tells of the files is in this one.
const LIST: &str = "(list)";

/// A farm with one daemon.
pub struct Pump {
    pub farm: Farm,
    pub daemon: Daemon,
}

/// Everything below the work folder, by name; what a script is compared by.
pub type Files = BTreeMap<String, Vec<u8>>;

impl Pump {
    pub fn new() -> Pump {
        let farm = Farm::new();
        let daemon = farm.daemon(Which::Ours).jobs(4).start();
        Pump { farm, daemon }
    }

    /// The host list, with this daemon as the only host.
    pub fn hosts(&self) -> String {
        format!("{}/4,cpp,lzo", self.daemon.host())
    }

    /// A client of this farm.
    pub fn client(&self) -> Client<'_> {
        self.farm.client(Which::Ours, &self.hosts())
    }

    /// Lays out `tree` (name, text) afresh in the work folder `place`, and runs `script` there with `$CC` and `$CXX` from
    /// `compilers`; below `pump` or not. Returns how it ended and all files.
    pub fn round(&self, place: &str, tree: &[(&str, &str)], script: &str, side: Side) -> Round {
        let folder = self.farm.work().join(place);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in tree {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
        }
        let (words, prefix): (&[&str], &str) = match side {
            Side::Local => (&["/bin/sh", "-ec"], ""),
            Side::Pumped => (&[OURS, "pump", "/bin/sh", "-ec"], "distcc "),
        };
        let links = self.farm.path("bin/own");
        if !links.exists() {
            fs::create_dir(&links).unwrap();
            std::os::unix::fs::symlink(OURS, links.join("distcc")).unwrap();
        }
        let client = self
            .client()
            .env("PATH", format!("{}:/usr/bin:/bin", links.display()))
            .folder(&folder);
        let mut command = Command::new(words[0]);
        let log = client.dress(command.args(&words[1..]).arg(script));
        for (name, program) in [
            ("CC", "gcc"),
            ("CXX", "g++"),
            ("CLANG", "clang"),
            ("CLANGXX", "clang++"),
        ] {
            command.env(name, format!("{prefix}{program}"));
        }
        let ran = run(command.env("PWD", &folder), BOUND);
        Round {
            ran,
            log: fs::read_to_string(log).unwrap_or_default(),
            files: files(&folder),
        }
    }

    /// Runs `script` on both sides and compares status, messages of the compilers and files. The log of the clients is
    /// returned for more.
    #[track_caller]
    pub fn same(&self, tree: &[(&str, &str)], script: &str) -> String {
        self.same_at("row", tree, script)
    }

    /// The same elsewhere below the work folder.
    #[track_caller]
    pub fn same_at(&self, place: &str, tree: &[(&str, &str)], script: &str) -> String {
        let local = self.round(place, tree, script, Side::Local);
        let pumped = self.round(place, tree, script, Side::Pumped);
        let told = format!("{script}\n{}\n--- log\n{}", pumped.ran, pumped.log);
        assert_eq!(local.ran.status, pumped.ran.status, "{}\n{told}", local.ran);
        assert_eq!(local.ran.stderr, pumped.ran.stderr, "{told}");
        let names = |files: &Files| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&local.files), names(&pumped.files), "{told}");
        for (name, bytes) in &local.files {
            let difference = same_bytes(bytes, &pumped.files[name]);
            assert_eq!(difference, None, "{name}\n{told}");
        }
        self.farm.expect_clean(script);
        pumped.log
    }

    /// The same, and all `jobs` compiles went in pump mode and none was repeated here.
    #[track_caller]
    pub fn same_by_pump(&self, jobs: usize, tree: &[(&str, &str)], script: &str) {
        let log = self.same(tree, script);
        assert_pumped(jobs, &log, script);
    }
}

/// Panics unless so many compiles went in pump mode, and none was repeated here.
#[track_caller]
pub fn assert_pumped(jobs: usize, log: &str, script: &str) {
    let processes = log.lines().filter(|line| line.contains(IN_PUMP_MODE));
    let processes = processes.filter_map(|line| line.split(' ').next());
    let pumped = processes.collect::<BTreeSet<_>>().len();
    let here = log
        .lines()
        .filter(|line| line.contains(" compiled locally: "))
        .count();
    assert_eq!(
        (pumped, here),
        (jobs, 0),
        "pumped and here: {script}\n{log}"
    );
}

/// Without distcc, or with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    Local,
    Pumped,
}

/// How one side went.
pub struct Round {
    pub ran: Ran,
    pub log: String,
    pub files: Files,
}

/// All that is in a folder, by names of any bytes.
fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(below(&entry.path()));
        }
        found.push(entry.path());
    }
    found
}

/// The files, and under a name of its own what they are: their modes, other names, and where links lead.
fn files(folder: &Path) -> Files {
    let (mut files, mut list) = (Files::new(), Vec::new());
    for path in below(folder) {
        let name = path.strip_prefix(folder).unwrap().display().to_string();
        let meta = fs::symlink_metadata(&path).unwrap();
        let names = if meta.is_file() { meta.nlink() } else { 0 };
        let target = fs::read_link(&path).unwrap_or_default();
        let mode = meta.mode();
        list.push(format!("{name} {mode:o} {names} {}\n", target.display()));
        if path.is_file() {
            // One without the right to be read is of the mode in the list.
            files.insert(name, fs::read(&path).unwrap_or_default());
        }
    }
    list.sort();
    files.insert(LIST.to_owned(), list.concat().into_bytes());
    files
}
