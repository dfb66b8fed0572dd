//! The programs that are compared, and their include servers.

use super::cost;
use super::inputs::Inputs;
use super::installed::installed;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where the compilers are.
pub const PATH: &str = "/usr/bin:/bin";

/// Whose programs.
pub struct Contender {
    #[allow(dead_code)] // Only one of the benchmarks tells.
    pub name: &'static str,
    pub client: PathBuf,
    /// The words that start the include server.
    server: Vec<String>,
}

impl Contender {
    pub fn ours() -> Contender {
        let (client, _) = installed();
        Contender {
            name: "this distcc",
            server: vec![client.display().to_string(), "include_server".into()],
            client,
        }
    }

    #[allow(dead_code)] // Only one of the benchmarks asks.
    pub fn is_ours(&self) -> bool {
        self.name == "this distcc"
    }

    /// The folder that `tests/fetch-stock-pump` made.
    pub fn stock(folder: &str) -> Contender {
        let server = format!("{folder}/include_server/include_server.py");
        Contender {
            name: "stock",
            client: format!("{folder}/distcc").into(),
            server: ["/usr/bin/python3".to_owned(), server].to_vec(),
        }
    }
}

/// An include server that runs; ended when dropped.
pub struct IncludeServerProcess {
    process: Child,
    pid: u32,
    stderr: PathBuf,
}

impl IncludeServerProcess {
    /// Starts it with the name `socket` in `folder`.
    pub fn start(contender: &Contender, inputs: &Inputs, folder: &Path) -> IncludeServerProcess {
        let mut command = Command::new(&contender.server[0]);
        let mut process = command
            .args(&contender.server[1..])
            .arg("--port")
            .arg(folder.join("socket"))
            .arg("--pid_file")
            .arg(folder.join("pid"))
            .current_dir(&inputs.tree)
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("stderr")).unwrap())
            .spawn()
            .unwrap();
        // Both go to the background, and the pid that counts is in the file.
        let begun = Instant::now();
        let pid = loop {
            let pid = fs::read_to_string(folder.join("pid")).unwrap_or_default();
            if let (Ok(pid), true) = (pid.trim().parse(), folder.join("socket").exists()) {
                break pid;
            }
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "no include server"
            );
            std::thread::sleep(Duration::from_millis(5));
        };
        let _ = process.try_wait();
        IncludeServerProcess {
            process,
            pid,
            stderr: folder.join("stderr"),
        }
    }

    /// What it has spent, with compilers that it ran.
    pub fn cpu(&self) -> Duration {
        self.own_cpu() + cost::of_ended_children(self.pid)
    }

    /// The same without those compilers.
    pub fn own_cpu(&self) -> Duration {
        if Path::new("/proc").join(self.pid.to_string()).exists() {
            return cost::of_process(self.pid);
        }
        let said = fs::read_to_string(&self.stderr).unwrap_or_default();
        eprintln!("an include server has ended: {said}");
        Duration::ZERO
    }
}

impl Drop for IncludeServerProcess {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.pid.to_string()).status();
        let _ = self.process.wait();
    }
}
