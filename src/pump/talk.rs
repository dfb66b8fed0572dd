//! One connection: a question is read, answered and forgotten, by our own protocol or by stock's. Whatever a client does,
//! and whatever an analysis does, concerns this connection only.

use super::analysis::Analyst;
use super::answers::{Answer, Outcome};
use super::closure_files;
use super::compiler_path;
use super::include_server_options::Options;
use super::reply::{Entries, Reply};
use super::spool::Spool;
use super::statistics::Statistics;
use crate::model::direct::{encode_not_covered, Covered, Query, QueryDecoder, To};
use crate::model::packets::{Grammar, Limits, Packets};
use crate::model::path_list::{encode_paths, PathQueryDecoder};
use crate::model::sending::{encode_gone, SendingDecoder};
use crate::model::sources;
use crate::os::handover;
use crate::os::net::{send_now, wait_any, Event};
use std::ffi::OsString;
use std::io::{self, IoSlice, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a client may take to ask.
const ASK: Duration = Duration::from_secs(30);

/// How long a client may take to read the next part of an answer.
const LISTEN: Duration = Duration::from_secs(60);

/// How long a client may take to connect to a host: it may be stopped meanwhile.
const CONNECT: Duration = Duration::from_secs(300);

/// How long hosts may take to take what is sent before the client sends the rest itself.
const HASTE: Duration = Duration::from_millis(50);

/// Bits of `--debug_pattern`.
const WARNINGS: u32 = 1;
const REQUESTS: u32 = 2;
const FILES: u32 = 4;

/// What all connections share.
#[derive(Debug)]
pub struct Office {
    /// Who finds the answers.
    pub analyst: Analyst,
    /// Where files are put for stock's clients.
    pub spool: Spool,
    /// As the user wishes.
    pub options: Options,
    /// `$PATH`
    pub path: OsString,
    /// What requests have cost.
    pub statistics: Statistics,
}

impl Office {
    /// Where nobody has asked yet.
    pub fn new(analyst: Analyst, spool: Spool, options: Options, path: OsString) -> Office {
        Office {
            analyst,
            spool,
            options,
            path,
            statistics: Statistics::default(),
        }
    }

    /// Serves a client of ours. Nobody is waited for if that holds up others.
    pub fn direct(&self, mut stream: UnixStream, may_wait: bool) {
        let begun = Instant::now();
        let decoder = QueryDecoder::for_queries(Limits::default());
        let Some((decoder, _)) = receive(&mut stream, decoder, ASK) else {
            return;
        };
        let Ok(query) = decoder.query() else {
            return;
        };
        let to = match query.hands_over && may_wait {
            true => To::Host,
            false => To::Client,
        };
        let answer = self.answer(&query);
        let outcome = self.outcome(&query, &answer);
        let took = begun.elapsed();
        let sent = match outcome {
            Ok(reply) => send_covered(&mut stream, reply, to),
            Err(why) => {
                // Our client says it itself, once for each build.
                if self.options.debug & REQUESTS != 0 {
                    print_not_covered(&why, &query.argv);
                }
                send_not_covered(&mut stream, &why)
            }
        };
        drop(stream);
        self.after(&query.argv, &answer, took, &sent);
    }

    /// Serves a client of stock's.
    pub fn paths(&self, mut stream: UnixStream, _: bool) {
        let begun = Instant::now();
        let decoder = PathQueryDecoder::for_path_queries(Limits::default());
        let Some((decoder, _)) = receive(&mut stream, decoder, ASK) else {
            return;
        };
        let Ok(asked) = decoder.query() else {
            return;
        };
        let name = asked.argv.first().map(Vec::as_slice).unwrap_or_default();
        let program = compiler_path::find(name, &asked.cwd, &self.path);
        let query = Query {
            pwd: asked.cwd.clone(),
            cwd: asked.cwd,
            program: program.unwrap_or_default(),
            argv: asked.argv,
            for_stock: true,
            ..Query::default()
        };
        let answer = match query.program.is_empty() {
            true => Arc::new(Answer::once(Outcome::NotCovered(
                "the compiler is not to be found".to_owned(),
            ))),
            false => self.answer(&query),
        };
        let paths = self.outcome(&query, &answer).and_then(|reply| {
            let paths = self.spool.put(reply, !self.options.no_folders);
            paths.map_err(|err| format!("fatal error: put files ready: {err}"))
        });
        let paths = paths.unwrap_or_else(|why| {
            self.say(&why, &query.argv);
            Vec::new()
        });
        let took = begun.elapsed();
        let sent = encode_paths(&paths)
            .map_err(io::Error::other)
            .and_then(|bytes| stream.write_all(&bytes));
        drop(stream);
        self.after(&query.argv, &answer, took, &sent);
    }

    /// A panic is the end of one analysis.
    fn answer(&self, query: &Query) -> Arc<Answer> {
        let analysis = AssertUnwindSafe(|| self.analyst.answer(query));
        catch_unwind(analysis).unwrap_or_else(|_| {
            let why = "internal error: the analysis panicked".to_owned();
            Arc::new(Answer::once(Outcome::NotCovered(why)))
        })
    }

    /// The files, if they are known and nothing that the user wishes stands against it.
    fn outcome<'a>(&self, query: &Query, answer: &'a Answer) -> Result<&'a Reply, String> {
        let reply = match &answer.outcome {
            Outcome::NotCovered(why) => return Err(why.clone()),
            Outcome::Covered(reply) => reply,
        };
        let Options {
            verify,
            write_closure,
            ..
        } = self.options;
        if verify || write_closure {
            let environment = self.analyst.environment();
            closure_files::check(query, reply, environment, verify, write_closure)?;
        }
        Ok(reply)
    }

    fn after(&self, argv: &[Vec<u8>], answer: &Answer, took: Duration, sent: &io::Result<()>) {
        answer.cover(&self.analyst.tree);
        let unit = unit(argv);
        self.statistics.count(answer, took);
        if self.options.statistics {
            let text = self.statistics.text(&unit, &self.analyst);
            let _ = io::stdout().write_all(text.as_bytes());
        }
        if self.options.debug & REQUESTS != 0 {
            let took = took.as_micros();
            let gone = if sent.is_err() {
                ", the client has gone"
            } else {
                ""
            };
            print(&format!("TRACE: {unit}: {took} µs{gone}"));
        }
        if self.options.debug & FILES != 0 {
            if let Outcome::Covered(reply) = &answer.outcome {
                for sent in &reply.shipment.files {
                    let path = String::from_utf8_lossy(sent.place.path());
                    print(&format!("TRACE: {unit}: {path}"));
                }
            }
        }
    }

    fn say(&self, why: &str, argv: &[Vec<u8>]) {
        if self.options.debug & WARNINGS != 0 {
            print_not_covered(why, argv);
        }
    }
}

fn print_not_covered(why: &str, argv: &[Vec<u8>]) {
    let unit = unit(argv);
    print(&format!(
        "Preprocessing locally. Include server not covering: {why} for translation unit '{unit}'"
    ));
}

/// One line on stderr; what others put into names must not drive a terminal.
fn print(text: &str) {
    let mut line: String = text
        .chars()
        .map(|letter| if letter.is_control() { '?' } else { letter })
        .collect();
    line.push('\n');
    let _ = io::stderr().write_all(line.as_bytes());
}

/// The source of a command, for people.
fn unit(argv: &[Vec<u8>]) -> String {
    let words = argv.iter().skip(1);
    let mut sources = words.filter(|word| sources::kind_of_name(word).is_some());
    let unit = sources.next_back().map_or(&b"unknown"[..], Vec::as_slice);
    String::from_utf8_lossy(unit).into_owned()
}

/// Reads a question, and what comes beside it; None if the client asks nothing that can be understood, or takes too long.
fn receive<G: Grammar>(
    stream: &mut UnixStream,
    mut decoder: Packets<G>,
    within: Duration,
) -> Option<(Packets<G>, Option<OwnedFd>)> {
    let until = Instant::now() + within;
    let mut beside = None;
    while !decoder.is_done() {
        let left = until.checked_duration_since(Instant::now())?;
        stream
            .set_read_timeout(Some(left.max(Duration::from_millis(1))))
            .ok()?;
        let (count, descriptors) = handover::receive(stream.as_fd(), decoder.space()).ok()?;
        if count == 0 {
            return None;
        }
        beside = descriptors.into_iter().next().or(beside);
        decoder.filled(count).ok()?;
    }
    stream.set_write_timeout(Some(LISTEN)).ok()?;
    Some((decoder, beside))
}

fn send_covered(stream: &mut UnixStream, reply: &Reply, to: To) -> io::Result<()> {
    let entries = match reply.entries() {
        Ok(entries) => entries,
        Err(err) => {
            let why = format!("put the answer together: {err}");
            return send_not_covered(stream, &why);
        }
    };
    let head = Covered::encode_head(
        reply.needs_ours,
        reply.spelled_absolutely,
        entries.count,
        entries.length,
        to,
    );
    let head = head.map_err(io::Error::other)?;
    match to {
        To::Client => write_all(stream, &mut pieces(&head, entries)),
        To::Host => {
            stream.write_all(&head)?;
            send_to_host(stream, entries)
        }
    }
}

fn pieces<'a>(beginning: &'a [u8], entries: &'a Entries) -> Vec<IoSlice<'a>> {
    let mut pieces = Vec::with_capacity(1 + entries.pieces.len());
    pieces.push(IoSlice::new(beginning));
    pieces.extend(entries.pieces.iter().map(|piece| IoSlice::new(piece)));
    pieces
}

/// Waits for a connection to a host, and sends what goes there. Without one, the client has no use for the entries any more.
fn send_to_host(stream: &mut UnixStream, entries: &Entries) -> io::Result<()> {
    let decoder = SendingDecoder::for_beginnings(Limits::default());
    let Some((decoder, host)) = receive(stream, decoder, CONNECT) else {
        return Ok(());
    };
    let beginning = decoder.beginning().map_err(io::Error::other)?;
    let mut pieces = pieces(&beginning, entries);
    let (sent, rest) = match &host {
        Some(host) if !has_gone(stream) => hasten(host.as_fd(), &mut pieces),
        // Without room for another descriptor here none came.
        _ => (0, &mut pieces[..]),
    };
    // The client is the one who ends the connection.
    drop(host);
    let left = rest.iter().map(|piece| piece.len()).sum();
    let head = encode_gone(sent, left).map_err(io::Error::other)?;
    stream.write_all(&head)?;
    write_all(stream, rest)
}

/// Whether the client has gone, whose job nobody wants then.
fn has_gone(stream: &UnixStream) -> bool {
    let gone = wait_any([(stream.as_fd(), Event::Gone)], Some(Instant::now()));
    matches!(gone, Ok(Some(_)))
}

/// Sends what a host takes at once, or nearly: how many bytes that were, and what is left. A host that takes no more, or has
/// gone, is the client's concern.
fn hasten<'p, 'e>(
    host: BorrowedFd,
    mut pieces: &'p mut [IoSlice<'e>],
) -> (usize, &'p mut [IoSlice<'e>]) {
    let until = Instant::now() + HASTE;
    let mut sent = 0;
    while !pieces.is_empty() && (sent == 0 || Instant::now() < until) {
        match send_now(host, pieces) {
            Ok(count) => {
                sent += count;
                IoSlice::advance_slices(&mut pieces, count);
            }
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => {
                let room = wait_any([(host, Event::Write)], Some(until));
                if !matches!(room, Ok(Some(_))) || Instant::now() >= until {
                    break;
                }
            }
            Err(_) => break,
        }
    }
    (sent, pieces)
}

fn send_not_covered(stream: &mut UnixStream, why: &str) -> io::Result<()> {
    let bytes = encode_not_covered(why).map_err(io::Error::other)?;
    stream.write_all(&bytes)
}

fn write_all(stream: &mut UnixStream, mut pieces: &mut [IoSlice<'_>]) -> io::Result<()> {
    while !pieces.is_empty() {
        match stream.write_vectored(pieces) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => IoSlice::advance_slices(&mut pieces, count),
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(err),
        }
    }
    Ok(())
}
