//! What a file's directives are, as the walk executes them: small, of one size, with the way over skipped groups.

use std::sync::{Arc, OnceLock};

use super::dialect::Dialect;
use super::interner::Id;
use super::macros::Macro;
use super::tokens::{tokenize, Place, Token};

/// A directive, or something in the text between directives that matters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Directive {
    /// `#define`
    Define { name: Id, body: u32 },
    /// `#undef`
    Undefine { name: Id },
    /// `#if`; `next` is the number of the group's next directive: `#elif`, `#else` or `#endif`.
    If { line: u32, next: u32 },
    /// `#ifdef`, `#ifndef`
    Ifdef { name: Id, next: u32, negated: bool },
    /// `#elif`
    Elif { line: u32, next: u32 },
    /// `#elifdef`, `#elifndef`
    Elifdef { name: Id, next: u32, negated: bool },
    /// `#else`
    Else { next: u32 },
    /// `#endif`
    Endif,
    /// `#include "NAME"` and its kin.
    Include { name: Id, verb: Verb, angle: bool },
    /// The same with a name that macros make.
    Computed { line: u32, verb: Verb },
    /// `#embed "NAME"`
    Embed { name: Id, angle: bool },
    /// `#pragma once`
    Once,
    /// `#pragma push_macro("NAME")`
    Push { name: Id },
    /// `#pragma pop_macro("NAME")`
    Pop { name: Id },
    /// `#pragma GCC dependency "NAME"`
    Dependency { name: Id, angle: bool },
    /// `.incbin "NAME"` in a string.
    Incbin { name: Id },
    /// `__DATE__` or one of its kin is mentioned.
    Clock(Clock),
    /// `#pragma GCC system_header`
    System,
    /// `#line`: lines and the file have other names from here on.
    Renamed,
    /// The macro of this name would push or pop macros where it is used.
    Carrier { name: Id },
    /// A line that holds nothing but a name that looks like a [`Directive::Carrier`]'s.
    Alone { name: Id },
    /// Such a name among other text.
    Amid { name: Id },
    /// `#pragma GCC target` and its kin, which may define other macros of the compiler's own.
    Options(Change),
    /// The macro of this name makes a pragma of what it is given.
    Maker,
    /// `NAME(once)`, which is a pragma if NAME makes one of it.
    Made { name: Id },
    /// Nobody can tell exactly what comes of this.
    Odd { why: Odd },
}

impl Directive {
    /// What it says of the time, if anything.
    pub(super) fn clock(&self) -> Option<Clock> {
        match self {
            Directive::Clock(clock) => Some(*clock),
            _ => None,
        }
    }

    /// Whether it names a file, or may ask whether there is one.
    pub(super) fn asks_for_files(&self) -> bool {
        matches!(
            self,
            Directive::Include { .. }
                | Directive::Computed { .. }
                | Directive::Embed { .. }
                | Directive::Dependency { .. }
                | Directive::If { .. }
                | Directive::Elif { .. }
        )
    }
}

/// What a text says of the time, the more the later.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Clock {
    /// `__DATE__`, `__TIME__`: when it is compiled.
    Run,
    /// `__TIMESTAMP__`: when a file was changed last, in local time.
    File,
}

/// What a pragma does to the options by which gcc goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Change {
    /// `target`
    Target,
    /// `optimize`
    Optimize,
    /// `push_options`
    Push,
    /// `pop_options`
    Pop,
    /// `reset_options`
    Reset,
    /// Any of them, now or later, as a macro's body holds it.
    Unknown,
}

/// Which directive names a header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verb {
    /// `#include`
    Include,
    /// `#include_next`
    Next,
    /// `#import`
    Import,
}

/// Why a directive can't be followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Odd {
    /// `#error`
    Error,
    /// `import`, `module`, `@import`
    Module,
    /// An operand that should be a name is not.
    NoName,
    /// `push_macro` where it can't be read.
    MacroStack,
    /// `_Pragma` with something that changes what is included.
    Pragma,
    /// `.incbin` or `.include` with something else than a plain string.
    Assembler,
    /// A pragma that names a precompiled header or module.
    Precompiled,
    /// A name with other letters than those of ASCII, or with `\\u`.
    Letters,
    /// A header's name with a backslash, which clang takes for an escape.
    Backslash,
}

impl Odd {
    /// In words.
    pub fn explain(self) -> &'static str {
        match self {
            Odd::Error => "there is an #error",
            Odd::Module => "a module is imported",
            Odd::NoName => "a directive lacks its name",
            Odd::MacroStack => "push_macro or pop_macro in an odd place",
            Odd::Pragma => "a _Pragma that decides about files",
            Odd::Assembler => "assembler text that names a file in an odd way",
            Odd::Precompiled => "a pragma that names a precompiled file",
            Odd::Letters => "a macro's name with odd letters",
            Odd::Backslash => "a header's name with a backslash",
        }
    }
}

/// A part of [`Words`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Span {
    start: u32,
    end: u32,
}

/// Text of directives, one after the other.
#[derive(Debug, Default)]
pub struct Words(pub Vec<u8>);

impl Words {
    /// What was appended since the text had length `start`.
    pub fn since(&self, start: usize) -> Span {
        let number = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Span {
            start: number(start),
            end: number(self.0.len()),
        }
    }

    /// A part.
    pub fn get(&self, span: Span) -> &[u8] {
        let range = span.start as usize..span.end as usize;
        self.0.get(range).unwrap_or_default()
    }
}

/// The operand of a condition or computed include; cut into tokens when it is first needed.
#[derive(Debug)]
pub struct Line {
    pub(super) text: Span,
    /// Number of the line, from 1.
    pub number: u32,
    /// It lies on one physical line.
    pub single: bool,
    /// It holds `//`, which strict C90 may not take for a comment.
    pub slashes: bool,
    tokens: OnceLock<Box<[Token]>>,
}

impl Line {
    pub(super) fn new(text: Span, number: u32, single: bool, slashes: bool) -> Line {
        Line {
            text,
            number,
            single,
            slashes,
            tokens: OnceLock::new(),
        }
    }

    /// Its tokens.
    pub fn tokens(&self, words: &Words, dialect: Dialect) -> &[Token] {
        let cut = || tokenize(words.get(self.text), dialect, Place::Condition).into();
        self.tokens.get_or_init(cut)
    }

    /// Bytes in memory beside the structure.
    pub fn memory(&self) -> usize {
        self.tokens
            .get()
            .map_or(0, |tokens| std::mem::size_of_val(&**tokens))
    }
}

/// What follows the name in a `#define`; read when the macro is first expanded.
#[derive(Debug)]
pub struct Body {
    pub(super) text: Span,
    slashes: bool,
    parsed: OnceLock<Arc<Macro>>,
}

impl Body {
    pub(super) fn new(text: Span, slashes: bool) -> Body {
        Body {
            text,
            slashes,
            parsed: OnceLock::new(),
        }
    }

    /// The macro.
    pub fn parsed(&self, words: &Words, dialect: Dialect) -> &Arc<Macro> {
        let parse = || match self.slashes {
            true => Macro::odd("a macro with a // comment in strict C90"),
            false => Macro::parse(words.get(self.text), dialect),
        };
        self.parsed.get_or_init(|| Arc::new(parse()))
    }

    /// Bytes in memory beside the structure.
    pub fn memory(&self) -> usize {
        self.parsed.get().map_or(0, |parsed| parsed.memory())
    }
}
