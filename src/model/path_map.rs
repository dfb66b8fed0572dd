//! Maps and sets by path or file name. The names are the user's own, so a quick hash will do.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

/// By path.
pub type PathMap<V> = HashMap<Box<[u8]>, V, BuildHasherDefault<PathHasher>>;

/// Of paths.
pub type PathSet = HashSet<Vec<u8>, BuildHasherDefault<PathHasher>>;

/// Hashes eight bytes at a time.
#[derive(Clone, Copy, Default, Debug)]
pub struct PathHasher(u64);

impl Hasher for PathHasher {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }

    fn write(&mut self, bytes: &[u8]) {
        const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
        let mix = |state: u64, word: [u8; 8]| {
            (state.rotate_left(23) ^ u64::from_le_bytes(word)).wrapping_mul(FACTOR)
        };
        let mut state = self.0;
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            state = mix(state, <[u8; 8]>::try_from(chunk).unwrap_or_default());
        }
        match (chunks.remainder(), bytes.last_chunk::<8>()) {
            ([], _) => {}
            // Some bytes twice, and how many there are.
            (_, Some(last)) => state = mix(state, *last) ^ bytes.len() as u64,
            (rest, None) => {
                for byte in rest {
                    state = (state.rotate_left(7) ^ u64::from(*byte)).wrapping_mul(FACTOR);
                }
            }
        }
        self.0 = state;
    }

    fn write_usize(&mut self, number: usize) {
        self.write(&number.to_le_bytes());
    }
}

/// Paths by number, one after the other in one piece of memory, without a piece for each: so it is quickly copied.
#[derive(Clone, Default, Debug)]
pub struct PathTable {
    text: Vec<u8>,
    places: Vec<InText>,
    /// A hash table: numbers, plus one.
    slots: Vec<u32>,
    /// How many of them are taken.
    taken: usize,
}

/// Where a path is, and its hash.
#[derive(Clone, Copy, Debug)]
struct InText {
    start: u32,
    end: u32,
    hash: u32,
}

impl PathTable {
    /// With room for so many.
    pub fn with_room(count: usize) -> PathTable {
        PathTable {
            text: Vec::with_capacity(count * 32),
            places: Vec::with_capacity(count),
            slots: vec![0; (count * 2).next_power_of_two().max(2)],
            taken: 0,
        }
    }

    /// The number of a path, if it is here.
    pub fn find(&self, path: &[u8]) -> Option<usize> {
        self.slot(path, hash(path)).ok()
    }

    /// The number of a path, which is added if it is not here, and whether it is new. Numbers count from 0 on.
    pub fn number(&mut self, path: &[u8]) -> (usize, bool) {
        self.make_room();
        let hash = hash(path);
        let at = match self.slot(path, hash) {
            Ok(number) => return (number, false),
            Err(at) => at,
        };
        let number = self.places.len();
        let place = self.add(path, hash);
        self.places.push(place);
        self.slots[at] = short(number + 1);
        self.taken += 1;
        (number, true)
    }

    /// The number of a path, which is added if it is not here.
    pub fn insert(&mut self, path: &[u8]) -> usize {
        self.number(path).0
    }

    /// Gives number 0 another path; false if another number has that, or there is no number.
    pub fn rename_first(&mut self, path: &[u8]) -> bool {
        if self.is_empty() {
            return false;
        }
        self.make_room();
        let hash = hash(path);
        match self.slot(path, hash) {
            Ok(number) => number == 0,
            Err(at) => {
                // The slot of its old path stays, and leads to no path that anybody asks for.
                self.places[0] = self.add(path, hash);
                self.slots[at] = 1;
                self.taken += 1;
                true
            }
        }
    }

    /// The path of a number; empty if there is none.
    pub fn path(&self, number: usize) -> &[u8] {
        let place = self.places.get(number);
        let path = place.and_then(|place| self.text.get(place.start as usize..place.end as usize));
        path.unwrap_or_default()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The number of a path, or the slot that it would have; half of the slots are free, if there are any.
    fn slot(&self, path: &[u8], hash: u32) -> Result<usize, usize> {
        let Some(mask) = self.slots.len().checked_sub(1) else {
            return Err(0);
        };
        let mut at = hash as usize & mask;
        while let Some(number) = self.slots[at].checked_sub(1) {
            let number = number as usize;
            if self.places[number].hash == hash && self.path(number) == path {
                return Ok(number);
            }
            at = (at + 1) & mask;
        }
        Err(at)
    }

    fn add(&mut self, path: &[u8], hash: u32) -> InText {
        let start = short(self.text.len());
        self.text.extend_from_slice(path);
        InText {
            start,
            end: short(self.text.len()),
            hash,
        }
    }

    /// Sees to it that half of the slots are free after one more is taken.
    fn make_room(&mut self) {
        if self.taken * 2 < self.slots.len() {
            return;
        }
        self.taken = self.places.len();
        let room = (self.slots.len() * 2).max(256);
        self.slots.clear();
        self.slots.resize(room, 0);
        for (number, place) in self.places.iter().enumerate() {
            let mut at = place.hash as usize & (room - 1);
            while self.slots[at] > 0 {
                at = (at + 1) & (room - 1);
            }
            self.slots[at] = short(number + 1);
        }
    }
}

fn short(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn hash(path: &[u8]) -> u32 {
    let mut hasher = PathHasher::default();
    hasher.write(path);
    (hasher.0 >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_little_are_told_apart() {
        let hash = |name: &[u8]| {
            let mut hasher = PathHasher::default();
            hasher.write(name);
            hasher.finish()
        };
        let mut seen = HashSet::new();
        for number in 0..20_000 {
            assert!(seen.insert(hash(format!("include/a{number}.h").as_bytes())));
        }
        let mut table = PathTable::default();
        let paths: Vec<Vec<u8>> = (0..1000).map(|at| format!("d/{at}").into_bytes()).collect();
        for (number, path) in paths.iter().enumerate() {
            assert_eq!((table.find(path), table.insert(path)), (None, number));
        }
        for (number, path) in paths.iter().enumerate() {
            assert_eq!(
                (table.insert(path), table.path(number)),
                (number, &path[..])
            );
        }
        assert_eq!(
            (table.len(), table.path(1000), table.find(b"")),
            (1000, &b""[..], None)
        );
        let mut map: PathMap<u8> = PathMap::default();
        map.insert(b"/a".as_slice().into(), 1);
        assert_eq!(map.get(b"/a".as_slice()), Some(&1));
    }

    #[test]
    fn slots_stay_free() {
        for room in 0..5 {
            let mut table = PathTable::with_room(room);
            assert_eq!(table.insert(b"a"), 0);
            for round in 0..10 {
                assert!(table.taken * 2 <= table.slots.len());
                assert_eq!(table.find(b"b"), None);
                assert!(table.rename_first(format!("a{round}").as_bytes()));
            }
            assert_eq!((table.find(b"a9"), table.find(b"a")), (Some(0), None));
        }
    }
}
