//! An answer as it travels: the packets of all entries, in pieces that are shared with other answers, and first among them
//! the one that tells a daemon of ours what it wants to know beside the files.

use super::content::packet;
use super::shipment::{Sent, Shipment};
use crate::model::about::{About, Hash, Time, NAME};
use crate::model::path_list::PLACEHOLDER;
use crate::model::wire;
use crate::os::identity::Moment;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, OnceLock};

/// What an answer is, but for the framing of a protocol.
#[derive(Debug, Default)]
pub struct Reply {
    /// Files are shaped for a stock host.
    pub for_stock: bool,
    /// It is exact on our hosts only.
    pub needs_ours: bool,
    /// A stock host needs some file otherwise: it is spelled absolutely, or another has the same content.
    pub spelled_absolutely: bool,
    /// What travels.
    pub shipment: Shipment,
    /// What is told beside it, as it travels: so it takes a tenth of the memory.
    pub about: Arc<[u8]>,
    /// Made when they are asked for.
    pub entries: OnceLock<Entries>,
}

/// The entries of a request, in pieces.
#[derive(Clone, Debug, Default)]
pub struct Entries {
    /// One after another they are the bytes.
    pub pieces: Vec<Arc<[u8]>>,
    /// How many entries they are.
    pub count: usize,
    /// How many bytes.
    pub length: usize,
}

/// What a stock host makes necessary in a file: it would show its own paths, and sees no difference between files of the
/// same content.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Shape {
    /// The name that the file says it has.
    pub line: Option<Vec<u8>>,
    /// So many line ends are added.
    pub newlines: u32,
}

impl Shape {
    /// The file is sent as it is.
    pub fn is_plain(&self) -> bool {
        self.line.is_none() && self.newlines == 0
    }

    /// What is sent.
    pub fn apply(&self, bytes: &[u8]) -> Vec<u8> {
        const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
        let mut out = Vec::with_capacity(bytes.len() + 64);
        let mut rest = bytes;
        if let Some(name) = &self.line {
            if let Some(after) = bytes.strip_prefix(BYTE_ORDER_MARK) {
                out.extend_from_slice(BYTE_ORDER_MARK);
                rest = after;
            }
            out.extend_from_slice(b"#line 1 \"");
            for byte in name {
                if matches!(byte, b'"' | b'\\') {
                    out.push(b'\\');
                }
                out.push(*byte);
            }
            out.extend_from_slice(b"\"\n");
        }
        out.extend_from_slice(rest);
        out.resize(out.len() + self.newlines as usize, b'\n');
        out
    }
}

/// The shape of each file for a stock host, where all are of the same age: files of one content that differ in age here must
/// differ in content there, or a compiler takes them for one under `#pragma once`. Those that don't are one here, too.
pub fn shapes(files: &[Sent]) -> Vec<Shape> {
    let mut ages: HashMap<Hash, Vec<u64>> = HashMap::new();
    let mut newlines = |sent: &Sent| {
        let ages = ages.entry(sent.content.hash).or_default();
        let known = ages.iter().position(|age| *age == sent.twin);
        known.unwrap_or_else(|| {
            ages.push(sent.twin);
            ages.len() - 1
        })
    };
    let shape = |sent: &Sent| Shape {
        line: sent.spelled.clone(),
        newlines: match sent.spelled {
            Some(_) => 0,
            None => u32::try_from(newlines(sent)).unwrap_or(u32::MAX),
        },
    };
    files.iter().map(shape).collect()
}

/// `NAME` and `FILE` of what is told.
pub fn told(about: &About) -> io::Result<Arc<[u8]>> {
    packet(NAME, &about.encode())
}

/// Whether a stock host needs other files than ours.
pub fn differ_for_stock(files: &[Sent]) -> bool {
    shapes(files).iter().any(|shape| !shape.is_plain())
}

impl Reply {
    /// The entries.
    pub fn entries(&self) -> io::Result<&Entries> {
        if let Some(entries) = self.entries.get() {
            return Ok(entries);
        }
        let entries = self.make_entries()?;
        Ok(self.entries.get_or_init(|| entries))
    }

    /// About how much memory it takes beside the contents of files, in bytes.
    pub fn memory(&self) -> usize {
        let shaped = |sent: &&Sent| self.for_stock && sent.spelled.is_some();
        let files = self.shipment.files.iter();
        let shaped: usize = files.filter(shaped).map(|sent| sent.content.memory()).sum();
        shaped + 256 * self.shipment.files.len() + self.about.len()
    }

    fn make_entries(&self) -> io::Result<Entries> {
        let shapes = match self.for_stock {
            true => shapes(&self.shipment.files),
            false => vec![Shape::default(); self.shipment.files.len()],
        };
        let mut entries = Entries::default();
        entries.add(Arc::clone(&self.about));
        for (sent, shape) in self.shipment.files.iter().zip(&shapes) {
            match sent.content.packet().filter(|_| shape.is_plain()) {
                Some(packet) => entries.add(packet),
                None => {
                    let bytes = shape.apply(&sent.place.bytes(&sent.content.hash)?);
                    entries.add(packet(sent.place.path(), &bytes)?);
                }
            }
        }
        let (rest, count) = self.links_and_folders()?;
        entries.own(rest, count);
        Ok(entries)
    }

    fn links_and_folders(&self) -> io::Result<(Vec<u8>, usize)> {
        let Shipment {
            system_links,
            links,
            folders,
            ..
        } = &self.shipment;
        let mut out = Vec::with_capacity(4096);
        for link in system_links.iter().chain(links) {
            wire::put_link(&mut out, &link.path, &link.target).map_err(io::Error::other)?;
        }
        for folder in folders {
            wire::put_file(&mut out, &placeholder(folder), b"").map_err(io::Error::other)?;
        }
        Ok((out, system_links.len() + links.len() + folders.len()))
    }
}

/// The path of the file that makes a folder.
pub fn placeholder(folder: &[u8]) -> Vec<u8> {
    [folder, b"/", PLACEHOLDER].concat()
}

impl Entries {
    fn add(&mut self, piece: Arc<[u8]>) {
        self.length += piece.len();
        self.count += 1;
        self.pieces.push(piece);
    }

    fn own(&mut self, bytes: Vec<u8>, count: usize) {
        self.length += bytes.len();
        self.count += count;
        self.pieces.push(bytes.into());
    }
}

/// A moment as it is told.
pub fn time(moment: Moment) -> Time {
    Time {
        seconds: moment.div_euclid(1_000_000_000),
        nanoseconds: u32::try_from(moment.rem_euclid(1_000_000_000)).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_keep_a_byte_order_mark_first_and_quote_names() {
        for (line, newlines, bytes, expected) in [
            (None, 0, &b"x"[..], &b"x"[..]),
            (None, 2, b"x\n", b"x\n\n\n"),
            (
                Some("/a b/\"q\\.h"),
                0,
                b"x",
                b"#line 1 \"/a b/\\\"q\\\\.h\"\nx",
            ),
            (
                Some("/a"),
                0,
                b"\xef\xbb\xbfx",
                b"\xef\xbb\xbf#line 1 \"/a\"\nx",
            ),
        ] {
            let shape = Shape {
                line: line.map(|line| line.as_bytes().to_vec()),
                newlines,
            };
            assert_eq!(shape.apply(bytes), expected, "{line:?}");
            assert_eq!(shape.is_plain(), expected == bytes);
        }
    }

    #[test]
    fn times_before_1970() {
        let before = time(-1);
        assert_eq!((before.seconds, before.nanoseconds), (-1, 999_999_999));
    }
}
