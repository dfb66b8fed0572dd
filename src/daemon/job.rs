//! One job, from a request that has arrived to the answer: is the command harmless, may the compiler run, run it and
//! watch it, collect what it made. Every job ends in an `Ending`, whose summary is one line of the log.

use super::arrange::arrange;
use super::compilers::Refusal;
use super::ending::{Answer, Class, Client, Ending};
use super::options::Config;
use super::workspace::Workspace;
use crate::model::decode::RequestDecoder;
use crate::model::error::Code;
use crate::model::received::{scan_received, Received};
use crate::model::wait_status::WaitStatus;
use crate::model::wire::{Limits, Reply, Request, Source, Version, WireError};
use crate::os::daemonize::FinalSignals;
use crate::os::files::{bounded_memory_file, said};
use crate::os::net::{wait_any, Event};
use crate::os::process::Group;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// Largest output that is sent back; the limit of a client of ours.
const OUTPUT_BYTES_MAX: u64 = 1 << 30;

/// Most that a compiler can say on each of stdout and stderr; what goes beyond is a fault of its writing.
const MESSAGES_BYTES_MAX: u64 = 64 << 20;

/// Largest file that a compiler may write; assembler text is larger than the object that it becomes.
const FILE_BYTES_MAX: u64 = 4 << 30;

/// How long a compiler that was asked to end may take.
const GRACE: Duration = Duration::from_secs(1);

/// Variables of our environment that compilers get, beside those that are set for each job. Whatever else could
/// change the object or lead out of the job is left out.
const ENVIRONMENT: [&str; 4] = ["HOME", "LANG", "LANGUAGE", "LD_LIBRARY_PATH"];
const ENVIRONMENT_PREFIXES: [&str; 2] = ["LC_", "CCACHE_"];

/// Largest text of a request: more than any source comes to, and so little that a few bytes of LZO, which can stand for
/// this much in each job slot, don't take all memory.
const TEXT_BYTES_MAX: usize = 256 << 20;

/// What a request may come to.
pub fn request_limits() -> Limits {
    Limits {
        body_bytes_max: TEXT_BYTES_MAX,
        expanded_bytes_max: TEXT_BYTES_MAX,
        ..Limits::default()
    }
}

/// What all jobs share.
#[derive(Debug)]
pub struct Shop {
    /// What the daemon was told.
    pub config: Config,
    /// Readable when we shall end.
    pub signals: FinalSignals,
    /// The compilers' environment, apart from TMPDIR.
    pub environment: Vec<(OsString, OsString)>,
    /// Whether we are ending, so that no new job is begun.
    pub stopping: AtomicBool,
}

/// The part of our environment that compilers get.
pub fn compiler_environment(
    ours: impl Iterator<Item = (OsString, OsString)>,
    path: &OsStr,
) -> Vec<(OsString, OsString)> {
    let mut environment: Vec<(OsString, OsString)> = ours
        .filter(|(name, _)| {
            let name = name.to_string_lossy();
            ENVIRONMENT.contains(&&*name)
                || ENVIRONMENT_PREFIXES
                    .iter()
                    .any(|prefix| name.starts_with(prefix))
        })
        .collect();
    environment.push(("PATH".into(), path.to_owned()));
    environment.push(("_DISTCC_SAFEGUARD".into(), "1".into()));
    environment
}

/// What a request that did not come to its end means.
pub fn broken_request(client: &Client, err: &WireError) -> Ending {
    let (class, code) = match err.code() {
        Code::Protocol => (Class::BadRequest, Code::Protocol),
        Code::Io => (Class::Disconnected, Code::Io),
        other => (Class::Other, other),
    };
    match err {
        WireError::NoAnswer => log::debug!("{}: hung up without a request", client.name),
        _ => log::warn!("{}: no request that could be served: {err}", client.name),
    }
    Ending::silent(class, code as u8)
}

/// The request did not come in time, or could not be read.
pub fn lost_request(client: &Client, err: &io::Error) -> Ending {
    log::warn!("{}: the request did not arrive: {err}", client.name);
    Ending::silent(Class::Disconnected, Code::Io as u8)
}

/// Whether this daemon does jobs of that version.
pub fn serves(version: Version) -> bool {
    version != Version::V3
}

/// Whether the request can be refused before all of it has come.
pub fn refused_early(client: &Client, decoder: &RequestDecoder) -> Option<Ending> {
    let refused = decoder.version().is_some_and(|version| !serves(version));
    refused.then(|| refused_pump(client))
}

fn refused_pump(client: &Client) -> Ending {
    refuse(client, "pump mode (protocol 3) is not served by this version; use plain mode, host specs without ,cpp", 100)
}

fn refuse(client: &Client, why: &str, code: u8) -> Ending {
    log::warn!("{}: job refused: {why}", client.name);
    Ending::silent(Class::Other, code)
}

/// A refusal that the client hears of, as if the compiler had said it and ended with status 113. A client that meets
/// silence shuns the whole host for a while, because of one command.
fn refuse_with_words(client: &Client, version: Version, why: &str, code: u8) -> Ending {
    let status = WaitStatus::exited(Code::Denied as u8);
    Ending {
        status,
        answer: words_only(version, status, &format!("job refused: {why}")),
        ..refuse(client, why, code)
    }
}

/// An answer without an object, for what our own words explain.
fn words_only(version: Version, status: WaitStatus, why: &str) -> Option<Answer> {
    let reply = Reply {
        version,
        status,
        stderr: format!("distccd[{}] ERROR: {why}\n", std::process::id()).into_bytes(),
        stdout: Vec::new(),
        object: None,
        deps: None,
        remark: None,
    };
    Answer::new(reply).ok()
}

/// Reads a request, waiting for it as long as the peer is not silent for too long; for inetd and ssh.
pub fn receive(shop: &Shop, client: &Client) -> Result<RequestDecoder, Ending> {
    let mut decoder = RequestDecoder::for_requests(request_limits());
    let end = shop
        .config
        .job_lifetime
        .map(|limit| client.since + limit + TRANSFER);
    while !decoder.is_done() {
        let silence = Instant::now() + shop.config.silence;
        let until = end.map_or(silence, |end| end.min(silence));
        let waited = wait_any(
            [
                (client.input.as_fd(), Event::Read),
                (shop.signals.0.as_fd(), Event::Read),
            ],
            Some(until),
        );
        let read = match waited {
            Ok(Some([_, true])) => return Err(Ending::silent(Class::Other, Code::Failed as u8)),
            Ok(Some(_)) => (&client.input).read(decoder.space()),
            Ok(None) => Err(io::ErrorKind::TimedOut.into()),
            Err(err) => Err(err),
        };
        match read {
            Ok(0) => break,
            Ok(count) => decoder
                .filled(count)
                .map_err(|err| broken_request(client, &err))?,
            Err(err)
                if matches!(
                    err.kind(),
                    io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
                ) => {}
            Err(err) => return Err(lost_request(client, &err)),
        }
        if let Some(ending) = refused_early(client, &decoder) {
            return Err(ending);
        }
    }
    Ok(decoder)
}

/// What a job may take beside its compiler if there is a limit on jobs; stock's number.
pub const TRANSFER: Duration = Duration::from_secs(30);

/// Does the job. The answer is still to be sent.
pub fn perform(shop: &Shop, client: &Client, decoder: RequestDecoder) -> Ending {
    let surplus = decoder.has_trailing_bytes();
    let request = match decoder.request() {
        Ok(request) => request,
        Err(err) => return broken_request(client, &err),
    };
    if surplus {
        log::warn!("{}: bytes after the request are ignored", client.name);
    }
    let Request {
        version,
        argv,
        source: Source::Text(text),
    } = request
    else {
        return refused_pump(client);
    };
    let received = match scan_received(&argv) {
        Ok(received) => received,
        Err(reason) => {
            let why = format!("{}: {reason}", show(&argv));
            return refuse_with_words(client, version, &why, Code::Failed as u8);
        }
    };
    let compiler = argv.first().map(Vec::as_slice).unwrap_or_default();
    let program = match shop.config.compilers.find(compiler) {
        Ok(program) => program,
        Err(Refusal::NotAllowed(why)) => return refuse_with_words(client, version, &why, 0),
        Err(Refusal::Missing(why)) => return not_run(version, &argv, &received, &why, 110),
    };
    let job = Job {
        shop,
        client,
        version,
        argv: &argv,
        received: &received,
        program: &program,
    };
    job.run(text).unwrap_or_else(|(doing, err)| {
        log::error!("{}: {doing}: {err}", client.name);
        Ending::silent(Class::Other, Code::Io as u8)
    })
}

/// How the watch over a compiler ended.
enum Watched {
    Ended(WaitStatus),
    TimedOut,
    HungUp,
    Stopped,
}

/// A command that may run.
struct Job<'j> {
    shop: &'j Shop,
    client: &'j Client,
    version: Version,
    argv: &'j [Vec<u8>],
    received: &'j Received,
    program: &'j Path,
}

type Failure = (&'static str, io::Error);

impl Job<'_> {
    fn run(&self, text: Vec<u8>) -> Result<Ending, Failure> {
        let output = if self.received.assembly {
            "out.s"
        } else {
            "out.o"
        };
        let config = &self.shop.config;
        let mut workspace = Workspace::create(&config.temp_dir, output, config.keep_temps)
            .map_err(|err| ("make a folder for the job", err))?;
        let arranged = arrange(
            &mut workspace,
            self.program,
            self.argv,
            self.received,
            &text,
        )
        .map_err(|err| ("make room for the source", err))?;
        fs::write(workspace.source(), &arranged.text).map_err(|err| ("write the source", err))?;
        let words = arranged.words;
        drop(arranged.text);
        drop(text); // A compile may take long.
        let memory_file = || {
            bounded_memory_file(MESSAGES_BYTES_MAX).map_err(|err| ("make a file for messages", err))
        };
        let (stdout, stderr) = (memory_file()?, memory_file()?);
        let mut command = self.command(&workspace, words);
        log::info!("{}: {}", self.client.name, show_command(&command));
        let shared = |file: &File| file.try_clone().map(Stdio::from);
        command.stdout(shared(&stdout).map_err(|err| ("share a file", err))?);
        command.stderr(shared(&stderr).map_err(|err| ("share a file", err))?);
        let begun = Instant::now();
        let group = match Group::spawn(&mut command) {
            Ok(group) => group,
            Err(err) => return Ok(self.not_started(&err)),
        };
        group.limit_files(FILE_BYTES_MAX);
        let watched = self
            .watch(group, begun)
            .map_err(|err| ("wait for the compiler", err))?;
        self.answer(watched, workspace, [&stdout, &stderr], begun)
    }

    /// The compiler's command.
    fn command(&self, workspace: &Workspace, words: Vec<OsString>) -> Command {
        let mut command = Command::new(self.program);
        command
            .args(words)
            .env_clear()
            .envs(
                self.shop
                    .environment
                    .iter()
                    .map(|(name, value)| (name, value)),
            )
            .env("TMPDIR", workspace.root())
            .current_dir(&workspace.cwd)
            .stdin(Stdio::null());
        command
    }

    /// Waits for the compiler, the client's farewell, the end of its time, or ours.
    fn watch(&self, group: Group, begun: Instant) -> io::Result<Watched> {
        let until = self.shop.config.job_lifetime.map(|limit| begun + limit);
        let fds: [(BorrowedFd, Event); 3] = [
            (group.ended(), Event::Read),
            (self.client.input.as_fd(), Event::HangUp),
            (self.shop.signals.0.as_fd(), Event::Read),
        ];
        let happened = match wait_any(fds, until)? {
            None => Watched::TimedOut,
            Some([true, _, _]) => return Ok(Watched::Ended(group.wait()?)),
            Some([_, true, _]) => Watched::HungUp,
            Some(_) => Watched::Stopped,
        };
        group.terminate(match happened {
            Watched::Stopped => Duration::ZERO,
            _ => GRACE,
        })?;
        Ok(happened)
    }

    fn answer(
        &self,
        watched: Watched,
        workspace: Workspace,
        [stdout, stderr]: [&File; 2],
        begun: Instant,
    ) -> Result<Ending, Failure> {
        let what = describe(self.argv, self.received);
        let (class, status, code) = match watched {
            Watched::Ended(status) if status.success() => (Class::CompileOk, status, 0),
            Watched::Ended(status) => (Class::CompileError, status, 0),
            Watched::TimedOut => (
                Class::CompileTimeout,
                WaitStatus::exited(118),
                Code::Timeout as u8,
            ),
            Watched::HungUp => (Class::Disconnected, WaitStatus::exited(107), Code::Io as u8),
            Watched::Stopped => return Ok(Ending::silent(Class::Other, Code::Failed as u8)),
        };
        match class {
            Class::CompileTimeout => log::warn!(
                "{}: {what}: killed after {:?}",
                self.client.name,
                begun.elapsed()
            ),
            Class::Disconnected => {
                log::warn!("{}: {what}: killed, the client hung up", self.client.name)
            }
            _ => log::info!(
                "{}: {what}: {} after {:?}",
                self.client.name,
                status.describe(),
                begun.elapsed()
            ),
        }
        let object = match class {
            Class::CompileOk => workspace
                .read_output(OUTPUT_BYTES_MAX)
                .map_err(|err| ("read the output", err))?,
            _ => None,
        };
        let vanished = class == Class::CompileOk && object.is_none();
        if vanished {
            log::warn!(
                "{}: {what}: the compiler succeeded without an output",
                self.client.name
            );
        }
        let reply = Reply {
            version: self.version,
            status,
            stderr: said(stderr).map_err(|err| ("read messages", err))?,
            stdout: said(stdout).map_err(|err| ("read messages", err))?,
            object,
            deps: None,
            remark: None,
        };
        let answer = Answer::new(reply)
            .map_err(|err| ("write the answer", io::Error::other(err.to_string())))?;
        Ok(Ending {
            class: if vanished { Class::Disconnected } else { class },
            status,
            code: if vanished { Code::Io as u8 } else { code },
            what: Some(what),
            answer: Some(answer),
            workspace: Some(Box::new(workspace)),
        })
    }

    fn not_started(&self, err: &io::Error) -> Ending {
        let why = format!("failed to exec {}: {err}", self.program.display());
        let code = match err.kind() {
            io::ErrorKind::OutOfMemory | io::ErrorKind::WouldBlock => Code::OutOfMemory,
            _ => Code::CompilerMissing,
        };
        not_run(self.version, self.argv, self.received, &why, code as u8)
    }
}

/// The answer for a compiler that could not be started: as if it had ended with `code`, and said why.
fn not_run(version: Version, argv: &[Vec<u8>], received: &Received, why: &str, code: u8) -> Ending {
    log::error!("{why}");
    let status = WaitStatus::exited(code);
    Ending {
        class: Class::CompileError,
        status,
        code: 0,
        what: Some(describe(argv, received)),
        answer: words_only(version, status, why),
        workspace: None,
    }
}

/// Compiler and source, as in stock's summary.
fn describe(argv: &[Vec<u8>], received: &Received) -> String {
    let word = |index: usize| {
        String::from_utf8_lossy(argv.get(index).map(Vec::as_slice).unwrap_or_default())
    };
    format!("{} {}", word(0), word(received.input))
}

fn show(argv: &[Vec<u8>]) -> String {
    let words: Vec<_> = argv
        .iter()
        .map(|word| String::from_utf8_lossy(word))
        .collect();
    words.join(" ")
}

fn show_command(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<Vec<u8>> = words.map(|word| word.as_bytes().to_vec()).collect();
    show(&words)
}
