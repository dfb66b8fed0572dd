//! What the small programs print: on stdout and at once. That its reader has gone is the end of a program, and no fault that
//! somebody would have to be told of.

use crate::model::error::{Error, Result, Status};
use std::io::{self, ErrorKind, Write};

/// What the shell shows for a program that a closed pipe has ended.
pub const ENDED_BY_PIPE: Status = Status(128 + 13);

/// Prints.
pub fn print(text: impl AsRef<[u8]>) -> Result<Status> {
    let mut out = io::stdout();
    status_of(out.write_all(text.as_ref()).and_then(|()| out.flush()))
}

/// What has become of a program that printed.
pub fn status_of(printed: io::Result<()>) -> Result<Status> {
    match printed {
        Ok(()) => Ok(Status::OK),
        Err(err) if err.kind() == ErrorKind::BrokenPipe => Ok(ENDED_BY_PIPE),
        Err(err) => Err(Error::io("write to stdout", &err)),
    }
}
