//! A command of a request as it is run and answered, whatever came with it: started in a group of its own, watched until
//! it ends, the client hangs up, its time is over or ours is; and the refusal of what is not run.

use super::cells::{Cell, Outcome, Trouble};
use super::compilers::Refusal;
use super::config::Config;
use super::ending::{Answer, Client, Ending, Leftover, What};
use super::enter::PROCESSES_MAX;
use super::launch::Launch;
use super::sandbox::Wanted;
use super::shop::Shop;
use super::statistics::Desk;
use super::tally::Class;
use super::view::View;
use crate::model::compiler_options::Reason;
use crate::model::error::Code;
use crate::model::job_tree::Refused;
use crate::model::side_files::SideFile;
use crate::model::wait_status::WaitStatus;
use crate::model::wire::{Remark, Reply, Version};
use crate::os::files::{bounded_memory_file, said};
use crate::os::limits::Limits;
use crate::os::logging::first_lines;
use crate::os::net::{wait_any, Event};
use crate::os::weight;
use log::Level;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Largest output that is sent back; the limit of a client of ours.
pub const OUTPUT_BYTES_MAX: u64 = 1 << 30;

/// Most that a compiler can say on each of stdout and stderr; what goes beyond is a fault of its writing.
const MESSAGES_BYTES_MAX: u64 = 64 << 20;

/// How soon it is looked for the first time how much memory a job holds, and how long it may be until the next time.
const FIRST_LOOK: Duration = Duration::from_millis(100);
const LOOKS_APART: Duration = Duration::from_secs(1);

/// How long a compiler that was asked to end may take.
const GRACE: Duration = Duration::from_secs(1);

/// A command, and who asks for it.
#[derive(Clone, Copy)]
pub struct Job<'j> {
    /// What all jobs share.
    pub shop: &'j Shop,
    /// What the daemon was told when the job began.
    pub config: &'j Config,
    /// Where it is counted.
    pub desk: &'j Desk,
    /// Who asks.
    pub client: &'j Client,
    /// What the answer must be of.
    pub version: Version,
    /// The client's words.
    pub argv: &'j [Vec<u8>],
    /// Index of the word that names the source; 0 as long as that is not known.
    pub input: usize,
    /// The client has told of the job, and hears more of it than stock's would understand.
    pub is_told: bool,
}

/// Doing what, and what went wrong.
pub type Failure = (&'static str, io::Error);

/// Why a job is not done.
pub enum Stop {
    /// It is refused, in these words.
    Refused(String),
    /// It can't be exact on this host.
    NotHere(String),
    /// Files beside the object can't be brought home from this host.
    NoSides,
    /// What a client takes to be here is not.
    OtherSystem(String),
    /// It has its ending already.
    Ended(Box<Ending>),
    /// Something went wrong.
    Failed(Failure),
}

/// Something failed while this was done.
pub fn failed(doing: &'static str) -> impl FnOnce(io::Error) -> Stop {
    move |err| Stop::Failed((doing, err))
}

impl From<Trouble> for Stop {
    fn from(trouble: Trouble) -> Stop {
        match trouble {
            Trouble::Not(why) => Stop::NotHere(why),
            Trouble::Failed(doing, err) => Stop::Failed((doing, err)),
        }
    }
}

impl From<Refused> for Stop {
    fn from(refused: Refused) -> Stop {
        Stop::Refused(refused.to_string())
    }
}

/// How the watch over a compiler ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Watched {
    /// By itself.
    Ended(WaitStatus),
    /// Its time was over.
    TimedOut,
    /// The client hung up.
    HungUp,
    /// The daemon ends.
    Stopped,
    /// Its processes together held so many bytes, which is too much.
    Swollen(u64),
    /// It had more processes than can be looked at for that.
    Crowded,
}

/// The processes of a job that runs.
#[derive(Clone, Copy)]
struct Running<'r> {
    /// Readable when it has ended.
    ended: BorrowedFd<'r>,
    /// The process from which all others descend, or that leads their group.
    leader: u32,
    /// Nobody of them can lose that ancestor.
    is_in_cell: bool,
}

/// A compiler that has run.
#[derive(Debug)]
pub struct Ran {
    /// How it ended.
    pub watched: Watched,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
    begun: Instant,
}

/// What a compiler made for its client.
#[derive(Debug, Default)]
pub struct Made {
    /// The output.
    pub object: Option<Vec<u8>>,
    /// The dependency file, of version 3.
    pub deps: Option<Vec<u8>>,
    /// What is said of the answer to a client that asked for it.
    pub remark: Option<Remark>,
    /// The files beside the object, for a client that wants them.
    pub sides: Option<Vec<SideFile>>,
}

/// An environment as programs get it: `NAME=value`, each name once, and the last value that it is given.
pub fn variables(all: impl Iterator<Item = (OsString, OsString)>) -> Vec<Vec<u8>> {
    let by_name: BTreeMap<OsString, OsString> = all.collect();
    let one =
        |(name, value): (OsString, OsString)| [name.as_bytes(), b"=", value.as_bytes()].concat();
    by_name.into_iter().map(one).collect()
}

/// Two files for what a compiler says: its standard output, and standard error.
fn messages() -> Result<[File; 2], Stop> {
    let file =
        || bounded_memory_file(MESSAGES_BYTES_MAX).map_err(failed("make a file for messages"));
    Ok([file()?, file()?])
}

impl Ran {
    fn new(watched: Watched, [stdout, stderr]: [File; 2], begun: Instant) -> Result<Ran, Stop> {
        Ok(Ran {
            watched,
            stdout: said(&stdout).map_err(failed("read messages"))?,
            stderr: said(&stderr).map_err(failed("read messages"))?,
            begun,
        })
    }

    /// Whether there should be an output.
    pub fn succeeded(&self) -> bool {
        matches!(self.watched, Watched::Ended(status) if status.success())
    }
}

impl Job<'_> {
    /// A view as a compiler of this job gets it: with what keeps it there.
    pub fn within(&self, view: View) -> View {
        let counts = self.shop.counts();
        View {
            limits: Limits {
                processes: if counts { PROCESSES_MAX as u64 } else { 0 },
                ..self.config.sandbox.limits
            },
            is_fenced: self.shop.sandbox().wanted != Wanted::Off,
            is_counted: !counts,
            ..view
        }
    }

    /// What it means that `program` could not be started, by the error's number and in words.
    fn not_begun(&self, program: &Path, number: i32, words: &str) -> Stop {
        let program = program.display();
        let err = io::Error::from_raw_os_error(number);
        let is_missing = err.kind() == io::ErrorKind::NotFound && words.starts_with("run ");
        match is_missing {
            true => {
                let why = format!("failed to exec {program}: {err}");
                Stop::Ended(Box::new(self.not_run(&why, Code::CompilerMissing as u8)))
            }
            false => Stop::NotHere(format!("{program}: {words}")),
        }
    }

    /// Runs the compiler of a view in a cell, where its files are in place.
    pub fn run_in_cell(&self, cell: Cell, view: &View) -> Result<Ran, Stop> {
        let [stdout, stderr] = messages()?;
        let begun = Instant::now();
        cell.begin(view, &stdout, &stderr)?;
        self.tell_desk();
        let running = Running {
            ended: cell.ended(),
            leader: cell.process(),
            is_in_cell: true,
        };
        let happened = self.watch(running, begun);
        let watched = match happened.map_err(failed("wait for the compiler"))? {
            Some(happened) => {
                drop(cell); // With all that is in it.
                happened
            }
            None => {
                let outcome = cell.outcome(&self.shop.cells, self.config.jobs);
                match outcome.map_err(failed("wait for the compiler"))? {
                    Outcome::Ended(status) => Watched::Ended(status),
                    Outcome::Failed(number, words) => {
                        return Err(self.not_begun(&view.program, number, &words))
                    }
                }
            }
        };
        Ran::new(watched, [stdout, stderr], begun)
    }

    /// Runs the compiler of a view where we are ourselves; its files are in place in `folder`.
    pub fn run_here(&self, folder: &Path, view: &View) -> Result<Ran, Stop> {
        let [stdout, stderr] = messages()?;
        let begun = Instant::now();
        let launch = match Launch::start(folder, &stdout, &stderr) {
            Ok(launch) => launch,
            Err(err) => {
                let program = view.program.display().to_string();
                return Err(Stop::Ended(Box::new(self.not_started(&program, &err))));
            }
        };
        self.tell_desk();
        launch.tell(view).map_err(failed("tell of a view"))?;
        let running = Running {
            ended: launch.group.ended(),
            leader: launch.group.id(),
            is_in_cell: false,
        };
        let happened = self.watch(running, begun);
        let watched = match happened.map_err(failed("wait for the compiler"))? {
            Some(happened) => {
                let grace = match happened {
                    Watched::Stopped | Watched::Swollen(_) | Watched::Crowded => Duration::ZERO,
                    _ => GRACE,
                };
                let ended = launch.group.terminate(grace);
                ended.map_err(failed("wait for the compiler"))?;
                happened
            }
            None => match launch.outcome().map_err(failed("wait for the compiler"))? {
                Ok(status) => Watched::Ended(status),
                Err((number, words)) => {
                    return Err(self.not_begun(&view.program, number, &words));
                }
            },
        };
        Ran::new(watched, [stdout, stderr], begun)
    }

    fn tell_desk(&self) {
        let what = self.what();
        self.desk.tell(&what.compiler, &what.source, true);
    }

    /// Waits for the compiler, the client's farewell, the end of its time, too much memory, or ours; what it was, if not the
    /// compiler.
    fn watch(&self, running: Running, begun: Instant) -> io::Result<Option<Watched>> {
        let until = self.config.job_lifetime.map(|limit| begun + limit);
        let fds: [(BorrowedFd, Event); 3] = [
            (running.ended, Event::Read),
            (self.client.input.as_fd(), Event::HangUp),
            (self.shop.signals.0.as_fd(), Event::Read),
        ];
        let bound = self.config.sandbox.limits.memory;
        let mut pause = FIRST_LOOK;
        loop {
            let look = (bound > 0).then(|| Instant::now() + pause);
            let next = [until, look].into_iter().flatten().min();
            match wait_any(fds, next)? {
                None if until.is_some_and(|until| until <= Instant::now()) => {
                    return Ok(Some(Watched::TimedOut));
                }
                None => {
                    match weight::held(running.leader, !running.is_in_cell, bound) {
                        None => return Ok(Some(Watched::Crowded)),
                        Some(held) if held > bound => return Ok(Some(Watched::Swollen(held))),
                        Some(_) => {}
                    }
                    pause = LOOKS_APART.min(pause * 2);
                }
                Some([true, _, _]) => return Ok(None),
                Some([_, true, _]) => return Ok(Some(Watched::HungUp)),
                Some(_) => return Ok(Some(Watched::Stopped)),
            }
        }
    }

    /// The answer about a compiler that has run; `leftover` is tidied up after it is sent.
    pub fn ending(&self, ran: Ran, made: Made, leftover: Leftover) -> Result<Ending, Stop> {
        let (class, status, code) = match ran.watched {
            Watched::Ended(status) if status.success() => (Class::CompileOk, status, 0),
            Watched::Ended(status) => (Class::CompileError, status, 0),
            Watched::TimedOut => (
                Class::CompileTimeout,
                WaitStatus::exited(118),
                Code::Timeout as u8,
            ),
            Watched::HungUp => (Class::Disconnected, WaitStatus::exited(107), Code::Io as u8),
            Watched::Stopped => {
                let why = "killed, the daemon ends";
                self.say(Level::Warn, "stopped", why);
                return Ok(Ending::silent(Class::Other, Code::Failed as u8).because(why));
            }
            Watched::Crowded => {
                return Err(Stop::NotHere(format!(
                    "{}: killed, there are more than {} processes, too many to know their memory",
                    self.what().compiler,
                    weight::PROCESSES_MAX,
                )));
            }
            // Another host, or the client's own, may have what it takes.
            Watched::Swollen(bytes) => {
                return Err(Stop::NotHere(format!(
                    "{}: killed, its processes took {} MB of memory together, more than the {} MB of --job-memory",
                    self.what().compiler,
                    bytes >> 20,
                    self.config.sandbox.limits.memory >> 20,
                )));
            }
        };
        let took = ran.begun.elapsed();
        let vanished = class == Class::CompileOk && made.object.is_none();
        let why = match class {
            Class::CompileTimeout => Some(format!("killed after {took:?}")),
            Class::Disconnected => Some("killed, the client hung up".to_owned()),
            _ if vanished => Some("the compiler succeeded without an output".to_owned()),
            _ => None,
        };
        match &why {
            Some(why) => self.say(Level::Warn, "stopped", why),
            None => {
                let how = format!("{} after {took:?}", status.describe());
                self.say(Level::Info, "compiled", &how);
            }
        }
        if class == Class::CompileError {
            // The client may compile it all the same, and then nobody else tells why this did not.
            for line in first_lines(&ran.stderr) {
                self.say(Level::Info, "says", &format!("says: {line}"));
            }
        }
        let reply = Reply {
            version: self.version,
            status,
            stderr: ran.stderr,
            stdout: ran.stdout,
            object: made.object,
            deps: made.deps,
            remark: made.remark.filter(|_| self.is_told && !vanished),
            sides: made.sides,
        };
        let answer = Answer::new(reply)
            .map_err(|err| failed("write the answer")(io::Error::other(err.to_string())))?;
        Ok(Ending {
            class: if vanished { Class::Disconnected } else { class },
            status,
            code: if vanished { Code::Io as u8 } else { code },
            what: Some(self.what()),
            why: why.map(Into::into),
            answer: Some(answer),
            leftover: Some(leftover),
            worked: Duration::ZERO,
            compiled: Some(took),
        })
    }

    fn not_started(&self, program: &str, err: &io::Error) -> Ending {
        let code = match err.kind() {
            io::ErrorKind::OutOfMemory | io::ErrorKind::WouldBlock => Code::OutOfMemory,
            _ => Code::CompilerMissing,
        };
        self.not_run(&format!("failed to exec {program}: {err}"), code as u8)
    }

    /// The answer for a compiler that could not be started: as if it had ended with `code`, and said why.
    pub fn not_run(&self, why: &str, code: u8) -> Ending {
        self.say(Level::Error, "not_run", why);
        let status = WaitStatus::exited(code);
        Ending {
            status,
            what: Some(self.what()),
            answer: self.words_only(status, why, None),
            ..Ending::silent(Class::CompileError, 0).because(why)
        }
    }

    /// A refusal that the client hears of, as if the compiler had said it and ended with status 113. A client that meets
    /// silence shuns the whole host for a while, because of one command.
    pub fn refuse(&self, why: &str, code: u8, remark: Option<Remark>) -> Ending {
        self.say(Level::Warn, "refused", &format!("job refused: {why}"));
        let status = WaitStatus::exited(Code::Denied as u8);
        Ending {
            status,
            answer: self.words_only(status, &format!("job refused: {why}"), remark),
            ..Ending::silent(Class::Refused, code).because(why)
        }
    }

    /// The ending of a job that is not done.
    pub fn stopped(&self, stop: Stop) -> Ending {
        let code = Code::Failed as u8;
        let remark = |remark| self.is_told.then_some(remark);
        match stop {
            Stop::Ended(ending) => *ending,
            Stop::Refused(why) => self.refuse(&why, code, None),
            Stop::NotHere(why) => self.refuse(&why, code, remark(Remark::NotHere)),
            Stop::NoSides => {
                let why =
                    "files beside the object stay here, as namespaces are forbidden on this host";
                self.refuse(why, code, remark(Remark::NoSides))
            }
            Stop::OtherSystem(why) => {
                let why = format!("system headers differ: {why}");
                self.refuse(&why, code, remark(Remark::OtherSystem))
            }
            Stop::Failed((doing, err)) => {
                let why = format!("{doing}: {err}");
                self.say(Level::Error, "failed", &why);
                Ending::silent(Class::Other, Code::Io as u8).because(why)
            }
        }
    }

    /// A line about this job.
    pub fn say(&self, level: Level, event: &str, text: &str) {
        if !log::log_enabled!(level) {
            return;
        }
        let (client, what) = (&self.client.name, self.what());
        log::log!(
            level,
            event = event, peer = client.as_str(), job = self.client.connection.number(),
            compiler = what.compiler.as_str(), file = what.source.as_str();
            "{client}: {what}: {text}"
        );
    }

    /// The refusal of a command.
    pub fn refuse_command(&self, reason: &Reason) -> Ending {
        let words = show(self.argv.iter().map(Vec::as_slice));
        self.refuse(&format!("{words}: {reason}"), Code::Failed as u8, None)
    }

    /// The file to run.
    pub fn program(&self) -> Result<PathBuf, Stop> {
        let compiler = self.argv.first().map(Vec::as_slice).unwrap_or_default();
        let found = self.config.compilers.find(compiler);
        found.map_err(|refusal| {
            Stop::Ended(Box::new(match refusal {
                Refusal::NotAllowed(why) => self.refuse(&why, 0, None),
                Refusal::Missing(why) => self.not_run(&why, Code::CompilerMissing as u8),
            }))
        })
    }

    /// An answer without an object, for what our own words explain.
    fn words_only(&self, status: WaitStatus, why: &str, remark: Option<Remark>) -> Option<Answer> {
        let reply = Reply {
            version: self.version,
            status,
            stderr: format!("distccd[{}] ERROR: {why}\n", std::process::id()).into_bytes(),
            stdout: Vec::new(),
            object: None,
            deps: None,
            remark,
            sides: None,
        };
        Answer::new(reply).ok()
    }

    /// Compiler and source, as in stock's summary; the compiler alone as long as the source is not known.
    pub fn what(&self) -> What {
        let word = |index: usize| show(self.argv.get(index).map(Vec::as_slice));
        What {
            compiler: word(0),
            source: if self.input == 0 {
                String::new()
            } else {
                word(self.input)
            },
        }
    }
}

/// A command for people.
pub fn show<'w>(words: impl IntoIterator<Item = &'w [u8]>) -> String {
    let words: Vec<_> = words.into_iter().map(String::from_utf8_lossy).collect();
    words.join(" ")
}
