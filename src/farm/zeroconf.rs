//! Hosts that were found on the local network, for clients: they read a file that a helper writes, and start the helper when
//! there is none. File, lock and folder are those of stock's clients, so that one helper serves both.

use crate::os::lock;
use crate::os::watch::Watch;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

/// What the helper is called as.
pub const HELPER: &str = "distcc-zeroconf";

/// The first word of the helper that looks for hosts; the folder follows.
pub const BROWSE: &str = "browse";

/// The first word of the one that tells of a daemon.
pub const ANNOUNCE: &str = "announce";

/// This program, also when its file has been replaced since it was started.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// The helper holds a lock on this file; clients renew its time.
const LOCK_FILE: &str = "lock";

/// The hosts, as words of a host list.
const HOSTS_FILE: &str = "hosts";

/// Larger than any list of hosts.
const HOSTS_BYTES_MAX: u64 = 100 << 10;

/// How long to wait for what the helper finds first.
const FIRST_WAIT: Duration = Duration::from_millis(2000);

/// The helper's lock, below the folder for zeroconf.
pub fn lock_file(folder: &Path) -> PathBuf {
    folder.join(LOCK_FILE)
}

/// The helper's result, below the folder for zeroconf.
pub fn hosts_file(folder: &Path) -> PathBuf {
    folder.join(HOSTS_FILE)
}

/// The text of hosts that have been found. Waits only if nobody has looked for them yet.
pub fn found(folder: &Path) -> Result<String, String> {
    let fault = |err: io::Error| format!("look for hosts in {}: {err}", folder.display());
    if !is_kept(folder).map_err(fault)? {
        start_helper(folder).map_err(fault)?;
    }
    let hosts = hosts_file(folder);
    match read(&hosts).map_err(fault)? {
        text if !text.is_empty() => Ok(text),
        _ => first(folder, &hosts).map_err(fault),
    }
}

/// Whether a helper is at work; it is told that somebody wants to know.
fn is_kept(folder: &Path) -> io::Result<bool> {
    let path = lock_file(folder);
    let open = || {
        File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
    };
    let file = match open() {
        Err(err) if err.kind() == io::ErrorKind::NotFound => {
            match fs::create_dir(folder) {
                Err(err) if err.kind() != io::ErrorKind::AlreadyExists => return Err(err),
                _ => {}
            }
            open()?
        }
        other => other?,
    };
    file.set_modified(SystemTime::now())?;
    lock::is_held(&file)
}

/// Starts a helper. Of several that are started at the same time one stays.
fn start_helper(folder: &Path) -> io::Result<()> {
    let folder = std::path::absolute(folder)?;
    Command::new(THIS_PROGRAM)
        .arg0(HELPER)
        .arg(BROWSE)
        .arg(folder)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map(drop)
}

/// What is in the file; nothing if it is not there, or is being written for the first time.
fn read(path: &Path) -> io::Result<String> {
    let file = match File::open(path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        other => other?,
    };
    let mut bytes = Vec::new();
    file.take(HOSTS_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Waits until the helper has written the file.
fn first(folder: &Path, hosts: &Path) -> io::Result<String> {
    let until = Instant::now() + FIRST_WAIT;
    let mut watch = Watch::start(folder)?;
    loop {
        let text = read(hosts)?;
        let left = until.saturating_duration_since(Instant::now());
        if !text.is_empty() || left.is_zero() {
            return Ok(text);
        }
        watch.wait(left)?;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::os::lock::{try_lock, Attempt};

    #[test]
    fn what_a_helper_has_written_is_read_and_asked_for() {
        let top = tempfile::tempdir().unwrap();
        let folder = top.path().join("zeroconf");
        assert!(!is_kept(&folder).unwrap());
        let Attempt::Held(_helper) = try_lock(&lock_file(&folder)).unwrap() else {
            panic!("locked already")
        };
        let long_ago = SystemTime::now() - Duration::from_secs(1000);
        let lock = File::options()
            .write(true)
            .open(lock_file(&folder))
            .unwrap();
        lock.set_modified(long_ago).unwrap();
        fs::write(hosts_file(&folder), "10.0.0.7:3632/4\n").unwrap();
        assert_eq!(found(&folder).unwrap(), "10.0.0.7:3632/4\n");
        let asked = fs::metadata(lock_file(&folder))
            .unwrap()
            .modified()
            .unwrap();
        assert!(asked > long_ago);
    }

    #[test]
    fn the_first_answer_is_waited_for() {
        let top = tempfile::tempdir().unwrap();
        let folder = top.path().join("zeroconf");
        is_kept(&folder).unwrap();
        let Attempt::Held(_helper) = try_lock(&lock_file(&folder)).unwrap() else {
            panic!("locked already")
        };
        fs::write(hosts_file(&folder), "").unwrap();
        let writer = std::thread::spawn({
            let hosts = hosts_file(&folder);
            move || fs::write(hosts, "a/3\n").unwrap()
        });
        assert_eq!(found(&folder).unwrap(), "a/3\n");
        writer.join().unwrap();
    }

    #[test]
    fn without_its_folder_there_is_a_reason() {
        let why = found(Path::new("/nowhere/zeroconf")).unwrap_err();
        assert!(
            why.starts_with("look for hosts in /nowhere/zeroconf: "),
            "{why}"
        );
    }
}
