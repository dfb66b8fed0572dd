//! How compilers name the files that they make beside the object, each kin in its own way: names and folders follow from
//! the words of a command. Nothing is looked at.

use super::command_line::SideWord;
use super::compiler_options::Side;
use super::family::Family;
use super::sources::{self, Language};

/// The folders in which compilers make such files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Beside {
    /// That of the object.
    Output,
    /// The working directory.
    Working,
}

/// A file that the command makes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Made {
    /// Where.
    pub folder: Beside,
    /// Its name there.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: Side,
    /// Whose compilers make it; `None`: all that know the option.
    pub family: Option<Family>,
}

/// The compile that the files are made by.
#[derive(Clone, Copy, Debug)]
pub struct Compile<'c> {
    /// The source.
    pub input: &'c [u8],
    /// The object or assembler file.
    pub output: &'c [u8],
    /// That of the source.
    pub language: Language,
    /// `-S`
    pub assembly: bool,
    /// `-flto`: the object holds what the compiler makes, not the assembler.
    pub lto: bool,
}

/// How gcc names its files since version 11: all by the output's name, in its folder or all in the working directory (tried:
/// 12; of the older ones' only those are believed that have the same names).
pub struct Gcc<'c> {
    folder: Beside,
    /// The output's name without its last ending.
    stem: &'c [u8],
    /// How the source's name ends, or nothing.
    ending: &'c [u8],
    compile: Compile<'c>,
}

impl<'c> Gcc<'c> {
    /// That of a compile.
    pub fn of(words: &[SideWord<'_>], compile: Compile<'c>) -> Gcc<'c> {
        let mut temps = words.iter().rev().filter_map(|word| {
            let is_temps = word.files == Side::Temps;
            word.word.strip_prefix(b"-save-temps=").filter(|_| is_temps)
        });
        let output = sources::base_name(compile.output);
        let stem = match without_ending(output) {
            b"" => output,
            stem => stem,
        };
        let input = sources::base_name(compile.input);
        Gcc {
            folder: match temps.next() {
                Some(b"cwd") => Beside::Working,
                _ => Beside::Output,
            },
            stem,
            ending: input.get(without_ending(input).len()..).unwrap_or_default(),
            compile,
        }
    }

    /// The files of one kind; dumps are too many to be listed.
    pub fn makes(&self, kind: Side) -> Vec<Made> {
        let named = |tail: &[u8]| [self.stem, tail].concat();
        let names = match kind {
            Side::SplitDwarf if !self.compile.assembly => vec![named(b".dwo")],
            Side::Coverage => vec![named(b".gcno")],
            Side::StackUsage => vec![named(b".su")],
            Side::CallGraph => vec![named(b".ci")],
            Side::Temps => {
                let text = named(self.compile.language.preprocessed_suffix().as_bytes());
                let assembly = (!self.compile.assembly).then(|| named(b".s"));
                [text].into_iter().chain(assembly).collect()
            }
            Side::Record => {
                let tail = [self.ending, b".opt-record.json.gz"].concat();
                vec![named(&tail)]
            }
            _ => Vec::new(),
        };
        let made = |name| Made {
            folder: self.folder,
            name,
            kind,
            family: Some(Family::Gcc),
        };
        names.into_iter().map(made).collect()
    }

    /// Where dumps are, and how their names begin.
    pub fn dumps(&self, words: &[SideWord<'_>]) -> Option<(Beside, Vec<u8>)> {
        let is_dump = |word: &SideWord| word.files == Side::Dump && word.named.is_none();
        let has_dumps = words.iter().any(is_dump);
        has_dumps.then(|| (self.folder, [self.stem, self.ending].concat()))
    }
}

/// How clang names its files: by the output's name in the output's folder, but what is left of the steps of a compile by the
/// source's (tried: 14).
pub struct Clang<'c> {
    words: &'c [SideWord<'c>],
    compile: Compile<'c>,
}

impl<'c> Clang<'c> {
    /// That of a compile.
    pub fn of(words: &'c [SideWord<'c>], compile: Compile<'c>) -> Clang<'c> {
        Clang { words, compile }
    }

    /// The folder that the last word of this kind names.
    fn folder(&self, kind: Side) -> Beside {
        let mut words = self.words.iter().rev();
        let last = words.find(|word| word.files == kind);
        match last.is_some_and(|word| word.word.ends_with(b"=obj")) {
            true => Beside::Output,
            false => Beside::Working,
        }
    }

    /// Whether some are left beside what the assembler reads, a temporary file, if it is a program of its own.
    pub fn leaves_temporary(&self) -> bool {
        let Compile { assembly, lto, .. } = self.compile;
        let has = |kind| self.words.iter().any(|word| word.files == kind);
        let follows =
            has(Side::Trace) || has(Side::Stats) && self.folder(Side::Stats) == Beside::Output;
        follows && !assembly && !lto && !has(Side::Temps)
    }

    /// All files that the words make.
    pub fn makes(&self) -> Vec<Made> {
        let output = without_ending(sources::base_name(self.compile.output));
        let input = without_ending(sources::base_name(self.compile.input));
        let of_output = |tail: &[u8]| (Beside::Output, [output, tail].concat());
        let of_input = |folder, tail: &[u8]| (folder, [input, tail].concat());
        let has = |kind| self.words.iter().any(|word| word.files == kind);
        // With temporary files each step has its output there, but the last one.
        let steps = has(Side::Temps).then(|| self.folder(Side::Temps));
        let Compile { assembly, lto, .. } = self.compile;
        let ends_compiling = assembly || lto || steps.is_none();
        let mut all = Vec::new();
        for word in self.words {
            let kind = word.files;
            let made = match kind {
                Side::SplitDwarf if word.word.ends_with(b"=single") => Vec::new(),
                Side::SplitDwarf if assembly => vec![of_input(Beside::Working, b".dwo")],
                Side::SplitDwarf => vec![of_output(b".dwo")],
                Side::Coverage => vec![of_output(b".gcno")],
                Side::StackUsage => vec![of_output(b".su")],
                Side::Temps => {
                    let folder = self.folder(kind);
                    let text = self.compile.language.preprocessed_suffix().as_bytes();
                    let mut made = vec![of_input(folder, text), of_input(folder, b".bc")];
                    made.extend((!assembly && !lto).then(|| of_input(folder, b".s")));
                    made
                }
                Side::Stats => {
                    let own = self.folder(kind);
                    let last = (own == Beside::Working || ends_compiling).then_some(own);
                    let steps = steps.filter(|_| own == Beside::Output);
                    let folders = last.into_iter().chain(steps);
                    folders.map(|folder| of_input(folder, b".stats")).collect()
                }
                Side::Trace => {
                    let of_steps = steps.map(|folder| of_input(folder, b".json"));
                    let last = ends_compiling.then(|| of_output(b".json"));
                    last.into_iter().chain(of_steps).collect()
                }
                Side::Record if word.word.ends_with(b"=bitstream") => {
                    vec![of_output(b".opt.bitstream")]
                }
                Side::Record => vec![of_output(b".opt.yaml")],
                Side::CallGraph | Side::Dump | Side::Named | Side::Diagnostics => Vec::new(),
            };
            all.extend(made.into_iter().map(|(folder, name)| Made {
                folder,
                name,
                kind,
                family: Some(Family::Clang),
            }));
        }
        all
    }
}

/// A name up to its last dot; all of it if it has none.
pub fn without_ending(name: &[u8]) -> &[u8] {
    let dot = memchr::memrchr(b'.', name).unwrap_or(name.len());
    name.get(..dot).unwrap_or_default()
}

/// `.123t.name`: a pass by its number and kind; `.gkd`: the final instructions.
pub fn is_dump(tail: &[u8]) -> bool {
    if tail == b".gkd" {
        return true;
    }
    let Some((b".", rest)) = tail.split_at_checked(1) else {
        return false;
    };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let is_name =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'+' | b'.');
    match rest.get(digits..) {
        Some([b't' | b'i' | b'r' | b'l', b'.', name @ ..]) => {
            digits > 0 && !name.is_empty() && name.iter().all(is_name)
        }
        _ => false,
    }
}
