//! One host asked whether it would compile: a connection and, if wanted, a compile of one line. Each step is bound in
//! time. Knows nothing of names or of other hosts.

use crate::model::decode_reply::ReplyDecoder;
use crate::model::error::{Code, Error, Result};
use crate::model::lzo;
use crate::model::packets::put_head;
use crate::model::wire::{encode_plain_request, Limits, Version, WireError};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// What is compiled.
const SOURCE: &[u8] = b"int hello(void) { return 0; }\n";

/// More than the object of one line can take, with debug information and all.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// What is to be found out.
#[derive(Clone, Debug)]
pub struct Probe {
    /// How long each address may take to answer; without it, nobody is asked, and all are up.
    pub connect_timeout: Option<Duration>,
    /// What is to be compiled there, if anything.
    pub compile: Option<TestCompile>,
}

/// A test compile, ready to be sent to many.
#[derive(Clone, Debug)]
pub struct TestCompile {
    version: Version,
    timeout: Duration,
    request: Vec<u8>,
}

/// What was found out about a host.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The address that was asked last.
    pub address: SocketAddr,
    /// From the attempt to connect to the end of it all; nothing if nobody was asked.
    pub latency: Option<Duration>,
    /// Why the host is not up.
    pub trouble: Option<Error>,
}

impl Probe {
    /// Asks a host at its addresses, one after another until one lets us in; `None` if there are none.
    pub fn ask(&self, addresses: &[SocketAddr]) -> Option<Answer> {
        let Some(timeout) = self.connect_timeout else {
            return addresses.first().map(|address| Answer {
                address: *address,
                latency: None,
                trouble: None,
            });
        };
        let mut last = None;
        for address in addresses {
            let begun = Instant::now();
            let connected = TcpStream::connect_timeout(address, timeout);
            let is_connected = connected.is_ok();
            let trouble = connected
                .map_err(|err| {
                    Error::new(Code::ConnectFailed, format!("connect to {address}: {err}"))
                })
                .and_then(|stream| match &self.compile {
                    Some(compile) => compile.run(stream),
                    None => Ok(()),
                })
                .err();
            last = Some(Answer {
                address: *address,
                latency: Some(begun.elapsed()),
                trouble,
            });
            if is_connected {
                break;
            }
        }
        last
    }
}

impl TestCompile {
    /// A compile with this compiler, as servers know it. The time is that from the request to the end of the answer.
    pub fn new(compiler: &[u8], version: Version, timeout: Duration) -> Result<TestCompile> {
        Ok(TestCompile {
            version,
            timeout,
            request: request(compiler, version).map_err(bad)?,
        })
    }

    /// Sends the request; well if an object comes back and then the end.
    fn run(&self, mut stream: TcpStream) -> Result<()> {
        let until = Instant::now() + self.timeout;
        let failed = |why: String| Err(Error::new(Code::Failed, why));
        stream
            .set_write_timeout(Some(self.timeout))
            .and_then(|()| stream.write_all(&self.request))
            .map_err(|err| Error::io("send the test compile", &err))?;
        let limits = Limits {
            body_bytes_max: ANSWER_BYTES_MAX,
            expanded_bytes_max: ANSWER_BYTES_MAX,
            ..Limits::default()
        };
        let mut decoder = ReplyDecoder::for_reply(self.version, limits);
        let mut has_ended = false;
        while !decoder.is_done() && !has_ended {
            let count = read_before(&mut stream, decoder.space(), until)?;
            has_ended = count == 0;
            decoder.filled(count).map_err(bad)?;
        }
        let has_more = decoder.has_trailing_bytes();
        let reply = decoder.reply().map_err(bad)?;
        if !reply.status.success() {
            return failed(format!("the test compile {}", reply.status.describe()));
        }
        if reply.object.is_none_or(|object| object.is_empty()) {
            return failed("the test compile gave no object".into());
        }
        if has_more || !has_ended && read_before(&mut stream, &mut [0], until)? != 0 {
            return failed("more than an answer came back".into());
        }
        Ok(())
    }
}

fn bad(err: WireError) -> Error {
    Error::new(err.code(), err.to_string())
}

fn request(compiler: &[u8], version: Version) -> std::result::Result<Vec<u8>, WireError> {
    let argv: [&[u8]; 5] = [compiler, b"-c", b"hello.c", b"-o", b"hello.o"];
    if version == Version::V3 {
        return pump_request(&argv);
    }
    encode_plain_request(version, &argv, [SOURCE, &[]])
}

/// A request of version 3 for `/hello.c`, compiled in `/`.
fn pump_request(argv: &[&[u8]]) -> std::result::Result<Vec<u8>, WireError> {
    let mut out = Vec::new();
    put_head(&mut out, b"DIST", Version::V3.number())?;
    put_body(&mut out, b"CDIR", b"/")?;
    put_head(&mut out, b"ARGC", argv.len())?;
    for word in argv {
        put_body(&mut out, b"ARGV", word)?;
    }
    put_head(&mut out, b"NFIL", 1)?;
    put_body(&mut out, b"NAME", b"/hello.c")?;
    put_body(
        &mut out,
        b"FILE",
        &lzo::compress(SOURCE).map_err(WireError::Lzo)?,
    )?;
    Ok(out)
}

fn put_body(out: &mut Vec<u8>, tag: &[u8; 4], body: &[u8]) -> std::result::Result<(), WireError> {
    put_head(out, tag, body.len())?;
    out.extend_from_slice(body);
    Ok(())
}

/// Reads what has come, or waits for it until then; 0 is the end. A peer that is done with us before it has read all
/// resets the connection, which is an end, too.
fn read_before(stream: &mut TcpStream, space: &mut [u8], until: Instant) -> Result<usize> {
    let late = || Error::new(Code::Timeout, "the test compile takes too long");
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(late());
        }
        let read = stream
            .set_read_timeout(Some(left))
            .and_then(|()| stream.read(space));
        match read {
            Ok(count) => return Ok(count),
            Err(err) => match err.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => return Err(late()),
                io::ErrorKind::ConnectionReset => return Ok(0),
                _ => return Err(Error::io("receive the test compile", &err)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::decode::RequestDecoder;
    use crate::model::wire::{EntryKind, Source};

    #[test]
    fn requests_are_what_their_version_says() {
        for version in [Version::V1, Version::V2, Version::V3] {
            let bytes = request(b"gcc", version).unwrap();
            let mut decoder = RequestDecoder::for_requests(Limits::default());
            decoder.space()[..bytes.len()].copy_from_slice(&bytes);
            decoder.filled(bytes.len()).unwrap();
            assert!(decoder.is_done() && !decoder.has_trailing_bytes());
            let request = decoder.request().unwrap();
            assert_eq!(request.version, version);
            assert_eq!(request.argv.concat(), b"gcc-chello.c-ohello.o");
            match request.source {
                Source::Text(text) => assert_eq!(text, SOURCE),
                Source::Files { cwd, entries } => {
                    assert_eq!((cwd, version), (b"/".to_vec(), Version::V3));
                    assert_eq!(entries[0].name, b"/hello.c");
                    assert_eq!(entries[0].kind, EntryKind::File(SOURCE.to_vec()));
                }
            }
        }
    }

    #[test]
    fn nobody_is_asked_without_a_timeout() {
        let probe = Probe {
            connect_timeout: None,
            compile: None,
        };
        assert!(probe.ask(&[]).is_none());
        let answer = probe.ask(&["192.0.2.1:1".parse().unwrap()]).unwrap();
        assert!(answer.trouble.is_none() && answer.latency.is_none());
    }
}
