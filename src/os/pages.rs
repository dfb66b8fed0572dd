//! Memory for what may be a long text. A page fault for each 4 KiB costs more than all that is done with the text, so for
//! many bytes the kernel is asked for large pages; what is not used of them takes no memory.

#![allow(unsafe_code)] // Pages of memory that is not ours to map are only to be had from libc.

use super::store::LARGE_PAGE_BYTES;
use memmap2::{Advice, MmapMut, MmapOptions};
use std::io;

/// From this size on, in bytes, a large page costs less than the small ones that would be needed.
const LARGE_BYTES_MIN: usize = 64 << 10;

/// Room that is made at once beside what is asked for: addresses only.
const ROOM_BYTES: usize = 8 << 20;

/// Bytes that can be added to.
#[derive(Debug)]
pub struct Bytes {
    kind: Kind,
    /// Room beside few bytes.
    room: Option<MmapMut>,
}

#[derive(Debug)]
enum Kind {
    Few(Vec<u8>),
    Many(Large),
}

#[derive(Debug)]
struct Large {
    map: MmapMut,
    /// The bytes are those from the first address that a large page may have.
    start: usize,
    length: usize,
}

/// Has the pages of `place` made at once, if they are many: it will all be written to. What it holds stays.
pub fn make_ready(place: &mut [u8]) {
    const PAGE_BYTES: usize = 4096;
    let start = place.as_ptr().addr().next_multiple_of(PAGE_BYTES);
    let end = (place.as_ptr().addr() + place.len()) / PAGE_BYTES * PAGE_BYTES;
    if end.saturating_sub(start) < LARGE_BYTES_MIN {
        return;
    }
    let from = start - place.as_ptr().addr();
    // SAFETY: the pages lie within `place`; this changes nothing of what they hold. A kernel that can't do it, or a machine
    // with pages of another size, refuses, and makes each page when it is written to.
    unsafe {
        let first = place.as_mut_ptr().add(from).cast();
        libc::madvise(first, end - start, libc::MADV_POPULATE_WRITE);
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes {
            kind: Kind::Few(bytes),
            room: None,
        }
    }
}

impl Bytes {
    /// Adds `count` bytes, which `fill` puts in their place.
    pub fn extend(
        &mut self,
        count: usize,
        fill: impl FnOnce(&mut [u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let before = self.len();
        let after = before.saturating_add(count);
        match &mut self.kind {
            Kind::Few(bytes) if after < LARGE_BYTES_MIN => {
                bytes.resize(after, 0);
                fill(&mut bytes[before..])
            }
            _ => {
                let place = self.large(count)?.place(before, count);
                fill(place)?;
                if let Kind::Many(large) = &mut self.kind {
                    large.length = after;
                }
                Ok(())
            }
        }
    }

    /// The bytes, and room for `count` others, which may hold anything. What is not used of it takes no memory.
    pub fn with_room(&mut self, count: usize) -> io::Result<(&[u8], &mut [u8])> {
        if matches!(self.kind, Kind::Many(_)) {
            self.large(count)?;
        }
        match &mut self.kind {
            Kind::Few(bytes) => {
                if count == 0 {
                    return Ok((bytes, &mut []));
                }
                let map = MmapOptions::new().len(count).map_anon()?;
                Ok((bytes, &mut self.room.insert(map)[..count]))
            }
            Kind::Many(large) => {
                let (used, room) = large.map.split_at_mut(large.start + large.length);
                Ok((&used[large.start..], &mut room[..count]))
            }
        }
    }

    /// Makes sure that the bytes lie in large pages, with room for `count` others behind them.
    fn large(&mut self, count: usize) -> io::Result<&mut Large> {
        let length = self.len();
        let fits = match &self.kind {
            Kind::Many(large) => large.map.len() - large.start - length >= count,
            Kind::Few(_) => false,
        };
        if !fits {
            // With twice the room, so that little is moved twice.
            let mut large = Large::new(length.saturating_add(count.max(length)))?;
            large.place(0, length).copy_from_slice(self);
            large.length = length;
            self.kind = Kind::Many(large);
        }
        match &mut self.kind {
            Kind::Many(large) => Ok(large),
            Kind::Few(_) => Err(io::ErrorKind::OutOfMemory.into()),
        }
    }
}

impl Large {
    /// Room for so many bytes at the least, without any byte in it.
    fn new(bytes: usize) -> io::Result<Large> {
        let room = bytes.checked_add(ROOM_BYTES + LARGE_PAGE_BYTES);
        let room = room.and_then(|room| room.checked_next_multiple_of(LARGE_PAGE_BYTES));
        let room = room.ok_or(io::ErrorKind::OutOfMemory)?;
        let map = MmapOptions::new().len(room).map_anon()?;
        // A kernel that has no large pages gives small ones.
        let _ = map.advise(Advice::HugePage);
        let past = map.as_ptr().addr() % LARGE_PAGE_BYTES;
        Ok(Large {
            map,
            start: (LARGE_PAGE_BYTES - past) % LARGE_PAGE_BYTES,
            length: 0,
        })
    }

    fn place(&mut self, from: usize, count: usize) -> &mut [u8] {
        &mut self.map[self.start + from..self.start + from + count]
    }
}

impl std::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.kind {
            Kind::Few(bytes) => bytes,
            Kind::Many(large) => &large.map[large.start..large.start + large.length],
        }
    }
}

impl std::ops::DerefMut for Bytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.kind {
            Kind::Few(bytes) => bytes,
            Kind::Many(large) => &mut large.map[large.start..large.start + large.length],
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn bytes_stay_while_they_become_many() {
        let mut bytes = Bytes::from(b"text".to_vec());
        let mut expected = b"text".to_vec();
        for (value, count) in [(1, 10), (2, 70_000), (3, 3_000_001), (4, 9_000_000), (5, 0)] {
            let piece = vec![value; count];
            let filled = bytes.extend(count, |place| {
                place.copy_from_slice(&piece);
                Ok(())
            });
            filled.unwrap();
            expected.extend(piece);
            assert!(*bytes == expected);
        }
        assert!(matches!(&bytes.kind, Kind::Many(_)));
        assert_eq!(bytes.as_ptr().addr() % LARGE_PAGE_BYTES, 0);
        for count in [usize::MAX, usize::MAX / 2] {
            assert!(bytes.extend(count, |_| Ok(())).is_err());
            assert!(bytes.with_room(count).is_err());
        }
        let failed = bytes.extend(5, |_| Err(io::ErrorKind::BrokenPipe.into()));
        assert!(failed.is_err() && *bytes == expected);
    }

    #[test]
    fn what_is_made_ready_stays() {
        for length in [
            0,
            1,
            5000,
            LARGE_BYTES_MIN,
            LARGE_BYTES_MIN + 8192,
            1_000_000,
        ] {
            let mut bytes: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let before = bytes.clone();
            make_ready(bytes.get_mut(1..).unwrap_or_default());
            assert!(bytes == before);
        }
    }

    #[test]
    fn there_is_room_beside_them() {
        for length in [0, 5, LARGE_BYTES_MIN, 3_000_000] {
            let mut bytes = Bytes::from(vec![7; length]);
            for count in [0, 10, 100_000, 20_000_000] {
                let (seen, room) = bytes.with_room(count).unwrap();
                assert!(seen.len() == length && room.len() == count);
                room.fill(1);
                assert!(seen.iter().all(|byte| *byte == 7));
            }
            bytes
                .extend(3, |place| {
                    place.fill(8);
                    Ok(())
                })
                .unwrap();
            assert!(bytes[..length].iter().all(|byte| *byte == 7));
            assert_eq!(bytes[length..], [8; 3]);
        }
    }
}
