//! The line that stock's include server puts before a file that is included by an absolute path, since a daemon of stock's
//! shows the compiler another one: `#line 1 "/the/path/x.h"`.

/// How such a line begins.
const HEAD: &[u8] = b"#line 1 \"";

/// The path that a file's first line says, if it says one so, and the line's length.
pub fn said_path(content: &[u8]) -> Option<(&[u8], usize)> {
    let rest = content.strip_prefix(HEAD)?;
    let end = memchr::memchr(b'\n', rest)?;
    let path = rest.get(..end)?.strip_suffix(b"\"")?;
    (path.first() == Some(&b'/')).then_some((path, HEAD.len() + end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_such_a_line_is_one() {
        let line = b"#line 1 \"/a/x.h\"\n";
        assert_eq!(said_path(line), Some((&b"/a/x.h"[..], line.len())));
        let more = [line, &b"\xef\xbb\xbfint a;\n"[..]].concat();
        assert_eq!(said_path(&more), Some((&b"/a/x.h"[..], line.len())));
        for other in [
            "",
            "#line 1 \"/a/x.h\"",
            "#line 2 \"/a/x.h\"\n",
            "#line 1 \"x.h\"\n",
            "#line 1 \"/a/x.h\" \n",
            " #line 1 \"/a/x.h\"\n",
        ] {
            assert_eq!(said_path(other.as_bytes()), None, "{other:?}");
        }
    }
}
