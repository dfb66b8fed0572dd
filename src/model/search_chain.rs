//! How gcc and clang put the folders of a command into one chain: which of those that are not there, or there twice, go.

use std::collections::HashMap;

/// A folder that is searched for headers.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct SearchDir {
    /// As the compiler spells it; empty: the working directory.
    pub path: Vec<u8>,
    /// Its headers are system headers: a default folder, `-isystem`, `-idirafter`.
    pub system: bool,
    /// It holds frameworks (`-F`, `-iframework`).
    pub framework: bool,
}

/// Device and inode of a folder.
pub type FolderIdentity = (u64, u64);

/// Which list a folder belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Group {
    /// `-iquote`
    Quote,
    /// `-I`
    Angle,
    /// `-isystem` and defaults.
    System,
    /// `-idirafter`
    After,
}

/// A folder that was given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Named {
    /// As the compiler spells it.
    pub path: Vec<u8>,
    /// Its list.
    pub group: Group,
    /// It holds frameworks.
    pub framework: bool,
    /// In which round of reading the options it is met.
    pub round: u8,
}

impl Named {
    /// An ordinary folder.
    pub fn new(path: Vec<u8>, group: Group) -> Named {
        Named {
            path,
            group,
            framework: false,
            round: 1,
        }
    }
}

/// Says which folder a path is.
pub type Identify<'i> = &'i mut dyn FnMut(&[u8]) -> Option<FolderIdentity>;

/// A folder that is there.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Placed {
    dir: SearchDir,
    identity: FolderIdentity,
}

fn placed(named: &[Named], group: Group, identify: Identify<'_>) -> Vec<Placed> {
    let members = named.iter().filter(|dir| dir.group == group);
    let placed = members.filter_map(|named| {
        let identity = identify(&named.path)?;
        Some(Placed {
            dir: SearchDir {
                path: named.path.clone(),
                system: matches!(group, Group::System | Group::After),
                framework: named.framework,
            },
            identity,
        })
    });
    placed.collect()
}

/// gcc's chain, and where its part for `<…>` begins. A folder of the user that is a system folder keeps its place there.
pub fn gcc_chain(named: &[Named], identify: Identify<'_>) -> (Vec<SearchDir>, usize) {
    let mut system = placed(named, Group::System, identify);
    system.extend(placed(named, Group::After, identify));
    let system = without_doubles(system, &[], None);
    let angle = placed(named, Group::Angle, identify);
    let angle = without_doubles(angle, &system, system.first());
    let quote = placed(named, Group::Quote, identify);
    let next = angle.first().or(system.first());
    let quote = without_doubles(quote, &system, next);
    let start = quote.len();
    let chain = quote.into_iter().chain(angle).chain(system);
    (chain.map(|placed| placed.dir).collect(), start)
}

/// The list without what is in `system`, without doubles, and without a last one that is the same as `next`.
fn without_doubles(list: Vec<Placed>, system: &[Placed], next: Option<&Placed>) -> Vec<Placed> {
    let same = |a: &Placed, b: &Placed| a.identity == b.identity;
    let last = list.len().saturating_sub(1);
    let mut kept: Vec<Placed> = Vec::with_capacity(list.len());
    for (at, dir) in list.into_iter().enumerate() {
        let in_system = system.iter().any(|other| same(other, &dir));
        let double = kept.iter().any(|other| same(other, &dir));
        let joined = at == last && next.is_some_and(|next| same(next, &dir));
        if !in_system && !double && !joined {
            kept.push(dir);
        }
    }
    kept
}

/// clang's chain, and where its part for `<…>` begins. A double goes, but of a user's and a system folder the user's.
pub fn clang_chain(named: &[Named], identify: Identify<'_>) -> (Vec<SearchDir>, usize) {
    let mut chain = placed(named, Group::Quote, identify);
    remove_doubles(&mut chain, 0);
    let start = chain.len();
    chain.extend(placed(named, Group::Angle, identify));
    remove_doubles(&mut chain, start);
    chain.extend(placed(named, Group::System, identify));
    chain.extend(placed(named, Group::After, identify));
    remove_doubles(&mut chain, start);
    (chain.into_iter().map(|placed| placed.dir).collect(), start)
}

fn remove_doubles(chain: &mut Vec<Placed>, first: usize) {
    let mut seen: HashMap<(FolderIdentity, bool), ()> = HashMap::new();
    let mut at = first;
    while let Some(dir) = chain.get(at) {
        let key = (dir.identity, dir.dir.framework);
        if seen.insert(key, ()).is_none() {
            at += 1;
            continue;
        }
        let mut remove = at;
        if dir.dir.system {
            let same = |other: &Placed| (other.identity, other.dir.framework) == key;
            let earlier = chain[first..at].iter().position(same);
            if let Some(earlier) = earlier.map(|earlier| first + earlier) {
                if !chain[earlier].dir.system {
                    remove = earlier;
                }
            }
        }
        chain.remove(remove);
    }
}
