//! Whether this machine's system headers are those that a client has found in its own. What was looked at is remembered
//! together with how the system saw it, so that a job costs a look at each file and folder, and not its content.

use crate::model::about::{content_hash, About, Hash, Lookup};
use crate::os::files::open_plain;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Larger files are no headers.
const FILE_BYTES_MAX: u64 = 32 << 20;

/// How much is read for one job: more than all headers of a system, and less than would keep us busy for long.
const READ_BYTES_MAX: u64 = 1 << 30;

/// How many places are looked at for one job, and parts of their names are gone through for that: ten thousand headers in a
/// hundred folders, and less than would keep us busy for long.
const LOOKS_MAX: usize = 1_000_000;

/// How much memory what is remembered may take, about.
const MEMORY_BYTES_MAX: usize = 64 << 20;

/// A change in the same moment as a look might not be seen by the next one.
const SETTLED_S: i64 = 2;

/// How the system sees a file or folder: another content has another stamp.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(meta: &Metadata) -> Stamp {
        Stamp {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

/// A path that was looked at.
#[derive(Debug)]
struct Thing {
    path: Vec<u8>,
    /// `None`: there was nothing.
    stamp: Option<Stamp>,
    holds: Holds,
    settled: bool,
}

#[derive(Debug)]
enum Holds {
    Nothing,
    File(Hash),
    Folder(HashSet<Box<[u8]>>),
    /// A folder that jobs don't see, as it is above those that they do: what it holds is none of a client's business.
    Unlisted,
}

impl Thing {
    /// Whether it is as it was.
    fn is_unchanged(&self) -> bool {
        let meta = fs::metadata(Path::new(OsStr::from_bytes(&self.path))).ok();
        meta.as_ref().map(Stamp::of) == self.stamp
    }
}

/// What is remembered.
#[derive(Debug, Default)]
struct Memory {
    things: HashMap<Vec<u8>, Arc<Thing>>,
    /// By the hash of what a client told: everything that must be as it was for the answer to be good.
    good: HashMap<[u8; 32], Arc<[Arc<Thing>]>>,
    bytes: usize,
}

/// The headers of this machine.
#[derive(Debug, Default)]
pub struct SystemHeaders(Mutex<Memory>);

/// The check of one job.
struct Check<'c> {
    memory: &'c Mutex<Memory>,
    /// Whether jobs see what is there.
    is_seen: &'c dyn Fn(&Path) -> bool,
    now: i64,
    /// The client's system folders, which need not be looked for in others.
    roots: HashSet<&'c [u8]>,
    read_bytes: u64,
    looks: usize,
    looked_at: HashMap<Vec<u8>, Arc<Thing>>,
}

impl SystemHeaders {
    /// What differs from what a client told, in words; `None` if nothing does. `told` is the entry that `about` was read
    /// from; `is_seen` says whether jobs see a path.
    pub fn difference(
        &self,
        told: &[u8],
        about: &About,
        is_seen: &dyn Fn(&Path) -> bool,
    ) -> Option<String> {
        if about.system.is_empty() && about.absent_dirs.is_empty() {
            return None;
        }
        let key = key(told);
        let known = lock(&self.0).good.get(&key).cloned();
        if known.is_some_and(|things| things.iter().all(|thing| thing.is_unchanged())) {
            return None;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let mut check = Check {
            memory: &self.0,
            is_seen,
            now: now.map_or(0, |now| now.as_secs() as i64),
            roots: about.system_dirs.iter().map(Vec::as_slice).collect(),
            read_bytes: 0,
            looks: 0,
            looked_at: HashMap::new(),
        };
        let surplus = about.absent_dirs.iter();
        let surplus = surplus.filter_map(|dir| check.surplus_dir(dir)).next();
        let difference = surplus.or_else(|| {
            let mut lookups = about.system.iter();
            lookups.find_map(|lookup| check.difference(lookup, &about.system_dirs))
        });
        if difference.is_none() {
            let mut things: Vec<Arc<Thing>> = check.looked_at.into_values().collect();
            if things.iter().all(|thing| thing.settled) {
                // Neighbours are quicker to look at one after another.
                things.sort_by(|one, other| one.path.cmp(&other.path));
                lock(&self.0).note_answer(key, things.into());
            }
        }
        difference
    }
}

impl Memory {
    fn note_thing(&mut self, thing: &Arc<Thing>) {
        let names = match &thing.holds {
            Holds::Folder(names) => names.iter().map(|name| 40 + name.len()).sum(),
            _ => 0,
        };
        self.make_room(300 + 2 * thing.path.len() + names);
        self.things.insert(thing.path.clone(), thing.clone());
    }

    fn note_answer(&mut self, key: [u8; 32], things: Arc<[Arc<Thing>]>) {
        self.make_room(100 + size_of::<Arc<Thing>>() * things.len());
        self.good.insert(key, things);
    }

    /// Who is full forgets everything: that is rare, and soon made good.
    fn make_room(&mut self, bytes: usize) {
        self.bytes += bytes;
        if self.bytes > MEMORY_BYTES_MAX {
            *self = Memory::default();
            self.bytes = bytes;
        }
    }
}

/// A slot that panicked has left nothing half done here.
fn lock(memory: &Mutex<Memory>) -> std::sync::MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The hash of what was told of system headers, which is everything from the first record about them on. What one client
/// tells decides for all that tell the same, so nobody must be able to find something else with this hash.
fn key(told: &[u8]) -> [u8; 32] {
    let mut at = 0;
    for record in told.split_inclusive(|byte| *byte == 0) {
        if matches!(
            record.first(),
            Some(b'd' | b'm' | b'f' | b'n' | b'c' | b'a')
        ) {
            break;
        }
        at += record.len();
    }
    blake3::hash(told.get(at..).unwrap_or_default()).into()
}

impl Check<'_> {
    fn difference(&mut self, lookup: &Lookup, dirs: &[Vec<u8>]) -> Option<String> {
        if self.looks > LOOKS_MAX {
            return Some("it would take too long to compare them".to_owned());
        }
        match lookup {
            Lookup::Found {
                start,
                at,
                hash,
                name,
            } => {
                let nearer = dirs.get(usize::from(*start)..usize::from(*at));
                let (Some(nearer), Some(dir)) = (nearer, dirs.get(usize::from(*at))) else {
                    return Some("a folder that was not told".to_owned());
                };
                let surplus = nearer.iter().find_map(|dir| self.surplus(&join(dir, name)));
                surplus.or_else(|| self.other(&join(dir, name), hash))
            }
            Lookup::Missing { start, name } => {
                let dirs = dirs.get(usize::from(*start)..).unwrap_or_default();
                dirs.iter().find_map(|dir| self.surplus(&join(dir, name)))
            }
            Lookup::Holds { path, hash } => self.other(path, hash),
            Lookup::Nothing { path } => self.surplus(path),
        }
    }

    /// A folder that should not be there; an empty one is as good as none.
    fn surplus_dir(&mut self, path: &[u8]) -> Option<String> {
        self.looks += 1;
        match &self.thing(path).holds {
            Holds::Folder(names) if !names.is_empty() => {
                Some(format!("{} is here, and not at the client", shown(path)))
            }
            _ => None,
        }
    }

    /// A file that should not be there.
    fn surplus(&mut self, path: &[u8]) -> Option<String> {
        self.file(path)
            .map(|_| format!("{} is here, and not at the client", shown(path)))
    }

    /// A file that should be there with this content.
    fn other(&mut self, path: &[u8], hash: &Hash) -> Option<String> {
        match self.file(path) {
            Some(here) if here == *hash => None,
            Some(_) => Some(format!("{} is not the client's", shown(path))),
            None => Some(format!("{} is not here", shown(path))),
        }
    }

    /// The content of the file that a compiler would find there.
    fn file(&mut self, path: &[u8]) -> Option<Hash> {
        self.looks += 1;
        match self.listed(path)?.holds {
            Holds::File(hash) => Some(hash),
            _ => None,
        }
    }

    /// What is there; not looked at unless its folder has the name, as most lookups miss, and one folder answers for all
    /// that is not in it.
    fn listed(&mut self, path: &[u8]) -> Option<Arc<Thing>> {
        let slash = memchr::memrchr(b'/', path)?;
        let (folder, name) = (path.get(..slash)?, path.get(slash + 1..)?);
        let is_root = folder.is_empty() || self.roots.contains(folder);
        let folder = match is_root {
            true => self.thing(folder),
            false => self.listed(folder)?,
        };
        match &folder.holds {
            Holds::Folder(names) if names.contains(name) => Some(self.thing(path)),
            Holds::Unlisted => Some(self.thing(path)),
            _ => None,
        }
    }

    fn thing(&mut self, path: &[u8]) -> Arc<Thing> {
        let path = if path.is_empty() { b"/" } else { path };
        if let Some(thing) = self.looked_at.get(path) {
            return thing.clone();
        }
        let known = lock(self.memory).things.get(path).cloned();
        let thing = match known.filter(|thing| thing.settled && thing.is_unchanged()) {
            Some(thing) => thing,
            None => {
                let thing = Arc::new(self.look(path));
                lock(self.memory).note_thing(&thing);
                thing
            }
        };
        self.looked_at.insert(path.to_vec(), thing.clone());
        thing
    }

    fn look(&mut self, path: &[u8]) -> Thing {
        self.looks += memchr::memchr_iter(b'/', path).count();
        let here = Path::new(OsStr::from_bytes(path));
        let meta = fs::metadata(here).ok();
        let stamp = meta.as_ref().map(Stamp::of);
        let is_seen = self.is_seen;
        let seen = || here.canonicalize().is_ok_and(|real| is_seen(&real));
        let holds = match &meta {
            Some(meta) if meta.is_dir() && seen() => names(here).map(Holds::Folder),
            Some(meta) if meta.is_dir() => Some(Holds::Unlisted),
            Some(meta) if meta.is_file() && self.may_read(meta.len()) && seen() => {
                content(here).map(Holds::File)
            }
            _ => None,
        };
        let newest = stamp.map_or(0, |stamp| stamp.changed.0.max(stamp.modified.0));
        let mut thing = Thing {
            path: path.to_vec(),
            stamp,
            holds: holds.unwrap_or(Holds::Nothing),
            settled: newest < self.now - SETTLED_S,
        };
        thing.settled &= thing.is_unchanged();
        thing
    }
}

impl Check<'_> {
    fn may_read(&mut self, bytes: u64) -> bool {
        self.read_bytes = self.read_bytes.saturating_add(bytes);
        bytes <= FILE_BYTES_MAX && self.read_bytes <= READ_BYTES_MAX
    }
}

fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    [dir, b"/", name].concat()
}

fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

fn names(folder: &Path) -> Option<HashSet<Box<[u8]>>> {
    let mut names = HashSet::new();
    for entry in fs::read_dir(folder).ok()? {
        names.insert(entry.ok()?.file_name().as_bytes().into());
    }
    Some(names)
}

fn content(path: &Path) -> Option<Hash> {
    let file = open_plain(path).ok()??;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).ok()?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return None;
    }
    Some(content_hash(&bytes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    fn hash_of(text: &str) -> Hash {
        content_hash(text.as_bytes())
    }

    fn found(start: u16, at: u16, name: &str, text: &str) -> Lookup {
        Lookup::Found {
            start,
            at,
            hash: hash_of(text),
            name: name.into(),
        }
    }

    /// Two folders of headers, old enough to be remembered.
    fn folders() -> (tempfile::TempDir, About) {
        let dir = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| dir.path().join(name));
        for folder in [one.join("sys"), two.join("sys"), two.join("folder.h")] {
            fs::create_dir_all(folder).unwrap();
        }
        fs::write(two.join("a.h"), "a").unwrap();
        fs::write(two.join("sys/b.h"), "b").unwrap();
        symlink("a.h", two.join("ln.h")).unwrap();
        symlink("/etc/passwd", two.join("out.h")).unwrap();
        let about = About {
            system_dirs: [&one, &two]
                .map(|dir| dir.as_os_str().as_bytes().to_vec())
                .to_vec(),
            system: vec![
                found(0, 1, "a.h", "a"),
                found(0, 1, "sys/b.h", "b"),
                found(1, 1, "ln.h", "a"),
                Lookup::Missing {
                    start: 0,
                    name: b"c.h".to_vec(),
                },
                Lookup::Missing {
                    start: 0,
                    name: b"folder.h".to_vec(),
                },
                Lookup::Missing {
                    start: 1,
                    name: b"out.h".to_vec(),
                },
                Lookup::Missing {
                    start: 0,
                    name: b"no/such/x.h".to_vec(),
                },
                Lookup::Holds {
                    path: two.join("sys/b.h").as_os_str().as_bytes().to_vec(),
                    hash: hash_of("b"),
                },
                Lookup::Nothing {
                    path: one.join("a.h").as_os_str().as_bytes().to_vec(),
                },
            ],
            ..About::default()
        };
        (dir, about)
    }

    fn difference(headers: &SystemHeaders, about: &About, dir: &Path) -> Option<String> {
        let is_seen = |path: &Path| path.starts_with(dir);
        headers.difference(&about.encode(), about, &is_seen)
    }

    #[test]
    fn the_same_headers_are_known_as_such_and_any_change_is_seen() {
        let (dir, mut about) = folders();
        let path = dir.path().canonicalize().unwrap();
        let headers = SystemHeaders::default();
        assert_eq!(difference(&headers, &about, &path), None);
        assert!(
            lock(&headers.0).good.is_empty(),
            "it is too young to be remembered"
        );
        std::thread::sleep(Duration::from_secs(SETTLED_S as u64 + 2));
        assert_eq!(difference(&headers, &about, &path), None);
        assert_eq!(lock(&headers.0).good.len(), 1);
        about.times.push(Default::default());
        about.variables.push((b"LANG".to_vec(), b"C".to_vec()));
        assert_eq!(difference(&headers, &about, &path), None);
        assert_eq!(lock(&headers.0).good.len(), 1, "files' times are no matter");
        let [one, two] = ["one", "two"].map(|name| path.join(name));
        type Change<'c> = (&'c dyn Fn(), &'c dyn Fn(), &'c str);
        let changes: [Change; 5] = [
            (
                &|| fs::write(two.join("a.h"), "A").unwrap(),
                &|| fs::write(two.join("a.h"), "a").unwrap(),
                "two/a.h is not the client's",
            ),
            (
                &|| fs::write(one.join("sys/b.h"), "b").unwrap(),
                &|| fs::remove_file(one.join("sys/b.h")).unwrap(),
                "one/sys/b.h is here, and not at the client",
            ),
            (
                &|| fs::write(one.join("c.h"), "").unwrap(),
                &|| fs::remove_file(one.join("c.h")).unwrap(),
                "one/c.h is here",
            ),
            (
                &|| fs::create_dir_all(two.join("no/such/x.h")).unwrap(),
                &|| fs::remove_dir_all(two.join("no")).unwrap(),
                "",
            ),
            (
                &|| fs::rename(two.join("sys"), two.join("gone")).unwrap(),
                &|| fs::rename(two.join("gone"), two.join("sys")).unwrap(),
                "two/sys/b.h is not here",
            ),
        ];
        for (change, undo, words) in changes {
            change();
            let said = difference(&headers, &about, &path).unwrap_or_default();
            assert!(
                said.contains(words) && said.is_empty() == words.is_empty(),
                "{said}"
            );
            undo();
            assert_eq!(difference(&headers, &about, &path), None, "{words}");
        }
    }

    #[test]
    fn what_makes_no_sense_differs() {
        let (dir, about) = folders();
        for lookup in [
            found(1, 0, "a.h", "a"),
            found(0, 9, "a.h", "a"),
            found(0, 1, "", "a"),
            found(0, 1, "folder.h", "a"),
            Lookup::Holds {
                path: b"".to_vec(),
                hash: hash_of(""),
            },
            Lookup::Holds {
                path: b"/dev/null".to_vec(),
                hash: hash_of(""),
            },
        ] {
            let system = vec![lookup.clone()];
            let about = About {
                system,
                ..about.clone()
            };
            let headers = SystemHeaders::default();
            assert!(
                difference(&headers, &about, dir.path()).is_some(),
                "{lookup:?}"
            );
        }
    }
}
