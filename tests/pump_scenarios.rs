//! What includes can be made of: directives and macros in odd spellings, searches that go on, links that lead back, and the
//! same headers under other words of the command. Small builds below `pump`, each compared with a local run.
#![allow(clippy::unwrap_used)]

mod common;

use common::twice::Pump;
use common::{have, Which};

/// A few headers that only say that they were read.
const PARTS: [(&str, &str); 6] = [
    ("d/p1.h", "extern int p1;\n"),
    ("d/p2.h", "extern int p2;\n"),
    ("d/abc_pre.h", "extern int pre;\n"),
    ("d/abc_post.h", "extern int post;\n"),
    ("d/none.h", "extern int none;\n"),
    ("d/with,comma.h", "extern int comma;\n"),
];

fn tree<'t>(more: &[(&'t str, &'t str)]) -> Vec<(&'t str, &'t str)> {
    [&PARTS[..], more].concat()
}

#[test]
fn directives_in_odd_spellings() {
    let source = "/* a\n*/  /**/ /* b */ #\tinclude \"p1.h\"\n#include\"p2.h\"\t \n# include <with,comma.h> // no /* matter\n\
        #if 0\n  #\tinclude blah\n  # gggg include\n'#include \"nowhere.h\"\n#endif\n\
        #define POST(a) <a##_post.h>\n// #define POST(a) <nowhere.h>\n#define WIDE(p, \\\n  q , r) \\\n  STR \\\n  (p)\n\
        #define STR(x) #x\n#define ODD (a (b) c) /* d */\n#define EMPTY\n#define NOTHING()\n\
        #include POST(abc)\n#include WIDE (abc_pre.h,,)// e\n#ifdef EMPTY\n#define M(x) STR(x)\n#else\n#define M(x) <x>\n#endif\n\
        #include M(none.h) /* f\n*/\nconst char *s = \"/*\";\n#define NAME \"p\\\n1.h\"\n#include NAME\n\
        const char *raw = \"#include \\\"nowhere.h\\\"\";\n";
    let tree = tree(&[("a.c", source), ("a.cc", source)]);
    Pump::new().same_by_pump(
        2,
        &tree,
        "$CC -Id -MMD -c a.c -o a.o; $CXX -Id -MMD -c a.cc -o b.o",
    );
}

#[test]
fn macros_that_name_headers() {
    let source = "#define A B\n#define B A\n#define FILE_A \"p1.h\"\n#define ALIAS FILE_A\n#include ALIAS\n\
        #define MAX(a, b) a > b ? a : b\n#define F MAX\n#if F(MAX(1, 2), 3) == 3 && MAX(2, 4) > 2\n#include \"p2.h\"\n#endif\n\
        #define STR1(x) #x\n#define STR2(x) STR1(x)\n#define DIR d\n#define HDR(n) STR2(DIR/n.h)\n#include HDR(abc_pre)\n\
        #define CALL STR2 (DIR/abc_post.h)\n#include CALL\n#define foo(x) bar x\n#define bar(x) foo(x)\n\
        int q = sizeof(STR2(foo(foo) (2)));\n#define EMPTY\n#define testhdr\n#include STR2(EMPTY d/none.h EMPTY)\n\
        #define PLUS +\n#define f(x) =x=\nconst char *gnu = STR2(+PLUS -EMPTY- PLUS+ f(=));\n\
        #define OBJ STR2\n#include OBJ(d/with,comma.h)\n";
    let fixed = source
        .replace("OBJ(d/with,comma.h)", "V(d/with,comma.h)")
        .replace(
            "#define OBJ STR2",
            "#define V(...) V1(__VA_ARGS__)\n#define V1(...) #__VA_ARGS__",
        );
    let tree = tree(&[("a.c", &fixed)]);
    Pump::new().same_by_pump(
        1,
        &tree,
        "$CC -Id -I. -g3 -MMD -Wall -Wno-unused -c a.c -o a.o",
    );
}

#[test]
fn definitions_on_the_command_line() {
    let tree = tree(&[
        ("a.c", "#include \"helper.h\"\n"),
        ("b.c", "#define INCL \"p2.h\"\n#include \"helper.h\"\n"),
        ("helper.h", "#ifndef INCL\n#define INCL <p1.h>\n#endif\n#include INCL\n#ifdef FINCLUDE\n#include FINCLUDE(none.h)\n#endif\n"),
    ]);
    Pump::new().same_by_pump(
        6,
        &tree,
        r##"$CC -Id -c a.c -o 1.o; $CC -Id -c b.c -o 2.o; $CC -Id -c a.c -o 3.o
        $CC -Id '-DINCL="d/abc_pre.h"' -c a.c -o 4.o
        $CC -Id '-DSTR(X)=STR_(X)' '-DSTR_(X)=#X' '-DFINCLUDE(P)=STR(WHERE/P)' -DWHERE=d -MMD -c a.c -o 5.o
        $CC -Id -DINCL=\<abc_post.h\> -UINCL -DWHERE=A=B=C -c a.c -o 6.o"##,
    );
}

#[test]
fn searches_that_go_on() {
    let next = "#include_next <h.h>\n";
    let next_of = |name: &str| format!("int {name};\n{next}");
    let texts = ["foo", "bar", "baz"].map(next_of);
    Pump::new().same_by_pump(
        5,
        &[
            ("a.c", "#include <h.h>\n"),
            ("b.c", "#include \"../foo/h.h\"\n"),
            (
                "foo/c.c",
                "#include \"dir.h\"\n#include \"types.h\"\nsize_t s;\n",
            ),
            ("foo/h.h", &texts[0]),
            ("bar/h.h", &texts[1]),
            ("baz/h.h", &texts[2]),
            ("biz/h.h", "int biz;\n"),
            ("foo/dir.h/keep", ""),
            ("biz/dir.h", "int dir;\n"),
        ],
        "for sys in /usr/include/sys /usr/include/*/sys; do if [ -e $sys/types.h ]; then break; fi; done
         all='-Ifoo -Ibar -Ibaz -Ibiz'; $CC $all -MMD -c a.c -o 1.o
         $CC -Ibaz -iquote foo -Ibar -idirafter biz -MMD -c a.c -o 2.o; mkdir sub; cd sub
         $CC -I../foo -I../bar -I../biz -MMD -c ../b.c -o ../3.o; cd ..
         $CC -Ibiz -I$sys -MD -c foo/c.c -o 4.o; $CXX -Ibiz -I$sys -MD -c foo/c.c -o 5.o",
    );
}

#[test]
fn links_all_over() {
    let tree = [
        ("real/a.c", "#include \"foo.h\"\n#include \"sub/../up.h\"\n#include <x.h>\nconst char *f = __FILE__;\n"),
        ("real/foo.h", "#pragma once\n#include \"foo2.h\"\n#include \"bar/../bar/bar.h\"\n"),
        ("real/foo2.h", "int foo2;\n"),
        ("real/up.h", "const char *up = __FILE__;\n"),
        ("real/sub/keep", ""),
        ("real/bar/bar.h", "const char *bar = __FILE__;\n"),
        ("real/x.h", "int x;\n"),
        ("loop.h", "#ifndef DEPTH\n#define DEPTH 1\n#include \"../loop_back\"\n#elif DEPTH == 1\n#undef DEPTH\n#define DEPTH 2\n#include \"../loop_back\"\n#endif\n"),
        ("b.c", "#include \"farm/loop.h\"\nint depth = DEPTH;\n"),
        ("loop_back", "#include \"farm/loop.h\"\n"),
    ];
    // A copy of the tree in which each file is a link; links to folders and to links; and a header that comes back by one.
    Pump::new().same_by_pump(
        5,
        &tree,
        "mkdir farm; cp -Rs \"$PWD/real\" farm/tree; ln -s ../loop.h farm/loop.h; ln -s real other; ln -s other third
         $CC -g -Ireal -MD -c real/a.c -o 1.o; $CC -g -Ifarm/tree -MD -c farm/tree/a.c -o 2.o
         $CC -g -Ithird -MD -c other/a.c -o 3.o; cd third; $CC -g -I../farm/tree -MD -c a.c -o ../4.o; cd ..
         $CC -MD -c b.c -o 5.o",
    );
}

#[test]
fn what_can_not_be_compiled_fails_as_it_does_here() {
    let log = Pump::new().same(
        &[
            ("a.c", "#include <nosuchfilehere.h>\n"),
            ("b.c", "#error no\n"),
            ("ok.c", "int ok;\n"),
            ("deep/x.h", ""),
        ],
        "try() { s=0; \"$@\" || s=$?; echo $s >>status; }
         try $CC -c a.c; try $CC -MD -c b.c; try $CC -c missing.c; try $CC -c ok.c -o none/x.o; try $CC -Idup -include no.h -c ok.c
         mkdir gone; cd gone; rmdir ../gone; s=0; $CC -c ../ok.c -o ../ok.o 2>/dev/null || s=$?; cd \"$OLDPWD\"; echo $s >>status
         $CC -c ok.c -o last.o",
    );
    // A fault of the source is no reason to leave pump mode.
    assert!(log.contains("last.o"), "{log}");
    let last = log.rsplit("compile from ok.c to last.o").next().unwrap();
    assert!(last.contains(common::twice::IN_PUMP_MODE), "{log}");
}

#[test]
fn many_at_once() {
    let names: Vec<String> = (0..40).map(|number| format!("f{number}.c")).collect();
    let texts: Vec<String> = (0..40)
        .map(|number| {
            format!(
                "#include <d/p1.h>\n#include \"c{}.h\"\nint f;\n",
                number % 7
            )
        })
        .collect();
    let headers: Vec<String> = (0..7).map(|number| format!("c{number}.h")).collect();
    let mut tree = tree(&[]);
    tree.extend(
        names
            .iter()
            .map(String::as_str)
            .zip(texts.iter().map(String::as_str)),
    );
    tree.extend(headers.iter().map(|name| (name.as_str(), "int c;\n")));
    Pump::new().same_by_pump(
        40,
        &tree,
        "for f in f*.c; do $CC -I. -MMD -c $f & done; wait",
    );
}

#[test]
fn the_next_host_takes_what_the_first_can_not() {
    if !have("mixed hosts", &["gcc"]) {
        return;
    }
    let pump = Pump::new();
    let nobody = common::free_port();
    let work = pump.farm.work();
    pump.farm.write("h.h", "#define V 1\n");
    pump.farm.write("a.c", "#include \"h.h\"\nint v = V;\n");
    pump.farm
        .local(&["gcc", "-c", "a.c", "-o", "l.o"])
        .expect(0);
    let links = pump.farm.masquerade(Which::Ours, &["distcc", "pump"]);
    let hosts = format!("127.0.0.1:{nobody},cpp,lzo {}", pump.daemon.host());
    let client = pump.farm.client(Which::Ours, &hosts);
    let path = format!("{}:/usr/bin:/bin", links.display());
    let client = client.env("PATH", path);
    for _ in 0..2 {
        let ran = client.run_other(&["pump", "distcc", "gcc", "-c", "a.c", "-o", "a.o"]);
        let ran = ran.expect(0);
        assert_eq!(ran.hosts(), [pump.daemon.host()], "{ran}");
        assert!(!ran.log.contains("exec on localhost"), "{ran}");
        assert_eq!(
            common::same_file(&work.join("l.o"), &work.join("a.o")),
            None
        );
    }
    pump.farm.expect_clean("mixed hosts");
}
