//! The include server from its start to its end: sockets, the threads that answer on them, and what is removed when it is
//! told to end or whoever started it has gone.

use super::analysis::Analyst;
use super::ask_compiler::environment;
use super::include_server_options::{parse, ready_descriptor, Asked, Options, USAGE};
use super::spool::{Base, Spool};
use super::talk::Office;
use crate::model::error::{Code, Error, Result, Status};
use crate::os::daemonize::{background, raise_descriptor_limit};
use crate::os::heap::use_shelves;
use crate::os::net::wait_readable;
use crate::os::process::{inherited, spent};
use crate::os::store::grow_in_large_pages;
use crate::os::supervise;
use std::env;
use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Room that is made at once for what is learnt: addresses only, in bytes.
const ROOM_BYTES: usize = 128 << 20;

/// The socket for clients of ours, beside the one that stock's clients know.
const DIRECT: &str = "direct";

/// How many connections are served at the same time on each socket.
const THREADS_MAX: usize = 128;

/// Room for what an analysis nests; only what is used takes memory.
const STACK_BYTES: usize = 64 << 20;

/// How long to wait when there are no descriptors for another connection.
const BREATH: Duration = Duration::from_millis(20);

/// What stock's include server exits with when it does not understand its words.
const USAGE_STATUS: Status = Status(1);

/// The include server as a program.
pub fn include_server(words: Vec<OsString>) -> Result<Status> {
    let options = match parse(words.get(1..).unwrap_or_default()) {
        Ok(Asked::Serve(options)) => *options,
        Ok(Asked::Help) => {
            print(USAGE);
            return Ok(Status::OK);
        }
        Err(why) => return refuse(&words, &why),
    };
    let mut report = report(options.ready)?;
    let served = serve(options, report.as_mut());
    if let (Err(err), Some(report)) = (&served, &mut report) {
        report_failure(report, &err.message);
    }
    served
}

/// What to say to whoever waits for us to be ready.
fn report(descriptor: Option<i32>) -> Result<Option<File>> {
    let report = descriptor.map(inherited).transpose();
    let report = report.map_err(|err| Error::io("use the descriptor of --ready-fd", &err))?;
    Ok(report.map(File::from))
}

fn report_failure(report: &mut File, why: &str) {
    let _ = writeln!(report, "error: {}", why.replace('\n', " "));
}

/// Words that are not understood: our wrapper passes on why, everybody else sees how it is done.
fn refuse(words: &[OsString], why: &str) -> Result<Status> {
    match report(ready_descriptor(words)) {
        Ok(Some(mut report)) => report_failure(&mut report, why),
        _ => {
            let _ = writeln!(io::stderr(), "include_server: {why}");
            print(USAGE);
        }
    }
    Ok(USAGE_STATUS)
}

fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

fn serve(options: Options, report: Option<&mut File>) -> Result<Status> {
    let begun = Instant::now();
    // A panic ends the analysis that it is in.
    drop(std::panic::take_hook());
    let trouble = |what: &'static str| move |err: io::Error| Error::io(what, &err);
    let client_tmp = env::var_os("DISTCC_CLIENT_TMP");
    let base =
        Base::find(client_tmp.as_deref()).map_err(|why| Error::new(Code::BadArguments, why))?;
    let control = options.control.map(inherited).transpose();
    let control = control.map_err(trouble("use the descriptor of --control-fd"))?;
    // Stock's wrapper waits for our end before it goes on; ours waits for a word.
    let launcher = match control {
        Some(_) => None,
        None => Some(background("").map_err(trouble("go to the background"))?),
    };
    supervise::note_final_signals().map_err(trouble("prepare for signals"))?;
    raise_descriptor_limit();
    use_shelves();
    grow_in_large_pages(ROOM_BYTES);
    write_pid(&options)?;
    base.remove_orphans();
    let sockets = Sockets::bind(&options.port)?;
    let analyst = Analyst::new(environment(env::vars_os()));
    let path = env::var_os("PATH").unwrap_or_default();
    let time = options.time;
    let office = Arc::new(Office::new(analyst, Spool::new(base), options, path));
    sockets.serve(&office)?;
    if let Some(launcher) = launcher {
        launcher
            .well()
            .map_err(trouble("report that all is well"))?;
    }
    if let Some(report) = report {
        report
            .write_all(b"ready\n")
            .map_err(trouble("report that all is well"))?;
    }
    wait_for_the_end(control.map(File::from));
    sockets.remove();
    office.spool.close();
    if time {
        print_times(begun);
    }
    Ok(Status::OK)
}

fn write_pid(options: &Options) -> Result<()> {
    let Some(path) = &options.pid_file else {
        return Ok(());
    };
    let line = format!("{}\n", std::process::id());
    let failed = |err| Error::io(format!("write {}", path.display()), &err);
    fs::write(path, line).map_err(failed)
}

/// Waits for a signal, or for whoever started us to close the other end of `control`.
fn wait_for_the_end(mut control: Option<File>) {
    loop {
        let signals = supervise::coming();
        let controlled = control.as_ref().map(File::as_fd);
        let fds: Vec<BorrowedFd> = [signals, controlled].into_iter().flatten().collect();
        let ready = wait_readable(&fds, None);
        if let Some(signal) = supervise::noted() {
            // What the user's own key did, he may want to see acknowledged.
            if signal == 2 {
                let _ = writeln!(io::stderr(), "include_server: interrupted, cleaning up");
            }
            return;
        }
        if let (Ok(Some(1)), Some(control)) = (ready, &mut control) {
            match control.read(&mut [0; 64]) {
                Ok(0) => return,
                Err(err) if err.kind() != io::ErrorKind::Interrupted => return,
                _ => {}
            }
        }
    }
}

fn print_times(begun: Instant) {
    let [user, system] = spent().own;
    let text = format!(
        "Include server timing. Elapsed: {:.3} s. User: {:.3} s. System: {:.3} s.\n",
        begun.elapsed().as_secs_f64(),
        user.as_secs_f64(),
        system.as_secs_f64()
    );
    let _ = io::stderr().write_all(text.as_bytes());
}

/// The sockets, and where they are.
struct Sockets {
    port: PathBuf,
    for_stock: UnixListener,
    direct: Option<(PathBuf, UnixListener)>,
}

impl Sockets {
    fn bind(port: &Path) -> Result<Sockets> {
        let failed = |err| Error::io(format!("listen on {}", port.display()), &err);
        let for_stock = bind(port).map_err(failed)?;
        let beside = port.with_file_name(DIRECT);
        // Where several include servers share a folder, the first one has it.
        let direct = match UnixStream::connect(&beside) {
            Ok(_) => None,
            Err(_) => match bind(&beside) {
                Ok(listener) => Some((beside, listener)),
                Err(err) => {
                    let _ = fs::remove_file(port);
                    return Err(Error::io(format!("listen on {}", beside.display()), &err));
                }
            },
        };
        Ok(Sockets {
            port: port.to_owned(),
            for_stock,
            direct,
        })
    }

    fn serve(&self, office: &Arc<Office>) -> Result<()> {
        let failed = |err| Error::io("start a thread", &err);
        let listener = self.for_stock.try_clone().map_err(failed)?;
        Counter::open(office, listener, Office::paths).map_err(failed)?;
        if let Some((_, listener)) = &self.direct {
            let listener = listener.try_clone().map_err(failed)?;
            Counter::open(office, listener, Office::direct).map_err(failed)?;
        }
        Ok(())
    }

    fn remove(&self) {
        let _ = fs::remove_file(&self.port);
        if let Some((path, _)) = &self.direct {
            let _ = fs::remove_file(path);
        }
    }
}

/// A socket for this user only, in place of whatever is there.
fn bind(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Where connections to one socket are served, by as many threads as are needed.
struct Counter {
    office: Arc<Office>,
    listener: UnixListener,
    /// Serves one; whether it may wait for a client that does something else meanwhile.
    serve: fn(&Office, UnixStream, bool),
    /// Threads that wait for a connection.
    idle: AtomicUsize,
    threads: AtomicUsize,
}

impl Counter {
    fn open(
        office: &Arc<Office>,
        listener: UnixListener,
        serve: fn(&Office, UnixStream, bool),
    ) -> io::Result<()> {
        let counter = Arc::new(Counter {
            office: Arc::clone(office),
            listener,
            serve,
            idle: AtomicUsize::new(0),
            threads: AtomicUsize::new(0),
        });
        Counter::add(&counter)
    }

    fn add(counter: &Arc<Counter>) -> io::Result<()> {
        counter.threads.fetch_add(1, Ordering::AcqRel);
        let own = Arc::clone(counter);
        let thread = thread::Builder::new().stack_size(STACK_BYTES);
        match thread.spawn(move || own.work()) {
            Ok(_) => Ok(()),
            Err(err) => {
                counter.threads.fetch_sub(1, Ordering::AcqRel);
                Err(err)
            }
        }
    }

    fn work(self: Arc<Self>) {
        loop {
            self.idle.fetch_add(1, Ordering::AcqRel);
            let accepted = self.listener.accept();
            let waiting = self.idle.fetch_sub(1, Ordering::AcqRel) - 1;
            match accepted {
                Ok((stream, _)) => {
                    // Without another one the next connection waits for this one's end.
                    let has_another = waiting > 0
                        || self.threads.load(Ordering::Acquire) < THREADS_MAX
                            && Counter::add(&self).is_ok();
                    // A panic ends the request that it is in, and nothing else.
                    let serve = || (self.serve)(&self.office, stream, has_another);
                    let request = AssertUnwindSafe(serve);
                    let _ = catch_unwind(request);
                }
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => thread::sleep(BREATH),
            }
        }
    }
}
