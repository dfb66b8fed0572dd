//! Becoming a daemon: giving up root, detaching, the pid file. To be used before the first thread exists.

#![allow(unsafe_code)] // fork, setuid and prctl are only to be had from libc.

use super::sys::check;
use fs2::FileExt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Whether we run with the rights of root.
pub fn is_root() -> bool {
    // SAFETY: these calls can't fail.
    unsafe { libc::getuid() == 0 || libc::geteuid() == 0 }
}

/// Somebody to run as.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    /// As in the list of users, or the number.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// Finds `name`, or a number or `UID:GID`, in the text of `/etc/passwd`.
pub fn account(passwd: &str, name: &str) -> Option<Account> {
    let found = |key: usize, wanted: &str| {
        passwd.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            if fields.get(key) != Some(&wanted) {
                return None;
            }
            Some(Account {
                name: fields.first()?.to_string(),
                uid: fields.get(2)?.parse().ok()?,
                gid: fields.get(3)?.parse().ok()?,
            })
        })
    };
    let numeric = || {
        let (uid, gid) = name.split_once(':').unwrap_or((name, name));
        Some(Account {
            name: name.to_owned(),
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
        })
    };
    found(0, name).or_else(|| found(2, name)).or_else(numeric)
}

/// Becomes `account` for good, all groups included.
pub fn become_account(account: &Account) -> io::Result<()> {
    // SAFETY: plain system calls; the list of groups has one entry.
    unsafe {
        check(libc::setgid(account.gid))?;
        check(libc::setgroups(1, &account.gid))?;
        check(libc::setuid(account.uid))?;
    }
    if is_root() {
        return Err(io::Error::other("still root afterwards"));
    }
    Ok(())
}

/// From here on no program that we start can gain rights, leaves a core file, or gets a descriptor that we were started
/// with, but for the standard ones.
pub fn renounce() {
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: plain system calls; a system without them is no worse than before.
    unsafe {
        // Who starts us may have his children reaped unseen; we are to see how ours end.
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::setrlimit(libc::RLIMIT_CORE, &none);
        let flags = libc::CLOSE_RANGE_CLOEXEC;
        if libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, flags) != 0 {
            for fd in all_but_standard() {
                libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
            }
        }
    }
}

/// All descriptors that may be open but the standard ones, for systems that can't do something with all at once.
fn all_but_standard() -> Vec<libc::c_int> {
    let Ok(listed) = fs::read_dir("/proc/self/fd") else {
        return (3..1024).collect(); // Those that there are as a rule.
    };
    let names = listed
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok());
    let numbers = names.filter_map(|name| name.parse().ok());
    numbers.filter(|number| *number > 2).collect()
}

/// Allows as many open descriptors as the system lets us have; returns how many that is.
pub fn raise_descriptor_limit() -> usize {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the structure is plain data that the calls fill or read.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) != 0 {
            return 1024;
        }
        let before = limit.rlim_cur;
        limit.rlim_cur = limit.rlim_max.min(65536);
        if limit.rlim_cur > before && libc::setrlimit(libc::RLIMIT_NOFILE, &limit) == 0 {
            return limit.rlim_cur as usize;
        }
        before as usize
    }
}

/// Lowers the priority by `increment`, as nice(1) does.
pub fn nice(increment: i32) -> io::Result<()> {
    // SAFETY: plain system calls. −1 may be a good answer of nice, so errno decides.
    unsafe {
        *libc::__errno_location() = 0;
        if libc::nice(increment) == -1 && *libc::__errno_location() != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Ends this process by SIGALRM after `seconds`; 0 disarms.
pub fn end_after(seconds: u32) {
    // SAFETY: alarm touches no memory.
    unsafe { libc::alarm(seconds) };
}

/// Of a detached daemon: the parent waits until it is told that all is well.
#[derive(Debug)]
pub struct Launcher(File);

/// Goes to the background. Only the child returns; the parent exits 0 when [`Launcher::ready`] is called, with
/// `announcement` on its standard output, and 100 if the child ends before.
pub fn detach(announcement: &str) -> io::Result<Launcher> {
    let launcher = background(announcement)?;
    // SAFETY: plain system call.
    check(unsafe { libc::setsid() })?;
    Ok(launcher)
}

/// Like [`detach`], but the child stays in the caller's session and process group.
pub fn background(announcement: &str) -> io::Result<Launcher> {
    let mut ends = [0; 2];
    // SAFETY: the array has room for both descriptors, which are then ours alone.
    let (mut read, write) = unsafe {
        check(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC))?;
        (File::from_raw_fd(ends[0]), File::from_raw_fd(ends[1]))
    };
    // SAFETY: no thread but this one exists yet, so the child may go on as it likes.
    if check(unsafe { libc::fork() })? == 0 {
        drop(read);
        return Ok(Launcher(write));
    }
    drop(write);
    let mut well = [0];
    let status = match read.read_exact(&mut well) {
        Ok(()) => {
            let mut stdout = io::stdout();
            let _ = stdout.write_all(announcement.as_bytes());
            let _ = stdout.flush();
            0
        }
        Err(_) => 100,
    };
    // SAFETY: ends this process without running what the child may need to run.
    unsafe { libc::_exit(status) }
}

impl Launcher {
    /// Lets the parent exit; all descriptors stay as they are.
    pub fn well(mut self) -> io::Result<()> {
        self.0.write_all(&[1])
    }

    /// Points stdin, stdout and (unless `keep_stderr`) stderr to `/dev/null` and lets the parent exit.
    pub fn ready(mut self, keep_stderr: bool) -> io::Result<()> {
        let null = File::options().read(true).write(true).open("/dev/null")?;
        let null = null.into_raw_fd();
        for fd in 0..if keep_stderr { 2 } else { 3 } {
            // SAFETY: replaces a standard descriptor, which no object of ours owns.
            check(unsafe { libc::dup2(null, fd) })?;
        }
        if null > 2 {
            // SAFETY: ours alone, and not one of the standard descriptors.
            drop(unsafe { OwnedFd::from_raw_fd(null) });
        }
        self.0.write_all(&[1])
    }
}

/// Leaves the caller's process group, so that its terminal's signals don't reach our children by surprise.
pub fn lead_group() -> io::Result<()> {
    // SAFETY: plain system calls. Who leads a session leads a group already.
    unsafe {
        if libc::getpgrp() != libc::getpid() {
            check(libc::setpgid(0, 0))?;
        }
    }
    Ok(())
}

/// Leaves the caller's session, so that nothing of its terminal reaches us, and closes all that we were started with but
/// for stdin, stdout and stderr: whoever waits for the end of a pipe must not wait for us. To be used before anything
/// is opened, by a process that leads no group.
pub fn leave_session() -> io::Result<()> {
    // SAFETY: plain system calls. No object of ours owns a descriptor yet.
    unsafe {
        close_all_but_standard();
        check(libc::setsid()).map(drop)
    }
}

/// Closes all but stdin, stdout and stderr.
///
/// # Safety
/// No object of ours that owns another is used or dropped after this.
pub unsafe fn close_all_but_standard() {
    // SAFETY: plain system calls.
    unsafe {
        if libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) != 0 {
            for fd in all_but_standard() {
                libc::close(fd);
            }
        }
    }
}

/// A file that holds our process id; removed when dropped.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    /// Locked as long as we live, so that two daemons don't share the file and one left from a crash is known as such.
    _locked: File,
}

impl PidFile {
    /// Writes this process's id, as a line. Fails with `WouldBlock` if a living daemon has the file.
    pub fn create(path: &Path) -> io::Result<PidFile> {
        let mut options = File::options();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        if let Err(err) = file.try_lock_exclusive() {
            let mut owner = String::new();
            let _ = (&file).take(20).read_to_string(&mut owner);
            let owner = owner.trim();
            return Err(io::Error::new(
                err.kind(),
                format!("process {owner} has it"),
            ));
        }
        file.set_len(0)?;
        file.write_all(format!("{}\n", std::process::id()).as_bytes())?;
        Ok(PidFile {
            path: path.to_owned(),
            _locked: file,
        })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let ours = format!("{}\n", std::process::id());
        if fs::read(&self.path).is_ok_and(|text| text == ours.as_bytes()) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn accounts_by_name_and_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\ndistccd:x:102:65534::/:/usr/sbin/nologin\n";
        let distccd = account(passwd, "distccd").unwrap();
        assert_eq!((distccd.uid, distccd.gid), (102, 65534));
        assert_eq!(account(passwd, "102").unwrap(), distccd);
        let number = account(passwd, "4000:50").unwrap();
        assert_eq!((number.uid, number.gid), (4000, 50));
        assert_eq!(account(passwd, "nosuch"), None);
    }

    #[test]
    fn what_is_open_is_listed() {
        let file = tempfile::tempfile().unwrap();
        let listed = all_but_standard();
        assert!(listed.contains(&file.as_raw_fd()) && !listed.iter().any(|fd| *fd < 3));
    }

    #[test]
    fn a_pid_file_has_one_living_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        fs::write(&path, "999999999 left from a crash\n").unwrap();
        let file = PidFile::create(&path).unwrap();
        let ours = format!("{}\n", std::process::id());
        assert_eq!(fs::read_to_string(&path).unwrap(), ours);
        let err = PidFile::create(&path).unwrap_err();
        assert_eq!(err.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(err.to_string(), format!("process {} has it", ours.trim()));
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn a_pid_file_that_is_no_longer_ours_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        let file = PidFile::create(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("{}\n", std::process::id()));
        drop(file);
        assert!(!path.exists());
        let file = PidFile::create(&path).unwrap();
        fs::write(&path, "1\n").unwrap();
        drop(file);
        assert!(path.exists());
    }
}
