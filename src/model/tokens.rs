//! The tokens of a directive: its text, from which splices and comments are gone, cut into preprocessing tokens.

use super::dialect::Dialect;
use super::interner::{intern, known, Id};

/// What a token is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A name.
    Identifier,
    /// A preprocessing number.
    Number,
    /// `'a'` with its prefix.
    Character,
    /// `"a"` with its prefix.
    String,
    /// `<a.h>` where a header is expected.
    HeaderName,
    /// An operator, parenthesis, comma…
    Punctuator,
    /// Anything else; also a quote that is not closed, with all that follows it, and raw strings.
    Other,
    /// In the body of a macro: its parameter, by number.
    Parameter,
}

/// A preprocessing token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// [`SPACE`] and the like.
    pub flags: u8,
    /// Its spelling; of a parameter: its number.
    pub id: Id,
}

/// White space comes before it.
pub const SPACE: u8 = 1;
/// `##` comes after it, in the body of a macro.
pub const PASTE: u8 = 2;
/// `#` came before it, in the body of a macro.
pub const STRINGIFY: u8 = 4;
/// A name that is not to be expanded any more.
pub const NO_EXPAND: u8 = 8;

impl Token {
    /// A token without flags.
    pub fn new(kind: Kind, id: Id) -> Token {
        Token { kind, flags: 0, id }
    }

    /// Is it this punctuator?
    pub fn is(&self, id: Id) -> bool {
        self.kind == Kind::Punctuator && self.id == id
    }

    /// Has it this flag?
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Where a token stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// In a condition: `<…>` after `__has_include (` is one token.
    Condition,
    /// Elsewhere.
    Plain,
}

/// What each byte may be: part of a name, or a blank.
static BYTES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let is_name =
            (byte as u8).is_ascii_alphanumeric() || matches!(byte as u8, b'_' | b'$' | 0x80..);
        let is_blank = matches!(byte as u8, b' ' | b'\t' | b'\x0b' | b'\x0c' | 0);
        table[byte] = is_name as u8 | (is_blank as u8) << 1;
        byte += 1;
    }
    table
};

/// May a name hold this byte?
pub fn in_name(byte: u8) -> bool {
    BYTES[usize::from(byte)] & 1 != 0
}

/// How long the name is that `text` starts with.
pub fn name_length(text: &[u8]) -> usize {
    let end = text.iter().position(|byte| !in_name(*byte));
    end.unwrap_or(text.len())
}

/// Cuts `text` into tokens.
pub fn tokenize(text: &[u8], dialect: Dialect, place: Place) -> Vec<Token> {
    let mut tokens = Vec::with_capacity(text.len() / 4 + 1);
    let mut rest = text;
    loop {
        let blank = blanks(rest);
        rest = &rest[blank..];
        if rest.is_empty() {
            return tokens;
        }
        let header = place == Place::Condition && expects_header(&tokens);
        let (kind, length) = match rest[0] {
            b'<' if header && rest.contains(&b'>') => {
                let end = rest.iter().position(|byte| *byte == b'>').unwrap_or(0);
                (Kind::HeaderName, end + 1)
            }
            _ => token(rest, dialect),
        };
        let (spelling, after) = rest.split_at(length);
        let mut token = Token::new(kind, identity(kind, spelling));
        if blank > 0 {
            token.flags |= SPACE;
        }
        tokens.push(token);
        rest = after;
    }
}

/// Digraphs have the numbers of what they stand for.
fn identity(kind: Kind, spelling: &[u8]) -> Id {
    match spelling {
        b"%:" if kind == Kind::Punctuator => known::HASH,
        b"%:%:" if kind == Kind::Punctuator => known::HASH_HASH,
        _ => intern(spelling),
    }
}

/// How many blanks `text` starts with.
pub fn blanks(text: &[u8]) -> usize {
    let end = text
        .iter()
        .position(|byte| BYTES[usize::from(*byte)] & 2 == 0);
    end.unwrap_or(text.len())
}

fn expects_header(tokens: &[Token]) -> bool {
    const OPERATORS: [Id; 3] = [
        known::HAS_INCLUDE,
        known::HAS_INCLUDE_NEXT,
        known::HAS_EMBED,
    ];
    match tokens {
        [.., operator, open] => open.is(known::OPEN) && OPERATORS.contains(&operator.id),
        _ => false,
    }
}

/// Kind and length of the token that `text`, not empty, starts with.
fn token(text: &[u8], dialect: Dialect) -> (Kind, usize) {
    let second = text.get(1).copied().unwrap_or_default();
    match text[0] {
        b'0'..=b'9' => (Kind::Number, number(text, dialect)),
        b'.' if second.is_ascii_digit() => (Kind::Number, number(text, dialect)),
        b'"' | b'\'' => literal(text, 0),
        byte if in_name(byte) => word(text, name_length(text), dialect),
        _ => punctuator(text, dialect),
    }
}

/// A name, unless it is the prefix of a literal.
fn word(text: &[u8], length: usize, dialect: Dialect) -> (Kind, usize) {
    let quote = text.get(length).copied().unwrap_or_default();
    let prefix = &text[..length];
    match quote {
        b'"' | b'\'' if matches!(prefix, b"L" | b"u" | b"U" | b"u8") => literal(text, length),
        b'"' if dialect.raw_strings && is_raw_prefix(prefix) => (Kind::Other, text.len()),
        _ => (Kind::Identifier, length),
    }
}

/// Does this name before a quote make the string a raw one?
pub fn is_raw_prefix(name: &[u8]) -> bool {
    matches!(name, b"R" | b"LR" | b"uR" | b"UR" | b"u8R")
}

/// The literal whose quote is at `at`; all of the text if it is not closed.
fn literal(text: &[u8], at: usize) -> (Kind, usize) {
    let quote = text[at];
    let mut end = at + 1;
    while let Some(byte) = text.get(end) {
        match *byte {
            b'\\' => end += 2,
            byte if byte == quote => {
                let kind = match quote {
                    b'"' => Kind::String,
                    _ => Kind::Character,
                };
                return (kind, end + 1);
            }
            _ => end += 1,
        }
    }
    (Kind::Other, text.len())
}

fn number(text: &[u8], dialect: Dialect) -> usize {
    let mut length = 1;
    while let Some(byte) = text.get(length).copied() {
        let before = text[length - 1];
        let after = text.get(length + 1).copied().unwrap_or_default();
        let belongs = match byte {
            b'+' | b'-' => matches!(before, b'e' | b'E' | b'p' | b'P'),
            b'\'' => dialect.digit_separators && (after.is_ascii_alphanumeric() || after == b'_'),
            _ => byte == b'.' || in_name(byte),
        };
        if !belongs {
            break;
        }
        length += 1;
    }
    length
}

fn punctuator(text: &[u8], dialect: Dialect) -> (Kind, usize) {
    const LONG: [&[u8]; 33] = [
        b"%:%:", b"<<=", b">>=", b"...", b"->*", b"<=>", b"##", b"<<", b">>", b"<=", b">=", b"==",
        b"!=", b"&&", b"||", b"+=", b"-=", b"*=", b"/=", b"%=", b"&=", b"|=", b"^=", b"++", b"--",
        b"->", b"::", b".*", b"<:", b":>", b"<%", b"%>", b"%:",
    ];
    const SHORT: &[u8] = b"()[]{},#+-*/%<>=&|^!~?:;.";
    const SECOND: &[u8] = b"%:<>#=&|+-*.";
    let second = text.get(1).copied().unwrap_or_default();
    if !SECOND.contains(&second) && SHORT.contains(&text[0]) {
        return (Kind::Punctuator, 1);
    }
    let digraph = |long: &[u8]| matches!(long, b"%:%:" | b"<:" | b":>" | b"<%" | b"%>" | b"%:");
    let fits = |long: &&&[u8]| text.starts_with(long) && (dialect.digraphs || !digraph(long));
    match LONG.iter().find(fits) {
        Some(long) => (Kind::Punctuator, long.len()),
        None if SHORT.contains(&text[0]) => (Kind::Punctuator, 1),
        None => (Kind::Other, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str, place: Place) -> String {
        let dialect = Dialect {
            digit_separators: true,
            digraphs: true,
            raw_strings: true,
            ..Dialect::default()
        };
        let tokens = tokenize(text.as_bytes(), dialect, place);
        let words: Vec<String> = tokens
            .iter()
            .map(|token| {
                let space = if token.has(SPACE) { "_" } else { "" };
                format!("{space}{}", String::from_utf8_lossy(token.id.spelling()))
            })
            .collect();
        words.join(" ")
    }

    #[test]
    fn text_falls_into_tokens() {
        for (text, expected) in [
            ("defined(X)&&!Y", "defined ( X ) && ! Y"),
            (" a  +b", "_a _+ b"),
            ("0x1p-3+1e+5-1", "0x1p-3 + 1e+5 - 1"),
            ("1'000'x .5.6 .a", "1'000'x _.5.6 _. a"),
            ("L\"a\\\"b\"'\\''u8'c'", "L\"a\\\"b\" '\\'' u8'c'"),
            ("don't stop", "don 't stop"),
            ("R\"(a)\" b", "R\"(a)\" b"),
            ("a%:b%:%:c##d", "a # b ## c ## d"),
            ("a<<=b->*c...d", "a <<= b ->* c ... d"),
            ("@ \\ `", "@ _\\ _`"),
            ("Zebra\u{e9}$ x", "Zebra\u{e9}$ _x"),
            ("\"a\\", "\"a\\"),
        ] {
            assert_eq!(cut(text, Place::Plain), expected, "{text}");
        }
    }

    #[test]
    fn header_names_are_tokens_where_they_are_expected() {
        let text = "__has_include (<a//b.h>) && x<y>z";
        assert_eq!(
            cut(text, Place::Condition),
            "__has_include _( <a//b.h> ) _&& _x < y > z"
        );
        assert_eq!(
            cut("__has_include(<a)", Place::Condition),
            "__has_include ( < a )"
        );
        assert_eq!(
            cut("__has_include(<a>)", Place::Plain),
            "__has_include ( < a > )"
        );
    }
}
