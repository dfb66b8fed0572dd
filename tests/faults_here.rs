//! Troubles of the client's own machine: full disks, folders that can't be written, sources that can't be read. The
//! result is a local compile's, or the failure and its words are.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{files_below, have, is_root, same_file, skip, Client, Daemon, Farm, Ran, Which, OURS};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const SOURCE: &str = "#include <stddef.h>\nint f(int a) { return a + (int)sizeof(size_t); }\n";

/// A farm with one of our daemons and a copy of our binary that everybody can run.
struct Scene {
    farm: Farm,
    daemon: Daemon,
}

impl Scene {
    fn new(test: &str) -> Option<Scene> {
        if !have(test, &["gcc"]) {
            return None;
        }
        let farm = Farm::new();
        farm.write("x.c", SOURCE);
        fs::copy(OURS, farm.path("bin/distcc")).unwrap();
        let daemon = farm.daemon(Which::Ours).start();
        Some(Scene { farm, daemon })
    }

    fn client(&self) -> Client<'_> {
        self.farm
            .client(Which::Ours, &self.daemon.host())
            .env("DISTCC_BACKOFF_PERIOD", "0")
            .env("ours", self.farm.path("bin/distcc"))
            .env("farm", self.farm.path(""))
    }

    /// Runs a command line in a shell twice, `$distcc` being nothing and then our client; the second time must give
    /// the status, the words and the files of the first. Files are those in `$out`, which is made anew; `before` is
    /// run each time first.
    #[track_caller]
    fn same_as_local(&self, client: &Client, before: &str, command: &str, what: &str) -> Ran {
        let [local, distributed] = ["", "$ours"].map(|distcc| {
            let out = self.farm.path("work/out");
            let _ = fs::remove_dir_all(&out);
            fs::create_dir(&out).unwrap();
            fs::set_permissions(&out, fs::Permissions::from_mode(0o777)).unwrap();
            let script = format!(
                "distcc={distcc}; out={}; {before}\n{command}\nstatus=$?\n{KEEP}exit $status",
                out.display()
            );
            // What root mounts is to be seen, and to last, in this shell only.
            let private: &[&str] = if is_root() { &["unshare", "-m"] } else { &[] };
            let ran = client.run_other(&[private, &["/bin/sh", "-c", &script]].concat());
            let kept = self.farm.path(if distcc.is_empty() {
                "kept-local"
            } else {
                "kept-distributed"
            });
            let _ = fs::remove_dir_all(&kept);
            fs::rename(self.farm.path("kept"), &kept).unwrap();
            ran
        });
        assert_eq!(local.status, distributed.status, "{what}: {distributed}");
        assert_eq!(
            words(&local.stderr),
            words(&distributed.stderr),
            "{what}: {distributed}"
        );
        assert_eq!(local.stdout, distributed.stdout, "{what}: {distributed}");
        let [here, there] = ["kept-local", "kept-distributed"].map(|name| self.farm.path(name));
        assert_eq!(names(&here), names(&there), "{what}: files: {distributed}");
        let files = names(&here)
            .into_iter()
            .filter(|name| here.join(name).is_file());
        for name in files {
            let different = same_file(&here.join(&name), &there.join(&name));
            assert_eq!(different, None, "{what}: {distributed}");
        }
        self.farm.expect_clean(what);
        distributed
    }
}

/// Saves what is in `$out`, which may be a file system that ends with the shell.
const KEEP: &str = "rm -rf $farm/kept; mkdir $farm/kept; cp -r $out/. $farm/kept 2>/dev/null\n";

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = files_below(folder)
        .iter()
        .map(|path| path.strip_prefix(folder.to_str().unwrap()).unwrap()[1..].to_owned())
        .collect();
    names.sort();
    names
}

/// A compiler's words without the names of its temporary files, which are never the same. That there is no log is for
/// the client to say.
fn words(stderr: &str) -> String {
    let lines = stderr
        .lines()
        .filter(|line| !line.contains("failed to open logfile"));
    let stderr = lines.collect::<Vec<_>>().join("\n");
    let parts: Vec<&str> = stderr.split("/cc").collect();
    let rest = parts[1..].iter().map(|part| part.get(6..).unwrap_or(""));
    parts[..1]
        .iter()
        .copied()
        .chain(rest)
        .collect::<Vec<_>>()
        .join("/cc??????")
}

#[test]
fn the_folder_for_temporary_files_is_missing_or_full() {
    if !is_root() && !skip("full disks", "only root can mount small ones") {
        return;
    }
    let Some(scene) = Scene::new("TMPDIR") else {
        return;
    };
    let compile = "$distcc gcc -c x.c -o $out/x.o";
    let missing = scene.client().env("TMPDIR", "/nonexistent/folder");
    scene.same_as_local(&missing, "", compile, "TMPDIR is missing");
    let file = scene.client().env("TMPDIR", "/dev/null");
    scene.same_as_local(&file, "", compile, "TMPDIR is no folder");
    let full = "mkdir -p $farm/small; mount -t tmpfs -o size=4k none $farm/small || exit 99; \
        head -c 100000 /dev/zero > $farm/small/fill 2>/dev/null";
    // Without -pipe, a local compile could do nothing; here or there, ours must still end well.
    let client = scene.client().env("TMPDIR", scene.farm.path("small"));
    scene.same_as_local(
        &client,
        full,
        "$distcc gcc -pipe -c x.c -o $out/x.o",
        "TMPDIR is full",
    );
}

#[test]
fn the_disk_is_full_when_the_object_comes() {
    if !is_root() && !skip("full disks", "only root can mount small ones") {
        return;
    }
    let Some(scene) = Scene::new("a full disk") else {
        return;
    };
    for (left, what) in [(0, "no room"), (1, "room for a part"), (100, "room")] {
        let pages = left + 1;
        let mount = format!(
            "mount -t tmpfs -o size={}k none $out || exit 99; \
             head -c 4096 /dev/zero > $out/fill",
            4 * pages
        );
        // An object of some 30 kB.
        let command = "$distcc gcc -DBIG -c big.c -o $out/x.o";
        scene.farm.write(
            "big.c",
            "int a[8000] = {1};\nint f(void) { return a[1]; }\n",
        );
        let ran = scene.same_as_local(&scene.client(), &mount, command, what);
        assert_eq!(ran.status == 0, left == 100, "{what}: {ran}");
    }
}

#[test]
fn outputs_that_cannot_be() {
    let Some(scene) = Scene::new("odd outputs") else {
        return;
    };
    let client = scene.client();
    for (before, output, what) in [
        ("", "$out/missing/x.o", "the folder is missing"),
        ("mkdir $out/x.o", "$out/x.o", "the output is a folder"),
        ("touch $out/file", "$out/file/x.o", "the folder is a file"),
        ("ln -s missing/y $out/x.o", "$out/x.o", "a link to nowhere"),
        ("ln -s y $out/x.o", "$out/x.o", "a link to a file to be"),
        (
            "echo old > $out/y; ln -s y $out/x.o",
            "$out/x.o",
            "a link to a file",
        ),
        (
            "echo old > $out/x.o; ln $out/x.o $out/y",
            "$out/x.o",
            "a second name for the file",
        ),
        (
            "echo old > $out/x.o; chmod 400 $out/x.o",
            "$out/x.o",
            "a read-only file",
        ),
        ("echo old > $out/x.o", "$out/x.o", "an old file"),
        ("umask 077", "$out/x.o", "only for me"),
    ] {
        let command =
            format!("$distcc gcc -c x.c -o {output}; s=$?; stat -c '%F %a %h' $out/x.o; (exit $s)");
        scene.same_as_local(&client, before, &command, what);
    }
    // A source that does not compile takes an old object away, or leaves it, as it would here.
    scene
        .farm
        .write("bad.c", "int f(void) { return nowhere; }\n");
    let old = "echo old > $out/x.o";
    scene.same_as_local(
        &client,
        old,
        "$distcc gcc -c bad.c -o $out/x.o",
        "a bad source",
    );
}

#[test]
fn files_that_may_not_become_so_large() {
    let Some(scene) = Scene::new("ulimit -f") else {
        return;
    };
    // The text is small, and the object is not.
    scene.farm.write("big.c", "int a[9999] = {1};\n");
    scene.same_as_local(
        &scene.client(),
        "",
        "(ulimit -f 20; $distcc gcc -O2 -c big.c -o $out/x.o)",
        "an object that is larger than files may be",
    );
}

#[test]
fn sources_that_cannot_be_read() {
    let Some(scene) = Scene::new("odd sources") else {
        return;
    };
    let client = scene.client();
    for (before, source, what) in [
        ("", "missing.c", "no source"),
        ("mkdir -p folder.c", "folder.c", "a folder as source"),
        (
            "mkdir -p folder.i",
            "folder.i",
            "a folder as preprocessed source",
        ),
        ("ln -sf loop.c loop.c", "loop.c", "a link to itself"),
        ("echo '#include \"none.h\"' > y.c", "y.c", "no header"),
        (
            "echo '#error no' > y.c",
            "y.c",
            "an error of the preprocessor",
        ),
        (": > empty.c", "empty.c", "an empty source"),
        (": > empty.i", "empty.i", "an empty preprocessed source"),
        (
            "printf 'int f(void){return 1;}' > y.c",
            "y.c",
            "no final newline",
        ),
        (
            "printf 'int f(void)\\r\\n{return 1;}\\r\\n' > y.c",
            "y.c",
            "another system's lines",
        ),
        (
            "printf '\\0\\377int a;' > y.c",
            "y.c",
            "bytes that are no text",
        ),
    ] {
        let command = format!("$distcc gcc -c {source} -o $out/x.o");
        scene.same_as_local(&client, before, &command, what);
    }
}

/// The folder of locks and records.
#[test]
fn the_shared_folder_is_missing_or_nonsense() {
    let Some(scene) = Scene::new("DISTCC_DIR") else {
        return;
    };
    let compile = "$distcc gcc -c x.c -o $out/x.o";
    for (what, client) in [
        (
            "it is missing",
            scene.client().env("DISTCC_DIR", "/nonexistent/folder"),
        ),
        (
            "it is a file",
            scene.client().env("DISTCC_DIR", "/dev/null"),
        ),
        ("it is empty", scene.client().env("DISTCC_DIR", "")),
        (
            "there is no home",
            scene.client().without("DISTCC_DIR").without("HOME"),
        ),
        (
            "home is missing",
            scene
                .client()
                .without("DISTCC_DIR")
                .env("HOME", "/nonexistent"),
        ),
        (
            "the log can't be written",
            scene
                .client()
                .env("DISTCC_LOG", "/nonexistent/log")
                .env("UNCACHED_ERR_FD", "9"),
        ),
    ] {
        let before = "exec 9>/dev/null";
        scene.same_as_local(&client, before, compile, what);
    }
}

/// What only somebody else than root can't do.
#[test]
fn somebody_without_rights() {
    if !is_root() && !skip("permissions", "only root can become somebody else") {
        return;
    }
    let Some(scene) = Scene::new("permissions") else {
        return;
    };
    for name in ["top", "tmp", "home", "logs"] {
        let mode = fs::Permissions::from_mode(0o777);
        fs::set_permissions(scene.farm.path(name), mode).unwrap();
    }
    let nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups";
    let compile = format!("{nobody} $distcc gcc -c x.c -o $out/x.o");
    let client = scene.client();
    scene.same_as_local(&client, "", &compile, "nobody");
    scene.same_as_local(
        &client,
        "chmod 755 $out",
        &compile,
        "a folder for the output that is somebody else's",
    );
    scene.same_as_local(
        &client,
        "echo 'int a;' > secret.c; chmod 600 secret.c",
        &format!("{nobody} $distcc gcc -c secret.c -o $out/x.o"),
        "a source that is somebody else's",
    );
    scene.same_as_local(
        &client,
        "echo 'int a;' > secret.i; chmod 600 secret.i",
        &format!("{nobody} $distcc gcc -c secret.i -o $out/x.o"),
        "a preprocessed source that is somebody else's",
    );
    let root_only = "mkdir -p $farm/closed/lock $farm/closed/state; chmod -R 700 $farm/closed";
    let closed = scene.farm.path("closed");
    // gcc needs a TMPDIR of its own; it finds another one.
    let tmp = client.clone().env("TMPDIR", &closed);
    scene.same_as_local(
        &tmp,
        root_only,
        &compile,
        "a TMPDIR that is somebody else's",
    );
    let top = client.clone().env("DISTCC_DIR", &closed);
    scene.same_as_local(
        &top,
        root_only,
        &compile,
        "a DISTCC_DIR that is somebody else's",
    );
    let readable = "mkdir -p $farm/shown/lock; touch $farm/shown/lock/cpu_localhost_0; chmod -R a+rX $farm/shown";
    let shown = client.env("DISTCC_DIR", scene.farm.path("shown"));
    scene.same_as_local(
        &shown,
        readable,
        &compile,
        "a DISTCC_DIR that can only be read",
    );
}
