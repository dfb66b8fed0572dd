//! Which locales are installed.

#[cfg(target_env = "gnu")]
pub use gnu::is_installed;
#[cfg(not(target_env = "gnu"))]
pub use other::is_installed;

#[cfg(target_env = "gnu")]
#[allow(unsafe_code)] // only libc can tell.
mod gnu {
    use std::ffi::{CString, OsStr};
    use std::os::unix::ffi::OsStrExt;

    /// Whether programs can be told to use the locale of this name; the name must be no path.
    pub fn is_installed(name: &OsStr) -> bool {
        let Ok(name) = CString::new(name.as_bytes()) else {
            return false;
        };
        // SAFETY: `name` ends with a zero, and a null pointer as a base stands for none.
        let locale =
            unsafe { libc::newlocale(libc::LC_ALL_MASK, name.as_ptr(), std::ptr::null_mut()) };
        if locale.is_null() {
            return false;
        }
        // SAFETY: it was just made, and nobody else has it.
        unsafe { libc::freelocale(locale) };
        true
    }
}

#[cfg(any(not(target_env = "gnu"), test))]
#[cfg_attr(target_env = "gnu", allow(dead_code))]
mod other {
    use std::env;
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    /// Where the compilers' C library, which need not be this program's, has its locales.
    const FOLDER: &str = "/usr/lib/locale";

    /// As the other, for all that can be seen: folders of that name, and names in the archive. What is anywhere else is not seen.
    pub fn is_installed(name: &OsStr) -> bool {
        let name = name.as_bytes();
        if matches!(name, b"C" | b"POSIX") {
            return true;
        }
        let is_plain =
            |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        if name.is_empty() || !name.iter().all(is_plain) || env::var_os("LOCPATH").is_some() {
            return false;
        }
        let name = as_installed(name);
        let has_folder = Path::new(FOLDER)
            .join(OsStr::from_bytes(&name))
            .join("LC_CTYPE")
            .is_file();
        has_folder
            || fs::read(Path::new(FOLDER).join("locale-archive"))
                .is_ok_and(|archive| is_in_archive(&archive, &name))
    }

    /// The name as the C library writes it: the charset in small letters and digits.
    pub(super) fn as_installed(name: &[u8]) -> Vec<u8> {
        let (place, charset) = match memchr::memchr(b'.', name) {
            Some(at) => name.split_at(at + 1),
            None => (name, &b""[..]),
        };
        let charset = charset.iter().filter(|byte| byte.is_ascii_alphanumeric());
        let charset = charset.map(u8::to_ascii_lowercase);
        place.iter().copied().chain(charset).collect()
    }

    /// Whether an archive of locales has this name in it.
    pub(super) fn is_in_archive(archive: &[u8], name: &[u8]) -> bool {
        let name = [b"\0", name, b"\0"].concat();
        memchr::memmem::find(archive, &name).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    #[test]
    fn what_is_installed_is_known() {
        for is_installed in [is_installed, other::is_installed] {
            assert!(is_installed(OsStr::new("C")));
            assert!(!is_installed(OsStr::new("xx_YY.nowhere")));
            assert!(!is_installed(OsStr::new("C\0")));
            assert!(!is_installed(OsStr::new("../../../etc")));
        }
        for name in ["C.UTF-8", "C.utf8", "en_US.UTF-8", "de_DE.UTF-8"].map(OsStr::new) {
            assert!(is_installed(name) || !other::is_installed(name), "{name:?}");
        }
    }

    #[test]
    fn names_are_found_in_an_archive() {
        let archive = b"x\0C.utf8\0en_US.utf8\0de_DE.iso885915@euro\0";
        for (name, expected) in [
            ("en_US.UTF-8", true),
            ("en_US.utf8", true),
            ("C.UTF-8", true),
            ("de_DE.ISO-8859-15", false),
            ("n_US.UTF-8", false),
            ("en_US", false),
            ("de_DE.UTF-8", false),
        ] {
            let name_there = other::as_installed(name.as_bytes());
            let found = other::is_in_archive(archive, &name_there);
            assert_eq!(found, expected, "{name}");
        }
    }
}
