//! Each environment variable that the client heeds, as a typed field. Read once, through a function that is handed in.

use super::error::{Code, Error, Result};
use super::pump_settings::PumpSettings;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

/// How long one address may take to answer a connection, if `DISTCC_CONNECT_TIMEOUT` says nothing: stock's constant.
const CONNECT_TIMEOUT_S: u64 = 4;

/// How long a peer may be silent, if `DISTCC_IO_TIMEOUT` says nothing: stock's default.
const IO_TIMEOUT_S: u64 = 300;

/// How long a host that failed is left alone, if `DISTCC_BACKOFF_PERIOD` says nothing: stock's default.
const BACKOFF_S: u64 = 60;

/// How long a client that waits for a slot sleeps at most, if `DISTCC_PAUSE_TIME_MSEC` says nothing: stock's default.
const PAUSE_MS: u64 = 1000;

/// What gcc and clang read besides what only preprocessors do. The two about dependencies make the driver add to a
/// file, once per run: a preprocessor run beside the compile would add to it twice. With `CC_…` clang writes reports, with
/// `RC_DEBUG_OPTIONS` it puts its options into debug information, and some say for which of
/// Apple's systems it compiles, against which headers.
const COMPILER_VARIABLES: [&str; 17] = [
    "CC_LOG_DIAGNOSTICS",
    "CC_PRINT_HEADERS",
    "CC_PRINT_INTERNAL_STAT",
    "CC_PRINT_OPTIONS",
    "CC_PRINT_PROC_STAT",
    "COMPILER_PATH",
    "GCC_EXEC_PREFIX",
    "GCC_COMPARE_DEBUG",
    "CCC_OVERRIDE_OPTIONS",
    "DEPENDENCIES_OUTPUT",
    "IPHONEOS_DEPLOYMENT_TARGET",
    "MACOSX_DEPLOYMENT_TARGET",
    "RC_DEBUG_OPTIONS",
    "SDKROOT",
    "SUNPRO_DEPENDENCIES",
    "TVOS_DEPLOYMENT_TARGET",
    "WATCHOS_DEPLOYMENT_TARGET",
];

/// All that the environment says to the client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientSettings {
    /// `DISTCC_HOSTS`, also if it is empty.
    pub hosts: Option<OsString>,
    /// `DISTCC_DIR` as it is. Empty is unset: stock's `/lock` is nobody's wish.
    pub top_dir: Option<PathBuf>,
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// `DISTCC_VERBOSE`: log everything.
    pub verbose: bool,
    /// `DISTCC_LOG`: a file to log to.
    pub log_file: Option<PathBuf>,
    /// `DISTCC_TRACE`: a file to which each run adds what it did when. Ours, unknown to stock.
    pub trace: Option<PathBuf>,
    /// `UNCACHED_ERR_FD`: a descriptor to log to, left open by ccache.
    pub uncached_err_fd: Option<i32>,
    /// `DISTCC_FALLBACK`: whether a job may be compiled here when no host takes it.
    pub fallback: bool,
    /// `DISTCC_SKIP_LOCAL_RETRY` exists: what a remote compiler says of a faulty source is believed.
    pub skip_local_retry: bool,
    /// `DISTCC_NO_REWRITE_CROSS` does not exist: servers are asked for fully qualified compilers.
    pub rewrite_cross: bool,
    /// `DISTCC_BACKOFF_PERIOD`: how long a host that failed is left alone; zero is never.
    pub backoff: Duration,
    /// `DISTCC_IO_TIMEOUT`: how long a peer may be silent.
    pub io_timeout: Duration,
    /// `DISTCC_CONNECT_TIMEOUT`: how long one address may take to answer a connection. Ours, unknown to stock.
    pub connect_timeout: Duration,
    /// `DISTCC_PAUSE_TIME_MSEC`: how long a client that waits for a slot sleeps before it looks by itself.
    pub pause: Duration,
    /// `DISTCC_SAVE_TEMPS`: keep what was sent.
    pub save_temps: bool,
    /// `DISTCC_SSH`: the ssh program.
    pub ssh: Option<OsString>,
    /// `TMPDIR`, or `/tmp`.
    pub tmpdir: PathBuf,
    /// `PATH`.
    pub path: Option<OsString>,
    /// `_DISTCC_SAFEGUARD`: how many calls of distcc lie above this one.
    pub safeguard: u32,
    /// `TERM` is unset or names a terminal that has no colours.
    pub dumb_terminal: bool,
    /// A variable that changes what a compiler does and that no server would see; the first one that is set.
    pub compiler_variable: Option<&'static str>,
    /// What concerns pump mode.
    pub pump: PumpSettings,
    /// Values that are no numbers where one is wanted and the default does: a line for each.
    pub odd_numbers: Vec<String>,
}

impl ClientSettings {
    /// Reads all variables through `lookup`. Fails with status 101 on a number that can't be meant.
    pub fn read(lookup: impl Fn(&str) -> Option<OsString>) -> Result<ClientSettings> {
        let filled = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let seconds = |name: &str, default| timeout(name, lookup(name), default);
        let mut odd = Vec::new();
        let mut lenient = |name: &str, default| {
            let value = lookup(name);
            odd.extend(
                value
                    .as_ref()
                    .and_then(|value| odd_number(name, value, default)),
            );
            number(value.filter(|value| begins_with_digit(value)), default)
        };
        let (backoff, pause) = (
            lenient("DISTCC_BACKOFF_PERIOD", BACKOFF_S),
            lenient("DISTCC_PAUSE_TIME_MSEC", PAUSE_MS),
        );
        Ok(ClientSettings {
            hosts: lookup("DISTCC_HOSTS"),
            top_dir: filled("DISTCC_DIR").map(PathBuf::from),
            home: filled("HOME").map(PathBuf::from),
            verbose: switch(lookup("DISTCC_VERBOSE"), false),
            log_file: filled("DISTCC_LOG").map(PathBuf::from),
            trace: filled("DISTCC_TRACE").map(PathBuf::from),
            uncached_err_fd: filled("UNCACHED_ERR_FD")
                .and_then(|value| leading_number(&value).try_into().ok())
                .filter(|fd| *fd > 0),
            fallback: switch(lookup("DISTCC_FALLBACK"), true),
            skip_local_retry: lookup("DISTCC_SKIP_LOCAL_RETRY").is_some(),
            rewrite_cross: lookup("DISTCC_NO_REWRITE_CROSS").is_none(),
            backoff: Duration::from_secs(backoff),
            io_timeout: seconds("DISTCC_IO_TIMEOUT", IO_TIMEOUT_S)?,
            connect_timeout: seconds("DISTCC_CONNECT_TIMEOUT", CONNECT_TIMEOUT_S)?,
            pause: Duration::from_millis(pause),
            save_temps: switch(lookup("DISTCC_SAVE_TEMPS"), false),
            ssh: filled("DISTCC_SSH"),
            tmpdir: filled("TMPDIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from),
            path: lookup("PATH"),
            safeguard: lookup("_DISTCC_SAFEGUARD").map_or(0, |value| level(&value)),
            dumb_terminal: lookup("TERM").is_none_or(|value| value == "dumb"),
            compiler_variable: COMPILER_VARIABLES
                .into_iter()
                .find(|name| lookup(name).is_some_and(|value| !value.is_empty())),
            pump: PumpSettings::read(&lookup)?,
            odd_numbers: odd,
        })
    }

    /// The same with another PATH, if there is one.
    pub fn with_path(mut self, path: Option<OsString>) -> ClientSettings {
        self.path = path.or(self.path);
        self
    }
}

/// A switch is `1` or `0`; any other text leaves it as it is by default, as with stock.
fn switch(value: Option<OsString>, default: bool) -> bool {
    match value.as_ref().and_then(|value| value.to_str()) {
        Some("1") => true,
        Some("0") => false,
        _ => default,
    }
}

/// The digits that a value begins with, after blanks; 0 if there are none, as C's `atoi` has it.
fn leading_number(value: &OsStr) -> u64 {
    let text = value.to_string_lossy();
    let digits: String = text
        .trim_start()
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    digits.parse().unwrap_or(match digits.is_empty() {
        true => 0,
        false => u64::from(u32::MAX),
    })
}

fn number(value: Option<OsString>, default: u64) -> u64 {
    value.map_or(default, |value| {
        leading_number(&value).min(u64::from(u32::MAX))
    })
}

fn begins_with_digit(value: &OsStr) -> bool {
    let text = value.to_string_lossy();
    text.trim_start()
        .starts_with(|first: char| first.is_ascii_digit())
}

/// What is said of a value that is no number, and for which the default is taken.
fn odd_number(name: &str, value: &OsStr, default: u64) -> Option<String> {
    let text = value.to_string_lossy();
    (!begins_with_digit(value))
        .then(|| format!("{name} is '{text}', which is no number; {default} is used"))
}

fn timeout(name: &str, value: Option<OsString>, default: u64) -> Result<Duration> {
    match number(value.clone(), default) {
        0 => {
            let value = value.unwrap_or_default();
            let value = value.to_string_lossy();
            Err(Error::new(
                Code::BadArguments,
                format!("{name} is '{value}', but must be a number of seconds above 0"),
            ))
        }
        seconds => Ok(Duration::from_secs(seconds)),
    }
}

/// The level of recursion; what is there but is no number counts as one call.
fn level(value: &OsStr) -> u32 {
    match leading_number(value) {
        0 => 1,
        level => level.min(9) as u32,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<ClientSettings> {
        ClientSettings::read(|name| {
            let found = pairs.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn an_empty_environment_gives_the_documented_defaults() {
        let settings = read(&[]).unwrap();
        assert!(settings.fallback && settings.rewrite_cross);
        assert!(!settings.verbose && !settings.skip_local_retry && !settings.save_temps);
        assert_eq!(settings.backoff, Duration::from_secs(60));
        assert_eq!(settings.io_timeout, Duration::from_secs(300));
        assert_eq!(settings.connect_timeout, Duration::from_secs(4));
        assert_eq!(settings.pause, Duration::from_secs(1));
        assert_eq!(settings.tmpdir, PathBuf::from("/tmp"));
        assert_eq!((settings.safeguard, settings.uncached_err_fd), (0, None));
    }

    #[test]
    fn switches_are_one_or_zero() {
        for (value, verbose, fallback) in [
            ("1", true, true),
            ("0", false, false),
            ("yes", false, true),
            ("", false, true),
        ] {
            let settings = read(&[("DISTCC_VERBOSE", value), ("DISTCC_FALLBACK", value)]).unwrap();
            assert_eq!(
                (settings.verbose, settings.fallback),
                (verbose, fallback),
                "{value}"
            );
        }
    }

    #[test]
    fn existence_is_enough_where_stock_says_so() {
        let settings = read(&[
            ("DISTCC_SKIP_LOCAL_RETRY", ""),
            ("DISTCC_NO_REWRITE_CROSS", ""),
            ("DISTCC_DIR", ""),
            ("DISTCC_HOSTS", ""),
        ])
        .unwrap();
        assert!(settings.skip_local_retry && !settings.rewrite_cross);
        assert_eq!(settings.top_dir, None);
        assert_eq!(settings.hosts, Some(OsString::new()));
    }

    #[test]
    fn a_timeout_that_is_no_number_is_refused_by_name() {
        for value in ["0", "soon", "-1", ""] {
            let err = read(&[("DISTCC_IO_TIMEOUT", value)]).unwrap_err();
            assert_eq!(err.code, Code::BadArguments);
            assert!(err.message.contains("DISTCC_IO_TIMEOUT"), "{err}");
        }
        let settings = read(&[("DISTCC_IO_TIMEOUT", "7")]).unwrap();
        assert_eq!(settings.io_timeout, Duration::from_secs(7));
    }

    #[test]
    fn where_the_default_does_what_is_no_number_is_noted() {
        for value in ["abc", "", "-1"] {
            let settings = read(&[
                ("DISTCC_BACKOFF_PERIOD", value),
                ("DISTCC_PAUSE_TIME_MSEC", value),
            ]);
            let settings = settings.unwrap();
            assert_eq!(settings.backoff, Duration::from_secs(60), "{value}");
            assert_eq!(settings.pause, Duration::from_secs(1), "{value}");
            let said = settings.odd_numbers.join("\n");
            for name in ["DISTCC_BACKOFF_PERIOD is '", "DISTCC_PAUSE_TIME_MSEC is '"] {
                assert!(said.contains(&format!("{name}{value}'")), "{said}");
            }
        }
        let settings = read(&[
            ("DISTCC_BACKOFF_PERIOD", "0"),
            ("DISTCC_PAUSE_TIME_MSEC", " 7ms"),
        ]);
        let settings = settings.unwrap();
        assert_eq!(
            (settings.backoff, settings.pause),
            (Duration::ZERO, Duration::from_millis(7))
        );
        assert!(settings.odd_numbers.is_empty(), "{settings:?}");
    }

    #[test]
    fn anything_in_the_safeguard_counts() {
        for (value, level) in [("1", 1), ("2", 2), ("0", 1), ("x", 1), ("", 1), ("12", 9)] {
            assert_eq!(
                read(&[("_DISTCC_SAFEGUARD", value)]).unwrap().safeguard,
                level
            );
        }
    }
}
