//! A pump job where the system allows namespaces: the compiler sees the client's files under their own names, beside what
//! is shown of this machine.

use super::cells::{self, Cell};
use super::compile::{failed, Stop};
use super::ending::Ending;
use super::inside::{self, Alone, Places};
use super::job_root::{self, JobRoot};
use super::launch;
use super::pump_common::{Laid, PumpJob, NOWHERE};
use super::shown::{is_above_any, mount_points, os};
use super::side_search::{self, Placed, Trouble};
use super::view::{Mount, View};
use crate::model::about::{About, Lookup};
use crate::model::client_path::ClientPath;
use crate::model::family::{family, Family};
use crate::model::job_tree::{JobTree, Refused};
use crate::model::side_files::SideFile;
use crate::model::wire::{Entry, EntryKind};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// Does the job; `merges` says whether folders of this machine can be shown merged with those of the client.
pub fn run(
    pump: &PumpJob,
    cwd: &[u8],
    mut entries: Vec<Entry>,
    merges: bool,
) -> Result<Ending, Stop> {
    let shop = pump.job.shop;
    let shown = pump.shown.clone();
    let mut laid = pump.lay(cwd, &mut entries, launch::tree(&shown))?;
    let sizes = pump.wanted_sides().map(|_| sizes(&entries));
    let mounts = mounts(pump, &mut laid.tree, &entries, merges)?;
    let view = pump.job.within(View {
        mounts,
        folder: cells::root(),
        is_root: true,
        cwd: os(&laid.cwd),
        program: launch::program_in_view(&pump.program),
        words: words(pump),
        environment: pump.environment(&laid, &os),
        ..View::default()
    });
    let config = &pump.job.config;
    let place = cells::place(&shown, &config.temp_dir);
    let common = shop.common(shown, &place);
    let (cell, root) = match config.keep_temps {
        true => {
            let scratch = pump.scratch()?;
            let (cell, dir) = Cell::on_disk(common, scratch.path())?;
            (cell, JobRoot::new(dir, Some(scratch)))
        }
        false => {
            let (cell, dir) = shop.cells.take(common)?;
            (cell, JobRoot::new(dir, None))
        }
    };
    let root = root.map_err(failed("place the files"))?;
    pump.place(&root, &laid, entries, false)?;
    pump.announce(&view);
    let ran = pump.job.run_in_cell(cell, &view)?;
    let mut made = pump.made(&ran, &laid, &root)?;
    if let (true, Some(sizes)) = (ran.succeeded(), sizes) {
        made.sides = sides(pump, &laid, &root, &sizes)?;
    }
    pump.job.ending(ran, made, Box::new(root))
}

/// How large the files of a request are, by their numbers.
fn sizes(entries: &[Entry]) -> Vec<u64> {
    let size = |entry: &Entry| match &entry.kind {
        EntryKind::File(content) => content.len() as u64,
        EntryKind::Link(_) => 0,
    };
    entries.iter().map(size).collect()
}

/// What the compiler made beside the output, for a client that wants it.
fn sides(
    pump: &PumpJob,
    laid: &Laid,
    root: &JobRoot,
    sizes: &[u64],
) -> Result<Option<Vec<SideFile>>, Stop> {
    let Some(wanted) = pump.wanted_sides() else {
        return Ok(None);
    };
    let placed = Placed {
        laid,
        sizes,
        times: pump.times(),
        wanted,
        family: kin(&pump.program),
    };
    match side_search::find(root.dir(), placed) {
        Ok(found) => Ok(Some(found)),
        Err(Trouble::Else(why)) => Err(Stop::NotHere(why)),
        Err(Trouble::Io(err)) => Err(failed("look for what the compiler made")(err)),
    }
}

/// Whose compiler a program is: by its name, or by that of what it leads to.
fn kin(program: &Path) -> Option<Family> {
    let resolved = || fs::canonicalize(program).ok();
    family(program).or_else(|| family(&resolved()?))
}

/// What is mounted in the view.
fn mounts(
    pump: &PumpJob,
    tree: &mut JobTree,
    entries: &[Entry],
    merges: bool,
) -> Result<Vec<Mount>, Stop> {
    let alone = match &pump.about {
        Some(about) => alone(about, pump, tree)?,
        None => Alone::default(),
    };
    let mut mounts = launch::mounts(&pump.shown, tree)?;
    let inside = inside::look(tree, entries, pump.times(), &alone, &pump.shown)?;
    if !inside.merged.is_empty() {
        let points = mount_points();
        let can_be_merged = |folder: &&ClientPath| merges && !is_above_any(folder, &points);
        let mut merged = inside.merged.iter();
        if let Some(folder) = merged.find(|folder| !can_be_merged(folder)) {
            let why = format!("{folder} can't be shown merged with the client's");
            return Err(Stop::NotHere(why));
        }
    }
    mounts.extend(inside.merged.iter().map(|path| Mount::Merge(os(path))));
    mounts.extend(inside.own.iter().map(|path| Mount::Own(os(path))));
    Ok(mounts)
}

/// Where the client's files are to be seen without what this machine has.
fn alone(about: &About, pump: &PumpJob, tree: &mut JobTree) -> Result<Alone, Refused> {
    let top = ClientPath::default();
    let program = ClientPath::plain(pump.program.as_os_str().as_bytes());
    let program = program.ok().map(Ok);
    if about.hermetic {
        let mut own = Vec::new();
        let dirs = about.system_dirs.iter().chain(&about.absent_dirs);
        for dir in dirs {
            let place = tree.follow(&top, dir)?;
            // What is not here need not be hidden.
            if os(&place).is_dir() {
                own.push(tree.make_folder(&top, dir)?);
            }
        }
        let same = program.into_iter().collect::<Result<Places, Refused>>()?;
        return Ok(Alone {
            own,
            same: Some(same),
        });
    }
    let told = about.system.iter().filter_map(|lookup| match lookup {
        Lookup::Holds { path, .. } | Lookup::Nothing { path } => Some(path),
        _ => None,
    });
    let dirs = about.system_dirs.iter().chain(&about.absent_dirs);
    let same = dirs.chain(told).map(|path| tree.follow(&top, path));
    let same = same.chain(program);
    Ok(Alone {
        own: Vec::new(),
        same: Some(same.collect::<Result<Places, Refused>>()?),
    })
}

/// The client's words; only where dependencies go is ours.
fn words(pump: &PumpJob) -> Vec<Vec<u8>> {
    let mut words = pump.job.argv.to_vec();
    if let Some(first) = words.first_mut() {
        *first = pump.name().into_vec();
    }
    if let (Some(NOWHERE), Some(at)) = (pump.output_word(), pump.received.output) {
        let before: &[u8] = if at.joined { b"-o" } else { b"" };
        if let Some(word) = words.get_mut(at.index) {
            *word = [before, job_root::output().shown()].concat();
        }
    }
    words.extend(pump.deps_words(job_root::deps().shown()));
    words
}
