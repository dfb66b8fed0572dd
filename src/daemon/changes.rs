//! What of a configuration may change while the daemon runs, and how a change is told.

use super::config::Config;
use std::fmt::Debug;

/// What is different from before, in words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Changes {
    /// What changes now.
    pub made: Vec<String>,
    /// What would need a new start.
    pub others: Vec<String>,
}

struct Fact {
    name: &'static str,
    value: String,
    may_change: bool,
}

impl Config {
    /// What of this is different from what it was before, in words; `others` have no effect as long as the daemon runs, and
    /// are kept as they were.
    pub fn take_over(&mut self, before: &Config) -> Changes {
        let now = self.facts().into_iter().zip(before.facts());
        let changed = now.filter(|(now, before)| now.value != before.value);
        let (may, others) = changed.partition::<Vec<_>, _>(|(now, _)| now.may_change);
        let words = |(now, before): (Fact, Fact)| {
            format!("{}: {} instead of {}", now.name, now.value, before.value)
        };
        self.mode = before.mode;
        self.nice = before.nice;
        self.listen.clone_from(&before.listen);
        self.statistics.clone_from(&before.statistics);
        self.pid_file.clone_from(&before.pid_file);
        self.user.clone_from(&before.user);
        self.account.clone_from(&before.account);
        self.zeroconf = before.zeroconf;
        self.lifetime = before.lifetime;
        self.oom_score_adj = before.oom_score_adj;
        let cpu_seconds = self.sandbox.limits.cpu_seconds; // They follow the lifetime of jobs.
        self.sandbox.clone_from(&before.sandbox);
        self.sandbox.limits.cpu_seconds = cpu_seconds;
        self.temp_dir.clone_from(&before.temp_dir);
        Changes {
            made: may.into_iter().map(words).collect(),
            others: others.into_iter().map(words).collect(),
        }
    }

    fn facts(&self) -> Vec<Fact> {
        let fact = |may_change, name, value: &dyn Debug| Fact {
            name,
            value: format!("{value:?}"),
            may_change,
        };
        let mut sandbox = self.sandbox.clone();
        sandbox.limits.cpu_seconds = 0;
        vec![
            fact(true, "allow", &self.access.describe()),
            fact(true, "compilers", &self.compilers.describe()),
            fact(true, "jobs", &self.jobs),
            fact(true, "log-file", &self.log),
            fact(true, "log-level", &self.verbosity),
            fact(true, "log-format", &self.log_json),
            fact(true, "job-lifetime", &self.job_lifetime),
            fact(true, "drain", &self.drain),
            fact(true, "memory-floor", &self.memory_floor),
            fact(true, "memory-pressure", &self.memory_pressure),
            fact(false, "listen", &self.listen),
            fact(false, "stats", &(&self.statistics, &self.statistics_names)),
            fact(false, "sandbox", &sandbox),
            fact(false, "zeroconf", &self.zeroconf),
            fact(false, "nice", &self.nice),
            fact(false, "user", &self.user),
            fact(false, "pid-file", &self.pid_file),
            fact(false, "lifetime", &self.lifetime),
            fact(false, "oom-score-adj", &self.oom_score_adj),
        ]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::config::tests::served;
    use std::time::Duration;

    #[test]
    fn what_may_change_is_taken_over_and_the_rest_kept() {
        let before = served("--allow 10.0.0.1 -j4 --nice 1");
        let mut now = served("--allow 10.0.0.2 -j4 --nice 2 --drain 5");
        let changes = now.take_over(&before);
        assert_eq!(
            changes.made,
            [
                "allow: \"10.0.0.2\" instead of \"10.0.0.1\"",
                "drain: 5s instead of 25s"
            ]
        );
        assert_eq!(changes.others, ["nice: 2 instead of 1"]);
        assert_eq!((now.nice, now.drain), (1, Duration::from_secs(5)));
        assert!(now.access.admits("10.0.0.2:1".parse().unwrap()));
    }
}
