//! The small process between the daemon and a compiler: it is told a view, makes it in namespaces of its own or does
//! without, and has a child that gives up what a compiler does not need and becomes the compiler; then it ends as that ends.
//! What goes wrong it says where it was told; the daemon hears nothing if the compiler runs.

use super::view::{below, Mount, View};
use crate::model::error::{Code, Error, Result, Status};
use crate::model::job_tree::PRIVATE;
use crate::os::apart;
use crate::os::fence::{self, Reach};
use crate::os::handover;
use crate::os::limits;
use crate::os::namespace::{self, Seal};
use std::convert::Infallible;
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

/// As the second word it says that there is no view: what is shown of this machine is all that may be reached beside the
/// job's folder, if anything is given up at all.
pub const HERE: &str = "here";

/// As such a process ends that was to try out a view, if it is one, but its processes are counted with all others.
pub const COUNTED_TOGETHER: u8 = 3;

/// How much a job's folder in memory may hold: what came with a request, and what is made of it. Never more than half of the
/// machine's.
const MEMORY_BYTES_MAX: u64 = 1536 << 20;
const MEMORY_FILES_MAX: u64 = 400_000;

/// How many processes and threads a job may have at once.
pub const PROCESSES_MAX: usize = 256;

/// In the private part of the job's folder: where the view is made if it can't be made in the job's folder itself, and where
/// merged folders keep their state.
const TOP: &str = "view";
const WORK: &str = "work";

/// What went wrong: doing what, and how.
type Failure = (&'static str, io::Error);

/// How such a process goes on: as another program, or not at all.
type Ran = std::result::Result<Infallible, Failure>;

/// Where the system shows its processes.
const PROC: &str = "/proc";

/// A folder that there is on every machine, and of which a plain job's view shows nothing: there such a view can be mounted,
/// for itself alone. A folder for each job would have to be made and removed again, for which all jobs wait in turn.
pub const ANYWHERE: &str = PROC;

/// The program; for the daemon only. The first word is a folder of the job's.
pub fn distccd_job(words: Vec<OsString>) -> Result<Status> {
    let stdin = io::stdin().as_fd().try_clone_to_owned();
    let mut daemon = File::from(stdin.map_err(|err| Error::io("use standard input", &err))?);
    let folder = words.get(1).map(Path::new).unwrap_or(Path::new(""));
    let is = |how: &str| words.get(2).is_some_and(|word| word == how);
    let ran = match is(HERE) {
        true => run_here(&mut daemon, folder),
        false => run_in_view(&mut daemon, folder, is(ON_DISK)),
    };
    match ran {
        Ok(never) => match never {},
        Err(failure) => complain(&daemon, failure),
    }
    Ok(Code::Failed.into())
}

/// What such a process has said, if it has: the error's number, and words.
pub fn said(bytes: &[u8]) -> Option<(i32, String)> {
    let text = String::from_utf8_lossy(bytes);
    let (number, words) = text.split_once(' ')?;
    Some((number.parse().ok()?, words.to_owned()))
}

fn run_in_view(daemon: &mut File, folder: &Path, on_disk: bool) -> Ran {
    limits::go_first();
    namespace::end_with_parent();
    let proc = File::open(PROC).map_err(|err| ("open /proc", err))?;
    namespace::leave().map_err(|err| match err.kind() {
        // So the system says that there are too many.
        io::ErrorKind::StorageFull => (
            "make more namespaces than user.max_user_namespaces, user.max_mnt_namespaces and user.max_pid_namespaces allow",
            err,
        ),
        _ => ("make namespaces", err),
    })?;
    mount_root(folder, on_disk).map_err(|err| ("mount the job's folder", err))?;
    let top = File::open(folder).map_err(|err| ("open the job's folder", err))?;
    handover::send(daemon.as_fd(), top.as_fd()).map_err(|err| ("give the folder", err))?;
    let view = listen(daemon).map_err(|err| ("hear of the view", err))?;
    show(&view, folder)?;
    // What is open of the old tree is no way back for the compiler: all of it is closed when that begins.
    namespace::enter(proc.as_fd()).map_err(|err| ("enter /proc", err))?;
    answer_for(daemon, &view, Path::new("."), None)
}

fn run_here(daemon: &mut File, folder: &Path) -> Ran {
    limits::go_first();
    namespace::end_with_parent();
    let view = listen(daemon).map_err(|err| ("hear of the view", err))?;
    let mut reach = Reach {
        programs: Vec::new(),
        devices: Vec::new(),
        data: folder,
        shared: Vec::new(),
    };
    for mount in &view.mounts {
        match mount {
            Mount::Tree { from, .. } => reach.programs.push(from),
            Mount::Device(path) => reach.devices.push(path),
            Mount::Share(path) => reach.shared.push(path),
            Mount::Merge(_) | Mount::Own(_) => {}
        }
    }
    answer_for(daemon, &view, Path::new(PROC), Some(&reach))
}

/// Stays behind while a child becomes the compiler, and ends as that does.
fn answer_for(daemon: &mut File, view: &View, proc: &Path, reach: Option<&Reach>) -> Ran {
    let link = &*daemon;
    let mut work = || become_compiler_or_say(link, view, reach);
    let child = match reach {
        Some(_) => apart::start(&mut work),
        None => apart::start_within(&mut work),
    };
    let child = child.map_err(|err| ("start a process", err))?;
    apart::end_group_with_parent();
    let counted = view.is_counted.then_some((PROCESSES_MAX, proc));
    match apart::wait(child, counted).map_err(|err| ("wait for the compiler", err))? {
        Some(status) => apart::end_like(status),
        None => {
            let _ = write!(
                daemon,
                "0 it has started more than {PROCESSES_MAX} processes"
            );
            apart::end_group()
        }
    }
}

/// In the child: returns how it ends if it does not become the compiler, which may be what was to be tried out.
fn become_compiler_or_say(daemon: &File, view: &View, reach: Option<&Reach>) -> u8 {
    if view.program.as_os_str().is_empty() {
        return match apart::is_counted_apart() {
            true => 0,
            false => COUNTED_TOGETHER,
        };
    }
    match become_compiler(view, reach) {
        Ok(never) => match never {},
        Err(failure) => complain(daemon, failure),
    }
    Code::Failed as u8
}

fn complain(mut daemon: &File, (doing, err): Failure) {
    let number = err.raw_os_error().unwrap_or(0);
    let _ = write!(daemon, "{number} {doing}: {err}");
}

/// With its files in place, all that a compiler does not need is given up. Returns only if something fails.
fn become_compiler(view: &View, reach: Option<&Reach>) -> Ran {
    std::env::set_current_dir(&view.cwd).map_err(|err| ("enter the working directory", err))?;
    namespace::close_stdin().map_err(|err| ("open /dev/null", err))?;
    if view.is_fenced {
        fence::renounce_files(reach).map_err(|err| ("give up files", err))?;
        fence::renounce_calls(reach.is_some())
            .map_err(|err| ("give up calls of the system", err))?;
    }
    limits::set(&view.limits).map_err(|err| ("set limits", err))?;
    let err = namespace::become_program(&view.program, &view.words);
    Err(("run the compiler", err))
}

/// Mounts the job's folder.
fn mount_root(folder: &Path, on_disk: bool) -> io::Result<()> {
    if on_disk {
        return namespace::bind(folder, folder, Seal::Data);
    }
    let bytes_max = match limits::machine_memory() / 2 {
        0 => MEMORY_BYTES_MAX,
        half => half.min(MEMORY_BYTES_MAX),
    };
    namespace::mount_memory(folder, bytes_max, MEMORY_FILES_MAX)
}

fn listen(daemon: &mut File) -> io::Result<View> {
    let mut bytes = Vec::new();
    daemon.take(VIEW_BYTES_MAX).read_to_end(&mut bytes)?;
    View::decode(&bytes).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Makes the view, and makes its top our root.
fn show(view: &View, root: &Path) -> std::result::Result<(), Failure> {
    let private = root.join(OsStr::from_bytes(PRIVATE));
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
        Mount::Share(path) => namespace::bind(path, &inside(top, path), Seal::Plain)
            .map_err(|err| ("mount a folder that jobs share", err)),
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
