//! Which C-family compilers this machine has, by the names that PATH finds, and PATH without folders of distcc's or
//! ccache's links, so that a compiler found on it is a real one.

use crate::model::family::is_compiler;
use crate::os::files::program;
use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// How much of a script is read to see whom it calls.
const SCRIPT_BYTES_MAX: u64 = 4096;

/// Compilers by name, each with the file that the name finds.
#[derive(Clone, Debug, Default)]
pub struct Toolchain {
    /// Sorted by name.
    pub compilers: BTreeMap<String, PathBuf>,
    /// PATH on which they were found.
    pub path: OsString,
}

/// Looks through `path`, a value of PATH.
pub fn find(path: &OsStr) -> Toolchain {
    let folders: Vec<PathBuf> = env::split_paths(path)
        .filter(|folder| folder.is_absolute() && !is_for_links(folder))
        .collect();
    let mut compilers = BTreeMap::new();
    for entry in folders
        .iter()
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flatten()
        .flatten()
    {
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let file = entry.path();
        if is_compiler(&name)
            && program(&file).is_some()
            && !leads_away(&file)
            && !calls_distcc(&file)
        {
            compilers.entry(name).or_insert(file);
        }
    }
    let path = env::join_paths(&folders).unwrap_or_default();
    Toolchain { compilers, path }
}

impl Toolchain {
    /// The first of these names that there is.
    pub fn first_of(&self, names: &[&str]) -> Option<String> {
        let found = names
            .iter()
            .find(|name| self.compilers.contains_key(**name))?;
        Some((*found).to_owned())
    }
}

/// Whether a folder's compilers are links to distcc, ours or another, or to ccache, and most of what it holds are. Something
/// else that somebody has put beside them does not make it a folder of compilers; nor do a few such links in
/// `/usr/local/bin` make that one to be left out.
fn is_for_links(folder: &Path) -> bool {
    let usual = ["cc", "gcc", "g++", "clang"];
    if !usual.iter().any(|name| leads_away(&folder.join(name))) {
        return false;
    }
    let Ok(entries) = fs::read_dir(folder) else {
        return false;
    };
    let (links, others): (Vec<PathBuf>, Vec<PathBuf>) = entries
        .flatten()
        .map(|entry| entry.path())
        .partition(|path| leads_away(path));
    links.len() > others.len()
}

/// Whether this leads to distcc or ccache.
fn leads_away(path: &Path) -> bool {
    let target = fs::canonicalize(path);
    let target = target.as_deref().ok().and_then(Path::file_name);
    target.is_some_and(|target| target == "ccache" || target.to_string_lossy().contains("distcc"))
}

/// Whether this is a script that calls distcc, which is no compiler of its own.
pub fn calls_distcc(file: &Path) -> bool {
    let mut head = Vec::new();
    let read = File::open(file).and_then(|file| file.take(SCRIPT_BYTES_MAX).read_to_end(&mut head));
    read.is_ok() && head.starts_with(b"#!") && memchr::memmem::find(&head, b"distcc").is_some()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::symlink;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_first_real_compiler_on_path_counts() {
        let dir = tempfile::tempdir().unwrap();
        let (links, real) = (dir.path().join("links"), dir.path().join("real"));
        fs::create_dir(&links).unwrap();
        fs::create_dir(&real).unwrap();
        for program in [dir.path().join("distcc"), real.join("gcc")] {
            fs::write(&program, "").unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        }
        symlink("../distcc", links.join("gcc")).unwrap();
        let found = find(&env::join_paths([&links, &real]).unwrap());
        assert_eq!(found.path, real);
        assert_eq!(found.compilers["gcc"], real.join("gcc"));
        assert_eq!(found.first_of(&["cc", "gcc"]).unwrap(), "gcc");
        assert_eq!(found.first_of(&["clang"]), None);
    }

    #[test]
    fn what_lies_beside_links_makes_them_no_compilers() {
        let dir = tempfile::tempdir().unwrap();
        let links = dir.path().join("links");
        fs::create_dir(&links).unwrap();
        let distcc = dir.path().join("distcc");
        fs::write(&distcc, "").unwrap();
        fs::set_permissions(&distcc, fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["gcc", "cc", "g++"] {
            symlink(&distcc, links.join(name)).unwrap();
        }
        fs::write(links.join("notes"), "").unwrap();
        let found = find(links.as_os_str());
        assert!(found.compilers.is_empty() && found.path.is_empty());
        // A folder of programs stays on PATH; what is a link in it is no compiler.
        for name in ["make", "cmake", "ninja"] {
            fs::copy(&distcc, links.join(name)).unwrap();
        }
        let found = find(links.as_os_str());
        assert!(found.compilers.is_empty());
        assert_eq!(found.path, links);
    }
}
