//! What limits the build, in one line, from what is seen at one moment. Where several things could be the reason, the one is
//! told that somebody can do something about.

use super::top_sample::{HostNow, Sample};
use crate::farm::state::Phase;
use std::time::Duration;

/// By how much longer than elsewhere compiles run on a host that is called slow; a few of them, and not only just.
const SLOWER_BY: u32 = 4;
const SLOW_JOBS_MIN: usize = 2;
const SLOW_MIN: Duration = Duration::from_secs(1);

/// The line.
pub fn limit(sample: &Sample) -> String {
    let mut found = what_limits(sample);
    if let Some(slow) = slow_host(sample) {
        found = format!("{found}; {slow}");
    }
    let shunned = sample.hosts.iter().filter_map(|host| {
        let rest = host.shunned?;
        Some((&host.name, rest.as_secs() + 1))
    });
    match shunned.collect::<Vec<_>>()[..] {
        [] => found,
        [(name, rest)] => {
            format!("{name} is left alone for {rest} s still, because it failed; {found}")
        }
        [(name, rest), ..] => format!(
            "{} hosts are left alone because they failed, such as {name} for {rest} s still; {found}",
            sample.hosts.iter().filter(|host| host.shunned.is_some()).count()
        ),
    }
}

fn what_limits(sample: &Sample) -> String {
    let waiting = &sample.waiting;
    let slots: usize = sample.usable().map(|host| host.slots).sum();
    let taken: usize = sample.usable().map(|host| host.taken.len()).sum();
    let count = |phases: &[Phase]| {
        let jobs = sample.jobs().filter(|job| phases.contains(&job.phase));
        jobs.count()
    };
    if sample.jobs().next().is_none() && waiting.all() == 0 && taken == 0 {
        return "nothing runs".to_owned();
    }
    if slots == 0 {
        let why = match &sample.no_list {
            Some(why) => why,
            None => "no other machine can be used now",
        };
        return format!("everything is compiled here: {why}");
    }
    let preprocess = count(&[Phase::Preprocess]);
    if waiting.preprocess > 0 || preprocess * 2 > taken && taken == slots {
        return format!(
            "this machine preprocesses {preprocess} and {} wait to do so, with {taken} of {slots} slots elsewhere: pump mode \
             would take that from it, or a lower -j",
            waiting.preprocess
        );
    }
    if taken == slots {
        return match waiting.elsewhere {
            0 => format!("all {slots} slots elsewhere are taken and nobody waits: -j fits them"),
            waiting => format!(
                "all {slots} slots elsewhere are taken and {waiting} wait: more servers would help"
            ),
        };
    }
    if waiting.here > 0 {
        return format!(
            "{} wait for this machine, since they can't be sent away: DISTCC_LOG and distcc why say why",
            waiting.here
        );
    }
    let network = count(&[Phase::Connect, Phase::Send, Phase::Receive]);
    if network >= 2 && network * 2 > taken {
        return format!(
            "{network} of {taken} jobs elsewhere connect, send or receive: the network, or this machine"
        );
    }
    format!(
        "{} of {slots} slots elsewhere are free and nobody waits for them: a higher -j would use them, if there is more to compile",
        slots - taken
    )
}

/// A host whose compiles run for much longer than those of the others: in the end the build waits for it. Those that have
/// ended count, too: the others may have nothing left to do. Of the others the longer figure counts, as what has just begun, or
/// ended before the sources got larger, says little.
fn slow_host(sample: &Sample) -> Option<String> {
    let running = |host: &HostNow| -> Vec<Duration> {
        let jobs = host.jobs.iter().filter(|job| job.phase == Phase::Compile);
        jobs.map(|job| job.since).collect()
    };
    let ended = |host: &HostNow| host.lately.clone();
    sample.usable().find_map(|host| {
        let others = || sample.usable().filter(|other| other.name != host.name);
        let here = median([running(host), ended(host)].concat())?;
        let others_run = median(others().flat_map(running).collect());
        let others = others_run.max(median(others().flat_map(ended).collect()))?;
        (here >= SLOW_MIN && here >= others * SLOWER_BY).then(|| {
            let (name, here, others) = (&host.name, time(here), time(others));
            format!("{name} is slow ({here} for a compile so far, the others {others}): give it fewer slots")
        })
    })
}

/// Seconds with a tenth, minutes from a hundred seconds on.
pub fn time(time: Duration) -> String {
    match time.as_secs() {
        0..100 => format!("{:.1} s", time.as_secs_f64()),
        seconds => format!("{}:{:02} min", seconds / 60, seconds % 60),
    }
}

/// The middle one; `None` if there are too few to say anything.
fn median(mut times: Vec<Duration>) -> Option<Duration> {
    times.sort();
    let is_enough = times.len() >= SLOW_JOBS_MIN;
    times.get(times.len() / 2).copied().filter(|_| is_enough)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::top_sample::{Job, Waiting};

    fn host(name: &str, slots: usize, phases: &[Phase]) -> HostNow {
        let jobs = phases.iter().enumerate().map(|(slot, phase)| Job {
            pid: 1,
            slot,
            phase: *phase,
            file: "x.c".to_owned(),
            since: Duration::ZERO,
            age: None,
        });
        HostNow {
            name: name.to_owned(),
            is_here: name == "localhost",
            slots,
            taken: (0..phases.len()).collect(),
            jobs: jobs.collect(),
            ..HostNow::default()
        }
    }

    fn told(hosts: Vec<HostNow>, elsewhere: usize, preprocess: usize, here: usize) -> String {
        limit(&Sample {
            hosts,
            waiting: Waiting {
                elsewhere,
                preprocess,
                here,
            },
            ..Sample::default()
        })
    }

    #[test]
    fn each_limit_has_its_line() {
        use Phase::{Compile, Preprocess, Receive, Send};
        let here = |phases: &[Phase]| host("localhost", 4, phases);
        let busy = || host("a", 2, &[Compile, Compile]);
        let half = |phases: &[Phase]| host("a", 8, phases);
        for (found, line) in [
            (told(vec![here(&[]), half(&[])], 0, 0, 0), "nothing runs"),
            (
                told(vec![here(&[]), busy()], 5, 0, 0),
                "all 2 slots elsewhere are taken and 5 wait: more servers would help",
            ),
            (
                told(vec![here(&[]), busy()], 0, 0, 0),
                "all 2 slots elsewhere are taken and nobody waits: -j fits them",
            ),
            (
                told(vec![here(&[]), half(&[Compile])], 0, 0, 0),
                "7 of 8 slots elsewhere are free and nobody waits for them",
            ),
            (
                told(vec![here(&[Preprocess; 4]), busy()], 3, 6, 0),
                "this machine preprocesses 4 and 6 wait to do so, with 2 of 2 slots elsewhere: pump mode",
            ),
            (
                told(vec![here(&[Compile; 4]), half(&[Compile])], 0, 0, 3),
                "3 wait for this machine, since they can't be sent away",
            ),
            (
                told(vec![here(&[]), half(&[Send, Receive, Send])], 0, 0, 0),
                "3 of 3 jobs elsewhere connect, send or receive",
            ),
            (
                told(vec![here(&[Compile])], 0, 0, 0),
                "everything is compiled here: no other machine can be used now",
            ),
        ] {
            assert!(found.starts_with(line), "{found}");
        }
    }

    #[test]
    fn a_host_is_slow_beside_others_only() {
        let run_for = |name: &str, tenths: &[u64]| {
            let mut host = host(name, 4, &vec![Phase::Compile; tenths.len()]);
            for (job, tenths) in host.jobs.iter_mut().zip(tenths) {
                job.since = Duration::from_millis(100 * tenths);
            }
            host
        };
        let quick = || run_for("a", &[1, 2, 3, 4]);
        let found = told(vec![quick(), run_for("b", &[11, 30, 35, 40])], 0, 0, 0);
        let line = "all 8 slots elsewhere are taken and nobody waits: -j fits them; b is slow (3.5 s for a \
                    compile so far, the others 0.3 s): give it fewer slots";
        assert!(found.starts_with(line), "{found}");
        // One large file, compiles that are just long, and quick ones although some differ.
        for slow in [&[100, 1, 1][..], &[100], &[9, 9], &[11, 1, 1, 1]] {
            let found = told(vec![quick(), run_for("b", slow)], 0, 0, 0);
            assert!(!found.contains("slow"), "{slow:?}: {found}");
        }
        assert!(!told(vec![run_for("b", &[100, 100])], 0, 0, 0).contains("slow"));
    }

    #[test]
    fn a_host_is_slow_also_when_the_others_are_done() {
        let run_for = |name: &str, running: &[u64], ended: &[u64]| {
            let mut host = host(name, 4, &vec![Phase::Compile; running.len()]);
            let seconds = |times: &[u64]| {
                times
                    .iter()
                    .map(|time| Duration::from_secs(*time))
                    .collect()
            };
            for (job, since) in host.jobs.iter_mut().zip::<Vec<_>>(seconds(running)) {
                job.since = since;
            }
            host.lately = seconds(ended);
            host
        };
        let is_slow = |a, b| told(vec![a, b], 0, 0, 0).contains("; b is slow (");
        for (running, ended) in [
            (&[30, 40][..], &[][..]),
            (&[3], &[30, 30]),
            (&[], &[30, 30]),
        ] {
            assert!(is_slow(
                run_for("a", &[], &[2, 2, 3]),
                run_for("b", running, ended)
            ));
        }
        // What was quick before says nothing of what runs now; nor what has begun, of what was as slow.
        assert!(!is_slow(
            run_for("a", &[20, 20], &[1, 1]),
            run_for("b", &[30, 30], &[])
        ));
        assert!(!is_slow(
            run_for("a", &[1, 1], &[20, 20]),
            run_for("b", &[30, 30], &[])
        ));
        assert!(!is_slow(
            run_for("a", &[], &[2, 2]),
            run_for("b", &[30], &[2, 2])
        ));
    }

    #[test]
    fn hosts_that_are_left_alone_are_named_and_not_counted() {
        let mut failed = host("b", 8, &[]);
        failed.shunned = Some(Duration::from_millis(42_500));
        let busy = || host("a", 1, &[Phase::Compile]);
        let found = told(vec![busy(), failed.clone()], 1, 0, 0);
        assert_eq!(
            found,
            "b is left alone for 43 s still, because it failed; all 1 slots elsewhere are taken and 1 wait: more servers would help"
        );
        let found = told(vec![busy(), failed.clone(), failed], 1, 0, 0);
        assert!(found
            .starts_with("2 hosts are left alone because they failed, such as b for 43 s still; "));
    }
}
