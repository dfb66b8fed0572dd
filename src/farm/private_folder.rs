//! A private folder for one run of a program: closed to others, removed with all that is in it, and if its owner was
//! killed outright, removed by the next one that makes such a folder. Who owns it is a lock and a line in a file.

use crate::model::error::{Code, Error, Result};
use crate::os::files;
use crate::os::liveness::{kin, Kin};
use crate::os::lock::{self, Attempt, FileLock};
use crate::os::process::user_id;
use crate::os::watch::Removal;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Locked by the owner; holds its process number and when that process began.
const OWNER_FILE: &str = "owner";

/// What the file is called until it is locked and written.
const OWNER_FILE_IN_THE_MAKING: &str = "owner.new";

/// An empty folder without an owner is somebody's who was killed just then, but not before this age.
const EMPTY_AGE_MIN: Duration = Duration::from_secs(3600);

/// How often the removal is tried, and the pause between: programs that were told to end may still be writing.
const REMOVALS_MAX: u32 = 50;
const REMOVAL_PAUSE: Duration = Duration::from_millis(20);

/// A folder of our own, removed when dropped.
#[derive(Debug)]
pub struct PrivateFolder {
    path: PathBuf,
    _owned: FileLock,
}

impl PrivateFolder {
    /// Makes `PREFIX` + six letters in `parent`, once those that nobody owns any more are gone from there.
    pub fn create(parent: &Path, prefix: &str) -> Result<PrivateFolder> {
        let trouble = |doing: &str, path: &Path, err: &io::Error| {
            let hint = "; TMPDIR can name another place";
            Error::new(Code::Io, format!("{doing} {}: {err}{hint}", path.display()))
        };
        let parent = fs::canonicalize(parent)
            .map_err(|err| trouble("can't find the folder", parent, &err))?;
        remove_stale(&parent, prefix);
        let path = files::private_folder(&parent, prefix)
            .map_err(|err| trouble("can't create a folder in", &parent, &err))?;
        match own(&path) {
            Ok(owned) => Ok(PrivateFolder {
                path,
                _owned: owned,
            }),
            Err(err) => {
                let _ = fs::remove_dir_all(&path);
                Err(trouble("can't write in", &path, &err))
            }
        }
    }

    /// Tells when somebody else removes the folder.
    pub fn removal(&self) -> io::Result<Removal> {
        Removal::watch(&self.path.join(OWNER_FILE))
    }

    /// Where it is: an absolute path without links.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        for _ in 0..REMOVALS_MAX {
            match fs::remove_dir_all(&self.path) {
                Err(err) if err.kind() != io::ErrorKind::NotFound => {
                    std::thread::sleep(REMOVAL_PAUSE);
                }
                _ => return,
            }
        }
        log::error!("cannot remove {}", self.path.display());
    }
}

/// Makes this process the owner of a folder. The file gets its name when it is locked: nobody ever sees it without.
fn own(folder: &Path) -> io::Result<FileLock> {
    let making = folder.join(OWNER_FILE_IN_THE_MAKING);
    let Attempt::Held(owned) = lock::try_lock(&making)? else {
        return Err(io::Error::other("somebody else has it"));
    };
    let me = kin(std::process::id()).ok_or_else(|| io::Error::other("/proc cannot be read"))?;
    fs::write(&making, format!("{} {}\n", me.pid, me.birth))?;
    fs::rename(&making, folder.join(OWNER_FILE))?;
    Ok(owned)
}

/// The living owner of a folder that is this user's, if it has one.
pub fn owner(folder: &Path) -> Option<Kin> {
    let file = folder.join(OWNER_FILE);
    if !is_ours(folder) || !lock::is_locked(&file).ok()? {
        return None;
    }
    let line = fs::read_to_string(file).ok()?;
    let (pid, birth) = line.strip_suffix('\n')?.split_once(' ')?;
    let found = kin(pid.parse().ok()?)?;
    (birth.parse() == Ok(found.birth)).then_some(found)
}

/// Whether this user's programs made this folder, be there somebody who owns it still or not.
pub fn was_ours(folder: &Path) -> bool {
    is_ours(folder) && folder.join(OWNER_FILE).exists()
}

/// Removes a folder that was made here and that nobody owns any more.
pub fn remove_unowned(folder: &Path) {
    if was_ours(folder) && matches!(lock::is_locked(&folder.join(OWNER_FILE)), Ok(false)) {
        let _ = fs::remove_dir_all(folder);
    }
}

/// Whether it is a folder, not a link to one, and belongs to this user.
fn is_ours(folder: &Path) -> bool {
    plain_metadata(folder).is_some_and(|meta| meta.is_dir() && meta.uid() == user_id())
}

fn plain_metadata(path: &Path) -> Option<Metadata> {
    fs::symlink_metadata(path).ok()
}

/// Removes what has been left in `parent` by owners that were killed. A lock tells also what lives in another container.
fn remove_stale(parent: &Path, prefix: &str) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let folder = entry.path();
        if !name.as_encoded_bytes().starts_with(prefix.as_bytes()) || !is_ours(&folder) {
            continue;
        }
        remove_unowned(&folder);
        if is_old(&folder) {
            // Only one that is empty goes this way.
            let _ = fs::remove_dir(&folder);
        }
    }
}

fn is_old(folder: &Path) -> bool {
    let changed = plain_metadata(folder).and_then(|meta| meta.modified().ok());
    let age = changed.and_then(|changed| changed.elapsed().ok());
    age.is_some_and(|age| age > EMPTY_AGE_MIN)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn goes_with_all_it_holds() {
        let parent = tempfile::tempdir().unwrap();
        let folder = PrivateFolder::create(parent.path(), "x.").unwrap();
        let path = folder.path().to_owned();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        fs::create_dir(path.join("inner")).unwrap();
        fs::write(path.join("inner/file"), "").unwrap();
        drop(folder);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn its_owner_is_known_while_it_lives() {
        let parent = tempfile::tempdir().unwrap();
        let folder = PrivateFolder::create(parent.path(), "x.").unwrap();
        let me = kin(std::process::id());
        assert_eq!(owner(folder.path()), me);
        let file = folder.path().join(OWNER_FILE);
        for not_mine in ["1 1\n", "", "x", "1 2", "-1 -1\n"] {
            fs::write(&file, not_mine).unwrap();
            assert_eq!(owner(folder.path()), None, "{not_mine:?}");
        }
        assert_eq!(owner(Path::new("/")), None);
        assert_eq!(owner(&parent.path().join("missing")), None);
    }

    #[test]
    fn what_nobody_owns_is_removed_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let at = |name: &str| parent.path().join(name);
        let living = PrivateFolder::create(parent.path(), "x.").unwrap();
        for name in ["x.dead", "y.dead", "x.stocks", "x.young", "x.old"] {
            fs::create_dir(at(name)).unwrap();
        }
        for name in ["x.dead", "y.dead"] {
            fs::write(at(name).join(OWNER_FILE), "1 1\n").unwrap();
        }
        fs::write(at("x.stocks").join("socket"), "").unwrap();
        fs::write(at("x.file"), "").unwrap();
        symlink(at("y.dead"), at("x.link")).unwrap();
        let long_ago = std::time::SystemTime::now() - EMPTY_AGE_MIN * 2;
        let old = fs::File::open(at("x.old")).unwrap();
        old.set_modified(long_ago).unwrap();
        drop(PrivateFolder::create(parent.path(), "x.").unwrap());
        assert!(living.path().exists());
        for (name, stays) in [
            ("x.dead", false),
            ("x.old", false),
            ("y.dead", true),
            ("x.stocks", true),
            ("x.young", true),
            ("x.file", true),
            ("x.link", true),
        ] {
            assert_eq!(at(name).exists(), stays, "{name}");
        }
    }

    #[test]
    fn a_missing_parent_is_named() {
        let created = PrivateFolder::create(Path::new("/nonexistent/x"), "x.");
        let err = created.unwrap_err();
        assert!(
            err.message.contains("/nonexistent/x") && err.message.contains("TMPDIR"),
            "{err}"
        );
    }
}
