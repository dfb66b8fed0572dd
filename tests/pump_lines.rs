//! Odd command lines, each run twice in a folder of its own: below `pump` with a daemon of ours, and without distcc. Status,
//! both outputs and every file, with its mode and its other names, must be the same, whichever way the compile went.
#![allow(clippy::unwrap_used)]

mod common;

use common::twice::{Pump, Round, Side};
use common::{have, same_bytes};
use std::collections::BTreeSet;

/// What lies in the folder of each line, below `tree`.
const TREE: &[(&str, &str)] = &[
    ("tree/a.c", "#include <stdio.h>\n#include \"h.h\"\n#include \"sub/s.h\"\nint v = V + S;\nconst char *f = __FILE__, *h = F;\nstatic int unused(int p) { int q; return p; }\nint main(void) { return printf(\"%d\\n\", v); }\n"),
    ("tree/w.c", "#include \"h.h\"\n#include <sysw.h>\nint g(int x)\n{\n  if (x)\n    x = 1;\n    x = 2;\n  switch (x) { case 1: x = 2; /* fall through */ case 2: x = 3; }\n  return V == 1;\n}\n"),
    ("tree/e.c", "#include \"h.h\"\nint g(void) { return undefined_thing; }\n#include \"missing.h\"\n"),
    ("tree/b.cc", "#include <vector>\n#include \"h.h\"\n#include \"sub/s.h\"\nstd::vector<int> v{V, S};\nstruct A { virtual ~A(); int x; }; A::~A() { }\nint t() { throw 1; }\n"),
    ("tree/o.m", "#include \"h.h\"\nint v = V;\nconst char *f = F;\n"),
    ("tree/o.mm", "#include \"h.h\"\nint v = V; class Q {}; Q q;\n"),
    ("tree/c.i", "int c = 1;\n"),
    ("tree/c.ii", "int c = 1; class P {};\n"),
    ("tree/s.s", ".data\nx: .long 1\n"),
    ("tree/S.S", "#define V 1\n.data\nx: .long V\n"),
    ("tree/h.h", "#pragma once\n#define V 1\n#define F __FILE__\nstatic inline int i(int z) { return z; }\n"),
    ("tree/sub/s.h", "#ifndef S_H\n#define S_H\n#include \"../h.h\"\n#define S 2\n#endif\n"),
    ("tree/sub/a.c", "#include \"../h.h\"\n#include <s.h>\nint v = V + S;\nconst char *f = __FILE__, *b = __BASE_FILE__;\n"),
    ("tree/sys/sysw.h", "static int unused(int p) { int q; return p; }\n"),
    ("tree/inc/i.h", "#define I 5\n"),
    ("tree/inc/mac.h", "#define MAC 9\n#define V 7\n"),
    ("tree/pch.h", "int p;\n"),
    ("tree/cov.c", "int c(int x) { if (x > 2) return x * 2; return x; }\n"),
    ("tree/fix.c", "struct s { int colour; };\nint f(struct s *p) { int u; return p->colour == \"é\"; }\nint g(int i) { return prinf(\"\"); }\n"),
    ("tree/args", "-O2 -Isys\n-DX=\"a b\"\n"),
    ("tree/out/.keep", ""),
];

/// Runs each line in a copy of the tree.
const ROWS: &str = r#"n=0; find tree -exec touch -d '2001-02-03 04:05:06' {} +
row() {
  n=$((n + 1)); cp -pR tree $n; cd $n
  (set +e; eval "$1") >../$n.out 2>../$n.err </dev/null && s=0 || s=$?
  cd ..; echo "$s $1" >$n.status
}
"#;

/// `tty COLUMNS LINE`: on a terminal of that width.
const ON_A_TERMINAL: &str = r#"tty() { script -qec "stty cols $1; $2" /dev/null; }
"#;

fn script(lines: &[&str]) -> String {
    let quoted = lines.iter().map(|line| {
        let line = line.replace('\'', r"'\''");
        format!("row '{line}'\n")
    });
    ROWS.to_owned() + ON_A_TERMINAL + &quoted.collect::<String>()
}

/// So many of the lines must have gone in pump mode at least: that they stay the same by staying here is no feat.
#[track_caller]
fn same(lines: &[&str], pumped_min: usize) {
    let (pump, script) = (Pump::new(), script(lines));
    let [local, pumped] =
        [Side::Local, Side::Pumped].map(|side| pump.round("lines", TREE, &script, side));
    assert_eq!(
        (local.ran.status, pumped.ran.status),
        (0, 0),
        "{}",
        pumped.ran
    );
    let names: BTreeSet<&String> = local.files.keys().chain(pumped.files.keys()).collect();
    let mut told = String::new();
    for name in names {
        let side = |round: &Round| round.files.get(name).cloned().unwrap_or_default();
        if let Some(difference) = same_bytes(&side(&local), &side(&pumped)) {
            let number = name
                .split(['/', '.'])
                .next()
                .and_then(|name| name.parse::<usize>().ok());
            let line = number.and_then(|number| lines.get(number - 1));
            told += &format!(
                "{name}: {}
{difference}
",
                line.unwrap_or(&"")
            );
        }
    }
    assert!(told.is_empty(), "{told}");
    let count = pumped.log.matches(common::twice::IN_PUMP_MODE).count();
    assert!(count >= pumped_min, "only {count} went in pump mode");
    pump.farm.expect_clean("odd lines");
}

#[rustfmt::skip]
const WRITING: &[&str] = &[
    r#"$CC -Wall -Wextra -c a.c -o a.o"#,
    r#"$CC -M -c a.c"#,
    r#"$CC -MMD -c a.c -o out/x.o"#,
    r#"$CC -MD -MF out/d.d -MT foo -MT bar -c a.c"#,
    r#"$CC -MD -MQ 'a$b c' -MP -c a.c"#,
    r#"$CC -MMD -MP -MFx.d -c a.c -o ./out/../a.o"#,
    r#"$CC -MD -MG -c e.c"#,
    r#"$CC -MF x.d -c a.c"#,
    r#"$CC -Wp,-MD,w.d -c a.c -o out/a.o"#,
    r#"$CC -Wp,-MMD,w.d -MT tt -c a.c"#,
    r#"$CC -MD -MF /dev/null -c a.c"#,
    r#"$CC -MD -MF - -c a.c"#,
    r#"$CC -MD -MF missing/x.d -c a.c"#,
    r#"$CC -MD -c a.c -o /dev/null"#,
    r#"$CC -MMD -c a.c -o noext; cat noext.d"#,
    r#"$CC -MMD -c a.c -o a.b.c.o"#,
    r#"$CC -MMD -c a.c -o 'sp ace.o'; $CC -MMD -c a.c -o 'do$lar.o'"#,
    r#"DEPENDENCIES_OUTPUT="xx.d tt" $CC -MD -c a.c"#,
    r#"SUNPRO_DEPENDENCIES="xx.d tt" $CC -c a.c"#,
    r#"$CC -c a.c -o "$PWD/out/abs.o""#,
    r#"$CC -c a.c -o missing/a.o"#,
    r#"$CC -c a.c -o out"#,
    r#"$CC -c a.c -o /dev/null"#,
    r#"$CC -c a.c -oout/j.o"#,
    r#"echo old >t.o; ln -s t.o l.o; $CC -c a.c -o l.o"#,
    r#"ln -s nowhere l.o; $CC -c a.c -o l.o"#,
    r#"echo old >t.o; ln t.o l.o; $CC -c a.c -o l.o"#,
    r#"echo old >t.o; chmod 444 t.o; $CC -c a.c -o t.o"#,
    r#"echo old >t.o; chmod 755 t.o; $CC -c a.c -o t.o"#,
    r#": >t.o; chmod 600 t.o; $CC -c a.c -o t.o"#,
    r#"umask 077; $CC -MD -c a.c -o t.o"#,
    r#"echo old >t.s; ln -s t.s l.s; $CC -S a.c -o l.s"#,
    r#"echo old >t.s; chmod 444 t.s; $CC -S a.c -o t.s"#,
    r#"echo old >a.o; echo old >a.d; $CC -MD -c e.c -o a.o"#,
    r#"echo old >t.d; ln -s t.d a.d; $CC -MD -c a.c"#,
    r#"echo old >t.d; ln t.d a.d; $CC -MD -c a.c"#,
    r#"for g in -g -g0 -g1 -g3 -ggdb3 -gdwarf-2 -gdwarf-4 -gdwarf-5 -gdwarf64 -gz -gz=zlib -gpubnames -gno-record-gcc-switches; do $CC $g -c a.c -o out/$g.o; done"#,
    r#"$CC -gsplit-dwarf -c a.c -o out/x.o"#,
    r#"$CC -save-temps=obj -c a.c -o out/x.o"#,
    r#"$CC -fprofile-use -c cov.c"#,
    r#"$CC -x c++ -c a.c -o x.o"#,
    r#"$CC -c -x c a.c -x none -o z.o"#,
    r#"$CC -c o.m"#,
    r#"$CC -c o.mm"#,
    r#"$CC -c a.c cov.c"#,
    r#"$CC -c s.s; $CC -c S.S; $CC -c c.i; $CC -c c.ii; $CXX -c c.i -o d.o"#,
    r#"$CXX -std=c++17 -Wall -c b.cc -g -O2"#,
    r#"$CC -include "$PWD/h.h" -c cov.c -MD"#,
    r#"$CC -include sub/s.h -imacros inc/mac.h -c w.c -Isys"#,
    r#"$CC -imacros inc/mac.h -c cov.c -g3"#,
    r#"$CC -include missing.h -c cov.c"#,
    r#"$CC -iquote inc -include i.h -c cov.c"#,
    r#"$CC -isystem "$PWD/sys" -Wall -Wextra -Wsystem-headers -c w.c"#,
    r#"$CC -idirafter sys -Wall -c w.c"#,
    r#"cd sub; $CC -I.. -I../sys -I. -c ../sub/a.c -g -MD"#,
    r#"cd out; $CC -I../sub -c ../sub/a.c -g -MD"#,
    r#"ln -s sub lnk; cd lnk; $CC -g -I. -c ./a.c -o ../out/a.o"#,
    r#"ln -s sub lnk; $CC -g -Ilnk -c lnk/a.c -o a.o"#,
    r#"PWD=/tmp $CC -g -c a.c"#,
    r#"PWD=. $CC -g -c a.c"#,
];

#[rustfmt::skip]
const READING: &[&str] = &[
    r#"PWD=$PWD/. $CC -g -c a.c"#,
    r#"PWD=$PWD/sub/.. $CC -g -c a.c"#,
    r#"PWD=$PWD// $CC -g -c a.c"#,
    r#"unset PWD; $CC -g -c a.c"#,
    r#"$CC -g -ffile-prefix-map="$PWD"=/x -c "$PWD/a.c""#,
    r#"$CC -g -fdebug-prefix-map="$PWD"=. -fdebug-prefix-map=.=q -c a.c"#,
    r#"$CC -Wall -Werror=unused-function -MD -c a.c"#,
    r#"$CC -Wfatal-errors -c e.c"#,
    r#"for o in -fno-diagnostics-show-caret -fdiagnostics-color=always -fdiagnostics-color=auto -fdiagnostics-urls=always -fdiagnostics-show-template-tree -fdiagnostics-parseable-fixits -fmessage-length=40 -fmax-errors=1; do $CC -Isys -Wall -Wextra $o -c w.c; done"#,
    r#"$CC -Wall -fdiagnostics-format=json -c a.c"#,
    r#"SOURCE_DATE_EPOCH=bad $CC -c a.c"#,
    r#"$CC @args -c w.c"#,
    r#"echo '@args @r2' >r; echo '-c "w.c" -o "o u t.o"' >r2; $CC @r"#,
    r#"$CC @missing -c a.c"#,
    r#"$CC -Wp,-DQ=1,-Isys -c w.c"#,
    r#"$CC -Xpreprocessor -DQ -c a.c"#,
    r#"$CC -Wa,--noexecstack -c a.c"#,
    r#"$CC -Wa,-march=foo -c cov.c 2>&1 | grep -c march"#,
    r#"for o in -march=native -march=x86-64-v3 -m32 -mavx2; do $CC $o -O2 -c cov.c -o out/$o.o || true; done"#,
    r#"CPATH=:sys: $CC -Wall -MD -c w.c"#,
    r#"C_INCLUDE_PATH=$PWD/sys $CC -Wall -Wextra -c w.c"#,
    r#"CPATH=missing $CC -c a.c -Wmissing-include-dirs"#,
    r#"GCC_EXEC_PREFIX=/nonexistent/ $CC -c cov.c"#,
    r#"COMPILER_PATH=$PWD/sub $CC -c cov.c"#,
    r#"GCC_COLORS='error=01;31' $CC -fdiagnostics-color=always -Wall -Isys -c w.c"#,
    r#"GCC_URLS=bel $CC -fdiagnostics-urls=always -Wall -Isys -c w.c"#,
    r#"TERM_URLS=st $CC -fdiagnostics-urls=always -Wall -Isys -c w.c"#,
    r#"GCC_EXTRA_DIAGNOSTIC_OUTPUT=fixits-v2 $CC -Wall -c fix.c"#,
    r#"LC_ALL=C.UTF-8 $CC -Wall -c fix.c"#,
    r#"$CC -Bsub/ -c cov.c"#,
    r#"mkdir -p s/usr/include; cp inc/i.h s/usr/include; $CC --sysroot=s -include i.h -c cov.c -MD"#,
    r#"mkdir -p s/inc; cp inc/i.h s/inc; $CC --sysroot="$PWD/s" -isystem =/inc -include i.h -c cov.c -MD"#,
    r#"echo > x.specs; $CC -specs=x.specs -c cov.c"#,
    r#"$CC -fsanitize=undefined -c "$PWD/sub/a.c" -Isub -o y.o"#,
    r#"$CC -fplugin=x.so -c cov.c"#,
    r#"cp a.c "$(printf 'new\nline.c')"; $CC -g -MD -c "$(printf 'new\nline.c')""#,
    r#"cp a.c "$(printf 'n\377u.c')"; $CC -g -MD -Wall -c "$(printf 'n\377u.c')""#,
    r#"cp a.c ./-dash.c; $CC -MD -c ./-dash.c; $CC -MD -c -dash.c"#,
    r#"cp a.c 'do$l.c'; $CC -MD -c 'do$l.c'; cp a.c 'ha#sh.c'; $CC -MD -c 'ha#sh.c'; cp a.c 'b\s.c'; $CC -g -MD -c 'b\s.c'"#,
    r#"cp a.c 'c,omma.c'; $CC -MD -c 'c,omma.c'; cp a.c 'a=b.c'; $CC -MD -c a=b.c; cp a.c '@at.c'; $CC -MD -c ./@at.c"#,
    r#"cp cov.c .hid.c; $CC -c .hid.c; cp cov.c ..c; $CC -c ..c"#,
    r#"$CC -c nonexistent.c; mkdir d.c; $CC -c d.c; ln -s nowhere.c n.c; $CC -c n.c"#,
    r#"ln -s sub/a.c k.c; $CC -g -Isub -MD -c k.c; ln -s "$PWD/sub/a.c" m.c; $CC -g -Isub -MD -c m.c"#,
    r#"ln -s ../sub/s.h inc/lnk.h; echo '#include "inc/lnk.h"' >t.c; $CC -MD -g -c t.c"#,
    r#"echo 'int z;' | $CC -x c -c - -o n.o"#,
    r#": >em.c; $CC -g -c em.c; printf 'int noeol;' >ne.c; $CC -Wall -g -c ne.c"#,
    r#"printf 'int crlf;\r\nint g(){\r\nint u;\r\n}\r\n' >cr.c; $CC -Wall -g -c cr.c; printf 'int nul\0;\n' >nul.c; $CC -Wall -c nul.c"#,
    r#"$CC -v -c cov.c 2>&1 | tail -n 1; $CC -### -c cov.c 2>/dev/null"#,
    r#"$CC -H -c a.c"#,
    r#"$CC -dM -c a.c; $CC -fverbose-asm -S cov.c; $CC -frecord-gcc-switches -c a.c"#,
    r#"$CC -fstack-usage -c cov.c -o out/c.o"#,
    r#"$CC -finput-charset=latin1 -c a.c; $CC -fexec-charset=latin1 -c a.c -o b.o"#,
    r#"$CC -c a.c -Dfoo= -Dbar='x y' -D'f(a)=a+1' -Ubar -DX='"quo\"te"' -D'Y=$x' '-DZ=a;b|c'"#,
    r#"$CC -nostdinc -Iinc -c cov.c; $CXX -nostdinc++ -c w.c -Isys"#,
    r#"$CC -iwithprefixbefore sub -iprefix "$PWD/" -iwithprefix sys -Wall -c w.c"#,
    r#"$CC -I- -c a.c; $CC -c; $CC --bogus-option -c a.c; $CC -Wbogus -Wno-bogus -c a.c; $CC -fbogus -c a.c"#,
    r#"$CC -std=c99 -pedantic -Wall -c a.c; $CC -ansi -pedantic-errors -c a.c"#,
    r#"echo '#line 7 "other.c"' >t.c; cat a.c >>t.c; $CC -Wall -g -MD -c t.c"#,
    r#"printf '#ifndef X\n#define X\n#include __FILE__\nint y;\n#endif\n' >t.c; $CC -MD -g -c t.c; $CC -MD -g -c "$PWD/t.c" -o z.o"#,
    r#"printf '#pragma GCC dependency "h.h"\n#ident "foo"\n#warning hi\n#pragma message "m"\n__asm__(".incbin \\"args\\"");\n' >t.c; $CC -Wall -MD -c t.c"#,
    r#"echo 'int a[__COUNTER__ + __INCLUDE_LEVEL__ + 1]; const char *b = __BASE_FILE__;' >t.c; $CC -c "$PWD/t.c""#,
];

#[rustfmt::skip]
const CLANG: &[&str] = &[
    r#"$CLANG -Wall -Wextra -MD -c a.c"#,
    r#"$CLANG -MMD -MF out/d.d -MT foo -MT bar -c a.c"#,
    r#"$CLANG -MD -MV -c a.c"#,
    r#"$CLANG -MJ x.json -c a.c"#,
    r#"$CLANG -Wp,-MD,w.d -c a.c -o out/a.o"#,
    r#"$CLANG -MD -c a.c -o /dev/null"#,
    r#"DEPENDENCIES_OUTPUT="xx.d tt" $CLANG -c a.c"#,
    r#"echo old >t.o; ln -s t.o l.o; $CLANG -c a.c -o l.o"#,
    r#"echo old >t.o; ln t.o l.o; $CLANG -c a.c -o l.o"#,
    r#"echo old >t.o; chmod 444 t.o; $CLANG -c a.c -o t.o"#,
    r#"echo old >t.o; chmod 755 t.o; $CLANG -c a.c -o t.o"#,
    r#"ln -s nowhere l.o; $CLANG -c a.c -o l.o"#,
    r#"$CLANG -c a.c -o missing/a.o; $CLANG -c a.c -o out"#,
    r#"$CLANG -S a.c -o t.s"#,
    r#"echo old >a.o; echo old >a.d; $CLANG -MD -c e.c -o a.o"#,
    r#"echo old >t.d; ln t.d a.d; $CLANG -MD -c a.c"#,
    r#"echo old >t.d; ln -s t.d a.d; $CLANG -MD -c a.c"#,
    r#"for g in -g -g0 -gmlt -gline-directives-only -glldb -gsce -gdwarf-4 -gdwarf-5 -gz -gembed-source; do $CLANG $g -c a.c -o out/$g.o; done"#,
    r#"$CLANG -gsplit-dwarf -c a.c -o out/x.o; $CLANG -g -gsplit-dwarf=single -c a.c -o out/y.o"#,
    r#"$CLANG -save-temps -c a.c"#,
    r#"$CLANG --coverage -c cov.c; $CLANG -fprofile-instr-generate -fcoverage-mapping -c cov.c -o d.o"#,
    r#"$CLANG -flto -c a.c; $CLANG -flto=thin -c a.c -o b.o"#,
    r#"$CLANG -c o.m; $CLANGXX -c o.mm; $CLANG -c c.i; $CLANG -c S.S"#,
    r#"$CLANGXX -std=c++17 -Wall -c b.cc -g -O2"#,
    r#"$CLANG -x c-header pch.h -o pch.h.pch; $CLANG -include-pch pch.h.pch -c cov.c; $CLANG -include pch.h -c cov.c -o d.o"#,
    r#"$CLANG -isystem sys -Wall -Wextra -c w.c; $CLANG -Isys -Wall -Weverything -c w.c"#,
    r#"cd out; $CLANG -I../sub -c ../sub/a.c -g -MD"#,
    r#"ln -s sub lnk; cd lnk; $CLANG -g -I. -c a.c -o ../out/b.o"#,
    r#"PWD=/nonexistent $CLANG -g -c a.c"#,
    r#"PWD= $CLANG -g -c a.c"#,
    r#"PWD=$PWD/sub/.. $CLANG -g -c a.c"#,
    r#"PWD=$PWD/ $CLANG -g -c a.c"#,
    r#"$CLANG -g -ffile-prefix-map="$PWD"=/x -c "$PWD/a.c""#,
    r#"$CLANG -g -fdebug-compilation-dir=/y -c a.c; $CLANG -g -ffile-compilation-dir=. -c a.c -o b.o"#,
    r#"$CLANG -Wall -Werror -c a.c"#,
    r#"for o in -fcolor-diagnostics -fno-caret-diagnostics -fdiagnostics-absolute-paths -fdiagnostics-format=vi -fdiagnostics-show-category=name -fdiagnostics-parseable-fixits -fmessage-length=40 -fansi-escape-codes -ferror-limit=1 -fdiagnostics-print-source-range-info -Rpass=.*; do $CLANG -Isys -O2 -Wall -Wextra $o -c w.c; done"#,
    r#"SOURCE_DATE_EPOCH=bad $CLANG -c a.c"#,
    r#"$CLANG @args -c w.c; $CLANG -Wp,-DQ=1,-Isys -c w.c -o v.o"#,
    r#"$CLANG -Xclang -load -Xclang x.so -c cov.c; $CLANG -mllvm -inline-threshold=5 -O2 -c cov.c"#,
    r#"for o in -march=native -march=x86-64-v3 -mavx2 --target=aarch64-linux-gnu; do $CLANG $o -O2 -c cov.c -o out/$o.o; done"#,
    r#"C_INCLUDE_PATH=sys: $CLANG -Wall -Wextra -c w.c"#,
    r#"CPATH=sys CPLUS_INCLUDE_PATH=sub $CLANGXX -MD -c b.cc"#,
    r#"CCC_OVERRIDE_OPTIONS="+-g" $CLANG -c cov.c"#,
    r#"CC_PRINT_HEADERS=1 $CLANG -c a.c"#,
    r#"CC_LOG_DIAGNOSTICS=1 CC_LOG_DIAGNOSTICS_FILE=$PWD/diag $CLANG -Wall -c a.c"#,
    r#"CC_PRINT_OPTIONS=1 CC_PRINT_OPTIONS_FILE=$PWD/opts $CLANG -c cov.c -o cov.o; cat opts | wc -l; rm opts"#,
    r#"mkdir -p s/usr/include; cp inc/i.h s/usr/include; $CLANG --sysroot="$PWD/s" -include i.h -c cov.c -MD"#,
    r#"echo 'fun:*' >ign; $CLANG -fsanitize=address -fsanitize-ignorelist=ign -c cov.c"#,
    r#"$CLANG -fsanitize=address,undefined -O1 -g -c "$PWD/sub/a.c" -Isub"#,
    r#"cp a.c 'sp ace.c'; $CLANG -MD -g -c 'sp ace.c'; cp a.c 'do$l#.c'; $CLANG -MD -g -c 'do$l#.c'; cp a.c 'b\s.c'; $CLANG -g -MD -c 'b\s.c'"#,
    r#"ln -s "$PWD/sub/a.c" k.c; $CLANG -g -Isub -MD -c k.c"#,
    r#": >em.c; $CLANG -g -c em.c; printf 'int noeol;' >ne.c; $CLANG -Wnewline-eof -c ne.c; printf 'int nul\0;\n' >nul.c; $CLANG -Wall -c nul.c"#,
    r#"$CLANG -H -c a.c"#,
    r#"$CLANG -l m -Wl,-x -c a.c; $CLANG --bogus-option -c a.c"#,
    r#"echo '#line 7 "other.c"' >t.c; cat a.c >>t.c; $CLANG -Wall -g -MD -c t.c"#,
];

#[rustfmt::skip]
const TERMINAL: &[&str] = &[
    r#"TERM=xterm-256color tty 120 '$CC -Wall -Isys -c w.c'"#,
    r#"TERM=xterm-256color tty 40 '$CC -Wall -Isys -c w.c'"#,
    r#"TERM=xterm-256color tty 40 '$CC -Wall -Isys -fdiagnostics-color=never -c w.c'"#,
    r#"TERM=xterm-256color tty 120 '$CC -Wall -Isys -fdiagnostics-urls=never -fdiagnostics-color=auto -c w.c'"#,
    r#"TERM=xterm GCC_URLS=no tty 120 '$CC -Wall -Isys -c w.c'"#,
    r#"TERM=xterm GCC_URLS=no COLUMNS=30 tty 120 '$CC -Wall -Isys -c w.c'"#,
    r#"TERM=dumb tty 120 '$CC -Wall -Isys -c w.c'"#,
    r#"unset TERM; tty 120 '$CC -Wall -Isys -c w.c'"#,
    r#"TERM=xterm tty 120 '$CC -Wall -Isys -fdiagnostics-plain-output -c w.c'"#,
    r#"TERM=xterm tty 120 '$CC -Isys -c w.c'"#,
    r#"TERM=xterm tty 120 '$CC -c e.c'"#,
];

#[rustfmt::skip]
const TERMINAL_OF_CLANG: &[&str] = &[
    r#"TERM=xterm-256color tty 120 '$CLANG -Wall -Isys -c w.c'"#,
    r#"TERM=xterm-256color tty 120 '$CLANG -Wall -Isys -fdiagnostics-color=auto -c w.c'"#,
    r#"TERM=xterm-256color tty 120 '$CLANG -Wall -Isys -fcolor-diagnostics -fno-color-diagnostics -c w.c'"#,
    r#"TERM=xterm COLUMNS=30 tty 120 '$CLANG -Wall -Isys -c w.c'"#,
    r#"TERM=strange tty 120 '$CLANG -Wall -Isys -c w.c'"#,
    r#"TERM=dumb tty 120 '$CLANG -Wall -Isys -c w.c'"#,
    r#"unset TERM; tty 120 '$CLANG -Wall -Isys -c w.c'"#,
];

#[test]
fn messages_on_a_terminal() {
    if have("a terminal", &["gcc", "script"]) {
        same(TERMINAL, 9);
    }
    if have("a terminal", &["clang", "script"]) {
        same(TERMINAL_OF_CLANG, 7);
    }
}

#[test]
fn outputs_and_folders_of_gcc() {
    if have("lines of gcc", &["gcc", "g++"]) {
        same(WRITING, 50);
    }
}

#[test]
fn sources_messages_and_variables_of_gcc() {
    if have("lines of gcc", &["gcc", "g++"]) {
        same(READING, 50);
    }
}

#[test]
fn lines_of_clang() {
    if have("lines of clang", &["clang", "clang++"]) {
        same(CLANG, 50);
    }
}
