//! Headers `Sec-WebSocket-Extensions`, one a line, as an offer and as an answer: the first byte chooses the wishes.
#![no_main]
#![forbid(unsafe_code)]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| bellwire_core::fuzzing::extensions(data));
