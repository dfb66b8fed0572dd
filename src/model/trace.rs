//! One client's line in a build trace: what it did when, where, and how that ended. A line is one JSON object, so that other
//! programs can read it as well; what is read here was checked, as several builds and machines may have written to the file.

use serde::{Deserialize, Serialize};

/// The longest line that is believed: four paths of 4096 bytes, each byte six characters in JSON, would not all fit in it,
/// but no build has them.
pub const LINE_BYTES_MAX: usize = 64 << 10;

/// No client runs longer than this, a week in microseconds; one that says so has a broken clock.
const LASTS_US_MAX: u64 = 7 * 24 * 3600 * 1_000_000;

/// What a client does, as far as its time is concerned. Each lasts until the next begins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    /// It reads its command line, settings and host list.
    Start,
    /// It waits for a slot to compile in.
    Wait,
    /// It has a slot of another machine, and waits for one of this machine to preprocess.
    WaitHere,
    /// The preprocessor runs here.
    Preprocess,
    /// The include server is asked.
    Ask,
    /// It connects.
    Connect,
    /// The request goes out.
    Send,
    /// The host compiles, or the job waits there for its turn.
    Compile,
    /// The answer comes in.
    Receive,
    /// The answer is examined and written.
    Write,
    /// The compiler, or whatever the command is, runs on this machine.
    Here,
    /// Something that a later version knows.
    #[serde(other)]
    Other,
}

impl Activity {
    /// All that this version knows, in the order of a job.
    pub const ALL: [Activity; 12] = [
        Activity::Start,
        Activity::Wait,
        Activity::WaitHere,
        Activity::Preprocess,
        Activity::Ask,
        Activity::Connect,
        Activity::Send,
        Activity::Compile,
        Activity::Receive,
        Activity::Write,
        Activity::Here,
        Activity::Other,
    ];

    /// What people are told.
    pub fn name(self) -> &'static str {
        match self {
            Activity::Start => "start",
            Activity::Wait => "wait for a slot",
            Activity::WaitHere => "wait to preprocess",
            Activity::Preprocess => "preprocess",
            Activity::Ask => "include server",
            Activity::Connect => "connect",
            Activity::Send => "send",
            Activity::Compile => "compile there",
            Activity::Receive => "receive",
            Activity::Write => "write",
            Activity::Here => "compile here",
            Activity::Other => "other",
        }
    }
}

/// In which way a job was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// On this machine.
    #[default]
    Local,
    /// On another one, from text.
    Plain,
    /// On another one, in pump mode.
    Pump,
}

/// A slot that was held: the host as its list names it (`localhost` for this machine), which of its slots, and from when to
/// when, in µs after the client's start.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Held(pub String, pub u32, pub u64, pub u64);

/// A client from its start to its end.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Entry {
    /// When it began, in µs after 1970 began.
    pub at: u64,
    /// How long it ran, in µs.
    pub us: u64,
    /// Its process number.
    pub pid: u32,
    /// Its working directory.
    pub dir: String,
    /// The source, if the command compiles one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub src: Option<String>,
    /// The output, if it could have been made elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out: Option<String>,
    /// In which way the result was made.
    pub mode: Mode,
    /// Where it was made.
    pub host: String,
    /// In which slot of that host; none if it ran without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<u32>,
    /// What it did, and from when on, in µs after its start.
    pub phases: Vec<(Activity, u64)>,
    /// The slots that it held, of this machine and others.
    pub held: Vec<Held>,
    /// Bytes to other machines.
    pub sent: u64,
    /// Bytes from them.
    pub received: u64,
    /// Its exit status.
    pub status: u8,
    /// Why it ran on this machine, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Entry {
    /// The line, with its end.
    pub fn line(&self) -> Vec<u8> {
        // No map with odd keys, and nothing that fails, is in it.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }

    /// The entry in a line; nothing if it is no whole one, or says what can't be.
    pub fn parse(line: &[u8]) -> Option<Entry> {
        let entry: Entry = serde_json::from_slice(line).ok()?;
        entry.at.checked_add(LASTS_US_MAX)?;
        let begins = || entry.phases.iter().map(|(_, from)| *from);
        let is_sound = entry.us <= LASTS_US_MAX
            && begins().all(|from| from <= entry.us)
            && begins().is_sorted()
            && entry
                .held
                .iter()
                .all(|held| held.2 <= held.3 && held.3 <= entry.us);
        is_sound.then_some(entry)
    }

    /// When it ended, in µs after 1970 began.
    pub fn end(&self) -> u64 {
        self.at.saturating_add(self.us)
    }

    /// Each activity with its beginning and its length, in µs.
    pub fn spans(&self) -> impl Iterator<Item = (Activity, u64, u64)> + '_ {
        let ends = self.phases.iter().skip(1).map(|(_, from)| *from);
        let ends = ends.chain([self.us]);
        let spans = self.phases.iter().zip(ends);
        spans.map(|((what, from), end)| (*what, *from, end.saturating_sub(*from)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn entry() -> Entry {
        Entry {
            at: 1_700_000_000_000_000,
            us: 5000,
            pid: 77,
            dir: "/src".to_owned(),
            src: Some("a \"quoted\"\n.c".to_owned()),
            out: Some("a.o".to_owned()),
            mode: Mode::Plain,
            host: "alpha/8".to_owned(),
            slot: Some(3),
            phases: vec![
                (Activity::Start, 0),
                (Activity::Wait, 10),
                (Activity::Compile, 2000),
            ],
            held: vec![Held("alpha/8".to_owned(), 3, 20, 5000)],
            sent: 10,
            received: 20,
            status: 0,
            why: None,
        }
    }

    #[test]
    fn a_line_is_one_line_and_what_is_written_is_read() {
        let line = entry().line();
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert_eq!(Entry::parse(&line).unwrap(), entry());
        let spans: Vec<_> = entry().spans().collect();
        assert_eq!(
            spans,
            [
                (Activity::Start, 0, 10),
                (Activity::Wait, 10, 1990),
                (Activity::Compile, 2000, 3000)
            ]
        );
    }

    #[test]
    fn what_can_not_be_is_not_believed() {
        let changes: [fn(&mut Entry); 6] = [
            |entry| entry.us = u64::MAX,
            |entry| entry.at = u64::MAX,
            |entry| entry.phases[0].1 = 11,
            |entry| entry.phases[2].1 = 5001,
            |entry| entry.held[0].3 = 5001,
            |entry| entry.held[0].2 = 5000 + 1,
        ];
        for change in changes {
            let mut changed = entry();
            change(&mut changed);
            assert_eq!(Entry::parse(&changed.line()), None, "{changed:?}");
        }
        let line = entry().line();
        for length in 0..line.len() - 1 {
            assert_eq!(Entry::parse(&line[..length]), None, "{length}");
        }
        for text in ["", "{}", "[]", "1", "\u{0}", "{\"at\":-1}"] {
            assert_eq!(Entry::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn what_a_later_version_adds_is_passed_over() {
        let line = String::from_utf8(entry().line()).unwrap();
        let later = line
            .replace("\"wait\"", "\"dream\"")
            .replace("{\"at\"", "{\"new\":[1],\"at\"");
        let read = Entry::parse(later.as_bytes()).unwrap();
        assert_eq!(read.phases[1], (Activity::Other, 10));
    }
}
