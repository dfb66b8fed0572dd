//! What one compiler is to see in place of this machine's file tree, and as what it runs: decided by the daemon, and
//! told to the small process that will start the compiler, as one run of fields that end in NUL bytes.

use crate::os::limits::Limits;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// The order of things: what is mounted later lies over what was mounted before.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct View {
    /// What is shown in it; of a job in a cell, beside what the job's folder holds.
    pub mounts: Vec<Mount>,
    /// Where the job's folder is mounted in its cell.
    pub folder: PathBuf,
    /// The job's folder is the compiler's root; else that of the cell is.
    pub is_root: bool,
    /// The working directory in it.
    pub cwd: PathBuf,
    /// The compiler in it; empty if the view is only tried out.
    pub program: PathBuf,
    /// The compiler's words, its name first.
    pub words: Vec<Vec<u8>>,
    /// The compiler's environment, as `NAME=value`.
    pub environment: Vec<Vec<u8>>,
    /// What it may use.
    pub limits: Limits,
    /// It gives up all that a compiler does not need.
    pub is_fenced: bool,
    /// Its processes must be counted, since the system does not.
    pub is_counted: bool,
}

/// Something in a view. Paths `to` and `at` are absolute in the view, and without links.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Mount {
    /// A folder or file of this machine, not to be changed.
    Tree {
        /// Where it is here.
        from: PathBuf,
        /// Where it is seen.
        to: PathBuf,
    },
    /// A device, under its own name.
    Device(PathBuf),
    /// A folder of this machine's, of the same name, together with what the job's folder holds there.
    Merge(PathBuf),
    /// Only what the job's folder holds there, in place of what this machine has.
    Own(PathBuf),
    /// A folder of this machine, under its own name, that jobs may change.
    Share(PathBuf),
}

impl View {
    /// Whether parts of the job's folder are shown over what is mounted in it.
    pub fn is_layered(&self) -> bool {
        let layered = |mount: &Mount| matches!(mount, Mount::Merge(_) | Mount::Own(_));
        self.mounts.iter().any(layered)
    }

    /// As it is told.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1024);
        let mut field = |kind: u8, text: &[u8]| {
            out.push(kind);
            out.extend_from_slice(text);
            out.push(0);
        };
        for mount in &self.mounts {
            match mount {
                Mount::Tree { from, to } => {
                    field(b'f', from.as_os_str().as_bytes());
                    field(b't', to.as_os_str().as_bytes());
                }
                Mount::Device(path) => field(b'd', path.as_os_str().as_bytes()),
                Mount::Merge(path) => field(b'm', path.as_os_str().as_bytes()),
                Mount::Own(path) => field(b'o', path.as_os_str().as_bytes()),
                Mount::Share(path) => field(b's', path.as_os_str().as_bytes()),
            }
        }
        let mut limits = self.limits;
        for limit in numbers(&mut limits) {
            field(b'l', limit.to_string().as_bytes());
        }
        let flags = [
            (b'F', self.is_fenced),
            (b'N', self.is_counted),
            (b'R', self.is_root),
        ];
        for (kind, is_so) in flags {
            if is_so {
                field(kind, b"");
            }
        }
        field(b'j', self.folder.as_os_str().as_bytes());
        field(b'c', self.cwd.as_os_str().as_bytes());
        field(b'p', self.program.as_os_str().as_bytes());
        for word in &self.words {
            field(b'w', word);
        }
        for variable in &self.environment {
            field(b'e', variable);
        }
        field(b'.', b"");
        out
    }

    /// What was told; `None` if it is not all of it, or no such thing.
    pub fn decode(bytes: &[u8]) -> Option<View> {
        let mut view = View::default();
        let mut fields = bytes.split(|byte| *byte == 0);
        let path = |text: &[u8]| PathBuf::from(OsStr::from_bytes(text));
        let mut limits = Vec::new();
        loop {
            let (kind, text) = fields.next()?.split_first()?;
            match kind {
                b'f' => {
                    let to = fields.next()?.strip_prefix(b"t")?;
                    view.mounts.push(Mount::Tree {
                        from: path(text),
                        to: path(to),
                    });
                }
                b'd' => view.mounts.push(Mount::Device(path(text))),
                b'm' => view.mounts.push(Mount::Merge(path(text))),
                b'o' => view.mounts.push(Mount::Own(path(text))),
                b's' => view.mounts.push(Mount::Share(path(text))),
                b'l' => limits.push(std::str::from_utf8(text).ok()?.parse().ok()?),
                b'F' => view.is_fenced = true,
                b'N' => view.is_counted = true,
                b'R' => view.is_root = true,
                b'j' => view.folder = path(text),
                b'e' => view.environment.push(text.to_vec()),
                b'c' => view.cwd = path(text),
                b'p' => view.program = path(text),
                b'w' => view.words.push(text.to_vec()),
                b'.' => break,
                _ => return None,
            }
        }
        for (number, limit) in numbers(&mut view.limits).into_iter().zip(limits) {
            *number = limit;
        }
        Some(view)
    }
}

/// All limits, in the order in which they are told.
fn numbers(limits: &mut Limits) -> [&mut u64; 5] {
    [
        &mut limits.memory,
        &mut limits.file,
        &mut limits.open_files,
        &mut limits.cpu_seconds,
        &mut limits.processes,
    ]
}

/// A path of the view, below a folder that stands for its root.
pub fn below(root: &OsStr, path: &OsStr) -> PathBuf {
    PathBuf::from(OsString::from_vec(
        [root.as_bytes(), path.as_bytes()].concat(),
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn view() -> View {
        View {
            mounts: vec![
                Mount::Tree {
                    from: "/usr".into(),
                    to: "/usr".into(),
                },
                Mount::Device("/dev/null".into()),
                Mount::Merge("/usr/src".into()),
                Mount::Own("/usr/include".into()),
                Mount::Share("/var/cache".into()),
            ],
            folder: "/tmp".into(),
            is_root: true,
            cwd: "/home/me".into(),
            program: "/usr/bin/gcc".into(),
            words: vec![b"gcc".to_vec(), b"".to_vec(), b"-D\xff\n".to_vec()],
            environment: vec![b"A=b".to_vec(), b"C=".to_vec()],
            limits: Limits {
                memory: u64::MAX,
                file: 4 << 30,
                open_files: 1,
                cpu_seconds: 0,
                processes: 7,
            },
            is_fenced: true,
            is_counted: true,
        }
    }

    #[test]
    fn all_of_it_comes_over() {
        let bytes = view().encode();
        assert_eq!(View::decode(&bytes).unwrap(), view());
        assert!(view().is_layered() && !View::default().is_layered());
        for cut in 0..bytes.len() - 1 {
            assert_eq!(View::decode(&bytes[..cut]), None, "{cut}");
        }
        assert_eq!(
            below(OsStr::new("/tmp/x"), OsStr::new("/usr")),
            PathBuf::from("/tmp/x/usr")
        );
    }

    proptest! {
        #[test]
        fn noise_is_never_a_panic(noise in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = View::decode(&noise);
        }
    }
}
