//! The lines of a trace put in order: which builds there are, and in which lane each client is drawn so that no two that ran
//! at the same time share one. Of each client three numbers are kept, so that large files fit in memory.

use crate::model::trace::{Entry, LINE_BYTES_MAX};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, BufRead, Read};
use std::ops::Range;
use std::time::Duration;

/// All clients of a file, in its order.
#[derive(Debug, Default)]
pub struct Index {
    /// The builds, by time.
    pub builds: Vec<Build>,
    /// For each client its lane, from 0.
    pub lanes: Vec<u32>,
    /// How many lines are none, and were passed over.
    pub damaged: u64,
}

/// A time in which some client ran, or none for less than the gap between two builds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Build {
    /// From the first client's start to the last one's end, in µs after 1970 began.
    pub time: Range<u64>,
    /// How many clients there were.
    pub clients: u64,
}

impl Index {
    /// Reads all lines. A build ends where no client runs for `gap`.
    pub fn read(file: impl BufRead, gap: Duration) -> io::Result<Index> {
        let mut times = Vec::new();
        let damaged = entries(file, |entry| {
            times.push((entry.at, entry.end()));
            Ok(())
        })?;
        let mut order: Vec<usize> = (0..times.len()).collect();
        order.sort_by_key(|index| times[*index]);
        let sorted = || order.iter().map(|index| times[*index]);
        let gap = u64::try_from(gap.as_micros()).unwrap_or(u64::MAX);
        let mut lanes = vec![0; times.len()];
        for (index, lane) in order.iter().zip(lanes_of(sorted())) {
            lanes[*index] = lane;
        }
        Ok(Index {
            builds: builds_of(sorted(), gap),
            lanes,
            damaged,
        })
    }

    /// Which build a client belongs to that began at `at`.
    pub fn build_at(&self, at: u64) -> usize {
        let later = |build: &Build| build.time.start <= at;
        self.builds.partition_point(later).saturating_sub(1)
    }
}

/// Calls `take` with each entry; returns how many lines are none. A line that is too long is passed over without being kept.
pub fn entries(
    mut file: impl BufRead,
    mut take: impl FnMut(Entry) -> io::Result<()>,
) -> io::Result<u64> {
    let (mut line, mut damaged) = (Vec::new(), 0);
    loop {
        line.clear();
        let most = LINE_BYTES_MAX as u64;
        if file.by_ref().take(most).read_until(b'\n', &mut line)? == 0 {
            return Ok(damaged);
        }
        match Entry::parse(&line) {
            Some(entry) => take(entry)?,
            None => damaged += 1,
        }
        if line.len() == LINE_BYTES_MAX && line.last() != Some(&b'\n') {
            skip_line(&mut file)?;
        }
    }
}

/// Passes over the rest of a line, and its end.
fn skip_line(file: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffer = file.fill_buf()?;
        let (length, is_end) = match buffer.iter().position(|byte| *byte == b'\n') {
            Some(end) => (end + 1, true),
            None => (buffer.len(), buffer.is_empty()),
        };
        file.consume(length);
        if is_end {
            return Ok(());
        }
    }
}

fn builds_of(sorted: impl Iterator<Item = (u64, u64)>, gap: u64) -> Vec<Build> {
    let mut builds: Vec<Build> = Vec::new();
    for (at, end) in sorted {
        match builds.last_mut() {
            Some(build) if at <= build.time.end.saturating_add(gap) => {
                build.time.end = build.time.end.max(end);
                build.clients += 1;
            }
            _ => builds.push(Build {
                time: at..end,
                clients: 1,
            }),
        }
    }
    builds
}

/// Each gets the lowest lane that is free when it begins.
fn lanes_of(sorted: impl Iterator<Item = (u64, u64)>) -> Vec<u32> {
    let mut busy: BinaryHeap<Reverse<(u64, u32)>> = BinaryHeap::new();
    let mut free: BinaryHeap<Reverse<u32>> = BinaryHeap::new();
    let mut count = 0;
    let mut lanes = Vec::new();
    for (at, end) in sorted {
        while let Some(Reverse((until, lane))) = busy.peek().copied() {
            if until > at {
                break;
            }
            busy.pop();
            free.push(Reverse(lane));
        }
        let lane = match free.pop() {
            Some(Reverse(lane)) => lane,
            None => {
                count += 1;
                count - 1
            }
        };
        busy.push(Reverse((end, lane)));
        lanes.push(lane);
    }
    lanes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn lines(times: &[(u64, u64)]) -> Vec<u8> {
        let lines = times.iter().map(|(at, us)| {
            let (at, us) = (*at, *us);
            let entry = Entry {
                at,
                us,
                ..Entry::default()
            };
            entry.line()
        });
        lines.collect::<Vec<_>>().concat()
    }

    #[test]
    fn a_gap_parts_builds_and_no_two_share_a_lane() {
        // In the order of their ends, as clients write them.
        let file = lines(&[(10, 5), (0, 30), (20, 20), (40, 1), (5000, 10), (4990, 30)]);
        let index = Index::read(&file[..], Duration::from_micros(100)).unwrap();
        let builds: Vec<_> = index
            .builds
            .iter()
            .map(|b| (b.time.clone(), b.clients))
            .collect();
        assert_eq!(builds, [(0..41, 4), (4990..5020, 2)]);
        assert_eq!(index.lanes, [1, 0, 1, 0, 1, 0]);
        for (at, build) in [(0, 0), (41, 0), (4990, 1), (5000, 1)] {
            assert_eq!(index.build_at(at), build);
        }
        let index = Index::read(&file[..], Duration::from_secs(1)).unwrap();
        assert_eq!(index.builds.len(), 1);
        assert_eq!(Index::read(&b""[..], Duration::ZERO).unwrap().builds, []);
    }

    #[test]
    fn damaged_lines_are_counted_and_cost_no_memory() {
        let good = lines(&[(1, 1)]);
        let long = [b'x'; 3 * LINE_BYTES_MAX + 7];
        let cut = &good[..good.len() / 2];
        let file = [&good[..], &long, b"\n\xff\n\n", &good, cut].concat();
        let mut found = 0;
        let damaged = entries(&file[..], |_| {
            found += 1;
            Ok(())
        });
        assert_eq!((damaged.unwrap(), found), (4, 2));
    }
}
