//! What clients and sources may do without harming others: garbage, hanging up, endless macros, huge answers, files that
//! can't be read.

use crate::common::{have, is_root};
use crate::server::{throw, Server};
use distcc::model::direct::Answer;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn server(test: &str) -> Option<Server> {
    let server = have(test, &["gcc"]).then(Server::start)?;
    server.write("x.c", "#include <stdio.h>\n");
    Some(server)
}

const COMMAND: &str = "gcc -c x.c";

#[test]
fn garbage_and_vanishing_clients_concern_only_themselves() {
    let Some(server) = server("garbage") else {
        return;
    };
    let question = server.query(COMMAND).encode().unwrap();
    let stock = b"CDIR00000001/ARGC00000002ARGV00000003gccARGV00000002-c";
    for socket in [server.direct(), server.socket()] {
        for noise in [
            &b""[..],
            b"\0",
            b"GET / HTTP/1.1\r\n\r\n",
            b"DRCT00000003",
            b"CDIRffffffff",
            b"CDIR00000001/ARGCffffffff",
            b"CDIR00000001/ARGC00000000",
            b"CDIR00000001/ARGC00000001ARGV7fffffff",
            &[0xff; 100_000],
        ] {
            throw(&socket, noise);
        }
        for cut in (0..question.len()).step_by(7) {
            throw(&socket, &question[..cut]);
        }
        for cut in 0..stock.len() {
            throw(&socket, &stock[..cut]);
        }
        // They ask and do not wait.
        for _ in 0..20 {
            let mut stream = UnixStream::connect(&socket).unwrap();
            let asked = if socket.ends_with("direct") {
                &question[..]
            } else {
                stock
            };
            stream.write_all(asked).unwrap();
        }
    }
    // They say nothing at all, for longer than this test.
    let silent: Vec<UnixStream> = (0..40)
        .map(|_| UnixStream::connect(server.direct()).unwrap())
        .collect();
    assert_eq!(server.covered(COMMAND).names.len(), 1);
    assert_eq!(server.put_ready(COMMAND).names.len(), 1);
    drop(silent);
}

#[test]
fn an_endless_analysis_ends_and_stalls_nobody() {
    let Some(server) = server("endless") else {
        return;
    };
    let mut text = String::from("#define A0 1 +\n");
    for level in 1..60 {
        let below = level - 1;
        writeln!(text, "#define A{level} A{below} A{below}").unwrap();
    }
    text += "#if A59 0\n#endif\n#include A59\n";
    server.write("bomb.c", &text);
    server.write("self.c", "#include \"self.c\"\n");
    server.covered(COMMAND);
    let server = Arc::new(server);
    let bombs: Vec<_> = (0..4)
        .map(|at| {
            let server = Arc::clone(&server);
            std::thread::spawn(move || {
                server.ask(&server.query(&format!("gcc -DN={at} -c bomb.c")))
            })
        })
        .collect();
    std::thread::sleep(Duration::from_millis(100));
    let begun = Instant::now();
    for at in 0..10 {
        server.covered(&format!("gcc -DN={at} -c x.c"));
    }
    let waited = begun.elapsed();
    assert!(waited < Duration::from_secs(20), "{waited:?}");
    for bomb in bombs {
        assert!(matches!(bomb.join().unwrap(), Answer::NotCovered(_)));
    }
    server.not_covered("gcc -c self.c");
    server.covered(COMMAND);
}

/// Each name and string that was made doubles: forty times are more than any memory holds.
#[test]
fn names_and_strings_that_double_end_one_request() {
    let Some(server) = server("doubling") else {
        return;
    };
    let nested = |inner: &str| format!("{}{inner}{}", "D(".repeat(40), ")".repeat(40));
    let head = "#define P(x) x##x\n#define S(x) #x\n";
    let name = format!("{head}#define D(x) P(x)\n#if {}\n#endif\n", nested("a"));
    let string = format!("{head}#define D(x) S(x)\n#include {}\n", nested("\"\\\""));
    server.covered(COMMAND);
    let before = resident(&server);
    for text in [name, string] {
        server.write("bomb.c", text);
        server.not_covered("gcc -c bomb.c");
    }
    let grown = resident(&server).saturating_sub(before);
    assert!(grown < 50_000, "{grown} KB more than {before}");
    server.covered(COMMAND);
}

#[test]
fn ten_thousand_files_are_an_answer_like_others() {
    let Some(server) = server("many") else {
        return;
    };
    let mut text = String::new();
    fs::create_dir(server.work().join("d")).unwrap();
    for number in 0..10_000 {
        fs::write(
            server.work().join(format!("d/{number}.h")),
            format!("int v{number};\n"),
        )
        .unwrap();
        writeln!(text, "#include \"d/{number}.h\"").unwrap();
    }
    server.write("many.c", text);
    for _ in 0..2 {
        let got = server.covered("gcc -c many.c");
        assert_eq!(got.files.len(), 10_001);
        assert_eq!(got.files[&server.at("d/9999.h")], b"int v9999;\n");
    }
    assert_eq!(server.put_ready("gcc -c many.c").files.len(), 10_001);
}

#[test]
fn what_can_not_be_read_ends_one_request() {
    let Some(server) = server("unreadable") else {
        return;
    };
    let fifo = server.work().join("fifo.h");
    assert!(Command::new("mkfifo")
        .arg(&fifo)
        .status()
        .unwrap()
        .success());
    server.write("y.c", "#include \"fifo.h\"\n");
    let why = server.not_covered("gcc -c y.c");
    assert!(why.contains("fifo.h"), "{why}");
    let closed = server.write("closed.h", "");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o0)).unwrap();
    server.write("z.c", "#include \"closed.h\"\n");
    if !is_root() {
        let why = server.not_covered("gcc -c z.c");
        assert!(why.contains("closed.h"), "{why}");
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o644)).unwrap();
    }
    server.covered("gcc -c z.c");
    std::os::unix::fs::symlink("loop.h", server.work().join("loop.h")).unwrap();
    server.write("l.c", "#include \"loop.h\"\n");
    assert!(server.not_covered("gcc -c l.c").contains("links"));
    server.covered(COMMAND);
}

/// The memory that the server has, in KB.
fn resident(server: &Server) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    let number = line.split_whitespace().nth(1).unwrap();
    number.parse().unwrap()
}

#[test]
fn requests_leave_little_behind() {
    let Some(server) = server("memory") else {
        return;
    };
    for at in 0..100 {
        server.covered(&format!("gcc -DN={at} -c x.c"));
    }
    let before = resident(&server);
    for _ in 0..10 {
        for at in 0..100 {
            server.covered(&format!("gcc -DN={at} -c x.c"));
        }
        server.write("x.c", "#include <stdio.h>\n");
    }
    let grown = resident(&server).saturating_sub(before);
    assert!(grown < 20_000, "{grown} KB more than {before}");
}

#[test]
fn many_ask_at_once() {
    let Some(server) = server("at once") else {
        return;
    };
    for unit in 0..20 {
        server.write(
            &format!("u{unit}.c"),
            format!("#include <stdio.h>\n#include \"h{unit}.h\"\n"),
        );
        server.write(&format!("h{unit}.h"), "");
    }
    let server = Arc::new(server);
    let clients: Vec<_> = (0..20)
        .map(|unit| {
            let server = Arc::clone(&server);
            std::thread::spawn(move || {
                for _ in 0..10 {
                    let got = server.covered(&format!("gcc -c u{unit}.c"));
                    assert_eq!(got.names[1], server.at(&format!("h{unit}.h")));
                }
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
}

#[test]
fn what_is_remembered_stays_within_its_bound() {
    use distcc::pump::analysis::Analyst;
    use distcc::pump::answers::Outcome;
    use std::sync::atomic::Ordering;
    let Some(server) = server("bound") else {
        return;
    };
    const BOUND: usize = 4 << 20;
    let analyst = Analyst::new(Vec::new()).with_bounds(Duration::from_secs(60), BOUND);
    let mut noise = 1_u64;
    for round in 0..2 {
        for unit in 0..60 {
            let mut text = String::new();
            for line in 0..4000 {
                noise = noise
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                writeln!(text, "#define M{line}_{noise:x} {noise}").unwrap();
            }
            server.write(&format!("h{unit}.h"), &text);
            server.write("u.c", format!("#include \"h{unit}.h\"\n"));
            let answer = analyst.answer(&server.query(&format!("gcc -DN={unit} -c u.c")));
            assert!(matches!(answer.outcome, Outcome::Covered(_)));
            let contents = analyst.tree.clock().meter().load(Ordering::Relaxed);
            let all = contents + analyst.answers.memory();
            assert!(all <= BOUND + (1 << 20), "{round} {unit}: {all}");
        }
    }
}
