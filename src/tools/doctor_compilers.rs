//! `distcc doctor`: the compilers of this machine, and a host's beside them. Each is asked, here and there, to compile a
//! source that tells what compiler it was, in pump mode, since there the host's compiler sees the source as it is.

use super::bounded;
use super::toolchain::Toolchain;
use crate::farm::cross::{server_compiler, ServerCompiler};
use crate::farm::transport::connect;
use crate::model::about::{self, About, Time};
use crate::model::decode_reply::ReplyDecoder;
use crate::model::error::{Code, Error, Result};
use crate::model::hosts::HostSpec;
use crate::model::likeness::{Likeness, SOURCE};
use crate::model::lzo;
use crate::model::settings::ClientSettings;
use crate::model::wire::{
    encode_plain_request, encode_pump_head, put_file, Limits, Remark, Reply, Version, WireError,
};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The folder that hosts are told of; it need not be anywhere.
const FOLDER: &str = "/distcc-doctor";

/// What is sent to find out whether a host takes preprocessed text.
const TEXT: &[u8] = b"# 1 \"probe.c\"\nint distcc_doctor;\n";

/// More than an object of the probe can take.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// The time zone that our own daemon is asked to show times in.
const TIME_ZONE: (&[u8], &[u8]) = (b"TZ", b"UTC0");

/// Whoever has more names for compilers has them asked for by those only.
const COMPILERS_MAX: usize = 48;

/// A compiler of this machine, with all names that hosts are asked for it by in the same way.
#[derive(Debug)]
pub struct Compiler {
    /// As PATH has them; at least one.
    pub names: Vec<String>,
    /// The probe's name.
    source: &'static str,
    server: ServerCompiler,
    file: PathBuf,
    /// What it says of itself, or why it does not.
    pub here: std::result::Result<Likeness, String>,
}

impl Compiler {
    /// All names, for people.
    pub fn called(&self) -> String {
        self.names.join(", ")
    }

    /// Whether this is one of its names.
    pub fn is_called(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }

    /// What the host is asked for.
    fn server_words(&self) -> Vec<&[u8]> {
        let name = self.server.name.as_bytes();
        let words = [name, b"-c", self.source.as_bytes(), b"-o", b"probe.o"];
        let more = self.server.more.iter().map(|word| word.as_bytes());
        words.into_iter().chain(more).collect()
    }
}

/// The compilers that PATH finds here, each asked in `folder` until then.
pub fn of_this_machine(
    toolchain: &Toolchain,
    rewrite: bool,
    folder: &Path,
    until: Instant,
) -> Vec<Compiler> {
    let mut found: Vec<Compiler> = Vec::new();
    for (name, file) in &toolchain.compilers {
        let argv = [OsString::from(name)];
        let server = match rewrite {
            true => server_compiler(&argv, &toolchain.path, None),
            false => ServerCompiler::as_given(OsStr::new(name)),
        };
        let base = name.trim_end_matches(|c: char| c.is_ascii_digit() || ".-".contains(c));
        let source = match base.ends_with("++") {
            true => "probe.cc",
            false => "probe.c",
        };
        let is_same = |known: &Compiler| known.server == server;
        match found.iter().position(is_same) {
            Some(at) => found[at].names.push(name.clone()),
            None if found.len() < COMPILERS_MAX => found.push(Compiler {
                names: vec![name.clone()],
                source,
                server,
                file: file.clone(),
                here: Err("it was not asked".to_owned()),
            }),
            None => {}
        }
    }
    for compiler in &mut found {
        compiler.here = here(compiler, &toolchain.path, folder, until);
    }
    found
}

fn here(
    compiler: &Compiler,
    path: &OsStr,
    folder: &Path,
    until: Instant,
) -> std::result::Result<Likeness, String> {
    fs::write(folder.join(compiler.source), SOURCE).map_err(|err| err.to_string())?;
    let object = folder.join("probe.o");
    let mut command = Command::new(&compiler.file);
    command
        .args(["-c", compiler.source, "-o", "probe.o"])
        .args(&compiler.server.more)
        .env("PATH", path)
        .env("CCACHE_DISABLE", "1")
        .current_dir(folder);
    let ended = bounded::run(&mut command, until).map_err(|err| err.to_string())?;
    if !ended.is_well() {
        return Err(ended.describe());
    }
    let bytes = fs::read(&object).map_err(|err| err.to_string())?;
    let _ = fs::remove_file(&object);
    Likeness::of(&bytes).ok_or_else(|| "its object does not hold what it was given".to_owned())
}

/// What a host's compiler turned out to be.
#[derive(Debug)]
pub enum Verdict {
    /// Its object is the same as here.
    Same,
    /// Version and target are the same, the object is not.
    Alike,
    /// It is another one.
    Other(Likeness),
    /// There was an answer, but no object: what it said.
    Refused(String),
    /// It was run and failed: what it said.
    Failed(String),
}

/// What a host's answer tells.
#[derive(Debug)]
pub struct Told {
    /// Of the compiler.
    pub verdict: Verdict,
    /// Of the daemon: it is one of ours if it says anything.
    pub remark: Option<Remark>,
    /// By how many seconds the host's clock is ahead, as far as that can be known.
    pub ahead: Option<i64>,
}

/// Asks a host for a compiler.
pub fn ask(host: &HostSpec, settings: &ClientSettings, compiler: &Compiler) -> Result<Told> {
    let request = pump_request(compiler).map_err(|err| Error::new(err.code(), err.to_string()))?;
    let reply = exchange(host, settings, Version::V3, &request)?;
    let there = reply.object.as_deref().and_then(Likeness::of);
    let now = seconds_now();
    let ahead = |there: &Likeness| there.ahead(now, reply.remark.is_some());
    Ok(Told {
        ahead: there.as_ref().and_then(ahead),
        verdict: match (there, &compiler.here) {
            (Some(there), Ok(here)) if there.is_equal_to(here) => Verdict::Same,
            (Some(there), Ok(here)) if there.is_of(here) => Verdict::Alike,
            (Some(there), _) => Verdict::Other(there),
            (None, _) => refusal(&reply),
        },
        remark: reply.remark,
    })
}

/// Whether a host takes preprocessed text by that version, 1 or 2, and compiles it.
pub fn takes_text(
    host: &HostSpec,
    settings: &ClientSettings,
    compiler: &Compiler,
    version: Version,
) -> Result<()> {
    let words = compiler.server_words();
    let request = encode_plain_request(version, &words, [TEXT, b""]);
    let request = request.map_err(|err| Error::new(err.code(), err.to_string()))?;
    let reply = exchange(host, settings, version, &request)?;
    match reply.object.is_some_and(|object| !object.is_empty()) {
        true => Ok(()),
        false => Err(Error::new(Code::Failed, "no object came back")),
    }
}

fn pump_request(compiler: &Compiler) -> std::result::Result<Vec<u8>, WireError> {
    let told = About {
        variables: vec![(TIME_ZONE.0.to_vec(), TIME_ZONE.1.to_vec())],
        times: vec![Time::default()],
        ..About::default()
    };
    let pack = |bytes: &[u8]| lzo::compress(bytes).map_err(WireError::Lzo);
    let words = compiler.server_words();
    let mut request = encode_pump_head(FOLDER.as_bytes(), &words, 2)?;
    let source = format!("{FOLDER}/{}", compiler.source);
    put_file(&mut request, source.as_bytes(), &pack(SOURCE.as_bytes())?)?;
    put_file(&mut request, about::NAME, &pack(&told.encode())?)?;
    Ok(request)
}

fn exchange(
    host: &HostSpec,
    settings: &ClientSettings,
    version: Version,
    request: &[u8],
) -> Result<Reply> {
    let mut link = connect(host, settings)?;
    link.send(&[request])?;
    let limits = Limits {
        body_bytes_max: ANSWER_BYTES_MAX,
        expanded_bytes_max: ANSWER_BYTES_MAX,
        ..Limits::default()
    };
    link.receive(ReplyDecoder::for_reply(version, limits), || {})
}

/// Why there is no object: the last thing that was said, by the daemon or by the compiler, or how that ended.
fn refusal(reply: &Reply) -> Verdict {
    let said = String::from_utf8_lossy(&reply.stderr);
    let last = said.lines().map(str::trim).rfind(|line| !line.is_empty());
    match last {
        // What our daemon puts before it, `distccd[7] ERROR: `, is no news.
        Some(last) => match last
            .strip_prefix("distccd[")
            .and_then(|rest| rest.split_once("] "))
        {
            Some((_, words)) => Verdict::Refused(words.trim_start_matches("ERROR: ").to_owned()),
            None => Verdict::Failed(last.to_owned()),
        },
        None => Verdict::Failed(format!("the compiler {}", reply.status.describe())),
    }
}

fn seconds_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() as i64)
}
