//! Looks for daemons on the local network as long as clients want to know, and writes those that it has found to the file
//! that clients read.

use crate::farm::zeroconf::{hosts_file, lock_file};
use crate::model::error::{Code, Error, Result, Status};
use crate::model::zeroconf::{self, Compiler, SERVICE};
use crate::os::daemonize;
use crate::os::lock::{try_lock, Attempt};
use mdns_sd::{IfKind, ResolvedService, ScopedIp, ServiceDaemon, ServiceEvent};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

/// How long nobody must have asked before we end.
const UNUSED: Duration = Duration::from_secs(300);

/// How often to look whether somebody has.
const LOOK: Duration = Duration::from_secs(2);

/// How long to gather before the first list is written: at most, and after the last that was found.
const GATHER: Duration = Duration::from_millis(1300);
const SETTLE: Duration = Duration::from_millis(200);

/// How long daemons that come and go together may take to do so before the list is written anew.
const CHANGE: Duration = Duration::from_millis(50);

/// More hosts than this are not written: nobody has so many, but anybody can tell of so many.
const HOSTS_MAX: usize = 1000;

/// Runs until nobody wants to know any more; `words` is the folder.
pub fn run(words: &[OsString]) -> Result<Status> {
    let folder = words.first().map(Path::new);
    let folder = folder.ok_or_else(|| Error::new(Code::BadArguments, "a folder is missing"))?;
    // Nothing of the client's session, pipes and files is ours.
    daemonize::leave_session().map_err(|err| Error::io("leave the session", &err))?;
    let lock = match try_lock(&lock_file(folder)) {
        Ok(Attempt::Held(lock)) => lock,
        Ok(Attempt::Busy) => return Ok(Status::OK),
        Err(err) => return Err(Error::io("lock the list of hosts", &err)),
    };
    let file = List::new(folder);
    let ended = match search(&file) {
        Ok(()) => Ok(Status::OK),
        Err(err) => {
            // Whoever looks into the file learns why it has no hosts.
            let _ = file.write(&format!("# {}\n", err.to_string().replace('\n', " ")));
            Err(Error::new(Code::ConnectFailed, err.to_string()))
        }
    };
    // What was found is not true for ever.
    if ended.is_ok() && file.is_wanted() {
        let _ = fs::remove_file(&file.hosts);
    }
    drop(lock);
    ended
}

fn search(file: &List) -> mdns_sd::Result<()> {
    let daemon = quiet_daemon()?;
    // All are looked for, and those of our compiler chosen by what they tell: a question for these alone is answered by our own
    // daemons in a way that only other programs understand.
    let compiler = cc();
    let events = daemon.browse(SERVICE)?;
    let begun = Instant::now();
    let mut found = BTreeMap::new();
    // When the list is to be written, as far as that is known.
    let mut due = Some(begun + GATHER);
    let mut is_first = true;
    loop {
        let now = Instant::now();
        let wait = due.map_or(LOOK, |due| due.saturating_duration_since(now).min(LOOK));
        match events.recv_timeout(wait) {
            Ok(event) => {
                if note(&mut found, compiler.as_ref(), event) {
                    let settled = Instant::now() + if is_first { SETTLE } else { CHANGE };
                    due = Some(due.map_or(settled, |due| due.min(settled)));
                }
            }
            // What browses has ended.
            Err(_) if events.is_disconnected() => break,
            Err(_) if !file.is_wanted() => break,
            Err(_) => {}
        }
        if due.is_some_and(|due| due <= Instant::now()) {
            due = None;
            is_first = false;
            // A full disk may have room again at the next change.
            let _ = file.write(&text(compiler.as_ref(), &found));
        }
    }
    daemon.shutdown()?;
    Ok(())
}

/// What speaks multicast DNS, on all interfaces but the loopback one.
pub fn quiet_daemon() -> mdns_sd::Result<ServiceDaemon> {
    let daemon = ServiceDaemon::new()?;
    daemon.disable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6])?;
    Ok(daemon)
}

/// Notes what has happened; whether that changes the list.
fn note(
    found: &mut BTreeMap<String, String>,
    compiler: Option<&Compiler>,
    event: ServiceEvent,
) -> bool {
    match event {
        ServiceEvent::ServiceResolved(service) => {
            let name = service.fullname.clone();
            let has_room = found.len() < HOSTS_MAX || found.contains_key(&name);
            match word(&service).filter(|_| has_room && suits(compiler, &service)) {
                Some(word) => found.insert(name, word.clone()) != Some(word),
                None => found.remove(&name).is_some(),
            }
        }
        ServiceEvent::ServiceRemoved(_, name) => found.remove(&name).is_some(),
        _ => false,
    }
}

/// Whether a daemon has the compiler that is here; if none is, any will do.
fn suits(compiler: Option<&Compiler>, service: &ResolvedService) -> bool {
    let told = |name| service.get_property_val_str(name);
    compiler.is_none_or(|compiler| compiler.is_told(told("cc_machine"), told("cc_version")))
}

/// A daemon as a word of a host list.
fn word(service: &ResolvedService) -> Option<String> {
    let addresses = service.get_addresses().iter();
    let address = addresses.min_by_key(|address| {
        let plain = address.to_ip_addr();
        (zeroconf::reluctance(plain), plain)
    })?;
    let told = |name| service.get_property_val_str(name);
    let jobs = zeroconf::jobs(told("jobs"), told("cpus"));
    let plain = address.to_ip_addr();
    let scope = match address {
        ScopedIp::V6(scoped) if zeroconf::reluctance(plain) > 1 => {
            Some(scoped.scope_id().name.clone())
        }
        _ => None,
    };
    let port = service.get_port();
    (port != 0).then(|| zeroconf::host(plain, scope.as_deref(), port, jobs))
}

/// What the file holds: never nothing, so that clients see that it is whole.
fn text(compiler: Option<&Compiler>, found: &BTreeMap<String, String>) -> String {
    let mut text = match compiler {
        Some(cc) => format!("# hosts whose cc is {} for {}\n", cc.version, cc.machine),
        None => "# hosts of any compiler, since there is no cc here\n".to_owned(),
    };
    for word in found.values() {
        text.push_str(word);
        text.push('\n');
    }
    text
}

/// What the compiler here says of itself.
pub fn cc() -> Option<Compiler> {
    let ask = |option: &str| {
        let out = Command::new("cc")
            .arg(option)
            .env("_DISTCC_SAFEGUARD", "1") // If that is one of our links.
            .env("DISTCC_HOSTS", "localhost")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .ok()?;
        let said = String::from_utf8_lossy(&out.stdout).trim().to_owned();
        (out.status.success() && !said.is_empty()).then_some(said)
    };
    Some(Compiler {
        machine: ask("-dumpmachine")?,
        version: ask("-dumpversion")?,
    })
}

/// The file for clients.
struct List {
    hosts: PathBuf,
    lock: PathBuf,
    /// Device and number of the lock file, which is locked.
    lock_file: Option<(u64, u64)>,
}

impl List {
    fn new(folder: &Path) -> List {
        let lock = lock_file(folder);
        let meta = fs::metadata(&lock).ok();
        List {
            hosts: hosts_file(folder),
            lock_file: meta.map(|meta| (meta.dev(), meta.ino())),
            lock,
        }
    }

    /// Writes it so that nobody reads half of it.
    fn write(&self, text: &str) -> io::Result<()> {
        if !self.hosts.exists() {
            // Who waits for it hears of its closing.
            return fs::write(&self.hosts, text);
        }
        let new = self.hosts.with_extension("new");
        fs::write(&new, text)?;
        fs::rename(&new, &self.hosts)
    }

    /// Whether a client has asked lately, and for what we write.
    fn is_wanted(&self) -> bool {
        let Ok(meta) = fs::metadata(&self.lock) else {
            return false;
        };
        let read = File::open(&self.hosts).and_then(|file| file.metadata()?.accessed());
        let asked = meta.modified().ok().max(read.ok());
        let age = asked.and_then(|asked| SystemTime::now().duration_since(asked).ok());
        Some((meta.dev(), meta.ino())) == self.lock_file && age.is_none_or(|age| age < UNUSED)
    }
}
