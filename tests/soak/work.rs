//! Honest jobs: small sources of which each holds a number of its own, so that no object can be taken for another's.

use super::common::fake::{reply, rest_of};
use super::common::v3::Files;
use super::common::{run, Daemon, Farm, Went, Which, BOUND};
use distcc::model::about::About;
use distcc::model::wire::{encode_plain_request, Version};
use socket2::{Domain, Socket, Type};
use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;

/// Of so many honest jobs one is a whole client's, with its own preprocessor.
const CLIENT_EVERY: usize = 40;

/// Stands in the sources where each job has its number.
const MARK: u64 = 0x5eed_0ff1_ce5e_1ec7;

/// The header that each source includes.
const HEADER: &str = "#define NUMBER 0x5eed0ff1ce5e1ec7ULL\ntypedef unsigned long long number;\n";

/// Sources, and their commands.
const SOURCES: &[(&str, &str, &str)] = &[
    (
        "a.c",
        "gcc -O2 -Wall -Iinc -c a.c -o a.o",
        "#include <number.h>\nconst number it = NUMBER;\nint sum(const int *v, int n) { int s = 0; while (n-- > 0) s += v[n]; return s; }\n",
    ),
    (
        "b.c",
        "gcc -Iinc -c b.c -o b.o",
        "#include <number.h>\nstatic const number it = NUMBER;\nconst number *where(void) { return &it; }\nint unused_but_there(int x) { return x * 3; }\n",
    ),
    (
        "c.cc",
        "g++ -O1 -fno-exceptions -Iinc -c c.cc -o c.o",
        "#include <number.h>\nextern const number it = NUMBER;\ntemplate <class T> struct box { T value; T get() const { return value; } };\ntemplate struct box<number>;\n",
    ),
];

/// One source, in every form in which it is sent.
struct Unit {
    name: &'static str,
    words: &'static str,
    source: &'static str,
    /// Preprocessed, with the mark in it.
    text: String,
    /// Its object, with the mark in it.
    object: Vec<u8>,
}

/// All that clients need to know.
pub struct Work<'f> {
    farm: &'f Farm,
    folder: PathBuf,
    units: Vec<Unit>,
}

impl<'f> Work<'f> {
    /// Compiles each source here.
    pub fn new(farm: &'f Farm) -> Work<'f> {
        let folder = farm.new_folder("home");
        fs::create_dir(folder.join("inc")).unwrap();
        fs::write(folder.join("inc/number.h"), HEADER).unwrap();
        let units = SOURCES.iter().map(|&(name, words, source)| {
            fs::write(folder.join(name), source).unwrap();
            let gcc = |words: &str| {
                let mut command = Command::new("/usr/bin/env");
                command.args(words.split(' ')).current_dir(&folder);
                run(&mut command, BOUND).expect(0)
            };
            gcc(words);
            let output = words.rsplit(' ').next().unwrap();
            let object = fs::read(folder.join(output)).unwrap();
            let marks = object
                .windows(8)
                .filter(|bytes| *bytes == MARK.to_le_bytes());
            assert_eq!(marks.count(), 1, "{name}");
            gcc(&words.replace(" -c ", " -E ").replace(output, "text"));
            let text = fs::read_to_string(folder.join("text")).unwrap();
            Unit {
                name,
                words,
                source,
                text,
                object,
            }
        });
        let units = units.collect();
        Work {
            farm,
            folder,
            units,
        }
    }

    /// Has a job done, and panics unless its object is the one that it must be.
    #[track_caller]
    pub fn check(&self, daemon: &Daemon, client: usize, job: usize) {
        let unit = &self.units[job % self.units.len()];
        let number = number(job);
        let object = match job % CLIENT_EVERY {
            0 => self.by_client(daemon, unit, number, job),
            at => {
                let (version, request) = self.request(unit, number, at % 4);
                let mut stream = connect(daemon, client);
                stream.write_all(&request).unwrap();
                let answer = reply(version, &rest_of(&stream));
                let said = String::from_utf8_lossy(&answer.stderr).into_owned();
                answer
                    .object
                    .unwrap_or_else(|| panic!("job {job}: no object: {said}"))
            }
        };
        let expected = replaced(&unit.object, &MARK.to_le_bytes(), &number.to_le_bytes());
        assert!(object == expected, "job {job}: not its own object");
    }

    /// As text, as a stream of LZO, or as files, as stock's client and ours send them.
    fn request(&self, unit: &Unit, number: u64, kind: usize) -> (Version, Vec<u8>) {
        let with_number =
            |text: &str| text.replace(&format!("{MARK:x}"), &format!("{number:016x}"));
        let words: Vec<&[u8]> = unit.words.split(' ').map(str::as_bytes).collect();
        let text = with_number(&unit.text);
        match kind {
            0 | 1 => {
                let version = [Version::V1, Version::V2][kind];
                let request = encode_plain_request(version, &words, [text.as_bytes(), b""]);
                (version, request.unwrap())
            }
            kind => {
                let files = Files::new(&self.folder, unit.words)
                    .file(unit.name, unit.source)
                    .file("inc/number.h", with_number(HEADER));
                let files = match kind {
                    2 => files,
                    _ => files.told(About::default()),
                };
                (Version::V3, files.bytes())
            }
        }
    }

    /// By a process that preprocesses, sends and writes.
    fn by_client(&self, daemon: &Daemon, unit: &Unit, number: u64, job: usize) -> Vec<u8> {
        let folder = self.farm.new_folder("client");
        fs::create_dir(folder.join("inc")).unwrap();
        let header = HEADER.replace(&format!("{MARK:x}"), &format!("{number:016x}"));
        fs::write(folder.join("inc/number.h"), header).unwrap();
        fs::write(folder.join(unit.name), unit.source).unwrap();
        let hosts = format!(
            "{}/64{}",
            daemon.host(),
            [",lzo", ""][job / CLIENT_EVERY % 2]
        );
        let client = self.farm.client(Which::Ours, &hosts).folder(&folder);
        let words: Vec<&str> = unit.words.split(' ').collect();
        let ran = client.env("DISTCC_FALLBACK", "0").run(&words).expect(0);
        assert_eq!(ran.went(), Went::Remote, "job {job}: {ran}");
        let object = fs::read(folder.join(words[words.len() - 1])).unwrap();
        fs::remove_dir_all(folder).unwrap();
        object
    }
}

/// A connection from the client's own address, on which nothing waits for ever.
pub fn connect(daemon: &Daemon, client: usize) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let own = Ipv4Addr::new(127, 0, 1, u8::try_from(client + 1).unwrap());
    socket.bind(&SocketAddr::from((own, 0)).into()).unwrap();
    let host = SocketAddr::from((Ipv4Addr::LOCALHOST, daemon.port));
    socket.connect(&host.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(BOUND * 2)).unwrap();
    stream
}

/// A number that no other job has, without much that could be compressed.
fn number(job: usize) -> u64 {
    (job as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|piece| piece == from);
    let mut bytes = bytes.to_vec();
    bytes[at.unwrap()..][..to.len()].copy_from_slice(to);
    bytes
}
