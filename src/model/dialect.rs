//! What differs between languages, standards and compilers in how a file's text falls into tokens. Scans of one file
//! for two dialects that are equal are equal.

use super::family::Family;

/// The rules by which text is read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Dialect {
    /// Where they differ, clang's rules, not gcc's.
    pub clang: bool,
    /// `R"(…)"`
    pub raw_strings: bool,
    /// `1'000`
    pub digit_separators: bool,
    /// `??=` is `#`.
    pub trigraphs: bool,
    /// `%:` is `#`.
    pub digraphs: bool,
    /// `//` does not always start a comment: strict C90.
    pub strict_c90: bool,
    /// `#elifdef` and `#elifndef` are directives.
    pub elifdef: bool,
    /// `import` and `module` at the start of a line may be directives.
    pub modules: bool,
    /// `@import` may be.
    pub objective: bool,
}

/// What the predefined macros say about a compiler and its options.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Standard {
    /// `__cplusplus`, 0 if it is not C++.
    pub cplusplus: u64,
    /// `__STDC_VERSION__`, 0 in C90 and C++.
    pub stdc_version: u64,
    /// `__STRICT_ANSI__`: `-std=c…`, not `-std=gnu…`.
    pub strict: bool,
    /// `__OBJC__`
    pub objective: bool,
    /// `__clang_major__` or `__GNUC__`.
    pub major: u64,
}

impl Dialect {
    /// `trigraphs`: what options say of them, if any does.
    pub fn new(family: Family, standard: &Standard, trigraphs: Option<bool>) -> Dialect {
        let clang = family == Family::Clang;
        let cxx = standard.cplusplus;
        let c = standard.stdc_version;
        let c90 = cxx == 0 && c < 199_901;
        Dialect {
            clang,
            raw_strings: cxx >= 201_103 || (!clang && c >= 199_901 && !standard.strict),
            digit_separators: cxx >= 201_402 || c > 201_710,
            trigraphs: trigraphs.unwrap_or(standard.strict && cxx < 201_703 && c <= 201_710),
            digraphs: !(c90 && standard.strict && c < 199_409),
            strict_c90: c90 && standard.strict,
            elifdef: match clang {
                true => standard.major >= 13,
                false => standard.major >= 12 && (!standard.strict || c > 201_710 || cxx > 202_002),
            },
            modules: clang && cxx > 201_703,
            objective: standard.objective,
        }
    }
}
