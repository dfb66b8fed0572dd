//! What keeps a compiler to its job: how much of that is wanted, what this machine has of it, and how that is told. A value
//! only; what it says is found out in `launch` and done in `enter`.

use crate::os::limits::Limits;
use std::fmt;
use std::path::PathBuf;

/// What `--sandbox` asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Wanted {
    /// As much as the system has.
    #[default]
    Auto,
    /// Enough, or no daemon.
    Require,
    /// Limits alone.
    Off,
}

impl Wanted {
    /// The value of the option.
    pub fn named(name: &str) -> Option<Wanted> {
        match name {
            "auto" => Some(Wanted::Auto),
            "require" => Some(Wanted::Require),
            "off" => Some(Wanted::Off),
            _ => None,
        }
    }
}

/// What a daemon was told of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Asked {
    /// How much is wanted.
    pub wanted: Wanted,
    /// Folders that jobs see beside the system's.
    pub show: Vec<PathBuf>,
    /// Folders that jobs may change.
    pub share: Vec<PathBuf>,
    /// What each process of a job may use.
    pub limits: Limits,
}

/// The layers between a compiler and this machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sandbox {
    /// What was asked for.
    pub wanted: Wanted,
    /// A file tree and a table of processes of its own; else why not.
    pub namespaces: Result<(), String>,
    /// Calls of the system can be given up.
    pub seccomp: bool,
    /// Files can be given up.
    pub landlock: bool,
    /// Signals to other processes can be given up.
    pub scopes: bool,
    /// It is looked now and then how much memory all processes of a job hold together.
    pub watches: bool,
}

impl Sandbox {
    /// Whether a compiler that is taken over by what it compiles stays in its job.
    pub fn is_whole(&self) -> bool {
        self.wanted != Wanted::Off && self.hides_files() && self.seccomp && self.keeps_signals()
    }

    fn keeps_signals(&self) -> bool {
        self.namespaces.is_ok() || self.scopes
    }

    /// Whether jobs see no files of this machine but those that are shown.
    pub fn hides_files(&self) -> bool {
        self.wanted != Wanted::Off && (self.namespaces.is_ok() || self.landlock)
    }

    /// The layers that there are, for people and for the statistics.
    fn layers(&self) -> Vec<&'static str> {
        let is_on = self.wanted != Wanted::Off;
        let layers = [
            ("namespaces", is_on && self.namespaces.is_ok()),
            ("seccomp", is_on && self.seccomp),
            ("Landlock", is_on && self.landlock),
            ("limits", true),
            ("memory watched", self.watches),
        ];
        let layers = layers.into_iter().filter(|(_, there)| *there);
        layers.map(|(layer, _)| layer).collect()
    }

    /// What is missing, and what that means; nothing if all is well or nothing else is wanted.
    pub fn fault(&self) -> Option<String> {
        let why = || self.namespaces.as_ref().err().map_or("", String::as_str);
        if self.wanted == Wanted::Off {
            Some("--sandbox=off: compilers can read and write what this user can, and use the network".to_owned())
        } else if !self.hides_files() {
            Some(format!(
                "compilers can read what this user can read: the system has neither namespaces ({}) nor Landlock",
                why()
            ))
        } else if !self.seccomp {
            Some("compilers can't be kept from the network: the system has no seccomp".to_owned())
        } else if !self.keeps_signals() {
            Some(format!(
                "compilers can end each other and distccd by signals: the system has neither namespaces ({}) nor Landlock of Linux 6.12",
                why()
            ))
        } else {
            None
        }
    }
}

impl fmt::Display for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.layers().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sandbox(wanted: Wanted, namespaces: bool, seccomp: bool, landlock: bool) -> Sandbox {
        Sandbox {
            wanted,
            namespaces: match namespaces {
                true => Ok(()),
                false => Err("forbidden".to_owned()),
            },
            seccomp,
            landlock,
            scopes: landlock,
            watches: namespaces,
        }
    }

    #[test]
    fn what_is_missing_is_said() {
        use Wanted::{Auto, Off, Require};
        for (wanted, namespaces, seccomp, landlock, told, fault) in [
            (
                Auto,
                true,
                true,
                true,
                "namespaces, seccomp, Landlock, limits, memory watched",
                None,
            ),
            (
                Require,
                true,
                true,
                false,
                "namespaces, seccomp, limits, memory watched",
                None,
            ),
            (Auto, false, true, true, "seccomp, Landlock, limits", None),
            (
                Require,
                false,
                true,
                false,
                "seccomp, limits",
                Some("(forbidden)"),
            ),
            (
                Auto,
                true,
                false,
                true,
                "namespaces, Landlock, limits, memory watched",
                Some("no seccomp"),
            ),
            (
                Off,
                true,
                true,
                true,
                "limits, memory watched",
                Some("--sandbox=off"),
            ),
        ] {
            let sandbox = sandbox(wanted, namespaces, seccomp, landlock);
            assert_eq!(sandbox.to_string(), told);
            let said = sandbox.fault();
            assert_eq!(said.is_none(), fault.is_none(), "{told}");
            assert!(said.unwrap_or_default().contains(fault.unwrap_or("")));
            assert_eq!(sandbox.is_whole(), fault.is_none());
        }
        assert_eq!(Wanted::named("Off"), None);
        assert_eq!(Wanted::named("require"), Some(Require));
    }
}
