//! The configuration read again while jobs are served: in a thread for which nobody waits, since it looks names up, and a
//! name server that is silent can keep it for minutes. Of several readings the one that was begun last counts.

use super::config::Config;
use super::source::{Source, Wanted};
use smol::channel::{unbounded, Receiver, Sender};
use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::thread;

/// What was read: a configuration, or why there is none.
pub type Read = Result<Box<Config>, String>;

/// The readings that have been begun. All of it is asked by one thread.
#[derive(Debug)]
pub struct Rereading {
    source: Arc<Source>,
    /// The number of the last one.
    last: Cell<u64>,
    tell: Sender<(u64, Read)>,
    told: Receiver<(u64, Read)>,
}

impl Rereading {
    /// None has been begun.
    pub fn new(source: Arc<Source>) -> Rereading {
        let (tell, told) = unbounded();
        Rereading {
            source,
            last: Cell::new(0),
            tell,
            told,
        }
    }

    /// Begins to read.
    pub fn begin(&self) -> io::Result<()> {
        let source = self.source.clone();
        self.begin_by(thread::Builder::new(), move || read(&source))
    }

    fn begin_by(
        &self,
        reader: thread::Builder,
        read: impl FnOnce() -> Read + Send + 'static,
    ) -> io::Result<()> {
        let number = self.last.get() + 1;
        let tell = self.tell.clone();
        // Whoever would hear of it may be gone by then.
        reader
            .name("configuration".to_owned())
            .spawn(move || drop(tell.try_send((number, read()))))?;
        // Not before: with no reading after it, the one before still counts.
        self.last.set(number);
        Ok(())
    }

    /// Waits for what the last reading gives.
    pub async fn next(&self) -> Read {
        loop {
            match self.told.recv().await {
                Ok((number, read)) if number == self.last.get() => return read,
                Ok(_) => {}
                Err(_) => std::future::pending().await,
            }
        }
    }
}

fn read(source: &Source) -> Read {
    match source.read() {
        Ok(Wanted::Serve(config)) => Ok(config),
        Ok(Wanted::Say(_)) => Err("there is nothing to serve".to_owned()),
        Err(err) => Err(err.message),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn one_that_hangs_holds_nobody_up_and_does_not_count_when_it_comes_late() {
        let rereading = Rereading::new(Arc::new(Source::new(Vec::new())));
        let say = |word: &'static str| move || Err(word.to_owned());
        let (let_go, hangs) = mpsc::channel::<()>();
        let (ended, at_end) = mpsc::channel();
        let hanging = move || {
            let _ = hangs.recv();
            ended.send(()).unwrap();
            Err("late".to_owned())
        };
        let begin = |read: Box<dyn FnOnce() -> Read + Send>| {
            rereading.begin_by(thread::Builder::new(), read).unwrap();
        };
        begin(Box::new(hanging));
        begin(Box::new(say("second")));
        assert_eq!(smol::block_on(rereading.next()).unwrap_err(), "second");
        drop(let_go);
        at_end.recv().unwrap();
        begin(Box::new(say("third")));
        assert_eq!(smol::block_on(rereading.next()).unwrap_err(), "third");
    }

    #[test]
    fn one_that_can_not_be_begun_leaves_the_one_before_in_force() {
        let rereading = Rereading::new(Arc::new(Source::new(Vec::new())));
        let (let_go, waits) = mpsc::channel::<()>();
        let first = move || {
            let _ = waits.recv();
            Err("first".to_owned())
        };
        rereading.begin_by(thread::Builder::new(), first).unwrap();
        let no_room = thread::Builder::new().stack_size(1 << 60);
        let second = rereading.begin_by(no_room, || Err("second".to_owned()));
        assert!(second.is_err());
        drop(let_go);
        let heard = smol::block_on(smol::future::or(rereading.next(), async {
            smol::Timer::after(std::time::Duration::from_secs(60)).await;
            Err("nothing".to_owned())
        }));
        assert_eq!(heard.unwrap_err(), "first");
    }
}
