//! `-march=native` and its kin in a command: which words matter to what they mean, how others take their place, and the
//! record of what was found that they mean.

use super::command_line::{text, NATIVE};
use super::invocation::{Invocation, Role};
use super::option_table;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// Whether a word means this machine's processor: `-march=native`, `-mcpu=native+crypto`.
pub fn names_this_machine(word: &[u8]) -> bool {
    let names: [&[u8]; 3] = [b"-march=", b"-mtune=", b"-mcpu="];
    let mut values = names.iter().filter_map(|name| word.strip_prefix(*name));
    values.any(|value| value.starts_with(NATIVE))
}

/// Why an object would show the words that were put in the place of native ones, if it would.
pub fn shows_words(invocation: &Invocation) -> Option<String> {
    const SHOWING: [&[u8]; 6] = [
        b"-flto",
        b"-fembed-bitcode",
        b"-frecord-",
        b"-fverbose-asm",
        b"-grecord-command-line",
        b"-gcodeview-command-line",
    ];
    if invocation.sides.iter().any(|sides| sides.saves_temps()) {
        return Some("-save-temps would show other words".to_owned());
    }
    let mut words = code_words(invocation);
    let found = words.find(|word| SHOWING.iter().any(|head| word.starts_with(head)))?;
    Some(format!("{} would show other words", text(found)))
}

/// Whether the object tells in which order its options were given: gcc's debug information does.
pub fn shows_order(invocation: &Invocation) -> bool {
    let records = |word: &&[u8]| {
        matches!(
            *word,
            b"-grecord-gcc-switches" | b"-gno-record-gcc-switches"
        )
    };
    let last = code_words(invocation).filter(records).last();
    invocation.debug_info && last != Some(b"-gno-record-gcc-switches")
}

fn code_words(invocation: &Invocation) -> impl Iterator<Item = &[u8]> {
    let pairs = invocation.argv.iter().zip(&invocation.roles);
    let code = pairs.filter(|(_, role)| **role == Role::Code);
    code.map(|(word, _)| word.as_bytes())
}

/// The words of a command on which it depends what `native` means, and what becomes of it; `native` is among them.
pub fn decisive_words(invocation: &Invocation) -> Vec<&OsStr> {
    let mut words = Vec::new();
    let mut pairs = invocation.argv.iter().zip(&invocation.roles).skip(1);
    while let Some((word, role)) = pairs.next() {
        let bytes = word.as_bytes();
        let takes_next = option_table::find(bytes).is_some_and(|found| found.takes_next);
        let value = takes_next.then(|| pairs.next()).flatten();
        let heads: [&[u8]; 5] = [b"-m", b"--param", b"-g", b"-target", b"--target"];
        if *role == Role::Code && heads.iter().any(|head| bytes.starts_with(head)) {
            words.push(word.as_os_str());
            words.extend(value.map(|(value, _)| value.as_os_str()));
        }
    }
    words
}

/// The same command with `words` instead of its native ones, in front of all others: there the driver hands them on.
pub fn replaced(invocation: &Invocation, words: &[OsString]) -> Invocation {
    let pairs = invocation.argv.iter().zip(&invocation.roles);
    let kept = |index: usize, word: &OsStr, role: Role| {
        index == 0 || role != Role::Code || !names_this_machine(word.as_bytes())
    };
    let mut made = Invocation {
        argv: Vec::with_capacity(invocation.argv.len() + words.len()),
        roles: Vec::with_capacity(invocation.argv.len() + words.len()),
        native: false,
        ..invocation.clone()
    };
    for (index, (word, role)) in pairs.enumerate() {
        if index == invocation.input_index {
            made.input_index = made.argv.len();
        }
        if kept(index, word, *role) {
            made.argv.push(word.clone());
            made.roles.push(*role);
        }
        if index == 0 {
            made.argv.extend_from_slice(words);
            made.roles.extend(words.iter().map(|_| Role::Code));
        }
    }
    made
}

/// Whether each of the words is an option for a processor that names no file: what a damaged or forged record may not say.
pub fn are_plain(words: &[OsString]) -> bool {
    let is_plain = |word: &OsString| {
        let word = word.as_bytes();
        let is_tame = |byte: &u8| byte.is_ascii_alphanumeric() || b"-+=._".contains(byte);
        (word.starts_with(b"-m") && word.len() > 2 || word.starts_with(b"--param=l"))
            && word.iter().all(is_tame)
            && !names_this_machine(word)
    };
    words.iter().all(is_plain)
}

/// A record of what was found, so that the compiler is not asked again; `key` is all that the finding depends on.
pub fn record(key: &[u8], found: &Result<Vec<OsString>, String>) -> Vec<u8> {
    let mut body = key.to_vec();
    match found {
        Ok(words) => {
            body.push(b'=');
            for word in words {
                body.extend_from_slice(word.as_bytes());
                body.push(0);
            }
        }
        Err(why) => {
            body.push(b'!');
            body.extend_from_slice(why.as_bytes());
        }
    }
    let sum = blake3::hash(&body);
    [sum.as_bytes().as_slice(), &body].concat()
}

/// What a record says, if it is whole and was made for this key.
pub fn recorded(record: &[u8], key: &[u8]) -> Option<Result<Vec<OsString>, String>> {
    let (sum, body) = record.split_at_checked(blake3::OUT_LEN)?;
    if blake3::hash(body).as_bytes() != sum {
        return None;
    }
    let (kind, rest) = body.strip_prefix(key)?.split_first()?;
    match kind {
        b'=' => {
            let words = rest
                .split(|byte| *byte == 0)
                .filter(|word| !word.is_empty());
            let words: Vec<OsString> = words
                .map(|word| OsStr::from_bytes(word).to_owned())
                .collect();
            are_plain(&words).then_some(Ok(words))
        }
        b'!' => Some(Err(text(rest))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::testing::invocation;

    fn shown(words: &[impl AsRef<OsStr>]) -> String {
        let words: Vec<&OsStr> = words.iter().map(AsRef::as_ref).collect();
        words.join(OsStr::new(" ")).into_string().unwrap()
    }

    #[test]
    fn words_for_the_processor_are_told_from_all_others() {
        let found = invocation(
            "gcc -O2 -march=native -DX=-mavx -mtune=native --param a=1 -G 8 -I -mno -g --param=b=2 -target t -c x.c",
        );
        let expected = "-march=native -mtune=native --param a=1 -g --param=b=2 -target t";
        assert_eq!(shown(&decisive_words(&found)), expected);
        assert!(found.native && shows_order(&found));
        assert!(!invocation("gcc -march=core2 -DA=-march=native -c x.c").native);
    }

    #[test]
    fn native_words_give_way_to_others_in_front() {
        let found =
            invocation("gcc -O2 -march=native -D -march=native -mtune=native+x -c x.c -o x.o");
        let made = replaced(&found, &["-march=k8".into(), "-mno-avx".into()]);
        assert_eq!(
            shown(&made.argv),
            "gcc -march=k8 -mno-avx -O2 -D -march=native -c x.c -o x.o"
        );
        assert_eq!(made.argv[made.input_index], "x.c");
        assert_eq!((made.argv.len(), made.native), (made.roles.len(), false));
    }

    #[test]
    fn what_an_object_shows_is_known() {
        assert!(shows_words(&invocation("gcc -march=native -O2 -c x.c")).is_none());
        assert!(!shows_order(&invocation("gcc -march=native -O2 -c x.c")));
        assert!(!shows_order(&invocation(
            "gcc -g -gno-record-gcc-switches -march=native -c x.c"
        )));
    }

    #[test]
    fn records_come_back_whole_or_not_at_all() {
        let words: Vec<OsString> = ["-march=k8", "--param=l1-cache-size=32"]
            .map(OsString::from)
            .into();
        for found in [Ok(words), Ok(Vec::new()), Err("it warns".to_owned())] {
            let whole = record(b"key", &found);
            assert_eq!(recorded(&whole, b"key"), Some(found));
            assert_eq!(recorded(&whole, b"other"), None);
            for at in 0..whole.len() {
                let mut damaged = whole.clone();
                damaged[at] ^= 1;
                assert_eq!(recorded(&damaged, b"key"), None, "at {at}");
                assert_eq!(recorded(&whole[..at], b"key"), None, "cut at {at}");
            }
        }
        for forged in [
            "-march=native",
            "-mllvm=/x",
            "-fplugin=x",
            "-m",
            "--param=x y",
        ] {
            let forged = record(b"", &Ok(vec![forged.into()]));
            assert_eq!(recorded(&forged, b""), None);
        }
    }
}
