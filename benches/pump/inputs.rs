//! The compiles of a tree, as `inputs.sh` has noted them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

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
    #[allow(dead_code)] // Only one of the benchmarks asks.
    pub project: String,
    /// All units of the tree.
    #[allow(dead_code)] // Only one of the benchmarks asks.
    pub units: Vec<Unit>,
    /// Every so manieth of them.
    pub sample: Vec<Unit>,
    pub tree: PathBuf,
}

impl Inputs {
    /// The units of a project of Debian's, which is fetched if need be, with a sample of `count`.
    pub fn made(project: &str, count: usize) -> Inputs {
        let below = |name: &str| Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let (trees, built) = (below("trees"), below("bench-trees"));
        let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/pump/inputs.sh");
        let made = Command::new(made).args([&trees, &built]).status();
        assert!(made.is_ok_and(|status| status.success()));
        Inputs::read(&built.join(project), count)
    }

    /// The units of a tree, with a sample of `count`.
    fn read(tree: &Path, count: usize) -> Inputs {
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

    /// At most so many units of the sample.
    #[allow(dead_code)] // Only one of the benchmarks asks.
    pub fn every(&self, count: usize) -> Vec<Unit> {
        let step = (self.sample.len() / count).max(1);
        self.sample
            .iter()
            .step_by(step)
            .take(count)
            .cloned()
            .collect()
    }

    #[allow(dead_code)] // Only one of the benchmarks asks.
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
