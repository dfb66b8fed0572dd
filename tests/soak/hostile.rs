//! Jobs that mean harm, or are ended midway, each in its own way; what the daemon must say of each.

use super::common::v3::Files;
use super::common::{wait_for, Daemon, Farm, Which, BOUND};
use super::work::connect;
use distcc::model::wire::{encode_plain_request, encode_request_head, Version};
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;

/// One kind of them.
pub struct Kind {
    /// For people.
    pub name: &'static str,
    /// What a line of the log holds about it.
    pub reason: &'static [&'static str],
    act: fn(&Hostile, &Daemon, usize),
}

/// All kinds.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "garbage",
        reason: &["no request that could be served", "was due"],
        act: |_, daemon, client| {
            let garbage: Vec<u8> = (0..5000_u32).map(|at| (at * at % 251) as u8).collect();
            send(connect(daemon, client), &garbage);
        },
    },
    Kind {
        name: "cut",
        reason: &["the peer hung up where"],
        act: |_, daemon, client| {
            let whole = request("gcc -c x.c -o x.o", &"int a;\n".repeat(900));
            let stream = connect(daemon, client);
            let _ = (&stream).write_all(&whole[..whole.len() / 2]);
            let _ = stream.shutdown(Shutdown::Write);
            drain(stream);
        },
    },
    Kind {
        name: "hung up while it is compiled",
        reason: &["lasting x.c: killed, the client hung up"],
        act: |hostile, daemon, client| {
            let mark = hostile.mark();
            let words = format!("lasting -frandom-seed={mark} -c x.c -o x.o");
            let mut stream = connect(daemon, client);
            let _ = stream.write_all(&request(&words, "int a;\n"));
            hostile.wait_for(&mark);
        },
    },
    Kind {
        name: "client killed while it is compiled",
        reason: &["lasting x.i: killed, the client hung up"],
        act: |hostile, daemon, _| hostile.kill_client(daemon),
    },
    Kind {
        name: "forks without end",
        reason: &["forking", "COMPILE_ERROR"],
        act: |_, daemon, client| {
            let forking = request("forking -c x.c -o x.o", "int a;\n");
            send(connect(daemon, client), &forking);
        },
    },
    Kind {
        name: "talks without end",
        reason: &["flooding", "COMPILE_ERROR"],
        act: |_, daemon, client| {
            let flooding = request("flooding -c x.c -o x.o", "int a;\n");
            send(connect(daemon, client), &flooding);
        },
    },
    Kind {
        name: "a program by an option",
        reason: &["job refused", "-wrapper"],
        act: |_, daemon, client| {
            let words = "gcc -wrapper sh,-c,id -c x.c -o x.o";
            send(connect(daemon, client), &request(words, "int a;\n"));
        },
    },
    Kind {
        name: "another program",
        reason: &["job refused", "/bin/sh"],
        act: |_, daemon, client| {
            let words = "/bin/sh -c x.c -o x.o";
            send(connect(daemon, client), &request(words, "int a;\n"));
        },
    },
    Kind {
        name: "a path out of the job",
        reason: &["job refused", "shadow"],
        act: |_, daemon, client| {
            let files = Files::new("/home/me", "gcc -c x.c -o x.o")
                .file("x.c", "int a;\n")
                .link("link", "/etc")
                .file("link/shadow", "root::0:0:::::\n");
            send(connect(daemon, client), &files.bytes());
        },
    },
    Kind {
        name: "a bomb",
        reason: &["expanded bytes", "more than the limit"],
        act: |_, daemon, client| {
            let mut stream = b"\x15    \x20".to_vec();
            stream.resize(4 << 20, 0);
            stream.extend(b"\x01\0\0\x11\0\0");
            let words = [b"gcc".as_slice(), b"-c", b"x.c", b"-o", b"x.o"];
            let mut bomb = encode_request_head(Version::V2, &words).unwrap();
            bomb.extend(format!("DOTI{:08x}", stream.len()).bytes());
            bomb.extend(stream);
            send(connect(daemon, client), &bomb);
        },
    },
    Kind {
        name: "idle",
        reason: &[],
        act: |hostile, daemon, client| {
            let mut stream = connect(daemon, client);
            let _ = stream.write_all(b"DIST00000001ARGC00");
            hostile.idle.lock().unwrap().push(stream);
        },
    },
];

/// What they need.
pub struct Hostile<'f> {
    farm: &'f Farm,
    folder: PathBuf,
    idle: Mutex<Vec<TcpStream>>,
    marks: AtomicUsize,
}

/// Leaves a mark of the name that it was given, and stays.
const LASTING: &str = r#"
for word; do case $word in -frandom-seed=*) : > "${0%/*}/${word#*=}";; esac; done
trap '' TERM
sleep 600 & while :; do sleep 600; done"#;

/// Compilers that were taken over.
const COMPILERS: &[(&str, &str)] = &[
    ("lasting", LASTING),
    ("forking", "while :; do sleep 600 & done"),
    ("flooding", "exec yes >&2"),
];

impl Hostile<'_> {
    /// Writes their compilers.
    pub fn new(farm: &Farm) -> Hostile<'_> {
        let folder = farm.new_folder("hostile");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        for (name, script) in COMPILERS {
            let path = folder.join(name);
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Hostile {
            farm,
            folder,
            idle: Mutex::default(),
            marks: AtomicUsize::new(0),
        }
    }

    /// Where they leave marks.
    pub fn folder(&self) -> String {
        self.folder.display().to_string()
    }

    /// What the daemon has to be told of them.
    pub fn compilers(&self) -> String {
        let paths = COMPILERS
            .iter()
            .map(|(name, _)| self.folder.join(name).display().to_string());
        paths.collect::<Vec<_>>().join(",")
    }

    /// Does the next misdeed.
    pub fn act(&self, daemon: &Daemon, client: usize, number: usize) {
        let kind = &KINDS[number % KINDS.len()];
        (kind.act)(self, daemon, client);
    }

    /// Closes the connections on which nothing happens.
    pub fn let_go(&self) {
        self.idle.lock().unwrap().clear();
    }

    fn mark(&self) -> String {
        let number = self.marks.fetch_add(1, Ordering::Relaxed);
        format!("mark-{number}")
    }

    fn wait_for(&self, mark: &str) {
        let path = self.folder.join(mark);
        wait_for("the compiler runs", BOUND, || path.exists());
        fs::remove_file(path).unwrap();
    }

    fn kill_client(&self, daemon: &Daemon) {
        let mark = self.mark();
        let seed = format!("-frandom-seed={mark}");
        let lasting = self.folder.join("lasting").display().to_string();
        let folder = self.farm.new_folder("killed");
        fs::write(folder.join("x.i"), "# 1 \"x.c\"\nint a;\n").unwrap();
        let client = self
            .farm
            .client(Which::Ours, &format!("{}/64", daemon.host()));
        let client = client.folder(&folder).env("DISTCC_FALLBACK", "0");
        let (running, _) = client.start(&[&lasting, &seed, "-c", "x.i", "-o", "x.o"]);
        self.wait_for(&mark);
        running.signal("KILL");
        running.finish(BOUND);
    }
}

fn request(words: &str, text: &str) -> Vec<u8> {
    let words: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
    encode_plain_request(Version::V1, &words, [text.as_bytes(), b""]).unwrap()
}

/// The daemon may hang up in the middle.
fn send(mut stream: TcpStream, bytes: &[u8]) {
    let _ = stream.write_all(bytes);
    drain(stream);
}

/// Reads whatever comes, until the end.
fn drain(mut stream: TcpStream) {
    let mut piece = [0; 1 << 16];
    while stream.read(&mut piece).is_ok_and(|count| count > 0) {}
}
