//! Whether there is memory for one more job. Looked at now and then, not for each job, and said when it changes.

use super::config::Config;
use super::memory::{Memory, Room};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long what was seen is believed.
const BELIEVED: Duration = Duration::from_millis(500);

/// What has to be left if nothing is said: a part of all, and no more than so many bytes.
const FLOOR_PART: u64 = 20;
const FLOOR_BYTES_MAX: u64 = 512 << 20;

/// Who decides it.
#[derive(Debug)]
pub struct Admission {
    memory: Memory,
    seen: Mutex<Option<Seen>>,
}

#[derive(Debug)]
struct Seen {
    at: Instant,
    has_room: bool,
}

impl Admission {
    /// Nothing was seen yet.
    pub fn new(memory: Memory) -> Admission {
        Admission {
            memory,
            seen: Mutex::default(),
        }
    }

    /// Whether a job may begin although others are at work.
    pub fn has_room(&self, config: &Config) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let had_room = match &*seen {
            Some(seen) if now < seen.at + BELIEVED => return seen.has_room,
            Some(seen) => seen.has_room,
            None => true,
        };
        let why = self.shortage(config);
        match &why {
            Some(why) if had_room => log::warn!("jobs wait, and run one at a time: {why}"),
            None if !had_room => log::warn!("jobs run at once again"),
            _ => {}
        }
        let has_room = why.is_none();
        *seen = Some(Seen { at: now, has_room });
        has_room
    }

    /// What is short, if something is.
    fn shortage(&self, config: &Config) -> Option<String> {
        let megabytes = |bytes: u64| bytes >> 20;
        if config.memory_floor != Some(0) {
            let room = self.memory.room();
            let below = room.map(|room| (room, config.memory_floor.unwrap_or(floor(room))));
            if let Some((room, floor)) = below.filter(|(room, floor)| room.left < *floor) {
                return Some(format!(
                    "{} MB of memory are left, less than {} MB (--memory-floor)",
                    megabytes(room.left),
                    megabytes(floor)
                ));
            }
        }
        if config.memory_pressure > 0 {
            let most = config.memory_pressure as f32;
            let pressure = self.memory.pressure().filter(|pressure| *pressure > most);
            return pressure.map(|pressure| {
                format!("{pressure} % of the time something waits for memory, more than {most} % (--memory-pressure)")
            });
        }
        None
    }
}

fn floor(room: Room) -> u64 {
    (room.total / FLOOR_PART).min(FLOOR_BYTES_MAX)
}
