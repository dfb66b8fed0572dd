//! Response files: `@file` words of a compiler's command replaced by the words in the file, quoted as gcc and clang read them.
//! And the long names that both compilers have for some options, replaced by the short ones.

use super::family::{family, Family};
use super::option_table;
use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// Files within files, at most.
const NESTING_MAX: usize = 8;
/// Files of one command, at most; beyond it the `@file` stays as it is and the command runs locally.
const FILES_MAX: usize = 64;

/// Long names with a value, and the short ones that take the same value attached.
const LONG_WITH_VALUE: [(&[u8], &[u8]); 5] = [
    (b"--define-macro=", b"-D"),
    (b"--imacros=", b"-imacros"),
    (b"--include-directory=", b"-I"),
    (b"--include=", b"-include"),
    (b"--undefine-macro=", b"-U"),
];

/// Long names that stand alone, and the short ones.
const LONG: [(&[u8], &str); 5] = [
    (b"--assemble", "-S"),
    (b"--compile", "-c"),
    (b"--no-warnings", "-w"),
    (b"--write-dependencies", "-MD"),
    (b"--write-user-dependencies", "-MMD"),
];

/// `argv` with each `@file` after word 0 replaced by that file's words, nested ones too, and long names by short ones.
/// What `read_file` does not give stays as it is, as the compilers do.
pub fn expand<'a>(
    argv: &'a [OsString],
    read_file: &dyn Fn(&Path) -> Option<Vec<u8>>,
) -> Cow<'a, [OsString]> {
    let changes = |word: &OsString| file_of(word).is_some() || short(word).is_some();
    if !argv.iter().skip(1).any(changes) {
        return Cow::Borrowed(argv);
    }
    let mut expansion = Expansion {
        read_file,
        files_left: FILES_MAX,
        words: Vec::with_capacity(argv.len() + 16),
    };
    expansion.words.extend(argv.first().cloned());
    for word in argv.iter().skip(1) {
        expansion.append(word.clone(), 0);
    }
    Cow::Owned(expansion.words)
}

struct Expansion<'r> {
    read_file: &'r dyn Fn(&Path) -> Option<Vec<u8>>,
    files_left: usize,
    words: Vec<OsString>,
}

impl Expansion<'_> {
    /// Adds `word`, or the words of the file that it names; `depth` files are open around it.
    fn append(&mut self, word: OsString, depth: usize) {
        let text = match file_of(&word) {
            Some(path) if depth < NESTING_MAX && self.files_left > 0 => {
                self.files_left -= 1;
                (self.read_file)(path)
            }
            _ => None,
        };
        match text.as_deref().and_then(split) {
            Some(parts) => {
                for part in parts {
                    self.append(OsString::from_vec(part), depth + 1);
                }
            }
            None => {
                let before = self.words.last().map(|before| before.as_bytes());
                let is_value = before
                    .and_then(option_table::find)
                    .is_some_and(|found| found.takes_next);
                let short = short(&word).filter(|_| !is_value);
                self.words.push(short.unwrap_or(word));
            }
        }
    }
}

/// The same option by its short name, if it has one that is known here.
fn short(word: &OsStr) -> Option<OsString> {
    let word = word.as_bytes();
    if !word.starts_with(b"--") {
        return None;
    }
    let alone = LONG.iter().find(|(long, _)| *long == word);
    alone.map(|(_, short)| short.into()).or_else(|| {
        let mut pairs = LONG_WITH_VALUE.iter();
        let found = pairs.find_map(|(long, short)| Some((*short, word.strip_prefix(*long)?)));
        let (short, value) = found.filter(|(_, value)| !value.is_empty())?;
        Some(OsString::from_vec([short, value].concat()))
    })
}

fn file_of(word: &OsStr) -> Option<&Path> {
    match word.as_bytes() {
        [b'@', name @ ..] if !name.is_empty() => Some(Path::new(OsStr::from_bytes(name))),
        _ => None,
    }
}

/// The words of a response file: blanks part, quotes group, a backslash takes the next byte as it is, in quotes too.
/// None where gcc and clang disagree (a last backslash, NUL, a byte-order mark) or a quote is not closed.
fn split(text: &[u8]) -> Option<Vec<Vec<u8>>> {
    if text.starts_with(b"\xef\xbb\xbf") {
        return None;
    }
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quote: Option<u8> = None;
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        match (byte, quote) {
            (0, _) => return None,
            (b'\\', _) => word.get_or_insert_default().push(bytes.next()?),
            (_, Some(open)) if byte == open => quote = None,
            (_, Some(_)) => word.get_or_insert_default().push(byte),
            (b'\'' | b'"', None) => {
                quote = Some(byte);
                word.get_or_insert_default();
            }
            (b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c, None) => words.extend(word.take()),
            (_, None) => word.get_or_insert_default().push(byte),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

/// Without clang's `--` before the last word, which is a source with or without it. gcc does not know it.
pub fn without_mark(mut argv: Cow<'_, [OsString]>) -> Cow<'_, [OsString]> {
    let [program, .., before, mark, source] = &argv[..] else {
        return argv;
    };
    let is_value = || option_table::find(before.as_bytes()).is_some_and(|found| found.takes_next);
    let is_clangs = || family(Path::new(program)) == Some(Family::Clang);
    if mark == "--" && !source.as_bytes().starts_with(b"-") && !is_value() && is_clangs() {
        let at = argv.len() - 2;
        argv.to_mut().remove(at);
    }
    argv
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Option<Vec<String>> {
        let words = split(text.as_bytes())?;
        Some(
            words
                .into_iter()
                .map(|word| String::from_utf8_lossy(&word).into_owned())
                .collect(),
        )
    }

    #[test]
    fn a_mark_before_clangs_source_is_taken_away() {
        for (command, kept) in [
            ("clang -c -- b.c", "clang -c b.c"),
            ("gcc -c -- b.c", "gcc -c -- b.c"),
            ("clang -c b.c -o -- b.c", "clang -c b.c -o -- b.c"),
            ("clang -c -- -b.c", "clang -c -- -b.c"),
            ("clang -- b.c", "clang -- b.c"),
        ] {
            let argv: Vec<OsString> = command.split(' ').map(OsString::from).collect();
            let words: Vec<OsString> = kept.split(' ').map(OsString::from).collect();
            assert_eq!(without_mark(Cow::Owned(argv)), words);
        }
    }

    /// Each line was tried with gcc 12 and clang 14.
    #[test]
    fn long_names_are_shortened_but_for_values() {
        let words = [
            "gcc",
            "-MD",
            "-MT",
            "--compile",
            "--compile",
            "--define-macro=X",
        ]
        .map(OsString::from);
        let expanded = expand(&words, &|_| None);
        let expected = ["gcc", "-MD", "-MT", "--compile", "-c", "-DX"].map(OsString::from);
        assert_eq!(expanded.as_ref(), expected);
    }

    #[test]
    fn words_are_quoted_as_the_compilers_read_them() {
        let is = |text, expected: &[&str]| {
            assert_eq!(
                words(text),
                Some(expected.iter().map(|word| (*word).to_owned()).collect()),
                "{text}"
            );
        };
        is(" -c\tx.c\n\n", &["-c", "x.c"]);
        is("-DA=x'y\\z'w", &["-DA=xyzw"]);
        is("-DA='a\\'b'", &["-DA=a'b"]);
        is("-DA=\"a\\\"b\" -DB=\\ x", &["-DA=a\"b", "-DB= x"]);
        is("-DA=\"\"b ''", &["-DA=b", ""]);
        is("# x", &["#", "x"]);
        for text in ["-DA=x\\", "-DA=\"x", "a\0b", "\u{feff}-c"] {
            assert_eq!(words(text), None, "{text:?}");
        }
    }

    #[test]
    fn long_names_become_short() {
        let argv: Vec<OsString> =
            "cc --define-macro=A=1 --include=h --compile --include= --bogus=x"
                .split(' ')
                .map(OsString::from)
                .collect();
        let expanded = expand(&argv, &|_| None).join(OsStr::new(" "));
        assert_eq!(expanded, "cc -DA=1 -includeh -c --include= --bogus=x");
    }

    #[test]
    fn files_nest_but_not_for_ever() {
        let read = |path: &Path| match path.to_str() {
            Some("a") => Some(b"-c @b".to_vec()),
            Some("b") => Some(b"x.c @missing".to_vec()),
            Some("self") => Some(b"@self @self".to_vec()),
            _ => None,
        };
        let argv = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        assert_eq!(
            expand(&argv(&["gcc", "@a", "-O"]), &read).into_owned(),
            argv(&["gcc", "-c", "x.c", "@missing", "-O"])
        );
        let bomb = expand(&argv(&["gcc", "@self"]), &read).into_owned();
        assert!(bomb.len() <= FILES_MAX + 2);
        let plain = argv(&["@gcc", "-c"]);
        assert!(matches!(expand(&plain, &read), Cow::Borrowed(_)));
    }
}
