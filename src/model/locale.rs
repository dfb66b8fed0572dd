//! The language and the characters of gcc's messages, as the environment asks for them: can a host say the same? clang has
//! one language. A host may lack the locale or its translations; what it lacks does not show in an object.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// How gcc speaks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Speech {
    /// As it does on every machine.
    Common,
    /// English with quotation marks of UTF-8, by these locales, where they are installed: `C.UTF-8` need not be, either.
    English(Vec<OsString>),
    /// In words that need not be installed elsewhere.
    Own,
}

/// What takes the place of English locales that a machine lacks.
pub const ENGLISH: &str = "C.UTF-8";

/// How gcc speaks by these variables.
pub fn speech(lookup: &dyn Fn(&str) -> Option<OsString>) -> Speech {
    let set = |name: &str| lookup(name).filter(|value| !value.is_empty());
    let named = |category: &str| {
        let mut names = ["LC_ALL", category, "LANG"].into_iter();
        names.find_map(set).unwrap_or_default()
    };
    let names = [named("LC_MESSAGES"), named("LC_CTYPE")];
    let mut installed: Vec<_> = names.into();
    installed.retain(|name| !matches!(name.as_bytes(), b"" | b"C" | b"POSIX"));
    if installed.is_empty() {
        return Speech::Common;
    }
    let languages = set("LANGUAGE").unwrap_or_default();
    let mut languages = languages.as_bytes().split(|byte| *byte == b':');
    let is_translated = languages
        .any(|language| !matches!(language, b"" | b"C" | b"en") && !language.starts_with(b"en_"));
    let is_known = |name: &[u8]| is_english(name) || matches!(name, b"C.UTF-8" | b"C.utf8");
    match !is_translated && installed.iter().all(|name| is_known(name.as_bytes())) {
        true => Speech::English(installed),
        false => Speech::Own,
    }
}

/// `en_XX.UTF-8`, in which gcc says what it says by [`ENGLISH`].
pub fn is_english(name: &[u8]) -> bool {
    let rest = name.strip_prefix(b"en_").unwrap_or_default();
    let (country, charset) = rest.split_at_checked(2).unwrap_or_default();
    country.iter().all(u8::is_ascii_uppercase) && matches!(charset, b".UTF-8" | b".utf8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_speak_english_everywhere() {
        let speech = |set: &[(&str, &str)]| {
            speech(&|name| {
                let found = set.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| OsString::from(value))
            })
        };
        for set in [
            &[][..],
            &[("LANG", "C"), ("LANGUAGE", "de")],
            &[("LC_ALL", "POSIX"), ("LANG", "de_DE.UTF-8")],
        ] {
            assert_eq!(speech(set), Speech::Common, "{set:?}");
        }
        let english = |names: &[&str]| Speech::English(names.iter().map(OsString::from).collect());
        let ubuntu = [("LANG", "en_US.UTF-8"), ("LANGUAGE", "en_US:en")];
        assert_eq!(speech(&ubuntu), english(&["en_US.UTF-8"; 2]));
        let mixed = [("LANG", "en_GB.utf8"), ("LC_MESSAGES", "C")];
        assert_eq!(speech(&mixed), english(&["en_GB.utf8"]));
        let everywhere = [("LC_ALL", "C.UTF-8"), ("LANG", "de_DE.UTF-8")];
        assert_eq!(speech(&everywhere), english(&["C.UTF-8"; 2]));
        let mixed = [("LC_MESSAGES", "C"), ("LC_CTYPE", "C.utf8")];
        assert_eq!(
            speech(&mixed),
            english(&["C.utf8"]),
            "which old machines lack"
        );
        for set in [
            &[("LANG", "de_DE.UTF-8")][..],
            &[("LC_ALL", "en_US")],
            &[("LC_ALL", "en_US.ISO-8859-1")],
            &[("LC_ALL", "en_US.UTF-8"), ("LANGUAGE", "en:de")],
            &[("LC_ALL", "C.UTF-8"), ("LANGUAGE", "de")],
            &[("LC_ALL", "en_US.UTF-8@x")],
        ] {
            assert_eq!(speech(set), Speech::Own, "{set:?}");
        }
        assert!(
            !is_english(b"../en_US.UTF-8")
                && !is_english(b"en_.UTF-8")
                && is_english(b"en_US.utf8")
        );
    }
}
