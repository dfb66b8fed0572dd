//! What the tests of several files share: a command line as an invocation.

use super::invocation::{scan, Invocation, Scan};
use std::ffi::OsString;

/// The invocation of a command whose words have no blanks, and which could be sent away.
#[allow(clippy::panic)]
pub fn invocation(command: &str) -> Invocation {
    let argv: Vec<OsString> = command.split(' ').map(OsString::from).collect();
    match scan(&argv, &|_| None) {
        Scan::Distributable(invocation) => invocation,
        Scan::Local(local) => panic!("{command}: {}", local.reason),
    }
}
