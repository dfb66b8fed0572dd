//! The daemon's end of cells: processes in namespaces of their own that stay, and do one job after the other, so that a job
//! costs little more than its compiler. One that is idle waits for the next job that is shown the same.

use super::cell::{COUNTED_TOGETHER, ROOT};
use super::enter;
use super::job_root::{self, Files};
use super::launch::{self, Way};
use super::shown::{os, Shown};
use super::told::{self, Said, Silence};
use super::view::{Mount, View};
use crate::model::client_path::ClientPath;
use crate::model::job_tree::{JobTree, Refused, PRIVATE};
use crate::model::wait_status::WaitStatus;
use crate::os::beneath::Dir;
use crate::os::net::{wait_any, Event};
use crate::os::process::Group;
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Where the system tells what is mounted, and that something else is.
const MOUNT_TABLE: &str = "/proc/self/mountinfo";

/// The name of the folder in `TMPDIR` in which jobs see their own, if something else is shown in `TMPDIR`.
const INNER_PLACE: &str = "distccd_jobs";

/// What all jobs of a cell have in common.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Common {
    /// What of this machine they see.
    pub shown: Shown,
    /// Where the folder of a job is mounted that has no root of its own.
    pub place: PathBuf,
    /// They give up all that a compiler does not need.
    pub is_fenced: bool,
    /// Their processes must be counted, since the system does not.
    pub is_counted: bool,
}

/// What tells a file or folder from another that takes its place: device and number. `None` is nothing.
type Stamps = Vec<Option<(u64, u64)>>;

/// Why there is no cell.
#[derive(Debug)]
pub enum Trouble {
    /// The system does not have what a cell needs, or what is to be shown can't be.
    Not(String),
    /// Something went wrong: doing what, and how.
    Failed(&'static str, io::Error),
}

/// Something failed while this was done.
fn failed(doing: &'static str) -> impl FnOnce(io::Error) -> Trouble {
    move |err| Trouble::Failed(doing, err)
}

impl From<Refused> for Trouble {
    fn from(refused: Refused) -> Trouble {
        Trouble::Not(refused.to_string())
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Not(why) => f.write_str(why),
            Trouble::Failed(doing, err) => write!(f, "{doing}: {err}"),
        }
    }
}

/// How a job in a cell has ended.
#[derive(Debug)]
pub enum Outcome {
    /// As its compiler has.
    Ended(WaitStatus),
    /// The compiler could not be started: the error's number, 0 for none, and words.
    Failed(i32, String),
}

/// A cell, for one job at a time. Dropped, it ends with all that is in it.
#[derive(Debug)]
pub struct Cell {
    group: Group,
    link: UnixStream,
    common: Common,
    stamps: Stamps,
    /// How many times the mounts of this machine had changed when it was made.
    age: u64,
    is_for_one: bool,
}

/// The cells that are idle.
#[derive(Debug, Default)]
pub struct Cells {
    idle: Mutex<Idle>,
}

#[derive(Debug, Default)]
struct Idle {
    cells: Vec<Cell>,
    mounts: Option<File>,
    age: u64,
}

impl Idle {
    /// A cell has the mounts that there were when it was made: with others none is of use. Returns those of no use, to be
    /// dropped without the lock: waiting for their end would keep others.
    #[must_use]
    fn look_at_mounts(&mut self) -> Vec<Cell> {
        let now = Some(Instant::now());
        let has_changed = match &self.mounts {
            Some(table) => !matches!(wait_any([(table.as_fd(), Event::Gone)], now), Ok(None)),
            None => {
                self.mounts = File::open(MOUNT_TABLE).ok();
                self.mounts.is_none()
            }
        };
        if !has_changed {
            return Vec::new();
        }
        self.age += 1;
        std::mem::take(&mut self.cells)
    }
}

impl Cells {
    /// A cell for a job that is shown this, and the job's folder, which is empty.
    pub fn take(&self, common: Common) -> Result<(Cell, Dir), Trouble> {
        let stamps = stamps(&common.shown);
        let age = loop {
            let mut idle = self.idle();
            let (useless, age) = (idle.look_at_mounts(), idle.age);
            let found = idle.cells.iter().rposition(|cell| cell.common == common);
            let cell = found.map(|at| idle.cells.swap_remove(at));
            drop(idle);
            drop(useless);
            let Some(mut cell) = cell else {
                break age;
            };
            // It may have ended, or this machine may have something else there by now.
            if cell.stamps == stamps && cell.lives() {
                if let Ok(folder) = cell.folder() {
                    return Ok((cell, folder));
                }
            }
        };
        let mut cell = Cell::start(common, stamps, None)?;
        cell.age = age;
        let folder = cell.folder()?;
        Ok((cell, folder))
    }

    /// From here on it is idle; `most` is how many of these there may be.
    pub fn give_back(&self, cell: Cell, most: usize) {
        let mut idle = self.idle();
        let mut superfluous = Vec::new();
        if cell.is_for_one || cell.age != idle.age {
            superfluous.push(cell);
        } else {
            idle.cells.push(cell);
            let surplus = idle.cells.len().saturating_sub(most);
            superfluous.extend(idle.cells.drain(..surplus));
        }
        drop(idle); // Waiting for their end would keep others.
        drop(superfluous);
    }

    /// Ends all that are idle.
    pub fn close(&self) {
        let cells = std::mem::take(&mut self.idle().cells);
        drop(cells); // Without the lock.
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What there is now of what is shown.
fn stamps(shown: &Shown) -> Stamps {
    let stamp = |path: &ClientPath| {
        let meta = fs::symlink_metadata(OsStr::from_bytes(path.shown())).ok()?;
        Some((meta.dev(), meta.ino()))
    };
    shown.things().map(stamp).collect()
}

/// Where the folders of jobs are mounted that have no root of their own: in place of `temp_dir`, of which jobs see nothing
/// else; or in it, if something is shown there.
pub fn place(shown: &Shown, temp_dir: &Path) -> PathBuf {
    let hides = |path: &ClientPath| os(path).starts_with(temp_dir);
    let links = shown.links.iter().map(|(path, _)| path);
    let mut all = shown.things().chain(links);
    match all.any(hides) {
        true => temp_dir.join(INNER_PLACE),
        false => temp_dir.to_owned(),
    }
}

/// Where a job's folder is mounted in its cell if it is the compiler's root.
pub fn root() -> PathBuf {
    Path::new("/")
        .join(OsStr::from_bytes(PRIVATE))
        .join(OsStr::from_bytes(ROOT))
}

impl Cell {
    /// A cell for a single job, whose folder is this one, on disk.
    pub fn on_disk(common: Common, folder: &Path) -> Result<(Cell, Dir), Trouble> {
        let stamps = stamps(&common.shown);
        let mut cell = Cell::start(common, stamps, Some(folder))?;
        let folder = cell.folder()?;
        Ok((cell, folder))
    }

    fn start(common: Common, stamps: Stamps, on_disk: Option<&Path>) -> Result<Cell, Trouble> {
        let how = on_disk.map(|folder| [OsStr::new(enter::ON_DISK), folder.as_os_str()]);
        let words = how.iter().flatten().copied();
        let (group, link) = launch::start(words).map_err(failed("start a process"))?;
        let mut cell = Cell {
            group,
            link,
            common,
            stamps,
            age: 0,
            is_for_one: on_disk.is_some(),
        };
        let top = cell.folder()?;
        let view = cell.lay(&top)?;
        cell.tell(&view, &[])?;
        Ok(cell)
    }

    /// Makes the places of what jobs have in common.
    fn lay(&self, top: &Dir) -> Result<View, Trouble> {
        let Common { shown, place, .. } = &self.common;
        let mut tree = launch::tree(shown);
        let mounts = launch::mounts(shown, &mut tree)?;
        tree.make_folder(&ClientPath::default(), place.as_os_str().as_bytes())?;
        place_tree(top, &tree)
            .and_then(|()| top.make(PRIVATE))
            .and_then(|()| top.enter(PRIVATE)?.make(ROOT))
            .map_err(failed("make the places of a view"))?;
        Ok(View {
            mounts,
            is_fenced: self.common.is_fenced,
            is_counted: self.common.is_counted,
            ..View::default()
        })
    }

    /// Tells of a view, or says why that can't be.
    fn tell(&self, view: &View, descriptors: &[BorrowedFd]) -> Result<(), Trouble> {
        let Err(silence) = told::tell(&self.link, view, descriptors) else {
            return Ok(());
        };
        match silence.is_end().then(|| told::listen(&self.link)) {
            Some(Ok(Said::Failed(_, words))) => Err(Trouble::Not(words)),
            _ => Err(failed("tell of a view")(silence.into())),
        }
    }

    /// Waits for the folder that comes next.
    fn folder(&mut self) -> Result<Dir, Trouble> {
        match told::listen(&self.link) {
            Ok(Said::Folder(folder)) => Ok(Dir::from(folder)),
            Ok(Said::Failed(_, words)) => Err(Trouble::Not(words)),
            Ok(Said::Ended(_)) => Err(failed("get the root of a view")(Silence::Garbled.into())),
            Err(silence) => Err(failed("get the root of a view")(silence.into())),
        }
    }

    /// Whether it has not ended; what it has said last could still be heard then.
    fn lives(&self) -> bool {
        let signs = [
            (self.link.as_fd(), Event::Gone),
            (self.group.ended(), Event::Read),
        ];
        matches!(wait_any(signs, Some(Instant::now())), Ok(None))
    }

    /// Begins a job, whose compiler speaks to these two files.
    pub fn begin(&self, view: &View, stdout: &File, stderr: &File) -> Result<(), Trouble> {
        self.tell(view, &[stdout.as_fd(), stderr.as_fd()])
    }

    /// The process from which all of its others descend.
    pub fn process(&self) -> u32 {
        self.group.id()
    }

    /// Readable when the job has ended.
    pub fn ended(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }

    /// How the job has ended; the cell is given back only if that leaves it as it was. A cell that has ended itself, and its
    /// compiler with it, is trouble of this machine, and says nothing of what was compiled.
    pub fn outcome(self, cells: &Cells, most: usize) -> io::Result<Outcome> {
        match told::listen(&self.link)? {
            Said::Ended(status) => {
                cells.give_back(self, most);
                Ok(Outcome::Ended(status))
            }
            Said::Failed(number, words) => Ok(Outcome::Failed(number, words)),
            Said::Folder(_) => Err(Silence::Garbled.into()),
        }
    }
}

fn place_tree(top: &Dir, tree: &JobTree) -> io::Result<()> {
    let nothing = Files {
        tree,
        entries: &[],
        times: &[],
    };
    job_root::place(top, nothing)
}

/// Tries out how compilers can see files here; their folders would be in `temp_dir`.
pub fn find_way(shown: &Shown, temp_dir: &Path) -> Way {
    let place = &place(shown, temp_dir);
    let found = |merges, counts| Way::Views { merges, counts };
    match try_cell(shown, place, true) {
        Ok(counts) => found(true, counts),
        Err(_) => match try_cell(shown, place, false) {
            Ok(counts) => found(false, counts),
            Err(why) => Way::Mirrors(why.to_string()),
        },
    }
}

/// Whether a job's processes are counted apart in the cell that could be made.
fn try_cell(shown: &Shown, place: &Path, merges: bool) -> Result<bool, Trouble> {
    let common = Common {
        shown: shown.clone(),
        place: place.to_owned(),
        is_fenced: true,
        is_counted: false,
    };
    let cells = Cells::default();
    let (cell, folder) = cells.take(common)?;
    let mut tree = launch::tree(shown);
    let mut view = View {
        mounts: launch::mounts(shown, &mut tree)?,
        folder: root(),
        is_root: true,
        ..View::default()
    };
    if merges {
        let nothing = || Trouble::Not("no folder can be merged".to_owned());
        let folder = shown.mergeable().ok_or_else(nothing)?;
        view.mounts.push(Mount::Merge(folder));
    }
    place_tree(&folder, &tree).map_err(failed("make the places of a view"))?;
    let null = File::open("/dev/null").map_err(failed("open /dev/null"))?;
    cell.begin(&view, &null, &null)?;
    match cell.outcome(&cells, 0).map_err(failed("try a view"))? {
        Outcome::Ended(status) if status.success() => Ok(true),
        Outcome::Ended(status) if status.exit_code() == Some(COUNTED_TOGETHER) => Ok(false),
        Outcome::Ended(status) => Err(Trouble::Not(format!("a view {}", status.describe()))),
        Outcome::Failed(_, why) => Err(Trouble::Not(why)),
    }
}
