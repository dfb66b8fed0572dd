//! Which program am I? A table of names, looked up with argv[0] and then with the first word; any other name is a
//! compiler's. The one place where an error that ends a program is printed.

use crate::client::{call, program, why};
use crate::daemon::{enter, serve};
use crate::farm::zeroconf::HELPER;
use crate::model::error::{Error, Result, Status};
use crate::model::settings::ClientSettings;
use crate::os::{cleanup, logging, start};
use crate::pump::{include_server, wrapper};
use crate::tools::{doctor, lsdistcc, monitor, symlinks, top, trace, try_build, zeroconf};
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::Path;

/// A program in this executable.
struct Role {
    /// What it is called as, also as first word after `distcc`.
    name: &'static str,
    /// Takes all words; the first is the name it was called by.
    run: fn(Vec<OsString>) -> Result<Status>,
    /// Whether a link of this name is enough, or only the first word after `distcc` names it.
    by_link: bool,
}

/// All programs, sorted by name. The client is what a name that contains `distcc` and stands nowhere here means.
const ROLES: &[Role] = &[
    Role {
        name: "distcc-include_server",
        run: include_server::include_server,
        by_link: true,
    },
    Role {
        name: "distcc-pump",
        run: wrapper::pump,
        by_link: true,
    },
    Role {
        name: HELPER,
        run: zeroconf::helper,
        by_link: true,
    },
    Role {
        name: "distccd",
        run: serve::distccd,
        by_link: true,
    },
    Role {
        name: enter::NAME,
        run: enter::distccd_job,
        by_link: true,
    },
    Role {
        name: "distccmon-text",
        run: monitor::distccmon_text,
        by_link: true,
    },
    Role {
        name: "doctor",
        run: doctor::doctor,
        by_link: false,
    },
    Role {
        name: "include_server",
        run: include_server::include_server,
        by_link: true,
    },
    Role {
        name: "lsdistcc",
        run: lsdistcc::lsdistcc,
        by_link: true,
    },
    Role {
        name: "pump",
        run: wrapper::pump,
        by_link: true,
    },
    Role {
        name: "top",
        run: top::top,
        by_link: false,
    },
    Role {
        name: "trace",
        run: trace::trace,
        by_link: false,
    },
    Role {
        name: "try",
        run: try_build::try_build,
        by_link: false,
    },
    Role {
        name: "update-distcc-symlinks",
        run: symlinks::update_distcc_symlinks,
        by_link: true,
    },
    Role {
        name: "why",
        run: why::why,
        by_link: false,
    },
];

/// Runs the program that `argv` names and says how it ended.
pub fn run(argv: Vec<OsString>) -> Status {
    start::end_on_panic();
    let (name, result) = dispatch(argv);
    result.unwrap_or_else(|err: Error| {
        // Whoever closed or filled stderr gets the status all the same.
        let _ = writeln!(io::stderr(), "{name}: {err}");
        err.code.into()
    })
}

fn dispatch(mut argv: Vec<OsString>) -> (String, Result<Status>) {
    let called_as = argv
        .first()
        .map_or(OsStr::new("distcc"), OsString::as_os_str);
    let name = Path::new(called_as).file_name().unwrap_or(called_as);
    if let Some(role) = role(name).filter(|role| role.by_link) {
        return (role.name.to_owned(), (role.run)(argv));
    }
    let name = name.to_string_lossy().into_owned();
    if !name.contains("distcc") {
        return (
            name,
            start_client().and_then(|settings| call::masquerade(argv, settings)),
        );
    }
    if let Some(role) = argv.get(1).and_then(|word| role(word)) {
        argv.remove(0);
        return (format!("{name} {}", role.name), (role.run)(argv));
    }
    let result = match program::says_itself(&argv) {
        Some(said) => said,
        None => start_client().and_then(|settings| program::distcc(argv, settings)),
    };
    (name, result)
}

/// What every call of the client begins with. Nothing here may take long: it is done once per source file.
fn start_client() -> Result<ClientSettings> {
    let settings = ClientSettings::read(|name| std::env::var_os(name))?;
    logging::client(&settings);
    cleanup::install().map_err(|err| Error::io("prepare for signals", &err))?;
    Ok(settings)
}

fn role(name: &OsStr) -> Option<&'static Role> {
    let name = name.to_str()?;
    let found = ROLES.binary_search_by(|role| role.name.cmp(name)).ok()?;
    ROLES.get(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_names_are_found() {
        assert!(ROLES.windows(2).all(|pair| pair[0].name < pair[1].name));
        assert!(role(OsStr::new("distccd")).is_some());
        assert!(role(OsStr::new("gcc")).is_none());
    }
}
