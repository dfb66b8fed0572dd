//! How compilers of pump jobs are started: through the small process that makes a view of its own, where the system lets
//! it; which is found out by trying.

use super::enter;
use super::job_root::JobRoot;
use super::shown::{os, Shown};
use super::view::{Mount, View};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Ourselves, also after an update has put another file in the place of ours.
const EXECUTABLE: &str = "/proc/self/exe";

/// More than such a process ever says.
const COMPLAINT_BYTES_MAX: u64 = 4096;

/// How a pump job's compiler sees the client's files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Way {
    /// Under the client's own names, in namespaces; `merges` says whether folders of this machine can be shown merged with
    /// those of the client.
    Views {
        /// See above.
        merges: bool,
    },
    /// Below a folder of the daemon's, since the system forbids namespaces, for this reason.
    Mirrors(String),
}

/// What the process is still to be told, or may have said.
#[derive(Debug)]
pub struct Launch {
    link: UnixStream,
    view: Vec<u8>,
}

/// The command that makes a view, and becomes the compiler in it.
pub fn prepare(view: &View) -> io::Result<(Command, Launch)> {
    let (link, theirs) = UnixStream::pair()?;
    let mut command = Command::new(EXECUTABLE);
    command
        .arg0(enter::NAME)
        .env_clear()
        .stdin(Stdio::from(OwnedFd::from(theirs)));
    let view = view.encode();
    Ok((command, Launch { link, view }))
}

impl Launch {
    /// Tells the process what it is waiting for. One that has ended already will be asked why.
    pub fn tell(&mut self) -> io::Result<()> {
        match self.link.write_all(&std::mem::take(&mut self.view)) {
            Err(err) if err.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(err) => Err(err),
            Ok(()) => self.link.shutdown(Shutdown::Write),
        }
    }

    /// What kept the process from becoming the compiler: the error's number, and words. To be asked when it has ended.
    pub fn complaint(self) -> Option<(i32, String)> {
        let mut said = Vec::new();
        // Whatever of the job lives on has no part in the link.
        self.link.set_nonblocking(true).ok()?;
        let _ = self.link.take(COMPLAINT_BYTES_MAX).read_to_end(&mut said);
        enter::said(&said)
    }
}

/// The mounts that every view has: what is shown of this machine.
pub fn mounts(shown: &Shown) -> Vec<Mount> {
    let pieces = shown.pieces.iter().map(|piece| Mount::Tree {
        from: os(&piece.path),
        to: os(&piece.path),
    });
    let devices = shown.devices.iter().map(|path| Mount::Device(os(path)));
    pieces.chain(devices).collect()
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
        Ok(()) => Way::Views { merges: true },
        Err(_) => match try_view(shown, temp_dir, false) {
            Ok(()) => Way::Views { merges: false },
            Err(why) => Way::Mirrors(why),
        },
    }
}

fn try_view(shown: &Shown, temp_dir: &Path, merges: bool) -> Result<(), String> {
    let text = |err: io::Error| err.to_string();
    let root = JobRoot::create(temp_dir, false).map_err(text)?;
    root.make_folders(shown).map_err(text)?;
    let mut view = View {
        root: root.path().to_owned(),
        mounts: mounts(shown),
        ..View::default()
    };
    let merged = shown.pieces.iter().find(|piece| piece.is_folder);
    if let (true, Some(piece)) = (merges, merged) {
        view.mounts.push(Mount::Merge(os(&piece.path)));
    }
    let (mut command, mut launch) = prepare(&view).map_err(text)?;
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(text)?;
    drop(command); // With the process's end of the link.
    launch.tell().map_err(text)?;
    let status = child.wait().map_err(text)?;
    match launch.complaint() {
        Some((_, why)) => Err(why),
        None if status.success() => Ok(()),
        None => Err(format!("{EXECUTABLE} ended with {status}")),
    }
}
