//! The environment variables that concern pump mode, as typed fields: where the include server is, and what is done when
//! a host's compiler and the local one do not agree.

use super::error::{Code, Error, Result};
use std::ffi::OsString;
use std::path::PathBuf;

/// How many files of a build may fail elsewhere and compile here before the rest of it is preprocessed here, if
/// `DISTCC_MAX_DISCREPANCY` says nothing. Stock's 1 gives up pump mode because of one file.
pub const DISCREPANCY_MAX: u64 = 20;

/// Who is told of discrepancies, if nobody is named: stock's default.
const RECIPIENT: &str = "distcc-pump-errors";

/// What the include server's socket is called where a build has a folder of its own.
const SOCKET: &str = "socket";

/// All that the environment says of pump mode.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PumpSettings {
    /// `INCLUDE_SERVER_PORT`: the include server's socket.
    pub port: Option<PathBuf>,
    /// `DISTCC_MAX_DISCREPANCY`: so many discrepancies end pump mode for a build.
    pub discrepancy_max: u64,
    /// `DISTCC_EXCLUDE_FRESH_FILES`: a pattern of files that may change during a build.
    pub fresh_excluded: Option<OsString>,
    /// `DISTCC_ENABLE_DISCREPANCY_EMAIL` is 1: who is told of discrepancies.
    pub mail_to: Option<OsString>,
}

impl PumpSettings {
    /// Reads all variables through `lookup`. Fails with status 101 on a number that can't be meant.
    pub fn read(lookup: impl Fn(&str) -> Option<OsString>) -> Result<PumpSettings> {
        let filled = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let mail = lookup("DISTCC_ENABLE_DISCREPANCY_EMAIL").is_some_and(|value| value == "1");
        // The manual of stock names the second, its program reads the first.
        let recipient = filled("DISTCC_EMAILLOG_WHOM_TO_BLAME")
            .or_else(|| filled("DCC_EMAILLOG_WHOM_TO_BLAME"))
            .unwrap_or_else(|| RECIPIENT.into());
        Ok(PumpSettings {
            port: filled("INCLUDE_SERVER_PORT").map(PathBuf::from),
            discrepancy_max: number(lookup("DISTCC_MAX_DISCREPANCY"))?,
            fresh_excluded: filled("DISTCC_EXCLUDE_FRESH_FILES"),
            mail_to: mail.then_some(recipient),
        })
    }

    /// The file that has a byte for each discrepancy of this build.
    pub fn discrepancy_file(&self) -> Option<PathBuf> {
        self.beside_socket("discrepancy_counter")
    }

    /// The file that is there once the user has been told why a file of this build did not go by pump mode.
    pub fn told_file(&self) -> Option<PathBuf> {
        self.beside_socket("told")
    }

    /// The file that is younger than a while if the include server of this build was silent for too long.
    pub fn silence_file(&self) -> Option<PathBuf> {
        self.beside_socket("silent")
    }

    /// As with stock, only a socket of the usual name has a folder of its own.
    fn beside_socket(&self, name: &str) -> Option<PathBuf> {
        let port = self.port.as_ref()?;
        let has_folder = port
            .parent()
            .is_some_and(|folder| !folder.as_os_str().is_empty());
        (has_folder && port.file_name() == Some(SOCKET.as_ref())).then(|| port.with_file_name(name))
    }
}

fn number(value: Option<OsString>) -> Result<u64> {
    let Some(value) = value else {
        return Ok(DISCREPANCY_MAX);
    };
    let text = value.to_string_lossy();
    match text.trim().parse() {
        Ok(number @ 1..) => Ok(number),
        _ => Err(Error::new(
            Code::BadArguments,
            format!("DISTCC_MAX_DISCREPANCY is '{text}', but must be a number above 0"),
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<PumpSettings> {
        PumpSettings::read(|name| {
            let found = pairs.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn an_empty_environment_means_no_pump_mode() {
        let settings = read(&[("INCLUDE_SERVER_PORT", "")]).unwrap();
        assert_eq!((settings.port, settings.mail_to), (None, None));
        assert_eq!(settings.discrepancy_max, DISCREPANCY_MAX);
    }

    #[test]
    fn the_threshold_is_a_number_above_nothing() {
        let value = |value| read(&[("DISTCC_MAX_DISCREPANCY", value)]);
        assert_eq!(value(" 3").unwrap().discrepancy_max, 3);
        for odd in ["0", "-1", "", "many", "3x"] {
            let err = value(odd).unwrap_err();
            assert_eq!(err.code, Code::BadArguments, "{odd}");
            assert!(err.message.contains("DISTCC_MAX_DISCREPANCY is '"), "{err}");
        }
    }

    #[test]
    fn files_lie_beside_a_socket_of_the_usual_name() {
        for (port, file) in [
            ("/tmp/abc/socket", Some("/tmp/abc/discrepancy_counter")),
            ("abc/socket", Some("abc/discrepancy_counter")),
            ("socket", None),
            ("/tmp/abc/other", None),
        ] {
            let settings = read(&[("INCLUDE_SERVER_PORT", port)]).unwrap();
            assert_eq!(
                settings.discrepancy_file(),
                file.map(PathBuf::from),
                "{port}"
            );
        }
    }

    #[test]
    fn mail_is_sent_only_if_it_is_asked_for() {
        let on = ("DISTCC_ENABLE_DISCREPANCY_EMAIL", "1");
        let to = |pairs: &[(&str, &str)]| read(pairs).unwrap().mail_to;
        assert_eq!(to(&[on]), Some(RECIPIENT.into()));
        let other = ("DCC_EMAILLOG_WHOM_TO_BLAME", "other");
        let me = ("DISTCC_EMAILLOG_WHOM_TO_BLAME", "me");
        assert_eq!(to(&[on, other]), Some("other".into()));
        assert_eq!(to(&[on, other, me]), Some("me".into()));
        assert_eq!(to(&[other, me]), None);
    }
}
