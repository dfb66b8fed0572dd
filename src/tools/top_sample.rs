//! What the farm of this user does now, as far as it can be seen from this machine without asking anybody: hosts and their
//! slots (locks), clients and what they do (state files), who waits, and how many have finished (files that went).

use super::monitor::printable;
use super::top_past::Past;
use crate::farm::slots::Slots;
use crate::farm::state::{read_all, Phase, Record};
use crate::farm::topdir::TopDir;
use crate::model::error::Result;
use crate::model::hosts::{HostList, HostSpec, Place};
use crate::model::settings::ClientSettings;
use crate::os::watch::{Closed, Watch};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Over how long jobs per second are counted.
const SHORT: Duration = Duration::from_secs(10);
const LONG: Duration = Duration::from_secs(60);

/// What the names of state files begin with; those that are left for others are called otherwise.
const STATE_FILE: &[u8] = b"binstate_";

/// Names are cut to this.
const NAME_BYTES_MAX: usize = 127;

/// What this machine is called in state files.
const HERE: &str = "localhost";

/// The farm at one moment.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// This machine first, then the hosts of the list, then others that clients name.
    pub hosts: Vec<HostNow>,
    /// How many of our clients wait.
    pub waiting: Waiting,
    /// What has finished since we look.
    pub finished: Finished,
    /// Why there is no host list, if there is none.
    pub no_list: Option<String>,
}

/// A host at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostNow {
    /// As the list has it.
    pub name: String,
    /// It is this machine.
    pub is_here: bool,
    /// How many slots it has; 0 if it is not in the list.
    pub slots: usize,
    /// Those that are taken, from 0.
    pub taken: Vec<usize>,
    /// What clients do there.
    pub jobs: Vec<Job>,
    /// How long compiles lasted that ended there lately, as far as they were seen.
    pub lately: Vec<Duration>,
    /// For how long still it is left alone, if it is.
    pub shunned: Option<Duration>,
    /// It is marked as not to be used.
    pub is_down: bool,
}

/// What one client does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The client's process number.
    pub pid: u32,
    /// In which slot.
    pub slot: usize,
    /// What it does.
    pub phase: Phase,
    /// The source's name, fit to be shown.
    pub file: String,
    /// For how long it has done that.
    pub since: Duration,
    /// For how long it has run, if that is known.
    pub age: Option<Duration>,
}

/// How many clients of ours wait, by what for. Stock's are not seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// For a slot to be compiled in elsewhere.
    pub elsewhere: usize,
    /// With such a slot, for one of this machine to preprocess in.
    pub preprocess: usize,
    /// For a slot of this machine to be compiled in.
    pub here: usize,
}

/// How many clients have finished.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Finished {
    /// Since we look.
    pub count: u64,
    /// In each of the last ten seconds, and of the last minute, on average.
    pub rates: [f64; 2],
}

impl Waiting {
    /// All of them.
    pub fn all(&self) -> usize {
        self.elsewhere + self.preprocess + self.here
    }
}

impl Sample {
    /// The hosts that could take jobs now, this machine apart.
    pub fn usable(&self) -> impl Iterator<Item = &HostNow> {
        let elsewhere = self.hosts.iter().filter(|host| !host.is_here);
        elsewhere.filter(|host| host.slots > 0 && !host.is_down && host.shunned.is_none())
    }

    /// All that clients do.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.hosts.iter().flat_map(|host| &host.jobs)
    }
}

/// Looks at the farm again and again.
#[derive(Debug)]
pub struct Looker {
    settings: ClientSettings,
    top: TopDir,
    slots: Slots,
    departures: Option<Watch>,
    tally: Tally,
    past: Past,
}

impl Looker {
    /// Begins to count what finishes.
    pub fn new(settings: ClientSettings) -> Result<Looker> {
        let top = TopDir::find(&settings)?;
        let slots = Slots::open(&top, &settings)?;
        // Makes the folder, if there is none yet.
        read_all(&top)?;
        let departures = Watch::of_departures(&top.state_dir());
        let departures = departures
            .inspect_err(|err| log::warn!("can't count what finishes: {err}"))
            .ok();
        Ok(Looker {
            settings,
            top,
            slots,
            departures,
            tally: Tally::begin(Instant::now()),
            past: Past::begin(Instant::now()),
        })
    }

    /// Looks.
    pub fn look(&mut self) -> Result<Sample> {
        let records = read_all(&self.top)?;
        let gone = self.departed();
        let list = TopDir::host_list(Some(&self.top), &self.settings);
        let no_list = list.as_ref().err().map(|err| err.message.clone());
        let list = list.unwrap_or_default();
        let own = [list.localslots_cpp, list.localslots];
        let (here, elsewhere) = self.slots.waiting(&own);
        let mut hosts = self.hosts(&list);
        let mut waiting = Waiting {
            elsewhere,
            preprocess: here.first().copied().unwrap_or(0),
            here: here.get(1).copied().unwrap_or(0),
        };
        let holds_elsewhere = |host: &HostNow| !host.is_here && !host.taken.is_empty();
        if own[0] == own[1] && !hosts.iter().any(holds_elsewhere) {
            // Then both wait in the same line.
            std::mem::swap(&mut waiting.preprocess, &mut waiting.here);
        }
        for record in &records {
            place(&mut hosts, record);
        }
        self.remember(&mut hosts);
        Ok(Sample {
            hosts,
            waiting,
            finished: self.tally.add(gone, Instant::now()),
            no_list,
        })
    }

    /// Notes which compiles run, and tells each host what has ended there. Where nothing runs a build is over.
    fn remember(&mut self, hosts: &mut [HostNow]) {
        let jobs = hosts.iter().flat_map(|host| {
            let compiles = host.jobs.iter().filter(|job| job.phase == Phase::Compile);
            compiles.map(|job| (job.pid, host.name.clone(), job.since))
        });
        self.past.add(jobs, Instant::now());
        if hosts.iter().all(|host| host.jobs.is_empty()) {
            self.past.forget();
        }
        for host in hosts {
            host.lately = self.past.of(&host.name);
        }
    }

    /// How many state files went since the last look.
    fn departed(&mut self) -> u64 {
        let mut gone = 0;
        while let Some(Ok(closed)) = self.departures.as_mut().map(|w| w.wait(Duration::ZERO)) {
            match closed {
                Closed::Nothing => break,
                Closed::Names(names) => {
                    let files = names.iter().filter(|name| name.starts_with(STATE_FILE));
                    gone += files.count() as u64;
                }
                // More than could be noted: the count is too small from here on.
                Closed::Many => log::debug!("too much has finished to be counted"),
            }
        }
        gone
    }

    fn hosts(&self, list: &HostList) -> Vec<HostNow> {
        let is_here = |host: &&HostSpec| host.place == Place::Local;
        let listed = list.hosts.iter().filter(is_here).map(|host| host.slots);
        let slots = listed.chain([list.localslots, list.localslots_cpp]).max();
        let here = HostSpec {
            token: HERE.to_owned(),
            place: Place::Local,
            slots: slots.unwrap_or(1),
            lzo: false,
            cpp: false,
            down: false,
        };
        let others = list.hosts.iter().filter(|host| !is_here(host));
        [&here]
            .into_iter()
            .chain(others)
            .map(|host| self.host(host))
            .collect()
    }

    fn host(&self, host: &HostSpec) -> HostNow {
        let is_here = host.place == Place::Local;
        let taken = (0..host.slots).filter(|slot| self.slots.is_taken(host, *slot));
        HostNow {
            name: host.token.clone(),
            is_here,
            slots: host.slots,
            taken: taken.collect(),
            jobs: Vec::new(),
            lately: Vec::new(),
            shunned: (!is_here).then(|| self.slots.shunned_for(host)).flatten(),
            is_down: host.down,
        }
    }
}

/// Puts a job where its client says that it is: a state file names a host without its port and options, so of those that
/// have that name one is meant whose slot is taken, and not yet by another client.
fn place(hosts: &mut Vec<HostNow>, record: &Record) {
    if record.phase == Phase::Done {
        return;
    }
    let slot = usize::try_from(record.slot).unwrap_or(0);
    let job = Job {
        pid: record.pid,
        slot,
        phase: record.phase,
        file: shown(&record.file),
        since: record.since,
        age: record.age,
    };
    let name = shown(&record.host);
    let is_meant = |host: &HostNow| bare_name(host) == name;
    let has_slot = |host: &HostNow| host.taken.contains(&slot);
    let has_room = |host: &HostNow| host.jobs.iter().all(|job| job.slot != slot);
    let best = hosts
        .iter()
        .position(|host| is_meant(host) && has_slot(host) && has_room(host));
    let best = best.or_else(|| hosts.iter().position(is_meant));
    match best.and_then(|index| hosts.get_mut(index)) {
        Some(host) => host.jobs.push(job),
        None => hosts.push(HostNow {
            name,
            jobs: vec![job],
            ..HostNow::default()
        }),
    }
}

/// The name in state files of a host of the list.
fn bare_name(host: &HostNow) -> &str {
    if host.is_here {
        return HERE;
    }
    let name = host.name.split('@').next_back().unwrap_or_default();
    match name.strip_prefix('[') {
        Some(address) => address.split(']').next().unwrap_or_default(),
        None => name.split([':', '/', ',']).next().unwrap_or_default(),
    }
}

fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(&printable(name, NAME_BYTES_MAX)).into_owned()
}

/// Counts, and remembers a minute of it.
#[derive(Debug)]
struct Tally {
    begun: Instant,
    count: u64,
    /// Counts at the looks of the last minute, the oldest first.
    past: VecDeque<(Instant, u64)>,
}

impl Tally {
    fn begin(now: Instant) -> Tally {
        Tally {
            begun: now,
            count: 0,
            past: VecDeque::from([(now, 0)]),
        }
    }

    fn add(&mut self, count: u64, now: Instant) -> Finished {
        self.count += count;
        self.past.push_back((now, self.count));
        // One that is older than a minute stays, to count from.
        while self.past.get(1).is_some_and(|(at, _)| now - *at >= LONG) {
            self.past.pop_front();
        }
        Finished {
            count: self.count,
            rates: [SHORT, LONG].map(|over| self.rate(over, now)),
        }
    }

    fn rate(&self, over: Duration, now: Instant) -> f64 {
        let is_old = |look: &&(Instant, u64)| now - look.0 >= over;
        let oldest = self.past.iter().rev().find(is_old);
        let (from, count) = oldest.copied().unwrap_or((self.begun, 0));
        (self.count - count) as f64 / (now - from).as_secs_f64().max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_last_seconds() {
        let begun = Instant::now();
        let at = |seconds: u64| begun + Duration::from_secs(seconds);
        let mut tally = Tally::begin(begun);
        assert_eq!(tally.add(0, at(0)).rates, [0.0, 0.0]);
        // Two a second, and then none.
        for second in 1..=20 {
            tally.add(2, at(second));
        }
        let now = tally.add(0, at(20));
        assert_eq!((now.count, now.rates), (40, [2.0, 2.0]));
        assert_eq!(tally.add(0, at(30)).rates, [0.0, 40.0 / 30.0]);
        assert_eq!(tally.add(0, at(75)).rates[1], 10.0 / 60.0);
        assert_eq!(tally.add(0, at(500)).rates, [0.0, 0.0]);
        assert!(tally.past.len() < 4, "{tally:?}");
    }

    fn host(name: &str, slots: usize, taken: &[usize]) -> HostNow {
        HostNow {
            name: name.to_owned(),
            is_here: name == HERE,
            slots,
            taken: taken.to_vec(),
            ..HostNow::default()
        }
    }

    #[test]
    fn jobs_are_put_where_their_clients_are() {
        let mut hosts = vec![
            host(HERE, 4, &[0]),
            host("a:1/2,lzo", 2, &[0]),
            host("a:2/2,lzo", 2, &[1]),
            host("me@[::1]/3:distccd", 3, &[]),
            host("c:1/2", 2, &[0]),
            host("c:2/2", 2, &[0]),
        ];
        let phase = Phase::Compile;
        for (name, slot) in [
            ("a", 1),
            ("a", 0),
            ("::1", 2),
            (HERE, 0),
            ("c", 0),
            ("c", 0),
            ("b\x1b[2J", -1),
        ] {
            let record = Record {
                pid: 7,
                file: b"x\n.c".to_vec(),
                host: name.into(),
                slot,
                phase,
                since: Duration::ZERO,
                age: None,
            };
            place(&mut hosts, &record);
        }
        let found: Vec<_> = hosts
            .iter()
            .map(|host| {
                (
                    host.name.as_str(),
                    host.jobs.iter().map(|job| job.slot).collect(),
                )
            })
            .collect();
        let expected: [(&str, Vec<usize>); 7] = [
            (HERE, vec![0]),
            ("a:1/2,lzo", vec![0]),
            ("a:2/2,lzo", vec![1]),
            ("me@[::1]/3:distccd", vec![2]),
            ("c:1/2", vec![0]),
            ("c:2/2", vec![0]),
            ("b?[2J", vec![0]),
        ];
        assert_eq!(found, expected);
        assert!(hosts
            .iter()
            .flat_map(|host| &host.jobs)
            .all(|job| job.file == "x?.c"));
    }
}
