//! The layout of a text for people: a verdict, and below it sections of aligned lines.

use std::ffi::OsString;
use std::fmt::Write as _;

/// No column is made wider for one long word.
const COLUMN_MAX: usize = 24;

/// A text that grows from its most important line downwards.
#[derive(Debug, Default)]
pub struct Report(String);

impl Report {
    /// Adds a line of its own.
    pub fn line(&mut self, text: &str) {
        let _ = writeln!(self.0, "{text}");
    }

    /// Adds a section: a heading and lines of two columns. Nothing if there are no lines.
    pub fn section(&mut self, heading: &str, lines: &[(String, String)]) {
        if lines.is_empty() {
            return;
        }
        let _ = writeln!(self.0, "\n{heading}:");
        let widths = lines.iter().map(|(left, _)| left.chars().count());
        let width = widths
            .filter(|width| *width <= COLUMN_MAX)
            .max()
            .unwrap_or(0);
        for (left, right) in lines {
            let line = format!("  {left:<width$}  {right}");
            let _ = writeln!(self.0, "{}", line.trim_end());
        }
    }

    /// All of it.
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// Words as a shell would take them.
pub fn quoted(words: &[OsString]) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(&byte);
    let quoted = words.iter().map(|word| {
        let text = word.to_string_lossy();
        match !text.is_empty() && text.bytes().all(|byte| plain(byte) || !byte.is_ascii()) {
            true => text.into_owned(),
            false => format!("'{}'", text.replace('\'', r"'\''")),
        }
    });
    quoted.collect::<Vec<String>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_but_not_for_one_long_word() {
        let mut report = Report::default();
        report.line("Verdict.");
        report.section("None", &[]);
        let lines = [
            ("a", "one"),
            ("bcd", "two"),
            (&"x".repeat(40)[..], "three"),
            ("e", ""),
        ];
        report.section(
            "Some",
            &lines.map(|(left, right)| (left.to_owned(), right.to_owned())),
        );
        let long = "x".repeat(40);
        let expected = format!("Verdict.\n\nSome:\n  a    one\n  bcd  two\n  {long}  three\n  e\n");
        assert_eq!(report.text(), expected);
    }

    #[test]
    fn words_are_quoted_for_shells() {
        let words = ["gcc", "-DX=\"a b\"", "", "it's", "x.c"].map(OsString::from);
        assert_eq!(quoted(&words), r#"gcc '-DX="a b"' '' 'it'\''s' x.c"#);
    }
}
