//! Asks the include server which files a compile needs: ours by the direct protocol, which answers with what will travel;
//! one of stock's by its list of paths, from which the same is made here. What goes wrong is said in words: the file is
//! then preprocessed here.

use crate::model::direct::{Answer, AnswerDecoder, Covered, Query};
use crate::model::entries;
use crate::model::lzo::{self, LzoError};
use crate::model::packets::{Grammar, Packets};
use crate::model::path_list::{self, PathListDecoder};
use crate::model::sending::{encode_beginning, SendingDecoder};
use crate::model::wire::{put_file, put_link, Limits};
use crate::os::handover;
use crate::os::net::connect_unix;
use crate::os::pages::make_ready;
use std::ffi::OsStr;
use std::fmt::{self, Display};
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What our include server's socket is called, beside the one that stock's clients know.
const DIRECT: &str = "direct";

/// How long an include server may be silent at most: a request takes some milliseconds, and the hardest some seconds.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// How long one that was silent is left alone: whoever waits for a process that has been stopped holds up the build.
const LEFT_ALONE: Duration = Duration::from_secs(600);

/// An include server, running or not.
#[derive(Debug)]
pub struct IncludeServer {
    port: PathBuf,
    patience: Duration,
    /// What is touched when it was silent, for all clients of a build.
    silence: Option<PathBuf>,
}

/// The files of a compile, as they will travel.
#[derive(Debug)]
pub struct Files {
    /// What the include server says of them.
    pub covered: Covered,
    /// An entry for our own daemon is among them, which then says what its answer is worth.
    pub told: bool,
    /// Where the include server waits for a connection to send them over.
    held: Option<UnixStream>,
}

impl Files {
    /// Whether they can be sent: by us, or by whom a connection `can_go_over` to.
    pub fn are_at_hand(&self, can_go_over: bool) -> bool {
        self.covered.held_bytes.is_none() || can_go_over && self.held.is_some()
    }

    /// Tells the include server that no connection will be handed over.
    pub fn let_go(&mut self) {
        self.held = None;
    }

    /// How many bytes their entries are.
    pub fn bytes(&self) -> usize {
        let held = self.covered.held_bytes.map(|bytes| bytes as usize);
        held.unwrap_or(self.covered.entries.len())
    }
}

impl IncludeServer {
    /// The one whose socket for stock's clients is `port`; it may be silent for as long as `patience`. That it was is
    /// noted by the time of the file `silence`.
    pub fn at(port: &Path, patience: Duration, silence: Option<PathBuf>) -> IncludeServer {
        IncludeServer {
            port: port.to_owned(),
            patience: patience.min(SILENCE_MAX),
            silence,
        }
    }

    /// Asks. `server_program` is what the job's host will be asked to run: all that stock's server hears of the compiler.
    pub fn ask(&self, query: &Query, server_program: &OsStr) -> Result<Files, String> {
        if self.was_silent() {
            return Err(Trouble::Silent.to_string());
        }
        let asked = self.try_to_ask(query, server_program);
        asked.map_err(|trouble| self.in_words(&trouble))
    }

    /// Has files sent that are held back: `beginning`, and then they, over the connection `to` to a host. Returns what is left
    /// to be sent. They are not at hand any more.
    pub fn hand_over(
        &self,
        files: &mut Files,
        beginning: &[u8],
        to: BorrowedFd,
    ) -> Result<Vec<u8>, String> {
        let gone = match files.held.take() {
            Some(stream) => hand_over(stream, beginning, to, files.bytes()),
            None => Err(odd("the files are gone").into()),
        };
        gone.map_err(|trouble| self.in_words(&trouble))
    }

    /// Notes whether it was silent.
    fn in_words(&self, trouble: &Trouble) -> String {
        if let (Trouble::Silent, Some(silence)) = (trouble, &self.silence) {
            if let Err(err) = fs::write(silence, b"") {
                log::debug!("write {}: {err}", silence.display());
            }
        }
        trouble.to_string()
    }

    fn was_silent(&self) -> bool {
        let noted = self.silence.as_ref().map(fs::metadata);
        let age = noted.and_then(|noted| noted.ok()?.modified().ok()?.elapsed().ok());
        age.is_some_and(|age| age < LEFT_ALONE)
    }

    fn try_to_ask(&self, query: &Query, server_program: &OsStr) -> Result<Files, Trouble> {
        let direct = self.port.with_file_name(DIRECT);
        match connect_unix(&direct, self.patience) {
            Ok(stream) => ask_directly(stream, query),
            Err(err) if err.kind() == io::ErrorKind::NotFound => {
                let trouble = |err| unreachable(&self.port, &err);
                let stream = connect_unix(&self.port, self.patience).map_err(trouble)?;
                ask_for_paths(stream, query, server_program)
            }
            Err(err) => Err(unreachable(&direct, &err)),
        }
    }
}

/// Why there is no answer.
#[derive(Debug)]
enum Trouble {
    /// It says nothing, now or not long ago.
    Silent,
    /// Anything else, in words.
    Other(String),
}

impl From<String> for Trouble {
    fn from(why: String) -> Self {
        Trouble::Other(why)
    }
}

impl Display for Trouble {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Trouble::Silent => {
                "the include server was silent for too long (60 s, or DISTCC_IO_TIMEOUT if that is less); is it stopped?"
            }
            Trouble::Other(why) => why,
        })
    }
}

fn unreachable(socket: &Path, err: &io::Error) -> Trouble {
    let hint = match err.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            "; has the include server ended?"
        }
        // It does not take what it is asked.
        io::ErrorKind::WouldBlock => return Trouble::Silent,
        _ => "",
    };
    format!("connect to {}: {err}{hint}", socket.display()).into()
}

fn ask_directly(mut stream: UnixStream, query: &Query) -> Result<Files, Trouble> {
    let question = query.encode().map_err(odd)?;
    let decoder = AnswerDecoder::for_answers(Limits::default()).trusting();
    write(&mut stream, &question)?;
    let covered = match read(&mut stream, decoder)?.answer() {
        Ok(Answer::Covered(covered)) => covered,
        Ok(Answer::NotCovered(why)) => return Err(why.into()),
        Err(err) => return Err(odd(err).into()),
    };
    match covered.held_bytes {
        None => entries::check_count(&covered.entries, covered.entry_count).map_err(odd)?,
        Some(_) if query.hands_over => {}
        Some(_) => return Err(odd("the files are held back, but were to come").into()),
    }
    Ok(Files {
        held: covered.held_bytes.map(|_| stream),
        covered,
        told: true,
    })
}

fn hand_over(
    mut stream: UnixStream,
    beginning: &[u8],
    to: BorrowedFd,
    bytes: usize,
) -> Result<Vec<u8>, Trouble> {
    let message = encode_beginning(beginning).map_err(odd)?;
    let sent = handover::send(stream.as_fd(), &message, &[to]).map_err(|err| silent(&err))?;
    write(&mut stream, message.get(sent..).unwrap_or_default())?;
    let decoder = SendingDecoder::for_gone(Limits::default()).trusting();
    let gone = read(&mut stream, decoder)?.gone().map_err(odd)?;
    match gone.sent as usize + gone.rest.len() == beginning.len() + bytes {
        true => Ok(gone.rest),
        false => Err(odd("more or less was sent than there was").into()),
    }
}

fn ask_for_paths(
    mut stream: UnixStream,
    query: &Query,
    server_program: &OsStr,
) -> Result<Files, Trouble> {
    let rest = query.argv.iter().skip(1).map(Vec::as_slice);
    let argv: Vec<&[u8]> = std::iter::once(server_program.as_bytes())
        .chain(rest)
        .collect();
    let question = path_list::encode_query(&query.cwd, &argv).map_err(odd)?;
    let decoder = PathListDecoder::for_path_lists(Limits::default());
    write(&mut stream, &question)?;
    let paths = read(&mut stream, decoder)?.paths().map_err(odd)?;
    if paths.is_empty() {
        return Err("include server gave up analyzing".to_owned().into());
    }
    let mut covered = Covered::default();
    for path in &paths {
        put_entry(&mut covered.entries, path)?;
        covered.entry_count += 1;
    }
    Ok(Files {
        covered,
        told: false,
        held: None,
    })
}

fn write(stream: &mut UnixStream, question: &[u8]) -> Result<(), Trouble> {
    match stream.write_all(question) {
        // Whoever hangs up may have answered before.
        Err(err) if err.kind() != io::ErrorKind::BrokenPipe => Err(silent(&err)),
        _ => Ok(()),
    }
}

fn read<G: Grammar>(
    stream: &mut UnixStream,
    mut decoder: Packets<G>,
) -> Result<Packets<G>, Trouble> {
    let mut ready = 0;
    while !decoder.is_done() {
        let space = decoder.space();
        // A fault for each page costs more than what is put there.
        if space.len() != ready {
            make_ready(space);
        }
        match stream.read(space) {
            Ok(0) => break,
            Ok(length) => {
                ready = space.len() - length;
                decoder.filled(length).map_err(odd)?;
            }
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) if err.kind() == io::ErrorKind::ConnectionReset => break,
            Err(err) => return Err(silent(&err)),
        }
    }
    Ok(decoder)
}

fn odd(err: impl Display) -> String {
    format!("talking to the include server: {err}")
}

fn silent(err: &io::Error) -> Trouble {
    match err.kind() {
        io::ErrorKind::WouldBlock => Trouble::Silent,
        _ => odd(err).into(),
    }
}

/// What stock's include server has put ready at `path`, as an entry of a request.
fn put_entry(out: &mut Vec<u8>, path: &[u8]) -> Result<(), String> {
    let shown = Path::new(OsStr::from_bytes(path));
    let trouble = |err: &dyn Display| format!("{}: {err}", shown.display());
    let name = path_list::name_of(path)
        .ok_or_else(|| trouble(&"the include server says so, but it is no path of its own"))?;
    if path_list::folder_of(name).is_some() {
        return put_file(out, name, &[]).map_err(|err| trouble(&err));
    }
    let meta = fs::symlink_metadata(shown).map_err(|err| trouble(&err))?;
    if meta.is_symlink() {
        let target = fs::read_link(shown).map_err(|err| trouble(&err))?;
        return put_link(out, name, target.as_os_str().as_bytes()).map_err(|err| trouble(&err));
    }
    let file = path_list::name_of_file(name).ok_or_else(|| trouble(&"it is not compressed"))?;
    let body = fs::read(shown).map_err(|err| trouble(&err))?;
    let text = fs::read(OsStr::from_bytes(file)).map_err(|err| trouble(&err))?;
    let body = checked(body, &text, name.ends_with(b".abs")).map_err(|err| trouble(&err))?;
    put_file(out, file, &body).map_err(|err| trouble(&err))
}

/// The body of a file, made anew if it does not hold what the file does: stock's include server looks at a file only once
/// in its life, and that of version 3.4 damages all bytes that are not ASCII. `named` says that a line with the file's
/// name has been put before the text.
fn checked(body: Vec<u8>, text: &[u8], named: bool) -> Result<Vec<u8>, String> {
    let words = |err: LzoError| err.to_string();
    let bytes_max = Limits::default().expanded_bytes_max;
    let prepared = lzo::expand(&body, bytes_max).map_err(words)?;
    let line = match named {
        true => memchr::memchr(b'\n', &prepared).map_or(0, |end| end + 1),
        false => 0,
    };
    let (line, rest) = prepared.split_at(line);
    match rest == text {
        true => Ok(body),
        false if line.is_ascii() => lzo::compress(&[line, text].concat()).map_err(words),
        false => Err("the include server has damaged its name".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_body_that_is_not_the_files_is_made_anew() {
        let pack = |text: &str| lzo::compress(text.as_bytes()).unwrap();
        let unpack = |body: Vec<u8>| {
            String::from_utf8_lossy(&lzo::expand(&body, 1000).unwrap()).into_owned()
        };
        let text = "char *s = \"caf\u{e9}\";\n";
        for (was, named, expected) in [
            (text.to_owned(), false, text.to_owned()),
            ("old\n".to_owned(), false, text.to_owned()),
            (
                format!("#line 1 \"/a\"\n{text}"),
                true,
                format!("#line 1 \"/a\"\n{text}"),
            ),
            (
                "#line 1 \"/a\"\nold".to_owned(),
                true,
                format!("#line 1 \"/a\"\n{text}"),
            ),
        ] {
            let body = checked(pack(&was), text.as_bytes(), named).unwrap();
            assert_eq!(unpack(body), expected);
        }
        assert!(checked(b"no lzo".to_vec(), b"", false).is_err());
        let damaged = pack("#line 1 \"/caf\u{c3}\u{a9}\"\nold");
        assert!(checked(damaged, b"new", true).is_err());
    }
}
