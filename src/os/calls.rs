//! Calls of the system that no compiler needs, by the numbers that they have on each kind of machine. Only lists: what becomes
//! of them is `fence`'s.

/// The calls of one kind of machine. Refused are, in this order: sockets; leaving the group; other processes' memory and
/// descriptors; namespaces; asynchronous calls that go around a filter; what compilers have no use for, and what would
/// outlive the job; memory that no process need have mapped, which nobody could count, as in pairs of sockets; hearing of what
/// others do with files; what a user, or all, have so much of that one job could leave others none.
#[derive(Debug)]
pub struct Calls {
    /// As a filter is told of it; 0 for none.
    pub machine: u32,
    /// Refused everywhere.
    pub refused: &'static [libc::c_long],
    /// Refused where all files are seen: what changes sizes, modes, owners, attributes and times by name, and modes, owners and
    /// attributes of what is open, if only to be read.
    pub naming: &'static [libc::c_long],
    /// Whose second word is a name or 0, for what is open: they change times, and are refused likewise unless it is 0.
    pub dating: &'static [libc::c_long],
    /// Whose first word says what is made.
    pub clone: libc::c_long,
    /// The same with that in memory, where it can't be looked at: libraries then take the other.
    pub clone3: libc::c_long,
    /// Whose first word says what of oneself is changed: not whether others see it, as who counts its memory has to.
    pub prctl: libc::c_long,
    /// Whose second word says what of a descriptor is asked: not to hear of what others do in a folder, nor before they open a file.
    pub fcntl: &'static [libc::c_long],
    /// Whose second word says what is done with a descriptor: where all files are seen, not to mark a file.
    pub ioctl: libc::c_long,
    /// That open a file by name, with the place of the word that says how, from 0.
    pub opening: &'static [(libc::c_long, u32)],
    /// The same with that in memory: libraries then take the others.
    pub openat2: libc::c_long,
    /// Whose first word says of which process: 0 is oneself.
    pub of_one: &'static [libc::c_long],
    /// Whose first word says of what kind the second is, with the kind that is a process.
    pub of_many: &'static [(libc::c_long, u32)],
    /// Calls from here on are of another kind of program still.
    pub end: Option<u32>,
}

/// Programs of the kind that we are.
pub const NATIVE: Calls = Calls {
    #[cfg(target_arch = "x86_64")]
    machine: 0xc000_003e,
    #[cfg(target_arch = "aarch64")]
    machine: 0xc000_00b7,
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    machine: 0,
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    refused: &[],
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    refused: &[
        libc::SYS_socket,
        libc::SYS_setsid,
        libc::SYS_setpgid,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_pidfd_getfd,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_io_uring_setup,
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_userfaultfd,
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_keyctl,
        libc::SYS_shmget,
        libc::SYS_semget,
        libc::SYS_msgget,
        libc::SYS_mq_open,
        libc::SYS_memfd_create,
        MEMFD_SECRET,
        libc::SYS_socketpair,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_inotify_init,
        libc::SYS_inotify_init1,
        libc::SYS_fanotify_init,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_epoll_create,
        libc::SYS_epoll_create1,
        libc::SYS_io_setup,
    ],
    naming: &[
        libc::SYS_truncate,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_chmod,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_chown,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_lchown,
        libc::SYS_fchmodat,
        FCHMODAT2,
        libc::SYS_fchownat,
        libc::SYS_setxattr,
        libc::SYS_lsetxattr,
        libc::SYS_removexattr,
        libc::SYS_lremovexattr,
        SETXATTRAT,
        REMOVEXATTRAT,
        FILE_SETATTR,
        libc::SYS_fchmod,
        libc::SYS_fchown,
        libc::SYS_fsetxattr,
        libc::SYS_fremovexattr,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_utime,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_utimes,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_futimesat,
    ],
    dating: &[libc::SYS_utimensat],
    fcntl: &[libc::SYS_fcntl],
    ioctl: libc::SYS_ioctl,
    opening: &[
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_open, 1),
        (libc::SYS_openat, 2),
    ],
    openat2: libc::SYS_openat2,
    clone: libc::SYS_clone,
    clone3: libc::SYS_clone3,
    prctl: libc::SYS_prctl,
    of_one: &[
        libc::SYS_prlimit64,
        libc::SYS_sched_setparam,
        libc::SYS_sched_setscheduler,
        libc::SYS_sched_setaffinity,
        libc::SYS_sched_setattr,
    ],
    of_many: &[(libc::SYS_setpriority, 0), (libc::SYS_ioprio_set, 1)],
    #[cfg(target_arch = "x86_64")]
    end: Some(0x4000_0000),
    #[cfg(not(target_arch = "x86_64"))]
    end: None,
};

/// Programs of 32 bits on x86-64, with their two calls that stand for many: for sockets, and for what outlives the job.
#[cfg(target_arch = "x86_64")]
pub const OTHERS: &[Calls] = &[Calls {
    machine: 0x4000_0003,
    refused: &[
        102,
        359,
        66,
        57,
        26,
        347,
        348,
        438,
        310,
        346,
        425,
        357,
        336,
        374,
        286,
        287,
        288,
        117,
        395,
        393,
        399,
        277,
        356,
        MEMFD_SECRET,
        360,
        291,
        332,
        338,
        254,
        329,
        245,
    ],
    naming: &[
        15,
        16,
        92,
        182,
        193,
        198,
        212,
        306,
        FCHMODAT2,
        298,
        226,
        227,
        235,
        236,
        SETXATTRAT,
        REMOVEXATTRAT,
        FILE_SETATTR,
        94,
        95,
        207,
        228,
        237,
        30,
        271,
        299,
    ],
    dating: &[320, 412],
    fcntl: &[55, 221],
    ioctl: 54,
    opening: &[(5, 1), (295, 2)],
    openat2: 437,
    clone: 120,
    clone3: 435,
    prctl: 172,
    of_one: &[340, 154, 156, 241, 351],
    of_many: &[(97, 0), (289, 1)],
    end: None,
}];
#[cfg(not(target_arch = "x86_64"))]
pub const OTHERS: &[Calls] = &[];

/// Their numbers are the same everywhere.
const FCHMODAT2: libc::c_long = 452;
const SETXATTRAT: libc::c_long = 463;
const REMOVEXATTRAT: libc::c_long = 466;
const FILE_SETATTR: libc::c_long = 469;
const MEMFD_SECRET: libc::c_long = 447;

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    /// The numbers of calls by name, from a header of the system's for programs of so many bits, if it is there.
    fn numbers(bits: u32) -> Option<BTreeMap<String, libc::c_long>> {
        let path = format!("/usr/include/x86_64-linux-gnu/asm/unistd_{bits}.h");
        let header = std::fs::read_to_string(path).ok()?;
        let lines = header.lines();
        let names = lines.filter_map(|line| line.strip_prefix("#define __NR_")?.split_once(' '));
        let numbers = names.filter_map(|(name, number)| Some((name.into(), number.parse().ok()?)));
        Some(numbers.collect())
    }

    /// The same calls as ours, and those that are there only or have another name for larger words.
    #[test]
    fn programs_of_32_bits_are_refused_the_same() {
        let (Some(ours), Some(theirs)) = (numbers(64), numbers(32)) else {
            eprintln!("skipped: the system has no headers of its calls");
            return;
        };
        let name = |number: &libc::c_long| ours.iter().find(|(_, known)| *known == number);
        // A call that the headers are too old for has the same number everywhere.
        let there = |number: &libc::c_long| match name(number) {
            Some((name, _)) => theirs.get(name).copied().unwrap_or(-1),
            None => *number,
        };
        let also = |names: &[&str]| {
            let numbers = names.iter().filter_map(|name| theirs.get(*name));
            numbers.copied().collect::<Vec<_>>()
        };
        let set = |calls: &[libc::c_long]| calls.iter().copied().collect::<BTreeSet<_>>();
        let same = |what: &str, ours: &[libc::c_long], calls: &[libc::c_long], only: &[&str]| {
            let expected = ours.iter().map(there).chain(also(only));
            assert_eq!(set(calls), expected.collect(), "{what}");
        };
        for other in OTHERS {
            let firsts = |calls: &[(libc::c_long, u32)]| {
                let calls = calls.iter().map(|(call, _)| *call);
                calls.collect::<Vec<_>>()
            };
            let singles = |calls: &Calls| {
                [
                    calls.clone,
                    calls.clone3,
                    calls.prctl,
                    calls.ioctl,
                    calls.openat2,
                ]
            };
            let large = ["truncate64", "chown32", "lchown32", "fchown32"];
            same(
                "refused",
                NATIVE.refused,
                other.refused,
                &["socketcall", "ipc"],
            );
            same("naming", NATIVE.naming, other.naming, &large);
            same("dating", NATIVE.dating, other.dating, &["utimensat_time64"]);
            same("fcntl", NATIVE.fcntl, other.fcntl, &["fcntl64"]);
            same("of one", NATIVE.of_one, other.of_one, &[]);
            same(
                "of many",
                &firsts(NATIVE.of_many),
                &firsts(other.of_many),
                &[],
            );
            same(
                "opening",
                &firsts(NATIVE.opening),
                &firsts(other.opening),
                &[],
            );
            assert_eq!(singles(&NATIVE).map(|call| there(&call)), singles(other));
        }
    }
}
