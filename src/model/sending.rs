//! What client and include server say after an answer whose entries were held back: the client hands over its connection to a
//! host with the beginning of the request, and is told how much of the whole has gone there and what has not.

use super::packets::{check, put_head, Grammar, Limits, Packets, Tag, WireError};

/// What is due of it, the next first: a number each, and the length of a body at last.
type Due = &'static [(&'static [u8; 4], &'static str)];

const BEGINNING: Due = &[(b"SEND", "the beginning of a request (SEND)")];

const GONE: Due = &[
    (b"SENT", "how much has been sent (SENT)"),
    (b"REST", "what has not been sent (REST)"),
];

/// The order of the packets.
#[derive(Debug)]
pub struct SendingGrammar {
    due: Due,
    limits: Limits,
    number: u32,
    body: Vec<u8>,
}

/// Bytes → what one of the two says.
pub type SendingDecoder = Packets<SendingGrammar>;

/// What has become of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gone {
    /// So many bytes of it were sent.
    pub sent: u32,
    /// Those that were not.
    pub rest: Vec<u8>,
}

/// The client's part; the connection goes beside it.
pub fn encode_beginning(bytes: &[u8]) -> Result<Vec<u8>, WireError> {
    let mut out = Vec::with_capacity(16 + bytes.len());
    put_head(&mut out, b"SEND", bytes.len())?;
    out.extend_from_slice(bytes);
    Ok(out)
}

/// The include server's part; `rest` bytes follow, written by the caller.
pub fn encode_gone(sent: usize, rest: usize) -> Result<Vec<u8>, WireError> {
    let mut out = Vec::with_capacity(32);
    put_head(&mut out, b"SENT", sent)?;
    put_head(&mut out, b"REST", rest)?;
    Ok(out)
}

impl SendingDecoder {
    /// For the client's part.
    pub fn for_beginnings(limits: Limits) -> Self {
        SendingDecoder::of(BEGINNING, limits)
    }

    /// For the include server's part.
    pub fn for_gone(limits: Limits) -> Self {
        SendingDecoder::of(GONE, limits)
    }

    fn of(due: Due, limits: Limits) -> Self {
        Packets::new(SendingGrammar {
            due,
            limits,
            number: 0,
            body: Vec::new(),
        })
    }

    /// The beginning of a request, or why the bytes were none; for when no more will come.
    pub fn beginning(self) -> Result<Vec<u8>, WireError> {
        Ok(self.finish()?.body)
    }

    /// What has become of a request, or why the bytes don't say it; for when no more will come.
    pub fn gone(self) -> Result<Gone, WireError> {
        let SendingGrammar { number, body, .. } = self.finish()?;
        Ok(Gone {
            sent: number,
            rest: body,
        })
    }
}

impl Grammar for SendingGrammar {
    fn due(&self) -> Option<&'static str> {
        self.due.first().map(|(_, words)| *words)
    }

    fn head(&mut self, tag: Tag, number: u32) -> Result<Option<usize>, Option<WireError>> {
        match *self.due {
            [(due, _)] if *due == tag.0 => {
                let length = number as usize;
                check("bytes of a request", length, self.limits.body_bytes_max)?;
                Ok(Some(length))
            }
            [(due, _), ref rest @ ..] if *due == tag.0 => {
                (self.number, self.due) = (number, rest);
                Ok(None)
            }
            _ => Err(None),
        }
    }

    fn body(&mut self, body: Vec<u8>) -> Result<(), WireError> {
        (self.body, self.due) = (body, &[]);
        Ok(())
    }

    fn memory(&self) -> usize {
        self.body.capacity()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::packets::feed;
    use super::*;
    use proptest::prelude::*;

    fn fed(mut decoder: SendingDecoder, bytes: &[u8]) -> Result<SendingDecoder, WireError> {
        feed(&mut decoder, bytes, &[5])?;
        Ok(decoder)
    }

    fn beginning(bytes: &[u8]) -> Result<Vec<u8>, WireError> {
        fed(SendingDecoder::for_beginnings(Limits::default()), bytes)?.beginning()
    }

    fn gone(bytes: &[u8]) -> Result<Gone, WireError> {
        fed(SendingDecoder::for_gone(Limits::default()), bytes)?.gone()
    }

    #[test]
    fn both_come_back() {
        for text in [&b""[..], b"DIST00000003ARGC"] {
            let bytes = encode_beginning(text).unwrap();
            assert_eq!(beginning(&bytes).unwrap(), text);
            let mut bytes = encode_gone(1 << 20, text.len()).unwrap();
            bytes.extend_from_slice(text);
            let expected = Gone {
                sent: 1 << 20,
                rest: text.to_vec(),
            };
            assert_eq!(gone(&bytes).unwrap(), expected);
            for cut in 0..bytes.len() {
                assert!(gone(&bytes[..cut]).is_err(), "{cut}");
            }
        }
        for odd in [&b"SENT00000001"[..], b"SENDffffffff", b"REST00000000"] {
            assert!(beginning(odd).is_err() && gone(odd).is_err());
        }
    }

    proptest! {
        #[test]
        fn noise_is_never_a_panic(noise in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = beginning(&noise);
            let _ = gone(&noise);
        }
    }
}
