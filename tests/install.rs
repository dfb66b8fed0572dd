//! `install.sh`: what it installs works, what is not ours stays, and nothing of ours is left when it is removed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

struct Prefix(tempfile::TempDir);

impl Prefix {
    fn new() -> Prefix {
        Prefix(tempfile::tempdir().unwrap())
    }

    /// The prefix itself: a folder that is not there yet, with a blank and more in its name.
    fn path(&self) -> PathBuf {
        self.0.path().join("the user's $prefix")
    }

    fn command(&self, options: &[&str]) -> Command {
        let mut command = Command::new("sh");
        command.arg(Path::new(ROOT).join("install.sh"));
        command.arg("--prefix").arg(self.path()).args(options);
        command.env_remove("DESTDIR");
        command
    }

    fn run(&self, options: &[&str]) -> Output {
        self.command(options).output().unwrap()
    }

    fn install(&self, options: &[&str]) -> Output {
        let binary = format!("--binary={}", env!("CARGO_BIN_EXE_distcc"));
        self.run(&[&[binary.as_str()], options].concat())
    }
}

fn well(out: Output) -> String {
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{said}");
    String::from_utf8(out.stdout).unwrap()
}

fn badly(out: Output) -> String {
    assert!(!out.status.success());
    String::from_utf8(out.stderr).unwrap()
}

#[test]
fn installs_works_and_leaves_nothing() {
    let prefix = Prefix::new();
    let said = well(prefix.install(&[]));
    assert!(said.contains("lib/distcc"), "{said}");
    let links = prefix.path().join("lib/distcc");
    let gcc = ["gcc", "cc", "clang"]
        .iter()
        .map(|name| links.join(name))
        .find(|link| link.exists())
        .unwrap();

    // Through the masquerade directory, without any host: compiled here.
    let work = tempfile::tempdir().unwrap();
    fs::write(work.path().join("x.c"), "int x(void) { return 1; }\n").unwrap();
    let path = format!("{}:{}", links.display(), std::env::var("PATH").unwrap());
    let out = Command::new(gcc.file_name().unwrap())
        .args(["-c", "x.c"])
        .current_dir(work.path())
        .env("PATH", path)
        .env("DISTCC_HOSTS", "localhost")
        .env("DISTCC_DIR", work.path())
        .env("DISTCC_LOG", work.path().join("log"))
        .output()
        .unwrap();
    well(out);
    assert!(work.path().join("x.o").exists());
    assert!(
        fs::read_to_string(work.path().join("log"))
            .unwrap()
            .contains("distcc["),
        "distcc was not in the way"
    );

    well(prefix.install(&[]));
    well(prefix.run(&["--uninstall"]));
    assert!(!prefix.path().exists());
}

#[test]
fn each_role_has_its_link_and_each_page_its_place() {
    let prefix = Prefix::new();
    well(prefix.install(&[]));
    let table = fs::read_to_string(Path::new(ROOT).join("src/multicall.rs")).unwrap();
    for role in table
        .split("Role {\n")
        .skip(1)
        .filter(|row| row.contains("by_link: true") && row.contains("name: \""))
    {
        let name = role.split('"').nth(1).unwrap();
        assert!(
            prefix.path().join("bin").join(name).exists(),
            "{name} has no link"
        );
    }
    for page in fs::read_dir(Path::new(ROOT).join("man")).unwrap() {
        let page = page.unwrap().file_name().into_string().unwrap();
        let section = page.rsplit('.').next().unwrap().to_owned();
        assert!(
            prefix
                .path()
                .join(format!("share/man/man{section}/{page}"))
                .exists(),
            "{page}"
        );
    }
    for page in ["distcc-pump.1", "distcc-include_server.1"] {
        let page = prefix.path().join("share/man/man1").join(page);
        assert!(page.is_file(), "{}", page.display());
    }
}

#[test]
fn pump_works_where_it_is_installed() {
    let prefix = Prefix::new();
    well(prefix.install(&[]));
    let work = tempfile::tempdir().unwrap();
    for name in ["pump", "distcc-pump"] {
        let out = Command::new(prefix.path().join("bin").join(name))
            .args([
                "sh",
                "-c",
                "test -S \"$INCLUDE_SERVER_PORT\" && command -v distcc",
            ])
            .env("DISTCC_HOSTS", "127.0.0.1:1/1,cpp,lzo")
            .env("DISTCC_DIR", work.path())
            .env("PATH", "/usr/bin:/bin")
            .output()
            .unwrap();
        let said = well(out);
        let ours = prefix.path().join("bin/distcc");
        assert!(said.contains(ours.to_str().unwrap()), "{name}: {said}");
    }
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let prefix = Prefix::new();
    let theirs = prefix.path().join("bin/distcc");
    fs::create_dir_all(theirs.parent().unwrap()).unwrap();
    fs::write(&theirs, "theirs").unwrap();
    let said = badly(prefix.install(&[]));
    assert!(
        said.contains("bin/distcc") && said.contains("--force"),
        "{said}"
    );
    assert_eq!(fs::read(&theirs).unwrap(), b"theirs");
    assert!(
        !prefix.path().join("share").exists(),
        "nothing is written before all is checked"
    );

    well(prefix.install(&["--force"]));
    fs::write(&theirs, "changed since").unwrap();
    let out = prefix.run(&["--uninstall"]);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(said.contains("has been changed"), "{said}");
    well(out);
    assert_eq!(fs::read(&theirs).unwrap(), b"changed since");
    assert_eq!(
        fs::read_dir(prefix.path()).unwrap().count(),
        1,
        "only bin is left"
    );
}

#[test]
fn a_new_version_removes_what_it_no_longer_has() {
    let prefix = Prefix::new();
    well(prefix.install(&[]));
    let stale = prefix.path().join("lib/distcc/gcc-0");
    std::os::unix::fs::symlink("../../bin/distcc", &stale).unwrap();
    let manifest = prefix.path().join("share/distcc/manifest");
    let mut lines = fs::read_to_string(&manifest).unwrap();
    lines.push_str("link\t../../bin/distcc\tlib/distcc/gcc-0\n");
    fs::write(&manifest, lines).unwrap();
    well(prefix.install(&[]));
    assert!(!stale.is_symlink());
}

/// What a shell has to run before `make`, as the end of an installation shows it.
fn advice(said: &str) -> String {
    let exports = lines_with(said, "export ");
    assert_eq!(exports.len(), 3, "{said}");
    exports.join("\n")
}

/// Those of its lines that have this part.
fn lines_with<'s>(said: &'s str, part: &str) -> Vec<&'s str> {
    let lines = said.lines().map(str::trim);
    lines.filter(|line| line.contains(part)).collect()
}

#[test]
fn the_advice_works_wherever_it_is_installed() {
    let prefix = Prefix::new();
    let bin = prefix.path().join("bin");
    let stocks = prefix.0.path().join("stock");
    fs::create_dir(&stocks).unwrap();
    for name in ["distcc", "pump"] {
        let file = stocks.join(name);
        fs::write(&file, "#!/bin/sh\nexit 1\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = std::env::var("PATH").unwrap();
    let (bin, stocks) = (bin.display().to_string(), stocks.display().to_string());
    for (path, is_needed) in [
        (format!("{bin}:{path}"), false),
        (path.clone(), true),
        (format!("{stocks}:{bin}:{path}"), true),
    ] {
        let mut command = prefix.command(&["--binary", env!("CARGO_BIN_EXE_distcc")]);
        let said = well(command.env("PATH", &path).output().unwrap());
        assert_eq!(said.contains("/bin':\"$PATH\""), is_needed, "{said}");
        assert_eq!(
            said.contains(&format!("{stocks}/distcc would come first")),
            path.starts_with(&stocks),
            "{said}"
        );
        let daemon = lines_with(&said, "--daemon --allow")[0];
        let daemon = daemon.replace("--daemon --allow 10.0.0.0/24", "--version");
        let script = format!(
            "{daemon} >/dev/null || exit\n{}\ncommand -v distcc; command -v pump",
            advice(&said)
        );
        let found = Command::new("sh")
            .args(["-c", &script])
            .env("PATH", &path)
            .output();
        let expected = format!("{bin}/distcc\n{bin}/pump\n");
        assert_eq!(well(found.unwrap()), expected);
        let removal = lines_with(&said, "--uninstall")[0]
            .split_once("it: ")
            .unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", removal.1]).current_dir(ROOT);
        well(shell.env_remove("DESTDIR").output().unwrap());
        assert!(!prefix.path().exists());
    }
}

#[test]
fn folders_above_the_prefix_go_if_they_were_not_there() {
    let stage = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| {
        let mut command = Command::new("sh");
        command.arg(Path::new(ROOT).join("install.sh"));
        command.args(["--prefix", "/opt/vendor/x"]).args(words);
        well(command.env("DESTDIR", stage.path()).output().unwrap())
    };
    let install = ["--binary", env!("CARGO_BIN_EXE_distcc")];
    run(&install);
    run(&install);
    run(&["--uninstall"]);
    assert_eq!(fs::read_dir(stage.path()).unwrap().count(), 0);
    // One that was there stays, and so does one that is used by now.
    fs::create_dir(stage.path().join("opt")).unwrap();
    run(&install);
    run(&["--uninstall"]);
    assert_eq!(fs::read_dir(stage.path().join("opt")).unwrap().count(), 0);
    run(&install);
    fs::write(stage.path().join("opt/vendor/y"), "").unwrap();
    run(&["--uninstall"]);
    assert_eq!(
        fs::read_dir(stage.path().join("opt/vendor"))
            .unwrap()
            .count(),
        1
    );
}

/// Makers of packages say `DESTDIR=pkg`, and from where they are.
#[test]
fn relative_places_are_taken_from_where_one_is() {
    let dir = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| {
        let mut command = Command::new("sh");
        command.arg(Path::new(ROOT).join("install.sh"));
        command.args(["--prefix", "/usr"]).args(words);
        command.env("DESTDIR", "pkg").current_dir(dir.path());
        well(command.output().unwrap())
    };
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_distcc"), dir.path().join("program")).unwrap();
    run(&["--binary", "program"]);
    assert!(dir.path().join("pkg/usr/bin/distcc").is_file());
    let said = run(&["--uninstall"]);
    let whole = dir.path().join("pkg/usr").display().to_string();
    assert!(said.contains(&whole), "{said}");
    assert!(!dir.path().join("pkg").exists(), "it was not there before");
}

#[test]
fn a_program_that_is_there_is_offered_when_the_build_fails() {
    let prefix = Prefix::new();
    let cargo = prefix.0.path().join("bin");
    let target = prefix.0.path().join("target");
    fs::create_dir(&cargo).unwrap();
    let write = |file: &Path| {
        fs::write(file, "#!/bin/sh\nexit 1\n").unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
    };
    // Without musl.
    for name in ["cargo", "rustc", "rustup"] {
        write(&cargo.join(name));
    }
    let path = format!("{}:{}", cargo.display(), std::env::var("PATH").unwrap());
    // Cargo has a folder of its own for what is built for another target.
    for (triple, place) in [("", "release"), ("x86_64-none", "x86_64-none/release")] {
        let place = target.join(place);
        fs::create_dir_all(&place).unwrap();
        write(&place.join("distcc"));
        let mut command = prefix.command(&[]);
        command.env("PATH", &path).env("CARGO_TARGET_DIR", &target);
        command.env("CARGO_BUILD_TARGET", triple);
        let said = badly(command.output().unwrap());
        let program = place.join("distcc").display().to_string();
        assert!(said.contains("the build failed"), "{said}");
        assert!(said.contains(&format!("--binary '{program}'")), "{said}");
        fs::remove_file(program).unwrap();
        let said = badly(command.output().unwrap());
        assert!(
            said.contains("the build failed") && !said.contains("--binary"),
            "{said}"
        );
    }
}

#[test]
fn bad_options_are_named() {
    let prefix = Prefix::new();
    assert!(badly(prefix.run(&["--frobnicate"])).contains("--frobnicate"));
    assert!(badly(prefix.run(&["--uninstall"])).contains("manifest"));
    assert!(badly(prefix.run(&["--uninstall", "--build-only"])).contains("--build-only"));
    assert!(badly(prefix.run(&["--prefix", "here"])).contains("absolute"));
    assert!(badly(prefix.run(&["--binary", "/nonexistent/distcc"])).contains("/nonexistent/distcc"));
}

/// All below a folder, with what links lead to.
fn listing(folder: &Path) -> Vec<String> {
    let out = Command::new("find")
        .arg(folder)
        .args(["-printf", "%P %l %T@\n"])
        .output()
        .unwrap();
    let mut lines: Vec<String> = well(out).lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn a_dry_run_says_all_and_changes_nothing() {
    let prefix = Prefix::new();
    let said = well(prefix.install(&["--dry-run"]));
    assert!(
        said.contains("would write") && said.contains("bin/distcc\n"),
        "{said}"
    );
    assert!(!prefix.path().exists());

    well(prefix.install(&[]));
    let before = listing(&prefix.path());
    assert_eq!(
        well(prefix.install(&["--dry-run"])),
        "",
        "nothing is left to do"
    );
    let said = well(prefix.run(&["--uninstall", "--dry-run"]));
    assert!(
        said.contains("lib/distcc/gcc") && said.contains("bin/distcc\n"),
        "{said}"
    );
    assert_eq!(listing(&prefix.path()), before);

    // A second time changes nothing that a first time would not have made.
    well(prefix.install(&[]));
    let names = |lines: &[String]| -> Vec<String> {
        let words = lines
            .iter()
            .map(|line| line.rsplit_once(' ').unwrap().0.to_owned());
        words.collect()
    };
    assert_eq!(names(&listing(&prefix.path())), names(&before));
}

#[test]
fn a_dry_run_needs_no_build() {
    let prefix = Prefix::new();
    let mut command = Command::new("./install.sh");
    command
        .args(["--dry-run", "--prefix"])
        .arg(prefix.path())
        .env("CARGO_TARGET_DIR", prefix.path().join("no-build"));
    let said = well(command.output().unwrap());
    for words in [
        "would build ",
        "would write ",
        "bin/distcc\n",
        "lib/distcc\n",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(!prefix.path().exists());
}

#[test]
fn links_follow_the_compilers_of_the_machine() {
    let prefix = Prefix::new();
    well(prefix.install(&[]));
    let compilers = prefix.0.path().join("compilers");
    fs::create_dir(&compilers).unwrap();
    let new = compilers.join("riscv64-linux-gnu-gcc-99");
    fs::write(&new, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
    let links = prefix.path().join("lib/distcc");
    fs::write(links.join("README"), "mine").unwrap();
    fs::remove_file(links.join("gcc")).unwrap();
    fs::write(links.join("gcc"), "mine").unwrap();
    let update = |words: &[&str]| {
        let path = format!("{}:/usr/bin:/bin", compilers.display());
        let mut command = Command::new(prefix.path().join("bin/update-distcc-symlinks"));
        well(command.args(words).env("PATH", path).output().unwrap())
    };
    let linked = "riscv64-linux-gnu-gcc-99: linked to distcc\n";
    let said = update(&["--dry-run"]);
    assert!(
        said.contains(linked) && said.contains("gcc: not a link to distcc"),
        "{said}"
    );
    let link = links.join("riscv64-linux-gnu-gcc-99");
    assert!(!link.is_symlink());
    assert!(update(&[]).contains(linked));
    assert_eq!(fs::read_link(&link).unwrap(), Path::new("../../bin/distcc"));
    assert!(!update(&[]).contains("linked to"), "it is done");
    // One that another distcc has left when it went is set anew; one to another program that is gone is not ours.
    fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink("/gone/bin/distcc", &link).unwrap();
    let cached = links.join("riscv64-linux-gnu-g++");
    std::os::unix::fs::symlink("/gone/bin/ccache", &cached).unwrap();
    assert!(update(&[]).contains(linked));
    assert_eq!(fs::read_link(&link).unwrap(), Path::new("../../bin/distcc"));
    assert!(cached.is_symlink());
    fs::remove_file(&cached).unwrap();
    fs::remove_file(&new).unwrap();
    assert!(update(&[]).contains("riscv64-linux-gnu-gcc-99: link removed\n"));
    assert!(!link.is_symlink());

    // What is linked after the installation goes with it.
    std::os::unix::fs::symlink("../../bin/distcc", &link).unwrap();
    let out = prefix.run(&["--uninstall"]);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(said.contains("lib/distcc/gcc has been changed"), "{said}");
    well(out);
    let mut left = listing(&links);
    left.retain(|line| !line.starts_with(' '));
    assert_eq!(left.len(), 2, "{left:?}");
}

/// What makers of packages get: all files, nothing of this machine.
#[test]
fn files_for_a_package_are_those_of_no_machine() {
    let stage = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    command.arg(Path::new(ROOT).join("install.sh"));
    command.args([
        "--prefix",
        "/usr",
        "--for-package",
        "--binary",
        env!("CARGO_BIN_EXE_distcc"),
    ]);
    well(command.env("DESTDIR", stage.path()).output().unwrap());
    let root = stage.path().join("usr");
    let service = fs::read_to_string(root.join("lib/systemd/system/distccd.service")).unwrap();
    assert!(service.contains("ExecStart=/usr/bin/distccd "), "{service}");
    assert!(root.join("lib/systemd/system/distccd.socket").exists());
    assert_eq!(fs::read_dir(root.join("lib/distcc")).unwrap().count(), 0);
    assert!(!root.join("share/distcc").exists());
}

/// A folder of programs in place of those of Rust.
fn tools(scripts: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, script) in scripts {
        let path = folder.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    folder
}

#[test]
#[cfg(target_arch = "x86_64")]
fn musl_is_taken_where_it_can_be_had() {
    let libraries = tempfile::tempdir().unwrap();
    let place = libraries.path().join("musl").display().to_string();
    let rustc = format!("echo {place}");
    let adds = format!("[ \"$*\" = '-q target add x86_64-unknown-linux-musl' ] && mkdir {place}");
    let all = tools(&[("rustc", &rustc), ("rustup", &adds)]);
    let target = |folder: &Path, options: &[&str], named: Option<&str>| {
        let mut command = Command::new(Path::new(ROOT).join("packaging/target"));
        command.args(options).env_remove("CARGO_BUILD_TARGET");
        command.env("PATH", format!("{}:/usr/bin:/bin", folder.display()));
        command.envs(named.map(|named| ("CARGO_BUILD_TARGET", named)));
        well(command.output().unwrap()).trim().to_owned()
    };
    let musl = "x86_64-unknown-linux-musl";
    // Without rustup it is not there; where one only looks it is not fetched, nor where another is named.
    let alone = tools(&[("rustc", &rustc)]);
    if !Path::new("/usr/bin/rustup").exists() {
        assert_eq!(target(alone.path(), &[], None), "");
    }
    assert_eq!(target(all.path(), &["--look"], None), "");
    assert_eq!(target(all.path(), &[], Some("other")), "other");
    assert!(!Path::new(&place).exists());
    assert_eq!(target(all.path(), &[], None), musl);
    assert!(Path::new(&place).exists());
    assert_eq!(target(alone.path(), &["--look"], None), musl);
}

/// As with sudo, which has no cargo on its PATH.
#[test]
fn without_cargo_the_last_build_is_installed() {
    let prefix = Prefix::new();
    let builds = tempfile::tempdir().unwrap();
    let command = |named: Option<&str>| {
        let mut command = prefix.command(&[]);
        command
            .env("PATH", "/usr/bin:/bin")
            .env_remove("CARGO_BUILD_TARGET");
        command.envs(named.map(|named| ("CARGO_BUILD_TARGET", named)));
        command.env("CARGO_TARGET_DIR", builds.path());
        command.output().unwrap()
    };
    if Path::new("/usr/bin/cargo").exists() {
        return; // Debian's.
    }
    let said = badly(command(None));
    assert!(said.contains("./install.sh --build-only"), "{said}");
    let program = fs::read(env!("CARGO_BIN_EXE_distcc")).unwrap();
    let installed = prefix.path().join("bin/distcc");
    for (age, folder) in ["release", "x86_64-unknown-linux-musl/release"]
        .iter()
        .enumerate()
    {
        let folder = builds.path().join(folder);
        fs::create_dir_all(&folder).unwrap();
        // What stands behind a program does not matter to it.
        let build = [&program[..], &vec![0; age + 1]].concat();
        let file = folder.join("distcc");
        fs::write(&file, build).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        let written =
            std::time::SystemTime::now() - std::time::Duration::from_secs(60 - age as u64);
        fs::File::options()
            .append(true)
            .open(&file)
            .unwrap()
            .set_modified(written)
            .unwrap();
        well(command(None));
        let length = fs::metadata(&installed).unwrap().len();
        assert_eq!(length, (program.len() + age + 1) as u64);
    }
    // Unless another is named.
    let other = "x86_64-none";
    let said = badly(command(Some(other)));
    assert!(said.contains("has built for x86_64-none; run"), "{said}");
    fs::create_dir_all(builds.path().join(other)).unwrap();
    let place = builds.path().join(other).join("release");
    fs::rename(builds.path().join("release"), place).unwrap();
    well(command(Some(other)));
    let length = fs::metadata(&installed).unwrap().len();
    assert_eq!(length, (program.len() + 1) as u64);
    well(prefix.run(&["--uninstall"]));
    // Then nothing can be built.
    let mut building = prefix.command(&["--build-only"]);
    building.env("PATH", "/usr/bin:/bin");
    assert!(badly(building.output().unwrap()).contains("no cargo"));
}
