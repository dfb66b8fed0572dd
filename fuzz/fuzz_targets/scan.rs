//! Any words as a compiler's command: neither side panics, and what may travel is read the same way again.
//! Words are separated by NUL; what follows an empty word is the content of every response file.

#![no_main]

use distcc::model::invocation::{scan, Scan};
use distcc::model::received::scan_received;
use libfuzzer_sys::fuzz_target;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

fuzz_target!(|data: &[u8]| {
    let words: Vec<Vec<u8>> = data.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
    if let Ok(job) = scan_received(&words) {
        assert!(job.input > 0 && job.input < words.len());
        assert!(job
            .output
            .is_none_or(|at| at.index < words.len() && at.index != job.input));
    }
    let end = words.iter().position(Vec::is_empty).unwrap_or(words.len());
    let (argv, file) = words.split_at(end);
    let argv: Vec<OsString> = argv.iter().cloned().map(OsString::from_vec).collect();
    if let Scan::Distributable(mut first) = scan(&argv, &|_| Some(file.concat())) {
        assert_eq!(first.argv.len(), first.roles.len());
        first.output_given = true;
        assert_eq!(scan(&first.argv, &|_| None), Scan::Distributable(first));
    }
});
