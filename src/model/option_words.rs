//! Brings our own programs' command lines into the one shape that `argh` reads: `--jobs=4`, `-j4`, `-j=4` and `-Wj4`
//! become `--jobs 4`, of a repeated option the last one counts, and everything from the first operand on is left alone.
//! Compiler command lines never come here.

use super::error::{Code, Error, Result};
use std::ffi::OsString;

/// An option that takes a value; all others are switches.
#[derive(Clone, Copy, Debug)]
pub struct Valued {
    /// With its two dashes.
    pub long: &'static str,
    /// Its one-letter form.
    pub short: Option<char>,
    /// Whether every occurrence counts; otherwise the last one does.
    pub repeats: bool,
}

/// A command line taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spread {
    /// Options, each value a word of its own; nothing follows `--help` or `--version`.
    pub options: Vec<String>,
    /// The first operand and all that follows it, or all that follows `--`.
    pub operands: Vec<OsString>,
}

/// Spreads `words` (without the program's name). Unknown options are passed on, so that `argh` names them.
///
/// # Errors
/// [`Code::BadArguments`] if an option or its value is no UTF-8.
pub fn spread(words: &[OsString], valued: &[Valued]) -> Result<Spread> {
    let mut found: Vec<(String, Option<String>)> = Vec::new();
    let mut rest = words.iter();
    let mut operands = Vec::new();
    while let Some(word) = rest.next() {
        if word == "--" {
            break;
        }
        if !word.as_encoded_bytes().starts_with(b"-") || word == "-" {
            operands.push(word.clone());
            break;
        }
        let word = text(word)?;
        if word == "--help" || word == "--version" {
            found.push((word.to_owned(), None));
            return Ok(Spread {
                options: only_last(found, valued),
                operands: Vec::new(),
            });
        }
        let waits_for_value = if word.starts_with("--") {
            take_long(word, valued, &mut found)
        } else {
            take_bundle(word, valued, &mut found)
        };
        if waits_for_value {
            if let (Some(value), Some(last)) = (rest.next(), found.last_mut()) {
                last.1 = Some(text(value)?.to_owned());
            }
        }
    }
    operands.extend(rest.cloned());
    Ok(Spread {
        options: only_last(found, valued),
        operands,
    })
}

/// Takes `--name` or `--name=value`; says whether the next word is its value.
fn take_long(word: &str, valued: &[Valued], found: &mut Vec<(String, Option<String>)>) -> bool {
    let (name, value) = match word.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (word, None),
    };
    if !valued.iter().any(|option| option.long == name) {
        found.push((word.to_owned(), None));
        return false;
    }
    let waits = value.is_none();
    found.push((name.to_owned(), value));
    waits
}

/// Takes `-abc`, `-j4`, `-j=4`; says whether the next word is the value of the last one.
fn take_bundle(word: &str, valued: &[Valued], found: &mut Vec<(String, Option<String>)>) -> bool {
    let mut letters = word.get(1..).unwrap_or_default().chars();
    while let Some(letter) = letters.next() {
        let Some(option) = valued.iter().find(|option| option.short == Some(letter)) else {
            found.push((format!("-{letter}"), None));
            continue;
        };
        let value = letters.as_str();
        let value = value.strip_prefix('=').unwrap_or(value);
        let waits = letters.as_str().is_empty();
        found.push((option.long.to_owned(), (!waits).then(|| value.to_owned())));
        return waits;
    }
    false
}

fn only_last(found: Vec<(String, Option<String>)>, valued: &[Valued]) -> Vec<String> {
    let counts = |at: usize| {
        let (name, _) = &found[at];
        let single = valued
            .iter()
            .any(|option| option.long == name && !option.repeats);
        !single || found[at + 1..].iter().all(|(later, _)| later != name)
    };
    let mut words = Vec::with_capacity(2 * found.len());
    for (at, (name, value)) in found.iter().enumerate() {
        if counts(at) {
            words.push(name.clone());
            words.extend(value.clone());
        }
    }
    words
}

fn text(word: &OsString) -> Result<&str> {
    word.to_str().ok_or_else(|| {
        Error::new(
            Code::BadArguments,
            format!("{}: not UTF-8", word.to_string_lossy()),
        )
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const VALUED: &[Valued] = &[
        Valued {
            long: "--jobs",
            short: Some('j'),
            repeats: false,
        },
        Valued {
            long: "--allow",
            short: Some('a'),
            repeats: true,
        },
    ];

    fn spread_line(line: &str) -> (String, String) {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let spread = spread(&words, VALUED).unwrap();
        let operands: Vec<String> = spread
            .operands
            .iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        (spread.options.join(" "), operands.join(" "))
    }

    #[test]
    fn every_spelling_becomes_one() {
        for (line, options, operands) in [
            ("--jobs=4", "--jobs 4", ""),
            ("--jobs 4", "--jobs 4", ""),
            ("-j4", "--jobs 4", ""),
            ("-j 4", "--jobs 4", ""),
            ("-j=4", "--jobs 4", ""),
            ("-Wj4", "-W --jobs 4", ""),
            ("-j -5", "--jobs -5", ""),
            ("-j 4 --jobs=6 -j8", "--jobs 8", ""),
            ("-a x --allow=y", "--allow x --allow y", ""),
            ("--verbose make -j4", "--verbose", "make -j4"),
            ("--verbose -- -j4", "--verbose", "-j4"),
            ("--frob=1 -x", "--frob=1 -x", ""),
            ("-j", "--jobs", ""),
            ("--verbose --help --nonsense", "--verbose --help", ""),
        ] {
            let (got_options, got_operands) = spread_line(line);
            assert_eq!(
                (got_options.as_str(), got_operands.as_str()),
                (options, operands),
                "{line}"
            );
        }
    }
}
