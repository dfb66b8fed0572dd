//! Folders by descriptor, and what lies in them by a single name: no link is ever followed, so nothing is made, read or
//! removed elsewhere, whatever others put there. Removes whole trees, also those whose owner may not enter them.

#![allow(unsafe_code)] // The calls that take a folder's descriptor are only to be had from libc.

pub use super::identity::Kind;
use super::sys::{check, check_uninterrupted};
use crate::model::about::Time;
use std::cell::Cell;
use std::collections::hash_map::RandomState;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Longest name of one thing in a folder.
const NAME_BYTES_MAX: usize = 255;

/// How many folders are emptied one inside the other, which takes a descriptor and some stack for each. What lies deeper
/// is brought to the top first: nobody sets a bound to what a compiler leaves.
const LEVELS_MAX: usize = 32;

/// How often a folder is emptied while others still fill it.
const PASSES_MAX: usize = 100;

/// A folder.
#[derive(Debug)]
pub struct Dir(OwnedFd);

/// What is known of a thing in a folder without opening it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found {
    /// What it is.
    pub kind: Kind,
    /// How many bytes it holds.
    pub size: u64,
    /// When that was last modified.
    pub modified: Time,
}

/// One name, as the system takes it, without memory of its own to be asked for.
struct Name([u8; NAME_BYTES_MAX + 1]);

impl Name {
    /// A name that stands for itself: no path, and neither `.` nor `..`.
    fn new(name: &[u8]) -> io::Result<Name> {
        if matches!(name, b"" | b"." | b"..") || name.iter().any(|byte| matches!(byte, 0 | b'/')) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut bytes = [0; NAME_BYTES_MAX + 1];
        match bytes
            .get_mut(..NAME_BYTES_MAX)
            .and_then(|room| room.get_mut(..name.len()))
        {
            Some(room) => room.copy_from_slice(name),
            None => return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG)),
        }
        Ok(Name(bytes))
    }

    fn pointer(&self) -> *const libc::c_char {
        self.0.as_ptr().cast()
    }
}

impl From<OwnedFd> for Dir {
    /// The descriptor is one of a folder.
    fn from(folder: OwnedFd) -> Dir {
        Dir(folder)
    }
}

impl Dir {
    /// Opens a folder of our own by its path.
    pub fn open(path: &Path) -> io::Result<Dir> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        Dir::open_at(libc::AT_FDCWD, path.as_ptr(), libc::O_PATH)
    }

    /// Opens a folder in this one.
    pub fn enter(&self, name: &[u8]) -> io::Result<Dir> {
        let name = Name::new(name)?;
        Dir::open_at(self.0.as_raw_fd(), name.pointer(), libc::O_PATH)
    }

    fn open_at(at: libc::c_int, name: *const libc::c_char, how: libc::c_int) -> io::Result<Dir> {
        let flags = how | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
        // SAFETY: the name ends with NUL; the descriptor is new and ours alone.
        unsafe {
            let fd = check_uninterrupted(|| libc::openat(at, name, flags))?;
            Ok(Dir(OwnedFd::from_raw_fd(fd)))
        }
    }

    /// The descriptor's number, which is its own as long as this value lives.
    pub fn number(&self) -> i32 {
        self.0.as_raw_fd()
    }

    /// Makes a folder; one that is there already is as good.
    pub fn make(&self, name: &[u8]) -> io::Result<()> {
        let name = Name::new(name)?;
        // SAFETY: the name ends with NUL.
        match check(unsafe { libc::mkdirat(self.0.as_raw_fd(), name.pointer(), 0o777) }) {
            Err(err) if err.kind() != io::ErrorKind::AlreadyExists => Err(err),
            _ => Ok(()),
        }
    }

    /// Makes a symbolic link.
    pub fn link(&self, name: &[u8], text: &[u8]) -> io::Result<()> {
        let (name, text) = (Name::new(name)?, CString::new(text)?);
        let at = self.0.as_raw_fd();
        // SAFETY: both strings end with NUL.
        check(unsafe { libc::symlinkat(text.as_ptr(), at, name.pointer()) })?;
        Ok(())
    }

    /// Makes a file with these bytes, last modified then. What has the name already is not touched.
    pub fn write(&self, name: &[u8], bytes: &[u8], modified: Option<Time>) -> io::Result<()> {
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL;
        let mut file = self.file(name, flags)?;
        file.write_all(bytes)?;
        match modified {
            Some(time) => set_modified(&file, time),
            None => Ok(()),
        }
    }

    /// What a plain file holds; `None` if there is none of that name.
    ///
    /// # Errors
    /// Also if it has more than `bytes_max`.
    pub fn read(&self, name: &[u8], bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
        // A pipe without a writer would keep us waiting.
        let mut file = match self.file(name, libc::O_RDONLY | libc::O_NONBLOCK) {
            Ok(file) => file,
            Err(err) => match err.raw_os_error() {
                Some(libc::ENOENT | libc::ELOOP | libc::ENXIO | libc::ENOTDIR) => return Ok(None),
                _ => return Err(err),
            },
        };
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Ok(None);
        }
        if meta.len() > bytes_max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or(0) + 1);
        Read::by_ref(&mut file)
            .take(bytes_max)
            .read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// What has that name.
    pub fn look(&self, name: &[u8]) -> io::Result<Found> {
        let name = Name::new(name)?;
        // SAFETY: the call takes a folder's descriptor and a name that ends with NUL, and fills the whole record that is
        // read after it has succeeded; zeros are one, too.
        let stat = unsafe {
            let mut stat: libc::stat = std::mem::zeroed();
            let flags = libc::AT_SYMLINK_NOFOLLOW;
            let at = self.0.as_raw_fd();
            check(libc::fstatat(at, name.pointer(), &mut stat, flags))?;
            stat
        };
        Ok(Found {
            kind: match stat.st_mode & libc::S_IFMT {
                libc::S_IFREG => Kind::File,
                libc::S_IFDIR => Kind::Folder,
                libc::S_IFLNK => Kind::Link,
                _ => Kind::Other,
            },
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: Time {
                seconds: stat.st_mtime,
                nanoseconds: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
            },
        })
    }

    /// The names of all that it holds, in any order.
    pub fn names(&self) -> io::Result<Vec<Vec<u8>>> {
        let itself = Dir::open_at(self.0.as_raw_fd(), c".".as_ptr(), libc::O_RDONLY)?;
        let mut names = Vec::new();
        for_each_name(itself.0.as_raw_fd(), |name, _| {
            names.push(name.to_bytes().to_vec());
            Ok(())
        })?;
        Ok(names)
    }

    fn file(&self, name: &[u8], flags: libc::c_int) -> io::Result<File> {
        let (name, flags) = (Name::new(name)?, flags | libc::O_NOFOLLOW | libc::O_CLOEXEC);
        let at = self.0.as_raw_fd();
        // SAFETY: the name ends with NUL; the descriptor is new and ours alone.
        unsafe {
            let fd = check_uninterrupted(|| libc::openat(at, name.pointer(), flags, 0o644))?;
            Ok(File::from_raw_fd(fd))
        }
    }

    /// Removes what has that name, with all that is in it. Nothing is no fault.
    pub fn remove(&self, name: &[u8]) -> io::Result<()> {
        let name = Name::new(name)?;
        match remove(self.0.as_raw_fd(), name.pointer(), LEVELS_MAX, None) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => Err(err),
            _ => Ok(()),
        }
    }
}

fn set_modified(file: &File, time: Time) -> io::Result<()> {
    let untouched = libc::timespec {
        tv_sec: 0,
        tv_nsec: libc::UTIME_OMIT,
    };
    let modified = libc::timespec {
        tv_sec: time.seconds,
        tv_nsec: libc::c_long::from(time.nanoseconds),
    };
    // SAFETY: the array has the two entries that are read.
    check(unsafe { libc::futimens(file.as_raw_fd(), [untouched, modified].as_ptr()) })?;
    Ok(())
}

/// Where folders go that lie too deep: the top of the tree that is removed.
struct Aside {
    top: libc::c_int,
    /// Names are numbers from here on; where they begin nobody can guess.
    first: u64,
    moved: Cell<u64>,
}

impl Aside {
    fn new(top: &Dir) -> Aside {
        Aside {
            top: top.0.as_raw_fd(),
            first: RandomState::new().build_hasher().finish(),
            moved: Cell::new(0),
        }
    }

    fn take(&self, at: libc::c_int, name: *const libc::c_char) -> io::Result<()> {
        let number = self.first.wrapping_add(self.moved.get());
        self.moved.set(self.moved.get() + 1);
        let aside = CString::new(format!("{number:016x}"))?;
        // SAFETY: the caller's name ends with NUL, and so does ours.
        let renamed = || check(unsafe { libc::renameat(at, name, self.top, aside.as_ptr()) });
        match renamed() {
            // Its entry for the folder above it changes, so it must be writable itself.
            Err(err) if err.kind() == io::ErrorKind::PermissionDenied => {
                opened_up(at, name)?;
                renamed().map(drop)
            }
            other => other.map(drop),
        }
    }
}

/// Removes a file, or a folder with all that is in it.
fn remove(
    at: libc::c_int,
    name: *const libc::c_char,
    levels: usize,
    aside: Option<&Aside>,
) -> io::Result<()> {
    // SAFETY: the caller's name ends with NUL, also below.
    let unlinked = check(unsafe { libc::unlinkat(at, name, 0) });
    match unlinked.map_err(|err| (err.raw_os_error(), err)) {
        Ok(_) => return Ok(()),
        Err((Some(libc::EISDIR | libc::EPERM), _)) => {}
        Err((_, err)) => return Err(err),
    }
    remove_folder(at, name, levels, aside)
}

fn remove_folder(
    at: libc::c_int,
    name: *const libc::c_char,
    levels: usize,
    aside: Option<&Aside>,
) -> io::Result<()> {
    if let (0, Some(aside)) = (levels, aside) {
        return aside.take(at, name);
    }
    let folder = match Dir::open_at(at, name, libc::O_RDONLY) {
        Err(err) if err.kind() == io::ErrorKind::PermissionDenied => opened_up(at, name)?,
        other => other?,
    };
    let ours = Aside::new(&folder);
    let aside = aside.unwrap_or(&ours);
    let mut idle = 0;
    while idle < PASSES_MAX {
        let moved = aside.moved.get();
        empty(&folder, levels.saturating_sub(1), aside)?;
        // SAFETY: see above.
        match check(unsafe { libc::unlinkat(at, name, libc::AT_REMOVEDIR) }) {
            // Some file systems pass over names while others are removed.
            Err(err) if err.kind() == io::ErrorKind::DirectoryNotEmpty => {
                // SAFETY: touches no memory.
                check(unsafe { libc::lseek(folder.0.as_raw_fd(), 0, libc::SEEK_SET) } as i32)?;
                idle += usize::from(aside.moved.get() == moved);
            }
            other => return other.map(drop),
        }
    }
    Err(io::ErrorKind::DirectoryNotEmpty.into())
}

/// Opens a folder that shuts its owner out.
fn opened_up(at: libc::c_int, name: *const libc::c_char) -> io::Result<Dir> {
    let path = Dir::open_at(at, name, libc::O_PATH)?;
    let itself = CString::new(format!("/proc/self/fd/{}", path.0.as_raw_fd()))?;
    // SAFETY: the string ends with NUL. The name in /proc means the folder that was opened, not a link to it.
    check(unsafe { libc::chmod(itself.as_ptr(), 0o700) })?;
    Dir::open_at(at, name, libc::O_RDONLY)
}

/// Removes what a folder holds.
fn empty(folder: &Dir, levels: usize, aside: &Aside) -> io::Result<()> {
    let at = folder.0.as_raw_fd();
    let mut is_writable = false;
    for_each_name(at, |name, is_folder| {
        let step = || match is_folder {
            true => remove_folder(at, name.as_ptr(), levels, Some(aside)),
            false => remove(at, name.as_ptr(), levels, Some(aside)),
        };
        match step() {
            Err(err) if err.kind() == io::ErrorKind::PermissionDenied && !is_writable => {
                is_writable = true;
                // SAFETY: touches no memory.
                check(unsafe { libc::fchmod(at, 0o700) })?;
                step()
            }
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    })
}

/// Where a directory entry, as the system writes it, has its length, its type, and its name.
const LENGTH_AT: usize = 16;
const TYPE_AT: usize = 18;
const NAME_AT: usize = 19;

/// Reads a folder once through; `each` hears of every name but `.` and `..`, and whether it is known to be a folder.
fn for_each_name(
    folder: libc::c_int,
    mut each: impl FnMut(&CStr, bool) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = [0_u8; 8192];
    loop {
        // SAFETY: the buffer is valid for its length.
        let got = unsafe {
            libc::syscall(
                libc::SYS_getdents64,
                folder,
                buffer.as_mut_ptr(),
                buffer.len(),
            )
        };
        let got = check(got as libc::c_int)? as usize;
        let mut rest = buffer.get(..got).unwrap_or_default();
        if rest.is_empty() {
            return Ok(());
        }
        while let (Some(length), Some(kind)) = (rest.get(LENGTH_AT..TYPE_AT), rest.get(TYPE_AT)) {
            let length = usize::from(u16::from_ne_bytes([length[0], length[1]]));
            let name = rest.get(NAME_AT..length).unwrap_or_default();
            let name = CStr::from_bytes_until_nul(name).map_err(io::Error::other)?;
            if !matches!(name.to_bytes(), b"." | b"..") {
                each(name, *kind == libc::DT_DIR)?;
            }
            rest = rest.get(length.max(1)..).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;
    use std::os::unix::fs::{symlink, MetadataExt, PermissionsExt};

    #[test]
    fn what_is_made_can_be_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let top = Dir::open(dir.path()).unwrap();
        top.make(b"a").unwrap();
        top.make(b"a").unwrap();
        let a = top.enter(b"a").unwrap();
        let time = Time {
            seconds: 1_000_000_000,
            nanoseconds: 5,
        };
        a.write(b"x", b"text", Some(time)).unwrap();
        a.link(b"ln", b"x").unwrap();
        let meta = fs::metadata(dir.path().join("a/x")).unwrap();
        assert_eq!((meta.mtime(), meta.mtime_nsec()), (1_000_000_000, 5));
        assert_eq!(meta.mode() & 0o111, 0);
        assert_eq!(a.read(b"x", 4).unwrap().unwrap(), b"text");
        assert!(a.read(b"x", 3).is_err());
        assert_eq!(a.read(b"ln", 4).unwrap(), None);
        assert_eq!(a.read(b"none", 4).unwrap(), None);
        assert_eq!(top.read(b"a", 4).unwrap(), None);
        let mut names = a.names().unwrap();
        names.sort();
        assert_eq!(names, [&b"ln"[..], b"x"]);
        let found = a.look(b"x").unwrap();
        assert_eq!((found.kind, found.size), (Kind::File, 4));
        assert_eq!(found.modified, time);
        assert_eq!(a.look(b"ln").unwrap().kind, Kind::Link);
        assert_eq!(top.look(b"a").unwrap().kind, Kind::Folder);
        assert!(a.look(b"none").is_err());
    }

    #[test]
    fn nothing_is_followed_or_replaced() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        symlink(other.path(), dir.path().join("ln")).unwrap();
        symlink(other.path().join("new"), dir.path().join("file")).unwrap();
        let fifo = CString::new(dir.path().join("fifo").as_os_str().as_bytes()).unwrap();
        // SAFETY: the string ends with NUL.
        check(unsafe { libc::mkfifo(fifo.as_ptr(), 0o600) }).unwrap();
        let top = Dir::open(dir.path()).unwrap();
        assert!(top.enter(b"ln").is_err());
        assert!(top.write(b"file", b"x", None).is_err());
        assert!(top.write(b"ln", b"x", None).is_err());
        assert_eq!(top.read(b"fifo", 9).unwrap(), None);
        for name in ["", ".", "..", "a/b", "/etc", "a\0b", &"x".repeat(256)] {
            assert!(top.write(name.as_bytes(), b"x", None).is_err(), "{name:?}");
            assert!(top.make(name.as_bytes()).is_err(), "{name:?}");
            assert!(top.remove(name.as_bytes()).is_err(), "{name:?}");
        }
        fs::write(other.path().join("kept"), "x").unwrap();
        top.remove(b"ln").unwrap();
        assert!(other.path().join("kept").exists() && !other.path().join("new").exists());
    }

    #[test]
    fn trees_are_removed_whatever_their_modes() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        let mut deep = tree.clone();
        for level in 0..200 {
            deep.push(format!("d{level}"));
        }
        fs::create_dir_all(&deep).unwrap();
        // Deeper than a stack or a table of descriptors could follow.
        let below = Dir::open(&deep).unwrap();
        (0..3_000).fold(below, |below, _| {
            below.make(b"d").unwrap();
            below.write(b"f", b"", None).unwrap();
            below.enter(b"d").unwrap()
        });
        for number in 0..600 {
            fs::write(tree.join(format!("a-file-with-a-long-name-{number}")), "x").unwrap();
        }
        for (name, mode) in [("shut", 0), ("read-only", 0o500), ("no-list", 0o300)] {
            fs::create_dir(tree.join(name)).unwrap();
            fs::write(tree.join(name).join("x"), "x").unwrap();
            fs::set_permissions(tree.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        let top = Dir::open(dir.path()).unwrap();
        top.remove(b"tree").unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        top.remove(b"tree").unwrap();
    }
}
