//! What `-march=native` and its kin mean on this machine, in words that mean the same on another. What a driver says that
//! it would run (`-###`) shows it, and proves that the words found are right; what can't be proven so stays here.
//! Nothing is run here: the questions are made, and the answers judged.

use super::command_line::text;
use super::family::Family;
use super::native::{are_plain, names_this_machine};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// What the processor may be made to do by an x86-64 without an option of its own: each of them has it.
const BASE_OF_X86_64: [&[u8]; 2] = [b"+64bit", b"+cmov"];

const SAYS_NOTHING: &str = "the compiler does not say what it would run";

/// What a compiler is asked, and how it answers: the caller runs it with the words given.
pub type Ask<'a> = &'a dyn Fn(&[&OsStr]) -> Result<Answer, String>;

/// What a compiler answered.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Answer {
    /// It ended with success.
    pub success: bool,
    /// On stdout.
    pub output: Vec<u8>,
    /// On stderr.
    pub messages: Vec<u8>,
}

/// Why no words are known to mean the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unproven {
    /// For people.
    pub why: String,
    /// The compiler has said so, and would again. If not, it may have been killed, or not started at all.
    pub lasts: bool,
}

impl Unproven {
    fn judged(why: impl Into<String>) -> Unproven {
        Unproven {
            why: why.into(),
            lasts: true,
        }
    }

    fn unanswered(why: impl Into<String>) -> Unproven {
        Unproven {
            why: why.into(),
            lasts: false,
        }
    }
}

/// Finds the words that mean here what the native ones among `decisive` mean, or says why none are known to.
/// `debug` says that the object tells which options it was compiled with, in their order.
pub fn resolve(
    family: Family,
    decisive: &[&OsStr],
    debug: bool,
    ask: Ask,
) -> Result<Vec<OsString>, Unproven> {
    let words = match family {
        Family::Gcc => of_gcc(decisive, debug, ask),
        Family::Clang => of_clang(decisive, ask),
    }?;
    match are_plain(&words) {
        true => Ok(words),
        false => Err(Unproven::judged(
            "the compiler makes of it what is no plain option",
        )),
    }
}

fn without_native<'w>(decisive: &[&'w OsStr]) -> Vec<&'w OsStr> {
    let mut words = decisive.to_vec();
    words.retain(|word| !names_this_machine(word.as_bytes()));
    words
}

fn with<'w>(words: &'w [OsString], rest: &[&'w OsStr]) -> Vec<&'w OsStr> {
    let words = words.iter().map(OsString::as_os_str);
    words.chain(rest.iter().copied()).collect()
}

/// The commands that a driver would run for these words.
fn commands(words: &[&OsStr], more: &[&str], ask: Ask) -> Result<Vec<Vec<Vec<u8>>>, Unproven> {
    let question = ["-###", "-c", "-x", "c", "/dev/null", "-o", "/dev/null"];
    let question = question.iter().chain(more).map(OsStr::new);
    let question: Vec<&OsStr> = words.iter().copied().chain(question).collect();
    let answer = ask(&question).map_err(Unproven::unanswered)?;
    let lines = answer.messages.split(|byte| *byte == b'\n');
    if let Some(said) = lines.clone().find_map(complaint) {
        return Err(Unproven {
            why: text(&said),
            lasts: answer.success,
        });
    }
    match answer.success {
        true => Ok(lines.filter_map(command_of_line).collect()),
        false => Err(Unproven::unanswered(SAYS_NOTHING)),
    }
}

/// What a driver warns of or refuses, as it is in one line of its answer.
fn complaint(line: &[u8]) -> Option<Vec<u8>> {
    let marks: [&[u8]; 2] = [b": warning: ", b": error: "];
    let is_said = |mark: &&[u8]| memchr::memmem::find(line, mark).is_some();
    marks.iter().any(is_said).then(|| line.to_vec())
}

/// A line that begins with a blank is a command, some words in quotes.
fn command_of_line(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let line = line
        .strip_prefix(b" ")
        .filter(|line| !line.starts_with(b"("))?;
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let (mut quoted, mut escaped) = (false, false);
    for byte in line {
        match byte {
            _ if escaped => {
                word.get_or_insert_default().push(*byte);
                escaped = false;
            }
            b'\\' => escaped = true,
            b'"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            b' ' if !quoted => words.extend(word.take()),
            _ => word.get_or_insert_default().push(*byte),
        }
    }
    words.extend(word);
    (!words.is_empty()).then_some(words)
}

/// gcc's driver makes words for the compiler proper of it, before all others.
fn of_gcc(decisive: &[&OsStr], debug: bool, ask: Ask) -> Result<Vec<OsString>, Unproven> {
    let rest = without_native(decisive);
    let wanted = Gcc::of(decisive, ask)?;
    let bare = Gcc::of(&rest, ask)?;
    let mut found = wanted.compiler.clone();
    for word in bare.compiler.iter().rev() {
        if let Some(at) = found.iter().rposition(|other| other == word) {
            found.remove(at);
        }
    }
    let found: Vec<OsString> = found
        .iter()
        .map(|word| OsStr::from_bytes(word).to_owned())
        .collect();
    let made = Gcc::of(&with(&found, &rest), ask)?;
    match made.does_as(&wanted, debug) {
        true => Ok(found),
        false if debug && made.does_as(&wanted, false) => Err(Unproven::judged(
            "-g records the options in an order that only this machine's driver makes",
        )),
        false => Err(Unproven::judged("no words are known to mean the same")),
    }
}

/// What gcc's driver would run: the compiler proper's words, but for those that only say what files are called, and all
/// other commands.
struct Gcc {
    compiler: Vec<Vec<u8>>,
    others: Vec<Vec<Vec<u8>>>,
}

impl Gcc {
    /// What it would run for these words; through pipes, since there is no telling what temporary files are called.
    fn of(words: &[&OsStr], ask: Ask) -> Result<Gcc, Unproven> {
        let mut commands = commands(words, &["-pipe"], ask)?.into_iter();
        let proper = commands
            .next()
            .ok_or_else(|| Unproven::unanswered(SAYS_NOTHING))?;
        let mut compiler = Vec::with_capacity(proper.len());
        let mut words = proper.into_iter();
        while let Some(word) = words.next() {
            match word.as_slice() {
                b"-quiet" => {}
                b"-dumpbase" | b"-dumpbase-ext" | b"-imultiarch" | b"-o" => {
                    words.next();
                }
                b"--param" => {
                    let value = words.next().unwrap_or_default();
                    compiler.push([b"--param=", value.as_slice()].concat());
                }
                b"/dev/null" => {}
                _ => compiler.push(word),
            }
        }
        Ok(Gcc {
            compiler: without_overridden(compiler),
            others: commands.collect(),
        })
    }

    /// Whether both compile alike. `--param` sets what no other option does, so that only the order among its kind counts
    /// — unless the object shows them all.
    fn does_as(&self, other: &Gcc, debug: bool) -> bool {
        let is_param = |word: &&Vec<u8>| word.starts_with(b"--param=");
        let params =
            |gcc: &Gcc| -> Vec<Vec<u8>> { gcc.compiler.iter().filter(is_param).cloned().collect() };
        let rest = |gcc: &Gcc| -> Vec<Vec<u8>> {
            let words = gcc.compiler.iter().filter(|word| !is_param(word));
            words.cloned().collect()
        };
        self.others == other.others
            && match debug {
                true => self.compiler == other.compiler,
                false => params(self) == params(other) && rest(self) == rest(other),
            }
    }
}

/// Without the words that a later one takes back or says again: a driver leaves out those that it was given, and the
/// compiler proper those that it is given.
fn without_overridden(words: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let subject = |word: &[u8]| -> Option<Vec<u8>> {
        let name = word.strip_prefix(b"-m")?;
        match name.iter().position(|byte| *byte == b'=') {
            Some(at) => {
                let name = name.get(..=at)?;
                matches!(name, b"arch=" | b"tune=").then(|| name.to_vec())
            }
            None => Some(name.strip_prefix(b"no-").unwrap_or(name).to_vec()),
        }
    };
    let subjects: Vec<_> = words.iter().map(|word| subject(word)).collect();
    let mut last = subjects.iter().enumerate();
    let mut kept = words;
    kept.retain(|_| match last.next() {
        Some((at, Some(subject))) => !subjects
            .iter()
            .skip(at + 1)
            .any(|later| later.as_ref() == Some(subject)),
        _ => true,
    });
    kept
}

/// clang's driver makes a processor and a list of its features of it. That the words found mean the same is proven by
/// what clang makes of an empty function, which shows all that code is made by, and by its macros.
fn of_clang(decisive: &[&OsStr], ask: Ask) -> Result<Vec<OsString>, Unproven> {
    let rest = without_native(decisive);
    let wanted = Clang::of(decisive, ask)?;
    let mut found: Vec<OsString> = Vec::new();
    if decisive
        .iter()
        .any(|word| word.as_bytes().starts_with(b"-march=native"))
    {
        found.push(joined(&[b"-march=", &wanted.processor]));
        let options = wanted
            .features
            .iter()
            .filter_map(|feature| option_of(feature));
        found.extend(options);
    }
    if decisive
        .iter()
        .any(|word| word.as_bytes().starts_with(b"-mtune=native"))
    {
        found.push(joined(&[b"-mtune=", &wanted.tuned_for]));
    }
    let unknown = unknown_options(&with(&found, &rest), ask)?;
    found.retain(|word| !unknown.iter().any(|other| other == word.as_bytes()));
    let made = with(&found, &rest);
    let same = Clang::of(&made, ask)?.others == wanted.others
        && macros(&made, ask)? == macros(decisive, ask)?
        && function(&made, ask)? == function(decisive, ask)?;
    match same {
        true => Ok(found),
        false => Err(Unproven::judged("no words are known to mean the same")),
    }
}

fn joined(parts: &[&[u8]]) -> OsString {
    OsStr::from_bytes(&parts.concat()).to_owned()
}

/// The driver's option for a feature: `+avx` is `-mavx`, `-avx` is `-mno-avx`.
fn option_of(feature: &[u8]) -> Option<OsString> {
    match feature.split_first()? {
        (b'+', name) => Some(joined(&[b"-m", name])),
        (b'-', name) => Some(joined(&[b"-mno-", name])),
        _ => None,
    }
}

/// What clang's driver would run: the processor's words apart from all others.
struct Clang {
    processor: Vec<u8>,
    tuned_for: Vec<u8>,
    features: Vec<Vec<u8>>,
    others: Vec<Vec<u8>>,
}

impl Clang {
    fn of(words: &[&OsStr], ask: Ask) -> Result<Clang, Unproven> {
        let mut clang = Clang {
            processor: Vec::new(),
            tuned_for: Vec::new(),
            features: Vec::new(),
            others: Vec::new(),
        };
        let mut words = commands(words, &[], ask)?.into_iter().flatten();
        while let Some(word) = words.next() {
            match word.as_slice() {
                b"-target-cpu" => clang.processor = words.next().unwrap_or_default(),
                b"-tune-cpu" => clang.tuned_for = words.next().unwrap_or_default(),
                b"-target-feature" => clang.features.extend(words.next()),
                _ => clang.others.push(word),
            }
        }
        match clang.others.is_empty() || clang.processor.is_empty() {
            true => Err(Unproven::unanswered(SAYS_NOTHING)),
            false => Ok(clang),
        }
    }
}

/// Options that this clang does not have, of some that were made from names of features.
fn unknown_options(words: &[&OsStr], ask: Ask) -> Result<Vec<Vec<u8>>, Unproven> {
    let question: Vec<&OsStr> = words
        .iter()
        .copied()
        .chain(["-###", "-c", "-x", "c", "/dev/null"].map(OsStr::new))
        .collect();
    let answer = ask(&question).map_err(Unproven::unanswered)?;
    let mark = b"unknown argument: '";
    let lines = answer.messages.split(|byte| *byte == b'\n');
    let unknown = lines.filter_map(|line| {
        let at = memchr::memmem::find(line, mark)?;
        let rest = line.get(at + mark.len()..)?;
        Some(rest.split(|byte| *byte == b'\'').next()?.to_vec())
    });
    let unknown: Vec<_> = unknown.collect();
    match answer.success || !unknown.is_empty() {
        true => Ok(unknown),
        false => Err(Unproven::unanswered(SAYS_NOTHING)),
    }
}

fn macros(words: &[&OsStr], ask: Ask) -> Result<Vec<u8>, Unproven> {
    printed(words, &["-dM", "-E", "-x", "c", "/dev/null"], ask)
}

/// An empty function as clang's own language has it, without the features that need no option.
fn function(words: &[&OsStr], ask: Ask) -> Result<Vec<u8>, Unproven> {
    let question = ["-S", "-emit-llvm", "-g0", "-x", "c", "-", "-o", "-"];
    let mut text = printed(words, &question, ask)?;
    if memchr::memmem::find(&text, b"target triple = \"x86_64-").is_some() {
        for feature in BASE_OF_X86_64 {
            let listed = [feature, b","].concat();
            while let Some(at) = memchr::memmem::find(&text, &listed) {
                text.drain(at..at + listed.len());
            }
        }
    }
    Ok(text)
}

fn printed(words: &[&OsStr], question: &[&str], ask: Ask) -> Result<Vec<u8>, Unproven> {
    let more = question.iter().map(OsStr::new);
    let question: Vec<&OsStr> = words.iter().copied().chain(more).collect();
    let answer = ask(&question).map_err(Unproven::unanswered)?;
    match answer.success && !answer.output.is_empty() {
        true => Ok(answer.output),
        false => Err(Unproven::unanswered(
            "the compiler does not show what it makes of it",
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn shown(words: &[impl AsRef<OsStr>]) -> String {
        let words: Vec<&OsStr> = words.iter().map(AsRef::as_ref).collect();
        words.join(OsStr::new(" ")).into_string().unwrap()
    }

    /// A driver that knows `native`, which it makes words of that stand before all others, except `--param` by name.
    fn driver(words: &[&OsStr], puts_params_last: bool) -> Answer {
        let line = shown(words);
        let mut proper = vec!["cc1".to_owned(), "-quiet".into()];
        if line.contains("-march=native") {
            proper.extend(
                ["\"-march=new\"", "-mavx", "--param", "l1-cache-size=32"].map(String::from),
            );
        }
        proper.extend(["-dumpbase".to_owned(), "null".into()]);
        let all = || {
            line.split(' ')
                .filter(|word| word.starts_with("-m") && !word.ends_with("native"))
        };
        proper.extend(all().map(String::from));
        if puts_params_last {
            proper.push("-g".into());
        }
        let params = line.split(' ').filter(|word| word.starts_with("--param="));
        proper.extend(params.map(String::from));
        Answer {
            success: true,
            messages: format!("Target: x\n {} -o - |\n as -o x.o\n", proper.join(" ")).into_bytes(),
            ..Answer::default()
        }
    }

    #[test]
    fn gcc_is_believed_where_it_would_run_the_same() {
        let decisive = [OsStr::new("-mno-sse"), OsStr::new("-march=native")];
        let ask = |last: bool| move |words: &[&OsStr]| Ok(driver(words, last));
        let found = resolve(Family::Gcc, &decisive, false, &ask(true)).unwrap();
        assert_eq!(shown(&found), "-march=new -mavx --param=l1-cache-size=32");
        let why = resolve(Family::Gcc, &decisive, true, &ask(true)).unwrap_err();
        assert!(why.why.contains("order") && why.lasts, "{why:?}");
        let warns = |_: &[&OsStr]| {
            Ok(Answer {
                messages: b"gcc: warning: deprecated\n".to_vec(),
                success: true,
                ..Answer::default()
            })
        };
        assert_eq!(
            resolve(Family::Gcc, &decisive, false, &warns),
            Err(Unproven::judged("gcc: warning: deprecated"))
        );
    }

    /// A compiler that was killed, or could not be started, has judged nothing.
    #[test]
    fn no_answer_is_no_lasting_one() {
        let decisive = [OsStr::new("-march=native")];
        let killed = |_: &[&OsStr]| Ok(Answer::default());
        let unstarted = |_: &[&OsStr]| Err("Resource temporarily unavailable".to_owned());
        let failing = |_: &[&OsStr]| {
            Ok(Answer {
                messages: b"gcc: error: out of memory\n".to_vec(),
                ..Answer::default()
            })
        };
        let asks: [Ask; 3] = [&killed, &unstarted, &failing];
        for ask in asks {
            for family in [Family::Gcc, Family::Clang] {
                let why = resolve(family, &decisive, false, ask).unwrap_err();
                assert!(!why.lasts, "{why:?}");
            }
        }
        // Nor one that answers at first only.
        let number = std::cell::Cell::new(0);
        let fading = |words: &[&OsStr]| {
            number.set(number.get() + 1);
            match number.get() {
                1 | 2 => Ok(driver(words, false)),
                _ => Ok(Answer::default()),
            }
        };
        let why = resolve(Family::Gcc, &decisive, false, &fading).unwrap_err();
        assert!(!why.lasts && number.get() == 3, "{why:?}");
    }

    /// ARM's drivers: one that knows its processor says which it is; one for another machine's hands the word on, and the
    /// compiler proper refuses it.
    #[test]
    fn the_processor_of_an_arm_is_believed_if_the_driver_tells_it() {
        let decisive = [OsStr::new("-mcpu=native+nofp"), OsStr::new("-mthumb")];
        let driver = |knows: bool| {
            move |words: &[&OsStr]| {
                let told = shown(words);
                let told = match knows {
                    true => told.replace("-mcpu=native", "-mcpu=neoverse-n1+crypto"),
                    false => told,
                };
                let options = told.split(' ').filter(|word| word.starts_with("-m"));
                let options: Vec<&str> = options.collect();
                let line = format!(" cc1 -quiet - {} -o - |\n as -o x.o\n", options.join(" "));
                Ok(Answer {
                    success: true,
                    messages: line.into_bytes(),
                    ..Answer::default()
                })
            }
        };
        let found = resolve(Family::Gcc, &decisive, false, &driver(true)).unwrap();
        assert_eq!(shown(&found), "-mcpu=neoverse-n1+crypto+nofp");
        let why = resolve(Family::Gcc, &decisive, false, &driver(false)).unwrap_err();
        assert!(why.lasts && why.why.contains("no plain option"), "{why:?}");
    }

    #[test]
    fn lines_are_taken_apart_as_drivers_quote_them() {
        let line = br#" /usr/lib/cc1 "-march=a b" "x\"y" -z "" |"#;
        let words = command_of_line(line).unwrap();
        let words: Vec<String> = words.iter().map(|word| text(word)).collect();
        assert_eq!(words, ["/usr/lib/cc1", "-march=a b", "x\"y", "-z", "", "|"]);
        assert_eq!(command_of_line(b" (in-process)"), None);
        assert_eq!(command_of_line(b"Target: x"), None);
    }
}
