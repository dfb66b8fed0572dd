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
        self.begin_by(move || read(&source))
    }

    fn begin_by(&self, read: impl FnOnce() -> Read + Send + 'static) -> io::Result<()> {
        let number = self.last.get() + 1;
        self.last.set(number);
        let tell = self.tell.clone();
        let reader = thread::Builder::new().name("configuration".to_owned());
        // Whoever would hear of it may be gone by then.
        reader
            .spawn(move || drop(tell.try_send((number, read()))))
            .map(drop)
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
        rereading.begin_by(hanging).unwrap();
        rereading.begin_by(say("second")).unwrap();
        assert_eq!(smol::block_on(rereading.next()).unwrap_err(), "second");
        drop(let_go);
        at_end.recv().unwrap();
        rereading.begin_by(say("third")).unwrap();
        assert_eq!(smol::block_on(rereading.next()).unwrap_err(), "third");
    }
}
