//! `distcc try [COMMAND…]`: a build distributed without any set-up, to a private daemon on this machine and in pump mode,
//! and a summary of what ran where. Knows how a build is run; what has to vanish afterwards belongs to the keeper.

use super::keeper::{self, Kept, Mode, KEEPER_WORD};
use super::sample::{self, Sample};
use super::tally::{self, Tally};
use super::toolchain::{self, Toolchain};
use crate::farm::include_start::socket_in;
use crate::model::error::{Code, Error, Result, Status};
use crate::os::supervise;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const HELP: &str = "\
Usage: distcc try [--plain] [COMMAND [ARGUMENT…]]

Runs COMMAND, a build such as `make -j8`, with its compilers replaced by distcc and a private distccd on this
machine as the only host, and says at the end what was compiled by the daemon, what was not, and why. Without
COMMAND a small C and C++ sample is built. Nothing has to be set up, and nothing is left behind.

The build runs in pump mode: sources are sent together with the headers that they include, and the daemon preprocesses
them. With --plain they are preprocessed here.

The exit status is that of COMMAND, or 128 + the signal that ended it.
";

/// `try [COMMAND…]`; all words, the first is `try`.
pub fn try_build(argv: Vec<OsString>) -> Result<Status> {
    let words = argv.get(1..).unwrap_or_default();
    let (mode, words) = match words.split_first() {
        Some((first, rest)) if first == "--plain" => (Mode::Plain, rest),
        _ => (Mode::Pump, words),
    };
    let Some((first, rest)) = words.split_first() else {
        return build(None, mode);
    };
    match first.to_str() {
        Some("--help" | "-h") => {
            let _ = io::stdout().write_all(HELP.as_bytes());
            Ok(Status::OK)
        }
        Some(KEEPER_WORD) => keeper::keep(rest),
        Some("--") if rest.is_empty() => build(None, mode),
        Some("--") => build(Some(rest), mode),
        Some(option) if option.starts_with('-') => Err(Error::new(
            Code::BadArguments,
            format!("unknown option {option}; `distcc try --help` shows how it is used"),
        )),
        _ => build(Some(words), mode),
    }
}

fn build(command: Option<&[OsString]>, mode: Mode) -> Result<Status> {
    let toolchain = toolchain::find(&env::var_os("PATH").unwrap_or_default());
    if toolchain.compilers.is_empty() {
        return Err(Error::new(
            Code::CompilerMissing,
            "there is no C compiler on PATH; install one, e.g. `apt-get install gcc g++ make` or `dnf install gcc gcc-c++ make`",
        ));
    }
    supervise::note_final_signals().map_err(|err| Error::io("catch signals", &err))?;
    let jobs = std::thread::available_parallelism().map_or(2, usize::from) + 2;
    let kept = match keeper::start(&toolchain, jobs, mode)? {
        Ok(kept) => kept,
        Err(status) => return Ok(status),
    };
    let ran = match command {
        Some(words) => run(&kept, &toolchain, jobs, words, None),
        None => {
            let sample = sample::write(&kept.folder.join("sample"), &toolchain, jobs)?;
            run(&kept, &toolchain, jobs, &sample.command, Some(&sample))
        }
    };
    drop(kept);
    if let Some(signal) = supervise::noted() {
        supervise::end_by(signal);
    }
    let ran = ran?;
    let _ = io::stdout().write_all(summary(&ran, command.is_none()).as_bytes());
    Ok(ran.status)
}

/// A build that has ended.
struct Ran {
    status: Status,
    time: Duration,
    tally: Tally,
    port: u16,
    mode: Mode,
}

fn run(
    kept: &Kept,
    toolchain: &Toolchain,
    jobs: usize,
    words: &[OsString],
    sample: Option<&Sample>,
) -> Result<Ran> {
    let (program, arguments) = words
        .split_first()
        .ok_or_else(|| Error::new(Code::BadArguments, "there is no command to run"))?;
    let bin = keeper::link_compilers(&kept.folder, toolchain.compilers.keys())?;
    let log = kept.folder.join("clients.log");
    let mut command = Command::new(program);
    command.args(arguments);
    set_environment(&mut command, &bin, toolchain, &kept.folder, &log);
    let host = format!("127.0.0.1:{}/{jobs}", kept.port);
    match kept.mode {
        Mode::Pump => command
            .env("DISTCC_HOSTS", host + ",cpp,lzo")
            .env("INCLUDE_SERVER_PORT", socket_in(&kept.folder)),
        Mode::Plain => command.env("DISTCC_HOSTS", host),
    };
    if let Some(sample) = sample {
        command
            .current_dir(&sample.folder)
            .env_remove("MAKEFLAGS")
            .env_remove("MFLAGS");
    }
    let begun = Instant::now();
    let mut child = command.spawn().map_err(|err| cannot_run(program, &err))?;
    let passing = supervise::pass_signals_to(&child);
    let status = child
        .wait()
        .map_err(|err| Error::io("wait for the build", &err))?;
    drop(passing);
    let log = fs::read(&log).unwrap_or_default();
    Ok(Ran {
        status: Status(match (status.code(), status.signal()) {
            (Some(code), _) => code as u8,
            (None, signal) => 128 + signal.unwrap_or_default() as u8,
        }),
        time: begun.elapsed(),
        tally: tally::count(&String::from_utf8_lossy(&log)),
        port: kept.port,
        mode: kept.mode,
    })
}

/// The caller's environment, without its settings for distcc, with ours.
fn set_environment(
    command: &mut Command,
    bin: &Path,
    toolchain: &Toolchain,
    folder: &Path,
    log: &Path,
) {
    for (name, value) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("DISTCC")
            || matches!(
                &*text,
                "_DISTCC_SAFEGUARD" | "UNCACHED_ERR_FD" | "INCLUDE_SERVER_PORT"
            )
            || names_launcher(&text, &value.to_string_lossy())
        {
            command.env_remove(&name);
        }
    }
    let mut path = bin.as_os_str().to_owned();
    if !toolchain.path.is_empty() {
        path.push(":");
        path.push(&toolchain.path);
    }
    command
        .env("PATH", path)
        .env("DISTCC_DIR", folder.join("farm"))
        .env("DISTCC_LOG", log)
        // What ccache remembers would not be compiled anywhere.
        .env("CCACHE_DISABLE", "1");
}

/// Whether a variable puts a distcc, which may be another one than this, before CMake's compilers: these are ours by their
/// names already.
fn names_launcher(name: &str, value: &str) -> bool {
    let is_distcc = |word: &str| {
        let program = Path::new(word).file_name().unwrap_or_default();
        program.to_string_lossy().contains("distcc")
    };
    name.starts_with("CMAKE_")
        && name.ends_with("_COMPILER_LAUNCHER")
        && value.split(';').any(is_distcc)
}

fn cannot_run(program: &OsStr, err: &io::Error) -> Error {
    let code = match err.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => Code::CompilerMissing,
        _ => Code::Failed,
    };
    Error::new(
        code,
        format!("cannot run {}: {err}", program.to_string_lossy()),
    )
}

fn summary(ran: &Ran, is_sample: bool) -> String {
    let how = match ran.status {
        Status(0) => "well".to_owned(),
        Status(code) => format!("with status {code}"),
    };
    let mut text = format!(
        "\ndistcc try: the build ended {how} after {:.1} s; a private distccd on 127.0.0.1:{} was its only host\n",
        ran.time.as_secs_f64(),
        ran.port
    );
    text.push_str(&ran.tally.summary(ran.mode == Mode::Pump));
    let compiles = ran.tally.remote() + ran.tally.local_total();
    if compiles == 0 && !is_sample && ran.status == Status::OK {
        text.push_str(
            "No compile went through distcc. Either there was nothing left to do (try `make clean` first), or the build calls\n\
             its compiler by an absolute path: give it a bare name (`make CC=gcc`). With CMake, configure with\n\
             -DCMAKE_C_COMPILER_LAUNCHER=distcc -DCMAKE_CXX_COMPILER_LAUNCHER=distcc, or configure and build below one\n\
             `distcc try sh -c '…'` in a build folder that is thrown away afterwards: it remembers compilers that are gone then.\n",
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(words: &[&str]) -> Error {
        let argv = ["try"].iter().chain(words).map(OsString::from).collect();
        try_build(argv)
            .err()
            .unwrap_or_else(|| Error::new(Code::Failed, ""))
    }

    #[test]
    fn an_unknown_option_is_named() {
        for words in [&["--frobnicate"][..], &["--plain", "--frobnicate"]] {
            let err = error(words);
            assert_eq!(err.code, Code::BadArguments);
            assert!(err.message.contains("--frobnicate"));
        }
    }

    #[test]
    fn a_build_without_compiles_gets_a_hint() {
        let ran = Ran {
            status: Status(0),
            time: Duration::ZERO,
            tally: Tally::default(),
            port: 1,
            mode: Mode::Pump,
        };
        let hint = summary(&ran, false);
        for part in ["absolute path", "COMPILER_LAUNCHER=distcc", "thrown away"] {
            assert!(hint.contains(part), "{hint}");
        }
        assert!(!summary(&ran, true).contains("absolute path"));
    }
}
