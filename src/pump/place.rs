//! The file system as the include server knows it: a tree of places, each looked at once per request at most. What was
//! found there is believed only if its identity is the same again and could not have stayed the same by chance; that
//! nothing is there is believed as long as the folder has not changed, or is proven again.

use super::clock::{Clock, Epoch};
use super::content::{lock, Content, Want};
use crate::model::about::{content_hash, Hash};
use crate::model::path_map::PathMap;
use crate::os::identity::{self, now, Identity, Kind, Moment};
use std::ffi::{CString, OsStr};
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// The longest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 512 << 20;

/// Places that something depends on, each with the version that was seen.
pub type Relied = Vec<(Arc<Place>, u64)>;

/// A name in a folder that is no link, and what is there.
pub struct Place {
    path: CString,
    parent: Option<Arc<Place>>,
    pub(super) children: RwLock<PathMap<Arc<Place>>>,
    /// The last request that has it in its list.
    noted: AtomicU64,
    /// Number of the watch over this folder; 0: there is none.
    pub(super) watch: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// For which request it was looked at, or a later one.
    checked: Epoch,
    version: u64,
    there: There,
    /// The watch over the folder that has told nothing of it since it was looked at; 0: there is none.
    covered: u64,
    /// Of which time of trust in watches that is.
    trust: u64,
    target: Option<Arc<[u8]>>,
    /// What it held when it was read last; that lasts when the content is forgotten, for answers that rely on it.
    read: Option<(Hash, Moment)>,
    content: Option<Arc<Content>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum There {
    Unknown,
    /// Nothing, and that can't change as long as the folder has this identity.
    Nothing(Option<Identity>),
    Something(Identity),
    /// It can't be known, because of this error.
    Trouble(i32),
}

/// What is at a place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Another number means that it is, or may be, another file, content, link or folder. That something was created in
    /// a folder does not make it another one.
    pub version: u64,
    /// None: nothing.
    pub identity: Option<Identity>,
    /// Why it can't be known what is there.
    pub trouble: Option<i32>,
}

impl Seen {
    /// Of what kind it is, if something is there.
    pub fn kind(&self) -> Option<Kind> {
        self.identity.as_ref().map(Identity::kind)
    }
}

impl State {
    fn seen(&self) -> Seen {
        let (identity, trouble) = match self.there {
            There::Something(identity) => (Some(identity), None),
            There::Trouble(errno) => (None, Some(errno)),
            There::Nothing(_) | There::Unknown => (None, None),
        };
        Seen {
            version: self.version,
            identity,
            trouble,
        }
    }

    fn is_folder(&self) -> bool {
        matches!(self.there, There::Something(identity) if identity.kind() == Kind::Folder)
    }

    /// Something else is there now.
    fn becomes(&mut self, there: There, clock: &Clock) {
        self.there = there;
        self.version = clock.next_version();
        self.read = None;
        self.content = None;
        self.target = None;
    }
}

/// By its path: it has its folder in it, and that has it.
impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Place").field(&self.path).finish()
    }
}

impl Place {
    pub(super) fn new(path: CString, parent: Option<Arc<Place>>) -> Place {
        Place {
            path,
            parent,
            children: RwLock::default(),
            noted: AtomicU64::new(0),
            watch: AtomicU64::new(0),
            state: Mutex::new(State {
                checked: 0,
                version: 0,
                there: There::Unknown,
                covered: 0,
                trust: 0,
                target: None,
                read: None,
                content: None,
            }),
        }
    }

    /// Its absolute path; no part of it but the last is a link.
    pub fn path(&self) -> &[u8] {
        self.path.as_bytes()
    }

    pub(super) fn c_path(&self) -> &CString {
        &self.path
    }

    /// The folder that it is in; the root is in itself.
    pub fn parent(self: &Arc<Self>) -> &Arc<Place> {
        self.parent.as_ref().unwrap_or(self)
    }

    /// The place of this name, neither empty nor `.` nor `..`, in this folder. None if there can be none of this name.
    pub fn child(self: &Arc<Self>, name: &[u8]) -> Option<Arc<Place>> {
        let known = self.children.read();
        let known = known.unwrap_or_else(PoisonError::into_inner);
        if let Some(child) = known.get(name) {
            return Some(Arc::clone(child));
        }
        drop(known);
        let mut path = self.path().to_vec();
        if path != b"/" {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        let new = Arc::new(Place::new(CString::new(path).ok()?, Some(Arc::clone(self))));
        let known = self.children.write();
        let mut known = known.unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(known.entry(name.into()).or_insert(new)))
    }

    /// Whether this is the first time that the request notes this place; other requests may be in between.
    pub fn note(&self, request: Epoch) -> bool {
        self.noted.swap(request, Ordering::Relaxed) != request
    }

    /// What is there, looked at for this request or a later one.
    pub fn check(&self, clock: &Clock, epoch: Epoch) -> Seen {
        let mut state = lock(&self.state);
        self.check_locked(&mut state, clock, epoch, None);
        state.seen()
    }

    /// The same where a file is expected of which this will be wanted: at the first look it is read at once.
    pub fn check_file(&self, clock: &Clock, epoch: Epoch, want: Want) -> Seen {
        let mut state = lock(&self.state);
        self.check_locked(&mut state, clock, epoch, Some(want));
        state.seen()
    }

    /// Whether a watch answers for it, so that looking at it costs nothing.
    pub fn is_covered(&self, clock: &Clock) -> bool {
        self.covered(&lock(&self.state), clock)
    }

    /// What the watch over its folder has told so far is no longer true.
    pub(super) fn distrust(&self) {
        lock(&self.state).covered = 0;
    }

    fn covered(&self, state: &State, clock: &Clock) -> bool {
        let Some(parent) = &self.parent else {
            return false;
        };
        // A folder's own watch tells of its entries; the one over its parent tells only of the folder.
        state.covered != 0
            && state.covered == parent.watch.load(Ordering::Acquire)
            && state.trust == clock.trust()
            && (!state.is_folder() || self.watch.load(Ordering::Acquire) != 0)
    }

    fn check_locked(&self, state: &mut State, clock: &Clock, epoch: Epoch, want: Option<Want>) {
        if state.checked >= epoch {
            return;
        }
        if self.covered(state, clock) {
            state.checked = epoch;
            return;
        }
        let begun = clock.epoch();
        let folder = match (&self.parent, state.there) {
            (Some(parent), There::Nothing(_) | There::Unknown) => {
                parent.check(clock, epoch).identity
            }
            _ => None,
        };
        if !matches!((state.there, folder), (There::Nothing(Some(then)), Some(folder)) if then == folder)
        {
            self.look(state, clock, folder, want);
        }
        state.checked = begun.max(epoch);
    }

    fn look(&self, state: &mut State, clock: &Clock, folder: Option<Identity>, want: Option<Want>) {
        let parent = self.parent.as_ref();
        let watch = parent.map_or(0, |parent| parent.watch.load(Ordering::Acquire));
        let trust = clock.trust();
        let moment = now();
        let want = want.filter(|_| state.there == There::Unknown);
        let (looked, content) = self.first_look(clock, moment, want);
        match looked {
            Ok(identity) => {
                self.found(state, clock, identity);
                if let Some(content) = content {
                    state.read = Some((content.hash, moment));
                    state.content = Some(content);
                }
                // A watch over a folder does not tell what is written under a name elsewhere.
                let is_file = identity.kind() == Kind::File;
                let unsure = is_file && (identity.is_racy(moment) || identity.names > 1);
                state.covered = if unsure { 0 } else { watch };
            }
            Err(err) => {
                let quiet = folder.filter(|folder| !folder.is_racy(moment));
                let there = match err.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => There::Nothing(quiet),
                    _ => There::Trouble(err.raw_os_error().unwrap_or_default()),
                };
                match (state.there, there) {
                    (There::Nothing(_), There::Nothing(_)) => state.there = there,
                    _ => state.becomes(there, clock),
                }
                state.covered = watch;
            }
        }
        state.trust = trust;
    }

    /// Its identity; if something is wanted of it and it can be read at once, what it holds.
    fn first_look(
        &self,
        clock: &Clock,
        moment: Moment,
        want: Option<Want>,
    ) -> (io::Result<Identity>, Option<Arc<Content>>) {
        let content = |want: Want| {
            identity::read_at_once(&self.path, moment, |bytes| {
                let content = Content::new(bytes, clock.meter());
                content.make(want, self.path(), bytes).map(|()| content)
            })
        };
        match want.map(content) {
            Some(Ok(Some((Ok(content), identity)))) => (Ok(identity), Some(Arc::new(content))),
            Some(Err(err)) if err.kind() == io::ErrorKind::NotFound => (Err(err), None),
            _ => (Identity::of(&self.path), None),
        }
    }

    fn found(&self, state: &mut State, clock: &Clock, identity: Identity) {
        let There::Something(before) = state.there else {
            return state.becomes(There::Something(identity), clock);
        };
        match (identity.kind(), before == identity) {
            (Kind::Folder, _)
                if before.kind() == Kind::Folder
                    && (before.device, before.inode) == (identity.device, identity.inode) =>
            {
                state.there = There::Something(identity);
            }
            (Kind::File, true) => self.read_again_if_racy(state, clock, identity),
            (Kind::Link, true) => {
                if state.target.is_some() && identity.is_racy(now()) {
                    let before = state.target.take();
                    if self.read_link().ok() != before {
                        state.becomes(There::Something(identity), clock);
                    } else {
                        state.target = before;
                    }
                }
            }
            (Kind::Other, true) => {}
            _ => {
                self.watch.store(0, Ordering::Release);
                state.becomes(There::Something(identity), clock);
            }
        }
    }

    /// A file that was changed shortly before it was read may have been changed shortly after it, too.
    fn read_again_if_racy(&self, state: &mut State, clock: &Clock, identity: Identity) {
        let Some((hash, read_at)) = state.read else {
            return;
        };
        if !identity.is_racy(read_at) {
            return;
        }
        let moment = now();
        match self.read(&identity) {
            Ok((bytes, same)) if same == identity && content_hash(&bytes) == hash => {
                state.read = Some((hash, moment));
            }
            Ok((_, other)) => state.becomes(There::Something(other), clock),
            Err(_) => state.becomes(There::Something(identity), clock),
        }
    }

    /// Where the link at this place leads, as it is written.
    pub fn target(&self) -> io::Result<Arc<[u8]>> {
        let mut state = lock(&self.state);
        if let Some(target) = &state.target {
            return Ok(Arc::clone(target));
        }
        let target = self.read_link()?;
        state.target = Some(Arc::clone(&target));
        Ok(target)
    }

    fn read(&self, seen: &Identity) -> io::Result<(Vec<u8>, Identity)> {
        let path = Path::new(OsStr::from_bytes(self.path()));
        identity::read(path, FILE_BYTES_MAX, seen)
    }

    fn read_link(&self) -> io::Result<Arc<[u8]>> {
        let path = Path::new(OsStr::from_bytes(self.path()));
        Ok(std::fs::read_link(path)?.as_os_str().as_bytes().into())
    }

    /// What the file at this place holds, as far as it is wanted, for this request or a later one.
    pub fn load(&self, clock: &Clock, epoch: Epoch, want: Want) -> io::Result<Loaded> {
        let mut state = lock(&self.state);
        self.check_locked(&mut state, clock, epoch, None);
        let There::Something(identity) = state.there else {
            return Err(io::ErrorKind::NotFound.into());
        };
        if let Some(content) = &state.content {
            if content.has(want) {
                let content = Arc::clone(content);
                return Ok(Loaded { content, identity });
            }
        }
        let moment = now();
        let (bytes, identity) = self.read(&identity)?;
        if state.there != There::Something(identity) {
            state.becomes(There::Something(identity), clock);
        }
        let found = content_hash(&bytes);
        if state.read.is_some_and(|(known, _)| known != found) {
            state.becomes(There::Something(identity), clock);
        }
        let content = match state.content.take() {
            Some(known) => known,
            None => Arc::new(Content::new(&bytes, clock.meter())),
        };
        content.make(want, self.path(), &bytes)?;
        state.read = Some((found, moment));
        state.content = Some(Arc::clone(&content));
        Ok(Loaded { content, identity })
    }

    /// The bytes that the file holds, which are to have this hash.
    pub fn bytes(&self, expected: &Hash) -> io::Result<Vec<u8>> {
        let (bytes, _) = self.read(&Identity::of(&self.path)?)?;
        match content_hash(&bytes) == *expected {
            true => Ok(bytes),
            false => Err(io::Error::other("it changes while it is read")),
        }
    }

    /// Forgets what the file holds if no request since `epoch` has asked for it; says how much memory that gave back.
    pub(super) fn forget_content(&self, epoch: Epoch) -> usize {
        let mut state = lock(&self.state);
        match &state.content {
            Some(content) if state.checked < epoch => {
                let bytes = content.memory();
                state.content = None;
                bytes
            }
            _ => 0,
        }
    }

    /// When it was last asked for, and how much its content takes.
    pub(super) fn use_and_memory(&self) -> (Epoch, usize) {
        let state = lock(&self.state);
        let content = state.content.as_ref();
        (state.checked, content.map_or(0, |content| content.memory()))
    }
}

/// A content and the identity of the file that it was read from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it holds.
    pub content: Arc<Content>,
    /// Of the file.
    pub identity: Identity,
}
