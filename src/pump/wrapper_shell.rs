//! What passes between pump and shells: values as assignments that survive `eval`, quoted or not, and words that the user
//! has written for a shell to read.

use crate::model::error::{Code, Error, Result};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::{Command, Stdio};

/// The line that sets and exports a variable in a shell.
///
/// Mostly that is the value in single quotes. But people write ``eval `pump --startup` `` without quotes: the shell then
/// splits the text at blanks and looks for files that match a pattern, before it sees any quote. A value that would not
/// survive that is spelled by `printf`, with nothing in it but digits, backslashes and letters.
pub fn assignment(name: &str, value: &OsStr) -> Vec<u8> {
    let mut line = format!("export {name}=").into_bytes();
    if survives_splitting(value.as_bytes()) {
        line.push(b'\'');
        line.extend_from_slice(value.as_bytes());
        line.extend_from_slice(b"'\n");
        return line;
    }
    // The dot, which is taken off again, saves newlines at the end. Without quotes the line's own end is a blank.
    line.extend_from_slice(b"\"$(printf '");
    for (at, byte) in value.as_bytes().iter().enumerate() {
        match byte {
            // What begins with a dash would be an option of printf's.
            _ if is_plain(*byte) && (at > 0 || *byte != b'-') => line.push(*byte),
            _ => line.extend_from_slice(format!("\\{byte:03o}").as_bytes()),
        }
    }
    line.extend_from_slice(format!(".')\"; {name}=\"${{{name}%.}}\";\n").as_bytes());
    line
}

/// Whether the value between single quotes is the same after splitting and joining by single blanks.
fn survives_splitting(value: &[u8]) -> bool {
    let is_at_edge = value.first() == Some(&b' ') || value.last() == Some(&b' ');
    !is_at_edge
        && !value.windows(2).any(|pair| pair == b"  ")
        && value.iter().all(|byte| *byte == b' ' || is_plain(*byte))
}

/// What no shell heeds, neither in nor outside of quotes.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/._-+:,=@^".contains(&byte) || byte >= 0x80
}

/// Splits what the user wrote in a variable into words, as a shell does where it stands unquoted and no file matches.
pub fn words(value: &OsStr) -> Vec<OsString> {
    value
        .as_bytes()
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
        .map(|word| OsStr::from_bytes(word).to_owned())
        .collect()
}

/// Splits what the user wrote in `$name` as `eval` does: quotes, variables and all. A shell is asked only if there is
/// anything for it to do.
pub fn evaluated(name: &str, value: &OsStr) -> Result<Vec<OsString>> {
    let is_simple = |byte: &u8| is_plain(*byte) || byte.is_ascii_whitespace();
    if value.as_bytes().iter().all(is_simple) {
        return Ok(words(value));
    }
    let trouble = |why: String| {
        let value = value.to_string_lossy();
        Error::new(Code::Unpumped, format!("${name} is '{value}': {why}"))
    };
    let script = r#"eval "set -- $1" && { [ $# = 0 ] || printf '%s\000' "$@"; }"#;
    let out = Command::new("/bin/sh")
        .args(["-c", script, "sh"])
        .arg(value)
        .stdin(Stdio::null())
        .output()
        .map_err(|err| trouble(err.to_string()))?;
    if !out.status.success() {
        let said = String::from_utf8_lossy(&out.stderr);
        return Err(trouble(format!("a shell says: {}", said.trim_end())));
    }
    let mut words: Vec<&[u8]> = out.stdout.split(|byte| *byte == 0).collect();
    words.pop();
    let words = words.into_iter().map(<[u8]>::to_vec);
    Ok(words.map(OsString::from_vec).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn line(value: &str) -> String {
        String::from_utf8(assignment("V", OsStr::new(value))).unwrap()
    }

    #[test]
    fn usual_values_look_like_stocks() {
        assert_eq!(line("4711"), "export V='4711'\n");
        assert_eq!(
            line("--randomize 10.0.0.1:3632,cpp,lzo b"),
            "export V='--randomize 10.0.0.1:3632,cpp,lzo b'\n"
        );
        assert_eq!(
            line("/tmp/it's"),
            "export V=\"$(printf '/tmp/it\\047s.')\"; V=\"${V%.}\";\n"
        );
    }

    #[test]
    fn every_value_survives_every_eval() {
        let odd = [
            "",
            " ",
            "a  b",
            " a",
            "a ",
            "a\tb",
            "a\n\nb\n\n",
            "it's",
            "\"",
            "a\\b",
            "\\",
            "/*",
            "[ab]*?",
            "$HOME",
            "`id`",
            "$(id)",
            "~",
            "!x",
            "%d",
            "ä  ö",
            "a;b&c|d<e>f(g){h}#i",
            "x.",
            "--randomize ",
            "-n  x",
            "\u{1}\u{7f}",
        ];
        for shell in ["sh", "dash", "bash"] {
            for value in odd {
                for eval in ["eval `cat`", "eval \"`cat`\"", "eval \"$(cat)\""] {
                    let script = format!("{eval}; printf '%s-' \"$V\" \"$W\"");
                    let dir = tempfile::tempdir().unwrap();
                    std::fs::write(dir.path().join("a"), "").unwrap();
                    let file = dir.path().join(".line");
                    let lines = ["V", "W"].map(|name| assignment(name, OsStr::new(value)));
                    std::fs::write(&file, lines.concat()).unwrap();
                    let out = Command::new(shell)
                        .args(["-c", &script])
                        .current_dir(dir.path())
                        .stdin(std::fs::File::open(file).unwrap())
                        .output();
                    let Ok(out) = out else { continue };
                    let found = String::from_utf8_lossy(&out.stdout);
                    assert_eq!(
                        found,
                        format!("{value}-{value}-"),
                        "{shell}: {eval}: {}",
                        line(value)
                    );
                    assert!(out.stderr.is_empty(), "{shell}: {value:?}");
                }
            }
        }
    }

    #[test]
    fn arguments_are_read_as_a_shell_reads_them() {
        for (value, expected) in [
            ("", &[] as &[&str]),
            (" -s  --port=/x\n-t ", &["-s", "--port=/x", "-t"]),
            (
                r#"--stat_reset_triggers="*" 'a b'"#,
                &["--stat_reset_triggers=*", "a b"],
            ),
            (r"a\ b ''", &["a b", ""]),
            ("$NONE_SUCH ''''", &[""]),
            ("$NONE_SUCH", &[]),
        ] {
            let found = evaluated("X", OsStr::new(value)).unwrap();
            assert_eq!(found, expected, "{value}");
        }
        let err = evaluated("X", OsStr::new("'a")).unwrap_err();
        assert!(
            err.message.starts_with("$X is ''a': a shell says: "),
            "{err}"
        );
    }
}
