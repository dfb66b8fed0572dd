//! What a client is doing, for the monitors: one small file per process, in stock's format, so that stock's monitors
//! show ours. It must never harm a job: where it can't be written there is none.

use super::topdir::{made, TopDir};
use crate::os::cleanup::{remove_at_end, FileGuard};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What a client is doing; the value is the one in the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub enum Phase {
    /// It has just begun.
    Startup = 0,
    /// It waits for a slot.
    Blocked = 1,
    /// It connects.
    Connect = 2,
    /// The preprocessor runs.
    Preprocess = 3,
    /// The request goes out.
    Send = 4,
    /// A compiler runs, there or here.
    Compile = 5,
    /// The answer comes in.
    Receive = 6,
    /// It is finished.
    Done = 7,
}

/// What each file begins with, after its length: stock's mark.
const MAGIC: usize = 0x4449_4800;

/// Room for a name, with at least one NUL at its end.
const NAME_BYTES: usize = 128;

/// A word of the C structure: its fields depend on the machine, and so does its length.
const WORD: usize = std::mem::size_of::<usize>();

const PID_AT: usize = 2 * WORD;
const FILE_AT: usize = 3 * WORD;
const HOST_AT: usize = FILE_AT + NAME_BYTES;
const SLOT_AT: usize = HOST_AT + NAME_BYTES;
const PHASE_AT: usize = SLOT_AT + 4;
/// A pointer of the writer's, which means nothing to others, ends the structure.
const RECORD_BYTES: usize = PHASE_AT + 4 + WORD;

/// This process's file, made when there is something to say and removed on `Drop` and by final signals.
#[derive(Debug, Default)]
pub struct StateFile {
    place: Option<TopDir>,
    open: Option<Open>,
    file: Vec<u8>,
    /// What was last said of this machine, and of another one.
    here: Part,
    there: Part,
    /// Which of the two was said last.
    is_there: bool,
}

#[derive(Debug)]
struct Open {
    file: File,
    path: PathBuf,
    // Removes the file.
    _guard: FileGuard,
}

#[derive(Debug, Default)]
struct Part {
    host: Vec<u8>,
    slot: i32,
}

impl StateFile {
    /// A state file in the shared folder, if there is one.
    pub fn create(top: Option<&TopDir>) -> StateFile {
        StateFile {
            place: top.cloned(),
            ..StateFile::default()
        }
    }

    /// Says what happens now, and to what. What is not given stays as it was; `localhost` has its own slot beside
    /// that of the other machine. Only the base name of `file` is told.
    pub fn note(
        &mut self,
        phase: Phase,
        file: Option<&OsStr>,
        host: Option<&str>,
        slot: Option<usize>,
    ) {
        if let Some(file) = file {
            let base = Path::new(file).file_name().unwrap_or(file);
            self.file = base.as_bytes().to_vec();
        }
        if let Some(host) = host {
            self.is_there = host != "localhost";
        }
        let part = match self.is_there {
            true => &mut self.there,
            false => &mut self.here,
        };
        if let Some(host) = host {
            part.host = host.into();
        }
        if let Some(slot) = slot {
            part.slot = i32::try_from(slot).unwrap_or(i32::MAX);
        }
        let record = record(std::process::id(), &self.file, part, phase);
        if let Err(err) = self.write(&record) {
            log::debug!("no state file for the monitors: {err}");
            self.place = None;
        }
    }

    fn write(&mut self, record: &[u8]) -> io::Result<()> {
        let Some(place) = &self.place else {
            return Ok(());
        };
        // A monitor of stock's removes the file of whoever has done the same thing for a minute.
        let is_gone = |open: &Open| open.file.metadata().map_or(true, |meta| meta.nlink() == 0);
        if self.open.as_ref().is_none_or(is_gone) {
            self.open = None;
            self.open = Some(Open::create(place)?);
        }
        match &self.open {
            Some(open) => open.file.write_all_at(record, 0),
            None => Ok(()),
        }
    }

    /// Where the file is, once something was noted.
    pub fn path(&self) -> Option<&Path> {
        self.open.as_ref().map(|open| open.path.as_path())
    }
}

impl Open {
    fn create(place: &TopDir) -> io::Result<Open> {
        let folder = place.state_dir();
        let path = folder.join(format!("binstate_{}", std::process::id()));
        let open = || File::create(&path);
        let file = match open() {
            Err(err) if err.kind() == io::ErrorKind::NotFound => {
                made(&folder).map_err(io::Error::other)?;
                open()?
            }
            other => other?,
        };
        let guard = remove_at_end(&path)?;
        Ok(Open {
            file,
            path,
            _guard: guard,
        })
    }
}

/// The C structure, in this machine's byte order and word length.
fn record(pid: u32, file: &[u8], part: &Part, phase: Phase) -> [u8; RECORD_BYTES] {
    let mut record = [0; RECORD_BYTES];
    let mut put = |at: usize, bytes: &[u8]| record[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &RECORD_BYTES.to_ne_bytes());
    put(WORD, &MAGIC.to_ne_bytes());
    put(PID_AT, &(pid as usize).to_ne_bytes());
    put(FILE_AT, &file[..file.len().min(NAME_BYTES - 1)]);
    put(HOST_AT, &part.host[..part.host.len().min(NAME_BYTES - 1)]);
    put(SLOT_AT, &part.slot.to_ne_bytes());
    put(PHASE_AT, &(phase as i32).to_ne_bytes());
    record
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::settings::ClientSettings;
    use std::ffi::OsString;
    use std::fs;
    use std::process::Command;

    fn top(dir: &Path) -> TopDir {
        let settings =
            ClientSettings::read(|name| (name == "DISTCC_DIR").then(|| OsString::from(dir)));
        TopDir::find(&settings.unwrap()).unwrap()
    }

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn the_record_is_stocks() {
        let part = Part {
            host: b"build1".to_vec(),
            slot: 3,
        };
        let bytes = record(77, b"x.c", &part, Phase::Compile);
        assert_eq!(bytes.len(), 296);
        let word = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap());
        assert_eq!((word(0), word(8), word(16)), (296, 0x4449_4800, 77));
        assert_eq!(&bytes[24..28], b"x.c\0");
        assert_eq!(&bytes[152..159], b"build1\0");
        assert_eq!(bytes[280..284], 3i32.to_ne_bytes());
        assert_eq!(bytes[284..288], 5i32.to_ne_bytes());
        let long = record(1, &[b'n'; 500], &part, Phase::Done);
        assert_eq!(long[24 + 127], 0);
    }

    #[test]
    fn each_note_is_the_whole_file_and_drop_removes_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = StateFile::create(Some(&top(dir.path())));
        state.note(
            Phase::Connect,
            Some(OsStr::new("src/x.c")),
            Some("far"),
            Some(3),
        );
        let path = state.path().unwrap().to_owned();
        state.note(Phase::Preprocess, None, Some("localhost"), Some(1));
        let local = fs::read(&path).unwrap();
        assert_eq!(local.len(), RECORD_BYTES);
        assert_eq!(&local[FILE_AT..FILE_AT + 4], b"x.c\0");
        assert_eq!(&local[HOST_AT..HOST_AT + 10], b"localhost\0");
        state.note(Phase::Send, None, Some("far"), None);
        let remote = fs::read(&path).unwrap();
        assert_eq!(&remote[HOST_AT..HOST_AT + 4], b"far\0");
        assert_eq!(remote[SLOT_AT..SLOT_AT + 4], 3i32.to_ne_bytes());
        // As a monitor of stock's does.
        fs::remove_file(&path).unwrap();
        state.note(Phase::Receive, None, None, None);
        assert_eq!(fs::read(&path).unwrap().len(), RECORD_BYTES);
        drop(state);
        assert!(!path.exists());
    }

    #[test]
    fn no_folder_is_no_fault() {
        let mut state = StateFile::create(None);
        state.note(Phase::Send, None, None, None);
        let mut state = StateFile::create(Some(&top(Path::new("/nowhere/at/all"))));
        state.note(Phase::Send, None, None, None);
        assert!(state.path().is_none());
    }

    #[test]
    fn stocks_monitor_shows_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = StateFile::create(Some(&top(dir.path())));
        let file = Some(OsStr::new("words.cc"));
        state.note(Phase::Compile, file, Some("build1"), Some(2));
        let Ok(shown) = Command::new("distccmon-text")
            .env("DISTCC_DIR", dir.path())
            .output()
        else {
            eprintln!("skipped: distccmon-text is not installed");
            return;
        };
        let shown = String::from_utf8(shown.stdout).unwrap();
        let words: Vec<&str> = shown.split_whitespace().collect();
        let pid = std::process::id().to_string();
        assert_eq!(words, [&pid, "Compile", "words.cc", "build1[2]"]);
    }
}
