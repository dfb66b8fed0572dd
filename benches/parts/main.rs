//! What single parts cost, in this process: the wire's codec, LZO, the reading of command lines, host lists and source texts,
//! and a whole analysis when nothing is known and when all is. Filters by name, as `cargo bench --bench parts -- lzo`.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use distcc::model::decode::RequestDecoder;
use distcc::model::dialect::Dialect;
use distcc::model::direct::Query;
use distcc::model::hosts;
use distcc::model::invocation::scan;
use distcc::model::lzo;
use distcc::model::packets::{Grammar, Limits, Packets};
use distcc::model::source_scan::Scan;
use distcc::model::wire::{encode_plain_request, Version};
use distcc::pump::analysis::Analyst;
use distcc::pump::answers::Outcome;
use distcc::pump::ask_compiler::Environment;
use divan::counter::BytesCount;
use divan::Bencher;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::sync::LazyLock;

fn main() {
    divan::main();
}

/// A megabyte like that which preprocessors write.
static TEXT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut text = String::new();
    for number in 0.. {
        text += &format!(
            "# {number} \"/usr/include/c++/12/bits/part_{}.h\" 3\n  template<typename _Tp{number}, typename _Alloc>\n    \
             inline bool operator<(const vector<_Tp{number}, _Alloc>& __x, size_t __n{}) noexcept\n    {{ return __x.size() < {}; }}\n",
            number % 97,
            number % 13,
            number * 7919 % 1009,
        );
        if text.len() > 1 << 20 {
            break;
        }
    }
    text.into_bytes()
});

/// A header of some length, with a little of everything.
static HEADER: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut text =
        String::from("// A licence.\n/* Of several\n * lines. */\n#ifndef GUARD\n#define GUARD\n");
    for number in 0..200 {
        text += &format!(
            "#include <part/of_{number}.h>\n#if defined(A_{number}) && B > {number}\n#define C_{number}(x) ((x) + {number})\n#endif\n\
             // About the next one.\nstruct S{number} {{ int a; char const* b; }}; /* here */\n\nint f{number}(S{number} const&);\n"
        );
    }
    (text + "#endif\n").into_bytes()
});

fn request(version: Version) -> Vec<u8> {
    let argv = [
        b"gcc".as_slice(),
        b"-O2",
        b"-g",
        b"-c",
        b"x.c",
        b"-o",
        b"x.o",
    ];
    encode_plain_request(version, &argv, [&TEXT, b""]).unwrap()
}

/// Tells a decoder bytes in pieces as a socket gives them.
fn feed<G: Grammar>(mut decoder: Packets<G>, mut bytes: &[u8]) -> Packets<G> {
    while !bytes.is_empty() {
        let space = decoder.space();
        let count = space.len().min(bytes.len()).min(1 << 16);
        space[..count].copy_from_slice(&bytes[..count]);
        decoder.filled(count).unwrap();
        bytes = &bytes[count..];
    }
    decoder
}

#[divan::bench(args = [Version::V1, Version::V2])]
fn wire_request_written(bencher: Bencher, version: Version) {
    let bencher = bencher.counter(BytesCount::new(TEXT.len()));
    bencher.bench(|| request(version));
}

#[divan::bench(args = [Version::V1, Version::V2])]
fn wire_request_read(bencher: Bencher, version: Version) {
    let bytes = request(version);
    let bencher = bencher.counter(BytesCount::new(TEXT.len()));
    bencher.bench(|| {
        let decoder = RequestDecoder::for_requests(Limits::default());
        feed(decoder, &bytes).request().unwrap()
    });
}

#[divan::bench]
fn lzo_compress(bencher: Bencher) {
    let bencher = bencher.counter(BytesCount::new(TEXT.len()));
    bencher.bench(|| lzo::compress(&TEXT).unwrap());
}

#[divan::bench]
fn lzo_expand(bencher: Bencher) {
    let stream = lzo::compress(&TEXT).unwrap();
    let bencher = bencher.counter(BytesCount::new(TEXT.len()));
    bencher.bench(|| lzo::expand(&stream, TEXT.len()).unwrap());
}

#[divan::bench]
fn command_scanned(bencher: Bencher) {
    let line = "g++ -DNDEBUG -D_FILE_OFFSET_BITS=64 -Iinclude -I../deps -isystem /opt/x -O2 -g -fPIC -Wall -Wextra -std=c++17 \
                -fvisibility=hidden -MD -MT a/b.o -MF a/b.d -c src/b.cpp -o a/b.o";
    let argv: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
    bencher.bench(|| scan(&argv, &|_| None));
}

#[divan::bench]
fn host_list_read(bencher: Bencher) {
    let list: Vec<String> = (0..32)
        .map(|number| format!("build{number}.example.org:3632/16,lzo,cpp"))
        .collect();
    let list = format!("--randomize localhost/4 {} # all", list.join(" "));
    bencher.bench(|| hosts::parse(&list, "here").unwrap());
}

#[divan::bench]
fn directives_read(bencher: Bencher) {
    let bencher = bencher.counter(BytesCount::new(HEADER.len()));
    bencher.bench(|| Scan::new(&HEADER, Dialect::default()));
}

/// A unit with 200 headers of its own, in a folder.
struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Tree {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..200 {
            let mut text = "#pragma once\n#include \"h200.h\"\n".to_owned();
            text += std::str::from_utf8(&HEADER[..HEADER.len() / 4]).unwrap();
            let text = text.replace("#include <part", "// <part") + "\n#endif\n#endif\n";
            fs::write(dir.path().join(format!("h{number}.h")), text).unwrap();
        }
        fs::write(dir.path().join("h200.h"), "").unwrap();
        let all = (0..200).map(|number| format!("#include \"h{number}.h\"\n"));
        fs::write(dir.path().join("x.c"), all.collect::<String>()).unwrap();
        Tree(dir)
    }

    fn query(&self) -> Query {
        let cwd = self.0.path().as_os_str().as_bytes().to_vec();
        let words = ["gcc", "-c", "x.c", "-o", "x.o"];
        Query {
            pwd: cwd.clone(),
            cwd,
            program: b"/usr/bin/gcc".to_vec(),
            argv: words.iter().map(|word| word.as_bytes().to_vec()).collect(),
            ..Query::default()
        }
    }
}

fn ask(analyst: &Analyst, query: &Query) {
    let answer = analyst.answer(query);
    assert!(
        matches!(answer.outcome, Outcome::Covered(_)),
        "{:?}",
        answer.outcome
    );
}

/// Of 200 headers, the compiler asked included.
#[divan::bench(sample_count = 20)]
fn closure_cold(bencher: Bencher) {
    let tree = Tree::new();
    let query = tree.query();
    bencher
        .with_inputs(|| Analyst::new(Environment::default()))
        .bench_values(|analyst| ask(&analyst, &query));
}

#[divan::bench]
fn closure_warm(bencher: Bencher) {
    let tree = Tree::new();
    let (analyst, query) = (Analyst::new(Environment::default()), tree.query());
    ask(&analyst, &query);
    bencher.bench(|| ask(&analyst, &query));
}
