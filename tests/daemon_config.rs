//! What our daemon is told: by a configuration file, by the file again while jobs run, and by a service manager, which hears
//! of it in turn.
#![allow(clippy::unwrap_used)]

mod common;

use common::fake::*;
use common::{is_root, skip, wait_for, Daemon, DaemonPlan, Farm, BOUND};
use distcc::model::wire::Version;
use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// A configuration file with this text.
fn configured(farm: &Farm, text: &str) -> PathBuf {
    let path = farm.path("distccd.conf");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    path
}

/// A daemon that reads this file, and is not told otherwise who may connect.
fn plan(farm: &Farm, folder: &Path, file: &Path) -> DaemonPlan {
    let plan = fake_daemon(farm, folder).allow(None);
    plan.options(&["--config", file.to_str().unwrap()])
}

/// Starts a daemon that must not start; should it, it ends all the same.
fn refused(words: &[&str]) -> Output {
    let mut command = Command::new(common::OURS);
    let command = command.args(["distccd", "--lifetime=20"]).args(words);
    let command = command.args(["--drain=0", "--port=0"]).env_clear();
    command.env("PATH", "/usr/bin:/bin").output().unwrap()
}

fn send(daemon: &Daemon, words: &str) -> TcpStream {
    let mut stream = connect(daemon);
    let request = request(Version::V1, words, "int a;\n");
    stream.write_all(&request).unwrap();
    stream
}

#[track_caller]
fn expect_object(stream: &TcpStream) {
    let answer = reply(Version::V1, &rest_of(stream));
    assert_eq!(answer.object.unwrap(), b"OBJ");
}

#[test]
fn a_file_says_what_the_command_line_does_not() {
    let (farm, folder) = fake_farm();
    let file = configured(
        &farm,
        "# all of them\nallow = 127.0.0.2 # and no other\njobs=3\n",
    );
    let daemon = plan(&farm, &folder, &file).jobs(5).start();
    expect_line(&daemon, &["listening on", "5 jobs at once"]);
    assert!(rest_of(&send(&daemon, "gcc -c x.c -o x.o")).is_empty());
    expect_line(&daemon, &["may not connect"]);
}

#[test]
fn faults_of_the_file_are_named_with_their_place() {
    let farm = Farm::new();
    for (text, mode, parts) in [
        (
            "jobs = 4\nfrob = 1\n",
            0o644,
            &["line 2, column 1", "frob"][..],
        ),
        (
            "compilers = sh\n jobs = 0\n",
            0o644,
            &["line 2, column 9: --jobs 0"],
        ),
        (
            "compilers = sh\nallow = ::1, 10.0.0.0/99",
            0o644,
            &["line 2, column 9: --allow 10.0.0.0/99"],
        ),
        (
            "compilers = nosuchcc",
            0o644,
            &["line 1, column 13: --compilers: nosuchcc"],
        ),
        (
            "jobs = 4\n",
            0o666,
            &["others than its owner may write it", "chmod"],
        ),
    ] {
        let file = configured(&farm, text);
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let name = file.display().to_string();
        let ran = refused(&["--no-detach", "--config", &name]);
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        let is_of_compilers = text.contains("nosuchcc");
        let status = if is_of_compilers { 110 } else { 101 };
        assert_eq!(ran.status.code(), Some(status), "{said}");
        assert!(said.contains(&format!("distccd: {name}: ")), "{said}");
        assert!(parts.iter().all(|part| said.contains(part)), "{said}");
    }
    let missing = farm.path("missing").display().to_string();
    let ran = refused(&["--no-detach", "--enable-tcp-insecure", "--config", &missing]);
    assert_eq!(ran.status.code(), Some(101));
    if is_root() {
        let file = configured(&farm, "jobs = 4\n");
        std::os::unix::fs::chown(&file, Some(65534), None).unwrap();
        let name = file.display().to_string();
        let ran = refused(&["--no-detach", "--enable-tcp-insecure", "--config", &name]);
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(101), "{said}");
        assert!(said.contains("belongs to user 65534"), "{said}");
    }
}

#[test]
fn hup_reads_it_again_and_disturbs_no_job() {
    let (farm, folder) = fake_farm();
    let file = configured(&farm, "allow = 127.0.0.1\nmemory-floor = 0\nnice = 0\n");
    let mut daemon = plan(&farm, &folder, &file).start();
    let running = send(&daemon, "gcc -fake=gate -c x.c -o x.o");
    noted(&folder);
    let old = farm.path("rotated");
    fs::rename(&daemon.log, &old).unwrap();

    configured(
        &farm,
        "allow = 127.0.0.2\nmemory-floor = 1\ndrain = 7\nlifetime = 5000\n",
    );
    daemon.signal("HUP");
    expect_line(&daemon, &["the configuration is read again; changed: allow: \"127.0.0.2\" instead of \"127.0.0.1\"", "drain: 7s"]);
    // The command line has another lifetime, which counts.
    assert!(!daemon.log_text().contains("a new start is needed"));
    assert!(rest_of(&send(&daemon, "gcc -c x.c -o x.o")).is_empty());
    expect_line(&daemon, &["may not connect"]);

    configured(&farm, "allow = 127.0.0.1\ncompilers = gcc\njobs = x\n");
    daemon.signal("HUP");
    let place = "distccd.conf: line 3, column 8: ";
    expect_line(&daemon, &[place, "the configuration stays as it was"]);
    let wait_for_lines = |count| {
        wait_for("its line", BOUND, || {
            daemon.log_text().matches("may not connect").count() == count
        });
    };
    assert!(rest_of(&send(&daemon, "gcc -c x.c -o x.o")).is_empty());
    wait_for_lines(2);

    configured(&farm, "allow = 127.0.0.1\npid-file = p\nport = 1\n");
    daemon.signal("HUP");
    expect_line(&daemon, &["a new start is needed", "pid-file"]);
    expect_ok(&daemon);
    // All this time the job has run, and it ends as it began.
    fs::write(folder.join("gate"), "").unwrap();
    expect_object(&running);
    assert!(daemon.alive());
    assert!(fs::read_to_string(&old).unwrap().contains("listening on"));
}

/// A daemon in the foreground on a free port of its own, and all that it says.
struct Foreground {
    child: Child,
    log: PathBuf,
}

impl Foreground {
    fn start(farm: &Farm, words: &[&str], env: &[(&str, &str)]) -> Foreground {
        let tmp = farm.new_folder("foreground");
        fs::set_permissions(&tmp, fs::Permissions::from_mode(0o777)).unwrap();
        let log = tmp.join("log");
        let mut command = Command::new(common::OURS);
        let command = command
            .args(["distccd", "--no-detach", "--daemon", "--lifetime", "7200"])
            .args(["--port", "0", "--log-file"])
            .arg(&log)
            .args(words)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("TMPDIR", &tmp)
            .envs(env.iter().copied());
        let command = command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.stderr(Stdio::null()).spawn().unwrap();
        let started = Foreground { child, log };
        started.expect("listening on");
        started
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    #[track_caller]
    fn expect(&self, part: &str) {
        wait_for(part, BOUND, || self.text().contains(part));
    }

    fn signal(&self, name: &str) {
        common::signal(name, &self.child.id().to_string());
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        self.signal("INT");
        let _ = self.child.wait();
    }
}

/// It looks names up, which takes minutes where the name server is silent.
#[test]
fn reading_it_again_holds_up_neither_jobs_nor_the_end() {
    if !is_root() {
        skip("daemon_config", "only root has a name server of his own");
        return;
    }
    let (farm, folder) = fake_farm();
    let file = configured(&farm, "allow = 127.0.0.0/8\n");
    // Each test process asks at an address of its own.
    let [.., high, low] = std::process::id().to_be_bytes();
    let address = format!("127.53.{high}.{low}");
    let silent = UdpSocket::bind((address.as_str(), 53)).unwrap();
    silent.set_read_timeout(Some(BOUND)).unwrap();
    let resolver = farm.path("resolv.conf");
    let text = format!("nameserver {address}\noptions timeout:30 attempts:5\n");
    fs::write(&resolver, text).unwrap();
    let script = "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";
    let resolver = resolver.to_str().unwrap();
    let within = ["unshare", "--mount", "sh", "-c", script, resolver];
    let mut daemon = plan(&farm, &folder, &file).within(&within).start();
    fs::write(&file, "allow = nobody-answers.example\n").unwrap();
    daemon.signal("HUP");
    let mut question = [0; 512];
    silent.recv(&mut question).unwrap();
    expect_ok(&daemon);
    // The file is corrected, and what is read of it counts, whatever becomes of what hangs.
    fs::write(&file, "allow = 127.0.0.0/8\njobs = 3\n").unwrap();
    daemon.signal("HUP");
    expect_line(&daemon, &["the configuration is read again"]);
    fs::write(&file, "allow = nobody-answers-either.example\n").unwrap();
    daemon.signal("HUP");
    silent.recv(&mut question).unwrap();
    daemon.signal("TERM");
    wait_for("the daemon's end", BOUND / 3, || !daemon.alive());
    expect_line(&daemon, &["ended by SIGTERM"]);
}

#[test]
fn the_number_of_jobs_may_change() {
    let (farm, folder) = fake_farm();
    let gcc = folder.join("gcc").display().to_string();
    let file = configured(&farm, "jobs = 2\n");
    let name = file.display().to_string();
    let daemon = Foreground::start(&farm, &["--compilers", &gcc, "--config", &name], &[]);
    daemon.expect(", 2 jobs at once");
    let threads = |prefix: &str| {
        let tasks = fs::read_dir(format!("/proc/{}/task", daemon.child.id())).unwrap();
        let names = tasks.flatten();
        let names = names.map(|task| fs::read_to_string(task.path().join("comm")));
        let names = names.filter(|name| name.as_ref().is_ok_and(|name| name.starts_with(prefix)));
        names.count()
    };
    for jobs in [5, 1, 3] {
        configured(&farm, &format!("jobs = {jobs}\n"));
        daemon.signal("HUP");
        daemon.expect(&format!("jobs: {jobs} instead of"));
        wait_for("the slots", BOUND, || threads("slot ") == jobs);
    }
}

#[test]
fn several_addresses_and_both_families() {
    if TcpListener::bind("[::1]:0").is_err() {
        skip("daemon_config", "this machine has no IPv6");
        return;
    }
    let farm = Farm::new();
    let insecure = ["--config=none", "--enable-tcp-insecure"];
    for listen in [
        &[][..],
        &[
            "--listen=127.0.0.2",
            "--listen=[::1]",
            "--listen=127.0.0.3:0",
        ],
    ] {
        let daemon = Foreground::start(&farm, &[&insecure[..], listen].concat(), &[]);
        let text = daemon.text();
        let (_, rest) = text.split_once("listening on ").unwrap();
        let (list, _) = rest.split_once(" jobs at once").unwrap();
        let addresses: Vec<&str> = list.split(", ").filter(|part| part.contains(':')).collect();
        let hosts: Vec<&str> = addresses
            .iter()
            .filter_map(|address| Some(address.rsplit_once(':')?.0))
            .collect();
        let expected = match listen.is_empty() {
            true => &["127.0.0.1", "[::1]"][..],
            false => &["127.0.0.2", "[::1]", "127.0.0.3"],
        };
        assert_eq!(hosts, expected, "{text}");
        for address in addresses {
            TcpStream::connect(address).unwrap();
        }
    }
}

#[test]
fn the_number_of_jobs_follows_affinity_and_quota() {
    let farm = Farm::new();
    let own = "mount -t tmpfs none /sys/fs/cgroup && cd /sys/fs/cgroup";
    let in_group = "mount --bind own /proc/$$/cgroup && ";
    // Half a processor, as the kernel says it in both versions.
    let version_1 = format!(
        "{own} && mkdir -p cpu/x && echo 50000 >cpu/x/cpu.cfs_quota_us && \
         echo 100000 >cpu/x/cpu.cfs_period_us && echo 1:cpu:/x >own && {in_group}"
    );
    let version_2 = format!(
        "{own} && mkdir x && touch x/cgroup.controllers && echo 50000 100000 >x/cpu.max && \
         echo 0::/x >own && {in_group}"
    );
    let unshare = [
        "unshare",
        "--user",
        "--map-current-user",
        "--keep-caps",
        "--mount",
    ];
    let cases: [(&[&str], &str); 3] = [
        (&["taskset", "-c", "0"], ""),
        (&unshare, &version_1),
        (&unshare, &version_2),
    ];
    for (within, before) in cases {
        let script = format!("{before}exec \"$0\" \"$@\"");
        let plan = farm.daemon(common::Which::Ours);
        let nobody: &[&str] = match is_root() {
            true => &[
                "setpriv",
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
            ],
            false => &[],
        };
        let words = [nobody, within, &["sh", "-c", &script]].concat();
        let plan = plan.options(&["--enable-tcp-insecure"]).all_jobs();
        let daemon = plan.within(&words).start();
        expect_line(&daemon, &["listening on", ", 3 jobs at once"]);
    }
}

/// Starts a daemon with a socket as its descriptor 3, as a service manager would.
fn with_passed_socket(socket: OwnedFd, words: &[&str], tmp: &Path) -> Child {
    let script = "export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$0\" distccd \"$@\" 3<&0 0</dev/null";
    let mut command = Command::new("sh");
    command
        .args(["-c", script, common::OURS, "--config=none"])
        .args(words)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("TMPDIR", tmp)
        .stdin(socket)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn sockets_that_are_passed_on_are_served() {
    let (farm, folder) = fake_farm();
    let gcc = folder.join("gcc").display().to_string();
    let tmp = farm.new_folder("activated");
    fs::set_permissions(&tmp, fs::Permissions::from_mode(0o777)).unwrap();
    let log = tmp.join("log").display().to_string();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let whole = request(Version::V1, "gcc -c x.c -o x.o", "int a;\n");
    let ask = |mut stream: TcpStream| {
        stream.set_read_timeout(Some(BOUND)).unwrap();
        stream.write_all(&whole).unwrap();
        expect_object(&stream);
    };
    // The port in the words is not the one of the socket, and does not count.
    let words = ["--daemon", "--no-detach", "--port=1", "--lifetime=7200"];
    let words = [&words[..], &["--compilers", &gcc, "--log-file", &log]].concat();
    let mut daemon = with_passed_socket(listener.try_clone().unwrap().into(), &words, &tmp);
    ask(TcpStream::connect(address).unwrap());
    common::signal("TERM", &daemon.id().to_string());
    daemon.wait().unwrap();
    let text = fs::read_to_string(&log).unwrap();
    assert!(
        text.contains(&format!("listening on {address}, ")),
        "{text}"
    );
    // The socket is the manager's: who connects meanwhile waits for the next daemon.
    let early = TcpStream::connect(address).unwrap();
    let (connection, _) = listener.accept().unwrap();
    let words = ["--compilers", &gcc, "--log-file", &log];
    let mut daemon = with_passed_socket(connection.into(), &words, &tmp);
    ask(early);
    assert_eq!(daemon.wait().unwrap().code(), Some(0));
}

#[test]
fn a_service_manager_hears_how_we_are() {
    let farm = Farm::new();
    let path = farm.path("notify");
    let name = format!("distcc-test-{}", std::process::id());
    let of_name = SocketAddr::from_abstract_name(&name).unwrap();
    for (socket, shown) in [
        (
            UnixDatagram::bind(&path).unwrap(),
            path.display().to_string(),
        ),
        (
            UnixDatagram::bind_addr(&of_name).unwrap(),
            format!("@{name}"),
        ),
    ] {
        if path.exists() {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        }
        socket.set_read_timeout(Some(BOUND)).unwrap();
        let env = [
            ("NOTIFY_SOCKET", shown.as_str()),
            ("WATCHDOG_USEC", "200000"),
        ];
        let daemon = Foreground::start(&farm, &["--config=none", "--enable-tcp-insecure"], &env);
        let pid = format!("MAINPID={}", daemon.child.id());
        expect_told(
            &socket,
            &[
                "READY=1",
                &pid,
                "STATUS=",
                "jobs at once, listening on 127.0.0.1:",
            ],
        );
        expect_told(&socket, &["WATCHDOG=1"]);
        expect_told(&socket, &["WATCHDOG=1"]);
        daemon.signal("HUP");
        expect_told(&socket, &["RELOADING=1", "MONOTONIC_USEC="]);
        expect_told(&socket, &["READY=1"]);
        daemon.signal("TERM");
        expect_told(&socket, &["STOPPING=1"]);
    }
}

/// Waits for a message with all these parts; others may come before.
#[track_caller]
fn expect_told(socket: &UnixDatagram, parts: &[&str]) {
    let mut buffer = [0; 4096];
    loop {
        let count = match socket.recv(&mut buffer) {
            Err(err) if err.kind() == std::io::ErrorKind::Interrupted => continue,
            count => count.unwrap(),
        };
        let text = String::from_utf8_lossy(&buffer[..count]);
        if parts.iter().all(|part| text.contains(part)) {
            return;
        }
        assert!(!text.contains(parts[0]), "{text}");
    }
}
