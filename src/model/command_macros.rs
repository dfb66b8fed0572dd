//! The macros of a command line as the directives that compilers make of them.

use std::sync::Arc;

use super::dialect::Dialect;
use super::punt::Punt;
use super::search::Word;
use super::source_scan::Scan;

/// The definitions among `words`, in order. Those that might run into each other are scanned apart.
///
/// # Errors
/// A word that compilers read in different ways.
pub fn scans(words: &[Word], dialect: Dialect) -> Result<Vec<Arc<Scan>>, Punt> {
    let mut scans = Vec::new();
    let mut text = Vec::new();
    for word in words {
        let line = match word {
            Word::Define(word) => definition(word),
            Word::Undefine(name) => [&b"#undef "[..], name].concat(),
            Word::Include(_) | Word::Macros(_) => continue,
        };
        if line.iter().any(|byte| matches!(byte, b'\n' | b'\r')) || line.ends_with(b"\\") {
            return Err(Punt::new("a macro of the command line with a line break"));
        }
        let alone = [&b"/*"[..], b"*/", b"R\"", b"\\"]
            .iter()
            .any(|odd| memchr::memmem::find(&line, odd).is_some());
        if alone && !text.is_empty() {
            scans.push(Arc::new(Scan::new(&std::mem::take(&mut text), dialect)));
        }
        text.extend_from_slice(&line);
        text.push(b'\n');
        if alone {
            scans.push(Arc::new(Scan::new(&std::mem::take(&mut text), dialect)));
        }
    }
    if !text.is_empty() {
        scans.push(Arc::new(Scan::new(&text, dialect)));
    }
    match scans.iter().find_map(|scan| scan.odd) {
        Some(why) => Err(Punt::new(why)),
        None => Ok(scans),
    }
}

/// `NAME=BODY` as a directive; without `=` the body is 1.
fn definition(word: &[u8]) -> Vec<u8> {
    let (name, body) = match memchr::memchr(b'=', word) {
        Some(at) => (&word[..at], &word[at + 1..]),
        None => (word, &b"1"[..]),
    };
    [b"#define ", name, b" ", body].concat()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn defines(words: &[&str]) -> Vec<String> {
        words
            .iter()
            .map(|word| String::from_utf8(definition(word.as_bytes())).unwrap())
            .collect()
    }

    #[test]
    fn words_become_directives() {
        assert_eq!(
            defines(&["A", "A=", "A=B=C", "F(x)=x+1", "=x"]),
            [
                "#define A 1",
                "#define A ",
                "#define A B=C",
                "#define F(x) x+1",
                "#define  x"
            ]
        );
    }

    #[test]
    fn words_do_not_run_into_each_other() {
        let define = |text: &str| Word::Define(text.as_bytes().to_vec());
        let words = [
            define("A"),
            define("GLOB=\"a/*\""),
            define("B=2"),
            Word::Undefine(b"C".to_vec()),
            Word::Include(b"x.h".to_vec()),
        ];
        let made = scans(&words, Dialect::default()).unwrap();
        let counts: Vec<usize> = made.iter().map(|scan| scan.directives.len()).collect();
        assert_eq!(counts, [1, 1, 2]);
        assert!(scans(&[define("A=1\n#include <x>")], Dialect::default()).is_err());
        assert!(scans(&[define("A=\\")], Dialect::default()).is_err());
    }
}
