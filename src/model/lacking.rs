//! Names with a folder in them, as `boost/asio.hpp`, along the search path: where that folder is not, nothing in it is, so
//! that one answer does for all its headers. That holds where a header is at the folder's name and its own, put together: not
//! in frameworks.

use super::path_map::PathTable;

/// Which folders of the search path have which inner folders.
#[derive(Clone, Debug, Default)]
pub struct Lacking {
    /// Inner folders, as they are spelled in names.
    inner: PathTable,
    /// By their numbers.
    answers: Vec<Answers>,
}

/// A bit for each of the first folders of the search path; the others are asked each time.
#[derive(Clone, Copy, Debug, Default)]
struct Answers {
    asked: u64,
    lacking: u64,
}

impl Lacking {
    /// The number of the inner folder of a name, if it has one.
    pub fn number(&mut self, name: &[u8]) -> Option<usize> {
        let slash = name.iter().rposition(|byte| *byte == b'/')?;
        let (number, is_new) = self.inner.number(&name[..slash]);
        if is_new {
            self.answers.push(Answers::default());
        }
        Some(number)
    }

    /// Whether folder number `at` of the search path is known not to have it.
    pub fn lacks(&self, inner: usize, at: usize) -> bool {
        let answers = self.answers.get(inner).copied().unwrap_or_default();
        answers.lacking & bit(at) != 0
    }

    /// Something in it was not found in folder number `at`; `lacks` tells whether it is not there itself, and is asked once.
    pub fn note(&mut self, inner: usize, at: usize, lacks: impl FnOnce() -> bool) {
        let bit = bit(at);
        let Some(answers) = self.answers.get_mut(inner) else {
            return;
        };
        if answers.asked & bit == bit {
            return;
        }
        answers.asked |= bit;
        if lacks() {
            answers.lacking |= bit;
        }
    }
}

/// None for a folder that has no place.
fn bit(at: usize) -> u64 {
    u32::try_from(at)
        .ok()
        .and_then(|at| 1u64.checked_shl(at))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn one_answer_does_for_all_names_with_that_folder() {
        let mut lacking = Lacking::default();
        assert_eq!(lacking.number(b"stdio.h"), None);
        let boost = lacking.number(b"boost/asio.hpp").unwrap();
        assert_eq!(lacking.number(b"boost/any.hpp"), Some(boost));
        let deeper = lacking.number(b"boost/asio/ip.hpp").unwrap();
        assert_ne!(deeper, boost);

        lacking.note(boost, 1, || true);
        lacking.note(boost, 2, || false);
        // It is asked once.
        lacking.note(boost, 1, || panic!("asked again"));
        lacking.note(boost, 2, || panic!("asked again"));
        let lacks = |inner, at| lacking.lacks(inner, at);
        assert_eq!([0, 1, 2].map(|at| lacks(boost, at)), [false, true, false]);
        assert!(!lacks(deeper, 1));
    }

    #[test]
    fn folders_beyond_the_bits_are_asked_each_time() {
        let mut lacking = Lacking::default();
        let inner = lacking.number(b"sys/types.h").unwrap();
        for at in [63, 64, 128, usize::MAX] {
            lacking.note(inner, at, || true);
            assert_eq!(lacking.lacks(inner, at), at == 63, "{at}");
        }
        assert!(!lacking.lacks(inner, 0));
    }
}
