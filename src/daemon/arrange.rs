//! How a job's text and words become files and words here. As a rule as stock does it, but under the client's own name;
//! for gcc with debug information the text becomes ordinary source again, at the client's own path in a mirror.

use super::workspace::Workspace;
use crate::model::family::{family, Family};
use crate::model::plain_text::{as_source, OwnSource};
use crate::model::received::Received;
use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// The mark of a client of ours: the text is what this option of gcc's preprocessor wrote.
const DIRECTIVES_ONLY: &[u8] = b"-fdirectives-only";

/// What is to be done for a job.
#[derive(Debug)]
pub struct Arranged<'t> {
    /// The words after the compiler.
    pub words: Vec<OsString>,
    /// What is to be written as the source.
    pub text: Cow<'t, [u8]>,
}

/// Finds room for the source, and the words. `program` is the compiler's file.
pub fn arrange<'t>(
    workspace: &mut Workspace,
    program: &Path,
    argv: &[Vec<u8>],
    received: &Received,
    text: &'t [u8],
) -> Arranged<'t> {
    if undoes_directives_only(program, argv) {
        let named = |own: &OwnSource| {
            let name = argv.get(received.input).map(Vec::as_slice);
            name == Some(own.name.as_os_str().as_bytes())
        };
        // The text's own name is a word for the compiler, too: it must be the one that was judged.
        if let Some(own) = as_source(text).filter(named) {
            // An absolute name shows where the mirror is in what the sanitizers write into the object.
            let shown = own.name.is_absolute() && has(argv, |word| word.starts_with(b"-fsanitize"));
            if !shown && workspace.place_in_mirror(&own.cwd, &own.name) {
                return Arranged {
                    words: own_words(workspace, argv, received),
                    text: Cow::Owned(own.text),
                };
            }
        }
    }
    // A sender that says the language keeps its own suffix: the suffix would decide nothing. gcc need not preprocess what
    // a stock client has preprocessed; clang must, for a client of ours.
    let suffix = received.languages.is_empty().then_some(received.suffix);
    let name = argv.get(received.input).map(Vec::as_slice);
    workspace.place(name.unwrap_or_default(), suffix);
    let mut argv = Cow::Borrowed(argv);
    if received.preprocesses && kin(program) == Some(Family::Gcc) {
        let value = received.kind.language.preprocessed_option_value();
        say_language(argv.to_mut(), received, value);
    }
    Arranged {
        words: words(workspace, &argv, received),
        text: Cow::Borrowed(text),
    }
}

/// Which options the compiler knows, by its name or that of the file that it is a link to.
pub fn kin(program: &Path) -> Option<Family> {
    family(program).or_else(|| family(&program.canonicalize().ok()?))
}

/// Makes `value` that of each `-x`.
fn say_language(argv: &mut [Vec<u8>], received: &Received, value: &str) {
    for at in &received.languages {
        if let Some(word) = argv.get_mut(at.index) {
            *word = format!("{}{value}", if at.joined { "-x" } else { "" }).into_bytes();
        }
    }
}

/// gcc records `-fdirectives-only` in the debug information; so the compiler must not see it. Who maps every path already,
/// would see our own mapping's effect.
fn undoes_directives_only(program: &Path, argv: &[Vec<u8>]) -> bool {
    has(argv, |word| word == DIRECTIVES_ONLY)
        && has(argv, |word| word.starts_with(b"-g"))
        && !has(argv, |word| old_prefix(word).is_some_and(<[u8]>::is_empty))
        && kin(program) == Some(Family::Gcc)
}

/// The OLD of `-fdebug-prefix-map=OLD=NEW` and its kin.
fn old_prefix(word: &[u8]) -> Option<&[u8]> {
    let (option, map) = word.split_at(memchr::memmem::find(word, b"-prefix-map=")? + 12);
    let end = memchr::memchr(b'=', map).unwrap_or(map.len());
    option.starts_with(b"-f").then(|| map.get(..end))?
}

fn has(argv: &[Vec<u8>], matches: impl Fn(&[u8]) -> bool) -> bool {
    argv.iter().skip(1).any(|word| matches(word))
}

/// The client's words, with our names in place of its names.
fn words(workspace: &Workspace, argv: &[Vec<u8>], received: &Received) -> Vec<OsString> {
    let mut words: Vec<OsString> = argv.iter().cloned().map(OsString::from_vec).collect();
    let mut replace = |index: usize, before: &str, word: &OsStr| {
        if let Some(place) = words.get_mut(index) {
            *place = before.into();
            place.push(word);
        }
    };
    replace(received.input, "", workspace.input.as_os_str());
    let output = workspace.output.as_os_str();
    match received.output {
        Some(at) => replace(at.index, if at.joined { "-o" } else { "" }, output),
        None => words.extend(["-o".into(), output.to_owned()]),
    }
    words.drain(..1.min(words.len()));
    words
}

/// The words for ordinary source in the mirror, whose own path must not be seen in the object. Carets would show lines of
/// the flattened text, and headers that the text does not hold are not the client's.
fn own_words(workspace: &Workspace, argv: &[Vec<u8>], received: &Received) -> Vec<OsString> {
    let mut argv = argv.to_vec();
    say_language(&mut argv, received, received.kind.language.option_value());
    let mut words = words(workspace, &argv, received);
    words.retain(|word| word.as_encoded_bytes() != DIRECTIVES_ONLY);
    let mirror = workspace.mirror();
    let mut maps = vec![prefix_map(&mirror, b"=")];
    for word in &words {
        let word = word.as_encoded_bytes();
        let replaces_root = old_prefix(word).is_some_and(|old| old.starts_with(b"/"));
        if replaces_root && !word.starts_with(b"-fmacro") && !word.starts_with(b"-fprofile") {
            let map = word.splitn(2, |byte| *byte == b'=').nth(1);
            maps.push(prefix_map(&mirror, map.unwrap_or_default()));
        }
    }
    words.extend(maps);
    words.extend(["-fno-diagnostics-show-caret".into(), "-nostdinc".into()]);
    words
}

/// Does to what lies in the mirror what `map`, an `OLD=NEW`, does to what lies at the client. gcc tries the last map
/// first: the user's in the mirror, then the bare mirror, and then the user's own, which so see no path of ours.
fn prefix_map(mirror: &Path, map: &[u8]) -> OsString {
    let mut word = OsString::from("-fdebug-prefix-map=");
    word.push(mirror);
    word.push(OsStr::from_bytes(map));
    word
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::received::scan_received;

    fn arranged(line: &str, text: &str) -> (String, String) {
        let dir = tempfile::tempdir().unwrap();
        let argv: Vec<Vec<u8>> = line
            .split(' ')
            .map(|word| word.as_bytes().to_vec())
            .collect();
        let received = scan_received(&argv).unwrap();
        let mut workspace = Workspace::create(dir.path(), "out.o", false).unwrap();
        let program = Path::new(line.split(' ').next().unwrap());
        let arranged = arrange(&mut workspace, program, &argv, &received, text.as_bytes());
        let root = workspace.root().display().to_string();
        let words: Vec<_> = arranged
            .words
            .iter()
            .map(|word| word.to_string_lossy())
            .collect();
        let text = String::from_utf8(arranged.text.into_owned()).unwrap();
        (words.join(" ").replace(&root, "ROOT"), text)
    }

    #[test]
    fn names_are_replaced_where_they_stand() {
        for (line, words) in [
            ("gcc -c d/x.c -o d/x.o", "-c d/x.i -o ROOT/out.o"),
            (
                "gcc -frandom-seed=a.c -c a.c -oa.o",
                "-frandom-seed=a.c -c a.i -oROOT/out.o",
            ),
            ("g++ -c x.c", "-c x.ii -o ROOT/out.o"),
            (
                "gcc -x cpp-output -c x.c -o x.o",
                "-x cpp-output -c x.c -o ROOT/out.o",
            ),
            ("gcc -x c -c x -o x.o", "-x cpp-output -c x -o ROOT/out.o"),
            ("clang -xc -c x -o x.o", "-xc -c x -o ROOT/out.o"),
            (
                "clang -fdirectives-only -g -c x.c -o x.o",
                "-fdirectives-only -g -c x.i -o ROOT/out.o",
            ),
            (
                "gcc -fdirectives-only -c x.c -o x.o",
                "-fdirectives-only -c x.i -o ROOT/out.o",
            ),
        ] {
            assert_eq!(
                arranged(line, "# 1 \"x.c\"\n"),
                (words.to_owned(), "# 1 \"x.c\"\n".to_owned())
            );
        }
    }

    #[test]
    fn directives_only_text_becomes_source_again() {
        let text = "# 0 \"x.c\"\n# 0 \"/home/me//\"\n# 0 \"<built-in>\"\n#define A 1\n# 0 \"<command-line>\"\n# 1 \"x.c\"\nint a;\n";
        let (words, source) = arranged(
            "g++ -fdirectives-only -x c++-cpp-output -g -c x.c -o x.o",
            text,
        );
        assert_eq!(
            words,
            "-x c++ -g -c x.c -o ROOT/out.o -fdebug-prefix-map=ROOT/in= -fno-diagnostics-show-caret -nostdinc"
        );
        assert_eq!(source, "# 0 \"<command-line>\"\n# 1 \"x.c\"\nint a;\n");
        let (words, _) = arranged(
            "gcc -fdirectives-only -g -ffile-prefix-map=/a=/b -c x.c -o x.o",
            text,
        );
        let maps = " -fdebug-prefix-map=ROOT/in= -fdebug-prefix-map=ROOT/in/a=/b ";
        assert!(words.contains(maps), "{words}");
        let (words, _) = arranged(
            "gcc -fdirectives-only -g -ffile-prefix-map==/b -c x.c -o x.o",
            text,
        );
        assert!(words.starts_with("-fdirectives-only -g "), "{words}");
    }
}
