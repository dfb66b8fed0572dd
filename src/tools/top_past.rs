//! How long compiles lasted on each host that ended while we looked. Those that run now are measured by them, too, so that a
//! slow host is known when the others have nothing more to do, and is waited for.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// So many are remembered of a host, and of so many hosts.
const KEPT_MAX: usize = 20;
const HOSTS_MAX: usize = 10_000;

/// What is remembered of the build that runs.
#[derive(Debug)]
pub struct Past {
    looked: Instant,
    /// Compiles of the last look, by process: where, and for how long they had run.
    running: HashMap<u32, (String, Duration)>,
    ended: HashMap<String, VecDeque<Duration>>,
}

impl Past {
    /// Begins to remember.
    pub fn begin(now: Instant) -> Past {
        Past {
            looked: now,
            running: HashMap::new(),
            ended: HashMap::new(),
        }
    }

    /// Notes the compiles that run, each with its process, its host, and for how long it has run.
    pub fn add(&mut self, compiles: impl Iterator<Item = (u32, String, Duration)>, now: Instant) {
        // When one ended is not known, only between which looks.
        let since_then = (now - self.looked) / 2;
        self.looked = now;
        let running: HashMap<_, _> = compiles
            .map(|(pid, host, time)| (pid, (host, time)))
            .collect();
        for (pid, (host, time)) in std::mem::take(&mut self.running) {
            let goes_on = running.get(&pid).is_some_and(|(_, still)| *still >= time);
            if goes_on || self.ended.len() >= HOSTS_MAX {
                continue;
            }
            let ended = self.ended.entry(host).or_default();
            ended.push_back(time + since_then);
            if ended.len() > KEPT_MAX {
                ended.pop_front();
            }
        }
        self.running = running;
    }

    /// What has ended on this host.
    pub fn of(&self, host: &str) -> Vec<Duration> {
        let ended = self.ended.get(host);
        ended.map_or_else(Vec::new, |ended| ended.iter().copied().collect())
    }

    /// A build is over.
    pub fn forget(&mut self) {
        self.ended.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_is_remembered() {
        let begun = Instant::now();
        let mut past = Past::begin(begun);
        let mut look = |second: u64, compiles: &[(u32, &str, u64)]| {
            let compiles = compiles
                .iter()
                .map(|(pid, host, time)| (*pid, (*host).to_owned(), Duration::from_secs(*time)));
            past.add(compiles, begun + Duration::from_secs(second));
            let mut ended: Vec<_> = past.of("a").iter().map(Duration::as_secs).collect();
            ended.sort();
            (ended, past.of("b").len())
        };
        assert_eq!(
            look(0, &[(1, "a", 3), (2, "a", 4), (3, "b", 5)]),
            (vec![], 0)
        );
        // One ended, one began anew under the same number, one goes on.
        assert_eq!(look(2, &[(2, "a", 1), (3, "b", 7)]), (vec![4, 5], 0));
        for number in 4..100 {
            look(3, &[(number, "a", 0), (3, "b", 8)]);
        }
        let (ended, others) = look(4, &[]);
        assert_eq!((ended.len(), others), (KEPT_MAX, 1));
        past.forget();
        assert!(past.of("a").is_empty() && past.of("b").is_empty());
    }
}
