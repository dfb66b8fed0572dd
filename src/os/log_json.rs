//! A log record as one line of JSON: when, how grave, what it is about as values of their own, and the words.

#![allow(unsafe_code)] // gmtime_r is only to be had from libc.

use log::kv::{Error, Key, Value as Told, VisitSource, VisitValue};
use log::{Level, Record};
use serde_json::Value;
use std::time::{SystemTime, UNIX_EPOCH};

/// Target of messages of level notice: `log::info!(target: NOTICE, …)`.
pub const NOTICE: &str = "notice";

/// Longest text in a line, in bytes; what is cut off ends in this.
const TEXT_BYTES_MAX: usize = 4096;
const CUT: &str = "…";

/// The record's line, its end included. Whatever it holds, that is one line and well formed.
pub fn line(record: &Record) -> String {
    let mut values = Values(Vec::new());
    values.add("time", now());
    values.add("level", level(record));
    values.add("pid", std::process::id());
    // What a value can't be is left out: it stands in the words, too.
    let _ = record.key_values().visit(&mut values);
    values.add("message", cut(record.args().to_string()));
    let parts = values.0.iter().map(|(name, value)| {
        let name = Value::from(name.as_str());
        format!("{name}:{value}")
    });
    format!("{{{}}}\n", parts.collect::<Vec<String>>().join(","))
}

fn level(record: &Record) -> &'static str {
    match record.level() {
        Level::Error => "error",
        Level::Warn => "warning",
        Level::Info if record.target() == NOTICE => "notice",
        Level::Info => "info",
        Level::Debug | Level::Trace => "debug",
    }
}

/// The time in UTC, as RFC 3339 has it.
fn now() -> String {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    utc(since.as_secs() as i64, since.subsec_millis())
}

/// A time in UTC, seconds after 1970 began and milliseconds, as RFC 3339 has it.
pub fn utc(seconds: i64, ms: u32) -> String {
    // SAFETY: tm is plain data, and the call fills it; it fails only for years that no number holds.
    let parts = unsafe {
        let mut parts: libc::tm = std::mem::zeroed();
        libc::gmtime_r(&seconds, &mut parts);
        parts
    };
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{ms:03}Z",
        parts.tm_year + 1900,
        parts.tm_mon + 1,
        parts.tm_mday,
        parts.tm_hour,
        parts.tm_min,
        parts.tm_sec,
    )
}

fn cut(mut text: String) -> String {
    if text.len() > TEXT_BYTES_MAX {
        let mut end = TEXT_BYTES_MAX;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push_str(CUT);
    }
    text
}

/// Names and values, in their order. What says nothing is left out.
struct Values(Vec<(String, Value)>);

impl Values {
    fn add(&mut self, name: &str, value: impl Into<Value>) {
        self.0.push((name.to_owned(), value.into()));
    }
}

impl<'kvs> VisitSource<'kvs> for Values {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Told<'kvs>) -> Result<(), Error> {
        let mut found = Found(Value::Null);
        value.visit(&mut found)?;
        if !found.0.is_null() && found.0 != "" {
            self.add(key.as_str(), found.0);
        }
        Ok(())
    }
}

struct Found(Value);

impl<'v> VisitValue<'v> for Found {
    fn visit_any(&mut self, value: Told) -> Result<(), Error> {
        self.0 = cut(value.to_string()).into();
        Ok(())
    }

    fn visit_null(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), Error> {
        self.0 = value.into();
        Ok(())
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), Error> {
        self.0 = value.into();
        Ok(())
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), Error> {
        self.0 = value.into();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str) -> Value {
        let (number, absent) = (7_u64, None::<u64>);
        let values: &[(&str, Told)] = &[
            ("peer", Told::from(text)),
            ("job", Told::from(number)),
            ("none", Told::from("")),
            ("ms", absent.map_or(Told::null(), Told::from)),
        ];
        let line = line(
            &Record::builder()
                .level(Level::Info)
                .target(NOTICE)
                .args(format_args!("{text}"))
                .key_values(&values)
                .build(),
        );
        assert_eq!(line.find('\n'), Some(line.len() - 1), "{line}");
        serde_json::from_str(&line).unwrap()
    }

    #[test]
    fn values_and_words() {
        let shown = shown("a \"b\"\n\u{1b}\u{fffd}");
        assert_eq!(shown["level"], "notice");
        assert_eq!(shown["job"], 7);
        assert_eq!(shown["message"], "a \"b\"\n\u{1b}\u{fffd}");
        assert_eq!(shown["peer"], shown["message"]);
        assert!(shown.get("none").is_none() && shown.get("ms").is_none());
    }

    #[test]
    fn times() {
        assert_eq!(utc(0, 7), "1970-01-01T00:00:00.007Z");
        assert_eq!(utc(951_782_400, 0), "2000-02-29T00:00:00.000Z");
    }

    proptest! {
        #[test]
        fn any_text_makes_one_line(text in any::<String>()) {
            prop_assert_eq!(&shown(&text)["message"], &text);
        }
    }

    #[test]
    fn long_texts_are_cut() {
        let shown = shown(&"é".repeat(99_999));
        assert!(shown["message"].as_str().unwrap().len() <= TEXT_BYTES_MAX + CUT.len());
    }
}
