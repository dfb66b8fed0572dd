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
    /// The compiler proper that the driver runs, and files by which either is told what to do, there or not.
    pub parts: Vec<Vec<u8>>,
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
        } else {
            found.parts.extend(parts(line));
        }
    }
    let specs: Vec<Vec<u8>> = found.dirs.iter().flat_map(|dir| specs(&dir.path)).collect();
    found.parts.extend(specs);
    ended.then_some(found)
}

/// Where gcc looks for specs beside its own headers; its compiler proper may be elsewhere, in a folder for programs.
fn specs(dir: &[u8]) -> Vec<Vec<u8>> {
    let own = dir.strip_suffix(b"/include");
    let own = own.filter(|own| memchr::memmem::find(own, b"/gcc/").is_some());
    let names = [&b"/specs"[..], b"/../specs"];
    own.map_or_else(Vec::new, |own| {
        names.map(|name| [own, name].concat()).into()
    })
}

/// What a line tells of parts of the compiler: of gcc's compiler proper, beside which it looks for its specs, of specs, of
/// clang's configuration.
fn parts(line: &[u8]) -> Vec<Vec<u8>> {
    for head in [&b"Reading specs from "[..], b"Configuration file: "] {
        if let Some(path) = line.strip_prefix(head) {
            return vec![path.to_vec()];
        }
    }
    let Some(command) = line.strip_prefix(b" ") else {
        return Vec::new();
    };
    let end = command.iter().position(|byte| *byte == b' ');
    let program = command[..end.unwrap_or(command.len())].trim_ascii();
    let program = program.strip_prefix(b"\"").unwrap_or(program);
    let program = program.strip_suffix(b"\"").unwrap_or(program);
    let slash = program.iter().rposition(|byte| *byte == b'/');
    match slash.map(|at| program.split_at(at + 1)) {
        Some((folder, name)) if name.starts_with(b"cc1") => {
            vec![program.to_vec(), [folder, b"specs"].concat()]
        }
        _ => Vec::new(),
    }
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
        let messages = b"Reading specs from /opt/specs\n \
            /opt/gcc/12/cc1plus -E -quiet /dev/null\n\
            Found candidate GCC installation: /usr/bin/../lib/gcc/x/12\n\
            ignoring nonexistent directory \"/usr/local/include/x y\"\n\
            ignoring duplicate directory \"/usr/include\"\n\
            #include \"...\" search starts here:\n\
            #include <...> search starts here:\n \
            /opt/my compiler/include\n \
            /opt/lib/gcc/x/12/include\n \
            /System/Library/Frameworks (framework directory)\n\
            End of search list.\n";
        let Some(found) = read(messages) else {
            panic!("not understood");
        };
        let paths: Vec<_> = found.dirs.iter().map(|dir| &dir.path[..]).collect();
        let expected: [&[u8]; 3] = [
            b"/opt/my compiler/include",
            b"/opt/lib/gcc/x/12/include",
            b"/System/Library/Frameworks",
        ];
        assert_eq!(paths, expected);
        assert!(found.dirs[2].framework && !found.dirs[0].framework);
        assert_eq!(found.missing, [b"/usr/local/include/x y"]);
        assert_eq!(found.candidates, [b"/usr/bin/../lib/gcc/x/12"]);
        let parts: [&[u8]; 5] = [
            b"/opt/specs",
            b"/opt/gcc/12/cc1plus",
            b"/opt/gcc/12/specs",
            b"/opt/lib/gcc/x/12/specs",
            b"/opt/lib/gcc/x/12/../specs",
        ];
        assert_eq!(found.parts, parts);
        assert_eq!(read(b"gcc: fatal error: no input files\n"), None);
        let cut = b"#include <...> search starts here:\n /usr/include\n";
        assert_eq!(read(cut), None);
    }
}
