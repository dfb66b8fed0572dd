//! A server for pump jobs that costs as good as nothing, and the requests that a daemon is asked with.

use distcc::model::about;
use distcc::model::decode::RequestDecoder;
use distcc::model::lzo;
use distcc::model::packets::Limits;
use distcc::model::wait_status::WaitStatus;
use distcc::model::wire::{encode_pump_head, put_file, Remark, Reply, Source, Version};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread;

pub struct Server {
    pub port: u16,
    answered: Arc<AtomicUsize>,
}

impl Server {
    /// Answers each pump job at once with an object of 40 kB.
    pub fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let answered = Arc::new(AtomicUsize::new(0));
        let count = answered.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stream.and_then(answer).is_ok() {
                    count.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        Server { port, answered }
    }

    /// How many pump jobs have been answered.
    pub fn answered(&self) -> usize {
        self.answered.load(Ordering::SeqCst)
    }
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    let mut decoder = RequestDecoder::for_requests(Limits::default());
    while !decoder.is_done() {
        let count = stream.read(decoder.space())?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        decoder.filled(count).map_err(io::Error::other)?;
    }
    let request = decoder.request().map_err(io::Error::other)?;
    let Source::Files { entries, .. } = request.source else {
        return Err(io::Error::other("no pump job"));
    };
    let told = entries.iter().any(|entry| entry.name == about::NAME);
    let reply = Reply {
        version: Version::V3,
        status: WaitStatus::SUCCESS,
        stderr: Vec::new(),
        stdout: Vec::new(),
        object: Some(vec![b'o'; 40_000]),
        deps: Some(b"x.o: x.c\n".to_vec()),
        remark: told.then_some(Remark::Exact),
    };
    let (mut head, body) = reply.encode().map_err(io::Error::other)?;
    head.extend_from_slice(&body);
    stream.write_all(&head)
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
