//! The program distcc as a compiler: the one path from a command line to an exit status (being written).

use crate::model::error::{Code, Error, Result, Status};
use std::ffi::OsString;

/// Called through a link that bears a compiler's name.
pub fn masquerade(_argv: Vec<OsString>) -> Result<Status> {
    Err(Error::new(Code::Failed, "the client is being written"))
}
