//! The front of the standalone daemon: one thread that accepts connections and reads their requests, however slowly they
//! come, so that only whole requests take a job slot. Also ends answers that a client is slow to take.

use super::ending::{self, Client, Ending};
use super::job::{self, TRANSFER};
use super::shop::Shop;
use super::statistics::{Connection, Desk, Waiting};
use super::web;
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
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// While requests that wait hold more bytes than this, no new one is read.
const WAITING_BYTES_MAX: usize = 256 << 20;

/// Requests and untaken answers together never hold more than this; the one that would is dropped.
const HELD_BYTES_MAX: usize = 1 << 30;

/// How long a request may take to come, or an answer to be taken, while others wait for room.
const SLOW: Duration = Duration::from_secs(15);

/// How often to look whether others wait.
const LOOK: Duration = Duration::from_secs(3);

/// How long to wait until something that ran out is there again.
const PAUSE: Duration = Duration::from_millis(20);

/// A whole request, on its way to a job slot.
#[derive(Debug)]
pub struct Arrived {
    /// Who sent it.
    pub client: Client,
    /// The request.
    pub decoder: RequestDecoder,
    /// Given back when the job is done and its answer taken.
    pub held: Held,
    /// Given back when a slot takes it.
    pub waiting: Waiting,
}

/// An answer that its client is slow to take.
#[derive(Debug)]
pub struct Unsent {
    /// Who it is for.
    pub client: Client,
    /// The answer, and how the job ended.
    pub ending: Ending,
    /// Given back when it is taken.
    pub held: Held,
}

/// What all connections come to.
#[derive(Debug, Default)]
struct Load {
    connections: AtomicUsize,
    bytes: AtomicUsize,
}

/// One connection's share of the load, from its arrival to its end: of the descriptors, and of the memory for requests that
/// are not yet done and for answers that are not yet taken.
#[derive(Debug)]
pub struct Held {
    all: Arc<Load>,
    bytes: usize,
}

impl Held {
    fn new(all: &Arc<Load>) -> Held {
        all.connections.fetch_add(1, Ordering::Relaxed);
        Held {
            all: all.clone(),
            bytes: 0,
        }
    }

    fn grow(&mut self, bytes: usize) -> bool {
        self.bytes += bytes;
        self.all.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes <= HELD_BYTES_MAX
    }

    /// Holds the answer's bytes instead of the request's; whether all together still hold less than they may.
    pub fn exchange(&mut self, bytes: usize) -> bool {
        self.all.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = 0;
        self.grow(bytes)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.all.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the tasks of the front share.
struct Front<'f> {
    shop: &'f Shop,
    arrived: Sender<Arrived>,
    connections_max: usize,
    load: Arc<Load>,
    desk: Arc<Desk>,
}

/// Serves, and tells statistics where `statistics` listens, until a final signal comes. At most `connections_max` connections are open at the same time; more wait in the
/// system's queue.
pub fn run(
    listener: std::net::TcpListener,
    statistics: Option<std::net::TcpListener>,
    shop: &Shop,
    connections_max: usize,
    arrived: Sender<Arrived>,
    unsent: Receiver<Unsent>,
) -> io::Result<()> {
    let front = Front {
        shop,
        arrived,
        connections_max,
        load: Arc::default(),
        desk: shop.statistics.desk(),
    };
    let listener = TcpListener::from(Async::new(listener)?);
    let signals = Async::new(shop.signals.0.as_fd())?;
    let executor = LocalExecutor::new();
    smol::block_on(executor.run(async {
        let serving = or(
            front.accept(&listener, &executor),
            front.send_late(unsent, &executor),
        );
        let telling = async {
            if let Some(listener) = statistics {
                if let Err(err) = web::serve(listener, shop, &executor).await {
                    log::error!("statistics can't be served: {err}");
                }
            }
            std::future::pending().await
        };
        or(async { signals.readable().await }, or(serving, telling)).await
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
            if self.is_full() {
                Timer::after(PAUSE).await;
                continue;
            }
            match listener.accept().await {
                Ok((stream, address)) => {
                    // A peer that speaks IPv4 to our IPv6 socket is shown, and judged, as one of IPv4.
                    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
                    if self.admits(address) {
                        let held = Held::new(&self.load);
                        let connection = self.shop.statistics.connected();
                        let serving = self.serve(stream.into(), address, held, connection);
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

    /// Whether no more connections are taken.
    fn is_full(&self) -> bool {
        self.load.connections.load(Ordering::Relaxed) >= self.connections_max
    }

    /// Whether no new requests are read.
    fn is_laden(&self) -> bool {
        self.load.bytes.load(Ordering::Relaxed) > WAITING_BYTES_MAX
    }

    /// Returns when a peer that was last heard of at `last_byte`, and is served since `begun`, has had its time: who is
    /// slow must not keep others waiting.
    async fn patience(&self, begun: Instant, last_byte: &Cell<Instant>) -> io::Error {
        loop {
            let now = Instant::now();
            let silent = last_byte.get() + self.shop.config().silence;
            let others_wait = self.is_full() || self.is_laden();
            if silent <= now || others_wait && begun + SLOW <= now {
                return io::ErrorKind::TimedOut.into();
            }
            Timer::at(silent.min(now + LOOK)).await;
        }
    }

    fn admits(&self, address: SocketAddr) -> bool {
        log::debug!("connection from {address}");
        let admits = self.shop.config().access.admits(address.ip());
        if !admits {
            self.shop.statistics.refused();
            log::error!(
                event = "denied", peer = name(address).as_str();
                "{address} may not connect: it is not in --allow; the connection is closed"
            );
        }
        admits
    }

    async fn serve(
        &self,
        stream: Arc<Async<TcpStream>>,
        address: SocketAddr,
        mut held: Held,
        connection: Connection,
    ) {
        let since = Instant::now();
        while self.is_laden() {
            Timer::after(PAUSE).await;
        }
        let received = self.receive(&stream, since, &mut held).await;
        let input = match into_file(stream) {
            Ok(input) => input,
            Err(err) => {
                let peer = name(address);
                log::error!(event = "failed", peer = peer.as_str(), job = connection.number(); "{peer}: take the connection: {err}");
                return;
            }
        };
        let client = Client {
            input,
            output: None,
            name: name(address),
            since,
            connection,
            received: held.bytes as u64,
            waited: None,
        };
        let ending = match received {
            Ok(decoder) => {
                // The channel is only closed when we end.
                let _ = self.arrived.try_send(Arrived {
                    client,
                    decoder,
                    held,
                    waiting: self.shop.statistics.queued(),
                });
                return;
            }
            Err(Lost::Wire(err)) => job::broken_request(&client, &err),
            Err(Lost::Io(err)) => job::lost_request(&client, &err),
        };
        ending::finish(&self.desk, client, &ending);
    }

    /// Reads until the request is whole, can't become one, or the peer is silent for too long.
    async fn receive(
        &self,
        stream: &Async<TcpStream>,
        since: Instant,
        held: &mut Held,
    ) -> Result<RequestDecoder, Lost> {
        let config = self.shop.config();
        let begun = Instant::now();
        let last_byte = Cell::new(begun);
        let reading = async {
            let mut decoder = RequestDecoder::for_requests(job::request_limits());
            while !decoder.is_done() {
                let mut read = |mut stream: &TcpStream| stream.read(decoder.space());

                let count = stream.read_with(&mut read).await.map_err(Lost::Io)?;
                if count == 0 {
                    break;
                }
                last_byte.set(Instant::now());
                let fits = held.grow(count);
                decoder.filled(count).map_err(Lost::Wire)?;
                if !fits {
                    return Err(Lost::Io(io::ErrorKind::OutOfMemory.into()));
                }
            }
            Ok(decoder)
        };
        let ending = async {
            match config.job_lifetime {
                Some(limit) => Timer::at(since + limit + TRANSFER).await,
                None => std::future::pending().await,
            };
            io::ErrorKind::TimedOut.into()
        };
        let watching = async {
            let err = or(self.patience(begun, &last_byte), ending).await;
            Err(Lost::Io(err))
        };
        or(reading, watching).await
    }

    async fn send_late<'e>(
        &'f self,
        unsent: Receiver<Unsent>,
        executor: &LocalExecutor<'e>,
    ) -> io::Result<()>
    where
        'f: 'e,
    {
        while let Ok(late) = unsent.recv().await {
            executor.spawn(self.send_slowly(late)).detach();
        }
        std::future::pending().await
    }

    async fn send_slowly(&self, late: Unsent) {
        let Unsent {
            client,
            mut ending,
            held,
        } = late;
        let begun = Instant::now();
        let last_byte = Cell::new(begun);
        let sending = async {
            let socket = Async::new(client.input.as_fd())?;
            while let Some(answer) = &mut ending.answer {
                if answer.send_some(&client.input)? {
                    break;
                }
                last_byte.set(Instant::now());
                socket.writable().await?;
            }
            Ok(())
        };
        let watching = async { Err(self.patience(begun, &last_byte).await) };
        let sent: io::Result<()> = or(sending, watching).await;
        if let Err(err) = sent {
            ending = ending.not_sent(&client, &err);
        }
        ending::finish(&self.desk, client, &ending);
        drop(held);
    }
}

/// Why a request did not arrive.
enum Lost {
    Wire(crate::model::wire::WireError),
    Io(io::Error),
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
