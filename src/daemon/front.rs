//! The front of the standalone daemon: one thread that accepts connections and reads their requests, however slowly they
//! come, so that only whole requests take a job slot. Also ends answers that a client is slow to take.

use super::ending::{self, Client, Ending};
use super::job::{self, Shop, TRANSFER};
use crate::model::decode::RequestDecoder;
use async_net::TcpListener;
use smol::channel::{Receiver, Sender};
use smol::future::or;
use smol::{Async, LocalExecutor, Timer};
use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// While requests that wait hold more bytes than this, no new one is read.
const WAITING_BYTES_MAX: usize = 256 << 20;

/// Requests together never hold more than this; the one that would is dropped.
const HELD_BYTES_MAX: usize = 2 << 30;

/// How long to wait until something that ran out is there again.
const PAUSE: Duration = Duration::from_millis(20);

/// A whole request, on its way to a job slot.
#[derive(Debug)]
pub struct Arrived {
    /// Who sent it.
    pub client: Client,
    /// The request.
    pub decoder: RequestDecoder,
    /// Given back when the job is done.
    pub held: Held,
}

/// An answer that its client is slow to take.
#[derive(Debug)]
pub struct Unsent {
    /// Who it is for.
    pub client: Client,
    /// The answer, and how the job ended.
    pub ending: Ending,
}

/// A share of the memory for requests.
#[derive(Debug)]
pub struct Held {
    all: Arc<AtomicUsize>,
    bytes: usize,
}

impl Held {
    fn grow(&mut self, bytes: usize) -> usize {
        self.bytes += bytes;
        self.all.fetch_add(bytes, Ordering::Relaxed) + bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What the tasks of the front share.
struct Front<'f> {
    shop: &'f Shop,
    arrived: Sender<Arrived>,
    connections: Rc<Cell<usize>>,
    connections_max: usize,
    held: Arc<AtomicUsize>,
}

/// Serves until a final signal comes. At most `connections_max` requests are read at the same time; more connections wait
/// in the system's queue.
pub fn run(
    listener: std::net::TcpListener,
    shop: &Shop,
    connections_max: usize,
    arrived: Sender<Arrived>,
    unsent: Receiver<Unsent>,
) -> io::Result<()> {
    let front = Front {
        shop,
        arrived,
        connections: Rc::default(),
        connections_max,
        held: Arc::default(),
    };
    let listener = TcpListener::from(Async::new(listener)?);
    let signals = Async::new(shop.signals.0.as_fd())?;
    let executor = LocalExecutor::new();
    smol::block_on(executor.run(async {
        let serving = or(
            front.accept(&listener, &executor),
            send_late(shop, unsent, &executor),
        );
        or(async { signals.readable().await }, serving).await
    }))
}

impl<'f> Front<'f> {
    async fn accept<'e>(
        &'f self,
        listener: &TcpListener,
        executor: &LocalExecutor<'e>,
    ) -> io::Result<()>
    where
        'f: 'e,
    {
        loop {
            if self.connections.get() >= self.connections_max {
                Timer::after(PAUSE).await;
                continue;
            }
            match listener.accept().await {
                Ok((stream, address)) => {
                    // A peer that speaks IPv4 to our IPv6 socket is shown, and judged, as one of IPv4.
                    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
                    if self.admits(address) {
                        let open = Open::new(&self.connections);
                        let serving = self.serve(stream.into(), address, open);
                        executor.spawn(serving).detach();
                    }
                }
                // The peer is gone again, or there are too many open files: neither ends the daemon.
                Err(err) => {
                    log::warn!("accept a connection: {err}");
                    Timer::after(PAUSE).await;
                }
            }
        }
    }

    fn admits(&self, address: SocketAddr) -> bool {
        log::debug!("connection from {address}");
        let admits = self.shop.config.access.admits(address.ip());
        if !admits {
            log::error!(
                "{address} may not connect: it is not in --allow; the connection is closed"
            );
        }
        admits
    }

    async fn serve(&self, stream: Arc<Async<TcpStream>>, address: SocketAddr, open: Open) {
        let since = Instant::now();
        let mut held = Held {
            all: self.held.clone(),
            bytes: 0,
        };
        while self.held.load(Ordering::Relaxed) > WAITING_BYTES_MAX {
            Timer::after(PAUSE).await;
        }
        let received = self.receive(&stream, since, &mut held).await;
        drop(open);
        let Ok(input) = into_file(stream) else {
            return;
        };
        let client = Client {
            input,
            output: None,
            name: name(address),
            since,
        };
        let ending = match received {
            Ok(decoder) => match job::refused_early(&client, &decoder) {
                Some(ending) => ending,
                None => {
                    // The channel is only closed when we end.
                    let _ = self.arrived.try_send(Arrived {
                        client,
                        decoder,
                        held,
                    });
                    return;
                }
            },
            Err(Lost::Wire(err)) => job::broken_request(&client, &err),
            Err(Lost::Io(err)) => job::lost_request(&client, &err),
        };
        ending::finish(client, &ending);
    }

    /// Reads until the request is whole, can't become one, or the peer is silent for too long.
    async fn receive(
        &self,
        stream: &Async<TcpStream>,
        since: Instant,
        held: &mut Held,
    ) -> Result<RequestDecoder, Lost> {
        let config = &self.shop.config;
        let last_byte = Cell::new(since);
        let reading = async {
            let mut decoder = RequestDecoder::for_requests(Default::default());
            while !decoder.is_done() {
                let mut read = |mut stream: &TcpStream| stream.read(decoder.space());

                let count = stream.read_with(&mut read).await.map_err(Lost::Io)?;
                if count == 0 {
                    break;
                }
                last_byte.set(Instant::now());
                decoder.filled(count).map_err(Lost::Wire)?;
                if held.grow(count) > HELD_BYTES_MAX {
                    return Err(Lost::Io(io::ErrorKind::OutOfMemory.into()));
                }
                if decoder
                    .version()
                    .is_some_and(|version| !job::serves(version))
                {
                    break;
                }
            }
            Ok(decoder)
        };
        let watching = async {
            let end = config.job_lifetime.map(|limit| since + limit + TRANSFER);
            loop {
                let silent = last_byte.get() + config.silence;
                let until = end.map_or(silent, |end| end.min(silent));
                if until <= Instant::now() {
                    return Err(Lost::Io(io::ErrorKind::TimedOut.into()));
                }
                Timer::at(until).await;
            }
        };
        or(reading, watching).await
    }
}

/// Why a request did not arrive.
enum Lost {
    Wire(crate::model::wire::WireError),
    Io(io::Error),
}

/// Counts a connection whose request is being read.
struct Open(Rc<Cell<usize>>);

impl Open {
    fn new(count: &Rc<Cell<usize>>) -> Open {
        count.set(count.get() + 1);
        Open(count.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Takes the socket back from the executor; it stays non-blocking.
fn into_file(stream: Arc<Async<TcpStream>>) -> io::Result<File> {
    let stream =
        Arc::try_unwrap(stream).map_err(|_| io::Error::other("the connection is still in use"))?;
    let stream = stream.into_inner()?;
    stream.set_nodelay(true)?;
    Ok(File::from(OwnedFd::from(stream)))
}

/// As stock writes it: without brackets.
pub fn name(address: SocketAddr) -> String {
    format!("{}:{}", address.ip(), address.port())
}

async fn send_late<'e, 'f: 'e>(
    shop: &'f Shop,
    unsent: Receiver<Unsent>,
    executor: &LocalExecutor<'e>,
) -> io::Result<()> {
    while let Ok(late) = unsent.recv().await {
        executor.spawn(send_slowly(shop, late)).detach();
    }
    std::future::pending().await
}

async fn send_slowly(shop: &Shop, late: Unsent) {
    let Unsent { client, mut ending } = late;
    let sent: io::Result<()> = async {
        let socket = Async::new(client.input.as_fd())?;
        loop {
            let Some(answer) = &mut ending.answer else {
                return Ok(());
            };
            if answer.send_some(&client.input)? {
                return Ok(());
            }
            let silence = async {
                Timer::after(shop.config.silence).await;
                Err(io::ErrorKind::TimedOut.into())
            };
            or(socket.writable(), silence).await?;
        }
    }
    .await;
    if let Err(err) = sent {
        log::warn!("{}: the answer was not taken: {err}", client.name);
        ending = ending.not_sent();
    }
    ending::finish(client, &ending);
}
