//! What file names and language names say: source extensions, `-x` values, and their preprocessed forms.
//! Nothing else in the crate looks at an extension.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The languages that can be compiled elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Language {
    /// C
    C,
    /// C++
    Cxx,
    /// Objective-C
    ObjC,
    /// Objective-C++
    ObjCxx,
}

/// A language, and whether the text has already been through the preprocessor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SourceKind {
    /// What the compiler proper is to read.
    pub language: Language,
    /// No `#include` or macro is left to expand.
    pub preprocessed: bool,
}

impl Language {
    /// The suffix, with its dot, by which compilers know preprocessed text of this language.
    pub fn preprocessed_suffix(self) -> &'static str {
        match self {
            Language::C => ".i",
            Language::Cxx => ".ii",
            Language::ObjC => ".mi",
            Language::ObjCxx => ".mii",
        }
    }

    /// The value of `-x` for source text that the preprocessor is still to see.
    pub fn option_value(self) -> &'static str {
        match self {
            Language::C => "c",
            Language::Cxx => "c++",
            Language::ObjC => "objective-c",
            Language::ObjCxx => "objective-c++",
        }
    }

    /// The value of `-x` for preprocessed text; gcc and clang agree on these.
    pub fn preprocessed_option_value(self) -> &'static str {
        match self {
            Language::C => "cpp-output",
            Language::Cxx => "c++-cpp-output",
            Language::ObjC => "objective-c-cpp-output",
            Language::ObjCxx => "objective-c++-cpp-output",
        }
    }
}

/// What a file name says by its extension, or None if it is no source that can be compiled elsewhere.
/// The extension starts at the last dot of the base name; case matters.
pub fn kind_of_name(name: &[u8]) -> Option<SourceKind> {
    let extension = extension(name)?;
    let (language, preprocessed) = match extension {
        b"c" => (Language::C, false),
        b"i" => (Language::C, true),
        b"cc" | b"cpp" | b"CPP" | b"cxx" | b"cp" | b"c++" | b"C" => (Language::Cxx, false),
        b"ii" => (Language::Cxx, true),
        b"m" => (Language::ObjC, false),
        b"mi" => (Language::ObjC, true),
        b"mm" | b"M" => (Language::ObjCxx, false),
        b"mii" => (Language::ObjCxx, true),
        _ => return None,
    };
    Some(SourceKind {
        language,
        preprocessed,
    })
}

/// The same for a path; for the question "is this word a source file or a compiler?".
pub fn language_of(path: &Path) -> Option<SourceKind> {
    kind_of_name(path.as_os_str().as_bytes())
}

/// Whether daemons and include servers of stock's take a file of this name for a source.
pub fn is_known_to_stock(path: &Path) -> bool {
    let name = path.as_os_str().as_bytes();
    kind_of_name(name).is_some() && extension(name) != Some(b"CPP")
}

/// Whether a file name says that it holds assembler text, with or without work for a preprocessor.
pub fn is_assembler(name: &[u8]) -> bool {
    matches!(extension(name), Some(b"s" | b"S" | b"sx"))
}

/// The language that a value of `-x` names; None for all that can't be compiled elsewhere
/// (headers, assembler, CUDA…). `none`, which returns to extensions, is the caller's business.
pub fn kind_of_option_value(value: &[u8]) -> Option<SourceKind> {
    let (language, preprocessed) = match value {
        b"c" => (Language::C, false),
        b"cpp-output" => (Language::C, true),
        b"c++" => (Language::Cxx, false),
        b"c++-cpp-output" => (Language::Cxx, true),
        b"objective-c" => (Language::ObjC, false),
        b"objective-c-cpp-output" | b"objc-cpp-output" => (Language::ObjC, true),
        b"objective-c++" => (Language::ObjCxx, false),
        b"objective-c++-cpp-output" | b"objc++-cpp-output" => (Language::ObjCxx, true),
        _ => return None,
    };
    Some(SourceKind {
        language,
        preprocessed,
    })
}

/// What the driver makes of a source: `g++` and `clang++` compile `.c` and `.i` as C++ (tried: gcc 12, clang 14).
pub fn as_seen_by(driver: &OsStr, kind: SourceKind) -> SourceKind {
    if kind.language == Language::C && is_cxx_driver(driver.as_bytes()) {
        SourceKind {
            language: Language::Cxx,
            ..kind
        }
    } else {
        kind
    }
}

/// Does the base name end in `++`, but for a version: `g++`, `x86_64-linux-gnu-g++-12`, `clang++-14`, `c++`.
fn is_cxx_driver(program: &[u8]) -> bool {
    let is_version = |byte: &u8| byte.is_ascii_digit() || *byte == b'.' || *byte == b'-';
    let mut name = base_name(program);
    while let Some((last, rest)) = name.split_last() {
        if !is_version(last) {
            break;
        }
        name = rest;
    }
    name.ends_with(b"++")
}

/// The part after the last slash.
pub fn base_name(name: &[u8]) -> &[u8] {
    match name.iter().rposition(|byte| *byte == b'/') {
        Some(at) => &name[at + 1..],
        None => name,
    }
}

/// The text after the last dot of the base name; None if there is no dot or nothing before or after it.
fn extension(name: &[u8]) -> Option<&[u8]> {
    let base = base_name(name);
    let at = base.iter().rposition(|byte| *byte == b'.')?;
    (at > 0 && at + 1 < base.len()).then(|| &base[at + 1..])
}

/// Where the driver puts its result if it is not told: the source's base name in the working directory,
/// its extension replaced by `.o`, or `.s` with `-S`. None if the base name's only dot is in front: gcc and clang don't agree.
pub fn default_output(input: &[u8], assembly: bool) -> Option<Vec<u8>> {
    let base = base_name(input);
    let stem = match base.iter().rposition(|byte| *byte == b'.') {
        Some(0) => return None,
        Some(at) => &base[..at],
        None => base,
    };
    let mut output = stem.to_vec();
    output.extend_from_slice(if assembly { b".s" } else { b".o" });
    Some(output)
}

/// Whether that is a source of autoconf's configure: tiny, many, and about *this* machine.
pub fn is_probe(name: &[u8]) -> bool {
    let base = base_name(name);
    base.starts_with(b"conftest.") || base.starts_with(b"tmp.conftest.")
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn extensions_name_languages() {
        for (name, expected) in [
            ("hello.c", Some((Language::C, false))),
            ("a.b/x.i", Some((Language::C, true))),
            ("x.c++", Some((Language::Cxx, false))),
            ("x.C", Some((Language::Cxx, false))),
            ("x.ii", Some((Language::Cxx, true))),
            ("x.m", Some((Language::ObjC, false))),
            ("x.mi", Some((Language::ObjC, true))),
            ("x.M", Some((Language::ObjCxx, false))),
            ("x.mii", Some((Language::ObjCxx, true))),
            ("x.s", None),
            ("x.S", None),
            ("x.CC", None),
            ("x.cu", None),
            (".c", None),
            ("d/.c", None),
            ("x.", None),
            ("x", None),
            ("a.c/x", None),
            ("", None),
        ] {
            let kind = kind_of_name(name.as_bytes()).map(|kind| (kind.language, kind.preprocessed));
            assert_eq!(kind, expected, "{name}");
        }
    }

    #[test]
    fn cxx_drivers_read_c_as_cxx() {
        let c = kind_of_name(b"x.c").expect("a source");
        for (driver, language) in [
            ("g++", Language::Cxx),
            ("/usr/bin/x86_64-linux-gnu-g++-12", Language::Cxx),
            ("clang++-14", Language::Cxx),
            ("c++", Language::Cxx),
            ("gcc", Language::C),
            ("clang-14", Language::C),
        ] {
            assert_eq!(
                as_seen_by(OsStr::new(driver), c).language,
                language,
                "{driver}"
            );
        }
    }

    #[test]
    fn default_outputs_are_those_of_the_driver() {
        let named = |input, assembly| default_output(input, assembly).unwrap_or_default();
        assert_eq!(named(b"d/hello.c", false), b"hello.o");
        assert_eq!(named(b"d/a.b.cc", true), b"a.b.s");
        assert_eq!(named(b"d.x/noext", false), b"noext.o");
        assert_eq!(default_output(b"d/.c", false), None);
    }

    #[test]
    fn option_values_are_read_back() {
        for language in [Language::C, Language::Cxx, Language::ObjC, Language::ObjCxx] {
            for (value, preprocessed) in [
                (language.option_value(), false),
                (language.preprocessed_option_value(), true),
            ] {
                let kind = kind_of_option_value(value.as_bytes()).expect("known");
                assert_eq!((kind.language, kind.preprocessed), (language, preprocessed));
            }
            let name = format!("x{}", language.preprocessed_suffix());
            let kind = kind_of_name(name.as_bytes()).expect("known");
            assert_eq!((kind.language, kind.preprocessed), (language, true));
        }
    }
}
