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
use crate::model::wire::{Entry, EntryKind};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Largest account of a job; most of it are system headers.
const ABOUT_BYTES_MAX: usize = 8 << 20;

/// Does the job.
pub fn run(job: &mut Job, cwd: &[u8], mut entries: Vec<Entry>) -> Result<Ending, Stop> {
    let told = take_about(&mut entries);
    job.is_told = told.is_some();
    let refused = |reason| Stop::Ended(job.refuse_command(&reason));
    let received = scan_received_pump(job.argv).map_err(refused)?;
    job.input = received.input;
    let program = job.program()?;
    let about = told.as_deref().map(read_about).transpose()?;
    let temp_dir = &job.shop.config.temp_dir;
    let shown = job.shop.shown.with_program(&program, temp_dir);
    if let (Some(told), Some(about)) = (told, &about) {
        check_system(job, &shown, &told, about)?;
    }
    let pump = PumpJob {
        job,
        received,
        program,
        shown,
        about,
    };
    match job.shop.way() {
        Way::Views { merges } => pump_view::run(&pump, cwd, entries, *merges),
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
    if told.len() > ABOUT_BYTES_MAX {
        return Err(Stop::Refused("too much is told of the job".to_owned()));
    }
    About::decode(told).map_err(|err| Stop::Refused(err.to_string()))
}

/// Whether the job would find the system headers that its client has found.
fn check_system(job: &Job, shown: &Shown, told: &[u8], about: &About) -> Result<(), Stop> {
    let sees_all = matches!(job.shop.way(), Way::Mirrors(_));
    let is_seen = |path: &Path| {
        let path = ClientPath::plain(path.as_os_str().as_bytes());
        sees_all || path.is_ok_and(|path| shown.shows(&path))
    };
    match job.shop.headers.difference(told, about, &is_seen) {
        Some(difference) => Err(Stop::OtherSystem(difference)),
        None => Ok(()),
    }
}
