//! Files as a compiler would have written them: whole or not at all, with the mode that the umask leaves.
//! Anonymous memory files for what a child says.

#![allow(unsafe_code)] // memfd_create, and realpath without an allocation, are only to be had from libc.

use super::cleanup::{remove_at_end, FileGuard};
use super::sys::check;
use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What becomes of an output that exists, by the program that a local compile would have written it with (tried: GNU
/// as 2.40, gcc 12, clang 14). What is no plain file, a device or a fifo, is written in place by all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Existing {
    /// GNU as: a file, or a link to one, gives way to a new file; but an empty file, or a link to nothing, is written.
    ReplaceFilled,
    /// gcc's compiler proper, which writes text: written through links; mode, owner and other names stay.
    Overwrite,
    /// LLVM, for all outputs: a file or a link gives way to a new file, if it may be written.
    Replace,
}

/// Opens a plain file to be read; `None` if it is something else, such as a pipe, which would keep us waiting.
pub fn open_plain(path: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = options.read(true).custom_flags(flags).open(path)?;
    let is_plain = file.metadata()?.is_file();
    Ok(is_plain.then_some(file))
}

/// Adds `line` to the end of `path`, which is made if need be, in one piece: others may do the same at the same time. What
/// would keep us waiting, such as a pipe that nobody reads, is an error; so is a file that has the size that the limit on
/// files allows, which would else be our end. For programs with one thread.
pub fn append_whole(path: &Path, line: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let mut file = options.custom_flags(flags).open(path)?;
    // SAFETY: signal takes any valid signal, and what it gave back.
    let before = unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    let written = file.write(line);
    // SAFETY: as above.
    unsafe { libc::signal(libc::SIGXFSZ, before) };
    match written? == line.len() {
        true => Ok(()),
        false => Err(io::Error::from(io::ErrorKind::WriteZero)),
    }
}

/// Writes `contents` as `path`, whole or not at all where `existing` leaves the choice.
pub fn write_output(path: &Path, contents: &[u8], existing: Existing) -> io::Result<()> {
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_symlink() => match fs::metadata(path) {
            Err(_) if existing != Existing::Replace => return write_in_place(path, contents),
            followed => followed,
        },
        found => found,
    };
    match meta {
        Ok(meta) if meta.is_dir() => Err(io::Error::from_raw_os_error(libc::EISDIR)),
        Ok(meta) if !meta.is_file() => write_in_place(path, contents),
        Ok(meta) => match existing {
            Existing::ReplaceFilled if meta.len() > 0 => {
                write_beside(path, contents, Old::Removed, None)
            }
            Existing::ReplaceFilled | Existing::Overwrite => overwrite(path, contents, &meta),
            Existing::Replace => {
                expect_writable(path)?;
                write_beside(path, contents, Old::Replaced, None)
            }
        },
        Err(_) => write_beside(path, contents, Old::Replaced, None),
    }
}

/// A rename asks for less than the writing of a local compile would: that much is asked for here.
fn expect_writable(path: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).open(path).map(drop)
}

/// The path without links, as `fs::canonicalize` gives it; but that has the C library allocate, which costs a client more than
/// the links.
pub fn real_path(path: &Path) -> io::Result<PathBuf> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut real = [0u8; libc::PATH_MAX as usize];
    // SAFETY: the path ends with NUL, and there is room for as long a one as there can be, with its NUL.
    let found = unsafe { libc::realpath(path.as_ptr(), real.as_mut_ptr().cast()) };
    if found.is_null() {
        return Err(io::Error::last_os_error());
    }
    let end = real.iter().position(|byte| *byte == 0);
    let bytes = real.get(..end.unwrap_or_default()).unwrap_or_default();
    Ok(PathBuf::from(OsStr::from_bytes(bytes)))
}

/// Gives the file that `path` leads to new contents; whoever can't tell from a new file gets one.
fn overwrite(path: &Path, contents: &[u8], meta: &fs::Metadata) -> io::Result<()> {
    // SAFETY: a system call without arguments that cannot fail.
    let me = unsafe { libc::geteuid() };
    if meta.nlink() > 1 || meta.uid() != me {
        return write_in_place(path, contents);
    }
    expect_writable(path)?;
    let path = fs::canonicalize(path)?;
    write_beside(&path, contents, Old::Replaced, Some(meta.permissions()))
}

fn write_in_place(path: &Path, contents: &[u8]) -> io::Result<()> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)?
        .write_all(contents)
}

/// How a file of the final name, if there is one, gives way.
#[derive(PartialEq, Eq)]
enum Old {
    /// The new file takes its name in one step.
    Replaced,
    /// It is removed when the new file is complete, as the assembler would. Then the file system does not take the
    /// renaming for a wish to have the contents on disk at once, which would be a tenth of a client's work.
    Removed,
}

/// Writes a file of another name in the same folder and renames it.
fn write_beside(
    path: &Path,
    contents: &[u8],
    old: Old,
    mode: Option<fs::Permissions>,
) -> io::Result<()> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::from_raw_os_error(libc::EISDIR))?;
    let (mut file, temporary, guard) = create_beside(path, name)?;
    file.write_all(contents)?;
    if let Some(mode) = mode {
        file.set_permissions(mode)?;
    }
    if old == Old::Removed {
        // If this fails, so does what follows, and says why.
        let _ = fs::remove_file(path);
    }
    fs::rename(&temporary, path)?;
    guard.keep();
    Ok(())
}

fn create_beside(path: &Path, name: &OsStr) -> io::Result<(File, PathBuf, FileGuard)> {
    let mut attempt = 0;
    loop {
        // The name is cut so that the longest one that a file system takes (255 bytes) still fits.
        let mut temporary = OsString::from(format!(".distcc-{}-{attempt}-", std::process::id()));
        if name.len() < 200 {
            temporary.push(name);
        }
        let temporary = path.with_file_name(temporary);
        // Before it is there, so that no signal comes between: nobody else gives a file this name.
        let guard = remove_at_end(&temporary)?;
        let opened = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o666)
            .open(&temporary);
        match opened {
            Ok(file) => return Ok((file, temporary, guard)),
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists && attempt < 100 => {
                guard.keep();
                attempt += 1;
            }
            Err(err) => return Err(err),
        }
    }
}

/// Makes a folder `PREFIX` + six letters in `parent` that nobody else has, and that nobody else may enter.
pub fn private_folder(parent: &Path, prefix: &str) -> io::Result<PathBuf> {
    let mut template = parent.join(prefix).into_os_string();
    template.push("XXXXXX");
    let template = CString::new(template.into_vec())?.into_raw();
    // SAFETY: the string ends with NUL, and mkdtemp writes over its last six letters only; it is taken back here.
    let (made, path) = unsafe {
        let made = !libc::mkdtemp(template).is_null();
        let err = io::Error::last_os_error();
        (made.then_some(()).ok_or(err), CString::from_raw(template))
    };
    made.map(|()| OsString::from_vec(path.into_bytes()).into())
}

/// What is known of the file behind `path` if it is one that can be run.
pub fn program(path: &Path) -> Option<fs::Metadata> {
    fs::metadata(path)
        .ok()
        .filter(|meta| meta.is_file() && meta.mode() & 0o111 != 0)
}

/// Whether there is a file that can be read again and again.
pub fn is_plain_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file())
}

/// What such a file holds; nothing of what can be read only once.
pub fn read_plain_file(path: &Path) -> Option<Vec<u8>> {
    is_plain_file(path).then(|| fs::read(path).ok()).flatten()
}

/// Whether we may list, enter and change a folder.
pub fn may_write(folder: &Path) -> bool {
    let rights = libc::R_OK | libc::W_OK | libc::X_OK;
    // SAFETY: the path ends with NUL.
    CString::new(folder.as_os_str().as_bytes())
        .is_ok_and(|path| unsafe { libc::access(path.as_ptr(), rights) } == 0)
}

/// A file in memory that can't be made shorter, closed on exec unless it is made a child's stdio.
pub fn memory_file() -> io::Result<File> {
    // SAFETY: the name ends with NUL; the new descriptor is ours alone.
    unsafe {
        let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
        let fd = check(libc::memfd_create(c"distcc".as_ptr(), flags))?;
        let file = File::from_raw_fd(fd);
        check(libc::fcntl(fd, libc::F_ADD_SEALS, libc::F_SEAL_SHRINK))?;
        Ok(file)
    }
}

/// A memory file for what a child writes through the descriptor that it inherits: a write beyond `bytes_max` fails, so that
/// nobody fills memory by talking. Read it with [`said`].
pub fn bounded_memory_file(bytes_max: u64) -> io::Result<File> {
    let file = memory_file()?;
    file.set_len(bytes_max)?;
    // SAFETY: plain system call.
    check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, libc::F_SEAL_GROW) })?;
    Ok(file)
}

/// What was written to a bounded memory file; its length says nothing, but the place where all writers stand does.
pub fn said(mut file: &File) -> io::Result<Vec<u8>> {
    let size = file.stream_position()?.min(file.metadata()?.len());
    let mut said = vec![0; usize::try_from(size).map_err(io::Error::other)?];
    file.read_exact_at(&mut said, 0)?;
    Ok(said)
}

/// The same file, to be read from its start by somebody who inherits it. Whoever reads moves the place for all.
pub fn from_start(file: &File) -> io::Result<File> {
    let mut again = file.try_clone()?;
    again.rewind()?;
    Ok(again)
}

/// Whether the name is one that a pattern of `fnmatch` means; `*` means slashes, too.
pub fn matches(pattern: &OsStr, name: &Path) -> bool {
    let text = |text: &OsStr| CString::new(text.as_bytes()).ok();
    match (text(pattern), text(name.as_os_str())) {
        // SAFETY: both strings end with NUL and live during the call.
        (Some(pattern), Some(name)) => unsafe {
            libc::fnmatch(pattern.as_ptr(), name.as_ptr(), 0) == 0
        },
        _ => false,
    }
}

/// All that a memory file holds.
pub fn memory_contents(file: &File) -> io::Result<Vec<u8>> {
    let size = file.metadata()?.len();
    let mut contents = vec![0; usize::try_from(size).map_err(io::Error::other)?];
    file.read_exact_at(&mut contents, 0)?;
    Ok(contents)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::{symlink, PermissionsExt};

    #[test]
    fn real_paths_are_those_of_the_standard_library() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("a file"), dir.path().join("link"));
        fs::write(&file, "").unwrap();
        symlink("../a file", dir.path().join("over")).unwrap();
        symlink("a file", &link).unwrap();
        symlink("loop", dir.path().join("loop")).unwrap();
        for path in [
            &file,
            &link,
            Path::new("/usr/../usr/bin/"),
            Path::new("."),
            Path::new("/"),
        ] {
            assert_eq!(real_path(path).unwrap(), fs::canonicalize(path).unwrap());
        }
        for path in ["missing", "loop", "over", "link/x"] {
            let path = dir.path().join(path);
            let (ours, other) = (
                real_path(&path).unwrap_err(),
                fs::canonicalize(&path).unwrap_err(),
            );
            assert_eq!(
                ours.raw_os_error(),
                other.raw_os_error(),
                "{}",
                path.display()
            );
        }
        assert!(real_path(Path::new("a\0b")).is_err());
        assert!(real_path(Path::new(&"x/".repeat(5000))).is_err());
    }

    #[test]
    fn replaces_files_and_links_like_an_assembler_or_like_llvm() {
        for existing in [Existing::ReplaceFilled, Existing::Replace] {
            let dir = tempfile::tempdir().unwrap();
            let (target, link) = (dir.path().join("target"), dir.path().join("link"));
            fs::write(&target, "old").unwrap();
            symlink(&target, &link).unwrap();
            write_output(&link, b"new", existing).unwrap();
            assert_eq!(fs::read(&target).unwrap(), b"old");
            assert_eq!(fs::read(&link).unwrap(), b"new");
            assert!(!link.is_symlink());
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);

            let (dangling, made) = (dir.path().join("dangling"), dir.path().join("made"));
            symlink(&made, &dangling).unwrap();
            write_output(&dangling, b"new", existing).unwrap();
            let through = existing == Existing::ReplaceFilled;
            assert_eq!((dangling.is_symlink(), made.exists()), (through, through));
            assert_eq!(fs::read(&dangling).unwrap(), b"new");

            let (empty, other) = (dir.path().join("empty"), dir.path().join("other"));
            fs::write(&empty, "").unwrap();
            fs::hard_link(&empty, &other).unwrap();
            write_output(&empty, b"new", existing).unwrap();
            assert_eq!(fs::read(&other).unwrap() == b"new", through);
        }
    }

    #[test]
    fn overwrites_text_through_links_and_keeps_the_mode() {
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("target"), dir.path().join("link"));
        fs::write(&target, "old").unwrap();
        fs::set_permissions(&target, fs::Permissions::from_mode(0o640)).unwrap();
        symlink(&target, &link).unwrap();
        write_output(&link, b"new", Existing::Overwrite).unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read(&target).unwrap(), b"new");
        assert_eq!(fs::metadata(&target).unwrap().mode() & 0o777, 0o640);
        let other = dir.path().join("other");
        fs::hard_link(&target, &other).unwrap();
        write_output(&target, b"newer", Existing::Overwrite).unwrap();
        assert_eq!(fs::read(&other).unwrap(), b"newer");
    }

    #[test]
    fn writes_devices_in_place_and_creates_no_folders() {
        write_output(Path::new("/dev/null"), b"x", Existing::Replace).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing/x.o");
        let err = write_output(&missing, b"x", Existing::Replace).unwrap_err();
        assert_eq!(err.kind(), io::ErrorKind::NotFound);
        assert!(!missing.parent().unwrap().exists());
    }

    #[test]
    fn a_private_folder_is_new_and_closed_to_others() {
        let dir = tempfile::tempdir().unwrap();
        let one = private_folder(dir.path(), "a b.").unwrap();
        let other = private_folder(dir.path(), "a b.").unwrap();
        assert_ne!(one, other);
        assert_eq!(fs::metadata(&one).unwrap().mode() & 0o7777, 0o700);
        assert_eq!(one.parent(), Some(dir.path()));
        assert!(private_folder(&dir.path().join("missing"), "x").is_err());
    }

    #[test]
    fn nobody_says_more_than_allowed() {
        let file = bounded_memory_file(4096).unwrap();
        let mut child = file.try_clone().unwrap();
        child.write_all(b"some").unwrap();
        assert_eq!(said(&file).unwrap(), b"some");
        assert!(child.write_all(&[7; 8192]).is_err());
        assert!(said(&file).unwrap().len() <= 4096);
    }

    #[test]
    fn patterns_are_those_of_the_shell_but_for_slashes() {
        let matches = |pattern: &str, name: &str| matches(OsStr::new(pattern), Path::new(name));
        assert!(matches("*.h", "a/b/config.h") && matches("[ab].?", "a.h"));
        assert!(!matches("*.h", "x.hh") && !matches("a", "b") && !matches("*\0", "x"));
    }

    #[test]
    fn a_memory_file_gives_back_what_was_written() {
        let mut file = memory_file().unwrap();
        assert!(memory_contents(&file).unwrap().is_empty());
        file.write_all(b"said").unwrap();
        assert_eq!(&*memory_contents(&file).unwrap(), b"said");
        assert!(file.set_len(0).is_err(), "it must not shrink");
    }
}
