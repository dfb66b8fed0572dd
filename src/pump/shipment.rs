//! What travels for a unit: the user's files under their real paths, the links and folders on the ways to them, and the
//! links by which a stock daemon finds its own system folders.

use super::content::Content;
use super::place::Place;
use super::walk::Trouble;
use super::world::LocalWorld;
use crate::model::path_map::PathSet;
use crate::model::preprocessor::{Closure, World};
use crate::os::identity::{Identity, Kind};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A stock daemon's own folder is at most so deep, so that this many steps up lead out of it.
const DEPTH: usize = 20;

/// A file that travels.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Where it is.
    pub place: Arc<Place>,
    /// What it holds.
    pub content: Arc<Content>,
    /// Which state of it that is.
    pub identity: Identity,
    /// Equal for files that gcc takes for one.
    pub twin: u64,
    /// The first absolute name under which the compiler opens it.
    pub spelled: Option<Vec<u8>>,
    /// It is opened under a relative name, too.
    pub relative: bool,
}

/// A link that travels.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// Where it is; no part of that is a link.
    pub path: Vec<u8>,
    /// Where it leads to, by no other link.
    pub target: Vec<u8>,
}

/// All that travels.
#[derive(Debug, Default)]
pub struct Shipment {
    /// In the order in which the compiler opens them.
    pub files: Vec<Sent>,
    /// Out of a stock daemon's folder to its system folders.
    pub system_links: Vec<Link>,
    /// The user's.
    pub links: Vec<Link>,
    /// Folders that must be there although they hold nothing that travels.
    pub folders: Vec<Vec<u8>>,
}

/// The ways that a compiler goes beside those to files.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ways<'a> {
    /// Folders that must be there if they are here; relative to the working directory or absolute.
    pub folders: &'a [Vec<u8>],
    /// Files that a host missed.
    pub missed: &'a [Vec<u8>],
}

/// Puts together what travels for a unit.
pub fn pack(
    world: &mut LocalWorld<'_>,
    closure: &Closure,
    ways: Ways<'_>,
    system: &[Arc<Place>],
) -> Result<Shipment, Trouble> {
    let mut packing = Packing {
        world,
        shipment: Shipment::default(),
        sent: HashMap::new(),
        noted: HashSet::new(),
        folders: Vec::new(),
        gone: PathSet::default(),
    };
    for visited in closure.files.iter().chain(&closure.probes) {
        packing.file(&visited.path)?;
    }
    // Also under those names that the compiler gives up for shorter ones.
    for number in 0..packing.world.opened().len() {
        let found = packing.world.found_by_number(number);
        if found.is_some_and(|found| !found.system) {
            let path = packing.world.opened().path(number).to_vec();
            packing.file(&path)?;
        }
    }
    for path in ways.missed {
        packing.world.open(path);
        packing.file(path)?;
    }
    for folder in ways.folders {
        packing.go(folder)?;
    }
    let Packing {
        mut shipment,
        folders,
        ..
    } = packing;
    shipment.system_links = system_links(system);
    shipment.folders = empty_folders(&shipment, &folders);
    Ok(shipment)
}

struct Packing<'p, 'w> {
    world: &'p mut LocalWorld<'w>,
    shipment: Shipment,
    /// Which place is which file.
    sent: HashMap<*const Place, usize>,
    noted: HashSet<*const Place>,
    folders: Vec<Arc<Place>>,
    /// Ways that were gone already.
    gone: PathSet,
}

impl Packing<'_, '_> {
    fn file(&mut self, path: &[u8]) -> Result<(), Trouble> {
        let Some(found) = self.world.found(path) else {
            return Ok(());
        };
        if found.system {
            return Ok(());
        }
        let Some(file) = self.world.file(found.file) else {
            return Ok(());
        };
        let (place, linked) = (Arc::clone(&found.place), found.linked);
        let at = match self.sent.get(&Arc::as_ptr(&place)) {
            Some(at) => *at,
            None => {
                let mut sent = Sent {
                    place: Arc::clone(&place),
                    content: Arc::clone(&file.content),
                    identity: file.identity,
                    twin: file.opened.twin,
                    spelled: None,
                    relative: false,
                };
                // One file may have several names, and what it holds goes by that under which it was met first.
                if !sent.content.is_packed_as(place.path()) {
                    sent.content = self.world.packed(&place)?;
                }
                let at = self.shipment.files.len();
                self.shipment.files.push(sent);
                self.sent.insert(Arc::as_ptr(&place), at);
                at
            }
        };
        let Some(sent) = self.shipment.files.get_mut(at) else {
            return Ok(());
        };
        match path.starts_with(b"/") {
            true if sent.spelled.is_none() => sent.spelled = Some(path.to_vec()),
            true => {}
            false => sent.relative = true,
        }
        let slash = path.iter().rposition(|byte| *byte == b'/');
        match (linked, slash) {
            (true, _) => self.go(path),
            (false, Some(at)) => self.go(&path[..at + 1]),
            (false, None) => Ok(()),
        }
    }

    /// Goes a way and notes its links and folders.
    fn go(&mut self, path: &[u8]) -> Result<(), Trouble> {
        if !self.gone.insert(path.to_vec()) {
            return Ok(());
        }
        let mut passed = Vec::new();
        self.world.trace(path, &mut |place, seen| {
            passed.push((Arc::clone(place), seen.kind()));
        })?;
        for (place, kind) in passed {
            if self.world.is_system(&place) || !self.noted.insert(Arc::as_ptr(&place)) {
                continue;
            }
            match kind {
                Some(Kind::Folder) => self.folders.push(place),
                Some(Kind::Link) => self.link(&place)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn link(&mut self, link: &Arc<Place>) -> Result<(), Trouble> {
        let target = link.target();
        let target = target.map_err(|err| Trouble::new("read link", link.path(), &err))?;
        let end = self
            .world
            .trace_from(link.parent(), &target, &mut |_, _| {})?;
        if let Some(end) = end {
            self.shipment.links.push(Link {
                path: link.path().to_vec(),
                target: end.path().to_vec(),
            });
        }
        Ok(())
    }
}

/// `/usr/include` → `../../…/usr/include`, for each system folder.
fn system_links(system: &[Arc<Place>]) -> Vec<Link> {
    let link = |place: &Arc<Place>| {
        let path = place.path();
        let slashes = path.iter().filter(|byte| **byte == b'/').count();
        let mut target = b"../".repeat(DEPTH + slashes);
        target.extend_from_slice(path.strip_prefix(b"/").unwrap_or(path));
        Link {
            path: path.to_vec(),
            target,
        }
    };
    system.iter().map(link).collect()
}

/// Those folders in which nothing is put that travels.
fn empty_folders(shipment: &Shipment, folders: &[Arc<Place>]) -> Vec<Vec<u8>> {
    let mut made: HashSet<&[u8]> = HashSet::new();
    let files = shipment.files.iter().map(|sent| sent.place.path());
    let links = shipment.system_links.iter().chain(&shipment.links);
    for path in files.chain(links.map(|link| link.path.as_slice())) {
        make_way(path, &mut made);
    }
    let mut folders: Vec<&[u8]> = folders.iter().map(|place| place.path()).collect();
    // A folder comes after what is in it.
    folders.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    let mut empty = Vec::new();
    for folder in folders {
        if made.insert(folder) {
            make_way(folder, &mut made);
            empty.push(folder.to_vec());
        }
    }
    empty.sort();
    empty
}

/// Notes all folders above `path`.
fn make_way<'p>(path: &'p [u8], made: &mut HashSet<&'p [u8]>) {
    let mut path = path;
    while let Some(at) = path.iter().rposition(|byte| *byte == b'/') {
        path = &path[..at];
        if !made.insert(path) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pump::tree::Tree;

    #[test]
    fn system_links_lead_out_as_stocks_do() {
        let tree = Tree::default();
        let place = |path: &str| {
            let names = path.split('/').filter(|name| !name.is_empty());
            names.fold(Arc::clone(tree.root()), |at, name| {
                at.child(name.as_bytes()).unwrap_or(at)
            })
        };
        let system = [
            "/usr/lib/gcc/x86_64-linux-gnu/12/include",
            "/usr/local/include",
            "/usr/include",
            "/usr/include-foo",
        ]
        .map(place);
        let links = system_links(&system);
        let paths: Vec<_> = links
            .iter()
            .map(|link| String::from_utf8_lossy(&link.path).into_owned())
            .collect();
        assert_eq!(
            paths,
            [
                "/usr/lib/gcc/x86_64-linux-gnu/12/include",
                "/usr/local/include",
                "/usr/include",
                "/usr/include-foo"
            ]
        );
        for (link, steps) in links.iter().zip([26, 23, 22, 22]) {
            let expected = [&b"../".repeat(steps)[..], &link.path[1..]].concat();
            assert_eq!(link.target, expected);
        }
    }
}
