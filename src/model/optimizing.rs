//! Whether an attribute in a text takes gcc's optimization from a function.

use memchr::memmem;

/// Does an attribute take gcc's optimization from a function? Without it statements
/// from macros show. Levels that can't be seen are taken for none.
pub fn stops_optimizing(text: &[u8]) -> bool {
    const WORD: &[u8] = b"optimize";
    memmem::find_iter(text, WORD).any(|at| {
        if !may_be_attribute(text.get(..at).unwrap_or_default()) {
            return false;
        }
        let rest = text.get(at + WORD.len()..).unwrap_or_default();
        let rest = rest.strip_prefix(b"__").unwrap_or(rest).trim_ascii_start();
        let Some(levels) = rest.strip_prefix(b"(") else {
            return false;
        };
        let levels = levels.trim_ascii_start();
        let is_level = |byte: &u8| {
            byte.is_ascii_alphabetic()
                || matches!(byte, b'1'..=b'9' | b'"' | b',' | b'-' | b'=' | b'_')
                || byte.is_ascii_whitespace()
        };
        let seen = match levels.first() {
            Some(b'"') => levels.iter().take_while(|byte| is_level(byte)).count(),
            Some(b'1'..=b'9') => 1,
            _ => return true,
        };
        levels.get(seen) != Some(&b')')
    })
}

/// Whether an attribute may follow: behind others, a bracket or the name of whose it is, as far as the line shows.
fn may_be_attribute(before: &[u8]) -> bool {
    let before = before.strip_suffix(b"__").unwrap_or(before);
    let mut back = before.iter().rev();
    let last = back.find(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | 0x0b | 0x0c));
    // Comments can be there, too.
    last.is_none_or(|byte| matches!(byte, b'(' | b',' | b':' | b'\n' | b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_that_are_not_optimized_are_seen() {
        for (attribute, stops) in [
            ("optimize(\"O0\")", true),
            ("__optimize__ ( 0 )", true),
            ("optimize(\"-O3\", \"O\" \"0\")", true),
            ("optimize(\"\\117\\60\")", true),
            ("optimize(LEVEL)", true),
            ("optimize(1 - 1)", true),
            ("optimize(\"O3\", \"no-tree-vectorize\")", false),
            ("__optimize__(\"-Os\")", false),
            ("optimize(2)", false),
            ("optimize", false),
            ("optimized(0)", false),
        ] {
            let text = format!("__attribute__(({attribute})) int f(void);\n");
            assert_eq!(stops_optimizing(text.as_bytes()), stops, "{text}");
        }
        for (text, stops) in [
            ("int optimize(int *p);\n", false),
            (
                "x = p->optimize (a) + node.optimize(b) + reoptimize(c);\n",
                false,
            ),
            ("[[gnu::optimize(\"O0\")]] void f(void);\n", true),
            (
                "[[ using gnu : cold, __optimize__(0) ]] void f(void);\n",
                true,
            ),
            ("__attribute__((\n# 3 \"a.c\"    \n  optimize(0)))\n", true),
            ("__attribute__((/* none */ optimize(0)))\n", true),
        ] {
            assert_eq!(stops_optimizing(text.as_bytes()), stops, "{text}");
        }
    }
}
