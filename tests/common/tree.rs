//! Real projects, as Debian has them, built without distcc and with it, always at the same place: what is compared, and
//! how the builds are called.

use super::twice::IN_PUMP_MODE;
use super::{files_below, have, run, same_bytes, skip, Client, Daemon, Farm, Which};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How long a build, or fetching a tree, may take on a machine that is busy with other things; and if all is built.
const BUILD_BOUND: Duration = Duration::from_secs(1200);
const WHOLE_BOUND: Duration = Duration::from_secs(3600);

/// How the build calls the compiler.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Call {
    /// Without distcc: what all others are compared with.
    Native,
    /// `distcc gcc …`.
    Explicit,
    /// `gcc …`, which is a link to distcc, first on PATH.
    Masquerade,
    /// As `Explicit`, below `pump`, with hosts that preprocess.
    PumpExplicit,
    /// As `Masquerade`, below `pump`, with hosts that preprocess.
    PumpMasquerade,
}

impl Call {
    /// Is it below `pump`?
    pub fn pumps(self) -> bool {
        matches!(self, Call::PumpExplicit | Call::PumpMasquerade)
    }
}

/// How to configure a tree, which tries compiles that are to fail, and how to build it. The commands run in a shell,
/// in the tree, with CC, CXX, LAUNCH (`distcc ` or nothing) and FLAGS set.
pub struct Tree {
    /// Debian's source package.
    pub package: &'static str,
    /// Programs that the build takes.
    pub needs: &'static [&'static str],
    /// Never below `pump`.
    pub configure: &'static str,
    /// The build itself.
    pub build: &'static str,
}

pub const LUA: Tree = Tree {
    package: "lua5.4",
    needs: &["make", "gcc"],
    configure: "",
    build: r#"make -j4 -C src linux CC="$LAUNCH$CC -std=gnu99" MYCFLAGS="$FLAGS""#,
};

pub const ZLIB: Tree = Tree {
    package: "zlib",
    needs: &["make", "gcc"],
    configure: r#"CC="$LAUNCH$CC" CFLAGS="-O3 $FLAGS" ./configure && rm -f ztest*"#,
    build: "make -j4",
};

pub const PUGIXML: Tree = Tree {
    package: "pugixml",
    needs: &["make", "cmake", "g++"],
    configure: r#"cmake -S . -B build -DPUGIXML_BUILD_TESTS=ON -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS="$FLAGS" \
        -DCMAKE_CXX_COMPILER="$CXX" -DCMAKE_CXX_COMPILER_LAUNCHER="${LAUNCH% }""#,
    build: "make -j4 -C build",
};

/// A part of git's objects (all with DISTCC_TESTS_WHOLE=1), among them those that need headers which the build generates.
pub const GIT: Tree = Tree {
    package: "git",
    needs: &["make", "gcc"],
    configure: "",
    build: r#"if [ "$WHOLE" ]; then set -- objects
        else set -- help.o version.o git.o builtin/bugreport.o hook.o builtin/add.o builtin/am.o builtin/apply.o apply.o archive.o \
            attr.o bisect.o blame.o branch.o bundle.o cache-tree.o commit.o config.o convert.o date.o diff.o dir.o fetch-pack.o \
            grep.o refs.o revision.o sha1dc/sha1.o xdiff/xdiffi.o reftable/basics.o
        fi
        make -j4 CC="$LAUNCH$CC" CFLAGS="$FLAGS" NO_CURL=1 NO_EXPAT=1 NO_GETTEXT=1 NO_TCLTK=1 NO_PERL=1 NO_PYTHON=1 \
            NO_OPENSSL=1 COMPUTE_HEADER_DEPENDENCIES=yes "$@""#,
};

/// C++17 on Boost.Asio, with includes that macros build.
pub const LIBTORRENT: Tree = Tree {
    package: "libtorrent-rasterbar",
    needs: &["make", "cmake", "g++"],
    configure: r#"cmake -S . -B build -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS="$FLAGS" -Dencryption=OFF \
        -DCMAKE_CXX_COMPILER="$CXX" -DCMAKE_CXX_COMPILER_LAUNCHER="${LAUNCH% }""#,
    build: r#"if [ "$WHOLE" ]; then set -- torrent-rasterbar
        else set -- src/alert.o src/http_connection.o src/udp_socket.o src/escape_string.o
        fi
        make -j4 -C build "$@""#,
};

/// All results of a build by their path in the tree: objects and dependency files.
pub type Results = BTreeMap<String, Vec<u8>>;

/// A build as it was done.
pub struct Built {
    /// Objects and dependency files.
    pub results: Results,
    /// What the clients logged.
    pub log: String,
    /// What the build printed.
    pub said: String,
}

/// A farm with two daemons, one of which is spoken to in compressed form in plain mode.
pub struct Yard {
    pub farm: Farm,
    pub daemons: [Daemon; 2],
    source: PathBuf,
    place: PathBuf,
}

impl Yard {
    /// `None` if the tree or a program is not to be had here.
    pub fn new(tree: &Tree) -> Option<Yard> {
        let test = format!("the tree {}", tree.package);
        if !have(&test, tree.needs) {
            return None;
        }
        let Some(source) = fetch(tree.package) else {
            skip(&test, "its source can't be fetched with apt-get source");
            return None;
        };
        let farm = Farm::new();
        let daemons = [(); 2].map(|()| farm.daemon(Which::Ours).jobs(4).start());
        Some(Yard {
            place: farm.work().join("tree"),
            farm,
            daemons,
            source,
        })
    }

    /// Builds elsewhere below the work folder.
    pub fn at(mut self, name: &str) -> Yard {
        self.place = self.farm.work().join(name);
        self
    }

    /// Builds in a folder that a link leads to, and that is called by the link's name.
    pub fn behind_link(self, name: &str, real: &str) -> Yard {
        fs::create_dir_all(self.farm.work().join(real)).unwrap();
        symlink(real, self.farm.work().join(name)).unwrap();
        self.at(&format!("{name}/tree"))
    }

    /// Builds without distcc and with it, and compares.
    pub fn compare(&self, tree: &Tree, cc: &str, flags: &str, calls: &[Call], percent_min: usize) {
        let expected = self.build(tree, cc, flags, Call::Native).results;
        assert!(!expected.is_empty(), "{}: no objects", tree.package);
        for call in calls {
            let name = format!("{} with {cc} {flags}, {call:?}", tree.package);
            let built = self.build(tree, cc, flags, *call);
            let faults = differences(&expected, &built.results);
            assert!(faults.is_empty(), "{name}:\n{}", faults.join("\n"));
            let (remote, local) = compiles(&built.log, call.pumps());
            let percent = 100 * remote / (remote + local.len()).max(1);
            println!(
                "{name}: {} results, {remote} compiles remote, {} otherwise",
                expected.len(),
                local.len()
            );
            assert!(
                percent >= percent_min,
                "{name}: {remote} remote, {} otherwise:\n{}",
                local.len(),
                whole_stories(&built.log, &local)
            );
            self.farm.expect_clean(&name);
        }
    }

    /// One build in a fresh copy of the tree, always at the same path.
    pub fn build(&self, tree: &Tree, cc: &str, flags: &str, call: Call) -> Built {
        let _ = fs::remove_dir_all(&self.place);
        copy(&self.source, &self.place);
        let cxx = cc.replace("gcc", "g++").replace("clang", "clang++");
        let client = self.client(call, cc, &cxx).folder(&self.place);
        let (cc, launch) = match call {
            Call::Explicit | Call::PumpExplicit => (cc, "distcc "),
            Call::Native | Call::Masquerade | Call::PumpMasquerade => (cc, ""),
        };
        let shell = |commands: &str, pump: bool| {
            let mut command = match pump {
                true => Command::new(super::OURS),
                false => Command::new("/bin/sh"),
            };
            if pump {
                command.args(["pump", "/bin/sh"]);
            }
            let log = client.dress(command.args(["-ec", commands]));
            command
                .env("CC", cc)
                .env("CXX", &cxx)
                .env("LAUNCH", launch)
                .env("FLAGS", flags)
                .env("WHOLE", whole())
                .env("PWD", &self.place);
            (run(&mut command, bound()).expect(0), log)
        };
        shell(tree.configure, false);
        let (ran, log) = shell(tree.build, call.pumps());
        Built {
            results: results_below(&self.place),
            log: fs::read_to_string(log).unwrap_or_default(),
            said: ran.to_string(),
        }
    }

    fn client(&self, call: Call, cc: &str, cxx: &str) -> Client<'_> {
        let [one, two] = &self.daemons;
        let hosts = match call.pumps() {
            true => format!("{}/3,cpp,lzo {}/3,cpp,lzo", one.host(), two.host()),
            false => format!("{}/3 {}/3,lzo", one.host(), two.host()),
        };
        let client = self.farm.client(Which::Ours, &hosts);
        let names = match call {
            Call::Native => return client,
            Call::Explicit | Call::PumpExplicit => vec!["distcc"],
            Call::Masquerade | Call::PumpMasquerade => vec![cc, cxx],
        };
        let links = self.farm.masquerade(Which::Ours, &names);
        client.env("PATH", format!("{}:/usr/bin:/bin", links.display()))
    }
}

/// What DISTCC_TESTS_WHOLE says: if it says anything, all of each tree is built.
pub fn whole() -> OsString {
    std::env::var_os("DISTCC_TESTS_WHOLE").unwrap_or_default()
}

/// How long a build, or fetching a tree, may take.
pub fn bound() -> Duration {
    match whole().is_empty() {
        true => BUILD_BOUND,
        false => WHOLE_BOUND,
    }
}

/// Copies a folder.
pub fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-r").args([from, to]).status();
    assert!(copied.is_ok_and(|status| status.success()), "copy {from:?}");
}

/// The tree's folder, fetched once for all test runs.
pub fn fetch(package: &str) -> Option<PathBuf> {
    let trees = Path::new(env!("CARGO_TARGET_TMPDIR")).join("trees");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fetch-trees");
    let ran = run(Command::new(script).arg(&trees).arg(package), bound());
    if ran.status != 0 {
        eprintln!("{ran}");
        return None;
    }
    Some(trees.join(package))
}

fn results_below(folder: &Path) -> Results {
    files_below(folder)
        .into_iter()
        .filter(|path| [".o", ".lo", ".d"].iter().any(|end| path.ends_with(end)))
        .filter(|path| Path::new(path).is_file())
        .map(|path| {
            let name = Path::new(&path).strip_prefix(folder).unwrap();
            (name.to_str().unwrap().to_owned(), fs::read(&path).unwrap())
        })
        .collect()
}

fn differences(expected: &Results, found: &Results) -> Vec<String> {
    let mut faults: Vec<String> = expected
        .iter()
        .filter_map(|(name, bytes)| match found.get(name) {
            None => Some(format!("{name} is missing")),
            Some(other) => Some(format!("{name}: {}", same_bytes(bytes, other)?)),
        })
        .collect();
    let more = found.keys().filter(|name| !expected.contains_key(*name));
    faults.extend(more.map(|name| format!("{name} is too many")));
    faults
}

/// From the clients' log: how many compiles only daemons did (if `pumped`: in pump mode), and the commands of those that
/// were done otherwise, be it for the second time.
pub fn compiles(log: &str, pumped: bool) -> (usize, Vec<&str>) {
    let mut jobs: BTreeMap<&str, (Option<&str>, bool)> = BTreeMap::new();
    for line in log.lines() {
        let Some((process, rest)) = line.split_once(' ') else {
            continue;
        };
        if rest.contains(IN_PUMP_MODE) {
            jobs.entry(process).or_default().1 = true;
        }
        let Some((_, rest)) = line.split_once(" exec on ") else {
            continue;
        };
        if rest.split(' ').any(|word| word == "-c") {
            let job = jobs.entry(process).or_default();
            if rest.starts_with("localhost: ") || job.0.is_none() {
                job.0 = Some(line);
            }
        }
    }
    let otherwise: Vec<&str> = jobs
        .values()
        .filter_map(|(line, sent)| line.filter(|line| is_local(line) || pumped && !sent))
        .collect();
    (jobs.len() - otherwise.len(), otherwise)
}

/// All that the processes of these lines logged.
fn whole_stories(log: &str, lines: &[&str]) -> String {
    let process = |line: &&str| line.split(' ').next().unwrap_or_default().to_owned();
    let wanted: Vec<String> = lines.iter().map(process).collect();
    let told = log.lines().filter(|line| wanted.contains(&process(line)));
    told.collect::<Vec<_>>().join("\n")
}

fn is_local(line: &str) -> bool {
    line.contains(" exec on localhost: ")
}
