//! What the daemon tells over HTTP: stock's page, the metrics, the page for people and what it asks for; and whom it tells.
#![allow(clippy::unwrap_used)]

mod common;

use common::fake::*;
use common::http::{answer, connect as connect_to, get, say, statistics_port, Answer};
use common::{have, run, wait_for, Daemon, Farm, Which, BOUND};
use distcc::model::wire::Version;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::Command;

fn telling(farm: &Farm, folder: &Path, more: &[&str]) -> (Daemon, u16) {
    let plan = fake_daemon(farm, folder).jobs(2);
    let plan = plan
        .options(&["--stats", "--stats-port", "0"])
        .options(more);
    let daemon = plan.start();
    let port = statistics_port(&daemon);
    (daemon, port)
}

/// A page of stock's, by name.
fn numbers(page: &str) -> BTreeMap<String, String> {
    let lines = page.lines().filter_map(|line| line.split_once(' '));
    lines
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn metric(port: u16, name: &str) -> f64 {
    let page = get(port, "/metrics").body;
    let line = page
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {page}"))
        .parse()
        .unwrap()
}

fn seen(port: u16) -> Value {
    serde_json::from_str(&get(port, "/page.json").body).unwrap()
}

#[test]
fn jobs_of_all_kinds_are_counted() {
    let (farm, folder) = fake_farm();
    let (daemon, port) = telling(&farm, &folder, &[]);
    expect_ok(&daemon);
    expect_ok(&daemon);
    job(&daemon, "gcc -fake=outfail -c x.c -o x.o");
    job(&daemon, "perl -c x.c -o x.o");
    ask(&daemon, b"GET / HTTP/1.0\r\n\r\n");
    wait_for("five jobs", BOUND, || daemon.jobs().len() == 5);
    let outcome = |name: &str| metric(port, &format!("distccd_jobs_total{{outcome=\"{name}\"}}"));
    let found = ["ok", "error", "refused", "bad_request", "failed"].map(outcome);
    assert_eq!(found, [2.0, 1.0, 1.0, 1.0, 0.0]);
    let gcc = "distccd_compiler_jobs_total{compiler=\"gcc\",outcome=\"ok\"}";
    assert_eq!(metric(port, gcc), 2.0);
    assert_eq!(metric(port, "distccd_connections_total"), 5.0);
    assert_eq!(metric(port, "distccd_connections_open"), 0.0);
    assert_eq!(metric(port, "distccd_compile_seconds_count"), 3.0);
    assert_eq!(metric(port, "distccd_queue_wait_seconds_count"), 4.0);
    assert!(metric(port, "distccd_received_bytes_total") > 100.0);
    assert!(metric(port, "distccd_sent_bytes_total") > 100.0);
    let page = get(port, "/metrics").body;
    assert!(
        !page.contains("perl"),
        "a name that nothing has run: {page}"
    );
    let numbers = numbers(&get(port, "/stats").body);
    for (name, value) in [
        ("dcc_tcp_accept", "5"),
        ("dcc_compile_ok", "2"),
        ("dcc_compile_error", "1"),
        ("dcc_rej_bad_req", "1"),
        ("dcc_other", "1"),
        ("dcc_longest_job", "x.c"),
        ("dcc_max_kids", "2"),
    ] {
        assert_eq!(numbers[name], value, "{name}");
    }
    let seen = seen(port);
    let recent = seen["recent"].as_array().unwrap();
    let states: Vec<&str> = recent
        .iter()
        .map(|job| job["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["bad_request", "refused", "error", "ok", "ok"]);
    assert_eq!(recent[1]["compiler"], "perl");
}

#[test]
fn what_runs_and_what_waits_is_seen() {
    let (farm, folder) = fake_farm();
    let (daemon, port) = telling(&farm, &folder, &[]);
    let mut peers: Vec<_> = (0..3).map(|_| connect(&daemon)).collect();
    for (number, peer) in peers.iter_mut().enumerate() {
        let words = format!("gcc -fake=sleep -c job{number}.c -o x.o");
        peer.write_all(&request(Version::V1, &words, "int a;\n"))
            .unwrap();
    }
    wait_for("two jobs and a third that waits", BOUND, || {
        let seen = seen(port);
        let compiling = |job: &Value| job["state"] == "compiles" && job["compiler"] == "gcc";
        let running = seen["running"].as_array().unwrap();
        running.len() == 2 && running.iter().all(compiling) && seen["waiting"] == 1
    });
    assert_eq!(metric(port, "distccd_slots"), 2.0);
    assert_eq!(metric(port, "distccd_slots_busy"), 2.0);
    assert_eq!(metric(port, "distccd_queue_length"), 1.0);
    assert_eq!(metric(port, "distccd_connections_open"), 3.0);
    drop(peers);
    wait_for("nothing", BOUND, || {
        metric(port, "distccd_connections_open") == 0.0
    });
    let gone = "distccd_jobs_total{outcome=\"disconnected\"}";
    wait_for("three clients gone", BOUND, || metric(port, gone) == 3.0);
    assert_eq!(metric(port, "distccd_slots_busy"), 0.0);
}

#[test]
fn stocks_page_has_stocks_shape() {
    let (farm, folder) = fake_farm();
    let (_daemon, port) = telling(&farm, &folder, &[]);
    let shape = |answer: &Answer| {
        let names = answer
            .body
            .lines()
            .map(|line| line.split(' ').next().unwrap());
        (
            answer.head.clone(),
            names.map(str::to_owned).collect::<Vec<String>>(),
        )
    };
    let (head, names) = shape(&say(port, b"GET / HTTP/1.0\r\n\r\n"));
    assert_eq!(
        head,
        "HTTP/1.0 200 OK\nContent-Type: text/plain\nConnection: close"
    );
    // Whatever is asked for, and also if nothing is.
    assert_eq!(
        shape(&say(port, b"GET /some/thing HTTP/1.1\nX: y\n\n")).1,
        names
    );
    let silent = connect_to(port);
    silent.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(shape(&answer(silent)).1, names);
    if !have("daemon_statistics", &["/usr/bin/distccd"]) {
        return;
    }
    let stock_port = common::free_port();
    let _stock = farm
        .daemon(Which::Stock)
        .options(&["--stats", "--stats-port", &stock_port.to_string()])
        .start();
    wait_for("stock's statistics", BOUND, || common::listens(stock_port));
    let (stock_head, mut stock_names) = shape(&say(stock_port, b"GET / HTTP/1.0\r\n\r\n"));
    assert_eq!(stock_head, head);
    // Later versions of stock's have this line, too.
    if !stock_names.iter().any(|name| name == "dcc_free_mem") {
        stock_names.insert(stock_names.len() - 1, "dcc_free_mem".to_owned());
    }
    assert_eq!(stock_names, names);
}

#[test]
fn whatever_is_asked_for_is_bounded_and_harms_nobody() {
    let (farm, folder) = fake_farm();
    let (daemon, port) = telling(&farm, &folder, &[]);
    for (request, status) in [
        (&b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"[..], "405"),
        (b"DELETE /page.json HTTP/1.1\r\n\r\n", "405"),
        (b"\0\x01\x02\r\n\r\n", "400"),
        (b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", "421"),
        (
            b"GET /metrics HTTP/1.1\r\nHost: localhost.evil.example:80\r\n\r\n",
            "421",
        ),
    ] {
        let answer = say(port, request);
        let expected = format!("HTTP/1.1 {status} ");
        assert!(answer.head.starts_with(&expected), "{answer:?}");
    }
    let mut long = connect_to(port);
    let _ = long.write_all(format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(20_000)).as_bytes());
    // Who says nothing, or reads nothing, keeps nobody waiting: more of them than are served at once.
    let idle: Vec<_> = (0..40).map(|_| connect_to(port)).collect();
    expect_ok(&daemon);
    assert!(get(port, "/metrics").head.starts_with("HTTP/1.1 200 "));
    drop(idle);
    let head = say(port, b"HEAD /ui HTTP/1.1\r\n\r\n");
    assert!(head.head.contains("Content-Length: ") && head.body.is_empty());
}

#[test]
fn the_page_shows_nothing_of_others_and_nobody_elses_things() {
    let (farm, folder) = fake_farm();
    let (_daemon, port) = telling(&farm, &folder, &[]);
    for path in [
        "/",
        "/ui",
        "/page.css",
        "/page.js",
        "/page.json",
        "/metrics",
    ] {
        let answer = get(port, path);
        for part in [
            "Content-Security-Policy: default-src 'none'",
            "frame-ancestors 'none'",
            "X-Content-Type-Options: nosniff",
            "Cross-Origin-Resource-Policy: same-origin",
            "Cache-Control: no-store",
        ] {
            assert!(answer.head.contains(part), "{path}: {}", answer.head);
        }
        assert!(!answer.head.contains("Set-Cookie"), "{path}");
        let length = format!("Content-Length: {}", answer.body.len());
        assert!(answer.head.contains(&length), "{path}: {}", answer.head);
    }
    let page = get(port, "/").body;
    // The name space of the picture is a name, not a place.
    let outside = page.replace("http://www.w3.org/2000/svg", "");
    assert!(page.starts_with("<!doctype html>"));
    for part in ["http:", "https:", "//", "onload=", "style="] {
        assert!(!outside.contains(part), "{part} in the page");
    }
    assert!(!get(port, "/page.js").body.contains("innerHTML"));
}

#[test]
fn without_the_option_nobody_is_told_and_a_taken_port_is_said() {
    let (farm, folder) = fake_farm();
    let daemon = fake_daemon(&farm, &folder).start();
    assert!(!daemon.log_text().contains("statistics at"));
    let port = daemon.port.to_string();
    let ran = run(
        Command::new(common::OURS)
            .args([
                "distccd",
                "--no-detach",
                "--daemon",
                "--enable-tcp-insecure",
            ])
            .args([
                "--port",
                "0",
                "--stats",
                "--stats-listen",
                "127.0.0.1",
                "--stats-port",
                &port,
            ]),
        BOUND,
    );
    assert_eq!(ran.status, 102, "{ran}");
    assert!(ran.stderr.contains("--stats-port chooses another"), "{ran}");
}

#[test]
fn a_browser_shows_jobs_and_runs_nothing_of_theirs() {
    if !have("daemon_statistics", &["chromium"]) {
        return;
    }
    let (farm, folder) = fake_farm();
    let (daemon, port) = telling(&farm, &folder, &[]);
    job(
        &daemon,
        "gcc -c <script>document.title='taken'</script>.c -o x.o",
    );
    let mut running = connect(&daemon);
    let words = "gcc -fake=sleep -c <b>now</b>.c -o x.o";
    running
        .write_all(&request(Version::V1, words, "int a;\n"))
        .unwrap();
    wait_for("a job that runs", BOUND, || {
        seen(port)["running"][0]["state"] == "compiles"
    });
    let profile = farm.new_folder("chromium");
    let ran = run(
        Command::new("chromium")
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
            ])
            .args(["--no-first-run", "--disable-background-networking"])
            .args(["--disable-component-update", "--disable-sync", "--dump-dom"])
            .arg("--virtual-time-budget=3000")
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg(format!("http://127.0.0.1:{port}/"))
            .env("HOME", &profile),
        BOUND,
    );
    let page = ran.stdout;
    for part in [
        "<title>1/2 – distccd",
        "&lt;b&gt;now&lt;/b&gt;.c",
        "&lt;script&gt;document.title='taken'&lt;/script&gt;.c",
        "1 slot is free",
        "<span class=\"badge ok\">1 ok</span>",
    ] {
        assert!(page.contains(part), "no {part} in {page}\n{}", ran.stderr);
    }
}
