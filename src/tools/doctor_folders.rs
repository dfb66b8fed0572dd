//! `distcc doctor`: the folders that clients on this machine share. `DISTCC_DIR` with its locks, marks and state files, and
//! `TMPDIR`. Looks only; what is removed is what any monitor removes.

use crate::farm::state;
use crate::farm::topdir::TopDir;
use crate::model::findings::{counted, Finding, Level, Topic};
use crate::model::settings::ClientSettings;
use crate::os::files::may_write;
use crate::os::lock;
use crate::os::machine::disk_available;
use crate::os::process::user_id;
use std::fs::{self, File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// With less room on disk, in bytes, large compiles fail; with less than the second, all do.
const ROOM_SHORT_BYTES: u64 = 256 << 20;
const ROOM_NONE_BYTES: u64 = 8 << 20;

/// How a TMPDIR has to be.
pub const TMPDIR_WANTED: &str =
    "let TMPDIR name a folder that exists, that you may write, and with room on its disk";

/// File systems of other machines, where locks are slow, or hold on one machine only.
const NETWORK_FILE_SYSTEMS: [&str; 8] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "fuse.sshfs",
    "9p",
    "afs",
    "ceph",
];

/// The shared folder, and what is in it.
pub fn distcc_dir(settings: &ClientSettings, say: &mut dyn FnMut(Finding)) -> Option<TopDir> {
    let top = match TopDir::find(settings) {
        Ok(top) => top,
        Err(err) => {
            say(Finding::ok("distcc-dir", "", err.message).fault(
                "set HOME, or let DISTCC_DIR name a folder of yours",
                Topic::Folders,
            ));
            return None;
        }
    };
    let lock_dir = top.lock_dir();
    let folder = lock_dir.parent().unwrap_or(&lock_dir);
    let is_usable = folder_itself(folder, say);
    if is_usable {
        for part in [&lock_dir, &top.state_dir()] {
            if part.exists() && !may_write(part) {
                say(not_ours(part, "can't be written"));
            }
        }
        locks(&lock_dir, say);
        states(&top, say);
    }
    Some(top)
}

fn folder_itself(folder: &Path, say: &mut dyn FnMut(Finding)) -> bool {
    let about = folder.display().to_string();
    let finding = |what: &str| Finding::ok("distcc-dir", &about, what);
    let meta = match fs::metadata(folder) {
        Ok(meta) => meta,
        Err(err) => {
            say(finding(&err.to_string()).fault(
                format!("`mkdir -p {about}`, or let DISTCC_DIR name another folder; without it nothing is sent away"),
                Topic::Folders,
            ));
            return false;
        }
    };
    if !meta.is_dir() {
        say(finding("is no folder")
            .fault("remove it, or let DISTCC_DIR name a folder", Topic::Folders));
        return false;
    }
    if !may_write(folder) {
        say(not_ours(folder, "can't be written"));
        return false;
    }
    let others_write = meta.mode() & 0o022 != 0 && meta.mode() & 0o1000 == 0;
    let mounted = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let full = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    let kind = file_system(&mounted, &full);
    say(
        match kind.filter(|kind| NETWORK_FILE_SYSTEMS.contains(kind)) {
            Some(kind) => finding(&format!(
                "lies on another machine ({kind}), where each lock costs a round trip"
            ))
            .warning(
                "let DISTCC_DIR name a folder on a disk of this machine",
                Topic::Folders,
            ),
            None if others_write => finding("others may write in it, and so change your host list")
                .warning(
                    format!("`chmod go-w {about}`, unless it is shared on purpose"),
                    Topic::Folders,
                ),
            None => finding("can be used"),
        },
    );
    true
}

fn not_ours(path: &Path, what: &str) -> Finding {
    let owner = fs::metadata(path).map(|meta| meta.uid());
    let whose = match owner {
        Ok(uid) if uid != user_id() => format!("; it belongs to user {uid}"),
        _ => String::new(),
    };
    Finding::ok(
        "distcc-dir",
        path.display().to_string(),
        format!("{what}{whose}"),
    )
    .fault(
        format!(
            "`chown -R $USER {0}` as root, or remove it; or let DISTCC_DIR name another folder",
            path.display()
        ),
        Topic::Folders,
    )
}

/// The type of the file system that a path is on, by the text of `/proc/self/mountinfo`.
fn file_system<'m>(mounted: &'m str, path: &Path) -> Option<&'m str> {
    let lines = mounted.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let at = before.split(' ').nth(4)?;
        let kind = after.split(' ').next()?;
        path.starts_with(at).then_some((at.len(), kind))
    });
    // Of two at the same place the later one is seen.
    lines
        .max_by_key(|(length, _)| *length)
        .map(|(_, kind)| kind)
}

/// Lock files that can't be opened keep a slot from everybody.
fn locks(folder: &Path, say: &mut dyn FnMut(Finding)) {
    let (mut held, mut shut) = (0, Vec::new());
    for (name, path) in entries(folder) {
        if !name.starts_with("cpu_") {
            continue;
        }
        match File::options().write(true).open(&path) {
            Ok(file) => held += usize::from(lock::is_held(&file).unwrap_or(false)),
            Err(err) => shut.push((path, err)),
        }
    }
    match shut.first() {
        Some((path, err)) => say(Finding::ok(
            "locks",
            path.display().to_string(),
            match shut.len() {
                1 => err.to_string(),
                count => format!("{err}, and so with {} more", count - 1),
            },
        )
        .fault(
            format!(
                "remove what another user has left: `rm {}/cpu_*` as its owner or root",
                folder.display()
            ),
            Topic::Folders,
        )),
        None => say(Finding::ok(
            "locks",
            "",
            match held {
                0 => "no slot is in use".to_owned(),

                held => format!("{} in use now", counted(held, "slot")),
            },
        )),
    }
}

fn states(top: &TopDir, say: &mut dyn FnMut(Finding)) {
    let folder = top.state_dir();
    if !folder.exists() {
        return;
    }
    let before = entries(&folder)
        .filter(|(name, _)| name.starts_with("binstate_"))
        .count();
    match state::read_all(top) {
        Ok(living) => {
            let dead = before.saturating_sub(living.len());
            say(Finding::ok(
                "state",
                "",
                match dead {
                    0 => format!("{} at work", counted(living.len(), "client")),
                    _ => format!(
                        "{} at work; {} of clients that were killed, which monitors pass over",
                        counted(living.len(), "client"),
                        counted(dead, "file")
                    ),
                },
            ));
        }
        Err(err) => say(Finding::ok("state", "", err.message)
            .warning("monitors show nothing until that is mended", Topic::Folders)),
    }
}

fn entries(folder: &Path) -> impl Iterator<Item = (String, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| {
        (
            entry.file_name().to_string_lossy().into_owned(),
            entry.path(),
        )
    })
}

/// Where temporary files go.
pub fn tmpdir(settings: &ClientSettings) -> Finding {
    let folder = &settings.tmpdir;
    let about = folder.display().to_string();
    let finding = |what: String| Finding::ok("tmpdir", &about, what);
    let mend = TMPDIR_WANTED;
    let what = match fs::metadata(folder) {
        Err(err) => err.to_string(),
        Ok(meta) if !Metadata::is_dir(&meta) => "is no folder".to_owned(),
        Ok(_) if !may_write(folder) => "can't be written".to_owned(),
        Ok(_) => {
            let room = disk_available(folder).unwrap_or(u64::MAX);
            if room > ROOM_SHORT_BYTES {
                return finding("can be used".to_owned());
            }
            let level = match room > ROOM_NONE_BYTES {
                true => Level::Warning,
                false => Level::Fault,
            };
            let what = finding(format!("only {} MB are free", room >> 20));
            return what.of_level(level, mend, Topic::Folders);
        }
    };
    finding(what).fault(mend, Topic::Folders)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_system_is_that_of_the_nearest_mount() {
        let mounted = "22 1 0:1 / / rw - ext4 /dev/a rw\n\
                       23 22 0:2 / /home rw,nosuid shared:1 - nfs4 server:/home rw\n\
                       24 23 0:3 / /home/me/x rw - tmpfs none rw\n";
        for (path, kind) in [
            ("/tmp", "ext4"),
            ("/homestead", "ext4"),
            ("/home/me", "nfs4"),
            ("/home/me/x/y", "tmpfs"),
        ] {
            assert_eq!(file_system(mounted, Path::new(path)), Some(kind), "{path}");
        }
        assert_eq!(file_system("odd\n", Path::new("/")), None);
    }
}
