//! The name under which a server is asked for the compiler: one that means the same compiler, for the same target,
//! on a machine of another kind. What runs here is always what the user wrote.

use crate::model::family::{family, Family};
use crate::os::files::{program, real_path};
use std::env;
use std::env::consts::ARCH;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

/// The compiler of a command.
#[derive(Debug)]
pub struct Compiler {
    /// Its kin, if that is known.
    pub family: Option<Family>,
    /// What servers are asked for.
    pub server: ServerCompiler,
    /// Where on PATH it lies, if that is known.
    pub found: Option<PathBuf>,
}

impl Compiler {
    /// The one that `argv` begins with; `path` is PATH, `rewrite` allows another name for servers.
    pub fn of(argv: &[OsString], path: &OsStr, rewrite: bool) -> Compiler {
        Compiler::found(argv, path, None, rewrite)
    }

    /// The same, of which it is known where on PATH it lies.
    pub fn found(argv: &[OsString], path: &OsStr, found: Option<&Path>, rewrite: bool) -> Compiler {
        let name = argv.first().cloned().unwrap_or_default();
        Compiler {
            family: family(Path::new(&name)).or_else(|| family(&resolve(&name, path)?)),
            server: match rewrite {
                true => server_compiler(argv, path, found),
                false => ServerCompiler::as_given(&name),
            },
            found: found.map(Path::to_owned),
        }
    }
}

/// A compiler as the server is to know it.
#[derive(PartialEq, Eq, Debug)]
pub struct ServerCompiler {
    /// The first word of the command.
    pub name: OsString,
    /// Words to put at the command's end.
    pub more: Vec<OsString>,
}

impl ServerCompiler {
    /// The name that the user gave.
    pub fn as_given(name: &OsStr) -> Self {
        ServerCompiler {
            name: name.to_owned(),
            more: Vec::new(),
        }
    }
}

/// Follows links from the compiler's name to the file that would run; `None` if there is none. `path` is PATH.
pub fn resolve(name: &OsStr, path: &OsStr) -> Option<PathBuf> {
    let found = match is_bare(name) {
        true => find(name, path)?,
        false => PathBuf::from(name),
    };
    real_path(&found).ok()
}

/// The file that running `name` would run, absolute, with its own name: that may say what the program is to be. Links to a
/// distcc are passed over, since it would only look for the same.
pub fn locate(name: &OsStr, path: &OsStr, cwd: &Path) -> Option<PathBuf> {
    if !is_bare(name) {
        return Some(cwd.join(name));
    }
    let is_distccs = |file: &PathBuf| {
        let target = fs::read_link(file).unwrap_or_default();
        let target = target.file_name().unwrap_or_default();
        target.to_string_lossy().contains("distcc")
    };
    env::split_paths(path)
        .map(|element| cwd.join(element).join(name))
        .find(|candidate| program(candidate).is_some() && !is_distccs(candidate))
}

/// The name to send, by the rules of stock clients, so that servers of mixed farms and their lists of compilers
/// understand it: `cc` becomes what it is a link to, `gcc` becomes `TRIPLE-gcc` if there is such a program here, and
/// clang is told the target unless the command says it. A name with a folder goes as it is. `found` is where the compiler
/// lies, if that is known: there its other names most likely are.
pub fn server_compiler(argv: &[OsString], path: &OsStr, found: Option<&Path>) -> ServerCompiler {
    let given = argv.first().cloned().unwrap_or_default();
    if !is_bare(&given) {
        return ServerCompiler::as_given(&given);
    }
    let name = behind_generic_name(&given, path).unwrap_or(given);
    let text = name.to_string_lossy();
    if is_or_begins(&text, &["clang", "clang++"]) && !names_target(argv) {
        let Some(triple) = clang_triple() else {
            return ServerCompiler::as_given(&name);
        };
        log::info!("Adding '-target {triple}' to support clang cross-compilation.");
        let more = vec!["-target".into(), triple.into()];
        return ServerCompiler { name, more };
    }
    let full = format!("{ARCH}-linux-gnu-{text}");
    let beside = found.and_then(Path::parent).filter(|folder| counts(folder));
    let is_beside = |folder: &Path| program(&folder.join(&full)).is_some();
    let exists = || beside.is_some_and(is_beside) || find(OsStr::new(&full), path).is_some();
    let name = match is_or_begins(&text, &["gcc", "g++"]) && exists() {
        true => {
            log::info!("Re-writing call to '{text}' to '{full}' to support cross-compilation.");
            full.into()
        }
        false => name,
    };
    ServerCompiler::as_given(&name)
}

/// The target of a clang of this machine, spelled as stock clients on Debian spell it, where a processor's name is enough
/// to know it: not where byte orders or ways of calling differ.
fn clang_triple() -> Option<String> {
    match ARCH {
        "x86_64" => Some(format!("{ARCH}-pc-linux-gnu")),
        "aarch64" | "riscv64gc" | "riscv64" | "s390x" => Some(format!("{ARCH}-unknown-linux-gnu")),
        _ => None,
    }
}

fn names_target(argv: &[OsString]) -> bool {
    argv.iter().skip(1).any(|word| {
        let word = word.as_encoded_bytes();
        word == b"-target" || word.starts_with(b"--target")
    })
}

/// `gcc`, `gcc-12`, but not `gccgo`.
fn is_or_begins(name: &str, words: &[&str]) -> bool {
    words.iter().any(|word| {
        name.strip_prefix(word)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    })
}

/// What `cc` or `c++` is, if PATH has it as a link to one of the usual compilers.
fn behind_generic_name(name: &OsStr, path: &OsStr) -> Option<OsString> {
    let known: [&str; 2] = match name.to_str()? {
        "cc" => ["gcc", "clang"],
        "c++" => ["g++", "clang++"],
        _ => return None,
    };
    let found = find(name, path)?;
    let mut target = beside(&found, &fs::read_link(&found).ok()?);
    if target.parent() == Some(Path::new("/etc/alternatives")) {
        target = beside(&target, &fs::read_link(&target).ok()?);
    }
    let target_name = target.file_name()?;
    let usual = known.iter().any(|known| target_name == *known);
    (usual && program(&target).is_some()).then(|| target_name.to_owned())
}

fn beside(link: &Path, target: &Path) -> PathBuf {
    link.parent().unwrap_or(Path::new("/")).join(target)
}

/// The first program of this name on PATH that does not lie in a folder of distcc's links.
fn find(name: &OsStr, path: &OsStr) -> Option<PathBuf> {
    env::split_paths(path)
        .filter(|element| counts(element))
        .map(|element| element.join(name))
        .find(|candidate| program(candidate).is_some())
}

fn counts(folder: &Path) -> bool {
    !folder.to_string_lossy().contains("distcc")
}

fn is_bare(name: &OsStr) -> bool {
    !name.as_encoded_bytes().contains(&b'/')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::{symlink, PermissionsExt};

    fn programs(names: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in names {
            let path = dir.path().join(name);
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        dir
    }

    fn sent(command: &str, dir: &tempfile::TempDir) -> String {
        let argv: Vec<OsString> = command.split(' ').map(OsString::from).collect();
        let compiler = server_compiler(&argv, dir.path().as_os_str(), None);
        let mut words = vec![compiler.name];
        words.extend(compiler.more);
        words.join(OsStr::new(" ")).into_string().unwrap()
    }

    #[test]
    fn gcc_gets_its_full_name_where_it_has_one() {
        let full = format!("{ARCH}-linux-gnu-gcc");
        let dir = programs(&["gcc", "g++", &full]);
        assert_eq!(sent("gcc -c x.c", &dir), full);
        assert_eq!(sent("g++ -c x.c", &dir), "g++");
        assert_eq!(sent("/usr/bin/gcc -c x.c", &dir), "/usr/bin/gcc");
        assert_eq!(sent("gccgo -c x.c", &dir), "gccgo");
    }

    #[test]
    fn cc_becomes_what_it_is_a_link_to() {
        let dir = programs(&["gcc", "tcc"]);
        symlink("gcc", dir.path().join("cc")).unwrap();
        assert_eq!(sent("cc -c x.c", &dir), "gcc");
        fs::remove_file(dir.path().join("cc")).unwrap();
        symlink("tcc", dir.path().join("cc")).unwrap();
        assert_eq!(sent("cc -c x.c", &dir), "cc");
    }

    #[test]
    fn a_compiler_is_located_under_its_own_name() {
        let links = programs(&["distcc"]);
        symlink("distcc", links.path().join("cc")).unwrap();
        let real = programs(&["gcc-12"]);
        symlink("gcc-12", real.path().join("cc")).unwrap();
        let path = env::join_paths([links.path(), real.path()]).unwrap();
        let locate = |name: &str| locate(OsStr::new(name), &path, Path::new("/w"));
        assert_eq!(locate("cc"), Some(real.path().join("cc")));
        assert_eq!(locate("../bin/cc"), Some("/w/../bin/cc".into()));
        assert_eq!(locate("/opt/cc"), Some("/opt/cc".into()));
        assert_eq!(locate("icc"), None);
    }

    #[test]
    fn clang_is_told_the_target_once() {
        let dir = programs(&["clang"]);
        let Some(target) = clang_triple() else {
            return;
        };
        assert_eq!(
            sent("clang -c x.c", &dir),
            format!("clang -target {target}")
        );
        assert_eq!(
            sent("clang-14 -c x.c", &dir),
            format!("clang-14 -target {target}")
        );
        assert_eq!(sent("clang -target arm-none-eabi -c x.c", &dir), "clang");
        assert_eq!(sent("clang --target=arm-none-eabi -c x.c", &dir), "clang");
    }
}
