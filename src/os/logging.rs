//! The log of each program: one line per record and one write per line, in the form that stock distcc's readers know.
//! Goes to stderr, to a file, to a descriptor that ccache left open for us, or to syslog. Adds stock's level between
//! warning and info, *notice*, as a target of its own.

#![allow(unsafe_code)] // syslog(3) and the taking over of descriptors are only to be had from libc.

use super::files::memory_file;
use super::log_json;
pub use super::log_json::NOTICE;
use super::sys::check;
use crate::model::settings::ClientSettings;
use env_logger::{Builder, Target};
use log::{Level, LevelFilter, Metadata, Record};
use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::FromRawFd;
use std::path::Path;
use std::sync::{OnceLock, PoisonError, RwLock};

/// What a message may begin with to be more than an error; stock has more levels than `log`.
const CRITICAL: &str = "CRITICAL! ";

/// Longest line in bytes, its end included.
const LINE_BYTES_MAX: usize = 4096;

/// How much of what a compiler said is logged where nobody sees all of it: lines, and bytes of each.
const SAID_LINES_MAX: usize = 8;
const SAID_BYTES_MAX: usize = 400;

/// Sets up the client's log as its settings say. That a log can't be opened is itself a log line, on stderr.
pub fn client(settings: &ClientSettings) {
    as_client("distcc", settings);
}

/// Like [`client`], for a program of another name that heeds the same settings.
pub fn as_client(program: &'static str, settings: &ClientSettings) {
    let (target, mut level, trouble) = client_target(settings);
    if settings.verbose {
        level = LevelFilter::Debug;
    }
    match settings.pump.mail_to {
        Some(_) => init_copying(program, level, target),
        None => init(program, level, target),
    }
    if let Some(trouble) = trouble {
        log::error!("{trouble}");
    }
    // One call below another has said it already.
    for odd in settings
        .odd_numbers
        .iter()
        .filter(|_| settings.safeguard == 0)
    {
        log::warn!("{odd}");
    }
}

fn client_target(settings: &ClientSettings) -> (Target, LevelFilter, Option<String>) {
    let to_stderr = |trouble| (Target::Stderr, LevelFilter::Warn, trouble);
    let to_file = |file| Target::Pipe(Box::new(OrStderr(file)));
    if let Some(path) = &settings.log_file {
        return match open_log(path) {
            Ok(file) => (to_file(file), LevelFilter::Info, None),
            Err(err) => to_stderr(Some(format!(
                "failed to open logfile {}: {err}",
                path.display()
            ))),
        };
    }
    match settings.uncached_err_fd.map(duplicate) {
        Some(Ok(file)) => (to_file(file), LevelFilter::Warn, None),
        _ => to_stderr(None),
    }
}

/// A descriptor of our own for an open file that somebody left us.
fn duplicate(fd: i32) -> io::Result<File> {
    // SAFETY: F_DUPFD_CLOEXEC fails for a number that is not open; the new descriptor is ours alone.
    unsafe {
        let fd = check(libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3))?;
        Ok(File::from_raw_fd(fd))
    }
}

/// Opens a log for appending, so that many processes may share it.
pub fn open_log(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// A log file that is full or gone must not swallow what is said: then it goes to stderr.
struct OrStderr(File);

impl Write for OrStderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.0.write_all(line) {
            Ok(()) => Ok(line.len()),
            Err(_) => io::stderr().write_all(line).map(|()| line.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sets up the log of `program`: lines `PROGRAM[PID] SEVERITY text`. Only the first call in a process counts.
pub fn init(program: &'static str, level: LevelFilter, target: Target) {
    let _ = Builder::new()
        .filter_level(level)
        .format(move |out, record| out.write_all(line(program, record).as_bytes()))
        .target(target)
        .try_init();
}

/// What was logged at any level, if that may become a letter.
static COPY: OnceLock<File> = OnceLock::new();

/// A log of which everything is kept beside, whatever its level.
struct Copying {
    program: &'static str,
    shown: env_logger::Logger,
}

impl log::Log for Copying {
    fn enabled(&self, _: &log::Metadata) -> bool {
        true
    }

    fn log(&self, record: &Record) {
        if self.shown.matches(record) {
            self.shown.log(record);
        }
        if let Some(mut copy) = COPY.get() {
            // Without the copy there is no letter, that is all.
            let _ = copy.write_all(line(self.program, record).as_bytes());
        }
    }

    fn flush(&self) {}
}

fn init_copying(program: &'static str, level: LevelFilter, target: Target) {
    if let Ok(file) = memory_file() {
        let _ = COPY.set(file);
    }
    let shown = Builder::new()
        .filter_level(level)
        .format(move |out, record| out.write_all(line(program, record).as_bytes()))
        .target(target)
        .build();
    if log::set_boxed_logger(Box::new(Copying { program, shown })).is_ok() {
        log::set_max_level(LevelFilter::Debug);
    }
}

/// The copy of what was logged; an error if none is kept.
pub fn copy() -> io::Result<File> {
    let kept = COPY.get().map(File::try_clone);
    kept.unwrap_or_else(|| Err(io::Error::other("nothing was kept of the log")))
}

/// How much a daemon says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verbosity {
    /// Only what somebody must act on.
    Error,
    /// Refusals and retreats, too.
    Warning,
    /// One line per job, too: the default.
    Notice,
    /// Each compile with its command.
    Info,
    /// Each decision.
    Debug,
}

impl Verbosity {
    /// The names that `--log-level` takes.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "emerg" | "emergency" | "alert" | "crit" | "critical" | "err" | "error" => Self::Error,
            "warn" | "warning" => Self::Warning,
            "note" | "notice" => Self::Notice,
            "info" => Self::Info,
            "debug" => Self::Debug,
            _ => return None,
        })
    }

    /// Whether it passes.
    fn admits(self, message: &Metadata) -> bool {
        let most = match self {
            Self::Error => Level::Error,
            Self::Warning => Level::Warn,
            Self::Notice if message.target() == NOTICE => Level::Info,
            Self::Notice => Level::Warn,
            Self::Info => Level::Info,
            Self::Debug => Level::Debug,
        };
        message.level() <= most
    }
}

/// Where a daemon's log goes.
#[derive(Debug)]
pub enum Sink {
    /// The system's log.
    Syslog,
    /// Standard error.
    Stderr,
    /// A file.
    File(File),
}

/// What a daemon's log is: all of it may change while it runs.
#[derive(Debug)]
struct DaemonLog {
    verbosity: Verbosity,
    json: bool,
    sink: Sink,
}

static DAEMON: RwLock<DaemonLog> = RwLock::new(DaemonLog {
    verbosity: Verbosity::Notice,
    json: false,
    sink: Sink::Stderr,
});

impl DaemonLog {
    fn write(&self, record: &Record) {
        let line = || match self.json {
            true => log_json::line(record),
            false => line("distccd", record),
        };
        match &self.sink {
            Sink::Syslog => to_syslog(record),
            Sink::Stderr => {
                let _ = io::stderr().write_all(line().as_bytes());
            }
            Sink::File(file) => {
                // What can't be written goes to standard error, and that may be gone, too.
                let (mut file, line) = (file, line());
                if file.write_all(line.as_bytes()).is_err() {
                    let _ = io::stderr().write_all(line.as_bytes());
                }
            }
        }
    }
}

/// Sets up a daemon's log, or changes it: how much it says, whether in lines of JSON (syslog never gets those), and where.
pub fn daemon(verbosity: Verbosity, json: bool, sink: Sink) {
    struct Daemon;
    impl log::Log for Daemon {
        fn enabled(&self, message: &Metadata) -> bool {
            let log = DAEMON.read().unwrap_or_else(PoisonError::into_inner);
            log.verbosity.admits(message)
        }

        fn log(&self, record: &Record) {
            let log = DAEMON.read().unwrap_or_else(PoisonError::into_inner);
            if log.verbosity.admits(record.metadata()) {
                log.write(record);
            }
        }

        fn flush(&self) {}
    }
    if matches!(sink, Sink::Syslog) {
        // SAFETY: the string ends with NUL and lives as long as the program.
        unsafe { libc::openlog(c"distccd".as_ptr(), libc::LOG_PID, libc::LOG_DAEMON) };
    }
    *DAEMON.write().unwrap_or_else(PoisonError::into_inner) = DaemonLog {
        verbosity,
        json,
        sink,
    };
    let _ = log::set_logger(&Daemon); // The first time; later ones change nothing.
    log::set_max_level(match verbosity {
        Verbosity::Error => LevelFilter::Error,
        Verbosity::Warning => LevelFilter::Warn,
        Verbosity::Notice | Verbosity::Info => LevelFilter::Info,
        Verbosity::Debug => LevelFilter::Debug,
    });
}

/// `PROGRAM[PID] SEVERITY text`, in one line whatever the text holds.
fn line(program: &str, record: &Record) -> String {
    let text = record.args().to_string();
    let severity = severity(record, &text);
    let pid = std::process::id();
    let mut line = printable(&format!("{program}[{pid}] {severity}{text}"));
    line.push('\n');
    line
}

fn severity(record: &Record, text: &str) -> &'static str {
    match record.level() {
        Level::Error if text.starts_with(CRITICAL) => "",
        Level::Error => "ERROR: ",
        Level::Warn => "Warning: ",
        _ => "",
    }
}

/// The text without control characters, cut to the longest line: what others put into names must not begin a new line,
/// nor drive a terminal.
fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len() + 1);
    for letter in text.chars() {
        let before = shown.len();
        match letter {
            '\n' => shown.push(' '),
            '\t' => shown.push(letter),
            _ if letter.is_control() => shown.extend(letter.escape_default()),
            _ => shown.push(letter),
        }
        if shown.len() >= LINE_BYTES_MAX {
            shown.truncate(before);
            break;
        }
    }
    shown
}

/// The first lines of what somebody else said, for a log: not many, and none long.
pub fn first_lines(said: &[u8]) -> Vec<String> {
    let lines = said.split(|byte| *byte == b'\n');
    let lines = lines.filter(|line| !line.is_empty()).take(SAID_LINES_MAX);
    lines
        .map(|line| {
            let start = line.get(..SAID_BYTES_MAX).unwrap_or(line);
            String::from_utf8_lossy(start).into_owned()
        })
        .collect()
}

fn to_syslog(record: &Record) {
    let priority = match record.level() {
        Level::Error => libc::LOG_ERR,
        Level::Warn => libc::LOG_WARNING,
        Level::Info if record.target() == NOTICE => libc::LOG_NOTICE,
        Level::Info => libc::LOG_INFO,
        Level::Debug | Level::Trace => libc::LOG_DEBUG,
    };
    let Ok(text) = CString::new(printable(&record.args().to_string())) else {
        return;
    };
    // SAFETY: both strings end with NUL; the format takes exactly one string.
    unsafe { libc::syslog(libc::LOG_DAEMON | priority, c"%s".as_ptr(), text.as_ptr()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_stocks_and_cannot_be_forged() {
        let show = |level, text: &str| {
            let pid = std::process::id().to_string();
            line(
                "distccd",
                &Record::builder()
                    .level(level)
                    .args(format_args!("{text}"))
                    .build(),
            )
            .replace(&pid, "PID")
        };
        assert_eq!(show(Level::Error, "bad"), "distccd[PID] ERROR: bad\n");
        assert_eq!(show(Level::Warn, "odd"), "distccd[PID] Warning: odd\n");
        assert_eq!(show(Level::Info, "a\nb\x1b"), "distccd[PID] a b\\u{1b}\n");
        assert!(printable(&"é".repeat(4000)).len() < LINE_BYTES_MAX);
    }

    #[test]
    fn what_others_say_is_cut_to_its_beginning() {
        assert_eq!(first_lines(b"\na\n\nb\xff"), ["a", "b\u{fffd}"]);
        assert!(first_lines(b"").is_empty());
        assert_eq!(first_lines(&b"x\n".repeat(99)).len(), SAID_LINES_MAX);
        assert_eq!(first_lines(&[b'x'; 9999]), ["x".repeat(SAID_BYTES_MAX)]);
    }

    #[test]
    fn names_of_levels() {
        assert_eq!(Verbosity::named("crit"), Some(Verbosity::Error));
        assert_eq!(Verbosity::named("notice"), Some(Verbosity::Notice));
        assert_eq!(Verbosity::named("loud"), None);
    }
}
