//! Files that are held back until the client hands over its connection to a host: what goes there, and what is left.

use crate::common::have;
use crate::server::Server;
use distcc::farm::include_link::{Files, IncludeServer};
use distcc::model::direct::{Answer, Query};
use distcc::model::sending::encode_beginning;
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

    fn held(&self) -> Files {
        let query = Query {
            hands_over: true,
            ..self.server.query(COMMAND)
        };
        let files = self.link.ask(&query, OsStr::new("gcc")).unwrap();
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
    let query = Query {
        hands_over: true,
        ..bench.server.query(COMMAND)
    };
    let question = query.encode().unwrap();
    let message = encode_beginning(BEGINNING).unwrap();
    // No connection beside it, no such message, too long a one, the end, and another question.
    for noise in [
        &message[..],
        b"GET / HTTP/1.1\r\n\r\n",
        b"SENDffffffff",
        b"",
        &question,
    ] {
        let mut stream = UnixStream::connect(bench.server.direct()).unwrap();
        stream.write_all(&question).unwrap();
        let mut head = [0; 60];
        stream.read_exact(&mut head).unwrap();
        assert!(
            head.starts_with(b"DRCT00000002OURS"),
            "{}",
            head.escape_ascii()
        );
        stream.write_all(noise).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut more = Vec::new();
        let _ = stream.read_to_end(&mut more);
        assert!(more.is_empty(), "{}", more.escape_ascii());
    }
    // Nor does it hold up others that many never come back.
    let waiting: Vec<_> = (0..150).map(|_| bench.held()).collect();
    let mut files = bench.held();
    let (to, _host) = UnixStream::pair().unwrap();
    let rest = bench.link.hand_over(&mut files, b"", to.as_fd()).unwrap();
    assert!(rest.len() < bench.whole.len());
    drop(waiting);
}
