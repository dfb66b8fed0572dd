//! What tells one state of a file from another without reading it: device, inode, size and times. And whether a file
//! system is one on which this machine's kernel sees every change.

#![allow(unsafe_code)] // lstat into a small structure, fstatfs, and open with a C path, are only to be had from libc.

use super::sys::check;
use std::cell::RefCell;
use std::ffi::CStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Nanoseconds since 1970; before that negative.
pub type Moment = i64;

/// A file is of which kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A device, a pipe, a socket.
    Other,
}

/// A state of a file. Equal ones mean the same content, if the last change is not too young.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Number of the file system.
    pub device: u64,
    /// Number of the file on it.
    pub inode: u64,
    /// Kind and rights.
    pub mode: u32,
    /// Bytes.
    pub size: u64,
    /// Last change of the content, as anybody may set it.
    pub modified: Moment,
    /// Last change of anything, set by the system.
    pub changed: Moment,
    /// How many names it has; through each of them it may be changed.
    pub names: u64,
}

/// How coarse the times of file systems may be, and how far two clocks of one machine may lie apart.
const GRAIN: Moment = 2_000_000_000;

impl Identity {
    /// Looks at `path` itself, not at what it links to.
    pub fn of(path: &CStr) -> io::Result<Identity> {
        let mut stat = MaybeUninit::uninit();
        // SAFETY: the path ends with NUL; the structure is filled if the call succeeds.
        unsafe {
            check(libc::lstat(path.as_ptr(), stat.as_mut_ptr()))?;
            Ok(Identity::from_stat(&stat.assume_init()))
        }
    }

    /// Of an open file.
    pub fn of_file(file: &File) -> io::Result<Identity> {
        let mut stat = MaybeUninit::uninit();
        // SAFETY: the descriptor is open; the structure is filled if the call succeeds.
        unsafe {
            check(libc::fstat(file.as_raw_fd(), stat.as_mut_ptr()))?;
            Ok(Identity::from_stat(&stat.assume_init()))
        }
    }

    fn from_stat(stat: &libc::stat) -> Identity {
        let moment = |seconds: i64, nanoseconds: i64| {
            seconds
                .saturating_mul(1_000_000_000)
                .saturating_add(nanoseconds)
        };
        Identity {
            device: stat.st_dev,
            inode: stat.st_ino,
            mode: stat.st_mode,
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            modified: moment(stat.st_mtime, stat.st_mtime_nsec),
            changed: moment(stat.st_ctime, stat.st_ctime_nsec),
            #[allow(clippy::unnecessary_cast)] // Another width on other machines.
            names: stat.st_nlink as u64,
        }
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        match self.mode & libc::S_IFMT {
            libc::S_IFREG => Kind::File,
            libc::S_IFDIR => Kind::Folder,
            libc::S_IFLNK => Kind::Link,
            _ => Kind::Other,
        }
    }

    /// Looked at at `moment`, it may be changed after that without getting another identity: its last change is so
    /// young that the next one may fall into the same tick of the clock.
    pub fn is_racy(&self, moment: Moment) -> bool {
        self.changed >= moment - GRAIN || (self.modified - moment).abs() <= GRAIN
    }
}

/// The time of day.
pub fn now() -> Moment {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        Moment::try_from(since.as_nanos()).unwrap_or_default()
    })
}

/// How often a file is read that changes meanwhile.
const READS_MAX: u32 = 4;

/// Reads a whole file of at most `bytes_max`, and says which state of it that was: one that lasted while it was read.
/// `seen` is the state in which it was seen last.
pub fn read(path: &Path, bytes_max: u64, seen: &Identity) -> io::Result<(Vec<u8>, Identity)> {
    let mut before = *seen;
    for _ in 0..READS_MAX {
        if before.kind() != Kind::File {
            return Err(io::Error::other("it is no ordinary file"));
        }
        if before.size > bytes_max {
            return Err(io::Error::other("it is too large"));
        }
        // Whatever has become of it meanwhile: opening a pipe must not wait.
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(path)?;
        let bytes = read_exactly(&file, before.size);
        let after = Identity::of_file(&file)?;
        match bytes {
            Ok(bytes) if after == before => return Ok((bytes, before)),
            Err(err) if after == before => return Err(err),
            _ => before = after,
        }
    }
    Err(io::Error::other("it changes while it is read"))
}

thread_local! {
    /// Where files are read to that may be short.
    static SHORT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A file that is longer is not read in one step, in bytes.
const SHORT_BYTES_MAX: usize = 96 << 10;

/// Reads the file at `path` itself, not at what it links to, without having looked at it, and hands its bytes on. None if
/// it is not short, or may have been changed since shortly before `moment`, which is now: then look at it, and `read` it.
pub fn read_at_once<T>(
    path: &CStr,
    moment: Moment,
    take: impl FnOnce(&[u8]) -> T,
) -> io::Result<Option<(T, Identity)>> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_LARGEFILE;
    // Not by `open`: musl's asks a second time for O_CLOEXEC, for kernels that do not know it.
    // SAFETY: the path ends with NUL; the descriptor is new and nobody else's.
    let file = unsafe {
        let flags = flags | libc::O_RDONLY | libc::O_CLOEXEC;
        let opened = libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags);
        File::from_raw_fd(check(opened as libc::c_int)?)
    };
    SHORT.with_borrow_mut(|bytes| {
        bytes.clear();
        bytes.reserve(SHORT_BYTES_MAX);
        let room = bytes.spare_capacity_mut();
        // SAFETY: the descriptor is open; so many bytes as are read are written into the room, whose length is told.
        unsafe {
            let read = libc::read(file.as_raw_fd(), room.as_mut_ptr().cast(), room.len());
            let read = usize::try_from(read).map_err(|_| io::Error::last_os_error())?;
            bytes.set_len(read);
        }
        let identity = Identity::of_file(&file)?;
        let whole = identity.size == bytes.len() as u64 && bytes.len() < bytes.capacity();
        let sure = identity.kind() == Kind::File && whole && !identity.is_racy(moment);
        Ok(sure.then(|| (take(bytes), identity)))
    })
}

fn read_exactly(mut file: &File, size: u64) -> io::Result<Vec<u8>> {
    let size = usize::try_from(size).map_err(io::Error::other)?;
    let mut bytes = Vec::with_capacity(size);
    // As much room as is needed, so that the end is not asked for.
    file.by_ref().take(size as u64).read_to_end(&mut bytes)?;
    match bytes.len() == size {
        true => Ok(bytes),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Whether the kernel of this machine is told of every change in `folder`, as it makes them all: no network file
/// system, none that a program serves.
pub fn is_local(folder: &File) -> bool {
    const LOCAL: &[i64] = &[
        libc::EXT4_SUPER_MAGIC,
        libc::XFS_SUPER_MAGIC,
        libc::BTRFS_SUPER_MAGIC,
        libc::TMPFS_MAGIC,
        libc::OVERLAYFS_SUPER_MAGIC,
        0xf2f5_2010,
    ];
    let mut stat: MaybeUninit<libc::statfs> = MaybeUninit::uninit();
    // SAFETY: the descriptor is open; the structure is filled if the call succeeds.
    let stat = unsafe {
        match check(libc::fstatfs(folder.as_raw_fd(), stat.as_mut_ptr())) {
            Ok(_) => stat.assume_init(),
            Err(_) => return false,
        }
    };
    #[allow(clippy::unnecessary_cast)] // Another width on other machines.
    LOCAL.contains(&(stat.f_type as i64))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::ffi::CString;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    fn of(path: &Path) -> io::Result<Identity> {
        Identity::of(&CString::new(path.as_os_str().as_bytes()).unwrap())
    }

    #[test]
    fn kinds_and_changes() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("f"), dir.path().join("l"));
        assert_eq!(of(&file).unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::write(&file, "one").unwrap();
        symlink("f", &link).unwrap();
        let before = of(&file).unwrap();
        assert_eq!((before.kind(), before.size), (Kind::File, 3));
        assert_eq!(of(&link).unwrap().kind(), Kind::Link);
        assert_eq!(of(dir.path()).unwrap().kind(), Kind::Folder);
        assert_eq!(of(Path::new("/dev/null")).unwrap().kind(), Kind::Other);
        let opened = File::open(&file).unwrap();
        assert_eq!(Identity::of_file(&opened).unwrap(), before);
        fs::write(&file, "three").unwrap();
        assert_ne!(of(&file).unwrap(), before);
    }

    #[test]
    fn young_changes_are_racy() {
        let dir = tempfile::tempdir().unwrap();
        let identity = of(dir.path()).unwrap();
        assert!(identity.is_racy(now()));
        assert!(!identity.is_racy(now() + 3 * GRAIN));
        // A clock of another machine may run ahead of ours.
        let ahead = Identity {
            changed: now() + 100 * GRAIN,
            ..identity
        };
        assert!(ahead.is_racy(now()));
    }

    #[test]
    fn only_ordinary_files_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        fs::write(&file, "some").unwrap();
        let seen = of(&file).unwrap();
        let (bytes, identity) = read(&file, 4, &seen).unwrap();
        assert_eq!(
            (bytes.as_slice(), identity),
            (&b"some"[..], of(&file).unwrap())
        );
        for (path, max) in [
            (file.as_path(), 3),
            (Path::new("/dev/null"), 9),
            (dir.path(), 9),
        ] {
            let seen = of(path).unwrap();
            assert!(read(path, max, &seen).is_err(), "{}", path.display());
        }
    }

    #[test]
    fn what_is_short_and_quiet_is_read_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| CString::new(dir.path().join(name).as_os_str().as_bytes()).unwrap();
        let at_once = |name: &str, moment| {
            let read = read_at_once(&path(name), moment, <[u8]>::to_vec);
            read.map(|read| read.map(|(bytes, identity)| (bytes.len(), identity)))
        };
        let later = now() + 3 * GRAIN;
        for length in [0, 5, SHORT_BYTES_MAX - 1] {
            fs::write(dir.path().join("f"), vec![7; length]).unwrap();
            let identity = Identity::of(&path("f")).unwrap();
            assert_eq!(at_once("f", later).unwrap(), Some((length, identity)));
        }
        assert_eq!(at_once("f", now()).unwrap(), None, "it may change again");
        fs::write(dir.path().join("long"), vec![7; 2 * SHORT_BYTES_MAX]).unwrap();
        assert_eq!(at_once("long", later).unwrap(), None);
        symlink("f", dir.path().join("link")).unwrap();
        assert!(at_once("link", later).is_err() && at_once(".", later).is_err());
        let nothing = at_once("nothing", later).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_file_that_has_changed_since_is_read_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        fs::write(&file, "long ago").unwrap();
        let seen = of(&file).unwrap();
        for text in ["now", "and longer than before"] {
            fs::write(&file, text).unwrap();
            let (bytes, identity) = read(&file, 100, &seen).unwrap();
            assert_eq!(bytes, text.as_bytes());
            assert_eq!(identity, of(&file).unwrap());
        }
        fs::remove_file(&file).unwrap();
        assert!(read(&file, 100, &seen).is_err());
    }

    #[test]
    fn proc_is_not_local() {
        assert!(!is_local(&File::open("/proc").unwrap()));
    }
}
