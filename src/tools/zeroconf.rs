//! The helper that speaks on the local network, for clients and daemons: a process of its own, since it reads what anybody
//! sends, and what it is made of must not weigh on others.

use super::{announce, browse};
use crate::farm::zeroconf::{ANNOUNCE, BROWSE, HELPER};
use crate::model::error::{Code, Error, Result, Status};
use std::ffi::OsString;

/// The helper; all words, the first is the name it was called by.
pub fn helper(argv: Vec<OsString>) -> Result<Status> {
    let words = argv.get(2..).unwrap_or_default();
    match argv.get(1).and_then(|word| word.to_str()) {
        Some(BROWSE) => browse::run(words),
        Some(ANNOUNCE) => announce::run(words),
        _ => Err(Error::new(
            Code::BadArguments,
            format!("{HELPER} is for the programs' own use"),
        )),
    }
}
