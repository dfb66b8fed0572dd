//! What a compile changed in the folder of its job beside the output: files for the client that wants them, or else
//! something that no client could be brought.

use super::pump_common::Laid;
use crate::model::about::Time;
use crate::model::client_path::ClientPath;
use crate::model::family::Family;
use crate::model::job_tree::{Folder, Node, PRIVATE};
use crate::model::side_files::{Beside, SideFile, SideFiles, COUNT_MAX};
use crate::os::beneath::{Dir, Kind};
use std::io;

/// Most that they may hold together.
const BYTES_MAX: u64 = 256 << 20;

/// What was placed, to be compared with what is there.
#[derive(Clone, Copy, Debug)]
pub struct Placed<'p> {
    /// Where everything was put.
    pub laid: &'p Laid,
    /// How large the files are, by their numbers in the tree.
    pub sizes: &'p [u64],
    /// When they were last modified.
    pub times: &'p [Time],
    /// What the command makes.
    pub wanted: &'p SideFiles,
    /// Whose compiler it is.
    pub family: Option<Family>,
}

/// Why the files can't be brought home.
#[derive(Debug)]
pub enum Trouble {
    /// The compile did something else, too.
    Else(String),
    /// The folder can't be read.
    Io(io::Error),
}

impl From<io::Error> for Trouble {
    fn from(err: io::Error) -> Trouble {
        Trouble::Io(err)
    }
}

/// Finds the files. To be called when nothing of the job runs any more.
pub fn find(root: &Dir, placed: Placed) -> Result<Vec<SideFile>, Trouble> {
    let mut search = Search {
        placed,
        output_folder: placed.laid.output.parent().unwrap_or_default(),
        found: Vec::new(),
        bytes_left: BYTES_MAX,
    };
    search.folder(root, &placed.laid.tree.top, &ClientPath::default())?;
    Ok(search.found)
}

struct Search<'s> {
    placed: Placed<'s>,
    output_folder: ClientPath,
    found: Vec<SideFile>,
    bytes_left: u64,
}

impl Search<'_> {
    fn folder(&mut self, dir: &Dir, folder: &Folder, at: &ClientPath) -> Result<(), Trouble> {
        let names = dir.names()?;
        let is_top = at.depth() == 0;
        let mut known = 0;
        for name in &names {
            if is_top && name == PRIVATE {
                continue;
            }
            let mut path = at.clone();
            path.push(name).map_err(|why| changed(name, why))?;
            let is_output = path == self.placed.laid.output;
            match folder.nodes.get(name) {
                Some(node) => {
                    known += 1;
                    if !is_output {
                        self.compare(dir, name, node, &path)?;
                    }
                }
                None if is_output => {}
                None => self.take(dir, name, at, &path)?,
            }
        }
        match known == folder.nodes.len() {
            true => Ok(()),
            false => Err(changed(at.shown(), "had something removed from it")),
        }
    }

    /// Something that was placed: it must be as it was.
    fn compare(
        &mut self,
        dir: &Dir,
        name: &[u8],
        node: &Node,
        path: &ClientPath,
    ) -> Result<(), Trouble> {
        let found = dir.look(name)?;
        let is_same = match node {
            Node::Folder(inner) if found.kind == Kind::Folder => {
                return self.folder(&dir.enter(name)?, inner, path);
            }
            Node::Folder(_) => false,
            Node::File(number) => {
                let size = self.placed.sizes.get(*number);
                let time = self.placed.times.get(*number);
                found.kind == Kind::File
                    && size.is_none_or(|size| *size == found.size)
                    && time.is_none_or(|time| *time == found.modified)
            }
            Node::Spot => found.kind == Kind::File,
            Node::Link(_) | Node::Passage(_) => found.kind == Kind::Link,
        };
        match is_same {
            true => Ok(()),
            false => Err(changed(path.shown(), "was changed")),
        }
    }

    /// Something new.
    fn take(
        &mut self,
        dir: &Dir,
        name: &[u8],
        at: &ClientPath,
        path: &ClientPath,
    ) -> Result<(), Trouble> {
        let cwd = &self.placed.laid.cwd;
        let folder = match () {
            () if *at == self.output_folder => Beside::Output,
            () if at == cwd => Beside::Working,
            () => return Err(changed(path.shown(), "was made")),
        };
        let is_known =
            self.placed
                .wanted
                .kind(self.placed.family, folder, name, self.output_folder == *cwd);
        if is_known.is_none() || self.found.len() >= COUNT_MAX {
            return Err(changed(path.shown(), "was made"));
        }
        let content = match dir.read(name, self.bytes_left) {
            Ok(Some(content)) => content,
            Ok(None) => return Err(changed(path.shown(), "is no plain file")),
            Err(err) if err.kind() == io::ErrorKind::FileTooLarge => {
                return Err(changed(path.shown(), "is too large"));
            }
            Err(err) => return Err(err.into()),
        };
        self.bytes_left = self.bytes_left.saturating_sub(content.len() as u64);
        self.found.push(SideFile {
            folder,
            name: name.to_vec(),
            content,
        });
        Ok(())
    }
}

fn changed(name: &[u8], how: &str) -> Trouble {
    let name = String::from_utf8_lossy(name);
    Trouble::Else(format!("beside the output {name} {how}"))
}
