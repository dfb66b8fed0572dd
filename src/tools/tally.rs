//! What a build's clients logged, counted: how many compiles ran on a host, how many commands ran here and why, how
//! many bytes travelled. Reads the client's lines at level info; lines it does not know count for nothing.

use std::collections::BTreeMap;
use std::fmt;

/// A build in numbers.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Compiles whose result came from a host.
    pub remote: u64,
    /// Compiles that ran here, by reason.
    pub local: BTreeMap<String, u64>,
    /// Commands that are no compiles (linking, `--version`, `-E`), by what they were.
    pub others: BTreeMap<String, u64>,
    /// Bytes of requests that were sent, compressed if they were.
    pub sent: u64,
    /// Bytes of answers that came back, likewise.
    pub received: u64,
}

/// Reads a log that many clients have written to.
pub fn count(log: &str) -> Tally {
    let mut tally = Tally::default();
    for line in log.lines() {
        // After the prefix `distcc[123] `, and `(where) ` if there is one.
        let Some((_, text)) = line.split_once("] ") else {
            continue;
        };
        let function = text
            .strip_prefix('(')
            .and_then(|rest| rest.split_once(") "));
        tally.add(function.map_or(text, |(_, text)| text));
    }
    tally
}

impl Tally {
    fn add(&mut self, text: &str) {
        if let Some(job) = text
            .strip_prefix("compile ")
            .and_then(|rest| rest.strip_suffix(" completed ok"))
        {
            let on_host = job
                .rsplit_once(" on ")
                .is_some_and(|(_, host)| host != "localhost");
            self.remote += u64::from(on_host);
        } else if let Some(reason) = text.strip_prefix("run locally: ") {
            *self.others.entry(reason.to_owned()).or_default() += 1;
        } else if let Some((_, reason)) = text.split_once(" compiled locally: ") {
            *self.local.entry(reason.to_owned()).or_default() += 1;
        } else if let Some((bytes, what)) = text.split_once(" bytes ") {
            let Ok(bytes) = bytes.parse::<u64>() else {
                return;
            };
            match what {
                _ if what.starts_with("from ") && what.contains(" compiled on ") => {
                    self.sent += bytes
                }
                _ if what.starts_with("received ") => self.received += bytes,
                _ => {}
            }
        }
    }

    /// How many compiles ran here.
    pub fn local_total(&self) -> u64 {
        self.local.values().sum()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:>8}  compiled by the daemon ({} sent, {} received)",
            self.remote,
            size(self.sent),
            size(self.received)
        )?;
        writeln!(f, "{:>8}  compiled locally", self.local_total())?;
        reasons(f, &self.local)?;
        writeln!(
            f,
            "{:>8}  other commands, always run locally",
            self.others.values().sum::<u64>()
        )?;
        reasons(f, &self.others)
    }
}

/// The most frequent reason first.
fn reasons(f: &mut fmt::Formatter<'_>, reasons: &BTreeMap<String, u64>) -> fmt::Result {
    let mut reasons: Vec<(&String, &u64)> = reasons.iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    reasons
        .iter()
        .try_for_each(|(reason, count)| writeln!(f, "{count:>12}  {reason}"))
}

/// A number of bytes for people: `812 B`, `3.4 MB`.
fn size(bytes: u64) -> String {
    let mut size = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if size < 1000.0 {
            return match unit {
                "B" => format!("{bytes} B"),
                _ => format!("{size:.1} {unit}"),
            };
        }
        size /= 1000.0;
    }
    format!("{size:.1} TB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_clients_log() {
        let log = "\
distcc[7] exec on 127.0.0.1:4000/4: gcc -c x.c -o x.o
distcc[7] 10500 bytes from x.c compiled on 127.0.0.1:4000/4 in 0.0312s, rate 336kB/s
distcc[7] (exchange) 1200 bytes received in 0.000100s, rate 12000kB/s
distcc[7] compile x.c on 127.0.0.1:4000/4 completed ok
distcc[8] compile y on it.c on localhost completed ok
distcc[8] y on it.c compiled locally: -march=native names this machine
distcc[9] run locally: called for link
distcc[10] run locally: called for link
a line of something else, 17 bytes from nowhere";
        let tally = count(log);
        assert_eq!((tally.remote, tally.local_total()), (1, 1));
        assert_eq!(tally.others["called for link"], 2);
        assert_eq!((tally.sent, tally.received), (10500, 1200));
    }

    #[test]
    fn shows_the_most_frequent_reason_first() {
        let mut tally = Tally {
            remote: 12,
            sent: 3_400_000,
            received: 999,
            ..Tally::default()
        };
        tally.others.insert("a link".into(), 2);
        tally.others.insert("only preprocesses".into(), 5);
        assert_eq!(
            tally.to_string(),
            "      12  compiled by the daemon (3.4 MB sent, 999 B received)
       0  compiled locally
       7  other commands, always run locally
           5  only preprocesses
           2  a link
"
        );
    }
}
