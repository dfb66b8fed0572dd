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

/// Whether a program of this name is a compiler of the C family: `gcc`, `c++`, `clang-14`, `x86_64-linux-gnu-g++-12`, but
/// not `gcc-ar` or `clang-format`.
pub fn is_compiler(name: &str) -> bool {
    let base = match name.rsplit_once('-') {
        Some((base, version)) if is_version(version) => base,
        _ => name,
    };
    match base.rsplit_once('-') {
        // A target has at least two parts: `c89-gcc` has not, but is known as a whole.
        Some((target, tool)) if target.contains('-') => {
            matches!(tool, "gcc" | "g++" | "clang" | "clang++")
        }
        Some(_) => matches!(base, "c89-gcc" | "c99-gcc"),
        None => matches!(
            base,
            "cc" | "c++" | "c89" | "c99" | "gcc" | "g++" | "clang" | "clang++"
        ),
    }
}

fn without_version(program: &Path) -> Option<&str> {
    let mut base = program.file_name()?.to_str()?;
    for thread_model in ["-win32", "-posix"] {
        base = base.strip_suffix(thread_model).unwrap_or(base);
    }
    Some(match base.rsplit_once('-') {
        Some((name, version)) if is_version(version) => name,
        _ => base,
    })
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
    fn names_of_compilers() {
        for name in [
            "cc",
            "c++",
            "g++-12",
            "clang-14",
            "x86_64-linux-gnu-gcc",
            "arm-none-eabi-g++-12.2",
            "c99-gcc",
        ] {
            assert!(is_compiler(name), "{name}");
        }
        for name in [
            "gcc-ar",
            "gcc-nm-12",
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
