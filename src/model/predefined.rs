//! What a compiler says of itself before the first line of a source: `cc FLAGS -E -dD -x LANGUAGE FILE`, where FILE is
//! empty, without the user's own macros and headers.

use super::dialect::{Dialect, Standard};
use super::family::Family;
use super::punt::Punt;
use super::source_scan::Scan;

/// A compiler with those options that change its macros.
#[derive(Debug)]
pub struct Compiler {
    /// Whose rules it follows.
    pub family: Family,
    /// How it reads text; scans for its units are made with this.
    pub dialect: Dialect,
    /// The language and its standard.
    pub standard: Standard,
    /// The header that it includes by itself, if any: `stdc-predef.h`.
    pub preinclude: Option<Vec<u8>>,
    /// Its own macros.
    pub predefined: Scan,
}

impl Compiler {
    /// Reads what `-E -dD` printed for an empty source. `trigraphs`: the command has `-trigraphs`.
    ///
    /// # Errors
    /// The text does not look as it should.
    pub fn read(family: Family, text: &[u8], trigraphs: bool) -> Result<Compiler, Punt> {
        let standard = Standard::default();
        let dialect = Dialect::new(family, &standard, trigraphs);
        Ok(Compiler {
            family,
            dialect,
            standard,
            preinclude: None,
            predefined: Scan::new(text, dialect),
        })
    }
}
