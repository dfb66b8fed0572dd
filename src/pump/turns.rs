//! So many analyses at the same time as there are processors; whoever has waited long enough goes on all the same, so
//! that one that takes long stalls nobody.

use super::content::lock;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long an analysis waits for its turn.
const PATIENCE: Duration = Duration::from_millis(200);

/// Whose turn it is.
#[derive(Debug)]
pub struct Turns {
    /// How many may begin; below zero if some did not wait for the end of others.
    free: Mutex<isize>,
    changed: Condvar,
}

/// A turn; it ends when dropped.
#[derive(Debug)]
pub struct Turn<'t>(&'t Turns);

impl Turns {
    /// With a turn for each processor.
    pub fn new(processors: usize) -> Turns {
        Turns {
            free: Mutex::new(isize::try_from(processors.max(1)).unwrap_or(1)),
            changed: Condvar::new(),
        }
    }

    /// Waits for a turn, but not for ever.
    pub fn take(&self) -> Turn<'_> {
        let until = Instant::now() + PATIENCE;
        let mut free = lock(&self.free);
        while *free <= 0 {
            let Some(left) = until.checked_duration_since(Instant::now()) else {
                break;
            };
            let waited = self.changed.wait_timeout(free, left);
            free = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        *free -= 1;
        Turn(self)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *lock(&self.0.free) += 1;
        self.0.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_long_enough_goes_on() {
        let turns = Turns::new(2);
        let (first, second) = (turns.take(), turns.take());
        let begun = Instant::now();
        let third = turns.take();
        assert!(begun.elapsed() >= PATIENCE);
        drop((first, second));
        let fourth = turns.take();
        drop((third, fourth));
        assert_eq!(*lock(&turns.free), 2);
    }
}
