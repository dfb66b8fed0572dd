//! The program as its users have it: copied, as `install.sh` does. A file that a linker has just written lies in memory in
//! small pieces, and is mapped more slowly, by a tenth of a millisecond for each start.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// The client, and a link to it for the daemon.
pub fn installed() -> (PathBuf, PathBuf) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("installed");
    fs::create_dir_all(&folder).unwrap();
    let (client, daemon) = (folder.join("distcc"), folder.join("distccd"));
    for old in [&client, &daemon] {
        let _ = fs::remove_file(old);
    }
    fs::copy(env!("CARGO_BIN_EXE_distcc"), &client).unwrap();
    symlink("distcc", &daemon).unwrap();
    (client, daemon)
}
