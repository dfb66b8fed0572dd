//! What all jobs of a daemon share: what it was told, the signals that end it, and the environment of its compilers.

use super::admission::Admission;
use super::cells::{self, Cells, Common};
use super::config::Config;
use super::launch::Way;
use super::memory::Memory;
use super::sandbox::{self, Sandbox, Wanted};
use super::shown::Shown;
use super::statistics::Statistics;
use super::system_headers::SystemHeaders;
use crate::model::error::{Code, Error, Result};
use crate::os::fence;
use crate::os::logging::NOTICE;
use crate::os::signals::FinalSignals;
use crate::os::weight;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

/// Variables of our environment that compilers get, beside those that are set for each job. Whatever else could
/// change the object or lead out of the job is left out.
const ENVIRONMENT: [&str; 4] = ["HOME", "LANG", "LANGUAGE", LIBRARIES];
const ENVIRONMENT_PREFIXES: [&str; 2] = ["LC_", "CCACHE_"];

/// Where programs look for libraries beside the system's folders.
const LIBRARIES: &str = "LD_LIBRARY_PATH";

/// What all jobs share.
#[derive(Debug)]
pub struct Shop {
    /// Readable when we shall end.
    pub signals: FinalSignals,
    /// The compilers' environment, apart from TMPDIR.
    pub environment: Vec<(OsString, OsString)>,
    /// Whether there is memory for one more job.
    pub admission: Admission,
    /// What of this machine jobs see.
    pub shown: Shown,
    /// Where jobs are done that are to see no more.
    pub cells: Cells,
    /// What is known of this machine's headers.
    pub headers: SystemHeaders,
    /// What is done and has been done.
    pub statistics: Statistics,
    config: RwLock<Arc<Config>>,
    way: OnceLock<Way>,
    sandbox: OnceLock<Sandbox>,
}

impl Shop {
    /// A shop that is just opening.
    pub fn new(
        config: Config,
        signals: FinalSignals,
        environment: Vec<(OsString, OsString)>,
    ) -> Shop {
        Shop {
            shown: shown(&config.sandbox, &environment),
            config: RwLock::new(Arc::new(config)),
            signals,
            environment,
            admission: Admission::new(Memory::find(Path::new("/"))),
            cells: Cells::default(),
            headers: SystemHeaders::default(),
            statistics: Statistics::default(),
            way: OnceLock::new(),
            sandbox: OnceLock::new(),
        }
    }

    /// What the daemon was told last. Whoever does something longer with it keeps what it has got.
    pub fn config(&self) -> Arc<Config> {
        let config = self.config.read();
        config.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From here on this is what the daemon was told; jobs that have begun go on with what they know.
    pub fn exchange_config(&self, config: Config) {
        let mut current = self.config.write().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(config);
    }

    /// How compilers see their files here: tried out when it is first asked.
    pub fn way(&self) -> &Way {
        let config = || self.config().temp_dir.clone();
        self.way
            .get_or_init(|| cells::find_way(&self.shown, &config()))
    }

    /// What a job that is shown this has in common with others. Its folder is mounted in `place`, if it has no root of its
    /// own.
    pub fn common(&self, shown: Shown, place: &Path) -> Common {
        Common {
            shown,
            place: place.to_owned(),
            is_fenced: self.sandbox().wanted != Wanted::Off,
            is_counted: !self.counts(),
        }
    }

    /// Whether the system counts the processes of a job apart from all others.
    pub fn counts(&self) -> bool {
        matches!(self.way(), Way::Views { counts: true, .. })
    }

    /// Whether none of a job's processes can hide how much memory it holds.
    fn sees_all_of_jobs(&self) -> bool {
        let is_fenced = self.config().sandbox.wanted != Wanted::Off && fence::has_filters();
        weight::can_be_seen() && (is_fenced || !weight::can_be_hidden())
    }

    /// What keeps compilers to their jobs, from the start on; its text is for the log and the statistics.
    pub fn sandbox(&self) -> &Sandbox {
        self.sandbox.get_or_init(|| Sandbox {
            wanted: self.config().sandbox.wanted,
            namespaces: match self.way() {
                Way::Views { .. } => Ok(()),
                Way::Mirrors(why) => Err(why.clone()),
            },
            seccomp: fence::has_filters(),
            landlock: fence::has_files(),
            scopes: fence::has_scopes(),
            watches: self.config().sandbox.limits.memory > 0 && self.sees_all_of_jobs(),
        })
    }

    /// Says how jobs will run here.
    ///
    /// # Errors
    /// What is missing, if it is required.
    pub fn announce(&self) -> Result<()> {
        let sandbox = self.sandbox();
        match sandbox.fault() {
            Some(fault) if sandbox.wanted == Wanted::Require => {
                let why = format!("--sandbox=require: {fault}");
                return Err(Error::new(Code::DropPrivileges, why));
            }
            Some(fault) => log::warn!("sandbox: {sandbox}; {fault}"),
            None => log::info!(target: NOTICE, "sandbox: {sandbox}"),
        }
        if !sandbox.watches && self.config().sandbox.limits.memory > 0 {
            log::warn!(
                "--job-memory holds for each process of a job alone: /proc does not tell what all of them have together"
            );
        }
        match self.way() {
            Way::Views { merges: true, .. } => {
                log::info!(target: NOTICE, "pump jobs see their clients' own paths");
            }
            Way::Views { .. } => log::warn!(
                "pump jobs see their clients' own paths, but none among this machine's own folders: the system can't merge them"
            ),
            Way::Mirrors(why) => log::warn!(
                "pump jobs can't see their clients' own paths, and those that need it are refused: {why}; allow user namespaces to unprivileged users to change that"
            ),
        }
        Ok(())
    }
}

/// What of this machine jobs see, the folders included in which programs here look for libraries.
fn shown(asked: &sandbox::Asked, environment: &[(OsString, OsString)]) -> Shown {
    let mut shown = Shown::find();
    let libraries = environment.iter().filter(|(name, _)| name == LIBRARIES);
    for (_, folders) in libraries {
        let folders = std::env::split_paths(folders);
        folders
            .filter(|folder| folder.is_absolute())
            .for_each(|folder| shown.show(&folder));
    }
    asked.show.iter().for_each(|path| shown.show(path));
    asked.share.iter().for_each(|path| shown.share(path));
    shown
}

/// The part of our environment that compilers get.
pub fn compiler_environment(
    ours: impl Iterator<Item = (OsString, OsString)>,
    path: &OsStr,
) -> Vec<(OsString, OsString)> {
    let mut environment: Vec<(OsString, OsString)> = ours
        .filter(|(name, _)| {
            let name = name.to_string_lossy();
            ENVIRONMENT.contains(&&*name)
                || ENVIRONMENT_PREFIXES
                    .iter()
                    .any(|prefix| name.starts_with(prefix))
        })
        .collect();
    environment.push(("PATH".into(), path.to_owned()));
    environment.push(("_DISTCC_SAFEGUARD".into(), "1".into()));
    environment
}
