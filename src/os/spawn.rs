//! A program started in a dozen system calls. `posix_spawn` of the C library makes a hundred and fifty, most of them to
//! set one signal after the other as it is already; here only those are set that this program catches. The child shares
//! our memory until it is another program, so all that it needs is made ready before.

#![allow(unsafe_code)] // A child that shares our memory is only to be had from libc.

use super::sys::{check, check_uninterrupted, FINAL_SIGNALS};
use crate::model::wait_status::WaitStatus;
use std::env;
use std::ffi::{c_char, c_int, c_void, CString, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Where programs are looked for without `PATH`.
const PATH_DEFAULT: &[u8] = b"/bin:/usr/bin";

/// The child's stack until it is another program, in parts of 16 bytes: it calls nothing that needs more than some hundred.
const STACK_PARTS: usize = 1024;

extern "C" {
    static environ: *const *const c_char;
}

/// A child that was started here.
#[derive(Debug)]
pub struct Spawned {
    pid: libc::pid_t,
    status: Option<WaitStatus>,
}

/// What a child needs to become another program.
struct Ready {
    /// The files that may be it, the most wanted first; ends with null, like those below.
    paths: Vec<*const c_char>,
    argv: Vec<*const c_char>,
    stdio: [c_int; 3],
    /// Why none of them was it; 0 as long as all went well.
    failed: c_int,
}

/// Starts the program that `argv` names, found on `PATH` if it is a name only, as leader of a group of its own, with these
/// standard files, none of which is one of our own, and our environment. No signal is blocked there, and none ignored but
/// those that we were started with. For programs with one thread, that catch final signals only. `found` is where on `PATH` it
/// lies, if that is known, and tried first.
pub fn spawn_group(
    argv: &[OsString],
    found: Option<&Path>,
    stdio: [BorrowedFd; 3],
) -> io::Result<Spawned> {
    let c_string = |word: &OsString| CString::new(word.as_bytes());
    let words: Vec<CString> = argv.iter().map(c_string).collect::<Result<_, _>>()?;
    let program = words.first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut paths = candidates(program.to_bytes())?;
    if let Some(found) = found {
        paths.insert(0, CString::new(found.as_os_str().as_bytes())?);
    }
    let with_end = |strings: &[CString]| -> Vec<*const c_char> {
        let pointers = strings.iter().map(|string| string.as_ptr());
        pointers.chain([std::ptr::null()]).collect()
    };
    let mut ready = Ready {
        paths: with_end(&paths),
        argv: with_end(&words),
        stdio: stdio.map(|fd| fd.as_raw_fd()),
        failed: 0,
    };
    if ready.stdio.iter().any(|fd| *fd <= 2) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let pid = start(&mut ready)?;
    let mut spawned = Spawned { pid, status: None };
    match ready.failed {
        0 => Ok(spawned),
        errno => {
            spawned.wait()?;
            Err(io::Error::from_raw_os_error(errno))
        }
    }
}

/// The files that a program's name may mean.
fn candidates(program: &[u8]) -> io::Result<Vec<CString>> {
    if program.is_empty() {
        return Err(io::ErrorKind::NotFound.into());
    }
    if program.contains(&b'/') {
        return Ok(vec![CString::new(program)?]);
    }
    let path = env::var_os("PATH");
    let path = path.as_ref().map_or(PATH_DEFAULT, |path| path.as_bytes());
    let folders = path.split(|byte| *byte == b':');
    let files = folders.map(|folder| match folder {
        b"" => CString::new(program),
        _ => CString::new([folder, b"/", program].concat()),
    });
    Ok(files.collect::<Result<_, _>>()?)
}

/// Starts a child, and returns when it is another program or has failed to become one.
fn start(ready: &mut Ready) -> io::Result<libc::pid_t> {
    let mut stack: Box<[MaybeUninit<u128>]> = Box::new_uninit_slice(STACK_PARTS);
    // SAFETY: the sets are plain data. The child runs on a stack of its own, which lives until `clone` returns, as does
    // `ready`: we stand still until the child has no more use for them. With all signals blocked no handler of ours runs
    // in it; `become_program` unblocks them when none is left.
    unsafe {
        let (mut all, mut before): (libc::sigset_t, libc::sigset_t) = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::sigprocmask(libc::SIG_BLOCK, &all, &mut before);
        let top = stack.as_mut_ptr_range().end;
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        let pid = check(libc::clone(
            become_program,
            top.cast(),
            flags,
            std::ptr::from_mut(ready).cast(),
        ));
        libc::sigprocmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
        pid
    }
}

/// What the child does. It allocates nothing and takes no lock.
extern "C" fn become_program(ready: *mut c_void) -> c_int {
    // SAFETY: the parent stands still and has made all of it ready: strings that end with NUL, lists that end with null.
    // What is called here is allowed between fork and exec.
    unsafe {
        let ready = &mut *ready.cast::<Ready>();
        let mut set_up = libc::setpgid(0, 0);
        for signal in FINAL_SIGNALS {
            let mut action: libc::sigaction = std::mem::zeroed();
            libc::sigaction(signal, std::ptr::null(), &mut action);
            if action.sa_sigaction != libc::SIG_IGN {
                libc::signal(signal, libc::SIG_DFL);
            }
        }
        // Ignored since our own start.
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        for (number, fd) in (0..).zip(ready.stdio) {
            set_up = set_up.min(libc::dup2(fd, number));
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
        ready.failed = match set_up {
            0.. => execute(&ready.paths, ready.argv.as_ptr()),
            _ => *libc::__errno_location(),
        };
        libc::_exit(127)
    }
}

/// Becomes the first of the files that can be run, as `execvp` would; returns only why none can. A folder whose name is
/// too long is passed over, as shells do.
///
/// # Safety
/// The strings end with NUL, the lists with null.
unsafe fn execute(paths: &[*const c_char], argv: *const *const c_char) -> c_int {
    let (mut why, mut is_denied) = (libc::ENOENT, false);
    for path in paths.iter().take_while(|path| !path.is_null()) {
        // SAFETY: by this function's contract; `environ` is the C library's own list.
        why = unsafe {
            libc::execve(*path, argv, environ);
            *libc::__errno_location()
        };
        match why {
            libc::EACCES => is_denied = true,
            libc::ENOENT | libc::ENOTDIR | libc::ENAMETOOLONG => {}
            libc::ESTALE | libc::ENODEV | libc::ETIMEDOUT => {}
            _ => return why,
        }
    }
    match is_denied {
        true => libc::EACCES,
        false => why,
    }
}

impl Spawned {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.pid.unsigned_abs()
    }

    /// How it ended, if it has.
    pub fn try_wait(&mut self) -> io::Result<Option<WaitStatus>> {
        self.reap(libc::WNOHANG)
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> io::Result<WaitStatus> {
        let ended = self.reap(0)?;
        ended.ok_or_else(|| io::ErrorKind::Interrupted.into())
    }

    fn reap(&mut self, flags: c_int) -> io::Result<Option<WaitStatus>> {
        if self.status.is_none() {
            let mut status = 0;
            // SAFETY: waitpid writes to the status that it is given; the child is ours and not yet reaped.
            let wait = || unsafe { libc::waitpid(self.pid, &mut status, flags) };
            if check_uninterrupted(wait)? != 0 {
                self.status = Some(WaitStatus(status as u32));
            }
        }
        Ok(self.status)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::os::files::{memory_contents, memory_file};
    use std::fs::{self, File};
    use std::os::fd::AsFd;
    use std::os::unix::fs::PermissionsExt;

    fn run(argv: &[&str]) -> io::Result<(WaitStatus, String, String)> {
        let argv: Vec<OsString> = argv.iter().map(OsString::from).collect();
        let (null, said, told) = (File::open("/dev/null")?, memory_file()?, memory_file()?);
        let mut spawned = spawn_group(&argv, None, [null.as_fd(), said.as_fd(), told.as_fd()])?;
        let status = spawned.wait()?;
        assert_eq!(
            spawned.try_wait()?,
            Some(status),
            "said again, not waited for"
        );
        let text = |file| String::from_utf8(memory_contents(file).unwrap()).unwrap();
        Ok((status, text(&said), text(&told)))
    }

    #[test]
    fn a_program_has_its_words_its_files_and_our_environment() {
        let script = "read x; echo $? $1 \"$PATH\"; echo told >&2; exit 3";
        let (status, said, told) = run(&["sh", "-c", script, "sh", "one"]).unwrap();
        let path = env::var("PATH").unwrap();
        assert_eq!(status, WaitStatus::exited(3));
        assert_eq!(
            (said, told),
            (format!("1 one {path}\n"), "told\n".to_owned())
        );
    }

    #[test]
    fn it_leads_a_group_and_ends_by_signals() {
        let script = "test $(ps -o pgid= -p $$) = $$ && kill -PIPE $$; kill -TERM $$";
        let (status, ..) = run(&["/bin/sh", "-c", script]).unwrap();
        assert_eq!(status.signal(), Some(13), "SIGPIPE, which we ignore");
    }

    #[test]
    fn what_can_not_be_started_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let (denied, text) = (dir.path().join("denied"), dir.path().join("text"));
        for (path, mode) in [(&denied, 0o644), (&text, 0o755)] {
            fs::write(path, "no program").unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        for (program, expected) in [
            ("", libc::ENOENT),
            ("no-such-program-of-that-name", libc::ENOENT),
            ("/no/such/program", libc::ENOENT),
            (denied.to_str().unwrap(), libc::EACCES),
            (text.to_str().unwrap(), libc::ENOEXEC),
        ] {
            let err = run(&[program]).unwrap_err();
            let errno = err.raw_os_error().unwrap_or(libc::ENOENT);
            assert_eq!(errno, expected, "{program}: {err}");
        }
        assert!(run(&[]).is_err() && run(&["a\0b"]).is_err());
    }
}
