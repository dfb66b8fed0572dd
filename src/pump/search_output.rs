//! What a compiler says with `-v` of where it looks for headers: the folders that it searches, those that it does not
//! search as they are not there, and what else its choice depends on.

use crate::model::search::SearchDir;

/// What `-v` told.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Searched {
    /// The default folders, in order.
    pub dirs: Vec<SearchDir>,
    /// Folders that would be searched if they were there.
    pub missing: Vec<Vec<u8>>,
    /// Installations of gcc among which clang has chosen.
    pub candidates: Vec<Vec<u8>>,
}

/// Reads messages of `cc -v -E`. None if the list is not in them.
pub fn read(messages: &[u8]) -> Option<Searched> {
    let mut found = Searched::default();
    let (mut listed, mut ended) = (false, false);
    for line in messages.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.starts_with(b"#include ") && line.ends_with(b"search starts here:") {
            listed = true;
        } else if line.starts_with(b"End of search list") {
            ended = listed;
            listed = false;
        } else if let (true, Some(path)) = (listed, line.strip_prefix(b" ")) {
            found.dirs.push(dir(path));
        } else if let Some(path) = quoted_after(line, b"ignoring nonexistent directory ") {
            found.missing.push(path.to_vec());
        } else if let Some(path) = line.strip_prefix(b"Found candidate GCC installation: ") {
            found.candidates.push(path.to_vec());
        }
    }
    ended.then_some(found)
}

fn dir(path: &[u8]) -> SearchDir {
    let framework = path.strip_suffix(b" (framework directory)");
    SearchDir {
        path: framework.unwrap_or(path).to_vec(),
        system: true,
        framework: framework.is_some(),
    }
}

fn quoted_after<'l>(line: &'l [u8], head: &[u8]) -> Option<&'l [u8]> {
    line.strip_prefix(head)?
        .strip_prefix(b"\"")?
        .strip_suffix(b"\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_by_lines() {
        let messages = b"Found candidate GCC installation: /usr/bin/../lib/gcc/x/12\n\
            ignoring nonexistent directory \"/usr/local/include/x y\"\n\
            ignoring duplicate directory \"/usr/include\"\n\
            #include \"...\" search starts here:\n\
            #include <...> search starts here:\n \
            /opt/my compiler/include\n \
            /System/Library/Frameworks (framework directory)\n\
            End of search list.\n";
        let Some(found) = read(messages) else {
            panic!("not understood");
        };
        let paths: Vec<_> = found.dirs.iter().map(|dir| &dir.path[..]).collect();
        let expected: [&[u8]; 2] = [b"/opt/my compiler/include", b"/System/Library/Frameworks"];
        assert_eq!(paths, expected);
        assert!(found.dirs[1].framework && !found.dirs[0].framework);
        assert_eq!(found.missing, [b"/usr/local/include/x y"]);
        assert_eq!(found.candidates, [b"/usr/bin/../lib/gcc/x/12"]);
        assert_eq!(read(b"gcc: fatal error: no input files\n"), None);
        let cut = b"#include <...> search starts here:\n /usr/include\n";
        assert_eq!(read(cut), None);
    }
}
