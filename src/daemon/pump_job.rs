//! A job of pump mode, where the compiler preprocesses: is the command harmless, may the compiler run, has this machine
//! the headers that the client means; and by which way it is done.

use super::compile::{Job, Stop};
use super::ending::Ending;
use super::launch::Way;
use super::pump_common::PumpJob;
use super::shown::Shown;
use super::{pump_mirror, pump_view};
use crate::model::about::{self, About};
use crate::model::client_path::ClientPath;
use crate::model::received::scan_received_pump;
use crate::model::side_files::SideFiles;
use crate::model::wire::{Entry, EntryKind};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Largest account of a job; most of it are system headers.
const ABOUT_BYTES_MAX: usize = 8 << 20;

/// How many folders and places of the client's system an account may name: more than any unit asks for.
const DIRS_MAX: usize = 1000;
const LOOKUPS_MAX: usize = 100_000;

/// Longest of their names, and most slashes in one: no more than a system takes, and few enough for each part to be looked at
/// inside the one before.
const PLACE_BYTES_MAX: usize = 4096;
const PLACE_SLASHES_MAX: usize = 128;

/// Variables whose values are names of languages and of their folders, and never paths.
const OF_LANGUAGES: [&[u8]; 2] = [b"LANG", b"LC_"];

/// Where times of places are found.
const TIME_ZONES: [&[u8]; 2] = [b"/usr/share/zoneinfo/", b"/etc/localtime"];

/// Does the job.
pub fn run(job: &mut Job, cwd: &[u8], mut entries: Vec<Entry>) -> Result<Ending, Stop> {
    let told = take_about(&mut entries);
    job.is_told = told.is_some();
    let refused = |reason| Stop::Ended(Box::new(job.refuse_command(&reason)));
    let received = scan_received_pump(job.argv).map_err(refused)?;
    let sides = SideFiles::received(job.argv, &received.roles).map_err(refused)?;
    job.input = received.input;
    let program = job.program()?;
    let about = told.as_deref().map(read_about).transpose()?;
    let temp_dir = &job.config.temp_dir;
    let shown = job.shop.shown.with_program(&program, temp_dir);
    let wants_sides = about.as_ref().is_some_and(|about| about.wants_sides);
    if let Some(sides) = &sides {
        check_sides(job, sides, wants_sides)?;
    }
    if let (Some(told), Some(about)) = (told, &about) {
        check_system(job, &shown, &told, about)?;
    }
    let pump = PumpJob {
        job,
        received,
        sides,
        program,
        shown,
        about,
    };
    match job.shop.way() {
        Way::Views { merges, .. } => pump_view::run(&pump, cwd, entries, *merges),
        Way::Mirrors(_) => pump_mirror::run(&pump, cwd, entries),
    }
}

/// Takes what our client tells our daemon from among the files.
fn take_about(entries: &mut Vec<Entry>) -> Option<Vec<u8>> {
    let at = entries.iter().position(|entry| entry.name == about::NAME)?;
    match entries.remove(at).kind {
        EntryKind::File(told) => Some(told),
        EntryKind::Link(_) => None,
    }
}

fn read_about(told: &[u8]) -> Result<About, Stop> {
    let too_much = || Err(Stop::Refused("too much is told of the job".to_owned()));
    if told.len() > ABOUT_BYTES_MAX {
        return too_much();
    }
    let about = About::decode(told).map_err(|err| Stop::Refused(err.to_string()))?;
    let dirs = about.system_dirs.len() + about.absent_dirs.len();
    if dirs > DIRS_MAX || about.system.len() > LOOKUPS_MAX || !about.places().all(is_usual) {
        return too_much();
    }
    let mut variables = about.variables.iter();
    match variables.find(|(name, value)| names_file(name, value)) {
        Some((name, _)) => {
            let name = String::from_utf8_lossy(name);
            Err(Stop::NotHere(format!("the value of {name} names a file")))
        }
        None => Ok(about),
    }
}

/// Whether a place is none that could be told only to keep us busy.
fn is_usual(place: &[u8]) -> bool {
    place.len() <= PLACE_BYTES_MAX && memchr::memchr_iter(b'/', place).count() <= PLACE_SLASHES_MAX
}

/// Whether a program would read a file of the client's because of a variable: messages and rules that it believes.
fn names_file(name: &[u8], value: &[u8]) -> bool {
    if name == b"TZ" {
        let value = value.strip_prefix(b":").unwrap_or(value);
        let is_known = TIME_ZONES.iter().any(|place| value.starts_with(place));
        let climbs = memchr::memmem::find(value, b"..").is_some();
        return value.starts_with(b"/") && !is_known || climbs;
    }
    OF_LANGUAGES.iter().any(|head| name.starts_with(head)) && value.contains(&b'/')
}

/// Whether the files beside the output do no harm, and come to whom they are meant for.
fn check_sides(job: &Job, sides: &SideFiles, wanted: bool) -> Result<(), Stop> {
    match (&sides.wants_home, wanted, job.shop.way()) {
        (Some(reason), false, _) => Err(Stop::Ended(Box::new(job.refuse_command(reason)))),
        (_, true, Way::Mirrors(_)) => Err(Stop::NoSides),
        _ => Ok(()),
    }
}

/// Whether the job would find the system headers that its client has found.
fn check_system(job: &Job, shown: &Shown, told: &[u8], about: &About) -> Result<(), Stop> {
    let is_seen = |path: &Path| {
        let path = ClientPath::plain(path.as_os_str().as_bytes());
        path.is_ok_and(|path| shown.shows(&path))
    };
    match job.shop.headers.difference(told, about, &is_seen) {
        Some(difference) => Err(Stop::OtherSystem(difference)),
        None => Ok(()),
    }
}
