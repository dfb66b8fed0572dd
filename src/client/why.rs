//! `distcc why COMMAND…`: what would become of a compiler's command, and why, without compiling it or asking any host.
//! Everything is decided by the same functions as for a compile.

use super::account::{strings, Account, Files, Host, Text, Variable};
use super::discrepancy::Session;
use super::here::check_files;
use super::masquerade;
use super::native;
use super::program::command;
use super::pumped::Pump;
use super::remote::Job;
use super::sides;
use super::why_words::{self, Barred};
use crate::farm::cross::Compiler;
use crate::farm::slots::{Slots, Trait};
use crate::farm::topdir::TopDir;
use crate::model::about::VARIABLES;
use crate::model::entries::{Entries, Raw};
use crate::model::error::{Code, Error, Result, Status};
use crate::model::family::build;
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
use std::path::Path;

/// The status if the command would run on this machine.
const STAYS: Status = Status(1);

const HELP: &str = "\
Usage: distcc why [--json] COMPILER [COMPILER OPTIONS]

Says whether this command would be compiled on another machine, what each of its words does, what would be sent, and which
hosts could take it now. Compiles nothing, and asks no host. With --json it is one JSON object; distcc(1) lists its keys.

The exit status is 0 if it would be compiled on another machine, 1 if on this one.
";

/// `why COMMAND…`; all words, the first is `why`.
pub fn why(argv: Vec<OsString>) -> Result<Status> {
    let mut words = argv.into_iter().skip(1);
    let mut next = words.next();
    if next.as_ref().is_some_and(|word| word == "--help") {
        return print(HELP, Status::OK);
    }
    let wants_json = next.as_ref().is_some_and(|word| word == "--json");
    if wants_json {
        next = words.next();
    }
    let Some(first) = next else {
        let message = "missing operand: why wants a compiler command, such as `gcc -c x.c`";
        return Err(Error::new(Code::BadArguments, message));
    };
    let settings = ClientSettings::read(|name| env::var_os(name))?;
    logging::client(&settings);
    let mut argv = command(first, words);
    refuse_builds(&argv)?;
    let meant = masquerade::meant(&mut argv, settings.path.as_deref());
    let path = meant.path.clone();
    let settings = settings.with_path(meant.path);
    let runs = argv.first().map(OsString::as_os_str).unwrap_or_default();
    // A compiler that is asked something may be a link to us.
    masquerade::mark_environment(settings.safeguard, OsStr::new("why"), runs, path.as_deref());
    let account = tell(&argv, &settings);
    let status = if account.remote { Status::OK } else { STAYS };
    match wants_json {
        true => print(&json(&account)?, status),
        false => print(&account.shown(), status),
    }
}

/// Of a build there is nothing to be said: its compiles are what is or is not sent away.
fn refuse_builds(argv: &[OsString]) -> Result<()> {
    let Some(build) = argv.first().and_then(|word| build(Path::new(word))) else {
        return Ok(());
    };
    let rest = argv.iter().skip(1).map(|word| word.to_string_lossy());
    let words: Vec<_> = [build.into()].into_iter().chain(rest).collect();
    let whole = words.join(" ");
    let message = format!(
        "{build} is no compiler: ask for a compile, such as `distcc why gcc -c x.c`; `distcc try {whole}` counts those of a build"
    );
    Err(Error::new(Code::BadArguments, message))
}

fn tell(argv: &[OsString], settings: &ClientSettings) -> Account {
    let mut account = Account::default();
    let invocation = match scan(argv, &read_plain_file) {
        Scan::Distributable(invocation) => invocation,
        Scan::Local(local) => {
            account.verdict = match &local.source {
                Some(source) => stays(&source.display(), &local.reason),
                None => format!("This command runs here: {}.", local.reason),
            };
            account.tell_words(why_words::effects(argv));
            return account;
        }
    };
    let source = invocation.input.display();
    let path = settings.path.clone().unwrap_or_default();
    let variable = settings.compiler_variable;
    let unseen = variable.map(|name| format!("${name} is set, which a server would not see"));
    let hindrance = unseen.or_else(|| check_files(&invocation, argv).err().map(str::to_owned));
    let found = native::for_other_machines(&invocation, &path, settings);
    let effects = match &found {
        Ok(_) => why_words::effects(argv),
        Err(why) => why_words::without_native(argv, why),
    };
    account.verdict = match (hindrance, &found) {
        (Some(why), _) => stays(&source, &why),
        (None, Err(why)) => stays(&source, why),
        (None, Ok(found)) => return Case::new(argv, settings, found).tell(),
    };
    account.tell_words(effects);
    account.variables = variables(settings);
    account
}

fn stays(source: &dyn Display, why: &dyn Display) -> String {
    format!("{source} is compiled here: {why}.")
}

fn json(account: &Account) -> Result<String> {
    account
        .json()
        .map_err(|err| Error::new(Code::Failed, format!("write as JSON: {err}")))
}

fn print(text: &str, status: Status) -> Result<Status> {
    io::stdout()
        .write_all(text.as_bytes())
        .map_err(|err| Error::io("write to stdout", &err))?;
    Ok(status)
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

    fn tell(&self) -> Account {
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
        let hosts = self.hosts(&ways, &mut pump);
        let remote = hosts.iter().any(|host| host.takes);
        let mut account = Account {
            verdict: self.verdict(&ways, &hosts),
            remote,
            text: Some(text_way(&text)),
            pump: Some(pump_way(&files)),
            hosts_from: self.list.as_ref().ok().map(|(_, from)| from.to_string()),
            hosts,
            variables: variables(self.settings),
            ..Account::default()
        };
        let barred = Barred {
            text: ways.text,
            pump: ways.pump,
            is_sent: remote,
        };
        account.tell_words(why_words::with_verdict(self.argv, &self.compiler, barred));
        account
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

    /// Each host, and what it would do.
    fn hosts(&self, ways: &Ways, pump: &mut std::result::Result<Pump<'c>, String>) -> Vec<Host> {
        let told = |host: &str, says: String, takes| Host {
            host: host.to_owned(),
            takes,
            says,
        };
        let list = match &self.list {
            Ok((list, _)) => list,
            Err(err) => return vec![told("none", err.message.clone(), false)],
        };
        let hosts = list.hosts.iter().map(|host| {
            let (says, takes) = self.fate(host, ways, pump);
            told(&host.token, says, takes)
        });
        hosts.collect()
    }

    fn fate(
        &self,
        host: &HostSpec,
        ways: &Ways,
        pump: &mut std::result::Result<Pump<'c>, String>,
    ) -> (String, bool) {
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
        let lacks_sides =
            self.invocation.sides.is_some() && (knows(Trait::NoSides) || knows(Trait::Stocks));
        let mut away = String::new();
        if host.cpp && ways.pump.is_none() && !lacks_sides {
            match pump.as_mut().ok().and_then(|pump| pump.stays_away(&knows)) {
                None => return (format!("in pump mode{marks}"), true),
                Some(why) => away = format!("not in pump mode: {why}; "),
            }
        }
        match ways.text {
            Some(why) => (format!("can't take it: {away}{why}{marks}"), false),
            None if ways.demanding && knows(Trait::Inexact) => (
                format!("can't take it: {away}its debug information is not exact"),
                false,
            ),
            None => (format!("{away}as text{marks}"), true),
        }
    }

    fn verdict(&self, ways: &Ways, hosts: &[Host]) -> String {
        let source = self.invocation.input.display();
        let takers: Vec<_> = hosts.iter().filter(|host| host.takes).collect();
        if let Some(first) = takers.first() {
            let first = &first.host;
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
        stays(&source, &why)
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

fn text_way(text: &std::result::Result<Job, String>) -> Text {
    match text {
        Ok(job) => Text {
            why_not: None,
            here: job.recipe.preprocessor_argv.as_deref().map(strings),
            host: Some(strings(&job.recipe.server_argv)),
        },
        Err(why) => Text {
            why_not: Some(why.clone()),
            ..Text::default()
        },
    }
}

fn pump_way(files: &std::result::Result<(Vec<OsString>, Vec<u8>), String>) -> Files {
    let (words, entries) = match files {
        Ok(known) => known,
        Err(why) => {
            return Files {
                why_not: Some(why.clone()),
                ..Files::default()
            }
        }
    };
    let (mut count, mut links, mut bytes) = (0, 0, 0);
    for entry in Entries::of(entries).flatten() {
        match entry {
            Raw::Link(name, target) if is_system_link(name, target) => {}
            Raw::Link(..) => links += 1,
            Raw::File(name, _) if folder_of(name).is_some() => {}
            Raw::File(name, content) if name != crate::model::about::NAME => {
                count += 1;
                bytes += content.len() as u64;
            }
            Raw::File(..) => {}
        }
    }
    Files {
        why_not: None,
        files: count,
        links,
        bytes,
        host: Some(strings(words)),
    }
}

/// The variables that are set and matter.
fn variables(settings: &ClientSettings) -> Vec<Variable> {
    let mut told: Vec<(&str, &str)> = Vec::new();
    let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    if let Some(name) = settings.compiler_variable {
        told.push((name, "keeps everything here"));
    }
    for name in search_variables::NAMES.iter().filter(|name| is_set(name)) {
        told.push((name, "heeded here; in pump mode sent as options"));
    }
    for name in VARIABLES.iter().filter(|name| is_set(name)) {
        told.push((
            name,
            "heeded here; in pump mode told to hosts, but not to stock's",
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
            told.push((name, text));
        }
    }
    let variable = |(name, says): (&str, &str)| Variable {
        name: name.to_owned(),
        says: says.to_owned(),
    };
    told.into_iter().map(variable).collect()
}
