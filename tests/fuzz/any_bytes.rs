//! Feeds any bytes to the recorder's parser, with libFuzzer: `make fuzz`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    harness::any_bytes::read(bytes);
});
