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

/// So many beginnings are kept for the first unit that has them, and two more for each that another had, too: where units
/// begin each in its own way, that is in vain. Until another one has it no more than these are kept.
const VAIN_MAX: usize = 4;

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
    /// No unit had it before, and none is likely to have it after this one.
    New,
    /// It is not kept, and worth keeping: some unit had it, or units of this tree often begin likewise.
    Wanted,
    /// It was kept, and holds.
    Kept(Arc<Kept>),
}

/// All that are kept.
#[derive(Debug, Default)]
pub struct Beginnings(Mutex<Shelf>);

#[derive(Debug, Default)]
struct Shelf {
    known: HashMap<Key, Had>,
    /// How many were kept for the first unit that had them.
    at_first: usize,
    /// How many more than one unit had.
    shared: usize,
}

/// A beginning that some unit had.
#[derive(Debug, Default)]
struct Had {
    /// Another one had it, too.
    again: bool,
    kept: Option<Arc<Kept>>,
}

impl Beginnings {
    /// What is known of a key, for this request.
    pub fn find(&self, key: &Key, tree: &Tree, epoch: Epoch) -> Known {
        let mut shelf = lock(&self.0);
        let Shelf {
            known,
            at_first,
            shared,
        } = &mut *shelf;
        let Some(had) = known.get_mut(key) else {
            if known.len() >= KEYS_MAX {
                known.clear();
            }
            known.insert(key.clone(), Had::default());
            if *at_first >= VAIN_MAX + 2 * *shared {
                return Known::New;
            }
            *at_first += 1;
            return Known::Wanted;
        };
        *shared += usize::from(!had.again);
        had.again = true;
        let Some(kept) = had.kept.clone() else {
            return Known::Wanted;
        };
        drop(shelf);
        if !kept.basis.holds(tree, epoch) {
            return Known::Wanted;
        }
        kept.used.store(epoch, Ordering::Relaxed);
        Known::Kept(kept)
    }

    /// Keeps one, in the place of the one that was not used for the longest time if there are too many.
    pub fn keep(&self, key: Key, kept: Kept, epoch: Epoch) {
        kept.used.store(epoch, Ordering::Relaxed);
        let Shelf { known, .. } = &mut *lock(&self.0);
        known.entry(key).or_default().kept = Some(Arc::new(kept));
        drop_oldest(known.values_mut().filter(|had| !had.again), VAIN_MAX);
        drop_oldest(known.values_mut(), KEPT_MAX);
    }

    /// Forgets all.
    pub fn clear(&self) {
        lock(&self.0).known.clear();
    }
}

/// If more than `max` of these are kept, the one that was not used for the longest time no longer is.
fn drop_oldest<'h>(all: impl Iterator<Item = &'h mut Had>, max: usize) {
    let kept = all.filter_map(|had| {
        let used = had.kept.as_ref()?.used.load(Ordering::Relaxed);
        Some((used, had))
    });
    let kept: Vec<(Epoch, &mut Had)> = kept.collect();
    if kept.len() > max {
        if let Some((_, oldest)) = kept.into_iter().min_by_key(|(used, _)| *used) {
            oldest.kept = None;
        }
    }
}
