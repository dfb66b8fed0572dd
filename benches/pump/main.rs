//! Pump mode, ours beside stock's with a pump that works, in turns: what client and include server cost together for a
//! translation unit of git and of libtorrent (C++ on Boost), cold and warm, with a server that costs nothing; what the
//! first analysis of a whole tree costs beside what other tools take to find the headers; and what a pump job costs our
//! daemon. Prints a Markdown table. Fetches sources. A name runs only that part: `git`, `libtorrent`,
//! `namespace`, `bytes`, `local`, `texts`.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "../compare/cost.rs"]
mod cost;
mod daemon;
mod inputs;
#[path = "../compare/installed.rs"]
mod installed;
mod others;
mod server;
mod session;
mod started;
mod texts;

use inputs::{Inputs, Unit};
use session::Session;
use started::Contender;
use std::time::{Duration, Instant};
use texts::Texts;

/// Units of each project, and how many of them stock gets: of libtorrent a few, since each takes it four seconds.
const UNITS: [(&str, usize, usize); 2] = [("git", 60, 60), ("libtorrent-rasterbar", 60, 8)];

fn main() {
    let mut rounds = 3;
    let (mut stock, mut only) = (None, None);
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    while let Some(word) = words.next() {
        match word.as_str() {
            "--quick" => rounds = 1,
            "--stock" => stock = words.next(),
            name => only = Some(name.to_owned()),
        }
    }
    let wanted = |part: &str| only.as_ref().is_none_or(|only| part.contains(only));
    let contenders: Vec<Contender> = std::iter::once(Contender::ours())
        .chain(stock.as_deref().map(Contender::stock))
        .collect();
    println!("| measured, CPU for a translation unit | this distcc | stock |");
    println!("|---|---:|---:|");
    for (project, count, few) in UNITS.into_iter().filter(|(name, ..)| wanted(name)) {
        let inputs = Inputs::made(project, count);
        beside_stock(rounds, &contenders, &inputs, few);
        analyses(rounds, &inputs);
    }
    if wanted("namespace") {
        jobs(rounds);
    }
    if wanted("bytes") {
        bytes(&contenders);
    }
    if wanted("local") {
        local(rounds);
    }
    if wanted("texts") {
        plain_clients(rounds, &contenders);
    }
}

pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

const ROWS: [&str; 4] = [
    "client and include server, cold, its start included",
    "client and include server, warm",
    "of that the include server, cold",
    "of that the include server, warm",
];

/// The figures of the rows, and how many of the units did not go by pump mode.
type Figures = ([f64; ROWS.len()], usize);

fn beside_stock(rounds: usize, contenders: &[Contender], inputs: &Inputs, few: usize) {
    let samples: Vec<Vec<Unit>> = contenders
        .iter()
        .map(|one| inputs.every(if one.is_ours() { usize::MAX } else { few }))
        .collect();
    let taken: Vec<Vec<Figures>> = (0..rounds)
        .map(|_| {
            let each = contenders.iter().zip(&samples);
            each.map(|(one, sample)| figures(one, inputs, sample))
                .collect()
        })
        .collect();
    for (row, name) in ROWS.iter().enumerate() {
        let medians: Vec<f64> = (0..contenders.len())
            .map(|one| median(taken.iter().map(|round| round[one].0[row]).collect()))
            .collect();
        println!("| {}: {name} | {} |", inputs.project, cells(&medians));
    }
    let given_up: Vec<String> = (0..contenders.len())
        .map(|one| {
            let given_up = median(taken.iter().map(|round| round[one].1 as f64).collect());
            format!("{given_up} of {}", 2 * samples[one].len())
        })
        .collect();
    println!(
        "| {}: compiles, cold and warm, that were preprocessed here after all | {} |",
        inputs.project,
        given_up.join(" | ")
    );
}

fn figures(contender: &Contender, inputs: &Inputs, sample: &[Unit]) -> Figures {
    let session = Session::start(contender, inputs);
    let each = |time: Duration| ms(time) / sample.len() as f64;
    let pass = |server_before: Duration| {
        let clients = cost::of_children();
        let pumped = sample
            .iter()
            .filter(|unit| session.compile(unit, ",cpp,lzo"));
        let given_up = sample.len() - pumped.count();
        let server = session.server_cpu() - server_before;
        (each(cost::of_children() - clients), each(server), given_up)
    };
    let cold = pass(Duration::ZERO);
    session.put_objects_away();
    let warm = pass(session.server_cpu());
    let rows = [cold.0 + cold.1, warm.0 + warm.1, cold.1, warm.1];
    (rows, cold.2 + warm.2)
}

/// First analyses, beside what others take for the same question.
fn analyses(rounds: usize, inputs: &Inputs) {
    let project = &inputs.project;
    let (list, deepest) = others::list(inputs);
    let preprocessor = others::preprocessor(inputs);
    let share = |figure: f64, of: f64| format!("{:.1} %", 100.0 * figure / of);
    let whole: Vec<(f64, f64)> = (0..rounds).map(|_| whole_tree(inputs)).collect();
    let each = median(whole.iter().map(|round| round.0).collect());
    let cores = median(whole.iter().map(|round| round.1).collect());
    let all = inputs.units.len();
    println!("| {project}: first analysis of all {all} units, compilers asked included | {each:.2} ms | |");
    println!("| {project}: processors kept busy meanwhile | {cores:.1} | |");
    println!("| {project}: the compiler's own list (`-M`) | {list:.2} ms | |");
    println!("| {project}: the compiler's preprocessor (`-E`) | {preprocessor:.2} ms | |");
    if let Some(scan) = others::scan_deps(inputs) {
        println!("| {project}: clang-scan-deps | {scan:.2} ms | |");
    }
    println!(
        "| {project}: the first analysis in parts of `-E` | {} | |",
        share(each, preprocessor)
    );
    let (headers, unit) = deepest;
    let one: Vec<(f64, f64)> = (0..3.max(rounds))
        .map(|_| one_closure(inputs, unit))
        .collect();
    let spent = median(one.iter().map(|round| round.0).collect());
    let took = median(one.iter().map(|round| round.1).collect());
    println!("| {project}: one closure of {headers} headers, nothing known | {spent:.2} ms | |");
    let thousand = 1000.0 * spent / headers as f64;
    println!("| {project}: the same for each 1,000 headers | {thousand:.1} ms | |");
    println!("| {project}: the same: until the answer is there | {took:.2} ms | |");
}

/// All units of a tree, asked for by as many at once as there are processors: CPU a unit, and processors in use.
fn whole_tree(inputs: &Inputs) -> (f64, f64) {
    let session = Session::start(&Contender::ours(), inputs);
    let begun = Instant::now();
    let before = session.server_cpu();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let at_once = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| loop {
                let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let Some(unit) = inputs.units.get(number) else {
                    return;
                };
                session.ask(unit);
            });
        }
    });
    let spent = session.server_cpu() - before;
    let cores = spent.as_secs_f64() / begun.elapsed().as_secs_f64();
    (ms(spent) / inputs.units.len() as f64, cores)
}

/// One unit, when the compiler has been asked for what it does by itself, but no file is known: CPU beside that of another
/// question to the compiler, and time.
fn one_closure(inputs: &Inputs, unit: usize) -> (f64, f64) {
    let session = Session::start(&Contender::ours(), inputs);
    session.ask(&session.without_includes(&inputs.sample[unit]));
    let (begun, before) = (Instant::now(), session.server_own_cpu());
    session.ask(&inputs.sample[unit]);
    let took = begun.elapsed();
    (ms(session.server_own_cpu() - before), ms(took))
}

/// A pump job of one file, and one of as many as a unit of git has, with a compiler that only writes a file.
fn jobs(rounds: usize) {
    for (what, files) in [("one file", 1), ("60 files of 8 kB", 60)] {
        let taken = (0..rounds.max(3)).map(|_| daemon::daemon_job(files));
        let each = median(taken.collect());
        println!("| our daemon beside the compiler, a job of {what} | {each:.2} ms | |");
    }
}

/// What goes to the server for a unit of git, in each mode.
fn bytes(contenders: &[Contender]) {
    let inputs = Inputs::made("git", 60);
    for (mode, options) in [("plain", ""), ("`,lzo`", ",lzo"), ("pump", ",cpp,lzo")] {
        let each = contenders.iter().map(|contender| {
            let session = Session::start(contender, &inputs);
            for unit in &inputs.sample {
                session.compile(unit, options);
            }
            let bytes = session.bytes() as f64 / inputs.sample.len() as f64;
            format!("{:.0} kB", bytes / 1000.0)
        });
        let mut cells: Vec<String> = each.collect();
        cells.resize(2, "–".to_owned());
        println!(
            "| git: bytes to the server, {mode} | {} |",
            cells.join(" | ")
        );
    }
}

/// What a client costs in plain mode beside its preprocessor, for the units of git.
fn plain_clients(rounds: usize, contenders: &[Contender]) {
    let inputs = Inputs::made("git", 60);
    let texts = Texts::of(&inputs);
    let size = texts.bytes() / 1000;
    for (mode, options) in [("plain", ""), ("`,lzo`", ",lzo")] {
        let mut taken = vec![Vec::new(); contenders.len()];
        for _ in 0..2 * rounds + 1 {
            for (figures, contender) in taken.iter_mut().zip(contenders) {
                figures.push(ms(texts.client(contender, options)));
            }
        }
        let medians: Vec<f64> = taken.into_iter().map(median).collect();
        let cells = cells(&medians);
        println!("| git: client beside the preprocessor, texts of {size} kB, {mode} | {cells} |");
    }
}

/// Ours and stock's, if that was measured.
fn cells(medians: &[f64]) -> String {
    match medians {
        [ours, stock] => format!("{ours:.2} ms (× {:.3}) | {stock:.2} ms", ours / stock),
        _ => format!("{:.2} ms | –", medians[0]),
    }
}

/// Client, daemon and gcc on one machine, beside gcc alone.
fn local(rounds: usize) {
    let inputs = Inputs::made("git", 60);
    let units = inputs.every(20);
    let taken: Vec<[f64; 2]> = (0..rounds)
        .map(|_| daemon::beside_local(&inputs, &units))
        .collect();
    for (number, mode) in ["plain", "pump"].into_iter().enumerate() {
        let share = median(taken.iter().map(|round| round[number]).collect());
        println!("| git: all CPU with our daemon on this machine, in parts of a local compile, {mode} | × {share:.3} | |");
    }
}
