//! A connection with permessage-deflate: the first byte chooses role (bit 0) and cuts, the second what was negotiated,
//! the rest is wire bytes.
#![no_main]
#![forbid(unsafe_code)]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| bellwire_core::fuzzing::deflate(data));
