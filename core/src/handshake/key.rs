//! What both roles of the opening handshake share: keys, the version, reserved headers.

use alloc::string::{String, ToString};

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use sha1::{Digest, Sha1};

use crate::http::InvalidHeader;

/// The only version: RFC 6455 §4.1: "The value of this header field MUST be 13."
pub(super) const VERSION: &str = "13";

/// The header in which extensions are negotiated (RFC 6455 §9.1).
pub(super) const EXTENSIONS: &str = "Sec-WebSocket-Extensions";

/// RFC 6455 §1.3: the Globally Unique Identifier that follows the key.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Encodes these random bytes as a `Sec-WebSocket-Key`.
pub(super) fn encode_key(nonce: [u8; 16]) -> String {
    STANDARD.encode(nonce)
}

/// Lenient Base64: the unused bits of the last character are ignored, since some encoders set them.
const LENIENT: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// Returns `true` if this is a key: RFC 6455 §4.2.1: "a base64-encoded (see Section 4 of [RFC4648]) value that, when
/// decoded, is 16 bytes in length". Its own example in §4.1, `AQIDBAUGBwgJCgsMDQ4PEC==`, has bits set that an
/// encoder would leave clear.
pub(super) fn is_key(key: &[u8]) -> bool {
    // The decoder insists on padding, and on room for three bytes for every four.
    LENIENT.decode_slice(key, &mut [0; 18]) == Ok(16)
}

/// Returns the `Sec-WebSocket-Accept` that answers a key.
///
/// RFC 6455 §4.2.2: "concatenating /key/ [..] with the string
/// "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", taking the SHA-1 hash of this concatenated value to obtain a
/// 20-byte value and base64-encoding (see Section 4 of [RFC4648]) this 20-byte hash."
pub(super) fn accept_value(key: &[u8]) -> [u8; 28] {
    let mut value = [0; 28];
    let hash = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    // There is room for it: 20 bytes are 28 digits.
    let _ = STANDARD.encode_slice(hash, &mut value);
    value
}

/// Refuses the headers that only bellwire may write: the handshake's own, and those that say where a message ends.
pub(crate) fn check_reserved(name: &str) -> Result<(), InvalidHeader> {
    if is_reserved(name) { Err(InvalidHeader::Reserved(name.to_string())) } else { Ok(()) }
}

fn is_reserved(name: &str) -> bool {
    const NAMES: [&str; 6] = ["connection", "upgrade", "content-length", "transfer-encoding", "trailer", "te"];
    const PREFIX: &str = "sec-websocket-";
    NAMES.iter().any(|reserved| reserved.eq_ignore_ascii_case(name))
        || name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_accepts_are_the_examples_of_the_rfc() {
        assert_eq!(encode_key(*b"the sample nonce"), "dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept_value(b"dGhlIHNhbXBsZSBub25jZQ=="), *b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn h7_a_key_is_16_bytes_in_base64_canonical_or_not() {
        for key in [&b"dGhlIHNhbXBsZSBub25jZQ=="[..], b"dGhlIHNhbXBsZSBub25jZR==", b"AQIDBAUGBwgJCgsMDQ4PEC=="] {
            assert!(is_key(key), "{key:?}");
        }
        for wrong in [
            &b""[..],
            b"dGhlIHNhbXBsZSBub25jZQ",
            b"dGhlIHNhbXBsZSBub25jZQ= ",
            b"dGhlIHNhbXBsZSBub25jZQ=A",
            b"dGhlIHNhbXBsZSBub25jZ===",
            b"dGhlIHNhbXBsZSBub25jZUE=",
            b"dGhlIHNhbXBsZSBub25jZUFB",
            b"dGhl IHNhbXBsZSBub25jZQ=",
            b"dGhlIHNhbXBsZSBub25jZ-==",
            b"dGhlIHNhbXBsZSBub25jZQ==AAAA",
            b"dGhlIHNhbXBsZSBub25=",
        ] {
            assert!(!is_key(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn reserved_names_are_found_in_any_case() {
        for name in ["Connection", "UPGRADE", "sec-websocket-key", "Sec-WebSocket-Anything", "TE", "Content-Length"] {
            assert!(is_reserved(name), "{name}");
        }
        for name in ["Set-Cookie", "Host", "Sec-Fetch-Mode", "sec-websocket", "ä"] {
            assert!(!is_reserved(name), "{name}");
        }
    }
}
