//! The folder that all programs of one user share (`$DISTCC_DIR`, else `~/.distcc`), what lies where in it, and where
//! the host list comes from.

use super::zeroconf;
use crate::model::error::{Code, Error, Result};
use crate::model::hosts::{self, HostList, HostSpec};
use crate::model::settings::ClientSettings;
use std::borrow::Cow;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The host list of the whole machine.
const SYSTEM_HOSTS: &str = "/etc/distcc/hosts";

/// A host list larger than this is something else: stock's limit.
const HOSTS_BYTES_MAX: u64 = 1 << 20;

/// The shared folder.
#[derive(Clone, Debug)]
pub struct TopDir(PathBuf);

impl TopDir {
    /// `DISTCC_DIR` as it is, else `~/.distcc`, which is made if need be.
    pub fn find(settings: &ClientSettings) -> Result<TopDir> {
        if let Some(given) = &settings.top_dir {
            return Ok(TopDir(given.clone()));
        }
        let Some(home) = &settings.home else {
            return Err(Error::new(
                Code::BadArguments,
                "neither HOME nor DISTCC_DIR is set, so there is no place for lock files",
            ));
        };
        let path = home.join(".distcc");
        made(&path)?;
        Ok(TopDir(path))
    }

    /// Where slots are locked and hosts in trouble are marked. Whoever finds it missing makes it, with [`made`].
    pub fn lock_dir(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// Where each client says what it is doing. Whoever finds it missing makes it, with [`made`].
    pub fn state_dir(&self) -> PathBuf {
        self.0.join("state")
    }

    /// Where is kept what compilers here mean by `native`. Whoever finds it missing makes it, with [`made`].
    pub fn native_dir(&self) -> PathBuf {
        self.0.join("native")
    }

    /// Where hosts that were found on the network are written down. Whoever finds it missing makes it, with [`made`].
    pub fn zeroconf_dir(&self) -> PathBuf {
        self.0.join("zeroconf")
    }

    /// The hosts that are found on the local network; an error if there are none.
    pub fn found_hosts(&self) -> Result<Vec<HostSpec>> {
        let list = parsed(Some(self), hosts::DISCOVERED, "zeroconf")?;
        Ok(list.hosts)
    }

    /// The host list: `DISTCC_HOSTS` if it exists, else the user's file, else the machine's.
    pub fn host_list(top: Option<&TopDir>, settings: &ClientSettings) -> Result<HostList> {
        TopDir::host_list_from(top, settings).map(|(list, _)| list)
    }

    /// The same, and what it was read from.
    pub fn host_list_from(
        top: Option<&TopDir>,
        settings: &ClientSettings,
    ) -> Result<(HostList, Cow<'static, str>)> {
        if let Some(text) = &settings.hosts {
            let list = parsed(top, &text.to_string_lossy(), "$DISTCC_HOSTS")?;
            return Ok((list, "$DISTCC_HOSTS".into()));
        }
        let own = top.map(|top| top.0.join("hosts"));
        for path in own
            .iter()
            .map(PathBuf::as_path)
            .chain([Path::new(SYSTEM_HOSTS)])
        {
            if let Some(text) = read_list(path)? {
                let name = path.to_string_lossy().into_owned();
                return Ok((parsed(top, &text, &name)?, name.into()));
            }
        }
        let own = own.map_or("~/.distcc/hosts".into(), |path| path.display().to_string());
        Err(Error::new(
            Code::NoHosts,
            format!(
                "no hostlist is set; can't distribute work; name hosts in $DISTCC_HOSTS, {own} or {SYSTEM_HOSTS}"
            ),
        ))
    }
}

/// The list that a text stands for, in the order of use.
fn parsed(top: Option<&TopDir>, text: &str, source: &str) -> Result<HostList> {
    let mut list = hosts::parse_with(text, source, &mut || match top {
        Some(top) => zeroconf::found(&top.zeroconf_dir()),
        None => Err("there is no folder to write found hosts to".to_owned()),
    })?;
    if list.randomize {
        shuffle(&mut list.hosts, u64::from(std::process::id()));
    }
    Ok(list)
}

/// Fisher and Yates, with the numbers of SplitMix64: the same order for the same seed, so for one process.
fn shuffle<T>(items: &mut [T], mut seed: u64) {
    for last in (1..items.len()).rev() {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        items.swap(last, (mixed % (last as u64 + 1)) as usize);
    }
}

/// The text of a list, or nothing if there is no such file or it may not be read.
fn read_list(path: &Path) -> Result<Option<String>> {
    let text = match fs::metadata(path) {
        Ok(meta) if meta.len() > HOSTS_BYTES_MAX => {
            return Err(Error::new(
                Code::BadHostSpec,
                format!("{} has more than 1 MiB: is it a host list?", path.display()),
            ));
        }
        Ok(_) => fs::read(path),
        Err(err) => Err(err),
    };
    match text {
        Ok(text) => Ok(Some(String::from_utf8_lossy(&text).into_owned())),
        Err(_) => Ok(None),
    }
}

/// Makes one of the folders, as the umask has it, unless it is there.
pub fn made(path: &Path) -> Result<()> {
    match fs::create_dir(path) {
        Err(err) if err.kind() != io::ErrorKind::AlreadyExists => Err(Error::io(
            format_args!(
                "can't make the folder {} (DISTCC_DIR can name another)",
                path.display()
            ),
            &err,
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::ffi::OsString;

    fn settings(pairs: &[(&str, &Path)]) -> ClientSettings {
        ClientSettings::read(|name| {
            let found = pairs.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        })
        .unwrap()
    }

    #[test]
    fn the_folder_is_made_in_home_but_not_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        let top = TopDir::find(&settings(&[("HOME", dir.path())])).unwrap();
        assert!(dir.path().join(".distcc").is_dir());
        made(&top.lock_dir()).unwrap();
        assert!(dir.path().join(".distcc/lock").is_dir());
        let missing = dir.path().join("missing");
        let top = TopDir::find(&settings(&[("DISTCC_DIR", &missing)])).unwrap();
        let err = made(&top.state_dir()).unwrap_err();
        assert!(err.message.contains("missing/state"), "{err}");
        assert_eq!(
            TopDir::find(&settings(&[])).unwrap_err().code,
            Code::BadArguments
        );
    }

    #[test]
    fn the_variable_beats_the_file_even_if_it_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("hosts"), "fromfile").unwrap();
        let with_file = settings(&[("DISTCC_DIR", dir.path())]);
        let top = TopDir::find(&with_file).unwrap();
        let list = TopDir::host_list(Some(&top), &with_file).unwrap();
        assert_eq!(list.hosts[0].name(), "fromfile");
        let empty = settings(&[("DISTCC_DIR", dir.path()), ("DISTCC_HOSTS", Path::new(""))]);
        let err = TopDir::host_list(Some(&top), &empty).unwrap_err();
        assert!(err.message.contains("$DISTCC_HOSTS contained no hosts"));
    }

    #[test]
    fn a_shuffle_loses_nothing_and_depends_on_the_seed() {
        let order = |seed| {
            let mut items: Vec<u32> = (0..20).collect();
            shuffle(&mut items, seed);
            items
        };
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
        let mut sorted = order(7);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..20).collect::<Vec<u32>>());
    }
}
