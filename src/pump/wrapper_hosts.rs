//! The hosts of a pumped build: those of the usual list, or those of `$DISTCC_POTENTIAL_HOSTS` that answer. What is said
//! of them, and what `$DISTCC_HOSTS` has to be for the build.

use super::wrapper_shell;
use crate::farm::topdir::TopDir;
use crate::model::error::{Code, Error, Result};
use crate::model::hosts::{HostList, Place};
use crate::model::settings::ClientSettings;
use crate::os::net::wait_readable;
use crate::os::supervise;
use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// This program, which is `lsdistcc` too.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// How long a potential host may take to answer, as an option of `lsdistcc`: stock's limit.
const PROBE_OPTION: &str = "-c150";

/// Where the hosts come from.
#[derive(Debug)]
pub enum Hosts {
    /// From the host list.
    Listed(HostList),
    /// From those that are being asked.
    Potential(Search),
}

/// What a build is told about its hosts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Told {
    /// The value of `$DISTCC_HOSTS`, if it has to be another one than it is.
    pub variable: Option<OsString>,
    /// One line for people.
    pub line: String,
    /// How many potential hosts answer, if any were asked.
    pub found: Option<usize>,
}

impl Hosts {
    /// Reads the host list, of which one host at least must take pump mode; or begins to ask potential hosts.
    pub fn begin(settings: &ClientSettings) -> Result<Hosts> {
        let filled = |name| env::var_os(name).filter(|value| !value.is_empty());
        if let Some(potential) = filled("DISTCC_POTENTIAL_HOSTS") {
            let words = wrapper_shell::words(&filled("LSDISTCC_ARGS").unwrap_or_default());
            return Search::start(&words, &potential).map(Hosts::Potential);
        }
        let top = TopDir::find(settings).ok();
        let list = TopDir::host_list(top.as_ref(), settings)?;
        match list.hosts.iter().any(|host| host.cpp) {
            true => Ok(Hosts::Listed(list)),
            false => Err(none_pumps(&list)),
        }
    }

    /// What the build is told: with or without an include server.
    pub fn told(self, is_pumped: bool) -> Result<Told> {
        match self {
            Hosts::Listed(list) => Ok(Told {
                variable: (!is_pumped).then(|| without_pump(&list).into()),
                line: count(&list),
                found: None,
            }),
            Hosts::Potential(search) => {
                let found = found(&search.finish()?, is_pumped);
                Ok(Told {
                    line: format!("Found {} available distcc servers", found.len()),
                    found: Some(found.len()),
                    variable: Some(format!("--randomize {}", found.join(" ")).into()),
                })
            }
        }
    }
}

fn none_pumps(list: &HostList) -> Error {
    let remote = list.hosts.iter().find(|host| host.place != Place::Local);
    let example = remote.map_or("HOST".to_owned(), |host| host.token.replace(",lzo", ""));
    Error::new(
        Code::Unpumped,
        format!(
            "pump mode requested, but distcc hosts list does not contain any hosts with ',cpp' option; \
             for each host that may preprocess write {example},cpp,lzo; without pump mode no wrapper is needed"
        ),
    )
}

/// Stock's line; scripts look for it.
fn count(list: &HostList) -> String {
    let pumping = list.hosts.iter().filter(|host| host.cpp).count();
    match (list.hosts.len(), pumping) {
        (1, _) => "Using 1 distcc server in pump mode".to_owned(),
        (all, pumping) if all == pumping => format!("Using {all} distcc servers in pump mode"),
        (all, pumping) => {
            format!("Using {all} distcc servers, of which only {pumping} support(s) pump mode")
        }
    }
}

/// The list as text, in which no host takes pump mode.
fn without_pump(list: &HostList) -> String {
    let usual = HostList::default();
    let mut words = Vec::new();
    if list.randomize {
        words.push("--randomize".to_owned());
    }
    for (name, slots, usual) in [
        ("localslots", list.localslots, usual.localslots),
        ("localslots_cpp", list.localslots_cpp, usual.localslots_cpp),
    ] {
        if slots != usual {
            words.push(format!("--{name}={slots}"));
        }
    }
    let options = |token: &str| {
        let options = token.split(',').filter(|option| *option != "cpp");
        options.collect::<Vec<&str>>().join(",")
    };
    words.extend(list.hosts.iter().map(|host| options(&host.token)));
    words.join(" ")
}

/// The hosts that a search has found, as words for a host list.
fn found(said: &str, is_pumped: bool) -> Vec<String> {
    let wanted: &[&str] = if is_pumped { &["cpp", "lzo"] } else { &["lzo"] };
    let lines = said.lines();
    // With -l a number follows, with -x and -P there are options already.
    let words = lines.filter_map(|line| line.split_whitespace().next());
    words
        .map(|word| {
            let mut options: Vec<&str> = word
                .split(',')
                .filter(|option| is_pumped || *option != "cpp")
                .collect();
            for option in wanted {
                if !options.contains(option) {
                    options.push(option);
                }
            }
            options.join(",")
        })
        .collect()
}

/// An `lsdistcc` at work; ended when dropped.
#[derive(Debug)]
pub struct Search(Child);

impl Search {
    fn start(options: &[OsString], potential: &OsStr) -> Result<Search> {
        let child = Command::new(THIS_PROGRAM)
            .arg0("lsdistcc")
            .arg(PROBE_OPTION)
            .args(options)
            .args(wrapper_shell::words(potential))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn();
        child.map(Search).map_err(|err| trouble(&err))
    }

    /// All that it says. A final signal ends the waiting.
    fn finish(mut self) -> Result<String> {
        let mut said = Vec::new();
        let Some(mut stdout) = self.0.stdout.take() else {
            return Ok(String::new());
        };
        let mut piece = [0; 4096];
        loop {
            let mut fds = vec![stdout.as_fd()];
            fds.extend(supervise::coming());
            let read = match wait_readable(&fds, None) {
                Ok(Some(0)) => stdout.read(&mut piece),
                Ok(_) => Err(io::Error::other("a signal came")),
                Err(err) => Err(err),
            };
            match read {
                Ok(0) => return Ok(String::from_utf8_lossy(&said).into_owned()),
                Ok(count) => said.extend_from_slice(&piece[..count]),
                Err(err) => return Err(trouble(&err)),
            }
        }
    }
}

fn trouble(err: &io::Error) -> Error {
    Error::io("can't ask $DISTCC_POTENTIAL_HOSTS", err)
}

impl Drop for Search {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::hosts;

    fn list(text: &str) -> HostList {
        hosts::parse(text, "test").unwrap()
    }

    #[test]
    fn hosts_are_counted_as_stock_does() {
        for (text, expected) in [
            ("a,cpp,lzo", "Using 1 distcc server in pump mode"),
            ("a,cpp,lzo b,lzo,cpp", "Using 2 distcc servers in pump mode"),
            (
                "localhost a,cpp,lzo --randomize b",
                "Using 3 distcc servers, of which only 1 support(s) pump mode",
            ),
        ] {
            assert_eq!(count(&list(text)), expected);
        }
    }

    #[test]
    fn a_list_without_pump_hosts_says_what_to_write() {
        let said = none_pumps(&list("localhost box/8,lzo")).message;
        assert!(said.contains("write box/8,cpp,lzo;"), "{said}");
        let said = none_pumps(&list("localhost")).message;
        assert!(said.contains("write HOST,cpp,lzo;"), "{said}");
    }

    #[test]
    fn a_list_can_do_without_pump_mode() {
        let text = "--randomize --localslots=3 localhost/2 a/4,cpp,lzo me@b,lzo,cpp,down [::1]:9";
        let plain = without_pump(&list(text));
        assert_eq!(
            plain,
            "--randomize --localslots=3 localhost/2 a/4,lzo me@b,lzo,down [::1]:9"
        );
        let (before, after) = (list(text), list(&plain));
        assert_eq!(before.hosts.len(), after.hosts.len());
        assert!(after.hosts.iter().all(|host| !host.cpp));
    }

    #[test]
    fn what_lsdistcc_finds_becomes_a_list() {
        let said = "a\n10.0.0.1:3633\nb,lzo,cpp 12\n\n";
        assert_eq!(
            found(said, true),
            ["a,cpp,lzo", "10.0.0.1:3633,cpp,lzo", "b,lzo,cpp"]
        );
        assert_eq!(found(said, false), ["a,lzo", "10.0.0.1:3633,lzo", "b,lzo"]);
        assert_eq!(found("", true), [""; 0]);
    }
}
