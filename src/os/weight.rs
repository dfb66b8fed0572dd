//! How much memory a process holds together with all that it has started: by a quick look that counts twice what they share,
//! and by an exact one where that would be too much. Decides nothing.

use super::liveness;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Processes that are looked at for one sum, at most.
pub const PROCESSES_MAX: usize = 4096;

/// Where the system tells of processes.
const PROC: &str = "/proc";

/// Bytes that a process and all that descend from it hold for themselves, or share with others in memory: not what they have
/// mapped from files on disk, and of files in memory only what is mapped. With `group` so do all of the process group that it
/// leads, as some may have lost their parents; that takes a look at each process of the machine. A sum above `enough` is exact,
/// if the system lets us know. `None` if there are more than [`PROCESSES_MAX`] of them.
pub fn held(leader: u32, group: bool, enough: u64) -> Option<u64> {
    held_in(Path::new(PROC), leader, group, enough)
}

/// Whether the system tells what processes hold and who has started them, as this one sees it.
pub fn can_be_seen() -> bool {
    let process = Path::new(PROC).join("self");
    let thread = process.join(format!("task/{}/children", std::process::id()));
    quick_bytes(&process).is_some() && thread.exists()
}

/// Whether a process can keep others of its user from seeing it in the table of processes, and so what it holds. What keeps it
/// from that is a filter of calls.
pub fn can_be_hidden() -> bool {
    hides(&fs::read_to_string(Path::new(PROC).join("self/mountinfo")).unwrap_or_default())
}

/// Whether a table of mounts says that processes are seen by those only who may look into them.
fn hides(mounts: &str) -> bool {
    let mut proc = mounts.lines().filter_map(|line| {
        let (place, rest) = line.split_once(" - ")?;
        let options = rest.strip_prefix("proc ")?;
        (place.split(' ').nth(4) == Some(PROC)).then_some(options)
    });
    // What is mounted last lies over the others.
    let options = proc.next_back().and_then(|rest| rest.split(' ').nth(1));
    let mut options = options.unwrap_or_default().split(',');
    let how = options.find_map(|option| option.strip_prefix("hidepid="));
    how.is_some_and(|how| !matches!(how, "0" | "off"))
}

fn held_in(proc: &Path, leader: u32, group: bool, enough: u64) -> Option<u64> {
    let family = family(proc, leader, group)?;
    let sum = |bytes: &dyn Fn(&Path) -> Option<u64>| -> u64 {
        let of_each = family.iter().filter_map(|process| bytes(process));
        of_each.fold(0, u64::saturating_add)
    };
    Some(match sum(&quick_bytes) {
        quick if quick > enough => {
            sum(&|process| exact_bytes(process).or_else(|| quick_bytes(process)))
        }
        quick => quick,
    })
}

/// The folders of these processes in a table of processes. Where one of them is not to be seen, as the first process of a cell
/// is not with `hidepid`, its children are looked for in the leader's group. `None` if they are too many.
fn family(proc: &Path, leader: u32, group: bool) -> Option<Vec<PathBuf>> {
    let folder = |pid: u32| proc.join(pid.to_string());
    let members = || liveness::members(proc, leader).map(|(pid, _)| pid);
    let mut found = BTreeSet::from([leader]);
    let mut next = vec![leader];
    let mut has_group = false;
    let mut asks_for_group = group;
    loop {
        let children = match next.pop() {
            _ if asks_for_group && !has_group => {
                has_group = true;
                next.extend(found.iter());
                members().collect()
            }
            Some(parent) => children(&folder(parent)).unwrap_or_else(|| {
                asks_for_group = true;
                Vec::new()
            }),
            None => break,
        };
        for child in children {
            if found.insert(child) {
                next.push(child);
            }
            if found.len() > PROCESSES_MAX {
                return None;
            }
        }
    }
    Some(found.into_iter().map(folder).collect())
}

/// The children of all threads of a process; nothing if it is not to be seen.
fn children(process: &Path) -> Option<Vec<u32>> {
    let threads = fs::read_dir(process.join("task")).ok()?;
    let lists = threads.flatten().map(|thread| {
        let list = fs::read_to_string(thread.path().join("children"));
        list.unwrap_or_default()
    });
    let lists: String = lists.collect();
    let pids = lists.split_ascii_whitespace();
    Some(pids.filter_map(|pid| pid.parse().ok()).collect())
}

/// What a process has in memory, or had there before it was swapped out, that is not of files on disk; what processes share is
/// counted in each.
fn quick_bytes(process: &Path) -> Option<u64> {
    told(process, "status", ["RssAnon:", "RssShmem:", "VmSwap:"])
}

/// The same, with a part only of what is shared.
fn exact_bytes(process: &Path) -> Option<u64> {
    told(
        process,
        "smaps_rollup",
        ["Pss_Anon:", "Pss_Shmem:", "SwapPss:"],
    )
}

/// The sum of these lines in a file about a process, the first of which must be there. Of a process whose first thread has ended
/// only the others tell; all have the same memory.
fn told(process: &Path, file: &str, lines: [&str; 3]) -> Option<u64> {
    let read = |folder: &Path| {
        let text = fs::read_to_string(folder.join(file)).ok()?;
        let [first, others @ ..] = lines.map(|line| bytes_after(&text, line));
        let others = others.into_iter().flatten();
        Some(others.fold(first?, u64::saturating_add))
    };
    let threads = || fs::read_dir(process.join("task")).into_iter().flatten();
    read(process).or_else(|| threads().flatten().find_map(|thread| read(&thread.path())))
}

fn bytes_after(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: u64 = rest.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes.saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, unsafe_code)]
    use super::*;

    fn process(proc: &Path, pid: u32, group: u32, children: &str, kilobytes: [u64; 2]) {
        let folder = proc.join(pid.to_string());
        let thread = folder.join(format!("task/{pid}"));
        fs::create_dir_all(&thread).unwrap();
        let stat = format!("{pid} (a) b) R 1 {group} 3 4 5 6 7 8 9 10 11 12 13 14 15 16 1 18 4711");
        let [quick, exact] = kilobytes;
        for (name, text) in [
            (folder.join("stat"), stat),
            (thread.join("children"), children.to_owned()),
            (
                folder.join("status"),
                format!("VmRSS:\t9 kB\nRssAnon:\t {quick} kB\n"),
            ),
            (
                folder.join("smaps_rollup"),
                format!("Pss:  9 kB\nPss_Anon:  {exact} kB\n"),
            ),
        ] {
            fs::write(name, text).unwrap();
        }
    }

    #[test]
    fn descendants_and_the_group_are_counted_once_and_exactly_if_it_matters() {
        let dir = tempfile::tempdir().unwrap();
        process(dir.path(), 10, 10, "11 12 ", [1, 1]);
        process(dir.path(), 11, 11, "13 ", [10, 4]);
        process(dir.path(), 12, 10, "", [100, 40]);
        process(dir.path(), 13, 11, "", [1000, 400]);
        process(dir.path(), 14, 10, "", [10_000, 4000]);
        process(dir.path(), 15, 15, "10 ", [100_000, 100_000]);
        let held =
            |group, enough: u64| held_in(dir.path(), 10, group, enough * 1024).unwrap() / 1024;
        assert_eq!((held(false, 1111), held(false, 1110)), (1111, 445));
        assert_eq!((held(true, 20_000), held(true, 11_110)), (11_111, 4445));
    }

    #[test]
    fn children_of_who_is_not_seen_are_found_by_their_group() {
        let dir = tempfile::tempdir().unwrap();
        process(dir.path(), 10, 10, "11", [1, 1]);
        process(dir.path(), 12, 10, "13", [10, 10]);
        process(dir.path(), 13, 13, "", [100, 100]);
        process(dir.path(), 14, 14, "", [1000, 1000]);
        let held = || held_in(dir.path(), 10, false, u64::MAX).unwrap() / 1024;
        assert_eq!(held(), 111);
        // As soon as it is seen it tells itself.
        process(dir.path(), 11, 10, "", [0, 0]);
        assert_eq!(held(), 1);
    }

    #[test]
    fn who_hides_processes_says_so() {
        let line = |place: &str, how: &str| {
            format!("25 1 0:23 / {place} rw,nosuid shared:5 - proc proc rw{how}\n")
        };
        let other = line("/other/proc", ",hidepid=2");
        for (how, is_hidden) in [
            ("", false),
            (",gid=4,hidepid=2", true),
            (",hidepid=invisible", true),
            (",hidepid=ptraceable,subset=pid", true),
            (",hidepid=off", false),
            (",hidepid=0", false),
        ] {
            assert_eq!(hides(&(line("/proc", how) + &other)), is_hidden, "{how}");
            let over = line("/proc", ",hidepid=1") + &line("/proc", how);
            assert_eq!(hides(&over), is_hidden, "{how}");
        }
        assert!(!hides("") && !hides("25 1 0:23 / /proc rw - tmpfs none hidepid=2"));
    }

    #[test]
    fn of_too_many_nothing_is_believed() {
        let dir = tempfile::tempdir().unwrap();
        let children = |count: usize| {
            let pids = (11..).take(count).map(|pid: usize| pid.to_string());
            pids.collect::<Vec<_>>().join(" ")
        };
        process(dir.path(), 10, 10, &children(PROCESSES_MAX - 1), [5, 5]);
        assert_eq!(held_in(dir.path(), 10, false, u64::MAX), Some(5 << 10));
        process(dir.path(), 10, 10, &children(PROCESSES_MAX), [5, 5]);
        assert_eq!(held_in(dir.path(), 10, false, u64::MAX), None);
    }

    #[test]
    fn what_was_swapped_out_or_is_shared_is_held() {
        for [in_status, in_sums] in [["VmSwap", "SwapPss"], ["RssShmem", "Pss_Shmem"]] {
            let dir = tempfile::tempdir().unwrap();
            process(dir.path(), 10, 10, "", [5, 4]);
            let add = |name: &str, line: &str| {
                let path = dir.path().join("10").join(name);
                let text = fs::read_to_string(&path).unwrap();
                fs::write(path, text + line).unwrap();
            };
            add("status", &format!("{in_status}:\t   700 kB\n"));
            add("smaps_rollup", &format!("{in_sums}:   600 kB\n"));
            let held = |enough: u64| held_in(dir.path(), 10, false, enough * 1024).unwrap() / 1024;
            assert_eq!((held(705), held(704)), (705, 604), "{in_status}");
        }
    }

    #[test]
    fn a_process_whose_first_thread_has_ended_holds_what_it_held() {
        use std::io::{BufRead, BufReader};
        // The first thread ends alone; another holds the memory, and ends when it is told to.
        const PROGRAM: &str = "import ctypes, os, sys, threading\n\
            def other():\n  held = b'x' * (64 << 20)\n  print('ready', flush=True)\n  sys.stdin.readline()\n  os._exit(len(held) and 0)\n\
            threading.Thread(target=other).start()\n\
            ctypes.CDLL(None).syscall(60 if os.uname().machine == 'x86_64' else 93, 0)\n";
        let child = std::process::Command::new("python3")
            .args(["-c", PROGRAM])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn();
        let Ok(mut child) = child else {
            return eprintln!("there is no python3");
        };
        let mut said = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut said).unwrap();
        assert_eq!(said, "ready\n");
        let stat = format!("/proc/{}/stat", child.id());
        while !fs::read_to_string(&stat).unwrap().contains(") Z") {
            std::thread::yield_now();
        }
        let held = |enough| super::held(child.id(), false, enough).unwrap();
        let (quick, exact) = (held(u64::MAX), held(0));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(quick >= 64 << 20 && exact >= 64 << 20, "{quick}, {exact}");
    }

    #[test]
    fn shared_memory_of_this_process_is_seen() {
        assert!(can_be_seen());
        let mut grows = (0..20).map(|_| {
            let before = held(std::process::id(), false, 0);
            let file = crate::os::files::bounded_memory_file(50 << 20).unwrap();
            // SAFETY: nobody else has the file.
            let mut map = unsafe { memmap2::MmapMut::map_mut(&file).unwrap() };
            map.fill(1);
            held(std::process::id(), false, 0) >= before.map(|bytes| bytes + (40 << 20))
        });
        assert!(grows.any(|does| does));
    }

    #[test]
    fn this_process_holds_what_it_has_touched() {
        // Other tests of this process give memory back meanwhile.
        let mut grows = (0..20).map(|_| {
            let before = held(std::process::id(), false, 0);
            // An allocator may have kept as much from the last time.
            let mut touched = memmap2::MmapMut::map_anon(50 << 20).unwrap();
            std::hint::black_box(&mut touched).fill(1);
            let with_it = held(std::process::id(), false, 0);
            drop(touched);
            with_it >= before.map(|bytes| bytes + (40 << 20))
        });
        assert!(grows.any(|does| does));
        assert_eq!(held(u32::MAX, false, 0), Some(0));
    }
}
