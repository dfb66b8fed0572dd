//! The client's files that lie inside what is shown of this machine, as a project in `/usr/src` does: which folders are
//! shown merged, which as the client's alone, and which files must not be there, since programs here would trust them.

use super::shown::{os, Shown};
use crate::model::about::Time;
use crate::model::client_path::ClientPath;
use crate::model::job_tree::{joined, Folder, JobTree, Node, Refused};
use crate::model::wire::{Entry, EntryKind};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;

/// Folders where programs, and what they load or obey, are found.
const TRUSTED: &[&[u8]] = &[
    b"bin", b"etc", b"lib", b"lib32", b"lib64", b"libexec", b"libx32", b"proc", b"sbin", b"share",
    b"sys",
];

/// Folders in which only compilers look for anything, and only for text.
const HEADERS: &[&[u8]] = &[b"Headers", b"include", b"include-fixed"];

/// A folder in which no program looks for anything of its own, whatever the folders in it are called.
const PROJECTS: &[u8] = b"src";

/// Endings of names that nothing but a compiler reads, wherever they are.
const SOURCES: &[&[u8]] = &[
    b"C", b"H", b"S", b"c", b"c++", b"cc", b"cp", b"cpp", b"cxx", b"def", b"h", b"h++", b"hh",
    b"hpp", b"hxx", b"i", b"ii", b"inc", b"inl", b"ipp", b"m", b"mm", b"tcc", b"tpp",
];

/// What the client's files need in a view beside the pieces of this machine.
#[derive(Debug, Default)]
pub struct Inside {
    /// Folders in which this machine's things and the client's are both seen, those of the client first.
    pub merged: Vec<ClientPath>,
    /// Folders in which only the client's things are seen.
    pub own: Vec<ClientPath>,
}

/// Looks through the files of a request; `own` are the folders that must not show what this machine has.
struct Look<'l> {
    entries: &'l [Entry],
    times: &'l [Time],
    own: &'l [ClientPath],
    found: Inside,
}

/// Finds out, or says why a file must not be where it is.
pub fn look(
    tree: &JobTree,
    entries: &[Entry],
    times: &[Time],
    own: &[ClientPath],
    shown: &Shown,
) -> Result<Inside, Refused> {
    let mut look = Look {
        entries,
        times,
        own,
        found: Inside::default(),
    };
    for path in own {
        if shown.shows(path) && !path.parts().any(|part| HEADERS.contains(&part)) {
            return Err(Refused::new(path.shown(), "is no folder of headers"));
        }
    }
    for piece in &shown.pieces {
        match tree.get(&piece.path) {
            Some(Node::Folder(folder)) if piece.is_folder => look.folder(folder, &piece.path)?,
            None | Some(Node::Folder(_) | Node::Spot) => {}
            Some(_) => return Err(Refused::new(piece.path.shown(), "is this machine's own")),
        }
    }
    for (name, node) in &tree.top.nodes {
        let mut path = ClientPath::default();
        path.push(name).map_err(|why| Refused::new(name, why))?;
        if TRUSTED.contains(&name.as_slice()) {
            judge(node, &path)?;
            if let Node::Folder(folder) = node {
                let pieces = shown.pieces.iter().map(|piece| &piece.path);
                judge_below(folder, &path, &pieces.collect::<Vec<_>>())?;
            }
        }
    }
    for (name, target) in tree.links()? {
        if shown.shows(&target) && !is_same_link(&name, &target) && is_program(&target) {
            return Err(Refused::new(name.shown(), "leads to where programs are"));
        }
    }
    Ok(look.found)
}

impl Look<'_> {
    /// A folder of the client's that is one here, too, at `at`.
    fn folder(&mut self, folder: &Folder, at: &ClientPath) -> Result<(), Refused> {
        let (mut must_merge, merged_before) = (folder.written, self.found.merged.len());
        if folder.written && !is_harmless(at) {
            return Err(Refused::new(at.shown(), "is where programs are"));
        }
        for (name, node) in &folder.nodes {
            let mut path = at.clone();
            path.push(name).map_err(|why| Refused::new(name, why))?;
            let here = fs::symlink_metadata(os(&path)).ok();
            match (node, &here) {
                (Node::Folder(inner), Some(meta)) if meta.is_dir() => {
                    match self.own.contains(&path) {
                        true => {
                            judge_below(inner, &path, &[])?;
                            self.found.own.push(path);
                        }
                        false => self.folder(inner, &path)?,
                    }
                }
                (node, Some(meta)) if self.is_here(node, &path, meta) => {}
                (node, _) => {
                    judge(node, &path)?;
                    if let Node::Folder(inner) = node {
                        judge_below(inner, &path, &[])?;
                    }
                    must_merge = true;
                }
            }
        }
        if must_merge {
            self.found.merged.truncate(merged_before);
            self.found.merged.push(at.clone());
        }
        Ok(())
    }

    /// Whether this machine has the very same thing there.
    fn is_here(&self, node: &Node, path: &ClientPath, meta: &Metadata) -> bool {
        match node {
            Node::Folder(folder) => folder.nodes.is_empty() && !folder.written && os(path).is_dir(),
            Node::File(number) => match self.entries.get(*number).map(|entry| &entry.kind) {
                Some(EntryKind::File(content)) => {
                    let time = self.times.get(*number);
                    meta.is_file()
                        && meta.len() == content.len() as u64
                        && time.is_none_or(|time| time.seconds == meta.mtime())
                        && fs::read(os(path)).is_ok_and(|here| here == *content)
                }
                _ => false,
            },
            Node::Link(link) => {
                let parent = path.parent().unwrap_or_default();
                let target = ClientPath::cleaned(&joined(&parent, link));
                target.is_some_and(|target| is_same_link(path, &target))
            }
            Node::Passage(_) | Node::Spot => true,
        }
    }
}

/// Whether this machine has a link of that name that leads there, too.
fn is_same_link(name: &ClientPath, target: &ClientPath) -> bool {
    let path = os(name);
    path.is_symlink() && path.canonicalize().is_ok_and(|here| here == os(target))
}

/// Whether what this machine has there is a program, or is where programs are.
fn is_program(target: &ClientPath) -> bool {
    let is_executable = |meta: &Metadata| meta.is_file() && meta.mode() & 0o111 != 0;
    let meta = fs::metadata(os(target));
    let trusted = !is_harmless(target) && !is_source(target.name());
    trusted || meta.is_ok_and(|meta| is_executable(&meta))
}

/// Judges all that lies below a folder; `but` are judged elsewhere.
fn judge_below(folder: &Folder, at: &ClientPath, but: &[&ClientPath]) -> Result<(), Refused> {
    for (name, node) in &folder.nodes {
        let mut path = at.clone();
        path.push(name).map_err(|why| Refused::new(name, why))?;
        if but.contains(&&path) {
            continue;
        }
        judge(node, &path)?;
        if let Node::Folder(inner) = node {
            judge_below(inner, &path, but)?;
        }
    }
    Ok(())
}

/// Whether a thing of the client's may be there.
fn judge(node: &Node, path: &ClientPath) -> Result<(), Refused> {
    let harmless = match node {
        Node::Folder(folder) => !folder.written || is_harmless(path),
        Node::File(_) => is_source(path.name()) || is_harmless(path),
        Node::Link(_) => is_harmless(path),
        Node::Passage(_) | Node::Spot => true,
    };
    match harmless {
        true => Ok(()),
        false => Err(Refused::new(path.shown(), "is where programs are")),
    }
}

/// Whether programs trust nothing that is there. gcc looks for its own parts also in folders that are not there as a rule,
/// so it is no matter which of them are.
fn is_harmless(path: &ClientPath) -> bool {
    let mut parts = path.parts();
    let trusted = parts
        .clone()
        .take_while(|part| *part != PROJECTS)
        .any(|part| TRUSTED.contains(&part));
    !trusted || parts.any(|part| HEADERS.contains(&part))
}

fn is_source(name: &[u8]) -> bool {
    let ending = name.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
    ending.len() < name.len() && SOURCES.contains(&ending)
}
