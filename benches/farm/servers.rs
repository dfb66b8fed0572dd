//! Servers that wait instead of compiling: as many ports as servers, and a thread for each job.

use super::record::Job;
use distcc::model::about;
use distcc::model::decode::RequestDecoder;
use distcc::model::packets::Limits;
use distcc::model::wait_status::WaitStatus;
use distcc::model::wire::{Remark, Reply, Source};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

pub struct Servers {
    pub ports: Vec<u16>,
    /// How many jobs came as files, and how many as text.
    answered: Arc<[AtomicUsize; 2]>,
}

/// What threads need.
const STACK_BYTES: usize = 256 << 10;

impl Servers {
    /// Servers that know these jobs by the number that the object's name begins with.
    pub fn start(count: usize, jobs: &[Job]) -> Servers {
        let known = jobs.iter().map(|job| (job.took, job.object.clone()));
        let known: Arc<[(Duration, Vec<u8>)]> = known.collect();
        let answered = Arc::<[AtomicUsize; 2]>::default();
        let ports = (0..count)
            .map(|_| {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let port = listener.local_addr().unwrap().port();
                let (known, answered) = (known.clone(), answered.clone());
                start(move || accept(&listener, &known, &answered));
                port
            })
            .collect();
        Servers { ports, answered }
    }

    /// How many jobs have been answered since the last question that came as files, and how many that came as text.
    pub fn answered(&self) -> [usize; 2] {
        // The last answers are counted when they have been written, which no client waits for.
        thread::sleep(Duration::from_millis(50));
        [0, 1].map(|kind| self.answered[kind].swap(0, Ordering::SeqCst))
    }
}

fn start(work: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new().stack_size(STACK_BYTES);
    thread.spawn(work).unwrap();
}

type Known = Arc<[(Duration, Vec<u8>)]>;

fn accept(listener: &TcpListener, known: &Known, answered: &Arc<[AtomicUsize; 2]>) {
    for stream in listener.incoming().flatten() {
        let (known, answered) = (known.clone(), answered.clone());
        start(move || {
            if let Ok(as_text) = answer(stream, &known) {
                answered[usize::from(as_text)].fetch_add(1, Ordering::SeqCst);
            }
        });
    }
}

/// Whether the job came as text.
fn answer(mut stream: TcpStream, known: &[(Duration, Vec<u8>)]) -> io::Result<bool> {
    let mut decoder = RequestDecoder::for_requests(Limits::default());
    while !decoder.is_done() {
        let count = stream.read(decoder.space())?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        decoder.filled(count).map_err(io::Error::other)?;
    }
    let came = Instant::now();
    let request = decoder.request().map_err(io::Error::other)?;
    let number = number(&request.argv).ok_or(io::ErrorKind::InvalidData)?;
    let (took, object) = known.get(number).ok_or(io::ErrorKind::InvalidData)?;
    let entries = match &request.source {
        Source::Files { entries, .. } => Some(entries),
        Source::Text(_) => None,
    };
    let told = entries.is_some_and(|entries| entries.iter().any(|entry| entry.name == about::NAME));
    let reply = Reply {
        version: request.version,
        status: WaitStatus::SUCCESS,
        stderr: Vec::new(),
        stdout: Vec::new(),
        object: Some(object.clone()),
        deps: entries.map(|_| Vec::new()),
        remark: told.then_some(Remark::Exact),
        sides: None,
    };
    let (mut head, body) = reply.encode().map_err(io::Error::other)?;
    head.extend_from_slice(&body);
    // Reading and packing are a real server's, too, and take none of the time that its compiler does.
    thread::sleep(took.saturating_sub(came.elapsed()));
    stream.write_all(&head)?;
    Ok(entries.is_none())
}

/// The number in `-o /some/where/NUMBER.o`.
fn number(argv: &[Vec<u8>]) -> Option<usize> {
    let at = argv.iter().position(|word| word == b"-o")?;
    let name = argv.get(at + 1)?.rsplit(|byte| *byte == b'/').next()?;
    std::str::from_utf8(name.strip_suffix(b".o")?)
        .ok()?
        .parse()
        .ok()
}
