//! What the daemon was told, checked and put together: flags and variables in, a `Config` out. Starts nothing.

use super::access::Access;
use super::addresses::{at, name_in};
use super::compilers::Compilers;
use super::options::{bad, Flags, PORT};
use super::sandbox::{self, Wanted};
use crate::model::error::Result;
use crate::os::limits::{machine_memory, Limits};
use crate::os::logging::Verbosity;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a peer may be silent in the middle of its request, or not read our answer.
const SILENCE: Duration = Duration::from_secs(300);

/// Largest file that a compiler may write; assembler text is larger than the object that it becomes.
const FILE_BYTES_MAX: u64 = 4 << 30;

/// How many files a compiler may have open; it has one include file open after the other.
const OPEN_FILES_MAX: u64 = 1024;

/// Memory for each process of a job if nothing is said is that of the machine, but within these bounds: more than any
/// compile needs. And what may be said at least.
const JOB_MEMORY_MIN: u64 = 4 << 30;
const JOB_MEMORY_MAX: u64 = 32 << 30;
const JOB_MEMORY_LEAST: u64 = 64 << 20;
/// How long jobs that run may take when we are asked to end, in seconds: less than what systemd (90 s) and the scripts of
/// other systems (30 s as a rule) wait before they kill.
const DRAIN: u32 = 25;

/// For how much of the time something may wait for memory, in percent.
const PRESSURE: u32 = 40;
/// Where the statistics are, as with stock.
const STATISTICS_PORT: u16 = 3633;

/// How jobs come in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// One job on stdin and stdout.
    Inetd,
    /// Listening, in the foreground.
    Foreground,
    /// Listening, in the background.
    Background,
}

/// Where the log goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LogTo {
    /// The system's log.
    Syslog,
    /// Standard error.
    Stderr,
    /// A file, made absolute.
    File(PathBuf),
}

/// Everything that the daemon was told.
#[derive(Debug)]
pub struct Config {
    /// How jobs come in.
    pub mode: Mode,
    /// Who may connect.
    pub access: Access,
    /// What may run.
    pub compilers: Compilers,
    /// PATH of the compilers.
    pub path: OsString,
    /// How many compilers at once.
    pub jobs: usize,
    /// Increment of niceness.
    pub nice: i32,
    /// Addresses to listen on; of each group at least one has to work.
    pub listen: Vec<Vec<SocketAddr>>,
    /// Addresses to try for the statistics; the first that works is used. None: there are none.
    pub statistics: Vec<SocketAddr>,
    /// By which names they may be asked for beside this machine's own.
    pub statistics_names: Vec<String>,
    /// Whether the local network is told of the daemon.
    pub zeroconf: bool,
    /// Whether a connection is handed over by the system only when bytes have come.
    pub defer_accept: bool,
    /// File for the process id.
    pub pid_file: Option<PathBuf>,
    /// Whom to run as.
    pub user: Option<String>,
    /// Whom root has become.
    pub account: Option<String>,
    /// Where the log goes.
    pub log: LogTo,
    /// Whether its lines are of JSON.
    pub log_json: bool,
    /// How much it says.
    pub verbosity: Verbosity,
    /// Seconds until the daemon ends by itself; 0: never.
    pub lifetime: u32,
    /// How long a compiler may run.
    pub job_lifetime: Option<Duration>,
    /// How long the jobs that run may take when we are asked to end.
    pub drain: Duration,
    /// How much memory must be left for a job to begin beside another, in bytes; `None`: a part of all.
    pub memory_floor: Option<u64>,
    /// For how much of the time something may wait for memory, in percent; 0: that is not looked at.
    pub memory_pressure: u32,
    /// How readily the system ends us when it is out of memory.
    pub oom_score_adj: Option<i32>,
    /// How long a peer may be silent.
    pub silence: Duration,
    /// Folder for jobs, absolute.
    pub temp_dir: PathBuf,
    /// What keeps compilers to their jobs.
    pub sandbox: sandbox::Asked,
    /// Leave the folders of jobs behind.
    pub keep_temps: bool,
    /// To be said once the log is open.
    pub warnings: Vec<String>,
}

/// What options are read together with.
pub struct Surroundings<'a> {
    /// Looks up an environment variable.
    pub lookup: &'a dyn Fn(&str) -> Option<OsString>,
    /// Reads a file.
    pub read_file: &'a dyn Fn(&Path) -> std::io::Result<Vec<u8>>,
    /// Whether standard input is a socket.
    pub stdin_is_socket: bool,
    /// Number of processors.
    pub cpus: usize,
    /// The running program's file.
    pub executable: Option<PathBuf>,
    /// The folder it was started in.
    pub folder: PathBuf,
}

impl Config {
    /// What flags and variables come to.
    ///
    /// # Errors
    /// Of bad arguments, naming the option; and if no compiler could be run.
    pub fn new(flags: Flags, around: &Surroundings) -> Result<Config> {
        config(flags, around)
    }
}

fn config(flags: Flags, around: &Surroundings) -> Result<Config> {
    let text = |name: &str| (around.lookup)(name).filter(|value| !value.is_empty());
    let access = Access::new(&flags.allow, flags.allow_private)?;
    let mode = match (flags.inetd, flags.daemon || flags.wizard) {
        (true, _) => Mode::Inetd,
        (false, false) if around.stdin_is_socket => Mode::Inetd,
        _ if flags.no_detach || flags.wizard => Mode::Foreground,
        _ => Mode::Background,
    };
    let jobs = match flags.jobs {
        _ if flags.no_fork || flags.wizard => 1,
        None => around.cpus + 2,
        Some(jobs) => in_range("--jobs", jobs, 1, 10_000)? as usize,
    };
    let port = in_range("--port", flags.port.unwrap_or(PORT.into()), 0, 65535)? as u16;
    let mut warnings = Vec::new();
    let listen = listen(&flags, &access, port)?;
    // Who asks for no other address than this machine's own wants just that.
    let is_wanted =
        !flags.listen.is_empty() && listen.iter().flatten().all(|at| at.ip().is_loopback());
    if access.is_default() && !is_wanted && mode != Mode::Inetd {
        warnings.push(
            "only this machine may connect; name others with --allow, e.g. --allow 192.168.1.0/24, or use --allow-private"
                .to_owned(),
        );
    }
    let verbosity = verbosity(&flags, &mut warnings);
    let path = text("DISTCCD_PATH").or_else(|| text("PATH"));
    let path = path.unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let log = match &flags.log_file {
        _ if flags.log_stderr || flags.wizard => LogTo::Stderr,
        Some(file) => LogTo::File(around.folder.join(file)),
        None => LogTo::Syslog,
    };
    let seconds = |option, value: Option<i64>| {
        in_range(option, value.unwrap_or(0).max(0), 0, u32::MAX.into()).map(|value| value as u32)
    };
    let job_lifetime = seconds("--job-lifetime", flags.job_lifetime)?;
    let temp_dir = text("TMPDIR").unwrap_or_else(|| "/tmp".into());
    let temp_dir = around.folder.join(temp_dir);
    let memory_floor = flags.memory_floor.map(|megabytes| {
        in_range("--memory-floor", megabytes, 0, i64::from(u32::MAX))
            .map(|mega| (mega as u64) << 20)
    });
    let pressure = flags.memory_pressure.unwrap_or(PRESSURE.into());
    let oom_score_adj = flags
        .oom_score_adj
        .map(|score| in_range("--oom-score-adj", score, -1000, 1000).map(|score| score as i32));
    let drain = in_range(
        "--drain",
        flags.drain.unwrap_or(DRAIN.into()),
        0,
        u32::MAX.into(),
    )?;
    Ok(Config {
        listen,
        compilers: compilers(&flags, &path, around)?,
        nice: in_range("--nice", flags.nice.unwrap_or(5), -40, 40)? as i32,
        defer_accept: text("DISTCC_TCP_DEFER_ACCEPT").is_none_or(|value| value != "0"),
        lifetime: seconds("--lifetime", flags.lifetime)?,
        job_lifetime: (job_lifetime > 0).then(|| Duration::from_secs(job_lifetime.into())),
        silence: silence(text("DISTCC_IO_TIMEOUT"))?,
        sandbox: sandbox(&flags, around, &temp_dir, job_lifetime)?,
        temp_dir,
        keep_temps: text("DISTCC_SAVE_TEMPS").is_some_and(|value| value == "1"),
        zeroconf: flags.zeroconf,
        log_json: log_json(&flags)?,
        drain: Duration::from_secs(drain as u64),
        memory_floor: memory_floor.transpose()?,
        memory_pressure: in_range("--memory-pressure", pressure, 0, 100)? as u32,
        oom_score_adj: oom_score_adj.transpose()?,
        statistics: statistics(&flags, mode, &mut warnings)?,
        statistics_names: statistics_names(&flags),
        pid_file: flags.pid_file,
        user: flags.user,
        account: None,
        mode,
        access,
        path,
        jobs,
        log,
        verbosity,
        warnings,
    })
}

fn sandbox(
    flags: &Flags,
    around: &Surroundings,
    temp_dir: &Path,
    job_lifetime: u32,
) -> Result<sandbox::Asked> {
    let wanted = match &flags.sandbox {
        None => Wanted::default(),
        Some(name) => Wanted::named(name)
            .ok_or_else(|| bad(format!("--sandbox {name}: there are auto, require and off")))?,
    };
    let memory = match &flags.job_memory {
        None => machine_memory().clamp(JOB_MEMORY_MIN, JOB_MEMORY_MAX),
        Some(size) => match bytes(size) {
            Some(bytes) if bytes == 0 || bytes >= JOB_MEMORY_LEAST => bytes,
            _ => {
                return Err(bad(format!(
                    "--job-memory {size}: must be 0 or a size from 64M on, such as 8G"
                )))
            }
        },
    };
    let folder = |option: &str, name: &PathBuf| {
        let path = around.folder.join(name);
        let fault = |why: &str| bad(format!("{option} {}: {why}", path.display()));
        let found = path.canonicalize();
        let found = found.map_err(|err| fault(&err.to_string()))?;
        match temp_dir.canonicalize() {
            Ok(jobs) if jobs.starts_with(&found) => Err(fault("has all jobs' folders in it")),
            _ => Ok(found),
        }
    };
    let folders = |option: &str, names: &[PathBuf]| {
        let found = names.iter().map(|name| folder(option, name));
        found.collect::<Result<Vec<PathBuf>>>()
    };
    Ok(sandbox::Asked {
        wanted,
        show: folders("--show", &flags.show)?,
        share: folders("--share", &flags.share)?,
        limits: Limits {
            memory,
            file: FILE_BYTES_MAX,
            open_files: OPEN_FILES_MAX,
            cpu_seconds: job_lifetime.into(),
            processes: 0,
        },
    })
}

/// A size with K, M or G behind it, or in bytes.
fn bytes(size: &str) -> Option<u64> {
    let units = [('K', 10), ('M', 20), ('G', 30)];
    let unit = units.iter().find(|(unit, _)| size.ends_with(*unit));
    let shift = unit.map_or(0, |(_, shift)| *shift);
    let digits = size.get(..size.len() - usize::from(shift > 0))?;
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn verbosity(flags: &Flags, warnings: &mut Vec<String>) -> Verbosity {
    if flags.verbose || flags.wizard {
        return Verbosity::Debug;
    }
    let Some(name) = &flags.log_level else {
        return Verbosity::Notice;
    };
    Verbosity::named(name).unwrap_or_else(|| {
        warnings.push(format!(
            "--log-level {name}: no such level; notice is used. There are error, warning, notice, info and debug"
        ));
        Verbosity::Notice
    })
}

fn log_json(flags: &Flags) -> Result<bool> {
    match flags.log_format.as_deref() {
        None | Some("text") => Ok(false),
        Some("json") => Ok(true),
        Some(other) => Err(bad(format!("--log-format {other}: must be text or json"))),
    }
}

fn compilers(flags: &Flags, path: &OsString, around: &Surroundings) -> Result<Compilers> {
    if flags.enable_tcp_insecure || flags.make_me_a_botnet {
        return Ok(Compilers::any(path.clone()));
    }
    if let Some(list) = &flags.compilers {
        return Compilers::listed(list, path.clone());
    }
    let Some(file) = (around.lookup)("DISTCC_CMDLIST") else {
        return Compilers::masquerade(around.executable.as_deref(), path.clone());
    };
    let words = match (around.lookup)("DISTCC_CMDLIST_NUMWORDS") {
        None => 1,
        Some(words) => words
            .to_str()
            .and_then(|words| words.parse().ok())
            .ok_or_else(|| {
                bad(format!(
                    "DISTCC_CMDLIST_NUMWORDS={}: not a number",
                    words.to_string_lossy()
                ))
            })?,
    };
    // When it is read again we are somewhere else.
    let text = (around.read_file)(&around.folder.join(&file)).map_err(|err| {
        bad(format!(
            "DISTCC_CMDLIST={}: {err}; no compiler would be allowed",
            file.to_string_lossy()
        ))
    })?;
    Compilers::commands(&text, words, path.clone())
}

/// Without `--listen`: all addresses of this machine; only its own if nobody else may connect.
fn listen(flags: &Flags, access: &Access, port: u16) -> Result<Vec<Vec<SocketAddr>>> {
    if flags.listen.is_empty() {
        let any: [IpAddr; 2] = match access.is_default() {
            true => [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            false => [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
        };
        let any = any.iter().map(|ip| SocketAddr::new(*ip, port));
        return Ok(vec![any.collect()]);
    }
    let all = flags.listen.iter();
    all.map(|value| at("--listen", value, port)).collect()
}

/// By which names the statistics may be asked for: those that were given as names, not as addresses.
fn statistics_names(flags: &Flags) -> Vec<String> {
    let listened = flags.stats_listen.as_deref().and_then(name_in);
    let told = flags.stats_name.iter().map(String::as_str);
    told.chain(listened).map(str::to_owned).collect()
}

/// Where the statistics are to be had: on this machine only unless another address is named.
fn statistics(flags: &Flags, mode: Mode, warnings: &mut Vec<String>) -> Result<Vec<SocketAddr>> {
    let port = flags.stats_port.unwrap_or(STATISTICS_PORT.into());
    let port = in_range("--stats-port", port, 0, 65535)? as u16;
    if !flags.stats {
        if flags.stats_port.is_some() || flags.stats_listen.is_some() {
            warnings.push("--stats-port and --stats-listen do nothing without --stats".to_owned());
        }
        return Ok(Vec::new());
    }
    if mode == Mode::Inetd {
        warnings.push("--stats does nothing where one job is served on standard input".to_owned());
        return Ok(Vec::new());
    }
    match &flags.stats_listen {
        Some(name) => at("--stats-listen", name, port),
        None => Ok(vec![
            SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port),
            SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port),
        ]),
    }
}

fn silence(value: Option<OsString>) -> Result<Duration> {
    let Some(value) = value else {
        return Ok(SILENCE);
    };
    match value.to_str().and_then(|value| value.parse().ok()) {
        Some(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds)),
        _ => Err(bad(format!(
            "DISTCC_IO_TIMEOUT={}: must be a number of seconds above 0",
            value.to_string_lossy()
        ))),
    }
}

fn in_range(option: &str, value: i64, min: i64, max: i64) -> Result<i64> {
    if (min..=max).contains(&value) {
        return Ok(value);
    }
    Err(bad(format!(
        "{option} {value}: must be from {min} to {max}"
    )))
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::daemon::options::{read, Asked};
    use crate::model::error::Code;

    fn read_line(line: &str) -> Result<Config> {
        let argv: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let Asked::Serve(flags) = read(&argv, &[])? else {
            panic!("{line}: not to be served")
        };
        let around = Surroundings {
            lookup: &|name| (name == "PATH").then(|| "/usr/bin:/bin".into()),
            read_file: &|path| std::fs::read(path),
            stdin_is_socket: false,
            cpus: 4,
            executable: None,
            folder: "/start".into(),
        };
        Config::new(*flags, &around)
    }

    /// The configuration of a daemon with these options.
    pub(in super::super) fn served(options: &str) -> Config {
        read_line(&format!("distccd --enable-tcp-insecure {options}")).unwrap()
    }

    #[test]
    fn closed_unless_told_otherwise() {
        let config = served("");
        assert_eq!(config.listen[0][0].to_string(), "127.0.0.1:3632");
        assert!(config.warnings[0].contains("--allow"));
        assert_eq!((config.jobs, config.nice), (6, 5));
        assert_eq!(config.mode, Mode::Background);
        assert!(served("--listen 127.0.0.1").warnings.is_empty());
        assert!(served("--listen ::1").warnings.is_empty());
        assert!(served("--listen 0.0.0.0").warnings[0].contains("--allow"));
        let config = served("-a 10.0.0.0/8 --allow=10.1.1.1 -p0 -j=0x10");
        assert_eq!(config.listen[0][0].to_string(), "0.0.0.0:0");
        assert!(config.warnings.is_empty());
        assert_eq!(config.jobs, 16);
        assert_eq!(config.listen[0][1].to_string(), "[::]:0");
    }

    #[test]
    fn addresses_to_listen_on() {
        let listen = |options: &str| {
            let config = served(options);
            let groups = config.listen.iter();
            let words = groups.map(|group| {
                let words: Vec<String> = group.iter().map(SocketAddr::to_string).collect();
                words.join("|")
            });
            words.collect::<Vec<String>>().join(" ")
        };
        for (options, expected) in [
            ("", "127.0.0.1:3632|[::1]:3632"),
            ("--allow-private", "0.0.0.0:3632|[::]:3632"),
            (
                "--listen=10.0.0.1 --listen 10.0.0.2:40 -p5",
                "10.0.0.1:5 10.0.0.2:40",
            ),
        ] {
            assert_eq!(listen(options), expected, "{options}");
        }
    }

    #[test]
    fn modes_and_logs() {
        assert_eq!(served("--inetd --daemon").mode, Mode::Inetd);
        assert_eq!(served("--no-detach").mode, Mode::Foreground);
        let wizard = served("-W -j8");
        assert_eq!((wizard.mode, wizard.jobs), (Mode::Foreground, 1));
        assert_eq!(wizard.log, LogTo::Stderr);
        assert_eq!(wizard.verbosity, Verbosity::Debug);
        let log = served("--log-file l --log-level nonsense --allow ::1");
        assert_eq!(log.log, LogTo::File("/start/l".into()));
        assert!(log.warnings[0].contains("nonsense"));
    }

    #[test]
    fn statistics_are_for_this_machine_unless_told_otherwise() {
        let at = |options: &str| {
            let config = served(options);
            let at = config.statistics.first().map(SocketAddr::to_string);
            (at.unwrap_or_default(), config.warnings.len())
        };
        assert_eq!(at("-a ::1"), (String::new(), 0));
        assert_eq!(at("-a ::1 --stats"), ("127.0.0.1:3633".into(), 0));
        assert_eq!(
            at("-a ::1 --stats --stats-listen [::] --stats-port=80"),
            ("[::]:80".into(), 0)
        );
        assert_eq!(at("-a ::1 --stats-port 1"), (String::new(), 1));
        assert_eq!(at("--inetd --stats"), (String::new(), 1));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (options, name) in [
            ("--frob", "--frob"),
            ("--jobs", "--jobs"),
            ("--jobs=0", "--jobs 0"),
            ("--drain=-1", "--drain -1"),
            ("--memory-pressure=101", "--memory-pressure 101"),
            ("--oom-score-adj=-1001", "--oom-score-adj -1001"),
            ("--jobs x", "--jobs"),
            ("--port 65536", "--port 65536"),
            ("--allow 1.2.3.4/x", "1.2.3.4/x"),
            ("--log-format xml", "--log-format xml"),
            ("--stats-port 65536", "--stats-port 65536"),
            ("extra", "extra"),
        ] {
            let err = read_line(&format!("distccd {options}")).unwrap_err();
            assert_eq!(err.code, Code::BadArguments, "{options}");
            assert!(err.message.contains(name), "{}", err.message);
        }
    }
}
