//! The preprocessor engine against the compilers that are installed: the files that it names for a unit are those that
//! `-M` prints, no more and no fewer, or it says that it can't know.

#![allow(clippy::unwrap_used, clippy::panic, dead_code)]

mod disk;

use disk::{compare, Job, Verdict};

#[test]
fn a_first_unit() {
    let folder = tempfile::tempdir().unwrap();
    disk::write(
        folder.path(),
        "x.c",
        "#include <stdio.h>\n#include \"y.h\"\n",
    );
    disk::write(folder.path(), "y.h", "#include <stdlib.h>\n");
    for compiler in ["gcc", "clang"] {
        let job = Job::new(folder.path(), &format!("{compiler} -c x.c"));
        let verdict = compare(&job);
        assert!(
            matches!(verdict, Verdict::Same(_)),
            "{compiler}: {verdict:?}"
        );
    }
}
