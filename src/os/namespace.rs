//! Namespaces of one's own, of users, mounts and processes: what is needed to show a program another file tree than the
//! system's, and no process but its own. For a process with a single thread; nothing here can be undone.

#![allow(unsafe_code)] // unshare, mount and their kin are only to be had from libc.

use super::sys::check;
use std::ffi::{CStr, CString, OsStr};
use std::fs::{self, File};
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
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

/// Shows as `to` what `upper` and `lower` hold; what is written goes to `upper`. `work` is an empty folder beside it.
pub fn merge(lower: &OwnedFd, upper: &OwnedFd, work: &OwnedFd, to: &Path) -> io::Result<()> {
    let [lower, upper, work] = [lower, upper, work].map(AsRawFd::as_raw_fd);
    // By descriptor, since paths with commas and colons would mean something else.
    let options = format!(
        "userxattr,lowerdir=/proc/self/fd/{lower},upperdir=/proc/self/fd/{upper},workdir=/proc/self/fd/{work}"
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
fn attach(path: &CStr, seal: Seal) -> io::Result<()> {
    const RECURSIVE: libc::c_int = 0x8000;
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
            libc::AT_FDCWD,
            path.as_ptr(),
            RECURSIVE,
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
    // SAFETY: replaces a standard descriptor, which no object of ours owns.
    check(unsafe { libc::dup2(null.as_raw_fd(), 0) }).map(drop)
}

/// Becomes another program, with our environment and no way to gain rights. Returns only if that fails.
pub fn become_program(program: &Path, words: &[Vec<u8>]) -> io::Error {
    fn begin(program: &Path, words: &[Vec<u8>]) -> io::Result<()> {
        let program = c_path(program)?;
        let words: Vec<CString> = words
            .iter()
            .map(|word| CString::new(word.as_slice()))
            .collect::<Result<_, _>>()?;
        let mut pointers: Vec<*const libc::c_char> =
            words.iter().map(|word| word.as_ptr()).collect();
        pointers.push(std::ptr::null());
        // SAFETY: a signal's usual effect is a valid handler; exec reads lists of strings that end with NUL and null.
        unsafe {
            check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
            libc::signal(libc::SIGPIPE, libc::SIG_DFL);
            libc::execv(program.as_ptr(), pointers.as_ptr());
        }
        Err(io::Error::last_os_error())
    }
    begin(program, words)
        .err()
        .unwrap_or_else(|| io::ErrorKind::Other.into())
}

fn c_path(path: &Path) -> io::Result<CString> {
    let path: &OsStr = path.as_os_str();
    Ok(CString::new(path.as_bytes())?)
}
