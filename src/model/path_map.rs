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

/// Paths by number, without a piece of memory for each.
#[derive(Clone, Default, Debug)]
pub struct PathTable {
    bytes: Vec<u8>,
    entries: Vec<TableEntry>,
    first: HashMap<u64, u32, BuildHasherDefault<PathHasher>>,
}

#[derive(Clone, Copy, Debug)]
struct TableEntry {
    start: usize,
    length: usize,
    /// Another one with this hash.
    next: Option<u32>,
}

impl PathTable {
    /// The number of a path, if it is here.
    pub fn find(&self, path: &[u8]) -> Option<usize> {
        let mut next = self.first.get(&hash(path)).copied();
        while let Some(number) = next {
            let entry = self.entries.get(number as usize)?;
            if self.bytes.get(entry.start..entry.start + entry.length) == Some(path) {
                return Some(number as usize);
            }
            next = entry.next;
        }
        None
    }

    /// The number of a path, which is added if it is not here. Numbers count from 0 on.
    pub fn insert(&mut self, path: &[u8]) -> usize {
        if let Some(known) = self.find(path) {
            return known;
        }
        let number = self.entries.len();
        self.entries.push(TableEntry {
            start: self.bytes.len(),
            length: path.len(),
            next: self.first.insert(hash(path), number as u32),
        });
        self.bytes.extend_from_slice(path);
        number
    }

    /// Gives number 0 another path; false if another number has that, or there is no number.
    pub fn rename_first(&mut self, path: &[u8]) -> bool {
        if let Some(known) = self.find(path) {
            return known == 0;
        }
        let Some(first) = self.entries.first_mut() else {
            return false;
        };
        // Those that its old path leads to beyond it are led to still.
        (first.start, first.length) = (self.bytes.len(), path.len());
        self.bytes.extend_from_slice(path);
        self.first.insert(hash(path), 0).is_none()
    }

    /// The path of a number; empty if there is none.
    pub fn path(&self, number: usize) -> &[u8] {
        let entry = self.entries.get(number);
        let path = entry.and_then(|entry| self.bytes.get(entry.start..entry.start + entry.length));
        path.unwrap_or_default()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

fn hash(path: &[u8]) -> u64 {
    let mut hasher = PathHasher::default();
    hasher.write(path);
    hasher.finish()
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
}
