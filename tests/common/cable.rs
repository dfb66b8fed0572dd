//! Two machines joined by a cable, as network namespaces that a test makes, and a script in them.

use super::{find_program, have, is_root, run, Farm, Ran, OURS};
use std::fs;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Two machines: `here`, where the script runs, and `there`, a command in front of others.
const CABLE: &str = r#"
set -u
ip link set lo up
unshare --net sleep 300 & other=$!
until [ "$(readlink /proc/$other/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.01; done
there() { nsenter --target $other --net "$@"; }
ip link add v0 type veth peer name v1
ip link set v1 netns $other
ip addr add 10.77.0.1/24 dev v0
ip link set v0 up
there ip link set lo up
there ip addr add 10.77.0.2/24 dev v1
there ip link set v1 up
# Waits until a command does well; after 20 s it says that it does not.
wait_for() {
    for _ in $(seq 200); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done
    echo "NOT WITHIN 20 s: $*"
    exit 1
}
has() { grep -qF -- "$1" "$2"; }
has_not() { ! grep -qF -- "$1" "$2"; }
"#;

/// Runs a script where two machines are joined by a cable, and expects it to go well; the daemon's log is called `log`. Nothing if
/// that can't be had here.
#[track_caller]
pub fn script(test: &str, parts: &[&str], more: &[&str]) -> Option<Ran> {
    let needed = ["unshare", "nsenter", "ip", "setpriv", "gcc", "cc"];
    if !have(test, &[&needed, more].concat()) {
        return None;
    }
    let farm = Farm::new();
    let folder = farm.path("cable");
    let bin = folder.join("bin");
    fs::create_dir_all(&bin).unwrap();
    // Daemons that root starts work as somebody else.
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    for name in ["distcc", "distccd", "lsdistcc", "distcc-zeroconf"] {
        symlink(OURS, bin.join(name)).unwrap();
    }
    fs::create_dir(folder.join("top")).unwrap();
    let ran = run(
        &mut in_namespaces(&folder, &format!("{CABLE}{}", parts.concat())),
        Duration::from_secs(120),
    );
    let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
    assert_eq!(ran.status, 0, "{ran}--- the daemon's log\n{log}");
    Some(ran)
}

/// Whatever the script starts ends with it.
fn in_namespaces(folder: &Path, script: &str) -> Command {
    let mut command = Command::new(find_program("unshare").unwrap());
    if !is_root() {
        command.args(["--user", "--map-current-user", "--keep-caps"]);
    }
    let path = format!("{}/bin:/usr/bin:/bin:/usr/sbin:/sbin", folder.display());
    command
        .args([
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ])
        .args(["bash", "-c", script])
        .current_dir(folder)
        .env_clear()
        .env("PATH", path)
        .env("HOME", folder)
        .env("TMPDIR", folder)
        .env("DISTCC_DIR", folder.join("top"))
        .env("LC_ALL", "C");
    command
}
