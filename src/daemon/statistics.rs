//! What the daemon does and has done, in numbers. Each job slot counts at a desk of its own, so that none waits for
//! another; whoever asks adds them up. Knows nothing of how the numbers are shown.

use super::tally::{Done, Tally, Totals, RECENT_MAX};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

/// How many compilers are told apart; the names come from clients. The others are counted together.
const NAMES_MAX: usize = 32;

/// What the compilers beyond that are called.
const OTHER_NAMES: &str = "other";

/// Of a name that a client sent, and of a reason, so many bytes are kept.
const NAME_BYTES_MAX: usize = 256;

/// A job that a slot works at.
#[derive(Clone, Debug)]
pub struct Running {
    /// Its number.
    pub number: u64,
    /// Who asked.
    pub peer: String,
    /// The compiler's name, once it is known.
    pub compiler: String,
    /// The source's name, once it is known.
    pub source: String,
    /// When a slot took it.
    pub begun: Instant,
    /// Whether the compiler has been started.
    pub compiles: bool,
}

/// Where one thread counts.
#[derive(Debug)]
pub struct Desk {
    all: Arc<Shared>,
    state: Mutex<State>,
}

#[derive(Default, Debug)]
struct State {
    tally: Tally,
    running: Option<Running>,
}

#[derive(Debug)]
struct Shared {
    begun: Instant,
    names: RwLock<Vec<String>>,
    open: AtomicUsize,
    waiting: AtomicUsize,
}

/// A connection that is open.
#[derive(Debug)]
pub struct Connection {
    all: Arc<Shared>,
    number: u64,
}

impl Connection {
    /// The number of the job that may come of it.
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.all.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A whole request that waits for a slot.
#[derive(Debug)]
pub struct Waiting {
    all: Arc<Shared>,
    since: Instant,
}

impl Waiting {
    /// It waits no more; for how long it has.
    pub fn over(self) -> Duration {
        self.since.elapsed()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.all.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All that is counted.
#[derive(Debug)]
pub struct Statistics {
    shared: Arc<Shared>,
    desks: RwLock<Vec<Arc<Desk>>>,
    began_at: SystemTime,
    numbers: AtomicU64,
    refused: AtomicU64,
}

impl Default for Statistics {
    fn default() -> Statistics {
        Statistics {
            shared: Arc::new(Shared {
                begun: Instant::now(),
                names: RwLock::default(),
                open: AtomicUsize::new(0),
                waiting: AtomicUsize::new(0),
            }),
            desks: RwLock::default(),
            began_at: SystemTime::now(),
            numbers: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }
}

impl Statistics {
    /// A desk that nobody else has: one that was left, or a new one.
    pub fn desk(&self) -> Arc<Desk> {
        let mut desks = self.desks.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(desk) = desks.iter().find(|desk| Arc::strong_count(desk) == 1) {
            return desk.clone();
        }
        let desk = Arc::new(Desk {
            all: self.shared.clone(),
            state: Mutex::default(),
        });
        desks.push(desk.clone());
        desk
    }

    /// Somebody has connected.
    pub fn connected(&self) -> Connection {
        self.shared.open.fetch_add(1, Ordering::Relaxed);
        Connection {
            all: self.shared.clone(),
            number: self.numbers.fetch_add(1, Ordering::Relaxed) + 1,
        }
    }

    /// Somebody who may not connect was sent away.
    pub fn refused(&self) {
        self.numbers.fetch_add(1, Ordering::Relaxed);
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// A whole request begins to wait for a slot.
    pub fn queued(&self) -> Waiting {
        self.shared.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting {
            all: self.shared.clone(),
            since: Instant::now(),
        }
    }

    /// Connections so far, those that were sent away included.
    pub fn connections(&self) -> u64 {
        self.numbers.load(Ordering::Relaxed)
    }

    /// Connections that were sent away.
    pub fn connections_refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Connections that are open.
    pub fn connections_open(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// Whole requests that wait for a slot.
    pub fn waiting(&self) -> usize {
        self.shared.waiting.load(Ordering::Relaxed)
    }

    /// When counting began.
    pub fn began_at(&self) -> SystemTime {
        self.began_at
    }

    fn desks(&self) -> Vec<Arc<Desk>> {
        let desks = self.desks.read().unwrap_or_else(PoisonError::into_inner);
        desks.clone()
    }

    /// What the slots are at, the oldest job first.
    pub fn running(&self) -> Vec<Running> {
        let desks = self.desks();
        let running = desks.iter().filter_map(|desk| desk.lock().running.clone());
        let mut running: Vec<Running> = running.collect();
        running.sort_by_key(|job| job.begun);
        running
    }

    /// The jobs that ended last, the newest first.
    pub fn recent(&self) -> Vec<Done> {
        let mut recent: Vec<Done> = Vec::new();
        for desk in self.desks() {
            recent.extend(desk.lock().tally.recent().cloned());
        }
        recent.sort_by_key(|done| std::cmp::Reverse((done.at, done.number)));
        recent.truncate(RECENT_MAX);
        recent
    }

    /// All that was counted.
    pub fn totals(&self) -> Totals {
        let names = self.shared.names.read();
        let names = names.unwrap_or_else(PoisonError::into_inner).clone();
        let now = self.shared.begun.elapsed();
        let mut totals = Totals::of(names);
        for desk in self.desks() {
            totals.add(&desk.lock().tally, now);
        }
        totals.compilers.sort();
        totals
    }
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing is left half done by a panic: the numbers are numbers still.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A slot takes a job.
    pub fn begin(&self, number: u64, peer: &str) {
        self.lock().running = Some(Running {
            number,
            peer: peer.to_owned(),
            compiler: String::new(),
            source: String::new(),
            begun: Instant::now(),
            compiles: false,
        });
    }

    /// What is to be compiled is known, or the compiler is started.
    pub fn tell(&self, compiler: &str, source: &str, compiles: bool) {
        if let Some(running) = &mut self.lock().running {
            running.compiler = kept(compiler);
            running.source = kept(source);
            running.compiles = compiles;
        }
    }

    /// The slot has no job any more, whatever is still to come of it.
    pub fn clear(&self) {
        self.lock().running = None;
    }

    /// A job has ended.
    pub fn ended(&self, mut done: Done) {
        done.compiler = kept(&done.compiler);
        done.source = kept(&done.source);
        done.why = kept(&done.why);
        // Only what has run is told apart: any other name is a client's invention.
        let ran = done.compiled.is_some();
        let name = ran.then(|| self.all.name_number(&done.compiler));
        let now = self.all.begun.elapsed();
        let mut state = self.lock();
        state.tally.add(done, name, now);
        state.running = None;
    }
}

impl Shared {
    /// The number of a compiler's name, without its folder; as long as there is room, a new one gets one.
    fn name_number(&self, compiler: &str) -> usize {
        let name = compiler.rsplit('/').next().unwrap_or(compiler);
        let position = |names: &[String]| names.iter().position(|known| known == name);
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = position(&names) {
            return known;
        }
        drop(names);
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = position(&names) {
            return known;
        }
        if names.len() < NAMES_MAX {
            let is_last = names.len() + 1 == NAMES_MAX;
            names.push(if is_last { OTHER_NAMES } else { name }.to_owned());
        }
        names.len() - 1
    }
}

/// The name, not longer than what is kept.
fn kept(name: &str) -> String {
    let mut end = name.len().min(NAME_BYTES_MAX);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::tally::{Class, CLASSES};
    use super::*;

    fn done(class: Class, compiler: &str, ms: u64) -> Done {
        Done {
            number: ms,
            peer: "127.0.0.1:1".into(),
            compiler: compiler.into(),
            source: format!("{ms}.c"),
            class,
            why: String::new(),
            at: SystemTime::now(),
            took: Duration::from_millis(ms),
            waited: Some(Duration::ZERO),
            worked: Duration::from_millis(ms),
            compiled: Some(Duration::from_millis(ms)),
            received: 10,
            sent: 20,
        }
    }

    #[test]
    fn desks_add_up() {
        let statistics = Statistics::default();
        let desks = [statistics.desk(), statistics.desk()];
        desks[0].ended(done(Class::CompileOk, "gcc", 30));
        desks[1].ended(done(Class::CompileOk, "/usr/bin/gcc", 40));
        desks[1].ended(done(Class::CompileError, "clang", 5000));
        desks[1].ended(done(Class::BadRequest, "", 0));
        let totals = statistics.totals();
        assert_eq!(totals.outcomes, [2, 1, 0, 0, 1, 0, 0]);
        assert_eq!((totals.received, totals.sent), (40, 80));
        let mut gcc = [0; CLASSES];
        gcc[0] = 2;
        assert!(totals.compilers.contains(&("gcc".to_owned(), gcc)));
        assert_eq!(
            totals.longest.map(|longest| longest.source),
            Some("40.c".into())
        );
        assert_eq!(totals.compiled.counts[4], 2, "{:?}", totals.compiled);
        assert_eq!(totals.compiled.sum, Duration::from_millis(5070));
        assert_eq!(statistics.recent().len(), 4);
    }

    #[test]
    fn a_desk_that_was_left_is_used_again_and_keeps_its_numbers() {
        let statistics = Statistics::default();
        let desk = statistics.desk();
        desk.ended(done(Class::CompileOk, "gcc", 1));
        drop(desk);
        statistics.desk().ended(done(Class::CompileOk, "gcc", 1));
        assert_eq!(statistics.desks().len(), 1);
        assert_eq!(statistics.totals().outcomes[0], 2);
    }

    #[test]
    fn what_clients_send_takes_bounded_memory() {
        let statistics = Statistics::default();
        let desk = statistics.desk();
        for number in 0..200 {
            desk.ended(done(
                Class::Refused,
                &format!("cc{number}{}", "é".repeat(999)),
                1,
            ));
        }
        let totals = statistics.totals();
        assert_eq!(totals.compilers.len(), NAMES_MAX);
        let mut others = [0; CLASSES];
        others[Class::Refused as usize] = 200 - (NAMES_MAX as u64 - 1);
        assert!(totals.compilers.contains(&(OTHER_NAMES.to_owned(), others)));
        let recent = statistics.recent();
        assert_eq!(recent.len(), RECENT_MAX);
        assert!(recent
            .iter()
            .all(|done| done.compiler.len() <= NAME_BYTES_MAX));
    }

    #[test]
    fn what_runs_is_seen_until_it_ends() {
        let statistics = Statistics::default();
        let desk = statistics.desk();
        desk.begin(7, "peer");
        desk.tell("gcc", "x.c", true);
        let running = statistics.running();
        assert_eq!((running[0].number, running[0].source.as_str()), (7, "x.c"));
        desk.ended(done(Class::CompileOk, "gcc", 1));
        assert!(statistics.running().is_empty());
    }
}
