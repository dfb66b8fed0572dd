//! What is known of a compiler, with those options that change it: its folders, its own macros, its answers about its
//! operators. Asked once, and again when the compiler, or anything that its answer depends on, is another.

use super::ask_compiler::Environment;
use super::asking::{Introduced, Key, Manner, Silence, PATIENCE};
use super::clock::Epoch;
use super::compiler_flags::user_root;
use super::content::lock;
use super::place::{Place, Relied};
use super::questions::{self, Question, Values};
use super::reliance::{holds, Listed, Reliance};
use super::search_output;
use super::tree::Tree;
use super::walk::Trouble;
use crate::model::family::Family;
use crate::model::invocation::Invocation;
use crate::model::predefined::Compiler;
use crate::model::search::{self, SearchDir};
use crate::os::identity::Identity;
use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How many questions are asked one by one, of each compiler.
const SINGLE_QUESTIONS_MAX: usize = 500;

/// How many compilers, each with its options, are remembered.
const TOOLCHAINS_MAX: usize = 256;

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
    /// It did not come back from questions in advance.
    balks: bool,
}

#[derive(Debug, Default)]
struct Asked {
    values: Values,
    in_advance: bool,
    singly: usize,
}

/// All compilers that were asked.
#[derive(Debug)]
pub struct Toolchains {
    manner: Manner,
    known: Mutex<HashMap<Key, Slot>>,
    /// Programs that were too slow, while this was so: with other options they are likely to be so again.
    silent: Mutex<HashMap<Vec<u8>, (Silence, Relied)>>,
    /// Programs that did not come back from questions in advance, as long as they are the same.
    balking: Mutex<HashMap<Vec<u8>, Relied>>,
}

/// While one thread asks, others that want the same wait.
type Slot = Arc<Mutex<Option<Arc<Toolchain>>>>;

impl Toolchains {
    /// None is known yet; they are asked with these variables.
    pub fn new(environment: Environment) -> Toolchains {
        let manner = Manner {
            environment,
            patience: PATIENCE,
        };
        Toolchains {
            manner,
            known: Mutex::default(),
            silent: Mutex::default(),
            balking: Mutex::default(),
        }
    }

    /// Which may take so long for one answer.
    pub fn with_patience(mut self, patience: Duration) -> Toolchains {
        self.manner.patience = patience;
        self
    }

    /// The variables with which compilers are asked.
    pub fn environment(&self) -> &Environment {
        &self.manner.environment
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
        let key = Key::new(program, invocation, cwd);
        let slot = self.slot(&key);
        let mut slot = lock(&slot);
        if let Some(known) = slot.as_ref().filter(|known| known.is_valid(tree, epoch)) {
            return Ok(Arc::clone(known));
        }
        *slot = None;
        self.heed_silence(&key, &|relied| holds(relied, tree, epoch))?;
        let balks = lock(&self.balking)
            .get(program)
            .is_some_and(|relied| holds(relied, tree, epoch));
        let asked = Toolchain::ask(tree, epoch, key, cwd, &self.manner, !balks);
        let asked = asked.map_err(|Vain(trouble, silence)| {
            if let Some((silence, relied)) = silence {
                self.note_silence(program, silence, &relied);
            }
            trouble
        })?;
        if asked.balks {
            lock(&self.balking).insert(program.to_vec(), asked.relied.clone());
        }
        let asked = Arc::new(asked);
        *slot = Some(Arc::clone(&asked));
        Ok(asked)
    }

    /// Trouble if the program was too slow lately, and what it depends on still is as it was.
    fn heed_silence(&self, key: &Key, holds: &dyn Fn(&Relied) -> bool) -> Result<(), Trouble> {
        let mut silent = lock(&self.silent);
        if let Some((silence, relied)) = silent.get(&key.program) {
            match silence.why().filter(|_| holds(relied)) {
                Some(why) => return Err(key.trouble(why)),
                None => silent.remove(&key.program),
            };
        }
        Ok(())
    }

    fn note_silence(&self, program: &[u8], silence: Silence, relied: &Relied) {
        let mut silent = lock(&self.silent);
        silent.retain(|_, (silence, _)| silence.why().is_some());
        silent.insert(program.to_vec(), (silence, relied.clone()));
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

    /// The value of `operator(operand)`; None if it can't be known. That the compiler does not answer is trouble, which
    /// may be gone the next time.
    pub fn value(&self, toolchain: &Toolchain, question: Question) -> Result<Option<i64>, Trouble> {
        let mut asked = lock(&toolchain.values);
        if let Some(value) = asked.values.get(&question) {
            return Ok(*value);
        }
        if !questions::can_be_asked(&question) {
            return Ok(None);
        }
        // A toolchain that is asked is valid.
        self.heed_silence(&toolchain.key, &|_| true)?;
        if !asked.in_advance {
            asked.in_advance = true;
            // If it does not bear so many it may bear one, unless it is silent.
            let _ = self.ask_for(toolchain, &mut asked, &questions::in_advance());
            self.heed_silence(&toolchain.key, &|_| true)?;
            if let Some(value) = asked.values.get(&question) {
                return Ok(*value);
            }
        }
        asked.singly += 1;
        if asked.singly > SINGLE_QUESTIONS_MAX {
            return Ok(None);
        }
        self.ask_for(toolchain, &mut asked, std::slice::from_ref(&question))?;
        Ok(asked.values.get(&question).copied().flatten())
    }

    fn ask_for(
        &self,
        toolchain: &Toolchain,
        asked: &mut Asked,
        questions: &[Question],
    ) -> Result<(), Trouble> {
        let Toolchain { key, cwd, .. } = toolchain;
        let values = key.values_of(cwd, &self.manner, questions);
        let values = values.map_err(|vain| {
            if let Some(silence) = Silence::after(&vain) {
                self.note_silence(&key.program, silence, &toolchain.relied);
            }
            key.trouble(&vain.why)
        })?;
        asked.values.extend(values);
        Ok(())
    }
}

/// Why nothing is known of a compiler, and for how long, as long as these places are as they are.
struct Vain(Trouble, Option<(Silence, Relied)>);

impl From<Trouble> for Vain {
    fn from(trouble: Trouble) -> Vain {
        Vain(trouble, None)
    }
}

impl Toolchain {
    fn ask(
        tree: &Tree,
        epoch: Epoch,
        key: Key,
        cwd: &[u8],
        manner: &Manner,
        eager: bool,
    ) -> Result<Toolchain, Vain> {
        let fault = |what: &str| key.trouble(what);
        let mut relied = Reliance::new(tree, epoch);
        // Before it is run, so that a compiler that is replaced meanwhile is asked again.
        let program = relied.rely(tree.root(), &key.program)?;
        if program.is_none_or(|program| is_ourselves(&program)) {
            return Err(fault("it is no compiler").into());
        }
        let introduced = key.introduce(cwd, manner, eager);
        let introduced = introduced.map_err(|vain| {
            let silence = Silence::after(&vain);
            Vain(
                fault(&vain.why),
                silence.map(|silence| (silence, relied.places.clone())),
            )
        })?;
        let Introduced {
            said,
            values,
            balks,
        } = introduced;
        let searched = search_output::read(&said.messages)
            .ok_or_else(|| fault("couldn't determine default system include directories"))?;
        let family = family(&said.output).ok_or_else(|| fault("of no known family"))?;
        let trigraphs = search::trigraphs(key.flags.iter().map(|flag| flag.as_bytes()));
        let compiler = Compiler::read(family, &said.output, trigraphs)
            .map_err(|punt| fault(&punt.to_string()))?;
        let start = relied.rely(tree.root(), cwd)?;
        let start = start.ok_or_else(|| fault("the working directory is not there"))?;
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
                in_advance: values.is_some() || balks || !eager,
                values: values.unwrap_or_default(),
                ..Asked::default()
            }),
            // Where it was asked first may be gone when it is asked again, for somebody elsewhere.
            cwd: key.cwd.clone().unwrap_or_else(|| b"/".to_vec()),
            key,
            balks,
        })
    }

    /// Whether everything that it depends on is as it was.
    pub fn is_valid(&self, tree: &Tree, epoch: Epoch) -> bool {
        let listed = |(place, identity): &(Arc<Place>, Option<Identity>)| {
            place.check(tree.clock(), epoch).identity == *identity
        };
        holds(&self.relied, tree, epoch) && self.listed.iter().all(listed)
    }

    /// What an answer that was made with it depends on.
    pub fn relied(&self) -> &Relied {
        &self.relied
    }
}

impl Key {
    fn trouble(&self, what: &str) -> Trouble {
        let name = String::from_utf8_lossy(&self.program);
        Trouble(format!("{name}: {what}"))
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::testing::invocation;
    use std::ffi::OsStr;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    /// A compiler that is a script, and who asks it.
    struct Asked {
        dir: tempfile::TempDir,
        at: PathBuf,
        tree: Tree,
        toolchains: Toolchains,
    }

    impl Asked {
        fn new(patience: Duration) -> Asked {
            let dir = tempfile::tempdir().unwrap();
            let at = fs::canonicalize(dir.path()).unwrap();
            fs::create_dir(at.join("inc")).unwrap();
            let environment = vec![("PATH".into(), "/usr/bin:/bin".into())];
            let toolchains = Toolchains::new(environment).with_patience(patience);
            let tree = Tree::default();
            Asked {
                dir,
                at,
                tree,
                toolchains,
            }
        }

        /// The compiler does `first`, and then says which folders and macros it has.
        fn script(&self, first: &str, macros: &str) {
            let at = self.at.display();
            let text = format!(
                "#!/bin/sh\necho x >> {at}/count\n{first}\n\
                 echo '# 0 \"/dev/null\"\n# 0 \"<built-in>\"\n#define __GNUC__ 12\n{macros}\n# 0 \"<command-line>\"'\n\
                 echo 'ignoring nonexistent directory \"{at}/none\"' >&2\n\
                 echo '#include <...> search starts here:' >&2\necho ' {at}/inc' >&2\necho 'End of search list.' >&2\n",
            );
            let program = self.at.join("gcc");
            fs::write(&program, text).unwrap();
            fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        }

        fn runs(&self) -> usize {
            let count = fs::read_to_string(self.at.join("count"));
            count.map_or(0, |text| text.lines().count())
        }

        fn ask(&self, line: &str) -> Result<Arc<Toolchain>, Trouble> {
            let program = self.at.join("gcc");
            let [bytes, cwd] = [&program, &self.at].map(|path| path.as_os_str().as_bytes());
            let Asked {
                tree, toolchains, ..
            } = self;
            toolchains.of(tree, tree.begin(), bytes, &invocation(line), cwd)
        }

        fn value(&self, toolchain: &Toolchain, operand: &str) -> Result<Option<i64>, Trouble> {
            let question = (b"__has_attribute".to_vec(), operand.as_bytes().to_vec());
            self.toolchains.value(toolchain, question)
        }
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_compiler_is_asked_once_until_it_is_another() {
        let asked = Asked::new(LONG);
        asked.script("", "");
        let first = asked.ask("gcc -c a.c").unwrap();
        assert_eq!(first.defaults.len(), 1);
        assert!(format!("{first:?}").contains("/inc"));
        let inc = asked.at.join("inc");
        assert_eq!(first.system[0].path(), inc.as_os_str().as_bytes());
        asked.ask("gcc -Ix -DY -c b.c").unwrap();
        assert_eq!(asked.runs(), 1);
        asked.ask("gcc -m32 -c b.c").unwrap();
        assert_eq!(asked.runs(), 2);
        fs::create_dir(asked.at.join("none")).unwrap();
        asked.ask("gcc -c a.c").unwrap();
        assert_eq!(asked.runs(), 3, "a folder that was missing is there");
        asked.script("", "#define NEW 1");
        asked.ask("gcc -c a.c").unwrap();
        assert_eq!(asked.runs(), 4, "the compiler was replaced");
        fs::remove_file(asked.at.join("gcc")).unwrap();
        assert!(asked.ask("gcc -c a.c").is_err());
    }

    /// Does something only when it is asked by a text.
    fn by_text(what: &str) -> String {
        format!("case \"$*\" in *' -') {what};; esac")
    }

    #[test]
    fn one_that_stumbles_over_questions_is_asked_without() {
        let hangs = Asked::new(Duration::from_secs(3));
        hangs.script(&by_text("sleep 1000"), "");
        let toolchain = hangs.ask("gcc -c a.c").unwrap();
        assert_eq!((toolchain.defaults.len(), hangs.runs()), (1, 2));
        hangs.ask("gcc -m32 -c a.c").unwrap();
        assert_eq!(hangs.runs(), 3, "with other options not so again");
        hangs.script("", "#define NEW 1");
        hangs.ask("gcc -m32 -c a.c").unwrap();
        assert_eq!(hangs.runs(), 4, "another one is asked all at once");
        for (does, end) in [("ends badly", "exit 1"), ("is killed", "kill -9 $$")] {
            let asked = Asked::new(LONG);
            asked.script(&by_text(end), "");
            let toolchain = asked.ask("gcc -c a.c").unwrap();
            assert_eq!((toolchain.defaults.len(), asked.runs()), (1, 2), "{does}");
        }
    }

    #[test]
    fn one_that_says_nothing_is_left_alone_until_it_is_another() {
        let asked = Asked::new(Duration::from_millis(100));
        asked.script("sleep 1000", "");
        for _ in 0..3 {
            let trouble = asked.ask("gcc -c a.c").unwrap_err();
            assert!(trouble.0.contains("takes too long"), "{trouble}");
        }
        assert!(asked.runs() <= 2, "{}", asked.runs());
        fs::remove_file(asked.at.join("gcc")).unwrap();
        let trouble = asked.ask("gcc -c a.c").unwrap_err();
        assert!(trouble.0.contains("no compiler"), "{trouble}");
    }

    #[test]
    fn one_that_says_nothing_is_not_asked_with_other_options_either() {
        let mut asked = Asked::new(LONG);
        asked.script("case \"$*\" in *-m32*) sleep 1000;; esac", "");
        asked.ask("gcc -c a.c").unwrap();
        asked.toolchains.manner.patience = Duration::from_millis(100);
        asked.ask("gcc -m32 -c a.c").map(drop).unwrap_err();
        asked.toolchains.manner.patience = LONG;
        let runs = asked.runs();
        for line in ["gcc -m16 -c a.c", "gcc -m64 -std=c99 -c a.c"] {
            let trouble = asked.ask(line).map(drop).unwrap_err();
            assert!(trouble.0.contains("takes too long"), "{trouble}");
        }
        asked.ask("gcc -c b.c").unwrap();
        assert_eq!(asked.runs(), runs, "what it has said counts");
        asked.script("", "#define NEW 1");
        for line in ["gcc -m16 -c a.c", "gcc -m32 -c a.c"] {
            asked.ask(line).unwrap();
        }
    }

    #[test]
    fn questions_that_came_to_nothing_are_asked_again() {
        let asked = Asked::new(LONG);
        let says =
            "grep -q may_alias && exit 1; echo distcc_value_0 1; echo distcc_values_end; exit 0";
        let mark = asked.at.join("well");
        let well = format!("[ -e {} ] || exit 1; {says}", mark.display());
        asked.script(&by_text(&well), "");
        let toolchain = asked.ask("gcc -c a.c").unwrap();
        assert!(asked.value(&toolchain, "noreturn").is_err());
        fs::write(mark, "").unwrap();
        assert_eq!(asked.value(&toolchain, "noreturn"), Ok(Some(1)));
        asked.script(&by_text(&well), "#define NEW");
        let toolchain = asked.ask("gcc -c a.c").unwrap();
        let value = asked.value(&toolchain, "noreturn");
        assert_eq!(value, Ok(Some(1)), "only not with all the others");
    }

    #[test]
    fn questions_that_take_too_long_are_trouble_for_all_who_ask() {
        let asked = Asked::new(LONG);
        let mark = asked.at.join("slow");
        let slow = format!("[ -e {} ] && sleep 1000; exit 1", mark.display());
        asked.script(&by_text(&slow), "");
        let toolchain = asked.ask("gcc -c a.c").unwrap();
        fs::write(mark, "").unwrap();
        let Asked {
            toolchains, dir, ..
        } = asked;
        let toolchains = toolchains.with_patience(Duration::from_millis(100));
        for operand in ["noreturn", "cold", "made_up"] {
            let question = (b"__has_attribute".to_vec(), operand.as_bytes().to_vec());
            let trouble = toolchains.value(&toolchain, question).unwrap_err();
            assert!(trouble.0.contains("takes too long"), "{trouble}");
        }
        let runs = fs::read_to_string(dir.path().join("count")).unwrap();
        assert!(runs.lines().count() <= 3, "{runs}");
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
        assert_eq!(toolchains.value(&toolchain, question), Ok(Some(1)));
    }
}
