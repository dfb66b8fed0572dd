//! What compilers say otherwise when they say it to a terminal: gcc links the names of options to its manual, both fit
//! lines to the width, and each has its own idea of which terminals have colours. A compiler elsewhere sees none.

use super::family::Family;
use super::invocation::{Invocation, Role};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// Whether the compiler says the same to a terminal as it `said` into a file, where it was asked for colour.
/// `columns` is the terminal's width if it is known, `lookup` reads the environment.
pub fn says_the_same(
    said: &[u8],
    invocation: &Invocation,
    family: Option<Family>,
    columns: Option<usize>,
    lookup: &dyn Fn(&str) -> Option<OsString>,
) -> bool {
    let wished = lookup("COLUMNS").and_then(|text| text.to_str()?.trim().parse().ok());
    let columns = columns.into_iter().chain(wished).min();
    let fits = columns.is_none_or(|columns| lines_are_below(said, columns));
    let term = lookup("TERM").unwrap_or_default();
    fits && match family {
        Some(Family::Gcc) => !links(invocation, &term, lookup),
        Some(Family::Clang) => has_clear_color(&term),
        None => false,
    }
}

/// Whether all lines, counted in bytes without what only colours them, are shorter.
fn lines_are_below(said: &[u8], columns: usize) -> bool {
    let mut length = 0;
    let mut bytes = said.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\n' => length = 0,
            // A tab of the source is shown as blanks.
            b'\t' => length += 8,
            // ESC [ … letter
            0x1b => drop(bytes.find(|byte| byte.is_ascii_alphabetic())),
            _ => length += 1,
        }
        if length >= columns {
            return false;
        }
    }
    true
}

/// Whether gcc may put links into messages. It does so only where there is colour, too; which terminals it trusts to
/// take no harm is its own affair.
fn links(invocation: &Invocation, term: &OsStr, lookup: &dyn Fn(&str) -> Option<OsString>) -> bool {
    const OFF: [&[u8]; 2] = [b"-fdiagnostics-urls=never", b"-fdiagnostics-plain-output"];
    let mut words = invocation.argv.iter().zip(&invocation.roles);
    let is_off = |word: &OsString| OFF.contains(&word.as_bytes());
    let by_variable = lookup("GCC_URLS").or_else(|| lookup("TERM_URLS"));
    let none = by_variable.is_some_and(|value| value.is_empty() || value == "no");
    !(none || is_dumb(term) || words.any(|(word, role)| *role == Role::Code && is_off(word)))
}

/// Whether all versions of clang know whether such a terminal has colours, whatever else is installed.
fn has_clear_color(term: &OsStr) -> bool {
    const BEGINNINGS: [&[u8]; 4] = [b"screen", b"xterm", b"vt100", b"rxvt"];
    let term = term.as_bytes();
    is_dumb(OsStr::from_bytes(term))
        || matches!(term, b"ansi" | b"cygwin" | b"linux")
        || term.ends_with(b"color")
        || BEGINNINGS.iter().any(|known| term.starts_with(known))
}

fn is_dumb(term: &OsStr) -> bool {
    term.is_empty() || term == "dumb"
}

/// A line from its first letter on: gcc sets the driver's name in bold, by sequences such as `ESC[01m` and `ESC[K`.
pub fn without_first_colors(line: &[u8]) -> &[u8] {
    let mut rest = line;
    while let Some(sequence) = rest.strip_prefix(b"\x1b[") {
        let end = sequence.iter().position(u8::is_ascii_alphabetic);
        match end.and_then(|end| sequence.get(end + 1..)) {
            Some(behind) => rest = behind,
            None => break,
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]
    use super::*;

    #[test]
    fn names_are_found_behind_colors() {
        for (line, rest) in [
            (
                &b"\x1b[01m\x1b[Kgcc:\x1b[m\x1b[K warning"[..],
                &b"gcc:\x1b[m\x1b[K warning"[..],
            ),
            (b"gcc: x", b"gcc: x"),
            (b"\x1b[01", b"\x1b[01"),
            (b"", b""),
        ] {
            assert_eq!(without_first_colors(line), rest);
        }
    }
    use crate::model::invocation::{scan, Scan};

    fn same(command: &str, variables: &[(&str, &str)], columns: usize, said: &str) -> bool {
        let argv: Vec<OsString> = command.split(' ').map(OsString::from).collect();
        let Scan::Distributable(invocation) = scan(&argv, &|_| None) else {
            panic!("{command} stays here");
        };
        let family = super::super::family::family(std::path::Path::new(&invocation.argv[0]));
        let lookup = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        says_the_same(said.as_bytes(), &invocation, family, Some(columns), &lookup)
    }

    #[test]
    fn gcc_may_link_where_it_is_not_told_otherwise() {
        let said = "x.c:1: warning: x [-Wall]\n";
        let xterm = ("TERM", "xterm-256color");
        for (command, variables, expected) in [
            ("gcc -c x.c", &[xterm][..], false),
            ("gcc -c x.c", &[("TERM", "dumb")], true),
            ("gcc -c x.c", &[], true),
            ("gcc -c x.c", &[xterm, ("GCC_URLS", "no")], true),
            ("gcc -c x.c", &[xterm, ("TERM_URLS", "")], true),
            (
                "gcc -c x.c",
                &[xterm, ("GCC_URLS", "st"), ("TERM_URLS", "no")],
                false,
            ),
            ("gcc -fdiagnostics-urls=never -c x.c", &[xterm], true),
            ("gcc -fdiagnostics-plain-output -c x.c", &[xterm], true),
            ("clang -c x.c", &[xterm], true),
            ("clang -c x.c", &[("TERM", "strange")], false),
            ("tcc -c x.c", &[], false),
        ] {
            assert_eq!(
                same(command, variables, 80, said),
                expected,
                "{command} {variables:?}"
            );
        }
    }

    #[test]
    fn long_lines_are_fitted() {
        let said = "\x1b[1mx.c\x1b[0m: 4567\n\tx\n";
        for (columns, expected) in [(10, true), (9, false)] {
            assert_eq!(
                same("clang -c x.c", &[("TERM", "linux")], columns, said),
                expected
            );
        }
        assert!(!same("clang -c x.c", &[("COLUMNS", "9")], 80, said));
        assert!(!same("gcc -c x.c", &[("COLUMNS", " 4 ")], 80, "12345"));
        assert!(same("gcc -c x.c", &[("COLUMNS", "x")], 80, "12345"));
    }
}
