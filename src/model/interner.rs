//! Names as numbers: every identifier, literal and header name that occurs in a directive has one number in this process.
//! Names are never forgotten; a build has some hundred thousand of them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError, RwLock};

/// The number of a name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Id(pub(crate) u32);

/// Writes the names that the engine itself knows, in order, so that their numbers are constants.
macro_rules! known {
    ($($constant:ident $text:literal)*) => {
        /// Names with numbers that are known beforehand.
        pub mod known {
            use super::Id;
            #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
            enum Number { $($constant),* }
            $(#[doc = concat!("`", $text, "`")] pub const $constant: Id = Id(Number::$constant as u32);)*
        }
        const KNOWN: &[&str] = &[$($text),*];
    };
}

known! {
    FILE "__FILE__"
    FILE_NAME "__FILE_NAME__"
    BASE_FILE "__BASE_FILE__"
    LINE "__LINE__"
    INCLUDE_LEVEL "__INCLUDE_LEVEL__"
    COUNTER "__COUNTER__"
    DATE "__DATE__"
    TIME "__TIME__"
    TIMESTAMP "__TIMESTAMP__"
    PRAGMA "_Pragma"
    HAS_INCLUDE "__has_include"
    HAS_INCLUDE_NEXT "__has_include_next"
    HAS_EMBED "__has_embed"
    HAS_ATTRIBUTE "__has_attribute"
    HAS_CPP_ATTRIBUTE "__has_cpp_attribute"
    HAS_C_ATTRIBUTE "__has_c_attribute"
    HAS_DECLSPEC_ATTRIBUTE "__has_declspec_attribute"
    HAS_BUILTIN "__has_builtin"
    HAS_CONSTEXPR_BUILTIN "__has_constexpr_builtin"
    HAS_FEATURE "__has_feature"
    HAS_EXTENSION "__has_extension"
    HAS_WARNING "__has_warning"
    IS_IDENTIFIER "__is_identifier"
    BUILDING_MODULE "__building_module"
    IS_TARGET_ARCH "__is_target_arch"
    IS_TARGET_VENDOR "__is_target_vendor"
    IS_TARGET_OS "__is_target_os"
    IS_TARGET_ENVIRONMENT "__is_target_environment"
    IS_TARGET_VARIANT_OS "__is_target_variant_os"
    IS_TARGET_VARIANT_ENVIRONMENT "__is_target_variant_environment"
    DEFINED "defined"
    TRUE "true"
    FALSE "false"
    AND "and"
    OR "or"
    NOT "not"
    BITAND "bitand"
    BITOR "bitor"
    XOR "xor"
    COMPL "compl"
    NOT_EQ "not_eq"
    AND_EQ "and_eq"
    OR_EQ "or_eq"
    XOR_EQ "xor_eq"
    VA_ARGS "__VA_ARGS__"
    VA_OPT "__VA_OPT__"
    CHAR_UNSIGNED "__CHAR_UNSIGNED__"
    WCHAR_UNSIGNED "__WCHAR_UNSIGNED__"
    CPLUSPLUS "__cplusplus"
    STDC_VERSION "__STDC_VERSION__"
    STRICT_ANSI "__STRICT_ANSI__"
    OBJC "__OBJC__"
    GNUC "__GNUC__"
    CLANG_MAJOR "__clang_major__"
    OPEN "("
    CLOSE ")"
    COMMA ","
    HASH "#"
    HASH_HASH "##"
    ELLIPSIS "..."
    PLUS "+"
    MINUS "-"
    STAR "*"
    SLASH "/"
    PERCENT "%"
    SHIFT_LEFT "<<"
    SHIFT_RIGHT ">>"
    LESS "<"
    GREATER ">"
    LESS_EQUAL "<="
    GREATER_EQUAL ">="
    EQUAL_EQUAL "=="
    NOT_EQUAL "!="
    AMPERSAND "&"
    PIPE "|"
    CARET "^"
    BOTH "&&"
    EITHER "||"
    EXCLAMATION "!"
    TILDE "~"
    QUESTION "?"
    COLON ":"
    SCOPE "::"
    EMPTY ""
}

/// The first names are macros that compilers make up where they stand; all before this one.
const DYNAMIC_END: Id = known::DEFINED;

impl Id {
    /// Is it the name of a macro that a compiler may have without a definition that it shows?
    pub fn is_dynamic(self) -> bool {
        self < DYNAMIC_END
    }

    /// The name.
    pub fn spelling(self) -> &'static [u8] {
        let spellings = INTERNER
            .spellings
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let index = usize::try_from(self.0).unwrap_or(usize::MAX);
        spellings.get(index).copied().unwrap_or_default()
    }
}

const SHARDS: usize = 64;

struct Interner {
    shards: [Mutex<Shard>; SHARDS],
    spellings: RwLock<Vec<&'static [u8]>>,
    bytes: AtomicUsize,
}

/// A hash table with open addressing: a slot holds a hash, and the name with its number.
#[derive(Default)]
struct Shard {
    slots: Vec<Option<(u64, Id, &'static [u8])>>,
    used: usize,
}

static INTERNER: LazyLock<Interner> = LazyLock::new(|| {
    let interner = Interner {
        shards: [const {
            Mutex::new(Shard {
                slots: Vec::new(),
                used: 0,
            })
        }; SHARDS],
        spellings: RwLock::new(Vec::new()),
        bytes: AtomicUsize::new(0),
    };
    for name in KNOWN {
        interner.intern(name.as_bytes());
    }
    interner
});

/// The number of `name`.
pub fn intern(name: &[u8]) -> Id {
    INTERNER.intern(name)
}

/// About how many bytes all names take; they are never given back.
pub fn memory() -> usize {
    INTERNER.bytes.load(Ordering::Relaxed)
}

impl Interner {
    fn intern(&self, name: &[u8]) -> Id {
        let hash = hash(name);
        let shard = &self.shards[(hash >> 58) as usize % SHARDS];
        lock(shard).intern(hash, name, self)
    }

    fn add(&self, name: &[u8]) -> (Id, &'static [u8]) {
        let kept: &'static [u8] = Box::leak(Box::from(name));
        self.bytes.fetch_add(name.len() + 80, Ordering::Relaxed);
        let mut spellings = self
            .spellings
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let id = Id(u32::try_from(spellings.len()).unwrap_or(u32::MAX));
        spellings.push(kept);
        (id, kept)
    }
}

impl Shard {
    fn intern(&mut self, hash: u64, name: &[u8], interner: &Interner) -> Id {
        if self.used * 2 >= self.slots.len() {
            self.grow();
        }
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            match self.slots[at] {
                Some((known, id, text)) if known == hash && text == name => return id,
                Some(_) => at = (at + 1) & mask,
                None => {
                    let (id, text) = interner.add(name);
                    self.slots[at] = Some((hash, id, text));
                    self.used += 1;
                    return id;
                }
            }
        }
    }

    fn grow(&mut self) {
        let room = (self.slots.len() * 2).max(64);
        let old = std::mem::replace(&mut self.slots, vec![None; room]);
        for entry in old.into_iter().flatten() {
            let mut at = entry.0 as usize & (room - 1);
            while self.slots[at].is_some() {
                at = (at + 1) & (room - 1);
            }
            self.slots[at] = Some(entry);
        }
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Eight bytes at a time, multiplied and folded.
fn hash(name: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |hash: u64, word: u64| {
        let product = u128::from(hash ^ word) * u128::from(FACTOR);
        (product as u64) ^ (product >> 64) as u64
    };
    let mut chunks = name.chunks_exact(8);
    let mut state = name.len() as u64;
    for chunk in &mut chunks {
        let word = <[u8; 8]>::try_from(chunk).map_or(0, u64::from_le_bytes);
        state = mix(state, word);
    }
    let mut last = [0; 8];
    last[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
    mix(mix(state, u64::from_le_bytes(last)), FACTOR)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_name_has_one_number() {
        let names: Vec<String> = (0..5000).map(|number| format!("name_{number}")).collect();
        let ids: Vec<Id> = names.iter().map(|name| intern(name.as_bytes())).collect();
        for (name, id) in names.iter().zip(&ids) {
            assert_eq!(intern(name.as_bytes()), *id);
            assert_eq!(id.spelling(), name.as_bytes());
        }
        let mut unique = ids.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), ids.len());
        assert!(memory() > 5000 * 6);
    }

    #[test]
    fn known_names_have_the_numbers_of_their_constants() {
        for (number, name) in KNOWN.iter().enumerate() {
            assert_eq!(intern(name.as_bytes()), Id(u32::try_from(number).unwrap()));
        }
        assert_eq!(intern(b"__VA_OPT__"), known::VA_OPT);
        assert!(intern(b"__has_include").is_dynamic() && !intern(b"defined").is_dynamic());
        assert!(intern(b"").spelling().is_empty());
    }

    #[test]
    fn threads_agree() {
        let all: Vec<Vec<Id>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        (0..2000)
                            .map(|n| intern(format!("shared{n}").as_bytes()))
                            .collect()
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
    }
}
