//! The daemon's command line: words in, `Flags` out, each as it was written. What they come to together is `config`'s.

use crate::model::error::{Code, Error, Result};
use crate::model::option_words::{spread, Valued};
use argh::FromArgs;
use std::ffi::OsString;
use std::path::PathBuf;

/// Where distcc lives, as registered.
pub const PORT: u16 = 3632;

/// Serves compile jobs to distcc clients on other machines.
#[derive(FromArgs, Debug)]
pub struct Flags {
    /// read more of these options from this file (/etc/distcc/distccd.conf, if there is one); none: from no file
    #[argh(option, arg_name = "file")]
    pub config: Option<PathBuf>,
    /// who may connect: an address, a name, or a network such as 192.168.1.0/24; may be repeated; without it only this machine
    #[argh(option, short = 'a', arg_name = "host[/bits]")]
    pub allow: Vec<String>,
    /// let all private networks connect (10/8, 172.16/12, 192.168/16, fe80::/10, fc00::/7, and this machine)
    #[argh(switch)]
    pub allow_private: bool,
    /// compilers that may run, separated by commas: names on PATH or absolute paths; instead of the masquerade folders
    #[argh(option, arg_name = "list")]
    pub compilers: Option<String>,
    /// let clients run any program as compiler
    #[argh(switch)]
    pub enable_tcp_insecure: bool,
    /// the same, by its honest name
    #[argh(switch)]
    pub make_me_a_botnet: bool,
    /// how many jobs run at once (number of CPUs + 2)
    #[argh(option, short = 'j', arg_name = "number", from_str_fn(c_integer))]
    pub jobs: Option<i64>,
    /// lower the priority by so much (5)
    #[argh(option, short = 'N', arg_name = "level", from_str_fn(c_integer))]
    pub nice: Option<i64>,
    /// listen on this port (3632); 0 takes a free one and prints it
    #[argh(option, short = 'p', arg_name = "port", from_str_fn(c_integer))]
    pub port: Option<i64>,
    /// listen on this address only; may be repeated
    #[argh(option, arg_name = "address[:port]")]
    pub listen: Vec<String>,
    /// write the process id to this file; relative to TMPDIR
    #[argh(option, short = 'P', arg_name = "file")]
    pub pid_file: Option<PathBuf>,
    /// whom to run as when started by root (distcc, distccd or nobody)
    #[argh(option, arg_name = "name")]
    pub user: Option<String>,
    /// listen for connections, also if standard input is a socket
    #[argh(switch)]
    pub daemon: bool,
    /// serve one job on standard input and output, as inetd and ssh want it
    #[argh(switch)]
    pub inetd: bool,
    /// stay in the foreground
    #[argh(switch)]
    pub no_detach: bool,
    /// one job at a time
    #[argh(switch)]
    pub no_fork: bool,
    /// without effect
    #[argh(switch)]
    #[allow(dead_code)] // Stock's scripts give it; there is nothing to switch off.
    pub no_fifo: bool,
    /// append the log to this file instead of sending it to syslog
    #[argh(option, arg_name = "file")]
    pub log_file: Option<PathBuf>,
    /// write the log to standard error
    #[argh(switch)]
    pub log_stderr: bool,
    /// how much to say: error, warning, notice, info or debug (notice)
    #[argh(option, arg_name = "level")]
    pub log_level: Option<String>,
    /// how lines of the log look: text or json (text)
    #[argh(option, arg_name = "format")]
    pub log_format: Option<String>,
    /// say everything
    #[argh(switch)]
    pub verbose: bool,
    /// end after so many seconds (0: never)
    #[argh(option, arg_name = "seconds", from_str_fn(c_integer))]
    pub lifetime: Option<i64>,
    /// end a job after so many seconds (0: never)
    #[argh(option, arg_name = "seconds", from_str_fn(c_integer))]
    pub job_lifetime: Option<i64>,
    /// how compilers are kept to their jobs: auto (as well as the system can), require (well, or do not start) or off (auto)
    #[argh(option, arg_name = "how")]
    pub sandbox: Option<String>,
    /// let jobs read this folder of this machine, too; may be repeated
    #[argh(option, arg_name = "folder")]
    pub show: Vec<PathBuf>,
    /// let jobs read and change this folder of this machine; may be repeated
    #[argh(option, arg_name = "folder")]
    pub share: Vec<PathBuf>,
    /// most memory for each process of a job, such as 8G (that of the machine, from 4G to 32G); 0: no limit
    #[argh(option, arg_name = "size")]
    pub job_memory: Option<String>,
    /// how many seconds the jobs that run may take when the daemon is asked to end by SIGTERM (25)
    #[argh(option, arg_name = "seconds", from_str_fn(c_integer))]
    pub drain: Option<i64>,
    /// begin no job beside another while fewer megabytes of memory are left (5 % of all, at most 512); 0: do not look
    #[argh(option, arg_name = "megabytes", from_str_fn(c_integer))]
    pub memory_floor: Option<i64>,
    /// nor while something waits for memory for more than so many percent of the time (40); 0: do not look
    #[argh(option, arg_name = "percent", from_str_fn(c_integer))]
    pub memory_pressure: Option<i64>,
    /// how readily the system ends us when it is out of memory, from -1000 to 1000
    #[argh(option, arg_name = "number", from_str_fn(c_integer))]
    pub oom_score_adj: Option<i64>,
    /// tell the local network of this daemon, so that clients with +zeroconf in their host lists find it
    #[argh(switch)]
    pub zeroconf: bool,
    /// tell what is done and has been done, over HTTP: numbers, /metrics, and a page for people
    #[argh(switch)]
    pub stats: bool,
    /// the port for that (3633)
    #[argh(option, arg_name = "port", from_str_fn(c_integer))]
    pub stats_port: Option<i64>,
    /// the address for that (this machine only); others may look if they may send jobs
    #[argh(option, arg_name = "address")]
    pub stats_listen: Option<String>,
    /// a name by which browsers may ask for that, beside this machine's own; may be repeated
    #[argh(option, arg_name = "name")]
    pub stats_name: Vec<String>,
    /// for looking at a problem: foreground, one job at a time, everything said on standard error
    #[argh(switch, short = 'W')]
    pub wizard: bool,
    /// show the version
    #[argh(switch)]
    pub version: bool,
}

/// The options that take a value, for the step that spreads words.
const VALUED: &[Valued] = &[
    valued("--config", None, false),
    valued("--allow", Some('a'), true),
    valued("--compilers", None, false),
    valued("--jobs", Some('j'), false),
    valued("--nice", Some('N'), false),
    valued("--port", Some('p'), false),
    valued("--listen", None, true),
    valued("--pid-file", Some('P'), false),
    valued("--user", None, false),
    valued("--log-file", None, false),
    valued("--log-level", None, false),
    valued("--lifetime", None, false),
    valued("--job-lifetime", None, false),
    valued("--sandbox", None, false),
    valued("--show", None, true),
    valued("--share", None, true),
    valued("--job-memory", None, false),
    valued("--log-format", None, false),
    valued("--stats-port", None, false),
    valued("--stats-listen", None, false),
    valued("--stats-name", None, true),
    valued("--drain", None, false),
    valued("--memory-floor", None, false),
    valued("--memory-pressure", None, false),
    valued("--oom-score-adj", None, false),
];

/// Options of stock's daemon that this version does not have. Better to say so than to run without what was asked for.
const NOT_YET: &[&str] = &["--sysroot"];

/// Those that stock has where it knows Kerberos. A list of names that are not heeded would be an open door.
const OF_KERBEROS: &[&str] = &["--auth", "--blacklist", "--whitelist", "--show-principal"];

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
    Serve(Box<Flags>),
}

/// Reads the command line; `argv[0]` is the program's name. `settings` are words of the form `--name=value` from a
/// configuration file: an option that the command line has, too, counts as it stands there.
///
/// # Errors
/// [`Code::BadArguments`] naming the option.
pub fn read(argv: &[OsString], settings: &[String]) -> Result<Asked> {
    let argv = argv.get(1..).unwrap_or_default();
    let given = spread(argv, VALUED)?;
    let is_given = |word: &&String| given.options.iter().any(|given| given == name_of(word));
    let settings = settings.iter().filter(|word| !is_given(word));
    let words: Vec<OsString> = settings
        .map(OsString::from)
        .chain(argv.iter().cloned())
        .collect();
    let words = spread(&words, VALUED)?;
    let options: Vec<&str> = words.options.iter().map(String::as_str).collect();
    let flags = match parse(&options)? {
        Parsed::Said(text) => return Ok(Asked::Say(text)),
        Parsed::Flags(flags) => flags,
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
    Ok(Asked::Serve(flags))
}

/// Whether an option takes a value.
pub fn takes_value(name: &str) -> bool {
    VALUED.iter().any(|option| option.long == name)
}

/// Whether this is an option, with a value that it can have.
///
/// # Errors
/// [`Code::BadArguments`] saying what is wrong with it.
pub fn check(word: &str) -> Result<()> {
    let words = spread(&[OsString::from(word)], VALUED)?;
    let options: Vec<&str> = words.options.iter().map(String::as_str).collect();
    parse(&options).map(drop)
}

/// The option's name in `--name` or `--name=value`.
fn name_of(word: &str) -> &str {
    word.split_once('=').map_or(word, |(name, _)| name)
}

enum Parsed {
    Said(String),
    Flags(Box<Flags>),
}

fn parse(options: &[&str]) -> Result<Parsed> {
    for word in options {
        if NOT_YET.contains(&name_of(word)) {
            let why = "this version of distccd does not have it";
            return Err(bad(format!("{word}: {why}")));
        }
        if OF_KERBEROS.contains(&name_of(word)) {
            let why = "it is of use with Kerberos only, which this distccd does not know; --allow says who may connect";
            return Err(bad(format!("{word}: {why}")));
        }
    }
    match Flags::from_args(&["distccd"], options) {
        Ok(flags) => Ok(Parsed::Flags(Box::new(flags))),
        Err(early) if early.status.is_ok() => Ok(Parsed::Said(early.output)),
        Err(early) => {
            let why = early.output.split_whitespace().collect::<Vec<&str>>();
            Err(bad(format!(
                "{}; distccd --help lists the options",
                why.join(" ")
            )))
        }
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

/// A fault of what was written.
pub fn bad(message: String) -> Error {
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
        read(&argv, &[])
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
    fn the_command_line_wins_over_the_file() {
        let argv = ["distccd", "-j4", "--allow", "10.0.0.1"].map(OsString::from);
        let settings = ["--allow=10.0.0.2", "--jobs=5", "--nice=1", "--nice=2"];
        let Asked::Serve(flags) = read(&argv, &settings.map(str::to_owned)).unwrap() else {
            panic!("it is not to be served")
        };
        assert_eq!(flags.allow, ["10.0.0.1"]);
        assert_eq!((flags.jobs, flags.nice), (Some(4), Some(2)));
    }

    #[test]
    fn what_needs_kerberos_is_refused_with_the_reason() {
        for option in [
            "--blacklist=/f",
            "--whitelist",
            "--auth",
            "--show-principal",
        ] {
            let err = read_line(&format!("distccd {option}")).unwrap_err();
            assert!(err.message.contains("Kerberos"), "{}", err.message);
        }
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
