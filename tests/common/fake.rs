//! A compiler that does what a test wants, daemons that have it, and requests made by hand.

use super::{wait_for, Daemon, DaemonPlan, Farm, Which, BOUND};
use distcc::model::decode_reply::ReplyDecoder;
use distcc::model::wire::{encode_plain_request, Reply, Version};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A compiler that does what an option `-fake=…` says, and without one writes three bytes.
const FAKE: &str = r#"#!/bin/sh
here=$(dirname "$0")
for word; do
  case $word in -fake=*) fake=${word#-fake=};; esac
  case $before in -o) out=$word;; esac
  before=$word
done
printf OBJ > "$out"
case $fake in
  rmout) rm "$out";;
  outfail) exit 3;;
  sleep) sleep 600 & echo $$ $! > "$here/pids"; wait;;
  stubborn) trap '' TERM; echo $$ > "$here/pids"; while :; do sleep 1; done;;
  gate) echo $$ > "$here/pids"; while [ ! -e "$here/gate" ]; do sleep 0.02; done;;
  segv) echo 'about to crash' >&2; kill -SEGV $$;;
  big) head -c 3000000 /dev/zero > "$out";;
  huge) head -c 60000000 /dev/urandom > "$out";;
  flood) yes >&2;;
  empty) : > "$out";;
  stdout) echo 'hello on stdout'; echo 'and stderr' >&2;;
  mess) mkdir -p a/b; touch a/b/x.dwo x.su "$TMPDIR/y"; (setsid sleep 1 &);;
  look) { pwd; env; grep SigBlk /proc/self/status; ls -l /proc/self/fd
    for fd in 3 4 5 6 7 8 9; do (: <&$fd) && echo "open $fd"; done; } > "$here/seen" 2>/dev/null;;
esac
exit 0
"#;

/// A farm whose daemons have the fake compiler as `gcc`.
pub fn fake_farm() -> (Farm, PathBuf) {
    let farm = Farm::new();
    let folder = farm.path("fake");
    fs::create_dir_all(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    let gcc = folder.join("gcc");
    fs::write(&gcc, FAKE).unwrap();
    fs::set_permissions(&gcc, fs::Permissions::from_mode(0o755)).unwrap();
    (farm, folder)
}

/// A daemon whose only compiler is the fake one, which may write notes beside itself.
pub fn fake_daemon(farm: &Farm, folder: &Path) -> DaemonPlan {
    let gcc = folder.join("gcc").display().to_string();
    let share = folder.display().to_string();
    let options = ["--compilers", &gcc, "--share", &share];
    farm.daemon(Which::Ours).options(&options)
}

/// A recorded session's bytes.
pub fn capture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures");
    fs::read(folder.join(name)).unwrap()
}

/// A connection on which nothing waits for ever.
pub fn connect(daemon: &Daemon) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", daemon.port)).unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    stream
}

/// All that comes until the end; a reset counts as the end.
pub fn rest_of(mut stream: &TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Err(err) = stream.read_to_end(&mut bytes) {
        assert_eq!(err.kind(), std::io::ErrorKind::ConnectionReset);
    }
    bytes
}

/// Sends a request and reads all of the answer.
pub fn ask(daemon: &Daemon, request: &[u8]) -> Vec<u8> {
    let mut stream = connect(daemon);
    let _ = stream.write_all(request); // It may be refused in the middle.
    rest_of(&stream)
}

/// A plain request.
pub fn request(version: Version, words: &str, text: &str) -> Vec<u8> {
    let words: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
    encode_plain_request(version, &words, [text.as_bytes(), b""]).unwrap()
}

/// The answer, which must be whole.
#[track_caller]
pub fn reply(version: Version, bytes: &[u8]) -> Reply {
    read(ReplyDecoder::for_reply(version, Default::default()), bytes)
}

/// The answer to a pump job that asks for files beside the object.
#[track_caller]
pub fn reply_with_sides(bytes: &[u8]) -> Reply {
    read(
        ReplyDecoder::for_reply_with_sides(Default::default()),
        bytes,
    )
}

#[track_caller]
fn read(mut decoder: ReplyDecoder, bytes: &[u8]) -> Reply {
    let mut rest = bytes;
    while !rest.is_empty() && !decoder.is_done() {
        let space = decoder.space();
        let count = space.len().min(rest.len());
        space[..count].copy_from_slice(&rest[..count]);
        decoder.filled(count).unwrap();
        rest = &rest[count..];
    }
    decoder
        .reply()
        .unwrap_or_else(|err| panic!("{err}: {}", bytes.escape_ascii()))
}

/// The answer to a small job with these words.
pub fn job(daemon: &Daemon, words: &str) -> Vec<u8> {
    ask(daemon, &request(Version::V1, words, "int a;\n"))
}

/// Panics unless a small job goes well.
#[track_caller]
pub fn expect_ok(daemon: &Daemon) {
    let answer = reply(Version::V1, &job(daemon, "gcc -c x.c -o x.o"));
    assert_eq!(answer.object.unwrap(), b"OBJ");
}

/// Waits for a line in the log with all these parts.
#[track_caller]
pub fn expect_line(daemon: &Daemon, parts: &[&str]) {
    wait_for(&format!("{parts:?} in the log"), BOUND, || {
        let log = daemon.log_text();
        log.lines()
            .any(|line| parts.iter().all(|part| line.contains(part)))
    });
}

/// Whether a process runs.
pub fn alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

/// The fake compiler's processes, once it has noted that they run. The numbers in its note are those of its own namespace.
pub fn noted(folder: &Path) -> Vec<String> {
    wait_for("the compiler's note", BOUND, || {
        fs::read_to_string(folder.join("pids")).is_ok_and(|text| text.ends_with('\n'))
    });
    let gcc = folder.join("gcc").display().to_string();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().into_string().ok());
    let is_fake = |pid: &String| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0);
        words.nth(1).is_some_and(|script| script == gcc.as_bytes())
    };
    let mut found: Vec<String> = pids.filter(is_fake).collect();
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = children.unwrap_or_default();
        found.extend(children.split_whitespace().map(str::to_owned));
        next += 1;
    }
    assert!(!found.is_empty(), "it has noted that it runs");
    found
}

/// Waits until these processes have ended.
#[track_caller]
pub fn expect_gone(pids: &[String]) {
    wait_for("the compiler's end", BOUND, || {
        pids.iter().all(|pid| !alive(pid))
    });
}
