//! The first process in the namespaces of a cell: it does one job after the other. Each gets a folder in memory that is new,
//! and in pump mode a root of its own; a child becomes the compiler, and when that has ended, so does all that it has left.

use super::told::{self, Failure};
use super::view::{below, Mount, View};
use crate::model::error::Code;
use crate::model::job_tree::PRIVATE;
use crate::model::wait_status::WaitStatus;
use crate::os::apart;
use crate::os::fence::{self, Renounced};
use crate::os::limits;
use crate::os::namespace::{self, Program, Seal};
use std::convert::Infallible;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// As a job ends that was to try out a cell, if that is one, but its processes are counted with all others.
pub const COUNTED_TOGETHER: u8 = 3;

/// In the private part of the view that jobs have in common: where a job's own root is mounted.
pub const ROOT: &[u8] = b"root";

/// In the private part of the job's folder: where the view is made if it can't be made in the job's folder itself, and where
/// merged folders keep their state.
const TOP: &str = "view";
const WORK: &str = "work";

/// How much a job's folder in memory may hold: what came with a request, and what is made of it. Never more than half of the
/// machine's.
const MEMORY_BYTES_MAX: u64 = 1536 << 20;
const MEMORY_FILES_MAX: u64 = 400_000;

/// What all jobs of the cell have.
struct Cell {
    /// What a compiler gives up, beside what we have given up already.
    renounced: Option<Renounced>,
    /// The standard input of compilers.
    nothing: File,
    /// Compilers can make things that outlive them.
    makes_what_outlives: bool,
}

/// Lives as long as the daemon wants; returns how it ends then. `taken` is a folder on disk for a single job.
pub fn live(daemon: &UnixStream, common: &View, taken: Option<OwnedFd>) -> u8 {
    match do_jobs(daemon, common, taken) {
        Ok(()) => 0,
        Err(failure) => {
            let _ = told::say(daemon, Err(failure));
            Code::Failed as u8
        }
    }
}

fn do_jobs(daemon: &UnixStream, common: &View, mut taken: Option<OwnedFd>) -> Result<(), Failure> {
    if common.is_fenced {
        // For us, too, and so once for all: the system takes long over a filter.
        fence::renounce_calls(false).map_err(|err| ("give up calls of the system", err))?;
    }
    namespace::hide();
    let renounced = match common.is_fenced {
        true => Renounced::put_together(None).map_err(|err| ("give up signals", err))?,
        false => None,
    };
    let cell = Cell {
        renounced,
        nothing: File::open("/dev/null").map_err(|err| ("open /dev/null", err))?,
        makes_what_outlives: !(common.is_fenced && fence::has_filters()),
    };
    let is_for_one = taken.is_some();
    loop {
        let folder = match taken.take() {
            Some(folder) => folder,
            None => memory_folder().map_err(|err| ("make a folder in memory", err))?,
        };
        told::give(daemon, folder.as_fd()).map_err(|err| ("give the folder", err))?;
        let heard = told::hear(daemon).map_err(|err| ("hear of the job", err))?;
        let Some((view, spoken_to)) = heard else {
            return Ok(());
        };
        let done = cell.job(&view, &folder, &spoken_to);
        // The daemon can read the folder while we take it away, unless something else is mounted in it.
        let is_single = view.mounts.is_empty();
        let say = |done| told::say(daemon, done).map_err(|err| ("say how it ended", err));
        match is_single {
            true => say(done).and_then(|()| clear(&view))?,
            false => clear(&view).and_then(|()| say(done))?,
        }
        if is_for_one {
            return Ok(());
        }
    }
}

fn memory_folder() -> io::Result<OwnedFd> {
    let bytes_max = match limits::machine_memory() / 2 {
        0 => MEMORY_BYTES_MAX,
        half => half.min(MEMORY_BYTES_MAX),
    };
    namespace::memory_folder(bytes_max, MEMORY_FILES_MAX)
}

fn clear(view: &View) -> Result<(), Failure> {
    namespace::unmount(&view.folder).map_err(|err| ("take a job's folder away", err))
}

impl Cell {
    /// Does a job; `spoken_to` are the compiler's standard output and standard error.
    fn job(
        &self,
        view: &View,
        folder: &OwnedFd,
        spoken_to: &[OwnedFd],
    ) -> Result<WaitStatus, Failure> {
        namespace::mount_folder(folder.as_fd(), &view.folder)
            .map_err(|err| ("mount the job's folder", err))?;
        let root = match view.is_root {
            true => Some(show(view)?),
            false => None,
        };
        // Before there is a child, whose memory is ours.
        let program = Program::new(&view.program, &view.words, &view.environment)
            .map_err(|err| ("run the compiler", err))?;
        let failed = std::cell::Cell::new(None);
        let mut work = || {
            if view.program.as_os_str().is_empty() {
                return match apart::is_counted_apart() {
                    true => 0,
                    false => COUNTED_TOGETHER,
                };
            }
            let begun = self.become_compiler(view, root.as_deref(), &program, spoken_to);
            match begun {
                Ok(never) => match never {},
                Err(failure) => failed.set(Some(failure)),
            }
            Code::Failed as u8
        };
        let child = apart::start(&mut work).map_err(|err| ("start a process", err))?;
        let ended = apart::outlive(child).map_err(|err| ("wait for the compiler", err))?;
        match failed.take() {
            Some(failure) => Err(failure),
            None => Ok(ended),
        }
    }

    /// In the child, whose memory is ours until it is the compiler: nothing may be left of what it asks for.
    fn become_compiler(
        &self,
        view: &View,
        root: Option<&Path>,
        program: &Program,
        spoken_to: &[OwnedFd],
    ) -> Result<Infallible, Failure> {
        if self.makes_what_outlives {
            namespace::leave_what_outlives();
        }
        if let Some(root) = root {
            namespace::change_root(root).map_err(|err| ("change the root", err))?;
        }
        std::env::set_current_dir(&view.cwd).map_err(|err| ("enter the working directory", err))?;
        let (Some(stdout), Some(stderr)) = (spoken_to.first(), spoken_to.get(1)) else {
            return Err(("find room for messages", io::ErrorKind::InvalidInput.into()));
        };
        namespace::speak_to(self.nothing.as_fd(), stdout.as_fd(), stderr.as_fd())
            .map_err(|err| ("find room for messages", err))?;
        if let Some(renounced) = &self.renounced {
            renounced
                .give_up()
                .map_err(|err| ("give up signals", err))?;
        }
        limits::set(&view.limits).map_err(|err| ("set limits", err))?;
        Err(("run the compiler", program.begin()))
    }
}

/// Makes the view in the job's folder; returns what is to be the compiler's root.
fn show(view: &View) -> Result<PathBuf, Failure> {
    let root = &view.folder;
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
    Ok(top)
}

/// What is this machine's is seen as all jobs see it.
fn add(mount: &Mount, root: &Path, top: &Path, work: &Path) -> Result<(), Failure> {
    let inside = |folder: &Path, path: &Path| below(folder.as_os_str(), path.as_os_str());
    match mount {
        Mount::Tree { to, .. } => namespace::bind_as_it_is(to, &inside(top, to))
            .map_err(|err| ("mount a folder of this machine", err)),
        Mount::Device(path) => namespace::bind_as_it_is(path, &inside(top, path))
            .map_err(|err| ("mount a device", err)),
        Mount::Share(path) => namespace::bind_as_it_is(path, &inside(top, path))
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
