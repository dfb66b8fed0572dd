//! What `distcc doctor` has found: a line for each check, with the way out and the heading of README that says more, as
//! text for people and as JSON for programs. How a thing is checked is others' affair.

use serde::Serialize;
use std::fmt::Write as _;

/// The version of the JSON: raised when a key changes its meaning or goes.
const JSON_VERSION: u32 = 1;

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be, or worth knowing.
    Ok,
    /// Builds work, but not as well as they could, or it may be meant so.
    Warning,
    /// Something does not work, or would give other objects than a compile here.
    Fault,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Fault => "FAULT",
        }
    }
}

/// The headings below README's "When something is wrong".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Topic {
    /// No list, or a faulty one.
    HostList,
    /// Names, ports, firewalls, ssh.
    NotReached,
    /// It hangs up, or says that it may not.
    Refused,
    /// Other versions, other targets, none at all.
    Compilers,
    /// distcc is not called, or not for this.
    NothingSent,
    /// Include server and `pump`.
    Pump,
    /// `DISTCC_DIR`, `TMPDIR`.
    Folders,
    /// What daemons log.
    Daemon,
}

impl Topic {
    /// All of them, in README's order.
    pub const ALL: [Topic; 8] = [
        Topic::HostList,
        Topic::NotReached,
        Topic::Refused,
        Topic::Compilers,
        Topic::NothingSent,
        Topic::Pump,
        Topic::Folders,
        Topic::Daemon,
    ];

    /// The heading as it stands in README.
    pub fn heading(self) -> &'static str {
        match self {
            Topic::HostList => "The host list",
            Topic::NotReached => "A host is not reached",
            Topic::Refused => "A host refuses or hangs up",
            Topic::Compilers => "Compilers differ",
            Topic::NothingSent => "Nothing is sent away",
            Topic::Pump => "Pump mode does not work",
            Topic::Folders => "Folders and locks",
            Topic::Daemon => "The daemon's log",
        }
    }
}

/// One check and what came of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// Which check: a stable name.
    pub check: &'static str,
    /// What was checked, e.g. a host as it stands in the list; empty if the check's name says it.
    pub about: String,
    /// How bad it is.
    pub level: Level,
    /// What was found.
    pub what: String,
    /// How to mend it, unless all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
    /// The heading of README that says more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub see: Option<&'static str>,
}

impl Finding {
    /// All is well, or this is worth knowing.
    pub fn ok(check: &'static str, about: impl Into<String>, what: impl Into<String>) -> Finding {
        Finding {
            check,
            about: about.into(),
            level: Level::Ok,
            what: what.into(),
            mend: None,
            see: None,
        }
    }

    /// The same as a warning, with the way out.
    pub fn warning(self, mend: impl Into<String>, see: Topic) -> Finding {
        self.of_level(Level::Warning, mend, see)
    }

    /// The same as a fault, with the way out.
    pub fn fault(self, mend: impl Into<String>, see: Topic) -> Finding {
        self.of_level(Level::Fault, mend, see)
    }

    /// The same, as bad as that, with the way out.
    pub fn of_level(self, level: Level, mend: impl Into<String>, see: Topic) -> Finding {
        Finding {
            level,
            mend: Some(mend.into()),
            see: Some(see.heading()),
            ..self
        }
    }

    /// `fault  connect  10.0.0.7: Connection refused`, and below it the way out.
    pub fn text(&self) -> String {
        let about = match self.about.is_empty() {
            true => String::new(),
            false => format!("{}: ", self.about),
        };
        let mut text = format!("{:<7}  {:<11} ", self.level.word(), self.check);
        let _ = writeln!(text, "{}", on_one_line(&format!("{about}{}", self.what)));
        if let Some(mend) = &self.mend {
            let see = self.see.map(|heading| format!(" (README: {heading})"));
            let mend = on_one_line(mend);
            let _ = writeln!(text, "{:<7}  → {mend}{}", "", see.unwrap_or_default());
        }
        text
    }
}

/// What a peer says may hold anything: nothing of it controls the terminal.
fn on_one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// All findings.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Findings(pub Vec<Finding>);

#[derive(Serialize)]
struct Document<'f> {
    version: u32,
    level: Level,
    warnings: usize,
    faults: usize,
    checks: &'f [Finding],
}

impl Findings {
    /// How bad the worst of them is.
    pub fn level(&self) -> Level {
        let levels = self.0.iter().map(|finding| finding.level);
        levels.max().unwrap_or(Level::Ok)
    }

    fn count(&self, level: Level) -> usize {
        let levels = self.0.iter().map(|finding| finding.level);
        levels.filter(|found| *found == level).count()
    }

    /// One line on all of them.
    pub fn summary(&self) -> String {
        let (warnings, faults) = (self.count(Level::Warning), self.count(Level::Fault));
        match (warnings, faults) {
            (0, 0) => "Nothing is wrong.".to_owned(),
            _ => format!(
                "{}, {}.",
                counted(faults, "fault"),
                counted(warnings, "warning")
            ),
        }
    }

    /// An object with `version`, `level`, `warnings`, `faults`, and `checks`: objects with `check`, `about`, `level`,
    /// `what`, and, unless all is well, `mend` and `see`.
    pub fn json(&self) -> String {
        let document = Document {
            version: JSON_VERSION,
            level: self.level(),
            warnings: self.count(Level::Warning),
            faults: self.count(Level::Fault),
            checks: &self.0,
        };
        // Nothing in it can fail to be written.
        serde_json::to_string(&document).unwrap_or_default() + "\n"
    }
}

/// `1 host`, `2 hosts`.
pub fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn findings() -> Findings {
        Findings(vec![
            Finding::ok("tmpdir", "/tmp", "9 GB free"),
            Finding::ok("connect", "a", "refused\n\u{1b}[2J").fault("start it", Topic::NotReached),
            Finding::ok("path", "", "no link").warning("add it", Topic::NothingSent),
        ])
    }

    #[test]
    fn lines_are_for_people_and_control_nothing() {
        let text: String = findings().0.iter().map(Finding::text).collect();
        assert_eq!(
            text,
            "ok       tmpdir      /tmp: 9 GB free\n\
             FAULT    connect     a: refused  [2J\n         → start it (README: A host is not reached)\n\
             warning  path        no link\n         → add it (README: Nothing is sent away)\n"
        );
        assert_eq!(findings().summary(), "1 fault, 1 warning.");
        assert_eq!(Findings::default().summary(), "Nothing is wrong.");
    }

    #[test]
    fn the_keys_are_stable() {
        let value: serde_json::Value = serde_json::from_str(&findings().json()).unwrap();
        assert_eq!(value["version"], 1);
        assert_eq!(value["level"], "fault");
        assert_eq!(
            (&value["faults"], &value["warnings"]),
            (&1.into(), &1.into())
        );
        let checks = value["checks"].as_array().unwrap();
        let keys = |at: usize| -> Vec<&str> {
            let keys = checks[at].as_object().unwrap().keys();
            keys.map(String::as_str).collect()
        };
        assert_eq!(keys(0), ["about", "check", "level", "what"]);
        assert_eq!(keys(1), ["about", "check", "level", "mend", "see", "what"]);
        assert_eq!(checks[1]["see"], Topic::NotReached.heading());
        assert_eq!(Findings::default().level(), Level::Ok);
    }
}
