//! Files that a compile reads and writes: after each command the folder must look as after the same command without
//! distcc, byte for byte, mode for mode, link for link; and stderr, stdout and status must be the same.
#![allow(clippy::unwrap_used)]

mod common;

use common::{in_parallel, Farm, Ran, Which, OURS};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::{ffi::OsStrExt, fs::MetadataExt};
use std::path::Path;

/// Where the compile must take place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Where {
    /// On the host, and not here.
    There,
    /// Here, and not sent anywhere.
    Here,
    /// It does not matter.
    Any,
}

use Where::{Any, Here, There};

/// How the folder is prepared, what is run in it (`CC` and `CXX` stand for the compilers), and where that takes place.
type Case = (&'static str, &'static str, Where);

const OUTPUTS: &[Case] = &[
    ("", "CC -c x.c", There),
    ("mkdir out", "CC -c x.c -o out/y.o", There),
    ("", "CC -c x.c -o./x.o", There),
    ("", "CC -c x.c -o '../case/a b.o'", There),
    ("", "CC -c x.c -o \"$PWD/x.o\"", There),
    ("echo old > t; ln -s t x.o", "CC -c x.c", There),
    ("ln -s nowhere x.o", "CC -c x.c", There),
    ("echo old > t; ln t x.o", "CC -c x.c", There),
    ("echo old > x.o; chmod 600 x.o", "CC -c x.c", There),
    (": > t; chmod 640 t; ln t x.o", "CC -c x.c", There),
    (": > t; chmod 640 t; ln -s t x.o", "CC -c x.c", There),
    ("echo old > x.o; chmod 444 x.o", "CC -c x.c", There),
    ("ln -s /dev/null x.o", "CC -c x.c", Any),
    ("mkdir x.o", "CC -c x.c", Any),
    ("", "CC -c x.c -o missing/x.o", Any),
    ("", "CC -c x.c -o /proc/x.o", Any),
    ("mkdir out; chmod 555 out", "CC -c x.c -o out/x.o", Any),
    ("", "CC -c x.c -o /dev/null", Here),
    ("", "CC -S x.c -o -", Here),
    ("echo old > x.o", "CC -c bad.c -o x.o", Any),
    ("", "umask 0; CC -c x.c; CC -S x.c", There),
    ("", "umask 077; CC -c x.c; CC -S x.c -O2", There),
    ("", "umask 027; CC -c x.c -o x; CC -S x.c -o y", There),
    ("", "CC -S x.c -o missing/x.s", Any),
    ("echo old > t; chmod 640 t; ln -s t x.s", "CC -S x.c", There),
    ("ln -s nowhere x.s", "CC -S x.c", There),
    ("echo old > t; ln t x.s", "CC -S x.c", There),
    ("echo old > x.s; chmod 400 x.s", "CC -S x.c", Any),
    // A source is no output, however it is spelled.
    ("", "CC -c x.c -o ./x.c", Here),
    ("", "CC -S x.c -o sub/../x.c", Here),
    ("ln -s x.c x.o", "CC -c x.c", Here),
    ("mkfifo x.s", "cat x.s > y & CC -S x.c; wait", Any),
];

const DEPENDENCIES: &[Case] = &[
    ("", "CC -MD -c x.c", There),
    ("mkdir out", "CC -MMD -c x.c -o out/y.o", There),
    (
        "mkdir out",
        "CC -MD -MP -c sub/../x.c -o out/y.tar.o",
        There,
    ),
    ("", "CC -MMD -MF deps -c x.c", There),
    ("mkdir out", "CC -MD -MFdeps -c x.c -o out/y.o", There),
    ("", "CC -MMD -MT target -MT other -c x.c", There),
    ("", "CC -MMD -MP -MQ '$t' -MTa -c x.c -o y.o", There),
    ("", "CC -Wp,-MD,deps -c x.c", There),
    ("mkdir out", "CC -Wp,-MMD,deps -c x.c -o out/y.o", There),
    ("", "CC -MMD -S x.c", There),
    ("mkdir out", "CC -MMD -S x.c -o out/y.s", There),
    ("cp x.c 'a b$.c'", "CC -MD -c 'a b$.c'", There),
    ("cp x.c 'a#b.c'", "CC -MD -c 'a#b.c' -o 'a b.o'", There),
    ("", "CC -MD -MF missing/d -c x.c", Any),
    ("", "CC -MD -c bad.c", Any),
    ("", "CC -MD -MG -c x.c", Any),
    ("", "CC -MF deps -c x.c", Any),
    ("", "DEPENDENCIES_OUTPUT=deps CC -c x.c", Any),
    (
        "mkdir out",
        "DEPENDENCIES_OUTPUT='deps t' CC -c x.c -o out/x.o",
        Any,
    ),
    ("", "SUNPRO_DEPENDENCIES=deps CC -c x.c", Any),
    ("", "DEPENDENCIES_OUTPUT=deps CC -Wall -c warn.c", Any),
    ("", "CC -MD -Wall -c warn.c -o y.o", Any),
    ("", "CXX -MMD -MP -c y.cc -o y.o", There),
];

const SOURCES: &[Case] = &[
    ("", "CC -c \"$PWD/x.c\"", There),
    ("", "CC -c ../case/x.c", There),
    ("cp x.c 'sp ace.c'", "CC -c 'sp ace.c'", There),
    (
        "cp x.c \"q'u\\\"o\\\\te.c\"",
        "CC -c \"q'u\\\"o\\\\te.c\"",
        There,
    ),
    (
        "cp x.c \"$(printf 'n\\377\\303.c')\"",
        "CC -c \"$(printf 'n\\377\\303.c')\"",
        There,
    ),
    (
        "cp x.c \"$(printf 'n\\377.c')\"",
        "CC -MD -c \"$(printf 'n\\377.c')\" -o \"$(printf '\\376.o')\"",
        There,
    ),
    (
        "cp x.c $(printf %0240d 7).c",
        "CC -c $(printf %0240d 7).c",
        There,
    ),
    ("mv x.c noext", "CC -x c -c noext -o x.o", Any),
    ("", "CC -x c++ -c x.c", There),
    ("", "CC -E x.c -o x.i; CC -c x.i", There),
    ("", "CXX -E y.cc -o y.ii; CXX -c y.ii", There),
    ("printf 'int f;' > f.i", "CC -c f.i", Any),
    ("", "CXX -c y.cc -std=c++17 -O1", There),
    ("", "CXX -c x.c", Any),
    (": > e.c", "CC -c e.c", There),
    (": > e.i", "CC -c e.i", Any),
    (
        "printf 'int a = N;\\r\\nint f(void) {\\r\\n  return a; }\\r\\n' > e.c",
        "CC -DN=3 -UM -gdwarf-4 -c e.c",
        There,
    ),
    ("printf 'int no_newline;' > e.c", "CC -c e.c", There),
    (
        "printf 'int cr;\\r\\nint lf;\\r\\n' > e.c",
        "CC -c e.c",
        There,
    ),
    ("", "CC -c no-such.c", Here),
    ("chmod 0 x.c", "CC -c x.c", Any),
    ("mkdir d.c", "CC -c d.c", Any),
    ("ln -s x.c l.c", "CC -c l.c", There),
    ("echo '-c x.c -o \"a b.o\"' > args", "CC @args", There),
    ("", "CC @missing -c x.c", Any),
    (
        "",
        "CC -include sub/h.h -D'S=\"a b\"' -DN=3 -UN -c x.c",
        Any,
    ),
    (
        "",
        "CC -Isub -iquote sub -isystem sub -idirafter sub -c x.c",
        There,
    ),
    ("", "CPATH=sub CC -c angle.c", There),
    ("", "C_INCLUDE_PATH=sub CC -c angle.c", There),
    ("", "CC -g -c x.c", Any),
    ("", "CC -gdwarf-4 -c x.c", There),
    ("ln -s . link", "cd link; CC -gdwarf-4 -c x.c", There),
    ("ln -s . link", "PWD=$PWD/link CC -gdwarf-4 -c x.c", There),
    ("", "PWD=/nowhere CC -gdwarf-4 -c x.c", There),
    ("", "env -u PWD CC -gdwarf-4 -c x.c", There),
    (
        "mkdir gone",
        "D=$PWD; cd gone; rmdir ../gone; CC -c $D/x.c -o $D/x.o",
        Any,
    ),
    // Only a compiler defines what these pragmas ask for; its preprocessor alone does not.
    (
        "printf '#pragma GCC target(\"avx2\")\n#ifdef __AVX2__\nint a;\n#endif\n' > p.c",
        "CC -c p.c; CC -gdwarf-4 -c p.c -o d.o",
        Any,
    ),
    (
        "printf '#define DO(x) _Pragma(#x)\nDO(GCC  optimize (3))\n#ifdef __OPTIMIZE__\nint a;\n#endif\n' > p.c",
        "CC -c p.c; CC -gdwarf-4 -c p.c -o d.o",
        Any,
    ),
    (
        "printf '#include <emmintrin.h>\n__m128i f(__m128i a) { return _mm_add_epi8(a, a); }\n' > p.c",
        "CC -c p.c",
        There,
    ),
    ("", "CC -c x.c <&-", There),
    ("", "CC -c x.c >&-", There),
    ("", "CC -c x.c 2>&-", There),
    ("", "CC -c bad.c 2>&-", Any),
    (
        "",
        "CC -c x.c; CC -c sub/s.c; CC x.o s.o -o both; CC -dumpversion; CC -E x.c",
        Any,
    ),
];

/// What the preprocessor alone sees otherwise than a compiler.
const TEXTS: &[Case] = &[
    // gcc heeds these pragmas only when it compiles.
    (
        "printf '#pragma GCC diagnostic ignored \"-Wundef\"\n#if FOO\n#endif\n' > p.c",
        "CC -O2 -Wundef -c p.c",
        Any,
    ),
    (
        "printf '#if FOO\n#pragma GCC diagnostic error \"-Wundef\"\n#elif FOO\n#endif\n' > p.c",
        "CC -O2 -Wundef -c p.c",
        Any,
    ),
    (
        "printf '#pragma GCC diagnostic warning \"-Wundef\"\n#if FOO\n#endif\n' > p.c",
        "CC -O2 -c p.c; CC -c p.c; CC -O2 -include sub/h.h -c p.c",
        Any,
    ),
    (
        "printf '#define DO(x) _Pragma(#x)\nDO(GCC diagnostic error \"-Wcpp\")\n#warning so\n' > p.c",
        "CC -O2 -Wno-cpp -c p.c; CC -Wno-cpp -c p.c",
        Any,
    ),
    (
        "printf '#pragma GCC diagnostic error \"-Wswitch\"\nint a;\n' > p.c",
        "CC -O2 -c p.c",
        There,
    ),
    // Preprocessed text in which clang preprocesses once more.
    (
        "printf '# 1 \"p.c\"\n#if __has_include(\"sub/h.h\")\nint a;\n#endif\n' > p.i",
        "CC -c p.i",
        Any,
    ),
    (
        "printf '# 1 \"p.c\"\nconst char *t = __TIMESTAMP__;\n' > p.i; touch -d 2001-02-03 p.i",
        "CC -c p.i",
        Any,
    ),
    // clang marks lines anew behind each include and condition, by the file's own.
    (
        "printf '#line 70 \"q.y\"\n#include \"sub/h.h\"\nint l = __LINE__;\nconst char *f = __FILE__;\n' > p.c",
        "CC -c p.c; CC -O2 -gdwarf-4 -c p.c -o q.o",
        Any,
    ),
    (
        "printf ' #  line 70 \"q.y\"\n#ifdef A\n#endif\nint l = __LINE__;\n#if 1\nconst char *f = __FILE__;\n#endif\n' > p.c",
        "CC -c p.c",
        Any,
    ),
    (
        "printf '#line 70 \"q.y\"\n#pragma once\nint l = __LINE__;\n' > p.h; printf '#include \"p.h\"\n' > p.c",
        "CC -c p.c",
        Any,
    ),
    (
        "printf '#include \"sub/h.h\"\n#line 70 \"q.y\"\nint l = __LINE__;\nconst char *f = __FILE__;\n' > p.c",
        "CC -O2 -c p.c",
        There,
    ),
    (
        "printf '/** \\\\param x y */ int f(int z);\n' > p.c",
        "CC -Wdocumentation -include sub/h.h -c p.c; CC -Weverything -include sub/h.h -c p.c; CC -fcomment-block-commands=q -Wdocumentation-unknown-command -include sub/h.h -c p.c",
        Any,
    ),
    // clang's debug information spells its source anew, and its driver warns of C that is taken for C++.
    (
        "",
        "CC -gdwarf-4 -c ./x.c; CC -gdwarf-4 -c $PWD//x.c -o y.o; CC -g -c .//x.c -o z.o; CC -gdwarf-4 -c sub/../x.c -o w.o",
        Any,
    ),
    ("gcc -E sub/s.c > s.i", "CXX -c s.i; CXX -gdwarf-4 -c ./s.i -o t.o", Any),
    ("", "CC -O2 -c ./x.c; CC -O2 -c .//x.c -o y.o", There),
    (
        "printf '#define S ;\nint f(int a) { if (a) S return 1; while (a) S return 2; }\n' > p.c",
        "CC -Wall -c p.c; CC -Wmissing-prototypes -c p.c; CC -Weverything -c p.c",
        Any,
    ),
    // Files may not begin or end among a macro's arguments.
    (
        "echo '2' > p.h; printf '#define F(a, b) a + b\nint x = F(1,\n#include \"p.h\"\n);\n' > p.c",
        "CC -c p.c; CC -O2 -c p.c; CC -gdwarf-4 -c p.c",
        Any,
    ),
    (
        "echo 'int x = F(1,' > p.h; printf '#define F(a, b) a + b\n#include \"p.h\"\n2);\n' > p.c",
        "CC -c p.c; CC -O2 -c p.c; CC -gdwarf-4 -c p.c",
        Any,
    ),
    // gcc judges headers, too, by their own lines and macros.
    (
        "printf 'static inline int f(int a) {\n  if (a)\n    a++;\n    a--;\n  return a;\n}\n' > p.h; printf '#include \"p.h\"\nint g(int a) { return f(a); }\n' > p.c",
        "CC -O2 -Wall -c p.c; CC -Wall -c p.c; CC -Wall -O2 -gdwarf-4 -c p.c",
        Any,
    ),
    (
        "printf 'static inline int f(int a) {\n      if (a)\n\ta++;\n\ta--;\n  return a;\n}\n' > p.h; printf '#include \"p.h\"\nint g(int a) { return f(a); }\n' > p.c",
        "CC -O2 -Wall -c p.c; CC -Wall -c p.c; CC -O2 -isystem. -Wall -c p.c; CC -Wall -include p.h -c x.c; CC -Wall -include sub/h.h -x c -c p.h -o q.o",
        Any,
    ),
    (
        "printf '#define SWAP(x, y) t = x; x = y; y = t\n' > p.h; printf '#include \"p.h\"\nint g(int a, int b) {\n  int t = 0;\n  if (a) SWAP(a, b);\n  return a + b + t; }\n' > p.c",
        "CC -O2 -Wall -c p.c; CC -Wall -c p.c",
        Any,
    ),
    (
        "printf '#include <errno.h>\n#define FAIL(x) errno = x; return errno\n' > p.h; printf '#include \"p.h\"\nint g(int a) {\n  if (a)\n    FAIL(3);\n  return 1; }\n' > p.c",
        "CC -O2 -Wall -c p.c; CC -Wall -c p.c",
        Any,
    ),
    (
        "mkdir sys; echo '#define TWICE(a) a++; a++' > sys/p.h; printf '#include <p.h>\nint f(int a) { if (a) TWICE(a); return a; }\n' > p.c",
        "CC -O2 -isystem sys -Wall -c p.c; CC -isystem sys -Wall -c p.c",
        Any,
    ),
    (
        "printf '#include <stddef.h>\nstatic inline int *f(int a) {\n\tif (a)\n\t\treturn NULL;\n\tfor (;;)\n\t\tif (a--)\n\t\t\treturn NULL;\n}\n' > p.h; printf '#include \"p.h\"\nint g(int a) { return f(a) != 0; }\n' > p.c",
        "CC -O2 -Wall -c p.c",
        There,
    ),
    (
        "printf 'static inline int f(int a) { if (a) return 1; return 0; }\n#define CHECK(a) do { if (!(a)) return 2; a--; } while (a)\n' > p.h; printf '#include \"p.h\"\nint g(int a) {\n  switch (a) {\n  case 1: if (f(2)) g(1); break;\n  }\n  for (;;) { if (a) break; a++; }\n  CHECK(a);\n  return f(a);\n}\n' > p.c",
        "CC -O2 -Wall -c p.c",
        There,
    ),
];

/// What is so only with gcc.
const JUDGED: &[Case] = &[
    // After #line gcc says nothing of indentation, but of macros it does.
    (
        "printf '#line 3 \"gone.y\"\nstatic inline int f(int a) {\n  if (a)\n    a++;\n    a--;\n  return a;\n}\n' > p.h; printf '#include \"p.h\"\nint g(int a) { return f(a); }\n' > p.c",
        "CC -O2 -Wall -c p.c",
        There,
    ),
    (
        "printf '#define TWO a++; a--\n#line 3 \"gone.y\"\nstatic inline int f(int a) {\n  if (a)\n    TWO;\n  return a;\n}\n' > p.h; printf '#include \"p.h\"\nint g(int a) { return f(a); }\n' > p.c",
        "CC -O2 -Wall -c p.c",
        Any,
    ),
];

/// What is so only with clang.
const REWRITTEN: &[Case] = &[
    (
        "printf '#include \"sub/h.h\"\nint h = H;\n' > p.c; clang -E -frewrite-includes p.c | sed 1d > p.i",
        "CC -c p.i",
        There,
    ),
    // clang warns of #pragma pack by the files: where it is in use.
    (
        "printf '#ifdef _MSC_VER\n#pragma pack(push, 8)\n#endif\n#define PACK _Pragma(\"pack(push, 1)\")\n#define DO(x) _Pragma(#x)\nint h = sizeof(\"pack(1)\");\n' > p.h; printf '#include \"p.h\"\nint x;\n' > p.c",
        "CC -c p.c; CC -O2 -gdwarf-4 -MD -c p.c",
        There,
    ),
    // What stands at the end of loops, and what conditions only ask for.
    (
        "printf '#include <pthread.h>\nvoid g(void *);\nvoid f(void) {\n  pthread_cleanup_push(g, 0);\n  g(0);\n  pthread_cleanup_pop(1);\n  g(0);\n}\n' > p.c; printf '#define S do\n#define E } while (0)\n#define X(a) S { g(a); E\nvoid g(int);\nvoid f(void) {\n  X(1);\n#if defined(__COUNTER__)\n  S { g(__COUNTER__); E;\n  X(2);\n#endif\n}\n' > q.c",
        "CC -c p.c; CC -c q.c",
        There,
    ),
    (
        "printf 'PACK\nint h;\n' > p.h; printf '#include \"p.h\"\nint x;\n' > p.c",
        "CC '-DPACK=_Pragma(\"pack(1)\")' -c p.c; CC '-DPACK=_Pragma(\"pack(push)\")' -include sub/h.h -c p.c",
        Any,
    ),
    // clang tells of conditions and markers that rewriting has put in, and not of what it has taken out.
    (
        "printf '#define F(a) a\nint x = F(1\n#ifdef A\n#else\n#endif\n);\n' > p.c",
        "CC -pedantic -c p.c",
        Any,
    ),
    (
        "printf '#define A 1\n#if A\nint x;\n#endif\n' > p.c",
        "CC -Wunused-macros -c p.c; CC -Wunused-macros -fno-diagnostics-show-option -c p.c",
        Any,
    ),
];

const OBJECTIVE: &[Case] = &[
    ("", "CC -c o.m", There),
    ("", "CC -c o.mm -o x.o", There),
    ("", "CC -x objective-c -c x.c", There),
    ("", "CC -E o.m -o o.mi; CC -c o.mi", There),
];

const PREPARE: &str = r##"mkdir case; cd case; mkdir sub
cat > x.c <<'E'
#include <stddef.h>
#include "sub/h.h"
#define SQUARE(a) ((a) * (a))
int f(int a, size_t n) { return SQUARE(a + H) + (int)n; }
E
echo '#define H 5' > sub/h.h
echo 'int g(void) { return __LINE__; }' > sub/s.c
printf '#include <h.h>\nint h = H;\n' > angle.c
echo 'int f(void) { return nothing; }' > bad.c
echo 'void f(void) { int unused; }' > warn.c
printf '#include <string>\nstd::string f(int a) { return std::string(a, 65) + "b"; }\n' > y.cc
printf '__attribute__((objc_root_class))\n@interface A { int a; }\n- (int) a;\n@end\n@implementation A\n- (int) a { return a; }\n@end\n' > o.m
printf '__attribute__((objc_root_class))\n@interface B\n@end\ntemplate<class T> T g(T t) { return t; }\nint h() { return g(4); }\n' > o.mm
"##;

/// All that is in a folder: kind and mode, then contents or what a link names.
fn snapshot(folder: &Path, below: &Path, into: &mut BTreeMap<OsString, (String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        let name = path.strip_prefix(below).unwrap().as_os_str().to_owned();
        let kind = format!("mode {:o}, {} links", meta.mode(), meta.nlink());
        let contents = match meta.file_type() {
            kind if kind.is_symlink() => fs::read_link(&path)
                .unwrap()
                .as_os_str()
                .as_bytes()
                .to_vec(),
            kind if kind.is_file() => fs::read(&path).unwrap(),
            _ => Vec::new(),
        };
        into.insert(name, (kind, contents));
        if meta.is_dir() {
            snapshot(&path, below, into);
        }
    }
}

/// Both programs of a family.
fn compilers(family: &str) -> [&'static str; 2] {
    match family {
        "gcc" => ["gcc", "g++"],
        _ => ["clang", "clang++"],
    }
}

fn spelled(command: &str, family: &str, distcc: &str) -> String {
    let [cc, cxx] = compilers(family).map(|name| format!(" {distcc}{name} "));
    let words = format!(" {command}").replace(" CC ", &cc);
    words.replace(" CXX ", &cxx)
}

/// Runs one case in a farm of its own, with and without distcc.
fn check(case: &Case, family: &str, daemon: &str) {
    let (setup, command, place) = *case;
    let farm = Farm::new();
    let client = farm.client(Which::Ours, daemon);
    let folder = farm.work().join("case");
    let run = |distcc: &str| {
        let prepare = format!("chmod -R u+rwx .; rm -rf case; {PREPARE}\n{setup}");
        client.run_other(&["/bin/sh", "-ec", &prepare]).expect(0);
        let inside = client.clone().folder(&folder).env("PWD", &folder);
        let ran = inside.run_other(&["/bin/sh", "-c", &spelled(command, family, distcc)]);
        let mut found = BTreeMap::new();
        snapshot(&farm.work(), &farm.work(), &mut found);
        (ran, found)
    };
    let (native, expected) = run("");
    let (ran, found) = run(&format!("{OURS} "));
    let context = format!("{command} [{family}] after '{setup}'");
    let says = |part, right: &str, made: &str| {
        let difference = common::same_bytes(right.as_bytes(), made.as_bytes());
        assert_eq!(difference, None, "{part} of {context}: {ran}but {native}");
    };
    says(
        "status",
        &native.status.to_string(),
        &ran.status.to_string(),
    );
    says("stderr", &native.stderr, &ran.stderr);
    says("stdout", &native.stdout, &ran.stdout);
    let names = |found: &BTreeMap<OsString, _>| found.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&found), names(&expected), "files of {context}: {ran}");
    for (name, (kind, contents)) in &expected {
        let (other_kind, other) = &found[name];
        assert_eq!(other_kind, kind, "{name:?} of {context}: {ran}");
        let difference = common::same_bytes(contents, other);
        assert_eq!(difference, None, "{name:?} of {context}: {ran}");
    }
    expect_place(&ran, place, &context);
    farm.expect_clean(&context);
}

#[track_caller]
fn expect_place(ran: &Ran, place: Where, context: &str) {
    let here = ran.log.contains("exec on localhost") || ran.log.contains("locally");
    let there = !ran.hosts().is_empty();
    match place {
        There if context.contains("-E ") => assert!(there, "{context}: {ran}"),
        There => assert!(there && !here, "not remote: {context}: {ran}"),
        Here => assert!(!there, "not local: {context}: {ran}"),
        Any => {}
    }
}

fn check_all(cases: &[Case], families: &[&str]) {
    let farm = Farm::new();
    let daemon = farm.daemon(Which::Ours).start();
    let items: Vec<(&Case, &str)> = families
        .iter()
        .flat_map(|family| cases.iter().map(move |case| (case, *family)))
        .collect();
    in_parallel(&items, |(case, family)| check(case, family, &daemon.host()));
    assert_eq!(daemon.leftovers(), [""; 0]);
}

#[test]
fn outputs_are_written_as_compilers_write_them() {
    check_all(OUTPUTS, &["gcc", "clang"]);
}

#[test]
fn dependency_files_are_the_same() {
    check_all(DEPENDENCIES, &["gcc", "clang"]);
}

#[test]
fn sources_of_all_kinds_and_names() {
    check_all(SOURCES, &["gcc", "clang"]);
}

#[test]
fn texts_say_what_their_sources_say() {
    check_all(TEXTS, &["gcc", "clang"]);
    check_all(JUDGED, &["gcc"]);
    check_all(REWRITTEN, &["clang"]);
}

#[test]
fn objective_c() {
    check_all(OBJECTIVE, &["gcc"]);
}

#[test]
fn huge_sources_travel_both_ways() {
    let farm = Farm::new();
    let daemon = farm.daemon(Which::Ours).start();
    // Letters without a pattern, so that compression has work to do. C joins the strings.
    let mut seed = 7u64;
    let mut text = String::from("const char big[] =\n");
    while text.len() < 20_000_000 {
        text.push('"');
        for _ in 0..1000 {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            text.push(char::from(b'a' + (seed >> 60) as u8));
        }
        text.push_str("\"\n");
    }
    text.push_str(";\n");
    farm.write("big.c", &text);
    farm.local(&["gcc", "-c", "big.c", "-o", "right.o"])
        .expect(0);
    for option in ["", ",lzo"] {
        let client = farm.client(Which::Ours, &format!("{}{option}", daemon.host()));
        let ran = client.run(&["gcc", "-c", "big.c"]).expect(0);
        expect_place(&ran, There, "big.c");
        let difference =
            common::same_file(&farm.work().join("right.o"), &farm.work().join("big.o"));
        assert_eq!(difference, None, "{ran}");
    }
    farm.expect_clean("huge sources");
    assert_eq!(daemon.leftovers(), [""; 0]);
}

#[test]
fn two_hundred_at_once_on_four_slots() {
    const JOBS: usize = 200;
    let farm = Farm::new();
    let daemon = farm.daemon(Which::Ours).jobs(4).start();
    for job in 0..JOBS {
        farm.write(
            &format!("s{job}.c"),
            &format!("int function_{job}_(void) {{ return {job}; }}\n"),
        );
    }
    let client = farm.client(Which::Ours, &format!("{}/4", daemon.host()));
    let command = format!(
        "for i in $(seq 0 {}); do {OURS} gcc -c s$i.c || echo s$i & done; wait",
        JOBS - 1
    );
    let ran = client.run_other(&["/bin/sh", "-c", &command]).expect(0);
    assert_eq!((&*ran.stdout, &*ran.stderr), ("", ""), "{ran}");
    assert_eq!(ran.hosts().len(), JOBS, "all went to the host: {ran}");
    for job in 0..JOBS {
        let object = fs::read(farm.work().join(format!("s{job}.o"))).unwrap();
        let name = format!("\0function_{job}_\0");
        let own = object
            .windows(name.len())
            .any(|part| part == name.as_bytes());
        assert!(own, "s{job}.o is not that of s{job}.c");
        if job % 40 == 0 {
            let (source, right) = (format!("s{job}.c"), farm.work().join("right.o"));
            farm.local(&["gcc", "-c", &source, "-o", "right.o"])
                .expect(0);
            let difference = common::same_bytes(&fs::read(right).unwrap(), &object);
            assert_eq!(difference, None, "s{job}.o");
        }
    }
    farm.expect_clean("many jobs");
    assert_eq!(daemon.leftovers(), [""; 0]);
}
