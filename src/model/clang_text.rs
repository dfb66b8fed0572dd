//! Text for clang: whether `-frewrite-includes` keeps all that shows in the object, and what is to be put right in it. All of
//! it was found by trying (clang 14).

use super::invocation::{Invocation, Reason, Role};
use super::sources::{self, Language};
use memchr::memmem;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// What `-frewrite-includes` puts before a directive that it has done.
pub(super) const REWRITTEN: &[u8] = b"#if 0 /* expanded by -frewrite-includes */";

/// Why a compile by clang stays here, whatever way it would go: what gcc is asked for by the same word leaves less.
pub fn keeps_local(invocation: &Invocation) -> Option<Reason> {
    if has(invocation, |word| {
        word.starts_with(b"-frecord-gcc-switches")
    }) {
        return Some(Reason::new(
            "clang's driver records its own words, and a host is told others",
        ));
    }
    let asks = words(invocation).rfind(|word| {
        matches!(
            *word,
            b"-grecord-gcc-switches" | b"-gno-record-gcc-switches"
        )
    });
    (invocation.debug_info && asks == Some(b"-grecord-gcc-switches")).then(|| {
        Reason::new("-grecord-gcc-switches has clang put all its options into debug information")
    })
}

/// Whether macros have to be expanded here, too, or the reason why no text is exact.
pub fn must_be_expanded(invocation: &Invocation) -> Result<bool, Reason> {
    if let Some(why) = keeps_local(invocation) {
        return Err(why);
    }
    if has(invocation, |word| word.starts_with(b"-Rpass")) {
        return Err(Reason::new(
            "remarks show columns, which preprocessed text does not keep",
        ));
    }
    if matches!(invocation.language, Language::ObjC | Language::ObjCxx) {
        return Err(Reason::new(
            "clang puts the name of the file into Objective-C objects",
        ));
    }
    if invocation.debug_info && !old_dwarf(invocation) {
        return Err(Reason::new(
            "clang's DWARF 5 holds checksums of the sources (-gdwarf-4 does not)",
        ));
    }
    if invocation.roles.contains(&Role::Preprocess)
        || has(invocation, |word| {
            word == b"-undef"
                || word == b"-fdebug-macro"
                || word.starts_with(b"-fmacro-prefix-map=")
                || word.starts_with(b"-ffile-prefix-map=")
        })
    {
        return Err(Reason::new(
            "an option means something else for clang's preprocessed text",
        ));
    }
    if !includes_by_option(invocation) {
        return Ok(false);
    }
    // -frewrite-includes leaves out what -include names.
    if invocation.debug_info || has(invocation, |word| word.starts_with(b"-fsanitize=")) {
        return Err(Reason::new(
            "clang can't keep both columns and -include in preprocessed text",
        ));
    }
    if has(invocation, |word| {
        word == b"-Weverything"
            || word.starts_with(b"-Wdocumentation")
            || word.starts_with(b"-Werror=documentation")
    }) {
        return Err(Reason::new(
            "clang can't keep both comments and -include in preprocessed text",
        ));
    }
    Ok(true)
}

/// Why clang would make or say something else of a source's text, by the way the command names it.
pub fn keeps_source(invocation: &Invocation) -> Result<(), Reason> {
    let name = invocation.input.as_os_str().as_bytes();
    if invocation.debug_info && (name.starts_with(b"./") || memmem::find(name, b"//").is_some()) {
        return Err(Reason::new(
            "clang's debug information spells the source's name otherwise",
        ));
    }
    let by_name = sources::language_of(&invocation.input).map(|kind| kind.language);
    match invocation.explicit_language || by_name == Some(invocation.language) {
        true => Ok(()),
        false => Err(Reason::new("clang++ warns that it takes C for C++")),
    }
}

/// Is DWARF 4 or older asked for, or the default of this clang?
pub fn old_dwarf(invocation: &Invocation) -> bool {
    let mut asked = words(invocation).filter_map(|word| word.strip_prefix(b"-gdwarf-"));
    match asked.next_back() {
        Some(version) => matches!(version, b"2" | b"3" | b"4"),
        None => {
            let program = invocation
                .argv
                .first()
                .map(Path::new)
                .and_then(Path::file_name);
            let version = program
                .and_then(OsStr::to_str)
                .and_then(|name| name.rsplit('-').next());
            let major = version.and_then(|version| version.split('.').next()?.parse::<u32>().ok());
            major.is_some_and(|major| major < 14)
        }
    }
}

/// `-D` and `-U` as the lines that clang itself makes of them.
pub fn macros(invocation: &Invocation) -> Result<Vec<u8>, Reason> {
    let mut lines = Vec::new();
    let defines = invocation.argv.iter().zip(&invocation.roles);
    let mut defines = defines
        .filter(|(_, role)| **role == Role::Define)
        .map(|(word, _)| word.as_bytes());
    while let Some(word) = defines.next() {
        let (option, joined) = word.split_at_checked(2).unwrap_or((word, b""));
        let value = if joined.is_empty() {
            defines.next().unwrap_or_default()
        } else {
            joined
        };
        if value.contains(&b'\n') {
            return Err(Reason::new("a macro with a line break"));
        }
        if option == b"-U" {
            lines.extend([b"#undef ", value, b"\n"].concat());
            continue;
        }
        let (name, body) = match value.iter().position(|&byte| byte == b'=') {
            Some(at) => (&value[..at], &value[at + 1..]),
            None => (value, &b"1"[..]),
        };
        lines.extend([b"#define ", name, b" ", body, b"\n"].concat());
    }
    Ok(lines)
}

fn includes_by_option(invocation: &Invocation) -> bool {
    invocation
        .argv
        .iter()
        .zip(&invocation.roles)
        .any(|(word, role)| {
            let word = word.as_bytes();
            *role == Role::Include
                && (word.starts_with(b"-include") || word.starts_with(b"-imacros"))
        })
}

/// The words of the compiler proper.
pub(super) fn words(invocation: &Invocation) -> impl DoubleEndedIterator<Item = &[u8]> {
    let pairs = invocation.argv.iter().zip(&invocation.roles);
    pairs
        .filter(|(_, role)| **role == Role::Code)
        .map(|(word, _)| word.as_bytes())
}

fn has(invocation: &Invocation, test: impl Fn(&[u8]) -> bool) -> bool {
    words(invocation).any(test)
}

/// Names under which clang met files, and others under which it may have looked for them once more, as they are spelled:
/// `d/h.h` and `d/./h.h` are two.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Names {
    /// The files whose text is there, the source among them.
    pub read: BTreeSet<OsString>,
    /// Files that were looked for, if they are there, but not read again.
    pub looked_for: BTreeSet<OsString>,
}

/// The names in a text that `-frewrite-includes` made. Debug information has the last name under which a file was looked
/// for, also if it was not read then (`#pragma once`): if that is not the name under which it was read, the text does not
/// tell. `None` if an include's name can't be seen in it.
pub fn names(text: &[u8], invocation: &Invocation) -> Option<Names> {
    let mut names = Names::default();
    let mut seen = BTreeMap::new();
    let folders = folders(invocation);
    let mut at = Path::new("");
    let mut lines = text.split(|byte| *byte == b'\n');
    while let Some(line) = lines.next() {
        if let Some(name) = marker(line) {
            at = name;
            names.read.insert(name.into());
        }
        let mut includes = asked_for(line)?;
        if line == REWRITTEN {
            if let Some(include) = lines.next().filter(|line| is_include(line)) {
                match spelled(include) {
                    Some(include) => includes.push(include),
                    // In a group that is skipped, or there would be an error.
                    None if !may_be_defined(asked_by(include), text, invocation) => {}
                    None => return None,
                }
            }
        }
        for (quoted, name) in includes {
            *seen.entry(name.file_name()).or_insert(0) += 1;
            let own = quoted.then(|| folder_of(at));
            for folder in own.into_iter().chain(folders.iter().map(PathBuf::as_path)) {
                let path = match folder.as_os_str().is_empty() {
                    true => Path::new(".").join(name),
                    false => folder.join(name),
                };
                names.looked_for.insert(path.into());
            }
        }
    }
    // A system's folder is not known here; what was read there by a detour may be looked for again without.
    let hidden = names.read.iter().map(Path::new).any(|path| {
        let is_detour = path.components().any(|part| part == Component::ParentDir);
        let count = seen.get(&path.file_name()).copied().unwrap_or(0);
        path.is_absolute() && is_detour && count > 1
    });
    (!hidden).then_some(names)
}

/// The folder of a file, as it is spelled.
fn folder_of(file: &Path) -> &Path {
    let name = file.as_os_str().as_bytes();
    let end = memchr::memrchr(b'/', name).unwrap_or(0);
    Path::new(OsStr::from_bytes(name.get(..end).unwrap_or_default()))
}

/// The names that a line asks for with `__has_include`. `None` if it is a directive that asks for one made of macros.
fn asked_for(line: &[u8]) -> Option<Vec<(bool, &Path)>> {
    const ASKS: &[u8] = b"__has_include";
    let mut names = Vec::new();
    let mut rest = line;
    while let Some(at) = memmem::find(rest, ASKS) {
        rest = rest.get(at + ASKS.len()..)?;
        let value = rest
            .strip_prefix(b"_next")
            .unwrap_or(rest)
            .trim_ascii_start();
        let Some(value) = value.strip_prefix(b"(") else {
            continue;
        };
        match value.trim_ascii_start().first() {
            Some(b'"' | b'<') => names.push(spelled(value)?),
            _ if line.trim_ascii_start().starts_with(b"#") => return None,
            _ => {}
        }
    }
    Some(names)
}

/// `# 12 "NAME" …`, but for names that are no files.
fn marker(line: &[u8]) -> Option<&Path> {
    let rest = line.strip_prefix(b"# ")?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let name = rest.get(digits..)?.strip_prefix(b" \"")?;
    let name = name.get(..memchr::memrchr(b'"', name)?)?;
    (digits > 0 && !name.starts_with(b"<")).then(|| Path::new(OsStr::from_bytes(name)))
}

pub(super) fn is_include(line: &[u8]) -> bool {
    let word = line.trim_ascii_start().strip_prefix(b"#");
    let word = word.map(<[u8]>::trim_ascii_start).unwrap_or_default();
    word.starts_with(b"include") || word.starts_with(b"import")
}

/// The macro that an include is made of.
fn asked_by(include: &[u8]) -> &[u8] {
    let word = include.trim_ascii_start().strip_prefix(b"#");
    let word = word.map(<[u8]>::trim_ascii_start).unwrap_or_default();
    let after = word
        .iter()
        .position(|byte| !byte.is_ascii_alphabetic() && *byte != b'_');
    let rest = after.and_then(|at| word.get(at..)).unwrap_or_default();
    identifier(rest.trim_ascii_start())
}

fn identifier(text: &[u8]) -> &[u8] {
    let end = text
        .iter()
        .position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_');
    end.and_then(|end| text.get(..end)).unwrap_or(text)
}

/// Whether a macro of this name may be defined somewhere: in the text, by the command, or by the compiler itself.
fn may_be_defined(name: &[u8], text: &[u8], invocation: &Invocation) -> bool {
    let is_plain = !name.is_empty() && !name.starts_with(b"_");
    let defines = invocation.argv.iter().zip(&invocation.roles);
    let by_command = defines
        .filter(|(_, role)| **role == Role::Define)
        .any(|(word, _)| memmem::find(word.as_bytes(), name).is_some());
    let by_line = |line: &[u8]| {
        let word = line.trim_ascii_start().strip_prefix(b"#");
        let defined = word.and_then(|word| word.trim_ascii_start().strip_prefix(b"define"));
        // A comment or the end of the line may stand before the name.
        defined.is_some_and(|rest| {
            let rest = rest.trim_ascii_start();
            matches!(rest.first(), Some(b'\\' | b'/')) || identifier(rest) == name
        })
    };
    !is_plain || by_command || text.split(|byte| *byte == b'\n').any(by_line)
}

/// The name of an include, and whether it stands between quotation marks; none if it is a macro.
fn spelled(line: &[u8]) -> Option<(bool, &Path)> {
    let start = line.iter().position(|byte| matches!(byte, b'"' | b'<'))?;
    let quoted = line.get(start) == Some(&b'"');
    let rest = line.get(start + 1..)?;
    let end = memchr::memchr(if quoted { b'"' } else { b'>' }, rest)?;
    Some((quoted, Path::new(OsStr::from_bytes(rest.get(..end)?))))
}

/// All folders that the command names for headers.
fn folders(invocation: &Invocation) -> Vec<PathBuf> {
    const OPTIONS: [&[u8]; 6] = [
        b"-iquote",
        b"-isystem",
        b"-idirafter",
        b"-cxx-isystem",
        b"-I",
        b"-F",
    ];
    let pairs = invocation.argv.iter().zip(&invocation.roles);
    let includes = pairs.filter(|(_, role)| **role == Role::Include);
    let folders = includes.map(|(word, _)| {
        let word = word.as_bytes();
        let value = OPTIONS.iter().find_map(|option| word.strip_prefix(*option));
        // A value that is a word of its own is a folder as it stands; an option alone gives the empty one.
        PathBuf::from(OsStr::from_bytes(value.unwrap_or(word)))
    });
    folders
        .filter(|folder| !folder.as_os_str().is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::testing::invocation;

    #[test]
    fn what_shows_the_hosts_words_stays() {
        for (command, stays) in [
            ("clang -g -c a.c", false),
            ("clang -g -grecord-gcc-switches -c a.c", true),
            (
                "clang -g -grecord-gcc-switches -gno-record-gcc-switches -c a.c",
                false,
            ),
            (
                "clang -g -grecord-gcc-switches -fno-record-gcc-switches -c a.c",
                true,
            ),
            ("cc -frecord-gcc-switches -c a.c", true),
        ] {
            let kept = keeps_local(&invocation(command));
            assert_eq!(kept.is_some(), stays, "{command}: {kept:?}");
        }
    }

    #[test]
    fn names_are_those_that_were_read_and_looked_for() {
        let text = b"# 1 \"<built-in>\"\n# 1 \"d/a.c\"\n\
            #if 0 /* expanded by -frewrite-includes */\n#include \"h.h\"\n\
            #endif /* expanded by -frewrite-includes */\n# 1 \"d/./h.h\" 1\nint a;\n\
            #if 0 /* expanded by -frewrite-includes */\n#pragma once\n\
            #endif /* expanded by -frewrite-includes */\n# 2 \"d/a.c\" 2\n\
            #if 0 /* expanded by -frewrite-includes */\n # include <s/../h.h>\n\
            #endif /* expanded by -frewrite-includes */\n";
        let names = names(text, &invocation("clang -Iinc -isystem sys -c d/a.c")).unwrap();
        let sorted = |set: &BTreeSet<OsString>| -> Vec<String> {
            set.iter()
                .map(|name| name.to_string_lossy().into_owned())
                .collect()
        };
        assert_eq!(sorted(&names.read), ["d/./h.h", "d/a.c"]);
        let looked = sorted(&names.looked_for);
        let mut expected = [
            "d/h.h",
            "inc/h.h",
            "inc/s/../h.h",
            "sys/h.h",
            "sys/s/../h.h",
        ]
        .to_vec();
        expected.sort_unstable();
        let mut looked: Vec<&str> = looked.iter().map(String::as_str).collect();
        looked.sort_unstable();
        assert_eq!(looked, expected);
    }

    #[test]
    fn names_that_cannot_be_seen_are_no_names() {
        let command = invocation("clang -c a.c");
        let head = "#if 0 /* expanded by -frewrite-includes */\n";
        for line in [
            "#include MACRO\n#define MACRO <x.h>",
            "#import X(y)\n # define /**/ X(y) <y>",
            "#include X\n#define \\\nX <y>",
            "#include __FILE__",
            "#include \"x",
        ] {
            assert_eq!(
                names(format!("{head}{line}\n").as_bytes(), &command),
                None,
                "{line}"
            );
        }
        // What nobody defines can only stand where it is skipped.
        let skipped = format!("#ifdef MACRO\n{head}#include MACRO\n#endif\n#define MACROS\n");
        assert!(names(skipped.as_bytes(), &command).is_some());
        let defined = invocation("clang -DMACRO=<x.h> -c a.c");
        assert_eq!(names(skipped.as_bytes(), &defined), None);
        assert_eq!(names(b"#if __has_include(X)\n", &command), None);
        for line in ["int a; // __has_include(X)\n", "#ifdef __has_include\n"] {
            assert_eq!(
                names(line.as_bytes(), &command),
                Some(Names::default()),
                "{line}"
            );
        }
        let asks = b"# 1 \"d/a.c\"\n#if __has_include(<x.h>) || __has_include ( \"y.h\" )\n";
        let asked = names(asks, &invocation("clang -Ii -c d/a.c"))
            .unwrap()
            .looked_for;
        let expected = ["d/y.h", "i/x.h", "i/y.h"].map(OsString::from);
        assert_eq!(asked, BTreeSet::from(expected));
        let twice =
            b"# 1 \"/s/a/../x.h\" 1\n#if __has_include(<x.h>) || __has_include(\"../x.h\")\n";
        assert_eq!(names(twice, &command), None);
    }

    #[test]
    fn options_that_show_keep_a_compile_here() {
        for (command, expected) in [
            ("clang -O2 -c x.c", Ok(false)),
            ("clang -include h.h -c x.c", Ok(true)),
            (
                "clang -g -gdwarf-4 -gno-record-gcc-switches -c x.c",
                Ok(false),
            ),
        ] {
            assert_eq!(
                must_be_expanded(&invocation(command)),
                expected,
                "{command}"
            );
        }
        for command in [
            "clang -g -gdwarf-4 -grecord-gcc-switches -c x.c",
            "clang -Rpass=inline -O2 -c x.c",
            "clang --system-header-prefix=a -c x.c",
            "clang -g -c x.c",
            "clang -g -gdwarf-4 -include h.h -c x.c",
        ] {
            assert!(must_be_expanded(&invocation(command)).is_err(), "{command}");
        }
    }
}
