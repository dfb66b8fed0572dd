//! The walk over a translation unit: which files a compiler opens for it. Conditions are evaluated and macros expanded as
//! the compiler does it, so that nothing is missing and nothing is too much; what can't be known is a [`Punt`].

use std::sync::Arc;

use super::command_macros::scans;
use super::directives::{Clock, Directive, Line, Odd, Verb};
use super::files::{FileAt, ObjectId, Origin, PathId};
use super::interner::{intern, known, Id};
use super::macros::Defined;
use super::operators::Header;
use super::resolve::Asked;
use super::search::Word;
use super::source_scan::{Scan, NOWHERE};
use super::tokens::{Kind, NO_EXPAND};
use super::walker::{Frame, Here, Walker};

pub use super::punt::Punt;
pub use super::unit::{Begun, Budget, Closure, Lookup, Opened, Unit, Visited, World};

/// How deep both compilers let files include one another.
const INCLUDE_DEPTH_MAX: usize = 200;

/// The files that the compiler opens for `unit`.
///
/// # Errors
/// The unit can't be followed exactly, or would not compile.
pub fn closure<W: World + ?Sized>(
    unit: &Unit<'_>,
    world: &mut W,
    budget: Budget,
) -> Result<Closure, Punt> {
    let mut walker = Walker::new(unit, world, budget);
    walker.unit()?;
    let mut closure = walker.closure;
    closure.lookups = walker.resolver.files.lookups;
    Ok(closure)
}

impl<W: World + ?Sized> Walker<'_, W> {
    fn unit(&mut self) -> Result<(), Punt> {
        self.resolver.name_folders(self.world);
        let source = self.resolver.source(self.world, self.unit.source);
        let path = self.resolver.files.object(source).path;
        let Some(at) = self.resolver.files.path(path).file else {
            return Err(Punt::new("the source is not there"));
        };
        self.list(path, at);
        self.once.entered(&mut self.resolver.files, source, at);
        let head = self.head(path, at);
        let begun = head.map_or(Begun::Unknown, |head| self.world.begun(self.unit, &head));
        if let Begun::Known(beginning) = &begun {
            if self.take_up(beginning, source) {
                return self.run(0);
            }
        }
        self.own_scan = Some(self.resolver.files.scans.len());
        self.read_all(Arc::clone(&self.unit.compiler.predefined))?;
        self.command_line()?;
        self.in_source = true;
        self.enter_frame(path, at, source)?;
        if matches!(begun, Begun::Wanted) {
            self.first_header(at)?;
            if let Some(beginning) = self.beginning() {
                self.world.keep(beginning);
            }
        }
        self.run(0)
    }

    /// Reads the source's first directive, which is an `#include`, and what that includes.
    fn first_header(&mut self, at: FileAt) -> Result<(), Punt> {
        let scan = self.scan(at.scan)?;
        let Some(first) = scan.directives.first() else {
            return Ok(());
        };
        self.step()?;
        let next = self.execute(&scan, 0, *first)?;
        if let Some(source) = self.frames.first_mut() {
            source.next = next;
        }
        self.run(1)
    }

    /// Macros, then `-imacros`, then what the compiler includes by itself, then `-include`: both compilers go through
    /// the words in this order.
    fn command_line(&mut self) -> Result<(), Punt> {
        for scan in scans(self.unit.words, self.unit.compiler.dialect)? {
            let told = scan.directives.iter().filter_map(Directive::clock).max();
            self.closure.clock_in_words = self.closure.clock_in_words.max(told);
            self.read_all(scan)?;
        }
        let words = self.unit.words;
        for word in words {
            if let Word::Macros(name) = word {
                self.include_word(name)?;
            }
        }
        if let Some(name) = &self.unit.compiler.preinclude {
            self.preinclude(name)?;
        }
        for word in words {
            if let Word::Include(name) = word {
                self.include_word(name)?;
            }
        }
        Ok(())
    }

    fn read_all(&mut self, scan: Arc<Scan>) -> Result<(), Punt> {
        let scan = self.resolver.files.add_scan(scan);
        self.frames.push(Frame {
            scan,
            next: 0,
            file: None,
            origin: Origin::Direct,
            renamed: false,
            system: false,
        });
        self.run(0)
    }

    fn include_word(&mut self, name: &[u8]) -> Result<(), Punt> {
        if self.clang {
            self.check_precompiled_word(name)?;
        }
        let header = Header {
            name: intern(name),
            angle: false,
        };
        self.include(header, Verb::Include)?;
        self.run(0)
    }

    /// clang's driver takes a precompiled form of a header of the command line.
    fn check_precompiled_word(&mut self, name: &[u8]) -> Result<(), Punt> {
        for extension in [&b".pch"[..], b".gch"] {
            let path = [name, extension].concat();
            if self.world.open(&path).is_some() || self.world.folder(&path).is_some() {
                return Err(Punt::new(
                    "there is a precompiled form of a header of the command",
                ));
            }
        }
        Ok(())
    }

    /// gcc's own header need not be there.
    fn preinclude(&mut self, name: &[u8]) -> Result<(), Punt> {
        let asked = Asked {
            name: intern(name),
            angle: true,
            next: false,
            system: false,
        };
        let found = self.resolver.find_preinclude(self.world, asked)?;
        if let Some(object) = found {
            self.meet(object, Verb::Include)?;
            self.run(0)?;
        }
        Ok(())
    }

    /// Reads until no more than `left` files are being read.
    fn run(&mut self, left: usize) -> Result<(), Punt> {
        while let Some(frame) = self.frames.get(left..).and_then(<[Frame]>::last) {
            let scan = self.scan(frame.scan)?;
            let mut at = frame.next;
            let depth = self.frames.len();
            loop {
                let Some(directive) = scan.directives.get(at as usize).copied() else {
                    self.frames.pop();
                    break;
                };
                self.step()?;
                at = self.execute(&scan, at, directive)?;
                if self.frames.len() != depth {
                    let below = self.frames.len() - 2;
                    self.frames[below].next = at;
                    break;
                }
            }
        }
        Ok(())
    }

    /// Executes a directive; returns the number of the next one.
    fn execute(&mut self, scan: &Scan, at: u32, directive: Directive) -> Result<u32, Punt> {
        match directive {
            Directive::Define { name, body } => {
                let scan = self.frames.last().map_or(u32::MAX, |frame| frame.scan);
                self.macros.define(name, Defined::new(scan, body));
            }
            Directive::If { .. } | Directive::Ifdef { .. } => return self.choose(scan, at),
            Directive::Elif { next, .. }
            | Directive::Elifdef { next, .. }
            | Directive::Else { next } => return end_of_group(scan, next),
            Directive::Endif => {}
            Directive::Undefine { name } => self.macros.undefine(name),
            Directive::Include { name, verb, angle } => {
                self.include(Header { name, angle }, verb)?
            }
            Directive::Computed { line, verb } => self.computed(scan, line, verb)?,
            Directive::Once => self.pragma_once(),
            Directive::Push { name } => self.macros.push(name),
            Directive::Pop { name } => self.macros.pop(name),
            Directive::Dependency { name, angle } => self.dependency(Header { name, angle })?,
            Directive::Embed { name, angle } => self.embed(Header { name, angle })?,
            Directive::Incbin { name } => self.incbin(name)?,
            Directive::Clock(clock) => self.clock(clock),
            Directive::System => {
                let is_source = self.is_source();
                if let (Some(frame), false) = (self.frames.last_mut(), is_source) {
                    frame.system = true;
                }
            }
            Directive::Renamed => {
                if let Some(frame) = self.frames.last_mut() {
                    frame.renamed = true;
                }
            }
            Directive::Carrier { name } => self.carrier(name)?,
            Directive::Alone { name } => self.alone(name)?,
            Directive::Amid { name } => {
                if self.carriers.contains(&name) {
                    return Err(Punt::new(Odd::MacroStack.explain()));
                }
            }
            Directive::Options(change) => self.options.change(change),
            Directive::Maker => self.makers = true,
            Directive::Made { name } => {
                if self.makers && self.macros.get(name).is_some() {
                    return Err(Punt::new(Odd::Pragma.explain()));
                }
            }
            Directive::Odd { why } => return Err(Punt::new(why.explain())),
        }
        Ok(at + 1)
    }

    /// Finds the group to be read of the conditional at `at`.
    fn choose(&mut self, scan: &Scan, at: u32) -> Result<u32, Punt> {
        let mut at = at;
        loop {
            let directive = scan.directives.get(at as usize).copied();
            let (holds, next) = match directive {
                Some(
                    Directive::Ifdef {
                        name,
                        next,
                        negated,
                    }
                    | Directive::Elifdef {
                        name,
                        next,
                        negated,
                    },
                ) => {
                    if name == known::EMPTY {
                        return Err(Punt::new(Odd::NoName.explain()));
                    }
                    (self.is_defined(name)? != negated, next)
                }
                Some(Directive::If { line, next } | Directive::Elif { line, next }) => {
                    (self.condition(scan, line)?, next)
                }
                Some(Directive::Else { .. } | Directive::Endif) => (true, NOWHERE),
                _ => return Err(Punt::new("a group of #if has no end")),
            };
            if holds {
                return Ok(at + 1);
            }
            at = next;
        }
    }

    fn condition(&mut self, scan: &Scan, line: u32) -> Result<bool, Punt> {
        let line = self.line_at(scan, line)?;
        if line.slashes {
            return Err(Punt::new("a condition with a // comment in strict C90"));
        }
        self.holds(line.tokens(&scan.words, scan.dialect))
    }

    fn line_at<'s>(&mut self, scan: &'s Scan, line: u32) -> Result<&'s Line, Punt> {
        let line = scan.lines.get(line as usize);
        let line = line.ok_or_else(|| Punt::new("a line got lost"))?;
        self.here = Here {
            line: line.number,
            single: line.single,
        };
        Ok(line)
    }

    fn computed(&mut self, scan: &Scan, line: u32, verb: Verb) -> Result<(), Punt> {
        let line = self.line_at(scan, line)?;
        self.feed(line.tokens(&scan.words, scan.dialect));
        let header = self.header()?;
        self.include(header, verb)
    }

    fn include(&mut self, header: Header, verb: Verb) -> Result<(), Punt> {
        let next = verb == Verb::Next && !self.is_source();
        let asked = Asked {
            name: header.name,
            angle: header.angle,
            next,
            system: self.is_system(),
        };
        let Some(object) = self.find(asked)? else {
            return Err(Punt::new(format!(
                "{} is not found",
                String::from_utf8_lossy(header.name.spelling())
            )));
        };
        self.meet(object, verb)
    }

    /// A header was found: reads it, unless it is to be read once and has been.
    fn meet(&mut self, object: ObjectId, verb: Verb) -> Result<(), Punt> {
        let path = self.resolver.files.object(object).path;
        let Some(at) = self.resolver.files.path(path).file else {
            return Err(Punt::new("a file got lost"));
        };
        if self.clang {
            self.list(path, at);
        }
        if !self.once.enters(&mut self.resolver.files, object, at, verb) {
            self.probe_unless_listed(path);
            return Ok(());
        }
        self.list(path, at);
        self.once.entered(&mut self.resolver.files, object, at);
        self.enter_frame(path, at, object)
    }

    fn probe_unless_listed(&mut self, path: PathId) {
        if self.resolver.files.path(path).listed.is_none() {
            self.probe(path);
        }
    }

    fn enter_frame(&mut self, path: PathId, at: FileAt, object: ObjectId) -> Result<(), Punt> {
        if self.frames.len() > INCLUDE_DEPTH_MAX {
            return Err(Punt::new("files include one another without end"));
        }
        let scan = self.scan(at.scan)?;
        if let Some(why) = scan.odd {
            return Err(Punt::new(why));
        }
        self.frames.push(Frame {
            scan: at.scan,
            next: 0,
            file: Some((path, object)),
            origin: self.origin(object),
            renamed: false,
            system: self.is_system() || self.resolver.is_system(object),
        });
        Ok(())
    }

    /// How an object was found. What clang finds beside a header counts as found where the header was.
    fn origin(&self, object: ObjectId) -> Origin {
        match self.resolver.files.object(object).origin {
            Origin::Beside(_) | Origin::Within if self.clang => self
                .frames
                .last()
                .map_or(Origin::Direct, |frame| frame.origin),
            origin => origin,
        }
    }

    fn pragma_once(&mut self) {
        let is_source = self.is_source();
        if let Some((_, object)) = self.frames.last().and_then(|frame| frame.file) {
            self.once
                .pragma(&mut self.resolver.files, object, is_source);
        }
    }

    fn dependency(&mut self, header: Header) -> Result<(), Punt> {
        let asked = Asked {
            name: header.name,
            angle: header.angle,
            next: false,
            system: self.is_system(),
        };
        if let Some(object) = self.find(asked)? {
            let path = self.resolver.files.object(object).path;
            self.probe(path);
        }
        Ok(())
    }

    fn embed(&mut self, header: Header) -> Result<(), Punt> {
        match self.embedded(header)? {
            Some(path) => {
                self.probe(path);
                Ok(())
            }
            None => Err(Punt::new("an embedded file is not found")),
        }
    }

    /// Assemblers look in the working directory, then along `-I`.
    fn incbin(&mut self, name: Id) -> Result<(), Punt> {
        let name = name.spelling();
        let mut path = self.resolver.files.open(self.world, name);
        let mut dirs = self.unit.search.assembler.iter();
        while !self.resolver.files.exists(path) && !name.starts_with(b"/") {
            let Some(dir) = dirs.next() else {
                return Err(Punt::new("a file for .incbin is not found"));
            };
            let dir = [dir, &b"/"[..]].concat();
            path = self.resolver.files.open_in(self.world, &dir, name);
        }
        if !self.resolver.files.exists(path) {
            return Err(Punt::new("a file for .incbin is not found"));
        }
        self.closure.absolute_include |= name.starts_with(b"/");
        self.probe(path);
        Ok(())
    }

    fn clock(&mut self, clock: Clock) {
        let file = self.frames.last().and_then(|frame| frame.file);
        let listed = file.and_then(|(path, _)| self.resolver.files.path(path).listed);
        if let Some(visited) = listed.and_then(|at| self.closure.files.get_mut(at as usize)) {
            visited.clock = visited.clock.max(Some(clock));
        }
    }

    /// A macro that pushes or pops others; its uses are known only if its name says so.
    fn carrier(&mut self, name: Id) -> Result<(), Punt> {
        let text = name.spelling();
        let named = memchr::memmem::find(text, b"PUSH_MACROS").is_some()
            || memchr::memmem::find(text, b"POP_MACROS").is_some();
        if !named {
            return Err(Punt::new(Odd::MacroStack.explain()));
        }
        if !self.carriers.contains(&name) {
            self.carriers.push(name);
        }
        Ok(())
    }

    /// A line of text that is nothing but a name.
    fn alone(&mut self, name: Id) -> Result<(), Punt> {
        if !self.carriers.contains(&name) {
            return Ok(());
        }
        let Some(defined) = self.macros.get(name) else {
            return Ok(());
        };
        let body = Arc::clone(self.parsed(defined)?);
        let odd = || Punt::new(Odd::MacroStack.explain());
        if body.parameters.is_some() {
            return Err(odd());
        }
        for group in body.body.chunks(4) {
            let [pragma, open, string, close] = group else {
                return Err(odd());
            };
            let is_pragma = pragma.id == known::PRAGMA && pragma.flags & NO_EXPAND == 0;
            if !is_pragma
                || !open.is(known::OPEN)
                || !close.is(known::CLOSE)
                || string.kind != Kind::String
            {
                return Err(odd());
            }
            self.pragma_string(string.id)?;
        }
        Ok(())
    }

    /// The pragma in a string.
    fn pragma_string(&mut self, string: Id) -> Result<(), Punt> {
        let odd = || Punt::new(Odd::MacroStack.explain());
        let text = string.spelling();
        let text = text
            .strip_prefix(b"\"")
            .and_then(|text| text.strip_suffix(b"\""));
        let text = text.ok_or_else(odd)?;
        let mut plain = Vec::with_capacity(text.len());
        let mut bytes = text.iter();
        while let Some(byte) = bytes.next() {
            let escaped = if *byte == b'\\' {
                bytes.next()
            } else {
                Some(byte)
            };
            plain.push(*escaped.ok_or_else(odd)?);
        }
        match super::pragmas::pragma(&plain, self.unit.compiler.dialect) {
            Some(Directive::Push { name }) => self.macros.push(name),
            Some(Directive::Pop { name }) => self.macros.pop(name),
            Some(_) => return Err(odd()),
            None => {}
        }
        Ok(())
    }
}

/// What follows the end of the group whose next directive is `next`.
fn end_of_group(scan: &Scan, next: u32) -> Result<u32, Punt> {
    let mut at = next;
    loop {
        at = match scan.directives.get(at as usize) {
            Some(
                Directive::Elif { next, .. }
                | Directive::Elifdef { next, .. }
                | Directive::Else { next },
            ) => *next,
            Some(Directive::Endif) => return Ok(at + 1),
            _ => return Err(Punt::new("a group of #if has no end")),
        };
    }
}
