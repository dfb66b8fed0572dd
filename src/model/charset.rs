//! Sources in other charsets than UTF-8: for which of them the bytes of a file can be read as they are, and where not. gcc
//! converts a file before it reads anything in it, so that a name has other bytes then, unless it is of ASCII's letters.

/// Whether this value of `-finput-charset=` is a charset of single bytes, of which those of ASCII mean what they mean there.
pub fn extends_ascii(value: &[u8]) -> bool {
    const NAMES: &[&str] = &[
        "ascii", "cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1256", "cp1257", "koi8r",
        "koi8u", "latin1", "latin2", "latin9", "usascii",
    ];
    let letters = value.iter().filter(|byte| !matches!(byte, b'-' | b'_'));
    let name: Vec<u8> = letters.map(u8::to_ascii_lowercase).collect();
    let name = match name.strip_prefix(b"windows") {
        Some(number) => [b"cp", number].concat(),
        None => name,
    };
    let is_iso = |part: &[u8]| {
        let number = std::str::from_utf8(part)
            .ok()
            .and_then(|part| part.parse().ok());
        number.is_some_and(|number: u8| matches!(number, 1..=10 | 13..=16))
            && part.first() != Some(&b'+')
    };
    NAMES.iter().any(|known| known.as_bytes() == name)
        || name.strip_prefix(b"iso8859").is_some_and(is_iso)
}

/// Whether all lines of a text that may decide which files are read have ASCII's letters only. Errs on the side of no: a
/// directive goes on behind a backslash, or a comment that is not at its end.
pub fn decides_in_ascii(text: &[u8]) -> bool {
    const MARKS: [&[u8]; 4] = [b"#", b"%:", b"??=", b"_Pragma"];
    let includes = |line: &[u8]| {
        memchr::memchr_iter(b'.', line).any(|dot| {
            let word = line.get(dot..dot + 4);
            word.is_some_and(|word| word.eq_ignore_ascii_case(b".inc"))
        })
    };
    let (mut goes_on, mut in_comment) = (false, false);
    let mut lines = text.split(|byte| *byte == b'\n');
    lines.all(|line| {
        let last = |part: &[u8]| memchr::memmem::rfind(line, part);
        let decides = goes_on || includes(line) || MARKS.iter().any(|mark| last(mark).is_some());
        let end = line.trim_ascii_end();
        let (begins, ends) = (last(b"/*"), last(b"*/"));
        in_comment = decides && (begins > ends || in_comment && ends.is_none());
        goes_on = in_comment || decides && (end.ends_with(b"\\") || end.ends_with(b"??/"));
        !decides || line.is_ascii()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charsets_of_single_bytes_are_known() {
        for name in [
            "latin1",
            "ISO-8859-1",
            "iso8859-15",
            "ISO_8859-7",
            "CP1252",
            "windows-1251",
            "KOI8-R",
            "us-ascii",
        ] {
            assert!(extends_ascii(name.as_bytes()), "{name}");
        }
        for name in [
            "",
            "UTF-16",
            "EBCDIC-US",
            "IBM037",
            "SJIS",
            "GBK",
            "UTF-7",
            "iso8859-",
            "iso8859-11",
            "iso8859-99",
            "iso8859-+1",
            "ISO-2022-JP",
            "cp1255",
            "cp1258",
            "latin1//TRANSLIT",
            "windows",
        ] {
            assert!(!extends_ascii(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn names_in_other_letters_are_seen() {
        for text in [
            &b"int a;\nconst char *s = \"caf\xe9\"; // \xe9 \\\nint b\xe9;\n"[..],
            b"#include \"a.h\"\n/* \xe9\n \xe9 */ int x;",
            b"#define A /* a */ 1\n\"\xe9\"",
            b"#define A \\\n 1\nint x = \"\xe9\"[0];",
        ] {
            assert!(decides_in_ascii(text), "{text:?}");
        }
        for text in [
            &b"#include \"\xe9.h\"\n"[..],
            b" # if A && \\\n  \xe9\n",
            b"%:include \"\xe9.h\"",
            b"??=include \"\xe9.h\"",
            b"#if ??/\n\xe9\n",
            b"#if A /*\n */ == \xe9\n",
            b"#if A /*\n\n */ == \\\n\xe9\n",
            b"asm(\".incbin \\\"\xe9\\\"\");\n",
            b"asm(\".INCBIN \\\"\xe9\\\"\");\n",
        ] {
            assert!(!decides_in_ascii(text), "{text:?}");
        }
    }
}
