//! Situations in which stock's pump mode gives a wrong object without a word, or falls back and demotes the whole build.
//! Each is a small build whose every file must be that of a local run, and which must go in pump mode unless it is said.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::have;
use common::twice::{assert_pumped, Pump};

const MAIN: (&str, &str) = ("a.c", "#include \"h.h\"\nint v = V;\nconst char *f = F;\n");
const HEADER: (&str, &str) = ("h.h", "#define V 1\n#define F __FILE__\n");

#[test]
fn edits_while_the_session_lives() {
    // The header, the source, a header of the same size within one tick of the clock, a moved folder.
    Pump::new().same_by_pump(
        6,
        &[MAIN, HEADER],
        "$CC -c a.c -o 1.o
         printf '#define V 2\\n#define F __FILE__\\n' >h.h; $CC -c a.c -o 2.o
         for v in 3 4 5; do printf \"#define V $v\\n#define F __FILE__\\n\" >h.h; $CC -c a.c -o $v.o; done
         echo 'int w;' >>a.c; $CC -c a.c -o 6.o",
    );
}

#[test]
fn trees_that_move() {
    Pump::new().same_by_pump(
        3,
        &[
            ("a.c", "#include <h.h>\nint v = V;\n"),
            ("one/h.h", "#define V 1\n"),
            ("two/h.h", "#define V 2\n"),
        ],
        "ln -s one now; $CC -Inow -c a.c -o 1.o
         ln -sfn two now; $CC -Inow -c a.c -o 2.o
         rm now; mv one three; mv two one; ln -s one now; $CC -Inow -c a.c -o 3.o",
    );
}

#[test]
fn headers_that_appear_and_vanish() {
    Pump::new().same_by_pump(
        4,
        &[
            (
                "a.c",
                "#if __has_include(\"gen.h\")\n#include \"gen.h\"\n#endif\n#include <h.h>\nint v = V;\n",
            ),
            ("far/h.h", "#define V 1\n"),
            ("near/other.h", ""),
        ],
        "$CC -Inear -Ifar -c a.c -o 1.o
         echo '#define V 2' >near/h.h; $CC -Inear -Ifar -c a.c -o 2.o
         echo 'int generated;' >gen.h; $CC -Inear -Ifar -c a.c -o 3.o
         rm near/h.h gen.h; $CC -Inear -Ifar -c a.c -o 4.o",
    );
}

#[test]
fn generated_configuration_between_objects() {
    // As a kernel is built: one header for all, rewritten while the build runs.
    let mut tree = vec![
        (
            "include/linux/kconfig.h",
            "#include <generated/autoconf.h>\n",
        ),
        ("include/generated/autoconf.h", "#define CONFIG_A 0\n"),
    ];
    tree.extend(["k1.c", "k2.c", "k3.c"].map(|name| {
        (
            name,
            "#ifdef CONFIG_B\n#include \"b.h\"\n#endif\nint a = CONFIG_A;\n",
        )
    }));
    tree.push(("b.h", "int b = CONFIG_B;\n"));
    Pump::new().same_by_pump(
        12,
        &tree,
        "for round in 1 2 3 4; do
           for k in k1 k2 k3; do
             $CC -nostdinc -Iinclude -include include/linux/kconfig.h -Wp,-MMD,$k.$round.d -c $k.c -o $k.$round.o &
             echo \"$!\" >>pids
           done
           wait; rm pids
           printf \"#define CONFIG_A $round\\n#define CONFIG_B $round\\n\" >include/generated/autoconf.h
         done",
    );
}

#[test]
fn has_include_of_what_is_not_included() {
    Pump::new().same_by_pump(
        1,
        &[
            (
                "a.c",
                "#if __has_include(\"d/there.h\") && !__has_include(<not.h>)\nint yes;\n#endif\n",
            ),
            ("d/there.h", "int not_included;\n"),
        ],
        "$CC -c a.c -o a.o",
    );
}

#[test]
fn one_header_by_two_names() {
    Pump::new().same_by_pump(
        5,
        &[
            ("s/a.c", MAIN.1),
            ("s/w.h", HEADER.1),
            ("s/h.h", "#include <w.h>\n"),
            (
                "b.c",
                "#include \"s/w.h\"\n#include <w.h>\nconst char *f = F;\n",
            ),
        ],
        "$CC -g -Is -c s/a.c -o 1.o
         $CC -g -I\"$PWD/s\" -c s/a.c -o 2.o
         $CC -g -Is -c s/a.c -o 3.o
         $CC -g -I\"$PWD/s\" -c b.c -o 4.o
         $CC -g -I\"$PWD/s\" -c \"$PWD/s/a.c\" -o 5.o",
    );
}

#[test]
fn the_base_file_by_its_absolute_name() {
    Pump::new().same_by_pump(
        2,
        &[(
            "a.c",
            "#include <assert.h>\nconst char *b = __BASE_FILE__;\nvoid f(int x) { assert(x); }\n",
        )],
        "$CC -g -c \"$PWD/a.c\" -o 1.o; $CC -g3 -gdwarf-4 -c \"$PWD/a.c\" -o 2.o",
    );
}

#[test]
fn times_of_files_and_builds() {
    // With the client's clock and zone: these may go another way.
    Pump::new().same(
        &[
            ("t.c", "const char *t = __TIMESTAMP__;\n"),
            ("d.c", "const char *d = __DATE__ __TIME__;\n"),
        ],
        "touch -d '2001-02-03 04:05:06' t.c; $CC -c t.c -o t.o
         export SOURCE_DATE_EPOCH=86399; $CC -c d.c -o d.o
         export TZ=Asia/Tokyo LC_ALL=C; $CC -c d.c -o e.o; $CC -c t.c -o u.o",
    );
}

#[test]
fn twins_under_pragma_once() {
    let twin = "#pragma once\n#include \"part.h\"\n";
    let tree = [
        ("a.c", "#include \"a/all.h\"\n#include \"b/all.h\"\n"),
        ("a/all.h", twin),
        ("b/all.h", twin),
        ("a/part.h", "int a;\n"),
        ("b/part.h", "int b;\n"),
    ];
    // gcc takes them for one file if their times are the same, and for two if not.
    Pump::new().same_by_pump(
        2,
        &tree,
        "touch -d '2001-02-03 04:05:06' a/all.h b/all.h; $CC -c a.c -o 1.o
         touch -d '2001-02-03 04:05:07' b/all.h; $CC -c a.c -o 2.o",
    );
}

#[test]
fn absolute_includes() {
    Pump::new().same_by_pump(
        2,
        &[
            ("gen.sh", "printf '#include \"%s/abs/h.h\"\\nint v = V;\\nconst char *f = F;\\n' \"$PWD\" >a.c"),
            ("abs/h.h", HEADER.1),
            (
                "b.c",
                "#if 0\n#include \"/nowhere/x.h\"\n#endif\n/*\n#include \"/nowhere/y.h\"\n*/\nint b;\n",
            ),
        ],
        "sh gen.sh; $CC -g -MD -c a.c -o a.o; $CC -c b.c -o b.o",
    );
}

#[test]
fn a_sysroot_of_the_project() {
    Pump::new().same_by_pump(
        2,
        &[
            ("a.c", "#include <only_here.h>\nint v = V;\n"),
            ("sys/usr/include/only_here.h", "#define V 7\n"),
        ],
        "$CC --sysroot=\"$PWD/sys\" -c a.c -o 1.o; $CC --sysroot \"$PWD/sys\" -MMD -c a.c -o 2.o",
    );
}

#[test]
fn maps_of_paths() {
    Pump::new().same_by_pump(
        4,
        &[MAIN, HEADER],
        "for map in file debug macro; do $CC -g -f$map-prefix-map=\"$PWD\"=/src -c \"$PWD/a.c\" -o $map.o; done
         $CC -g -ffile-prefix-map=.=/src -c ./a.c -o 4.o",
    );
}

#[test]
fn a_folder_by_the_name_of_a_link() {
    let pump = Pump::new();
    let script = "mkdir real; mv a.c h.h real; ln -s real link; cd link; pwd -L; $CC -g -c a.c -o a.o; $CC -g -MD -c ../link/a.c -o b.o";
    pump.same_by_pump(2, &[MAIN, HEADER], script);
}

#[test]
fn bytes_that_are_no_ascii() {
    Pump::new().same_by_pump(
        2,
        &[
            (
                "a.c",
                "#include \"naïve ünïcode.h\"\nconst char s[] = \"café\";\n",
            ),
            ("naïve ünïcode.h", "#define U \"ü\"\n"),
        ],
        "$CC -MMD -c a.c -o 'ö a.o'
         printf 'const char s[] = \"caf\\351\";\\n' >b.c; $CC -c b.c -o b.o",
    );
}

#[test]
fn side_files_are_there() {
    Pump::new().same(
        &[MAIN, HEADER],
        "$CC -g -gsplit-dwarf -c a.c -o a.o; $CC -fstack-usage -c a.c -o b.o; $CC -save-temps=obj -c a.c -o c.o",
    );
}

#[test]
fn unusual_spellings() {
    Pump::new().same_by_pump(
        1,
        &[
            (
                "a.c",
                "%:include \"1.h\"\n#/**/include \"2.h\"\n# /* c */ include /* d */ \"3.h\"\n#inc\\\nlude \"4.h\"\n#\\\ninclude \"5.h\"\n\
                 \x0c#include \"6.h\"\n#include \"a b@~=:#()&%!.h\"\n#define M \"7.h\"\n#include M\n/* x\n*/ #include \"8.h\"\n\
                 const char *s = \"\\\n#include \\\"no.h\\\"\\\n\";\n",
            ),
            ("1.h", "int i1;\n"),
            ("2.h", "int i2;\n"),
            ("3.h", "int i3;\n"),
            ("4.h", "int i4;\n"),
            ("5.h", "int i5;\n"),
            ("6.h", "int i6;\n"),
            ("7.h", "int i7;\n"),
            ("8.h", "int i8;\r\n#if 1\r\nint i9;\r\n#endif\r\n"),
            ("a b@~=:#()&%!.h", "int odd;\n"),
        ],
        "$CC -MMD -c a.c -o a.o",
    );
}

#[test]
fn macros_in_includes() {
    Pump::new().same_by_pump(
        2,
        &[
            (
                "a.c",
                "#define EMPTY\n#define STR_(...) #__VA_ARGS__\n#define STR(...) STR_(__VA_ARGS__)\n#define CAT_(a, b) a##b\n\
                 #define CAT(a, b) CAT_(a, b)\n#include STR(CAT(x, 1).h)\n#include STR(EMPTY x2.h)\n#define A(x) <x.h>\n\
                 #include A(x3)\n#if __GNUC__ >= 4 && defined __x86_64__\n#include STR(x4.h)\n#endif\n#include INC\n",
            ),
            ("x1.h", "int x1;\n"),
            ("x2.h", "int x2;\n"),
            ("x3.h", "int x3;\n"),
            ("x4.h", "int x4;\n"),
            ("d/x5.h", "int x5;\n#include_next <x5.h>\n"),
            ("e/x5.h", "int x6;\n"),
        ],
        "$CC -I. -Id -Ie '-DINC=<x5.h>' -MMD -c a.c -o a.o; $CXX -I. -Id -Ie '-DINC=<x5.h>' -MMD -c a.c -o b.o",
    );
}

#[test]
fn blobs_of_the_assembler() {
    let log = Pump::new().same(
        &[
            ("a.c", "__asm__(\".data\\nblob: .incbin \\\"d/blob.bin\\\"\\n\");\nextern char blob[];\nchar *p = blob;\n"),
            ("d/blob.bin", "some bytes"),
        ],
        "$CC -c a.c -o a.o; printf 'other bytes' >d/blob.bin; $CC -c a.c -o b.o",
    );
    assert_pumped(2, &log, ".incbin");
}

#[test]
fn folders_by_variable() {
    Pump::new().same_by_pump(
        4,
        &[
            ("a.c", "#include <h.h>\nint v = V;\nconst char *f = F;\n"),
            ("one/h.h", HEADER.1),
            ("two/h.h", "#define V 2\n#define F __FILE__\n"),
        ],
        "CPATH=one $CC -MMD -c a.c -o 1.o
         CPATH=one:two C_INCLUDE_PATH=two $CC -MMD -Itwo -c a.c -o 2.o
         C_INCLUDE_PATH=one CPLUS_INCLUDE_PATH=two $CC -MMD -c a.c -o 3.o
         CPLUS_INCLUDE_PATH=\"$PWD/one\" $CXX -MMD -x c++ -c a.c -o 4.o",
    );
}

#[test]
fn words_from_a_file_and_rare_suffixes() {
    Pump::new().same_by_pump(
        3,
        &[
            ("words", "-Id -DX=1 @more"),
            ("more", "-c a.cp -MMD"),
            ("a.cp", "#include <h.h>\nint v = V + X;\n"),
            ("b.c++", "#include \"d/h.h\"\nint v = V;\n"),
            ("d/h.h", HEADER.1),
        ],
        "$CXX @words -o a.o; $CXX -c b.c++ -o b.o; $CXX @words -fno-exceptions -o c.o",
    );
}

#[test]
fn precompiled_headers_beside_the_source() {
    let log = Pump::new().same(
        &[MAIN, HEADER],
        "$CC -x c-header h.h -o h.h.gch; $CC -Winvalid-pch -Werror -c a.c -o a.o; rm h.h; $CC -c a.c -o b.o || echo failed >b; rm h.h.gch",
    );
    drop(log);
}

#[test]
fn a_byte_order_mark() {
    Pump::new().same_by_pump(
        2,
        &[
            ("a.c", "\u{feff}#include \"h.h\"\nint v = V;\n"),
            ("h.h", "\u{feff}#define V 1\n"),
        ],
        "$CC -c \"$PWD/a.c\" -o a.o; $CC -I\"$PWD\" -g -c a.c -o b.o",
    );
}

#[test]
fn what_is_for_this_machine_alone_is_silent() {
    let log = Pump::new().same(
        &[MAIN, HEADER],
        "$CC -fplugin=./none.so -c a.c -o a.o 2>/dev/null || echo failed >b",
    );
    assert!(!log.contains(" exec on 127."), "{log}");
}

#[test]
fn frameworks() {
    if !have("frameworks", &["clang"]) {
        return;
    }
    Pump::new().same_by_pump(
        2,
        &[
            (
                "a.m",
                "#import <Foo/Bar.h>\n#import <Foo/Inner.h>\n#import <Foo/Bar.h>\nint v = V;\n",
            ),
            (
                "fw/Foo.framework/Headers/Bar.h",
                "#define V 3\n#include \"Baz.h\"\n",
            ),
            ("fw/Foo.framework/Headers/Baz.h", "int baz;\n"),
            ("fw/Foo.framework/PrivateHeaders/Inner.h", "int inner;\n"),
        ],
        "$CLANG -Ffw -c a.m -o a.o; $CLANG -iframework fw -MMD -c a.m -o b.o",
    );
}

#[test]
fn clang_with_all_that_plain_mode_keeps_here() {
    if !have("clang in pump mode", &["clang"]) {
        return;
    }
    Pump::new().same_by_pump(
        5,
        &[MAIN, HEADER, ("o.m", "#include \"h.h\"\nint v = V;\n")],
        "$CLANG -g -c a.c -o 1.o; $CLANG -gdwarf-5 -c \"$PWD/a.c\" -o 2.o; $CLANG -c o.m -o 3.o
         $CLANG -g -include h.h -c a.c -o 4.o; $CLANG -g -ffile-prefix-map=\"$PWD\"=/src -c \"$PWD/a.c\" -o 5.o",
    );
}

#[test]
fn warnings_are_those_of_a_local_run() {
    Pump::new().same_by_pump(
        2,
        &[(
            "a.c",
            "#include \"h.h\"\n#define BAD(x) if (x) ; x\nint f(int x) {\n  int unused;\n  switch (x) { case 1: x = 2; /* fall through */ case 2: x = 3; case 4: x = 5; }\n  BAD(x);\n  return y_;\n}\n",
        ), ("h.h", "int y_;\n")],
        "$CC -Wall -Wextra -c a.c -o a.o; $CC -Wall -Wextra -I\"$PWD\" -c \"$PWD/a.c\" -o b.o",
    );
}
