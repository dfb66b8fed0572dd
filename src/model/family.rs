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
}
