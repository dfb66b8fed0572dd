//! The program distcc as a compiler: the one path from a command line to an exit status. What to try next is decided
//! by `model::plan`; here it is done.

use super::output::{
    base_name, log_end, log_exit, refusal, say, without_daemons_words, words, write_object,
};
use super::remote::{attempt, Attempt, Job, Means};
use super::{cross, local, masquerade};
use crate::farm::slots::{Slot, Slots};
use crate::farm::state::{Phase, StateFile};
use crate::farm::topdir::TopDir;
use crate::model::error::{Code, Error, Result, Status};
use crate::model::hosts::{HostList, HostSpec, Place};
use crate::model::invocation::{scan, Invocation, LocalOnly, Scan};
use crate::model::plain::{self, Family, Way, Wishes};
use crate::model::plan::{self, Outcome, Policy, Step};
use crate::model::settings::ClientSettings;
use crate::model::wait_status::WaitStatus;
use crate::model::wire::Reply;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A call of distcc: what it was called as, with which settings.
#[derive(Debug)]
pub struct Call {
    /// All settings from the environment.
    pub settings: ClientSettings,
    /// argv[0].
    pub called_as: OsString,
    /// PATH for the compiler, if it is not the one that was given.
    pub path: Option<OsString>,
}

/// Called through a link that bears a compiler's name: all words, the first is that name.
pub fn masquerade(mut argv: Vec<OsString>, settings: ClientSettings) -> Result<Status> {
    let called_as = argv.first().cloned().unwrap_or_default();
    let path = settings
        .path
        .as_ref()
        .and_then(|path| masquerade::path_without_links(&called_as, path));
    if let (Some(word), Some(name)) = (argv.first_mut(), Path::new(&called_as).file_name()) {
        *word = name.to_owned();
    }
    let call = Call {
        settings,
        called_as,
        path,
    };
    call.compile(&argv)
}

impl Call {
    /// Runs the compiler command `argv`, here or elsewhere.
    pub fn compile(&self, argv: &[OsString]) -> Result<Status> {
        let level = self.settings.safeguard;
        masquerade::guard_against_recursion(level, self.path.is_some(), &self.called_as)?;
        masquerade::mark_environment(level, &self.called_as, self.path.as_deref());
        if level > 0 {
            return Err(local::become_command(argv));
        }
        let begun = Instant::now();
        let status = match scan(argv, &read_plain_file) {
            Scan::Distributable(invocation) => Distribution::new(self, argv, &invocation).run(),
            Scan::Local(why) => self.stay(argv, &why),
        };
        log_exit(begun, &status);
        status
    }

    /// Runs what is not for other machines, in a slot of this one.
    fn stay(&self, argv: &[OsString], why: &LocalOnly) -> Result<Status> {
        let mut farm = Farm::open(&self.settings);
        let slots_max = match why.preprocess_only {
            true => farm.preprocess_slots(),
            false => farm.compile_slots(),
        };
        let slot = farm.local_slot(slots_max);
        let ended = farm.run_here(argv, None, &why.reason.to_string(), slot.as_ref())?;
        Ok(ended.status())
    }

    fn path(&self) -> OsString {
        let path = self.path.as_ref().or(self.settings.path.as_ref());
        path.cloned().unwrap_or_default()
    }
}

/// What this machine knows of the farm. A missing folder or list is no reason not to compile: the trouble is kept
/// until it matters.
struct Farm {
    hosts: Result<HostList>,
    slots: Result<Slots>,
    state: StateFile,
}

impl Farm {
    fn open(settings: &ClientSettings) -> Farm {
        let top = TopDir::find(settings);
        Farm {
            hosts: TopDir::host_list(top.as_ref().ok(), settings),
            slots: top.clone().and_then(|top| Slots::open(&top, settings)),
            state: StateFile::create(top.as_ref().ok()),
        }
    }

    fn preprocess_slots(&self) -> usize {
        let list = self.hosts.as_ref();
        list.map_or(HostList::default().localslots_cpp, |list| {
            list.localslots_cpp
        })
    }

    fn compile_slots(&self) -> usize {
        let list = self.hosts.as_ref();
        list.map_or(HostList::default().localslots, |list| list.localslots)
    }

    /// A slot on this machine; without one the job runs all the same.
    fn local_slot(&self, slots_max: usize) -> Option<Slot> {
        match self.slots.as_ref().map(|slots| slots.local(slots_max)) {
            Ok(Ok(slot)) => Some(slot),
            Ok(Err(err)) => {
                log::warn!("{err}; going on without a slot");
                None
            }
            Err(err) => {
                log::warn!("{err}; going on without a slot");
                None
            }
        }
    }

    /// A slot on one of the hosts that `suit`; nothing if there are hosts, but none of them does.
    fn place(&self, suits: impl Fn(&Slots, &HostSpec) -> bool) -> Result<Option<Slot>> {
        let hosts = self.hosts.as_ref().map_err(Error::clone)?;
        let slots = self.slots.as_ref().map_err(Error::clone)?;
        if hosts.hosts.iter().all(|host| suits(slots, host)) {
            return slots.acquire(&hosts.hosts).map(Some);
        }
        let mut rest = hosts.hosts.clone();
        rest.retain(|host| suits(slots, host));
        match rest.is_empty() {
            true => Ok(None),
            false => slots.acquire(&rest).map(Some),
        }
    }

    /// Compiles on this machine, with the user's own words.
    fn run_here(
        &mut self,
        argv: &[OsString],
        input: Option<&Path>,
        why: &str,
        slot: Option<&Slot>,
    ) -> Result<WaitStatus> {
        let file = input.map(base_name);
        let name = file.map_or("(null)".into(), |name| name.to_string_lossy());
        match file {
            Some(_) => log::info!("{name} compiled locally: {why}"),
            None => log::info!("run locally: {why}"),
        }
        log::info!("exec on localhost: {}", words(argv));
        self.state.note(
            Phase::Compile,
            file,
            Some("localhost"),
            slot.map(|slot| slot.index),
        );
        let ended = local::run(argv)?;
        log_end(&name, "localhost", ended);
        Ok(ended)
    }

    fn mark_trouble(&self, host: &HostSpec) {
        if let Ok(slots) = &self.slots {
            slots.mark_trouble(host);
        }
    }

    fn clear_trouble(&self, host: &HostSpec) {
        if let Ok(slots) = &self.slots {
            slots.clear_trouble(host);
        }
    }
}

/// One distributable compile on its way.
struct Distribution<'d> {
    call: &'d Call,
    argv: &'d [OsString],
    invocation: &'d Invocation,
    farm: Farm,
    /// The hosts that failed this job.
    failed: Vec<HostSpec>,
    /// Why the first of them did.
    cause: Option<Code>,
    /// The answer that the last attempt brought, with the host that gave it.
    answer: Option<(HostSpec, Reply)>,
    /// Why the job ends up here, if it does.
    why_here: String,
}

/// What [`Distribution::try_once`] came to.
enum Tried {
    /// The slot was one of this machine: compile here, and hold it meanwhile.
    PlacedHere(Slot),
    /// It was another machine's.
    There(Outcome),
}

impl<'d> Distribution<'d> {
    fn new(call: &'d Call, argv: &'d [OsString], invocation: &'d Invocation) -> Self {
        Distribution {
            call,
            argv,
            invocation,
            farm: Farm::open(&call.settings),
            failed: Vec::new(),
            cause: None,
            answer: None,
            why_here: String::new(),
        }
    }

    fn run(mut self) -> Result<Status> {
        let mut job = match self.job() {
            Ok(job) => job,
            Err(why) => {
                self.why_here = why;
                return self.compile_here(None);
            }
        };
        let policy = Policy {
            fallback: self.call.settings.fallback,
            skip_local_retry: self.call.settings.skip_local_retry,
        };
        self.log_names();
        let mut attempts = 0;
        loop {
            attempts += 1;
            let outcome = match self.try_once(&mut job) {
                Tried::There(outcome) => outcome,
                Tried::PlacedHere(slot) => {
                    let input = Some(self.invocation.input.as_path());
                    let why = "it was placed on localhost";
                    let ended = self.farm.run_here(self.argv, input, why, Some(&slot))?;
                    return Ok(ended.status());
                }
            };
            match plan::next(policy, attempts, outcome) {
                Step::TryAnother => {}
                Step::Finish => return Ok(self.finish(&job)),
                Step::GiveUp(status) => {
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

    /// What is to be sent, or why it can't be.
    fn job(&self) -> std::result::Result<Job<'d>, String> {
        if let Some(name) = self.call.settings.compiler_variable {
            return Err(format!("${name} is set, which a server would not see"));
        }
        if !is_plain_file(&self.invocation.input)
            || self.argv.iter().any(|word| is_descriptor(word))
        {
            return Err("only a plain file can be read here and once more if need be".to_owned());
        }
        let program = self.argv.first().cloned().unwrap_or_default();
        let path = self.call.path();
        let family = plain::family(Path::new(&program)).or_else(|| {
            let behind = cross::resolve(&program, &path)?;
            plain::family(&behind)
        });
        let source = || fs::read(&self.invocation.input).ok();
        if plain::indentation_matters(self.invocation, family, source) {
            return Err(
                "gcc might warn of its indentation, and judges that by the file itself".to_owned(),
            );
        }
        let wishes = Wishes {
            color: std::io::stderr().is_terminal() && !self.call.settings.dumb_terminal,
            comments: plain::comments_matter(self.invocation, family, source),
        };
        let mut recipe = plain::recipe(self.invocation, family, &working_directory, wishes)
            .map_err(|why| why.to_string())?;
        let compiler = match self.call.settings.rewrite_cross {
            true => cross::server_compiler(self.argv, &path),
            false => cross::ServerCompiler::as_given(&program),
        };
        if let Some(first) = recipe.server_argv.first_mut() {
            *first = compiler.name;
        }
        recipe.server_argv.extend(compiler.more);
        Ok(Job {
            invocation: self.invocation,
            family,
            recipe,
            prepared: None,
        })
    }

    /// Takes a slot and tries the job there.
    fn try_once(&mut self, job: &mut Job) -> Tried {
        let demanding = job.recipe.way == Way::DirectivesOnly && self.invocation.debug_info;
        let placed = self.farm.place(|slots, host| {
            !self.failed.contains(host) && (!demanding || !slots.is_inexact(host))
        });
        let slot = match placed {
            Ok(Some(slot)) if slot.host.place == Place::Local => return Tried::PlacedHere(slot),
            Ok(Some(slot)) => slot,
            Ok(None) => return Tried::There(self.none_suits()),
            Err(err) => return Tried::There(self.no_host(&err)),
        };
        if slot.host.cpp {
            let host = &slot.host.token;
            log::warn!("{host}: this version has no pump mode (,cpp); preprocessing here instead");
        }
        log::info!(
            "exec on {}: {}",
            slot.host.token,
            words(&job.recipe.server_argv)
        );
        let preprocess_slots = self.farm.preprocess_slots();
        let Ok(slots) = &self.farm.slots else {
            return Tried::There(Outcome::Inexact);
        };
        let mut means = Means {
            settings: &self.call.settings,
            slots,
            preprocess_slots,
            state: &mut self.farm.state,
        };
        let outcome = match attempt(job, &slot, &mut means) {
            Attempt::Answered(reply) => self.weigh(&slot.host, reply, job),
            Attempt::StaysHere(why) => {
                self.why_here = why;
                Outcome::Inexact
            }
            Attempt::HostTrouble(err) => self.blame(&slot.host, err),
        };
        Tried::There(outcome)
    }

    /// Notes that a host failed this job.
    fn blame(&mut self, host: &HostSpec, err: Error) -> Outcome {
        log::error!("{err}");
        if plan::blames_host(err.code) {
            self.farm.mark_trouble(host);
        }
        self.cause.get_or_insert(err.code);
        self.why_here = err.message;
        self.failed.push(host.clone());
        Outcome::HostTrouble(err.code)
    }

    /// What it means that there are hosts, but none for this job.
    fn none_suits(&mut self) -> Outcome {
        match self.cause {
            Some(code) => Outcome::NoOther(code),
            None => {
                self.why_here =
                    "no host is known to give exact debug information (a distccd of this version does)"
                        .to_owned();
                Outcome::Inexact
            }
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
    fn weigh(&mut self, host: &HostSpec, mut reply: Reply, job: &Job) -> Outcome {
        if let Some(code) = plan::refusal(reply.status) {
            return self.blame(host, refusal(host, code, &reply.stderr));
        }
        let file = base_name(&self.invocation.input).to_string_lossy();
        self.farm.clear_trouble(host);
        reply.stderr = without_daemons_words(std::mem::take(&mut reply.stderr), &host.token);
        let outcome = match reply.status.success() {
            true => self.take(host, &reply, job),
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
        self.answer = Some((host.clone(), reply));
        outcome
    }

    /// Takes the result of a compile that went well, or says why it is not what a local run would give.
    fn take(&mut self, host: &HostSpec, reply: &Reply, job: &Job) -> Outcome {
        let said = job
            .prepared
            .as_ref()
            .is_some_and(|prepared| !prepared.said.is_empty());
        let object = reply.object.as_deref().unwrap_or_default();
        // Without the source at hand gcc shows no lines of it, and some columns differ; so it is with expanded text.
        let exact = job.family == Some(Family::Clang) && job.recipe.way != Way::Expanded;
        let words_differ = !exact || said;
        let trusting = self.call.settings.skip_local_retry;
        self.why_here = if !reply.stderr.is_empty() && words_differ && !trusting {
            "the compiler has something to say, and only a local compile says it exactly".to_owned()
        } else if plain::betrays_server(object, &reply.stderr, self.invocation, job.recipe.way) {
            if let (Way::DirectivesOnly, Ok(slots)) = (job.recipe.way, &self.farm.slots) {
                slots.mark_inexact(host);
            }
            "the host put words of its own into the result".to_owned()
        } else if let Err(err) = write_object(self.invocation, job.family, reply) {
            err.message
        } else {
            return Outcome::Compiled(reply.status);
        };
        Outcome::Inexact
    }

    /// Gives the user what the host answered.
    fn finish(self, job: &Job) -> Status {
        let Some((host, reply)) = self.answer else {
            return Code::Failed.into();
        };
        if !reply.status.success() && !self.call.settings.fallback {
            log::error!("failed to distribute and fallbacks are disabled");
        }
        if let Some(prepared) = &job.prepared {
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
            (None, Outcome::Inexact, _) => {}
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
        let ended = self
            .farm
            .run_here(self.argv, Some(input), &why, slot.as_ref())?;
        if remote.is_some_and(|remote| remote.status() != ended.status()) {
            let input = input.display();
            log::warn!(
                "remote compilation of '{input}' failed, retried locally and got a different result."
            );
        }
        Ok(ended.status())
    }
}

/// A response file's text. What can be read only once is left to the compiler.
fn read_plain_file(path: &Path) -> Option<Vec<u8>> {
    is_plain_file(path).then(|| fs::read(path).ok()).flatten()
}

fn is_plain_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file())
}

/// Whether a word names something that only this process has open.
fn is_descriptor(word: &OsStr) -> bool {
    let word = word.as_encoded_bytes();
    word.starts_with(b"/dev/stdin")
        || word.starts_with(b"/dev/fd/")
        || word.starts_with(b"/proc/self/")
}

/// The working directory as compilers write it down: `$PWD` if that is where we are, else what the system says.
fn working_directory() -> PathBuf {
    let here = fs::metadata(".").ok();
    let pwd = env::var_os("PWD").map(PathBuf::from);
    pwd.filter(|pwd| {
        pwd.is_absolute() && masquerade::is_same(fs::metadata(pwd).ok().as_ref(), here.as_ref())
    })
    .or_else(|| env::current_dir().ok())
    .unwrap_or_default()
}
