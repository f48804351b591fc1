//! What comes from a broker: a byte that says what it is, eight for the node that it comes from, and the payload.
#![no_main]
#![forbid(unsafe_code)]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| bellwire_rooms::fuzzing::packet(data));
