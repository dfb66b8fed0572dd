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
