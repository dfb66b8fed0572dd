//! What a peer can make the daemon say as often as it likes: the first times it is said, then it is counted, and the count
//! said now and then. So that no port scan fills a log; of many peers only some are remembered.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How often counts are said.
const EVERY: Duration = Duration::from_secs(60);

/// How many peers are remembered; what others do is counted together.
const PEERS_MAX: usize = 512;

/// How many lines may come of the first times of all peers between two counts, and how many lines of counts.
const LINES_MAX: u32 = 200;
const COUNTS_MAX: usize = 20;

/// What was not said.
#[derive(Debug)]
pub struct Repeats {
    peers: HashMap<IpAddr, Peer>,
    /// How often somebody did something that is not remembered with a peer.
    others: u64,
    lines: u32,
    next: Instant,
}

#[derive(Debug, Default)]
struct Peer {
    said: u32,
    unsaid: u64,
}

impl Repeats {
    /// Nothing was said yet.
    pub fn new(now: Instant) -> Repeats {
        Repeats {
            peers: HashMap::new(),
            others: 0,
            lines: 0,
            next: now + EVERY,
        }
    }

    /// Whether it is to be said, which is so the `first` times of a peer; if not it is counted.
    pub fn may_say(&mut self, peer: IpAddr, first: u32) -> bool {
        if self.peers.len() >= PEERS_MAX && !self.peers.contains_key(&peer) {
            self.others += 1;
            return false;
        }
        let peer = self.peers.entry(peer).or_default();
        if peer.said >= first || self.lines >= LINES_MAX {
            peer.unsaid += 1;
            return false;
        }
        peer.said += 1;
        self.lines += 1;
        true
    }

    /// This peer has done something honest: what it did before is forgotten, but for what was not said.
    pub fn forgive(&mut self, peer: IpAddr) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.said = 0;
        }
    }

    /// The lines about what was counted, when it is time for them. Who was quiet since the last time is forgotten.
    pub fn due(&mut self, now: Instant) -> Vec<String> {
        if now < self.next {
            return Vec::new();
        }
        self.next = now + EVERY;
        self.lines = 0;
        self.peers.retain(|_, peer| peer.unsaid > 0);
        let mut counts: Vec<(IpAddr, u64)> = self
            .peers
            .iter_mut()
            .map(|(ip, peer)| (*ip, std::mem::take(&mut peer.unsaid)))
            .collect();
        counts.sort_by_key(|(ip, count)| (std::cmp::Reverse(*count), *ip));
        let rest = counts.get(COUNTS_MAX..).unwrap_or_default();
        let others = self.others + rest.iter().map(|(_, count)| count).sum::<u64>();
        self.others = 0;
        let line = |who: &str, count| {
            format!("{who}: {count} more connections were closed, as those before")
        };
        let shown = counts.iter().take(COUNTS_MAX);
        let mut lines: Vec<String> = shown
            .map(|(ip, count)| line(&ip.to_string(), *count))
            .collect();
        if others > 0 {
            lines.push(line("other peers", others));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn the_first_are_said_and_the_rest_is_counted() {
        let start = Instant::now();
        let mut repeats = Repeats::new(start);
        let peer = Ipv4Addr::LOCALHOST.into();
        let said = (0..1000).filter(|_| repeats.may_say(peer, 5)).count();
        assert_eq!(said, 5);
        assert!(repeats.due(start).is_empty());
        let later = start + EVERY;
        assert_eq!(
            repeats.due(later),
            ["127.0.0.1: 995 more connections were closed, as those before"]
        );
        // As long as it goes on there is no more than that.
        assert!(!repeats.may_say(peer, 5));
        assert_eq!(repeats.due(later + EVERY).len(), 1);
        assert!(repeats.due(later + EVERY * 2).is_empty());
        assert!(repeats.may_say(peer, 5));
        repeats.forgive(peer);
        assert_eq!((0..9).filter(|_| repeats.may_say(peer, 5)).count(), 5);
    }

    #[test]
    fn many_peers_take_little_room() {
        let start = Instant::now();
        let mut repeats = Repeats::new(start);
        let said = (0..100_000_u32)
            .filter(|number| repeats.may_say(Ipv4Addr::from(*number).into(), 5))
            .count();
        assert_eq!(said, LINES_MAX as usize);
        assert_eq!(repeats.peers.len(), PEERS_MAX);
        let lines = repeats.due(start + EVERY);
        assert_eq!(lines.len(), COUNTS_MAX + 1);
        let unsaid = 100_000 - said - COUNTS_MAX;
        assert!(lines[COUNTS_MAX].starts_with(&format!("other peers: {unsaid} more")));
        repeats.due(start + EVERY * 2);
        assert!(repeats.peers.is_empty());
    }
}
