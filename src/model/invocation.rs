//! The client's question about a compiler command: may it be distributed, and if so, what is compiled into what?
//! The command itself is never changed for a local run.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::command_line::{self, text, DepWords, InputAt, Side, Walk};
use super::expand;
use super::sources::{self, Language};

pub use super::compiler_options::{Reason, Role};

/// What can be done with a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scan {
    /// One source, one object: it may travel.
    Distributable(Invocation),
    /// It has to run here, as the user wrote it.
    Local(LocalOnly),
}

/// Why a command stays here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LocalOnly {
    /// One line for the log.
    pub reason: Reason,
    /// `-E` is among the words: as light as a preprocessor run, and takes such a slot.
    pub preprocess_only: bool,
}

/// A compile that may be distributed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Invocation {
    /// The command after `@file` expansion; ends in `-o OUT` if the user gave no output. Word 0 is the compiler.
    pub argv: Vec<OsString>,
    /// What each word of `argv` is for; a separate value has its option's role.
    pub roles: Vec<Role>,
    /// Index of the source in `argv`.
    pub input_index: usize,
    /// The source as it is named in `argv`.
    pub input: PathBuf,
    /// Where the result belongs, as named by the user or as the driver names it.
    pub output: PathBuf,
    /// The user gave `-o`; if not, the last two words of `argv` are ours.
    pub output_given: bool,
    /// `-S`: the result is assembler text.
    pub assembly: bool,
    /// What the compiler takes the source for, by `-x`, extension and driver.
    pub language: Language,
    /// The user gave `-x` before the source.
    pub explicit_language: bool,
    /// The source has been preprocessed already.
    pub preprocessed: bool,
    /// `-g` in any form but `-g0`.
    pub debug_info: bool,
    /// `-MD` or `-MMD` is given: a dependency file is wanted.
    pub deps: Option<Deps>,
}

/// The dependency file that is wanted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deps {
    /// `-MD` is among the words.
    pub md: bool,
    /// `-MMD` is among the words: without system headers.
    pub mmd: bool,
    /// Its name by `-MF` or `-Wp,-MD,FILE`; None: derived from the output.
    pub file: Option<OsString>,
    /// By `-MT` and `-MQ`, in order; empty: derived.
    pub targets: Vec<DepTarget>,
    /// `-MP`: a phony rule for each header.
    pub phony: bool,
    /// Given as `-Wp,-MD,FILE`: gcc's derived target is then the source's base name with `.o`,
    /// whatever `-o` says; clang makes no difference (tried).
    pub from_wp: bool,
}

/// A target of the dependency rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DepTarget {
    /// `-MQ`: to be quoted for make; `-MT`: as it is.
    pub quoted: bool,
    /// The name as given.
    pub name: OsString,
}

/// Reads a command; `argv[0]` is the compiler. `read_file` gives the content of a response file, or None.
pub fn scan(argv: &[OsString], read_file: &dyn Fn(&Path) -> Option<Vec<u8>>) -> Scan {
    let expanded = expand::expand(argv, read_file);
    match distributable(&expanded) {
        Ok(invocation) => Scan::Distributable(invocation),
        Err(reason) => Scan::Local(LocalOnly {
            reason: plainest(reason, &expanded),
            preprocess_only: contains(&expanded, &["-E"]),
        }),
    }
}

fn contains(argv: &[OsString], words: &[&str]) -> bool {
    argv.iter()
        .skip(1)
        .any(|arg| words.iter().any(|word| arg == *word))
}

/// A link is best called that, rather than by its first object.
fn plainest(reason: Reason, argv: &[OsString]) -> Reason {
    match reason {
        Reason::LinkerInput(_) | Reason::TwoInputs(..) if !contains(argv, &["-c", "-S", "-E"]) => {
            Reason::NotACompile
        }
        reason => reason,
    }
}

fn distributable(argv: &[OsString]) -> Result<Invocation, Reason> {
    let words: Vec<&[u8]> = argv.iter().map(|word| word.as_bytes()).collect();
    let walk = command_line::walk(&words, Side::Client)?;
    if !walk.object && !walk.assembly {
        return Err(Reason::NotACompile);
    }
    let input = walk.input.ok_or(Reason::NoInput)?;
    let name = words.get(input.index).copied().ok_or(Reason::NoInput)?;
    if is_probe(name) {
        return Err(Reason::Probe(text(name)));
    }
    let deps = dependencies(&walk.deps)?;
    assemble(argv, name, input, deps, walk)
}

/// Sources of autoconf's configure: tiny, many, and about *this* machine.
fn is_probe(name: &[u8]) -> bool {
    let base = sources::base_name(name);
    base.starts_with(b"conftest.") || base.starts_with(b"tmp.conftest.")
}

fn dependencies(words: &DepWords<'_>) -> Result<Option<Deps>, Reason> {
    let wanted = words.md || words.mmd;
    let stray = words.file.is_some() || !words.targets.is_empty() || words.phony;
    if words.contradictory || (!wanted && stray) {
        return Err(Reason::Dependencies);
    }
    let owned = |name: &[u8]| OsString::from_vec(name.to_vec());
    Ok(wanted.then(|| Deps {
        md: words.md,
        mmd: words.mmd,
        file: words.file.map(owned),
        targets: words
            .targets
            .iter()
            .map(|target| DepTarget {
                quoted: target.quoted,
                name: owned(target.name),
            })
            .collect(),
        phony: words.phony,
        from_wp: words.from_wp,
    }))
}

fn assemble(
    argv: &[OsString],
    name: &[u8],
    input: InputAt,
    deps: Option<Deps>,
    walk: Walk<'_>,
) -> Result<Invocation, Reason> {
    let driver = argv.first().map(OsString::as_os_str).unwrap_or_default();
    let kind = match input.explicit {
        true => input.kind,
        false => sources::as_seen_by(driver, input.kind),
    };
    let mut argv = argv.to_vec();
    let mut roles = walk.roles;
    let output = match walk.output.and_then(|at| Some((at, argv.get(at.index)?))) {
        Some((at, word)) => {
            let skip = if at.joined { b"-o".len() } else { 0 };
            let bytes = word.as_bytes().get(skip..).unwrap_or_default();
            OsStr::from_bytes(bytes).to_owned()
        }
        None => {
            let output = OsString::from_vec(sources::default_output(name, walk.assembly));
            argv.extend([OsString::from("-o"), output.clone()]);
            roles.extend([Role::Output, Role::Output]);
            output
        }
    };
    if output.as_bytes() == name || output.as_bytes().starts_with(b"-") {
        return Err(Reason::OddOutput(text(output.as_bytes())));
    }
    Ok(Invocation {
        argv,
        roles,
        input_index: input.index,
        input: PathBuf::from(OsStr::from_bytes(name)),
        output: PathBuf::from(output),
        output_given: walk.output.is_some(),
        assembly: walk.assembly,
        language: kind.language,
        explicit_language: input.explicit,
        preprocessed: kind.preprocessed,
        debug_info: walk.debug_info,
        deps,
    })
}
