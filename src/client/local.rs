//! What runs on this machine: the compiler itself, and the preprocessor whose text is sent away.

use crate::model::error::{Code, Error, Result};
use crate::model::native_proof::Answer;
use crate::model::wait_status::WaitStatus;
use crate::os::gather::{self, Gatherer};
use crate::os::pages::Bytes;
use crate::os::spawn::{spawn_group, Spawned};
use crate::os::{cleanup, files};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus};

/// What the system calls a file that may be run but is no program: ENOEXEC of Linux.
const NOT_A_PROGRAM: i32 = 8;

/// What it says where a name is too long to be a file's: ENAMETOOLONG.
const NAME_TOO_LONG: i32 = 36;

/// Runs a command to its end with our own stdin, stdout and stderr. `found` is where on PATH its program lies, if that is
/// known: what can't be run there is looked for.
pub fn run(argv: &[OsString], found: Option<&Path>) -> Result<WaitStatus> {
    let (mut child, _signals) = spawn(argv, found, false, |command| command)?;
    let status = child
        .wait()
        .map_err(|err| Error::io("wait for the compiler", &err))?;
    Ok(wait_status(status))
}

/// How a shell would run what could not be run: a file without a `#!` line as a script, and a program that stands on `PATH`
/// after a folder whose name is too long, at which `execvp` stops.
fn as_shells_do(program: &OsStr, words: &[OsString], err: &io::Error) -> Option<Command> {
    let file = || which::which(program).ok();
    let mut command = match err.raw_os_error() {
        Some(NOT_A_PROGRAM) => {
            let mut shell = Command::new("/bin/sh");
            shell.arg(file()?);
            shell
        }
        Some(NAME_TOO_LONG) => {
            let mut found = Command::new(file()?);
            found.arg0(program);
            found
        }
        _ => return None,
    };
    command.args(words);
    Some(command)
}

/// Becomes the command; returns only if that fails.
pub fn become_command(argv: &[OsString]) -> Error {
    match argv.split_first() {
        Some((program, words)) => {
            let err = Command::new(program).args(words).exec();
            match as_shells_do(program, words, &err) {
                Some(mut command) => exec_failed(program, &command.exec()),
                None => exec_failed(program, &err),
            }
        }
        None => Error::new(Code::BadArguments, "there is no command to run"),
    }
}

/// A preprocessor at work. Nobody is woken for each piece of what it writes: see `os::gather`; its messages go to a file
/// in memory.
#[derive(Debug)]
pub struct Preprocessor {
    child: Spawned,
    signals: cleanup::ChildGuard,
    text: Gatherer,
    said: File,
}

/// What the preprocessor gave.
#[derive(Debug)]
pub struct Preprocessed {
    /// How it ended.
    pub status: WaitStatus,
    /// The text of the translation unit.
    pub text: Bytes,
    /// What it wrote to stderr.
    pub said: Vec<u8>,
}

/// Starts a preprocessor, in a group of its own so that a signal reaches all of it.
/// `found` is as for [`run`].
pub fn start_preprocessor(argv: &[OsString], found: Option<&Path>) -> Result<Preprocessor> {
    let trouble = |err| Error::io("prepare to run the preprocessor", &err);
    let (text, stdout) = gather::pipe().map_err(trouble)?;
    let said = files::memory_file().map_err(trouble)?;
    let stdin = File::open("/dev/null").map_err(trouble)?;
    let stdio = [stdin.as_fd(), stdout.as_fd(), said.as_fd()];
    let start = || spawn_group(argv, found, stdio);
    let (child, signals) = cleanup::start_guarded(true, start, Spawned::id).map_err(|err| {
        exec_failed(
            argv.first().map_or(OsStr::new(""), OsString::as_os_str),
            &err,
        )
    })?;
    Ok(Preprocessor {
        child,
        signals,
        text,
        said,
    })
}

impl Preprocessor {
    /// Waits for the end and takes the text.
    pub fn finish(mut self) -> Result<Preprocessed> {
        let trouble = |err| Error::io("read what the preprocessor wrote", &err);
        let child = &mut self.child;
        let text = self.text.gather(|| Ok(child.try_wait()?.is_some()));
        let text = text.map_err(trouble)?;
        let status = self.child.wait().map_err(trouble)?;
        drop(self.signals);
        Ok(Preprocessed {
            status,
            text,
            said: files::memory_contents(&self.said).map_err(trouble)?,
        })
    }
}

/// Asks a compiler something: what it says in English, to `input`, and at once.
pub fn ask(argv: &[OsString], input: &[u8]) -> Result<Answer> {
    let trouble = |err| Error::io("prepare to ask the compiler", &err);
    let file = || files::memory_file().map_err(trouble);
    let (mut fed, output, messages) = (file()?, file()?, file()?);
    fed.write_all(input).map_err(trouble)?;
    let stdio = |file: &File| file.try_clone().map_err(trouble);
    let (stdin, stdout, stderr) = (
        files::from_start(&fed).map_err(trouble)?,
        stdio(&output)?,
        stdio(&messages)?,
    );
    let (mut child, _signals) = spawn(argv, None, true, |command| {
        command
            .env("LC_ALL", "C")
            .stdin(stdin)
            .stdout(stdout)
            .stderr(stderr)
            .process_group(0)
    })?;
    let status = child
        .wait()
        .map_err(|err| Error::io("wait for the compiler", &err))?;
    Ok(Answer {
        success: status.success(),
        output: files::memory_contents(&output).map_err(trouble)?,
        messages: files::memory_contents(&messages).map_err(trouble)?,
    })
}

fn spawn(
    argv: &[OsString],
    found: Option<&Path>,
    leads_group: bool,
    setup: impl FnOnce(&mut Command) -> &mut Command,
) -> Result<(Child, cleanup::ChildGuard)> {
    let Some((program, words)) = argv.split_first() else {
        return Err(Error::new(Code::BadArguments, "there is no command to run"));
    };
    let mut command = Command::new(found.map_or(&**program, Path::as_os_str));
    setup(command.arg0(program).args(words));
    let started = cleanup::start_child(leads_group, || {
        let mut started = command.spawn();
        if started.is_err() && found.is_some() {
            started = Command::new(program).args(words).spawn();
        }
        started.or_else(|err| {
            // Nothing was set up that it would miss: only the compiler itself is run so, not the preprocessor.
            let other = (!leads_group).then(|| as_shells_do(program, words, &err));
            other
                .flatten()
                .map_or(Err(err), |mut command| command.spawn())
        })
    });
    started.map_err(|err| exec_failed(program, &err))
}

fn exec_failed(program: &OsStr, err: &io::Error) -> Error {
    let code = match err.kind() {
        io::ErrorKind::OutOfMemory | io::ErrorKind::WouldBlock => Code::OutOfMemory,
        _ => Code::CompilerMissing,
    };
    let message = format!(
        "failed to exec {}: {err}; is the compiler installed, and on PATH?",
        program.to_string_lossy()
    );
    Error::new(code, message)
}

fn wait_status(status: ExitStatus) -> WaitStatus {
    WaitStatus(status.into_raw() as u32)
}
