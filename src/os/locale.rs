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
        // The C library writes the charset so.
        let (place, charset) = match memchr::memchr(b'.', name) {
            Some(at) => name.split_at(at + 1),
            None => (name, &b""[..]),
        };
        let charset = charset.iter().filter(|byte| byte.is_ascii_alphanumeric());
        let usual: Vec<u8> = place
            .iter()
            .copied()
            .chain(charset.map(u8::to_ascii_lowercase))
            .collect();
        let has_folder = Path::new(FOLDER)
            .join(OsStr::from_bytes(&usual))
            .join("LC_CTYPE")
            .is_file();
        has_folder || archive_names(&usual)
    }

    fn archive_names(name: &[u8]) -> bool {
        let Ok(archive) = fs::read(Path::new(FOLDER).join("locale-archive")) else {
            return false;
        };
        let name = [b"\0", name, b"\0"].concat();
        memchr::memmem::find(&archive, &name).is_some()
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
}
