//! Conditions of `#if`: integer expressions of 64 bits, by the rules of C.

use super::constants::{c_knows_true, character, named_operator, number, Signs, Value};
use super::directives::Directive;
use super::expansion::Stands;
use super::interner::{known, Id};
use super::punt::Punt;
use super::tokens::{Kind, Token};
use super::unit::World;
use super::walker::Walker;

/// How deep a condition may be nested.
const DEPTH_MAX: u32 = 200;

/// A condition that is being read.
struct Reader<'r, 'w, W: World + ?Sized> {
    walker: &'r mut Walker<'w, W>,
    /// The tokens, and how many have been taken; None as soon as one has to be expanded in earnest.
    plain: Option<(&'r [Token], usize)>,
    /// The token to come.
    next: Option<Token>,
    depth: u32,
}

fn odd(what: &'static str) -> Punt {
    Punt::new(what)
}

impl<W: World + ?Sized> Walker<'_, W> {
    /// Is the condition true?
    pub(super) fn holds(&mut self, tokens: &[Token]) -> Result<bool, Punt> {
        if let Some((name, negated)) = simple(tokens) {
            return Ok(self.is_defined(name)? != negated);
        }
        self.live = true;
        let mut reader = Reader {
            walker: self,
            plain: Some((tokens, 0)),
            next: None,
            depth: 0,
        };
        reader.advance()?;
        let value = reader.comma(true, true)?;
        match reader.next {
            None => Ok(value.is_true()),
            Some(_) => Err(odd("a condition with something after its end")),
        }
    }
}

/// `defined X`, `defined(X)`, and either with `!`: the name, and whether it is negated.
fn simple(tokens: &[Token]) -> Option<(Id, bool)> {
    let (negated, tokens) = match tokens {
        [first, rest @ ..] if first.is(known::EXCLAMATION) => (true, rest),
        _ => (false, tokens),
    };
    let name = match tokens {
        [defined, name] if defined.id == known::DEFINED => name,
        [defined, open, name, close]
            if defined.id == known::DEFINED && open.is(known::OPEN) && close.is(known::CLOSE) =>
        {
            name
        }
        _ => return None,
    };
    (name.kind == Kind::Identifier).then_some((name.id, negated))
}

impl<'r, W: World + ?Sized> Reader<'r, '_, W> {
    fn advance(&mut self) -> Result<(), Punt> {
        self.next = match self.plain {
            Some((tokens, at)) => self.next_of(tokens, at)?,
            None => self.walker.next()?,
        };
        Ok(())
    }

    /// The next token of those in `tokens` from number `at` on. Names that stand for one number, as most do, need no
    /// more than a look; for all others the walker takes over.
    fn next_of(&mut self, tokens: &'r [Token], at: usize) -> Result<Option<Token>, Punt> {
        let mut at = at;
        loop {
            self.walker.step()?;
            let Some(token) = tokens.get(at).copied() else {
                self.plain = Some((tokens, at));
                return Ok(None);
            };
            let stands = match token.kind {
                Kind::Identifier => self.walker.stands_for(token)?,
                _ => Stands::Itself(token),
            };
            at += 1;
            match stands {
                Stands::Itself(token) => {
                    self.plain = Some((tokens, at));
                    return Ok(Some(token));
                }
                Stands::Nothing => {}
                Stands::More => {
                    self.plain = None;
                    self.walker.feed_from(&tokens[at - 1..]);
                    return self.walker.next();
                }
            }
        }
    }

    /// The next token as it is.
    fn next_plain(&mut self) -> Result<Option<Token>, Punt> {
        match &mut self.plain {
            Some((tokens, at)) => {
                let token = tokens.get(*at).copied();
                *at += 1;
                Ok(token)
            }
            None => self.walker.next_plain(),
        }
    }

    /// The operator to come.
    fn operator(&self) -> Option<Id> {
        let token = self.next?;
        match token.kind {
            Kind::Punctuator => Some(token.id),
            Kind::Identifier if self.walker.unit.compiler.standard.cplusplus > 0 => {
                named_operator(token.id)
            }
            _ => None,
        }
    }

    fn deeper(&mut self) -> Result<(), Punt> {
        self.depth += 1;
        match self.depth > DEPTH_MAX {
            true => Err(odd("a condition that is nested too deep")),
            false => Ok(()),
        }
    }

    /// `live`: the value counts; where it does not, no division by zero is an error.
    fn comma(&mut self, live: bool, outermost: bool) -> Result<Value, Punt> {
        let mut value = self.ternary(live)?;
        while self.operator() == Some(known::COMMA) {
            if outermost && self.walker.clang {
                return Err(odd("a condition with a comma"));
            }
            self.advance()?;
            value = self.ternary(live)?;
        }
        Ok(value)
    }

    fn ternary(&mut self, live: bool) -> Result<Value, Punt> {
        self.deeper()?;
        let test = self.binary(0, live)?;
        if self.operator() != Some(known::QUESTION) {
            self.depth -= 1;
            return Ok(test);
        }
        let (yes_live, no_live) = (live && test.is_true(), live && !test.is_true());
        self.walker.live = yes_live;
        self.advance()?;
        let yes = self.comma(yes_live, false)?;
        if self.operator() != Some(known::COLON) {
            return Err(odd("a condition with ? but without :"));
        }
        self.walker.live = no_live;
        self.advance()?;
        let no = self.ternary(no_live)?;
        self.walker.live = live;
        self.depth -= 1;
        Ok(Value {
            bits: if test.is_true() { yes.bits } else { no.bits },
            unsigned: yes.unsigned || no.unsigned,
        })
    }

    /// Operators that bind at least as strong as `least`.
    fn binary(&mut self, least: u8, live: bool) -> Result<Value, Punt> {
        let mut left = self.unary(live)?;
        while let Some((operator, strength)) = self.operator().and_then(strength) {
            if strength < least {
                break;
            }
            let right_live = match operator {
                known::BOTH => live && left.is_true(),
                known::EITHER => live && !left.is_true(),
                _ => live,
            };
            self.walker.live = right_live;
            self.advance()?;
            let right = self.binary(strength + 1, right_live)?;
            self.walker.live = live;
            left = apply(operator, left, right, live)?;
        }
        Ok(left)
    }

    fn unary(&mut self, live: bool) -> Result<Value, Punt> {
        self.deeper()?;
        let value = match self.operator() {
            Some(known::EXCLAMATION) => {
                self.advance()?;
                Value::truth(!self.unary(live)?.is_true())
            }
            Some(known::TILDE) => {
                self.advance()?;
                let value = self.unary(live)?;
                Value {
                    bits: !value.bits,
                    ..value
                }
            }
            Some(known::MINUS) => {
                self.advance()?;
                let value = self.unary(live)?;
                Value {
                    bits: value.bits.wrapping_neg(),
                    ..value
                }
            }
            Some(known::PLUS) => {
                self.advance()?;
                self.unary(live)?
            }
            Some(known::OPEN) => {
                self.advance()?;
                let value = self.comma(live, false)?;
                if self.operator() != Some(known::CLOSE) {
                    return Err(odd("a condition without its )"));
                }
                self.advance()?;
                value
            }
            _ => self.primary()?,
        };
        self.depth -= 1;
        Ok(value)
    }

    fn primary(&mut self) -> Result<Value, Punt> {
        let token = self
            .next
            .ok_or_else(|| odd("a condition that ends too early"))?;
        let value = match token.kind {
            Kind::Number => number(token.id.spelling())?,
            Kind::Character => character(token.id.spelling(), self.signs())?,
            Kind::Identifier if token.id == known::DEFINED => return self.defined(),
            Kind::Identifier => self.name(token.id)?,
            _ => return Err(odd("a condition that can't be read")),
        };
        self.advance()?;
        Ok(value)
    }

    fn signs(&self) -> Signs {
        // What the unit makes of these macros does not change the types.
        let own = &self.walker.unit.compiler.predefined.directives;
        let has = |wanted: Id| {
            own.iter()
                .any(|own| matches!(own, Directive::Define { name, .. } if *name == wanted))
        };
        Signs {
            char_unsigned: has(known::CHAR_UNSIGNED),
            wide_unsigned: has(known::WCHAR_UNSIGNED),
        }
    }

    /// A name that is no macro.
    fn name(&self, name: Id) -> Result<Value, Punt> {
        let standard = &self.walker.unit.compiler.standard;
        let is_true = match name {
            known::TRUE | known::FALSE if standard.cplusplus > 0 => name == known::TRUE,
            known::TRUE => {
                let known = c_knows_true(self.walker.clang, standard.major, standard.stdc_version);
                known.ok_or_else(|| odd("a condition with the word true"))?
            }
            _ => false,
        };
        Ok(Value::truth(is_true))
    }

    /// What follows `defined`.
    fn defined(&mut self) -> Result<Value, Punt> {
        let nameless = || odd("defined without a name");
        let mut token = self.next_plain()?.ok_or_else(nameless)?;
        let parenthesised = token.is(known::OPEN);
        if parenthesised {
            token = self.next_plain()?.ok_or_else(nameless)?;
        }
        if token.kind != Kind::Identifier {
            return Err(nameless());
        }
        if parenthesised {
            let close = self.next_plain()?.ok_or_else(nameless)?;
            if !close.is(known::CLOSE) {
                return Err(nameless());
            }
        }
        let value = Value::truth(self.walker.is_defined(token.id)?);
        self.advance()?;
        Ok(value)
    }
}

/// How strong a binary operator binds.
fn strength(operator: Id) -> Option<(Id, u8)> {
    let strength = match operator {
        known::EITHER => 0,
        known::BOTH => 1,
        known::PIPE => 2,
        known::CARET => 3,
        known::AMPERSAND => 4,
        known::EQUAL_EQUAL | known::NOT_EQUAL => 5,
        known::LESS | known::GREATER | known::LESS_EQUAL | known::GREATER_EQUAL => 6,
        known::SHIFT_LEFT | known::SHIFT_RIGHT => 7,
        known::PLUS | known::MINUS => 8,
        known::STAR | known::SLASH | known::PERCENT => 9,
        _ => return None,
    };
    Some((operator, strength))
}

fn apply(operator: Id, left: Value, right: Value, live: bool) -> Result<Value, Punt> {
    let unsigned = left.unsigned || right.unsigned;
    let (a, b) = (left.bits, right.bits);
    let (signed_a, signed_b) = (a as i64, b as i64);
    let order = match unsigned {
        true => a.cmp(&b),
        false => signed_a.cmp(&signed_b),
    };
    let bits = match operator {
        known::EITHER => return Ok(Value::truth(left.is_true() || right.is_true())),
        known::BOTH => return Ok(Value::truth(left.is_true() && right.is_true())),
        known::EQUAL_EQUAL => return Ok(Value::truth(a == b)),
        known::NOT_EQUAL => return Ok(Value::truth(a != b)),
        known::LESS => return Ok(Value::truth(order.is_lt())),
        known::GREATER => return Ok(Value::truth(order.is_gt())),
        known::LESS_EQUAL => return Ok(Value::truth(order.is_le())),
        known::GREATER_EQUAL => return Ok(Value::truth(order.is_ge())),
        known::PIPE => a | b,
        known::CARET => a ^ b,
        known::AMPERSAND => a & b,
        known::PLUS => a.wrapping_add(b),
        known::MINUS => a.wrapping_sub(b),
        known::STAR => a.wrapping_mul(b),
        known::SHIFT_LEFT | known::SHIFT_RIGHT => return shift(operator, left, right, live),
        _ if b == 0 && live => return Err(odd("a condition that divides by zero")),
        _ if b == 0 => 0,
        known::SLASH if unsigned => a / b,
        known::SLASH => signed_a.wrapping_div(signed_b) as u64,
        _ if unsigned => a % b,
        _ => signed_a.wrapping_rem(signed_b) as u64,
    };
    Ok(Value { bits, unsigned })
}

/// The type is that of the left operand. Compilers differ in what too wide a shift does.
fn shift(operator: Id, left: Value, right: Value, live: bool) -> Result<Value, Punt> {
    let bits = match u32::try_from(right.bits) {
        Ok(count @ 0..=63) if operator == known::SHIFT_LEFT => left.bits << count,
        Ok(count @ 0..=63) if left.unsigned => left.bits >> count,
        Ok(count @ 0..=63) => (left.bits as i64 >> count) as u64,
        _ if live => return Err(odd("a condition with too wide a shift")),
        _ => 0,
    };
    Ok(Value { bits, ..left })
}
