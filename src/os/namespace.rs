//! Namespaces of one's own, of users, mounts and processes: what is needed to show a program another file tree than the
//! system's, and no process but its own. For a process with a single thread; nothing here can be undone.

#![allow(unsafe_code)] // unshare, mount and their kin are only to be had from libc.

use super::sys::check;
use std::ffi::{CStr, CString, OsStr};
use std::fs::{self, File};
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What programs may not do with what is mounted; each is one of the system's attributes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seal {
    /// Read it, but change nothing, and gain no rights by it.
    ReadOnly,
    /// Use the device that it is, and nothing else.
    Device,
    /// Read and write it, but run and load nothing from it.
    Data,
    /// Read and write it, but gain no rights by it.
    Plain,
}

impl Seal {
    fn attributes(self) -> u64 {
        const READ_ONLY: u64 = 0x1;
        const NO_SETUID: u64 = 0x2;
        const NO_DEVICES: u64 = 0x4;
        const NO_PROGRAMS: u64 = 0x8;
        NO_SETUID
            | match self {
                Seal::ReadOnly => READ_ONLY | NO_DEVICES,
                Seal::Device => NO_PROGRAMS,
                Seal::Data => NO_DEVICES | NO_PROGRAMS,
                Seal::Plain => NO_DEVICES,
            }
    }
}

/// Leaves the system's namespaces of users and mounts, and our children that of processes. We stay who we are, but may mount;
/// the rights to that end with the next exec.
pub fn leave() -> io::Result<()> {
    // SAFETY: these calls can't fail, and touch no memory.
    let (user, group) = unsafe { (libc::geteuid(), libc::getegid()) };
    // SAFETY: touches no memory; this process has no other thread.
    check(unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID) })?;
    // Without privileges groups can be mapped only by who can't change his list of them.
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("{group} {group} 1"))?;
    let all = libc::MS_REC | libc::MS_PRIVATE;
    mount(None, c"/", None, all, None)
}

/// Leaves the namespace of queues, semaphores and shared memory that outlive their makers: from here on there are none, and
/// those that are made go with the last process that sees them. A system without such namespaces leaves all as it is.
pub fn leave_what_outlives() {
    // SAFETY: touches no memory.
    unsafe { libc::unshare(libc::CLONE_NEWIPC) };
}

/// Mounts a file system in memory, for at most so many bytes and files.
pub fn mount_memory(to: &Path, bytes_max: u64, files_max: u64) -> io::Result<()> {
    let options = format!("mode=700,size={bytes_max},nr_inodes={files_max}");
    let (to, options) = (c_path(to)?, CString::new(options)?);
    let memory = Some(c"tmpfs");
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    mount(memory, &to, memory, flags, Some(&options))
}

/// Shows `from`, with all that is mounted in it, also as `to`.
pub fn bind(from: &Path, to: &Path, seal: Seal) -> io::Result<()> {
    let (from, to) = (c_path(from)?, c_path(to)?);
    mount(Some(&from), &to, None, libc::MS_BIND | libc::MS_REC, None)?;
    attach(&to, seal)
}

/// Shows `from`, with all that is mounted in it, also as `to`, with the seals that it has there.
pub fn bind_as_it_is(from: &Path, to: &Path) -> io::Result<()> {
    let (from, to) = (c_path(from)?, c_path(to)?);
    mount(Some(&from), &to, None, libc::MS_BIND | libc::MS_REC, None)
}

/// A file system in memory, for at most so many bytes and files, that is nowhere yet: an open folder.
pub fn memory_folder(bytes_max: u64, files_max: u64) -> io::Result<OwnedFd> {
    const STRING: libc::c_uint = 1;
    const CREATE: libc::c_uint = 6;
    const CLOSE_ON_EXEC: libc::c_uint = 1;
    let set = |context: &OwnedFd, key: &CStr, value: &str| {
        let value = CString::new(value)?;
        let context = context.as_raw_fd();
        // SAFETY: both strings end with NUL.
        let set = unsafe {
            let (key, value) = (key.as_ptr(), value.as_ptr());
            libc::syscall(libc::SYS_fsconfig, context, STRING, key, value, 0) as libc::c_int
        };
        check(set)
    };
    // SAFETY: the name ends with NUL; the descriptor is new and ours alone.
    let context = unsafe {
        let fd = libc::syscall(libc::SYS_fsopen, c"tmpfs".as_ptr(), CLOSE_ON_EXEC);
        OwnedFd::from_raw_fd(check(fd as libc::c_int)?)
    };
    set(&context, c"mode", "700")?;
    set(&context, c"size", &bytes_max.to_string())?;
    set(&context, c"nr_inodes", &files_max.to_string())?;
    // What is large is so in large pages, each of which costs a fifth of its small ones; not every kernel has them.
    let _ = set(&context, c"huge", "within_size");
    // SAFETY: a command without a key and a value; then a descriptor that is new and ours alone.
    unsafe {
        let none = std::ptr::null::<libc::c_char>();
        let context = context.as_raw_fd();
        let made = libc::syscall(libc::SYS_fsconfig, context, CREATE, none, none, 0);
        check(made as libc::c_int)?;
        let seals = Seal::Data.attributes();
        let fd = libc::syscall(libc::SYS_fsmount, context, CLOSE_ON_EXEC, seals);
        Ok(OwnedFd::from_raw_fd(check(fd as libc::c_int)?))
    }
}

/// The same of a folder on disk, with all that is mounted in it, as long as that can be reached.
pub fn take_folder(folder: &Path) -> io::Result<OwnedFd> {
    const CLONE: libc::c_int = 1;
    const RECURSIVE: libc::c_int = 0x8000;
    let folder = c_path(folder)?;
    let flags = CLONE | RECURSIVE | libc::O_CLOEXEC;
    // SAFETY: the path ends with NUL; the descriptor is new and ours alone.
    let taken = unsafe {
        let fd = libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, folder.as_ptr(), flags);
        OwnedFd::from_raw_fd(check(fd as libc::c_int)?)
    };
    seal(taken.as_raw_fd(), c"", EMPTY_PATH | RECURSIVE, Seal::Data)?;
    Ok(taken)
}

/// Mounts such a folder.
pub fn mount_folder(folder: BorrowedFd, to: &Path) -> io::Result<()> {
    const FROM_EMPTY_PATH: libc::c_uint = 0x4;
    let (to, empty) = (c_path(to)?, c"");
    // SAFETY: both strings end with NUL.
    let mounted = unsafe {
        let (from, to) = (
            (folder.as_raw_fd(), empty.as_ptr()),
            (libc::AT_FDCWD, to.as_ptr()),
        );
        libc::syscall(
            libc::SYS_move_mount,
            from.0,
            from.1,
            to.0,
            to.1,
            FROM_EMPTY_PATH,
        )
    };
    check(mounted as libc::c_int).map(drop)
}

/// Takes away what is mounted there, and in it; who has it open still has it.
pub fn unmount(path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    // SAFETY: the path ends with NUL.
    check(unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH | libc::UMOUNT_NOFOLLOW) })
        .map(drop)
}

/// From here on nothing can be changed in the file system that is our root, but for what is mounted in it.
pub fn seal_root() -> io::Result<()> {
    seal(libc::AT_FDCWD, c"/", 0, Seal::ReadOnly)
}

/// Makes a folder the root of this process alone. One without rights can't leave it, if it has nothing else open.
pub fn change_root(path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    // SAFETY: the path ends with NUL.
    check(unsafe { libc::chroot(path.as_ptr()) })?;
    std::env::set_current_dir("/")
}

/// Nobody of our user may look into this process, or write to it.
pub fn hide() {
    // SAFETY: touches no memory. Without it a filter of calls still says no.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
}

/// Shows as `to` what `upper` and `lower` hold; what is written goes to `upper`. `work` is an empty folder beside it. To be
/// called in `/proc`, wherever that is.
pub fn merge(lower: &OwnedFd, upper: &OwnedFd, work: &OwnedFd, to: &Path) -> io::Result<()> {
    let [lower, upper, work] = [lower, upper, work].map(AsRawFd::as_raw_fd);
    // By descriptor, since paths with commas and colons would mean something else.
    let options = format!(
        "userxattr,lowerdir=self/fd/{lower},upperdir=self/fd/{upper},workdir=self/fd/{work}"
    );
    let (to, options) = (c_path(to)?, CString::new(options)?);
    let overlay = Some(c"overlay");
    mount(overlay, &to, overlay, 0, Some(&options))?;
    attach(&to, Seal::Plain)
}

fn mount(
    from: Option<&CStr>,
    to: &CStr,
    kind: Option<&CStr>,
    flags: libc::c_ulong,
    options: Option<&CStr>,
) -> io::Result<()> {
    let pointer = |text: Option<&CStr>| text.map_or(std::ptr::null(), CStr::as_ptr);
    // SAFETY: all pointers are null or strings that end with NUL.
    let result = unsafe {
        libc::mount(
            pointer(from),
            to.as_ptr(),
            pointer(kind),
            flags,
            pointer(options).cast(),
        )
    };
    check(result).map(drop)
}

/// The system's `struct mount_attr`.
#[repr(C)]
struct Attributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// Takes rights from what is mounted, also from what is mounted in it.
fn attach(path: &CStr, seals: Seal) -> io::Result<()> {
    const RECURSIVE: libc::c_int = 0x8000;
    seal(libc::AT_FDCWD, path, RECURSIVE, seals)
}

/// The path may be empty: then the descriptor itself is meant.
const EMPTY_PATH: libc::c_int = 0x1000;

fn seal(at: libc::c_int, path: &CStr, flags: libc::c_int, seal: Seal) -> io::Result<()> {
    let attributes = Attributes {
        set: seal.attributes(),
        clear: 0,
        propagation: 0,
        user_namespace: 0,
    };
    // SAFETY: the path ends with NUL; the structure is the system's, and has the length that is said.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            at,
            path.as_ptr(),
            flags,
            &raw const attributes,
            size_of::<Attributes>(),
        )
    };
    check(result as libc::c_int).map(drop)
}

/// Makes `path`, where something must be mounted, the root; nothing else of the system can be reached any more.
pub fn become_root(path: &Path) -> io::Result<()> {
    std::env::set_current_dir(path)?;
    // SAFETY: the strings end with NUL. The old root is put over the new one, and then taken away with all it holds.
    unsafe {
        check(libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) as libc::c_int)?;
        check(libc::umount2(c".".as_ptr(), libc::MNT_DETACH))?;
    }
    std::env::set_current_dir("/")
}

/// Makes an open folder the working directory, wherever it is.
pub fn enter(folder: BorrowedFd) -> io::Result<()> {
    // SAFETY: touches no memory.
    check(unsafe { libc::fchdir(folder.as_raw_fd()) }).map(drop)
}

/// This process ends when the one does that started it, in whatever way.
pub fn end_with_parent() {
    // SAFETY: touches no memory. Without it we are no worse off.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) };
}

/// Makes `/dev/null` the standard input.
pub fn close_stdin() -> io::Result<()> {
    let null = File::open("/dev/null")?;
    replace_standard(0, null.as_fd())
}

/// Makes descriptors standard input, standard output and standard error.
pub fn speak_to(stdin: BorrowedFd, stdout: BorrowedFd, stderr: BorrowedFd) -> io::Result<()> {
    replace_standard(0, stdin)?;
    replace_standard(1, stdout)?;
    replace_standard(2, stderr)
}

fn replace_standard(number: libc::c_int, by: BorrowedFd) -> io::Result<()> {
    // SAFETY: replaces a standard descriptor, which no object of ours owns.
    check(unsafe { libc::dup2(by.as_raw_fd(), number) }).map(drop)
}

/// A program that is to be begun, with all that it is given.
#[derive(Debug)]
pub struct Program {
    path: CString,
    words: Strings,
    environment: Strings,
}

/// Strings, and the list of pointers to them that ends with null.
#[derive(Debug)]
struct Strings {
    pointers: Vec<*const libc::c_char>,
    _strings: Vec<CString>,
}

impl Strings {
    fn new(texts: &[Vec<u8>]) -> io::Result<Strings> {
        let strings = texts.iter().map(|text| CString::new(text.as_slice()));
        let strings: Vec<CString> = strings.collect::<Result<_, _>>()?;
        let pointers = strings.iter().map(|text| text.as_ptr());
        Ok(Strings {
            pointers: pointers.chain([std::ptr::null()]).collect(),
            _strings: strings,
        })
    }
}

impl Program {
    /// A program by its path, with its words, the first of which is its name, and its environment, as `NAME=value`.
    pub fn new(path: &Path, words: &[Vec<u8>], environment: &[Vec<u8>]) -> io::Result<Program> {
        Ok(Program {
            path: c_path(path)?,
            words: Strings::new(words)?,
            environment: Strings::new(environment)?,
        })
    }

    /// Becomes it, with none of the rights that we may have been given, and no way to gain any. Returns only if that fails, and
    /// asks for no memory.
    pub fn begin(&self) -> io::Error {
        // SAFETY: a signal's usual effect is a valid handler; exec reads lists of strings that end with NUL and null.
        let prepared = unsafe {
            libc::signal(libc::SIGPIPE, libc::SIG_DFL);
            // A system that knows no rights that pass on to programs passes none on.
            let all = libc::PR_CAP_AMBIENT_CLEAR_ALL;
            libc::prctl(libc::PR_CAP_AMBIENT, all, 0, 0, 0);
            check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        };
        if let Err(err) = prepared {
            return err;
        }
        let (words, environment) = (&self.words.pointers, &self.environment.pointers);
        // SAFETY: as above.
        unsafe { libc::execve(self.path.as_ptr(), words.as_ptr(), environment.as_ptr()) };
        io::Error::last_os_error()
    }
}

fn c_path(path: &Path) -> io::Result<CString> {
    let path: &OsStr = path.as_os_str();
    Ok(CString::new(path.as_bytes())?)
}
