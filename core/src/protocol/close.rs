//! Close codes (RFC 6455 §7.4), and how a connection ended.

use alloc::string::String;
use core::fmt;

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
    /// 1012: the service restarts (IANA registry): who connects again finds it, and is to wait for a random while before.
    pub const SERVICE_RESTART: Self = Self(1012);
    /// 1013: try again later (IANA registry); sent to a reader that is too slow, if so configured.
    pub const TRY_AGAIN_LATER: Self = Self(1013);

    /// Returns `true` if the code may stand in a close frame.
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

/// How a connection ended: the code and the reason that `on_close` gets, whether both sides said goodbye, and who
/// began.
///
/// For a log, it is printed with all of its parts:
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::{Closed, ClosedBy};
///
/// let closed = Closed::clean(1001, "Server Shutdown", ClosedBy::Peer);
/// assert_eq!(closed.to_string(), r#"1001 "Server Shutdown", closed by the peer"#);
/// assert_eq!(Closed::abnormal(ClosedBy::Local).to_string(), "1006, broken off by this side");
/// ```
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

/// The reason is escaped: it may come from the peer.
impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.code.fmt(f)?;
        if !self.reason.is_empty() {
            write!(f, " {:?}", self.reason)?;
        }
        let how = if self.clean { "closed" } else { "broken off" };
        write!(f, ", {how} by {}", self.by)
    }
}

impl fmt::Display for ClosedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "this side",
            Self::Peer => "the peer",
        })
    }
}
