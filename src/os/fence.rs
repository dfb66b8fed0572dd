//! What a process gives up for good before it becomes a compiler that works for strangers: to leave its process group, make
//! connections or namespaces, and reach other processes; and, where it sees the system's own file tree, all of that but
//! some parts. For a process with a single thread, which can gain no rights; what the system can't do is left undone.

#![allow(unsafe_code)] // seccomp and Landlock are only to be had from libc.

use super::calls::{Calls, NATIVE, OTHERS};
use super::sys::check;
use std::fs::File;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What such a process may still reach of the file tree.
#[derive(Clone, Debug)]
pub struct Reach<'r> {
    /// Folders and files to be read and run.
    pub programs: Vec<&'r Path>,
    /// Devices to be read and written.
    pub devices: Vec<&'r Path>,
    /// A folder to do anything in but to run what is there.
    pub data: &'r Path,
    /// Folders to do anything in.
    pub shared: Vec<&'r Path>,
}

/// Gives up calls of the system; those that change what files are beside their contents, too, if it `sees_all` files: Landlock
/// does not look at these.
pub fn renounce_calls(sees_all: bool) -> io::Result<()> {
    let seen = match sees_all {
        false => Seen::Own,
        true if landlock_version() < TRUNCATES_SINCE => Seen::AllToBeEmptied,
        true => Seen::All,
    };
    let Some(filter) = filter(seen).filter(|_| knows_filters()) else {
        return Ok(());
    };
    let program = libc::sock_fprog {
        len: filter.len() as libc::c_ushort,
        filter: filter.as_ptr().cast_mut(),
    };
    // Else a compiler may become slower by this.
    let flags = libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    // SAFETY: the system reads the program, which lives as long as the call.
    let done = check(unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        let mode = libc::SECCOMP_SET_MODE_FILTER;
        libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program) as libc::c_int
    });
    done.map(drop)
}

/// What is given up of files, and of signals and sockets of others, put together once for as many processes as one likes.
#[derive(Debug)]
pub struct Renounced(OwnedFd);

impl Renounced {
    /// All files but `reach`, if that is given; and signals and sockets of others, where the system can do that. Nothing if
    /// it can do none of it.
    pub fn put_together(reach: Option<&Reach>) -> io::Result<Option<Renounced>> {
        let version = landlock_version();
        if version < if reach.is_some() { 1 } else { SCOPES_SINCE } {
            return Ok(None);
        }
        let known = rights_of(version);
        let rules = Rules {
            files: reach.map_or(0, |_| known),
            ports: if version >= PORTS_SINCE { ALL_PORTS } else { 0 },
            scopes: if version >= SCOPES_SINCE {
                ALL_SCOPES
            } else {
                0
            },
        };
        // SAFETY: reads the structure, of the length that is said; the descriptor is new and ours alone.
        let set = unsafe {
            let size = size_of::<Rules>();
            let fd = libc::syscall(libc::SYS_landlock_create_ruleset, &raw const rules, size, 0);
            OwnedFd::from_raw_fd(check(fd as libc::c_int)?)
        };
        if let Some(reach) = reach {
            for path in &reach.programs {
                allow(&set, path, (RUN | READ | LIST) & known)?;
            }
            for path in &reach.devices {
                allow(&set, path, (READ | WRITE | TRUNCATE) & known)?;
            }
            for path in &reach.shared {
                allow(&set, path, known & !MAKE_SPECIAL)?;
            }
            allow(&set, reach.data, known & !(RUN | MAKE_SPECIAL))?;
        }
        Ok(Some(Renounced(set)))
    }

    /// Gives it up.
    pub fn give_up(&self) -> io::Result<()> {
        // SAFETY: plain system calls.
        check(unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            libc::syscall(libc::SYS_landlock_restrict_self, self.0.as_raw_fd(), 0) as libc::c_int
        })
        .map(drop)
    }
}

/// Whether calls of the system can be given up here.
pub fn has_filters() -> bool {
    NATIVE.machine != 0 && knows_filters()
}

/// Whether the system has filters of calls, and lets us ask for them.
fn knows_filters() -> bool {
    let action = libc::SECCOMP_RET_ERRNO;
    let ask = libc::SECCOMP_GET_ACTION_AVAIL;
    // SAFETY: reads one number.
    unsafe { libc::syscall(libc::SYS_seccomp, ask, 0, &raw const action) == 0 }
}

/// Whether files can be given up here.
pub fn has_files() -> bool {
    landlock_version() >= 1
}

/// Whether signals to others can be given up here.
pub fn has_scopes() -> bool {
    landlock_version() >= SCOPES_SINCE
}

/// The files that a process sees, as far as calls can be given up for that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Seen {
    /// A view of its own.
    Own,
    /// The system's, where what may not be written is not emptied either.
    All,
    /// The system's, where who may only read a file could empty it as it is opened.
    AllToBeEmptied,
}

/// New namespaces of any kind, and children that are not one's own.
const NEW: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_PARENT) as u32;

/// Where a filter finds the number of the call, the kind of machine, and the lower halves of words (in memory, the machines
/// above have them first).
const NUMBER_AT: u32 = 0;
const MACHINE_AT: u32 = 4;
const FIRST_WORD_AT: u32 = 16;
const SECOND_WORD_AT: u32 = 24;
const SECOND_WORD_HIGH_AT: u32 = 28;
const WORD_BYTES: u32 = 8;

/// What `fcntl` calls it to be asked before others open a file, who wait for that, and to hear of what is done in a folder.
const F_SETLEASE: u32 = 1024;
const F_NOTIFY: u32 = 1026;

/// What `ioctl` calls it to change the marks of a file that is open, if only to be read: twice `FS_IOC_SETFLAGS`, then
/// `FS_IOC_FSSETXATTR` and `FS_IOC_ENABLE_VERITY`.
const MARKS: [u32; 4] = [0x4004_6602, 0x4008_6602, 0x401c_5820, 0x4080_6685];

const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const IF_FROM: u32 = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
const IF_ANY: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
const ONLY: u32 = libc::BPF_ALU | libc::BPF_AND | libc::BPF_K;
const JUMP: u32 = libc::BPF_JMP | libc::BPF_JA;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

type Step = libc::sock_filter;

fn step(code: u32, k: u32) -> Step {
    Step {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    }
}

/// Passes over the next `length` steps unless it is so.
fn skip_unless(code: u32, k: u32, length: u8) -> Step {
    Step {
        jf: length,
        ..step(code, k)
    }
}

/// Passes over as many steps as these are, if it is so or unless it is. More than a condition can pass over take one step more.
fn pass_over(these: &[Step], is_so: bool, code: u32, k: u32) -> Vec<Step> {
    let jump = |length: u8, is_so: bool| match is_so {
        true => Step {
            jt: length,
            ..step(code, k)
        },
        false => skip_unless(code, k, length),
    };
    match u8::try_from(these.len()) {
        Ok(length) => vec![jump(length, is_so)],
        Err(_) => vec![jump(1, !is_so), step(JUMP, these.len() as u32)],
    }
}

fn fails(number: i32) -> Step {
    step(RETURN, libc::SECCOMP_RET_ERRNO | number as u32)
}

fn passes() -> Step {
    step(RETURN, libc::SECCOMP_RET_ALLOW)
}

/// What becomes of a call of that number, to the end.
type Case = (u32, Vec<Step>);

impl Calls {
    /// By their numbers, in order.
    fn cases(&self, seen: Seen) -> Vec<Case> {
        let sees_all = seen != Seen::Own;
        let naming = self.naming.iter().filter(|_| sees_all);
        let refused = self.refused.iter().chain(naming);
        let refused = refused.map(|call| (*call as u32, vec![fails(libc::EPERM)]));
        let dating = self.dating.iter().filter(|_| sees_all);
        let look = || step(LOAD, FIRST_WORD_AT);
        let second = || step(LOAD, SECOND_WORD_AT);
        let high = step(LOAD, SECOND_WORD_HIGH_AT);
        let leases = skip_unless(IF_EQUAL, F_SETLEASE, 1);
        let notifies = skip_unless(IF_EQUAL, F_NOTIFY, 1);
        let any_new = skip_unless(IF_ANY, NEW, 1);
        let own = skip_unless(IF_EQUAL, 0, 1);
        let hides = skip_unless(IF_EQUAL, libc::PR_SET_DUMPABLE as u32, 1);
        let no = fails(libc::EPERM);
        let mut cases: Vec<Case> = refused.collect();
        let of_one = self.of_one.iter();
        cases.extend(of_one.map(|call| (*call as u32, vec![look(), own, passes(), no])));
        cases.extend(self.of_many.iter().map(|(call, process)| {
            let is_process = skip_unless(IF_EQUAL, *process, 3);
            (
                *call as u32,
                vec![look(), is_process, second(), own, passes(), no],
            )
        }));
        cases.extend(dating.map(|call| {
            let is_low = skip_unless(IF_EQUAL, 0, 3);
            (
                *call as u32,
                vec![second(), is_low, high, own, passes(), no],
            )
        }));
        let fcntl = self.fcntl.iter();
        cases.extend(fcntl.map(|call| {
            (
                *call as u32,
                vec![second(), leases, no, notifies, no, passes()],
            )
        }));
        cases.extend([
            (self.clone3 as u32, vec![fails(libc::ENOSYS)]),
            (self.clone as u32, vec![look(), any_new, no, passes()]),
            (self.prctl as u32, vec![look(), hides, no, passes()]),
        ]);
        if sees_all {
            let mut body = vec![second()];
            body.extend(
                MARKS
                    .iter()
                    .flat_map(|mark| [skip_unless(IF_EQUAL, *mark, 1), no]),
            );
            body.push(passes());
            cases.push((self.ioctl as u32, body));
        }
        if seen == Seen::AllToBeEmptied {
            let opening = self.opening.iter();
            cases.extend(opening.map(|(call, word)| (*call as u32, empties(*word))));
            cases.push((self.openat2 as u32, vec![fails(libc::ENOSYS)]));
        }
        if let Some(end) = self.end {
            cases.push((end, vec![fails(libc::ENOSYS)]));
        }
        cases.sort_by_key(|(number, _)| *number);
        cases
    }
}

/// Refuses to empty a file that is not opened to be written, as the word says: to be read, or for its `ioctl` alone.
fn empties(word: u32) -> Vec<Step> {
    let [empty, how] = [libc::O_TRUNC, libc::O_WRONLY | libc::O_RDWR].map(|bits| bits as u32);
    let no = fails(libc::EPERM);
    vec![
        step(LOAD, FIRST_WORD_AT + word * WORD_BYTES),
        step(ONLY, empty | how),
        skip_unless(IF_EQUAL, empty, 1),
        no,
        skip_unless(IF_EQUAL, empty | how, 1),
        no,
        passes(),
    ]
}

/// Finds the case of a number that was loaded. Halves the cases again and again: the system goes through a filter once for
/// each of its calls when it is made.
fn decide(cases: &[Case], is_end: bool) -> Vec<Step> {
    if let [(number, body)] = cases {
        // Nothing of another kind of program is let through.
        let code = if is_end { IF_FROM } else { IF_EQUAL };
        let mut steps = pass_over(body, false, code, *number);
        steps.extend_from_slice(body);
        steps.push(passes());
        return steps;
    }
    let (low, high) = cases.split_at(cases.len() / 2);
    let from = high.first().map_or(0, |(number, _)| *number);
    let low = decide(low, false);
    let mut steps = pass_over(&low, true, IF_FROM, from);
    steps.extend(low);
    steps.extend(decide(high, is_end));
    steps
}

/// The filter as the system wants it; `None` if it is not known for this kind of machine.
fn filter(seen: Seen) -> Option<Vec<Step>> {
    if NATIVE.machine == 0 {
        return None;
    }
    let mut filter = vec![step(LOAD, MACHINE_AT)];
    for calls in [&NATIVE].into_iter().chain(OTHERS) {
        let mut of_machine = vec![step(LOAD, NUMBER_AT)];
        of_machine.extend(decide(&calls.cases(seen), calls.end.is_some()));
        filter.extend(pass_over(&of_machine, false, IF_EQUAL, calls.machine));
        filter.extend(of_machine);
    }
    filter.push(fails(libc::ENOSYS));
    Some(filter)
}

/// What the system calls `struct landlock_ruleset_attr`.
#[repr(C)]
struct Rules {
    files: u64,
    ports: u64,
    scopes: u64,
}

/// And `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct Beneath {
    allowed: u64,
    path: i32,
}

// Rights to what lies below a path, by the version of Landlock that knows them.
const RUN: u64 = 1;
const WRITE: u64 = 1 << 1;
const READ: u64 = 1 << 2;
const LIST: u64 = 1 << 3;
const MAKE_SPECIAL: u64 = 1 << 6 | 1 << 9 | 1 << 11;
const TRUNCATE: u64 = 1 << 14;
const TRUNCATES_SINCE: libc::c_long = 3;
const RIGHTS: &[(libc::c_long, u64)] = &[
    (1, 0x1fff),
    (2, 1 << 13),
    (TRUNCATES_SINCE, TRUNCATE),
    (5, 1 << 15),
];
/// Those that a file can have, too.
const OF_FILES: u64 = RUN | WRITE | READ | TRUNCATE;

const PORTS_SINCE: libc::c_long = 4;
const ALL_PORTS: u64 = 3;
const SCOPES_SINCE: libc::c_long = 6;
const ALL_SCOPES: u64 = 3;

/// 0 if there is none.
fn landlock_version() -> libc::c_long {
    const ASK: libc::c_int = 1;
    let nothing = std::ptr::null::<Rules>();
    // SAFETY: with this flag the call only answers.
    unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0, ASK) }.max(0)
}

fn rights_of(version: libc::c_long) -> u64 {
    let known = RIGHTS.iter().filter(|(since, _)| *since <= version);
    known.map(|(_, rights)| rights).sum()
}

fn allow(set: &OwnedFd, path: &Path, rights: u64) -> io::Result<()> {
    const BENEATH: libc::c_int = 1;
    let flags = libc::O_PATH | libc::O_CLOEXEC;
    let path = File::options().read(true).custom_flags(flags).open(path)?;
    let is_folder = path.metadata()?.is_dir();
    let rule = Beneath {
        allowed: if is_folder { rights } else { rights & OF_FILES },
        path: path.as_raw_fd(),
    };
    // SAFETY: reads the structure.
    check(unsafe {
        let rule = &raw const rule;
        libc::syscall(
            libc::SYS_landlock_add_rule,
            set.as_raw_fd(),
            BENEATH,
            rule,
            0,
        ) as libc::c_int
    })
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the filter says of a call: 0, or the number of a fault.
    fn verdict(filter: &[Step], machine: u32, number: u32, words: [u64; 3]) -> u32 {
        let (mut at, mut loaded) = (0, 0);
        loop {
            let step = filter[at];
            at += 1;
            let jump = |so: bool| usize::from(if so { step.jt } else { step.jf });
            match u32::from(step.code) {
                LOAD => {
                    loaded = match step.k {
                        NUMBER_AT => number,
                        MACHINE_AT => machine,
                        FIRST_WORD_AT => words[0] as u32,
                        SECOND_WORD_AT => words[1] as u32,
                        SECOND_WORD_HIGH_AT => (words[1] >> 32) as u32,
                        _ => words[2] as u32,
                    }
                }
                ONLY => loaded &= step.k,
                IF_EQUAL => at += jump(loaded == step.k),
                IF_FROM => at += jump(loaded >= step.k),
                IF_ANY => at += jump(loaded & step.k != 0),
                JUMP => at += step.k as usize,
                _ if step.k == libc::SECCOMP_RET_ALLOW => return 0,
                _ => return step.k & libc::SECCOMP_RET_DATA,
            }
        }
    }

    #[test]
    fn the_filter_knows_each_call() {
        for seen in [Seen::Own, Seen::All, Seen::AllToBeEmptied] {
            if let Some(filter) = filter(seen) {
                expect_known(&filter, seen);
                expect_not_emptied(&filter, seen);
            }
        }
    }

    fn expect_not_emptied(filter: &[Step], seen: Seen) {
        let is_so = seen == Seen::AllToBeEmptied;
        let no = if is_so { libc::EPERM as u32 } else { 0 };
        let [read, write, both] = [libc::O_RDONLY, libc::O_WRONLY, libc::O_RDWR];
        let none = write | both;
        for calls in [&NATIVE].into_iter().chain(OTHERS) {
            for (call, word) in calls.opening {
                let said = |how: i32| {
                    let mut words = [0; 3];
                    words[*word as usize] = (how | libc::O_CLOEXEC) as u64;
                    verdict(filter, calls.machine, *call as u32, words)
                };
                let emptied = [read, write, both, none].map(|how| said(how | libc::O_TRUNC));
                assert_eq!(emptied, [no, 0, 0, no], "{call}");
                assert_eq!([read, write, both, none].map(said), [0; 4], "{call}");
            }
        }
    }

    fn expect_known(filter: &[Step], seen: Seen) {
        let sees_all = seen != Seen::Own;
        let [no, unknown] = [libc::EPERM, libc::ENOSYS].map(|number| number as u32);
        for calls in [&NATIVE].into_iter().chain(OTHERS) {
            let both = |number: u32, [first, second]: [u64; 2]| {
                verdict(filter, calls.machine, number, [first, second, 0])
            };
            let said = |number: u32, word: u32| both(number, [word.into(), 0]);
            let clone = calls.clone as u32;
            let of_many = |number: u32| {
                let mut all = calls.of_many.iter();
                let found = all.find(|(call, _)| *call as u32 == number);
                found.map(|(_, process)| *process)
            };
            for number in 0..600 {
                let is_naming = calls.naming.contains(&number.into());
                let is_refused = calls.refused.contains(&number.into()) || is_naming && sees_all;
                let expected = match number {
                    _ if is_refused => no,
                    _ if number == calls.clone3 as u32 => unknown,
                    437 if seen == Seen::AllToBeEmptied => unknown,
                    _ if of_many(number).is_some_and(|process| process != 0) => no,
                    _ => 0,
                };
                assert_eq!(said(number, 0), expected, "{number}");
            }
            let usual = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
            assert_eq!(said(clone, usual as u32), 0);
            assert_eq!(said(clone, (usual | libc::CLONE_NEWUSER) as u32), no);
            assert_eq!(said(clone, (usual | libc::CLONE_PARENT) as u32), no);
            for one in calls.of_one.iter().map(|call| *call as u32) {
                assert_eq!((said(one, 0), said(one, 1)), (0, no));
            }
            let [dumpable, named] = [libc::PR_SET_DUMPABLE, libc::PR_SET_NAME];
            assert_eq!(said(calls.prctl as u32, dumpable as u32), no);
            assert_eq!(said(calls.prctl as u32, named as u32), 0);
            for (call, process) in calls
                .of_many
                .iter()
                .map(|(call, kind)| (*call as u32, *kind))
            {
                let process = u64::from(process);
                assert_eq!(both(call, [process, 0]), 0);
                assert_eq!(both(call, [process, 1]), no);
                assert_eq!(both(call, [process + 1, 0]), no);
            }
            for call in calls.fcntl.iter().map(|call| *call as u32) {
                let verdicts = [1023, 1024, 1025, 1026, 1027].map(|asks| both(call, [3, asks]));
                assert_eq!(verdicts, [0, no, 0, no, 0]);
            }
            let by_mark = if sees_all { no } else { 0 };
            for (asks, expected) in [
                (0x4004_6602, by_mark),
                (0x4008_6602, by_mark),
                (0x401c_5820, by_mark),
                (0x4080_6685, by_mark),
                (0x8008_6601, 0),
                (0x5401, 0),
            ] {
                assert_eq!(both(calls.ioctl as u32, [3, asks]), expected, "{asks:x}");
            }
            for call in calls.dating.iter().map(|call| *call as u32) {
                let by_name = if sees_all { no } else { 0 };
                for name in [1, 1 << 32, 1 << 63] {
                    assert_eq!(both(call, [3, name]), by_name);
                }
                assert_eq!(both(call, [3, 0]), 0);
            }
            let expected = if calls.end.is_some() { unknown } else { 0 };
            assert_eq!(said(0x4000_0000, 0), expected);
            assert_eq!(said(u32::MAX, 0), expected);
        }
        assert_eq!(verdict(filter, 1, 0, [0; 3]), unknown);
    }

    #[test]
    fn rights_grow_with_the_version() {
        assert_eq!(rights_of(0), 0);
        assert_eq!(rights_of(2), 0x3fff);
        assert_eq!(rights_of(7), 0xffff);
    }
}
