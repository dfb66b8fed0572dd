//! The queue in front of the job slots: peers take turns, and of one peer who came first is served first, so that nobody's
//! hundreds of jobs make another's few wait. Knows how many slots there may be, and hears whether there is room for a job.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often those that wait for room ask again.
const RECHECK: Duration = Duration::from_millis(250);

/// Items of peers `P`, waiting for slots.
#[derive(Debug)]
pub struct Queue<P, T> {
    state: Mutex<State<P, T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<P, T> {
    /// What waits, by peer; none of them is empty.
    lines: HashMap<P, VecDeque<T>>,
    /// The peers that wait, each once, in the order of their turns.
    turns: VecDeque<P>,
    slots: usize,
    running: usize,
    /// Slots that have something to do, but no room for it.
    held_back: usize,
    is_closed: bool,
}

/// A slot's turn: as long as it lives the slot counts as at work.
#[derive(Debug)]
pub struct Turn<'q, P: Clone + Eq + Hash, T>(&'q Queue<P, T>);

impl<P: Clone + Eq + Hash, T> Queue<P, T> {
    /// An empty queue in front of `slots` slots.
    pub fn new(slots: usize) -> Queue<P, T> {
        Queue {
            state: Mutex::new(State {
                lines: HashMap::new(),
                turns: VecDeque::new(),
                slots,
                running: 0,
                held_back: 0,
                is_closed: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// Puts something at the end of its peer's line. After the end it is dropped.
    pub fn put(&self, peer: P, item: T) {
        let mut state = self.state();
        if state.is_closed {
            return;
        }
        let line = state.lines.entry(peer.clone()).or_default();
        line.push_back(item);
        if line.len() == 1 {
            state.turns.push_back(peer);
        }
        self.changed.notify_one();
    }

    /// Waits until the slot of this number has something to do. While others are at work nothing is begun unless
    /// `has_room` says so, which may take its time: it is asked while nobody is kept from the queue. `None`: the slot shall end.
    pub fn take(&self, slot: usize, has_room: impl Fn() -> bool) -> Option<(T, Turn<'_, P, T>)> {
        let mut state = self.state();
        let mut may_begin = false;
        loop {
            if state.is_closed || slot >= state.slots {
                // What woke this slot may have been meant for another.
                self.changed.notify_one();
                return None;
            }
            if state.turns.is_empty() {
                may_begin = false;
                let woken = self.changed.wait(state);
                state = woken.unwrap_or_else(PoisonError::into_inner);
            } else if state.running == 0 || may_begin {
                let item = state.next()?;
                state.running += 1;
                if !state.turns.is_empty() {
                    self.changed.notify_one();
                }
                return Some((item, Turn(self)));
            } else {
                drop(state);
                may_begin = has_room();
                state = self.state();
                if !may_begin && state.running > 0 && !state.is_closed {
                    state.held_back += 1;
                    let woken = self.changed.wait_timeout(state, RECHECK);
                    state = woken.unwrap_or_else(PoisonError::into_inner).0;
                    state.held_back -= 1;
                }
            }
        }
    }

    /// How many items wait.
    pub fn waiting(&self) -> usize {
        self.state().lines.values().map(VecDeque::len).sum()
    }

    /// From here on there are so many slots; of the others each ends after what it does.
    pub fn set_slots(&self, slots: usize) {
        self.state().slots = slots;
        self.changed.notify_all();
    }

    /// The slots' end. What waits is dropped.
    pub fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        state.turns.clear();
        let dropped = std::mem::take(&mut state.lines);
        drop(state);
        self.changed.notify_all();
        drop(dropped);
    }

    /// Whether the slots are to end.
    pub fn is_closed(&self) -> bool {
        self.state().is_closed
    }

    fn state(&self) -> MutexGuard<'_, State<P, T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P: Clone + Eq + Hash, T> State<P, T> {
    /// The first in the line of the peer whose turn it is.
    fn next(&mut self) -> Option<T> {
        let peer = self.turns.pop_front()?;
        let line = self.lines.get_mut(&peer)?;
        let item = line.pop_front();
        match line.is_empty() {
            true => drop(self.lines.remove(&peer)),
            false => self.turns.push_back(peer),
        }
        item
    }
}

impl<P: Clone + Eq + Hash, T> Drop for Turn<'_, P, T> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.running -= 1;
        if state.held_back > 0 {
            self.0.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::cell::Cell;

    #[test]
    fn peers_take_turns() {
        let queue = Queue::new(1);
        for number in 0..4 {
            queue.put("a", format!("a{number}"));
        }
        queue.put("b", "b0".to_owned());
        let mut order = Vec::new();
        while queue.waiting() > 0 {
            let (item, _turn) = queue.take(0, || true).unwrap();
            // Who comes late to it has the next turn all the same.
            if item == "a1" {
                queue.put("c", "c0".to_owned());
                queue.put("c", "c1".to_owned());
            }
            order.push(item);
        }
        assert_eq!(order, ["a0", "b0", "a1", "a2", "c0", "a3", "c1"]);
    }

    #[test]
    fn one_is_always_at_work_and_more_only_with_room() {
        let queue = Queue::new(2);
        let asked = Cell::new(0);
        let no_room = || {
            asked.set(asked.get() + 1);
            asked.get() > 1
        };
        queue.put(1, "first");
        queue.put(1, "second");
        let first = queue.take(0, no_room).unwrap();
        assert_eq!((first.0, asked.get()), ("first", 0));
        let second = queue.take(1, no_room).unwrap();
        assert_eq!((second.0, asked.get()), ("second", 2));
    }

    #[test]
    fn nobody_is_kept_from_the_queue_while_memory_is_asked_about() {
        let queue = Queue::new(2);
        queue.put(1, "first");
        queue.put(1, "second");
        let _first = queue.take(0, || true).unwrap();
        let asking = || {
            queue.put(2, "third");
            queue.waiting() == 2
        };
        assert_eq!(queue.take(1, asking).unwrap().0, "second");
    }

    #[test]
    fn the_end_of_the_last_job_makes_room() {
        let queue = Queue::new(2);
        queue.put(1, "first");
        queue.put(1, "second");
        let first = queue.take(0, || false).unwrap();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| queue.take(1, || false).map(|(item, _)| item));
            drop(first);
            assert_eq!(second.join().unwrap(), Some("second"));
        });
    }

    #[test]
    fn slots_end_when_there_are_fewer_and_at_the_end() {
        let queue: Queue<u8, &str> = Queue::new(2);
        std::thread::scope(|scope| {
            let slot = scope.spawn(|| queue.take(1, || true).is_none());
            queue.set_slots(1);
            assert!(slot.join().unwrap());
            let slot = scope.spawn(|| queue.take(0, || true).is_none());
            queue.close();
            assert!(slot.join().unwrap());
        });
        queue.put(1, "late");
        assert!(queue.is_closed() && queue.waiting() == 0);
    }
}
