//! `lsdistcc`: which hosts have a daemon that answers. Looks names up and asks hosts in threads, prints each as soon as
//! it is known, and stops when the time is over, whatever is still under way.

use super::lsdistcc_options::{self as options, Options, Target, Targets, PORT, USAGE};
use super::output::status_of;
use super::probe::{Answer, Probe, TestCompile};
use crate::farm::topdir::TopDir;
use crate::model::error::{Code, Error, Result, Status};
use crate::model::hosts::DISCOVERED;
use crate::model::settings::ClientSettings;
use crate::model::wire::Version;
use crate::os::logging;
use crate::os::names;
use env_logger::Target as LogTarget;
use log::LevelFilter;
use std::collections::{BTreeMap, VecDeque};
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// How many hosts are asked at once.
const PROBES_MAX: usize = 256;

/// How many names of a list are looked up at once. Those of a format are looked up a few ahead only, see `-o`.
const LOOKUPS_MAX: usize = 32;

/// How often a name is looked up while no answer comes.
const TRIES_MAX: u32 = 5;

/// Enough for the resolver and whatever the system has plugged into it.
const STACK_BYTES: usize = 512 << 10;

/// An hour: when nothing has to be done at a certain time.
const NO_HURRY: Duration = Duration::from_secs(3600);

/// `lsdistcc [OPTION…] [FORMAT | HOST…]`; all words, the first is the program's name.
pub fn lsdistcc(argv: Vec<OsString>) -> Result<Status> {
    let words = argv.get(1..).unwrap_or_default();
    let (options, operands) = match options::parse(words) {
        Ok(parsed) => parsed,
        Err(fault) => {
            // Who asks for help has made no mistake. The usage goes where stock's goes.
            if !words.iter().any(|word| word == "--help") {
                let _ = writeln!(io::stderr(), "lsdistcc: {fault}");
            }
            let _ = io::stdout().write_all(USAGE.as_bytes());
            return Ok(Status(1));
        }
    };
    let level = match options.verbosity {
        0 => LevelFilter::Warn,
        1 => LevelFilter::Info,
        _ => LevelFilter::Debug,
    };
    logging::init("lsdistcc", level, LogTarget::Stderr);
    let domain = match options.domain {
        true => Some(domain()?),
        false => None,
    };
    let operands = with_found(operands)?;
    let targets = Targets::new(&operands, options.port, domain);
    Search::new(options, targets)?.run()
}

/// The operands, with what was found on the local network in the place of the word for that.
fn with_found(operands: &[OsString]) -> Result<Vec<OsString>> {
    let mut words = Vec::new();
    for operand in operands {
        if operand != DISCOVERED {
            words.push(operand.clone());
            continue;
        }
        let settings = ClientSettings::read(|name| env::var_os(name))?;
        let list = TopDir::find(&settings)?.found_hosts()?;
        words.extend(list.iter().map(|host| OsString::from(&host.token)));
    }
    Ok(words)
}

/// The domain of this machine: of the longer of HOST and HOSTNAME, of its name, or what its resolver adds to names.
fn domain() -> Result<String> {
    let of = |name: &str| {
        let (_, domain) = name.trim().trim_end_matches('.').split_once('.')?;
        Some(domain.to_owned()).filter(|domain| !domain.is_empty())
    };
    let named = ["HOST", "HOSTNAME"]
        .iter()
        .filter_map(|variable| env::var(variable).ok())
        .filter(|name| of(name).is_some())
        .max_by_key(String::len);
    let read = |path: &str| fs::read_to_string(path).ok();
    let found = named
        .and_then(|name| of(&name))
        .or_else(|| of(&read("/proc/sys/kernel/hostname")?))
        .or_else(|| searched(&read("/etc/resolv.conf")?));
    found.ok_or_else(|| {
        Error::new(
            Code::Failed,
            "-d: this machine has no domain; set HOSTNAME to its full name, or write names out",
        )
    })
}

/// The domain that a resolv.conf names first.
fn searched(resolv_conf: &str) -> Option<String> {
    resolv_conf.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let is_named = matches!(words.next()?, "domain" | "search");
        let domain = words.next().filter(|_| is_named)?.trim_matches('.');
        Some(domain.to_owned()).filter(|domain| !domain.is_empty())
    })
}

/// What a thread has to tell.
enum Event {
    /// What a name stands for; the number is that of the lookup.
    Resolved(usize, io::Result<Vec<SocketAddr>>),
    /// What a host says.
    Asked(Target, Option<Answer>),
}

/// A name that is being looked up.
struct Lookup {
    target: Target,
    asked: Instant,
    tries: u32,
}

struct Search {
    options: Options,
    probe: Arc<Probe>,
    targets: Targets,
    sender: Sender<Event>,
    receiver: Receiver<Event>,
    /// By number, so in the order of the names.
    lookups: BTreeMap<usize, Lookup>,
    lookups_begun: usize,
    /// Known, but not yet asked.
    ready: VecDeque<(Target, Vec<SocketAddr>)>,
    probes: usize,
    /// Names without an address.
    misses: usize,
    /// Address of the first host, for `-m`.
    first: Option<IpAddr>,
    up: usize,
}

impl Search {
    fn new(options: Options, targets: Targets) -> Result<Search> {
        let (sender, receiver) = mpsc::channel();
        let compile = match (&options.compiler, options.compile) {
            (Some(compiler), Some(time)) => {
                Some(TestCompile::new(compiler, options.version, time)?)
            }
            _ => None,
        };
        let probe = Probe {
            connect_timeout: options.connect,
            compile,
        };
        Ok(Search {
            options,
            probe: Arc::new(probe),
            targets,
            sender,
            receiver,
            lookups: BTreeMap::new(),
            lookups_begun: 0,
            ready: VecDeque::new(),
            probes: 0,
            misses: 0,
            first: None,
            up: 0,
        })
    }

    /// Asks all until they have answered or the time is over. It is a success if one is up.
    fn run(mut self) -> Result<Status> {
        let begun = Instant::now();
        loop {
            self.start()?;
            let left = match self.options.time {
                Some(time) => time.saturating_sub(begun.elapsed()),
                None => NO_HURRY,
            };
            let is_done = self.lookups.is_empty() && self.ready.is_empty() && self.probes == 0;
            if is_done || left.is_zero() {
                return Ok(Status(u8::from(self.up == 0)));
            }
            match self.receiver.recv_timeout(left.min(self.until_next_try())) {
                Ok(Event::Resolved(number, result)) => self.resolved(number, result),
                Ok(Event::Asked(target, answer)) => {
                    let printed = status_of(self.asked(&target, answer))?;
                    if printed != Status::OK {
                        return Ok(printed);
                    }
                }
                Err(_) => self.ask_again()?,
            }
        }
    }

    /// Begins as many lookups and probes as may be.
    fn start(&mut self) -> Result<()> {
        let made_up = self.targets.are_made_up();
        let lookups_max = match made_up {
            true => self.options.ahead.saturating_add(1).min(PROBES_MAX),
            false => LOOKUPS_MAX,
        };
        while self.lookups.len() < lookups_max && self.ready.len() < PROBES_MAX {
            if made_up && self.misses > self.options.gaps {
                break;
            }
            let Some(target) = self.targets.next() else {
                break;
            };
            match target.literal {
                Some(ip) => {
                    let address = SocketAddr::new(ip, target.port);
                    self.found(target, vec![address]);
                }
                None if !target.is_name() => self.no_host(&target),
                None => self.look_up(target)?,
            }
        }
        while self.probes < PROBES_MAX {
            let Some((target, addresses)) = self.ready.pop_front() else {
                break;
            };
            log::info!("asking {}", target.name);
            self.probes += 1;
            let probe = self.probe.clone();
            self.spawn(move || Event::Asked(target, probe.ask(&addresses)))?;
        }
        Ok(())
    }

    fn look_up(&mut self, target: Target) -> Result<()> {
        log::info!("looking up {}", target.name);
        let lookup = Lookup {
            target,
            asked: Instant::now(),
            tries: 1,
        };
        self.lookups_begun += 1;
        self.resolve(self.lookups_begun, &lookup.target)?;
        self.lookups.insert(self.lookups_begun, lookup);
        Ok(())
    }

    fn resolve(&self, number: usize, target: &Target) -> Result<()> {
        let (name, port) = (target.name.clone(), target.port);
        self.spawn(move || Event::Resolved(number, names::addresses(&name, port)))
    }

    /// Runs a task beside. What it has to tell when the time is over, nobody hears.
    fn spawn(&self, task: impl FnOnce() -> Event + Send + 'static) -> Result<()> {
        let sender = self.sender.clone();
        let run = move || drop(sender.send(task()));
        match thread::Builder::new().stack_size(STACK_BYTES).spawn(run) {
            Ok(_) => Ok(()),
            Err(err) => Err(Error::new(
                Code::OutOfMemory,
                format!("start a thread: {err}"),
            )),
        }
    }

    /// Until an answer to a lookup is overdue.
    fn until_next_try(&self) -> Duration {
        let asked = self.lookups.values().map(|lookup| lookup.asked).min();
        asked.map_or(NO_HURRY, |asked| {
            self.options.ask_again.saturating_sub(asked.elapsed())
        })
    }

    /// Repeats questions to which no answer has come, and at last gives up.
    fn ask_again(&mut self) -> Result<()> {
        let now = Instant::now();
        let due: Vec<usize> = self
            .lookups
            .iter()
            .filter(|(_, lookup)| lookup.asked + self.options.ask_again <= now)
            .map(|(number, _)| *number)
            .collect();
        for number in due {
            let Some(lookup) = self.lookups.get_mut(&number) else {
                continue;
            };
            if lookup.tries >= TRIES_MAX {
                self.resolved(number, Err(io::ErrorKind::TimedOut.into()));
                continue;
            }
            lookup.tries += 1;
            lookup.asked = now;
            let target = lookup.target.clone();
            log::info!("looking up {} again", target.name);
            self.resolve(number, &target)?;
        }
        Ok(())
    }

    fn resolved(&mut self, number: usize, result: io::Result<Vec<SocketAddr>>) {
        // Another question for this name has been answered before.
        let Some(Lookup { target, .. }) = self.lookups.remove(&number) else {
            return;
        };
        match result {
            Ok(addresses) => self.found(target, addresses),
            Err(err) => self.missed(&target, &err.to_string()),
        }
    }

    fn found(&mut self, target: Target, mut addresses: Vec<SocketAddr>) {
        log::debug!("{} is {addresses:?}", target.name);
        let Some(any) = addresses.first() else {
            return self.missed(&target, "it has no address");
        };
        let first = *self.first.get_or_insert(any.ip());
        addresses.retain(|address| are_near(first, address.ip(), self.options.same_bits));
        match addresses.is_empty() {
            true => self.missed(&target, "it is in another network than the first host"),
            false => self.ready.push_back((target, addresses)),
        }
    }

    fn no_host(&mut self, target: &Target) {
        self.misses += 1;
        log::warn!(
            "'{}' is no host that can be asked; one is written NAME, NAME:PORT, NAME/LIMIT or NAME:PORT/LIMIT",
            target.name
        );
    }

    fn missed(&mut self, target: &Target, why: &str) {
        self.misses += 1;
        log::info!("{} not found: {why}", target.name);
    }

    fn asked(&mut self, target: &Target, answer: Option<Answer>) -> io::Result<()> {
        self.probes -= 1;
        let Some(answer) = answer else { return Ok(()) };
        match &answer.trouble {
            Some(err) => log::info!("{} is down: {err}", target.name),
            None => self.up += 1,
        }
        if answer.trouble.is_none() || self.options.also_down {
            let line = line(&self.options, target, &answer);
            let mut out = io::stdout().lock();
            out.write_all(line.as_bytes())?;
            out.flush()?;
        }
        Ok(())
    }
}

/// Whether two addresses begin with the same bits; those of IPv4 and IPv6 never do, unless none count.
fn are_near(one: IpAddr, other: IpAddr, bits: u32) -> bool {
    let differing = match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
        _ => 0,
    };
    let width = if one.is_ipv4() { 32 } else { 128 };
    differing >= bits.min(width) || bits == 0
}

/// `NAME[:PORT][/LIMIT][,lzo[,cpp]][,down][ MS]`: a word for a host list, and how long it took.
fn line(options: &Options, target: &Target, answer: &Answer) -> String {
    let ip = answer.address.ip().to_canonical();
    let shown = match options.numeric {
        true => Some(ip),
        false => target.literal,
    };
    let mut line = match shown {
        Some(IpAddr::V6(ip)) => format!("[{ip}]"),
        Some(IpAddr::V4(ip)) => ip.to_string(),
        None => target.name.clone(),
    };
    if target.port != PORT {
        line.push_str(&format!(":{}", target.port));
    }
    if let Some(limit) = target.limit {
        line.push_str(&format!("/{limit}"));
    }
    line.push_str(match options.version {
        Version::V1 => "",
        Version::V2 => ",lzo",
        Version::V3 => ",lzo,cpp",
    });
    if answer.trouble.is_some() {
        line.push_str(",down");
    }
    if let Some(latency) = answer.latency.filter(|_| options.latency) {
        line.push_str(&format!(" {}", latency.as_millis()));
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn near_is_a_matter_of_the_first_bits() {
        for (one, other, bits, near) in [
            ("10.0.0.1", "10.0.0.2", 24, true),
            ("10.0.0.1", "10.0.1.2", 24, false),
            ("10.0.0.1", "10.0.1.2", 0, true),
            ("10.0.0.1", "10.0.0.2", 32, false),
            ("10.0.0.1", "10.0.0.1", 99, true),
            ("10.0.0.1", "::1", 0, true),
            ("10.0.0.1", "::1", 1, false),
            ("fd00::1", "fd00::2", 64, true),
            ("fd00::1", "fd00:1::2", 64, false),
        ] {
            let found = are_near(one.parse().unwrap(), other.parse().unwrap(), bits);
            assert_eq!(found, near, "{one} {other} {bits}");
        }
    }

    #[test]
    fn lines_are_words_for_a_host_list() {
        let shown = |letters: &str, word: &str, address: &str, is_up: bool| {
            let words = [letters, word].map(OsString::from);
            let (options, operands) = options::parse(&words).unwrap();
            let target = Targets::new(operands, PORT, None).next().unwrap();
            let answer = Answer {
                address: address.parse().unwrap(),
                latency: Some(Duration::from_micros(12_900)),
                trouble: (!is_up).then(|| Error::new(Code::Failed, "x")),
            };
            line(&options, &target, &answer)
        };
        assert_eq!(shown("-v", "a", "10.0.0.1:3632", true), "a\n");
        assert_eq!(shown("-n", "a", "10.0.0.1:3632", true), "10.0.0.1\n");
        assert_eq!(shown("-n", "a:80", "[::1]:80", true), "[::1]:80\n");
        assert_eq!(shown("-P2", "::1", "[::1]:3632", true), "[::1],lzo\n");
        assert_eq!(shown("-P2", "a:80/4", "10.0.0.1:80", true), "a:80/4,lzo\n");
        assert_eq!(shown("-n", "::1/4", "[::1]:3632", true), "[::1]/4\n");
        assert_eq!(
            shown("-lP3", "a", "10.0.0.1:1", false),
            "a,lzo,cpp,down 12\n"
        );
    }

    #[test]
    fn a_domain_may_come_from_the_resolver() {
        let conf = "# x\nnameserver 10.0.0.1\nsearch b.c d.e\n";
        assert_eq!(searched(conf), Some("b.c".into()));
        assert_eq!(searched("search .\nnameserver x"), None);
    }
}
