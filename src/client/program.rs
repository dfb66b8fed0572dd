//! The program distcc called by its own name (being written).

use crate::model::error::{Code, Error, Result, Status};
use std::ffi::OsString;

/// `distcc COMPILER …`, `distcc OPTIONS…`, and its own few words.
pub fn distcc(_argv: Vec<OsString>) -> Result<Status> {
    Err(Error::new(Code::Failed, "the client is being written"))
}
