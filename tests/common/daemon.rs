//! A daemon on a loopback port of its own, ours or stock's, ended when dropped.

use super::{is_root, ran, wait_for, Which, BOUND, OURS};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How a daemon is to be started.
pub struct DaemonPlan {
    which: Which,
    folder: PathBuf,
    options: Vec<String>,
    env: Vec<(String, String)>,
    jobs: Option<usize>,
    allow: Option<String>,
    within: Vec<String>,
}

/// Makes root an ordinary user.
const NOBODY: &[&str] = &[
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
];

/// Makes a system that lets nobody make namespaces, and gives no rights by that.
pub const NO_NAMESPACES: &[&str] = &[
    "unshare",
    "--user",
    "--map-current-user",
    "--keep-caps",
    "sh",
    "-c",
    "echo 0 >/proc/sys/user/max_user_namespaces && exec setpriv --ambient-caps=-all --inh-caps=-all \"$0\" \"$@\"",
];

/// The same for somebody with rights that pass on to all programs that he runs, as in some containers.
const NO_NAMESPACES_BUT_RIGHTS: &[&str] = &[
    "unshare",
    "--user",
    "--map-current-user",
    "--keep-caps",
    "sh",
    "-c",
    "echo 0 >/proc/sys/user/max_user_namespaces && exec \"$0\" \"$@\"",
];

/// Runs what follows where the call with the number that is given first is not known.
pub const WITHOUT_CALL: &str = r#"
my $filter = pack('SCCL', 0x20, 0, 0, 0) . pack('SCCL', 0x15, 0, 1, shift) . pack('SCCL', 6, 0, 0, 0x50026) . pack('SCCL', 6, 0, 0, 0x7fff0000);
my $program = pack('Sx6P', 4, $filter);
syscall(157, 38, 1, 0, 0, 0) == 0 && syscall(157, 22, 2, $program, 0, 0) == 0 or die "seccomp: $!";
exec @ARGV or die;
"#;

/// The call that closes many descriptors at once.
pub const CLOSE_RANGE: &str = "436";

/// A running daemon.
pub struct Daemon {
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    /// Its TMPDIR.
    pub tmp: PathBuf,
    /// Its log.
    pub log: PathBuf,
    process: Child,
}

/// One line of a daemon's log about a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobLine {
    /// `COMPILE_OK`, `COMPILE_ERROR`, …
    pub class: String,
    /// The whole line.
    pub line: String,
}

impl DaemonPlan {
    pub(super) fn new(which: Which, folder: PathBuf) -> DaemonPlan {
        DaemonPlan {
            which,
            folder,
            options: Vec::new(),
            env: vec![("PATH".into(), "/usr/bin:/bin".into())],
            jobs: Some(8),
            allow: Some("127.0.0.1".into()),
            within: Vec::new(),
        }
    }

    /// Started by this command, whose last word is followed by the daemon's own.
    pub fn within(mut self, command: &[&str]) -> Self {
        self.within = command.iter().map(|&word| word.into()).collect();
        self
    }

    /// Started by an ordinary user, also if the test is root's.
    pub fn by_nobody(self) -> Self {
        match is_root() {
            true => self.within(NOBODY),
            false => self,
        }
    }

    /// Where the system lets nobody make namespaces.
    pub fn without_namespaces(self) -> Self {
        self.by_nobody_within(NO_NAMESPACES)
    }

    /// The same with rights, although it is an ordinary user's.
    pub fn without_namespaces_but_with_rights(self) -> Self {
        self.by_nobody_within(NO_NAMESPACES_BUT_RIGHTS)
    }

    fn by_nobody_within(self, command: &[&str]) -> Self {
        match is_root() {
            true => self.within(&[NOBODY, command].concat()),
            false => self.within(command),
        }
    }

    /// More words for its command line.
    pub fn options(mut self, options: &[&str]) -> Self {
        self.options.extend(options.iter().map(|&word| word.into()));
        self
    }

    /// A variable of its environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// How many jobs at once.
    pub fn jobs(mut self, jobs: usize) -> Self {
        self.jobs = Some(jobs);
        self
    }

    /// As many jobs at once as it thinks right.
    pub fn all_jobs(mut self) -> Self {
        self.jobs = None;
        self
    }

    /// Only who has this address may connect; with `None` that is left to other options.
    pub fn allow(mut self, address: Option<&str>) -> Self {
        self.allow = address.map(str::to_owned);
        self
    }

    /// Starts it and waits until it listens. A port that somebody else took meanwhile is tried again.
    #[track_caller]
    pub fn start(self) -> Daemon {
        let tmp = self.folder.join("tmp");
        fs::create_dir_all(&tmp).unwrap();
        // A daemon that was started by root works as somebody else.
        for folder in [&self.folder, &tmp] {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
        }
        let mut said = String::new();
        for _ in 0..5 {
            match self.start_on(free_port(), &tmp) {
                Ok(daemon) => return daemon,
                Err(words) => said = words,
            }
        }
        panic!(
            "the daemon {:?} does not start; it says:\n{said}",
            self.which
        );
    }

    fn start_on(&self, port: u16, tmp: &Path) -> Result<Daemon, String> {
        let log = self.folder.join("log");
        let said = self.folder.join("stderr");
        let stderr = fs::File::create(&said).unwrap();
        let program = self.program();
        let mut words = self.within.iter().map(PathBuf::from).chain([program]);
        let process = Command::new(words.next().unwrap())
            .args(words)
            .args(["--daemon", "--no-detach", "--listen", "127.0.0.1"])
            // If the test is killed outright, its daemons end all the same, some time.
            .args(["--lifetime", "7200"])
            .args(["--nice", "0", "--log-level", "info"])
            .args(self.allow.iter().flat_map(|allow| ["--allow", allow]))
            .args(self.no_config_file())
            .args(["--port", &port.to_string()])
            .args(self.jobs.iter().map(|jobs| format!("--jobs={jobs}")))
            .arg("--log-file")
            .arg(&log)
            .args(&self.options)
            .env_clear()
            .env("TMPDIR", tmp)
            .env("LC_ALL", "C")
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .process_group(0)
            .spawn()
            .map_err(|err| format!("{}: {err}", self.program().display()))?;
        let mut daemon = Daemon {
            port,
            tmp: tmp.to_owned(),
            log,
            process,
        };
        let begun = Instant::now();
        while begun.elapsed() < BOUND {
            if !matches!(daemon.process.try_wait(), Ok(None)) {
                break;
            }
            // Somebody else may have got the port: then this one is about to end.
            if daemon.is_there() {
                return Ok(daemon);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let said = fs::read_to_string(&said).unwrap_or_default();
        Err(said + &daemon.log_text())
    }

    /// What this machine's own daemon is told must not count here.
    fn no_config_file(&self) -> &'static [&'static str] {
        match self.which {
            Which::Ours => &["--config", "none"],
            Which::Stock => &[],
        }
    }

    fn program(&self) -> PathBuf {
        match self.which {
            Which::Stock => "/usr/bin/distccd".into(),
            Which::Ours => {
                let link = self.folder.join("distccd");
                let _ = symlink(OURS, &link);
                link
            }
        }
    }
}

impl Daemon {
    /// As a word for the host list; more of it may follow.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The processes that it has started and that still run.
    pub fn children(&self) -> Vec<String> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid()));
        let tasks = tasks.into_iter().flatten().flatten();
        let lists = tasks.map(|task| fs::read_to_string(task.path().join("children")));
        let lists: String = lists.map(Result::unwrap_or_default).collect();
        lists.split_whitespace().map(str::to_owned).collect()
    }

    /// All that descend from it, dead ones included.
    pub fn below(&self) -> Vec<String> {
        let mut below = Vec::new();
        let mut next = vec![self.pid().to_string()];
        while let Some(parent) = next.pop() {
            let tasks = fs::read_dir(format!("/proc/{parent}/task"));
            for task in tasks.into_iter().flatten().flatten() {
                let list = fs::read_to_string(task.path().join("children")).unwrap_or_default();
                let children = list.split_whitespace().map(str::to_owned);
                next.extend(children.clone());
                below.extend(children);
            }
        }
        below
    }

    /// Whether it listens, itself or through a process that it has started, and not somebody else in its place.
    fn is_there(&self) -> bool {
        let sockets: Vec<String> = listening(self.port)
            .map(|inode| format!("socket:[{inode}]"))
            .collect();
        let has = |pid: String| {
            let open = fs::read_dir(format!("/proc/{pid}/fd"));
            let mut open = open.into_iter().flatten().flatten();
            open.any(|file| {
                fs::read_link(file.path())
                    .is_ok_and(|link| sockets.iter().any(|socket| link == Path::new(socket)))
            })
        };
        !sockets.is_empty() && (has(self.pid().to_string()) || self.below().into_iter().any(has))
    }

    /// What it has logged so far.
    pub fn log_text(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The jobs that it says it has done.
    pub fn jobs(&self) -> Vec<JobLine> {
        self.log_text()
            .lines()
            .filter_map(|line| {
                let (_, rest) = line.split_once("client: ")?;
                let class = rest.split(' ').nth(1)?;
                Some(JobLine {
                    class: class.to_owned(),
                    line: line.to_owned(),
                })
            })
            .collect()
    }

    /// How many compiles went well; it may take a moment after the client's end until the last is in the log.
    pub fn compiled(&self) -> usize {
        let jobs = self.jobs();
        jobs.iter().filter(|job| job.class == "COMPILE_OK").count()
    }

    /// What is in its TMPDIR although no job runs.
    pub fn leftovers(&self) -> Vec<String> {
        super::until_empty(BOUND, || super::farm::files_below(&self.tmp))
    }

    /// Whether it still runs.
    pub fn alive(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }

    /// The signal that ended it, if it has ended.
    pub fn ended_by(&mut self) -> Option<i32> {
        self.process.try_wait().unwrap()?.signal()
    }

    /// Sends a signal to the whole group.
    pub fn signal(&self, name: &str) {
        ran::signal(name, &format!("-{}", self.pid()));
    }

    /// Ends it at once, with all its workers.
    pub fn kill(&mut self) {
        self.signal("KILL");
        let _ = self.process.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.alive() {
            // Ours ends jobs that still run by this one, and not at once by SIGTERM.
            self.signal("INT");
        }
        let begun = Instant::now();
        while self.alive() && begun.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(2));
        }
        self.kill();
    }
}

/// A port of 127.0.0.1 on which nobody listens, now.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Whether somebody listens there, without a connection that would have to be served.
pub fn listens(port: u16) -> bool {
    listening(port).next().is_some()
}

/// The numbers of the sockets that listen there.
fn listening(port: u16) -> impl Iterator<Item = String> {
    let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let ending = format!(":{port:04X}");
    let listening = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_it = fields.get(1)?.ends_with(&ending) && *fields.get(3)? == "0A";
        is_it.then(|| fields.get(9).map(|&inode| inode.to_owned()))?
    };
    let found: Vec<String> = table.lines().filter_map(listening).collect();
    found.into_iter()
}
