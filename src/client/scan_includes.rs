//! `distcc --scan-includes COMPILER …`: what pump mode would send for a compile, one line for each entry. Asks the include
//! server and nobody else; never compiles, and needs no host.

use super::discrepancy::Session;
use super::native;
use super::pumped::Pump;
use crate::farm::cross::Compiler;
use crate::model::about;
use crate::model::entries::{Entries, Raw};
use crate::model::error::{Code, Error, Result, Status};
use crate::model::invocation::{scan, Scan};
use crate::model::path_list::{folder_of, is_system_link};
use crate::model::settings::ClientSettings;
use crate::os::files::read_plain_file;
use std::ffi::OsString;
use std::io::{self, Write};

/// The status if the include server could not answer: stock's.
const NO_ANSWER: Status = Status(1);

/// Prints the entries for the compiler command `argv`.
pub fn scan_includes(argv: &[OsString], settings: &ClientSettings) -> Result<Status> {
    let unused = |why: String| {
        Error::new(
            Code::Failed,
            format!(
                "'--scan_includes' specified, but distcc wouldn't have used include server: {why}"
            ),
        )
    };
    let invocation = match scan(argv, &read_plain_file) {
        Scan::Distributable(invocation) => invocation,
        Scan::Local(local) => return Err(unused(local.reason.to_string())),
    };
    Session::of(&settings.pump).check().map_err(unused)?;
    let path = settings.path.clone().unwrap_or_default();
    let invocation = native::for_other_machines(&invocation, &path, settings)
        .map_err(|why| unused(why.to_string()))?;
    let compiler = Compiler::of(argv, &path, settings.rewrite_cross);
    let mut pump = Pump::new(&invocation, &compiler, &path, settings).map_err(unused)?;
    match pump.files() {
        Ok(covered) => print(&covered.entries),
        Err(why) => {
            log::error!("failed to get includes from include server: {why}");
            Ok(NO_ANSWER)
        }
    }
}

fn print(entries: &[u8]) -> Result<Status> {
    let mut lines = Vec::new();
    for entry in Entries::of(entries) {
        let entry = entry.map_err(|err| Error::new(err.code(), err.to_string()))?;
        if entry.name() == about::NAME {
            continue;
        }
        let (category, name) = described(entry);
        lines.extend_from_slice(format!("{category:<9} ").as_bytes());
        lines.extend_from_slice(name);
        lines.push(b'\n');
    }
    io::stdout()
        .write_all(&lines)
        .map_err(|err| Error::io("write to stdout", &err))?;
    Ok(Status::OK)
}

/// What stock calls an entry, and the name to show.
fn described(entry: Raw<'_>) -> (&'static str, &[u8]) {
    match entry {
        Raw::Link(name, target) if is_system_link(name, target) => ("SYSTEMDIR", name),
        Raw::Link(name, _) => ("SYMLINK", name),
        Raw::File(name, _) => match folder_of(name) {
            Some(folder) => ("DIRECTORY", folder),
            None => ("FILE", name),
        },
    }
}
