//! Pump mode's words: what a server is asked to run when it preprocesses itself, and which commands a daemon of stock's
//! would not run as a compiler here does, though it can be sent them.

use super::clang_text;
use super::compiler_options::Why;
use super::dependencies;
use super::family::Family;
use super::invocation::{Invocation, Reason, Role};
use super::search_variables;
use super::sources;
use super::stock_limits;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// Variables that show in an object if a source asks for the date, and that stock's daemon does not see.
const UNSEEN_BY_STOCK: [&str; 2] = ["SOURCE_DATE_EPOCH", "TZ"];

/// The server's command; word 0 is the program as the user named it. `color` says that messages go to a terminal that
/// can show it, `lookup` reads the environment.
pub fn server_words(
    invocation: &Invocation,
    family: Option<Family>,
    color: bool,
    lookup: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Vec<OsString>, Reason> {
    if invocation.preprocessed {
        return Err(Reason::new("it is preprocessed already"));
    }
    if let Some(why) = clang_text::keeps_local(invocation).filter(|_| family == Some(Family::Clang))
    {
        return Err(why);
    }
    let mut words = Vec::with_capacity(invocation.argv.len() + 8);
    // The name of the output is part of those of files beside it, and makes a difference even if it is the same.
    // Old versions of gcc record every word.
    let mut options = invocation.argv.iter().zip(&invocation.roles);
    let recorded = options.find(|(word, role)| **role == Role::Code && records(word.as_bytes()));
    let adds_output = invocation.output_given || invocation.sides.is_none() && recorded.is_none();
    let mut more = Vec::new();
    for (word, role) in invocation.argv.iter().zip(&invocation.roles) {
        match role {
            Role::Output if !adds_output => {}
            Role::Dependency => {}
            Role::Language => words.extend(language_words(word)),
            _ => words.push(word.clone()),
        }
    }
    if color && family.is_some() && !invocation.says_color() {
        more.push("-fdiagnostics-color=always".into());
    }
    let wp_target = family == Some(Family::Gcc);
    more.extend(dependencies::server_words(invocation, wp_target)?);
    more.extend(search_variables::words(invocation, family, lookup)?);
    match recorded {
        Some((word, _)) if !more.is_empty() => {
            Err(Reason::Option(word.to_string_lossy().into(), Why::Records))
        }
        _ => {
            words.append(&mut more);
            Ok(words)
        }
    }
}

fn records(word: &[u8]) -> bool {
    let heads: [&[u8]; 3] = [
        b"-fembed-bitcode",
        b"-frecord-gcc-switches",
        b"-fverbose-asm",
    ];
    heads.iter().any(|head| word.starts_with(head))
}

/// `-xc` as two words: stock's daemon refuses it as one.
fn language_words(word: &OsStr) -> Vec<OsString> {
    match word.as_bytes().strip_prefix(b"-x") {
        Some(language) if !language.is_empty() => {
            vec!["-x".into(), OsStr::from_bytes(language).to_owned()]
        }
        _ => vec![word.to_owned()],
    }
}

/// Why a daemon of stock's would not give what a compile here gives, whatever files it is sent.
pub fn stock_differs(
    invocation: &Invocation,
    cwd: &[u8],
    lookup: &dyn Fn(&str) -> Option<OsString>,
) -> Option<Reason> {
    if let Some(name) = UNSEEN_BY_STOCK.iter().find(|name| lookup(name).is_some()) {
        return Some(Reason::new(format!("${name} is set")));
    }
    if invocation.only_ours.is_some() {
        return invocation.only_ours.clone();
    }
    if !sources::is_known_to_stock(&invocation.input) {
        return Some(Reason::new("stock knows sources by their extension"));
    }
    let mut words = invocation.argv.iter().map(|word| word.as_bytes());
    let packs = |word: &[u8]| word.starts_with(b"-gz") && word != b"-gz=none";
    if invocation.debug_info && words.clone().any(packs) {
        return Some(Reason::new(
            "compressed debug information can't be examined",
        ));
    }
    let is_named_so = |word: &[u8]| memchr::memmem::find(word, b"/distccd_").is_some();
    if is_named_so(cwd) || words.any(is_named_so) {
        return Some(Reason::new("its own files are named like a daemon's"));
    }
    // Which folders the daemon has itself is not known here.
    let word = stock_limits::misunderstood(invocation, &|_| false)?;
    let shown = word.to_string_lossy();
    Some(Reason::new(format!("{shown} does not mean the same there")))
}

/// Whether the object holds checksums of the sources as the compiler saw them.
pub fn shows_checksums(invocation: &Invocation, family: Option<Family>) -> bool {
    family == Some(Family::Clang) && invocation.debug_info && !clang_text::old_dwarf(invocation)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::family::family;
    use crate::model::testing::invocation;
    use std::path::Path;

    fn server(command: &str, color: bool) -> Result<String, Reason> {
        let invocation = invocation(command);
        let family = family(Path::new(&invocation.argv[0]));
        let lookup = |name: &str| (name == "CPATH").then(|| OsString::from("env"));
        let words = server_words(&invocation, family, color, &lookup)?;
        Ok(words.join(OsStr::new(" ")).into_string().unwrap())
    }

    #[test]
    fn the_command_is_the_users_but_for_what_depends_on_this_machine() {
        for (command, color, words) in [
            (
                "gcc -O2 -Iinc -DX -g3 -lm -c d/x.c -o x.o",
                false,
                "gcc -O2 -Iinc -DX -g3 -lm -c d/x.c -o x.o -Ienv",
            ),
            (
                "gcc -MD -MF f -xc -c x.c",
                true,
                "gcc -x c -c x.c -o x.o -fdiagnostics-color=always -MD -MQx.o -Ienv",
            ),
            (
                "clang -fno-color-diagnostics -x c++ -c x.c -o x.o",
                true,
                "clang -fno-color-diagnostics -x c++ -c x.c -o x.o -Ienv",
            ),
        ] {
            assert_eq!(server(command, color).unwrap(), words);
        }
        let bare = server("gcc -fstack-usage -c d/x.c", false);
        assert_eq!(bare.unwrap(), "gcc -fstack-usage -c d/x.c -Ienv");
        assert!(server("gcc -Wp,-DY -c x.c", false).is_err());
        assert!(server("gcc -MD -frecord-gcc-switches -c x.c", false).is_err());
        assert!(server("gcc -c x.i", false).is_err());
        assert!(server("gcc -x c -c x.inc", false).is_ok());
        assert!(server("tcc -c x.c", false).is_err());
    }

    #[test]
    fn stock_is_not_asked_for_what_it_would_do_otherwise() {
        let differs = |command: &str, set: &str| {
            let lookup = |name: &str| (name == set).then(OsString::new);
            stock_differs(&invocation(command), b"/w", &lookup).is_some()
        };
        for command in [
            "gcc -I/a -I b -isystem /c -iquote d -idirafter/e -include /f -imacros g -g -c x.c",
            "gcc --sysroot=rel -stdlib=libc++ -nostdinc -gz=none -g -c x.c",
            "gcc -gz -g0 -ffile-prefix-map=/a=b -c x.c",
        ] {
            assert!(!differs(command, "LANG"), "{command}");
            assert!(differs(command, "SOURCE_DATE_EPOCH"), "{command}");
        }
        for command in [
            "gcc --sysroot=/a -c x.c",
            "gcc -isystem =/a -c x.c",
            "gcc -g -ffile-prefix-map=/a=b -c x.c",
            "gcc -gz -g -c x.c",
            "gcc -flto -c x.c",
            "gcc -x c -c x.inc",
            "gcc -I/tmp/distccd_own/x -c x.c",
        ] {
            assert!(differs(command, "LANG"), "{command}");
        }
        let none = |_: &str| None;
        assert!(stock_differs(&invocation("gcc -c x.c"), b"/distccd_/w", &none).is_some());
    }
}
