//! Exclusive locks on whole files, released when the file is closed, so also when the process is killed. Two kinds:
//! `fcntl` locks, which stock clients heed, and `flock`, for files that are ours alone.

#![allow(unsafe_code)] // Open-file-description locks and timers are only to be had from libc.

use super::sys::check;
use fs2::FileExt;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

/// Tries to lock a file that is open for writing. `false`: somebody else has it.
///
/// The lock belongs to this open file, not to the process: closing another descriptor of the same file doesn't lose
/// it, and it conflicts with the record locks that stock takes.
pub fn try_lock(file: &File) -> io::Result<bool> {
    match file_lock(file, libc::F_OFD_SETLK) {
        Ok(_) => Ok(true),
        Err(err) if is_busy(&err) => Ok(false),
        Err(err) => Err(err),
    }
}

/// Whether nobody has locked the file. It may be open for reading only.
pub fn is_free(file: &File) -> io::Result<bool> {
    file_lock(file, libc::F_OFD_GETLK).map(|found| found == libc::F_UNLCK as libc::c_short)
}

fn file_lock(file: &File, command: libc::c_int) -> io::Result<libc::c_short> {
    // SAFETY: a flock is plain data for which zeros are valid; the kernel reads and writes only this one.
    unsafe {
        let mut lock: libc::flock = std::mem::zeroed();
        lock.l_type = libc::F_WRLCK as libc::c_short;
        lock.l_whence = libc::SEEK_SET as libc::c_short;
        check(libc::fcntl(file.as_raw_fd(), command, &mut lock))?;
        Ok(lock.l_type)
    }
}

fn is_busy(err: &io::Error) -> bool {
    matches!(err.raw_os_error(), Some(libc::EAGAIN | libc::EACCES))
}

/// Waits for a file that is ours alone, for a limited time. `false`: somebody else still has it.
pub fn queue_for(file: &File, time_max: Duration) -> io::Result<bool> {
    match file.try_lock_exclusive() {
        Ok(()) => return Ok(true),
        Err(err) if err.kind() == io::ErrorKind::WouldBlock => {}
        Err(err) => return Err(err),
    }
    let _alarm = Alarm::after(time_max)?;
    match file.lock_exclusive() {
        Ok(()) => Ok(true),
        Err(err) if err.kind() == io::ErrorKind::Interrupted => Ok(false),
        Err(err) => Err(err),
    }
}

/// Interrupts the system calls of this thread, again and again until dropped.
struct Alarm(libc::timer_t);

impl Alarm {
    fn after(time: Duration) -> io::Result<Alarm> {
        // SAFETY: all structures are plain data, which the calls read or fill; the handler does nothing, and without
        // SA_RESTART its coming ends a blocked call.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_alarm as *const () as libc::sighandler_t;
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
                tv_sec: time.as_secs() as libc::time_t,
                tv_nsec: libc::c_long::from(time.subsec_nanos().max(1) as i32),
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
        // SAFETY: the timer is ours and deleted once.
        unsafe { libc::timer_delete(self.0) };
    }
}

extern "C" fn on_alarm(_: libc::c_int) {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn one_open_file_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let open = || {
            File::options()
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .unwrap()
        };
        let (first, second, reader) = (open(), open(), File::open(&path).unwrap());
        assert!(is_free(&reader).unwrap());
        assert!(try_lock(&first).unwrap());
        assert!(!try_lock(&second).unwrap());
        assert!(!is_free(&reader).unwrap());
        drop(reader);
        assert!(
            !try_lock(&second).unwrap(),
            "closing another descriptor must not unlock"
        );
        drop(first);
        assert!(try_lock(&second).unwrap());
    }

    #[test]
    fn a_queue_is_left_when_time_is_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("queue");
        let (first, second) = (File::create(&path).unwrap(), File::create(&path).unwrap());
        assert!(queue_for(&first, Duration::from_secs(1)).unwrap());
        assert!(!queue_for(&second, Duration::from_millis(5)).unwrap());
        drop(first);
        assert!(queue_for(&second, Duration::from_secs(1)).unwrap());
    }
}
