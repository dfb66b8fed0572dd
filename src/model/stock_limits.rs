//! What a stock daemon does not do right although it gets all files: it puts its own folder before the client's absolute
//! paths, in some options but not in others, and shows it in what it makes. Such jobs are exact on our hosts only.

use super::invocation::{Invocation, Role};
use super::option_table;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Options whose absolute folders a stock daemon moves below its own.
const MOVED: &[&str] = &[
    "-I",
    "-idirafter",
    "-imacros",
    "-include",
    "-iprefix",
    "-iquote",
    "-isystem",
    "-iwithprefix",
];

/// Options without a folder of the user's among those with the role of include options.
const NO_FOLDER: &[&str] = &[
    "--stdlib=",
    "-ibuiltininc",
    "-imultiarch",
    "-imultilib",
    "-nobuiltininc",
    "-nostdinc",
    "-nostdinc++",
    "-stdlib=",
];

/// The first word of a command that a stock daemon would not heed as it is meant. `is_system`: a folder that a daemon has
/// itself. `moved`: the working directory has another name for the user.
pub fn misunderstood<'i>(
    invocation: &'i Invocation,
    is_system: &dyn Fn(&[u8]) -> bool,
) -> Option<&'i OsStr> {
    let mut words = invocation.argv.iter().zip(&invocation.roles).skip(1);
    while let Some((word, role)) = words.next() {
        let bytes = word.as_bytes();
        let Some(option) = option_table::find(bytes).filter(|_| *role != Role::Input) else {
            continue;
        };
        let value = match option.takes_next {
            true => words.next().map_or(&b""[..], |(value, _)| value.as_bytes()),
            false => option.joined,
        };
        let absolute = value.starts_with(b"/") && !is_system(value);
        let misunderstood = match role {
            Role::Include if NO_FOLDER.contains(&option.row.name) => false,
            Role::Include if MOVED.contains(&option.row.name) => {
                value.starts_with(b"=") || value.starts_with(b"$SYSROOT")
            }
            Role::Include => absolute,
            Role::Code if option.row.name == "-F" => absolute,
            Role::Code => invocation.debug_info && maps_names(option.row.name),
            Role::Preprocess => {
                // A folder, or a file that is included.
                let absolute = |part: &[u8]| part == b"-I/" || part.starts_with(b",/");
                bytes.windows(3).any(absolute) || absolute_part(value)
            }
            _ => false,
        };
        if misunderstood {
            return Some(word);
        }
    }
    None
}

/// Its user wants other names in debug information, and a stock daemon's folder stands before the names that are mapped.
fn maps_names(option: &str) -> bool {
    matches!(option, "-ffile-prefix-map=" | "-fdebug-prefix-map=")
}

fn absolute_part(value: &[u8]) -> bool {
    value.starts_with(b"-I/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::invocation::{scan, Scan};
    use std::ffi::OsString;

    #[test]
    fn what_stock_moves_and_what_it_does_not() {
        for (line, expected) in [
            ("gcc -I/a -isystem /b -iquote/c -include /d.h -c /e.c", None),
            ("gcc -I a --sysroot=rel -iwithprefixbefore x -c e.c", None),
            (
                "gcc -iprefix /a/ -iwithprefixbefore /b -c e.c",
                Some("-iwithprefixbefore"),
            ),
            ("gcc --sysroot=/s -c e.c", Some("--sysroot=/s")),
            ("gcc -isysroot /s -c e.c", Some("-isysroot")),
            ("gcc -I=/a -c e.c", Some("-I=/a")),
            ("clang -F /a -c e.c", Some("-F")),
            ("clang -F /usr/include/f -c e.c", None),
            ("gcc -Wp,-I/a -c e.c", Some("-Wp,-I/a")),
            ("gcc -Wp,-include,/a.h -c e.c", Some("-Wp,-include,/a.h")),
            ("gcc -Wp,-include,a.h -c e.c", None),
            ("gcc -Xpreprocessor -I/a -c e.c", Some("-Xpreprocessor")),
            ("gcc -ffile-prefix-map=/a=b -c e.c", None),
            (
                "gcc -g -ffile-prefix-map=/a=b -c e.c",
                Some("-ffile-prefix-map=/a=b"),
            ),
            ("gcc -D /a -o /b -MD -MF /c -c e.c", None),
        ] {
            let argv: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            let Scan::Distributable(invocation) = scan(&argv, &|_| None) else {
                panic!("{line}");
            };
            let is_system = |path: &[u8]| path.starts_with(b"/usr/include");
            let found = misunderstood(&invocation, &is_system);
            assert_eq!(found, expected.map(OsStr::new), "{line}");
        }
    }
}
