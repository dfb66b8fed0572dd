//! Files that a compile makes beside its object, when a host has made them: only what this command makes here is believed,
//! and it is written as a compiler here would write it.

use crate::model::error::{Error, Result};
use crate::model::family::Family;
use crate::model::invocation::Invocation;
use crate::model::side_files::{Beside, Manner, SideFiles};
use crate::model::wire::Reply;
use crate::os::files::{write_output, Existing};
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Why a command that makes such files must run here, whatever a host could do.
pub fn stays(invocation: &Invocation, family: Option<Family>) -> Option<String> {
    let sides = invocation.sides.as_ref()?;
    if family != Some(Family::Gcc) && sides.leaves_temporary() && runs_assembler(invocation) {
        return Some("the compiler leaves a file beside a temporary one".to_owned());
    }
    let is_seed = |word: &OsString| word.as_bytes().starts_with(b"-frandom-seed");
    let is_seeded = invocation.argv.iter().any(is_seed);
    if family != Some(Family::Gcc) || !is_seeded {
        return None;
    }
    let counts = sides.counts();
    let moves = |word: &OsString| {
        let heads: [&[u8]; 2] = [b"-fprofile-generate=", b"-fprofile-dir="];
        heads.iter().any(|head| word.as_bytes().starts_with(head))
    };
    if !counts.is_empty() && invocation.argv.iter().any(moves) {
        return Some("the compiler might remove old counts elsewhere".to_owned());
    }
    let mut counts = counts
        .iter()
        .map(|name| place(invocation, Beside::Output, name));
    let old = counts.find(|path| path.exists())?;
    Some(format!("the compiler would remove {}", old.display()))
}

/// Whether clang is told to run an assembler; the last word counts.
fn runs_assembler(invocation: &Invocation) -> bool {
    let mut words = invocation.argv.iter().rev().map(|word| word.as_bytes());
    let last = words.find(|word| word.ends_with(b"integrated-as"));
    last.is_some_and(|word| word.ends_with(b"no-integrated-as"))
}

/// Whether all that a host sent is made by this command, and nothing that it reads is in the place; if not, why.
pub fn check(
    invocation: &Invocation,
    family: Option<Family>,
    reply: &Reply,
    sent: &[PathBuf],
) -> std::result::Result<(), String> {
    let Some(wanted) = &invocation.sides else {
        return Ok(());
    };
    let is_same = is_working_directory(&invocation.output);
    let sent: HashSet<&Path> = sent.iter().map(PathBuf::as_path).collect();
    let is_read = |path: &Path| fs::canonicalize(path).is_ok_and(|real| sent.contains(&*real));
    let mut names = HashSet::new();
    for side in reply.sides.iter().flatten() {
        let path = place(invocation, side.folder, &side.name);
        let shown = path.to_string_lossy().escape_debug().to_string();
        if wanted
            .kind(family, side.folder, &side.name, is_same)
            .is_none()
        {
            return Err(format!("it sent {shown}, which this compile does not make"));
        }
        if !names.insert((is_same || side.folder == Beside::Output, &side.name)) {
            return Err(format!("it sent {shown} twice"));
        }
        if is_read(&path) {
            return Err(format!("it sent {shown}, which this compile reads"));
        }
    }
    Ok(())
}

/// Writes what has been found right.
pub fn write(invocation: &Invocation, family: Option<Family>, reply: &Reply) -> Result<()> {
    let Some(wanted) = &invocation.sides else {
        return Ok(());
    };
    let is_same = is_working_directory(&invocation.output);
    for side in reply.sides.iter().flatten() {
        let path = place(invocation, side.folder, &side.name);
        let kind = wanted.kind(family, side.folder, &side.name, is_same);
        let existing = match kind.map(|kind| SideFiles::manner(kind, family)) {
            Some(Manner::Replaces) => Existing::Replace,
            Some(Manner::ReplacesFilled) => Existing::ReplaceFilled,
            Some(Manner::Overwrites) | None => Existing::Overwrite,
        };
        write_output(&path, &side.content, existing)
            .map_err(|err| Error::io(format_args!("write {}", path.display()), &err))?;
    }
    Ok(())
}

fn place(invocation: &Invocation, folder: Beside, name: &[u8]) -> PathBuf {
    let name = OsStr::from_bytes(name);
    match folder {
        Beside::Output => invocation.output.with_file_name(name),
        Beside::Working => PathBuf::from(name),
    }
}

/// Whether the output's folder is the working directory.
fn is_working_directory(output: &Path) -> bool {
    let identity = |path: &Path| fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
    match output.parent() {
        Some(folder) if folder.as_os_str().is_empty() => true,
        Some(folder) => identity(folder).is_some_and(|it| Some(it) == identity(Path::new("."))),
        None => false,
    }
}
