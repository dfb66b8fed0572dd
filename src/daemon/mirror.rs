//! The words of a pump job that runs where the system allows no namespaces: the client's files lie below a folder of
//! ours, absolute paths are moved there, and the compiler is told not to show it. What can't be exact so is not done here.

use super::shown::Shown;
use crate::model::about::About;
use crate::model::client_path::ClientPath;
use crate::model::command_line::text;
use crate::model::compiler_options::Effect;
use crate::model::family::Family;
use crate::model::job_tree::JobTree;
use crate::model::option_table;
use crate::model::received::ReceivedPump;

/// Options whose value is a folder or file of the client's.
const MOVED: &[&str] = &[
    "-F",
    "-I",
    "-cxx-isystem",
    "-idirafter",
    "-iframework",
    "-imacros",
    "-include",
    "-iprefix",
    "-iquote",
    "-isystem",
    "-isystem-after",
    "-stdlib++-isystem",
];

/// Options whose value may look like a path, but is only a text.
const TEXTS: &[&str] = &[
    "--no-system-header-prefix=",
    "--system-header-prefix=",
    "-D",
    "-L",
    "-MF",
    "-MQ",
    "-MT",
    "-T",
    "-U",
    "-Wl,",
    "-Xlinker",
    "-fcoverage-compilation-dir=",
    "-fdebug-compilation-dir",
    "-fdebug-compilation-dir=",
    "-ffile-compilation-dir=",
    "-frandom-seed=",
    "-fuse-ld=",
    "-iwithprefix",
    "-iwithprefixbefore",
    "-l",
    "-rpath",
    "-u",
    "-z",
];

/// What maps paths in debug information, in what the source sees of them, and in both.
const DEBUG_MAP: &[u8] = b"-fdebug-prefix-map=";
const MACRO_MAP: &[u8] = b"-fmacro-prefix-map=";
const FILE_MAP: &[u8] = b"-ffile-prefix-map=";

/// A job that is to run in a mirror.
#[derive(Clone, Copy)]
pub struct Mirror<'m> {
    /// The folder that stands for the client's `/`.
    pub folder: &'m [u8],
    /// What lies in it.
    pub tree: &'m JobTree,
    /// The working directory in it.
    pub cwd: &'m ClientPath,
    /// The client's words.
    pub argv: &'m [Vec<u8>],
    /// What was found in them.
    pub received: &'m ReceivedPump,
    /// The compiler's kin.
    pub family: Option<Family>,
    /// What of this machine a client may take to be here as it is there.
    pub shown: &'m Shown,
    /// What a client of ours tells; what is not exact is then no help.
    pub about: Option<&'m About>,
}

/// The words but for the compiler's name, or why they would not do what they do at the client.
pub fn words(mirror: Mirror) -> Result<Vec<Vec<u8>>, String> {
    if let Some(about) = mirror.about {
        mirror.check_about(about)?;
    }
    let mut moving = Moving {
        mirror,
        words: Vec::new(),
        maps: Vec::new(),
        moved: false,
    };
    for option in [DEBUG_MAP, MACRO_MAP] {
        moving.maps.push(mirror.map(option, b"="));
    }
    let mut index = 1;
    while index < mirror.argv.len() {
        index += moving.step(index)?;
    }
    if mirror.about.is_some() {
        moving.check_exact()?;
    }
    moving.words.extend(moving.maps);
    Ok(moving.words)
}

/// A text without the folder's name.
pub fn without(text: &[u8], folder: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memmem::find(rest, folder) {
        out.extend_from_slice(rest.get(..at).unwrap_or_default());
        rest = rest.get(at + folder.len()..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out
}

impl Mirror<'_> {
    fn check_about(&self, about: &About) -> Result<(), String> {
        let why = match () {
            () if about.needs_paths => "the source names files by absolute paths",
            () if about.hermetic => "the client's system headers can't be shown",
            () if self.received.debug_info && !self.knows(about) => {
                "the working directory has another name"
            }
            () => return Ok(()),
        };
        Err(format!("{why}, and namespaces are forbidden on this host"))
    }

    /// Whether the client's name for its working directory is one here.
    fn knows(&self, about: &About) -> bool {
        about.pwd.as_ref().is_none_or(|pwd| {
            let place = self.tree.follow(&ClientPath::default(), pwd);
            place.is_ok_and(|place| place == *self.cwd)
        })
    }

    /// An option that does to what lies in the mirror what `map`, an `OLD=NEW`, does to what lies at the client.
    fn map(&self, option: &[u8], map: &[u8]) -> Vec<u8> {
        [option, self.folder, map].concat()
    }

    /// Where a path of the client's is here.
    fn moved(&self, path: &[u8]) -> Result<Vec<u8>, String> {
        let place = self.tree.follow(self.cwd, path);
        let place = place.map_err(|refused| refused.to_string())?;
        let is_here = place == ClientPath::default() || self.tree.get(&place).is_some();
        Ok(match path.first() {
            Some(b'/') if is_here || !self.shown.shows(&place) => [self.folder, path].concat(),
            _ => path.to_vec(),
        })
    }
}

struct Moving<'m> {
    mirror: Mirror<'m>,
    words: Vec<Vec<u8>>,
    maps: Vec<Vec<u8>>,
    /// An absolute path was moved.
    moved: bool,
}

impl Moving<'_> {
    /// Takes the word at `index`; returns how many words it took.
    fn step(&mut self, index: usize) -> Result<usize, String> {
        let argv = self.mirror.argv;
        let word = argv.get(index).map(Vec::as_slice).unwrap_or_default();
        if index == self.mirror.received.input {
            let input = self.move_path(word)?;
            self.words.push(input);
            return Ok(1);
        }
        let found = option_table::find(word).ok_or_else(|| format!("{} is unknown", text(word)))?;
        let value = match found.takes_next {
            true => argv.get(index + 1).map(Vec::as_slice).unwrap_or_default(),
            false => found.joined,
        };
        let name = found.row.name;
        if name.ends_with("-prefix-map=") {
            self.map(name.as_bytes(), value)?;
            return Ok(1);
        }
        let value = match found.row.effect {
            Effect::Output if value == b"/dev/null" => {
                [self.mirror.folder, super::job_root::output().as_bytes()].concat()
            }
            Effect::Output => self.move_path(value)?,
            _ if MOVED.contains(&name) => self.move_path(value)?,
            _ => {
                self.check_value(name, word, value)?;
                value.to_vec()
            }
        };
        match found.takes_next {
            true => self.words.extend([word.to_vec(), value]),
            false => {
                let option = word.get(..word.len() - found.joined.len());
                self.words
                    .push([option.unwrap_or_default(), &value].concat());
            }
        }
        Ok(1 + usize::from(found.takes_next))
    }

    fn move_path(&mut self, path: &[u8]) -> Result<Vec<u8>, String> {
        if matches!(path.first(), Some(b'=' | b'$')) {
            return Err(format!("{} is relative to a sysroot", text(path)));
        }
        let moved = self.mirror.moved(path)?;
        self.moved |= moved != path;
        Ok(moved)
    }

    /// A map of the user's, done to the mirror, too. With gcc the last map that fits wins, but those for both kinds of paths
    /// win over those for one; so they become two.
    fn map(&mut self, option: &[u8], map: &[u8]) -> Result<(), String> {
        let is_absolute = matches!(map.first(), Some(b'/' | b'='));
        if is_absolute && self.mirror.family != Some(Family::Gcc) {
            return Err(format!("{} can't be combined with a mirror", text(option)));
        }
        let kinds: &[&[u8]] = match option {
            FILE_MAP => &[DEBUG_MAP, MACRO_MAP],
            _ => &[option],
        };
        for kind in kinds {
            self.words.push([kind, map].concat());
            if is_absolute {
                self.maps.push(self.mirror.map(kind, map));
            }
        }
        Ok(())
    }

    /// Other options must not name a path that is another one here.
    fn check_value(&self, name: &str, word: &[u8], value: &[u8]) -> Result<(), String> {
        let parts = || value.split(|byte| *byte == b',');
        let names_path = |part: &[u8]| {
            let folder = part.strip_prefix(b"-I").unwrap_or(part);
            let defines = part.starts_with(b"-D") || part.starts_with(b"-U");
            !defines && folder.contains(&b'/') && self.mirror.moved(folder) != Ok(folder.to_vec())
        };
        match !TEXTS.contains(&name) && parts().any(names_path) {
            true => Err(format!("{} names a path of the client's", text(word))),
            false => Ok(()),
        }
    }

    /// What is known to show where the mirror is, or to be laid out otherwise for it.
    fn check_exact(&self) -> Result<(), String> {
        let options = || self.mirror.argv.iter().skip(1);
        let has = |head| options().any(|word| word.starts_with(head));
        if has(FILE_MAP) && has(MACRO_MAP) {
            return Err("maps of both kinds can't be combined with a mirror".to_owned());
        }
        if let Some(why) = &self.mirror.received.only_ours {
            return Err(why.to_string());
        }
        let odd = options().find(|word| {
            let starts = |heads: &[&[u8]]| heads.iter().any(|head| word.starts_with(head));
            self.moved
                && starts(&[
                    b"-fsanitize",
                    b"-gdwarf-2",
                    b"-gdwarf-3",
                    b"-gdwarf-4",
                    b"-gstabs",
                ])
        });
        match odd {
            Some(word) => Err(format!("{} shows where a mirror is", text(word))),
            None => Ok(()),
        }
    }
}
