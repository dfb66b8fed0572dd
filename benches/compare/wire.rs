//! Just enough of the protocol to play a peer that costs as good as nothing: written apart from the library, so that
//! both sides of a comparison meet the same peer.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Whether bodies are compressed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Version {
    Plain,
    Lzo,
}

impl Version {
    fn number(self) -> u32 {
        match self {
            Version::Plain => 1,
            Version::Lzo => 2,
        }
    }

    fn body(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Version::Plain => bytes.to_vec(),
            Version::Lzo if bytes.is_empty() => Vec::new(),
            Version::Lzo => minilzo_rs::LZO::init()
                .expect("LZO")
                .compress(bytes)
                .expect("compress"),
        }
    }
}

fn token(name: &str, number: usize, into: &mut Vec<u8>) {
    into.extend_from_slice(format!("{name}{number:08x}").as_bytes());
}

/// A request of pump mode with one file, in the working directory.
pub fn pump_request(argv: &[&str], cwd: &str, file: &str, text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    token("DIST", 3, &mut bytes);
    for (name, words) in [("CDIR", &[cwd][..]), ("ARGV", argv)] {
        if name == "ARGV" {
            token("ARGC", words.len(), &mut bytes);
        }
        for word in words {
            token(name, word.len(), &mut bytes);
            bytes.extend_from_slice(word.as_bytes());
        }
    }
    let name = format!("{cwd}/{file}");
    token("NFIL", 1, &mut bytes);
    token("NAME", name.len(), &mut bytes);
    bytes.extend_from_slice(name.as_bytes());
    let body = Version::Lzo.body(text);
    token("FILE", body.len(), &mut bytes);
    bytes.extend_from_slice(&body);
    bytes
}

/// The request for `argv` with `text` as its source.
pub fn request(version: Version, argv: &[&str], text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    token("DIST", version.number() as usize, &mut bytes);
    token("ARGC", argv.len(), &mut bytes);
    for word in argv {
        token("ARGV", word.len(), &mut bytes);
        bytes.extend_from_slice(word.as_bytes());
    }
    let body = version.body(text);
    token("DOTI", body.len(), &mut bytes);
    bytes.extend_from_slice(&body);
    bytes
}

/// The answer of a compiler that said nothing and wrote `object`.
fn reply(version: Version, object: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    token("DONE", version.number() as usize, &mut bytes);
    for empty in ["STAT", "SERR", "SOUT"] {
        token(empty, 0, &mut bytes);
    }
    let body = version.body(object);
    token("DOTO", body.len(), &mut bytes);
    bytes.extend_from_slice(&body);
    bytes
}

/// Reads a whole request and throws it away.
fn swallow_request(stream: &mut TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let mut head = [0; 12];
        stream.read_exact(&mut head)?;
        let text = std::str::from_utf8(&head[4..]).unwrap_or_default();
        let number = usize::from_str_radix(text, 16).map_err(|_| io::ErrorKind::InvalidData)?;
        let mut left = match &head[..4] {
            b"ARGV" | b"DOTI" => number,
            _ => 0,
        };
        while left > 0 {
            let part = buffer.len().min(left);
            stream.read_exact(&mut buffer[..part])?;
            left -= part;
        }
        if &head[..4] == b"DOTI" {
            return Ok(());
        }
    }
}

/// A server that is always done at once, on a port of 127.0.0.1, until this program ends.
pub struct Server {
    pub port: u16,
    answered: Arc<AtomicUsize>,
}

impl Server {
    /// Asserts that there were so many clients since the last time: none has compiled on its own.
    pub fn assert_answered(&self, clients: usize) {
        for _ in 0..1000 {
            if self.answered.load(Ordering::SeqCst) == clients {
                break;
            }
            thread::sleep(Duration::from_millis(2));
        }
        assert_eq!(self.answered.swap(0, Ordering::SeqCst), clients);
    }
}

/// Starts a server that answers one connection after another with `object`, `delay` after its request has come in;
/// `event` is told when a request was read (true) and when it has been answered (false).
pub fn serve(
    version: Version,
    object: &[u8],
    delay: Duration,
    event: impl Fn(bool) + Send + 'static,
) -> Server {
    let reply = reply(version, object);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answered = Arc::new(AtomicUsize::new(0));
    let count = answered.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let done = stream.and_then(|mut stream| {
                swallow_request(&mut stream)?;
                event(true);
                thread::sleep(delay);
                stream.write_all(&reply)
            });
            if done.is_ok() {
                event(false);
                count.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    Server { port, answered }
}

/// Sends a request to a daemon and reads its answer to the end; whether it brought an object.
pub fn ask(port: u16, request: &[u8]) -> io::Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.write_all(request)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer.starts_with(b"DONE") && answer.get(12..24) == Some(b"STAT00000000"))
}
