//! The way from a folder along a path as it is spelled, links and `..` followed as the kernel does it, so that everything
//! on the way can be noted: it is what the answer depends on, and what a host must have to go the same way.

use super::clock::Epoch;
use super::place::{Place, Seen};
use super::tree::Tree;
use crate::os::identity::Kind;
use std::fmt;
use std::io;
use std::sync::Arc;

/// How many links a path may lead through: the kernel's limit.
const LINKS_MAX: u32 = 40;

/// Why it can't be known what a path leads to, or what is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trouble(pub String);

impl Trouble {
    /// With what could not be done, and where.
    pub fn new(what: &str, path: &[u8], err: &io::Error) -> Trouble {
        let path = String::from_utf8_lossy(path);
        Trouble(format!("{what} {path}: {err}"))
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Is told of every place on a way, its end included, with what is there.
pub type Notes<'n> = dyn FnMut(&Arc<Place>, &Seen) + 'n;

/// Where `path`, from the folder `from` on, leads to; None if there is nothing.
pub fn walk(
    tree: &Tree,
    epoch: Epoch,
    from: &Arc<Place>,
    path: &[u8],
    notes: &mut Notes<'_>,
) -> Result<Option<Arc<Place>>, Trouble> {
    let mut walk = Walk {
        tree,
        epoch,
        links: 0,
        notes,
    };
    walk.along(Arc::clone(from), path)
}

struct Walk<'w, 'n> {
    tree: &'w Tree,
    epoch: Epoch,
    links: u32,
    notes: &'w mut Notes<'n>,
}

impl Walk<'_, '_> {
    fn along(&mut self, from: Arc<Place>, path: &[u8]) -> Result<Option<Arc<Place>>, Trouble> {
        let mut at = match path.first() {
            Some(b'/') => Arc::clone(self.tree.root()),
            _ => from,
        };
        let mut is_folder = true;
        for name in path.split(|byte| *byte == b'/') {
            // A file may not be followed by anything, not even a slash.
            if !is_folder {
                return Ok(None);
            }
            match name {
                b"" | b"." => {}
                b".." => at = Arc::clone(at.parent()),
                _ => match self.step(&at, name)? {
                    Some((next, folder)) => (at, is_folder) = (next, folder),
                    None => return Ok(None),
                },
            }
        }
        Ok(Some(at))
    }

    /// One name further; says whether a folder is there.
    fn step(
        &mut self,
        at: &Arc<Place>,
        name: &[u8],
    ) -> Result<Option<(Arc<Place>, bool)>, Trouble> {
        let Some(next) = at.child(name) else {
            return Ok(None);
        };
        let seen = next.check(self.tree.clock(), self.epoch);
        (self.notes)(&next, &seen);
        if let Some(errno) = seen.trouble {
            let err = io::Error::from_raw_os_error(errno);
            return Err(Trouble::new("look at", next.path(), &err));
        }
        match seen.kind() {
            None => Ok(None),
            Some(Kind::Folder) => Ok(Some((next, true))),
            Some(Kind::File | Kind::Other) => Ok(Some((next, false))),
            Some(Kind::Link) => self.follow(&next),
        }
    }

    fn follow(&mut self, link: &Arc<Place>) -> Result<Option<(Arc<Place>, bool)>, Trouble> {
        self.links += 1;
        let target = link.target();
        let target = target.map_err(|err| Trouble::new("read link", link.path(), &err))?;
        if self.links > LINKS_MAX {
            let err = io::Error::other("too many links");
            return Err(Trouble::new("follow", link.path(), &err));
        }
        let Some(end) = self.along(Arc::clone(link.parent()), &target)? else {
            return Ok(None);
        };
        let kind = end.check(self.tree.clock(), self.epoch).kind();
        Ok(Some((end, kind == Some(Kind::Folder))))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    /// The end of the way as a path, and the links and folders on it by their last names.
    fn go(tree: &Tree, from: &Path, path: &str) -> (Option<String>, Vec<String>) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let epoch = tree.begin();
        let start = fs::canonicalize(from).unwrap();
        let root = tree.root();
        let bytes = start.as_os_str().as_bytes();
        let start = walk(tree, epoch, root, bytes, &mut |_, _| {}).unwrap();
        let mut noted = Vec::new();
        let mut notes = |place: &Arc<Place>, seen: &Seen| {
            let name = text(place.path().rsplit(|byte| *byte == b'/').next().unwrap());
            noted.push(format!("{name}:{:?}", seen.kind()).replace("Some", ""));
        };
        let end = walk(tree, epoch, &start.unwrap(), path.as_bytes(), &mut notes).unwrap();
        (end.map(|end| text(end.path())), noted)
    }

    #[test]
    fn the_way_is_the_kernels() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::default();
        let at = fs::canonicalize(dir.path()).unwrap();
        fs::create_dir_all(at.join("real/deep")).unwrap();
        fs::write(at.join("real/f"), "").unwrap();
        symlink("real/deep", at.join("ln")).unwrap();
        symlink(at.join("real/f"), at.join("abs")).unwrap();
        symlink("ln", at.join("chain")).unwrap();
        symlink("nowhere", at.join("dangling")).unwrap();
        for (path, end) in [
            ("real/f", Some("real/f")),
            ("./real//f", Some("real/f")),
            ("ln/../f", Some("real/f")),
            ("chain/../deep", Some("real/deep")),
            ("abs", Some("real/f")),
            ("real/", Some("real")),
            ("real/f/", None),
            ("real/f/.", None),
            ("real/f/../f", None),
            ("none/../real/f", None),
            ("dangling", None),
            ("", Some("")),
        ] {
            let expected = end.map(|end| format!("{}/{end}", at.display()));
            let expected = expected.map(|path| path.trim_end_matches('/').to_owned());
            assert_eq!(go(&tree, &at, path).0, expected, "{path}");
        }
        let (_, noted) = go(&tree, &at, "chain/../f");
        assert_eq!(
            noted,
            [
                "chain:(Link)",
                "ln:(Link)",
                "real:(Folder)",
                "deep:(Folder)",
                "f:(File)"
            ]
        );
        assert_eq!(go(&tree, &at, "/..").0.as_deref(), Some("/"));
    }

    #[test]
    fn loops_end() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::default();
        symlink("loop", dir.path().join("loop")).unwrap();
        let path = dir.path().join("loop/x");
        let bytes = path.as_os_str().as_bytes();
        let end = walk(&tree, tree.begin(), tree.root(), bytes, &mut |_, _| {});
        assert!(end.unwrap_err().0.contains("too many links"));
    }
}
