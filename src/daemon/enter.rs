//! The small process between the daemon and a compiler: it is told a view, makes it in namespaces of its own or does
//! without, gives up what a compiler does not need, and becomes the compiler. What goes wrong it says where it was told; the
//! daemon hears nothing if the compiler runs.

use super::view::{below, Mount, View};
use crate::model::error::{Code, Error, Result, Status};
use crate::model::job_tree::PRIVATE;
use crate::os::fence::{self, Reach};
use crate::os::handover;
use crate::os::namespace::{self, Seal};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The name by which this executable is called to be that process.
pub const NAME: &str = "distccd-job";

/// Longest view that is believed; the command alone can have 4 MB.
const VIEW_BYTES_MAX: u64 = 64 << 20;

/// As the second word it says that the job's folder is on disk, to be looked at afterwards.
pub const ON_DISK: &str = "disk";

/// As the second word it says that there are no namespaces: what the view names of this machine is all that may be reached
/// beside the job's folder.
pub const IN_MIRROR: &str = "mirror";

/// How much a job's folder in memory may hold: the files of a request, and what is made of them.
const MEMORY_BYTES_MAX: u64 = 1536 << 20;
const MEMORY_FILES_MAX: u64 = 400_000;

/// In the private part of the job's folder: where temporary files go, which is on disk; where the view is made if it
/// can't be made in the job's folder itself; and where merged folders keep their state.
pub const TEMPORARY: &str = "tmp";
const TOP: &str = "view";
const WORK: &str = "work";

/// What went wrong: doing what, and how.
type Failure = (&'static str, io::Error);

/// The program; for the daemon only. The first word is a folder of the job's.
pub fn distccd_job(words: Vec<OsString>) -> Result<Status> {
    let stdin = io::stdin().as_fd().try_clone_to_owned();
    let mut daemon = File::from(stdin.map_err(|err| Error::io("use standard input", &err))?);
    let folder = words.get(1).map(Path::new).unwrap_or(Path::new(""));
    let is = |how: &str| words.get(2).is_some_and(|word| word == how);
    let ran = match is(IN_MIRROR) {
        true => run_in_mirror(&mut daemon, folder),
        false => run(&mut daemon, folder, is(ON_DISK)),
    };
    match ran {
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

fn run(daemon: &mut File, folder: &Path, on_disk: bool) -> std::result::Result<(), Failure> {
    namespace::leave().map_err(|err| match err.kind() {
        // So the system says that there are too many.
        io::ErrorKind::StorageFull => (
            "make more namespaces than user.max_user_namespaces and user.max_mnt_namespaces allow",
            err,
        ),
        _ => ("make namespaces", err),
    })?;
    namespace::end_with_parent();
    let disk = root(folder, on_disk).map_err(|err| ("mount the job's folder", err))?;
    let top = File::open(folder).map_err(|err| ("open the job's folder", err))?;
    handover::send(daemon.as_fd(), top.as_fd()).map_err(|err| ("give the folder", err))?;
    let view = listen(daemon).map_err(|err| ("hear of the view", err))?;
    show(&view, folder, disk.as_ref())?;
    if view.program.as_os_str().is_empty() {
        return Ok(());
    }
    become_compiler(&view, None)
}

fn run_in_mirror(daemon: &mut File, folder: &Path) -> std::result::Result<(), Failure> {
    namespace::end_with_parent();
    let view = listen(daemon).map_err(|err| ("hear of the view", err))?;
    let (mut programs, mut devices) = (Vec::new(), Vec::new());
    for mount in &view.mounts {
        match mount {
            Mount::Tree { from, .. } => programs.push(from.as_path()),
            Mount::Device(path) => devices.push(path.as_path()),
            Mount::Merge(_) | Mount::Own(_) => {}
        }
    }
    let reach = Reach {
        programs: &programs,
        devices: &devices,
        data: folder,
    };
    become_compiler(&view, Some(reach))
}

/// With its files in place, all that a compiler does not need is given up. Returns only if something fails.
fn become_compiler(view: &View, reach: Option<Reach>) -> std::result::Result<(), Failure> {
    std::env::set_current_dir(&view.cwd).map_err(|err| ("enter the working directory", err))?;
    namespace::close_stdin().map_err(|err| ("open /dev/null", err))?;
    fence::renounce_files(reach).map_err(|err| ("give up files", err))?;
    fence::renounce_calls().map_err(|err| ("give up calls of the system", err))?;
    let err = namespace::become_program(&view.program, &view.words);
    Err(("run the compiler", err))
}

/// Mounts the job's folder; returns the one on disk that it lies over, if it does not lie on disk itself.
fn root(folder: &Path, on_disk: bool) -> io::Result<Option<File>> {
    if on_disk {
        namespace::bind(folder, folder, Seal::Data)?;
        return Ok(None);
    }
    let disk = File::open(folder)?;
    namespace::mount_memory(folder, MEMORY_BYTES_MAX, MEMORY_FILES_MAX)?;
    Ok(Some(disk))
}

fn listen(daemon: &mut File) -> io::Result<View> {
    let mut bytes = Vec::new();
    daemon.take(VIEW_BYTES_MAX).read_to_end(&mut bytes)?;
    View::decode(&bytes).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Makes the view, and makes its top our root.
fn show(view: &View, root: &Path, disk: Option<&File>) -> std::result::Result<(), Failure> {
    let private = root.join(OsStr::from_bytes(PRIVATE));
    if let Some(disk) = disk {
        namespace::bind_bare(disk, &private.join(TEMPORARY), Seal::Data)
            .map_err(|err| ("mount a folder for temporary files", err))?;
    }
    let mut top = root.to_owned();
    if view.is_layered() {
        top = private.join(TOP);
        fs::create_dir_all(&top)
            .and_then(|()| namespace::bind(root, &top, Seal::Data))
            .map_err(|err| ("make room for the view", err))?;
    }
    for (number, mount) in view.mounts.iter().enumerate() {
        let work = private.join(WORK).join(number.to_string());
        add(mount, root, &top, &work)?;
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
