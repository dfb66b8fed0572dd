//! What is seen of the farm, as words: the lines that the screen and the plain output share, and the plain output, a block of
//! lines for each look.

use super::monitor;
use super::top_limit::{limit, time};
use super::top_sample::{HostNow, Job, Sample};
use std::fmt::Write as _;
use std::time::Duration;

/// In which order jobs are shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Order {
    /// By host and slot.
    #[default]
    Slot,
    /// The longest first.
    Age,
    /// By the source's name.
    File,
}

impl Order {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Order::Slot => "host",
            Order::Age => "time",
            Order::File => "file",
        }
    }

    /// The one after it.
    pub fn next(self) -> Order {
        match self {
            Order::Slot => Order::Age,
            Order::Age => Order::File,
            Order::File => Order::Slot,
        }
    }
}

/// A line below the head.
#[derive(Clone, Copy, Debug)]
pub enum Line<'s> {
    /// A host, above its jobs.
    Host(&'s HostNow),
    /// A job, with its host.
    Job(&'s HostNow, &'s Job),
    /// So many slots of the host are taken by clients that are at something else, such as preprocessing.
    Held(&'s HostNow, usize),
}

/// All lines in this order. Hosts stand above their jobs, or first, if jobs are not sorted by host.
pub fn lines(sample: &Sample, order: Order) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    for host in &sample.hosts {
        lines.push(Line::Host(host));
        if order == Order::Slot {
            lines.extend(jobs(host));
            lines.extend(held(host));
        }
    }
    if order != Order::Slot {
        let mut rest: Vec<Line> = sample.hosts.iter().flat_map(jobs).collect();
        rest.sort_by(|one, other| match (one, other) {
            (Line::Job(_, one), Line::Job(_, other)) if order == Order::Age => {
                elapsed(other).cmp(&elapsed(one))
            }
            (Line::Job(_, one), Line::Job(_, other)) => one.file.cmp(&other.file),
            _ => std::cmp::Ordering::Equal,
        });
        lines.extend(rest);
        lines.extend(sample.hosts.iter().flat_map(held));
    }
    lines
}

fn jobs(host: &HostNow) -> impl Iterator<Item = Line<'_>> {
    let mut jobs: Vec<&Job> = host.jobs.iter().collect();
    jobs.sort_by_key(|job| job.slot);
    jobs.into_iter().map(move |job| Line::Job(host, job))
}

fn held(host: &HostNow) -> Option<Line<'_>> {
    let is_shown = |slot: &&usize| host.jobs.iter().any(|job| job.slot == **slot);
    let count = host.taken.iter().filter(|slot| !is_shown(slot)).count();
    (count > 0).then_some(Line::Held(host, count))
}

/// How long a job's client has run, or done the same, if that is all that is known.
pub fn elapsed(job: &Job) -> Duration {
    job.age.unwrap_or(job.since).max(job.since)
}

/// What a host is at: how many of its slots are taken, or why none can be.
pub fn state(host: &HostNow) -> String {
    match (host.shunned, host.is_down, host.slots) {
        (_, true, _) => "not to be used (,down)".to_owned(),
        (Some(rest), _, slots) => {
            let (taken, rest) = (host.taken.len(), rest.as_secs() + 1);
            format!("{taken} of {slots} slots; failed, left alone for {rest} s")
        }
        (None, _, 0) => format!("{} jobs; not in this host list", host.jobs.len()),
        (None, _, slots) => format!("{} of {slots} slots", host.taken.len()),
    }
}

/// What a job's client does there.
pub fn phase(job: &Job) -> &'static str {
    monitor::name(job.phase)
}

/// How much there is of everything, in one line.
pub fn totals(sample: &Sample) -> String {
    let elsewhere = sample.hosts.iter().filter(|host| !host.is_here);
    let (taken, slots) = elsewhere.fold((0, 0), |(taken, slots), host| {
        (taken + host.taken.len(), slots + host.slots)
    });
    let here = sample.hosts.iter().find(|host| host.is_here);
    let (here, own) = here.map_or((0, 0), |host| (host.taken.len(), host.slots));
    let waiting = sample.waiting.all();
    format!("slots elsewhere {taken} of {slots}, here {here} of {own}; {waiting} wait")
}

/// How much has finished a second, in one line.
pub fn rates(sample: &Sample) -> String {
    let [short, long] = sample.finished.rates;
    format!("{short:.1}/s in 10 s, {long:.1}/s in 1 min")
}

/// One look as plain lines, with an empty one at its end. What has finished is only known if there was one before.
pub fn block(sample: &Sample, is_only: bool) -> String {
    let mut text = totals(sample);
    if !is_only {
        let count = sample.finished.count;
        let _ = write!(text, "; {count} finished; {}", rates(sample));
    }
    text.push('\n');
    let _ = writeln!(text, "limit: {}", limit(sample));
    for line in lines(sample, Order::Slot) {
        let _ = match line {
            Line::Host(host) => writeln!(text, "{}: {}", host.name, state(host)),
            Line::Job(_, job) => writeln!(
                text,
                "  [{}] {:<10}  {}  {}, {} in all, process {}",
                job.slot,
                phase(job),
                job.file,
                time(job.since),
                time(elapsed(job)),
                job.pid
            ),
            Line::Held(_, count) => writeln!(text, "  {count} more: their clients are busy here"),
        };
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::farm::state::Phase;
    use crate::tools::top_sample::{Finished, Waiting};

    /// A farm of three hosts, in which all that can be shown happens.
    pub fn sample() -> Sample {
        let job = |pid, slot, phase, file: &str, ms| Job {
            pid,
            slot,
            phase,
            file: file.to_owned(),
            since: Duration::from_millis(ms),
            age: Some(Duration::from_millis(2 * ms)),
        };
        let host = |name: &str, slots, taken: &[usize], jobs: Vec<Job>| HostNow {
            name: name.to_owned(),
            is_here: name == "localhost",
            slots,
            taken: taken.to_vec(),
            jobs,
            ..HostNow::default()
        };
        let mut failed = host("beta/4", 4, &[], Vec::new());
        failed.shunned = Some(Duration::from_millis(41_500));
        let far = vec![
            job(12, 1, Phase::Receive, "b.c", 100),
            job(11, 0, Phase::Compile, "z.cc", 100_000),
        ];
        let here = vec![job(13, 0, Phase::Preprocess, "a.c", 300)];
        Sample {
            hosts: vec![
                host("localhost", 4, &[0], here),
                host("alpha/8,lzo", 8, &[0, 1, 2], far),
                failed,
            ],
            waiting: Waiting::default(),
            finished: Finished {
                count: 7,
                rates: [0.7, 0.125],
            },
            no_list: None,
        }
    }

    #[test]
    fn a_block_says_it_all() {
        assert_eq!(
            block(&sample(), false),
            "slots elsewhere 3 of 12, here 1 of 4; 0 wait; 7 finished; 0.7/s in 10 s, 0.1/s in 1 min\n\
             limit: beta/4 is left alone for 42 s still, because it failed; 5 of 8 slots elsewhere are free and nobody waits \
             for them: a higher -j would use them, if there is more to compile\n\
             localhost: 1 of 4 slots\n  \
             [0] Preprocess  a.c  0.3 s, 0.6 s in all, process 13\n\
             alpha/8,lzo: 3 of 8 slots\n  \
             [0] Compile     z.cc  1:40 min, 3:20 min in all, process 11\n  \
             [1] Receive     b.c  0.1 s, 0.2 s in all, process 12\n  \
             1 more: their clients are busy here\n\
             beta/4: 0 of 4 slots; failed, left alone for 42 s\n\n"
        );
        assert!(
            block(&sample(), true).starts_with("slots elsewhere 3 of 12, here 1 of 4; 0 wait\n")
        );
    }

    #[test]
    fn orders_are_what_they_say() {
        let sample = sample();
        let files = |order| -> Vec<String> {
            let lines = lines(&sample, order);
            let files = lines.iter().filter_map(|line| match line {
                Line::Job(_, job) => Some(job.file.clone()),
                _ => None,
            });
            files.collect()
        };
        assert_eq!(files(Order::Slot), ["a.c", "z.cc", "b.c"]);
        assert_eq!(files(Order::Age), ["z.cc", "a.c", "b.c"]);
        assert_eq!(files(Order::File), ["a.c", "b.c", "z.cc"]);
    }
}
