//! `distcc why COMMAND…`: what would become of a compiler's command, and why, without compiling it or asking any host.
//! Everything is decided by the same functions as for a compile.

use super::discrepancy::Session;
use super::here::check_source;
use super::masquerade;
use super::native;
use super::program::command;
use super::pumped::Pump;
use super::remote::Job;
use super::report::{quoted, Report};
use super::sides;
use crate::farm::cross::Compiler;
use crate::farm::slots::{Slots, Trait};
use crate::farm::topdir::TopDir;
use crate::model::about::VARIABLES;
use crate::model::entries::{Entries, Raw};
use crate::model::error::{Code, Error, Result, Status};
use crate::model::expand::expand;
use crate::model::explain::{explain, Does, Effect};
use crate::model::hosts::{HostList, HostSpec, Place};
use crate::model::invocation::{scan, Invocation, Scan};
use crate::model::path_list::{folder_of, is_system_link};
use crate::model::search_variables;
use crate::model::settings::ClientSettings;
use crate::os::files::read_plain_file;
use crate::os::logging;
use std::borrow::Cow;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::io::{self, Write};

/// The status if the command would run on this machine.
const STAYS: Status = Status(1);

const HELP: &str = "\
Usage: distcc why COMPILER [COMPILER OPTIONS]

Says whether this command would be compiled on another machine, what each of its words does, what would be sent, and which
hosts could take it now. Compiles nothing, and asks no host.

The exit status is 0 if it would be compiled on another machine, 1 if on this one.
";

/// `why COMMAND…`; all words, the first is `why`.
pub fn why(argv: Vec<OsString>) -> Result<Status> {
    let mut words = argv.into_iter().skip(1);
    let Some(first) = words.next() else {
        let message = "missing operand: why wants a compiler command, such as `gcc -c x.c`";
        return Err(Error::new(Code::BadArguments, message));
    };
    if first == "--help" {
        return print(HELP, Status::OK);
    }
    let settings = ClientSettings::read(|name| env::var_os(name))?;
    logging::client(&settings);
    let argv = command(first, words);
    let runs = argv.first().map(OsString::as_os_str).unwrap_or_default();
    // A compiler that is asked something may be a link to us.
    masquerade::mark_environment(settings.safeguard, OsStr::new("why"), runs, None);
    let mut report = Report::default();
    let status = tell(&argv, &settings, &mut report);
    print(report.text(), status)
}

fn tell(argv: &[OsString], settings: &ClientSettings, report: &mut Report) -> Status {
    let invocation = match scan(argv, &read_plain_file) {
        Scan::Distributable(invocation) => invocation,
        Scan::Local(local) => {
            match &local.source {
                Some(source) => stays(report, &source.display(), &local.reason),
                None => report.line(&format!("This command runs here: {}.", local.reason)),
            }
            report.section("Words", &word_lines(argv));
            return STAYS;
        }
    };
    let source = invocation.input.display();
    let path = settings.path.clone().unwrap_or_default();
    let variable = settings.compiler_variable;
    let unseen = variable.map(|name| format!("${name} is set, which a server would not see"));
    let hindrance = unseen.or_else(|| check_source(&invocation.input, argv).err());
    let found = native::for_other_machines(&invocation, &path, settings);
    match (hindrance, &found) {
        (Some(why), _) => stays(report, &source, &why),
        (None, Err(why)) => stays(report, &source, why),
        (None, Ok(found)) => return Case::new(argv, settings, found).tell(report),
    }
    report.section("Words", &word_lines(argv));
    report.section("Variables", &variable_lines(settings));
    STAYS
}

fn stays(report: &mut Report, source: &dyn Display, why: &dyn Display) {
    report.line(&format!("{source} is compiled here: {why}."));
}

fn print(text: &str, status: Status) -> Result<Status> {
    io::stdout()
        .write_all(text.as_bytes())
        .map_err(|err| Error::io("write to stdout", &err))?;
    Ok(status)
}

/// A line for each word; those that keep the command here first.
fn word_lines(argv: &[OsString]) -> Vec<(String, String)> {
    let mut effects = explain(&expand(argv, &read_plain_file));
    effects.sort_by_key(|effect| !matches!(effect.does, Does::Keep(_)));
    let line = |effect: &Effect| (quoted(&effect.words), effect.text());
    effects.iter().map(line).collect()
}

/// A compile that may be sent, with all that is to be told of it.
struct Case<'c> {
    argv: &'c [OsString],
    settings: &'c ClientSettings,
    invocation: &'c Invocation,
    compiler: Compiler,
    list: Result<(HostList, Cow<'static, str>)>,
    slots: Option<Slots>,
}

impl<'c> Case<'c> {
    fn new(
        argv: &'c [OsString],
        settings: &'c ClientSettings,
        invocation: &'c Invocation,
    ) -> Case<'c> {
        let path = settings.path.clone().unwrap_or_default();
        let top = TopDir::find(settings).ok();
        Case {
            argv,
            settings,
            invocation,
            compiler: Compiler::of(argv, &path, settings.rewrite_cross),
            list: TopDir::host_list_from(top.as_ref(), settings),
            slots: top.and_then(|top| Slots::open(&top, settings).ok()),
        }
    }

    fn tell(&self, report: &mut Report) -> Status {
        let mut pump = self.pump();
        let files = pump.as_mut().map_err(|why| why.clone()).and_then(|pump| {
            let files = pump.files().map(|covered| covered.entries.clone());
            Ok((pump.words().to_vec(), files?))
        });
        let text = Job::new(self.invocation, &self.compiler, self.settings.dumb_terminal);
        let ways = Ways {
            pump: files.as_ref().err().map(String::as_str),
            text: text.as_ref().err().map(String::as_str),
            demanding: text.as_ref().is_ok_and(Job::is_demanding),
        };
        let hosts = self.hosts(&ways);
        let is_sent = hosts.iter().any(|(_, _, takes)| *takes);
        report.line(&self.verdict(&ways, &hosts, is_sent));
        report.section("Words", &word_lines(self.argv));
        report.section("Preprocessed here, as text", &text_lines(&text));
        report.section("In pump mode", &pump_lines(&files));
        let from = self
            .list
            .as_ref()
            .map_or("".into(), |(_, from)| format!(", from {from}"));
        let lines: Vec<_> = hosts
            .into_iter()
            .map(|(host, fate, _)| (host, fate))
            .collect();
        report.section(&format!("Hosts{from}"), &lines);
        report.section("Variables", &variable_lines(self.settings));
        if is_sent {
            Status::OK
        } else {
            STAYS
        }
    }

    fn has_pump_hosts(&self) -> bool {
        let hosts = self.list.as_ref().map_or(&[][..], |(list, _)| &list.hosts);
        hosts.iter().any(|host| host.cpp && !host.down)
    }

    /// The job for pump mode, or why it does not go that way.
    fn pump(&self) -> std::result::Result<Pump<'c>, String> {
        if !self.has_pump_hosts() {
            return Err("no host of the list has ,cpp".to_owned());
        }
        if self.invocation.preprocessed {
            return Err("it is preprocessed already".to_owned());
        }
        Session::of(&self.settings.pump).check()?;
        if let Some(why) = sides::stays(self.invocation, self.compiler.family) {
            return Err(why);
        }
        let path = self.settings.path.clone().unwrap_or_default();
        Pump::new(self.invocation, &self.compiler, &path, self.settings)
    }

    /// Each host, what it would do, and whether that is to compile it.
    fn hosts(&self, ways: &Ways) -> Vec<(String, String, bool)> {
        let list = match &self.list {
            Ok((list, _)) => list,
            Err(err) => return vec![("none".to_owned(), err.message.clone(), false)],
        };
        let told = list.hosts.iter().map(|host| {
            let (fate, takes) = self.fate(host, ways);
            (host.token.clone(), fate, takes)
        });
        told.collect()
    }

    fn fate(&self, host: &HostSpec, ways: &Ways) -> (String, bool) {
        let knows = |what| {
            self.slots
                .as_ref()
                .is_some_and(|slots| slots.knows(host, what))
        };
        let shunned = self
            .slots
            .as_ref()
            .and_then(|slots| slots.shunned_for(host));
        if host.place == Place::Local {
            return (
                "this machine: compiled here if its turn comes".to_owned(),
                false,
            );
        }
        if host.down {
            return ("not used: it is marked ,down".to_owned(), false);
        }
        if let Some(rest) = shunned {
            let seconds = rest.as_secs() + 1;
            return (
                format!("left alone for {seconds} s still: it failed"),
                false,
            );
        }
        let marks = marks(&knows);
        let invocation = self.invocation;
        let needs_ours = invocation.only_ours.is_some() || invocation.debug_info;
        let leaves = invocation.sides.is_some() && (knows(Trait::NoSides) || knows(Trait::Stocks))
            || needs_ours && knows(Trait::Stocks);
        if host.cpp && ways.pump.is_none() && !leaves {
            return (format!("in pump mode{marks}"), true);
        }
        match ways.text {
            Some(why) => (format!("can't take it: {why}"), false),
            None if ways.demanding && knows(Trait::Inexact) => (
                "can't take it: its debug information is not exact".to_owned(),
                false,
            ),
            None => (format!("as text{marks}"), true),
        }
    }

    fn verdict(&self, ways: &Ways, hosts: &[(String, String, bool)], is_sent: bool) -> String {
        let source = self.invocation.input.display();
        if is_sent {
            let takers: Vec<_> = hosts.iter().filter(|(_, _, takes)| *takes).collect();
            let first = takers.first().map_or("", |(host, _, _)| host);
            return match takers.len() {
                1 => format!("{source} can be compiled on another machine: {first}."),
                count => format!(
                    "{source} can be compiled on another machine: {count} hosts, {first} first."
                ),
            };
        }
        let why = match (&self.list, ways.pump, ways.text) {
            (Err(err), ..) => err.message.clone(),
            (_, Some(pump), Some(text)) if self.has_pump_hosts() => {
                format!("not in pump mode: {pump}; not as text: {text}")
            }
            (_, Some(_), Some(text)) => text.to_owned(),
            _ => "no host can take it now".to_owned(),
        };
        format!("{source} is compiled here: {why}.")
    }
}

/// Which ways the compile can go.
struct Ways<'w> {
    /// Why not in pump mode.
    pump: Option<&'w str>,
    /// Why not as text.
    text: Option<&'w str>,
    /// As text it needs a host that undoes our way of keeping columns.
    demanding: bool,
}

/// What was found out of a host of late.
fn marks(knows: &dyn Fn(Trait) -> bool) -> String {
    let marks = [
        (Trait::Stocks, "it is a stock daemon"),
        (Trait::OtherSystem, "its system headers are others"),
        (
            Trait::NoOtherSystem,
            "it takes none but its own system headers",
        ),
        (Trait::NoPaths, "it can't show our paths"),
        (Trait::NoSides, "no files but the object come home from it"),
        (
            Trait::Inexact,
            "it has given debug information that was not exact",
        ),
    ];
    let known: Vec<_> = marks
        .iter()
        .filter(|(what, _)| knows(*what))
        .map(|(_, text)| *text)
        .collect();
    match known.is_empty() {
        true => String::new(),
        false => format!(" (noted of late: {})", known.join("; ")),
    }
}

fn text_lines(text: &std::result::Result<Job, String>) -> Vec<(String, String)> {
    let recipe = match text {
        Ok(job) => &job.recipe,
        Err(why) => return vec![("no".to_owned(), why.clone())],
    };
    let here = match &recipe.preprocessor_argv {
        Some(argv) => quoted(argv),
        None => "nothing: it is preprocessed already".to_owned(),
    };
    vec![
        ("runs here".to_owned(), here),
        ("a host runs".to_owned(), quoted(&recipe.server_argv)),
    ]
}

fn pump_lines(
    files: &std::result::Result<(Vec<OsString>, Vec<u8>), String>,
) -> Vec<(String, String)> {
    let (words, entries) = match files {
        Ok(known) => known,
        Err(why) => return vec![("no".to_owned(), why.clone())],
    };
    let (mut count, mut links, mut bytes) = (0, 0, 0);
    for entry in Entries::of(entries).flatten() {
        match entry {
            Raw::Link(name, target) if is_system_link(name, target) => {}
            Raw::Link(..) => links += 1,
            Raw::File(name, _) if folder_of(name).is_some() => {}
            Raw::File(name, content) if name != crate::model::about::NAME => {
                count += 1;
                bytes += content.len();
            }
            Raw::File(..) => {}
        }
    }
    let links = if links > 0 {
        format!(", {links} links")
    } else {
        String::new()
    };
    vec![
        (
            "files".to_owned(),
            format!(
                "{count}{links}, {bytes} bytes as they travel; `distcc --scan-includes` lists them"
            ),
        ),
        ("a host runs".to_owned(), quoted(words)),
    ]
}

/// The variables that are set and matter.
fn variable_lines(settings: &ClientSettings) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    if let Some(name) = settings.compiler_variable {
        lines.push((name.to_owned(), "keeps everything here".to_owned()));
    }
    for name in search_variables::NAMES.iter().filter(|name| is_set(name)) {
        lines.push((
            (*name).to_owned(),
            "heeded here; in pump mode sent as options".to_owned(),
        ));
    }
    for name in VARIABLES.iter().filter(|name| is_set(name)) {
        lines.push((
            (*name).to_owned(),
            "heeded here; in pump mode told to hosts, but not to stock's".to_owned(),
        ));
    }
    for (is_so, name, text) in [
        (
            !settings.fallback,
            "DISTCC_FALLBACK",
            "nothing is compiled here in place of a host",
        ),
        (
            settings.skip_local_retry,
            "DISTCC_SKIP_LOCAL_RETRY",
            "what hosts say of a faulty source is believed",
        ),
        (
            !settings.rewrite_cross,
            "DISTCC_NO_REWRITE_CROSS",
            "hosts are asked for the compiler by the name given",
        ),
        (
            settings.backoff.is_zero(),
            "DISTCC_BACKOFF_PERIOD",
            "no host is left alone after it failed",
        ),
    ] {
        if is_so {
            lines.push((name.to_owned(), text.to_owned()));
        }
    }
    lines
}
