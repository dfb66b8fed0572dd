//! What each word of a compiler's command does to a distributed compile, for people: each group of words is put to the
//! same walk that decides on whole commands.

use super::command_line::{walk, Side, Walk};
use super::compiler_options::{Reason, Role};
use super::option_table;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// A word, with its value if that is a word of its own, and what it does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Effect {
    /// The words as they stand in the command.
    pub words: Vec<OsString>,
    /// What they do.
    pub does: Does,
}

/// What becomes of words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Does {
    /// They are for this.
    Serve(Role),
    /// They mean this machine's processor.
    Native,
    /// They are sent to daemons of ours only, in pump mode.
    OnlyOurs(Reason),
    /// They are sent, but this command goes in pump mode only, since it has them.
    PumpOnly(Reason),
    /// They are sent, but this command goes as text only, since it has them.
    TextOnly(Reason),
    /// They keep the command on this machine.
    Keep(Reason),
}

impl Does {
    /// One word that stays the same, for programs.
    pub fn key(&self) -> &'static str {
        match self {
            Does::Serve(Role::Program) => "compiler",
            Does::Serve(Role::Input) => "source",
            Does::Serve(Role::Output) => "output",
            Does::Serve(Role::Step) => "step",
            Does::Serve(Role::Language) => "language",
            Does::Serve(Role::Define | Role::Preprocess) => "preprocessor",
            Does::Serve(Role::Include) => "headers",
            Does::Serve(Role::Dependency) => "dependencies",
            Does::Serve(Role::Side) => "files",
            Does::Serve(Role::Linker) => "nothing",
            Does::Serve(Role::Code) => "code",
            Does::Native => "native",
            Does::OnlyOurs(_) => "only-ours",
            Does::PumpOnly(_) => "only-pump",
            Does::TextOnly(_) => "only-text",
            Does::Keep(_) => "keeps",
        }
    }
}

impl Effect {
    /// In words.
    pub fn text(&self) -> String {
        let text = match &self.does {
            Does::Keep(reason) => return format!("keeps it here: {}", self.why(reason)),
            Does::OnlyOurs(reason) => {
                let why = self.why(reason);
                return format!("sent in pump mode only, to a distccd of this version: {why}");
            }
            Does::PumpOnly(reason) => {
                return format!("sent, in pump mode only: {}", self.why(reason));
            }
            Does::TextOnly(reason) => {
                return format!("sent, but not in pump mode: {}", self.why(reason));
            }
            Does::Native => "this machine's processor: sent as what it means here",
            Does::Serve(Role::Program) => "the compiler",
            Does::Serve(Role::Input) => "the source",
            Does::Serve(Role::Output) => "the output, which is written here",
            Does::Serve(Role::Step) => "says what is made: sent",
            Does::Serve(Role::Language) => "the language: sent",
            Does::Serve(Role::Define | Role::Preprocess) => {
                "for the preprocessor: sent in pump mode only"
            }
            Does::Serve(Role::Include) => "names headers or their folders: sent in pump mode only",
            Does::Serve(Role::Dependency) => "the dependency file, which is written here",
            Does::Serve(Role::Side) => "makes files beside the object: sent in pump mode only",
            Does::Serve(Role::Linker) => "changes no object",
            Does::Serve(Role::Code) => "sent",
        };
        text.to_owned()
    }

    /// The reason, without the word that stands before it.
    fn why(&self, reason: &Reason) -> String {
        let text = reason.to_string();
        let word = self.words.first().map(|word| word.to_string_lossy());
        let rest = word.and_then(|word| text.strip_prefix(&*word));
        rest.map_or(text.clone(), |rest| rest.trim_start().to_owned())
    }
}

/// Says of each word of a command what it does; response files are to be expanded before.
pub fn explain(argv: &[OsString]) -> Vec<Effect> {
    let mut effects = Vec::new();
    let Some((program, rest)) = argv.split_first() else {
        return effects;
    };
    effects.push(Effect {
        words: vec![program.clone()],
        does: Does::Serve(Role::Program),
    });
    let mut rest = rest;
    while let Some(first) = rest.first() {
        let takes_next = option_table::find(first.as_bytes()).is_some_and(|found| found.takes_next);
        let is_option = first.as_bytes().starts_with(b"-");
        let count = if is_option && takes_next { 2 } else { 1 };
        let (words, more) = rest.split_at(count.min(rest.len()));
        effects.push(Effect {
            words: words.to_vec(),
            does: does(program, words),
        });
        rest = more;
    }
    effects
}

fn does(program: &OsString, words: &[OsString]) -> Does {
    let words: Vec<&[u8]> = [program]
        .into_iter()
        .chain(words)
        .map(|word| word.as_bytes())
        .collect();
    // A language is judged by the source that it is for.
    let is_language = words.get(1).is_some_and(|word| word.starts_with(b"-x"));
    let mut walked = words.clone();
    if is_language {
        walked.push(b"x.c");
    }
    match walk(&walked, Side::Client) {
        Err(reason) => Does::Keep(reason),
        Ok(Walk { native: true, .. }) => Does::Native,
        Ok(Walk {
            only_ours: Some(reason),
            ..
        }) => Does::OnlyOurs(reason),
        Ok(walk) => match walk.roles.get(1) {
            Some(role) => Does::Serve(*role),
            None => Does::Keep(Reason::Empty),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(command: &str) -> Vec<String> {
        let argv: Vec<OsString> = command.split(' ').map(OsString::from).collect();
        let effects = explain(&argv);
        let shown = effects.iter().map(|effect| {
            let words: Vec<_> = effect
                .words
                .iter()
                .map(|word| word.to_string_lossy())
                .collect();
            format!("{}: {}", words.join(" "), effect.text())
        });
        shown.collect()
    }

    #[test]
    fn each_word_has_its_effect() {
        for (command, at, line) in [
            ("gcc -c x.c", 0, "gcc: the compiler"),
            ("gcc -c x.c", 1, "-c: says what is made: sent"),
            ("gcc -c x.c", 2, "x.c: the source"),
            (
                "gcc -I inc -c x.c",
                1,
                "-I inc: names headers or their folders: sent in pump mode only",
            ),
            ("gcc -x c++ x", 1, "-x c++: the language: sent"),
            (
                "gcc -x go x",
                1,
                "-x go: keeps it here: go is not compiled elsewhere",
            ),
            ("gcc -o x.o", 1, "-o x.o: the output, which is written here"),
            (
                "gcc -march=native",
                1,
                "-march=native: this machine's processor: sent as what it means here",
            ),
            (
                "gcc -save-temps",
                1,
                "-save-temps: makes files beside the object: sent in pump mode only",
            ),
            (
                "gcc -flto",
                1,
                "-flto: sent in pump mode only, to a distccd of this version: leaves optimisation to the linker",
            ),
            (
                "gcc -Wa,-al",
                1,
                "-Wa,-al: keeps it here: -Wa, with -al must run here",
            ),
            (
                "gcc -Wp,-MD,x.d",
                1,
                "-Wp,-MD,x.d: the dependency file, which is written here",
            ),
            ("gcc -MF", 1, "-MF: keeps it here: lacks its value"),
            (
                "gcc -nonsense",
                1,
                "-nonsense: keeps it here: is not a known option",
            ),
            (
                "gcc a.o",
                1,
                "a.o: keeps it here: is no C, C++ or Objective-C source; called for link?",
            ),
            ("gcc -", 1, "-: keeps it here: the source is standard input"),
            ("gcc -lm", 1, "-lm: changes no object"),
        ] {
            assert_eq!(
                lines(command).get(at).map(String::as_str),
                Some(line),
                "{command}"
            );
        }
        assert!(explain(&[]).is_empty());
    }
}
