//! Both ends that a client in pump mode talks to, scripted: an include server on a socket in a folder of its own, and hosts
//! that answer whole requests.

use super::{Client, Farm, Which};
use distcc::model::decode::RequestDecoder;
use distcc::model::direct::{encode_not_covered, Covered, Query, QueryDecoder, To};
use distcc::model::packets::{Grammar, Packets};
use distcc::model::sending::{encode_gone, SendingDecoder};
use distcc::model::wait_status::WaitStatus;
use distcc::model::wire::{put_file, Limits, Remark, Reply, Request, Source, Version};
use distcc::os::handover;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// What an include server of a test answers.
pub enum Says {
    /// These files are needed.
    Files(Covered),
    /// It can't be said which.
    NotCovered(&'static str),
    /// These bytes, and then the end.
    Bytes(Vec<u8>),
    /// These files are needed, and they are held back; when it is to send them, these bytes, and then the end; or nothing.
    Holds(Covered, Option<Vec<u8>>),
    /// These files are needed, and they are held back, to be given back when they are to be sent.
    HandsBack(Covered),
    /// Nothing, for as long as the client waits.
    Nothing,
}

/// An include server that answers queries by a function of the query and its number from 0.
pub struct FakeIncludeServer {
    folder: PathBuf,
    queries: Arc<Mutex<Vec<Query>>>,
    served: Served,
}

/// A thread that accepts until it is dropped.
struct Served {
    stop: Arc<AtomicBool>,
    wake: Box<dyn Fn() -> bool + Send + Sync>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else {
            return;
        };
        while !thread.is_finished() {
            if !(self.wake)() {
                // Its socket has been removed before it: the thread ends with the test.
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = thread.join();
    }
}

impl FakeIncludeServer {
    /// Starts one whose sockets are in a new folder of the farm.
    pub fn start(
        farm: &Farm,
        answer: impl Fn(&Query, usize) -> Says + Send + Sync + 'static,
    ) -> FakeIncludeServer {
        let folder = farm.new_folder("pump");
        let queries = Arc::new(Mutex::new(Vec::new()));
        let noted = queries.clone();
        let path = folder.join("direct");
        let served = serve_unix(&path, move |mut stream| {
            let mut decoder = QueryDecoder::for_queries(Limits::default());
            if !feed(&mut stream, &mut decoder) {
                return;
            }
            let query = decoder.query().unwrap();
            let number = {
                let mut noted = noted.lock().unwrap();
                noted.push(query.clone());
                noted.len() - 1
            };
            say(stream, answer(&query, number));
        });
        FakeIncludeServer {
            folder,
            queries,
            served,
        }
    }

    /// One that always names the same files.
    pub fn naming(farm: &Farm, covered: Covered) -> FakeIncludeServer {
        FakeIncludeServer::start(farm, move |_, _| Says::Files(covered.clone()))
    }

    /// One that does not send them itself either, if it is to.
    pub fn handing_back(farm: &Farm, covered: Covered) -> FakeIncludeServer {
        FakeIncludeServer::start(farm, move |query, _| match query.hands_over {
            true => Says::HandsBack(covered.clone()),
            false => Says::Files(covered.clone()),
        })
    }

    /// What a pump session would export.
    pub fn port(&self) -> PathBuf {
        self.folder.join("socket")
    }

    /// A file beside the socket.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// All queries so far.
    pub fn queries(&self) -> Vec<Query> {
        self.queries.lock().unwrap().clone()
    }

    /// A client of this session with these hosts.
    pub fn client<'f>(&self, farm: &'f Farm, hosts: &str) -> Client<'f> {
        farm.client(Which::Ours, hosts)
            .env("INCLUDE_SERVER_PORT", self.port())
    }
}

/// Serves a Unix socket at `path`, one thread for each connection.
fn serve_unix(path: &Path, each: impl Fn(UnixStream) + Send + Sync + 'static) -> Served {
    let listener = UnixListener::bind(path).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, each) = (stop.clone(), Arc::new(each));
    let thread = std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            if stopped.load(Ordering::Relaxed) {
                break;
            }
            let each = each.clone();
            std::thread::spawn(move || each(stream));
        }
    });
    let path = path.to_owned();
    Served {
        stop,
        wake: Box::new(move || UnixStream::connect(&path).is_ok()),
        thread: Some(thread),
    }
}

/// A socket at `path` on which each connection is handed to `each`: for other protocols than the direct one.
pub fn serve_socket(path: &Path, each: impl Fn(UnixStream) + Send + Sync + 'static) -> impl Drop {
    serve_unix(path, each)
}

fn say(mut stream: UnixStream, says: Says) {
    let bytes = match says {
        Says::Files(covered) => covered_bytes(&covered),
        Says::NotCovered(why) => encode_not_covered(why).unwrap(),
        Says::Bytes(bytes) => bytes,
        Says::Holds(covered, then) => {
            let _held = hold(&mut stream, &covered);
            let Some(bytes) = then else {
                let _ = stream.read(&mut [0]);
                return;
            };
            bytes
        }
        Says::HandsBack(covered) => {
            let Some((beginning, _)) = hold(&mut stream, &covered) else {
                return;
            };
            let rest = [beginning, covered.entries].concat();
            let mut bytes = encode_gone(0, rest.len()).unwrap();
            bytes.extend_from_slice(&rest);
            bytes
        }
        Says::Nothing => {
            let _ = stream.read(&mut [0]);
            return;
        }
    };
    let _ = stream.write_all(&bytes);
}

/// Says that the files are held back; returns the beginning of the request that they belong to, and the connection.
pub fn hold(stream: &mut UnixStream, covered: &Covered) -> Option<(Vec<u8>, OwnedFd)> {
    let (count, length) = (covered.entry_count as usize, covered.entries.len());
    let head = Covered::encode_head(false, false, count, length, To::Host).unwrap();
    stream.write_all(&head).ok()?;
    let mut decoder = SendingDecoder::for_beginnings(Limits::default());
    let mut connection = None;
    while !decoder.is_done() {
        let (count, descriptors) = handover::receive(stream.as_fd(), decoder.space()).ok()?;
        connection = descriptors.into_iter().next().or(connection);
        decoder.filled(count.checked_sub(1)? + 1).unwrap();
    }
    Some((decoder.beginning().unwrap(), connection?))
}

/// An answer as it travels.
pub fn covered_bytes(covered: &Covered) -> Vec<u8> {
    let mut bytes = Covered::encode_head(
        covered.needs_ours,
        covered.spelled_absolutely,
        covered.entry_count as usize,
        covered.entries.len(),
        To::Client,
    )
    .unwrap();
    bytes.extend_from_slice(&covered.entries);
    bytes
}

/// An answer with files of these names and texts.
pub fn files(files: &[(&str, &str)]) -> Covered {
    let mut covered = Covered::default();
    for (name, text) in files {
        let body = distcc::model::lzo::compress(text.as_bytes()).unwrap();
        put_file(&mut covered.entries, name.as_bytes(), &body).unwrap();
        covered.entry_count += 1;
    }
    covered
}

/// Reads until the message is complete; false if it never is.
fn feed<G: Grammar>(stream: &mut impl Read, decoder: &mut Packets<G>) -> bool {
    while !decoder.is_done() {
        match stream.read(decoder.space()) {
            Ok(count @ 1..) => decoder.filled(count).unwrap(),
            _ => return false,
        }
    }
    true
}

/// What a host of a test does with a request.
pub enum Does {
    /// Answers.
    Answers(Reply),
    /// Sends these bytes and hangs up.
    Sends(Vec<u8>),
    /// Nothing, for as long as the client waits.
    Nothing,
}

/// A host that answers requests by a function of the request and its number from 0.
pub struct FakeHost {
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
    _served: Served,
}

impl FakeHost {
    /// Starts one.
    pub fn start(answer: impl Fn(&Request, usize) -> Does + Send + Sync + 'static) -> FakeHost {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, noted, answer) = (stop.clone(), requests.clone(), Arc::new(answer));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let (noted, answer) = (noted.clone(), answer.clone());
                std::thread::spawn(move || host(stream, &noted, &*answer));
            }
        });
        FakeHost {
            port,
            requests,
            _served: Served {
                stop,
                wake: Box::new(move || {
                    drop(TcpStream::connect(("127.0.0.1", port)));
                    true
                }),
                thread: Some(thread),
            },
        }
    }

    /// One that gives all pump jobs the same answer, and plain ones an object `plain`.
    pub fn answering(reply: Reply) -> FakeHost {
        FakeHost::start(move |request, _| {
            Does::Answers(match request.version {
                Version::V3 => reply.clone(),
                version => plain_reply(version),
            })
        })
    }

    /// As a word for the host list that preprocesses.
    pub fn pump_host(&self) -> String {
        format!("127.0.0.1:{},cpp,lzo", self.port)
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// The versions of all requests so far.
    pub fn versions(&self) -> Vec<usize> {
        let requests = self.requests();
        requests
            .iter()
            .map(|request| request.version.number())
            .collect()
    }
}

fn host(
    mut stream: TcpStream,
    noted: &Mutex<Vec<Request>>,
    answer: &(dyn Fn(&Request, usize) -> Does + Send + Sync),
) {
    let mut decoder = RequestDecoder::for_requests(Limits::default());
    if !feed(&mut stream, &mut decoder) {
        return;
    }
    let request = decoder.request().unwrap();
    let number = {
        let mut noted = noted.lock().unwrap();
        noted.push(request.clone());
        noted.len() - 1
    };
    match answer(&request, number) {
        Does::Answers(reply) => {
            let (head, body) = reply.encode().unwrap();
            let _ = stream.write_all(&[&head, &body[..]].concat());
        }
        Does::Sends(bytes) => drop(stream.write_all(&bytes)),
        Does::Nothing => {
            stream
                .set_read_timeout(Some(Duration::from_secs(600)))
                .unwrap();
            let _ = stream.read(&mut [0]);
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
}

/// A good answer of our daemon's in pump mode.
pub fn exact_reply() -> Reply {
    Reply {
        version: Version::V3,
        status: WaitStatus::SUCCESS,
        stderr: Vec::new(),
        stdout: Vec::new(),
        object: Some(b"pumped".to_vec()),
        deps: Some(b"x.o: x.c\n".to_vec()),
        remark: Some(Remark::Exact),
        sides: None,
    }
}

/// The same from a daemon that has nothing to remark.
pub fn stock_reply() -> Reply {
    Reply {
        remark: None,
        ..exact_reply()
    }
}

/// A compile that failed with these words.
pub fn failed_reply(status: u8, stderr: &str, remark: Option<Remark>) -> Reply {
    Reply {
        status: WaitStatus::exited(status),
        stderr: stderr.as_bytes().to_vec(),
        object: None,
        deps: None,
        remark,
        ..exact_reply()
    }
}

/// A good answer to a plain request.
pub fn plain_reply(version: Version) -> Reply {
    Reply {
        version,
        object: Some(b"plain".to_vec()),
        deps: None,
        remark: None,
        ..exact_reply()
    }
}

/// The words of a request.
pub fn words(request: &Request) -> String {
    let words: Vec<_> = request
        .argv
        .iter()
        .map(|word| String::from_utf8_lossy(word))
        .collect();
    words.join(" ")
}

/// The names of the entries of a pump request.
pub fn names(request: &Request) -> Vec<String> {
    match &request.source {
        Source::Files { entries, .. } => {
            let name = |name: &Vec<u8>| String::from_utf8_lossy(name).into_owned();
            entries.iter().map(|entry| name(&entry.name)).collect()
        }
        Source::Text(_) => Vec::new(),
    }
}

/// Stock's pump, repaired, made once for all test runs; `None` if it can't be had here, which is then noted.
pub fn stock_pump(test: &str) -> Option<PathBuf> {
    if !super::have(
        test,
        &["gcc", "distccd", "distcc-pump", "autoconf", "python3"],
    ) {
        return None;
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("stock-pump");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fetch-stock-pump");
    let ran = super::run(Command::new(script).arg(&target), Duration::from_secs(1200));
    if ran.status != 0 {
        eprintln!("{ran}");
        super::skip(
            test,
            "stock's pump can't be made here: has apt sources (deb-src)?",
        );
        return None;
    }
    Some(target.join("stock/pump"))
}
