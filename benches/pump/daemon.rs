//! What our daemon costs: beside a compiler that only writes a file, and together with the client and gcc beside a local run.

use super::cost;
use super::inputs::{Inputs, Unit};
use super::installed::installed;
use super::server::{ask, request};
use super::session::Session;
use super::started::Contender;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A daemon of ours that runs; ended when dropped.
struct Daemon {
    process: Child,
    port: u16,
}

impl Daemon {
    /// With one compiler, and a folder for its jobs.
    fn start(compiler: &Path, tmp: &Path) -> Daemon {
        let (_, link) = installed();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let process = Command::new(link)
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
            .arg(compiler)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("TMPDIR", tmp)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "no daemon");
            std::thread::sleep(Duration::from_millis(5));
        }
        Daemon { process, port }
    }

    fn cpu(&self) -> Duration {
        cost::of_tree(self.process.id())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = self.process.id().to_string();
        let _ = Command::new("kill").arg(pid).status();
        let _ = self.process.wait();
    }
}

/// A folder that others may read, and one in it that others may write to.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix("bench-").tempdir().unwrap();
    let rights = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    rights(folder.path(), 0o755).unwrap();
    let tmp = folder.path().join("tmp");
    fs::create_dir(&tmp).unwrap();
    rights(&tmp, 0o1777).unwrap();
    folder
}

/// CPU with gcc on the other side of loopback, in plain and in pump mode, in parts of what local runs take.
pub fn beside_local(inputs: &Inputs, units: &[Unit]) -> [f64; 2] {
    let folder = folder();
    let daemon = Daemon::start(Path::new("/usr/bin/gcc"), &folder.path().join("tmp"));
    let session = Session::start(&Contender::ours(), inputs);
    let port = daemon.port;
    let hosts = ["", ",cpp,lzo"].map(|options| format!("127.0.0.1:{port}/4{options}"));
    let all = || cost::of_children() + daemon.cpu() + session.server_cpu();
    let [mut local, mut plain, mut pump] = [Duration::ZERO; 3];
    for unit in units {
        let mut compiler = Command::new(&unit.words[0]);
        compiler.args(&unit.words[1..]).args(["-c", "-o"]);
        compiler
            .arg(folder.path().join("x.o"))
            .current_dir(&unit.folder)
            .stderr(Stdio::null());
        let clients = hosts.each_ref().map(|hosts| session.client(unit, hosts));
        let [mut as_text, mut as_files] = clients;
        for (command, spent) in [
            (&mut compiler, &mut local),
            (&mut as_text, &mut plain),
            (&mut as_files, &mut pump),
        ] {
            let before = all();
            assert!(command.status().unwrap().success(), "{:?}", unit.words);
            // The daemon clears up behind an answer.
            std::thread::sleep(Duration::from_millis(5));
            *spent += all() - before;
        }
    }
    [plain, pump].map(|spent| spent.as_secs_f64() / local.as_secs_f64())
}

/// CPU milliseconds that our daemon spends on a pump job of so many files, beside the compiler.
pub fn daemon_job(files: usize) -> f64 {
    const JOBS: usize = 400;
    let folder = folder();
    let tmp = folder.path().join("tmp");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/compare/fake.c");
    let fake = folder.path().join("gcc");
    let built = Command::new("cc")
        .args(["-static", "-O2"])
        .arg(source)
        .arg("-o")
        .arg(&fake)
        .status();
    assert!(built.unwrap().success());
    let daemon = Daemon::start(&fake, &tmp);
    let (request, port) = (request(files), daemon.port);
    let jobs =
        |count: usize| (0..count).for_each(|_| assert!(ask(port, &request), "the job failed"));
    jobs(20);
    let before = daemon.cpu();
    jobs(JOBS);
    let spent = daemon.cpu() - before;
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
    (spent.as_secs_f64() - compiler.as_secs_f64()) * 1000.0 / JOBS as f64
}
