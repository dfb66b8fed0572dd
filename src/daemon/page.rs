//! The page for people: its parts, and what they ask for again and again while somebody looks.

use super::shop::Shop;
use super::stock_page::Machine;
use super::tally::{Class, Done, Totals, MOMENT};
use crate::os::machine;
use serde::Serialize;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The page; it asks for the other two, and for what [`json`] makes.
pub const HTML: &str = include_str!("page/page.html");
/// How it looks.
pub const STYLE: &str = include_str!("page/page.css");
/// What fills it.
pub const SCRIPT: &str = include_str!("page/page.js");

/// Minutes of the rates that are told.
const RATES: [usize; 3] = [1, 5, 15];

/// What is to be seen now.
#[derive(Serialize)]
struct Seen<'s> {
    version: &'static str,
    host: Option<String>,
    now_ms: u64,
    uptime_s: u64,
    slots: usize,
    waiting: usize,
    connections: usize,
    connections_total: u64,
    connections_refused: u64,
    sandbox: String,
    load: Option<[f64; 3]>,
    memory_bytes: Option<u64>,
    disk_bytes: Option<u64>,
    received_bytes: u64,
    sent_bytes: u64,
    outcomes: Vec<(&'static str, u64)>,
    /// Compiles that ended in the last 1, 5 and 15 minutes.
    compiles: [u64; 3],
    /// How long a piece of the past is, and what happened in each, the oldest first.
    moment_s: u64,
    ended: Vec<u32>,
    busy_ms: Vec<u32>,
    compilers: Vec<Compiler<'s>>,
    running: Vec<Job<'s>>,
    recent: Vec<Job<'s>>,
}

#[derive(Serialize)]
struct Compiler<'s> {
    name: &'s str,
    ok: u64,
    all: u64,
}

/// A job that runs or has ended.
#[derive(Default, Serialize)]
struct Job<'s> {
    number: u64,
    peer: &'s str,
    compiler: &'s str,
    source: &'s str,
    /// `begins`, `compiles`, or how it ended.
    state: &'s str,
    /// Why it came to nothing.
    why: &'s str,
    /// When it ended.
    at_ms: Option<u64>,
    /// How long it runs, or took.
    ms: u64,
    waited_ms: Option<u64>,
    compiled_ms: Option<u64>,
    received_bytes: Option<u64>,
    sent_bytes: Option<u64>,
}

/// What the page shows, as of now.
pub fn json(shop: &Shop, machine: &Machine) -> Vec<u8> {
    let (statistics, totals) = (&shop.statistics, shop.statistics.totals());
    let (running, recent) = (statistics.running(), statistics.recent());
    let now = SystemTime::now();
    let seen = Seen {
        version: env!("CARGO_PKG_VERSION"),
        host: machine::name(),
        now_ms: epoch_ms(now),
        uptime_s: now
            .duration_since(statistics.began_at())
            .unwrap_or_default()
            .as_secs(),
        slots: shop.config().jobs,
        waiting: statistics.waiting(),
        connections: statistics.connections_open(),
        connections_total: statistics.connections(),
        connections_refused: statistics.connections_refused(),
        sandbox: shop.sandbox().to_string(),
        load: machine.load.as_ref().map(|load| load.means),
        memory_bytes: machine.memory,
        disk_bytes: machine.disk,
        received_bytes: totals.received,
        sent_bytes: totals.sent,
        outcomes: outcomes(&totals),
        compiles: RATES
            .map(|minutes| totals.ended_within(minutes * 60 / MOMENT.as_secs() as usize)),
        moment_s: MOMENT.as_secs(),
        ended: totals
            .past
            .iter()
            .rev()
            .map(|moment| moment.ended)
            .collect(),
        busy_ms: totals
            .past
            .iter()
            .rev()
            .map(|moment| moment.busy_ms)
            .collect(),
        compilers: compilers(&totals),
        running: running
            .iter()
            .map(|job| Job {
                number: job.number,
                peer: &job.peer,
                compiler: &job.compiler,
                source: &job.source,
                state: if job.compiles { "compiles" } else { "begins" },
                ms: ms(job.begun.elapsed()),
                ..Job::default()
            })
            .collect(),
        recent: recent.iter().map(ended).collect(),
    };
    // Such values can always be written.
    serde_json::to_vec(&seen).unwrap_or_default()
}

fn outcomes(totals: &Totals) -> Vec<(&'static str, u64)> {
    let count = |class: Class| (class.label(), totals.outcomes[class as usize]);
    Class::ALL.map(count).to_vec()
}

fn compilers(totals: &Totals) -> Vec<Compiler<'_>> {
    let compilers = totals.compilers.iter().map(|(name, outcomes)| Compiler {
        name,
        ok: outcomes[Class::CompileOk as usize],
        all: outcomes.iter().sum(),
    });
    compilers.collect()
}

fn ended(done: &Done) -> Job<'_> {
    Job {
        number: done.number,
        peer: &done.peer,
        compiler: &done.compiler,
        source: &done.source,
        state: done.class.label(),
        why: &done.why,
        at_ms: Some(epoch_ms(done.at)),
        ms: ms(done.took),
        waited_ms: done.waited.map(ms),
        compiled_ms: done.compiled.map(ms),
        received_bytes: Some(done.received),
        sent_bytes: Some(done.sent),
    }
}

fn ms(time: Duration) -> u64 {
    time.as_millis() as u64
}

fn epoch_ms(at: SystemTime) -> u64 {
    ms(at.duration_since(UNIX_EPOCH).unwrap_or_default())
}
