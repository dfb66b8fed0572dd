//! A configuration file: options of the command line, one on each line, as `name = value`. Says where a fault is; what the
//! options mean is not known here.

use super::options;
use crate::model::error::{Code, Error, Result};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Largest file; more is a mistake.
const BYTES_MAX: u64 = 1 << 20;

/// Options that say what to do at all, and so stand on the command line only.
const NOT_HERE: [&str; 3] = ["config", "help", "version"];

/// What a file says.
#[derive(Debug)]
pub struct ConfigFile {
    path: PathBuf,
    settings: Vec<Setting>,
}

/// One option.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Setting {
    /// `--name=value`, or `--name` of a switch; nothing if the switch is off.
    word: Option<String>,
    name: String,
    value: String,
    line: usize,
    /// Where the value begins.
    column: usize,
}

impl ConfigFile {
    /// Reads the file at `path`. Only root and `owner` may be able to write it.
    ///
    /// # Errors
    /// [`Code::BadArguments`] naming the file, and the place of the fault in it.
    pub fn read(path: &Path, owner: u32) -> Result<ConfigFile> {
        let fault = |why: String| bad(format!("{}: {why}", path.display()));
        let unread = |err: std::io::Error| fault(format!("the configuration can't be read: {err}"));
        let mut file = File::open(path).map_err(unread)?;
        // Of the file that is open, not of one that may take its place.
        let metadata = file.metadata().map_err(unread)?;
        if !metadata.is_file() {
            return Err(fault("the configuration is no file".to_owned()));
        }
        if metadata.mode() & 0o022 != 0 {
            let way_out = "chmod go-w takes that away";
            return Err(fault(format!(
                "others than its owner may write it; {way_out}"
            )));
        }
        if ![0, owner].contains(&metadata.uid()) {
            let uid = metadata.uid();
            return Err(fault(format!(
                "it belongs to user {uid}, who could make distccd do anything"
            )));
        }
        let mut text = Vec::new();
        file.by_ref()
            .take(BYTES_MAX + 1)
            .read_to_end(&mut text)
            .map_err(unread)?;
        if text.len() as u64 > BYTES_MAX {
            return Err(fault("more than a configuration can be".to_owned()));
        }
        ConfigFile::parse(path, &text)
    }

    fn parse(path: &Path, text: &[u8]) -> Result<ConfigFile> {
        let mut file = ConfigFile {
            path: path.to_owned(),
            settings: Vec::new(),
        };
        for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let number = index + 1;
            let line = std::str::from_utf8(line)
                .map_err(|err| file.fault(number, err.valid_up_to() + 1, "not UTF-8"))?;
            let read = read_line(line, number);
            let setting = read.map_err(|(column, why)| file.fault(number, column, &why))?;
            file.settings.extend(setting);
        }
        Ok(file)
    }

    /// The options, as words of the command line.
    pub fn words(&self) -> Vec<String> {
        let words = self
            .settings
            .iter()
            .filter_map(|setting| setting.word.clone());
        words.collect()
    }

    /// Adds to an error where the option stands that it is about, if it stands in the file.
    pub fn blame(&self, err: Error) -> Error {
        let begins = |setting: &&Setting| {
            let (name, value) = (&setting.name, setting.value.as_str());
            let parts = value.split(',').chain(value.split([',', ':']));
            let mut parts = parts.map(str::trim).filter(|part| !part.is_empty());
            let is_about = |part: &str| {
                let message = &err.message;
                message.starts_with(&format!("--{name} {part}: "))
                    || message.starts_with(&format!("--{name}: {part} "))
            };
            is_about(value) || parts.any(is_about)
        };
        match self.settings.iter().find(begins) {
            Some(setting) => Error {
                code: err.code,
                ..self.fault(setting.line, setting.column, &err.message)
            },
            None => err,
        }
    }

    fn fault(&self, line: usize, column: usize, why: &str) -> Error {
        let path = self.path.display();
        bad(format!("{path}: line {line}, column {column}: {why}"))
    }
}

/// What a line says, or the column of a fault in it, and what that is.
fn read_line(line: &str, number: usize) -> std::result::Result<Option<Setting>, (usize, String)> {
    let line = without_comment(line);
    let text = line.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let column_of = |part: &str| part.as_ptr() as usize - line.as_ptr() as usize + 1;
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name.trim_end(), Some(value.trim_start())),
        None => (text, None),
    };
    let at = column_of(text);
    if NOT_HERE.contains(&name) {
        return Err((at, format!("'{name}' is for the command line only")));
    }
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.starts_with('-') || !name.chars().all(is_name) {
        let why =
            format!("'{name}' is no name of an option; write it without dashes, as in jobs = 8");
        return Err((at, why));
    }
    let long = format!("--{name}");
    let column = value.map_or(at, column_of);
    let word = match (options::takes_value(&long), value) {
        (true, None | Some("")) => return Err((at, format!("'{name}' needs a value: {name} = …"))),
        (true, Some(value)) => {
            let word = format!("{long}={value}");
            options::check(&word).map_err(|err| (column, err.message))?;
            Some(word)
        }
        (false, value) => {
            options::check(&long).map_err(|err| (at, err.message))?;
            match value {
                None | Some("yes" | "true" | "on" | "1") => Some(long),
                Some("no" | "false" | "off" | "0") => None,
                Some(value) => {
                    return Err((column, format!("'{name}' is yes or no, not '{value}'")));
                }
            }
        }
    };
    Ok(Some(Setting {
        word,
        name: name.to_owned(),
        value: value.unwrap_or_default().to_owned(),
        line: number,
        column,
    }))
}

/// The line up to a `#` that stands at its beginning or behind white space.
fn without_comment(line: &str) -> &str {
    let mut before = ' ';
    for (at, letter) in line.char_indices() {
        if letter == '#' && before.is_whitespace() {
            return line.get(..at).unwrap_or(line);
        }
        before = letter;
    }
    line
}

fn bad(message: String) -> Error {
    Error::new(Code::BadArguments, message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn parse(text: &str) -> Result<ConfigFile> {
        ConfigFile::parse(Path::new("/f"), text.as_bytes())
    }

    #[test]
    fn names_values_comments() {
        let text =
            "# a farm\n\n  jobs = 8   # not more\nallow=10.0.0.0/8\nallow = ::1, 10.1.1.1\r\n\
            log-file = /var/log/a#b\nallow-private\nno-detach = yes\nverbose = no\n";
        assert_eq!(
            parse(text).unwrap().words(),
            [
                "--jobs=8",
                "--allow=10.0.0.0/8",
                "--allow=::1, 10.1.1.1",
                "--log-file=/var/log/a#b",
                "--allow-private",
                "--no-detach"
            ]
        );
        assert!(parse("").unwrap().words().is_empty());
    }

    #[test]
    fn a_fault_has_a_place() {
        for (text, place) in [
            (
                "jobs = 8\n frob = 1\n",
                "line 2, column 2: Unrecognized argument: --frob",
            ),
            ("frob = no", "line 1, column 1: "),
            ("jobs", "line 1, column 1: 'jobs' needs a value"),
            ("jobs =", "line 1, column 1: 'jobs' needs a value"),
            ("jobs = x", "line 1, column 8: "),
            ("\n\n--jobs = 8", "line 3, column 1: '--jobs' is no name"),
            ("allow-private = perhaps", "line 1, column 17: "),
            (
                "version",
                "line 1, column 1: 'version' is for the command line",
            ),
            ("auth = yes", "line 1, column 1: --auth: "),
            ("= 5", "line 1, column 1: '' is no name"),
        ] {
            let err = parse(text).unwrap_err();
            assert_eq!(err.code, Code::BadArguments, "{text}");
            let begin = format!("/f: {place}");
            assert!(err.message.starts_with(&begin), "{text}: {}", err.message);
        }
        let err = ConfigFile::parse(Path::new("/f"), b"jobs = 1\n# \xff").unwrap_err();
        assert_eq!(err.message, "/f: line 2, column 3: not UTF-8");
    }

    proptest::proptest! {
        #[test]
        fn whatever_stands_there_is_read_or_refused(text in "[ a-z=#\n,é0-9-]{0,60}") {
            match parse(&text) {
                Ok(file) => assert!(file.words().iter().all(|word| word.starts_with("--"))),
                Err(err) => assert!(err.message.starts_with("/f: line ")),
            }
        }
    }

    #[test]
    fn a_later_fault_is_blamed_on_its_line() {
        let file =
            parse("jobs = 4\nallow = ::1, 1.2.3.4/x\njobs = 0\ncompilers = gcc,nosuch").unwrap();
        for (message, place) in [
            ("--jobs 0: must be", "/f: line 3, column 8: "),
            ("--allow 1.2.3.4/x: the mask", "/f: line 2, column 9: "),
            ("--compilers: nosuch is not", "/f: line 4, column 13: "),
            ("--port 0: must", ""),
            // That one must stand on the command line.
            ("--compilers: other is not", ""),
        ] {
            let blamed = file.blame(Error::new(Code::BindFailed, message));
            assert_eq!(blamed.code, Code::BindFailed);
            assert_eq!(blamed.message, format!("{place}{message}"));
        }
    }

    #[test]
    fn who_else_may_write_it_is_not_trusted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("conf");
        fs::write(&path, "jobs = 1\n").unwrap();
        let owner = fs::metadata(&path).unwrap().uid();
        for (mode, is_good) in [(0o644, true), (0o664, false), (0o646, false), (0o600, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(ConfigFile::read(&path, owner).is_ok(), is_good, "{mode:o}");
        }
        let read = ConfigFile::read(&path, owner + 1);
        assert_eq!(read.is_ok(), owner == 0);
        let missing = ConfigFile::read(&dir.path().join("other"), owner).unwrap_err();
        assert!(missing.message.contains("can't be read: No such file"));
        assert!(ConfigFile::read(dir.path(), owner).is_err());
    }
}
