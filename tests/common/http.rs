//! What a daemon tells over HTTP, asked for byte by byte.

use super::{Daemon, BOUND};
use std::io::{Read, Write};
use std::net::TcpStream;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Its first line and headers, as they came.
    pub head: String,
    /// What follows them.
    pub body: String,
}

/// Where the daemon's statistics are, as its log tells.
#[track_caller]
pub fn statistics_port(daemon: &Daemon) -> u16 {
    let mark = "statistics at http://127.0.0.1:";
    super::fake::expect_line(daemon, &[mark]);
    let log = daemon.log_text();
    let (_, rest) = log.split_once(mark).unwrap();
    rest.split('/').next().unwrap().parse().unwrap()
}

/// A connection on which nothing waits for ever.
pub fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    stream
}

/// Sends these bytes and reads the answer to its end.
#[track_caller]
pub fn say(port: u16, request: &[u8]) -> Answer {
    let mut stream = connect(port);
    stream.write_all(request).unwrap();
    answer(stream)
}

/// Reads an answer to its end.
#[track_caller]
pub fn answer(mut stream: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let end = text.find("\r\n\r\n").map(|at| (at, 4));
    let (at, gap) = end.or_else(|| text.find("\n\n").map(|at| (at, 2))).unwrap();
    Answer {
        head: text[..at].to_owned(),
        body: text[at + gap..].to_owned(),
    }
}

/// Asks for a page as a browser does.
#[track_caller]
pub fn get(port: u16, path: &str) -> Answer {
    say(
        port,
        format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: text/html,*/*\r\n\r\n")
            .as_bytes(),
    )
}
