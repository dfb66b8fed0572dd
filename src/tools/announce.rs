//! Tells the local network of a daemon, as long as the daemon lives, and takes that back at its end.

use super::browse::{cc, quiet_daemon};
use crate::model::error::{Code, Error, Result, Status};
use crate::model::zeroconf::{Offer, SERVICE};
use crate::os::machine;
use mdns_sd::{DaemonEvent, Receiver, ServiceDaemon, ServiceInfo};
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::thread;
use std::time::Duration;

/// How long taking back may last.
const FAREWELL: Duration = Duration::from_secs(1);

/// Runs until standard input ends; `words` are the port, the number of jobs, and addresses if not all are meant. What happens is
/// said on standard output, line by line.
pub fn run(words: &[OsString]) -> Result<Status> {
    let service = service(words).ok_or_else(|| {
        Error::new(
            Code::BadArguments,
            "a port and a number of jobs are missing",
        )
    })?;
    announce(service.map_err(trouble)?).map_err(trouble)?;
    Ok(Status::OK)
}

fn trouble(err: mdns_sd::Error) -> Error {
    Error::new(Code::ConnectFailed, err.to_string())
}

fn announce(service: ServiceInfo) -> mdns_sd::Result<()> {
    let name = service.get_fullname().to_owned();
    let daemon: ServiceDaemon = quiet_daemon()?;
    let events = daemon.monitor()?;
    thread::spawn(move || tell(&events));
    daemon.register(service)?;
    // Nothing comes; the end does, however the daemon ends.
    let _ = io::stdin().read_to_end(&mut Vec::new());
    let _ = daemon.unregister(&name)?.recv_timeout(FAREWELL);
    let _ = daemon.shutdown()?.recv_timeout(FAREWELL);
    Ok(())
}

fn tell(events: &Receiver<DaemonEvent>) {
    let mut told = Vec::new();
    while let Ok(event) = events.recv() {
        let line = match event {
            DaemonEvent::Announce(name, _) => format!("announced as {}", instance(&name)),
            DaemonEvent::NameChange(change) => format!(
                "{} is taken by another machine; now {}",
                instance(&change.original),
                instance(&change.new_name)
            ),
            DaemonEvent::Error(err) => format!("trouble: {err}"),
            _ => continue,
        };
        // It happens on each interface, and again and again.
        if !told.contains(&line) && told.len() < 100 {
            let _ = writeln!(io::stdout(), "{line}");
            told.push(line);
        }
    }
}

/// The name alone.
fn instance(name: &str) -> &str {
    name.strip_suffix(SERVICE)
        .map_or(name, |name| name.trim_end_matches('.'))
}

fn service(words: &[OsString]) -> Option<mdns_sd::Result<ServiceInfo>> {
    let word = |at: usize| words.get(at).and_then(|word| word.to_str());
    let (port, jobs) = (word(0)?.parse().ok()?, word(1)?.parse().ok()?);
    let addresses: Option<Vec<IpAddr>> = words
        .get(2..)?
        .iter()
        .map(|word| word.to_str()?.parse().ok())
        .collect();
    let addresses = addresses?;
    let compiler = cc();
    let built_for = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let offer = Offer {
        cpus: thread::available_parallelism().map_or(1, usize::from),
        jobs,
        version: env!("CARGO_PKG_VERSION"),
        built_for: &built_for,
        compiler: compiler.as_ref(),
    };
    let service = compiler
        .as_ref()
        .map_or_else(|| SERVICE.to_owned(), |compiler| compiler.service());
    let name = machine::name().unwrap_or_else(|| "unknown".to_owned());
    let short = name.split('.').next().unwrap_or_default();
    // A name of our own, so that nothing else on this machine has to agree on its addresses.
    let host = format!("{short}-distccd.local.");
    let records = offer.records();
    let info = ServiceInfo::new(
        &service,
        &format!("distcc@{name}"),
        &host,
        &addresses[..],
        port,
        &records[..],
    );
    Some(info.map(|info| match addresses.is_empty() {
        true => info.enable_addr_auto(),
        false => info,
    }))
}
