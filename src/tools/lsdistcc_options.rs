//! The words of lsdistcc: options of one letter with the value attached, then a format or names. Pure, but for the
//! text of the usage.

use crate::model::hosts::SLOTS_MAX;
use crate::model::wire::Version;
use std::borrow::Cow;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv6Addr};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// The port of distcc daemons.
pub const PORT: u16 = 3632;

/// The names that are tried if none are given.
const FORMAT: &str = "distcc%d";

/// How many names a format stands for at most: some name servers know an address for every name.
const FORMAT_NAMES_MAX: usize = 10_000;

/// What lsdistcc says when it is not understood.
pub const USAGE: &str = "\
Usage: lsdistcc [OPTION]... [FORMAT | HOST...]

Prints the hosts on which a distcc daemon answers, as words for DISTCC_HOSTS. FORMAT holds %d, or %03d and the like,
for the numbers from 1 on, up to the first name that has no address; by default distcc%d. A HOST is a name or an
address, and may have a :PORT and a /LIMIT; +zeroconf stands for those that announce themselves on this network.

  -l       append how long the answer took, in milliseconds
  -n       print addresses instead of names
  -x       print hosts that do not answer, too, with ,down
  -tS      stop after S seconds; 0: never [7]
  -cMS     how long a connection may take; 0: connect to nobody [900]
  -pCC     compile a line with CC on each host
  -kMS     how long that may take; 0: do not compile [1500]
  -PV      protocol 1, 2 or 3, for that compile and for what is printed [1]
  -rPORT   port [3632]
  -d       append the domain of this machine to the names
  -gN      how many names of a FORMAT may have no address before it stops [0]
  -oN      how many names of a FORMAT are looked up ahead [1]
  -hMS     ask again for an address that does not come [500]
  -mBITS   only hosts whose address begins with the same bits as that of the first [0]
  -v       say on stderr what happens; twice: more

Example: DISTCC_HOSTS=$(lsdistcc -p$CC hosta hostb hostc)
";

/// The options that have no value, and those that have one.
const SWITCHES: &str = "lnxdv";
const VALUED: &str = "thckmogrPp";

/// All options.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// `-l`
    pub latency: bool,
    /// `-n`
    pub numeric: bool,
    /// `-x`
    pub also_down: bool,
    /// `-d`
    pub domain: bool,
    /// How many `-v`.
    pub verbosity: usize,
    /// `-t`; `None` is for ever.
    pub time: Option<Duration>,
    /// `-h`
    pub ask_again: Duration,
    /// `-c`; `None`: do not connect.
    pub connect: Option<Duration>,
    /// `-k`; `None`: do not compile.
    pub compile: Option<Duration>,
    /// `-m`
    pub same_bits: u32,
    /// `-o`
    pub ahead: usize,
    /// `-g`
    pub gaps: usize,
    /// `-r`
    pub port: u16,
    /// `-P`
    pub version: Version,
    /// `-p`
    pub compiler: Option<Vec<u8>>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            latency: false,
            numeric: false,
            also_down: false,
            domain: false,
            verbosity: 0,
            time: Some(Duration::from_secs(7)),
            ask_again: Duration::from_millis(500),
            connect: Some(Duration::from_millis(900)),
            compile: Some(Duration::from_millis(1500)),
            same_bits: 0,
            ahead: 1,
            gaps: 0,
            port: PORT,
            version: Version::V1,
            compiler: None,
        }
    }
}

/// Reads the words behind the program's name: the options, and what remains; or says what is not understood.
pub fn parse(words: &[OsString]) -> Result<(Options, &[OsString]), String> {
    let mut options = Options::default();
    let end = words
        .iter()
        .position(|word| !word.as_bytes().starts_with(b"-"))
        .unwrap_or(words.len());
    for word in &words[..end] {
        let taken = options.take(&word.as_bytes()[1..]);
        taken.ok_or_else(|| fault(&word.to_string_lossy()))?;
    }
    Ok((options, &words[end..]))
}

/// What is wrong with a word of options.
fn fault(word: &str) -> String {
    let mut letters = word.chars().skip(1).skip_while(|c| SWITCHES.contains(*c));
    match letters.next() {
        None => format!("'{word}' is no option"),
        Some(letter) if VALUED.contains(letter) => match letters.collect::<String>() {
            value if value.is_empty() => format!("{word}: -{letter} needs a value, attached to it"),
            value => format!("{word}: '{value}' is no value for -{letter}"),
        },
        Some(letter) => format!("{word}: there is no option -{letter}"),
    }
}

impl Options {
    /// Takes the letters of one word, of which the last may have a value.
    fn take(&mut self, mut letters: &[u8]) -> Option<()> {
        if letters.is_empty() {
            return None;
        }
        while let Some((letter, value)) = letters.split_first() {
            letters = value;
            match letter {
                b'l' => self.latency = true,
                b'n' => self.numeric = true,
                b'x' => self.also_down = true,
                b'd' => self.domain = true,
                b'v' => self.verbosity += 1,
                letter => return self.take_valued(*letter, value),
            }
        }
        Some(())
    }

    fn take_valued(&mut self, letter: u8, value: &[u8]) -> Option<()> {
        if letter == b'p' {
            self.compiler = Some(value.to_vec()).filter(|name| !name.is_empty());
            return self.compiler.is_some().then_some(());
        }
        if !value.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let number: u32 = std::str::from_utf8(value).ok()?.parse().ok()?;
        let ms = Duration::from_millis(number.into());
        let unless_zero = |time: Duration| Some(time).filter(|time| !time.is_zero());
        match letter {
            b't' => self.time = unless_zero(Duration::from_secs(number.into())),
            b'h' => self.ask_again = unless_zero(ms)?,
            b'c' => self.connect = unless_zero(ms),
            b'k' => self.compile = unless_zero(ms),
            b'm' => self.same_bits = Some(number).filter(|bits| *bits <= 128)?,
            b'o' => self.ahead = number as usize,
            b'g' => self.gaps = number as usize,
            b'r' => self.port = u16::try_from(number).ok().filter(|port| *port > 0)?,
            b'P' => self.version = Version::from_number(number).ok()?,
            _ => return None,
        }
        Some(())
    }
}

/// A host to be asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// Its name or address, without brackets.
    pub name: String,
    /// Its address, if that is what was given.
    pub literal: Option<IpAddr>,
    /// Where its daemon listens.
    pub port: u16,
    /// How many jobs it is to get at once; for the host list only.
    pub limit: Option<usize>,
}

impl Target {
    /// A word for a host: a name or an address, perhaps with a port and a limit.
    fn new(word: &str, port: u16, domain: Option<&str>) -> Target {
        let (word, limit) = split_limit(word);
        let (name, port) = split_port(&word).unwrap_or((&word, port));
        let bare = name
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let literal = match bare {
            Some(bare) => bare.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            None => name.parse().ok(),
        };
        let name = match (literal, domain) {
            (None, Some(domain)) => format!("{name}.{domain}"),
            _ => bare.unwrap_or(name).to_owned(),
        };
        Target {
            name,
            literal,
            port,
            limit,
        }
    }

    /// Whether it may be looked up: not what can only be in a host list, such as `USER@HOST` or `HOST,lzo`.
    pub fn is_name(&self) -> bool {
        let is_strange = |c: char| c.is_whitespace() || "/,@=".contains(c);
        !self.name.is_empty() && !self.name.contains(is_strange)
    }
}

/// Takes the limit out of `NAME:PORT/LIMIT` or `NAME/LIMIT:PORT`; both may be in a host list.
fn split_limit(word: &str) -> (Cow<'_, str>, Option<usize>) {
    let found = word.split_once('/').and_then(|(name, rest)| {
        let end = rest.find(':').unwrap_or(rest.len());
        let (limit, port) = rest.split_at(end);
        let limit = limit
            .parse()
            .ok()
            .filter(|_| limit.starts_with(|c: char| c.is_ascii_digit()))?;
        (1..=SLOTS_MAX)
            .contains(&limit)
            .then(|| (name.to_owned() + port, limit))
    });
    match found {
        Some((word, limit)) => (word.into(), Some(limit)),
        None => (word.into(), None),
    }
}

/// `NAME:PORT` or `[ADDRESS]:PORT`, but not an IPv6 address without brackets.
fn split_port(word: &str) -> Option<(&str, u16)> {
    let (name, port) = word.rsplit_once(':')?;
    if name.is_empty() || name.contains(':') && !name.ends_with(']') {
        return None;
    }
    let port = port.parse().ok().filter(|port| *port > 0)?;
    Some((name, port))
}

/// The hosts to be asked, in their order.
#[derive(Clone, Debug)]
pub struct Targets {
    from: From,
    next: usize,
    port: u16,
    domain: Option<String>,
}

#[derive(Clone, Debug)]
enum From {
    Format(String),
    List(Vec<String>),
}

impl Targets {
    /// The operands: a format if the first holds a place for a number, or if there are none.
    pub fn new(operands: &[OsString], port: u16, domain: Option<String>) -> Targets {
        let words: Vec<String> = operands
            .iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        let from = match words.into_iter().next() {
            None => From::Format(FORMAT.into()),
            Some(first) if numbered(&first, 1) != first => From::Format(first),
            Some(_) => From::List(
                operands
                    .iter()
                    .map(|word| word.to_string_lossy().into_owned())
                    .collect(),
            ),
        };
        Targets {
            from,
            next: 0,
            port,
            domain,
        }
    }

    /// Whether the names are made up, so that those without an address say where to stop.
    pub fn are_made_up(&self) -> bool {
        matches!(self.from, From::Format(_))
    }
}

impl Iterator for Targets {
    type Item = Target;

    fn next(&mut self) -> Option<Target> {
        let at = self.next;
        self.next += 1;
        let word = match &self.from {
            From::List(words) => words.get(at)?.clone(),
            From::Format(_) if at >= FORMAT_NAMES_MAX => return None,
            From::Format(format) => numbered(format, at + 1),
        };
        Some(Target::new(&word, self.port, self.domain.as_deref()))
    }
}

/// Puts a number in each place for one: `%d`, or `%04d` for one with leading zeros.
fn numbered(format: &str, number: usize) -> String {
    let mut out = String::new();
    let mut rest = format;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let digits = after
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(after.len());
        let (width, tail) = after.split_at(digits);
        match (width, tail.strip_prefix('d')) {
            ("", Some(tail)) => {
                out.push_str(&number.to_string());
                rest = tail;
            }
            // Names have no more than 255 characters.
            (width, Some(tail)) if width.starts_with('0') && width.len() <= 3 => {
                let width = width.parse().unwrap_or(0);
                out.push_str(&format!("{number:0width$}"));
                rest = tail;
            }
            _ => {
                out.push('%');
                rest = after;
            }
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn options_are_letters_with_their_values() {
        let all = words("-l -n -x -d -v -v -t3 -h4 -c5 -k6 -m7 -o8 -g9 -r10 -P2 -pgcc-12 a -l");
        let (options, rest) = parse(&all).unwrap();
        let ms = Duration::from_millis;
        let expected = Options {
            latency: true,
            numeric: true,
            also_down: true,
            domain: true,
            verbosity: 2,
            time: Some(ms(3000)),
            ask_again: ms(4),
            connect: Some(ms(5)),
            compile: Some(ms(6)),
            same_bits: 7,
            ahead: 8,
            gaps: 9,
            port: 10,
            version: Version::V2,
            compiler: Some(b"gcc-12".to_vec()),
        };
        assert_eq!(options, expected);
        assert_eq!(rest, words("a -l"));
        let all = words("-xlpgcc -t0 -c0 -k0");
        let (options, _) = parse(&all).unwrap();
        assert_eq!(
            (options.time, options.connect, options.compile),
            (None, None, None)
        );
        assert!(options.also_down && options.latency && options.compiler.is_some());
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for word in [
            "-",
            "--",
            "--help",
            "-z",
            "-t",
            "-tx",
            "-c-1",
            "-k+1",
            "-m129",
            "-P0",
            "-P4",
            "-r0",
            "-r65536",
            "-p",
            "-h0",
            "-t99999999999",
        ] {
            let fault = parse(&words(word)).unwrap_err();
            assert!(fault.contains(word), "{fault}");
        }
    }

    #[test]
    fn formats_and_lists() {
        let names = |text: &str, domain: Option<&str>| -> Vec<String> {
            let targets = Targets::new(&words(text), PORT, domain.map(str::to_owned));
            targets.take(2).map(|target| target.name).collect()
        };
        assert_eq!(names("", None), ["distcc1", "distcc2"]);
        assert_eq!(names("n%03d-%d ignored", None), ["n001-1", "n002-2"]);
        assert_eq!(names("x%d", Some("b.c")), ["x1.b.c", "x2.b.c"]);
        assert_eq!(names("a ::1", Some("b.c")), ["a.b.c", "::1"]);
        assert_eq!(names("100% x%3d", None), ["100%", "x%3d"]);
        assert_eq!(Targets::new(&[], 1, None).count(), FORMAT_NAMES_MAX);
    }

    #[test]
    fn a_host_may_have_a_port() {
        for (word, name, is_address, port) in [
            ("a", "a", false, 7),
            ("a:8", "a", false, 8),
            ("a:0", "a:0", false, 7),
            ("127.0.0.1:8", "127.0.0.1", true, 8),
            ("::1", "::1", true, 7),
            ("[::1]", "::1", true, 7),
            ("[::1]:8", "::1", true, 8),
            ("fe80::1:8", "fe80::1:8", true, 7),
        ] {
            for limit in [None, Some(SLOTS_MAX)] {
                let word = match limit {
                    Some(limit) => format!("{word}/{limit}"),
                    None => word.to_owned(),
                };
                let target = Target::new(&word, 7, None);
                let found = (target.name.as_str(), target.port, target.limit);
                assert_eq!(found, (name, port, limit), "{word}");
                assert_eq!(target.literal.is_some(), is_address, "{word}");
                assert!(target.is_name());
            }
        }
        let target = Target::new("a/3:8", 7, Some("b.c"));
        assert_eq!((target.port, target.limit), (8, Some(3)));
        assert_eq!(target.name, "a.b.c");
    }

    #[test]
    fn what_is_no_host_is_known_as_such() {
        for word in [
            "a/0", "a/x", "a/+1", "a/", "a/1/2", "a/100000", "me@a", "a,lzo", "a/2,lzo", "", "a b",
        ] {
            let target = Target::new(word, 7, None);
            assert!(!target.is_name(), "{word}");
        }
    }

    #[test]
    fn a_fault_names_the_letter() {
        for (word, expected) in [
            ("-lq", "-lq: there is no option -q"),
            ("-xrx", "-xrx: 'x' is no value for -r"),
            ("-p", "-p: -p needs a value, attached to it"),
            ("-", "'-' is no option"),
        ] {
            assert_eq!(parse(&words(word)).unwrap_err(), expected);
        }
        // Every letter is known as what it is.
        for letter in SWITCHES.chars() {
            assert!(parse(&words(&format!("-{letter}"))).is_ok(), "{letter}");
        }
        for letter in VALUED.chars() {
            assert!(parse(&words(&format!("-{letter}1"))).is_ok(), "{letter}");
        }
    }
}
