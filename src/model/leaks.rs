//! What a stock daemon leaves in a pump job's answer: the folder where it had put the client's files, `/tmp/distccd_XXXXXX`.
//! Only found, never repaired: a path of another length moves all that stands behind it. Some of stock's daemons overwrite
//! it with as many slashes in debug information, which are found, too.

use super::wire::Reply;
use memchr::memmem;

/// What `mkdtemp` adds to the name.
const RANDOM_BYTES: usize = 6;

/// The last part of the folder's name, with the slash before it and without what `mkdtemp` adds.
const MARK: &[u8] = b"/distccd_";

/// As many slashes as `/distccd_XXXXXX` is long.
const SLASHES: &[u8] = b"///////////////";

/// Whether anything of an answer tells of such a folder.
pub fn betray(reply: &Reply) -> bool {
    let texts = [&reply.stderr, &reply.stdout];
    let all = texts.into_iter().chain(&reply.object).chain(&reply.deps);
    let object = reply.object.as_deref().unwrap_or_default();
    all.into_iter().any(|bytes| shows_root(bytes)) || memmem::find(object, SLASHES).is_some()
}

/// Whether an assembler speaks of the file in which it was given its text: the compiler's temporary one, which lies elsewhere
/// on each machine.
pub fn names_temporary(said: &[u8]) -> bool {
    const SPEAKS: &[u8] = b": Assembler messages:";
    memmem::find_iter(said, SPEAKS).any(|at| {
        let file = said.get(..at).unwrap_or_default();
        !file.ends_with(b"{standard input}")
    })
}

fn shows_root(bytes: &[u8]) -> bool {
    memmem::find_iter(bytes, MARK).any(|at| {
        let random = at + MARK.len();
        let random = bytes.get(random..random + RANDOM_BYTES);
        random.is_some_and(|random| random.iter().all(u8::is_ascii_alphanumeric))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_file_is_named_by_assemblers() {
        let said =
            |file: &str| format!("w.c: x\n{file}: Assembler messages:\n{file}:3: Warning: y");
        assert!(names_temporary(said("/tmp/cc12.s").as_bytes()));
        assert!(!names_temporary(said("{standard input}").as_bytes()));
        assert!(!names_temporary(b"w.c:3: Warning: y"));
    }

    #[test]
    fn a_folder_is_known_by_its_name() {
        for (bytes, shows) in [
            (&b"\x7fELF\0/tmp/distccd_Ab1Cd2/home/x\0"[..], true),
            (b"/var/t m/distccd_Ab1Cd2", true),
            (b"/distccd_serve_one distccd_abcdef", false),
            (b"/tmp/distccd_Ab1C", false),
            (b"", false),
        ] {
            assert_eq!(shows_root(bytes), shows, "{}", bytes.escape_ascii());
        }
    }
}
