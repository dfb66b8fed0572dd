//! A daemon under very many small jobs from 64 clients, of which one in fifty is hostile or is ended midway: every honest job
//! gets its own object, and nothing grows. The small one is run with all tests, the whole one by
//! `cargo test --release --test soak -- --ignored --nocapture`, which prints a table.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod census;
mod hostile;
mod work;

use census::Census;
use common::{have, wait_for, Daemon, Farm, Which, BOUND};
use hostile::{Hostile, KINDS};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use work::Work;

/// How large a run is.
struct Size {
    clients: usize,
    jobs: usize,
    /// Of so many jobs one means harm.
    hostile_every: usize,
}

impl Size {
    fn hostile(&self) -> usize {
        self.jobs / self.hostile_every
    }
}

/// What a quarter of the jobs came to.
struct Quarter {
    jobs: usize,
    took: Duration,
    after: Census,
}

impl Quarter {
    fn rate(&self) -> f64 {
        self.jobs as f64 / self.took.as_secs_f64()
    }
}

#[test]
fn a_few_hundred_jobs() {
    soak(&Size {
        clients: 16,
        jobs: 360,
        hostile_every: 15,
    });
}

#[test]
#[ignore = "takes minutes, and both processors"]
fn twenty_thousand_jobs() {
    let quarters = soak(&Size {
        clients: 64,
        jobs: 20_000,
        hostile_every: 50,
    });
    let rates = quarters.iter().map(Quarter::rate);
    let (slowest, fastest) = (
        rates.clone().fold(f64::MAX, f64::min),
        rates.fold(0.0, f64::max),
    );
    assert!(
        slowest > fastest * 0.6,
        "{slowest:.1} to {fastest:.1} jobs a second"
    );
}

/// Does the jobs in four parts, and looks after each how the daemon fares.
fn soak(size: &Size) -> Vec<Quarter> {
    if !have("soak", &["gcc", "g++", "setpriv"]) {
        return Vec::new();
    }
    let farm = Farm::new();
    let hostile = Hostile::new(&farm);
    let compilers = format!("gcc,g++,{}", hostile.compilers());
    let mut daemon = farm
        .daemon(Which::Ours)
        .by_nobody()
        .all_jobs()
        .allow(Some("127.0.0.0/8"))
        .options(&["--compilers", &compilers, "--share", &hostile.folder()])
        .options(&["--job-memory", "512M"])
        .start();
    let work = Work::new(&farm);
    // What is made once and kept is there before anything is counted.
    for number in 0..24 {
        work.check(&daemon, number, number);
    }
    let at_first = Census::take(&daemon, None);
    let part = size.jobs / 4;
    let parts = (0..4).map(|quarter| {
        let begun = Instant::now();
        run_part(
            size,
            quarter * part..(quarter + 1) * part,
            |client, job| match job % size.hostile_every == size.hostile_every - 1 {
                true => hostile.act(&daemon, client, job / size.hostile_every),
                false => work.check(&daemon, client, job),
            },
        );
        let took = begun.elapsed();
        hostile.let_go();
        Quarter {
            jobs: part,
            took,
            after: Census::take(&daemon, Some(&at_first)),
        }
    });
    let quarters: Vec<Quarter> = parts.collect();
    print_table(size, &at_first, &quarters);
    expect_nothing_grew(&at_first, &quarters);
    expect_logged(size, &daemon);
    assert_eq!(daemon.leftovers(), [""; 0]);
    assert!(daemon.alive());
    quarters
}

/// Has the clients do these jobs, each the next one that nobody has taken; the first failure ends it all.
fn run_part(size: &Size, jobs: std::ops::Range<usize>, each: impl Fn(usize, usize) + Sync) {
    let next = AtomicUsize::new(jobs.start);
    let failed = Mutex::new(None);
    std::thread::scope(|scope| {
        let clients = (0..size.clients).map(|client| {
            let (next, each, end) = (&next, &each, jobs.end);
            scope.spawn(move || {
                let take = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|job| *job < end);
                while let Some(job) = take() {
                    each(client, job);
                }
            })
        });
        let clients: Vec<_> = clients.collect();
        for client in clients {
            if let Err(panic) = client.join() {
                next.store(jobs.end, Ordering::Relaxed);
                *failed.lock().unwrap() = Some(panic);
            }
        }
    });
    if let Some(panic) = failed.into_inner().unwrap() {
        std::panic::resume_unwind(panic);
    }
}

fn print_table(size: &Size, at_first: &Census, quarters: &[Quarter]) {
    println!(
        "{} clients, {} jobs, {} of them hostile",
        size.clients,
        size.jobs,
        size.hostile()
    );
    println!("| after | jobs a second | memory (PSS) | descriptors | processes | mounts | temporary files |");
    println!("|---|---:|---:|---:|---:|---:|---:|");
    let row =
        |name: String, rate: String, census: &Census| println!("| {name} | {rate} | {census} |");
    row("a few jobs".to_owned(), String::new(), at_first);
    let mut done = 0;
    for quarter in quarters {
        done += quarter.jobs;
        row(
            format!("{done} jobs"),
            format!("{:.1}", quarter.rate()),
            &quarter.after,
        );
    }
}

/// Between the first quarter and the last: before, some things have been seen for the first time.
fn expect_nothing_grew(at_first: &Census, quarters: &[Quarter]) {
    let (first, last) = (&quarters[0].after, &quarters[3].after);
    // Freed memory is kept in pieces, which differ from time to time.
    let most = first.memory_kb + first.memory_kb / 4 + 2048;
    assert!(
        last.memory_kb <= most,
        "memory: {} kB after {} kB",
        last.memory_kb,
        first.memory_kb
    );
    for quarter in quarters {
        let after = &quarter.after;
        assert!(
            after.descriptors <= at_first.descriptors,
            "descriptors: {after} instead of {at_first}"
        );
        assert!(
            after.processes <= at_first.processes,
            "processes: {after} instead of {at_first}"
        );
        assert_eq!(after.mounts, at_first.mounts, "mounts");
        assert_eq!(after.files, 0, "temporary files");
    }
}

/// All of it is in the log, each misdeed with its reason, and no more lines than jobs need.
fn expect_logged(size: &Size, daemon: &Daemon) {
    let honest = size.jobs - size.hostile();
    wait_for("the last lines of the log", BOUND, || {
        daemon.compiled() >= honest
    });
    let log = daemon.log_text();
    let has = |parts: &[&str]| {
        let mut lines = log.lines();
        lines.any(|line| parts.iter().all(|part| line.contains(part)))
    };
    for kind in KINDS {
        let (name, parts) = (kind.name, kind.reason);
        assert!(has(parts), "{name}: no line with {parts:?}:\n{log}");
    }
    let lines = log.lines().count();
    assert!(lines < size.jobs * 8, "{lines} lines");
    assert!(
        !log.contains("a fault of distccd itself"),
        "{}",
        log.lines()
            .filter(|line| line.contains("a fault of"))
            .collect::<String>()
    );
}
