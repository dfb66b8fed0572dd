//! Which compilers may run, and which file that is: a requested name becomes an absolute path or is refused.
//! Names are allowed by a masquerade directory as with stock, by `--compilers`, by a list file, or all of them.

use crate::model::error::{Code, Error, Result};
use crate::os::files;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Folders that stock looks into for names of allowed compilers.
const MASQUERADE_DIRS: [&str; 2] = ["/usr/local/lib/distcc", "/usr/lib/distcc"];

/// Before a name that is allowed, these may stand: the system's compilers by their full path.
const SYSTEM_DIRS: [&[u8]; 2] = [b"/bin/", b"/usr/bin/"];

/// What decides.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Rule {
    /// `--enable-tcp-insecure`: everything that is a program.
    Any,
    /// A name is allowed if one of these folders has a program of that name.
    Masquerade(Vec<PathBuf>),
    /// `--compilers`: name (without folders) and file of each.
    List(Vec<(OsString, PathBuf)>),
    /// `DISTCC_CMDLIST`: the last `words` components decide which line is meant.
    Commands { words: usize, paths: Vec<PathBuf> },
}

/// The compilers that may run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Compilers {
    rule: Rule,
    search: OsString,
}

/// Why a compiler does not run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// It is not among those that may.
    NotAllowed(String),
    /// It may, but is not there: the answer is exit status 110, as with stock.
    Missing(String),
}

impl Compilers {
    /// All compilers, found along `search` (the value of PATH).
    pub fn any(search: OsString) -> Compilers {
        let rule = Rule::Any;
        Compilers { rule, search }
    }

    /// What `--compilers` lists, separated by commas or colons.
    ///
    /// # Errors
    /// [`Code::CompilerMissing`] if one is not there, naming it.
    pub fn listed(list: &str, search: OsString) -> Result<Compilers> {
        let mut listed = Vec::new();
        let none = Compilers::any(search);
        for word in list.split([',', ':']).filter(|word| !word.is_empty()) {
            let found = match word.starts_with('/') {
                true => Some(PathBuf::from(word)).filter(|path| files::program(path).is_some()),
                false if word.contains('/') => None,
                false => none.search(OsStr::new(word)),
            };
            let path = found.ok_or_else(|| {
                Error::new(
                    Code::CompilerMissing,
                    format!(
                        "--compilers: {word} is not on PATH, nor the absolute path of a program"
                    ),
                )
            })?;
            let name = path.file_name().unwrap_or_default().to_owned();
            listed.push((name, path));
        }
        if listed.is_empty() {
            return Err(Error::new(
                Code::BadArguments,
                "--compilers: the list is empty; write names or absolute paths, e.g. gcc,g++",
            ));
        }
        Ok(Compilers {
            rule: Rule::List(listed),
            search: none.search,
        })
    }

    /// What the text of a `DISTCC_CMDLIST` file lists, one path on each line, or a name that is on PATH.
    ///
    /// # Errors
    /// [`Code::BadArguments`] if it lists nothing, or a path that means another file in each folder.
    pub fn commands(text: &[u8], words: usize, search: OsString) -> Result<Compilers> {
        let paths: Vec<PathBuf> = text
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| PathBuf::from(OsStr::from_bytes(line)))
            .collect();
        let fault = |why: String| Error::new(Code::BadArguments, why);
        let is_odd = |path: &&PathBuf| !path.is_absolute() && path.components().count() > 1;
        if let Some(path) = paths.iter().find(is_odd) {
            let path = path.display();
            return Err(fault(format!(
                "DISTCC_CMDLIST: {path} is neither an absolute path nor a name"
            )));
        }
        if paths.is_empty() {
            return Err(fault(
                "DISTCC_CMDLIST: the file lists nothing, so no compiler would be allowed"
                    .to_owned(),
            ));
        }
        Ok(Compilers {
            rule: Rule::Commands { words, paths },
            search,
        })
    }

    /// Names from stock's masquerade folders and from ours, which is `lib/distcc` beside the folder of `executable`.
    ///
    /// # Errors
    /// [`Code::CompilerMissing`] if none of them is there, naming the ways out.
    pub fn masquerade(executable: Option<&Path>, search: OsString) -> Result<Compilers> {
        let ours = executable.and_then(|path| Some(path.parent()?.parent()?.join("lib/distcc")));
        let mut folders: Vec<PathBuf> = MASQUERADE_DIRS.iter().map(PathBuf::from).collect();
        folders
            .extend(ours.filter(|ours| !MASQUERADE_DIRS.iter().any(|dir| ours == Path::new(dir))));
        if folders.iter().any(|folder| folder.is_dir()) {
            return Ok(Compilers {
                rule: Rule::Masquerade(folders),
                search,
            });
        }
        let looked: Vec<String> = folders
            .iter()
            .map(|dir| dir.display().to_string())
            .collect();
        Err(Error::new(
            Code::CompilerMissing,
            format!(
                "no compiler is allowed: there is none of {}; name them with --compilers gcc,g++,…, make one of these \
                 folders with links named as the compilers, or allow everything with --enable-tcp-insecure",
                looked.join(", ")
            ),
        ))
    }

    /// For the log: what is allowed.
    pub fn describe(&self) -> String {
        match &self.rule {
            Rule::Any => "every program may be run as compiler".to_owned(),
            Rule::Masquerade(folders) => {
                format!("compilers: the names in {}", there(folders))
            }
            Rule::List(listed) => {
                let names = listed.iter().map(|(_, path)| path.display().to_string());
                format!("compilers: {}", names.collect::<Vec<String>>().join(", "))
            }
            Rule::Commands { paths, .. } => {
                format!("compilers: {} from DISTCC_CMDLIST", paths.len())
            }
        }
    }

    /// The program to run for `requested`, the first word of a command line.
    pub fn find(&self, requested: &[u8]) -> std::result::Result<PathBuf, Refusal> {
        let wanted = OsStr::from_bytes(requested);
        let shown = wanted.to_string_lossy();
        let not_allowed = |why: &str| Refusal::NotAllowed(format!("compiler {shown} {why}"));
        let missing =
            || Refusal::Missing(format!("failed to exec {shown}: not found on this server"));
        match &self.rule {
            Rule::Any
                if requested.starts_with(b"/") && files::program(Path::new(wanted)).is_some() =>
            {
                Ok(PathBuf::from(wanted))
            }
            Rule::Any => Path::new(wanted)
                .file_name()
                .and_then(|name| self.search(name))
                .ok_or_else(missing),
            Rule::Commands { words, paths } => {
                let key = last_components(requested, *words);
                let path = paths
                    .iter()
                    .find(|path| last_components(path.as_os_str().as_bytes(), *words) == key)
                    .ok_or_else(|| not_allowed("is not in the file that DISTCC_CMDLIST names"))?;
                match path.is_absolute() {
                    true => Ok(path.clone()),
                    false => self.search(path.as_os_str()).ok_or_else(missing),
                }
            }
            Rule::Masquerade(folders) => {
                let name = plain_name(requested)
                    .ok_or_else(|| not_allowed("is a path; only names and /usr/bin are allowed"))?;
                if !folders
                    .iter()
                    .any(|folder| files::program(&folder.join(name)).is_some())
                {
                    return Err(not_allowed(&format!(
                        "is not allowed here: no link of that name in {}; update-distcc-symlinks links all \
                         compilers of this machine there",
                        there(folders)
                    )));
                }
                self.locate(wanted, name).ok_or_else(missing)
            }
            Rule::List(listed) => {
                if let Some((_, path)) = listed.iter().find(|(_, path)| path.as_os_str() == wanted)
                {
                    return Ok(path.clone());
                }
                let name =
                    plain_name(requested).ok_or_else(|| not_allowed("is not in --compilers"))?;
                if let Some((_, path)) = listed.iter().find(|(listed, _)| listed == name) {
                    return Ok(path.clone());
                }
                self.locate(wanted, name)
                    .filter(|path| listed.iter().any(|listed| is_other_name(path, listed)))
                    .ok_or_else(|| not_allowed("is not in --compilers"))
            }
        }
    }

    /// What a compiler that was asked for as `requested` is to be called: compilers look for their own parts beside the file
    /// that they find themselves as, so a name that leads elsewhere here becomes the path of `program`.
    pub fn name_for(&self, requested: &[u8], program: &Path) -> OsString {
        let wanted = OsStr::from_bytes(requested);
        let is_found = !requested.contains(&b'/')
            && self.search(wanted).is_some_and(|found| {
                found == program || found.canonicalize().ok() == program.canonicalize().ok()
            });
        match is_found || wanted == program {
            true => wanted.to_owned(),
            false => program.as_os_str().to_owned(),
        }
    }

    /// The file that a permitted word means: itself if it is a path, else what PATH has of that name.
    fn locate(&self, wanted: &OsStr, name: &OsStr) -> Option<PathBuf> {
        match wanted == name {
            true => self.search(name),
            false => Some(PathBuf::from(wanted)).filter(|path| files::program(path).is_some()),
        }
    }

    /// Looks a name up in PATH, without the links that lead back to distcc.
    fn search(&self, name: &OsStr) -> Option<PathBuf> {
        which::which_in_global(name, Some(&self.search))
            .ok()?
            .find(|path| path.is_absolute() && !leads_to_distcc(path))
    }
}

/// Those of the folders that there are, as a list.
fn there(folders: &[PathBuf]) -> String {
    let there = folders.iter().filter(|folder| folder.is_dir());
    let names: Vec<String> = there.map(|dir| dir.display().to_string()).collect();
    names.join(", ")
}

/// The name alone, if it is one, or after the system's folders for programs.
fn plain_name(requested: &[u8]) -> Option<&OsStr> {
    let name = SYSTEM_DIRS
        .iter()
        .find_map(|dir| requested.strip_prefix(*dir))
        .unwrap_or(requested);
    let plain = !name.is_empty() && !name.contains(&b'/') && name != b"." && name != b"..";
    plain.then(|| OsStr::from_bytes(name))
}

/// Whether `path` is the listed compiler by a fuller name: with the machine before it or the version behind it.
/// Stock's clients ask for `x86_64-linux-gnu-gcc` when their user says `gcc`.
fn is_other_name(path: &Path, (listed, file): &(OsString, PathBuf)) -> bool {
    let Some(name) = path.file_name().map(OsStrExt::as_bytes) else {
        return false;
    };
    // Not `clang-cl` or `clang-cpp`: the same file, but another program.
    let is_version = |text: &[u8]| {
        let digits = text.strip_prefix(b"-").unwrap_or_default();
        !digits.is_empty() && digits.iter().all(|byte| b"0123456789.".contains(byte))
    };
    let fuller = memchr::memmem::rfind(name, listed.as_bytes()).is_some_and(|at| {
        let (before, rest) = name.split_at(at);
        let behind = rest.get(listed.len()..).unwrap_or_default();
        (before.is_empty() || before.ends_with(b"-")) && (behind.is_empty() || is_version(behind))
    });
    fuller
        && matches!((path.canonicalize(), file.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// Whether a link's last target is a distcc, so that running it would send the job on.
fn leads_to_distcc(path: &Path) -> bool {
    fs::canonicalize(path).is_ok_and(|target| {
        let name = target.file_name().unwrap_or_default().as_bytes();
        name.starts_with(b"distcc")
    })
}

/// The last `count` parts of a path; all of it if it has fewer.
fn last_components(path: &[u8], count: usize) -> &[u8] {
    let mut slashes = path
        .iter()
        .enumerate()
        .rev()
        .filter(|(_, byte)| **byte == b'/');
    match slashes.nth(count.saturating_sub(1)) {
        Some((at, _)) if count > 0 => path.get(at + 1..).unwrap_or_default(),
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::symlink;
    use std::os::unix::fs::PermissionsExt;

    fn program(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "#!/bin/sh\n").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn a_list_allows_names_paths_and_fuller_names() {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("bin");
        program(&bin.join("gcc-12"));
        program(&bin.join("evil"));
        symlink("gcc-12", bin.join("gcc")).unwrap();
        symlink("gcc-12", bin.join("x86_64-linux-gnu-gcc")).unwrap();
        symlink("gcc-12", bin.join("cpp")).unwrap();
        symlink("gcc-12", bin.join("gcc-cl")).unwrap();
        let compilers = Compilers::listed("gcc", bin.clone().into()).unwrap();
        let find = |name: &str| compilers.find(name.as_bytes());
        assert_eq!(find("gcc").unwrap(), bin.join("gcc"));
        assert_eq!(find("gcc-12").unwrap(), bin.join("gcc-12"));
        assert!(find("x86_64-linux-gnu-gcc").is_ok());
        assert!(find(bin.join("gcc").to_str().unwrap()).is_ok());
        for name in [
            "evil",
            "cpp",
            "gcc-cl",
            "../gcc",
            "./gcc",
            "/opt/gcc",
            "",
            ".",
            "/usr/bin/",
        ] {
            assert!(matches!(find(name), Err(Refusal::NotAllowed(_))), "{name}");
        }
        assert!(Compilers::listed("gcc,nosuch", bin.into()).is_err());
    }

    #[test]
    fn a_masquerade_folder_beside_the_program_counts() {
        let dir = tempfile::tempdir().unwrap();
        let (bin, links) = (dir.path().join("bin"), dir.path().join("lib/distcc"));
        for name in ["distcc", "mycc"] {
            program(&bin.join(name));
        }
        fs::create_dir_all(&links).unwrap();
        for name in ["mycc", "gone"] {
            symlink("../../bin/distcc", links.join(name)).unwrap();
        }
        let mut search = links.clone().into_os_string();
        search.push(":");
        search.push(&bin);
        let compilers = Compilers::masquerade(Some(&bin.join("distcc")), search).unwrap();
        assert_eq!(compilers.find(b"mycc").unwrap(), bin.join("mycc"));
        assert!(matches!(compilers.find(b"gone"), Err(Refusal::Missing(_))));
        for name in [
            "nosuchcc",
            "/opt/cc/gcc",
            "/usr/bin/../bin/mycc",
            "..",
            "/bin/.",
        ] {
            let found = compilers.find(name.as_bytes());
            assert!(matches!(found, Err(Refusal::NotAllowed(_))), "{name}");
        }
        let Err(Refusal::NotAllowed(why)) = compilers.find(b"nosuchcc") else {
            panic!("it is allowed")
        };
        // Where a link is missing, and how it comes there.
        assert!(why.contains(links.to_str().unwrap()), "{why}");
        assert!(why.contains("update-distcc-symlinks"), "{why}");
    }

    #[test]
    fn a_command_list_names_the_file_to_run() {
        let text = b"/opt/one/bin/gcc\n/opt/two/bin/gcc\n";
        let one = Compilers::commands(text, 1, OsString::new()).unwrap();
        assert_eq!(
            one.find(b"/any/gcc").unwrap(),
            Path::new("/opt/one/bin/gcc")
        );
        assert!(one.find(b"g++").is_err());
        let three = Compilers::commands(text, 3, OsString::new()).unwrap();
        assert_eq!(
            three.find(b"two/bin/gcc").unwrap(),
            Path::new("/opt/two/bin/gcc")
        );
        assert!(three.find(b"gcc").is_err());
        let named = Compilers::commands(b"sh", 1, "/usr/bin:/bin".into()).unwrap();
        assert!(named.find(b"/any/sh").unwrap().is_absolute());
        for text in [&b""[..], b"\n\n", b"bin/gcc", b"/bin/gcc\n./gcc", b"../gcc"] {
            assert!(Compilers::commands(text, 1, OsString::new()).is_err());
        }
        assert_eq!(last_components(b"a/b/c", 2), b"b/c");
        assert_eq!(last_components(b"a", 2), b"a");
        assert_eq!(last_components(b"a/b", 0), b"a/b");
    }

    #[test]
    fn insecure_runs_what_is_there() {
        let compilers = Compilers::any("/usr/bin:/bin".into());
        assert!(compilers.find(b"sh").unwrap().is_absolute());
        assert!(compilers.find(b"/nowhere/sh").is_ok());
        assert!(matches!(
            compilers.find(b"nosuchcc"),
            Err(Refusal::Missing(_))
        ));
    }
}
