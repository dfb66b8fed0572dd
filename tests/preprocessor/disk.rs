//! The engine on this machine's disk, beside the compilers' own account of what they opened.

use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex};

use distcc::model::compiler_options::Role;
use distcc::model::dialect::Dialect;
use distcc::model::family::{family, Family};
use distcc::model::invocation::{scan, Invocation, Scan as Fate};
use distcc::model::option_table;
use distcc::model::predefined::Compiler;
use distcc::model::preprocessor::{closure, Budget, Closure, Opened, Punt, Unit, World};
use distcc::model::search::{self, SearchDir, Surroundings};
use distcc::model::source_scan::Scan;

/// A compile: where, and the command, which ends in `-c SOURCE` or has it somewhere.
#[derive(Clone, Debug)]
pub struct Job {
    /// Working directory.
    pub cwd: PathBuf,
    /// The command.
    pub argv: Vec<OsString>,
}

/// What came of a comparison.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The engine names exactly what the compiler names.
    Same(usize),
    /// The engine leaves the unit alone.
    Punted(String),
    /// The unit does not compile, and the engine gave it up, too.
    BothFail(String, String),
    /// The unit does not compile, and the engine did not notice.
    FailsUnnoticed(String),
    /// They differ.
    Differs(String),
}

impl Job {
    /// From words without blanks.
    pub fn new(cwd: &Path, command: &str) -> Job {
        Job {
            cwd: cwd.to_path_buf(),
            argv: command
                .split(' ')
                .filter(|word| !word.is_empty())
                .map(OsString::from)
                .collect(),
        }
    }
}

/// The files of this machine as the engine asks for them.
pub struct Disk {
    cwd: PathBuf,
    dialect: Dialect,
    asks: Vec<OsString>,
    scans: HashMap<PathBuf, Option<Opened>>,
    numbers: HashMap<(u64, u64), u32>,
}

type Answers = HashMap<(Vec<OsString>, Vec<u8>, Vec<u8>), Option<i64>>;
static ANSWERS: LazyLock<Mutex<Answers>> = LazyLock::new(Mutex::default);
type Outputs = HashMap<(PathBuf, Vec<OsString>), Vec<u8>>;
static OUTPUTS: LazyLock<Mutex<Outputs>> = LazyLock::new(Mutex::default);

fn path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

impl World for Disk {
    fn open(&mut self, name: &[u8]) -> Option<Opened> {
        let full = self.cwd.join(path(name));
        if let Some(known) = self.scans.get(&full) {
            return known.clone();
        }
        let opened = self.read(&full);
        self.scans.insert(full, opened.clone());
        opened
    }

    fn ask(&mut self, operator: &[u8], operand: &[u8]) -> Option<i64> {
        let key = (self.asks.clone(), operator.to_vec(), operand.to_vec());
        if let Some(known) = ANSWERS.lock().unwrap().get(&key) {
            return *known;
        }
        let answer = ask(&self.asks, operator, operand);
        ANSWERS.lock().unwrap().insert(key, answer);
        answer
    }

    fn folder(&mut self, name: &[u8]) -> Option<u64> {
        let about = fs::metadata(self.cwd.join(path(name))).ok()?;
        about.is_dir().then(|| about.ino() ^ about.dev() << 48)
    }

    fn shorter(&mut self, name: &[u8]) -> Option<Vec<u8>> {
        let real = fs::canonicalize(self.cwd.join(path(name))).ok()?;
        let real = real.into_os_string().into_vec();
        (real.len() < name.len()).then_some(real)
    }
}

impl Disk {
    fn read(&mut self, full: &Path) -> Option<Opened> {
        let about = fs::metadata(full).ok()?;
        if !about.is_file() {
            return None;
        }
        let content = fs::read(full).ok()?;
        let next = u32::try_from(self.numbers.len()).unwrap();
        let file = *self
            .numbers
            .entry((about.dev(), about.ino()))
            .or_insert(next);
        let mut hasher = DefaultHasher::new();
        (about.len(), about.mtime(), &content).hash(&mut hasher);
        Some(Opened {
            file,
            scan: Arc::new(Scan::new(&content, self.dialect)),
            twin: hasher.finish(),
        })
    }
}

/// Asks the compiler for the value of an operator, bit by bit.
fn ask(command: &[OsString], operator: &[u8], operand: &[u8]) -> Option<i64> {
    let (operator, operand) = (
        String::from_utf8_lossy(operator).into_owned(),
        String::from_utf8_lossy(operand).into_owned(),
    );
    let mut text = String::new();
    if operator == "defined" {
        text = format!("#ifdef {operand}\n1\n#else\n0\n#endif\n");
    } else {
        for bit in (0..32).rev() {
            text += &format!("#if ({operator}({operand}) >> {bit}) & 1\n1\n#else\n0\n#endif\n");
        }
    }
    let mut child = Command::new(&command[0])
        .args(&command[1..])
        .args(["-E", "-P", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    child.stdin.take()?.write_all(text.as_bytes()).ok()?;
    let output = child.wait_with_output().ok()?;
    if !output.status.success() {
        return None;
    }
    let bits = String::from_utf8_lossy(&output.stdout);
    let bits: String = bits.chars().filter(|c| matches!(c, '0' | '1')).collect();
    i64::from_str_radix(&bits, 2).ok()
}

/// The compiler with the words that matter to what it says of itself.
fn asking(invocation: &Invocation) -> Vec<OsString> {
    const FOLDERS: [&str; 12] = [
        "-I",
        "-iquote",
        "-isystem",
        "-idirafter",
        "-F",
        "-iframework",
        "-include",
        "-imacros",
        "-iwithprefix",
        "-iwithprefixbefore",
        "-iwithsysroot",
        "-cxx-isystem",
    ];
    let mut words = vec![invocation.argv[0].clone()];
    let mut rest = invocation.argv.iter().zip(&invocation.roles).skip(1);
    while let Some((word, role)) = rest.next() {
        let found = option_table::find(word.as_bytes());
        let takes = found.is_some_and(|found| found.takes_next && *role != Role::Input);
        let value = takes.then(|| rest.next()).flatten();
        let name = found.map_or("", |found| found.row.name);
        if matches!(role, Role::Code | Role::Include) && !FOLDERS.contains(&name) {
            words.push(word.clone());
            words.extend(value.map(|(value, _)| value.clone()));
        }
    }
    words.extend([
        OsString::from("-x"),
        invocation.language.option_value().into(),
    ]);
    words
}

fn said(cwd: &Path, words: &[OsString], more: &[&str]) -> Vec<u8> {
    let mut all = words.to_vec();
    all.extend(more.iter().map(OsString::from));
    // Where it is asked matters only where a folder is named relative to that.
    let names_folder = |word: &OsString| {
        let word = word.to_string_lossy();
        word.contains("sysroot") || word.starts_with("-iprefix")
    };
    let cwd = match all.iter().any(names_folder) {
        true => cwd,
        false => Path::new("/"),
    };
    let key = (cwd.to_path_buf(), all.clone());
    if let Some(known) = OUTPUTS.lock().unwrap().get(&key) {
        return known.clone();
    }
    let output = Command::new(&all[0])
        .args(&all[1..])
        .current_dir(cwd)
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    let text = if more.contains(&"-v") {
        output.stderr
    } else {
        output.stdout
    };
    OUTPUTS.lock().unwrap().insert(key, text.clone());
    text
}

/// The folders in what `-v` prints: those for quotes, and those for angles.
pub fn listed_folders(text: &[u8]) -> (Vec<SearchDir>, Vec<SearchDir>) {
    let (mut quote, mut angle) = (Vec::new(), Vec::new());
    let mut state = 0;
    for line in text.split(|byte| *byte == b'\n') {
        match line {
            b"#include \"...\" search starts here:" => state = 1,
            b"#include <...> search starts here:" => state = 2,
            b"End of search list." => state = 0,
            _ if state > 0 => {
                let name = line.strip_prefix(b" ").unwrap_or(line);
                let (name, framework) = match name.strip_suffix(b" (framework directory)") {
                    Some(name) => (name, true),
                    None => (name, false),
                };
                let dir = SearchDir {
                    path: name.to_vec(),
                    system: true,
                    framework,
                };
                if state == 1 { &mut quote } else { &mut angle }.push(dir);
            }
            _ => {}
        }
    }
    (quote, angle)
}

/// What is needed of a command to walk its unit.
pub struct Prepared {
    /// Where it runs.
    pub cwd: PathBuf,
    invocation: Invocation,
    compiler: Compiler,
    words: Vec<search::Word>,
    /// The search path.
    pub search: search::SearchPath,
    /// The files.
    pub disk: Disk,
}

fn invocation(job: &Job) -> Result<Invocation, Punt> {
    match scan(&job.argv, &|file| fs::read(job.cwd.join(file)).ok()) {
        Fate::Distributable(invocation) => Ok(invocation),
        Fate::Local(local) => Err(Punt::new(local.reason.to_string())),
    }
}

/// Asks all that has to be asked before a walk.
pub fn prepare(job: &Job) -> Result<Prepared, Punt> {
    let invocation = invocation(job)?;
    let kin = family(Path::new(&invocation.argv[0])).unwrap();
    let asks = asking(&invocation);
    let trigraphs = search::trigraphs(asks.iter().map(|word| word.as_bytes()));
    let macros = said(&job.cwd, &asks, &["-E", "-dD", "/dev/null"]);
    let compiler = Compiler::read(kin, &macros, trigraphs)?;
    let folders = said(&job.cwd, &asks, &["-E", "-v", "/dev/null"]);
    let surroundings = Surroundings {
        defaults: &listed_folders(&folders).1,
        ..Surroundings::default()
    };
    let cwd = job.cwd.clone();
    let mut identify = |name: &[u8]| {
        let about = fs::metadata(cwd.join(path(name))).ok()?;
        about.is_dir().then(|| (about.dev(), about.ino()))
    };
    let search = search::search_path(&invocation, kin, &surroundings, &mut identify)?;
    Ok(Prepared {
        cwd: job.cwd.clone(),
        words: search::words(&invocation)?,
        disk: Disk {
            cwd: job.cwd.clone(),
            dialect: compiler.dialect,
            asks,
            scans: HashMap::new(),
            numbers: HashMap::new(),
        },
        invocation,
        compiler,
        search,
    })
}

impl Prepared {
    /// Walks the unit.
    pub fn walk(&mut self) -> Result<Closure, Punt> {
        self.with(|unit, disk| closure(unit, disk, Budget::default()))
    }

    /// Does something with the unit and the files.
    pub fn with<T>(&mut self, work: impl FnOnce(&Unit<'_>, &mut Disk) -> T) -> T {
        let unit = Unit {
            compiler: &self.compiler,
            words: &self.words,
            search: &self.search,
            source: self.invocation.input.as_os_str().as_bytes(),
            maps_names: search::maps_names(&self.invocation),
        };
        work(&unit, &mut self.disk)
    }

    /// The compiler's kin.
    pub fn family(&self) -> Family {
        self.compiler.family
    }
}

/// What the compiler names as opened; Err if it fails, with its messages.
pub fn named(job: &Job, compiles: bool) -> Result<Vec<Vec<u8>>, String> {
    let listed = job.cwd.join("listed.d");
    let words: &[&str] = match compiles {
        true => &["-fsyntax-only", "-MD", "-MF", "listed.d"],
        false => &["-M"],
    };
    let invocation = invocation(job).map_err(|punt| punt.to_string())?;
    let kept = invocation.argv.iter().zip(&invocation.roles).skip(1);
    let kept =
        kept.filter(|(_, role)| !matches!(role, Role::Output | Role::Step | Role::Dependency));
    let output = Command::new(&invocation.argv[0])
        .args(kept.map(|(word, _)| word))
        .args(words)
        .args(["-MT", "x", "-w"])
        .current_dir(&job.cwd)
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    match output.status.success() {
        true if compiles => Ok(rule(&fs::read(&listed).unwrap())),
        true => Ok(rule(&output.stdout)),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// The names in a rule for make.
fn rule(text: &[u8]) -> Vec<Vec<u8>> {
    let text = text.strip_prefix(b"x:").unwrap_or(text);
    let (mut names, mut name) = (Vec::new(), Vec::new());
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match (byte, bytes.peek()) {
            (b'\\', Some(b'\n')) | (b' ' | b'\n', _) => {
                if !name.is_empty() {
                    names.push(std::mem::take(&mut name));
                }
                if byte == b'\\' {
                    bytes.next();
                }
            }
            (b'\\', Some(b' ' | b'#' | b':')) | (b'$', Some(b'$')) => name.extend(bytes.next()),
            _ => name.push(byte),
        }
    }
    names.extend((!name.is_empty()).then_some(name));
    names
}

/// Both print names without `./` at the start.
fn plain(name: &[u8]) -> Vec<u8> {
    let mut name = name;
    while let Some(rest) = name.strip_prefix(b"./") {
        let slashes = rest.iter().take_while(|byte| **byte == b'/').count();
        name = &rest[slashes..];
    }
    name.to_vec()
}

/// Compares the engine with the compiler.
pub fn compare(job: &Job) -> Verdict {
    compare_with(job, false)
}

/// The same; the compiler names what it opens while it compiles.
pub fn compare_with(job: &Job, compiles: bool) -> Verdict {
    let names = named(job, compiles);
    let walked = prepare(job).and_then(|mut prepared| {
        let closure = prepared.walk()?;
        Ok((closure, prepared.family()))
    });
    match (names, walked) {
        (Ok(_), Err(punt)) => Verdict::Punted(punt.to_string()),
        (Err(why), Err(punt)) => Verdict::BothFail(why, punt.to_string()),
        (Err(why), Ok(_)) => Verdict::FailsUnnoticed(why),
        (Ok(names), Ok((closure, family))) => differences(&names, &closure, family),
    }
}

fn differences(names: &[Vec<u8>], closure: &Closure, family: Family) -> Verdict {
    let theirs: BTreeSet<Vec<u8>> = names.iter().map(|name| plain(name)).collect();
    let files = closure.files.iter();
    let ours: BTreeSet<Vec<u8>> = files.clone().map(|file| plain(&file.path)).collect();
    let probes: BTreeSet<Vec<u8>> = closure
        .probes
        .iter()
        .map(|file| plain(&file.path))
        .collect();
    let mut faults = Vec::new();
    for name in theirs.difference(&ours) {
        // clang names what __has_include finds, too.
        if family != Family::Clang || !probes.contains(name) {
            faults.push(format!("lacks {}", String::from_utf8_lossy(name)));
        }
    }
    for name in ours.difference(&theirs) {
        // clang names a file that it reads again under another name by the first one only.
        let again = family == Family::Clang && read_before(closure, name);
        if !again {
            faults.push(format!("has too much {}", String::from_utf8_lossy(name)));
        }
    }
    match faults.is_empty() {
        true => Verdict::Same(theirs.len()),
        false => Verdict::Differs(faults.join(", ")),
    }
}

fn read_before(closure: &Closure, name: &[u8]) -> bool {
    let at = closure
        .files
        .iter()
        .position(|file| plain(&file.path) == name);
    at.is_some_and(|at| {
        let file = closure.files[at].file;
        let probed = closure.probes.iter().any(|probe| probe.file == file);
        probed || closure.files[..at].iter().any(|other| other.file == file)
    })
}

/// Writes a file and the folders above it.
pub fn write(root: &Path, name: &str, content: impl AsRef<[u8]>) {
    let full = root.join(name);
    fs::create_dir_all(full.parent().unwrap()).unwrap();
    fs::write(full, content).unwrap();
}

/// A word of any bytes.
pub fn word(bytes: &[u8]) -> OsString {
    OsString::from_vec(bytes.to_vec())
}
