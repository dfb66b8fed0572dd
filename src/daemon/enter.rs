//! The small process between the daemon and compilers. In a cell it makes namespaces of its own and the view that all jobs
//! there have in common, and answers for the first process in them, which does the jobs. Without namespaces it is one job's:
//! its child gives up what a compiler does not need and becomes the compiler, and it ends as that does.

use super::cell;
use super::told::{self, Failure};
use super::view::{below, Mount, View};
use crate::model::error::{Code, Error, Result, Status};
use crate::os::apart::{self, Bound, Watched};
use crate::os::fence::{self, Reach, Renounced};
use crate::os::limits;
use crate::os::namespace::{self, Program, Seal};
use std::convert::Infallible;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// The name by which this executable is called to be that process.
pub const NAME: &str = "distccd-job";

/// As the first word it says that there is a folder on disk for the only job in a cell.
pub const ON_DISK: &str = "disk";

/// As the first word it says that there is no cell: what is shown of this machine is all that may be reached beside the
/// job's folder, if anything is given up at all.
pub const HERE: &str = "here";

/// How many processes and threads a job may have at once.
pub const PROCESSES_MAX: usize = 256;

/// How much there may be in the view that all jobs of a cell have in common: a few folders and links.
const COMMON_BYTES_MAX: u64 = 1 << 20;
const COMMON_FILES_MAX: u64 = 10_000;

/// Where the system shows its processes: a folder that there is on every machine, and of which jobs are shown nothing. So
/// there a view can be mounted.
const PROC: &str = "/proc";

/// How such a process goes on: as another program, or not at all.
type Ran = std::result::Result<Infallible, Failure>;

/// The program; for the daemon only. The second word is a folder of the job's, if the first speaks of one.
pub fn distccd_job(words: Vec<OsString>) -> Result<Status> {
    let stdin = io::stdin().as_fd().try_clone_to_owned();
    let daemon = UnixStream::from(stdin.map_err(|err| Error::io("use standard input", &err))?);
    let folder = words.get(2).map(Path::new);
    let is = |how: &str| words.get(1).is_some_and(|word| word == how);
    let ran = match folder {
        Some(folder) if is(HERE) => run_here(&daemon, folder),
        folder => run_cell(&daemon, folder.filter(|_| is(ON_DISK))),
    };
    match ran {
        Ok(never) => match never {},
        Err(failure) => {
            // Who does not hear it sees that we have ended.
            let _ = told::say(&daemon, Err(failure));
        }
    }
    Ok(Code::Failed.into())
}

fn run_cell(daemon: &UnixStream, on_disk: Option<&Path>) -> Ran {
    limits::go_first();
    let proc = File::open(PROC).map_err(|err| ("open /proc", err))?;
    namespace::leave().map_err(|err| match err.kind() {
        // So the system says that there are too many.
        io::ErrorKind::StorageFull => (
            "make more namespaces than user.max_user_namespaces, user.max_mnt_namespaces and user.max_pid_namespaces allow",
            err,
        ),
        _ => ("make namespaces", err),
    })?;
    let taken = on_disk.map(namespace::take_folder).transpose();
    let taken = taken.map_err(|err| ("take the job's folder", err))?;
    let common = make_common(daemon)?;
    // What is open of the old tree is no way back for compilers: all of it is closed when they begin.
    namespace::enter(proc.as_fd()).map_err(|err| ("enter /proc", err))?;
    answer_for_cell(daemon, &common, taken)
}

/// Makes the view that jobs have in common, and makes it our root.
fn make_common(daemon: &UnixStream) -> std::result::Result<View, Failure> {
    let root = Path::new(PROC);
    namespace::mount_memory(root, COMMON_BYTES_MAX, COMMON_FILES_MAX)
        .map_err(|err| ("mount a view", err))?;
    let top = File::open(root).map_err(|err| ("open a view", err))?;
    told::give(daemon, top.as_fd()).map_err(|err| ("give a view", err))?;
    drop(top);
    let common = hear(daemon)?;
    for mount in &common.mounts {
        let inside = |path: &Path| below(root.as_os_str(), path.as_os_str());
        match mount {
            Mount::Tree { from, to } => namespace::bind(from, &inside(to), Seal::ReadOnly)
                .map_err(|err| ("mount a folder of this machine", err)),
            Mount::Device(path) => namespace::bind(path, &inside(path), Seal::Device)
                .map_err(|err| ("mount a device", err)),
            Mount::Share(path) => namespace::bind(path, &inside(path), Seal::Plain)
                .map_err(|err| ("mount a folder that jobs share", err)),
            Mount::Merge(_) | Mount::Own(_) => Ok(()), // Of single jobs.
        }?;
    }
    namespace::become_root(root)
        .and_then(|()| namespace::seal_root())
        .map_err(|err| ("change the root", err))?;
    Ok(common)
}

fn hear(daemon: &UnixStream) -> std::result::Result<View, Failure> {
    let heard = told::hear(daemon).map_err(|err| ("hear of the view", err))?;
    let (view, _) = heard.ok_or(("hear of the view", io::ErrorKind::UnexpectedEof.into()))?;
    Ok(view)
}

/// Stays behind while the first process of the cell does the jobs, for as long as the daemon wants. Not for as long as the
/// thread lives that has started us.
fn answer_for_cell(daemon: &UnixStream, common: &View, taken: Option<OwnedFd>) -> Ran {
    let mut taken = Some(taken);
    let mut work = || cell::live(daemon, common, taken.take().flatten());
    let first = apart::start_beside(&mut work).map_err(|err| ("start a process", err))?;
    drop(taken);
    // Jobs are in our group; until Linux 6.12 one could stop us by it, for all that come after.
    apart::ignore_stops();
    let bound = Bound {
        most: PROCESSES_MAX,
        proc: Path::new("."), // We are there.
        is_first: true,
    };
    let counted = common.is_counted.then_some(bound);
    let watched = apart::wait(first, counted, Some(daemon.as_fd()));
    // Who does the jobs has said itself how they ended; its own end says nothing of them.
    end_as(daemon, watched.map_err(|err| ("wait for the jobs", err))?)
}

fn end_as(daemon: &UnixStream, watched: Watched) -> ! {
    match watched {
        Watched::Ended(status) => apart::end_like(status),
        Watched::Crowded => {
            let many = format!("there are more than {PROCESSES_MAX} processes");
            let _ = told::say(daemon, Err(("go on", io::Error::other(many))));
            apart::end_group()
        }
        Watched::Unwanted => apart::end_group(),
    }
}

fn run_here(daemon: &UnixStream, folder: &Path) -> Ran {
    limits::go_first();
    namespace::end_with_parent();
    let view = hear(daemon)?;
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
    let mut work = || match become_compiler_here(&view, &reach) {
        Ok(never) => match never {},
        Err(failure) => {
            let _ = told::say(daemon, Err(failure));
            Code::Failed as u8
        }
    };
    let child = apart::start(&mut work).map_err(|err| ("start a process", err))?;
    apart::end_group_with_parent();
    apart::ignore_stops();
    let bound = Bound {
        most: PROCESSES_MAX,
        proc: Path::new(PROC),
        is_first: false,
    };
    let counted = view.is_counted.then_some(bound);
    let watched = apart::wait(child, counted, None);
    let watched = watched.map_err(|err| ("wait for the compiler", err))?;
    if let Watched::Ended(status) = watched {
        // So it is known that this was the compiler's end, and not ours.
        let _ = told::say(daemon, Ok(status));
    }
    end_as(daemon, watched)
}

/// With its files in place, all that a compiler does not need is given up. Returns only if something fails.
fn become_compiler_here(view: &View, reach: &Reach) -> Ran {
    let program = Program::new(&view.program, &view.words, &view.environment)
        .map_err(|err| ("run the compiler", err))?;
    std::env::set_current_dir(&view.cwd).map_err(|err| ("enter the working directory", err))?;
    namespace::close_stdin().map_err(|err| ("open /dev/null", err))?;
    if view.is_fenced {
        let renounced = Renounced::put_together(Some(reach));
        let renounced = renounced.and_then(|all| all.as_ref().map_or(Ok(()), Renounced::give_up));
        renounced.map_err(|err| ("give up files", err))?;
        fence::renounce_calls(true).map_err(|err| ("give up calls of the system", err))?;
    }
    limits::set(&view.limits).map_err(|err| ("set limits", err))?;
    Err(("run the compiler", program.begin()))
}
