//! What all jobs of a daemon share: what it was told, the signals that end it, and the environment of its compilers.

use super::admission::Admission;
use super::config::Config;
use super::launch::{self, Way};
use super::memory::Memory;
use super::shown::Shown;
use super::statistics::Statistics;
use super::system_headers::SystemHeaders;
use crate::os::fence;
use crate::os::logging::NOTICE;
use crate::os::signals::FinalSignals;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

/// Variables of our environment that compilers get, beside those that are set for each job. Whatever else could
/// change the object or lead out of the job is left out.
const ENVIRONMENT: [&str; 4] = ["HOME", "LANG", "LANGUAGE", "LD_LIBRARY_PATH"];
const ENVIRONMENT_PREFIXES: [&str; 2] = ["LC_", "CCACHE_"];

/// What all jobs share.
#[derive(Debug)]
pub struct Shop {
    /// Readable when we shall end.
    pub signals: FinalSignals,
    /// The compilers' environment, apart from TMPDIR.
    pub environment: Vec<(OsString, OsString)>,
    /// Whether there is memory for one more job.
    pub admission: Admission,
    /// What of this machine jobs of pump mode see.
    pub shown: Shown,
    /// What is known of this machine's headers.
    pub headers: SystemHeaders,
    /// What is done and has been done.
    pub statistics: Statistics,
    config: RwLock<Arc<Config>>,
    way: OnceLock<Way>,
}

impl Shop {
    /// A shop that is just opening.
    pub fn new(
        config: Config,
        signals: FinalSignals,
        environment: Vec<(OsString, OsString)>,
    ) -> Shop {
        Shop {
            config: RwLock::new(Arc::new(config)),
            signals,
            environment,
            admission: Admission::new(Memory::find(Path::new("/"))),
            shown: Shown::find(),
            headers: SystemHeaders::default(),
            statistics: Statistics::default(),
            way: OnceLock::new(),
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

    /// How compilers of pump jobs see their files here: tried out when it is first asked, and said once.
    pub fn way(&self) -> &Way {
        self.way.get_or_init(|| {
            let way = launch::find_way(&self.shown, &self.config().temp_dir);
            match &way {
                Way::Views { merges: true } => {
                    log::info!(target: NOTICE, "pump jobs see their clients' own paths");
                }
                Way::Views { merges: false } => log::warn!(
                    "pump jobs see their clients' own paths, but none among this machine's own folders: the system can't merge them"
                ),
                Way::Mirrors(why) => log::warn!(
                    "pump jobs can't see their clients' own paths, and those that need it are refused: {why}; allow user namespaces to unprivileged users to change that"
                ),
            }
            warn_of_missing_fences(&way);
            way
        })
    }
}

/// Says what compilers of pump jobs can do here that they should not, were one of them taken over by what it compiles.
fn warn_of_missing_fences(way: &Way) {
    if !fence::has_filters() {
        log::warn!("compilers of pump jobs can't be kept from the network, and from outliving their jobs: the system has no seccomp");
    }
    if matches!(way, Way::Mirrors(_)) && !fence::has_files() {
        log::warn!("compilers of pump jobs can read what this user can read: the system has neither namespaces nor Landlock");
    }
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
