//! A peer on loopback that misbehaves as told: it relays or answers from memory, at its own pace, and ends the
//! connection where a test wants it to end.
#![allow(unsafe_code)] // SO_LINGER and listen(2) with a backlog of nothing: std has neither.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Which way bytes flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From the client to the daemon.
    Request,
    /// From the daemon to the client.
    Reply,
}

/// What happens to the connection at the end of the script.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// An orderly end of stream.
    Close,
    /// RST.
    Reset,
    /// Nothing more, for as long as the client stays.
    Stall,
}

/// All bytes of one exchange.
#[derive(Clone, Default, Debug)]
pub struct Recorded {
    /// From the client.
    pub request: Vec<u8>,
    /// From the daemon.
    pub reply: Vec<u8>,
}

/// An answer from memory.
#[derive(Clone, Debug)]
pub struct Script {
    /// How much of the request is read first.
    pub read: usize,
    /// What is sent then.
    pub reply: Vec<u8>,
    /// How many bytes at a time, and the pause after each; `None`: all at once.
    pub pace: Option<(usize, Duration)>,
    /// What happens after that.
    pub ending: Ending,
}

impl Recorded {
    /// The exchange, cut after so many bytes in one direction.
    pub fn cut(&self, direction: Direction, after: usize, ending: Ending) -> Script {
        let (read, reply) = match direction {
            Direction::Request => (after, &[][..]),
            Direction::Reply => (self.request.len(), &self.reply[..after]),
        };
        Script {
            read,
            reply: reply.to_vec(),
            pace: None,
            ending,
        }
    }
}

/// The running peer.
pub struct Peer {
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    recorded: Arc<Mutex<Recorded>>,
    connections: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Peer {
    /// Passes everything on to another port of 127.0.0.1 and remembers it.
    pub fn relay(to: u16) -> Peer {
        Peer::serve(move |client, recorded, _| {
            let server = TcpStream::connect(("127.0.0.1", to)).unwrap();
            std::thread::scope(|scope| {
                let (from, onto) = (&client, &server);
                scope.spawn(move || {
                    copy(from, onto, &mut |bytes| {
                        recorded.lock().unwrap().request.extend_from_slice(bytes);
                    })
                });
                copy(&server, &client, &mut |bytes| {
                    recorded.lock().unwrap().reply.extend_from_slice(bytes);
                });
                let _ = client.shutdown(Shutdown::Both);
            });
        })
    }

    /// Does the same to everybody who connects.
    pub fn play(script: Script) -> Peer {
        Peer::serve(move |client, _, stop| perform(&client, &script, stop))
    }

    /// Takes connections and whatever comes, and never answers.
    pub fn silent() -> Peer {
        Peer::play(Script {
            read: 0,
            reply: Vec::new(),
            pace: None,
            ending: Ending::Stall,
        })
    }

    fn serve(
        each: impl Fn(TcpStream, &Mutex<Recorded>, &AtomicBool) + Send + Sync + 'static,
    ) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let recorded = Arc::new(Mutex::new(Recorded::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let connections = Arc::new(AtomicUsize::new(0));
        let each = Arc::new(each);
        let shared = (recorded.clone(), stop.clone(), connections.clone());
        let accepting = std::thread::spawn(move || {
            let (recorded, stop, connections) = shared;
            let mut serving = Vec::new();
            for client in listener.incoming().map_while(Result::ok) {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                connections.fetch_add(1, Ordering::Relaxed);
                let (each, recorded, stop) = (each.clone(), recorded.clone(), stop.clone());
                serving.push(std::thread::spawn(move || each(client, &recorded, &stop)));
            }
            for thread in serving {
                let _ = thread.join();
            }
        });
        Peer {
            port,
            recorded,
            connections,
            stop,
            accepting: Some(accepting),
        }
    }

    /// As a word for the host list.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// How many have connected.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// What has been relayed, over all connections.
    pub fn recorded(&self) -> Recorded {
        self.recorded.lock().unwrap().clone()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let Some(thread) = self.accepting.take() else {
            return;
        };
        let address = ([127, 0, 0, 1], self.port).into();
        // More than once: on a busy machine a connection may fail for want of a port.
        while !thread.is_finished() {
            drop(TcpStream::connect_timeout(&address, Duration::from_secs(1)));
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = thread.join();
    }
}

fn perform(client: &TcpStream, script: &Script, stop: &AtomicBool) {
    let mut client = client;
    let mut request = vec![0; script.read];
    if client.read_exact(&mut request).is_err() {
        return;
    }
    let (chunk, pause) = script.pace.unwrap_or((usize::MAX, Duration::ZERO));
    for part in script.reply.chunks(chunk.max(1)) {
        if client.write_all(part).is_err() {
            return;
        }
        std::thread::sleep(pause);
    }
    match script.ending {
        Ending::Close => drop(client.shutdown(Shutdown::Both)),
        Ending::Reset => reset_when_closed(client),
        Ending::Stall => stay(client, stop),
    }
}

/// Stays silent until the client has gone or the peer is dropped.
fn stay(mut client: &TcpStream, stop: &AtomicBool) {
    client
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    let mut buffer = [0; 4096];
    while !stop.load(Ordering::Relaxed) {
        match client.read(&mut buffer) {
            Ok(0) => return,
            Err(err) if !matches!(err.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return;
            }
            _ => {}
        }
    }
}

fn copy(mut from: &TcpStream, mut onto: &TcpStream, note: &mut dyn FnMut(&[u8])) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        note(&buffer[..count]);
        if onto.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = onto.shutdown(Shutdown::Write);
}

/// Makes the end of this connection a RST.
pub fn reset_when_closed(stream: &TcpStream) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    // SAFETY: the descriptor is open, the pointer and length are those of a live `linger`.
    let result = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of::<libc::linger>() as libc::socklen_t,
        )
    };
    assert_eq!(result, 0, "SO_LINGER");
}

/// A port on which connecting never comes to an end: the queue is full and nobody accepts.
pub struct BlackHole {
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    _listener: TcpListener,
    _queued: Vec<TcpStream>,
}

impl BlackHole {
    /// Opens it.
    pub fn open() -> BlackHole {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // SAFETY: a plain system call on an open descriptor.
        assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
        let mut queued = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
            queued.push(stream);
            assert!(queued.len() < 100, "the queue does not fill");
        }
        BlackHole {
            port: address.port(),
            _listener: listener,
            _queued: queued,
        }
    }
}
