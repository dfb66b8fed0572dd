//! LZO1X as it travels: one complete stream per body, its expanded length unknown. Expanding is done in one pass and is
//! safe with any input: memory grows with what is expanded, never beyond what the caller allows.

use super::{lzo_encoder, lzo_lanes};
use std::fmt;

pub use super::lzo_encoder::room_bytes;

/// Why a stream can't be expanded, or bytes not be compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LzoError {
    /// It ends in the middle.
    CutOff,
    /// It refers to bytes before its beginning, or its end is malformed.
    Malformed,
    /// Bytes follow its end.
    Trailing,
    /// It would expand to more than is allowed.
    TooLarge,
}

impl fmt::Display for LzoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LzoError::CutOff => "the compressed data is cut off",
            LzoError::Malformed => "the compressed data is malformed",
            LzoError::Trailing => "the compressed data has bytes behind its end",
            LzoError::TooLarge => "the compressed data expands to more than is allowed",
        })
    }
}

impl std::error::Error for LzoError {}

/// Compresses with the algorithm lzo1x_1, whose bytes are those that stock sends. Nothing becomes nothing. What no packet
/// can announce is not compressed.
pub fn compress(bytes: &[u8]) -> Result<Vec<u8>, LzoError> {
    let mut room = vec![0; room_bytes(bytes.len())];
    compress_in(bytes, &mut room).map(<[u8]>::to_vec)
}

/// The same in room of the caller's own, of [`room_bytes`]; the stream is a part of it.
pub fn compress_in<'r>(bytes: &[u8], room: &'r mut [u8]) -> Result<&'r [u8], LzoError> {
    match u32::try_from(bytes.len()) {
        Ok(0) => Ok(&[]),
        Ok(_) if room.len() >= room_bytes(bytes.len()) => Ok(lzo_encoder::encode(bytes, room)),
        _ => Err(LzoError::TooLarge),
    }
}

/// How much room [`compress_text_in`] needs for so many bytes.
pub fn text_room_bytes(length: usize) -> usize {
    room_bytes(length).max(lzo_lanes::room_bytes(length))
}

/// The same as [`compress_in`], in less time if there are many bytes: with other choices then than lzo1x_1's, so that the
/// bytes are not stock's, but those of a stream that any decoder expands. The room is of [`text_room_bytes`].
pub fn compress_text_in<'r>(bytes: &[u8], room: &'r mut [u8]) -> Result<&'r [u8], LzoError> {
    let stream = match u32::try_from(bytes.len()) {
        Ok(_) => lzo_lanes::encode(bytes, room),
        Err(_) => None,
    };
    match stream {
        Some(stream) => Ok(&room[stream]),
        None => compress_in(bytes, room),
    }
}

/// Expands a stream to at most `bytes_max` bytes. No input is no output, and so is a stream that is only an end.
pub fn expand(stream: &[u8], bytes_max: usize) -> Result<Vec<u8>, LzoError> {
    let Some(first) = stream.first() else {
        return Ok(Vec::new());
    };
    let room = stream.len().saturating_mul(RATIO).min(bytes_max);
    let mut expander = Expander {
        stream,
        at: 0,
        out: Vec::with_capacity(room.saturating_add(SLACK)),
        length: 0,
        bytes_max,
    };
    let mut state = 0;
    if *first > 17 {
        // The stream's first byte may be a short run of literals.
        let count = usize::from(first - 17);
        expander.at = 1;
        expander.literals(count)?;
        state = count.min(AFTER_RUN);
    }
    loop {
        let instruction = expander.byte()?;
        match expander.step(instruction, state)? {
            Some(next) => state = next,
            None => break,
        }
    }
    match expander.at == stream.len() {
        true => Ok(expander.finish()),
        false => Err(LzoError::Trailing),
    }
}

/// The state after a long run of literals; 0 to 3 are the numbers of literals that followed the last match.
const AFTER_RUN: usize = 4;

/// Addresses for the output are taken for this many times the stream at first; text seldom expands to more.
const RATIO: usize = 5;

/// So many bytes of them are cleared at a time, shortly before they are used: what is not used takes no memory.
const STEP_BYTES: usize = 4 << 10;

/// Short pieces are copied in blocks of fixed size, so beyond their end; this much room is always left for it.
const SLACK: usize = 32;

/// A position in a stream, and what has been expanded up to there.
struct Expander<'s> {
    stream: &'s [u8],
    at: usize,
    /// What has been cleared; never longer than `bytes_max` and [`SLACK`], so what fits is allowed.
    out: Vec<u8>,
    length: usize,
    bytes_max: usize,
}

impl Expander<'_> {
    #[inline(always)]
    fn byte(&mut self) -> Result<usize, LzoError> {
        let byte = self.stream.get(self.at).ok_or(LzoError::CutOff)?;
        self.at += 1;
        Ok(usize::from(*byte))
    }

    #[inline(always)]
    fn word(&mut self) -> Result<usize, LzoError> {
        let rest = self.stream.get(self.at..).unwrap_or_default();
        let word = rest.first_chunk().ok_or(LzoError::CutOff)?;
        self.at += 2;
        Ok(usize::from(u16::from_le_bytes(*word)))
    }

    /// A length that did not fit its instruction: zero bytes count 255 each, the first other byte ends it.
    #[inline(never)]
    fn extended(&mut self, base: usize) -> Result<usize, LzoError> {
        let mut length = base;
        loop {
            match self.byte()? {
                0 if length > self.bytes_max => return Err(LzoError::TooLarge),
                0 => length = length.checked_add(255).ok_or(LzoError::TooLarge)?,
                last => return length.checked_add(last).ok_or(LzoError::TooLarge),
            }
        }
    }

    /// Makes sure that there is room for so many bytes, and [`SLACK`].
    #[inline(always)]
    fn reserve(&mut self, count: usize) -> Result<(), LzoError> {
        match self.length.saturating_add(count).saturating_add(SLACK) <= self.out.len() {
            true => Ok(()),
            false => self.grow(count),
        }
    }

    #[cold]
    fn grow(&mut self, count: usize) -> Result<(), LzoError> {
        let end = self.length.checked_add(count);
        let end = end.filter(|end| *end <= self.bytes_max);
        let end = end.ok_or(LzoError::TooLarge)?;
        let room = end.saturating_add(STEP_BYTES).min(self.bytes_max);
        self.out.resize(room.saturating_add(SLACK), 0);
        Ok(())
    }

    #[inline(always)]
    fn literals(&mut self, count: usize) -> Result<(), LzoError> {
        let rest = self.stream.get(self.at..).unwrap_or_default();
        if count > rest.len() {
            return Err(LzoError::CutOff);
        }
        self.reserve(count)?;
        let out = &mut self.out[self.length..];
        match (rest.first_chunk::<16>(), out.first_chunk_mut::<16>()) {
            (Some(from), Some(to)) if count <= 16 => *to = *from,
            _ => out[..count].copy_from_slice(&rest[..count]),
        }
        self.at += count;
        self.length += count;
        Ok(())
    }

    /// A match, and the literals after it; gives the next state.
    #[inline(always)]
    fn copy(
        &mut self,
        distance: usize,
        count: usize,
        literals: usize,
    ) -> Result<Option<usize>, LzoError> {
        if distance > self.length {
            return Err(LzoError::Malformed);
        }
        self.reserve(count)?;
        let (from, to) = (self.length - distance, self.length);
        let out = &mut self.out;
        if distance >= 8 && count <= 8 {
            out.copy_within(from..from + 8, to);
        } else if distance >= 16 {
            for block in (0..count).step_by(16) {
                out.copy_within(from + block..from + block + 16, to + block);
            }
        } else if distance == 1 {
            let last = out[from];
            out[to..to + count].fill(last);
        } else {
            // What has just been written is read again.
            for index in 0..count {
                out[to + index] = out[from + index];
            }
        }
        self.length += count;
        if literals > 0 {
            self.literals(literals)?;
        }
        Ok(Some(literals))
    }

    /// One instruction; gives the next state, or nothing at the stream's end.
    #[inline(always)]
    fn step(&mut self, instruction: usize, state: usize) -> Result<Option<usize>, LzoError> {
        match (instruction, state) {
            (64.., _) => {
                let distance = (self.byte()? << 3) + ((instruction >> 2) & 7) + 1;
                self.copy(distance, (instruction >> 5) + 1, instruction & 3)
            }
            (32..=63, _) => {
                let length = self.match_length(instruction & 31, 31)?;
                let word = self.word()?;
                self.copy((word >> 2) + 1, length, word & 3)
            }
            (16..=31, _) => {
                let length = self.match_length(instruction & 7, 7)?;
                let word = self.word()?;
                let distance = ((instruction & 8) << 11) + (word >> 2);
                match (distance, length) {
                    (0, 3) => Ok(None),
                    (0, _) => Err(LzoError::Malformed),
                    _ => self.copy(distance + 16384, length, word & 3),
                }
            }
            (_, 0) => {
                let count = match instruction {
                    0 => self.extended(15)?,
                    short => short,
                };
                self.literals(count.saturating_add(3))?;
                Ok(Some(AFTER_RUN))
            }
            (_, AFTER_RUN) => {
                let distance = (self.byte()? << 2) + (instruction >> 2) + 2049;
                self.copy(distance, 3, instruction & 3)
            }
            _ => {
                let distance = (self.byte()? << 2) + (instruction >> 2) + 1;
                self.copy(distance, 2, instruction & 3)
            }
        }
    }

    #[inline(always)]
    fn match_length(&mut self, short: usize, base: usize) -> Result<usize, LzoError> {
        match short {
            0 => Ok(self.extended(base)?.saturating_add(2)),
            short => Ok(short + 2),
        }
    }

    fn finish(mut self) -> Vec<u8> {
        self.out.truncate(self.length);
        self.out
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use minilzo_rs::LZO;
    use proptest::prelude::*;

    const CAP: usize = 1 << 20;

    #[test]
    fn nothing_has_two_spellings() {
        assert_eq!(compress(b"").unwrap(), b"");
        assert_eq!(expand(b"", CAP).unwrap(), b"");
        assert_eq!(expand(&[0x11, 0, 0], CAP).unwrap(), b"");
    }

    /// In room that need not be clean.
    fn text_compressed(text: &[u8]) -> Vec<u8> {
        let mut room = vec![0xa5; text_room_bytes(text.len())];
        compress_text_in(text, &mut room).unwrap().to_vec()
    }

    #[test]
    fn texts_expand_whatever_their_length() {
        let mut text = Vec::new();
        for number in 0..20_000 {
            let line = format!("static inline int f{number}(int x) {{ return x + {number}; }}\n");
            text.extend_from_slice(line.as_bytes());
        }
        for length in [0, 1, 100, 100_000, 400_000, 600_000, text.len()] {
            let part = &text[..length];
            let stream = text_compressed(part);
            assert!(expand(&stream, length).unwrap() == part);
            let usual = compress(part).unwrap();
            // Large ones have an encoder of their own.
            assert_eq!(stream == usual, length < 393_000, "{length}");
        }
        // Without any order it is the same at any length.
        let mut seed = 1u64;
        let mut noise = vec![0; 600_000];
        for byte in &mut noise {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = (seed >> 33) as u8;
        }
        assert!(text_compressed(&noise) == compress(&noise).unwrap());
    }

    #[test]
    fn stocks_literal_streams() {
        assert_eq!(expand(b"\x14OBJ\x11\0\0", CAP).unwrap(), b"OBJ");
        assert_eq!(
            expand(b"\x1cand stderr\n\x11\0\0", CAP).unwrap(),
            b"and stderr\n"
        );
    }

    #[test]
    fn faults_are_told_apart() {
        for (stream, fault) in [
            (&b"\x14OBJ"[..], LzoError::CutOff),
            (b"\x14OBJ\x11\0", LzoError::CutOff),
            (b"\x14OBJ\x11\0\0x", LzoError::Trailing),
            (b"\x14OBJ\x12\0\0", LzoError::Malformed),
            (b"\x14OBJ\x40\xff\x11\0\0", LzoError::Malformed),
        ] {
            assert_eq!(expand(stream, CAP), Err(fault), "{stream:x?}");
        }
    }

    #[test]
    fn a_bomb_takes_no_memory() {
        let zeros = compress(&vec![0; 3_000_000]).unwrap();
        assert!(zeros.len() < 20_000);
        assert_eq!(expand(&zeros, CAP), Err(LzoError::TooLarge));
        assert_eq!(expand(&zeros, 3_000_000).unwrap().len(), 3_000_000);
        let endless = vec![0; 1 << 16];
        assert_eq!(expand(&endless, CAP), Err(LzoError::TooLarge));
    }

    /// Writes streams instruction by instruction, after the format's description, with what they must expand to.
    #[derive(Default)]
    struct Writer {
        stream: Vec<u8>,
        plain: Vec<u8>,
        state: usize,
    }

    impl Writer {
        fn literals(&mut self, count: usize) {
            for _ in 0..count {
                let byte = (self.plain.len() as u32)
                    .wrapping_mul(2_654_435_761)
                    .to_be_bytes()[0];
                self.stream.push(byte);
                self.plain.push(byte);
            }
        }

        /// The part of a length that is not in the instruction, which must be at least 1.
        fn extension(&mut self, mut rest: usize) {
            while rest > 255 {
                self.stream.push(0);
                rest -= 255;
            }
            self.stream.push(rest as u8);
        }

        /// At the beginning, or after a match that no literals followed; at least 4.
        fn run(&mut self, count: usize) {
            if self.stream.is_empty() && count <= 238 {
                self.stream.push(17 + count as u8);
            } else if count <= 18 {
                self.stream.push(count as u8 - 3);
            } else {
                self.stream.push(0);
                self.extension(count - 18);
            }
            self.literals(count);
            self.state = AFTER_RUN;
        }

        /// An instruction with a length field of so many values.
        fn long(&mut self, base: usize, values: usize, length: usize, word: usize) {
            match length - 2 {
                short if short < values => self.stream.push((base + short) as u8),
                long => {
                    self.stream.push(base as u8);
                    self.extension(long + 1 - values);
                }
            }
            self.stream.extend([word as u8, (word >> 8) as u8]);
        }

        /// A match in the tightest form there is in this state, or in the widest.
        fn copy(&mut self, distance: usize, length: usize, after: usize, tight: bool) {
            let near = distance - 1;
            let mut short = |head: usize, tail: usize| {
                self.stream.extend([(head | after) as u8, tail as u8]);
            };
            match (self.state, length, distance) {
                (1..=3, 2, ..=1024) => short((near & 3) << 2, near >> 2),
                (AFTER_RUN, 3, 2049..=3072) if tight => {
                    short(((near - 2048) & 3) << 2, (near - 2048) >> 2);
                }
                (_, 3..=8, ..=2048) if tight => {
                    short((length - 1) << 5 | (near & 7) << 2, near >> 3);
                }
                (_, _, ..=16384) => self.long(32, 32, length, near << 2 | after),
                _ => {
                    let far = distance - 16384;
                    let base = 16 | far >> 11 & 8;
                    self.long(base, 8, length, (far & 0x3fff) << 2 | after);
                }
            }
            for _ in 0..length {
                self.plain.push(self.plain[self.plain.len() - distance]);
            }
            self.literals(after);
            self.state = after;
        }
    }

    /// Number of literals if they may come now; distance and length of a match, literals after it, and its form.
    type Instruction = (usize, usize, usize, usize, bool);

    fn written(instructions: &[Instruction]) -> Writer {
        let mut writer = Writer::default();
        for (literals, distance, length, after, tight) in instructions {
            if writer.state == 0 {
                writer.run(*literals);
            }
            let distance = (*distance).min(writer.plain.len());
            let least = if (1..=3).contains(&writer.state) && distance <= 1024 {
                2
            } else {
                3
            };
            writer.copy(distance, (*length).max(least), *after, *tight);
        }
        writer.stream.extend([0x11, 0, 0]);
        writer
    }

    fn instruction() -> impl Strategy<Value = Instruction> {
        let literals = prop_oneof![4usize..20, 4usize..300, 1000usize..20_000];
        let distance = prop_oneof![
            1usize..9,
            1000usize..1040,
            2040usize..3100,
            16_380usize..16_390,
            1usize..49_152
        ];
        let length = prop_oneof![2usize..10, 2usize..45, 250usize..600];
        (literals, distance, length, 0usize..4, any::<bool>())
    }

    #[test]
    fn the_writer_uses_every_instruction() {
        let writer = written(&[
            (20_000, 17_000, 300, 2, true),
            (4, 1024, 2, 0, true),
            (4, 2049, 3, 0, true),
            (4, 2048, 8, 3, true),
            (4, 16_384, 34, 1, false),
            (4, 49_151, 9, 0, true),
        ]);
        assert!(expand(&writer.stream, CAP).unwrap() == writer.plain);
    }

    proptest! {
        #[test]
        fn what_is_compressed_expands(bytes in proptest::collection::vec(0u8..4, 0..5000), noise in proptest::collection::vec(any::<u8>(), 0..500)) {
            for input in [&bytes, &noise] {
                let stream = compress(input).unwrap();
                prop_assert_eq!(&expand(&stream, CAP).unwrap(), input);
                prop_assert_eq!(expand(&stream, input.len()).unwrap().len(), input.len());
            }
        }

        #[test]
        fn a_damaged_stream_is_an_error_or_other_bytes(bytes in proptest::collection::vec(0u8..4, 1..2000), at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
            let mut stream = compress(&bytes).unwrap();
            let at = at.index(stream.len());
            stream[at] = byte;
            let _ = expand(&stream, CAP);
            stream.truncate(cut.index(stream.len()));
            prop_assert!(stream.is_empty() || expand(&stream, CAP).is_err());
        }

        #[test]
        fn every_sound_stream_expands_to_what_was_meant(instructions in proptest::collection::vec(instruction(), 1..30)) {
            let writer = written(&instructions);
            let length = writer.plain.len();
            prop_assert!(expand(&writer.stream, length).unwrap() == writer.plain);
            prop_assert_eq!(expand(&writer.stream, length - 1), Err(LzoError::TooLarge));
            for cut in [writer.stream.len() - 1, writer.stream.len() / 2] {
                prop_assert_eq!(expand(&writer.stream[..cut], length), Err(LzoError::CutOff));
            }
        }

        #[test]
        fn the_library_expands_to_the_same(
            instructions in proptest::collection::vec(instruction(), 1..6),
            damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        ) {
            // The library says nothing if there is less to expand than it was told, and an error if there is more.
            let mut stream = written(&instructions).stream;
            for (at, byte) in damage {
                let at = at.index(stream.len());
                stream[at] = byte;
            }
            if let Ok(bytes) = expand(&stream, CAP) {
                let lzo = LZO::init().unwrap();
                prop_assert!(lzo.decompress_safe(&stream, bytes.len()).unwrap() == bytes);
                let less = bytes.len().saturating_sub(1);
                prop_assert!(bytes.is_empty() || lzo.decompress_safe(&stream, less).is_err());
            }
        }
    }
}
