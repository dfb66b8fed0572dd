//! What drivers hand on to an assembler or to LLVM: which values do no harm where they are a stranger's.

use super::compiler_options::{Effect, Why};
use super::option_table;

/// Whether all parts of `-Wa,` are harmless; one of them takes the next for its value.
pub(super) fn are_harmless_to_gas(value: &[u8]) -> bool {
    let mut parts = value.split(|byte| *byte == b',');
    while let Some(part) = parts.next() {
        let is_harmless = match part {
            b"--defsym" => parts.next().is_some_and(is_symbol_with_value),
            // Names no file, but how one is called.
            part if part.starts_with(b"--debug-prefix-map=") => true,
            part => is_harmless_to_gas(part),
        };
        if !is_harmless {
            return false;
        }
    }
    true
}

/// `SYMBOL=VALUE`, which reads no file, as `@FILE` would.
fn is_symbol_with_value(part: &[u8]) -> bool {
    let begins = part
        .first()
        .is_some_and(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'.' | b'$'));
    begins && part.contains(&b'=') && !part.iter().any(|byte| matches!(byte, b'/' | b'@'))
}

/// Parts of `-Wa,` that neither name a file nor write one, nor depend on the machine.
fn is_harmless_to_gas(part: &[u8]) -> bool {
    const WORDS: &[&[u8]] = &[
        b"--noexecstack",
        b"--execstack",
        b"--fatal-warnings",
        b"--warn",
        b"--no-warn",
        b"-W",
        b"-Z",
        b"--32",
        b"--64",
        b"--x32",
        b"--compress-debug-sections",
        b"--nocompress-debug-sections",
        b"--no-pad-sections",
        b"--keep-locals",
        b"-L",
        b"-q",
    ];
    let starts = |heads: &[&[u8]]| heads.iter().any(|head| part.starts_with(head));
    let family = starts(&[
        b"-m",
        b"-xarch=",
        b"--compress-debug-sections=",
        b"--elf-stt-common=",
        b"--generate-missing-build-notes=",
        b"--strip-local-absolute",
    ]);
    (WORDS.contains(&part) || family)
        && !part.contains(&b'/')
        && !part.windows(6).any(|at| at == b"native")
}

/// A value of `-mllvm` that would mean nothing if a driver took it for an option of its own.
pub(super) fn is_no_driver_option(value: &[u8]) -> bool {
    !option_table::find(value).is_some_and(|found| {
        let why = match found.row.effect {
            Effect::Local(why) => why,
            Effect::Side(files) => files.why(),
            _ => return false,
        };
        matches!(why, Why::RunsProgram | Why::NamesFile)
    })
}

/// A value of `-mllvm` that tunes; many others print, load or write.
pub(super) fn is_harmless_to_llvm(value: &[u8]) -> bool {
    const SUSPICIOUS: &[&[u8]] = &[
        b"/", b"load", b"plugin", b"file", b"path", b"dir", b"dump", b"out", b"dot", b"print",
        b"stats", b"profile", b"debug", b"view", b"time", b"remark", b"record", b"-o",
    ];
    value.starts_with(b"-")
        && !SUSPICIOUS
            .iter()
            .any(|word| value.windows(word.len()).any(|at| at == *word))
}
