//! Has the local network told of this daemon: a helper process does that, and is held by its standard input, so that it takes
//! everything back whenever we end, however that happens. One that ends is started again, a few times.

use super::config::Config;
use crate::farm::zeroconf::{ANNOUNCE, HELPER};
use crate::os::logging::NOTICE;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Ourselves, also after an update has put another file in the place of ours.
const EXECUTABLE: &str = "/proc/self/exe";

/// How often a helper that ends is started again, and how long is waited before the first of that; each time twice as long.
const RESTARTS_MAX: u32 = 6;
const PAUSE: Duration = Duration::from_secs(1);

/// A helper that has lived so long starts a new count.
const LONG: Duration = Duration::from_secs(600);

/// What is told.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Offer {
    port: u16,
    jobs: usize,
    /// The addresses that we listen on, if not all.
    addresses: Vec<IpAddr>,
    /// PATH, on which `cc` is looked for.
    path: OsString,
}

/// Has others told of the daemon that listens on these addresses, if that was asked for. Without it there is a line in the log.
pub fn start(config: &Config, listening: &[SocketAddr]) -> Option<Announcer> {
    if !config.zeroconf {
        return None;
    }
    let Some(offer) = offer(config, listening) else {
        log::warn!(
            "--zeroconf: not announced, since only this machine can connect; --listen and --allow let others in"
        );
        return None;
    };
    Announcer::start(offer)
        .inspect_err(|err| log::error!("--zeroconf: not announced: {err}"))
        .ok()
}

/// What there is to tell; nothing if only this machine can connect. One port is told, the first.
fn offer(config: &Config, listening: &[SocketAddr]) -> Option<Offer> {
    if config.access.is_default() {
        return None;
    }
    let others = listening.iter().filter(|at| !at.ip().is_loopback());
    let others: Vec<&SocketAddr> = others.collect();
    let port = others.first()?.port();
    let same_port = others.iter().filter(|at| at.port() == port);
    let addresses: Vec<IpAddr> = same_port.map(|at| at.ip()).collect();
    let is_everywhere = addresses.iter().any(IpAddr::is_unspecified);
    Some(Offer {
        port,
        jobs: config.jobs,
        addresses: if is_everywhere { Vec::new() } else { addresses },
        path: config.path.clone(),
    })
}

/// Holds the helper; dropped, it takes back what was told.
#[derive(Debug)]
pub struct Announcer(Arc<Mutex<Hold>>);

#[derive(Default, Debug)]
struct Hold {
    is_over: bool,
    stdin: Option<ChildStdin>,
}

impl Announcer {
    fn start(offer: Offer) -> io::Result<Announcer> {
        let hold = Arc::new(Mutex::new(Hold::default()));
        let kept = hold.clone();
        let keeper = thread::Builder::new().name("zeroconf".to_owned());
        keeper.spawn(move || keep(&offer, &kept))?;
        Ok(Announcer(hold))
    }
}

impl Drop for Announcer {
    fn drop(&mut self) {
        let mut hold = lock(&self.0);
        hold.is_over = true;
        hold.stdin = None;
    }
}

fn lock(hold: &Mutex<Hold>) -> MutexGuard<'_, Hold> {
    hold.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps a helper running, and logs what it says.
fn keep(offer: &Offer, hold: &Mutex<Hold>) {
    let mut restarts = 0;
    while restarts <= RESTARTS_MAX {
        if restarts > 0 {
            thread::sleep(PAUSE * 2_u32.pow(restarts - 1));
        }
        let begun = Instant::now();
        let mut hold_now = lock(hold);
        if hold_now.is_over {
            return;
        }
        match start_helper(offer) {
            Ok(mut child) => {
                hold_now.stdin = child.stdin.take();
                drop(hold_now);
                listen(&mut child);
            }
            Err(err) => log::warn!("zeroconf: start the helper: {err}"),
        }
        // One that has done its work for long has not ended because it can't.
        restarts = match begun.elapsed() > LONG {
            true => 1,
            false => restarts + 1,
        };
    }
    log::error!("zeroconf: the helper ends again and again; this daemon is not announced any more");
}

fn start_helper(offer: &Offer) -> io::Result<Child> {
    Command::new(EXECUTABLE)
        .arg0(HELPER)
        .args([ANNOUNCE, &offer.port.to_string(), &offer.jobs.to_string()])
        .args(offer.addresses.iter().map(IpAddr::to_string))
        .env("PATH", &offer.path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // Signals for our group are not for it: it shall say goodbye.
        .process_group(0)
        .spawn()
}

/// Logs what the helper says, until it ends.
fn listen(child: &mut Child) {
    if let Some(said) = child.stdout.take() {
        for line in BufReader::new(said).lines().map_while(Result::ok) {
            log::info!(target: NOTICE, event = "zeroconf"; "zeroconf: {line}");
        }
    }
    match child.wait() {
        Ok(status) if status.success() => {}
        Ok(status) => log::warn!("zeroconf: the helper has ended: {status}"),
        Err(err) => log::warn!("zeroconf: wait for the helper: {err}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::daemon::config::Surroundings;
    use crate::daemon::options::{read, Asked};

    fn config(options: &[&str]) -> Config {
        let words = [&["distccd", "--enable-tcp-insecure", "-j7"][..], options].concat();
        let argv: Vec<OsString> = words.iter().map(OsString::from).collect();
        let Asked::Serve(flags) = read(&argv, &[]).unwrap() else {
            panic!("not to be served")
        };
        let around = Surroundings {
            lookup: &|_| None,
            read_file: &|path| std::fs::read(path),
            stdin_is_socket: false,
            cpus: 1,
            executable: None,
            folder: "/".into(),
        };
        Config::new(*flags, &around).unwrap()
    }

    #[test]
    fn only_what_others_can_reach_is_told() {
        let anywhere = ["0.0.0.0:2".parse().unwrap()];
        assert_eq!(offer(&config(&["--zeroconf"]), &anywhere), None);
        let config = config(&["--zeroconf", "--allow", "10.0.0.0/8"]);
        let told = |addresses: &[&str]| {
            let addresses: Vec<SocketAddr> =
                addresses.iter().map(|at| at.parse().unwrap()).collect();
            let offer = offer(&config, &addresses)?;
            assert_eq!(offer.jobs, 7);
            let at: Vec<String> = offer.addresses.iter().map(IpAddr::to_string).collect();
            Some((offer.port, at.join(" ")))
        };
        assert_eq!(told(&["127.0.0.1:1", "[::1]:1"]), None);
        assert_eq!(
            told(&["127.0.0.1:1", "0.0.0.0:2"]),
            Some((2, String::new()))
        );
        let two = told(&["10.0.0.7:3", "[fd00::1]:3", "10.0.0.8:4"]);
        assert_eq!(two, Some((3, "10.0.0.7 fd00::1".into())));
    }
}
