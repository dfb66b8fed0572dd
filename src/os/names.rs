//! The addresses that a name has. The C library knows; but musl knows only files and the DNS: where the machine's
//! `nsswitch.conf` names other services for hosts (mDNS, LDAP, containers), its `getent` is asked, which asks them.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::process::{Command, Stdio};

/// Where a machine says which services know hosts.
const SERVICES: &str = "/etc/nsswitch.conf";

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
    let is_written_out = name.contains(':') || !name.contains(|c: char| c.is_ascii_alphabetic());
    if is_written_out || !std::fs::read_to_string(services).is_ok_and(|text| has_others(&text)) {
        return by_library(name, port);
    }
    match by_getent(getent, name, port) {
        Ok(found) if found.is_empty() => Err(io::Error::new(
            io::ErrorKind::NotFound,
            "no service of this machine knows the name",
        )),
        Ok(found) => Ok(found),
        Err(err) => {
            log::debug!("run {getent}: {err}");
            by_library(name, port)
        }
    }
}

/// Whether services for hosts are named that musl does not know.
fn has_others(text: &str) -> bool {
    let line = text
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("hosts:"));
    let services = line.and_then(|line| line.split('#').next());
    // In brackets is what is to be done with an answer.
    let mut words = services
        .unwrap_or_default()
        .split(['[', ']'])
        .step_by(2)
        .flat_map(str::split_whitespace);
    words.any(|word| !matches!(word, "files" | "dns"))
}

fn by_getent(getent: &str, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let mut command = Command::new(getent);
    command.args(["ahosts", "--", name]);
    let done = command
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()?;
    // One line for each address and kind of socket.
    let told = String::from_utf8_lossy(&done.stdout);
    let lines = told.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let address = words.next()?;
        (words.next() == Some("STREAM")).then_some(address)
    });
    Ok(lines
        .flat_map(|address| by_library(address, port).unwrap_or_default())
        .collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_files_and_the_dns_are_known() {
        for (text, others) in [
            ("", false),
            ("passwd: files ldap\nhosts: files dns\n", false),
            ("hosts:files dns # ldap", false),
            (
                "  hosts:\tfiles [NOTFOUND=continue SUCCESS=merge] dns",
                false,
            ),
            ("hosts: files mdns4_minimal [NOTFOUND=return] dns", true),
            ("hosts: files [!UNAVAIL=return]myhostname", true),
            ("#hosts: ldap\nhosts: files", false),
        ] {
            assert_eq!(has_others(text), others, "{text:?}");
        }
    }

    #[test]
    fn the_machines_own_program_is_asked_where_it_matters() {
        let folder = tempfile::tempdir().unwrap();
        let (services, getent) = (folder.path().join("services"), folder.path().join("getent"));
        let script = "#!/bin/sh\n[ \"$1 $2\" = 'ahosts --' ] || exit 3\n\
            case $3 in builder.local) ;; *) exit 2 ;; esac\n\
            echo '10.7.7.7      STREAM builder.local'; echo '10.7.7.7      DGRAM'; echo 'fe80::7%lo  STREAM'; echo junk\n";
        fs::write(&getent, script).unwrap();
        fs::set_permissions(&getent, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(&services, "hosts: files mdns dns\n").unwrap();
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
        assert_eq!(unknown.kind(), io::ErrorKind::NotFound);
        // Nobody is asked about what is an address, or where that program is not there.
        assert_eq!(ask(getent, "10.1.2.3").unwrap(), ["10.1.2.3:40"]);
        assert_eq!(ask(getent, "::1").unwrap(), ["[::1]:40"]);
        let missing = folder.path().join("missing");
        assert!(!ask(missing.to_str().unwrap(), "localhost")
            .unwrap()
            .is_empty());
        fs::write(&services, "hosts: files dns\n").unwrap();
        assert!(!ask(getent, "localhost").unwrap().is_empty());
    }

    #[test]
    fn a_machine_knows_itself() {
        let found = by_getent(GETENT, "localhost", 7).unwrap();
        assert!(
            !found.is_empty()
                && found
                    .iter()
                    .all(|one| one.ip().is_loopback() && one.port() == 7)
        );
    }
}
