//! What one walk has met in the world: folders by their names, files under all their names, absences. And how another walk
//! takes it over that begins with the same header.

use super::content::Content;
use super::place::Place;
use crate::model::path_map::{PathHasher, PathMap, PathTable};
use crate::model::unit::Opened;
use crate::os::identity::Identity;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::Arc;

/// By device and inode.
pub type InodeMap<V> = HashMap<(u64, u64), V, BuildHasherDefault<PathHasher>>;

/// What a folder's name leads to.
#[derive(Clone, Debug)]
pub struct Folder {
    /// Where it is, if it is there.
    pub place: Option<Arc<Place>>,
    /// It is, or by its name would be, below a system folder, whose files a host has already.
    pub system: bool,
    /// What is in it is below a system folder, whether or not that travels.
    pub below: bool,
}

/// What a path leads to.
#[derive(Clone, Debug)]
pub struct Found {
    /// Number of the file.
    pub file: u32,
    /// Where it really is.
    pub place: Arc<Place>,
    /// The last name of the path is a link.
    pub linked: bool,
    /// It is below a system folder, so that a host has it already.
    pub system: bool,
}

/// A file that was opened.
#[derive(Clone, Debug)]
pub struct File {
    /// What it holds.
    pub content: Arc<Content>,
    /// Which state of it that is.
    pub identity: Identity,
    /// As the preprocessor knows it.
    pub opened: Opened,
}

/// All that was met.
#[derive(Clone, Debug, Default)]
pub struct Met {
    /// By their names.
    pub folders: PathMap<Folder>,
    /// Paths that lead to files, and by their numbers what they lead to.
    pub opened: PathTable,
    /// By the numbers of paths.
    pub found: Vec<Found>,
    /// By their own numbers.
    pub files: Vec<File>,
    /// Of files, by device and inode.
    pub numbers: InodeMap<u32>,
    /// Of folders, likewise.
    pub folder_numbers: InodeMap<u64>,
    /// Where nothing was found below the system folders.
    pub missed: PathTable,
}

impl Met {
    /// Forgets the source, which was met first; None if it was met again, or by a link.
    pub fn without_source(&self) -> Option<Met> {
        let (source, others) = self.found.split_first()?;
        let again = others.iter().any(|found| found.file == source.file);
        if source.linked || source.file != 0 || again {
            return None;
        }
        let mut met = self.clone();
        met.numbers.retain(|_, number| *number != 0);
        Some(met)
    }

    /// All this with the source that `own` has met, and no other file. None if that was met here as another one.
    pub fn with_source(&self, own: &Met) -> Option<Met> {
        let ([found], [file]) = (&own.found[..], &own.files[..]) else {
            return None;
        };
        let inode = (file.identity.device, file.identity.inode);
        let path = own.opened.path(0);
        if self.numbers.contains_key(&inode) || self.missed.find(path).is_some() {
            return None;
        }
        let mut met = self.clone();
        if !met.opened.rename_first(path) {
            return None;
        }
        *met.found.first_mut()? = found.clone();
        *met.files.first_mut()? = file.clone();
        met.numbers.insert(inode, 0);
        for (path, folder) in &own.folders {
            met.folders.insert(path.clone(), folder.clone());
        }
        Some(met)
    }
}
