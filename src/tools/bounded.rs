//! A program run for so long at most, with all that it starts, and what it said. Nothing of it is left when the time is
//! over, or when a final signal comes and those are noted.

use crate::model::wait_status::WaitStatus;
use crate::os::files::{bounded_memory_file, said};
use crate::os::net::wait_readable;
use crate::os::process::Group;
use crate::os::supervise;
use std::io;
use std::os::fd::BorrowedFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// More is not read of what a program says.
const SAID_BYTES_MAX: u64 = 1 << 20;

/// How long a program that is told to end may take.
const GRACE: Duration = Duration::from_millis(200);

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// As it ended; `None` if the time was over.
    pub status: Option<WaitStatus>,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

impl Ended {
    /// Whether it ended well and in time.
    pub fn is_well(&self) -> bool {
        self.status.is_some_and(WaitStatus::success)
    }

    /// How it ended and what it said last, in words.
    pub fn describe(&self) -> String {
        let how = match &self.status {
            Some(status) => status.describe(),
            None => "took too long".to_owned(),
        };
        let said = self
            .stderr
            .lines()
            .map(str::trim)
            .rfind(|line| !line.is_empty());
        match said {
            Some(said) => format!("{how}, and said: {said}"),
            None => how,
        }
    }
}

/// Runs a command that reads nothing, until then at most.
pub fn run(command: &mut Command, until: Instant) -> io::Result<Ended> {
    let [stdout, stderr] = [
        bounded_memory_file(SAID_BYTES_MAX)?,
        bounded_memory_file(SAID_BYTES_MAX)?,
    ];
    command
        .stdin(Stdio::null())
        .stdout(stdout.try_clone()?)
        .stderr(stderr.try_clone()?);
    let group = Group::spawn(command)?;
    let awaited = [Some(group.ended()), supervise::coming()];
    let awaited: Vec<BorrowedFd> = awaited.into_iter().flatten().collect();
    let status = match wait_readable(&awaited, Some(until))? {
        Some(0) => Some(group.wait()?),
        _ => {
            group.terminate(GRACE)?;
            None
        }
    };
    let text = |file| said(file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Ok(Ended {
        status,
        stdout: text(&stdout)?,
        stderr: text(&stderr)?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn shell(script: &str, time: Duration) -> Ended {
        let mut command = Command::new("/bin/sh");
        run(command.args(["-c", script]), Instant::now() + time).unwrap()
    }

    #[test]
    fn a_program_says_how_it_ended_and_what_was_wrong() {
        let minute = Duration::from_secs(60);
        let ended = shell("echo out; echo 'no such thing' >&2; exit 3", minute);
        assert_eq!(ended.stdout, "out\n");
        assert_eq!(
            ended.describe(),
            "failed with exit code 3, and said: no such thing"
        );
        assert!(!ended.is_well() && shell("true", minute).is_well());
    }

    #[test]
    fn a_program_that_takes_too_long_is_ended() {
        let begun = Instant::now();
        let ended = shell("sleep 600", Duration::from_millis(20));
        assert!(ended.status.is_none() && !ended.is_well());
        assert_eq!(ended.describe(), "took too long");
        assert!(begun.elapsed() < Duration::from_secs(300));
    }
}
