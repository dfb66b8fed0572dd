//! What a client does, told to whom it concerns while it happens: the monitors, by the state file, and the trace of the
//! build, if one is wanted (`DISTCC_TRACE`). A trace is kept in memory, and becomes one line at the end.

use crate::farm::slots::{CpuSlot, Slot, Slots};
use crate::farm::state::{Phase, StateFile};
use crate::farm::topdir::TopDir;
use crate::model::error::{Result, Status};
use crate::model::hosts::{HostSpec, Place};
use crate::model::invocation::Invocation;
use crate::model::settings::ClientSettings;
use crate::model::trace::{Activity, Entry, Held, Mode};
use crate::os::files::append_whole;
use std::cell::RefCell;
use std::env;
use std::ffi::OsStr;
use std::path::Path;
use std::rc::Rc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The mark beside the locks that the trace can't be written, so that it is said once in ten minutes.
const TOLD: &str = "notrace";

/// What this machine is called in traces and to monitors.
const HERE: &str = "localhost";

/// What monitors and the trace are told.
#[derive(Debug)]
pub struct Progress {
    state: StateFile,
    /// The trace of this run.
    pub trace: Trace,
}

impl Progress {
    /// Tells monitors in the shared folder, if there is one, and `trace`.
    pub fn new(top: Option<&TopDir>, trace: Trace) -> Progress {
        Progress {
            state: StateFile::create(top),
            trace,
        }
    }

    /// Says what happens now, and to what; see [`StateFile::note`].
    pub fn note(
        &mut self,
        what: Activity,
        file: Option<&OsStr>,
        host: Option<&str>,
        slot: Option<usize>,
    ) {
        self.trace.does(what);
        let phase = match what {
            // Stock's clients don't tell these either.
            Activity::Start | Activity::Wait | Activity::WaitHere | Activity::Write => return,
            Activity::Preprocess | Activity::Ask => Phase::Preprocess,
            Activity::Connect => Phase::Connect,
            Activity::Send => Phase::Send,
            Activity::Compile | Activity::Here | Activity::Other => Phase::Compile,
            Activity::Receive => Phase::Receive,
        };
        self.state.note(phase, file, host, slot);
    }
}

/// The trace of this run, shared by all that have something to add to it; nothing is noted if none is wanted.
#[derive(Clone, Debug, Default)]
pub struct Trace(Option<Rc<RefCell<Running>>>);

#[derive(Debug)]
struct Running {
    begun: Instant,
    entry: Entry,
}

/// A slot that is held, for the trace, until this is dropped.
#[derive(Debug)]
pub struct Hold {
    trace: Trace,
    /// Which of the entry's.
    index: usize,
}

impl Trace {
    /// Begins, if a trace is wanted.
    pub fn begin(settings: &ClientSettings) -> Trace {
        if settings.trace.is_none() {
            return Trace(None);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let dir = env::current_dir().unwrap_or_default();
        let entry = Entry {
            at: now.map_or(0, |now| now.as_micros() as u64),
            pid: std::process::id(),
            dir: dir.to_string_lossy().into_owned(),
            host: HERE.to_owned(),
            phases: vec![(Activity::Start, 0)],
            ..Entry::default()
        };
        let begun = Instant::now();
        Trace(Some(Rc::new(RefCell::new(Running { begun, entry }))))
    }

    /// What is compiled to what.
    pub fn compiles(&self, invocation: &Invocation) {
        self.with(|_, entry| {
            entry.src = Some(text(&invocation.input));
            entry.out = Some(text(&invocation.output));
        });
    }

    /// What is done from now on.
    pub fn does(&self, what: Activity) {
        self.with(|now, entry| match entry.phases.last() {
            Some((last, _)) if *last == what => {}
            _ => entry.phases.push((what, now)),
        });
    }

    /// A slot is held from now on.
    pub fn hold(&self, slot: &Slot) -> Hold {
        let name = match slot.host.place {
            Place::Local => HERE,
            _ => &slot.host.token,
        };
        self.hold_of(name, slot.index)
    }

    /// The same of a slot to preprocess in.
    pub fn hold_cpu(&self, slot: &CpuSlot) -> Hold {
        self.hold_of(HERE, slot.index)
    }

    fn hold_of(&self, host: &str, slot: usize) -> Hold {
        let mut index = 0;
        self.with(|now, entry| {
            index = entry.held.len();
            let slot = u32::try_from(slot).unwrap_or(u32::MAX);
            entry.held.push(Held(host.to_owned(), slot, now, u64::MAX));
        });
        Hold {
            trace: self.clone(),
            index,
        }
    }

    /// An exchange with a host has come to its end.
    pub fn exchanged(&self, sent: usize, received: usize) {
        self.with(|_, entry| {
            entry.sent += sent as u64;
            entry.received += received as u64;
        });
    }

    /// The result is that of this host.
    pub fn made_by(&self, host: &HostSpec, is_pumped: bool) {
        self.with(|_, entry| {
            entry.mode = if is_pumped { Mode::Pump } else { Mode::Plain };
            entry.host.clone_from(&host.token);
            let slots = entry.held.iter().rev();
            let mut slots = slots.filter(|held| held.0 == host.token);
            entry.slot = slots.next().map(|held| held.1);
        });
    }

    /// The result is made on this machine.
    pub fn made_here(&self, input: Option<&Path>, why: &str, slot: Option<&Slot>) {
        self.with(|_, entry| {
            if entry.src.is_none() {
                entry.src = input.map(text);
            }
            entry.mode = Mode::Local;
            HERE.clone_into(&mut entry.host);
            entry.slot = slot.map(|slot| u32::try_from(slot.index).unwrap_or(u32::MAX));
            entry.why = Some(why.to_owned());
        });
    }

    /// Adds this run to the file that the settings name. Where that fails a warning is all that comes of it.
    pub fn end(&self, settings: &ClientSettings, status: &Result<Status>) {
        let Some(path) = &settings.trace else { return };
        self.with(|now, entry| {
            entry.us = now;
            entry.status = match status {
                Ok(status) => status.0,
                Err(err) => Status::from(err.code).0,
            };
            for held in &mut entry.held {
                held.3 = held.3.min(now);
            }
            if let Err(err) = append_whole(path, &entry.line()) {
                let slots = TopDir::find(settings).and_then(|top| Slots::open(&top, settings));
                if slots.map_or(true, |slots| slots.first_of_late(TOLD)) {
                    let path = path.display();
                    log::warn!("DISTCC_TRACE: add to {path}: {err}; builds go on without a trace (said once in ten minutes)");
                }
            }
        });
    }

    /// Calls `note` with the time since the start, in µs, if a trace is wanted.
    fn with(&self, note: impl FnOnce(u64, &mut Entry)) {
        let Some(running) = &self.0 else { return };
        if let Ok(mut running) = running.try_borrow_mut() {
            let now = running.begun.elapsed().as_micros() as u64;
            note(now, &mut running.entry);
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.trace.with(|now, entry| {
            if let Some(held) = entry.held.get_mut(self.index) {
                held.3 = now;
            }
        });
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
