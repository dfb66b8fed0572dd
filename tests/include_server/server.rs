//! An include server of this test: the real program, asked over both of its sockets.

use crate::common::{wait_for, BOUND, OURS};
use distcc::model::about::{self, About};
use distcc::model::direct::{Answer, AnswerDecoder, Covered, Query};
use distcc::model::entries::{Entries, Raw};
use distcc::model::lzo;
use distcc::model::packets::{Grammar, Limits, Packets};
use distcc::model::path_list::{self, encode_query, PathListDecoder};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A running include server, its folder, and a folder for sources.
pub struct Server {
    pub child: Child,
    dir: tempfile::TempDir,
}

/// What came for a question, taken apart.
#[derive(Debug, Default)]
pub struct Got {
    pub files: BTreeMap<String, Vec<u8>>,
    /// In the order sent.
    pub names: Vec<String>,
    pub links: BTreeMap<String, String>,
    pub folders: Vec<String>,
    pub about: About,
    pub needs_ours: bool,
    pub spelled: bool,
}

impl Server {
    pub fn start() -> Server {
        Server::start_with(&[], &[])
    }

    pub fn start_with(options: &[&str], variables: &[(&str, &str)]) -> Server {
        // Two levels below the root, as short as can be: sockets have short paths.
        let dir = tempfile::Builder::new()
            .prefix("distcc-is-")
            .tempdir_in("/tmp")
            .unwrap();
        for name in ["work", "run"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let mut child = Command::new(OURS)
            .arg("include_server")
            .arg("--port")
            .arg(dir.path().join("run/socket"))
            .args(["--control-fd", "0", "--ready-fd", "1"])
            .args(options)
            .env_remove("DISTCC_CLIENT_TMP")
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(dir.path().join("stderr")).unwrap())
            .spawn()
            .unwrap();
        let mut line = [0; 6];
        let stdout = child.stdout.as_mut().unwrap();
        stdout.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"ready\n");
        Server { child, dir }
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("run/socket")
    }

    pub fn direct(&self) -> PathBuf {
        self.dir.path().join("run/direct")
    }

    pub fn work(&self) -> PathBuf {
        fs::canonicalize(self.dir.path().join("work")).unwrap()
    }

    /// A path below the folder for sources, as text.
    pub fn at(&self, name: &str) -> String {
        self.work().join(name).to_str().unwrap().to_owned()
    }

    pub fn stderr(&self) -> String {
        fs::read_to_string(self.dir.path().join("stderr")).unwrap()
    }

    /// Writes a file below the folder for sources; folders are made.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.work().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// The question about a command in the folder for sources.
    pub fn query(&self, command: &str) -> Query {
        let cwd = self.work().as_os_str().as_bytes().to_vec();
        let argv: Vec<Vec<u8>> = command
            .split(' ')
            .map(|word| word.as_bytes().to_vec())
            .collect();
        let program = [b"/usr/bin/", argv[0].as_slice()].concat();
        Query {
            pwd: cwd.clone(),
            cwd,
            program,
            argv,
            ..Query::default()
        }
    }

    pub fn ask(&self, query: &Query) -> Answer {
        let decoder = AnswerDecoder::for_answers(Limits::default());
        let answer = talk(&self.direct(), &query.encode().unwrap(), decoder);
        answer.answer().unwrap()
    }

    /// The files for a command.
    #[track_caller]
    pub fn covered(&self, command: &str) -> Got {
        self.covered_query(&self.query(command))
    }

    #[track_caller]
    pub fn covered_query(&self, query: &Query) -> Got {
        match self.ask(query) {
            Answer::Covered(covered) => Server::apart(&covered),
            Answer::NotCovered(why) => panic!("not covered: {why}"),
        }
    }

    /// An answer, taken apart.
    pub fn apart(covered: &Covered) -> Got {
        let mut got = taken_apart(&covered.entries);
        got.needs_ours = covered.needs_ours;
        got.spelled = covered.spelled_absolutely;
        let count = got.files.len() + got.links.len() + got.folders.len() + 1;
        assert_eq!(covered.entry_count as usize, count);
        got
    }

    /// Why a command is not covered.
    #[track_caller]
    /// Asserts that this server, whatever it has seen, says what one says that has seen nothing.
    pub fn says_what_a_new_one_says(&self, query: &Query, what: &str) {
        let known = self.ask(query);
        let new = Server::start().ask(query);
        if known != new {
            let show = |answer: &Answer| match answer {
                Answer::NotCovered(why) => why.clone(),
                Answer::Covered(covered) => format!("{:?}", Server::apart(covered)),
            };
            panic!("{what}:\n{}\n{}", show(&known), show(&new));
        }
    }

    pub fn not_covered(&self, command: &str) -> String {
        match self.ask(&self.query(command)) {
            Answer::NotCovered(why) => why,
            Answer::Covered(_) => panic!("{command} is covered"),
        }
    }

    /// What a client of stock's is told: paths.
    pub fn paths(&self, cwd: &[u8], argv: &[&[u8]]) -> Vec<PathBuf> {
        let question = encode_query(cwd, argv).unwrap();
        let decoder = PathListDecoder::for_path_lists(Limits::default());
        let answer = talk(&self.socket(), &question, decoder);
        let paths = answer.paths().unwrap();
        let path = |path: Vec<u8>| PathBuf::from(OsStr::from_bytes(&path));
        paths.into_iter().map(path).collect()
    }

    /// The same for a command in the folder for sources, as the client would send it on.
    pub fn put_ready(&self, command: &str) -> Got {
        let query = self.query(command);
        let argv: Vec<&[u8]> = query.argv.iter().map(Vec::as_slice).collect();
        sent_on(&self.paths(&query.cwd, &argv))
    }

    /// The roots of this server's spool.
    pub fn roots(&self, base: &Path) -> Vec<PathBuf> {
        roots(base, self.child.id())
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([name, &pid]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for its end.
    pub fn ended(&mut self) {
        wait_for("the include server's end", BOUND, || {
            self.child.try_wait().unwrap().is_some()
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let ended = || matches!(self.child.try_wait(), Ok(Some(_)));
        if !std::thread::panicking() {
            wait_for("the include server's end", BOUND, ended);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The roots of the spool of any include server.
pub fn roots(base: &Path, pid: u32) -> Vec<PathBuf> {
    let mark = format!(".include_server-{pid}-");
    let entries = fs::read_dir(base).unwrap().flatten();
    let paths = entries.map(|entry| entry.path());
    paths
        .filter(|path| path.to_string_lossy().contains(&mark))
        .collect()
}

fn talk<G: Grammar>(socket: &Path, question: &[u8], mut decoder: Packets<G>) -> Packets<G> {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    stream.write_all(question).unwrap();
    while !decoder.is_done() {
        match stream.read(decoder.space()) {
            Err(err) if err.kind() == ErrorKind::Interrupted => {}
            read => match read.unwrap() {
                0 => break,
                count => decoder.filled(count).unwrap(),
            },
        }
    }
    decoder
}

/// Sends bytes, hangs up, and says what came back.
pub fn throw(socket: &Path, bytes: &[u8]) -> Vec<u8> {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn taken_apart(entries: &[u8]) -> Got {
    let mut got = Got::default();
    for entry in Entries::of(entries) {
        match entry.unwrap() {
            Raw::File(name, body) if name == about::NAME => {
                let bytes = lzo::expand(body, 64 << 20).unwrap();
                got.about = About::decode(&bytes).unwrap();
            }
            Raw::File(name, body) => match path_list::folder_of(name) {
                Some(folder) => got.folders.push(text(folder)),
                None => {
                    got.names.push(text(name));
                    let bytes = lzo::expand(body, 64 << 20).unwrap();
                    got.files.insert(text(name), bytes);
                }
            },
            Raw::Link(name, target) => {
                got.links.insert(text(name), text(target));
            }
        }
    }
    got
}

/// What a client of stock's makes of paths.
pub fn sent_on(paths: &[PathBuf]) -> Got {
    let mut got = Got::default();
    for path in paths {
        let bytes = path.as_os_str().as_bytes();
        let name = path_list::name_of(bytes).unwrap();
        let meta = fs::symlink_metadata(path).unwrap();
        if meta.is_symlink() {
            let target = fs::read_link(path).unwrap();
            let target = text(target.as_os_str().as_bytes());
            got.links.insert(text(name), target);
        } else if let Some(folder) = path_list::folder_of(name) {
            assert_eq!(meta.size(), 0);
            got.folders.push(text(folder));
        } else {
            got.spelled |= name.ends_with(b".lzo.abs");
            let name = path_list::name_of_file(name).unwrap();
            let stream = fs::read(path).unwrap();
            got.names.push(text(name));
            got.files
                .insert(text(name), lzo::expand(&stream, 64 << 20).unwrap());
        }
    }
    got
}
