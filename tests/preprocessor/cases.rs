//! Odd units, each by itself, from a text. A case is `== NAME | OPTIONS`, its source, and other files, each after
//! `-- NAME` or `-- LINK -> TARGET`. With `?` before its name it may be left alone, with `gcc:` it is one for gcc only.
//! `~r`, `~0` and `~f` are bytes that editors don't like.

use std::fs;
use std::path::Path;

use crate::disk::{compare_with, write, Job, Verdict};

/// A case.
pub struct Case {
    /// What it is about.
    pub name: String,
    /// The engine may say that it can't follow.
    pub may_be_left: bool,
    /// Options of the compile.
    options: Vec<String>,
    /// Names and contents; the source first.
    files: Vec<(String, String)>,
}

/// Reads all cases of a text.
pub fn read(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in text.split_inclusive('\n') {
        if let Some(rest) = line.strip_prefix("== ") {
            let (name, options) = rest.trim_end().split_once('|').unwrap_or((rest, ""));
            let options: Vec<String> = options.split_whitespace().map(str::to_owned).collect();
            let cxx = options.iter().any(|word| word.contains("++"));
            let source = if cxx { "x.cc" } else { "x.c" };
            let marked = name.trim().strip_prefix("? ");
            cases.push(Case {
                name: marked.unwrap_or(name).trim().to_owned(),
                may_be_left: marked.is_some(),
                options,
                files: vec![(source.to_owned(), String::new())],
            });
            continue;
        }
        let Some(case) = cases.last_mut() else {
            continue;
        };
        match line.strip_prefix("-- ") {
            Some(name) => case.files.push((name.trim().to_owned(), String::new())),
            None => case.files.last_mut().unwrap().1.push_str(&unescaped(line)),
        }
    }
    cases
}

fn unescaped(line: &str) -> String {
    line.replace("~r", "\r")
        .replace("~0", "\0")
        .replace("~f", "\u{c}")
}

impl Case {
    /// Compares the engine with `compiler`, which compiles for real.
    pub fn verdict(&self, compiler: &str) -> Verdict {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        for number in 0..10 {
            write(&root, &format!("marks/m{number}.h"), "");
        }
        for (name, content) in &self.files {
            match name.split_once(" -> ") {
                Some((name, target)) => link(&root, name, target),
                None => write(&root, name, content),
            }
        }
        let mut argv = vec![compiler.to_owned()];
        argv.extend(self.options.iter().cloned());
        argv.extend(["-Imarks", "-c"].map(str::to_owned));
        argv.push(self.files[0].0.clone());
        let job = Job {
            cwd: root,
            argv: argv.into_iter().map(Into::into).collect(),
        };
        compare_with(&job, true)
    }

    /// Is it a case of this compiler?
    pub fn fits(&self, compiler: &str) -> bool {
        match self.name.split_once(':') {
            Some((only, _)) if matches!(only, "gcc" | "clang") => only == compiler,
            _ => true,
        }
    }
}

fn link(root: &Path, name: &str, target: &str) {
    let full = root.join(name);
    fs::create_dir_all(full.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(target, full).unwrap();
}
