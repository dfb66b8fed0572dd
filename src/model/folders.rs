//! clang's names for folders. It knows a folder by the first name under which it met it, and spells what lies beside a
//! header with that name, even if the header itself was named otherwise.

use std::collections::HashSet;

use super::files::{DirId, Files};
use super::macros::NumberMap;
use super::unit::World;

/// The folders that clang has met.
#[derive(Clone, Debug, Default)]
pub struct Folders {
    /// In the order in which they were met; whether they exist is asked when it matters.
    names: Vec<Box<[u8]>>,
    known: HashSet<Box<[u8]>>,
    /// How many of the names have been asked for.
    asked: usize,
    /// For the world's number of a folder, its first name.
    first: NumberMap<u64, usize>,
    /// The compiler is one that does so.
    aliases: bool,
}

impl Folders {
    /// `seen`: the search path as it was given, in the order in which clang reads it.
    pub fn new(seen: &[Vec<u8>], aliases: bool) -> Folders {
        let mut folders = Folders {
            aliases,
            ..Folders::default()
        };
        for name in seen {
            folders.register(without_slash(name));
        }
        folders
    }

    /// The folder of a file, as LLVM cuts it off.
    pub fn parent(path: &[u8]) -> &[u8] {
        let Some(slash) = path.iter().rposition(|byte| *byte == b'/') else {
            return b".";
        };
        let end = path[..slash].iter().rposition(|byte| *byte != b'/');
        match end {
            Some(end) => &path[..=end],
            None => b"/",
        }
    }

    /// A folder was met.
    pub fn register(&mut self, name: &[u8]) {
        if self.aliases && !self.known.contains(name) {
            self.known.insert(name.into());
            self.names.push(name.into());
        }
    }

    /// Is there a folder of this name?
    pub fn look<W: World + ?Sized>(&mut self, world: &mut W, name: &[u8]) -> Option<u64> {
        let name = without_slash(name);
        self.register(name);
        world.folder(name)
    }

    /// The name of a folder as clang would spell it, with a slash.
    pub fn current<W: World + ?Sized>(
        &mut self,
        world: &mut W,
        files: &mut Files,
        name: &[u8],
    ) -> DirId {
        let name = without_slash(name);
        if !self.aliases {
            return files.dir_id(&[name, b"/"].concat());
        }
        self.register(name);
        for at in self.asked..self.names.len() {
            if let Some(number) = world.folder(&self.names[at]) {
                self.first.entry(number).or_insert(at);
            }
        }
        self.asked = self.names.len();
        let number = world.folder(name);
        let first = number.and_then(|number| self.first.get(&number));
        let name = first.map_or(name, |first| &self.names[*first]);
        files.dir_id(&[name, b"/"].concat())
    }
}

/// clang takes one slash off.
fn without_slash(name: &[u8]) -> &[u8] {
    match name.split_last() {
        Some((b'/', rest)) if !rest.is_empty() => rest,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_are_cut_off_as_llvm_does() {
        for (path, parent) in [
            ("x.h", "."),
            ("d/x.h", "d"),
            ("d//x.h", "d"),
            ("/x.h", "/"),
            ("//x.h", "/"),
            ("./d/../x.h", "./d/.."),
        ] {
            assert_eq!(
                Folders::parent(path.as_bytes()),
                parent.as_bytes(),
                "{path}"
            );
        }
    }
}
