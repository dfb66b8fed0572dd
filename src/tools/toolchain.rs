//! Which C-family compilers this machine has, by the names that PATH finds, and PATH without other folders of
//! distcc's or ccache's links, so that a compiler found on it is a real one.

use crate::model::family::is_compiler;
use crate::os::files::program;
use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

/// Compilers by name, each with the file that the name finds.
#[derive(Debug, Default)]
pub struct Toolchain {
    /// Sorted by name.
    pub compilers: BTreeMap<String, PathBuf>,
    /// PATH on which they were found.
    pub path: OsString,
}

/// Looks through `path`, a value of PATH.
pub fn find(path: &OsStr) -> Toolchain {
    let folders: Vec<PathBuf> = env::split_paths(path)
        .filter(|folder| folder.is_absolute() && !holds_links_only(folder))
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
        if is_compiler(&name) && program(&entry.path()).is_some() {
            compilers.entry(name).or_insert_with(|| entry.path());
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

/// Whether all that this folder holds are links to distcc, ours or another, or to ccache.
fn holds_links_only(folder: &Path) -> bool {
    let leads_away = |path: &Path| {
        let target = fs::canonicalize(path);
        let target = target.as_deref().ok().and_then(Path::file_name);
        target
            .is_some_and(|target| target == "ccache" || target.to_string_lossy().contains("distcc"))
    };
    let usual = ["cc", "gcc", "g++", "clang"];
    usual.iter().any(|name| leads_away(&folder.join(name)))
        && fs::read_dir(folder)
            .is_ok_and(|entries| entries.flatten().all(|entry| leads_away(&entry.path())))
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
}
