//! What requests have cost so far, for whoever asks with `-s`.

use super::analysis::Analyst;
use super::answers::{Answer, Outcome};
use super::content::lock;
use std::fmt::Write;
use std::sync::atomic::Ordering;
use std::sync::Mutex;
use std::time::Duration;

/// All requests together, and the last one.
#[derive(Debug, Default)]
pub struct Statistics {
    counted: Mutex<Counted>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    requests: u32,
    not_covered: u32,
    last: Duration,
    least: Option<Duration>,
    most: Duration,
    all: Duration,
    files: usize,
    links: usize,
    folders: usize,
}

impl Statistics {
    /// Counts a request.
    pub fn count(&self, answer: &Answer, took: Duration) {
        let mut counted = lock(&self.counted);
        counted.requests += 1;
        counted.last = took;
        counted.least = Some(counted.least.map_or(took, |least| least.min(took)));
        counted.most = counted.most.max(took);
        counted.all += took;
        match &answer.outcome {
            Outcome::Covered(reply) => {
                counted.files = reply.shipment.files.len();
                counted.links = reply.shipment.links.len();
                counted.folders = reply.shipment.folders.len();
            }
            Outcome::NotCovered(_) => {
                counted.not_covered += 1;
                (counted.files, counted.links, counted.folders) = (0, 0, 0);
            }
        }
    }

    /// As a block of lines.
    pub fn text(&self, unit: &str, analyst: &Analyst) -> String {
        let counted = *lock(&self.counted);
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        let average = counted
            .all
            .checked_div(counted.requests)
            .unwrap_or_default();
        let contents = analyst.tree.clock().meter().load(Ordering::Relaxed);
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "TRANSLATION UNIT: {unit}\n\
             time_ms: last {:.2} min {:.2} max {:.2} average {:.2} count {} total {:.2}\n\
             sent: files {} links {} folders {}\n\
             not_covered: {}\n\
             remembered: answers {} ({} KB) contents {} KB\n",
            ms(counted.last),
            ms(counted.least.unwrap_or_default()),
            ms(counted.most),
            ms(average),
            counted.requests,
            ms(counted.all),
            counted.files,
            counted.links,
            counted.folders,
            counted.not_covered,
            analyst.answers.count(),
            analyst.answers.memory() >> 10,
            contents >> 10,
        );
        text
    }
}
