//! Which locales are installed.

#![allow(unsafe_code)] // only libc can tell.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;

/// Whether programs can be told to use the locale of this name; the name must be no path.
pub fn is_installed(name: &OsStr) -> bool {
    let Ok(name) = CString::new(name.as_bytes()) else {
        return false;
    };
    // SAFETY: `name` ends with a zero, and a null pointer as a base stands for none.
    let locale = unsafe { libc::newlocale(libc::LC_ALL_MASK, name.as_ptr(), std::ptr::null_mut()) };
    if locale.is_null() {
        return false;
    }
    // SAFETY: it was just made, and nobody else has it.
    unsafe { libc::freelocale(locale) };
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_installed_is_known() {
        assert!(is_installed(OsStr::new("C")));
        assert!(!is_installed(OsStr::new("xx_YY.nowhere")));
        assert!(!is_installed(OsStr::new("C\0")));
    }
}
