//! Bytes → replies, as `decode` does for requests: the order in which packets may come, and what they mean.

use super::bodies::Bodies;
use super::packets::{check, Grammar, Limits, Packets, Tag, WireError};
use super::side_files::{Beside, SideFile, COUNT_MAX, NAME_BYTES_MAX};
use super::wait_status::WaitStatus;
use super::wire::{Remark, Reply, Version, REMARK, SIDE_COUNT, SIDE_OF_OUTPUT, SIDE_WORKING};

/// What the reply grammar waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ReplyDue {
    Version,
    Status,
    Stderr,
    Stdout,
    Object,
    Deps,
    Remark,
    SideCount,
    SideName,
    SideContent,
    Nothing,
}

/// The order of a reply's packets.
#[derive(Debug)]
pub struct ReplyGrammar {
    bodies: Bodies,
    due: ReplyDue,
    reply: Reply,
    wants_sides: bool,
    sides_left: u32,
    side: Beside,
}

/// Bytes → reply.
pub type ReplyDecoder = Packets<ReplyGrammar>;

impl ReplyDecoder {
    /// A decoder for the answer to a request of this version.
    pub fn for_reply(version: Version, limits: Limits) -> Self {
        ReplyDecoder::expecting(version, limits, false)
    }

    /// A decoder for the answer to a pump request that asks for files beside the object.
    pub fn for_reply_with_sides(limits: Limits) -> Self {
        ReplyDecoder::expecting(Version::V3, limits, true)
    }

    fn expecting(version: Version, limits: Limits, wants_sides: bool) -> Self {
        Packets::new(ReplyGrammar {
            bodies: Bodies::new(limits),
            due: ReplyDue::Version,
            reply: Reply {
                version,
                status: WaitStatus::SUCCESS,
                stderr: Vec::new(),
                stdout: Vec::new(),
                object: None,
                deps: None,
                remark: None,
                sides: None,
            },
            wants_sides,
            sides_left: 0,
            side: Beside::Output,
        })
    }

    /// The reply, or why the bytes were none; for when no more will come. A server that could not make the
    /// dependencies of a pump job hangs up after the object: then it was a success, and has no dependencies.
    pub fn reply(self) -> Result<Reply, WireError> {
        let ReplyGrammar {
            mut bodies,
            mut reply,
            ..
        } = self.finish()?;
        let optional = [&mut reply.object, &mut reply.deps].into_iter().flatten();
        let sides = reply.sides.iter_mut().flatten();
        for body in [&mut reply.stderr, &mut reply.stdout]
            .into_iter()
            .chain(optional)
            .chain(sides.map(|side| &mut side.content))
        {
            *body = bodies.open(reply.version, std::mem::take(body))?;
        }
        Ok(reply)
    }
}

impl ReplyGrammar {
    fn after_results(&self) -> ReplyDue {
        match self.reply.version {
            Version::V3 => ReplyDue::Remark,
            _ => ReplyDue::Nothing,
        }
    }

    fn side_memory(&self) -> usize {
        let Some(sides) = &self.reply.sides else {
            return 0;
        };
        let bytes = sides
            .iter()
            .map(|side| side.name.capacity() + side.content.capacity());
        bytes.sum::<usize>() + sides.capacity() * size_of::<SideFile>()
    }

    fn after_side(&self) -> ReplyDue {
        match self.sides_left {
            0 => ReplyDue::Nothing,
            _ => ReplyDue::SideName,
        }
    }

    /// The head of a packet about files beside the object.
    fn side_head(
        &mut self,
        tag: &[u8; 4],
        number: u32,
    ) -> Result<Option<usize>, Option<WireError>> {
        let length = number as usize;
        match (self.due, tag) {
            (ReplyDue::SideCount, SIDE_COUNT) => {
                check("files beside the object", length, COUNT_MAX)?;
                self.reply.sides = Some(Vec::new());
                self.sides_left = number;
                self.due = self.after_side();
                Ok(None)
            }
            (ReplyDue::SideName, SIDE_OF_OUTPUT | SIDE_WORKING) => {
                check("bytes in a name", length, NAME_BYTES_MAX)?;
                self.side = match tag {
                    SIDE_WORKING => Beside::Working,
                    _ => Beside::Output,
                };
                Ok(Some(length))
            }
            (ReplyDue::SideContent, b"FILE") => Ok(Some(self.bodies.announce(number)?)),
            _ => Err(None),
        }
    }

    /// A name, or what the last name holds.
    fn side_body(&mut self, body: Vec<u8>) -> Result<ReplyDue, WireError> {
        let sides = self.reply.sides.get_or_insert_default();
        if self.due == ReplyDue::SideName {
            if body.contains(&0) {
                return Err(WireError::Nul("a file's name"));
            }
            sides.push(SideFile {
                folder: self.side,
                name: body,
                content: Vec::new(),
            });
            return Ok(ReplyDue::SideContent);
        }
        if let Some(last) = sides.last_mut() {
            last.content = body;
        }
        self.sides_left = self.sides_left.saturating_sub(1);
        Ok(self.after_side())
    }
}

impl Grammar for ReplyGrammar {
    fn due(&self) -> Option<&'static str> {
        Some(match self.due {
            ReplyDue::Version => "the protocol version (DONE)",
            ReplyDue::Status => "the compiler's status (STAT)",
            ReplyDue::Stderr => "the compiler's messages (SERR)",
            ReplyDue::Stdout => "the compiler's output (SOUT)",
            ReplyDue::Object => "the object (DOTO)",
            ReplyDue::Deps => "the dependencies (DOTD)",
            ReplyDue::Remark => "a remark (OURS)",
            ReplyDue::SideCount => "the number of files beside the object (NSID)",
            ReplyDue::SideName => "the name of a file beside the object (SIDO, SIDW)",
            ReplyDue::SideContent => "a file beside the object (FILE)",
            ReplyDue::Nothing => return None,
        })
    }

    fn head(&mut self, tag: Tag, number: u32) -> Result<Option<usize>, Option<WireError>> {
        match (self.due, &tag.0) {
            (ReplyDue::Version, b"DONE") if number as usize == self.reply.version.number() => {
                self.due = ReplyDue::Status;
                Ok(None)
            }
            (ReplyDue::Version, b"DONE") => Err(Some(WireError::Version(number))),
            (ReplyDue::Status, b"STAT") => {
                self.reply.status = WaitStatus(number);
                self.due = ReplyDue::Stderr;
                Ok(None)
            }
            // What a failed compile left behind is of no use to anybody, however long it is.
            (ReplyDue::Object, b"DOTO") if !self.reply.status.success() => {
                self.due = self.after_results();
                Ok(None)
            }
            (ReplyDue::Remark, tag) if tag == REMARK => {
                self.reply.remark = Remark::from_number(number);
                let is_exact = self.reply.remark == Some(Remark::Exact);
                let has_sides = self.wants_sides && is_exact && self.reply.status.success();
                self.due = match has_sides {
                    true => ReplyDue::SideCount,
                    false => ReplyDue::Nothing,
                };
                Ok(None)
            }
            (ReplyDue::Stderr, b"SERR")
            | (ReplyDue::Stdout, b"SOUT")
            | (ReplyDue::Object, b"DOTO")
            | (ReplyDue::Deps, b"DOTD") => Ok(Some(self.bodies.announce(number)?)),
            (_, tag) => self.side_head(tag, number),
        }
    }

    fn body(&mut self, body: Vec<u8>) -> Result<(), WireError> {
        self.due = match self.due {
            ReplyDue::Stderr => {
                self.reply.stderr = body;
                ReplyDue::Stdout
            }
            ReplyDue::Stdout => {
                self.reply.stdout = body;
                ReplyDue::Object
            }
            ReplyDue::Object => {
                self.reply.object = Some(body);
                match self.reply.version {
                    Version::V3 => ReplyDue::Deps,
                    _ => ReplyDue::Nothing,
                }
            }
            ReplyDue::Deps => {
                self.reply.deps = Some(body);
                self.after_results()
            }
            ReplyDue::SideName | ReplyDue::SideContent => self.side_body(body)?,
            other => other,
        };
        Ok(())
    }

    fn may_end(&self) -> bool {
        matches!(
            self.due,
            ReplyDue::Deps | ReplyDue::Remark | ReplyDue::SideCount
        )
    }

    fn memory(&self) -> usize {
        let reply = &self.reply;
        let optional = [&reply.object, &reply.deps].into_iter().flatten();
        [&reply.stderr, &reply.stdout]
            .into_iter()
            .chain(optional)
            .map(Vec::capacity)
            .sum::<usize>()
            + self.side_memory()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::packets::feed;
    use proptest::prelude::*;

    #[test]
    fn the_object_of_a_failed_compile_is_ignored() {
        let mut decoder = ReplyDecoder::for_reply(Version::V1, Limits::default());
        let bytes = b"DONE00000001STAT00000100SERR00000001xSOUT00000000DOTOffffffff";
        feed(&mut decoder, bytes, &[1]).unwrap();
        let reply = decoder.reply().unwrap();
        assert_eq!((reply.status.status().0, reply.object), (1, None));
    }

    #[test]
    fn the_wrong_version_is_no_answer() {
        let mut decoder = ReplyDecoder::for_reply(Version::V2, Limits::default());
        let err = feed(&mut decoder, b"DONE00000001", &[12]).unwrap_err();
        assert_eq!(err, WireError::Version(1));
    }

    fn with_sides(sides: Option<Vec<SideFile>>) -> Reply {
        Reply {
            version: Version::V3,
            status: WaitStatus::SUCCESS,
            stderr: Vec::new(),
            stdout: Vec::new(),
            object: Some(b"object".to_vec()),
            deps: Some(Vec::new()),
            remark: Some(Remark::Exact),
            sides,
        }
    }

    fn bytes_of(reply: &Reply) -> Vec<u8> {
        let (mut bytes, object) = reply.encode().unwrap();
        bytes.extend_from_slice(&object);
        bytes
    }

    fn decode(bytes: &[u8], sizes: &[usize]) -> Result<Reply, WireError> {
        let mut decoder = ReplyDecoder::for_reply_with_sides(Limits::default());
        feed(&mut decoder, bytes, sizes)?;
        decoder.reply()
    }

    fn side(folder: Beside, name: &str, content: &[u8]) -> SideFile {
        SideFile {
            folder,
            name: name.as_bytes().to_vec(),
            content: content.to_vec(),
        }
    }

    #[test]
    fn a_daemon_that_does_not_say_has_no_files_to_send() {
        for sides in [None, Some(Vec::new())] {
            let reply = with_sides(sides);
            assert_eq!(decode(&bytes_of(&reply), &[5]).unwrap(), reply);
        }
        // Nobody who has not asked waits for any.
        let reply = with_sides(Some(vec![side(Beside::Working, "x.i", b"text")]));
        let mut decoder = ReplyDecoder::for_reply(Version::V3, Limits::default());
        feed(&mut decoder, &bytes_of(&reply), &[7]).unwrap();
        assert_eq!(decoder.reply().unwrap(), with_sides(None));
        let failed = Reply {
            status: WaitStatus::exited(1),
            object: None,
            ..with_sides(None)
        };
        assert_eq!(decode(&bytes_of(&failed), &[9]).unwrap().sides, None);
    }

    #[test]
    fn what_is_no_list_of_files_is_refused() {
        let plain = bytes_of(&with_sides(None));
        let name = |length: usize| format!("NSID00000001SIDO{length:08x}{}", "n".repeat(length));
        for (bytes, words) in [
            ("NSID00001001".to_owned(), "files beside the object"),
            ("NSIDffffffff".to_owned(), "files beside the object"),
            (name(256), "bytes in a name"),
            ("NSID00000001SIDO00000001\0".to_owned(), "NUL"),
            ("NSID00000001FILE00000000".to_owned(), "was due"),
            ("NSID00000001SIDO00000001xSIDO".to_owned(), "was due"),
            ("NSID00000001SIDX00000001x".to_owned(), "was due"),
            (
                "NSID00000001SIDO00000001xFILEffffffff".to_owned(),
                "bytes in bodies",
            ),
            (
                "NSID00000001SIDO00000001xFILE00000002zz".to_owned(),
                "compressed",
            ),
            ("OURS00000001".to_owned(), "was due"),
        ] {
            let all = [&plain[..], bytes.as_bytes()].concat();
            let err = decode(&all, &[11]).unwrap_err().to_string();
            assert!(err.contains(words), "{bytes}: {err}");
        }
    }

    fn version() -> impl Strategy<Value = Version> {
        prop_oneof![Just(Version::V1), Just(Version::V2)]
    }

    fn any_side() -> impl Strategy<Value = SideFile> {
        let content = proptest::collection::vec(any::<u8>(), 0..3000);
        (any::<bool>(), "[^\0]{0,40}", content).prop_map(|(working, name, content)| {
            let folder = if working {
                Beside::Working
            } else {
                Beside::Output
            };
            side(folder, &name, &content)
        })
    }

    proptest! {
        #[test]
        fn replies_survive_any_splitting(
            version in version(),
            status in prop_oneof![Just(0u32), any::<u32>()],
            stderr in proptest::collection::vec(any::<u8>(), 0..300),
            object in proptest::collection::vec(any::<u8>(), 0..40_000),
            sizes in proptest::collection::vec(1usize..30_000, 1..5),
        ) {
            let status = WaitStatus(status);
            let reply = Reply {
                version,
                status,
                stderr,
                stdout: b"out".to_vec(),
                object: status.success().then_some(object),
                deps: None,
                remark: None,
                sides: None,
            };
            let (mut bytes, object) = reply.encode().unwrap();
            bytes.extend_from_slice(&object);
            let mut decoder = ReplyDecoder::for_reply(version, Limits::default());
            feed(&mut decoder, &bytes, &sizes).unwrap();
            prop_assert_eq!(decoder.reply().unwrap(), reply);
        }

        #[test]
        fn files_beside_the_object_survive_any_splitting(
            sides in proptest::collection::vec(any_side(), 0..6),
            sizes in proptest::collection::vec(1usize..5_000, 1..5),
            cut in 1usize..10_000,
        ) {
            let reply = with_sides(Some(sides));
            let bytes = bytes_of(&reply);
            prop_assert_eq!(decode(&bytes, &sizes).unwrap(), reply);
            // What is cut is never taken for the whole.
            let begin = bytes_of(&with_sides(None)).len();
            let end = bytes.len().saturating_sub(cut).max(begin);
            if let Ok(part) = decode(&bytes[..end], &sizes) {
                prop_assert_eq!(part.sides, None);
            }
        }

        #[test]
        fn noise_is_never_a_panic(noise in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..300) {
            let _ = decode(&noise, &[9]);
            let sides = vec![side(Beside::Output, "x.su", b"text"), side(Beside::Working, "x.i", b"")];
            let mut bytes = bytes_of(&with_sides(Some(sides)));
            let end = bytes.len().min(at + noise.len());
            let at = at.min(end);
            bytes[at..end].copy_from_slice(&noise[..end - at]);
            let _ = decode(&bytes, &[9]);
        }
    }
}
