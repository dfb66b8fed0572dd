//! What a child writes, taken from a pipe in few and large steps: it is not looked for whenever something comes, which
//! would wake us for each of the child's writes, but when the child has ended and, until then, now and then.

#![allow(unsafe_code)] // Pipes and what is in them are only to be had from libc.

use super::net::{wait_any, Event};
use super::pages::Bytes;
use super::sys::check;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// How much a pipe is asked to hold, in bytes: what Linux gives everybody.
const PIPE_BYTES: usize = 1 << 20;

/// A pipe that holds less, for want of memory, is emptied whenever something comes.
const ROOMY_BYTES: usize = PIPE_BYTES / 4;

/// How long a pipe is left alone, at first and at the least and most: less if it was found more than half full.
const PAUSE: Duration = Duration::from_millis(2);
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(32);

/// The end of a pipe that is read.
#[derive(Debug)]
pub struct Gatherer {
    pipe: File,
    pipe_bytes: usize,
    gathered: Bytes,
}

/// A pipe: whoever gathers, and the end that is given to a child.
pub fn pipe() -> io::Result<(Gatherer, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: the array has room for both descriptors, which are then ours alone; fcntl touches no memory.
    let (read, write, pipe_bytes) = unsafe {
        check(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC))?;
        let write = OwnedFd::from_raw_fd(ends[1]);
        let size = libc::fcntl(ends[1], libc::F_SETPIPE_SZ, PIPE_BYTES as libc::c_int);
        (File::from_raw_fd(ends[0]), write, size)
    };
    let gatherer = Gatherer {
        pipe: read,
        pipe_bytes: usize::try_from(pipe_bytes).unwrap_or_default(),
        gathered: Vec::new().into(),
    };
    Ok((gatherer, write))
}

impl Gatherer {
    /// Takes all that comes until nobody has the other end any more, or `is_over` says that no more is wanted than what
    /// has come by then.
    pub fn gather(mut self, mut is_over: impl FnMut() -> io::Result<bool>) -> io::Result<Bytes> {
        let event = match self.pipe_bytes >= ROOMY_BYTES {
            true => Event::HangUp,
            false => Event::Read,
        };
        let mut pause = PAUSE;
        loop {
            let until = Instant::now() + pause;
            let happened = wait_any([(self.pipe.as_fd(), event)], Some(until))?.is_some();
            // Asked before the last piece is taken, so that nothing is missed.
            let over = (happened && event == Event::HangUp) || is_over()?;
            let taken = self.take()?;
            if over || (happened && taken == 0) {
                return Ok(self.gathered);
            }
            pause = match taken > self.pipe_bytes / 2 {
                true => pause / 2,
                false => pause * 2,
            };
            pause = pause.clamp(PAUSE_MIN, PAUSE_MAX);
        }
    }

    /// Takes what the pipe holds, and says how much it was.
    fn take(&mut self) -> io::Result<usize> {
        let mut held: libc::c_int = 0;
        // SAFETY: the request writes an int.
        check(unsafe { libc::ioctl(self.pipe.as_raw_fd(), libc::FIONREAD, &raw mut held) })?;
        let count = usize::try_from(held).unwrap_or_default();
        if count > 0 {
            let pipe = &mut self.pipe;
            self.gathered
                .extend(count, |place| pipe.read_exact(place))?;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::Write;
    use std::thread;

    fn gathered(pieces: &'static [usize], pause: Duration, pipe_bytes: usize) -> Bytes {
        let (mut gatherer, write) = pipe().unwrap();
        // SAFETY: touches no memory.
        let set = unsafe { libc::fcntl(write.as_raw_fd(), libc::F_SETPIPE_SZ, pipe_bytes) };
        gatherer.pipe_bytes = set as usize;
        let writer = thread::spawn(move || {
            let mut write = File::from(write);
            for (number, piece) in pieces.iter().enumerate() {
                write.write_all(&vec![number as u8; *piece]).unwrap();
                thread::sleep(pause);
            }
        });
        let gathered = gatherer.gather(|| Ok(false)).unwrap();
        writer.join().unwrap();
        gathered
    }

    #[test]
    fn all_of_it_in_order() {
        for pieces in [
            &[][..],
            &[5],
            &[40_000, 40_000, 1],
            &[3_000_000, 1, 70_000],
            &[9_000_000, 9_000_000],
        ] {
            let expected: Vec<u8> = (0..)
                .zip(pieces)
                .flat_map(|(number, piece)| vec![number; *piece])
                .collect();
            for (pause, pipe_bytes) in [(0, PIPE_BYTES), (5, PIPE_BYTES), (1, 4096)] {
                let pause = Duration::from_millis(pause);
                assert!(*gathered(pieces, pause, pipe_bytes) == expected);
            }
        }
    }

    #[test]
    fn what_comes_after_the_end_is_not_waited_for() {
        let (gatherer, write) = pipe().unwrap();
        let mut kept = File::from(write);
        kept.write_all(b"text").unwrap();
        let mut asked = 0;
        let gathered = gatherer.gather(|| {
            asked += 1;
            Ok(asked > 2)
        });
        assert_eq!(*gathered.unwrap(), *b"text");
        assert!(kept.write_all(b"more").is_err(), "nobody reads it");
    }
}
