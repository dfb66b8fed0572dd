//! The files that a walk has met, under all their names, and where headers are found: the search along folders, by the
//! rules of gcc and of clang, each question asked once.

use std::hash::BuildHasherDefault;
use std::sync::Arc;

use super::interner::Id;
use super::macros::NumberMap;
use super::path_map::PathTable;
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
#[derive(Clone, Copy, Debug)]
pub struct PathEntry {
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

/// Where a search starts, as the key of what it found.
type Start = (Origin, Id);

/// All that was found.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// Scans by number.
    pub scans: Vec<Arc<Scan>>,
    paths: PathTable,
    entries: Vec<PathEntry>,
    dirs: PathTable,
    objects: Vec<Object>,
    /// Objects by their twins.
    twins: NumberMap<u64, Vec<ObjectId>>,
    found: NumberMap<Start, Option<ObjectId>>,
    pub(super) lookups: Vec<Lookup>,
    /// A path for a search, built again and again.
    buffer: Vec<u8>,
}

impl Files {
    /// With room for what most units have.
    pub fn with_room() -> Files {
        Files {
            paths: PathTable::with_room(2048),
            entries: Vec::with_capacity(2048),
            objects: Vec::with_capacity(512),
            twins: NumberMap::with_capacity_and_hasher(512, BuildHasherDefault::default()),
            found: NumberMap::with_capacity_and_hasher(1024, BuildHasherDefault::default()),
            lookups: Vec::with_capacity(512),
            scans: Vec::with_capacity(512),
            ..Files::default()
        }
    }

    /// Forgets the source, which was met first, of all that was met by the end of its first header. False if it was met
    /// again, or another file with its content.
    pub(super) fn drop_source(&mut self) -> bool {
        let Some((source, at)) = self.entries.first().and_then(|one| Some((one, one.file?))) else {
            return false;
        };
        let probed = source.probed;
        // Whatever was found and is the source is its twin.
        let twins = self.twins.remove(&at.twin);
        !probed && twins.is_some_and(|twins| twins[..] == [ObjectId(0)])
    }

    /// Puts the source in the place of the one that was dropped; `own` has met it, and nothing else. False if it was met here as
    /// another file, or another file with its content.
    pub(super) fn take_source(&mut self, own: &Files) -> bool {
        let ([source], Some(scan)) = (&own.entries[..], own.scans.first()) else {
            return false;
        };
        let Some(at) = source.file.filter(|at| !self.twins.contains_key(&at.twin)) else {
            return false;
        };
        self.entries[0] = *source;
        self.scans[0] = Arc::clone(scan);
        self.twins.insert(at.twin, vec![ObjectId(0)]);
        self.paths.rename_first(own.paths.path(0))
    }

    /// A path's entry.
    pub fn path(&self, id: PathId) -> &PathEntry {
        &self.entries[id.0 as usize]
    }

    /// The same, to be changed.
    pub fn path_mut(&mut self, id: PathId) -> &mut PathEntry {
        &mut self.entries[id.0 as usize]
    }

    /// A path as the compiler spells it.
    pub fn spelled(&self, id: PathId) -> &[u8] {
        self.paths.path(id.0 as usize)
    }

    /// An object.
    pub fn object(&self, id: ObjectId) -> &Object {
        &self.objects[id.0 as usize]
    }

    /// The same, to be changed.
    pub fn object_mut(&mut self, id: ObjectId) -> &mut Object {
        &mut self.objects[id.0 as usize]
    }

    /// All objects that are twins of this file.
    pub fn twins(&self, at: FileAt) -> &[ObjectId] {
        self.twins.get(&at.twin).map_or(&[], |twins| twins)
    }

    /// A folder's name.
    pub fn dir(&self, id: DirId) -> &[u8] {
        self.dirs.path(id.0 as usize)
    }

    /// The number of a folder's name.
    pub fn dir_id(&mut self, dir: &[u8]) -> DirId {
        DirId(number(self.dirs.insert(dir)))
    }

    /// Keeps a scan.
    pub fn add_scan(&mut self, scan: Arc<Scan>) -> u32 {
        self.scans.push(scan);
        number(self.scans.len() - 1)
    }

    /// Asks for the file at a path, once.
    pub fn open<W: World + ?Sized>(&mut self, world: &mut W, path: &[u8]) -> PathId {
        let (id, is_new) = self.paths.number(path);
        if is_new {
            let file = world.open(path).map(|opened| FileAt {
                file: opened.file,
                scan: self.add_scan(opened.scan),
                twin: opened.twin,
            });
            self.entries.push(PathEntry {
                file,
                listed: None,
                probed: false,
            });
        }
        PathId(number(id))
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

    /// The same for a folder by number.
    pub fn open_beside<W: World + ?Sized>(
        &mut self,
        world: &mut W,
        dir: DirId,
        name: &[u8],
    ) -> PathId {
        let mut path = std::mem::take(&mut self.buffer);
        path.clear();
        path.extend_from_slice(self.dirs.path(dir.0 as usize));
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
        let id = ObjectId(number(self.objects.len() - 1));
        if let Some(at) = self.path(path).file {
            self.twins.entry(at.twin).or_default().push(id);
        }
        id
    }
}

fn number(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
