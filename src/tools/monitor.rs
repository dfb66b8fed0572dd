//! `distccmon-text [DELAY]`: one line for each job that runs now, in the form that stock's readers know. Where the
//! jobs are found, and whether they live, is `farm::state`'s business.

use super::output::print;
use crate::farm::state::{self, Phase, Record};
use crate::farm::topdir::TopDir;
use crate::model::error::{Result, Status};
use crate::model::settings::ClientSettings;
use crate::os::logging;
use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::thread;
use std::time::Duration;

const USAGE: &str = "\
usage: distccmon-text [DELAY]

Shows the compiles that run now under this user's distcc, one on each line.

With DELAY it does so again and again, with a pause of that many seconds, which may have a fraction; else once.
";

/// The variables that count here; a fault in another one is not for a monitor to find.
const VARIABLES: [&str; 5] = [
    "DISTCC_DIR",
    "HOME",
    "DISTCC_LOG",
    "DISTCC_VERBOSE",
    "UNCACHED_ERR_FD",
];

/// `distccmon-text [DELAY]`; all words, the first is the program's name.
pub fn distccmon_text(argv: Vec<OsString>) -> Result<Status> {
    let pause = match argv.get(1..).unwrap_or_default() {
        [] => Ok(Duration::ZERO),
        [word] if word == "--help" || word == "-h" => Err(String::new()),
        [word] => delay(word).ok_or_else(|| {
            let word = word.to_string_lossy();
            format!("distccmon-text: '{word}' is no number of seconds\n")
        }),
        _ => Err("distccmon-text: there are too many words\n".to_owned()),
    };
    let pause = match pause {
        Ok(pause) => pause,
        Err(fault) => {
            let _ = io::stderr().write_all((fault + USAGE).as_bytes());
            return Ok(Status(1));
        }
    };
    let settings = ClientSettings::read(|name| match VARIABLES.contains(&name) {
        true => env::var_os(name),
        false => None,
    })?;
    logging::as_client("distccmon-text", &settings);
    let top = TopDir::find(&settings)?;
    loop {
        let text = pass(&state::read_all(&top)?);
        let printed = print(&text)?;
        if printed != Status::OK || pause.is_zero() {
            return Ok(printed);
        }
        thread::sleep(pause);
    }
}

/// Seconds; nothing, as with stock, is zero.
fn delay(word: &OsStr) -> Option<Duration> {
    match word.to_str()?.trim() {
        "" => Some(Duration::ZERO),
        number => Duration::try_from_secs_f64(number.parse().ok()?).ok(),
    }
}

/// All jobs, and an empty line behind them.
fn pass(records: &[Record]) -> Vec<u8> {
    let mut text = Vec::new();
    for record in records.iter().filter(|record| record.phase != Phase::Done) {
        line(&mut text, record);
    }
    text.push(b'\n');
    text
}

/// The C format `%6ld  %-10.10s  %-30.30s %24.24s[%d]`, which counts bytes.
fn line(text: &mut Vec<u8>, record: &Record) {
    let blanks = |count: usize| std::iter::repeat_n(b' ', count);
    let (file, host) = (printable(&record.file, 30), printable(&record.host, 24));
    text.extend(format!("{:6}  {:10}  ", record.pid, name(record.phase)).bytes());
    text.extend(&file);
    text.extend(blanks(30 - file.len() + 1 + 24 - host.len()));
    text.extend(&host);
    text.extend(format!("[{}]\n", record.slot).bytes());
}

/// At most `bytes_max` of a name that somebody else has written: it may not move the terminal's cursor.
pub fn printable(name: &[u8], bytes_max: usize) -> Vec<u8> {
    let seen = |byte: &u8| match byte.is_ascii_control() {
        true => b'?',
        false => *byte,
    };
    name.iter().take(bytes_max).map(seen).collect()
}

/// What people are told of a phase: stock's words.
pub fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Startup => "Startup",
        Phase::Blocked => "Blocked",
        Phase::Connect => "Connect",
        Phase::Preprocess => "Preprocess",
        Phase::Send => "Send",
        Phase::Compile => "Compile",
        Phase::Receive => "Receive",
        Phase::Done => "Done",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(file: &[u8], host: &[u8], phase: Phase) -> String {
        let record = Record {
            pid: 77,
            file: file.to_vec(),
            host: host.to_vec(),
            slot: 3,
            phase,
            since: Duration::ZERO,
            age: None,
        };
        String::from_utf8_lossy(&pass(&[record])).into_owned()
    }

    #[test]
    fn lines_are_those_of_the_c_format() {
        assert_eq!(
            shown(b"x.c", b"build1", Phase::Preprocess),
            format!("    77  Preprocess  {:30} {:>24}[3]\n\n", "x.c", "build1")
        );
        assert_eq!(
            shown(&[b'f'; 40], &[b'h'; 40], Phase::Send),
            format!(
                "    77  Send        {} {}[3]\n\n",
                "f".repeat(30),
                "h".repeat(24)
            )
        );
        assert_eq!(shown(b"x.c", b"h", Phase::Done), "\n");
        assert!(shown(b"a\x1b[2J\n", b"h", Phase::Send).contains(" a?[2J? "));
    }

    #[test]
    fn a_delay_is_a_time_that_can_pass() {
        for (word, seconds) in [
            ("", 0.0),
            ("0", 0.0),
            (" 1", 1.0),
            ("1e-1", 0.1),
            (".5", 0.5),
        ] {
            let found = delay(OsStr::new(word)).map(|delay| delay.as_secs_f64());
            assert_eq!(found, Some(seconds), "{word}");
        }
        for word in ["-1", "nan", "inf", "1x", "x", "1e99", "--help"] {
            assert_eq!(delay(OsStr::new(word)), None, "{word}");
        }
    }
}
