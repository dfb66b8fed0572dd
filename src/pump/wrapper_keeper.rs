//! What lives on after `pump --startup`: a process of its own, in a session of its own, that owns the folder and the
//! include server until `pump --shutdown`, or until the folder is removed or nobody can know of the session any more.

use super::wrapper_life::Holders;
use super::wrapper_session::{self, Event, NotBegun, Session};
use crate::farm::include_start;
use crate::farm::private_folder;
use crate::model::error::{Code, Error, Result, Status};
use crate::os::net::wait_readable;
use crate::os::process::{end_of, end_process, process_descriptor};
use crate::os::{daemonize, supervise};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The word after `pump` that starts a keeper; the time of grace in seconds follows.
pub const KEEPER_WORD: &str = "--keeper";

/// This program, also when its file has been replaced since it was started.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// How long a keeper may take to report; the include server has less.
const REPORT_WAIT: Duration = Duration::from_secs(60);

/// How often a keeper asks whether anybody is there.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// How long a keeper may take to end.
const END_WAIT: Duration = Duration::from_secs(20);

/// A session that is kept by another process.
#[derive(Debug)]
pub struct Kept {
    /// The keeper's process number, for `$INCLUDE_SERVER_PID`.
    pub pid: u32,
    /// The session's folder.
    pub folder: PathBuf,
}

/// A keeper that has not yet been left to itself; ended when dropped.
#[derive(Debug)]
struct Keeper(Option<Child>);

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            supervise::terminate(child);
            let until = Instant::now() + END_WAIT;
            let ended = end_of(child).and_then(|end| wait_readable(&[end.as_fd()], Some(until)));
            if !matches!(ended, Ok(Some(_))) {
                let _ = child.kill();
            }
            let _ = child.wait();
        }
    }
}

/// Starts a keeper, and does `announce` when the session is there. If that fails the session is ended again.
pub fn start(
    grace: Duration,
    announce: impl FnOnce(&Kept) -> Result<()>,
) -> Result<std::result::Result<(), NotBegun>> {
    let trouble = |err: io::Error| Error::io("start the include server's keeper", &err);
    let (report, theirs) = UnixStream::pair().map_err(trouble)?;
    let child = Command::new(THIS_PROGRAM)
        .arg0("pump")
        .arg(KEEPER_WORD)
        .arg(grace.as_secs().to_string())
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(trouble)?;
    let pid = child.id();
    let mut keeper = Keeper(Some(child));
    let until = Instant::now() + REPORT_WAIT;
    let report = include_start::read_line(report, until).map_err(trouble)?;
    match parse_report(&report) {
        Some(Ok(folder)) => announce(&Kept { pid, folder })?,
        Some(Err(not_begun)) => return Ok(Err(not_begun)),
        None => return Err(trouble(io::Error::other("it ended without a word"))),
    }
    keeper.0 = None;
    Ok(Ok(()))
}

/// `+FOLDER`, or `-SOCKET NUL WHY`, ended by a newline, which no session's path holds.
fn report(begun: &std::result::Result<Session, NotBegun>) -> Vec<u8> {
    let mut line = Vec::new();
    match begun {
        Ok(session) => {
            line.push(b'+');
            line.extend_from_slice(session.folder().as_os_str().as_bytes());
        }
        Err(not_begun) => {
            let socket = not_begun.socket.as_deref().unwrap_or(Path::new(""));
            line.push(b'-');
            line.extend_from_slice(socket.as_os_str().as_bytes());
            line.push(0);
            line.extend(not_begun.why.bytes().map(|byte| match byte {
                b'\n' => b' ',
                byte => byte,
            }));
        }
    }
    line.push(b'\n');
    line
}

fn parse_report(line: &[u8]) -> Option<std::result::Result<PathBuf, NotBegun>> {
    let (mark, rest) = line.strip_suffix(b"\n")?.split_first()?;
    let path = |bytes: &[u8]| PathBuf::from(OsString::from_vec(bytes.to_vec()));
    if *mark == b'+' {
        return Some(Ok(path(rest)));
    }
    let end = rest.iter().position(|byte| *byte == 0)?;
    Some(Err(NotBegun {
        socket: (end > 0).then(|| path(&rest[..end])),
        why: String::from_utf8_lossy(&rest[end + 1..]).into_owned(),
    }))
}

/// The keeper itself: `words` is the time of grace.
pub fn keep(words: &[OsString]) -> Result<Status> {
    let grace = words
        .first()
        .and_then(|word| word.to_str()?.parse().ok())
        .map(Duration::from_secs)
        .ok_or_else(|| {
            Error::new(
                Code::BadArguments,
                format!("{KEEPER_WORD} is for the program's own use"),
            )
        })?;
    let trouble = |err: io::Error| Error::io("keep a session", &err);
    let holders = Holders::of_this_process();
    daemonize::leave_session().map_err(trouble)?;
    supervise::note_final_signals().map_err(trouble)?;
    let begun = Session::begin(true);
    let stdin = io::stdin().as_fd().try_clone_to_owned().map_err(trouble)?;
    let told = File::from(stdin).write_all(&report(&begun));
    if let (Ok(mut session), Ok(())) = (begun, told) {
        let holders = holders.map(|holders| holders.of_folder(session.folder()));
        look_after(&mut session, holders, grace).map_err(trouble)?;
    }
    Ok(Status::OK)
}

/// Until a signal comes, the folder is removed, or nobody is left.
fn look_after(
    session: &mut Session,
    mut holders: Option<Holders>,
    grace: Duration,
) -> io::Result<()> {
    let removal = session.removal()?;
    let mut fds = vec![removal.hint()];
    fds.extend(supervise::coming());
    let pause = LOOK_EVERY.min(grace / 4).max(Duration::from_millis(50));
    let is_gone = |holders: &mut Holders| holders.are_gone_for(grace);
    while supervise::noted().is_none() && !removal.has_come() {
        match session.look_after(&fds, Some(Instant::now() + pause))? {
            Event::ServerEnded(what) => note(session.folder(), &what),
            Event::Timeout if holders.as_mut().is_some_and(is_gone) => break,
            Event::Timeout | Event::Readable(_) => {}
        }
    }
    Ok(())
}

/// Adds a line to what the include server says, for the one who ends the session.
fn note(folder: &Path, what: &str) {
    let [_, stderr] = wrapper_session::output_files(folder);
    if let Ok(mut file) = File::options().append(true).open(stderr) {
        let _ = file.write_all(wrapper_session::server_ended(what).as_bytes());
    }
}

/// A session that is there to be ended.
#[derive(Debug)]
pub struct Found {
    keeper: OwnedFd,
    folder: PathBuf,
}

/// The session in `folder`, if its keeper lives and is the process of this number.
pub fn find(pid: Option<&OsStr>, folder: &Path) -> Option<Found> {
    let pid: u32 = pid?.to_str()?.trim().parse().ok()?;
    // Opened before it is looked at, so that the number can't become another process's in between.
    let keeper = process_descriptor(pid).ok()?;
    let owner = private_folder::owner(folder)?;
    let folder = folder.to_owned();
    (owner.pid == pid).then_some(Found { keeper, folder })
}

impl Found {
    /// Ends the session; returns what the include server wrote to stdout and to stderr.
    pub fn end(self) -> [Vec<u8>; 2] {
        // The keeper removes the files, but not what is open.
        let files = wrapper_session::output_files(&self.folder).map(|path| File::open(path).ok());
        end_process(self.keeper.as_fd(), false);
        let until = Instant::now() + END_WAIT;
        let ended = wait_readable(&[self.keeper.as_fd()], Some(until));
        if !matches!(ended, Ok(Some(_))) {
            // Its include server ends by the end of its pipe.
            end_process(self.keeper.as_fd(), true);
        }
        files.map(|file| {
            let mut said = Vec::new();
            let _ = file.map(|mut file| file.read_to_end(&mut said));
            said
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_report_says_where_or_why_not() {
        let not_begun = |socket: Option<&str>| NotBegun {
            socket: socket.map(PathBuf::from),
            why: "no room\nat all".to_owned(),
        };
        for socket in [None, Some("/tmp/a b/socket")] {
            let line = report(&Err(not_begun(socket)));
            let found = parse_report(&line).unwrap().unwrap_err();
            assert_eq!(found.socket, not_begun(socket).socket);
            assert_eq!(found.why, "no room at all");
        }
        let found = parse_report(b"+/tmp/a b\n").unwrap();
        assert_eq!(found, Ok(PathBuf::from("/tmp/a b")));
        for cut in [&b""[..], b"\n", b"+/tmp/a", b"-/tmp\n"] {
            assert_eq!(parse_report(cut), None);
        }
    }

    #[test]
    fn only_a_living_keeper_is_found() {
        let me = std::process::id().to_string();
        let found = |pid: &str, folder: &Path| find(Some(OsStr::new(pid)), folder);
        assert!(found(&me, Path::new("/tmp")).is_none());
        assert!(found("", Path::new("/tmp")).is_none());
        let parent = tempfile::tempdir().unwrap();
        let folder = private_folder::PrivateFolder::create(parent.path(), "x.").unwrap();
        assert!(find(None, folder.path()).is_none());
        assert!(found("1", folder.path()).is_none());
        assert!(found(&me, folder.path()).is_some());
    }
}
