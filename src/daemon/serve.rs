//! The program distccd: start-up in the order that its users rely on, job slots as threads, and an end that leaves
//! nothing behind.

use super::config::{Config, LogTo, Mode, Surroundings};
use super::ending::{self, Answer, Client};
use super::front::{self, Arrived, Unsent};
use super::job;
use super::options::{self, Asked};
use super::shop::{compiler_environment, Shop};
use crate::model::error::{Code, Error, Result, Status};
use crate::os::daemonize::{self, FinalSignals, PidFile};
use crate::os::logging::{init_daemon, open_log, use_json, OrStderr, NOTICE};
use crate::os::net::{self, Peer};
use crate::os::start::keep_freed_memory;
use env_logger::Target;
use smol::channel::{unbounded, Receiver, Sender};
use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

/// Whom to run as if root starts us and says nothing else.
const ACCOUNTS: [&str; 3] = ["distcc", "distccd", "nobody"];

/// How long a job slot waits for a client that does not take its answer, before it leaves that to the front.
const PATIENCE: Duration = Duration::from_millis(200);

/// How much memory is kept for the next request, in bytes.
const KEPT_BYTES: i32 = 16 << 20;

/// Open files that are needed beside connections: for each job, and in general.
const FILES_PER_JOB: usize = 8;
const FILES_IN_GENERAL: usize = 64;

/// The daemon; all words, the first is the name it was called by.
pub fn distccd(argv: Vec<OsString>) -> Result<Status> {
    match options::read(&argv)? {
        Asked::Say(text) => {
            let mut text = text;
            if !text.ends_with('\n') {
                text.push('\n');
            }
            let said = io::stdout().write_all(text.as_bytes());
            said.map_err(|err| Error::io("write to standard output", &err))?;
            Ok(Status::OK)
        }
        Asked::Serve(flags) => {
            let around = Surroundings {
                lookup: &|name| env::var_os(name),
                read_file: &|path| fs::read(path),
                stdin_is_socket: net::is_socket(io::stdin().as_fd()),
                cpus: thread::available_parallelism().map_or(1, usize::from),
                executable: env::current_exe().ok(),
                folder: env::current_dir().unwrap_or_else(|_| "/".into()),
            };
            let mut config = Config::new(*flags, &around)?;
            settle(&mut config)?;
            match config.mode {
                Mode::Inetd => serve_one(config),
                Mode::Foreground | Mode::Background => serve_all(config),
            }
        }
    }
}

/// Gives up what is not needed, and opens the log.
fn settle(config: &mut Config) -> Result<()> {
    let mut warnings = config.warnings.clone();
    if config.lifetime > 0 {
        daemonize::end_after(config.lifetime);
    }
    if config.nice != 0 {
        if let Err(err) = daemonize::nice(config.nice) {
            warnings.push(format!("--nice {}: {err}", config.nice));
        }
    }
    config.user = match (daemonize::is_root(), config.user.take()) {
        (true, user) => Some(drop_root(user.as_deref())?),
        (false, user) => {
            warnings.extend(user.map(|user| format!("--user {user} is only for root")));
            None
        }
    };
    daemonize::renounce();
    let target = match &config.log {
        LogTo::Stderr => Some(Target::Stderr),
        LogTo::Syslog => None,
        LogTo::File(path) => match open_log(path) {
            Ok(file) => Some(Target::Pipe(Box::new(OrStderr(file)))),
            Err(err) => {
                warnings.push(format!(
                    "--log-file {}: {}; logging to syslog",
                    path.display(),
                    denied(&err, config)
                ));
                None
            }
        },
    };
    use_json(config.log_json);
    init_daemon(config.verbosity, target);
    for warning in &warnings {
        log::warn!("{warning}");
        tell(config, warning);
    }
    // Compilers tell the folder that they are in as the system sees it: so must we.
    let folder = config.temp_dir.display().to_string();
    let entered = env::set_current_dir(&config.temp_dir).and_then(|()| env::current_dir());
    config.temp_dir = entered.map_err(|err| {
        Error::new(
            Code::Io,
            format!("can't enter {folder}: {err}; TMPDIR names the folder for jobs"),
        )
    })?;
    Ok(())
}

/// Says it to whoever starts a daemon by hand, who does not look into its log first.
fn tell(config: &Config, text: &str) {
    if config.log != LogTo::Stderr && config.mode != Mode::Inetd {
        let _ = writeln!(io::stderr(), "distccd: {text}");
    }
}

/// Why a file can't be used: root wonders, unless it is said whom it is denied to.
fn denied(err: &io::Error, config: &Config) -> String {
    match &config.user {
        Some(user) if err.kind() == io::ErrorKind::PermissionDenied => {
            format!("{err} for {user}, as whom distccd runs")
        }
        _ => err.to_string(),
    }
}

/// Becomes another user, and says whom.
fn drop_root(user: Option<&str>) -> Result<String> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let account = match user {
        Some(name) => daemonize::account(&passwd, name),
        None => ACCOUNTS
            .iter()
            .find_map(|name| daemonize::account(&passwd, name)),
    };
    let fault = |why: String| Error::new(Code::DropPrivileges, why);
    let account = account.ok_or_else(|| {
        let name = user.unwrap_or("distcc, distccd, nobody");
        fault(format!(
            "there is no user {name} to run as; say whom with --user"
        ))
    })?;
    if account.uid == 0 {
        return Err(fault(format!(
            "--user {}: distccd never runs as root",
            account.name
        )));
    }
    daemonize::become_account(&account)
        .map_err(|err| fault(format!("can't become user {}: {err}", account.name)))?;
    Ok(account.name)
}

fn open_shop(config: Config) -> Result<Shop> {
    let signals: FinalSignals =
        daemonize::catch_final_signals().map_err(|err| Error::io("catch signals", &err))?;
    let environment = compiler_environment(env::vars_os(), &config.path);
    Ok(Shop::new(config, signals, environment))
}

/// One job on standard input and output.
fn serve_one(config: Config) -> Result<Status> {
    let since = Instant::now();
    let shop = open_shop(config)?;
    let (stdin, stdout) = (io::stdin(), io::stdout());
    let peer = net::peer(stdin.as_fd()).map_err(|err| Error::io("who is there?", &err))?;
    let name = match peer {
        Peer::Internet(address) => {
            if !shop.config().access.admits(address.ip()) {
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
    let file = |fd: io::Result<std::os::fd::OwnedFd>| {
        fd.map(File::from)
            .map_err(|err| Error::io("use standard input and output", &err))
    };
    let mut client = Client {
        input: file(stdin.as_fd().try_clone_to_owned())?,
        output: Some(file(stdout.as_fd().try_clone_to_owned())?),
        name,
        since,
        connection: shop.statistics.connected(),
        received: 0,
        waited: None,
    };
    let desk = shop.statistics.desk();
    let _ = net::set_nonblocking(stdout.as_fd(), true);
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
    if let Some((signal, _)) = shop.signals.caught() {
        daemonize::end_by(signal);
    }
    Ok(Status(code))
}

/// Listens until a final signal comes.
fn serve_all(config: Config) -> Result<Status> {
    keep_freed_memory(KEPT_BYTES);
    let listener = listen(&config.listen, config.defer_accept, "--port", "--listen")?;
    let statistics = match config.statistics.is_empty() {
        true => None,
        false => Some(listen(
            &config.statistics,
            false,
            "--stats-port",
            "--stats-listen",
        )?),
    };
    let address = listener
        .local_addr()
        .map_err(|err| Error::io("listen", &err))?;
    let announcement = match config.listen.first().map(|asked| asked.port()) {
        Some(0) => format!("listening on {address}\n"),
        _ => String::new(),
    };
    let launcher = match config.mode {
        Mode::Background => Some(
            daemonize::detach(&announcement)
                .map_err(|err| Error::io("go to the background", &err))?,
        ),
        _ => {
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
    let pid_file = match &config.pid_file {
        Some(path) => take_pid_file(path, &config)?,
        None => None,
    };
    let shop = open_shop(config)?;
    let connections_max = connections_max(shop.config().jobs);
    log::info!(target: NOTICE, "listening on {address}, {} jobs at once", shop.config().jobs);
    if let Some(address) = statistics.as_ref().and_then(|at| at.local_addr().ok()) {
        log::info!(target: NOTICE, "statistics at http://{address}/");
    }
    log::info!("{}", shop.config().compilers.describe());
    shop.announce()?;
    if let Some(launcher) = launcher {
        launcher
            .ready(shop.config().log == LogTo::Stderr)
            .map_err(|err| Error::io("go to the background", &err))?;
    }
    let served = staff(&shop, listener, statistics, connections_max);
    drop(pid_file);
    served.map_err(|err| Error::new(Code::ConnectFailed, format!("serve connections: {err}")))?;
    let (signal, name) = shop.signals.caught().unwrap_or((15, "SIGTERM"));
    log::info!(target: NOTICE, "ended by {name}");
    daemonize::end_by(signal)
}

/// Writes the pid file. One that can't be written is no reason not to serve; one that a living daemon has, is.
fn take_pid_file(path: &Path, config: &Config) -> Result<Option<PidFile>> {
    match PidFile::create(path) {
        Ok(file) => Ok(Some(file)),
        Err(err) if err.kind() == io::ErrorKind::WouldBlock => Err(Error::new(
            Code::Failed,
            format!(
                "--pid-file {}: {err}; end that daemon first",
                path.display()
            ),
        )),
        Err(err) => {
            let why = denied(&err, config);
            let text = format!("--pid-file {}: {why}; going on without it", path.display());
            log::error!("{text}");
            tell(config, &text);
            Ok(None)
        }
    }
}

/// Listens on the first of these addresses that works; the options are those that choose others.
fn listen(addresses: &[SocketAddr], defer: bool, port: &str, listen: &str) -> Result<TcpListener> {
    let mut fault = None;
    for address in addresses {
        match net::listen(*address, defer) {
            Ok(listener) => return Ok(listener),
            Err(err) => {
                let way_out = match err.kind() {
                    io::ErrorKind::AddrInUse => {
                        format!("; is another distccd running? {port} chooses another")
                    }
                    io::ErrorKind::AddrNotAvailable => {
                        format!("; {listen} must be an address of this machine")
                    }
                    _ => String::new(),
                };
                let why = format!("cannot listen on {address}: {err}{way_out}");
                fault.get_or_insert(Error::new(Code::BindFailed, why));
            }
        }
    }
    Err(fault.unwrap_or_else(|| Error::new(Code::BindFailed, "no address to listen on")))
}

fn connections_max(jobs: usize) -> usize {
    let files = daemonize::raise_descriptor_limit();
    let others = FILES_IN_GENERAL + jobs.saturating_mul(FILES_PER_JOB);
    files.saturating_sub(others).max(files / 2)
}

/// Starts the job slots, runs the front, and waits for all of them to end.
fn staff(
    shop: &Shop,
    listener: TcpListener,
    statistics: Option<TcpListener>,
    connections_max: usize,
) -> io::Result<()> {
    let (arrived, to_do) = unbounded();
    let (late, unsent) = unbounded();
    thread::scope(|scope| {
        for slot in 0..shop.config().jobs {
            let (to_do, late) = (to_do.clone(), late.clone());
            let builder = thread::Builder::new().name(format!("slot {slot}"));
            let started = builder.spawn_scoped(scope, move || work(shop, &to_do, &late));
            if let Err(err) = started {
                log::error!("start job slot {slot}: {err}");
                if slot == 0 {
                    return Err(err);
                }
                break;
            }
        }
        let served = front::run(listener, statistics, shop, connections_max, arrived, unsent);
        shop.stopping.store(true, Ordering::Relaxed);
        to_do.close();
        served
    })
}

/// One job slot: does one job after the other.
fn work(shop: &Shop, to_do: &Receiver<Arrived>, late: &Sender<Unsent>) {
    let desk = shop.statistics.desk();
    while let Ok(Arrived {
        mut client,
        decoder,
        mut held,
        waiting,
    }) = to_do.recv_blocking()
    {
        client.waited = Some(waiting.over());
        if shop.stopping.load(Ordering::Relaxed) {
            return;
        }
        let mut ending = job::perform(shop, &desk, &client, decoder);
        match ending::send(&shop.signals, &client, &mut ending, PATIENCE) {
            Ok(true) => ending::finish(&desk, client, &ending),
            Ok(false) if held.exchange(ending.answer.as_ref().map_or(0, Answer::bytes)) => {
                ending.leftover = None;
                desk.clear();
                let _ = late.try_send(Unsent {
                    client,
                    ending,
                    held,
                });
            }
            Ok(false) => {
                let ending = ending.not_sent(&client, &"too many others are not, either");
                ending::finish(&desk, client, &ending);
            }
            Err(err) => {
                let ending = ending.not_sent(&client, &err);
                ending::finish(&desk, client, &ending);
            }
        }
    }
}
