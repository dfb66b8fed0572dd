//! Hosts and include servers that fail in pump mode, at every byte of an exchange; signals at each stage of it. The build
//! goes on in bounded time with the right object, and nothing is left behind.
#![allow(clippy::unwrap_used)]

mod common;

use common::pump::{
    exact_reply, files, hold, serve_socket, Does, FakeHost, FakeIncludeServer, Says,
};
use common::{
    in_parallel, same_file, wait_for, Client, Direction, Ending, Farm, Peer, Recorded, Script,
    BOUND,
};
use distcc::model::direct::Covered;
use distcc::model::wire::Reply;
use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Stdio;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// All commands, and so all exchanges, are of one length.
fn compile(number: usize) -> [String; 5] {
    ["gcc", "-c", "x.c", "-o", &object(number)].map(str::to_owned)
}

fn object(number: usize) -> String {
    format!("x{number:05}.o")
}

/// A farm with the object of a local compile, and a session whose answers are right.
struct Scene {
    server: FakeIncludeServer,
    farm: Farm,
}

impl Scene {
    fn new() -> Scene {
        let farm = Farm::new();
        farm.write("x.c", "int f(int a) { return a + 1; }\n");
        farm.local(&["gcc", "-c", "x.c", "-o", "local.o"]).expect(0);
        let server = FakeIncludeServer::naming(&farm, covered());
        Scene { farm, server }
    }

    /// What a host answers if all goes well.
    fn reply(&self) -> Reply {
        Reply {
            object: Some(fs::read(self.farm.work().join("local.o")).unwrap()),
            ..exact_reply()
        }
    }

    fn client(&self, host: &str) -> Client<'_> {
        self.server
            .client(&self.farm, host)
            .env("DISTCC_BACKOFF_PERIOD", "0")
            .env("DISTCC_IO_TIMEOUT", "1")
            .env("DISTCC_CONNECT_TIMEOUT", "1")
    }

    /// All bytes of a good exchange.
    fn record(&self) -> Recorded {
        let host = FakeHost::answering(self.reply());
        let relay = Peer::relay(host.port);
        let client = self.client(&format!("{},cpp,lzo", relay.host()));
        let ran = client.run(&compile(0)).expect(0);
        assert!(ran.log.contains("in pump mode"), "{ran}");
        let recorded = relay.recorded();
        assert!(recorded.request.len() > 50 && recorded.reply.len() > 50);
        recorded
    }

    /// Compiles with a host that does so; whatever it does, the object must be right and nothing be said.
    #[track_caller]
    fn compiles(&self, script: Script, number: usize, what: &str) {
        let peer = Peer::play(script);
        let client = self.client(&format!("{},cpp,lzo", peer.host()));
        let ran = client.run(&compile(number));
        assert_eq!(ran.status, 0, "{what}: {ran}");
        assert_eq!(ran.stderr, "", "{what}: {ran}");
        let object = self.farm.work().join(object(number));
        let expected = self.farm.work().join("local.o");
        assert_eq!(same_file(&expected, &object), None, "{what}: {ran}");
        fs::remove_file(object).unwrap();
    }
}

fn covered() -> Covered {
    files(&[
        ("/w/x.c", "int f(int a) { return a + 1; }\n"),
        ("/.distcc/about", ""),
    ])
}

#[test]
fn an_exchange_cut_after_every_byte() {
    let scene = Scene::new();
    let recorded = scene.record();
    let mut cases = Vec::new();
    for (direction, length) in [
        (Direction::Request, recorded.request.len()),
        (Direction::Reply, recorded.reply.len()),
    ] {
        for after in 0..length {
            // Inside the object one byte is like another.
            let dull = direction == Direction::Reply
                && (100..length - 100).contains(&after)
                && after % 17 != 0;
            for ending in [Ending::Close, Ending::Reset] {
                if !dull {
                    cases.push((direction, after, ending));
                }
            }
        }
    }
    let numbered: Vec<_> = cases.iter().enumerate().collect();
    in_parallel(&numbered, |(number, (direction, after, ending))| {
        let what = format!("{direction:?} cut after {after} by {ending:?}");
        let script = recorded.cut(*direction, *after, *ending);
        scene.compiles(script, number + 1, &what);
    });
    scene.farm.expect_clean("cuts");
}

#[test]
fn hosts_that_stall_or_dawdle() {
    let scene = Scene::new();
    let recorded = scene.record();
    for (direction, after) in [
        (Direction::Request, 40),
        (Direction::Reply, 0),
        (Direction::Reply, 40),
        (Direction::Reply, recorded.reply.len() - 13),
        (Direction::Reply, recorded.reply.len() - 1),
    ] {
        let script = recorded.cut(direction, after, Ending::Stall);
        scene.compiles(script, 1, &format!("{direction:?} stalls after {after}"));
    }
    let slow = Script {
        read: recorded.request.len(),
        reply: recorded.reply.clone(),
        pace: Some((10, Duration::from_millis(1))),
        ending: Ending::Close,
    };
    scene.compiles(slow, 2, "an answer in small pieces");
    let much = [&recorded.reply[..], &[b'x'; 100_000]].concat();
    let script = Script {
        read: recorded.request.len(),
        reply: much,
        pace: None,
        ending: Ending::Close,
    };
    scene.compiles(script, 3, "more than an answer");
    scene.farm.expect_clean("stalls");
}

#[test]
fn answers_that_are_damaged_at_any_byte() {
    let scene = Scene::new();
    let recorded = scene.record();
    let object = recorded
        .reply
        .windows(4)
        .position(|at| at == b"DOTO")
        .unwrap();
    // A damaged object can't be told from a good one: only what leads to it is damaged here, and what follows.
    let places = (0..object + 12).chain(recorded.reply.len() - 12..recorded.reply.len());
    let cases: Vec<(usize, usize)> = places.enumerate().collect();
    in_parallel(&cases, |(number, at)| {
        let mut reply = recorded.reply.clone();
        reply[*at] ^= 0x80;
        let script = Script {
            read: recorded.request.len(),
            reply,
            pace: None,
            ending: Ending::Close,
        };
        scene.compiles(script, number + 1, &format!("byte {at} damaged"));
    });
    scene.farm.expect_clean("damage");
}

/// What the client is doing when the signal comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Asking,
    Waiting,
    Receiving,
}

fn check_signal(stage: Stage, signal: &str, number: i32) {
    let context = format!("{signal} while {stage:?}");
    let farm = Farm::new();
    farm.write("x.c", "int f;\n");
    let server = FakeIncludeServer::start(&farm, move |_, _| match stage {
        Stage::Asking => Says::Nothing,
        _ => Says::Files(covered()),
    });
    let host = FakeHost::start(|_, _| Does::Nothing);
    let begun = Peer::play(Script {
        read: 4,
        reply: b"DONE00000003STAT00000000SERR0000".to_vec(),
        pace: None,
        ending: Ending::Stall,
    });
    let hosts = match stage {
        Stage::Receiving => format!("{},cpp,lzo", begun.host()),
        _ => host.pump_host(),
    };
    let (mut command, _) = server
        .client(&farm, &hosts)
        .command(&["gcc", "-c", "x.c", "-MD"]);
    let command = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = command.process_group(0).spawn().unwrap();
    let state = farm.path(&format!("top/state/binstate_{}", child.id()));
    let phase = || fs::read(&state).ok()?.get(284).copied();
    wait_for(&context, BOUND, || match stage {
        Stage::Asking => phase() == Some(3) && !server.queries().is_empty(),
        Stage::Waiting => phase() == Some(5) && !host.requests().is_empty(),
        Stage::Receiving => phase() == Some(6),
    });
    common::signal(signal, &child.id().to_string());
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(number), "{context}: {status:?}");
    let left = common::files_below(&farm.work());
    assert_eq!(
        left,
        [farm.work().join("x.c").display().to_string()],
        "{context}"
    );
    farm.expect_clean(&context);
}

#[test]
fn signals_end_it_tidily_at_every_stage() {
    for stage in [Stage::Asking, Stage::Waiting, Stage::Receiving] {
        for (signal, number) in [("TERM", 15), ("INT", 2), ("HUP", 1), ("QUIT", 3)] {
            check_signal(stage, signal, number);
        }
    }
}

/// The host has a connection then over which nothing has come, or a part of a request.
#[test]
fn include_servers_that_were_to_send_and_fail_cost_only_pump_mode() {
    let scene = Scene::new();
    let host = FakeHost::answering(exact_reply());
    for (bytes, why) in [
        (Some(&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..]), "was due"),
        (Some(b""), "hung up"),
        (Some(b"SENT00000001"), "hung up"),
        (Some(b"SENT00000000REST00000000"), "more or less was sent"),
        (Some(b"SENTffffffffREST00000001x"), "more or less was sent"),
        (Some(b"SENT00000000RESTffffffff"), "limit"),
        (None, "silent for too long"),
    ] {
        let says = move |_: &_, _| Says::Holds(covered(), bytes.map(<[u8]>::to_vec));
        let server = FakeIncludeServer::start(&scene.farm, says);
        let client = scene.client(&host.pump_host());
        let client = client.env("INCLUDE_SERVER_PORT", server.port());
        let ran = client.run(&compile(0)).expect(0);
        assert!(ran.log.contains(why), "no {why:?}: {ran}");
        let made = fs::read(scene.farm.work().join(object(0))).unwrap();
        assert_eq!(made, b"plain", "{ran}");
        // The host is not to blame.
        assert_eq!(ran.hosts(), [host.pump_host()], "{ran}");
    }
    scene.farm.expect_clean("include servers that fail");
}

/// One that has got a connection and is stopped may send over it later.
#[test]
fn a_connection_that_was_handed_over_in_vain_is_ended() {
    let scene = Scene::new();
    let folder = scene.farm.new_folder("stopped");
    let kept = Arc::new(Mutex::new(Vec::new()));
    let (keep, last) = (kept.clone(), object(0));
    let _served = serve_socket(&folder.join("direct"), move |mut stream| {
        read_question(&mut stream, &last);
        let held = hold(&mut stream, &covered());
        keep.lock().unwrap().push((stream, held));
    });
    let host = TcpListener::bind("127.0.0.1:0").unwrap();
    let name = format!("127.0.0.1:{},cpp,lzo", host.local_addr().unwrap().port());
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let (mut stream, _) = host.accept().unwrap();
        let mut bytes = Vec::new();
        let end = stream.read_to_end(&mut bytes);
        tell.send((end.is_ok(), bytes.len())).unwrap();
    });
    let client = scene.client(&name);
    let client = client.env("INCLUDE_SERVER_PORT", folder.join("socket"));
    let ran = client.run(&compile(0)).expect(0);
    assert!(ran.log.contains("silent for too long"), "{ran}");
    assert_eq!(told.recv_timeout(BOUND), Ok((true, 0)));
    let kept = kept.lock().unwrap();
    assert!(matches!(&kept[..], [(_, Some(_))]), "it has the connection");
}

/// A question is not looked at, and ends with the last word of the command.
fn read_question(stream: &mut UnixStream, last: &str) {
    let (mut asked, mut part) = (Vec::new(), [0; 4096]);
    while !asked.ends_with(last.as_bytes()) {
        match stream.read(&mut part) {
            Ok(count @ 1..) => asked.extend_from_slice(&part[..count]),
            _ => return,
        }
    }
}

/// While a client compiles here, the include server has no thread that waits for it.
#[test]
fn who_compiles_here_hands_nothing_over() {
    let scene = Scene::new();
    let bin = scene.farm.path("bin/gcc");
    let text = "#!/bin/sh\nwhile [ ! -e go ]; do sleep 0.02; done\nexec /usr/bin/gcc \"$@\"\n";
    fs::write(&bin, text).unwrap();
    fs::set_permissions(&bin, fs::Permissions::from_mode(0o755)).unwrap();
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let folder = scene.farm.new_folder("held");
    let _served = serve_socket(&folder.join("direct"), move |mut stream| {
        read_question(&mut stream, &object(0));
        let handed_over = hold(&mut stream, &covered()).is_some();
        tell.lock().unwrap().send(handed_over).unwrap();
    });
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = format!("127.0.0.1:{},cpp,lzo", nobody.local_addr().unwrap().port());
    drop(nobody);
    let client = scene.client(&host);
    let client = client.env("INCLUDE_SERVER_PORT", folder.join("socket"));
    let command = compile(0).map(|word| word.replace("gcc", bin.to_str().unwrap()));
    let (running, _) = client.start(&command);
    assert_eq!(told.recv_timeout(BOUND), Ok(false));
    fs::write(scene.farm.work().join("go"), "").unwrap();
    running.finish(BOUND).expect(0);
}
