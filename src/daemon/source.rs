//! Where the configuration comes from, command line, file and variables: read at the start, and again when it is wished.

use super::config::{Config, Surroundings};
use super::config_file::ConfigFile;
use super::options::{self, Asked, Flags};
use crate::model::error::Result;
use crate::os::net;
use crate::os::process::user_id;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// The file that is read if none is named.
const CONFIG_FILE: &str = "/etc/distcc/distccd.conf";

/// Named in its place, for no file.
const NO_FILE: &str = "none";

/// What is the same each time.
#[derive(Debug)]
pub struct Source {
    argv: Vec<OsString>,
    folder: PathBuf,
    executable: Option<PathBuf>,
    stdin_is_socket: bool,
    /// Who, beside root, may own the file: who has started us.
    owner: u32,
    /// There was a file of the usual name: without it others could do what it forbids.
    had_file: AtomicBool,
}

/// What is wished.
#[derive(Debug)]
pub enum Wanted {
    /// To print this and end.
    Say(String),
    /// To serve.
    Serve(Box<Config>),
}

impl Source {
    /// To be asked for before anything about this process changes.
    pub fn new(argv: Vec<OsString>) -> Source {
        Source {
            argv,
            folder: env::current_dir().unwrap_or_else(|_| "/".into()),
            executable: env::current_exe().ok(),
            stdin_is_socket: net::is_socket(io::stdin().as_fd()),
            owner: user_id(),
            had_file: AtomicBool::new(false),
        }
    }

    /// Reads all of it.
    ///
    /// # Errors
    /// That of [`Config::new`], with the place if it stands in the file; and what is wrong with the file.
    pub fn read(&self) -> Result<Wanted> {
        let flags = match options::read(&self.argv, &[])? {
            Asked::Say(text) => return Ok(Wanted::Say(text)),
            Asked::Serve(flags) => flags,
        };
        let Some(path) = self.file(&flags) else {
            return self.config(*flags);
        };
        let file = ConfigFile::read(&path, self.owner)?;
        match options::read(&self.argv, &file.words())? {
            Asked::Say(text) => Ok(Wanted::Say(text)),
            Asked::Serve(flags) => self.config(*flags).map_err(|err| file.blame(err)),
        }
    }

    fn file(&self, flags: &Flags) -> Option<PathBuf> {
        match &flags.config {
            Some(file) if file == Path::new(NO_FILE) => None,
            Some(file) => Some(self.folder.join(file)),
            None => Some(PathBuf::from(CONFIG_FILE)).filter(|file| self.is_meant(file)),
        }
    }

    /// Whether there is such a file, or was, or nobody can tell.
    fn is_meant(&self, file: &Path) -> bool {
        let looked = fs::symlink_metadata(file);
        let is_missing = looked.is_err_and(|err| err.kind() == io::ErrorKind::NotFound);
        if !is_missing {
            self.had_file.store(true, Ordering::Relaxed);
        }
        self.had_file.load(Ordering::Relaxed)
    }

    fn config(&self, flags: Flags) -> Result<Wanted> {
        let around = Surroundings {
            lookup: &|name| env::var_os(name),
            read_file: &|path| fs::read(path),
            stdin_is_socket: self.stdin_is_socket,
            cpus: thread::available_parallelism().map_or(1, usize::from),
            executable: self.executable.clone(),
            folder: self.folder.clone(),
        };
        Config::new(flags, &around).map(|config| Wanted::Serve(Box::new(config)))
    }
}
