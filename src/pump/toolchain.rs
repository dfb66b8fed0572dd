//! What is known of a compiler, with those options that change it: its folders, its own macros, its answers about its
//! operators. Asked once, and again when the compiler, or anything that its answer depends on, is another.

use super::ask_compiler::{self, ask, Environment, Said};
use super::clock::Epoch;
use super::compiler_flags::{flags, names_relative_folder, user_root};
use super::content::lock;
use super::place::{Place, Relied};
use super::questions::{self, Question, Values};
use super::search_output::{self, Searched};
use super::tree::Tree;
use super::walk::{walk, Trouble};
use crate::model::family::Family;
use crate::model::invocation::Invocation;
use crate::model::predefined::Compiler;
use crate::model::search::{self, SearchDir};
use crate::os::identity::{Identity, Kind};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// How many questions are asked one by one, of each compiler.
const SINGLE_QUESTIONS_MAX: usize = 500;

/// How many compilers, each with its options, are remembered.
const TOOLCHAINS_MAX: usize = 256;

/// A compiler with the options that matter.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Key {
    program: Vec<u8>,
    flags: Vec<OsString>,
    language: &'static str,
    /// Only where an option names a folder relative to it.
    cwd: Option<Vec<u8>>,
}

/// What is known of a compiler.
#[derive(Debug)]
pub struct Toolchain {
    /// Its macros, and how it reads text.
    pub compiler: Compiler,
    /// Its folders, as it lists them.
    pub defaults: Vec<SearchDir>,
    /// Those of them that a host is expected to have, too: not those below a root that the user gave, nor
    /// those below another one.
    pub system: Vec<Arc<Place>>,
    /// Folders that it would search, too, if they were there.
    pub absent: Vec<Vec<u8>>,
    relied: Relied,
    listed: Listed,
    values: Mutex<Asked>,
    key: Key,
    cwd: Vec<u8>,
}

#[derive(Debug, Default)]
struct Asked {
    values: Values,
    in_advance: bool,
    singly: usize,
}

/// Folders whose entries matter, each in the state that was seen.
type Listed = Vec<(Arc<Place>, Option<Identity>)>;

/// All compilers that were asked.
#[derive(Debug)]
pub struct Toolchains {
    environment: Environment,
    known: Mutex<HashMap<Key, Slot>>,
}

/// While one thread asks, others that want the same wait.
type Slot = Arc<Mutex<Option<Arc<Toolchain>>>>;

impl Toolchains {
    /// None is known yet; they are asked with these variables.
    pub fn new(environment: Environment) -> Toolchains {
        Toolchains {
            environment,
            known: Mutex::default(),
        }
    }

    /// The variables with which compilers are asked.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The compiler of a command.
    pub fn of(
        &self,
        tree: &Tree,
        epoch: Epoch,
        program: &[u8],
        invocation: &Invocation,
        cwd: &[u8],
    ) -> Result<Arc<Toolchain>, Trouble> {
        let flags = flags(invocation);
        let key = Key {
            program: program.to_vec(),
            cwd: names_relative_folder(&flags).then(|| cwd.to_vec()),
            language: invocation.language.option_value(),
            flags,
        };
        let slot = self.slot(&key);
        let mut slot = lock(&slot);
        if let Some(known) = slot.as_ref().filter(|known| known.is_valid(tree, epoch)) {
            return Ok(Arc::clone(known));
        }
        *slot = None;
        let asked = Toolchain::ask(tree, epoch, key, cwd, &self.environment)?;
        Ok(Arc::clone(slot.insert(Arc::new(asked))))
    }

    fn slot(&self, key: &Key) -> Slot {
        let mut known = lock(&self.known);
        if let Some(slot) = known.get(key) {
            return Arc::clone(slot);
        }
        if known.len() >= TOOLCHAINS_MAX {
            known.clear();
        }
        Arc::clone(known.entry(key.clone()).or_default())
    }

    /// The value of `operator(operand)`; None if it can't be known.
    pub fn value(&self, toolchain: &Toolchain, question: Question) -> Option<i64> {
        let mut asked = lock(&toolchain.values);
        if let Some(value) = asked.values.get(&question) {
            return *value;
        }
        if !questions::can_be_asked(&question) {
            return None;
        }
        let mut due = vec![question.clone()];
        if !asked.in_advance {
            asked.in_advance = true;
            due.extend(questions::in_advance());
        } else {
            asked.singly += 1;
            if asked.singly > SINGLE_QUESTIONS_MAX {
                return None;
            }
        }
        let values = toolchain.values_of(&due, &self.environment)?;
        asked.values.extend(values);
        asked.values.get(&question).copied().flatten()
    }
}

impl Toolchain {
    fn ask(
        tree: &Tree,
        epoch: Epoch,
        key: Key,
        cwd: &[u8],
        environment: &Environment,
    ) -> Result<Toolchain, Trouble> {
        let name = String::from_utf8_lossy(&key.program).into_owned();
        let fault = |what: String| Trouble(format!("{name}: {what}"));
        let mut relied = Reliance {
            tree,
            epoch,
            places: Vec::new(),
        };
        // Before it is run, so that a compiler that is replaced meanwhile is asked again.
        let program = relied.rely(tree.root(), &key.program)?;
        if program.is_none_or(|program| is_ourselves(&program)) {
            return Err(fault("it is no compiler".to_owned()));
        }
        let (said, values) = key.introduce(cwd, environment).map_err(fault)?;
        let searched = search_output::read(&said.messages)
            .ok_or_else(|| fault("couldn't determine default system include directories".into()))?;
        let family = family(&said.output).ok_or_else(|| fault("of no known family".into()))?;
        let trigraphs = search::trigraphs(key.flags.iter().map(|flag| flag.as_bytes()));
        let compiler = Compiler::read(family, &said.output, trigraphs)
            .map_err(|punt| fault(punt.to_string()))?;
        let start = relied.rely(tree.root(), cwd)?;
        let start = start.ok_or_else(|| fault("the working directory is not there".to_owned()))?;
        let system = relied.folders(&start, &searched, user_root(&key.flags))?;
        let listed = relied.listings(&start, &searched, &key.program)?;
        Ok(Toolchain {
            compiler,
            defaults: searched.dirs,
            absent: searched.missing,
            system,
            relied: relied.places,
            listed,
            values: Mutex::new(Asked {
                in_advance: values.is_some(),
                values: values.unwrap_or_default(),
                singly: 0,
            }),
            // Where it was asked first may be gone when it is asked again, for somebody elsewhere.
            cwd: key.cwd.clone().unwrap_or_else(|| b"/".to_vec()),
            key,
        })
    }

    /// Whether everything that it depends on is as it was.
    pub fn is_valid(&self, tree: &Tree, epoch: Epoch) -> bool {
        let same = |(place, version): &(Arc<Place>, u64)| {
            place.check(tree.clock(), epoch).version == *version
        };
        let listed = |(place, identity): &(Arc<Place>, Option<Identity>)| {
            place.check(tree.clock(), epoch).identity == *identity
        };
        self.relied.iter().all(same) && self.listed.iter().all(listed)
    }

    /// What an answer that was made with it depends on.
    pub fn relied(&self) -> &Relied {
        &self.relied
    }

    fn values_of(&self, questions: &[Question], environment: &Environment) -> Option<Values> {
        let source = questions::source(questions);
        let said = self
            .key
            .run(&self.cwd, environment, &["-E", "-P"], "-", &source)
            .ok()?;
        questions::values(questions, &said.output, &said.messages)
    }
}

impl Key {
    /// Asks for folders and macros, and in the same run for what is asked in advance; starting a compiler takes longer than
    /// all its answers. One that stumbles over a question is asked for the rest alone.
    fn introduce(
        &self,
        cwd: &[u8],
        environment: &Environment,
    ) -> Result<(Said, Option<Values>), String> {
        const ALL: [&str; 3] = ["-E", "-dD", "-v"];
        let questions = questions::in_advance();
        let source = questions::source(&questions);
        let said = self.run(cwd, environment, &ALL, "-", &source);
        let said = said.map_err(|err| err.to_string())?;
        let values = questions::values(&questions, &said.output, &said.messages);
        if said.success || values.is_some() {
            return Ok((said, values));
        }
        let said = self.run(cwd, environment, &ALL, "/dev/null", b"");
        let said = said.map_err(|err| err.to_string())?;
        if !said.success {
            let error = ask_compiler::first_error(&said.messages);
            return Err(format!("can't ask it for its folders: {error}"));
        }
        Ok((said, None))
    }

    fn run(
        &self,
        cwd: &[u8],
        environment: &Environment,
        options: &[&str],
        source: &str,
        input: &[u8],
    ) -> std::io::Result<Said> {
        let mut words: Vec<&OsStr> = self.flags.iter().map(OsString::as_os_str).collect();
        words.extend(options.iter().map(OsStr::new));
        words.extend(["-x", self.language, source].map(OsStr::new));
        let program = Path::new(OsStr::from_bytes(&self.program));
        let cwd = Path::new(OsStr::from_bytes(cwd));
        ask(program, &words, cwd, environment, input)
    }
}

/// Whether a program is the one that runs here: a link called `gcc` may lead to it.
fn is_ourselves(program: &Arc<Place>) -> bool {
    let own = std::fs::read_link("/proc/self/exe");
    own.is_ok_and(|own| own.as_os_str().as_bytes() == program.path())
}

/// Whose rules it follows, by its own macros.
fn family(macros: &[u8]) -> Option<Family> {
    let has = |name: &[u8]| {
        macros
            .split(|byte| *byte == b'\n')
            .filter_map(|line| line.strip_prefix(b"#define "))
            .any(|line| line.starts_with(name))
    };
    match (has(b"__clang__ "), has(b"__GNUC__ ")) {
        (true, _) => Some(Family::Clang),
        (false, true) => Some(Family::Gcc),
        (false, false) => None,
    }
}

/// The places that an answer of a compiler depends on.
struct Reliance<'r> {
    tree: &'r Tree,
    epoch: Epoch,
    places: Relied,
}

impl Reliance<'_> {
    fn rely(&mut self, from: &Arc<Place>, path: &[u8]) -> Result<Option<Arc<Place>>, Trouble> {
        let places = &mut self.places;
        walk(self.tree, self.epoch, from, path, &mut |place, seen| {
            if !places.iter().any(|(known, _)| Arc::ptr_eq(known, place)) {
                places.push((Arc::clone(place), seen.version));
            }
        })
    }

    /// The folders that were listed, without those below the user's root; and those that were missed.
    fn folders(
        &mut self,
        cwd: &Arc<Place>,
        searched: &Searched,
        user_root: Option<Vec<u8>>,
    ) -> Result<Vec<Arc<Place>>, Trouble> {
        let mut folders: Vec<Arc<Place>> = Vec::new();
        let root = match user_root {
            Some(path) => self.rely(cwd, &path)?,
            None => None,
        };
        for dir in &searched.dirs {
            let Some(place) = self.rely(cwd, &dir.path)? else {
                continue;
            };
            let of_user = root
                .as_ref()
                .is_some_and(|root| root.path() != b"/" && is_below(place.path(), root.path()));
            let above = |known: &Arc<Place>| is_below(place.path(), known.path());
            if !of_user && !folders.iter().any(above) && place.path() != b"/" {
                folders.retain(|known| !is_below(known.path(), place.path()));
                folders.push(place);
            }
        }
        for path in searched.missing.iter().chain(&searched.parts) {
            self.rely(cwd, path)?;
        }
        Ok(folders)
    }

    /// Folders in which clang looks for installations of gcc and of libraries: something new there may be its new choice.
    fn listings(
        &mut self,
        cwd: &Arc<Place>,
        searched: &Searched,
        program: &[u8],
    ) -> Result<Listed, Trouble> {
        if searched.candidates.is_empty() {
            return Ok(Vec::new());
        }
        let mut paths: Vec<Vec<u8>> = [
            &b"/usr"[..],
            b"/usr/lib",
            b"/usr/include",
            b"/usr/include/c++",
        ]
        .map(<[u8]>::to_vec)
        .to_vec();
        for path in searched
            .candidates
            .iter()
            .map(Vec::as_slice)
            .chain([program])
        {
            paths.push([path, &b"/.."[..]].concat());
            paths.push([path, &b"/../.."[..]].concat());
        }
        let mut listed: Listed = Vec::new();
        for path in paths {
            let Some(place) = self.rely(cwd, &path)? else {
                continue;
            };
            let seen = place.check(self.tree.clock(), self.epoch);
            let known = listed.iter().any(|(known, _)| Arc::ptr_eq(known, &place));
            if seen.kind() == Some(Kind::Folder) && !known {
                listed.push((place, seen.identity));
            }
        }
        Ok(listed)
    }
}

/// Whether `path` is `folder` or below it, by whole names.
pub fn is_below(path: &[u8], folder: &[u8]) -> bool {
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/") || folder == b"/")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::testing::invocation;

    #[test]
    fn below_is_by_whole_names() {
        for (path, folder, below) in [
            ("/usr/include", "/usr/include", true),
            ("/usr/include/a", "/usr/include", true),
            ("/usr/include-foo/a", "/usr/include", false),
            ("/usr", "/usr/include", false),
            ("/a", "/", true),
        ] {
            assert_eq!(
                is_below(path.as_bytes(), folder.as_bytes()),
                below,
                "{path}"
            );
        }
    }

    #[test]
    fn a_compiler_is_asked_once_until_it_is_another() {
        let dir = tempfile::tempdir().unwrap();
        let at = std::fs::canonicalize(dir.path()).unwrap();
        let (program, count) = (at.join("gcc"), at.join("count"));
        let script = |macros: &str| {
            let text = format!(
                "#!/bin/sh\necho x >> {}\n\
                 echo '# 0 \"/dev/null\"\n# 0 \"<built-in>\"\n#define __GNUC__ 12\n{macros}\n# 0 \"<command-line>\"'\n\
                 echo 'ignoring nonexistent directory \"{at}/none\"' >&2\n\
                 echo '#include <...> search starts here:' >&2\necho ' {at}/inc' >&2\necho 'End of search list.' >&2\n",
                count.display(),
                at = at.display()
            );
            std::fs::write(&program, text).unwrap();
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        script("");
        std::fs::create_dir(at.join("inc")).unwrap();
        let tree = Tree::default();
        let toolchains = Toolchains::new(Vec::new());
        let runs = || std::fs::read_to_string(&count).map_or(0, |text| text.lines().count());
        let ask = |line: &str| {
            let [bytes, cwd] = [&program, &at].map(|path| path.as_os_str().as_bytes());
            toolchains.of(&tree, tree.begin(), bytes, &invocation(line), cwd)
        };
        let first = ask("gcc -c a.c").unwrap();
        assert_eq!(first.defaults.len(), 1);
        let inc = at.join("inc");
        assert_eq!(first.system[0].path(), inc.as_os_str().as_bytes());
        ask("gcc -Ix -DY -c b.c").unwrap();
        assert_eq!(runs(), 1);
        ask("gcc -m32 -c b.c").unwrap();
        assert_eq!(runs(), 2);
        std::fs::create_dir(at.join("none")).unwrap();
        ask("gcc -c a.c").unwrap();
        assert_eq!(runs(), 3, "a folder that was missing is there");
        script("#define NEW 1");
        ask("gcc -c a.c").unwrap();
        assert_eq!(runs(), 4, "the compiler was replaced");
        std::fs::remove_file(&program).unwrap();
        assert!(ask("gcc -c a.c").is_err());
    }

    #[test]
    fn it_can_be_asked_when_the_first_who_asked_is_gone() {
        let program = b"/usr/bin/gcc";
        if !std::path::Path::new(OsStr::from_bytes(program)).exists() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let at = std::fs::canonicalize(dir.path()).unwrap();
        let tree = Tree::default();
        let toolchains = Toolchains::new(vec![("PATH".into(), "/usr/bin:/bin".into())]);
        let invocation = invocation("gcc -c a.c");
        let cwd = at.as_os_str().as_bytes();
        let toolchain = toolchains.of(&tree, tree.begin(), program, &invocation, cwd);
        let toolchain = toolchain.unwrap();
        dir.close().unwrap();
        let question = (b"__has_attribute".to_vec(), b"noreturn".to_vec());
        assert_eq!(toolchains.value(&toolchain, question), Some(1));
    }
}
