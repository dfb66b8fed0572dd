//! With which words of a command its compiler is asked: those that change its folders or its own macros.

use crate::model::invocation::{Invocation, Role};
use crate::model::option_table;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// The words of a command that change a compiler's folders or its own macros.
pub fn flags(invocation: &Invocation) -> Vec<OsString> {
    let mut flags = Vec::new();
    let mut words = invocation.argv.iter().zip(&invocation.roles).skip(1);
    while let Some((word, role)) = words.next() {
        let bytes = word.as_bytes();
        let found = option_table::find(bytes);
        let value = match found {
            Some(found) if found.takes_next && *role != Role::Input => words.next(),
            _ => None,
        };
        let matters = match role {
            Role::Code => changes_macros(bytes),
            Role::Include => found.is_some_and(|found| moves_folders(found.row.name)),
            _ => false,
        };
        if matters {
            flags.push(word.clone());
            flags.extend(value.map(|(value, _)| value.clone()));
        }
    }
    flags
}

/// Words that change code or macros, and not only messages, debug information or names.
fn changes_macros(word: &[u8]) -> bool {
    const HARMLESS: &[&[u8]] = &[
        b"-F",
        b"-H",
        b"-P",
        b"-Q",
        b"-R",
        b"-W",
        b"-fcolor-diagnostics",
        b"-fcoverage-compilation-dir=",
        b"-fdebug-compilation-dir",
        b"-fdiagnostics-",
        b"-fdirectives-only",
        b"-ffile-compilation-dir=",
        b"-fmessage-length=",
        b"-fno-color-diagnostics",
        b"-fno-diagnostics-",
        b"-frandom-seed=",
        b"-g",
        b"-mllvm",
        b"-w",
    ];
    // They decide about `__DEPRECATED` and `__cpp_runtime_arrays`.
    const TELLING: [&[u8]; 3] = [b"deprecated", b"pedantic", b"vla"];
    let has = |part: &&[u8]| memchr::memmem::find(word, part).is_some();
    if word.starts_with(b"-W") && TELLING.iter().any(has) {
        return true;
    }
    let maps = word.starts_with(b"-f") && word.windows(11).any(|part| part == b"prefix-map=");
    let harmless = HARMLESS.iter().any(|head| word.starts_with(head));
    !maps && !harmless
}

/// Options that change the default folders; all others of their kind name folders of the user's.
fn moves_folders(option: &str) -> bool {
    matches!(
        option,
        "--stdlib="
            | "--sysroot"
            | "--sysroot="
            | "-ibuiltininc"
            | "-imultiarch"
            | "-imultilib"
            | "-iprefix"
            | "-isysroot"
            | "-nobuiltininc"
            | "-nostdinc"
            | "-nostdinc++"
            | "-stdlib="
    )
}

/// The root of the system's folders that the user gave: `-isysroot` counts, then `--sysroot`; the last one of each.
pub fn user_root(flags: &[OsString]) -> Option<Vec<u8>> {
    let value = |names: &[&str]| {
        let mut found = None;
        let mut words = flags.iter();
        while let Some(word) = words.next() {
            let Some(option) = option_table::find(word.as_bytes()) else {
                continue;
            };
            let value = match option.takes_next {
                true => words.next().map(|value| value.as_bytes()),
                false => Some(option.joined),
            };
            if names.contains(&option.row.name) {
                found = value.map(<[u8]>::to_vec);
            }
        }
        found
    };
    value(&["-isysroot"]).or_else(|| value(&["--sysroot", "--sysroot="]))
}

/// Whether one of them names a folder relative to the working directory.
pub fn names_relative_folder(flags: &[OsString]) -> bool {
    let mut words = flags.iter();
    let mut relative = false;
    while let Some(word) = words.next() {
        let Some(option) = option_table::find(word.as_bytes()) else {
            continue;
        };
        let value = match option.takes_next {
            true => words.next().map_or(&b""[..], |value| value.as_bytes()),
            false => option.joined,
        };
        let names = matches!(
            option.row.name,
            "--sysroot" | "--sysroot=" | "-iprefix" | "-isysroot"
        );
        relative |= names && value.first() != Some(&b'/');
    }
    relative
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::testing::invocation;

    #[test]
    fn only_flags_that_matter_are_asked_with() {
        for (line, expected) in [
            ("gcc -c a.c", ""),
            (
                "gcc -g -O2 -Wall -std=c99 -DX -I/x -MD -MF d -c a.c -o b.o",
                "-O2 -std=c99",
            ),
            (
                "gcc -m32 -fPIC -pthread -ffile-prefix-map=/a=b -frandom-seed=1 -c a.c",
                "-m32 -fPIC -pthread",
            ),
            (
                "gcc --sysroot /s -isystem x -nostdinc -include y.h -c a.c",
                "--sysroot /s -nostdinc",
            ),
            (
                "clang -target aarch64-linux-gnu -stdlib=libc++ -F x -c a.cc",
                "-target aarch64-linux-gnu -stdlib=libc++",
            ),
            (
                "clang -isysroot sr -fcolor-diagnostics -c a.c",
                "-isysroot sr",
            ),
            ("gcc --param x=1 -U Y -D X -c a.c", "--param x=1"),
            (
                "g++ -Wno-deprecated -Wunused -Werror=vla -Wpedantic -c a.cc",
                "-Wno-deprecated -Werror=vla -Wpedantic",
            ),
        ] {
            let flags = flags(&invocation(line));
            let flags: Vec<_> = flags.iter().map(|flag| flag.to_str().unwrap()).collect();
            assert_eq!(flags.join(" "), expected, "{line}");
        }
        assert!(names_relative_folder(&flags(&invocation(
            "gcc -isysroot sr -c a.c"
        ))));
        assert!(!names_relative_folder(&flags(&invocation(
            "gcc --sysroot=/s -c a.c"
        ))));
    }
}
