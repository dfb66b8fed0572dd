//! The small C and C++ program that `distcc try` builds when it is given no build of one's own.

use super::toolchain::Toolchain;
use crate::model::error::{Code, Error, Result};
use crate::os::files::program;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// All files of the sample; they lie in `src/tools/sample`.
const FILES: &[(&str, &str)] = &[
    ("Makefile", include_str!("sample/Makefile")),
    ("base64.c", include_str!("sample/base64.c")),
    ("build.sh", include_str!("sample/build.sh")),
    ("crc32.c", include_str!("sample/crc32.c")),
    ("life.c", include_str!("sample/life.c")),
    ("main.c", include_str!("sample/main.c")),
    ("main.cc", include_str!("sample/main.cc")),
    ("matrix.cc", include_str!("sample/matrix.cc")),
    ("primes.c", include_str!("sample/primes.c")),
    ("random.c", include_str!("sample/random.c")),
    ("sample.h", include_str!("sample/sample.h")),
    ("sample.hpp", include_str!("sample/sample.hpp")),
    ("shapes.cc", include_str!("sample/shapes.cc")),
    ("sort.c", include_str!("sample/sort.c")),
    ("words.cc", include_str!("sample/words.cc")),
];

/// A sample that lies on disk.
#[derive(Debug)]
pub struct Sample {
    /// Where it is to be built.
    pub folder: PathBuf,
    /// What builds and runs it.
    pub command: Vec<OsString>,
}

/// Writes the sample into `folder`, which is made, and chooses how it is built: with make if there is one.
pub fn write(folder: &Path, toolchain: &Toolchain, jobs: usize) -> Result<Sample> {
    let cc = toolchain.first_of(&["cc", "gcc", "clang"]).ok_or_else(|| {
        Error::new(
            Code::CompilerMissing,
            "there is no cc, gcc or clang on PATH to build the sample with; install one, e.g. `apt-get install gcc`",
        )
    })?;
    let cxx = toolchain.first_of(&["c++", "g++", "clang++"]);
    let trouble = |err| {
        Error::io(
            format_args!("write the sample to {}", folder.display()),
            &err,
        )
    };
    fs::create_dir(folder).map_err(trouble)?;
    for (name, contents) in FILES {
        fs::write(folder.join(name), contents).map_err(trouble)?;
    }
    let has_make =
        env::split_paths(&toolchain.path).any(|folder| program(&folder.join("make")).is_some());
    let command = match has_make {
        true => with_make(&cc, cxx.as_deref(), jobs),
        false => with_shell(cc, cxx),
    };
    Ok(Sample {
        folder: folder.to_owned(),
        command: command.into_iter().map(OsString::from).collect(),
    })
}

fn with_make(cc: &str, cxx: Option<&str>, jobs: usize) -> Vec<String> {
    let target = if cxx.is_some() { "check" } else { "check-c" };
    let cxx = cxx.unwrap_or("c++");
    vec![
        "make".into(),
        format!("-j{jobs}"),
        format!("CC={cc}"),
        format!("CXX={cxx}"),
        target.into(),
    ]
}

fn with_shell(cc: String, cxx: Option<String>) -> Vec<String> {
    let mut command = vec!["sh".to_owned(), "build.sh".to_owned(), cc];
    command.extend(cxx);
    command
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::process::Command;

    #[test]
    fn builds_and_works_with_and_without_make() {
        let toolchain = super::super::toolchain::find(&env::var_os("PATH").unwrap());
        let cc = toolchain.first_of(&["cc", "gcc", "clang"]).unwrap();
        let cxx = toolchain.first_of(&["c++", "g++", "clang++"]);
        for command in [
            with_make(&cc, cxx.as_deref(), 2),
            with_shell(cc.clone(), cxx.clone()),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let sample = write(&dir.path().join("sample"), &toolchain, 2).unwrap();
            let out = Command::new(&command[0])
                .args(&command[1..])
                .env("PATH", &toolchain.path)
                .current_dir(&sample.folder)
                .output();
            let out = match out {
                Err(_) if command[0] == "make" => continue,
                out => out.unwrap(),
            };
            let said = String::from_utf8_lossy(&out.stdout).into_owned();
            assert!(
                out.status.success(),
                "{said}{}",
                String::from_utf8_lossy(&out.stderr)
            );
            assert!(said.contains("sample-c: works"));
            assert_eq!(said.contains("sample-c++: works"), cxx.is_some());
        }
    }

    #[test]
    fn every_file_is_in_the_list() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tools/sample");
        assert_eq!(fs::read_dir(folder).unwrap().count(), FILES.len());
    }
}
