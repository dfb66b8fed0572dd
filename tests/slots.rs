//! Job slots between processes: ours with stock's clients in one `DISTCC_DIR`, holders that are killed, waiters that are
//! stopped, and many that wait for one. None of the waits here may be ended by looking now and then: the pause is an hour.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use distcc::farm::slots::{Slot, Slots};
use distcc::farm::topdir::TopDir;
use distcc::model::error::Code;
use distcc::model::hosts::{self, HostSpec};
use distcc::model::settings::ClientSettings;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{mpsc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Much longer than anything here takes, and much shorter than the pause.
const PATIENCE: Duration = Duration::from_secs(30);

/// Long enough to see that somebody waits.
const A_MOMENT: Duration = Duration::from_millis(150);

const HOUR_MS: &str = "3600000";

/// How long a host in trouble is left alone: longer than anything here takes.
const BACKOFF_S: &str = "3600";

/// The client of the other side.
const STOCK: &str = "/usr/bin/distcc";

fn slots_in(dir: &Path, pause_ms: &str) -> Slots {
    let settings = ClientSettings::read(|name| match name {
        "DISTCC_DIR" => Some(dir.into()),
        "DISTCC_PAUSE_TIME_MSEC" => Some(pause_ms.into()),
        "DISTCC_BACKOFF_PERIOD" => Some(BACKOFF_S.into()),
        _ => None,
    })
    .unwrap();
    Slots::open(&TopDir::find(&settings).unwrap(), &settings).unwrap()
}

fn list(text: &str) -> Vec<HostSpec> {
    hosts::parse(text, "test").unwrap().hosts
}

/// Another process that takes a slot and holds it until its input ends. It is this very program, see `helper`.
struct Other {
    child: Child,
    took: mpsc::Receiver<()>,
}

impl Other {
    fn start(dir: &Path, hosts: &str) -> Other {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "helper", "--ignored", "--nocapture"])
            .env("SLOTS_TEST", hosts)
            .env("SLOTS_TEST_DIR", dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, took) = mpsc::channel();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if line.contains("took it") {
                    let _ = sender.send(());
                }
            }
        });
        Other { child, took }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([name, &pid]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Not a test: what [`Other`] runs.
#[test]
#[ignore = "the other process of the tests here"]
fn helper() {
    let Ok(hosts) = std::env::var("SLOTS_TEST") else {
        return;
    };
    let dir = PathBuf::from(std::env::var_os("SLOTS_TEST_DIR").unwrap());
    let slot = slots_in(&dir, HOUR_MS).acquire(&list(&hosts)).unwrap();
    println!("took it");
    let _ = std::io::stdin().read_line(&mut String::new());
    drop(slot);
}

/// Takes a slot in a thread, and says when.
fn acquire_in_thread(dir: &Path, hosts: &str, pause_ms: &str) -> mpsc::Receiver<Slot> {
    let (sender, receiver) = mpsc::channel();
    let (slots, hosts) = (slots_in(dir, pause_ms), list(hosts));
    thread::spawn(move || {
        match slots.acquire(&hosts) {
            Ok(slot) => drop(sender.send(slot)),
            // Also when a test is over and its folder gone.
            Err(err) => println!("no slot: {err}"),
        }
    });
    receiver
}

#[test]
fn a_slot_of_a_killed_process_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let holder = Other::start(dir.path(), "a/1");
    holder.took.recv_timeout(PATIENCE).unwrap();
    let waiting = acquire_in_thread(dir.path(), "a/1", HOUR_MS);
    assert!(waiting.recv_timeout(A_MOMENT).is_err());
    holder.signal("-KILL");
    waiting.recv_timeout(PATIENCE).unwrap();
}

#[test]
fn a_killed_waiter_hands_its_turn_on() {
    let dir = tempfile::tempdir().unwrap();
    let held = slots_in(dir.path(), HOUR_MS).acquire(&list("a/1")).unwrap();
    let first = Other::start(dir.path(), "a/1");
    assert!(first.took.recv_timeout(A_MOMENT).is_err());
    let second = acquire_in_thread(dir.path(), "a/1", HOUR_MS);
    assert!(second.recv_timeout(A_MOMENT).is_err());
    first.signal("-KILL");
    thread::sleep(A_MOMENT);
    drop(held);
    second.recv_timeout(PATIENCE).unwrap();
}

#[test]
fn a_stopped_waiter_does_not_stop_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let held = slots_in(dir.path(), HOUR_MS).acquire(&list("a/1")).unwrap();
    let first = Other::start(dir.path(), "a/1");
    assert!(first.took.recv_timeout(A_MOMENT).is_err());
    first.signal("-STOP");
    // Only here does it take a pause: the one who would be told can't hear.
    let second = acquire_in_thread(dir.path(), "a/1", "50");
    assert!(second.recv_timeout(A_MOMENT).is_err());
    drop(held);
    second.recv_timeout(PATIENCE).unwrap();
}

#[test]
fn those_who_want_other_hosts_are_not_held_up() {
    let dir = tempfile::tempdir().unwrap();
    let slots = slots_in(dir.path(), HOUR_MS);
    let (a, b) = (list("a/1"), list("b/1"));
    let (_a_held, b_held) = (slots.acquire(&a).unwrap(), slots.acquire(&b).unwrap());
    let first = acquire_in_thread(dir.path(), "a/1", HOUR_MS);
    assert!(first.recv_timeout(A_MOMENT).is_err());
    let second = acquire_in_thread(dir.path(), "b/1", HOUR_MS);
    let third = acquire_in_thread(dir.path(), "b/1 a/1", HOUR_MS);
    assert!(second.recv_timeout(A_MOMENT).is_err());
    drop(b_held);
    // Either may be quicker; the slot that it took goes on to the other.
    let begun = Instant::now();
    let late = loop {
        assert!(begun.elapsed() < PATIENCE, "nobody took the slot");
        if second.recv_timeout(Duration::from_millis(10)).is_ok() {
            break third;
        }
        if third.recv_timeout(Duration::from_millis(10)).is_ok() {
            break second;
        }
    };
    assert_eq!(late.recv_timeout(PATIENCE).unwrap().host.name(), "b");
}

/// Each of 64 waiters gets the one slot, one after another; says how long it was free in between.
#[test]
fn sixty_four_wait_for_one_slot() {
    let dir = tempfile::tempdir().unwrap();
    let slots = slots_in(dir.path(), HOUR_MS);
    let hosts = list("a/1");
    let freed = Mutex::new(Instant::now());
    let held = slots.acquire(&hosts).unwrap();
    let mut delays = thread::scope(|scope| {
        let wait = || {
            let slot = slots.acquire(&hosts).unwrap();
            let mut freed = freed.lock().unwrap();
            let delay = freed.elapsed();
            thread::sleep(Duration::from_millis(5));
            *freed = Instant::now();
            drop(slot);
            delay
        };
        let waiters: Vec<_> = (0..64).map(|_| scope.spawn(wait)).collect();
        thread::sleep(A_MOMENT);
        *freed.lock().unwrap() = Instant::now();
        drop(held);
        let delays = waiters.into_iter().map(|waiter| waiter.join().unwrap());
        delays.collect::<Vec<_>>()
    });
    delays.sort_unstable();
    println!(
        "64 waiters: the slot was free for {:?} (median), {:?} (worst)",
        delays[32], delays[63]
    );
    assert!(delays[32] < Duration::from_secs(1), "{:?}", delays[32]);
}

/// A stock client with its own folder for the job, beside a compiler that takes as long as the test wants.
struct Stock {
    dir: tempfile::TempDir,
    listener: TcpListener,
}

impl Stock {
    fn new() -> Option<Stock> {
        if !Path::new(STOCK).exists() {
            println!("skipped: there is no {STOCK}");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let compiler = dir.path().join("slowcc");
        // As a preprocessor it waits and fails, as a compiler it does nothing.
        let script =
            "#!/bin/sh\ncase \"$*\" in *-E*) while [ ! -e go ]; do sleep 0.01; done; exit 1;; esac\n";
        fs::write(&compiler, script).unwrap();
        fs::set_permissions(&compiler, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(dir.path().join("x.c"), "int x;\n").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Some(Stock { dir, listener })
    }

    /// The one host, with one slot: nobody answers there, but connections come about.
    fn hosts(&self) -> String {
        format!("{}/1", self.listener.local_addr().unwrap())
    }

    fn top(&self) -> PathBuf {
        let top = self.dir.path().join("top");
        let _ = fs::create_dir(&top);
        top
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// With a period of 0 the host is not blamed for what goes wrong.
    fn start(&self, backoff_s: &str) -> Child {
        Command::new(STOCK)
            .args(["./slowcc", "-c", "x.c"])
            .current_dir(self.dir.path())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("TMPDIR", self.dir.path())
            .env("DISTCC_DIR", self.top())
            .env("DISTCC_HOSTS", self.hosts())
            .env("DISTCC_BACKOFF_PERIOD", backoff_s)
            .env("DISTCC_VERBOSE", "1")
            .env("DISTCC_LOG", self.dir.path().join("log"))
            .env("DISTCC_PAUSE_TIME_MSEC", "20")
            .spawn()
            .unwrap()
    }

    fn await_log(&self, words: &str) {
        let begun = Instant::now();
        while !self.log().contains(words) {
            assert!(begun.elapsed() < PATIENCE, "no '{words}' in {}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn go(&self) {
        fs::write(self.dir.path().join("go"), "").unwrap();
    }
}

#[test]
fn ours_wait_for_a_slot_that_stock_holds() {
    let Some(stock) = Stock::new() else { return };
    let mut job = stock.start("0");
    stock.await_log("got cpu lock on");
    let waiting = acquire_in_thread(&stock.top(), &stock.hosts(), HOUR_MS);
    assert!(waiting.recv_timeout(A_MOMENT).is_err());
    stock.go();
    waiting.recv_timeout(PATIENCE).expect("stock released it");
    assert!(job.wait().unwrap().success());
}

#[test]
fn ours_get_the_slot_of_a_killed_stock_client() {
    let Some(stock) = Stock::new() else { return };
    let mut job = stock.start("0");
    stock.await_log("got cpu lock on");
    let waiting = acquire_in_thread(&stock.top(), &stock.hosts(), HOUR_MS);
    assert!(waiting.recv_timeout(A_MOMENT).is_err());
    job.kill().unwrap();
    job.wait().unwrap();
    // Its preprocessor has inherited the descriptor of the lock, so the file is closed when that ends, too.
    stock.go();
    waiting.recv_timeout(PATIENCE).expect("stock is gone");
}

#[test]
fn stock_waits_for_a_slot_that_ours_hold() {
    let Some(stock) = Stock::new() else { return };
    let slots = slots_in(&stock.top(), HOUR_MS);
    let held = slots.acquire(&list(&stock.hosts())).unwrap();
    let mut job = stock.start("0");
    stock.await_log("nothing available, sleeping");
    stock.listener.set_nonblocking(true).unwrap();
    let nobody = stock.listener.accept().unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::WouldBlock);
    drop(held);
    stock.await_log("got cpu lock on");
    stock.go();
    assert!(job.wait().unwrap().success());
}

#[test]
fn trouble_is_known_to_both() {
    let Some(stock) = Stock::new() else { return };
    let slots = slots_in(&stock.top(), HOUR_MS);
    stock.go();
    // Stock marks it when the preprocessor fails (its own fault, but such is stock), and then compiles here.
    assert!(stock.start(BACKOFF_S).wait().unwrap().success());
    let hosts = list(&stock.hosts());
    assert_eq!(slots.acquire(&hosts).unwrap_err().code, Code::NoHosts);
    slots.clear_trouble(&hosts[0]);
    slots.acquire(&hosts).unwrap();
    slots.mark_trouble(&hosts[0]);
    let before = stock.log().len();
    assert!(stock.start(BACKOFF_S).wait().unwrap().success());
    assert!(stock.log()[before..].contains("still in backoff period for"));
}
