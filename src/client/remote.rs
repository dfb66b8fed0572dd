//! One attempt on one host: preprocess here while the connection is made, send, wait, receive. Knows nothing of other
//! hosts and of what happens next.

use super::here::working_directory;
use super::local::{start_preprocessor, Preprocessor};
use super::output::{base_name, log_transfer, shows_color};
use super::progress::{Hold, Progress};
use crate::farm::cross::Compiler;
use crate::farm::slots::{CpuSlot, Slot, Slots};
use crate::farm::transport::{connect, Link};
use crate::model::decode_reply::ReplyDecoder;
use crate::model::error::{Error, Result};
use crate::model::hosts::HostSpec;
use crate::model::invocation::Invocation;
use crate::model::landmarks::Landmarks;
use crate::model::layout::{self, Asked};
use crate::model::plain::{self, Family, Recipe, Way, Wishes};
use crate::model::settings::ClientSettings;
use crate::model::trace::Activity;
use crate::model::wire::{self, Limits, Reply, Version};
use crate::model::{clang_text, clang_warnings, dependencies};
use crate::os::files::read_plain_file;
use crate::os::pages::Bytes;
use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::Instant;

/// A compile that may be tried on several hosts.
#[derive(Debug)]
pub struct Job<'j> {
    /// What is compiled.
    pub invocation: &'j Invocation,
    /// The compiler's kin, if it is known.
    pub family: Option<Family>,
    /// Where on PATH the compiler lies, if that is known.
    program: Option<PathBuf>,
    /// How the text is made and what the server is asked to run.
    pub recipe: Recipe,
    /// The text and what the preprocessor said, once it has run.
    pub prepared: Option<Prepared>,
    /// The dependency file, with what it held before the preprocessor wrote it, if a compile here might not write it.
    deps_before: Option<(PathBuf, Option<Vec<u8>>)>,
}

impl<'j> Job<'j> {
    /// What is to be sent for `invocation`, or why no text is exact.
    pub fn new(
        invocation: &'j Invocation,
        compiler: &Compiler,
        dumb_terminal: bool,
    ) -> std::result::Result<Job<'j>, String> {
        let family = compiler.family;
        if let Some(sides) = &invocation.sides {
            return Err(sides.reason.to_string());
        }
        let source = || fs::read(&invocation.input).ok();
        if plain::indentation_matters(invocation, family, source) {
            return Err(
                "gcc might warn of its indentation, and judges that by the file itself".to_owned(),
            );
        }
        let wishes = Wishes {
            color: shows_color(dumb_terminal),
            comments: plain::comments_matter(invocation, family, source),
        };
        let mut recipe = plain::recipe(invocation, family, &working_directory, wishes)
            .map_err(|why| why.to_string())?;
        if let Some(first) = recipe.server_argv.first_mut() {
            first.clone_from(&compiler.server.name);
        }
        recipe.server_argv.extend_from_slice(&compiler.server.more);
        let job = Job {
            invocation,
            family,
            program: compiler.found.clone(),
            recipe,
            prepared: None,
            deps_before: None,
        };
        match job.is_demanding() && is_oddly_spelled(env::var_os("PWD")) {
            true => Err("debug information shows how $PWD is spelled, and hosts do not".to_owned()),
            false => Ok(job),
        }
    }

    /// Takes back what the preprocessor has written besides its text, where a compile here may not write it again.
    pub fn take_back_deps(&self) {
        let taken_back = match &self.deps_before {
            Some((path, Some(before))) => fs::write(path, before),
            Some((path, None)) => fs::remove_file(path),
            None => Ok(()),
        };
        if let Err(err) = taken_back {
            log::debug!("take back the dependency file: {err}");
        }
    }

    /// Whether only a host that undoes our way of keeping columns gives a local run's object.
    pub fn is_demanding(&self) -> bool {
        self.recipe.way == Way::DirectivesOnly && self.invocation.debug_info
    }
}

/// Whether a folder's name has parts that lead nowhere, or back.
fn is_oddly_spelled(folder: Option<OsString>) -> bool {
    let folder = folder.unwrap_or_default();
    let mut parts = folder
        .as_encoded_bytes()
        .split(|byte| *byte == b'/')
        .skip(1);
    folder != "/" && parts.any(|part| matches!(part, b"" | b"." | b".."))
}

/// The text of a translation unit, ready to be sent.
#[derive(Debug)]
pub struct Prepared {
    /// What travels.
    pub text: Bytes,
    /// What the preprocessor wrote to stderr; a local compile would have said it too.
    pub said: Vec<u8>,
}

/// How an attempt ended.
#[derive(Debug)]
pub enum Attempt {
    /// The host answered.
    Answered(Reply),
    /// The host is at fault.
    HostTrouble(Error),
    /// This job must be compiled here, whatever host is asked; no host is to blame.
    StaysHere(String),
}

/// What an attempt needs beside the job.
pub struct Means<'m> {
    /// The settings of this run.
    pub settings: &'m ClientSettings,
    /// Where the slot for preprocessing comes from.
    pub slots: &'m Slots,
    /// How many jobs may preprocess at once.
    pub preprocess_slots: usize,
    /// Tells monitors and the trace what is going on.
    pub progress: &'m mut Progress,
}

/// Tries `job` on the host of `slot`.
pub fn attempt(job: &mut Job, slot: &Slot, means: &mut Means) -> Attempt {
    let under_way = match begin_text(job, slot, means) {
        Ok(under_way) => under_way,
        Err(err) => return Attempt::StaysHere(err.to_string()),
    };
    let host = &slot.host;
    let file = base_name(&job.invocation.input);
    means.progress.note(
        Activity::Connect,
        Some(file),
        Some(host.name()),
        Some(slot.index),
    );
    let link = connect(host, means.settings);
    if under_way.is_some() {
        means.progress.trace.does(Activity::Preprocess);
    }
    if let Err(why) = finish_text(job, under_way) {
        return Attempt::StaysHere(why);
    }
    keep_text(job, means.settings);
    let Some(prepared) = &mut job.prepared else {
        return Attempt::StaysHere("there is no text to send".to_owned());
    };
    let (recipe, text) = (&job.recipe, &mut prepared.text);
    match link.and_then(|link| exchange(link, host, recipe, text, file, means.progress)) {
        Ok(reply) => Attempt::Answered(reply),
        Err(err) => Attempt::HostTrouble(err),
    }
}

/// A preprocessor at work, with the slot that it holds on this machine.
type UnderWay<'s> = Option<(Preprocessor, Option<(CpuSlot<'s>, Hold)>)>;

fn begin_text<'s>(job: &mut Job, slot: &'s Slot, means: &mut Means) -> Result<UnderWay<'s>> {
    let Some(argv) = job
        .recipe
        .preprocessor_argv
        .as_ref()
        .filter(|_| job.prepared.is_none())
    else {
        return Ok(None);
    };
    // Where directives alone are followed, gcc writes the file although it fails; a compile that fails so does not.
    if dependencies::may_be_missed(job.invocation, job.family == Some(Family::Gcc))
        || job.recipe.way == Way::DirectivesOnly
    {
        let path = dependencies::file(job.invocation);
        job.deps_before = path.map(|path| (path.clone(), read_plain_file(&path)));
    }
    let file = base_name(&job.invocation.input);
    let trace = &means.progress.trace;
    trace.does(Activity::WaitHere);
    let cpu = match slot.local_cpu(means.slots, means.preprocess_slots) {
        Ok(cpu) => {
            let hold = trace.hold_cpu(&cpu);
            Some((cpu, hold))
        }
        Err(err) => {
            log::error!("{err}");
            None
        }
    };
    let index = cpu.as_ref().map(|(cpu, _)| cpu.index);
    means
        .progress
        .note(Activity::Preprocess, Some(file), Some("localhost"), index);
    Ok(Some((
        start_preprocessor(argv, job.program.as_deref())?,
        cpu,
    )))
}

fn finish_text(job: &mut Job, under_way: UnderWay) -> std::result::Result<(), String> {
    let input = &job.invocation.input;
    let mut prepared = match under_way {
        _ if job.prepared.is_some() => return Ok(()),
        Some((preprocessor, cpu)) => {
            let done = preprocessor.finish().map_err(|err| err.to_string())?;
            drop(cpu);
            if !done.status.success() {
                return Err(format!("preprocessing it {}", done.status.describe()));
            }
            log::info!(
                "cpp {} on localhost completed ok",
                base_name(input).to_string_lossy()
            );
            Prepared {
                text: done.text,
                said: done.said,
            }
        }
        None => Prepared {
            text: fs::read(input).map_err(|err| err.to_string())?.into(),
            said: Vec::new(),
        },
    };
    let is_clangs = job.family == Some(Family::Clang);
    let landmarks = Landmarks::of(&prepared.text, is_clangs);
    if job.recipe.way == Way::Expanded {
        plain::unmark_expansions(&mut prepared.text, &landmarks);
    }
    if !prepared.said.is_empty() && job.recipe.way != Way::Expanded {
        return Err(
            "the preprocessor has something to say, and the compiler would say it again".to_owned(),
        );
    }
    if !prepared.said.is_empty() && plain::changes_warnings(&prepared.text, &landmarks.gcc) {
        return Err("pragmas change what a compiler says, but not its preprocessor".to_owned());
    }
    if !is_clangs && plain::says_of_functions(&prepared.said, &prepared.text) {
        return Err(
            "a compiler names the function where a preprocessor warns, if it is in one".to_owned(),
        );
    }
    check_layout(&prepared.text, &landmarks, job)?;
    let macros = &job.recipe.edit.macros;
    for (text, landmarks) in [
        (&prepared.text[..], &landmarks),
        (macros, &Landmarks::of(macros, is_clangs)),
    ] {
        let way = job.recipe.way;
        match plain::text_keeps_local(text, landmarks, job.invocation, job.family, way) {
            Some(why) if !text.is_empty() => return Err(why.to_string()),
            _ => {}
        }
    }
    check_pragmas(&prepared.text, &landmarks, &job.recipe)?;
    check_packs(&prepared.text, &landmarks, job)?;
    check_ends(&prepared.text, &landmarks, job)?;
    check_names(&prepared.text, job)?;
    job.prepared = Some(prepared);
    Ok(())
}

/// clang's debug information names a file as it was looked for last, which its text does not show.
fn check_names(text: &[u8], job: &Job) -> std::result::Result<(), String> {
    if job.recipe.way != Way::RewriteIncludes || !job.invocation.debug_info {
        return Ok(());
    }
    let names = clang_text::names(text, job.invocation);
    let names = names.ok_or("the name of an include can't be seen in the text")?;
    let mut read = BTreeMap::new();
    for name in &names.read {
        let meta =
            fs::metadata(name).map_err(|err| format!("{}: {err}", name.to_string_lossy()))?;
        read.insert((meta.dev(), meta.ino()), name);
    }
    let is_read = |name: &OsString| {
        fs::metadata(name).is_ok_and(|meta| read.contains_key(&(meta.dev(), meta.ino())))
    };
    let mut others = names.looked_for.difference(&names.read);
    match read.len() < names.read.len() || others.any(is_read) {
        true => Err("a header has two names, and debug information the last one".to_owned()),
        false => Ok(()),
    }
}

/// gcc's `-fdirectives-only` drops some pragmas without a word. If a source has one, `-E` alone tells whether it is in
/// use: that keeps it.
fn check_pragmas(
    text: &[u8],
    landmarks: &Landmarks,
    recipe: &Recipe,
) -> std::result::Result<(), String> {
    for source in plain::sources_to_check(text, landmarks, recipe) {
        // One that can't be read here was not what the preprocessor read: that is no reason to go on.
        let content = fs::read(&source).map_err(|err| format!("{}: {err}", source.display()))?;
        if !plain::dropped_pragma(&content) {
            continue;
        }
        return match expanded(recipe)?.is_none_or(|text| plain::dropped_pragma(&text)) {
            true => Err(format!(
                "{} has a pragma that preprocessing for debug information drops",
                source.display()
            )),
            false => Ok(()),
        };
    }
    Ok(())
}

/// clang warns of `#pragma pack` by the files. If a text has one, `-E` alone tells whether it is in use.
fn check_packs(text: &[u8], landmarks: &Landmarks, job: &Job) -> std::result::Result<(), String> {
    let invocation = job.invocation;
    let warns = |text: &[u8], landmarks: &Landmarks| {
        clang_warnings::may_warn_of_packs(text, landmarks, invocation)
    };
    let may = match job.recipe.way {
        _ if job.family != Some(Family::Clang) => false,
        Way::RewriteIncludes if clang_warnings::may_pack(text, landmarks, invocation) => {
            expanded(&job.recipe)?.is_none_or(|text| warns(&text, &Landmarks::of(&text, true)))
        }
        Way::Expanded => warns(text, landmarks),
        _ => false,
    };
    match may {
        true => Err("clang warns of #pragma pack where one file includes another".to_owned()),
        false => Ok(()),
    }
}

/// The text with all macros expanded, if that can be made.
fn expanded(recipe: &Recipe) -> std::result::Result<Option<Bytes>, String> {
    let mut argv = recipe.preprocessor_argv.clone().unwrap_or_default();
    argv.retain(|word| word != "-fdirectives-only" && word != "-frewrite-includes");
    let done = start_preprocessor(&argv, None).and_then(Preprocessor::finish);
    let done = done.map_err(|err| err.to_string())?;
    Ok(done.status.success().then_some(done.text))
}

/// clang may warn of a file whose last line has no end, but in its text all have.
fn check_ends(text: &[u8], landmarks: &Landmarks, job: &Job) -> std::result::Result<(), String> {
    let (invocation, recipe) = (job.invocation, &job.recipe);
    for source in plain::sources_with_ends(text, landmarks, invocation, job.family, recipe) {
        let content = fs::read(&source).map_err(|err| format!("{}: {err}", source.display()))?;
        if content.last().is_some_and(|last| *last != b'\n') {
            return Err(format!("the last line of {} has no end", source.display()));
        }
    }
    Ok(())
}

/// Compilers may warn of how a file is laid out, or a macro, which only the file tells.
fn check_layout(text: &[u8], landmarks: &Landmarks, job: &Job) -> std::result::Result<(), String> {
    let expanded = job.recipe.way == Way::Expanded;
    let Some(asked) = Asked::of(job.invocation, job.family, expanded) else {
        return Ok(());
    };
    let is_gccs = job.family == Some(Family::Gcc);
    for suspect in layout::suspects(text, landmarks, asked) {
        let file = suspect.path();
        let is_so = match fs::read(&file) {
            Ok(content) => suspect.is_so(&content),
            // Preprocessed text may name files that are long gone; gcc then says nothing of them.
            Err(_) if job.recipe.way == Way::AsIs => false,
            // So does a #line, after which gcc judges no indentation any more.
            Err(err) if err.kind() == std::io::ErrorKind::NotFound && is_gccs => {
                suspect.is_crowded()
            }
            Err(err) => return Err(format!("{}: {err}", file.display())),
        };
        if is_so {
            let file = file.display();
            return Err(format!(
                "there might be a warning of the layout of {file}, which only the file itself tells"
            ));
        }
    }
    Ok(())
}

/// Keeps what is sent under a name like stock's, for whoever has set `DISTCC_SAVE_TEMPS` to look at.
fn keep_text(job: &Job, settings: &ClientSettings) {
    let Some(prepared) = job.prepared.as_ref().filter(|_| settings.save_temps) else {
        return;
    };
    let suffix = job.invocation.language.preprocessed_suffix();
    let name = format!("distcc_{:08x}{suffix}", std::process::id());
    let path = settings.tmpdir.join(name);
    let (head, rest) = job.recipe.edit.apply(&prepared.text);
    let mut options = OpenOptions::new();
    // A name that is there already may be a link that somebody else made: it is not followed.
    let opened = options.write(true).create_new(true).mode(0o600).open(&path);
    match opened.and_then(|mut file| file.write_all(&[&head, rest].concat())) {
        Ok(()) => log::info!("kept {}", path.display()),
        Err(err) => log::warn!("DISTCC_SAVE_TEMPS: write {}: {err}", path.display()),
    }
}

/// Sends the request and receives the answer.
fn exchange(
    mut link: Link,
    host: &HostSpec,
    recipe: &Recipe,
    text: &mut Bytes,
    file: &OsStr,
    progress: &mut Progress,
) -> Result<Reply> {
    let version = match host.lzo {
        true => Version::V2,
        false => Version::V1,
    };
    let begun = Instant::now();
    progress.note(Activity::Send, None, Some(host.name()), None);
    let words: Vec<&[u8]> = recipe
        .server_argv
        .iter()
        .map(|word| word.as_encoded_bytes())
        .collect();
    let too_much = |err: wire::WireError| Error::new(err.code(), format!("{}: {err}", host.token));
    let head = wire::encode_request_head(version, &words).map_err(too_much)?;
    let (edited, rest) = recipe.edit.apply(text);
    let dropped = text.len() - rest.len();
    let room = text.with_room(wire::text_room_bytes(version, edited.len() + rest.len()));
    let (text, room) = room.map_err(|err| Error::io("make room for the request", &err))?;
    let parts = [&edited, &text[dropped..]];
    let (header, body) = wire::encode_text(version, parts, room).map_err(too_much)?;
    let parts = [&head[..], &header, body[0], body[1]];
    link.send(&parts)?;
    progress.note(Activity::Compile, None, Some(host.name()), None);
    let decoder = ReplyDecoder::for_reply(version, Limits::default());
    let reply = link.receive(decoder, || {
        progress.note(Activity::Receive, None, Some(host.name()), None);
    })?;
    let sent: usize = parts.iter().map(|part| part.len()).sum();
    progress.trace.exchanged(sent, reply.size());
    log_transfer(file, host, sent, reply.size(), begun, "");
    Ok(reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_folders_are_spelled_oddly() {
        for (folder, expected) in [
            ("", false),
            ("/", false),
            ("/a/b.c/.d/..e", false),
            ("/a/", true),
            ("//", true),
            ("/a//b", true),
            ("/a/.", true),
            ("/a/../b", true),
        ] {
            assert_eq!(is_oddly_spelled(Some(folder.into())), expected, "{folder}");
        }
    }
}
