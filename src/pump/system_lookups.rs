//! How the client's system folders answered the compiler, so that a host can tell whether its own would answer likewise:
//! which header was found where and with which content, and which names are in none of them.

use super::world::LocalWorld;
use crate::model::about;
use crate::model::preprocessor::{Closure, Lookup};
use crate::model::search::SearchPath;

/// The folders of the search path that a host has itself, and how they answered.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SystemAnswers {
    /// As they are spelled, in the order in which they are searched.
    pub dirs: Vec<Vec<u8>>,
    /// Each question once.
    pub lookups: Vec<about::Lookup>,
}

/// Tells of all files and absences below the system folders on which a unit depends.
pub fn answers(
    world: &mut LocalWorld<'_>,
    closure: &Closure,
    search: &SearchPath,
) -> SystemAnswers {
    let mut telling = Telling {
        numbers: numbers(world, search),
        search,
        told: vec![false; world.opened().len()],
        told_missed: vec![false; world.missed().len()],
        answers: SystemAnswers::default(),
    };
    for (dir, number) in search.dirs.iter().zip(&telling.numbers) {
        if number.is_some() {
            telling.answers.dirs.push(dir.path.clone());
        }
    }
    for lookup in &closure.lookups {
        telling.lookup(world, lookup);
    }
    for visited in closure.files.iter().chain(&closure.probes) {
        telling.file(world, &visited.path);
    }
    let missed = world.missed();
    for number in 0..missed.len() {
        if telling.told_missed.get(number) != Some(&true) {
            let path = missed.path(number).to_vec();
            let lookups = &mut telling.answers.lookups;
            lookups.push(about::Lookup::Nothing { path });
        }
    }
    telling.answers
}

/// For each folder of the search path its number among the system's, if it is one.
fn numbers(world: &mut LocalWorld<'_>, search: &SearchPath) -> Vec<Option<u16>> {
    let mut next = 0;
    let number = |dir: &crate::model::search::SearchDir| {
        let place = world.trace(&dir.path, &mut |_, _| {}).ok().flatten()?;
        if dir.framework || !world.is_system(&place) {
            return None;
        }
        next += 1;
        Some(next - 1)
    };
    search.dirs.iter().map(number).collect()
}

struct Telling<'t> {
    numbers: Vec<Option<u16>>,
    search: &'t SearchPath,
    /// By the numbers of what was opened: that it is there follows from what was told.
    told: Vec<bool>,
    /// By the numbers of what was missed: that it is not there follows from what was told.
    told_missed: Vec<bool>,
    answers: SystemAnswers,
}

impl Telling<'_> {
    /// A name in a folder of the search path, as it is spelled.
    fn join(&self, dir: usize, name: &[u8], path: &mut Vec<u8>) {
        path.clear();
        let dir = self.search.dirs.get(dir).map(|dir| dir.path.as_slice());
        if let Some(dir) = dir.filter(|dir| !dir.is_empty()) {
            path.extend_from_slice(dir);
            if !dir.ends_with(b"/") {
                path.push(b'/');
            }
        }
        path.extend_from_slice(name);
    }

    /// The numbers of the system's folders that were asked in vain.
    fn asked_in_vain(&self, lookup: &Lookup) -> Vec<(usize, u16)> {
        let end = lookup.at.unwrap_or(self.numbers.len());
        let dirs = self.numbers.iter().enumerate();
        dirs.take(end)
            .skip(lookup.start)
            .filter_map(|(dir, number)| Some((dir, (*number)?)))
            .collect()
    }

    fn lookup(&mut self, world: &mut LocalWorld<'_>, lookup: &Lookup) {
        let in_vain = self.asked_in_vain(lookup);
        let name = lookup.name;
        let at = lookup.at.and_then(|dir| self.numbers.get(dir).copied());
        let first = in_vain.first().map(|(_, number)| *number);
        let told = match at {
            // In one of the system's.
            Some(Some(at)) => {
                let mut path = Vec::with_capacity(256);
                self.join(lookup.at.unwrap_or_default(), name, &mut path);
                match hash(world, &path) {
                    Some((number, hash)) => {
                        self.tell(number);
                        Some(about::Lookup::Found {
                            start: first.unwrap_or(at),
                            at,
                            hash,
                            name: name.to_vec(),
                        })
                    }
                    // It leads out of them, and travels.
                    None => None,
                }
            }
            // In none at all.
            None => first.map(|start| about::Lookup::Missing {
                start,
                name: name.to_vec(),
            }),
            Some(None) => None,
        };
        let is_told = told.is_some();
        self.answers.lookups.extend(told);
        let mut path = Vec::with_capacity(256);
        for (dir, _) in in_vain {
            self.join(dir, name, &mut path);
            match is_told {
                true => self.tell_missed(world, &path),
                false => world.miss_unasked(&path),
            }
        }
    }

    /// That nothing is at `path` follows from what was told.
    fn tell_missed(&mut self, world: &LocalWorld<'_>, path: &[u8]) {
        let told = world.missed().find(path);
        if let Some(told) = told.and_then(|number| self.told_missed.get_mut(number)) {
            *told = true;
        }
    }

    /// Whether it is told for the first time that what was opened by this number is there.
    fn tell(&mut self, number: usize) -> bool {
        let told = self.told.get_mut(number);
        told.is_some_and(|told| !std::mem::replace(told, true))
    }

    /// A file that was found otherwise: beside another one, or by its absolute name.
    fn file(&mut self, world: &LocalWorld<'_>, path: &[u8]) {
        let Some((number, hash)) = hash(world, path) else {
            return;
        };
        if self.tell(number) {
            let path = path.to_vec();
            self.answers
                .lookups
                .push(about::Lookup::Holds { path, hash });
        }
    }
}

/// What a path holds if it leads to a file of the system's, and the number of the path.
fn hash(world: &LocalWorld<'_>, path: &[u8]) -> Option<(usize, about::Hash)> {
    let number = world.opened().find(path)?;
    let found = world.found_by_number(number)?;
    let file = world.file(found.file).filter(|_| found.system)?;
    Some((number, file.content.hash))
}
