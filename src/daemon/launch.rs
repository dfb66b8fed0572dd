//! How compilers are started: through the small process that makes a view of its own, where the system lets it; which is
//! found out by trying.

use super::enter;
use super::job_root::{Files, JobRoot};
use super::scratch::Scratch;
use super::shown::{os, Shown};
use super::view::{Mount, View};
use crate::model::client_path::ClientPath;
use crate::model::job_tree::{JobTree, Node, Refused};
use crate::os::beneath::Dir;
use crate::os::handover::{self, Came};
use crate::os::process::Group;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Ourselves, also after an update has put another file in the place of ours.
const EXECUTABLE: &str = "/proc/self/exe";

/// More than such a process ever says.
const COMPLAINT_BYTES_MAX: u64 = 4096;

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

/// The link to a process that is about to become a compiler.
#[derive(Debug)]
pub struct Launch {
    link: UnixStream,
    /// What it has said so far.
    said: Vec<u8>,
}

/// The command that makes a view over a folder on disk, and becomes the compiler in it. If the folder is to be looked at
/// afterwards, what is in the view lies in it.
pub fn prepare(folder: &Path, is_kept: bool) -> io::Result<(Command, Launch)> {
    prepare_for(folder, is_kept.then_some(enter::ON_DISK))
}

/// The command that becomes the compiler without a view; its files lie in `folder`.
pub fn prepare_here(folder: &Path) -> io::Result<(Command, Launch)> {
    prepare_for(folder, Some(enter::HERE))
}

fn prepare_for(folder: &Path, how: Option<&str>) -> io::Result<(Command, Launch)> {
    let (link, theirs) = UnixStream::pair()?;
    link.set_read_timeout(Some(STEP_TIME))?;
    link.set_write_timeout(Some(STEP_TIME))?;
    let mut command = Command::new(EXECUTABLE);
    command
        .arg0(enter::NAME)
        .arg(folder)
        .args(how)
        .env_clear()
        .stdin(Stdio::from(OwnedFd::from(theirs)));
    let said = Vec::new();
    Ok((command, Launch { link, said }))
}

impl Launch {
    /// Waits for the root of the view; `None` if the process has a complaint instead.
    pub fn root(&mut self) -> io::Result<Option<Dir>> {
        Ok(match handover::receive(self.link.as_fd())? {
            Came::Descriptor(root) => Some(Dir::from(root)),
            Came::Byte(byte) => {
                self.said.push(byte);
                None
            }
            Came::Nothing => None,
        })
    }

    /// Tells the process what it waits for. One that has ended already will be asked why.
    pub fn tell(&mut self, view: &View) -> io::Result<()> {
        match self.link.write_all(&view.encode()) {
            Err(err) if err.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(err) => Err(err),
            Ok(()) => self.link.shutdown(Shutdown::Write),
        }
    }

    /// What kept the process from becoming the compiler: the error's number, and words. To be asked when it has ended, or
    /// has not given a root.
    pub fn complaint(mut self) -> Option<(i32, String)> {
        let timeout = self.link.set_read_timeout(Some(COMPLAINT_TIME));
        if timeout.is_ok() {
            let link = (&self.link).take(COMPLAINT_BYTES_MAX);
            let _ = { link }.read_to_end(&mut self.said);
        }
        enter::said(&self.said)
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

/// Tries out which way can be gone.
pub fn find_way(shown: &Shown, temp_dir: &Path) -> Way {
    match try_view(shown, temp_dir, true) {
        Ok(counts) => Way::Views {
            merges: true,
            counts,
        },
        Err(_) => match try_view(shown, temp_dir, false) {
            Ok(counts) => Way::Views {
                merges: false,
                counts,
            },
            Err(why) => Way::Mirrors(why),
        },
    }
}

/// Whether a job's processes are counted apart in the view that could be made.
fn try_view(shown: &Shown, temp_dir: &Path, merges: bool) -> Result<bool, String> {
    let text = |err: io::Error| err.to_string();
    let scratch = Scratch::create(temp_dir, false).map_err(text)?;
    let (mut command, mut launch) = prepare(scratch.path(), false).map_err(text)?;
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let group = Group::spawn(&mut command).map_err(text)?;
    drop(command); // With the process's end of the link.
    let mut tree = tree(shown);
    let mut view = View {
        mounts: mounts(shown, &mut tree).map_err(|refused| refused.to_string())?,
        ..View::default()
    };
    if merges {
        let folder = shown.mergeable().ok_or("no folder can be merged")?;
        view.mounts.push(Mount::Merge(folder));
    }
    if let Some(dir) = launch.root().map_err(text)? {
        let root = JobRoot::new(dir, scratch).map_err(text)?;
        let nothing = Files {
            tree: &tree,
            entries: &[],
            times: &[],
        };
        root.place(nothing, false).map_err(text)?;
        launch.tell(&view).map_err(text)?;
        let status = group.wait().map_err(text)?;
        match status.exit_code() {
            Some(0) => return Ok(true),
            Some(enter::COUNTED_TOGETHER) => return Ok(false),
            _ => {}
        }
    }
    let (_, why) = launch
        .complaint()
        .unwrap_or_else(|| (0, format!("{EXECUTABLE} did not do its part")));
    Err(why)
}
