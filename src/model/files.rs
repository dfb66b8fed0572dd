//! The files that a walk has met, under all their names, and where headers are found: the search along folders, by the
//! rules of gcc and of clang, each question asked once.

use std::hash::BuildHasherDefault;
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

/// Byte strings with numbers, one after the other in one piece of memory.
#[derive(Clone, Debug, Default)]
struct Names {
    text: Vec<u8>,
    /// Where each one starts and ends, and its hash.
    places: Vec<(u32, u32, u32)>,
    /// A hash table: numbers, plus one.
    slots: Vec<u32>,
}

impl Names {
    fn with_room(count: usize) -> Names {
        Names {
            text: Vec::with_capacity(count * 32),
            places: Vec::with_capacity(count),
            slots: vec![0; (count * 2).next_power_of_two()],
        }
    }

    fn get(&self, number: u32) -> &[u8] {
        let (start, end, _) = self.places[number as usize];
        &self.text[start as usize..end as usize]
    }

    /// The number of a name, and whether it is new.
    fn number(&mut self, name: &[u8]) -> (u32, bool) {
        if self.places.len() * 2 >= self.slots.len() {
            self.grow();
        }
        let hash = hash(name);
        let at = match self.slot(name, hash) {
            Ok(number) => return (number, false),
            Err(at) => at,
        };
        let number = number(self.places.len());
        let place = self.add(name, hash);
        self.places.push(place);
        self.slots[at] = number + 1;
        (number, true)
    }

    /// The number of a name, or the slot that it would have.
    fn slot(&self, name: &[u8], hash: u32) -> Result<u32, usize> {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        while let Some(number) = self.slots[at].checked_sub(1) {
            if self.places[number as usize].2 == hash && self.get(number) == name {
                return Ok(number);
            }
            at = (at + 1) & mask;
        }
        Err(at)
    }

    fn add(&mut self, name: &[u8], hash: u32) -> (u32, u32, u32) {
        let start = number(self.text.len());
        self.text.extend_from_slice(name);
        (start, number(self.text.len()), hash)
    }

    /// Gives number 0 another name; false if another number has that.
    fn rename_first(&mut self, name: &[u8]) -> bool {
        let hash = hash(name);
        match self.slot(name, hash) {
            Ok(number) => number == 0,
            Err(at) => {
                // The slot of its old name stays, and leads to no name that anybody asks for.
                self.places[0] = self.add(name, hash);
                self.slots[at] = 1;
                true
            }
        }
    }

    fn grow(&mut self) {
        let room = (self.slots.len() * 2).max(256);
        self.slots.clear();
        self.slots.resize(room, 0);
        for (number, (_, _, hash)) in self.places.iter().enumerate() {
            let mut at = *hash as usize & (room - 1);
            while self.slots[at] > 0 {
                at = (at + 1) & (room - 1);
            }
            self.slots[at] = self::number(number) + 1;
        }
    }
}

fn hash(name: &[u8]) -> u32 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut state = 0u64;
    let mut chunks = name.chunks_exact(8);
    for chunk in &mut chunks {
        let word = <[u8; 8]>::try_from(chunk).map_or(0, u64::from_le_bytes);
        state = (state.rotate_left(23) ^ word).wrapping_mul(FACTOR);
    }
    for byte in chunks.remainder() {
        state = (state.rotate_left(9) ^ u64::from(*byte)).wrapping_mul(FACTOR);
    }
    (state >> 32) as u32
}

/// Where a search starts, as the key of what it found.
type Start = (Origin, Id);

/// All that was found.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// Scans by number.
    pub scans: Vec<Arc<Scan>>,
    paths: Names,
    entries: Vec<PathEntry>,
    dirs: Names,
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
            paths: Names::with_room(2048),
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
        self.paths.rename_first(own.paths.get(0))
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
        self.paths.get(id.0)
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
        self.dirs.get(id.0)
    }

    /// The number of a folder's name.
    pub fn dir_id(&mut self, dir: &[u8]) -> DirId {
        DirId(self.dirs.number(dir).0)
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

    /// The same for a folder by number.
    pub fn open_beside<W: World + ?Sized>(
        &mut self,
        world: &mut W,
        dir: DirId,
        name: &[u8],
    ) -> PathId {
        let mut path = std::mem::take(&mut self.buffer);
        path.clear();
        path.extend_from_slice(self.dirs.get(dir.0));
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
