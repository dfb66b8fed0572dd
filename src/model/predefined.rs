//! What a compiler says of itself before the first line of a source: `cc FLAGS -E -dD -x LANGUAGE FILE`, where FILE is
//! empty, without the user's own macros and headers.

use std::sync::Arc;

use super::dialect::{Dialect, Standard};
use super::family::Family;
use super::punt::Punt;
use super::source_scan::Scan;

/// A compiler with those options that change its macros.
#[derive(Clone, Debug)]
pub struct Compiler {
    /// Whose rules it follows.
    pub family: Family,
    /// How it reads text; scans for its units are made with this.
    pub dialect: Dialect,
    /// The language and its standard.
    pub standard: Standard,
    /// The header that it includes by itself, if any: `stdc-predef.h`.
    pub preinclude: Option<Vec<u8>>,
    /// Its own macros.
    pub predefined: Arc<Scan>,
}

impl Compiler {
    /// Reads what `-E -dD` printed for an empty source. `trigraphs`: what options say of them, if any does.
    ///
    /// # Errors
    /// The text does not look as it should.
    pub fn read(family: Family, text: &[u8], trigraphs: Option<bool>) -> Result<Compiler, Punt> {
        let said = Said::read(text)?;
        let standard = said.standard(family);
        if standard.major == 0 {
            return Err(Punt::new("the compiler does not tell its version"));
        }
        let dialect = Dialect::new(family, &standard, trigraphs);
        Ok(Compiler {
            family,
            dialect,
            standard,
            predefined: Arc::new(Scan::new(&said.directives, dialect)),
            preinclude: said.preinclude,
        })
    }
}

/// The text, sorted.
#[derive(Default)]
struct Said<'t> {
    /// The lines that define or undefine.
    directives: Vec<u8>,
    macros: Vec<(&'t [u8], &'t [u8])>,
    preinclude: Option<Vec<u8>>,
}

impl<'t> Said<'t> {
    fn read(text: &'t [u8]) -> Result<Said<'t>, Punt> {
        let mut said = Said::default();
        let mut source = None;
        let mut file: &[u8] = b"";
        for line in text.split(|byte| *byte == b'\n') {
            if let Some(name) = marked(line) {
                file = name;
                source.get_or_insert(name);
                said.meet(name, source)?;
            } else if file.starts_with(b"<") {
                said.take(line);
            }
        }
        match said.macros.is_empty() {
            true => Err(Punt::new("the compiler tells no macros of its own")),
            false => Ok(said),
        }
    }

    /// The text goes on in `name`.
    fn meet(&mut self, name: &[u8], source: Option<&[u8]>) -> Result<(), Punt> {
        let own = name.starts_with(b"<") || Some(name) == source;
        if own || name.ends_with(b"//") {
            return Ok(());
        }
        match name.strip_suffix(b"/stdc-predef.h") {
            Some(_) => {
                self.preinclude = Some(b"stdc-predef.h".to_vec());
                Ok(())
            }
            None => Err(Punt::new(format!(
                "the compiler reads {} by itself",
                String::from_utf8_lossy(name)
            ))),
        }
    }

    fn take(&mut self, line: &'t [u8]) {
        let definition = line.strip_prefix(b"#define ");
        if definition.is_none() && !line.starts_with(b"#undef ") {
            return;
        }
        self.directives.extend_from_slice(line);
        self.directives.push(b'\n');
        if let Some(definition) = definition {
            let end = definition.iter().position(|byte| *byte == b' ');
            let (name, value) = definition.split_at(end.unwrap_or(definition.len()));
            self.macros.push((name, value.trim_ascii()));
        }
    }

    fn standard(&self, family: Family) -> Standard {
        let value = |name: &[u8]| {
            let found = self.macros.iter().rev().find(|(known, _)| *known == name);
            found.map(|(_, value)| *value)
        };
        let number = |name: &[u8]| {
            let digits = value(name).unwrap_or_default();
            let digits: String = digits.iter().map(|byte| char::from(*byte)).collect();
            digits.trim_end_matches(['L', 'U']).parse().unwrap_or(0)
        };
        Standard {
            cplusplus: number(b"__cplusplus"),
            stdc_version: number(b"__STDC_VERSION__"),
            strict: value(b"__STRICT_ANSI__").is_some(),
            objective: value(b"__OBJC__").is_some(),
            major: number(match family {
                Family::Gcc => b"__GNUC__",
                Family::Clang => b"__clang_major__",
            }),
        }
    }
}

/// The file of a line marker.
fn marked(line: &[u8]) -> Option<&[u8]> {
    let rest = line.strip_prefix(b"# ")?;
    let quote = rest.iter().position(|byte| *byte == b'"')?;
    let is_number = rest[..quote].trim_ascii().iter().all(u8::is_ascii_digit);
    let name = &rest[quote + 1..];
    let end = name.iter().rposition(|byte| *byte == b'"')?;
    is_number.then_some(&name[..end])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const GCC: &str =
        "# 0 \"/dev/null\"\n# 0 \"<built-in>\"\n#define __GNUC__ 12\n# 0 \"<built-in>\"\n\
        #define __cplusplus 201703L\n# 0 \"<command-line>\"\n#define _GNU_SOURCE 1\n\
        # 1 \"/usr/include/stdc-predef.h\" 1 3 4\n# 19 \"/usr/include/stdc-predef.h\" 3 4\n\
        #define _STDC_PREDEF_H 1\n# 0 \"<command-line>\" 2\n# 1 \"/dev/null\"\n";

    #[test]
    fn compilers_are_understood() {
        let gcc = Compiler::read(Family::Gcc, GCC.as_bytes(), None).unwrap();
        assert_eq!(gcc.standard.cplusplus, 201_703);
        assert_eq!(gcc.standard.major, 12);
        assert!(gcc.dialect.raw_strings && gcc.dialect.digit_separators && !gcc.dialect.clang);
        assert_eq!(gcc.preinclude.as_deref(), Some(&b"stdc-predef.h"[..]));
        assert_eq!(gcc.predefined.directives.len(), 3);
        let clang = "# 1 \"x.c\"\n# 1 \"<built-in>\" 1\n#define __clang_major__ 14\n\
            #define __STDC_VERSION__ 199901L\n#define __STRICT_ANSI__ 1\n# 1 \"x.c\" 2\n";
        let clang = Compiler::read(Family::Clang, clang.as_bytes(), None).unwrap();
        assert_eq!(clang.preinclude, None);
        assert!(clang.dialect.trigraphs && clang.dialect.clang && !clang.dialect.strict_c90);
    }

    #[test]
    fn what_is_odd_is_refused() {
        let read = |text: &str| Compiler::read(Family::Gcc, text.as_bytes(), None);
        assert!(read("").is_err());
        assert!(read("# 1 \"<built-in>\"\n#define X 1\n").is_err());
        let other = GCC.replace("stdc-predef.h", "other.h");
        let reason = read(&other).unwrap_err().to_string();
        assert_eq!(reason, "the compiler reads /usr/include/other.h by itself");
    }
}
