//! The front of the standalone daemon: one thread that accepts connections and reads their requests, however slowly they
//! come, so that only whole requests take a job slot. Also ends answers that a client is slow to take, and sees to it that
//! wishes are heard.

use super::arrivals::{Arrived, Held, Load, Unsent, Wanted};
use super::ending::{self, Client};
use super::job::{self, TRANSFER};
use super::repeats::Repeats;
use super::rereading::{self, Rereading};
use super::shop::Shop;
use super::slots::Slots;
use super::statistics::{Connection, Desk};
use super::web;
use crate::model::decode::RequestDecoder;
use crate::model::wire::WireError;
use crate::os::net::{canonical, wait_any, Event};
use crate::os::signals::{Wish, Wishes};
use async_net::TcpListener;
use smol::channel::Receiver;
use smol::future::or;
use smol::{Async, LocalExecutor, Timer};
use std::cell::{Cell, RefCell};
use std::fs::File;
use std::future::Future;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a request may take to come, or an answer to be taken, while others wait for room.
const SLOW: Duration = Duration::from_secs(15);

/// How often to look whether others wait.
const LOOK: Duration = Duration::from_secs(3);

/// For how long somebody counts as waiting who was found to wait.
const KNOCKED: Duration = Duration::from_secs(1);

/// How long to wait until something that ran out is there again.
const PAUSE: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(320);

/// How often the same trouble is said.
const COMPLAINT: Duration = Duration::from_secs(60);

/// How often a peer's refused connections, and its broken requests, are said before they are counted.
const REFUSALS_SAID: u32 = 5;
const BROKEN_SAID: u32 = 20;

/// Open files that are needed beside connections: for each job, and in general.
const FILES_PER_JOB: usize = 8;
const FILES_IN_GENERAL: usize = 64;

/// What the front is given.
pub struct Site<'s> {
    /// What all jobs share.
    pub shop: &'s Shop,
    /// Where whole requests go.
    pub slots: &'s Slots<'s>,
    /// Answers that their clients are slow to take.
    pub unsent: Receiver<Unsent>,
    /// Where those ask who look at the statistics.
    pub statistics: Option<std::net::TcpListener>,
    /// What is wished of us.
    pub wishes: &'s Wishes,
    /// How many files may be open.
    pub files_max: usize,
    /// What is done each time so much time has passed.
    pub chores: (Duration, &'s dyn Fn()),
    /// Begins to read the configuration again.
    pub reread: &'s dyn Fn(),
    /// Tells what was read.
    pub rereading: &'s Rereading,
    /// Goes by it.
    pub take: &'s dyn Fn(rereading::Read),
    /// Called when we begin to leave: nothing more is accepted.
    pub leave: &'s dyn Fn(i32),
}

/// What the tasks of the front share.
struct Front<'f> {
    site: &'f Site<'f>,
    shop: &'f Shop,
    load: Arc<Load>,
    desk: Arc<Desk>,
    repeats: RefCell<Repeats>,
    complained: Cell<Option<Instant>>,
    /// When somebody was seen to wait for a connection although there can be no more.
    knocked: Cell<Option<Instant>>,
}

/// Serves until a final signal comes, or the jobs are done that were at work when we were asked to leave. Connections beyond
/// those that there are files for wait in the system's queue.
pub fn run(listeners: Vec<std::net::TcpListener>, mut site: Site) -> io::Result<()> {
    let statistics = site.statistics.take();
    let site = &site;
    let front = Front {
        site,
        shop: site.shop,
        load: Arc::default(),
        desk: site.shop.statistics.desk(),
        repeats: RefCell::new(Repeats::new(Instant::now())),
        complained: Cell::default(),
        knocked: Cell::default(),
    };
    let signals = Async::new(site.shop.signals.0.as_fd())?;
    let (taking, sending) = (LocalExecutor::new(), LocalExecutor::new());
    let mut accepting: Pin<Box<dyn Future<Output = _>>> = Box::pin(std::future::pending());
    for listener in listeners {
        let listener = TcpListener::from(Async::new(listener)?);
        accepting = Box::pin(or(accepting, front.accept(listener, &taking)));
    }
    let wishes = Async::new(site.wishes.as_fd())?;
    let ended = async { signals.readable().await.map(|()| None) };
    let late = sending.run(front.send_late(&sending));
    let asked = async { front.heed(&wishes).await.map(Some) };
    let telling = front.tell(statistics, &taking);
    let others = or(telling, or(front.do_chores(), front.take_configurations()));
    let serving = taking.run(or(asked, or(accepting, others)));
    let asked = smol::block_on(or(ended, or(late, serving)))?;
    // The listeners are closed already, and so are connections now whose request is not whole.
    drop(taking);
    site.slots.queue().close();
    let Some(signal) = asked else {
        return Ok(());
    };
    (site.leave)(signal);
    let ended = async { signals.readable().await.map(|()| None) };
    let late = sending.run(front.send_late(&sending));
    let done = front.all_done(site.shop.config().drain);
    smol::block_on(or(ended, or(late, or(done, front.do_chores()))))?;
    site.shop.signals.end_at_once(signal);
    Ok(())
}

impl<'f> Front<'f> {
    /// Returns when we are asked to leave, with the signal that does.
    async fn heed<T: AsFd>(&self, wishes: &Async<T>) -> io::Result<i32> {
        loop {
            wishes.readable().await?;
            for wish in self.site.wishes.take() {
                match wish {
                    Wish::Reread => (self.site.reread)(),
                    Wish::Leave(signal) => return Ok(signal),
                }
            }
        }
    }

    async fn take_configurations<T>(&self) -> io::Result<T> {
        loop {
            (self.site.take)(self.site.rereading.next().await);
        }
    }

    async fn do_chores<T>(&self) -> io::Result<T> {
        let (every, chores) = self.site.chores;
        loop {
            Timer::after(every).await;
            chores();
            for line in self.repeats.borrow_mut().due(Instant::now()) {
                log::warn!("{line}");
            }
        }
    }

    /// Tells the statistics. That it can't is no reason to end.
    async fn tell<'e, T>(
        &'f self,
        listener: Option<std::net::TcpListener>,
        executor: &LocalExecutor<'e>,
    ) -> T
    where
        'f: 'e,
    {
        if let Some(listener) = listener {
            if let Err(err) = web::serve(listener, self.shop, &self.repeats, executor).await {
                log::error!("serve statistics: {err}");
            }
        }
        std::future::pending().await
    }

    /// Returns when nobody is served any more, or after `patience`.
    async fn all_done(&self, patience: Duration) -> io::Result<Option<i32>> {
        let until = Instant::now() + patience;
        while self.load.connections() > 0 {
            if Instant::now() >= until {
                log::warn!("jobs that still run are ended: {patience:?} are over (--drain)");
                break;
            }
            Timer::after(PAUSE).await;
        }
        Ok(None)
    }

    async fn accept<'e, T>(
        &'f self,
        listener: TcpListener,
        executor: &LocalExecutor<'e>,
    ) -> io::Result<T>
    where
        'f: 'e,
    {
        loop {
            if self.is_full() {
                let now = Instant::now();
                if let Ok(Some(_)) = wait_any([(listener.as_fd(), Event::Read)], Some(now)) {
                    self.knocked.set(Some(now));
                }
                Timer::after(PAUSE).await;
                continue;
            }
            match listener.accept().await {
                Ok((stream, address)) => {
                    // A peer that speaks IPv4 to our IPv6 socket is shown, and judged, as one of IPv4.
                    let address = canonical(address);
                    let held = Held::new(&self.load, address.ip());
                    if self.admits(address, &held) {
                        let connection = self.shop.statistics.connected();
                        let serving = self.serve(stream.into(), address, held, connection);
                        executor.spawn(serving).detach();
                    }
                }
                // The peer is gone again, or there are too many open files: neither ends the daemon.
                Err(err) => {
                    self.complain(&err);
                    Timer::after(PAUSE).await;
                }
            }
        }
    }

    /// Says that no connection could be accepted, but not each time.
    fn complain(&self, err: &io::Error) {
        let now = Instant::now();
        let is_new = |last: Instant| last + COMPLAINT <= now;
        if self.complained.get().is_none_or(is_new) {
            log::warn!("accept a connection: {err}");
            self.complained.set(Some(now));
        }
    }

    fn connections_max(&self) -> usize {
        let files = self.site.files_max;
        let jobs = self.shop.config().jobs;
        let others = FILES_IN_GENERAL + jobs.saturating_mul(FILES_PER_JOB);
        files.saturating_sub(others).max(files / 2)
    }

    /// Whether no more connections are taken.
    fn is_full(&self) -> bool {
        self.load.connections() >= self.connections_max()
    }

    /// How many connections one peer may have: half of all, which leaves the others theirs.
    fn share(&self) -> usize {
        self.connections_max().div_ceil(2)
    }

    /// Returns when a peer that was last heard of at `last_byte`, and is served since `begun`, has had its time: who is slow
    /// must not keep others waiting, and who is silent not even its own.
    async fn patience(
        &self,
        begun: Instant,
        last_byte: &Cell<Instant>,
        wanted_by: impl Fn() -> Wanted,
    ) -> io::Error {
        loop {
            let now = Instant::now();
            let silent = last_byte.get() + self.shop.config().silence;
            let is_over = match wanted_by() {
                Wanted::Nobody => false,
                Wanted::Own => last_byte.get() + SLOW <= now,
                Wanted::Others => begun + SLOW <= now,
            };
            if silent <= now || is_over {
                return io::ErrorKind::TimedOut.into();
            }
            Timer::at(silent.min(now + LOOK)).await;
        }
    }

    fn admits(&self, address: SocketAddr, held: &Held) -> bool {
        log::debug!("connection from {address}");
        let is_allowed = self.shop.config().access.admits(address);
        if is_allowed && held.connections_of_peer() <= self.share() {
            return true;
        }
        if is_allowed {
            held.turn_away();
        }
        self.shop.statistics.refused();
        if self.may_say(address.ip(), REFUSALS_SAID) {
            match is_allowed {
                false => log::error!(
                    event = "denied", peer = name(address).as_str();
                    "{address} may not connect: it is not in --allow; the connection is closed"
                ),
                true => log::warn!(
                    event = "denied", peer = name(address).as_str();
                    "{address} has half of all connections already; the connection is closed"
                ),
            }
        }
        false
    }

    fn may_say(&self, peer: IpAddr, first: u32) -> bool {
        self.repeats.borrow_mut().may_say(peer, first)
    }

    async fn serve(
        &self,
        stream: Arc<Async<TcpStream>>,
        address: SocketAddr,
        mut held: Held,
        connection: Connection,
    ) {
        let since = Instant::now();
        let mut pause = PAUSE;
        let waits = held.wait_for_room();
        while held.must_wait() {
            Timer::after(pause).await;
            pause = (pause * 2).min(PAUSE_MAX); // Thousands may wait.
        }
        drop(waits);
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
            received: held.bytes() as u64,
            waited: None,
        };
        let err = match received {
            Ok(decoder) => {
                self.repeats.borrow_mut().forgive(address.ip());
                log::debug!("{}: the request is whole", client.name);
                let arrived = Arrived {
                    client,
                    decoder,
                    held,
                    waiting: self.shop.statistics.queued(),
                };
                return self.site.slots.queue().put(address.ip(), arrived);
            }
            Err(err) => err,
        };
        let says = self.may_say(address.ip(), BROKEN_SAID);
        let ending = match &err {
            Lost::Wire(err) if says => job::broken_request(&client, err),
            Lost::Io(err) if says => job::lost_request(&client, err),
            Lost::Wire(err) => job::ending_of(err),
            Lost::Io(err) => job::not_arrived(err),
        };
        match says {
            true => ending::finish(&self.desk, client, &ending),
            false => ending::count(&self.desk, client, &ending),
        }
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
        let held = RefCell::new(held);
        let reading = async {
            let mut decoder = RequestDecoder::for_requests(job::request_limits());
            while !decoder.is_done() {
                let mut read = |mut stream: &TcpStream| stream.read(decoder.space());

                let count = stream.read_with(&mut read).await.map_err(Lost::Io)?;
                if count == 0 {
                    return Err(match decoder.request() {
                        Err(err) => Lost::Wire(err),
                        Ok(_) => Lost::Io(io::ErrorKind::UnexpectedEof.into()),
                    });
                }
                last_byte.set(Instant::now());
                let fits = held.borrow_mut().grow(count);
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
            let wanted_by = || self.wanted_by(&held.borrow());
            let err = or(self.patience(begun, &last_byte, wanted_by), ending).await;
            Err(Lost::Io(err))
        };
        or(reading, watching).await
    }

    /// Who waits for what this connection holds. As long as nobody does a slow one has all the time that it takes.
    fn wanted_by(&self, held: &Held) -> Wanted {
        let now = Instant::now();
        let since = |time: Duration| now.checked_sub(time).unwrap_or(now);
        let knocked = self.knocked.get();
        if knocked.is_some_and(|at| at >= since(KNOCKED)) {
            return Wanted::Others;
        }
        let has_share = held.connections_of_peer() >= self.share();
        match held.wanted_by() {
            Wanted::Nobody if has_share && held.turned_away_since(since(SLOW)) => Wanted::Own,
            wanted => wanted,
        }
    }

    async fn send_late<'e, T>(&'f self, executor: &LocalExecutor<'e>) -> io::Result<T>
    where
        'f: 'e,
    {
        while let Ok(late) = self.site.unsent.recv().await {
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
        let wanted_by = || self.wanted_by(&held);
        let watching = async { Err(self.patience(begun, &last_byte, wanted_by).await) };
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
    Wire(WireError),
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
