//! How walks stood after the first header of a source, kept for other units that begin with it: in most projects many do, and
//! that header includes most of what they include. Each is believed only while all that it depends on is as it was.

use super::basis::Basis;
use super::clock::Epoch;
use super::content::lock;
use super::met::Met;
use super::place::{Place, Relied};
use super::toolchain::Toolchain;
use super::tree::Tree;
use crate::model::search::{SearchPath, Word};
use crate::model::unit::{Beginning, Head, Unit};
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// How many are kept; each takes as much as an answer, and a copy of all macros.
const KEPT_MAX: usize = 32;

/// How many units that might share one are remembered.
const KEYS_MAX: usize = 4096;

/// All that decides how a unit begins, beside the files.
#[derive(Clone, Debug)]
pub struct Key {
    toolchain: Arc<Toolchain>,
    cwd: Arc<Place>,
    hermetic: bool,
    words: Vec<Word>,
    search: SearchPath,
    maps_names: bool,
    head: Head,
}

impl Key {
    /// Of a unit in `cwd` that begins so.
    pub fn new(
        (toolchain, cwd, hermetic): (&Arc<Toolchain>, &Arc<Place>, bool),
        unit: &Unit<'_>,
        head: &Head,
    ) -> Key {
        Key {
            toolchain: Arc::clone(toolchain),
            cwd: Arc::clone(cwd),
            hermetic,
            words: unit.words.to_vec(),
            search: unit.search.clone(),
            maps_names: unit.maps_names,
            head: head.clone(),
        }
    }

    /// What can be compared by value.
    fn values(&self) -> (bool, &[Word], &SearchPath, bool, &Head) {
        let Key {
            hermetic,
            words,
            search,
            maps_names,
            head,
            ..
        } = self;
        (*hermetic, words, search, *maps_names, head)
    }
}

impl PartialEq for Key {
    /// A compiler that was asked again is another one.
    fn eq(&self, other: &Key) -> bool {
        Arc::ptr_eq(&self.toolchain, &other.toolchain)
            && Arc::ptr_eq(&self.cwd, &other.cwd)
            && self.values() == other.values()
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.toolchain).hash(state);
        Arc::as_ptr(&self.cwd).hash(state);
        self.values().hash(state);
    }
}

/// A beginning, with what was met and what it depends on.
#[derive(Debug)]
pub struct Kept {
    /// How the walk stood.
    pub beginning: Beginning,
    met: Met,
    basis: Basis,
    used: AtomicU64,
}

impl Kept {
    /// Without the source, which was met first. None if the source mattered.
    pub fn new(beginning: Beginning, met: &Met, relied: &[Relied; 2]) -> Option<Kept> {
        let source = Arc::clone(&met.found.first()?.place);
        let met = met.without_source()?;
        let mut relied = relied.clone();
        for places in &mut relied {
            places.retain(|(place, _)| !Arc::ptr_eq(place, &source));
        }
        Some(Kept {
            beginning,
            met,
            basis: Basis::new(relied),
            used: AtomicU64::new(0),
        })
    }

    /// What was met, with the source that `own` has met. None if they don't go together.
    pub fn met(&self, own: &Met) -> Option<Met> {
        self.met.with_source(own)
    }

    /// What it depends on.
    pub fn basis(&self) -> &Basis {
        &self.basis
    }
}

/// What is known of a key.
#[derive(Debug)]
pub enum Known {
    /// No unit had it before.
    New,
    /// Some unit had it, and it is worth keeping.
    Seen,
    /// It was kept, and holds.
    Kept(Arc<Kept>),
}

/// All that are kept; for keys that one unit had, nothing yet.
#[derive(Debug, Default)]
pub struct Beginnings(Mutex<HashMap<Key, Option<Arc<Kept>>>>);

impl Beginnings {
    /// What is known of a key, for this request.
    pub fn find(&self, key: &Key, tree: &Tree, epoch: Epoch) -> Known {
        let mut known = lock(&self.0);
        let kept = match known.get(key) {
            Some(Some(kept)) => Arc::clone(kept),
            Some(None) => return Known::Seen,
            None => {
                if known.len() >= KEYS_MAX {
                    known.clear();
                }
                known.insert(key.clone(), None);
                return Known::New;
            }
        };
        drop(known);
        if !kept.basis.holds(tree, epoch) {
            return Known::Seen;
        }
        kept.used.store(epoch, Ordering::Relaxed);
        Known::Kept(kept)
    }

    /// Keeps one, in the place of the one that was not used for the longest time if there are too many.
    pub fn keep(&self, key: Key, kept: Kept, epoch: Epoch) {
        kept.used.store(epoch, Ordering::Relaxed);
        let mut known = lock(&self.0);
        known.insert(key, Some(Arc::new(kept)));
        let used = |kept: &Arc<Kept>| kept.used.load(Ordering::Relaxed);
        let mut uses: Vec<u64> = known.values().flatten().map(used).collect();
        if uses.len() > KEPT_MAX {
            uses.sort_unstable();
            let oldest = uses.first().copied().unwrap_or_default();
            known.retain(|_, kept| kept.as_ref().is_none_or(|kept| used(kept) > oldest));
        }
    }

    /// Forgets all.
    pub fn clear(&self) {
        lock(&self.0).clear();
    }
}
