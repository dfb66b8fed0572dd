//! Where rows are run: daemons, an include server, workers with folders of their own; and one run of a row.

use super::common::{have, Daemon, Farm, Ran, Running, Which, BOUND, OURS};
use super::outcome::{self, files, Files, Outcome, Varying};
use super::table::{self, Fate, Job};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

/// How the source travels.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Mode {
    Plain,
    Lzo,
    Pump,
}

/// A mode and whose daemon.
pub type Cell = (Mode, Which);

/// All cells.
pub const CELLS: [Cell; 6] = [
    (Mode::Pump, Which::Ours),
    (Mode::Plain, Which::Ours),
    (Mode::Lzo, Which::Ours),
    (Mode::Pump, Which::Stock),
    (Mode::Plain, Which::Stock),
    (Mode::Lzo, Which::Stock),
];

/// Of the rows one in so many is run, unless all are asked for: this test alone would take ten minutes.
const ROWS_DRAWN: u64 = 2;

/// Of the rows that are run one in so many is run in this cell.
fn sampled(cell: &Cell) -> u64 {
    match cell {
        (Mode::Pump, Which::Ours) => 1,
        (Mode::Plain, Which::Ours) => 2,
        _ => 10,
    }
}

/// What each file of the tree is dated: 2001-02-03.
const DATE: u64 = 981_173_106;

/// One run of a row through distcc.
pub struct Went {
    pub cell: Cell,
    pub fate: Fate,
    /// Why something ran here, or in plain mode.
    pub why: String,
    pub equal: bool,
}

/// All runs of a row.
#[derive(Default)]
pub struct Tried {
    pub only_compiles: bool,
    pub cells: Vec<Went>,
    pub faults: Vec<String>,
}

/// Everything that the workers share.
pub struct Bench {
    farm: Farm,
    daemons: Vec<(Which, Daemon)>,
    pump: Child,
    include_server: String,
}

/// One of those who work through the rows, with its folders.
pub struct Worker<'b> {
    bench: &'b Bench,
    number: usize,
}

/// The seed by which rows and cells are drawn: given, or new.
pub fn seed() -> u64 {
    match std::env::var("DISTCC_TESTS_SEED") {
        Ok(text) => text.parse().unwrap(),
        Err(_) => {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            now.unwrap().subsec_nanos().into()
        }
    }
}

/// Which rows are run, and in which cells.
pub struct Draw {
    /// All rows in all cells.
    pub whole: bool,
    /// All rows.
    pub all_rows: bool,
    pub seed: u64,
}

impl Draw {
    /// The cells that a row is run in, always in pump mode with our daemon; none if it is not drawn.
    pub fn cells_of(&self, job: &Job) -> Vec<Cell> {
        let is_drawn = |cell: Option<&Cell>, sampled: u64| {
            let mut hasher = DefaultHasher::new();
            (self.seed, job.name(), &job.row.setup, cell).hash(&mut hasher);
            hasher.finish() % sampled == 0
        };
        if !self.whole && !self.all_rows && !is_drawn(None, ROWS_DRAWN) {
            return Vec::new();
        }
        let all = CELLS.iter();
        all.filter(|cell| self.whole || is_drawn(Some(cell), sampled(cell)))
            .copied()
            .collect()
    }
}

impl Bench {
    /// Starts all that is needed; None if it is not installed, which is then noted.
    pub fn new() -> Option<Bench> {
        if !have("the differential test", &["distccd"]) {
            return None;
        }
        let farm = Farm::new();
        let daemons: Vec<_> = [Which::Ours, Which::Stock]
            .map(|which| (which, farm.daemon(which).start()))
            .into();
        fs::create_dir(farm.path("bin/own")).unwrap();
        std::os::unix::fs::symlink(OURS, farm.path("bin/own/distcc")).unwrap();
        let hosts = format!("{},cpp,lzo", daemons[0].1.host());
        let mut command = Command::new(OURS);
        let script = "echo \"$INCLUDE_SERVER_PORT\"; read line";
        farm.client(Which::Ours, &hosts)
            .dress(command.args(["pump", "sh", "-c", script]));
        // Ends with its standard input, which ends with this test.
        let mut pump = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(pump.stdout.take().unwrap()).lines();
        let port = said
            .map_while(Result::ok)
            .find(|line| line.ends_with("/socket"));
        Some(Bench {
            farm,
            daemons,
            pump,
            include_server: port.unwrap(),
        })
    }

    /// Has all jobs done.
    pub fn work_through<T: Sync>(&self, jobs: &[T], work: impl Fn(&Worker, &T) + Sync) {
        let next = AtomicUsize::new(0);
        let count = std::thread::available_parallelism().map_or(2, usize::from) + 1;
        std::thread::scope(|scope| {
            for number in 0..count.min(jobs.len()) {
                let (next, work) = (&next, &work);
                scope.spawn(move || {
                    let worker = Worker::new(self, number);
                    while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                        work(&worker, job);
                    }
                });
            }
        });
    }

    /// Panics if anything is left behind that a row has not left locally.
    pub fn expect_clean(mut self) {
        drop(self.pump.stdin.take());
        let status = self.pump.wait().unwrap();
        // `read` finds the end of its input.
        assert_eq!(status.code(), Some(1), "pump");
        self.farm.expect_clean("all rows");
        for (which, daemon) in &self.daemons {
            // Stock leaves what its compilers make beside the object.
            if *which == Which::Ours {
                assert_eq!(daemon.leftovers(), [""; 0]);
            }
        }
    }
}

impl<'b> Worker<'b> {
    fn new(bench: &'b Bench, number: usize) -> Worker<'b> {
        let worker = Worker { bench, number };
        for name in ["", "tmp", "top"] {
            fs::create_dir(worker.path(name)).unwrap();
        }
        worker
    }

    fn path(&self, name: &str) -> PathBuf {
        self.bench
            .farm
            .work()
            .join(format!("w{}", self.number))
            .join(name)
    }

    /// Runs a row here and in these cells.
    pub fn try_row(&self, job: &Job, cells: &[Cell]) -> Tried {
        let mut tried = Tried::default();
        let before = match self.prepare(job) {
            Ok(files) => files,
            Err(fault) => {
                tried.faults.push(fault);
                return tried;
            }
        };
        let (local, _) = self.run(job, None, &before);
        tried.only_compiles = !job.row.other && local.only_compiles(&before, job.row.line);
        let mut varying = Varying::default();
        if job.row.varies {
            let (again, _) = self.run(job, None, &before);
            varying = local.varying(&again);
            if varying == Varying::default() {
                tried.faults.push(format!("{}: does not vary", job.name()));
            }
        }
        for &cell in cells {
            let (outcome, log) = self.run(job, Some(cell), &before);
            let (fate, why) = read_log(&log);
            let different = local.difference(&outcome, &varying);
            let went = Went {
                cell,
                fate,
                why,
                equal: different.is_none(),
            };
            let mut fault = |what: &str| {
                let (mode, which) = cell;
                let name = job.name();
                let told = format!("{name}\n  {mode:?} mode, {which:?} daemon: {what}\n{log}");
                tried.faults.push(told);
            };
            if let Some(different) = different {
                fault(&different);
            }
            let expected = job.row.fate.filter(|_| cell == CELLS[0]);
            if expected.is_some_and(|expected| expected != fate) {
                fault(&format!("{fate:?}, not {expected:?}: {}", went.why));
            }
            tried.cells.push(went);
        }
        tried
    }

    /// Lays out the folder of a row once, as what all its runs begin with.
    fn prepare(&self, job: &Job) -> Result<Files, String> {
        let (place, template) = (self.path("row"), self.path("template"));
        let _ = fs::remove_dir_all(&template);
        let _ = fs::remove_dir_all(&place);
        let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/differential/tree");
        lay_out(&tree, &place, job.compiler.extension);
        if job.row.setup != table::NOTHING {
            let (outcome, _) = self.shell(job, job.row.setup, None);
            if outcome.status != 0 {
                let said = String::from_utf8_lossy(&outcome.stderr);
                let (name, setup) = (job.name(), job.row.setup);
                return Err(format!("{name}: not prepared: {setup}\n{said}"));
            }
        }
        copy(&place, &template);
        Ok(files(&place))
    }

    /// Runs a row in its folder, which holds what it held `before`, and shall again.
    fn run(&self, job: &Job, cell: Option<Cell>, before: &Files) -> (Outcome, String) {
        let (place, template) = (self.path("row"), self.path("template"));
        if !place.exists() {
            copy(&template, &place);
        }
        let (outcome, log) = self.shell(job, job.row.line, cell);
        if !outcome::tidied(&place, before, &outcome.files) {
            let _ = fs::remove_dir_all(&place);
        }
        (outcome, log)
    }

    fn shell(&self, job: &Job, line: &str, cell: Option<Cell>) -> (Outcome, String) {
        let (place, tmp, top) = (self.path("row"), self.path("tmp"), self.path("top"));
        let hosts = cell.map(|cell| self.host(cell)).unwrap_or_default();
        let farm = &self.bench.farm;
        // What was found out of a host for one row must not keep another one from it.
        for folder in [&top, &tmp] {
            fs::remove_dir_all(folder).unwrap();
            fs::create_dir(folder).unwrap();
        }
        let program = job.compiler.program;
        let mut client = farm
            .client(Which::Ours, &hosts)
            .folder(&place)
            .env(
                "PATH",
                format!("{}:/usr/bin:/bin", farm.path("bin/own").display()),
            )
            .env("PWD", &place)
            .env("TMPDIR", &tmp)
            .env("DISTCC_DIR", &top)
            .env("DISTCC_BACKOFF_PERIOD", "0")
            .env("DISTCC_MAX_DISCREPANCY", "1000000")
            .env("REAL", program)
            .env("E", job.compiler.extension)
            .env("X", job.compiler.language)
            .env("I", job.compiler.preprocessed);
        client = match cell {
            Some(_) => client.env("CC", format!("distcc {program}")),
            None => client.env("CC", program),
        };
        if let Some((Mode::Pump, _)) = cell {
            client = client.env("INCLUDE_SERVER_PORT", &self.bench.include_server);
        }
        let mut command = Command::new("/bin/sh");
        let log = client.dress(command.args(["-c", line]));
        let ran = Running::start(&mut command).finish(BOUND);
        let log_text = String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).into_owned();
        let _ = fs::remove_file(log);
        (self.outcome(ran, &place, &tmp), log_text)
    }

    fn outcome(&self, ran: Ran, place: &Path, tmp: &Path) -> Outcome {
        let [stdout, stderr] = ran.bytes.map(|bytes| without_temporary_names(bytes, tmp));
        let left = fs::read_dir(tmp).unwrap().flatten();
        let mut temporary: Vec<_> = left
            .map(|entry| {
                let name = entry.path().into_os_string().into_encoded_bytes();
                String::from_utf8_lossy(&without_temporary_names(name, tmp)).into_owned()
            })
            .collect();
        temporary.sort();
        Outcome {
            status: ran.status,
            stdout,
            stderr,
            files: files(place),
            temporary,
        }
    }

    fn host(&self, (mode, which): Cell) -> String {
        let mut daemons = self.bench.daemons.iter();
        let (_, daemon) = daemons.find(|(whose, _)| *whose == which).unwrap();
        let options = match mode {
            Mode::Plain => "",
            Mode::Lzo => ",lzo",
            Mode::Pump => ",cpp,lzo",
        };
        format!("{}{options}", daemon.host())
    }
}

/// Copies a folder with all that can be told of its files.
fn copy(from: &Path, to: &Path) {
    let mut command = Command::new("cp");
    let copied = command.arg("-a").args([from, to]).status().unwrap();
    assert!(copied.success());
}

/// Copies the tree of sources; `.E` becomes the extension.
fn lay_out(from: &Path, to: &Path, extension: &str) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        let target = match name.strip_suffix(".E") {
            Some(stem) => to.join(format!("{stem}.{extension}")),
            None => to.join(&name),
        };
        if entry.file_type().unwrap().is_dir() {
            lay_out(&entry.path(), &target, extension);
            continue;
        }
        fs::write(&target, fs::read(entry.path()).unwrap()).unwrap();
        let file = fs::File::options().append(true).open(&target).unwrap();
        let date = SystemTime::UNIX_EPOCH + Duration::from_secs(DATE);
        file.set_modified(date).unwrap();
    }
}

/// Outputs with the random letters of temporary files' names made equal: `TMPDIR/cc??????.s`, `TMPDIR/x-??????.o`.
fn without_temporary_names(mut bytes: Vec<u8>, tmp: &Path) -> Vec<u8> {
    let folder = [tmp.as_os_str().as_encoded_bytes(), b"/"].concat();
    let mut from = 0;
    while let Some(at) = find(&bytes[from..], &folder) {
        let begin = from + at + folder.len();
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
        let length = bytes[begin..]
            .iter()
            .take_while(|byte| is_name(byte))
            .count();
        let end = begin + length;
        bytes[end - length.min(6)..end].fill(b'?');
        from = end;
    }
    bytes
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// Where the compiles of a log took place, and the reasons it gives for the lesser way.
fn read_log(log: &str) -> (Fate, String) {
    let (mut fate, mut pumped, mut reasons) = (Fate::Pump, false, Vec::new());
    let mut ended = 0;
    for line in log.lines() {
        if line.contains(" exec on ") {
            pumped = false;
        }
        if line.contains(" files in pump mode") {
            pumped = true;
        }
        let here = ["compiled locally: ", "run locally: "];
        let here = here.iter().find_map(|words| line.split_once(words));
        let why = here.or_else(|| line.split_once("not in pump mode: "));
        reasons.extend(why.map(|(_, why)| why.to_owned()));
        let there = line.contains(" completed ok") && !line.contains(" on localhost");
        if here.is_some() || there {
            ended += 1;
            let went = match (here.is_some(), pumped) {
                (true, _) => Fate::Here,
                (false, true) => Fate::Pump,
                (false, false) => Fate::Text,
            };
            fate = fate.max(went);
        }
    }
    if ended == 0 {
        fate = Fate::Here;
    }
    (fate, reasons.join("; "))
}
