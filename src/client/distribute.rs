//! One distributable compile on its way to an exit status: what to try next is decided by `model::plan`; here it is done.

use super::discrepancy::Session;
use super::here::{self, Farm};
use super::output::{
    base_name, log_end, log_words, refusal, say, says_the_same, without_daemons_words, words,
    write_deps, write_object,
};
use super::pumped::{Pump, Pumped, Trust};
use super::remote::{attempt, Attempt, Job, Means};
use super::sides;
use crate::farm::cross::Compiler;
use crate::farm::slots::{Slot, Trait};
use crate::model::error::{Code, Error, Result, Status};
use crate::model::hosts::{HostSpec, Place};
use crate::model::invocation::Invocation;
use crate::model::locale::{self, Speech};
use crate::model::plain::{self, Family, Way};
use crate::model::plan::{self, Outcome, Policy, Step};
use crate::model::settings::ClientSettings;
use crate::model::trace::Activity;
use crate::model::wait_status::WaitStatus;
use crate::model::wire::Reply;
use crate::model::{self, clang_warnings, dependencies, leaks};
use crate::os::locale::is_installed;
use std::env;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// One distributable compile on its way.
pub struct Distribution<'d> {
    settings: &'d ClientSettings,
    /// PATH for the compiler.
    path: OsString,
    argv: &'d [OsString],
    invocation: &'d Invocation,
    compiler: Compiler,
    farm: Farm,
    /// The job as preprocessed text, or why no text is exact; made when it is first needed.
    plain: Option<std::result::Result<Job<'d>, String>>,
    /// The job for hosts that preprocess; `None` if there are none, or it can't go that way.
    pump: Option<Pump<'d>>,
    /// The hosts to which it goes as text if at all, though they preprocess.
    not_by_pump: Vec<HostSpec>,
    /// How often it was tried.
    attempts: u32,
    /// The hosts that failed this job.
    failed: Vec<HostSpec>,
    /// Why the first of them did.
    cause: Option<Code>,
    /// The answer that the last attempt brought, with the host that gave it.
    answer: Option<Answer>,
    /// Why the job ends up here, if it does.
    why_here: String,
    /// Why it does not go by pump mode, which the user is to hear once it is clear that the source is not at fault.
    no_pump: Option<String>,
}

/// A host's answer to this job.
struct Answer {
    host: HostSpec,
    reply: Reply,
    /// It preprocessed, too.
    pumped: bool,
}

/// How an answer was made.
#[derive(Clone, Copy)]
enum Made<'m> {
    /// From text that was preprocessed here.
    Text(&'m Job<'m>),
    /// All of it by the host.
    There(Trust),
}

/// What [`Distribution::try_once`] came to.
enum Tried {
    /// The slot was one of this machine: compile here, and hold it meanwhile.
    PlacedHere(Slot),
    /// It was another machine's.
    There(Outcome),
}

impl<'d> Distribution<'d> {
    /// The compile `invocation` of the command `argv`, which is what is run here, by `compiler`; `path` is PATH.
    pub fn new(
        settings: &'d ClientSettings,
        farm: Farm,
        path: OsString,
        argv: &'d [OsString],
        invocation: &'d Invocation,
        compiler: Compiler,
    ) -> Self {
        Distribution {
            settings,
            path,
            argv,
            invocation,
            compiler,
            farm,
            plain: None,
            pump: None,
            not_by_pump: Vec::new(),
            attempts: 0,
            failed: Vec::new(),
            cause: None,
            answer: None,
            why_here: String::new(),
            no_pump: None,
        }
    }

    /// Compiles it, elsewhere or here.
    pub fn run(mut self) -> Result<Status> {
        if let Err(why) = self.prepare() {
            self.why_here = why;
            return self.compile_here(None);
        }
        let policy = Policy {
            fallback: self.settings.fallback,
            skip_local_retry: self.settings.skip_local_retry,
        };
        self.log_names();
        loop {
            self.attempts += 1;
            let outcome = match self.try_once() {
                Tried::There(outcome) => outcome,
                Tried::PlacedHere(slot) => {
                    let input = Some(self.invocation.input.as_path());
                    let why = "it was placed on localhost";
                    let ended = self.farm.run_here(self.argv, input, why, Some(&slot))?;
                    self.tell_no_pump(ended.success());
                    return Ok(ended.status());
                }
            };
            match plan::next(policy, self.attempts, outcome) {
                Step::TryAnother => {}
                Step::Finish => return Ok(self.finish()),
                Step::GiveUp(status) => {
                    self.tell_no_pump(true);
                    log::error!("failed to distribute and fallbacks are disabled");
                    return Ok(status);
                }
                Step::CompileHere(remote) => {
                    self.warn_of_fallback(remote, outcome);
                    return self.compile_here(remote);
                }
            }
        }
    }

    fn log_names(&self) {
        let invocation = self.invocation;
        let name = |path| base_name(path).to_string_lossy().into_owned();
        let (input, output) = (name(&invocation.input), name(&invocation.output));
        if !invocation.output_given {
            log::info!("no visible output file, going to add \"-o {output}\" at end");
        }
        log::info!("compile from {input} to {output}");
    }

    /// Makes the job ready in one of the two ways at least, or says why it can't be sent at all.
    fn prepare(&mut self) -> std::result::Result<(), String> {
        if let Some(name) = self.settings.compiler_variable {
            return Err(format!("${name} is set, which a server would not see"));
        }
        here::check_files(self.invocation, self.argv)?;
        if let Some(why) = sides::stays(self.invocation, self.compiler.family) {
            return Err(why);
        }
        let hosts = self.farm.hosts.as_ref();
        if hosts.is_ok_and(|list| list.hosts.iter().any(|host| host.cpp && !host.down)) {
            self.prepare_pump();
        }
        match self.pump {
            Some(_) => Ok(()),
            None => match self.prepare_plain() {
                Err(why) => Err(why.clone()),
                Ok(_) => Ok(()),
            },
        }
    }

    fn prepare_pump(&mut self) {
        let settings = self.settings;
        if self.invocation.preprocessed {
            log::info!("cannot use distcc_pump on already preprocessed file");
        } else if let Err(why) = Session::of(&settings.pump).check() {
            log::info!("using plain distcc: {why}");
        } else {
            match Pump::new(self.invocation, &self.compiler, &self.path, settings) {
                Ok(pump) => self.pump = Some(pump),
                Err(why) => self.leave_pump_mode(why),
            }
        }
    }

    fn leave_pump_mode(&mut self, why: String) {
        let file = base_name(&self.invocation.input).to_string_lossy();
        log::info!("{file}: not in pump mode: {why}");
        self.pump = None;
        self.no_pump = Some(why);
    }

    /// Says why the job did not go by pump mode, unless it did not compile here either: then it is no matter of ours.
    fn tell_no_pump(&self, went_well: bool) {
        if let Some(why) = self.no_pump.as_ref().filter(|_| went_well) {
            let session = Session::of(&self.settings.pump);
            session.tell(&self.invocation.input, why, self.farm.slots.as_ref().ok());
        }
    }

    /// Makes the job as preprocessed text, unless it has been made.
    fn prepare_plain(&mut self) -> &std::result::Result<Job<'d>, String> {
        let dumb = self.settings.dumb_terminal;
        self.plain
            .get_or_insert_with(|| Job::new(self.invocation, &self.compiler, dumb))
    }

    fn goes_by_pump(&self, host: &HostSpec) -> bool {
        let knows = |what| self.farm.knows(host, what);
        host.cpp
            && self.pump.is_some()
            && !self.not_by_pump.contains(host)
            && (self.invocation.sides.is_none() || !knows(Trait::NoSides) && !knows(Trait::Stocks))
    }

    /// Takes a slot and tries the job there.
    fn try_once(&mut self) -> Tried {
        let hosts = self.farm.hosts.as_ref().map_or(&[][..], |list| &list.hosts);
        let takes_text =
            |host: &HostSpec| !host.down && host.place != Place::Local && !self.goes_by_pump(host);
        if hosts.iter().any(takes_text) {
            self.prepare_plain();
        }
        let demanding = match &self.plain {
            Some(Ok(job)) => Some(job.is_demanding()),
            _ => None,
        };
        let placed = self.farm.place(|slots, host| {
            let as_text =
                || demanding.is_some_and(|much| !much || !slots.knows(host, Trait::Inexact));
            host.place == Place::Local
                || !self.failed.contains(host) && (self.goes_by_pump(host) || as_text())
        });
        let slot = match placed {
            Ok(Some(slot)) if slot.host.place == Place::Local => return Tried::PlacedHere(slot),
            Ok(Some(slot)) => slot,
            Ok(None) => return Tried::There(self.none_suits()),
            Err(err) => return Tried::There(self.no_host(&err)),
        };
        let _hold = self.farm.progress.trace.hold(&slot);
        let by_pump = self.goes_by_pump(&slot.host);
        let outcome = by_pump.then(|| self.try_pump(&slot)).flatten();
        Tried::There(outcome.unwrap_or_else(|| self.try_plain(&slot)))
    }

    /// Tries the job in pump mode; `None` if it goes to this host as text, if at all.
    fn try_pump(&mut self, slot: &Slot) -> Option<Outcome> {
        let host = &slot.host;
        let pump = self.pump.as_mut()?;
        match pump.attempt(slot, &mut self.farm, self.settings) {
            Pumped::Answered(reply, trust) => Some(self.weigh(host, reply, Made::There(trust))),
            Pumped::HostTrouble(err) => Some(self.blame(host, err)),
            Pumped::NotOnHost(why) => {
                log::info!("{}: not in pump mode: {why}", host.token);
                self.why_here = why;
                self.not_by_pump.push(host.clone());
                None
            }
            Pumped::NotAtAll(why) => {
                self.why_here.clone_from(&why);
                self.leave_pump_mode(why);
                None
            }
        }
    }

    /// Tries the job as preprocessed text.
    fn try_plain(&mut self, slot: &Slot) -> Outcome {
        self.prepare_plain();
        let mut job = match self.plain.take() {
            Some(Ok(job)) => job,
            Some(Err(why)) => {
                self.why_here = format!("{}; and {why}", self.why_here);
                self.plain = Some(Err(why));
                return Outcome::Unsuited;
            }
            None => return Outcome::Inexact,
        };
        let outcome = self.try_text(slot, &mut job);
        self.plain = Some(Ok(job));
        outcome
    }

    fn try_text(&mut self, slot: &Slot, job: &mut Job) -> Outcome {
        if job.is_demanding() && self.farm.knows(&slot.host, Trait::Inexact) {
            return Outcome::Unsuited;
        }
        let host = &slot.host;
        log::info!("exec on {}: {}", host.token, words(&job.recipe.server_argv));
        let preprocess_slots = self.farm.preprocess_slots();
        let Ok(slots) = &self.farm.slots else {
            return Outcome::Inexact;
        };
        let mut means = Means {
            settings: self.settings,
            slots,
            preprocess_slots,
            progress: &mut self.farm.progress,
        };
        match attempt(job, slot, &mut means) {
            Attempt::Answered(reply) => self.weigh(host, reply, Made::Text(job)),
            Attempt::StaysHere(why) => {
                self.why_here = why;
                Outcome::Inexact
            }
            Attempt::HostTrouble(err) => self.blame(host, err),
        }
    }

    /// Notes that a host failed this job.
    fn blame(&mut self, host: &HostSpec, err: Error) -> Outcome {
        self.failed.push(host.clone());
        match self.has_another_host() {
            true => log::error!(
                "{err}; trying another host for {}",
                self.invocation.input.display()
            ),
            false => log::error!("{err}"),
        }
        if plan::blames_host(err.code) {
            self.farm.mark_trouble(host);
        }
        self.cause.get_or_insert(err.code);
        self.why_here = err.message;
        Outcome::HostTrouble(err.code)
    }

    /// Whether this job may still go to a host that has not failed it.
    fn has_another_host(&self) -> bool {
        let hosts = self.farm.hosts.as_ref().map_or(&[][..], |list| &list.hosts);
        let may_take = |host: &HostSpec| !host.down && !self.failed.contains(host);
        self.attempts < plan::ATTEMPTS_MAX && hosts.iter().any(may_take)
    }

    /// What it means that there are hosts, but none for this job.
    fn none_suits(&mut self) -> Outcome {
        match (self.cause, &self.plain) {
            (Some(code), _) => Outcome::NoOther(code),
            (None, Some(Ok(_))) => {
                self.why_here =
                    "no host is known to give exact debug information (a distccd of this version does)"
                        .to_owned();
                Outcome::Inexact
            }
            (None, Some(Err(why))) if self.why_here.is_empty() => {
                self.why_here = format!("{why}, and no host is known to bring them home");
                Outcome::Inexact
            }
            (None, _) => Outcome::Inexact,
        }
    }

    fn no_host(&mut self, err: &Error) -> Outcome {
        if self.failed.is_empty() {
            log::warn!("{err}");
            self.why_here = err.message.clone();
        }
        match self.cause {
            Some(code) => Outcome::NoOther(code),
            None => Outcome::NoOther(match err.code {
                Code::BadHostSpec => Code::BadHostSpec,
                _ => Code::NoHosts,
            }),
        }
    }

    /// Looks at an answer: is it what a local compile would give? If so and if it went well, the output is written.
    fn weigh(&mut self, host: &HostSpec, mut reply: Reply, made: Made) -> Outcome {
        self.farm.progress.trace.does(Activity::Write);
        if let Some(code) = plan::refusal(reply.status) {
            return self.blame(host, refusal(host, code, &reply.stderr));
        }
        if reply.status.success() && reply.object.as_ref().is_none_or(Vec::is_empty) {
            // No compiler makes one: it was lost.
            let why = format!("{}: it sent an empty object", host.token);
            return self.blame(host, Error::new(Code::Truncated, why));
        }
        let file = base_name(&self.invocation.input).to_string_lossy();
        self.farm.clear_trouble(host);
        reply.stderr = without_daemons_words(std::mem::take(&mut reply.stderr), &host.token);
        let outcome = match reply.status.success() {
            true => self.take(host, &mut reply, made),
            false => Outcome::Compiled(reply.status),
        };
        match outcome {
            Outcome::Inexact => log::info!(
                "{}'s answer for {file} is not taken: {}",
                host.token,
                self.why_here
            ),
            _ => log_end(&file, &host.token, reply.status),
        }
        let pumped = matches!(made, Made::There(_));
        self.farm.progress.trace.made_by(host, pumped);
        self.answer = Some(Answer {
            host: host.clone(),
            reply,
            pumped,
        });
        outcome
    }

    /// Takes the result of a compile that went well, or says why it is not what a local run would give.
    fn take(&mut self, host: &HostSpec, reply: &mut Reply, made: Made) -> Outcome {
        if self.differs(reply, made) && !self.settings.skip_local_retry {
            self.why_here =
                "the compiler has something to say, and only a local compile says it exactly"
                    .to_owned();
            return Outcome::Inexact;
        }
        let betrays = match made {
            Made::There(Trust::Full) => false,
            Made::There(Trust::Examined) => leaks::betray(reply),
            Made::Text(job) => {
                let object = reply.object.as_deref().unwrap_or_default();
                plain::betrays_server(object, &reply.stderr, self.invocation, job.recipe.way)
            }
        };
        if betrays {
            if matches!(made, Made::Text(job) if job.recipe.way == Way::DirectivesOnly) {
                self.farm.learn(host, Trait::Inexact);
            }
            self.why_here = "the host put words of its own into the result".to_owned();
            return Outcome::Inexact;
        }
        let sent = self.pump.as_mut().filter(|_| reply.sides.is_some());
        let sent = sent.map_or(Ok(Vec::new()), Pump::sent);
        let sent = sent.unwrap_or_default();
        if let Err(why) = sides::check(self.invocation, self.compiler.family, reply, &sent) {
            log::warn!("{}: {why}", host.token);
            self.farm.learn(host, Trait::NoSides);
            self.why_here = "the host would write other files than a compile here".to_owned();
            return Outcome::Inexact;
        }
        match self.write(reply, made) {
            Ok(()) => Outcome::Compiled(reply.status),
            Err(err) => {
                self.why_here = err.message;
                Outcome::Inexact
            }
        }
    }

    /// Whether a local compile would say something that this answer does not say in the same words.
    fn differs(&self, reply: &Reply, made: Made) -> bool {
        if leaks::names_temporary(&reply.stderr) {
            return true;
        }
        match made {
            Made::There(Trust::Full) => {
                !says_the_same(&reply.stderr, self.invocation, self.compiler.family)
                    || self.names_another(&reply.stderr)
                    || !reply.stderr.is_empty() && !self.speaks_common()
            }
            Made::There(Trust::Examined) => !reply.stderr.is_empty(),
            Made::Text(job) => {
                let said = job
                    .prepared
                    .as_ref()
                    .is_some_and(|prepared| !prepared.said.is_empty());
                // Without the source at hand gcc shows no lines of it, and some columns differ; so it is with expanded text.
                let exact = job.family == Some(Family::Clang) && job.recipe.way != Way::Expanded;
                let odd = || clang_warnings::tells_of_rewriting(&reply.stderr);
                let alike = || says_the_same(&reply.stderr, self.invocation, job.family);
                !reply.stderr.is_empty() && (!exact || said || odd() || !alike())
            }
        }
    }

    /// Whether a host's compiler speaks as ours does.
    fn speaks_common(&self) -> bool {
        match locale::speech(&|name| env::var_os(name)) {
            _ if self.compiler.family == Some(Family::Clang) => true,
            Speech::Common => true,
            Speech::English(names) => names.iter().all(|name| is_installed(name)),
            Speech::Own => false,
        }
    }

    /// Whether a driver speaks under a name that is not the one it was called by here.
    fn names_another(&self, said: &[u8]) -> bool {
        let name = base_name(Path::new(&self.compiler.server.name));
        let given = self.argv.first().map(|given| base_name(Path::new(given)));
        let head = [name.as_bytes(), b":"].concat();
        let mut lines = said.split(|byte| *byte == b'\n');
        let names = |line: &[u8]| model::terminal::without_first_colors(line).starts_with(&head);
        !said.is_empty() && given != Some(name) && lines.any(names)
    }

    fn write(&self, reply: &Reply, made: Made) -> Result<()> {
        sides::write(self.invocation, self.compiler.family, reply)?;
        if let (Made::There(_), Some(path)) = (made, dependencies::file(self.invocation)) {
            write_deps(&path, reply.deps.as_deref().unwrap_or_default())?;
        }
        write_object(self.invocation, self.compiler.family, reply)
    }

    /// Gives the user what the host answered.
    fn finish(self) -> Status {
        let answer = self.answer.as_ref();
        self.tell_no_pump(answer.is_some_and(|answer| answer.reply.status.success()));
        let Some(Answer {
            host,
            reply,
            pumped,
        }) = self.answer
        else {
            return Code::Failed.into();
        };
        if !reply.status.success() && !self.settings.fallback {
            log::error!("failed to distribute and fallbacks are disabled");
        }
        let prepared = match &self.plain {
            Some(Ok(job)) if !pumped => job.prepared.as_ref(),
            _ => None,
        };
        if let Some(prepared) = prepared {
            say(&[], &prepared.said);
        }
        say(&reply.stdout, &reply.stderr);
        log::debug!(
            "finished on {} with status {}",
            host.token,
            reply.status.status().0
        );
        reply.status.status()
    }

    fn warn_of_fallback(&self, remote: Option<WaitStatus>, outcome: Outcome) {
        let input = self.invocation.input.display();
        match (remote, outcome, self.failed.last()) {
            (Some(_), _, _) => {
                log::warn!("remote compilation of '{input}' failed, retrying locally")
            }
            (None, Outcome::Inexact | Outcome::Unsuited, _) => {}
            (None, _, Some(host)) => {
                let host = &host.token;
                log::warn!("failed to distribute {input} to {host}, running locally instead");
            }
            (None, _, None) => log::warn!("failed to distribute, running locally instead"),
        }
    }

    /// Compiles on this machine; compares with `remote`, the status that a host gave, if one did.
    fn compile_here(mut self, remote: Option<WaitStatus>) -> Result<Status> {
        let slot = self.farm.local_slot(self.farm.compile_slots());
        let input = self.invocation.input.as_path();
        let why = match remote {
            Some(status) => format!("the remote compile {}", status.describe()),
            None => std::mem::take(&mut self.why_here),
        };
        if let Some(Ok(job)) = &self.plain {
            job.take_back_deps();
        }
        let ended = self
            .farm
            .run_here(self.argv, Some(input), &why, slot.as_ref())?;
        if remote.is_some_and(|remote| remote.status() != ended.status()) {
            self.note_discrepancy();
        }
        self.tell_no_pump(ended.success());
        Ok(ended.status())
    }

    /// Notes that a host's compiler and ours do not agree.
    fn note_discrepancy(&mut self) {
        let input = &self.invocation.input;
        log::warn!(
            "remote compilation of '{}' failed, retried locally and got a different result.",
            input.display()
        );
        let Some(answer) = &self.answer else {
            return;
        };
        log_words(&answer.host.token, &answer.reply.stderr);
        if answer.pumped {
            let deps = dependencies::file(self.invocation);
            let pump = self.pump.as_mut();
            let sent = || pump.map_or(Ok(Vec::new()), Pump::sent);
            let session = Session::of(&self.settings.pump);
            session.note(input, deps.as_deref(), sent, &answer.reply.stderr);
        }
    }
}
