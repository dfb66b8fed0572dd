//! The framing that requests and replies share: a tag of four letters, a number of eight hex digits, perhaps a body.
//! Told bytes, it hands packets to a grammar; it never waits, and takes memory only as bytes arrive.

use super::error::Code;
use super::lzo::LzoError;
use std::fmt;

/// Length of a packet's head: tag and number.
pub const HEAD_BYTES: usize = 12;

/// How much room is made for bytes whose number is not known yet: for most commands, and for most of what a compiler
/// says. What is known to come is read to its own place.
const ROOM_BYTES: usize = 4 << 10;

/// The least and the most room that is made in a body ahead of what has arrived.
const BODY_ROOM_BYTES_MIN: usize = 16 << 10;
const BODY_ROOM_BYTES_MAX: usize = 256 << 10;

/// What kind of packet it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Tag(pub [u8; 4]);

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Upper bounds for what a peer may send. Each is checked before memory is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Words of a command.
    pub argument_count_max: u32,
    /// All words of a command together; Linux takes 2 MiB by default.
    pub argument_bytes_max: usize,
    /// All bodies of one message together, as they travel.
    pub body_bytes_max: usize,
    /// All bodies of one message together, expanded: LZO makes up to 255 bytes of one.
    pub expanded_bytes_max: usize,
    /// Files and links of a pump request.
    pub entry_count_max: u32,
    /// One path or link; Linux takes 4 KiB.
    pub path_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            argument_count_max: 65_536,
            argument_bytes_max: 4 << 20,
            body_bytes_max: 1 << 30,
            expanded_bytes_max: 1 << 30,
            entry_count_max: 65_536,
            path_bytes_max: 4096,
        }
    }
}

/// Why bytes are not the message that was due.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WireError {
    /// The peer hung up before it said anything.
    NoAnswer,
    /// The peer hung up while this was due.
    Truncated(&'static str),
    /// Another packet came than the one that was due.
    Unexpected {
        /// What was due.
        due: &'static str,
        /// The twelve bytes that came.
        got: [u8; HEAD_BYTES],
    },
    /// A version that we don't speak, or not the one that we asked for.
    Version(u32),
    /// More than is allowed.
    TooMuch {
        /// Of what.
        what: &'static str,
        /// How much came, or would come.
        got: u64,
        /// How much is allowed.
        max: u64,
    },
    /// A command without words.
    NoArguments,
    /// A NUL byte in a word or a path.
    Nul(&'static str),
    /// A body that does not hold what it should.
    Malformed(&'static str),
    /// A compressed body that can't be expanded, or a body that can't be compressed.
    Lzo(LzoError),
}

impl WireError {
    /// The exit status that stands for it.
    pub fn code(&self) -> Code {
        match self {
            WireError::NoAnswer | WireError::Truncated(_) => Code::Truncated,
            WireError::Lzo(_) | WireError::TooMuch { .. } => Code::Io,
            _ => Code::Protocol,
        }
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WireError::NoAnswer => f.write_str("the peer hung up without a word"),
            WireError::Truncated(due) => write!(f, "the peer hung up where {due} was due"),
            WireError::Unexpected { due, got } => {
                write!(f, "'{}' came where {due} was due", got.escape_ascii())
            }
            WireError::Version(version) => {
                write!(f, "protocol version {version} is not understood")
            }
            WireError::TooMuch { what, got, max } => {
                write!(f, "{got} {what} are more than the limit of {max}")
            }
            WireError::NoArguments => f.write_str("the command has no words"),
            WireError::Nul(what) => write!(f, "there is a NUL byte in {what}"),
            WireError::Malformed(what) => write!(f, "{what} is malformed"),
            WireError::Lzo(err) => err.fmt(f),
        }
    }
}

impl std::error::Error for WireError {}

/// Refuses `got` of `what` if that is more than `max`.
pub fn check(what: &'static str, got: usize, max: usize) -> Result<(), WireError> {
    match got > max {
        true => Err(WireError::TooMuch {
            what,
            got: got as u64,
            max: max as u64,
        }),
        false => Ok(()),
    }
}

/// Writes a packet's head.
pub fn put_head(out: &mut Vec<u8>, tag: &[u8; 4], number: usize) -> Result<(), WireError> {
    let number = u32::try_from(number).map_err(|_| WireError::TooMuch {
        what: "bytes in one packet",
        got: number as u64,
        max: u64::from(u32::MAX),
    })?;
    out.extend_from_slice(tag);
    for shift in (0..8).rev() {
        out.push(b"0123456789abcdef"[(number >> (4 * shift)) as usize & 15]);
    }
    Ok(())
}

/// The tag and the number of a packet; `None` if that is no packet's head.
pub fn read_head(head: &[u8; HEAD_BYTES]) -> Option<([u8; 4], u32)> {
    let (tag, digits) = head.split_first_chunk::<4>()?;
    Some((*tag, number(digits)?))
}

/// Eight hex digits, and nothing but digits.
fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0u32, |number, digit| {
        let digit = (*digit as char).to_digit(16)?;
        Some(number << 4 | digit)
    })
}

/// The order in which packets may come, and what they mean.
pub trait Grammar {
    /// What is due, in words; `None` when the message is complete.
    fn due(&self) -> Option<&'static str>;

    /// A head has come: the length of its body, or `None` if it has none and is dealt with. `Err(None)` is for a tag
    /// that is not due.
    fn head(&mut self, tag: Tag, number: u32) -> Result<Option<usize>, Option<WireError>>;

    /// The body that the last head announced.
    fn body(&mut self, body: Vec<u8>) -> Result<(), WireError>;

    /// Whether a peer may hang up here although more is due.
    fn may_end(&self) -> bool {
        false
    }

    /// How much memory its bodies take, in bytes.
    fn memory(&self) -> usize;
}

/// Bytes in, packets out.
#[derive(Debug)]
pub struct Packets<G> {
    grammar: G,
    /// Bytes that are not yet part of a packet, from `taken` on; room for more behind `filled`.
    buffer: Vec<u8>,
    taken: usize,
    filled: usize,
    body: Option<Body>,
    begun: bool,
    trusting: bool,
}

/// A body of which a part has arrived.
#[derive(Debug)]
struct Body {
    bytes: Vec<u8>,
    filled: usize,
    length: usize,
}

impl<G: Grammar> Packets<G> {
    /// A message of which nothing has come yet.
    pub fn new(grammar: G) -> Self {
        Packets {
            grammar,
            buffer: Vec::new(),
            taken: 0,
            filled: 0,
            body: None,
            begun: false,
            trusting: false,
        }
    }

    /// Room for all of a body is made when it is announced, so that it can be read at once: for a peer that is one of us.
    pub fn trusting(self) -> Self {
        Packets {
            trusting: true,
            ..self
        }
    }

    /// Whether the message is complete.
    pub fn is_done(&self) -> bool {
        self.grammar.due().is_none()
    }

    /// Whether anything has come.
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// How much memory the message takes at present, in bytes.
    pub fn memory(&self) -> usize {
        let body = self.body.as_ref().map_or(0, |body| body.bytes.capacity());
        self.grammar.memory() + self.buffer.capacity() + body
    }

    /// What has come of it so far.
    pub fn grammar(&self) -> &G {
        &self.grammar
    }

    /// Whether bytes have come that belong to no packet; only of interest when the message is complete.
    pub fn has_trailing_bytes(&self) -> bool {
        self.taken < self.filled
    }

    /// Where the next bytes belong; never empty. Say with [`Packets::filled`] how many have come.
    pub fn space(&mut self) -> &mut [u8] {
        match &mut self.body {
            Some(body) => {
                let ahead = body.filled.clamp(BODY_ROOM_BYTES_MIN, BODY_ROOM_BYTES_MAX);
                let end = body.length.min(body.filled + ahead);
                if body.bytes.len() < end {
                    body.bytes.resize(end, 0);
                }
                &mut body.bytes[body.filled..]
            }
            None => {
                self.buffer.drain(..self.taken);
                self.filled -= self.taken;
                self.taken = 0;
                self.buffer.resize(self.filled + ROOM_BYTES, 0);
                &mut self.buffer[self.filled..]
            }
        }
    }

    /// `count` bytes have been put where [`Packets::space`] said.
    pub fn filled(&mut self, count: usize) -> Result<(), WireError> {
        self.begun |= count > 0;
        match &mut self.body {
            Some(body) => body.filled = (body.filled + count).min(body.bytes.len()),
            None => self.filled = (self.filled + count).min(self.buffer.len()),
        }
        self.advance()
    }

    /// The message, or why it is none; for when no more bytes will come.
    pub fn finish(self) -> Result<G, WireError> {
        let between_packets = self.body.is_none() && !self.has_trailing_bytes();
        match self.grammar.due() {
            None => Ok(self.grammar),
            Some(_) if self.grammar.may_end() && between_packets => Ok(self.grammar),
            Some(_) if !self.begun => Err(WireError::NoAnswer),
            Some(due) => Err(WireError::Truncated(due)),
        }
    }

    fn advance(&mut self) -> Result<(), WireError> {
        while !self.is_done() {
            match self.body.take() {
                Some(body) if body.filled == body.length => self.grammar.body(body.bytes)?,
                Some(body) => {
                    self.body = Some(body);
                    return Ok(());
                }
                None => {
                    let Some(head) = self.buffer.get(self.taken..self.filled) else {
                        return Ok(());
                    };
                    let Some(head) = head.first_chunk::<HEAD_BYTES>().copied() else {
                        return self.reject_early(head.first());
                    };
                    self.taken += HEAD_BYTES;
                    self.take_head(head)?;
                }
            }
        }
        Ok(())
    }

    /// A peer that speaks another protocol may wait for an answer after a few bytes: no tag begins otherwise than with
    /// a capital letter.
    fn reject_early(&self, first: Option<&u8>) -> Result<(), WireError> {
        match first {
            Some(byte) if !byte.is_ascii_uppercase() => {
                let mut got = [b' '; HEAD_BYTES];
                got[0] = *byte;
                let due = self.grammar.due().unwrap_or_default();
                Err(WireError::Unexpected { due, got })
            }
            _ => Ok(()),
        }
    }

    fn take_head(&mut self, head: [u8; HEAD_BYTES]) -> Result<(), WireError> {
        let due = self.grammar.due().unwrap_or_default();
        let unexpected = WireError::Unexpected { due, got: head };
        let Some((tag, number)) = read_head(&head) else {
            return Err(unexpected);
        };
        let length = match self.grammar.head(Tag(tag), number) {
            Ok(Some(length)) => length,
            Ok(None) => return Ok(()),
            Err(err) => return Err(err.unwrap_or(unexpected)),
        };
        // What has come already is copied; the rest is read to where it belongs.
        let here = length.min(self.filled - self.taken);
        let come = &self.buffer[self.taken..self.taken + here];
        let mut bytes = vec![0; if self.trusting { length } else { here }];
        bytes[..here].copy_from_slice(come);
        self.taken += here;
        self.body = Some(Body {
            bytes,
            filled: here,
            length,
        });
        Ok(())
    }
}

/// Feeds bytes in pieces of the given sizes, round and round.
#[cfg(test)]
pub fn feed<G: Grammar>(
    packets: &mut Packets<G>,
    mut bytes: &[u8],
    sizes: &[usize],
) -> Result<(), WireError> {
    for size in sizes.iter().cycle() {
        if bytes.is_empty() || packets.is_done() {
            break;
        }
        let space = packets.space();
        let count = (*size).max(1).min(bytes.len()).min(space.len());
        space[..count].copy_from_slice(&bytes[..count]);
        packets.filled(count)?;
        bytes = &bytes[count..];
    }
    Ok(())
}
