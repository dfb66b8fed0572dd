//! Which file a compiler's name means, for stock's clients, which tell the name only: the first one along `$PATH` that is
//! no link to a program that passes compiles on.

use crate::os::files;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Programs that are called by compilers' names.
const PASS_ON: &[&str] = &["distcc", "ccache", "icecc", "sccache"];

/// The compiler's file, absolute; None if there is none.
pub fn find(name: &[u8], cwd: &[u8], path: &OsStr) -> Option<Vec<u8>> {
    let cwd = Path::new(OsStr::from_bytes(cwd));
    let name = Path::new(OsStr::from_bytes(name));
    if name.as_os_str().as_bytes().contains(&b'/') {
        return bytes(cwd.join(name));
    }
    if name.as_os_str().is_empty() {
        return None;
    }
    let folders = std::env::split_paths(path);
    let files = folders.map(|folder| cwd.join(folder).join(name));
    files.filter(|file| is_compiler(file)).find_map(bytes)
}

fn bytes(path: PathBuf) -> Option<Vec<u8>> {
    Some(path.into_os_string().as_bytes().to_vec())
}

fn is_compiler(file: &Path) -> bool {
    let passes_on = |end: PathBuf| {
        let name = end.file_name().map(OsStr::to_string_lossy);
        name.is_some_and(|name| PASS_ON.iter().any(|program| name.contains(program)))
    };
    files::program(file).is_some() && !std::fs::canonicalize(file).is_ok_and(passes_on)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;
    use std::os::unix::fs::{symlink, PermissionsExt};

    #[test]
    fn links_to_those_that_pass_on_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("links")).unwrap();
        fs::create_dir(at("bin")).unwrap();
        for program in ["bin/distcc", "bin/gcc"] {
            fs::write(at(program), "").unwrap();
            fs::set_permissions(at(program), fs::Permissions::from_mode(0o755)).unwrap();
        }
        symlink("../bin/distcc", at("links/gcc")).unwrap();
        fs::write(at("links/cc"), "not to be run").unwrap();
        let path = std::env::join_paths([at("links"), at("bin")]).unwrap();
        let find = |name: &str| find(name.as_bytes(), b"/w", &path);
        let gcc = at("bin/gcc").as_os_str().as_bytes().to_vec();
        assert_eq!(find("gcc"), Some(gcc));
        assert_eq!(find("cc"), None);
        assert_eq!(find(""), None);
        assert_eq!(find("./my/gcc").as_deref(), Some(&b"/w/./my/gcc"[..]));
        assert_eq!(find("/opt/gcc").as_deref(), Some(&b"/opt/gcc"[..]));
    }
}
