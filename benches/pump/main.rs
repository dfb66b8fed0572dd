//! Pump mode, ours beside stock's with a pump that works, in turns: what client and include server cost together for a
//! translation unit of git and of libtorrent (C++ on Boost), cold and warm, with a server that costs nothing; beside what
//! other tools take to find the headers; and what a pump job costs our daemon. Prints a Markdown table. Fetches sources.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "../compare/cost.rs"]
mod cost;
mod server;
mod session;

use session::{Contender, Inputs, Session};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Units of each project: many of git, some of libtorrent.
const UNITS: [(&str, usize); 2] = [("git", 60), ("libtorrent-rasterbar", 12)];

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
    let below = |name: &str| Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let (trees, built) = (below("trees"), below("bench-trees"));
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/pump/inputs.sh");
    let made = Command::new(made).args([&trees, &built]).status();
    assert!(made.is_ok_and(|status| status.success()));
    println!("| measured, CPU for a translation unit | this distcc | stock |");
    println!("|---|---:|---:|");
    for (project, count) in UNITS {
        if only.as_ref().is_some_and(|only| !project.contains(only)) {
            continue;
        }
        let inputs = Inputs::read(&built.join(project), count);
        let contenders = [
            Some(Contender::ours()),
            stock.as_deref().map(Contender::stock),
        ];
        let figures: Vec<Option<Figures>> = contenders
            .iter()
            .map(|contender| {
                contender
                    .as_ref()
                    .map(|one| median_of(rounds, one, &inputs))
            })
            .collect();
        for (row, name) in ROWS.iter().enumerate() {
            let cell = |figures: &Option<Figures>| match figures {
                Some(figures) => format!("{:.2} ms", figures[row]),
                None => "–".to_owned(),
            };
            let ratio = match (&figures[0], &figures[1]) {
                (Some(ours), Some(stock)) => format!(" (× {:.2})", ours[row] / stock[row]),
                _ => String::new(),
            };
            println!(
                "| {project}: {name} | {}{ratio} | {} |",
                cell(&figures[0]),
                cell(&figures[1])
            );
        }
        others(&inputs);
    }
    daemon(rounds);
}

const ROWS: [&str; 4] = [
    "client and include server, cold, its start included",
    "client and include server, warm",
    "of that the include server, cold",
    "of that the include server, warm",
];

type Figures = [f64; 4];

fn median_of(rounds: usize, contender: &Contender, inputs: &Inputs) -> Figures {
    let taken: Vec<Figures> = (0..rounds).map(|_| figures(contender, inputs)).collect();
    std::array::from_fn(|row| median(taken.iter().map(|figures| figures[row]).collect()))
}

pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

fn figures(contender: &Contender, inputs: &Inputs) -> Figures {
    let session = Session::start(contender, inputs);
    let each = |time: Duration| time.as_secs_f64() * 1000.0 / inputs.units.len() as f64;
    let pass = |server_before: Duration| {
        let clients = cost::of_children();
        inputs.units.iter().for_each(|unit| session.compile(unit));
        let server = session.server_cpu() - server_before;
        (each(cost::of_children() - clients), each(server))
    };
    let (cold_clients, cold_server) = pass(Duration::ZERO);
    // Files are young in the first pass, and are read again as long as they are.
    let (warm_clients, warm_server) = pass(session.server_cpu());
    [
        cold_clients + cold_server,
        warm_clients + warm_server,
        cold_server,
        warm_server,
    ]
}

/// What others take for the same question.
fn others(inputs: &Inputs) {
    let project = &inputs.project;
    let row = |what: &str, words: &dyn Fn(&session::Unit) -> Vec<String>| {
        let before = cost::of_children();
        for unit in &inputs.units {
            let words = words(unit);
            let ran = Command::new(&words[0])
                .args(&words[1..])
                .current_dir(&unit.folder)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            assert!(ran.is_ok_and(|status| status.success()), "{words:?}");
        }
        let spent = (cost::of_children() - before).as_secs_f64() * 1000.0;
        println!(
            "| {project}: {what} | {:.2} ms | |",
            spent / inputs.units.len() as f64
        );
    };
    row("the compiler's own list (`-M`)", &|unit| {
        [&unit.words[..], &["-M".to_owned()]].concat()
    });
    row("the compiler's preprocessor (`-E`)", &|unit| {
        [&unit.words[..], &["-E".to_owned()]].concat()
    });
    if let Some(scan) = ["clang-scan-deps", "clang-scan-deps-14"]
        .into_iter()
        .find(|name| runs(name))
    {
        let database = inputs.compile_commands();
        let before = cost::of_children();
        let ran = Command::new(scan)
            .args(["-j", "1", "--compilation-database"])
            .arg(&database)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(ran.is_ok());
        let spent = (cost::of_children() - before).as_secs_f64() * 1000.0;
        let each = spent / inputs.units.len() as f64;
        println!("| {project}: clang-scan-deps | {each:.2} ms | |");
    }
}

fn runs(program: &str) -> bool {
    let mut command = Command::new(program);
    command
        .arg("--help")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok()
}

/// A pump job of one file, and one of as many as a unit of git has, with a compiler that only writes a file.
fn daemon(rounds: usize) {
    for (what, files) in [("one file", 1), ("60 files of 8 kB", 60)] {
        let taken = (0..rounds.max(3)).map(|_| session::daemon_job(files));
        let each = median(taken.collect());
        println!("| our daemon beside the compiler, a job of {what} | {each:.2} ms | |");
    }
}
