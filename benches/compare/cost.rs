//! What processes cost: CPU time of children that have ended, and of processes that still run.

use std::fs;
use std::time::Duration;

/// CPU time, user and system, of all children that have been waited for, with theirs.
#[allow(unsafe_code)] // The standard library has no getrusage.
pub fn of_children() -> Duration {
    // SAFETY: the structure is plain data that getrusage fills.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage), 0);
        usage
    };
    let span = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec as u64) + Duration::from_micros(time.tv_usec as u64)
    };
    span(usage.ru_utime) + span(usage.ru_stime)
}

/// Page faults of all children that have been waited for, with theirs.
#[allow(dead_code)] // Only one of the benchmarks asks.
#[allow(unsafe_code)] // The standard library has no getrusage.
pub fn faults_of_children() -> u64 {
    // SAFETY: the structure is plain data that getrusage fills.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage), 0);
        usage
    };
    (usage.ru_minflt + usage.ru_majflt) as u64
}

/// CPU time of a running process and its descendants so far, with those that have ended, in steps of 10 ms for each.
#[allow(dead_code)] // Not all benchmarks ask.
pub fn of_tree(pid: u32) -> Duration {
    let ticks: u64 = tree(pid).iter().map(|(_, ticks)| ticks).sum();
    Duration::from_millis(ticks * 10) // 100 ticks a second on every Linux that Rust runs on.
}

/// Memory of a running process and its descendants in KiB, each page's share of it.
#[allow(dead_code)] // Only one of the benchmarks asks.
pub fn memory_of_tree(pid: u32) -> u64 {
    let memory = |pid: &u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let line = text.lines().find(|line| line.starts_with("Pss:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    tree(pid).iter().filter_map(|(pid, _)| memory(pid)).sum()
}

/// A process and its descendants, each with its ticks.
fn tree(pid: u32) -> Vec<(u32, u64)> {
    let processes: Vec<(u32, u32, u64)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| stat(entry.file_name().to_str()?.parse().ok()?))
        .collect();
    let mut tree = vec![pid];
    let mut at = 0;
    while let Some(parent) = tree.get(at).copied() {
        let children = processes.iter().filter(|(_, of, _)| *of == parent);
        tree.extend(children.map(|(child, _, _)| child));
        at += 1;
    }
    let ours = processes.iter().filter(|(pid, _, _)| tree.contains(pid));
    ours.map(|(pid, _, ticks)| (*pid, *ticks)).collect()
}

/// Parent, and ticks with those of children that were waited for.
fn stat(pid: u32) -> Option<(u32, u32, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
    let parent = fields.get(1)?.parse().ok()?;
    let ticks = fields
        .get(11..15)?
        .iter()
        .map(|field| field.parse::<u64>().unwrap_or_default())
        .sum();
    Some((pid, parent, ticks))
}

/// CPU time of one process's main thread so far, exactly.
#[allow(dead_code)] // Only one of the benchmarks asks.
pub fn of_running(pid: u32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
    Duration::from_nanos(
        text.split(' ')
            .next()
            .and_then(|field| field.parse().ok())
            .unwrap_or_default(),
    )
}

/// CPU time of a running process so far with all its threads, also those that have ended, exactly.
#[allow(dead_code)] // Only one of the benchmarks asks.
#[allow(unsafe_code)] // The standard library does not know this clock.
pub fn of_process(pid: u32) -> Duration {
    let mut clock = 0;
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: both calls only write to the variable that they are given.
    unsafe {
        assert_eq!(libc::clock_getcpuclockid(pid as i32, &raw mut clock), 0);
        assert_eq!(libc::clock_gettime(clock, &raw mut time), 0);
    }
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// CPU time of a process's children that have ended and been waited for, in steps of 10 ms.
#[allow(dead_code)] // Only one of the benchmarks asks.
pub fn of_ended_children(pid: u32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = text.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let fields: Vec<&str> = fields.split(' ').collect();
    let ticks = fields.get(13..15).unwrap_or_default().iter();
    let ticks: u64 = ticks
        .map(|field| field.parse::<u64>().unwrap_or_default())
        .sum();
    Duration::from_millis(ticks * 10)
}
