//! What a file holds, as far as requests want it: the hash, the scan for each dialect, and the packets under which it
//! travels. The bytes themselves are not kept; how much memory the rest takes is counted.

use crate::model::about::{content_hash, Hash};
use crate::model::dialect::Dialect;
use crate::model::lzo;
use crate::model::source_scan::Scan;
use crate::model::wire;
use std::cell::RefCell;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// A lock whose holder panicked guards nothing that a panic could leave half done.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How much memory something takes, and all of its kind together.
#[derive(Debug)]
pub struct Metered {
    all: Arc<AtomicUsize>,
    own: AtomicUsize,
}

impl Metered {
    /// Something that takes `bytes`, counted in `all` until it is dropped.
    pub fn new(all: &Arc<AtomicUsize>, bytes: usize) -> Metered {
        all.fetch_add(bytes, Ordering::Relaxed);
        Metered {
            all: Arc::clone(all),
            own: AtomicUsize::new(bytes),
        }
    }

    fn grow(&self, bytes: usize) {
        self.own.fetch_add(bytes, Ordering::Relaxed);
        self.all.fetch_add(bytes, Ordering::Relaxed);
    }

    /// In bytes.
    pub fn bytes(&self) -> usize {
        self.own.load(Ordering::Relaxed)
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes(), Ordering::Relaxed);
    }
}

/// What somebody wants of a content, beside its hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Want {
    /// The scan for this dialect.
    pub scan: Option<Dialect>,
    /// The packets for sending it.
    pub packet: bool,
}

/// What a file holds.
#[derive(Debug)]
pub struct Content {
    /// Its hash.
    pub hash: Hash,
    scans: Mutex<Vec<(Dialect, Arc<Scan>)>>,
    packet: OnceLock<Arc<[u8]>>,
    metered: Metered,
}

impl Content {
    /// Of a file with these bytes; what it takes is counted in `all`.
    pub fn new(bytes: &[u8], all: &Arc<AtomicUsize>) -> Content {
        Content {
            hash: content_hash(bytes),
            scans: Mutex::new(Vec::new()),
            packet: OnceLock::new(),
            metered: Metered::new(all, size_of::<Content>()),
        }
    }

    /// Whether all that is wanted is here.
    pub fn has(&self, want: Want) -> bool {
        let scan = want.scan.is_none_or(|dialect| self.scan(dialect).is_some());
        scan && (!want.packet || self.packet.get().is_some())
    }

    /// Makes what is wanted and not here yet from the bytes, which are those of the hash.
    pub fn make(&self, want: Want, path: &[u8], bytes: &[u8]) -> io::Result<()> {
        if let Some(dialect) = want.scan.filter(|dialect| self.scan(*dialect).is_none()) {
            let scan = Arc::new(Scan::new(bytes, dialect));
            self.metered.grow(scan.memory());
            lock(&self.scans).push((dialect, scan));
        }
        if want.packet && self.packet.get().is_none() {
            let packet = packet(path, bytes)?;
            self.metered.grow(packet.len());
            // Another thread's is the same.
            let _ = self.packet.set(packet);
        }
        Ok(())
    }

    /// The scan for a dialect, if it has been made.
    pub fn scan(&self, dialect: Dialect) -> Option<Arc<Scan>> {
        let scans = lock(&self.scans);
        let found = scans.iter().find(|(known, _)| *known == dialect)?;
        Some(Arc::clone(&found.1))
    }

    /// `NAME` and `FILE` for a request, if they have been made.
    pub fn packet(&self) -> Option<Arc<[u8]>> {
        self.packet.get().cloned()
    }

    /// Whether that is for the name `path`: one file may have several.
    pub fn is_packed_as(&self, path: &[u8]) -> bool {
        let name = [format!("NAME{:08x}", path.len()).as_bytes(), path].concat();
        let packet = self.packet.get();
        packet.is_some_and(|packet| packet.starts_with(&name))
    }

    /// How much memory it takes, in bytes.
    pub fn memory(&self) -> usize {
        self.metered.bytes()
    }
}

/// Where packets are put together: the next one takes the same memory, so that those that are kept lie close to each other.
#[derive(Default)]
struct Table {
    room: Vec<u8>,
    packet: Vec<u8>,
}

/// Room for a longer file is given back, in bytes.
const ROOM_KEPT_MAX: usize = 256 << 10;

thread_local! {
    static TABLE: RefCell<Table> = RefCell::default();
}

/// `NAME` and `FILE` of a file with these bytes.
pub fn packet(path: &[u8], bytes: &[u8]) -> io::Result<Arc<[u8]>> {
    TABLE.with_borrow_mut(|table| {
        let Table { room, packet } = table;
        let needed = lzo::room_bytes(bytes.len());
        if room.len() < needed {
            room.resize(needed, 0);
        }
        let compressed = lzo::compress_in(bytes, room).map_err(io::Error::other)?;
        packet.clear();
        wire::put_file(packet, path, compressed).map_err(io::Error::other)?;
        let made = Arc::from(packet.as_slice());
        if room.len() > ROOM_KEPT_MAX {
            *table = Table::default();
        }
        Ok(made)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_made_is_counted_until_it_goes() {
        let all = Arc::default();
        let bytes = b"#include \"a.h\"\n";
        let content = Content::new(bytes, &all);
        let want = Want {
            scan: Some(Dialect::default()),
            packet: true,
        };
        assert!(!content.has(want) && content.has(Want::default()));
        let before = content.memory();
        content.make(want, b"/a", bytes).unwrap();
        assert!(content.has(want) && content.memory() > before);
        let packet = content.packet().unwrap();
        assert!(packet.starts_with(b"NAME00000002/aFILE"), "{packet:?}");
        assert!(
            content.is_packed_as(b"/a")
                && !content.is_packed_as(b"/")
                && !content.is_packed_as(b"/aF")
        );
        let after = content.memory();
        content.make(want, b"/a", bytes).unwrap();
        assert_eq!(content.memory(), after, "made once");
        assert_eq!(all.load(Ordering::Relaxed), after);
        drop(content);
        assert_eq!(all.load(Ordering::Relaxed), 0);
    }
}
