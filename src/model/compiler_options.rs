//! The vocabulary of the option table: how an option takes its value, what it does to a distributed compile,
//! and the reasons for which a command stays on this machine. The rows are in `option_table`.

use std::borrow::Cow;
use std::fmt;

/// How an option is spelled with its value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// The word alone: `-c`.
    Word,
    /// A word that starts so, the value (perhaps empty) attached: `-std=c99`; also whole families: `-f…`.
    Joined,
    /// The word, then the value as the next word: `-target TRIPLE`.
    Separate,
    /// The word alone with the value as the next word, or the value attached: `-I DIR`, `-IDIR`.
    Either,
}

/// What a word of a command is for; one for each word, a separate value has the role of its option.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// The compiler, always and only word 0.
    Program,
    /// The source file.
    Input,
    /// `-o` and its value.
    Output,
    /// `-c`, `-S`.
    Step,
    /// `-x` and its value.
    Language,
    /// `-D`, `-U`: macros from the command line.
    Define,
    /// Where headers are found, and headers named on the command line: `-I`, `-isystem`, `-include`, `--sysroot`…
    Include,
    /// `-MD`, `-MF`… and `-Wp,-MD,…`.
    Dependency,
    /// Read by the preprocessor only, and neither of the above: `-H`, `-trigraphs`, `-Wp,-D…`, `-Xpreprocessor`.
    Preprocess,
    /// Makes files beside the object, or says which: no run that only asks or preprocesses may be given it.
    Side,
    /// Of no effect on an object: `-l`, `-L`, `-Wl,…`, the folder for reports of compiler crashes.
    Linker,
    /// Everything that changes code, debug information or messages.
    Code,
}

/// What an option does to a compile that might be distributed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Nothing that needs more than the role.
    Is(Role),
    /// `-o`
    Output,
    /// `-c`
    Object,
    /// `-S`
    Assembly,
    /// `-x`
    Language,
    /// `-g…`: debug information, or `-g0`.
    Debug,
    /// `-march=` and the like: fine unless the value is "this machine".
    Machine,
    /// `-MD`, `-MMD`
    DependencyFile,
    /// `-MF`
    DependencyName,
    /// `-MT`, `-MQ`
    DependencyTarget,
    /// `-MP`
    DependencyPhony,
    /// `-Wp,…`: judged part by part.
    PreprocessorParts,
    /// `-Xpreprocessor X`: judged by its value.
    PreprocessorWord,
    /// `-Wa,…`: judged part by part.
    AssemblerParts,
    /// `-mllvm X`: judged by its value.
    Llvm,
    /// `-dumpbase`, `-dumpdir`: names files beside the object, if any are made.
    DumpName,
    /// Makes files beside the object.
    Side(Side),
    /// Travels only as source with its headers, to a daemon that compiles it at the client's own paths: our own.
    OnlyOurs(Why),
    /// Stays on this machine.
    Local(Why),
}

/// A kind of files that a compiler makes beside the object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// `-gsplit-dwarf`: debug information.
    SplitDwarf,
    /// `--coverage`, `-ftest-coverage`: the graph of the code.
    Coverage,
    /// `-fstack-usage`
    StackUsage,
    /// `-fcallgraph-info`
    CallGraph,
    /// `-save-temps`: what one step of a compile hands to the next.
    Temps,
    /// `-save-stats`
    Stats,
    /// `-ftime-trace`
    Trace,
    /// `-fsave-optimization-record`
    Record,
    /// `-fdump-…`, `-d…`: many, unless it names one.
    Dump,
    /// The option's value names the file.
    Named,
    /// The same, of clang's `-serialize-diagnostics`.
    Diagnostics,
}

impl Side {
    /// Why a command stays here where such files would be lost.
    pub fn why(self) -> Why {
        match self {
            Side::Coverage => Why::Profile,
            Side::Named | Side::Diagnostics => Why::NamesFile,
            _ => Why::ExtraFiles,
        }
    }
}

/// Why an option keeps a command on this machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// `-E`, `-M`, `-fsyntax-only`…: the result is not an object or assembler file.
    NoObject,
    /// Prints about the compiler or its run, with this machine's paths and times.
    Prints,
    /// Writes files besides the object, under names made from the output's.
    ExtraFiles,
    /// Names a file or directory that is read or written besides source and headers.
    NamesFile,
    /// Names a program or library that the compiler would run.
    RunsProgram,
    /// Coverage and profiles: extra files, and paths in the object.
    Profile,
    /// Code that writes a profile when it runs, to a file that it knows by its path.
    Instruments,
    /// Modules and precompiled headers.
    Modules,
    /// The object holds the command line or the source text itself.
    Records,
    /// Link-time optimisation: the object holds the compiler's own representation.
    Lto,
    /// Means this machine's processor.
    Machine,
    /// Changes how text is preprocessed in a way that can't be done in two steps.
    Preprocessing,
    /// Known, rare, and not worth the risk.
    Unsupported,
}

impl Why {
    /// The sentence that follows the option's name.
    pub fn explain(self) -> &'static str {
        match self {
            Why::NoObject => "does not make an object or assembler file",
            Why::Prints => "prints about this machine's compiler",
            Why::ExtraFiles => "writes files besides the object",
            Why::NamesFile => "names another file",
            Why::RunsProgram => "names a program or library to run",
            Why::Profile => "needs coverage or profile data here",
            Why::Instruments => "puts this machine's paths into the object",
            Why::Modules => "uses modules or precompiled headers",
            Why::Records => "records the command or the source in the object",
            Why::Lto => "leaves optimisation to the linker",
            Why::Machine => "means this machine's processor",
            Why::Preprocessing => "can't be preprocessed apart from compiling",
            Why::Unsupported => "is not supported elsewhere",
        }
    }
}

/// One option, or one family of options.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OptionRow {
    /// The option, or with `Form::Joined` how it starts.
    pub name: &'static str,
    /// How the value is given.
    pub form: Form,
    /// What it does.
    pub effect: Effect,
}

/// A row that matched a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Match<'a> {
    /// The row of the longest name that fits.
    pub row: &'static OptionRow,
    /// The attached value; empty if there is none.
    pub joined: &'a [u8],
    /// The value is the next word.
    pub takes_next: bool,
}

impl OptionRow {
    /// Does `word` spell this option?
    pub fn matches<'a>(&'static self, word: &'a [u8]) -> Option<Match<'a>> {
        let joined = word.strip_prefix(self.name.as_bytes())?;
        let takes_next = match (self.form, joined.is_empty()) {
            (Form::Word | Form::Separate, false) => return None,
            (Form::Word, true) | (Form::Joined, _) | (Form::Either, false) => false,
            (Form::Separate | Form::Either, true) => true,
        };
        Some(Match {
            row: self,
            joined,
            takes_next,
        })
    }
}

/// Why a command is run here, or why a daemon refuses it: one line for log and user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reason {
    /// An option of the table.
    Option(String, Why),
    /// A word that is in no table.
    UnknownOption(String),
    /// A value that its option must not have here: option, value.
    Value(String, String),
    /// An option at the end that lacks its value.
    MissingValue(String),
    /// Neither `-c` nor `-S`.
    NotACompile,
    /// No source file is named.
    NoInput,
    /// More than one source file is named.
    TwoInputs(String, String),
    /// A word that the driver would hand to the linker.
    LinkerInput(String),
    /// The source is assembler text.
    Assembler,
    /// The source is standard input.
    StandardInput,
    /// More than one output is named.
    TwoOutputs(String, String),
    /// The output is no plain file.
    OddOutput(String),
    /// `-x` names a language that is not distributed.
    Language(String),
    /// A probe of autoconf's configure.
    Probe(String),
    /// Dependency options that contradict each other, or lack `-MD`.
    Dependencies,
    /// There is no command.
    Empty,
    /// Said by another part.
    Other(Cow<'static, str>),
}

impl Reason {
    /// A reason in words of the caller's own.
    pub fn new(words: impl Into<Cow<'static, str>>) -> Reason {
        Reason::Other(words.into())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Option(word, why) => write!(f, "{word} {}", why.explain()),
            Reason::UnknownOption(word) => write!(f, "{word} is not a known option"),
            Reason::Value(option, value) => write!(f, "{option} with {value} must run here"),
            Reason::MissingValue(option) => write!(f, "{option} lacks its value"),
            Reason::NotACompile => f.write_str(
                "compiler apparently called not for compile: neither -c nor -S is given",
            ),
            Reason::NoInput => f.write_str("no visible input file"),
            Reason::TwoInputs(a, b) => write!(f, "do we have two inputs? {a} and {b}"),
            Reason::LinkerInput(word) => {
                write!(
                    f,
                    "{word} is no C, C++ or Objective-C source; called for link?"
                )
            }
            Reason::Assembler => f.write_str("assembler sources are not compiled elsewhere"),
            Reason::StandardInput => f.write_str("the source is standard input"),
            Reason::TwoOutputs(a, b) => write!(f, "two outputs, {a} and {b}"),
            Reason::OddOutput(name) if name == "-" => f.write_str("output to stdout?"),
            Reason::OddOutput(name) => write!(f, "the output {name} is no ordinary file"),
            Reason::Language(name) => write!(f, "-x {name} is not compiled elsewhere"),
            Reason::Probe(name) => write!(f, "{name} is a probe of configure"),
            Reason::Dependencies => {
                f.write_str("dependency options need one -MD or -MMD and one file")
            }
            Reason::Empty => f.write_str("there is no command"),
            Reason::Other(words) => f.write_str(words),
        }
    }
}
