//! What the bodies of one message come to, as they travel and expanded. They are kept as they travel, so that a message
//! takes no more memory than has arrived, and are expanded by whoever takes the message when it is complete.

use super::lzo::{self, LzoError};
use super::packets::{check, Limits, WireError};
use super::wire::Version;

/// The account of one message.
#[derive(Clone, Copy, Debug)]
pub struct Bodies {
    /// What the message may come to.
    pub limits: Limits,
    travelling_bytes: usize,
    expanded_bytes: usize,
}

impl Bodies {
    /// An account without bodies.
    pub fn new(limits: Limits) -> Self {
        Bodies {
            limits,
            travelling_bytes: 0,
            expanded_bytes: 0,
        }
    }

    /// A body of this length is about to come; refused if that were too much with those before it.
    pub fn announce(&mut self, length: u32) -> Result<usize, WireError> {
        let length = length as usize;
        self.travelling_bytes = self.travelling_bytes.saturating_add(length);
        let max = self.limits.body_bytes_max;
        check("bytes in bodies", self.travelling_bytes, max)?;
        Ok(length)
    }

    /// What a body means; refused, without taking the memory, if that were too much with those opened before it.
    pub fn open(&mut self, version: Version, body: Vec<u8>) -> Result<Vec<u8>, WireError> {
        let max = self.limits.expanded_bytes_max;
        let left = max.saturating_sub(self.expanded_bytes);
        let too_much = WireError::TooMuch {
            what: "expanded bytes (at least)",
            got: (max as u64).saturating_add(1),
            max: max as u64,
        };
        let bytes = match version.compresses() {
            true => lzo::expand(&body, left).map_err(|err| match err {
                LzoError::TooLarge => too_much,
                other => WireError::Lzo(other),
            })?,
            false if body.len() > left => return Err(too_much),
            false => body,
        };
        self.expanded_bytes += bytes.len();
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn bodies_share_one_allowance() {
        let mut bodies = Bodies::new(Limits {
            body_bytes_max: 10,
            expanded_bytes_max: 1000,
            ..Limits::default()
        });
        assert_eq!(bodies.announce(6).unwrap(), 6);
        assert!(bodies.announce(5).is_err());
        assert!(bodies.announce(u32::MAX).is_err());

        let zeros = lzo::compress(&[0; 600]).unwrap();
        assert_eq!(bodies.open(Version::V2, zeros.clone()).unwrap().len(), 600);
        for (version, body) in [(Version::V2, zeros), (Version::V1, vec![0; 401])] {
            let err = bodies.open(version, body).unwrap_err();
            assert!(matches!(err, WireError::TooMuch { max: 1000, .. }), "{err}");
        }
        assert_eq!(bodies.open(Version::V1, vec![0; 400]).unwrap().len(), 400);
    }
}
