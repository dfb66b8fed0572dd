//! The surroundings of a measurement: a folder with sources, fake compilers and objects, clients with a clean
//! environment, daemons on free ports.

use super::installed::installed;
use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// One of those that are compared.
pub struct Distcc {
    pub name: &'static str,
    /// The program, and what makes a daemon of it.
    pub client: PathBuf,
    pub daemon: PathBuf,
}

/// A translation unit: by its name in the work folder, and preprocessed.
pub struct Text {
    pub name: &'static str,
    pub compiler: &'static str,
    pub preprocessed: PathBuf,
}

pub struct Setting {
    folder: tempfile::TempDir,
    /// Ours first.
    pub contenders: Vec<Distcc>,
    /// Compilers that only copy.
    pub fakes: PathBuf,
    pub real_path: String,
    pub small: Text,
    pub big: Text,
    /// What a compiler would answer.
    pub object: Vec<u8>,
    /// How many outputs have been named.
    outputs: AtomicUsize,
}

const SMALL: &str = "int add(int a, int b) { return a + b; }\n";
/// About 1 MB when it is preprocessed.
const BIG: &str =
    "#include <iostream>\n#include <map>\n#include <string>\n#include <vector>\nint x;\n";

impl Setting {
    pub fn new(ours_dir: Option<&str>, stock_dir: &str) -> Setting {
        // No name with `distcc` in it: stock passes over such folders when it looks for compilers.
        let folder = tempfile::Builder::new().prefix("bench-").tempdir().unwrap();
        let path = folder.path();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["fakes", "home", "tmp", "work"] {
            fs::create_dir(path.join(name)).unwrap();
        }
        // A daemon that was started by root is somebody else when it writes here.
        fs::set_permissions(path.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
        let fakes = path.join("fakes");
        build_fakes(&fakes);
        let work = path.join("work");
        let mut small = String::new();
        for number in 0..120 {
            small += &SMALL.replace("add", &format!("add{number}"));
        }
        fs::write(work.join("small.c"), &small).unwrap();
        fs::write(work.join("big.cc"), BIG).unwrap();
        well(
            Command::new("c++")
                .args(["-E", "big.cc", "-o", "big.ii"])
                .current_dir(&work),
        );
        well(
            Command::new("cc")
                .args(["-E", "small.c", "-o", "small.i"])
                .current_dir(&work),
        );
        well(
            Command::new("cc")
                .args(["-c", "small.c", "-o", "real.o"])
                .current_dir(&work),
        );
        Setting {
            contenders: contenders(ours_dir.map(Path::new), Path::new(stock_dir)),
            fakes,
            real_path: "/usr/local/bin:/usr/bin:/bin".to_owned(),
            small: Text {
                name: "small.c",
                compiler: "gcc",
                preprocessed: work.join("small.i"),
            },
            big: Text {
                name: "big.cc",
                compiler: "g++",
                preprocessed: work.join("big.ii"),
            },
            object: fs::read(work.join("real.o")).unwrap(),
            outputs: AtomicUsize::new(0),
            folder,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A program with a clean environment, in the folder with the sources.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env(
                "PATH",
                format!("{}:{}", self.fakes.display(), self.real_path),
            )
            .env("HOME", self.path("home"))
            .env("TMPDIR", self.path("tmp"))
            .current_dir(self.path("work"));
        command
    }

    /// A client that never falls back.
    pub fn client(&self, distcc: &Distcc, hosts: &str) -> Command {
        let mut command = self.command(&distcc.client);
        command
            .env("DISTCC_HOSTS", hosts)
            .env("DISTCC_DIR", self.path("home"))
            .env("DISTCC_FALLBACK", "0");
        command
    }

    /// The name of an object that is not there yet, as in a build. A file system that gives up a file for each that it
    /// makes slows down.
    pub fn output(&self) -> String {
        format!("{}.o", self.outputs.fetch_add(1, Ordering::Relaxed))
    }

    /// A file that a preprocessor may write to.
    pub fn scratch_file(&self) -> File {
        File::create(self.scratch()).unwrap()
    }

    /// Its name.
    pub fn scratch(&self) -> PathBuf {
        self.path("tmp/scratch")
    }

    /// A daemon that runs the fake compilers, listening.
    pub fn daemon(&self, distcc: &Distcc) -> Daemon {
        self.daemon_with(distcc, &[])
    }

    /// The same with more options.
    pub fn daemon_with(&self, distcc: &Distcc, options: &[&str]) -> Daemon {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let process = self
            .command(&distcc.daemon)
            .args([
                "--daemon",
                "--no-detach",
                "--enable-tcp-insecure",
                "--listen",
                "127.0.0.1",
                "--allow",
                "127.0.0.1",
            ])
            .args([
                "--port",
                &port.to_string(),
                "--jobs",
                "4",
                "--nice",
                "0",
                "--log-stderr",
                "--log-level",
                "error",
            ])
            .args(options)
            .env(
                "DISTCCD_PATH",
                format!("{}:{}", self.fakes.display(), self.real_path),
            )
            .stdin(Stdio::null())
            .stderr(self.scratch_file())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(
                begun.elapsed() < Duration::from_secs(10),
                "{} does not listen",
                distcc.daemon.display()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(300)); // Until that connection is done with.
        Daemon { process, port }
    }
}

/// Ended when dropped.
pub struct Daemon {
    pub process: Child,
    pub port: u16,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = Command::new("kill")
            .arg(self.process.id().to_string())
            .status();
        let _ = self.process.wait();
    }
}

fn contenders(ours_dir: Option<&Path>, stock_dir: &Path) -> Vec<Distcc> {
    let (client, daemon) = match ours_dir {
        Some(dir) => (dir.join("distcc"), dir.join("distccd")),
        None => installed(),
    };
    let mut contenders = vec![Distcc {
        name: "this distcc",
        client,
        daemon,
    }];
    let (client, daemon) = (stock_dir.join("distcc"), stock_dir.join("distccd"));
    let version = Command::new(&client).arg("--version").output();
    match version {
        Ok(out) if out.stdout.starts_with(b"distcc 3.") && daemon.exists() => {
            contenders.push(Distcc {
                name: "stock",
                client,
                daemon,
            });
        }
        _ => eprintln!(
            "there is no stock distcc 3 in {}; ours is measured alone",
            stock_dir.display()
        ),
    }
    contenders
}

/// Builds the fake compiler and the floor, static so that they start as fast as can be, and links the compiler to every
/// name that may be asked for.
fn build_fakes(fakes: &Path) {
    for (source, name) in [("fake.c", "gcc"), ("floor.c", "floor")] {
        let source = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("benches/compare")
            .join(source);
        let build = |options: &[&str]| {
            Command::new("cc")
                .args(options)
                .arg("-O2")
                .arg(&source)
                .arg("-o")
                .arg(fakes.join(name))
                .status()
                .is_ok_and(|status| status.success())
        };
        assert!(
            build(&["-static"]) || build(&[]),
            "cannot build {}",
            source.display()
        );
    }
    let triple = format!("{}-linux-gnu", std::env::consts::ARCH);
    for name in [
        "g++".to_owned(),
        format!("{triple}-gcc"),
        format!("{triple}-g++"),
    ] {
        symlink("gcc", fakes.join(name)).unwrap();
    }
}

fn well(command: &mut Command) {
    assert!(command.status().unwrap().success(), "{command:?}");
}
