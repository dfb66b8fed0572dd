//! One build of a trace in numbers: where its clients' time went, what each host did, how many slots were in use when, what
//! was slow, and what ran here and why. Adds clients up one by one, so that their number does not matter.

use super::tally::size;
use super::trace_events::title;
use super::trace_index::Build;
use crate::model::trace::{Activity, Entry, Mode};
use crate::os::log_json::utc;
use serde_json::{json, Value};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// How many columns a chart has.
const COLUMNS: usize = 60;

/// How many files, and how many reasons, are shown.
const SHOWN_MAX: usize = 10;

/// How many reasons and hosts are told apart: a damaged file could name any number.
const NAMES_MAX: usize = 1000;

/// What stands for all that would be more.
const OTHERS: &str = "(others)";

/// What this machine is called in a trace.
const HERE: &str = "localhost";

/// The heights of a chart's columns.
const HEIGHTS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A build in numbers. Times are in µs.
#[derive(Debug)]
pub struct Summary {
    build: Build,
    elsewhere: u64,
    pumped: u64,
    failed: u64,
    times: BTreeMap<Activity, u64>,
    hosts: BTreeMap<String, HostSum>,
    reasons: BTreeMap<String, (u64, u64)>,
    /// The slowest first.
    slowest: Vec<Slow>,
    /// How long slots of other machines were held, those of this one, and how long clients waited, in each column.
    charts: [Vec<u64>; 3],
}

#[derive(Debug, Default)]
struct HostSum {
    jobs: u64,
    failed: u64,
    /// How often a slot was held for a run whose result is another host's.
    in_vain: u64,
    slots: u32,
    held: u64,
    compiling: u64,
    sent: u64,
    received: u64,
}

#[derive(Debug)]
struct Slow {
    us: u64,
    file: String,
    host: String,
    /// What took longest.
    what: Activity,
    what_us: u64,
}

impl Summary {
    /// Of a build to which no client was added yet.
    pub fn new(build: Build) -> Summary {
        Summary {
            build,
            elsewhere: 0,
            pumped: 0,
            failed: 0,
            times: BTreeMap::new(),
            hosts: BTreeMap::new(),
            reasons: BTreeMap::new(),
            slowest: Vec::new(),
            charts: std::array::from_fn(|_| vec![0; COLUMNS]),
        }
    }

    /// Adds a client of this build.
    pub fn add(&mut self, entry: &Entry) {
        self.elsewhere += u64::from(entry.mode != Mode::Local);
        self.pumped += u64::from(entry.mode == Mode::Pump);
        self.failed += u64::from(entry.status != 0);
        for (what, from, us) in entry.spans() {
            *self.times.entry(what).or_default() += us;
            if matches!(what, Activity::Wait | Activity::WaitHere) {
                self.chart(2, entry.at + from, us);
            }
        }
        self.add_to_hosts(entry);
        if let Some(why) = &entry.why {
            let (count, us) = named(&mut self.reasons, why);
            *count += 1;
            *us += entry.us;
        }
        if entry.src.is_some() {
            self.add_to_slowest(entry);
        }
    }

    fn add_to_hosts(&mut self, entry: &Entry) {
        for held in &entry.held {
            let host = named(&mut self.hosts, &held.0);
            host.slots = host.slots.max(held.1.saturating_add(1));
            host.held += held.3 - held.2;
            host.in_vain += u64::from(held.0 != HERE && held.0 != entry.host);
            let which = usize::from(held.0 == HERE);
            self.chart(which, entry.at + held.2, held.3 - held.2);
        }
        let host = named(&mut self.hosts, &entry.host);
        host.jobs += 1;
        host.failed += u64::from(entry.status != 0);
        let compiles = entry
            .spans()
            .filter(|span| matches!(span.0, Activity::Compile | Activity::Here));
        host.compiling += compiles.map(|span| span.2).sum::<u64>();
        // Nothing is sent to this machine: that was for whoever tried it last.
        let mut tried = entry.held.iter().rev().filter(|held| held.0 != HERE);
        let partner = match entry.host == HERE {
            true => tried.next().map_or(&entry.host, |held| &held.0),
            false => &entry.host,
        };
        let partner = named(&mut self.hosts, partner);
        partner.sent += entry.sent;
        partner.received += entry.received;
    }

    fn add_to_slowest(&mut self, entry: &Entry) {
        let is_slow = |slow: &Slow| slow.us >= entry.us;
        let place = self.slowest.partition_point(is_slow);
        if place >= SHOWN_MAX {
            return;
        }
        let longest = entry.spans().max_by_key(|span| span.2);
        let (what, _, what_us) = longest.unwrap_or((Activity::Start, 0, 0));
        let slow = Slow {
            us: entry.us,
            file: entry.src.clone().unwrap_or_else(|| title(entry).to_owned()),
            host: entry.host.clone(),
            what,
            what_us,
        };
        self.slowest.insert(place, slow);
        self.slowest.truncate(SHOWN_MAX);
    }

    /// Adds a time to the columns that it covers.
    fn chart(&mut self, which: usize, at: u64, us: u64) {
        let width = self.column_us();
        let from = at.saturating_sub(self.build.time.start);
        let end = from.saturating_add(us);
        let Some(columns) = self.charts.get_mut(which) else {
            return;
        };
        let first = usize::try_from(from / width).unwrap_or(usize::MAX);
        for (index, column) in columns.iter_mut().enumerate().skip(first) {
            let begin = index as u64 * width;
            if begin >= end {
                break;
            }
            *column += end.min(begin + width) - from.max(begin);
        }
    }

    /// How much time a column stands for.
    fn column_us(&self) -> u64 {
        self.wall().div_ceil(COLUMNS as u64).max(1)
    }

    fn wall(&self) -> u64 {
        self.build.time.end - self.build.time.start
    }

    /// The build for people.
    pub fn text(&self, number: usize) -> String {
        let mut text = String::new();
        let (start, clients) = (self.build.time.start, self.build.clients);
        let begun = utc((start / 1_000_000) as i64, (start / 1000 % 1000) as u32);
        let here = clients - self.elsewhere.min(clients);
        let (pumped, failed) = (self.pumped, self.failed);
        let _ = writeln!(
            text,
            "build {number}: {begun}, {}; {clients} runs: {} elsewhere ({pumped} in pump mode), {here} here; {failed} failed",
            seconds(self.wall()),
            self.elsewhere
        );
        self.tell_times(&mut text);
        self.tell_charts(&mut text);
        self.tell_hosts(&mut text);
        self.tell_slowest(&mut text);
        self.tell_reasons(&mut text);
        text
    }

    fn tell_times(&self, text: &mut String) {
        let sum: u64 = self.times.values().sum();
        let at_once = sum as f64 / self.wall().max(1) as f64;
        let sum_text = seconds(sum);
        let _ = writeln!(
            text,
            "\n  where the time of the runs went ({sum_text} in all, {at_once:.1} runs at once)"
        );
        for what in Activity::ALL {
            let Some(us) = self.times.get(&what).filter(|us| **us > 0) else {
                continue;
            };
            let share = *us as f64 / sum.max(1) as f64;
            let bar = "#".repeat((share * 40.0).round() as usize);
            let (name, time) = (what.name(), seconds(*us));
            let line = format!("    {name:<20}{time:>10}{:>5.0} %  {bar}", share * 100.0);
            let _ = writeln!(text, "{}", line.trim_end());
        }
    }

    fn tell_charts(&self, text: &mut String) {
        let width = self.column_us();
        let _ = writeln!(
            text,
            "\n  slots in use, and runs that wait, over time (a column is {})",
            seconds(width)
        );
        for (name, columns) in ["elsewhere", "here", "waiting"].iter().zip(&self.charts) {
            let most = columns.iter().copied().max().unwrap_or(0);
            let average = most as f64 / width as f64;
            let is_told = average >= 0.05; // Else "0.0" would stand beside bars.
            let bars = columns
                .iter()
                .map(|column| height(*column * u64::from(is_told), most));
            let _ = writeln!(
                text,
                "    {name:<10}{} {average:.1} at most",
                bars.collect::<String>()
            );
        }
    }

    fn tell_hosts(&self, text: &mut String) {
        let _ = writeln!(
            text,
            "\n  {:<32}{:>7}{:>7}{:>8}{:>7}{:>7}{:>11}{:>10}{:>10}",
            "host", "jobs", "failed", "in vain", "slots", "busy", "a compile", "sent", "received"
        );
        for (name, host) in &self.hosts {
            let could = self.wall().max(1) as f64 * f64::from(host.slots.max(1));
            let _ = writeln!(
                text,
                "  {:<32}{:>7}{:>7}{:>8}{:>7}{:>5.0} %{:>11}{:>10}{:>10}",
                shown(name),
                host.jobs,
                host.failed,
                host.in_vain,
                host.slots,
                host.held as f64 * 100.0 / could,
                seconds(host.compiling / host.jobs.max(1)),
                size(host.sent),
                size(host.received)
            );
        }
    }

    fn tell_slowest(&self, text: &mut String) {
        if self.slowest.is_empty() {
            return;
        }
        let _ = writeln!(text, "\n  slowest files");
        for slow in &self.slowest {
            let _ = writeln!(
                text,
                "  {:>10}  {}, {} ({} {})",
                seconds(slow.us),
                shown(&slow.file),
                shown(&slow.host),
                slow.what.name(),
                seconds(slow.what_us)
            );
        }
    }

    fn tell_reasons(&self, text: &mut String) {
        let reasons = self.most_frequent();
        if reasons.is_empty() {
            return;
        }
        let _ = writeln!(text, "\n  what ran here, and why");
        for (why, (count, us)) in reasons.iter().take(SHOWN_MAX) {
            let _ = writeln!(text, "  {count:>8}{:>10}  {}", seconds(*us), shown(why));
        }
        if reasons.len() > SHOWN_MAX {
            let _ = writeln!(
                text,
                "  {:>8}{:>10}  other reasons",
                reasons.len() - SHOWN_MAX,
                ""
            );
        }
    }

    fn most_frequent(&self) -> Vec<(&String, (u64, u64))> {
        let pairs = self.reasons.iter().map(|(why, sums)| (why, *sums));
        let mut reasons: Vec<_> = pairs.collect();
        reasons.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
        reasons
    }

    /// The build for programs; times in µs.
    pub fn json(&self) -> Value {
        let times = self.times.iter().map(|(what, us)| (key(*what), json!(us)));
        let hosts = self.hosts.iter().map(|(name, host)| {
            json!({
                "host": name, "jobs": host.jobs, "failed": host.failed, "in_vain": host.in_vain,
                "slots": host.slots, "held_us": host.held, "compile_us": host.compiling, "sent": host.sent, "received": host.received,
            })
        });
        let slowest = self.slowest.iter().map(|slow| {
            json!({
                "source": slow.file, "host": slow.host, "us": slow.us, "longest": key(slow.what),
                "longest_us": slow.what_us,
            })
        });
        let reasons = self
            .most_frequent()
            .into_iter()
            .map(|(why, (count, us))| json!({ "why": why, "runs": count, "us": us }));
        let [elsewhere, here, waiting] = &self.charts;
        json!({
            "begin_us": self.build.time.start, "wall_us": self.wall(), "runs": self.build.clients,
            "elsewhere": self.elsewhere, "pumped": self.pumped, "failed": self.failed,
            "times_us": times.collect::<serde_json::Map<_, _>>(), "hosts": hosts.collect::<Vec<_>>(),
            "slowest": slowest.collect::<Vec<_>>(), "here": reasons.collect::<Vec<_>>(),
            "column_us": self.column_us(),
            "columns_us": { "elsewhere": elsewhere, "here": here, "waiting": waiting },
        })
    }
}

/// What is counted under a name; under that of all others if there are very many.
fn named<'m, V: Default>(map: &'m mut BTreeMap<String, V>, name: &str) -> &'m mut V {
    let name = match map.len() >= NAMES_MAX && !map.contains_key(name) {
        true => OTHERS,
        false => name,
    };
    map.entry(name.to_owned()).or_default()
}

/// The name of an activity in a trace.
fn key(what: Activity) -> String {
    let name = serde_json::to_value(what).ok();
    let name = name.and_then(|name| name.as_str().map(str::to_owned));
    name.unwrap_or_default()
}

fn height(value: u64, most: u64) -> char {
    let steps = HEIGHTS.len() as u64 - 1;
    let step = (u128::from(value) * u128::from(steps)).div_ceil(u128::from(most.max(1)));
    HEIGHTS.get(step as usize).copied().unwrap_or('█')
}

fn seconds(us: u64) -> String {
    match us {
        0..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.1} s", us as f64 / 1e6),
    }
}

/// A name that somebody else has written: it may not move the terminal's cursor.
fn shown(name: &str) -> String {
    let seen = |c: char| if c.is_control() { '?' } else { c };
    name.chars().map(seen).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::trace::Held;

    const S: u64 = 1_000_000;

    fn entry(at: u64, us: u64, host: &str, slot: u32) -> Entry {
        Entry {
            at,
            us,
            src: Some(format!("dir/file{us}.c")),
            mode: if host == HERE {
                Mode::Local
            } else {
                Mode::Plain
            },
            host: host.to_owned(),
            phases: vec![(Activity::Wait, 0), (Activity::Compile, us / 4)],
            held: vec![Held(host.to_owned(), slot, us / 4, us)],
            sent: 1000,
            received: 2000,
            ..Entry::default()
        }
    }

    fn summary() -> Summary {
        let mut summary = Summary::new(Build {
            time: 0..60 * S,
            clients: 3,
        });
        summary.add(&entry(0, 60 * S, "alpha/8", 0));
        summary.add(&entry(0, 20 * S, "alpha/8", 3));
        let mut here = entry(40 * S, 20 * S, HERE, 0);
        here.why = Some("called for \x1b[2Jlink".to_owned());
        here.status = 1;
        summary.add(&here);
        summary
    }

    #[test]
    fn numbers_add_up() {
        let json = summary().json();
        assert_eq!(json["times_us"]["wait"], 25 * S);
        assert_eq!(json["times_us"]["compile"], 75 * S);
        assert_eq!(
            (&json["elsewhere"], &json["failed"]),
            (&json!(2), &json!(1))
        );
        let alpha = &json["hosts"][0];
        assert_eq!(alpha["host"], "alpha/8");
        assert_eq!(alpha["slots"], 4);
        assert_eq!(alpha["held_us"], 60 * S);
        assert_eq!(json["slowest"][0]["source"], "dir/file60000000.c");
        // Whatever the columns are, all of the time is in them.
        for (chart, sum) in [("elsewhere", 60), ("here", 15), ("waiting", 25)] {
            let columns = json["columns_us"][chart].as_array().unwrap();
            assert_eq!(columns.len(), COLUMNS);
            let found: u64 = columns.iter().filter_map(Value::as_u64).sum();
            assert_eq!(found, sum * S, "{chart}");
        }
    }

    #[test]
    fn people_see_where_the_time_went() {
        let text = summary().text(1);
        for part in [
            "build 1: 1970-01-01T00:00:00.000Z, 60.0 s; 3 runs: 2 elsewhere (0 in pump mode), 1 here; 1 failed",
            "(100.0 s in all, 1.7 runs at once)",
            "    wait for a slot         25.0 s   25 %  ##########\n",
            "    compile there           75.0 s   75 %  ##############################\n",
            "    here                                                   ███████████████ 1.0 at most\n",
            "  alpha/8                               2      0       0      4   25 %     30.0 s    2.0 kB    4.0 kB\n",
            "      60.0 s  dir/file60000000.c, alpha/8 (compile there 45.0 s)\n",
            "         1    20.0 s  called for ?[2Jlink\n",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    /// A host that refuses is not one of which nothing is known, and what it was sent was not sent to this machine.
    #[test]
    fn tries_in_vain_are_the_hosts() {
        let mut summary = summary();
        let mut here = entry(41 * S, 2 * S, HERE, 0);
        here.held.insert(0, Held("beta/4".to_owned(), 1, 0, S));
        here.held.insert(1, Held("gamma/4".to_owned(), 0, S, 2 * S));
        summary.add(&here);
        let mut elsewhere = entry(42 * S, 2 * S, "alpha/8", 1);
        elsewhere.held.insert(0, Held("beta/4".to_owned(), 0, 0, S));
        summary.add(&elsewhere);
        let json = summary.json();
        let hosts = json["hosts"].as_array().unwrap();
        let of = |name: &str| hosts.iter().find(|host| host["host"] == name).unwrap();
        let numbers = |name: &str| {
            let host = of(name);
            ["jobs", "in_vain", "sent"].map(|what| host[what].as_u64().unwrap())
        };
        assert_eq!(numbers("alpha/8"), [3, 0, 3000]);
        assert_eq!(numbers("beta/4"), [0, 2, 0]);
        assert_eq!(numbers("gamma/4"), [0, 1, 1000]);
        // That run which nobody tried elsewhere has sent what it says.
        assert_eq!(numbers(HERE), [2, 0, 1000]);
    }

    /// Waits of microseconds are in no picture that says "0.0 at most".
    #[test]
    fn what_rounds_to_nothing_has_no_bars() {
        let mut short = summary();
        short.charts[2] = vec![30, 0, 20];
        let line = "waiting 0.0 at most";
        let text = short.text(1);
        let found = text.lines().find(|line| line.starts_with("    waiting"));
        assert!(
            found.is_some_and(|found| found.split_whitespace().eq(line.split_whitespace())),
            "{text}"
        );
    }

    #[test]
    fn a_build_of_no_time_and_very_many_names_are_no_trouble() {
        let mut summary = Summary::new(Build {
            time: 5..5,
            clients: 2000,
        });
        for number in 0..2000 {
            let mut entry = entry(5, 0, &format!("h{number}"), 0);
            entry.why = Some(format!("{number}"));
            summary.add(&entry);
        }
        let json = summary.json();
        assert_eq!(json["hosts"].as_array().unwrap().len(), NAMES_MAX + 1);
        assert_eq!(json["here"].as_array().unwrap().len(), NAMES_MAX + 1);
        assert!(summary.text(1).contains("991  "), "{}", summary.text(1));
    }
}
