//! Bytes → requests: the order in which packets may come, and what they mean. Pure; whoever has the bytes asks the
//! decoder where to put them.

use super::bodies::Bodies;
use super::packets::{check, Grammar, Limits, Packets, Tag, WireError};
use super::wire::{Entry, EntryKind, Request, Source, Version};

/// What the request grammar waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum RequestDue {
    Version,
    Folder,
    Count,
    Word,
    Text,
    EntryCount,
    EntryName,
    EntryKind,
    Nothing,
}

/// The order of a request's packets.
#[derive(Debug)]
pub struct RequestGrammar {
    bodies: Bodies,
    due: RequestDue,
    tag: Tag,
    version: Version,
    words_left: u32,
    word_bytes: usize,
    argv: Vec<Vec<u8>>,
    cwd: Vec<u8>,
    entries_left: u32,
    entries: Vec<Entry>,
    name: Vec<u8>,
    text: Vec<u8>,
}

/// Bytes → request.
pub type RequestDecoder = Packets<RequestGrammar>;

impl RequestDecoder {
    /// A decoder that has read nothing yet.
    pub fn for_requests(limits: Limits) -> Self {
        Packets::new(RequestGrammar {
            bodies: Bodies::new(limits),
            due: RequestDue::Version,
            tag: Tag(*b"    "),
            version: Version::V1,
            words_left: 0,
            word_bytes: 0,
            argv: Vec::new(),
            cwd: Vec::new(),
            entries_left: 0,
            entries: Vec::new(),
            name: Vec::new(),
            text: Vec::new(),
        })
    }

    /// The version that was asked for, once that is known.
    pub fn version(&self) -> Option<Version> {
        let grammar = self.grammar();
        (grammar.due != RequestDue::Version).then_some(grammar.version)
    }

    /// The command as far as it has come.
    pub fn argv(&self) -> &[Vec<u8>] {
        &self.grammar().argv
    }

    /// The request, or why the bytes were none; for when no more will come.
    pub fn request(self) -> Result<Request, WireError> {
        let mut grammar = self.finish()?;
        let source = match grammar.version {
            Version::V3 => Source::Files {
                cwd: std::mem::take(&mut grammar.cwd),
                entries: grammar.open_entries()?,
            },
            Version::V1 | Version::V2 => {
                let text = std::mem::take(&mut grammar.text);
                Source::Text(grammar.bodies.open(grammar.version, text)?)
            }
        };
        Ok(Request {
            version: grammar.version,
            argv: grammar.argv,
            source,
        })
    }
}

impl RequestGrammar {
    fn path(&self, length: u32) -> Result<Option<usize>, Option<WireError>> {
        let length = length as usize;
        check("bytes in a path", length, self.bodies.limits.path_bytes_max)?;
        Ok(Some(length))
    }

    fn open_entries(&mut self) -> Result<Vec<Entry>, WireError> {
        let mut entries = std::mem::take(&mut self.entries);
        for entry in &mut entries {
            if let EntryKind::File(body) = &mut entry.kind {
                *body = self.bodies.open(self.version, std::mem::take(body))?;
            }
        }
        Ok(entries)
    }

    fn after_entry(&mut self) {
        self.entries_left -= 1;
        self.due = match self.entries_left {
            0 => RequestDue::Nothing,
            _ => RequestDue::EntryName,
        };
    }
}

impl Grammar for RequestGrammar {
    fn due(&self) -> Option<&'static str> {
        Some(match self.due {
            RequestDue::Version => "the protocol version (DIST)",
            RequestDue::Folder => "the working directory (CDIR)",
            RequestDue::Count => "the number of arguments (ARGC)",
            RequestDue::Word => "an argument (ARGV)",
            RequestDue::Text => "the preprocessed source (DOTI)",
            RequestDue::EntryCount => "the number of files (NFIL)",
            RequestDue::EntryName => "the name of a file (NAME)",
            RequestDue::EntryKind => "a file or a link (FILE, LINK)",
            RequestDue::Nothing => return None,
        })
    }

    fn head(&mut self, tag: Tag, number: u32) -> Result<Option<usize>, Option<WireError>> {
        self.tag = tag;
        let limits = self.bodies.limits;
        match (self.due, &tag.0) {
            (RequestDue::Version, b"DIST") => {
                self.version = Version::from_number(number)?;
                self.due = match self.version {
                    Version::V3 => RequestDue::Folder,
                    _ => RequestDue::Count,
                };
                Ok(None)
            }
            (RequestDue::Folder, b"CDIR") | (RequestDue::EntryName, b"NAME") => self.path(number),
            (RequestDue::EntryKind, b"LINK") => self.path(number),
            (RequestDue::Count, b"ARGC") => {
                let max = limits.argument_count_max as usize;
                check("arguments", number as usize, max)?;
                if number == 0 {
                    return Err(Some(WireError::NoArguments));
                }
                self.words_left = number;
                self.due = RequestDue::Word;
                Ok(None)
            }
            (RequestDue::Word, b"ARGV") => {
                self.word_bytes = self.word_bytes.saturating_add(number as usize);
                check(
                    "bytes of arguments",
                    self.word_bytes,
                    limits.argument_bytes_max,
                )?;
                Ok(Some(number as usize))
            }
            (RequestDue::Text, b"DOTI") | (RequestDue::EntryKind, b"FILE") => {
                Ok(Some(self.bodies.announce(number)?))
            }
            (RequestDue::EntryCount, b"NFIL") => {
                let max = limits.entry_count_max as usize;
                check("files", number as usize, max)?;
                self.entries_left = number;
                self.due = match number {
                    0 => RequestDue::Nothing,
                    _ => RequestDue::EntryName,
                };
                Ok(None)
            }
            _ => Err(None),
        }
    }

    fn body(&mut self, body: Vec<u8>) -> Result<(), WireError> {
        let is_text = matches!(&self.tag.0, b"DOTI" | b"FILE");
        if !is_text && body.contains(&0) {
            return Err(WireError::Nul("an argument or a path"));
        }
        match self.due {
            RequestDue::Folder => {
                self.cwd = body;
                self.due = RequestDue::Count;
            }
            RequestDue::Word => {
                self.argv.push(body);
                self.words_left -= 1;
                if self.words_left == 0 {
                    self.due = match self.version {
                        Version::V3 => RequestDue::EntryCount,
                        _ => RequestDue::Text,
                    };
                }
            }
            RequestDue::Text => {
                self.text = body;
                self.due = RequestDue::Nothing;
            }
            RequestDue::EntryName => {
                self.name = body;
                self.due = RequestDue::EntryKind;
            }
            RequestDue::EntryKind => {
                let kind = match is_text {
                    true => EntryKind::File(body),
                    false => EntryKind::Link(body),
                };
                let name = std::mem::take(&mut self.name);
                self.entries.push(Entry { name, kind });
                self.after_entry();
            }
            RequestDue::Version
            | RequestDue::Count
            | RequestDue::EntryCount
            | RequestDue::Nothing => {}
        }
        Ok(())
    }

    fn memory(&self) -> usize {
        let words = self.argv.iter().map(Vec::capacity).sum::<usize>();
        let entry = |entry: &Entry| match &entry.kind {
            EntryKind::File(body) | EntryKind::Link(body) => {
                entry.name.capacity() + body.capacity()
            }
        };
        let entries = self.entries.iter().map(entry).sum::<usize>();
        let vectors = self.argv.capacity() * size_of::<Vec<u8>>()
            + self.entries.capacity() * size_of::<Entry>();
        let single = self.cwd.capacity() + self.name.capacity() + self.text.capacity();
        words + entries + vectors + single
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::error::Code;
    use super::super::wire::encode_plain_request;
    use super::*;
    use crate::model::packets::feed;
    use proptest::prelude::*;

    fn request_bytes(version: Version, argv: &[&[u8]], text: &[u8]) -> Vec<u8> {
        encode_plain_request(version, argv, text.split_at(text.len() / 2).into()).unwrap()
    }

    fn decode(bytes: &[u8], sizes: &[usize]) -> Result<Request, WireError> {
        let mut decoder = RequestDecoder::for_requests(Limits::default());
        feed(&mut decoder, bytes, sizes)?;
        decoder.request()
    }

    #[test]
    fn lengths_are_refused_before_memory_is_taken() {
        for (bytes, words) in [
            (&b"DIST00000001ARGCffffffff"[..], "arguments"),
            (
                b"DIST00000001ARGC00000001ARGVffffffff",
                "bytes of arguments",
            ),
            (
                b"DIST00000001ARGC00000001ARGV00000001xDOTIffffffff",
                "bytes in bodies",
            ),
            (b"DIST00000003CDIRffffffff", "bytes in a path"),
        ] {
            let err = decode(bytes, &[100]).unwrap_err();
            assert!(err.to_string().contains(words), "{err}");
        }
        let mut decoder = RequestDecoder::for_requests(Limits::default());
        feed(
            &mut decoder,
            b"DIST00000001ARGC00000001ARGV00000001xDOTI3fffffff",
            &[7],
        )
        .unwrap();
        assert!(!decoder.space().is_empty());
        assert!(
            decoder.memory() < 1 << 20,
            "an announced body takes no memory"
        );
    }

    #[test]
    fn what_is_no_request_is_refused_by_name() {
        for (bytes, code) in [
            (&b""[..], Code::Truncated),
            (b"GET / HTTP/1.0\r\n\r\n", Code::Protocol),
            (b"DIST00000000", Code::Protocol),
            (b"DIST00000004", Code::Protocol),
            (b"DIST0x000001", Code::Protocol),
            (b"DIST+0000001", Code::Protocol),
            (b"DIST00000001ARGC00000000", Code::Protocol),
            (b"DIST00000001ARGC00000001ARGV00000001\0", Code::Protocol),
            (b"DIST00000001DOTI00000000", Code::Protocol),
            (b"\x16", Code::Protocol),
        ] {
            assert_eq!(decode(bytes, &[3]).unwrap_err().code(), code, "{bytes:?}");
        }
    }

    fn version() -> impl Strategy<Value = Version> {
        prop_oneof![Just(Version::V1), Just(Version::V2)]
    }

    proptest! {
        #[test]
        fn requests_survive_any_splitting(
            version in version(),
            argv in proptest::collection::vec("[ -~]{0,20}", 1..8),
            text in proptest::collection::vec(any::<u8>(), 0..40_000),
            sizes in proptest::collection::vec(1usize..30_000, 1..5),
        ) {
            let words: Vec<&[u8]> = argv.iter().map(|word| word.as_bytes()).collect();
            let bytes = request_bytes(version, &words, &text);
            let request = decode(&bytes, &sizes).unwrap();
            prop_assert_eq!(request.version, version);
            prop_assert_eq!(request.argv, words);
            prop_assert_eq!(request.source, Source::Text(text));
        }

        #[test]
        fn every_cut_is_noticed(version in version(), cut in 0usize..200) {
            let bytes = request_bytes(version, &[b"gcc", b"-c", b"x.c"], &[7; 99]);
            if cut < bytes.len() {
                let err = decode(&bytes[..cut], &[5]).unwrap_err();
                prop_assert_eq!(err.code(), Code::Truncated);
            }
        }

        #[test]
        fn noise_is_never_a_panic(noise in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..60) {
            let _ = decode(&noise, &[9]);
            let mut bytes = request_bytes(Version::V2, &[b"gcc", b"-c"], b"text");
            let end = bytes.len().min(at + noise.len());
            let at = at.min(end);
            bytes[at..end].copy_from_slice(&noise[..end - at]);
            let _ = decode(&bytes, &[9]);
        }
    }
}
