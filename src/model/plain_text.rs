//! What can be read from and done to preprocessed text: line markers, signs that it can't be compiled elsewhere, the
//! corrections it needs before it travels, and the source that a daemon makes of it.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use memchr::memmem;

use super::landmarks::Landmarks;
use super::literals::raw_strings;

/// What is done to the preprocessor's output before it is sent.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TextEdit {
    /// Drop a first line `# 1 "<built-in>"`, so that the text starts with the marker that names the source.
    pub drop_built_in: bool,
    /// `#define` and `#undef` lines, put behind that first marker.
    pub macros: Vec<u8>,
}

impl TextEdit {
    /// The text as it is to be sent, in two parts: a new head, and what follows it of `text`. The head repeats the first
    /// marker, so that what follows is counted from it.
    pub fn apply<'t>(&self, text: &'t [u8]) -> (Vec<u8>, &'t [u8]) {
        const BUILT_IN: &[u8] = b"# 1 \"<built-in>\"";
        let rest = match text.strip_prefix(BUILT_IN).filter(|_| self.drop_built_in) {
            // Lines end as those of the source do.
            Some([b'\r', b'\n', rest @ ..] | [b'\n', rest @ ..]) => rest,
            _ => text,
        };
        if self.macros.is_empty() {
            return (Vec::new(), rest);
        }
        let first = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
        let head = [
            rest.get(..first).unwrap_or_default(),
            b"# 1 \"<command line>\" 1\n",
            &self.macros,
            b"# 1 \"<built-in>\" 2\n",
        ];
        (head.concat(), rest)
    }
}

/// A line marker: `# 12 "dir/x.c" 1 3`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Marker<'a> {
    /// The number of the line that follows.
    pub line: &'a [u8],
    /// The file, still with its backslashes.
    pub name: &'a [u8],
    /// The flags: 1 enters, 2 returns, 3 is a system header.
    pub flags: &'a [u8],
}

/// Reads a line as a line marker.
pub fn marker(line: &[u8]) -> Option<Marker<'_>> {
    let rest = line.strip_prefix(b"# ")?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = rest.split_at_checked(digits)?;
    let rest = rest.strip_prefix(b" \"")?;
    let end = memchr::memrchr(b'"', rest)?;
    (digits > 0).then_some(Marker {
        line: number,
        name: rest.get(..end)?,
        flags: rest.get(end + 1..)?,
    })
}

/// The markers at the very start of a text.
pub fn leading_markers(text: &[u8]) -> impl Iterator<Item = Marker<'_>> {
    text.split(|&byte| byte == b'\n').map_while(marker)
}

/// Takes the mark of a system header from what its macros are expanded to in other files. The compiler, which knows where a
/// macro stood, warns of some things there; of a text that is marked so, never. So it may warn of more now, but of nothing less.
/// The landmarks are those of the text.
pub fn unmark_expansions(text: &mut [u8], landmarks: &Landmarks) {
    // Within a file that is no system header, and what was marked since without a sign that it is for good.
    let (mut own, mut pending, mut spans) = (true, Vec::new(), Vec::new());
    let raw = match landmarks.raw_strings {
        true => raw_strings(text),
        false => Vec::new(),
    };
    let mut raw = raw.iter().peekable();
    for at in landmarks.hashes.iter().map(|hash| hash.saturating_sub(1)) {
        while raw.next_if(|span| span.end <= at).is_some() {}
        if raw.peek().is_some_and(|span| span.contains(&at)) {
            continue;
        }
        let rest = text.get(at + 1..).unwrap_or_default();
        let length = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let Some(found) = rest.get(..length).and_then(marker) else {
            continue;
        };
        let has = |flag| found.flags.contains(&flag);
        let end = at + 1 + length;
        match (has(b'1') || has(b'2'), has(b'3')) {
            // A file that says of itself that it is a system header is left by a flag.
            (true, system) => {
                pending.clear();
                own = !system;
            }
            (false, true) if own => pending.push(end - found.flags.len()..end),
            (false, true) => {}
            (false, false) => spans.append(&mut pending),
        }
    }
    for span in spans.into_iter().chain(pending) {
        if let Some(flags) = text.get_mut(span) {
            flags.fill(b' ');
        }
    }
}

/// Is this gcc's marker for the working directory, `# 1 "/home/me//"`?
pub fn working_directory<'a>(marker: &Marker<'a>) -> Option<&'a [u8]> {
    marker.name.strip_suffix(b"//")
}

/// Does assembler code in the text, with `.inc` in these places, read a file of this machine?
pub fn reads_files(text: &[u8], includes: &[usize]) -> bool {
    includes.iter().any(|at| {
        let rest = text.get(at + b".inc".len()..).unwrap_or_default();
        let begins = |word: &[u8]| {
            let begin = rest.get(..word.len());
            begin.is_some_and(|begin| begin.eq_ignore_ascii_case(word))
        };
        begins(b"bin") || begins(b"lude") && rest.get(4..).is_some_and(quotes_next)
    })
}

/// Blanks, then a quote as it is written inside a string.
fn quotes_next(mut rest: &[u8]) -> bool {
    while let Some(more) = rest
        .strip_prefix(b" ")
        .or_else(|| rest.strip_prefix(b"\t"))
        .or_else(|| rest.strip_prefix(b"\\t"))
    {
        rest = more;
    }
    rest.starts_with(b"\\\"")
}

/// Why a pragma keeps gcc's text here. One that changes the compiler's options: it then defines other macros in a compile, and
/// does not when it only preprocesses. Its own headers undo what they do; of the pragmas of others the text says too little.
/// One that asks for warnings of what the text has no longer, to which only a compile listens. And the one that says that a
/// compile would take a precompiled header: see `-fpch-preprocess`. `gcc` are the places of that word.
pub fn odd_pragma(text: &[u8], gcc: &[usize]) -> Option<&'static str> {
    gcc.iter().find_map(|at| {
        let (before, rest) = text.split_at_checked(at + b"GCC".len()).unwrap_or_default();
        let word = rest.trim_ascii_start();
        let is_word = word.len() < rest.len();
        let starts = |heads: &[&[u8]]| heads.iter().any(|head| word.starts_with(head));
        // What stands behind a comment or on the next line is not looked for.
        let is_hidden = starts(&[b"/*", b"\\\n", b"\\\r"]);
        let changes = starts(&[b"target", b"optimize", b"pop_options", b"reset_options"]);
        if (is_word && changes || is_hidden) && !is_compilers_own(before) {
            return Some("a pragma changes the compiler's options, and with them its macros");
        }
        let asks = is_word && starts(&[b"diagnostic"]) && asks_for_lost_warning(word);
        if asks && !is_compilers_own(before) {
            return Some("a pragma asks for warnings that are the preprocessor's");
        }
        let takes = is_word && starts(&[b"pch_preprocess"]);
        takes.then_some("there is a precompiled header")
    })
}

/// Does `diagnostic warning "-Wundef"` or the like, as a pragma goes on, ask for a warning that is given as a source is
/// preprocessed, or by what preprocessing takes away?
fn asks_for_lost_warning(words: &[u8]) -> bool {
    const GIVEN: [&[u8]; 19] = [
        b"all",
        b"bidi-chars",
        b"builtin-macro-redefined",
        b"comment",
        b"comments",
        b"cpp",
        b"date-time",
        b"deprecated",
        b"endif-labels",
        b"expansion-to-defined",
        b"extra",
        b"misleading-indentation",
        b"multistatement-macros",
        b"pedantic",
        b"traditional",
        b"trigraphs",
        b"undef",
        b"unused-macros",
        b"variadic-macros",
    ];
    let line = words
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let kind = line
        .strip_prefix(b"diagnostic")
        .unwrap_or_default()
        .trim_ascii_start();
    let asks = kind.starts_with(b"warning") || kind.starts_with(b"error");
    let Some(at) = memmem::find(line, b"-W").filter(|_| asks) else {
        return false;
    };
    let name = line.get(at + b"-W".len()..).unwrap_or_default();
    let in_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+');
    let end = name
        .iter()
        .position(|byte| !in_name(byte))
        .unwrap_or(name.len());
    let name = name.get(..end).unwrap_or_default();
    // Those about other standards are of all kinds: `c++11-compat`, `c90-c99-compat`.
    let of_standard = matches!(name, [b'c', b'+' | b'0'..=b'9', ..]);
    GIVEN.contains(&name) || of_standard
}

/// Does gcc's text hold pragmas about warnings, at these places of `GCC`? It does not heed them when it only preprocesses.
pub fn changes_warnings(text: &[u8], gcc: &[usize]) -> bool {
    gcc.iter().any(|at| {
        let rest = text.get(at + b"GCC".len()..).unwrap_or_default();
        rest.trim_ascii_start().starts_with(b"diagnostic")
    })
}

/// May what gcc's preprocessor said of a text be said of a line within a function? The compiler names the function then.
/// What it says of the command line begins with the compiler's own name.
pub fn says_of_functions(said: &[u8], text: &[u8]) -> bool {
    let own = [&b"cc1: "[..], b"cc1plus: ", b"cc1obj: ", b"cc1objplus: "];
    let mut lines = said.split(|&byte| byte == b'\n').filter(|l| !l.is_empty());
    lines.any(|line| !own.iter().any(|name| line.starts_with(name)))
        && (memchr::memchr(b'{', text).is_some() || memmem::find(text, b"<%").is_some())
}

/// Does a text end within a header that the compiler or the C library brought along?
fn is_compilers_own(text: &[u8]) -> bool {
    let Some(at) = memmem::rfind(text, b"\n# ") else {
        return false;
    };
    let line = text.get(at + 1..).unwrap_or_default();
    let end = memchr::memchr(b'\n', line).unwrap_or(line.len());
    line.get(..end).and_then(marker).is_some_and(|found| {
        let of_gcc = memmem::find(found.name, b"/gcc/").is_some();
        found.flags.contains(&b'3') && (of_gcc || found.name.starts_with(b"/usr/include/"))
    })
}

/// Is the text from a gcc whose `-fdirectives-only` has been tried, 11 or 12? Older ones take what a raw string holds for
/// directives; of newer ones it isn't known which pragmas they drop.
pub fn directives_only_is_known(text: &[u8]) -> bool {
    const DEFINE: &[u8] = b"#define __GNUC__ ";
    let version = memmem::find(text, DEFINE).and_then(|at| text.get(at + DEFINE.len()..));
    version.is_some_and(|version| version.starts_with(b"11\n") || version.starts_with(b"12\n"))
}

/// Does the object show, uncompressed, which compiler its debug information is from?
pub fn shows_producer(object: &[u8]) -> bool {
    memmem::find(object, b"GNU C").is_some() || memmem::find(object, b"GNU Obj").is_some()
}

/// Files, but for system headers, that went into the text, whose lines begin with `# ` at `hashes`; as named by the markers,
/// so relative to the working directory.
pub fn own_files(text: &[u8], hashes: &[usize]) -> Vec<PathBuf> {
    let mut names: Vec<&[u8]> = Vec::new();
    for start in std::iter::once(0).chain(hashes.iter().copied()) {
        let line = text.get(start..).unwrap_or_default();
        let line = line
            .get(..memchr::memchr(b'\n', line).unwrap_or(line.len()))
            .unwrap_or_default();
        let Some(found) = marker(line) else { continue };
        let special = found.name.starts_with(b"<") || working_directory(&found).is_some();
        if !special && !found.flags.contains(&b'3') && !names.contains(&found.name) {
            names.push(found.name);
        }
    }
    names.iter().map(|name| path_of(name)).collect()
}

/// The file that a marker names.
pub fn path_of(name: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(&unescape(name)))
}

/// Does a source hold a pragma that `gcc -E -fdirectives-only` drops without a word (and miscounts lines after it; gcc 12)?
pub fn dropped_pragma(source: &[u8]) -> bool {
    memmem::find_iter(source, b"pragma").any(|at| {
        let rest = source
            .get(at + b"pragma".len()..)
            .unwrap_or_default()
            .trim_ascii_start();
        rest.starts_with(b"message") || rest.starts_with(b"redefine_extname")
    })
}

/// Does a source hold words like `fall through`, as they stand in comments for `-Wimplicit-fallthrough`?
pub fn tells_of_falling_through(source: &[u8]) -> bool {
    let begins = |bytes: &[u8], word: &[u8]| {
        bytes
            .get(..word.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(word))
    };
    memchr::memchr2_iter(b'f', b'F', source).any(|at| {
        let rest = source.get(at..).unwrap_or_default();
        let Some(rest) = rest.get(4..).filter(|_| begins(rest, b"fall")) else {
            return false;
        };
        let rest = if begins(rest, b"s") { &rest[1..] } else { rest };
        let gap = rest
            .iter()
            .take_while(|byte| matches!(byte, b' ' | b'\t' | b'-'));
        begins(rest.get(gap.count()..).unwrap_or_default(), b"thr")
    })
}

fn unescape(name: &[u8]) -> Cow<'_, [u8]> {
    if !name.contains(&b'\\') {
        return Cow::Borrowed(name);
    }
    let mut plain = Vec::with_capacity(name.len());
    let mut bytes = name.iter();
    while let Some(&byte) = bytes.next() {
        plain.push(if byte == b'\\' {
            bytes.next().copied().unwrap_or(byte)
        } else {
            byte
        });
    }
    Cow::Owned(plain)
}

/// Does the object or message show the name of a server's temporary file or folder, `distccd_` and at least six letters
/// or digits?
pub fn shows_server_file(bytes: &[u8]) -> bool {
    memmem::find_iter(bytes, b"distccd_").any(|at| {
        let random = bytes.get(at + 8..at + 14).unwrap_or_default();
        random.len() == 6 && random.iter().all(u8::is_ascii_alphanumeric)
    })
}

/// Source that gcc compiles, under its own name, to the object of a local compile.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnSource {
    /// The client's working directory.
    pub cwd: PathBuf,
    /// The source as the client named it.
    pub name: PathBuf,
    /// What is to be in the file of that name.
    pub text: Vec<u8>,
}

/// Makes ordinary source of the output of `gcc -E -fdirectives-only -g`: without the compiler's own macros and the two
/// markers that tell name and directory. Compiled as not preprocessed, at its own path, it gives the local object (all of
/// `-g`, tried with gcc 12). With `-fdirectives-only` for the compiler it does not: gcc records the option.
pub fn as_source(text: &[u8]) -> Option<OwnSource> {
    let mut heads = leading_markers(text);
    let name = heads.next()?.name;
    let cwd = working_directory(&heads.next()?)?;
    let mut start = 0;
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        let found = marker(line.trim_ascii_end());
        if found.is_some_and(|m| {
            m.name == b"<command-line>" || m.name == name && start > 0 && m.line == b"1"
        }) {
            let cwd = if cwd.is_empty() { b"/" } else { cwd };
            return Some(OwnSource {
                cwd: path_of(cwd),
                name: path_of(name),
                text: text.get(start..)?.to_vec(),
            });
        }
        start += line.len();
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn reads(text: &[u8]) -> bool {
        reads_files(text, &Landmarks::of(text, false).includes)
    }

    fn odd(text: &[u8]) -> Option<&'static str> {
        odd_pragma(text, &Landmarks::of(text, false).gcc)
    }

    #[test]
    fn raw_strings_keep_what_looks_like_markers() {
        for string in [
            "R\"(\n# 33 \"s.h\" 3 4\n)\"",
            "u8R\"x(\n)\"\n# 33 \"s.h\" 3 4\n)x\"",
        ] {
            let text =
                format!("# 1 \"a.cc\"\nchar s[] = {string};\n# 2 \"s.h\" 3 4\nx\n# 3 \"a.cc\"\n");
            let mut edited = text.clone().into_bytes();
            let landmarks = Landmarks::of(&edited, false);
            unmark_expansions(&mut edited, &landmarks);
            let expected = text.replace("# 2 \"s.h\" 3 4", "# 2 \"s.h\"    ");
            assert_eq!(String::from_utf8(edited).unwrap(), expected);
        }
    }

    #[test]
    fn words_about_lines_may_be_about_functions() {
        let about_line = b"a.c:3:2: warning: #warning two [-Wcpp]\n";
        let about_options =
            b"cc1: note: obsolete option '-I-' used, please use '-iquote' instead\n";
        assert!(says_of_functions(about_line, b"int f(void) { }\n"));
        assert!(says_of_functions(about_line, b"int f(void) <% %>\n"));
        assert!(!says_of_functions(about_line, b"int f(void);\n"));
        assert!(!says_of_functions(about_options, b"int f(void) { }\n"));
        let both = [&about_options[..], about_line].concat();
        assert!(says_of_functions(&both, b"int f(void) { }\n"));
    }

    #[test]
    fn markers_are_read_and_nothing_else() {
        let found = marker(b"# 12 \"dir/x.c\" 1 3").unwrap();
        assert_eq!(
            (found.line, found.name, found.flags),
            (&b"12"[..], &b"dir/x.c"[..], &b" 1 3"[..])
        );
        assert!(marker(b"# 1 x").is_none());
        assert!(marker(b"#define A \"x\"").is_none());
        assert!(marker(b"# \"x\"").is_none());
    }

    #[test]
    fn macros_stand_behind_the_first_marker() {
        let edit = TextEdit {
            drop_built_in: true,
            macros: b"#define A 1\n".to_vec(),
        };
        let (head, rest) = edit.apply(b"# 1 \"<built-in>\"\n# 1 \"x.c\"\nint a;\n");
        let text = [&head, rest].concat();
        let expected = "# 1 \"x.c\"\n# 1 \"<command line>\" 1\n#define A 1\n# 1 \"<built-in>\" 2\n# 1 \"x.c\"\nint a;\n";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
        let (head, rest) = edit.apply(b"# 1 \"<built-in>\"\r\n# 1 \"x.c\"\r\nint a;\r\n");
        assert!(head.starts_with(b"# 1 \"x.c\"\r\n# 1 \"<command"));
        assert!(rest.starts_with(b"# 1 \"x.c\"\r\n"));
        let text = &b"# 0 \"x.c\"\n"[..];
        assert_eq!(TextEdit::default().apply(text), (Vec::new(), text));
    }

    #[test]
    fn files_read_by_the_assembler_are_seen() {
        assert!(reads(b"asm(\".incbin \\\"x\\\"\");"));
        assert!(reads(b"asm(\".include\\t\\\"x\\\"\");"));
        assert!(reads(b"asm(\".INCBIN \\\"x\\\"\");"));
        assert!(reads(b"asm(\".Include \\\"x\\\"\");"));
        assert!(!reads(
            b"a.include(\"x\"); b.increment(); #include \"x.inc\""
        ));
    }

    #[test]
    fn options_are_changed_by_pragmas_outside_the_compilers_headers() {
        for text in [
            "#pragma GCC target(\"avx2\")\nint a;\n",
            "# 0 \"a.c\"\n# pragma GCC  optimize 3\n",
            "DO(GCC/**/target(\"avx2\"))\n",
            "#define D _Pragma(\"GCC\\ttarget\") GCC \\\ntarget\n",
            "# 1 \"/opt/x.h\" 1 3\n_Pragma(\"GCC pop_options\")\n",
            "#pragma GCC diagnostic warning \"-Wundef\"\n",
            "_Pragma(\"GCC diagnostic error \\\"-Wcpp\\\"\")\n",
            "DO(GCC diagnostic  error \"-Wc++-compat\")",
            "_Pragma(\"GCC diagnostic warning \\\"-Wc90-c99-compat\\\"\")",
            "# 1 \"/usr/include/x.h\" 1 3 4\nint x;\n# 2 \"a.c\" 2\nDO(GCC reset_options)\n",
        ] {
            assert!(odd(text.as_bytes()).is_some(), "{text}");
        }
        for text in [
            "",
            "puts(\"GCC\\n\"); puts(\"GCC \\\"x\");\n",
            "#pragma GCC diagnostic error \"-Wswitch\"\n",
            "#pragma GCC diagnostic ignored \"-Wundef\"\n",
            "#pragma GCC diagnostic error \"-Wconversion\"\n",
            "#pragma GCC diagnostic warning \"-Wundefined\"\n\"-Wundef\"",
            "#pragma GCC diagnostic push\n#define __GCC_target 1\nGCCoptimize",
            "# 0 \"a.c\"\n# 33 \"/usr/lib/gcc/x86_64-linux-gnu/12/include/xmmintrin.h\" 3 4\n#pragma GCC target(\"sse\")\n",
            "# 0 \"a.c\"\n# 1 \"/usr/include/x.h\" 1 3 4\n\n#pragma GCC optimize(3)\n",
        ] {
            assert!(odd(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn what_system_macros_expand_to_is_unmarked() {
        let unmarked = |text: &str| {
            let mut bytes = text.as_bytes().to_vec();
            let landmarks = Landmarks::of(&bytes, false);
            unmark_expansions(&mut bytes, &landmarks);
            String::from_utf8(bytes).unwrap_or_default()
        };
        let header = "# 0 \"a.c\"\n# 1 \"/usr/include/s.h\" 1 3 4\n# 9 \"/usr/include/s.h\" 3 4\nint s;\n# 2 \"a.c\" 2\n";
        let [marked, plain] = [" 3 4", "    "].map(|flags| {
            format!("{header}f(\n# 2 \"a.c\"{flags}\n((void *)0)\n# 2 \"a.c\"\n);\nx =\n# 3 \"a.c\"{flags}\n0")
        });
        assert_eq!(unmarked(&marked), plain);
        let says_so =
            "# 0 \"a.c\"\n# 1 \"b.h\" 1\n       \n# 2 \"b.h\" 3\nint b;\n# 2 \"a.c\" 2\nint a;\n";
        assert_eq!(unmarked(says_so), says_so);
        assert_eq!(unmarked(""), "");
    }

    #[test]
    fn own_files_leave_system_headers_out() {
        let text = b"# 0 \"a.c\"\n# 1 \"/w//\"\n# 0 \"<built-in>\"\n#define X\n# 1 \"a.c\"\n# 1 \"b\\\"q.h\" 1\n# 1 \"/usr/include/s.h\" 1 3 4\n";
        assert_eq!(
            own_files(text, &Landmarks::of(text, false).hashes),
            [PathBuf::from("a.c"), PathBuf::from("b\"q.h")]
        );
    }

    #[test]
    fn pragmas_that_gcc_drops() {
        assert!(dropped_pragma(b"#  pragma  message(\"x\")"));
        assert!(dropped_pragma(b"#pragma redefine_extname a b"));
        assert!(!dropped_pragma(b"#pragma once\n_Pragma(\"message x\")"));
    }

    #[test]
    fn words_about_falling_through_are_found() {
        for source in [
            "/* FALLTHROUGH */",
            "// falls thru",
            "/*fall-through*/",
            "-fallthrough",
        ] {
            assert!(tells_of_falling_through(source.as_bytes()), "{source}");
        }
        for source in ["fall", "falls", "fallen through", "the last"] {
            assert!(!tells_of_falling_through(source.as_bytes()), "{source}");
        }
    }

    #[test]
    fn only_compilers_that_were_tried_are_trusted() {
        assert!(directives_only_is_known(
            b"# 0 \"x.c\"\n#define __GNUC__ 12\n"
        ));
        assert!(!directives_only_is_known(b"#define __GNUC__ 13\n"));
        assert!(!directives_only_is_known(b"#define __GNUC__ 1"));
        assert!(!directives_only_is_known(b""));
    }

    #[test]
    fn only_names_of_servers_betray() {
        assert!(shows_server_file(b"x/distccd_0a1b2c3d.i"));
        assert!(!shows_server_file(b"distccd_serve_one"));
        assert!(!shows_server_file(b"distccd_0a1b"));
    }

    #[test]
    fn own_source_starts_behind_the_compilers_macros() {
        let text = b"# 0 \"d/a.c\"\n# 1 \"/w//\"\n# 0 \"<built-in>\"\n#define __STDC__ 1\n# 0 \"<command-line>\"\n#define X 1\n# 1 \"d/a.c\"\nint a;\n";
        let own = as_source(text).unwrap();
        assert_eq!(
            (own.cwd, own.name),
            (PathBuf::from("/w"), PathBuf::from("d/a.c"))
        );
        assert_eq!(
            own.text,
            b"# 0 \"<command-line>\"\n#define X 1\n# 1 \"d/a.c\"\nint a;\n"
        );
        assert!(as_source(b"int a;\n").is_none());
        assert!(as_source(b"# 0 \"a.c\"\nint a;\n").is_none());
    }
}
