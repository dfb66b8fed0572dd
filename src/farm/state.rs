//! What a client is doing, for the monitors: one small file per process, in stock's format, so that stock's monitors
//! show ours, and ours show stock's. Writing must never harm a job: where it can't be done there is no file.

use super::topdir::{made, TopDir};
use crate::model::error::{Error, Result};
use crate::os::cleanup::{remove_at_end, FileGuard};
use crate::os::liveness::{life, Life};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

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

impl Phase {
    /// The phase that a number in a file stands for; what is not known is work, as stock has it.
    fn numbered(number: i32) -> Phase {
        match number {
            0 => Phase::Startup,
            1 => Phase::Blocked,
            2 => Phase::Connect,
            3 => Phase::Preprocess,
            4 => Phase::Send,
            6 => Phase::Receive,
            7 => Phase::Done,
            _ => Phase::Compile,
        }
    }
}

/// What the names of all files begin with; the number of the process follows.
const PREFIX: &str = "binstate_";

/// What the names of files begin with that processes have left for others to use again: to give a file another name costs
/// a fraction of what it costs to make one, above all while many come and go.
const SPARE: &str = "spare_";

/// How many are kept at most.
const SPARES_MAX: u32 = 16;

/// From this age on, a file is looked at closely: stock's limit, at which it removes them all.
const OLD: Duration = Duration::from_secs(60);

/// How far the clocks of files and of processes may differ.
const CLOCKS_DIFFER_MAX: Duration = Duration::from_secs(2);

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

/// This process's file, made when there is something to say and gone after `Drop` and final signals.
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
    pid: u32,
    /// When it was last written.
    written: Instant,
    // Removes the file, if it can't be left for others.
    guard: Option<FileGuard>,
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
        if let Err(err) = self.write(phase) {
            log::debug!("no state file for the monitors: {err}");
            self.place = None;
        }
    }

    fn write(&mut self, phase: Phase) -> io::Result<()> {
        let Some(place) = &self.place else {
            return Ok(());
        };
        if self.open.as_ref().is_none_or(Open::is_gone) {
            self.open = None;
            self.open = Some(Open::create(place)?);
        }
        let part = match self.is_there {
            true => &self.there,
            false => &self.here,
        };
        match &mut self.open {
            Some(open) => {
                let record = record(open.pid, &self.file, part, phase);
                open.written = Instant::now();
                open.file.write_all_at(&record, 0)
            }
            None => Ok(()),
        }
    }

    /// Where the file is, once something was noted.
    pub fn path(&self) -> Option<&Path> {
        self.open.as_ref().map(|open| open.path.as_path())
    }
}

impl Open {
    /// A monitor of stock's removes the file of whoever has done the same thing for a minute.
    fn is_gone(&self) -> bool {
        self.written.elapsed() > OLD / 2
            && self.file.metadata().map_or(true, |meta| meta.nlink() == 0)
    }

    fn create(place: &TopDir) -> io::Result<Open> {
        let folder = place.state_dir();
        let pid = std::process::id();
        let path = folder.join(format!("{PREFIX}{pid}"));
        let guard = remove_at_end(&path)?;
        let spare = take_spare(&folder, pid, &path);
        let open = || File::create(&path);
        let file = match spare.or_else(|_| open()) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => {
                made(&folder).map_err(io::Error::other)?;
                open()?
            }
            other => other?,
        };
        Ok(Open {
            file,
            path,
            pid,
            written: Instant::now(),
            guard: Some(guard),
        })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        let left = fs::rename(&self.path, spare(folder, self.pid));
        if let (Ok(()), Some(guard)) = (left, self.guard.take()) {
            guard.keep();
        }
    }
}

/// What it says at first names a process that has ended, so nobody believes it.
fn take_spare(folder: &Path, pid: u32, path: &Path) -> io::Result<File> {
    fs::rename(spare(folder, pid), path)?;
    let file = File::options().write(true).open(path);
    if file.is_err() {
        // Somebody else's, perhaps; or a folder, which takes a name that could be used otherwise.
        let _ = fs::remove_file(path).or_else(|_| fs::rename(path, spare(folder, pid)));
    }
    file
}

fn spare(folder: &Path, pid: u32) -> PathBuf {
    folder.join(format!("{SPARE}{}", pid % SPARES_MAX))
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

/// What a client said last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// The client's process number.
    pub pid: u32,
    /// Base name of the source; empty if it is not known yet.
    pub file: Vec<u8>,
    /// Name of the host, `localhost` for this machine.
    pub host: Vec<u8>,
    /// Which of the host's slots it has.
    pub slot: i32,
    /// What it does there.
    pub phase: Phase,
    /// For how long it has done that.
    pub since: Duration,
    /// For how long the client has run, if that can be told.
    pub age: Option<Duration>,
}

/// What all living clients say, by host and slot. Files of dead ones are passed over, and removed if they are older
/// than a minute. The folder is made if it is missing; errors are about it only, as files come and go.
pub fn read_all(top: &TopDir) -> Result<Vec<Record>> {
    let folder = top.state_dir();
    made(&folder)?;
    let trouble = |err| Error::io(format_args!("read the folder {}", folder.display()), &err);
    let mut records = Vec::new();
    for entry in fs::read_dir(&folder).map_err(trouble)? {
        let entry = entry.map_err(trouble)?;
        let name = entry.file_name();
        let Some(pid) = name.as_bytes().strip_prefix(PREFIX.as_bytes()) else {
            continue;
        };
        let pid = std::str::from_utf8(pid)
            .ok()
            .and_then(|pid| pid.parse().ok());
        match read_living(&entry.path(), pid) {
            Ok(record) => records.extend(record),
            // It is normal that clients end while we look.
            Err(err) => log::debug!("{}: {err}", entry.path().display()),
        }
    }
    // Stable, so that equal ones stay in the order of the folder.
    records.sort_by(|one, other| (&one.host, one.slot).cmp(&(&other.host, other.slot)));
    Ok(records)
}

/// The record in one file, if it can be read and its client lives. A client may do one thing for longer than a
/// minute, so age alone says nothing; but an old file is only believed to be that of a process which is older still.
fn read_living(path: &Path, pid_in_name: Option<u32>) -> io::Result<Option<Record>> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Ok(None);
    }
    let file = File::open(path)?;
    let age = file.metadata()?.modified()?.elapsed().unwrap_or_default();
    let mut bytes = Vec::with_capacity(RECORD_BYTES + 1);
    file.take(RECORD_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    let mut record = parse(&bytes);
    let pid = record.as_ref().map(|record| record.pid).or(pid_in_name);
    let life = pid.map_or(Life::Gone, life);
    let lives = match life {
        Life::Gone => false,
        Life::Began(ago) => age <= OLD || ago + CLOCKS_DIFFER_MAX >= age,
        Life::Hidden => true,
    };
    if let Some(record) = &mut record {
        record.since = age;
        record.age = match life {
            Life::Began(ago) => Some(ago),
            Life::Gone | Life::Hidden => None,
        };
    }
    if !lives && age > OLD {
        log::debug!("{} is of nobody: removed", path.display());
        fs::remove_file(path)?;
    }
    // Stock writes a file anew for each phase, so for a moment it is empty.
    if record.is_none() && !bytes.is_empty() {
        log::warn!(
            "{} is no state file of a distcc on this kind of machine",
            path.display()
        );
    }
    Ok(record.filter(|_| lives))
}

/// Reads the C structure; the other way round than [`record`].
fn parse(bytes: &[u8]) -> Option<Record> {
    if bytes.len() != RECORD_BYTES {
        return None;
    }
    let word = |at: usize| Some(usize::from_ne_bytes(bytes[at..at + WORD].try_into().ok()?));
    let int = |at: usize| Some(i32::from_ne_bytes(bytes[at..at + 4].try_into().ok()?));
    let name = |at: usize| {
        let field = &bytes[at..at + NAME_BYTES - 1];
        let end = field.iter().position(|byte| *byte == 0);
        field[..end.unwrap_or(field.len())].to_vec()
    };
    if word(0)? != RECORD_BYTES || word(WORD)? != MAGIC {
        return None;
    }
    Some(Record {
        pid: u32::try_from(word(PID_AT)?).ok()?,
        file: name(FILE_AT),
        host: name(HOST_AT),
        slot: int(SLOT_AT)?,
        phase: Phase::numbered(int(PHASE_AT)?),
        since: Duration::ZERO,
        age: None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::settings::ClientSettings;
    use std::ffi::OsString;
    use std::process::Command;
    use std::time::SystemTime;

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
        // As a monitor of stock's does after a minute.
        fs::remove_file(&path).unwrap();
        if let Some(open) = &mut state.open {
            open.written = open.written.checked_sub(OLD).unwrap();
        }
        state.note(Phase::Receive, None, None, None);
        assert_eq!(fs::read(&path).unwrap().len(), RECORD_BYTES);
        drop(state);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_is_left_for_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let inode = |state: &StateFile| fs::metadata(state.path().unwrap()).unwrap().ino();
        let mut state = StateFile::create(Some(&top(dir.path())));
        state.note(Phase::Send, Some(OsStr::new("long_name.c")), None, None);
        let first = inode(&state);
        drop(state);
        let mut state = StateFile::create(Some(&top(dir.path())));
        state.note(Phase::Send, Some(OsStr::new("x.c")), Some("far"), Some(1));
        assert_eq!(inode(&state), first);
        let records = read_all(&top(dir.path())).unwrap();
        let [record] = &records[..] else {
            panic!("{records:?}");
        };
        assert_eq!(
            (&record.file[..], &record.host[..]),
            (&b"x.c"[..], &b"far"[..])
        );
        drop(state);
        assert_eq!(read_all(&top(dir.path())).unwrap(), []);
        // A folder in its place is no fault.
        let spare = spare(&top(dir.path()).state_dir(), std::process::id());
        fs::remove_file(&spare).unwrap();
        fs::create_dir_all(spare.join("x")).unwrap();
        let mut state = StateFile::create(Some(&top(dir.path())));
        state.note(Phase::Send, None, None, None);
        let path = state.path().unwrap().to_owned();
        assert!(path.is_file());
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

    /// A file of process `pid`, last written `age` ago.
    fn file_of(top: &TopDir, pid: u32, host: &str, slot: i32, age: Duration) -> PathBuf {
        made(&top.state_dir()).unwrap();
        let path = top.state_dir().join(format!("{PREFIX}{pid}"));
        let part = Part {
            host: host.into(),
            slot,
        };
        fs::write(&path, record(pid, b"x.c", &part, Phase::Compile)).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
        path
    }

    /// The number of a process that has ended.
    fn dead() -> u32 {
        let mut child = Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        child.id()
    }

    #[test]
    fn what_is_written_is_read() {
        for phase in 0..8 {
            let part = Part {
                host: vec![b'h'; 200],
                slot: 3,
            };
            let phase = Phase::numbered(phase);
            let read = parse(&record(77, b"x.c", &part, phase)).unwrap();
            assert_eq!((read.pid, read.slot, read.phase), (77, 3, phase));
            assert_eq!((read.file, read.host.len()), (b"x.c".to_vec(), 127));
        }
        assert_eq!(Phase::numbered(8), Phase::Compile);
        let mut bytes = record(77, b"x.c", &Part::default(), Phase::Send).to_vec();
        bytes[FILE_AT..SLOT_AT].fill(b'n');
        assert_eq!(parse(&bytes).unwrap().host.len(), 127);
        for broken in [&bytes[1..], &[&bytes[..], b"x"].concat(), b""] {
            assert_eq!(parse(broken), None);
        }
        bytes[WORD] ^= 1;
        assert_eq!(parse(&bytes), None);
    }

    #[test]
    fn the_dead_are_not_shown_and_their_old_files_go() {
        let dir = tempfile::tempdir().unwrap();
        let top = top(dir.path());
        let recent = file_of(&top, dead(), "a", 0, Duration::ZERO);
        let old = file_of(&top, std::process::id(), "a", 0, OLD * 2);
        // Ours, but long before our time: another process had our number.
        assert_eq!(read_all(&top).unwrap(), []);
        assert!(recent.exists() && !old.exists());
        let old = file_of(&top, dead(), "a", 0, OLD * 2);
        assert_eq!(read_all(&top).unwrap(), []);
        assert!(!old.exists());
    }

    #[test]
    fn a_long_phase_stays() {
        let dir = tempfile::tempdir().unwrap();
        let top = top(dir.path());
        // Process 1 is as old as the machine, or as the container that runs this.
        let Life::Began(ago) = life(1) else { return };
        if ago < OLD * 3 {
            return;
        }
        let path = file_of(&top, 1, "far", 2, OLD * 2);
        let records = read_all(&top).unwrap();
        assert_eq!((records[0].pid, records[0].slot), (1, 2));
        assert!(records[0].since >= OLD * 2 && records[0].age >= Some(OLD * 3));
        assert!(path.exists());
    }

    #[test]
    fn by_host_and_slot_and_only_records() {
        let dir = tempfile::tempdir().unwrap();
        let top = top(dir.path());
        let mut children: Vec<_> = (0..3)
            .map(|_| Command::new("sleep").arg("60").spawn().unwrap())
            .collect();
        for (child, (host, slot)) in children.iter().zip([("b", 0), ("a", 10), ("a", 2)]) {
            file_of(&top, child.id(), host, slot, Duration::ZERO);
        }
        let empty = top
            .state_dir()
            .join(format!("{PREFIX}{}", std::process::id()));
        fs::write(empty, "").unwrap();
        fs::write(top.state_dir().join("binstate_x"), "words").unwrap();
        fs::write(top.state_dir().join("other"), "words").unwrap();
        fs::create_dir(top.state_dir().join("binstate_1")).unwrap();
        let records = read_all(&top).unwrap();
        let places: Vec<_> = records
            .iter()
            .map(|record| (record.host.as_slice(), record.slot))
            .collect();
        assert_eq!(places, [(&b"a"[..], 2), (b"a", 10), (b"b", 0)]);
        for child in &mut children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}
