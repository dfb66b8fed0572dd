//! Every exit status the programs can end with, and the error that carries one.
//! The numbers are those that stock distcc documents; how an error is printed is decided in `multicall`.

use std::fmt;

/// An exit status as the shell sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status(pub u8);

impl Status {
    /// Success.
    pub const OK: Status = Status(0);
}

/// Why a program of ours ended; the value is its exit status.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Code {
    /// The pump wrapper ran nothing: stock's status for that.
    Unpumped = 1,
    /// General failure.
    Failed = 100,
    /// Bad option, operand or setting.
    BadArguments = 101,
    /// The daemon could not listen.
    BindFailed = 102,
    /// No connection to a host, or its name did not resolve.
    ConnectFailed = 103,
    /// Reserved by stock: the compiler crashed.
    CompilerCrashed = 104,
    /// Out of memory, or no process could be started.
    OutOfMemory = 105,
    /// A host list that can't be read.
    BadHostSpec = 106,
    /// Reading or writing failed.
    Io = 107,
    /// The peer hung up in the middle.
    Truncated = 108,
    /// The peer does not speak the protocol.
    Protocol = 109,
    /// The compiler is not there.
    CompilerMissing = 110,
    /// distcc was called by itself.
    Recursion = 111,
    /// The daemon could not give up root.
    DropPrivileges = 112,
    /// The peer may not do this.
    Denied = 113,
    /// Everything is in use.
    Busy = 114,
    /// A file is missing.
    NoSuchFile = 115,
    /// No host is defined, or none is usable.
    NoHosts = 116,
    /// The process is gone.
    Gone = 117,
    /// It took too long.
    Timeout = 118,
    /// Reserved by stock: authentication failed.
    Authentication = 119,
}

impl From<Code> for Status {
    fn from(code: Code) -> Self {
        Status(code as u8)
    }
}

/// What went wrong, in words that name the thing and the way out, with the status it leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error {
    /// Exit status if this error ends the program.
    pub code: Code,
    /// One line, without the program's name and without a final full stop.
    pub message: String,
}

impl Error {
    /// An error from its parts.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Error {
            code,
            message: message.into(),
        }
    }

    /// An operating-system error with what was being done, e.g. `open /x/y`.
    pub fn io(doing: impl fmt::Display, err: &std::io::Error) -> Self {
        let code = match err.kind() {
            std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock => Code::Timeout,
            std::io::ErrorKind::UnexpectedEof => Code::Truncated,
            std::io::ErrorKind::OutOfMemory => Code::OutOfMemory,
            _ => Code::Io,
        };
        Error::new(code, format!("{doing}: {err}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// What most fallible functions of this crate return.
pub type Result<T> = std::result::Result<T, Error>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_errors_keep_their_kind() {
        let eof = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        assert_eq!(Error::io("read", &eof).code, Code::Truncated);
        let late = std::io::Error::from(std::io::ErrorKind::TimedOut);
        assert_eq!(Status::from(Error::io("read", &late).code), Status(118));
    }
}
