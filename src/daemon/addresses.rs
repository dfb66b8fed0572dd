//! An address to listen on, as it is written in an option.

use crate::model::error::{Code, Error, Result};
use crate::os::names;
use std::net::{IpAddr, SocketAddr};

/// The name in such a value, if it has one in place of an address.
pub fn name_in(value: &str) -> Option<&str> {
    let host = value.split(':').next().unwrap_or_default();
    let is_address = value.parse::<IpAddr>().is_ok() || host.parse::<IpAddr>().is_ok();
    (!is_address && !value.starts_with('[')).then_some(host)
}

/// `ADDRESS`, `ADDRESS:PORT`, `[ADDRESS]:PORT`, or a name in place of the address, which stands for all that it has. Without a
/// port it is `port`.
///
/// # Errors
/// [`Code::BindFailed`] naming option and value.
pub fn at(option: &str, value: &str, port: u16) -> Result<Vec<SocketAddr>> {
    let fault = |why: &str| {
        let message = format!("{option} {value}: {why}");
        Error::new(Code::BindFailed, message)
    };
    let (host, own_port) = match value.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, port.strip_prefix(':').or(Some(""))),
            None => return Err(fault("the bracket is not closed")),
        },
        None => match value.split_once(':') {
            Some((host, port)) if !port.contains(':') => (host, Some(port)),
            _ => (value, None),
        },
    };
    let port = match own_port.map(str::parse::<u16>) {
        None => port,
        Some(Ok(port)) => port,
        Some(Err(_)) => return Err(fault("the port must be from 0 to 65535")),
    };
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let found = names::addresses(host, port).unwrap_or_default();
    if found.is_empty() || host.is_empty() {
        return Err(fault("neither an address nor a name that has one"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_with_and_without_ports() {
        for (value, expected) in [
            ("10.0.0.1", "10.0.0.1:5"),
            ("10.0.0.2:40", "10.0.0.2:40"),
            ("::1", "[::1]:5"),
            ("[::1]", "[::1]:5"),
            ("[::1]:7", "[::1]:7"),
            ("127.1", "127.0.0.1:5"),
            ("fe80::1%lo", "[fe80::1%1]:5"),
            ("[fe80::1%lo]:5", "[fe80::1%1]:5"),
        ] {
            let found = at("--listen", value, 5).unwrap();
            assert_eq!(found[0].to_string(), expected, "{value}");
        }
        for wrong in [
            "",
            "[::1",
            "[::1]7",
            "10.0.0.1:x",
            "10.0.0.1:70000",
            ":5",
            "no.such.host.invalid",
        ] {
            let err = at("--listen", wrong, 5).unwrap_err();
            assert_eq!(err.code, Code::BindFailed, "{wrong}");
            assert!(err.message.starts_with(&format!("--listen {wrong}: ")));
        }
    }
}
