//! From a question to its answer: the command is read, the compiler asked, the preprocessor followed, and what travels
//! put together. Everything that requests share is here.

use super::answers::{key, Answer, Answers, Outcome};
use super::ask_compiler::Environment;
use super::beginnings::Beginnings;
use super::clock::Epoch;
use super::place::Place;
use super::reply::{differ_for_stock, time, told, Reply};
use super::shipment::{pack, Shipment, Ways};
use super::system_lookups::{answers, SystemAnswers};
use super::toolchain::{Toolchain, Toolchains};
use super::tree::Tree;
use super::turns::Turns;
use super::walk::{walk, Trouble};
use super::world::{LocalWorld, Site};
use crate::model::about::{About, VARIABLES};
use crate::model::charset;
use crate::model::direct::Query;
use crate::model::directives::Clock;
use crate::model::family::Family;
use crate::model::invocation::{scan, Invocation, Scan};
use crate::model::preprocessor::{closure, Budget, Closure, Unit};
use crate::model::search::{self, SearchPath, Surroundings};
use crate::model::stock_limits;
use crate::os::identity::Kind;
use crate::os::process::thread_time;
use std::ffi::{OsStr, OsString};
use std::num::NonZero;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

/// How much processor time one analysis may take.
const TIME_MAX: Duration = Duration::from_secs(4);

/// How much longer it may take if processors or disks are busy.
const WAITING_FACTOR: u32 = 10;

/// How many steps the preprocessor may take for one.
const STEPS_MAX: u64 = 30_000_000;

/// How often an analysis is begun again because files change under it.
const TRIES_MAX: u32 = 3;

/// How much memory contents of files and answers may take, in bytes.
const MEMORY_MAX: usize = 1 << 30;

/// What answers questions, for many threads at once.
#[derive(Debug)]
pub struct Analyst {
    /// All places.
    pub tree: Tree,
    toolchains: Toolchains,
    beginnings: Beginnings,
    /// All answers.
    pub answers: Answers,
    turns: Turns,
    time_max: Duration,
    memory_max: usize,
}

/// How an analysis ended that was not in vain.
enum Ended {
    Answer(Box<Answer>),
    /// Files changed under it.
    Again,
}

impl Analyst {
    /// Knows nothing yet; asks compilers with these variables.
    pub fn new(environment: Environment) -> Analyst {
        Analyst {
            tree: Tree::default(),
            toolchains: Toolchains::new(environment),
            beginnings: Beginnings::default(),
            answers: Answers::default(),
            turns: Turns::new(available_parallelism().map_or(1, NonZero::get)),
            time_max: TIME_MAX,
            memory_max: MEMORY_MAX,
        }
    }

    /// The variables with which compilers are asked.
    pub fn environment(&self) -> &Environment {
        self.toolchains.environment()
    }

    /// With other bounds.
    pub fn with_bounds(self, time_max: Duration, memory_max: usize) -> Analyst {
        Analyst {
            time_max,
            memory_max,
            ..self
        }
    }

    /// Answers a question, from memory if nothing has changed.
    pub fn answer(&self, query: &Query) -> Arc<Answer> {
        let invocation = match read_command(query) {
            Ok(invocation) => invocation,
            Err(why) => return Arc::new(Answer::once(Outcome::NotCovered(why))),
        };
        let key = key(query, &invocation.argv);
        let mut epoch = self.tree.begin();
        if query.missed.is_empty() {
            if let Some(known) = self.answers.get(&key, &self.tree, epoch) {
                return known;
            }
        }
        let _turn = self.turns.take();
        for _ in 0..TRIES_MAX {
            match self.analyse(query, &invocation, epoch) {
                Ok(Ended::Answer(answer)) if query.missed.is_empty() => {
                    let answer = self.answers.put(key, *answer, epoch);
                    self.bound_memory();
                    return answer;
                }
                Ok(Ended::Answer(answer)) => return Arc::from(answer),
                Ok(Ended::Again) => epoch = self.tree.begin(),
                Err(trouble) => {
                    return Arc::new(Answer::once(Outcome::NotCovered(trouble.0)));
                }
            }
        }
        let why = "files change while they are looked at".to_owned();
        Arc::new(Answer::once(Outcome::NotCovered(why)))
    }

    fn bound_memory(&self) {
        let contents = || {
            let meter = self.tree.clock().meter();
            meter.load(std::sync::atomic::Ordering::Relaxed)
        };
        if self.answers.memory() > self.memory_max / 4 {
            self.answers.forget_half();
        }
        if contents() > self.memory_max / 4 * 3 {
            self.answers.forget_half();
            self.beginnings.clear();
            self.tree.shrink(self.memory_max / 4);
        }
    }

    fn analyse(
        &self,
        query: &Query,
        invocation: &Invocation,
        epoch: Epoch,
    ) -> Result<Ended, Trouble> {
        let site = Site {
            tree: &self.tree,
            toolchains: &self.toolchains,
            beginnings: &self.beginnings,
            epoch,
            processor_deadline: thread_time() + self.time_max,
            deadline: Instant::now() + self.time_max * WAITING_FACTOR,
        };
        let cwd = self.cwd(&query.cwd, epoch)?;
        let toolchain =
            self.toolchains
                .of(&self.tree, epoch, &query.program, invocation, &query.cwd)?;
        let mut world = LocalWorld::new(site, &toolchain, cwd, query.hermetic);
        let outcome = cover(&mut world, query, invocation, &toolchain)?;
        if !world.is_consistent() {
            return Ok(Ended::Again);
        }
        let relied = world.into_relied();
        let answer = Answer::relying(outcome, Arc::clone(&toolchain), relied);
        Ok(Ended::Answer(Box::new(answer)))
    }

    fn cwd(&self, path: &[u8], epoch: Epoch) -> Result<Arc<Place>, Trouble> {
        let missing = || {
            let path = String::from_utf8_lossy(path);
            Trouble(format!("there is no working directory '{path}'"))
        };
        if !path.starts_with(b"/") {
            return Err(missing());
        }
        let root = self.tree.root();
        let place = walk(&self.tree, epoch, root, path, &mut |_, _| {})?;
        place
            .filter(|place| place.check(self.tree.clock(), epoch).kind() == Some(Kind::Folder))
            .ok_or_else(missing)
    }
}

/// The command, if it is one that travels.
fn read_command(query: &Query) -> Result<Invocation, String> {
    let argv: Vec<OsString> = query.argv.iter().cloned().map(OsString::from_vec).collect();
    let cwd = Path::new(OsStr::from_bytes(&query.cwd));
    let read = |path: &Path| std::fs::read(cwd.join(path)).ok();
    match scan(&argv, &read) {
        Scan::Distributable(invocation) if invocation.preprocessed => {
            Err("the source is preprocessed already".to_owned())
        }
        Scan::Distributable(invocation) => Ok(invocation),
        Scan::Local(local) => Err(local.reason.to_string()),
    }
}

/// Follows the preprocessor. Trouble ends a request, and is worth nothing for the next one; that a unit can't be followed
/// is an outcome that lasts as long as its files.
fn cover(
    world: &mut LocalWorld<'_>,
    query: &Query,
    invocation: &Invocation,
    toolchain: &Toolchain,
) -> Result<Outcome, Trouble> {
    let followed = follow(world, invocation, toolchain);
    if let Some(trouble) = world.trouble() {
        return Err(trouble);
    }
    let (closure, search) = match followed {
        Ok(followed) => followed,
        Err(why) => return Ok(Outcome::NotCovered(why)),
    };
    let source = invocation.input.as_os_str().as_bytes();
    if world.found(source).is_some_and(|found| found.system) {
        return Ok(Outcome::NotCovered(
            "the source is in a system folder".to_owned(),
        ));
    }
    if let Some(why) = tells_time(&closure, is_dated(query, toolchain)) {
        return Ok(Outcome::NotCovered(why));
    }
    if search::converts(invocation) {
        if let Some(why) = names_converted(world, &closure)? {
            return Ok(Outcome::NotCovered(why));
        }
    }
    let system: &[Arc<Place>] = match query.hermetic {
        true => &[],
        false => &toolchain.system,
    };
    let folders = other_folders(world, query, invocation, toolchain);
    let ways = Ways {
        folders: &folders,
        missed: &query.missed,
    };
    let shipment = pack(world, &closure, ways, system)?;
    let answers = answers(world, &closure, &search);
    if let Some(trouble) = world.trouble() {
        return Err(trouble);
    }
    let reply = reply(query, invocation, toolchain, &closure, shipment, answers)?;
    Ok(Outcome::Covered(Box::new(reply)))
}

/// The preprocessor's way through the unit, and where it looked for headers; or why that can't be known.
fn follow(
    world: &mut LocalWorld<'_>,
    invocation: &Invocation,
    toolchain: &Toolchain,
) -> Result<(Closure, SearchPath), String> {
    let family = toolchain.compiler.family;
    let surroundings = Surroundings {
        defaults: &toolchain.defaults,
        ..Surroundings::default()
    };
    let search = search::search_path(invocation, family, &surroundings, &mut |path| {
        world.identify(path)
    });
    let search = search.map_err(|punt| punt.to_string())?;
    let words = search::words(invocation).map_err(|punt| punt.to_string())?;
    let unit = Unit {
        compiler: &toolchain.compiler,
        words: &words,
        search: &search,
        source: invocation.input.as_os_str().as_bytes(),
        maps_names: search::maps_names(invocation),
    };
    let closure = closure(&unit, world, Budget { steps: STEPS_MAX });
    let closure = closure.map_err(|punt| punt.to_string())?;
    Ok((closure, search))
}

/// What says the time of the compile can't be compiled at another time and place, unless that `is_dated`.
fn tells_time(closure: &Closure, is_dated: bool) -> Option<String> {
    let tells = |clock: Option<Clock>| match is_dated {
        true => clock == Some(Clock::File),
        false => clock.is_some(),
    };
    let macros = match is_dated {
        true => "__TIMESTAMP__",
        false => "__DATE__, __TIME__ or __TIMESTAMP__",
    };
    if tells(closure.clock_in_words) {
        return Some(format!("the command mentions {macros}"));
    }
    let mut files = closure.files.iter();
    let visited = files.find(|visited| tells(visited.clock))?;
    let name = String::from_utf8_lossy(&visited.path);
    Some(format!("{name} mentions {macros}"))
}

/// Which file may decide what is read by names that a charset changes.
fn names_converted(world: &LocalWorld<'_>, closure: &Closure) -> Result<Option<String>, Trouble> {
    for visited in &closure.files {
        let found = world.found(&visited.path);
        let Some((found, file)) = found.and_then(|found| Some((found, world.file(found.file)?)))
        else {
            continue;
        };
        let text = found.place.bytes(&file.content.hash);
        let text = text.map_err(|err| Trouble::new("read", found.place.path(), &err))?;
        if !charset::decides_in_ascii(&text) {
            let name = String::from_utf8_lossy(&visited.path);
            let why = format!("{name} has other letters than ASCII's in a directive");
            return Ok(Some(why));
        }
    }
    Ok(None)
}

/// Whether `__DATE__` and `__TIME__` are the same whenever it is compiled, and wherever.
fn is_dated(query: &Query, toolchain: &Toolchain) -> bool {
    /// From this version on gcc heeds the variable.
    const GCC_SINCE: u64 = 7;
    let compiler = &toolchain.compiler;
    let heeds = compiler.family == Family::Gcc && compiler.standard.major >= GCC_SINCE;
    heeds
        && query
            .variables
            .iter()
            .any(|word| word.starts_with(b"SOURCE_DATE_EPOCH="))
}

/// Folders that a compiler needs beside those of its files: where it runs, where it looks for headers, and where it
/// writes.
fn other_folders(
    world: &LocalWorld<'_>,
    query: &Query,
    invocation: &Invocation,
    toolchain: &Toolchain,
) -> Vec<Vec<u8>> {
    let mut folders = vec![query.cwd.clone()];
    if query.pwd != query.cwd && !query.pwd.is_empty() {
        folders.push(query.pwd.clone());
    }
    let defaults = &toolchain.defaults;
    let is_default = |path: &[u8]| !query.hermetic && defaults.iter().any(|dir| dir.path == path);
    let searched = world.searched().iter().filter(|path| !is_default(path));
    folders.extend(searched.cloned());
    let deps = invocation
        .deps
        .as_ref()
        .and_then(|deps| deps.file.as_deref());
    for file in [Some(invocation.output.as_os_str()), deps]
        .into_iter()
        .flatten()
    {
        let file = file.as_bytes();
        if let Some(at) = file.iter().rposition(|byte| *byte == b'/') {
            folders.push(file[..at + 1].to_vec());
        }
    }
    folders
}

fn reply(
    query: &Query,
    invocation: &Invocation,
    toolchain: &Toolchain,
    closure: &Closure,
    shipment: Shipment,
    answers: SystemAnswers,
) -> Result<Reply, Trouble> {
    let is_system = |path: &[u8]| {
        let below = |folder: &Arc<Place>| super::reliance::is_below(path, folder.path());
        toolchain.system.iter().any(below)
    };
    let pwd_differs = query.pwd != query.cwd && !query.pwd.is_empty();
    let both = |sent: &super::shipment::Sent| sent.spelled.is_some() && sent.relative;
    let needs_ours = closure.absolute_include
        || pwd_differs && invocation.debug_info
        || shipment.files.iter().any(both)
        || stock_limits::misunderstood(invocation, &is_system).is_some();
    let modified = shipment
        .files
        .iter()
        .map(|sent| time(sent.identity.modified));
    let about = About {
        pwd: pwd_differs.then(|| query.pwd.clone()),
        variables: variables(&query.variables),
        needs_paths: needs_ours,
        wants_sides: invocation.sides.is_some(),
        times: modified.collect(),
        hermetic: query.hermetic,
        system_dirs: match query.hermetic {
            true => all_system_dirs(toolchain),
            false => answers.dirs,
        },
        absent_dirs: toolchain.absent.clone(),
        system: answers.lookups,
    };
    let about = told(&about).map_err(|err| Trouble(format!("put the answer together: {err}")))?;
    Ok(Reply {
        for_stock: query.for_stock,
        needs_ours,
        spelled_absolutely: differ_for_stock(&shipment.files),
        shipment,
        about,
        entries: Default::default(),
    })
}

/// All folders of which a host must not show its own if those here travel.
fn all_system_dirs(toolchain: &Toolchain) -> Vec<Vec<u8>> {
    let system = toolchain.system.iter();
    system.map(|place| place.path().to_vec()).collect()
}

/// Those variables that a host is told, in the order of the list.
fn variables(given: &[Vec<u8>]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let value = |name: &&str| {
        let value = given
            .iter()
            .find_map(|word| word.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
        Some((name.as_bytes().to_vec(), value.to_vec()))
    };
    VARIABLES.iter().filter_map(value).collect()
}
