//! From a compiler's command to where headers are searched: the chain of folders as gcc or clang puts it together, and
//! the macros and headers that the command line itself gives.

use super::family::Family;
use super::invocation::Invocation;
use super::punt::Punt;

/// A folder that is searched for headers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SearchDir {
    /// As the compiler spells it; empty: the working directory.
    pub path: Vec<u8>,
    /// Its headers are system headers: a default folder, `-isystem`, `-idirafter`.
    pub system: bool,
    /// It holds frameworks (`-F`, `-iframework`).
    pub framework: bool,
}

/// All folders, in the order in which they are searched.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SearchPath {
    /// For `#include "…"`.
    pub dirs: Vec<SearchDir>,
    /// Number of the first one for `#include <…>`.
    pub angle: usize,
    /// Where the assembler looks for files, after the working directory.
    pub assembler: Vec<Vec<u8>>,
}

/// A macro or header given on the command line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Word {
    /// `-D`: `NAME`, `NAME=BODY`, `NAME(PARAMETERS)=BODY`.
    Define(Vec<u8>),
    /// `-U`
    Undefine(Vec<u8>),
    /// `-include`
    Include(Vec<u8>),
    /// `-imacros`
    Macros(Vec<u8>),
}

/// What of the search path is not in the command.
#[derive(Clone, Debug, Default)]
pub struct Surroundings<'a> {
    /// The compiler's default folders as `cc -v` lists them, asked with those options of the command that move them
    /// (`-nostdinc`, `--sysroot`, `-isysroot`, `-stdlib`, `-m32`, `--target`…) but without the user's folders.
    pub defaults: &'a [SearchDir],
    /// `$CPATH`
    pub cpath: &'a [u8],
    /// `$C_INCLUDE_PATH`, `$CPLUS_INCLUDE_PATH`, `$OBJC_INCLUDE_PATH`: the one for the language.
    pub language_path: &'a [u8],
}

/// Device and inode of a folder.
pub type FolderIdentity = (u64, u64);

/// The search path of a command. `identify` says which folder a path is, None if it is none: every call is part of what
/// the answer depends on.
///
/// # Errors
/// Options whose effect is not known exactly.
pub fn search_path(
    _invocation: &Invocation,
    _family: Family,
    surroundings: &Surroundings<'_>,
    _identify: &mut dyn FnMut(&[u8]) -> Option<FolderIdentity>,
) -> Result<SearchPath, Punt> {
    Ok(SearchPath {
        dirs: surroundings.defaults.to_vec(),
        angle: 0,
        assembler: Vec::new(),
    })
}

/// The macros and headers that the command gives, in its order.
///
/// # Errors
/// Options whose effect is not known exactly.
pub fn words(_invocation: &Invocation, _family: Family) -> Result<Vec<Word>, Punt> {
    Ok(Vec::new())
}
