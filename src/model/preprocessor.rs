//! The walk over a translation unit: which files a compiler opens for it. Conditions are evaluated and macros expanded as
//! the compiler does it, so that nothing is missing and nothing is too much; what can't be known is a [`Punt`].

use std::collections::HashSet;
use std::sync::Arc;

use super::predefined::Compiler;
use super::punt::Punt;
use super::search::{SearchPath, Word};
use super::source_scan::Scan;

/// What the walk asks about the machine that the unit is on.
pub trait World {
    /// The regular file that a compiler would open under `path`, as it spells it: relative to the working directory, or
    /// absolute. None if there is none (a folder is none). Every call is part of what the answer depends on, also when
    /// the answer is None. Where there is something that can't be read, a compiler stops; so should whoever asked for
    /// the closure, whatever the walk makes of None.
    fn open(&mut self, path: &[u8]) -> Option<Opened>;

    /// The value of `operator(operand)`, where the operator is `__has_builtin`, `__has_attribute`,
    /// `__has_cpp_attribute`, `__has_feature`… and the operand is spelled without blanks (`gnu::unused`).
    /// With the operator `defined`: is the operand, the name of such an operator, known to the compiler?
    /// None if it can't be known.
    fn ask(&mut self, operator: &[u8], operand: &[u8]) -> Option<i64>;

    /// Is there a folder of this name? None if it can't be known. Asked for frameworks and precompiled headers only.
    fn folder(&mut self, _path: &[u8]) -> Option<bool> {
        None
    }
}

/// A file of the world.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The world's number of the file: the same for the same inode. Numbers should be small.
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
    /// A macro of the command line mentions `__DATE__`, `__TIME__` or `__TIMESTAMP__`.
    pub clock_in_words: bool,
}

/// A file, under one of its names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Visited {
    /// As the compiler spells it.
    pub path: Vec<u8>,
    /// The world's number.
    pub file: u32,
    /// Its text, outside comments and groups that are skipped, mentions `__DATE__`, `__TIME__` or `__TIMESTAMP__`.
    pub clock: bool,
}

/// A name looked for along the search path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lookup {
    /// Number of the first folder asked.
    pub start: usize,
    /// Number of the folder that has it, if any.
    pub at: Option<usize>,
    /// As it is included.
    pub name: Vec<u8>,
}

/// The files that the compiler opens for `unit`.
///
/// # Errors
/// The unit can't be followed exactly, or would not compile.
pub fn closure<W: World + ?Sized>(
    unit: &Unit<'_>,
    world: &mut W,
    budget: Budget,
) -> Result<Closure, Punt> {
    let mut closure = Closure::default();
    let mut seen = HashSet::new();
    let source = world
        .open(unit.source)
        .ok_or_else(|| Punt::new("the source is not there"))?;
    closure.visit(unit.source, &source);
    let mut due = vec![(unit.source.to_vec(), source)];
    let mut steps = 0;
    while let Some((path, opened)) = due.pop() {
        for (angle, name) in &opened.scan.includes {
            steps += 1;
            if steps > budget.steps {
                return Err(Punt::new("takes too long"));
            }
            let Some((path, found)) = find(unit, world, &path, *angle, name) else {
                continue;
            };
            if seen.insert(path.clone()) {
                closure.visit(&path, &found);
                due.push((path, found));
            }
        }
    }
    Ok(closure)
}

impl Closure {
    fn visit(&mut self, path: &[u8], opened: &Opened) {
        self.files.push(Visited {
            path: path.to_vec(),
            file: opened.file,
            clock: false,
        });
    }
}

fn find<W: World + ?Sized>(
    unit: &Unit<'_>,
    world: &mut W,
    from: &[u8],
    angle: bool,
    name: &[u8],
) -> Option<(Vec<u8>, Opened)> {
    let slash = from.iter().rposition(|byte| *byte == b'/');
    let beside = [&from[..slash.map_or(0, |at| at + 1)], name].concat();
    let first = if angle { unit.search.angle } else { 0 };
    let dirs = unit.search.dirs.iter().skip(first);
    let dirs = dirs.map(|dir| [&dir.path[..], b"/", name].concat());
    let own = if angle { None } else { Some(beside) };
    own.into_iter()
        .chain(dirs)
        .find_map(|path| world.open(&path).map(|opened| (path, opened)))
}
