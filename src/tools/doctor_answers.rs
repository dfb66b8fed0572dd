//! `distcc doctor`: what a host answers when it is asked for each compiler of this machine, and what that tells: which of them
//! it has, which protocols it speaks, whose daemon it is, and how its clock goes.

use super::doctor_builds::{no_time, Builds};
use super::doctor_compilers::{ask, takes_text, Compiler, Told, Verdict};
use crate::farm::slots::{Slots, Trait};
use crate::model::error::{Code, Error};
use crate::model::findings::{Finding, Level, Topic};
use crate::model::hosts::{HostSpec, Place};
use crate::model::settings::ClientSettings;
use crate::model::wire::{Remark, Version};
use std::time::Instant;

/// A clock that is off by less matters to nobody, in seconds.
const CLOCK_OFF_MAX_S: i64 = 60;

/// The compiler that a compile is tried with: the first of these that the host has, else any.
const PREFERRED: [&str; 4] = ["gcc", "cc", "clang", "g++"];

/// What builds call that are told nothing of compilers.
const USUAL: [&str; 4] = ["cc", "c++", "gcc", "g++"];

/// Over ssh each question is a login, so that only these are asked for.
const OVER_SSH: [&str; 6] = ["gcc", "cc", "g++", "c++", "clang", "clang++"];

/// What all hosts are asked with.
#[derive(Debug)]
pub struct Inquiry {
    /// Timeouts in it are short.
    pub settings: ClientSettings,
    /// Where marks are, if there is such a folder.
    pub slots: Option<Slots>,
    /// That folder, for people.
    pub lock_dir: String,
    /// This machine's compilers.
    pub compilers: Vec<Compiler>,
    /// How compiles are tried.
    pub builds: Builds,
    /// When it is too late to ask for more.
    pub until: Instant,
}

/// Names of compilers, sorted by what the host makes of them.
#[derive(Default)]
struct Sorted<'c> {
    same: Vec<&'c Compiler>,
    alike: Vec<&'c Compiler>,
    other: Vec<(&'c Compiler, String)>,
    refused: Vec<(&'c Compiler, String)>,
    failed: Vec<(&'c Compiler, String)>,
    late: Vec<&'c Compiler>,
    /// Of the last one that was compiled.
    remark: Option<Remark>,
    ahead: Option<i64>,
}

impl<'c> Sorted<'c> {
    fn add(&mut self, compiler: &'c Compiler, told: Told) {
        match told.verdict {
            Verdict::Same => self.same.push(compiler),
            Verdict::Alike => self.alike.push(compiler),
            Verdict::Other(there) => {
                let what = match &compiler.here {
                    Ok(here) if here.version != there.version => {
                        format!("version {} there, {} here", there.version, here.version)
                    }
                    Ok(here) => format!("for {} there, for {} here", there.target, here.target),
                    Err(_) => format!("version {} there", there.version),
                };
                self.other.push((compiler, what));
            }
            Verdict::Refused(why) => self.refused.push((compiler, why)),
            Verdict::Failed(why) => self.failed.push((compiler, why)),
        }
        self.remark = self.remark.or(told.remark);
        self.ahead = self.ahead.or(told.ahead);
    }

    fn accepted(&self) -> Vec<&'c Compiler> {
        let others = self.other.iter().map(|(compiler, _)| *compiler);
        let same = self.same.iter().chain(&self.alike).copied();
        same.chain(others).collect()
    }
}

/// Asks for each compiler of this machine. Gives the one to try a compile with.
pub fn compilers(host: &HostSpec, inquiry: &Inquiry, say: &dyn Fn(Finding)) -> Option<String> {
    let mut sorted = Sorted::default();
    let usable = asked_for(host, &inquiry.compilers, say);
    for compiler in usable.iter().copied() {
        if Instant::now() >= inquiry.until {
            sorted.late.push(compiler);
            continue;
        }
        match ask(host, &inquiry.settings, compiler) {
            Ok(told) => sorted.add(compiler, told),
            Err(err) if err.code == Code::Truncated => {
                sorted
                    .refused
                    .push((compiler, "it hangs up without a word".to_owned()));
            }
            // It has answered before: what is short is time.
            Err(err) if err.code == Code::Timeout && !sorted.accepted().is_empty() => {
                sorted.late.push(compiler);
            }
            Err(err) => {
                say(no_daemon(host, &err));
                return None;
            }
        }
    }
    let first = sorted
        .accepted()
        .first()
        .copied()
        .or_else(|| usable.first().copied())?;
    if Instant::now() >= inquiry.until && sorted.accepted().is_empty() {
        let what = "there was no time left to ask for compilers";
        say(no_time(Finding::ok("compilers", &host.token, what)));
        return None;
    }
    forget_stock(host, &sorted, inquiry, say);
    let accepted = sorted.accepted();
    if !accepted.is_empty() {
        say_compilers(host, &sorted, say);
        say_daemon(host, &sorted, say);
    }
    let text = [Version::V1, Version::V2].map(|version| match Instant::now() < inquiry.until {
        true => takes_text(host, &inquiry.settings, first, version),
        false => Err(Error::new(Code::Timeout, "the time was over")),
    });
    if accepted.is_empty() && sorted.failed.is_empty() && text.iter().all(|taken| taken.is_err()) {
        say(shut_out(host, &sorted));
        return None;
    }
    let is_late = |taken: &Result<(), Error>| {
        let is_timeout = taken.as_ref().is_err_and(|err| err.code == Code::Timeout);
        is_timeout && Instant::now() >= inquiry.until
    };
    if text.iter().any(is_late) {
        let what = "no time was left to ask which versions it speaks";
        say(no_time(Finding::ok("protocol", &host.token, what)));
    } else if !accepted.is_empty() {
        say(protocols(host, &text, true));
    }
    if accepted.is_empty() {
        say_compilers(host, &sorted, say);
        say_daemon(host, &sorted, say);
    }
    let has = |name: &&str| {
        let mut names = accepted.iter().flat_map(|compiler| &compiler.names);
        names.any(|known| known == name)
    };
    let preferred = PREFERRED.iter().find(|name| has(name));
    let any = accepted.first().and_then(|compiler| compiler.names.first());
    preferred.map(|name| (*name).to_owned()).or(any.cloned())
}

/// What answered did not answer as a daemon would.
fn no_daemon(host: &HostSpec, err: &Error) -> Finding {
    let finding = Finding::ok("protocol", &host.token, &err.message);
    match err.code {
        Code::Timeout => finding.fault(
            "it takes connections but answers nothing: see whether its daemon has been stopped, or waits for memory",
            Topic::NotReached,
        ),
        Code::ConnectFailed => finding.fault("it was reached a moment ago: see its daemon's log", Topic::NotReached),
        _ => finding.fault(
            "what answers there does not speak as distccd does: see what listens on that port, and name distccd's",
            Topic::NotReached,
        ),
    }
}

/// Not one compiler was accepted.
fn shut_out(host: &HostSpec, sorted: &Sorted) -> Finding {
    let is_said = |why: &str| why.contains("job refused") || why.contains("exec");
    let is_preferred = |one: &Compiler| PREFERRED.iter().any(|name| one.is_called(name));
    let spoken = || sorted.refused.iter().filter(|(_, why)| is_said(why));
    let said = spoken()
        .find(|(one, _)| is_preferred(one))
        .or_else(|| spoken().next());
    match said {
        Some((_, why)) => Finding::ok("compilers", &host.token, format!("none of this machine's is accepted; {why}")).fault(
            format!("install the same compilers there; if they are installed, {}", way_in(why)),
            Topic::Refused,
        ),
        None if matches!(host.place, Place::Ssh { .. }) => Finding::ok("access", &host.token, "ssh logs in, but distccd there ends without an answer").fault(
            "read what it has said on this terminal; it may lack the compiler, or a folder for temporary files that it may write",
            Topic::Refused,
        ),
        None => Finding::ok("access", &host.token, "it takes connections, but hangs up on every request").fault(
            "let this machine in there: `--allow ADDRESS`; else, on a stock daemon, let the compilers be run (/usr/lib/distcc); its log says which it is",
            Topic::Refused,
        ),
    }
}

/// What lets a compiler be run that is refused in these words.
fn way_in(why: &str) -> &'static str {
    if why.contains("--compilers") {
        "add them to the --compilers of its daemon"
    } else if why.contains("DISTCC_CMDLIST") {
        "add them to the file that its DISTCC_CMDLIST names"
    } else if why.contains("link") {
        "run `update-distcc-symlinks` there"
    } else {
        "run `update-distcc-symlinks` there, or see its --compilers"
    }
}

/// Those of this machine's compilers that a host is asked for, and in which order.
fn asked_for<'c>(
    host: &HostSpec,
    compilers: &'c [Compiler],
    say: &dyn Fn(Finding),
) -> Vec<&'c Compiler> {
    let usable = compilers.iter().filter(|one| one.here.is_ok());
    if !matches!(host.place, Place::Ssh { .. }) {
        return usable.collect();
    }
    let rank = |one: &Compiler| OVER_SSH.iter().position(|name| one.is_called(name));
    let (mut asked, rest): (Vec<&Compiler>, Vec<&Compiler>) =
        usable.partition(|one| rank(one).is_some());
    asked.sort_by_key(|one| rank(one));
    if asked.is_empty() {
        return rest;
    }
    if !rest.is_empty() {
        let names: Vec<String> = rest.iter().map(|one| one.called()).collect();
        let what = format!(
            "not asked for, as each would be a login: {}",
            names.join(", ")
        );
        say(Finding::ok("compilers", &host.token, what));
    }
    asked
}

/// A daemon of ours that has taken the place of stock's is not held to what that was noted for.
fn forget_stock(host: &HostSpec, sorted: &Sorted, inquiry: &Inquiry, say: &dyn Fn(Finding)) {
    let Some(slots) = &inquiry.slots else { return };
    if sorted.remark.is_none() || !slots.knows(host, Trait::Stocks) {
        return;
    }
    for what in [Trait::Stocks, Trait::Inexact, Trait::NoSides] {
        slots.unlearn(host, what);
    }
    say(Finding::ok(
        "noted",
        &host.token,
        "it was noted as a stock daemon, which it is no longer: the note has been removed",
    ));
}

fn protocols(host: &HostSpec, text: &[Result<(), Error>; 2], is_third: bool) -> Finding {
    let works = [text[0].is_ok(), text[1].is_ok(), is_third];
    let names = ["1 (plain)", "2 (lzo)", "3 (pump)"];
    let of = |wanted: bool| -> Vec<&str> {
        let those = works
            .iter()
            .zip(names)
            .filter(|(works, _)| **works == wanted);
        those.map(|(_, name)| name).collect()
    };
    let (good, bad) = (of(true), of(false));
    let wanted = match (host.cpp, host.lzo) {
        (true, _) => works[2],
        (false, true) => works[1],
        (false, false) => works[0],
    };
    if bad.is_empty() {
        return Finding::ok(
            "protocol",
            &host.token,
            "it speaks 1 (plain), 2 (lzo) and 3 (pump)",
        );
    }
    let why = text.iter().find_map(|taken| taken.as_ref().err());
    let why = why.map_or(String::new(), |err| format!(": {}", err.message));
    let what = format!(
        "it speaks {}, but not {}{why}",
        good.join(", "),
        bad.join(", ")
    );
    let level = if wanted { Level::Warning } else { Level::Fault };
    Finding::ok("protocol", &host.token, what).of_level(
        level,
        "end its entry in what it speaks: nothing, ,lzo or ,cpp,lzo; or install a newer distccd there",
        Topic::Pump,
    )
}

fn say_compilers(host: &HostSpec, sorted: &Sorted, say: &dyn Fn(Finding)) {
    let names = |all: &[&Compiler]| {
        let names: Vec<String> = all.iter().map(|one| one.called()).collect();
        names.join(", ")
    };
    let finding = |what: String| Finding::ok("compilers", &host.token, what);
    if !sorted.same.is_empty() {
        say(finding(format!(
            "the same as here: {}",
            names(&sorted.same)
        )));
    }
    if !sorted.alike.is_empty() {
        say(finding(format!(
            "of the same version, but not of the same build: {}",
            names(&sorted.alike)
        ))
        .warning(
            "install the same package of the compiler on both machines",
            Topic::Compilers,
        ));
    }
    for (compiler, what) in &sorted.other {
        say(finding(format!("{}: {what}", compiler.called())).fault(
            "install the same version there, or build with the compiler's full name, such as gcc-12 or x86_64-linux-gnu-gcc-12",
            Topic::Compilers,
        ));
    }
    if let Some((_, why)) = sorted.refused.first() {
        let refused: Vec<&Compiler> = sorted.refused.iter().map(|(one, _)| *one).collect();
        let what = format!("not accepted: {}; {why}", names(&refused));
        let level = match lacks_all_usual(sorted, &refused) {
            true => Level::Fault,
            false => Level::Warning,
        };
        let mend = format!(
            "if builds use them, install them there, and {}",
            way_in(why)
        );
        say(finding(what).of_level(level, mend, Topic::Refused));
    }
    for (compiler, why) in &sorted.failed {
        let level = match lacks_all_usual(sorted, &[*compiler]) {
            true => Level::Fault,
            false => Level::Warning,
        };
        let what = format!("{} may run there, but fails: {why}", compiler.called());
        say(finding(what).of_level(
            level,
            "see whether it works there by hand; if it does, jobs don't see what it needs: let its daemon show that folder (`--show DIR`)",
            Topic::Refused,
        ));
    }
    if !sorted.late.is_empty() {
        say(finding(format!(
            "no time was left to ask for: {}",
            names(&sorted.late)
        ))
        .warning(
            "`distcc doctor --time 60` gives it more time",
            Topic::NotReached,
        ));
    }
}

/// Whether these are among the compilers that builds call unless told otherwise, and the host does none of those.
fn lacks_all_usual(sorted: &Sorted, those: &[&Compiler]) -> bool {
    let is_usual = |one: &Compiler| USUAL.iter().any(|name| one.is_called(name));
    those.iter().any(|one| is_usual(one))
        && sorted.late.is_empty()
        && !sorted.accepted().into_iter().any(is_usual)
}

/// Whose daemon it is, and how its clock goes.
fn say_daemon(host: &HostSpec, sorted: &Sorted, say: &dyn Fn(Finding)) {
    say(Finding::ok(
        "daemon",
        &host.token,
        match sorted.remark {
            Some(Remark::Exact) => "one of ours, which shows compilers the client's own paths",
            Some(_) => "one of ours",
            None => "a stock daemon, or one of ours that can't show compilers the client's paths",
        },
    ));
    let Some(ahead) = sorted.ahead else { return };
    let clock = |what: String| Finding::ok("clock", &host.token, what);
    let way = if ahead > 0 { "ahead of" } else { "behind" };
    say(match (ahead.abs() > CLOCK_OFF_MAX_S, sorted.remark) {
        (true, _) => clock(format!("it is {} s {way} this machine's", ahead.abs())).warning(
            "set both machines' clocks by NTP; objects with __DATE__ and __TIME__ show it, and logs are hard to compare",
            Topic::Compilers,
        ),
        (false, Some(_)) => clock("as here".to_owned()),
        (false, None) => clock("as here, as far as its time zone lets one see".to_owned()),
    });
}
