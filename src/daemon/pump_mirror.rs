//! A pump job where the system forbids namespaces: the client's files lie below a folder of ours, which is hidden in what
//! the compiler is told and in what it makes, or else the job is not done here.

use super::arrange::kin;
use super::compile::{failed, Stop};
use super::ending::Ending;
use super::job_root::{self, JobRoot};
use super::launch;
use super::mirror::{self, Mirror};
use super::pump_common::PumpJob;
use super::view::View;
use crate::model::family::Family;
use crate::model::job_tree::JobTree;
use crate::model::make_rule::without_folder;
use crate::model::received::DepsWanted;
use crate::model::wire::Entry;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Does the job.
pub fn run(pump: &PumpJob, cwd: &[u8], mut entries: Vec<Entry>) -> Result<Ending, Stop> {
    let laid = pump.lay(cwd, &mut entries, JobTree::default())?;
    let root = JobRoot::on_disk(pump.scratch()?).map_err(failed("make a folder for the job"))?;
    let folder = root.path().as_os_str().as_bytes();
    let family = kin(&pump.program);
    let words = mirror::words(Mirror {
        folder,
        tree: &laid.tree,
        cwd: &laid.cwd,
        argv: pump.job.argv,
        received: &pump.received,
        family,
        shown: &pump.shown,
        about: pump.about.as_ref(),
    });
    let mut words = words.map_err(Stop::NotHere)?;
    words.insert(0, pump.name().into_vec());
    let deps = root.here(&job_root::deps());
    words.extend(pump.deps_words(deps.as_os_str().as_bytes()));
    if pump.received.deps != DepsWanted::No && !folder.iter().all(is_plain_to_make) {
        let why = "make would quote the name of the daemon's TMPDIR";
        return Err(Stop::NotHere(why.to_owned()));
    }
    pump.place(&root, &laid, entries, true)?;
    let view = pump.job.within(View {
        mounts: launch::pieces(&pump.shown),
        cwd: root.here(&laid.cwd),
        program: pump.program.clone(),
        words,
        environment: pump.environment(&laid, &|place| root.here(place)),
        ..View::default()
    });
    pump.announce(&view);
    let mut ran = pump.job.run_here(root.path(), &view)?;
    for said in [&mut ran.stdout, &mut ran.stderr] {
        *said = mirror::without(said, folder);
    }
    let mut made = pump.made(&ran, &laid, &root)?;
    let family = family.unwrap_or(Family::Gcc);
    made.deps = made.deps.map(|rule| without_folder(&rule, folder, family));
    let mut outputs = made.object.iter().chain(&made.deps);
    if outputs.any(|bytes| memchr::memmem::find(bytes, folder).is_some()) {
        let why = "the output shows the folder of the job";
        return Err(Stop::NotHere(why.to_owned()));
    }
    pump.job.ending(ran, made, Box::new(root))
}

fn is_plain_to_make(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/._-+,@".contains(byte)
}
