//! A call of distcc as a compiler: from a command line to an exit status, by way of another machine or not.

use super::distribute::Distribution;
use super::here::Farm;
use super::output::log_exit;
use super::progress::Trace;
use super::{local, masquerade, native};
use crate::farm::cross::Compiler;
use crate::model::error::{Result, Status};
use crate::model::family::build;
use crate::model::invocation::{scan, Invocation, LocalOnly, Scan};
use crate::model::settings::ClientSettings;
use crate::os::files::read_plain_file;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A call of distcc: what it was called as, with which settings.
#[derive(Debug)]
pub struct Call {
    /// All settings from the environment.
    pub settings: ClientSettings,
    /// argv[0].
    pub called_as: OsString,
    /// PATH for the compiler, if it is not the one that was given.
    pub path: Option<OsString>,
    /// Where the compiler lies on PATH, if that is known.
    pub found: Option<PathBuf>,
}

/// Called through a link that bears a compiler's name: all words, the first is that name.
pub fn masquerade(mut argv: Vec<OsString>, settings: ClientSettings) -> Result<Status> {
    let called_as = argv.first().cloned().unwrap_or_default();
    let path = settings
        .path
        .as_ref()
        .and_then(|path| masquerade::path_without_links(&called_as, path));
    if let (Some(word), Some(name)) = (argv.first_mut(), Path::new(&called_as).file_name()) {
        *word = name.to_owned();
    }
    let call = Call {
        settings,
        called_as,
        path,
        found: None,
    };
    call.compile(&argv)
}

impl Call {
    /// Runs the compiler command `argv`, here or elsewhere.
    pub fn compile(&self, argv: &[OsString]) -> Result<Status> {
        let level = self.settings.safeguard;
        masquerade::guard_against_recursion(level, self.path.is_some(), &self.called_as)?;
        let runs = argv.first().map(OsString::as_os_str).unwrap_or_default();
        masquerade::mark_environment(level, &self.called_as, runs, self.path.as_deref());
        if level > 0 {
            return Err(local::become_command(argv));
        }
        let begun = Instant::now();
        let trace = Trace::begin(&self.settings);
        let status = match scan(argv, &read_plain_file) {
            Scan::Distributable(invocation) => match self.lost_elsewhere(&invocation) {
                Some(why) => self.stay(argv, &why, &trace),
                None => self.send(argv, &invocation, &trace),
            },
            Scan::Local(why) => self.stay(argv, &why, &trace),
        };
        trace.end(&self.settings, &status);
        log_exit(begun, &status);
        status
    }

    /// Why a command stays here whose files beside the object no host brings home: some do in pump mode only.
    fn lost_elsewhere(&self, invocation: &Invocation) -> Option<LocalOnly> {
        let sides = invocation.sides.as_ref()?;
        self.settings.pump.port.is_none().then(|| LocalOnly {
            reason: sides.reason.clone(),
            preprocess_only: false,
            source: Some(invocation.input.clone()),
        })
    }

    /// Has another machine compile, if one can.
    fn send(&self, argv: &[OsString], invocation: &Invocation, trace: &Trace) -> Result<Status> {
        trace.compiles(invocation);
        let path = self.path();
        match native::for_other_machines(invocation, &path, &self.settings) {
            Ok(invocation) => {
                let farm = Farm::open(&self.settings, trace.clone(), self.found.clone());
                let rewrite = self.settings.rewrite_cross;
                let compiler = Compiler::found(argv, &path, self.found.as_deref(), rewrite);
                let settings = &self.settings;
                Distribution::new(settings, farm, path, argv, &invocation, compiler).run()
            }
            Err(reason) => self.stay(
                argv,
                &LocalOnly {
                    reason,
                    preprocess_only: false,
                    source: Some(invocation.input.clone()),
                },
                trace,
            ),
        }
    }

    /// Runs what is not for other machines, in a slot of this one.
    fn stay(&self, argv: &[OsString], why: &LocalOnly, trace: &Trace) -> Result<Status> {
        let mut farm = Farm::open(&self.settings, trace.clone(), self.found.clone());
        let slots_max = match why.preprocess_only {
            true => farm.preprocess_slots(),
            false => farm.compile_slots(),
        };
        if let Some(build) = argv.first().and_then(|word| build(Path::new(word))) {
            log::warn!("{build} is no compiler, and what it compiles is not distributed; name distcc to it, as in make CC='distcc gcc'");
        }
        let slot = farm.local_slot(slots_max);
        let source = why.source.as_deref();
        let ended = farm.run_here(argv, source, &why.reason.to_string(), slot.as_ref())?;
        Ok(ended.status())
    }

    fn path(&self) -> OsString {
        let path = self.path.as_ref().or(self.settings.path.as_ref());
        path.cloned().unwrap_or_default()
    }
}
