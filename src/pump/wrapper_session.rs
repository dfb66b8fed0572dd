//! A pump session: a private folder with an include server in it, which is started again a few times if it should end,
//! and the count of compiles that failed on a host and went well here.

use super::wrapper_shell;
use crate::farm::include_start::{has_room_for_socket, IncludeServer, Plan};
use crate::farm::private_folder::PrivateFolder;
use crate::model::error::{Code, Error, Result};
use crate::model::pump_settings::DISCREPANCY_MAX;
use crate::os::net::wait_readable;
use crate::os::supervise;
use crate::os::watch::Removal;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What the folder's name begins with, as stock's.
const PREFIX: &str = "distcc-pump.";

/// Where the folder is made if `$TMPDIR` is unset, or too long for the path of a socket.
const USUAL_PARENT: &str = "/tmp";

/// How often an include server that ended is started again: a file that ends it would end the next one, too.
const RESTARTS_MAX: u32 = 5;

/// What an include server gets to end once its end is known.
const END_WAIT: Duration = Duration::from_secs(1);

/// A session. Dropped, it ends the include server and removes the folder, in this order.
#[derive(Debug)]
pub struct Session {
    plan: Plan,
    server: Option<IncludeServer>,
    folder: PrivateFolder,
    restarts_left: u32,
}

/// Why a session could not begin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotBegun {
    /// Where its socket would have been, if it came so far.
    pub socket: Option<PathBuf>,
    /// For people.
    pub why: String,
}

impl From<Error> for NotBegun {
    fn from(err: Error) -> Self {
        NotBegun {
            socket: None,
            why: err.message,
        }
    }
}

/// What came about while a session was looked after.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The descriptor of this number can be read.
    Readable(usize),
    /// The time is over.
    Timeout,
    /// The include server has ended; what was done about it, in words.
    ServerEnded(String),
}

impl Session {
    /// Makes the folder and starts the include server. `into_files`: what that says goes to the files `stdout` and
    /// `stderr` in the folder.
    pub fn begin(into_files: bool) -> std::result::Result<Session, NotBegun> {
        let folder = folder(env::var_os("TMPDIR"))?;
        let mut words: Vec<OsString> = vec!["-d1".into()];
        if let Some(more) = env::var_os("INCLUDE_SERVER_ARGS") {
            words.extend(wrapper_shell::evaluated("INCLUDE_SERVER_ARGS", &more)?);
        }
        let mut plan = Plan::new(folder.path(), words);
        if into_files {
            let [stdout, stderr] = output_files(folder.path()).map(|path| append(&path));
            let trouble = |err| Error::io("keep what the include server says", &err);
            plan = plan.output(stdout.map_err(trouble)?, stderr.map_err(trouble)?);
        }
        let server = plan.start().map_err(|err| NotBegun {
            socket: Some(plan.socket().to_owned()),
            why: err.message,
        })?;
        Ok(Session {
            plan,
            server: Some(server),
            folder,
            restarts_left: RESTARTS_MAX,
        })
    }

    /// The private folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Tells when somebody else removes that folder.
    pub fn removal(&self) -> io::Result<Removal> {
        self.folder.removal()
    }

    /// The value of `$INCLUDE_SERVER_PORT`.
    pub fn socket(&self) -> &Path {
        self.plan.socket()
    }

    /// Waits for one of `fds` or until then, and meanwhile keeps an include server running.
    pub fn look_after(&mut self, fds: &[BorrowedFd], until: Option<Instant>) -> io::Result<Event> {
        let mut all = fds.to_vec();
        all.extend(self.server.as_ref().map(IncludeServer::ended));
        Ok(match wait_readable(&all, until)? {
            None => Event::Timeout,
            Some(number) if number < fds.len() => Event::Readable(number),
            Some(_) => Event::ServerEnded(self.start_again()),
        })
    }

    fn start_again(&mut self) -> String {
        let ended = match self.server.take() {
            Some(mut server) => server.how_it_ended(END_WAIT),
            None => "is not there".to_owned(),
        };
        let mut given_up = String::new();
        while self.restarts_left > 0 && supervise::noted().is_none() {
            self.restarts_left -= 1;
            match self.plan.start() {
                Ok(server) => {
                    self.server = Some(server);
                    return format!("{ended}; it has been started again");
                }
                Err(err) => given_up = format!(", and again it does not start: {err}"),
            }
        }
        format!("{ended}{given_up}; what is compiled from here on is preprocessed here")
    }
}

/// A new private folder below `given`, or below `/tmp` if that is too long a name, is not one line of text, or is no place
/// to write to.
fn folder(given: Option<OsString>) -> Result<PrivateFolder> {
    let usual = Path::new(USUAL_PARENT);
    let parent = given.filter(|parent| !parent.is_empty());
    let Some(parent) = parent.map(PathBuf::from) else {
        return PrivateFolder::create(usual, PREFIX);
    };
    if let Ok(folder) = PrivateFolder::create(&parent, PREFIX) {
        let is_a_line = |path: &str| !path.contains('\n');
        let is_text = folder.path().to_str().is_some_and(is_a_line);
        if is_text && has_room_for_socket(folder.path()) {
            return Ok(folder);
        }
    }
    PrivateFolder::create(usual, PREFIX)
}

/// The files for what the include server of a detached session writes to stdout and to stderr.
pub fn output_files(folder: &Path) -> [PathBuf; 2] {
    ["stdout", "stderr"].map(|name| folder.join(name))
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// The line about an include server that ended too early.
pub fn server_ended(what: &str) -> String {
    format!("__________Warning: the include server {what}\n")
}

/// How many compiles of a session failed on a host and went well here: clients write a byte for each.
pub fn discrepancies(folder: &Path) -> u64 {
    let counter = folder.join("discrepancy_counter");
    fs::metadata(counter).map_or(0, |meta| meta.len())
}

/// How many discrepancies a session stands, by `$DISTCC_MAX_DISCREPANCY`.
pub fn discrepancies_max(value: Option<&OsStr>) -> Result<u64> {
    let Some(value) = value else {
        return Ok(DISCREPANCY_MAX);
    };
    let number = value.to_str().and_then(|text| text.trim().parse().ok());
    number.filter(|number| *number > 0).ok_or_else(|| {
        let value = value.to_string_lossy();
        Error::new(
            Code::Unpumped,
            format!("Bad DISTCC_MAX_DISCREPANCY value: \"{value}\". Needs to be 1 or greater."),
        )
    })
}

/// What is said at the end of a session of discrepancies, if there were any.
pub fn discrepancy_report(count: u64, max: u64) -> String {
    if count == 0 {
        return String::new();
    }
    let demoted = match count >= max {
        true => "__________Distcc-pump was demoted to plain mode.\n",
        false => "",
    };
    format!(
        "__________Warning: {count} pump-mode compilation(s) failed on server, but succeeded locally.\n{demoted}\
         See the Distcc Discrepancy Symptoms section in the include_server(1) man page.\n"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn a_folder_that_sockets_can_be_in_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let parent_of = |given: &Path| {
            let folder = folder(Some(given.into())).unwrap();
            let name = folder.path().file_name().unwrap().to_str().unwrap();
            assert!(
                name.starts_with("distcc-pump.") && name.len() == 18,
                "{name}"
            );
            folder.path().parent().unwrap().to_owned()
        };
        let real = dir.path().canonicalize().unwrap();
        assert_eq!(parent_of(dir.path()), real);
        let long = dir.path().join("x".repeat(90));
        let lines = dir.path().join("two\nlines");
        let bytes = dir.path().join(OsStr::from_bytes(b"\xe4"));
        for folder in [&long, &lines, &bytes] {
            fs::create_dir(folder).unwrap();
        }
        for unfit in [&long, &lines, &bytes, &dir.path().join("missing")] {
            assert_eq!(parent_of(unfit), Path::new("/tmp"));
        }
        assert_eq!(fs::read_dir(&long).unwrap().count(), 0);
    }

    #[test]
    fn the_limit_of_discrepancies_is_a_number_above_0() {
        let max = |value: &str| discrepancies_max(Some(OsStr::new(value)));
        assert_eq!(discrepancies_max(None).unwrap(), DISCREPANCY_MAX);
        assert_eq!(max("7").unwrap(), 7);
        for bad in ["", "0", "-1", "x", "1x"] {
            let err = max(bad).unwrap_err();
            assert_eq!(err.code, Code::Unpumped);
            assert!(err
                .message
                .starts_with("Bad DISTCC_MAX_DISCREPANCY value: \""));
        }
    }

    #[test]
    fn discrepancies_are_reported_as_stock_does() {
        assert_eq!(discrepancy_report(0, 1), "");
        let said = discrepancy_report(2, 3);
        assert!(
            said.starts_with("__________Warning: 2 pump-mode compilation(s) failed on server, but")
        );
        assert!(!said.contains("demoted"));
        assert!(discrepancy_report(3, 3)
            .contains("\n__________Distcc-pump was demoted to plain mode.\n"));
    }

    #[test]
    fn a_byte_is_a_discrepancy() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(discrepancies(dir.path()), 0);
        fs::write(dir.path().join("discrepancy_counter"), "@@@").unwrap();
        assert_eq!(discrepancies(dir.path()), 3);
    }
}
