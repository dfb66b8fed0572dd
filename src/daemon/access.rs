//! Who may connect: the addresses of `--allow` and `--allow-private`, or this machine alone if neither is given.

use crate::model::error::{Code, Error, Result};
use crate::os::names;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

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
    /// The interface that an address of one link must belong to; 0: any.
    scope: u32,
}

/// The addresses that may connect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Access {
    rules: Vec<Rule>,
    default: bool,
    text: String,
}

impl Access {
    /// Reads the values of `--allow`; names are resolved now, to all their addresses.
    ///
    /// # Errors
    /// [`Code::BadArguments`] naming the value that can't be read or resolved.
    pub fn new(allow: &[String], private: bool) -> Result<Access> {
        let mut rules = Vec::new();
        for value in allow {
            rules.extend(read_list(value)?);
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
        let mut texts: Vec<&str> = allow.iter().map(String::as_str).collect();
        texts.extend(private.then_some("private networks"));
        texts.extend(default.then_some("this machine"));
        Ok(Access {
            rules,
            default,
            text: texts.join(", "),
        })
    }

    /// Whether nothing was allowed, so that only this machine may connect.
    pub fn is_default(&self) -> bool {
        self.default
    }

    /// What is allowed, as it was written.
    pub fn describe(&self) -> &str {
        &self.text
    }

    /// Whether who has this address may connect.
    pub fn admits(&self, address: SocketAddr) -> bool {
        let scope = match address {
            SocketAddr::V4(_) => 0,
            SocketAddr::V6(address) => address.scope_id(),
        };
        let address = address.ip().to_canonical();
        self.rules.iter().any(|rule| rule.covers(address, scope))
    }
}

impl Rule {
    fn covers(self, address: IpAddr, scope: u32) -> bool {
        match (self.network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - self.bits).unwrap_or(0);
                u32::from(network) & mask == u32::from(address) & mask
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - self.bits).unwrap_or(0);
                let is_there = self.scope == 0 || self.scope == scope;
                is_there && u128::from(network) & mask == u128::from(address) & mask
            }
            _ => false,
        }
    }
}

/// Several, separated by commas.
fn read_list(value: &str) -> Result<Vec<Rule>> {
    let mut rules = Vec::new();
    for part in value.split(',') {
        rules.extend(read(part.trim())?);
    }
    Ok(rules)
}

/// `HOST`, `ADDRESS/BITS` or `ADDRESS/MASK`.
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
            Ok(address) => Ok(vec![whole(address, 0)]),
            Err(_) => resolve(bare).ok_or_else(|| fault("the name has no address")),
        };
    };
    let (address, scope) =
        address_of(bare).ok_or_else(|| fault("a mask needs a complete address before it"))?;
    let size = if address.is_ipv4() { 32 } else { 128 };
    let bits = match mask.parse::<Ipv4Addr>() {
        Ok(mask) if address.is_ipv4() => bits_of(mask)
            .ok_or_else(|| fault("the bits of a mask must be set from the left without gaps"))?,
        _ => {
            let digits = !mask.is_empty() && mask.bytes().all(|byte| byte.is_ascii_digit());
            let bits = mask.parse().ok().filter(|bits| digits && *bits <= size);
            bits.ok_or_else(|| {
                fault(&format!(
                    "the mask must be a number of bits from 0 to {size}"
                ))
            })?
        }
    };
    Ok(vec![Rule {
        scope,
        ..canonical(address, bits)
    }])
}

/// An address that is written out, and the interface behind its `%`.
fn address_of(text: &str) -> Option<(IpAddr, u32)> {
    if let Ok(address) = text.parse() {
        return Some((address, 0));
    }
    let (address, _) = text.split_once('%')?;
    address.parse::<Ipv6Addr>().ok()?;
    // The system knows the numbers of its interfaces.
    match (text, 0).to_socket_addrs().ok()?.next()? {
        SocketAddr::V6(found) => Some((IpAddr::V6(*found.ip()), found.scope_id())),
        SocketAddr::V4(_) => None,
    }
}

/// How many bits a mask such as 255.255.0.0 has.
fn bits_of(mask: Ipv4Addr) -> Option<u32> {
    let mask = u32::from(mask);
    let bits = mask.leading_ones();
    (mask.count_ones() == bits).then_some(bits)
}

fn whole(address: IpAddr, scope: u32) -> Rule {
    let bits = if address.is_ipv4() { 32 } else { 128 };
    Rule {
        scope,
        ..canonical(address, bits)
    }
}

/// A network of IPv4 addresses mapped into IPv6 is one of IPv4.
fn canonical(network: IpAddr, bits: u32) -> Rule {
    let scope = 0;
    match (network, network.to_canonical()) {
        (IpAddr::V6(_), mapped @ IpAddr::V4(_)) if bits >= 96 => Rule {
            network: mapped,
            bits: bits - 96,
            scope,
        },
        _ => Rule {
            network,
            bits,
            scope,
        },
    }
}

fn resolve(name: &str) -> Option<Vec<Rule>> {
    let found = names::addresses(name, 0).ok()?;
    let rules: Vec<Rule> = found
        .into_iter()
        .map(|found| match found {
            SocketAddr::V4(found) => whole(IpAddr::V4(*found.ip()), 0),
            SocketAddr::V6(found) => whole(IpAddr::V6(*found.ip()), found.scope_id()),
        })
        .collect();
    (!name.is_empty() && !rules.is_empty()).then_some(rules)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::net::SocketAddrV6;

    fn access(allow: &[&str]) -> Access {
        let allow: Vec<String> = allow.iter().map(|value| value.to_string()).collect();
        Access::new(&allow, false).unwrap()
    }

    fn admits(access: &Access, address: &str) -> bool {
        let address: IpAddr = address.parse().unwrap();
        access.admits(SocketAddr::new(address, 40000))
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
        assert_eq!(access.describe(), "8.8.8.8, private networks");
    }

    #[test]
    fn masks_with_dots_lists_and_names() {
        let access = access(&["10.1.0.0/255.255.0.0,192.0.2.1", "localhost", "127.2"]);
        for address in ["10.1.9.9", "192.0.2.1", "127.0.0.1", "127.0.0.2"] {
            assert!(admits(&access, address), "{address}");
        }
        for address in ["10.2.0.0", "192.0.2.2", "127.0.0.3"] {
            assert!(!admits(&access, address), "{address}");
        }
        assert!(admits(&self::access(&["1.2.3.4/0.0.0.0"]), "8.8.8.8"));
    }

    #[test]
    fn an_address_of_a_link_may_be_bound_to_it() {
        let from = |address: &str, scope| {
            let ip = address.parse().unwrap();
            SocketAddr::V6(SocketAddrV6::new(ip, 40000, 0, scope))
        };
        // The loopback interface is the first one everywhere.
        let one = access(&["fe80::1%lo", "fe80:0:0:1::%lo/64"]);
        let two = access(&["[fe80::1%1]"]);
        let any = access(&["fe80::1"]);
        for (address, scope, expected) in [
            ("fe80::1", 1, [true, true, true]),
            ("fe80::1", 2, [false, false, true]),
            ("fe80:0:0:1::7", 1, [true, false, false]),
            ("fe80:0:0:1::7", 3, [false, false, false]),
        ] {
            let found = [&one, &two, &any].map(|access| access.admits(from(address, scope)));
            assert_eq!(found, expected, "{address}%{scope}");
        }
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
            "10.0.0.0/255.0.255.0",
            "::/255.0.0.0",
            "fe80::1%nosuch0",
            "fe80::1%nosuch0/64",
            "10.0.0.1%lo/8",
        ] {
            let err = Access::new(&[value.to_owned()], false).unwrap_err();
            assert_eq!(err.code, Code::BadArguments);
            assert!(err.message.starts_with(&format!("--allow {value}: ")));
        }
    }
}
