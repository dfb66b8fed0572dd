//! The preprocessor's interface: the world that it asks, the unit that it walks, and what it answers.

use std::any::Any;
use std::sync::Arc;

use super::directives::Clock;
use super::predefined::Compiler;
use super::search::{SearchPath, Word};
use super::source_scan::Scan;

/// What the walk asks about the machine that the unit is on.
pub trait World {
    /// The regular file that a compiler would open under `path`, as it spells it: relative to the working directory, or
    /// absolute. None if there is none (a folder is none). Every call is part of what the answer depends on, also when
    /// the answer is None. Where there is something that can't be read, a compiler stops; so should whoever asked for
    /// the closure, whatever the walk makes of None.
    fn open(&mut self, path: &[u8]) -> Option<Opened>;

    /// Whether the folder that `path` would be in is not there, and so nothing else below it. Asked for when `open` has not
    /// found it; true adds nothing to what the answer depends on.
    fn lacks_folder_of(&mut self, path: &[u8]) -> bool {
        let _ = path;
        false
    }

    /// The value of `operator(operand)`, where the operator is `__has_builtin`, `__has_attribute`,
    /// `__has_cpp_attribute`, `__has_feature`… and the operand is spelled without blanks (`gnu::unused`).
    /// With the operator `defined`: is the operand, the name of such an operator, known to the compiler?
    /// None if it can't be known.
    fn ask(&mut self, operator: &[u8], operand: &[u8]) -> Option<i64>;

    /// The number of the folder of this name: the same for the same inode, whatever its name. None if there is none.
    /// Asked for where a name decides how the compiler spells others: frameworks, clang's current folder.
    fn folder(&mut self, path: &[u8]) -> Option<u64>;

    /// The absolute name of the file at `path`, all links and `..` resolved, if it is shorter than `path`; else None.
    /// gcc calls system headers so, with `-fcanonical-system-headers`, its default.
    fn shorter(&mut self, path: &[u8]) -> Option<Vec<u8>>;

    /// What is known of units that begin like this one, for which it was asked for the source so far, and for the folders
    /// that the search path names.
    fn begun(&mut self, unit: &Unit<'_>, head: &Head) -> Begun {
        let _ = (unit, head);
        Begun::Unknown
    }

    /// How the walk stands after the first header, if `begun` has said that this is wanted: for other units that begin so.
    fn keep(&mut self, beginning: Beginning) {
        drop(beginning);
    }

    /// The walk goes on from the beginning that `begun` has given: all that was asked for that counts as asked now.
    /// False if it does not go together with this source.
    fn take_up(&mut self) -> bool {
        false
    }

    /// Whether it has taken too long by now. Asked for from time to time; the walk then ends with a punt.
    fn is_late(&mut self) -> bool {
        false
    }
}

/// How a source begins: with a header, and no other directive before it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Head {
    /// The source's folder as it is spelled, with the slash.
    pub dir: Vec<u8>,
    /// The header's name.
    pub name: &'static [u8],
    /// `<…>`
    pub angle: bool,
}

/// How a walk stands after a source's first header. Only walks can read it.
pub type Beginning = Arc<dyn Any + Send + Sync>;

/// What the world knows of a beginning.
#[derive(Clone, Debug)]
pub enum Begun {
    /// Nothing, and it need not be told.
    Unknown,
    /// Other units begin so; it is wanted.
    Wanted,
    /// How another walk of the same compiler, with the same words, search path and folder, stood then; all that it
    /// depends on is as it was.
    Known(Beginning),
}

/// A file of the world.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The world's number of the file: the same for the same inode.
    pub file: u32,
    /// Its directives, in the dialect of the unit's compiler.
    pub scan: Arc<Scan>,
    /// Equal for files that gcc takes for one under `#pragma once` and `#import`: the same size, time of modification
    /// in whole seconds, and content.
    pub twin: u64,
}

/// A translation unit.
#[derive(Clone, Copy, Debug)]
pub struct Unit<'u> {
    /// The compiler and what it says of itself.
    pub compiler: &'u Compiler,
    /// Macros and headers of the command line.
    pub words: &'u [Word],
    /// Where headers are searched.
    pub search: &'u SearchPath,
    /// The source as it is named in the command.
    pub source: &'u [u8],
    /// `-ffile-prefix-map` or `-fmacro-prefix-map` is given: `__FILE__` is not the name of the file.
    pub maps_names: bool,
}

/// How much a walk may cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    /// Directives and expanded tokens; some ten million take a second.
    pub steps: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Budget { steps: 50_000_000 }
    }
}

/// All that a compiler opens for a unit.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Closure {
    /// The files that are read, in the order of first opening, the source first; each spelled path once.
    pub files: Vec<Visited>,
    /// Files that must be there although they are not read as source: found by `__has_include`, opened again under
    /// another name and found to be had already, embedded (`#embed`, `.incbin`), compared by `#pragma GCC dependency`.
    /// Each path once; a path may be among `files`, too.
    pub probes: Vec<Visited>,
    /// How the folders of the search path answered, each question once.
    pub lookups: Vec<Lookup>,
    /// A header is included by an absolute name.
    pub absolute_include: bool,
    /// What a macro of the command line says of the time.
    pub clock_in_words: Option<Clock>,
}

/// A file, under one of its names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Visited {
    /// As the compiler spells it.
    pub path: Vec<u8>,
    /// The world's number.
    pub file: u32,
    /// What its text, outside comments and groups that are skipped, says of the time.
    pub clock: Option<Clock>,
}

/// A name looked for along the search path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lookup {
    /// Number of the first folder asked.
    pub start: usize,
    /// Number of the folder that has it, if any.
    pub at: Option<usize>,
    /// As it is included.
    pub name: &'static [u8],
}
