//! Real projects, as Debian has them, built by our client on two of our daemons: every object is the one that a build
//! without distcc gives in the same place, and nearly all of them come from the daemons.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::have;
use common::tree::{Call, Yard, LUA, PUGIXML, ZLIB};

/// The share of compiles that must have been done by the daemons.
const REMOTE_PERCENT_MIN: usize = 95;

#[test]
fn lua() {
    let Some(yard) = Yard::new(&LUA) else { return };
    let (masquerade, explicit) = ([Call::Masquerade], [Call::Explicit]);
    yard.compare(&LUA, "gcc", "", &masquerade, REMOTE_PERCENT_MIN);
    yard.compare(&LUA, "gcc", "-g", &explicit, REMOTE_PERCENT_MIN);
    for daemon in &yard.daemons {
        assert!(daemon.compiled() > 0, "no job: {}", daemon.log_text());
        assert_eq!(daemon.leftovers(), [""; 0]);
    }
}

#[test]
fn lua_with_clang() {
    if !have("lua with clang", &["clang"]) {
        return;
    }
    let Some(yard) = Yard::new(&LUA) else { return };
    let calls = [Call::Masquerade];
    // DWARF 5 holds checksums of sources that a server never sees: what can't be exact is compiled here.
    yard.compare(&LUA, "clang", "-g", &calls, 0);
    yard.compare(&LUA, "clang", "-gdwarf-4", &calls, REMOTE_PERCENT_MIN);
}

#[test]
fn zlib() {
    let Some(yard) = Yard::new(&ZLIB) else { return };
    yard.compare(&ZLIB, "gcc", "-g", &[Call::Explicit], REMOTE_PERCENT_MIN);
}

#[test]
fn pugixml() {
    let Some(yard) = Yard::new(&PUGIXML) else {
        return;
    };
    let calls = [Call::Masquerade];
    yard.compare(&PUGIXML, "gcc", "-O1 -g", &calls, REMOTE_PERCENT_MIN);
}
