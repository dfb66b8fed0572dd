//! Command lines that nobody wrote: options drawn by a seed from pools, each combination run once without distcc and once
//! through it, in a mode that is drawn, too. What differs is cut down to the words that it takes, and told as a row.

use super::bench::{Bench, Cell, Mode, Worker};
use super::common::Which;
use super::table::{Compiler, Fate, Job, Row, COMPILERS};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Numbers from a seed.
pub struct Dice(u64);

impl Dice {
    /// The numbers of `seed`.
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d)
    }

    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) >> 8).unwrap() % sides
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.roll(of.len())]
    }

    /// One of them, as often as its weight says.
    fn weighed<T: Copy>(&mut self, of: &[(usize, T)]) -> T {
        let mut at = self.roll(of.iter().map(|(weight, _)| weight).sum());
        for (weight, thing) in of {
            match at.checked_sub(*weight) {
                Some(rest) => at = rest,
                None => return *thing,
            }
        }
        unreachable!("less than the sum of the weights")
    }
}

/// Of all combinations, and of those that only compile, so many of 100 must be distributed, or the test would show little.
const DISTRIBUTED_MIN: usize = 43;
const COMPILES_DISTRIBUTED_MIN: usize = 55;

/// Mostly pump mode and our daemon.
const CELLS: &[(usize, Cell)] = &[
    (20, (Mode::Pump, Which::Ours)),
    (5, (Mode::Plain, Which::Ours)),
    (1, (Mode::Lzo, Which::Ours)),
    (1, (Mode::Pump, Which::Stock)),
    (1, (Mode::Plain, Which::Stock)),
    (1, (Mode::Lzo, Which::Stock)),
];

/// Compilers by the names of `table::COMPILERS`.
const WEIGHTS: &[(usize, &str)] = &[
    (8, "gcc"),
    (5, "g++"),
    (6, "clang"),
    (3, "clang++"),
    (1, "objc"),
    (1, "objc-clang"),
    (1, "aarch64"),
    (1, "arm"),
];

const SOURCES: &[(usize, &str)] = &[
    (4, "r.$E"),
    (5, "a.$E"),
    (3, "-Isys w.$E"),
    (4, "loop.$E"),
    (3, "mac.$E"),
    (2, "fall.$E"),
    (3, "cov.$E"),
    (2, "-Isub sub/a.$E"),
    (2, "./a.$E"),
    (1, "\"$PWD\"/r.$E"),
    (1, "o.$E"),
    (1, "e.$E"),
    (1, "m.$E"),
];

const STEPS: &[(usize, &str)] = &[
    (6, "-c"),
    (3, "-c -o out/x.o"),
    (1, "-c -oout/y.obj"),
    (1, "-c -o ./out/../z.o"),
    (2, "-S"),
    (1, "-S -o out/z.s"),
    (1, "-S -c"),
];

const VARIABLES: &[(usize, &str)] = &[
    (40, ""),
    (1, "SOURCE_DATE_EPOCH=1000000000 "),
    (1, "LC_ALL=C.UTF-8 "),
    (1, "CPATH=sys:inc "),
    (1, "C_INCLUDE_PATH=sys "),
    (1, "TERM=xterm-256color "),
    (1, "GCC_COLORS=error=01 "),
];

/// Pools for all compilers: how many of each are drawn at most, and the words.
const POOLS: &[(usize, &[&str])] = &[
    (
        1,
        &[
            "-O0", "-O1", "-O2", "-O2", "-O2", "-O3", "-Os", "-Ofast", "-O",
        ],
    ),
    (
        2,
        &[
            "-g",
            "-g",
            "-g1",
            "-g2",
            "-g3",
            "-g0",
            "-ggdb",
            "-ggdb3",
            "-gdwarf-4",
            "-gdwarf-5",
            "-gdwarf-3",
            "-gz",
            "-gz=none",
            "-gno-record-gcc-switches",
            "-fdebug-prefix-map=$PWD=/src",
            "-gcolumn-info",
            "-gno-column-info",
        ],
    ),
    (
        3,
        &[
            "-Wall",
            "-Wall",
            "-Wextra",
            "-W",
            "-Wno-unused",
            "-Werror",
            "-w",
            "-pedantic",
            "-Wimplicit-fallthrough",
            "-Wshadow",
            "-Wsystem-headers",
            "-Wundef",
            "-Wconversion",
            "-Wno-all",
            "-fdiagnostics-color=always",
            "-fno-diagnostics-color",
            "-fmessage-length=50",
            "-Wunused-macros",
            "-Wmissing-prototypes",
            "-Wformat=2",
            "-Wsign-compare",
            "-Wdate-time",
            "-Wno-error=unused-variable",
        ],
    ),
    (
        4,
        &[
            "-fPIC",
            "-fpie",
            "-fno-pic",
            "-fno-common",
            "-ffunction-sections",
            "-fdata-sections",
            "-fstack-protector-strong",
            "-fvisibility=hidden",
            "-finstrument-functions",
            "-fopenmp",
            "-fno-asynchronous-unwind-tables",
            "-fwrapv",
            "-funroll-loops",
            "-ftrapv",
            "-fno-inline",
            "-fomit-frame-pointer",
            "-fno-ident",
            "-pipe",
            "-frandom-seed=s",
            "-fexceptions",
            "-ffast-math",
            "-fno-builtin",
            "-fshort-enums",
            "-funsigned-char",
            "-fsanitize=undefined",
            "-pthread",
            "-ffreestanding",
            "-fno-strict-aliasing",
            "-ffile-prefix-map=$PWD=.",
            "-fmacro-prefix-map=$PWD=",
            "-fno-plt",
            "-fno-jump-tables",
        ],
    ),
    (
        3,
        &[
            "-DMAC=2",
            "-D MAC=1",
            "-DX",
            "-UMAC",
            "-U MAC",
            "'-DQ=(1 + 2)'",
            "-DI=sizeof(int)",
            "-Iinc",
            "-I inc",
            "-Isub",
            "-I.",
            "-I$PWD/inc",
            "-iquote sub",
            "-isystem sys",
            "-isystem inc",
            "-idirafter inc",
            "-include inc/i.h",
            "-include i.h -Iinc",
            "-imacros inc/mac.h",
            "-trigraphs",
            "-Wp,-DX=1",
            "-Wp,-DX,-UY",
            "-Xpreprocessor -DY",
            "-H",
            "-Isys",
            "-Isys",
        ],
    ),
    (
        1,
        &[
            "",
            "",
            "",
            "-MD",
            "-MMD",
            "-MMD -MF out/x.d",
            "-MD -MP -MT tgt",
            "-MD -MQ 'a$b'",
            "-MMD -MFy.d",
            "-Wp,-MD,out/w.d",
            "-Wp,-MMD,w.d -MP",
            "-MD -MF x.d -MT a -MT b",
        ],
    ),
    (
        1,
        &[
            "",
            "",
            "",
            "-lm",
            "-L. -Wl,-z,now",
            "@args",
            "-Wa,--noexecstack",
            "-x $X",
            "-no-canonical-prefixes",
        ],
    ),
];

/// What makes files beside the object, or records what it is made by: only pump mode with our daemon has these.
const SELDOM: &[&str] = &[
    "-fverbose-asm",
    "-frecord-gcc-switches",
    "-save-temps",
    "-fstack-usage",
    "-gsplit-dwarf",
    "--coverage -frandom-seed=c",
    "-flto -frandom-seed=l",
    "-fprofile-generate -frandom-seed=p",
    "-fno-working-directory",
];

/// What stays here, fails, or makes no object, drawn now and then.
const ODD: &[&str] = &[
    "-fsyntax-only",
    "-fprofile-use=no.gcda",
    "-fno-such-option",
    "-nostdinc",
    "-undef",
    "-fdirectives-only",
    "-fpreprocessed",
    "-emit-llvm",
    "-Wtraditional",
];

/// In one of so many combinations there is one of each of these two.
const SELDOM_IN: usize = 6;
const ODD_IN: usize = 20;

const OF_X86: &[&str] = &[
    "-march=native",
    "-mtune=native",
    "-march=x86-64-v3",
    "-m32",
    "-mavx2",
    "-mno-sse4",
    "-mcmodel=large",
    "-mno-red-zone",
    "-march=native -mno-avx512f",
    "-fcf-protection",
    "-mfpmath=sse",
    "-mtune=haswell",
];
const OF_ARM64: &[&str] = &[
    "-march=armv8.2-a",
    "-mcpu=cortex-a72",
    "-mgeneral-regs-only",
];
const OF_ARM: &[&str] = &["-march=armv7-a", "-mthumb", "-marm", "-mcpu=cortex-a9"];
const OF_C: &[&str] = &[
    "-std=c99",
    "-std=gnu17",
    "-std=c11",
    "-ansi",
    "-std=c2x",
    "-std=gnu89",
];
const OF_CXX: &[&str] = &[
    "-std=c++11",
    "-std=c++17",
    "-std=gnu++20",
    "-fno-exceptions",
    "-fno-rtti",
    "-ansi",
];
const OF_GCC: &[&str] = &[
    "-fno-canonical-system-headers",
    "-fdiagnostics-show-caret",
    "-fipa-pta",
    "-fgraphite-identity",
    "--param max-inline-insns-single=5",
    "--param=inline-unit-growth=9",
    "-fno-tree-vectorize",
    "-fdump-tree-optimized",
    "-fanalyzer",
    "-fcallgraph-info",
    "-grecord-gcc-switches",
    "-fdiagnostics-plain-output",
    "-fno-diagnostics-show-line-numbers",
    "-fmax-errors=1",
    "-Wno-trampolines",
    "-aux-info x.i",
];
const OF_CLANG: &[&str] = &[
    "-Weverything",
    "-fcolor-diagnostics",
    "-fno-color-diagnostics",
    "-gline-tables-only",
    "-fdebug-macro",
    "-mllvm -inline-threshold=9",
    "-Qunused-arguments",
    "-fno-integrated-as",
    "-ferror-limit=1",
    "-ftrivial-auto-var-init=pattern",
    "-fdebug-compilation-dir=.",
    "-gembed-source",
    "-Rpass=inline",
    "--system-header-prefix=inc",
    "-fno-caret-diagnostics",
    "-Wdocumentation",
    "-fxray-instrument",
    "-fdiagnostics-show-category=id",
    "-fms-extensions",
    "-fno-spell-checking",
];

/// A combination: its parts, each of which can be left out on its own.
struct Drawn {
    compiler: &'static Compiler,
    cell: Cell,
    variables: &'static str,
    parts: Vec<&'static str>,
}

fn drawn(dice: &mut Dice, compilers: &[(usize, &'static Compiler)]) -> Drawn {
    let compiler = dice.weighed(compilers);
    let is = |names: &[&str]| names.contains(&compiler.name);
    let mut pools = POOLS.to_vec();
    pools.push((
        1,
        if is(&["g++", "clang++"]) {
            OF_CXX
        } else {
            OF_C
        },
    ));
    pools.push((
        2,
        if compiler.program.contains("clang") {
            OF_CLANG
        } else {
            OF_GCC
        },
    ));
    pools.push((
        1,
        match compiler.name {
            "aarch64" => OF_ARM64,
            "arm" => OF_ARM,
            _ => OF_X86,
        },
    ));
    let mut parts = Vec::new();
    for (of, pool) in [(SELDOM_IN, SELDOM), (ODD_IN, ODD)] {
        if dice.roll(of) == 0 {
            parts.push(dice.pick(pool));
        }
    }
    for (most, pool) in pools {
        for _ in 0..dice.roll(most + 1) {
            parts.push(dice.pick(pool));
        }
    }
    parts.retain(|part| !part.is_empty());
    for index in (1..parts.len()).rev() {
        parts.swap(index, dice.roll(index + 1));
    }
    for part in [dice.weighed(SOURCES), dice.weighed(STEPS)] {
        let at = dice.roll(parts.len() + 1);
        parts.insert(at, part);
    }
    Drawn {
        compiler,
        cell: dice.weighed(CELLS),
        variables: dice.weighed(VARIABLES),
        parts,
    }
}

impl Drawn {
    fn job(&self) -> Job {
        let line = format!("{}$CC {}", self.variables, self.parts.join(" "));
        Job {
            row: Row {
                table: "random",
                fate: None,
                varies: false,
                other: false,
                setup: ":",
                line: line.leak(),
            },
            compiler: self.compiler,
        }
    }

    /// What is wrong with it, if anything is.
    fn fault(&self, worker: &Worker) -> Option<String> {
        let mut tried = worker.try_row(&self.job(), &[self.cell]);
        let fault = tried.faults.pop()?;
        // Two local runs may differ, too, as those that link under names of the moment do.
        let mut varying = self.job();
        varying.row.varies = true;
        let again = worker.try_row(&varying, &[self.cell]);
        (!again.faults.is_empty()).then_some(fault)
    }

    /// Leaves out whatever the fault does not need.
    fn cut_down(mut self, worker: &Worker, mut fault: String) -> (Drawn, String) {
        let mut at = 0;
        while at < self.parts.len() {
            let left_out = self.parts.remove(at);
            match self.fault(worker) {
                Some(other) => fault = other,
                None => {
                    self.parts.insert(at, left_out);
                    at += 1;
                }
            }
        }
        let variables = std::mem::take(&mut self.variables);
        match self.fault(worker) {
            Some(other) => fault = other,
            None => self.variables = variables,
        }
        (self, fault)
    }
}

/// Tries so many combinations; what is wrong with each that is not a local run's, as a row that shows it.
pub fn faults(bench: &Bench, seed: u64, count: usize) -> Vec<String> {
    let here = |(weight, name): &(usize, &str)| {
        let compiler = COMPILERS.iter().find(|compiler| compiler.name == *name)?;
        let found = super::common::have("random rows", &[compiler.program]);
        found.then_some((*weight, compiler))
    };
    let compilers: Vec<_> = WEIGHTS.iter().filter_map(here).collect();
    let numbers: Vec<usize> = (0..count).collect();
    let told = std::sync::Mutex::new(Vec::new());
    let [distributed, compiles, compiles_distributed] = [const { AtomicUsize::new(0) }; 3];
    bench.work_through(&numbers, |worker, number| {
        let mut dice = Dice::new(seed.wrapping_add(*number as u64));
        let drawn = drawn(&mut dice, &compilers);
        let tried = worker.try_row(&drawn.job(), &[drawn.cell]);
        let is_sent = tried.cells.iter().any(|went| went.fate != Fate::Here);
        for (counter, counts) in [
            (&distributed, is_sent),
            (&compiles, tried.only_compiles),
            (&compiles_distributed, tried.only_compiles && is_sent),
        ] {
            counter.fetch_add(usize::from(counts), Ordering::Relaxed);
        }
        let fault = (!tried.faults.is_empty()).then(|| drawn.fault(worker));
        if let Some(fault) = fault.flatten() {
            let (least, fault) = drawn.cut_down(worker, fault);
            let row = format!(
                "for {}\nany   {}",
                least.compiler.name,
                least.job().row.line
            );
            let told_now = format!("number {number} of seed {seed}, as a row:\n{row}\n{fault}");
            println!("{told_now}");
            told.lock().unwrap().push(told_now);
        }
    });
    let mut told = told.into_inner().unwrap();
    for (what, sent, of, min) in [
        ("combinations", &distributed, count, DISTRIBUTED_MIN),
        (
            "those that only compile",
            &compiles_distributed,
            compiles.into_inner(),
            COMPILES_DISTRIBUTED_MIN,
        ),
    ] {
        let sent = sent.load(Ordering::Relaxed);
        println!("of {of} {what} {sent} were distributed");
        if sent * 100 < of * min {
            told.push(format!("of {of} {what} only {sent} were distributed"));
        }
    }
    told
}
