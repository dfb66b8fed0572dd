//! The folder of one job on disk: made under a name that nobody can guess, locked as long as its daemon lives, and removed with
//! all that is in it; at the next start, if its daemon was killed.

use crate::os::beneath::Dir;
use fs2::FileExt;
use std::collections::hash_map::RandomState;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, DirEntry, File};
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How names begin, and how many letters follow.
const PREFIX: &str = "distccd_";
const LETTERS_AFTER: usize = 8;
const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/// What stands between them if the folder is to be looked at afterwards.
const KEPT: &str = "kept_";

/// A folder that is younger may be one that its daemon is about to lock.
const YOUNG: Duration = Duration::from_secs(60);

/// A folder on disk that exists as long as this value.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    keep: bool,
    /// The folder itself, locked: it says that it is in use.
    _lock: Option<File>,
}

impl Scratch {
    /// Makes a folder below `temp_dir`. With `keep` it is not removed.
    pub fn create(temp_dir: &Path, keep: bool) -> io::Result<Scratch> {
        let path = private_folder(temp_dir, if keep { KEPT } else { "" })?;
        // A file system without locks is no reason not to compile.
        let lock =
            File::open(&path).and_then(|folder| folder.try_lock_exclusive().map(|()| folder));
        Ok(Scratch {
            path,
            keep,
            _lock: lock.ok(),
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is to be looked at when the job is done.
    pub fn is_kept(&self) -> bool {
        self.keep
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.keep {
            log::info!("left for you to see: {}", self.path.display());
        } else if fs::remove_dir(&self.path).is_err() {
            remove_folder(&self.path);
        }
    }
}

/// Removes a job's folder with all that was left in it, whatever its owner may do there.
fn remove_folder(path: &Path) {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return;
    };
    let removed = Dir::open(parent).and_then(|parent| parent.remove(name.as_bytes()));
    if let Err(err) = removed {
        log::warn!("remove {}: {err}", path.display());
    }
}

/// Makes a folder that only we may enter.
fn private_folder(parent: &Path, kind: &str) -> io::Result<PathBuf> {
    loop {
        let path = name(parent, kind);
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => return Ok(path),
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => (),
            Err(err) => return Err(err),
        }
    }
}

/// The name that such a folder could have; there is none.
pub fn free_name(temp_dir: &Path) -> PathBuf {
    name(temp_dir, "")
}

fn name(parent: &Path, kind: &str) -> PathBuf {
    let mut random = RandomState::new().build_hasher().finish();
    let mut name = format!("{PREFIX}{kind}");
    for _ in 0..LETTERS_AFTER {
        name.push(LETTERS[(random % LETTERS.len() as u64) as usize].into());
        random /= LETTERS.len() as u64;
    }
    parent.join(name)
}

/// Removes the folders that daemons of `user` have left in `temp_dir` which no longer live.
pub fn sweep(temp_dir: &Path, user: u32) {
    let entries = fs::read_dir(temp_dir).into_iter().flatten().flatten();
    let mut count = 0;
    for entry in entries.filter(|entry| is_ours(&entry.file_name())) {
        if is_left(&entry, user).unwrap_or(false) {
            remove_folder(&entry.path());
            count += 1;
        }
    }
    if count > 0 {
        log::info!(
            "{count} folders of jobs that a killed distccd has left in {} are removed",
            temp_dir.display()
        );
    }
}

fn is_ours(name: &OsStr) -> bool {
    let rest = name.as_bytes().strip_prefix(PREFIX.as_bytes());
    rest.is_some_and(|rest| {
        rest.len() == LETTERS_AFTER && rest.iter().all(|byte| LETTERS.contains(byte))
    })
}

/// Whether it is one of that user's, and nobody has it locked.
fn is_left(entry: &DirEntry, user: u32) -> io::Result<bool> {
    let meta = entry.metadata()?; // Of a link, not of what it leads to.
    let is_young = match meta.modified()?.elapsed() {
        Ok(age) => age < YOUNG,
        Err(_) => true,
    };
    if !meta.is_dir() || meta.uid() != user || meta.mode() & 0o077 != 0 || is_young {
        return Ok(false);
    }
    let folder = File::open(entry.path())?;
    let is_same = (folder.metadata()?.dev(), folder.metadata()?.ino()) == (meta.dev(), meta.ino());
    Ok(is_same && folder.try_lock_exclusive().is_ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::os::process::user_id;
    use std::os::unix::fs::symlink;
    use std::time::SystemTime;

    fn age(path: &Path) {
        let old = SystemTime::now() - YOUNG * 2;
        File::open(path).unwrap().set_modified(old).unwrap();
    }

    #[test]
    fn only_what_is_left_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        let [used, kept] = [false, true].map(|keep| Scratch::create(dir.path(), keep).unwrap());
        let make = |name: &str| {
            let path = dir.path().join(name);
            DirBuilder::new().mode(0o700).create(&path).unwrap();
            fs::write(path.join("x.i"), "").unwrap();
            path
        };
        let left = make("distccd_abcdEFG1");
        let others = [
            "distccd_abcdEF",
            "distccd_kept_abcdEFG1",
            "distccd_abcd.FG1",
            "distcc_abcdEFGH1",
        ]
        .map(make);
        let young = make("distccd_abcdEFG2");
        let link = dir.path().join("distccd_abcdEFG3");
        symlink(&others[0], &link).unwrap();
        fs::write(dir.path().join("distccd_abcdEFG4"), "").unwrap();
        for path in others.iter().chain([&left]) {
            age(path);
        }
        age(used.path());
        age(kept.path());
        sweep(dir.path(), user_id() + 1);
        assert!(left.exists(), "another's");
        sweep(dir.path(), user_id());
        assert!(!left.exists());
        assert!(others.iter().all(|path| path.join("x.i").exists()));
        assert!(
            young.exists() && link.is_symlink() && used.path().exists() && kept.path().exists()
        );
        assert!(dir.path().join("distccd_abcdEFG4").exists());
        let (path, kept_path) = (used.path().to_owned(), kept.path().to_owned());
        drop((used, kept));
        assert!(!path.exists() && kept_path.exists());
    }
}
