//! One job, from the bytes of its request to its ending: what a request may come to, what becomes of one that is none, and
//! which kind of job it is.

use super::compile::{Job, Stop};
use super::ending::{Client, Ending};
use super::shop::Shop;
use super::statistics::Desk;
use super::tally::Class;
use super::{pump_job, text_job};
use crate::model::decode::RequestDecoder;
use crate::model::error::Code;
use crate::model::received::scan_received;
use crate::model::wire::{Limits, Source, WireError};
use crate::os::net::{wait_any, Event};
use log::Level;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Largest text, or files, of a request: more than any source comes to, and so little that a few bytes of LZO, which can stand for
/// this much in each job slot, don't take all memory.
const TEXT_BYTES_MAX: usize = 256 << 20;

/// What a request may come to.
pub fn request_limits() -> Limits {
    Limits {
        body_bytes_max: TEXT_BYTES_MAX,
        expanded_bytes_max: TEXT_BYTES_MAX,
        ..Limits::default()
    }
}

/// What a request that did not come to its end means.
pub fn broken_request(client: &Client, err: &WireError) -> Ending {
    let level = match err {
        WireError::NoAnswer => Level::Debug,
        _ => Level::Warn,
    };
    told(client, level, ending_of(err))
}

/// The same without a word.
pub fn ending_of(err: &WireError) -> Ending {
    let (class, code) = match err.code() {
        Code::Protocol => (Class::BadRequest, Code::Protocol),
        Code::Io => (Class::Disconnected, Code::Io),
        other => (Class::Other, other),
    };
    let why = match err {
        WireError::NoAnswer => "hung up without a request".to_owned(),
        _ => format!("no request that could be served: {err}"),
    };
    Ending::silent(class, code as u8).because(why)
}

/// The request did not come in time, or could not be read.
pub fn lost_request(client: &Client, err: &io::Error) -> Ending {
    told(client, Level::Warn, not_arrived(err))
}

/// The same without a word.
pub fn not_arrived(err: &io::Error) -> Ending {
    let why = format!("the request did not arrive: {err}");
    Ending::silent(Class::Disconnected, Code::Io as u8).because(why)
}

fn told(client: &Client, level: Level, ending: Ending) -> Ending {
    let why = ending.why.as_deref().unwrap_or_default();
    client.say(level, "no_request", why);
    ending
}

/// Reads a request, waiting for it as long as the peer is not silent for too long; for inetd and ssh.
pub fn receive(shop: &Shop, client: &mut Client) -> Result<RequestDecoder, Box<Ending>> {
    let mut decoder = RequestDecoder::for_requests(request_limits());
    let config = shop.config();
    let end = config
        .job_lifetime
        .map(|limit| client.since + limit + TRANSFER);
    while !decoder.is_done() {
        let silence = Instant::now() + config.silence;
        let until = end.map_or(silence, |end| end.min(silence));
        let waited = wait_any(
            [
                (client.input.as_fd(), Event::Read),
                (shop.signals.0.as_fd(), Event::Read),
            ],
            Some(until),
        );
        let read = match waited {
            Ok(Some([_, true])) => {
                let why = "the daemon ends before the request has come";
                client.say(Level::Warn, "stopped", why);
                let ending = Ending::silent(Class::Other, Code::Failed as u8);
                return Err(Box::new(ending.because(why)));
            }
            Ok(Some(_)) => (&client.input).read(decoder.space()),
            Ok(None) => Err(io::ErrorKind::TimedOut.into()),
            Err(err) => Err(err),
        };
        match read {
            Ok(0) => break,
            Ok(count) => {
                client.received += count as u64;
                decoder
                    .filled(count)
                    .map_err(|err| Box::new(broken_request(client, &err)))?;
            }
            Err(err)
                if matches!(
                    err.kind(),
                    io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
                ) => {}
            Err(err) => return Err(Box::new(lost_request(client, &err))),
        }
    }
    Ok(decoder)
}

/// What a job may take beside its compiler if there is a limit on jobs; stock's number.
pub const TRANSFER: Duration = Duration::from_secs(30);

/// Does the job. The answer is still to be sent.
pub fn perform(shop: &Shop, desk: &Desk, client: &Client, decoder: RequestDecoder) -> Ending {
    let begun = Instant::now();
    desk.begin(client.connection.number(), &client.name);
    let surplus = decoder.has_trailing_bytes();
    let request = match decoder.request() {
        Ok(request) => request,
        Err(err) => return broken_request(client, &err),
    };
    if surplus {
        client.say(
            Level::Warn,
            "surplus",
            "bytes after the request are ignored",
        );
    }
    let config = shop.config();
    let mut job = Job {
        shop,
        config: &config,
        desk,
        client,
        version: request.version,
        argv: &request.argv,
        input: 0,
        is_told: false,
    };
    let done = match request.source {
        Source::Text(text) => compile_text(&mut job, text),
        Source::Files { cwd, entries } => pump_job::run(&mut job, &cwd, entries),
    };
    let mut ending = done.unwrap_or_else(|stop| job.stopped(stop));
    ending.what.get_or_insert_with(|| job.what());
    ending.worked = begun.elapsed();
    ending
}

fn compile_text(job: &mut Job, text: Vec<u8>) -> Result<Ending, Stop> {
    let received = scan_received(job.argv)
        .map_err(|reason| Stop::Ended(Box::new(job.refuse_command(&reason))))?;
    job.input = received.input;
    let program = job.program()?;
    text_job::run(job, &program, &received, text)
}
