//! The state of a walk: macros, files, the stack of files that are being read, the tokens that are being expanded.

use std::sync::Arc;

use super::files::{FileAt, ObjectId, Origin, PathId};
use super::interner::{known, Id};
use super::macros::{Defined, Macro, NumberMap, Table};
use super::once::Once;
use super::options::Options;
use super::punt::Punt;
use super::resolve::{Asked, Asker, Resolver};
use super::source_scan::Scan;
use super::tokens::Token;
use super::unit::{Budget, Closure, Unit, Visited, World};

/// A walk.
pub struct Walker<'w, W: World + ?Sized> {
    pub(super) unit: &'w Unit<'w>,
    pub(super) world: &'w mut W,
    pub(super) clang: bool,
    pub(super) steps: u64,
    pub(super) macros: Table,
    /// Number of the scan of the compiler's own macros.
    pub(super) own_scan: Option<usize>,
    pub(super) resolver: Resolver,
    /// The files that are being read.
    pub(super) frames: Vec<Frame>,
    /// The source has been begun: what comes before it, comes from the command line.
    pub(super) in_source: bool,
    /// The tokens that are being expanded, the innermost last; those from number `floor` on may be read now.
    pub(super) contexts: Vec<Context>,
    pub(super) floor: usize,
    /// Macros that are not to be expanded, as their expansion is being read.
    pub(super) disabled: Vec<Id>,
    /// How deep expansions of arguments are nested.
    pub(super) depth: u32,
    /// Space for tokens, to be used again.
    pub(super) spare: Vec<Vec<Token>>,
    /// Where the directive is that is being evaluated.
    pub(super) here: Here,
    /// What is read now counts: it is no operand that is passed over, as in `0 && X`.
    pub(super) live: bool,
    /// Whether the compiler knows an operator.
    pub(super) operators: NumberMap<Id, bool>,
    /// Macros that push or pop others where they are used.
    pub(super) carriers: Vec<Id>,
    /// There are macros that make a pragma of what they are given.
    pub(super) makers: bool,
    /// A directive has asked for the source's name.
    pub(super) names_source: bool,
    pub(super) options: Options,
    pub(super) once: Once,
    pub(super) closure: Closure,
}

/// Where a directive is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Here {
    /// Number of its line.
    pub line: u32,
    /// It lies on one line.
    pub single: bool,
}

/// A file that is being read.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// Number of its scan.
    pub scan: u32,
    /// The directive to come.
    pub next: u32,
    /// The file; None for what the compiler or the command line says.
    pub file: Option<(PathId, ObjectId)>,
    /// How it was found, for `#include_next`.
    pub origin: Origin,
    /// `#line` has been met.
    pub renamed: bool,
    /// It is a system header, as all are that a system header includes.
    pub system: bool,
}

/// Tokens that are being read.
#[derive(Debug)]
pub struct Context {
    pub(super) tokens: Tokens,
    pub(super) at: usize,
    /// The macro whose expansion they are.
    pub(super) of: Option<Id>,
    /// Whether the first token comes after white space, if that is not as the token itself says.
    pub(super) space: Option<bool>,
}

/// Who has the tokens.
#[derive(Debug)]
pub enum Tokens {
    /// The context.
    Own(Vec<Token>),
    /// They are a macro's body.
    Body(Arc<Macro>),
}

impl Context {
    pub(super) fn slice(&self) -> &[Token] {
        match &self.tokens {
            Tokens::Own(tokens) => tokens,
            Tokens::Body(body) => &body.body,
        }
    }
}

/// How many steps lie between two looks at the clock.
const STEPS_PER_LOOK: u64 = 1 << 15;

impl<'w, W: World + ?Sized> Walker<'w, W> {
    pub(super) fn new(unit: &'w Unit<'w>, world: &'w mut W, budget: Budget) -> Walker<'w, W> {
        /// From this version on clang looks beside a header under the header's own name.
        const NEW_CLANG: u64 = 18;
        let clang = unit.compiler.dialect.clang;
        let old_clang = clang && unit.compiler.standard.major < NEW_CLANG;
        Walker {
            unit,
            world,
            clang,
            steps: budget.steps,
            macros: Table::default(),
            own_scan: None,
            resolver: Resolver::new(unit.search, clang, old_clang),
            frames: Vec::new(),
            in_source: false,
            contexts: Vec::new(),
            floor: 0,
            disabled: Vec::new(),
            depth: 0,
            spare: Vec::new(),
            here: Here::default(),
            live: true,
            operators: NumberMap::default(),
            carriers: Vec::new(),
            makers: false,
            names_source: false,
            options: Options::new(&unit.compiler.standard, clang),
            once: Once::new(clang),
            closure: Closure::default(),
        }
    }

    /// One more step of the budget.
    pub(super) fn step(&mut self) -> Result<(), Punt> {
        match self.steps.checked_sub(1) {
            Some(left) if left % STEPS_PER_LOOK != 0 || !self.world.is_late() => {
                self.steps = left;
                Ok(())
            }
            _ => Err(Punt::new("it takes too long to follow")),
        }
    }

    pub(super) fn scan(&self, number: u32) -> Result<Arc<Scan>, Punt> {
        let scan = self.resolver.files.scans.get(number as usize);
        scan.cloned().ok_or_else(|| Punt::new("a file got lost"))
    }

    /// The macro that a definition makes.
    pub(super) fn parsed(&self, defined: Defined) -> Result<&Arc<Macro>, Punt> {
        let scan = self.resolver.files.scans.get(defined.scan());
        let parsed = scan.and_then(|scan| {
            let body = scan.bodies.get(defined.body as usize)?;
            Some(body.parsed(&scan.words, scan.dialect))
        });
        let parsed = parsed.ok_or_else(|| Punt::new("a macro got lost"))?;
        match parsed.odd {
            None => Ok(parsed),
            Some(why) => Err(Punt::new(why)),
        }
    }

    /// The definition of `name`, unless a pragma may have changed it.
    pub(super) fn macro_of(&self, name: Id) -> Result<Option<Defined>, Punt> {
        let defined = self.macros.get(name);
        // Those of the system change options for a while around functions, and test macros meanwhile, but include nothing.
        let matters = self.options.are_changed() && !self.is_system();
        if matters && !self.macros.is_dynamic(name) {
            let own = defined.is_none_or(|defined| Some(defined.scan()) == self.own_scan);
            if own && self.options.decide(name.spelling()) {
                let name = String::from_utf8_lossy(name.spelling());
                return Err(Punt::new(format!("a pragma may have changed {name}")));
            }
        }
        Ok(defined)
    }

    /// Is `name` the name of a macro?
    pub(super) fn is_defined(&mut self, name: Id) -> Result<bool, Punt> {
        if self.macro_of(name)?.is_some() {
            return Ok(true);
        }
        if !self.macros.is_dynamic(name) {
            return Ok(false);
        }
        match name {
            known::FILE
            | known::BASE_FILE
            | known::LINE
            | known::INCLUDE_LEVEL
            | known::COUNTER
            | known::DATE
            | known::TIME
            | known::TIMESTAMP
            | known::PRAGMA => Ok(true),
            _ => self.is_operator(name),
        }
    }

    /// Does the compiler know this operator?
    pub(super) fn is_operator(&mut self, name: Id) -> Result<bool, Punt> {
        if let Some(is_known) = self.operators.get(&name) {
            return Ok(*is_known);
        }
        let answer = self.world.ask(b"defined", name.spelling());
        let answer = answer.ok_or_else(|| unknown(b"defined", name.spelling()))?;
        self.operators.insert(name, answer != 0);
        Ok(answer != 0)
    }

    /// Who includes a header now.
    pub(super) fn asker(&self) -> Asker {
        let frame = self.frames.last();
        let Some((frame, path)) = frame.and_then(|frame| Some((frame, frame.file?.0))) else {
            return Asker::Command;
        };
        match self.is_source() {
            true => Asker::Source(path),
            false => Asker::Header(path, frame.origin),
        }
    }

    /// Is it the source that is being read, not a header?
    pub(super) fn is_source(&self) -> bool {
        self.in_source && self.frames.len() == 1
    }

    /// Is it a system header that is being read?
    pub(super) fn is_system(&self) -> bool {
        self.frames.last().is_some_and(|frame| frame.system)
    }

    /// The paths of the files that are being read, the innermost first.
    pub(super) fn stack(&self) -> Vec<PathId> {
        let files = self.frames.iter().rev().filter_map(|frame| frame.file);
        files.map(|(path, _)| path).collect()
    }

    /// Looks for a header.
    pub(super) fn find(&mut self, asked: Asked) -> Result<Option<ObjectId>, Punt> {
        let asker = self.asker();
        if asker != Asker::Command && asked.name.spelling().starts_with(b"/") {
            self.closure.absolute_include = true;
        }
        let mut found = self.resolver.find(self.world, asked, asker);
        if found == Ok(None) && self.resolver.has_frameworks() {
            let stack = self.stack();
            found = Ok(self.resolver.find_within(self.world, asked.name, &stack));
        }
        while let Some(longer) = self.resolver.longer.pop() {
            self.probe(longer);
        }
        found
    }

    /// Puts a path among the closure's files.
    pub(super) fn list(&mut self, path: PathId, at: FileAt) -> usize {
        let entry = self.resolver.files.path_mut(path);
        if let Some(number) = entry.listed {
            return number as usize;
        }
        let number = self.closure.files.len();
        entry.listed = Some(u32::try_from(number).unwrap_or(u32::MAX));
        self.closure.files.push(Visited {
            path: self.resolver.files.spelled(path).to_vec(),
            file: at.file,
            clock: None,
        });
        number
    }

    /// Puts a path among the closure's probes.
    pub(super) fn probe(&mut self, path: PathId) {
        let entry = self.resolver.files.path_mut(path);
        let (Some(at), false) = (entry.file, entry.probed) else {
            return;
        };
        entry.probed = true;
        self.closure.probes.push(Visited {
            path: self.resolver.files.spelled(path).to_vec(),
            file: at.file,
            clock: None,
        });
    }
}

/// The world does not know the value of an operator.
pub(super) fn unknown(operator: &[u8], operand: &[u8]) -> Punt {
    Punt::new(format!(
        "nobody knows {}({})",
        String::from_utf8_lossy(operator),
        String::from_utf8_lossy(operand)
    ))
}
