//! Pump mode's words: what a server is asked to run when it preprocesses itself, and which commands a daemon of stock's
//! would not run as a compiler here does, though it can be sent them.

use super::dependencies;
use super::family::Family;
use super::invocation::{Invocation, Reason, Role};
use super::plain;
use super::search_variables;
use super::sources;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// The options whose folder or file stock's daemon moves to where it has put the client's files.
const MOVED_BY_STOCK: [&[u8]; 6] = [
    b"-I",
    b"-include",
    b"-imacros",
    b"-idirafter",
    b"-isystem",
    b"-iquote",
];

/// Variables that show in an object if a source asks for the date, and that stock's daemon does not see.
const UNSEEN_BY_STOCK: [&str; 2] = ["SOURCE_DATE_EPOCH", "TZ"];

/// The server's command; word 0 is the program as the user named it. `color` says that messages go to a terminal that
/// can show it, `lookup` reads the environment.
pub fn server_words(
    invocation: &Invocation,
    family: Option<Family>,
    color: bool,
    lookup: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Vec<OsString>, Reason> {
    if invocation.preprocessed {
        return Err(Reason::new("it is preprocessed already"));
    }
    if sources::language_of(&invocation.input).is_none() {
        return Err(Reason::new("servers know sources by their extension"));
    }
    let mut words = Vec::with_capacity(invocation.argv.len() + 8);
    for (word, role) in invocation.argv.iter().zip(&invocation.roles) {
        match role {
            Role::Dependency => {}
            Role::Language => words.extend(language_words(word)),
            _ => words.push(word.clone()),
        }
    }
    if color && family.is_some() && !invocation.says_color() {
        words.insert(1, "-fdiagnostics-color=always".into());
    }
    let wp_target = family == Some(Family::Gcc);
    words.extend(dependencies::server_words(invocation, wp_target)?);
    words.extend(search_variables::words(invocation, family, lookup)?);
    Ok(words)
}

/// `-xc` as two words: stock's daemon refuses it as one.
fn language_words(word: &OsStr) -> Vec<OsString> {
    match word.as_bytes().strip_prefix(b"-x") {
        Some(language) if !language.is_empty() => {
            vec!["-x".into(), OsStr::from_bytes(language).to_owned()]
        }
        _ => vec![word.to_owned()],
    }
}

/// Why a daemon of stock's would not give what a compile here gives, whatever files it is sent.
pub fn stock_differs(
    invocation: &Invocation,
    cwd: &[u8],
    lookup: &dyn Fn(&str) -> Option<OsString>,
) -> Option<Reason> {
    if let Some(name) = UNSEEN_BY_STOCK.iter().find(|name| lookup(name).is_some()) {
        return Some(Reason::new(format!("${name} is set")));
    }
    let pairs = || invocation.argv.iter().zip(&invocation.roles);
    let words = || pairs().map(|(word, _)| word.as_bytes());
    if let Some(word) = words().find(|word| is_lost(word, invocation)) {
        let shown = String::from_utf8_lossy(word);
        return Some(Reason::new(format!("{shown} has no effect there")));
    }
    let mut named = words().chain([cwd]);
    if named.any(|word| memchr::memmem::find(word, b"/distccd_").is_some()) {
        return Some(Reason::new("its own files are named like a daemon's"));
    }
    let mut places = pairs().filter(|(_, role)| matches!(role, Role::Include | Role::Preprocess));
    let mut takes_value = false;
    let stays = places.any(|(word, _)| {
        let word = word.as_bytes();
        let moved = MOVED_BY_STOCK.contains(&word);
        let is_value = std::mem::replace(&mut takes_value, moved);
        !is_value && !moved && is_left_in_place(word)
            || is_value && matches!(word.first(), Some(b'=' | b'$'))
    });
    stays.then(|| Reason::new("it names a folder that is not moved with the files there"))
}

/// Whether the object holds checksums of the sources as the compiler saw them.
pub fn shows_checksums(invocation: &Invocation, family: Option<Family>) -> bool {
    family == Some(Family::Clang) && invocation.debug_info && !plain::old_dwarf(invocation)
}

/// Options that concern paths as they are here, or hide from us what is in the object.
fn is_lost(word: &[u8], invocation: &Invocation) -> bool {
    let maps = word.starts_with(b"-f") && memchr::memmem::find(word, b"-prefix-map=").is_some();
    let places =
        word.starts_with(b"-f") && memchr::memmem::find(word, b"-compilation-dir").is_some();
    let packs = word.starts_with(b"-gz") && word != b"-gz=none";
    maps || places || packs && invocation.debug_info
}

/// Whether an option, with its value attached or as the next word, names an absolute folder that stock does not move.
fn is_left_in_place(word: &[u8]) -> bool {
    let mut attached = MOVED_BY_STOCK
        .iter()
        .filter_map(|option| word.strip_prefix(*option));
    match attached.next() {
        Some(value) => matches!(value.first(), Some(b'=' | b'$')),
        None => word.contains(&b'/') || matches!(word, b"-iprefix" | b"-isysroot" | b"--sysroot"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::model::family::family;
    use crate::model::invocation::{scan, Scan};
    use std::path::Path;

    fn invocation(command: &str) -> Invocation {
        let argv: Vec<OsString> = command.split(' ').map(OsString::from).collect();
        match scan(&argv, &|_| None) {
            Scan::Distributable(invocation) => invocation,
            Scan::Local(local) => panic!("{command}: {}", local.reason),
        }
    }

    fn server(command: &str, color: bool) -> Result<String, Reason> {
        let invocation = invocation(command);
        let family = family(Path::new(&invocation.argv[0]));
        let lookup = |name: &str| (name == "CPATH").then(|| OsString::from("env"));
        let words = server_words(&invocation, family, color, &lookup)?;
        Ok(words.join(OsStr::new(" ")).into_string().unwrap())
    }

    #[test]
    fn the_command_is_the_users_but_for_what_depends_on_this_machine() {
        for (command, color, words) in [
            (
                "gcc -O2 -Iinc -DX -g3 -lm -c d/x.c -o x.o",
                false,
                "gcc -O2 -Iinc -DX -g3 -lm -c d/x.c -o x.o -Ienv",
            ),
            (
                "gcc -MD -MF f -xc -c x.c",
                true,
                "gcc -fdiagnostics-color=always -x c -c x.c -o x.o -MD -MQx.o -Ienv",
            ),
            (
                "clang -fno-color-diagnostics -x c++ -c x.c -o x.o",
                true,
                "clang -fno-color-diagnostics -x c++ -c x.c -o x.o -Ienv",
            ),
        ] {
            assert_eq!(server(command, color).unwrap(), words);
        }
        assert!(server("gcc -Wp,-DY -c x.c", false).is_err());
        assert!(server("gcc -c x.i", false).is_err());
        assert!(server("gcc -x c -c x.inc", false).is_err());
        assert!(server("tcc -c x.c", false).is_err());
    }

    #[test]
    fn stock_is_not_asked_for_what_it_would_do_otherwise() {
        let differs = |command: &str, set: &str| {
            let lookup = |name: &str| (name == set).then(OsString::new);
            stock_differs(&invocation(command), b"/w", &lookup).is_some()
        };
        for command in [
            "gcc -I/a -I b -isystem /c -iquote d -idirafter/e -include /f -imacros g -g -c x.c",
            "gcc --sysroot=rel -stdlib=libc++ -nostdinc -gz=none -g -c x.c",
            "gcc -gz -g0 -c x.c",
            "gcc -Xpreprocessor -I/a -Wp,-DX -c x.c",
        ] {
            assert!(!differs(command, "LANG"), "{command}");
            assert!(differs(command, "SOURCE_DATE_EPOCH"), "{command}");
        }
        for command in [
            "gcc --sysroot=/a -c x.c",
            "gcc --sysroot a -c x.c",
            "gcc -isysroot /a -c x.c",
            "gcc -iprefix /a -c x.c",
            "gcc -iwithprefixbefore /a -c x.c",
            "gcc -I=/a -c x.c",
            "gcc -isystem =/a -c x.c",
            "gcc -Wp,-I/a -c x.c",
            "gcc -ffile-prefix-map=/a=b -c x.c",
            "clang -fdebug-compilation-dir=/a -c x.c",
            "gcc -gz -g -c x.c",
            "gcc -I/tmp/distccd_own/x -c x.c",
        ] {
            assert!(differs(command, "LANG"), "{command}");
        }
        let none = |_: &str| None;
        assert!(stock_differs(&invocation("gcc -c x.c"), b"/distccd_/w", &none).is_some());
    }
}
