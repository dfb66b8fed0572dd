//! Any bytes as one of the four messages to and from an include server, in pieces of any size: a message or an error, and
//! memory grows only with what has arrived.

#![no_main]

use distcc::model::direct::{Answer, AnswerDecoder, QueryDecoder};
use distcc::model::entries::{check_count, Entries};
use distcc::model::packets::{Grammar, Limits, Packets};
use distcc::model::path_list::{
    folder_of, name_of, name_of_file, PathListDecoder, PathQueryDecoder,
};
use libfuzzer_sys::fuzz_target;

/// What a decoder may hold beside twice what it was given.
const SLACK_BYTES: usize = 1 << 20;

/// Feeds a decoder; None if it found fault.
fn fed<G: Grammar>(mut decoder: Packets<G>, piece: usize, bytes: &[u8]) -> Option<Packets<G>> {
    let (mut rest, mut given) = (bytes, 0);
    while !decoder.is_done() && !rest.is_empty() {
        let space = decoder.space();
        let count = space.len().min(piece).min(rest.len());
        let (now, later) = rest.split_at(count);
        space[..count].copy_from_slice(now);
        rest = later;
        given += count;
        decoder.filled(count).ok()?;
        assert!(decoder.memory() <= 4 * given + SLACK_BYTES);
    }
    Some(decoder)
}

fuzz_target!(|data: &[u8]| {
    let Some((head, rest)) = data.split_first() else {
        return;
    };
    let limits = Limits {
        expanded_bytes_max: 1 << 20,
        ..Limits::default()
    };
    let piece = usize::from(*head >> 2) + 1;
    match head & 3 {
        0 => {
            let decoder = fed(QueryDecoder::for_queries(limits), piece, rest);
            if let Some(Ok(query)) = decoder.map(QueryDecoder::query) {
                let _ = query.encode();
            }
        }
        1 => {
            let decoder = fed(AnswerDecoder::for_answers(limits), piece, rest);
            if let Some(Ok(Answer::Covered(covered))) = decoder.map(AnswerDecoder::answer) {
                let _ = check_count(&covered.entries, covered.entry_count);
                for entry in Entries::of(&covered.entries).flatten() {
                    let _ = folder_of(entry.name());
                }
            }
        }
        2 => {
            let decoder = fed(PathQueryDecoder::for_path_queries(limits), piece, rest);
            let _ = decoder.map(PathQueryDecoder::query);
        }
        _ => {
            let decoder = fed(PathListDecoder::for_path_lists(limits), piece, rest);
            if let Some(Ok(paths)) = decoder.map(PathListDecoder::paths) {
                for name in paths.iter().filter_map(|path| name_of(path)) {
                    let _ = (folder_of(name), name_of_file(name));
                }
            }
        }
    }
});
