//! `-march=native` and its kin: that other machines compile for this one's processor, byte for byte, and that nothing
//! stale or damaged is believed of what the compiler means by it.
#![allow(clippy::unwrap_used)]

mod common;

use common::twice::Pump;
use common::{have, in_parallel, same_file, Client, Farm, Ran, Went, Which};
use std::fs;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::PathBuf;

const SOURCE: &str =
    "int f(const int *p) { int s = 0; for (int i = 0; i < 64; i++) s += p[i] * 3; return s; }\n";

/// Why a compile stays here, or that it does not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Remote,
    /// The log says so.
    Stays(&'static str),
}
use Fate::{Remote, Stays};

const ORDER: &str = "records the options in an order";

/// Options, and what becomes of a compile with them by gcc and by clang.
const ROWS: &[(&str, Fate, Fate)] = &[
    ("-march=native -c", Remote, Remote),
    ("-O3 -march=native -c", Remote, Remote),
    ("-O2 -march=native -S", Remote, Remote),
    ("-O2 -mtune=native -c", Remote, Remote),
    ("-O2 -march=native -mtune=native -c", Remote, Remote),
    ("-O2 -march=native -mtune=generic -c", Remote, Remote),
    ("-O2 -march=x86-64-v3 -mtune=native -c", Remote, Remote),
    (
        "-O3 -march=native -mno-avx512f -mprefer-vector-width=128 -c",
        Remote,
        Remote,
    ),
    (
        "-O3 -mno-avx2 -march=native -ffast-math -fopenmp-simd -c",
        Remote,
        Remote,
    ),
    (
        "-O2 -march=native -std=gnu17 -Wall -DNDEBUG -MMD -c",
        Remote,
        Remote,
    ),
    (
        "-m32 -O2 -march=native -c",
        Remote,
        Stays("no words are known"),
    ),
    (
        "-O2 -march=native -g -gdwarf-4 -gno-record-gcc-switches -c",
        Remote,
        Remote,
    ),
    ("-O2 -g -gdwarf-4 -march=native -c", Stays(ORDER), Remote),
    ("-O2 -g -gdwarf-4 -mtune=native -c", Stays(ORDER), Remote),
    ("-O2 -mcpu=native -c", Stays("deprecated"), Stays("unused")),
    (
        "-O2 -march=native -fverbose-asm -S",
        Stays("-fverbose-asm"),
        Stays("-fverbose-asm"),
    ),
    (
        "-O2 -flto -frandom-seed=1 -march=native -c",
        Stays("-flto"),
        Stays("-flto"),
    ),
];

fn is_x86_64() -> bool {
    cfg!(target_arch = "x86_64") || common::skip("native", "another processor")
}

/// Compiles with and without distcc and panics unless the outputs are the same.
#[track_caller]
fn same(farm: &Farm, client: &Client, words: &str) -> Ran {
    let with = |output: &str| -> Vec<String> {
        let words = words.split(' ').map(str::to_owned);
        words.chain(["-o".to_owned(), output.to_owned()]).collect()
    };
    let folder = farm.new_folder("same");
    let (right, made) = (folder.join("right"), folder.join("made"));
    let right_words = with(right.to_str().unwrap());
    farm.local(&right_words).expect(0);
    let ran = client.run(&with(made.to_str().unwrap())).expect(0);
    assert_eq!(same_file(&right, &made), None, "{words}: {ran}");
    ran
}

#[test]
fn objects_are_those_of_this_machine() {
    if !is_x86_64() || !have("native", &["gcc", "g++", "clang", "clang++"]) {
        return;
    }
    let farm = Farm::new();
    farm.write("x.c", SOURCE);
    farm.write("x.cc", SOURCE);
    let ours = farm.daemon(Which::Ours).start();
    let stock = common::find_program("distccd").map(|_| farm.daemon(Which::Stock).start());
    let mut cases = Vec::new();
    for (number, (options, gcc, clang)) in ROWS.iter().enumerate() {
        let compilers = [
            ("gcc", gcc),
            ("clang", clang),
            ("g++", gcc),
            ("clang++", clang),
        ];
        // What the drivers for C++ do is the same.
        let count = if number < 4 { 4 } else { 2 };
        for (compiler, fate) in &compilers[..count] {
            let source = if compiler.ends_with('+') {
                "x.cc"
            } else {
                "x.c"
            };
            let words = format!("{compiler} {options} {source}");
            cases.push((words.clone(), **fate, ours.host()));
            // Stock's compiles nothing with -g exactly.
            if let Some(daemon) = stock.as_ref().filter(|_| !options.contains("-g ")) {
                cases.push((words, **fate, daemon.host()));
            }
        }
    }
    in_parallel(&cases, |(words, fate, host)| {
        let ran = same(&farm, &farm.client(Which::Ours, host), words);
        match fate {
            Remote => assert_eq!(ran.went(), Went::Remote, "{words}: {ran}"),
            Stays(why) => {
                assert_eq!(ran.went(), Went::Local, "{words}: {ran}");
                assert!(ran.log.contains(why), "{words}: {ran}");
            }
        }
    });
    farm.expect_clean("native compiles");
}

#[test]
fn pump_mode_knows_it_too() {
    if !is_x86_64() || !have("native", &["gcc", "clang"]) {
        return;
    }
    Pump::new().same_by_pump(
        6,
        &[
            ("a.c", "#include \"h.h\"\n#ifdef __AVX2__\nint wide = W;\n#endif\nint f(int *p) { int s = 0; for (int i = 0; i < 99; i++) s += p[i]; return s; }\n"),
            ("h.h", "#define W __BIGGEST_ALIGNMENT__\n"),
        ],
        "$CC -O3 -march=native -c a.c -o 1.o
         $CC -O2 -mtune=native -Wall -MMD -c a.c -o 2.o
         $CC -S -march=native a.c -o 3.s
         $CLANG -O3 -march=native -g -c a.c -o 4.o
         $CLANG -O2 -mtune=native -c a.c -o 5.o
         $CXX -O2 -march=native -c -x c++ a.c -o 6.o",
    );
}

/// What lies in the folder of records.
fn records(farm: &Farm) -> Vec<PathBuf> {
    let entries = fs::read_dir(farm.path("top/native")).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn the_compiler_is_asked_once() {
    if !is_x86_64() || !have("native", &["gcc"]) {
        return;
    }
    let farm = Farm::new();
    farm.write("x.c", SOURCE);
    let daemon = farm.daemon(Which::Ours).start();
    let client = farm
        .client(Which::Ours, &daemon.host())
        .env("DISTCC_VERBOSE", "1");
    let asked = |options: &str| {
        let ran = same(&farm, &client, &format!("gcc {options} -c x.c"));
        assert_eq!(ran.went(), Went::Remote, "{ran}");
        ran.log.matches("asking gcc what native means").count()
    };
    assert_eq!(asked("-O2 -march=native"), 3);
    assert_eq!(asked("-O3 -march=native -DX -Wall"), 0);
    assert_eq!(records(&farm).len(), 1);
    assert_eq!(asked("-O2 -march=native -mno-avx2"), 3);
    assert_eq!(asked("-O2"), 0);
    assert_eq!(records(&farm).len(), 2);
    farm.expect_clean("questions");
}

#[test]
fn a_damaged_record_is_made_again() {
    if !is_x86_64() || !have("native", &["gcc"]) {
        return;
    }
    let farm = Farm::new();
    farm.write("x.c", SOURCE);
    let daemon = farm.daemon(Which::Ours).start();
    let client = farm.client(Which::Ours, &daemon.host());
    let compile = || {
        assert_eq!(
            same(&farm, &client, "gcc -O2 -march=native -c x.c").went(),
            Went::Remote
        )
    };
    compile();
    let [record] = &records(&farm)[..] else {
        panic!("{:?}", records(&farm));
    };
    let whole = fs::read(record).unwrap();
    let at = whole.windows(5).rposition(|part| part == b"-mavx").unwrap();
    for damage in [&whole[..whole.len() / 2], b"", &[0xff; 70_000]] {
        fs::write(record, damage).unwrap();
        compile();
        assert!(fs::read(record).unwrap() == whole, "made again");
    }
    let mut other = whole.clone();
    other[at + 1] = b'f';
    fs::write(record, &other).unwrap();
    compile();
    assert!(fs::read(record).unwrap() == whole, "made again");
    fs::remove_file(record).unwrap();
    fs::create_dir(record).unwrap();
    compile();
}

#[test]
fn without_a_place_for_records_it_works_the_same() {
    if !is_x86_64() || !have("native", &["gcc"]) {
        return;
    }
    let farm = Farm::new();
    farm.write("x.c", SOURCE);
    let daemon = farm.daemon(Which::Ours).start();
    // A file where the folder should be hinders root, too.
    fs::write(farm.path("top/native"), "").unwrap();
    let client = farm.client(Which::Ours, &daemon.host());
    for _ in 0..2 {
        assert_eq!(
            same(&farm, &client, "gcc -O2 -march=native -c x.c").went(),
            Went::Remote
        );
    }
    fs::remove_file(farm.path("top/native")).unwrap();
    for name in ["lock", "state"] {
        fs::create_dir_all(farm.path("top").join(name)).unwrap();
    }
    fs::set_permissions(farm.path("top"), fs::Permissions::from_mode(0o555)).unwrap();
    assert_eq!(
        same(&farm, &client, "gcc -O2 -march=native -c x.c").went(),
        Went::Remote
    );
    fs::set_permissions(farm.path("top"), fs::Permissions::from_mode(0o755)).unwrap();
}

/// Another compiler under the same name: gcc gives way to clang's file, and comes back as a copy.
#[test]
fn another_compiler_is_asked_again() {
    if !is_x86_64() || !have("native", &["gcc"]) {
        return;
    }
    let farm = Farm::new();
    farm.write("x.c", SOURCE);
    let daemon = farm.daemon(Which::Ours).start();
    let client = farm.client(Which::Ours, &daemon.host());
    let command = "gcc -O2 -march=native -c x.c";
    same(&farm, &client, command);
    let before = fs::read(&records(&farm)[0]).unwrap();
    // The real gcc in a folder of its own: it finds its parts by where it is, so that it needs a link to them.
    let bin = farm.path("opt/bin");
    fs::create_dir_all(&bin).unwrap();
    symlink("/usr/lib", farm.path("opt/lib")).unwrap();
    let real = fs::canonicalize("/usr/bin/gcc").unwrap();
    let place = bin.join("gcc");
    fs::copy(&real, &place).unwrap();
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let elsewhere = client.clone().env("PATH", &path);
    let key = |farm: &Farm| {
        let mut all = records(farm);
        all.sort();
        all.iter()
            .map(|path| fs::read(path).unwrap())
            .collect::<Vec<_>>()
    };
    elsewhere
        .run(&command.split(' ').collect::<Vec<_>>())
        .expect(0);
    let first = key(&farm);
    assert_eq!(first.len(), 2, "one for each file");
    assert!(first.contains(&before));
    fs::remove_file(&place).unwrap();
    fs::copy(&real, &place).unwrap();
    elsewhere
        .run(&command.split(' ').collect::<Vec<_>>())
        .expect(0);
    let second = key(&farm);
    assert_eq!(second.len(), 2, "the new one in place of the old");
    assert_ne!(first, second, "another file, another record");
}

#[test]
fn a_script_is_not_believed() {
    if !is_x86_64() || !have("native", &["gcc"]) {
        return;
    }
    let farm = Farm::new();
    farm.write("x.c", SOURCE);
    let script = farm.path("bin/gcc");
    fs::write(&script, "#!/bin/sh\nexec /usr/bin/gcc \"$@\"\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let daemon = farm.daemon(Which::Ours).start();
    let path = format!("{}:/usr/bin:/bin", farm.path("bin").display());
    let client = farm.client(Which::Ours, &daemon.host()).env("PATH", path);
    let ran = same(&farm, &client, "gcc -O2 -march=native -c x.c");
    assert_eq!(ran.went(), Went::Local, "{ran}");
    assert!(ran.log.contains("is not gcc or clang itself"), "{ran}");
    assert!(records(&farm).is_empty());
}

/// What a compiler does not answer because it is killed is asked again the next time.
#[test]
fn a_passing_failure_is_not_kept() {
    if !is_x86_64() || !have("native", &["gcc"]) {
        return;
    }
    let farm = Farm::new();
    farm.write("x.c", SOURCE);
    let flag = farm.path("short-of-memory");
    // A program, since a script is not believed.
    let program = format!(
        "#include <signal.h>\n#include <string.h>\n#include <unistd.h>\n\
         int main(int argc, char **argv) {{\n\
         for (int i = 1; i < argc; i++)\n\
         if (!strcmp(argv[i], \"-###\") && !access(\"{}\", F_OK)) raise(SIGKILL);\n\
         argv[0] = \"/usr/bin/gcc\";\n\
         return execv(argv[0], argv);\n}}\n",
        flag.display()
    );
    farm.write("wrapper.c", &program);
    let compiler = farm.path("bin/gcc");
    let name = compiler.to_str().unwrap().to_owned();
    farm.local(&["gcc", "wrapper.c", "-o", &name]).expect(0);
    let daemon = farm.daemon(Which::Ours).start();
    let path = format!("{}:/usr/bin:/bin", farm.path("bin").display());
    let client = farm.client(Which::Ours, &daemon.host()).env("PATH", path);
    fs::write(&flag, "").unwrap();
    let ran = same(&farm, &client, "gcc -O2 -march=native -c x.c");
    assert_eq!(ran.went(), Went::Local, "{ran}");
    assert!(ran.log.contains("does not say what it would run"), "{ran}");
    assert!(records(&farm).is_empty());
    fs::remove_file(&flag).unwrap();
    let ran = same(&farm, &client, "gcc -O2 -march=native -c x.c");
    assert_eq!(ran.went(), Went::Remote, "{ran}");
    // What it does say is kept, also if that is no.
    let refused = "gcc -O2 -g -march=native -c x.c";
    assert_eq!(same(&farm, &client, refused).went(), Went::Local);
    assert_eq!(records(&farm).len(), 2);
}

/// Debug information has a place of its own, also where only `-gsplit-dwarf` asks for it.
#[test]
fn two_kinds_of_compiles_in_turns_ask_once_each() {
    if !is_x86_64() || !have("native", &["gcc"]) {
        return;
    }
    let farm = Farm::new();
    farm.write("x.c", SOURCE);
    let client = farm
        .client(Which::Ours, "127.0.0.1:1")
        .env("DISTCC_VERBOSE", "1");
    let mut asked = 0;
    for _ in 0..2 {
        for options in ["-march=native", "-gsplit-dwarf -march=native"] {
            let line = format!("why gcc {options} -c x.c -o x.o");
            let ran = client.run(&line.split(' ').collect::<Vec<_>>());
            asked += ran.log.matches("asking gcc what native means").count();
        }
    }
    assert_eq!((asked, records(&farm).len()), (6, 2));
}
