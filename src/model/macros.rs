//! Macros: how a definition is read, and the table of those that are defined.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::num::NonZeroU32;

use super::dialect::Dialect;
use super::interner::{known, Id};
use super::tokens::{tokenize, Kind, Place, Token, PASTE, SPACE, STRINGIFY};

/// A definition.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Macro {
    /// Function-like: how many parameters, the variable one included.
    pub parameters: Option<u32>,
    /// The last parameter takes any number of arguments.
    pub variadic: bool,
    /// The body; parameters are numbers, `##` and `#` are flags.
    pub body: Box<[Token]>,
    /// `__VA_OPT__` is in it.
    pub has_opt: bool,
    /// Why it can't be used.
    pub odd: Option<&'static str>,
}

impl Macro {
    /// One that can't be used.
    pub fn odd(why: &'static str) -> Macro {
        Macro {
            odd: Some(why),
            ..Macro::default()
        }
    }

    /// Reads what follows the name in a `#define`.
    pub fn parse(text: &[u8], dialect: Dialect) -> Macro {
        let mut tokens = tokenize(text, dialect, Place::Plain);
        let is_function = tokens
            .first()
            .is_some_and(|first| first.is(known::OPEN) && !first.has(SPACE));
        let mut parameters = Vec::new();
        let mut read = Macro::default();
        if is_function {
            let Some((names, variadic, length)) = parameter_list(&tokens) else {
                return Macro::odd("a macro with an odd list of parameters");
            };
            tokens.drain(..length);
            read.parameters = Some(u32::try_from(names.len()).unwrap_or(u32::MAX));
            read.variadic = variadic;
            parameters = names;
        }
        match read.take_body(tokens, &parameters) {
            Ok(()) => read,
            Err(why) => Macro::odd(why),
        }
    }

    fn take_body(&mut self, tokens: Vec<Token>, parameters: &[Id]) -> Result<(), &'static str> {
        let mut body: Vec<Token> = Vec::with_capacity(tokens.len());
        let mut stringify = None;
        let mut pasted = false;
        for mut token in tokens {
            if token.is(known::HASH_HASH) && stringify.is_none() {
                let before = body.last_mut().ok_or("a macro that starts with ##")?;
                before.flags |= PASTE;
                pasted = true;
                continue;
            }
            if let Some(flags) = stringify.take() {
                token.flags = STRINGIFY | flags;
            } else if self.parameters.is_some() && token.is(known::HASH) {
                stringify = Some(token.flags & SPACE);
                continue;
            }
            self.name_parameter(&mut token, parameters);
            if token.has(STRINGIFY) && token.kind != Kind::Parameter {
                return Err("a macro with # before something else than a parameter");
            }
            pasted = false;
            body.push(token);
        }
        if stringify.is_some() || pasted {
            return Err("a macro that ends in # or ##");
        }
        if let Some(first) = body.first_mut() {
            first.flags &= !SPACE;
        }
        self.body = body.into();
        Ok(())
    }

    fn name_parameter(&mut self, token: &mut Token, parameters: &[Id]) {
        if token.kind != Kind::Identifier {
            return;
        }
        if let Some(number) = parameters.iter().position(|name| *name == token.id) {
            token.kind = Kind::Parameter;
            token.id = Id(u32::try_from(number).unwrap_or(u32::MAX));
        }
        self.has_opt |=
            self.variadic && token.id == known::VA_OPT && token.kind == Kind::Identifier;
    }

    /// Bytes in memory.
    pub fn memory(&self) -> usize {
        std::mem::size_of::<Macro>() + std::mem::size_of_val(&*self.body)
    }
}

/// The names, whether the last is variable, and how many tokens the list takes.
fn parameter_list(tokens: &[Token]) -> Option<(Vec<Id>, bool, usize)> {
    let mut names: Vec<Id> = Vec::new();
    let mut at = 1;
    loop {
        let token = tokens.get(at)?;
        at += 1;
        match token.kind {
            Kind::Punctuator if token.id == known::CLOSE && names.is_empty() => {
                return Some((names, false, at));
            }
            Kind::Punctuator if token.id == known::ELLIPSIS => {
                names.push(known::VA_ARGS);
                return tokens
                    .get(at)?
                    .is(known::CLOSE)
                    .then_some((names, true, at + 1));
            }
            Kind::Identifier if !names.contains(&token.id) => names.push(token.id),
            _ => return None,
        }
        let after = tokens.get(at)?;
        at += 1;
        if after.is(known::ELLIPSIS) {
            return tokens
                .get(at)?
                .is(known::CLOSE)
                .then_some((names, true, at + 1));
        }
        if after.is(known::CLOSE) {
            return Some((names, false, at));
        }
        if !after.is(known::COMMA) {
            return None;
        }
    }
}

/// Where a macro's definition is: in which of the walk's files, and which of its bodies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Defined {
    /// Number of the scan, plus one.
    scan: NonZeroU32,
    /// Number of the body.
    pub body: u32,
}

impl Defined {
    /// In scan number `scan`.
    pub fn new(scan: u32, body: u32) -> Defined {
        Defined {
            scan: NonZeroU32::MIN.saturating_add(scan),
            body,
        }
    }

    /// Number of the scan.
    pub fn scan(self) -> usize {
        self.scan.get() as usize - 1
    }
}

/// Numbers spread over all bits; they need no stronger hash.
#[derive(Clone, Copy, Default)]
pub struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.write_u64(u64::from(number));
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        let mixed = (self.0.rotate_left(23) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }
}

/// A map from numbers.
pub type NumberMap<K, V> = HashMap<K, V, BuildHasherDefault<NumberHasher>>;

/// How many names share a page of the table.
const PAGE: usize = 256;

type Page = [Option<Defined>; PAGE];

/// The macros that are defined at some point of the walk. Names that occur in one file have numbers close to each other,
/// so the table is made of pages, of which most are never needed.
#[derive(Clone, Debug, Default)]
pub struct Table {
    pages: Vec<Option<Box<Page>>>,
    pushed: NumberMap<Id, Vec<Option<Defined>>>,
    /// Names that compilers make up by themselves, and that the unit has defined or undefined.
    overridden: Vec<Id>,
}

impl Table {
    /// The definition of `name`.
    pub fn get(&self, name: Id) -> Option<Defined> {
        let number = name.0 as usize;
        self.pages.get(number / PAGE)?.as_ref()?[number % PAGE]
    }

    fn set(&mut self, name: Id, defined: Option<Defined>) {
        let number = name.0 as usize;
        if self.pages.len() <= number / PAGE {
            self.pages.resize_with(number / PAGE + 1, || None);
        }
        let page = self.pages[number / PAGE].get_or_insert_with(|| Box::new([None; PAGE]));
        page[number % PAGE] = defined;
    }

    /// `#define`
    pub fn define(&mut self, name: Id, defined: Defined) {
        self.override_dynamic(name);
        self.set(name, Some(defined));
    }

    /// `#undef`
    pub fn undefine(&mut self, name: Id) {
        self.override_dynamic(name);
        if self.get(name).is_some() {
            self.set(name, None);
        }
    }

    /// `#pragma push_macro`
    pub fn push(&mut self, name: Id) {
        let now = self.get(name);
        self.pushed.entry(name).or_default().push(now);
    }

    /// `#pragma pop_macro`
    pub fn pop(&mut self, name: Id) {
        match self.pushed.get_mut(&name).and_then(Vec::pop) {
            Some(Some(defined)) => self.define(name, defined),
            Some(None) => self.undefine(name),
            None => {}
        }
    }

    /// Is this the name of a macro that the compiler makes up, and has the unit left it so?
    pub fn is_dynamic(&self, name: Id) -> bool {
        name.is_dynamic() && !self.overridden.contains(&name)
    }

    fn override_dynamic(&mut self, name: Id) {
        if self.is_dynamic(name) {
            self.overridden.push(name);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::interner::intern;

    fn shown(text: &str) -> String {
        let read = Macro::parse(text.as_bytes(), Dialect::default());
        if let Some(why) = read.odd {
            return why.to_owned();
        }
        let mut out = match (read.parameters, read.variadic) {
            (None, _) => "object:".to_owned(),
            (Some(count), variadic) => format!("{count}{}:", if variadic { "+" } else { "" }),
        };
        for token in &read.body {
            out += if token.has(SPACE) { " _" } else { " " };
            out += if token.has(STRINGIFY) { "#" } else { "" };
            match token.kind {
                Kind::Parameter => out += &format!("${}", token.id.0),
                _ => out += std::str::from_utf8(token.id.spelling()).unwrap(),
            }
            out += if token.has(PASTE) { "##" } else { "" };
        }
        out
    }

    #[test]
    fn definitions_are_read() {
        for (text, expected) in [
            ("", "object:"),
            (" 1", "object: 1"),
            (" (a) b", "object: ( a ) _b"),
            ("(a)<a##_post.c>", "1: < $0## _post . c >"),
            (
                "(ptr, size) xmlRealloc(ptr,size)",
                "2: xmlRealloc ( $0 , $1 )",
            ),
            ("() random", "0: random"),
            ("(x) #x # x", "1: #$0 _#$0"),
            ("(x,...) f(x, ##__VA_ARGS__)", "2+: f ( $0 ,## $1 )"),
            ("(x...) x", "1+: $0"),
            ("(...) __VA_OPT__(a)", "1+: __VA_OPT__ ( a )"),
            (" a ## b # c", "object: a## _b _# _c"),
            ("(a,) b", "a macro with an odd list of parameters"),
            ("(a", "a macro with an odd list of parameters"),
            ("(a,a) b", "a macro with an odd list of parameters"),
            ("(a(b)) c", "a macro with an odd list of parameters"),
            (" ## a", "a macro that starts with ##"),
            ("(a) a##", "a macro that ends in # or ##"),
            (
                "(a) #b",
                "a macro with # before something else than a parameter",
            ),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn the_table_remembers_what_was_pushed() {
        let mut table = Table::default();
        let name = intern(b"min");
        let first = Defined::new(0, 1);
        table.push(name);
        table.define(name, first);
        table.push(name);
        table.undefine(name);
        table.pop(name);
        assert_eq!(table.get(name), Some(first));
        table.pop(name);
        assert_eq!(table.get(name), None);
        table.pop(name);
        assert_eq!(table.get(name), None);
    }

    #[test]
    fn made_up_macros_can_be_overridden() {
        let mut table = Table::default();
        assert!(table.is_dynamic(known::HAS_INCLUDE));
        table.undefine(known::HAS_INCLUDE);
        assert!(!table.is_dynamic(known::HAS_INCLUDE));
        assert!(!table.is_dynamic(known::DEFINED));
    }
}
