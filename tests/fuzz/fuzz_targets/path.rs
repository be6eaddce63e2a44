//! Any bytes, by libFuzzer: `make fuzz`.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../support/path.rs"]
mod path;

fuzz_target!(|bytes: &[u8]| {
    path::any_bytes(bytes);
});
