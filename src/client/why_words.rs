//! What `distcc why` says of each word, in agreement with what it says of the whole command: a word is the cause of a
//! verdict if that is another one without it.

use super::remote::Job;
use crate::farm::cross::Compiler;
use crate::model::expand::expand;
use crate::model::explain::{explain, Does, Effect};
use crate::model::invocation::{scan, Invocation, Reason, Role, Scan};
use crate::model::pump_words;
use crate::os::files::read_plain_file;
use std::env;
use std::ffi::OsString;

/// Why a command does not go one of the ways.
#[derive(Clone, Copy, Debug)]
pub struct Barred<'w> {
    /// As text.
    pub text: Option<&'w str>,
    /// In pump mode.
    pub pump: Option<&'w str>,
    /// A host takes it, in one way or the other.
    pub is_sent: bool,
}

/// What each word does to begin with, response files expanded.
pub fn effects(argv: &[OsString]) -> Vec<Effect> {
    explain(&expand(argv, &read_plain_file))
}

/// The same where a native processor can't be told to other machines.
pub fn without_native(argv: &[OsString], why: &Reason) -> Vec<Effect> {
    let mut all = effects(argv);
    for effect in all.iter_mut().filter(|effect| effect.does == Does::Native) {
        effect.does = Does::Keep(why.clone());
    }
    all
}

/// The same of a command that may travel, with what bars it from a way.
pub fn with_verdict(argv: &[OsString], compiler: &Compiler, barred: Barred) -> Vec<Effect> {
    let all = effects(argv);
    let words = |all: &[Effect]| -> Vec<OsString> {
        all.iter().flat_map(|effect| effect.words.clone()).collect()
    };
    let whole = words(&all);
    let cause = |index: usize, why: Option<&str>, bar: Bar| {
        let (why, effect) = (why?, all.get(index)?);
        let is_other = || {
            let mut rest = all.clone();
            rest.remove(index);
            // What only a look at files or hosts brought to light is no word's doing.
            let is_of_words =
                says(&whole, compiler, bar).is_some_and(|bar| bar.as_deref() == Some(why));
            is_of_words
                && says(&words(&rest), compiler, bar).is_some_and(|bar| bar.as_deref() != Some(why))
        };
        (names(why, effect) || is_other()).then(|| Reason::new(why.to_owned()))
    };
    let mut told = all.clone();
    for (index, effect) in told.iter_mut().enumerate() {
        if !may_be_cause(&effect.does) {
            continue;
        }
        let text = cause(index, barred.text, text_bar);
        let pump = cause(index, barred.pump, pump_bar);
        let is_ours = matches!(effect.does, Does::OnlyOurs(_));
        effect.does = match (text, pump) {
            (Some(why), _) | (None, Some(why)) if !barred.is_sent => Does::Keep(why),
            (Some(why), None) if !is_ours => Does::PumpOnly(why),
            (None, Some(why)) => Does::TextOnly(why),
            _ => continue,
        };
    }
    told
}

/// Whether nothing has been said yet of these words that would forbid a way.
fn may_be_cause(does: &Does) -> bool {
    use Role::{Code, Define, Dependency, Include, Language, Preprocess};
    matches!(
        does,
        Does::Native
            | Does::OnlyOurs(_)
            | Does::Serve(Code | Define | Dependency | Include | Language | Preprocess)
    )
}

/// What bars a compile from a way, if anything does.
type Bar = fn(&Invocation, &Compiler) -> Option<String>;

/// That of a command, if it is one that may be sent.
fn says(argv: &[OsString], compiler: &Compiler, bar: Bar) -> Option<Option<String>> {
    match scan(argv, &|_| None) {
        Scan::Distributable(invocation) => Some(bar(&invocation, compiler)),
        Scan::Local(_) => None,
    }
}

fn names(why: &str, effect: &Effect) -> bool {
    let word = effect.words.first().map(|word| word.to_string_lossy());
    let rest = word.and_then(|word| why.strip_prefix(&*word));
    rest.is_some_and(|rest| rest.starts_with(' '))
}

fn text_bar(invocation: &Invocation, compiler: &Compiler) -> Option<String> {
    Job::new(invocation, compiler, false).err()
}

fn pump_bar(invocation: &Invocation, compiler: &Compiler) -> Option<String> {
    let lookup = |name: &str| env::var_os(name);
    let words = pump_words::server_words(invocation, compiler.family, false, &lookup);
    words.err().map(|why| why.to_string())
}
