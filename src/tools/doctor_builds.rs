//! `distcc doctor`: a small source compiled as a build would compile it, by our client with one host, and its object beside
//! the one that is made here. What the client does is what is tried, so it runs as a process of its own, with a folder for
//! locks and marks that goes afterwards.

use super::bounded::{self, Ended};
use super::tally::{self, Tally};
use super::toolchain::Toolchain;
use crate::model::error::Error;
use crate::model::error::Result;
use crate::model::findings::{Finding, Topic};
use crate::model::hosts::HostSpec;
use crate::os::files::private_folder;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// This program, also when its file has been replaced since it was started.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// The source, and the header that it includes.
const SOURCE: &str = "#include \"probe.h\"\nint distcc_doctor(int a) { return TWICE(a) + SIZE; }\n";
const HEADER: &str =
    "#include <stddef.h>\n#define TWICE(x) (2 * (x))\n#define SIZE ((int)sizeof(size_t))\n";

/// Variables of ours that are not the user's to set for a trial.
const OTHERS: [&str; 3] = [
    "_DISTCC_SAFEGUARD",
    "UNCACHED_ERR_FD",
    "INCLUDE_SERVER_PORT",
];

/// Where trials take place, and with what.
#[derive(Debug)]
pub struct Builds {
    /// A folder that the caller removes.
    pub folder: PathBuf,
    /// This machine's compilers, and PATH without links to distcc.
    pub toolchain: Toolchain,
    /// The socket of an include server that runs, or why there is none.
    pub include_server: std::result::Result<PathBuf, String>,
    /// When everything must have ended.
    pub until: Instant,
}

/// What a compile here has come to.
enum Prepared {
    /// The folder with the source, and the object.
    Ready { folder: PathBuf, object: Vec<u8> },
    /// The time was over.
    Late,
    /// It failed.
    Failed(String),
}

/// One way of sending the source.
struct Way {
    check: &'static str,
    token: String,
    socket: Option<PathBuf>,
}

impl Builds {
    /// Compiles with `compiler` on `host`, preprocessed and, if the host's entry says so, in pump mode.
    pub fn try_on(&self, host: &HostSpec, compiler: &str, say: &dyn Fn(Finding)) {
        let finding = |what: String| Finding::ok("compile", &host.token, what);
        if Instant::now() >= self.until {
            return say(no_time(finding("no time was left to try one".to_owned())));
        }
        let (folder, local) = match self.prepare(compiler) {
            Ok(Prepared::Ready { folder, object }) => (folder, object),
            Ok(Prepared::Late) => {
                return say(no_time(finding("no time was left to try one".to_owned())))
            }
            Ok(Prepared::Failed(why)) => {
                let what = format!("not tried, as {compiler} does not compile here: {why}");
                return say(finding(what)
                    .warning("mend that compiler, or take it off PATH", Topic::Compilers));
            }
            Err(err) => {
                return say(finding(format!("could not be tried: {err}"))
                    .warning("see what TMPDIR names", Topic::Folders))
            }
        };
        for way in self.ways(host, say) {
            say(match self.compile(host, compiler, &folder, &local, &way) {
                Ok(found) => found,
                Err(err) => finding(format!("could not be tried: {err}"))
                    .warning("see what TMPDIR names", Topic::Folders),
            });
        }
    }

    fn ways(&self, host: &HostSpec, say: &dyn Fn(Finding)) -> Vec<Way> {
        let words = host.token.split(',').filter(|word| *word != "cpp");
        let mut ways = vec![Way {
            check: "compile",
            token: words.collect::<Vec<&str>>().join(","),
            socket: None,
        }];
        match &self.include_server {
            _ if !host.cpp => {}
            Ok(socket) => ways.push(Way {
                check: "pump",
                token: host.token.clone(),
                socket: Some(socket.clone()),
            }),
            Err(why) => say(
                Finding::ok("pump", &host.token, format!("not tried: {why}"))
                    .warning("see include-server above", Topic::Pump),
            ),
        }
        ways
    }

    /// A folder with the source, and what a compile here makes of it.
    fn prepare(&self, compiler: &str) -> Result<Prepared> {
        let trouble = |err| {
            Error::io(
                format_args!("prepare a compile in {}", self.folder.display()),
                &err,
            )
        };
        let folder = private_folder(&self.folder, "host").map_err(trouble)?;
        fs::write(folder.join(source(compiler)), SOURCE).map_err(trouble)?;
        fs::write(folder.join("probe.h"), HEADER).map_err(trouble)?;
        let file = self.toolchain.compilers.get(compiler);
        let file = file.map_or_else(|| Path::new(compiler), PathBuf::as_path);
        let mut command = Command::new(file);
        self.dress(&mut command, &folder, compiler);
        command.args(words(compiler, "here.o"));
        let ended = bounded::run(&mut command, self.until).map_err(trouble)?;
        if ended.status.is_none() {
            return Ok(Prepared::Late);
        }
        if !ended.is_well() {
            return Ok(Prepared::Failed(ended.describe()));
        }
        let object = fs::read(folder.join("here.o")).map_err(trouble)?;
        Ok(Prepared::Ready { folder, object })
    }

    /// PATH on which this name finds the compiler, and not a script that calls distcc.
    fn path_for(&self, compiler: &str) -> OsString {
        let path = &self.toolchain.path;
        let Some(file) = self.toolchain.compilers.get(compiler) else {
            return path.clone();
        };
        match which::which_in(compiler, Some(path), "/") {
            Ok(found) if found == *file => path.clone(),
            _ => {
                let first = file.parent().map(Path::to_owned);
                let folders = first.into_iter().chain(env::split_paths(path));
                env::join_paths(folders).unwrap_or_else(|_| path.clone())
            }
        }
    }

    fn dress(&self, command: &mut Command, folder: &Path, compiler: &str) {
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            let is_kept = matches!(&*text, "DISTCC_SSH" | "DISTCC_NO_REWRITE_CROSS");
            if text.starts_with("DISTCC") && !is_kept || OTHERS.contains(&&*text) {
                command.env_remove(&name);
            }
        }
        command
            .env("PATH", self.path_for(compiler))
            .env("CCACHE_DISABLE", "1")
            .current_dir(folder);
    }

    fn compile(
        &self,
        host: &HostSpec,
        compiler: &str,
        folder: &Path,
        local: &[u8],
        way: &Way,
    ) -> Result<Finding> {
        let log = folder.join(way.check);
        let object = format!("{}.o", way.check);
        let left = self.until.saturating_duration_since(Instant::now());
        let mut command = Command::new(THIS_PROGRAM);
        self.dress(&mut command, folder, compiler);
        command
            .arg0("distcc")
            .arg(compiler)
            .args(words(compiler, &object))
            .env("DISTCC_HOSTS", &way.token)
            .env("DISTCC_DIR", folder)
            .env("DISTCC_LOG", &log)
            .env("DISTCC_FALLBACK", "0")
            .env("DISTCC_BACKOFF_PERIOD", "0")
            .env("DISTCC_IO_TIMEOUT", (left.as_secs() + 1).to_string());
        if let Some(socket) = &way.socket {
            command.env("INCLUDE_SERVER_PORT", socket);
        }
        let ended = bounded::run(&mut command, self.until)
            .map_err(|err| Error::io("run a client for a trial", &err))?;
        let log = String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).into_owned();
        let object = fs::read(folder.join(object)).unwrap_or_default();
        Ok(judged(
            &host.token,
            compiler,
            way,
            &ended,
            &log,
            object == local,
        ))
    }
}

/// What came of it.
fn judged(
    host: &str,
    compiler: &str,
    way: &Way,
    ended: &Ended,
    log: &str,
    is_same: bool,
) -> Finding {
    let tally = tally::count(log);
    let finding = |what: String| Finding::ok(way.check, host, what);
    if ended.status.is_none() {
        let what = format!("a compile with {compiler} did not end in the time that there was");
        return no_time(finding(what));
    }
    if !ended.is_well() {
        let last = log
            .lines()
            .rfind(|line| line.contains("ERROR") || line.contains("Warning"));
        let said = last.map_or_else(|| ended.describe(), without_prefix);
        return finding(format!("a compile with {compiler} failed: {said}")).fault(
            "the lines about this host above say more; its daemon's log says why",
            Topic::Refused,
        );
    }
    if let Some(why) = aside(&tally, way) {
        return finding(format!("a compile with {compiler} went another way: {why}"))
            .fault("`distcc why` explains one command", Topic::Pump);
    }
    match is_same {
        true if log.contains("system headers are others") => finding(format!(
            "{compiler} compiles there, and the object is that of a compile here; the host's system headers are others, so \
             yours travel along"
        )),
        true => finding(format!(
            "{compiler} compiles there, and the object is that of a compile here"
        )),
        false => finding(format!(
            "{compiler} compiles there, but the object is not that of a compile here"
        ))
        .fault(
            "install the same version of the compiler on both machines, and name it in full, such as x86_64-linux-gnu-gcc-12",
            Topic::Compilers,
        ),
    }
}

/// That time runs out is no fault of the set-up.
pub fn no_time(finding: Finding) -> Finding {
    finding.warning(
        "`distcc doctor --time 60` gives it more time",
        Topic::NotReached,
    )
}

/// Why a compile that went well was not done as it should have been.
fn aside(tally: &Tally, way: &Way) -> Option<String> {
    let reasons = match way.socket {
        Some(_) if tally.pumped == 0 => tally.plain.keys().chain(tally.local.keys()),
        None if tally.remote() == 0 => tally.local.keys().chain(tally.plain.keys()),
        _ => return None,
    };
    let reasons: Vec<&str> = reasons
        .map(String::as_str)
        .filter(|why| !why.is_empty())
        .collect();
    match reasons.is_empty() {
        true => Some("for no reason that the client gave".to_owned()),
        false => Some(reasons.join("; ")),
    }
}

/// A line of the client's log without its beginning.
fn without_prefix(line: &str) -> String {
    let (_, text) = line.split_once("] ").unwrap_or(("", line));
    let text = text
        .trim_start_matches("ERROR: ")
        .trim_start_matches("Warning: ");
    text.to_owned()
}

fn source(compiler: &str) -> &'static str {
    match compiler.contains("++") {
        true => "probe.cc",
        false => "probe.c",
    }
}

fn words(compiler: &str, object: &str) -> [OsString; 5] {
    ["-O2", "-c", source(compiler), "-o", object].map(OsString::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::findings::Level;
    use crate::model::wait_status::WaitStatus;

    fn judge(code: u8, is_pump: bool, log: &str, is_same: bool) -> Finding {
        let ended = Ended {
            status: Some(WaitStatus::exited(code)),
            stdout: String::new(),
            stderr: "odd\n".to_owned(),
        };
        let way = Way {
            check: "compile",
            token: String::new(),
            socket: is_pump.then(PathBuf::new),
        };
        judged("h", "gcc", &way, &ended, log, is_same)
    }

    #[test]
    fn only_the_wanted_way_with_the_same_object_is_well() {
        const DONE: &str = "distcc[1] compile probe.c on h completed ok\n";
        const PUMPED: &str = "distcc[1] 9 bytes from probe.c compiled on h in 0.1s, rate 1kB/s, 2 files in pump mode\n";
        for (code, is_pump, log, is_same, level) in [
            (0, false, DONE.to_owned(), true, Level::Ok),
            (0, false, DONE.to_owned(), false, Level::Fault),
            (0, false, String::new(), true, Level::Fault),
            (0, true, DONE.to_owned(), true, Level::Fault),
            (0, true, format!("{PUMPED}{DONE}"), true, Level::Ok),
            (103, false, String::new(), true, Level::Fault),
        ] {
            let finding = judge(code, is_pump, &log, is_same);
            assert_eq!(finding.level, level, "{finding:?}");
        }
        let failed = judge(
            103,
            false,
            "distcc[1] ERROR: failed to connect to h\n",
            false,
        );
        assert!(
            failed.what.ends_with("failed: failed to connect to h"),
            "{failed:?}"
        );
        assert!(judge(1, false, "", false).what.ends_with("and said: odd"));
    }

    #[test]
    fn time_that_runs_out_is_no_fault() {
        let way = Way {
            check: "compile",
            token: String::new(),
            socket: None,
        };
        let ended = Ended {
            status: None,
            stdout: String::new(),
            stderr: String::new(),
        };
        let finding = judged("h", "gcc", &way, &ended, "", false);
        assert_eq!(finding.level, Level::Warning, "{finding:?}");
        assert!(finding.what.contains("did not end in the time"));
    }
}
