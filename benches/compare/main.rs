//! Ours beside stock, in turns, on one machine: what the client costs beside the preprocessor, what the daemon costs
//! beside the compiler, how soon a freed slot is taken. Prints a Markdown table. Needs a C compiler; stock is the
//! `distcc` in /usr/bin, or in the directory that `--stock` names; `--ours` names another build of ours.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod cost;
mod installed;
mod layers;
mod setting;
mod wire;

use setting::{Daemon, Distcc, Setting};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use wire::Version;

/// How often each figure is taken; they are taken in turns, and the median counts.
const ROUNDS: usize = 7;

struct Plan {
    rounds: usize,
    runs: usize,
    only: Option<String>,
    setting: Setting,
}

fn main() {
    let (mut stock_dir, mut ours_dir) = ("/usr/bin".to_owned(), None);
    let (mut quick, mut only) = (false, None);
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    while let Some(word) = words.next() {
        match word.as_str() {
            "--quick" => quick = true,
            "--stock" => stock_dir = words.next().expect("--stock needs a directory"),
            "--ours" => ours_dir = Some(words.next().expect("--ours needs a directory")),
            part => only = Some(part.to_owned()),
        }
    }
    let setting = Setting::new(ours_dir.as_deref(), &stock_dir);
    let plan = Plan {
        rounds: if quick { 3 } else { ROUNDS },
        runs: if quick { 10 } else { 40 },
        only,
        setting,
    };
    println!(
        "| measured | {} |",
        plan.setting
            .contenders
            .iter()
            .map(|one| one.name)
            .collect::<Vec<_>>()
            .join(" | ")
    );
    println!("|---|{}", "---:|".repeat(plan.setting.contenders.len()));
    start_up(&plan);
    client_cpu(&plan);
    floor(&plan);
    counts(&plan);
    real_preprocessor(&plan);
    slots(&plan);
    waiting_cpu(&plan);
    daemon_cpu(&plan);
    sandbox_cpu(&plan);
    many_clients(&plan);
    rates(&plan);
}

impl Plan {
    /// Takes a figure of each contender in turns, and prints a row of the medians.
    fn row(
        &self,
        part: &str,
        what: &str,
        digits: usize,
        unit: &str,
        figure: impl Fn(&Distcc) -> f64,
    ) {
        self.rows(part, &[what], digits, unit, |distcc| vec![figure(distcc)]);
    }

    /// The same for figures that one measurement gives: a row for each.
    fn rows(
        &self,
        part: &str,
        rows: &[&str],
        digits: usize,
        unit: &str,
        figures: impl Fn(&Distcc) -> Vec<f64>,
    ) {
        if self.only.as_ref().is_some_and(|only| part != only) {
            return;
        }
        let contenders = &self.setting.contenders;
        let taken: Vec<Vec<Vec<f64>>> = (0..self.rounds)
            .map(|_| contenders.iter().map(&figures).collect())
            .collect();
        for (row, what) in rows.iter().enumerate() {
            let medians: Vec<f64> = (0..contenders.len())
                .map(|contender| median(taken.iter().map(|round| round[contender][row]).collect()))
                .collect();
            let mut cells: Vec<String> = medians
                .iter()
                .map(|figure| format!("{figure:.digits$} {unit}"))
                .collect();
            if let [ours, stock] = medians[..] {
                cells[0] += &format!(" (× {:.2})", ours / stock);
            }
            println!("| {what} | {} |", cells.join(" | "));
        }
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// CPU milliseconds of one of `runs` runs, with everything that each starts.
fn cpu_per_run(runs: usize, mut run: impl FnMut()) -> f64 {
    let before = cost::of_children();
    (0..runs).for_each(|_| run());
    ms(cost::of_children() - before) / runs as f64
}

fn start_up(plan: &Plan) {
    plan.row("version", "`distcc --version`, CPU", 2, "ms", |distcc| {
        cpu_per_run(5 * plan.runs, || {
            let status = plan
                .setting
                .client(distcc, "")
                .arg("--version")
                .stdout(Stdio::null())
                .status();
            assert!(status.unwrap().success());
        })
    });
}

/// The client with a preprocessor and a server that only copy: all that is left is its own cost.
fn client_cpu(plan: &Plan) {
    let setting = &plan.setting;
    for (size, text) in [("5 kB of C", &setting.small), ("1 MB of C++", &setting.big)] {
        for (mode, version) in [("", Version::Plain), (",lzo", Version::Lzo)] {
            let server = wire::serve(version, &setting.object, Duration::ZERO, |_| ());
            let hosts = format!("127.0.0.1:{}/4{mode}", server.port);
            let what = format!(
                "client beside the preprocessor, CPU a file, {size}, `{}`",
                if mode.is_empty() { "plain" } else { mode }
            );
            plan.row("client", &what, 2, "ms", |distcc| {
                let preprocessor = cpu_per_run(plan.runs, || {
                    let out = setting.scratch_file();
                    let mut command = setting.command(setting.fakes.join(text.compiler));
                    assert!(command
                        .args(["-E", text.name])
                        .env("FAKE_TEXT", &text.preprocessed)
                        .stdout(out)
                        .status()
                        .unwrap()
                        .success());
                });
                let whole = cpu_per_run(plan.runs, || {
                    let mut client = setting.client(distcc, &hosts);
                    client
                        .args([text.compiler, "-O2", "-c", text.name, "-o"])
                        .arg(setting.output())
                        .env("FAKE_TEXT", &text.preprocessed);
                    assert!(client.status().unwrap().success());
                });
                server.assert_answered(plan.runs);
                whole - preprocessor
            });
        }
    }
}

/// What no client can do without: a program in C that only sends a text and writes down what comes.
fn floor(plan: &Plan) {
    let setting = &plan.setting;
    for (size, text) in [("5 kB", &setting.small), ("1 MB", &setting.big)] {
        let server = wire::serve(Version::Plain, &setting.object, Duration::ZERO, |_| ());
        let what =
            format!("the floor: a program in C that sends {size} and writes the object, CPU");
        if plan.only.as_ref().is_some_and(|only| only != "floor") {
            return;
        }
        let taken = (0..plan.rounds).map(|_| {
            let spent = cpu_per_run(plan.runs, || {
                let mut floor = setting.command(setting.fakes.join("floor"));
                floor.arg(server.port.to_string());
                floor.arg(&text.preprocessed).arg(setting.output());
                assert!(floor.status().unwrap().success());
            });
            server.assert_answered(plan.runs);
            spent
        });
        println!("| {what} | {:.2} ms | |", median(taken.collect()));
    }
}

/// Page faults and system calls of a client, without those of the preprocessor.
fn counts(plan: &Plan) {
    let setting = &plan.setting;
    let server = wire::serve(Version::Plain, &setting.object, Duration::ZERO, |_| ());
    let hosts = format!("127.0.0.1:{}/4", server.port);
    let client = |distcc: &Distcc| {
        let text = &setting.small;
        let mut client = setting.client(distcc, &hosts);
        client
            .args([text.compiler, "-O2", "-c", text.name, "-o", "x.o"])
            .env("FAKE_TEXT", &text.preprocessed);
        client
    };
    plan.row(
        "counts",
        "page faults of client and preprocessor, 5 kB",
        0,
        "",
        |distcc| {
            let before = cost::faults_of_children();
            assert!(client(distcc).status().unwrap().success());
            server.assert_answered(1);
            (cost::faults_of_children() - before) as f64
        },
    );
    plan.row(
        "counts",
        "system calls of the client, 5 kB",
        0,
        "",
        |distcc| {
            let client = client(distcc);
            let mut traced = setting.command("strace");
            traced.args(["-qq", "-o"]).arg(setting.scratch());
            traced.arg(client.get_program()).args(client.get_args());
            for (name, value) in client.get_envs() {
                traced.env(name, value.unwrap_or_default());
            }
            let Ok(status) = traced.status() else {
                return f64::NAN; // There is no strace.
            };
            assert!(status.success());
            server.assert_answered(1);
            let trace = std::fs::read_to_string(setting.scratch()).unwrap();
            trace.lines().filter(|line| line.contains('(')).count() as f64
        },
    );
}

/// The same with the real preprocessor, as a build pays for it.
fn real_preprocessor(plan: &Plan) {
    let setting = &plan.setting;
    for (size, text) in [("5 kB of C", &setting.small), ("1 MB of C++", &setting.big)] {
        let server = wire::serve(Version::Plain, &setting.object, Duration::ZERO, |_| ());
        let hosts = format!("127.0.0.1:{}/4", server.port);
        plan.row(
            "real",
            &format!("client with the real preprocessor, CPU a file, {size}"),
            1,
            "ms",
            |distcc| {
                let runs = plan.runs / 4 + 1;
                let whole = cpu_per_run(runs, || {
                    let mut client = setting.client(distcc, &hosts);
                    client
                        .args([text.compiler, "-O2", "-c", text.name, "-o"])
                        .arg(setting.output())
                        .env("PATH", &setting.real_path);
                    assert!(client.status().unwrap().success());
                });
                server.assert_answered(runs);
                whole
            },
        );
    }
}

/// 64 clients and one slot: from the end of an answer to the arrival of the next request.
fn slots(plan: &Plan) {
    let setting = &plan.setting;
    let gaps = |distcc: &Distcc| -> Vec<f64> {
        let (tell, told) = mpsc::channel();
        let begun = Instant::now();
        let event = move |came: bool| tell.send((came, begun.elapsed())).unwrap_or_default();
        let delay = Duration::from_millis(20);
        let server = wire::serve(Version::Plain, &setting.object, delay, event);
        let clients: Vec<Child> = (0..64)
            .map(|number| waiting_client(setting, distcc, server.port, number))
            .collect();
        for mut client in clients {
            assert!(client.wait().unwrap().success());
        }
        server.assert_answered(64);
        let events: Vec<(bool, Duration)> = told.try_iter().collect();
        // Not the first few, while clients are still being started.
        events
            .windows(2)
            .skip(32)
            .filter(|pair| pair[1].0)
            .map(|pair| ms(pair[1].1 - pair[0].1))
            .collect()
    };
    let rows = [
        "a freed slot is taken, 64 clients waiting, median",
        "the same, slowest",
    ];
    plan.rows("slots", &rows, 1, "ms", |distcc| {
        let gaps = gaps(distcc);
        let slowest = gaps.iter().copied().fold(0.0, f64::max);
        vec![median(gaps), slowest]
    });
}

fn waiting_client(setting: &Setting, distcc: &Distcc, port: u16, number: usize) -> Child {
    let mut client = setting.client(distcc, &format!("127.0.0.1:{port}/1"));
    client
        .args(["gcc", "-O2", "-c", "small.i", "-o", &format!("w{number}.o")])
        .spawn()
        .unwrap()
}

/// CPU that 64 waiting clients use while nothing happens.
fn waiting_cpu(plan: &Plan) {
    let setting = &plan.setting;
    plan.row(
        "waiting",
        "64 clients waiting, CPU a second",
        2,
        "ms",
        |distcc| {
            let (tell, told) = mpsc::channel();
            let event = move |came: bool| tell.send(came).unwrap_or_default();
            let delay = Duration::from_secs(6);
            let server = wire::serve(Version::Plain, &setting.object, delay, event);
            let mut clients: Vec<Child> = (0..65)
                .map(|number| waiting_client(setting, distcc, server.port, number))
                .collect();
            told.recv_timeout(Duration::from_secs(30))
                .expect("no client asks");
            thread::sleep(Duration::from_secs(2));
            let so_far = || {
                clients
                    .iter()
                    .map(|client| cost::of_running(client.id()))
                    .sum::<Duration>()
            };
            let (before, begun) = (so_far(), Instant::now());
            thread::sleep(Duration::from_secs(3));
            let spent = ms(so_far() - before) / begun.elapsed().as_secs_f64();
            for client in &mut clients {
                client.kill().unwrap();
                client.wait().unwrap();
            }
            spent
        },
    );
}

/// Requests straight to the daemon, 8 at a time, with a compiler that only writes a file.
fn daemon_cpu(plan: &Plan) {
    let setting = &plan.setting;
    let jobs = plan.runs * 20;
    for (size, text) in [("5 kB", &setting.small), ("1 MB", &setting.big)] {
        for (mode, version) in [("plain", Version::Plain), (",lzo", Version::Lzo)] {
            let body = std::fs::read(&text.preprocessed).unwrap();
            let request = wire::request(version, &["gcc", "-O2", "-c", "x.c", "-o", "x.o"], &body);
            let jobs = if body.len() > 100_000 { jobs / 4 } else { jobs };
            plan.row(
                "daemon",
                &format!("daemon beside the compiler, CPU a job, {size}, `{mode}`"),
                2,
                "ms",
                |distcc| {
                    let daemon = setting.daemon(distcc);
                    let spent = cost_of_jobs(&daemon, &request, jobs);
                    let compiler = cpu_per_run(plan.runs * 2, || {
                        let mut command = setting.command(setting.fakes.join("gcc"));
                        assert!(command
                            .args(["-O2", "-c", "small.i", "-o", "x.o"])
                            .status()
                            .unwrap()
                            .success());
                    });
                    spent - compiler
                },
            );
        }
    }
}

/// CPU milliseconds of a job, its compiler's included, at a daemon that has done some already: what is made once is no job's.
fn cost_of_jobs(daemon: &Daemon, request: &[u8], jobs: usize) -> f64 {
    ask_many(daemon.port, request, 64);
    let before = cost::of_tree(daemon.process.id());
    ask_many(daemon.port, request, jobs);
    ms(cost::of_tree(daemon.process.id()) - before) / jobs as f64
}

/// What our daemon's jobs cost with and without what keeps compilers to them, stock has nothing of the kind; and what each
/// layer of that costs by itself.
fn sandbox_cpu(plan: &Plan) {
    let setting = &plan.setting;
    let jobs = plan.runs * 20;
    let words = ["gcc", "-O2", "-c", "x.c", "-o", "x.o"];
    let body = std::fs::read(&setting.small.preprocessed).unwrap();
    let plain = wire::request(Version::Plain, &words, &body);
    let pump = wire::pump_request(&words, "/home/me", "x.c", &body);
    for (mode, request) in [("plain", &plain), ("pump", &pump)] {
        for sandbox in ["off", "auto"] {
            plan.row(
                "sandbox",
                &format!("daemon and compiler, CPU a job, `{mode}`, `--sandbox={sandbox}`"),
                2,
                "ms",
                |distcc| {
                    let is_ours = distcc.name == "this distcc";
                    let option = format!("--sandbox={sandbox}");
                    let options = [option.as_str()];
                    let daemon = setting.daemon_with(distcc, if is_ours { &options } else { &[] });
                    cost_of_jobs(&daemon, request, jobs)
                },
            );
        }
    }
    if plan.only.as_ref().is_none_or(|only| only == "sandbox") {
        layers::print(plan.rounds, plan.runs * 5);
    }
}

fn ask_many(port: u16, request: &[u8], jobs: usize) {
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                (0..jobs / 8)
                    .for_each(|_| assert!(wire::ask(port, request).unwrap(), "the job failed"))
            });
        }
    });
}

/// 64 clients at once on one daemon, without fallback.
fn many_clients(plan: &Plan) {
    let setting = &plan.setting;
    let failed = std::cell::Cell::new(0);
    plan.row(
        "many",
        "64 clients at once: all done after",
        0,
        "ms",
        |distcc| {
            let daemon = setting.daemon(distcc);
            let begun = Instant::now();
            let clients: Vec<Child> = (0..64)
                .map(|number| {
                    let mut client =
                        setting.client(distcc, &format!("127.0.0.1:{}/64", daemon.port));
                    client
                        .args(["gcc", "-O2", "-c", "small.i", "-o", &format!("m{number}.o")])
                        .spawn()
                        .unwrap()
                })
                .collect();
            let bad = clients
                .into_iter()
                .filter_map(|mut client| (!client.wait().unwrap().success()).then_some(()))
                .count();
            failed.set(failed.get() + bad);
            ms(begun.elapsed())
        },
    );
    if failed.get() > 0 {
        println!(
            "\n{} of these clients were refused or came too late.",
            failed.get()
        );
    }
}

/// Jobs a second of one daemon that is asked by so many at once, and what memory it takes then.
fn rates(plan: &Plan) {
    let setting = &plan.setting;
    let text = std::fs::read(&setting.small.preprocessed).unwrap();
    let words = ["gcc", "-O2", "-c", "x.c", "-o", "x.o"];
    let request = wire::request(Version::Plain, &words, &text);
    for at_once in [1, 8, 64] {
        let rows = [
            format!("daemon, {at_once} requests at once, 5 kB: jobs a second"),
            "the same: half of the answers come within, ms".to_owned(),
            "the same: 99 of 100 answers come within, ms".to_owned(),
            "the same: memory (PSS) of the daemon and all that it has started, at most, MiB"
                .to_owned(),
        ];
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        plan.rows("rates", &rows, 1, "", |distcc| {
            let daemon = setting.daemon(distcc);
            ask_many(daemon.port, &request, 64);
            let each = (plan.runs * 10 / at_once).max(4);
            let begun = Instant::now();
            let (memory, mut waits) = thread::scope(|scope| {
                let ask = || {
                    let begun = Instant::now();
                    assert!(wire::ask(daemon.port, &request).unwrap());
                    ms(begun.elapsed())
                };
                let askers: Vec<_> = (0..at_once)
                    .map(|_| scope.spawn(move || (0..each).map(|_| ask()).collect::<Vec<f64>>()))
                    .collect();
                let mut memory = 0;
                while askers.iter().any(|asker| !asker.is_finished()) {
                    memory = memory.max(cost::memory_of_tree(daemon.process.id()));
                    thread::sleep(Duration::from_millis(50));
                }
                let waits = askers.into_iter().flat_map(|asker| asker.join().unwrap());
                (memory, waits.collect::<Vec<f64>>())
            });
            waits.sort_by(f64::total_cmp);
            let within = |share: usize| waits[(waits.len() - 1) * share / 100];
            let rate = (each * at_once) as f64 / begun.elapsed().as_secs_f64();
            vec![rate, within(50), within(99), memory as f64 / 1024.0]
        });
    }
}
