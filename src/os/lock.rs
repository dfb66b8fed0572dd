//! Locks on files, released by `Drop`. They are record locks of the open file description, so they conflict with the
//! POSIX record locks of stock's clients, hold between threads, and do not vanish when the file is opened elsewhere.

#![allow(unsafe_code)] // Record locks and timers are only to be had from libc.

use super::sys::check;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// A lock that is held: on a whole file, or on one byte of it.
#[derive(Debug)]
pub struct FileLock {
    file: File,
    range: Range,
}

/// What came of asking for a lock.
#[derive(Debug)]
pub enum Attempt {
    /// It is ours now.
    Held(FileLock),
    /// Somebody else has it.
    Busy,
}

/// Which bytes of the file are locked; a length of 0 means all.
#[derive(Clone, Copy, Debug)]
struct Range {
    start: i64,
    len: i64,
}

const WHOLE_FILE: Range = Range { start: 0, len: 0 };

/// Locks the whole of `path`, which is made if need be, without waiting. The descriptor is closed on exec.
pub fn try_lock(path: &Path) -> io::Result<Attempt> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    match set(&file, libc::F_OFD_SETLK, libc::F_WRLCK, WHOLE_FILE) {
        Ok(()) => Ok(Attempt::Held(FileLock {
            file,
            range: WHOLE_FILE,
        })),
        Err(err) if is_busy(&err) => Ok(Attempt::Busy),
        Err(err) => Err(err),
    }
}

/// Whether somebody has a lock on `path`, found out without making or writing the file: those who watch it for
/// released locks see nothing of this. A file that isn't there is not locked.
pub fn is_locked(path: &Path) -> io::Result<bool> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(err) => return Err(err),
    };
    is_held(&file)
}

/// The same of an open file.
pub fn is_held(file: &File) -> io::Result<bool> {
    let mut question = record(libc::F_WRLCK, WHOLE_FILE);
    // SAFETY: fcntl fills the structure, which lives across the call.
    check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &mut question) })?;
    Ok(i32::from(question.l_type) != libc::F_UNLCK)
}

/// Locks the one byte at `at` of `path`, which is made if need be, and waits for it. Each time that `tick` has gone by
/// `while_waiting` is called; what it returns ends the waiting without the lock.
pub fn lock_byte<T>(
    path: &Path,
    at: u32,
    tick: Duration,
    mut while_waiting: impl FnMut() -> Option<T>,
) -> io::Result<Result<FileLock, T>> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    let range = Range {
        start: i64::from(at),
        len: 1,
    };
    match set(&file, libc::F_OFD_SETLK, libc::F_WRLCK, range) {
        Err(err) if is_busy(&err) => {}
        other => return other.map(|()| Ok(FileLock { file, range })),
    }
    let _alarm = Alarm::every(tick)?;
    loop {
        match set(&file, libc::F_OFD_SETLKW, libc::F_WRLCK, range) {
            Ok(()) => return Ok(Ok(FileLock { file, range })),
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {
                if let Some(found) = while_waiting() {
                    return Ok(Err(found));
                }
            }
            Err(err) => return Err(err),
        }
    }
}

/// Which single bytes of `path` are locked or waited for as [`lock_byte`] does, and by how many each, as far as the kernel
/// tells; nobody hears of this question. It names files by number, not by file system: another one's is hardly ever meant.
pub fn bytes_claimed(path: &Path) -> io::Result<BTreeMap<u32, usize>> {
    let meta = match fs::metadata(path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        other => other?,
    };
    Ok(claims(&fs::read_to_string("/proc/locks")?, meta.ino()))
}

/// Lines are `1: OFDLCK ADVISORY WRITE -1 fe:00:INODE START END`, with `->` before the kind for one who waits.
fn claims(table: &str, inode: u64) -> BTreeMap<u32, usize> {
    let mut claims = BTreeMap::new();
    let inode = inode.to_string();
    for line in table.lines().filter(|line| line.contains("OFDLCK")) {
        let mut words = line.split_ascii_whitespace().rev();
        let (Some(end), Some(start), Some(file)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        let is_this = file.rsplit(':').next() == Some(&inode);
        if let (true, Ok(byte)) = (is_this && start == end, start.parse()) {
            *claims.entry(byte).or_default() += 1;
        }
    }
    claims
}

impl FileLock {
    /// The number of the descriptor, for messages.
    pub fn descriptor(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

impl Drop for FileLock {
    /// Unlocks before the file is closed: who hears of the closing must find the lock gone.
    fn drop(&mut self) {
        // That this should fail has no remedy; closing the file unlocks it too.
        let _ = set(&self.file, libc::F_OFD_SETLK, libc::F_UNLCK, self.range);
    }
}

/// POSIX lets a system say either.
fn is_busy(err: &io::Error) -> bool {
    matches!(err.raw_os_error(), Some(libc::EAGAIN | libc::EACCES))
}

fn record(kind: libc::c_int, range: Range) -> libc::flock {
    // SAFETY: flock is plain data; zeroes are a value of it, and the one that l_pid must have.
    let mut record: libc::flock = unsafe { std::mem::zeroed() };
    record.l_type = kind as libc::c_short;
    record.l_whence = libc::SEEK_SET as libc::c_short;
    record.l_start = range.start;
    record.l_len = range.len;
    record
}

fn set(file: &File, command: libc::c_int, kind: libc::c_int, range: Range) -> io::Result<()> {
    let record = record(kind, range);
    // SAFETY: fcntl only reads the structure, which lives across the call.
    check(unsafe { libc::fcntl(file.as_raw_fd(), command, &record) }).map(drop)
}

/// Interrupts the system calls of this thread, again and again while it lives.
struct Alarm(libc::timer_t);

impl Alarm {
    fn every(tick: Duration) -> io::Result<Alarm> {
        extern "C" fn nothing(_: libc::c_int) {}
        // SAFETY: all structures are plain data, which the calls read or fill; the handler does nothing, and without
        // SA_RESTART its coming ends a blocked call.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = nothing as *const () as libc::sighandler_t;
            check(libc::sigaction(
                libc::SIGALRM,
                &action,
                std::ptr::null_mut(),
            ))?;
            let mut event: libc::sigevent = std::mem::zeroed();
            event.sigev_notify = libc::SIGEV_THREAD_ID;
            event.sigev_signo = libc::SIGALRM;
            event.sigev_notify_thread_id = libc::gettid();
            let mut timer: libc::timer_t = std::mem::zeroed();
            check(libc::timer_create(
                libc::CLOCK_MONOTONIC,
                &mut event,
                &mut timer,
            ))?;
            let alarm = Alarm(timer);
            let value = libc::timespec {
                tv_sec: tick.as_secs() as _,
                tv_nsec: tick.subsec_nanos() as libc::c_long,
            };
            let times = libc::itimerspec {
                it_interval: value,
                it_value: value,
            };
            check(libc::timer_settime(
                alarm.0,
                0,
                &times,
                std::ptr::null_mut(),
            ))?;
            Ok(alarm)
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        // SAFETY: the timer is ours and deleted once. The handler stays: a last signal may be on its way.
        unsafe { libc::timer_delete(self.0) };
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::mpsc;

    fn held(path: &Path) -> FileLock {
        match try_lock(path).unwrap() {
            Attempt::Held(lock) => lock,
            Attempt::Busy => panic!("{} is locked", path.display()),
        }
    }

    #[test]
    fn a_lock_excludes_others_until_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("slot");
        assert!(!is_locked(&path).unwrap());
        assert!(!path.exists());
        let lock = held(&path);
        assert!(matches!(try_lock(&path).unwrap(), Attempt::Busy));
        assert!(is_locked(&path).unwrap());
        drop(lock);
        assert!(!is_locked(&path).unwrap());
        held(&path);
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_no_busy_one() {
        assert!(try_lock(Path::new("/nowhere/slot")).is_err());
        let dir = tempfile::tempdir().unwrap();
        assert!(try_lock(dir.path()).is_err());
    }

    #[test]
    fn the_kernels_table_is_read_with_care() {
        let table = "1: FLOCK  ADVISORY  WRITE 18963 fe:00:77 0 EOF\n\
            3: OFDLCK ADVISORY  WRITE -1 fe:00:77 5 5\n\
            3: -> OFDLCK ADVISORY  WRITE -1 fe:00:77 5 5\n\
            4: OFDLCK ADVISORY  WRITE -1 fe:00:177 5 5\n\
            5: OFDLCK ADVISORY  WRITE -1 fe:00:77 0 EOF\n\
            6: OFDLCK ADVISORY  WRITE -1 fe:00:77 4294967296 4294967296\nOFDLCK\n";
        assert_eq!(claims(table, 77), BTreeMap::from([(5, 2)]));
        assert_eq!(claims("", 77), BTreeMap::new());
    }

    #[test]
    fn waiting_ends_when_there_is_something_better() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("line");
        let hour = Duration::from_secs(3600);
        let _held = lock_byte(&path, 7, hour, || None::<()>).unwrap().unwrap();
        let mut ticks = 0;
        let tick = Duration::from_millis(5);
        let end = lock_byte(&path, 7, tick, || {
            ticks += 1;
            (ticks == 3).then_some("enough")
        });
        assert_eq!(end.unwrap().unwrap_err(), "enough");
    }

    #[test]
    fn a_byte_is_waited_for_and_others_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("line");
        let hour = Duration::from_secs(3600);
        let first = lock_byte(&path, 7, hour, || None::<()>).unwrap().unwrap();
        let _other = lock_byte(&path, 8, hour, || None::<()>).unwrap().unwrap();
        let (sender, receiver) = mpsc::channel();
        let waiting = std::thread::spawn(move || {
            let lock = lock_byte(&path, 7, hour, || None::<()>).unwrap().unwrap();
            sender.send(()).unwrap();
            drop(lock);
        });
        assert!(receiver.recv_timeout(Duration::from_millis(50)).is_err());
        let claimed = bytes_claimed(&dir.path().join("line")).unwrap();
        assert_eq!(claimed, BTreeMap::from([(7, 2), (8, 1)]));
        drop(first);
        receiver.recv().unwrap();
        waiting.join().unwrap();
        let nothing = bytes_claimed(&dir.path().join("none")).unwrap();
        assert_eq!(nothing, BTreeMap::new());
    }
}
