//! Any bytes as what a client tells a daemon beside the files: an error, or something that is the same again when it is
//! written and read.

#![no_main]

use distcc::model::about::About;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(about) = About::decode(data) {
        let again = About::decode(&about.encode());
        assert_eq!(again.as_ref(), Ok(&about));
    }
});
