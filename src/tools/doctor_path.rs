//! `distcc doctor`: whether a compiler's bare name leads to distcc, and from there to a compiler. PATH and its folders of
//! links, distcc's and ccache's. Nothing is run.

use super::toolchain::calls_distcc;
use crate::model::family::is_compiler;
use crate::model::findings::{Finding, Topic};
use crate::os::files::program;
use std::collections::BTreeSet;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What an entry of a folder on PATH that is called like a compiler leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Leads {
    /// This very distcc.
    Ours,
    /// Another distcc.
    Distcc(PathBuf),
    Ccache,
    /// A script that calls distcc.
    Script,
    /// A link to nothing.
    Nowhere(PathBuf),
    Compiler,
}

/// A folder on PATH with entries that are called like compilers.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    entries: Vec<(String, Leads)>,
}

/// Looks through `path`, a value of PATH; `prefix` is `$CCACHE_PREFIX`.
pub fn look(path: &OsStr, prefix: Option<&OsStr>, say: &mut dyn FnMut(Finding)) {
    let mut seen = BTreeSet::new();
    let folders: Vec<Folder> = env::split_paths(path)
        .filter(|folder| !folder.as_os_str().is_empty() && seen.insert(folder.clone()))
        .map(|folder| entries_of(&folder))
        .collect();
    links(&folders, say);
    masquerade(&folders, say);
    scripts(&folders, say);
    ccache(&folders, path, prefix, say);
}

fn entries_of(folder: &Path) -> Folder {
    let names = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let mut entries: Vec<(String, Leads)> = names
        .filter(|name| is_compiler(name))
        .filter_map(|name| {
            let leads = leads(&folder.join(&name))?;
            Some((name, leads))
        })
        .collect();
    entries.sort_by(|one, other| one.0.cmp(&other.0));
    Folder {
        path: folder.to_owned(),
        entries,
    }
}

/// Where a name leads; `None` if it is no program.
fn leads(path: &Path) -> Option<Leads> {
    let Some(meta) = program(path) else {
        let target = fs::read_link(path).ok()?;
        return (!path.exists()).then_some(Leads::Nowhere(target));
    };
    let me = fs::metadata("/proc/self/exe").ok()?;
    if (me.dev(), me.ino()) == (meta.dev(), meta.ino()) {
        return Some(Leads::Ours);
    }
    let file = fs::canonicalize(path).ok()?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    Some(match &*name {
        "ccache" => Leads::Ccache,
        _ if name.contains("distcc") => Leads::Distcc(file.clone()),
        _ if calls_distcc(&file) => Leads::Script,
        _ => Leads::Compiler,
    })
}

impl Folder {
    fn names(&self, of: impl Fn(&Leads) -> bool) -> Vec<&str> {
        let those = self.entries.iter().filter(|(_, leads)| of(leads));
        those.map(|(name, _)| name.as_str()).collect()
    }

    fn has_links_to_distcc(&self) -> bool {
        !self.names(is_distcc).is_empty()
    }
}

fn is_distcc(leads: &Leads) -> bool {
    matches!(leads, Leads::Ours | Leads::Distcc(_))
}

/// Links that lead nowhere, or to another distcc.
fn links(folders: &[Folder], say: &mut dyn FnMut(Finding)) {
    for folder in folders {
        let about = folder.path.display().to_string();
        let finding = |what: String| Finding::ok("links", &about, what);
        let to_distcc = |target: &Path| target.to_string_lossy().contains("distcc");
        let broken =
            folder.names(|leads| matches!(leads, Leads::Nowhere(target) if to_distcc(target)));
        if !broken.is_empty() {
            say(finding(format!(
                "{} lead to a distcc that is gone",
                broken.join(", ")
            ))
            .warning(
                format!("`update-distcc-symlinks --dir {about}` lets them lead here, or takes them away if their compiler is gone, too"),
                Topic::NothingSent,
            ));
        }
        let others = folder
            .entries
            .iter()
            .filter_map(|(name, leads)| match leads {
                Leads::Distcc(target) => Some((name, target)),
                _ => None,
            });
        let others: Vec<_> = others.collect();
        if let Some((_, target)) = others.first() {
            let names: Vec<&str> = others.iter().map(|(name, _)| name.as_str()).collect();
            say(finding(format!(
                "{} lead to another distcc than this one: {}",
                names.join(", "),
                target.display()
            ))
            .warning(
                "if this one is meant, put the folder with its links first on PATH, or take the other out",
                Topic::NothingSent,
            ));
        }
    }
}

/// Whether links come before the compilers that they stand for, and these come at all.
fn masquerade(folders: &[Folder], say: &mut dyn FnMut(Finding)) {
    let Some(at) = folders.iter().position(Folder::has_links_to_distcc) else {
        return say(Finding::ok(
            "masquerade",
            "",
            "no folder of distcc's links is on PATH: builds have to call it, as in make CC='distcc gcc'",
        ));
    };
    let folder = &folders[at];
    let about = folder.path.display().to_string();
    let finding = |what: String| Finding::ok("masquerade", &about, what);
    let has = |folder: &Folder, name: &str, wanted: &dyn Fn(&Leads) -> bool| {
        folder.names(wanted).contains(&name)
    };
    let is_real = |leads: &Leads| matches!(leads, Leads::Compiler);
    let names = folder.names(is_distcc);
    let hidden: Vec<&str> = names
        .iter()
        .copied()
        .filter(|name| {
            folders[..at]
                .iter()
                .any(|before| has(before, name, &is_real))
        })
        .collect();
    let gone: Vec<&str> = names
        .iter()
        .copied()
        .filter(|name| {
            !folders.iter().any(|any| {
                has(any, name, &|leads| {
                    !is_distcc(leads) && !matches!(leads, Leads::Nowhere(_))
                })
            })
        })
        .collect();
    let count = names.len();
    if !hidden.is_empty() {
        say(finding(format!(
            "PATH finds the compilers before their links: {}",
            hidden.join(", ")
        ))
        .warning(
            format!("`export PATH=\"{about}:$PATH\"`"),
            Topic::NothingSent,
        ));
    } else {
        say(finding(format!(
            "stands before the compilers on PATH; {count} of them are links to distcc"
        )));
    }
    if !gone.is_empty() {
        say(finding(format!(
            "there is no compiler behind the link on PATH: {}",
            gone.join(", ")
        ))
        .warning(
            "install it, add its folder to PATH, or remove the link",
            Topic::NothingSent,
        ));
    }
}

/// Compilers that are scripts which call distcc: from a link, or from `distcc`, they lead back.
fn scripts(folders: &[Folder], say: &mut dyn FnMut(Finding)) {
    for folder in folders {
        let names = folder.names(|leads| *leads == Leads::Script);
        if !names.is_empty() {
            say(Finding::ok(
                "recursion",
                folder.path.display().to_string(),
                format!("scripts that call distcc: {}; called by distcc they call it again, which it refuses", names.join(", ")),
            )
            .warning(
                "let them name the compiler by its absolute path, and don't call distcc in front of them",
                Topic::NothingSent,
            ));
        }
    }
}

/// The folder of distcc's links, if PATH finds it before the compilers.
fn links_as_compilers(folders: &[Folder]) -> Option<&Folder> {
    let mut compilers = BTreeSet::new();
    folders.iter().find(|folder| {
        let links = folder.names(is_distcc);
        let is_first = links.iter().any(|name| !compilers.contains(name));
        compilers.extend(folder.names(|leads| *leads == Leads::Compiler));
        is_first
    })
}

/// Whether ccache and distcc are put together so that both work.
fn ccache(folders: &[Folder], path: &OsStr, prefix: Option<&OsStr>, say: &mut dyn FnMut(Finding)) {
    let is_ccache = |leads: &Leads| *leads == Leads::Ccache;
    let ccache = folders
        .iter()
        .position(|folder| !folder.names(is_ccache).is_empty());
    let distcc = folders.iter().position(Folder::has_links_to_distcc);
    let finding = |what: String| Finding::ok("ccache", "", what);
    if let Some(prefix) = prefix.filter(|prefix| !prefix.is_empty()) {
        let shown = prefix.to_string_lossy();
        let first = shown.split_ascii_whitespace().next().unwrap_or_default();
        let found = which::which_in(first, Some(path), "/");
        let in_the_way = links_as_compilers(folders).filter(|_| !first.contains('/'));
        if let (Some(folder), true) = (in_the_way, found.is_ok() && shown.contains("distcc")) {
            let links = folder.path.display();
            let what = format!("CCACHE_PREFIX is '{shown}', but ccache takes the links in {links} for compilers, and finds no other distcc");
            return say(finding(what).fault(format!("take {links} off PATH"), Topic::NothingSent));
        }
        return say(match found {
            Ok(_) if shown.contains("distcc") => {
                finding(format!("it calls {shown} for what it has not cached"))
            }
            Ok(_) => finding(format!("CCACHE_PREFIX is '{shown}', which is not distcc"))
                .warning("`export CCACHE_PREFIX=distcc`", Topic::NothingSent),
            Err(_) => finding(format!(
                "CCACHE_PREFIX is '{shown}', but {first} is not on PATH"
            ))
            .fault(
                "add distcc's folder to PATH, or name it by its absolute path",
                Topic::NothingSent,
            ),
        });
    }
    match (ccache, distcc) {
        (Some(ccache), Some(distcc)) if distcc < ccache => say(finding(
            "distcc's links come before ccache's, so that hosts' work is not cached".to_owned(),
        )
        .warning(
            "`export CCACHE_PREFIX=distcc`, and take distcc's links off PATH",
            Topic::NothingSent,
        )),
        (Some(_), Some(_)) => say(finding(
            "ccache's links lead to distcc's, which works, but ccache does not know of it"
                .to_owned(),
        )
        .warning(
            "`export CCACHE_PREFIX=distcc`, and take distcc's links off PATH",
            Topic::NothingSent,
        )),
        (Some(_), None) => say(finding(
            "ccache's links are on PATH, but nothing leads from there to distcc".to_owned(),
        )
        .warning("`export CCACHE_PREFIX=distcc`", Topic::NothingSent)),
        (None, _) => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::findings::Level;
    use std::os::unix::fs::{symlink, PermissionsExt};

    /// Folders with programs: `real` has gcc, `script` a g++ that calls distcc, `links` leads to this program, to another
    /// distcc and to nothing, `ccache` to ccache.
    fn folders() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        };
        write("real/gcc", "");
        write("script/g++", "#!/bin/sh\nexec distcc g++ \"$@\"\n");
        write("bin/distcc", "");
        write("bin/ccache", "");
        let link = |target: &Path, name: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            symlink(target, path).unwrap();
        };
        link(&fs::canonicalize("/proc/self/exe").unwrap(), "links/gcc");
        link(Path::new("../bin/distcc"), "others/gcc");
        link(Path::new("../bin/distcc-gone"), "others/clang");
        link(Path::new("../bin/ccache"), "cached/gcc");
        dir
    }

    fn found(path: &[&str], prefix: Option<&str>) -> Vec<(&'static str, Level, String)> {
        let dir = folders();
        let path = env::join_paths(path.iter().map(|name| dir.path().join(name))).unwrap();
        let mut found = Vec::new();
        look(&path, prefix.map(OsStr::new), &mut |finding| {
            found.push((finding.check, finding.level, finding.what));
        });
        found
    }

    #[test]
    fn the_order_of_path_decides() {
        for (path, prefix, check, level, words) in [
            (&["real"][..], None, "masquerade", Level::Ok, "no folder"),
            (
                &["links", "real"],
                None,
                "masquerade",
                Level::Ok,
                "1 of them",
            ),
            (
                &["real", "links"],
                None,
                "masquerade",
                Level::Warning,
                "before their links: gcc",
            ),
            (
                &["links"],
                None,
                "masquerade",
                Level::Warning,
                "no compiler behind the link on PATH: gcc",
            ),
            (
                &["others", "real"],
                None,
                "links",
                Level::Warning,
                "gcc lead to another distcc",
            ),
            (
                &["others", "real"],
                None,
                "links",
                Level::Warning,
                "clang lead to a distcc that is gone",
            ),
            (
                &["script", "real"],
                None,
                "recursion",
                Level::Warning,
                "g++",
            ),
            (
                &["cached", "real"],
                None,
                "ccache",
                Level::Warning,
                "nothing leads",
            ),
            (
                &["cached", "real", "bin"],
                Some("distcc"),
                "ccache",
                Level::Ok,
                "it calls distcc",
            ),
            (
                &["cached", "real"],
                Some("distcc"),
                "ccache",
                Level::Fault,
                "not on PATH",
            ),
            (
                &["links", "real", "bin"],
                Some("distcc"),
                "ccache",
                Level::Fault,
                "finds no other distcc",
            ),
            (
                &["real", "links", "bin"],
                Some("distcc"),
                "ccache",
                Level::Ok,
                "it calls distcc",
            ),
            (
                &["links", "cached", "real"],
                None,
                "ccache",
                Level::Warning,
                "not cached",
            ),
        ] {
            let all = found(path, prefix);
            let is_there = |(its, of, what): &(&str, Level, String)| {
                (*its, *of) == (check, level) && what.contains(words)
            };
            assert!(all.iter().any(is_there), "{path:?}: {words}: {all:?}");
        }
    }

    #[test]
    fn what_is_well_is_not_blamed() {
        for path in [&["real"][..], &["links", "real"]] {
            let all = found(path, None);
            assert!(
                all.iter().all(|(_, level, _)| *level == Level::Ok),
                "{all:?}"
            );
        }
    }
}
