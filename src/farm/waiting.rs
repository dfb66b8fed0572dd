//! Waiting in line for what a lock file in a folder stands for. Of all that wait for the same things one watches the
//! folder (inotify) and tries again when a lock was released; the others sleep until it is their turn to watch.
//!
//! So a released slot wakes one process, within a millisecond, whoever held it: a client of ours, one of stock's, or
//! one that was killed. All look by themselves now and then too: the watcher may have been stopped (`^Z`), and a folder
//! on a network does not tell what other machines do in it.

use crate::model::error::Result;
use crate::os::lock::{bytes_claimed, lock_byte};
use crate::os::watch::{Closed, Watch};
use std::collections::BTreeMap;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

/// The file in whose bytes the lines stand: a byte for each set of things that is waited for.
const LINES: &str = "waiting";

/// A pause shorter than this would be spinning; stock spins when told to pause for 0 ms.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// Those who sleep in line look by themselves once in so many pauses: if nothing is wrong it is for nothing, and there
/// may be many of them.
const SLEEPING_PAUSES: u32 = 10;

/// How often is looked where the folder can't be watched.
const POLL: Duration = Duration::from_millis(5);

/// After a vain look: the kernel tells of the end of a killed process just before it drops its locks; and a client of
/// stock's that looks through all slots makes a burst of events, which is then one.
const SETTLE: Duration = Duration::from_millis(1);

/// Calls `attempt` with what may have become free until it gives something. Those that wait for the same things
/// must give the same `line`, and others another one, else they may wait a `pause` too long.
pub fn wait<T>(
    folder: &Path,
    line: u32,
    pause: Duration,
    mut attempt: impl FnMut(&Closed) -> Result<Option<T>>,
) -> Result<T> {
    let pause = pause.max(PAUSE_MIN);
    // Dropped after the turn: the next in line can begin while the watch is still being closed.
    let mut watch;
    let everything = || attempt(&Closed::Many).transpose();
    let asleep = pause.saturating_mul(SLEEPING_PAUSES);
    let _turn = match lock_byte(&folder.join(LINES), line, asleep, everything) {
        Ok(Ok(turn)) => Some(turn),
        Ok(Err(found)) => return found,
        Err(err) => {
            log::debug!("can't wait in line, looking often instead: {err}");
            None
        }
    };
    watch = Watch::start(folder)
        .inspect_err(|err| log::debug!("can't watch {}: {err}", folder.display()))
        .ok();
    let mut released = Closed::Many;
    loop {
        if let Some(found) = attempt(&released)? {
            return Ok(found);
        }
        if let Closed::Names(_) = released {
            sleep(SETTLE);
            if let Some(found) = attempt(&released)? {
                return Ok(found);
            }
        }
        released = next(watch.as_mut(), pause);
    }
}

/// How many wait in each line. Only those of this machine and this kind are seen: stock's clients stand in no line.
pub fn in_lines(folder: &Path) -> BTreeMap<u32, usize> {
    bytes_claimed(&folder.join(LINES)).unwrap_or_else(|err| {
        log::debug!("can't see who waits in {}: {err}", folder.display());
        BTreeMap::new()
    })
}

/// What to look at next, when it is time to.
fn next(watch: Option<&mut Watch>, pause: Duration) -> Closed {
    match watch.map(|watch| watch.wait(pause)) {
        Some(Ok(closed)) if closed != Closed::Nothing => return closed,
        Some(Ok(_)) => {}
        Some(Err(_)) | None => sleep(POLL),
    }
    Closed::Many
}
