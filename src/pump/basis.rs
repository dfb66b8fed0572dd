//! What an answer, or a part of one, depends on: places with the versions that were seen, and whether all are as they were.
//! Below the system folders watches may answer for thousands at once.

use super::clock::Epoch;
use super::place::{Place, Relied};
use super::tree::Tree;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

/// All places that something depends on.
#[derive(Debug, Default)]
pub struct Basis {
    /// Looked at for each request.
    pub user: Relied,
    /// Below the system folders, where watches may answer for them.
    pub system: Relied,
    /// While no watch tells anything since this count of changes, the system's are as they were; 0: not known.
    unchanged_since: AtomicU64,
}

impl Basis {
    /// The places below no system folder, and those below one.
    pub fn new([user, system]: [Relied; 2]) -> Basis {
        Basis {
            user,
            system,
            unchanged_since: AtomicU64::new(0),
        }
    }

    /// Whether all is as it was.
    pub fn holds(&self, tree: &Tree, epoch: Epoch) -> bool {
        let same = |(place, version): &(Arc<Place>, u64)| {
            place.check(tree.clock(), epoch).version == *version
        };
        self.user.iter().all(same) && self.system_is_same(tree, epoch)
    }

    fn system_is_same(&self, tree: &Tree, epoch: Epoch) -> bool {
        // Before looking: what is told meanwhile counts as a change.
        let changes = tree.clock().changes() + 1;
        if self.unchanged_since.load(Ordering::Acquire) == changes {
            return true;
        }
        let mut all_covered = true;
        for (place, version) in &self.system {
            if place.check(tree.clock(), epoch).version != *version {
                return false;
            }
            all_covered &= place.is_covered(tree.clock());
        }
        if all_covered {
            self.unchanged_since.store(changes, Ordering::Release);
        }
        true
    }

    /// How many places there are.
    pub fn count(&self) -> usize {
        self.user.len() + self.system.len()
    }
}
