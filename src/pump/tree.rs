//! The tree of all places, the counter of requests, and the watches over folders that seldom change: for those one
//! question to the kernel answers for thousands of files.

use super::clock::{Clock, Epoch};
use super::content::lock;
use super::place::Place;
use crate::os::identity;
use crate::os::notify::{Change, FolderNumber, Notifier};
use std::collections::HashMap;
use std::ffi::CString;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// How long watches are believed before everything is looked at again. They tell of all that programs write; they tell
/// nothing of what is written through a shared map or mounted over a folder.
const TRUST_MS: u64 = 5_000;

/// How many folders are watched at most.
const WATCHES_MAX: usize = 16_384;

/// All that is known of the file system.
#[derive(Debug)]
pub struct Tree {
    root: Arc<Place>,
    begun: Instant,
    clock: Clock,
    trusted_until_ms: AtomicU64,
    watcher: Mutex<Watcher>,
}

#[derive(Debug)]
struct Watcher {
    notifier: Option<Notifier>,
    /// A folder may have several places, by mounts.
    folders: HashMap<FolderNumber, Vec<Arc<Place>>>,
    drained: Epoch,
    numbers: u64,
}

impl Default for Tree {
    fn default() -> Tree {
        Tree {
            root: Arc::new(Place::new(CString::from(c"/"), None)),
            begun: Instant::now(),
            clock: Clock::default(),
            trusted_until_ms: AtomicU64::new(TRUST_MS),
            watcher: Mutex::new(Watcher {
                notifier: Notifier::new().ok(),
                folders: HashMap::new(),
                drained: 0,
                numbers: 0,
            }),
        }
    }
}

impl Tree {
    /// `/`
    pub fn root(&self) -> &Arc<Place> {
        &self.root
    }

    /// A new request: whatever is believed for it is known to have been so after this call began.
    pub fn begin(&self) -> Epoch {
        let epoch = self.clock.next_epoch();
        let ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let until = self.trusted_until_ms.load(Ordering::Relaxed);
        if ms >= until {
            let next = ms.saturating_add(TRUST_MS);
            self.trusted_until_ms.store(next, Ordering::Relaxed);
            self.clock.lose_trust();
        }
        let mut watcher = lock(&self.watcher);
        if watcher.drained < epoch {
            let begun = self.clock.epoch();
            self.drain(&mut watcher);
            watcher.drained = begun;
        }
        epoch
    }

    /// The counters.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    fn drain(&self, watcher: &mut Watcher) {
        let Watcher {
            notifier: Some(notifier),
            folders,
            ..
        } = watcher
        else {
            return;
        };
        let drained = notifier.drain(&mut |change| {
            match change {
                Change::Lost => self.clock.lose_trust(),
                Change::Gone(folder) => {
                    for place in folders.remove(&folder).into_iter().flatten() {
                        place.watch.store(0, Ordering::Release);
                        place.distrust();
                    }
                }
                Change::Entry(folder, name) => {
                    for place in folders.get(&folder).into_iter().flatten() {
                        place.distrust();
                        let children = place.children.read();
                        let children = children.unwrap_or_else(PoisonError::into_inner);
                        if let Some(child) = children.get(name) {
                            child.distrust();
                        }
                    }
                }
            }
            // Last: who sees that nothing has changed since must also see what is no longer believed.
            self.clock.changed();
        });
        if drained.is_err() {
            self.clock.lose_trust();
        }
    }

    /// Watches a folder from now on, if that can be: what is in it is then believed once it was looked at again.
    pub fn cover(&self, folder: &Arc<Place>) {
        if folder.watch.load(Ordering::Acquire) != 0 {
            return;
        }
        let path = Path::new(std::ffi::OsStr::from_bytes(folder.path()));
        if !File::open(path).is_ok_and(|folder| identity::is_local(&folder)) {
            return;
        }
        let mut watcher = lock(&self.watcher);
        let Some(notifier) = watcher.notifier.as_ref() else {
            return;
        };
        if watcher.folders.len() >= WATCHES_MAX {
            return;
        }
        let Ok(number) = notifier.watch(folder.c_path()) else {
            return;
        };
        watcher.numbers += 1;
        let places = watcher.folders.entry(number).or_default();
        if !places.iter().any(|place| Arc::ptr_eq(place, folder)) {
            places.push(Arc::clone(folder));
        }
        folder.watch.store(watcher.numbers, Ordering::Release);
    }

    /// Forgets contents that were not asked for lately until at least `bytes` less are kept, and places that nobody
    /// else knows.
    pub fn shrink(&self, bytes: usize) {
        let mut uses = Vec::new();
        visit(&self.root, &mut |place| {
            let (epoch, memory) = place.use_and_memory();
            if memory > 0 {
                uses.push((epoch, memory));
            }
        });
        uses.sort_unstable();
        let mut freed = 0;
        let enough = uses.iter().find(|(_, memory)| {
            freed += memory;
            freed >= bytes
        });
        let before = enough.map_or(u64::MAX, |(epoch, _)| epoch.saturating_add(1));
        visit(&self.root, &mut |place| {
            place.forget_content(before);
        });
        prune(&self.root, before);
    }
}

fn visit(place: &Arc<Place>, each: &mut dyn FnMut(&Arc<Place>)) {
    each(place);
    for child in children(place) {
        visit(&child, each);
    }
}

fn children(place: &Place) -> Vec<Arc<Place>> {
    let children = place.children.read();
    let children = children.unwrap_or_else(PoisonError::into_inner);
    children.values().cloned().collect()
}

/// Drops the places below `place` that were not asked for since `before` and that nobody holds: a place that somebody
/// holds must stay the only one for its path.
fn prune(place: &Arc<Place>, before: Epoch) {
    for child in children(place) {
        prune(&child, before);
    }
    let children = place.children.write();
    let mut children = children.unwrap_or_else(PoisonError::into_inner);
    children.retain(|_, child| {
        let unused = child.use_and_memory().0 < before;
        !unused || Arc::strong_count(child) > 1 || child.watch.load(Ordering::Acquire) != 0
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::content::Want;
    use super::*;
    use crate::os::identity::Kind;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::time::{Duration, SystemTime};

    fn place(tree: &Tree, path: &Path) -> Arc<Place> {
        let mut place = Arc::clone(tree.root());
        for name in path.as_os_str().as_bytes().split(|byte| *byte == b'/') {
            if !name.is_empty() {
                place = place.child(name).unwrap();
            }
        }
        place
    }

    fn load(tree: &Tree, place: &Place) -> Vec<u8> {
        let want = Want {
            scan: None,
            packet: true,
        };
        let loaded = place.load(tree.clock(), tree.begin(), want).unwrap();
        loaded.content.packet().unwrap().to_vec()
    }

    /// Sets the time of the last change far back, as far as a program can.
    fn age(path: &Path) {
        let old = SystemTime::now() - Duration::from_secs(3600);
        fs::File::open(path).unwrap().set_modified(old).unwrap();
    }

    #[test]
    fn a_request_looks_once_and_the_next_one_again() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::default();
        let file = dir.path().join("f");
        let place = place(&tree, &file);
        let epoch = tree.begin();
        let nothing = place.check(tree.clock(), epoch);
        assert_eq!(nothing.kind(), None);
        fs::write(&file, "x").unwrap();
        assert_eq!(place.check(tree.clock(), epoch), nothing);
        let seen = place.check(tree.clock(), tree.begin());
        assert_eq!(seen.kind(), Some(Kind::File));
        assert_ne!(seen.version, nothing.version);
        assert_eq!(place.check(tree.clock(), tree.begin()), seen);
        fs::remove_file(&file).unwrap();
        assert_eq!(place.check(tree.clock(), tree.begin()).kind(), None);
    }

    #[test]
    fn an_edit_within_the_same_tick_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::default();
        let file = dir.path().join("f");
        for round in 0..200 {
            fs::write(&file, format!("{round:04}")).unwrap();
            let packet = load(&tree, &place(&tree, &file));
            let text = format!("{round:04}");
            let found = packet.windows(4).any(|part| part == text.as_bytes());
            assert!(found, "{round}");
        }
    }

    #[test]
    fn a_file_that_is_only_touched_is_another_version() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::default();
        let file = dir.path().join("f");
        fs::write(&file, "x").unwrap();
        let place = place(&tree, &file);
        let before = place.check(tree.clock(), tree.begin());
        age(&file);
        assert_ne!(
            place.check(tree.clock(), tree.begin()).version,
            before.version
        );
    }

    #[test]
    fn what_is_created_in_a_folder_leaves_it_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::default();
        let place = place(&tree, dir.path());
        let before = place.check(tree.clock(), tree.begin());
        fs::write(dir.path().join("new"), "").unwrap();
        let after = place.check(tree.clock(), tree.begin());
        assert_eq!(after.version, before.version);
        assert_ne!(after.identity, before.identity);
    }

    #[test]
    fn links_are_themselves() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::default();
        let link = dir.path().join("l");
        symlink("one", &link).unwrap();
        let place = place(&tree, &link);
        let before = place.check(tree.clock(), tree.begin());
        assert_eq!(before.kind(), Some(Kind::Link));
        assert_eq!(&*place.target().unwrap(), b"one");
        fs::remove_file(&link).unwrap();
        symlink("two", &link).unwrap();
        let after = place.check(tree.clock(), tree.begin());
        assert_ne!(after.version, before.version);
        assert_eq!(&*place.target().unwrap(), b"two");
    }

    #[test]
    fn what_is_watched_costs_nothing_and_is_never_stale() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::default();
        let (file, none) = (dir.path().join("f"), dir.path().join("none"));
        fs::write(&file, "x").unwrap();
        let folder = place(&tree, dir.path());
        let (file_place, none_place) = (place(&tree, &file), place(&tree, &none));
        let check = || {
            let epoch = tree.begin();
            (
                file_place.check(tree.clock(), epoch),
                none_place.check(tree.clock(), epoch),
            )
        };
        check();
        tree.cover(&folder);
        if folder.watch.load(Ordering::Acquire) == 0 {
            return; // No such file system here.
        }
        let before = check();
        assert!(none_place.is_covered(tree.clock()));
        assert!(!file_place.is_covered(tree.clock()), "too young");
        let changes = tree.clock().changes();
        assert_eq!(check(), before);
        assert_eq!(tree.clock().changes(), changes);
        fs::write(&none, "now").unwrap();
        let after = check();
        assert_ne!(tree.clock().changes(), changes);
        assert_eq!(after.1.kind(), Some(Kind::File));
        fs::remove_dir_all(dir.path()).unwrap();
        let gone = check();
        assert_eq!((gone.0.kind(), gone.1.kind()), (None, None));
        assert_eq!(folder.watch.load(Ordering::Acquire), 0);
    }

    #[test]
    fn shrinking_forgets_the_oldest_first() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::default();
        let paths: Vec<_> = (0..8).map(|at| dir.path().join(format!("{at}"))).collect();
        for path in &paths {
            fs::write(path, "x".repeat(1000)).unwrap();
            load(&tree, &place(&tree, path));
        }
        let all = tree.clock().meter().load(Ordering::Relaxed);
        tree.shrink(all / 2);
        let left = tree.clock().meter().load(Ordering::Relaxed);
        assert!(left > 0 && left <= all / 2, "{left} of {all}");
        let kept = place(&tree, &paths[7]).use_and_memory().1;
        assert!(kept > 0);
        tree.shrink(usize::MAX);
        assert_eq!(tree.clock().meter().load(Ordering::Relaxed), 0);
        assert!(children(tree.root()).is_empty());
        assert!(load(&tree, &place(&tree, &paths[0])).starts_with(b"NAME"));
    }
}
