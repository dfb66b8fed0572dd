//! What others take to find the headers of the same units: the compiler itself, and clang's tool for that.

use super::cost;
use super::inputs::{Inputs, Unit};
use std::process::{Command, Stdio};

/// CPU milliseconds a unit for the compiler's list (`-M`); and which unit has the most headers: how many, and its number.
pub fn list(inputs: &Inputs) -> (f64, (usize, usize)) {
    let before = cost::of_children();
    let mut deepest = (0, 0);
    for (number, unit) in inputs.sample.iter().enumerate() {
        let rule = compiler(unit, "-M");
        let headers = rule
            .split_ascii_whitespace()
            .filter(|word| *word != "\\")
            .count();
        // The target and the source are none.
        deepest = deepest.max((headers.saturating_sub(2), number));
    }
    (each(inputs, before), deepest)
}

/// CPU milliseconds a unit for the preprocessor's whole text.
pub fn preprocessor(inputs: &Inputs) -> f64 {
    let before = cost::of_children();
    for unit in &inputs.sample {
        compiler(unit, "-E");
    }
    each(inputs, before)
}

/// The same for clang-scan-deps, if it is installed.
pub fn scan_deps(inputs: &Inputs) -> Option<f64> {
    let scan = ["clang-scan-deps", "clang-scan-deps-14"]
        .into_iter()
        .find(|name| {
            let mut command = Command::new(name);
            command
                .arg("--help")
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            command.status().is_ok()
        })?;
    let database = inputs.compile_commands();
    let before = cost::of_children();
    let ran = Command::new(scan)
        .args(["-j", "1", "--compilation-database"])
        .arg(&database)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(ran.is_ok());
    Some(each(inputs, before))
}

fn each(inputs: &Inputs, before: std::time::Duration) -> f64 {
    super::ms(cost::of_children() - before) / inputs.sample.len() as f64
}

fn compiler(unit: &Unit, way: &str) -> String {
    let ran = Command::new(&unit.words[0])
        .args(&unit.words[1..])
        .arg(way)
        .current_dir(&unit.folder)
        .stderr(Stdio::null())
        .output()
        .unwrap();
    assert!(ran.status.success(), "{:?}", unit.words);
    String::from_utf8_lossy(&ran.stdout).into_owned()
}
