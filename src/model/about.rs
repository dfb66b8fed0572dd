//! What our client tells our daemon of a pump job beside the files: variables, file times, which system headers are
//! meant. It travels as one more file of the request, under a name that no source has, so that a stock daemon stores
//! it with the others and takes no harm. Records end in NUL bytes; a kind of record that is unknown is passed over.

use super::wire::WireError;

/// The entry's name in a request.
pub const NAME: &[u8] = b"/.distcc/about";

/// How many bytes the hash of a content has.
pub const HASH_BYTES: usize = 16;

/// The hash of a content: XXH3 with 128 bits, the highest first. It tells contents apart that differ by chance. A client that
/// makes two of one hash on purpose misleads itself; nothing that is kept for other clients may go by it.
pub type Hash = [u8; HASH_BYTES];

/// The hash of a content with these bytes.
pub fn content_hash(bytes: &[u8]) -> Hash {
    xxhash_rust::xxh3::xxh3_128(bytes).to_be_bytes()
}

/// Variables of the client that compilers heed, and that a daemon of ours sets for the job.
pub const VARIABLES: &[&str] = &[
    "GCC_COLORS",
    "GCC_EXTRA_DIAGNOSTIC_OUTPUT",
    "GCC_URLS",
    "LANG",
    "LANGUAGE",
    "LC_ALL",
    "LC_CTYPE",
    "LC_MESSAGES",
    "SOURCE_DATE_EPOCH",
    "TERM_URLS",
    "TZ",
];

/// Everything that is told.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct About {
    /// `$PWD` of the client, if it is another name for the request's working directory.
    pub pwd: Option<Vec<u8>>,
    /// Those of [`VARIABLES`] that are set, in the order of that list.
    pub variables: Vec<(Vec<u8>, Vec<u8>)>,
    /// The job is exact only where the client's absolute paths are shown as they are, as a source includes by one.
    pub needs_paths: bool,
    /// The files that the compiler makes beside the object are wanted, too.
    pub wants_sides: bool,
    /// When each file of the request was last modified, in the order of the request, without this entry.
    pub times: Vec<Time>,
    /// The client's system headers travel with the request: the server's own must not be seen.
    pub hermetic: bool,
    /// The system folders, in the order in which they are searched; if they travel with the request, in any order.
    pub system_dirs: Vec<Vec<u8>>,
    /// System folders that would be searched, too, if the client had them.
    pub absent_dirs: Vec<Vec<u8>>,
    /// What the client found in its system folders, and did not find.
    pub system: Vec<Lookup>,
}

/// A time since 1970.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Time {
    /// Whole seconds.
    pub seconds: i64,
    /// And this much.
    pub nanoseconds: u32,
}

/// How the client's system folders answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Lookup {
    /// `name` was looked for in the folders from `start` on, and found in number `at` with this content.
    Found {
        /// Number of the first folder asked.
        start: u16,
        /// Number of the folder that has it.
        at: u16,
        /// What it holds.
        hash: Hash,
        /// As it was included.
        name: Vec<u8>,
    },
    /// `name` is in no folder from `start` on.
    Missing {
        /// Number of the first folder asked.
        start: u16,
        /// As it was included.
        name: Vec<u8>,
    },
    /// A file below the system folders that was found otherwise, and what it holds.
    Holds {
        /// Absolute.
        path: Vec<u8>,
        /// What it holds.
        hash: Hash,
    },
    /// A path below the system folders where there is nothing.
    Nothing {
        /// Absolute.
        path: Vec<u8>,
    },
}

impl About {
    /// All folders of the client's system that are told, and what was looked for there.
    pub fn places(&self) -> impl Iterator<Item = &[u8]> {
        let dirs = self.system_dirs.iter().chain(&self.absent_dirs);
        let looked_for = self.system.iter().map(|lookup| match lookup {
            Lookup::Found { name, .. } | Lookup::Missing { name, .. } => name,
            Lookup::Holds { path, .. } | Lookup::Nothing { path } => path,
        });
        dirs.chain(looked_for).map(Vec::as_slice)
    }

    /// As the entry's content.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256 + 64 * self.system.len());
        if let Some(pwd) = &self.pwd {
            record(&mut out, b'p', &[pwd]);
        }
        for (name, value) in &self.variables {
            record(&mut out, b'e', &[name, b"=", value]);
        }
        if self.needs_paths {
            record(&mut out, b'x', &[]);
        }
        if self.wants_sides {
            record(&mut out, b's', &[]);
        }
        if self.hermetic {
            record(&mut out, b'h', &[]);
        }
        for time in &self.times {
            let text = format!("{}.{:09}", time.seconds, time.nanoseconds);
            record(&mut out, b't', &[text.as_bytes()]);
        }
        for dir in &self.system_dirs {
            record(&mut out, b'd', &[dir]);
        }
        for dir in &self.absent_dirs {
            record(&mut out, b'm', &[dir]);
        }
        for lookup in &self.system {
            lookup.encode(&mut out);
        }
        out
    }

    /// Reads an entry's content.
    ///
    /// # Errors
    /// A record that is not as it should be; what it means for the job can't be known then.
    pub fn decode(bytes: &[u8]) -> Result<About, WireError> {
        let mut about = About::default();
        let mut records = bytes.split(|byte| *byte == 0).peekable();
        while let Some(record) = records.next() {
            match record.split_first() {
                None if records.peek().is_none() => return Ok(about),
                Some((kind, rest)) if records.peek().is_some() => about
                    .take(*kind, rest)
                    .ok_or(WireError::Malformed("what is told of the job"))?,
                _ => break,
            }
        }
        Err(WireError::Malformed("what is told of the job"))
    }

    fn take(&mut self, kind: u8, rest: &[u8]) -> Option<()> {
        match kind {
            b'p' => self.pwd = Some(rest.to_vec()),
            b'e' => {
                let at = rest.iter().position(|byte| *byte == b'=')?;
                let (name, value) = rest.split_at(at);
                self.variables
                    .push((name.to_vec(), value.get(1..)?.to_vec()));
            }
            b'x' => self.needs_paths = true,
            b's' => self.wants_sides = true,
            b'h' => self.hermetic = true,
            b't' => self.times.push(time(rest)?),
            b'd' => self.system_dirs.push(rest.to_vec()),
            b'm' => self.absent_dirs.push(rest.to_vec()),
            b'f' | b'n' | b'c' | b'a' => self.system.push(Lookup::decode(kind, rest)?),
            _ => {}
        }
        Some(())
    }
}

impl Lookup {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Lookup::Found {
                start,
                at,
                hash,
                name,
            } => {
                let numbers = format!("{start},{at},");
                record(out, b'f', &[numbers.as_bytes(), &hex(hash), b" ", name]);
            }
            Lookup::Missing { start, name } => {
                record(out, b'n', &[start.to_string().as_bytes(), b" ", name]);
            }
            Lookup::Holds { path, hash } => record(out, b'c', &[&hex(hash), b" ", path]),
            Lookup::Nothing { path } => record(out, b'a', &[path]),
        }
    }

    fn decode(kind: u8, rest: &[u8]) -> Option<Lookup> {
        if kind == b'a' {
            let path = rest.to_vec();
            return Some(Lookup::Nothing { path });
        }
        let at = rest.iter().position(|byte| *byte == b' ')?;
        let name = rest.get(at + 1..)?.to_vec();
        let mut parts = rest.get(..at)?.split(|byte| *byte == b',');
        let lookup = match kind {
            b'f' => Lookup::Found {
                start: number(parts.next()?)?,
                at: number(parts.next()?)?,
                hash: hash(parts.next()?)?,
                name,
            },
            b'n' => Lookup::Missing {
                start: number(parts.next()?)?,
                name,
            },
            _ => Lookup::Holds {
                hash: hash(parts.next()?)?,
                path: name,
            },
        };
        parts.next().is_none().then_some(lookup)
    }
}

fn record(out: &mut Vec<u8>, kind: u8, parts: &[&[u8]]) {
    out.push(kind);
    for part in parts {
        out.extend_from_slice(part);
    }
    out.push(0);
}

fn hex(hash: &Hash) -> [u8; 2 * HASH_BYTES] {
    let mut text = [0; 2 * HASH_BYTES];
    for (pair, byte) in text.chunks_exact_mut(2).zip(hash) {
        pair[0] = b"0123456789abcdef"[usize::from(byte >> 4)];
        pair[1] = b"0123456789abcdef"[usize::from(byte & 15)];
    }
    text
}

fn hash(text: &[u8]) -> Option<Hash> {
    let digit = |byte: u8| (byte as char).to_digit(16);
    let mut hash = Hash::default();
    if text.len() != 2 * HASH_BYTES {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(text.chunks_exact(2)) {
        *byte = u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()?;
    }
    Some(hash)
}

fn number(text: &[u8]) -> Option<u16> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn time(text: &[u8]) -> Option<Time> {
    let (seconds, nanoseconds) = std::str::from_utf8(text).ok()?.split_once('.')?;
    let time = Time {
        seconds: seconds.parse().ok()?,
        nanoseconds: nanoseconds.parse().ok()?,
    };
    (time.nanoseconds < 1_000_000_000).then_some(time)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn whole() -> About {
        let text = |text: &str| text.as_bytes().to_vec();
        About {
            pwd: Some(text("/home/me/link")),
            variables: vec![(text("LC_ALL"), text("de_DE.UTF-8=x"))],
            needs_paths: true,
            wants_sides: true,
            times: vec![
                Time {
                    seconds: -1,
                    nanoseconds: 999_999_999,
                },
                Time::default(),
            ],
            hermetic: true,
            system_dirs: vec![text("/usr/lib/gcc/x/12/include"), text("/usr/include")],
            absent_dirs: vec![text("/usr/lib/gcc/x/12/../fixed")],
            system: vec![
                Lookup::Found {
                    start: 0,
                    at: 1,
                    hash: [0xa5; HASH_BYTES],
                    name: text("sys/a b.h"),
                },
                Lookup::Missing {
                    start: 1,
                    name: text("windows.h"),
                },
                Lookup::Holds {
                    path: text("/usr/include/bits/x.h"),
                    hash: [1; HASH_BYTES],
                },
                Lookup::Nothing {
                    path: text("/usr/include/bits/y.h"),
                },
            ],
        }
    }

    #[test]
    fn hashes_are_xxh3_with_128_bits() {
        let expected = 0x99aa_06d3_0147_98d8_6001_c324_468d_497f_u128;
        assert_eq!(content_hash(b""), expected.to_be_bytes());
        assert_ne!(content_hash(b"a"), content_hash(b"b"));
    }

    #[test]
    fn all_of_it_comes_back() {
        for about in [whole(), About::default()] {
            assert_eq!(About::decode(&about.encode()).unwrap(), about);
        }
        let with_unknown = [&b"z of tomorrow\0"[..], &whole().encode()].concat();
        assert_eq!(About::decode(&with_unknown).unwrap(), whole());
    }

    #[test]
    fn what_is_cut_or_odd_is_refused() {
        let bytes = whole().encode();
        assert!(About::decode(&bytes[..bytes.len() - 1]).is_err());
        for odd in [
            "t1\0",
            "t1.1000000000\0",
            "tx.0\0",
            "f0,1,zz a\0",
            "n a\0",
            "n70000 a\0",
            "cab a\0",
            "e\0",
            "\0x\0",
            "x",
        ] {
            assert!(About::decode(odd.as_bytes()).is_err(), "{odd:?}");
        }
    }

    proptest! {
        #[test]
        fn noise_is_never_a_panic(noise in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..200) {
            let _ = About::decode(&noise);
            let mut bytes = whole().encode();
            let at = at.min(bytes.len());
            bytes.splice(at..at, noise);
            let _ = About::decode(&bytes);
        }
    }
}
