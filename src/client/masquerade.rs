//! Which compiler is really meant: PATH without our own links, and the guard against being called by ourselves.
//! Names and folders are looked at here; nothing is run.

use crate::model::error::{Code, Error, Result};
use crate::model::family::build;
use crate::os::files::program;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Counts how deep distcc has been called by itself; a number, set for every child that may be a compiler.
const SAFEGUARD: &str = "_DISTCC_SAFEGUARD";

/// What the outermost distcc was called as, for the message about recursion only.
const CALLED_AS: &str = "_DISTCC_CALLED_AS";

/// What the last one ran, as it was named, for the same message.
const RUNS: &str = "_DISTCC_RUNS";

/// PATH as the compiler is to see it, if it has to change.
///
/// Everything up to and including the masquerade folder goes: the folder that `called_as` names, however it is
/// spelled, or, if it was found through PATH, the first one whose entry of that name is this very program, or else
/// the first one that has an executable of that name. Later spellings of the same folder go too.
pub fn path_without_links(called_as: &OsStr, path: &OsStr) -> Option<OsString> {
    let elements: Vec<PathBuf> = env::split_paths(path).collect();
    let position = match called_as.as_encoded_bytes().contains(&b'/') {
        true => position_of_folder(called_as, &elements)?,
        false => position_of_name(called_as, &elements)?,
    };
    let links = fs::metadata(elements.get(position)?).ok();
    let rest: Vec<&PathBuf> = elements
        .iter()
        .skip(position + 1)
        .filter(|element| !is_same(links.as_ref(), fs::metadata(element).ok().as_ref()))
        .collect();
    if rest.is_empty() {
        return None;
    }
    env::join_paths(rest).ok()
}

/// What the compiler that an explicit command names stands for.
#[derive(Default, Debug)]
pub struct Meant {
    /// PATH for the compiler, if it has to change.
    pub path: Option<OsString>,
    /// Where the compiler lies on PATH, if that had to be found out.
    pub found: Option<PathBuf>,
}

/// Finds what the first word of an explicit command means on `path`, a value of PATH. A link to ourselves is the compiler
/// of its name behind our links: a word with a folder becomes that name, and the folders of such links go from PATH, so
/// that no child is distcc once more. Where nothing but links is found, all stays as it is.
pub fn meant(argv: &mut [OsString], path: Option<&OsStr>) -> Meant {
    let (Some(word), Some(path)) = (argv.first_mut(), path) else {
        return Meant::default();
    };
    let Some(name) = Path::new(word).file_name().map(OsStr::to_owned) else {
        return Meant::default();
    };
    // A distcc as compiler is a loop indeed.
    if name.to_string_lossy().contains("distcc") {
        return Meant::default();
    }
    if word.as_encoded_bytes().contains(&b'/') {
        if entry(Path::new(word), true) != Entry::OurLink {
            return Meant::default();
        }
        word.clone_from(&name);
    }
    behind_links(&name, path)
}

fn behind_links(name: &OsStr, path: &OsStr) -> Meant {
    let mut rest: Option<OsString> = None;
    for element in env::split_paths(path) {
        let candidate = element.join(name);
        match entry(&candidate, false) {
            Entry::Nothing => {}
            Entry::OurLink => {
                let before = rest.as_deref().unwrap_or(path);
                rest = path_without_links(candidate.as_os_str(), before).or(rest);
            }
            Entry::Other => {
                return Meant {
                    path: rest,
                    found: Some(candidate),
                }
            }
        }
    }
    Meant::default()
}

/// What a path may be, to somebody who looks for a compiler.
#[derive(PartialEq, Eq)]
enum Entry {
    Nothing,
    OurLink,
    Other,
}

/// Looks at one file, in one system call if neither it nor what it is a link to is called after us, nor, if asked to look
/// `well`, that lies in another folder. A link by way of a link that is missed so costs a distcc more, and no harm.
fn entry(path: &Path, well: bool) -> Entry {
    let looks_ours = |path: &Path| path.to_string_lossy().contains("distcc");
    let suspect = match fs::read_link(path) {
        Ok(target) => {
            looks_ours(&target) || well && target.as_os_str().as_encoded_bytes().contains(&b'/')
        }
        Err(err) if err.kind() == ErrorKind::InvalidInput => false,
        Err(_) => return Entry::Nothing,
    };
    if !suspect && !looks_ours(path) {
        return Entry::Other;
    }
    let found = program(path);
    match found.is_some() {
        true if is_same(fs::metadata("/proc/self/exe").ok().as_ref(), found.as_ref()) => {
            Entry::OurLink
        }
        true => Entry::Other,
        false => Entry::Nothing,
    }
}

fn position_of_folder(called_as: &OsStr, elements: &[PathBuf]) -> Option<usize> {
    let folder = match Path::new(called_as).parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("/"),
    };
    let wanted = fs::metadata(folder).ok();
    elements.iter().position(|element| {
        !element.as_os_str().is_empty()
            && (element == folder || is_same(wanted.as_ref(), fs::metadata(element).ok().as_ref()))
    })
}

fn position_of_name(name: &OsStr, elements: &[PathBuf]) -> Option<usize> {
    let me = fs::metadata("/proc/self/exe").ok();
    let found = |element: &PathBuf| {
        (!element.as_os_str().is_empty())
            .then(|| program(&element.join(name)))
            .flatten()
    };
    elements
        .iter()
        .position(|element| is_same(me.as_ref(), found(element).as_ref()))
        .or_else(|| elements.iter().position(|element| found(element).is_some()))
}

/// Whether both are the same file.
pub fn is_same(one: Option<&Metadata>, other: Option<&Metadata>) -> bool {
    matches!((one, other), (Some(one), Some(other)) if one.dev() == other.dev() && one.ino() == other.ino())
}

/// Refuses a call that came from ourselves and would go on for ever: `level` calls lie above this one, and a call
/// through a link may have one if it could take its folder off PATH.
pub fn guard_against_recursion(level: u32, path_changed: bool, called_as: &OsStr) -> Result<()> {
    if level <= u32::from(path_changed) {
        return Ok(());
    }
    let why = how_it_came(called_as);
    Err(Error::new(
        Code::Recursion,
        format!("distcc seems to have invoked itself recursively: {why}"),
    ))
}

/// How one call of ours led to this one, and the way out.
fn how_it_came(called_as: &OsStr) -> String {
    let this = whereabouts(called_as);
    let first = env::var_os(CALLED_AS).map_or("another distcc".into(), |first| {
        first.to_string_lossy().into_owned()
    });
    let runs = env::var_os(RUNS).unwrap_or_default();
    if let Some(build) = build(Path::new(&runs)) {
        return format!(
            "it was called first as {first} for {build}, and that calls {this}; {build} is no compiler: call it without \
             distcc before it, as in make CC='distcc gcc'"
        );
    }
    let compiler = whereabouts(&runs);
    let me = fs::metadata("/proc/self/exe").ok();
    let is_link = |path: &Path| is_same(me.as_ref(), program(path).as_ref());
    if runs.is_empty() || is_link(Path::new(&compiler)) {
        let path = env::var_os("PATH").unwrap_or_default();
        let is_real = |element: PathBuf| {
            let candidate = element.join(&runs);
            program(&candidate).is_some() && !is_link(&candidate)
        };
        return match runs.is_empty() || env::split_paths(&path).any(is_real) {
            true => format!(
                "it was called first as {first}, and that call led to {this}; take one of the two folders off PATH, \
                 or name the compiler by its absolute path"
            ),
            false => format!(
                "there is no compiler {} on PATH besides distcc's links, such as {compiler}; install one, or add its \
                 folder to PATH",
                runs.to_string_lossy()
            ),
        };
    }
    format!(
        "it was called first as {first}; the compiler that was found is {compiler}, and that calls {this}; take its \
         folder off PATH, or name the compiler by its absolute path"
    )
}

/// What a word that a program was called by stands for on this machine, as far as it can be found.
fn whereabouts(called_as: &OsStr) -> String {
    let path = Path::new(called_as);
    let found = match called_as.as_encoded_bytes().contains(&b'/') {
        true => std::path::absolute(path).ok(),
        false => env::var_os("PATH").and_then(|all| {
            env::split_paths(&all)
                .map(|element| element.join(path))
                .find(|candidate| program(candidate).is_some())
        }),
    };
    found
        .unwrap_or_else(|| path.to_owned())
        .to_string_lossy()
        .into_owned()
}

/// Tells all children from here on that they are called by distcc, as the compiler `runs`, and with which PATH.
pub fn mark_environment(level: u32, called_as: &OsStr, runs: &OsStr, path: Option<&OsStr>) {
    if level == 0 {
        env::set_var(CALLED_AS, whereabouts(called_as));
    }
    let below = (level + 1).min(9);
    log::debug!("setting safeguard: {SAFEGUARD}={below}");
    env::set_var(SAFEGUARD, below.to_string());
    env::set_var(RUNS, runs);
    if let Some(path) = path {
        env::set_var("PATH", path);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::{symlink, PermissionsExt};

    /// A folder `links` with an executable `gcc`, another name `alias` for it, and `real` with a `gcc` too.
    fn folders() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["links", "real"] {
            let gcc = dir.path().join(folder).join("gcc");
            fs::create_dir(gcc.parent().unwrap()).unwrap();
            fs::write(&gcc, "").unwrap();
            fs::set_permissions(&gcc, fs::Permissions::from_mode(0o755)).unwrap();
        }
        symlink(dir.path().join("links"), dir.path().join("alias")).unwrap();
        dir
    }

    fn trimmed(dir: &Path, called_as: &str, path: &[&str]) -> Option<Vec<String>> {
        let full = |name: &str| dir.join(name).to_string_lossy().into_owned();
        let path = env::join_paths(path.iter().map(|name| full(name))).unwrap();
        let called_as = called_as.replace("DIR", &dir.to_string_lossy());
        let rest = path_without_links(OsStr::new(&called_as), &path)?;
        let strip = format!("{}/", dir.display());
        Some(
            env::split_paths(&rest)
                .map(|element| element.to_string_lossy().replace(&strip, ""))
                .collect(),
        )
    }

    #[test]
    fn the_folder_is_found_however_it_is_spelled() {
        let dir = folders();
        let expected = Some(vec!["real".to_owned()]);
        for (called_as, path) in [
            ("DIR/links/gcc", ["links", "real"]),
            ("DIR/alias/gcc", ["links", "real"]),
            ("DIR/links/gcc", ["alias", "real"]),
            ("DIR/real/../links/./gcc", ["links", "real"]),
            ("gcc", ["links", "real"]),
        ] {
            assert_eq!(
                trimmed(dir.path(), called_as, &path),
                expected,
                "{called_as}"
            );
        }
    }

    #[test]
    fn all_spellings_of_the_folder_go_and_earlier_folders_too() {
        let dir = folders();
        let path = ["other", "links", "real", "alias"];
        assert_eq!(
            trimmed(dir.path(), "DIR/links/gcc", &path),
            Some(vec!["real".to_owned()])
        );
    }

    #[test]
    fn path_stays_when_nothing_matches_or_nothing_would_remain() {
        let dir = folders();
        assert_eq!(
            trimmed(dir.path(), "DIR/elsewhere/gcc", &["links", "real"]),
            None
        );
        assert_eq!(
            trimmed(dir.path(), "DIR/links/gcc", &["real", "links"]),
            None
        );
    }

    #[test]
    fn one_level_is_fine_for_a_link_that_could_leave_path() {
        let name = OsStr::new("gcc");
        assert!(guard_against_recursion(0, false, name).is_ok());
        assert!(guard_against_recursion(1, true, name).is_ok());
        for (level, changed) in [(1, false), (2, true)] {
            let err = guard_against_recursion(level, changed, name).unwrap_err();
            assert_eq!(err.code, Code::Recursion);
        }
    }
}
