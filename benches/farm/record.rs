//! What the compiles took here, and the objects that they made: taken once and kept.

use super::cost;
use super::inputs::{Inputs, Unit};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// A compile.
pub struct Job {
    /// Processor time.
    pub took: Duration,
    pub object: Vec<u8>,
}

/// The jobs of all units of the sample, from `folder` if they are there.
pub fn record(inputs: &Inputs, folder: &Path) -> Vec<Job> {
    fs::create_dir_all(folder).unwrap();
    let units = inputs.sample.iter().enumerate();
    let jobs = units.map(|(number, unit)| {
        let object = folder.join(format!("{number}.o"));
        let times = folder.join(format!("{number}.µs"));
        let took = match fs::read_to_string(&times) {
            Ok(micros) => Duration::from_micros(micros.parse().unwrap()),
            Err(_) => {
                let took = compile(unit, &object);
                fs::write(&times, took.as_micros().to_string()).unwrap();
                took
            }
        };
        let object = fs::read(object).unwrap();
        Job { took, object }
    });
    jobs.collect()
}

fn compile(unit: &Unit, object: &Path) -> Duration {
    let before = cost::of_children();
    let status = Command::new(&unit.words[0])
        .args(&unit.words[1..])
        .args(["-c", "-o"])
        .arg(object)
        .current_dir(&unit.folder)
        .stderr(Stdio::null())
        .status();
    assert!(status.unwrap().success(), "{:?}", unit.words);
    cost::of_children() - before
}
