//! A compiler with the words that it is asked with, and its answers: all in one run if it bears that, else in several. How
//! long it may take is bounded, and one that has said nothing in that time is left alone for a while.

use super::ask_compiler::{self, ask, Environment, Said};
use super::compiler_flags::{flags, names_relative_folder};
use super::questions::{self, Question, Values};
use crate::model::invocation::Invocation;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a compiler may take for one of its answers.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How long one that has not answered in time is not asked again.
const LEFT_ALONE: Duration = Duration::from_secs(60);

/// A compiler with the options that matter.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Key {
    /// Its file, absolute.
    pub program: Vec<u8>,
    /// Words that change its folders or macros.
    pub flags: Vec<OsString>,
    language: &'static str,
    /// Only where an option names a folder relative to it.
    pub cwd: Option<Vec<u8>>,
}

/// How it is asked.
#[derive(Clone, Debug)]
pub struct Manner {
    /// With these variables.
    pub environment: Environment,
    /// So long it may take for one answer.
    pub patience: Duration,
}

/// Why there is no answer.
#[derive(Clone, Debug)]
pub struct Unanswered {
    /// For people.
    pub why: String,
    /// It was given up; asked at once again it would be likely to take as long.
    pub too_slow: bool,
}

impl Unanswered {
    fn new(err: &io::Error) -> Unanswered {
        Unanswered {
            why: err.to_string(),
            too_slow: err.kind() == io::ErrorKind::TimedOut,
        }
    }
}

/// That a compiler was too slow, for as long as that counts.
#[derive(Clone, Debug)]
pub struct Silence {
    why: String,
    until: Instant,
}

impl Silence {
    /// From now on, if it was too slow.
    pub fn after(unanswered: &Unanswered) -> Option<Silence> {
        unanswered.too_slow.then(|| Silence {
            why: unanswered.why.clone(),
            until: Instant::now() + LEFT_ALONE,
        })
    }

    /// Why it is not asked now; None if it may be asked again.
    pub fn why(&self) -> Option<&str> {
        (Instant::now() < self.until).then_some(self.why.as_str())
    }
}

/// What a compiler has said of itself.
pub struct Introduced {
    /// Its folders and macros.
    pub said: Said,
    /// Its answers to what was asked in advance, if it was and has answered.
    pub values: Option<Values>,
    /// It did not come back from that.
    pub balks: bool,
}

impl Key {
    /// The compiler of a command that runs in `cwd`.
    pub fn new(program: &[u8], invocation: &Invocation, cwd: &[u8]) -> Key {
        let flags = flags(invocation);
        Key {
            program: program.to_vec(),
            cwd: names_relative_folder(&flags).then(|| cwd.to_vec()),
            language: invocation.language.option_value(),
            flags,
        }
    }

    /// Asks for folders and macros, and in the same run, if it is so `eager`, for what is asked in advance; starting a compiler
    /// takes longer than all its answers. One that stumbles over that, or does not come back from it, is asked for the rest
    /// alone.
    pub fn introduce(
        &self,
        cwd: &[u8],
        manner: &Manner,
        eager: bool,
    ) -> Result<Introduced, Unanswered> {
        const ALL: [&str; 3] = ["-E", "-dD", "-v"];
        let mut balks = false;
        if eager {
            let questions = questions::in_advance();
            let source = questions::source(&questions);
            match self.run(cwd, manner, &ALL, "-", &source) {
                Ok(said) => {
                    let values = questions::values(&questions, &said.output, &said.messages);
                    if said.success || values.is_some() {
                        return Ok(Introduced {
                            said,
                            values,
                            balks,
                        });
                    }
                }
                Err(err) => balks = err.kind() == io::ErrorKind::TimedOut,
            }
        }
        let said = self.run(cwd, manner, &ALL, "/dev/null", b"");
        let said = said.map_err(|err| Unanswered::new(&err))?;
        if !said.success {
            let error = ask_compiler::first_error(&said.messages);
            return Err(Unanswered {
                why: format!("can't ask it for its folders: {error}"),
                too_slow: false,
            });
        }
        Ok(Introduced {
            said,
            values: None,
            balks,
        })
    }

    /// Asks about its operators.
    pub fn values_of(
        &self,
        cwd: &[u8],
        manner: &Manner,
        questions: &[Question],
    ) -> Result<Values, Unanswered> {
        let source = questions::source(questions);
        let said = self.run(cwd, manner, &["-E", "-P"], "-", &source);
        let said = said.map_err(|err| Unanswered::new(&err))?;
        let values = questions::values(questions, &said.output, &said.messages);
        values.ok_or_else(|| Unanswered {
            why: format!(
                "can't ask it about its operators: {}",
                ask_compiler::first_error(&said.messages)
            ),
            too_slow: false,
        })
    }

    fn run(
        &self,
        cwd: &[u8],
        manner: &Manner,
        options: &[&str],
        source: &str,
        input: &[u8],
    ) -> io::Result<Said> {
        let mut words: Vec<&OsStr> = self.flags.iter().map(OsString::as_os_str).collect();
        words.extend(options.iter().map(OsStr::new));
        words.extend(["-x", self.language, source].map(OsStr::new));
        let program = Path::new(OsStr::from_bytes(&self.program));
        let cwd = Path::new(OsStr::from_bytes(cwd));
        let Manner {
            environment,
            patience,
        } = manner;
        ask(program, &words, cwd, environment, input, *patience)
    }
}
