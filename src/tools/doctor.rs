//! `distcc doctor`: looks for what goes wrong in practice, on this machine and on each host, and says how to mend it. Hosts
//! are asked at the same time, and no longer than they are given; nothing is left behind, and nothing is changed but notes of
//! hosts that are no longer true.

use super::doctor_answers::Inquiry;
use super::doctor_builds::{no_time, Builds};
use super::doctor_hosts;
use super::output::print;
use super::toolchain::{self, Toolchain};
use super::{doctor_compilers, doctor_folders, doctor_here, doctor_path};
use crate::farm::include_start::{IncludeServer, Plan};
use crate::farm::private_folder::PrivateFolder;
use crate::farm::slots::Slots;
use crate::farm::topdir::TopDir;
use crate::model::error::{Code, Error, Result, Status};
use crate::model::findings::{Finding, Findings, Level, Topic};
use crate::model::hosts::{HostList, HostSpec, Place};
use crate::model::settings::ClientSettings;
use crate::os::{logging, supervise};
use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// How long a host is asked, if `--time` says nothing.
const TIME: Duration = Duration::from_secs(10);

/// The same if there are hosts behind ssh, where each question is a login.
const TIME_SSH: Duration = Duration::from_secs(40);

/// How long what is under way when that time is over may take to end.
const GRACE: Duration = Duration::from_secs(2);

/// How often it is looked whether somebody wants us to end.
const TICK: Duration = Duration::from_millis(100);

/// What the private folder's name begins with.
const FOLDER_PREFIX: &str = "distcc-doctor.";

/// The status if something is wrong.
const FAULTY: Status = Status(1);

const HELP: &str = "\
Usage: distcc doctor [--json] [--time SECONDS] [HOST...]

Looks for what goes wrong in practice, and says how to mend it: variables, folders, PATH and its links, the host list, and
each host of it, or the hosts that are named: is it reached, does it let this machine in, which protocols does it speak, are
its compilers those of this machine, and does a compile there give the object that a compile here gives? Changes nothing
but notes of hosts that turn out to be no longer true.

  --json          findings as JSON: version, level, warnings, faults, and checks with check, about, level, what, mend, see
  --time SECONDS  how long a host is asked at most (10; 40 if some are behind ssh); hosts are asked at the same time
  --help          this text

The exit status is 0 if there are no faults, though there may be warnings, and 1 if there are.
";

/// `doctor [OPTION…] [HOST…]`; all words, the first is `doctor`.
pub fn doctor(argv: Vec<OsString>) -> Result<Status> {
    let Some(options) = Options::read(argv.get(1..).unwrap_or_default())? else {
        return print(HELP);
    };
    supervise::note_final_signals().map_err(|err| Error::io("catch signals", &err))?;
    let mut report = Report {
        is_json: options.json,
        findings: Findings::default(),
    };
    examine(&options, &mut report);
    if let Some(signal) = supervise::noted() {
        supervise::end_by(signal);
    }
    let text = match options.json {
        true => report.findings.json(),
        false => format!("{}\n", report.findings.summary()),
    };
    let printed = print(text)?;
    Ok(match report.findings.level() {
        _ if printed != Status::OK => printed,
        Level::Fault => FAULTY,
        _ => Status::OK,
    })
}

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    json: bool,
    time: Option<Duration>,
    hosts: Vec<OsString>,
}

impl Options {
    /// `None` if help is wanted.
    fn read(words: &[OsString]) -> Result<Option<Options>> {
        let mut options = Options {
            json: false,
            time: None,
            hosts: Vec::new(),
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.to_str() {
                Some("--help" | "-h") => return Ok(None),
                Some("--json") => options.json = true,
                Some("--time") => options.time = Some(seconds(words.next())?),
                Some(word) if word.starts_with("--time=") => {
                    let value = word.strip_prefix("--time=").map(OsString::from);
                    options.time = Some(seconds(value.as_ref())?);
                }
                Some(word) if word.starts_with('-') => {
                    let why = format!(
                        "unknown option {word}; `distcc doctor --help` shows how it is used"
                    );
                    return Err(Error::new(Code::BadArguments, why));
                }
                _ => options.hosts.push(word.clone()),
            }
        }
        Ok(Some(options))
    }
}

impl Options {
    /// How long hosts of this list are asked.
    fn time_for(&self, list: &HostList) -> Duration {
        let is_ssh = |host: &HostSpec| matches!(host.place, Place::Ssh { .. }) && !host.down;
        self.time.unwrap_or(match list.hosts.iter().any(is_ssh) {
            true => TIME_SSH,
            false => TIME,
        })
    }
}

fn seconds(word: Option<&OsString>) -> Result<Duration> {
    let number = word.and_then(|word| word.to_str()?.parse().ok());
    match number {
        Some(seconds @ 1..=3600) => Ok(Duration::from_secs(seconds)),
        _ => {
            let why = "--time wants a number of seconds from 1 to 3600";
            Err(Error::new(Code::BadArguments, why))
        }
    }
}

/// Takes findings as they come.
struct Report {
    is_json: bool,
    findings: Findings,
}

impl Report {
    fn add(&mut self, finding: Finding) {
        if !self.is_json {
            // Whoever has closed stdout is told at the end.
            let _ = io::stdout().write_all(finding.text().as_bytes());
        }
        self.findings.0.push(finding);
    }
}

fn examine(options: &Options, report: &mut Report) {
    let path = env::var_os("PATH").unwrap_or_default();
    let settings = doctor_here::variables(&mut |finding| report.add(finding));
    doctor_path::look(
        &path,
        env::var_os("CCACHE_PREFIX").as_deref(),
        &mut |finding| report.add(finding),
    );
    doctor_here::daemon(&mut |finding| report.add(finding));
    let Some(settings) = settings else { return };
    logging::client(&settings);
    let tmpdir = doctor_folders::tmpdir(&settings);
    let is_tmpdir_good = tmpdir.level != Level::Fault;
    report.add(tmpdir);
    let top = doctor_folders::distcc_dir(&settings, &mut |finding| report.add(finding));
    let list = doctor_here::host_list(&options.hosts, top.as_ref(), &settings, &mut |finding| {
        report.add(finding)
    });
    let folder = match PrivateFolder::create(&settings.tmpdir, FOLDER_PREFIX) {
        Ok(folder) => folder,
        Err(err) if is_tmpdir_good => {
            let mend = doctor_folders::TMPDIR_WANTED;
            return report.add(Finding::ok("tmpdir", "", err.message).fault(mend, Topic::Folders));
        }
        Err(_) => return hosts_not_asked(report),
    };
    let toolchain = toolchain::find(&path);
    let bench = Bench {
        options,
        settings,
        top,
        folder,
        toolchain,
    };
    bench.ask_hosts(list.unwrap_or_default(), report);
}

/// Without a folder nothing can be tried, as has been said by then.
fn hosts_not_asked(report: &mut Report) {
    report.add(Finding::ok(
        "hosts",
        "",
        "not asked: that needs a TMPDIR which can be used",
    ));
}

/// What the hosts are asked with.
struct Bench<'o> {
    options: &'o Options,
    settings: ClientSettings,
    top: Option<TopDir>,
    folder: PrivateFolder,
    toolchain: Toolchain,
}

impl Bench<'_> {
    fn ask_hosts(&self, list: HostList, report: &mut Report) {
        let folder = self.folder.path();
        let time = self.options.time_for(&list);
        let compilers = doctor_compilers::of_this_machine(
            &self.toolchain,
            self.settings.rewrite_cross,
            folder,
            Instant::now() + time,
        );
        say_compilers(&compilers, report);
        let source = folder.join("probe.c");
        let first = compilers.iter().find(|one| one.here.is_ok());
        let first = first.and_then(|one| self.toolchain.compilers.get(one.names.first()?));
        let first = first.map(|file| file.as_path());
        doctor_here::include_server(&self.settings, &list, &source, first, &mut |finding| {
            report.add(finding)
        });
        let is_pump = list.hosts.iter().any(|host| host.cpp && !host.down);
        let server = is_pump.then(|| self.include_server());
        if let Some(Err(why)) = &server {
            let finding = Finding::ok("include-server", "", format!("it can't be started: {why}"));
            report.add(finding.fault(
                "see INCLUDE_SERVER_ARGS and TMPDIR; without it sources are preprocessed here",
                Topic::Pump,
            ));
        }
        let until = Instant::now() + time;
        let mut settings = self.settings.clone();
        settings.connect_timeout = settings.connect_timeout.min(time);
        settings.io_timeout = settings.io_timeout.min(time);
        let inquiry = Inquiry {
            slots: self
                .top
                .as_ref()
                .and_then(|top| Slots::open(top, &self.settings).ok()),
            lock_dir: self
                .top
                .as_ref()
                .map_or(String::new(), |top| top.lock_dir().display().to_string()),
            builds: Builds {
                folder: folder.to_owned(),
                toolchain: self.toolchain.clone(),
                include_server: match &server {
                    Some(Ok((_, socket))) => Ok(socket.clone()),
                    Some(Err(why)) => Err(why.clone()),
                    None => Err("there is no include server".to_owned()),
                },
                until,
            },
            settings,
            compilers,
            until,
        };
        let said = ask(list, inquiry, until + GRACE);
        said.into_iter().for_each(|finding| report.add(finding));
    }

    /// An include server for this run, with its socket.
    fn include_server(&self) -> std::result::Result<(IncludeServer, std::path::PathBuf), String> {
        let folder = self.folder.path();
        let log = |name: &str| File::create(folder.join(name)).map_err(|err| err.to_string());
        let plan = Plan::new(folder, Vec::new()).output(log("include.out")?, log("include.err")?);
        let server = plan.start().map_err(|err| err.message)?;
        Ok((server, plan.socket().to_owned()))
    }
}

fn say_compilers(compilers: &[doctor_compilers::Compiler], report: &mut Report) {
    if compilers.is_empty() {
        return report.add(Finding::ok("compilers", "", "there is no C or C++ compiler on PATH besides links to distcc").fault(
            "install one, e.g. `apt-get install gcc g++`: what can't be sent away, and preprocessing, needs it",
            Topic::Compilers,
        ));
    }
    // Several may fail for one reason, such as scripts that call the same compiler.
    let mut failed: Vec<(String, &str)> = Vec::new();
    for compiler in compilers {
        let Err(why) = &compiler.here else { continue };
        match failed.iter_mut().find(|(_, known)| known == why) {
            Some((names, _)) => *names = format!("{names}, {}", compiler.called()),
            None => failed.push((compiler.called(), why)),
        }
    }
    for (names, why) in failed {
        let what = format!("on this machine it does not compile: {why}");
        report.add(Finding::ok("compilers", names, what).warning(
            "install what it misses, or take it off PATH",
            Topic::Compilers,
        ));
    }
}

/// Asks all hosts at once. Findings are in the order of the list.
fn ask(list: HostList, inquiry: Inquiry, until: Instant) -> Vec<Finding> {
    let inquiry = Arc::new(inquiry);
    let (sender, receiver) = mpsc::channel();
    let tokens: Vec<String> = list.hosts.iter().map(|host| host.token.clone()).collect();
    let mut said: Vec<Vec<Finding>> = tokens.iter().map(|_| Vec::new()).collect();
    let mut is_asked: Vec<bool> = vec![true; tokens.len()];
    for (number, host) in list.hosts.into_iter().enumerate() {
        let inquiry = Arc::clone(&inquiry);
        let sender: Sender<(usize, Option<Finding>)> = sender.clone();
        thread::spawn(move || {
            // That nobody hears any more is the end of a run that was ended.
            doctor_hosts::check(&host, &inquiry, &|finding| {
                let _ = sender.send((number, Some(finding)));
            });
            let _ = sender.send((number, None));
        });
    }
    drop(sender);
    while is_asked.contains(&true) && Instant::now() < until && supervise::noted().is_none() {
        match receiver.recv_timeout(TICK) {
            Ok((number, Some(finding))) => said[number].push(finding),
            Ok((number, None)) => is_asked[number] = false,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    for ((said, token), _) in said
        .iter_mut()
        .zip(&tokens)
        .zip(&is_asked)
        .filter(|(_, asked)| **asked)
    {
        said.push(no_time(Finding::ok(
            "time",
            token,
            "it did not answer everything in the time that it had; what stands above is what was found out",
        )));
    }
    said.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(words: &[&str]) -> Result<Option<Options>> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        Options::read(&words)
    }

    #[test]
    fn hosts_behind_ssh_have_more_time() {
        use crate::model::hosts::parse;
        let time = |words: &[&str], hosts: &str| {
            let list = parse(hosts, "test").unwrap();
            read(words).unwrap().unwrap().time_for(&list)
        };
        assert_eq!(time(&[], "a b"), TIME);
        assert_eq!(time(&[], "a @b,down"), TIME);
        assert_eq!(time(&[], "a root@b"), TIME_SSH);
        assert_eq!(time(&["--time=7"], "@b"), Duration::from_secs(7));
    }

    #[test]
    fn words_are_options_and_hosts() {
        let options = read(&["--json", "a/3", "--time=7", "@b"]).unwrap().unwrap();
        assert!(options.json);
        assert_eq!(options.time, Some(Duration::from_secs(7)));
        assert_eq!(options.hosts, ["a/3", "@b"]);
        let slow = read(&["--time", "60"]).unwrap().unwrap();
        assert_eq!(slow.time, Some(Duration::from_secs(60)));
        assert_eq!(read(&["a", "--help"]).unwrap(), None);
        for wrong in [
            &["--time"][..],
            &["--time", "0"],
            &["--time=x"],
            &["--frob"],
        ] {
            assert_eq!(
                read(wrong).unwrap_err().code,
                Code::BadArguments,
                "{wrong:?}"
            );
        }
    }
}
