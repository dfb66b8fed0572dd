//! The places that an answer of a compiler depends on: all on the ways to its parts, to its folders and to those that it has
//! missed, and for clang what is in the folders among which it chooses.

use super::clock::Epoch;
use super::place::{Place, Relied};
use super::search_output::Searched;
use super::tree::Tree;
use super::walk::{walk, Trouble};
use crate::os::identity::{Identity, Kind};
use std::sync::Arc;

/// Folders whose entries matter, each in the state that was seen.
pub type Listed = Vec<(Arc<Place>, Option<Identity>)>;

/// The places that an answer of a compiler depends on.
pub struct Reliance<'r> {
    tree: &'r Tree,
    epoch: Epoch,
    /// Each with the version that was seen.
    pub places: Relied,
}

impl<'r> Reliance<'r> {
    /// None yet.
    pub fn new(tree: &'r Tree, epoch: Epoch) -> Reliance<'r> {
        Reliance {
            tree,
            epoch,
            places: Vec::new(),
        }
    }

    /// Where `path` leads to, with all places on the way.
    pub fn rely(&mut self, from: &Arc<Place>, path: &[u8]) -> Result<Option<Arc<Place>>, Trouble> {
        let places = &mut self.places;
        walk(self.tree, self.epoch, from, path, &mut |place, seen| {
            if !places.iter().any(|(known, _)| Arc::ptr_eq(known, place)) {
                places.push((Arc::clone(place), seen.version));
            }
        })
    }

    /// The folders that were listed, without those below the user's root; and those that were missed.
    pub fn folders(
        &mut self,
        cwd: &Arc<Place>,
        searched: &Searched,
        user_root: Option<Vec<u8>>,
    ) -> Result<Vec<Arc<Place>>, Trouble> {
        let mut folders: Vec<Arc<Place>> = Vec::new();
        let root = match user_root {
            Some(path) => self.rely(cwd, &path)?,
            None => None,
        };
        for dir in &searched.dirs {
            let Some(place) = self.rely(cwd, &dir.path)? else {
                continue;
            };
            let of_user = root
                .as_ref()
                .is_some_and(|root| root.path() != b"/" && is_below(place.path(), root.path()));
            let above = |known: &Arc<Place>| is_below(place.path(), known.path());
            if !of_user && !folders.iter().any(above) && place.path() != b"/" {
                folders.retain(|known| !is_below(known.path(), place.path()));
                folders.push(place);
            }
        }
        for path in searched.missing.iter().chain(&searched.parts) {
            self.rely(cwd, path)?;
        }
        Ok(folders)
    }

    /// Folders in which clang looks for installations of gcc and of libraries: something new there may be its new choice.
    pub fn listings(
        &mut self,
        cwd: &Arc<Place>,
        searched: &Searched,
        program: &[u8],
    ) -> Result<Listed, Trouble> {
        if searched.candidates.is_empty() {
            return Ok(Vec::new());
        }
        let mut paths: Vec<Vec<u8>> = [
            &b"/usr"[..],
            b"/usr/lib",
            b"/usr/include",
            b"/usr/include/c++",
        ]
        .map(<[u8]>::to_vec)
        .to_vec();
        for path in searched
            .candidates
            .iter()
            .map(Vec::as_slice)
            .chain([program])
        {
            paths.push([path, &b"/.."[..]].concat());
            paths.push([path, &b"/../.."[..]].concat());
        }
        let mut listed: Listed = Vec::new();
        for path in paths {
            let Some(place) = self.rely(cwd, &path)? else {
                continue;
            };
            let seen = place.check(self.tree.clock(), self.epoch);
            let known = listed.iter().any(|(known, _)| Arc::ptr_eq(known, &place));
            if seen.kind() == Some(Kind::Folder) && !known {
                listed.push((place, seen.identity));
            }
        }
        Ok(listed)
    }
}

/// Whether `path` is `folder` or below it, by whole names.
pub fn is_below(path: &[u8], folder: &[u8]) -> bool {
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/") || folder == b"/")
}

/// Whether all these places are as they were.
pub fn holds(relied: &Relied, tree: &Tree, epoch: Epoch) -> bool {
    let same =
        |(place, version): &(Arc<Place>, u64)| place.check(tree.clock(), epoch).version == *version;
    relied.iter().all(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_is_by_whole_names() {
        for (path, folder, below) in [
            ("/usr/include", "/usr/include", true),
            ("/usr/include/a", "/usr/include", true),
            ("/usr/include-foo/a", "/usr/include", false),
            ("/usr", "/usr/include", false),
            ("/a", "/", true),
        ] {
            assert_eq!(
                is_below(path.as_bytes(), folder.as_bytes()),
                below,
                "{path}"
            );
        }
    }
}
