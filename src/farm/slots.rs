//! Job slots: which host takes the next job, and how many at once, over all processes of one user. A slot is a lock
//! file of stock's name in the shared folder, so that stock's clients and ours keep each other's limits. Hosts in
//! trouble are marked in the same folder and left alone for a while.

use super::topdir::{made, TopDir};
use super::waiting;
use crate::model::error::{Code, Error, Result};
use crate::model::hosts::{HostSpec, Place};
use crate::model::settings::ClientSettings;
use crate::os::lock::{self, Attempt, FileLock};
use crate::os::watch::Closed;
use std::fs;
use std::io;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How long what was found out of a host counts.
const KNOWN_FOR: Duration = Duration::from_secs(600);

/// What was found out of a host, and holds for ten minutes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trait {
    /// What it makes of preprocessed sources with debug information is not what a compile here would give, as is so with
    /// stock's daemon and gcc.
    Inexact,
    /// In pump mode it answers as stock's daemon does.
    Stocks,
    /// Its system headers are not ours.
    OtherSystem,
    /// They can't be replaced by ours.
    NoOtherSystem,
    /// It can't show compilers our paths.
    NoPaths,
    /// No files but the object come home from it.
    NoSides,
}

impl Trait {
    /// What the names of its marks begin with.
    fn prefix(self) -> &'static str {
        match self {
            Trait::Inexact => "inexact",
            Trait::Stocks => "stock",
            Trait::OtherSystem => "system",
            Trait::NoOtherSystem => "nosystem",
            Trait::NoPaths => "nopaths",
            Trait::NoSides => "nosides",
        }
    }
}

/// The slots of all hosts, and the marks of those in trouble.
#[derive(Debug)]
pub struct Slots {
    folder: PathBuf,
    backoff: Duration,
    pause: Duration,
}

/// The right to run one job on a host, until it is dropped.
#[derive(Debug)]
pub struct Slot {
    /// The host that was chosen.
    pub host: HostSpec,
    /// Which of its slots, from 0.
    pub index: usize,
    lock: FileLock,
}

/// The right to use a processor here while a slot elsewhere is held; it can't outlive that slot.
#[derive(Debug)]
pub struct CpuSlot<'s> {
    /// Which slot of this machine, from 0.
    pub index: usize,
    _local: Slot,
    _remote: PhantomData<&'s Slot>,
}

/// A host of the list on its way to being chosen.
struct Candidate<'h> {
    host: &'h HostSpec,
    /// Its key: what its lock files and its mark are named after.
    key: String,
    /// Whether it may be left alone because of trouble, or is what must always work: this machine.
    shunnable: bool,
    /// For how long still it is being left alone, if it is: what the last look found.
    shunned: Option<Duration>,
    /// Whether this look has found that out already.
    is_known: bool,
}

impl Slots {
    /// The slots in the shared folder.
    /// The folder is only touched when there is something to lock.
    pub fn open(top: &TopDir, settings: &ClientSettings) -> Result<Slots> {
        Ok(Slots {
            folder: top.lock_dir(),
            backoff: settings.backoff,
            pause: settings.pause,
        })
    }

    /// Takes the first free slot: slot 0 of every host in the order of the list, then slot 1 of every host, and so
    /// on. Waits if there is none. Fails with `NoHosts` if no host is to be used at all, now or ever.
    pub fn acquire(&self, hosts: &[HostSpec]) -> Result<Slot> {
        let usable = hosts.iter().filter(|host| !host.down);
        let mut candidates: Vec<_> = usable.map(|host| Candidate::new(host, true)).collect();
        if candidates.is_empty() {
            return Err(no_hosts(
                "no host of the list is to be used: all are marked ',down'",
            ));
        }
        self.take(&mut candidates)
    }

    /// Takes one of `slots_max` slots of this machine, for a job that is not, or no longer, for another one.
    /// Waits if there is none.
    pub fn local(&self, slots_max: usize) -> Result<Slot> {
        self.take(&mut [Candidate::new(&this_machine(slots_max), false)])
    }

    /// Whether a slot is taken now. Nobody who waits for it hears of this question.
    pub fn is_taken(&self, host: &HostSpec, index: usize) -> bool {
        let name = Candidate::new(host, false).slot_name(index);
        lock::is_locked(&self.folder.join(name)).unwrap_or(false)
    }

    /// How many clients of ours wait for a slot: of this machine, one of `slots_max`; and for any other one.
    pub fn waiting(&self, slots_max: &[usize]) -> (Vec<usize>, usize) {
        let mut lines = waiting::in_lines(&self.folder);
        let hosts = slots_max.iter().map(|slots_max| this_machine(*slots_max));
        let here = hosts.map(|host| {
            let line = line_of(&[Candidate::new(&host, false)]);
            lines.remove(&line).unwrap_or(0)
        });
        let here = here.collect();
        (here, lines.values().sum())
    }

    /// Notes that a host failed: it is left alone for the period of `DISTCC_BACKOFF_PERIOD`.
    pub fn mark_trouble(&self, host: &HostSpec) {
        if self.backoff.is_zero() {
            return;
        }
        let mark = self.mark(&host.key());
        log::debug!("marking {} as in trouble", host.token);
        let written = made(&self.folder)
            .and_then(|()| fs::write(&mark, "x").map_err(|err| Error::io(mark.display(), &err)));
        if let Err(err) = written {
            log::warn!("can't mark {}: {err}", host.token);
        }
    }

    /// Notes that a host works.
    pub fn clear_trouble(&self, host: &HostSpec) {
        if self.backoff.is_zero() {
            return;
        }
        let mark = self.mark(&host.key());
        // Nearly always it is not there, and a look costs much less than an attempt to remove it.
        if fs::symlink_metadata(&mark).is_err_and(|err| err.kind() == io::ErrorKind::NotFound) {
            return;
        }
        match fs::remove_file(&mark) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => {
                log::warn!("can't remove {}: {err}", mark.display());
            }
            _ => {}
        }
    }

    /// For how long still a host is left alone because it failed, if it is.
    pub fn shunned_for(&self, host: &HostSpec) -> Option<Duration> {
        self.left_alone(&host.key())
    }

    /// Notes what was found out of a host.
    pub fn learn(&self, host: &HostSpec, what: Trait) {
        let mark = self.known(host, what);
        log::debug!("noting {}", mark.display());
        if let Err(err) = fs::write(&mark, "x") {
            log::warn!("can't write {}: {err}", mark.display());
        }
    }

    /// Notes that something is no longer so.
    pub fn unlearn(&self, host: &HostSpec, what: Trait) {
        let mark = self.known(host, what);
        match fs::remove_file(&mark) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => {
                log::warn!("can't remove {}: {err}", mark.display());
            }
            _ => {}
        }
    }

    /// Whether this was found out of late.
    pub fn knows(&self, host: &HostSpec, what: Trait) -> bool {
        is_of_late(&self.known(host, what))
    }

    /// Whether this is the first call of late for this `matter`, over all processes of one user.
    pub fn first_of_late(&self, matter: &str) -> bool {
        let mark = self.folder.join(matter);
        let is_first = !is_of_late(&mark);
        if is_first {
            let made = made(&self.folder);
            if let Err(err) = made.map(|()| fs::write(&mark, "x")) {
                log::debug!("can't write {}: {err}", mark.display());
            }
        }
        is_first
    }

    fn known(&self, host: &HostSpec, what: Trait) -> PathBuf {
        self.folder
            .join(format!("{}_{}", what.prefix(), host.key()))
    }

    fn mark(&self, key: &str) -> PathBuf {
        self.folder.join(format!("backoff_{key}_0"))
    }

    /// The first look is made at once, and most often the last.
    fn take(&self, candidates: &mut [Candidate<'_>]) -> Result<Slot> {
        if let Some(slot) = self.look(candidates, &Closed::Many, Manner::Hopeful)? {
            return Ok(slot);
        }
        log::debug!(
            "nothing available, sleeping {}ms...",
            self.pause.as_millis()
        );
        let line = line_of(candidates);
        waiting::wait(&self.folder, line, self.pause, |released| {
            self.look(candidates, released, Manner::Quiet)
        })
    }

    /// Tries those slots that may have been released, the best first. Fails if all hosts are shunned.
    fn look(
        &self,
        candidates: &mut [Candidate<'_>],
        released: &Closed,
        mut manner: Manner,
    ) -> Result<Option<Slot>> {
        let slots_max = candidates.iter().map(|c| c.host.slots).max().unwrap_or(0);
        for candidate in candidates.iter_mut() {
            candidate.is_known = false;
        }
        for index in 0..slots_max {
            for candidate in candidates.iter_mut().filter(|c| index < c.host.slots) {
                let name = candidate.slot_name(index);
                if !released.includes(&name) || self.is_shunned(candidate) {
                    continue;
                }
                if let Some(lock) = self.try_slot(&name, manner)? {
                    return Ok(Some(Slot::new(candidate.host.clone(), index, lock)));
                }
                manner = Manner::Quiet;
            }
        }
        match candidates
            .iter()
            .all(|candidate| candidate.shunned.is_some())
        {
            true => Err(all_shunned(candidates)),
            false => Ok(None),
        }
    }

    /// Whether a host is left alone, asked of the disk once a look, and only if it is about to be used.
    fn is_shunned(&self, candidate: &mut Candidate<'_>) -> bool {
        if !candidate.is_known {
            candidate.is_known = true;
            candidate.shunned = candidate
                .shunnable
                .then(|| self.left_alone(&candidate.key))
                .flatten();
            if candidate.shunned.is_some() {
                let token = &candidate.host.token;
                log::debug!("still in backoff period for {token}");
            }
        }
        candidate.shunned.is_some()
    }

    /// For how long still a host is left alone, if it is.
    fn left_alone(&self, key: &str) -> Option<Duration> {
        if self.backoff.is_zero() {
            return None;
        }
        let marked = fs::metadata(self.mark(key)).and_then(|mark| mark.modified());
        match marked.map(|at| SystemTime::now().duration_since(at)) {
            Ok(Ok(age)) => self.backoff.checked_sub(age).filter(|rest| !rest.is_zero()),
            // A mark from the future counts, as with stock; so does one that can't be read.
            Ok(Err(ahead)) => Some(self.backoff.saturating_add(ahead.duration())),
            Err(err) => (err.kind() != io::ErrorKind::NotFound).then_some(self.backoff),
        }
    }

    fn try_slot(&self, name: &str, manner: Manner) -> Result<Option<FileLock>> {
        let path = self.folder.join(name);
        if manner == Manner::Quiet && lock::is_locked(&path).unwrap_or(false) {
            log::debug!("{} is busy", path.display());
            return Ok(None);
        }
        let mut attempt = lock::try_lock(&path);
        if matches!(&attempt, Err(err) if err.kind() == io::ErrorKind::NotFound) {
            made(&self.folder)?;
            attempt = lock::try_lock(&path);
        }
        match attempt {
            Ok(Attempt::Held(lock)) => Ok(Some(lock)),
            Ok(Attempt::Busy) => {
                log::debug!("{} is busy", path.display());
                Ok(None)
            }
            Err(err) => Err(unusable(&path, &err)),
        }
    }
}

/// Whether a mark was made of late.
fn is_of_late(mark: &Path) -> bool {
    let marked = fs::metadata(mark).and_then(|mark| mark.modified());
    let age = marked.map(|at| SystemTime::now().duration_since(at).unwrap_or_default());
    age.is_ok_and(|age| age < KNOWN_FOR)
}

/// How a slot is tried.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Lock it at once; if it is busy, those who watch for released locks are woken for nothing.
    Hopeful,
    /// Look first.
    Quiet,
}

impl<'h> Candidate<'h> {
    fn new(host: &'h HostSpec, shunnable: bool) -> Self {
        Candidate {
            key: host.key(),
            host,
            shunnable,
            shunned: None,
            is_known: false,
        }
    }

    fn slot_name(&self, index: usize) -> String {
        format!("cpu_{}_{index}", self.key)
    }
}

impl Slot {
    fn new(host: HostSpec, index: usize, lock: FileLock) -> Slot {
        log::debug!(
            "got cpu lock on {} slot {index} as fd{}",
            host.token,
            lock.descriptor()
        );
        Slot { host, index, lock }
    }

    /// Takes one of `slots_max` slots of this machine while this one is held, e.g. to preprocess. Always in this
    /// order, so nobody waits for one another.
    pub fn local_cpu<'s>(&'s self, slots: &Slots, slots_max: usize) -> Result<CpuSlot<'s>> {
        let local = slots.local(slots_max)?;
        Ok(CpuSlot {
            index: local.index,
            _local: local,
            _remote: PhantomData,
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        log::debug!("release lock fd{}", self.lock.descriptor());
    }
}

fn this_machine(slots_max: usize) -> HostSpec {
    HostSpec {
        token: "localhost".to_owned(),
        place: Place::Local,
        slots: slots_max.max(1),
        lzo: false,
        cpp: false,
        down: false,
    }
}

/// The line in which those wait who want a slot of these hosts, whatever their order: FNV-1a over each, added up.
fn line_of(candidates: &[Candidate<'_>]) -> u32 {
    let wanted = candidates
        .iter()
        .filter(|candidate| candidate.shunned.is_none());
    wanted.fold(0, |sum: u32, candidate| {
        let name = candidate.slot_name(candidate.host.slots);
        let hash = name.bytes().fold(0x811c_9dc5, |hash: u32, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        sum.wrapping_add(hash)
    })
}

fn all_shunned(candidates: &[Candidate<'_>]) -> Error {
    let rest = candidates
        .iter()
        .filter_map(|candidate| candidate.shunned)
        .min();
    let seconds = rest.unwrap_or_default().as_secs() + 1;
    no_hosts(&format!(
        "every host is left alone, for {seconds} s still, because it failed; DISTCC_BACKOFF_PERIOD=0 tries them at once"
    ))
}

fn no_hosts(why: &str) -> Error {
    Error::new(Code::NoHosts, why)
}

fn unusable(path: &Path, err: &io::Error) -> Error {
    Error::io(
        format_args!(
            "can't lock {} (if it is left from another user, remove it)",
            path.display()
        ),
        err,
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::hosts;
    use std::ffi::OsString;
    use std::os::unix::fs::symlink;
    use std::sync::mpsc;

    fn slots_in(dir: &Path, more: &[(&str, &str)]) -> Slots {
        let settings = ClientSettings::read(|name| match name {
            "DISTCC_DIR" => Some(dir.into()),
            _ => {
                let found = more.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| OsString::from(value))
            }
        });
        let settings = settings.unwrap();
        Slots::open(&TopDir::find(&settings).unwrap(), &settings).unwrap()
    }

    fn list(text: &str) -> Vec<HostSpec> {
        hosts::parse(text, "test").unwrap().hosts
    }

    #[test]
    fn breadth_comes_first_and_the_files_are_stocks() {
        let dir = tempfile::tempdir().unwrap();
        let slots = slots_in(dir.path(), &[]);
        let hosts = list("a/2 down/9,down @b/1 localhost/3 [::1]:99/2 a/2");
        let mut taken = Vec::new();
        for (name, index) in [
            ("cpu_tcp_a_3632_0", 0),
            ("cpu_ssh_b_0", 0),
            ("cpu_localhost_0", 0),
            ("cpu_tcp_::1_99_0", 0),
            ("cpu_tcp_a_3632_1", 1),
            ("cpu_localhost_1", 1),
            ("cpu_tcp_::1_99_1", 1),
            ("cpu_localhost_2", 2),
        ] {
            let slot = slots.acquire(&hosts).unwrap();
            assert_eq!(slot.index, index, "{name}");
            let path = dir.path().join("lock").join(name);
            assert!(lock::is_locked(&path).unwrap(), "{name}");
            taken.push(slot);
        }
        taken.remove(0);
        assert_eq!(slots.acquire(&hosts).unwrap().host.name(), "a");
        // The slots of this machine are one and the same, whoever wants them.
        assert_eq!(slots.local(5).unwrap().index, 3);
        let held = slots.acquire(&hosts).unwrap();
        assert_eq!(held.local_cpu(&slots, 4).unwrap().index, 3);
    }

    #[test]
    fn hosts_in_trouble_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let slots = slots_in(dir.path(), &[]);
        let hosts = list("a b");
        slots.mark_trouble(&hosts[0]);
        let mark = dir.path().join("lock/backoff_tcp_a_3632_0");
        assert_eq!(fs::read(&mark).unwrap(), b"x");
        assert_eq!(slots.acquire(&hosts).unwrap().host.name(), "b");
        slots.mark_trouble(&hosts[1]);
        let err = slots.acquire(&hosts).unwrap_err();
        assert_eq!(err.code, Code::NoHosts);
        let seconds = err.message.split(" s still").next().unwrap();
        let seconds: u64 = seconds.rsplit(' ').next().unwrap().parse().unwrap();
        assert!((1..=60).contains(&seconds), "{err}");
        assert!(err.message.contains("DISTCC_BACKOFF_PERIOD=0"), "{err}");
        slots.clear_trouble(&hosts[0]);
        slots.clear_trouble(&hosts[0]);
        assert_eq!(slots.acquire(&hosts).unwrap().host.name(), "a");
        // This machine can always be used by itself.
        let here = list("localhost");
        slots.mark_trouble(&here[0]);
        assert!(slots.acquire(&here).is_err());
        slots.local(1).unwrap();
    }

    #[test]
    fn marks_age_and_can_be_switched_off() {
        let dir = tempfile::tempdir().unwrap();
        let hosts = list("a");
        let long_ago = SystemTime::now() - Duration::from_secs(600);
        let slots = slots_in(dir.path(), &[]);
        slots.mark_trouble(&hosts[0]);
        let never = slots_in(dir.path(), &[("DISTCC_BACKOFF_PERIOD", "0")]);
        never.acquire(&hosts).unwrap();
        let path = dir.path().join("lock/backoff_tcp_a_3632_0");
        let mark = fs::File::options().write(true).open(path).unwrap();
        mark.set_modified(long_ago).unwrap();
        slots.acquire(&hosts).unwrap();
        mark.set_modified(SystemTime::now() + Duration::from_secs(600))
            .unwrap();
        assert!(slots.acquire(&hosts).is_err());
        never.clear_trouble(&hosts[0]);
        assert!(slots.acquire(&hosts).is_err());
    }

    #[test]
    fn no_host_to_use_is_an_error_and_no_endless_wait() {
        let dir = tempfile::tempdir().unwrap();
        let slots = slots_in(dir.path(), &[]);
        for hosts in [list("a,down b,down"), Vec::new()] {
            assert_eq!(slots.acquire(&hosts).unwrap_err().code, Code::NoHosts);
        }
    }

    #[test]
    fn a_lock_file_that_cannot_be_opened_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let slots = slots_in(dir.path(), &[]);
        // Root may open anything, so a link that goes in circles stands for a file of another user.
        made(&dir.path().join("lock")).unwrap();
        let path = dir.path().join("lock/cpu_tcp_a_3632_0");
        symlink(&path, &path).unwrap();
        let err = slots.acquire(&list("a b")).unwrap_err();
        assert!(err.message.contains("lock/cpu_tcp_a_3632_0"), "{err}");
    }

    #[test]
    fn who_waits_gets_the_slot_that_is_released() {
        let dir = tempfile::tempdir().unwrap();
        let slots = slots_in(dir.path(), &[]);
        let hosts = list("a/1 b/1");
        let first = slots.acquire(&hosts).unwrap();
        let second = slots.acquire(&hosts).unwrap();
        let (sender, receiver) = mpsc::channel();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                let (sender, slots, hosts) = (sender.clone(), &slots, &hosts);
                scope.spawn(move || {
                    let slot = slots.acquire(hosts).unwrap();
                    sender.send(slot.host.token.clone()).unwrap();
                });
            }
            assert!(receiver.recv_timeout(Duration::from_millis(50)).is_err());
            drop(second);
            // One after another, all on the slot that is free.
            for _ in 0..3 {
                assert_eq!(receiver.recv().unwrap(), "b/1");
            }
        });
        drop(first);
    }

    #[test]
    fn lines_depend_on_what_is_wanted_and_not_on_its_order() {
        let line = |text: &str| {
            let hosts = list(text);
            let candidates: Vec<_> = hosts.iter().map(|h| Candidate::new(h, true)).collect();
            line_of(&candidates)
        };
        assert_eq!(line("a b/2"), line("b/2 a"));
        assert_ne!(line("a b/2"), line("a b/3"));
        assert_ne!(line("a"), line("b"));
    }
}
