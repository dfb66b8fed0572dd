//! Macros that compilers make up where they stand: `__FILE__`, `__LINE__`…, and the operators that look like macros:
//! `__has_include`, `__has_attribute`…

use super::files::Origin;
use super::interner::{intern, known, Id};
use super::punt::Punt;
use super::resolve::{Asked, Asker};
use super::tokens::{Kind, Token, SPACE};
use super::unit::World;
use super::walker::{unknown, Walker};

/// A header as it is named in a directive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// The name.
    pub name: Id,
    /// `<…>`
    pub angle: bool,
}

impl<W: World + ?Sized> Walker<'_, W> {
    /// What a made-up macro stands for; the name itself if the compiler does not know it.
    pub(super) fn made_up(&mut self, name: Token) -> Result<Token, Punt> {
        let (kind, text) = match name.id {
            known::FILE => (Kind::String, quoted(&self.file_name()?)),
            known::BASE_FILE => {
                self.names_source = true;
                (Kind::String, quoted(&self.base_file()?))
            }
            known::LINE => (Kind::Number, self.line()?.to_string().into_bytes()),
            known::INCLUDE_LEVEL => (Kind::Number, self.level()?.to_string().into_bytes()),
            known::COUNTER if !self.live => (Kind::Number, b"0".to_vec()),
            known::COUNTER => return Err(Punt::new("a directive counts on __COUNTER__")),
            known::DATE | known::TIME | known::TIMESTAMP => {
                return Err(Punt::new("a directive asks for the time"))
            }
            known::PRAGMA => return Err(Punt::new("a directive holds _Pragma")),
            _ if !self.is_operator(name.id)? => return Ok(name),
            known::FILE_NAME => {
                let name = self.file_name()?;
                let slash = name.iter().rposition(|byte| *byte == b'/');
                let base = &name[slash.map_or(0, |slash| slash + 1)..];
                (Kind::String, quoted(base))
            }
            operator => (
                Kind::Number,
                self.operator(operator)?.to_string().into_bytes(),
            ),
        };
        let mut made = Token::new(kind, intern(&text));
        made.flags = name.flags & SPACE;
        Ok(made)
    }

    fn file_name(&self) -> Result<Vec<u8>, Punt> {
        let odd = || Punt::new("a directive asks for __FILE__ where that is not sure");
        let frame = self.frames.last().ok_or_else(odd)?;
        let (path, _) = frame.file.ok_or_else(odd)?;
        let aliased = self.clang && self.resolver.has_other_name(path);
        if frame.renamed || self.unit.maps_names || aliased {
            return Err(odd());
        }
        Ok(self.resolver.files.spelled(path).to_vec())
    }

    fn base_file(&self) -> Result<Vec<u8>, Punt> {
        match self.unit.maps_names {
            false => Ok(self.unit.source.to_vec()),
            true => Err(Punt::new("a directive asks for __BASE_FILE__")),
        }
    }

    fn line(&self) -> Result<u32, Punt> {
        let renamed = self.frames.last().is_some_and(|frame| frame.renamed);
        match self.here.single && !renamed {
            true => Ok(self.here.line),
            false => Err(Punt::new(
                "a directive asks for __LINE__ where that is not sure",
            )),
        }
    }

    fn level(&self) -> Result<usize, Punt> {
        // The source counts even before it has been begun.
        let levels = self.frames.len() + usize::from(!self.in_source);
        match self
            .frames
            .first()
            .is_some_and(|frame| frame.file.is_some())
        {
            true => Ok(levels.saturating_sub(1)),
            false => Err(Punt::new("a macro of the command line asks for its level")),
        }
    }

    fn operator(&mut self, operator: Id) -> Result<i64, Punt> {
        match operator {
            known::HAS_INCLUDE => self.has_include(false),
            known::HAS_INCLUDE_NEXT => self.has_include(true),
            known::HAS_EMBED => self.has_embed(),
            _ => {
                let operand = self.operand(operator)?;
                if !self.live {
                    return Ok(0);
                }
                let answer = self.world.ask(operator.spelling(), &operand);
                answer.ok_or_else(|| unknown(operator.spelling(), &operand))
            }
        }
    }

    fn expect(&mut self, punctuator: Id) -> Result<(), Punt> {
        match self.next()? {
            Some(token) if token.is(punctuator) => Ok(()),
            _ => Err(Punt::new("an operator without its parentheses")),
        }
    }

    fn has_include(&mut self, next: bool) -> Result<i64, Punt> {
        self.expect(known::OPEN)?;
        if self.is_less_of_the_line() {
            return Err(Punt::new("a macro stands for __has_include"));
        }
        let header = self.header()?;
        self.expect(known::CLOSE)?;
        if !self.live && !self.clang {
            // gcc does not look for what does not count.
            return Ok(0);
        }
        let asked = Asked {
            name: header.name,
            angle: header.angle,
            next,
            system: self.is_system(),
        };
        let found = self.find(asked)?;
        if found.is_none() && next && !self.clang && self.is_beyond() {
            return Err(Punt::new("__has_include_next behind the last folder"));
        }
        if let Some(object) = found {
            let path = self.resolver.files.object(object).path;
            self.probe(path);
        }
        Ok(i64::from(found.is_some()))
    }

    /// Does `<` come next, in the line itself, and not as the start of a header's name? The operator was made by a macro
    /// then; compilers take what follows for a name all the same.
    fn is_less_of_the_line(&self) -> bool {
        match &self.contexts[..] {
            [line] => line
                .slice()
                .get(line.at)
                .is_some_and(|token| token.is(known::LESS)),
            _ => false,
        }
    }

    /// Is the file that is being read from the last folder? There gcc 12 makes an error of `__has_include_next`.
    fn is_beyond(&self) -> bool {
        let last = self.unit.search.dirs.len();
        matches!(self.asker(), Asker::Header(_, Origin::Chain(at)) if at as usize + 1 >= last)
    }

    /// 0: not found, 1: found, 2: found and empty.
    fn has_embed(&mut self) -> Result<i64, Punt> {
        self.expect(known::OPEN)?;
        let header = self.header()?;
        self.expect(known::CLOSE)?;
        let Some(path) = self.embedded(header)? else {
            return Ok(0);
        };
        self.probe(path);
        let file = self.resolver.files.path(path).file;
        let scan = self.scan(file.map_or(u32::MAX, |file| file.scan))?;
        Ok(if scan.is_empty { 2 } else { 1 })
    }

    /// Where an embedded file is; only the folder of the file that asks is searched, as no other is given.
    pub(super) fn embedded(
        &mut self,
        header: Header,
    ) -> Result<Option<super::files::PathId>, Punt> {
        let name = header.name.spelling();
        let path = match (name.first(), self.asker()) {
            (Some(b'/'), _) => {
                self.closure.absolute_include = true;
                self.resolver.files.open(self.world, name)
            }
            (Some(_), Asker::Source(path) | Asker::Header(path, _)) if !header.angle => {
                let from = self.resolver.files.spelled(path).to_vec();
                let slash = from.iter().rposition(|byte| *byte == b'/');
                let dir = &from[..slash.map_or(0, |slash| slash + 1)];
                self.resolver.files.open_in(self.world, dir, name)
            }
            _ => return Err(Punt::new("an #embed whose file is not beside it")),
        };
        Ok(self.resolver.files.exists(path).then_some(path))
    }

    /// A header's name from the tokens to come.
    pub(super) fn header(&mut self) -> Result<Header, Punt> {
        let odd = || Punt::new("a header without a name");
        let token = self.next()?.ok_or_else(odd)?;
        let text = token.id.spelling();
        match token.kind {
            Kind::HeaderName => {
                let inside = text
                    .strip_prefix(b"<")
                    .and_then(|text| text.strip_suffix(b">"));
                let name = intern(inside.ok_or_else(odd)?);
                Ok(Header { name, angle: true })
            }
            Kind::String => {
                let inside = text
                    .strip_prefix(b"\"")
                    .and_then(|text| text.strip_suffix(b"\""));
                let inside = inside.ok_or_else(odd)?;
                if self.clang && inside.contains(&b'\\') {
                    return Err(Punt::new(
                        "a header's name with a backslash, made by macros",
                    ));
                }
                let name = intern(inside);
                Ok(Header { name, angle: false })
            }
            _ if token.is(known::LESS) => self.glued(),
            _ => Err(odd()),
        }
    }

    /// What stands between `<` and `>`, each token as it is spelled, white space as one blank.
    fn glued(&mut self) -> Result<Header, Punt> {
        const NAME_BYTES_MAX: usize = 1 << 16;
        let mut name = Vec::new();
        loop {
            let Some(token) = self.next()? else {
                return Err(Punt::new("a header's name without its >"));
            };
            let ends = token.is(known::GREATER);
            // gcc leaves out the blank before the end.
            if token.has(SPACE) && (!ends || self.clang) {
                name.push(b' ');
            }
            if ends {
                let name = intern(&name);
                return Ok(Header { name, angle: true });
            }
            name.extend_from_slice(token.id.spelling());
            if name.len() > NAME_BYTES_MAX {
                return Err(Punt::new("a header's name is too long"));
            }
        }
    }

    /// The operand of `operator` up to its `)`: a name, perhaps with scopes, or a string.
    fn operand(&mut self, operator: Id) -> Result<Vec<u8>, Punt> {
        let odd = || Punt::new("an operator with an odd operand");
        self.expect(known::OPEN)?;
        let expands = self.expands_operand(operator)?;
        let mut operand = Vec::new();
        loop {
            let token = match expands {
                true => self.next()?,
                false => self.next_plain()?,
            };
            let token = token.ok_or_else(odd)?;
            match token.kind {
                Kind::Punctuator if token.id == known::CLOSE => break,
                Kind::Identifier | Kind::Number | Kind::String => {}
                Kind::Punctuator if matches!(token.id, known::SCOPE | known::COLON) => {}
                _ => return Err(odd()),
            }
            operand.extend_from_slice(token.id.spelling());
        }
        match operand.is_empty() {
            true => Err(odd()),
            false => Ok(operand),
        }
    }

    /// gcc expands macros in all operands; clang in those of attributes, since version 14.
    fn expands_operand(&mut self, operator: Id) -> Result<bool, Punt> {
        let is_attribute = matches!(
            operator,
            known::HAS_ATTRIBUTE
                | known::HAS_CPP_ATTRIBUTE
                | known::HAS_C_ATTRIBUTE
                | known::HAS_DECLSPEC_ATTRIBUTE
        );
        if !self.clang {
            return Ok(true);
        }
        Ok(is_attribute && self.unit.compiler.standard.major >= 14)
    }
}

/// As a string literal.
fn quoted(text: &[u8]) -> Vec<u8> {
    let mut out = vec![b'"'];
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out.push(b'"');
    out
}
