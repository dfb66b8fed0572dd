//! The numbers of `statistics` as Prometheus reads them: its text format, version 0.0.4.

use super::shop::Shop;
use super::tally::{Class, Histogram, BOUNDS_MS};
use std::fmt::{Display, Write};
use std::time::{Duration, UNIX_EPOCH};

/// What the text is, for HTTP.
pub const KIND: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics, as of now.
pub fn text(shop: &Shop) -> String {
    let (statistics, config) = (&shop.statistics, shop.config());
    let totals = statistics.totals();
    let mut page = Page::default();
    page.family("distccd_build_info", "gauge", "Which distccd this is.");
    page.sample("", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.family(
        "distccd_start_time_seconds",
        "gauge",
        "When counting began, since 1970.",
    );
    let since = statistics.began_at().duration_since(UNIX_EPOCH);
    page.sample("", &[], seconds(since.unwrap_or_default()));
    page.family("distccd_slots", "gauge", "Jobs that may run at once.");
    page.sample("", &[], config.jobs);
    page.family("distccd_slots_busy", "gauge", "Jobs that run.");
    page.sample("", &[], statistics.running().len());
    page.family(
        "distccd_queue_length",
        "gauge",
        "Whole requests that wait for a slot.",
    );
    page.sample("", &[], statistics.waiting());
    page.family(
        "distccd_connections_open",
        "gauge",
        "Connections that are open.",
    );
    page.sample("", &[], statistics.connections_open());
    page.family(
        "distccd_connections_total",
        "counter",
        "Connections so far, refused ones included.",
    );
    page.sample("", &[], statistics.connections());
    page.family(
        "distccd_connections_refused_total",
        "counter",
        "Connections of addresses that may not connect, or that have too many.",
    );
    page.sample("", &[], statistics.connections_refused());
    page.family(
        "distccd_jobs_total",
        "counter",
        "Jobs that have ended, by how.",
    );
    for class in Class::ALL {
        let outcome = [("outcome", class.label())];
        page.sample("", &outcome, totals.outcomes[class as usize]);
    }
    page.family("distccd_compiler_jobs_total", "counter", "Jobs that have ended, by compiler and how; compilers beyond the first few are told as other.");
    for (compiler, outcomes) in &totals.compilers {
        for class in Class::ALL {
            let count = outcomes[class as usize];
            if count > 0 {
                let labels = [("compiler", compiler.as_str()), ("outcome", class.label())];
                page.sample("", &labels, count);
            }
        }
    }
    page.family(
        "distccd_received_bytes_total",
        "counter",
        "Bytes of requests that have ended.",
    );
    page.sample("", &[], totals.received);
    page.family("distccd_sent_bytes_total", "counter", "Bytes of answers.");
    page.sample("", &[], totals.sent);
    page.histogram(
        "distccd_queue_wait_seconds",
        "How long whole requests waited for a slot.",
        &totals.waited,
    );
    page.histogram(
        "distccd_compile_seconds",
        "How long compilers ran.",
        &totals.compiled,
    );
    page.histogram(
        "distccd_job_seconds",
        "How long jobs took from connection to answer.",
        &totals.took,
    );
    page.family(
        "distccd_sandbox_info",
        "gauge",
        "How compilers are confined.",
    );
    let layers = shop.sandbox().to_string();
    page.sample("", &[("layers", &layers)], 1);
    page.text
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

#[derive(Default)]
struct Page {
    text: String,
    name: &'static str,
}

impl Page {
    fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.name = name;
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    fn sample(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
            .collect();
        let name = self.name;
        match labels.is_empty() {
            true => self.line(format_args!("{name}{suffix} {value}")),
            false => self.line(format_args!(
                "{name}{suffix}{{{}}} {value}",
                labels.join(",")
            )),
        }
    }

    fn histogram(&mut self, name: &'static str, help: &str, histogram: &Histogram) {
        self.family(name, "histogram", help);
        let mut sum = 0;
        let bounds = BOUNDS_MS.iter().map(|ms| (*ms as f64 / 1000.0).to_string());
        let bounds = bounds.chain(["+Inf".to_owned()]);
        for (bound, count) in bounds.zip(histogram.counts) {
            sum += count;
            self.sample("_bucket", &[("le", &bound)], sum);
        }
        self.sample("_sum", &[], seconds(histogram.sum));
        self.sample("_count", &[], sum);
    }

    fn line(&mut self, text: std::fmt::Arguments) {
        // Writing into a string does not fail.
        let _ = writeln!(self.text, "{text}");
    }
}

/// A label's value as the format wants it.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_the_format() {
        let mut page = Page::default();
        page.family("a_total", "counter", "All.");
        page.sample("", &[("x", "q\"\\\n"), ("y", "é")], 3);
        let mut histogram = Histogram::default();
        histogram.counts[1] = 2;
        histogram.counts[BOUNDS_MS.len()] = 1;
        histogram.sum = Duration::from_millis(1500);
        page.histogram("h", "Times.", &histogram);
        let lines: Vec<&str> = page.text.lines().collect();
        assert_eq!(lines[2], r#"a_total{x="q\"\\\n",y="é"} 3"#);
        assert_eq!(
            lines[5..8],
            [
                "h_bucket{le=\"0.001\"} 0",
                "h_bucket{le=\"0.005\"} 2",
                "h_bucket{le=\"0.01\"} 2",
            ]
        );
        assert_eq!(
            lines[lines.len() - 3..],
            ["h_bucket{le=\"+Inf\"} 3", "h_sum 1.5", "h_count 3",]
        );
    }
}
