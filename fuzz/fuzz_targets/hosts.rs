//! Any text as a host list: a list or an error, never a panic.

#![no_main]

use distcc::model::hosts;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match hosts::parse(text, "the fuzzer") {
        Ok(list) => {
            for host in list.hosts {
                assert!(!host.name().is_empty() && !host.key().is_empty());
            }
        }
        Err(error) => assert!(!error.message.is_empty()),
    }
});
