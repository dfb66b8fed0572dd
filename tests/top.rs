//! `distcc top`: through a terminal, whose screen is looked at as a terminal would show it, and as plain lines; with our
//! clients, stock's, and state files that nobody should believe.
#![allow(clippy::unwrap_used)]

mod common;

use common::{have, signal, wait_for, Client, Farm, Peer, Running, Which, BOUND, OURS};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

fn start(client: &Client, object: &str) -> Running {
    client.start(&["gcc", "-c", "words.c", "-o", object]).0
}

/// What one look prints.
fn once(client: &Client) -> String {
    client.run_other(&[OURS, "top", "--once"]).expect(0).stdout
}

/// `distcc top` on a terminal of 24 lines and 100 columns.
struct Terminal {
    child: Child,
    pty: Arc<pty_process::blocking::Pty>,
    screen: Arc<Mutex<vt100::Parser>>,
}

/// A command on such a terminal.
fn spawn(client: &Client, words: &[&str]) -> (Child, pty_process::blocking::Pty) {
    let (pty, pts) = pty_process::blocking::open().unwrap();
    pty.resize(pty_process::Size::new(24, 100)).unwrap();
    let mut vars = std::process::Command::new("env");
    client.dress(&mut vars);
    let vars = vars
        .get_envs()
        .filter_map(|(name, value)| Some((name, value?)));
    let child = pty_process::blocking::Command::new(words[0])
        .args(&words[1..])
        .env_clear()
        .envs(vars)
        .env("TERM", "xterm")
        .env("DISTCC_LOG", "")
        .spawn(pts);
    (child.unwrap(), pty)
}

impl Terminal {
    fn start(client: &Client, words: &[&str]) -> Terminal {
        Terminal::run(client, &[&[OURS, "top"], words].concat())
    }

    fn run(client: &Client, words: &[&str]) -> Terminal {
        let (child, pty) = spawn(client, words);
        let pty = Arc::new(pty);
        let screen = Arc::new(Mutex::new(vt100::Parser::new(24, 100, 0)));
        let (reader, parser) = (pty.clone(), screen.clone());
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = (&*reader).read(&mut bytes) {
                parser.lock().unwrap().process(&bytes[..length]);
            }
        });
        Terminal { child, pty, screen }
    }

    /// What is on the screen, with single blanks.
    fn text(&self) -> String {
        let contents = self.screen.lock().unwrap().screen().contents();
        contents.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[track_caller]
    fn shows(&self, part: &str) {
        let begun = std::time::Instant::now();
        while !self.text().contains(part) {
            assert!(
                begun.elapsed() < BOUND,
                "'{part}' is not in\n{}",
                self.text()
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn press(&self, keys: &str) {
        (&*self.pty).write_all(keys.as_bytes()).unwrap();
    }

    /// Waits for the end; the terminal has to be as it was.
    #[track_caller]
    fn ended(&mut self) -> std::process::ExitStatus {
        wait_for("the end of top", BOUND, || {
            self.child.try_wait().unwrap().is_some()
        });
        let is_restored = || {
            let parser = self.screen.lock().unwrap();
            !parser.screen().alternate_screen() && !parser.screen().hide_cursor()
        };
        wait_for("the terminal as it was", BOUND, is_restored);
        self.child.wait().unwrap()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_busy_farm_on_a_terminal() {
    if !have("top", &["gcc"]) {
        return;
    }
    let farm = Farm::new();
    farm.write("words.c", "int f(void) { return 1; }\n");
    let server = Peer::silent();
    let hosts = format!("{}/2 127.0.0.1:1/3", server.host());
    let client = farm.client(Which::Ours, &hosts);
    fs::create_dir_all(farm.path("top/lock")).unwrap();
    fs::write(farm.path("top/lock/backoff_tcp_127.0.0.1_1_0"), "x").unwrap();
    let mut terminal = Terminal::start(&client, &["0.1"]);
    terminal.shows("nothing runs");
    terminal.shows("127.0.0.1:1/3 is left alone for ");
    let mut clients: Vec<Running> = (0..5).map(|n| start(&client, &format!("{n}.o"))).collect();
    terminal.shows("all 2 slots elsewhere are taken and 3 wait: more servers would help");
    terminal.shows("slots elsewhere 2 of 5");
    terminal.shows("3 wait; 0 finished");
    wait_for("two compiles on the screen", BOUND, || {
        terminal.text().matches(" Compile ").count() == 2
    });
    terminal.shows("0 of 3 slots; failed, left alone for");
    terminal.press("s");
    terminal.shows("by time");
    terminal.press("h");
    terminal.shows("hold the picture");
    terminal.press("h");
    // Terminals with no room at all, which can only be survived.
    for (rows, columns) in [(1, 1), (3, 20)] {
        let size = pty_process::Size::new(rows, columns);
        terminal.pty.resize(size).unwrap();
        thread::sleep(Duration::from_millis(300));
    }
    // A smaller terminal, and a larger one again.
    for (rows, columns) in [(10, 40), (30, 120)] {
        terminal.screen.lock().unwrap().set_size(rows, columns);
        terminal
            .pty
            .resize(pty_process::Size::new(rows, columns))
            .unwrap();
        terminal.shows("q quit");
        let last = terminal
            .screen
            .lock()
            .unwrap()
            .screen()
            .rows(0, columns)
            .last();
        assert!(last.is_some());
    }
    terminal.shows("Compile words.c");
    terminal.press("p");
    terminal.shows("(held)");
    while let Some(client) = clients.pop() {
        client.signal("TERM");
        client.finish(BOUND);
    }
    terminal.shows("3 wait; 0 finished");
    terminal.press("p");
    // Those that still waited have said nothing to monitors, so they are not counted; one may have got a slot meanwhile.
    terminal.shows(" 0 wait; ");
    let text = terminal.text();
    let count = text
        .split(" 0 wait; ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    let count: u64 = count.unwrap().parse().unwrap();
    assert!((2..=5).contains(&count), "{text}");
    terminal.shows("nothing runs");
    terminal.press("q");
    assert!(terminal.ended().success());
}

#[test]
fn signals_and_control_c_leave_the_terminal_as_it_was() {
    let farm = Farm::new();
    let client = farm.client(Which::Ours, "127.0.0.1:1");
    for name in ["TERM", "INT", "HUP"] {
        let mut terminal = Terminal::start(&client, &[]);
        terminal.shows("nothing runs");
        signal(name, &terminal.child.id().to_string());
        assert!(terminal.ended().signal().is_some(), "{name}");
    }
    let mut terminal = Terminal::start(&client, &["60"]);
    terminal.shows("nothing runs");
    terminal.press("\x03");
    assert!(terminal.ended().success());
}

/// The terminal is the shell's while it is stopped, and drawn anew when it goes on.
#[test]
fn a_shell_stops_it_and_lets_it_go_on() {
    let farm = Farm::new();
    let client = farm.client(Which::Ours, "127.0.0.1:1");
    let script =
        "set -m; $0 top 60; stty -a; echo and now it stands; read line; fg; echo and now it ends";
    let mut terminal = Terminal::run(&client, &["sh", "-c", script, OURS]);
    let is_alternate = |terminal: &Terminal| {
        let parser = terminal.screen.lock().unwrap();
        parser.screen().alternate_screen()
    };
    terminal.shows("nothing runs");
    assert!(is_alternate(&terminal));
    terminal.press("\x1a");
    terminal.shows("and now it stands");
    assert!(!is_alternate(&terminal));
    let text = terminal.text();
    assert!(
        text.contains(" icanon ") && text.contains(" echo "),
        "{text}"
    );
    terminal.press("\n");
    terminal.shows("nothing runs");
    terminal.press("q");
    terminal.shows("and now it ends");
    assert!(terminal.ended().success());
}

#[test]
fn what_was_drawn_over_it_while_it_was_stopped_is_gone() {
    let farm = Farm::new();
    let client = farm.client(Which::Ours, "127.0.0.1:1");
    let mut terminal = Terminal::start(&client, &["60"]);
    terminal.shows("nothing runs");
    let pid = terminal.child.id().to_string();
    signal("STOP", &pid);
    let drawn = b"\x1b[?1049l\x1b[2Ja prompt";
    terminal.screen.lock().unwrap().process(drawn);
    signal("CONT", &pid);
    terminal.shows("nothing runs");
    terminal.press("q");
    assert!(terminal.ended().success());
}

/// Of keys that come at once all but the first are no longer to be had from the terminal.
#[test]
fn keys_that_come_together_do_not_wait_for_one_another() {
    let farm = Farm::new();
    let client = farm.client(Which::Ours, "127.0.0.1:1");
    let mut terminal = Terminal::start(&client, &["60"]);
    terminal.shows("nothing runs");
    // If each took the time after which it looks for signals these would take longer than the test waits.
    terminal.press(&format!("{}q", "s".repeat(600)));
    assert!(terminal.ended().success());
}

/// A terminal that is closed ends it, also if it is told of by nothing else.
#[test]
fn it_ends_with_its_terminal() {
    let farm = Farm::new();
    let client = farm.client(Which::Ours, "127.0.0.1:1");
    let deaf = ["sh", "-c", "trap '' HUP; exec $0 top 60", OURS];
    for words in [&[OURS, "top", "60"][..], &deaf] {
        let (mut child, mut pty) = spawn(&client, words);
        let mut seen = Vec::new();
        while !seen.ends_with(b"help") {
            let mut byte = [0];
            pty.read_exact(&mut byte).unwrap();
            seen.extend(byte);
        }
        drop(pty);
        wait_for("the end of top", BOUND, || {
            child.try_wait().unwrap().is_some()
        });
        let status = child.wait().unwrap();
        let is_told = status.signal() == Some(1) || status.code() == Some(107);
        assert!(is_told, "{words:?}: {status}");
    }
}

#[test]
fn both_kinds_of_clients_as_plain_lines() {
    if !have("top", &["distcc", "gcc"]) {
        return;
    }
    let farm = Farm::new();
    farm.write("words.c", "int f(void) { return 1; }\n");
    let server = Peer::silent();
    let client = farm.client(Which::Ours, &format!("{}/4", server.host()));
    let mut clients: Vec<Running> = [Which::Ours, Which::Stock]
        .map(|which| start(&farm.client(which, &format!("{}/4", server.host())), "x.o"))
        .into();
    wait_for("both compile there", BOUND, || {
        once(&client).matches("] Compile ").count() == 2
    });
    let said = once(&client);
    for part in [
        "slots elsewhere 2 of 4, here 0 of ",
        "limit: 2 of 4 slots elsewhere are free",
        &format!("{}/4: 2 of 4 slots\n", server.host()),
        "  [0] Compile     words.c  ",
        "  [1] Compile     words.c  ",
        &format!(" in all, process {}\n", clients[0].pid()),
        &format!(" in all, process {}\n", clients[1].pid()),
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    // Another list: what clients say of hosts is shown all the same.
    let other = farm.client(Which::Ours, "127.0.0.2");
    assert!(once(&other).contains("127.0.0.1: 2 jobs; not in this host list\n"));
    while let Some(client) = clients.pop() {
        client.signal("KILL");
        client.finish(BOUND);
    }
}

#[test]
fn what_is_no_state_file_is_passed_over() {
    let farm = Farm::new();
    let client = farm.client(Which::Ours, "a b/2,down");
    let state = farm.path("top/state");
    fs::create_dir_all(state.join("binstate_7")).unwrap();
    fs::write(state.join("binstate_8"), vec![0xff; 296]).unwrap();
    fs::write(state.join("binstate_x"), "").unwrap();
    // Whole, but of a hostile name: written by a process that lives, this one.
    let pid = std::process::id();
    let mut record = vec![0u8; 296];
    record[..8].copy_from_slice(&296u64.to_ne_bytes());
    record[8..16].copy_from_slice(&0x4449_4800u64.to_ne_bytes());
    record[16..24].copy_from_slice(&u64::from(pid).to_ne_bytes());
    record[24..32].copy_from_slice(b"\x1b[2J\xff\n.c");
    record[152..156].copy_from_slice(b"a\x1b[m");
    record[280..284].copy_from_slice(&(-5i32).to_ne_bytes());
    record[284..288].copy_from_slice(&99i32.to_ne_bytes());
    fs::write(state.join(format!("binstate_{pid}")), &record).unwrap();
    let said = once(&client);
    assert!(
        said.contains("a?[m: 1 jobs; not in this host list\n"),
        "{said}"
    );
    assert!(said.contains("[0] Compile     ?[2J\u{fffd}?.c  "), "{said}");
    assert!(
        said.contains("b/2,down: not to be used (,down)\n"),
        "{said}"
    );
    assert!(!said.contains('\x1b'));
    let terminal = Terminal::start(&client, &["0.1"]);
    terminal.shows("?[2J");
}

#[test]
fn plain_lines_repeat_and_end_with_their_reader() {
    let farm = Farm::new();
    let client = farm.client(Which::Ours, "a");
    let mut command = std::process::Command::new(OURS);
    client.dress(&mut command);
    let mut child = command
        .args(["top", "0.05"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut text = [0; 600];
    let mut reader = child.stdout.take().unwrap();
    reader.read_exact(&mut text).unwrap();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(text.matches("limit: nothing runs\n").count() > 1, "{text}");
    drop(reader);
    assert!(!child.wait().unwrap().success());
    // Without a list, and with a wrong word.
    let none = farm.client(Which::Ours, "");
    assert!(once(&none).contains("nothing runs"));
    let ran = client.run_other(&[OURS, "top", "soon"]).expect(101);
    assert!(
        ran.stderr.contains("'soon' is no number of seconds"),
        "{ran}"
    );
}
