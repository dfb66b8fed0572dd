//! What a host's answer becomes here: the output file, words on stdout and stderr, lines of the log. Nothing is shown
//! before it is sure that the answer is taken.

use crate::model;
use crate::model::error::{Code, Error, Result, Status};
use crate::model::family::Family;
use crate::model::hosts::HostSpec;
use crate::model::invocation::Invocation;
use crate::model::wait_status::WaitStatus;
use crate::model::wire::Reply;
use crate::os::files::{write_output, Existing};
use crate::os::logging::first_lines;
use crate::os::{process, terminal};
use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Instant;

/// Writes the output of a compile that went well, as a compiler of this family writes it.
pub fn write_object(invocation: &Invocation, family: Option<Family>, reply: &Reply) -> Result<()> {
    let contents = reply.object.as_deref().unwrap_or_default();
    let existing = match (family, invocation.assembly) {
        (Some(Family::Clang), _) => Existing::Replace,
        (_, true) => Existing::Overwrite,
        (_, false) => Existing::ReplaceFilled,
    };
    write_output(&invocation.output, contents, existing)
        .map_err(|err| Error::io(format_args!("write {}", invocation.output.display()), &err))
}

/// Writes the dependency file of a compile that went well, as compilers write it.
pub fn write_deps(path: &Path, contents: &[u8]) -> Result<()> {
    write_output(path, contents, Existing::Overwrite)
        .map_err(|err| Error::io(format_args!("write {}", path.display()), &err))
}

/// Says on stdout and stderr what compilers said. Like a compiler's, our end does not depend on whether anybody reads it.
pub fn say(stdout: &[u8], stderr: &[u8]) {
    for (bytes, result) in [
        (stdout, io::stdout().write_all(stdout)),
        (stderr, io::stderr().write_all(stderr)),
    ] {
        if let Err(err) = result {
            log::debug!("cannot pass on {} bytes of messages: {err}", bytes.len());
        }
    }
    let _ = io::stdout().flush();
}

/// Takes the lines out of a server's stderr that its daemon wrote, not its compiler, and logs them.
pub fn without_daemons_words(stderr: Vec<u8>, host: &str) -> Vec<u8> {
    if !stderr
        .split_inclusive(|byte| *byte == b'\n')
        .any(is_daemons)
    {
        return stderr;
    }
    let mut compilers = Vec::with_capacity(stderr.len());
    for line in stderr.split_inclusive(|byte| *byte == b'\n') {
        match is_daemons(line) {
            true => log::info!("{host} says: {}", String::from_utf8_lossy(line).trim_end()),
            false => compilers.extend_from_slice(line),
        }
    }
    compilers
}

/// `distccd[123] …`, the beginning of a daemon's log line.
fn is_daemons(line: &[u8]) -> bool {
    line.strip_prefix(b"distccd[").is_some_and(|rest| {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        digits > 0 && rest.get(digits..).is_some_and(|end| end.starts_with(b"] "))
    })
}

/// What a daemon's line says, without `distccd[123] (function) ERROR: `; other lines are as they are.
fn without_prefix(line: &str) -> &str {
    if !is_daemons(line.as_bytes()) {
        return line;
    }
    let text = line.split_once("] ").map_or(line, |(_, text)| text);
    let text = match text
        .strip_prefix('(')
        .and_then(|text| text.split_once(") "))
    {
        Some((_, text)) => text,
        None => text,
    };
    let severities = ["CRITICAL! ", "ERROR: ", "Warning: "];
    let severity = severities.iter().find_map(|word| text.strip_prefix(word));
    severity.unwrap_or(text)
}

/// A file's name without its folder, for messages.
pub fn base_name(path: &Path) -> &OsStr {
    path.file_name().unwrap_or(path.as_os_str())
}

/// A host's answer that it did not run the job, with its own words for it.
pub fn refusal(host: &HostSpec, code: Code, said: &[u8]) -> Error {
    let said = String::from_utf8_lossy(said);
    let words: Vec<&str> = said.lines().map(without_prefix).collect();
    let words = match words.is_empty() {
        true => "it does not say why; its log does".to_owned(),
        false => words.join("; "),
    };
    let status = code as u8;
    Error::new(
        code,
        format!("{} did not compile (status {status}): {words}", host.token),
    )
}

/// The log's lines about an exchange with a host; `how` is said of the way in which the job went.
pub fn log_transfer(
    file: &OsStr,
    host: &HostSpec,
    sent: usize,
    received: usize,
    begun: Instant,
    how: &str,
) {
    let seconds = begun.elapsed().as_secs_f64();
    let rate = |bytes: usize| bytes as f64 / 1000.0 / seconds.max(1e-6);
    log::info!(
        "{sent} bytes from {} compiled on {} in {seconds:.4}s, rate {:.0}kB/s{how}",
        file.to_string_lossy(),
        host.token,
        rate(sent)
    );
    let rate = rate(received);
    log::info!("{received} bytes received in {seconds:.6}s, rate {rate:.0}kB/s");
}

/// Whether messages go where colour is seen.
pub fn shows_color(dumb_terminal: bool) -> bool {
    io::stderr().is_terminal() && !dumb_terminal
}

/// Whether a compiler here would say the same as one that `said` this elsewhere, in spite of a terminal.
pub fn says_the_same(said: &[u8], invocation: &Invocation, family: Option<Family>) -> bool {
    let stderr = io::stderr();
    if said.is_empty() || !stderr.is_terminal() {
        return true;
    }
    let columns = terminal::columns(stderr.as_fd());
    let lookup = |name: &str| env::var_os(name);
    model::terminal::says_the_same(said, invocation, family, columns, &lookup)
}

/// The last lines of each log: what all of it took.
pub fn log_exit(begun: Instant, status: &Result<Status>) {
    if !log::log_enabled!(log::Level::Info) {
        return;
    }
    let code = match status {
        Ok(status) => status.0,
        Err(err) => err.code as u8,
    };
    let seconds = begun.elapsed().as_secs_f64();
    log::info!("elapsed compilation time {seconds:.6}s");
    let spent = process::spent();
    let [[user, sys], [user_below, sys_below]] = [spent.own, spent.children];
    log::info!(
        "exit: code {code}; self: {:.6} user {:.6} sys; children: {:.6} user {:.6} sys",
        user.as_secs_f64(),
        sys.as_secs_f64(),
        user_below.as_secs_f64(),
        sys_below.as_secs_f64()
    );
}

/// The log's lines about what a host's compiler said, where the user does not see it.
pub fn log_words(host: &str, said: &[u8]) {
    for line in first_lines(said) {
        log::info!("{host} says: {line}");
    }
}

/// The log's line about a run of a compiler.
pub fn log_end(file: &str, host: &str, ended: WaitStatus) {
    let text = format!("compile {file} on {host} {}", ended.describe());
    match ended.success() || host == "localhost" {
        true => log::info!("{text}"),
        false => log::error!("{text}"),
    }
}

/// A command for a log line: joined by blanks, odd words in quotes.
pub fn words(argv: &[OsString]) -> String {
    let odd = |byte: u8| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b';');
    let quoted = argv.iter().map(|word| {
        let text = word.to_string_lossy();
        match text.is_empty() || text.bytes().any(odd) {
            true => format!("\"{text}\""),
            false => text.into_owned(),
        }
    });
    quoted.collect::<Vec<String>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemons_line_is_reduced_to_what_it_says() {
        for (line, text) in [
            (
                "distccd[1] (dcc_execvp) ERROR: failed to exec x",
                "failed to exec x",
            ),
            ("distccd[1] ERROR: job refused: no", "job refused: no"),
            ("distccd[1] (lonely", "(lonely"),
            ("x.c: ERROR: (a) b", "x.c: ERROR: (a) b"),
        ] {
            assert_eq!(without_prefix(line), text);
        }
    }

    #[test]
    fn only_a_daemons_lines_are_taken_out() {
        let stderr =
            b"x.c:1: warning: odd\ndistccd[12] (f) Warning: no\ndistccd[] is kept\ndistccd[1]"
                .to_vec();
        assert_eq!(
            without_daemons_words(stderr, "host"),
            b"x.c:1: warning: odd\ndistccd[] is kept\ndistccd[1]"
        );
    }
}
