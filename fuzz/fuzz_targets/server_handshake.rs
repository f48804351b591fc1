//! A server reads a request: the first byte chooses how it is cut, the rest is wire bytes.
#![no_main]
#![forbid(unsafe_code)]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| bellwire_core::fuzzing::server_handshake(data));
