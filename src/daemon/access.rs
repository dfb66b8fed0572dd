//! Who may connect: the addresses of `--allow` and `--allow-private`, or this machine alone if neither is given.

use crate::model::error::{Code, Error, Result};
use std::net::{IpAddr, Ipv6Addr, ToSocketAddrs};

/// What `--allow-private` stands for.
const PRIVATE: [&str; 7] = [
    "192.168.0.0/16",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "127.0.0.0/8",
    "fe80::/10",
    "fc00::/7",
    "::1",
];

/// What is allowed if nothing is said.
const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1"];

/// Addresses whose first `bits` are those of `network`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Rule {
    network: IpAddr,
    bits: u32,
}

/// The addresses that may connect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Access {
    rules: Vec<Rule>,
    default: bool,
}

impl Access {
    /// Reads the values of `--allow`; names are resolved now, to all their addresses.
    ///
    /// # Errors
    /// [`Code::BadArguments`] naming the value that can't be read or resolved.
    pub fn new(allow: &[String], private: bool) -> Result<Access> {
        let mut rules = Vec::new();
        for value in allow {
            rules.extend(read(value)?);
        }
        let default = !private && rules.is_empty();
        let given: &[&str] = match (private, default) {
            (true, _) => &PRIVATE,
            (false, true) => &LOOPBACK,
            (false, false) => &[],
        };
        for value in given {
            rules.extend(read(value)?);
        }
        Ok(Access { rules, default })
    }

    /// Whether nothing was allowed, so that only this machine may connect.
    pub fn is_default(&self) -> bool {
        self.default
    }

    /// Whether any IPv6 address is allowed.
    pub fn mentions_ipv6(&self) -> bool {
        self.rules.iter().any(|rule| rule.network.is_ipv6())
    }

    /// Whether `address` may connect.
    pub fn admits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.rules.iter().any(|rule| rule.covers(address))
    }
}

impl Rule {
    fn covers(self, address: IpAddr) -> bool {
        match (self.network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - self.bits).unwrap_or(0);
                u32::from(network) & mask == u32::from(address) & mask
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - self.bits).unwrap_or(0);
                u128::from(network) & mask == u128::from(address) & mask
            }
            _ => false,
        }
    }
}

/// `HOST` or `ADDRESS/BITS`.
fn read(value: &str) -> Result<Vec<Rule>> {
    let fault = |why: &str| {
        Error::new(
            Code::BadArguments,
            format!("--allow {value}: {why}; write an address, a name, or a network such as 192.168.1.0/24"),
        )
    };
    let (host, mask) = match value.split_once('/') {
        Some((host, mask)) => (host, Some(mask)),
        None => (value, None),
    };
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    let Some(mask) = mask else {
        return match bare.parse::<IpAddr>() {
            Ok(address) => Ok(vec![whole(address)]),
            Err(_) => resolve(host).ok_or_else(|| fault("the name has no address")),
        };
    };
    let address: IpAddr = bare
        .parse()
        .map_err(|_| fault("a mask needs a complete address before it"))?;
    let size = if address.is_ipv4() { 32 } else { 128 };
    let digits = !mask.is_empty() && mask.bytes().all(|byte| byte.is_ascii_digit());
    let bits = mask.parse().ok().filter(|bits| digits && *bits <= size);
    let bits: u32 = bits.ok_or_else(|| {
        fault(&format!(
            "the mask must be a number of bits from 0 to {size}"
        ))
    })?;
    Ok(vec![canonical(address, bits)])
}

fn whole(address: IpAddr) -> Rule {
    canonical(address, if address.is_ipv4() { 32 } else { 128 })
}

/// A network of IPv4 addresses mapped into IPv6 is one of IPv4.
fn canonical(network: IpAddr, bits: u32) -> Rule {
    match (network, network.to_canonical()) {
        (IpAddr::V6(Ipv6Addr { .. }), mapped @ IpAddr::V4(_)) if bits >= 96 => Rule {
            network: mapped,
            bits: bits - 96,
        },
        _ => Rule { network, bits },
    }
}

fn resolve(name: &str) -> Option<Vec<Rule>> {
    let found = (name, 0).to_socket_addrs().ok()?;
    let rules: Vec<Rule> = found.map(|found| whole(found.ip())).collect();
    (!name.is_empty() && !rules.is_empty()).then_some(rules)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn access(allow: &[&str]) -> Access {
        let allow: Vec<String> = allow.iter().map(|value| value.to_string()).collect();
        Access::new(&allow, false).unwrap()
    }

    fn admits(access: &Access, address: &str) -> bool {
        access.admits(address.parse().unwrap())
    }

    #[test]
    fn only_this_machine_by_default() {
        let access = access(&[]);
        assert!(access.is_default());
        for address in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(admits(&access, address), "{address}");
        }
        for address in ["10.0.0.1", "192.168.1.1", "fe80::1", "::2"] {
            assert!(!admits(&access, address), "{address}");
        }
    }

    #[test]
    fn networks_and_mapped_addresses() {
        let access = access(&[
            "10.1.0.0/16",
            "2001:db8::/33",
            "[::5]",
            "::ffff:192.0.2.0/120",
        ]);
        for address in [
            "10.1.255.255",
            "::ffff:10.1.2.3",
            "2001:db8:7fff::",
            "::5",
            "192.0.2.200",
        ] {
            assert!(admits(&access, address), "{address}");
        }
        for address in [
            "10.2.0.0",
            "127.0.0.1",
            "2001:db8:8000::",
            "::1",
            "::10.1.2.3",
        ] {
            assert!(!admits(&access, address), "{address}");
        }
        assert!(admits(&self::access(&["0.0.0.0/0"]), "8.8.8.8"));
        assert!(!admits(&self::access(&["0.0.0.0/0"]), "::8"));
        assert!(admits(&self::access(&["::/0"]), "::8"));
    }

    #[test]
    fn private_networks() {
        let access = Access::new(&["8.8.8.8".to_owned()], true).unwrap();
        for address in ["8.8.8.8", "172.31.0.1", "::1", "fd00::1"] {
            assert!(admits(&access, address), "{address}");
        }
        assert!(!admits(&access, "172.32.0.1"));
    }

    #[test]
    fn what_can_not_be_read_is_named() {
        for value in [
            "",
            "/8",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/8x",
            "10.0.0.0/+8",
            "10.0.0.0/abc",
            "::/129",
            "localhost/8",
            "10/8",
        ] {
            let err = Access::new(&[value.to_owned()], false).unwrap_err();
            assert_eq!(err.code, Code::BadArguments);
            assert!(err.message.starts_with(&format!("--allow {value}: ")));
        }
    }
}
