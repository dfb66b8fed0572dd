//! The small record of what each client is doing, in the form that stock's monitors read. Monitors are a luxury: nothing
//! here ever fails a job.

use super::topdir::TopDir;
use crate::os::cleanup::{remove_at_end, FileGuard};
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// Length of a record: that of stock's structure on 64-bit machines.
const RECORD_BYTES: usize = 296;

/// What every record has at its second word.
const MAGIC: u64 = 0x4449_4800;

/// Room for a name, its final NUL included.
const NAME_BYTES: usize = 128;

/// Where the fields lie.
const PID_AT: usize = 16;
const FILE_AT: usize = 24;
const HOST_AT: usize = 152;
const SLOT_AT: usize = 280;
const PHASE_AT: usize = 284;

/// What a client is doing; the numbers are stock's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Phase {
    /// Not yet begun.
    Startup = 0,
    /// Waiting for a slot.
    Blocked = 1,
    /// Connecting.
    Connect = 2,
    /// Preprocessing here.
    Preprocess = 3,
    /// Sending.
    Send = 4,
    /// Waiting for a compiler, here or there.
    Compile = 5,
    /// Receiving.
    Receive = 6,
    /// At its end.
    Done = 7,
}

/// This process's record; removed when dropped, and when a signal ends us.
#[derive(Debug)]
pub struct StateFile {
    /// Where it is to be, until it is there or can't be.
    path: Option<PathBuf>,
    open: Option<(File, Option<FileGuard>)>,
    record: [u8; RECORD_BYTES],
}

impl StateFile {
    /// A record that is not on disk yet. Without a folder it never will be.
    pub fn create(top: Option<&TopDir>) -> StateFile {
        let pid = std::process::id();
        let mut record = [0; RECORD_BYTES];
        put(&mut record, 0, &(RECORD_BYTES as u64).to_ne_bytes());
        put(&mut record, 8, &MAGIC.to_ne_bytes());
        put(&mut record, PID_AT, &u64::from(pid).to_ne_bytes());
        StateFile {
            path: top
                .and_then(|top| top.state_dir().ok())
                .map(|dir| dir.join(format!("binstate_{pid}"))),
            open: None,
            record,
        }
    }

    /// Says what is going on now. What is not given stays as it was.
    pub fn note(
        &mut self,
        phase: Phase,
        file: Option<&OsStr>,
        host: Option<&str>,
        slot: Option<usize>,
    ) {
        if let Some(file) = file {
            put_name(&mut self.record, FILE_AT, file.as_bytes());
        }
        if let Some(host) = host {
            put_name(&mut self.record, HOST_AT, host.as_bytes());
        }
        if let Some(slot) = slot {
            put(&mut self.record, SLOT_AT, &(slot as u32).to_ne_bytes());
        }
        put(&mut self.record, PHASE_AT, &(phase as u32).to_ne_bytes());
        if let Some(path) = self.path.take() {
            let opened = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .open(&path);
            match opened {
                Ok(file) => self.open = Some((file, remove_at_end(&path).ok())),
                Err(err) => log::debug!(
                    "monitors will not see this job: open {}: {err}",
                    path.display()
                ),
            }
        }
        if let Some((file, _)) = &self.open {
            if let Err(err) = file.write_all_at(&self.record, 0) {
                log::debug!("monitors will not see this job any more: {err}");
                self.open = None;
            }
        }
    }
}

fn put(record: &mut [u8; RECORD_BYTES], at: usize, bytes: &[u8]) {
    for (to, from) in record.iter_mut().skip(at).zip(bytes) {
        *to = *from;
    }
}

/// A name, cut to its room, and zeros.
fn put_name(record: &mut [u8; RECORD_BYTES], at: usize, name: &[u8]) {
    let mut room = [0; NAME_BYTES];
    for (to, from) in room.iter_mut().take(NAME_BYTES - 1).zip(name) {
        *to = *from;
    }
    put(record, at, &room);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::settings::ClientSettings;

    #[test]
    fn the_record_is_stocks_and_goes_away() {
        let dir = tempfile::tempdir().unwrap();
        let settings = ClientSettings::read(|name| {
            (name == "DISTCC_DIR").then(|| dir.path().as_os_str().to_owned())
        })
        .unwrap();
        let top = TopDir::find(&settings).unwrap();
        let mut state = StateFile::create(Some(&top));
        let long = "n".repeat(200);
        state.note(Phase::Send, Some(OsStr::new(&long)), Some("host"), Some(3));
        state.note(Phase::Compile, None, None, None);
        let path = dir
            .path()
            .join(format!("state/binstate_{}", std::process::id()));
        let record = std::fs::read(&path).unwrap();
        assert_eq!(record.len(), 296);
        assert_eq!(record[8..16], 0x4449_4800u64.to_ne_bytes());
        assert_eq!(record[24..151], [b'n'; 127]);
        assert_eq!(&record[151..157], b"\0host\0");
        assert_eq!(record[280..288], [3, 0, 0, 0, 5, 0, 0, 0]);
        drop(state);
        assert!(!path.exists());
    }
}
