//! The small process between the daemon and a compiler: it is told a view, makes it in namespaces of its own, and becomes
//! the compiler there. What goes wrong it says where it was told; the daemon hears nothing if the compiler runs.

use super::view::{below, Mount, View};
use crate::model::error::{Code, Error, Result, Status};
use crate::model::job_tree::PRIVATE;
use crate::os::namespace::{self, Seal};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The name by which this executable is called to be that process.
pub const NAME: &str = "distccd-job";

/// Longest view that is believed; the command alone can have 4 MB.
const VIEW_BYTES_MAX: u64 = 64 << 20;

/// Where the view is made if it can't be made in the job's folder itself, and where merged folders keep their state.
const TOP: &str = "view";
const WORK: &str = "work";

/// What went wrong: doing what, and how.
type Failure = (&'static str, io::Error);

/// The program; for the daemon only.
pub fn distccd_job(_: Vec<OsString>) -> Result<Status> {
    let stdin = io::stdin().as_fd().try_clone_to_owned();
    let mut daemon = File::from(stdin.map_err(|err| Error::io("use standard input", &err))?);
    match run(&mut daemon) {
        Ok(()) => Ok(Status::OK),
        Err((doing, err)) => {
            let number = err.raw_os_error().unwrap_or(0);
            let _ = write!(daemon, "{number} {doing}: {err}");
            Ok(Code::Failed.into())
        }
    }
}

/// What such a process has said, if it has: the error's number, and words.
pub fn said(bytes: &[u8]) -> Option<(i32, String)> {
    let text = String::from_utf8_lossy(bytes);
    let (number, words) = text.split_once(' ')?;
    Some((number.parse().ok()?, words.to_owned()))
}

fn run(daemon: &mut File) -> std::result::Result<(), Failure> {
    let view = listen(daemon).map_err(|err| ("hear of the view", err))?;
    namespace::leave().map_err(|err| ("make namespaces", err))?;
    namespace::end_with_parent();
    show(&view)?;
    // Whatever else is to be taken from the compiler is taken here: it has its files, and does not run yet.
    if view.program.as_os_str().is_empty() {
        return Ok(());
    }
    std::env::set_current_dir(&view.cwd).map_err(|err| ("enter the working directory", err))?;
    namespace::close_stdin().map_err(|err| ("open /dev/null", err))?;
    let err = namespace::become_program(&view.program, &view.words);
    Err(("run the compiler", err))
}

fn listen(daemon: &mut File) -> io::Result<View> {
    let mut bytes = Vec::new();
    daemon.take(VIEW_BYTES_MAX).read_to_end(&mut bytes)?;
    View::decode(&bytes).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Makes the view, and makes its top our root.
fn show(view: &View) -> std::result::Result<(), Failure> {
    let private = view.root.join(OsStr::from_bytes(PRIVATE));
    let top = match view.is_layered() {
        true => made(private.join(TOP)).map_err(|err| ("make a folder for the view", err))?,
        false => view.root.clone(),
    };
    namespace::bind(&view.root, &top, Seal::Data).map_err(|err| ("mount the job's folder", err))?;
    for (number, mount) in view.mounts.iter().enumerate() {
        let work = private.join(WORK).join(number.to_string());
        add(mount, &view.root, &top, &work)?;
    }
    namespace::become_root(&top).map_err(|err| ("change the root", err))
}

fn add(mount: &Mount, root: &Path, top: &Path, work: &Path) -> std::result::Result<(), Failure> {
    let inside = |folder: &Path, path: &Path| below(folder.as_os_str(), path.as_os_str());
    match mount {
        Mount::Tree { from, to } => namespace::bind(from, &inside(top, to), Seal::ReadOnly)
            .map_err(|err| ("mount a folder of this machine", err)),
        Mount::Device(path) => namespace::bind(path, &inside(top, path), Seal::Device)
            .map_err(|err| ("mount a device", err)),
        Mount::Own(path) => namespace::bind(&inside(root, path), &inside(top, path), Seal::Data)
            .map_err(|err| ("mount a folder of the client's", err)),
        Mount::Merge(path) => merge(path, &inside(root, path), work, &inside(top, path))
            .map_err(|err| ("merge folders", err)),
    }
}

fn merge(lower: &Path, upper: &Path, work: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(work)?;
    let open = |path: &Path| File::open(path).map(OwnedFd::from);
    namespace::merge(&open(lower)?, &open(upper)?, &open(work)?, to)
}

fn made(path: PathBuf) -> io::Result<PathBuf> {
    fs::create_dir_all(&path)?;
    Ok(path)
}
