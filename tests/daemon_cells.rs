//! Jobs that are done one after the other in the same namespaces: nothing of one is there for the next, and namespaces in which
//! something is not as it was are not used again.
#![allow(clippy::unwrap_used)]

mod common;

use common::daemon::{CLOSE_RANGE, WITHOUT_CALL};
use common::fake::{alive, ask, connect, expect_line, reply, request, rest_of};
use common::v3::Files;
use common::{have, is_root, wait_for, Daemon, DaemonPlan, Farm, Which, BOUND};
use distcc::model::wire::Version;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A compiler that leaves what it can, tells what it finds, or shows a file.
const FAKE: &str = r#"#!/usr/bin/perl
use POSIX ();
$| = 1;
my ($what, $of, $out, $before) = ('', '');
for (@ARGV) {
    $what = $1 if /^-DX=(.*)/; $of = $1 if /^-DOF=(.*)/; $out = $_ if $before eq '-o';
    $before = $_;
}
open my $object, '>', $out or die "object: $!";
my $own = $ENV{TMPDIR}; my $above = $own =~ s|/[^/]*$||r; chdir $own if $what ne '';
if ($what eq 'leave') {
    for my $at ('/', '/usr', '/etc', '/dev', '/tmp', $above, $own, '.') {
        for my $name ('left', 'x.i', 'x.c', 'out.o') { if (open my $file, '>', "$at/$name") { print $file 'left' } mkdir "$at/folder-$name"; symlink '/', "$at/link-$name"; }
        chmod 01777, $at; syscall(188, my $place = $at, my $name = 'user.left', my $value = 'x', 1, 0); utime 1, 1, $at;
    }
    for (1 .. 20) { next if fork; POSIX::setsid(); $SIG{$_} = 'IGNORE' for qw(TERM HUP INT); fork and POSIX::_exit(0); sleep 600 while 1 }
    umask 0; alarm 1000; kill 'USR1', 1; kill 'STOP', 1; kill 'KILL', 1; kill 'CONT', -1;
} elsif ($what eq 'find') {
    for my $at ('/', '/etc', '/dev', '/tmp', '/.distcc', $above, $own) {
        opendir my $folder, $at or next;
        my @names = map { $_ =~ s/^distccd_\w{8}$/OWN/r } sort readdir $folder;
        my ($mode, $links, $size) = (stat $at)[2, 3, 7];
        printf "%s: %o %s %s %s: %s\n", $at =~ s/distccd_\w{8}$/OWN/r, $mode, $links, $size, syscall(194, my $place = $at, my $room = ' ' x 99, 99), join ' ', @names;
    }
    printf "umask %o, %s processes to signal, masked %s\n", umask, kill(0, -1), join ' ', grep { $SIG{$_} } sort keys %SIG;
    print "descriptors ", join(' ', grep { POSIX::dup2($_, $_) } 0 .. 50), "\n";
} elsif ($what eq 'show') {
    open my $file, '<', $of or die "$of: $!"; print <$file>;
} elsif ($what eq 'have') {
    print -e $of ? "there\n" : "not there\n";
} elsif ($what eq 'hang') {
    sleep 600;
} elsif ($what eq 'memory') {
    print syscall(29, 0xd15cc, 4096, 0) >= 0 ? "there\n" : "not there\n"; syscall(29, 0xd15cc, 4096, 01666);
} elsif ($what eq 'stops') {
    $SIG{$_} = 'IGNORE' for qw(TSTP TTIN TTOU); kill $_, 0 for qw(TSTP TTIN TTOU);
}
print $object 'OBJ'; close $object;
exit 0;
"#;

struct Host {
    daemon: Daemon,
    farm: Farm,
}

impl Host {
    fn start(plan: impl Fn(DaemonPlan) -> DaemonPlan) -> Option<Host> {
        let host = Host::start_anyhow(plan)?;
        expect_line(&host.daemon, &["sandbox: namespaces"]);
        Some(host)
    }

    fn start_anyhow(plan: impl Fn(DaemonPlan) -> DaemonPlan) -> Option<Host> {
        if !have("daemon_cells", &["perl", "unshare"]) || !cfg!(target_arch = "x86_64") {
            return None;
        }
        let farm = Farm::new();
        let gcc = farm.path("bin/gcc");
        fs::create_dir_all(gcc.parent().unwrap()).unwrap();
        fs::write(&gcc, FAKE).unwrap();
        fs::set_permissions(&gcc, fs::Permissions::from_mode(0o755)).unwrap();
        let list = gcc.display().to_string();
        let daemon = farm.daemon(Which::Ours).jobs(1);
        let daemon = plan(daemon.options(&["--compilers", &list])).start();
        Some(Host { daemon, farm })
    }

    fn request(&self, kind: Version, what: &str, of: &str) -> Vec<u8> {
        let words = format!("gcc -DX={what} -DOF={of} -c x.c -o x.o");
        match kind {
            Version::V3 => Files::new("/home/me", &words)
                .file("x.c", "int x;\n")
                .bytes(),
            _ => request(kind, &words, "int x;\n"),
        }
    }

    fn job(&self, kind: Version, what: &str, of: &str) -> String {
        let answer = reply(kind, &ask(&self.daemon, &self.request(kind, what, of)));
        let said = String::from_utf8_lossy(&[answer.stdout, answer.stderr].concat()).into_owned();
        assert!(answer.status.success(), "{what}: {said}");
        said
    }

    /// The processes that answer for cells.
    fn cells(&self) -> Vec<String> {
        let mut cells = self.daemon.children();
        cells.retain(|cell| alive(cell));
        cells
    }
}

#[test]
fn nothing_is_left_for_the_next_job() {
    let Some(host) = Host::start(|plan| plan) else {
        return;
    };
    for kind in [Version::V1, Version::V3] {
        let before = host.job(kind, "find", "");
        let cells = host.cells();
        assert_eq!(cells.len(), 1);
        for by in [Version::V1, Version::V3] {
            host.job(by, "leave", "");
            assert_eq!(host.job(kind, "find", ""), before, "{by:?}, then {kind:?}");
        }
        assert_eq!(host.cells(), cells, "the namespaces are the same");
        assert!(before.contains("0 processes to signal"), "{before}");
        assert!(before.contains("descriptors 0 1 2"), "{before}");
    }
    assert_eq!(host.daemon.leftovers(), [""; 0]);
}

#[test]
fn one_that_has_ended_meanwhile_is_replaced() {
    let Some(host) = Host::start(|plan| plan) else {
        return;
    };
    for kind in [Version::V1, Version::V3, Version::V1] {
        host.job(kind, "", "");
        let cells = host.cells();
        for cell in &cells {
            common::signal("KILL", cell);
        }
        wait_for("it has ended", BOUND, || host.cells().is_empty());
        host.job(kind, "", "");
        assert!(host.cells() != cells && host.cells().len() == 1);
    }
}

/// How the processes between the daemon and a compiler end says nothing of the source: the client hears of no status. They
/// are one that answers for a cell, and its child, the first in it; without namespaces there is none but the former.
#[test]
fn one_that_ends_under_its_job_is_trouble_of_this_host() {
    let both = [Version::V1, Version::V3];
    for (in_cells, kills_first, kinds) in [
        (true, false, &both[..]),
        (true, true, &both),
        (false, false, &[Version::V1]),
    ] {
        let way = |plan: DaemonPlan| match in_cells {
            true => plan,
            false => plan.without_namespaces(),
        };
        let Some(host) = Host::start_anyhow(way) else {
            return;
        };
        let mark = host.daemon.port.to_string();
        for kind in kinds {
            let mut stream = connect(&host.daemon);
            let request = host.request(*kind, "hang", &mark);
            stream.write_all(&request).unwrap();
            wait_for("it runs", BOUND, || {
                let words =
                    processes().filter_map(|pid| fs::read(format!("/proc/{pid}/cmdline")).ok());
                let is_it = |words: Vec<u8>| {
                    String::from_utf8_lossy(&words).contains(&format!("-DX=hang\0-DOF={mark}\0"))
                };
                words
                    .filter(|words| !words.starts_with(b"distccd"))
                    .any(is_it)
            });
            for cell in host.cells() {
                match kills_first {
                    true => common::signal("KILL", &only_child(&cell)),
                    false => common::signal("KILL", &cell),
                }
            }
            assert_eq!(rest_of(&stream), b"", "{kind:?}, {kills_first}");
            host.job(*kind, "", "");
        }
        expect_line(
            &host.daemon,
            &["wait for the compiler: the process", "ended"],
        );
        assert_eq!(host.daemon.leftovers(), [""; 0]);
    }
}

fn only_child(pid: &str) -> String {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let [child] = children.split_whitespace().collect::<Vec<_>>()[..] else {
        panic!("{pid} has {children}");
    };
    child.to_owned()
}

fn processes() -> impl Iterator<Item = String> {
    let names = fs::read_dir("/proc").unwrap().flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Where no calls of the system are given up, shared memory would outlive its makers.
#[test]
fn memory_that_outlives_its_makers_goes_with_the_job() {
    let Some(host) = Host::start_anyhow(|plan| plan.options(&["--sandbox", "off"])) else {
        return;
    };
    for _ in 0..3 {
        assert_eq!(host.job(Version::V3, "memory", ""), "not there\n");
    }
    let here = fs::read_to_string("/proc/sysvipc/shm").unwrap();
    let keys = here.lines().map(|line| line.split_whitespace().next());
    assert!(!keys.into_iter().any(|key| key == Some("857548")), "{here}");
}

/// Jobs are in the group of the process that answers for their cell.
#[test]
fn a_job_can_not_stop_the_process_that_answers_for_its_cell() {
    let Some(host) = Host::start_anyhow(|plan| plan.options(&["--sandbox", "off"])) else {
        return;
    };
    host.job(Version::V3, "", "");
    let cells = host.cells();
    // Of plain jobs that are not to be confined each has such a process of its own, and ends with it.
    for kind in [Version::V1, Version::V3] {
        host.job(kind, "stops", "");
        for cell in &cells {
            let stat = fs::read_to_string(format!("/proc/{cell}/stat")).unwrap();
            let (_, rest) = stat.rsplit_once(") ").unwrap();
            assert!(!rest.starts_with('T'), "{stat}");
        }
    }
    assert!(!cells.is_empty() && host.cells() == cells);
}

/// As the first process of a container the daemon is everybody's parent who has lost his own.
#[test]
fn none_stays_dead_in_a_container() {
    let container = &["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"][..];
    let no_call = ["perl", "-e", WITHOUT_CALL, CLOSE_RANGE];
    for before in [&[][..], &no_call] {
        if is_root() {
            none_stays_dead_within(&[before, container].concat());
        }
    }
}

fn none_stays_dead_within(within: &[&str]) {
    let Some(host) = Host::start(|plan| plan.within(within).jobs(4)) else {
        return;
    };
    for _ in 0..3 {
        for kind in [Version::V1, Version::V3] {
            let mut stream = connect(&host.daemon);
            stream.write_all(&host.request(kind, "hang", "")).unwrap();
            wait_for("it runs", BOUND, || has_compiler(&host));
            drop(stream);
            wait_for("it has ended", BOUND, || !has_compiler(&host));
        }
    }
    host.job(Version::V1, "", "");
    wait_for("nobody is dead", BOUND, || {
        host.daemon.below().iter().all(|pid| alive(pid))
    });
    let first = host.daemon.below().swap_remove(0);
    // A daemon would be ended by the one, and stopped by the other.
    for signal in ["USR1", "TSTP"] {
        common::signal(signal, &first);
    }
    wait_for("they have come", BOUND, || !has_waiting_signals(&first));
    host.job(Version::V1, "", "");
    // Who stays behind passes the others on, and keeps nothing open.
    let mut stream = connect(&host.daemon);
    stream
        .write_all(&host.request(Version::V1, "hang", ""))
        .unwrap();
    wait_for("it runs", BOUND, || has_compiler(&host));
    common::signal("TERM", &first);
    wait_for("nobody listens", BOUND, || {
        !common::listens(host.daemon.port)
    });
    assert!(has_compiler(&host), "it may come to its end");
    common::signal("INT", &first);
    wait_for("it has ended", BOUND, || host.daemon.below().is_empty());
}

/// Also where whoever starts it has its dead children reaped by the system.
#[test]
fn jobs_come_to_their_end_when_the_life_of_a_container_is_over() {
    if !is_root() {
        return;
    }
    let within = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let reaped = ["sh", "-c", "trap '' CHLD; exec \"$0\" \"$@\""];
    let plan = |plan: DaemonPlan| {
        let plan = plan.within(&[&within[..], &reaped].concat());
        plan.options(&["--lifetime", "8"])
    };
    let Some(host) = Host::start(plan) else {
        return;
    };
    let mut stream = connect(&host.daemon);
    let request = host.request(Version::V1, "hang", "");
    stream.write_all(&request).unwrap();
    wait_for("it runs", BOUND, || has_compiler(&host));
    let first = host.daemon.below().swap_remove(0);
    wait_for("nobody listens", BOUND, || {
        !common::listens(host.daemon.port)
    });
    // Whatever was to come has come by then.
    wait_for("it is told", BOUND, || {
        host.daemon.log_text().contains("SIGALRM")
    });
    std::thread::sleep(Duration::from_millis(500));
    assert!(has_compiler(&host), "it may come to its end");
    common::signal("INT", &first);
    wait_for("it has ended", BOUND, || host.daemon.below().is_empty());
}

fn has_waiting_signals(pid: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let waiting = status.lines().filter(|line| line.contains("Pnd:"));
    waiting
        .flat_map(|line| line.split_whitespace().nth(1))
        .any(|set| set.contains(|digit| digit != '0'))
}

fn has_compiler(host: &Host) -> bool {
    host.daemon.below().iter().any(|pid| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm"));
        name.is_ok_and(|name| name.starts_with("gcc"))
    })
}

/// A job that is broken off takes its namespaces along, and leaves none behind that wait.
#[test]
fn there_are_no_more_than_jobs_at_once() {
    let Some(host) = Host::start(|plan| plan.jobs(3)) else {
        return;
    };
    for _ in 0..5 {
        std::thread::scope(|scope| {
            for _ in 0..9 {
                scope.spawn(|| host.job(Version::V1, "", ""));
            }
        });
    }
    assert!((1..=3).contains(&host.cells().len()));
}

#[test]
fn a_file_that_takes_anothers_place_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().canonicalize().unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    let shown = folder.join("shown");
    let place = |text: &str| {
        let next = folder.join("next");
        fs::write(&next, text).unwrap();
        fs::rename(&next, &shown).unwrap();
    };
    place("first");
    let name = shown.display().to_string();
    let Some(host) = Host::start(|plan| plan.options(&["--show", &name])) else {
        return;
    };
    for kind in [Version::V1, Version::V3] {
        for text in ["first", "second", "third"] {
            place(text);
            assert_eq!(host.job(kind, "show", &name), text);
        }
    }
}

#[test]
fn what_is_mounted_later_is_seen() {
    if !is_root() || !have("daemon_cells", &["nsenter", "mount"]) {
        return;
    }
    let within = ["unshare", "--mount", "sh", "-ec", "exec \"$0\" \"$@\""];
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().canonicalize().unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    let inner = folder.join("inner");
    fs::create_dir(&inner).unwrap();
    let name = folder.display().to_string();
    let plan = |plan: DaemonPlan| plan.within(&within).options(&["--show", &name]);
    let Some(host) = Host::start(plan) else {
        return;
    };
    let file = inner.join("file").display().to_string();
    for kind in [Version::V1, Version::V3] {
        assert_eq!(host.job(kind, "have", &file), "not there\n");
        let mount = "mount -t tmpfs none \"$0\" && touch \"$0/file\"";
        in_mounts(&host, mount, &inner);
        assert_eq!(host.job(kind, "have", &file), "there\n");
        in_mounts(&host, "umount \"$0\"", &inner);
        assert_eq!(host.job(kind, "have", &file), "not there\n");
    }
}

fn in_mounts(host: &Host, script: &str, place: &Path) {
    let pid = host.daemon.pid().to_string();
    let done = Command::new("nsenter")
        .args(["-t", &pid, "--mount", "sh", "-ec", script])
        .arg(place)
        .status();
    assert!(done.unwrap().success());
}

/// Where jobs' folders are could be above a compiler.
#[test]
fn a_compiler_below_their_place_is_seen() {
    let Some(host) = Host::start(|plan| plan) else {
        return;
    };
    let above = host.farm.path("").display().to_string();
    let list = host.farm.path("bin/gcc").display().to_string();
    let plan = host.farm.daemon(Which::Ours).env("TMPDIR", &above);
    let daemon = plan.options(&["--compilers", &list]).start();
    let inner = Host {
        daemon,
        farm: Farm::new(),
    };
    for kind in [Version::V1, Version::V3] {
        inner.job(kind, "", "");
        inner.job(kind, "leave", "");
    }
}
