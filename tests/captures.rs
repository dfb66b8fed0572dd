//! Recorded sessions with stock distcc: the decoder reads them however they are cut up, the encoder writes the same
//! bytes, and what is broken is refused with the right error. See captures/README.md for what each one is.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use distcc::model::decode::RequestDecoder;
use distcc::model::decode_reply::ReplyDecoder;
use distcc::model::error::Code;
use distcc::model::lzo::{compress, expand, LzoError};
use distcc::model::packets::{Grammar, Packets};
use distcc::model::wire::{
    encode_plain_request, EntryKind, Limits, Reply, Request, Source, Version, WireError,
};
use proptest::prelude::*;
use std::path::PathBuf;

/// Requests that must not be taken for one, the status, and a piece of the error's words. The three that begin with
/// `odd-` and `hostile-argc-zero` pass stock's decoder, or crash it; ours is stricter on purpose.
const REFUSED: &[(&str, Code, &str)] = &[
    ("bad-garbage-http", Code::Protocol, "'GET / HTTP/1' came"),
    ("bad-lzo", Code::Io, "compressed data"),
    ("bad-truncated-argv", Code::Truncated, "(ARGV)"),
    ("bad-truncated-doti", Code::Truncated, "(DOTI)"),
    ("bad-version-4", Code::Protocol, "version 4"),
    ("hostile-argc-huge", Code::Io, "4294967295 arguments"),
    ("hostile-argc-zero", Code::Protocol, "no words"),
    ("odd-loose-hex", Code::Protocol, "'DIST0x000001' came"),
    ("odd-version-0", Code::Protocol, "version 0"),
    ("v2-gssapi", Code::Protocol, "(DIST)"),
    ("v2-gssapi-denied", Code::Protocol, "(DIST)"),
    ("v3-bad-token", Code::Protocol, "'BLOB"),
];

/// Sent by hand with a body of literals only, so not with the bytes that an encoder would choose.
const LITERALS_ONLY: &[&str] = &["ok-stdout-v2", "ok-3MB-zeros-v2"];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/captures")
}

fn bytes_of(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(name)).expect(name)
}

fn request_bytes(name: &str) -> Vec<u8> {
    bytes_of(&format!("{name}.req.bin"))
}

fn reply_bytes(name: &str) -> Vec<u8> {
    bytes_of(&format!("{name}.resp.bin"))
}

/// Names in `below` that end in `suffix`, without it.
fn names(below: &str, suffix: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder().join(below)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names
        .filter_map(|name| Some(name.strip_suffix(suffix)?.to_owned()))
        .collect();
    names.sort();
    assert!(names.len() > 1);
    names
}

/// Names of sound requests.
fn sound() -> Vec<String> {
    let mut names = names("", ".req.bin");
    names.retain(|name| REFUSED.iter().all(|(refused, ..)| refused != name));
    names
}

/// Gives bytes to a decoder in pieces of these sizes, over and over, until they are used up or it wants no more.
/// Counts the pieces, and watches that memory grows only with what has come.
fn feed<G: Grammar>(
    packets: &mut Packets<G>,
    bytes: &[u8],
    sizes: &[usize],
) -> Result<usize, WireError> {
    let mut rest = bytes;
    let mut pieces = 0;
    for size in sizes.iter().cycle() {
        if rest.is_empty() || packets.is_done() {
            break;
        }
        let space = packets.space();
        let count = space.len().min(*size).min(rest.len());
        assert!(count > 0, "there is always room");
        space[..count].copy_from_slice(&rest[..count]);
        rest = &rest[count..];
        pieces += 1;
        packets.filled(count)?;
        let given = bytes.len() - rest.len();
        assert!(packets.memory() <= 4 * given + (64 << 10), "at {given}");
    }
    Ok(pieces)
}

fn read_request(bytes: &[u8], sizes: &[usize]) -> Result<Request, WireError> {
    let mut decoder = RequestDecoder::for_requests(Limits::default());
    feed(&mut decoder, bytes, sizes)?;
    decoder.request()
}

fn read_reply(version: Version, bytes: &[u8], sizes: &[usize]) -> Result<Reply, WireError> {
    let mut decoder = ReplyDecoder::for_reply(version, Limits::default());
    feed(&mut decoder, bytes, sizes)?;
    decoder.reply()
}

const WHOLE: &[usize] = &[usize::MAX];

fn request(name: &str) -> Request {
    read_request(&request_bytes(name), WHOLE).expect(name)
}

fn reply(name: &str) -> Reply {
    read_reply(request(name).version, &reply_bytes(name), WHOLE).expect(name)
}

fn text(request: &Request) -> &[u8] {
    match &request.source {
        Source::Text(text) => text,
        Source::Files { .. } => panic!("a pump request"),
    }
}

fn written(request: &Request) -> Vec<u8> {
    let words: Vec<&[u8]> = request.argv.iter().map(Vec::as_slice).collect();
    let text = text(request);
    let parts = text.split_at(text.len() / 3).into();
    encode_plain_request(request.version, &words, parts).unwrap()
}

fn written_reply(reply: &Reply) -> Vec<u8> {
    let (mut head, body) = reply.encode().unwrap();
    head.extend_from_slice(&body);
    head
}

#[test]
fn broken_requests_are_refused_with_their_error() {
    for (name, code, words) in REFUSED {
        let bytes = request_bytes(name);
        for sizes in [WHOLE, &[1], &[12, 5]] {
            let err = read_request(&bytes, sizes).expect_err(name);
            assert_eq!(err.code(), *code, "{name}: {err}");
            assert!(err.to_string().contains(words), "{name}: {err}");
        }
    }
}

#[test]
fn requests_are_written_as_stock_writes_them() {
    for name in sound() {
        let request = request(&name);
        assert!(!request.argv.is_empty(), "{name}");
        if request.version == Version::V3 {
            continue;
        }
        let mut recorded = request_bytes(&name);
        if name == "odd-trailing-bytes" {
            assert!(recorded.ends_with(b"XXXX"));
            recorded.truncate(recorded.len() - 4);
        }
        let written = written(&request);
        assert_eq!(read_request(&written, WHOLE).unwrap(), request, "{name}");
        if !LITERALS_ONLY.contains(&name.as_str()) {
            assert!(written == recorded, "{name}: other bytes than stock's");
        }
    }
}

#[test]
fn replies_are_written_as_stock_writes_them() {
    let mut whole = 0;
    for name in sound() {
        let version = request(&name).version;
        let recorded = reply_bytes(&name);
        let reply = match read_reply(version, &recorded, WHOLE) {
            Ok(reply) => reply,
            // No answer is how stock refuses a job; which ones it refuses is not the decoder's business.
            Err(err) => {
                let expected = match name.as_str() {
                    "broken-output-removed" => WireError::Truncated("the object (DOTO)"),
                    // The server saw no reader any more after the second packet.
                    "fail-client-half-close" => {
                        WireError::Truncated("the compiler's output (SOUT)")
                    }
                    _ => WireError::NoAnswer,
                };
                assert_eq!(err, expected, "{name}");
                continue;
            }
        };
        assert_eq!(reply.object.is_some(), reply.status.success(), "{name}");
        assert!(written_reply(&reply) == recorded, "{name}: other bytes");
        whole += 1;
    }
    assert!(whole > 30, "{whole}");
}

#[test]
fn bytes_after_a_request_are_noticed_and_harmless() {
    for (name, expected) in [("odd-trailing-bytes", true), ("v1-ok", false)] {
        let mut decoder = RequestDecoder::for_requests(Limits::default());
        feed(&mut decoder, &request_bytes(name), WHOLE).unwrap();
        assert_eq!(decoder.has_trailing_bytes(), expected, "{name}");
        assert!(decoder.request().is_ok());
    }
}

#[test]
fn what_the_sessions_hold() {
    let ok = request("v1-ok");
    let words = [
        "x86_64-linux-gnu-gcc",
        "-O2",
        "-c",
        "hello.c",
        "-o",
        "hello.o",
    ];
    assert_eq!(ok.argv, words.map(|word| word.as_bytes().to_vec()));
    assert_eq!(text(&ok).len(), 0x144);
    assert!(text(&ok).starts_with(b"# 0 \""));
    let compressed = request("v2-ok");
    assert_eq!((&compressed.argv, text(&compressed)), (&ok.argv, text(&ok)));
    assert_eq!(reply("v2-ok").object, reply("v1-ok").object);
    assert_eq!(request("ssh-v2-ok"), compressed);
    let object = reply("v1-ok").object.unwrap();
    assert_eq!((object.len(), &object[..4]), (0x448, &b"\x7fELF"[..]));
    for name in ["v1-empty-i", "v2-empty-i"] {
        assert_eq!(text(&request(name)), b"", "{name}");
    }
    let assembly = reply("v1-asm-output").object.unwrap();
    assert!(assembly.starts_with(b"\t.file\t\"hello.c\"\n"));
    assert_eq!(reply("ok-zero-length-output").object, Some(Vec::new()));
    assert_eq!(reply("ok-3MB-zeros-v2").object, Some(vec![0; 3_000_000]));
    for name in ["ok-stdout-v1", "ok-stdout-v2"] {
        let reply = reply(name);
        assert_eq!(reply.stderr, b"and stderr\n", "{name}");
        assert!(reply.stdout.starts_with(b"h"), "{name}");
        assert_eq!(reply.object.as_deref(), Some(&b"OBJ"[..]), "{name}");
    }
}

#[test]
fn how_the_recorded_compiles_ended() {
    for (name, status, stderr) in [
        ("v1-ok", 0, ""),
        ("v1-warning", 0, "warning:"),
        ("v2-warning", 0, "warning:"),
        ("v3-warning", 0, "warning:"),
        ("v1-error", 1, "error:"),
        ("v2-error", 1, "error:"),
        ("v3-error", 1, "error:"),
        ("v3-missing-source", 1, "fatal error:"),
        ("fail-exit-3-with-output", 3, ""),
        ("fail-exec-missing", 110, "distccd["),
        ("fail-job-lifetime", 118, "distccd["),
        ("fail-signal-segv", 139, "about to crash"),
    ] {
        let reply = reply(name);
        assert_eq!(reply.status.status().0, status, "{name}");
        assert!(String::from_utf8_lossy(&reply.stderr).contains(stderr));
        assert_eq!(reply.object.is_some(), status == 0, "{name}");
    }
}

#[test]
fn pump_sessions_are_understood() {
    let ok = request("v3-ok");
    let Source::Files { cwd, entries } = &ok.source else {
        panic!("no files");
    };
    assert!(cwd.starts_with(b"/"));
    let file = |end: &[u8]| {
        let mut found = entries.iter().filter(|entry| entry.name.ends_with(end));
        found.next().map(|entry| &entry.kind)
    };
    let Some(EntryKind::File(source)) = file(b"/hello.c") else {
        panic!("no source");
    };
    assert!(source.starts_with(b"#include"));
    // A header that was compressed to nothing but the end mark.
    assert!(entries
        .iter()
        .any(|entry| entry.kind == EntryKind::File(Vec::new())));
    let Some(EntryKind::Link(link)) = file(b"/usr/include") else {
        panic!("no link");
    };
    assert!(link.starts_with(b"../") && link.ends_with(b"/usr/include"));

    for name in sound() {
        let request = request(&name);
        let deps = match read_reply(request.version, &reply_bytes(&name), WHOLE) {
            Ok(reply) if reply.status.success() => reply.deps,
            _ => continue,
        };
        assert_eq!(deps.is_some(), request.version == Version::V3, "{name}");
    }
    let deps = reply("v3-deps-MMD-MF-MT").deps.unwrap();
    assert!(deps.starts_with(b"tgt1:"));
    for name in ["v3-debug", "v3-debug-dwarf4"] {
        let other = bytes_of(&format!("{name}.resp-master.bin"));
        assert!(read_reply(Version::V3, &other, WHOLE).is_ok(), "{name}");
    }
}

#[test]
fn an_answer_of_another_version_is_refused() {
    let err = read_reply(Version::V2, &reply_bytes("v1-ok"), WHOLE).unwrap_err();
    assert_eq!(err, WireError::Version(1));
    let err = read_reply(Version::V1, &reply_bytes("odd-version-0"), WHOLE).unwrap_err();
    assert_eq!(err, WireError::Version(0));
}

#[test]
fn every_cut_of_a_session_is_noticed() {
    for name in ["v1-ok", "v2-ok", "v3-ok"] {
        let bytes = request_bytes(name);
        for cut in 0..bytes.len() {
            let err = read_request(&bytes[..cut], WHOLE).expect_err("a cut request");
            assert_eq!(err.code(), Code::Truncated, "{name} at {cut}: {err}");
            assert_eq!(err == WireError::NoAnswer, cut == 0);
        }
        let version = request(name).version;
        let bytes = reply_bytes(name);
        for cut in 0..bytes.len() {
            match read_reply(version, &bytes[..cut], WHOLE) {
                Err(err) => assert_eq!(err.code(), Code::Truncated, "{name} at {cut}: {err}"),
                // A pump server that could not make the dependencies hangs up between two packets.
                Ok(reply) => {
                    assert!(bytes[cut..].starts_with(b"DOTD"), "{name} at {cut}");
                    assert_eq!((version, reply.deps), (Version::V3, None));
                }
            }
        }
    }
}

#[test]
fn large_bodies_take_few_reads() {
    for (name, most) in [("v1-ok", 1), ("v2-ok", 1), ("v2-big", 3), ("v1-big", 6)] {
        let mut decoder = RequestDecoder::for_requests(Limits::default());
        let pieces = feed(&mut decoder, &request_bytes(name), WHOLE).unwrap();
        assert!(pieces <= most, "{name}: {pieces}");
    }
}

#[test]
fn limits_hold_for_all_bodies_together() {
    let sources = 100; // More than one file of the session, less than all.
    for (limits, what) in [
        (
            Limits {
                expanded_bytes_max: sources,
                ..Limits::default()
            },
            "expanded bytes",
        ),
        (
            Limits {
                body_bytes_max: sources,
                ..Limits::default()
            },
            "bytes in bodies",
        ),
        (
            Limits {
                entry_count_max: 2,
                ..Limits::default()
            },
            "files",
        ),
    ] {
        let mut decoder = RequestDecoder::for_requests(limits);
        let fed = feed(&mut decoder, &request_bytes("v3-ok"), WHOLE);
        let err = fed.and_then(|_| decoder.request()).unwrap_err();
        assert!(matches!(err, WireError::TooMuch { .. }), "{err}");
        assert!(err.to_string().contains(what), "{err}");
    }
}

#[test]
fn lzo_vectors_expand_and_compress() {
    for suffix in [".lzo", ".lzo999"] {
        for name in names("lzo", suffix) {
            let stream = bytes_of(&format!("lzo/{name}{suffix}"));
            let raw = bytes_of(&format!("lzo/{name}.raw"));
            assert!(expand(&stream, raw.len()).unwrap() == raw, "{name}");
            assert_eq!(expand(&stream, raw.len() - 1), Err(LzoError::TooLarge));
            if suffix == ".lzo" {
                assert!(compress(&raw).unwrap() == stream, "{name}");
            }
            let mut longer = stream.clone();
            longer.push(0);
            assert_eq!(expand(&longer, raw.len()), Err(LzoError::Trailing));
            for cut in 1..stream.len().min(3000) {
                let err = expand(&stream[..cut], raw.len()).unwrap_err();
                assert_eq!(err, LzoError::CutOff, "{name} at {cut}");
            }
        }
    }
}

/// The sound sessions, or the vectors, by index: properties pick from them.
fn pick(names: Vec<String>) -> impl Strategy<Value = String> {
    proptest::sample::select(names)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn pieces_of_any_size_make_the_same_message(
        name in pick(sound()),
        sizes in proptest::collection::vec(1usize..200, 1..8),
    ) {
        let request = request(&name);
        prop_assert_eq!(&read_request(&request_bytes(&name), &sizes).unwrap(), &request);
        let bytes = reply_bytes(&name);
        prop_assert_eq!(
            read_reply(request.version, &bytes, &sizes),
            read_reply(request.version, &bytes, WHOLE)
        );
    }

    #[test]
    fn damaged_sessions_never_panic(
        name in pick(sound()),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        sizes in proptest::collection::vec(1usize..2000, 1..4),
    ) {
        let spoil = |mut bytes: Vec<u8>| {
            for (at, byte) in damage.iter().filter(|_| !bytes.is_empty()).collect::<Vec<_>>() {
                let at = at.index(bytes.len().min(500));
                bytes[at] = *byte;
            }
            bytes
        };
        let version = request(&name).version;
        let _ = read_request(&spoil(request_bytes(&name)), &sizes);
        let _ = read_reply(version, &spoil(reply_bytes(&name)), &sizes);
    }

    #[test]
    fn damaged_vectors_never_panic(
        suffix in proptest::sample::select(vec![".lzo", ".lzo999"]),
        which: prop::sample::Index,
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let names = names("lzo", suffix);
        let name = &names[which.index(names.len())];
        let mut stream = bytes_of(&format!("lzo/{name}{suffix}"));
        for (at, byte) in damage {
            let at = at.index(stream.len());
            stream[at] = byte;
        }
        let max = 200_000;
        if let Ok(bytes) = expand(&stream, max) {
            prop_assert!(bytes.len() <= max);
        }
    }
}
