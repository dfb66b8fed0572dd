//! {our client, stock's} × {our daemon, stock's} × {plain, lzo} × {gcc, g++, clang, clang++, Objective-C} over a table
//! of commands: where each compile takes place, and that its result is a local compile's.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{
    files_below, have, in_parallel, run, same_bytes, Client, Daemon, Farm, Peer, Ran, Went, Which,
    BOUND,
};
use distcc::model::lzo;
use distcc::model::lzo_lanes::TEXT_BYTES_MIN;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use Fate::{Local, Remote, Retried};

/// Where a command of the table is to end up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// On the host.
    Remote,
    /// Here, no host was asked.
    Local,
    /// Here, after a host could not do it.
    Retried,
}

/// For which compilers a row holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum For {
    All,
    Gnu,
    PlainC,
}

/// One command with `CC`, `.E` (extension), `LANG`, `PRE` (preprocessed LANG) to be filled in; its fate with stock's
/// client, and with ours.
struct Row(For, &'static str, Fate, Fate);

/// What our daemon refuses and stock's takes, to the harm of the result: stock's client then compiles it here.
const OURS_REFUSES: &[&str] = &["-mcpu=native"];

const fn both(command: &'static str, fate: Fate) -> Row {
    Row(For::All, command, fate, fate)
}

/// The table of what was observed with stock's client, and what ours does.
const ROWS: &[Row] = &[
    both("CC -c hello.E", Remote),
    both("CC -c -S d/hello.E", Remote),
    both("CC -O2 -Wall -c ./d/../x.E -o d/x.o", Remote),
    both("CC -c x.E -od/y.o", Remote),
    Row(For::PlainC, "-c hello.c", Remote, Remote),
    Row(For::PlainC, "hello.c -c", Remote, Remote),
    Row(For::PlainC, "hello.c", Local, Local),
    Row(For::PlainC, "hello.o", Local, Local),
    both("CC -v", Local),
    both("CC -dumpversion", Local),
    both("CC -E x.E", Local),
    both("CC -x LANG -c hello.E", Remote),
    both("CC -x PRE -c pre.E", Remote),
    // Stock looks at the word after the option, also when the language is joined to it.
    Row(For::All, "CC -xLANG -c hello.E", Local, Remote),
    Row(For::All, "CC -c -xLANG hello.E", Local, Remote),
    Row(For::All, "CC -x none -c hello.E", Local, Remote),
    both("CC -x assembler -c hello.E", Local),
    // Only the compiler can say that a value is missing.
    Row(For::All, "CC -c hello.E -x", Retried, Local),
    both("CC -c hello.E -openmp", Remote),
    // Stock takes h2.o for the output, compilers don't.
    Row(For::All, "CC -c hello.E h2.o", Retried, Local),
    both("CC -c hello.E -o a.o b.o", Local),
    both("CC -c a.E b.E", Local),
    // Stock takes values of options for inputs.
    Row(For::All, "CC -include x.E -c a.E", Local, Remote),
    Row(For::All, "CC -D F=x.E -c a.E", Local, Remote),
    both("CC -c a.s", Local),
    both("CC -c a.S", Local),
    both("CC -c -", Local),
    both("CC -c conftest.E", Local),
    both("CC -c d/tmp.conftest.E", Local),
    both("CC -c conftestx.E", Remote),
    both("CC -S x.E -o -", Local),
    Row(For::All, "CC -S x.E -o /dev/null", Remote, Local),
    Row(For::PlainC, "CC -c .E", Local, Local),
    both("CC -flto -c x.E", Local),
    Row(For::Gnu, "CC -flto=4 -c x.E", Remote, Local),
    Row(For::Gnu, "CC -specs=f -c x.E", Local, Local),
    // Stock compiles for the server's processor.
    Row(For::Gnu, "CC -mcpu=native -c x.E", Remote, Local),
    Row(For::All, "CC -march=native -c x.E", Local, Remote),
    // Stock leaves the other files on the server.
    Row(For::All, "CC -save-temps -c x.E", Remote, Local),
    Row(For::All, "CC -gsplit-dwarf -c x.E", Remote, Local),
    both("CC -MMD -MP -MFx.d -MTy -c x.E", Remote),
    // Stock's .d files have another name or target here.
    Row(For::All, "CC -MD -c x.E -o d/z.o", Remote, Remote),
    both("CC -M -c x.E", Local),
    both("CC -Wp,-M -c x.E", Local),
    both("CC -Wa,-adhln=x -c x.E", Local),
    both("CC -Wa,-q,-al -c x.E", Local),
    both("CC -Wa,--MD -c x.E", Local),
    both("CC -Wa,-xarch=v8 -c x.E", Retried),
    both("CC -dr -c x.E", Local),
    both("CC -c bad.E", Retried),
    // Ours looks first whether there is a file to read.
    Row(For::All, "CC -c missing.E", Retried, Local),
];

/// Results of these differ from one local run to the next.
const NEVER_TWICE_THE_SAME: &[&str] = &["-flto", "-Wa,-q,-al"];

/// Stock's objects hold the name of the server's temporary file here, or what the server made is not a local result.
const NEVER_THE_SAME_WITH_STOCK: &[&str] = &["-x LANG", "-x PRE", "-Wp,-M"];

/// A compiler and its language.
#[derive(Clone, Copy, Debug)]
struct Compiler {
    command: &'static str,
    extension: &'static str,
    language: &'static str,
    preprocessed: &'static str,
}

const fn compiler(
    command: &'static str,
    extension: &'static str,
    language: &'static str,
    preprocessed: &'static str,
) -> Compiler {
    Compiler {
        command,
        extension,
        language,
        preprocessed,
    }
}

const COMPILERS: [Compiler; 5] = [
    compiler("gcc", "c", "c", "cpp-output"),
    compiler("g++", "cc", "c++", "c++-cpp-output"),
    compiler("clang", "c", "c", "cpp-output"),
    compiler("clang++", "cc", "c++", "c++-cpp-output"),
    compiler("gcc", "m", "objective-c", "objective-c-cpp-output"),
];

impl Compiler {
    fn gnu(&self) -> bool {
        !self.command.contains("clang")
    }

    fn has(&self, whom: For) -> bool {
        match whom {
            For::All => true,
            For::Gnu => self.gnu(),
            For::PlainC => self.command == "gcc" && self.extension == "c",
        }
    }

    fn fill_in(&self, command: &str) -> Vec<String> {
        command
            .replace("CC", self.command)
            .replace(".E", &format!(".{}", self.extension))
            .replace("LANG", self.language)
            .replace("PRE", self.preprocessed)
            .split(' ')
            .map(str::to_owned)
            .collect()
    }

    /// Puts the sources that the table names into a folder.
    fn write_sources(&self, folder: &Path) {
        fs::create_dir_all(folder.join("d")).unwrap();
        let function = "int FUNCTION(int a) { return a + 3; }\n";
        let hello = "int main(void) { return 0; }\n".to_owned();
        let x = "#define P(a) ((a) + 1)\nint xx(int a) { return P(a); }\n".to_owned();
        for (name, text) in [
            ("hello.E", hello.clone()),
            ("d/hello.E", hello),
            ("x.E", x),
            ("pre.E", "# 1 \"pre.E\"\nint p(void) { return 1; }\n".into()),
            ("a.E", function.replace("FUNCTION", "fa")),
            ("b.E", function.replace("FUNCTION", "fb")),
            ("conftest.E", function.replace("FUNCTION", "ft")),
            ("d/tmp.conftest.E", function.replace("FUNCTION", "fu")),
            ("conftestx.E", function.replace("FUNCTION", "fv")),
            (".E", function.replace("FUNCTION", "fw")),
            ("bad.E", "int f(void) { return nowhere; }\n".into()),
            ("a.s", ".globl s\ns: ret\n".into()),
            ("a.S", "#define R ret\n.globl s\ns: R\n".into()),
            ("f", String::new()),
        ] {
            let name = name.replace(".E", &format!(".{}", self.extension));
            fs::write(folder.join(name), text).unwrap();
        }
    }
}

/// All that a run gave.
struct Result {
    status: i32,
    stdout: String,
    stderr: String,
    files: BTreeMap<String, Vec<u8>>,
}

impl Result {
    /// Takes the run's files away, so that the next run begins where this one did.
    fn of(ran: &Ran, folder: &Path, sources: &BTreeMap<String, Vec<u8>>) -> Result {
        let mut files = files_in(folder);
        files.retain(|name, bytes| sources.get(name) != Some(bytes));
        for name in files.keys() {
            fs::remove_file(folder.join(name)).unwrap();
        }
        Result {
            status: ran.status,
            stdout: ran.stdout.clone(),
            stderr: ran.stderr.clone(),
            files,
        }
    }

    /// In what `other` differs; contents only if they are to be compared.
    fn difference(&self, other: &Result, words: bool, contents: bool) -> Option<String> {
        if self.status != other.status {
            return Some(format!("status {}, not {}", other.status, self.status));
        }
        for (what, here, there) in [
            ("stdout", &self.stdout, &other.stdout),
            ("stderr", &self.stderr, &other.stderr),
        ] {
            if words && here != there {
                return Some(format!("{what} expected:\n{here}\n{what} found:\n{there}"));
            }
        }
        let names = |result: &Result| result.files.keys().cloned().collect::<Vec<_>>();
        if names(self) != names(other) {
            return Some(format!("files {:?}, not {:?}", names(other), names(self)));
        }
        self.files.iter().find_map(|(name, expected)| {
            let different = same_bytes(expected, &other.files[name])?;
            contents.then(|| format!("{name}: {different}"))
        })
    }
}

fn files_in(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    files_below(folder)
        .into_iter()
        .filter(|path| Path::new(path).is_file())
        .map(|path| {
            let name = Path::new(&path).strip_prefix(folder).unwrap();
            (name.to_str().unwrap().to_owned(), fs::read(&path).unwrap())
        })
        .collect()
}

fn fate_of(ran: &Ran, daemon: &Daemon) -> Fate {
    let asked = format!("exec on {}", daemon.host());
    match ran.went() {
        Went::Remote => Remote,
        Went::Local if ran.log.contains(&asked) => Retried,
        Went::Local => Local,
    }
}

struct Bench<'f> {
    farm: &'f Farm,
    daemons: Vec<(Which, Daemon)>,
}

impl Bench<'_> {
    fn try_row(&self, compiler: Compiler, row: &Row, folder: &Path, faults: &mut Vec<String>) {
        let Row(_, command, stock, ours) = row;
        let words = compiler.fill_in(command);
        compiler.write_sources(folder);
        let sources = files_in(folder);
        let local = Result::of(&self.run_local(&words, folder), folder, &sources);
        let same = !NEVER_TWICE_THE_SAME
            .iter()
            .any(|word| command.contains(word));
        let stocks = !NEVER_THE_SAME_WITH_STOCK
            .iter()
            .any(|word| command.contains(word));
        let refused = OURS_REFUSES.iter().any(|word| command.contains(word));
        for (client, expected) in [(Which::Stock, stock), (Which::Ours, ours)] {
            let mut first: Option<Result> = None;
            for (server, daemon) in &self.daemons {
                for lzo in ["", ",lzo"] {
                    let hosts = format!("{}{lzo}", daemon.host());
                    let ran = self.client(client, &hosts, folder).run(&words);
                    let mut fault = |what: String| {
                        faults.push(format!(
                            "{client:?} client, {server:?} daemon{lzo}: {}: {what}\n{ran}",
                            words.join(" ")
                        ));
                    };
                    let fate = fate_of(&ran, daemon);
                    let expected = match (client, server) {
                        (Which::Stock, Which::Ours) if refused => &Retried,
                        _ => expected,
                    };
                    if fate != *expected {
                        fault(format!("{fate:?}, not {expected:?}"));
                    }
                    let result = Result::of(&ran, folder, &sources);
                    let different = match (client, &first) {
                        // The same as here, to the last word.
                        (Which::Ours, _) => local.difference(&result, same, same),
                        // The same whoever serves it.
                        (Which::Stock, Some(first)) if !refused => {
                            first.difference(&result, same, same && stocks)
                        }
                        (Which::Stock, _) => (stocks && local.status != result.status)
                            .then(|| "another status".to_owned()),
                    };
                    if let Some(different) = different {
                        fault(different);
                    }
                    first.get_or_insert(result);
                }
            }
        }
    }

    /// A client without a memory of hosts that failed: stock's never gives up without that memory, so it gets a
    /// folder that is empty each time.
    fn client(&self, which: Which, hosts: &str, folder: &Path) -> Client<'_> {
        let client = self.farm.client(which, hosts).folder(folder);
        if which == Which::Ours {
            return client.env("DISTCC_BACKOFF_PERIOD", "0");
        }
        let top = folder.with_extension("top");
        let _ = fs::remove_dir_all(&top);
        fs::create_dir(&top).unwrap();
        client.env("DISTCC_DIR", top)
    }

    fn run_local(&self, words: &[String], folder: &Path) -> Ran {
        let implicit = words[0].starts_with('-') || words[0].starts_with("hello");
        let mut command = Command::new(if implicit { "cc" } else { &words[0] });
        command.args(&words[usize::from(!implicit)..]);
        self.farm.client(Which::Stock, "").dress(&mut command);
        run(command.current_dir(folder), BOUND)
    }
}

fn matrix(compiler: Compiler) {
    let name = format!("matrix of {} for .{}", compiler.command, compiler.extension);
    if !have(&name, &["distcc", "distccd", compiler.command]) {
        return;
    }
    let farm = Farm::new();
    let bench = Bench {
        farm: &farm,
        daemons: [Which::Stock, Which::Ours]
            .map(|which| (which, farm.daemon(which).start()))
            .into(),
    };
    let rows: Vec<(usize, &Row)> = ROWS
        .iter()
        .enumerate()
        .filter(|(_, row)| compiler.has(row.0))
        .collect();
    let faults = std::sync::Mutex::new(Vec::new());
    in_parallel(&rows, |(number, row)| {
        let mut found = Vec::new();
        let folder = farm.work().join(number.to_string());
        bench.try_row(compiler, row, &folder, &mut found);
        faults.lock().unwrap().extend(found);
    });
    let faults = faults.into_inner().unwrap();
    assert!(
        faults.is_empty(),
        "{} faults\n{}",
        faults.len(),
        faults.join("\n")
    );
    farm.expect_clean("the matrix");
    for (which, daemon) in &bench.daemons {
        let left = match which {
            Which::Ours => daemon.leftovers(),
            // Stock leaves what its compilers make beside the object.
            Which::Stock => Vec::new(),
        };
        assert_eq!(left, [""; 0]);
    }
}

#[test]
fn gcc() {
    matrix(COMPILERS[0]);
}

#[test]
fn gxx() {
    matrix(COMPILERS[1]);
}

#[test]
fn clang() {
    matrix(COMPILERS[2]);
}

#[test]
fn clangxx() {
    matrix(COMPILERS[3]);
}

#[test]
fn objective_c() {
    matrix(COMPILERS[4]);
}

/// C++ that is quick to compile and long: declarations that are much alike, words without a pattern, short ones and long
/// ones, and bodies.
fn long_source() -> String {
    let mut seed = 7u64;
    let mut letters = |count: usize| -> String {
        let letter = |_| {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            char::from(b'a' + (seed >> 60) as u8)
        };
        (0..count).map(letter).collect()
    };
    let mut text = String::new();
    for number in 0..4500 {
        let word = letters(number % 23);
        text += &format!(
            "extern int read_{number}_{word}(const char *, unsigned long);\n\
             template <class T> struct kind_{number} {{ T {word}_; int count; kind_{number} *next; }};\n"
        );
        if number % 50 == 0 {
            text += &format!(
                "extern const char text_{number}[] = \"{}\";\n\
                 int call_{number}(kind_{number}<long> *k) {{ return read_{number}_{word}(text_{number}, k->count); }}\n",
                letters(7 * number % 1500)
            );
        }
    }
    text
}

/// From so many bytes on our client makes streams that are not the library's, which stock's daemon expands.
#[test]
fn stocks_daemon_expands_what_is_compressed_in_lanes() {
    if !have("long texts", &["distccd", "g++"]) {
        return;
    }
    let farm = Farm::new();
    farm.write("long.cc", &long_source());
    farm.local(&["g++", "-O1", "-c", "long.cc", "-o", "local.o"])
        .expect(0);
    let daemon = farm.daemon(Which::Stock).start();
    let relay = Peer::relay(daemon.port);
    let client = farm.client(Which::Ours, &format!("{},lzo", relay.host()));
    let ran = client.run(&["g++", "-O1", "-c", "long.cc"]).expect(0);
    assert_eq!(ran.went(), Went::Remote, "{ran}");
    common::wait_for("the job in the log", BOUND, || daemon.compiled() == 1);
    let [local, made] = ["local.o", "long.o"].map(|name| fs::read(farm.work().join(name)).unwrap());
    assert_eq!(same_bytes(&local, &made), None, "{ran}");
    let request = relay.recorded().request;
    let start = request.windows(4).position(|four| four == b"DOTI");
    let stream = &request[start.unwrap() + "DOTI00000000".len()..];
    let text = lzo::expand(stream, 1 << 24).unwrap();
    assert!(text.len() >= TEXT_BYTES_MIN, "{} bytes", text.len());
    assert_ne!(lzo::compress(&text).unwrap(), stream, "the library's");
}
