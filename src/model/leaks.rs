//! What a stock daemon leaves in a pump job's object: the folder where it had put the client's files, `/tmp/distccd_XXXXXX`.
//! In debug information it is replaced by slashes of the same number, as stock's own later daemons do; anywhere else it
//! can't be undone. Knows as much of ELF as where its sections are.

use super::wire::Reply;
use memchr::memmem;

/// What `mkdtemp` adds to the name.
const RANDOM_BYTES: usize = 6;

/// The last part of the folder's name, with the slash before it and without what `mkdtemp` adds.
const MARK: &[u8] = b"/distccd_";

/// A section that is compressed.
const SHF_COMPRESSED: u64 = 1 << 11;

/// A section that takes no room in the file.
const SHT_NOBITS: u64 = 8;

/// What was found in an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// Nothing, or nothing any more: so many places were repaired.
    Clean(usize),
    /// Something that stays.
    Leak,
}

/// Repairs what can be repaired. An object with a leak must not be used.
pub fn repair(object: &mut [u8]) -> Found {
    let marks = memmem::find_iter(object, MARK);
    let places: Vec<usize> = marks.filter(|at| is_root(object, *at)).collect();
    if places.is_empty() {
        return Found::Clean(0);
    }
    let Some(debug) = debug_sections(object) else {
        return Found::Leak;
    };
    for at in &places {
        let at = *at;
        let Some(section) = debug.iter().find(|(from, to)| (*from..*to).contains(&at)) else {
            return Found::Leak;
        };
        let start = root_start(&object[section.0..at]) + section.0;
        object[start..at + MARK.len() + RANDOM_BYTES].fill(b'/');
    }
    Found::Clean(places.len())
}

/// Whether anything of an answer tells of such a folder, after what can be repaired was.
pub fn betray(reply: &mut Reply) -> bool {
    let object = reply.object.as_deref_mut().unwrap_or_default();
    repair(object) == Found::Leak
        || [&reply.stderr, &reply.stdout]
            .into_iter()
            .chain(&reply.deps)
            .any(|text| shows_root(text))
}

/// Whether text tells of such a folder; text is not repaired.
pub fn shows_root(text: &[u8]) -> bool {
    memmem::find_iter(text, MARK).any(|at| is_root(text, at))
}

fn is_root(bytes: &[u8], at: usize) -> bool {
    let random = at + MARK.len();
    bytes
        .get(random..random + RANDOM_BYTES)
        .is_some_and(|random| random.iter().all(u8::is_ascii_alphanumeric))
}

/// Where the path that ends with `before` begins: at the first slash after the last byte that no path has.
fn root_start(before: &[u8]) -> usize {
    let is_end = |byte: &u8| byte.is_ascii_control();
    let run = before.iter().rposition(is_end).map_or(0, |end| end + 1);
    let slash = memchr::memchr(b'/', &before[run..]);
    slash.map_or(before.len(), |slash| run + slash)
}

/// From where to where the sections of debug information are; `None` if that can't be told of all of them.
fn debug_sections(object: &[u8]) -> Option<Vec<(usize, usize)>> {
    let elf = Elf::read(object)?;
    let names = elf.section(elf.names)?;
    let mut found = Vec::new();
    for index in 0..elf.count {
        let section = elf.section(index)?;
        let name = object.get(names.from.checked_add(section.name)?..names.to)?;
        if !name.starts_with(b".debug_") || section.kind == SHT_NOBITS {
            continue;
        }
        if section.flags & SHF_COMPRESSED != 0 {
            return None;
        }
        found.push((section.from, section.to));
    }
    Some(found)
}

/// An ELF file's list of sections.
struct Elf<'o> {
    bytes: &'o [u8],
    wide: bool,
    little: bool,
    /// Where the list is, how long an entry is and how many there are.
    at: usize,
    entry: usize,
    count: usize,
    /// The number of the section that holds their names.
    names: usize,
}

/// A section as far as it is of interest.
struct Section {
    name: usize,
    kind: u64,
    flags: u64,
    from: usize,
    to: usize,
}

impl<'o> Elf<'o> {
    fn read(bytes: &'o [u8]) -> Option<Elf<'o>> {
        let head = bytes.get(..16)?;
        if !head.starts_with(b"\x7fELF") {
            return None;
        }
        let (wide, little) = (head[4] == 2, head[5] == 1);
        let mut elf = Elf {
            bytes,
            wide,
            little,
            at: 0,
            entry: 0,
            count: 0,
            names: 0,
        };
        let [at, entry, count, names] = match wide {
            true => [0x28, 0x3a, 0x3c, 0x3e],
            false => [0x20, 0x2e, 0x30, 0x32],
        };
        elf.at = elf.word(at)?;
        elf.entry = elf.number(entry, 2)?;
        elf.count = elf.number(count, 2)?;
        elf.names = elf.number(names, 2)?;
        // More sections than a short number counts: the first, otherwise empty entry says how many, and which has the names.
        if elf.at != 0 && elf.count == 0 {
            elf.count = elf.word(elf.at.checked_add(if wide { 0x20 } else { 0x14 })?)?;
        }
        if elf.names == 0xffff {
            elf.names = elf.number(elf.at.checked_add(if wide { 0x28 } else { 0x18 })?, 4)?;
        }
        let length = elf.entry.checked_mul(elf.count)?;
        bytes.get(elf.at..elf.at.checked_add(length)?)?;
        Some(elf)
    }

    fn section(&self, index: usize) -> Option<Section> {
        if index >= self.count {
            return None;
        }
        let at = self.at.checked_add(index.checked_mul(self.entry)?)?;
        let [flags, offset, size] = match self.wide {
            true => [0x08, 0x18, 0x20],
            false => [0x08, 0x10, 0x14],
        };
        let from = self.word(at + offset)?;
        let kind = self.number(at + 4, 4)? as u64;
        let length = match kind {
            SHT_NOBITS => 0,
            _ => self.word(at + size)?,
        };
        let to = from.checked_add(length)?;
        (to <= self.bytes.len()).then_some(Section {
            name: self.number(at, 4)?,
            kind,
            flags: self.word(at + flags)? as u64,
            from,
            to,
        })
    }

    fn word(&self, at: usize) -> Option<usize> {
        self.number(at, if self.wide { 8 } else { 4 })
    }

    fn number(&self, at: usize, length: usize) -> Option<usize> {
        let bytes = self.bytes.get(at..at.checked_add(length)?)?;
        let join = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        let number = match self.little {
            true => bytes.iter().rev().fold(0, join),
            false => bytes.iter().fold(0, join),
        };
        usize::try_from(number).ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    /// An object with these sections, each with its flags.
    fn elf(wide: bool, little: bool, sections: &[(&str, u64, &[u8])]) -> Vec<u8> {
        let put = |out: &mut Vec<u8>, number: u64, length: usize| {
            let bytes = number.to_le_bytes();
            match little {
                true => out.extend(&bytes[..length]),
                false => out.extend(bytes[..length].iter().rev()),
            }
        };
        let (word, head, entry) = if wide { (8, 64, 64) } else { (4, 52, 40) };
        let mut names = b"\0.shstrtab\0".to_vec();
        let mut body: Vec<u8> = Vec::new();
        let mut list = vec![0; entry];
        let add = |list: &mut Vec<u8>, name: u64, flags: u64, at: usize, length: usize| {
            let start = list.len();
            put(list, name, 4);
            put(list, 1, 4);
            put(list, flags, word);
            put(list, 0, word);
            put(list, at as u64, word);
            put(list, length as u64, word);
            list.resize(start + entry, 0);
        };
        for (name, flags, content) in sections {
            let at = names.len();
            names.extend(name.bytes().chain([0]));
            add(
                &mut list,
                at as u64,
                *flags,
                head + body.len(),
                content.len(),
            );
            body.extend(*content);
        }
        add(&mut list, 1, 0, head + body.len(), names.len());
        body.extend(&names);
        let mut out = b"\x7fELF".to_vec();
        out.extend([if wide { 2 } else { 1 }, if little { 1 } else { 2 }, 1]);
        out.resize(if wide { 0x28 } else { 0x20 }, 0);
        put(&mut out, (head + body.len()) as u64, word);
        out.resize(if wide { 0x3a } else { 0x2e }, 0);
        for number in [entry, sections.len() + 2, sections.len() + 1] {
            put(&mut out, number as u64, 2);
        }
        out.extend(body);
        out.extend(list);
        out
    }

    const STRINGS: &[u8] = b"GNU C\0/tmp/distccd_Ab1Cd2/home/x\0int\0/var/t m/distccd_Ab1Cd2\0";

    #[test]
    fn debug_information_is_repaired_in_place() {
        for (wide, little) in [(true, true), (true, false), (false, true), (false, false)] {
            let sections: &[(&str, u64, &[u8])] = &[
                (".text", 0, b"code"),
                (".debug_line_str", 0, STRINGS),
                (".debug_info", 0, b"\x01\x02/tmp/distccd_Ab1Cd2/x.c\0"),
            ];
            let mut object = elf(wide, little, sections);
            let length = object.len();
            assert_eq!(repair(&mut object), Found::Clean(3));
            assert_eq!(object.len(), length);
            let slashes = |count| "/".repeat(count);
            for repaired in [
                format!("GNU C\0{}home/x\0int\0{}\0", slashes(20), slashes(23)),
                format!("\x01\x02{}x.c\0", slashes(20)),
            ] {
                assert!(memmem::find(&object, repaired.as_bytes()).is_some());
            }
        }
    }

    #[test]
    fn elsewhere_it_is_a_leak() {
        let leak = &b"/tmp/distccd_Ab1Cd2/x.c\0"[..];
        for sections in [
            &[(".rodata", 0, leak), (".debug_str", 0, &b"x"[..])][..],
            &[(".debug_str", SHF_COMPRESSED, leak)],
            &[(".debug_str", 0, leak), (".strtab", 0, leak)],
        ] {
            assert_eq!(repair(&mut elf(true, true, sections)), Found::Leak);
        }
        assert_eq!(repair(&mut leak.to_vec()), Found::Leak);
        assert_eq!(
            repair(&mut b"\t.string \"/tmp/distccd_Ab1Cd2\"".to_vec()),
            Found::Leak
        );
        assert!(shows_root(leak));
    }

    #[test]
    fn what_only_looks_alike_is_left_alone() {
        let mut object = elf(
            true,
            true,
            &[(".rodata", 0, b"/distccd_serve_one distccd_abcdef")],
        );
        let before = object.clone();
        assert_eq!(repair(&mut object), Found::Clean(0));
        assert_eq!(object, before);
        assert!(!shows_root(&before));
        assert_eq!(repair(&mut []), Found::Clean(0));
    }

    proptest! {
        #[test]
        fn damage_is_never_a_panic(at in 0usize..400, noise in proptest::collection::vec(any::<u8>(), 1..40), cut in 0usize..600) {
            let mut object = elf(true, true, &[(".debug_str", 0, STRINGS), (".text", 0, b"x")]);
            let end = object.len().min(at + noise.len());
            let at = at.min(end);
            object[at..end].copy_from_slice(&noise[..end - at]);
            object.truncate(cut.max(1));
            let _ = repair(&mut object);
        }
    }
}
