//! Real projects, as Debian has them, built by our client on two of our daemons: every object is the one that a build
//! without distcc gives in the same place, and nearly all of them come from the daemons.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{files_below, have, run, same_bytes, skip, Client, Daemon, Farm, Which};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How long a build, or fetching a tree, may take on a machine that is busy with other things.
const BUILD_BOUND: Duration = Duration::from_secs(1200);

/// The share of compiles that must have been done by the daemons.
const REMOTE_PERCENT_MIN: usize = 95;

/// How the build calls the compiler.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Call {
    /// Without distcc: what all others are compared with.
    Native,
    /// `distcc gcc …`.
    Explicit,
    /// `gcc …`, which is a link to distcc, first on PATH.
    Masquerade,
}

/// How to configure a tree, which tries compiles that are to fail, and how to build it. The commands run in a shell,
/// in the tree, with CC, CXX, LAUNCH (`distcc ` or nothing) and FLAGS set.
struct Tree {
    package: &'static str,
    needs: &'static [&'static str],
    configure: &'static str,
    build: &'static str,
}

const LUA: Tree = Tree {
    package: "lua5.4",
    needs: &["make", "gcc"],
    configure: "",
    build: r#"make -j4 -C src linux CC="$LAUNCH$CC -std=gnu99" MYCFLAGS="$FLAGS""#,
};

const ZLIB: Tree = Tree {
    package: "zlib",
    needs: &["make", "gcc"],
    configure: r#"CC="$LAUNCH$CC" CFLAGS="-O3 $FLAGS" ./configure"#,
    build: "make -j4",
};

const PUGIXML: Tree = Tree {
    package: "pugixml",
    needs: &["make", "cmake", "g++"],
    configure: r#"cmake -S . -B build -DPUGIXML_BUILD_TESTS=ON -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS="$FLAGS" \
        -DCMAKE_CXX_COMPILER="$CXX" -DCMAKE_CXX_COMPILER_LAUNCHER="${LAUNCH% }""#,
    build: "make -j4 -C build",
};

/// All objects of a build by their path in the tree.
type Objects = BTreeMap<String, Vec<u8>>;

/// A farm with two daemons, one of which is spoken to in compressed form.
struct Yard {
    farm: Farm,
    daemons: [Daemon; 2],
    source: PathBuf,
}

impl Yard {
    /// `None` if the tree or a program is not to be had here.
    fn new(tree: &Tree) -> Option<Yard> {
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
            farm,
            daemons,
            source,
        })
    }

    /// Builds without distcc and with it, and compares.
    fn compare(&self, tree: &Tree, cc: &str, flags: &str, calls: &[Call], percent_min: usize) {
        let expected = self.build(tree, cc, flags, Call::Native).0;
        assert!(!expected.is_empty(), "{}: no objects", tree.package);
        for call in calls {
            let name = format!("{} with {cc} {flags}, {call:?}", tree.package);
            let (objects, log) = self.build(tree, cc, flags, *call);
            let faults = differences(&expected, &objects);
            assert!(faults.is_empty(), "{name}:\n{}", faults.join("\n"));
            let (remote, local) = compiles(&log);
            let percent = 100 * remote / (remote + local.len()).max(1);
            println!(
                "{name}: {} objects, {remote} compiles remote, {} local",
                objects.len(),
                local.len()
            );
            assert!(
                percent >= percent_min,
                "{name}: {remote} remote, {} local:\n{}",
                local.len(),
                local.join("\n")
            );
            self.farm.expect_clean(&name);
        }
    }

    /// One build in a fresh copy of the tree, always at the same path; returns the objects and the clients' log.
    fn build(&self, tree: &Tree, cc: &str, flags: &str, call: Call) -> (Objects, String) {
        let place = self.farm.work().join("tree");
        let _ = fs::remove_dir_all(&place);
        let copied = Command::new("cp")
            .arg("-r")
            .args([&self.source, &place])
            .status();
        assert!(copied.is_ok_and(|status| status.success()), "copy the tree");
        let cxx = cc.replace("gcc", "g++").replace("clang", "clang++");
        let client = self.client(call, cc, &cxx).folder(&place);
        let (cc, launch) = match call {
            Call::Explicit => (cc, "distcc "),
            Call::Native | Call::Masquerade => (cc, ""),
        };
        let shell = |commands: &str| {
            let mut command = Command::new("/bin/sh");
            let log = client.dress(command.args(["-ec", commands]));
            command
                .env("CC", cc)
                .env("CXX", &cxx)
                .env("LAUNCH", launch)
                .env("FLAGS", flags);
            run(&mut command, BUILD_BOUND).expect(0);
            log
        };
        shell(tree.configure);
        let log = shell(tree.build);
        let objects = objects_below(&place);
        (objects, fs::read_to_string(log).unwrap_or_default())
    }

    fn client(&self, call: Call, cc: &str, cxx: &str) -> Client<'_> {
        let [one, two] = &self.daemons;
        let hosts = format!("{}/3 {}/3,lzo", one.host(), two.host());
        let client = self.farm.client(Which::Ours, &hosts);
        let names = match call {
            Call::Native => return client,
            Call::Explicit => vec!["distcc"],
            Call::Masquerade => vec![cc, cxx],
        };
        let links = self.farm.masquerade(Which::Ours, &names);
        client.env("PATH", format!("{}:/usr/bin:/bin", links.display()))
    }
}

/// The tree's folder, fetched once for all test runs.
fn fetch(package: &str) -> Option<PathBuf> {
    let trees = Path::new(env!("CARGO_TARGET_TMPDIR")).join("trees");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fetch-trees");
    let ran = run(Command::new(script).arg(&trees).arg(package), BUILD_BOUND);
    if ran.status != 0 {
        eprintln!("{ran}");
        return None;
    }
    Some(trees.join(package))
}

fn objects_below(folder: &Path) -> Objects {
    files_below(folder)
        .into_iter()
        .filter(|path| path.ends_with(".o") || path.ends_with(".lo"))
        .map(|path| {
            let name = Path::new(&path).strip_prefix(folder).unwrap();
            (name.to_str().unwrap().to_owned(), fs::read(&path).unwrap())
        })
        .collect()
}

fn differences(expected: &Objects, found: &Objects) -> Vec<String> {
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

/// From the clients' log: how many compiles only daemons did, and the commands of those that were done here, be it
/// for the second time.
fn compiles(log: &str) -> (usize, Vec<&str>) {
    let mut jobs = BTreeMap::new();
    for line in log.lines() {
        let Some((process, rest)) = line.split_once(" exec on ") else {
            continue;
        };
        if rest.split(' ').any(|word| word == "-c") {
            let job = jobs.entry(process).or_insert(None);
            if rest.starts_with("localhost: ") {
                *job = Some(line);
            }
        }
    }
    let local: Vec<&str> = jobs.values().copied().flatten().collect();
    (jobs.len() - local.len(), local)
}

#[test]
fn lua() {
    let Some(yard) = Yard::new(&LUA) else { return };
    let both = [Call::Explicit, Call::Masquerade];
    yard.compare(&LUA, "gcc", "", &both, REMOTE_PERCENT_MIN);
    yard.compare(&LUA, "gcc", "-g", &both, REMOTE_PERCENT_MIN);
    for daemon in &yard.daemons {
        assert!(daemon.compiled() > 0, "no job: {}", daemon.log_text());
        assert_eq!(daemon.leftovers(), [""; 0]);
    }
}

#[test]
fn lua_with_clang() {
    if !have("lua with clang", &["clang"]) {
        return;
    }
    let Some(yard) = Yard::new(&LUA) else { return };
    let calls = [Call::Masquerade];
    yard.compare(&LUA, "clang", "", &calls, REMOTE_PERCENT_MIN);
    // DWARF 5 holds checksums of sources that a server never sees: what can't be exact is compiled here.
    yard.compare(&LUA, "clang", "-g", &calls, 0);
    yard.compare(&LUA, "clang", "-gdwarf-4", &calls, REMOTE_PERCENT_MIN);
}

#[test]
fn zlib() {
    let Some(yard) = Yard::new(&ZLIB) else { return };
    yard.compare(&ZLIB, "gcc", "", &[Call::Masquerade], REMOTE_PERCENT_MIN);
    yard.compare(&ZLIB, "gcc", "-g", &[Call::Explicit], REMOTE_PERCENT_MIN);
}

#[test]
fn pugixml() {
    let Some(yard) = Yard::new(&PUGIXML) else {
        return;
    };
    let (masquerade, explicit) = ([Call::Masquerade], [Call::Explicit]);
    yard.compare(&PUGIXML, "gcc", "-O1", &masquerade, REMOTE_PERCENT_MIN);
    yard.compare(&PUGIXML, "gcc", "-g", &explicit, REMOTE_PERCENT_MIN);
}
