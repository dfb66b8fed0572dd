//! The private folder of one job, removed with all that a compiler left in it. Turns the names that a client sent into
//! names here: the text lies under the client's own relative name, so that what a compiler derives from it is the same.

use super::scratch::{self, Scratch};
use crate::os::beneath::Dir;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// Names with more parts, or longer, are cut to their last part.
const NAME_PARTS_MAX: usize = 64;
const NAME_BYTES_MAX: usize = 1024;

/// Longest last part that a file system takes, with some room for a suffix.
const LAST_PART_BYTES_MAX: usize = 240;

/// Name of the folder that holds the source and stands for the client's `/`.
const MIRROR: &str = "in";

/// A folder that exists as long as this value.
#[derive(Debug)]
pub struct Workspace {
    root: PathBuf,
    /// It, if it is on this machine's disk and not only in a view.
    scratch: Option<Scratch>,
    /// Where what the compiler sees as the root is for us, if it is no part of our file tree; open as long as it is needed.
    elsewhere: Option<(Dir, PathBuf)>,
    /// Working directory of the compiler.
    pub cwd: PathBuf,
    /// The source as the compiler is told, relative to `cwd`.
    pub input: PathBuf,
    /// The output as the compiler is told, absolute.
    pub output: PathBuf,
}

impl Workspace {
    /// Makes a folder below `temp_dir`, in which the compiler is to write `output`. With `keep` it is not removed.
    pub fn create(temp_dir: &Path, output: &str, keep: bool) -> io::Result<Workspace> {
        let scratch = Scratch::create(temp_dir, keep)?;
        let mut workspace = Workspace::in_view(scratch.path().to_owned(), output);
        workspace.scratch = Some(scratch);
        Ok(workspace)
    }

    /// Such a folder that will be in a view only: it has a name, and nothing is on disk.
    pub fn only_named(temp_dir: &Path, output: &str) -> Workspace {
        Workspace::in_view(scratch::free_name(temp_dir), output)
    }

    fn in_view(root: PathBuf, output: &str) -> Workspace {
        Workspace {
            output: root.join(output),
            cwd: root.clone(),
            input: PathBuf::new(),
            root,
            scratch: None,
            elsewhere: None,
        }
    }

    /// Whether the folder is on disk.
    pub fn is_on_disk(&self) -> bool {
        self.scratch.is_some()
    }

    /// Makes the folder in another one, which stands for the one that it is named in, and for that alone.
    pub fn move_into(&mut self, parent: &Dir) -> io::Result<()> {
        let name = self.root.file_name().unwrap_or_default().as_bytes();
        parent.make(name)?;
        let folder = parent.enter(name)?;
        let path = format!("/proc/self/fd/{}", folder.number());
        self.elsewhere = Some((folder, PathBuf::from(path)));
        Ok(())
    }

    /// The folder that this one is named in.
    pub fn parent(&self) -> &Path {
        self.root.parent().unwrap_or(&self.root)
    }

    /// Where a path of the compiler's is for us.
    fn here(&self, path: &Path) -> PathBuf {
        match (&self.elsewhere, path.strip_prefix(self.root())) {
            (Some((_, root)), Ok(rest)) => root.join(rest),
            _ => path.to_owned(),
        }
    }

    /// The job's folder, also the compiler's folder for temporary files.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder that stands for the client's `/`. The output lies outside, so that no name of the client can be its.
    pub fn mirror(&self) -> PathBuf {
        self.root().join(MIRROR)
    }

    /// Whether it is to be looked at when the job is done.
    pub fn is_kept(&self) -> bool {
        self.scratch.as_ref().is_some_and(Scratch::is_kept)
    }

    /// Where the source is, for the compiler.
    fn source(&self) -> PathBuf {
        self.cwd.join(&self.input)
    }

    /// Makes the folders, and writes the source.
    pub fn write(&self, text: &[u8]) -> io::Result<()> {
        self.make_folders()?;
        fs::write(self.here(&self.source()), text)
    }

    /// Finds room for a source that the client calls `name`, with `suffix` (such as `.i`) in place of its own if one is
    /// given. The working directory is as many levels down as the name climbs.
    pub fn place(&mut self, name: &[u8], suffix: Option<&str>) {
        let name = Path::new(OsStr::from_bytes(name));
        self.input = relative(name).unwrap_or_else(|| PathBuf::from(last_part(name)));
        if let Some(suffix) = suffix {
            let mut last = self.input.file_stem().unwrap_or_default().to_owned();
            last.push(suffix);
            self.input.set_file_name(last);
        }
        // In the root itself, to save a folder, unless the output is in the way.
        let output = self.output.file_name();
        if self.input.iter().any(|part| Some(part) == output) {
            self.cwd.push(MIRROR);
        }
        for _ in 0..climbs(&self.input) {
            self.cwd.push(MIRROR);
        }
    }

    /// Finds room for a source at the client's own path, below the mirror: `name` as seen from `cwd`. Says no if that can't
    /// be.
    pub fn place_in_mirror(&mut self, cwd: &Path, name: &Path) -> bool {
        let (Some(cwd), depth) = (below_root(cwd), cwd.components().count()) else {
            return false;
        };
        self.input = match below_root(name) {
            Some(name) => self.mirror().join(name),
            None => match relative(name).filter(|name| climbs(name) < depth) {
                Some(name) => name,
                None => return false,
            },
        };
        self.cwd = self.mirror().join(cwd);
        true
    }

    /// Makes the working directory, and all that the source's name passes through.
    fn make_folders(&self) -> io::Result<()> {
        if self.cwd != self.root() {
            fs::create_dir_all(self.here(&self.cwd))?;
        }
        let parent = self.input.parent().unwrap_or(Path::new(""));
        if parent.is_absolute() {
            return fs::create_dir_all(self.here(parent));
        }
        let mut folder = self.here(&self.cwd);
        for part in parent.components() {
            folder.push(part);
            if matches!(part, Component::Normal(_)) {
                fs::create_dir_all(&folder)?;
            }
        }
        Ok(())
    }

    /// What the compiler wrote as output; `None` if there is no plain file. To be called when nothing of the job runs any
    /// more.
    ///
    /// # Errors
    /// Also if it has more than `bytes_max`.
    pub fn read_output(&self, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
        let name = self.output.file_name().unwrap_or_default().as_bytes();
        if let Some((folder, _)) = &self.elsewhere {
            return folder.read(name, bytes_max);
        }
        match Dir::open(self.root()) {
            Ok(folder) => folder.read(name, bytes_max),
            Err(err) => match err.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(None),
                _ => Err(err),
            },
        }
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        // As a rule there are these two files; looking for others costs more than they do.
        if self.elsewhere.is_none() && self.is_on_disk() && !self.is_kept() {
            for file in [&self.source(), &self.output] {
                // Further down the compiler may have put links in our way.
                if file.parent() == Some(self.root()) {
                    let _ = fs::remove_file(file);
                }
            }
        }
    }
}

/// An absolute path without its first slash, if it has no `..`.
fn below_root(path: &Path) -> Option<&Path> {
    let rest = path.strip_prefix("/").ok()?;
    let plain = rest
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    (plain && path.as_os_str().len() <= NAME_BYTES_MAX).then_some(rest)
}

/// How many levels a relative name goes above where it starts.
fn climbs(name: &Path) -> usize {
    let (mut depth, mut climbs) = (0_usize, 0_usize);
    for part in name.components() {
        match part {
            Component::ParentDir if depth == 0 => climbs += 1,
            Component::ParentDir => depth -= 1,
            Component::Normal(_) => depth += 1,
            _ => {}
        }
    }
    climbs
}

/// The name itself if it is relative and of a reasonable size.
fn relative(name: &Path) -> Option<PathBuf> {
    let fits = name.as_os_str().len() <= NAME_BYTES_MAX
        && name.components().count() <= NAME_PARTS_MAX
        && name.components().all(|part| match part {
            Component::Normal(part) => part.len() <= LAST_PART_BYTES_MAX,
            Component::CurDir | Component::ParentDir => true,
            Component::RootDir | Component::Prefix(_) => false,
        });
    let fits = fits && is_operand(name.as_os_str());
    (fits && name.file_name().is_some()).then(|| name.to_owned())
}

/// Whether a compiler takes this word for a file to be compiled.
fn is_operand(word: &OsStr) -> bool {
    !matches!(word.as_bytes().first(), None | Some(b'-' | b'@'))
}

/// The last part of a name that can't be used as a whole. Alone it must not be an option, nor a response file.
fn last_part(name: &Path) -> &OsStr {
    match name.file_name() {
        Some(last) if last.len() <= LAST_PART_BYTES_MAX && is_operand(last) => last,
        _ => OsStr::new("source"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::{symlink, PermissionsExt};

    #[test]
    fn names_stay_below_the_root() {
        let dir = tempfile::tempdir().unwrap();
        for (name, suffix, input) in [
            ("hello.c", Some(".i"), "hello.i"),
            ("hello.c", None, "hello.c"),
            ("a/b/x.y.cc", Some(".ii"), "a/b/x.y.ii"),
            ("../../a/../b/./x.c", None, "../../a/../b/./x.c"),
            ("/etc/x.c", None, "x.c"),
            ("out.o/x.c", None, "out.o/x.c"),
            ("..", Some(".i"), "source.i"),
            ("", Some(".i"), "source.i"),
            ("/x/-fplugin=x.c", Some(".i"), "source.i"),
            ("/x/@x", None, "source"),
            ("@x.c", None, "source"),
        ] {
            let mut job = Workspace::create(dir.path(), "out.o", false).unwrap();
            job.place(name.as_bytes(), suffix);
            assert_eq!(job.input, Path::new(input), "{name}");
            job.write(b"text").unwrap();
            let real = job.source().canonicalize().unwrap();
            assert!(real.starts_with(job.root()), "{}", real.display());
            let mode = fs::metadata(job.root()).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_mirror_has_the_clients_paths() {
        let dir = tempfile::tempdir().unwrap();
        for (cwd, name, word) in [
            ("/home/me", "src/x.c", Some("src/x.c")),
            ("/home/me", "../../x.c", Some("../../x.c")),
            ("/", "x.c", Some("x.c")),
            ("/home/me", "/abs/x.c", Some("MIRROR/abs/x.c")),
            ("/home/me", "../../../x.c", None),
            ("/home/../me", "x.c", None),
            ("home", "x.c", None),
            ("/home", "/a/../x.c", None),
            ("/home", "..", None),
            ("/home", "-fplugin=x", None),
            ("/home", "@x", None),
        ] {
            let mut job = Workspace::create(dir.path(), "o.o", false).unwrap();
            let placed = job.place_in_mirror(Path::new(cwd), Path::new(name));
            assert_eq!(placed, word.is_some(), "{cwd} {name}");
            let Some(word) = word else { continue };
            let mirror = job.mirror().display().to_string();
            assert_eq!(job.input, Path::new(&word.replace("MIRROR", &mirror)));
            job.write(b"text").unwrap();
            assert!(job.source().canonicalize().unwrap().starts_with(&mirror));
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_only_named_is_not_on_disk() {
        let dir = tempfile::tempdir().unwrap();
        let job = Workspace::only_named(dir.path(), "x.o");
        assert!(!job.is_on_disk() && !job.root().exists() && !job.is_kept());
        assert_eq!(job.output, job.root().join("x.o"));
        // Whoever has made a folder of that name, it is not ours.
        fs::create_dir(job.root()).unwrap();
        let root = job.root().to_owned();
        drop(job);
        assert!(root.exists());
    }

    #[test]
    fn links_of_a_job_lead_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let other = dir.path().join("other");
        for name in ["x.i", "out.o"] {
            fs::create_dir_all(&other).unwrap();
            fs::write(other.join(name), b"other's").unwrap();
        }
        // Without a view: a folder on the way to the source.
        let mut job = Workspace::create(dir.path(), "out.o", false).unwrap();
        job.place(b"d/x.c", Some(".i"));
        job.write(b"text").unwrap();
        fs::rename(job.root().join("d"), job.root().join("e")).unwrap();
        symlink(&other, job.root().join("d")).unwrap();
        drop(job);
        assert!(other.join("x.i").exists());
        // In a view: the folder itself, or the output.
        let mut job = Workspace::only_named(Path::new("/tmp"), "out.o");
        job.move_into(&Dir::open(dir.path()).unwrap()).unwrap();
        let real = dir.path().join(job.root().file_name().unwrap());
        job.place(b"d/x.c", Some(".i"));
        job.write(b"text").unwrap();
        assert_eq!(fs::read(real.join("d/x.i")).unwrap(), b"text");
        fs::write(real.join("out.o"), b"ours").unwrap();
        let moved = dir.path().join("moved");
        fs::rename(&real, &moved).unwrap();
        symlink(&other, &real).unwrap();
        assert_eq!(job.read_output(9).unwrap().unwrap(), b"ours");
        fs::remove_file(moved.join("out.o")).unwrap();
        symlink(other.join("out.o"), moved.join("out.o")).unwrap();
        assert_eq!(job.read_output(9).unwrap(), None);
    }

    #[test]
    fn long_names_are_cut() {
        let dir = tempfile::tempdir().unwrap();
        let long = format!("{}.c", "x".repeat(300));
        let deep = format!("{}x.c", "d/".repeat(400));
        for name in [long, deep] {
            let mut job = Workspace::create(dir.path(), "o.o", false).unwrap();
            job.place(name.as_bytes(), Some(".i"));
            job.write(b"text").unwrap();
        }
    }

    #[test]
    fn only_plain_files_of_bounded_size_are_outputs() {
        let dir = tempfile::tempdir().unwrap();
        let job = Workspace::create(dir.path(), "x.o", false).unwrap();
        assert_eq!(job.read_output(10).unwrap(), None);
        std::os::unix::fs::symlink("/etc/passwd", &job.output).unwrap();
        assert_eq!(job.read_output(10).unwrap(), None);
        fs::remove_file(&job.output).unwrap();
        fs::write(&job.output, "12345").unwrap();
        assert_eq!(job.read_output(5).unwrap().unwrap(), b"12345");
        assert!(job.read_output(4).is_err());
    }
}
