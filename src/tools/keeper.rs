//! Owns what `distcc try` must not leave behind: one private folder, one private daemon and an include server. It is a
//! process of its own, in its own process group, that lives for as long as its stdin is open; so it also tidies up after
//! a `try` that was killed outright.

use super::toolchain::Toolchain;
use crate::farm::include_start::{IncludeServer, Plan};
use crate::farm::private_folder::PrivateFolder;
use crate::model::error::{Code, Error, Result, Status};
use crate::os::supervise;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{symlink, MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

/// The word after `try` that starts a keeper.
pub const KEEPER_WORD: &str = "--keeper";

/// What the private folder's name begins with.
const FOLDER_PREFIX: &str = "distcc-try.";

/// This program, also when its file has been replaced since it was started.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// How long the daemon may take to listen, and to end.
const DAEMON_WAIT: Duration = Duration::from_secs(10);

/// What a started keeper keeps.
#[derive(Debug)]
pub struct Kept {
    keeper: Child,
    /// Open for as long as everything is to be kept.
    hold: Option<ChildStdin>,
    /// The private folder.
    pub folder: PathBuf,
    /// The port of 127.0.0.1 on which the daemon listens.
    pub port: u16,
    /// Whether there is an include server.
    pub mode: Mode,
}

/// How a build's sources are to travel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// With the headers that they include.
    Pump,
    /// Preprocessed.
    Plain,
}

impl Mode {
    fn word(self) -> &'static str {
        match self {
            Mode::Pump => "pump",
            Mode::Plain => "plain",
        }
    }

    fn named(word: &[u8]) -> Option<Mode> {
        let modes = [Mode::Pump, Mode::Plain];
        modes
            .into_iter()
            .find(|mode| mode.word().as_bytes() == word)
    }
}

/// Starts a keeper, which starts the daemon and, if it can be had, the include server. `Err` with its status if it could not: then it has said why.
pub fn start(
    toolchain: &Toolchain,
    jobs: usize,
    mode: Mode,
) -> Result<std::result::Result<Kept, Status>> {
    let trouble = |err: io::Error| Error::io("start the daemon's keeper", &err);
    let mut keeper = Command::new(THIS_PROGRAM)
        .arg0("distcc")
        .args(["try", KEEPER_WORD, mode.word(), &jobs.to_string()])
        .args(toolchain.compilers.keys())
        .env("PATH", &toolchain.path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(trouble)?;
    let hold = keeper.stdin.take();
    let mut line = Vec::new();
    if let Some(stdout) = keeper.stdout.take() {
        BufReader::new(stdout)
            .read_until(b'\n', &mut line)
            .map_err(trouble)?;
    }
    match parse_ready(&line) {
        Some((mode, port, folder)) => Ok(Ok(Kept {
            keeper,
            hold,
            folder,
            port,
            mode,
        })),
        None => {
            drop(hold);
            let status = keeper.wait().map_err(trouble)?;
            Ok(Err(Status(
                status.code().map_or(Code::Failed as u8, |code| code as u8),
            )))
        }
    }
}

/// `MODE PORT FOLDER`, ended by a newline: a line cut short names nothing.
fn parse_ready(line: &[u8]) -> Option<(Mode, u16, PathBuf)> {
    let mut parts = line.strip_suffix(b"\n")?.splitn(3, |byte| *byte == b' ');
    let mode = Mode::named(parts.next()?)?;
    let port = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
    Some((
        mode,
        port,
        OsString::from_vec(parts.next()?.to_vec()).into(),
    ))
}

impl Drop for Kept {
    /// Lets go of everything and waits until it is gone.
    fn drop(&mut self) {
        self.hold = None;
        let _ = self.keeper.wait();
    }
}

/// The keeper itself: `words` are the mode, the number of jobs and the compilers' names.
pub fn keep(words: &[OsString]) -> Result<Status> {
    supervise::note_final_signals().map_err(|err| Error::io("catch signals", &err))?;
    let not_ours = || {
        Error::new(
            Code::BadArguments,
            format!("{KEEPER_WORD} is for the program's own use"),
        )
    };
    let [mode, jobs, compilers @ ..] = words else {
        return Err(not_ours());
    };
    let mode = Mode::named(mode.as_bytes()).ok_or_else(not_ours)?;
    let folder = PrivateFolder::create(&std::env::temp_dir(), FOLDER_PREFIX)?;
    furnish(folder.path())
        .map_err(|err| Error::io(format_args!("write in {}", folder.path().display()), &err))?;
    let daemon = Daemon::start(folder.path(), jobs, compilers)?;
    let include_server = match mode {
        Mode::Pump => include_server(folder.path()),
        Mode::Plain => None,
    };
    let mode = include_server.as_ref().map_or(Mode::Plain, |_| Mode::Pump);
    let mut ready = format!("{} {} ", mode.word(), daemon.port).into_bytes();
    ready.extend_from_slice(folder.path().as_os_str().as_bytes());
    ready.push(b'\n');
    let told = io::stdout()
        .write_all(&ready)
        .and_then(|()| io::stdout().flush());
    if told.is_ok() {
        let _ = io::stdin().read_to_end(&mut Vec::new());
    }
    Ok(Status::OK)
}

/// Starts an include server. Without one there is plain mode, and the reason is said at once.
fn include_server(folder: &Path) -> Option<IncludeServer> {
    match Plan::new(folder, Vec::new()).start() {
        Ok(server) => Some(server),
        Err(err) => {
            let text =
                format!("distcc try: no pump mode, since there is no include server: {err}\n");
            let _ = io::stderr().write_all(text.as_bytes());
            None
        }
    }
}

/// Makes what the daemon and the clients need. A daemon started by root becomes somebody else: its temporary files go
/// to a folder that is open to all, below one that nobody can list.
fn furnish(folder: &Path) -> io::Result<()> {
    for name in ["bin", "farm", "daemon"] {
        fs::create_dir(folder.join(name))?;
    }
    if fs::metadata(folder)?.uid() == 0 {
        fs::set_permissions(folder, Permissions::from_mode(0o711))?;
        fs::set_permissions(folder.join("daemon"), Permissions::from_mode(0o1777))?;
    }
    Ok(())
}

/// Puts a link to this program for each compiler, and for `distcc` itself, into the folder `bin`; returns that folder.
pub fn link_compilers<'n>(
    folder: &Path,
    names: impl Iterator<Item = &'n String>,
) -> Result<PathBuf> {
    let bin = folder.join("bin");
    let trouble =
        |err: io::Error| Error::io(format_args!("put links into {}", bin.display()), &err);
    let program = std::env::current_exe().map_err(trouble)?;
    for name in names.map(String::as_str).chain(["distcc"]) {
        symlink(&program, bin.join(name)).map_err(trouble)?;
    }
    Ok(bin)
}

/// A running daemon, ended when dropped.
struct Daemon {
    process: Child,
    port: u16,
}

impl Daemon {
    fn start(folder: &Path, jobs: &OsStr, compilers: &[OsString]) -> Result<Daemon> {
        let trouble = |err: io::Error| Error::io("start the daemon", &err);
        let log_path = folder.join("daemon.log");
        let log = File::create(&log_path).map_err(trouble)?;
        let names: Vec<&OsStr> = compilers.iter().map(OsString::as_os_str).collect();
        let process = Command::new(THIS_PROGRAM)
            .arg0("distccd")
            .args(["--daemon", "--no-detach", "--log-stderr"])
            .args(["--config", "none", "--drain", "0"])
            .args(["--listen", "127.0.0.1", "--port", "0"])
            .arg("--jobs")
            .arg(jobs)
            .arg("--compilers")
            .arg(names.join(OsStr::new(",")))
            .env("TMPDIR", folder.join("daemon"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(trouble)?;
        let mut daemon = Daemon { process, port: 0 };
        daemon.port = daemon.wait_for_port(&log_path)?;
        Ok(daemon)
    }

    fn wait_for_port(&mut self, log_path: &Path) -> Result<u16> {
        let begun = Instant::now();
        loop {
            let ended = !matches!(self.process.try_wait(), Ok(None));
            let log = String::from_utf8_lossy(&fs::read(log_path).unwrap_or_default()).into_owned();
            if let Some(port) = port_in(&log) {
                return Ok(port);
            }
            if ended || begun.elapsed() > DAEMON_WAIT || supervise::noted().is_some() {
                let what = if ended {
                    "ended at once"
                } else {
                    "does not listen"
                };
                return Err(Error::new(
                    Code::BindFailed,
                    format!("the private daemon {what}; it says:\n{log}"),
                ));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// The port in the line `… listening on 127.0.0.1:PORT`, once the line is whole.
fn port_in(log: &str) -> Option<u16> {
    let (_, rest) = log.split_once("listening on 127.0.0.1:")?;
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    rest[..end].parse().ok()
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if !matches!(self.process.try_wait(), Ok(None)) {
            return;
        }
        supervise::terminate(&self.process);
        let begun = Instant::now();
        while begun.elapsed() < DAEMON_WAIT {
            if !matches!(self.process.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_whole_lines_count() {
        assert_eq!(
            parse_ready(b"pump 4000 /tmp/a b\n"),
            Some((Mode::Pump, 4000, "/tmp/a b".into()))
        );
        for cut in [
            &b"plain 4000 /tmp/a"[..],
            b"4000 /tmp/a\n",
            b"plain 40\n",
            b"",
        ] {
            assert_eq!(parse_ready(cut), None);
        }
        assert_eq!(
            port_in("distccd[1] listening on 127.0.0.1:4000\n"),
            Some(4000)
        );
        assert_eq!(port_in("distccd[1] listening on 127.0.0.1:40"), None);
    }

    #[test]
    fn the_folder_has_a_link_for_each_compiler() {
        let folder = tempfile::tempdir().unwrap();
        furnish(folder.path()).unwrap();
        let bin = link_compilers(folder.path(), [&"gcc".to_owned()].into_iter()).unwrap();
        assert!(bin.join("gcc").is_symlink());
    }
}
