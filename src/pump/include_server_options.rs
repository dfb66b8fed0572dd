//! The words of the include server: stock's, and two by which our wrapper starts it. Pure, but for the text of the usage.

use crate::model::option_words::{spread, Valued};
use std::ffi::OsString;
use std::path::PathBuf;

/// What is printed when the words are not understood.
pub const USAGE: &str = "\
Usage: include_server --port PATH [OPTION]...

Answers distcc's pump clients which files a compile needs. Started by pump.

  --port PATH               the socket; an existing file there is replaced
  --pid_file PATH           write the process id there
  -dN, --debug_pattern=N    what to say: 1 warnings, 2 each request, 4 its files [1]
  -s, --statistics          print what each request cost
  -t, --time                print at the end how long it took
  -v, --verify              compare with the compiler's own list, and refuse what differs
  -w, --write_include_closure
                            write the list of files to OUTPUT.d_approx
  --no_force_dirs           do not send what only makes folders
  --control-fd N            end when the other end of descriptor N is closed; stay in the foreground
  --ready-fd N              write `ready` or `error: WHY` to descriptor N when started

Without effect, for scripts: -e, --email, --no-email, --email_bound N, --path_observation_re=RE,
--stat_reset_triggers=LIST, --unsafe_absolute_includes, --unsafe_no_unexpanded_functions, -x, --exact_analysis,
--simple_algorithm. Nothing is mailed; changed files are always noticed; includes by absolute names are followed.
";

const fn valued(long: &'static str, short: Option<char>) -> Valued {
    Valued {
        long,
        short,
        repeats: false,
    }
}

const VALUED: &[Valued] = &[
    valued("--port", None),
    valued("--pid_file", None),
    valued("--debug_pattern", Some('d')),
    valued("--email_bound", None),
    valued("--path_observation_re", None),
    valued("--stat_reset_triggers", None),
    valued("--control-fd", None),
    valued("--ready-fd", None),
];

/// All options.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// `--port`
    pub port: PathBuf,
    /// `--pid_file`
    pub pid_file: Option<PathBuf>,
    /// `-d`
    pub debug: u32,
    /// `-s`
    pub statistics: bool,
    /// `-t`
    pub time: bool,
    /// `-v`
    pub verify: bool,
    /// `-w`
    pub write_closure: bool,
    /// `--no_force_dirs`
    pub no_folders: bool,
    /// `--control-fd`
    pub control: Option<i32>,
    /// `--ready-fd`
    pub ready: Option<i32>,
}

/// What the words ask for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asked {
    /// To serve.
    Serve(Box<Options>),
    /// How it is used.
    Help,
}

/// Reads the words behind the program's name.
///
/// # Errors
/// What is wrong with them.
pub fn parse(words: &[OsString]) -> Result<Asked, String> {
    let spread = spread(words, VALUED).map_err(|err| err.message)?;
    if let Some(operand) = spread.operands.first() {
        return Err(format!("{}: no such operand", operand.to_string_lossy()));
    }
    let mut options = Options {
        debug: 1,
        ..Options::default()
    };
    let mut words = spread.options.iter();
    while let Some(word) = words.next() {
        if word == "--help" {
            return Ok(Asked::Help);
        }
        let takes_value = VALUED.iter().any(|option| option.long == word);
        match (takes_value, takes_value.then(|| words.next()).flatten()) {
            (true, Some(value)) => options.take_valued(word, value)?,
            (true, None) => return Err(format!("{word} needs a value")),
            (false, _) => options.take(word)?,
        }
    }
    match options.port.as_os_str().is_empty() {
        true => Err("--port is missing: where shall clients ask?".to_owned()),
        false => Ok(Asked::Serve(Box::new(options))),
    }
}

/// The descriptor of `--ready-fd`, found also among words that are not understood: whoever gave it waits for why not.
pub fn ready_descriptor(words: &[OsString]) -> Option<i32> {
    let at = words.iter().position(|word| word == "--ready-fd")?;
    words.get(at + 1)?.to_str()?.parse().ok()
}

impl Options {
    fn take(&mut self, word: &str) -> Result<(), String> {
        match word {
            "-s" | "--statistics" => self.statistics = true,
            "-t" | "--time" => self.time = true,
            "-v" | "--verify" => self.verify = true,
            "-w" | "--write_include_closure" => self.write_closure = true,
            "--no_force_dirs" => self.no_folders = true,
            "-e"
            | "--email"
            | "--no-email"
            | "-x"
            | "--exact_analysis"
            | "--unsafe_absolute_includes"
            | "--unsafe_no_unexpanded_functions"
            | "--simple_algorithm" => {}
            _ => return Err(format!("{word} is no option")),
        }
        Ok(())
    }

    fn take_valued(&mut self, word: &str, value: &str) -> Result<(), String> {
        let number = || {
            let number = value.parse::<u32>();
            number.map_err(|_| format!("{word} {value}: no number"))
        };
        let descriptor = || Ok::<_, String>(i32::try_from(number()?).ok());
        match word {
            "--port" => self.port = value.into(),
            "--pid_file" => self.pid_file = Some(value.into()),
            "--debug_pattern" => self.debug = number()?,
            "--email_bound" => drop(number()?),
            "--control-fd" => self.control = descriptor()?,
            "--ready-fd" => self.ready = descriptor()?,
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Asked, String> {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        parse(&words)
    }

    #[test]
    fn stocks_words_are_understood() {
        let line = "--port /d/socket --pid_file=/d/pid -d1 -estvwx --email_bound 3 --stat_reset_triggers=a:b \
            --unsafe_absolute_includes --no_force_dirs --no-email";
        let expected = Options {
            port: "/d/socket".into(),
            pid_file: Some("/d/pid".into()),
            debug: 1,
            statistics: true,
            time: true,
            verify: true,
            write_closure: true,
            no_folders: true,
            control: None,
            ready: None,
        };
        assert_eq!(parsed(line), Ok(Asked::Serve(Box::new(expected))));
        let ours = parsed("--port s --control-fd 0 --ready-fd 7 -d 19");
        let expected = Options {
            port: "s".into(),
            debug: 19,
            control: Some(0),
            ready: Some(7),
            ..Options::default()
        };
        assert_eq!(ours, Ok(Asked::Serve(Box::new(expected))));
        assert_eq!(parsed("--help"), Ok(Asked::Help));
    }

    #[test]
    fn the_one_who_waits_is_found_among_bad_words() {
        let found = |line: &str| {
            let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
            ready_descriptor(&words)
        };
        assert_eq!(found("--port s --ready-fd 7 --nonsense"), Some(7));
        for line in ["", "--ready-fd", "--ready-fd x", "--nonsense 7"] {
            assert_eq!(found(line), None, "{line}");
        }
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (line, word) in [
            ("", "--port"),
            ("--port", "--port"),
            ("--port s -dx", "x"),
            ("--port s --email_bound no", "no"),
            ("--port s --nonsense", "--nonsense"),
            ("--port s -q", "-q"),
            ("--port s operand", "operand"),
            ("--port s --control-fd -1", "-1"),
        ] {
            match parsed(line) {
                Err(why) => assert!(why.contains(word), "{line}: {why}"),
                Ok(_) => panic!("{line}"),
            }
        }
    }
}
