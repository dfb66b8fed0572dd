//! The rows: tables of text taken apart, and the compilers that they are for.

use super::common::have;

/// A compiler that rows may be for.
#[derive(Debug, PartialEq, Eq)]
pub struct Compiler {
    /// As tables call it.
    pub name: &'static str,
    /// The program.
    pub program: &'static str,
    /// The extension of its sources.
    pub extension: &'static str,
    /// Its language, for `-x`.
    pub language: &'static str,
    /// The extension of preprocessed text.
    pub preprocessed: &'static str,
}

const fn compiler(
    name: &'static str,
    program: &'static str,
    extension: &'static str,
    language: &'static str,
    preprocessed: &'static str,
) -> Compiler {
    Compiler {
        name,
        program,
        extension,
        language,
        preprocessed,
    }
}

/// All compilers.
pub const COMPILERS: &[Compiler] = &[
    compiler("gcc", "gcc", "c", "c", "i"),
    compiler("g++", "g++", "cc", "c++", "ii"),
    compiler("objc", "gcc", "m", "objective-c", "mi"),
    compiler("clang", "clang", "c", "c", "i"),
    compiler("clang++", "clang++", "cc", "c++", "ii"),
    compiler("objc-clang", "clang", "m", "objective-c", "mi"),
    compiler("aarch64", "aarch64-linux-gnu-gcc-12", "c", "c", "i"),
    compiler("arm", "arm-linux-gnueabihf-gcc-12", "c", "c", "i"),
];

/// What prepares a folder that needs no preparation.
pub const NOTHING: &str = ":";

/// Where a row's compiles take place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Fate {
    /// All on a host, as source and headers.
    Pump,
    /// All on a host, at least one as preprocessed text.
    Text,
    /// At least one here.
    Here,
}

/// One row of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The table.
    pub table: &'static str,
    /// What is expected in pump mode with our daemon; None: whatever.
    pub fate: Option<Fate>,
    /// Two local runs don't make the same bytes.
    pub varies: bool,
    /// Reads more than a source and its headers, runs other programs, or does not compile.
    pub other: bool,
    /// Prepares the folder.
    pub setup: &'static str,
    /// The command line.
    pub line: &'static str,
}

/// A row for one compiler.
#[derive(Clone, Debug)]
pub struct Job {
    pub row: Row,
    pub compiler: &'static Compiler,
}

/// All jobs of the tables that hold the words asked for, and whose compilers are here; others are noted.
pub fn jobs(tables: &[(&'static str, &'static str)], asked: &str) -> Vec<Job> {
    let all = tables.iter().flat_map(|(name, text)| parse(name, text));
    let is_here = |compiler: &&Compiler| {
        let programs = ["sh", compiler.program];
        have(&format!("rows of {}", compiler.name), &programs)
    };
    let here: Vec<&Compiler> = COMPILERS.iter().filter(is_here).collect();
    let all = all.filter(|job| here.contains(&job.compiler));
    all.filter(|job| {
        job.row.line.contains(asked)
            || job.row.setup.contains(asked)
            || asked
                .split_terminator(':')
                .any(|name| name == job.row.table)
    })
    .collect()
}

/// A table taken apart. Panics where it is not well-formed: nothing is skipped silently.
pub fn parse(table: &'static str, text: &'static str) -> Vec<Job> {
    let mut compilers: Vec<&Compiler> = Vec::new();
    let mut jobs = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(names) = line.strip_prefix("for ") {
            compilers = names.split_whitespace().map(named).collect();
            continue;
        }
        let row = row(table, line);
        assert!(!compilers.is_empty(), "{table}: for whom? {line}");
        jobs.extend(compilers.iter().map(|compiler| Job {
            row: row.clone(),
            compiler,
        }));
    }
    jobs
}

fn named(name: &str) -> &'static Compiler {
    let mut all = COMPILERS.iter();
    let found = all.find(|compiler| compiler.name == name);
    found.unwrap_or_else(|| panic!("no compiler is called {name:?}"))
}

fn row(table: &'static str, line: &'static str) -> Row {
    let (fate, rest) = line.split_once(' ').unwrap_or((line, ""));
    let fate = match fate {
        "pump" => Some(Fate::Pump),
        "text" => Some(Fate::Text),
        "here" => Some(Fate::Here),
        "any" => None,
        _ => panic!("{table}: no fate: {line}"),
    };
    let (other, rest) = mark(rest, "other ");
    let (varies, rest) = mark(rest, "varies ");
    let (setup, line) = rest.split_once(" :: ").unwrap_or((NOTHING, rest));
    assert!(line.contains("$CC"), "{table}: runs no compiler: {line}");
    Row {
        table,
        fate,
        varies,
        other,
        setup,
        line,
    }
}

/// Whether a row goes on with this word, and what follows.
fn mark<'r>(rest: &'r str, word: &str) -> (bool, &'r str) {
    let rest = rest.trim_start();
    match rest.strip_prefix(word) {
        Some(rest) => (true, rest.trim_start()),
        None => (false, rest),
    }
}

impl Job {
    /// For people.
    pub fn name(&self) -> String {
        format!(
            "{} ({}): {}",
            self.compiler.name, self.row.table, self.row.line
        )
    }
}

#[test]
fn tables_are_read() {
    let text = "# c\nfor gcc clang\npump $CC -c a.$E\n\nfor g++\nhere other varies x :: y && $CC\n";
    let jobs = parse("t", text);
    let told: Vec<_> = jobs.iter().map(Job::name).collect();
    let expected = [
        "gcc (t): $CC -c a.$E",
        "clang (t): $CC -c a.$E",
        "g++ (t): y && $CC",
    ];
    assert_eq!(told, expected);
    assert_eq!(jobs[0].row.fate, Some(Fate::Pump));
    let row = &jobs[2].row;
    assert!(row.varies && row.other && row.setup == "x");
}
