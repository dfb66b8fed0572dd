//! Files that are read once: `#pragma once` and `#import`. gcc knows them by name, and compares size, time and content of
//! others; clang knows them by inode.

use super::directives::Verb;
use super::files::{FileAt, Files, ObjectId};
use super::macros::NumberMap;

/// What is known of files that were met.
#[derive(Clone, Debug, Default)]
pub struct Once {
    clang: bool,
    /// clang, by file: it was entered; it is to be read once.
    states: NumberMap<u32, State>,
    /// gcc: there is a file to be read once.
    any: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    entered: bool,
    once: bool,
}

impl Once {
    /// By the rules of clang, or of gcc.
    pub fn new(clang: bool) -> Once {
        Once {
            clang,
            ..Once::default()
        }
    }

    /// Is the file to be read now?
    pub fn enters(&mut self, files: &mut Files, object: ObjectId, at: FileAt, verb: Verb) -> bool {
        let import = verb == Verb::Import;
        if self.clang {
            let state = self.states.entry(at.file).or_default();
            state.once |= import;
            return !(state.once && state.entered);
        }
        let entry = files.object_mut(object);
        if entry.once || (import && entry.entered > 0) {
            entry.once = true;
            self.any = true;
            return false;
        }
        if import {
            entry.once = true;
            self.any = true;
        }
        !self.any || !has_twin(files, object, at, import)
    }

    /// A file is about to be read.
    pub fn entered(&mut self, files: &mut Files, object: ObjectId, at: FileAt) {
        files.object_mut(object).entered += 1;
        if self.clang {
            self.states.entry(at.file).or_default().entered = true;
        }
    }

    /// `#pragma once`; clang ignores it in the source.
    pub fn pragma(&mut self, files: &mut Files, object: ObjectId, is_source: bool) {
        if !self.clang {
            self.any = true;
            files.object_mut(object).once = true;
            return;
        }
        let path = files.object(object).path;
        if let (Some(at), false) = (files.path(path).file, is_source) {
            self.states.entry(at.file).or_default().once = true;
        }
    }
}

/// gcc: is there another file that is to be read once, or with `#import` any other file, with this content?
fn has_twin(files: &Files, object: ObjectId, at: FileAt, import: bool) -> bool {
    let mut twins = files.twins(at).iter();
    twins.any(|twin| *twin != object && (import || files.object(*twin).once))
}
