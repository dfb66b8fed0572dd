//! Running a program for somebody else: in a process group of its own, of which nothing outlives the job.
//! Started by `posix_spawn`, so that the cost does not grow with our memory.

#![allow(unsafe_code)] // pidfd_open and kill are only to be had from libc.

use super::net::{wait_any, Event};
use super::sys::check;
use crate::model::wait_status::WaitStatus;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// A child that leads a process group. Dropped before it was waited for, the whole group is killed.
#[derive(Debug)]
pub struct Group {
    child: Child,
    ended: OwnedFd,
    reaped: bool,
}

impl Group {
    /// Starts `command` as leader of a new group. Give the program's path, not a name to be searched in PATH:
    /// std would have to fork for that.
    pub fn spawn(command: &mut Command) -> io::Result<Group> {
        let child = command.process_group(0).spawn()?;
        match end_of(&child) {
            Ok(ended) => Ok(Group {
                child,
                ended,
                reaped: false,
            }),
            Err(err) => {
                let mut child = child;
                signal_group(child.id(), libc::SIGKILL);
                let _ = child.wait();
                Err(err)
            }
        }
    }

    /// The leader's process id, which is also the group's.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Readable when the leader has ended.
    pub fn ended(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }

    /// Waits for the leader, kills what is left of its group, and says how the leader ended.
    pub fn wait(mut self) -> io::Result<WaitStatus> {
        wait_any([(self.ended(), Event::Read)], None)?;
        self.reap()
    }

    /// Ends the group: asks with SIGTERM, and after `grace` no longer asks.
    pub fn terminate(mut self, grace: Duration) -> io::Result<WaitStatus> {
        signal_group(self.id(), libc::SIGTERM);
        wait_any([(self.ended(), Event::Read)], Some(Instant::now() + grace))?;
        self.reap()
    }

    /// While the leader is unreaped its number can't belong to another group: so the rest is killed first.
    fn reap(&mut self) -> io::Result<WaitStatus> {
        signal_group(self.id(), libc::SIGKILL);
        self.reaped = true;
        Ok(WaitStatus(self.child.wait()?.into_raw() as u32))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.reaped {
            let _ = self.reap();
        }
    }
}

fn signal_group(leader: u32, signal: libc::c_int) {
    // SAFETY: kill touches no memory. The leader is our unreaped child, so the group is the one that it made.
    unsafe { libc::kill(-(leader as libc::pid_t), signal) };
}

/// A descriptor that is readable when a child that was not yet waited for has ended.
pub fn end_of(child: &Child) -> io::Result<OwnedFd> {
    process_descriptor(child.id())
}

/// A descriptor that is readable when the process of this number has ended.
pub fn process_descriptor(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: plain system call. A number that is nobody's is an error.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) } as i32)?;
    // SAFETY: the system gave us this descriptor, and nobody else has it; it is closed on exec.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sends SIGTERM, or SIGKILL if `outright`, to the process behind a descriptor; that it may have ended is no fault.
pub fn end_process(process: BorrowedFd, outright: bool) {
    let signal = if outright {
        libc::SIGKILL
    } else {
        libc::SIGTERM
    };
    let none = std::ptr::null::<libc::siginfo_t>();
    let fd = process.as_raw_fd();
    // SAFETY: without a record the kernel makes one up, as for kill.
    unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, none, 0) };
}

/// Whether a file that may be run could not be, because it is neither a program nor names one that runs it.
pub fn is_no_program(err: &io::Error) -> bool {
    err.raw_os_error() == Some(libc::ENOEXEC)
}

/// A descriptor that we were started with, by its number; closed on exec from now on. To be asked for once.
pub fn inherited(fd: i32) -> io::Result<OwnedFd> {
    // SAFETY: the calls fail for a number that is not open. The caller answers for nobody else having it; a standard
    // descriptor stays, and its copy is taken.
    unsafe {
        if (0..=2).contains(&fd) {
            let copy = check(libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3))?;
            return Ok(OwnedFd::from_raw_fd(copy));
        }
        check(libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// Lets programs that are started from now on inherit a descriptor. Start one that shall not have it before.
pub fn let_inherit(fd: BorrowedFd) -> io::Result<()> {
    // SAFETY: plain system call; the descriptor has no other flag than the one that closes it on exec.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, 0) }).map(drop)
}

/// The user whose rights this process has.
pub fn user_id() -> u32 {
    // SAFETY: a system call without arguments that cannot fail.
    unsafe { libc::geteuid() }
}

/// Processor time of a process and of its ended children.
#[derive(Clone, Copy, Default, Debug)]
pub struct Spent {
    /// By this process, in its own code and in the system.
    pub own: [Duration; 2],
    /// By its children, likewise.
    pub children: [Duration; 2],
}

/// Processor time that the calling thread has spent.
pub fn thread_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the structure lives during the call. Linux has this clock, so it cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// What this process has spent so far.
pub fn spent() -> Spent {
    let of = |who| {
        // SAFETY: the structure is plain data that getrusage fills; it stays zero if the call fails.
        let usage: libc::rusage = unsafe {
            let mut usage = std::mem::zeroed();
            libc::getrusage(who, &mut usage);
            usage
        };
        [usage.ru_utime, usage.ru_stime].map(|time| {
            let micros = i128::from(time.tv_sec) * 1_000_000 + i128::from(time.tv_usec);
            Duration::from_micros(micros.try_into().unwrap_or(0))
        })
    };
    Spent {
        own: of(libc::RUSAGE_SELF),
        children: of(libc::RUSAGE_CHILDREN),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn says_how_it_ended() {
        let ended = Group::spawn(&mut shell("exit 3")).unwrap().wait().unwrap();
        assert_eq!(ended, WaitStatus::exited(3));
        let killed = Group::spawn(&mut shell("kill -SEGV $$")).unwrap().wait();
        assert_eq!(killed.unwrap().signal(), Some(11));
    }

    #[test]
    fn nothing_of_the_group_stays_behind() {
        let script = "sleep 600 & trap '' TERM; echo ready; while :; do sleep 600; done";
        let mut command = shell(script);
        let mut group = Group::spawn(command.stdout(Stdio::piped())).unwrap();
        let mut said = BufReader::new(group.child.stdout.take().unwrap());
        said.read_line(&mut String::new()).unwrap();
        let status = group.terminate(Duration::from_millis(20)).unwrap();
        assert_eq!(status.signal(), Some(9));
        // Both sleepers held the pipe: its end is their end.
        assert_eq!(said.read_line(&mut String::new()).unwrap(), 0);
    }
}
