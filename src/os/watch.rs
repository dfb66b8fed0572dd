//! Being told when somebody closes a file in a folder, instead of looking again and again.

#![allow(unsafe_code)] // inotify is only to be had from libc.

use super::sys::{check, check_uninterrupted};
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::Duration;

/// Room for what is told at once, in bytes; more is told the next time.
const EVENTS_BYTES: usize = 16 << 10;

/// Where the name begins in an event: after watch, mask, cookie and the name's length, 4 bytes each.
const NAME_AT: usize = 16;

/// Tells which files of one folder are closed after having been open for writing.
#[derive(Debug)]
pub struct Watch(File);

impl Watch {
    /// Begins to watch a folder.
    pub fn begin(folder: &Path) -> io::Result<Watch> {
        let path = CString::new(folder.as_os_str().as_bytes())?;
        // SAFETY: the new descriptor is ours alone; the path ends with NUL.
        unsafe {
            let fd = check(libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK))?;
            let file = File::from_raw_fd(fd);
            check(libc::inotify_add_watch(
                fd,
                path.as_ptr(),
                libc::IN_CLOSE_WRITE,
            ))?;
            Ok(Watch(file))
        }
    }

    /// The names of files that were closed, as soon as there are any. None if time is up.
    pub fn closed(&mut self, time_max: Duration) -> io::Result<Vec<OsString>> {
        let mut poll = libc::pollfd {
            fd: self.0.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let time_ms = time_max.as_millis().clamp(1, 60_000) as libc::c_int;
        // SAFETY: the kernel reads and writes this one structure.
        let ready = check_uninterrupted(|| unsafe { libc::poll(&mut poll, 1, time_ms) })?;
        if ready == 0 {
            return Ok(Vec::new());
        }
        let mut events = [0; EVENTS_BYTES];
        let length = self.0.read(&mut events)?;
        Ok(names(events.get(..length).unwrap_or_default()))
    }
}

/// The names in a row of events, each once.
fn names(mut events: &[u8]) -> Vec<OsString> {
    let mut found: Vec<OsString> = Vec::new();
    while let Some(size) = events.get(NAME_AT - 4..NAME_AT) {
        let size = size.try_into().map_or(0, u32::from_ne_bytes) as usize;
        let padded = events.get(NAME_AT..NAME_AT + size).unwrap_or_default();
        let name = padded.split(|byte| *byte == 0).next().unwrap_or_default();
        if !name.is_empty() && !found.iter().any(|known| known == OsStr::from_bytes(name)) {
            found.push(OsString::from_vec(name.to_vec()));
        }
        events = events.get(NAME_AT + size..).unwrap_or_default();
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn closing_a_written_file_is_told_and_reading_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("slot");
        let held = File::create(&path).unwrap();
        let mut watch = Watch::begin(dir.path()).unwrap();
        drop(File::open(&path).unwrap());
        assert!(watch.closed(Duration::from_millis(1)).unwrap().is_empty());
        drop(held);
        assert_eq!(watch.closed(Duration::from_secs(5)).unwrap(), ["slot"]);
    }
}
