//! Which `-MF` and `-MQ` the local preprocessor needs so that the dependency file is the one a whole compile here writes.
//! The preprocessor runs without `-o`, from which drivers derive the file's name and the rule's target.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::invocation::Invocation;

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
        words.push(match deps.from_wp && wp_target {
            true => object_name(invocation),
            false => target(invocation),
        });
    }
    words
}

/// The output with `.d` for its extension; without an output by the user, the source's base name in the working directory.
fn file_name(invocation: &Invocation) -> OsString {
    let output = invocation.output.as_os_str().as_bytes();
    with_extension(output, b".d")
}

fn target(invocation: &Invocation) -> OsString {
    match invocation.output_given {
        true => invocation.output.clone().into_os_string(),
        false => object_name(invocation),
    }
}

fn object_name(invocation: &Invocation) -> OsString {
    let base = invocation.input.file_name().unwrap_or(OsStr::new(""));
    with_extension(base.as_bytes(), b".o")
}

/// Replaces what follows the last dot of the base name, or appends.
fn with_extension(name: &[u8], extension: &[u8]) -> OsString {
    let base = name
        .iter()
        .rposition(|&byte| byte == b'/')
        .map_or(0, |slash| slash + 1);
    let stem = match name.iter().skip(base).rposition(|&byte| byte == b'.') {
        Some(dot) if dot > 0 => name.get(..base + dot).unwrap_or(name),
        _ => name,
    };
    OsString::from_vec([stem, extension].concat())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]

    use super::*;
    use crate::model::invocation::{scan, Scan};

    fn words(command: &str) -> String {
        let argv: Vec<OsString> = command.split(' ').map(OsString::from).collect();
        let Scan::Distributable(invocation) = scan(&argv, &|_| None) else {
            panic!("{command} stays here");
        };
        preprocessor_words(&invocation, true)
            .join(OsStr::new(" "))
            .to_string_lossy()
            .into_owned()
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
        assert_eq!(with_extension(b".hidden", b".d"), ".hidden.d");
    }
}
