//! The program distccd (being written).

use crate::model::error::{Code, Error, Result, Status};
use std::ffi::OsString;

/// The daemon; all words, the first is the name it was called by.
pub fn distccd(_argv: Vec<OsString>) -> Result<Status> {
    Err(Error::new(Code::Failed, "the daemon is being written"))
}
