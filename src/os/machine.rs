//! How this machine fares, as its system tells: load, memory, room on disk, processes, its name. What can't be found out is
//! absent, not a fault.

#![allow(unsafe_code)] // statvfs, sysconf and gethostname are only to be had from libc.

use super::sys::check;
use std::ffi::CString;
use std::fs;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Longest name of a machine, its NUL included.
const NAME_BYTES_MAX: usize = 256;

/// The load of the machine.
#[derive(Clone, PartialEq, Debug)]
pub struct Load {
    /// The means over one, five and fifteen minutes.
    pub means: [f64; 3],
    /// How many tasks want to run now.
    pub runnable: u64,
}

/// The load, as `/proc/loadavg` has it.
pub fn load() -> Option<Load> {
    read_load(&fs::read_to_string("/proc/loadavg").ok()?)
}

fn read_load(text: &str) -> Option<Load> {
    let mut fields = text.split_ascii_whitespace();
    let mut mean = || fields.next()?.parse().ok();
    let means = [mean()?, mean()?, mean()?];
    let (runnable, _) = fields.next()?.split_once('/')?;
    Some(Load {
        means,
        runnable: runnable.parse().ok()?,
    })
}

/// How many bytes of memory are to be had without swapping.
pub fn memory_available() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// How many bytes an ordinary user can still write in the file system of `folder`.
pub fn disk_available(folder: &Path) -> Option<u64> {
    let path = CString::new(folder.as_os_str().as_bytes()).ok()?;
    let mut found = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the path ends with NUL; the system fills the structure if it reports success.
    let found = unsafe {
        check(libc::statvfs(path.as_ptr(), found.as_mut_ptr())).ok()?;
        found.assume_init()
    };
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

/// The machine's own name.
pub fn name() -> Option<String> {
    let mut buffer = [0_u8; NAME_BYTES_MAX];
    // SAFETY: the buffer has so many bytes; the last is left alone, so that there is a NUL in any case.
    check(unsafe { libc::gethostname(buffer.as_mut_ptr().cast(), NAME_BYTES_MAX - 1) }).ok()?;
    let name = buffer.split(|byte| *byte == 0).next()?;
    let name = String::from_utf8_lossy(name).into_owned();
    (!name.is_empty()).then_some(name)
}

/// What the machine's processes come to.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Processes {
    /// How many wait for a disk.
    pub waiting_for_disk: u64,
    /// The largest of this user that is no compiler driver: KiB in memory, and its name.
    pub largest: Option<(u64, String)>,
}

/// Looks at all processes. Others' names are nobody's business: only this user's count for the largest.
pub fn processes(user: u32) -> Processes {
    let (mut found, page_kib) = (Processes::default(), page_kib());
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let is_process = entry.file_name().as_bytes().iter().all(u8::is_ascii_digit);
        if !is_process {
            continue;
        }
        let Ok(stat) = fs::read(entry.path().join("stat")) else {
            continue;
        };
        let stat = String::from_utf8_lossy(&stat).into_owned();
        let Some((name, state, pages)) = read_stat(&stat) else {
            continue;
        };
        found.waiting_for_disk += u64::from(state == "D");
        let kib = pages.saturating_mul(page_kib);
        let is_larger = found.largest.as_ref().is_none_or(|(most, _)| *most < kib);
        let is_driver = name.ends_with("cc") || name.ends_with("++");
        let is_ours = || entry.metadata().is_ok_and(|meta| meta.uid() == user);
        if is_larger && !is_driver && is_ours() {
            found.largest = Some((kib, name.to_owned()));
        }
    }
    found
}

/// KiB of a page of memory.
fn page_kib() -> u64 {
    // SAFETY: asks for a number only.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(bytes).unwrap_or(4096) >> 10
}

/// A process's name, state, and pages in memory.
fn read_stat(stat: &str) -> Option<(&str, &str, u64)> {
    let (before, rest) = stat.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    // Field 24 of proc(5); the state is field 3.
    let pages = fields.nth(20)?.parse().ok()?;
    Some((name, state, pages))
}

/// Sectors read from and written to the machine's disks since it started.
pub fn disk_sectors() -> Option<u64> {
    let text = fs::read_to_string("/proc/diskstats").ok()?;
    let counts: Vec<u64> = text.lines().filter_map(read_disk).collect();
    (!counts.is_empty()).then(|| {
        counts
            .iter()
            .fold(0, |sum, count| u64::wrapping_add(sum, *count))
    })
}

/// The sectors of a line that is about a whole disk.
fn read_disk(line: &str) -> Option<u64> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let name = fields.get(2)?;
    let letters = |prefix: &str| {
        let rest = name.strip_prefix(prefix);
        rest.is_some_and(|rest| rest.len() == 1)
    };
    let is_disk = ["sd", "hd", "vd", "xvd"].iter().any(|kind| letters(kind))
        || name.starts_with("nvme") && !name.contains('p');
    let sectors = |at: usize| fields.get(at)?.parse::<u64>().ok();
    is_disk.then_some(())?;
    Some(sectors(5)?.wrapping_add(sectors(9)?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_the_system_writes_is_read() {
        let load = read_load("1.50 0.25 20.00 3/456 789\n").unwrap();
        assert_eq!((load.means, load.runnable), ([1.5, 0.25, 20.0], 3));
        assert_eq!(read_load("x"), None);
        let stat = "7 (a) b)) D 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 99 4096 123 1844 1 1";
        assert_eq!(read_stat(stat), Some(("a) b)", "D", 123)));
        assert_eq!(read_stat("7 (a) D"), None);
        let disk = |name: &str| read_disk(&format!("8 0 {name} 1 2 30 4 5 6 70 8 9"));
        assert_eq!((disk("sda"), disk("nvme0n1")), (Some(100), Some(100)));
        assert_eq!(
            (disk("sda1"), disk("nvme0n1p2"), disk("loop0")),
            (None, None, None)
        );
    }

    #[test]
    fn this_machine_tells() {
        assert!(load().is_some() && memory_available() > Some(1 << 20));
        assert!(disk_available(Path::new("/")).is_some());
        assert_eq!(disk_available(Path::new("/nowhere/at/all")), None);
        assert!(name().is_some());
        assert!(processes(super::super::process::user_id())
            .largest
            .is_some());
    }
}
