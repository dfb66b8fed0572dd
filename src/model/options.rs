//! Which of the compiler's own macros may be others after `#pragma GCC target` or `optimize`: in a real compile gcc defines
//! and undefines them then; with `-E` it does not.

use super::dialect::Standard;
use super::directives::Change;

/// What pragmas have changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Changed {
    target: bool,
    optimization: bool,
}

/// The options as they are at some point of the walk.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The compiler heeds the pragmas.
    heeded: bool,
    now: Changed,
    pushed: Vec<Changed>,
    /// A macro's body holds such a pragma; where that is used nobody knows.
    unknown: bool,
}

impl Options {
    /// At the beginning.
    pub(super) fn new(standard: &Standard, clang: bool) -> Options {
        /// From this version on gcc heeds the pragmas of C++ in time.
        const CXX_SINCE: u64 = 13;
        Options {
            heeded: !clang && (standard.cplusplus == 0 || standard.major >= CXX_SINCE),
            ..Options::default()
        }
    }

    /// A pragma was met.
    pub(super) fn change(&mut self, change: Change) {
        match change {
            Change::Target => self.now.target = true,
            Change::Optimize => self.now.optimization = true,
            Change::Push => self.pushed.push(self.now),
            Change::Pop => self.now = self.pushed.pop().unwrap_or(self.now),
            Change::Reset => self.now = Changed::default(),
            Change::Unknown => self.unknown = true,
        }
    }

    /// May any macro have been changed?
    pub(super) fn are_changed(&self) -> bool {
        self.heeded && (self.unknown || self.now != Changed::default())
    }

    /// Do they decide whether the compiler defines a macro of this name, and how?
    pub(super) fn decide(&self, name: &[u8]) -> bool {
        const NEVER: [&[u8]; 15] = [
            b"__cplusplus",
            b"__GNUC",
            b"__STDC",
            b"__STRICT_ANSI__",
            b"__has_",
            b"__clang",
            b"__linux",
            b"__unix",
            b"__x86_64",
            b"__i386",
            b"__iamcu",
            b"__LP64__",
            b"__ILP32__",
            b"__ELF__",
            b"__need_",
        ];
        const OF_OPTIMIZATION: [&[u8]; 3] =
            [b"__OPTIMIZE__", b"__OPTIMIZE_SIZE__", b"__NO_INLINE__"];
        let is_own = name.starts_with(b"__") && !NEVER.iter().any(|head| name.starts_with(head));
        let of_optimization = OF_OPTIMIZATION.contains(&name);
        is_own && (self.unknown || self.now.optimization || !of_optimization)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pragmas_change_what_they_decide() {
        let c = Standard {
            major: 12,
            ..Standard::default()
        };
        let mut options = Options::new(&c, false);
        options.change(Change::Push);
        assert!(!options.are_changed());
        options.change(Change::Target);
        assert!(options.are_changed() && options.decide(b"__AVX2__"));
        assert!(!options.decide(b"__OPTIMIZE__") && !options.decide(b"HAVE_X"));
        options.change(Change::Optimize);
        assert!(options.decide(b"__OPTIMIZE__") && !options.decide(b"__GNUC__"));
        options.change(Change::Pop);
        assert!(!options.are_changed());
        options.change(Change::Unknown);
        options.change(Change::Reset);
        assert!(options.are_changed());
        let cxx = Standard {
            cplusplus: 201_703,
            ..c
        };
        for (standard, clang) in [(cxx, false), (c, true)] {
            let mut options = Options::new(&standard, clang);
            options.change(Change::Target);
            assert!(!options.are_changed());
        }
    }
}
