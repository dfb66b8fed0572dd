//! The first header of a source, and all that it includes, read once for all units that begin with it: how the walk stands
//! then, and how that of another unit goes on from there. What a source is called and holds must not have mattered so far.

use std::sync::Arc;

use super::directives::{Directive, Verb};
use super::files::{FileAt, ObjectId, Origin, PathId};
use super::interner::Id;
use super::macros::{NumberMap, Table};
use super::once::Once;
use super::options::Options;
use super::resolve::Resolver;
use super::unit::{Beginning, Closure, Head, Visited, World};
use super::walker::{Frame, Walker};

/// How a walk stood, without its source.
struct Stand {
    macros: Table,
    own_scan: Option<usize>,
    resolver: Resolver,
    operators: NumberMap<Id, bool>,
    carriers: Vec<Id>,
    makers: bool,
    options: Options,
    once: Once,
    closure: Closure,
    steps: u64,
}

impl<W: World + ?Sized> Walker<'_, W> {
    /// How the source begins, if another one can begin likewise. clang knows folders by the names of files in them that were
    /// met first; frameworks are found by all files that are being read.
    pub(super) fn head(&self, path: PathId, at: FileAt) -> Option<Head> {
        let scan = self.scan(at.scan).ok()?;
        let frameworks = self.unit.search.dirs.iter().any(|dir| dir.framework);
        let is_simple = !self.clang && !frameworks && scan.odd.is_none();
        let (name, angle) = match scan.directives.first() {
            Some(Directive::Include { name, verb, angle }) if *verb == Verb::Include => {
                (name.spelling(), *angle)
            }
            _ => return None,
        };
        let source = self.resolver.files.spelled(path);
        let slash = source.iter().rposition(|byte| *byte == b'/');
        is_simple.then(|| Head {
            dir: source[..slash.map_or(0, |slash| slash + 1)].to_vec(),
            name,
            angle,
        })
    }

    /// How the walk stands, when nothing but the source is being read; None if it would not be the same for another source.
    pub(super) fn beginning(&self) -> Option<Beginning> {
        let mut resolver = self.resolver.clone();
        if self.names_source || !resolver.files.drop_source() {
            return None;
        }
        Some(Arc::new(Stand {
            macros: self.macros.clone(),
            own_scan: self.own_scan,
            resolver,
            operators: self.operators.clone(),
            carriers: self.carriers.clone(),
            makers: self.makers,
            options: self.options.clone(),
            once: self.once.clone(),
            closure: self.closure.clone(),
            steps: self.steps,
        }))
    }

    /// Stands where another walk stood, behind the first header of the source, which is all that was met so far. False if
    /// that can't be: then nothing has changed.
    pub(super) fn take_up(&mut self, beginning: &Beginning, source: ObjectId) -> bool {
        let Some(stand) = beginning.downcast_ref::<Stand>() else {
            return false;
        };
        let mut resolver = stand.resolver.clone();
        let Some(visited) = self.closure.files.first().cloned() else {
            return false;
        };
        if !resolver.files.take_source(&self.resolver.files) || !self.world.take_up() {
            return false;
        }
        let path = resolver.files.object(source).path;
        let scan = resolver.files.path(path).file.map_or(0, |at| at.scan);
        self.resolver = resolver;
        self.macros = stand.macros.clone();
        self.own_scan = stand.own_scan;
        self.operators = stand.operators.clone();
        self.carriers = stand.carriers.clone();
        self.makers = stand.makers;
        self.options = stand.options.clone();
        self.once = stand.once.clone();
        self.closure = with_source(&stand.closure, visited);
        self.steps = stand.steps;
        self.in_source = true;
        self.frames.push(Frame {
            scan,
            next: 1,
            file: Some((path, source)),
            origin: Origin::Direct,
            renamed: false,
            system: false,
        });
        true
    }
}

fn with_source(closure: &Closure, source: Visited) -> Closure {
    let mut closure = closure.clone();
    if let Some(first) = closure.files.first_mut() {
        *first = source;
    }
    closure
}
