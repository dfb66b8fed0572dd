//! One run of a compiler that only asks it something: with a clean environment, a bound in time, and output in memory.

use crate::os::files::{bounded_memory_file, memory_file, said};
use crate::os::net::{wait_any, Event};
use crate::os::process::Group;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long one that is asked to end may go on.
const GRACE: Duration = Duration::from_millis(200);

/// How much a compiler may say.
const BYTES_MAX: u64 = 8 << 20;

/// What of our own environment a compiler may need to find its parts.
const KEPT: [&str; 3] = ["PATH", "HOME", "TMPDIR"];

/// The variables with which compilers are asked.
pub type Environment = Vec<(OsString, OsString)>;

/// Of all variables those with which compilers are asked: their language is English, and none moves their folders.
pub fn environment(all: impl Iterator<Item = (OsString, OsString)>) -> Environment {
    all.filter(|(name, _)| KEPT.iter().any(|kept| name == kept))
        .chain([(OsString::from("LC_ALL"), OsString::from("C"))])
        .collect()
}

/// What a compiler has answered.
#[derive(Debug)]
pub struct Said {
    /// It ended with success.
    pub success: bool,
    /// On stdout.
    pub output: Vec<u8>,
    /// On stderr.
    pub messages: Vec<u8>,
}

/// Runs `program` in `cwd`, for no longer than `patience`; it reads `input`.
pub fn ask(
    program: &Path,
    words: &[&OsStr],
    cwd: &Path,
    environment: &Environment,
    input: &[u8],
    patience: Duration,
) -> io::Result<Said> {
    let (output, messages) = (
        bounded_memory_file(BYTES_MAX)?,
        bounded_memory_file(BYTES_MAX)?,
    );
    let mut command = Command::new(program);
    command
        .args(words)
        .env_clear()
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .current_dir(cwd)
        .stdin(fed(input)?)
        .stdout(shared(&output)?)
        .stderr(shared(&messages)?);
    let group = Group::spawn(&mut command)?;
    drop(command);
    let until = Instant::now() + patience;
    let ended = wait_any([(group.ended(), Event::Read)], Some(until))?;
    if ended.is_none() {
        group.terminate(GRACE)?;
        let why = "it takes too long to answer";
        return Err(io::Error::new(io::ErrorKind::TimedOut, why));
    }
    let status = group.wait()?;
    Ok(Said {
        success: status.success(),
        output: said(&output)?,
        messages: said(&messages)?,
    })
}

fn fed(input: &[u8]) -> io::Result<Stdio> {
    if input.is_empty() {
        return Ok(Stdio::null());
    }
    let mut file = memory_file()?;
    file.write_all(input)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(Stdio::from(OwnedFd::from(file)))
}

fn shared(file: &File) -> io::Result<Stdio> {
    Ok(Stdio::from(file.try_clone()?))
}

/// The first line of messages that says something of an error, for people.
pub fn first_error(messages: &[u8]) -> String {
    let text = String::from_utf8_lossy(messages);
    let line = text.lines().find(|line| line.contains("error"));
    line.unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn shell(script: &str, input: &[u8]) -> io::Result<Said> {
        let words = [OsStr::new("-c"), OsStr::new(script)];
        let all = [("PATH", "/bin"), ("CPATH", "/x"), ("LC_ALL", "de_DE")];
        let all = all.map(|(name, value)| (name.into(), value.into()));
        let environment = environment(all.into_iter());
        ask(
            Path::new("/bin/sh"),
            &words,
            Path::new("/"),
            &environment,
            input,
            Duration::from_secs(60),
        )
    }

    #[test]
    fn everything_said_is_had() {
        let said = shell("cat; pwd; echo $CPATH$LC_ALL >&2; exit 3", b"in\n").unwrap();
        assert_eq!(said.output, b"in\n/\n");
        assert_eq!(said.messages, b"C\n");
        assert!(!said.success);
        let nowhere = Path::new("/nowhere");
        let long = Duration::from_secs(60);
        let nowhere = ask(nowhere, &[], Path::new("/"), &Vec::new(), b"", long);
        assert_eq!(nowhere.unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(first_error(b"Using\ncc: error: no\nx"), "cc: error: no");
        let no_time = Duration::ZERO;
        let words = ["-c", "sleep 1000"].map(OsStr::new);
        let slow = ask(
            Path::new("/bin/sh"),
            &words,
            Path::new("/"),
            &Vec::new(),
            b"",
            no_time,
        );
        assert_eq!(slow.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
