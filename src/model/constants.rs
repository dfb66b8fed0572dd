//! Numbers and characters in conditions.

use super::interner::known;
use super::punt::Punt;

/// A value in a condition: 64 bits, signed or not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Value {
    /// Its bits.
    pub bits: u64,
    /// It is unsigned.
    pub unsigned: bool,
}

impl Value {
    /// A signed one.
    pub fn signed(number: i64) -> Value {
        Value {
            bits: number as u64,
            unsigned: false,
        }
    }

    /// The result of a comparison.
    pub fn truth(is_true: bool) -> Value {
        Value::signed(i64::from(is_true))
    }

    /// Is it not 0?
    pub fn is_true(self) -> bool {
        self.bits != 0
    }
}

/// Which characters are unsigned.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Signs {
    /// `char`
    pub char_unsigned: bool,
    /// `wchar_t`
    pub wide_unsigned: bool,
}

/// The value of a preprocessing number.
///
/// # Errors
/// It is no integer, or one that compilers read in different ways.
pub fn number(text: &[u8]) -> Result<Value, Punt> {
    let odd = || Punt::new(format!("an odd number: {}", String::from_utf8_lossy(text)));
    let (radix, digits) = match text {
        [b'0', b'x' | b'X', rest @ ..] => (16, rest),
        [b'0', b'b' | b'B', rest @ ..] => (2, rest),
        [b'0', ..] => (8, text),
        _ => (10, text),
    };
    let mut bits: u64 = 0;
    let mut rest = digits;
    let mut count = 0;
    while let Some((byte, after)) = rest.split_first() {
        if *byte != b'\'' {
            let Some(digit) = char::from(*byte).to_digit(radix) else {
                break;
            };
            count += 1;
            let next = bits.checked_mul(u64::from(radix));
            bits = next
                .and_then(|next| next.checked_add(u64::from(digit)))
                .ok_or_else(odd)?;
        }
        rest = after;
    }
    let unsigned = suffix(rest).ok_or_else(odd)?;
    if count == 0 {
        return Err(odd());
    }
    Ok(Value {
        bits,
        unsigned: unsigned || bits > i64::MAX as u64,
    })
}

/// Does this suffix say unsigned? None if it is no suffix of an integer.
fn suffix(text: &[u8]) -> Option<bool> {
    let lower = text.to_ascii_lowercase();
    match &lower[..] {
        b"" | b"l" | b"z" => Some(false),
        b"u" | b"ul" | b"lu" | b"uz" | b"zu" => Some(true),
        b"ll" if text[0] == text[1] => Some(false),
        b"ull" if text[1] == text[2] => Some(true),
        b"llu" if text[0] == text[1] => Some(true),
        _ => None,
    }
}

/// The value of a character constant.
///
/// # Errors
/// One whose value depends on more than is known here.
pub fn character(text: &[u8], signs: Signs) -> Result<Value, Punt> {
    let odd = || Punt::new("an odd character in a condition");
    let quote = text
        .iter()
        .position(|byte| *byte == b'\'')
        .ok_or_else(odd)?;
    let (prefix, rest) = text.split_at(quote);
    let mut inside = rest
        .strip_prefix(b"'")
        .and_then(|rest| rest.strip_suffix(b"'"))
        .ok_or_else(odd)?;
    let wide = !prefix.is_empty();
    let (width, unsigned) = match prefix {
        b"" => (8, signs.char_unsigned),
        b"L" => (32, signs.wide_unsigned),
        b"u" => (16, true),
        b"U" => (32, true),
        _ => return Err(odd()),
    };
    let mut bits: u64 = 0;
    let mut count = 0;
    while !inside.is_empty() {
        let (value, after) = one_character(inside)
            .filter(|(value, _)| value >> width == 0)
            .ok_or_else(odd)?;
        bits = (bits << 8) | value;
        count += 1;
        inside = after;
    }
    match count {
        0 => Err(odd()),
        1 => Ok(extended(bits, width, unsigned)),
        2..=4 if !wide => Ok(extended(bits, 32, false)),
        _ => Err(odd()),
    }
}

/// A value of `width` bits in 64.
fn extended(bits: u64, width: u32, unsigned: bool) -> Value {
    if unsigned {
        // `char` and `unsigned char` are promoted to `int` in a condition.
        return Value {
            bits,
            unsigned: width != 8,
        };
    }
    let shift = 64 - width;
    Value::signed((bits << shift) as i64 >> shift)
}

/// The value of the first character, and the rest.
fn one_character(text: &[u8]) -> Option<(u64, &[u8])> {
    let (first, rest) = text.split_first()?;
    if !first.is_ascii() {
        return None;
    }
    if *first != b'\\' {
        return Some((u64::from(*first), rest));
    }
    let (kind, after) = rest.split_first()?;
    let simple = match kind {
        b'n' => 10,
        b't' => 9,
        b'v' => 11,
        b'b' => 8,
        b'r' => 13,
        b'f' => 12,
        b'a' => 7,
        b'e' | b'E' => 27,
        b'\\' | b'\'' | b'"' | b'?' => *kind,
        b'x' => return digits(after, 16, usize::MAX),
        b'0'..=b'7' => return digits(rest, 8, 3),
        _ => return None,
    };
    Some((u64::from(simple), after))
}

fn digits(text: &[u8], radix: u32, most: usize) -> Option<(u64, &[u8])> {
    let is_digit = |byte: &&u8| char::from(**byte).is_digit(radix);
    let length = text.iter().take(most).take_while(is_digit).count();
    let (digits, rest) = text.split_at(length);
    let value = u64::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()?;
    Some((value, rest))
}

/// Whether `true` means 1 in a condition of C: from C23 on, in compilers that know it. None if that is not sure.
pub fn c_knows_true(clang: bool, major: u64, stdc_version: u64) -> Option<bool> {
    match (stdc_version > 201_710, clang) {
        (false, _) => Some(false),
        (true, false) => Some(major >= 13),
        (true, true) if major < 15 => Some(false),
        (true, true) => None,
    }
}

/// The names that C++ has for operators.
pub fn named_operator(name: super::interner::Id) -> Option<super::interner::Id> {
    Some(match name {
        known::AND => known::BOTH,
        known::OR => known::EITHER,
        known::NOT => known::EXCLAMATION,
        known::BITAND => known::AMPERSAND,
        known::BITOR => known::PIPE,
        known::XOR => known::CARET,
        known::COMPL => known::TILDE,
        known::NOT_EQ => known::NOT_EQUAL,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_values() {
        for (text, bits, unsigned) in [
            ("0", 0, false),
            ("42L", 42, false),
            ("0x7fffffffffffffff", i64::MAX as u64, false),
            ("0x8000000000000000", 1 << 63, true),
            ("1'000'000", 1_000_000, false),
            ("0b101u", 5, true),
            ("017", 15, false),
            ("1uLL", 1, true),
            ("1llU", 1, true),
            ("1z", 1, false),
            ("18446744073709551615", u64::MAX, true),
        ] {
            let value = number(text.as_bytes());
            assert_eq!(value, Ok(Value { bits, unsigned }), "{text}");
        }
        for text in [
            "08",
            "1.0",
            "1e3",
            "0x",
            "1lul",
            "1lL",
            "0xg",
            "18446744073709551616",
            "1_x",
            "0b2",
        ] {
            assert!(number(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn characters_have_their_values() {
        let signs = Signs::default();
        for (text, value) in [
            ("'a'", Value::signed(97)),
            ("'\\377'", Value::signed(-1)),
            ("'ab'", Value::signed(24930)),
            ("'\\377\\377'", Value::signed(0xffff)),
            ("'abcd'", Value::signed(0x6162_6364)),
            ("'\\377\\377\\377\\377'", Value::signed(-1)),
            ("'\\x41'", Value::signed(65)),
            ("'\\e\\''", Value::signed(27 * 256 + 39)),
            ("L'\\0'", Value::signed(0)),
            ("L'\\xffffffff'", Value::signed(-1)),
            (
                "u'a'",
                Value {
                    bits: 97,
                    unsigned: true,
                },
            ),
            ("'\"'", Value::signed(34)),
        ] {
            assert_eq!(character(text.as_bytes(), signs), Ok(value), "{text}");
        }
        for text in [
            "''", "'abcde'", "'\u{e9}'", "u8'a'", "L'ab'", "'\\400'", "'\\q'", "'\\x'", "'",
        ] {
            assert!(character(text.as_bytes(), signs).is_err(), "{text}");
        }
        let unsigned = Signs {
            char_unsigned: true,
            wide_unsigned: false,
        };
        assert_eq!(character(b"'\\377'", unsigned), Ok(Value::signed(255)));
    }
}
