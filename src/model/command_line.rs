//! One walk over a compiler's command: each word gets its role, and what makes the command fit to travel, or not,
//! is collected. Client (`invocation`) and daemon (`received`) draw their own conclusions from it.

use super::compiler_options::{Effect, Match, OptionRow, Reason, Role, Side as SideFiles, Why};
use super::family::{family, Family};
use super::handed_on::{are_harmless_to_gas, is_harmless_to_llvm, is_no_driver_option};
use super::option_table;
use super::sources::{self, SourceKind};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Whose command it is; the daemon is stricter about files, and looser about what only concerns the sender.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The user's own command.
    Client,
    /// A command that came over the network with a preprocessed text.
    Daemon,
    /// A command that came over the network with the files that it reads.
    Pump,
}

/// Where the `-o` of a command is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutputAt {
    /// Index of the word that holds the name.
    pub index: usize,
    /// The name is attached: the word is `-oNAME`.
    pub joined: bool,
}

/// Where a source file is named, and what it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InputAt {
    /// Index of the word, never 0.
    pub index: usize,
    /// By `-x` if one is in force, else by extension.
    pub kind: SourceKind,
    /// A `-x` decided.
    pub explicit: bool,
}

/// A dependency target of `-MT` (as it is) or `-MQ` (quoted for make).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target<'a> {
    /// `-MQ`
    pub quoted: bool,
    /// The name as given.
    pub name: &'a [u8],
}

/// The dependency options of a command.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DepWords<'a> {
    /// `-MD` was seen.
    pub md: bool,
    /// `-MMD` was seen.
    pub mmd: bool,
    /// `-MF`, or the file of `-Wp,-MD,FILE`.
    pub file: Option<&'a [u8]>,
    /// In the order of the command.
    pub targets: Vec<Target<'a>>,
    /// `-MP`
    pub phony: bool,
    /// `-Wp,-MD` or `-Wp,-MMD` was seen.
    pub from_wp: bool,
    /// A second file name, or another contradiction.
    pub contradictory: bool,
}

/// A word that makes files beside the object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SideWord<'a> {
    /// As it is given, without a separate value.
    pub word: &'a [u8],
    /// Which files.
    pub files: SideFiles,
    /// The file that it names.
    pub named: Option<&'a [u8]>,
}

/// What a walk finds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Walk<'a> {
    /// One for each word of the command.
    pub roles: Vec<Role>,
    /// `-c` was seen.
    pub object: bool,
    /// `-S` was seen; it wins over `-c`, whichever comes first (tried).
    pub assembly: bool,
    /// `-g…` asks for debug information.
    pub debug_info: bool,
    /// `-march=native` or one of its kin was seen: it means the sender's processor.
    pub native: bool,
    /// The only source.
    pub input: Option<InputAt>,
    /// The only `-o`.
    pub output: Option<OutputAt>,
    /// Dependency options.
    pub deps: DepWords<'a>,
    /// The words that make files beside the object.
    pub sides: Vec<SideWord<'a>>,
    /// The first option that only a daemon of ours heeds exactly, if any.
    pub only_ours: Option<Reason>,
    /// Why files beside the object have other names than usual, if they do.
    pub dump_name: Option<Reason>,
    /// Indices of the words that hold a value of `-x` (`-x` `c`: the second; `-xc`: the word itself).
    pub languages: Vec<OutputAt>,
}

impl Walk<'_> {
    /// Why it is not known here what files are called that are made beside the object, if any are.
    fn misnamed(&mut self) -> Option<Reason> {
        let are_made = !self.sides.is_empty() || self.deps.md || self.deps.mmd;
        self.dump_name.take().filter(|_| are_made)
    }
}

/// The language that `-x` put in force.
enum Forced {
    No,
    Kind(SourceKind),
    Unusable(usize),
}

struct Walker<'w, 'a> {
    words: &'w [&'a [u8]],
    side: Side,
    forced: Forced,
    walk: Walk<'a>,
}

/// Reads `words` from left to right; the first word that can't travel ends it with the reason.
pub fn walk<'a>(words: &[&'a [u8]], side: Side) -> Result<Walk<'a>, Reason> {
    if words.is_empty() {
        return Err(Reason::Empty);
    }
    let mut walker = Walker {
        words,
        side,
        forced: Forced::No,
        walk: Walk::default(),
    };
    walker.walk.roles.reserve_exact(words.len() + 2);
    walker.walk.roles.push(Role::Program);
    let mut index = 1;
    while index < words.len() {
        index += walker.step(index)?;
    }
    match walker.walk.misnamed() {
        Some(reason) => Err(reason),
        None => Ok(walker.walk),
    }
}

/// How a value of `-march=`, `-mtune=` or `-mcpu=` begins that means the processor of whoever compiles.
pub const NATIVE: &[u8] = b"native";

/// A word for people.
pub fn text(word: &[u8]) -> String {
    String::from_utf8_lossy(word).into_owned()
}

impl<'a> Walker<'_, 'a> {
    /// Takes the word at `index`; returns how many words it took.
    fn step(&mut self, index: usize) -> Result<usize, Reason> {
        let word = self.words[index];
        if word.first() != Some(&b'-') || word == b"-" {
            self.operand(index, word)?;
            return Ok(1);
        }
        let Some(found) = option_table::find(word) else {
            return Err(Reason::UnknownOption(text(word)));
        };
        if !found.takes_next {
            let role = self.option(index, word, found, found.joined)?;
            self.walk.roles.push(role);
            return Ok(1);
        }
        let Some(value) = self.words.get(index + 1).copied() else {
            return Err(Reason::MissingValue(text(word)));
        };
        if value.first() == Some(&b'@') || !self.may_start_so(found.row, value) {
            return Err(Reason::UnknownOption(text(value)));
        }
        let role = self.option(index, word, found, value)?;
        self.walk.roles.extend([role, role]);
        Ok(2)
    }

    /// A stranger must not hide an option as a value: his compiler and ours may differ in which options take the next
    /// word, and if one does that we take for a word alone, all that follows is shifted. Only clang knows `-mllvm`.
    fn may_start_so(&self, row: &OptionRow, value: &[u8]) -> bool {
        const HARMLESS: &[&[u8]] = &[b"-D", b"-I", b"-U"];
        !self.is_stranger()
            || value.first() != Some(&b'-')
            || match row.name {
                "-Xpreprocessor" => HARMLESS.iter().any(|head| value.starts_with(head)),
                "-mllvm" => self.is_clang() && is_no_driver_option(value),
                "-Xassembler" => true,
                _ => false,
            }
    }

    fn is_stranger(&self) -> bool {
        self.side != Side::Client
    }

    fn is_clang(&self) -> bool {
        let program = self.words.first().copied().unwrap_or_default();
        family(Path::new(OsStr::from_bytes(program))) == Some(Family::Clang)
    }

    /// A word that is no option.
    fn operand(&mut self, index: usize, word: &[u8]) -> Result<(), Reason> {
        if word == b"-" {
            return Err(Reason::StandardInput);
        }
        if word.first() == Some(&b'@') {
            return Err(Reason::UnknownOption(text(word)));
        }
        let (kind, explicit) = match self.forced {
            Forced::Kind(kind) => (Some(kind), true),
            Forced::Unusable(at) => {
                let value = self.words.get(at).copied().unwrap_or_default();
                return Err(Reason::Language(text(value)));
            }
            Forced::No => (sources::kind_of_name(word), false),
        };
        let Some(kind) = kind else {
            return Err(match sources::is_assembler(word) {
                true => Reason::Assembler,
                false => Reason::LinkerInput(text(word)),
            });
        };
        if let Some(first) = self.walk.input {
            let first = self.words.get(first.index).copied().unwrap_or_default();
            return Err(Reason::TwoInputs(text(first), text(word)));
        }
        self.walk.input = Some(InputAt {
            index,
            kind,
            explicit,
        });
        self.walk.roles.push(Role::Input);
        Ok(())
    }

    /// An option with its value, attached or separate.
    fn option(
        &mut self,
        index: usize,
        word: &'a [u8],
        found: Match<'_>,
        value: &'a [u8],
    ) -> Result<Role, Reason> {
        let at = OutputAt {
            index: index + usize::from(found.takes_next),
            joined: !found.takes_next,
        };
        let role = match found.row.effect {
            Effect::Is(Role::Code) => {
                check_family(found.row, word)?;
                check_target(found.row, word, value)?;
                Role::Code
            }
            Effect::Is(role) => {
                self.check_place(found.row, word)?;
                role
            }
            Effect::Output => {
                self.output(at, value)?;
                Role::Output
            }
            Effect::Object => {
                self.walk.object = true;
                Role::Step
            }
            Effect::Assembly => {
                self.walk.assembly = true;
                Role::Step
            }
            Effect::Language => {
                self.language(at, value)?;
                Role::Language
            }
            Effect::Debug => {
                check_family(found.row, word)?;
                self.walk.debug_info = !matches!(value, b"0" | b"gdb0" | b"stabs0" | b"xcoff0");
                Role::Code
            }
            Effect::Machine if value.starts_with(NATIVE) && self.is_stranger() => {
                return Err(Reason::Option(text(word), Why::Machine));
            }
            Effect::Machine if value.starts_with(NATIVE) => {
                check_path(word)?;
                self.walk.native = true;
                Role::Code
            }
            Effect::Machine => {
                check_path(word)?;
                Role::Code
            }
            Effect::DependencyFile => {
                self.walk.deps.md |= word == b"-MD";
                self.walk.deps.mmd |= word == b"-MMD";
                Role::Dependency
            }
            Effect::DependencyName => {
                self.dependency_file(value)?;
                Role::Dependency
            }
            Effect::DependencyTarget => {
                let quoted = word.starts_with(b"-MQ");
                self.walk.deps.targets.push(Target {
                    quoted,
                    name: value,
                });
                Role::Dependency
            }
            Effect::DependencyPhony => {
                self.walk.deps.phony = true;
                Role::Dependency
            }
            Effect::PreprocessorParts => self.preprocessor_parts(word, value)?,
            Effect::PreprocessorWord if is_macro_or_folder(value) => Role::Preprocess,
            Effect::AssemblerParts if are_harmless_to_gas(value) => Role::Code,
            Effect::Llvm if is_harmless_to_llvm(value) => Role::Code,
            Effect::PreprocessorWord | Effect::AssemblerParts | Effect::Llvm => {
                return Err(Reason::Value(found.row.name.to_owned(), text(value)));
            }
            Effect::DumpName if self.side != Side::Daemon && stays_below(value) => {
                let reason = Reason::Option(text(word), Why::NamesFile);
                self.walk.only_ours.get_or_insert_with(|| reason.clone());
                self.walk.dump_name.get_or_insert(reason);
                Role::Code
            }
            Effect::DumpName => return Err(Reason::Option(text(word), Why::NamesFile)),
            Effect::Side(files) => self.side(files, word, value)?,
            // `-fopt-info-vec=FILE`
            Effect::OnlyOurs(_) if found.row.name == "-fopt-info-" && value.contains(&b'=') => {
                return Err(Reason::Option(text(word), Why::NamesFile));
            }
            Effect::OnlyOurs(why) if self.side == Side::Client || self.passes(why, word) => {
                let reason = || Reason::Option(text(word), why);
                self.walk.only_ours.get_or_insert_with(reason);
                Role::Code
            }
            Effect::Local(why) if self.passes(why, word) => Role::Code,
            Effect::OnlyOurs(why) | Effect::Local(why) => {
                return Err(Reason::Option(text(word), why));
            }
        };
        Ok(role)
    }

    /// A word that makes files beside the object. With a preprocessed text none is brought home, so that only those do no
    /// harm there that stay in the job's folder.
    fn side(&mut self, files: SideFiles, word: &'a [u8], value: &'a [u8]) -> Result<Role, Reason> {
        if self.side == Side::Daemon && !self.passes(files.why(), word) {
            return Err(Reason::Option(text(word), files.why()));
        }
        let named = match files {
            SideFiles::Named | SideFiles::Diagnostics => Some(value),
            SideFiles::Dump => memchr::memchr(b'=', word).and_then(|at| word.get(at + 1..)),
            _ => None,
        };
        if named.is_some_and(|name| name.starts_with(b"/")) {
            return Err(Reason::Option(text(word), files.why()));
        }
        self.walk.debug_info |= files == SideFiles::SplitDwarf;
        self.walk.sides.push(SideWord { word, files, named });
        Ok(Role::Side)
    }

    /// Things that are harmless in a daemon's job folder although a client keeps them at home.
    fn passes(&self, why: Why, word: &[u8]) -> bool {
        let harmless = match why {
            Why::Prints | Why::ExtraFiles | Why::Records | Why::Lto | Why::Preprocessing => true,
            // Names a place for when the program runs; nothing is written there yet.
            Why::Instruments => return self.side == Side::Pump,
            Why::NoObject
            | Why::NamesFile
            | Why::RunsProgram
            | Why::Profile
            | Why::Modules
            | Why::Machine
            | Why::Unsupported => false,
        };
        self.is_stranger() && harmless && !word.contains(&b'/')
    }

    /// A daemon's compiler reads no header, and fills no folder, that the command names; but where the client's files are,
    /// it can.
    fn check_place(&self, row: &OptionRow, word: &[u8]) -> Result<(), Reason> {
        const PLACES: &[&str] = &["-fcrash-diagnostics-dir=", "-imacros", "-include"];
        if self.side == Side::Daemon && PLACES.contains(&row.name) {
            return Err(Reason::Option(text(word), Why::NamesFile));
        }
        Ok(())
    }

    fn output(&mut self, at: OutputAt, name: &[u8]) -> Result<(), Reason> {
        if let Some(first) = self.walk.output {
            let first = self.words.get(first.index).copied().unwrap_or_default();
            return Err(Reason::TwoOutputs(text(first), text(name)));
        }
        // The client writes no device; the daemon's compiler never sees this name, and stock's clients send this one.
        let harmless = self.is_stranger() && name == b"/dev/null";
        if name.is_empty() || name == b"-" || (name.starts_with(b"/dev/") && !harmless) {
            return Err(Reason::OddOutput(text(name)));
        }
        self.walk.output = Some(at);
        Ok(())
    }

    fn language(&mut self, at: OutputAt, value: &[u8]) -> Result<(), Reason> {
        if self.side == Side::Client && self.walk.input.is_some() {
            // gcc warns of it; two runs would warn twice.
            let reason = || Reason::Value("-x".to_owned(), "no source after it".to_owned());
            self.walk.only_ours.get_or_insert_with(reason);
        }
        self.walk.languages.push(at);
        self.forced = match sources::kind_of_option_value(value) {
            _ if value == b"none" => Forced::No,
            Some(kind) => Forced::Kind(kind),
            None => Forced::Unusable(at.index),
        };
        Ok(())
    }

    fn dependency_file(&mut self, name: &'a [u8]) -> Result<(), Reason> {
        let elsewhere = self.side == Side::Daemon && name.contains(&b'/');
        let odd = name == b"-" || (name.starts_with(b"/dev/") && name != b"/dev/null");
        if elsewhere || odd || name.is_empty() {
            return Err(Reason::Value("-MF".to_owned(), text(name)));
        }
        self.walk.deps.contradictory |= self.walk.deps.file.is_some();
        self.walk.deps.file = Some(name);
        Ok(())
    }

    /// `-Wp,A,B…` is judged part by part, but not taken apart: the driver hands the parts to the preprocessor
    /// after all other options, whatever their order in the command (tried: `-Wp,-DX -UX` defines X).
    fn preprocessor_parts(&mut self, word: &[u8], value: &'a [u8]) -> Result<Role, Reason> {
        let refused = || Reason::Value("-Wp,".to_owned(), text(value));
        let (mut depends, mut defines) = (false, false);
        let mut parts = value.split(|byte| *byte == b',');
        while let Some(part) = parts.next() {
            match part {
                b"-MD" | b"-MMD" => {
                    self.walk.deps.contradictory |= self.walk.deps.from_wp;
                    self.walk.deps.from_wp = true;
                    self.walk.deps.md |= part == b"-MD";
                    self.walk.deps.mmd |= part == b"-MMD";
                    self.dependency_file(parts.next().ok_or_else(refused)?)?;
                    depends = true;
                }
                b"-MT" | b"-MQ" => {
                    self.walk.deps.targets.push(Target {
                        quoted: part == b"-MQ",
                        name: parts.next().ok_or_else(refused)?,
                    });
                    depends = true;
                }
                b"-MP" => {
                    self.walk.deps.phony = true;
                    depends = true;
                }
                _ if is_macro_or_folder(part) => defines = true,
                b"-include" | b"-imacros" if self.side != Side::Daemon => {
                    // No option, and no file with words.
                    let is_name = |name: &&[u8]| !matches!(name.first(), None | Some(b'-' | b'@'));
                    parts.next().filter(is_name).ok_or_else(refused)?;
                    defines = true;
                }
                b"-w" | b"-C" | b"-CC" | b"-P" | [b'-', b'W', b'a'..=b'z', ..] => {
                    self.walk.only_ours.get_or_insert_with(refused);
                    defines = true;
                }
                _ => return Err(refused()),
            }
        }
        match (depends, defines) {
            (true, true) => Err(Reason::Value(text(word), "both kinds of parts".to_owned())),
            (true, false) => Ok(Role::Dependency),
            (false, _) => Ok(Role::Preprocess),
        }
    }
}

/// `-DX`, `-UX`, `-IX`: what may be handed straight to the preprocessor.
fn is_macro_or_folder(part: &[u8]) -> bool {
    part.len() > 2
        && [b"-D", b"-U", b"-I"]
            .iter()
            .any(|head| part.starts_with(*head))
}

/// A word that only its family knows must not name a file: no path, and no `…file=`. Nor may it be the letter alone: gcc
/// takes the word after `-R` for its value.
fn check_family(row: &OptionRow, word: &[u8]) -> Result<(), Reason> {
    if row.name.len() > 2 {
        return Ok(());
    }
    check_path(word)?;
    let name = word.split(|byte| *byte == b'=').next().unwrap_or_default();
    let alone = matches!(word, b"-R" | b"-f" | b"-m");
    let suspicious = name.len() < word.len()
        && ["file", "path", "dir", "list", "plugin"]
            .iter()
            .any(|tail| name.ends_with(tail.as_bytes()));
    if suspicious || alone {
        return Err(Reason::UnknownOption(text(word)));
    }
    Ok(())
}

/// Whether a path leads nowhere else than below the folder that it starts from.
fn stays_below(path: &[u8]) -> bool {
    let mut parts = path.split(|byte| *byte == b'/');
    !path.starts_with(b"/") && parts.all(|part| part != b"..")
}

/// A target names programs (`TARGET-as`), so it must not be a path.
fn check_target(row: &OptionRow, word: &[u8], value: &[u8]) -> Result<(), Reason> {
    if matches!(row.name, "-target" | "--target=") && value.contains(&b'/') {
        return Err(Reason::Value(text(word), text(value)));
    }
    Ok(())
}

fn check_path(word: &[u8]) -> Result<(), Reason> {
    if word.contains(&b'/') {
        return Err(Reason::Option(text(word), Why::NamesFile));
    }
    Ok(())
}
