//! One client machine: its folders, its clients, what they must not leave behind.

use super::{ran, run, same_file, until_empty, DaemonPlan, Ran, Running, Which, BOUND, OURS};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{symlink, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Folders of one client machine, removed when dropped; all paths are absolute.
pub struct Farm {
    root: tempfile::TempDir,
    /// Marks all processes that its clients start.
    mark: String,
    count: AtomicUsize,
}

/// Where a compile took place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Went {
    /// On a host, and its answer was taken.
    Remote,
    /// Here.
    Local,
}

/// The variable that carries the mark.
const MARK: &str = "DISTCC_TEST_FARM";

impl Farm {
    /// Makes the folders: `work` for sources, `tmp`, `top`, `home`, `bin` for links.
    pub fn new() -> Farm {
        static FARMS: AtomicUsize = AtomicUsize::new(0);
        let root = tempfile::Builder::new()
            .prefix("distcc-farm-")
            .tempdir()
            .unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["work", "tmp", "top", "home", "bin", "logs"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        let number = FARMS.fetch_add(1, Ordering::Relaxed);
        Farm {
            root,
            mark: format!("{}-{number}", std::process::id()),
            count: AtomicUsize::new(0),
        }
    }

    /// A path inside.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// The folder in which clients run.
    pub fn work(&self) -> PathBuf {
        self.path("work")
    }

    /// A folder that nobody else has.
    pub fn new_folder(&self, name: &str) -> PathBuf {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let folder = self.path(&format!("{name}-{number}"));
        fs::create_dir(&folder).unwrap();
        folder
    }

    /// Writes a file below `work` and returns its path.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.work().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// A daemon to be started.
    pub fn daemon(&self, which: Which) -> DaemonPlan {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let folder = self.path(&format!("daemon-{number}"));
        fs::create_dir(&folder).unwrap();
        DaemonPlan::new(which, folder)
    }

    /// A client with this host list.
    pub fn client(&self, which: Which, hosts: &str) -> Client<'_> {
        let mut env = BTreeMap::new();
        for (name, value) in [
            ("PATH", "/usr/bin:/bin".into()),
            ("HOME", self.path("home")),
            ("TMPDIR", self.path("tmp")),
            ("DISTCC_DIR", self.path("top")),
            ("DISTCC_HOSTS", hosts.into()),
            ("LC_ALL", "C".into()),
            (MARK, PathBuf::from(&self.mark)),
        ] {
            env.insert(name.to_owned(), value.into_os_string());
        }
        Client {
            farm: self,
            which,
            env,
            folder: self.work(),
            bound: BOUND,
        }
    }

    /// A folder with links of these names to the client.
    pub fn masquerade(&self, which: Which, names: &[&str]) -> PathBuf {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let folder = self.path(&format!("bin/masquerade-{number}"));
        fs::create_dir(&folder).unwrap();
        for name in names {
            symlink(program(which), folder.join(name)).unwrap();
        }
        folder
    }

    /// Runs a command without distcc in `work`.
    #[track_caller]
    pub fn local<S: AsRef<OsStr>>(&self, words: &[S]) -> Ran {
        let mut command = Command::new(words[0].as_ref());
        command
            .args(&words[1..])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("LC_ALL", "C")
            .env("TMPDIR", self.path("home"))
            .current_dir(self.work());
        run(&mut command, BOUND)
    }

    /// What clients have left behind: temporary files, state files, processes, held locks. Gives them a moment.
    pub fn leftovers(&self) -> Vec<String> {
        until_empty(BOUND, || {
            let mut found = files_below(&self.path("tmp"));
            let mut states = files_below(&self.path("top/state"));
            // Few, and meant for the next clients.
            states.retain(|path| !path.contains("/state/spare_"));
            found.extend(states);
            found.extend(self.processes());
            found.extend(self.held_locks());
            found
        })
    }

    /// Panics if anything is left behind.
    #[track_caller]
    pub fn expect_clean(&self, after: &str) {
        let found = self.leftovers();
        assert!(found.is_empty(), "left behind after {after}: {found:#?}");
    }

    /// Living processes that clients of this farm started, or clients themselves.
    pub fn processes(&self) -> Vec<String> {
        let mark = format!("{MARK}={}", self.mark);
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
            if read("environ")
                .split(|byte| *byte == 0)
                .any(|word| word == mark.as_bytes())
            {
                let name = entry.file_name().into_string().unwrap_or_default();
                let command = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
                found.push(format!("process {name}: {command}"));
            }
        }
        found
    }

    fn held_locks(&self) -> Vec<String> {
        let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
        let mut found = Vec::new();
        for entry in fs::read_dir(self.path("top/lock")).into_iter().flatten() {
            let entry = entry.unwrap();
            let inode = format!(":{}", entry.metadata().unwrap().ino());
            found.extend(
                locks
                    .lines()
                    .filter(|line| line.split_whitespace().any(|word| word.ends_with(&inode)))
                    .map(|line| format!("lock on {:?}: {line}", entry.file_name())),
            );
        }
        found
    }
}

/// A client with its environment; cheap to clone and change.
#[derive(Clone)]
pub struct Client<'f> {
    farm: &'f Farm,
    which: Which,
    env: BTreeMap<String, std::ffi::OsString>,
    folder: PathBuf,
    bound: Duration,
}

impl Client<'_> {
    /// Sets a variable.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.insert(name.to_owned(), value.as_ref().to_owned());
        self
    }

    /// Removes a variable.
    pub fn without(mut self, name: &str) -> Self {
        self.env.remove(name);
        self
    }

    /// Runs elsewhere than in `work`.
    pub fn folder(mut self, folder: impl AsRef<Path>) -> Self {
        self.folder = folder.as_ref().to_owned();
        self
    }

    /// Allows it more or less time.
    pub fn bound(mut self, bound: Duration) -> Self {
        self.bound = bound;
        self
    }

    /// The environment, for a build tool that calls the client.
    pub fn vars(&self) -> impl Iterator<Item = (&String, &std::ffi::OsString)> {
        self.env.iter()
    }

    /// `distcc WORDS…` as a command; the log goes into the returned file.
    pub fn command<S: AsRef<OsStr>>(&self, words: &[S]) -> (Command, PathBuf) {
        let mut command = Command::new(program(self.which));
        command.args(words);
        let log = self.dress(&mut command);
        (command, log)
    }

    /// Gives a command this client's environment and folder, and a log file.
    pub fn dress(&self, command: &mut Command) -> PathBuf {
        let number = self.farm.count.fetch_add(1, Ordering::Relaxed);
        let log = self.farm.path(&format!("logs/{number}"));
        command
            .env_clear()
            .env("DISTCC_LOG", &log)
            .envs(&self.env)
            .current_dir(&self.folder);
        log
    }

    /// Runs `distcc WORDS…`.
    #[track_caller]
    pub fn run<S: AsRef<OsStr>>(&self, words: &[S]) -> Ran {
        let (mut command, log) = self.command(words);
        let ran = run(&mut command, self.bound);
        with_log(ran, &log)
    }

    /// Starts `distcc WORDS…`; for the log see the returned path.
    pub fn start<S: AsRef<OsStr>>(&self, words: &[S]) -> (Running, PathBuf) {
        let (mut command, log) = self.command(words);
        (Running::start(&mut command), log)
    }

    /// Runs any command (a build tool, a masqueraded compiler) with this client's environment.
    #[track_caller]
    pub fn run_other<S: AsRef<OsStr>>(&self, words: &[S]) -> Ran {
        let mut command = Command::new(words[0].as_ref());
        command.args(&words[1..]);
        let log = self.dress(&mut command);
        let ran = run(&mut command, self.bound);
        with_log(ran, &log)
    }
}

fn with_log(mut ran: Ran, log: &Path) -> Ran {
    ran.log = String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned();
    ran
}

impl Ran {
    /// Where the compile's result came from, as the client's log tells.
    pub fn went(&self) -> Went {
        match self.hosts().is_empty() {
            true => Went::Local,
            false => Went::Remote,
        }
    }

    /// The hosts whose results were taken: one for each line `compile FILE on HOST completed ok`.
    pub fn hosts(&self) -> Vec<&str> {
        self.log
            .lines()
            .filter_map(|line| {
                let (_, rest) = line.split_once("compile ")?;
                let (before, _) = rest.split_once(" completed ok")?;
                let (_, host) = before.rsplit_once(" on ")?;
                (host != "localhost").then_some(host)
            })
            .collect()
    }
}

fn program(which: Which) -> &'static str {
    match which {
        Which::Ours => OURS,
        Which::Stock => "/usr/bin/distcc",
    }
}

/// All files below a folder, relative to it.
pub fn files_below(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        found.push(entry.path().display().to_string());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(files_below(&entry.path()));
        }
    }
    found
}
