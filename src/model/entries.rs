//! The entries of a pump request as they travel, looked through without unpacking them: for whoever passes them on unseen
//! and wants to know that they are entries, and for whoever only wants their names.

use super::packets::{read_head, WireError, HEAD_BYTES};

/// An entry, its file's content compressed as it travels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Raw<'b> {
    /// Name and compressed content of a file.
    File(&'b [u8], &'b [u8]),
    /// Name and text of a link.
    Link(&'b [u8], &'b [u8]),
}

impl<'b> Raw<'b> {
    /// Its name.
    pub fn name(self) -> &'b [u8] {
        match self {
            Raw::File(name, _) | Raw::Link(name, _) => name,
        }
    }
}

/// The entries one after another; ends with the first fault.
pub struct Entries<'b> {
    rest: &'b [u8],
}

impl<'b> Entries<'b> {
    /// Those in `bytes`.
    pub fn of(bytes: &'b [u8]) -> Entries<'b> {
        Entries { rest: bytes }
    }

    fn packet(&mut self) -> Result<([u8; 4], &'b [u8]), WireError> {
        let cut = WireError::Truncated("a file");
        let head = self.rest.first_chunk::<HEAD_BYTES>().ok_or(cut.clone())?;
        let (tag, length) = read_head(head).ok_or(WireError::Malformed("an entry"))?;
        let end = HEAD_BYTES.saturating_add(length as usize);
        let body = self.rest.get(HEAD_BYTES..end).ok_or(cut)?;
        self.rest = &self.rest[end..];
        Ok((tag, body))
    }

    fn entry(&mut self) -> Result<Raw<'b>, WireError> {
        let (tag, name) = self.packet()?;
        let (kind, body) = self.packet()?;
        match (&tag, &kind) {
            (b"NAME", b"FILE") => Ok(Raw::File(name, body)),
            (b"NAME", b"LINK") => Ok(Raw::Link(name, body)),
            _ => Err(WireError::Malformed("an entry")),
        }
    }
}

impl<'b> Iterator for Entries<'b> {
    type Item = Result<Raw<'b>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let entry = self.entry();
        if entry.is_err() {
            self.rest = &[];
        }
        Some(entry)
    }
}

/// Whether `bytes` are exactly so many entries.
pub fn check_count(bytes: &[u8], count: u32) -> Result<(), WireError> {
    let mut found: u32 = 0;
    for entry in Entries::of(bytes) {
        entry?;
        found += 1;
    }
    match found == count {
        true => Ok(()),
        false => Err(WireError::Malformed("the number of files")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::wire::{put_file, put_link};
    use super::*;
    use proptest::prelude::*;

    fn bytes() -> Vec<u8> {
        let mut bytes = Vec::new();
        put_file(&mut bytes, b"/a", b"body").unwrap();
        put_link(&mut bytes, b"/b", b"/a").unwrap();
        put_file(&mut bytes, b"/c", b"").unwrap();
        bytes
    }

    #[test]
    fn entries_are_seen_as_they_were_put() {
        let bytes = bytes();
        let found: Vec<_> = Entries::of(&bytes).map(Result::unwrap).collect();
        let expected = [
            Raw::File(b"/a", b"body"),
            Raw::Link(b"/b", b"/a"),
            Raw::File(b"/c", b""),
        ];
        assert_eq!(found, expected);
        assert_eq!(found[1].name(), b"/b");
        check_count(&bytes, 3).unwrap();
        check_count(&[], 0).unwrap();
    }

    #[test]
    fn what_is_no_list_of_entries_is_refused() {
        let bytes = bytes();
        for count in [0, 2, 4] {
            assert!(check_count(&bytes, count).is_err());
        }
        for cut in 0..bytes.len() {
            assert!(check_count(&bytes[..cut], 3).is_err(), "{cut}");
        }
        for odd in [
            "FILE00000000FILE00000000",
            "NAME00000000NAME00000000",
            "NAMEx",
            "NAMEffffffff",
        ] {
            assert!(check_count(odd.as_bytes(), 1).is_err(), "{odd}");
        }
    }

    proptest! {
        #[test]
        fn noise_is_never_a_panic(noise in proptest::collection::vec(any::<u8>(), 0..60), at in 0usize..60) {
            let _ = check_count(&noise, 1);
            let mut bytes = bytes();
            let at = at.min(bytes.len());
            bytes.splice(at..at, noise);
            let _ = check_count(&bytes, 3);
        }
    }
}
