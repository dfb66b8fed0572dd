//! What the preprocessor engine says of a translation unit that it can't follow exactly: why. The job then goes another
//! way; a wrong answer would be worse than none.

use std::borrow::Cow;
use std::fmt;

/// A unit is left alone, for this reason.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Punt {
    /// One line for the log.
    pub reason: Cow<'static, str>,
}

impl Punt {
    /// For a reason in words.
    pub fn new(reason: impl Into<Cow<'static, str>>) -> Punt {
        Punt {
            reason: reason.into(),
        }
    }
}

impl fmt::Display for Punt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}
