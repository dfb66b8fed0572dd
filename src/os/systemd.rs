//! The talk with a service manager such as systemd: the sockets that it has opened for us, and what it hears of how we are.
//! Without one nothing is said. By hand, as it is a few variables and lines of text.

#![allow(unsafe_code)] // The clock that it compares times of is only to be had from libc.

use super::process::inherited;
use socket2::{Domain, SockRef, Type};
use std::env;
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The first descriptor that is passed on.
const FIRST: i32 = 3;

/// A socket that was opened for us.
#[derive(Debug)]
pub enum Passed {
    /// One to accept connections from.
    Listening(TcpListener),
    /// A connection.
    Connected(OwnedFd),
}

/// The sockets that were opened for this process, in their order. To be asked for once, before anything is opened.
pub fn passed() -> io::Result<Vec<Passed>> {
    let number = |name: &str| env::var(name).ok()?.parse::<i32>().ok();
    let is_ours = number("LISTEN_PID") == i32::try_from(std::process::id()).ok();
    let count = number("LISTEN_FDS").filter(|_| is_ours).unwrap_or(0);
    (FIRST..FIRST.saturating_add(count))
        .map(|fd| inherited(fd).and_then(passed_socket))
        .collect()
}

fn passed_socket(fd: OwnedFd) -> io::Result<Passed> {
    let socket = SockRef::from(&fd);
    let local = socket.local_addr()?;
    let is_internet = [Domain::IPV4, Domain::IPV6].contains(&local.domain());
    if !is_internet || socket.r#type()? != Type::STREAM {
        return Err(io::Error::other("one of them is no TCP socket"));
    }
    Ok(match socket.is_listener()? {
        true => Passed::Listening(TcpListener::from(fd)),
        false => Passed::Connected(fd),
    })
}

/// The service manager.
#[derive(Debug)]
pub struct Manager {
    at: Option<(UnixDatagram, SocketAddr)>,
    /// How often it wants to hear that we live.
    pub watchdog: Option<Duration>,
}

impl Manager {
    /// The one that our environment names, if it names one.
    pub fn find() -> Manager {
        let name = env::var("NOTIFY_SOCKET").unwrap_or_default();
        let address = match name.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name).ok(),
            None if name.starts_with('/') => SocketAddr::from_pathname(&name).ok(),
            None => None,
        };
        let at = address.and_then(|address| Some((UnixDatagram::unbound().ok()?, address)));
        if let Some((socket, _)) = &at {
            // One that does not listen must not stop us.
            let _ = socket.set_nonblocking(true);
        }
        let number = |name: &str| env::var(name).ok()?.parse::<u64>().ok();
        let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|every| *every > 0 && is_ours);
        Manager {
            watchdog: watchdog.filter(|_| at.is_some()).map(Duration::from_micros),
            at,
        }
    }

    /// We serve, and what we do.
    pub fn ready(&self, status: &str) {
        let pid = std::process::id();
        self.tell(&format!("READY=1\nMAINPID={pid}\nSTATUS={status}"));
    }

    /// We read our configuration again; [`Manager::ready`] says when we have.
    pub fn reloading(&self) {
        let now = monotonic().as_micros();
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={now}"));
    }

    /// We end.
    pub fn stopping(&self, status: &str) {
        self.tell(&format!("STOPPING=1\nSTATUS={status}"));
    }

    /// We live.
    pub fn alive(&self) {
        if self.watchdog.is_some() {
            self.tell("WATCHDOG=1");
        }
    }

    fn tell(&self, text: &str) {
        if let Some((socket, address)) = &self.at {
            // Whoever does not listen is not told.
            let _ = socket.send_to_addr(text.as_bytes(), address);
        }
    }
}

fn monotonic() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the structure lives during the call. Every system has this clock, so it cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}
