//! The client's files that lie inside what is shown of this machine, as a project in `/usr/src` does: which folders are
//! shown merged, which as the client's alone, and which files must not be there, since programs here would trust them.

use super::shown::{os, Piece, Shown};
use crate::model::about::Time;
use crate::model::client_path::ClientPath;
use crate::model::job_tree::{joined, Folder, JobTree, Node, Refused};
use crate::model::wire::{Entry, EntryKind};
use std::collections::BTreeSet;
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

/// Where the client's files may not be seen beside this machine's.
#[derive(Debug, Default)]
pub struct Alone {
    /// Folders that must not show what this machine has, whether the client has anything in them or not.
    pub own: Vec<ClientPath>,
    /// If the client has told of all that it has: places that are here as they are there. Far from them nothing of this
    /// machine is seen in a folder of the client's, but for what programs may need.
    pub same: Option<Places>,
}

impl Alone {
    /// Whether only the client's things are to be seen in a folder that is part of a piece of this machine.
    fn is_clients(&self, path: &ClientPath, piece: &Piece) -> bool {
        let mut below = path.parts().skip(piece.path.depth());
        let is_for_text = below.any(|part| part == PROJECTS || HEADERS.contains(&part));
        let is_far = |same: &Places| is_for_text && !same.has_near(path);
        self.own.contains(path) || self.same.as_ref().is_some_and(is_far)
    }
}

/// Places, for the question whether one of them is near another.
#[derive(Debug, Default)]
pub struct Places(BTreeSet<Vec<u8>>);

impl FromIterator<ClientPath> for Places {
    fn from_iter<I: IntoIterator<Item = ClientPath>>(places: I) -> Places {
        let places = places.into_iter();
        Places(places.map(|place| place.as_bytes().to_vec()).collect())
    }
}

impl Places {
    /// Whether one of them is this one, lies in it, or has it in itself.
    fn has_near(&self, path: &ClientPath) -> bool {
        let slashes = memchr::memchr_iter(b'/', path.as_bytes());
        let mut above = slashes.filter_map(|end| path.as_bytes().get(..end));
        if self.0.contains(path.as_bytes()) || above.any(|above| self.0.contains(above)) {
            return true;
        }
        let below = [path.as_bytes(), b"/"].concat();
        let first = self.0.range(below.clone()..).next();
        first.is_some_and(|first| first.starts_with(&below))
    }
}

/// Looks through the files of a request.
struct Look<'l> {
    entries: &'l [Entry],
    times: &'l [Time],
    alone: &'l Alone,
    piece: &'l Piece,
    found: &'l mut Inside,
}

/// Finds out, or says why a file must not be where it is.
pub fn look(
    tree: &JobTree,
    entries: &[Entry],
    times: &[Time],
    alone: &Alone,
    shown: &Shown,
) -> Result<Inside, Refused> {
    let mut found = Inside::default();
    for path in &alone.own {
        if shown.shows(path) && !path.parts().any(|part| HEADERS.contains(&part)) {
            return Err(Refused::new(path.shown(), "is no folder of headers"));
        }
    }
    for piece in &shown.pieces {
        match tree.get(&piece.path) {
            Some(Node::Folder(folder)) if piece.is_folder => {
                let mut look = Look {
                    entries,
                    times,
                    alone,
                    piece,
                    found: &mut found,
                };
                look.folder(folder, &piece.path)?;
            }
            Some(Node::Spot) => {}
            // Another thing of the client's, or a link of the client's on the way.
            _ => return Err(Refused::new(piece.path.shown(), "is this machine's own")),
        }
    }
    for (name, node) in &tree.top.nodes {
        let mut path = ClientPath::default();
        path.push(name).map_err(|why| Refused::new(name, why))?;
        if TRUSTED.contains(&name.as_slice()) {
            judge(node, &path, None)?;
            if let Node::Folder(folder) = node {
                let pieces = shown.pieces.iter().map(|piece| &piece.path);
                judge_below(folder, &path, None, &pieces.collect::<Vec<_>>())?;
            }
        }
    }
    for (name, target) in tree.links()? {
        let piece = shown.piece(&target);
        if piece.is_some() && !is_same_link(&name, &target) && is_program(&target, piece) {
            return Err(Refused::new(name.shown(), "leads to where programs are"));
        }
    }
    Ok(found)
}

impl Look<'_> {
    /// A folder of the client's that is one here, too, at `at`.
    fn folder(&mut self, folder: &Folder, at: &ClientPath) -> Result<(), Refused> {
        let (mut must_merge, merged_before) = (folder.written, self.found.merged.len());
        if folder.written && !is_harmless(at, Some(self.piece)) {
            return Err(Refused::new(at.shown(), "is where programs are"));
        }
        for (name, node) in &folder.nodes {
            let mut path = at.clone();
            path.push(name).map_err(|why| Refused::new(name, why))?;
            let here = fs::symlink_metadata(os(&path)).ok();
            match (node, &here) {
                (Node::Folder(inner), Some(meta)) if meta.is_dir() => {
                    match self.alone.is_clients(&path, self.piece) {
                        true => {
                            judge_below(inner, &path, Some(self.piece), &[])?;
                            self.found.own.push(path);
                        }
                        false => self.folder(inner, &path)?,
                    }
                }
                (node, Some(meta)) if self.is_here(node, &path, meta) => {}
                (node, _) => {
                    judge(node, &path, Some(self.piece))?;
                    if let Node::Folder(inner) = node {
                        judge_below(inner, &path, Some(self.piece), &[])?;
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
fn is_program(target: &ClientPath, piece: Option<&Piece>) -> bool {
    let is_executable = |meta: &Metadata| meta.is_file() && meta.mode() & 0o111 != 0;
    let meta = fs::metadata(os(target));
    let trusted = !is_harmless(target, piece) && !is_source(target.name());
    trusted || meta.is_ok_and(|meta| is_executable(&meta))
}

/// Judges all that lies below a folder; `but` are judged elsewhere.
fn judge_below(
    folder: &Folder,
    at: &ClientPath,
    piece: Option<&Piece>,
    but: &[&ClientPath],
) -> Result<(), Refused> {
    for (name, node) in &folder.nodes {
        let mut path = at.clone();
        path.push(name).map_err(|why| Refused::new(name, why))?;
        if but.contains(&&path) {
            continue;
        }
        judge(node, &path, piece)?;
        if let Node::Folder(inner) = node {
            judge_below(inner, &path, piece, but)?;
        }
    }
    Ok(())
}

/// Whether a thing of the client's may be there; `piece` is what it lies in, if it lies in something of this machine's.
fn judge(node: &Node, path: &ClientPath, piece: Option<&Piece>) -> Result<(), Refused> {
    let harmless = match node {
        Node::Folder(folder) => !folder.written || is_harmless(path, piece),
        Node::File(_) => is_source(path.name()) || is_harmless(path, piece),
        Node::Link(_) => is_harmless(path, piece),
        Node::Passage(_) | Node::Spot => true,
    };
    match harmless {
        true => Ok(()),
        false => Err(Refused::new(path.shown(), "is where programs are")),
    }
}

/// Whether programs trust nothing that is there. gcc looks for its own parts also in folders that are not there as a rule,
/// so it is no matter which of them are. That a compiler's own folder lies in one of sources makes it no harmless place.
fn is_harmless(path: &ClientPath, piece: Option<&Piece>) -> bool {
    let depth = piece.map_or(0, |piece| piece.path.depth());
    let below = || path.parts().skip(depth);
    let is_trusted = |part: &[u8]| TRUSTED.contains(&part);
    let is_project = |part: &[u8]| part == PROJECTS;
    let trusted = path.parts().take(depth).any(is_trusted)
        || below().take_while(|part| !is_project(part)).any(is_trusted)
        || piece.is_some_and(|piece| piece.is_compilers) && !below().any(is_project);
    !trusted || below().any(|part| HEADERS.contains(&part))
}

fn is_source(name: &[u8]) -> bool {
    let ending = name.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
    ending.len() < name.len() && SOURCES.contains(&ending)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn path(path: &str) -> ClientPath {
        ClientPath::plain(path.as_bytes()).unwrap()
    }

    fn piece(of: &str, is_compilers: bool) -> Piece {
        Piece {
            path: path(of),
            is_folder: true,
            is_compilers,
        }
    }

    #[test]
    fn programs_are_trusted_wherever_their_folder_is() {
        let (usr, lib) = (piece("/usr", false), piece("/lib", false));
        let (cross, tools) = (piece("/home/src/cross", true), piece("/home/tools", true));
        for (place, within, harmless) in [
            ("/usr/src/x/bin/as", &usr, true),
            ("/usr/x/data", &usr, true),
            ("/usr/bin/as", &usr, false),
            ("/usr/lib/gcc/12/specs", &usr, false),
            ("/usr/lib/gcc/12/include/x", &usr, true),
            ("/usr/share/src/x", &usr, false),
            ("/lib/x86_64-linux-gnu/libc.so.6", &lib, false),
            ("/home/src/cross/bin/as", &cross, false),
            ("/home/src/cross/specs", &cross, false),
            ("/home/src/cross/src/x/bin/as", &cross, true),
            ("/home/src/cross/include/x", &cross, true),
            ("/home/tools/clang.cfg", &tools, false),
        ] {
            assert_eq!(is_harmless(&path(place), Some(within)), harmless, "{place}");
        }
        assert!(!is_harmless(&path("/home/bin/src/x"), None));
        assert!(is_harmless(&path("/home/x"), None));
    }

    #[test]
    fn folders_of_a_client_are_its_own_far_from_the_system() {
        let same = ["/usr/include", "/usr/lib/gcc/12/include"].map(path);
        let alone = Alone {
            own: vec![path("/usr/local/include")],
            same: Some(same.into_iter().collect()),
        };
        let usr = piece("/usr", false);
        for (folder, expected) in [
            ("/usr/src", true),
            ("/usr/src/x", true),
            ("/usr/lib/glib-2.0/include", true),
            ("/usr/lib/glib-2.0", false),
            ("/usr/include", false),
            ("/usr/include/sub", false),
            ("/usr/include-fixed", true),
            ("/usr/local/include", true),
            ("/usr/lib/gcc/12/include/sub", false),
        ] {
            assert_eq!(alone.is_clients(&path(folder), &usr), expected, "{folder}");
        }
        let untold = Alone::default();
        assert!(!untold.is_clients(&path("/usr/src"), &usr));
    }
}
