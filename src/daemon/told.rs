//! What the daemon and the small process that starts compilers say to each other, over the socket between them: a view, with
//! descriptors beside it, in one direction; an open folder, how a job has ended or what went wrong in the other.

use super::view::View;
use crate::model::wait_status::WaitStatus;
use crate::os::handover;
use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// Longest view that is believed; the command alone can have 4 MB.
const VIEW_BYTES_MAX: u64 = 64 << 20;

/// The length of a view comes before it.
const HEAD_BYTES: usize = size_of::<u64>();

/// How much of a view is taken at once: most are shorter.
const PART_BYTES: usize = 16 << 10;

/// More than such a process ever says.
const WORDS_BYTES_MAX: u32 = 4096;

/// What such a process says: three numbers, the last of which is how many words follow, in bytes.
const SAID_BYTES: usize = 3 * size_of::<u32>();
const FOLDER: u32 = 0;
const ENDED: u32 = 1;
const FAILED: u32 = 2;

/// Doing what, and what went wrong.
pub type Failure = (&'static str, io::Error);

/// What such a process has said.
#[derive(Debug)]
pub enum Said {
    /// This is the folder of the next job.
    Folder(OwnedFd),
    /// The compiler has ended, and with it all of the job.
    Ended(WaitStatus),
    /// It could not be started: the error's number, 0 for none, and words.
    Failed(i32, String),
}

/// Why such a process takes or says nothing. Never how a compiler has ended.
#[derive(Debug)]
pub enum Silence {
    /// It has ended. What it had said before could still be heard.
    Gone,
    /// It has ended before it took what it was told last.
    Unheard,
    /// It takes longer over a step than a process does that is well.
    Late,
    /// What it says is none of what such a process says.
    Garbled,
    /// The socket does not work.
    Failed(io::Error),
}

impl Silence {
    /// Whether it has ended.
    pub fn is_end(&self) -> bool {
        matches!(self, Silence::Gone | Silence::Unheard)
    }
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Silence::Gone => f.write_str("the process that does it has ended"),
            Silence::Unheard => f.write_str("the process that does it has ended before it began"),
            Silence::Late => f.write_str("the process that does it does not answer"),
            Silence::Garbled => {
                f.write_str("the process that does it says what nobody understands")
            }
            Silence::Failed(err) => err.fmt(f),
        }
    }
}

impl From<io::Error> for Silence {
    fn from(err: io::Error) -> Silence {
        match err.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => Silence::Gone,
            // So the system says if there was something left to read on the other side.
            io::ErrorKind::ConnectionReset => Silence::Unheard,
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Silence::Late,
            io::ErrorKind::InvalidData => Silence::Garbled,
            _ => Silence::Failed(err),
        }
    }
}

impl From<Silence> for io::Error {
    fn from(silence: Silence) -> io::Error {
        match silence {
            Silence::Failed(err) => err,
            other => io::Error::other(other.to_string()),
        }
    }
}

/// Tells of a view. Who has ended already may have said why.
pub fn tell(mut link: &UnixStream, view: &View, descriptors: &[BorrowedFd]) -> Result<(), Silence> {
    let view = view.encode();
    let mut bytes = Vec::with_capacity(HEAD_BYTES + view.len());
    bytes.extend_from_slice(&(view.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&view);
    let sent = handover::send(link.as_fd(), &bytes, descriptors)?;
    Ok(link.write_all(bytes.get(sent..).unwrap_or_default())?)
}

/// Waits to be told of a view; `None` if nobody will.
pub fn hear(link: &UnixStream) -> io::Result<Option<(View, Vec<OwnedFd>)>> {
    let mut part = vec![0; PART_BYTES];
    let (got, descriptors) = handover::receive(link.as_fd(), &mut part)?;
    if got == 0 {
        return Ok(None);
    }
    part.truncate(got);
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let (head, rest) = part.split_first_chunk().ok_or_else(invalid)?;
    let length = u64::from_le_bytes(*head);
    if length > VIEW_BYTES_MAX {
        return Err(invalid());
    }
    let mut bytes = rest.to_vec();
    let missing = length.saturating_sub(bytes.len() as u64);
    link.take(missing).read_to_end(&mut bytes)?;
    let view = View::decode(&bytes).ok_or_else(invalid)?;
    Ok(Some((view, descriptors)))
}

/// Gives the folder of the next job.
pub fn give(link: &UnixStream, folder: BorrowedFd) -> io::Result<()> {
    let said = said(FOLDER, 0, &[]);
    handover::send(link.as_fd(), &said, &[folder]).map(drop)
}

/// Says how a job has ended.
pub fn say(mut link: &UnixStream, how: Result<WaitStatus, Failure>) -> io::Result<()> {
    link.write_all(&match how {
        Ok(WaitStatus(status)) => said(ENDED, status, &[]),
        Err((doing, err)) => {
            let number = err.raw_os_error().unwrap_or(0);
            said(FAILED, number as u32, format!("{doing}: {err}").as_bytes())
        }
    })
}

fn said(what: u32, number: u32, words: &[u8]) -> Vec<u8> {
    let words = words.get(..WORDS_BYTES_MAX as usize).unwrap_or(words);
    let numbers = [what, number, words.len() as u32].map(u32::to_le_bytes);
    [&numbers.concat()[..], words].concat()
}

/// Waits for what is said.
pub fn listen(mut link: &UnixStream) -> Result<Said, Silence> {
    let mut head = [0; SAID_BYTES];
    let (got, mut descriptors) = handover::receive(link.as_fd(), &mut head)?;
    if got == 0 {
        return Err(Silence::Gone);
    }
    link.read_exact(head.get_mut(got..).unwrap_or_default())?;
    let number = |at: usize| {
        let four = head.chunks_exact(size_of::<u32>()).nth(at);
        let four = four.and_then(|four| four.try_into().ok());
        four.map_or(u32::MAX, u32::from_le_bytes)
    };
    let mut words = Vec::new();
    let length = number(2).min(WORDS_BYTES_MAX);
    link.take(length.into()).read_to_end(&mut words)?;
    Ok(match (number(0), descriptors.pop()) {
        (FOLDER, Some(folder)) => Said::Folder(folder),
        (ENDED, None) => Said::Ended(WaitStatus(number(1))),
        (FAILED, None) => {
            let words = String::from_utf8_lossy(&words).into_owned();
            Said::Failed(number(1) as i32, words)
        }
        _ => return Err(Silence::Garbled),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs::File;
    use std::thread;
    use std::time::Duration;

    #[test]
    fn a_view_of_any_length_comes_over_with_its_descriptors() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        for length in [0, 10, PART_BYTES - 100, PART_BYTES, 1 << 20] {
            let view = View {
                words: vec![vec![b'x'; length]],
                ..View::default()
            };
            let file = File::open("/dev/null").unwrap();
            thread::scope(|scope| {
                scope.spawn(|| tell(&ours, &view, &[file.as_fd(), file.as_fd()]).unwrap());
                let (heard, descriptors) = hear(&theirs).unwrap().unwrap();
                assert!(heard == view && descriptors.len() == 2, "{length}");
            });
        }
        (&ours).write_all(&u64::MAX.to_le_bytes()).unwrap();
        assert!(hear(&theirs).is_err());
        (&ours).write_all(b"short").unwrap();
        assert!(hear(&theirs).is_err());
        drop(ours);
        assert!(hear(&theirs).unwrap().is_none());
    }

    #[test]
    fn why_nothing_is_said_is_known() {
        let view = View::default();
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        assert!(matches!(tell(&ours, &view, &[]), Err(Silence::Gone)));
        assert!(matches!(listen(&ours), Err(Silence::Gone)));
        let (ours, theirs) = UnixStream::pair().unwrap();
        tell(&ours, &view, &[]).unwrap();
        say(&theirs, Ok(WaitStatus(256))).unwrap();
        drop(theirs); // What it was told is lost with it; what it has said is not.
        assert!(matches!(listen(&ours), Ok(Said::Ended(WaitStatus(256)))));
        assert!(matches!(listen(&ours), Err(Silence::Unheard)));
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(Duration::from_millis(1)))
            .unwrap();
        assert!(matches!(listen(&ours), Err(Silence::Late)));
        (&theirs).write_all(&[9; SAID_BYTES]).unwrap();
        drop(theirs);
        assert!(matches!(listen(&ours), Err(Silence::Garbled)));
    }

    #[test]
    fn what_is_said_one_after_the_other_is_heard_apart() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let file = File::open("/").unwrap();
        say(&theirs, Ok(WaitStatus(256))).unwrap();
        give(&theirs, file.as_fd()).unwrap();
        say(&theirs, Err(("do it", io::ErrorKind::Other.into()))).unwrap();
        let missing = io::Error::from_raw_os_error(2);
        say(&theirs, Err(("run it", missing))).unwrap();
        let long = "x".repeat(9000).leak();
        say(&theirs, Err((long, io::ErrorKind::Other.into()))).unwrap();
        drop(theirs);
        let next = || listen(&ours);
        assert!(matches!(next(), Ok(Said::Ended(WaitStatus(256)))));
        assert!(matches!(next(), Ok(Said::Folder(_))));
        assert!(matches!(next(), Ok(Said::Failed(0, words)) if words == "do it: other error"));
        assert!(
            matches!(next(), Ok(Said::Failed(2, words)) if words.starts_with("run it: No such"))
        );
        assert!(matches!(next(), Ok(Said::Failed(0, words)) if words.len() == 4096));
        assert!(matches!(next(), Err(Silence::Gone)));
    }
}
