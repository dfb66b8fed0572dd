//! This machine: what it knows of the farm, its own slots, and compiling on it.

use super::local;
use super::masquerade;
use super::output::{base_name, log_end, words};
use super::progress::{Progress, Trace};
use crate::farm::slots::{Slot, Slots, Trait};
use crate::farm::topdir::TopDir;
use crate::model::error::{Error, Result};
use crate::model::hosts::{HostList, HostSpec};
use crate::model::invocation::Invocation;
use crate::model::settings::ClientSettings;
use crate::model::trace::Activity;
use crate::model::wait_status::WaitStatus;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// What this machine knows of the farm. A missing folder or list is no reason not to compile: the trouble is kept
/// until it matters.
pub struct Farm {
    /// The host list, or why there is none.
    pub hosts: Result<HostList>,
    /// The slots, or why there are none.
    pub slots: Result<Slots>,
    /// What monitors and the trace are told.
    pub progress: Progress,
    /// Where on PATH the compiler lies, if that is known.
    pub compiler: Option<PathBuf>,
}

impl Farm {
    /// Finds what there is, for a run of `compiler` that `trace` is told of.
    pub fn open(settings: &ClientSettings, trace: Trace, compiler: Option<PathBuf>) -> Farm {
        let top = TopDir::find(settings);
        Farm {
            hosts: TopDir::host_list(top.as_ref().ok(), settings),
            slots: top.clone().and_then(|top| Slots::open(&top, settings)),
            progress: Progress::new(top.as_ref().ok(), trace),
            compiler,
        }
    }

    /// How many preprocessors run here at once.
    pub fn preprocess_slots(&self) -> usize {
        let list = self.hosts.as_ref();
        list.map_or(HostList::default().localslots_cpp, |list| {
            list.localslots_cpp
        })
    }

    /// How many compilers run here at once.
    pub fn compile_slots(&self) -> usize {
        let list = self.hosts.as_ref();
        list.map_or(HostList::default().localslots, |list| list.localslots)
    }

    /// A slot on this machine; without one the job runs all the same.
    pub fn local_slot(&self, slots_max: usize) -> Option<Slot> {
        self.progress.trace.does(Activity::Wait);
        match self.slots.as_ref().map(|slots| slots.local(slots_max)) {
            Ok(Ok(slot)) => Some(slot),
            Ok(Err(err)) => {
                log::warn!("{err}; going on without a slot");
                None
            }
            Err(err) => {
                log::warn!("{err}; going on without a slot");
                None
            }
        }
    }

    /// A slot on one of the hosts that `suit`; nothing if there are hosts, but none of them does.
    pub fn place(&self, suits: impl Fn(&Slots, &HostSpec) -> bool) -> Result<Option<Slot>> {
        self.progress.trace.does(Activity::Wait);
        let hosts = self.hosts.as_ref().map_err(Error::clone)?;
        let slots = self.slots.as_ref().map_err(Error::clone)?;
        if hosts.hosts.iter().all(|host| suits(slots, host)) {
            return slots.acquire(&hosts.hosts).map(Some);
        }
        let mut rest = hosts.hosts.clone();
        rest.retain(|host| suits(slots, host));
        match rest.is_empty() {
            true => Ok(None),
            false => slots.acquire(&rest).map(Some),
        }
    }

    /// Compiles on this machine, with the user's own words.
    pub fn run_here(
        &mut self,
        argv: &[OsString],
        input: Option<&Path>,
        why: &str,
        slot: Option<&Slot>,
    ) -> Result<WaitStatus> {
        let file = input.map(base_name);
        let name = file.map_or("(null)".into(), |name| name.to_string_lossy());
        match file {
            Some(_) => log::info!("{name} compiled locally: {why}"),
            None => log::info!("run locally: {why}"),
        }
        log::info!("exec on localhost: {}", words(argv));
        let trace = &self.progress.trace;
        trace.made_here(input, why, slot);
        let _hold = slot.map(|slot| trace.hold(slot));
        self.progress.note(
            Activity::Here,
            file,
            Some("localhost"),
            slot.map(|slot| slot.index),
        );
        let ended = local::run(argv, self.compiler.as_deref())?;
        log_end(&name, "localhost", ended);
        Ok(ended)
    }

    /// Notes that a host failed.
    pub fn mark_trouble(&self, host: &HostSpec) {
        if let Ok(slots) = &self.slots {
            slots.mark_trouble(host);
        }
    }

    /// Notes that a host works.
    pub fn clear_trouble(&self, host: &HostSpec) {
        if let Ok(slots) = &self.slots {
            slots.clear_trouble(host);
        }
    }

    /// Notes what was found out of a host.
    pub fn learn(&self, host: &HostSpec, what: Trait) {
        if let Ok(slots) = &self.slots {
            slots.learn(host, what);
        }
    }

    /// Notes that something is no longer so of a host.
    pub fn unlearn(&self, host: &HostSpec, what: Trait) {
        if let Ok(slots) = &self.slots {
            slots.unlearn(host, what);
        }
    }

    /// Whether something was found out of a host of late.
    pub fn knows(&self, host: &HostSpec, what: Trait) -> bool {
        let slots = self.slots.as_ref();
        slots.is_ok_and(|slots| slots.knows(host, what))
    }
}

/// Whether a compile's source can be read here, and once more if need be, and is not its output; if not, why.
pub fn check_files(
    invocation: &Invocation,
    argv: &[OsString],
) -> std::result::Result<(), &'static str> {
    let source = match fs::metadata(&invocation.input) {
        Err(err) if err.kind() == ErrorKind::NotFound => return Err("the source is not there"),
        found => found.ok().filter(Metadata::is_file),
    };
    if source.is_none() || argv.iter().any(|word| is_descriptor(word)) {
        return Err("only a plain file can be read here and once more if need be");
    }
    // Drivers look through links, too.
    let output = fs::metadata(&invocation.output).ok();
    match output.is_some() && masquerade::is_same(source.as_ref(), output.as_ref()) {
        true => Err("the output is the source"),
        false => Ok(()),
    }
}

/// Whether a word names something that only this process has open.
fn is_descriptor(word: &OsStr) -> bool {
    let word = word.as_encoded_bytes();
    word.starts_with(b"/dev/stdin")
        || word.starts_with(b"/dev/fd/")
        || word.starts_with(b"/proc/self/")
}

/// The working directory as compilers write it down: `$PWD` if that is where we are, else what the system says.
pub fn working_directory() -> PathBuf {
    name_of(env::current_dir().unwrap_or_default())
}

/// The name that compilers write down of the working directory, which the system calls `cwd`.
pub fn name_of(cwd: PathBuf) -> PathBuf {
    let is_here = |pwd: &PathBuf| {
        let meta = |path: &Path| fs::metadata(path).ok();
        *pwd == cwd
            || pwd.is_absolute()
                && masquerade::is_same(meta(pwd).as_ref(), meta(Path::new(".")).as_ref())
    };
    let pwd = env::var_os("PWD").map(PathBuf::from);
    pwd.filter(is_here).unwrap_or(cwd)
}
