//! Random trees of headers: conditions, macros, computed includes, `#include_next`, `__has_include`, links, folders in
//! several lists, all by a seed that is printed when something differs.

use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::disk::{write, Job};

/// Numbers from a seed.
pub struct Dice(u64);

impl Dice {
    /// The numbers of `seed`.
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    /// Less than `sides`.
    pub fn roll(&mut self, sides: usize) -> usize {
        usize::try_from(self.next()).unwrap() % sides
    }

    /// One time in `sides`.
    pub fn one_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == 0
    }

    /// One of them.
    pub fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.roll(of.len())]
    }
}

const FOLDERS: [&str; 9] = [
    "src", "src/sub", "one", "one/sub", "two", "two/sub", "sys", "sys/sub", "last",
];
const NAMES: [&str; 5] = ["a.h", "b.h", "sub/a.h", "sub/c.h", "d e.h"];
const MACROS: [&str; 6] = ["A", "B", "C", "D", "E", "F"];
/// Macros with one parameter, with two, and with any number; they are always defined, in one way or another.
const FUNCTIONS: [&str; 6] = ["P", "Q", "R", "V", "W", "N"];
const MARKS: usize = 40;

struct Writer<'d> {
    dice: &'d mut Dice,
    text: String,
    mark: usize,
    cxx: bool,
}

/// Makes a tree below `root`.
pub fn tree(dice: &mut Dice, root: &Path, cxx: bool) -> usize {
    let mut mark = 0;
    for number in 0..MARKS {
        write(root, &format!("marks/m{number}.h"), "");
    }
    for folder in FOLDERS {
        for name in NAMES {
            let full = format!("{folder}/{name}");
            if dice.one_in(3) || root.join(&full).exists() {
                continue;
            }
            let text = header(dice, &full, &mut mark, cxx);
            write(root, &full, text);
        }
    }
    for number in 0..2 {
        let from = format!("{}/link{number}", dice.pick(&["src", "one", "two", "sys"]));
        let to = root.join(dice.pick(&["one", "two", "sys/sub", "src/sub"]));
        std::fs::create_dir_all(root.join(&from).parent().unwrap()).unwrap();
        let _ = symlink(to, root.join(&from));
        let twin = format!(
            "{}/twin{number}.h",
            dice.pick(&["src", "one", "two", "sys"])
        );
        let of = root.join(dice.pick(&["one/a.h", "two/sub/a.h", "sys/b.h"]));
        if of.exists() {
            let _ = match dice.one_in(2) {
                true => symlink(of, root.join(&twin)),
                false => std::fs::copy(of, root.join(&twin)).map(|_| ()),
            };
        }
    }
    let pre = header(dice, "marks/pre.h", &mut mark, cxx).replace("__INCLUDE_LEVEL__", "0");
    write(root, "marks/pre.h", pre);
    let mut writer = Writer {
        dice,
        text: String::new(),
        mark,
        cxx,
    };
    for name in FUNCTIONS {
        writer.define_function(name);
    }
    writer.lines(14, 0);
    let text = writer.text;
    let mark = writer.mark;
    write(root, if cxx { "src/main.cc" } else { "src/main.c" }, text);
    mark
}

/// A command for the tree, run in one of its folders.
pub fn command(dice: &mut Dice, root: &Path, compiler: &str, source: &str) -> Job {
    let (cwd, up) = match dice.roll(3) {
        0 => (root.to_path_buf(), String::new()),
        1 => (root.join("src"), "../".to_owned()),
        _ => (root.join("src/sub"), "../../".to_owned()),
    };
    std::fs::create_dir_all(&cwd).unwrap();
    let place = |dice: &mut Dice, folder: &str| match dice.roll(6) {
        0 => format!("{}/{folder}", root.display()),
        1 => format!("{up}{folder}/"),
        2 => format!("{up}./{folder}"),
        _ => format!("{up}{folder}"),
    };
    let mut words = vec![compiler.to_owned()];
    for _ in 0..dice.roll(7) {
        let option = dice.pick(&["-I", "-I", "-I", "-iquote", "-isystem", "-idirafter"]);
        let folder = dice.pick(&["one", "two", "sys", "last", "src", "one/sub", "none"]);
        let folder = place(dice, folder);
        words.push(option.to_owned());
        words.push(folder);
    }
    words.push(format!("-I{up}marks"));
    for function in [
        "P(x)=(x)",
        "Q(x)=(!(x))",
        "R(x,y)=(x)",
        "V(x,...)=(x)",
        "W(x,y...)=(x)",
        "N()=",
    ] {
        words.push(format!("-D{function}"));
    }
    for _ in 0..dice.roll(4) {
        let name = dice.pick(&MACROS);
        words.push(match dice.roll(5) {
            0 => format!("-D{name}"),
            1 => format!("-U{name}"),
            2 => format!("-D{name}=A+(B==C)"),
            _ => format!("-D{name}={}", dice.roll(5)),
        });
    }
    if dice.one_in(4) {
        let option = dice.pick(&["-include", "-imacros"]);
        words.extend([
            option.to_owned(),
            dice.pick(&["m1.h", "m2.h", "a.h"]).to_owned(),
        ]);
    }
    let source = place(dice, &format!("src/{source}"))
        .trim_end_matches('/')
        .to_owned();
    words.extend(["-c".to_owned(), source]);
    Job {
        cwd,
        argv: words.into_iter().map(Into::into).collect(),
    }
}

fn header(dice: &mut Dice, name: &str, mark: &mut usize, cxx: bool) -> String {
    let guard: String = name
        .chars()
        .map(|c| if c.is_alphanumeric() { c } else { '_' })
        .collect();
    let style = dice.roll(5);
    let mut writer = Writer {
        dice,
        text: String::new(),
        mark: *mark,
        cxx,
    };
    match style {
        0 | 1 => write!(writer.text, "/* x */ #ifndef {guard}\n#define {guard}\n").unwrap(),
        2 => writer.text += "#pragma once\n",
        _ => {}
    }
    let count = 2 + writer.dice.roll(8);
    writer.lines(count, 0);
    if style < 2 {
        writer.text += "#endif\n";
    }
    *mark = writer.mark;
    writer.text
}

impl Writer<'_> {
    fn lines(&mut self, count: usize, depth: usize) {
        for _ in 0..count {
            self.line(depth);
        }
    }

    fn some_lines(&mut self, depth: usize) {
        let count = 1 + self.dice.roll(3);
        self.lines(count, depth);
    }

    fn line(&mut self, depth: usize) {
        match self.dice.roll(20) {
            0..=4 => self.include(),
            5..=7 if depth < 3 => self.group(depth),
            8 | 9 => self.mark(),
            10..=12 => self.define(),
            13 => {
                let name = self.dice.pick(&MACROS);
                writeln!(self.text, "#undef {name}").unwrap();
            }
            14 => self.computed(),
            15 => {
                let (verb, name) = (self.dice.pick(&["push", "pop"]), self.dice.pick(&MACROS));
                writeln!(self.text, "#pragma {verb}_macro(\"{name}\")").unwrap();
            }
            16 => self.noise(),
            _ => self.mark_by_condition(),
        }
    }

    fn noise(&mut self) {
        self.text += match self.dice.roll(8) {
            0 => "/* #include \"none.h\" */ int /* \n # */ x;\n",
            1 => "// a comment \\\n#include \"none.h\"\n",
            2 => "const char s[] = \"#include /* \\\" \";\n",
            3 => "#if 0\n it isn't /* here\n#endif\n",
            4 if self.cxx => "const char r[] = R\"x(\n#include \"none.h\"\n)\" /* )x\";\n",
            5 => "# /* */ pragma nothing 'x\n#\n",
            6 => "int y = 'a' + '\\'' + '\"';\r\n",
            _ => "#if 0 /*\n*/\n#include <none.h>\n#elif 0\n#else /* x */\n#endif // y\n",
        };
    }

    fn mark(&mut self) {
        self.mark = (self.mark + 1) % MARKS;
        let mark = self.mark;
        match self.dice.roll(6) {
            0 => writeln!(self.text, "#inc\\\nlude <m{mark}.h>"),
            1 => writeln!(self.text, "  #  include/**/<m{mark}.h> // x"),
            2 => writeln!(self.text, "%:include <m{mark}.h>"),
            3 => writeln!(self.text, "#import <m{mark}.h>"),
            _ => writeln!(self.text, "#include <m{mark}.h>"),
        }
        .unwrap();
    }

    fn group(&mut self, depth: usize) {
        match self.dice.roll(4) {
            0 => {
                let (verb, name) = (
                    self.dice.pick(&["ifdef", "ifndef"]),
                    self.dice.pick(&MACROS),
                );
                writeln!(self.text, "#{verb} {name}").unwrap();
            }
            _ => {
                let condition = self.condition(0);
                writeln!(self.text, "#if {condition}").unwrap();
            }
        }
        self.some_lines(depth + 1);
        for _ in 0..self.dice.roll(3) {
            let condition = self.condition(0);
            writeln!(self.text, "#elif {condition}").unwrap();
            self.some_lines(depth + 1);
        }
        if self.dice.one_in(2) {
            self.text += "#else\n";
            self.some_lines(depth + 1);
        }
        self.text += "#endif\n";
    }

    fn mark_by_condition(&mut self) {
        let condition = self.condition(0);
        writeln!(self.text, "#if {condition}").unwrap();
        self.mark();
        self.text += "#endif\n";
    }

    fn name(&mut self) -> String {
        let name = match self.dice.roll(12) {
            0 => "link0/a.h",
            1 => "link1/sub/a.h",
            2 => "twin0.h",
            3 => "twin1.h",
            4 => "../one/a.h",
            5 => "./b.h",
            _ => self.dice.pick(&NAMES),
        };
        match self.dice.one_in(2) {
            true => format!("\"{name}\""),
            false => format!("<{name}>"),
        }
    }

    fn include(&mut self) {
        let name = self.name();
        let (has, verb) = match self.dice.roll(8) {
            0 | 1 => ("__has_include_next", "include_next"),
            2 => ("__has_include", "import"),
            _ => ("__has_include", "include"),
        };
        writeln!(
            self.text,
            "#if __INCLUDE_LEVEL__ < 5 && {has}({name})\n#{verb} {name}\n#endif"
        )
        .unwrap();
    }

    fn define(&mut self) {
        if self.dice.one_in(3) {
            let name = self.dice.pick(&FUNCTIONS);
            return self.define_function(name);
        }
        let name = self.dice.pick(&MACROS);
        let other = self.dice.pick(&MACROS);
        let body = match self.dice.roll(8) {
            0 => other.to_owned(),
            1 => "(N() 1)".to_owned(),
            2 => format!("({other} + 1)"),
            3 => "P".to_owned(),
            4 => format!("P(P({other}))"),
            5 => format!("1 + N() /* x */ P (\\\n{other})"),
            _ => self.expression(1, false),
        };
        writeln!(self.text, "#undef {name}\n#define {name} {body}").unwrap();
        if self.dice.one_in(4) {
            let tested = self
                .dice
                .pick(&["defined(B)", "!defined A", "defined C && defined(D)"]);
            writeln!(self.text, "#undef Z\n#define Z {tested}\n#if Z").unwrap();
            self.mark();
            self.text += "#endif\n";
        }
    }

    /// Whatever it is, it can be used in an expression.
    fn define_function(&mut self, name: &str) {
        let other = self.dice.pick(&MACROS);
        let definition = match (name, self.dice.roll(6)) {
            ("P", 0) => format!("(x) x+{other}"),
            ("P", 1) => "(x) (Q(x)+0)".to_owned(),
            ("P", 2) => "(x) !x || x".to_owned(),
            ("P", 3) => "(x) x##0 - x".replace("x##0", "0##1"),
            ("P", _) => "(a) (a+a)".to_owned(),
            ("Q", 0) => "(x) -x + V(x)".replace("V(x)", "W(x)"),
            ("Q", 1) => "(x) x ? x:0".to_owned(),
            ("Q", _) => "(x) ((x) == 2)".to_owned(),
            ("R", 0) => format!("(x,y) (x+{other})"),
            ("R", 1) => "(x, y) P(x) + Q (y)".to_owned(),
            ("R", _) => "(x,y) ((x) > (y))".to_owned(),
            ("V", 0) => "(x,...) (0 __VA_OPT__(+) __VA_ARGS__ + x)".to_owned(),
            ("V", 1) => "(x,...) R(x,##__VA_ARGS__ + 0)".replace("x,##", "x,1 || 0 "),
            ("V", _) => "(x...) W(x, 1)".to_owned(),
            ("W", 0) => "(x, y...) (x + 1 , ##y)".to_owned(),
            ("W", 1) => "(x, ...) P(x)".to_owned(),
            ("W", _) => "(x, y...) ((0 y) + 1)".replace("(0 y)", "(x)"),
            (_, 0) => "() 0 +".to_owned(),
            (_, _) => "()".to_owned(),
        };
        writeln!(self.text, "#undef {name}\n#define {name}{definition}").unwrap();
    }

    fn computed(&mut self) {
        let name = self.dice.pick(&NAMES[..4]);
        let define = match self.dice.roll(6) {
            0 => format!("#define H \"{name}\""),
            1 => format!("#define H <{name}>"),
            2 => format!("#define S(x) #x\n#define T(x) S(x)\n#define H T({name})"),
            3 => format!("#define L <\n#define H L {name}>"),
            4 => "#define J(x,y) <x/y.h>\n#define H J(sub,a)".to_owned(),
            _ => "#define K(x) x.h\n#define J(x) <K(x)>\n#define M a\n#define H J(M)".to_owned(),
        };
        write!(
            self.text,
            "#undef H\n#undef S\n#undef T\n#undef L\n#undef J\n#undef K\n#undef M\n{define}\n\
             #if __INCLUDE_LEVEL__ < 5 && __has_include(H)\n#include H\n#endif\n"
        )
        .unwrap();
    }

    /// A condition. In the arguments of macros `defined` would come too late.
    fn condition(&mut self, depth: usize) -> String {
        self.expression(depth, true)
    }

    fn expression(&mut self, depth: usize, may_test: bool) -> String {
        let name = self.dice.pick(&MACROS);
        if depth > 3 || self.dice.one_in(3) {
            return match self.dice.roll(9) {
                0 if may_test => format!("defined({name})"),
                1 if may_test => format!("!defined {name}"),
                0..=3 => self.dice.roll(4).to_string(),
                4 => {
                    let constants = ["0x10u", "'a'", "-1", "1ull", "07L", "'\\n'"];
                    self.dice.pick(&constants).to_owned()
                }
                5 => format!("__has_include({})", self.name()),
                6 => "__LINE__ % 3 == 0".to_owned(),
                7 => {
                    let tests = [
                        "true",
                        "__has_attribute(unused)",
                        "__GNUC__ > 3",
                        "(__cplusplus + 0)",
                    ];
                    self.dice.pick(&tests).to_owned()
                }
                _ => name.to_owned(),
            };
        }
        let kind = self.dice.roll(9);
        let may_test = may_test && !matches!(kind, 1 | 2);
        let a = self.expression(depth + 1, may_test);
        let b = self.expression(depth + 1, may_test);
        match kind {
            0 => format!("({a}) ? ({b}) : {}", self.expression(depth + 1, may_test)),
            1 => format!(
                "({} {}({a}))",
                self.dice.pick(&["", "0 ||", "-"]),
                self.dice.pick(&["P", "Q"])
            ),
            2 => format!("({} ({a}, {b}))", self.dice.pick(&["R", "V", "W"])),
            3 => format!("!({a})"),
            4 if self.dice.one_in(3) => {
                let operator = self.dice.pick(&["<<", ">>", "/", "%"]);
                format!("(({a}) {operator} (1 + !({b})))")
            }
            _ => {
                let operators = [
                    "&&", "||", "+", "-", "*", "<", ">=", "==", "!=", "&", "^", "|",
                ];
                format!("(({a}) {} ({b}))", self.dice.pick(&operators))
            }
        }
    }
}
