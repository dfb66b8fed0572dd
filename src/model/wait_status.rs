//! How a compiler ended, in the encoding that travels on the wire: the classic Unix wait status as a 32-bit word.
//! Decoded by hand, never by the local libc, because the peer may be another system.

use super::error::Status;

/// A wait status: exit code in bits 8–15, or a signal in bits 0–6 with the core flag in bit 7.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WaitStatus(pub u32);

impl WaitStatus {
    /// Ended well.
    pub const SUCCESS: WaitStatus = WaitStatus(0);

    /// Ended by itself with `code`.
    pub fn exited(code: u8) -> Self {
        WaitStatus(u32::from(code) << 8)
    }

    /// The signal that ended it, if one did.
    pub fn signal(self) -> Option<u32> {
        match self.0 & 0x7f {
            0 => None,
            signal => Some(signal),
        }
    }

    /// The exit code, if it ended by itself.
    pub fn exit_code(self) -> Option<u8> {
        match self.signal() {
            None => Some((self.0 >> 8) as u8),
            Some(_) => None,
        }
    }

    /// Whether it ended with exit code 0. A word whose low bits say 0 but whose upper bits are set is no success.
    pub fn success(self) -> bool {
        self.0 == 0
    }

    /// What the shell shows: the exit code, or 128 + signal; 255 for a word that means neither.
    pub fn status(self) -> Status {
        match (self.signal(), (self.0 >> 8) as u8) {
            (Some(signal), _) => Status(128 + signal as u8),
            (None, 0) if self.0 != 0 => Status(255),
            (None, code) => Status(code),
        }
    }

    /// For a log line: `failed with exit code 3`, `died by signal 11 (core dumped)`.
    pub fn describe(self) -> String {
        match (self.signal(), self.status()) {
            (Some(signal), _) if self.0 & 0x80 != 0 => {
                format!("died by signal {signal} (core dumped)")
            }
            (Some(signal), _) => format!("died by signal {signal}"),
            (None, Status(0)) => "completed ok".to_owned(),
            (None, Status(1)) => "failed".to_owned(),
            (None, Status(code)) => format!("failed with exit code {code}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_recorded_sessions() {
        for (word, status, text) in [
            (0x0000, 0, "completed ok"),
            (0x0100, 1, "failed"),
            (0x0300, 3, "failed with exit code 3"),
            (0x6e00, 110, "failed with exit code 110"),
            (0x000b, 139, "died by signal 11"),
            (0x008b, 139, "died by signal 11 (core dumped)"),
            (0x10000, 255, "failed with exit code 255"),
        ] {
            assert_eq!(WaitStatus(word).status(), Status(status), "{word:x}");
            assert_eq!(WaitStatus(word).describe(), text);
        }
    }
}
