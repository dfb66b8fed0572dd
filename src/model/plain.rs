//! Plain mode's recipe: what the local preprocessor is asked for and what the server is told, so that the object that
//! comes back is byte for byte the local one, or the reason why that can't be had. All of it was found by trying
//! (gcc 12, clang 14), with a stock server: text under a temporary name, in another directory.
//!
//! gcc that optimizes, without debug information: `-E`. Else columns count, without `-O` too, as an instruction more may
//! stand for a statement from a macro: `-E -fdirectives-only`. With debug information only a server that undoes it compiles
//! that to the same object (see `plain_text::as_source`); a stock server's object shows the option.
//! clang: `-E -frewrite-includes`, compiled as preprocessed text, which also keeps every diagnostic as it is.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use memchr::memmem;

use super::clang_lines;
use super::clang_text;
use super::clang_warnings;
use super::dependencies;
use super::indentation;
use super::invocation::{Invocation, Reason, Role};
use super::landmarks::Landmarks;
use super::layout;
use super::made_words;
use super::optimizing;
use super::plain_text::{self, TextEdit};
use super::sources;

pub use super::family::{family, Family};
pub use super::plain_text::{
    as_source, changes_warnings, dropped_pragma, says_of_functions, unmark_expansions,
};

/// How the text that travels is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// The source has been preprocessed already.
    AsIs,
    /// `-E`: everything expanded.
    Expanded,
    /// gcc's `-E -fdirectives-only`: macros are left to the server.
    DirectivesOnly,
    /// clang's `-E -frewrite-includes`: conditions and macros are left to the server.
    RewriteIncludes,
}

/// Both halves of a plain compile.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recipe {
    /// How the text is made.
    pub way: Way,
    /// To be run here, writes the text to standard output; None: the source itself is sent.
    pub preprocessor_argv: Option<Vec<OsString>>,
    /// What the server is to run; word 0 is the program as the user named it.
    pub server_argv: Vec<OsString>,
    /// To be applied to the text before it is sent.
    pub edit: TextEdit,
}

/// What else the result depends on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Wishes {
    /// The messages go to a terminal that can show colour.
    pub color: bool,
    /// The source has comments that gcc heeds; see [`comments_matter`].
    pub comments: bool,
}

/// Does gcc heed comments and macros in the source, to warn of a case that falls through without a comment that says so,
/// or of a macro that is several statements where one is guarded? `-E` drops the one and expands the other.
pub fn comments_matter(
    invocation: &Invocation,
    family: Option<Family>,
    source: impl FnOnce() -> Option<Vec<u8>>,
) -> bool {
    let falling = has(invocation, |word| {
        matches!(word, b"-Wextra" | b"-W")
            || word.starts_with(b"-Wimplicit-fallthrough") && word != b"-Wimplicit-fallthrough=0"
    });
    let several = layout::asks_gcc_for(invocation, b"multistatement-macros");
    let heeded = |source: Vec<u8>| {
        falling && plain_text::tells_of_falling_through(&source)
            || several && indentation::defines_statements(&source)
    };
    let asked = family == Some(Family::Gcc) && !invocation.preprocessed && (falling || several);
    asked && source().is_some_and(heeded)
}

/// Might gcc, asked to, warn of the source's indentation? It can do so only where the file is; see `indentation`.
pub fn indentation_matters(
    invocation: &Invocation,
    family: Option<Family>,
    source: impl FnOnce() -> Option<Vec<u8>>,
) -> bool {
    family == Some(Family::Gcc)
        && !invocation.preprocessed
        && layout::asks_gcc_for(invocation, layout::INDENTATION)
        && (layout::has_other_tabs(invocation)
            || source().is_some_and(|source| indentation::may_mislead(&source)))
}

/// Finds the recipe. `cwd` gives the working directory as a compiler would record it, and is asked only if needed.
/// The reason says why only a local run is exact.
pub fn recipe(
    invocation: &Invocation,
    family: Option<Family>,
    cwd: &dyn Fn() -> PathBuf,
    wishes: Wishes,
) -> Result<Recipe, Reason> {
    if !sources::is_known_to_stock(&invocation.input) {
        return Err(Reason::new("servers know sources by their extension"));
    }
    if let Some(why) = &invocation.only_ours {
        return Err(why.clone());
    }
    if family == Some(Family::Clang) {
        clang_text::keeps_source(invocation)?;
    }
    let way = way(invocation, family, wishes.comments)?;
    let mut server = server_words(invocation);
    if way == Way::DirectivesOnly {
        server.insert(1, "-fdirectives-only".into());
    }
    if family == Some(Family::Clang) && invocation.debug_info && !has(invocation, names_directory) {
        let mut word = OsString::from("-fdebug-compilation-dir=");
        word.push(cwd());
        server.insert(1, word);
    }
    let mut preprocessor = match way {
        Way::AsIs => None,
        _ => Some(preprocessor_words(invocation, family, way)),
    };
    if wishes.color && family.is_some() && !invocation.says_color() {
        let word = "-fdiagnostics-color=always";
        server.push(word.into());
        if let Some(words) = &mut preprocessor {
            words.push(word.into());
        }
    }
    let edit = match (family, way) {
        (Some(Family::Clang), Way::RewriteIncludes) => TextEdit {
            drop_built_in: true,
            macros: clang_text::macros(invocation)?,
        },
        _ => TextEdit::default(),
    };
    Ok(Recipe {
        way,
        preprocessor_argv: preprocessor,
        server_argv: server,
        edit,
    })
}

/// Why the text can't be compiled elsewhere. `text` is what the preprocessor wrote, or the preprocessed source.
pub fn text_keeps_local(
    text: &[u8],
    landmarks: &Landmarks,
    invocation: &Invocation,
    family: Option<Family>,
    way: Way,
) -> Option<Reason> {
    if plain_text::reads_files(text, &landmarks.includes) {
        return Some(Reason::new(
            ".incbin or .include reads a file of this machine",
        ));
    }
    let of_gcc =
        matches!(way, Way::Expanded | Way::DirectivesOnly) && family != Some(Family::Clang);
    if let Some(why) = plain_text::odd_pragma(text, &landmarks.gcc).filter(|_| of_gcc) {
        return Some(Reason::new(why));
    }
    if family == Some(Family::Clang) && way != Way::AsIs {
        if let Some(why) = clang_warnings::keeps_local(text, landmarks, invocation) {
            return Some(Reason::new(why));
        }
    }
    let macros = match way {
        Way::RewriteIncludes => clang_text::macros(invocation).unwrap_or_default(),
        _ => Vec::new(),
    };
    match way {
        Way::AsIs if family == Some(Family::Clang) && clang_lines::preprocesses_more(text) => Some(
            Reason::new("clang preprocesses what is left of it, and a host has other files"),
        ),
        Way::AsIs => as_is_keeps_local(text, invocation, family),
        Way::Expanded if of_gcc && optimizing::stops_optimizing(text) => Some(Reason::new(
            "a function is not to be optimized, and shows where macros were",
        )),
        Way::Expanded => asks_for_places(text, landmarks, of_gcc),
        Way::DirectivesOnly if !plain_text::directives_only_is_known(text) => Some(Reason::new(
            "how this version of gcc keeps columns in preprocessed text has not been tried",
        )),
        Way::DirectivesOnly | Way::RewriteIncludes if layout::opens_over_files(text, landmarks) => {
            Some(Reason::new("a file begins or ends in parentheses"))
        }
        Way::RewriteIncludes if clang_lines::counts_anew(text, landmarks) => Some(Reason::new(
            "#line counts lines anew, and -frewrite-includes as the file has them",
        )),
        Way::DirectivesOnly | Way::RewriteIncludes => {
            made_words::keeps_local(text, landmarks, &macros, way == Way::RewriteIncludes)
        }
    }
}

/// Whether the object holds lines or columns that expanded text has not: where a macro's words are on several lines, clang's
/// text has them on one.
fn asks_for_places(text: &[u8], landmarks: &Landmarks, of_gcc: bool) -> Option<Reason> {
    let asks = landmarks.asks_location
        || landmarks.asks_column
        || !of_gcc && memmem::find(text, b"__builtin_LINE").is_some();
    asks.then(|| Reason::new("the compiler is asked for lines or columns of the source"))
}

/// The files that `dropped_pragma` is to be asked about before the text may travel; names are relative to the working directory.
pub fn sources_to_check(text: &[u8], landmarks: &Landmarks, recipe: &Recipe) -> Vec<PathBuf> {
    match recipe.way {
        Way::DirectivesOnly => plain_text::own_files(text, &landmarks.hashes),
        _ => Vec::new(),
    }
}

/// The files of which clang is to warn if their last line has no end, which its text gives them; names are relative to the
/// working directory.
pub fn sources_with_ends(
    text: &[u8],
    landmarks: &Landmarks,
    invocation: &Invocation,
    family: Option<Family>,
    recipe: &Recipe,
) -> Vec<PathBuf> {
    let asks = |word: &[u8]| {
        let warning = word.strip_prefix(b"-W").unwrap_or_default();
        let warning = warning.strip_prefix(b"error=").unwrap_or(warning);
        matches!(word, b"-pedantic" | b"-pedantic-errors")
            || matches!(warning, b"pedantic" | b"everything" | b"newline-eof")
            || warning.ends_with(b"-pedantic") && !warning.starts_with(b"no-")
    };
    let is_clangs = family == Some(Family::Clang) && recipe.way != Way::AsIs;
    match is_clangs && has(invocation, asks) {
        true => plain_text::own_files(text, &landmarks.hashes),
        false => Vec::new(),
    }
}

/// Is a result marked by the server that made it, so that a local run's would differ? Then compile here.
pub fn betrays_server(object: &[u8], stderr: &[u8], invocation: &Invocation, way: Way) -> bool {
    if plain_text::shows_server_file(object) || plain_text::shows_server_file(stderr) {
        return true;
    }
    match way {
        // An object that does not show its producer can't be told from one that hides the option.
        Way::DirectivesOnly if invocation.debug_info => {
            memmem::find(object, b" -fdirectives-only").is_some()
                || !plain_text::shows_producer(object)
        }
        Way::RewriteIncludes if invocation.debug_info => {
            memmem::find(object, b".debug_line_str").is_some()
        }
        _ => false,
    }
}

/// The one decision: how the text is made, or why it can't be.
fn way(invocation: &Invocation, family: Option<Family>, comments: bool) -> Result<Way, Reason> {
    if invocation.preprocessed {
        return match invocation.deps {
            Some(_) => Err(Reason::new(
                "a dependency file of preprocessed text is the driver's affair",
            )),
            None => Ok(Way::AsIs),
        };
    }
    match family {
        Some(Family::Gcc) => gcc_way(invocation, comments),
        Some(Family::Clang) => match clang_text::must_be_expanded(invocation)? {
            true => Ok(Way::Expanded),
            false => Ok(Way::RewriteIncludes),
        },
        None => Err(Reason::new("neither gcc nor clang by its name")),
    }
}

fn gcc_way(invocation: &Invocation, comments: bool) -> Result<Way, Reason> {
    let columns = invocation.debug_info
        || !optimizes(invocation)
        || has(invocation, |word| word.starts_with(b"-fsanitize="));
    let pragmas = has(invocation, |word| {
        word.starts_with(b"-fopenmp") || word.starts_with(b"-fopenacc")
    });
    if !columns && (!comments || pragmas) {
        return Ok(Way::Expanded);
    }
    if pragmas {
        return Err(Reason::new(
            "gcc can't keep both columns and OpenMP pragmas in preprocessed text",
        ));
    }
    if !invocation.debug_info {
        return Ok(Way::DirectivesOnly);
    }
    if has(invocation, |word| {
        word.starts_with(b"-gz") && word != b"-gz=none"
    }) {
        return Err(Reason::new("compressed debug information can't be checked"));
    }
    if has(invocation, |word| {
        word.starts_with(b"-g") && word.ends_with(b"3")
    }) {
        return Err(Reason::new("-g3 records where each macro came from"));
    }
    Ok(Way::DirectivesOnly)
}

/// Whether gcc is told to; the last word counts.
fn optimizes(invocation: &Invocation) -> bool {
    let last = words(invocation)
        .filter(|word| word.starts_with(b"-O"))
        .last();
    last.is_some_and(|word| word != b"-O0")
}

fn as_is_keeps_local(
    text: &[u8],
    invocation: &Invocation,
    family: Option<Family>,
) -> Option<Reason> {
    let mut markers = plain_text::leading_markers(text);
    match markers.next() {
        None => {
            return Some(Reason::new(
                "preprocessed text without a first line marker is known by its file's name",
            ))
        }
        Some(first) if first.name.starts_with(b"<") => {
            return Some(Reason::new(
                "the first line marker does not name the source",
            ));
        }
        Some(_) => {}
    }
    let told = markers
        .next()
        .and_then(|marker| plain_text::working_directory(&marker));
    if invocation.debug_info && family != Some(Family::Clang) && told.is_none() {
        return Some(Reason::new("the text does not tell its working directory"));
    }
    None
}

/// All words that travel, `-x` put right: the server reads the text as preprocessed, whatever its extension says.
fn server_words(invocation: &Invocation) -> Vec<OsString> {
    let travels = |role: &Role| {
        matches!(
            role,
            Role::Program | Role::Input | Role::Output | Role::Step | Role::Code
        )
    };
    let pairs = invocation.argv.iter().zip(&invocation.roles);
    let mut words: Vec<OsString> = pairs
        .filter(|(_, role)| travels(role))
        .map(|(word, _)| word.clone())
        .collect();
    let by_name = sources::language_of(&invocation.input).map(|kind| kind.language);
    if invocation.explicit_language || by_name != Some(invocation.language) {
        let value = invocation.language.preprocessed_option_value();
        words.splice(1..1, [OsString::from("-x"), OsString::from(value)]);
    }
    words
}

fn preprocessor_words(invocation: &Invocation, family: Option<Family>, way: Way) -> Vec<OsString> {
    let mut words = Vec::with_capacity(invocation.argv.len() + 6);
    for (word, role) in invocation.argv.iter().zip(&invocation.roles) {
        if !matches!(role, Role::Output | Role::Step) {
            words.push(word.clone());
        }
    }
    let mode: &[&str] = match way {
        Way::DirectivesOnly => &["-E", "-fdirectives-only"],
        Way::RewriteIncludes => &["-E", "-frewrite-includes"],
        Way::AsIs | Way::Expanded => &["-E"],
    };
    let more = match family {
        // It then says where a whole compile would take a precompiled header.
        Some(Family::Gcc) => Some("-fpch-preprocess"),
        // If this run crashes, so does the one that follows, and tells of it.
        Some(Family::Clang) => Some("-fno-crash-diagnostics"),
        None => None,
    };
    let mode = mode.iter().copied().chain(more);
    words.splice(1..1, mode.map(OsString::from));
    words.extend(dependencies::preprocessor_words(
        invocation,
        family == Some(Family::Gcc),
    ));
    words
}

fn names_directory(word: &[u8]) -> bool {
    word.starts_with(b"-fdebug-compilation-dir") || word.starts_with(b"-ffile-compilation-dir")
}

/// The words of the compiler proper.
fn words(invocation: &Invocation) -> impl Iterator<Item = &[u8]> {
    let pairs = invocation.argv.iter().zip(&invocation.roles);
    pairs
        .filter(|(_, role)| **role == Role::Code)
        .map(|(word, _)| word.as_bytes())
}

fn has(invocation: &Invocation, test: impl Fn(&[u8]) -> bool) -> bool {
    words(invocation).any(test)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::model::testing::invocation;
    use std::ffi::OsStr;
    use std::path::Path;

    fn keeps_local(text: &[u8], job: &Invocation, way: Way) -> Option<Reason> {
        text_keeps_local(
            text,
            &Landmarks::of(text, false),
            job,
            Some(Family::Gcc),
            way,
        )
    }

    fn made(command: &str, color: bool) -> Result<Recipe, Reason> {
        let invocation = invocation(command);
        let family = family(Path::new(&invocation.argv[0]));
        let wishes = Wishes {
            color,
            comments: comments_matter(&invocation, family, || Some(b"/* fall through */".to_vec())),
        };
        recipe(&invocation, family, &|| PathBuf::from("/w"), wishes)
    }

    #[test]
    fn comments_about_falling_through_are_kept_where_gcc_heeds_them() {
        for (command, way) in [
            ("gcc -Wall -c x.c", Way::Expanded),
            ("gcc -Wextra -c x.c", Way::DirectivesOnly),
            ("gcc -Wimplicit-fallthrough=0 -c x.c", Way::Expanded),
            ("gcc -Wextra -fopenmp -c x.c", Way::Expanded),
            ("clang -Wextra -c x.c", Way::RewriteIncludes),
        ] {
            let command = command.replacen(' ', " -O2 ", 1);
            assert_eq!(made(&command, false).unwrap().way, way, "{command}");
        }
    }

    fn line(words: &[OsString]) -> String {
        words.join(OsStr::new(" ")).into_string().unwrap()
    }

    #[test]
    fn gcc_without_debug_information_is_expanded() {
        let recipe = made("gcc -O2 -I inc -DX -MD -Wall -c d/x.c -o o/x.o -lm", false).unwrap();
        assert_eq!(recipe.way, Way::Expanded);
        assert_eq!(
            line(&recipe.preprocessor_argv.unwrap()),
            "gcc -E -fpch-preprocess -O2 -I inc -DX -MD -Wall d/x.c -lm -MF o/x.d -MQ o/x.o"
        );
        assert_eq!(line(&recipe.server_argv), "gcc -O2 -Wall -c d/x.c -o o/x.o");
        assert_eq!(recipe.edit, TextEdit::default());
    }

    #[test]
    fn gcc_with_debug_information_keeps_columns() {
        let recipe = made("g++ -g -c x.cc -o x.o", false).unwrap();
        assert_eq!(
            line(&recipe.preprocessor_argv.unwrap()),
            "g++ -E -fdirectives-only -fpch-preprocess -g x.cc"
        );
        assert_eq!(
            line(&recipe.server_argv),
            "g++ -fdirectives-only -g -c x.cc -o x.o"
        );
        assert!(made("gcc -g -fopenmp -c x.c", false).is_err());
        assert!(made("gcc -g -gz -c x.c", false).is_err());
        assert!(made("gcc -g3 -c x.c", false).is_err());
        assert_eq!(
            made("gcc -fsanitize=undefined -c x.c", false).unwrap().way,
            Way::DirectivesOnly
        );
    }

    #[test]
    fn gcc_that_does_not_optimize_keeps_columns() {
        for (words, way) in [
            ("", Way::DirectivesOnly),
            (" -O2 -O0", Way::DirectivesOnly),
            (" -O0 -Os", Way::Expanded),
            (" -O", Way::Expanded),
        ] {
            let command = format!("gcc -c{words} x.c");
            assert_eq!(made(&command, false).unwrap().way, way, "{command}");
        }
        assert!(made("gcc -fopenmp -c x.c", false).is_err());
    }

    #[test]
    fn the_server_is_told_the_language() {
        let argv = |command| line(&made(command, false).unwrap().server_argv);
        assert_eq!(
            argv("g++ -O -c x.c -o x.o"),
            "g++ -x c++-cpp-output -O -c x.c -o x.o"
        );
        assert_eq!(
            argv("gcc -O -x c++ -c x.c -o x.o"),
            "gcc -x c++-cpp-output -O -c x.c -o x.o"
        );
        assert_eq!(argv("gcc -Og -c x.m -o x.o"), "gcc -Og -c x.m -o x.o");
        assert!(made("gcc -x c -c x.inc -o x.o", false).is_err());
    }

    #[test]
    fn clang_rewrites_includes() {
        let recipe = made("clang -gdwarf-4 -DA=1 -U B -D C -c x.c -o x.o", true).unwrap();
        assert_eq!(
            line(&recipe.preprocessor_argv.unwrap()),
            "clang -E -frewrite-includes -fno-crash-diagnostics -gdwarf-4 -DA=1 -U B -D C x.c -fdiagnostics-color=always"
        );
        assert_eq!(
            line(&recipe.server_argv),
            "clang -fdebug-compilation-dir=/w -gdwarf-4 -c x.c -o x.o -fdiagnostics-color=always"
        );
        assert_eq!(recipe.edit.macros, b"#define A 1\n#undef B\n#define C 1\n");
        assert!(recipe.edit.drop_built_in);
    }

    #[test]
    fn clang_stays_here_where_it_shows() {
        for command in [
            "clang -g -c x.c",
            "clang-14 -g -c x.c",
            "clang -gdwarf-5 -c x.c",
            "clang -c x.m",
            "clang -fmacro-prefix-map=a=b -c x.c",
            "clang -include f -gdwarf-4 -c x.c",
        ] {
            assert!(made(command, false).is_err(), "{command}");
        }
        assert!(made("clang-13 -g -c x.c", false).is_ok());
        assert_eq!(
            made("clang -include f -c x.c", false).unwrap().way,
            Way::Expanded
        );
        assert!(made("tcc -c x.c", false).is_err());
    }

    #[test]
    fn colour_is_left_to_the_user_who_speaks_of_it() {
        let recipe = made("gcc -O2 -fdiagnostics-color=never -c x.c -o x.o", true).unwrap();
        assert_eq!(
            line(&recipe.server_argv),
            "gcc -O2 -fdiagnostics-color=never -c x.c -o x.o"
        );
    }

    #[test]
    fn preprocessed_text_must_tell_its_name() {
        let plain = invocation("gcc -c x.i -o x.o");
        let debug = invocation("gcc -g -c x.i -o x.o");
        let keeps = |text: &[u8], job| keeps_local(text, job, Way::AsIs).is_some();
        assert!(keeps(b"int a;\n", &plain));
        assert!(!keeps(b"# 0 \"x.c\"\nint a;\n", &plain));
        assert!(keeps(b"# 0 \"x.c\"\nint a;\n", &debug));
        assert!(!keeps(b"# 0 \"x.c\"\n# 1 \"/w//\"\nint a;\n", &debug));
    }

    #[test]
    fn text_and_object_are_judged_by_the_way_they_were_made() {
        let (plain, debug) = (invocation("gcc -c x.c"), invocation("gcc -g -c x.c"));
        let keeps = keeps_local;
        assert!(keeps(&b"__DATE__"[..], &plain, Way::Expanded).is_none());
        let known = &b"#define __GNUC__ 12\n"[..];
        assert!(keeps(known, &debug, Way::DirectivesOnly).is_none());
        let dated = &b"#define __GNUC__ 12\n__DATE__"[..];
        assert!(keeps(dated, &debug, Way::DirectivesOnly).is_some());
        assert!(keeps(&b""[..], &debug, Way::DirectivesOnly).is_some());
        assert!(betrays_server(b"", b"", &debug, Way::DirectivesOnly));
        let producer = b"GNU C17 -g -fdirectives-only";
        assert!(betrays_server(producer, b"", &debug, Way::DirectivesOnly));
        assert!(!betrays_server(producer, b"", &plain, Way::Expanded));
        assert!(betrays_server(
            b"",
            b"/tmp/distccd_12345678.i:1",
            &plain,
            Way::AsIs
        ));
    }
}
