//! What a user may want to see of an answer: the list of its files beside the output, and whether the compiler's own list
//! names another one.

use super::ask_compiler::{ask, Environment};
use super::asking::PATIENCE;
use super::reliance::is_below;
use super::reply::Reply;
use crate::model::dependencies::files_named;
use crate::model::direct::Query;
use crate::model::invocation::{scan, Invocation, Role, Scan};
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Writes and compares what is wanted.
///
/// # Errors
/// The lists differ, or could not be had.
pub fn check(
    query: &Query,
    reply: &Reply,
    environment: &Environment,
    verify: bool,
    write: bool,
) -> Result<(), String> {
    let argv: Vec<OsString> = query.argv.iter().cloned().map(OsString::from_vec).collect();
    let cwd = Path::new(OsStr::from_bytes(&query.cwd));
    let read = |path: &Path| fs::read(cwd.join(path)).ok();
    let Scan::Distributable(invocation) = scan(&argv, &read) else {
        return Err("the command can't be read".to_owned());
    };
    let files = reply.shipment.files.iter();
    let ours: Vec<Vec<u8>> = files.map(|sent| sent.place.path().to_vec()).collect();
    if write {
        write_list(cwd, &invocation, ".d_approx", &ours)?;
    }
    if !verify {
        return Ok(());
    }
    let exact = compilers_list(query, &invocation, environment)?;
    if write {
        write_list(cwd, &invocation, ".d_exact", &exact)?;
    }
    let known: HashSet<&[u8]> = ours.iter().map(Vec::as_slice).collect();
    let system = &reply.shipment.system_links;
    let is_system = |path: &[u8]| system.iter().any(|link| is_below(path, &link.path));
    let missing = exact
        .iter()
        .find(|path| !known.contains(path.as_slice()) && !is_system(path));
    match missing {
        Some(path) => Err(format!(
            "verification failed: {} is not among the files",
            String::from_utf8_lossy(path)
        )),
        None => Ok(()),
    }
}

/// Writes a list beside the output, under its name without `.o`.
fn write_list(
    cwd: &Path,
    invocation: &Invocation,
    suffix: &str,
    list: &[Vec<u8>],
) -> Result<(), String> {
    let output = invocation.output.as_os_str().as_bytes();
    let prefix = output.strip_suffix(b".o").unwrap_or(output);
    let path = cwd.join(OsStr::from_bytes(&[prefix, suffix.as_bytes()].concat()));
    let mut text = list.join(&b'\n');
    text.push(b'\n');
    fs::write(&path, text).map_err(|err| format!("write {}: {err}", path.display()))
}

/// The real paths of all files that `-M` names.
fn compilers_list(
    query: &Query,
    invocation: &Invocation,
    environment: &Environment,
) -> Result<Vec<Vec<u8>>, String> {
    let words = invocation.argv.iter().zip(&invocation.roles);
    let kept = words.filter(|(_, role)| {
        !matches!(
            role,
            Role::Program | Role::Output | Role::Step | Role::Dependency | Role::Side
        )
    });
    let mut words: Vec<&OsStr> = kept.map(|(word, _)| word.as_os_str()).collect();
    words.push(OsStr::new("-M"));
    let program = Path::new(OsStr::from_bytes(&query.program));
    let cwd = Path::new(OsStr::from_bytes(&query.cwd));
    let said = ask(program, &words, cwd, environment, b"", 2 * PATIENCE);
    let said = said.map_err(|err| format!("verification failed: {err}"))?;
    if !said.success {
        return Err("verification failed: the compiler does not list its files".to_owned());
    }
    let real = |name: PathBuf| {
        let path = cwd.join(name);
        let real = fs::canonicalize(&path).unwrap_or(path);
        real.into_os_string().into_vec()
    };
    Ok(files_named(&said.output).into_iter().map(real).collect())
}
