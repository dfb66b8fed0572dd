//! LZO1X streams of large texts: for any decoder, but with other choices than lzo1x_1's, which cost less. A search for what
//! was there before is a chain of loads that wait for one another; here three go on side by side, in as many parts of the
//! text, and their steps are without branches that could not be foretold. All that they touch lies in arrays that are
//! longer than any position in them can be, which the compiler sees.

use super::lzo_pieces::{
    choose, join, load, load64, store, Match, Seen, View, Writer, FAR, SPAN_BYTES, STAGE_BYTES,
    VIEW_BYTES, VIEW_MASK,
};
use std::mem;
use std::ops::Range;

/// Parts of the text, each with a search of its own.
const LANES: usize = 3;

/// Texts that have fewer bytes are not encoded here: each part has to be longer than a view.
pub const TEXT_BYTES_MIN: usize = LANES * (VIEW_BYTES + 1);

/// For each hash of six bytes, where such were seen last, by the lower 16 bits of the place.
const TABLE_BITS: u32 = 13;
const TABLE_BYTES: usize = 2 << TABLE_BITS;
type Table = [u8; TABLE_BYTES];

/// Matches found and not yet written.
const LIST_LENGTH: usize = 1 << 12;
const LIST_BYTES: usize = LIST_LENGTH * 8;
type List = [u8; LIST_BYTES];

/// So many bytes at the end of a part are left to the literals.
const MARGIN_BYTES: usize = 48;

/// The first look at a match sees so many bytes.
const LOOK_BYTES: usize = 32;

/// Where nothing is found the next place is so many bytes on; the hashes of those between have been noted.
const STRIDE: usize = 3;

/// What the searches need of the room, before the streams.
const WORK_BYTES: usize = LANES * (TABLE_BYTES + LIST_BYTES) + STAGE_BYTES;

/// How much room [`encode`] needs for so many bytes.
pub fn room_bytes(length: usize) -> usize {
    WORK_BYTES + LANES * share_bytes(length)
}

/// Room for what a part becomes; one that becomes more is better given up.
fn share_bytes(length: usize) -> usize {
    length / LANES / 2 + 64
}

/// Compresses a text of [`TEXT_BYTES_MIN`] or more in `room`, of [`room_bytes`], which may hold anything. Gives where in
/// the room the stream is; or nothing if it would be more than about half as long as the text, or if there is less text or
/// room.
pub fn encode(text: &[u8], mut room: &mut [u8]) -> Option<Range<usize>> {
    if text.len() < TEXT_BYTES_MIN {
        return None;
    }
    let tables: [&mut Table; LANES] = [take(&mut room)?, take(&mut room)?, take(&mut room)?];
    let lists: [&mut List; LANES] = [take(&mut room)?, take(&mut room)?, take(&mut room)?];
    let stage = take(&mut room)?;
    // Close together: a page that is not touched costs nothing.
    let share = share_bytes(text.len());
    let (mut lanes, mut writers) = (Vec::with_capacity(LANES), Vec::with_capacity(LANES));
    let mut shares = room.chunks_exact_mut(share);
    for (number, (table, list)) in tables.into_iter().zip(lists).enumerate() {
        let lane = Lane::new(text, number, table, list)?;
        writers.push(Writer::new(shares.next()?));
        lanes.push(lane);
    }
    while lanes.iter().any(Lane::is_live) {
        let mut live = Vec::with_capacity(LANES);
        live.extend(lanes.iter_mut().filter(|lane| lane.is_live()));
        match live.as_mut_slice() {
            [one, two, three] => side_by_side(one, two, three),
            [one, two] => in_pair(one, two),
            one => one.iter_mut().for_each(|lane| lane.alone()),
        }
        for (lane, writer) in lanes.iter_mut().zip(&mut writers) {
            if lane.is_live() && !lane.search.goes_on() {
                writer.matches(lane.seen(text), lane.found(), stage)?;
                lane.advance(text)?;
            }
        }
    }
    let pieces = writers.into_iter().map(|writer| writer.piece).collect();
    let length = join(text, pieces, room, share)?;
    Some(WORK_BYTES..WORK_BYTES + length)
}

/// A part of the room, as it is.
fn take<'r, const N: usize>(room: &mut &'r mut [u8]) -> Option<&'r mut [u8; N]> {
    let (part, rest) = mem::take(room).split_first_chunk_mut()?;
    *room = rest;
    Some(part)
}

/// How many bytes are the same, of the first [`LOOK_BYTES`]: without a branch.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn look(view: &View, one: usize, other: usize) -> usize {
    use safe_arch::{cmp_eq_mask_i8_m128i, m128i, move_mask_i8_m128i};
    let same = |at| {
        let words = [one + at, other + at].map(|at| m128i::from(load::<16>(view, at)));
        move_mask_i8_m128i(cmp_eq_mask_i8_m128i(words[0], words[1])) as u32
    };
    (!u64::from(same(0) | same(16) << 16)).trailing_zeros() as usize
}

/// The same in words of any machine.
#[cfg(any(test, not(target_arch = "x86_64")))]
fn look_by_words(view: &View, one: usize, other: usize) -> usize {
    let mut at = 0;
    while at < LOOK_BYTES {
        match load64(view, one + at) ^ load64(view, other + at) {
            0 => at += 8,
            word => return at + word.trailing_zeros() as usize / 8,
        }
    }
    LOOK_BYTES
}

#[cfg(not(target_arch = "x86_64"))]
use look_by_words as look;

/// A place in a view, and what was found before it.
#[derive(Clone, Copy)]
struct Search {
    at: usize,
    /// Where the view, or the part, ends.
    end: usize,
    found: usize,
}

impl Search {
    #[inline(always)]
    fn goes_on(&self) -> bool {
        (self.at + MARGIN_BYTES < self.end) & (self.found < LIST_LENGTH)
    }

    #[inline(always)]
    fn step(&mut self, view: &View, table: &mut Table, list: &mut List) {
        let at = self.at;
        let word = load64(view, at);
        let before = note(table, word, at as u16);
        note(table, word >> 8, (at + 1) as u16);
        note(table, word >> 16, (at + 2) as u16);
        let distance = usize::from((at as u16).wrapping_sub(before));
        let from = at.wrapping_sub(distance) & VIEW_MASK;
        let mut length = look(view, from, at);
        if length == LOOK_BYTES {
            length = longer(view, from, at, self.end);
        }
        let found = Match {
            at,
            distance,
            length,
        };
        store(list, LIST_BYTES - 1, self.found * 8, found.packed());
        // A place may have been noted too long ago to be reached, or never: then it is 0, which may be this one.
        let hit = (length >= 4) & (distance.wrapping_sub(1) < FAR.1);
        self.at = at + choose(hit, length, STRIDE);
        self.found += usize::from(hit);
    }
}

/// Notes where a word is, and says where one like it was.
#[inline(always)]
fn note(table: &mut Table, word: u64, at: u16) -> u16 {
    // Six bytes of it.
    let hash = word.wrapping_mul(0x9e37_79b1_85eb_ca87 << 16) >> (64 - TABLE_BITS);
    let place = 2 * hash as usize;
    let slot = table.get_mut(place..place + 2);
    match slot.and_then(|slot| slot.first_chunk_mut()) {
        Some(slot) => u16::from_le_bytes(mem::replace(slot, at.to_le_bytes())),
        None => 0,
    }
}

/// The length of a match that is at least as long as a look, and ends at `end` at the latest.
#[inline(always)]
fn longer(view: &View, from: usize, at: usize, end: usize) -> usize {
    let mut length = LOOK_BYTES;
    while at + length + 8 <= end {
        match load64(view, from + length) ^ load64(view, at + length) {
            0 => length += 8,
            word => return length + word.trailing_zeros() as usize / 8,
        }
    }
    length
}

/// A part of the text, and the search in it.
struct Lane<'t, 'r> {
    view: &'t View,
    /// Where in the text the view begins, and where the part ends.
    base: usize,
    stop: usize,
    search: Search,
    table: &'r mut Table,
    list: &'r mut List,
    over: bool,
}

impl<'t, 'r> Lane<'t, 'r> {
    fn new(
        text: &'t [u8],
        number: usize,
        table: &'r mut Table,
        list: &'r mut List,
    ) -> Option<Self> {
        table.fill(0);
        let part = text.len() / LANES;
        let start = number * part;
        let (base, stop) = match number + 1 < LANES {
            true => (start, start + part),
            // So that the last view ends where the text does.
            false => {
                let last = text.len() - VIEW_BYTES;
                let spans = (last - start).div_ceil(SPAN_BYTES);
                (last - spans * SPAN_BYTES, text.len())
            }
        };
        let search = Search {
            // No match may come before the first byte.
            at: start - base + 1,
            end: (stop - base).min(2 * SPAN_BYTES),
            found: 0,
        };
        Some(Lane {
            view: text.get(base..)?.first_chunk()?,
            base,
            stop,
            search,
            table,
            list,
            over: false,
        })
    }

    fn seen(&self, text: &'t [u8]) -> Seen<'t> {
        Seen {
            text,
            view: self.view,
            base: self.base,
        }
    }

    fn found(&self) -> &[u8] {
        self.list.get(..self.search.found * 8).unwrap_or_default()
    }

    fn is_live(&self) -> bool {
        !self.over
    }

    #[inline(never)]
    fn alone(&mut self) {
        let mut search = self.search;
        while search.goes_on() {
            search.step(self.view, self.table, self.list);
        }
        self.search = search;
    }

    /// Begins a new list, and a new view if this one has been gone through.
    fn advance(&mut self, text: &'t [u8]) -> Option<()> {
        self.search.found = 0;
        if self.search.goes_on() {
            return Some(());
        }
        let left = self.stop - self.base - self.search.end;
        if left <= VIEW_BYTES - 2 * SPAN_BYTES {
            self.over = true;
            return Some(());
        }
        self.base += SPAN_BYTES;
        self.view = text.get(self.base..)?.first_chunk()?;
        self.search.at -= SPAN_BYTES;
        self.search.end = (self.stop - self.base).min(2 * SPAN_BYTES);
        Some(())
    }
}

/// Takes one step in each part after the other, so that none waits for itself, until one of them can't go on.
#[inline(never)]
fn side_by_side(one: &mut Lane, two: &mut Lane, three: &mut Lane) {
    let (mut a, mut b, mut c) = (one.search, two.search, three.search);
    while a.goes_on() & b.goes_on() & c.goes_on() {
        a.step(one.view, one.table, one.list);
        b.step(two.view, two.table, two.list);
        c.step(three.view, three.table, three.list);
    }
    (one.search, two.search, three.search) = (a, b, c);
}

/// The same where one has come to its end.
#[inline(never)]
fn in_pair(one: &mut Lane, two: &mut Lane) {
    let (mut a, mut b) = (one.search, two.search);
    while a.goes_on() & b.goes_on() {
        a.step(one.view, one.table, one.list);
        b.step(two.view, two.table, two.list);
    }
    (one.search, two.search) = (a, b);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::lzo_encoder;
    use super::*;
    use minilzo_rs::LZO;
    use proptest::prelude::*;

    /// The stream, if there is one; the library expands it to what it was made of.
    fn sound(text: &[u8]) -> Option<Vec<u8>> {
        // The room need not be clean.
        let mut room = vec![0xa5; room_bytes(text.len())];
        let stream = encode(text, &mut room)?;
        let stream = &room[stream];
        let lzo = LZO::init().unwrap();
        let expanded = lzo.decompress_safe(stream, text.len()).unwrap();
        assert!(expanded == text);
        Some(stream.to_vec())
    }

    /// Bytes without any order, the same for the same seed.
    fn noise(length: usize, mut seed: u64) -> Vec<u8> {
        let next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) as u8
        };
        std::iter::repeat_with(next).take(length).collect()
    }

    /// Text of words that come again, each of 3 to `longest` bytes and few bytes of noise.
    fn text(length: usize, seed: u64, longest: u64) -> Vec<u8> {
        let vocabulary = noise(4000, 7);
        let mut state = seed;
        let mut text = Vec::new();
        while text.len() < length {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(99);
            let from = (state >> 40) as usize % 3000;
            let count = 3 + ((state >> 20) % longest) as usize;
            text.extend_from_slice(&vocabulary[from..from + count]);
            text.extend(noise((state >> 30) as usize % 4, state));
        }
        text.truncate(length);
        text
    }

    #[test]
    fn texts_of_all_lengths_are_expanded_by_the_library() {
        let least = TEXT_BYTES_MIN;
        for length in (least..least + 5).chain([3 * 131_072 + 700, 700_001, 1_100_000]) {
            for longest in [60, 200, 900] {
                assert!(sound(&text(length, length as u64, longest)).is_some());
            }
        }
        assert!(sound(&text(least - 1, 1, 90)).is_none());
    }

    #[test]
    fn what_repeats_goes_on_over_the_ends_of_parts_and_views() {
        for period in [1, 2, 3, 31, 700, 0xbffe, 0xbfff, 0xc000, 65_535, 65_536] {
            let once = text(period, period as u64, 40);
            let bytes: Vec<u8> = once.iter().copied().cycle().take(900_000).collect();
            // What is farther away can't be reached.
            let stream = sound(&bytes);
            assert!(
                period > FAR.1 || stream.unwrap().len() < 200_000,
                "{period}"
            );
        }
        assert!(sound(&vec![b'a'; 3_000_000]).unwrap().len() < 13_000);
    }

    #[test]
    fn what_does_not_get_shorter_is_given_up_or_sound() {
        assert!(sound(&noise(900_000, 1)).is_none());
        let part = 300_000;
        let parts = [noise(part, 2), vec![b' '; part], text(part, 3, 90)];
        for order in [[0, 1, 2], [1, 0, 2], [1, 2, 0], [1, 1, 0], [0, 1, 1]] {
            let bytes = order.map(|number: usize| parts[number].clone()).concat();
            sound(&bytes);
        }
        // A part without any match between others, but not so long that what it becomes has no room.
        let mut bytes = vec![b' '; 900_000];
        for length in [10, 63, 64, 65, 66, 17, 16, 18, 19, 273, 274, 20_000, 80_000] {
            bytes[310_000..310_000 + length].copy_from_slice(&noise(length, 5));
            assert!(sound(&bytes).is_some());
        }
    }

    #[test]
    fn the_room_may_be_too_small() {
        let text = text(500_000, 9, 90);
        for missing in [1, 1000, 200_000] {
            let mut room = vec![0; room_bytes(text.len()) - missing];
            let stream = encode(&text, &mut room).map(|stream| room[stream].to_vec());
            assert!(stream.is_none_or(|stream| Some(stream) == sound(&text)));
        }
    }

    #[test]
    fn text_gets_about_as_short_as_with_lzo1x_1() {
        for longest in [60, 200, 900] {
            let text = text(1_000_000, 11, longest);
            let mut room = vec![0; lzo_encoder::room_bytes(text.len())];
            let usual = lzo_encoder::encode(&text, &mut room).len();
            let ours = sound(&text).unwrap().len();
            assert!(ours < usual + usual / 20, "{longest}: {ours} for {usual}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        #[test]
        fn any_text_is_expanded_by_the_library(
            seed: u64,
            length in TEXT_BYTES_MIN..800_000,
            longest in 30u64..1000,
            flaws in proptest::collection::vec(any::<(prop::sample::Index, u8)>(), 0..4000),
            copies in proptest::collection::vec(any::<(prop::sample::Index, prop::sample::Index, u16)>(), 0..40),
        ) {
            let mut bytes = text(length, seed, longest);
            for (from, to, count) in copies {
                let count = usize::from(count);
                let (from, to) = (from.index(length - count), to.index(length - count));
                bytes.copy_within(from..from + count, to);
            }
            for (at, byte) in flaws {
                bytes[at.index(length)] = byte;
            }
            sound(&bytes);
        }

        #[test]
        fn looks_are_the_same_by_words(one in 0usize..100_000, other in 0usize..100_000, length in 0usize..40) {
            let mut bytes = noise(VIEW_BYTES, 1);
            bytes.copy_within(one..one + length, other);
            let view: &View = bytes.first_chunk().unwrap();
            prop_assert_eq!(look(view, one, other), look_by_words(view, one, other));
            prop_assert!(one == other || one.abs_diff(other) < length || look(view, one, other) >= length.min(LOOK_BYTES));
        }
    }
}
