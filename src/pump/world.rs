//! The machine as the preprocessor asks about it for one request: which file a path leads to, what it holds, what the
//! compiler answers. Everything that was asked is noted with the version that was seen, absences included.

use super::basis::Basis;
use super::beginnings::{Beginnings, Kept, Key, Known};
use super::clock::Epoch;
use super::content::{Content, Want};
use super::met::{Folder, Met};
use super::place::{Place, Relied, Seen};
use super::reliance::is_below;
use super::toolchain::{Toolchain, Toolchains};
use super::tree::Tree;
use super::walk::{walk, Trouble};
use crate::model::path_map::PathTable;
use crate::model::preprocessor::{Begun, Opened, Unit, World};
use crate::model::search::FolderIdentity;
use crate::model::unit::{Beginning, Head};
use crate::os::identity::{Identity, Kind};
use crate::os::process::thread_time;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many questions are answered between two looks at the clock.
const QUESTIONS_PER_LOOK: u32 = 256;

pub use super::met::{File, Found};

/// What one request may use.
#[derive(Clone, Copy, Debug)]
pub struct Site<'s> {
    /// All places.
    pub tree: &'s Tree,
    /// All compilers.
    pub toolchains: &'s Toolchains,
    /// How other units began.
    pub beginnings: &'s Beginnings,
    /// The request.
    pub epoch: Epoch,
    /// When it must be done, in processor time of its thread.
    pub processor_deadline: Duration,
    /// And in any case.
    pub deadline: Instant,
}

/// The world of one request.
#[derive(Debug)]
pub struct LocalWorld<'w> {
    site: Site<'w>,
    toolchain: &'w Arc<Toolchain>,
    cwd: Arc<Place>,
    hermetic: bool,
    /// System folders; none if their files travel, too.
    system: &'w [Arc<Place>],
    met: Met,
    /// What was looked at: below the system folders, and elsewhere.
    relied: [Relied; 2],
    /// Which beginning is wanted, or has been given.
    begun: Option<(Key, Option<Arc<Kept>>)>,
    searched: Vec<Vec<u8>>,
    trouble: Option<Trouble>,
    questions: u32,
}

impl<'w> LocalWorld<'w> {
    /// The world of a request in `cwd`. With `hermetic` no folder is taken for the system's.
    pub fn new(
        site: Site<'w>,
        toolchain: &'w Arc<Toolchain>,
        cwd: Arc<Place>,
        hermetic: bool,
    ) -> LocalWorld<'w> {
        LocalWorld {
            site,
            toolchain,
            cwd,
            system: if hermetic { &[] } else { &toolchain.system },
            hermetic,
            met: Met::default(),
            relied: Default::default(),
            begun: None,
            searched: Vec::new(),
            trouble: None,
            questions: 0,
        }
    }

    /// Which folder a path is, for the search path; it is noted as one that is searched.
    pub fn identify(&mut self, path: &[u8]) -> Option<FolderIdentity> {
        let place = self.folder_at(path).place?;
        let identity = place
            .check(self.site.tree.clock(), self.site.epoch)
            .identity?;
        self.searched.push(path.to_vec());
        Some((identity.device, identity.inode))
    }

    /// Whether a place is below a system folder, so that a host has it already.
    pub fn is_system(&self, place: &Place) -> bool {
        is_system(self.system, place)
    }

    /// What the path of that number leads to.
    pub fn found_by_number(&self, number: usize) -> Option<&Found> {
        self.met.found.get(number)
    }

    /// What a path that was opened leads to.
    pub fn found(&self, path: &[u8]) -> Option<&Found> {
        self.met.found.get(self.met.opened.find(path)?)
    }

    /// The file of that number.
    pub fn file(&self, number: u32) -> Option<&File> {
        self.met.files.get(number as usize)
    }

    /// All paths that lead to files.
    pub fn opened(&self) -> &PathTable {
        &self.met.opened
    }

    /// Where nothing was found below the system folders.
    pub fn missed(&self) -> &PathTable {
        &self.met.missed
    }

    /// Notes that nothing is at `path`, for which the walk need not have asked as its folder is not there, if a host must know.
    pub fn miss_unasked(&mut self, path: &[u8]) {
        if let Some(folder) = self.folder_of(path).filter(|folder| folder.place.is_none()) {
            self.miss(path, &folder);
        }
    }

    /// The folders of the search path that are there.
    pub fn searched(&self) -> &[Vec<u8>] {
        &self.searched
    }

    /// Goes along a path and tells of all places on the way.
    pub fn trace(
        &mut self,
        path: &[u8],
        each: &mut dyn FnMut(&Arc<Place>, &Seen),
    ) -> Result<Option<Arc<Place>>, Trouble> {
        self.trace_from(&Arc::clone(&self.cwd), path, each)
    }

    /// Goes along a path from another folder.
    pub fn trace_from(
        &mut self,
        from: &Arc<Place>,
        path: &[u8],
        each: &mut dyn FnMut(&Arc<Place>, &Seen),
    ) -> Result<Option<Arc<Place>>, Trouble> {
        let LocalWorld { site, relied, .. } = self;
        let system = self.toolchain.system.as_slice();
        walk(site.tree, site.epoch, from, path, &mut |place, seen| {
            if place.note(site.epoch) {
                let below =
                    is_system(system, place) && !system.iter().any(|root| Arc::ptr_eq(root, place));
                relied[usize::from(below)].push((Arc::clone(place), seen.version));
            }
            each(place, seen);
        })
    }

    /// The content of a file as it travels under its name there.
    pub fn packed(&self, place: &Place) -> Result<Arc<Content>, Trouble> {
        let Site { tree, epoch, .. } = self.site;
        let want = Want {
            scan: None,
            packet: true,
        };
        let loaded = place.load(tree.clock(), epoch, want);
        let loaded = loaded.map_err(|err| Trouble::new("read", place.path(), &err))?;
        Ok(loaded.content)
    }

    /// What went wrong while it was asked, if anything; then what it answered is worth nothing.
    pub fn trouble(&mut self) -> Option<Trouble> {
        self.trouble.take()
    }

    /// Whether everything is still as it was seen; another request may have looked later.
    pub fn is_consistent(&self) -> bool {
        let Site { tree, epoch, .. } = self.site;
        let same = |(place, version): &(Arc<Place>, u64)| {
            place.check(tree.clock(), epoch).version == *version
        };
        self.relied.iter().flatten().all(same)
    }

    /// All that was looked at: what is below no system folder, and what is.
    pub fn into_relied(self) -> [Relied; 2] {
        self.relied
    }

    /// Notes a place in a folder.
    fn note(&mut self, folder: &Folder, place: &Arc<Place>, seen: &Seen) {
        if place.note(self.site.epoch) {
            self.relied[usize::from(folder.below)].push((Arc::clone(place), seen.version));
        }
    }

    fn folder_at(&mut self, path: &[u8]) -> Folder {
        if let Some(known) = self.met.folders.get(path) {
            return known.clone();
        }
        let folder = self.look_for_folder(path);
        self.met.folders.insert(path.into(), folder.clone());
        folder
    }

    /// The folder that a path would be in, where it names one other than the root.
    fn folder_of(&mut self, path: &[u8]) -> Option<Folder> {
        let slash = path.iter().rposition(|byte| *byte == b'/');
        let at = slash.filter(|at| *at > 0)?;
        Some(self.folder_at(&path[..at]))
    }

    fn look_for_folder(&mut self, path: &[u8]) -> Folder {
        let place = self.step_to(path).unwrap_or_else(|trouble| {
            self.trouble = Some(trouble);
            None
        });
        let system = match &place {
            Some(place) => self.is_system(place),
            None => {
                let defaults = &self.toolchain.defaults;
                !self.system.is_empty() && defaults.iter().any(|dir| is_below(path, &dir.path))
            }
        };
        let below = match system || !self.system.is_empty() {
            true => system,
            false => place
                .as_ref()
                .is_some_and(|place| is_system(&self.toolchain.system, place)),
        };
        Folder {
            place,
            system,
            below,
        }
    }

    /// By one step from the folder above, if that is all there is to it.
    fn step_to(&mut self, path: &[u8]) -> Result<Option<Arc<Place>>, Trouble> {
        let Site { tree, epoch, .. } = self.site;
        let slash = path.iter().rposition(|byte| *byte == b'/');
        if let Some(at) = slash.filter(|at| *at > 0) {
            let name = &path[at + 1..];
            if !matches!(name, b"" | b"." | b"..") {
                let above = self.folder_at(&path[..at]);
                let child = above.place.as_ref().and_then(|above| above.child(name));
                let Some(place) = child else {
                    return Ok(None);
                };
                let seen = place.check(tree.clock(), epoch);
                self.note(&above, &place, &seen);
                match (seen.kind(), seen.trouble) {
                    (Some(Kind::Folder), _) => return Ok(Some(place)),
                    (Some(Kind::Link), _) | (_, Some(_)) => {}
                    _ => return Ok(None),
                }
            }
        }
        let place = self.trace(path, &mut |_, _| {})?;
        let is_folder =
            |place: &Arc<Place>| place.check(tree.clock(), epoch).kind() == Some(Kind::Folder);
        Ok(place.filter(is_folder))
    }

    fn find(&mut self, path: &[u8]) -> Option<Found> {
        let slash = path.iter().rposition(|byte| *byte == b'/');
        let name = &path[slash.map_or(0, |at| at + 1)..];
        let dir = match slash {
            Some(0) => &b"/"[..],
            Some(at) => &path[..at],
            None => b"",
        };
        // Such a path can be a folder only.
        if matches!(name, b"" | b"." | b"..") {
            return None;
        }
        let folder = self.folder_at(dir);
        let Some(above) = &folder.place else {
            self.miss(path, &folder);
            return None;
        };
        let place = above.child(name)?;
        let Site { tree, epoch, .. } = self.site;
        let seen = place.check_file(tree.clock(), epoch, self.want(folder.system));
        self.note(&folder, &place, &seen);
        if seen.kind() != Some(Kind::Link) {
            return self.end_of(path, &folder, place, seen, false);
        }
        match self.trace_from(above, name, &mut |_, _| {}) {
            Ok(Some(end)) => {
                let seen = end.check(tree.clock(), epoch);
                self.end_of(path, &folder, end, seen, true)
            }
            Ok(None) => {
                self.miss(path, &folder);
                None
            }
            Err(trouble) => {
                self.trouble = Some(trouble);
                None
            }
        }
    }

    fn end_of(
        &mut self,
        path: &[u8],
        folder: &Folder,
        place: Arc<Place>,
        seen: Seen,
        linked: bool,
    ) -> Option<Found> {
        match (seen.kind(), seen.identity, seen.trouble) {
            (Some(Kind::File), Some(identity), _) => {
                let system = match linked {
                    true => self.is_system(&place),
                    false => folder.system,
                };
                let file = self.number(&place, &identity, system)?;
                Some(Found {
                    file,
                    place,
                    linked,
                    system,
                })
            }
            (_, _, Some(errno)) => {
                let err = std::io::Error::from_raw_os_error(errno);
                self.trouble = Some(Trouble::new("look at", place.path(), &err));
                None
            }
            (Some(Kind::Other), ..) => {
                let name = String::from_utf8_lossy(place.path());
                self.trouble = Some(Trouble(format!("{name} is no ordinary file")));
                None
            }
            (Some(_), ..) => None,
            (None, ..) => {
                self.miss(path, folder);
                None
            }
        }
    }

    /// Notes that nothing is at `path`, if a host must know that.
    fn miss(&mut self, path: &[u8], folder: &Folder) {
        if folder.system {
            self.met.missed.insert(path);
        }
    }

    fn number(&mut self, place: &Arc<Place>, identity: &Identity, system: bool) -> Option<u32> {
        let inode = (identity.device, identity.inode);
        if let Some(number) = self.met.numbers.get(&inode) {
            return Some(*number);
        }
        let want = self.want(system);
        let loaded = place.load(self.site.tree.clock(), self.site.epoch, want);
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(err) => {
                self.trouble = Some(Trouble::new("read", place.path(), &err));
                return None;
            }
        };
        let number = u32::try_from(self.met.files.len()).ok()?;
        let scan = loaded.content.scan(self.toolchain.compiler.dialect)?;
        self.met.files.push(File {
            opened: Opened {
                file: number,
                scan,
                twin: twin(&loaded.content, &loaded.identity),
            },
            content: loaded.content,
            identity: loaded.identity,
        });
        self.met.numbers.insert(inode, number);
        Some(number)
    }

    /// What is wanted of a file.
    fn want(&self, system: bool) -> Want {
        Want {
            scan: Some(self.toolchain.compiler.dialect),
            packet: !system,
        }
    }

    /// Whether there is no point in going on.
    fn is_over(&mut self) -> bool {
        self.questions += 1;
        self.trouble.is_some() || self.questions % QUESTIONS_PER_LOOK == 0 && self.is_late()
    }
}

impl World for LocalWorld<'_> {
    fn open(&mut self, path: &[u8]) -> Option<Opened> {
        if self.is_over() {
            return None;
        }
        let known = self.found(path).map(|found| found.file);
        let file = known.or_else(|| {
            let found = self.find(path)?;
            let file = found.file;
            self.met.opened.insert(path);
            self.met.found.push(found);
            Some(file)
        });
        Some(self.file(file?)?.opened.clone())
    }

    fn lacks_folder_of(&mut self, path: &[u8]) -> bool {
        let folder = self.folder_of(path);
        folder.is_some_and(|folder| folder.place.is_none())
    }

    fn ask(&mut self, operator: &[u8], operand: &[u8]) -> Option<i64> {
        if self.is_over() {
            return None;
        }
        let question = (operator.to_vec(), operand.to_vec());
        let value = self.site.toolchains.value(self.toolchain, question);
        value.unwrap_or_else(|trouble| {
            self.trouble = Some(trouble);
            None
        })
    }

    fn folder(&mut self, path: &[u8]) -> Option<u64> {
        if self.is_over() {
            return None;
        }
        let place = self.folder_at(path).place?;
        let seen = place.check(self.site.tree.clock(), self.site.epoch);
        let identity = seen.identity?;
        let next = self.met.folder_numbers.len() as u64;
        let inode = (identity.device, identity.inode);
        Some(*self.met.folder_numbers.entry(inode).or_insert(next))
    }

    fn shorter(&mut self, path: &[u8]) -> Option<Vec<u8>> {
        self.open(path)?;
        let real = self.found(path)?.place.path();
        (real.len() < path.len()).then(|| real.to_vec())
    }

    fn begun(&mut self, unit: &Unit<'_>, head: &Head) -> Begun {
        let Site {
            tree,
            epoch,
            beginnings,
            ..
        } = self.site;
        let key = Key::new((self.toolchain, &self.cwd, self.hermetic), unit, head);
        match beginnings.find(&key, tree, epoch) {
            Known::New => Begun::Unknown,
            Known::Wanted => {
                self.begun = Some((key, None));
                Begun::Wanted
            }
            Known::Kept(kept) => {
                let beginning = Arc::clone(&kept.beginning);
                self.begun = Some((key, Some(kept)));
                Begun::Known(beginning)
            }
        }
    }

    fn keep(&mut self, beginning: Beginning) {
        if let (Some((key, None)), None) = (self.begun.take(), &self.trouble) {
            if let Some(kept) = Kept::new(beginning, &self.met, &self.relied) {
                self.site.beginnings.keep(key, kept, self.site.epoch);
            }
        }
    }

    fn take_up(&mut self) -> bool {
        let Some((_, Some(kept))) = self.begun.take() else {
            return false;
        };
        let Some(met) = kept.met(&self.met) else {
            return false;
        };
        self.met = met;
        let Basis { user, system, .. } = kept.basis();
        for (relied, places) in self.relied.iter_mut().zip([user, system]) {
            let new = places
                .iter()
                .filter(|(place, _)| place.note(self.site.epoch));
            relied.extend(new.cloned());
        }
        true
    }

    fn is_late(&mut self) -> bool {
        let Site {
            processor_deadline,
            deadline,
            ..
        } = self.site;
        if thread_time() > processor_deadline || Instant::now() > deadline {
            self.trouble = Some(Trouble("the analysis takes too long".to_owned()));
        }
        self.trouble.is_some()
    }
}

fn is_system(system: &[Arc<Place>], place: &Place) -> bool {
    let below = |folder: &Arc<Place>| is_below(place.path(), folder.path());
    system.iter().any(below)
}

/// Equal for equal content, and with it size, and time of modification in seconds.
fn twin(content: &Content, identity: &Identity) -> u64 {
    let (head, _) = content.hash.split_first_chunk().unwrap_or((&[0; 8], &[]));
    let seconds = identity.modified.div_euclid(1_000_000_000) as u64;
    u64::from_le_bytes(*head) ^ seconds.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
