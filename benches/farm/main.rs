//! A farm of 1 to 256 servers, played by one process: each job waits as long as its compile took here, and gets the object
//! that this made. What is left is the client's machine, which has one processor for clients, preprocessors and the include
//! server. Prints a Markdown table: how long a build of git takes with stock and with ours, in plain mode and in pump mode,
//! beside a client that costs nothing. Fetches sources; compiles them once, and keeps objects and times.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "../compare/cost.rs"]
mod cost;
#[path = "../pump/inputs.rs"]
mod inputs;
#[path = "../compare/installed.rs"]
mod installed;
mod processor;
mod record;
mod servers;
#[path = "../pump/started.rs"]
mod started;

use inputs::Inputs;
use processor::pin;
use record::Job;
use servers::Servers;
use started::{Contender, IncludeServerProcess, PATH};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How many files of git are compiled.
const FILES: usize = 124;

/// How many jobs each server takes at a time.
const SLOTS: usize = 4;

/// How many servers there are.
const SERVERS: [usize; 5] = [1, 4, 16, 64, 256];

/// The processor of the client's machine, and the one that plays the servers.
const CLIENT: usize = 0;
const FARM: usize = 1;

fn main() {
    let mut rounds = 3;
    let mut stock = None;
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    while let Some(word) = words.next() {
        match word.as_str() {
            "--quick" => rounds = 1,
            "--stock" => stock = words.next(),
            other => panic!("{other}?"),
        }
    }
    let below = |name: &str| Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let inputs = Inputs::made("git", FILES);
    let jobs = record::record(&inputs, &below("farm"));
    let contenders: Vec<Contender> = stock
        .as_deref()
        .map(Contender::stock)
        .into_iter()
        .chain([Contender::ours()])
        .collect();
    pin(FARM);
    let servers = Servers::start(SERVERS[SERVERS.len() - 1], &jobs);
    pin(CLIENT);
    table(rounds, &contenders, &inputs, &jobs, &servers);
}

/// One way to build.
#[derive(Clone, Copy)]
struct Way<'w> {
    contender: &'w Contender,
    pump: bool,
}

impl Way<'_> {
    fn name(&self) -> String {
        let mode = if self.pump { "pump" } else { "plain" };
        format!("{}, {mode}", self.contender.name)
    }
}

fn table(
    rounds: usize,
    contenders: &[Contender],
    inputs: &Inputs,
    jobs: &[Job],
    servers: &Servers,
) {
    let ways: Vec<Way> = contenders
        .iter()
        .flat_map(|contender| [false, true].map(|pump| Way { contender, pump }))
        .collect();
    let names: Vec<String> = ways.iter().map(Way::name).collect();
    let total: Duration = jobs.iter().map(|job| job.took).sum();
    println!(
        "| git, {} files, {:.1} s of compiling | ideal | {} |",
        jobs.len(),
        total.as_secs_f64(),
        names.join(" | ")
    );
    println!("|---|---:|{}", "---:|".repeat(ways.len()));
    let mut spent = vec![Vec::new(); ways.len()];
    for count in SERVERS {
        let ideal = ideal(jobs, count * SLOTS).as_secs_f64();
        let mut taken = vec![Vec::new(); ways.len()];
        for _ in 0..rounds {
            for (number, way) in ways.iter().enumerate() {
                let built = build(way, inputs, jobs, servers, count);
                taken[number].push(built.took.as_secs_f64());
                spent[number].push(built.spent.as_secs_f64());
            }
        }
        let cells: Vec<String> = taken
            .into_iter()
            .map(median)
            .map(|took| format!("{took:.2} s (× {:.2})", took / ideal))
            .collect();
        println!("| {count} servers | {ideal:.2} s | {} |", cells.join(" | "));
    }
    let cells: Vec<String> = spent
        .into_iter()
        .map(|figures| format!("{:.2} s", median(figures)))
        .collect();
    println!("| CPU of the client's machine | | {} |", cells.join(" | "));
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// How long it takes if each job begins as soon as a slot is free, and nothing else takes time.
fn ideal(jobs: &[Job], slots: usize) -> Duration {
    let mut free = vec![Duration::ZERO; slots];
    for job in jobs {
        let next = free.iter_mut().min().unwrap();
        *next += job.took;
    }
    free.into_iter().max().unwrap_or_default()
}

struct Built {
    took: Duration,
    spent: Duration,
}

/// Builds all files, with as many clients at a time as there are slots, or files.
fn build(way: &Way, inputs: &Inputs, jobs: &[Job], servers: &Servers, count: usize) -> Built {
    let folder = tempfile::Builder::new().prefix("bench-").tempdir().unwrap();
    let path = folder.path();
    let options = if way.pump { ",cpp,lzo" } else { "" };
    let hosts: Vec<String> = servers.ports[..count]
        .iter()
        .map(|port| format!("127.0.0.1:{port}/{SLOTS}{options}"))
        .collect();
    let hosts = hosts.join(" ");
    let (begun, before) = (Instant::now(), cost::of_children());
    let include_server = way
        .pump
        .then(|| IncludeServerProcess::start(way.contender, inputs, path));
    let next = AtomicUsize::new(0);
    let client = || loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let Some(unit) = inputs.sample.get(number) else {
            return;
        };
        let mut command = Command::new(&way.contender.client);
        command
            .args(&unit.words)
            .args(["-c", "-o"])
            .arg(path.join(format!("{number}.o")))
            .current_dir(&unit.folder)
            .env_clear()
            .env("PATH", PATH)
            .env("HOME", path)
            .env("DISTCC_DIR", path)
            .env("DISTCC_FALLBACK", "0")
            .env("DISTCC_HOSTS", &hosts)
            .stderr(Stdio::null());
        if way.pump {
            command.env("INCLUDE_SERVER_PORT", path.join("socket"));
        }
        assert!(command.status().unwrap().success(), "{:?}", unit.words);
    };
    thread::scope(|scope| {
        for _ in 0..jobs.len().min(count * SLOTS) {
            scope.spawn(client);
        }
    });
    let took = begun.elapsed();
    let server = include_server.as_ref().map(IncludeServerProcess::cpu);
    let spent = cost::of_children() - before + server.unwrap_or_default();
    for (number, job) in jobs.iter().enumerate() {
        let object = fs::read(path.join(format!("{number}.o"))).unwrap();
        assert!(object == job.object, "{number}.o is another one");
    }
    let [as_files, as_text] = servers.answered();
    let expected = if way.pump { as_files } else { as_text };
    if expected != jobs.len() {
        let not = jobs.len() - expected;
        eprintln!("{}, {count} servers: {not} not in this mode", way.name());
    }
    Built { took, spent }
}
