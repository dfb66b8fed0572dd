//! Which kin a compiler is of, told by its name. Nothing is run to find out.

use std::path::Path;

/// A compiler's kin: which options it knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// GNU
    Gcc,
    /// LLVM
    Clang,
}

/// The kin of a compiler by its base name: `gcc`, `g++-12`, `c99-gcc`, `aarch64-linux-gnu-gcc-12`, `clang++-14`…
/// `cc` and `c++` say nothing: resolve their links first.
pub fn family(program: &Path) -> Option<Family> {
    match without_version(program)?.rsplit('-').next()? {
        "gcc" | "g++" => Some(Family::Gcc),
        "clang" | "clang++" => Some(Family::Clang),
        _ => None,
    }
}

/// What may stand behind a compiler's name beside a version: mingw's thread models, and Debian's package of gcc's next version.
const SUFFIXES: [&str; 3] = ["win32", "posix", "snapshot"];

/// Whether a program of this name is a compiler of the C family, with a target or a library's name before it or not, and with
/// a version or the like behind it: `gcc`, `c++`, `clang-14`, `x86_64-linux-gnu-g++-12`, `avr-gcc`, `musl-gcc`,
/// `i686-w64-mingw32-g++-win32`, but not `gcc-ar` or `clang-format`.
pub fn is_compiler(name: &str) -> bool {
    let base = without_suffixes(name);
    match base.rsplit_once('-') {
        Some((before, tool)) => {
            let is_prefix = !before.is_empty() && !before.starts_with('-');
            is_prefix && matches!(tool, "cc" | "c++" | "gcc" | "g++" | "clang" | "clang++")
        }
        None => matches!(
            base,
            "cc" | "c++" | "c89" | "c99" | "gcc" | "g++" | "clang" | "clang++"
        ),
    }
}

/// What people put distcc before who mean the compiles below it.
const BUILDS: [&str; 6] = ["make", "gmake", "ninja", "cmake", "meson", "bazel"];

/// The name of a program that is no compiler, but known to run them.
pub fn build(program: &Path) -> Option<&'static str> {
    let name = program.file_name()?.to_str()?;
    BUILDS.into_iter().find(|build| *build == name)
}

fn without_version(program: &Path) -> Option<&str> {
    Some(without_suffixes(program.file_name()?.to_str()?))
}

/// Without all that tells one build of a compiler from another.
fn without_suffixes(name: &str) -> &str {
    let mut base = name;
    while let Some((rest, last)) = base.rsplit_once('-') {
        if !is_version(last) && !SUFFIXES.contains(&last) {
            break;
        }
        base = rest;
    }
    base
}

fn is_version(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_digit() || c == '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_by_name() {
        for name in [
            "gcc",
            "/usr/bin/g++-12",
            "c99-gcc",
            "x86_64-linux-gnu-gcc-12",
            "x86_64-w64-mingw32-gcc-12-win32",
            "gcc-4.9",
            "gcc-snapshot",
            "i686-w64-mingw32-g++-posix",
        ] {
            assert_eq!(family(Path::new(name)), Some(Family::Gcc), "{name}");
        }
        for name in ["clang", "clang++-14", "aarch64-linux-gnu-clang"] {
            assert_eq!(family(Path::new(name)), Some(Family::Clang), "{name}");
        }
        for name in ["cc", "c++", "gcc-ar", "clang-cl", "icc", "tcc", "/"] {
            assert_eq!(family(Path::new(name)), None, "{name}");
        }
    }

    #[test]
    fn builds_by_name() {
        assert_eq!(build(Path::new("/usr/bin/make")), Some("make"));
        for name in ["gcc", "make-gcc", "/", "cmake/gcc"] {
            assert_eq!(build(Path::new(name)), None, "{name}");
        }
    }

    #[test]
    fn names_of_compilers() {
        for name in [
            "cc",
            "c++",
            "g++-12",
            "clang-14",
            "x86_64-linux-gnu-gcc",
            "arm-none-eabi-g++-12.2",
            "c99-gcc",
            "avr-gcc",
            "musl-gcc",
            "musl-clang",
            "x86_64-w64-mingw32-gcc-posix",
            "i686-w64-mingw32-g++-win32",
            "x86_64-w64-mingw32-gcc-12-posix",
            "gcc-snapshot",
            "x86_64-pc-linux-musl-cc",
        ] {
            assert!(is_compiler(name), "{name}");
        }
        for name in [
            "gcc-ar",
            "gcc-nm-12",
            "gcc-ranlib",
            "x86_64-w64-mingw32-gcc-ar-posix",
            "clang-tidy-14",
            "clang-cpp-14",
            "c++-analyzer",
            "-gcc",
            "posix",
            "12",
            "clang-format",
            "x86_64-linux-gnu-gcc-ar-12",
            "ccache",
            "distcc",
            "c++filt",
        ] {
            assert!(!is_compiler(name), "{name}");
        }
    }
}
