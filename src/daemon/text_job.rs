//! A job of plain mode: the text that came is written to a file in a private folder, and compiled there; in a view of its own
//! where the system allows namespaces, in which the folder has the name that it has here.

use super::arrange::arrange;
use super::cells::{self, Cell};
use super::compile::{failed, show, variables, Job, Made, Ran, Stop, OUTPUT_BYTES_MAX};
use super::ending::Ending;
use super::launch::{self, Way};
use super::sandbox::Wanted;
use super::shown::Shown;
use super::view::{Mount, View};
use super::workspace::Workspace;
use crate::model::client_path::ClientPath;
use crate::model::dialect::Dialect;
use crate::model::received::Received;
use crate::model::source_scan::Scan;
use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// A job whose command may run.
struct TextJob<'j> {
    job: &'j Job<'j>,
    /// What of this machine it sees.
    shown: Shown,
    workspace: Workspace,
    /// The words after the compiler.
    words: Vec<OsString>,
    text: Vec<u8>,
}

/// Compiles `text` with `program`.
pub fn run(job: &Job, program: &Path, received: &Received, text: Vec<u8>) -> Result<Ending, Stop> {
    let output = match received.assembly {
        true => "out.s",
        false => "out.o",
    };
    let config = &job.config;
    let is_off = job.shop.sandbox().wanted == Wanted::Off;
    let in_view = matches!(job.shop.way(), Way::Views { .. }) && !is_off;
    let shown = job.shop.shown.with_program(program, &config.temp_dir);
    let mut workspace = match in_view && !config.keep_temps {
        true => Workspace::only_named(&cells::place(&shown, &config.temp_dir), output),
        false => Workspace::create(&config.temp_dir, output, config.keep_temps)
            .map_err(failed("make a folder for the job"))?,
    };
    let arranged = arrange(&mut workspace, program, job.argv, received, &text);
    let other = match arranged.text {
        Cow::Owned(other) => Some(other),
        Cow::Borrowed(_) => None,
    };
    if !job.shop.sandbox().hides_files() && other.as_deref().is_some_and(asks_for_files) {
        return Err(Stop::Refused(
            "the text names files of this machine".to_owned(),
        ));
    }
    let text_job = TextJob {
        job,
        shown,
        workspace,
        words: arranged.words,
        text: other.unwrap_or(text),
    };
    let (ran, workspace) = match in_view {
        true => text_job.run_in_view(program)?,
        false => text_job.run_here(program)?,
    };
    let object = match ran.succeeded() {
        true => workspace
            .read_output(OUTPUT_BYTES_MAX)
            .map_err(failed("read the output"))?,
        false => None,
    };
    let made = Made {
        object,
        ..Made::default()
    };
    job.ending(ran, made, Box::new(workspace))
}

impl TextJob<'_> {
    /// Runs the compiler where it sees its job and the toolchain, and no more.
    fn run_in_view(mut self, program: &Path) -> Result<(Ran, Workspace), Stop> {
        let program = launch::program_in_view(program);
        let shop = self.job.shop;
        let place = match self.workspace.is_on_disk() {
            true => self.workspace.root(),
            false => self.workspace.parent(),
        };
        let common = shop.common(self.shown.clone(), place);
        let view = View {
            folder: place.to_owned(),
            ..self.view(&program, Vec::new())
        };
        let cell = match self.workspace.is_on_disk() {
            true => Cell::on_disk(common, place)?.0,
            false => {
                let (cell, folder) = shop.cells.take(common)?;
                self.workspace
                    .move_into(&folder)
                    .map_err(failed("make a folder for the job"))?;
                cell
            }
        };
        let written = self.workspace.write(&self.text);
        written.map_err(failed("write the source"))?;
        drop(self.text); // A compile may take long.
        let ran = self.job.run_in_cell(cell, &view)?;
        Ok((ran, self.workspace))
    }

    /// Runs the compiler where we are ourselves.
    fn run_here(self, program: &Path) -> Result<(Ran, Workspace), Stop> {
        let written = self.workspace.write(&self.text);
        written.map_err(failed("write the source"))?;
        let view = self.view(program, launch::pieces(&self.shown));
        drop(self.text); // A compile may take long.
        let ran = self.job.run_here(self.workspace.root(), &view)?;
        Ok((ran, self.workspace))
    }

    fn view(&self, program: &Path, mounts: Vec<Mount>) -> View {
        let words = self.words.iter().cloned().map(OsString::into_vec);
        let name = program.as_os_str().as_bytes().to_vec();
        let words: Vec<Vec<u8>> = std::iter::once(name).chain(words).collect();
        let told = show(words.iter().map(Vec::as_slice));
        log::info!("{}: {told}", self.job.client.name);
        self.job.within(View {
            mounts,
            cwd: self.workspace.cwd.clone(),
            program: program.to_owned(),
            words,
            environment: self.environment(),
            ..View::default()
        })
    }

    /// The compiler's environment. What a compiler leaves in a cache that was taken over by its job, others would get.
    fn environment(&self) -> Vec<Vec<u8>> {
        let shop = self.job.shop;
        let mut environment = shop.environment.clone();
        environment.push(("TMPDIR".into(), self.workspace.root().into()));
        if !environment.iter().any(|(name, _)| name == "HOME") {
            // There is no list of users to find it in.
            environment.push(("HOME".into(), self.workspace.root().into()));
        }
        if shop.sandbox().hides_files() && !has_cache(&environment, &self.shown) {
            environment.push(("CCACHE_DISABLE".into(), "1".into()));
        }
        variables(environment.into_iter())
    }
}

/// Whether a text that becomes source again would bring files of this machine home, by the rules of whatever language.
fn asks_for_files(text: &[u8]) -> bool {
    let rules = [(false, false), (false, true), (true, false), (true, true)];
    rules.into_iter().any(|(raw_strings, trigraphs)| {
        let dialect = Dialect {
            raw_strings,
            trigraphs,
            digraphs: true,
            ..Dialect::default()
        };
        Scan::new(text, dialect).asks_for_files()
    })
}

/// Whether jobs may use the cache of ccache.
fn has_cache(environment: &[(OsString, OsString)], shown: &Shown) -> bool {
    let value = |wanted: &str| {
        let mut all = environment.iter();
        let found = all.find(|(name, _)| name == OsStr::new(wanted));
        found.map(|(_, value)| PathBuf::from(value))
    };
    let in_home = |name: &str| value("HOME").map(|home| home.join(name));
    let old = in_home(".ccache").filter(|old| old.is_dir());
    let place = value("CCACHE_DIR").or(old).or(in_home(".cache/ccache"));
    let place = place.and_then(|place| place.canonicalize().ok());
    let place = place.and_then(|place| ClientPath::plain(place.as_os_str().as_bytes()).ok());
    place.is_some_and(|place| shown.is_shared(&place))
}
