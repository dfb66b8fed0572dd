//! A trace as Chrome's tracing and Perfetto read it: a JSON array of events, times in µs. All clients are one process there,
//! with lanes for those that ran at the same time; each host is another one, with a lane for each slot.

use crate::model::trace::{Activity, Entry};
use serde_json::{json, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

/// The number of the process whose lanes are the clients; those of hosts follow.
const CLIENTS: usize = 1;

/// Writes events as they come.
#[derive(Debug)]
pub struct Events<W: Write> {
    out: W,
    /// What the times count from, in µs after 1970 began.
    origin: u64,
    is_first: bool,
    hosts: BTreeMap<String, usize>,
    /// The lanes that have a name.
    lanes: BTreeSet<(usize, u32)>,
}

impl<W: Write> Events<W> {
    /// Begins, with all times counted from `origin`, in µs after 1970 began.
    pub fn begin(mut out: W, origin: u64) -> io::Result<Self> {
        out.write_all(b"[\n")?;
        let mut events = Events {
            out,
            origin,
            is_first: true,
            hosts: BTreeMap::new(),
            lanes: BTreeSet::new(),
        };
        events.names("process_name", CLIENTS, 0, "clients of distcc")?;
        Ok(events)
    }

    /// Adds a client, which is drawn in this lane.
    pub fn add(&mut self, entry: &Entry, lane: u32) -> io::Result<()> {
        let at = entry.at.saturating_sub(self.origin);
        let name = title(entry);
        self.lane(CLIENTS, lane, &format!("client {}", lane + 1))?;
        self.span(name, (CLIENTS, lane), (at, entry.us), details(entry))?;
        for (what, from, us) in entry.spans() {
            let place = (CLIENTS, lane);
            self.span(what.name(), place, (at + from, us), json!({}))?;
        }
        for held in &entry.held {
            let process = self.host(&held.0)?;
            self.lane(process, held.1, &format!("slot {}", held.1))?;
            let times = (at + held.2, held.3 - held.2);
            let args = json!({ "pid": entry.pid, "client": lane + 1 });
            self.span(name, (process, held.1), times, args)?;
        }
        Ok(())
    }

    /// Ends the array.
    pub fn end(mut self) -> io::Result<()> {
        self.out.write_all(b"\n]\n")?;
        self.out.flush()
    }

    fn host(&mut self, host: &str) -> io::Result<usize> {
        if let Some(known) = self.hosts.get(host) {
            return Ok(*known);
        }
        let process = CLIENTS + 1 + self.hosts.len();
        self.hosts.insert(host.to_owned(), process);
        self.names("process_name", process, 0, host)?;
        Ok(process)
    }

    fn lane(&mut self, process: usize, lane: u32, name: &str) -> io::Result<()> {
        match self.lanes.insert((process, lane)) {
            true => self.names("thread_name", process, lane, name),
            false => Ok(()),
        }
    }

    fn names(&mut self, what: &str, process: usize, lane: u32, name: &str) -> io::Result<()> {
        let args = json!({ "name": name });
        self.event(&json!({ "name": what, "ph": "M", "pid": process, "tid": lane, "args": args }))
    }

    fn span(
        &mut self,
        name: &str,
        (process, lane): (usize, u32),
        (at, us): (u64, u64),
        args: Value,
    ) -> io::Result<()> {
        self.event(&json!({
            "name": name, "ph": "X", "ts": at, "dur": us, "pid": process, "tid": lane, "args": args,
        }))
    }

    fn event(&mut self, event: &Value) -> io::Result<()> {
        if !std::mem::replace(&mut self.is_first, false) {
            self.out.write_all(b",\n")?;
        }
        self.out.write_all(event.to_string().as_bytes())
    }
}

/// What a client's bar is called.
pub fn title(entry: &Entry) -> &str {
    match &entry.src {
        Some(source) => source.rsplit('/').next().unwrap_or(source),
        None => "no compile",
    }
}

fn details(entry: &Entry) -> Value {
    json!({
        "source": entry.src, "output": entry.out, "directory": entry.dir, "process": entry.pid, "mode": entry.mode,
        "host": entry.host, "slot": entry.slot, "status": entry.status, "why": entry.why,
        "bytes sent": entry.sent, "bytes received": entry.received,
        "waited (us)": entry.spans().filter(|span| span.0 == Activity::Wait).map(|span| span.2).sum::<u64>(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::trace::Held;

    #[test]
    fn hosts_and_slots_are_processes_and_lanes() {
        let entry = |at, slot| Entry {
            at,
            us: 100,
            src: Some("dir/\"x\".c".to_owned()),
            phases: vec![(Activity::Start, 0), (Activity::Compile, 40)],
            held: vec![Held("alpha/8".to_owned(), slot, 30, 90)],
            ..Entry::default()
        };
        let mut out = Vec::new();
        let mut events = Events::begin(&mut out, 1000).unwrap();
        events.add(&entry(1000, 3), 0).unwrap();
        events.add(&entry(1050, 4), 1).unwrap();
        events.end().unwrap();
        let events: Vec<Value> = serde_json::from_slice(&out).unwrap();
        let names: Vec<_> = events.iter().filter(|event| event["ph"] == "M").collect();
        // Two processes, two lanes in each.
        assert_eq!(names.len(), 6, "{names:?}");
        let spans: Vec<_> = events.iter().filter(|event| event["ph"] == "X").collect();
        assert_eq!(spans.len() + names.len(), events.len());
        let on_alpha: Vec<_> = spans.iter().filter(|span| span["pid"] == 2).collect();
        let lanes: Vec<_> = on_alpha
            .iter()
            .map(|span| (&span["tid"], &span["ts"]))
            .collect();
        assert_eq!(lanes, [(&json!(3), &json!(30)), (&json!(4), &json!(80))]);
        assert_eq!(on_alpha[0]["name"], "\"x\".c");
        assert_eq!(on_alpha[0]["dur"], 60);
    }

    #[test]
    fn nothing_at_all_is_an_array_too() {
        let mut out = Vec::new();
        Events::begin(&mut out, 0).unwrap().end().unwrap();
        assert_eq!(serde_json::from_slice::<Vec<Value>>(&out).unwrap().len(), 1);
    }
}
