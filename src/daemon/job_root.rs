//! The private folder of a pump job, which stands for the client's `/`: the client's files are placed in it, what the
//! compiler made is read from it, and all of it is removed in the end. Nothing is done through a link.

use super::scratch::Scratch;
use crate::model::about::Time;
use crate::model::client_path::ClientPath;
use crate::model::job_tree::{Folder, JobTree, Node, PRIVATE};
use crate::model::wire::{Entry, EntryKind};
use crate::os::beneath::Dir;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Names in the private folder of the job's folder.
const DEPS: &[u8] = b"deps";
const TEMPORARY: &[u8] = b"tmp";
const OUTPUT: &[u8] = b"output";

/// The folder that stands for the client's `/`.
#[derive(Debug)]
pub struct JobRoot {
    dir: Dir,
    /// It, if it is on this machine's disk and not only in a view.
    scratch: Option<Scratch>,
}

/// What is placed.
#[derive(Clone, Copy, Debug)]
pub struct Files<'f> {
    /// Where everything belongs.
    pub tree: &'f JobTree,
    /// The files' contents, by the numbers in the tree.
    pub entries: &'f [Entry],
    /// When each was last modified, as far as that is known.
    pub times: &'f [Time],
}

impl JobRoot {
    /// The root that is this folder on disk.
    pub fn on_disk(scratch: Scratch) -> io::Result<JobRoot> {
        let dir = Dir::open(scratch.path())?;
        JobRoot::new(dir, Some(scratch))
    }

    /// The root that is `dir`, which is `scratch` if it is on disk.
    pub fn new(dir: Dir, scratch: Option<Scratch>) -> io::Result<JobRoot> {
        dir.make(PRIVATE)?;
        dir.enter(PRIVATE)?.make(TEMPORARY)?;
        Ok(JobRoot { dir, scratch })
    }

    /// The folder itself.
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Where it is on disk; empty if it is not.
    pub fn path(&self) -> &Path {
        self.scratch.as_ref().map_or(Path::new(""), Scratch::path)
    }

    /// Where a place of the client's is here.
    pub fn here(&self, place: &ClientPath) -> PathBuf {
        let path = [self.path().as_os_str().as_bytes(), place.as_bytes()].concat();
        PathBuf::from(OsStr::from_bytes(&path))
    }

    /// Places files, folders and links. In a mirror links to absolute paths lead to what lies below this folder.
    pub fn place(&self, files: Files, is_mirror: bool) -> io::Result<()> {
        place_in(&self.dir, files, is_mirror.then_some(self.path()))
    }

    /// What the compiler wrote at a place; `None` if there is no plain file. To be called when nothing of the job runs any
    /// more.
    ///
    /// # Errors
    /// Also if it has more than `bytes_max`.
    pub fn read(&self, place: &ClientPath, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
        let mut folder: Option<Dir> = None;
        for part in place.parent().unwrap_or_default().parts() {
            let at = folder.as_ref().unwrap_or(&self.dir);
            folder = match at.enter(part) {
                Ok(inner) => Some(inner),
                Err(err) => match err.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => return Ok(None),
                    _ => return Err(err),
                },
            };
        }
        let folder = folder.as_ref().unwrap_or(&self.dir);
        folder.read(place.name(), bytes_max)
    }
}

/// Places files, folders and links in a folder that stands for `/`.
pub fn place(top: &Dir, files: Files) -> io::Result<()> {
    place_in(top, files, None)
}

fn place_in(top: &Dir, files: Files, mirror: Option<&Path>) -> io::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let placing = Placing {
        files,
        mirror,
        now: now.map_or(0, |now| now.as_secs() as i64),
    };
    placing.fill(top, &files.tree.top)
}

/// Where the compiler's temporary files go; no client's file is there.
pub fn temporary() -> ClientPath {
    own(TEMPORARY)
}

/// Where dependencies are written.
pub fn deps() -> ClientPath {
    own(DEPS)
}

/// Where an output is written that would go to a device.
pub fn output() -> ClientPath {
    own(OUTPUT)
}

fn own(name: &[u8]) -> ClientPath {
    let mut place = ClientPath::default();
    for part in [PRIVATE, name] {
        let _ = place.push(part); // These are short and plain.
    }
    place
}

struct Placing<'p> {
    files: Files<'p>,
    mirror: Option<&'p Path>,
    now: i64,
}

impl Placing<'_> {
    fn fill(&self, at: &Dir, folder: &Folder) -> io::Result<()> {
        for (name, node) in &folder.nodes {
            match node {
                Node::File(number) => self.write(at, name, *number)?,
                Node::Passage(link) => at.link(name, link)?,
                Node::Spot => at.write(name, b"", None)?,
                Node::Link(link) => at.link(name, &self.moved(link))?,
                Node::Folder(inner) => {
                    at.make(name)?;
                    if !inner.nodes.is_empty() {
                        self.fill(&at.enter(name)?, inner)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// gcc takes files for one under `#pragma once` that are as old and hold the same: where the times are not known, no two
    /// are as old.
    fn write(&self, at: &Dir, name: &[u8], number: usize) -> io::Result<()> {
        let Some(EntryKind::File(content)) =
            self.files.entries.get(number).map(|entry| &entry.kind)
        else {
            return Ok(());
        };
        let made_up = Time {
            seconds: self.now - number as i64,
            nanoseconds: 0,
        };
        let time = self.files.times.get(number).copied().unwrap_or(made_up);
        at.write(name, content, Some(time))
    }

    fn moved(&self, link: &[u8]) -> Vec<u8> {
        match (self.mirror, link.first()) {
            (Some(mirror), Some(b'/')) => [mirror.as_os_str().as_bytes(), link].concat(),
            _ => link.to_vec(),
        }
    }
}
