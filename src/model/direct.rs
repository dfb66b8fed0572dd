//! What our client and our include server say to each other: one question and one answer on a Unix socket, in the
//! framing of the network protocol. The answer holds the entries of the pump request as they will travel, so the client
//! need only pass them on; or the include server holds them back, to send them itself (see [`super::sending`]).

use super::packets::{check, put_head, Grammar, Limits, Packets, Tag, WireError};
use super::wire::{put_text, put_words};

/// The version of this conversation. Client and server are one executable; another version is an older or newer one.
const VERSION: usize = 2;

/// What the client asks: which files does this compile need?
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Query {
    /// The working directory as the system names it.
    pub cwd: Vec<u8>,
    /// The working directory as `$PWD` names it; `cwd` if that is unset or elsewhere.
    pub pwd: Vec<u8>,
    /// The compiler's file, absolute.
    pub program: Vec<u8>,
    /// The command; its first word is the compiler as the user named it. Response files are expanded.
    pub argv: Vec<Vec<u8>>,
    /// `NAME=VALUE` of each of [`super::about::VARIABLES`] that is set.
    pub variables: Vec<Vec<u8>>,
    /// Send the system headers, too: the host's own are others.
    pub hermetic: bool,
    /// The host's daemon is one of stock's: where a path is spelled absolutely, its text is to name it; and no two files may
    /// be taken for one because all are as old there.
    pub for_stock: bool,
    /// The entries may be held back: the client will hand over a connection to a host.
    pub hands_over: bool,
    /// Files that a host missed in an answer before this one, absolute or relative to `cwd`.
    pub missed: Vec<Vec<u8>>,
}

/// What the include server answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// These are the files.
    Covered(Covered),
    /// They can't be named; the compile must go another way. For people.
    NotCovered(String),
}

/// The files that a compile needs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Covered {
    /// The job is exact only on a host that shows the client's paths: for any other answer it is to be done again.
    pub needs_ours: bool,
    /// Some file has an absolute name by which a daemon of stock's does not know it: for such a host it is to be asked for
    /// again, with `for_stock`.
    pub spelled_absolutely: bool,
    /// How many entries there are.
    pub entry_count: u32,
    /// `NAME`, and `FILE` or `LINK`, of each entry, the one for our own daemon included.
    pub entries: Vec<u8>,
    /// If `entries` were held back: how many bytes they are.
    pub held_bytes: Option<u32>,
}

/// Where the entries of an answer go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum To {
    /// To the client: they follow.
    Client,
    /// To a host: they are held back until it is known which.
    Host,
}

impl Query {
    /// As bytes.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        let mut out = Vec::with_capacity(1024);
        put_head(&mut out, b"DRCT", VERSION)?;
        put_text(&mut out, b"CDIR", &self.cwd, "the working directory")?;
        put_text(&mut out, b"PDIR", &self.pwd, "the working directory")?;
        put_text(&mut out, b"PROG", &self.program, "the compiler")?;
        put_head(&mut out, b"HERM", usize::from(self.hermetic))?;
        put_head(&mut out, b"STCK", usize::from(self.for_stock))?;
        put_head(&mut out, b"HAND", usize::from(self.hands_over))?;
        put_list(&mut out, b"VARC", &self.variables)?;
        put_list(&mut out, b"MISC", &self.missed)?;
        let words: Vec<&[u8]> = self.argv.iter().map(Vec::as_slice).collect();
        put_words(&mut out, &words)?;
        Ok(out)
    }
}

/// A number, and so many strings.
fn put_list(out: &mut Vec<u8>, tag: &[u8; 4], list: &[Vec<u8>]) -> Result<(), WireError> {
    put_head(out, tag, list.len())?;
    for text in list {
        put_text(out, b"ITEM", text, "an item")?;
    }
    Ok(())
}

impl Covered {
    /// The answer's beginning; `entries_length` bytes of entries follow, written by the caller, unless they go to a host.
    pub fn encode_head(
        needs_ours: bool,
        spelled_absolutely: bool,
        entry_count: usize,
        entries_length: usize,
        to: To,
    ) -> Result<Vec<u8>, WireError> {
        let mut out = Vec::with_capacity(64);
        put_head(&mut out, b"DRCT", VERSION)?;
        put_head(&mut out, b"OURS", usize::from(needs_ours))?;
        put_head(&mut out, b"ABSL", usize::from(spelled_absolutely))?;
        put_head(&mut out, b"NFIL", entry_count)?;
        let tag = match to {
            To::Client => b"BODY",
            To::Host => b"HELD",
        };
        put_head(&mut out, tag, entries_length)?;
        Ok(out)
    }
}

/// The answer that there is none, as bytes.
pub fn encode_not_covered(why: &str) -> Result<Vec<u8>, WireError> {
    let mut out = Vec::with_capacity(64 + why.len());
    put_head(&mut out, b"DRCT", VERSION)?;
    put_head(&mut out, b"WHYN", why.len())?;
    out.extend_from_slice(why.as_bytes());
    Ok(out)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum QueryDue {
    Version,
    Cwd,
    Pwd,
    Program,
    Hermetic,
    ForStock,
    HandsOver,
    VariableCount,
    Variable(u32),
    MissedCount,
    Missed(u32),
    WordCount,
    Word(u32),
    Nothing,
}

/// The order of a query's packets.
#[derive(Debug)]
pub struct QueryGrammar {
    due: QueryDue,
    limits: Limits,
    bytes: usize,
    query: Query,
}

/// Bytes → query.
pub type QueryDecoder = Packets<QueryGrammar>;

impl QueryDecoder {
    /// A decoder that has read nothing yet.
    pub fn for_queries(limits: Limits) -> Self {
        Packets::new(QueryGrammar {
            due: QueryDue::Version,
            limits,
            bytes: 0,
            query: Query::default(),
        })
    }

    /// The query, or why the bytes were none; for when no more will come.
    pub fn query(self) -> Result<Query, WireError> {
        Ok(self.finish()?.query)
    }
}

impl QueryGrammar {
    fn count(&self, number: u32) -> Result<u32, WireError> {
        let max = self.limits.argument_count_max as usize;
        check("arguments", number as usize, max)?;
        Ok(number)
    }

    fn after(&self) -> QueryDue {
        match self.due {
            QueryDue::Cwd => QueryDue::Pwd,
            QueryDue::Pwd => QueryDue::Program,
            QueryDue::Program => QueryDue::Hermetic,
            QueryDue::Variable(1) | QueryDue::VariableCount => QueryDue::MissedCount,
            QueryDue::Variable(left) => QueryDue::Variable(left - 1),
            QueryDue::Missed(1) | QueryDue::MissedCount => QueryDue::WordCount,
            QueryDue::Missed(left) => QueryDue::Missed(left - 1),
            QueryDue::Word(1) => QueryDue::Nothing,
            QueryDue::Word(left) => QueryDue::Word(left - 1),
            other => other,
        }
    }
}

impl Grammar for QueryGrammar {
    fn due(&self) -> Option<&'static str> {
        Some(match self.due {
            QueryDue::Version => "the version of a query (DRCT)",
            QueryDue::Cwd => "the working directory (CDIR)",
            QueryDue::Pwd => "the name of the working directory (PDIR)",
            QueryDue::Program => "the compiler (PROG)",
            QueryDue::Hermetic => "whether system headers are wanted (HERM)",
            QueryDue::ForStock => "whether the host is stock's (STCK)",
            QueryDue::HandsOver => "whether a connection is handed over (HAND)",
            QueryDue::VariableCount => "the number of variables (VARC)",
            QueryDue::MissedCount => "the number of missed files (MISC)",
            QueryDue::Variable(_) | QueryDue::Missed(_) => "an item (ITEM)",
            QueryDue::WordCount => "the number of arguments (ARGC)",
            QueryDue::Word(_) => "an argument (ARGV)",
            QueryDue::Nothing => return None,
        })
    }

    fn head(&mut self, tag: Tag, number: u32) -> Result<Option<usize>, Option<WireError>> {
        match (self.due, &tag.0) {
            (QueryDue::Version, b"DRCT") if number as usize == VERSION => {
                self.due = QueryDue::Cwd;
                return Ok(None);
            }
            (QueryDue::Version, b"DRCT") => return Err(Some(WireError::Version(number))),
            (QueryDue::Hermetic, b"HERM") => {
                self.query.hermetic = number != 0;
                self.due = QueryDue::ForStock;
                return Ok(None);
            }
            (QueryDue::ForStock, b"STCK") => {
                self.query.for_stock = number != 0;
                self.due = QueryDue::HandsOver;
                return Ok(None);
            }
            (QueryDue::HandsOver, b"HAND") => {
                self.query.hands_over = number != 0;
                self.due = QueryDue::VariableCount;
                return Ok(None);
            }
            (QueryDue::VariableCount, b"VARC") if number > 0 => {
                self.due = QueryDue::Variable(self.count(number)?);
                return Ok(None);
            }
            (QueryDue::MissedCount, b"MISC") if number > 0 => {
                self.due = QueryDue::Missed(self.count(number)?);
                return Ok(None);
            }
            (QueryDue::VariableCount, b"VARC") | (QueryDue::MissedCount, b"MISC") => {
                self.due = self.after();
                return Ok(None);
            }
            (QueryDue::WordCount, b"ARGC") if number == 0 => {
                return Err(Some(WireError::NoArguments))
            }
            (QueryDue::WordCount, b"ARGC") => {
                self.due = QueryDue::Word(self.count(number)?);
                return Ok(None);
            }
            (QueryDue::Cwd, b"CDIR")
            | (QueryDue::Pwd, b"PDIR")
            | (QueryDue::Program, b"PROG")
            | (QueryDue::Variable(_) | QueryDue::Missed(_), b"ITEM")
            | (QueryDue::Word(_), b"ARGV") => {}
            _ => return Err(None),
        }
        self.bytes = self.bytes.saturating_add(number as usize);
        check(
            "bytes of a query",
            self.bytes,
            self.limits.argument_bytes_max,
        )?;
        Ok(Some(number as usize))
    }

    fn body(&mut self, body: Vec<u8>) -> Result<(), WireError> {
        if body.contains(&0) {
            return Err(WireError::Nul("a query"));
        }
        let query = &mut self.query;
        match self.due {
            QueryDue::Cwd => query.cwd = body,
            QueryDue::Pwd => query.pwd = body,
            QueryDue::Program => query.program = body,
            QueryDue::Variable(_) => query.variables.push(body),
            QueryDue::Missed(_) => query.missed.push(body),
            QueryDue::Word(_) => query.argv.push(body),
            _ => {}
        }
        self.due = self.after();
        Ok(())
    }

    fn memory(&self) -> usize {
        let query = &self.query;
        let lists = [&query.argv, &query.variables, &query.missed];
        let list = |list: &Vec<Vec<u8>>| {
            let words = list.iter().map(Vec::capacity).sum::<usize>();
            words + list.capacity() * size_of::<Vec<u8>>()
        };
        let single = query.cwd.capacity() + query.pwd.capacity() + query.program.capacity();
        single + lists.into_iter().map(list).sum::<usize>()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum AnswerDue {
    Version,
    Kind,
    Spelling,
    Count,
    Body,
    Nothing,
}

/// The order of an answer's packets.
#[derive(Debug)]
pub struct AnswerGrammar {
    due: AnswerDue,
    limits: Limits,
    answer: Answer,
}

/// Bytes → answer.
pub type AnswerDecoder = Packets<AnswerGrammar>;

impl AnswerDecoder {
    /// A decoder that has read nothing yet.
    pub fn for_answers(limits: Limits) -> Self {
        Packets::new(AnswerGrammar {
            due: AnswerDue::Version,
            limits,
            answer: Answer::Covered(Covered::default()),
        })
    }

    /// The answer, or why the bytes were none; for when no more will come.
    pub fn answer(self) -> Result<Answer, WireError> {
        Ok(self.finish()?.answer)
    }
}

impl Grammar for AnswerGrammar {
    fn due(&self) -> Option<&'static str> {
        Some(match self.due {
            AnswerDue::Version => "the version of an answer (DRCT)",
            AnswerDue::Kind => "an answer (OURS, WHYN)",
            AnswerDue::Spelling => "how names are spelled (ABSL)",
            AnswerDue::Count => "the number of files (NFIL)",
            AnswerDue::Body => "the files (BODY, HELD)",
            AnswerDue::Nothing => return None,
        })
    }

    fn head(&mut self, tag: Tag, number: u32) -> Result<Option<usize>, Option<WireError>> {
        let length = number as usize;
        match (self.due, &tag.0, &mut self.answer) {
            (AnswerDue::Version, b"DRCT", _) if length == VERSION => self.due = AnswerDue::Kind,
            (AnswerDue::Version, b"DRCT", _) => return Err(Some(WireError::Version(number))),
            (AnswerDue::Kind, b"OURS", Answer::Covered(covered)) => {
                covered.needs_ours = number != 0;
                self.due = AnswerDue::Spelling;
            }
            (AnswerDue::Spelling, b"ABSL", Answer::Covered(covered)) => {
                covered.spelled_absolutely = number != 0;
                self.due = AnswerDue::Count;
            }
            (AnswerDue::Kind, b"WHYN", answer) => {
                check("bytes of a reason", length, self.limits.argument_bytes_max)?;
                *answer = Answer::NotCovered(String::new());
                self.due = AnswerDue::Body;
                return Ok(Some(length));
            }
            (AnswerDue::Count, b"NFIL", Answer::Covered(covered)) => {
                covered.entry_count = number;
                self.due = AnswerDue::Body;
            }
            (AnswerDue::Body, b"HELD", Answer::Covered(covered)) => {
                covered.held_bytes = Some(number);
                self.due = AnswerDue::Nothing;
            }
            (AnswerDue::Body, b"BODY", _) => {
                check("bytes of files", length, self.limits.body_bytes_max)?;
                return Ok(Some(length));
            }
            _ => return Err(None),
        }
        Ok(None)
    }

    fn body(&mut self, body: Vec<u8>) -> Result<(), WireError> {
        match &mut self.answer {
            Answer::Covered(covered) => covered.entries = body,
            Answer::NotCovered(why) => *why = String::from_utf8_lossy(&body).into_owned(),
        }
        self.due = AnswerDue::Nothing;
        Ok(())
    }

    fn memory(&self) -> usize {
        match &self.answer {
            Answer::Covered(covered) => covered.entries.capacity(),
            Answer::NotCovered(why) => why.capacity(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::packets::feed;
    use super::*;
    use proptest::prelude::*;

    fn query(bytes: &[u8]) -> Result<Query, WireError> {
        let mut decoder = QueryDecoder::for_queries(Limits::default());
        feed(&mut decoder, bytes, &[7])?;
        decoder.query()
    }

    fn answer(bytes: &[u8]) -> Result<Answer, WireError> {
        let mut decoder = AnswerDecoder::for_answers(Limits::default());
        feed(&mut decoder, bytes, &[7])?;
        decoder.answer()
    }

    fn whole() -> Query {
        let text = |text: &str| text.as_bytes().to_vec();
        Query {
            cwd: text("/real"),
            pwd: text("/link"),
            program: text("/usr/bin/gcc"),
            argv: ["gcc", "-c", "x.c"].map(text).to_vec(),
            variables: vec![text("LANG=C"), text("TZ=")],
            hermetic: true,
            for_stock: true,
            hands_over: true,
            missed: vec![text("a/b.h")],
        }
    }

    #[test]
    fn queries_come_back() {
        for asked in [
            whole(),
            Query {
                variables: Vec::new(),
                missed: Vec::new(),
                hermetic: false,
                for_stock: false,
                hands_over: false,
                ..whole()
            },
        ] {
            assert_eq!(query(&asked.encode().unwrap()).unwrap(), asked);
        }
        let bytes = whole().encode().unwrap();
        for cut in 0..bytes.len() {
            assert!(query(&bytes[..cut]).is_err(), "{cut}");
        }
        let stock = b"CDIR00000001/ARGC00000001ARGV00000003gcc";
        assert!(matches!(query(stock), Err(WireError::Unexpected { .. })));
        assert!(query(b"DRCT00000001CDIRffffffff").is_err());
    }

    #[test]
    fn answers_come_back() {
        let held = Covered {
            needs_ours: true,
            spelled_absolutely: false,
            entry_count: 3,
            entries: Vec::new(),
            held_bytes: Some(5),
        };
        let bytes = Covered::encode_head(true, false, 3, 5, To::Host).unwrap();
        assert_eq!(answer(&bytes).unwrap(), Answer::Covered(held.clone()));
        let mut bytes = Covered::encode_head(true, false, 3, 5, To::Client).unwrap();
        bytes.extend_from_slice(b"files");
        let covered = Covered {
            entries: b"files".to_vec(),
            held_bytes: None,
            ..held
        };
        assert_eq!(answer(&bytes).unwrap(), Answer::Covered(covered));
        let not = encode_not_covered("no such file").unwrap();
        let expected = Answer::NotCovered("no such file".to_owned());
        assert_eq!(answer(&not).unwrap(), expected);
        for cut in 0..bytes.len() {
            assert!(answer(&bytes[..cut]).is_err(), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn noise_is_never_a_panic(noise in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..300) {
            let _ = query(&noise);
            let _ = answer(&noise);
            let mut bytes = whole().encode().unwrap();
            let at = at.min(bytes.len());
            bytes.splice(at..at, noise);
            let _ = query(&bytes);
        }
    }
}
