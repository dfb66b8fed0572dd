//! What of this machine is shown to a job beside the client's files: the system's programs and headers, a few devices, what
//! the daemon was told to show, and the compiler's own folder. Found once at the start; only the compiler's folder is asked
//! for each job.

use super::arrange::kin;
use crate::model::client_path::ClientPath;
use crate::model::family::Family;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What is shown if it is here.
const SYSTEM: &[&str] = &[
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/localtime",
];

/// What is shown if the compiler is in it.
const IF_USED: &[&str] = &["/opt", "/nix", "/gnu"];

/// What a program may need of `/dev`.
const DEVICES: &[&str] = &["/dev/null", "/dev/zero", "/dev/urandom"];

/// What clang reads to know the distribution, whose habits it follows.
const FOR_CLANG: &[&str] = &[
    "/etc/SuSE-release",
    "/etc/debian_version",
    "/etc/lsb-release",
    "/etc/os-release",
    "/etc/redhat-release",
];

/// What makes the folder above `bin` a toolchain's, so that all of it belongs to the compiler.
const TOOLCHAIN_SIGNS: &[&str] = &[
    "lib/gcc",
    "lib64/gcc",
    "libexec/gcc",
    "lib/clang",
    "lib/gcc-cross",
];

/// How many links a compiler's name may lead through.
const HOPS_MAX: usize = 20;

/// A folder or file of this machine that is seen under its own name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Piece {
    /// Its name, without links.
    pub path: ClientPath,
    /// It is a folder.
    pub is_folder: bool,
    /// It is shown for the compiler's sake alone, and all its own: nobody builds in there.
    pub is_compilers: bool,
}

/// What is shown in every job.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Shown {
    /// Folders and files; none lies in another.
    pub pieces: Vec<Piece>,
    /// Devices that are here.
    pub devices: Vec<ClientPath>,
    /// Links, as they are here.
    pub links: Vec<(ClientPath, Vec<u8>)>,
    /// Folders that jobs may change.
    pub shares: Vec<ClientPath>,
}

impl Shown {
    /// What this machine has.
    pub fn find() -> Shown {
        let mut shown = Shown::default();
        for path in SYSTEM {
            shown.add(Path::new(path));
        }
        let devices = DEVICES.iter().filter(|path| Path::new(path).exists());
        shown.devices = devices
            .filter_map(|path| ClientPath::plain(path.as_bytes()).ok())
            .collect();
        shown
    }

    /// Shows another folder or file of this machine, under the name that it has without links.
    pub fn show(&mut self, path: &Path) {
        if let Some(path) = plain(path) {
            self.add_piece(path, true);
        }
    }

    /// Lets jobs change a folder of this machine. All that is in it belongs to it: jobs could put links to anywhere in the
    /// place of what is shared or shown in there by a name of its own, so such names are not followed.
    pub fn share(&mut self, path: &Path) {
        let Some(path) = plain(path).filter(|path| !self.is_shared(path)) else {
            return;
        };
        self.shares.retain(|share| !share.is_within(&path));
        self.pieces.retain(|piece| !piece.path.is_within(&path));
        self.shares.push(path);
    }

    /// Adds what has that name: a link, and what it leads to, or the thing itself.
    fn add(&mut self, path: &Path) {
        let Ok(name) = ClientPath::plain(path.as_os_str().as_bytes()) else {
            return;
        };
        match fs::read_link(path) {
            Ok(link) => {
                let Some(target) = plain(path) else {
                    return;
                };
                self.links
                    .push((name, link.into_os_string().into_encoded_bytes()));
                // What is in `/etc` is the machine's own affair, but for what is named here.
                if !self.shows(&target) {
                    self.add_piece(target, false);
                }
            }
            Err(_) => self.add_piece(name, false),
        }
    }

    fn add_piece(&mut self, path: ClientPath, is_compilers: bool) {
        if let Ok(meta) = fs::symlink_metadata(os(&path)) {
            let is_folder = meta.is_dir();
            if (is_folder || meta.is_file()) && !self.shows(&path) {
                self.pieces.retain(|piece| !piece.path.is_within(&path));
                self.pieces.push(Piece {
                    path,
                    is_folder,
                    is_compilers,
                });
            }
        }
    }

    /// All that is shown but links.
    pub fn things(&self) -> impl Iterator<Item = &ClientPath> {
        let pieces = self.pieces.iter().map(|piece| &piece.path);
        pieces.chain(&self.devices).chain(&self.shares)
    }

    /// Whether a place is seen as it is here.
    pub fn shows(&self, path: &ClientPath) -> bool {
        let mut pieces = self.pieces.iter().map(|piece| &piece.path);
        pieces.any(|piece| path.is_within(piece)) || self.is_shared(path)
    }

    /// Whether jobs may change a place.
    pub fn is_shared(&self, path: &ClientPath) -> bool {
        self.shares.iter().any(|share| path.is_within(share))
    }

    /// The piece of which a place is part.
    pub fn piece(&self, path: &ClientPath) -> Option<&Piece> {
        let mut pieces = self.pieces.iter();
        pieces.find(|piece| path.is_within(&piece.path))
    }

    /// A folder that could be shown merged with a client's.
    pub fn mergeable(&self) -> Option<PathBuf> {
        let points = mount_points();
        let can_be = |path: &ClientPath| !is_above_any(path, &points);
        let folders = || self.pieces.iter().filter(|piece| piece.is_folder);
        if let Some(piece) = folders().find(|piece| can_be(&piece.path)) {
            return Some(os(&piece.path));
        }
        let inner = folders().filter_map(|piece| fs::read_dir(os(&piece.path)).ok());
        let inner = inner.flatten().flatten().map(|entry| entry.path());
        let mut inner = inner.filter(|path| !path.is_symlink() && path.is_dir());
        inner.find(|path| plain(path).is_some_and(|path| can_be(&path)))
    }

    /// What has to be shown beside this for a compiler to run. `hidden` is the folder of all jobs: never shown.
    pub fn with_program(&self, program: &Path, hidden: &Path) -> Shown {
        let mut shown = self.clone();
        if kin(program) == Some(Family::Clang) {
            FOR_CLANG.iter().for_each(|path| shown.add(Path::new(path)));
        }
        let mut hop = program.to_owned();
        for _ in 0..HOPS_MAX {
            let Some(folder) = hop.parent().and_then(plain) else {
                break;
            };
            let next = fs::read_link(&hop).ok();
            if !shown.shows(&folder) {
                let used = used(&folder);
                let is_compilers = used.is_none();
                let widest = next.is_none().then(|| used.or_else(|| toolchain(&folder)));
                let file = plain(&hop).filter(|_| next.is_none());
                let candidates = [widest.flatten(), Some(folder.clone()), file];
                let fits = |path: &ClientPath| !hidden.starts_with(os(path));
                if let Some(path) = candidates.into_iter().flatten().find(fits) {
                    shown.add_piece(path, is_compilers);
                }
            }
            match next {
                Some(next) => hop = os(&folder).join(next),
                None => break,
            }
        }
        shown
    }
}

/// Which of the folders that are shown if they are used `folder` is part of.
fn used(folder: &ClientPath) -> Option<ClientPath> {
    let all = IF_USED.iter();
    let mut all = all.filter_map(|path| ClientPath::plain(path.as_bytes()).ok());
    all.find(|used| folder.is_within(used))
}

/// The widest folder that belongs to a compiler in `folder`.
fn toolchain(folder: &ClientPath) -> Option<ClientPath> {
    let above = folder.parent().filter(|_| folder.name() == b"bin")?;
    let is_toolchain = TOOLCHAIN_SIGNS
        .iter()
        .any(|sign| os(&above).join(sign).is_dir());
    is_toolchain.then_some(above)
}

/// Where this machine has other file systems, now.
pub fn mount_points() -> Vec<ClientPath> {
    let table = fs::read("/proc/self/mountinfo");
    points_of(&table.unwrap_or_default())
}

/// Whether something is mounted below a folder: it can't be shown merged with another then.
pub fn is_above_any(folder: &ClientPath, points: &[ClientPath]) -> bool {
    let mut points = points.iter();
    points.any(|point| point != folder && point.is_within(folder))
}

/// The places in a table as the system writes it: the fifth field, with the octal numbers of odd characters.
fn points_of(table: &[u8]) -> Vec<ClientPath> {
    let places = table.split(|byte| *byte == b'\n').filter_map(|line| {
        let field = line.split(|byte| *byte == b' ').nth(4)?;
        let mut place = Vec::new();
        let mut rest = field;
        while let Some((byte, behind)) = rest.split_first() {
            let digits = behind.get(..3).filter(|_| *byte == b'\\');
            let number = digits.and_then(|digits| {
                let digits = std::str::from_utf8(digits).ok()?;
                u8::from_str_radix(digits, 8).ok()
            });
            place.push(number.unwrap_or(*byte));
            rest = behind.get(number.map_or(0, |_| 3)..)?;
        }
        ClientPath::plain(&place).ok()
    });
    places.collect()
}

/// A path of this machine without links.
fn plain(path: &Path) -> Option<ClientPath> {
    let path = path.canonicalize().ok()?;
    ClientPath::plain(path.as_os_str().as_bytes()).ok()
}

/// The same path here.
pub fn os(path: &ClientPath) -> PathBuf {
    PathBuf::from(std::ffi::OsStr::from_bytes(path.shown()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::symlink;

    fn path(path: &Path) -> ClientPath {
        ClientPath::plain(path.as_os_str().as_bytes()).unwrap()
    }

    #[test]
    fn the_system_is_shown_and_nothing_twice() {
        let shown = Shown::find();
        assert!(shown.shows(&path(Path::new("/usr/include/stdio.h"))));
        assert!(!shown.shows(&path(Path::new("/etc/passwd"))));
        assert!(!shown.shows(&path(Path::new("/usr-local"))));
        assert!(shown.devices.contains(&path(Path::new("/dev/null"))));
        for piece in &shown.pieces {
            let others = shown.pieces.iter().filter(|other| *other != piece);
            assert!(others
                .clone()
                .all(|other| !piece.path.is_within(&other.path)));
        }
        for (name, _) in &shown.links {
            assert!(os(name).is_symlink() && plain(&os(name)).unwrap() != *name);
        }
    }

    #[test]
    fn what_is_in_a_share_is_part_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let [outer, inner, other] = ["outer", "outer/in/inner", "other"].map(|at| root.join(at));
        for folder in [&inner, &other] {
            fs::create_dir_all(folder).unwrap();
        }
        for order in [[&outer, &inner], [&inner, &outer]] {
            let mut shown = Shown::default();
            shown.show(&inner);
            shown.show(&other);
            for folder in order {
                shown.share(folder);
            }
            assert_eq!(shown.shares, [path(&outer)]);
            let pieces = shown.pieces.iter().map(|piece| &piece.path);
            assert_eq!(pieces.collect::<Vec<_>>(), [&path(&other)]);
            assert!(shown.shows(&path(&inner)));
        }
    }

    #[test]
    fn mounts_below_a_folder_are_known() {
        let table = b"21 1 8:1 / / rw - ext4 /dev/vda rw\n\
            22 21 0:5 / /usr/my\\040place rw shared:1 - tmpfs none rw\n\
            odd\n23 21 0:6 /x /a\\ rw - x y z";
        let points = points_of(table);
        let below = |place: &str| is_above_any(&path(Path::new(place)), &points);
        assert!(below("/usr") && below("/") && !below("/usr/my place") && !below("/us"));
        assert_eq!(points.len(), 3);
        assert!(Shown::find().mergeable().is_some_and(|path| path.is_dir()));
    }

    #[test]
    fn a_compiler_brings_its_own_folder_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for folder in [
            "cross/bin",
            "cross/lib/gcc",
            "home/bin",
            "jobs",
            "all/bin/jobs",
            "all/lib/gcc",
        ] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        for program in ["cross/bin/gcc", "home/bin/cc", "all/bin/gcc"] {
            fs::write(root.join(program), "").unwrap();
        }
        symlink("../../cross/bin/gcc", root.join("home/bin/link")).unwrap();
        let shown = Shown::default();
        for (program, hidden, expected) in [
            ("cross/bin/gcc", "jobs", &["cross"][..]),
            ("home/bin/cc", "jobs", &["home/bin"]),
            ("home/bin/link", "jobs", &["home/bin", "cross"]),
            ("all/bin/gcc", "all/bin/jobs", &["all/bin/gcc"]),
            ("all/bin/gcc", "all/jobs", &["all/bin"]),
        ] {
            let with = shown.with_program(&root.join(program), &root.join(hidden));
            let pieces: Vec<_> = with.pieces.iter().map(|piece| os(&piece.path)).collect();
            let expected: Vec<_> = expected.iter().map(|path| root.join(path)).collect();
            assert_eq!(pieces, expected, "{program}");
        }
        let system = Shown::find();
        let with = system.with_program(Path::new("/usr/bin/gcc"), &root);
        assert_eq!(with, system);
    }
}
