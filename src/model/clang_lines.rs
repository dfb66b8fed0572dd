//! What of a text clang reads once more, as it would in a source: `#line` among the markers of `-frewrite-includes`, and what
//! is left in preprocessed sources. (Tried: clang 14.)

use super::clang_text::{is_include, REWRITTEN};
use super::landmarks::Landmarks;
use super::made_words;
use super::plain_text;
use memchr::memmem;

/// Whether lines are counted by the source itself, and markers of `-frewrite-includes` follow, which count them by the file:
/// behind each include and condition. `landmarks` are the text's.
pub fn counts_anew(text: &[u8], landmarks: &Landmarks) -> bool {
    let goes_on = |from: usize| landmarks.hashes.last().is_some_and(|last| *last > from);
    if landmarks.line_directive.is_some_and(goes_on) {
        return true;
    }
    // A directive of the source may look like a marker.
    let line_at = |at: usize| {
        let rest = text.get(at..).unwrap_or_default();
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        plain_text::marker(rest.get(..end).unwrap_or_default())
    };
    let mut file = None;
    let mut behind_marker = true;
    let mut expected = 0;
    landmarks.hashes.iter().any(|at| {
        let Some(found) = line_at(*at) else {
            return false;
        };
        behind_marker &= expected == *at || file.is_none();
        let enters = found.flags.contains(&b'1');
        let returns = found.flags.contains(&b'2');
        let is_own = match file {
            _ if returns => true,
            Some(_) if enters => behind_marker,
            Some(file) => file == found.name,
            None => true,
        };
        let rest = text.get(*at..).unwrap_or_default();
        expected = at + memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
        behind_marker = true;
        if !found.name.starts_with(b"<") {
            file = Some(found.name);
        }
        !is_own && goes_on(*at)
    })
}

/// Whether anything is left in a preprocessed text that clang reads as in a source, and that depends on the machine: it knows
/// all directives and macros there. What `-frewrite-includes` has put in is skipped.
pub fn preprocesses_more(text: &[u8]) -> bool {
    if made_words::names_the_place(text) || memmem::find(text, b"__has_include").is_some() {
        return true;
    }
    let mut before: &[u8] = b"";
    text.split(|byte| *byte == b'\n').any(|line| {
        let reads = is_include(line) && before != REWRITTEN;
        before = line;
        reads
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_counted_anew_are_seen() {
        let counts =
            |text: &str| counts_anew(text.as_bytes(), &Landmarks::of(text.as_bytes(), true));
        let head = "# 1 \"<built-in>\"\n# 1 \"a.c\"\n";
        let include = "#if 0 /* expanded by -frewrite-includes */\n#include \"h.h\"\n\
            #endif /* expanded by -frewrite-includes */\n# 2 \"a.c\"\n# 1 \"./h.h\" 1\nint h;\n# 3 \"a.c\" 2\n";
        for (text, expected) in [
            (format!("{head}{include}int a;\n"), false),
            (
                format!("{head}{include}{include}#line 7 \"q.y\"\nint a;\n"),
                false,
            ),
            (format!("{head}#line 7\n{include}int a;\n"), true),
            (
                format!("{head} #\tline 7 \"q.y\"\n#else\n# 8 \"a.c\"\n#endif\n"),
                true,
            ),
            (format!("{head}int a;\n# 7 \"q.y\"\n{include}"), true),
            (
                format!("{head}int a;\n# 7 \"q.y\" 1\nint b;\n{include}"),
                true,
            ),
            (format!("{head}{include}# 7 \"q.y\"\nint a;\n"), false),
            (
                format!("{head}{include}#if 1\n# 5 \"a.c\"\n#endif\n# 6 \"a.c\"\n"),
                false,
            ),
        ] {
            assert_eq!(counts(&text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_left_to_preprocess_is_seen() {
        for (text, expected) in [
            ("# 1 \"a.c\"\nint a;\n#pragma once\n#define A 1\n", false),
            ("#if __has_include(\"h.h\")\n#endif\n", true),
            ("const char *t = __TIMESTAMP__;\n", true),
            (" # include <h.h>\n", true),
            (
                "#if 0 /* expanded by -frewrite-includes */\n#include <h.h>\n#endif /* expanded by -frewrite-includes */\n",
                false,
            ),
        ] {
            assert_eq!(preprocesses_more(text.as_bytes()), expected, "{text}");
        }
    }
}
