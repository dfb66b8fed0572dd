//! Files that a compiler elsewhere did not find, read from its messages, and where they could be here. A guess: whoever
//! uses it looks whether there is such a file.

use super::invocation::{Invocation, Role};
use std::os::unix::ffi::OsStrExt;

/// How many names are taken from one compiler's messages.
const NAMES_MAX: usize = 16;

/// How messages end, or what stands before the name: gcc's driver and compilers, clang, GNU as, LLVM's assembler.
const ENDINGS: [&[u8]; 2] = [b": No such file or directory", b" file not found"];
const BEGINNINGS: [&[u8]; 3] = [
    b"Error: file not found: ",
    b"Could not find incbin file ",
    b"Could not find include file ",
];

/// The options whose folders are searched for headers.
const FOLDERS: [&[u8]; 4] = [b"-I", b"-iquote", b"-isystem", b"-idirafter"];

/// All places, relative to the working directory or absolute, where a file may be that `stderr` says was not found.
pub fn places(stderr: &[u8], invocation: &Invocation) -> Vec<Vec<u8>> {
    let mut places = Vec::new();
    let lines = stderr.split(|byte| *byte == b'\n');
    let names = lines.filter_map(|line| missed(&without_color(line)));
    for (beside, name) in names.take(NAMES_MAX) {
        if name.starts_with(b"/") {
            places.push(name);
            continue;
        }
        let folders = [&beside[..], b""].into_iter();
        for folder in folders.chain(folders_of(invocation)) {
            let slash: &[u8] = match folder.last() {
                None | Some(b'/') => b"",
                Some(_) => b"/",
            };
            let place = [folder, slash, &name].concat();
            if !places.contains(&place) {
                places.push(place);
            }
        }
    }
    places
}

/// The folder of the file that a line of messages is about, and the file that was missed there.
fn missed(line: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let after = |mark: &[u8]| {
        let at = memchr::memmem::rfind(line, mark)?;
        line.get(at + mark.len()..)
    };
    let name = match BEGINNINGS.iter().find_map(|mark| after(mark)) {
        Some(name) => name,
        None => {
            let text = after(b"error: ")?;
            ENDINGS.iter().find_map(|end| text.strip_suffix(*end))?
        }
    };
    let quoted = name
        .strip_prefix(b"'")
        .and_then(|name| name.strip_suffix(b"'"));
    let name = quoted.unwrap_or(name);
    (!name.is_empty()).then(|| (beside(line).to_vec(), name.to_vec()))
}

/// `d/` of a line that begins `d/x.c:12:`.
fn beside(line: &[u8]) -> &[u8] {
    let is_place = |at: usize| line.get(at + 1).is_some_and(u8::is_ascii_digit);
    let colon = memchr::memchr_iter(b':', line).find(|at| is_place(*at));
    let file = colon.map_or(&b""[..], |colon| &line[..colon]);
    match file.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => &file[..=slash],
        None => b"",
    }
}

/// The folders that the command names to be searched.
fn folders_of(invocation: &Invocation) -> impl Iterator<Item = &[u8]> {
    let pairs = invocation.argv.iter().zip(&invocation.roles);
    let mut value_next = false;
    pairs
        .filter(|(_, role)| **role == Role::Include)
        .filter_map(move |(word, _)| {
            let word = word.as_bytes();
            if std::mem::replace(&mut value_next, FOLDERS.contains(&word)) {
                value_next = false;
                return Some(word);
            }
            let mut attached = FOLDERS
                .iter()
                .filter_map(|option| word.strip_prefix(*option));
            attached.rfind(|folder| !folder.is_empty())
        })
}

/// A line without `ESC [ … letter`, by which compilers colour and emphasise.
fn without_color(line: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(line.len());
    let mut bytes = line.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            0x1b => drop(bytes.find(u8::is_ascii_alphabetic)),
            _ => plain.push(byte),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::invocation;

    fn found(stderr: &str) -> String {
        let invocation = invocation("gcc -Ia -I b/ -isystem c -DX -include d.h -c s/x.c");
        let places = places(stderr.as_bytes(), &invocation);
        String::from_utf8_lossy(&places.join(&b' ')).into_owned()
    }

    #[test]
    fn each_compilers_words_for_a_missing_file() {
        for (stderr, expected) in [
            (
                "In file included from s/x.c:1:\ns/y.h:3:10: fatal error: z.h: No such file or directory\n",
                "s/z.h z.h a/z.h b/z.h c/z.h",
            ),
            ("x.c:1:10: fatal error: 'q/z.h' file not found", "q/z.h a/q/z.h b/q/z.h c/q/z.h"),
            ("cc1: fatal error: z.h: No such file or directory", "z.h a/z.h b/z.h c/z.h"),
            ("/tmp/cc1.s:9: Error: file not found: blob", "/tmp/blob blob a/blob b/blob c/blob"),
            ("<inline asm>:1:9: error: Could not find incbin file 'blob'", "blob a/blob b/blob c/blob"),
            (
                "\x1b[01m\x1b[Kx.c:1:2:\x1b[m\x1b[K \x1b[01;31m\x1b[Kfatal error: \x1b[m\x1b[K/abs/z.h: No such file or directory",
                "/abs/z.h",
            ),
        ] {
            assert_eq!(found(stderr), expected, "{stderr}");
        }
    }

    #[test]
    fn other_faults_miss_nothing() {
        for stderr in [
            "x.c:1:2: error: 'z' undeclared",
            "x.c:1:2: warning: z.h: No such file or directory",
            "x.c:1:2: fatal error: '' file not found",
            "error: : No such file or directory",
            "\x1b[",
            "",
        ] {
            assert_eq!(found(stderr), "", "{stderr}");
        }
    }
}
