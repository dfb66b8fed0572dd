//! What must not outlive this process: temporary files and children, also when a signal ends it.
//! A fixed table that the signal handler may read; each entry is owned by a guard, which acts when it is dropped.

#![allow(unsafe_code)] // Signal handlers are only to be had from libc.

use super::sys::{catch, catch_final_signals};
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Child;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicUsize, Ordering};

/// How many files, and how many children, can be looked after at once; more are only looked after by their guards.
const ENTRIES_MAX: usize = 16;

static FILES: [AtomicPtr<libc::c_char>; ENTRIES_MAX] =
    [const { AtomicPtr::new(std::ptr::null_mut()) }; ENTRIES_MAX];
static CHILDREN: [AtomicI32; ENTRIES_MAX] = [const { AtomicI32::new(0) }; ENTRIES_MAX];

/// How many children are being started, and the signal that came meanwhile: it waits until they are in the table.
static STARTING: AtomicUsize = AtomicUsize::new(0);
static HELD_BACK: AtomicI32 = AtomicI32::new(0);

/// Catches the final signals from here on: each also ends our children and removes our files. A file that becomes larger than
/// it may is an error for us, and for our children what it was.
pub fn install() -> io::Result<()> {
    // SAFETY: the handlers take the signal's number, and do only what is allowed in a signal handler.
    unsafe {
        catch_final_signals(on_final_signal as *const (), 0)?;
        catch(libc::SIGXFSZ, on_too_large as *const (), libc::SA_RESTART)
    }
}

/// The call that was to write says so itself.
extern "C" fn on_too_large(_signal: libc::c_int) {}

/// Ends the children, removes the files, and lets the signal do what it would have done without us.
extern "C" fn on_final_signal(signal: libc::c_int) {
    if STARTING.load(Ordering::SeqCst) > 0 {
        HELD_BACK.store(signal, Ordering::SeqCst);
        // Another thread may have been done with it just now; one of the two takes the signal.
        if STARTING.load(Ordering::SeqCst) > 0 || HELD_BACK.swap(0, Ordering::SeqCst) == 0 {
            return;
        }
    }
    for child in &CHILDREN {
        let target = child.load(Ordering::Relaxed);
        if target != 0 {
            // SAFETY: kill is async-signal-safe; the target is a child, or its group, that nobody has reaped yet.
            unsafe { libc::kill(target, signal) };
        }
    }
    for file in &FILES {
        let path = file.load(Ordering::Acquire);
        if !path.is_null() {
            // SAFETY: unlink is async-signal-safe; the string lives until its guard has taken it from the table.
            unsafe { libc::unlink(path) };
        }
    }
    // SAFETY: these calls are async-signal-safe; the signal is delivered again when this handler returns.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

/// Removes a file when dropped, and when a final signal comes.
#[derive(Debug)]
pub struct FileGuard {
    path: CString,
    entry: Option<usize>,
}

/// Takes responsibility for the removal of `path`, which may not exist yet.
pub fn remove_at_end(path: &Path) -> io::Result<FileGuard> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let entry = FILES.iter().position(|entry| {
        entry
            .compare_exchange(
                std::ptr::null_mut(),
                path.as_ptr().cast_mut(),
                Ordering::AcqRel,
                Ordering::Relaxed,
            )
            .is_ok()
    });
    Ok(FileGuard { path, entry })
}

impl FileGuard {
    /// Gives the file up: it stays, or has another name by now.
    pub fn keep(mut self) {
        self.leave_table();
        self.path = CString::default();
    }

    fn leave_table(&mut self) {
        if let Some(entry) = self.entry.take() {
            FILES[entry].store(std::ptr::null_mut(), Ordering::Release);
        }
    }
}

impl Drop for FileGuard {
    fn drop(&mut self) {
        if !self.path.is_empty() {
            // SAFETY: the string ends with NUL. That the file may be gone already is no fault.
            unsafe { libc::unlink(self.path.as_ptr()) };
        }
        self.leave_table();
    }
}

/// Passes final signals on to a child while it lives; see [`start_child`].
#[derive(Debug)]
pub struct ChildGuard {
    entry: Option<usize>,
}

/// Starts a child and passes final signals on to it, to its whole group if it leads one; also a signal that comes
/// while it is being started. The guard must be dropped before the child is reaped or at the latest right after.
pub fn start_child(
    leads_group: bool,
    start: impl FnOnce() -> io::Result<Child>,
) -> io::Result<(Child, ChildGuard)> {
    start_guarded(leads_group, start, Child::id)
}

/// The same for a child of any kind, with the number that `id` says.
pub fn start_guarded<C>(
    leads_group: bool,
    start: impl FnOnce() -> io::Result<C>,
    id: impl FnOnce(&C) -> u32,
) -> io::Result<(C, ChildGuard)> {
    STARTING.fetch_add(1, Ordering::SeqCst);
    let started = start().map(|child| {
        let guard = pass_signals_to(id(&child), leads_group);
        (child, guard)
    });
    if STARTING.fetch_sub(1, Ordering::SeqCst) == 1 {
        let signal = HELD_BACK.swap(0, Ordering::SeqCst);
        if signal != 0 {
            // SAFETY: raise takes any signal; this one has our handler.
            unsafe { libc::raise(signal) };
        }
    }
    started
}

fn pass_signals_to(pid: u32, leads_group: bool) -> ChildGuard {
    let pid = pid as i32;
    let target = if leads_group { -pid } else { pid };
    let entry = CHILDREN.iter().position(|entry| {
        entry
            .compare_exchange(0, target, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    });
    ChildGuard { entry }
}

impl Drop for ChildGuard {
    fn drop(&mut self) {
        if let Some(entry) = self.entry {
            CHILDREN[entry].store(0, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_guard_removes_its_file_unless_it_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (gone, kept) = (dir.path().join("gone"), dir.path().join("kept"));
        for path in [&gone, &kept] {
            std::fs::write(path, "x").unwrap();
        }
        drop(remove_at_end(&gone).unwrap());
        remove_at_end(&kept).unwrap().keep();
        assert!(!gone.exists());
        assert!(kept.exists());
    }

    #[test]
    fn a_full_table_is_no_fault() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let guards: Vec<FileGuard> = (0..ENTRIES_MAX + 2)
            .map(|_| remove_at_end(&path).unwrap())
            .collect();
        std::fs::write(&path, "x").unwrap();
        drop(guards);
        assert!(!path.exists());
    }

    #[test]
    fn a_signal_that_comes_while_a_child_starts_waits_for_it() {
        // SAFETY: the test's own handler does nothing; raise sends the signal to this thread.
        unsafe {
            extern "C" fn nothing(_: libc::c_int) {}
            libc::signal(libc::SIGUSR1, nothing as *const () as libc::sighandler_t);
            let started = start_child(false, || {
                on_final_signal(libc::SIGUSR1);
                assert_eq!(HELD_BACK.load(Ordering::SeqCst), libc::SIGUSR1);
                std::process::Command::new("true").spawn()
            });
            let (mut child, guard) = started.unwrap();
            assert_eq!(HELD_BACK.load(Ordering::SeqCst), 0);
            assert!(guard.entry.is_some());
            assert!(child.wait().unwrap().success());
        }
    }
}
