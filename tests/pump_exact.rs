//! Cases in which stock's pump mode gives a wrong object without a word, with our client and our include server: the
//! object must be a local compile's, whatever daemon compiles it and whichever way it had to go.
#![allow(clippy::unwrap_used)]

mod common;

use common::{have, same_file, Client, Farm, Ran, Running, Which, BOUND};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};

/// A build under our pump, and a daemon.
struct Scene {
    port: PathBuf,
    daemon: common::Daemon,
    which: Which,
    stop: PathBuf,
    running: Option<Running>,
    farm: Farm,
}

impl Scene {
    fn new(which: Which) -> Scene {
        let farm = Farm::new();
        let daemon = farm.daemon(which).start();
        let hosts = format!("{},cpp,lzo", daemon.host());
        let (told, stop) = (farm.path("told"), farm.path("stop"));
        let script = format!(
            "echo \"$INCLUDE_SERVER_PORT\" > '{0}.part'; mv '{0}.part' '{0}'; for i in $(seq 9999); do [ -e '{1}' ] && break; sleep 0.05; done",
            told.display(),
            stop.display()
        );
        let links = farm.masquerade(Which::Ours, &["pump", "distcc"]);
        let mut command = Command::new(links.join("pump"));
        command.args(["sh", "-c", &script]);
        farm.client(Which::Ours, &hosts)
            .env("TMPDIR", farm.path("home"))
            .dress(&mut command);
        let running = Running::start(&mut command);
        common::wait_for("our include server", BOUND, || told.exists());
        Scene {
            port: fs::read_to_string(&told).unwrap().trim().into(),
            daemon,
            which,
            stop,
            running: Some(running),
            farm,
        }
    }

    fn client(&self) -> Client<'_> {
        self.farm
            .client(Which::Ours, &format!("{},cpp,lzo", self.daemon.host()))
            .env("INCLUDE_SERVER_PORT", &self.port)
    }

    /// Compiles here and there and compares; `WORK` stands for the folder of the sources.
    #[track_caller]
    fn same(&self, client: &Client, command: &str) -> Ran {
        let work = self.farm.work().display().to_string();
        let words: Vec<String> = command
            .split(' ')
            .map(|word| word.replace("WORK", &work))
            .collect();
        let object = self.farm.work().join("r.o");
        let _ = fs::remove_file(&object);
        // With the variables of the client, but without distcc.
        let local = client.run_other(&words).expect(0);
        fs::rename(&object, self.farm.work().join("l.o")).unwrap();
        let ran = client.run(&words).expect(0);
        assert_eq!(ran.stderr, local.stderr, "{ran}");
        let differs = same_file(&self.farm.work().join("l.o"), &object);
        assert_eq!(differs, None, "{command}: {ran}");
        ran
    }

    /// The same; our daemon must have done it in pump mode, with debug information, too.
    #[track_caller]
    fn exact(&self, client: &Client, command: &str) {
        match self.which {
            Which::Stock => drop(self.same(client, command)),
            Which::Ours => {
                self.pumped(client, command);
                self.pumped(client, &format!("{command} -g"));
            }
        }
    }

    /// The same, and it must have gone by pump mode.
    #[track_caller]
    fn pumped(&self, client: &Client, command: &str) -> Ran {
        let ran = self.same(client, command);
        assert!(ran.log.contains("in pump mode"), "{command}: {ran}");
        assert!(!ran.log.contains("exec on localhost"), "{command}: {ran}");
        assert!(!ran.log.contains("cpp r"), "{command}: {ran}");
        ran
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = fs::write(&self.stop, "");
        if let Some(running) = self.running.take() {
            running.finish(BOUND);
        }
    }
}

fn each_daemon(test: &str, check: impl Fn(&Scene)) {
    if !have(test, &["gcc", "clang"]) {
        return;
    }
    check(&Scene::new(Which::Ours));
    if have(test, &["distccd"]) {
        check(&Scene::new(Which::Stock));
    }
}

const PLAIN: &str = "gcc -O2 -Ia -Ib -c x.c -o r.o";

#[test]
fn files_that_change_appear_and_vanish_during_the_build() {
    each_daemon("changes", |scene| {
        let (farm, client) = (&scene.farm, scene.client());
        farm.write("x.c", "#include <h.h>\nint f(void) { return H; }\n");
        farm.write("b/h.h", "#define H 1\n");
        farm.write("a/other.h", "");
        scene.pumped(&client, PLAIN);
        // S1: an edit, of the same length and at once.
        farm.write("b/h.h", "#define H 2\n");
        scene.pumped(&client, PLAIN);
        farm.write("x.c", "#include <h.h>\nint f(void) { return 7 + H; }\n");
        scene.pumped(&client, PLAIN);
        // S2: a nearer one appears, and vanishes.
        farm.write("a/h.h", "#define H 3\n");
        scene.pumped(&client, PLAIN);
        fs::remove_file(farm.work().join("a/h.h")).unwrap();
        scene.pumped(&client, PLAIN);
        // One that was missed is made.
        farm.write(
            "x.c",
            "#include <h.h>\n#include \"made.h\"\nint f(void) { return MADE; }\n",
        );
        let failed = client.run(&PLAIN.split(' ').collect::<Vec<_>>()).expect(1);
        assert!(failed.stderr.contains("made.h: No such file"), "{failed}");
        farm.write("made.h", "#define MADE 4\n");
        scene.pumped(&client, PLAIN);
    });
}

#[test]
fn probes_for_files_see_what_is_here() {
    each_daemon("probes", |scene| {
        let (farm, client) = (&scene.farm, scene.client());
        farm.write("a/there.h", "not C at all\n");
        farm.write(
            "x.c",
            "#if __has_include(\"there.h\")\nint there = 1;\n#endif\n#if __has_include(<gone.h>)\nint gone = 1;\n#endif\n",
        );
        scene.pumped(&client, PLAIN);
    });
}

#[test]
fn names_are_spelled_as_in_the_source() {
    each_daemon("spelling", |scene| {
        let (farm, client) = (&scene.farm, scene.client());
        farm.write("w.h", "static const char *w(void) { return __FILE__; }\n");
        farm.write(
            "x.c",
            "#include \"w.h\"\nconst char *f(void) { return w(); }\n",
        );
        for command in [
            "gcc -c x.c -o r.o",
            "gcc -IWORK -c x.c -o r.o",
            "gcc -IWORK/a/.. -c WORK/x.c -o r.o",
            "gcc -c x.c -o r.o",
        ] {
            fs::create_dir_all(farm.work().join("a")).unwrap();
            scene.pumped(&client, command);
        }
        // Both in one.
        farm.write("y.h", "#include <w.h>\n");
        farm.write(
            "x.c",
            "#include \"y.h\"\nconst char *f(void) { return w(); }\n",
        );
        scene.pumped(&client, "gcc -IWORK -c x.c -o r.o");
        // S5, S10: only a host that shows our paths, or text.
        farm.write("x.c", "const char *f(void) { return __BASE_FILE__; }\n");
        scene.exact(&client, "gcc -c WORK/x.c -o r.o");
        let header = farm.work().join("w.h");
        farm.write(
            "x.c",
            &format!(
                "#include \"{}\"\nconst char *f(void) {{ return w(); }}\n",
                header.display()
            ),
        );
        scene.exact(&client, "gcc -c x.c -o r.o");
    });
}

#[test]
fn times_are_the_clients() {
    each_daemon("times", |scene| {
        let (farm, client) = (&scene.farm, scene.client());
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(86_400 * 365);
        farm.write("x.c", "const char *f(void) { return __TIMESTAMP__; }\n");
        let touch = |name: &str| {
            let path = farm.work().join(name);
            let file = fs::File::options().write(true).open(path).unwrap();
            file.set_modified(long_ago).unwrap();
        };
        touch("x.c");
        scene.same(&client, PLAIN);
        farm.write("x.c", "const char *f(void) { return __DATE__ __TIME__; }\n");
        let dated = client
            .clone()
            .env("SOURCE_DATE_EPOCH", "86400")
            .env("TZ", "UTC");
        scene.same(&dated, PLAIN);
        // S8: twins under `#pragma once`, told apart by their times alone.
        let twin = "#pragma once\n#include \"inner.h\"\n";
        for folder in ["a", "b"] {
            farm.write(&format!("{folder}/all.h"), twin);
            farm.write(&format!("{folder}/inner.h"), &format!("int {folder};\n"));
        }
        touch("a/all.h");
        farm.write(
            "x.c",
            "#include \"a/all.h\"\n#include \"b/all.h\"\nint *f[] = { &a, &b };\n",
        );
        scene.pumped(&client, PLAIN);
    });
}

#[test]
fn bytes_and_names_of_any_kind() {
    each_daemon("bytes", |scene| {
        let (farm, client) = (&scene.farm, scene.client());
        farm.write("s p/\u{e9} $.h", "#define E \"caf\u{e9} \u{1F600}\"\n");
        farm.write("bom.h", "\u{feff}#define BOM 1\n");
        farm.write(
            "x.c",
            "#include \"s p/\u{e9} $.h\"\n%:include \"bom.h\"\n#inc\\\nlude \"z.h\"\nconst char *f(void) { return E; }\nint b = BOM + Z;\n",
        );
        farm.write("z.h", "#define Z 1\n");
        scene.pumped(&client, PLAIN);
        // S11: a folder that only begins like a system folder, and links to folders.
        fs::create_dir_all(farm.work().join("real/deep")).unwrap();
        symlink("real/deep", farm.work().join("ln")).unwrap();
        farm.write("real/up.h", "#define UP 1\n");
        farm.write("real/deep/d.h", "#include \"../up.h\"\n");
        farm.write("x.c", "#include \"ln/d.h\"\nint f = UP;\n");
        scene.pumped(&client, PLAIN);
        scene.pumped(&client, "gcc -isystem WORK/real -c WORK/x.c -o r.o");
    });
}

#[test]
fn folders_by_variables_are_searched() {
    each_daemon("variables", |scene| {
        let (farm, client) = (&scene.farm, scene.client());
        farm.write("env/h.h", "#define H 1\n");
        farm.write("sys/s.h", "#define S 2\n");
        farm.write("x.c", "#include <h.h>\n#include <s.h>\nint f = H + S;\n");
        let client = client
            .env("CPATH", "env")
            .env("C_INCLUDE_PATH", farm.work().join("sys"));
        scene.pumped(&client, PLAIN);
    });
}

#[test]
fn maps_of_names_and_names_of_folders() {
    each_daemon("maps", |scene| {
        let (farm, client) = (&scene.farm, scene.client());
        farm.write("x.c", "const char *f(void) { return __FILE__; }\n");
        scene.same(
            &client,
            "gcc -ffile-prefix-map=WORK=/src -c WORK/x.c -o r.o",
        );
        scene.exact(&client, "gcc -g -fdebug-prefix-map=WORK=. -c x.c -o r.o");
        // S13: the working directory by another name.
        let link = farm.path("link");
        symlink(farm.work(), &link).unwrap();
        let there = client.folder(&link).env("PWD", &link);
        scene.exact(&there, "gcc -O2 -c x.c -o r.o");
    });
}

#[test]
fn messages_and_dependency_files_of_our_daemon_are_a_local_runs() {
    if !have("messages", &["gcc", "clang"]) {
        return;
    }
    let scene = Scene::new(Which::Ours);
    let (farm, client) = (&scene.farm, scene.client());
    farm.write("inc/h.h", "static int unused(void) { int i; return i; }\n");
    farm.write("x.c", "#include <stdio.h>\n#include \"inc/h.h\"\nint f(void)\n{\n  if (1)\n    puts(\"\");\n    puts(\"\");\n}\n");
    for compiler in ["gcc", "clang"] {
        for options in [
            "-Wall -Wextra -O2",
            "-Wall -g3 -MD -MP",
            "-MMD -MF o.dep -Wall",
            "-Wp,-MD,w.dep -Wextra",
        ] {
            let command = format!("{compiler} {options} -c x.c -o r.o");
            let words: Vec<&str> = command.split(' ').collect();
            let deps = ["r.d", "o.dep", "w.dep"].map(|name| farm.work().join(name));
            let take = || -> Vec<Option<String>> {
                let read = |path: &PathBuf| {
                    let text = fs::read_to_string(path).ok();
                    let _ = fs::remove_file(path);
                    text
                };
                deps.iter().map(read).collect()
            };
            let local = client.run_other(&words).expect(0);
            assert!(local.stderr.contains("warning:"), "{local}");
            let expected = take();
            let ran = scene.pumped(&client, &command);
            assert_eq!(ran.stderr, local.stderr);
            assert_eq!(take(), expected, "{ran}");
        }
    }
}

#[test]
fn the_build_goes_on_without_its_include_server() {
    if !have("a killed include server", &["gcc"]) {
        return;
    }
    let scene = Scene::new(Which::Ours);
    let (farm, client) = (&scene.farm, scene.client());
    farm.write("h.h", "#define H 1\n");
    farm.write("x.c", "#include \"h.h\"\nint f(void) { return H; }\n");
    scene.pumped(&client, PLAIN);
    let port = scene.port.display().to_string();
    // Our pump starts it again a few times; whichever way a compile goes meanwhile, it goes well.
    let mut told = Vec::new();
    for _ in 0..12 {
        for process in farm.processes() {
            if process.contains("include_server") && process.contains(&port) {
                common::signal("KILL", process.split([' ', ':']).nth(1).unwrap());
            }
        }
        let ran = scene.same(&client, PLAIN);
        assert_eq!(ran.hosts().len(), 1, "{ran}");
        if ran.log.contains("x.c: not in pump mode: ") {
            told.push(ran.log.contains("Warning: x.c: failed to get includes"));
        }
    }
    assert!(told.len() > 2, "it never stays away");
    assert_eq!(told.iter().position(|is_aloud| *is_aloud), Some(0));
    assert_eq!(told.iter().filter(|is_aloud| **is_aloud).count(), 1);
}
