//! `distcc doctor`: what this machine's settings say. The variables, the host list, the include server, and the daemon
//! that may run here.

use crate::farm::include_link::IncludeServer;
use crate::farm::topdir::TopDir;
use crate::model::direct::Query;
use crate::model::error::{Code, Result};
use crate::model::findings::{counted, Finding, Topic};
use crate::model::hosts::{self, HostList, HostSpec, Place, PORT_DEFAULT};
use crate::model::settings::ClientSettings;
use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Variables of our other programs, and stock's that have no effect here but do no harm.
const OTHERS: [&str; 9] = [
    "DISTCCD_PATH",
    "DISTCC_CLIENT_TMP",
    "DISTCC_CMDLIST",
    "DISTCC_CMDLIST_NUMWORDS",
    "DISTCC_LOCATION",
    "DISTCC_POTENTIAL_HOSTS",
    "DISTCC_TCP_CORK",
    "DISTCC_TCP_DEFER_ACCEPT",
    "DISTCC_TESTING_INCLUDE_SERVER",
];

/// Variables that are 1 or 0.
const SWITCHES: [&str; 4] = [
    "DISTCC_VERBOSE",
    "DISTCC_FALLBACK",
    "DISTCC_SAVE_TEMPS",
    "DISTCC_ENABLE_DISCREPANCY_EMAIL",
];

/// More jobs at once than this on one host are a slip of the finger.
const SLOTS_USUAL_MAX: usize = 512;

/// The client's settings, unless a variable keeps it from starting.
pub fn variables(say: &mut dyn FnMut(Finding)) -> Option<ClientSettings> {
    let asked = std::cell::RefCell::new(BTreeSet::new());
    let settings = ClientSettings::read(|name| {
        asked.borrow_mut().insert(name.to_owned());
        env::var_os(name)
    });
    let mut known = asked.into_inner();
    known.extend(OTHERS.map(str::to_owned));
    let set: Vec<(String, OsString)> = env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .collect();
    for (name, value) in &set {
        if let Some(finding) = odd_variable(name, &value.to_string_lossy(), &known) {
            say(finding);
        }
    }
    match settings {
        Ok(settings) => {
            for odd in &settings.odd_numbers {
                say(Finding::ok("variables", "", odd)
                    .warning("give it a number, or unset it", Topic::NothingSent));
            }
            effects(&settings, say);
            Some(settings)
        }
        Err(err) => {
            say(Finding::ok(
                "variables",
                "",
                format!("{}; every call of distcc fails", err.message),
            )
            .fault("correct or unset it", Topic::NothingSent));
            None
        }
    }
}

fn odd_variable(name: &str, value: &str, known: &BTreeSet<String>) -> Option<Finding> {
    let finding = |what: String| Finding::ok("variables", name, what);
    if SWITCHES.contains(&name) && !matches!(value, "0" | "1") {
        return Some(
            finding(format!(
                "is '{value}', which is neither 0 nor 1: it has no effect"
            ))
            .warning(
                format!("`export {name}=1` or `unset {name}`"),
                Topic::NothingSent,
            ),
        );
    }
    let begin = name.split_once('_').map(|(begin, _)| begin);
    let is_ours = matches!(begin, Some("DISTCC" | "DISTCCD"));
    if !is_ours || known.contains(name) {
        return None;
    }
    let meant = known.iter().find(|known| is_near(name, known));
    let mend = match meant {
        Some(meant) => format!("is {meant} meant?"),
        None => "distcc(1) has all variables; unset it".to_owned(),
    };
    Some(
        finding("is no variable of distcc's: it has no effect".to_owned())
            .warning(mend, Topic::NothingSent),
    )
}

/// Whether two words differ in one letter: another, one more, or one less.
fn is_near(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let front = one.iter().zip(other).take_while(|(a, b)| a == b).count();
    let back =
        |skipped: [usize; 2]| one.get(front + skipped[0]..) == other.get(front + skipped[1]..);
    back([1, 1]) || back([0, 1]) || back([1, 0])
}

/// What settings lead to that may surprise.
fn effects(settings: &ClientSettings, say: &mut dyn FnMut(Finding)) {
    if settings.safeguard > 0 {
        say(Finding::ok(
            "recursion",
            "_DISTCC_SAFEGUARD",
            "is set: whatever distcc is called here, it takes for its own call",
        )
        .fault(
            "`unset _DISTCC_SAFEGUARD`, or leave the shell that distcc started",
            Topic::NothingSent,
        ));
    }
    if !settings.fallback {
        say(Finding::ok(
            "variables",
            "DISTCC_FALLBACK",
            "is 0: a compile that no host takes fails, instead of running here",
        )
        .warning(
            "`unset DISTCC_FALLBACK`, unless that is wanted",
            Topic::NothingSent,
        ));
    }
    if let Some(name) = settings.compiler_variable {
        say(Finding::ok(
            "variables",
            name,
            "is set, which no server would see: everything is compiled here",
        )
        .fault(format!("`unset {name}`"), Topic::NothingSent));
    }
}

/// The list that builds use, or the one of `words`; `None` if there is none to go on with.
pub fn host_list(
    words: &[OsString],
    top: Option<&TopDir>,
    settings: &ClientSettings,
    say: &mut dyn FnMut(Finding),
) -> Option<HostList> {
    let found = match words.is_empty() {
        true => TopDir::host_list_from(top, settings).map(|(list, from)| (list, from.into_owned())),
        false => given(words, top),
    };
    let (list, from) = match found {
        Ok(found) => found,
        Err(err) => {
            let mend = match err.code {
                Code::NoHosts if err.message.contains(hosts::DISCOVERED) => {
                    "start daemons with `--zeroconf --allow NETWORK` on this network, or name hosts"
                }
                Code::NoHosts => {
                    "name hosts, e.g. `export DISTCC_HOSTS='localhost/2 10.0.0.7/8,lzo'`"
                }
                _ => "correct that word; until then everything is compiled here",
            };
            say(Finding::ok("hosts", "", err.message).fault(mend, Topic::HostList));
            return None;
        }
    };
    let jobs: usize = list
        .hosts
        .iter()
        .filter(|host| !host.down)
        .map(|host| host.slots)
        .sum();
    say(Finding::ok(
        "hosts",
        &from,
        format!(
            "{}, {} at once",
            counted(list.hosts.len(), "host"),
            counted(jobs, "job")
        ),
    ));
    for finding in odd_list(&list, &from) {
        say(finding);
    }
    Some(list)
}

fn given(words: &[OsString], top: Option<&TopDir>) -> Result<(HostList, String)> {
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    let from = "the command line".to_owned();
    let text = words.join(" ");
    let list = match (text == hosts::DISCOVERED, top) {
        (true, Some(top)) => HostList {
            hosts: top.found_hosts()?,
            ..HostList::default()
        },
        _ => hosts::parse(&text, &from)?,
    };
    Ok((list, from))
}

/// What is no fault of a list, but hardly meant.
fn odd_list(list: &HostList, from: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut odd = |about: &str, what: String, mend: &str| {
        found.push(Finding::ok("hosts", about, what).warning(mend, Topic::HostList));
    };
    let is_remote = |host: &&HostSpec| host.place != Place::Local && !host.down;
    if list.hosts.iter().all(|host| host.down) {
        odd(
            from,
            "all hosts are marked ,down: everything is compiled here".to_owned(),
            "take ,down away where it no longer holds",
        );
    } else if list.hosts.iter().find(is_remote).is_none() {
        odd(
            from,
            "only this machine is in it: nothing is sent away".to_owned(),
            "add other machines",
        );
    }
    let mut keys = BTreeSet::new();
    for host in &list.hosts {
        if !keys.insert(host.key()) {
            odd(
                &host.token,
                "stands in the list more than once: both share one limit, the larger".to_owned(),
                "keep one of them",
            );
        }
        if host.slots > SLOTS_USUAL_MAX {
            odd(
                &host.token,
                format!("{} jobs at once are more than any machine does", host.slots),
                "give it about as many as it has processors, and two more",
            );
        }
    }
    if let Some(at) = list
        .hosts
        .iter()
        .position(|host| host.place == Place::Local)
    {
        if at == 0 && list.hosts.len() > 1 && list.hosts[0].slots > 64 {
            odd(
                &list.hosts[0].token,
                "this machine comes first, with so many jobs that the others get few".to_owned(),
                "put it last, or give it a lower limit",
            );
        }
    }
    found
}

/// The include server that a build would use, if it runs below `pump` already.
pub fn include_server(
    settings: &ClientSettings,
    list: &HostList,
    source: &Path,
    compiler: Option<&Path>,
    say: &mut dyn FnMut(Finding),
) {
    let is_wanted = list.hosts.iter().any(|host| host.cpp && !host.down);
    let finding = |what: String| Finding::ok("pump", "", what);
    let Some(port) = &settings.pump.port else {
        if is_wanted {
            let path = settings.path.clone().unwrap_or_default();
            let has = |name: &str| which::which_in(name, Some(&path), "/").is_ok();
            say(match has("pump") || has("distcc-pump") || has("distcc") {
                true => finding(
                    "hosts with ,cpp get sources only from builds below `pump`, as in `pump make`"
                        .to_owned(),
                ),
                false => finding("hosts with ,cpp want `pump`, which is not on PATH".to_owned())
                    .warning(
                        "add its folder to PATH; `distcc pump` is the same",
                        Topic::Pump,
                    ),
            });
        }
        return;
    };
    let Some(compiler) = compiler else { return };
    let text = |path: &Path| path.as_os_str().as_encoded_bytes().to_vec();
    let folder = source.parent().unwrap_or(Path::new("/"));
    let query = Query {
        cwd: text(folder),
        pwd: text(folder),
        program: text(compiler),
        argv: vec![
            text(compiler),
            b"-c".to_vec(),
            text(source),
            b"-o".to_vec(),
            b"x.o".to_vec(),
        ],
        ..Query::default()
    };
    let server = IncludeServer::at(port, Duration::from_secs(5), None);
    let about = Finding::ok(
        "pump",
        port.display().to_string(),
        "the include server of INCLUDE_SERVER_PORT answers",
    );
    say(match server.ask(&query, compiler.as_os_str()) {
        Ok(_) => about,
        Err(why) => Finding { what: why, ..about }.fault(
            "start the build anew below `pump`, or `unset INCLUDE_SERVER_PORT`; until then sources are preprocessed here",
            Topic::Pump,
        ),
    });
}

/// Whether a daemon of this machine serves others.
pub fn daemon(say: &mut dyn FnMut(Finding)) {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let tables: Vec<String> = tables
        .iter()
        .map(|table| fs::read_to_string(table).unwrap_or_default())
        .collect();
    let finding = |what: &str| Finding::ok("daemon-here", "", what);
    say(match listens(&tables, PORT_DEFAULT) {
        None => finding("none listens on port 3632: this machine compiles for no others"),
        Some(false) => finding(
            "it listens for this machine only: others can't use it; `--allow NETWORK` lets them in",
        ),
        Some(true) => finding("it listens on port 3632 for others, too"),
    });
}

/// Whether somebody listens on a port, by the text of `/proc/net/tcp` and its kin: for others than this machine?
fn listens(tables: &[String], port: u16) -> Option<bool> {
    const LISTENING: &str = "0A";
    let ending = format!(":{port:04X}");
    let lines = tables.iter().flat_map(|table| table.lines());
    let found = lines.filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let address = fields.next()?.strip_suffix(&ending)?;
        (fields.nth(1)? == LISTENING).then_some(!is_loopback(address))
    });
    found.reduce(|one, other| one || other)
}

/// Of an address as the tables have it: words of four bytes, each in this machine's order.
fn is_loopback(address: &str) -> bool {
    let bytes: Vec<u8> = (0..address.len() / 8)
        .filter_map(|word| u32::from_str_radix(address.get(word * 8..word * 8 + 8)?, 16).ok())
        .flat_map(u32::to_ne_bytes)
        .collect();
    match <[u8; 4]>::try_from(&bytes[..]) {
        Ok(four) => std::net::Ipv4Addr::from(four).is_loopback(),
        Err(_) => <[u8; 16]>::try_from(&bytes[..])
            .is_ok_and(|all| std::net::Ipv6Addr::from(all).is_loopback()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::findings::Level;

    #[test]
    fn variables_are_judged_by_name_and_value() {
        let known = ["DISTCC_HOSTS", "DISTCC_LOG", "DISTCC_VERBOSE"].map(str::to_owned);
        let known = BTreeSet::from(known);
        for (name, value, words) in [
            ("DISTCC_HOST", "a", Some("is DISTCC_HOSTS meant?")),
            ("DISTCC_HOTSS", "a", Some("distcc(1) has all")),
            ("DISTCC_VERBOSE", "yes", Some("export DISTCC_VERBOSE=1")),
            ("DISTCC_VERBOSE", "1", None),
            ("DISTCC_HOSTS", "", None),
            ("PATH", "", None),
        ] {
            let found = odd_variable(name, value, &known);
            let mend = found.and_then(|finding| finding.mend);
            assert_eq!(mend.is_some(), words.is_some(), "{name}: {mend:?}");
            assert!(
                mend.unwrap_or_default().contains(words.unwrap_or_default()),
                "{name}"
            );
        }
    }

    #[test]
    fn lists_are_judged_by_what_they_lead_to() {
        for (text, words) in [
            ("localhost/2", Some("only this machine")),
            ("a,down", Some("all hosts are marked")),
            ("a b a/2", Some("more than once")),
            ("a/9999", Some("more than any machine")),
            ("localhost/2 a/8,lzo", None),
        ] {
            let found = odd_list(&hosts::parse(text, "x").unwrap(), "x");
            assert_eq!(
                found.len(),
                usize::from(words.is_some()),
                "{text}: {found:?}"
            );
            for finding in found {
                assert_eq!(finding.level, Level::Warning);
                assert!(finding.what.contains(words.unwrap()), "{finding:?}");
            }
        }
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn who_listens_is_in_the_systems_tables() {
        let head = "  sl  local_address rem_address   st\n";
        let line = |address: &str, state: &str| {
            format!("{head}   0: {address}:0E30 00000000:0000 {state} 0\n")
        };
        for (address, state, expected) in [
            ("0100007F", "0A", Some(false)),
            ("00000000", "0A", Some(true)),
            ("0100007F", "01", None),
            ("00000000000000000000000000000000", "0A", Some(true)),
            ("00000000000000000000000001000000", "0A", Some(false)),
        ] {
            assert_eq!(
                listens(&[line(address, state)], 3632),
                expected,
                "{address}"
            );
        }
        assert_eq!(listens(&[line("00000000", "0A")], 3633), None);
    }
}
