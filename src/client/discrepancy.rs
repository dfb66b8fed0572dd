//! A build in pump mode, and what becomes of it when hosts' compilers fail where the local one does not: such files are
//! counted beside the include server's socket, looked into, and reported by mail if that is wanted. And the user hears
//! once per build, or in ten minutes, why a file did not go by pump mode.

use super::output::base_name;
use crate::farm::slots::Slots;
use crate::model::dependencies::files_named;
use crate::model::pump_settings::PumpSettings;
use crate::os::{cleanup, files, logging};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The subject of the mail: stock's, by which people may sort it.
const SUBJECT: &str = "distcc-pump email";

/// The program that sends it.
const MAILER: &str = "mail";

/// What is there beside the count once it has been said that pump mode has ended.
const DEMOTED: &str = "demoted";

/// What is noted where a build has no folder of its own.
const TOLD: &str = "told_no_pump";

/// The build that this client is a part of.
#[derive(Debug)]
pub struct Session<'s> {
    settings: &'s PumpSettings,
}

impl<'s> Session<'s> {
    /// The one that the environment tells of.
    pub fn of(settings: &'s PumpSettings) -> Session<'s> {
        Session { settings }
    }

    /// Why pump mode has ended for this build, if it has.
    pub fn check(&self) -> Result<(), String> {
        let max = self.settings.discrepancy_max;
        let counted = self.settings.discrepancy_file();
        let count = counted.map_or(0, |file| fs::metadata(file).map_or(0, |meta| meta.len()));
        match count < max {
            true => Ok(()),
            false => Err(format!(
                "{count} files failed on servers and compiled here (DISTCC_MAX_DISCREPANCY is {max})"
            )),
        }
    }

    /// Says aloud why `input` is preprocessed here, to the first of a build. The log has it of each already.
    pub fn tell(&self, input: &Path, why: &str, slots: Option<&Slots>) {
        let made = self.settings.told_file().and_then(|told| is_new(&told));
        let how_often = match made {
            Some(_) => "once per build",
            None => "once in ten minutes",
        };
        let is_first = made.unwrap_or_else(|| slots.is_none_or(|slots| slots.first_of_late(TOLD)));
        if is_first {
            let file = base_name(input).to_string_lossy();
            log::warn!(
                "{file}: failed to get includes from include server, preprocessing locally: {why} (said {how_often}; DISTCC_LOG has all)"
            );
        }
    }

    /// Notes that a host's compiler failed for `input`, saying `server_said`, and the local one did not, or otherwise.
    /// `deps` is the dependency file that the local one may have written; `sent` gives the files that the host had.
    pub fn note(
        &self,
        input: &Path,
        deps: Option<&Path>,
        sent: impl FnOnce() -> Result<Vec<PathBuf>, String>,
        server_said: &[u8],
    ) {
        let sent = deps.map_or_else(sent, |_| Ok(Vec::new()));
        let is_explained = match sent.map(|sent| self.fresh(deps, sent)) {
            Err(why) => {
                let file = input.display();
                log::warn!(
                    "{file}: what the host had can't be told any more; perhaps a file changed during the build: {why}"
                );
                true
            }
            Ok(Some(fresh)) => {
                log::warn!(
                    "{}, a dependency of {}, changed during the build",
                    fresh.display(),
                    input.display()
                );
                true
            }
            Ok(None) => false,
        };
        if let Err(err) = self.count() {
            log::warn!("count a discrepancy: {err}");
        }
        if let (false, Some(recipient)) = (is_explained, &self.settings.mail_to) {
            let recipient = recipient.to_string_lossy();
            log::warn!("Will send an email to {recipient}");
            if let Err(err) = mail(&recipient, server_said) {
                log::warn!("run {MAILER}: {err}; please notify {recipient} of this discrepancy");
            }
        }
    }

    /// A dependency that is younger than the build. One that can't be looked at ends the search, as with stock; but where
    /// no dependencies are written, those that were sent are all looked at.
    fn fresh(&self, deps: Option<&Path>, sent: Vec<PathBuf>) -> Option<PathBuf> {
        let begun = fs::metadata(self.settings.port.as_ref()?).ok()?.ctime();
        let pattern = self.settings.fresh_excluded.as_ref();
        let excluded = |file: &Path| pattern.is_some_and(|pattern| files::matches(pattern, file));
        let is_fresh = |file: &Path| {
            let is_old = || Some(fs::metadata(file).ok()?.ctime() < begun);
            Some(!excluded(file) && !is_old()?)
        };
        let Some(deps) = deps else {
            let mut sent = sent.into_iter();
            return sent.find(|file| is_fresh(file) == Some(true));
        };
        if fs::metadata(deps).ok()?.mtime() < begun {
            return None;
        }
        for file in files_named(&fs::read(deps).ok()?) {
            if is_fresh(&file)? {
                return Some(file);
            }
        }
        None
    }

    /// Adds a byte to the count; the first who finds it full says so.
    fn count(&self) -> io::Result<()> {
        let Some(path) = self.settings.discrepancy_file() else {
            return Ok(());
        };
        let mut file = OpenOptions::new().append(true).create(true).open(&path)?;
        file.write_all(b"@")?;
        // Several may count at the same time: none of them need see the very number.
        let (count, max) = (file.metadata()?.len(), self.settings.discrepancy_max);
        let is_first = || is_new(&path.with_file_name(DEMOTED)).unwrap_or(count == max);
        if count >= max && is_first() {
            log::warn!(
                "now using plain distcc, possibly due to inconsistent file system changes during build"
            );
        }
        Ok(())
    }
}

/// Makes a file; whether nobody had made it before, if that can be told.
fn is_new(path: &Path) -> Option<bool> {
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(_) => Some(true),
        Err(err) if err.kind() == io::ErrorKind::AlreadyExists => Some(false),
        Err(_) => None,
    }
}

/// Sends what has been logged so far, and what the host's compiler said.
fn mail(recipient: &str, server_said: &[u8]) -> io::Result<()> {
    let log = logging::copy()?;
    let mut letter = &log;
    for part in [
        b"\nBEGIN server-side stderr\n",
        server_said,
        b"\nEND server-side stderr\n",
    ] {
        letter.write_all(part)?;
    }
    let stdin = files::from_start(&log)?;
    let mut command = Command::new(MAILER);
    command
        .args(["-s", SUBJECT, recipient])
        .stdin(stdin)
        .stdout(Stdio::null());
    let (mut child, _signals) = cleanup::start_child(false, || command.spawn())?;
    match child.wait()?.success() {
        true => Ok(()),
        false => Err(io::Error::other("it failed")),
    }
}
