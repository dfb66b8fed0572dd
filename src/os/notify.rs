//! Hearing of everything that changes in many folders (inotify), at the cost of one system call when nothing has.

#![allow(unsafe_code)] // inotify is only to be had from libc.

use super::sys::{check, check_uninterrupted};
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// The bytes of the fixed part of an event; the name follows, padded with NULs.
const EVENT_BYTES: usize = std::mem::size_of::<libc::inotify_event>();

/// Room for some hundred events.
const BUFFER_BYTES: usize = 16 << 10;

/// Everything that another program may do to a folder and to what is in it; reading is no change.
const CHANGES: u32 = libc::IN_CREATE
    | libc::IN_DELETE
    | libc::IN_MODIFY
    | libc::IN_ATTRIB
    | libc::IN_CLOSE_WRITE
    | libc::IN_MOVED_FROM
    | libc::IN_MOVED_TO
    | libc::IN_DELETE_SELF
    | libc::IN_MOVE_SELF;

/// The folders under watch.
#[derive(Debug)]
pub struct Notifier {
    queue: OwnedFd,
}

/// A folder in a [`Notifier`].
pub type FolderNumber = i32;

/// Something has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change<'n> {
    /// The entry of this name in this folder, or the folder itself if the name is empty.
    Entry(FolderNumber, &'n [u8]),
    /// The folder is no longer watched.
    Gone(FolderNumber),
    /// More has happened than the kernel could note down.
    Lost,
}

impl Notifier {
    /// Watches nothing yet.
    pub fn new() -> io::Result<Notifier> {
        // SAFETY: the descriptor is new and ours alone.
        unsafe {
            let fd = check(libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK))?;
            Ok(Notifier {
                queue: OwnedFd::from_raw_fd(fd),
            })
        }
    }

    /// Watches the folder at `path`, no link, from now on. The same folder always has the same number.
    pub fn watch(&self, path: &CStr) -> io::Result<FolderNumber> {
        let mask = CHANGES | libc::IN_ONLYDIR | libc::IN_DONT_FOLLOW;
        // SAFETY: the descriptor is open; the path ends with NUL.
        check(unsafe { libc::inotify_add_watch(self.queue.as_raw_fd(), path.as_ptr(), mask) })
    }

    /// Tells all that has happened so far. Does not wait.
    pub fn drain(&self, each: &mut dyn FnMut(Change<'_>)) -> io::Result<()> {
        let mut buffer = [0_u8; BUFFER_BYTES];
        loop {
            // SAFETY: the buffer is valid for its length.
            let got = check_uninterrupted(|| unsafe {
                libc::read(
                    self.queue.as_raw_fd(),
                    buffer.as_mut_ptr().cast(),
                    buffer.len(),
                ) as libc::c_int
            });
            match got {
                Ok(got) if got > 0 => tell(&buffer[..got as usize], each),
                Ok(_) => return Ok(()),
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(err) => return Err(err),
            }
        }
    }
}

/// Takes events apart.
fn tell(mut bytes: &[u8], each: &mut dyn FnMut(Change<'_>)) {
    while let Some((folder, mask, length)) = head(bytes) {
        let rest = bytes.get(EVENT_BYTES..).unwrap_or_default();
        let name = rest.get(..length).unwrap_or_default();
        let end = name.iter().position(|byte| *byte == 0);
        each(match mask {
            _ if mask & libc::IN_Q_OVERFLOW != 0 => Change::Lost,
            _ if mask & (libc::IN_IGNORED | libc::IN_UNMOUNT) != 0 => Change::Gone(folder),
            _ => Change::Entry(folder, &name[..end.unwrap_or(name.len())]),
        });
        bytes = rest.get(length..).unwrap_or_default();
    }
}

/// Folder, mask and length of the name.
fn head(bytes: &[u8]) -> Option<(FolderNumber, u32, usize)> {
    let word = |at: usize| bytes.get(at..)?.first_chunk::<4>().copied();
    Some((
        i32::from_ne_bytes(word(0)?),
        u32::from_ne_bytes(word(4)?),
        u32::from_ne_bytes(word(12)?) as usize,
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::ffi::CString;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn every_kind_of_change_is_heard_of() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("d");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("old"), "x").unwrap();
        let notifier = Notifier::new().unwrap();
        let path = CString::new(folder.as_os_str().as_bytes()).unwrap();
        let number = notifier.watch(&path).unwrap();
        assert_eq!(notifier.watch(&path).unwrap(), number);
        let heard = || {
            let mut names = Vec::new();
            notifier
                .drain(&mut |change| {
                    names.push(match change {
                        Change::Entry(at, name) => {
                            assert_eq!(at, number);
                            String::from_utf8_lossy(name).into_owned()
                        }
                        Change::Gone(_) => "gone".to_owned(),
                        Change::Lost => "lost".to_owned(),
                    });
                })
                .unwrap();
            names.dedup();
            names
        };
        assert!(heard().is_empty());
        fs::read(folder.join("old")).unwrap();
        assert!(heard().is_empty(), "reading is no change");
        fs::write(folder.join("old"), "y").unwrap();
        assert_eq!(heard(), ["old"]);
        fs::write(dir.path().join("beside"), "").unwrap();
        fs::rename(dir.path().join("beside"), folder.join("new")).unwrap();
        assert_eq!(heard(), ["new"]);
        fs::remove_dir_all(&folder).unwrap();
        assert!(heard().contains(&"gone".to_owned()));
        assert!(notifier.watch(&path).is_err());
    }
}
