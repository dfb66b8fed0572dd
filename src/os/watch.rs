//! Hearing of files that were closed after writing in one folder (inotify). A lock file that is closed is, as a rule,
//! a lock that was released.

#![allow(unsafe_code)] // inotify is only to be had from libc.

use super::sys::{check, check_uninterrupted};
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// The bytes of the fixed part of an event; the name follows, padded with NULs.
const EVENT_BYTES: usize = std::mem::size_of::<libc::inotify_event>();

/// Room for what may have happened between two looks; what does not fit is read at the next one.
const BUFFER_BYTES: usize = 8192;

/// Enough for one system call.
const CLOSER_STACK_BYTES: usize = 64 * 1024;

/// A folder under watch.
#[derive(Debug)]
pub struct Watch {
    events: Events,
}

/// The kernel's queue of events, with a `Drop` that does not wait.
#[derive(Debug)]
struct Events(Option<File>);

/// What happened in the folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Closed {
    /// Nothing, for as long as was waited.
    Nothing,
    /// Files of these names were closed.
    Names(Vec<Vec<u8>>),
    /// More than the kernel could note down.
    Many,
}

impl Closed {
    /// Whether a file of this name may have been closed.
    pub fn includes(&self, name: &str) -> bool {
        match self {
            Closed::Nothing => false,
            Closed::Names(names) => names.iter().any(|closed| closed == name.as_bytes()),
            Closed::Many => true,
        }
    }
}

impl Watch {
    /// Watches `folder` from now on.
    pub fn start(folder: &Path) -> io::Result<Watch> {
        let folder = CString::new(folder.as_os_str().as_bytes())?;
        // SAFETY: the descriptor is new and ours alone; the string ends with NUL.
        unsafe {
            let fd = check(libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK))?;
            let events = Events(Some(File::from_raw_fd(fd)));
            let mask = libc::IN_CLOSE_WRITE | libc::IN_ONLYDIR;
            check(libc::inotify_add_watch(fd, folder.as_ptr(), mask))?;
            Ok(Watch { events })
        }
    }

    /// Waits for files to be closed, at most `timeout`.
    pub fn wait(&mut self, timeout: Duration) -> io::Result<Closed> {
        let Some(events) = &mut self.events.0 else {
            return Ok(Closed::Nothing);
        };
        let mut poll = libc::pollfd {
            fd: events.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let timeout = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: poll reads and fills the one structure, which lives across the call.
        if check_uninterrupted(|| unsafe { libc::poll(&mut poll, 1, timeout) })? == 0 {
            return Ok(Closed::Nothing);
        }
        let mut buffer = [0; BUFFER_BYTES];
        match events.read(&mut buffer) {
            Ok(length) => Ok(decode(&buffer[..length])),
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => Ok(Closed::Nothing),
            Err(err) => Err(err),
        }
    }
}

impl Drop for Events {
    /// Linux makes the closing of a watch wait for all processors, 8 to 20 ms by measurement. A thread of its own does
    /// that waiting; where none can be had it is done here.
    fn drop(&mut self) {
        let events = self.0.take();
        let _ = std::thread::Builder::new()
            .stack_size(CLOSER_STACK_BYTES)
            .spawn(move || drop(events));
    }
}

/// The names in a series of events as the kernel writes them.
fn decode(mut bytes: &[u8]) -> Closed {
    let mut names: Vec<Vec<u8>> = Vec::new();
    while bytes.len() >= EVENT_BYTES {
        let field = |at: usize| {
            let mut word = [0; 4];
            word.copy_from_slice(&bytes[at..at + 4]);
            u32::from_ne_bytes(word)
        };
        // The fields are: watch, mask, cookie, length of the name.
        let (mask, length) = (field(4), field(12) as usize);
        if mask & (libc::IN_Q_OVERFLOW | libc::IN_IGNORED) != 0 {
            return Closed::Many;
        }
        let end = (EVENT_BYTES + length).min(bytes.len());
        let padded = &bytes[EVENT_BYTES..end];
        let name = padded.split(|byte| *byte == 0).next().unwrap_or_default();
        if !names.iter().any(|known| known == name) {
            names.push(name.to_vec());
        }
        bytes = &bytes[end..];
    }
    Closed::Names(names)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;

    #[test]
    fn hears_of_files_closed_after_writing_and_of_no_others() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("read"), "").unwrap();
        let mut watch = Watch::start(dir.path()).unwrap();
        assert_eq!(watch.wait(Duration::ZERO).unwrap(), Closed::Nothing);
        fs::read(dir.path().join("read")).unwrap();
        assert_eq!(watch.wait(Duration::ZERO).unwrap(), Closed::Nothing);
        for name in ["a", "a-longer-name", "a"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let closed = watch.wait(Duration::from_secs(10)).unwrap();
        assert_eq!(
            closed,
            Closed::Names(vec![b"a".to_vec(), b"a-longer-name".to_vec()])
        );
        assert!(closed.includes("a") && !closed.includes("read"));
    }

    #[test]
    fn a_missing_folder_is_an_error() {
        assert!(Watch::start(Path::new("/nowhere")).is_err());
    }
}
