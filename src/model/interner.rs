//! Names as numbers: every identifier, literal and header name that occurs in a directive has one number in this process.
//! Names are never forgotten; a build has some hundred thousand of them.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, OnceLock, PoisonError};

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
        INTERNER.spellings.get(self.0)
    }
}

/// Names are looked up without a lock, which only a new one takes: what is written once is never changed.
struct Interner {
    /// Hash tables, each with twice the room of the one before; the last that there is has all names.
    tables: [OnceLock<Box<[AtomicU64]>>; TABLES],
    /// Number of the last table.
    last: AtomicUsize,
    spellings: Spellings,
    adding: Mutex<Adding>,
    bytes: AtomicUsize,
}

/// What only whoever adds a name needs.
#[derive(Default)]
struct Adding {
    used: u32,
    /// Memory for the text of names to come.
    room: &'static mut [u8],
}

/// How many tables there may be: the last one would have a slot for each number.
const TABLES: usize = 19;

/// Slots of the first table, as a power of two.
const FIRST_BITS: u32 = 14;

/// How much memory is taken at once for the text of names, in bytes.
const ROOM_BYTES: usize = 64 << 10;

static INTERNER: LazyLock<Interner> = LazyLock::new(|| {
    let interner = Interner {
        tables: [const { OnceLock::new() }; TABLES],
        last: AtomicUsize::new(0),
        spellings: Spellings::default(),
        adding: Mutex::default(),
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
        match self.find(hash, name) {
            Ok(id) => id,
            Err(_) => self.add(hash, name),
        }
    }

    fn table(&self, number: usize) -> &[AtomicU64] {
        let empty = || (0..1usize << (FIRST_BITS as usize + number)).map(|_| AtomicU64::new(0));
        self.tables[number].get_or_init(|| empty().collect())
    }

    /// The number of a name, or the slot that it would have. A slot holds the hash, and the number plus one.
    fn find(&self, hash: u32, name: &[u8]) -> Result<Id, &AtomicU64> {
        let table = self.table(self.last.load(Ordering::Acquire));
        let mask = table.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let slot = table[at].load(Ordering::Acquire);
            if slot == 0 {
                return Err(&table[at]);
            }
            let id = Id((slot as u32).wrapping_sub(1));
            if slot >> 32 == u64::from(hash) && self.spellings.get(id.0) == name {
                return Ok(id);
            }
            at = (at + 1) & mask;
        }
    }

    fn add(&self, hash: u32, name: &[u8]) -> Id {
        let mut adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let last = self.last.load(Ordering::Acquire);
        // A third stays free: emptier ones would take more memory, and the first touch of that costs most.
        if adding.used as usize * 3 >= self.table(last).len() * 2 && last + 1 < TABLES {
            self.grow(last + 1);
        }
        // Another thread may have been faster.
        let slot = match self.find(hash, name) {
            Ok(id) => return id,
            Err(slot) => slot,
        };
        let id = Id(adding.used);
        self.spellings.put(id.0, adding.keep(name));
        self.bytes.fetch_add(name.len() + 64, Ordering::Relaxed);
        adding.used += 1;
        let hash = u64::from(hash) << 32;
        slot.store(hash | u64::from(adding.used), Ordering::Release);
        id
    }

    /// Makes the next table from the one before.
    fn grow(&self, number: usize) {
        let table = self.table(number);
        let mask = table.len() - 1;
        for slot in self.table(number - 1) {
            let slot = slot.load(Ordering::Relaxed);
            if slot == 0 {
                continue;
            }
            let mut at = (slot >> 32) as usize & mask;
            while table[at].load(Ordering::Relaxed) != 0 {
                at = (at + 1) & mask;
            }
            table[at].store(slot, Ordering::Relaxed);
        }
        self.last.store(number, Ordering::Release);
    }
}

impl Adding {
    /// The same text, for ever.
    fn keep(&mut self, name: &[u8]) -> &'static [u8] {
        if self.room.len() < name.len() {
            let bytes = ROOM_BYTES.max(name.len());
            self.room = Box::leak(vec![0; bytes].into_boxed_slice());
        }
        let (text, room) = std::mem::take(&mut self.room).split_at_mut(name.len());
        self.room = room;
        text.copy_from_slice(name);
        text
    }
}

/// The names by their numbers, in parts of which each is twice as large as the one before.
struct Spellings([OnceLock<Part>; TABLES]);

/// Names with numbers that follow one another.
type Part = Box<[OnceLock<&'static [u8]>]>;

impl Default for Spellings {
    fn default() -> Self {
        Spellings([const { OnceLock::new() }; TABLES])
    }
}

impl Spellings {
    /// In which part a number is, and where there.
    fn place(number: u32) -> (usize, usize) {
        let from_first = u64::from(number) + (1 << FIRST_BITS);
        let part = from_first.ilog2() - FIRST_BITS;
        let at = from_first - (1 << (part + FIRST_BITS));
        (part as usize, at as usize)
    }

    /// The name of a number; empty if there is none.
    fn get(&self, number: u32) -> &'static [u8] {
        let (part, at) = Self::place(number);
        let part = self.0.get(part).and_then(OnceLock::get);
        let name = part.and_then(|part| part.get(at)).and_then(OnceLock::get);
        name.copied().unwrap_or_default()
    }

    fn put(&self, number: u32, name: &'static [u8]) {
        let (part, at) = Self::place(number);
        let Some(place) = self.0.get(part) else {
            return;
        };
        let room = 1usize << (part + FIRST_BITS as usize);
        let part = place.get_or_init(|| (0..room).map(|_| OnceLock::new()).collect());
        if let Some(place) = part.get(at) {
            // A number is given away once.
            let _ = place.set(name);
        }
    }
}

/// Eight bytes at a time, multiplied and folded.
fn hash(name: &[u8]) -> u32 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |hash: u64, word: u64| {
        let product = u128::from(hash ^ word) * u128::from(FACTOR);
        (product as u64) ^ (product >> 64) as u64
    };
    let mut state = name.len() as u64;
    let mut rest = name;
    while let Some((word, after)) = rest.split_first_chunk() {
        state = mix(state, u64::from_le_bytes(*word));
        rest = after;
    }
    let last = match (name.last_chunk(), rest) {
        (_, []) => 0,
        // Some of it was in the word before, which does no harm.
        (Some(last), _) => u64::from_le_bytes(*last),
        (None, short) => short
            .iter()
            .fold(0, |word, byte| word << 8 | u64::from(*byte)),
    };
    mix(mix(state, last), FACTOR) as u32
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_name_has_one_number() {
        let names: Vec<String> = (0..20_000).map(|number| format!("name_{number}")).collect();
        let ids: Vec<Id> = names.iter().map(|name| intern(name.as_bytes())).collect();
        for (name, id) in names.iter().zip(&ids) {
            assert_eq!(intern(name.as_bytes()), *id);
            assert_eq!(id.spelling(), name.as_bytes());
        }
        let mut unique = ids.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), ids.len());
        assert!(memory() > 20_000 * 6);
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
    fn numbers_have_their_places_in_parts_that_grow() {
        let first = 1 << FIRST_BITS;
        for (number, place) in [
            (0, (0, 0)),
            (first - 1, (0, first as usize - 1)),
            (first, (1, 0)),
            (3 * first - 1, (1, 2 * first as usize - 1)),
            (3 * first, (2, 0)),
        ] {
            assert_eq!(Spellings::place(number), place);
        }
        assert!(Spellings::place(u32::MAX).0 < TABLES);
        assert!(Id(u32::MAX).spelling().is_empty());
    }

    #[test]
    fn threads_agree() {
        let all: Vec<Vec<Id>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        (0..20_000)
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
