//! What a compiler that was taken over by its job can do on a host: in plain mode and in pump mode, under a daemon that root or
//! somebody else has started, in namespaces and without. Nothing of it goes beyond the job, and the next job is served.
#![allow(clippy::unwrap_used)]

mod common;

use common::daemon::NO_NAMESPACES;
use common::fake::{alive, ask, connect, expect_line, reply, request, rest_of};
use common::v3::Files;
use common::{have, is_root, wait_for, Daemon, DaemonPlan, Farm, Which, BOUND};
use distcc::model::wire::{Reply, Version};
use distcc::os::fence;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{chown, PermissionsExt};
use std::path::Path;

/// A compiler that writes an object, then does what `-DX=…` says to what `-DOF=…` names, and says what it could do.
const MISCHIEF: &str = r#"#!/usr/bin/perl
use Socket; use POSIX ();
$| = 1;
my ($what, $of, $out, $before) = ('', '');
for (@ARGV) {
    $what = $1 if /^-DX=(.*)/; $of = $1 if /^-DOF=(.*)/; $out = $_ if $before eq '-o';
    $before = $_;
}
open my $object, '>', $out or die "object: $!"; print $object 'OBJ'; close $object;
my @of = split /:/, $of;
sub can { my ($could, $did) = @_; print "$did\n" if $could; }
if ($what eq 'read') {
    for (@of, '/etc/passwd', '/etc/shadow', '/etc/hostname', '/proc/1/environ', '/proc/self/maps', '/proc/net/tcp', '/sys/kernel', '/root', '/srv', '/var', '/dev/mem', '/dev/tty') {
        can((open my $file, '<', $_), "opened $_"); can((opendir my $folder, $_), "listed $_");
    }
} elsif ($what eq 'write') {
    for (@of, '/usr', '/usr/lib', '/bin', '/etc/alternatives', '/var/tmp', '/dev/shm') {
        can((open my $file, '>', "$_/confined-was-here"), "wrote in $_");
        can((open my $own, '>>', $_), "wrote to $_"); can(chmod(0777, $_), "changed $_"); can(utime(1, 1, $_), "dated $_");
    }
    # This file is to be read and run, and that is all.
    can(sysopen(my $emptied, $0, 01000), "emptied $0");
    open my $itself, '<', $0 or die; my $number = fileno $itself; my ($name, $value) = ('user.x', 'y');
    can(chmod(04777, $itself), "changed $0"); can(syscall(190, $number, $name, $value, 1, 0) == 0, "marked $0");
    my $flags = pack 'Q', 0; syscall(16, $number, 0x80086601, $flags); $flags |= pack 'Q', 0x40;
    can(syscall(16, $number, 0x40086602, $flags) == 0, "flagged $0");
    open my $own, '>', 'own' or die; can(!utime(1, 1, $own), 'could not date its own');
} elsif ($what eq 'connect') {
    for ([AF_INET, SOCK_STREAM, 'tcp'], [AF_INET, SOCK_DGRAM, 'udp'], [AF_INET6, SOCK_STREAM, 'tcp6'], [AF_UNIX, SOCK_STREAM, 'unix'],
         [16, SOCK_RAW, 'netlink'], [17, SOCK_RAW, 'packet'], [AF_INET, SOCK_RAW, 'raw'], [40, SOCK_STREAM, 'vsock']) {
        my ($family, $type, $name) = @$_;
        can(socket(my $socket, $family, $type, 0), "socket $name");
    }
} elsif ($what eq 'reach') {
    for my $pid (@of, getppid, 1) {
        next if $pid <= 0 || $pid == $$;
        can(kill(0, $pid), "signalled $pid") unless $pid == 1;
        can(syscall(101, 16, $pid, 0, 0) == 0, "traced $pid");
        can((open my $memory, '<', "/proc/$pid/mem"), "opened the memory of $pid");
        my $bytes = ' ' x 16; my $here = pack 'PQ', $bytes, 16;
        can(syscall(310, $pid, $here, 1, $here, 1, 0) > 0, "read $pid");
        can(syscall(141, 0, $pid, 19) == 0, "slowed $pid");
        can(syscall(251, 1, $pid, 0x4000) == 0, "slowed files of $pid");
        my ($first, $none, $usual) = (pack('Q', 1), pack('L', 0), pack('LLQlLQQQ', 48, 0, 0, 0, 0, 0, 0, 0));
        can(syscall(203, $pid, 8, $first) == 0, "moved $pid");
        can(syscall(144, $pid, 3, $none) == 0, "scheduled $pid");
        can(syscall(142, $pid, $none) == 0, "set parameters of $pid");
        can(syscall(314, $pid, $usual, 0) == 0, "set attributes of $pid");
    }
    can(syscall(141, $_, 0, 19) == 0, "slowed all") for 1, 2;
    can(syscall(251, $_, 0, 0x4000) == 0, "slowed files of all") for 2, 3;
    my ($asked, $rights) = (pack('LL', 0x20080522, 0), pack('L6', 0, 0, 0, 0, 0, 0));
    can(syscall(125, $asked, $rights) != 0 || substr($rights, 0, 8) . substr($rights, 12, 8) ne "\0" x 16, 'has rights');
    my $every = pack 'Q', -1;
    can(syscall(141, 0, 0, 19) != 0 || syscall(203, 0, 8, $every) != 0 || syscall(251, 1, 0, 0x4000) != 0, 'could not slow itself');
    can(syscall(319, my $name = 'x', 0) >= 0, 'made memory without a name');
    can(syscall(157, 4, 0) == 0, 'hid what it holds');
    can(POSIX::setsid() > 0, 'left the session'); can(POSIX::setpgid(0, 0), 'left the group');
} elsif ($what eq 'use-up') {
    can(socketpair(my $one, my $other, AF_UNIX, SOCK_STREAM, 0), 'made two sockets');
    can(syscall(213, 1) >= 0 || syscall(291, 0) >= 0, 'could watch descriptors');
    can(syscall(253) >= 0 || syscall(294, 0) >= 0 || syscall(300, 0x200, 0) >= 0, 'could watch files');
    sysopen my $folder, '/usr/include', 0 or die; can(syscall(72, fileno $folder, 1026, 1) == 0, 'could watch a folder');
    open my $leased, '<', $out or die; can(syscall(72, fileno $leased, 1024, 0) == 0, 'could hold up who opens a file');
    my $queue = pack 'Q', 0; can(syscall(206, 1, $queue) == 0, 'made a queue');
    my ($timer, $timers) = (pack('L', 0), 0); $timers++ while $timers < 1000 && syscall(222, 1, 0, $timer) == 0;
    can($timers > 256, "made $timers timers");
    for (11 .. 14) { my $limit = pack 'QQ', 0, 0; syscall 97, $_, $limit; can((unpack 'QQ', $limit)[1] > ($_ == 11 ? 256 : 0), "limit $_") }
} elsif ($what eq 'own') {
    my $own = $ENV{TMPDIR};
    mkdir "$own/a"; symlink '/', "$own/b"; chmod 0, "$own/a"; rename $own, "$own-other"; chmod 0, $own; chdir '/'; chmod 0, '.';
} elsif ($what eq 'stay') {
    for (1 .. 3) { next if fork; POSIX::setsid(); fork and POSIX::_exit(0); $0 = "stays $of"; sleep 600; POSIX::_exit(0) }
} elsif ($what eq 'stubborn') {
    $SIG{$_} = 'IGNORE' for qw(TERM INT HUP QUIT PIPE); $0 = "stays $of"; fork; sleep 600 while 1;
} elsif ($what eq 'stopped') {
    $0 = "stays $of"; fork; kill 'STOP', $$; sleep 600;
} elsif ($what eq 'bomb' or $what eq 'orphans') {
    my $count = 0; $0 = "stays $of"; pipe my $heard, my $told;
    if ($what eq 'orphans') {
        # An orphan forks, so that the compiler itself has no children.
        if (my $middle = fork) { close $told; waitpid $middle, 0; print scalar readline $heard; exit 0 }
        fork and POSIX::_exit(0);
    }
    while ($count < 1000) { my $pid = fork; last unless defined $pid; if (!$pid) { sleep 600; POSIX::_exit(0) } $count++ }
    sleep 600 if $count >= 1000;
    $what eq 'bomb' ? print "forked $count\n" : syswrite $told, "forked $count\n";
} elsif ($what eq 'swell') {
    my $count = 1 << 30; my $much = 'x' x $count; print "swelled\n";
} elsif ($what eq 'herd') {
    $0 = "stays $of";
    for (1 .. 8) { next if fork; syscall(157, 4, 0); my $much = 'x'; $much x= 300 << 20; sleep 600; POSIX::_exit(0) }
    sleep 600;
} elsif ($what eq 'fill') {
    open my $file, '>', 'large' or die; local $SIG{XFSZ} = 'IGNORE';
    can(truncate($file, 5 << 30), 'made a long file');
    can(syscall(285, fileno $file, 0, 0, 3 << 30) == 0, 'took 3 GB');
    my @files; while (open my $next, '>', 'f' . @files) { push @files, $next; last if @files > 5000 }
    can(@files > 5000, 'opened 5000 files');
}
exit 0;
"#;

/// Where an ordinary user sees no processes but its own: in a table of processes that nobody else looks at.
const HIDDEN: &[&str] = &[
    "unshare",
    "--mount",
    "sh",
    "-ec",
    "mount -t proc -o hidepid=2 proc /proc; exec \"$0\" \"$@\"",
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
];

/// The user as which daemons run if root starts them here.
const NOBODY: u32 = 65534;

/// How a daemon is started.
const WAYS: &[&str] = &["root", "nobody", "without namespaces"];

struct Host {
    daemon: Daemon,
    way: &'static str,
    farm: Farm,
}

impl Host {
    fn start(way: &'static str, options: &[&str]) -> Host {
        let farm = Farm::new();
        let folder = farm.path("mischief");
        fs::create_dir_all(&folder).unwrap();
        let gcc = folder.join("gcc");
        fs::write(&gcc, MISCHIEF).unwrap();
        fs::set_permissions(&gcc, fs::Permissions::from_mode(0o755)).unwrap();
        owned_by_nobody(&gcc);
        let list = gcc.display().to_string();
        let plan = plan(&farm, way);
        let daemon = plan
            .options(&["--compilers", &list])
            .options(options)
            .start();
        Host { daemon, way, farm }
    }

    /// A job of either kind that does `what` to `of`.
    fn request(&self, kind: Version, what: &str, of: &str) -> Vec<u8> {
        let words = format!("gcc -DX={what} -DOF={of} -c x.c -o x.o");
        match kind {
            Version::V3 => Files::new("/home/me", &words)
                .file("x.c", "int x;\n")
                .bytes(),
            _ => request(kind, &words, "int x;\n"),
        }
    }

    fn ask(&self, kind: Version, what: &str, of: &str) -> Reply {
        reply(kind, &ask(&self.daemon, &self.request(kind, what, of)))
    }

    /// What it could do.
    fn could(&self, kind: Version, what: &str, of: &str) -> String {
        let reply = self.ask(kind, what, of);
        let told = String::from_utf8_lossy(&[reply.stdout, reply.stderr].concat()).into_owned();
        assert_eq!(
            reply.object.as_deref(),
            Some(&b"OBJ"[..]),
            "{}: {what}: {told}",
            self.way
        );
        told
    }

    #[track_caller]
    fn expect_served(&self) {
        for kind in [Version::V1, Version::V3] {
            assert_eq!(self.could(kind, "", ""), "", "{}", self.way);
        }
    }

    #[track_caller]
    fn expect_clean(&mut self) {
        self.expect_served();
        assert_eq!(self.daemon.leftovers(), [""; 0], "{}", self.way);
        assert!(self.daemon.alive(), "{}", self.way);
    }

    /// A mark that no other process of this machine has in its name.
    fn mark(&self, kind: Version) -> String {
        format!("{}.{}", 70_000 + u32::from(self.daemon.port), kind as u32)
    }
}

/// As is much of what an ordinary user's daemon sees.
fn owned_by_nobody(path: &Path) {
    if is_root() {
        chown(path, Some(NOBODY), None).unwrap();
    }
}

fn plan(farm: &Farm, way: &str) -> DaemonPlan {
    let plan = farm.daemon(Which::Ours);
    match way {
        "nobody" => plan.by_nobody(),
        "without namespaces" => plan.without_namespaces(),
        "with rights" => plan.without_namespaces_but_with_rights(),
        "hidden" => plan.within(HIDDEN),
        "hidden, without namespaces" => plan.within(&[HIDDEN, NO_NAMESPACES].concat()),
        _ => plan,
    }
}

/// The processes that call themselves by the mark.
fn stays(mark: &str) -> Vec<String> {
    let name = format!("stays {mark}");
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().into_string().ok());
    pids.filter(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.starts_with(name.as_bytes()) && alive(pid)
    })
    .collect()
}

#[track_caller]
fn expect_none_stays(mark: &str, way: &str) {
    wait_for(&format!("nobody stays, {way}"), BOUND, || {
        stays(mark).is_empty()
    });
}

fn have_all() -> bool {
    have("daemon_confined", &["perl", "unshare", "setpriv"])
        && fence::has_filters()
        && fence::has_files()
        && cfg!(target_arch = "x86_64") // Whose numbers of calls the mischief knows.
}

#[test]
fn it_sees_and_changes_nothing_else() {
    if !have_all() {
        return;
    }
    for way in WAYS {
        let mut host = Host::start(way, &[]);
        let secret = host.farm.path("secret");
        fs::write(&secret, "x").unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o666)).unwrap();
        owned_by_nobody(&secret);
        let daemon = format!("/proc/{}/environ", host.daemon.pid());
        let own = host.daemon.log.parent().unwrap();
        let places = [
            secret.as_path(),
            &host.daemon.log,
            &host.daemon.tmp,
            own,
            Path::new(&daemon),
        ];
        let places: Vec<String> = places
            .iter()
            .map(|place| place.display().to_string())
            .collect();
        // A job that lasts, whose folder others might look for.
        let mut other = connect(&host.daemon);
        let mark = host.mark(Version::V1);
        other
            .write_all(&host.request(Version::V1, "stubborn", &mark))
            .unwrap();
        wait_for("the other job runs", BOUND, || !stays(&mark).is_empty());
        for kind in [Version::V1, Version::V3] {
            let read = host.could(kind, "read", &places.join(":"));
            // The folder above a job's own is seen in a view, with nothing but the job in it.
            let is_own = |line: &&str| {
                let path = line.split_once(' ').map_or("", |(_, path)| path);
                host.daemon.tmp.starts_with(path) && *way != "without namespaces"
            };
            let read: Vec<&str> = read.lines().filter(|line| !is_own(line)).collect();
            assert_eq!(read, [""; 0], "{way}, {kind:?}");
            let wrote = host.could(kind, "write", &format!("{}:{}", places[0], places[3]));
            // What it makes of a view's own memory is nobody's.
            let is_view = |line: &&str| {
                let path = line.split(' ').next_back().unwrap_or_default();
                *way != "without namespaces"
                    && !path.starts_with("/usr")
                    && path != "/bin"
                    && path != "/etc/alternatives"
            };
            let wrote: Vec<&str> = wrote.lines().filter(|line| !is_view(line)).collect();
            assert_eq!(wrote, [""; 0], "{way}, {kind:?}");
        }
        let mode = fs::metadata(&secret).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o666);
        assert_eq!(fs::read(&secret).unwrap(), b"x");
        for folder in [
            own,
            Path::new("/dev/shm"),
            Path::new("/var/tmp"),
            Path::new("/usr"),
        ] {
            assert!(!folder.join("confined-was-here").exists(), "{way}");
        }
        drop(other);
        expect_none_stays(&mark, way);
        host.expect_clean();
    }
}

#[test]
fn it_reaches_nobody() {
    if !have_all() || !fence::has_scopes() {
        return;
    }
    for way in WAYS.iter().chain(&["with rights"]) {
        let mut host = Host::start(way, &[]);
        for kind in [Version::V1, Version::V3] {
            for what in ["connect", "use-up"] {
                assert_eq!(host.could(kind, what, ""), "", "{way}, {kind:?}");
            }
            let pids = format!("{}:{}", host.daemon.pid(), std::process::id());
            assert_eq!(host.could(kind, "reach", &pids), "", "{way}, {kind:?}");
        }
        host.expect_clean();
    }
}

/// However it hides, ignores signals or stops itself.
#[test]
fn it_ends_with_its_job() {
    if !have_all() {
        return;
    }
    for way in WAYS {
        let mut host = Host::start(way, &[]);
        for kind in [Version::V1, Version::V3] {
            let mark = host.mark(kind);
            host.could(kind, "stay", &mark);
            expect_none_stays(&mark, way);
            for what in ["stubborn", "stopped"] {
                let mut stream = connect(&host.daemon);
                stream.write_all(&host.request(kind, what, &mark)).unwrap();
                wait_for("both run", BOUND, || stays(&mark).len() == 2);
                drop(stream);
                expect_none_stays(&mark, way);
            }
            // Its output can't be read then; what matters is that all of it goes.
            ask(&host.daemon, &host.request(kind, "own", ""));
        }
        host.expect_clean();
        // Nor does it outlive a daemon that is killed outright.
        let mark = host.mark(Version::V1);
        for kind in [Version::V1, Version::V3] {
            let mut stream = connect(&host.daemon);
            stream
                .write_all(&host.request(kind, "stubborn", &mark))
                .unwrap();
            wait_for("both run", BOUND, || {
                stays(&mark).len() % 2 == 0 && !stays(&mark).is_empty()
            });
            std::mem::forget(stream);
        }
        wait_for("all run", BOUND, || stays(&mark).len() == 4);
        common::signal("KILL", &host.daemon.pid().to_string());
        expect_none_stays(&mark, way);
    }
}

/// The next job is served while it tries.
#[test]
fn its_processes_are_counted() {
    if !have_all() {
        return;
    }
    let jobs = ["bomb", "orphans"]
        .map(|what| [Version::V1, Version::V3].map(|kind| (what, kind)))
        .concat();
    for way in WAYS {
        let mut host = Host::start(way, &[]);
        for &(what, kind) in &jobs {
            let mark = host.mark(kind);
            let mut stream = connect(&host.daemon);
            stream.write_all(&host.request(kind, what, &mark)).unwrap();
            wait_for("it forks", BOUND, || {
                !stays(&mark).is_empty() || !host.daemon.jobs().is_empty()
            });
            host.expect_served();
            let answer = reply(kind, &rest_of(&stream));
            let told =
                String::from_utf8_lossy(&[answer.stdout, answer.stderr].concat()).into_owned();
            match *way {
                "without namespaces" => assert!(told.contains("more than 256 processes"), "{told}"),
                _ => {
                    let count: usize = told
                        .trim_start_matches("forked ")
                        .trim_end()
                        .parse()
                        .unwrap();
                    assert!((100..256).contains(&count), "{told}");
                }
            }
            expect_none_stays(&mark, way);
        }
        host.expect_clean();
    }
}

#[test]
fn its_memory_and_files_are_bounded() {
    if !have_all() {
        return;
    }
    for way in WAYS {
        let mut host = Host::start(way, &["--job-memory", "256M"]);
        for kind in [Version::V1, Version::V3] {
            let swollen = host.ask(kind, "swell", "");
            let told = String::from_utf8_lossy(&swollen.stderr).into_owned();
            assert!(
                !swollen.status.success() && told.contains("Out of memory"),
                "{told}"
            );
            let filled = host.could(kind, "fill", "");
            // On disk there is as much as there is.
            let took = filled.replace("took 3 GB\n", "");
            assert_eq!(took, "", "{way}");
            assert!(
                filled.is_empty() || *way == "without namespaces",
                "{way}: {filled}"
            );
        }
        host.expect_clean();
    }
}

/// Of 2.4 GB none of its processes takes more than an eighth.
#[test]
fn its_memory_is_bounded_all_together() {
    if !have_all() {
        return;
    }
    let hidden = ["hidden", "hidden, without namespaces"];
    let hidden = hidden.iter().filter(|_| is_root());
    let seen = how_processes_are_seen();
    for way in WAYS.iter().chain(hidden) {
        let mut host = Host::start(way, &["--job-memory", "1G"]);
        for kind in [Version::V1, Version::V3] {
            let mark = host.mark(kind);
            let answer = host.ask(kind, "herd", &mark);
            let told = String::from_utf8_lossy(&answer.stderr).into_owned();
            let why = "more than the 1024 MB of --job-memory";
            assert!(
                answer.status.exit_code() == Some(113) && told.contains(why),
                "{way}: {told}"
            );
            expect_line(&host.daemon, &["job refused: gcc: killed", why]);
            expect_none_stays(&mark, way);
        }
        host.expect_clean();
    }
    assert_eq!(seen, how_processes_are_seen(), "this machine is as before");
}

/// The tables of processes that are mounted here, with their options.
fn how_processes_are_seen() -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let tables = mounts.lines().filter(|line| line.contains(" proc "));
    tables.map(str::to_owned).collect()
}

/// The assembler and the preprocessor read files, too.
#[test]
fn no_text_brings_a_file_of_the_host_home() {
    if !have_all() || !have("daemon_confined", &["gcc", "clang"]) {
        return;
    }
    for way in WAYS {
        let farm = Farm::new();
        let daemon = plan(&farm, way)
            .options(&["--compilers", "gcc,clang"])
            .start();
        let secret = "PRETTY_NAME_OF_NOBODY";
        let file = farm.path("secret.h");
        fs::write(&file, format!("int {secret};\n")).unwrap();
        let file = file.display();
        let texts = [
            format!("__asm__(\".incbin \\\"{file}\\\"\");\n"),
            format!("__asm__(\".include \\\"{file}\\\"\");\n"),
            format!("#include \"{file}\"\n"),
            format!("#include <{}{file}>\n", "../".repeat(12)),
            "__asm__(\".incbin \\\"/proc/self/environ\\\"\");\n".to_owned(),
        ];
        for text in &texts {
            for compiler in ["gcc", "clang"] {
                let words = format!("{compiler} -g -fdirectives-only -x c -c x.c -o x.o");
                let marked = format!(
                    "# 1 \"x.c\"\n# 1 \"/home/me//\"\n# 1 \"<command-line>\"\n# 1 \"x.c\"\n{text}"
                );
                let files =
                    Files::new("/home/me", &format!("{compiler} -c x.c -o x.o")).file("x.c", text);
                for (kind, request) in [
                    (Version::V1, request(Version::V1, &words, &marked)),
                    (
                        Version::V1,
                        request(Version::V1, &format!("{compiler} -c x.c -o x.o"), text),
                    ),
                    (Version::V3, files.bytes()),
                ] {
                    let answer = reply(kind, &ask(&daemon, &request));
                    let all = [
                        answer.object.unwrap_or_default(),
                        answer.stderr,
                        answer.stdout,
                    ]
                    .concat();
                    let all = String::from_utf8_lossy(&all);
                    assert!(
                        !all.contains(secret) && !all.contains("LC_ALL="),
                        "{way}: {compiler}: {text}: {all}"
                    );
                    assert!(!answer.status.success(), "{way}: {compiler}: {text}");
                }
            }
        }
    }
}
