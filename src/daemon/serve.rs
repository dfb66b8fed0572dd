//! The program distccd: start-up in the order that its users rely on, the work of a daemon that serves many, and an end that
//! leaves nothing behind.

use super::announcer::{self, Announcer};
use super::config::{Config, LogTo, Mode};
use super::ending::{self, Client};
use super::front::{self, Site};
use super::job;
use super::listening;
use super::rereading::{self, Rereading};
use super::scratch;
use super::settle::{open_sink, settle, take_pid_file};
use super::shop::{compiler_environment, Shop};
use super::slots::Slots;
use super::source::{Source, Wanted};
use crate::model::error::{Code, Error, Result, Status};
use crate::os::daemonize::{self, PidFile};
use crate::os::first::leave_first_place;
use crate::os::heap::use_shelves;
use crate::os::logging::{self, NOTICE};
use crate::os::net::{self, Peer};
use crate::os::process::user_id;
use crate::os::signals::{self, Wishes};
use crate::os::systemd::{self, Manager, Passed};
use smol::channel::unbounded;
use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{catch_unwind, set_hook, AssertUnwindSafe};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How often to look whether something is to be set right.
const CHORES: Duration = Duration::from_secs(5);

/// The daemon; all words, the first is the name it was called by.
pub fn distccd(argv: Vec<OsString>) -> Result<Status> {
    let source = Arc::new(Source::new(argv));
    match source.read()? {
        Wanted::Say(text) => {
            let mut text = text;
            if !text.ends_with('\n') {
                text.push('\n');
            }
            let said = io::stdout().write_all(text.as_bytes());
            said.map_err(|err| Error::io("write to standard output", &err))?;
            Ok(Status::OK)
        }
        Wanted::Serve(mut config) => {
            let passed = systemd::passed()
                .map_err(|err| Error::io("take the sockets that are passed on", &err))?;
            settle(&mut config)?;
            serve(*config, passed, source)
        }
    }
}

fn serve(config: Config, passed: Vec<Passed>, source: Arc<Source>) -> Result<Status> {
    let mut listeners = Vec::new();
    for socket in passed {
        match socket {
            Passed::Connected(connection) => return serve_one(config, Some(connection)),
            Passed::Listening(listener) => listeners.push(listener),
        }
    }
    match config.mode {
        Mode::Inetd if listeners.is_empty() => serve_one(config, None),
        _ => serve_all(config, listeners, source),
    }
}

fn open_shop(config: Config) -> Result<Shop> {
    let signals = signals::catch_final_signals().map_err(|err| Error::io("catch signals", &err))?;
    let environment = compiler_environment(env::vars_os(), &config.path);
    Ok(Shop::new(config, signals, environment))
}

/// One job on a connection that is passed on, or on standard input and output.
fn serve_one(config: Config, passed: Option<OwnedFd>) -> Result<Status> {
    let since = Instant::now();
    let shop = open_shop(config)?;
    let shared = |fd: BorrowedFd| {
        let ours = fd.try_clone_to_owned().map(File::from);
        ours.map_err(|err| Error::io("use standard input and output", &err))
    };
    let (input, output) = match &passed {
        Some(connection) => (shared(connection.as_fd())?, shared(connection.as_fd())?),
        None => (shared(io::stdin().as_fd())?, shared(io::stdout().as_fd())?),
    };
    let peer = net::peer(input.as_fd()).map_err(|err| Error::io("who is there?", &err))?;
    let name = match peer {
        Peer::Internet(address) => {
            if !shop.config().access.admits(address) {
                log::error!(
                    "{address} may not connect: it is not in --allow; the connection is closed"
                );
                return Ok(Code::Denied.into());
            }
            front::name(address)
        }
        Peer::Unix => "UNIX-DOMAIN".to_owned(),
        Peer::NoSocket => "NOTSOCKET".to_owned(),
    };
    let _ = net::set_nonblocking(output.as_fd(), true);
    let mut client = Client {
        input,
        output: Some(output),
        name,
        since,
        connection: shop.statistics.connected(),
        received: 0,
        waited: None,
    };
    let desk = shop.statistics.desk();
    let mut ending = match job::receive(&shop, &mut client) {
        Ok(decoder) => job::perform(&shop, &desk, &client, decoder),
        Err(ending) => *ending,
    };
    let sent = ending::send(&shop.signals, &client, &mut ending, shop.config().silence);
    let unsent = match sent {
        Ok(true) => None,
        Ok(false) => Some(io::ErrorKind::TimedOut.into()),
        Err(err) => Some(err),
    };
    if let Some(err) = unsent {
        ending = ending.not_sent(&client, &err);
    }
    let code = ending.code;
    ending::finish(&desk, client, &ending);
    shop.cells.close();
    if let Some(signal) = shop.signals.caught() {
        signals::end_by(signal);
    }
    Ok(Status(code))
}

/// Listens until a final signal comes.
fn serve_all(config: Config, passed: Vec<TcpListener>, source: Arc<Source>) -> Result<Status> {
    use_shelves();
    let is_ours = passed.is_empty();
    let listeners = match is_ours {
        true => listening::listen(&config)?,
        false => passed,
    };
    let statistics = listening::listen_for_statistics(&config)?;
    let names = listening::names(&listeners);
    let has_free_port = config.listen.iter().flatten().any(|at| at.port() == 0);
    let announcement = match names.first() {
        Some(name) if has_free_port && is_ours => format!("listening on {name}\n"),
        _ => String::new(),
    };
    let launcher = match config.mode {
        Mode::Background => Some(
            daemonize::detach(&announcement)
                .map_err(|err| Error::io("go to the background", &err))?,
        ),
        _ => {
            leave_first_place()
                .map_err(|err| Error::io("start a process beside the first one", &err))?;
            daemonize::lead_group()
                .map_err(|err| Error::new(Code::Failed, format!("lead a group: {err}")))?;
            let mut stdout = io::stdout();
            let _ = stdout
                .write_all(announcement.as_bytes())
                .and_then(|()| stdout.flush());
            None
        }
    };
    if config.lifetime > 0 {
        daemonize::end_after(config.lifetime); // A fork does not inherit it.
    }
    // Who looks on from a terminal, and closes it, does not mean that we shall read our configuration again.
    let is_watched = config.mode == Mode::Foreground && io::stdin().is_terminal();
    let shop = open_shop(config)?;
    let wishes =
        signals::catch_wishes(!is_watched).map_err(|err| Error::io("catch signals", &err))?;
    let config = shop.config();
    // Who reads it may send signals.
    let pid_file = match &config.pid_file {
        Some(path) => take_pid_file(path, &config)?,
        None => None,
    };
    log::info!(target: NOTICE, "listening on {}, {} jobs at once", names.join(", "), config.jobs);
    if let Some(address) = statistics.as_ref().and_then(|at| at.local_addr().ok()) {
        log::info!(target: NOTICE, "statistics at http://{address}/");
    }
    log::info!("{}", config.compilers.describe());
    scratch::sweep(&config.temp_dir, user_id());
    shop.announce()?;
    if let Some(launcher) = launcher {
        launcher
            .ready(config.log == LogTo::Stderr)
            .map_err(|err| Error::io("go to the background", &err))?;
    }
    let addresses: Vec<_> = listeners
        .iter()
        .filter_map(|at| at.local_addr().ok())
        .collect();
    let announcer = announcer::start(&config, &addresses);
    let service = Service {
        shop: &shop,
        rereading: Rereading::new(source),
        manager: Manager::find(),
        wishes,
        listening_on: names.join(", "),
        public: Mutex::new((pid_file, announcer)),
    };
    let served = service.run(listeners, statistics);
    served.map_err(|err| Error::new(Code::ConnectFailed, format!("serve connections: {err}")))?;
    let signal = shop.signals.caught().unwrap_or(signals::TERM);
    drop(service);
    shop.cells.close();
    log::info!(target: NOTICE, "ended by {}", signals::name(signal));
    signals::end_by(signal)
}

/// A daemon that serves many.
struct Service<'s> {
    shop: &'s Shop,
    rereading: Rereading,
    manager: Manager,
    wishes: Wishes,
    listening_on: String,
    /// By what others find us: taken back when the end begins.
    public: Mutex<(Option<PidFile>, Option<Announcer>)>,
}

impl Service<'_> {
    /// Starts the job slots, runs the front, and waits for all of them to end.
    fn run(&self, listeners: Vec<TcpListener>, statistics: Option<TcpListener>) -> io::Result<()> {
        set_hook(Box::new(|panic| {
            log::error!("a fault of distccd itself: {panic}")
        }));
        let (late, unsent) = unbounded();
        let slots = Slots::new(self.shop, late);
        let watchdog = self.manager.watchdog.map(|every| every / 2);
        thread::scope(|scope| {
            slots.fill(scope)?;
            let site = Site {
                shop: self.shop,
                slots: &slots,
                unsent,
                statistics,
                wishes: &self.wishes,
                files_max: daemonize::raise_descriptor_limit(),
                chores: (watchdog.map_or(CHORES, |every| every.min(CHORES)), &|| {
                    self.manager.alive();
                    let _ = slots.fill(scope);
                }),
                reread: &|| {
                    self.manager.reloading();
                    if let Err(err) = self.rereading.begin() {
                        self.take(Err(format!("read the configuration again: {err}")));
                    }
                },
                rereading: &self.rereading,
                take: &|read| {
                    self.take(read);
                    slots.resize();
                    let _ = slots.fill(scope);
                },
                leave: &|signal| self.leave(signal),
            };
            self.manager.ready(&self.status());
            // Whatever happens in the front, the slots must end, or we would wait for them for ever.
            let run = AssertUnwindSafe(|| front::run(listeners, site));
            let served = catch_unwind(run)
                .unwrap_or_else(|_| Err(io::Error::other("a fault of distccd itself")));
            if served.is_err() {
                self.shop.signals.end_at_once(signals::TERM);
            }
            slots.queue().close();
            served
        })
    }

    fn status(&self) -> String {
        let jobs = self.shop.config().jobs;
        format!("{jobs} jobs at once, listening on {}", self.listening_on)
    }

    /// Begins the end: who comes from now on finds nobody, and another may take our place.
    fn leave(&self, signal: i32) {
        let jobs = self.shop.config().drain;
        let name = signals::name(signal);
        log::info!(target: NOTICE, "{name}: no new jobs; those that run have {jobs:?}");
        self.manager.stopping("ending after the jobs that run");
        let public = self.public.lock();
        *public.unwrap_or_else(PoisonError::into_inner) = (None, None);
    }

    /// Goes by a configuration that was read again, and opens the log anew. With a fault in it everything stays as it was.
    fn take(&self, read: rereading::Read) {
        let before = self.shop.config();
        let taken = read.and_then(|mut config| {
            let changes = config.take_over(&before);
            open_sink(&config).map(|sink| (config, changes, sink))
        });
        match taken {
            Ok((config, changes, sink)) => {
                logging::daemon(config.verbosity, config.log_json, sink);
                let warnings = config.warnings.clone();
                self.shop.exchange_config(*config);
                log::info!(target: NOTICE, "the configuration is read again; changed: {}", list(&changes.made));
                if !changes.others.is_empty() {
                    let others = list(&changes.others);
                    log::warn!("a new start is needed for what else has changed: {others}");
                }
                for warning in warnings {
                    log::warn!("{warning}");
                }
            }
            Err(why) => {
                if let Ok(sink) = open_sink(&before) {
                    logging::daemon(before.verbosity, before.log_json, sink);
                }
                log::error!("{why}; the configuration stays as it was");
            }
        }
        self.manager.ready(&self.status());
    }
}

fn list(words: &[String]) -> String {
    match words.is_empty() {
        true => "nothing".to_owned(),
        false => words.join("; "),
    }
}
