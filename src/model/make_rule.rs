//! Dependency files of a compiler that ran below another folder: with that folder taken from all names, and the lines
//! broken where the compiler would have broken them then.

use super::family::Family;

/// Where gcc and clang break lines.
const GCC_COLUMNS: usize = 72;
const CLANG_COLUMNS: usize = 75;

/// `rule`, a compiler's dependency file, without `folder` at the beginning of its names. The folder has no character that
/// make would want quoted.
pub fn without_folder(rule: &[u8], folder: &[u8], family: Family) -> Vec<u8> {
    match memchr::memmem::find(rule, folder) {
        None => rule.to_vec(),
        Some(_) => with_names(rule, family, &|name| shorten(name, folder)),
    }
}

/// `rule` with its lines broken where the compiler would have broken them, if it had written these names.
pub fn broken_anew(rule: &[u8], family: Family) -> Vec<u8> {
    with_names(rule, family, &<[u8]>::to_vec)
}

fn with_names(rule: &[u8], family: Family, name_of: &dyn Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut out = Vec::with_capacity(rule.len());
    for line in logical_lines(rule) {
        let names = words(&line);
        let shortened: Vec<Vec<u8>> = names.iter().map(|name| name_of(name)).collect();
        let targets = shortened.iter().position(|name| name.ends_with(b":"));
        match (targets, family) {
            (Some(colon), Family::Clang) => clang_lines(&mut out, &shortened, colon),
            _ => gcc_lines(&mut out, &shortened),
        }
        out.push(b'\n');
    }
    out
}

/// The lines of a rule, each with its continuations.
fn logical_lines(rule: &[u8]) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    let mut line: Vec<u8> = Vec::new();
    for part in rule.split_inclusive(|byte| *byte == b'\n') {
        match part.strip_suffix(b"\\\n") {
            Some(part) => {
                line.extend_from_slice(part);
                line.push(b' ');
            }
            None => {
                line.extend_from_slice(part.strip_suffix(b"\n").unwrap_or(part));
                lines.push(std::mem::take(&mut line));
            }
        }
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

/// The names between blanks; a blank behind a backslash belongs to its name.
fn words(line: &[u8]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut word: Vec<u8> = Vec::new();
    for byte in line {
        match byte {
            b' ' | b'\t' if word.last() != Some(&b'\\') => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            other => word.push(*other),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

fn shorten(name: &[u8], folder: &[u8]) -> Vec<u8> {
    let rest = name.strip_prefix(folder);
    rest.filter(|rest| rest.first() == Some(&b'/'))
        .unwrap_or(name)
        .to_vec()
}

fn gcc_lines(out: &mut Vec<u8>, names: &[Vec<u8>]) {
    let mut column = 0;
    for name in names {
        if column > 0 {
            // The colon behind a target is written wherever it falls.
            let length = name.strip_suffix(b":").unwrap_or(name).len();
            if column + length > GCC_COLUMNS {
                out.extend_from_slice(b" \\\n");
                column = 0;
            }
            out.push(b' ');
            column += 1;
        }
        out.extend_from_slice(name);
        column += name.len();
    }
}

/// `colon` is the number of the last target.
fn clang_lines(out: &mut Vec<u8>, names: &[Vec<u8>], colon: usize) {
    let mut column = 0;
    for (number, name) in names.iter().enumerate() {
        let is_target = number <= colon;
        // Files are counted as they are called, targets as make wants them.
        let (length, margin, begin) = match is_target {
            true => (name.strip_suffix(b":").unwrap_or(name).len(), 2, 1),
            false => (bare_length(name), 3, 2),
        };
        if number > 0 {
            if column + length + margin > CLANG_COLUMNS {
                out.extend_from_slice(b" \\\n ");
                column = begin;
            }
            out.push(b' ');
            column += 1;
        }
        out.extend_from_slice(name);
        column += length + usize::from(number == colon);
    }
}

fn bare_length(name: &[u8]) -> usize {
    let pairs = name
        .windows(2)
        .filter(|pair| matches!(pair, [b'\\', b' ' | b'#'] | [b'$', b'$']));
    name.len() - pairs.count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As written by gcc 12 and clang 14 for the same source, in `/tmp/dproto/w`.
    const GCC: &str = "a_target another_target_that_is_long third_target_that_is_long_too: \\
 /tmp/dproto/w/x.c /usr/include/stdc-predef.h \\
 /tmp/dproto/w/header_number_1.h /tmp/dproto/w/header_number_2.h \\
 /tmp/dproto/w/sub\\ dir/a\\ b$$c.h
/usr/include/stdc-predef.h:
/tmp/dproto/w/header_number_1.h:
";
    const CLANG: &str = "a_target another_target_that_is_long third_target_that_is_long_too: \\
  /tmp/dproto/w/x.c /tmp/dproto/w/header_number_1.h \\
  /tmp/dproto/w/header_number_2.h /tmp/dproto/w/header_number_40.h \\
  /tmp/dproto/w/sub\\ dir/a\\ b$$c.h

/tmp/dproto/w/header_number_1.h:
";

    #[test]
    fn what_ran_elsewhere_looks_as_if_it_had_not() {
        for (rule, family) in [(GCC, Family::Gcc), (CLANG, Family::Clang)] {
            let moved = rule.replace("/tmp/dproto", "/var/tmp/distccd_abcdefgh/tmp/dproto");
            // Broken elsewhere, as the names are longer.
            let moved = moved.replace(" /var", " \\\n /var");
            let back = without_folder(moved.as_bytes(), b"/var/tmp/distccd_abcdefgh", family);
            assert_eq!(String::from_utf8_lossy(&back), rule);
            let in_one = rule.replace(" \\\n", "");
            let back = broken_anew(in_one.as_bytes(), family);
            assert_eq!(String::from_utf8_lossy(&back), rule);
        }
        let other = b"x.o: x.c \\\n /usr/include/x.h\n";
        assert_eq!(without_folder(other, b"/tmp/x", Family::Gcc), other);
        for odd in [
            "",
            "\\",
            "\\\n",
            "a\\ ",
            ":",
            " : \n\n",
            "x: /tmp/x",
            "x: /tmp/xy",
        ] {
            for family in [Family::Gcc, Family::Clang] {
                without_folder(odd.as_bytes(), b"/tmp/x", family);
            }
        }
    }
}
