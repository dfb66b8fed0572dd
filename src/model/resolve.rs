//! Which file an `#include` means: the search along the folders, as gcc and clang each do it.

use super::files::{DirId, Files, ObjectId, Origin, PathId};
use super::folders::Folders;
use super::interner::Id;
use super::lacking::Lacking;
use super::macros::NumberMap;
use super::punt::Punt;
use super::search::SearchPath;
use super::unit::{Lookup, World};

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asked {
    /// The header's name.
    pub name: Id,
    /// `<…>`
    pub angle: bool,
    /// `#include_next`
    pub next: bool,
    /// A system header asks.
    pub system: bool,
}

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asker {
    /// The command line.
    Command,
    /// The source.
    Source(PathId),
    /// A header, and how it was found.
    Header(PathId, Origin),
}

/// Searches for headers.
#[derive(Clone, Debug)]
pub struct Resolver {
    clang: bool,
    /// The folders' names with a slash where it is needed.
    chain: Vec<Box<[u8]>>,
    frameworks: Vec<bool>,
    system: Vec<bool>,
    /// gcc: folders of including files that are taken for system folders, and those that are not.
    beside_system: NumberMap<DirId, bool>,
    /// gcc: system headers are called by their shortest name.
    canonical: bool,
    /// Other names of those that are, for whoever found them to take.
    pub longer: Vec<PathId>,
    angle: usize,
    /// All files met.
    pub files: Files,
    /// clang's names of folders.
    folders: Folders,
    /// For each file, the first path by which it was found: clang takes its folder for that of all names.
    first: NumberMap<u32, PathId>,
    /// In which of the search path's folders a framework is; clang settles that when it first meets the framework.
    homes: NumberMap<Id, Home>,
    /// A precompiled header may still be taken by gcc: no header was found yet.
    precompiled: bool,
    /// Which folders of the search path need not be asked for some names.
    lacking: Lacking,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Home {
    Chain(usize),
    Within,
}

impl Resolver {
    /// For a search path.
    pub fn new(search: &SearchPath, clang: bool, old_clang: bool) -> Resolver {
        let dirs = search.dirs.iter();
        Resolver {
            clang,
            chain: dirs.clone().map(|dir| prefix(&dir.path, clang)).collect(),
            frameworks: dirs.clone().map(|dir| dir.framework).collect(),
            system: dirs.map(|dir| dir.system).collect(),
            beside_system: NumberMap::default(),
            canonical: search.canonical && !clang,
            longer: Vec::new(),
            angle: search.angle,
            files: Files::with_room(),
            folders: Folders::new(&search.seen, old_clang),
            first: NumberMap::default(),
            homes: NumberMap::default(),
            precompiled: !clang,
            lacking: Lacking::default(),
        }
    }

    /// clang spells the folders of the search path by their first names, too.
    pub fn name_folders<W: World + ?Sized>(&mut self, world: &mut W) {
        for at in 0..self.chain.len() {
            if self.clang && !self.frameworks[at] {
                let named = self
                    .folders
                    .current(world, &mut self.files, &self.chain[at]);
                self.chain[at] = self.files.dir(named).into();
            }
        }
    }

    /// The source itself.
    pub fn source<W: World + ?Sized>(&mut self, world: &mut W, path: &[u8]) -> ObjectId {
        let path = self.open(world, path);
        self.files.add(path, Origin::Direct)
    }

    /// The file that is meant, if there is one.
    ///
    /// # Errors
    /// It can't be told.
    pub fn find<W: World + ?Sized>(
        &mut self,
        world: &mut W,
        asked: Asked,
        asker: Asker,
    ) -> Result<Option<ObjectId>, Punt> {
        let name = asked.name.spelling();
        let start = match name.first() {
            None => return Ok(None),
            Some(b'/') if self.clang && asked.next && is_from_chain(asker) => return Ok(None),
            Some(b'/') => Origin::Direct,
            Some(_) => match self.start(world, asked, asker) {
                Some(start) => start,
                None => return Ok(None),
            },
        };
        if let Some(known) = self.files.known(start, asked.name) {
            return Ok(known);
        }
        let found = self.search(world, start, asked.name)?;
        self.precompiled &= found.is_none();
        self.files.remember(start, asked.name, found);
        Ok(found)
    }

    /// A header that the compiler includes by itself, along the folders for `<…>`.
    ///
    /// # Errors
    /// It can't be told.
    pub fn find_preinclude<W: World + ?Sized>(
        &mut self,
        world: &mut W,
        asked: Asked,
    ) -> Result<Option<ObjectId>, Punt> {
        let waits = std::mem::take(&mut self.precompiled);
        let found = self.find(world, asked, Asker::Command);
        self.precompiled = waits;
        found
    }

    /// Where the search for a relative name begins; None: nowhere.
    fn start<W: World + ?Sized>(
        &mut self,
        world: &mut W,
        asked: Asked,
        asker: Asker,
    ) -> Option<Origin> {
        let chain = |at: usize| (at < self.chain.len()).then_some(at);
        if let (true, Asker::Header(_, origin)) = (asked.next, asker) {
            let after = match origin {
                Origin::Chain(at) => Some(at as usize + 1),
                Origin::Beside(_) | Origin::Command if !self.clang => Some(0),
                _ => None,
            };
            if let Some(after) = after {
                return chain(after).map(chain_origin);
            }
        }
        if asked.angle {
            return chain(self.angle).map(chain_origin);
        }
        let path = match asker {
            Asker::Command if self.clang => {
                return Some(Origin::Beside(self.folders.current(
                    world,
                    &mut self.files,
                    b".",
                )))
            }
            Asker::Command => return Some(Origin::Command),
            Asker::Source(path) | Asker::Header(path, _) => path,
        };
        let dir = self.folder_of(world, path);
        self.beside_system.entry(dir).or_insert(asked.system);
        Some(Origin::Beside(dir))
    }

    /// The folder in which a file's quoted includes are searched first.
    fn folder_of<W: World + ?Sized>(&mut self, world: &mut W, path: PathId) -> DirId {
        let first = match self.files.path(path).file {
            Some(at) if self.clang => self.first.get(&at.file).copied().unwrap_or(path),
            _ => path,
        };
        let path = self.files.spelled(first);
        if self.clang {
            let parent = Folders::parent(path).to_vec();
            return self.folders.current(world, &mut self.files, &parent);
        }
        let slash = path.iter().rposition(|byte| *byte == b'/');
        let dir = path[..slash.map_or(0, |slash| slash + 1)].to_vec();
        self.files.dir_id(&dir)
    }

    fn search<W: World + ?Sized>(
        &mut self,
        world: &mut W,
        start: Origin,
        name: Id,
    ) -> Result<Option<ObjectId>, Punt> {
        let text = name.spelling();
        let own = match start {
            Origin::Chain(at) => return self.search_chain(world, at as usize, name),
            Origin::Direct | Origin::Within => self.open(world, text),
            Origin::Command => self.open_in(world, b"./", text),
            Origin::Beside(dir) => {
                let path = self.files.open_beside(world, dir, text);
                self.met(path);
                let is_system = self.beside_system.get(&dir).copied().unwrap_or(false);
                self.shortest(world, path, is_system)
            }
        };
        self.check_precompiled(world, own)?;
        if self.files.exists(own) {
            return Ok(Some(self.files.add(own, start)));
        }
        match start {
            Origin::Direct => Ok(None),
            _ => self.search_chain(world, 0, name),
        }
    }

    /// Asks the folders from number `start` on. As in gcc, what is found from the heads of the two lists on is one object.
    fn search_chain<W: World + ?Sized>(
        &mut self,
        world: &mut W,
        start: usize,
        name: Id,
    ) -> Result<Option<ObjectId>, Punt> {
        let origin = chain_origin(start);
        if let Some(known) = self.files.known(origin, name) {
            return Ok(known);
        }
        let end = match start < self.angle {
            true => self.angle.min(self.chain.len()),
            false => self.chain.len(),
        };
        let mut found = None;
        // While a precompiled header may be taken, each folder is asked for that, too.
        let inner = match self.precompiled {
            true => None,
            false => self.lacking.number(name.spelling()),
        };
        for at in start..end {
            // A framework has its headers elsewhere.
            let inner = inner.filter(|_| !self.frameworks[at]);
            if inner.is_some_and(|inner| self.lacking.lacks(inner, at)) {
                continue;
            }
            let Some(path) = self.try_dir(world, at, name)? else {
                continue;
            };
            if self.files.exists(path) {
                found = Some(self.files.add(path, chain_origin(at)));
                break;
            }
            if let Some(inner) = inner {
                let lacks = || world.lacks_folder_of(self.files.spelled(path));
                self.lacking.note(inner, at, lacks);
            }
        }
        if found.is_none() && start < self.angle {
            found = self.search_chain(world, self.angle, name)?;
        }
        let at = found.and_then(|found| match self.files.object(found).origin {
            Origin::Chain(at) => Some(at as usize),
            _ => None,
        });
        self.files.lookups.push(Lookup {
            start,
            at,
            name: name.spelling(),
        });
        self.files.remember(origin, name, found);
        Ok(found)
    }

    /// Where `name` would be in folder number `at`; None: nowhere.
    fn try_dir<W: World + ?Sized>(
        &mut self,
        world: &mut W,
        at: usize,
        name: Id,
    ) -> Result<Option<PathId>, Punt> {
        if self.frameworks[at] {
            return Ok(self.try_framework(world, at, name.spelling()));
        }
        let dir = std::mem::take(&mut self.chain[at]);
        let path = self.open_in(world, &dir, name.spelling());
        self.chain[at] = dir;
        let path = self.shortest(world, path, self.system[at]);
        self.check_precompiled(world, path)?;
        Ok(Some(path))
    }

    /// `Foo/Bar.h` is `Foo.framework/Headers/Bar.h`, or in `PrivateHeaders`.
    fn try_framework<W: World + ?Sized>(
        &mut self,
        world: &mut W,
        at: usize,
        name: &[u8],
    ) -> Option<PathId> {
        let slash = name.iter().position(|byte| *byte == b'/')?;
        let (framework, header) = (&name[..slash], &name[slash + 1..]);
        let key = super::interner::intern(framework);
        let home = self.homes.get(&key);
        if home.is_some_and(|home| *home != Home::Chain(at)) {
            return None;
        }
        let root = [&self.chain[at], framework, b".framework/"].concat();
        if home.is_none() {
            self.folders.look(world, &root)?;
            self.homes.insert(key, Home::Chain(at));
        }
        Some(self.open_framework(world, &root, header))
    }

    fn open_framework<W: World + ?Sized>(
        &mut self,
        world: &mut W,
        root: &[u8],
        header: &[u8],
    ) -> PathId {
        let public = self.open_in(world, &[root, b"Headers/"].concat(), header);
        match self.files.exists(public) {
            true => public,
            false => self.open_in(world, &[root, b"PrivateHeaders/"].concat(), header),
        }
    }

    /// Has clang met a framework?
    pub fn has_frameworks(&self) -> bool {
        !self.homes.is_empty()
    }

    /// A header of a framework within the framework of a file of `stack`: those that are being read, the innermost first.
    pub fn find_within<W: World + ?Sized>(
        &mut self,
        world: &mut W,
        name: Id,
        stack: &[PathId],
    ) -> Option<ObjectId> {
        let text = name.spelling();
        let slash = text.iter().position(|byte| *byte == b'/')?;
        let (framework, header) = (&text[..slash], &text[slash + 1..]);
        let key = super::interner::intern(framework);
        for path in stack {
            let path = self.files.spelled(*path).to_vec();
            let Some(at) = memchr::memmem::find(&path, b".framework/") else {
                continue;
            };
            let outer = &path[..at + b".framework/".len()];
            let root = [outer, b"Frameworks/", framework, b".framework/"].concat();
            if !self.homes.contains_key(&key) {
                if self.folders.look(world, &root).is_none() {
                    continue;
                }
                self.homes.insert(key, Home::Within);
            }
            let path = self.open_framework(world, &root, header);
            if self.files.exists(path) {
                return Some(self.files.add(path, Origin::Within));
            }
        }
        None
    }

    /// gcc looks for a precompiled form of the first header.
    fn check_precompiled<W: World + ?Sized>(
        &mut self,
        world: &mut W,
        path: PathId,
    ) -> Result<(), Punt> {
        if !self.precompiled {
            return Ok(());
        }
        let name = [self.files.spelled(path), b".gch"].concat();
        match world.open(&name).is_some() || world.folder(&name).is_some() {
            true => Err(Punt::new(format!(
                "there is a precompiled header {}",
                String::from_utf8_lossy(&name)
            ))),
            false => Ok(()),
        }
    }

    /// gcc calls a system header by its shortest name.
    fn shortest<W: World + ?Sized>(
        &mut self,
        world: &mut W,
        path: PathId,
        is_system: bool,
    ) -> PathId {
        if !is_system || !self.canonical || !self.files.exists(path) {
            return path;
        }
        let Some(name) = world.shorter(self.files.spelled(path)) else {
            return path;
        };
        let shorter = self.open(world, &name);
        if !self.files.exists(shorter) {
            return path;
        }
        self.longer.push(path);
        shorter
    }

    /// Is what was found so a system header?
    pub fn is_system(&self, object: ObjectId) -> bool {
        match self.files.object(object).origin {
            Origin::Chain(at) => self.system.get(at as usize).copied().unwrap_or(false),
            Origin::Beside(dir) => self.beside_system.get(&dir).copied().unwrap_or(false),
            Origin::Direct | Origin::Command | Origin::Within => false,
        }
    }

    fn open_in<W: World + ?Sized>(&mut self, world: &mut W, dir: &[u8], name: &[u8]) -> PathId {
        let path = self.files.open_in(world, dir, name);
        self.met(path);
        path
    }

    fn open<W: World + ?Sized>(&mut self, world: &mut W, path: &[u8]) -> PathId {
        let path = self.files.open(world, path);
        self.met(path);
        path
    }

    /// clang remembers the first name of each file and folder.
    fn met(&mut self, path: PathId) {
        if !self.clang {
            return;
        }
        if let Some(at) = self.files.path(path).file {
            self.first.entry(at.file).or_insert(path);
        }
        self.folders
            .register(Folders::parent(self.files.spelled(path)));
    }

    /// Was the file found under another name before?
    pub fn has_other_name(&self, path: PathId) -> bool {
        let file = self.files.path(path).file;
        file.is_some_and(|at| self.first.get(&at.file).is_some_and(|first| *first != path))
    }
}

fn is_from_chain(asker: Asker) -> bool {
    matches!(asker, Asker::Header(_, Origin::Chain(_)))
}

fn chain_origin(at: usize) -> Origin {
    Origin::Chain(u32::try_from(at).unwrap_or(u32::MAX))
}

/// A folder's name, ready to have a header's name appended.
fn prefix(path: &[u8], clang: bool) -> Box<[u8]> {
    let mut prefix = path.to_vec();
    if clang && prefix.len() > 1 && prefix.ends_with(b"/") {
        prefix.pop();
    }
    if !prefix.is_empty() && !prefix.ends_with(b"/") {
        prefix.push(b'/');
    }
    prefix.into()
}
