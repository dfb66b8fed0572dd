//! The preprocessor engine against the compilers that are installed: the files that it names for a unit are those that
//! `-M` prints, no more and no fewer, or it says that it can't know.

#![allow(clippy::unwrap_used, clippy::panic, dead_code)]

mod cases;
mod disk;
mod noise;
mod random;

use disk::{compare, Job, Verdict};
use distcc::model::dialect::Dialect;
use distcc::model::source_scan::Scan;
use random::Dice;
use std::path::Path;

/// Compares both compilers for both languages with each seed.
fn all_agree(cases: u64, make: impl Fn(&mut Dice, &Path, &str, &str) -> Job) {
    let number = |name: &str, otherwise: u64| {
        std::env::var(name).map_or(otherwise, |value| value.parse().unwrap())
    };
    let first = number("SEED", 1);
    let mut counts = std::collections::BTreeMap::new();
    let mut faults = Vec::new();
    for seed in first..first + number("CASES", cases) {
        for (compiler, source) in [
            ("gcc", "main.c"),
            ("clang", "main.c"),
            ("g++", "main.cc"),
            ("clang++", "main.cc"),
        ] {
            let mut dice = Dice::new(seed);
            let folder = tempfile::tempdir().unwrap();
            let root = folder.path().canonicalize().unwrap();
            let job = make(&mut dice, &root, compiler, source);
            let verdict = compare(&job);
            let kind = match &verdict {
                Verdict::Same(_) => "same",
                Verdict::Punted(_) => "punted",
                Verdict::BothFail(..) => "both fail",
                Verdict::FailsUnnoticed(_) => "fails unnoticed",
                Verdict::Differs(_) => "differs",
            };
            *counts.entry((compiler, kind)).or_insert(0) += 1;
            if matches!(verdict, Verdict::Differs(_)) {
                faults.push(format!("seed {seed} {:?}: {verdict:?}", job.argv));
            }
            if std::env::var("SHOW").is_ok() && !matches!(verdict, Verdict::Same(_)) {
                println!("seed {seed} {:?} {verdict:?}", job.argv);
            }
        }
    }
    println!("{counts:#?}");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn random_trees_are_followed() {
    all_agree(20, |dice, root, compiler, source| {
        random::tree(dice, root, source == "main.cc");
        random::command(dice, root, compiler, source)
    });
}

#[test]
fn random_texts_are_read() {
    all_agree(20, |dice, root, compiler, source| {
        noise::source(dice, root, source);
        noise::command(dice, root, compiler, source)
    });
}

/// A file that takes hours to read stalls an include server, whatever is in it.
#[test]
fn texts_of_any_shape_are_read_in_time() {
    let dialect = Dialect {
        raw_strings: true,
        digit_separators: true,
        ..Dialect::default()
    };
    let begun = std::time::Instant::now();
    for piece in [
        "/* __DATE__ */\n",
        "x /* __DATE__ */ ",
        "R\"a(\n",
        "1'",
        "\\\n",
        "/* *\\\n",
        "'",
        "\"\\\n",
        "#if 1\n",
        "#define X(\n",
        "/",
        "%:",
        "??=",
    ] {
        for head in ["", "/*", "x", "#if "] {
            let text = format!("{head}{}", piece.repeat(100_000));
            Scan::new(text.as_bytes(), dialect);
        }
    }
    let took = begun.elapsed();
    assert!(took < std::time::Duration::from_secs(120), "{took:?}");
}

#[test]
fn a_first_unit() {
    let folder = tempfile::tempdir().unwrap();
    disk::write(
        folder.path(),
        "x.c",
        "#include <stdio.h>\n#include \"y.h\"\n",
    );
    disk::write(folder.path(), "y.h", "#include <stdlib.h>\n");
    for compiler in ["gcc", "clang"] {
        let job = Job::new(folder.path(), &format!("{compiler} -c x.c"));
        let verdict = compare(&job);
        assert!(
            matches!(verdict, Verdict::Same(_)),
            "{compiler}: {verdict:?}"
        );
    }
}

#[test]
fn odd_units_are_followed_or_left_alone() {
    let cases = cases::read(include_str!("odd.txt"));
    let check = |compiler: &str| {
        let mut faults = Vec::new();
        for case in cases.iter().filter(|case| case.fits(compiler)) {
            let verdict = case.verdict(compiler);
            let well = match &verdict {
                Verdict::Same(_) => true,
                // Then the compile fails wherever it is done.
                Verdict::BothFail(..) | Verdict::FailsUnnoticed(_) => true,
                Verdict::Punted(_) => case.may_be_left,
                Verdict::Differs(_) => false,
            };
            if !well {
                faults.push(format!("{} with {compiler}: {verdict:?}", case.name));
            }
        }
        faults
    };
    let faults = std::thread::scope(|scope| {
        let other = scope.spawn(|| check("clang"));
        let mut faults = check("gcc");
        faults.extend(other.join().unwrap());
        faults
    });
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
