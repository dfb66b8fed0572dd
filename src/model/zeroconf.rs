//! How daemons tell of themselves on the local network, in stock's words: names of services, what their records hold, and
//! what a record means as a line of a host list.

use super::hosts::SLOTS_MAX;
use std::net::IpAddr;

/// The service of all daemons.
pub const SERVICE: &str = "_distcc._tcp.local.";

/// Longest label of a name.
const LABEL_BYTES_MAX: usize = 63;

/// A compiler's machine and version are told up to this length.
const FACT_BYTES_MAX: usize = 52;

/// Jobs on a host that does not tell how many it takes.
const JOBS_DEFAULT: usize = 4;

/// What `cc` says of itself; clients look for daemons whose `cc` says the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Compiler {
    /// By `-dumpmachine`.
    pub machine: String,
    /// By `-dumpversion`.
    pub version: String,
}

impl Compiler {
    /// The service by which stock's clients look for daemons that have this compiler.
    pub fn service(&self) -> String {
        let word = |text: &str| {
            text.chars()
                .map(|c| match c.to_ascii_lowercase() {
                    c @ ('a'..='z' | '0'..='9') => c,
                    _ => '-',
                })
                .collect::<String>()
        };
        let label = format!("_{}--{}", word(&self.machine), word(&self.version));
        match label.len() <= LABEL_BYTES_MAX {
            true => format!("{label}._sub.{SERVICE}"),
            false => SERVICE.to_owned(),
        }
    }

    /// Whether a daemon that tells this has it.
    pub fn is_told(&self, machine: Option<&str>, version: Option<&str>) -> bool {
        machine == Some(cut(&self.machine)) && version == Some(cut(&self.version))
    }
}

/// A fact as far as it is told.
fn cut(text: &str) -> &str {
    match text.char_indices().nth(FACT_BYTES_MAX) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

/// What a daemon tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offer<'o> {
    /// Its processors.
    pub cpus: usize,
    /// Jobs at once.
    pub jobs: usize,
    /// Its version.
    pub version: &'o str,
    /// What it was built for.
    pub built_for: &'o str,
    /// Its compiler, if it has one.
    pub compiler: Option<&'o Compiler>,
}

impl Offer<'_> {
    /// Names and values, in stock's order.
    pub fn records(&self) -> Vec<(&'static str, String)> {
        let mut records = vec![
            ("txtvers", "1".to_owned()),
            ("cpus", self.cpus.to_string()),
            ("jobs", self.jobs.to_string()),
            ("distcc", self.version.to_owned()),
            ("gnuhost", self.built_for.to_owned()),
        ];
        if let Some(compiler) = self.compiler {
            records.push(("cc_version", cut(&compiler.version).to_owned()));
            records.push(("cc_machine", cut(&compiler.machine).to_owned()));
        }
        records
    }
}

/// How many jobs a daemon takes that tells these two values.
pub fn jobs(jobs: Option<&str>, cpus: Option<&str>) -> usize {
    let number = |text: &str| text.parse().ok().filter(|number| *number >= 1);
    let by_cpus = || {
        cpus.and_then(number)
            .map(|cpus: usize| cpus.saturating_add(2))
    };
    let jobs = match jobs {
        None => JOBS_DEFAULT,
        Some(jobs) => number(jobs).or_else(by_cpus).unwrap_or(JOBS_DEFAULT),
    };
    jobs.min(SLOTS_MAX)
}

/// A host as a word of a host list; `scope` is the interface of an address that needs one.
pub fn host(address: IpAddr, scope: Option<&str>, port: u16, jobs: usize) -> String {
    match (address, scope) {
        (IpAddr::V4(address), _) => format!("{address}:{port}/{jobs}"),
        (IpAddr::V6(address), None) => format!("[{address}]:{port}/{jobs}"),
        (IpAddr::V6(address), Some(scope)) => format!("[{address}%{scope}]:{port}/{jobs}"),
    }
}

/// How little an address is wanted: one of IPv4 rather than of IPv6, and one that only means something on its link last.
pub fn reluctance(address: IpAddr) -> u8 {
    match address {
        _ if address.is_loopback() || address.is_unspecified() || address.is_multicast() => 9,
        IpAddr::V4(address) if address.is_link_local() => 2,
        IpAddr::V4(_) => 0,
        IpAddr::V6(address) if address.segments()[0] & 0xffc0 == 0xfe80 => 3,
        IpAddr::V6(_) => 1,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::hosts;

    #[test]
    fn services_are_named_as_by_stock() {
        let mut compiler = Compiler {
            machine: "x86_64-Linux-gnu".into(),
            version: "12.2.0".into(),
        };
        let service = compiler.service();
        assert_eq!(
            service,
            "_x86-64-linux-gnu--12-2-0._sub._distcc._tcp.local."
        );
        compiler.machine = "x".repeat(70);
        assert_eq!(compiler.service(), SERVICE);
    }

    #[test]
    fn records_have_stocks_order() {
        let compiler = Compiler {
            machine: "m".repeat(60),
            version: "12".into(),
        };
        let mut offer = Offer {
            cpus: 2,
            jobs: 4,
            version: "0.1.0",
            built_for: "x86_64-unknown-linux-gnu",
            compiler: Some(&compiler),
        };
        let records = offer.records();
        let names: Vec<&str> = records.iter().map(|(name, _)| *name).collect();
        let all = "txtvers cpus jobs distcc gnuhost cc_version cc_machine";
        assert_eq!(names.join(" "), all);
        assert_eq!(records[6].1.len(), FACT_BYTES_MAX);
        assert!(compiler.is_told(Some(&records[6].1), Some("12")));
        assert!(!compiler.is_told(Some(&compiler.machine), Some("12")));
        assert!(!compiler.is_told(Some(&records[6].1), None));
        offer.compiler = None;
        assert_eq!(offer.records().len(), 5);
    }

    #[test]
    fn numbers_of_jobs() {
        for (told, cpus, expected) in [
            (Some("8"), None, 8),
            (None, Some("2"), 4),
            (Some("x"), Some("2"), 4),
            (Some("0"), Some("6"), 8),
            (Some("-3"), Some("x"), 4),
            (Some("99999999"), None, SLOTS_MAX),
            (Some("x"), Some("18446744073709551615"), SLOTS_MAX),
        ] {
            assert_eq!(jobs(told, cpus), expected, "{told:?} {cpus:?}");
        }
    }

    #[test]
    fn hosts_are_words_of_a_list() {
        for (address, scope, word) in [
            ("10.0.0.7", None, "10.0.0.7:3632/4"),
            ("fd00::1", None, "[fd00::1]:3632/4"),
            ("fe80::1", Some("eth0"), "[fe80::1%eth0]:3632/4"),
        ] {
            let found = host(address.parse().unwrap(), scope, 3632, 4);
            assert_eq!(found, word);
            assert_eq!(hosts::parse(&found, "test").unwrap().hosts[0].slots, 4);
        }
        let order = ["10.0.0.1", "fd00::1", "169.254.0.1", "fe80::1", "127.0.0.1"];
        let order = order.map(|address| reluctance(address.parse().unwrap()));
        assert!(order.is_sorted(), "{order:?}");
    }
}
