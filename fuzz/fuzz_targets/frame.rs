//! Frame headers: the first byte chooses the role, the rest is wire bytes.
#![no_main]
#![forbid(unsafe_code)]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| bellwire_core::fuzzing::frame(data));
