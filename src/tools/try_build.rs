//! The program `distcc try` (being written).

use crate::model::error::{Code, Error, Result, Status};
use std::ffi::OsString;

/// `try [COMMAND…]`; all words, the first is `try`.
pub fn try_build(_argv: Vec<OsString>) -> Result<Status> {
    Err(Error::new(Code::Failed, "being written"))
}
