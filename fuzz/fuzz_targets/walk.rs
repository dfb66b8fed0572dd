//! Any texts as a source and its headers: the preprocessor follows them or says why not, in bounded time and memory,
//! whatever the language and the compiler. Files are parted by NUL; the first byte picks the dialect.

#![no_main]

use distcc::model::family::Family;
use distcc::model::predefined::Compiler;
use distcc::model::preprocessor::{closure, Budget, Opened, Unit, World};
use distcc::model::search::{SearchDir, SearchPath, Word};
use distcc::model::source_scan::Scan;
use libfuzzer_sys::fuzz_target;
use std::sync::Arc;

const NAMES: [&[u8]; 6] = [b"x.c", b"a.h", b"i/a.h", b"i/b.h", b"j/b.h", b"./a.h"];

struct Files(Vec<Arc<Scan>>);

impl World for Files {
    fn open(&mut self, path: &[u8]) -> Option<Opened> {
        let at = NAMES.iter().position(|name| *name == path)?;
        Some(Opened {
            file: u32::try_from(at).ok()?,
            scan: Arc::clone(self.0.get(at)?),
            twin: at as u64 / 2,
        })
    }

    fn ask(&mut self, operator: &[u8], operand: &[u8]) -> Option<i64> {
        let sum = operator.len() + operand.len();
        (sum % 7 != 0).then_some(i64::try_from(sum % 3).unwrap_or(0))
    }

    fn folder(&mut self, path: &[u8]) -> Option<u64> {
        match path {
            b"." => Some(0),
            b"i" => Some(1),
            b"j" => Some(2),
            _ => None,
        }
    }

    fn shorter(&mut self, path: &[u8]) -> Option<Vec<u8>> {
        path.strip_prefix(b"./").map(<[u8]>::to_vec)
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((head, texts)) = data.split_first() else {
        return;
    };
    let language = match head & 3 {
        0 => "#define __STDC_VERSION__ 201710L\n",
        1 => "#define __STRICT_ANSI__ 1\n",
        2 => "#define __cplusplus 202002L\n",
        _ => "#define __cplusplus 201103L\n#define __STRICT_ANSI__ 1\n#define __OBJC__ 1\n",
    };
    let family = if head & 4 == 0 {
        Family::Gcc
    } else {
        Family::Clang
    };
    let said = format!(
        "# 0 \"/dev/null\"\n# 0 \"<built-in>\"\n#define __GNUC__ 12\n#define __clang_major__ 14\n{language}# 0 \"<command-line>\"\n"
    );
    let Ok(compiler) = Compiler::read(family, said.as_bytes(), None) else {
        return;
    };
    let mut files = Files(
        texts
            .split(|byte| *byte == 0)
            .map(|text| Arc::new(Scan::new(text, compiler.dialect)))
            .collect(),
    );
    let dir = |path: &[u8], system| SearchDir {
        path: path.to_vec(),
        system,
        framework: false,
    };
    let search = SearchPath {
        dirs: vec![dir(b"i", false), dir(b"j", true)],
        canonical: head & 8 == 0,
        ..SearchPath::default()
    };
    let words = [
        Word::Define(b"A=1".to_vec()),
        Word::Define(b"F(x)=x".to_vec()),
    ];
    let unit = Unit {
        compiler: &compiler,
        words: &words,
        search: &search,
        source: b"x.c",
        maps_names: head & 16 != 0,
    };
    let first = closure(&unit, &mut files, Budget { steps: 50_000 });
    // Nothing of one walk is left in what the next one is given.
    assert_eq!(closure(&unit, &mut files, Budget { steps: 50_000 }), first);
});
