//! What a build's clients logged, counted: how many compiles ran on a host, in pump mode or not and why not, how many
//! commands ran here and why, how many bytes travelled. Reads the client's lines at level info; lines it does not know
//! count for nothing.

use std::collections::{BTreeMap, HashMap};

/// How often, by reason.
type Reasons = BTreeMap<String, u64>;

/// A build in numbers.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Compiles whose result came from a host that preprocessed the source.
    pub pumped: u64,
    /// Compiles whose result came from a host that was sent preprocessed text, by reason; without pump mode there is none.
    pub plain: Reasons,
    /// Compiles that ran here, by reason.
    pub local: Reasons,
    /// Commands that are no compiles (linking, `--version`, `-E`), by what they were.
    pub others: Reasons,
    /// Bytes of requests that were sent, compressed if they were.
    pub sent: u64,
    /// Bytes of answers that came back, likewise.
    pub received: u64,
}

/// What one client has said of the compile that it is at.
#[derive(Debug, Default)]
struct Client {
    /// It was sent in pump mode last.
    is_pumped: bool,
    /// Why it is not.
    why_plain: String,
}

/// Reads a log that many clients have written to.
pub fn count(log: &str) -> Tally {
    let mut tally = Tally::default();
    let mut clients: HashMap<&str, Client> = HashMap::new();
    for line in log.lines() {
        // After the prefix `distcc[123] `, and `(where) ` if there is one.
        let Some((prefix, text)) = line.split_once("] ") else {
            continue;
        };
        let function = text
            .strip_prefix('(')
            .and_then(|rest| rest.split_once(") "));
        let text = function.map_or(text, |(_, text)| text);
        let text = text.strip_prefix("Warning: ").unwrap_or(text);
        let client = clients.entry(prefix).or_default();
        if text.starts_with("exit: code ") {
            // Its number may be another one's soon.
            clients.remove(prefix);
        } else if !client.hears(text) {
            tally.add(text, client);
        }
    }
    tally
}

impl Client {
    /// Whether the line was about pump mode.
    fn hears(&mut self, text: &str) -> bool {
        let why = [
            "failed to get includes from include server, preprocessing locally: ",
            "not in pump mode: ",
        ];
        let why = why.iter().find_map(|words| {
            let (_, why) = text.split_once(": ")?;
            why.strip_prefix(words)
        });
        let why = why.or_else(|| match text {
            "cannot use distcc_pump on already preprocessed file" => {
                Some("it is preprocessed already")
            }
            _ => text.strip_prefix("using plain distcc: "),
        });
        if let Some(why) = why {
            // Said to one client of a build.
            let why = why.split(" (said once ").next();
            self.why_plain = why.unwrap_or_default().to_owned();
        }
        why.is_some()
    }
}

impl Tally {
    fn add(&mut self, text: &str, client: &mut Client) {
        if let Some(job) = text
            .strip_prefix("compile ")
            .and_then(|rest| rest.strip_suffix(" completed ok"))
        {
            let on_host = job
                .rsplit_once(" on ")
                .is_some_and(|(_, host)| host != "localhost");
            let client = std::mem::take(client);
            match (on_host, client.is_pumped) {
                (true, true) => self.pumped += 1,
                (true, false) => *self.plain.entry(client.why_plain).or_default() += 1,
                (false, _) => {}
            }
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
                    self.sent += bytes;
                    client.is_pumped = what.ends_with(" files in pump mode");
                }
                _ if what.starts_with("received ") => self.received += bytes,
                _ => {}
            }
        }
    }

    /// How many compiles a host did.
    pub fn remote(&self) -> u64 {
        self.pumped + total(&self.plain)
    }

    /// How many compiles ran here.
    pub fn local_total(&self) -> u64 {
        total(&self.local)
    }

    /// All of it in lines for people; `by_mode` if pump mode was to be used.
    pub fn summary(&self, by_mode: bool) -> String {
        let (sent, received) = (size(self.sent), size(self.received));
        let mut text = line(
            self.remote(),
            &format!("compiled by the daemon ({sent} sent, {received} received)"),
        );
        if by_mode {
            text += &inner_line(self.pumped, "in pump mode");
            text += &reasons(&self.plain, "preprocessed here");
        }
        text += &line(self.local_total(), "compiled locally");
        text += &reasons(&self.local, "");
        text += &line(total(&self.others), "other commands, always run locally");
        text + &reasons(&self.others, "")
    }
}

fn total(reasons: &Reasons) -> u64 {
    reasons.values().sum()
}

fn line(count: u64, what: &str) -> String {
    format!("{count:>8}  {what}\n")
}

fn inner_line(count: u64, what: &str) -> String {
    format!("{count:>12}  {what}\n")
}

/// The most frequent reason first.
fn reasons(reasons: &Reasons, before: &str) -> String {
    let mut reasons: Vec<(&String, &u64)> = reasons.iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let lines = reasons
        .iter()
        .map(|(reason, count)| match (before, reason.as_str()) {
            ("", reason) => inner_line(**count, reason),
            (before, "") => inner_line(**count, before),
            (before, reason) => inner_line(**count, &format!("{before}: {reason}")),
        });
    lines.collect()
}

/// A number of bytes for people: `812 B`, `3.4 MB`.
pub fn size(bytes: u64) -> String {
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
distcc[8] y on it.c compiled locally: -flto leaves optimisation to the linker
distcc[9] run locally: called for link
distcc[10] run locally: called for link
a line of something else, 17 bytes from nowhere";
        let tally = count(log);
        assert_eq!(
            (tally.pumped, tally.remote(), tally.local_total()),
            (0, 1, 1)
        );
        assert_eq!(tally.plain[""], 1);
        assert_eq!(tally.others["called for link"], 2);
        assert_eq!((tally.sent, tally.received), (10500, 1200));
    }

    #[test]
    fn what_counts_is_how_a_client_sent_its_file_last() {
        let log = "\
distcc[1] 900 bytes from a.c compiled on h in 0.0312s, rate 336kB/s, 12 files in pump mode
distcc[2] Warning: b.c: failed to get includes from include server, preprocessing locally: it says: no (said once per build; DISTCC_LOG has all)
distcc[2] 800 bytes from b.c compiled on h in 0.0312s, rate 336kB/s
distcc[1] compile a.c on h completed ok
distcc[3] 700 bytes from c.c compiled on h in 0.0312s, rate 336kB/s, 1 files in pump mode
distcc[3] h: not in pump mode: it is old
distcc[3] 600 bytes from c.c compiled on h in 0.0312s, rate 336kB/s
distcc[3] compile c.c on h completed ok
distcc[4] using plain distcc: d
distcc[4] exit: code 0; self: 0 user
distcc[4] compile d.c on h completed ok
distcc[5] cannot use distcc_pump on already preprocessed file
distcc[5] compile e.i on h completed ok
distcc[2] compile b.c on h completed ok";
        let tally = count(log);
        assert_eq!((tally.pumped, tally.remote(), tally.sent), (1, 5, 3000));
        let plain: Vec<&str> = tally.plain.keys().map(String::as_str).collect();
        assert_eq!(
            plain,
            ["", "it is old", "it is preprocessed already", "it says: no"]
        );
    }

    #[test]
    fn shows_the_most_frequent_reason_first() {
        let mut tally = Tally {
            pumped: 12,
            sent: 3_400_000,
            received: 999,
            ..Tally::default()
        };
        tally.plain.insert("the reason".into(), 1);
        tally.others.insert("a link".into(), 2);
        tally.others.insert("only preprocesses".into(), 5);
        let all = "      13  compiled by the daemon (3.4 MB sent, 999 B received)
          12  in pump mode
           1  preprocessed here: the reason
       0  compiled locally
       7  other commands, always run locally
           5  only preprocesses
           2  a link
";
        assert_eq!(tally.summary(true), all);
        let by_mode = ["in pump mode", "preprocessed here"];
        let without: Vec<&str> = all
            .lines()
            .filter(|line| !by_mode.iter().any(|words| line.contains(words)))
            .collect();
        assert_eq!(tally.summary(false), without.join("\n") + "\n");
    }
}
