//! `distcc doctor`: one host of the list. Is it left alone, and is it reached? Then it is asked for compilers, and one is tried.
//! Each step is bound in time, and no host gets a mark for what is found; one that says that it is stock's goes if it is not.

use super::bounded;
use super::doctor_answers::{compilers, Inquiry};
use crate::farm::slots::Trait;
use crate::farm::transport::{addresses, ssh_words};
use crate::model::findings::{Finding, Level, Topic};
use crate::model::hosts::{HostSpec, Place};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// A host that is left alone for longer than this is so because of a mark from the future.
const SHUNNED_MAX: Duration = Duration::from_secs(24 * 3600);

/// Asks a host everything, and says each thing as soon as it is known.
pub fn check(host: &HostSpec, inquiry: &Inquiry, say: &dyn Fn(Finding)) {
    if host.place == Place::Local {
        return say(Finding::ok(
            "host",
            &host.token,
            format!(
                "this machine, {} jobs at once, without a daemon",
                host.slots
            ),
        ));
    }
    if host.down {
        return say(Finding::ok("host", &host.token, "marked ,down: not used"));
    }
    marks(host, inquiry, say);
    let is_reached = match &host.place {
        Place::Tcp { host: name, port } => reach(host, name, *port, inquiry, say),
        Place::Ssh {
            user,
            host: name,
            command,
        } => log_in(host, user.as_deref(), name, command, inquiry, say),
        Place::Local => true,
    };
    if !is_reached {
        return;
    }
    if let Some(compiler) = compilers(host, inquiry, say) {
        inquiry.builds.try_on(host, &compiler, say);
    }
}

/// What earlier compiles have noted of it.
fn marks(host: &HostSpec, inquiry: &Inquiry, say: &dyn Fn(Finding)) {
    let Some(slots) = &inquiry.slots else { return };
    if let Some(rest) = slots.shunned_for(host) {
        let mark = format!("{}/backoff_{}_0", inquiry.lock_dir, host.key());
        let what = match rest > SHUNNED_MAX {
            true => "left alone for more than a day still: its mark is from the future".to_owned(),
            false => format!(
                "left alone for {} s still, because it failed",
                rest.as_secs() + 1
            ),
        };
        say(Finding::ok("backoff", &host.token, what).warning(
            format!("once it works again, `rm {mark}` lets it be used at once"),
            Topic::NotReached,
        ));
    }
    for (what, words) in [
        (Trait::NoPaths, "its daemon can't show compilers our paths"),
        (
            Trait::NoOtherSystem,
            "it takes none but its own system headers",
        ),
        (Trait::NoSides, "no files but the object come home from it"),
        (
            Trait::Inexact,
            "it has given debug information that was not exact",
        ),
    ] {
        if slots.knows(host, what) {
            say(Finding::ok(
                "noted",
                &host.token,
                format!("{words} (found by a compile of the last ten minutes)"),
            ));
        }
    }
}

/// Connects to each of its addresses. Whether one let us.
fn reach(host: &HostSpec, name: &str, port: u16, inquiry: &Inquiry, say: &dyn Fn(Finding)) -> bool {
    let found = match addresses(name, port) {
        Ok(found) if !found.is_empty() => found,
        other => {
            let why = other.map_or_else(|err| err.message, |_| "it has no address".to_owned());
            say(Finding::ok("resolve", &host.token, why).fault(
                "correct the name in the host list, add it to /etc/hosts, or name the address itself",
                Topic::NotReached,
            ));
            return false;
        }
    };
    if name.parse::<std::net::IpAddr>().is_err() {
        let all: Vec<String> = found
            .iter()
            .map(|address| address.ip().to_string())
            .collect();
        say(Finding::ok(
            "resolve",
            &host.token,
            format!("{name} is {}", all.join(", ")),
        ));
    }
    let tried: Vec<_> = found
        .iter()
        .map(|address| (*address, connect_to(address, inquiry)))
        .collect();
    let is_reached = tried.iter().any(|(_, tried)| tried.is_ok());
    for (address, tried) in &tried {
        say(match tried {
            Ok(time) => Finding::ok(
                "connect",
                &host.token,
                format!("{address} answers after {:.1} ms", time.as_secs_f64() * 1e3),
            ),
            Err(err) => {
                let level = if is_reached {
                    Level::Warning
                } else {
                    Level::Fault
                };
                unreached(host, address, err, level)
            }
        });
    }
    is_reached
}

fn connect_to(address: &SocketAddr, inquiry: &Inquiry) -> io::Result<Duration> {
    let begun = Instant::now();
    TcpStream::connect_timeout(address, inquiry.settings.connect_timeout).map(|_| begun.elapsed())
}

fn unreached(host: &HostSpec, address: &SocketAddr, err: &io::Error, level: Level) -> Finding {
    let port = address.port();
    let (what, mend) = match err.kind() {
        io::ErrorKind::ConnectionRefused => (
            format!("{address} refuses connections"),
            format!("start the daemon there, `distccd --daemon --allow NETWORK`; if it runs, `ss -ltn` there shows whether it listens on port {port}, and for others than its own machine"),
        ),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => (
            format!("{address} does not answer"),
            format!("let TCP port {port} through the firewalls on the way, and see whether the machine is on"),
        ),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => (
            format!("there is no way to {address}: {err}"),
            format!("see whether the machine is on, and what `ip route get {}` says", address.ip()),
        ),
        io::ErrorKind::PermissionDenied => (
            format!("connecting to {address}: {err}"),
            "a firewall or sandbox of this machine forbids it: let distcc out".to_owned(),
        ),
        _ => (
            format!("connecting to {address}: {err}"),
            "see whether the machine is on, and whether its daemon runs".to_owned(),
        ),
    };
    Finding::ok("connect", &host.token, what).of_level(level, mend, Topic::NotReached)
}

/// Logs in as compiles would, but so that nobody is asked for a password, and has the daemon's program say its version.
fn log_in(
    host: &HostSpec,
    user: Option<&str>,
    name: &str,
    daemon: &str,
    inquiry: &Inquiry,
    say: &dyn Fn(Finding),
) -> bool {
    let words = ssh_words(inquiry.settings.ssh.as_deref());
    let (program, words) = match words.split_first() {
        Some(parts) => parts,
        None => return false,
    };
    let mut command = Command::new(program);
    command.args(words);
    if Path::new(program).file_name() == Some("ssh".as_ref()) {
        command.args(["-o", "BatchMode=yes"]);
    }
    if let Some(user) = user {
        command.args(["-l", user]);
    }
    command.args([name, daemon, "--version"]);
    let shown = program.to_string_lossy();
    let there = user.map_or(String::new(), |user| format!("{user}@")) + name;
    let at = user.map_or(format!("@{name}"), |_| there.clone());
    let finding = |what: String| Finding::ok("ssh", &host.token, what);
    match bounded::run(&mut command, inquiry.until) {
        Ok(ended) if ended.is_well() => {
            let version = ended.stdout.lines().next().unwrap_or_default();
            say(finding(format!("{shown} logs in, and {daemon} there is {version}")));
            return true;
        }
        Ok(ended) => say(finding(format!("`{shown} {there} {daemon} --version` {}", ended.describe())).fault(
            format!("try it by hand: it must ask for nothing (`ssh-copy-id {there}`); if {daemon} is not found there, name it: {at}:/usr/local/bin/distccd"),
            Topic::NotReached,
        )),
        Err(err) => say(finding(format!("{shown} can't be run: {err}")).fault(
            "install ssh, or let DISTCC_SSH name it",
            Topic::NotReached,
        )),
    }
    false
}
