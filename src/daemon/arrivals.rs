//! What is on its way: requests that have arrived, answers that are not taken yet, and how many connections and bytes they
//! hold, all together and each peer for itself. Says when that is too much; closes nothing.

use super::ending::{Client, Ending};
use super::statistics::Waiting;
use crate::model::decode::RequestDecoder;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// While requests that wait hold more bytes than this, no new one is read.
const WAITING_BYTES_MAX: usize = 256 << 20;

/// What one peer's requests may hold of that; it is let in with less than `SMALL` even if all others hold too much.
const PEER_BYTES_MAX: usize = WAITING_BYTES_MAX / 2;
const SMALL: usize = 16 << 20;

/// Requests and untaken answers together never hold more than this; the one that would is dropped.
const HELD_BYTES_MAX: usize = 1 << 30;

/// A whole request, on its way to a job slot.
#[derive(Debug)]
pub struct Arrived {
    /// Who sent it.
    pub client: Client,
    /// The request.
    pub decoder: RequestDecoder,
    /// Given back when the job is done and its answer taken.
    pub held: Held,
    /// Given back when a slot takes it.
    pub waiting: Waiting,
}

/// An answer that its client is slow to take.
#[derive(Debug)]
pub struct Unsent {
    /// Who it is for.
    pub client: Client,
    /// The answer, and how the job ended.
    pub ending: Ending,
    /// Given back when it is taken.
    pub held: Held,
}

/// What connections come to.
#[derive(Debug, Default)]
struct Sum {
    connections: AtomicUsize,
    bytes: AtomicUsize,
    /// Connections whose request is not read, since too many bytes wait already.
    waiting: AtomicUsize,
    /// When the last connection of this peer was closed because it has too many.
    turned_away: Mutex<Option<Instant>>,
}

/// What all connections come to, and those of each peer that has any.
#[derive(Debug, Default)]
pub struct Load {
    all: Sum,
    peers: Mutex<HashMap<IpAddr, Arc<Sum>>>,
}

/// Who waits for what a connection holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// It may take its time.
    Nobody,
    /// Others of the same peer: it may be slow, but not silent.
    Own,
    /// Other peers: it may not be slow.
    Others,
}

/// A connection that waits for room, as long as this lives.
#[derive(Debug)]
pub struct WaitsForRoom(Arc<Load>, Arc<Sum>);

impl Drop for WaitsForRoom {
    fn drop(&mut self) {
        for sum in [&self.0.all, &self.1] {
            sum.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Load {
    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.all.connections.load(Ordering::Relaxed)
    }
}

/// One connection's share of the load, from its arrival to its end: of the descriptors, and of the memory for requests that
/// are not yet done and for answers that are not yet taken.
#[derive(Debug)]
pub struct Held {
    load: Arc<Load>,
    own: Arc<Sum>,
    peer: IpAddr,
    bytes: usize,
}

impl Held {
    /// A connection of `peer`.
    pub fn new(load: &Arc<Load>, peer: IpAddr) -> Held {
        let mut peers = load.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let own = peers.entry(peer).or_default().clone();
        for sum in [&load.all, &own] {
            sum.connections.fetch_add(1, Ordering::Relaxed);
        }
        drop(peers);
        Held {
            load: load.clone(),
            own,
            peer,
            bytes: 0,
        }
    }

    /// Whose connection it is.
    pub fn peer(&self) -> IpAddr {
        self.peer
    }

    /// How many bytes it holds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many connections this peer has.
    pub fn connections_of_peer(&self) -> usize {
        self.own.connections.load(Ordering::Relaxed)
    }

    /// It is closed, since its peer has too many.
    pub fn turn_away(&self) {
        let mut at = self
            .own
            .turned_away
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *at = Some(Instant::now());
    }

    /// Whether one of this peer's was closed since then because it has too many.
    pub fn turned_away_since(&self, then: Instant) -> bool {
        let at = self
            .own
            .turned_away
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        at.is_some_and(|at| at >= then)
    }

    /// From here on it waits for room.
    pub fn wait_for_room(&self) -> WaitsForRoom {
        for sum in [&self.load.all, &self.own] {
            sum.waiting.fetch_add(1, Ordering::Relaxed);
        }
        WaitsForRoom(self.load.clone(), self.own.clone())
    }

    /// Who waits for room of which this peer has more than its part.
    pub fn wanted_by(&self) -> Wanted {
        let waiting = |sum: &Sum| sum.waiting.load(Ordering::Relaxed);
        match (waiting(&self.load.all), waiting(&self.own)) {
            (0, _) => Wanted::Nobody,
            _ if !self.must_wait() => Wanted::Nobody,
            (all, own) if all > own => Wanted::Others,
            _ => Wanted::Own,
        }
    }

    /// Holds so many bytes more; whether all together still hold no more than they may.
    pub fn grow(&mut self, bytes: usize) -> bool {
        self.bytes += bytes;
        self.own.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.load.all.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes <= HELD_BYTES_MAX
    }

    /// Holds the answer's bytes instead of the request's; whether all together still hold no more than they may.
    pub fn exchange(&mut self, bytes: usize) -> bool {
        self.give_back();
        self.grow(bytes)
    }

    /// Whether no new request of this peer is to be read: too many bytes wait already.
    pub fn must_wait(&self) -> bool {
        let all = self.load.all.bytes.load(Ordering::Relaxed);
        let own = self.own.bytes.load(Ordering::Relaxed);
        own > PEER_BYTES_MAX || all > WAITING_BYTES_MAX && own > SMALL || all > HELD_BYTES_MAX / 2
    }

    fn give_back(&mut self) {
        for sum in [&self.load.all, &self.own] {
            sum.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        }
        self.bytes = 0;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.give_back();
        let peers = self.load.peers.lock();
        let mut peers = peers.unwrap_or_else(PoisonError::into_inner);
        self.load.all.connections.fetch_sub(1, Ordering::Relaxed);
        if self.own.connections.fetch_sub(1, Ordering::Relaxed) == 1 {
            peers.remove(&self.peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn peer(last: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, last).into()
    }

    #[test]
    fn one_peer_does_not_keep_others_from_being_read() {
        let load = Arc::new(Load::default());
        let mut greedy = Held::new(&load, peer(1));
        let modest = Held::new(&load, peer(2));
        assert!(greedy.grow(PEER_BYTES_MAX + 1));
        assert!(greedy.must_wait() && !modest.must_wait());
        assert!(greedy.grow(WAITING_BYTES_MAX));
        assert!(greedy.must_wait() && !modest.must_wait());
        assert!(greedy.grow(WAITING_BYTES_MAX));
        assert!(modest.must_wait());
        assert!(!greedy.grow(HELD_BYTES_MAX));
        drop(greedy);
        assert!(!modest.must_wait());
    }

    #[test]
    fn who_is_alone_keeps_nobody_out() {
        let load = Arc::new(Load::default());
        let mut slow = Held::new(&load, peer(1));
        assert!(slow.grow(WAITING_BYTES_MAX + 1));
        let next = Held::new(&load, peer(1));
        let own = next.wait_for_room();
        assert!(slow.must_wait());
        assert_eq!(slow.wanted_by(), Wanted::Own);
        let other = Held::new(&load, peer(2));
        let waits = other.wait_for_room();
        assert_eq!(slow.wanted_by(), Wanted::Others);
        // It waits, and has nothing.
        assert_eq!(other.wanted_by(), Wanted::Nobody);
        drop(waits);
        assert_eq!(slow.wanted_by(), Wanted::Own);
        drop(own);
        assert_eq!(slow.wanted_by(), Wanted::Nobody);
        let begun = Instant::now();
        assert!(!slow.turned_away_since(begun));
        next.turn_away();
        assert!(slow.turned_away_since(begun) && !other.turned_away_since(begun));
    }

    #[test]
    fn nothing_is_kept_of_peers_that_have_gone() {
        let load = Arc::new(Load::default());
        let mut one = Held::new(&load, peer(1));
        let two = Held::new(&load, peer(1));
        assert_eq!((one.connections_of_peer(), load.connections()), (2, 2));
        assert!(one.grow(5) && one.exchange(7));
        drop((one, two));
        assert_eq!(load.connections(), 0);
        assert_eq!(load.all.bytes.load(Ordering::Relaxed), 0);
        let peers = load.peers.lock();
        assert!(peers.is_ok_and(|peers| peers.is_empty()));
    }
}
