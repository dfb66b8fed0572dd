//! `pump`: a build with an include server beside it. Starts that, tells the build where it is, passes signals on, and
//! leaves nothing behind, whatever ends it. The words it says are stock's: scripts look for them.

use super::wrapper_hosts::{Hosts, Told};
use super::wrapper_keeper::{self as keeper, Kept, KEEPER_WORD};
use super::wrapper_life::GRACE;
use super::wrapper_path::{self, Change};
use super::wrapper_session::{self, Event, NotBegun, Session};
use super::wrapper_shell::assignment;
use crate::farm::include_start::socket_in;
use crate::farm::private_folder;
use crate::model::error::{Code, Error, Result, Status};
use crate::model::pump_settings::DISCREPANCY_MAX;
use crate::model::settings::ClientSettings;
use crate::os::net::wait_readable;
use crate::os::process::{end_of, is_no_program};
use crate::os::supervise;
use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};

const HELP: &str = "\
Usage: pump COMMAND [ARGUMENT…]
       pump --startup
       pump --shutdown

Runs COMMAND, a build such as `make -j80`, in pump mode: distcc sends sources together with the headers that they
include, and servers preprocess them. An include server, which finds those headers, runs beside COMMAND and ends with
it. Hosts take part whose entry in the host list ends in ,cpp,lzo. The exit status is that of COMMAND.

For builds that are no single command, --startup starts an include server that goes on, and prints the settings of
variables for a shell, or `false` if it can't; --shutdown ends it:

  eval \"$(pump --startup)\" || exit
  make -j80
  pump --shutdown

Without --shutdown it ends by itself when the folder $INCLUDE_SERVER_DIR is removed, or an hour after the last process
that could know of it has ended.

Variables (all optional):
  DISTCC_HOSTS            the host list; $DISTCC_DIR/hosts, ~/.distcc/hosts and /etc/distcc/hosts are looked at, too
  DISTCC_POTENTIAL_HOSTS  hosts to ask first: those that answer become DISTCC_HOSTS
  LSDISTCC_ARGS           more options for lsdistcc, which asks them
  INCLUDE_SERVER_ARGS     more options for the include server, read as a shell would
  DISTCC_LOCATION         the folder with the distcc to be used; else that of this program
  DISTCC_MAX_DISCREPANCY  after how many compiles that failed on a server only the build goes on in plain mode [20]
  TMPDIR                  where the session's private folder is made
";

/// `pump …`; all words, the first is the program's name.
pub fn pump(argv: Vec<OsString>) -> Result<Status> {
    let called_as = argv.first().cloned().unwrap_or_default();
    let words = argv.get(1..).unwrap_or_default();
    let first = words.first().and_then(|word| word.to_str());
    let is_startup = matches!((first, words), (Some("--startup"), [_]));
    let done = match (first, words) {
        (None, []) | (Some("" | "-h" | "--help"), _) => {
            let _ = io::stdout().write_all(HELP.as_bytes());
            Ok(Status::OK)
        }
        (Some("--shutdown"), [_]) => Ok(shut_down()),
        (Some(KEEPER_WORD), [_, more @ ..]) => keeper::keep(more),
        _ if is_startup => start_up(&called_as),
        _ => match no_command(words) {
            Some(status) => Ok(status),
            None => run(&called_as, words),
        },
    };
    if is_startup && !matches!(done, Ok(Status::OK)) {
        // A shell that evaluates nothing takes that for a success.
        let _ = io::stdout().write_all(b"false\n");
    }
    if let (Err(_), Some(signal)) = (&done, supervise::noted()) {
        // That is why it could not be done. What there was to tidy up has been.
        supervise::end_by(signal);
    }
    // Whatever keeps pump from running anything has stock's status.
    done.map_err(|err| Error::new(Code::Unpumped, err.message))
}

/// A first word that looks like an option is said to be none before anything is started for it, unless there is a program
/// of that name. The status is that of any command that is not found.
fn no_command(words: &[OsString]) -> Option<Status> {
    let word = words.first()?;
    let folder = env::current_dir().unwrap_or_default();
    if !word.as_bytes().starts_with(b"-")
        || which::which_in(word, env::var_os("PATH"), folder).is_ok()
    {
        return None;
    }
    let why = match word.to_str() {
        Some("--startup" | "--shutdown") => "no other words may follow",
        _ => "not found, and no option either; pump --help shows what there is",
    };
    let _ = writeln!(io::stderr(), "pump: {}: {why}", word.to_string_lossy());
    Some(Status(127))
}

/// What is looked up, and what is begun, before there is an include server.
struct Prepared {
    location: PathBuf,
    /// PATH, if it has to change.
    path: Option<OsString>,
    hosts: Hosts,
    discrepancies_max: u64,
}

fn prepare(called_as: &OsStr) -> Result<Prepared> {
    let discrepancies_max = discrepancies_max()?;
    let settings = ClientSettings::read(|name| env::var_os(name))?;
    let location = wrapper_path::location(env::var_os("DISTCC_LOCATION"), called_as)?;
    supervise::note_final_signals().map_err(|err| Error::io("catch signals", &err))?;
    Ok(Prepared {
        path: path_for(&location),
        location,
        hosts: Hosts::begin(&settings)?,
        discrepancies_max,
    })
}

fn discrepancies_max() -> Result<u64> {
    wrapper_session::discrepancies_max(env::var_os("DISTCC_MAX_DISCREPANCY").as_deref())
}

fn path_for(location: &Path) -> Option<OsString> {
    match wrapper_path::change(location, &env::var_os("PATH")?) {
        Change::None => None,
        Change::To(path) => Some(path),
        Change::Impossible(folder) => {
            let (other, ours) = (folder.display(), location.display());
            warn(&format!(
                "the distcc in {other} comes first on PATH; that in {ours} can't come before it without hiding a compiler"
            ));
            None
        }
    }
}

/// `pump COMMAND…`
fn run(called_as: &OsStr, words: &[OsString]) -> Result<Status> {
    let prepared = prepare(called_as)?;
    say(&format!(
        "Using distcc-pump from {}",
        prepared.location.display()
    ));
    let session = Session::begin(false);
    if supervise::noted().is_some() {
        return Err(Error::new(Code::Unpumped, "a signal came"));
    }
    let told = prepared.hosts.told(session.is_ok())?;
    let mut session = match session {
        Ok(session) => Some(session),
        Err(not_begun) => {
            explain(&not_begun);
            warn("the command is run without pump mode");
            None
        }
    };
    say_of_hosts(&told, session.is_some());
    let command = Build {
        words,
        socket: session.as_ref().map(|session| session.socket().to_owned()),
        path: prepared.path,
        hosts: told.variable,
    };
    let ran = command.run(session.as_mut());
    if let Some(session) = session {
        report(session.folder(), prepared.discrepancies_max);
        say("Shutting down distcc-pump include server");
    }
    match ran {
        Ok(status) => Ok(as_shell(status)),
        Err(err) => Ok(cannot_run(words, &err)),
    }
}

fn say_of_hosts(told: &Told, is_pumped: bool) {
    if is_pumped || told.found == Some(0) {
        say(&told.line);
    }
    if told.found == Some(0) {
        warn("none of the hosts in $DISTCC_POTENTIAL_HOSTS answers, so all is compiled here");
    }
}

/// The command with what it has to know.
struct Build<'w> {
    words: &'w [OsString],
    socket: Option<PathBuf>,
    path: Option<OsString>,
    hosts: Option<OsString>,
}

impl Build<'_> {
    /// Runs it to its end, and meanwhile looks after the session.
    fn run(&self, session: Option<&mut Session>) -> io::Result<ExitStatus> {
        let mut child = self.spawn()?;
        let passing = supervise::pass_signals_to(&child);
        if let Ok(ended) = end_of(&child) {
            match session {
                Some(session) => look_after(session, ended.as_fd()),
                None => drop(wait_readable(&[ended.as_fd()], None)),
            }
        }
        // It has ended, but its number is not free before it is waited for.
        drop(passing);
        child.wait()
    }

    fn spawn(&self) -> io::Result<Child> {
        let (program, arguments) = self.words.split_first().ok_or(io::ErrorKind::NotFound)?;
        let started = self.dress(Command::new(program).args(arguments)).spawn();
        let Err(err) = &started else { return started };
        let path = self.path.clone().or_else(|| env::var_os("PATH"));
        let folder = env::current_dir().unwrap_or_default();
        match which::which_in(program, path, folder) {
            // Shells take such a file for a script.
            Ok(script) if is_no_program(err) => {
                let mut shell = Command::new("/bin/sh");
                self.dress(shell.arg(script).args(arguments)).spawn()
            }
            _ => started,
        }
    }

    fn dress<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.env_remove("INCLUDE_SERVER_PORT");
        let socket = self.socket.as_ref().map(|path| path.as_os_str().to_owned());
        for (name, value) in [
            ("INCLUDE_SERVER_PORT", &socket),
            ("PATH", &self.path),
            ("DISTCC_HOSTS", &self.hosts),
        ] {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        command
    }
}

fn look_after(session: &mut Session, ended: BorrowedFd) {
    while let Ok(Event::ServerEnded(what)) = session.look_after(&[ended], None) {
        let line = wrapper_session::server_ended(&what);
        let _ = io::stderr().write_all(line.as_bytes());
    }
}

/// The command's end as ours. By a signal that came to us, too, we end likewise: our caller may ask.
fn as_shell(status: ExitStatus) -> Status {
    match (status.code(), status.signal()) {
        (Some(code), _) => Status(code as u8),
        (None, signal) => {
            let signal = signal.unwrap_or_default();
            if supervise::noted() == Some(signal) {
                supervise::end_by(signal);
            }
            Status(128 + signal as u8)
        }
    }
}

/// As a shell says it.
fn cannot_run(words: &[OsString], err: &io::Error) -> Status {
    let program = words.first().cloned().unwrap_or_default();
    let program = program.to_string_lossy();
    let (why, status) = match err.kind() {
        io::ErrorKind::NotFound => ("not found".to_owned(), 127),
        _ => (err.to_string(), 126),
    };
    let _ = writeln!(io::stderr(), "pump: {program}: {why}");
    Status(status)
}

/// `pump --startup`
fn start_up(called_as: &OsStr) -> Result<Status> {
    let prepared = prepare(called_as)?;
    let Prepared { path, hosts, .. } = prepared;
    let started = keeper::start(GRACE, |kept| {
        let told = hosts.told(true)?;
        let text = settings_of(kept, told.variable, path);
        io::stdout()
            .write_all(&text)
            .and_then(|()| io::stdout().flush())
            .map_err(|err| Error::io("write to stdout", &err))
    })?;
    Ok(match started {
        Ok(()) => Status::OK,
        Err(not_begun) => {
            explain(&not_begun);
            Code::Unpumped.into()
        }
    })
}

/// What a shell has to evaluate, in stock's order.
fn settings_of(kept: &Kept, hosts: Option<OsString>, path: Option<OsString>) -> Vec<u8> {
    let mut text = Vec::new();
    let hosts = hosts.or_else(|| env::var_os("DISTCC_HOSTS"));
    let socket = socket_in(&kept.folder);
    for (name, value) in [
        ("INCLUDE_SERVER_PID", Some(kept.pid.to_string().into())),
        ("INCLUDE_SERVER_DIR", Some(kept.folder.clone().into())),
        ("INCLUDE_SERVER_PORT", Some(socket.into())),
        ("DISTCC_HOSTS", hosts.filter(|hosts| !hosts.is_empty())),
        ("PATH", path.or_else(|| env::var_os("PATH"))),
    ] {
        if let Some(value) = value {
            text.extend(assignment(name, &value));
        }
    }
    text
}

/// `pump --shutdown`; without a session there is nothing to do.
fn shut_down() -> Status {
    let [pid, folder] = ["INCLUDE_SERVER_PID", "INCLUDE_SERVER_DIR"].map(env::var_os);
    let Some(folder) = folder.map(PathBuf::from).filter(|folder| folder.is_dir()) else {
        return Status::OK;
    };
    let found = keeper::find(pid.as_deref(), &folder);
    if found.is_none() && !private_folder::was_ours(&folder) {
        let folder = folder.display();
        warn(&format!(
            "{folder} is no session of this pump; it is left alone"
        ));
        return Status::OK;
    }
    report(&folder, discrepancies_max().unwrap_or(DISCREPANCY_MAX));
    if let Some(found) = found {
        say("Shutting down distcc-pump include server");
        let [stdout, stderr] = found.end();
        let _ = io::stdout().write_all(&stdout);
        let _ = io::stderr().write_all(&stderr);
    }
    private_folder::remove_unowned(&folder);
    Status::OK
}

/// A line about how far things are, unless somebody wants none.
fn say(line: &str) {
    let quiet = env::var("DISTCC_TESTING_INCLUDE_SERVER").unwrap_or_default();
    if quiet.trim().parse::<i64>().is_ok_and(|number| number != 0) {
        return;
    }
    // Whether anybody reads it is not ours to judge: the build decides how it ends.
    let _ = io::stdout().write_all(format!("__________{line}\n").as_bytes());
    let _ = io::stdout().flush();
}

fn warn(line: &str) {
    let _ = io::stderr().write_all(format!("__________Warning: {line}\n").as_bytes());
}

/// Says why there is no include server.
fn explain(not_begun: &NotBegun) {
    let expected = not_begun.socket.as_ref().map_or(String::new(), |socket| {
        format!("__________Expected a socket at '{}'\n", socket.display())
    });
    let why = &not_begun.why;
    let text = format!("{expected}__________Could not start distcc-pump include server: {why}\n");
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Says how often a host's result was none.
fn report(folder: &Path, max: u64) {
    let text = wrapper_session::discrepancy_report(wrapper_session::discrepancies(folder), max);
    let _ = io::stderr().write_all(text.as_bytes());
}
