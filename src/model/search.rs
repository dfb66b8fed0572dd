//! From a compiler's command to where headers are searched: the chain of folders as gcc or clang puts it together, and
//! the macros and headers that the command line itself gives.

use std::os::unix::ffi::OsStrExt;

use super::charset;
use super::compiler_options::{Effect, Role};
use super::family::Family;
use super::invocation::Invocation;
use super::option_table;
use super::punt::Punt;
use super::search_chain::{clang_chain, gcc_chain, Group, Named};
use super::sources::Language;

pub use super::search_chain::{FolderIdentity, SearchDir};

/// All folders, in the order in which they are searched.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct SearchPath {
    /// For `#include "…"`.
    pub dirs: Vec<SearchDir>,
    /// Number of the first one for `#include <…>`.
    pub angle: usize,
    /// Where the assembler looks for files, after the working directory.
    pub assembler: Vec<Vec<u8>>,
    /// The names of all folders that were given, also of those that are not there or double, in the order in which
    /// clang reads them: it knows a folder by its first name.
    pub seen: Vec<Vec<u8>>,
    /// gcc calls system headers by their shortest name: no `-fno-canonical-system-headers`.
    pub canonical: bool,
}

/// A macro or header given on the command line.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Word {
    /// `-D`: `NAME`, `NAME=BODY`, `NAME(PARAMETERS)=BODY`.
    Define(Vec<u8>),
    /// `-U`
    Undefine(Vec<u8>),
    /// `-include`
    Include(Vec<u8>),
    /// `-imacros`
    Macros(Vec<u8>),
}

/// What of the search path is not in the command.
#[derive(Clone, Debug, Default)]
pub struct Surroundings<'a> {
    /// The compiler's default folders as `cc -v` lists them, asked with those options of the command that move them
    /// (`-nostdinc`, `--sysroot`, `-isysroot`, `-iprefix`, `-stdlib`, `-m32`, `--target`…) but without the user's folders.
    pub defaults: &'a [SearchDir],
    /// `$CPATH`
    pub cpath: &'a [u8],
    /// `$C_INCLUDE_PATH`, `$CPLUS_INCLUDE_PATH`, `$OBJC_INCLUDE_PATH`, `$OBJCPLUS_INCLUDE_PATH`: the one for the language.
    pub language_path: &'a [u8],
}

/// An option of the command that says where headers are or what is included or defined.
#[derive(Clone, Copy, Debug)]
struct Given<'a> {
    name: &'static str,
    value: &'a [u8],
    /// It is a part of `-Wp,` or `-Xpreprocessor`.
    passed: bool,
}

/// The search path of a command. `identify` says which folder a path is, None if it is none: every call is part of what
/// the answer depends on.
///
/// # Errors
/// Options whose effect is not known exactly.
pub fn search_path(
    invocation: &Invocation,
    family: Family,
    surroundings: &Surroundings<'_>,
    identify: &mut dyn FnMut(&[u8]) -> Option<FolderIdentity>,
) -> Result<SearchPath, Punt> {
    let given = given(invocation)?;
    let mut named = match family {
        Family::Gcc => gcc_folders(&given)?,
        Family::Clang => clang_folders(&given, invocation.language)?,
    };
    let environment = |variable: &[u8], group| {
        let parts = split_path(variable).into_iter();
        let named: Vec<Named> = parts.map(|path| Named::new(path, group)).collect();
        named
    };
    // gcc reads $CPATH after all options, clang after its -I.
    let cpath = environment(surroundings.cpath, Group::Angle);
    match family {
        Family::Gcc => named.extend(cpath),
        Family::Clang => {
            let others = named.iter().position(|dir| dir.round > 0);
            let at = others.unwrap_or(named.len());
            named.splice(at..at, cpath);
        }
    }
    named.extend(environment(surroundings.language_path, Group::System));
    for dir in surroundings.defaults {
        named.push(Named {
            framework: dir.framework,
            ..Named::new(dir.path.clone(), Group::System)
        });
    }
    let (dirs, angle) = match family {
        Family::Gcc => gcc_chain(&named, identify),
        Family::Clang => clang_chain(&named, identify),
    };
    let assembler = match family {
        Family::Gcc => values(&given, "-I").map(<[u8]>::to_vec).collect(),
        Family::Clang => {
            let read = named
                .iter()
                .filter(|dir| dir.group != Group::After && !dir.framework);
            read.map(|dir| dir.path.clone()).collect()
        }
    };
    Ok(SearchPath {
        dirs,
        angle,
        assembler,
        seen: named.into_iter().map(|dir| dir.path).collect(),
        canonical: family == Family::Gcc && is_canonical(invocation),
    })
}

/// The macros and headers that the command gives, in its order.
///
/// # Errors
/// Options whose effect is not known exactly.
pub fn words(invocation: &Invocation) -> Result<Vec<Word>, Punt> {
    let given = given(invocation)?;
    let words = given.iter().filter_map(|option| {
        let value = option.value.to_vec();
        Some(match option.name {
            "-D" => Word::Define(value),
            "-U" => Word::Undefine(value),
            "-include" => Word::Include(value),
            "-imacros" => Word::Macros(value),
            _ => return None,
        })
    });
    Ok(words.collect())
}

/// Does an option map the names that `__FILE__` gives?
pub fn maps_names(invocation: &Invocation) -> bool {
    const HEADS: [&[u8]; 2] = [b"-ffile-prefix-map", b"-fmacro-prefix-map"];
    let words = invocation.argv.iter().map(|word| word.as_bytes());
    words
        .clone()
        .any(|word| HEADS.iter().any(|head| word.starts_with(head)))
}

fn is_canonical(invocation: &Invocation) -> bool {
    let words = invocation.argv.iter().rev().map(|word| word.as_bytes());
    let mut choices = words.filter_map(|word| match word {
        b"-fcanonical-system-headers" => Some(true),
        b"-fno-canonical-system-headers" => Some(false),
        _ => None,
    });
    choices.next().unwrap_or(true)
}

/// What the words of a command say of trigraphs, if anything: a standard that comes after them decides alone.
pub fn trigraphs<'w>(words: impl Iterator<Item = &'w [u8]>) -> Option<bool> {
    words.fold(None, |said, word| match word {
        b"-trigraphs" | b"-ftrigraphs" => Some(true),
        b"-fno-trigraphs" => Some(false),
        b"-ansi" => None,
        _ if word.starts_with(b"-std") || word.starts_with(b"--std") => None,
        _ => said,
    })
}

/// The options that matter, in the order of the command; those of `-Wp,` and `-Xpreprocessor` come last, as both
/// drivers hand them on so.
fn given(invocation: &Invocation) -> Result<Vec<Given<'_>>, Punt> {
    let (mut given, mut last) = (Vec::new(), Vec::new());
    let mut words = invocation.argv.iter().zip(&invocation.roles).skip(1);
    while let Some((word, role)) = words.next() {
        let word = word.as_bytes();
        let found = match role {
            Role::Input | Role::Program => None,
            _ => option_table::find(word),
        };
        let Some(found) = found else {
            continue;
        };
        let value = match found.takes_next {
            true => words.next().map_or(&b""[..], |(value, _)| value.as_bytes()),
            false => found.joined,
        };
        check(word)?;
        let option = Given {
            name: found.row.name,
            value,
            passed: false,
        };
        match (found.row.effect, role) {
            (Effect::PreprocessorParts, Role::Preprocess) => {
                let mut parts = value.split(|byte| *byte == b',');
                while let Some(word) = parts.next() {
                    last.extend(match word {
                        b"-include" => parts.next().map(|value| passed("-include", value)),
                        b"-imacros" => parts.next().map(|value| passed("-imacros", value)),
                        _ => part(word),
                    });
                }
            }
            (Effect::PreprocessorWord, _) => last.extend(part(value)),
            (Effect::Is(Role::Include | Role::Define), _) => given.push(option),
            _ if found.row.name == "-F" => given.push(option),
            _ => {}
        }
    }
    given.extend(last);
    if values(&given, "-I").any(|value| value == b"-" || value.ends_with(b".hmap")) {
        return Err(Punt::new("-I with something else than a folder"));
    }
    Ok(given)
}

/// `-DX`, `-UX` or `-IX` for the preprocessor.
fn part(part: &[u8]) -> Option<Given<'_>> {
    let heads = [("-D", b"-D"), ("-U", b"-U"), ("-I", b"-I")];
    let (name, _) = heads
        .into_iter()
        .find(|(_, head)| part.starts_with(*head))?;
    Some(passed(name, part.get(2..)?))
}

/// A part of `-Wp,` or `-Xpreprocessor`.
fn passed<'v>(name: &'static str, value: &'v [u8]) -> Given<'v> {
    Given {
        name,
        value,
        passed: true,
    }
}

/// Whether sources are read in another charset than UTF-8: what decides about files is followed in ASCII's letters only.
pub fn converts(invocation: &Invocation) -> bool {
    let mut words = invocation.argv.iter().map(|word| word.as_bytes());
    words.any(|word| search_charset(word).is_some())
}

/// The charset that a word names, unless it is UTF-8.
fn search_charset(word: &[u8]) -> Option<&[u8]> {
    let charset = word.strip_prefix(b"-finput-charset=")?;
    (!matches!(charset, b"UTF-8" | b"utf-8")).then_some(charset)
}

/// Words that change how text is read, in ways that are not followed here.
fn check(word: &[u8]) -> Result<(), Punt> {
    const HEADS: [&[u8]; 14] = [
        b"-undef",
        b"-remap",
        b"-fno-operator-names",
        b"-fno-dollars-in-identifiers",
        b"-fms-",
        b"-fexec-charset",
        b"-fwide-exec-charset",
        b"-isystem-after",
        b"-stdlib++-isystem",
        b"-fdigraphs",
        b"-fno-digraphs",
        b"-fraw-string-literals",
        b"-fno-raw-string-literals",
        b"-fmax-include-depth",
    ];
    let odd_charset = search_charset(word).is_some_and(|charset| !charset::extends_ascii(charset));
    match odd_charset || HEADS.iter().any(|head| word.starts_with(head)) {
        true => Err(Punt::new(format!(
            "{} changes how sources are read",
            String::from_utf8_lossy(word)
        ))),
        false => Ok(()),
    }
}

fn values<'g, 'a>(given: &'g [Given<'a>], name: &'g str) -> impl Iterator<Item = &'a [u8]> + 'g {
    given
        .iter()
        .filter(move |option| option.name == name)
        .map(|option| option.value)
}

/// `-isysroot`, else `--sysroot`.
fn sysroot<'a>(given: &[Given<'a>]) -> Option<&'a [u8]> {
    let last = |names: [&'static str; 2]| {
        let mut options = given.iter().rev();
        options
            .find(|option| names.contains(&option.name))
            .map(|option| option.value)
    };
    last(["-isysroot", "-isysroot"]).or_else(|| last(["--sysroot", "--sysroot="]))
}

/// gcc's driver hands on `-I` first; then come the options that start with `-i`, each kind in its own list.
fn gcc_folders(given: &[Given<'_>]) -> Result<Vec<Named>, Punt> {
    let root = sysroot(given);
    let expanded = |value: &[u8]| {
        let rest = value
            .strip_prefix(b"=")
            .or_else(|| value.strip_prefix(b"$SYSROOT"));
        match (root, rest) {
            (Some(root), Some(rest)) => [root, rest].concat(),
            _ => value.to_vec(),
        }
    };
    let mut named = Vec::new();
    let mut prefix: Option<&[u8]> = None;
    let prefixed = |prefix: Option<&[u8]>, value: &[u8], group| {
        let prefix = prefix.ok_or_else(|| Punt::new("-iwithprefix without -iprefix"))?;
        Ok(Named::new([prefix, value].concat(), group))
    };
    for option in given {
        let group = match option.name {
            "-I" => Group::Angle,
            "-iquote" => Group::Quote,
            "-isystem" => Group::System,
            "-idirafter" => Group::After,
            "-iprefix" => {
                prefix = Some(option.value);
                continue;
            }
            "-iwithprefix" => {
                named.push(prefixed(prefix, option.value, Group::System)?);
                continue;
            }
            "-iwithprefixbefore" => {
                named.push(prefixed(prefix, option.value, Group::Angle)?);
                continue;
            }
            _ => continue,
        };
        let mut dir = Named::new(expanded(option.value), group);
        dir.round = match option.name {
            "-I" if option.passed => 2,
            "-I" => 0,
            _ => 1,
        };
        named.push(dir);
    }
    named.sort_by_key(|dir| dir.round);
    Ok(named)
}

/// clang's compiler proper reads one kind of option after the other.
fn clang_folders(given: &[Given<'_>], language: Language) -> Result<Vec<Named>, Punt> {
    let root = sysroot(given);
    let mut named = Vec::new();
    for option in given {
        if matches!(option.name, "-I" | "-F") {
            let mut dir = Named::new(clang_root(option, root)?, Group::Angle);
            dir.framework = option.name == "-F";
            dir.round = 0;
            named.push(dir);
        }
    }
    let mut prefix: &[u8] = b"";
    for option in given {
        let group = match option.name {
            "-iprefix" => {
                prefix = option.value;
                continue;
            }
            "-iwithprefix" => Group::After,
            "-iwithprefixbefore" => Group::Angle,
            _ => continue,
        };
        named.push(Named::new([prefix, option.value].concat(), group));
    }
    let is_cxx = matches!(language, Language::Cxx | Language::ObjCxx);
    let passes: [(&[&str], Group); 6] = [
        (&["-idirafter"], Group::After),
        (&["-iquote"], Group::Quote),
        (&["-isystem", "-iwithsysroot"], Group::System),
        (&["-iframework"], Group::System),
        (&["-iframeworkwithsysroot"], Group::System),
        (if is_cxx { &["-cxx-isystem"] } else { &[] }, Group::System),
    ];
    for (names, group) in passes {
        for option in given.iter().filter(|option| names.contains(&option.name)) {
            let mut dir = Named::new(clang_root(option, root)?, group);
            dir.framework = option.name.starts_with("-iframework");
            named.push(dir);
        }
    }
    Ok(named)
}

/// A folder of an option of clang, below the sysroot if the option or the value says so.
fn clang_root(option: &Given<'_>, root: Option<&[u8]>) -> Result<Vec<u8>, Punt> {
    let value = option.value;
    let wants = option.name.ends_with("withsysroot");
    match (root, value.strip_prefix(b"=")) {
        (Some(_), Some(_)) if option.name != "-I" => Err(Punt::new(
            "clang with a sysroot and a folder that starts with =",
        )),
        (Some(root), Some(rest)) if !root.ends_with(b"/") && rest.starts_with(b"/") => {
            Ok([root, rest].concat())
        }
        (Some(_), Some(_)) => Err(Punt::new("clang with an odd folder below a sysroot")),
        (Some(root), None) if wants && root != b"/" && value.starts_with(b"/") => {
            Ok([root, value].concat())
        }
        _ => Ok(value.to_vec()),
    }
}

/// The folders of a variable; an empty part is the working directory.
fn split_path(variable: &[u8]) -> Vec<Vec<u8>> {
    if variable.is_empty() {
        return Vec::new();
    }
    let parts = variable.split(|byte| *byte == b':');
    parts
        .map(|part| {
            if part.is_empty() {
                b".".to_vec()
            } else {
                part.to_vec()
            }
        })
        .collect()
}
