//! What requests and replies of protocols 1, 2 and 3 hold, and how they become bytes. The way back is in `decode`, the
//! framing of packets and the limits in `packets`.

use super::lzo;
use super::packets::put_head;
use super::side_files::{Beside, SideFile};
use super::wait_status::WaitStatus;
use std::borrow::Cow;

pub use super::packets::{Limits, WireError};

/// The tag of a [`Remark`].
pub const REMARK: &[u8; 4] = b"OURS";

/// The tag of the number of files beside the object, which follow a remark.
pub const SIDE_COUNT: &[u8; 4] = b"NSID";

/// The tags of such a file's name: in the output's folder, in the working directory.
pub const SIDE_OF_OUTPUT: &[u8; 4] = b"SIDO";
/// See [`SIDE_OF_OUTPUT`].
pub const SIDE_WORKING: &[u8; 4] = b"SIDW";

/// A version of the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// Preprocessed here, bodies as they are.
    V1,
    /// Preprocessed here, bodies compressed.
    V2,
    /// Preprocessed there, bodies compressed.
    V3,
}

impl Version {
    /// The version that a number stands for. Stock takes 0 for 1; we don't.
    pub fn from_number(number: u32) -> Result<Self, WireError> {
        match number {
            1 => Ok(Version::V1),
            2 => Ok(Version::V2),
            3 => Ok(Version::V3),
            other => Err(WireError::Version(other)),
        }
    }

    /// Its number on the wire.
    pub fn number(self) -> usize {
        self as usize + 1
    }

    /// Whether bodies are compressed.
    pub fn compresses(self) -> bool {
        self != Version::V1
    }
}

/// A compile that somebody asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// The version that the answer must have, too.
    pub version: Version,
    /// The compiler command; at least one word, no NUL bytes.
    pub argv: Vec<Vec<u8>>,
    /// What to compile.
    pub source: Source,
}

/// What a request brings along.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// The preprocessed text.
    Text(Vec<u8>),
    /// Files, and the folder in which the compiler is to run; paths are the client's.
    Files {
        /// The client's working directory.
        cwd: Vec<u8>,
        /// In the order sent.
        entries: Vec<Entry>,
    },
}

/// A file or a link of a pump request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The client's name for it.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
}

/// What stands behind a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EntryKind {
    /// A file with these bytes.
    File(Vec<u8>),
    /// A symbolic link with this text.
    Link(Vec<u8>),
}

/// The answer to a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// The request's version.
    pub version: Version,
    /// How the compiler ended.
    pub status: WaitStatus,
    /// What was written to stderr.
    pub stderr: Vec<u8>,
    /// What was written to stdout.
    pub stdout: Vec<u8>,
    /// The output file, if the compile went well.
    pub object: Option<Vec<u8>>,
    /// The dependency file, if there is one (version 3).
    pub deps: Option<Vec<u8>>,
    /// What a daemon of ours adds for a client of ours (version 3).
    pub remark: Option<Remark>,
    /// The files beside the object, for a client that wants them home; `None`: the daemon does not say.
    pub sides: Option<Vec<SideFile>>,
}

/// What our daemon says at the end of an answer of version 3 to a client that has sent an `about` entry: a packet that
/// stock neither sends nor reads. Its number on the wire is the variant's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Remark {
    /// The job ran at the client's own paths, with all that the client said of it: the answer is a local run's.
    Exact = 1,
    /// Not run: system headers here are not the client's. The job may come again with its own.
    OtherSystem = 2,
    /// Not run: it could not be exact on this host.
    NotHere = 3,
    /// Not run: no files but the object come home from this host.
    NoSides = 4,
}

impl Remark {
    /// The remark of that number; other numbers are of versions to come.
    pub fn from_number(number: u32) -> Option<Self> {
        use Remark::{Exact, NoSides, NotHere, OtherSystem};
        let all = [Exact, OtherSystem, NotHere, NoSides];
        all.into_iter().find(|remark| *remark as u32 == number)
    }
}

impl Reply {
    /// All that it holds, in bytes.
    pub fn size(&self) -> usize {
        let optional = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, Vec::len);
        let sides = self.sides.iter().flatten().map(|side| side.content.len());
        let sides = sides.sum::<usize>();
        let said = self.stderr.len() + self.stdout.len();
        said + optional(&self.object) + optional(&self.deps) + sides
    }

    /// The answer as bytes: first all but the object, then the object and what follows it, for one gathered write.
    /// Without an object in spite of success the answer ends early, which is how a server says that the output has
    /// vanished; so it does without the dependencies of version 3.
    pub fn encode(&self) -> Result<(Vec<u8>, Cow<'_, [u8]>), WireError> {
        let (head, mut body) = self.encode_common()?;
        if let Some(remark) = self.remark {
            put_head(body.to_mut(), REMARK, remark as usize)?;
            if let Some(sides) = &self.sides {
                put_sides(body.to_mut(), self.version, sides)?;
            }
        }
        Ok((head, body))
    }

    fn encode_common(&self) -> Result<(Vec<u8>, Cow<'_, [u8]>), WireError> {
        let mut head = Vec::with_capacity(64 + self.stderr.len() + self.stdout.len());
        put_head(&mut head, b"DONE", self.version.number())?;
        put_head(&mut head, b"STAT", self.status.0 as usize)?;
        for (tag, bytes) in [(b"SERR", &self.stderr), (b"SOUT", &self.stdout)] {
            let body = encode_body(self.version, bytes)?;
            put_head(&mut head, tag, body.len())?;
            head.extend_from_slice(&body);
        }
        match &self.object {
            Some(object) if self.status.success() => {
                let mut body = encode_body(self.version, object)?;
                put_head(&mut head, b"DOTO", body.len())?;
                if let (Version::V3, Some(deps)) = (self.version, &self.deps) {
                    let deps = encode_body(self.version, deps)?;
                    put_head(body.to_mut(), b"DOTD", deps.len())?;
                    body.to_mut().extend_from_slice(&deps);
                }
                Ok((head, body))
            }
            None if self.status.success() => Ok((head, Cow::Borrowed(&[]))),
            _ => {
                put_head(&mut head, b"DOTO", 0)?;
                Ok((head, Cow::Borrowed(&[])))
            }
        }
    }
}

fn put_sides(out: &mut Vec<u8>, version: Version, sides: &[SideFile]) -> Result<(), WireError> {
    put_head(out, SIDE_COUNT, sides.len())?;
    for side in sides {
        let tag = match side.folder {
            Beside::Output => SIDE_OF_OUTPUT,
            Beside::Working => SIDE_WORKING,
        };
        put_text(out, tag, &side.name, "a file's name")?;
        let content = encode_body(version, &side.content)?;
        put_head(out, b"FILE", content.len())?;
        out.extend_from_slice(&content);
    }
    Ok(())
}

/// The beginning of a plain request: version (1 or 2) and command. The text follows, see [`encode_text`].
pub fn encode_request_head(version: Version, argv: &[&[u8]]) -> Result<Vec<u8>, WireError> {
    if version == Version::V3 {
        return Err(WireError::Version(3));
    }
    let mut out = Vec::with_capacity(32 + words_length(argv));
    put_head(&mut out, b"DIST", version.number())?;
    put_words(&mut out, argv)?;
    Ok(out)
}

/// A whole plain request, version 1 or 2; the text may be given in parts.
pub fn encode_plain_request(
    version: Version,
    argv: &[&[u8]],
    text: [&[u8]; 2],
) -> Result<Vec<u8>, WireError> {
    let mut out = encode_request_head(version, argv)?;
    let mut room = vec![0; text_room_bytes(version, text[0].len() + text[1].len())];
    let (head, body) = encode_text(version, text, &mut room)?;
    out.extend_from_slice(&head);
    body.iter().for_each(|part| out.extend_from_slice(part));
    Ok(out)
}

fn words_length(words: &[&[u8]]) -> usize {
    words.iter().map(|word| 12 + word.len()).sum()
}

/// `ARGC` and an `ARGV` for each word.
pub fn put_words(out: &mut Vec<u8>, words: &[&[u8]]) -> Result<(), WireError> {
    if words.is_empty() {
        return Err(WireError::NoArguments);
    }
    put_head(out, b"ARGC", words.len())?;
    for word in words {
        put_text(out, b"ARGV", word, "an argument")?;
    }
    Ok(())
}

/// A packet whose body is a word or a path: travels as it is, and may not hold NUL bytes.
pub fn put_text(
    out: &mut Vec<u8>,
    tag: &[u8; 4],
    text: &[u8],
    what: &'static str,
) -> Result<(), WireError> {
    if text.contains(&0) {
        return Err(WireError::Nul(what));
    }
    put_head(out, tag, text.len())?;
    out.extend_from_slice(text);
    Ok(())
}

/// The beginning of a pump request: folder, command, and how many entries follow, see [`put_file`] and [`put_link`].
pub fn encode_pump_head(
    cwd: &[u8],
    argv: &[&[u8]],
    entry_count: usize,
) -> Result<Vec<u8>, WireError> {
    let mut out = Vec::with_capacity(64 + cwd.len() + words_length(argv));
    put_head(&mut out, b"DIST", Version::V3.number())?;
    put_text(&mut out, b"CDIR", cwd, "the working directory")?;
    put_words(&mut out, argv)?;
    put_head(&mut out, b"NFIL", entry_count)?;
    Ok(out)
}

/// An entry of a pump request: a file, its content compressed already.
pub fn put_file(out: &mut Vec<u8>, name: &[u8], compressed: &[u8]) -> Result<(), WireError> {
    put_text(out, b"NAME", name, "a path")?;
    put_head(out, b"FILE", compressed.len())?;
    out.extend_from_slice(compressed);
    Ok(())
}

/// An entry of a pump request: a symbolic link.
pub fn put_link(out: &mut Vec<u8>, name: &[u8], target: &[u8]) -> Result<(), WireError> {
    put_text(out, b"NAME", name, "a path")?;
    put_text(out, b"LINK", target, "a link")
}

/// The head of a packet, and its body in two parts.
pub type Packet<'t> = (Vec<u8>, [&'t [u8]; 2]);

/// How much room [`encode_text`] needs for so many bytes.
pub fn text_room_bytes(version: Version, length: usize) -> usize {
    match version.compresses() {
        true => lzo::text_room_bytes(length),
        false => 0,
    }
}

/// The end of a plain request: the text's packet head, and the parts of its body. The text is given in parts, too, so
/// that nothing is copied to join them unless it is compressed: in `room`, of [`text_room_bytes`].
pub fn encode_text<'t>(
    version: Version,
    parts: [&'t [u8]; 2],
    room: &'t mut [u8],
) -> Result<Packet<'t>, WireError> {
    let body = match (version.compresses(), parts) {
        (true, [[], rest]) => [&[], compress_in(rest, room)?],
        (true, parts) => [&[], compress_in(&parts.concat(), room)?],
        (false, parts) => parts,
    };
    let mut head = Vec::with_capacity(16);
    put_head(&mut head, b"DOTI", body[0].len() + body[1].len())?;
    Ok((head, body))
}

fn compress_in<'r>(bytes: &[u8], room: &'r mut [u8]) -> Result<&'r [u8], WireError> {
    lzo::compress_text_in(bytes, room).map_err(WireError::Lzo)
}

fn encode_body(version: Version, bytes: &[u8]) -> Result<Cow<'_, [u8]>, WireError> {
    match version.compresses() {
        true => Ok(Cow::Owned(lzo::compress(bytes).map_err(WireError::Lzo)?)),
        false => Ok(Cow::Borrowed(bytes)),
    }
}
