//! The daemon's command line and environment, checked: words in, a `Config` out. Knows what each option means, and
//! starts nothing.

use super::access::Access;
use super::compilers::Compilers;
use crate::model::error::{Code, Error, Result};
use crate::model::option_words::{spread, Valued};
use crate::os::logging::Verbosity;
use argh::FromArgs;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where distcc lives, as registered.
const PORT: u16 = 3632;

/// How long a peer may be silent in the middle of its request, or not read our answer.
const SILENCE: Duration = Duration::from_secs(300);

/// Serves compile jobs to distcc clients on other machines.
#[derive(FromArgs, Debug)]
struct Flags {
    /// who may connect: an address, a name, or a network such as 192.168.1.0/24; may be repeated; without it only this machine
    #[argh(option, short = 'a', arg_name = "host[/bits]")]
    allow: Vec<String>,
    /// let all private networks connect (10/8, 172.16/12, 192.168/16, fe80::/10, fc00::/7, and this machine)
    #[argh(switch)]
    allow_private: bool,
    /// compilers that may run, separated by commas: names on PATH or absolute paths; instead of the masquerade folders
    #[argh(option, arg_name = "list")]
    compilers: Option<String>,
    /// let clients run any program as compiler
    #[argh(switch)]
    enable_tcp_insecure: bool,
    /// the same, by its honest name
    #[argh(switch)]
    make_me_a_botnet: bool,
    /// how many jobs run at once (number of CPUs + 2)
    #[argh(option, short = 'j', arg_name = "number", from_str_fn(c_integer))]
    jobs: Option<i64>,
    /// lower the priority by so much (5)
    #[argh(option, short = 'N', arg_name = "level", from_str_fn(c_integer))]
    nice: Option<i64>,
    /// listen on this port (3632); 0 takes a free one and prints it
    #[argh(option, short = 'p', arg_name = "port", from_str_fn(c_integer))]
    port: Option<i64>,
    /// listen on this address only
    #[argh(option, arg_name = "address")]
    listen: Option<String>,
    /// write the process id to this file; relative to TMPDIR
    #[argh(option, short = 'P', arg_name = "file")]
    pid_file: Option<PathBuf>,
    /// whom to run as when started by root (distcc, distccd or nobody)
    #[argh(option, arg_name = "name")]
    user: Option<String>,
    /// listen for connections, also if standard input is a socket
    #[argh(switch)]
    daemon: bool,
    /// serve one job on standard input and output, as inetd and ssh want it
    #[argh(switch)]
    inetd: bool,
    /// stay in the foreground
    #[argh(switch)]
    no_detach: bool,
    /// one job at a time
    #[argh(switch)]
    no_fork: bool,
    /// without effect
    #[argh(switch)]
    #[allow(dead_code)] // Stock's scripts give it; there is nothing to switch off.
    no_fifo: bool,
    /// append the log to this file instead of sending it to syslog
    #[argh(option, arg_name = "file")]
    log_file: Option<PathBuf>,
    /// write the log to standard error
    #[argh(switch)]
    log_stderr: bool,
    /// how much to say: error, warning, notice, info or debug (notice)
    #[argh(option, arg_name = "level")]
    log_level: Option<String>,
    /// say everything
    #[argh(switch)]
    verbose: bool,
    /// end after so many seconds (0: never)
    #[argh(option, arg_name = "seconds", from_str_fn(c_integer))]
    lifetime: Option<i64>,
    /// end a job after so many seconds (0: never)
    #[argh(option, arg_name = "seconds", from_str_fn(c_integer))]
    job_lifetime: Option<i64>,
    /// for looking at a problem: foreground, one job at a time, everything said on standard error
    #[argh(switch, short = 'W')]
    wizard: bool,
    /// show the version
    #[argh(switch)]
    version: bool,
}

/// The options that take a value, for the step that spreads words.
const VALUED: &[Valued] = &[
    valued("--allow", Some('a'), true),
    valued("--compilers", None, false),
    valued("--jobs", Some('j'), false),
    valued("--nice", Some('N'), false),
    valued("--port", Some('p'), false),
    valued("--listen", None, false),
    valued("--pid-file", Some('P'), false),
    valued("--user", None, false),
    valued("--log-file", None, false),
    valued("--log-level", None, false),
    valued("--lifetime", None, false),
    valued("--job-lifetime", None, false),
];

/// Options of stock's daemon that this version does not have. Better to say so than to run without what was asked for.
const NOT_YET: &[&str] = &[
    "--stats",
    "--stats-port",
    "--zeroconf",
    "--auth",
    "--blacklist",
    "--whitelist",
    "--show-principal",
    "--oom-score-adj",
    "--sysroot",
];

const fn valued(long: &'static str, short: Option<char>, repeats: bool) -> Valued {
    Valued {
        long,
        short,
        repeats,
    }
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Asked {
    /// To print this and end.
    Say(String),
    /// To serve.
    Serve(Box<Config>),
}

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
    /// Addresses to try to listen on; the first that works is used.
    pub listen: Vec<SocketAddr>,
    /// Whether a connection is handed over by the system only when bytes have come.
    pub defer_accept: bool,
    /// File for the process id.
    pub pid_file: Option<PathBuf>,
    /// Whom to run as; later, whom root has become.
    pub user: Option<String>,
    /// Where the log goes.
    pub log: LogTo,
    /// How much it says.
    pub verbosity: Verbosity,
    /// Seconds until the daemon ends by itself; 0: never.
    pub lifetime: u32,
    /// How long a compiler may run.
    pub job_lifetime: Option<Duration>,
    /// How long a peer may be silent.
    pub silence: Duration,
    /// Folder for jobs, absolute.
    pub temp_dir: PathBuf,
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

/// Reads the command line; `argv[0]` is the program's name.
///
/// # Errors
/// [`Code::BadArguments`] naming the option; [`Code::CompilerMissing`] if no compiler could be run.
pub fn read(argv: &[OsString], around: &Surroundings) -> Result<Asked> {
    let words = spread(argv.get(1..).unwrap_or_default(), VALUED)?;
    if let Some(word) = words.options.iter().find(|word| {
        let name = word.split_once('=').map_or(word.as_str(), |(name, _)| name);
        NOT_YET.contains(&name)
    }) {
        return Err(bad(format!(
            "{word}: this version of distccd does not have it"
        )));
    }
    let options: Vec<&str> = words.options.iter().map(String::as_str).collect();
    let flags = match Flags::from_args(&["distccd"], &options) {
        Ok(flags) => flags,
        Err(early) if early.status.is_ok() => return Ok(Asked::Say(early.output)),
        Err(early) => {
            let why = early.output.split_whitespace().collect::<Vec<&str>>();
            return Err(bad(format!(
                "{}; distccd --help lists the options",
                why.join(" ")
            )));
        }
    };
    if flags.version {
        return Ok(Asked::Say(version()));
    }
    if let Some(word) = words.operands.first() {
        return Err(bad(format!(
            "{}: distccd takes options only",
            word.to_string_lossy()
        )));
    }
    config(flags, around).map(|config| Asked::Serve(Box::new(config)))
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
    let is_wanted = flags.listen.is_some() && listen.iter().all(|at| at.ip().is_loopback());
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
    Ok(Config {
        listen,
        compilers: compilers(&flags, &path, around)?,
        nice: in_range("--nice", flags.nice.unwrap_or(5), -40, 40)? as i32,
        defer_accept: text("DISTCC_TCP_DEFER_ACCEPT").is_none_or(|value| value != "0"),
        lifetime: seconds("--lifetime", flags.lifetime)?,
        job_lifetime: (job_lifetime > 0).then(|| Duration::from_secs(job_lifetime.into())),
        silence: silence(text("DISTCC_IO_TIMEOUT"))?,
        temp_dir: around
            .folder
            .join(text("TMPDIR").unwrap_or_else(|| "/tmp".into())),
        keep_temps: text("DISTCC_SAVE_TEMPS").is_some_and(|value| value == "1"),
        pid_file: flags.pid_file,
        user: flags.user,
        mode,
        access,
        path,
        jobs,
        log,
        verbosity,
        warnings,
    })
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
    let text = (around.read_file)(Path::new(&file)).map_err(|err| {
        bad(format!(
            "DISTCC_CMDLIST={}: {err}; no compiler would be allowed",
            file.to_string_lossy()
        ))
    })?;
    Ok(Compilers::commands(&text, words, path.clone()))
}

/// Without `--listen`: all addresses of the families that may connect; only this machine's if nobody else may.
fn listen(flags: &Flags, access: &Access, port: u16) -> Result<Vec<SocketAddr>> {
    let Some(name) = &flags.listen else {
        let any: &[IpAddr] = match (access.is_default(), access.mentions_ipv6()) {
            (true, _) => &[
                IpAddr::V4(Ipv4Addr::LOCALHOST),
                IpAddr::V6(Ipv6Addr::LOCALHOST),
            ],
            (false, true) => &[
                IpAddr::V6(Ipv6Addr::UNSPECIFIED),
                IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            ],
            (false, false) => &[IpAddr::V4(Ipv4Addr::UNSPECIFIED)],
        };
        return Ok(any.iter().map(|ip| SocketAddr::new(*ip, port)).collect());
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let found: Vec<SocketAddr> = match bare.parse::<IpAddr>() {
        Ok(ip) => vec![SocketAddr::new(ip, port)],
        Err(_) => (name.as_str(), port)
            .to_socket_addrs()
            .map(Iterator::collect)
            .unwrap_or_default(),
    };
    if found.is_empty() || name.is_empty() {
        return Err(Error::new(
            Code::BindFailed,
            format!("--listen {name}: neither an address nor a name that has one"),
        ));
    }
    Ok(found)
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

/// Stock's parser takes integers as C does: `10`, `0x10`, `010`, with or without a sign.
fn c_integer(value: &str) -> std::result::Result<i64, String> {
    let (negative, digits) = match value.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, value.strip_prefix('+').unwrap_or(value)),
    };
    let (radix, digits) = match digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        Some(digits) => (16, digits),
        None if digits.len() > 1 && digits.starts_with('0') => (8, digits),
        None => (10, digits),
    };
    let well_formed = digits.chars().all(|digit| digit.is_digit(radix));
    match i64::from_str_radix(digits, radix) {
        Ok(number) if well_formed => Ok(if negative { -number } else { number }),
        _ => Err("not an integer".to_owned()),
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

fn bad(message: String) -> Error {
    Error::new(Code::BadArguments, message)
}

fn version() -> String {
    format!(
        "distccd {} {}-{}\nprotocols 1, 2 and 3, default port {PORT}\nGPL-2.0-or-later, without any warranty\n",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::ARCH,
        std::env::consts::OS,
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read_line(line: &str) -> Result<Asked> {
        let argv: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        read(
            &argv,
            &Surroundings {
                lookup: &|name| (name == "PATH").then(|| "/usr/bin:/bin".into()),
                read_file: &|path| std::fs::read(path),
                stdin_is_socket: false,
                cpus: 4,
                executable: None,
                folder: "/start".into(),
            },
        )
    }

    fn served(options: &str) -> Config {
        match read_line(&format!("distccd --enable-tcp-insecure {options}")).unwrap() {
            Asked::Serve(config) => *config,
            Asked::Say(text) => panic!("{text}"),
        }
    }

    #[test]
    fn closed_unless_told_otherwise() {
        let config = served("");
        assert_eq!(config.listen[0].to_string(), "127.0.0.1:3632");
        assert!(config.warnings[0].contains("--allow"));
        assert_eq!((config.jobs, config.nice), (6, 5));
        assert_eq!(config.mode, Mode::Background);
        assert!(served("--listen 127.0.0.1").warnings.is_empty());
        assert!(served("--listen ::1").warnings.is_empty());
        assert!(served("--listen 0.0.0.0").warnings[0].contains("--allow"));
        let config = served("-a 10.0.0.0/8 --allow=10.1.1.1 -p0 -j=0x10");
        assert_eq!(config.listen[0].to_string(), "0.0.0.0:0");
        assert!(config.warnings.is_empty());
        assert_eq!(config.jobs, 16);
        assert_eq!(served("--allow-private").listen[0].to_string(), "[::]:3632");
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
    fn what_is_wrong_is_named() {
        for (options, name) in [
            ("--frob", "--frob"),
            ("--jobs", "--jobs"),
            ("--jobs=0", "--jobs 0"),
            ("--jobs x", "--jobs"),
            ("--port 65536", "--port 65536"),
            ("--allow 1.2.3.4/x", "1.2.3.4/x"),
            ("--stats", "--stats"),
            ("--zeroconf", "--zeroconf"),
            ("--stats-port=1", "--stats-port=1"),
            ("extra", "extra"),
        ] {
            let err = read_line(&format!("distccd {options}")).unwrap_err();
            assert_eq!(err.code, Code::BadArguments, "{options}");
            assert!(err.message.contains(name), "{}", err.message);
        }
    }

    #[test]
    fn help_and_version_come_before_later_mistakes() {
        let Asked::Say(help) = read_line("distccd -j4 --help --nonsense").unwrap() else {
            panic!("help is not said")
        };
        assert!(help.contains("--allow-private") && help.contains("--job-lifetime"));
        let Asked::Say(version) = read_line("distccd --version --frob").unwrap() else {
            panic!("the version is not said")
        };
        assert!(version.starts_with("distccd "));
    }

    #[test]
    fn integers_as_in_c() {
        for (text, number) in [("10", 10), ("0x10", 16), ("010", 8), ("-5", -5), ("+0", 0)] {
            assert_eq!(c_integer(text), Ok(number));
        }
        for text in ["", "x", "1x", "0x", "--1", "+-1", "08"] {
            assert!(c_integer(text).is_err(), "{text}");
        }
    }
}
