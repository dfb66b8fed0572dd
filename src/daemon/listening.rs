//! The sockets that a daemon listens on: opened at the addresses of its configuration, or passed on by a service manager.

use super::config::Config;
use crate::model::error::{Code, Error, Result};
use crate::os::net;
use std::io;
use std::net::{SocketAddr, TcpListener};

/// Listens on all addresses of the configuration.
///
/// # Errors
/// [`Code::BindFailed`] naming the address that does not work. Of one name's addresses some may not be this machine's as long
/// as others are.
pub fn listen(config: &Config) -> Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for addresses in &config.listen {
        listeners.extend(listen_at(addresses, config)?);
    }
    Ok(listeners)
}

fn listen_at(addresses: &[SocketAddr], config: &Config) -> Result<Vec<TcpListener>> {
    let mut listeners: Vec<TcpListener> = Vec::new();
    let mut fault = None;
    for address in addresses {
        let first = listeners.first().map(TcpListener::local_addr);
        let both = takes_both(*address, config);
        let (address, is_chosen) = match (address.port(), first) {
            // A free port is chosen once, and taken for the other addresses where it is free, too.
            (0, Some(Ok(first))) => (SocketAddr::new(address.ip(), first.port()), true),
            _ => (*address, false),
        };
        match net::listen(address, both, config.defer_accept) {
            Ok(listener) => listeners.push(listener),
            Err(_) if is_chosen => {}
            Err(err) if err.kind() == io::ErrorKind::AddrInUse => {
                return Err(failed(address, &err, "--port", "--listen"))
            }
            Err(err) => {
                fault.get_or_insert_with(|| failed(address, &err, "--port", "--listen"));
            }
        }
    }
    match (listeners.is_empty(), fault) {
        (false, _) => Ok(listeners),
        (true, Some(fault)) => Err(fault),
        (true, None) => Err(Error::new(Code::BindFailed, "no address to listen on")),
    }
}

/// Whether a socket of IPv6 is to take connections of IPv4 as well: that is what `--listen ::` alone means.
fn takes_both(address: SocketAddr, config: &Config) -> bool {
    let has_own = config.listen.iter().flatten().any(|other| {
        other.is_ipv4() && other.port() == address.port() && other.ip().is_unspecified()
    });
    address.is_ipv6() && address.ip().is_unspecified() && !has_own
}

/// Listens for those who look at the statistics: on the first address that works, if there are any.
///
/// # Errors
/// [`Code::BindFailed`] naming the address that does not work.
pub fn listen_for_statistics(config: &Config) -> Result<Option<TcpListener>> {
    let mut fault = None;
    for address in &config.statistics {
        match net::listen(*address, true, false) {
            Ok(listener) => return Ok(Some(listener)),
            Err(err) => {
                let failed = || failed(*address, &err, "--stats-port", "--stats-listen");
                fault.get_or_insert_with(failed);
            }
        }
    }
    fault.map_or(Ok(None), Err)
}

/// Why it does not work, and which options are the way out.
fn failed(address: SocketAddr, err: &io::Error, port: &str, listen: &str) -> Error {
    let way_out = match err.kind() {
        io::ErrorKind::AddrInUse => {
            format!("; is another distccd running? {port} chooses another")
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("; {listen} must be an address of this machine")
        }
        _ => String::new(),
    };
    let why = format!("cannot listen on {address}: {err}{way_out}");
    Error::new(Code::BindFailed, why)
}

/// The addresses of listening sockets, for people.
pub fn names(listeners: &[TcpListener]) -> Vec<String> {
    let addresses = listeners.iter().filter_map(|one| one.local_addr().ok());
    addresses.map(|address| address.to_string()).collect()
}
