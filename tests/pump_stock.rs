//! Our client in pump mode where the include server or the daemon is stock's, or both: objects are a local compile's,
//! dependency files say the same, and `--scan-includes` says what stock's says.
#![allow(clippy::unwrap_used)]

mod common;

use common::pump::stock_pump;
use common::{same_file, Client, Farm, Ran, Running, Which, BOUND};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// A session of a pump that ends when it is dropped.
struct Session {
    port: PathBuf,
    running: Option<Running>,
    stop: PathBuf,
}

impl Session {
    /// `pump` runs until a file appears, or for some minutes; before, it tells where the socket is.
    fn start(farm: &Farm, pump: &Path, hosts: &str) -> Session {
        let (told, stop) = (farm.path("told"), farm.path("stop"));
        let script = format!(
            "echo \"$INCLUDE_SERVER_PORT\" > '{0}.part'; mv '{0}.part' '{0}'; for i in $(seq 9999); do [ -e '{1}' ] && break; sleep 0.05; done",
            told.display(),
            stop.display()
        );
        let client = farm
            .client(Which::Stock, hosts)
            .env("TMPDIR", farm.path("home"));
        let mut command = std::process::Command::new(pump);
        command.args(["sh", "-c", &script]);
        client.dress(&mut command);
        let running = Running::start(&mut command);
        common::wait_for("stock's include server", BOUND, || told.exists());
        let port = fs::read_to_string(&told).unwrap().trim().into();
        Session {
            port,
            running: Some(running),
            stop,
        }
    }

    fn client<'f>(&self, farm: &'f Farm, which: Which, hosts: &str) -> Client<'f> {
        farm.client(which, hosts)
            .env("INCLUDE_SERVER_PORT", &self.port)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = fs::write(&self.stop, "");
        if let Some(running) = self.running.take() {
            running.finish(BOUND);
        }
    }
}

/// A small project with all kinds of entries: headers, a link to a file and one to a folder, a folder that is only passed.
fn project(farm: &Farm) {
    farm.write(
        "src/main.c",
        "#include <stdio.h>\n#include \"util.h\"\n#include \"../inc/conf.h\"\n#include <api/linked.h>\n\
         #include \"sub/../local.h\"\n#include \"ln/deep.h\"\n#define HDR <computed.h>\n#include HDR\n\
         #ifdef NEVER\n#include \"inactive.h\"\n#endif\n\
         int main(void) { puts(__FILE__ CONF LINKED DEEP); return UTIL + LOCAL + COMPUTED; }\n",
    );
    for (name, text) in [
        ("src/util.h", "#define UTIL 1\n"),
        ("src/local.h", "#define LOCAL 2\n"),
        ("src/inactive.h", ""),
        ("src/sub/unused", ""),
        ("inc/conf.h", "#define CONF \"caf\u{e9}\"\n"),
        ("inc/computed.h", "#define COMPUTED 3\n"),
        ("real/linked_real.h", "#define LINKED __FILE__\n"),
        ("real/deep.h", "#define DEEP \"deep\"\n"),
    ] {
        farm.write(name, text);
    }
    fs::create_dir_all(farm.work().join("lib/api")).unwrap();
    symlink(
        "../../real/linked_real.h",
        farm.work().join("lib/api/linked.h"),
    )
    .unwrap();
    symlink(farm.work().join("real"), farm.work().join("src/ln")).unwrap();
}

/// Stock's pump, if it can be had, and ours.
fn pumps(farm: &Farm) -> Vec<PathBuf> {
    let ours = farm
        .masquerade(Which::Ours, &["pump", "distcc"])
        .join("pump");
    stock_pump("stock's pump")
        .into_iter()
        .chain([ours])
        .collect()
}

const OPTIONS: &str = "-Iinc -Ilib -c src/main.c -o r.o";

fn words(command: &str, farm: &Farm) -> Vec<String> {
    let work = farm.work().display().to_string();
    let words = command.split(' ').map(|word| word.replace("WORK", &work));
    words.collect()
}

/// Compiles here and elsewhere, and says how the objects differ.
fn compare(farm: &Farm, client: &Client, command: &str) -> (Ran, Option<String>) {
    let object = farm.work().join("r.o");
    farm.local(&words(command, farm)).expect(0);
    fs::rename(&object, farm.work().join("l.o")).unwrap();
    let ran = client.run(&words(command, farm)).expect(0);
    let differs = same_file(&farm.work().join("l.o"), &object);
    (ran, differs)
}

#[test]
fn objects_are_a_local_compiles() {
    let farm = Farm::new();
    for pump in pumps(&farm) {
        objects(&pump, Which::Stock);
        objects(&pump, Which::Ours);
    }
}

fn objects(pump: &Path, which: Which) {
    let farm = Farm::new();
    project(&farm);
    let daemon = farm.daemon(which).start();
    let hosts = format!("{},cpp,lzo", daemon.host());
    let session = Session::start(&farm, pump, &hosts);
    let client = session.client(&farm, Which::Ours, &hosts);
    for command in [
        format!("gcc -O2 {OPTIONS}"),
        format!("gcc -xc -Wall {OPTIONS}"),
        format!("g++ -O2 {OPTIONS}"),
        format!("clang -O2 {OPTIONS}"),
        "gcc -IWORK/inc -IWORK/lib -c WORK/src/main.c -o r.o".to_owned(),
    ] {
        let (ran, differs) = compare(&farm, &client, &command);
        assert!(ran.log.contains("in pump mode"), "{ran}");
        assert!(!ran.log.contains("exec on localhost"), "{ran}");
        assert_eq!(differs, None, "{command}");
    }
    // The folder of a compile is in the debug information: stock's daemon is not asked for that.
    for debug in ["-g", "-gdwarf-4 -g", "-g3"] {
        for command in [
            format!("gcc {debug} {OPTIONS}"),
            format!("gcc {debug} -IWORK/inc -IWORK/lib -c WORK/src/main.c -o r.o"),
        ] {
            let (ran, differs) = compare(&farm, &client, &command);
            assert_eq!(differs, None, "{command}");
            let here = ran.log.contains("exec on localhost");
            assert_eq!(here, which == Which::Stock, "{ran}");
            let linked = farm.local(&["gcc", "r.o", "-o", "prog"]);
            linked.expect(0);
            let said = farm.local(&["./prog"]).stdout;
            assert!(
                said.contains("caf\u{e9}") && !said.contains("distccd_"),
                "{said}"
            );
        }
    }
    drop(session);
    assert_eq!(daemon.leftovers(), [""; 0]);
    farm.expect_clean("stock's pump");
}

#[test]
fn what_shows_stocks_folder_is_not_taken() {
    let farm = Farm::new();
    for pump in pumps(&farm) {
        leaks(&pump);
    }
}

fn leaks(pump: &Path) {
    let farm = Farm::new();
    farm.write("b.c", "const char *f(void) { return __BASE_FILE__; }\n");
    let daemon = farm.daemon(Which::Stock).start();
    let hosts = format!("{},cpp,lzo", daemon.host());
    let session = Session::start(&farm, pump, &hosts);
    let client = session.client(&farm, Which::Ours, &hosts);
    let (ran, differs) = compare(&farm, &client, "gcc -c WORK/b.c -o r.o");
    assert_eq!(differs, None, "{ran}");
    assert!(ran.log.contains("words of its own"), "{ran}");
}

/// The files of a rule and its target; stock's lines are wrapped elsewhere.
fn rule(path: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(path).unwrap().replace("\\\n", " ");
    let words = text.split(|c: char| c.is_ascii_whitespace() && c != '\n');
    words
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn dependency_files_say_what_a_local_compiles_say() {
    let farm = Farm::new();
    for pump in pumps(&farm) {
        dependencies(&pump);
    }
}

fn dependencies(pump: &Path) {
    let farm = Farm::new();
    project(&farm);
    let daemon = farm.daemon(Which::Stock).start();
    let hosts = format!("{},cpp,lzo", daemon.host());
    let session = Session::start(&farm, pump, &hosts);
    let client = session.client(&farm, Which::Ours, &hosts);
    for (options, file) in [
        ("-MD", "r.d"),
        ("-MMD -MP -MF x.dep", "x.dep"),
        ("-MMD -MT t1 -MT t2", "r.d"),
        ("-MD -MQ a$b", "r.d"),
        ("-Wp,-MMD,w.d", "w.d"),
    ] {
        let command = format!("gcc {options} {OPTIONS}");
        farm.local(&words(&command, &farm)).expect(0);
        let path = farm.work().join(file);
        let expected = rule(&path);
        fs::remove_file(&path).unwrap();
        let (ran, differs) = compare(&farm, &client, &command);
        assert_eq!(differs, None, "{ran}");
        assert!(ran.log.contains("in pump mode"), "{ran}");
        assert_eq!(rule(&path), expected, "{command}");
    }
}

#[test]
fn scan_includes_says_what_stocks_says() {
    let Some(pump) = stock_pump("stock's pump") else {
        return;
    };
    let farm = Farm::new();
    project(&farm);
    // Nobody listens there, and nobody needs to.
    let hosts = "127.0.0.1:9,cpp,lzo";
    let session = Session::start(&farm, &pump, hosts);
    let command = format!("--scan-includes gcc {OPTIONS}");
    let [expected, found] = [Which::Stock, Which::Ours].map(|which| {
        let client = session.client(&farm, which, hosts);
        client.run(&words(&command, &farm)).expect(0).stdout
    });
    assert_eq!(expected, found);
    for category in ["FILE", "SYMLINK", "DIRECTORY", "SYSTEMDIR"] {
        assert!(found.contains(&format!("{category:<9} /")), "{found}");
    }
    assert!(!farm.work().join("r.o").exists());
}
