//! Any bytes as a reply, in pieces of any size: a message or an error, never a panic,
//! and memory grows only with what has arrived.

#![no_main]

use distcc::model::decode_reply::ReplyDecoder;
use distcc::model::packets::Limits;
use distcc::model::wire::Version;
use libfuzzer_sys::fuzz_target;

/// What a decoder may hold beside twice what it was given.
const SLACK_BYTES: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let Some((head, mut rest)) = data.split_first() else {
        return;
    };
    let limits = Limits {
        expanded_bytes_max: 1 << 20,
        ..Limits::default()
    };
    let piece = usize::from(*head) + 1;
    let mut decoder = match piece % 4 {
        0 => ReplyDecoder::for_reply(Version::V1, limits),
        1 => ReplyDecoder::for_reply(Version::V2, limits),
        2 => ReplyDecoder::for_reply(Version::V3, limits),
        _ => ReplyDecoder::for_reply_with_sides(limits),
    };
    let mut given = 0;
    while !decoder.is_done() && !rest.is_empty() {
        let space = decoder.space();
        let count = space.len().min(piece).min(rest.len());
        let (now, later) = rest.split_at(count);
        space[..count].copy_from_slice(now);
        rest = later;
        given += count;
        if decoder.filled(count).is_err() {
            return;
        }
        assert!(decoder.memory() <= 4 * given + SLACK_BYTES);
    }
    let _ = decoder.reply();
});
