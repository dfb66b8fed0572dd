//! How a job ends for the one who asked: the answer and its sending, stock's classes, and the line in the log.

use super::statistics::{Connection, Desk};
use super::tally::{Class, Done};
use crate::model::error::Code;
use crate::model::wait_status::WaitStatus;
use crate::model::wire::{Reply, WireError};
use crate::os::logging::NOTICE;
use crate::os::net::{drain, wait_any, Event};
use crate::os::signals::FinalSignals;
use log::Level;
use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant, SystemTime};

/// Bytes after the request that are taken off the socket before it is closed.
const SURPLUS_BYTES_MAX: usize = 1 << 20;

/// A connection.
#[derive(Debug)]
pub struct Client {
    /// Where the request comes from.
    pub input: File,
    /// Where the answer goes if that is not the same.
    pub output: Option<File>,
    /// For the log, as stock writes it: `127.0.0.1:40000`, `NOTSOCKET`.
    pub name: String,
    /// When it came.
    pub since: Instant,
    /// It among all connections.
    pub connection: Connection,
    /// Bytes of its request.
    pub received: u64,
    /// How long the whole request waited for a slot.
    pub waited: Option<Duration>,
}

impl Client {
    /// A line about it.
    pub fn say(&self, level: Level, event: &str, text: &str) {
        let name = self.name.as_str();
        let job = self.connection.number();
        log::log!(level, event = event, peer = name, job = job; "{name}: {text}");
    }

    fn output(&self) -> &File {
        self.output.as_ref().unwrap_or(&self.input)
    }
}

/// How a job ended, and what is to be sent.
#[derive(Debug)]
pub struct Ending {
    /// Stock's class.
    pub class: Class,
    /// How the compiler ended.
    pub status: WaitStatus,
    /// Stock's internal code; the exit status in inetd mode.
    pub code: u8,
    /// Compiler and source, as far as they are known.
    pub what: Option<What>,
    /// Why it came to nothing, if it did.
    pub why: Option<Box<str>>,
    /// How long a slot worked at it.
    pub worked: Duration,
    /// How long the compiler ran.
    pub compiled: Option<Duration>,
    /// The answer; `None`: the connection is closed without a word.
    pub answer: Option<Answer>,
    /// What is still to be tidied up, after the answer is sent.
    pub leftover: Option<Leftover>,
}

/// What is to be compiled and by what, as the client named them; empty as long as that is not known.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct What {
    /// The compiler.
    pub compiler: String,
    /// The source.
    pub source: String,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gap = if self.source.is_empty() { "" } else { " " };
        write!(f, "{}{gap}{}", self.compiler, self.source)
    }
}

/// Something that tidies up when it is dropped.
pub type Leftover = Box<dyn fmt::Debug + Send + Sync>;

/// Bytes to be sent, and how many of them have been.
#[derive(Debug)]
pub struct Answer {
    head: Vec<u8>,
    body: Vec<u8>,
    sent: usize,
}

impl Answer {
    /// The answer's bytes.
    pub fn new(reply: Reply) -> Result<Answer, WireError> {
        let (head, body) = reply.encode()?;
        let (head, body) = match body {
            // An uncompressed object need not be copied.
            Cow::Borrowed(body) if !body.is_empty() => {
                let head = head.to_vec();
                (head, reply.object.unwrap_or_default())
            }
            body => (head, body.into_owned()),
        };
        Ok(Answer {
            head,
            body,
            sent: 0,
        })
    }

    /// How much memory it takes.
    pub fn bytes(&self) -> usize {
        self.head.len() + self.body.len()
    }

    fn is_sent(&self) -> bool {
        self.sent >= self.bytes()
    }

    /// Sends what goes without waiting; whether that was all.
    pub fn send_some(&mut self, mut to: &File) -> io::Result<bool> {
        while !self.is_sent() {
            let head = self.head.get(self.sent..).unwrap_or_default();
            let body_at = self.sent.saturating_sub(self.head.len());
            let body = self.body.get(body_at..).unwrap_or_default();
            match to.write_vectored(&[IoSlice::new(head), IoSlice::new(body)]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.sent += count,
                Err(err) if err.kind() == io::ErrorKind::Interrupted => (),
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(err) => return Err(err),
            }
        }
        Ok(true)
    }
}

impl Ending {
    /// The connection is closed without a word.
    pub fn silent(class: Class, code: u8) -> Ending {
        Ending {
            class,
            status: WaitStatus::SUCCESS,
            code,
            what: None,
            why: None,
            worked: Duration::ZERO,
            compiled: None,
            answer: None,
            leftover: None,
        }
    }

    /// With the reason.
    pub fn because(mut self, why: impl Into<Box<str>>) -> Ending {
        self.why = Some(why.into());
        self
    }

    /// The client could not be told.
    pub fn not_sent(mut self, client: &Client, why: &impl fmt::Display) -> Ending {
        let why = format!("the answer was not taken: {why}");
        client.say(Level::Warn, "not_sent", &why);
        self.why = Some(why.into());
        self.class = Class::Disconnected;
        self.code = Code::Io as u8;
        self.answer = None;
        self
    }

    /// Stock's line about a job, but that jobs which came to nothing are named, too.
    pub fn summary(&self, client: &Client) -> String {
        format!(
            "client: {} {} exit:{} sig:{} core:{} ret:{} time:{}ms {}",
            client.name,
            self.class.name(),
            self.status.exit_code().unwrap_or(0),
            self.status.signal().unwrap_or(0),
            self.status.0 & 0x80,
            self.code,
            client.since.elapsed().as_millis(),
            self.what.clone().unwrap_or_default(),
        )
    }
}

/// Sends the answer as long as that needs no more than `patience` between two pieces. `Ok(false)`: not all of it went.
pub fn send(
    signals: &FinalSignals,
    client: &Client,
    ending: &mut Ending,
    patience: Duration,
) -> io::Result<bool> {
    let Some(answer) = &mut ending.answer else {
        return Ok(true);
    };
    while !answer.send_some(client.output())? {
        let waited = wait_any(
            [
                (client.output().as_fd(), Event::Write),
                (signals.0.as_fd(), Event::Read),
            ],
            Some(Instant::now() + patience),
        )?;
        match waited {
            Some([_, false]) => (),
            Some(_) => return Err(io::ErrorKind::Interrupted.into()),
            None => return Ok(false),
        }
    }
    Ok(true)
}

/// Says the job's line, counts it, and leaves nothing unread: a socket closed so would be reset, and our answer lost.
pub fn finish(desk: &Desk, client: Client, ending: &Ending) {
    if ending.answer.is_some() {
        drain(client.input.as_fd(), SURPLUS_BYTES_MAX);
    }
    let summary = ending.summary(&client);
    let done = done(client, ending);
    say(&summary, &done, ending);
    desk.ended(done);
}

/// Counts a job's end, and says nothing.
pub fn count(desk: &Desk, client: Client, ending: &Ending) {
    desk.ended(done(client, ending));
}

fn done(client: Client, ending: &Ending) -> Done {
    let what = ending.what.clone().unwrap_or_default();
    Done {
        number: client.connection.number(),
        peer: client.name,
        compiler: what.compiler,
        source: what.source,
        why: ending.why.as_deref().unwrap_or_default().to_owned(),
        class: ending.class,
        at: SystemTime::now(),
        took: client.since.elapsed(),
        waited: client.waited,
        worked: ending.worked,
        compiled: ending.compiled,
        received: client.received,
        sent: ending
            .answer
            .as_ref()
            .map_or(0, |answer| answer.sent as u64),
    }
}

/// The job's line; what stands in it, and more, also as values.
fn say(summary: &str, done: &Done, ending: &Ending) {
    let ms = |time: Option<Duration>| time.map(|time| time.as_millis() as u64);
    log::info!(
        target: NOTICE,
        event = "job", peer = done.peer.as_str(), job = done.number, result = done.class.label(),
        compiler = done.compiler.as_str(), file = done.source.as_str(),
        exit = ending.status.exit_code().unwrap_or(0), signal = ending.status.signal().unwrap_or(0), code = ending.code,
        ms = ms(Some(done.took)), waited_ms = ms(done.waited), compiled_ms = ms(done.compiled),
        received_bytes = done.received, sent_bytes = done.sent, reason = done.why.as_str();
        "{summary}"
    );
}
