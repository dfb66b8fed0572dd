//! Real projects, as Debian has them, built in pump mode on two of our daemons: every object and every dependency file
//! is the one of a build without distcc in the same place, and all compiles went in pump mode.
//! With DISTCC_TESTS_WHOLE=1 the large ones are built as a whole, else a part of them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::have;
use common::tree::{Call, Tree, Yard, LUA, PUGIXML, ZLIB};

/// All of them: what can't go in pump mode is a fault here.
const PUMPED_PERCENT_MIN: usize = 100;

const BOTH: [Call; 2] = [Call::PumpExplicit, Call::PumpMasquerade];

/// A part of git's objects, among them those that need headers which the build generates.
const GIT: Tree = Tree {
    package: "git",
    needs: &["make", "gcc"],
    configure: "",
    build: r#"make -j4 CC="$LAUNCH$CC" CFLAGS="$FLAGS" NO_CURL=1 NO_EXPAT=1 NO_GETTEXT=1 NO_TCLTK=1 NO_PERL=1 NO_PYTHON=1 \
        NO_OPENSSL=1 COMPUTE_HEADER_DEPENDENCIES=yes ${WHOLE:+objects} ${WHOLE:-help.o version.o git.o builtin/bugreport.o hook.o \
        builtin/add.o builtin/am.o builtin/apply.o apply.o archive.o attr.o bisect.o blame.o branch.o bundle.o cache-tree.o \
        commit.o config.o convert.o date.o diff.o dir.o fetch-pack.o grep.o refs.o revision.o sha1dc/sha1.o \
        xdiff/xdiffi.o reftable/basics.o}"#,
};

/// C++17 on Boost.Asio, with includes that macros build.
const LIBTORRENT: Tree = Tree {
    package: "libtorrent-rasterbar",
    needs: &["make", "cmake", "g++"],
    configure: r#"cmake -S . -B build -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS="$FLAGS" -Dencryption=OFF \
        -DCMAKE_CXX_COMPILER="$CXX" -DCMAKE_CXX_COMPILER_LAUNCHER="${LAUNCH% }""#,
    build: r#"make -j4 -C build ${WHOLE:+torrent-rasterbar} ${WHOLE:-src/alert.o src/http_connection.o src/udp_socket.o src/escape_string.o}"#,
};

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
