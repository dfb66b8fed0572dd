//! What `distcc why` finds, as values: shown as a text for people, or as JSON for programs with keys that stay.

use super::report::{quoted, Report};
use crate::model::explain::{Does, Effect};
use serde::Serialize;
use std::ffi::OsString;

/// All that is told of one command; the names of the fields are those of the JSON object, which distcc(1) lists.
#[derive(Debug, Default, Serialize)]
pub struct Account {
    /// One sentence.
    pub verdict: String,
    /// Whether a host could take it.
    pub remote: bool,
    /// The words of the command, those that keep it here first.
    pub words: Vec<Word>,
    /// How it would go as text, unless the command can't be sent at all.
    pub text: Option<Text>,
    /// How it would go in pump mode, likewise.
    pub pump: Option<Files>,
    /// Where the host list is from.
    pub hosts_from: Option<String>,
    /// The hosts of the list.
    pub hosts: Vec<Host>,
    /// The variables that are set and matter.
    pub variables: Vec<Variable>,
}

/// A word, with its value if that is one of its own.
#[derive(Debug, Serialize)]
pub struct Word {
    /// As they stand in the command.
    pub words: Vec<String>,
    /// What they do, in one word; see [`Does::key`].
    pub effect: &'static str,
    /// What they do, for people.
    pub says: String,
}

/// The way of preprocessed text.
#[derive(Debug, Default, Serialize)]
pub struct Text {
    /// Why it does not go so.
    pub why_not: Option<String>,
    /// What runs here; nothing if it is preprocessed already.
    pub here: Option<Vec<String>>,
    /// What a host runs.
    pub host: Option<Vec<String>>,
}

/// The way of pump mode.
#[derive(Debug, Default, Serialize)]
pub struct Files {
    /// Why it does not go so.
    pub why_not: Option<String>,
    /// How many files travel.
    pub files: u64,
    /// How many links.
    pub links: u64,
    /// How many bytes the files have as they travel.
    pub bytes: u64,
    /// What a host runs.
    pub host: Option<Vec<String>>,
}

/// A host of the list.
#[derive(Debug, Serialize)]
pub struct Host {
    /// As the list has it.
    pub host: String,
    /// Whether it would take the job now.
    pub takes: bool,
    /// What it would do, for people.
    pub says: String,
}

/// A variable that is set.
#[derive(Debug, Serialize)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// What it does, for people.
    pub says: String,
}

impl Word {
    /// Of what is known of the words.
    pub fn of(effect: &Effect) -> Word {
        Word {
            words: strings(&effect.words),
            effect: effect.does.key(),
            says: effect.text(),
        }
    }
}

/// Words as text; what is not UTF-8 is replaced.
pub fn strings(words: &[OsString]) -> Vec<String> {
    let text = |word: &OsString| word.to_string_lossy().into_owned();
    words.iter().map(text).collect()
}

impl Account {
    /// What is said of each word.
    pub fn tell_words(&mut self, mut effects: Vec<Effect>) {
        effects.sort_by_key(|effect| !matches!(effect.does, Does::Keep(_)));
        self.words = effects.iter().map(Word::of).collect();
    }

    /// For people.
    pub fn shown(&self) -> String {
        let mut report = Report::default();
        report.line(&self.verdict);
        let words = self.words.iter();
        let words: Vec<_> = words
            .map(|word| (shell(&word.words), word.says.clone()))
            .collect();
        report.section("Words", &words);
        if let Some(text) = &self.text {
            report.section("Preprocessed here, as text", &text.lines());
        }
        if let Some(pump) = &self.pump {
            report.section("In pump mode", &pump.lines());
        }
        let from = self.hosts_from.as_ref();
        let from = from.map_or(String::new(), |from| format!(", from {from}"));
        let hosts = self.hosts.iter();
        let hosts: Vec<_> = hosts
            .map(|host| (host.host.clone(), host.says.clone()))
            .collect();
        report.section(&format!("Hosts{from}"), &hosts);
        let variables = self.variables.iter();
        let variables: Vec<_> = variables
            .map(|variable| (variable.name.clone(), variable.says.clone()))
            .collect();
        report.section("Variables", &variables);
        report.text().to_owned()
    }

    /// For programs: one object on one line.
    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self).map(|line| line + "\n")
    }
}

fn shell(words: &[String]) -> String {
    quoted(&words.iter().map(OsString::from).collect::<Vec<_>>())
}

impl Text {
    fn lines(&self) -> Vec<(String, String)> {
        if let Some(why) = &self.why_not {
            return vec![("no".to_owned(), why.clone())];
        }
        let here = match &self.here {
            Some(words) => shell(words),
            None => "nothing: it is preprocessed already".to_owned(),
        };
        let host = self.host.as_deref().map(shell).unwrap_or_default();
        vec![
            ("runs here".to_owned(), here),
            ("a host runs".to_owned(), host),
        ]
    }
}

impl Files {
    fn lines(&self) -> Vec<(String, String)> {
        if let Some(why) = &self.why_not {
            return vec![("no".to_owned(), why.clone())];
        }
        let links = match self.links {
            0 => String::new(),
            count => format!(", {count} links"),
        };
        let (files, bytes) = (self.files, self.bytes);
        let files = format!(
            "{files}{links}, {bytes} bytes as they travel; `distcc --scan-includes` lists them"
        );
        let host = self.host.as_deref().map(shell).unwrap_or_default();
        vec![
            ("files".to_owned(), files),
            ("a host runs".to_owned(), host),
        ]
    }
}
