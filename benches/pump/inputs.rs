//! The compiles of a tree, as `inputs.sh` has noted them.

use std::fs;
use std::path::{Path, PathBuf};

/// A compile.
#[derive(Clone)]
pub struct Unit {
    pub folder: PathBuf,
    /// Compiler and words, without `-c` and `-o`; the last is the source.
    pub words: Vec<String>,
}

impl Unit {
    fn read(line: &str) -> Unit {
        let mut parts = line.split('\t').map(str::to_owned);
        Unit {
            folder: parts.next().unwrap().into(),
            words: parts.skip(1).collect(),
        }
    }
}

pub struct Inputs {
    pub project: String,
    /// All units of the tree.
    pub units: Vec<Unit>,
    /// Every so manieth of them.
    pub sample: Vec<Unit>,
    pub tree: PathBuf,
}

impl Inputs {
    /// The units of a tree, with a sample of `count`.
    pub fn read(tree: &Path, count: usize) -> Inputs {
        let text = fs::read_to_string(tree.join("jobs")).unwrap();
        let units: Vec<Unit> = text.lines().map(Unit::read).collect();
        let step = (units.len() / count).max(1);
        Inputs {
            project: tree.file_name().unwrap().to_string_lossy().into_owned(),
            tree: tree.to_owned(),
            sample: units.iter().step_by(step).take(count).cloned().collect(),
            units,
        }
    }

    /// A database of the sample, as clang's tools read it.
    pub fn compile_commands(&self) -> PathBuf {
        let quoted =
            |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        let entry = |unit: &Unit| {
            let words = [&unit.words[..], &["-c".into(), "-o".into(), "x.o".into()]].concat();
            let list: Vec<String> = words.iter().map(|word| quoted(word)).collect();
            let source = unit.words.last().map(String::as_str).unwrap_or_default();
            format!(
                "{{\"directory\": {}, \"file\": {}, \"arguments\": [{}]}}",
                quoted(&unit.folder.display().to_string()),
                quoted(source),
                list.join(", ")
            )
        };
        let path = self.tree.join("commands.json");
        let entries: Vec<String> = self.sample.iter().map(entry).collect();
        fs::write(&path, format!("[{}]", entries.join(",\n"))).unwrap();
        path
    }
}
