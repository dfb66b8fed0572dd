//! One include server with its clients, ours or stock's, and a daemon of ours for jobs of its own.

use super::cost;
use super::inputs::{Inputs, Unit};
use super::installed::installed;
use super::server::{ask, request, Server};
use super::started::{Contender, IncludeServerProcess, PATH};
use distcc::farm::include_link::IncludeServer;
use distcc::model::direct::Query;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// An include server that runs, and the server that its clients send to.
pub struct Session {
    folder: tempfile::TempDir,
    client: PathBuf,
    server: Server,
    include_server: IncludeServerProcess,
}

impl Session {
    pub fn start(contender: &Contender, inputs: &Inputs) -> Session {
        let folder = tempfile::Builder::new().prefix("bench-").tempdir().unwrap();
        let path = folder.path();
        let include_server = IncludeServerProcess::start(contender, inputs, path);
        Session {
            client: contender.client.clone(),
            server: Server::start(),
            include_server,
            folder,
        }
    }

    /// Compiles one unit; whether that went in pump mode.
    pub fn compile(&self, unit: &Unit) -> bool {
        let [files, text] = self.server.answered();
        let folder = self.folder.path();
        let status = Command::new(&self.client)
            .args(&unit.words)
            .args(["-c", "-o"])
            .arg(folder.join("x.o"))
            .current_dir(&unit.folder)
            .env_clear()
            .env("PATH", PATH)
            .env("HOME", folder)
            .env("DISTCC_DIR", folder)
            .env("DISTCC_FALLBACK", "0")
            .env(
                "DISTCC_HOSTS",
                format!("127.0.0.1:{}/4,cpp,lzo", self.server.port),
            )
            .env("INCLUDE_SERVER_PORT", folder.join("socket"))
            .stderr(Stdio::null())
            .status();
        assert!(status.unwrap().success(), "{:?}", unit.words);
        let begun = Instant::now();
        // The answer is counted when it has been written, which the client does not wait for.
        loop {
            match self.server.answered() {
                [now, _] if now > files => return true,
                [_, now] if now > text => return false,
                _ => std::thread::sleep(Duration::from_micros(200)),
            }
            let patient = begun.elapsed() < Duration::from_secs(10);
            assert!(patient, "not sent anywhere: {:?}", unit.words);
        }
    }

    /// Asks our include server itself; panics if it does not know.
    pub fn ask(&self, unit: &Unit) {
        let program = which::which_in(&unit.words[0], Some(PATH), &unit.folder).unwrap();
        let cwd = unit.folder.as_os_str().as_bytes().to_vec();
        let words = unit.words.iter().map(String::as_str);
        let words = words.chain(["-c", "-o", "x.o"]);
        let query = Query {
            pwd: cwd.clone(),
            cwd,
            program: program.into_os_string().into_vec(),
            argv: words.map(|word| word.as_bytes().to_vec()).collect(),
            ..Query::default()
        };
        let socket = self.folder.path().join("socket");
        let server = IncludeServer::at(&socket, Duration::from_secs(60), None);
        server.ask(&query, OsStr::new("cc")).unwrap();
    }

    /// The same compile of a source that includes nothing.
    pub fn without_includes(&self, unit: &Unit) -> Unit {
        let mut unit = unit.clone();
        let source = unit.words.last_mut().unwrap();
        let suffix = source.rsplit_once('.').map_or("c", |(_, suffix)| suffix);
        let path = self.folder.path().join(format!("nothing.{suffix}"));
        fs::write(&path, "int nothing;\n").unwrap();
        *source = path.to_str().unwrap().to_owned();
        unit
    }

    /// What the include server has spent, with compilers that it ran.
    pub fn server_cpu(&self) -> Duration {
        self.include_server.cpu()
    }

    /// The same without those compilers.
    pub fn server_own_cpu(&self) -> Duration {
        self.include_server.own_cpu()
    }
}

/// CPU milliseconds that our daemon spends on a pump job of so many files, beside the compiler.
pub fn daemon_job(files: usize) -> f64 {
    const JOBS: usize = 400;
    let folder = tempfile::Builder::new().prefix("bench-").tempdir().unwrap();
    let path = folder.path();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    let (fakes, tmp) = (path.join("fakes"), path.join("tmp"));
    fs::create_dir_all(&fakes).unwrap();
    fs::create_dir_all(&tmp).unwrap();
    fs::set_permissions(&tmp, fs::Permissions::from_mode(0o1777)).unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/compare/fake.c");
    let fake = fakes.join("gcc");
    let built = Command::new("cc")
        .args(["-static", "-O2"])
        .arg(source)
        .arg("-o")
        .arg(&fake)
        .status();
    assert!(built.unwrap().success());
    let (_, link) = installed();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let mut daemon = Command::new(link)
        .args([
            "--daemon",
            "--no-detach",
            "--listen",
            "127.0.0.1",
            "--allow",
            "127.0.0.1",
            "--nice",
            "0",
        ])
        .args([
            "--jobs",
            "4",
            "--log-stderr",
            "--log-level",
            "error",
            "--port",
            &port.to_string(),
        ])
        .arg("--compilers")
        .arg(&fake)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("TMPDIR", &tmp)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(20), "no daemon");
        std::thread::sleep(Duration::from_millis(5));
    }
    let request = request(files);
    let jobs =
        |count: usize| (0..count).for_each(|_| assert!(ask(port, &request), "the job failed"));
    jobs(20);
    let before = cost::of_tree(daemon.id());
    jobs(JOBS);
    let spent = cost::of_tree(daemon.id()) - before;
    let children = cost::of_children();
    for _ in 0..JOBS {
        let output = tmp.join("x.o");
        let compiled = Command::new(&fake)
            .args(["-c", "x.c", "-o"])
            .arg(&output)
            .status();
        assert!(compiled.unwrap().success());
    }
    let compiler = cost::of_children() - children;
    let _ = Command::new("kill").arg(daemon.id().to_string()).status();
    let _ = daemon.wait();
    (spent.as_secs_f64() - compiler.as_secs_f64()) * 1000.0 / JOBS as f64
}
