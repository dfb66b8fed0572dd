//! The folder in which files and links are put ready for stock's clients, which are told their paths only. What is there
//! stays readable after the answer, and is replaced whole when it changes; it goes when the include server ends.

use super::content::lock;
use super::reply::{placeholder, shapes, Reply, Shape};
use crate::model::about::Hash;
use crate::model::entries::{Entries, Raw};
use crate::model::lzo;
use crate::os::files;
use crate::os::identity::now;
use crate::os::liveness::{life, Life};
use crate::os::process::user_id;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{symlink, DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// What stands between the random part of a root's name and the numbers.
const MARK: &str = ".include_server-";

/// How many roots are used at the same time; entries that contradict each other are put into different ones.
const ROOTS_MAX: usize = 64;

/// Where roots are made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Base(PathBuf);

impl Base {
    /// The folder that the user names, or the one of this machine.
    ///
    /// # Errors
    /// Why it can't be that folder: a client takes away three parts of each path, so it may have two at most.
    pub fn find(client_tmp: Option<&OsStr>) -> Result<Base, String> {
        let Some(path) = client_tmp.filter(|path| !path.is_empty()) else {
            let shared = Path::new("/dev/shm");
            let usable =
                fs::metadata(shared).is_ok_and(|meta| meta.is_dir()) && files::may_write(shared);
            let path = if usable { shared } else { Path::new("/tmp") };
            return Ok(Base(path.to_owned()));
        };
        let name = path.to_string_lossy();
        if !path.as_bytes().starts_with(b"/") {
            return Err(format!("DISTCC_CLIENT_TMP must start with '/': {name}"));
        }
        let parts: Vec<&[u8]> = parts(path.as_bytes()).collect();
        if !(1..=2).contains(&parts.len()) || parts.contains(&&b".."[..]) {
            return Err(format!(
                "DISTCC_CLIENT_TMP must have one or two directory levels: {name}"
            ));
        }
        Ok(Base(
            Path::new("/").join(OsStr::from_bytes(&parts.join(&b'/'))),
        ))
    }

    fn depth(&self) -> usize {
        parts(self.0.as_os_str().as_bytes()).count()
    }

    /// Removes what include servers that are no longer there left behind.
    pub fn remove_orphans(&self) {
        let Ok(found) = fs::read_dir(&self.0) else {
            return;
        };
        for entry in found.flatten() {
            let owner = owner(entry.file_name().as_bytes());
            let gone = owner.is_some_and(|pid| life(pid) == Life::Gone);
            let ours = fs::symlink_metadata(entry.path());
            if gone && ours.is_ok_and(|meta| meta.is_dir() && meta.uid() == user_id()) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

fn parts(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let parts = path.split(|byte| *byte == b'/');
    parts.filter(|part| !matches!(*part, b"" | b"."))
}

/// The process that a root belongs to: `….include_server-PID-NUMBER`.
fn owner(name: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(name).ok()?;
    let (_, numbers) = text.rsplit_once(MARK)?;
    let (pid, generation) = numbers.split_once('-')?;
    generation.parse::<u64>().ok()?;
    pid.parse().ok()
}

/// What has been put at a path.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Put {
    Folder,
    File(Hash, Shape),
    Link(Vec<u8>),
}

/// A root, and what is in it by the paths of the client.
#[derive(Debug)]
struct Root {
    path: Vec<u8>,
    top: PathBuf,
    put: HashMap<Vec<u8>, Put>,
}

/// All roots.
#[derive(Debug)]
pub struct Spool {
    base: Base,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    roots: Vec<Root>,
    /// Roots that are no longer added to, but may be read.
    old: Vec<PathBuf>,
    generation: u64,
    written: u64,
    closed: bool,
}

impl Spool {
    /// With no root yet.
    pub fn new(base: Base) -> Spool {
        Spool {
            base,
            inner: Mutex::default(),
        }
    }

    /// Puts everything of an answer ready and says where; in the order in which it is to be sent. `folders`: with what
    /// only makes folders.
    pub fn put(&self, reply: &Reply, folders: bool) -> io::Result<Vec<Vec<u8>>> {
        let mut inner = lock(&self.inner);
        if inner.closed {
            return Err(io::Error::other("the include server ends"));
        }
        if inner.roots.len() > ROOTS_MAX {
            let roots = std::mem::take(&mut inner.roots);
            inner.old.extend(roots.into_iter().map(|root| root.top));
        }
        let shipment = &reply.shipment;
        let mut paths = Vec::new();
        for (sent, shape) in shipment.files.iter().zip(shapes(&shipment.files)) {
            let suffix: &[u8] = if shape.line.is_some() {
                b".lzo.abs"
            } else {
                b".lzo"
            };
            let name = [sent.place.path(), suffix].concat();
            let put = Put::File(sent.content.hash, shape.clone());
            let bytes = || match sent.content.packet().filter(|_| shape.is_plain()) {
                Some(packet) => match Entries::of(&packet).next() {
                    Some(Ok(Raw::File(_, body))) => Ok(body.to_vec()),
                    _ => Err(io::Error::other("an entry is no file")),
                },
                None => {
                    let bytes = shape.apply(&sent.place.bytes(&sent.content.hash)?);
                    lzo::compress(&bytes).map_err(io::Error::other)
                }
            };
            paths.push(inner.place(&self.base, &name, put, &bytes)?);
        }
        for link in shipment.system_links.iter().chain(&shipment.links) {
            let put = Put::Link(link.target.clone());
            paths.push(inner.place(&self.base, &link.path, put, &|| Ok(Vec::new()))?);
        }
        for folder in shipment.folders.iter().filter(|_| folders) {
            let put = Put::File(Hash::default(), Shape::default());
            paths.push(inner.place(&self.base, &placeholder(folder), put, &|| Ok(Vec::new()))?);
        }
        Ok(paths)
    }

    /// Removes everything; nothing is put any more.
    pub fn close(&self) {
        let mut inner = lock(&self.inner);
        inner.closed = true;
        let roots = std::mem::take(&mut inner.roots);
        let old = std::mem::take(&mut inner.old);
        for top in roots.into_iter().map(|root| root.top).chain(old) {
            let _ = fs::remove_dir_all(top);
        }
    }
}

type Bytes<'b> = &'b dyn Fn() -> io::Result<Vec<u8>>;

impl Inner {
    /// Puts an entry into the first root where nothing contradicts it.
    fn place(
        &mut self,
        base: &Base,
        name: &[u8],
        put: Put,
        bytes: Bytes<'_>,
    ) -> io::Result<Vec<u8>> {
        self.written += 1;
        let serial = self.written;
        for root in &mut self.roots {
            if root.allows(name, &put) {
                return root.place(name, put, bytes, serial);
            }
        }
        self.generation += 1;
        let mut root = Root::make(base, self.generation)?;
        let path = root.place(name, put, bytes, serial);
        self.roots.push(root);
        path
    }
}

impl Root {
    fn make(base: &Base, generation: u64) -> io::Result<Root> {
        for attempt in 0..100_u32 {
            let random = now().unsigned_abs() ^ u64::from(attempt);
            let name = format!("tmp{random:x}{MARK}{}-{generation}", std::process::id());
            let top = base.0.join(name);
            let mut builder = fs::DirBuilder::new();
            match builder.mode(0o700).create(&top) {
                Ok(()) => {}
                Err(err) if err.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(err) => return Err(err),
            }
            let path = match base.depth() {
                1 => top.join("padding"),
                _ => top.clone(),
            };
            builder.recursive(true).create(&path)?;
            return Ok(Root {
                path: path.as_os_str().as_bytes().to_vec(),
                top,
                put: HashMap::new(),
            });
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Whether nothing in this root contradicts the entry: on the way to it are folders only, and at its place is nothing
    /// or an older state of it.
    fn allows(&self, name: &[u8], put: &Put) -> bool {
        let free = match (self.put.get(name), put) {
            (None, _) | (Some(Put::Link(_)), Put::Link(_)) => true,
            (Some(Put::File(_, old)), Put::File(_, new)) => old == new,
            _ => false,
        };
        free && folders_above(name)
            .all(|folder| matches!(self.put.get(folder), None | Some(Put::Folder)))
    }

    fn place(
        &mut self,
        name: &[u8],
        put: Put,
        bytes: Bytes<'_>,
        serial: u64,
    ) -> io::Result<Vec<u8>> {
        let path = [&self.path[..], name].concat();
        if self.put.get(name) == Some(&put) {
            return Ok(path);
        }
        self.make_way(name)?;
        // Whoever reads the old one goes on reading it.
        let mut beside = self.path.clone();
        beside.extend_from_slice(format!("/.{serial}").as_bytes());
        let beside = Path::new(OsStr::from_bytes(&beside));
        match &put {
            Put::Link(target) => symlink(OsStr::from_bytes(target), beside)?,
            _ => fs::write(beside, bytes()?)?,
        }
        fs::rename(beside, OsStr::from_bytes(&path))?;
        self.put.insert(name.to_vec(), put);
        Ok(path)
    }

    fn make_way(&mut self, name: &[u8]) -> io::Result<()> {
        let mut missing: Vec<&[u8]> = Vec::new();
        for folder in folders_above(name) {
            if self.put.contains_key(folder) {
                break;
            }
            missing.push(folder);
        }
        for folder in missing.into_iter().rev() {
            let path = [&self.path[..], folder].concat();
            fs::create_dir(OsStr::from_bytes(&path))?;
            self.put.insert(folder.to_vec(), Put::Folder);
        }
        Ok(())
    }
}

/// The folders above an absolute name, the nearest first, the root not.
fn folders_above(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut name = name;
    std::iter::from_fn(move || {
        let at = name.iter().rposition(|byte| *byte == b'/')?;
        name = &name[..at];
        (!name.is_empty()).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn base(path: &str) -> Result<Base, String> {
        Base::find(Some(OsStr::new(path)))
    }

    #[test]
    fn bases_have_one_or_two_levels() {
        for (path, expected) in [
            ("/a", Some("/a")),
            ("/a/b", Some("/a/b")),
            ("//a//b///", Some("/a/b")),
            ("a/b", None),
            ("/a/b/c", None),
            ("/", None),
            ("/a/..", None),
        ] {
            let found = base(path).ok().map(|base| base.0);
            assert_eq!(found, expected.map(PathBuf::from), "{path}");
        }
        assert!(Base::find(None).is_ok());
    }

    #[test]
    fn owners_are_read_from_names() {
        for (name, pid) in [
            ("tmpx.include_server-17-2", Some(17)),
            ("tmp.include_server-1-1.include_server-18-3", Some(18)),
            ("tmpx.include_server-17", None),
            ("tmpx.include_server-17-x", None),
            ("include_server-17-1", None),
        ] {
            assert_eq!(owner(name.as_bytes()), pid, "{name}");
        }
    }

    /// Bases have two levels at most, so it is one below `/tmp`.
    fn scratch() -> tempfile::TempDir {
        tempfile::tempdir_in("/tmp").unwrap()
    }

    fn file(byte: u8) -> Put {
        Put::File([byte; 16], Shape::default())
    }

    #[test]
    fn contradicting_entries_get_roots_of_their_own() {
        let dir = scratch();
        let base = base(dir.path().to_str().unwrap()).unwrap();
        let spool = Spool::new(base.clone());
        let mut inner = lock(&spool.inner);
        let mut place = |name: &str, put: Put, text: &str| {
            let bytes = || Ok(text.as_bytes().to_vec());
            let path = inner.place(&base, name.as_bytes(), put, &bytes).unwrap();
            PathBuf::from(OsStr::from_bytes(&path))
        };
        let first = place("/w/a.h.lzo", file(1), "one");
        assert_eq!(first.components().count(), 1 + 3 + 2);
        assert_eq!(place("/w/a.h.lzo", file(1), "never written"), first);
        assert_eq!(fs::read(&first).unwrap(), b"one");
        let opened = fs::File::open(&first).unwrap();
        assert_eq!(place("/w/a.h.lzo", file(2), "two"), first);
        assert_eq!(fs::read(&first).unwrap(), b"two");
        assert_eq!(io::read_to_string(opened).unwrap(), "one");
        let shaped = Shape {
            line: Some(b"/w/a.h".to_vec()),
            newlines: 0,
        };
        let other = place("/w/a.h.lzo", Put::File([2; 16], shaped), "shaped");
        assert_ne!(other, first);
        // What was a folder is a link now, to somewhere that must not be written to.
        let outside = dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        let target = outside.as_os_str().as_bytes().to_vec();
        let link = place("/w", Put::Link(target.clone()), "");
        assert!(link.is_symlink());
        let below = place("/w/b.h.lzo", file(3), "three");
        assert_eq!(fs::read(&below).unwrap(), b"three");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        assert_eq!(place("/w", Put::Link(b"/elsewhere".to_vec()), ""), link);
        assert_eq!(fs::read_link(&link).unwrap(), Path::new("/elsewhere"));
        drop(inner);
        spool.close();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn one_level_is_padded_and_orphans_go() {
        let dir = scratch();
        let flat = Base(dir.path().to_owned());
        let root = Root::make(&flat, 1).unwrap();
        let padded = Root::make(&Base("/tmp".into()), 7).unwrap();
        assert!(padded.path.ends_with(b"-7/padding"));
        fs::remove_dir_all(&padded.top).unwrap();
        let orphan = dir.path().join(format!("tmpx{MARK}999999999-1/padding"));
        fs::create_dir_all(&orphan).unwrap();
        let other = dir.path().join("tmpx.include_server-no-1");
        fs::create_dir(&other).unwrap();
        flat.remove_orphans();
        assert!(!orphan.exists() && other.exists() && root.top.exists());
    }
}
