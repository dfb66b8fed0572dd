//! Plain mode's promise with the compilers that are installed: what a server makes of the text is the local object,
//! byte for byte, or the recipe says beforehand, or the object afterwards, that it is not.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use distcc::model::invocation::{scan, Invocation, Scan};
use distcc::model::landmarks::Landmarks;
use distcc::model::plain::{self, Recipe, Way, Wishes};
use distcc::model::plain_text::OwnSource;
use distcc::model::received::scan_received;

const C: &str = r#"#include <stdio.h>
#include <string.h>
#include "h.h"
#ifdef FOO
#define BAR FOO
#else
#define BAR 0
#endif
struct s { int a; const char *b; };
static struct s tab[2] = {{1, "a"}, {BAR, __FILE__}};
int counter(void) { return __COUNTER__ + __LINE__; }
int f(int n, char **p) {
  int i, unused;
  switch (n) { case 1: n++; /* fall through */ case 2: n += 2; }
  for (i=0;i<n;i++)   printf("%d %s\n", hh(i) +  SQ(n), p[i]);
  char *q = NULL;  if (MAX(n,  3)  > i) puts(q = p[0]);
  asm("nop # " STR(a   b));
  return tab[n].a  + LONG(n,
     i) +   (int)strlen(tab[n].b);
}
"#;

const CXX: &str = r#"#include <string>
#include "h.h"
namespace { struct L { std::string s; int operator()(int a) const { return a +  SQ(a); } }; int cnt; }
static std::string global("x");
template <class T> T add(T a, T b) { return MAX(a,  b)  + a; }
struct V { virtual ~V() {} virtual int g() { return 1; } };
int g(const std::string &v) { L l; for (char x : v) { cnt += l(x)  + add(x, 'a'); } auto lam = [&](int q) { return q + cnt; };  return lam(3) + hh(2); }
V *mk() { return new V; }
const char *raw = R"x(
#define SQ 3
)x";
"#;

const OBJC: &str = r#"#import "h.h"
@interface Foo { int a; } - (int)bar:(int)x; @end
@implementation Foo
- (int)bar:(int)x { a = x;  return SQ(a) +  hh(a); }
@end
int zz(Foo *f) { return [f bar:3]; }
"#;

const HEADER: &str = r#"#pragma once
#define SQ(x) ((x)*(x))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define STR(x) #x
#define LONG(a, \
    b) a + \
  b
static inline int hh(int a) { return SQ(a)  + 1; }
"#;

/// A project, and beside it a place where servers work.
struct Bench {
    top: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        let bench = Bench {
            top: tempfile::tempdir().unwrap(),
        };
        let project = bench.project();
        for folder in ["dir", "inc", "out"] {
            fs::create_dir_all(project.join(folder)).unwrap();
        }
        let files = [
            ("dir/x.c", C),
            ("dir/y.cc", CXX),
            ("dir/z.m", OBJC),
            ("inc/h.h", HEADER),
        ];
        for (name, text) in files {
            fs::write(project.join(name), text).unwrap();
        }
        bench
    }

    fn project(&self) -> PathBuf {
        self.top.path().join("client/project")
    }

    /// Runs words in a folder below the top.
    fn run(&self, words: &[OsString], cwd: &Path) -> Output {
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .current_dir(cwd)
            .env("PWD", cwd)
            .env("LC_ALL", "C");
        command.output().unwrap()
    }

    fn local(&self, invocation: &Invocation) -> Option<Vec<u8>> {
        let object = self.project().join(&invocation.output);
        fs::remove_file(&object).ok();
        self.run(&invocation.argv, &self.project());
        fs::read(object).ok()
    }

    /// As stock servers do it: a temporary name, another directory, words otherwise as they came.
    fn stock(&self, invocation: &Invocation, recipe: &Recipe, text: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let folder = self.top.path().join("server");
        fs::create_dir_all(&folder).unwrap();
        let suffix = invocation.language.preprocessed_suffix();
        let input = folder.join(format!("distccd_0badcafe{suffix}"));
        let output = folder.join("distccd_12345678.o");
        fs::write(&input, text).unwrap();
        fs::remove_file(&output).ok();
        let words = replaced(
            &recipe.server_argv,
            invocation,
            input.as_os_str(),
            output.as_os_str(),
        );
        let ran = self.run(&words, &folder);
        assert!(
            ran.status.success(),
            "{words:?}: {}",
            String::from_utf8_lossy(&ran.stderr)
        );
        (fs::read(output).unwrap(), ran.stderr)
    }

    /// As our server does it for gcc with debug information; the mirror stands for the job's namespace.
    fn own(&self, invocation: &Invocation, recipe: &Recipe, source: &OwnSource) -> Vec<u8> {
        let root = self.top.path().join("root");
        let cwd = root.join(source.cwd.strip_prefix("/").unwrap());
        let input = cwd.join(&source.name);
        fs::create_dir_all(input.parent().unwrap()).unwrap();
        fs::write(&input, &source.text).unwrap();
        let output = root.join("made.o");
        let mut words = replaced(
            &recipe.server_argv,
            invocation,
            source.name.as_os_str(),
            output.as_os_str(),
        );
        words.retain(|word| word != "-fdirectives-only");
        words.push(format!("-fdebug-prefix-map={}=", root.display()).into());
        words.push("-fno-diagnostics-show-caret".into());
        let ran = self.run(&words, &cwd);
        assert!(
            ran.status.success(),
            "{words:?}: {}",
            String::from_utf8_lossy(&ran.stderr)
        );
        fs::read(output).unwrap()
    }
}

fn replaced(
    words: &[OsString],
    invocation: &Invocation,
    input: &OsStr,
    output: &OsStr,
) -> Vec<OsString> {
    let mut words = words.to_vec();
    for word in &mut words {
        if word.as_os_str() == invocation.input.as_os_str() {
            *word = input.to_owned();
        } else if word.as_os_str() == invocation.output.as_os_str() {
            *word = output.to_owned();
        }
    }
    words
}

fn installed(compiler: &str) -> bool {
    let found = Command::new(compiler)
        .arg("--version")
        .output()
        .is_ok_and(|out| out.status.success());
    if !found {
        println!("{compiler} is not installed: skipped");
    }
    found
}

fn invocation(command: &str) -> Invocation {
    let argv: Vec<OsString> = command.split_whitespace().map(OsString::from).collect();
    match scan(&argv, &|_| None) {
        Scan::Distributable(invocation) => invocation,
        Scan::Local(local) => panic!("{command}: {}", local.reason),
    }
}

/// What came of a command.
#[derive(PartialEq, Debug)]
enum Fate {
    /// The recipe, or the text, says that it must be compiled here.
    Refused,
    /// Any server gives the local object.
    Exact,
    /// Our server gives the local object, and the object of a stock server is noticed.
    OursOnly,
}

fn fate(bench: &Bench, command: &str) -> Fate {
    let invocation = invocation(command);
    let family = plain::family(Path::new(&invocation.argv[0]));
    let project = bench.project();
    let Ok(recipe) = plain::recipe(&invocation, family, &|| project.clone(), Wishes::default())
    else {
        return Fate::Refused;
    };
    let sent: Vec<Vec<u8>> = recipe
        .server_argv
        .iter()
        .map(|word| word.as_bytes().to_vec())
        .collect();
    if let Err(reason) = scan_received(&sent) {
        panic!("{command}: a daemon refuses: {reason}");
    }
    let text = match &recipe.preprocessor_argv {
        Some(words) => {
            let ran = bench.run(words, &project);
            assert!(
                ran.status.success(),
                "{words:?}: {}",
                String::from_utf8_lossy(&ran.stderr)
            );
            edited(&recipe, &ran.stdout)
        }
        None => fs::read(project.join(&invocation.input)).unwrap(),
    };
    let landmarks = Landmarks::of(&text, family == Some(plain::Family::Clang));
    if plain::text_keeps_local(&text, &landmarks, &invocation, family, recipe.way).is_some() {
        return Fate::Refused;
    }
    let local = bench.local(&invocation).unwrap();
    let (object, stderr) = bench.stock(&invocation, &recipe, &text);
    let betrayed = plain::betrays_server(&object, &stderr, &invocation, recipe.way);
    if object == local {
        assert!(!betrayed, "{command}: an exact object is suspected");
        return Fate::Exact;
    }
    assert!(betrayed, "{command}: the object differs, and nothing tells");
    assert_eq!(recipe.way, Way::DirectivesOnly, "{command}");
    let source = plain::as_source(&text).unwrap();
    assert!(
        bench.own(&invocation, &recipe, &source) == local,
        "{command}: our server's object differs"
    );
    Fate::OursOnly
}

fn check(bench: &Bench, compiler: &str, source: &str, expected: Fate, flags: &[&str]) {
    for flag in flags {
        let command = format!("{compiler} {flag} -Iinc -w -c {source} -o out/o.o");
        assert_eq!(fate(bench, &command), expected, "{command}");
    }
}

/// The text as it travels.
fn edited(recipe: &Recipe, text: &[u8]) -> Vec<u8> {
    let (head, rest) = recipe.edit.apply(text);
    [&head, rest].concat()
}

#[test]
fn gcc_gives_the_local_object() {
    if !installed("gcc") {
        return;
    }
    let bench = Bench::new();
    let exact = [
        "",
        "-O2",
        "-O2 -Wall -Wextra -std=c99",
        "-fPIC -O1 -pthread",
        "-D FOO=3 -include inc/h.h -isystem inc -iquote inc",
        "-O2 -fopenmp",
        "-fmacro-prefix-map=dir/=z/",
        "-pg",
        "-fsanitize=undefined",
        "-fsanitize=address",
        "-fstack-protector-strong",
        "-g -gno-record-gcc-switches -O2",
        "-g -gno-record-gcc-switches -fdebug-prefix-map=/tmp=/zz",
        "-S -O2",
    ];
    check(&bench, "gcc", "dir/x.c", Fate::Exact, &exact);
    let ours = [
        "-g",
        "-O2 -ggdb",
        "-gdwarf-4 -DFOO=2",
        "-g -include inc/h.h",
    ];
    check(&bench, "gcc", "dir/x.c", Fate::OursOnly, &ours);
    check(
        &bench,
        "gcc",
        "./dir/../dir/x.c",
        Fate::OursOnly,
        &["-g -O1"],
    );
    check(
        &bench,
        "gcc",
        "dir/x.c",
        Fate::Refused,
        &["-g -fopenmp", "-g -gz", "-ggdb3"],
    );
    let absolute = bench.project().join("dir/x.c");
    check(
        &bench,
        "gcc",
        absolute.to_str().unwrap(),
        Fate::Exact,
        &["-O2"],
    );
}

#[test]
fn gxx_gives_the_local_object() {
    if !installed("g++") {
        return;
    }
    let bench = Bench::new();
    check(
        &bench,
        "g++",
        "dir/y.cc",
        Fate::Exact,
        &["-O2", "-fsanitize=address", "-std=c++20 -fno-rtti"],
    );
    check(&bench, "g++", "dir/y.cc", Fate::OursOnly, &["-g -O2"]);
    check(&bench, "g++", "dir/x.c", Fate::Exact, &["-O1 -fpermissive"]);
    check(
        &bench,
        "gcc",
        "dir/x.c",
        Fate::Exact,
        &["-O1 -fpermissive -x c++"],
    );
}

#[test]
fn objective_c_of_gcc_gives_the_local_object() {
    let bench = Bench::new();
    let probe: Vec<OsString> = "gcc -w -Iinc -c dir/z.m -o out/z.o"
        .split(' ')
        .map(OsString::from)
        .collect();
    if !installed("gcc") || !bench.run(&probe, &bench.project()).status.success() {
        println!("gcc has no Objective-C: skipped");
        return;
    }
    check(&bench, "gcc", "dir/z.m", Fate::Exact, &["-O2", ""]);
    check(&bench, "gcc", "dir/z.m", Fate::OursOnly, &["-g"]);
}

#[test]
fn clang_gives_the_local_object() {
    if !installed("clang") || !installed("clang++") {
        return;
    }
    let bench = Bench::new();
    let exact = [
        "",
        "-O2 -DFOO=4 -UBAR",
        "-gdwarf-4 -O1 -D FOO",
        "-fsanitize=undefined",
        "-include inc/h.h -O2 -DFOO=1",
        "-fPIC -pg",
        "-gdwarf-4 -fdebug-prefix-map=/tmp=/zz",
        "-S",
    ];
    check(&bench, "clang", "dir/x.c", Fate::Exact, &exact);
    check(
        &bench,
        "clang",
        "dir/x.c",
        Fate::Refused,
        &["-g", "-gdwarf-5"],
    );
    check(&bench, "clang", "dir/z.m", Fate::Refused, &[""]);
    check(
        &bench,
        "clang++",
        "dir/y.cc",
        Fate::Exact,
        &["-O2", "-gdwarf-4"],
    );
    check(&bench, "clang++", "dir/x.c", Fate::Exact, &["-O1 -x c"]);
}

#[test]
fn preprocessed_sources_travel_as_they_are() {
    let bench = Bench::new();
    for compiler in ["gcc", "clang"] {
        if !installed(compiler) {
            continue;
        }
        let make = format!("{compiler} -g -w -Iinc -E dir/x.c -o dir/p.i");
        let words: Vec<OsString> = make.split(' ').map(OsString::from).collect();
        assert!(bench.run(&words, &bench.project()).status.success());
        check(&bench, compiler, "dir/p.i", Fate::Exact, &["-O2", "-g"]);
    }
}

#[test]
fn clang_says_the_same_words() {
    if !installed("clang") {
        return;
    }
    let bench = Bench::new();
    let invocation = invocation("clang -Wall -Wextra -Iinc -c dir/x.c -o out/o.o");
    let family = plain::family(Path::new("clang"));
    let recipe = plain::recipe(&invocation, family, &PathBuf::new, Wishes::default()).unwrap();
    let words = recipe.preprocessor_argv.clone().unwrap();
    let text = edited(&recipe, &bench.run(&words, &bench.project()).stdout);
    let (_, stderr) = bench.stock(&invocation, &recipe, &text);
    let local = bench.run(&invocation.argv, &bench.project());
    assert!(!local.stderr.is_empty());
    assert_eq!(
        String::from_utf8_lossy(&stderr),
        String::from_utf8_lossy(&local.stderr)
    );
}

#[test]
fn dependency_files_are_those_of_a_whole_compile() {
    let bench = Bench::new();
    let commands = [
        "-MMD -c dir/x.c -o out/o.o",
        "-MD -c dir/x.c -oout/o.o",
        "-MMD -MF out/f.d -c dir/x.c -o out/o.o",
        "-MMD -MT foo -c dir/x.c -o out/o.o",
        "-MMD -S dir/x.c -o out/o.s",
        "-MD -MP -MF out/f -MQ a$b -c dir/x.c -o out/o.o",
        "-Wp,-MD,out/w.d -c dir/x.c -o out/o.o",
        "-MMD -c dir/x.c",
        "-MMD -S dir/x.c",
        "-Wp,-MMD,out/w.d -c dir/x.c",
        "-MMD -c dir/x.c -o out/o.tar.lo",
    ];
    for compiler in ["gcc", "clang"] {
        if !installed(compiler) {
            continue;
        }
        for words in commands {
            let command = format!("{compiler} -w -Iinc {words}");
            let invocation = invocation(&command);
            let recipe = plain::recipe(
                &invocation,
                plain::family(Path::new(compiler)),
                &PathBuf::new,
                Wishes::default(),
            )
            .unwrap();
            let typed: Vec<OsString> = command.split(' ').map(OsString::from).collect();
            let native = rules_made(&bench, &typed);
            let preprocessed = rules_made(&bench, recipe.preprocessor_argv.as_ref().unwrap());
            assert_eq!(native.len(), 1, "{compiler} {words}");
            assert_eq!(preprocessed, native, "{compiler} {words}");
        }
    }
}

/// Runs a command and takes away the dependency files that it made.
fn rules_made(bench: &Bench, words: &[OsString]) -> Vec<(PathBuf, String)> {
    let ran = bench.run(words, &bench.project());
    assert!(
        ran.status.success(),
        "{words:?}: {}",
        String::from_utf8_lossy(&ran.stderr)
    );
    let mut rules = Vec::new();
    for folder in ["", "out", "dir"] {
        for entry in fs::read_dir(bench.project().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let known = ["c", "cc", "m", "h"]
                .iter()
                .any(|end| path.extension() == Some(OsStr::new(end)));
            if path.is_dir() || known {
                continue;
            }
            let content = fs::read(&path).unwrap();
            fs::remove_file(&path).unwrap();
            if !matches!(
                path.extension().and_then(OsStr::to_str),
                Some("o" | "s" | "lo")
            ) {
                rules.push((path, String::from_utf8(content).unwrap()));
            }
        }
    }
    rules
}
