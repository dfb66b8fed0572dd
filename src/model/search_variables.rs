//! `CPATH` and its kin, by which the environment adds folders to a compiler's search path, as options that do the same:
//! a compiler elsewhere does not see the environment. Where no options do the same, the reason.

use super::family::Family;
use super::invocation::{Invocation, Reason, Role};
use super::sources::Language;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Searched after all `-I`, whatever the language.
const ANY_LANGUAGE: &str = "CPATH";

/// All of them.
pub const NAMES: [&str; 5] = [
    ANY_LANGUAGE,
    "C_INCLUDE_PATH",
    "CPLUS_INCLUDE_PATH",
    "OBJC_INCLUDE_PATH",
    "OBJCPLUS_INCLUDE_PATH",
];

/// Words to put at the end of the command, with the values that `lookup` gives (tried: gcc 12, clang 14).
pub fn words(
    invocation: &Invocation,
    family: Option<Family>,
    lookup: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Vec<OsString>, Reason> {
    let mut words = Vec::new();
    append(&mut words, "-I", ANY_LANGUAGE, lookup)?;
    let after_all_others = !words.is_empty();
    let of_any = words.len();
    for name in of_language(invocation.language, family) {
        append(&mut words, "-isystem", name, lookup)?;
    }
    if words.is_empty() {
        return Ok(words);
    }
    let has = |role, word: &[u8]| {
        let mut pairs = invocation.argv.iter().zip(&invocation.roles);
        pairs.any(|(other, of)| *of == role && other.as_bytes().starts_with(word))
    };
    // What gcc keeps of its preprocessor's output tells the folders of the variables from those of the option.
    let keeps = |word: &OsString| {
        let word = word.as_bytes();
        word.starts_with(b"-save-temps") || word.starts_with(b"--save-temps")
    };
    let shows =
        words.len() > of_any && family == Some(Family::Gcc) && invocation.argv.iter().any(keeps);
    // gcc's driver hands the folders of `-Wp,` on after all others.
    let out_of_order = has(Role::Preprocess, b"-Wp,") || has(Role::Preprocess, b"-Xpreprocessor");
    let warns = has(Role::Code, b"-Wmissing-include");
    if family.is_none() || after_all_others && out_of_order || shows || warns {
        return Err(Reason::new(
            "no option does what CPATH or one of its kin does here",
        ));
    }
    Ok(words)
}

/// The variables of a language, in the order of their search. Only clang has Objective-C++ heed those of C++, too.
fn of_language(language: Language, family: Option<Family>) -> &'static [&'static str] {
    match (language, family) {
        (Language::C, _) => &["C_INCLUDE_PATH"],
        (Language::Cxx, _) => &["CPLUS_INCLUDE_PATH"],
        (Language::ObjC, _) => &["OBJC_INCLUDE_PATH"],
        (Language::ObjCxx, Some(Family::Clang)) => &["CPLUS_INCLUDE_PATH", "OBJCPLUS_INCLUDE_PATH"],
        (Language::ObjCxx, _) => &["OBJCPLUS_INCLUDE_PATH"],
    }
}

/// The folders of one variable; nothing between colons is the working directory, but nothing at all is nothing.
fn append(
    words: &mut Vec<OsString>,
    option: &str,
    name: &str,
    lookup: &dyn Fn(&str) -> Option<OsString>,
) -> Result<(), Reason> {
    let value = lookup(name).unwrap_or_default();
    if value.is_empty() {
        return Ok(());
    }
    for folder in value.as_bytes().split(|byte| *byte == b':') {
        let folder = if folder.is_empty() { b"." } else { folder };
        // Options take such values for something else: `-I-`, `-I=/below/the/sysroot`.
        if matches!(folder.first(), Some(b'-' | b'=' | b'$')) {
            let shown = OsStr::from_bytes(folder).to_string_lossy();
            return Err(Reason::new(format!("no option can name {shown} of {name}")));
        }
        let word = [option.as_bytes(), folder].concat();
        words.push(OsString::from_vec(word));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::model::family::family;
    use crate::model::invocation::{scan, Scan};
    use std::path::Path;

    fn made(command: &str, variables: &[(&str, &str)]) -> Result<String, Reason> {
        let argv: Vec<OsString> = command.split(' ').map(OsString::from).collect();
        let Scan::Distributable(invocation) = scan(&argv, &|_| None) else {
            panic!("{command} stays here");
        };
        let lookup = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        let family = family(Path::new(&invocation.argv[0]));
        let words = words(&invocation, family, &lookup)?;
        Ok(words.join(OsStr::new(" ")).into_string().unwrap())
    }

    const ALL: &[(&str, &str)] = &[
        ("CPATH", "a::b c:"),
        ("C_INCLUDE_PATH", "c"),
        ("CPLUS_INCLUDE_PATH", "cxx"),
        ("OBJC_INCLUDE_PATH", "m"),
        ("OBJCPLUS_INCLUDE_PATH", "mm"),
    ];

    #[test]
    fn each_language_has_its_variables() {
        let common = "-Ia -I. -Ib c -I.";
        for (command, more) in [
            ("gcc -c x.c", "-isystemc"),
            ("gcc -c x.cc", "-isystemcxx"),
            ("g++ -c x.c", "-isystemcxx"),
            ("gcc -c x.m", "-isystemm"),
            ("gcc -c x.mm", "-isystemmm"),
            ("clang -c x.mm", "-isystemcxx -isystemmm"),
            ("clang -x c++ -c x.c", "-isystemcxx"),
        ] {
            assert_eq!(made(command, ALL).unwrap(), format!("{common} {more}"));
        }
    }

    #[test]
    fn nothing_is_nothing() {
        for variables in [&[][..], &[("CPATH", ""), ("C_INCLUDE_PATH", "")]] {
            assert_eq!(made("tcc -c x.c", variables).unwrap(), "");
        }
        assert_eq!(made("gcc -c x.c", &[("CPATH", ":")]).unwrap(), "-I. -I.");
        let other = &[("CPLUS_INCLUDE_PATH", "-")];
        assert_eq!(made("gcc -c x.c", other).unwrap(), "");
    }

    #[test]
    fn what_no_option_can_say_is_refused() {
        for (command, variable, value) in [
            ("gcc -c x.c", "CPATH", "a:-"),
            ("gcc -c x.c", "C_INCLUDE_PATH", "=/include"),
            ("gcc -c x.c", "CPATH", "$SYSROOT/include"),
            ("gcc -Wp,-Ib -c x.c", "CPATH", "a"),
            ("gcc -Xpreprocessor -Ib -c x.c", "CPATH", "a"),
            ("gcc -Wmissing-include-dirs -c x.c", "CPATH", "a"),
            ("tcc -c x.c", "CPATH", "a"),
            ("gcc -save-temps=obj -c x.c", "C_INCLUDE_PATH", "a"),
            ("gcc --save-temps -c x.c", "C_INCLUDE_PATH", "a"),
        ] {
            assert!(made(command, &[(variable, value)]).is_err(), "{command}");
        }
        let system = &[("C_INCLUDE_PATH", "a")];
        for command in ["gcc -Wp,-Ib -c x.c", "clang -save-temps -c x.c"] {
            assert_eq!(made(command, system).unwrap(), "-isystema");
        }
        let any = made("gcc -save-temps -c x.c", &[("CPATH", "a")]);
        assert_eq!(any.unwrap(), "-Ia");
    }
}
