//! `update-distcc-symlinks`: keeps the masquerade directory as the compilers of this machine are: a link for each, none
//! for those that have gone. What is no link of ours is never touched.

use super::output::print;
use super::toolchain;
use crate::model::error::{Code, Error, Result, Status};
use crate::model::family::is_compiler;
use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

const USAGE: &str = "\
Usage: update-distcc-symlinks [OPTION]...

Makes a link to distcc for each compiler on PATH, in the directory that stands first on PATH in a build, and removes the
links whose compilers have gone; links to a distcc that is gone are set anew. Other files there are left alone.

  --dir DIR    that directory; by default lib/distcc beside the directory that distcc is in
  --dry-run    say what would be done, and do nothing
  --list       print the names of the compilers, and do nothing
  --remove     remove all links to distcc
  --help       show this
";

/// Where compilers are looked for beside PATH, which a package manager or a trigger may have cut short.
const USUAL_FOLDERS: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Task {
    Update,
    Show,
    List,
    Remove,
    Help,
}

/// One change of the directory, or a reason for none.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Step {
    Link(String),
    /// In the place of a link that leads nowhere.
    Relink(String),
    Unlink(String),
    LeaveAlone(String),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Step::Link(name) | Step::Relink(name) => write!(f, "{name}: linked to distcc"),
            Step::Unlink(name) => write!(f, "{name}: link removed"),
            Step::LeaveAlone(name) => write!(f, "{name}: not a link to distcc, left alone"),
        }
    }
}

/// What stands in the masquerade directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Entry {
    /// A link to this program.
    Ours,
    /// A link to a distcc that is gone.
    Lost,
    Other,
}

/// `update-distcc-symlinks`; all words, the first is the name that it was called by.
pub fn update_distcc_symlinks(argv: Vec<OsString>) -> Result<Status> {
    let (task, dir) = words(argv.get(1..).unwrap_or_default())?;
    if task == Task::Help {
        return print(USAGE);
    }
    let executable = env::current_exe().map_err(|err| Error::io("find this program", &err))?;
    let usual = default_folder(&executable);
    if task == Task::List {
        let folders = [dir.map(PathBuf::from), usual.ok()];
        return print(lines(&compilers(&folders)));
    }
    let dir = match dir {
        Some(dir) => PathBuf::from(dir),
        None => usual?,
    };
    let compilers = match task {
        Task::Remove => Vec::new(),
        _ => compilers(&[Some(dir.clone()), default_folder(&executable).ok()]),
    };
    let target = link_target(&executable, &dir);
    let entries = entries(&dir, &executable, &target)?;
    let steps = steps(&entries, &compilers);
    if task != Task::Show {
        carry_out(&steps, &dir, &target)?;
    }
    print(lines(&steps))
}

fn words(words: &[OsString]) -> Result<(Task, Option<OsString>)> {
    let fault = |what: String| Error::new(Code::BadArguments, what + "; --help lists the options");
    let (mut task, mut dir) = (Task::Update, None);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("--dry-run") => task = Task::Show,
            Some("--list") => task = Task::List,
            Some("--remove") => task = Task::Remove,
            Some("--help" | "-h") => return Ok((Task::Help, None)),
            Some("--dir") => {
                let value = words.next();
                dir = Some(
                    value
                        .ok_or_else(|| fault("--dir needs a value".to_owned()))?
                        .clone(),
                );
            }
            Some(word) if word.starts_with("--dir=") => {
                dir = Some(word.trim_start_matches("--dir=").into());
            }
            _ => return Err(fault(format!("unknown option {}", word.to_string_lossy()))),
        }
    }
    Ok((task, dir))
}

/// `lib/distcc` beside the folder of the program.
fn default_folder(executable: &Path) -> Result<PathBuf> {
    let prefix = executable.parent().and_then(Path::parent);
    let prefix = prefix.ok_or_else(|| {
        let executable = executable.display();
        let why =
            format!("{executable} lies in no bin folder; say where the links belong with --dir");
        Error::new(Code::BadArguments, why)
    })?;
    Ok(prefix.join("lib/distcc"))
}

/// The names of this machine's compilers, sorted; a name that leads to some distcc or ccache is none, and nothing in these
/// folders is, which are for links.
fn compilers(but: &[Option<PathBuf>]) -> Vec<String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let real = |folder: &Path| fs::canonicalize(folder).ok();
    let but: Vec<PathBuf> = but.iter().flatten().filter_map(|one| real(one)).collect();
    let folders = env::split_paths(&path)
        .chain(USUAL_FOLDERS.map(PathBuf::from))
        .filter(|folder| real(folder).is_some_and(|folder| !but.contains(&folder)));
    let path = env::join_paths(folders).unwrap_or_default();
    toolchain::find(&path).compilers.into_keys().collect()
}

/// What a link in `dir` holds: a way that stays right if the whole prefix is moved, where both are in one.
fn link_target(executable: &Path, dir: &Path) -> PathBuf {
    match (executable.file_name(), default_folder(executable)) {
        (Some(name), Ok(usual)) if usual == dir && is_in(executable, "bin") => {
            Path::new("../../bin").join(name)
        }
        _ => executable.to_owned(),
    }
}

fn is_in(file: &Path, folder: &str) -> bool {
    file.parent().and_then(Path::file_name) == Some(OsStr::new(folder))
}

/// All that the directory has under names of compilers. One that is not there is empty.
fn entries(dir: &Path, executable: &Path, target: &Path) -> Result<BTreeMap<String, Entry>> {
    let doing = || format!("read {}", dir.display());
    let found = match fs::read_dir(dir) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        found => found.map_err(|err| Error::io(doing(), &err))?,
    };
    let mut entries = BTreeMap::new();
    for entry in found {
        let entry = entry.map_err(|err| Error::io(doing(), &err))?;
        let Some(name) = entry
            .file_name()
            .to_str()
            .filter(|name| is_compiler(name))
            .map(str::to_owned)
        else {
            continue;
        };
        let path = entry.path();
        let link = fs::read_link(&path).ok();
        let leads_here = || fs::canonicalize(&path).is_ok_and(|file| file == executable);
        let entry = match link {
            Some(link) if link == target || leads_here() => Entry::Ours,
            Some(link) if link.file_name() == Some(OsStr::new("distcc")) && !path.exists() => {
                Entry::Lost
            }
            _ => Entry::Other,
        };
        entries.insert(name, entry);
    }
    Ok(entries)
}

/// What is to be done, in the order of names.
fn steps(entries: &BTreeMap<String, Entry>, compilers: &[String]) -> Vec<Step> {
    let mut steps: Vec<(String, Step)> = Vec::new();
    for name in compilers {
        match entries.get(name) {
            None => steps.push((name.clone(), Step::Link(name.clone()))),
            Some(Entry::Lost) => steps.push((name.clone(), Step::Relink(name.clone()))),
            Some(Entry::Other) => steps.push((name.clone(), Step::LeaveAlone(name.clone()))),
            Some(Entry::Ours) => {}
        }
    }
    for (name, entry) in entries {
        if *entry != Entry::Other && !compilers.contains(name) {
            steps.push((name.clone(), Step::Unlink(name.clone())));
        }
    }
    steps.sort_by(|(one, _), (other, _)| one.cmp(other));
    steps.into_iter().map(|(_, step)| step).collect()
}

fn carry_out(steps: &[Step], dir: &Path, target: &Path) -> Result<()> {
    for step in steps {
        match step {
            Step::Link(name) => link(&dir.join(name), target)?,
            Step::Relink(name) => {
                unlink(&dir.join(name))?;
                link(&dir.join(name), target)?;
            }
            Step::Unlink(name) => unlink(&dir.join(name))?,
            Step::LeaveAlone(_) => {}
        }
    }
    Ok(())
}

fn link(link: &Path, target: &Path) -> Result<()> {
    let folder = link.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)
        .and_then(|()| symlink(target, link))
        .map_err(|err| Error::io(format!("link {} to distcc", link.display()), &err))
}

fn unlink(link: &Path) -> Result<()> {
    fs::remove_file(link).map_err(|err| Error::io(format!("remove {}", link.display()), &err))
}

fn lines<T: fmt::Display>(items: &[T]) -> String {
    items.iter().map(|item| format!("{item}\n")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn links_follow_the_compilers() {
        let entries = BTreeMap::from([
            ("cc".to_owned(), Entry::Ours),
            ("gcc-4".to_owned(), Entry::Ours),
            ("gcc-5".to_owned(), Entry::Other),
            ("g++".to_owned(), Entry::Other),
            ("clang".to_owned(), Entry::Lost),
            ("clang-3".to_owned(), Entry::Lost),
        ]);
        let compilers = ["cc", "clang", "g++", "x86_64-linux-gnu-gcc"].map(str::to_owned);
        assert_eq!(
            steps(&entries, &compilers),
            [
                Step::Relink("clang".to_owned()),
                Step::Unlink("clang-3".to_owned()),
                Step::LeaveAlone("g++".to_owned()),
                Step::Unlink("gcc-4".to_owned()),
                Step::Link("x86_64-linux-gnu-gcc".to_owned()),
            ]
        );
        assert_eq!(
            steps(&entries, &[]),
            ["cc", "clang", "clang-3", "gcc-4"].map(|name| Step::Unlink(name.to_owned()))
        );
    }

    #[test]
    fn a_link_is_short_within_one_prefix_only() {
        let program = Path::new("/usr/bin/distcc");
        let target = |dir: &str| link_target(program, Path::new(dir));
        assert_eq!(target("/usr/lib/distcc"), Path::new("../../bin/distcc"));
        assert_eq!(target("/opt/links"), program);
        let elsewhere = Path::new("/t/debug/distcc");
        assert_eq!(
            link_target(elsewhere, Path::new("/t/lib/distcc")),
            elsewhere
        );
    }

    #[test]
    fn only_links_to_this_program_are_ours() {
        let dir = tempfile::tempdir().unwrap();
        let links = dir.path().join("links");
        fs::create_dir(&links).unwrap();
        let program = dir.path().join("distcc");
        fs::write(&program, "").unwrap();
        symlink(&program, links.join("gcc")).unwrap();
        symlink("../distcc", links.join("cc")).unwrap();
        symlink("/usr/bin/ccache", links.join("clang")).unwrap();
        fs::write(links.join("g++"), "").unwrap();
        fs::write(links.join("README"), "").unwrap();
        let program = program.canonicalize().unwrap();
        let found = entries(&links, &program, &program).unwrap();
        let ours: Vec<&String> = found
            .iter()
            .filter(|(_, entry)| **entry == Entry::Ours)
            .map(|(name, _)| name)
            .collect();
        assert_eq!(ours, ["cc", "gcc"]);
        assert_eq!(found.len(), 4);
        assert!(entries(&links.join("none"), &program, &program)
            .unwrap()
            .is_empty());
    }

    #[test]
    fn words_are_checked() {
        let read =
            |text: &[&str]| words(&text.iter().map(OsString::from).collect::<Vec<OsString>>());
        assert_eq!(
            read(&["--dir", "/x", "--dry-run"]).unwrap(),
            (Task::Show, Some("/x".into()))
        );
        assert_eq!(
            read(&["--dir=/x"]).unwrap(),
            (Task::Update, Some("/x".into()))
        );
        assert!(read(&["--dir"]).is_err());
        assert!(read(&["gcc"]).is_err());
    }
}
