//! What the tests of the real binary share: a farm of clients and daemons on loopback, commands that are bound in
//! time, peers that misbehave, and comparisons that say what differs. Stock's programs fit in wherever ours do.
#![allow(dead_code, unused_imports)]
#![allow(clippy::unwrap_used, clippy::expect_used)]

pub mod cable;
mod compare;
pub mod daemon;
pub mod doctor;
pub mod fake;
mod farm;
pub mod http;
mod peer;
pub mod pump;
mod ran;
pub mod twice;
pub mod tree;
pub mod v3;

pub use compare::{same_bytes, same_file};
pub use daemon::{free_port, listens, Daemon, DaemonPlan, JobLine};
pub use farm::{files_below, Client, Farm, Went};
pub use peer::{reset_when_closed, BlackHole, Direction, Ending, Peer, Recorded, Script};
pub use ran::{run, signal, Ran, Running};

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Our binary, as built for this test run.
pub const OURS: &str = env!("CARGO_BIN_EXE_distcc");

/// How long anything that is not a build may take. Generous: the machine may be busy.
pub const BOUND: Duration = Duration::from_secs(60);

/// Whose program.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord, Hash)]
pub enum Which {
    /// The one of this crate.
    Ours,
    /// Debian's distcc 3.4.
    Stock,
}

/// Where a program is found, `sbin` included.
pub fn find_program(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Path::new(name).exists().then(|| name.into());
    }
    ["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"]
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.exists())
}

/// Whether all these programs are here. If not, the caller returns early: the test is then noted as skipped, or
/// fails if `DISTCC_TESTS_MUST_ALL` is set.
pub fn have(test: &str, programs: &[&str]) -> bool {
    let missing: Vec<&str> = programs
        .iter()
        .copied()
        .filter(|name| find_program(name).is_none())
        .collect();
    missing.is_empty() || skip(test, &format!("not installed: {}", missing.join(", ")))
}

/// Notes a skipped test and returns false; panics where nothing may be skipped.
pub fn skip(test: &str, why: &str) -> bool {
    assert!(
        std::env::var_os("DISTCC_TESTS_MUST_ALL").is_none_or(|value| value.is_empty()),
        "{test}: {why}; tests/install-needs installs what Debian has"
    );
    eprintln!("skipped: {test}: {why}");
    if let Some(path) = std::env::var_os("DISTCC_TESTS_SKIPPED") {
        let file = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(path);
        let _ = file.and_then(|mut file| file.write_all(format!("{test}: {why}\n").as_bytes()));
    }
    false
}

/// Whether this test run is root's: some refusals cannot be shown then, some situations only then.
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

/// Asks again until the answer is empty; returns the last answer when the time is over.
pub fn until_empty(bound: Duration, ask: impl Fn() -> Vec<String>) -> Vec<String> {
    let begun = Instant::now();
    loop {
        let answer = ask();
        if answer.is_empty() || begun.elapsed() > bound {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Asks until it is so; says what did not come about otherwise.
pub fn wait_for(what: &str, bound: Duration, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < bound, "not within {bound:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Works through `items` on as many threads as there are processors; the first failure's message is the result.
pub fn in_parallel<T: Sync>(items: &[T], work: impl Fn(&T) + Sync) {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    while let Some(item) =
                        items.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                    {
                        work(item);
                    }
                })
            })
            .collect();
        for handle in handles {
            if let Err(panic) = handle.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
}
