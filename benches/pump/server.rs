//! A server for pump jobs that costs as good as nothing, and the requests that a daemon is asked with.

use distcc::model::about;
use distcc::model::decode::RequestDecoder;
use distcc::model::lzo;
use distcc::model::packets::Limits;
use distcc::model::wait_status::WaitStatus;
use distcc::model::wire::{encode_pump_head, put_file, Remark, Reply, Source};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread;

pub struct Server {
    pub port: u16,
    /// How many jobs came as files, and how many as text.
    answered: Arc<[AtomicUsize; 2]>,
    bytes: Arc<AtomicUsize>,
}

impl Server {
    /// Answers each job at once with an object of 40 kB.
    pub fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let answered = Arc::<[AtomicUsize; 2]>::default();
        let bytes = Arc::<AtomicUsize>::default();
        let (count, read) = (answered.clone(), bytes.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                if let Ok(as_text) = stream.and_then(|stream| answer(stream, &read)) {
                    count[usize::from(as_text)].fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        Server {
            port,
            answered,
            bytes,
        }
    }

    /// How many bytes have come in.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::SeqCst)
    }

    /// How many jobs have been answered that came as files, and how many that came as text.
    pub fn answered(&self) -> [usize; 2] {
        [0, 1].map(|kind| self.answered[kind].load(Ordering::SeqCst))
    }
}

/// Whether the job came as text.
fn answer(mut stream: TcpStream, read: &AtomicUsize) -> io::Result<bool> {
    let mut decoder = RequestDecoder::for_requests(Limits::default());
    while !decoder.is_done() {
        let count = stream.read(decoder.space())?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        read.fetch_add(count, Ordering::SeqCst);
        decoder.filled(count).map_err(io::Error::other)?;
    }
    let request = decoder.request().map_err(io::Error::other)?;
    let entries = match &request.source {
        Source::Files { entries, .. } => Some(entries),
        Source::Text(_) => None,
    };
    let told = entries.is_some_and(|entries| entries.iter().any(|entry| entry.name == about::NAME));
    let reply = Reply {
        version: request.version,
        status: WaitStatus::SUCCESS,
        stderr: Vec::new(),
        stdout: Vec::new(),
        object: Some(vec![b'o'; 40_000]),
        deps: entries.map(|_| b"x.o: x.c\n".to_vec()),
        remark: told.then_some(Remark::Exact),
        sides: None,
    };
    let (mut head, body) = reply.encode().map_err(io::Error::other)?;
    head.extend_from_slice(&body);
    stream.write_all(&head)?;
    Ok(entries.is_none())
}

/// A pump job for our daemon, of so many files.
pub fn request(files: usize) -> Vec<u8> {
    let about = about::About::default().encode();
    let words: [&[u8]; 5] = [b"gcc", b"-c", b"f0.c", b"-o", b"f0.o"];
    let mut bytes = encode_pump_head(b"/home/me/project", &words, files + 1).unwrap();
    for file in 0..files {
        let text = format!("int f{file};\n").repeat(600);
        let name = match file {
            0 => "/home/me/project/f0.c".to_owned(),
            _ => format!("/home/me/project/include/part{}/f{file}.h", file % 7),
        };
        let body = lzo::compress(text.as_bytes()).unwrap();
        put_file(&mut bytes, name.as_bytes(), &body).unwrap();
    }
    put_file(&mut bytes, about::NAME, &lzo::compress(&about).unwrap()).unwrap();
    bytes
}

/// Sends a request to a daemon and reads its answer to the end; whether it brought an object.
pub fn ask(port: u16, request: &[u8]) -> bool {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer.starts_with(b"DONE") && answer.get(12..24) == Some(b"STAT00000000")
}
