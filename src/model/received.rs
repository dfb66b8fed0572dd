//! The daemon's question about a command that came over the network: is it one compile that runs nothing and reads and
//! writes nothing outside its job? What is not surely harmless is refused; the sender then compiles at home.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::command_line::{self, text, OutputAt, Side};
use super::compiler_options::Reason;
use super::sources::{self, SourceKind};

/// A command fit to be run for somebody else (protocols 1 and 2: the text comes preprocessed).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Received {
    /// Index of the word that names the source; never 0.
    pub input: usize,
    /// Where the output is named; None: there is no `-o`, so append one.
    pub output: Option<OutputAt>,
    /// What the compiler will take the text for.
    pub kind: SourceKind,
    /// The suffix, with its dot, for the file that holds the text.
    pub suffix: &'static str,
    /// `-S` instead of `-c`.
    pub assembly: bool,
    /// Where values of `-x` are; an attached one makes the word `-xVALUE`.
    pub languages: Vec<OutputAt>,
    /// A `-x` of the sender makes the compiler preprocess the text once more, so that an `#include` in it would read
    /// this machine's files. To prevent it put `kind.language.preprocessed_option_value()` in each place of `languages`.
    pub preprocesses: bool,
}

/// Reads a received command. Everything that could run a program, load a library, or name a file beside source and output is refused.
pub fn scan_received(argv: &[Vec<u8>]) -> Result<Received, Reason> {
    let words: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
    let compiler = words.first().copied().ok_or(Reason::Empty)?;
    if compiler.is_empty() || matches!(compiler[0], b'-' | b'@') {
        return Err(Reason::UnknownOption(text(compiler)));
    }
    if let Some(word) = words.iter().find(|word| word.contains(&0)) {
        return Err(Reason::UnknownOption(text(word)));
    }
    let walk = command_line::walk(&words, Side::Daemon)?;
    if !walk.object && !walk.assembly {
        return Err(Reason::NotACompile);
    }
    let input = walk.input.ok_or(Reason::NoInput)?;
    let kind = match input.explicit {
        true => input.kind,
        false => sources::as_seen_by(OsStr::from_bytes(compiler), input.kind),
    };
    Ok(Received {
        input: input.index,
        output: walk.output,
        kind,
        suffix: kind.language.preprocessed_suffix(),
        assembly: walk.assembly,
        languages: walk.languages,
        preprocesses: input.explicit && !kind.preprocessed,
    })
}
