//! Running a command to its end, bound in time, with all that it said.

use std::fmt;
use std::io::{Read, Seek};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A command that has ended.
#[derive(Clone)]
pub struct Ran {
    /// The command, for messages.
    pub what: String,
    /// As the shell sees it: the exit status, or 128 + the signal.
    pub status: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Both as they are, byte for byte.
    pub bytes: [Vec<u8>; 2],
    /// The client's log, if it was a client.
    pub log: String,
    /// How long it took.
    pub took: Duration,
}

impl Ran {
    /// Panics unless it ended with this status.
    #[track_caller]
    pub fn expect(self, status: i32) -> Ran {
        assert_eq!(self.status, status, "{self}");
        self
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} [status {}, {:?}]", self.what, self.status, self.took)?;
        for (name, text) in [
            ("stdout", &self.stdout),
            ("stderr", &self.stderr),
            ("log", &self.log),
        ] {
            if !text.is_empty() {
                writeln!(f, "--- {name}\n{text}")?;
            }
        }
        Ok(())
    }
}

/// Starts a command in its own process group with output into files; `finish` waits for it.
pub struct Running {
    child: Child,
    what: String,
    outputs: [std::fs::File; 2],
    begun: Instant,
}

impl Running {
    /// Starts it. Standard input is empty unless the command says otherwise before.
    pub fn start(command: &mut Command) -> Running {
        let outputs = [(); 2].map(|()| tempfile::tempfile().expect("a temporary file"));
        let what = format!("{command:?}");
        let child = command
            .stdin(Stdio::null())
            .stdout(outputs[0].try_clone().unwrap())
            .stderr(outputs[1].try_clone().unwrap())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|err| panic!("start {what}: {err}"));
        Running {
            child,
            what,
            outputs,
            begun: Instant::now(),
        }
    }

    /// The process, which is also its group.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended already.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal to the process alone.
    pub fn signal(&self, name: &str) {
        signal(name, &self.pid().to_string());
    }

    /// Waits for the end; kills the group and panics if it takes longer than `bound`.
    #[track_caller]
    pub fn finish(mut self, bound: Duration) -> Ran {
        let mut ended = None;
        while ended.is_none() && self.begun.elapsed() < bound {
            ended = self.child.try_wait().unwrap();
            if ended.is_none() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        let took = self.begun.elapsed();
        if ended.is_none() {
            signal("KILL", &format!("-{}", self.pid()));
            let _ = self.child.wait();
        }
        let bytes = self.outputs.each_mut().map(|file| {
            let mut bytes = Vec::new();
            file.rewind().unwrap();
            file.read_to_end(&mut bytes).unwrap();
            bytes
        });
        let [stdout, stderr] = [0, 1].map(|n| String::from_utf8_lossy(&bytes[n]).into_owned());
        let ran = Ran {
            what: self.what,
            status: ended.map_or(-1, as_shell),
            stdout,
            stderr,
            bytes,
            log: String::new(),
            took,
        };
        assert!(ended.is_some(), "not done within {bound:?}: {ran}");
        ran
    }
}

fn as_shell(status: ExitStatus) -> i32 {
    let signal = status.signal().unwrap_or_default();
    status.code().unwrap_or(128 + signal)
}

/// `kill -NAME TARGET`; a target that is gone is no fault.
pub fn signal(name: &str, target: &str) {
    let _ = Command::new("/bin/kill")
        .args([format!("-{name}").as_str(), "--", target])
        .stderr(Stdio::null())
        .status();
}

/// Runs a command to its end.
#[track_caller]
pub fn run(command: &mut Command, bound: Duration) -> Ran {
    Running::start(command).finish(bound)
}
