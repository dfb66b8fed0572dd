//! How compilers are started: through a small process, which is a cell's, or one job's where the system forbids cells; and
//! what of this machine is shown in a view.

use super::enter;
use super::shown::{os, Shown};
use super::told::{self, Said, Silence};
use super::view::{Mount, View};
use crate::model::client_path::ClientPath;
use crate::model::job_tree::{JobTree, Node, Refused};
use crate::model::wait_status::WaitStatus;
use crate::os::process::Group;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Ourselves, also after an update has put another file in the place of ours.
const EXECUTABLE: &str = "/proc/self/exe";

/// How long such a process may take for a step, on a machine that is busy beyond measure; one that is stopped must not keep
/// a job slot.
const STEP_TIME: Duration = Duration::from_secs(60);

/// How long such a process may take to end what it says.
const COMPLAINT_TIME: Duration = Duration::from_secs(1);

/// How a job's compiler sees files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Way {
    /// In namespaces; those of a pump job under the client's own names.
    Views {
        /// Folders of this machine can be shown merged with those of the client.
        merges: bool,
        /// The system counts the processes of a job apart from all others.
        counts: bool,
    },
    /// As they are here, since the system forbids namespaces, for this reason; those of a pump job below a folder.
    Mirrors(String),
}

/// The process of a single job, which sees files as they are here.
#[derive(Debug)]
pub struct Launch {
    /// It, and all that it starts.
    pub group: Group,
    link: UnixStream,
}

/// Starts the small process, which says nothing but to us.
pub fn start<'w>(words: impl Iterator<Item = &'w OsStr>) -> io::Result<(Group, UnixStream)> {
    start_speaking(words, Stdio::null(), Stdio::null())
}

fn start_speaking<'w>(
    words: impl Iterator<Item = &'w OsStr>,
    stdout: Stdio,
    stderr: Stdio,
) -> io::Result<(Group, UnixStream)> {
    let (link, theirs) = UnixStream::pair()?;
    link.set_read_timeout(Some(STEP_TIME))?;
    link.set_write_timeout(Some(STEP_TIME))?;
    let mut command = Command::new(EXECUTABLE);
    command
        .arg0(enter::NAME)
        .args(words)
        .env_clear()
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(stdout)
        .stderr(stderr);
    let group = Group::spawn(&mut command)?;
    Ok((group, link))
}

impl Launch {
    /// Starts the process; the job's files lie in `folder`, and the compiler speaks to the other two.
    pub fn start(folder: &Path, stdout: &File, stderr: &File) -> io::Result<Launch> {
        let words = [OsStr::new(enter::HERE), folder.as_os_str()].into_iter();
        let shared = |file: &File| file.try_clone().map(Stdio::from);
        let (group, link) = start_speaking(words, shared(stdout)?, shared(stderr)?)?;
        Ok(Launch { group, link })
    }

    /// Tells the process what it waits for.
    pub fn tell(&self, view: &View) -> io::Result<()> {
        match told::tell(&self.link, view, &[]) {
            // It is about to be waited for, and may have said why.
            Err(silence) if silence.is_end() => Ok(()),
            told => told.map_err(Silence::into),
        }
    }

    /// Waits for the end of the job; or the error's number, and words, if the compiler could not be started. How the process
    /// itself has ended says nothing of the compiler: somebody may have ended it.
    pub fn outcome(self) -> io::Result<Result<WaitStatus, (i32, String)>> {
        self.group.wait()?;
        self.link.set_read_timeout(Some(COMPLAINT_TIME))?;
        match told::listen(&self.link)? {
            Said::Ended(status) => Ok(Ok(status)),
            Said::Failed(number, words) => Ok(Err((number, words))),
            Said::Folder(_) => Err(Silence::Garbled.into()),
        }
    }
}

/// The tree of a view before the client's files are added.
pub fn tree(shown: &Shown) -> JobTree {
    let passages = shown.links.iter();
    JobTree::new(passages.map(|(path, link)| (path, link.as_slice())))
}

/// Makes the places of what is shown of this machine; returns the mounts that every view has.
pub fn mounts(shown: &Shown, tree: &mut JobTree) -> Result<Vec<Mount>, Refused> {
    for piece in &shown.pieces {
        match piece.is_folder {
            true => tree
                .make_folder(&ClientPath::default(), piece.path.shown())
                .map(drop)?,
            false => tree.make_spot(&piece.path)?,
        }
    }
    for device in &shown.devices {
        tree.make_spot(device)?;
    }
    for share in &shown.shares {
        let is_clients = |node: &Node| !matches!(node, Node::Folder(folder) if folder.nodes.is_empty() && !folder.written);
        if tree.get(share).is_some_and(is_clients) {
            return Err(Refused::new(share.shown(), "is this machine's own"));
        }
        tree.make_folder(&ClientPath::default(), share.shown())?;
    }
    Ok(pieces(shown))
}

/// What is shown of this machine, under its own names.
pub fn pieces(shown: &Shown) -> Vec<Mount> {
    let pieces = shown.pieces.iter().map(|piece| Mount::Tree {
        from: os(&piece.path),
        to: os(&piece.path),
    });
    let devices = shown.devices.iter().map(|path| Mount::Device(os(path)));
    let shares = shown.shares.iter().map(|path| Mount::Share(os(path)));
    pieces.chain(devices).chain(shares).collect()
}

/// The name by which a view has a program of this machine: without links, but for its last part.
pub fn program_in_view(program: &Path) -> PathBuf {
    let folder = program
        .parent()
        .and_then(|folder| folder.canonicalize().ok());
    match (folder, program.file_name()) {
        (Some(folder), Some(name)) => folder.join(name),
        _ => program.to_owned(),
    }
}
