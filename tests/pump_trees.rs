//! Real projects, as Debian has them, built in pump mode on two of our daemons: every object and every dependency file
//! is the one of a build without distcc in the same place, and all compiles went in pump mode.
//! With DISTCC_TESTS_WHOLE=1 the large ones are built as a whole, else a part of them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::have;
use common::tree::{Call, Tree, Yard, GIT, LIBTORRENT, LUA, PUGIXML, ZLIB};

/// All of them: what can't go in pump mode is a fault here.
const PUMPED_PERCENT_MIN: usize = 100;

const BOTH: [Call; 2] = [Call::PumpExplicit, Call::PumpMasquerade];

fn yard(tree: &Tree) -> Option<Yard> {
    Yard::new(tree)
}

#[test]
fn lua() {
    let Some(yard) = yard(&LUA) else { return };
    yard.compare(&LUA, "gcc", "-g -MMD", &BOTH, PUMPED_PERCENT_MIN);
    for daemon in &yard.daemons {
        assert!(daemon.compiled() > 0, "no job: {}", daemon.log_text());
        assert_eq!(daemon.leftovers(), [""; 0]);
    }
    if have("lua with clang", &["clang"]) {
        yard.compare(&LUA, "clang", "-g -MD", &BOTH[1..], PUMPED_PERCENT_MIN);
    }
}

#[test]
fn zlib_in_odd_places() {
    let Some(plain) = yard(&ZLIB) else { return };
    let odd = plain.at("a tree ünder \u{e9}");
    odd.compare(&ZLIB, "gcc", "-g -MD", &BOTH[..1], PUMPED_PERCENT_MIN);
    let Some(plain) = yard(&ZLIB) else { return };
    let linked = plain.behind_link("link", "real/deep");
    linked.compare(&ZLIB, "gcc", "-g -MD", &BOTH[1..], PUMPED_PERCENT_MIN);
}

#[test]
fn pugixml_out_of_tree() {
    let Some(yard) = yard(&PUGIXML) else { return };
    yard.compare(&PUGIXML, "gcc", "-g", &BOTH[..1], PUMPED_PERCENT_MIN);
    if have("pugixml with clang", &["clang"]) {
        yard.compare(&PUGIXML, "clang", "-g", &BOTH[1..], PUMPED_PERCENT_MIN);
    }
}

#[test]
fn git_with_generated_headers() {
    let Some(yard) = yard(&GIT) else { return };
    yard.compare(&GIT, "gcc", "-g -O1 -Wall", &BOTH[1..], PUMPED_PERCENT_MIN);
}

#[test]
fn libtorrent_on_boost() {
    if !std::path::Path::new("/usr/include/boost/asio.hpp").exists() {
        common::skip("libtorrent", "libboost-dev is not installed");
        return;
    }
    let Some(yard) = yard(&LIBTORRENT) else {
        return;
    };
    yard.compare(&LIBTORRENT, "gcc", "-g -O0", &BOTH[..1], PUMPED_PERCENT_MIN);
}
