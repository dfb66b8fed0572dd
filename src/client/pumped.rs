//! Pump mode for one job on one host: the include server is asked, the host is sent what it names, and both again if the
//! host's answer calls for it. Which hosts are tried, and what becomes of an answer, is decided elsewhere.

use super::here::{name_of, Farm};
use super::output::{base_name, log_transfer, shows_color, without_daemons_words, words};
use crate::farm::cross::{locate, Compiler};
use crate::farm::include_link::{Files, IncludeServer};
use crate::farm::slots::{Slot, Trait};
use crate::farm::transport::{connect, Link};
use crate::model::about::VARIABLES;
use crate::model::decode_reply::ReplyDecoder;
use crate::model::direct::{Covered, Query};
use crate::model::entries::{Entries, Raw};
use crate::model::error::{Code, Error};
use crate::model::family::Family;
use crate::model::hosts::{HostSpec, Place};
use crate::model::invocation::Invocation;
use crate::model::plan::{self, Asked, PumpAnswer, PumpStep};
use crate::model::settings::ClientSettings;
use crate::model::trace::Activity;
use crate::model::wire::{self, Limits, Remark, Reply, Version};
use crate::model::{make_rule, missed, pump_words};
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// How often one job is sent to one host at most: each of the three things that it can be asked again for, and once more.
const SENT_MAX: u32 = 5;

/// What is said where a host can't be exact.
const NOT_EXACT: &str = "this host would not give what a local compile gives";

/// What is said where a host has other system headers.
const OTHER_SYSTEM: &str = "its system headers are others";

/// What is said where files beside the object would be lost.
const NO_SIDES: &str = "it brings home no files but the object";

/// A job that may go by pump mode.
#[derive(Debug)]
pub struct Pump<'p> {
    invocation: &'p Invocation,
    family: Option<Family>,
    server: IncludeServer,
    query: Query,
    /// What a host is asked to run.
    server_argv: Vec<OsString>,
    /// Why no daemon of stock's gives what a compile here gives, if that does not depend on the files.
    stock_differs: Option<String>,
    /// A text that is changed for stock's sake would show in the object.
    is_untouchable: bool,
    /// What the include server has said last, and what it was asked then.
    answer: Option<(Asked, Files)>,
}

/// How far an answer can be believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trust {
    /// It is what a local run gives, word for word.
    Full,
    /// It may be, but for traces of the host.
    Examined,
}

/// Why there is no answer.
enum Fault {
    /// The host is at fault.
    Host(Error),
    /// The include server is.
    IncludeServer(String),
}

impl From<Error> for Fault {
    fn from(err: Error) -> Self {
        Fault::Host(err)
    }
}

/// How it went.
#[derive(Debug)]
pub enum Pumped {
    /// The host answered.
    Answered(Reply, Trust),
    /// The host is at fault.
    HostTrouble(Error),
    /// This host can't do this job exactly in pump mode; nobody is to blame.
    NotOnHost(String),
    /// The job can't go by pump mode at all.
    NotAtAll(String),
}

impl<'p> Pump<'p> {
    /// Makes ready what is asked for and sent, or says why that can't be.
    pub fn new(
        invocation: &'p Invocation,
        compiler: &Compiler,
        path: &OsStr,
        settings: &ClientSettings,
    ) -> std::result::Result<Pump<'p>, String> {
        let Some(port) = &settings.pump.port else {
            return Err("INCLUDE_SERVER_PORT not set; did you forget to run under 'pump'?".into());
        };
        let lookup = |name: &str| env::var_os(name);
        let (family, color) = (compiler.family, shows_color(settings.dumb_terminal));
        let mut words = pump_words::server_words(invocation, family, color, &lookup)
            .map_err(|why| why.to_string())?;
        words.extend_from_slice(&compiler.server.more);
        let query = query(&words, path)?;
        let differs = pump_words::stock_differs(invocation, &query.cwd, &lookup);
        if let Some(first) = words.first_mut() {
            first.clone_from(&compiler.server.name);
        }
        Ok(Pump {
            invocation,
            family,
            server: IncludeServer::at(port, settings.io_timeout, settings.pump.silence_file()),
            query,
            server_argv: words,
            stock_differs: differs.map(|why| why.to_string()),
            is_untouchable: pump_words::shows_checksums(invocation, family),
            answer: None,
        })
    }

    /// Tries the job on the host of `slot`, more than once if its answers call for that.
    pub fn attempt(&mut self, slot: &Slot, farm: &mut Farm, settings: &ClientSettings) -> Pumped {
        // What lies beside the object is compared with what was sent.
        let is_tcp = matches!(slot.host.place, Place::Tcp { .. });
        self.query.hands_over = is_tcp && self.invocation.sides.is_none();
        let pumped = self.attempt_until_clear(slot, farm, settings);
        // The include server waits for us as long as we might hand over a connection.
        if let Some((_, files)) = &mut self.answer {
            files.let_go();
        }
        pumped
    }

    fn attempt_until_clear(
        &mut self,
        slot: &Slot,
        farm: &mut Farm,
        settings: &ClientSettings,
    ) -> Pumped {
        let host = &slot.host;
        let mut asked = Asked {
            missed: !self.query.missed.is_empty(),
            ..at_first(&|what| farm.knows(host, what))
        };
        for _ in 0..SENT_MAX {
            if let Some(pumped) = self.make_ready(asked, host, farm) {
                return pumped;
            }
            let reply = match self.exchange(slot, farm, settings) {
                Ok(reply) => reply,
                Err(Fault::Host(err)) => return Pumped::HostTrouble(err),
                Err(Fault::IncludeServer(why)) => return Pumped::NotAtAll(why),
            };
            let answer = self.judge(&reply);
            self.learn(host, asked, &answer, farm);
            let step = plan::after_pump(asked, &answer);
            if matches!(step, PumpStep::Resend(_) | PumpStep::Leave) {
                // The answer goes no further, so that what the daemon says in it is told here or nowhere.
                let _ = without_daemons_words(reply.stderr.clone(), &host.token);
            }
            match step {
                PumpStep::Resend(more) => {
                    log::info!("{}: to be sent again: {}", host.token, why(&answer));
                    asked = more;
                }
                PumpStep::Leave => return Pumped::NotOnHost(self.why_left(&answer)),
                PumpStep::Believe => return self.answered(reply, Trust::Full, host),
                PumpStep::Examine => return self.answered(reply, Trust::Examined, host),
            }
        }
        Pumped::NotOnHost("its answers contradict each other".to_owned())
    }

    /// What a host is asked to run.
    pub fn words(&self) -> &[OsString] {
        &self.server_argv
    }

    /// What any host would be sent at first.
    pub fn files(&mut self) -> std::result::Result<&Covered, String> {
        self.query.hands_over = false;
        self.ask(Asked::default())
    }

    /// The files that were sent last. Those that we have not seen are asked for: they are the same, unless something has
    /// changed since.
    pub fn sent(&mut self) -> std::result::Result<Vec<PathBuf>, String> {
        let Some((asked, _)) = self.answer else {
            return Ok(Vec::new());
        };
        self.query.hands_over = false;
        let covered = self.ask(asked)?;
        let files = Entries::of(&covered.entries).filter_map(|entry| match entry {
            Ok(Raw::File(name, _)) => Some(PathBuf::from(OsStr::from_bytes(name))),
            _ => None,
        });
        Ok(files.collect())
    }

    /// Has the files of the job for a host; if they are not worth sending, how it went.
    fn make_ready(&mut self, asked: Asked, host: &HostSpec, farm: &mut Farm) -> Option<Pumped> {
        if let Some(why) = self.is_ruled_out(asked, &|what| farm.knows(host, what)) {
            return Some(Pumped::NotOnHost(why));
        }
        let file = Some(base_name(&self.invocation.input));
        farm.progress
            .note(Activity::Ask, file, Some("localhost"), None);
        if let Err(why) = self.ask(asked) {
            return Some(Pumped::NotAtAll(why));
        }
        let fails = self.is_known_to_fail(asked, &|what| farm.knows(host, what));
        fails.then(|| Pumped::NotOnHost(NOT_EXACT.to_owned()))
    }

    /// Why a host of which that is known would not be sent the job in pump mode. Asks no host.
    pub fn stays_away(&mut self, knows: &dyn Fn(Trait) -> bool) -> Option<String> {
        let asked = at_first(knows);
        if let Some(why) = self.is_ruled_out(asked, knows) {
            return Some(why);
        }
        if let Err(why) = self.ask(asked) {
            return Some(why);
        }
        self.is_known_to_fail(asked, knows)
            .then(|| NOT_EXACT.to_owned())
    }

    /// Why no files need be gathered for a host of which that is known.
    fn is_ruled_out(&self, asked: Asked, knows: &dyn Fn(Trait) -> bool) -> Option<String> {
        match &self.stock_differs {
            Some(why) if asked.for_stock => Some(format!("{NOT_EXACT}: {why}")),
            _ if asked.hermetic && knows(Trait::NoOtherSystem) => Some(OTHER_SYSTEM.to_owned()),
            _ => None,
        }
    }

    /// Whether a host of which that is known can't do the job with the files that were gathered.
    fn is_known_to_fail(&self, asked: Asked, knows: &dyn Fn(Trait) -> bool) -> bool {
        asked.for_stock && self.needs_ours() || self.needs_paths() && knows(Trait::NoPaths)
    }

    /// Asks the include server, unless it has answered the same already and that is still at hand.
    fn ask(&mut self, asked: Asked) -> std::result::Result<&Covered, String> {
        let can_go_over = self.query.hands_over;
        let is_same =
            |answer: &(Asked, Files)| answer.0 == asked && answer.1.are_at_hand(can_go_over);
        let files = match self.answer.take().filter(is_same) {
            Some((_, files)) => files,
            None => {
                self.query.hermetic = asked.hermetic;
                self.query.for_stock = asked.for_stock;
                let program = self.server_argv.first().map(OsString::as_os_str);
                self.server.ask(&self.query, program.unwrap_or_default())?
            }
        };
        Ok(&self.answer.insert((asked, files)).1.covered)
    }

    /// Sends what the include server last answered and receives the host's answer.
    fn exchange(
        &mut self,
        slot: &Slot,
        farm: &mut Farm,
        settings: &ClientSettings,
    ) -> std::result::Result<Reply, Fault> {
        let (host, input) = (&slot.host, &self.invocation.input);
        let (name, file) = (Some(host.name()), Some(base_name(input)));
        let progress = &mut farm.progress;
        log::info!("exec on {}: {}", host.token, words(&self.server_argv));
        progress.note(Activity::Connect, file, name, Some(slot.index));
        let begun = Instant::now();
        let mut link = connect(host, settings)?;
        progress.note(Activity::Send, None, name, None);
        let (sent, count) = self.send(&mut link, host)?;
        progress.note(Activity::Compile, None, name, None);
        let decoder = match self.invocation.sides {
            Some(_) => ReplyDecoder::for_reply_with_sides(Limits::default()),
            None => ReplyDecoder::for_reply(Version::V3, Limits::default()),
        };
        let reply = link.receive(decoder, || {
            progress.note(Activity::Receive, None, name, None);
        })?;
        let how = format!(", {count} files in pump mode");
        progress.trace.exchanged(sent, reply.size());
        log_transfer(base_name(input), host, sent, reply.size(), begun, &how);
        Ok(reply)
    }

    /// Sends a request: how many bytes it was, and how many files.
    fn send(
        &mut self,
        link: &mut Link,
        host: &HostSpec,
    ) -> std::result::Result<(usize, u32), Fault> {
        let too_much =
            |err: wire::WireError| Error::new(err.code(), format!("{}: {err}", host.token));
        let gone = || Fault::IncludeServer("nothing is known of the files".to_owned());
        let (_, files) = self.answer.as_mut().ok_or_else(gone)?;
        let count = files.covered.entry_count;
        let argv: Vec<&[u8]> = self
            .server_argv
            .iter()
            .map(|word| word.as_bytes())
            .collect();
        let head = wire::encode_pump_head(&self.query.cwd, &argv, count as usize);
        let head = head.map_err(too_much)?;
        match (files.covered.held_bytes, link.socket()) {
            (None, _) => link.send(&[&head, &files.covered.entries])?,
            (Some(_), None) => return Err(gone()),
            (Some(_), Some(socket)) => {
                let rest = self.server.hand_over(files, &head, socket);
                let rest = rest.map_err(|why| {
                    // Also for the include server, which may have got it and do as it was told later.
                    link.end();
                    Fault::IncludeServer(why)
                })?;
                let left = rest.len();
                log::debug!("the include server has sent the request but for {left} bytes");
                link.send(&[&rest])?;
            }
        }
        Ok((head.len() + files.bytes(), count))
    }

    /// What an answer means for what follows. Names the files that the host missed, if it did, to the include server.
    fn judge(&mut self, reply: &Reply) -> PumpAnswer {
        let (told, spelled_absolutely) = match &self.answer {
            Some((_, files)) => (files.told, files.covered.spelled_absolutely),
            None => (false, false),
        };
        let mut answer = PumpAnswer {
            remark: reply.remark,
            told,
            status: reply.status,
            needs_ours: self.needs_ours(),
            lacks_sides: self.invocation.sides.is_some() && reply.sides.is_none(),
            spelled_absolutely,
            misses: false,
        };
        if told && !reply.status.success() && self.query.missed.is_empty() {
            let mut places = missed::places(&reply.stderr, self.invocation);
            places.retain(|place| is_file(place));
            answer.misses = !places.is_empty();
            self.query.missed = places;
        }
        answer
    }

    /// Notes what an answer tells of the host.
    fn learn(&self, host: &HostSpec, asked: Asked, answer: &PumpAnswer, farm: &Farm) {
        if asked.for_stock && answer.remark.is_some() {
            farm.unlearn(host, Trait::Stocks);
        }
        let found = match answer.remark {
            None if answer.told && !asked.for_stock && plan::refusal(answer.status).is_none() => {
                Trait::Stocks
            }
            Some(Remark::OtherSystem | Remark::NotHere) if asked.hermetic => Trait::NoOtherSystem,
            Some(Remark::OtherSystem) => Trait::OtherSystem,
            Some(Remark::NotHere) if self.needs_paths() => Trait::NoPaths,
            Some(Remark::NoSides) => Trait::NoSides,
            Some(Remark::Exact) if answer.lacks_sides && answer.status.success() => Trait::NoSides,
            _ => return,
        };
        farm.learn(host, found);
    }

    /// Whether the include server says that only a host that shows our paths does the job exactly.
    fn needs_paths(&self) -> bool {
        let files = self.answer.as_ref().map(|(_, files)| files);
        files.is_some_and(|files| files.covered.needs_ours)
    }

    /// Whether a daemon of stock's leaves the name of its own folder in the object. Of one that could not be told of the job it
    /// is not known whose it is: its answer is looked at.
    fn shows_folder(&self) -> bool {
        let told = self.answer.as_ref().is_some_and(|(_, files)| files.told);
        told && self.invocation.debug_info
    }

    /// Whether no daemon of stock's gives what a compile here gives, whatever it is sent.
    fn needs_ours(&self) -> bool {
        let files = self.answer.as_ref().map(|(_, files)| files);
        let changes_text = files.is_some_and(|files| files.covered.spelled_absolutely);
        self.invocation.sides.is_some()
            || self.stock_differs.is_some()
            || self.needs_paths()
            || changes_text && self.is_untouchable
            || self.shows_folder()
    }

    /// The answer, if it is whole: a host that could not make the dependencies hangs up where they are due.
    fn answered(&self, mut reply: Reply, trust: Trust, host: &HostSpec) -> Pumped {
        if let (Trust::Examined, Some(family), Some(rule)) = (trust, self.family, &reply.deps) {
            // Its compiler met longer names, of which stock's daemon takes its folder away.
            reply.deps = Some(make_rule::broken_anew(rule, family));
        }
        let has_deps = reply.deps.as_ref().is_some_and(|deps| !deps.is_empty());
        match self.invocation.deps.is_some() && reply.status.success() && !has_deps {
            true => Pumped::HostTrouble(Error::new(
                Code::Truncated,
                format!(
                    "{}: it hung up where the dependencies (DOTD) were due",
                    host.token
                ),
            )),
            false => Pumped::Answered(reply, trust),
        }
    }

    fn why_left(&self, answer: &PumpAnswer) -> String {
        match (&self.stock_differs, answer.remark) {
            (Some(why), None) => format!("{NOT_EXACT}: {why}"),
            _ => why(answer).to_owned(),
        }
    }
}

/// What is asked for a host of which that is known.
fn at_first(knows: &dyn Fn(Trait) -> bool) -> Asked {
    Asked {
        hermetic: knows(Trait::OtherSystem),
        for_stock: knows(Trait::Stocks),
        missed: false,
    }
}

/// What the include server is asked of a command; its first word is the compiler as the user named it.
fn query(words: &[OsString], path: &OsStr) -> std::result::Result<Query, String> {
    let cwd = env::current_dir().map_err(|err| format!("find the working directory: {err}"))?;
    let program = words.first().cloned().unwrap_or_default();
    let program = locate(&program, path, &cwd).ok_or("there is no such compiler here")?;
    let set = VARIABLES.iter().filter_map(|name| {
        let value = env::var_os(name)?;
        Some([name.as_bytes(), b"=", value.as_bytes()].concat())
    });
    Ok(Query {
        pwd: name_of(cwd.clone()).into_os_string().into_vec(),
        program: program.into_os_string().into_vec(),
        argv: words.iter().map(|word| word.as_bytes().to_vec()).collect(),
        variables: set.collect(),
        cwd: cwd.into_os_string().into_vec(),
        ..Query::default()
    })
}

/// Why an answer is not taken as it is.
fn why(answer: &PumpAnswer) -> &'static str {
    match answer.remark {
        Some(Remark::OtherSystem) => OTHER_SYSTEM,
        Some(Remark::NotHere) => "it says that it can't do this job exactly",
        Some(Remark::NoSides) => NO_SIDES,
        _ if plan::refusal(answer.status).is_some() => "it refuses the job so",
        _ if answer.misses => "it missed files that are here",
        Some(Remark::Exact) if answer.lacks_sides => NO_SIDES,
        Some(Remark::Exact) => "it is no daemon of stock's",
        None => "only a distccd of this version does this job exactly",
    }
}

fn is_file(place: &[u8]) -> bool {
    let path = Path::new(OsStr::from_bytes(place));
    fs::metadata(path).is_ok_and(|meta| meta.is_file())
}
