//! What was counted: rows that are equal, rows that were distributed, by compiler and cell; and whether the README
//! claims no more than that.

use super::bench::{Cell, Tried, CELLS};
use super::table::{Fate, Job};
use std::collections::BTreeMap;
use std::fmt;

/// The counts of one compiler in one cell.
#[derive(Default, Clone, Copy)]
struct Count {
    rows: usize,
    equal: usize,
    /// Rows that only compile, and what became of them.
    compiles: usize,
    pumped: usize,
    as_text: usize,
}

/// All counts.
#[derive(Default)]
pub struct Score {
    counts: BTreeMap<(&'static str, Cell), Count>,
    /// Rows that only compile and stayed here in pump mode with our daemon: why.
    stayed: BTreeMap<String, usize>,
}

impl Score {
    /// Counts a row.
    pub fn count(&mut self, job: &Job, tried: &Tried) {
        for went in &tried.cells {
            let key = (job.compiler.name, went.cell);
            let count = self.counts.entry(key).or_default();
            count.rows += 1;
            count.equal += usize::from(went.equal);
            if !tried.only_compiles {
                continue;
            }
            count.compiles += 1;
            match went.fate {
                Fate::Pump => count.pumped += 1,
                Fate::Text => count.as_text += 1,
                Fate::Here if went.cell == CELLS[0] => {
                    *self.stayed.entry(went.why.clone()).or_default() += 1;
                }
                Fate::Here => {}
            }
        }
    }

    fn of_cell(&self, cell: Cell) -> Count {
        let mut sum = Count::default();
        for ((_, of), count) in &self.counts {
            if *of == cell {
                sum.rows += count.rows;
                sum.equal += count.equal;
                sum.compiles += count.compiles;
                sum.pumped += count.pumped;
                sum.as_text += count.as_text;
            }
        }
        sum
    }

    /// What is wrong with the counts: too few compiles distributed.
    pub fn faults(&self, distributed_min: usize) -> Vec<String> {
        let pump = self.of_cell(CELLS[0]);
        let distributed = pump.pumped + pump.as_text;
        let enough = distributed * 100 >= pump.compiles * distributed_min;
        let told = format!(
            "only {distributed} of {} compiles were distributed",
            pump.compiles
        );
        (!enough).then_some(told).into_iter().collect()
    }
}

/// The heading of the README's table.
const HEADING: &str = "\n## Equality";

impl Score {
    /// Where the README's table claims more than there is, or lacks a compiler: of rows, so many for each compiler; and, if
    /// all of them were run, of the shares.
    pub fn readme_faults(
        &self,
        readme: &str,
        rows: &BTreeMap<&'static str, usize>,
        whole: bool,
    ) -> Vec<String> {
        let at = readme.find(HEADING).map(|at| at + HEADING.len());
        let section = at.map_or("", |at| {
            readme[at..].split("\n## ").next().unwrap_or_default()
        });
        let mut faults = Vec::new();
        for (&name, &rows) in rows {
            let measured = match whole {
                true => [rows, self.share(name, CELLS[0]), self.share(name, CELLS[1])],
                false => [rows, 100, 100],
            };
            let head = format!("| `{name}` |");
            match section.lines().find_map(|line| line.strip_prefix(&head)) {
                Some(line) => faults.extend(claimed_too_much(name, line, measured)),
                None => faults.push(format!("README.md, Equality: nothing is said of {name}")),
            }
        }
        faults
    }

    /// How many of 100 compiles were distributed.
    fn share(&self, name: &'static str, cell: Cell) -> usize {
        let count = self.counts.get(&(name, cell)).copied().unwrap_or_default();
        (count.pumped + count.as_text) * 100 / count.compiles.max(1)
    }
}

/// A line of the table: command lines, then of those that only compile the shares that are distributed in pump and in
/// plain mode.
fn claimed_too_much(name: &str, line: &str, measured: [usize; 3]) -> Option<String> {
    let number = |text: &str| text.trim().trim_end_matches(" %").parse::<usize>().ok();
    let claims: Option<Vec<usize>> = line.trim_end_matches(" |").split('|').map(number).collect();
    match claims.as_deref() {
        Some(claimed) if claimed.len() == measured.len() => {
            let is_less = claimed
                .iter()
                .zip(measured)
                .all(|(claim, found)| *claim <= found);
            (!is_less)
                .then(|| format!("README.md claims of {name} {claimed:?}, measured: {measured:?}"))
        }
        _ => Some(format!("README.md: of {name}: no three numbers: {line}")),
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "compiler  mode  daemon   equal/rows   distributed (in pump mode)/only compile"
        )?;
        let mut line = |name: &str, (mode, which): Cell, count: &Count| {
            let distributed = count.pumped + count.as_text;
            writeln!(
                f,
                "{name:9} {:5} {:7} {:5}/{:<5} {distributed:5} ({})/{}",
                format!("{mode:?}"),
                format!("{which:?}"),
                count.equal,
                count.rows,
                count.pumped,
                count.compiles
            )
        };
        for ((name, cell), count) in &self.counts {
            line(name, *cell, count)?;
        }
        for cell in CELLS {
            line("all", cell, &self.of_cell(cell))?;
        }
        for (why, count) in &self.stayed {
            writeln!(f, "stayed here: {count} × {why}")?;
        }
        Ok(())
    }
}

#[test]
fn the_readme_may_not_claim_more() {
    let mut score = Score::default();
    let count = Count {
        rows: 9,
        compiles: 4,
        pumped: 3,
        ..Count::default()
    };
    for cell in CELLS {
        score.counts.insert(("gcc", cell), count);
    }
    let readme = |line: &str| format!("# x\n\n## Equality\n\n{line}\n\n## y\n");
    let rows = BTreeMap::from([("gcc", 9)]);
    for (line, faults, of_rows) in [
        ("| `gcc` | 9 | 75 % | 75 % |", 0, 0),
        ("| `gcc` | 8 | 70 % | 0 % |", 0, 0),
        ("| `gcc` | 10 | 75 % | 75 % |", 1, 1),
        ("| `gcc` | 9 | 76 % | 75 % |", 1, 0),
        ("| `gcc` | 9 | 75 % | 76 % |", 1, 0),
        ("| `gcc` | all | 75 % | 75 % |", 1, 1),
        ("| `g++` | 9 | 75 % | 75 % |", 1, 1),
    ] {
        for (whole, faults) in [(true, faults), (false, of_rows)] {
            let found = score.readme_faults(&readme(line), &rows, whole);
            assert_eq!(found.len(), faults, "{line}");
        }
    }
}
