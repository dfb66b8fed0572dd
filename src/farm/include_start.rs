//! A running include server as the one who started it sees it: started from this executable, believed only when it says
//! that it is ready, ended when dropped. It also ends if we are killed outright, since its control pipe is its stdin.

use crate::model::error::{Code, Error, Result};
use crate::os::net::wait_readable;
use crate::os::process::{end_of, end_process, let_inherit};
use crate::os::supervise;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// This program, also when its file has been replaced since it was started.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// How long it may take to get ready; it is a matter of milliseconds as a rule.
const READY_WAIT: Duration = Duration::from_secs(20);

/// How long it may take to end by itself.
const END_WAIT: Duration = Duration::from_secs(10);

/// Longest line in which it says why it cannot start.
const REPORT_BYTES_MAX: usize = 4096;

/// The longest path that clients, stock's too, connect to.
const SOCKET_PATH_BYTES_MAX: usize = 106;

/// How an include server is to be started.
#[derive(Debug)]
pub struct Plan {
    program: PathBuf,
    socket: PathBuf,
    words: Vec<OsString>,
    /// For its stdout and stderr; it has ours otherwise.
    output: Option<[File; 2]>,
    ready_wait: Duration,
}

/// An include server at work.
#[derive(Debug)]
pub struct IncludeServer {
    process: Child,
    /// Open for as long as it is to live.
    control: Option<ChildStdin>,
    ended: OwnedFd,
}

/// Where clients find the include server of a private folder; its name is a part of stock's contract.
pub fn socket_in(folder: &Path) -> PathBuf {
    folder.join("socket")
}

/// Whether clients can connect to a socket in this folder.
pub fn has_room_for_socket(folder: &Path) -> bool {
    socket_in(folder).as_os_str().len() <= SOCKET_PATH_BYTES_MAX
}

impl Plan {
    /// One that answers on the socket in `folder`, with more words for its command line.
    pub fn new(folder: &Path, words: Vec<OsString>) -> Plan {
        Plan {
            program: THIS_PROGRAM.into(),
            socket: socket_in(folder),
            words,
            output: None,
            ready_wait: READY_WAIT,
        }
    }

    /// Its stdout and stderr go there.
    pub fn output(self, stdout: File, stderr: File) -> Plan {
        Plan {
            output: Some([stdout, stderr]),
            ..self
        }
    }

    /// The path for `$INCLUDE_SERVER_PORT`.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Starts it and waits until it answers. Our terminal's signals do not reach it. The waiting ends when a final
    /// signal comes.
    pub fn start(&self) -> Result<IncludeServer> {
        let trouble = |err: io::Error| Error::io("start the include server", &err);
        if self.socket.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
            let path = self.socket.display();
            let why = format!("{path} is too long for the path of a socket");
            return Err(Error::new(Code::BadArguments, why));
        }
        let (report, theirs) = UnixStream::pair().map_err(trouble)?;
        let_inherit(theirs.as_fd()).map_err(trouble)?;
        let mut command = Command::new(&self.program);
        if let Some(files) = &self.output {
            let [stdout, stderr] = files.each_ref().map(File::try_clone);
            command
                .stdout(stdout.map_err(trouble)?)
                .stderr(stderr.map_err(trouble)?);
        }
        let mut process = command
            .arg0("include_server")
            .arg("--port")
            .arg(&self.socket)
            .args(["--control-fd", "0", "--ready-fd"])
            .arg(theirs.as_raw_fd().to_string())
            .args(&self.words)
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(trouble)?;
        drop(theirs);
        let control = process.stdin.take();
        let ended = match end_of(&process) {
            Ok(ended) => ended,
            Err(err) => {
                let _ = process.kill();
                let _ = process.wait();
                return Err(trouble(err));
            }
        };
        let mut server = IncludeServer {
            process,
            control,
            ended,
        };
        let until = Instant::now() + self.ready_wait;
        server.expect_ready(report, until)?;
        Ok(server)
    }
}

impl IncludeServer {
    fn expect_ready(&mut self, report: UnixStream, until: Instant) -> Result<()> {
        let failed = |why: String| Err(Error::new(Code::Failed, why));
        let line = match read_line(report, until) {
            Ok(line) => line,
            Err(err) if err.kind() == io::ErrorKind::TimedOut => {
                return failed("it does not get ready".to_owned())
            }
            Err(err) => return failed(err.to_string()),
        };
        if line == b"ready\n" {
            return Ok(());
        }
        match line.strip_prefix(b"error: ") {
            Some(why) => failed(String::from_utf8_lossy(why).trim_end().to_owned()),
            None => failed(format!("it {} without a word", self.how_it_ended(END_WAIT))),
        }
    }

    /// Readable when it has ended.
    pub fn ended(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }

    /// How it ended, in words, for which it gets so much time.
    pub fn how_it_ended(&mut self, wait: Duration) -> String {
        let until = Instant::now() + wait;
        let ended = wait_readable(&[self.ended.as_fd()], Some(until));
        match (ended, self.process.try_wait()) {
            (Ok(Some(_)), Ok(Some(status))) => in_words(status),
            _ => "does not end".to_owned(),
        }
    }
}

fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with status {code}"),
        (None, signal) => format!("was ended by signal {}", signal.unwrap_or_default()),
    }
}

impl Drop for IncludeServer {
    /// Ends it, and waits for its end: it has files to remove.
    fn drop(&mut self) {
        drop(self.control.take());
        if matches!(self.process.try_wait(), Ok(Some(_))) {
            return;
        }
        end_process(self.ended.as_fd(), false);
        let until = Instant::now() + END_WAIT;
        if !matches!(
            wait_readable(&[self.ended.as_fd()], Some(until)),
            Ok(Some(_))
        ) {
            let _ = self.process.kill();
        }
        let _ = self.process.wait();
    }
}

/// What is written up to the end of a line, or up to its own end; waits until then, or for a final signal.
pub fn read_line(mut from: UnixStream, until: Instant) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.len() < REPORT_BYTES_MAX && !line.ends_with(b"\n") {
        let fds: Vec<BorrowedFd> = [Some(from.as_fd()), supervise::coming()]
            .into_iter()
            .flatten()
            .collect();
        match wait_readable(&fds, Some(until))? {
            Some(0) => {}
            Some(_) => return Err(io::Error::other("a signal came")),
            None => return Err(io::ErrorKind::TimedOut.into()),
        }
        match from.read(&mut byte)? {
            0 => break,
            _ => line.extend_from_slice(&byte),
        }
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::os::liveness::{life, Life};
    use std::fs;

    /// A stand-in for the include server: a shell script; `$2` is the socket, `$6` the descriptor for its report.
    fn plan(folder: &Path, script: &str) -> Plan {
        let program = folder.join("server");
        // Written by another process: a program that anybody has open for writing, a child of a test beside this one
        // for a moment too, cannot be run.
        let write = "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$0\" && chmod 755 \"$0\"";
        let mut shell = Command::new("/bin/sh");
        let wrote = shell.args(["-c", write]).arg(&program).arg(script).status();
        assert!(wrote.unwrap().success());
        Plan {
            program,
            ready_wait: Duration::from_secs(60),
            ..Plan::new(folder, vec!["-x".into()])
        }
    }

    fn failure(script: &str, ready_wait: Duration) -> String {
        let folder = tempfile::tempdir().unwrap();
        let plan = plan(folder.path(), script);
        let plan = Plan { ready_wait, ..plan };
        plan.start().unwrap_err().message
    }

    #[test]
    fn lives_until_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let script = r#"echo "$*" > "$2"; eval "echo ready >&$6"; cat; rm "$2""#;
        let plan = plan(folder.path(), script);
        let server = plan.start().unwrap();
        let pid = server.process.id();
        let said = fs::read_to_string(plan.socket()).unwrap();
        let expected = format!(
            "--port {} --control-fd 0 --ready-fd ",
            plan.socket().display()
        );
        assert!(
            said.starts_with(&expected) && said.ends_with(" -x\n"),
            "{said}"
        );
        assert_ne!(life(pid), Life::Gone);
        drop(server);
        assert_eq!(life(pid), Life::Gone);
    }

    #[test]
    fn ends_by_the_end_of_its_control_pipe_alone() {
        let folder = tempfile::tempdir().unwrap();
        let script = r#"trap '' TERM; eval "echo ready >&$6"; cat; rm "$0""#;
        let plan = plan(folder.path(), script);
        drop(plan.start().unwrap());
        assert!(!folder.path().join("server").exists());
    }

    #[test]
    fn says_why_it_does_not_start() {
        let long = Duration::from_secs(60);
        let script = r#"eval "echo error: no room for Fred >&$6""#;
        assert_eq!(failure(script, long), "no room for Fred");
        assert_eq!(
            failure("exit 3", long),
            "it ended with status 3 without a word"
        );
        let said = failure("kill -9 $$", long);
        assert_eq!(said, "it was ended by signal 9 without a word");
        let said = failure("exec sleep 60", Duration::from_millis(50));
        assert_eq!(said, "it does not get ready");
        let missing = Plan {
            program: "/nonexistent".into(),
            ..Plan::new(Path::new("/"), Vec::new())
        };
        let err = missing.start().unwrap_err();
        assert!(
            err.message.starts_with("start the include server: "),
            "{err}"
        );
    }

    #[test]
    fn the_path_of_a_socket_is_limited() {
        let folder = |length: usize| PathBuf::from(format!("/{}", "x".repeat(length - 1)));
        assert!(has_room_for_socket(&folder(99)));
        assert!(!has_room_for_socket(&folder(100)));
        let err = Plan::new(&folder(100), Vec::new()).start().unwrap_err();
        assert!(err.message.contains("xxx/socket is too long"), "{err}");
    }
}
