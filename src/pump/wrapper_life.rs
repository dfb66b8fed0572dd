//! Whether anybody can still know of a session that was begun by `pump --startup`. Its variables live in a shell, in that
//! shell's children, or in whoever read what pump printed; a session of which no such process is left can't be used.

use crate::os::liveness::{all, kin, Kin};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a session stays when nobody is left who could know of it; its variables may be in a file, too.
pub const GRACE: Duration = Duration::from_secs(3600);

/// Those who can know of a session.
#[derive(Debug)]
pub struct Holders {
    /// Those that lay above pump: the shell that evaluates what it prints, or a program that reads it.
    ancestors: Vec<Kin>,
    /// The number of the system's session in which pump was called, such as that of a terminal.
    session: u32,
    /// What stands in the environment of all that use the session.
    needle: Vec<u8>,
    /// Since when there has been nobody.
    alone_since: Option<Instant>,
}

impl Holders {
    /// Those above this process, which must still be in pump's own session. What runs right below the first process of
    /// the system is a service that knows of nothing, and lives for ever.
    pub fn of_this_process() -> Option<Holders> {
        let me = kin(std::process::id())?;
        let mut ancestors: Vec<Kin> = Vec::new();
        let mut next = me.parent;
        while let Some(found) = kin(next).filter(|found| found.parent > 1) {
            // Whoever would be its own ancestor is a number that was used again meanwhile.
            if ancestors.contains(&found) {
                break;
            }
            next = found.parent;
            ancestors.push(found);
        }
        Some(Holders {
            ancestors,
            session: me.session,
            needle: Vec::new(),
            alone_since: None,
        })
    }

    /// With those who name the session's folder in their environment.
    pub fn of_folder(self, folder: &Path) -> Holders {
        Holders {
            needle: folder.as_os_str().as_encoded_bytes().to_vec(),
            ..self
        }
    }

    /// Whether there has been nobody for `grace`, as far as those who ask this now and then can know.
    pub fn are_gone_for(&mut self, grace: Duration) -> bool {
        if self.is_anybody_there() {
            self.alone_since = None;
            return false;
        }
        let since = *self.alone_since.get_or_insert_with(Instant::now);
        since.elapsed() >= grace
    }

    /// Asks what costs least first. A session of number 0 lies outside of what can be seen.
    fn is_anybody_there(&self) -> bool {
        let lives =
            |ancestor: &Kin| kin(ancestor.pid).is_some_and(|now| now.birth == ancestor.birth);
        if self.session == 0 || self.ancestors.iter().any(lives) {
            return true;
        }
        let own = kin(std::process::id()).map(|me| me.session);
        let others = || all().filter(|found| Some(found.session) != own);
        others().any(|found| found.session == self.session)
            || others().any(|found| self.is_named_by(&found))
    }

    fn is_named_by(&self, process: &Kin) -> bool {
        let environment = fs::read(format!("/proc/{}/environ", process.pid)).unwrap_or_default();
        memchr::memmem::find(&environment, &self.needle).is_some()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::process::{Child, Command};

    fn holders(ancestors: Vec<Kin>, session: u32, needle: &str) -> Holders {
        Holders {
            ancestors,
            session,
            needle: needle.as_bytes().to_vec(),
            alone_since: None,
        }
    }

    /// A process in a session of its own.
    fn sleeper(variable: &str) -> Child {
        let mut command = Command::new("setsid");
        command.args(["sleep", "60"]).env("HOLDERS_TEST", variable);
        command.spawn().unwrap()
    }

    fn end(mut child: Child) {
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Waits until setsid has become sleep, in its own session. A program that is just being started has no words and no
    /// environment for a moment.
    fn settled(child: &Child) -> Kin {
        let words = format!("/proc/{}/cmdline", child.id());
        let sleeps = || fs::read(&words).is_ok_and(|words| words.starts_with(b"sleep"));
        loop {
            match kin(child.id()) {
                Some(found) if found.session == child.id() && sleeps() => return found,
                _ => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    #[test]
    fn an_ancestor_is_somebody_while_it_lives() {
        let child = sleeper("x");
        let found = settled(&child);
        let mut one = holders(vec![found], u32::MAX, "no such text anywhere");
        assert!(!one.are_gone_for(Duration::ZERO));
        let stranger = Kin {
            birth: found.birth + 1,
            ..found
        };
        let mut other = holders(vec![stranger], u32::MAX, "no such text anywhere");
        assert!(other.are_gone_for(Duration::ZERO));
        end(child);
        assert!(one.are_gone_for(Duration::ZERO));
    }

    #[test]
    fn so_is_whoever_is_in_the_session_or_names_the_folder() {
        let folder = format!("/tmp/holders-test-{}", std::process::id());
        let child = sleeper(&format!("{folder}/socket"));
        let found = settled(&child);
        let mut by_session = holders(Vec::new(), found.session, "no such text anywhere");
        let mut by_name = holders(Vec::new(), u32::MAX, &folder);
        let mut unseen = holders(Vec::new(), 0, "no such text anywhere");
        assert!(!by_session.are_gone_for(Duration::ZERO));
        assert!(!by_name.are_gone_for(Duration::ZERO));
        end(child);
        assert!(by_session.are_gone_for(Duration::ZERO));
        assert!(by_name.are_gone_for(Duration::ZERO));
        assert!(!unseen.are_gone_for(Duration::ZERO));
    }

    #[test]
    fn there_is_a_time_of_grace() {
        let mut nobody = holders(Vec::new(), u32::MAX, "no such text anywhere");
        assert!(!nobody.are_gone_for(GRACE));
        std::thread::sleep(Duration::from_millis(2));
        assert!(nobody.are_gone_for(Duration::from_millis(1)));
    }

    #[test]
    fn a_test_has_a_caller() {
        let one = Holders::of_this_process().unwrap();
        assert!(one.is_anybody_there());
        assert_eq!(one.session, kin(std::process::id()).unwrap().session);
    }
}
