//! Files that are held back until the client hands over its connection to a host: what goes there, and what is left.

use crate::common::{have, wait_for, BOUND};
use crate::server::Server;
use distcc::farm::include_link::{Files, IncludeServer};
use distcc::model::direct::{Answer, Query};
use distcc::model::sending::encode_beginning;
use distcc::os::handover;
use socket2::SockRef;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

const COMMAND: &str = "gcc -c x.c";

/// What a client sends before the files.
const BEGINNING: &[u8] = b"DIST00000003ARGC00000000";

struct Bench {
    server: Server,
    link: IncludeServer,
    /// What a host is to get in all.
    whole: Vec<u8>,
}

impl Bench {
    fn new(test: &str) -> Option<Bench> {
        let server = have(test, &["gcc"]).then(Server::start)?;
        // More than a socket holds, and nothing that repeats.
        let mut state = 1u64;
        let mut text = String::from("char text[] = \"");
        for _ in 0..3_000_000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            text.push((b'a' + (state >> 59) as u8 % 26) as char);
        }
        text.push_str("\";\n");
        server.write("large.h", text);
        server.write("x.c", "#include \"large.h\"\n");
        let Answer::Covered(covered) = server.ask(&server.query(COMMAND)) else {
            panic!("not covered");
        };
        assert!(covered.entries.len() > 1_000_000);
        Some(Bench {
            link: IncludeServer::at(&server.socket(), Duration::from_secs(20), None),
            whole: [BEGINNING, &covered.entries].concat(),
            server,
        })
    }

    fn query(&self) -> Query {
        Query {
            hands_over: true,
            ..self.server.query(COMMAND)
        }
    }

    /// A client that has been told that its files are held back.
    fn asking(&self) -> UnixStream {
        let mut stream = UnixStream::connect(self.server.direct()).unwrap();
        stream.write_all(&self.query().encode().unwrap()).unwrap();
        let mut head = [0; 60];
        stream.read_exact(&mut head).unwrap();
        let shown = head.escape_ascii();
        assert!(head.starts_with(b"DRCT00000002OURS"), "{shown}");
        assert_eq!(&head[48..52], b"HELD", "{shown}");
        stream
    }

    fn held(&self) -> Files {
        let files = self.link.ask(&self.query(), OsStr::new("gcc")).unwrap();
        assert!(files.are_at_hand(true) && !files.are_at_hand(false));
        assert_eq!(BEGINNING.len() + files.bytes(), self.whole.len());
        files
    }
}

#[test]
fn a_host_gets_all_of_it_or_the_client_the_rest() {
    let Some(bench) = Bench::new("hand over") else {
        return;
    };
    // One that reads.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut host, _) = listener.accept().unwrap();
    let reads = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        host.read_to_end(&mut bytes).unwrap();
        bytes
    });
    let mut files = bench.held();
    let rest = bench
        .link
        .hand_over(&mut files, BEGINNING, to.as_fd())
        .unwrap();
    drop(to);
    let got = reads.join().unwrap();
    assert!(rest.is_empty() && got == bench.whole);
    assert!(!files.are_at_hand(true), "they go once");
    let (to, _host) = UnixStream::pair().unwrap();
    assert!(bench
        .link
        .hand_over(&mut files, BEGINNING, to.as_fd())
        .is_err());

    // One that does not read yet: the client goes on where the include server has ended.
    let (to, mut host) = UnixStream::pair().unwrap();
    SockRef::from(&to).set_send_buffer_size(20_000).unwrap();
    let mut files = bench.held();
    let rest = bench
        .link
        .hand_over(&mut files, BEGINNING, to.as_fd())
        .unwrap();
    assert!(!rest.is_empty() && rest.len() < bench.whole.len());
    drop(to);
    let mut got = Vec::new();
    host.read_to_end(&mut got).unwrap();
    assert!([got, rest].concat() == bench.whole);

    // One that takes a little again and again: there is an end to that, too.
    let (to, mut host) = UnixStream::pair().unwrap();
    SockRef::from(&to).set_send_buffer_size(20_000).unwrap();
    let reads = std::thread::spawn(move || {
        let (mut got, mut part) = (Vec::new(), [0; 2000]);
        while let Ok(count @ 1..) = host.read(&mut part) {
            got.extend_from_slice(&part[..count]);
            std::thread::sleep(Duration::from_millis(1));
        }
        got
    });
    let mut files = bench.held();
    let rest = bench.link.hand_over(&mut files, BEGINNING, to.as_fd());
    let rest = rest.unwrap();
    drop(to);
    assert!(!rest.is_empty(), "one host was waited for all the time");
    assert!([reads.join().unwrap(), rest].concat() == bench.whole);

    // One that is there, but not the client any more.
    let (to, mut host) = UnixStream::pair().unwrap();
    let mut client = bench.asking();
    bench.server.signal("-STOP");
    let message = encode_beginning(BEGINNING).unwrap();
    let sent = handover::send(client.as_fd(), &message, &[to.as_fd()]);
    assert_eq!(sent.unwrap(), message.len());
    client.flush().unwrap();
    drop((client, to));
    bench.server.signal("-CONT");
    let mut got = Vec::new();
    host.read_to_end(&mut got).unwrap();
    assert!(got.is_empty(), "a job that nobody wants");

    // One that has gone, and something that is no host.
    let (gone, host) = UnixStream::pair().unwrap();
    drop(host);
    let no_socket = File::open("/dev/null").unwrap();
    for to in [gone.as_fd(), no_socket.as_fd()] {
        let mut files = bench.held();
        let rest = bench.link.hand_over(&mut files, BEGINNING, to).unwrap();
        assert!(rest == bench.whole);
    }
}

#[test]
fn who_hands_over_nothing_gets_nothing() {
    let Some(bench) = Bench::new("nothing handed over") else {
        return;
    };
    let question = bench.query().encode().unwrap();
    // No such message, too long a one, the end, and another question.
    for noise in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"SENDffffffff",
        b"",
        &question,
    ] {
        let mut stream = bench.asking();
        stream.write_all(noise).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut more = Vec::new();
        let _ = stream.read_to_end(&mut more);
        assert!(more.is_empty(), "{}", more.escape_ascii());
    }
    // A connection that got lost on the way, for want of descriptors: all is given back.
    let mut stream = bench.asking();
    let message = encode_beginning(BEGINNING).unwrap();
    stream.write_all(&message).unwrap();
    let mut said = Vec::new();
    stream.read_to_end(&mut said).unwrap();
    let head = format!("SENT00000000REST{:08x}", bench.whole.len());
    assert!(said == [head.as_bytes(), &bench.whole].concat());
}

#[test]
fn many_that_never_come_back_hold_up_nobody() {
    let Some(bench) = Bench::new("many held") else {
        return;
    };
    let ask = || bench.link.ask(&bench.query(), OsStr::new("gcc")).unwrap();
    let waiting: Vec<Files> = (0..150).map(|_| ask()).collect();
    let held = waiting.iter().filter(|files| !files.are_at_hand(false));
    assert!(
        (100..128).contains(&held.count()),
        "the last thread waits for none"
    );
    let last = ask();
    assert!(last.covered.entries == bench.whole[BEGINNING.len()..]);
    drop(waiting);
    // Then it is as it was.
    wait_for("threads", BOUND, || !ask().are_at_hand(false));
}
