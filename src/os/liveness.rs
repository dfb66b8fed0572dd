//! Whether a process of which only the number is known still lives, and since when. Numbers are used again, so a
//! process that is there need not be the one that was meant; its age tells.

#![allow(unsafe_code)] // kill, clock_gettime and sysconf are only to be had from libc.

use super::sys::check;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// What a process number stands for now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Life {
    /// Nobody, or one that has ended and only waits to be noticed by its parent.
    Gone,
    /// A process that began so long ago, rounded down to the system's ticks (1/100 s as a rule).
    Began(Duration),
    /// A process of which we may not know more.
    Hidden,
}

/// What tells a living process from all others, also from later ones of its number, and where it comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kin {
    /// Its number.
    pub pid: u32,
    /// The number of its parent, 0 if that is not to be seen from here.
    pub parent: u32,
    /// The number of its session.
    pub session: u32,
    /// When it began, in the system's ticks after the machine's start.
    pub birth: u64,
}

/// Looks a living process up; nothing if it has ended, or may not be looked at.
pub fn kin(pid: u32) -> Option<Kin> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    let Begin::Ticks(birth) = begin(&stat)? else {
        return None;
    };
    let (_, rest) = stat.rsplit_once(')')?;
    // After the state: parent, process group, session.
    let mut fields = rest.split_ascii_whitespace().skip(1);
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    Some(Kin {
        pid,
        parent,
        session,
        birth,
    })
}

/// All living processes that can be seen.
pub fn all() -> impl Iterator<Item = Kin> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| kin(entry.file_name().to_str()?.parse().ok()?))
}

/// Whether a process may have children: all may, of which the system does not tell.
pub fn may_have_children(proc: &Path, pid: u32) -> bool {
    let Ok(threads) = fs::read_dir(proc.join(format!("{pid}/task"))) else {
        return true;
    };
    threads
        .flatten()
        .any(|thread| match fs::read(thread.path().join("children")) {
            Ok(list) => !list.is_empty(),
            Err(_) => true,
        })
}

/// How many processes and threads a process group has, in a table of processes, which is `/proc` as a rule.
pub fn group_size(proc: &Path, group: u32) -> usize {
    members(proc, group).map(|(_, threads)| threads).sum()
}

/// The processes of a group, and how many threads each has.
pub fn members(proc: &Path, group: u32) -> impl Iterator<Item = (u32, usize)> {
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    entries.filter_map(move |entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read(entry.path().join("stat")).ok()?;
        let threads = threads_in(&String::from_utf8_lossy(&stat), group)?;
        Some((pid, threads))
    })
}

/// The threads of a process if it belongs to that group.
fn threads_in(stat: &str, group: u32) -> Option<usize> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(2);
    let is_in = fields.next()?.parse() == Ok(group);
    is_in.then(|| fields.nth(14)?.parse().ok())?
}

/// Looks a process up.
pub fn life(pid: u32) -> Life {
    let Some(signed) = i32::try_from(pid).ok().filter(|pid| *pid > 0) else {
        return Life::Gone;
    };
    match fs::read(format!("/proc/{pid}/stat")) {
        Ok(stat) => match begin(&String::from_utf8_lossy(&stat)) {
            Some(Begin::Ended) => Life::Gone,
            Some(Begin::Ticks(ticks)) => Life::Began(since_boot().saturating_sub(span(ticks))),
            None => Life::Hidden,
        },
        // SAFETY: signal 0 only asks whether there is such a process.
        Err(_) => match check(unsafe { libc::kill(signed, 0) }) {
            Err(err) if err.raw_os_error() == Some(libc::ESRCH) => Life::Gone,
            _ => Life::Hidden,
        },
    }
}

enum Begin {
    Ended,
    /// After the machine's start.
    Ticks(u64),
}

/// Reads a line of `/proc/PID/stat`: number, name in brackets that may hold anything, state, … and as 22nd the begin.
fn begin(stat: &str) -> Option<Begin> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    match fields.next()? {
        "Z" | "X" => Some(Begin::Ended),
        _ => fields.nth(18)?.parse().ok().map(Begin::Ticks),
    }
}

fn span(ticks: u64) -> Duration {
    // SAFETY: a question about a constant of the system.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    let per_second = u64::try_from(per_second).unwrap_or(100).max(1);
    Duration::from_millis(ticks.saturating_mul(1000) / per_second)
}

fn since_boot() -> Duration {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the structure lives during the call. Linux has this clock, so it cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut now) };
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    #[test]
    fn who_is_not_seen_may_have_children() {
        let proc = tempfile::tempdir().unwrap();
        assert!(may_have_children(proc.path(), 10));
        let thread = proc.path().join("10/task/10");
        fs::create_dir_all(&thread).unwrap();
        assert!(may_have_children(proc.path(), 10));
        fs::write(thread.join("children"), "").unwrap();
        assert!(!may_have_children(proc.path(), 10));
        fs::write(thread.join("children"), "11 ").unwrap();
        assert!(may_have_children(proc.path(), 10));
    }

    #[test]
    fn a_child_lives_until_it_has_ended() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let Life::Began(ago) = life(child.id()) else {
            panic!("it is there");
        };
        assert!(ago < Duration::from_secs(3600), "{ago:?}");
        child.kill().unwrap();
        // Not yet waited for, so the number is still its own.
        while life(child.id()) != Life::Gone {
            std::thread::sleep(Duration::from_millis(1));
        }
        child.wait().unwrap();
        assert_eq!(life(child.id()), Life::Gone);
    }

    #[test]
    fn a_child_is_its_parents_kin() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let me = kin(std::process::id()).unwrap();
        let found = kin(child.id()).unwrap();
        assert_eq!((found.parent, found.session), (me.pid, me.session));
        assert!(found.birth >= me.birth);
        assert!(all().any(|process| process == found));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(kin(child.id()), None);
    }

    #[test]
    fn a_group_is_counted_with_its_threads() {
        let mut child = Command::new("sleep");
        let mut child = child.arg("60").process_group(0).spawn().unwrap();
        let proc = Path::new("/proc");
        assert_eq!(group_size(proc, child.id()), 1);
        assert!(may_have_children(proc, std::process::id()));
        let tells = proc.join("self/task").join(std::process::id().to_string());
        if tells.join("children").exists() {
            assert!(!may_have_children(proc, child.id()));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(group_size(proc, child.id()), 0);
        let line = "7 (a) Z b) R 1 5 3 4 5 6 7 8 9 10 11 12 13 14 15 16 19 18 4711 20";
        assert_eq!((threads_in(line, 5), threads_in(line, 6)), (Some(19), None));
    }

    #[test]
    fn numbers_that_are_none() {
        for pid in [0, u32::MAX, i32::MAX as u32 + 1] {
            assert_eq!(life(pid), Life::Gone);
        }
        assert!(begin("7 (x) y) S 1 2 3").is_none());
        let line = "7 (a) Z b) R 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert!(matches!(begin(line), Some(Begin::Ticks(4711))));
    }
}
