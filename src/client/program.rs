//! The program distcc called by its own name: its few own words, which never run a compiler, and otherwise the
//! compiler command that follows, with or without a compiler's name.

use super::call::Call;
use super::masquerade::{self, Meant};
use super::scan_includes::scan_includes;
use crate::farm::topdir::TopDir;
use crate::model::error::{Code, Error, Result, Status};
use crate::model::hosts::HostList;
use crate::model::settings::ClientSettings;
use crate::model::sources;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;

/// The compiler that is meant when none is named.
const IMPLICIT_COMPILER: &str = "cc";

/// What depends on no setting: the version, the help, and the answer to a call without any word.
pub fn says_itself(argv: &[OsString]) -> Option<Result<Status>> {
    let Some(first) = argv.get(1) else {
        let name = argv
            .first()
            .map_or("distcc".into(), |name| name.to_string_lossy());
        let _ = writeln!(
            io::stderr(),
            "{name}: missing option/operand\nTry '{name} --help' for more information."
        );
        return Some(Ok(Code::BadArguments.into()));
    };
    match first.to_str() {
        Some("--help") => Some(print(&help())),
        Some("--version") => Some(print(&version("distcc"))),
        _ => None,
    }
}

/// Called by a name that contains `distcc`: all words, the first is that name.
pub fn distcc(argv: Vec<OsString>, settings: ClientSettings) -> Result<Status> {
    let mut words = argv.into_iter();
    let called_as = words.next().unwrap_or_default();
    let first = words.next().unwrap_or_default();
    match first.to_str() {
        Some("--show-hosts") => return show(&settings, show_hosts),
        Some("-j") => return show(&settings, |list| format!("{}\n", concurrency(list))),
        Some("--scan-includes") => {
            let missing = "missing operand: --scan-includes wants a compiler command";
            let operand = words
                .next()
                .ok_or(Error::new(Code::BadArguments, missing))?;
            let mut command = command(operand, words);
            let meant = masquerade::meant(&mut command, settings.path.as_deref());
            return scan_includes(&command, &settings.with_path(meant.path));
        }
        _ => {}
    }
    let mut command = command(first, words);
    let meant = match settings.safeguard {
        0 => masquerade::meant(&mut command, settings.path.as_deref()),
        _ => Meant::default(),
    };
    let call = Call {
        settings,
        called_as,
        path: meant.path,
        found: meant.found,
    };
    call.compile(&command)
}

/// A compiler's command, with or without the compiler.
pub fn command(first: OsString, words: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let compiler = is_implicit(&first).then(|| IMPLICIT_COMPILER.into());
    compiler.into_iter().chain([first]).chain(words).collect()
}

/// Whether the first word is a compiler's argument rather than a compiler.
fn is_implicit(word: &OsStr) -> bool {
    word.as_encoded_bytes().starts_with(b"-")
        || sources::language_of(Path::new(word)).is_some()
        || Path::new(word).extension() == Some(OsStr::new("o"))
}

fn print(text: &str) -> Result<Status> {
    io::stdout()
        .write_all(text.as_bytes())
        .map_err(|err| Error::io("write to stdout", &err))?;
    Ok(Status::OK)
}

/// The text of `--version` for one of our programs. Depends on nothing.
pub fn version(program: &str) -> String {
    let (arch, os) = (std::env::consts::ARCH, std::env::consts::OS);
    format!(
        "{program} {} {arch}-{os}\n  (protocols 1, 2 and 3) (default port 3632)\n\
         A new implementation in Rust, compatible with distcc 3.x.\n\
         Source: GPL-2.0-or-later. There is no warranty.\n",
        env!("CARGO_PKG_VERSION")
    )
}

fn help() -> String {
    let mut text = version("distcc");
    text.push_str(
        "
Usage: distcc COMPILER [COMPILER OPTIONS]   compile, on another machine if possible
       distcc [COMPILER OPTIONS]            the same with the compiler cc
       COMPILER [COMPILER OPTIONS]          the same, through a link to distcc called COMPILER
       distcc pump COMMAND                  build in pump mode; distcc pump --help explains
       distcc try [--plain] [COMMAND]       build with a private daemon on this machine, and say how it went
       distcc why COMPILER [OPTIONS]        what would become of this command, and why
       distcc top [DELAY]                   the farm as it works: slots, runs, what limits the build
       distcc trace FILE                    where the time of a build went that ran with DISTCC_TRACE=FILE
       distcc doctor [--json] [HOST...]     what is wrong here and on the hosts, and how to mend it
       distcc distccd [OPTIONS]             the daemon; distcc distccd --help explains
       distcc distccmon-text [SECONDS]      what runs where now, or again and again
       distcc lsdistcc [OPTIONS] [HOST...]  which hosts answer
       distcc update-distcc-symlinks        keep the masquerade directory as the compilers are

Options:
  --help           this text
  --version        version and licence
  --show-hosts     the host list, one host per line, in the order of use
  -j               how many jobs the hosts take at once: make -j \"$(distcc -j)\"
  --scan-includes  what pump mode would send for a compile

The host list comes from the first of these that exists:
  $DISTCC_HOSTS, $DISTCC_DIR/hosts, ~/.distcc/hosts, /etc/distcc/hosts
It is separated by blanks. A host is one of
  localhost[/LIMIT]                     this machine
  HOST[:PORT][/LIMIT][,lzo[,cpp]]       a daemon, by default on port 3632
  [USER]@HOST[/LIMIT][:COMMAND][,lzo[,cpp]]
                                        a daemon started through ssh
With cpp the host preprocesses, too, in builds that run under pump.
and there are --randomize, --localslots=N and --localslots_cpp=N, and +zeroconf for daemons
that announce themselves on the local network.

The manual page distcc(1) explains all settings and exit codes.
",
    );
    text
}

fn show(settings: &ClientSettings, text: impl FnOnce(&HostList) -> String) -> Result<Status> {
    let top = TopDir::find(settings).ok();
    match TopDir::host_list(top.as_ref(), settings) {
        Ok(list) => print(&text(&list)),
        Err(err) => {
            // Scripts that call this expect status 0 whatever happens, as with stock.
            log::error!("CRITICAL! Failed to get host list: {err}");
            Ok(Status::OK)
        }
    }
}

fn show_hosts(list: &HostList) -> String {
    let mut text = String::new();
    for host in &list.hosts {
        let _ = writeln!(text, "{}", host.token);
    }
    text
}

fn concurrency(list: &HostList) -> usize {
    list.hosts.iter().map(|host| host.slots).sum()
}
