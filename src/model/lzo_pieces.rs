//! Matches of large texts become LZO1X instructions, a part of the text at a time; and the parts one stream. What literals
//! are between the matches follows from where they are.

/// How far a search goes in one view, and how much before that it sees.
pub(super) const SPAN_BYTES: usize = 1 << 16;
pub(super) const VIEW_MASK: usize = 2 * SPAN_BYTES - 1;

/// What follows, so that whole words are read at any place.
pub(super) const VIEW_BYTES: usize = 2 * SPAN_BYTES + 64;
pub(super) type View = [u8; VIEW_BYTES];

/// The longest match in two bytes, and how far back it may reach.
pub(super) const NEAR: (usize, usize) = (8, 0x800);
/// How far a match in three bytes may reach, and its length; and the same of the farthest.
pub(super) const MIDDLE: (usize, usize) = (33, 0x4000);
pub(super) const FAR: (usize, usize) = (9, 0xbfff);

/// Instructions are gathered in front of all others, and after the last two bytes of those, in which literals are counted.
pub(super) const STAGE_START: usize = 2;
pub(super) const STAGE_MASK: usize = (1 << 13) - 1;
pub(super) const STAGE_FULL: usize = 1 << 12;
pub(super) const STAGE_BYTES: usize = STAGE_MASK + 1 + 16;
pub(super) type Stage = [u8; STAGE_BYTES];

/// So many literals at the beginning are counted in one byte, also if they are very few.
const SHORT_BEGINNING: usize = 238;

/// The instruction that ends a stream.
pub(super) const END: [u8; 3] = [0x11, 0, 0];

#[inline(always)]
pub(super) fn load<const N: usize>(view: &View, at: usize) -> [u8; N] {
    let at = at & VIEW_MASK;
    let word = view.get(at..at + N).and_then(|rest| rest.first_chunk());
    word.copied().unwrap_or([0; N])
}

#[inline(always)]
pub(super) fn load64(view: &View, at: usize) -> u64 {
    u64::from_le_bytes(load(view, at))
}

/// Puts bytes in their place in what is longer than `mask`.
#[inline(always)]
pub(super) fn store<const N: usize, const L: usize>(
    to: &mut [u8; L],
    mask: usize,
    at: usize,
    bytes: [u8; N],
) {
    let at = at & mask;
    let place = to.get_mut(at..at + N);
    if let Some(place) = place.and_then(|rest| rest.first_chunk_mut()) {
        *place = bytes;
    }
}

/// One of two, without a branch.
#[inline(always)]
pub(super) fn choose(first: bool, one: usize, other: usize) -> usize {
    other ^ (one ^ other) & usize::from(first).wrapping_neg()
}

/// Bytes that were there before; the place is one in the view.
pub(super) struct Match {
    pub(super) at: usize,
    pub(super) distance: usize,
    pub(super) length: usize,
}

impl Match {
    #[inline(always)]
    pub(super) fn packed(&self) -> [u8; 8] {
        (self.at as u64 | (self.distance as u64) << 20 | (self.length as u64) << 40).to_le_bytes()
    }

    #[inline(always)]
    fn unpacked(bytes: &[u8; 8]) -> Match {
        let word = u64::from_le_bytes(*bytes);
        Match {
            at: (word & 0xf_ffff) as usize,
            distance: (word >> 20 & 0xf_ffff) as usize,
            length: (word >> 40) as usize,
        }
    }
}

/// What a part has become: how many bytes of instructions, where in the text the literals before the first of them end,
/// and where those behind the last of them begin.
pub(super) struct Piece {
    length: usize,
    first: usize,
    behind: usize,
}

/// A text, and the view of it that matches are told of, which begins at `base`.
pub(super) struct Seen<'t> {
    pub(super) text: &'t [u8],
    pub(super) view: &'t View,
    pub(super) base: usize,
}

/// Writes what was found in a part.
pub(super) struct Writer<'r> {
    out: &'r mut [u8],
    pub(super) piece: Piece,
}

impl<'r> Writer<'r> {
    pub(super) fn new(out: &'r mut [u8]) -> Self {
        let piece = Piece {
            length: 0,
            first: 0,
            behind: 0,
        };
        Writer { out, piece }
    }

    /// Writes the matches of a list, and the literals between them. Gives nothing if there is no room.
    #[inline(never)]
    pub(super) fn matches(&mut self, seen: Seen, list: &[u8], stage: &mut Stage) -> Option<()> {
        let Seen { text, view, base } = seen;
        let (mut behind, mut is_first) = (self.piece.behind, self.piece.length == 0);
        let mut staged = self.take_back(stage);
        for packed in list.chunks_exact(8) {
            let found = Match::unpacked(packed.first_chunk()?);
            let at = base + found.at;
            if is_first {
                (behind, is_first) = (at, false);
                self.piece.first = at;
            }
            let count = at - behind;
            let literals = found.at.wrapping_sub(count);
            if count <= 16 {
                let run = count >= 4;
                let counted = choose(run, 0, count) as u8;
                stage[(staged - 2) & STAGE_MASK] |= counted;
                store(stage, STAGE_MASK, staged, [(count as u8).wrapping_sub(3)]);
                staged += usize::from(run);
                let words = load::<16>(view, literals);
                store(stage, STAGE_MASK, staged, words);
                staged += count;
            } else if count <= 64 {
                staged += store_run_head(stage, staged, count);
                for at in [0, 16, 32, 48] {
                    let words = load::<16>(view, literals + at);
                    store(stage, STAGE_MASK, staged + at, words);
                }
                staged += count;
            } else {
                self.flush(stage, staged)?;
                self.put_run(text.get(behind..at)?)?;
                staged = STAGE_START;
            }
            staged = self.copy(stage, staged, &found)?;
            behind = at + found.length;
            if staged > STAGE_FULL {
                self.flush(stage, staged)?;
                staged = self.take_back(stage);
            }
        }
        self.piece.behind = behind;
        self.flush(stage, staged)
    }

    /// Puts a match behind what is staged, and says where the stage ends then.
    #[inline(always)]
    fn copy(&mut self, stage: &mut Stage, staged: usize, found: &Match) -> Option<usize> {
        let (length, distance) = (found.length, found.distance);
        let far = usize::from(distance > MIDDLE.1);
        let longest = MIDDLE.0 - (MIDDLE.0 - FAR.0) * far;
        let back = distance - 1;
        let near = (length <= NEAR.0) & (distance <= NEAR.1);
        let short = (length - 1) << 5 | (back & 7) << 2 | back >> 3 << 8;
        // The farthest count from where the others end, so one more.
        let back = back.wrapping_sub((MIDDLE.1 - 1) * far);
        let head = (32 >> far) | back >> 11 & (8 * far);
        let back = usize::from((back << 2) as u16);
        if length <= longest {
            let three = head | (length - 2) | back << 8;
            let bytes = choose(near, short, three) as u32;
            store(stage, STAGE_MASK, staged, bytes.to_le_bytes());
            return Some(staged + 3 - usize::from(near));
        }
        let rest = length - longest;
        if rest <= 255 {
            let bytes = (head | rest << 8 | back << 16) as u32;
            store(stage, STAGE_MASK, staged, bytes.to_le_bytes());
            return Some(staged + 4);
        }
        store(stage, STAGE_MASK, staged, [head as u8]);
        self.flush(stage, staged + 1)?;
        self.put_extended(rest)?;
        store(stage, STAGE_MASK, STAGE_START, (back as u16).to_le_bytes());
        Some(STAGE_START + 2)
    }

    /// Stages the last two bytes again, since literals are counted in them, and says where the stage ends then.
    fn take_back(&mut self, stage: &mut Stage) -> usize {
        let last = self.piece.length.wrapping_sub(2);
        match self
            .out
            .get(last..)
            .and_then(|rest| rest.first_chunk::<2>())
        {
            Some(bytes) => {
                store(stage, STAGE_MASK, STAGE_START, *bytes);
                self.piece.length = last;
                STAGE_START + 2
            }
            None => STAGE_START,
        }
    }

    fn flush(&mut self, stage: &Stage, staged: usize) -> Option<()> {
        self.put(stage.get(STAGE_START..staged)?)
    }

    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.piece.length + bytes.len();
        let place = self.out.get_mut(self.piece.length..end)?;
        place.copy_from_slice(bytes);
        self.piece.length = end;
        Some(())
    }

    /// A length that does not fit its instruction: zero bytes count 255 each.
    fn put_extended(&mut self, mut rest: usize) -> Option<()> {
        while rest > 255 {
            self.put(&[0])?;
            rest -= 255;
        }
        self.put(&[rest as u8])
    }

    /// Literals, of which the last instruction says how many if they are few.
    fn put_run(&mut self, literals: &[u8]) -> Option<()> {
        match literals.len() {
            0 => {}
            count @ ..=3 => *self.out.get_mut(self.piece.length.checked_sub(2)?)? |= count as u8,
            count @ ..=18 => self.put(&[count as u8 - 3])?,
            count => {
                self.put(&[0])?;
                self.put_extended(count - 18)?;
            }
        }
        self.put(literals)
    }
}

/// The instruction for 17 to 64 literals; gives its length.
fn store_run_head(stage: &mut Stage, staged: usize, count: usize) -> usize {
    let long = count > 18;
    let bytes = choose(long, count.wrapping_sub(18) << 8, count - 3) as u16;
    store(stage, STAGE_MASK, staged, bytes.to_le_bytes());
    1 + usize::from(long)
}

/// How many bytes it takes to say how many literals follow.
fn run_head_bytes(count: usize) -> usize {
    match count {
        0..=3 => 0,
        4..=18 => 1,
        _ => 2 + (count - 19) / 255,
    }
}

/// Moves the pieces together, each of which lies in a `share` of `out` by now, with the literals around them. Gives the
/// length of the stream, or nothing if there is no room.
pub(super) fn join(text: &[u8], pieces: Vec<Piece>, out: &mut [u8], share: usize) -> Option<usize> {
    let mut all = Writer::new(out);
    let mut behind = 0;
    for (number, piece) in pieces
        .iter()
        .enumerate()
        .filter(|(_, piece)| piece.length > 0)
    {
        let literals = text.get(behind..piece.first)?;
        let count = literals.len();
        let is_beginning = all.piece.length == 0 && count <= SHORT_BEGINNING;
        let head = match is_beginning {
            true => 1,
            false => run_head_bytes(count),
        };
        // The piece first: what is before it may come to lie where it was, but not where the next one is.
        let start = all.piece.length + head + count;
        let from = number * share;
        if start + piece.length > (number + 1) * share {
            return None;
        }
        all.out.copy_within(from..from + piece.length, start);
        match is_beginning {
            true => {
                all.put(&[17 + count as u8])?;
                all.put(literals)?;
            }
            false => all.put_run(literals)?,
        }
        all.piece.length += piece.length;
        behind = piece.behind;
    }
    all.put_run(text.get(behind..)?)?;
    all.put(&END)?;
    Some(all.piece.length)
}
