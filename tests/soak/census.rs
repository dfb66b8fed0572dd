//! What a daemon and all that it has started hold at a quiet moment.

use super::common::{files_below, Daemon};
use std::fmt;
use std::fs;
use std::time::{Duration, Instant};

/// How long the daemon may take to become quiet.
const PATIENCE: Duration = Duration::from_secs(30);

/// The numbers.
#[derive(Clone, Copy, Debug)]
pub struct Census {
    /// Memory, what is shared counted in parts.
    pub memory_kb: u64,
    /// Open files.
    pub descriptors: usize,
    /// Processes.
    pub processes: usize,
    /// File systems that it sees mounted.
    pub mounts: usize,
    /// Files in its folder for temporary ones.
    pub files: usize,
}

impl Census {
    /// Waits until no job's parts are left, at most for [`PATIENCE`], and counts: until nothing is more than it was at `first`,
    /// or, without that, until nothing changes.
    pub fn take(daemon: &Daemon, first: Option<&Census>) -> Census {
        let begun = Instant::now();
        let mut before = Census::count(daemon);
        loop {
            std::thread::sleep(Duration::from_millis(250));
            let now = Census::count(daemon);
            let is_quiet = match first {
                Some(first) => now.within(first),
                None => now.within(&before) && before.within(&now),
            };
            if is_quiet || begun.elapsed() > PATIENCE {
                return now;
            }
            before = now;
        }
    }

    fn count(daemon: &Daemon) -> Census {
        let family = family(daemon.pid());
        Census {
            memory_kb: family.iter().map(|pid| memory_kb(*pid)).sum(),
            descriptors: family.iter().map(|pid| entries(*pid, "fd")).sum(),
            processes: family.len(),
            mounts: lines(daemon.pid(), "mountinfo"),
            files: files_below(&daemon.tmp).len(),
        }
    }

    fn within(&self, other: &Census) -> bool {
        self.descriptors <= other.descriptors
            && self.processes <= other.processes
            && self.files <= other.files
    }
}

impl fmt::Display for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Census {
            memory_kb,
            descriptors,
            processes,
            mounts,
            files,
        } = self;
        let megabytes = *memory_kb as f64 / 1024.0;
        write!(
            f,
            "{megabytes:.1} MB | {descriptors} | {processes} | {mounts} | {files}"
        )
    }
}

/// A process and all that descend from it.
fn family(pid: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let parents: Vec<(u32, u32)> = pids
        .filter_map(|pid: u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let (_, rest) = stat.rsplit_once(')')?;
            Some((pid, rest.split_whitespace().nth(1)?.parse().ok()?))
        })
        .collect();
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        let children = parents.iter().filter(|(_, of)| *of == parent);
        found.extend(children.map(|(pid, _)| pid));
        next += 1;
    }
    found
}

/// Memory of a process; of one whose details are not ours to see, all that is there for it.
fn memory_kb(pid: u32) -> u64 {
    let number = |file: &str, name: &str| -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    number("smaps_rollup", "Pss:")
        .or_else(|| number("status", "VmRSS:"))
        .unwrap_or(0)
}

fn entries(pid: u32, folder: &str) -> usize {
    fs::read_dir(format!("/proc/{pid}/{folder}")).map_or(0, Iterator::count)
}

fn lines(pid: u32, file: &str) -> usize {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}"));
    text.map_or(0, |text| text.lines().count())
}
