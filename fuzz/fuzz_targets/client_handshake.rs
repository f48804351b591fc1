//! A client reads a response: the first byte chooses how it is cut, the rest is wire bytes.
#![no_main]
#![forbid(unsafe_code)]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| bellwire_core::fuzzing::client_handshake(data));
