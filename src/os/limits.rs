//! What a process may use at most, set by itself before it becomes a program that works for strangers; and that it is the
//! first to go when the machine runs out of memory.

#![allow(unsafe_code)] // setrlimit is only to be had from libc.

use super::sys::check;
use std::fs;
use std::io;

/// Limits of one process and of each that it starts; 0 stands for none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// Bytes of its address space.
    pub memory: u64,
    /// Bytes of a file that it writes.
    pub file: u64,
    /// Files that it has open.
    pub open_files: u64,
    /// Seconds of processor time.
    pub cpu_seconds: u64,
    /// Processes and threads of its user: in a user namespace, those that are in it.
    pub processes: u64,
}

/// Signals that wait, and timers, of a user: in a user namespace, those that are in it.
const SIGNALS_MAX: u64 = 256;

/// Sets them, and what no compiler needs: memory images when it crashes, queues of messages, to go before others. What is
/// lower already stays so.
pub fn set(limits: &Limits) -> io::Result<()> {
    for what in [
        libc::RLIMIT_CORE,
        libc::RLIMIT_MSGQUEUE,
        libc::RLIMIT_NICE,
        libc::RLIMIT_RTPRIO,
    ] {
        set_one(what, 0)?;
    }
    set_one(libc::RLIMIT_SIGPENDING, SIGNALS_MAX)?;
    for (what, limit) in [
        (libc::RLIMIT_AS, limits.memory),
        (libc::RLIMIT_FSIZE, limits.file),
        (libc::RLIMIT_NOFILE, limits.open_files),
        (libc::RLIMIT_CPU, limits.cpu_seconds),
        (libc::RLIMIT_NPROC, limits.processes),
    ] {
        if limit > 0 {
            set_one(what, limit)?;
        }
    }
    Ok(())
}

#[cfg(target_env = "gnu")]
type Resource = libc::__rlimit_resource_t;
#[cfg(not(target_env = "gnu"))]
type Resource = libc::c_int;

fn set_one(what: Resource, limit: u64) -> io::Result<()> {
    let mut now = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the structure lives during the calls, which fill and read it.
    unsafe {
        check(libc::getrlimit(what, &mut now))?;
        now.rlim_max = now.rlim_max.min(limit);
        now.rlim_cur = now.rlim_cur.min(now.rlim_max);
        check(libc::setrlimit(what, &now)).map(drop)
    }
}

/// Lets the system choose this process, and those that it starts, before any other when it is out of memory. Without
/// `/proc` all are alike.
pub fn go_first() {
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
}

/// Memory of this machine in bytes; 0 if it does not say.
pub fn machine_memory() -> u64 {
    // SAFETY: questions about constants of the system.
    let (pages, bytes) = unsafe {
        (
            libc::sysconf(libc::_SC_PHYS_PAGES),
            libc::sysconf(libc::_SC_PAGESIZE),
        )
    };
    let pages = u64::try_from(pages).unwrap_or(0);
    pages.saturating_mul(u64::try_from(bytes).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_memory() {
        assert!(machine_memory() > 1 << 20);
    }
}
