//! A job of pump mode: the client's files are judged and placed, the compiler runs where it sees them under their own
//! names, or as near to that as this system allows, and what it made is collected.

use super::arrange::kin;
use super::compile::{show, show_command, Failure, Job, Made, Ran, Watched, OUTPUT_BYTES_MAX};
use super::ending::Ending;
use super::inside;
use super::job_root::{self, Files, JobRoot};
use super::launch::{self, Launch, Way};
use super::mirror::{self, Mirror};
use super::shown::os;
use super::view::{Mount, View};
use crate::model::about::{self, About, Time, VARIABLES};
use crate::model::client_path::ClientPath;
use crate::model::error::Code;
use crate::model::family::Family;
use crate::model::job_tree::{JobTree, Node, Refused};
use crate::model::make_rule::without_folder;
use crate::model::received::{scan_received_pump, DepsWanted, ReceivedPump};
use crate::model::sources::base_name;
use crate::model::stock_line::said_path;
use crate::model::wire::{Entry, EntryKind, Remark};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Largest dependency file; a compiler that reads this many headers does not end.
const DEPS_BYTES_MAX: u64 = 64 << 20;

/// Largest account of a job; most of it are system headers.
const ABOUT_BYTES_MAX: usize = 8 << 20;

/// Why a job is not done.
pub enum Stop {
    /// It is refused, in these words.
    Refused(String),
    /// It can't be exact on this host.
    NotHere(String),
    /// What a client takes to be here is not.
    OtherSystem(String),
    /// It has its ending already.
    Ended(Ending),
    /// Something went wrong.
    Failed(Failure),
}

impl From<Refused> for Stop {
    fn from(refused: Refused) -> Stop {
        Stop::Refused(refused.to_string())
    }
}

fn failed(doing: &'static str) -> impl FnOnce(io::Error) -> Stop {
    move |err| Stop::Failed((doing, err))
}

/// Does the job.
pub fn run(mut job: Job, cwd: &[u8], mut entries: Vec<Entry>) -> Result<Ending, Failure> {
    let told = take_about(&mut entries);
    let answers_ours = told.is_some();
    let remark = |remark| answers_ours.then_some(remark);
    let code = Code::Failed as u8;
    match perform(&mut job, cwd, entries, told.as_deref()) {
        Ok(ending) | Err(Stop::Ended(ending)) => Ok(ending),
        Err(Stop::Refused(why)) => Ok(job.refuse(&why, code, None)),
        Err(Stop::NotHere(why)) => Ok(job.refuse(&why, code, remark(Remark::NotHere))),
        Err(Stop::OtherSystem(why)) => {
            let why = format!("system headers differ: {why}");
            Ok(job.refuse(&why, code, remark(Remark::OtherSystem)))
        }
        Err(Stop::Failed(failure)) => Err(failure),
    }
}

/// Takes what our client tells our daemon from among the files.
fn take_about(entries: &mut Vec<Entry>) -> Option<Vec<u8>> {
    let at = entries.iter().position(|entry| entry.name == about::NAME)?;
    match entries.remove(at).kind {
        EntryKind::File(told) => Some(told),
        EntryKind::Link(_) => None,
    }
}

/// A job whose command may run.
struct PumpJob<'p> {
    job: Job<'p>,
    received: ReceivedPump,
    program: PathBuf,
    about: Option<About>,
}

/// The client's files in their places.
struct Laid {
    tree: JobTree,
    /// The working directory.
    cwd: ClientPath,
    /// Where the output will be.
    output: ClientPath,
}

fn perform(
    job: &mut Job,
    cwd: &[u8],
    entries: Vec<Entry>,
    told: Option<&[u8]>,
) -> Result<Ending, Stop> {
    let received =
        scan_received_pump(job.argv).map_err(|reason| Stop::Ended(job.refuse_command(&reason)))?;
    job.input = received.input;
    let program = job.program().map_err(Stop::Ended)?;
    let about = told.map(read_about).transpose()?;
    let shop = job.shop;
    if let (Some(told), Some(about)) = (told, &about) {
        let seen = shop.shown.with_program(&program, &shop.config.temp_dir);
        let mirrors = matches!(shop.way(), Way::Mirrors(_));
        let is_seen = |path: &Path| {
            let path = ClientPath::plain(path.as_os_str().as_bytes());
            mirrors || path.is_ok_and(|path| seen.shows(&path))
        };
        if let Some(difference) = shop.headers.difference(told, about, &is_seen) {
            return Err(Stop::OtherSystem(difference));
        }
    }
    let job = PumpJob {
        job: *job,
        received,
        program,
        about,
    };
    match shop.way() {
        Way::Views { merges } => job.in_view(cwd, entries, *merges),
        Way::Mirrors(_) => job.in_mirror(cwd, entries),
    }
}

fn read_about(told: &[u8]) -> Result<About, Stop> {
    if told.len() > ABOUT_BYTES_MAX {
        return Err(Stop::Refused("too much is told of the job".to_owned()));
    }
    About::decode(told).map_err(|err| Stop::Refused(err.to_string()))
}

/// Takes the lines away that say files' paths for stock's sake: here the files have those paths.
fn drop_stock_lines(tree: &JobTree, entries: &mut [Entry]) {
    let top = ClientPath::default();
    let _ = tree.visit(&mut |path, node| {
        let Node::File(number) = node else {
            return Ok::<(), ()>(());
        };
        if let Some(EntryKind::File(content)) =
            entries.get_mut(*number).map(|entry| &mut entry.kind)
        {
            let line = said_path(content)
                .filter(|(said, _)| tree.follow(&top, said).is_ok_and(|place| place == *path));
            if let Some((_, length)) = line {
                content.drain(..length);
            }
        }
        Ok(())
    });
}

impl PumpJob<'_> {
    /// Finds every file its place, in the tree that this machine's links are part of.
    fn lay(&self, cwd: &[u8], entries: &mut [Entry], mut tree: JobTree) -> Result<Laid, Stop> {
        let top = ClientPath::default();
        for (number, entry) in entries.iter().enumerate() {
            tree.add(number, entry)?;
        }
        tree.links()?;
        if self.about.is_none() {
            drop_stock_lines(&tree, entries);
        }
        let shown = &self.job.shop.shown;
        if let Some(other) = tree.system_folders.iter().find(|path| !shown.shows(path)) {
            return Err(Refused::new(other.shown(), "is no folder of the system's here").into());
        }
        let refused = |why| Refused::new(cwd, why);
        ClientPath::plain(cwd).map_err(refused)?;
        let cwd = tree.make_folder(&top, cwd)?;
        let (mut output, name) = match self.output_word() {
            Some(b"/dev/null") => {
                let output = job_root::output();
                return Ok(Laid { tree, cwd, output });
            }
            Some(word) => {
                let name = base_name(word);
                let folder = word.get(..word.len() - name.len()).unwrap_or_default();
                (tree.make_folder(&cwd, folder)?, name.to_vec())
            }
            None => (cwd.clone(), self.derived_output()),
        };
        tree.write_in(&output);
        let refused = |why| Refused::new(&name, why);
        if matches!(name.as_slice(), b"" | b"." | b"..") {
            return Err(refused("is no output").into());
        }
        output.push(&name).map_err(refused)?;
        match tree.get(&output) {
            None | Some(Node::File(_)) => Ok(Laid { tree, cwd, output }),
            Some(_) => Err(refused("is no output").into()),
        }
    }

    fn output_word(&self) -> Option<&[u8]> {
        let at = self.received.output?;
        let word = self.job.argv.get(at.index)?;
        Some(match at.joined {
            true => word.strip_prefix(b"-o").unwrap_or(word),
            false => word,
        })
    }

    /// What a compiler calls its output if it is not told.
    fn derived_output(&self) -> Vec<u8> {
        let input = self.job.argv.get(self.received.input);
        let name = base_name(input.map(Vec::as_slice).unwrap_or_default());
        let dot = memchr::memrchr(b'.', name).unwrap_or(name.len());
        let stem = name.get(..dot).unwrap_or_default();
        let suffix: &[u8] = if self.received.assembly { b".s" } else { b".o" };
        [stem, suffix].concat()
    }

    /// Shows the compiler the client's own paths.
    fn in_view(&self, cwd: &[u8], mut entries: Vec<Entry>, merges: bool) -> Result<Ending, Stop> {
        let config = &self.job.shop.config;
        let shown = self
            .job
            .shop
            .shown
            .with_program(&self.program, &config.temp_dir);
        let passages = shown.links.iter();
        let tree = JobTree::new(passages.map(|(path, link)| (path, link.as_slice())));
        let mut laid = self.lay(cwd, &mut entries, tree)?;
        let own = self.own_folders(&mut laid.tree)?;
        for piece in shown.pieces.iter().filter(|piece| piece.is_folder) {
            laid.tree
                .make_folder(&ClientPath::default(), piece.path.shown())?;
        }
        let inside = inside::look(&laid.tree, &entries, self.times(), &own, &shown)?;
        if !merges && !inside.merged.is_empty() {
            let folder = &inside.merged[0];
            return Err(Stop::NotHere(format!(
                "{folder} can't be shown merged with the client's"
            )));
        }
        let root = self.root()?;
        self.place(&root, &laid, entries, false)?;
        root.make_spots(&shown).map_err(failed("place the files"))?;
        let mut mounts = launch::mounts(&shown);
        mounts.extend(inside.merged.iter().map(|path| Mount::Merge(os(path))));
        mounts.extend(inside.own.iter().map(|path| Mount::Own(os(path))));
        let view = View {
            root: root.path().to_owned(),
            mounts,
            cwd: os(&laid.cwd),
            program: launch::program_in_view(&self.program),
            words: self.words_in_view(),
        };
        self.run_in_view(&view, &laid, root)
    }

    /// Shows the compiler the client's files below a folder of ours, and hides that as far as can be.
    fn in_mirror(&self, cwd: &[u8], mut entries: Vec<Entry>) -> Result<Ending, Stop> {
        let laid = self.lay(cwd, &mut entries, JobTree::default())?;
        let root = self.root()?;
        let folder = root.path().as_os_str().as_bytes();
        let family = kin(&self.program);
        let words = mirror::words(Mirror {
            folder,
            tree: &laid.tree,
            cwd: &laid.cwd,
            argv: self.job.argv,
            received: &self.received,
            family,
            shown: &self.job.shop.shown,
            about: self.about.as_ref(),
        });
        let mut words = words.map_err(Stop::NotHere)?;
        let deps = root.here(&job_root::deps());
        words.extend(deps_words(self.received.deps, deps.as_os_str().as_bytes()));
        self.place(&root, &laid, entries, true)?;
        let mut command = Command::new(&self.program);
        command
            .arg0(self.name())
            .args(words.into_iter().map(OsString::from_vec))
            .env_clear()
            .envs(
                self.environment(&laid, &root.here(&job_root::private()), &|place| {
                    root.here(place)
                }),
            )
            .current_dir(root.here(&laid.cwd))
            .stdin(Stdio::null());
        log::info!("{}: {}", self.job.client.name, show_command(&command));
        let mut ran = self.ran(command, || Ok(()))?;
        for said in [&mut ran.stdout, &mut ran.stderr] {
            *said = mirror::without(said, folder);
        }
        let mut made = self.made(&ran, &laid, &root)?;
        let family = family.unwrap_or(Family::Gcc);
        made.deps = made.deps.map(|rule| without_folder(&rule, folder, family));
        let mut outputs = made.object.iter().chain(&made.deps);
        if outputs.any(|bytes| memchr::memmem::find(bytes, folder).is_some()) {
            return Err(Stop::NotHere(
                "the output shows the folder of the job".to_owned(),
            ));
        }
        self.ending(ran, made, root)
    }

    /// Folders that must not show what this machine has in them.
    fn own_folders(&self, tree: &mut JobTree) -> Result<Vec<ClientPath>, Stop> {
        let Some(about) = self.about.as_ref().filter(|about| about.hermetic) else {
            return Ok(Vec::new());
        };
        let top = ClientPath::default();
        let made = about.system_dirs.iter().map(|dir| {
            ClientPath::plain(dir).map_err(|why| Refused::new(dir, why))?;
            tree.make_folder(&top, dir)
        });
        Ok(made.collect::<Result<_, Refused>>()?)
    }

    fn root(&self) -> Result<JobRoot, Stop> {
        let config = &self.job.shop.config;
        JobRoot::create(&config.temp_dir, config.keep_temps)
            .map_err(failed("make a folder for the job"))
    }

    /// Places the files, and forgets them: a compile may take long.
    fn place(
        &self,
        root: &JobRoot,
        laid: &Laid,
        entries: Vec<Entry>,
        is_mirror: bool,
    ) -> Result<(), Stop> {
        let files = Files {
            tree: &laid.tree,
            entries: &entries,
            times: self.times(),
        };
        root.place(files, is_mirror)
            .map_err(failed("place the files"))
    }

    fn times(&self) -> &[Time] {
        self.about.as_ref().map_or(&[], |about| &about.times)
    }

    /// The client's words; only where dependencies go is ours.
    fn words_in_view(&self) -> Vec<Vec<u8>> {
        let mut words = self.job.argv.to_vec();
        if let Some(first) = words.first_mut() {
            *first = self.name().into_vec();
        }
        if let (Some(b"/dev/null"), Some(at)) = (self.output_word(), self.received.output) {
            let before: &[u8] = if at.joined { b"-o" } else { b"" };
            let output = job_root::output();
            words[at.index] = [before, output.shown()].concat();
        }
        words.extend(deps_words(self.received.deps, job_root::deps().shown()));
        words
    }

    /// What the compiler is called.
    fn name(&self) -> OsString {
        let asked = self.job.argv.first().map(Vec::as_slice).unwrap_or_default();
        self.job
            .shop
            .config
            .compilers
            .name_for(asked, &self.program)
    }

    fn run_in_view(&self, view: &View, laid: &Laid, root: JobRoot) -> Result<Ending, Stop> {
        let (mut command, mut launch) =
            launch::prepare(view).map_err(failed("make a link to the compiler's process"))?;
        command.envs(self.environment(laid, &os(&job_root::private()), &|place| os(place)));
        let words = show(view.words.iter().map(Vec::as_slice));
        let program = view.program.display();
        log::info!("{}: {program} as {words}", self.job.client.name);
        let ran = self.ran(command, || launch.tell())?;
        if let Some(stop) = self.complaint(launch) {
            return Err(stop);
        }
        let made = self.made(&ran, laid, &root)?;
        self.ending(ran, made, root)
    }

    fn ran(&self, command: Command, begun: impl FnOnce() -> io::Result<()>) -> Result<Ran, Stop> {
        let ran = self.job.run(command, begun).map_err(Stop::Failed)?;
        ran.map_err(Stop::Ended)
    }

    /// What the small process had to say if it did not become the compiler.
    fn complaint(&self, launch: Launch) -> Option<Stop> {
        let (number, words) = launch.complaint()?;
        let program = self.program.display();
        let why = format!("{program}: {words}");
        let err = io::Error::from_raw_os_error(number);
        Some(match err.kind() {
            io::ErrorKind::NotFound if words.starts_with("run ") => {
                Stop::Ended(self.job.not_run(&why, Code::CompilerMissing as u8))
            }
            _ => Stop::NotHere(why),
        })
    }

    /// What the compiler's environment is. `here` says where a place of the client's is for it.
    fn environment(
        &self,
        laid: &Laid,
        private: &Path,
        here: &dyn Fn(&ClientPath) -> PathBuf,
    ) -> Vec<(OsString, OsString)> {
        let ours = self.job.shop.environment.iter();
        // Where the client says which are set, ours are none of them; and a compiler cache would obey files of the client's.
        let is_told = |name: &OsStr| {
            self.about.is_some() && VARIABLES.iter().any(|told| name == *told)
                || name.as_bytes().starts_with(b"CCACHE_")
        };
        let mut variables: Vec<(OsString, OsString)> =
            ours.filter(|(name, _)| !is_told(name)).cloned().collect();
        let told = self.about.iter().flat_map(|about| &about.variables);
        let known = told.filter(|(name, _)| VARIABLES.iter().any(|known| known.as_bytes() == name));
        variables.extend(known.map(|(name, value)| {
            let text = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
            (text(name), text(value))
        }));
        let mut set = |name: &str, value: PathBuf| variables.push((name.into(), value.into()));
        set("TMPDIR", private.to_owned());
        set("HOME", private.to_owned());
        set("CCACHE_DISABLE", "1".into());
        set(
            "PWD",
            self.pwd(laid)
                .map_or_else(|| here(&laid.cwd), |pwd| here(&pwd)),
        );
        variables
    }

    /// The client's other name for its working directory, if it is one here.
    fn pwd(&self, laid: &Laid) -> Option<ClientPath> {
        let pwd = self.about.as_ref()?.pwd.as_ref()?;
        let top = ClientPath::default();
        let leads_to = laid.tree.follow(&top, pwd).ok()?;
        (leads_to == laid.cwd).then_some(())?;
        ClientPath::plain(pwd).ok()
    }

    /// Reads what the compiler made.
    fn made(&self, ran: &Ran, laid: &Laid, root: &JobRoot) -> Result<Made, Stop> {
        let mut made = Made::default();
        if ran.succeeded() {
            made.object = root
                .read(&laid.output, OUTPUT_BYTES_MAX)
                .map_err(failed("read the output"))?;
            made.deps = match self.received.deps {
                // Version 3 has the packet, whether something is wanted in it or not.
                DepsWanted::No => Some(Vec::new()),
                DepsWanted::Asked | DepsWanted::TargetOnly => root
                    .read(&job_root::deps(), DEPS_BYTES_MAX)
                    .map_err(failed("read the dependencies"))?,
            };
        }
        let is_answer = matches!(ran.watched, Watched::Ended(_));
        made.remark = (is_answer && self.about.is_some()).then_some(Remark::Exact);
        Ok(made)
    }

    fn ending(&self, ran: Ran, made: Made, root: JobRoot) -> Result<Ending, Stop> {
        let ending = self.job.ending(ran, made, Box::new(root));
        ending.map_err(Stop::Failed)
    }
}

/// Words that send dependencies to `file`, which is named last and so wins.
fn deps_words(wanted: DepsWanted, file: &[u8]) -> Vec<Vec<u8>> {
    let words: &[&[u8]] = match wanted {
        DepsWanted::No => &[],
        DepsWanted::Asked => &[b"-MF", file],
        DepsWanted::TargetOnly => &[b"-MMD", b"-MF", file],
    };
    words.iter().map(|word| word.to_vec()).collect()
}
