//! Requests of protocol 3 made by hand, and what a local compile of the same files gives.

use super::{fake, run, Daemon, BOUND};
use distcc::model::about::{self, About, Time};
use distcc::model::lzo::compress;
use distcc::model::wire::{encode_pump_head, put_file, put_link, Reply, Version};
use std::fs;
use std::os::unix::fs::{symlink, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is sent, and with [`Files::compiled_here`] also written and compiled.
#[derive(Clone, Default)]
pub struct Files {
    /// The working directory.
    pub cwd: String,
    /// The command.
    pub words: Vec<String>,
    /// Name and content; a link's text comes after an arrow.
    pub entries: Vec<(String, Entry)>,
    /// What is told, if anything.
    pub about: Option<About>,
}

/// A file or a link.
#[derive(Clone)]
pub enum Entry {
    /// Its content.
    File(Vec<u8>),
    /// Its text.
    Link(String),
}

/// What a compile gives.
#[derive(Clone, PartialEq, Eq)]
pub struct Result {
    /// Exit status or signal.
    pub status: i32,
    /// The output.
    pub object: Option<Vec<u8>>,
    /// The dependency file.
    pub deps: Option<String>,
    /// What was said.
    pub stderr: String,
}

impl Files {
    /// A command, blanks between its words, in a folder.
    pub fn new(cwd: impl AsRef<Path>, words: &str) -> Files {
        Files {
            cwd: cwd.as_ref().to_str().unwrap().to_owned(),
            words: words.split(' ').map(str::to_owned).collect(),
            ..Files::default()
        }
    }

    /// Another command.
    pub fn with_words(&self, words: &str) -> Files {
        Files {
            words: words.split(' ').map(str::to_owned).collect(),
            ..self.clone()
        }
    }

    /// A file; a relative name is meant in the working directory.
    pub fn file(mut self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) -> Files {
        let name = self.name(name.as_ref());
        let content = content.as_ref().to_vec();
        self.entries.push((name, Entry::File(content)));
        self
    }

    /// A link.
    pub fn link(mut self, name: impl AsRef<Path>, to: impl AsRef<Path>) -> Files {
        let name = self.name(name.as_ref());
        let to = to.as_ref().to_str().unwrap().to_owned();
        self.entries.push((name, Entry::Link(to)));
        self
    }

    /// Told as our client does.
    pub fn told(mut self, about: About) -> Files {
        self.about = Some(about);
        self
    }

    fn name(&self, name: &Path) -> String {
        match name.to_str().unwrap() {
            name if name.starts_with('/') || name.starts_with('!') => {
                name.trim_start_matches('!').to_owned()
            }
            name => format!("{}/{name}", self.cwd),
        }
    }

    /// The request.
    pub fn bytes(&self) -> Vec<u8> {
        let words: Vec<&[u8]> = self.words.iter().map(|word| word.as_bytes()).collect();
        let count = self.entries.len() + usize::from(self.about.is_some());
        let mut bytes = encode_pump_head(self.cwd.as_bytes(), &words, count).unwrap();
        for (name, entry) in &self.entries {
            match entry {
                Entry::File(content) => {
                    put_file(&mut bytes, name.as_bytes(), &compress(content).unwrap())
                }
                Entry::Link(to) => put_link(&mut bytes, name.as_bytes(), to.as_bytes()),
            }
            .unwrap();
        }
        if let Some(about) = &self.about {
            let mut about = about.clone();
            if about.times.is_empty() {
                about.times = self.times();
            }
            let told = compress(&about.encode()).unwrap();
            put_file(&mut bytes, about::NAME, &told).unwrap();
        }
        bytes
    }

    /// The times of the files that are really there.
    fn times(&self) -> Vec<Time> {
        let time = |(name, _): &(String, Entry)| {
            let meta = fs::symlink_metadata(name).ok();
            meta.map_or_else(Time::default, |meta| Time {
                seconds: meta.mtime(),
                nanoseconds: meta.mtime_nsec() as u32,
            })
        };
        self.entries.iter().map(time).collect()
    }

    /// The daemon's answer.
    #[track_caller]
    pub fn ask(&self, daemon: &Daemon) -> Reply {
        let bytes = fake::ask(daemon, &self.bytes());
        match &self.about {
            Some(about) if about.wants_sides => fake::reply_with_sides(&bytes),
            _ => fake::reply(Version::V3, &bytes),
        }
    }

    /// The daemon's answer, as a compile's result.
    #[track_caller]
    pub fn compiled_there(&self, daemon: &Daemon) -> Result {
        let reply = self.ask(daemon);
        Result {
            status: reply.status.exit_code().map_or(-1, i32::from),
            object: reply.object,
            deps: reply
                .deps
                .map(|deps| String::from_utf8(deps).unwrap())
                .filter(|deps| !deps.is_empty()),
            stderr: String::from_utf8_lossy(&reply.stderr).into_owned(),
        }
    }

    /// Writes the files where they say.
    pub fn write(&self) {
        for (name, entry) in &self.entries {
            let path = Path::new(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match entry {
                Entry::File(content) => fs::write(path, content).unwrap(),
                Entry::Link(to) => {
                    let _ = fs::remove_file(path);
                    symlink(to, path).unwrap();
                }
            }
        }
        fs::create_dir_all(&self.cwd).unwrap();
    }

    /// What a compile of the files here gives, `PWD` being `pwd`.
    #[track_caller]
    pub fn compiled_here(&self, pwd: Option<&Path>) -> Result {
        self.write();
        let cwd = Path::new(&self.cwd);
        let output = self.output(cwd);
        fs::create_dir_all(output.parent().unwrap()).unwrap();
        let deps = output.with_extension("d");
        for old in [&output, &deps] {
            let _ = fs::remove_file(old);
        }
        let mut command = Command::new(&self.words[0]);
        command
            .args(&self.words[1..])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("LC_ALL", "C")
            .env("PWD", pwd.unwrap_or(cwd))
            .current_dir(cwd);
        let ran = run(&mut command, BOUND);
        Result {
            status: ran.status,
            object: fs::read(&output).ok(),
            deps: fs::read_to_string(&deps).ok(),
            stderr: ran.stderr,
        }
    }

    fn output(&self, cwd: &Path) -> PathBuf {
        let at = self.words.iter().position(|word| word == "-o").unwrap();
        cwd.join(&self.words[at + 1])
    }
}

/// What differs between a daemon's result and a local one.
pub fn difference(there: &Result, here: &Result) -> Option<String> {
    if (there.status, &there.stderr) != (here.status, &here.stderr) {
        return Some(format!(
            "there {}:\n{}here {}:\n{}",
            there.status, there.stderr, here.status, here.stderr
        ));
    }
    if there.deps != here.deps {
        let text = |deps: &Option<String>| deps.clone().unwrap_or_default();
        return Some(format!(
            "there: {}here: {}",
            text(&there.deps),
            text(&here.deps)
        ));
    }
    match (&there.object, &here.object) {
        (Some(there), Some(here)) => super::same_bytes(here, there),
        (there, here) if there.is_some() != here.is_some() => Some("no object".to_owned()),
        _ => None,
    }
}

/// A small project: headers in three folders, one found by an absolute path, one through a link.
pub fn project(cwd: &Path, words: &str) -> Files {
    let absolute = cwd.parent().unwrap().join("absolute");
    Files::new(cwd, words)
        .file("x.c", SOURCE)
        .file("x.cc", SOURCE)
        .file(
            "near.h",
            "#define NEAR __FILE__\nstatic inline int near(int x) { return x - 1; }\n",
        )
        .file("inc/inc.h", "#pragma once\n#define INC __FILE__\n")
        .file(absolute.join("abs.h"), ABSOLUTE)
        .file("real/linked.h", "#define LINKED __FILE__\n")
        .link("ln", cwd.join("real"))
}

const SOURCE: &str = "\
#include <assert.h>
#include \"near.h\"
#include <inc.h>
#include <abs.h>
#include \"ln/linked.h\"
#ifdef __cplusplus
namespace { struct hidden { int x; }; }
#endif
const char *name(void) { return __FILE__ NEAR INC ABS LINKED __BASE_FILE__; }
int check(int x) { assert(x > near(x)); return abs_function(x); }
";

const ABSOLUTE: &str = "\
#define ABS __FILE__
static inline int abs_function(int x) { assert(x); return x + 2; }
";

/// How the daemon's result differs from that of a compile here.
#[track_caller]
pub fn differs(daemon: &Daemon, files: &Files) -> Option<String> {
    differs_with_pwd(daemon, files, None)
}

/// The same, where the working directory is known by another name.
#[track_caller]
pub fn differs_with_pwd(daemon: &Daemon, files: &Files, pwd: Option<&Path>) -> Option<String> {
    let here = files.compiled_here(pwd);
    let there = files.compiled_there(daemon);
    let words = files.words.join(" ");
    difference(&there, &here).map(|how| format!("{words}\n{how}\n"))
}

/// What differs over all compilers, with each of `options`, the source named from where one stands and from the root.
/// `files` makes the job of the words that come before the source.
pub fn all_that_differs(
    daemon: &Daemon,
    cwd: &Path,
    options: &[&str],
    files: impl Fn(&str) -> Files,
) -> Vec<String> {
    let mut found = Vec::new();
    for (compiler, source) in [
        ("gcc", "x.c"),
        ("g++", "x.cc"),
        ("clang", "x.c"),
        ("clang++", "x.cc"),
    ] {
        for options in options {
            for source in [source.to_owned(), cwd.join(source).display().to_string()] {
                let job = files(&format!("{compiler} {options} -c {source} -o out/x.o"));
                found.extend(differs(daemon, &job));
            }
        }
    }
    found
}
