//! Close codes and reasons (RFC 6455 §7.4): which may be sent, which may be received.

use alloc::string::String;
use core::fmt;

use super::error::Violation;
use super::frame::MAX_CONTROL_PAYLOAD;

/// The longest reason that fits a close frame: 125 bytes less the two of the code.
pub(crate) const MAX_REASON: usize = MAX_CONTROL_PAYLOAD - 2;

/// A close status code (RFC 6455 §7.4.1).
///
/// Any `u16` can be named; only those for which [`is_sendable`](Self::is_sendable) holds go on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// 1000: the purpose of the connection has been fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: the endpoint goes away: a server shuts down, a page is left.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: the endpoint cannot accept this type of data.
    pub const UNSUPPORTED: Self = Self(1003);
    /// 1005: the peer's close frame carried no code. Reported, never sent.
    pub const NO_STATUS: Self = Self(1005);
    /// 1006: the connection ended without a close frame. Reported, never sent.
    pub const ABNORMAL: Self = Self(1006);
    /// 1007: data that does not fit its type, such as text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// 1008: a policy was violated and no other code fits.
    pub const POLICY: Self = Self(1008);
    /// 1009: the message is too big to process.
    pub const TOO_BIG: Self = Self(1009);
    /// 1011: something unexpected went wrong on this side.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// 1013: try again later (IANA registry); sent to a reader that is too slow, if so configured.
    pub const TRY_AGAIN_LATER: Self = Self(1013);

    /// Whether the code may stand in a close frame.
    ///
    /// RFC 6455 §7.4.1: 1005, 1006 and 1015 "MUST NOT be set as a status code in a Close control frame by an
    /// endpoint", and 1004 is "Reserved". §7.4.2: 0–999 are not used, 1000–2999 belong to the
    /// protocol (1012–1014 are registered with IANA), 3000–4999 to libraries and applications.
    pub const fn is_sendable(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl From<u16> for CloseCode {
    fn from(code: u16) -> Self {
        Self(code)
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        code.0
    }
}

impl PartialEq<u16> for CloseCode {
    fn eq(&self, other: &u16) -> bool {
        self.0 == *other
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a connection ended: what `on_close` reports, and what Ring's two arguments leave out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closed {
    /// The code: the peer's where it sent one, 1005 for an empty close frame, 1006 if it vanished, the
    /// local one where this side failed the connection.
    pub code: CloseCode,
    /// The reason, empty if there was none.
    pub reason: String,
    /// Whether both sides sent a close frame (RFC 6455 §7.1.4: "closed cleanly").
    pub clean: bool,
    /// Who began to close.
    pub by: ClosedBy,
}

/// One of the two ends of a connection, seen from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClosedBy {
    /// This side.
    Local,
    /// The other side.
    Peer,
}

/// Reads the payload of a close frame.
///
/// RFC 6455 §5.5.1: "If there is a body, the first two bytes of the body MUST be a 2-byte unsigned
/// integer (in network byte order) representing a status code".
pub(crate) fn decode(payload: &[u8]) -> Result<(CloseCode, &str), Violation> {
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

/// Cuts a reason to [`MAX_REASON`] bytes at a character boundary: closing must not fail over diagnostics.
pub(crate) fn truncated(reason: &str) -> &str {
    let mut end = reason.len().min(MAX_REASON);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.get(..end).unwrap_or_default()
}

impl Closed {
    /// Creates an end without a close frame from the peer (RFC 6455 §7.1.5: 1006).
    pub fn abnormal(by: ClosedBy) -> Self {
        Self { code: CloseCode::ABNORMAL, reason: String::new(), clean: false, by }
    }

    /// Creates an end by the closing handshake, with the code and the reason of the peer's close frame.
    pub fn clean(code: impl Into<CloseCode>, reason: impl Into<String>, by: ClosedBy) -> Self {
        Self { code: code.into(), reason: reason.into(), clean: true, by }
    }

    /// Creates an end by this side, which failed the connection.
    pub fn failed(code: impl Into<CloseCode>, reason: impl Into<String>) -> Self {
        Self { code: code.into(), reason: reason.into(), clean: false, by: ClosedBy::Local }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_codes_are_checked_as_the_rfc_lists_them() {
        for code in [0u16, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
            assert!(!CloseCode(code).is_sendable(), "{code}");
            assert_eq!(decode(&code.to_be_bytes()), Err(Violation::CloseCode(CloseCode(code))));
        }
        for code in (1000u16..=1003).chain(1007..=1014).chain([3000, 3999, 4000, 4999]) {
            assert_eq!(decode(&code.to_be_bytes()), Ok((CloseCode(code), "")));
        }
    }

    #[test]
    fn an_empty_payload_is_1005_and_a_single_byte_is_a_violation() {
        assert_eq!(decode(b""), Ok((CloseCode::NO_STATUS, "")));
        assert_eq!(decode(b"\x03"), Err(Violation::CloseTooShort));
    }

    #[test]
    fn a_reason_must_be_utf8() {
        assert_eq!(decode(b"\x03\xe8bye"), Ok((CloseCode::NORMAL, "bye")));
        assert_eq!(decode(b"\x03\xe8\xff"), Err(Violation::CloseReasonUtf8));
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
