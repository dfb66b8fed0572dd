//! Any bytes as a compressed body: expanded within the limit or refused, never a panic; and any bytes survive
//! compressing and expanding.

#![no_main]

use distcc::model::lzo::{compress, expand, LzoError};
use libfuzzer_sys::fuzz_target;

const BYTES_MAX: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    if let Ok(bytes) = expand(data, BYTES_MAX) {
        assert!(bytes.len() <= BYTES_MAX);
        // The length that was found is exact: one less is too little.
        if let Some(less) = bytes.len().checked_sub(1) {
            assert_eq!(expand(data, less), Err(LzoError::TooLarge));
        }
    }
    let stream = compress(data).expect("so little can be compressed");
    assert_eq!(expand(&stream, data.len()).as_deref(), Ok(data));
});
