//! `distcc doctor`: that it finds what is wrong with real daemons, peers that are none, folders and settings, blames nobody
//! else, and leaves nothing behind.
#![allow(clippy::unwrap_used)]

mod common;

use common::{
    free_port, have, wait_for, BlackHole, Client, Ending, Farm, Peer, Ran, Script, Which, BOUND,
    OURS,
};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::{Path, PathBuf};

/// Enough for the slowest machine where all answer; a peer that says nothing costs as much.
const PATIENT: &str = "--time=50";

/// What was found: check, what it is about, level, words and way out.
struct Found(Vec<[String; 5]>);

impl Found {
    fn of(ran: &Ran) -> Found {
        let document: Value =
            serde_json::from_str(&ran.stdout).unwrap_or_else(|err| panic!("{err}: {ran}"));
        assert_eq!(document["version"], 1);
        let checks = document["checks"].as_array().unwrap();
        let text = |check: &Value, key: &str| check[key].as_str().unwrap_or_default().to_owned();
        let keys = ["check", "about", "level", "what", "mend"];
        Found(
            checks
                .iter()
                .map(|check| keys.map(|key| text(check, key)))
                .collect(),
        )
    }

    /// Panics unless this check of something that begins like that came to this level, with these words in its text.
    #[track_caller]
    fn expect(&self, check: &str, about: &str, level: &str, words: &str) {
        let is_it = |found: &&[String; 5]| {
            found[0] == check
                && found[1].starts_with(about)
                && found[2] == level
                && (found[3].contains(words) || found[4].contains(words))
        };
        let found = self.0.iter().find(is_it);
        assert!(
            found.is_some(),
            "no {level} {check} of '{about}' with '{words}' in {:#?}",
            self.0
        );
    }

    /// Panics if there is anything worse than a note on this host, except what these checks found.
    #[track_caller]
    fn expect_no_other(&self, about: &str, but: &[&str]) {
        let is_worse = |found: &&[String; 5]| {
            found[1].starts_with(about) && found[2] != "ok" && !but.contains(&&*found[0])
        };
        assert!(self.0.iter().find(is_worse).is_none(), "{:#?}", self.0);
    }
}

/// A client whose PATH has one compiler only, as many would take much time.
fn client<'f>(farm: &'f Farm, hosts: &str) -> Client<'f> {
    let bin = farm.path("bin/one");
    if !bin.exists() {
        fs::create_dir(&bin).unwrap();
        for name in ["gcc", "as"] {
            symlink(Path::new("/usr/bin").join(name), bin.join(name)).unwrap();
        }
    }
    farm.client(Which::Ours, hosts).env("PATH", bin)
}

#[track_caller]
fn doctor(client: &Client, words: &[&str], status: i32) -> Found {
    let words = [&["doctor", "--json"], words].concat();
    Found::of(&client.run(&words).expect(status))
}

#[test]
fn a_host_that_works_is_said_to_work() {
    if !have("doctor", &["gcc"]) {
        return;
    }
    let farm = Farm::new();
    let daemon = farm
        .daemon(Which::Ours)
        .options(&["--compilers", "gcc"])
        .start();
    let host = format!("{}/3,cpp,lzo", daemon.host());
    let found = doctor(&client(&farm, &host), &[PATIENT], 0);
    found.expect("hosts", "$DISTCC_HOSTS", "ok", "1 host, 3 jobs at once");
    for (check, words) in [
        ("connect", "answers after"),
        ("protocol", "1 (plain), 2 (lzo) and 3 (pump)"),
        ("compilers", "the same as here: gcc"),
        ("daemon", "one of ours"),
        ("clock", "as here"),
        ("compile", "the object is that of a compile here"),
        ("pump", "the object is that of a compile here"),
    ] {
        found.expect(check, &host, "ok", words);
    }
    found.expect_no_other(&host, &[]);
    farm.expect_clean("a look at a host");
    assert!(daemon.leftovers().is_empty());
    assert!(!farm.path("top/lock").exists(), "no host gets a mark");
}

#[test]
fn people_get_lines_and_a_summary() {
    let farm = Farm::new();
    let host = format!("127.0.0.1:{}", free_port());
    let ran = client(&farm, "").run(&["doctor", &host]).expect(1);
    assert!(
        ran.stdout
            .contains(&format!("FAULT    connect     {host}: ")),
        "{ran}"
    );
    assert!(
        ran.stdout.contains("(README: A host is not reached)\n"),
        "{ran}"
    );
    assert!(ran.stdout.ends_with("1 fault, 1 warning.\n"), "{ran}");
    assert!(
        ran.stdout
            .contains("DISTCC_TEST_FARM: is no variable of distcc's"),
        "{ran}"
    );
}

#[test]
fn stocks_daemon_is_known_and_works() {
    if !have("doctor with stock", &["gcc", "distccd"]) {
        return;
    }
    let farm = Farm::new();
    let daemon = farm.daemon(Which::Stock).start();
    let host = format!("{},cpp,lzo", daemon.host());
    let found = doctor(&client(&farm, &host), &[PATIENT], 0);
    found.expect("daemon", &host, "ok", "a stock daemon");
    found.expect(
        "compile",
        &host,
        "ok",
        "the object is that of a compile here",
    );
    found.expect("pump", &host, "ok", "the object is that of a compile here");
    found.expect_no_other(&host, &[]);
}

#[test]
fn each_trouble_with_a_host_is_told_from_the_others() {
    if !have("doctor", &["gcc"]) {
        return;
    }
    let farm = Farm::new();
    let closed = format!("127.0.0.1:{}", free_port());
    let hole = BlackHole::open();
    let play = |reply: &[u8], read: usize, ending| {
        Peer::play(Script {
            read,
            reply: reply.to_vec(),
            pace: None,
            ending,
        })
    };
    let web = play(b"HTTP/1.1 400 Bad Request\r\n\r\n", 4, Ending::Close);
    let silent = play(b"", 4, Ending::Stall);
    let hangs_up = play(b"", 4, Ending::Close);
    let denying = farm.daemon(Which::Ours).allow(Some("192.0.2.1")).start();
    let without = farm
        .daemon(Which::Ours)
        .options(&["--compilers", "/usr/bin/true"])
        .start();
    let rows = [
        (closed, "connect", "refuses connections"),
        (
            format!("127.0.0.1:{}", hole.port),
            "connect",
            "does not answer",
        ),
        (
            "no.such.host.invalid".to_owned(),
            "resolve",
            "correct the name",
        ),
        (web.host(), "protocol", "does not speak as distccd does"),
        (silent.host(), "protocol", "answers nothing"),
        (hangs_up.host(), "access", "hangs up on every request"),
        (denying.host(), "access", "let this machine in"),
        (
            without.host(),
            "compilers",
            "add them to the --compilers of its daemon",
        ),
    ];
    let hosts: Vec<&str> = rows.iter().map(|(host, ..)| host.as_str()).collect();
    let found = doctor(&client(&farm, &hosts.join(" ")), &["--time=8"], 1);
    for (host, check, words) in &rows {
        found.expect(check, host, "fault", words);
        found.expect_no_other(host, &[check]);
    }
    farm.expect_clean("a look at hosts in trouble");
    assert!(!farm.path("top/lock").exists(), "no host gets a mark");
}

#[test]
fn another_version_and_another_build_of_the_compiler_are_told_apart() {
    if !have("doctor", &["gcc"]) {
        return;
    }
    let farm = Farm::new();
    let script_of = |first: &str, words: &str| {
        let folder = farm.new_folder("compiler");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        let gcc = folder.join("gcc");
        fs::write(
            &gcc,
            format!("#!/bin/sh\n{first}\nexec /usr/bin/gcc {words} \"$@\"\n"),
        )
        .unwrap();
        fs::set_permissions(&gcc, fs::Permissions::from_mode(0o755)).unwrap();
        let options = [
            "--compilers",
            &gcc.display().to_string(),
            "--show",
            &folder.display().to_string(),
        ];
        farm.daemon(Which::Ours).options(&options).start()
    };
    let script = |words: &str| script_of("", words);
    let other = script("-U__VERSION__ '-D__VERSION__=\"1.2.3\"'");
    let alike = script("-Dprobe -fno-ident");
    let target = script("-m32");
    // What __TIME__ is there, so that the same compiler seems to run on a machine whose clock shows 2001.
    let late = script_of("export SOURCE_DATE_EPOCH=1000000000", "");
    let hosts = [other.host(), alike.host(), target.host(), late.host()];
    let client = client(&farm, &hosts.join(" ")).env("DISTCC_NO_REWRITE_CROSS", "");
    let found = doctor(&client, &[PATIENT], 1);
    found.expect(
        "compilers",
        &other.host(),
        "fault",
        "gcc: version 1.2.3 there, ",
    );
    found.expect(
        "compilers",
        &alike.host(),
        "warning",
        "but not of the same build: gcc",
    );
    found.expect(
        "compile",
        &alike.host(),
        "fault",
        "not that of a compile here",
    );
    found.expect(
        "compilers",
        &target.host(),
        "fault",
        "gcc: for i386, linux, pointers of 4 bytes",
    );
    found.expect("clock", &late.host(), "warning", " s behind this machine's");
    found.expect("clock", &late.host(), "warning", "by NTP");
    found.expect_no_other(&late.host(), &["clock"]);
}

#[test]
fn a_mark_is_told_and_stays() {
    let farm = Farm::new();
    let host = format!("127.0.0.1:{}", free_port());
    let lock = farm.path("top/lock");
    fs::create_dir(&lock).unwrap();
    let mark = lock.join(format!("backoff_tcp_{}_0", host.replace(':', "_")));
    fs::write(&mark, "x").unwrap();
    let found = doctor(&client(&farm, &host), &[], 1);
    found.expect(
        "backoff",
        &host,
        "warning",
        &format!("rm {}", mark.display()),
    );
    assert!(mark.exists());
}

#[test]
fn the_note_of_a_stock_daemon_goes_when_it_is_ours() {
    if !have("doctor", &["gcc"]) {
        return;
    }
    let farm = Farm::new();
    let daemon = farm.daemon(Which::Ours).start();
    let lock = farm.path("top/lock");
    fs::create_dir(&lock).unwrap();
    let mark = |what: &str| lock.join(format!("{what}_tcp_{}", daemon.host().replace(':', "_")));
    for what in ["stock", "inexact"] {
        fs::write(mark(what), "x").unwrap();
    }
    let found = doctor(&client(&farm, &daemon.host()), &[PATIENT], 0);
    found.expect("noted", &daemon.host(), "ok", "the note has been removed");
    assert!(!mark("stock").exists() && !mark("inexact").exists());
}

#[test]
fn a_script_that_calls_distcc_is_passed_over() {
    if !have("doctor", &["gcc"]) {
        return;
    }
    let farm = Farm::new();
    let daemon = farm.daemon(Which::Ours).start();
    let scripts = farm.path("bin/scripts");
    fs::create_dir(&scripts).unwrap();
    let gcc = scripts.join("gcc");
    fs::write(&gcc, "#!/bin/sh\nexec distcc gcc \"$@\"\n").unwrap();
    fs::set_permissions(&gcc, fs::Permissions::from_mode(0o755)).unwrap();
    let client = client(&farm, &daemon.host());
    let path = format!("{}:{}", scripts.display(), farm.path("bin/one").display());
    let found = doctor(&client.env("PATH", path), &[PATIENT], 0);
    found.expect("recursion", "", "warning", "scripts that call distcc: gcc");
    found.expect("compile", &daemon.host(), "ok", "that of a compile here");
}

#[test]
fn the_advice_fits_the_refusal() {
    if !have("doctor", &["gcc", "clang"]) {
        return;
    }
    let farm = Farm::new();
    let folder = farm.new_folder("compiler");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    let gcc = folder.join("gcc");
    fs::write(&gcc, "#!/bin/sh\nexec /opt/no/such/gcc \"$@\"\n").unwrap();
    fs::set_permissions(&gcc, fs::Permissions::from_mode(0o755)).unwrap();
    let daemon = |compilers: &str| {
        let options = ["--compilers", compilers];
        farm.daemon(Which::Ours).options(&options).start()
    };
    let helpless = daemon(&gcc.display().to_string());
    let clang = daemon("clang");
    let hosts = format!("{} {}", helpless.host(), clang.host());
    let client = client(&farm, &hosts).env("DISTCC_NO_REWRITE_CROSS", "");
    symlink("/usr/bin/clang", farm.path("bin/one/clang")).unwrap();
    let found = doctor(&client, &[PATIENT], 1);
    found.expect("compilers", &helpless.host(), "fault", "--show DIR");
    let words = "add them to the --compilers";
    found.expect("compilers", &clang.host(), "fault", words);
}

#[test]
fn folders_and_lists_that_are_no_good_are_named() {
    let farm = Farm::new();
    fs::write(farm.path("file"), "").unwrap();
    let in_farm = |name: &str| farm.path(name).display().to_string();
    for (variable, value, check, words) in [
        ("DISTCC_DIR", in_farm("nowhere"), "distcc-dir", "mkdir -p"),
        ("DISTCC_DIR", in_farm("file"), "distcc-dir", "is no folder"),
        ("TMPDIR", in_farm("nowhere"), "tmpdir", "No such file"),
        (
            "DISTCC_HOSTS",
            "a\n b,foo".into(),
            "hosts",
            "line 2, column 2: 'b,foo'",
        ),
        ("DISTCC_HOSTS", "a,cpp".into(), "hosts", "needs compression"),
        ("DISTCC_HOSTS", String::new(), "hosts", "contained no hosts"),
        (
            "DISTCC_IO_TIMEOUT",
            "soon".into(),
            "variables",
            "DISTCC_IO_TIMEOUT is 'soon'",
        ),
        (
            "GCC_EXEC_PREFIX",
            "/x".into(),
            "variables",
            "everything is compiled here",
        ),
        (
            "_DISTCC_SAFEGUARD",
            "1".into(),
            "recursion",
            "unset _DISTCC_SAFEGUARD",
        ),
        (
            "PATH",
            in_farm("home"),
            "compilers",
            "there is no C or C++ compiler on PATH",
        ),
    ] {
        let client = client(&farm, "localhost/2").env(variable, &value);
        doctor(&client, &[], 1).expect(check, "", "fault", words);
    }
    farm.expect_clean("looks at what is no good");
}

/// Where nothing can be tried for want of a folder, that is said once, and what was not done is no fault.
#[test]
fn one_cause_is_one_fault() {
    let farm = Farm::new();
    let client = client(&farm, "127.0.0.1:1").env("TMPDIR", farm.path("nowhere"));
    let found = doctor(&client, &[], 1);
    found.expect("tmpdir", "", "fault", "let TMPDIR name a folder");
    found.expect("hosts", "", "ok", "not asked");
    assert_eq!(found.0.iter().filter(|one| one[2] == "fault").count(), 1);
}

/// What is advised for links that a distcc which went has left behind does away with them.
#[test]
fn the_advice_for_links_that_lead_nowhere_works() {
    let farm = Farm::new();
    let links = farm.path("links");
    fs::create_dir(&links).unwrap();
    for name in ["gcc", "gcc-99"] {
        symlink("/gone/bin/distcc", links.join(name)).unwrap();
    }
    symlink(OURS, farm.path("bin/update-distcc-symlinks")).unwrap();
    let mut folders = vec![links.clone(), farm.path("bin")];
    folders.extend(["/usr/bin", "/bin"].map(PathBuf::from));
    let path = std::env::join_paths(folders).unwrap();
    let client = farm.client(Which::Ours, "a,down").env("PATH", path);
    let advice = format!("update-distcc-symlinks --dir {}", links.display());
    let found = doctor(&client, &[], 0);
    found.expect("links", "", "warning", &format!("`{advice}`"));
    client.run_other(&["sh", "-c", &advice]).expect(0);
    let found = doctor(&client, &[], 0);
    assert!(
        found.0.iter().all(|one| one[0] != "links"),
        "{:#?}",
        found.0
    );
}

#[test]
fn what_may_be_meant_is_a_warning() {
    let farm = Farm::new();
    for (variable, value, check, words) in [
        ("DISTCC_HOST", "a", "variables", "is DISTCC_HOSTS meant?"),
        ("DISTCC_VERBOSE", "yes", "variables", "neither 0 nor 1"),
        (
            "DISTCC_FALLBACK",
            "0",
            "variables",
            "instead of running here",
        ),
        ("DISTCC_HOSTS", "localhost", "hosts", "only this machine"),
        (
            "DISTCC_HOSTS",
            "localhost localhost",
            "hosts",
            "more than once",
        ),
        ("DISTCC_BACKOFF_PERIOD", "abc", "variables", "no number"),
    ] {
        let client = client(&farm, "localhost/2").env(variable, value);
        doctor(&client, &[], 0).expect(check, "", "warning", words);
    }
}

#[test]
fn links_before_and_behind_the_compilers_are_told_apart() {
    if !have("doctor", &["gcc"]) {
        return;
    }
    let farm = Farm::new();
    let links = farm.masquerade(Which::Ours, &["gcc", "clang"]);
    let links = links.display().to_string();
    let real = farm.new_folder("real");
    symlink("/usr/bin/gcc", real.join("gcc")).unwrap();
    let real = real.display().to_string();
    let look = |path: String| doctor(&client(&farm, "localhost/2").env("PATH", path), &[], 0);
    look(format!("{real}:{links}")).expect(
        "masquerade",
        &links,
        "warning",
        "before their links: gcc",
    );
    let found = look(format!("{links}:{real}"));
    found.expect("masquerade", &links, "ok", "2 of them");
    found.expect(
        "masquerade",
        &links,
        "warning",
        "no compiler behind the link on PATH: clang",
    );
}

/// A program in place of ssh.
fn ssh(farm: &Farm, name: &str, text: &str) -> PathBuf {
    let path = farm.path(&format!("bin/{name}"));
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn ssh_is_tried_before_anything_is_sent_through_it() {
    if !have("doctor", &["gcc"]) {
        return;
    }
    let farm = Farm::new();
    // A daemon that root starts works as somebody else.
    fs::set_permissions(farm.path("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    let daemon = farm.path("bin/distccd");
    symlink(OURS, &daemon).unwrap();
    let words = "--compilers gcc --config none";
    let good = ssh(&farm, "good", &format!("shift; program=$1; shift; case $1 in --version) exec $program $1;; esac; exec $program \"$@\" {words}"));
    let host = format!("@far:{}", daemon.display());
    let found = doctor(&client(&farm, &host).env("DISTCC_SSH", good), &[PATIENT], 0);
    found.expect("ssh", &host, "ok", "there is distccd ");
    found.expect(
        "compile",
        &host,
        "ok",
        "the object is that of a compile here",
    );
    let refusing = ssh(
        &farm,
        "refusing",
        "echo 'me@far: Permission denied (publickey).' >&2; exit 255",
    );
    let found = doctor(&client(&farm, &host).env("DISTCC_SSH", refusing), &[], 1);
    found.expect("ssh", &host, "fault", "Permission denied (publickey)");
    found.expect_no_other(&host, &["ssh"]);
    let named = "root@far";
    let refusing = farm.path("bin/refusing");
    let found = doctor(&client(&farm, named).env("DISTCC_SSH", refusing), &[], 1);
    found.expect("ssh", named, "fault", " root@far distccd --version` ");
    found.expect("ssh", named, "fault", "`ssh-copy-id root@far`");
    let missing = farm.path("bin/missing");
    let found = doctor(&client(&farm, &host).env("DISTCC_SSH", missing), &[], 1);
    found.expect("ssh", &host, "fault", "let DISTCC_SSH name it");
    farm.expect_clean("looks through ssh");
}

#[test]
fn a_host_that_has_answered_and_then_is_slow_is_no_fault() {
    if !have("doctor", &["gcc"]) {
        return;
    }
    let farm = Farm::new();
    fs::set_permissions(farm.path("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    let daemon = farm.path("bin/distccd");
    symlink(OURS, &daemon).unwrap();
    let asked = farm.path("asked");
    let text = format!(
        "shift; program=$1; shift; case $1 in --version) exec $program $1;; esac; \
         /bin/mkdir {} 2>/dev/null || exec /bin/sleep 1000; exec $program \"$@\" --compilers gcc --config none",
        asked.display()
    );
    let slow = ssh(&farm, "slow", &text);
    let host = format!("@far:{}", daemon.display());
    let client = client(&farm, &host).env("DISTCC_SSH", slow);
    let found = doctor(&client, &["--time=8"], 0);
    found.expect("compilers", &host, "ok", "the same as here: gcc");
    let is_told = |found: &[String; 5]| found[1] == host && found[4].contains("--time 60");
    assert!(found.0.iter().any(is_told), "{:#?}", found.0);
}

#[test]
fn a_signal_ends_it_and_nothing_stays() {
    let farm = Farm::new();
    let silent = Peer::play(Script {
        read: 1,
        reply: Vec::new(),
        pace: None,
        ending: Ending::Stall,
    });
    let host = silent.host();
    let (running, _) = client(&farm, &host).start(&["doctor", PATIENT]);
    wait_for("a connection", BOUND, || silent.connections() > 0);
    running.signal("TERM");
    assert_eq!(running.finish(BOUND).status, 128 + 15);
    farm.expect_clean("an end by a signal");
}

#[test]
fn words_that_are_wrong_are_refused() {
    let farm = Farm::new();
    let client = client(&farm, "localhost");
    let ran = client.run(&["doctor", "--frobnicate"]).expect(101);
    assert!(ran.stderr.contains("--frobnicate"), "{ran}");
    let ran = client.run(&["doctor", "--help"]).expect(0);
    assert!(ran.stdout.starts_with("Usage: distcc doctor "), "{ran}");
    doctor(&client, &["a,foo"], 1).expect(
        "hosts",
        "",
        "fault",
        "the command line: line 1, column 1: 'a,foo'",
    );
}
