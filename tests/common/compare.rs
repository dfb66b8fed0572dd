//! Are two files the same, and if not, where do they part?

use std::path::Path;

/// `None` if equal, else where the difference begins.
pub fn same_bytes(expected: &[u8], actual: &[u8]) -> Option<String> {
    if expected == actual {
        return None;
    }
    let at = expected
        .iter()
        .zip(actual)
        .position(|(a, b)| a != b)
        .unwrap_or(expected.len().min(actual.len()));
    let count = expected.iter().zip(actual).filter(|(a, b)| a != b).count();
    let around = |bytes: &[u8]| {
        let from = at.saturating_sub(16).min(bytes.len());
        bytes[from..(at + 32).min(bytes.len())]
            .escape_ascii()
            .to_string()
    };
    Some(format!(
        "{} bytes expected, {} found, {count} differ, the first at {at}:\n  expected …{}…\n  found    …{}…",
        expected.len(),
        actual.len(),
        around(expected),
        around(actual)
    ))
}

/// The same for files; one that can't be read is a difference.
pub fn same_file(expected: &Path, actual: &Path) -> Option<String> {
    let read =
        |path: &Path| std::fs::read(path).map_err(|err| format!("{}: {err}", path.display()));
    let different = match (read(expected), read(actual)) {
        (Ok(expected), Ok(actual)) => same_bytes(&expected, &actual)?,
        (Err(err), _) | (_, Err(err)) => err,
    };
    Some(format!("{}: {different}", actual.display()))
}
