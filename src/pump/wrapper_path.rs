//! Where distcc's own programs are, and PATH on which they are found first. What a compiler's name means never changes
//! by that: a folder of links to distcc, or to anything else, keeps its place before the real compilers.

use crate::model::error::{Code, Error, Result};
use crate::model::family::is_compiler;
use crate::os::files::program;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What PATH has to become.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// Our distcc is the first one on it already, or it says nothing.
    None,
    /// This is it.
    To(OsString),
    /// The other distcc in this folder stands where ours could only get by taking a compiler's place.
    Impossible(PathBuf),
}

/// The folder of the distcc that is to be used: `given` (`$DISTCC_LOCATION`), else that of this program.
pub fn location(given: Option<OsString>, called_as: &OsStr) -> Result<PathBuf> {
    let Some(given) = given.filter(|given| !given.is_empty()) else {
        let folders = [env::current_exe().ok(), target_of(Path::new(called_as))];
        let folders = folders.iter().flatten().filter_map(|path| path.parent());
        let mut all = folders.map(Path::to_owned);
        let first = all.next().unwrap_or_default();
        return Ok(match distcc_in(&first) {
            Some(_) => first,
            None => all
                .find(|folder| distcc_in(folder).is_some())
                .unwrap_or(first),
        });
    };
    let folder = std::path::absolute(&given).unwrap_or_else(|_| given.into());
    match distcc_in(&folder) {
        Some(_) => Ok(folder),
        None => Err(Error::new(
            Code::Unpumped,
            format!(
                "can't find distcc (looked in {}, which $DISTCC_LOCATION names)",
                folder.display()
            ),
        )),
    }
}

/// What this program was called by, if it was a path; one link is followed.
fn target_of(called_as: &Path) -> Option<PathBuf> {
    let folder = called_as.parent()?;
    if folder.as_os_str().is_empty() {
        return None;
    }
    let target = fs::read_link(called_as).map_or(called_as.to_owned(), |to| folder.join(to));
    std::path::absolute(target).ok()
}

fn distcc_in(folder: &Path) -> Option<Metadata> {
    program(&folder.join("distcc"))
}

/// What `path`, a value of PATH, has to become so that the distcc in `location` is found.
pub fn change(location: &Path, path: &OsStr) -> Change {
    let Some(ours) = distcc_in(location) else {
        return Change::None;
    };
    let mut elements: Vec<PathBuf> = env::split_paths(path).collect();
    let first = elements.iter().position(|element| holds(element, "distcc"));
    let other = first.and_then(|first| distcc_in(&elements[first]));
    if other.is_some_and(|other| is_same(&ours, &other)) {
        return Change::None;
    }
    // As late as can be: what is found before stays what it is.
    let place = first.unwrap_or(elements.len());
    if place < place_for(location, &elements) {
        return Change::Impossible(elements.swap_remove(place));
    }
    elements.insert(place, location.to_owned());
    env::join_paths(elements).map_or(Change::None, Change::To)
}

/// The first place on PATH at which `location` is not found before any compiler that is found now and is another one.
fn place_for(location: &Path, elements: &[PathBuf]) -> usize {
    let names = fs::read_dir(location).into_iter().flatten().flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let behind = names.filter(|name| is_compiler(name)).map(|name| {
        let Some(own) = program(&location.join(&name)) else {
            return 0;
        };
        let found = elements.iter().position(|element| holds(element, &name));
        let is_other = |at: &usize| {
            program(&elements[*at].join(&name)).is_some_and(|other| !is_same(&own, &other))
        };
        found.filter(is_other).map_or(0, |at| at + 1)
    });
    behind.max().unwrap_or(0)
}

/// An empty element is the working directory, which is another one for each program of a build.
fn holds(element: &Path, name: &str) -> bool {
    !element.as_os_str().is_empty() && program(&element.join(name)).is_some()
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::{symlink, PermissionsExt};

    /// Folders with programs, by name; `distcc` in `ours` is ours, and `links` has links to it.
    fn folders() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for path in [
            "ours/distcc",
            "bin/distcc",
            "bin/gcc",
            "bin/g++-12",
            "other/distcc",
            "plain/make",
            "real/gcc",
            "scripts/gcc",
        ] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        for (folder, target) in [
            ("links", "../ours/distcc"),
            ("links-to-bin", "../bin/distcc"),
        ] {
            fs::create_dir(dir.path().join(folder)).unwrap();
            symlink(target, dir.path().join(folder).join("gcc")).unwrap();
        }
        fs::create_dir(dir.path().join("linked")).unwrap();
        symlink("../ours/distcc", dir.path().join("linked/distcc")).unwrap();
        dir
    }

    fn changed(dir: &Path, location: &str, path: &str) -> String {
        let strip = format!("{}/", dir.display());
        let full = path.split(':').map(|name| match name {
            "" => PathBuf::new(),
            name => dir.join(name),
        });
        let path = env::join_paths(full).unwrap();
        match change(&dir.join(location), &path) {
            Change::None => "none".to_owned(),
            Change::To(path) => path.to_str().unwrap().replace(&strip, ""),
            Change::Impossible(folder) => {
                format!("not before {}", folder.display()).replace(&strip, "")
            }
        }
    }

    #[test]
    fn path_changes_only_what_distcc_means() {
        let dir = folders();
        for (location, path, expected) in [
            ("ours", "ours:real", "none"),
            ("ours", "linked:real", "none"),
            ("ours", "real:ours:other", "none"),
            ("missing", "real", "none"),
            ("ours", "real:other", "real:ours:other"),
            ("ours", "links:other:real", "links:ours:other:real"),
            ("ours", "links:real", "links:real:ours"),
            ("ours", "", ":ours"),
            // Stock would put it first, and no link of the masquerade folder would be found any more.
            ("bin", "links-to-bin:bin:real", "none"),
            ("bin", "links-to-bin:real", "links-to-bin:real:bin"),
            ("bin", "scripts:plain:other", "scripts:plain:bin:other"),
            ("bin", "plain:other:plain", "plain:bin:other:plain"),
            ("bin", "other:real", "not before other"),
        ] {
            let found = changed(dir.path(), location, path);
            assert_eq!(found, expected, "{location} on {path}");
        }
    }

    #[test]
    fn the_location_is_given_or_our_own() {
        let dir = folders();
        let at = |name: &str| dir.path().join(name);
        let given = |name: &str| location(Some(at(name).into()), OsStr::new("pump"));
        assert_eq!(given("ours").unwrap(), at("ours"));
        let err = given("real").unwrap_err();
        assert_eq!(err.code, Code::Unpumped);
        assert!(
            err.message.contains("can't find distcc (looked in /"),
            "{err}"
        );
        // The program of this test is no distcc, so what it was called by decides.
        symlink("../ours/distcc", at("plain/pump")).unwrap();
        let called_as = at("plain/pump");
        let found = location(Some(OsString::new()), called_as.as_os_str()).unwrap();
        assert_eq!(
            found.canonicalize().unwrap(),
            at("ours").canonicalize().unwrap()
        );
        assert!(location(None, OsStr::new("pump")).unwrap().is_dir());
    }
}
