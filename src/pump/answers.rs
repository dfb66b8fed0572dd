//! Answers that were given, each with everything that it depends on: the same question is answered again without any
//! analysis, once it has been made sure that nothing has changed.

use super::basis::Basis;
use super::clock::Epoch;
use super::content::{lock, Metered};
use super::place::{Place, Relied};
use super::reliance::is_below;
use super::reply::Reply;
use super::toolchain::Toolchain;
use super::tree::Tree;
use crate::model::direct::Query;
use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Below it compilers are replaced by the system's own installer. What is elsewhere may be written by a linker at any time,
/// through a map, of which watches tell nothing.
const INSTALLED: &[u8] = b"/usr";

/// What an analysis came to.
#[derive(Debug)]
pub enum Outcome {
    /// The files.
    Covered(Box<Reply>),
    /// Why they can't be named.
    NotCovered(String),
}

/// An outcome and what it depends on.
#[derive(Debug)]
pub struct Answer {
    /// What it is.
    pub outcome: Outcome,
    toolchain: Option<Arc<Toolchain>>,
    basis: Basis,
    covered: AtomicBool,
    used: AtomicU64,
    metered: Option<Metered>,
}

impl Answer {
    /// An answer that depends on nothing that could be looked at again, so that it can't be given twice.
    pub fn once(outcome: Outcome) -> Answer {
        Answer {
            outcome,
            toolchain: None,
            basis: Basis::default(),
            covered: AtomicBool::new(true),
            used: AtomicU64::new(0),
            metered: None,
        }
    }

    /// An answer that holds while everything that it depends on is as it was.
    pub fn relying(outcome: Outcome, toolchain: Arc<Toolchain>, relied: [Relied; 2]) -> Answer {
        Answer {
            toolchain: Some(toolchain),
            basis: Basis::new(relied),
            covered: AtomicBool::new(false),
            ..Answer::once(outcome)
        }
    }

    fn is_valid(&self, tree: &Tree, epoch: Epoch) -> bool {
        let Some(toolchain) = &self.toolchain else {
            return false;
        };
        toolchain.is_valid(tree, epoch) && self.basis.holds(tree, epoch)
    }

    /// To be called when the answer is on its way: watches the system's folders, those of compilers included, so that the
    /// next one costs less.
    pub fn cover(&self, tree: &Tree) {
        if self.covered.swap(true, Ordering::AcqRel) {
            return;
        }
        for (place, _) in &self.basis.system {
            tree.cover(place.parent());
        }
        let relied = self.toolchain.iter().flat_map(|known| known.relied());
        for (place, _) in relied {
            if is_below(place.parent().path(), INSTALLED) {
                tree.cover(place.parent());
            }
        }
    }

    fn memory(&self, key: &[u8]) -> usize {
        let relied = self.basis.count() * size_of::<(Arc<Place>, u64)>();
        let outcome = match &self.outcome {
            Outcome::Covered(reply) => reply.memory(),
            Outcome::NotCovered(why) => why.len(),
        };
        size_of::<Answer>() + key.len() + relied + outcome
    }
}

/// All answers that are remembered.
#[derive(Debug, Default)]
pub struct Answers {
    known: Mutex<HashMap<Box<[u8]>, Arc<Answer>>>,
    meter: Arc<AtomicUsize>,
}

/// What tells one question from another: everything that is asked, with the command as it was understood.
pub fn key(query: &Query, argv: &[OsString]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1024);
    key.push(u8::from(query.hermetic) | u8::from(query.for_stock) << 1);
    let mut put = |part: &[u8]| {
        key.extend_from_slice(part);
        key.push(0);
    };
    put(&query.cwd);
    put(&query.pwd);
    put(&query.program);
    for variable in &query.variables {
        put(variable);
    }
    put(b"");
    for word in argv {
        put(word.as_bytes());
    }
    key
}

impl Answers {
    /// The answer to a question, if everything that it depends on is as it was.
    pub fn get(&self, key: &[u8], tree: &Tree, epoch: Epoch) -> Option<Arc<Answer>> {
        let answer = lock(&self.known).get(key).cloned()?;
        if !answer.is_valid(tree, epoch) {
            return None;
        }
        answer.used.store(epoch, Ordering::Relaxed);
        Some(answer)
    }

    /// Remembers an answer.
    pub fn put(&self, key: Vec<u8>, mut answer: Answer, epoch: Epoch) -> Arc<Answer> {
        answer.metered = Some(Metered::new(&self.meter, answer.memory(&key)));
        answer.used.store(epoch, Ordering::Relaxed);
        let answer = Arc::new(answer);
        lock(&self.known).insert(key.into(), Arc::clone(&answer));
        answer
    }

    /// How much memory they take, in bytes, without what they share with the contents of files.
    pub fn memory(&self) -> usize {
        self.meter.load(Ordering::Relaxed)
    }

    /// How many are remembered.
    pub fn count(&self) -> usize {
        lock(&self.known).len()
    }

    /// Forgets the half that was not given for the longest time.
    pub fn forget_half(&self) {
        let mut known = lock(&self.known);
        let used = |answer: &Arc<Answer>| answer.used.load(Ordering::Relaxed);
        let mut uses: Vec<u64> = known.values().map(used).collect();
        uses.sort_unstable();
        let middle = uses.get(uses.len() / 2).copied().unwrap_or_default();
        known.retain(|_, answer| used(answer) > middle);
    }
}
