//! LZO1X streams with the choices of lzo1x_1 (LZO by M. F. X. J. Oberhumer, GPL-2.0-or-later), so that they are byte for
//! byte those that stock sends. In safe code and as fast: all that the inner loop reads and writes lies in arrays that
//! are longer than any position in them can be, which the compiler sees.

/// What is looked through at a time; no match reaches out of it.
const BLOCK_BYTES: usize = 48 << 10;

/// A block and what follows it, so that a word can be read at any 16-bit position.
const VIEW_BYTES: usize = (1 << 16) + 16;
type View = [u8; VIEW_BYTES];

/// Instructions are gathered before they are put behind the others: small, so that it stays in the processor.
const STAGE_MASK: usize = (1 << 13) - 1;
const STAGE_BYTES: usize = STAGE_MASK + 1 + 16;
type Stage = [u8; STAGE_BYTES];

/// Where the stage begins, so that there are two bytes before any place in it.
const STAGE_START: usize = 2;

/// When the stage is emptied: a match and few literals fit behind it.
const STAGE_FULL: usize = 1 << 12;

/// For each hash of four bytes, where in the block such were seen last.
const TABLE_BITS: u32 = 14;
type Table = [u16; 1 << TABLE_BITS];

/// Each block leaves so many bytes at its end to the literals, and so nothing behind it is compared.
const MARGIN_BYTES: usize = 20;

/// A block that has fewer bytes, with the literals before it, is not looked through at all.
const LITERALS_ONLY: usize = 32;

/// The longest match in two bytes, and how far back it may reach.
const NEAR: (usize, usize) = (8, 0x800);
/// The same for a match in three bytes, and its length if it reaches farther back.
const MIDDLE: (usize, usize) = (33, 0x4000);
const FAR_LENGTH: usize = 9;

/// The instruction that ends a stream.
const END: [u8; 3] = [0x11, 0, 0];

/// How much room [`encode`] needs for so many bytes: what the stream may come to, and room to work.
pub fn room_bytes(length: usize) -> usize {
    length + length / 16 + 64 + VIEW_BYTES
}

/// Compresses in `room`, which has at least [`room_bytes`]; returns the stream, which is a part of it. Of the room only
/// as much is touched as is used.
pub fn encode<'r>(bytes: &[u8], room: &'r mut [u8]) -> &'r [u8] {
    let Some((view, out)) = room.split_first_chunk_mut() else {
        return &[];
    };
    let mut encoder = Encoder {
        bytes,
        out,
        written: 0,
        staged: STAGE_START,
        literals: 0,
    };
    if bytes.len() > MARGIN_BYTES {
        encoder.blocks(view);
    }
    encoder.finish()
}

/// A stream in the making.
struct Encoder<'b, 'o> {
    bytes: &'b [u8],
    out: &'o mut [u8],
    written: usize,
    /// Up to where the stage is in use.
    staged: usize,
    /// From here on nothing has been encoded.
    literals: usize,
}

#[inline(always)]
fn load32(view: &View, at: usize) -> u32 {
    let at = usize::from(at as u16);
    let word = view.get(at..at + 4).and_then(|rest| rest.first_chunk());
    u32::from_le_bytes(word.copied().unwrap_or_default())
}

#[inline(always)]
fn load64(view: &View, at: usize) -> u64 {
    let at = usize::from(at as u16);
    let word = view.get(at..at + 8).and_then(|rest| rest.first_chunk());
    u64::from_le_bytes(word.copied().unwrap_or_default())
}

#[inline(always)]
fn store<const N: usize>(stage: &mut Stage, at: usize, bytes: [u8; N]) {
    let at = at & STAGE_MASK;
    let place = stage.get_mut(at..at + N);
    if let Some(place) = place.and_then(|rest| rest.first_chunk_mut()) {
        *place = bytes;
    }
}

impl<'o> Encoder<'_, 'o> {
    /// Encodes all but the literals at the end. `padded` is for what is shorter than a view. Never inlined: what it keeps
    /// on the stack would be touched by whoever calls, whether there is anything to encode or not.
    #[inline(never)]
    fn blocks(&mut self, padded: &mut View) {
        let mut table = [0; 1 << TABLE_BITS];
        let mut stage = [0; STAGE_BYTES];
        let mut start = 0;
        while self.bytes.len() - start > MARGIN_BYTES {
            let rest = &self.bytes[start..];
            let length = rest.len().min(BLOCK_BYTES);
            if start - self.literals + length < LITERALS_ONLY {
                break;
            }
            let view = match rest.first_chunk() {
                Some(view) => view,
                None => {
                    padded[..rest.len()].copy_from_slice(rest);
                    &*padded
                }
            };
            self.block(view, start, length, &mut table, &mut stage);
            start += length;
        }
    }

    /// Encodes a block, but for the literals at its end. `view` is what begins at `start`.
    fn block(
        &mut self,
        view: &View,
        start: usize,
        length: usize,
        table: &mut Table,
        stage: &mut Stage,
    ) {
        table.fill(0);
        let carried = start - self.literals;
        let end = length - MARGIN_BYTES;
        // Places in the block: of the next probe, and behind the last match. Literals before the block count as none.
        let (mut at, mut behind) = (4_usize.saturating_sub(carried), 0);
        at += 1 + (at >> 5);
        while at < end {
            let word = load32(view, at);
            let slot = &mut table[(word.wrapping_mul(0x1824_429d) >> (32 - TABLE_BITS)) as usize];
            let from = usize::from(*slot);
            *slot = at as u16;
            if word != load32(view, from) {
                // The longer nothing is found, the fewer places are tried.
                at += 1 + ((at - behind) >> 5);
                continue;
            }
            match start + at - self.literals {
                0 => {}
                count @ 1..=3 => {
                    // In the match before.
                    stage[(self.staged - 2) & STAGE_MASK] |= count as u8;
                    store(stage, self.staged, load32(view, behind).to_le_bytes());
                    self.staged += count;
                }
                count @ 4..=16 if behind > 0 => {
                    store(stage, self.staged, [count as u8 - 3]);
                    let words = [load64(view, behind), load64(view, behind + 8)];
                    store(stage, self.staged + 1, words[0].to_le_bytes());
                    store(stage, self.staged + 9, words[1].to_le_bytes());
                    self.staged += 1 + count;
                }
                count => {
                    self.flush(stage);
                    self.run(count);
                }
            }
            if self.staged > STAGE_FULL {
                self.flush(stage);
            }
            let length = match_length(view, from, at, end);
            self.copy(stage, at - from, length);
            at += length;
            behind = at;
            self.literals = start + at;
        }
        self.flush(stage);
    }

    #[inline(always)]
    fn copy(&mut self, stage: &mut Stage, distance: usize, length: usize) {
        let back = distance - 1;
        if (length <= NEAR.0) & (distance <= NEAR.1) {
            let head = (length - 1) << 5 | (back & 7) << 2;
            store(stage, self.staged, [head as u8, (back >> 3) as u8]);
            self.staged += 2;
            return;
        }
        let (head, longest, back) = match distance <= MIDDLE.1 {
            true => (32, MIDDLE.0, back),
            false => {
                let back = distance - MIDDLE.1;
                (16 | back >> 11 & 8, FAR_LENGTH, back)
            }
        };
        let [low, high] = ((back << 2) as u16).to_le_bytes();
        if length <= longest {
            let head = head | (length - 2);
            store(stage, self.staged, [head as u8, low, high]);
            self.staged += 3;
        } else {
            store(stage, self.staged, [head as u8]);
            self.staged += 1;
            self.extend(stage, length - longest);
            store(stage, self.staged, [low, high]);
            self.staged += 2;
        }
    }

    /// A length that does not fit its instruction: zero bytes count 255 each.
    #[inline(never)]
    fn extend(&mut self, stage: &mut Stage, mut rest: usize) {
        while rest > 255 {
            store(stage, self.staged, [0]);
            self.staged += 1;
            rest -= 255;
        }
        store(stage, self.staged, [rest as u8]);
        self.staged += 1;
    }

    fn flush(&mut self, stage: &Stage) {
        self.put(stage.get(STAGE_START..self.staged).unwrap_or_default());
        self.staged = STAGE_START;
    }

    fn put(&mut self, bytes: &[u8]) {
        let end = self.written + bytes.len();
        if let Some(place) = self.out.get_mut(self.written..end) {
            place.copy_from_slice(bytes);
            self.written = end;
        }
    }

    /// A run of literals, at least four, behind all that is written.
    fn run(&mut self, count: usize) {
        match count {
            ..=18 => self.put(&[count as u8 - 3]),
            _ => {
                self.put(&[0]);
                let mut rest = count - 18;
                while rest > 255 {
                    self.put(&[0]);
                    rest -= 255;
                }
                self.put(&[rest as u8]);
            }
        }
        self.put_literals(count);
    }

    fn put_literals(&mut self, count: usize) {
        let bytes = self.bytes;
        self.put(&bytes[self.literals..self.literals + count]);
    }

    fn finish(mut self) -> &'o [u8] {
        let left = self.bytes.len() - self.literals;
        match (left, self.written.checked_sub(2)) {
            (0, _) => {}
            (1..=238, None) => {
                self.put(&[17 + left as u8]);
                self.put_literals(left);
            }
            (1..=3, Some(mark)) => {
                self.out[mark] |= left as u8;
                self.put_literals(left);
            }
            _ => self.run(left),
        }
        self.put(&END);
        let (stream, _) = self.out.split_at(self.written);
        stream
    }
}

/// How many bytes at `from` are those at `at`, where four are; eight are compared at a time, up to the first eight that
/// begin behind `end`.
#[inline(always)]
fn match_length(view: &View, from: usize, at: usize, end: usize) -> usize {
    let differing = |length| load64(view, from + length) ^ load64(view, at + length);
    // Most matches end in the first two: found without a branch for each, which could not be foretold.
    let (first, second) = (differing(4), differing(12));
    let equal = |word: u64| word.trailing_zeros() as usize / 8;
    if first != 0 || (second != 0 && at + 12 < end) {
        return match first {
            0 => 12 + equal(second),
            _ => 4 + equal(first),
        };
    }
    let mut length = 12;
    while at + length < end {
        match differing(length) {
            0 => length += 8,
            word => return length + equal(word),
        }
    }
    length
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use minilzo_rs::LZO;
    use proptest::prelude::*;

    /// The library's own bytes, and they expand to what they were made of.
    fn check(bytes: &[u8]) {
        // The room need not be clean.
        let mut room = vec![0xa5; room_bytes(bytes.len())];
        let stream = encode(bytes, &mut room);
        let mut lzo = LZO::init().unwrap();
        assert!(stream == lzo.compress(bytes).unwrap());
        let expanded = lzo.decompress_safe(stream, bytes.len()).unwrap();
        assert!(expanded == bytes);
    }

    /// Bytes without any order, the same for the same seed.
    fn noise(length: usize, mut seed: u64) -> Vec<u8> {
        let next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) as u8
        };
        std::iter::repeat_with(next).take(length).collect()
    }

    /// Text that has much in common with itself, near and far.
    fn text(words: &[usize]) -> Vec<u8> {
        let vocabulary = noise(4000, 7);
        let mut text = Vec::new();
        for word in words {
            let from = word % 3900;
            text.extend_from_slice(&vocabulary[from..from + 3 + word / 3900 % 90]);
        }
        text
    }

    #[test]
    fn around_the_edges_of_blocks() {
        for length in [1, 3, 4, 18, 20, 21, 22, 237, 238, 239, 240, 300, 700] {
            check(&noise(length, length as u64));
            check(&vec![7; length]);
        }
        let near = |edge: usize| edge - 22..edge + 6;
        for length in near(BLOCK_BYTES)
            .chain(near(VIEW_BYTES))
            .chain(near(98_304))
        {
            check(&vec![b'a'; length]);
            let mut bytes = noise(length, 1);
            check(&bytes);
            // Found again at once, and behind the edge.
            bytes.extend_from_within(length - 100..length);
            bytes.extend_from_within(1000..1100);
            check(&bytes);
        }
    }

    #[test]
    fn short_blocks_are_literals_even_if_they_repeat() {
        for length in 21..40 {
            let mut bytes = vec![2, 0, 1, 2, 0, 2, 0, 1, 2, 0];
            bytes.resize(length, 0);
            check(&bytes);
            check(&[noise(BLOCK_BYTES, 5), bytes.clone()].concat());
            check(&[vec![1; BLOCK_BYTES], bytes].concat());
        }
    }

    #[test]
    fn literals_go_through_many_blocks() {
        let mut bytes = noise(400_000, 3);
        bytes.extend_from_within(399_000..400_000);
        check(&bytes);
        bytes.extend_from_slice(&noise(200_003, 4));
        check(&bytes);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_text_gives_the_librarys_bytes(
            words in proptest::collection::vec(0usize..1_000_000, 0..4000),
            flaws in proptest::collection::vec(any::<(prop::sample::Index, u8)>(), 0..40),
        ) {
            let mut bytes = text(&words);
            for (at, byte) in flaws {
                let length = bytes.len();
                if length > 0 {
                    bytes[at.index(length)] = byte;
                }
            }
            if !bytes.is_empty() {
                check(&bytes);
            }
        }

        #[test]
        fn few_letters_give_the_librarys_bytes(bytes in proptest::collection::vec(0u8..3, 1..3000)) {
            check(&bytes);
        }
    }
}
