//! The differential test: tables of command lines, each run without distcc and through it, in every mode and with both
//! daemons. Exit status, both outputs and all files must be those of the local run, byte for byte; where each compile took
//! place is counted.
//!
//! A table is a text file beside this one, and a line of [`TABLES`]. Its lines:
//!
//! ```text
//! # a comment
//! for gcc g++                        the rows that follow hold for these compilers, see `table::COMPILERS`
//! pump  $CC -c a.$E                  a row: its fate in pump mode with our daemon, and a command line
//! here  cp a.$E 'b c.$E' :: $CC …    what stands before `::` prepares the folder, without distcc, once
//! here varies $CC -da -c a.$E        two local runs differ: what does is not compared, but for names and modes
//! here other $CC -c s.s              does more, or something else, than compile a source and its headers: not counted as a compile
//! ```
//!
//! The fates are `pump` (source and headers travel), `text` (preprocessed text does), `here` (the command, or a part of it,
//! runs on this machine), and `any` where that is not the point. Command lines are the shell's. They run in a fresh copy of
//! `tree`, always at the same path; `$CC` is the compiler, behind distcc or not, `$REAL` always the compiler alone, `$E` the
//! extension of its sources, `$X` its language for `-x`, `$I` the extension of its preprocessed text.
//!
//! `DISTCC_TESTS_ROWS=WORDS` runs only the rows that hold these words, or `NAME:` those of one table, `NAME:NAME:` of several;
//! `DISTCC_TESTS_TABLE=FILE` runs the rows of that table instead. `DISTCC_TESTS_WHOLE=1` leaves out no row and no cell;
//! `DISTCC_TESTS_SEED` chooses what is left out otherwise, and is printed; it also draws the random combinations of `random`.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod bench;
mod outcome;
mod random;
mod score;
mod table;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

/// The tables, each with its name.
const TABLES: &[(&str, &str)] = &[
    ("gcc-outputs", include_str!("gcc-outputs.txt")),
    ("gcc-dependencies", include_str!("gcc-dependencies.txt")),
    ("gcc-debug", include_str!("gcc-debug.txt")),
    ("gcc-files", include_str!("gcc-files.txt")),
    ("gcc-search", include_str!("gcc-search.txt")),
    ("gcc-messages", include_str!("gcc-messages.txt")),
    ("gcc-code", include_str!("gcc-code.txt")),
    ("gcc-builds", include_str!("gcc-builds.txt")),
    ("environment", include_str!("environment.txt")),
    ("clang-files", include_str!("clang-files.txt")),
    ("clang-code", include_str!("clang-code.txt")),
    ("objc", include_str!("objc.txt")),
    ("cross", include_str!("cross.txt")),
    ("sides", include_str!("sides.txt")),
    ("found", include_str!("found.txt")),
    ("corners", include_str!("corners.txt")),
    ("text", include_str!("text.txt")),
];

/// Of the rows that only compile, so many of 100 must be distributed in pump mode with our daemon.
const DISTRIBUTED_MIN: usize = 90;

/// The same of the rows that were drawn, which are other ones each time: some three standard deviations less.
const DISTRIBUTED_OF_DRAWN_MIN: usize = 88;

#[test]
fn every_row_gives_what_a_local_run_gives() {
    let asked = std::env::var("DISTCC_TESTS_ROWS").unwrap_or_default();
    let other = std::env::var_os("DISTCC_TESTS_TABLE").map(|path| {
        let text: &'static str = std::fs::read_to_string(path).unwrap().leak();
        [("other", text)]
    });
    let jobs = table::jobs(other.as_ref().map_or(TABLES, |other| other), &asked);
    assert!(!jobs.is_empty(), "no row holds {asked:?}");
    let Some(bench) = bench::Bench::new() else {
        return;
    };
    let draw = bench::Draw {
        whole: !common::tree::whole().is_empty(),
        all_rows: !asked.is_empty() || other.is_some(),
        seed: bench::seed(),
    };
    println!("seed {}", draw.seed);
    let faults = Mutex::new(Vec::new());
    let score = Mutex::new(score::Score::default());
    bench.work_through(&jobs, |worker, job| {
        let cells = draw.cells_of(job);
        if cells.is_empty() {
            return;
        }
        let tried = worker.try_row(job, &cells);
        score.lock().unwrap().count(job, &tried);
        // Told at once, too: the list at the end is lost if the test is ended before.
        tried.faults.iter().for_each(|fault| println!("{fault}"));
        faults.lock().unwrap().extend(tried.faults);
    });
    let (score, mut faults) = (score.into_inner().unwrap(), faults.into_inner().unwrap());
    println!("{score}");
    bench.expect_clean();
    if !draw.all_rows {
        let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
        let readme = std::fs::read_to_string(readme).unwrap();
        let mut rows = BTreeMap::new();
        for job in &jobs {
            *rows.entry(job.compiler.name).or_default() += 1;
        }
        faults.extend(score.readme_faults(&readme, &rows, draw.whole));
        faults.extend(score.faults(match draw.whole {
            true => DISTRIBUTED_MIN,
            false => DISTRIBUTED_OF_DRAWN_MIN,
        }));
    }
    let told = faults.join("\n");
    assert!(faults.is_empty(), "{} faults\n{told}", faults.len());
}

/// Of random combinations so many are tried.
const COMBINATIONS: usize = 500;

#[test]
fn random_combinations_give_what_a_local_run_gives() {
    let Some(bench) = bench::Bench::new() else {
        return;
    };
    let seed = bench::seed();
    println!("seed {seed}");
    let faults = random::faults(&bench, seed, COMBINATIONS);
    bench.expect_clean();
    let told = faults.join("\n");
    assert!(
        faults.is_empty(),
        "{} faults with DISTCC_TESTS_SEED={seed}\n{told}",
        faults.len()
    );
}
