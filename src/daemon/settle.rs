//! What a daemon does before it serves: it gives up what it does not need, opens its log, and writes its pid file.

use super::config::{Config, LogTo, Mode};
use crate::model::error::{Code, Error, Result};
use crate::os::daemonize::{self, PidFile};
use crate::os::logging::{self, open_log, Sink};
use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

/// Whom to run as if root starts us and says nothing else.
const ACCOUNTS: [&str; 3] = ["distcc", "distccd", "nobody"];

/// Gives up what is not needed, and opens the log.
pub fn settle(config: &mut Config) -> Result<()> {
    let mut warnings = config.warnings.clone();
    if config.lifetime > 0 {
        daemonize::end_after(config.lifetime);
    }
    if config.nice != 0 {
        if let Err(err) = daemonize::nice(config.nice) {
            warnings.push(format!("--nice {}: {err}", config.nice));
        }
    }
    if let Some(score) = config.oom_score_adj {
        // Before root is given up, who alone may go below what we have.
        if let Err(err) = fs::write("/proc/self/oom_score_adj", score.to_string()) {
            warnings.push(format!("--oom-score-adj {score}: {err}"));
        }
    }
    config.account = match (daemonize::is_root(), &config.user) {
        (true, user) => Some(drop_root(user.as_deref())?),
        (false, user) => {
            let only_root = |user: &String| format!("--user {user} is only for root");
            warnings.extend(user.as_ref().map(only_root));
            None
        }
    };
    daemonize::renounce();
    let sink = open_sink(config).unwrap_or_else(|why| {
        warnings.push(format!("{why}; logging to syslog"));
        Sink::Syslog
    });
    logging::daemon(config.verbosity, config.log_json, sink);
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

/// Where the log goes, opened; or why it can't be.
pub fn open_sink(config: &Config) -> std::result::Result<Sink, String> {
    match &config.log {
        LogTo::Stderr => Ok(Sink::Stderr),
        LogTo::Syslog => Ok(Sink::Syslog),
        LogTo::File(path) => open_log(path).map(Sink::File).map_err(|err| {
            let why = denied(&err, config);
            format!("--log-file {}: {why}", path.display())
        }),
    }
}

/// Says it to whoever starts a daemon by hand, who does not look into its log first.
fn tell(config: &Config, text: &str) {
    if config.log != LogTo::Stderr && config.mode != Mode::Inetd {
        let _ = writeln!(io::stderr(), "distccd: {text}");
    }
}

/// Why a file can't be used: root wonders, unless it is said whom it is denied to.
fn denied(err: &io::Error, config: &Config) -> String {
    match &config.account {
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

/// Writes the pid file. One that can't be written is no reason not to serve; one that a living daemon has, is.
pub fn take_pid_file(path: &Path, config: &Config) -> Result<Option<PidFile>> {
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
