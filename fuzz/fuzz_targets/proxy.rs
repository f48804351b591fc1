//! What a proxy answers, to CONNECT and in SOCKS5; and texts that say which proxy it is. The first byte chooses.
#![no_main]
#![forbid(unsafe_code)]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| bellwire_core::fuzzing::proxy(data));
