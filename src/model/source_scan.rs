//! What the preprocessor wants to know of a file, read once: its directives. Made per content and dialect, shared by
//! threads, kept by whoever caches files.

use super::dialect::Dialect;

/// A file's directives.
#[derive(Debug, Default)]
pub struct Scan {
    pub(crate) includes: Vec<(bool, Vec<u8>)>,
}

impl Scan {
    /// Reads a whole file.
    pub fn new(text: &[u8], _dialect: Dialect) -> Scan {
        let mut includes = Vec::new();
        for line in text.split(|byte| *byte == b'\n') {
            let line = line.trim_ascii();
            let Some(rest) = line.strip_prefix(b"#") else {
                continue;
            };
            let Some(rest) = rest.trim_ascii().strip_prefix(b"include") else {
                continue;
            };
            let rest = rest.trim_ascii();
            for (angle, open, close) in [(false, b'"', b'"'), (true, b'<', b'>')] {
                if let Some(name) = rest.strip_prefix(&[open]) {
                    if let Some(end) = name.iter().position(|byte| *byte == close) {
                        includes.push((angle, name[..end].to_vec()));
                    }
                }
            }
        }
        Scan { includes }
    }

    /// About how many bytes it takes in memory.
    pub fn memory(&self) -> usize {
        std::mem::size_of::<Scan>() + 64 * self.includes.capacity()
    }
}
