//! A path of the client's machine, as a type of its own: absolute, and so plain that its parts can be taken one after
//! another below a folder of ours. What it means here only the folder of a job knows.

use std::fmt;

/// Longest part that file systems take.
const PART_BYTES_MAX: usize = 255;

/// Longest path that systems take, with room for the folder that it is put below.
const PATH_BYTES_MAX: usize = 4096 - 128;

/// Deepest path: more than any source tree has, and little enough that nobody keeps us busy with folders.
const PARTS_MAX: usize = 128;

/// `/a/b`, without `.`, `..`, empty parts, and a slash at the end; `/` itself has no parts.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ClientPath(Vec<u8>);

impl ClientPath {
    /// Reads a path that must be plain already, but for repeated slashes.
    ///
    /// # Errors
    /// What is wrong with it, to follow its name.
    pub fn plain(path: &[u8]) -> Result<ClientPath, &'static str> {
        let rest = path.strip_prefix(b"/").ok_or("is not absolute")?;
        let mut read = ClientPath::default();
        for part in parts_of(rest) {
            if matches!(part, b"." | b"..") {
                return Err("has . or .. in it");
            }
            read.push(part)?;
        }
        Ok(read)
    }

    /// Reads a path and takes `.` and `..` by their letters; `None` if it is not absolute, or climbs out.
    pub fn cleaned(path: &[u8]) -> Option<ClientPath> {
        let mut read = ClientPath::default();
        for part in parts_of(path.strip_prefix(b"/")?) {
            match part {
                b"." => {}
                b".." => read = read.parent()?,
                part => read.push(part).ok()?,
            }
        }
        Some(read)
    }

    /// Goes one level down.
    pub fn push(&mut self, part: &[u8]) -> Result<(), &'static str> {
        if part.contains(&0) {
            return Err("has a NUL byte in it");
        }
        if part.len() > PART_BYTES_MAX || self.0.len() + 1 + part.len() > PATH_BYTES_MAX {
            return Err("is too long");
        }
        if self.depth() >= PARTS_MAX {
            return Err("is too deep");
        }
        self.0.push(b'/');
        self.0.extend_from_slice(part);
        Ok(())
    }

    /// The parts from the top down.
    pub fn parts(&self) -> impl Iterator<Item = &[u8]> + Clone {
        self.0.split(|byte| *byte == b'/').skip(1)
    }

    /// How many parts there are.
    pub fn depth(&self) -> usize {
        memchr::memchr_iter(b'/', &self.0).count()
    }

    /// One level up; `None` above the top.
    pub fn parent(&self) -> Option<ClientPath> {
        let slash = memchr::memrchr(b'/', &self.0)?;
        Some(ClientPath(self.0.get(..slash)?.to_vec()))
    }

    /// The last part; empty for the top.
    pub fn name(&self) -> &[u8] {
        let slash = memchr::memrchr(b'/', &self.0).map_or(0, |slash| slash + 1);
        self.0.get(slash..).unwrap_or_default()
    }

    /// Whether it is `folder` or lies below it.
    pub fn is_within(&self, folder: &ClientPath) -> bool {
        let rest = self.0.strip_prefix(folder.0.as_slice());
        rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
    }

    /// As bytes; empty for the top, so that it can follow the path of another folder.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As a path for programs: the top is `/`.
    pub fn shown(&self) -> &[u8] {
        match self.0.is_empty() {
            true => b"/",
            false => &self.0,
        }
    }
}

fn parts_of(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty())
}

impl fmt::Display for ClientPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.shown()))
    }
}

impl fmt::Debug for ClientPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_plain_paths_are_taken() {
        for (path, plain) in [
            ("/", "/"),
            ("/a", "/a"),
            ("//a///b c/", "/a/b c"),
            ("/...", "/..."),
            ("/a\n", "/a\n"),
        ] {
            assert_eq!(
                ClientPath::plain(path.as_bytes()).unwrap().to_string(),
                plain
            );
        }
        for (path, why) in [
            ("", "absolute"),
            ("a/b", "absolute"),
            ("/../x", ".."),
            ("/a/./b", "."),
            ("/a/..", ".."),
            ("/a\0b", "NUL"),
            (&format!("/{}", "x".repeat(256)), "long"),
            (&format!("/{}", "xyz/".repeat(1500)), "deep"),
            (&format!("/{}", "x".repeat(250) + "/").repeat(17), "long"),
        ] {
            let fault = ClientPath::plain(path.as_bytes()).unwrap_err();
            assert!(fault.contains(why), "{path:?}: {fault}");
        }
    }

    #[test]
    fn parts_and_relations() {
        let path = ClientPath::plain(b"/usr/include/sys").unwrap();
        assert_eq!(
            path.parts().collect::<Vec<_>>(),
            [&b"usr"[..], b"include", b"sys"]
        );
        assert_eq!((path.depth(), path.name()), (3, &b"sys"[..]));
        let parent = path.parent().unwrap();
        assert_eq!(parent.to_string(), "/usr/include");
        assert!(path.is_within(&parent) && path.is_within(&path) && !parent.is_within(&path));
        let other = ClientPath::plain(b"/usr/include-x").unwrap();
        assert!(!other.is_within(&parent));
        let top = ClientPath::default();
        assert!(other.is_within(&top) && top.parent().is_none() && top.parts().next().is_none());
        assert_eq!(
            (top.shown(), top.as_bytes(), top.name()),
            (&b"/"[..], &b""[..], &b""[..])
        );
        for (path, cleaned) in [
            ("/a/../b/./c//", Some("/b/c")),
            ("/a/..", Some("/")),
            ("/a/../..", None),
            ("a", None),
        ] {
            let read = ClientPath::cleaned(path.as_bytes()).map(|path| path.to_string());
            assert_eq!(read.as_deref(), cleaned, "{path}");
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_stays_below(path in "[a./\\x00]{0,12}") {
            if let Ok(read) = ClientPath::plain(path.as_bytes()) {
                prop_assert!(read.parts().all(|part| !matches!(part, b"" | b"." | b"..")));
                prop_assert_eq!(ClientPath::plain(read.shown()).unwrap(), read);
            }
        }
    }
}
