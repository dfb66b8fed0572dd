//! What both ways of running a pump job have in common: where its files and its output are, the compiler's environment,
//! and what is collected when it has run.

use super::compile::{failed, show, variables, Job, Made, Ran, Stop, Watched, OUTPUT_BYTES_MAX};
use super::job_root::{self, Files, JobRoot};
use super::scratch::Scratch;
use super::shown::Shown;
use super::view::View;
use crate::model::about::{About, Time, VARIABLES};
use crate::model::client_path::ClientPath;
use crate::model::job_tree::{JobTree, Node, Refused};
use crate::model::locale;
use crate::model::received::{DepsWanted, ReceivedPump};
use crate::model::side_files::SideFiles;
use crate::model::sources::base_name;
use crate::model::stock_line::said_path;
use crate::model::wire::{Entry, EntryKind, Remark};
use crate::os::locale::is_installed;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Largest dependency file; a compiler that reads this many headers does not end.
const DEPS_BYTES_MAX: u64 = 64 << 20;

/// An output that is written there is thrown away by the client.
pub const NOWHERE: &[u8] = b"/dev/null";

/// A job whose command may run.
pub struct PumpJob<'p> {
    /// The command.
    pub job: &'p Job<'p>,
    /// What was found in it.
    pub received: ReceivedPump,
    /// Files that are made beside the output.
    pub sides: Option<SideFiles>,
    /// The compiler.
    pub program: PathBuf,
    /// What of this machine the job may see.
    pub shown: Shown,
    /// What a client of ours tells.
    pub about: Option<About>,
}

/// The client's files in their places.
#[derive(Debug)]
pub struct Laid {
    /// What will be in the job's folder.
    pub tree: JobTree,
    /// The working directory.
    pub cwd: ClientPath,
    /// Where the output will be.
    pub output: ClientPath,
}

impl PumpJob<'_> {
    /// Finds every file its place, in a tree that this machine's links are part of.
    pub fn lay(&self, cwd: &[u8], entries: &mut [Entry], mut tree: JobTree) -> Result<Laid, Stop> {
        for (number, entry) in entries.iter().enumerate() {
            tree.add(number, entry)?;
        }
        tree.links()?;
        if self.about.is_none() {
            drop_stock_lines(&tree, entries);
        }
        let mut system = tree.system_folders.iter();
        if let Some(other) = system.find(|path| !self.shown.shows(path)) {
            return Err(Refused::new(other.shown(), "is no folder of the system's here").into());
        }
        ClientPath::plain(cwd).map_err(|why| Refused::new(cwd, why))?;
        let cwd = tree.make_folder(&ClientPath::default(), cwd)?;
        if self.wanted_sides().is_some() {
            tree.write_in(&cwd);
        }
        let output = match self.output_word() {
            Some(NOWHERE) => job_root::output(),
            _ => self.lay_output(&mut tree, &cwd)?,
        };
        Ok(Laid { tree, cwd, output })
    }

    /// Makes the folder of the output.
    fn lay_output(&self, tree: &mut JobTree, cwd: &ClientPath) -> Result<ClientPath, Refused> {
        let derived = self.derived_output();
        let word = self.output_word().unwrap_or(&derived);
        let name = base_name(word);
        let refused = |why| Refused::new(word, why);
        if matches!(name, b"" | b"." | b"..") {
            return Err(refused("is no file"));
        }
        let folder = word.get(..word.len() - name.len()).unwrap_or_default();
        let mut output = tree.make_folder(cwd, folder)?;
        tree.write_in(&output);
        output.push(name).map_err(refused)?;
        match tree.get(&output) {
            None | Some(Node::File(_)) => Ok(output),
            Some(_) => Err(refused("is a folder or a link")),
        }
    }

    /// The files beside the output that the client wants.
    pub fn wanted_sides(&self) -> Option<&SideFiles> {
        let about = self.about.as_ref()?;
        let is_somewhere = self.output_word() != Some(NOWHERE);
        let is_wanted = about.wants_sides && is_somewhere;
        self.sides.as_ref().filter(|_| is_wanted)
    }

    /// The output as the client names it.
    pub fn output_word(&self) -> Option<&[u8]> {
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

    /// What the compiler is called.
    pub fn name(&self) -> OsString {
        let asked = self.job.argv.first().map(Vec::as_slice).unwrap_or_default();
        let compilers = &self.job.config.compilers;
        compilers.name_for(asked, &self.program)
    }

    /// A folder on disk for the job.
    pub fn scratch(&self) -> Result<Scratch, Stop> {
        let config = &self.job.config;
        Scratch::create(&config.temp_dir, config.keep_temps)
            .map_err(failed("make a folder for the job"))
    }

    /// Places the files; nothing of them is kept, as a compile may take long.
    pub fn place(
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

    /// When the files were last modified, as far as that is told.
    pub fn times(&self) -> &[Time] {
        self.about.as_ref().map_or(&[], |about| &about.times)
    }

    /// The compiler's environment. `here` says where a place of the client's is for it.
    pub fn environment(&self, laid: &Laid, here: &dyn Fn(&ClientPath) -> PathBuf) -> Vec<Vec<u8>> {
        let about = self.about.as_ref();
        // Where the client says which are set, ours are none of them; and a compiler cache would obey files of the client's.
        let is_foreign = |name: &OsStr| {
            let is_told = about.is_some() && VARIABLES.iter().any(|told| name == *told);
            is_told || name.as_bytes().starts_with(b"CCACHE_")
        };
        let ours = self.job.shop.environment.iter();
        let ours = ours.filter(|(name, _)| !is_foreign(name)).cloned();
        let told = about.into_iter().flat_map(|about| &about.variables);
        let told = told.filter(|(name, _)| VARIABLES.iter().any(|known| known.as_bytes() == name));
        let told = told.map(|(name, value)| {
            let text = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
            let is_missing = locale::is_english(value) && !is_installed(OsStr::from_bytes(value));
            let value = if is_missing {
                locale::ENGLISH.into()
            } else {
                text(value)
            };
            (text(name), value)
        });
        let temporary = here(&job_root::temporary());
        let top = here(&ClientPath::default());
        let pwd = self.pwd(laid).map(|pwd| beneath(&top, pwd));
        let set = [
            ("TMPDIR", temporary.clone()),
            ("HOME", temporary),
            ("CCACHE_DISABLE", "1".into()),
            ("PWD", pwd.unwrap_or_else(|| here(&laid.cwd))),
        ];
        let set = set.map(|(name, value)| (name.into(), value.into()));
        variables(ours.chain(told).chain(set))
    }

    /// The client's other name for its working directory, if it is one here. Compilers write it down as it is spelled.
    fn pwd(&self, laid: &Laid) -> Option<&[u8]> {
        let pwd = self.about.as_ref()?.pwd.as_deref()?;
        let leads_to = laid.tree.follow(&ClientPath::default(), pwd).ok()?;
        (pwd.starts_with(b"/") && leads_to == laid.cwd).then_some(pwd)
    }

    /// Words that send dependencies to `file`, which is named last and so wins.
    pub fn deps_words(&self, file: &[u8]) -> Vec<Vec<u8>> {
        let words: &[&[u8]] = match self.received.deps {
            DepsWanted::No => &[],
            DepsWanted::Asked => &[b"-MF", file],
            DepsWanted::TargetOnly => &[b"-MMD", b"-MF", file],
        };
        words.iter().map(|word| word.to_vec()).collect()
    }

    /// Says what is about to run.
    pub fn announce(&self, view: &View) {
        let program = view.program.display();
        let words = show(view.words.iter().map(Vec::as_slice));
        log::info!("{}: {program} as {words}", self.job.client.name);
    }

    /// Reads what the compiler made.
    pub fn made(&self, ran: &Ran, laid: &Laid, root: &JobRoot) -> Result<Made, Stop> {
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
        made.remark = is_answer.then_some(Remark::Exact);
        Ok(made)
    }
}

/// An absolute path of the client's below `top`, letter by letter.
fn beneath(top: &Path, path: &[u8]) -> PathBuf {
    let top = top.as_os_str().as_bytes();
    let top = top.strip_suffix(b"/").unwrap_or(top);
    PathBuf::from(OsString::from_vec([top, path].concat()))
}

/// Takes the lines away that say files' paths for stock's sake: here the files have those paths.
fn drop_stock_lines(tree: &JobTree, entries: &mut [Entry]) {
    let top = ClientPath::default();
    let _ = tree.visit(&mut |path, node| {
        let entry = match node {
            Node::File(number) => entries.get_mut(*number).map(|entry| &mut entry.kind),
            _ => None,
        };
        if let Some(EntryKind::File(content)) = entry {
            let is_own = |said: &[u8]| tree.follow(&top, said).is_ok_and(|place| place == *path);
            let line = said_path(content).filter(|(said, _)| is_own(said));
            if let Some((_, length)) = line {
                content.drain(..length);
            }
        }
        Ok::<(), ()>(())
    });
}
