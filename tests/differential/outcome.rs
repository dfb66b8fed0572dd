//! What a run of a row leaves: status, outputs, files; and in what two such outcomes differ.

use super::common::same_bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// One file, folder or link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Type and mode, and how many names a file has.
    pub kind: (u32, u64),
    /// What it holds; where a link leads.
    pub bytes: Vec<u8>,
}

/// All that is below a folder, by name.
pub type Files = BTreeMap<PathBuf, Entry>;

/// What a run leaves.
#[derive(Debug)]
pub struct Outcome {
    pub status: i32,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub files: Files,
    /// What is left in the folder for temporary files.
    pub temporary: Vec<String>,
}

/// Takes down all that is below a folder.
pub fn files(folder: &Path) -> Files {
    let mut files = Files::new();
    collect(folder, folder, &mut files);
    files
}

fn collect(root: &Path, folder: &Path, files: &mut Files) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let meta = fs::symlink_metadata(&path).unwrap();
        let bytes = match meta.file_type() {
            kind if kind.is_symlink() => fs::read_link(&path)
                .unwrap()
                .into_os_string()
                .into_encoded_bytes(),
            // One without the right to be read is told by its mode.
            kind if kind.is_file() => fs::read(&path).unwrap_or_default(),
            _ => Vec::new(),
        };
        let names = if meta.is_file() { meta.nlink() } else { 0 };
        if meta.is_dir() {
            collect(root, &path, files);
        }
        let kind = (meta.mode(), names);
        let name = path.strip_prefix(root).unwrap().to_owned();
        files.insert(name, Entry { kind, bytes });
    }
}

/// Removes what a run has added to a folder; false if it is not as it was `before` then.
pub fn tidied(folder: &Path, before: &Files, after: &Files) -> bool {
    // What is in a folder follows it.
    let added = after
        .keys()
        .rev()
        .filter(|name| !before.contains_key(*name));
    let mut removed = added.map(|name| {
        let path = folder.join(name);
        fs::remove_file(&path).or_else(|_| fs::remove_dir(&path))
    });
    removed.all(|done| done.is_ok())
        && before
            .iter()
            .all(|(name, entry)| after.get(name) == Some(entry))
}

/// What is not the same each time, and so can't be compared.
#[derive(PartialEq, Eq, Default, Debug)]
pub struct Varying {
    stdout: bool,
    stderr: bool,
    files: BTreeSet<PathBuf>,
}

impl Outcome {
    /// In what two runs of the same differ by nature.
    pub fn varying(&self, again: &Outcome) -> Varying {
        let differs = |(name, entry): &(&PathBuf, &Entry)| {
            let other = again.files.get(*name);
            other.is_some_and(|other| other.bytes != entry.bytes)
        };
        let files = self.files.iter().filter(differs);
        Varying {
            stdout: self.stdout != again.stdout,
            stderr: self.stderr != again.stderr,
            files: files.map(|(name, _)| name.clone()).collect(),
        }
    }

    /// In what `other` differs, beside what varies.
    pub fn difference(&self, other: &Outcome, varying: &Varying) -> Option<String> {
        if self.status != other.status {
            return Some(format!("status {}, not {}", other.status, self.status));
        }
        let outputs = [
            ("stderr", &self.stderr, &other.stderr, varying.stderr),
            ("stdout", &self.stdout, &other.stdout, varying.stdout),
        ];
        for (what, here, there, varies) in outputs {
            if !varies && here != there {
                let [here, there] = [here, there].map(|text| String::from_utf8_lossy(text));
                return Some(format!("{what}:\n{there}\nnot:\n{here}"));
            }
        }
        if self.temporary != other.temporary {
            return Some(format!("left in TMPDIR: {:?}", other.temporary));
        }
        self.file_difference(other, varying)
    }

    fn file_difference(&self, other: &Outcome, varying: &Varying) -> Option<String> {
        let names = |outcome: &Outcome| outcome.files.keys().cloned().collect::<Vec<_>>();
        let [here, there] = [names(self), names(other)];
        if here != there {
            let lost: Vec<_> = here.iter().filter(|name| !there.contains(name)).collect();
            let more: Vec<_> = there.iter().filter(|name| !here.contains(name)).collect();
            return Some(format!("files lost: {lost:?}, files too many: {more:?}"));
        }
        self.files.iter().find_map(|(name, here)| {
            let there = &other.files[name];
            if here.kind != there.kind {
                let [(a, b), (c, d)] = [here.kind, there.kind];
                return Some(format!("{name:?}: mode {c:o}, {d} names, not {a:o}, {b}"));
            }
            let different =
                same_bytes(&here.bytes, &there.bytes).filter(|_| !varying.files.contains(name))?;
            Some(format!("{name:?}: {different}"))
        })
    }

    /// Whether all that was done to the files `before` is that one object or assembler file was made, and dependency
    /// files, and nothing was said on standard output. What a line throws away of its messages is random, so not the point.
    pub fn only_compiles(&self, before: &Files, line: &str) -> bool {
        let changed = self.files.iter().filter(|(name, entry)| {
            before.get(*name) != Some(entry) && entry.kind.0 & 0o170000 == 0o100000
        });
        let mut made: Vec<_> = changed.collect();
        let is_rule = |name: &Path, entry: &Entry| {
            let named = name.extension().is_some_and(|extension| extension == "d");
            named || line.contains(" -M") && entry.bytes.windows(3).any(|at| at == b".o:")
        };
        made.retain(|(name, entry)| !is_rule(name, entry));
        let words = |word: &str| line.split_whitespace().any(|found| found == word);
        let is_result = |entry: &Entry| {
            entry.bytes.starts_with(b"\x7fELF") || entry.bytes.starts_with(b"BC") || words("-S")
        };
        let one = matches!(made[..], [(_, entry)] if is_result(entry));
        let compiles = line.matches("$CC").count() == 1
            && !line.contains("-E ")
            && !line.contains("2>/dev/null");
        let compiles = compiles && ["-c", "-S", "@"].iter().any(|word| line.contains(word));
        let kept = before.keys().all(|name| self.files.contains_key(name));
        self.status == 0 && self.stdout.is_empty() && one && compiles && kept
    }
}

#[test]
fn differences_are_found() {
    let entry = |mode, bytes: &[u8]| Entry {
        kind: (mode, 1),
        bytes: bytes.to_vec(),
    };
    let outcome = |status, stderr: &[u8], files: &[(&str, u32, &[u8])]| Outcome {
        status,
        stdout: Vec::new(),
        stderr: stderr.to_vec(),
        files: (files.iter())
            .map(|(name, mode, bytes)| (name.into(), entry(*mode, bytes)))
            .collect(),
        temporary: Vec::new(),
    };
    let whole = outcome(
        0,
        b"w",
        &[("a", 0o100644, b"\x7fELF1"), ("b.d", 0o100644, b"d")],
    );
    for (other, what) in [
        (outcome(1, b"w", &[]), "status 1"),
        (outcome(0, b"v", &[]), "stderr:\nv"),
        (
            outcome(0, b"w", &[("a", 0o100644, b"\x7fELF1")]),
            "lost: [\"b.d\"]",
        ),
        (
            outcome(0, b"w", &[("a", 0o100755, b""), ("b.d", 0, b"")]),
            "mode 100755",
        ),
        (
            outcome(
                0,
                b"w",
                &[("a", 0o100644, b"\x7fELF2"), ("b.d", 0o100644, b"d")],
            ),
            "1 differ",
        ),
    ] {
        let told = whole.difference(&other, &Varying::default()).unwrap();
        assert!(told.contains(what), "{told}");
    }
    assert_eq!(whole.difference(&whole, &Varying::default()), None);
    assert!(whole.only_compiles(&Files::new(), "$CC -c a.c"));
    assert!(!outcome(0, b"", &[]).only_compiles(&whole.files, "$CC -c a.c"));
}
