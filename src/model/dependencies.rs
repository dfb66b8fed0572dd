//! The dependency file that a whole compile here writes: its name, its target, and the words that ask for it where the
//! driver can't derive them: of the local preprocessor, which runs without `-o`, and of a pump job's server, whose own file
//! has another name. And which files a rule names.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use super::invocation::{DepTarget, Deps, Invocation, Reason, Role};

/// Words to add to the preprocessor's command; none if no dependency file is wanted.
/// `wp_target` says that the driver makes the target of `-Wp,-MD,FILE` from the source's name (gcc), not from the output's.
pub fn preprocessor_words(invocation: &Invocation, wp_target: bool) -> Vec<OsString> {
    let Some(deps) = &invocation.deps else {
        return Vec::new();
    };
    let mut words = Vec::new();
    if deps.file.is_none() {
        words.push(OsString::from("-MF"));
        words.push(file_name(invocation));
    }
    if deps.targets.is_empty() {
        words.push(OsString::from("-MQ"));
        words.push(derived_target(invocation, deps, wp_target));
    }
    words
}

/// What a server is asked for: the user's words without the file's name, and with the target that the driver would derive.
/// Targets are attached to their options: stock's daemon takes a separate `-MT` for itself, and loses all but the first.
pub fn server_words(invocation: &Invocation, wp_target: bool) -> Result<Vec<OsString>, Reason> {
    let Some(deps) = &invocation.deps else {
        return Ok(Vec::new());
    };
    let pairs = invocation.argv.iter().zip(&invocation.roles);
    let given = pairs
        .filter(|(_, role)| **role == Role::Dependency)
        .map(|(word, _)| word.as_bytes());
    let mut words: Vec<OsString> = given
        .clone()
        .filter(|word| matches!(*word, b"-MD" | b"-MMD"))
        .map(|word| OsStr::from_bytes(word).to_owned())
        .collect();
    if deps.from_wp {
        // clang heeds no third part, and which of `-Wp,-MD` and `-MMD` wins depends on their order.
        let mut parts = given.filter(|word| word.starts_with(b"-Wp,"));
        let is_odd = parts.any(|word| word.split(|byte| *byte == b',').count() != 3);
        if is_odd || !words.is_empty() || deps.md && deps.mmd {
            return Err(Reason::new("-Wp, with an odd set of dependency options"));
        }
        words.push(OsString::from(if deps.md { "-MD" } else { "-MMD" }));
    }
    if deps.phony {
        words.push("-MP".into());
    }
    let derived = [DepTarget {
        quoted: true,
        name: derived_target(invocation, deps, wp_target),
    }];
    let targets = match deps.targets.is_empty() {
        true => &derived[..],
        false => &deps.targets,
    };
    for target in targets {
        if target.name.is_empty() {
            return Err(Reason::new("a dependency target without a name"));
        }
        let mut word = OsString::from(if target.quoted { "-MQ" } else { "-MT" });
        word.push(&target.name);
        words.push(word);
    }
    Ok(words)
}

/// The dependency file, if one is wanted.
pub fn file(invocation: &Invocation) -> Option<PathBuf> {
    let deps = invocation.deps.as_ref()?;
    let given = deps.file.clone();
    Some(given.unwrap_or_else(|| file_name(invocation)).into())
}

/// Whether a compile that fails may end before it writes the dependency file, which a preprocessor run has written then.
pub fn may_be_missed(invocation: &Invocation, is_gcc: bool) -> bool {
    let ends_early = |word: &OsString| {
        let word = word.as_bytes();
        word.starts_with(b"-fmax-errors=") || word == b"-Wfatal-errors"
    };
    let pairs = || invocation.argv.iter().zip(&invocation.roles);
    invocation.deps.is_some()
        && is_gcc
        && pairs().any(|(word, role)| *role == Role::Code && ends_early(word))
}

/// The files that the first rule of a dependency file names.
pub fn files_named(rule: &[u8]) -> Vec<PathBuf> {
    let Some(colon) = rule
        .windows(2)
        .position(|at| at[0] == b':' && b" \t\r\n\\".contains(&at[1]))
    else {
        return Vec::new();
    };
    let mut names = Vec::new();
    let mut name = Vec::new();
    let mut bytes = rule.iter().copied().skip(colon + 1).peekable();
    while let Some(byte) = bytes.next() {
        match (byte, bytes.peek().copied()) {
            (b'\\', Some(b'\n')) | (b' ' | b'\t' | b'\r', _) => {
                if byte == b'\\' {
                    bytes.next();
                }
                names.push(std::mem::take(&mut name));
            }
            (b'\n', _) => break,
            (b'\\', Some(next @ (b' ' | b'\t' | b'#'))) | (b'$', Some(next @ b'$')) => {
                bytes.next();
                name.push(next);
            }
            _ => name.push(byte),
        }
    }
    names.push(name);
    names.retain(|name| !name.is_empty());
    let path = |name| PathBuf::from(OsString::from_vec(name));
    names.into_iter().map(path).collect()
}

/// The output with `.d` for its extension; without an output by the user, the source's base name in the working directory.
fn file_name(invocation: &Invocation) -> OsString {
    let output = invocation.output.as_os_str().as_bytes();
    with_extension(output, b".d")
}

fn derived_target(invocation: &Invocation, deps: &Deps, wp_target: bool) -> OsString {
    match deps.from_wp && wp_target {
        true => object_name(invocation),
        false => target(invocation),
    }
}

fn target(invocation: &Invocation) -> OsString {
    match invocation.output_given {
        true => invocation.output.clone().into_os_string(),
        false => object_name(invocation),
    }
}

fn object_name(invocation: &Invocation) -> OsString {
    let base = invocation.input.file_name().unwrap_or(OsStr::new(""));
    match base.as_bytes() {
        // Of a source, unlike of an output, a dot in front is no extension's.
        [b'.', rest @ ..] if !rest.contains(&b'.') => {
            OsString::from_vec([base.as_bytes(), b".o"].concat())
        }
        base => with_extension(base, b".o"),
    }
}

/// Replaces what follows the last dot of the base name, or appends.
fn with_extension(name: &[u8], extension: &[u8]) -> OsString {
    let base = name
        .iter()
        .rposition(|&byte| byte == b'/')
        .map_or(0, |slash| slash + 1);
    let stem = match name.iter().skip(base).rposition(|&byte| byte == b'.') {
        Some(dot) => name.get(..base + dot).unwrap_or(name),
        None => name,
    };
    OsString::from_vec([stem, extension].concat())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::model::testing::invocation;

    fn line(words: &[OsString]) -> String {
        words.join(OsStr::new(" ")).to_string_lossy().into_owned()
    }

    fn words(command: &str) -> String {
        line(&preprocessor_words(&invocation(command), true))
    }

    #[test]
    fn a_server_is_told_the_target_but_not_the_file() {
        for (command, words, file) in [
            ("gcc -MD -c s/h.c -o out/x.o", "-MD -MQout/x.o", "out/x.d"),
            ("gcc -MMD -MD -MP -c s/h.c", "-MMD -MD -MP -MQh.o", "h.d"),
            ("gcc -MMD -MFf -MT a$b -MQc -c h.c", "-MMD -MTa$b -MQc", "f"),
            ("gcc -Wp,-MMD,f -c s/h.c -o x.o", "-MMD -MQh.o", "f"),
            ("clang -Wp,-MD,f -MT t -c h.c -o x.o", "-MD -MTt", "f"),
        ] {
            let invocation = invocation(command);
            assert_eq!(line(&server_words(&invocation, true).unwrap()), words);
            assert_eq!(super::file(&invocation), Some(PathBuf::from(file)));
        }
        let clangs = invocation("clang -Wp,-MD,f -c h.c -o x.o");
        assert_eq!(line(&server_words(&clangs, false).unwrap()), "-MD -MQx.o");
        let none = invocation("gcc -c x.c");
        assert_eq!(server_words(&none, true).unwrap(), Vec::<OsString>::new());
        assert_eq!(super::file(&none), None);
    }

    #[test]
    fn odd_sets_of_dependency_options_are_not_for_servers() {
        for command in [
            "gcc -Wp,-MD,f -MMD -c x.c",
            "gcc -Wp,-MD,f,-MT,t -c x.c",
            "gcc -Wp,-MD,f -Wp,-MP -c x.c",
        ] {
            assert!(
                server_words(&invocation(command), true).is_err(),
                "{command}"
            );
        }
    }

    #[test]
    fn the_files_of_a_rule() {
        for (rule, expected) in [
            (
                "o/x.o: x.c a/h.h \\\n  b\\ c.h\n\nh.h:\n",
                "x.c|a/h.h|b c.h",
            ),
            ("C:/x.o:\tx.c d$$e\\#f", "x.c|d$e#f"),
            ("a b: c\\d.c", "c\\d.c"),
            ("x.o:\n", ""),
            ("nothing", ""),
            ("", ""),
            ("x.o: \\", "\\"),
        ] {
            let names: Vec<String> = files_named(rule.as_bytes())
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            assert_eq!(names.join("|"), expected, "{rule}");
        }
    }

    #[test]
    fn names_that_the_driver_would_derive() {
        assert_eq!(
            words("gcc -MMD -c s/h.c -o out/x.o"),
            "-MF out/x.d -MQ out/x.o"
        );
        assert_eq!(
            words("gcc -MMD -c s/h.c -oout/x.o"),
            "-MF out/x.d -MQ out/x.o"
        );
        assert_eq!(words("gcc -MMD -MF f -c s/h.c -o out/x.o"), "-MQ out/x.o");
        assert_eq!(words("gcc -MMD -MT foo -c h.c -o out/x.o"), "-MF out/x.d");
        assert_eq!(
            words("gcc -MMD -S h.c -o out/x.s"),
            "-MF out/x.d -MQ out/x.s"
        );
        assert_eq!(words("gcc -MD -MP -MF f -MQ t -c h.c"), "");
        assert_eq!(words("gcc -MD -c s/h.c"), "-MF h.d -MQ h.o");
        assert_eq!(words("gcc -MD -S s/h.c"), "-MF h.d -MQ h.o");
        assert_eq!(words("gcc -Wp,-MD,f -c s/h.c -o out/x.o"), "-MQ h.o");
        assert_eq!(words("gcc -c h.c"), "");
    }

    #[test]
    fn dots_of_directories_are_no_extensions() {
        assert_eq!(with_extension(b"a.b/c", b".d"), "a.b/c.d");
        assert_eq!(with_extension(b"a.b/c.tar.o", b".d"), "a.b/c.tar.d");
        assert_eq!(with_extension(b".o", b".d"), ".d");
        let words = words("gcc -Wp,-MD,f -x c -c d/.hidden -o .o");
        assert_eq!(words, "-MQ .hidden.o");
    }
}
