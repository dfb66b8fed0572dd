//! The expansion of macros in directives: tokens in, tokens out, by the rules of the standards and with the extensions
//! of GNU. Where gcc and clang differ in white space, which shows in the names of headers, each is followed.

use std::sync::Arc;

use super::interner::{intern, known, Id};
use super::macros::{Defined, Macro};
use super::punt::Punt;
use super::tokens::{tokenize, Kind, Place, Token, NO_EXPAND, PASTE, SPACE, STRINGIFY};
use super::unit::World;
use super::walker::{Context, Tokens, Walker};

/// How many tokens a macro may expand to at a time.
const EXPANSION_TOKENS_MAX: usize = 1 << 20;
/// How long a name or string may be that macros make, in bytes: beyond all names of files, and of anything in use.
const MADE_BYTES_MAX: usize = 1 << 14;
/// How deep expansions of arguments may be nested.
const DEPTH_MAX: u32 = 250;

/// The arguments of a macro, as given and, where needed, expanded.
struct Arguments {
    given: Vec<Vec<Token>>,
    expanded: Vec<Option<Vec<Token>>>,
    /// The variable argument is not there at all, so that a comma pasted to it vanishes.
    omitted: bool,
}

impl<W: World + ?Sized> Walker<'_, W> {
    /// Sets the tokens to be read, from their beginning.
    pub(super) fn feed(&mut self, tokens: &[Token]) {
        self.live = true;
        self.feed_from(tokens);
    }

    /// Sets the tokens to be read in the middle of a directive.
    pub(super) fn feed_from(&mut self, tokens: &[Token]) {
        while let Some(context) = self.contexts.pop() {
            self.recycle(context);
        }
        self.floor = 0;
        self.depth = 0;
        self.disabled.clear();
        let mut own = self.space();
        own.extend_from_slice(tokens);
        self.push(own, None, None);
    }

    fn push(&mut self, tokens: Vec<Token>, of: Option<Id>, space: Option<bool>) {
        self.contexts.push(Context {
            tokens: Tokens::Own(tokens),
            at: 0,
            of,
            space,
        });
    }

    /// Room for some tokens.
    fn space(&mut self) -> Vec<Token> {
        const TOKENS: usize = 32;
        self.spare
            .pop()
            .unwrap_or_else(|| Vec::with_capacity(TOKENS))
    }

    fn recycle(&mut self, context: Context) {
        const SPARE_TOKENS_MAX: usize = 1 << 12;
        const SPARE_MAX: usize = 256;
        if let Tokens::Own(mut tokens) = context.tokens {
            if tokens.capacity() <= SPARE_TOKENS_MAX && self.spare.len() < SPARE_MAX {
                tokens.clear();
                self.spare.push(tokens);
            }
        }
    }

    /// Takes away expansions that have been read to their end.
    fn settle(&mut self) {
        while self.contexts.len() > self.floor + 1 {
            match self.contexts.last() {
                Some(context) if context.at >= context.slice().len() => {}
                _ => return,
            }
            let Some(context) = self.contexts.pop() else {
                return;
            };
            if context.of.is_some() {
                self.disabled.pop();
            }
            self.recycle(context);
        }
    }

    /// The next token, not expanded.
    pub(super) fn next_plain(&mut self) -> Result<Option<Token>, Punt> {
        self.step()?;
        loop {
            let is_outermost = self.contexts.len() <= self.floor + 1;
            let Some(context) = self.contexts.last_mut() else {
                return Ok(None);
            };
            let Some(mut token) = context.slice().get(context.at).copied() else {
                if is_outermost {
                    return Ok(None);
                }
                self.settle();
                continue;
            };
            if let (0, Some(space)) = (context.at, context.space) {
                token.flags = token.flags & !SPACE | if space { SPACE } else { 0 };
            }
            context.at += 1;
            if token.kind == Kind::Identifier && self.disabled.contains(&token.id) {
                token.flags |= NO_EXPAND;
            }
            return Ok(Some(token));
        }
    }

    /// The next token, macros expanded.
    pub(super) fn next(&mut self) -> Result<Option<Token>, Punt> {
        // clang hands the space before a macro that expands to nothing on.
        let mut space = false;
        loop {
            let Some(mut token) = self.next_plain()? else {
                return Ok(None);
            };
            if space {
                token.flags |= SPACE;
            }
            if token.kind != Kind::Identifier || token.has(NO_EXPAND) {
                return Ok(Some(token));
            }
            match self.macro_of(token.id)? {
                Some(defined) => match self.enter(token, defined)? {
                    Entered::No => return Ok(Some(token)),
                    Entered::Something => space = false,
                    Entered::Nothing => space = self.clang && token.has(SPACE),
                },
                None if self.macros.is_dynamic(token.id) => return self.made_up(token).map(Some),
                None => return Ok(Some(token)),
            }
        }
    }

    /// What a name stands for, if that takes no expansion worth the name.
    pub(super) fn stands_for(&self, name: Token) -> Result<Stands, Punt> {
        const CHAIN_MAX: usize = 8;
        let mut token = name;
        for _ in 0..CHAIN_MAX {
            let Some(defined) = self.macro_of(token.id)? else {
                return Ok(match self.macros.is_dynamic(token.id) {
                    true => Stands::More,
                    false => Stands::Itself(token),
                });
            };
            let body = self.parsed(defined)?;
            match (body.parameters, &body.body[..]) {
                (None, []) => return Ok(Stands::Nothing),
                (None, [one]) if one.kind == Kind::Number => return Ok(Stands::Itself(*one)),
                (None, [one]) if one.kind == Kind::Identifier && one.id != token.id => token = *one,
                _ => return Ok(Stands::More),
            }
        }
        Ok(Stands::More)
    }

    /// Begins to read the expansion of `name`.
    fn enter(&mut self, name: Token, defined: Defined) -> Result<Entered, Punt> {
        let body = Arc::clone(self.parsed(defined)?);
        let space = self.clang.then_some(name.has(SPACE));
        if body.parameters.is_none() {
            if body.body.is_empty() {
                return Ok(Entered::Nothing);
            }
            if body.body.iter().any(|token| token.has(PASTE)) {
                let mut none = Arguments {
                    given: Vec::new(),
                    expanded: Vec::new(),
                    omitted: false,
                };
                let tokens = self.substitute(&body, &mut none)?;
                self.push(tokens, Some(name.id), space);
            } else {
                self.contexts.push(Context {
                    tokens: Tokens::Body(body),
                    at: 0,
                    of: Some(name.id),
                    space,
                });
            }
            self.disabled.push(name.id);
            return Ok(Entered::Something);
        }
        if !self.opens() {
            return Ok(Entered::No);
        }
        let mut arguments = self.arguments(&body)?;
        let tokens = self.substitute(&body, &mut arguments)?;
        for given in arguments
            .given
            .into_iter()
            .chain(arguments.expanded.into_iter().flatten())
        {
            self.recycle(Context {
                tokens: Tokens::Own(given),
                at: 0,
                of: None,
                space: None,
            });
        }
        if tokens.is_empty() {
            return Ok(Entered::Nothing);
        }
        self.push(tokens, Some(name.id), space);
        self.disabled.push(name.id);
        Ok(Entered::Something)
    }

    /// Takes a `(` if it is next.
    fn opens(&mut self) -> bool {
        self.settle();
        let Some(context) = self.contexts.last_mut() else {
            return false;
        };
        let opens = context
            .slice()
            .get(context.at)
            .is_some_and(|token| token.is(known::OPEN));
        context.at += usize::from(opens);
        opens
    }

    /// Collects the arguments of `body`, up to its `)`.
    fn arguments(&mut self, body: &Macro) -> Result<Arguments, Punt> {
        let count = body.parameters.unwrap_or(0) as usize;
        let mut given = Vec::with_capacity(count.clamp(1, 64));
        let mut argument = self.space();
        let mut depth = 0u32;
        let mut length = 0usize;
        loop {
            let Some(token) = self.next_plain()? else {
                return Err(Punt::new("a macro's arguments have no end"));
            };
            if token.kind == Kind::Punctuator {
                let is_last = body.variadic && given.len() + 1 == count;
                match token.id {
                    known::OPEN => depth += 1,
                    known::CLOSE if depth == 0 => break,
                    known::CLOSE => depth -= 1,
                    known::COMMA if depth == 0 && !is_last => {
                        given.push(std::mem::replace(&mut argument, self.space()));
                        continue;
                    }
                    _ => {}
                }
            }
            length += 1;
            if length > EXPANSION_TOKENS_MAX {
                return Err(Punt::new("a macro's arguments are too long"));
            }
            match token.kind {
                // Here it was no header's name to the compiler.
                Kind::HeaderName => {
                    let text = token.id.spelling();
                    let at = argument.len();
                    argument.extend(tokenize(text, self.unit.compiler.dialect, Place::Plain));
                    if let Some(first) = argument.get_mut(at) {
                        first.flags |= token.flags & SPACE;
                    }
                }
                _ => argument.push(token),
            }
        }
        given.push(argument);
        self.checked(body, given, count)
    }

    fn checked(
        &self,
        body: &Macro,
        mut given: Vec<Vec<Token>>,
        count: usize,
    ) -> Result<Arguments, Punt> {
        let is_empty = given.len() == 1 && given[0].is_empty();
        let mut omitted = false;
        if count == 0 && is_empty {
            given.clear();
        } else if body.variadic && given.len() + 1 == count {
            given.push(Vec::new());
            omitted = true;
        } else if body.variadic && count == 1 && is_empty {
            let standard = &self.unit.compiler.standard;
            let keeps = standard.strict
                && (!self.clang || (standard.cplusplus == 0 && standard.stdc_version >= 199_901));
            omitted = !keeps;
        }
        if given.len() != count {
            return Err(Punt::new("a macro has a wrong number of arguments"));
        }
        let mut expanded = Vec::new();
        expanded.resize_with(count, || None);
        Ok(Arguments {
            given,
            expanded,
            omitted,
        })
    }

    /// The body with its arguments in place, pasted.
    fn substitute(&mut self, body: &Macro, arguments: &mut Arguments) -> Result<Vec<Token>, Punt> {
        let opts = if body.has_opt {
            self.opts(body, arguments)?
        } else {
            Vec::new()
        };
        let mut made = Made {
            out: self.space(),
            has_left: false,
            space: false,
        };
        let tokens = &body.body;
        for (at, token) in tokens.iter().enumerate() {
            if opts.get(at).is_some_and(|skip| *skip) {
                continue;
            }
            let pasted = at > 0 && tokens[at - 1].has(PASTE);
            if token.kind != Kind::Parameter {
                made.take(&[*token], token.has(SPACE), pasted, self)?;
                continue;
            }
            let number = token.id.0 as usize;
            let is_variable = body.variadic && number + 1 == arguments.given.len();
            if token.has(STRINGIFY) {
                let given = arguments.given.get(number).map_or(&[][..], |given| given);
                let string = stringified(given)
                    .ok_or_else(|| Punt::new("# makes a string that is too long"))?;
                let mut string = Token::new(Kind::String, intern(&string));
                string.flags = token.flags & SPACE;
                made.take(&[string], token.has(SPACE), pasted, self)?;
            } else if is_variable && pasted && made.ends_in_comma(&tokens[at - 1]) {
                if arguments.omitted {
                    made.out.pop();
                }
                let given = &arguments.given[number];
                made.take_parameter(given, token.has(SPACE), false, self)?;
            } else if pasted || token.has(PASTE) {
                let given = arguments.given.get(number).map_or(&[][..], |given| given);
                made.take_parameter(given, token.has(SPACE), pasted, self)?;
            } else {
                let expanded = self.expanded(arguments, number)?;
                made.take_parameter(expanded, token.has(SPACE), false, self)?;
            }
            if made.out.len() > EXPANSION_TOKENS_MAX {
                return Err(Punt::new("a macro's expansion is too long"));
            }
        }
        for token in &mut made.out {
            token.flags &= SPACE | NO_EXPAND;
        }
        Ok(made.out)
    }

    /// Which tokens of the body are left out because of `__VA_OPT__`.
    fn opts(&mut self, body: &Macro, arguments: &mut Arguments) -> Result<Vec<bool>, Punt> {
        let variable = arguments.given.len().saturating_sub(1);
        let is_given = arguments
            .given
            .last()
            .is_some_and(|given| !given.is_empty());
        let keeps = is_given && !self.expanded(arguments, variable)?.is_empty();
        let tokens = &body.body;
        let mut skip = vec![false; tokens.len()];
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            if token.kind != Kind::Identifier || token.id != known::VA_OPT {
                at += 1;
                continue;
            }
            let end = closing(tokens, at + 1);
            let end = end.ok_or_else(|| Punt::new("a __VA_OPT__ without its parentheses"))?;
            let pasted = (at > 0 && tokens[at - 1].has(PASTE)) || tokens[end].has(PASTE);
            if pasted || tokens[at + 1].has(PASTE) || tokens[end - 1].has(PASTE) {
                return Err(Punt::new("a __VA_OPT__ that is pasted"));
            }
            for (number, skip) in skip.iter_mut().enumerate().take(end + 1).skip(at) {
                *skip |= !keeps || number <= at + 1 || number == end;
            }
            at = end + 1;
        }
        Ok(skip)
    }

    /// An argument, expanded.
    fn expanded<'a>(
        &mut self,
        arguments: &'a mut Arguments,
        number: usize,
    ) -> Result<&'a [Token], Punt> {
        let (given, expanded) = match (
            arguments.given.get(number),
            arguments.expanded.get_mut(number),
        ) {
            (Some(given), Some(expanded)) => (given, expanded),
            _ => return Ok(&[]),
        };
        if expanded.is_none() {
            let is_plain = |token: &Token| token.kind != Kind::Identifier;
            *expanded = Some(match given.iter().all(is_plain) {
                true => given.clone(),
                false => self.expand_apart(given)?,
            });
        }
        Ok(expanded.as_deref().unwrap_or_default())
    }

    /// Expands tokens as if there were no others.
    fn expand_apart(&mut self, tokens: &[Token]) -> Result<Vec<Token>, Punt> {
        if self.depth >= DEPTH_MAX {
            return Err(Punt::new("macros are nested too deep"));
        }
        let mut own = self.space();
        own.extend_from_slice(tokens);
        self.push(own, None, None);
        let floor = std::mem::replace(&mut self.floor, self.contexts.len() - 1);
        self.depth += 1;
        let mut out = self.space();
        while let Some(token) = self.next()? {
            out.push(token);
            if out.len() > EXPANSION_TOKENS_MAX {
                return Err(Punt::new("a macro's expansion is too long"));
            }
        }
        self.depth -= 1;
        self.floor = floor;
        if let Some(context) = self.contexts.pop() {
            self.recycle(context);
        }
        Ok(out)
    }
}

/// What a name stands for in a condition.
pub(super) enum Stands {
    /// One token that is no macro.
    Itself(Token),
    /// No token.
    Nothing,
    /// It has to be expanded.
    More,
}

/// What came of a macro's name.
enum Entered {
    /// It is no use of the macro.
    No,
    /// There are tokens to be read.
    Something,
    /// It expands to nothing.
    Nothing,
}

/// An expansion in the making.
struct Made {
    out: Vec<Token>,
    /// The last operand before a `##` was not empty.
    has_left: bool,
    /// clang: an empty argument leaves its white space to what follows.
    space: bool,
}

impl Made {
    fn ends_in_comma(&self, before: &Token) -> bool {
        before.is(known::COMMA) && self.out.last().is_some_and(|last| last.is(known::COMMA))
    }

    /// An argument in the place of its parameter, which has white space before it or not.
    fn take_parameter<W: World + ?Sized>(
        &mut self,
        tokens: &[Token],
        space: bool,
        pasted: bool,
        walker: &mut Walker<'_, W>,
    ) -> Result<(), Punt> {
        if walker.clang && tokens.is_empty() {
            self.space |= space;
        }
        let at = self.out.len();
        self.take(tokens, space, pasted, walker)?;
        if walker.clang && !tokens.is_empty() {
            if let Some(first) = self.out.get_mut(at) {
                let before = first.flags & !SPACE;
                first.flags = before | if space || self.space { SPACE } else { 0 };
            }
            self.space = false;
        }
        Ok(())
    }

    /// Appends tokens, the first one pasted to what is there if `pasted`.
    fn take<W: World + ?Sized>(
        &mut self,
        tokens: &[Token],
        _space: bool,
        pasted: bool,
        walker: &mut Walker<'_, W>,
    ) -> Result<(), Punt> {
        let Some((first, rest)) = tokens.split_first() else {
            self.has_left &= pasted;
            return Ok(());
        };
        match self.out.last().copied() {
            Some(left) if pasted && self.has_left => {
                let made = paste(left, *first, walker)?;
                self.out.pop();
                self.out.push(made);
            }
            _ => {
                let mut first = *first;
                if self.space && first.kind != Kind::Parameter {
                    first.flags |= SPACE;
                    self.space = false;
                }
                self.out.push(first);
            }
        }
        self.out.extend_from_slice(rest);
        self.has_left = true;
        Ok(())
    }
}

/// Two tokens made one.
fn paste<W: World + ?Sized>(
    left: Token,
    right: Token,
    walker: &mut Walker<'_, W>,
) -> Result<Token, Punt> {
    let text = [left.id.spelling(), right.id.spelling()].concat();
    if text.len() > MADE_BYTES_MAX {
        return Err(Punt::new("## makes a name that is too long"));
    }
    let dialect = walker.unit.compiler.dialect;
    let is_comment = text.starts_with(b"//") || text.starts_with(b"/*");
    match tokenize(&text, dialect, Place::Plain)[..] {
        [mut token] if !is_comment && (token.kind != Kind::Other || text.len() == 1) => {
            token.flags = left.flags & SPACE;
            Ok(token)
        }
        _ => Err(Punt::new("## makes no token")),
    }
}

/// Where the parenthesis that opens at `at` is closed.
fn closing(tokens: &[Token], at: usize) -> Option<usize> {
    if !tokens.get(at)?.is(known::OPEN) {
        return None;
    }
    let mut depth = 0;
    for (number, token) in tokens.iter().enumerate().skip(at) {
        if token.is(known::OPEN) {
            depth += 1;
        } else if token.is(known::CLOSE) {
            depth -= 1;
            if depth == 0 {
                return Some(number);
            }
        }
    }
    None
}

/// `#` of an argument; None if it is too long.
fn stringified(tokens: &[Token]) -> Option<Vec<u8>> {
    let mut text = vec![b'"'];
    for (at, token) in tokens.iter().enumerate() {
        if at > 0 && token.has(SPACE) {
            text.push(b' ');
        }
        let escapes = matches!(token.kind, Kind::String | Kind::Character | Kind::Other);
        for byte in token.id.spelling() {
            if escapes && matches!(byte, b'"' | b'\\') && token.id.spelling().len() > 1 {
                text.push(b'\\');
            }
            text.push(*byte);
        }
        if text.len() > MADE_BYTES_MAX {
            return None;
        }
    }
    text.push(b'"');
    Some(text)
}
