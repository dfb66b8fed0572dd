//! The log of each program: one line per record and one write per line, in the form that stock distcc's readers know.
//! Goes to stderr, to a file, or to a descriptor that ccache left open for us.

use env_logger::Target;
use log::{Level, LevelFilter, Record};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// What a message may begin with to be more than an error; stock has more levels than `log`.
const CRITICAL: &str = "CRITICAL! ";

/// Opens a log for appending, so that many processes may share it.
pub fn open_log(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// A log file that is full or gone must not swallow what is said: then it goes to stderr.
pub struct OrStderr(pub File);

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
    let pid = std::process::id();
    let _ = env_logger::Builder::new()
        .filter_level(level)
        .format(move |out, record| {
            let text = record.args().to_string();
            let severity = severity(record, &text);
            // A line is a line: what others put into names must not begin a new one.
            writeln!(
                out,
                "{program}[{pid}] {severity}{}",
                text.replace('\n', " ")
            )
        })
        .target(target)
        .try_init();
}

fn severity(record: &Record, text: &str) -> &'static str {
    match record.level() {
        Level::Error if text.starts_with(CRITICAL) => "",
        Level::Error => "ERROR: ",
        Level::Warn => "Warning: ",
        _ => "",
    }
}
