//! The addresses that a name has. The C library knows; but musl knows only files and the DNS: where the machine's
//! `nsswitch.conf` names other services for hosts (mDNS, LDAP, containers), its `getent` is asked, which asks them. That takes
//! 1.4 ms, so not for names that the DNS knows, unless a service might know better.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::process::{Command, Stdio};

/// Where a machine says which services know hosts.
const SERVICES: &str = "/etc/nsswitch.conf";

/// Services, by how their names begin, that add to what the DNS knows, and do not differ from it.
const ADDERS: [&str; 6] = [
    "mdns",
    "myhostname",
    "mymachines",
    "resolve",
    "libvirt",
    "wins",
];

/// What is asked when about a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Order {
    LibraryAlone,
    LibraryFirst,
    GetentFirst,
}

/// The program that asks all of them.
const GETENT: &str = "getent";

/// The addresses of `name`, which may be an address itself, with `port`. It takes as long as the machine's services do.
///
/// # Errors
/// The name has none.
pub fn addresses(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    match cfg!(target_env = "musl") {
        true => with_all_services(Path::new(SERVICES), GETENT, name, port),
        false => by_library(name, port),
    }
}

fn by_library(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    (name, port).to_socket_addrs().map(Iterator::collect)
}

fn with_all_services(
    services: &Path,
    getent: &str,
    name: &str,
    port: u16,
) -> io::Result<Vec<SocketAddr>> {
    let is_written_out = name.contains(':') || name.chars().all(|c| matches!(c, '0'..='9' | '.'));
    let order = match is_written_out {
        true => Order::LibraryAlone,
        false => {
            std::fs::read_to_string(services).map_or(Order::LibraryAlone, |text| order(&text, name))
        }
    };
    let ask = || by_getent(getent, name, port);
    match order {
        Order::LibraryAlone => by_library(name, port),
        Order::LibraryFirst => by_library(name, port).or_else(|err| ask().unwrap_or(Err(err))),
        Order::GetentFirst => ask().unwrap_or_else(|| by_library(name, port)),
    }
}

fn order(services: &str, name: &str) -> Order {
    let line = services
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("hosts:"));
    let named = line.and_then(|line| line.split('#').next());
    // In brackets is what is to be done with an answer.
    let words = named.unwrap_or_default().split(['[', ']']).step_by(2);
    let others: Vec<&str> = words
        .flat_map(str::split_whitespace)
        .filter(|word| !matches!(*word, "files" | "dns"))
        .collect();
    let adds = |word: &&str| ADDERS.iter().any(|adder| word.starts_with(adder));
    match others.iter().all(adds) {
        true if others.is_empty() => Order::LibraryAlone,
        // Nobody but mDNS is to be asked about these.
        true if !name.trim_end_matches('.').ends_with(".local") => Order::LibraryFirst,
        _ => Order::GetentFirst,
    }
}

/// What the machine's services say; None if they can't be asked.
fn by_getent(getent: &str, name: &str, port: u16) -> Option<io::Result<Vec<SocketAddr>>> {
    /// The status of one that has asked all, and nobody knows.
    const UNKNOWN: i32 = 2;
    let mut command = Command::new(getent);
    command.args(["ahosts", "--", name]);
    command.stdin(Stdio::null()).stderr(Stdio::null());
    let done = match command.output() {
        Ok(done) => done,
        Err(err) => {
            log::debug!("run {getent}: {err}");
            return None;
        }
    };
    // One line for each address and kind of socket.
    let told = String::from_utf8_lossy(&done.stdout);
    let lines = told.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let address = words.next()?;
        (words.next() == Some("STREAM")).then_some(address)
    });
    let found: Vec<SocketAddr> = lines
        .flat_map(|address| by_library(address, port).unwrap_or_default())
        .collect();
    match done.status.code() {
        Some(0) if !found.is_empty() => Some(Ok(found)),
        Some(UNKNOWN) => Some(Err(io::Error::new(
            io::ErrorKind::NotFound,
            "no service of this machine knows the name",
        ))),
        _ => {
            log::debug!("{getent} can't be asked: {}", done.status);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn getent_is_asked_where_it_may_know_more() {
        use Order::{GetentFirst, LibraryAlone, LibraryFirst};
        for (services, name, expected) in [
            ("", "a", LibraryAlone),
            ("passwd: files ldap\nhosts: files dns\n", "a", LibraryAlone),
            ("hosts:files dns # ldap", "a.local", LibraryAlone),
            (
                "  hosts:\tfiles [NOTFOUND=continue SUCCESS=merge] dns",
                "a",
                LibraryAlone,
            ),
            (
                "hosts: files mdns4_minimal [NOTFOUND=return] dns",
                "a",
                LibraryFirst,
            ),
            (
                "hosts: files mdns4_minimal [NOTFOUND=return] dns",
                "a.local.",
                GetentFirst,
            ),
            (
                "hosts: files [!UNAVAIL=return]myhostname",
                "a",
                LibraryFirst,
            ),
            ("hosts: files mymachines resolve ldap dns", "a", GetentFirst),
            ("#hosts: ldap\nhosts: files", "a", LibraryAlone),
        ] {
            assert_eq!(order(services, name), expected, "{services:?} {name}");
        }
    }

    #[test]
    fn the_machines_own_program_is_asked_where_it_matters() {
        let folder = tempfile::tempdir().unwrap();
        let (services, getent) = (folder.path().join("services"), folder.path().join("getent"));
        let script = "#!/bin/sh\n[ \"$1 $2\" = 'ahosts --' ] || exit 3\n\
            case $3 in builder.local) ;; broken*) exit 127 ;; *) exit 2 ;; esac\n\
            echo '10.7.7.7      STREAM builder.local'; echo '10.7.7.7      DGRAM'; echo 'fe80::7%lo  STREAM'; echo junk\n";
        fs::write(&getent, script).unwrap();
        fs::set_permissions(&getent, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(&services, "hosts: files ldap mdns dns\n").unwrap();
        let getent = getent.to_str().unwrap();
        let ask = |getent: &str, name: &str| {
            let found = with_all_services(&services, getent, name, 40);
            found.map(|all| all.iter().map(SocketAddr::to_string).collect::<Vec<_>>())
        };
        assert_eq!(
            ask(getent, "builder.local").unwrap(),
            ["10.7.7.7:40", "[fe80::7%1]:40"]
        );
        let unknown = ask(getent, "-h.local").unwrap_err();
        assert!(unknown.to_string().contains("no service"), "{unknown}");
        assert!(ask(getent, "localhost").is_err());
        // It is not asked about what is an address; the library is where it can't be asked.
        assert_eq!(ask(getent, "10.1.2.3").unwrap(), ["10.1.2.3:40"]);
        assert_eq!(ask(getent, "::1").unwrap(), ["[::1]:40"]);
        let broken = ask(getent, "broken.invalid").unwrap_err();
        assert!(!broken.to_string().contains("no service"), "{broken}");
        let missing = folder.path().join("missing");
        let missing = missing.to_str().unwrap();
        assert!(!ask(missing, "localhost").unwrap().is_empty());
        // What the DNS and files know stays so where others only add to it.
        fs::write(&services, "hosts: files mdns dns\n").unwrap();
        assert!(!ask(getent, "localhost").unwrap().is_empty());
        assert_eq!(ask(getent, "builder.local").unwrap().len(), 2);
    }

    #[test]
    fn a_machine_knows_itself() {
        let found = by_getent(GETENT, "localhost", 7).unwrap().unwrap();
        assert!(!found.is_empty());
        assert!(found
            .iter()
            .all(|one| one.ip().is_loopback() && one.port() == 7));
    }
}
