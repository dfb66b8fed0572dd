//! The counters that say how fresh something is: of requests, of versions, of times of trust in watches, of changes that
//! watches told; and how much memory contents take together.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::Arc;

/// The number of a request; what was looked at after it was given out is fresh enough for it.
pub type Epoch = u64;

/// All counters.
#[derive(Debug, Default)]
pub struct Clock {
    epoch: AtomicU64,
    version: AtomicU64,
    trust: AtomicU64,
    changes: AtomicU64,
    meter: Arc<AtomicUsize>,
}

impl Clock {
    /// A new request.
    pub fn next_epoch(&self) -> Epoch {
        self.epoch.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// The latest request's number.
    pub fn epoch(&self) -> Epoch {
        self.epoch.load(Ordering::SeqCst)
    }

    /// A number that no version has had.
    pub fn next_version(&self) -> u64 {
        self.version.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// What was told by watches in another time of trust is no longer believed.
    pub fn trust(&self) -> u64 {
        self.trust.load(Ordering::Acquire)
    }

    /// Begins a new time of trust.
    pub fn lose_trust(&self) {
        self.trust.fetch_add(1, Ordering::AcqRel);
        self.changed();
    }

    /// Another number means that watches have told of changes, or are no longer believed.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// A watch has told of a change.
    pub fn changed(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// Where the memory of contents is counted.
    pub fn meter(&self) -> &Arc<AtomicUsize> {
        &self.meter
    }
}
