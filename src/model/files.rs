//! The files that a walk has met, under all their names, and where headers are found: the search along folders, by the
//! rules of gcc and of clang, each question asked once.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use super::interner::Id;
use super::macros::NumberMap;
use super::source_scan::Scan;
use super::unit::{Lookup, World};

/// The number of a spelled path.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PathId(pub u32);

/// The number of a folder's name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct DirId(pub u32);

/// The number of a file as one way of looking for it has found it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ObjectId(pub u32);

/// By which way a file was found.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Origin {
    /// The source, or an absolute name.
    Direct,
    /// In the folder of the including file.
    Beside(DirId),
    /// Named on the command line, in the working directory.
    Command,
    /// In the framework of a file that is being read.
    Within,
    /// In this folder of the search path.
    Chain(u32),
}

/// A spelled path.
#[derive(Debug)]
pub struct PathEntry {
    /// As the compiler spells it.
    pub path: Box<[u8]>,
    /// The file, if there is one.
    pub file: Option<FileAt>,
    /// It is among the closure's files: its number there.
    pub listed: Option<u32>,
    /// It is among the closure's probes.
    pub probed: bool,
}

/// The file at a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileAt {
    /// The world's number.
    pub file: u32,
    /// The walk's number of the scan.
    pub scan: u32,
    /// See [`super::unit::Opened::twin`].
    pub twin: u64,
}

/// A file that was found, as gcc keeps it: for each name and place where the search began.
#[derive(Clone, Copy, Debug)]
pub struct Object {
    /// Where it is.
    pub path: PathId,
    /// How it was found.
    pub origin: Origin,
    /// `#pragma once` or `#import` was met.
    pub once: bool,
    /// How often it was entered.
    pub entered: u32,
}

/// Hashes paths.
#[derive(Clone, Copy, Default)]
struct PathHasher(u64);

impl Hasher for PathHasher {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }

    fn write(&mut self, bytes: &[u8]) {
        const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut state = self.0;
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            let word = <[u8; 8]>::try_from(chunk).map_or(0, u64::from_le_bytes);
            state = (state.rotate_left(23) ^ word).wrapping_mul(FACTOR);
        }
        for byte in chunks.remainder() {
            state = (state.rotate_left(7) ^ u64::from(*byte)).wrapping_mul(FACTOR);
        }
        self.0 = state;
    }
}

type ByName = HashMap<Box<[u8]>, u32, BuildHasherDefault<PathHasher>>;

/// Where a search starts, as the key of what it found.
type Start = (Origin, Id);

/// All that was found.
#[derive(Debug, Default)]
pub struct Files {
    /// Scans by number.
    pub scans: Vec<Arc<Scan>>,
    paths: Vec<PathEntry>,
    by_path: ByName,
    dirs: Vec<Box<[u8]>>,
    by_dir: ByName,
    objects: Vec<Object>,
    found: NumberMap<Start, Option<ObjectId>>,
    pub(super) lookups: Vec<Lookup>,
    /// A path for a search, built again and again.
    buffer: Vec<u8>,
}

impl Files {
    /// A path's entry.
    pub fn path(&self, id: PathId) -> &PathEntry {
        &self.paths[id.0 as usize]
    }

    /// The same, to be changed.
    pub fn path_mut(&mut self, id: PathId) -> &mut PathEntry {
        &mut self.paths[id.0 as usize]
    }

    /// An object.
    pub fn object(&self, id: ObjectId) -> &Object {
        &self.objects[id.0 as usize]
    }

    /// The same, to be changed.
    pub fn object_mut(&mut self, id: ObjectId) -> &mut Object {
        &mut self.objects[id.0 as usize]
    }

    /// All objects.
    pub fn objects(&self) -> &[Object] {
        &self.objects
    }

    /// A folder's name.
    pub fn dir(&self, id: DirId) -> &[u8] {
        &self.dirs[id.0 as usize]
    }

    /// The number of a folder's name.
    pub fn dir_id(&mut self, dir: &[u8]) -> DirId {
        if let Some(id) = self.by_dir.get(dir) {
            return DirId(*id);
        }
        let id = number(self.dirs.len());
        self.dirs.push(dir.into());
        self.by_dir.insert(dir.into(), id);
        DirId(id)
    }

    /// Keeps a scan.
    pub fn add_scan(&mut self, scan: Arc<Scan>) -> u32 {
        self.scans.push(scan);
        number(self.scans.len() - 1)
    }

    /// Asks for the file at a path, once.
    pub fn open<W: World + ?Sized>(&mut self, world: &mut W, path: &[u8]) -> PathId {
        if let Some(id) = self.by_path.get(path) {
            return PathId(*id);
        }
        let file = world.open(path).map(|opened| FileAt {
            file: opened.file,
            scan: self.add_scan(opened.scan),
            twin: opened.twin,
        });
        let id = number(self.paths.len());
        self.paths.push(PathEntry {
            path: path.into(),
            file,
            listed: None,
            probed: false,
        });
        self.by_path.insert(path.into(), id);
        PathId(id)
    }

    /// Asks for the file `name` in a folder, whose name ends in a slash if need be.
    pub fn open_in<W: World + ?Sized>(&mut self, world: &mut W, dir: &[u8], name: &[u8]) -> PathId {
        let mut path = std::mem::take(&mut self.buffer);
        path.clear();
        path.extend_from_slice(dir);
        path.extend_from_slice(name);
        let id = self.open(world, &path);
        self.buffer = path;
        id
    }

    /// Is there a file at the path?
    pub fn exists(&self, path: PathId) -> bool {
        self.path(path).file.is_some()
    }

    /// What an earlier search from here has found.
    pub fn known(&self, origin: Origin, name: Id) -> Option<Option<ObjectId>> {
        self.found.get(&(origin, name)).copied()
    }

    /// Remembers what a search from here has found.
    pub fn remember(&mut self, origin: Origin, name: Id, found: Option<ObjectId>) {
        self.found.insert((origin, name), found);
    }

    /// A new object.
    pub fn add(&mut self, path: PathId, origin: Origin) -> ObjectId {
        self.objects.push(Object {
            path,
            origin,
            once: false,
            entered: 0,
        });
        ObjectId(number(self.objects.len() - 1))
    }
}

fn number(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
