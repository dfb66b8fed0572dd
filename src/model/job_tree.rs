//! The files of a pump request as a tree: which folders, files and links there will be below the root of its job. Every
//! name is judged here, before anything is made, so that nothing is ever written through a link or above the root.

use super::client_path::ClientPath;
use super::command_line::text;
use super::wire::{Entry, EntryKind};
use std::collections::btree_map::Entry as Place;
use std::collections::BTreeMap;
use std::fmt;

/// The folder at the top that is ours in every job; no client's name lies in it.
pub const PRIVATE: &[u8] = b".distcc";

/// The name of an empty file that only says that its folder exists; stock's.
const PLACEHOLDER: &[u8] = b"forcing_technique_271828";

/// Endings of precompiled headers: compilers believe what is in them, which must not come from a stranger.
const PRECOMPILED: [&[u8]; 2] = [b".gch", b".pch"];

/// How many links one name may lead through before it is taken for a circle; Linux's number.
const HOPS_MAX: usize = 40;

/// How many parts of links and names may lie ahead on a way: more than any name has whose links are meant to lead somewhere.
const AHEAD_MAX: usize = 1024;

/// How many folders, files and links a job may have, with those that only lie on the way.
const NODES_MAX: usize = 4 << 16;

/// How many of them may be links: each is followed to its end.
const LINKS_MAX: usize = 10_000;

/// What stands at a place of the tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Node {
    /// A folder.
    Folder(Folder),
    /// A file: the number of its entry.
    File(usize),
    /// A symbolic link of the client's, with its text.
    Link(Vec<u8>),
    /// A symbolic link that this machine shows in every job; the client's names may lead through it.
    Passage(Vec<u8>),
    /// An empty file, over which one of this machine is mounted.
    Spot,
}

/// A folder of the tree.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Folder {
    /// What it holds.
    pub nodes: BTreeMap<Vec<u8>, Node>,
    /// The compiler is to write in it.
    pub written: bool,
}

/// The tree.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct JobTree {
    /// The client's `/`.
    pub top: Folder,
    /// Folders of its own system that the client takes to be here as they are: stock's links out of the tree.
    pub system_folders: Vec<ClientPath>,
    nodes: usize,
    links: usize,
}

/// Why a request's files can't be laid out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    name: String,
    why: &'static str,
}

impl Refused {
    /// This name can't be, since it `why`.
    pub fn new(name: &[u8], why: &'static str) -> Refused {
        let name = text(name);
        Refused { name, why }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the name {} {}", self.name, self.why)
    }
}

impl JobTree {
    /// A tree with nothing but links of this machine.
    pub fn new<'p>(passages: impl Iterator<Item = (&'p ClientPath, &'p [u8])>) -> JobTree {
        let mut tree = JobTree::default();
        for (path, link) in passages {
            let parent = path.parent().and_then(|parent| tree.folder(&parent).ok());
            if let Some(parent) = parent {
                let node = Node::Passage(link.to_vec());
                parent.nodes.insert(path.name().to_vec(), node);
            }
        }
        tree
    }

    /// Adds an entry of the request.
    pub fn add(&mut self, number: usize, entry: &Entry) -> Result<(), Refused> {
        let refused = |why| Refused::new(&entry.name, why);
        let path = ClientPath::plain(&entry.name).map_err(refused)?;
        let kind = match &entry.kind {
            EntryKind::Link(link) => match leads_to_itself(&path, link) {
                true => {
                    self.system_folders.push(path);
                    return Ok(());
                }
                false => Node::Link(link.clone()),
            },
            EntryKind::File(_) => Node::File(number),
        };
        let path = self.place(&path).map_err(refused)?;
        let is_precompiled = |part: &[u8]| PRECOMPILED.iter().any(|end| part.ends_with(end));
        if path.parts().any(is_precompiled) {
            return Err(refused("is a precompiled header"));
        }
        let parent = path.parent().ok_or_else(|| refused("is the top"))?;
        let is_placeholder = path.name() == PLACEHOLDER
            && matches!(&entry.kind, EntryKind::File(content) if content.is_empty());
        let folder = self.folder(&parent).map_err(refused)?;
        match is_placeholder {
            true => Ok(()),
            false => {
                let is_new = put(folder, path.name(), kind).map_err(refused)?;
                self.count(is_new, matches!(entry.kind, EntryKind::Link(_)))
                    .map_err(refused)
            }
        }
    }

    fn count(&mut self, is_new: bool, is_link: bool) -> Result<(), &'static str> {
        self.nodes += usize::from(is_new);
        self.links += usize::from(is_new && is_link);
        match self.nodes > NODES_MAX || self.links > LINKS_MAX {
            true => Err("is one too many"),
            false => Ok(()),
        }
    }

    /// Where a name of the client's really is: behind the links of this machine, and of those only.
    fn place(&self, path: &ClientPath) -> Result<ClientPath, &'static str> {
        if path.parts().next() == Some(PRIVATE) {
            return Err("is one of the server's own");
        }
        let (mut folder, mut done) = (Some(&self.top), ClientPath::default());
        let mut parts = path.parts();
        while let Some(part) = parts.next() {
            let node = folder.and_then(|folder| folder.nodes.get(part));
            let is_last = parts.clone().next().is_none();
            folder = match node {
                Some(Node::Folder(inner)) => Some(inner),
                Some(Node::Passage(link)) if !is_last => {
                    let mut inside = joined(&done, link);
                    for part in parts {
                        inside.push(b'/');
                        inside.extend_from_slice(part);
                    }
                    let behind = ClientPath::cleaned(&inside).ok_or("leads nowhere")?;
                    return self.place(&behind);
                }
                Some(Node::Link(_)) if !is_last => return Err("leads through a link"),
                Some(Node::File(_)) if !is_last => return Err("lies below a file"),
                _ => None,
            };
            done.push(part)?;
        }
        Ok(done)
    }

    /// The folder at a place, made if it is not there yet.
    fn folder(&mut self, path: &ClientPath) -> Result<&mut Folder, &'static str> {
        let mut folder = &mut self.top;
        for part in path.parts() {
            let node = match folder.nodes.entry(part.to_vec()) {
                Place::Occupied(place) => place.into_mut(),
                Place::Vacant(place) => {
                    self.nodes += 1;
                    if self.nodes > NODES_MAX {
                        return Err("is one too many");
                    }
                    place.insert(Node::Folder(Folder::default()))
                }
            };
            let Node::Folder(inner) = node else {
                return Err("is a folder and something else");
            };
            folder = inner;
        }
        Ok(folder)
    }

    /// Makes the folder that `path` leads to from `from`, through links; returns its place.
    pub fn make_folder(&mut self, from: &ClientPath, path: &[u8]) -> Result<ClientPath, Refused> {
        let place = self.follow(from, path)?;
        let refused = |why| Refused::new(path, why);
        if place.parts().next() == Some(PRIVATE) {
            return Err(refused("is one of the server's own"));
        }
        self.folder(&place).map_err(refused)?;
        Ok(place)
    }

    /// Makes the place of a file of this machine; the client must have nothing there.
    pub fn make_spot(&mut self, path: &ClientPath) -> Result<(), Refused> {
        let refused = |why| Refused::new(path.shown(), why);
        let parent = path.parent().ok_or_else(|| refused("is the top"))?;
        let folder = self.folder(&parent).map_err(refused)?;
        match folder.nodes.entry(path.name().to_vec()) {
            Place::Vacant(place) => {
                place.insert(Node::Spot);
                Ok(())
            }
            Place::Occupied(_) => Err(refused("is this machine's own")),
        }
    }

    /// Notes that the compiler is to write in a folder that was made.
    pub fn write_in(&mut self, place: &ClientPath) {
        if let Ok(folder) = self.folder(place) {
            folder.written = true;
        }
    }

    /// Where `path` leads to from the folder `from`, through all links. What is not there is taken for a folder.
    pub fn follow(&self, from: &ClientPath, path: &[u8]) -> Result<ClientPath, Refused> {
        let refused = |why| Refused::new(path, why);
        let start = joined(from, path);
        // What is still to be gone, the next part last; and where we are, with the folders on the way.
        let mut rest: Vec<&[u8]> = start.split(|byte| *byte == b'/').rev().collect();
        let mut here: Vec<(&[u8], Option<&Folder>)> = Vec::new();
        let mut hops = 0;
        while let Some(part) = rest.pop() {
            let folder = here.last().map_or(Some(&self.top), |(_, folder)| *folder);
            match (part, folder.and_then(|folder| folder.nodes.get(part))) {
                (b"" | b".", _) => {}
                (b"..", _) => {
                    here.pop().ok_or_else(|| refused("climbs out"))?;
                }
                (_, Some(Node::Link(link) | Node::Passage(link))) => {
                    hops += 1;
                    if hops > HOPS_MAX {
                        return Err(refused("leads in a circle"));
                    }
                    if link.first() == Some(&b'/') {
                        here.clear();
                    }
                    rest.extend(link.split(|byte| *byte == b'/').rev());
                    if rest.len() > AHEAD_MAX {
                        return Err(refused("is too long"));
                    }
                }
                (_, Some(Node::Folder(inner))) => here.push((part, Some(inner))),
                (_, _) => here.push((part, None)),
            }
        }
        let mut place = ClientPath::default();
        for (part, _) in here {
            place.push(part).map_err(refused)?;
        }
        Ok(place)
    }

    /// The client's links, and where each leads in the end; none leads out of the tree.
    pub fn links(&self) -> Result<Vec<(ClientPath, ClientPath)>, Refused> {
        let mut links = Vec::new();
        self.visit(&mut |path, node| {
            let Node::Link(link) = node else {
                return Ok(());
            };
            let parent = path.parent().unwrap_or_default();
            let leads_to = self
                .follow(&parent, link)
                .map_err(|fault| Refused::new(path.shown(), fault.why))?;
            links.push((path.clone(), leads_to));
            Ok(())
        })?;
        Ok(links)
    }

    /// Shows every node but the top, each folder before what it holds.
    pub fn visit<E>(
        &self,
        look: &mut impl FnMut(&ClientPath, &Node) -> Result<(), E>,
    ) -> Result<(), E> {
        visit(&self.top, &ClientPath::default(), look)
    }

    /// What stands at a place.
    pub fn get(&self, path: &ClientPath) -> Option<&Node> {
        let parent = path.parent()?;
        let mut folder = &self.top;
        for part in parent.parts() {
            let Some(Node::Folder(inner)) = folder.nodes.get(part) else {
                return None;
            };
            folder = inner;
        }
        folder.nodes.get(path.name())
    }
}

fn visit<E>(
    folder: &Folder,
    at: &ClientPath,
    look: &mut impl FnMut(&ClientPath, &Node) -> Result<(), E>,
) -> Result<(), E> {
    for (name, node) in &folder.nodes {
        let mut path = at.clone();
        if path.push(name).is_err() {
            continue; // No such name was put in.
        }
        look(&path, node)?;
        if let Node::Folder(inner) = node {
            visit(inner, &path, look)?;
        }
    }
    Ok(())
}

/// Puts a file or a link in a folder; whether it is new.
fn put(folder: &mut Folder, name: &[u8], node: Node) -> Result<bool, &'static str> {
    match (folder.nodes.entry(name.to_vec()), node) {
        (Place::Vacant(place), node) => {
            place.insert(node);
            Ok(true)
        }
        (Place::Occupied(mut place), node) => match (place.get(), &node) {
            (Node::File(_), Node::File(_)) => {
                place.insert(node);
                Ok(false)
            }
            (Node::Link(before), Node::Link(link)) if before == link => Ok(false),
            (Node::Passage(before), Node::Link(link)) if same_from_top(before, link) => Ok(false),
            (Node::Link(_) | Node::Passage(_), Node::File(_)) => Err("would be written to a link"),
            _ => Err("comes twice"),
        },
    }
}

/// Whether two texts of links in the top folder lead to the same place.
fn same_from_top(one: &[u8], other: &[u8]) -> bool {
    let top = ClientPath::default();
    let place = |link| ClientPath::cleaned(&joined(&top, link));
    place(one).is_some() && place(one) == place(other)
}

/// `path` as it is meant in the folder `from`.
pub fn joined(from: &ClientPath, path: &[u8]) -> Vec<u8> {
    match path.first() {
        Some(b'/') => path.to_vec(),
        _ => [from.as_bytes(), b"/", path].concat(),
    }
}

/// Stock's sign for a folder of its own system: so many `../` that they lead out of any tree, and then the link's own path.
fn leads_to_itself(path: &ClientPath, link: &[u8]) -> bool {
    let (mut rest, mut climbs) = (link, 0);
    while let Some(shorter) = rest.strip_prefix(b"../") {
        (rest, climbs) = (shorter, climbs + 1);
    }
    climbs > path.depth() && path.as_bytes().strip_prefix(b"/") == Some(rest)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn file(name: &str) -> Entry {
        Entry {
            name: name.into(),
            kind: EntryKind::File(b"x".to_vec()),
        }
    }

    fn link(name: &str, to: &str) -> Entry {
        Entry {
            name: name.into(),
            kind: EntryKind::Link(to.into()),
        }
    }

    fn path(path: &str) -> ClientPath {
        ClientPath::plain(path.as_bytes()).unwrap()
    }

    fn tree(entries: &[Entry]) -> Result<JobTree, Refused> {
        let lib = path("/lib");
        let passages = [(&lib, &b"usr/lib"[..])];
        let mut tree = JobTree::new(passages.into_iter());
        for (number, entry) in entries.iter().enumerate() {
            tree.add(number, entry)?;
        }
        tree.links()?;
        Ok(tree)
    }

    fn listed(tree: &JobTree) -> Vec<String> {
        let mut seen = Vec::new();
        let all = tree.visit(&mut |path, node| {
            seen.push(match node {
                Node::Folder(_) => format!("{path}/"),
                Node::File(number) => format!("{path} {number}"),
                Node::Link(to) | Node::Passage(to) => format!("{path} -> {}", text(to)),
                Node::Spot => format!("{path} *"),
            });
            Ok::<(), ()>(())
        });
        all.unwrap();
        seen
    }

    #[test]
    fn files_links_and_folders_find_their_place() {
        let placeholder = Entry {
            name: b"/home/me/sub/forcing_technique_271828".to_vec(),
            kind: EntryKind::File(Vec::new()),
        };
        let climb = format!("{}usr/include", "../".repeat(22));
        let entries = [
            file("/home/me/a.c"),
            link("/home/me/ln", "/home/other"),
            link("/home/me/up", "../other"),
            link("/usr/include", &climb),
            placeholder,
            file("/lib/x/y.h"),
            link("/lib", "/usr/lib/"),
            file("/home/me/a.c"),
        ];
        let mut tree = tree(&entries).unwrap();
        assert_eq!(
            listed(&tree),
            [
                "/home/",
                "/home/me/",
                "/home/me/a.c 7",
                "/home/me/ln -> /home/other",
                "/home/me/sub/",
                "/home/me/up -> ../other",
                "/lib -> usr/lib",
                "/usr/",
                "/usr/lib/",
                "/usr/lib/x/",
                "/usr/lib/x/y.h 5",
            ]
        );
        assert_eq!(tree.system_folders, [path("/usr/include")]);
        let links = tree.links().unwrap();
        assert!(links.iter().all(|(_, to)| *to == path("/home/other")) && links.len() == 2);
        let cwd = path("/home/me");
        for (name, place) in [
            ("ln/out", "/home/other/out"),
            ("/lib/z/..", "/usr/lib"),
            ("up/../x", "/home/x"),
            ("", "/home/me"),
        ] {
            let made = tree.make_folder(&cwd, name.as_bytes()).unwrap();
            assert_eq!(made, path(place), "{name}");
            assert!(matches!(tree.get(&made), Some(Node::Folder(_))), "{name}");
        }
    }

    #[test]
    fn what_leads_out_or_through_is_refused() {
        let out = format!("{}etc/passwd", "../".repeat(22));
        for (entries, why) in [
            (&[file("/../x")][..], ".."),
            (&[file("x")], "absolute"),
            (&[file("/")], "top"),
            (&[file("/.distcc/tmp/x")], "own"),
            (&[file("/a/./b")], "."),
            (&[file("/a/x.h.gch")], "precompiled"),
            (&[file("/a/x.h.pch/y")], "precompiled"),
            (&[link("/a/x.h.gch", "y")], "precompiled"),
            (&[link("/a/ln", "../../x")], "climbs out"),
            (&[link("/a/ln", &out)], "climbs out"),
            (&[link("/a/ln", "/../x")], "climbs out"),
            (&[link("/usr/include", "../usr/include")], "circle"),
            (&[link("/a", "b"), link("/b", "a")], "circle"),
            // Each is harmless by its letters.
            (
                &[link("/a/b/c", "/"), link("/x", "a/b/c/../y")],
                "climbs out",
            ),
            (&[link("/ln", "/a"), file("/ln/x")], "through a link"),
            (&[link("/ln", "/a"), file("/ln")], "to a link"),
            (&[file("/ln"), link("/ln", "/a")], "twice"),
            (&[link("/ln", "/a"), link("/ln", "/b")], "twice"),
            (&[link("/lib", "/home")], "twice"),
            (&[file("/lib")], "to a link"),
            (&[file("/a/x"), file("/a/x/y")], "below a file"),
            (&[file("/a/x/y"), file("/a/x")], "twice"),
            (&[file("/a/x/y"), link("/a/x", "y")], "twice"),
        ] {
            let fault = tree(entries).unwrap_err().to_string();
            assert!(fault.contains(why), "{entries:?}: {fault}");
        }
        let mut tree = tree(&[file("/a/x")]).unwrap();
        assert!(tree.make_spot(&path("/a/x")).is_err());
        assert!(tree.make_spot(&path("/a")).is_err());
        assert!(tree.make_spot(&path("/dev/null")).is_ok());
        for name in ["../../x", "/a/x", "/a/x/y", "/.distcc/x", "/dev/null/x"] {
            assert!(
                tree.make_folder(&path("/a"), name.as_bytes()).is_err(),
                "{name}"
            );
        }
    }

    #[test]
    fn bombs_of_folders_and_links_do_not_go_off() {
        let mut one = JobTree::default();
        let deep = "/d".repeat(120);
        let fault = (0..10_000).find_map(|number| {
            let name = format!("/{number}{deep}/x");
            one.add(0, &file(&name)).err()
        });
        assert!(fault.unwrap().to_string().contains("too many"));
        let mut two = JobTree::default();
        let fault = (0..20_000).find_map(|number| {
            let name = format!("/{number}");
            two.add(0, &link(&name, "x")).err()
        });
        assert!(fault.unwrap().to_string().contains("too many"));
    }

    fn entry() -> impl Strategy<Value = Entry> {
        let name = "(/(a|b|lib|\\.\\.|\\.)){0,4}";
        let to = "(/|(\\.\\./){0,3})(a|b|lib)?(/(a|b|\\.\\.)){0,3}";
        prop_oneof![
            name.prop_map(|name| file(&name)),
            (name, to).prop_map(|(name, to)| link(&name, &to)),
        ]
    }

    proptest! {
        #[test]
        fn no_name_leads_out(entries in proptest::collection::vec(entry(), 0..6)) {
            if let Ok(tree) = tree(&entries) {
                for (name, to) in tree.links().unwrap() {
                    prop_assert_eq!(tree.follow(&ClientPath::default(), name.shown()).unwrap(), to);
                }
            }
        }
    }
}
