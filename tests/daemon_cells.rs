//! Jobs that are done one after the other in the same namespaces: nothing of one is there for the next, and namespaces in which
//! something is not as it was are not used again.
#![allow(clippy::unwrap_used)]

mod common;

use common::fake::{alive, ask, expect_line, reply, request};
use common::v3::Files;
use common::{have, is_root, wait_for, Daemon, DaemonPlan, Farm, Which, BOUND};
use distcc::model::wire::Version;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

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
        expect_line(&daemon, &["sandbox: namespaces"]);
        Some(Host { daemon, farm })
    }

    fn job(&self, kind: Version, what: &str, of: &str) -> String {
        let words = format!("gcc -DX={what} -DOF={of} -c x.c -o x.o");
        let request = match kind {
            Version::V3 => Files::new("/home/me", &words)
                .file("x.c", "int x;\n")
                .bytes(),
            _ => request(kind, &words, "int x;\n"),
        };
        let answer = reply(kind, &ask(&self.daemon, &request));
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
