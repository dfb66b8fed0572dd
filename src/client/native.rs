//! `-march=native` for other machines: the compiler here is asked what it means by that, once for each set of options,
//! and the answer kept in `$DISTCC_DIR/native` until the compiler or the machine is another. What the answer proves is
//! `model::native_proof`'s affair.

use super::local;
use crate::farm::cross;
use crate::farm::topdir::{made, TopDir};
use crate::model::family::{family, Family};
use crate::model::invocation::{Invocation, Reason};
use crate::model::settings::ClientSettings;
use crate::model::{native, native_proof};
use crate::os::files::{write_output, Existing};
use std::borrow::Cow;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What tells one start of a machine from all others, and what its processor is: not in files that packages change.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";
const MACHINE: [&str; 3] = [
    BOOT,
    "/sys/devices/system/cpu/modalias",
    "/sys/devices/system/cpu/cpu0/regs/identification/midr_el1",
];

/// What the compiler is given to compile when it is asked.
const FUNCTION: &[u8] = b"void f(void) {}\n";

/// No compiler says as much about its options.
const RECORD_BYTES_MAX: u64 = 1 << 16;

/// The compile in words that mean the same on every machine, or why there are none. `path` is PATH.
pub fn for_other_machines<'i>(
    invocation: &'i Invocation,
    path: &OsStr,
    settings: &ClientSettings,
) -> Result<Cow<'i, Invocation>, Reason> {
    if !invocation.native {
        return Ok(Cow::Borrowed(invocation));
    }
    match words(invocation, path, settings) {
        Ok(words) => {
            log::info!(
                "native means here: {}",
                words.join(OsStr::new(" ")).to_string_lossy()
            );
            Ok(Cow::Owned(native::replaced(invocation, &words)))
        }
        Err(why) => Err(Reason::new(format!(
            "native means this machine's processor: {why}"
        ))),
    }
}

fn words(
    invocation: &Invocation,
    path: &OsStr,
    settings: &ClientSettings,
) -> Result<Vec<OsString>, String> {
    if let Some(why) = native::shows_words(invocation) {
        return Err(why);
    }
    let name = invocation.argv.first().cloned().unwrap_or_default();
    let cwd = env::current_dir().unwrap_or_default();
    let compiler = cross::locate(&name, path, &cwd).and_then(|found| fs::canonicalize(found).ok());
    let compiler = compiler.ok_or("there is no such compiler here")?;
    let family = kin(&compiler)?;
    let decisive = native::decisive_words(invocation);
    let order = native::shows_order(invocation);
    let key = key(&name, &compiler, &decisive, order)?;
    let record = place(settings, &name, &compiler, &decisive, order);
    if let Some(found) = record.as_deref().and_then(|path| read(path, &key)) {
        return found;
    }
    let found = native_proof::resolve(family, &decisive, order, &|words| ask(&name, words));
    let lasts = found.as_ref().err().is_none_or(|unproven| unproven.lasts);
    let found = found.map_err(|unproven| unproven.why);
    match record {
        Some(path) if lasts => keep(&path, &native::record(&key, &found)),
        _ => {}
    }
    found
}

/// The compiler's kin, if the file is the compiler itself: a script may run another one tomorrow.
fn kin(compiler: &Path) -> Result<Family, String> {
    let mut head = [0; 4];
    let is_program = File::open(compiler)
        .and_then(|mut file| file.read_exact(&mut head))
        .is_ok_and(|()| head == *b"\x7fELF");
    match family(compiler) {
        Some(family) if is_program => Ok(family),
        _ => Err(format!("{} is not gcc or clang itself", compiler.display())),
    }
}

/// All that the finding depends on, and that can be told without asking.
fn key(name: &OsStr, compiler: &Path, decisive: &[&OsStr], order: bool) -> Result<Vec<u8>, String> {
    let meta = fs::metadata(compiler).map_err(|err| format!("{}: {err}", compiler.display()))?;
    let stamp = format!(
        "{} {} {} {}.{} {}.{} {order}",
        meta.dev(),
        meta.ino(),
        meta.size(),
        meta.mtime(),
        meta.mtime_nsec(),
        meta.ctime(),
        meta.ctime_nsec()
    );
    let mut key = vec![1];
    for part in [name, compiler.as_os_str(), OsStr::new(&stamp)]
        .iter()
        .chain(decisive)
    {
        key.extend_from_slice(part.as_bytes());
        key.push(0);
    }
    for file in MACHINE {
        let told = fs::read(file).unwrap_or_default();
        if told.is_empty() && file == BOOT {
            return Err(format!(
                "{BOOT} can't be read, which tells this machine from others"
            ));
        }
        key.extend(told);
        key.push(0);
    }
    Ok(key)
}

/// Where the record for a compiler and its options lies: another state of the compiler takes the place of the last one.
fn place(
    settings: &ClientSettings,
    name: &OsStr,
    compiler: &Path,
    decisive: &[&OsStr],
    order: bool,
) -> Option<PathBuf> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[u8::from(order)]);
    for part in [name, compiler.as_os_str()].iter().chain(decisive) {
        hasher.update(part.as_bytes()).update(&[0]);
    }
    let file = hasher.finalize().to_hex();
    let folder = TopDir::find(settings).ok()?.native_dir();
    Some(folder.join(file.get(..32)?))
}

fn read(path: &Path, key: &[u8]) -> Option<Result<Vec<OsString>, String>> {
    let mut record = Vec::new();
    let file = File::open(path).ok()?;
    file.take(RECORD_BYTES_MAX).read_to_end(&mut record).ok()?;
    native::recorded(&record, key)
}

/// Keeps a record, if there is a place for it; without one the compiler is asked each time.
fn keep(path: &Path, record: &[u8]) {
    let made = path.parent().is_none_or(|folder| made(folder).is_ok());
    let kept = made && write_output(path, record, Existing::Replace).is_ok();
    if !kept {
        log::debug!("what native means can't be kept as {}", path.display());
    }
}

/// Asks the compiler that the user named.
fn ask(name: &OsStr, words: &[&OsStr]) -> Result<native_proof::Answer, String> {
    let argv: Vec<OsString> = std::iter::once(name)
        .chain(words.iter().copied())
        .map(OsStr::to_owned)
        .collect();
    log::debug!("asking {} what native means", name.to_string_lossy());
    local::ask(&argv, FUNCTION).map_err(|err| err.to_string())
}
