//! Who is in which room: the data says what is done, what comes from other nodes, and how time passes.
#![no_main]
#![forbid(unsafe_code)]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| bellwire_rooms::fuzzing::presence(data));
