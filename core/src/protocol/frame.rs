//! Frames: their headers (RFC 6455 §5.2) with every rule that a header alone can break, and the payload of a close
//! frame.

use alloc::vec::Vec;

use super::close::CloseCode;
use super::error::Violation;

/// RFC 6455 §5.5: "All control frames MUST have a payload length of 125 bytes or less".
pub const MAX_CONTROL_PAYLOAD: usize = 125;

/// The longest reason that fits a close frame: 125 bytes less the two of the code.
pub const MAX_REASON: usize = MAX_CONTROL_PAYLOAD - 2;

/// The longest header: two bytes, a 64-bit length and a mask key.
pub const MAX_HEADER: usize = 14;

/// Which end of a connection this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The end that accepted the connection.
    Server,
    /// The end that opened the connection, and masks what it sends.
    Client,
}

/// What a frame is (RFC 6455 §11.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// The next fragment of a message.
    Continuation = 0x0,
    /// A text message, or its first fragment.
    Text = 0x1,
    /// A binary message, or its first fragment.
    Binary = 0x2,
    /// The closing handshake.
    Close = 0x8,
    /// Are you there?
    Ping = 0x9,
    /// Here I am.
    Pong = 0xa,
}

/// Reserved bits of a frame (RFC 6455 §5.2): those that are set, or those that extensions have given a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ReservedBits(u8);

impl ReservedBits {
    /// None of them: no extension was negotiated.
    pub const NONE: Self = Self(0);

    /// RSV1, which permessage-deflate sets on the first fragment of a compressed message (RFC 7692 §6).
    pub const RSV1: Self = Self(0x40);

    /// Returns `true` if all of `bits` are among these.
    pub const fn contains(self, bits: Self) -> bool {
        bits.0 & !self.0 == 0
    }
}

/// A frame's header, decoded and checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Header {
    /// Whether this is the last fragment of its message.
    pub fin: bool,
    /// Which reserved bits are set.
    pub reserved: ReservedBits,
    /// What the frame is.
    pub opcode: Opcode,
    /// The key that masks the payload, on frames from a client.
    pub mask: Option<[u8; 4]>,
    /// Length of the payload in bytes, at most 2^63-1.
    pub length: u64,
}

pub(super) const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0f;
pub(super) const MASK: u8 = 0x80;
const LENGTH: u8 = 0x7f;
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;

impl Opcode {
    /// RFC 6455 §5.5: "Control frames are identified by opcodes where the most significant bit of the opcode is 1."
    pub const fn is_control(self) -> bool {
        self as u8 >= Self::Close as u8
    }

    const fn decode(bits: u8) -> Result<Self, Violation> {
        Ok(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            // RFC 6455 §5.2: "If an unknown opcode is received, the receiving endpoint MUST _Fail the WebSocket
            // Connection_."
            reserved => return Err(Violation::ReservedOpcode(reserved)),
        })
    }

    pub(super) const fn encode(self) -> u8 {
        self as u8
    }
}

impl Header {
    /// Creates the header of a message in one frame, or of a control frame: unmasked, no reserved bit set.
    pub const fn new(opcode: Opcode, length: u64) -> Self {
        Self { fin: true, reserved: ReservedBits::NONE, opcode, mask: None, length }
    }

    /// Decodes the header at the front of `bytes`, as `receiver` may receive it, and returns how long it is.
    ///
    /// `None`: more bytes are needed. A broken rule is reported as soon as its byte is there. `allowed` are the
    /// reserved bits that the negotiated extensions have given a meaning. On which frames those may be set is for the
    /// extension to say.
    ///
    /// # Errors
    /// The rule of §5.1, §5.2 or §5.5 that the header breaks.
    #[inline]
    pub fn decode(bytes: &[u8], receiver: Role, allowed: ReservedBits) -> Result<Option<(Self, usize)>, Violation> {
        let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
        // §5.2: RSV1–3 "MUST be 0 unless an extension is negotiated that defines meanings for non-zero values."
        let reserved = ReservedBits(first & RESERVED);
        if !allowed.contains(reserved) {
            return Err(Violation::ReservedBits);
        }
        let (fin, opcode) = (first & FIN != 0, Opcode::decode(first & OPCODE)?);
        // §5.5: control frames "MUST NOT be fragmented".
        if opcode.is_control() && !fin {
            return Err(Violation::ControlFragmented);
        }
        let Some((&second, rest)) = rest.split_first() else { return Ok(None) };
        check_masking(second & MASK != 0, receiver)?;
        let (length, rest) = match second & LENGTH {
            short @ ..LENGTH_16 => (u64::from(short), rest),
            // §5.5: "All control frames MUST have a payload length of 125 bytes or less".
            _ if opcode.is_control() => return Err(Violation::ControlTooLong),
            long => {
                let Some(decoded) = decode_length(long, rest)? else { return Ok(None) };
                decoded
            }
        };
        let (mask, rest) = match receiver {
            Role::Client => (None, rest),
            Role::Server => {
                let Some((key, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
                (Some(*key), rest)
            }
        };
        Ok(Some((Self { fin, reserved, opcode, mask, length }, bytes.len() - rest.len())))
    }

    /// Appends the header, 2 to 14 bytes, to `output`.
    #[inline(always)]
    pub fn encode(self, output: &mut Vec<u8>) {
        let first = if self.fin { FIN } else { 0 } | self.reserved.0 | self.opcode.encode();
        let mask = if self.mask.is_some() { MASK } else { 0 };
        // §5.2: "in all cases, the minimal number of bytes MUST be used to encode the length".
        match self.length {
            short @ ..126 => output.extend_from_slice(&[first, mask | short as u8]),
            medium @ ..0x1_0000 => {
                let [high, low] = (medium as u16).to_be_bytes();
                output.extend_from_slice(&[first, mask | LENGTH_16, high, low]);
            }
            long => {
                output.extend_from_slice(&[first, mask | LENGTH_64]);
                output.extend_from_slice(&long.to_be_bytes());
            }
        }
        if let Some(key) = self.mask {
            output.extend_from_slice(&key);
        }
    }

    /// Returns the length of the encoded header.
    pub(super) fn encoded_len(self) -> usize {
        let length = match self.length {
            ..126 => 0,
            126..0x1_0000 => 2,
            _ => 8,
        };
        2 + length + self.mask.map_or(0, |key| key.len())
    }
}

#[inline]
fn check_masking(masked: bool, receiver: Role) -> Result<(), Violation> {
    match (receiver, masked) {
        // §5.1: "The server MUST close the connection upon receiving a frame that is not masked."
        (Role::Server, false) => Err(Violation::NotMasked),
        // §5.1: "A client MUST close a connection if it detects a masked frame."
        (Role::Client, true) => Err(Violation::Masked),
        _ => Ok(()),
    }
}

/// A length that does not fit the second byte, which says how long it is.
#[inline]
fn decode_length(form: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, Violation> {
    if form == LENGTH_16 {
        let Some((bytes, rest)) = rest.split_first_chunk::<2>() else { return Ok(None) };
        return minimal(u64::from(u16::from_be_bytes(*bytes)), 126, rest);
    }
    // §5.2: "the most significant bit MUST be 0".
    if rest.first().is_some_and(|byte| byte & 0x80 != 0) {
        return Err(Violation::LengthTooLarge);
    }
    let Some((bytes, rest)) = rest.split_first_chunk::<8>() else { return Ok(None) };
    minimal(u64::from_be_bytes(*bytes), 0x1_0000, rest)
}

/// §5.2: "in all cases, the minimal number of bytes MUST be used to encode the length".
fn minimal(length: u64, least: u64, rest: &[u8]) -> Result<Option<(u64, &[u8])>, Violation> {
    if length < least { Err(Violation::LengthNotMinimal) } else { Ok(Some((length, rest))) }
}

/// Returns the payload of a close frame: without a code it is empty, and a reason that is too long is cut.
pub(super) fn encode_close(code: CloseCode, reason: &str) -> Vec<u8> {
    let mut payload = Vec::new();
    if code != CloseCode::NO_STATUS {
        payload.extend_from_slice(&code.0.to_be_bytes());
        payload.extend_from_slice(truncated(reason).as_bytes());
    }
    payload
}

/// Returns the code and the reason in the payload of a close frame.
///
/// RFC 6455 §5.5.1: "If there is a body, the first two bytes of the body MUST be a 2-byte unsigned
/// integer (in network byte order) representing a status code".
pub(super) fn decode_close(payload: &[u8]) -> Result<(CloseCode, &str), Violation> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        // §7.1.5: "If this Close control frame contains no status code, _The WebSocket Connection
        // Close Code_ is considered to be 1005."
        return if payload.is_empty() { Ok((CloseCode::NO_STATUS, "")) } else { Err(Violation::CloseTooShort) };
    };
    let code = CloseCode(u16::from_be_bytes(*code));
    // What may not be sent may not be received either: the set is the same.
    if !code.is_sendable() {
        return Err(Violation::CloseCode(code));
    }
    // §5.5.1: "Following the 2-byte integer, the body MAY contain UTF-8-encoded data".
    let reason = core::str::from_utf8(reason).map_err(|_| Violation::CloseReasonUtf8)?;
    Ok((code, reason))
}

/// Returns a reason cut to [`MAX_REASON`] bytes at a character boundary: closing must not fail over diagnostics.
pub(crate) fn truncated(reason: &str) -> &str {
    let mut end = reason.len().min(MAX_REASON);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: ReservedBits = ReservedBits::NONE;
    const RSV1: ReservedBits = ReservedBits::RSV1;

    #[test]
    fn an_extension_allows_its_bit_and_no_other() {
        for (first, is_allowed) in
            [(0x81, true), (0xc1, true), (0xa1, false), (0x91, false), (0xe1, false), (0xd1, false)]
        {
            let result = Header::decode(&[first], Role::Client, RSV1);
            assert_eq!(result, if is_allowed { Ok(None) } else { Err(Violation::ReservedBits) }, "{first:x}");
        }
    }

    #[test]
    fn headers_survive_a_round_trip_and_every_cut_asks_for_more() {
        for length in [0, 1, 125, 126, 127, 0xffff, 0x1_0000, (1 << 63) - 1] {
            for (mask, receiver) in [(None, Role::Client), (Some([1, 2, 3, 4]), Role::Server)] {
                for (fin, reserved) in [(true, NONE), (false, NONE), (true, RSV1), (false, RSV1)] {
                    let header = Header { fin, reserved, mask, ..Header::new(Opcode::Binary, length) };
                    let mut bytes = Vec::new();
                    header.encode(&mut bytes);
                    assert_eq!(header.encoded_len(), bytes.len());
                    assert_eq!(Header::decode(&bytes, receiver, reserved), Ok(Some((header, bytes.len()))));
                    for cut in 0..bytes.len() {
                        assert_eq!(Header::decode(&bytes[..cut], receiver, reserved), Ok(None));
                    }
                }
            }
        }
    }

    #[test]
    fn lengths_take_the_fewest_bytes() {
        for (length, size) in [(0, 2), (125, 2), (126, 4), (0xffff, 4), (0x1_0000, 10)] {
            let mut bytes = Vec::new();
            Header::new(Opcode::Text, length).encode(&mut bytes);
            assert_eq!(bytes.len(), size);
        }
    }

    #[test]
    fn broken_rules_are_reported_at_their_byte() {
        let table: &[(&[u8], Role, Violation)] = &[
            (b"\xc1", Role::Client, Violation::ReservedBits),
            (b"\xa1", Role::Client, Violation::ReservedBits),
            (b"\x91", Role::Server, Violation::ReservedBits),
            (b"\x83", Role::Client, Violation::ReservedOpcode(3)),
            (b"\x87", Role::Client, Violation::ReservedOpcode(7)),
            (b"\x8b", Role::Client, Violation::ReservedOpcode(11)),
            (b"\x8f", Role::Server, Violation::ReservedOpcode(15)),
            (b"\x08", Role::Client, Violation::ControlFragmented),
            (b"\x09", Role::Client, Violation::ControlFragmented),
            (b"\x0a", Role::Server, Violation::ControlFragmented),
            (b"\x81\x00", Role::Server, Violation::NotMasked),
            (b"\x81\x80", Role::Client, Violation::Masked),
            (b"\x89\x7e", Role::Client, Violation::ControlTooLong),
            (b"\x88\xff", Role::Server, Violation::ControlTooLong),
            (b"\x82\x7e\x00\x7d", Role::Client, Violation::LengthNotMinimal),
            (b"\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff", Role::Client, Violation::LengthNotMinimal),
            (b"\x82\x7f\x80", Role::Client, Violation::LengthTooLarge),
        ];
        for (bytes, receiver, violation) in table {
            assert_eq!(Header::decode(bytes, *receiver, NONE), Err(*violation), "{bytes:x?}");
            let before = &bytes[..bytes.len() - 1];
            assert_eq!(Header::decode(before, *receiver, NONE), Ok(None), "{bytes:x?} reported too early");
        }
    }

    #[test]
    fn close_codes_are_checked_as_the_rfc_lists_them() {
        for code in [0u16, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
            assert!(!CloseCode(code).is_sendable(), "{code}");
            assert_eq!(decode_close(&code.to_be_bytes()), Err(Violation::CloseCode(CloseCode(code))));
        }
        for code in (1000u16..=1003).chain(1007..=1014).chain([3000, 3999, 4000, 4999]) {
            assert_eq!(decode_close(&code.to_be_bytes()), Ok((CloseCode(code), "")));
        }
    }

    #[test]
    fn an_empty_payload_is_1005_and_a_single_byte_is_a_violation() {
        assert_eq!(decode_close(b""), Ok((CloseCode::NO_STATUS, "")));
        assert_eq!(decode_close(b"\x03"), Err(Violation::CloseTooShort));
    }

    #[test]
    fn a_reason_must_be_utf8() {
        assert_eq!(decode_close(b"\x03\xe8bye"), Ok((CloseCode::NORMAL, "bye")));
        assert_eq!(decode_close(b"\x03\xe8\xff"), Err(Violation::CloseReasonUtf8));
    }

    #[test]
    fn a_long_reason_is_cut_at_a_character() {
        assert_eq!(truncated("short"), "short");
        assert_eq!(truncated(&"x".repeat(200)).len(), 123);
        assert_eq!(truncated(&"é".repeat(100)), "é".repeat(61));
        assert_eq!(truncated(&"€".repeat(100)).len(), 123);
        assert_eq!(truncated(&"😀".repeat(100)).len(), 120);
    }
}
