//! The statistics page of stock's daemon, for programs that read it: its lines, in its order. What it tells of the machine
//! is looked at when somebody asks, but not more often than matters.

use super::shop::Shop;
use super::tally::{Class, Totals};
use crate::os::machine::{self, Load, Processes};
use crate::os::process::user_id;
use std::fmt::Display;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long what was found out of the machine is believed.
const FRESH: Duration = Duration::from_secs(2);

/// The disks' rate is a mean over at least this time.
const RATE_SPAN: Duration = Duration::from_secs(50);

/// Pieces of the past in one, five and fifteen minutes, without the one that is not over: stock's windows.
const WINDOWS: [usize; 3] = [19, 99, 298];

/// How the machine fares.
#[derive(Clone, Default, Debug)]
pub struct Machine {
    /// Its load.
    pub load: Option<Load>,
    /// Bytes of memory that are to be had.
    pub memory: Option<u64>,
    /// Bytes that can be written to the folder for jobs.
    pub disk: Option<u64>,
    processes: Processes,
    /// Sectors per second.
    disk_rate: Option<u64>,
}

/// Looks at the machine now and then.
#[derive(Default, Debug)]
pub struct Glances {
    last: Mutex<Option<(Instant, Machine)>>,
    sectors: Mutex<Option<(Instant, u64, Option<u64>)>>,
}

impl Glances {
    /// How the machine fares; `folder` is where jobs are. May take some milliseconds.
    pub fn look(&self, folder: &Path) -> Machine {
        // Who else asks meanwhile waits for this answer.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, machine)) = last.as_ref() {
            if at.elapsed() < FRESH {
                return machine.clone();
            }
        }
        let machine = Machine {
            load: machine::load(),
            memory: machine::memory_available(),
            disk: machine::disk_available(folder),
            processes: machine::processes(user_id()),
            disk_rate: self.disk_rate(),
        };
        *last = Some((Instant::now(), machine.clone()));
        machine
    }

    fn disk_rate(&self) -> Option<u64> {
        let mut sectors = self.sectors.lock().unwrap_or_else(PoisonError::into_inner);
        let now = machine::disk_sectors()?;
        match *sectors {
            Some((at, _, rate)) if at.elapsed() < RATE_SPAN => return rate,
            Some((at, before, _)) => {
                let rate = now.wrapping_sub(before) / at.elapsed().as_secs().max(1);
                *sectors = Some((Instant::now(), now, Some(rate)));
            }
            None => *sectors = Some((Instant::now(), now, None)),
        }
        sectors.and_then(|(_, _, rate)| rate)
    }
}

/// The whole page.
pub fn text(shop: &Shop, machine: &Machine) -> String {
    let totals = shop.statistics.totals();
    let mut page = Page("argv /distccd\n<distccstats>\n".to_owned());
    page.counts(shop, &totals);
    page.machine(&totals, machine);
    page.0.push_str("</distccstats>\n");
    page.0
}

struct Page(String);

impl Page {
    fn line(&mut self, name: &str, value: impl Display) {
        self.0.push_str(&format!("dcc_{name} {value}\n"));
    }

    fn counts(&mut self, shop: &Shop, totals: &Totals) {
        let count = |class: Class| totals.outcomes[class as usize];
        self.line("tcp_accept", shop.statistics.connections());
        self.line("rej_bad_req", count(Class::BadRequest));
        self.line("rej_overload", 0);
        self.line("compile_ok", count(Class::CompileOk));
        self.line("compile_error", count(Class::CompileError));
        self.line("compile_timeout", count(Class::CompileTimeout));
        self.line("cli_disconnect", count(Class::Disconnected));
        self.line("other", count(Class::Refused) + count(Class::Other));
        let longest = totals.longest.as_ref();
        let one_line = |name: &str| name.replace(char::is_control, "?");
        let none = || "none".to_owned();
        self.line(
            "longest_job",
            longest.map_or_else(none, |job| one_line(&job.source)),
        );
        self.line(
            "longest_job_compiler",
            longest.map_or_else(none, |job| one_line(&job.compiler)),
        );
        self.line(
            "longest_job_time_msecs",
            longest.map_or(-1, |job| job.took.as_millis() as i64),
        );
        self.line("max_kids", shop.config().jobs);
        for (at, minutes) in [1, 5, 15].into_iter().enumerate() {
            self.line(
                &format!("avg_kids{}", at + 1),
                totals.busy_before_last_minute(minutes),
            );
        }
    }

    fn machine(&mut self, totals: &Totals, machine: &Machine) {
        let runnable = machine
            .load
            .as_ref()
            .map_or(-1, |load| load.runnable as i64);
        self.line("current_load", runnable);
        let means = machine.load.as_ref().map_or([-1.0; 3], |load| load.means);
        for (at, mean) in means.into_iter().enumerate() {
            self.line(&format!("load{}", at + 1), format_args!("{mean:.2}"));
        }
        for (at, moments) in WINDOWS.into_iter().enumerate() {
            self.line(
                &format!("num_compiles{}", at + 1),
                totals.ended_within(moments),
            );
        }
        self.line("num_procstate_D", machine.processes.waiting_for_disk);
        let (kib, name) = machine
            .processes
            .largest
            .clone()
            .unwrap_or((0, "none".to_owned()));
        self.line("max_RSS", kib);
        self.line(
            "max_RSS_name",
            format_args!("({})", name.replace(char::is_control, "?")),
        );
        self.line("io_rate", machine.disk_rate.map_or(-1, |rate| rate as i64));
        let mib = |bytes: Option<u64>| bytes.map_or(-1, |bytes| (bytes >> 20) as i64);
        self.line("free_space", format_args!("{} MB", mib(machine.disk)));
        self.line("free_mem", format_args!("{} MB", mib(machine.memory)));
    }
}
