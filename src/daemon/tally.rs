//! Numbers about jobs and their adding up: how jobs end, how long they take, and what of that was when. Plain values
//! without locks and clocks.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

/// How many jobs that have ended are remembered at each desk, and told of.
pub const RECENT_MAX: usize = 50;

/// The past is kept in pieces of this length, stock's.
pub const MOMENT: Duration = Duration::from_secs(3);

/// How many pieces: enough for a mean over fifteen minutes that end a minute ago.
pub const MOMENTS: usize = 330;

/// Upper bounds of the pieces of a histogram, in milliseconds; what is beyond the last goes to one without a bound.
pub const BOUNDS_MS: [u64; 16] = [
    1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 120_000, 300_000,
];

/// How a job ended, in stock's classes; but refusals are told from troubles.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// The compiler made what was wanted.
    CompileOk,
    /// The compiler failed.
    CompileError,
    /// The compiler took too long.
    CompileTimeout,
    /// The client went away.
    Disconnected,
    /// That was no request.
    BadRequest,
    /// It was not allowed, or could not be exact here.
    Refused,
    /// Trouble here.
    Other,
}

/// Number of classes.
pub const CLASSES: usize = 7;

impl Class {
    /// All of them, in the order of their numbers.
    pub const ALL: [Class; CLASSES] = [
        Class::CompileOk,
        Class::CompileError,
        Class::CompileTimeout,
        Class::Disconnected,
        Class::BadRequest,
        Class::Refused,
        Class::Other,
    ];

    /// As stock's log has it.
    pub fn name(self) -> &'static str {
        match self {
            Class::CompileOk => "COMPILE_OK",
            Class::CompileError => "COMPILE_ERROR",
            Class::CompileTimeout => "COMPILE_TIMEOUT",
            Class::Disconnected => "CLI_DISCONN",
            Class::BadRequest => "REJ_BAD_REQ",
            Class::Refused | Class::Other => "OTHER",
        }
    }

    /// In words of our own: `ok`, `refused`, …
    pub fn label(self) -> &'static str {
        match self {
            Class::CompileOk => "ok",
            Class::CompileError => "error",
            Class::CompileTimeout => "timeout",
            Class::Disconnected => "disconnected",
            Class::BadRequest => "bad_request",
            Class::Refused => "refused",
            Class::Other => "failed",
        }
    }

    /// Whether a compiler has run for it; stock's numbers of compiles count these.
    fn is_compile(self) -> bool {
        matches!(
            self,
            Class::CompileOk | Class::CompileError | Class::CompileTimeout | Class::Disconnected
        )
    }
}

/// Jobs by class.
pub type Outcomes = [u64; CLASSES];

/// How many events took how long.
#[derive(Clone, Default, Debug)]
pub struct Histogram {
    /// How many fell between each bound and the one before it; the last have no bound.
    pub counts: [u64; BOUNDS_MS.len() + 1],
    /// How long they took together.
    pub sum: Duration,
}

impl Histogram {
    fn add(&mut self, took: Duration) {
        let at = BOUNDS_MS.partition_point(|bound| Duration::from_millis(*bound) < took);
        self.counts[at] += 1;
        self.sum += took;
    }

    fn merge(&mut self, other: &Histogram) {
        for (sum, count) in self.counts.iter_mut().zip(other.counts) {
            *sum += count;
        }
        self.sum += other.sum;
    }
}

/// What happened in one piece of the past.
#[derive(Clone, Copy, Default, Debug)]
pub struct Moment {
    /// How many compiles ended.
    pub ended: u32,
    /// How many milliseconds job slots were busy with what has ended by now.
    pub busy_ms: u32,
}

/// A job that has ended.
#[derive(Clone, Debug)]
pub struct Done {
    /// Its number.
    pub number: u64,
    /// Who asked.
    pub peer: String,
    /// The compiler's name, if that became known.
    pub compiler: String,
    /// The source's name, if that became known.
    pub source: String,
    /// How it ended.
    pub class: Class,
    /// Why it came to nothing, if it did.
    pub why: String,
    /// When it ended.
    pub at: SystemTime,
    /// How long it took from the connection on.
    pub took: Duration,
    /// How long the whole request waited for a slot, if it came so far.
    pub waited: Option<Duration>,
    /// How long a slot worked at it.
    pub worked: Duration,
    /// How long its compiler ran, if one did.
    pub compiled: Option<Duration>,
    /// Bytes of the request.
    pub received: u64,
    /// Bytes of the answer.
    pub sent: u64,
}

/// What was counted at one place.
#[derive(Default, Debug)]
pub struct Tally {
    outcomes: Outcomes,
    received: u64,
    sent: u64,
    waited: Histogram,
    compiled: Histogram,
    took: Histogram,
    /// By the number of a compiler's name.
    compilers: Vec<Outcomes>,
    longest: Option<Longest>,
    recent: VecDeque<Done>,
    /// A ring; each piece with its number since the start.
    past: Vec<(u64, Moment)>,
}

/// The compile that took longest.
#[derive(Clone, Debug)]
pub struct Longest {
    /// How long.
    pub took: Duration,
    /// By which compiler.
    pub compiler: String,
    /// Of which source.
    pub source: String,
}

/// What was counted at all places together.
#[derive(Clone, Default, Debug)]
pub struct Totals {
    /// Jobs by class.
    pub outcomes: Outcomes,
    /// Bytes of requests.
    pub received: u64,
    /// Bytes of answers.
    pub sent: u64,
    /// How long requests waited for a slot.
    pub waited: Histogram,
    /// How long compilers ran.
    pub compiled: Histogram,
    /// How long jobs took from connection to answer.
    pub took: Histogram,
    /// Jobs by compiler and class.
    pub compilers: Vec<(String, Outcomes)>,
    /// The compile that took longest.
    pub longest: Option<Longest>,
    /// The past, the newest piece first; that one is not over.
    pub past: Vec<Moment>,
}

impl Tally {
    /// Counts a job that has ended; `name` is the number of its compiler's name, and `now` the time since counting began.
    pub fn add(&mut self, done: Done, name: Option<usize>, now: Duration) {
        self.count(&done, name);
        self.note(&done, now);
        if self.recent.len() >= RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(done);
    }

    /// The jobs that ended last.
    pub fn recent(&self) -> impl Iterator<Item = &Done> {
        self.recent.iter()
    }

    fn count(&mut self, done: &Done, name: Option<usize>) {
        let class = done.class as usize;
        self.outcomes[class] += 1;
        self.received += done.received;
        self.sent += done.sent;
        self.took.add(done.took);
        if let Some(waited) = done.waited {
            self.waited.add(waited);
        }
        if let Some(compiled) = done.compiled {
            self.compiled.add(compiled);
        }
        if let Some(name) = name {
            if self.compilers.len() <= name {
                self.compilers.resize(name + 1, [0; CLASSES]);
            }
            self.compilers[name][class] += 1;
        }
        let longer = |longest: &Longest| longest.took < done.took;
        if done.class == Class::CompileOk && self.longest.as_ref().is_none_or(longer) {
            self.longest = Some(Longest {
                took: done.took,
                compiler: done.compiler.clone(),
                source: done.source.clone(),
            });
        }
    }

    /// Writes into the past when a slot was busy.
    fn note(&mut self, done: &Done, now: Duration) {
        if self.past.is_empty() {
            self.past = vec![(0, Moment::default()); MOMENTS];
        }
        let newest = moment_of(now);
        self.moment(newest).ended += u32::from(done.class.is_compile());
        let since = now.saturating_sub(done.worked);
        let oldest = moment_of(since).max((newest + 1).saturating_sub(MOMENTS as u64));
        for number in oldest..=newest {
            let begin = since.max(MOMENT * number as u32);
            let end = now.min(MOMENT * (number as u32 + 1));
            self.moment(number).busy_ms += end.saturating_sub(begin).as_millis() as u32;
        }
    }

    fn moment(&mut self, number: u64) -> &mut Moment {
        let (known, moment) = &mut self.past[(number % MOMENTS as u64) as usize];
        if *known != number {
            (*known, *moment) = (number, Moment::default());
        }
        moment
    }
}

impl Totals {
    /// Nothing yet, of compilers with these names.
    pub fn of(names: Vec<String>) -> Totals {
        Totals {
            compilers: names.into_iter().map(|name| (name, [0; CLASSES])).collect(),
            past: vec![Moment::default(); MOMENTS],
            ..Totals::default()
        }
    }

    /// Adds what was counted at one place; `now` is the time since counting began.
    pub fn add(&mut self, tally: &Tally, now: Duration) {
        let now = moment_of(now);
        let add = |sums: &mut Outcomes, counts: &Outcomes| {
            for (sum, count) in sums.iter_mut().zip(counts) {
                *sum += count;
            }
        };
        add(&mut self.outcomes, &tally.outcomes);
        self.received += tally.received;
        self.sent += tally.sent;
        self.waited.merge(&tally.waited);
        self.compiled.merge(&tally.compiled);
        self.took.merge(&tally.took);
        for ((_, sums), counts) in self.compilers.iter_mut().zip(&tally.compilers) {
            add(sums, counts);
        }
        let longest = self.longest.iter().chain(&tally.longest);
        self.longest = longest.max_by_key(|longest| longest.took).cloned();
        for (number, moment) in &tally.past {
            let ago = now.checked_sub(*number).map(|ago| ago as usize);
            if let Some(sum) = ago.and_then(|ago| self.past.get_mut(ago)) {
                sum.ended += moment.ended;
                sum.busy_ms += moment.busy_ms;
            }
        }
    }

    /// How many compiles ended in so many pieces of the past; the one that is not over is left out.
    pub fn ended_within(&self, moments: usize) -> u64 {
        let past = self.past.iter().skip(1).take(moments);
        past.map(|moment| u64::from(moment.ended)).sum()
    }

    /// How many slots were busy on average in so many minutes before the last one.
    pub fn busy_before_last_minute(&self, minutes: usize) -> u64 {
        let minute = 60 / MOMENT.as_secs() as usize;
        let past = self.past.iter().skip(1 + minute).take(minutes * minute);
        let busy: u64 = past.map(|moment| u64::from(moment.busy_ms)).sum();
        busy / (minutes as u64 * 60_000)
    }
}

/// The number of the piece of the past that is at this time.
fn moment_of(time: Duration) -> u64 {
    time.as_secs() / MOMENT.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worked(ms: u64) -> Done {
        Done {
            number: 1,
            peer: String::new(),
            compiler: "gcc".into(),
            source: "x.c".into(),
            class: Class::CompileOk,
            why: String::new(),
            at: SystemTime::now(),
            took: Duration::from_millis(ms),
            waited: None,
            worked: Duration::from_millis(ms),
            compiled: Some(Duration::from_millis(ms)),
            received: 0,
            sent: 0,
        }
    }

    #[test]
    fn the_past_is_told_in_minutes() {
        let mut tally = Tally::default();
        let minutes = |count: u64| Duration::from_secs(60 * count);
        // Busy from minute 1 to minute 4, and told of at the end of minute 5.
        tally.note(&worked(180_000), minutes(4));
        let mut totals = Totals::of(Vec::new());
        totals.add(&tally, minutes(5));
        assert_eq!(totals.busy_before_last_minute(1), 1);
        assert_eq!(totals.busy_before_last_minute(3), 1);
        assert_eq!(totals.busy_before_last_minute(6), 0);
        assert_eq!((totals.ended_within(19), totals.ended_within(20)), (0, 1));
        // Longer than the ring: no more than the ring is written.
        tally.note(&worked(86_400_000), minutes(2000));
        let busy: u64 = tally
            .past
            .iter()
            .map(|(_, moment)| u64::from(moment.busy_ms))
            .sum();
        assert_eq!(busy, (MOMENTS as u64 - 1) * 3000);
    }

    #[test]
    fn bounds_are_inclusive() {
        let mut histogram = Histogram::default();
        for ms in [0, 1, 2, 300_000, 300_001] {
            histogram.add(Duration::from_millis(ms));
        }
        assert_eq!(histogram.counts[..2], [2, 1]);
        assert_eq!(histogram.counts[BOUNDS_MS.len() - 1..], [1, 1]);
    }
}
