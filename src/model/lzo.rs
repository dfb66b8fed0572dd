//! LZO1X as it travels: one complete stream per body, its expanded length unknown. Expanding is safe with any input:
//! the stream's instructions are walked first, for its exact length, so that no more memory is taken than it fills and
//! never more than the caller allows.

use minilzo_rs::LZO;
use std::fmt;

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
    /// The library refused; not known to happen.
    Library,
}

impl fmt::Display for LzoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LzoError::CutOff => "the compressed data is cut off",
            LzoError::Malformed => "the compressed data is malformed",
            LzoError::Trailing => "the compressed data has bytes behind its end",
            LzoError::TooLarge => "the compressed data expands to more than is allowed",
            LzoError::Library => "the compression library failed",
        })
    }
}

impl std::error::Error for LzoError {}

/// Compresses with the algorithm lzo1x_1, whose bytes are those that stock sends. Nothing becomes nothing.
pub fn compress(bytes: &[u8]) -> Result<Vec<u8>, LzoError> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let mut lzo = LZO::init().map_err(|_| LzoError::Library)?;
    lzo.compress(bytes).map_err(|_| LzoError::Library)
}

/// Expands a stream to at most `bytes_max` bytes. No input is no output, and so is a stream that is only an end.
pub fn expand(stream: &[u8], bytes_max: usize) -> Result<Vec<u8>, LzoError> {
    let length = expanded_length(stream, bytes_max)?;
    if length == 0 {
        return Ok(Vec::new());
    }
    let lzo = LZO::init().map_err(|_| LzoError::Library)?;
    lzo.decompress_safe(stream, length)
        .map_err(|_| LzoError::Malformed)
}

/// The exact length of what a stream holds; checks all that the decoder checks.
fn expanded_length(stream: &[u8], bytes_max: usize) -> Result<usize, LzoError> {
    if stream.is_empty() {
        return Ok(0);
    }
    let mut walk = Walk {
        stream,
        at: 0,
        length: 0,
        bytes_max,
    };
    let mut state = walk.first_literals()?;
    loop {
        let instruction = walk.byte()?;
        let Some(step) = walk.step(instruction, state)? else {
            break;
        };
        state = step;
    }
    match walk.at == stream.len() {
        true => Ok(walk.length),
        false => Err(LzoError::Trailing),
    }
}

/// A position in a stream and the length of what has been expanded up to there.
struct Walk<'s> {
    stream: &'s [u8],
    at: usize,
    length: usize,
    bytes_max: usize,
}

/// The state after a long run of literals; 0 to 3 are the numbers of literals that followed the last match.
const AFTER_RUN: usize = 4;

impl Walk<'_> {
    fn byte(&mut self) -> Result<usize, LzoError> {
        let byte = self.stream.get(self.at).ok_or(LzoError::CutOff)?;
        self.at += 1;
        Ok(usize::from(*byte))
    }

    fn word(&mut self) -> Result<usize, LzoError> {
        Ok(self.byte()? | self.byte()? << 8)
    }

    /// A length that did not fit its instruction: zero bytes count 255 each, the first other byte ends it.
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

    fn grow(&mut self, by: usize) -> Result<(), LzoError> {
        self.length = match self.length.checked_add(by) {
            Some(length) if length <= self.bytes_max => length,
            _ => return Err(LzoError::TooLarge),
        };
        Ok(())
    }

    fn literals(&mut self, count: usize) -> Result<(), LzoError> {
        if count > self.stream.len() - self.at {
            return Err(LzoError::CutOff);
        }
        self.at += count;
        self.grow(count)
    }

    fn copy(
        &mut self,
        distance: usize,
        length: usize,
        literals: usize,
    ) -> Result<Option<usize>, LzoError> {
        if distance > self.length {
            return Err(LzoError::Malformed);
        }
        self.grow(length)?;
        self.literals(literals)?;
        Ok(Some(literals))
    }

    /// The stream's first byte may be a short run of literals.
    fn first_literals(&mut self) -> Result<usize, LzoError> {
        match self.stream.first() {
            Some(byte @ 18..) => {
                let count = usize::from(byte - 17);
                self.at = 1;
                self.literals(count)?;
                Ok(count.min(AFTER_RUN))
            }
            _ => Ok(0),
        }
    }

    /// One instruction; gives the next state, or nothing at the stream's end.
    fn step(&mut self, instruction: usize, state: usize) -> Result<Option<usize>, LzoError> {
        match (instruction, state) {
            (0..=15, 0) => {
                let count = match instruction {
                    0 => self.extended(15)?,
                    short => short,
                };
                self.literals(count.saturating_add(3))?;
                Ok(Some(AFTER_RUN))
            }
            (0..=15, AFTER_RUN) => {
                let distance = (self.byte()? << 2) + (instruction >> 2) + 2049;
                self.copy(distance, 3, instruction & 3)
            }
            (0..=15, _) => {
                let distance = (self.byte()? << 2) + (instruction >> 2) + 1;
                self.copy(distance, 2, instruction & 3)
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
            (32..=63, _) => {
                let length = self.match_length(instruction & 31, 31)?;
                let word = self.word()?;
                self.copy((word >> 2) + 1, length, word & 3)
            }
            _ => {
                let distance = (self.byte()? << 3) + ((instruction >> 2) & 7) + 1;
                self.copy(distance, (instruction >> 5) + 1, instruction & 3)
            }
        }
    }

    fn match_length(&mut self, short: usize, base: usize) -> Result<usize, LzoError> {
        match short {
            0 => Ok(self.extended(base)?.saturating_add(2)),
            short => Ok(short + 2),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const CAP: usize = 1 << 20;

    #[test]
    fn nothing_has_two_spellings() {
        assert_eq!(compress(b"").unwrap(), b"");
        assert_eq!(expand(b"", CAP).unwrap(), b"");
        assert_eq!(expand(&[0x11, 0, 0], CAP).unwrap(), b"");
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
        fn the_walk_and_the_library_agree(
            instructions in proptest::collection::vec(instruction(), 1..6),
            damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        ) {
            // Whatever the walk accepts, the library must expand to exactly that length: it says nothing if there is
            // less to expand, and an error if there is more.
            let mut stream = written(&instructions).stream;
            for (at, byte) in damage {
                let at = at.index(stream.len());
                stream[at] = byte;
            }
            if let Ok(length) = expanded_length(&stream, CAP) {
                prop_assert_eq!(expand(&stream, CAP).unwrap().len(), length);
                let less = length.saturating_sub(1);
                prop_assert!(length == 0 || LZO::init().unwrap().decompress_safe(&stream, less).is_err());
            }
        }
    }
}
