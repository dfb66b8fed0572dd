//! Any bytes as a request, through all that the daemon does with it in memory: decoded, its command judged, its account and
//! its files laid out, its words made. What comes through stays below the job's folder, and never is an error a panic.

#![no_main]

use distcc::daemon::arrange::arrange;
use distcc::daemon::mirror::{self, Mirror};
use distcc::daemon::shown::Shown;
use distcc::daemon::view::View;
use distcc::daemon::workspace::Workspace;
use distcc::model::about::{self, About};
use distcc::model::client_path::ClientPath;
use distcc::model::decode::RequestDecoder;
use distcc::model::family::Family;
use distcc::model::job_tree::JobTree;
use distcc::model::packets::Limits;
use distcc::model::received::{scan_received, scan_received_pump, Received};
use distcc::model::wire::{Entry, EntryKind, Request, Source};
use libfuzzer_sys::fuzz_target;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path};

fuzz_target!(|data: &[u8]| {
    let Some(request) = decoded(data) else {
        return;
    };
    match request.source {
        Source::Text(text) => {
            if let Ok(received) = scan_received(&request.argv) {
                plain(&request.argv, &received, &text);
            }
        }
        Source::Files { cwd, entries } => files(&request.argv, &cwd, entries),
    }
});

fn decoded(data: &[u8]) -> Option<Request> {
    let limits = Limits {
        expanded_bytes_max: 1 << 20,
        ..Limits::default()
    };
    let mut decoder = RequestDecoder::for_requests(limits);
    let mut rest = data;
    while !decoder.is_done() && !rest.is_empty() {
        let space = decoder.space();
        let count = space.len().min(rest.len());
        let (now, later) = rest.split_at(count);
        space[..count].copy_from_slice(now);
        rest = later;
        decoder.filled(count).ok()?;
    }
    decoder.request().ok()
}

fn plain(argv: &[Vec<u8>], received: &Received, text: &[u8]) {
    let temp_dir = std::env::temp_dir();
    let mut workspace = Workspace::create(&temp_dir, "out.o", false).unwrap();
    let arranged = arrange(&mut workspace, Path::new("/usr/bin/gcc"), argv, received, text);
    let mut place = workspace.cwd.clone();
    assert!(place.starts_with(workspace.root()));
    for part in workspace.input.components() {
        match part {
            Component::ParentDir => assert!(place.pop()),
            part => place.push(part),
        }
        assert!(place.starts_with(workspace.root()), "{}", workspace.input.display());
    }
    let input = workspace.input.as_os_str().as_encoded_bytes();
    assert!(!matches!(input.first(), None | Some(b'-' | b'@')));
    expect_told(arranged.words.into_iter().map(OsString::into_vec).collect());
}

fn files(argv: &[Vec<u8>], cwd: &[u8], mut entries: Vec<Entry>) {
    let Ok(received) = scan_received_pump(argv) else {
        return;
    };
    let told = entries.iter().position(|entry| entry.name == about::NAME);
    let told = told.map(|at| entries.remove(at).kind);
    let about = match &told {
        Some(EntryKind::File(told)) => About::decode(told).ok(),
        _ => None,
    };
    let lib = ClientPath::plain(b"/lib").unwrap();
    let passages = [(&lib, &b"usr/lib"[..])];
    let mut tree = JobTree::new(passages.into_iter());
    for (number, entry) in entries.iter().enumerate() {
        if tree.add(number, entry).is_err() {
            return;
        }
    }
    let Ok(cwd) = tree.make_folder(&ClientPath::default(), cwd) else {
        return;
    };
    if tree.links().is_err() {
        return;
    }
    for family in [Family::Gcc, Family::Clang] {
        let words = mirror::words(Mirror {
            folder: b"/tmp/distccd_abcdefgh",
            tree: &tree,
            cwd: &cwd,
            argv,
            received: &received,
            family: Some(family),
            shown: &Shown::default(),
            about: about.as_ref(),
        });
        if let Ok(words) = words {
            expect_told(words);
        }
    }
}

/// The process that becomes the compiler hears just these words, and none of them is a response file.
fn expect_told(words: Vec<Vec<u8>>) {
    assert!(words.iter().all(|word| word.first() != Some(&b'@')));
    let view = View {
        words,
        ..View::default()
    };
    assert_eq!(View::decode(&view.encode()), Some(view));
}
