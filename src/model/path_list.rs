//! What stock's client and stock's include server say to each other: the command, and the paths of files and links below
//! the server's own folder, in which everything has been put ready to be sent. What lies there is not looked at here.

use super::packets::{check, put_head, Grammar, Limits, Packets, Tag, WireError};
use super::wire::{put_text, put_words};

/// The last part of a path that only says that its folder must exist where the job runs.
pub const PLACEHOLDER: &[u8] = b"forcing_technique_271828";

/// How many parts the server's own folder has.
const OWN_PARTS: usize = 3;

/// The question, as bytes.
pub fn encode_query(cwd: &[u8], argv: &[&[u8]]) -> Result<Vec<u8>, WireError> {
    let mut out = Vec::with_capacity(1024);
    put_text(&mut out, b"CDIR", cwd, "the working directory")?;
    put_words(&mut out, argv)?;
    Ok(out)
}

/// The answer, as bytes: no paths mean that the server does not know.
pub fn encode_paths(paths: &[Vec<u8>]) -> Result<Vec<u8>, WireError> {
    let mut out = Vec::with_capacity(32 + paths.iter().map(|path| 12 + path.len()).sum::<usize>());
    put_head(&mut out, b"ARGC", paths.len())?;
    for path in paths {
        put_text(&mut out, b"ARGV", path, "a path")?;
    }
    Ok(out)
}

/// The client's name of what was put ready at `path`; `None` if that is no such path.
pub fn name_of(path: &[u8]) -> Option<&[u8]> {
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    let (at, _) = slashes
        .take(OWN_PARTS + 1)
        .last()
        .filter(|(at, _)| *at > 0)?;
    let name = path.get(at..)?;
    let parts = path.get(..at)?.split(|byte| *byte == b'/');
    (path.starts_with(b"/") && parts.count() == OWN_PARTS + 1 && name.len() > 1).then_some(name)
}

/// The name without what is added to those of files: `.lzo`, or `.lzo.abs` if a `#line` has been put before the text.
pub fn name_of_file(name: &[u8]) -> Option<&[u8]> {
    name.strip_suffix(b".abs")
        .unwrap_or(name)
        .strip_suffix(b".lzo")
}

/// The folder that a placeholder stands for.
pub fn folder_of(name: &[u8]) -> Option<&[u8]> {
    name.strip_suffix(PLACEHOLDER)?.strip_suffix(b"/")
}

/// Whether a link leads from a system folder to the same one of the machine that the job runs on: first more steps up than
/// it has parts, then its own name.
pub fn is_system_link(name: &[u8], target: &[u8]) -> bool {
    let mut rest = target;
    let mut up = 0;
    while let Some(more) = rest.strip_prefix(b"../") {
        rest = more;
        up += 1;
    }
    let slashes = name.iter().filter(|byte| **byte == b'/').count();
    up > slashes && name.strip_prefix(b"/") == Some(rest)
}

/// The order of an answer's packets.
#[derive(Debug)]
pub struct PathListGrammar {
    limits: Limits,
    left: Option<u32>,
    bytes: usize,
    paths: Vec<Vec<u8>>,
}

/// Bytes → paths.
pub type PathListDecoder = Packets<PathListGrammar>;

impl PathListDecoder {
    /// A decoder that has read nothing yet.
    pub fn for_path_lists(limits: Limits) -> Self {
        Packets::new(PathListGrammar {
            limits,
            left: None,
            bytes: 0,
            paths: Vec::new(),
        })
    }

    /// The paths, or why the bytes were none; for when no more will come. No path means that the server does not know.
    pub fn paths(self) -> Result<Vec<Vec<u8>>, WireError> {
        Ok(self.finish()?.paths)
    }
}

impl Grammar for PathListGrammar {
    fn due(&self) -> Option<&'static str> {
        match self.left {
            None => Some("the number of paths (ARGC)"),
            Some(0) => None,
            Some(_) => Some("a path (ARGV)"),
        }
    }

    fn head(&mut self, tag: Tag, number: u32) -> Result<Option<usize>, Option<WireError>> {
        let length = number as usize;
        match (self.left, &tag.0) {
            (None, b"ARGC") => {
                check("paths", length, self.limits.entry_count_max as usize)?;
                self.left = Some(number);
                Ok(None)
            }
            (Some(_), b"ARGV") => {
                check("bytes in a path", length, self.limits.path_bytes_max)?;
                self.bytes = self.bytes.saturating_add(length);
                check("bytes in paths", self.bytes, self.limits.body_bytes_max)?;
                Ok(Some(length))
            }
            _ => Err(None),
        }
    }

    fn body(&mut self, body: Vec<u8>) -> Result<(), WireError> {
        if body.contains(&0) {
            return Err(WireError::Nul("a path"));
        }
        self.paths.push(body);
        self.left = self.left.map(|left| left.saturating_sub(1));
        Ok(())
    }

    fn memory(&self) -> usize {
        let bytes = self.paths.iter().map(Vec::capacity).sum::<usize>();
        bytes + self.paths.capacity() * size_of::<Vec<u8>>()
    }
}

/// What a client asks.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PathQuery {
    /// The working directory.
    pub cwd: Vec<u8>,
    /// The command.
    pub argv: Vec<Vec<u8>>,
}

/// The order of a question's packets.
#[derive(Debug)]
pub struct PathQueryGrammar {
    limits: Limits,
    /// So many words are due; None: their number is, or the working directory before it.
    left: Option<u32>,
    has_cwd: bool,
    bytes: usize,
    query: PathQuery,
}

/// Bytes → question.
pub type PathQueryDecoder = Packets<PathQueryGrammar>;

impl PathQueryDecoder {
    /// A decoder that has read nothing yet.
    pub fn for_path_queries(limits: Limits) -> Self {
        Packets::new(PathQueryGrammar {
            limits,
            left: None,
            has_cwd: false,
            bytes: 0,
            query: PathQuery::default(),
        })
    }

    /// The question, or why the bytes were none; for when no more will come.
    pub fn query(self) -> Result<PathQuery, WireError> {
        Ok(self.finish()?.query)
    }
}

impl Grammar for PathQueryGrammar {
    fn due(&self) -> Option<&'static str> {
        match (self.has_cwd, self.left) {
            (false, _) => Some("the working directory (CDIR)"),
            (true, None) => Some("the number of arguments (ARGC)"),
            (true, Some(0)) => None,
            (true, Some(_)) => Some("an argument (ARGV)"),
        }
    }

    fn head(&mut self, tag: Tag, number: u32) -> Result<Option<usize>, Option<WireError>> {
        let length = number as usize;
        match (self.has_cwd, self.left, &tag.0) {
            (true, None, b"ARGC") if number == 0 => return Err(Some(WireError::NoArguments)),
            (true, None, b"ARGC") => {
                let max = self.limits.argument_count_max as usize;
                check("arguments", length, max)?;
                self.left = Some(number);
                return Ok(None);
            }
            (false, _, b"CDIR") => {
                check("bytes in a path", length, self.limits.path_bytes_max)?;
            }
            (true, Some(_), b"ARGV") => {
                self.bytes = self.bytes.saturating_add(length);
                let max = self.limits.argument_bytes_max;
                check("bytes in arguments", self.bytes, max)?;
            }
            _ => return Err(None),
        }
        Ok(Some(length))
    }

    fn body(&mut self, body: Vec<u8>) -> Result<(), WireError> {
        if body.contains(&0) {
            return Err(WireError::Nul("a question"));
        }
        match self.left {
            None => {
                self.query.cwd = body;
                self.has_cwd = true;
            }
            Some(left) => {
                self.query.argv.push(body);
                self.left = Some(left.saturating_sub(1));
            }
        }
        Ok(())
    }

    fn memory(&self) -> usize {
        let words = self.query.argv.iter().map(Vec::capacity).sum::<usize>();
        let list = self.query.argv.capacity() * size_of::<Vec<u8>>();
        self.query.cwd.capacity() + words + list
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::packets::feed;
    use super::*;
    use proptest::prelude::*;

    fn read(mut bytes: &[u8]) -> Result<Vec<Vec<u8>>, WireError> {
        let mut decoder = PathListDecoder::for_path_lists(Limits::default());
        while !bytes.is_empty() && !decoder.is_done() {
            let space = decoder.space();
            let count = space.len().min(bytes.len()).min(5);
            space[..count].copy_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
            decoder.filled(count)?;
        }
        decoder.paths()
    }

    #[test]
    fn names_are_found_behind_three_parts() {
        for (path, name) in [
            ("/dev/shm/tmp1.x-1/w/x.c.lzo", Some("/w/x.c.lzo")),
            ("/a/b/c/d", Some("/d")),
            ("/a/b/c/", None),
            ("/a/b/c", None),
            ("a/b/c/d", None),
            ("", None),
        ] {
            let found = name_of(path.as_bytes());
            assert_eq!(found, name.map(str::as_bytes), "{path}");
        }
        assert_eq!(name_of_file(b"/w/x.c.lzo"), Some(&b"/w/x.c"[..]));
        assert_eq!(name_of_file(b"/w/x.lzo.lzo.abs"), Some(&b"/w/x.lzo"[..]));
        assert_eq!(name_of_file(b"/w/x.c"), None);
        let placeholder = b"/w/forcing_technique_271828";
        assert_eq!(folder_of(placeholder), Some(&b"/w"[..]));
        assert_eq!(folder_of(b"/w/x.c"), None);
    }

    #[test]
    fn system_links_lead_to_themselves() {
        let name = b"/usr/include";
        assert!(is_system_link(name, b"../../../../usr/include"));
        assert!(!is_system_link(name, b"../../usr/include"));
        assert!(!is_system_link(name, b"../../../../usr/includes"));
        assert!(!is_system_link(name, b"/usr/include"));
    }

    #[test]
    fn lists_are_read_whole_or_refused() {
        let list = b"ARGC00000002ARGV00000003/a/ARGV00000001b";
        assert_eq!(read(list).unwrap(), [b"/a/".to_vec(), b"b".to_vec()]);
        assert_eq!(encode_paths(&read(list).unwrap()).unwrap(), list);
        assert!(read(b"ARGC00000000").unwrap().is_empty());
        for cut in 0..list.len() {
            assert!(read(&list[..cut]).is_err(), "{cut}");
        }
        for odd in [
            "ARGCffffffff",
            "ARGV00000001a",
            "ARGC00000001ARGV7fffffff",
            "ARGC00000001ARGV00000001\0",
            "DRCT00000001",
        ] {
            assert!(read(odd.as_bytes()).is_err(), "{odd}");
        }
        let query = encode_query(b"/w", &[b"gcc", b"-c"]).unwrap();
        assert_eq!(
            query,
            b"CDIR00000002/wARGC00000002ARGV00000003gccARGV00000002-c"
        );
    }

    fn read_query(bytes: &[u8]) -> Result<PathQuery, WireError> {
        let mut decoder = PathQueryDecoder::for_path_queries(Limits::default());
        feed(&mut decoder, bytes, &[5])?;
        decoder.query()
    }

    #[test]
    fn questions_are_read_whole_or_refused() {
        let argv: [&[u8]; 3] = [b"gcc", b"", b"\xff.c"];
        let bytes = encode_query(b"/w", &argv).unwrap();
        let query = read_query(&bytes).unwrap();
        assert_eq!(
            (query.cwd.as_slice(), query.argv),
            (&b"/w"[..], argv.map(<[u8]>::to_vec).to_vec())
        );
        for cut in 0..bytes.len() {
            assert!(read_query(&bytes[..cut]).is_err(), "{cut}");
        }
        for odd in [
            "CDIR00000001/ARGC00000000",
            "CDIRffffffff",
            "CDIR00000001/ARGCffffffff",
            "CDIR00000001/ARGC00000001ARGVffffffff",
            "CDIR00000001\0",
            "ARGC00000001",
            "GET / HTTP/1.1",
        ] {
            assert!(read_query(odd.as_bytes()).is_err(), "{odd}");
        }
    }

    proptest! {
        #[test]
        fn noise_is_never_a_panic(noise in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&noise);
            let _ = read_query(&noise);
            let _ = name_of(&noise);
            let _ = name_of_file(&noise);
            let _ = is_system_link(&noise, &noise);
        }
    }
}
