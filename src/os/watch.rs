//! Hearing of files that were closed after writing in one folder, or left it (inotify), and of the removal of one file.
//! A lock file that is closed is, as a rule, a lock that was released.

#![allow(unsafe_code)] // inotify is only to be had from libc.

use super::sys::{check, check_uninterrupted};
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
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
    /// This happened to files of these names.
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
    /// Watches `folder` from now on, for files that are closed after writing.
    pub fn start(folder: &Path) -> io::Result<Watch> {
        Watch::with_mask(folder, libc::IN_CLOSE_WRITE)
    }

    /// Watches `folder` from now on, for files that are removed or given another name.
    pub fn of_departures(folder: &Path) -> io::Result<Watch> {
        Watch::with_mask(folder, libc::IN_DELETE | libc::IN_MOVED_FROM)
    }

    fn with_mask(folder: &Path, mask: u32) -> io::Result<Watch> {
        let folder = CString::new(folder.as_os_str().as_bytes())?;
        // SAFETY: the descriptor is new and ours alone; the string ends with NUL.
        unsafe {
            let fd = check(libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK))?;
            let events = Events(Some(File::from_raw_fd(fd)));
            check(libc::inotify_add_watch(
                fd,
                folder.as_ptr(),
                mask | libc::IN_ONLYDIR,
            ))?;
            Ok(Watch { events })
        }
    }

    /// Waits for something to happen, at most `timeout`.
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

/// A file whose removal is heard of. Not a folder's: one that holds open files and sockets says nothing when it goes.
#[derive(Debug)]
pub struct Removal {
    events: File,
    path: PathBuf,
    /// Device and number.
    file: (u64, u64),
}

impl Removal {
    /// Watches the file at `path` from now on.
    pub fn watch(path: &Path) -> io::Result<Removal> {
        let meta = fs::metadata(path)?;
        let name = CString::new(path.as_os_str().as_bytes())?;
        // SAFETY: the descriptor is new and ours alone; the string ends with NUL.
        let events = unsafe {
            let fd = check(libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK))?;
            let events = File::from_raw_fd(fd);
            // The number of names, which is an attribute, changes even while the file is open.
            let mask = libc::IN_ATTRIB | libc::IN_DELETE_SELF | libc::IN_MOVE_SELF;
            check(libc::inotify_add_watch(fd, name.as_ptr(), mask))?;
            events
        };
        Ok(Removal {
            events,
            path: path.to_owned(),
            file: (meta.dev(), meta.ino()),
        })
    }

    /// Readable when [`Removal::has_come`] should be asked.
    pub fn hint(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }

    /// Whether the file is no longer at its path; also if no hint was given, since a folder above may have moved.
    pub fn has_come(&self) -> bool {
        let mut buffer = [0; BUFFER_BYTES];
        while (&self.events)
            .read(&mut buffer)
            .is_ok_and(|length| length > 0)
        {}
        let now = fs::metadata(&self.path).map(|meta| (meta.dev(), meta.ino()));
        now.ok() != Some(self.file)
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
    fn hears_of_files_that_leave() {
        let dir = tempfile::tempdir().unwrap();
        let mut watch = Watch::of_departures(dir.path()).unwrap();
        for name in ["a", "b", "c"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(watch.wait(Duration::ZERO).unwrap(), Closed::Nothing);
        fs::remove_file(dir.path().join("a")).unwrap();
        fs::rename(dir.path().join("b"), dir.path().join("d")).unwrap();
        let left = watch.wait(Duration::from_secs(10)).unwrap();
        assert_eq!(left, Closed::Names(vec![b"a".to_vec(), b"b".to_vec()]));
    }

    #[test]
    fn hears_of_the_removal_of_an_open_file() {
        use crate::os::net::wait_readable;
        use std::time::Instant;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("folder/file");
        fs::create_dir(path.parent().unwrap()).unwrap();
        let mut open = File::create(&path).unwrap();
        let removal = Removal::watch(&path).unwrap();
        std::io::Write::write_all(&mut open, b"x").unwrap();
        let now = || Some(Instant::now());
        assert_eq!(wait_readable(&[removal.hint()], now()).unwrap(), None);
        fs::set_permissions(&path, fs::metadata(&path).unwrap().permissions()).unwrap();
        assert_eq!(wait_readable(&[removal.hint()], None).unwrap(), Some(0));
        assert!(!removal.has_come());
        assert_eq!(wait_readable(&[removal.hint()], now()).unwrap(), None);
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
        assert_eq!(wait_readable(&[removal.hint()], None).unwrap(), Some(0));
        assert!(removal.has_come());
        assert!(Removal::watch(&path).is_err());
    }

    #[test]
    fn a_missing_folder_is_an_error() {
        assert!(Watch::start(Path::new("/nowhere")).is_err());
    }
}
