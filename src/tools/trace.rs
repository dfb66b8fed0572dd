//! `distcc trace FILE`: what clients wrote down with `DISTCC_TRACE`, as events for Chrome's tracing and Perfetto, and as a
//! summary for people or programs. Reads the file twice: for the order of things, and to tell them.

use super::output::print;
use super::trace_events::Events;
use super::trace_index::{entries, Index};
use super::trace_summary::Summary;
use crate::model::error::{Code, Error, Result, Status};
use crate::model::findings::counted;
use crate::model::option_words::{spread, Valued};
use crate::os::files::open_plain;
use serde_json::json;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const HELP: &str = "\
Usage: distcc trace [OPTION]... FILE

FILE is what a build wrote down with DISTCC_TRACE=FILE. Writes FILE.json, which https://ui.perfetto.dev and chrome://tracing
show as a picture, and says where the time went.

  -o OUT, --output=OUT  write the picture's data there instead
  --no-events           write none
  --json                say it as JSON
  --gap=SECONDS         a build ends where nothing runs for so long [10]
  --help                this text
";

const VALUED: &[Valued] = &[
    Valued {
        long: "--output",
        short: Some('o'),
        repeats: false,
    },
    Valued {
        long: "--gap",
        short: None,
        repeats: false,
    },
];

/// A build that does nothing distcc could see for longer than this is two.
const GAP: Duration = Duration::from_secs(10);

/// How much of a file is read or written at once.
const BUFFER_BYTES: usize = 256 << 10;

/// What the words ask for.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    file: PathBuf,
    /// Where the events go, if they are wanted.
    events: Option<PathBuf>,
    json: bool,
    gap: Duration,
}

/// `trace [OPTION…] FILE`; all words, the first is `trace`.
pub fn trace(argv: Vec<OsString>) -> Result<Status> {
    let told = match parse(argv.get(1..).unwrap_or_default())? {
        Some(options) => tell(&options)?,
        None => HELP.to_owned(),
    };
    print(told)
}

/// Options may stand on both sides of the file. Nothing is asked for but help: `None`.
fn parse(words: &[OsString]) -> Result<Option<Options>> {
    let fault = |what: String| {
        let message = format!("{what}; `distcc trace --help` shows how it is used");
        Err(Error::new(Code::BadArguments, message))
    };
    let before = spread(words, VALUED)?;
    let (file, rest) = match before.operands.split_first() {
        Some((file, rest)) => (Some(PathBuf::from(file)), rest),
        None => (None, &[][..]),
    };
    let after = spread(rest, VALUED)?;
    if let Some(more) = after.operands.first() {
        return fault(format!(
            "there is one FILE only, not also {}",
            more.to_string_lossy()
        ));
    }
    let (mut output, mut no_events, mut json, mut gap) = (None, false, false, GAP);
    let mut options = before.options.iter().chain(&after.options);
    while let Some(option) = options.next() {
        match option.as_str() {
            "--help" | "-h" => return Ok(None),
            "--json" => json = true,
            "--no-events" => no_events = true,
            "--output" => match options.next() {
                Some(path) => output = Some(PathBuf::from(path)),
                None => return fault("--output wants a file".to_owned()),
            },
            "--gap" => {
                let seconds = options.next().and_then(|word| word.parse().ok());
                let time = seconds.and_then(|time| Duration::try_from_secs_f64(time).ok());
                match time {
                    Some(time) => gap = time,
                    None => return fault("--gap wants a number of seconds".to_owned()),
                }
            }
            other => return fault(format!("unknown option {other}")),
        }
    }
    let Some(file) = file else {
        return fault("missing operand: trace wants the file that DISTCC_TRACE named".to_owned());
    };
    let events = output.unwrap_or_else(|| with_json(&file));
    Ok(Some(Options {
        events: (!no_events).then_some(events),
        file,
        json,
        gap,
    }))
}

fn with_json(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(OsStr::new(".json"));
    PathBuf::from(name)
}

/// Reads, writes the events, and returns what is to be said.
fn tell(options: &Options) -> Result<String> {
    let path = &options.file;
    let trouble = |err: io::Error| Error::io(format_args!("read {}", path.display()), &err);
    let Some(mut file) = open_plain(path).map_err(trouble)? else {
        return Err(Error::new(
            Code::Io,
            format!("{} is no plain file", path.display()),
        ));
    };
    // A build may go on: what is added meanwhile is for the next time.
    let length = file.metadata().map_err(trouble)?.len();
    let index = Index::read(
        BufReader::with_capacity(BUFFER_BYTES, (&file).take(length)),
        options.gap,
    );
    let index = index.map_err(trouble)?;
    file.rewind().map_err(trouble)?;
    let mut summaries: Vec<Summary> = index.builds.iter().cloned().map(Summary::new).collect();
    write_events(options, &file, length, &index, &mut summaries)?;
    if options.json {
        let builds: Vec<_> = summaries.iter().map(Summary::json).collect();
        return Ok(format!(
            "{}\n",
            json!({ "damaged": index.damaged, "builds": builds, "events": options.events })
        ));
    }
    let mut text = String::new();
    if index.damaged > 0 {
        let count = usize::try_from(index.damaged).unwrap_or(usize::MAX);
        text.push_str(&format!(
            "passed over: {}\n",
            counted(count, "damaged line")
        ));
    }
    if summaries.is_empty() {
        text.push_str("there is no run in it\n");
    }
    for (index, summary) in summaries.iter().enumerate() {
        text.push_str(&summary.text(index + 1));
        text.push('\n');
    }
    if let Some(path) = options.events.as_ref().filter(|_| !summaries.is_empty()) {
        text.push_str(&format!(
            "open {} in https://ui.perfetto.dev or chrome://tracing\n",
            path.display()
        ));
    }
    Ok(text)
}

/// The second reading: each client to its build and, if they are wanted, to the events.
fn write_events(
    options: &Options,
    file: &File,
    length: u64,
    index: &Index,
    summaries: &mut [Summary],
) -> Result<()> {
    let place = options.events.as_deref().unwrap_or(Path::new("/dev/null"));
    let trouble = |err: io::Error| {
        let (from, to) = (options.file.display(), place.display());
        Error::io(format_args!("make {to} from {from}"), &err)
    };
    let of = |meta: fs::Metadata| (meta.dev(), meta.ino());
    let is_itself =
        fs::metadata(place).is_ok_and(|meta| file.metadata().is_ok_and(|own| of(own) == of(meta)));
    if is_itself {
        return Err(trouble(io::Error::other("that is the same file")));
    }
    let out = File::create(place).map_err(trouble)?;
    let origin = index.builds.first().map_or(0, |build| build.time.start);
    let out = BufWriter::with_capacity(BUFFER_BYTES, out);
    let mut events = Events::begin(out, origin).map_err(trouble)?;
    let mut lanes = index.lanes.iter();
    let file = BufReader::with_capacity(BUFFER_BYTES, file.take(length));
    let read = entries(file, |entry| {
        if let Some(summary) = summaries.get_mut(index.build_at(entry.at)) {
            summary.add(&entry);
        }
        match (lanes.next(), &options.events) {
            (Some(lane), Some(_)) => events.add(&entry, *lane),
            _ => Ok(()),
        }
    });
    read.and_then(|_| events.end()).map_err(trouble)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parsed(line: &str) -> std::result::Result<Option<Options>, String> {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        parse(&words).map_err(|err| err.message)
    }

    #[test]
    fn options_stand_on_both_sides() {
        let options = parsed("--json dir/t -o x --gap=0.5").unwrap().unwrap();
        assert_eq!(options.file, Path::new("dir/t"));
        assert_eq!(options.events.as_deref(), Some(Path::new("x")));
        assert!(options.json && options.gap == Duration::from_millis(500));
        let options = parsed("dir/t").unwrap().unwrap();
        assert_eq!(options.events.as_deref(), Some(Path::new("dir/t.json")));
        assert_eq!(parsed("t --no-events").unwrap().unwrap().events, None);
        assert_eq!(parsed("t --help").unwrap(), None);
        for (line, fault) in [
            ("", "missing operand"),
            ("a b", "not also b"),
            ("--frob a", "unknown option --frob"),
            ("a --gap=-1", "number of seconds"),
            ("a -o", "wants a file"),
        ] {
            let found = parsed(line).unwrap_err();
            assert!(found.contains(fault), "{line}: {found}");
        }
    }
}
