//! Why a client's handshake fails.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

use super::response::Response;
use crate::http::HeadError;

/// The reason why a client's handshake failed.
///
/// Except for [`Refused`](Self::Refused), [`Timeout`](Self::Timeout) and [`Eof`](Self::Eof) the server broke a
/// rule: RFC 6455 §4.1: "the client MUST _Fail the WebSocket Connection_".
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The server answered with a status other than 101, or 200 over HTTP/2: this is its answer. The text of the error
    /// quotes the start of its body, escaped.
    Refused(Box<Response>),
    /// The answer was not complete within [`Config::open_timeout`](crate::Config::open_timeout).
    Timeout,
    /// The server ended the transport before its answer was complete.
    Eof,
    /// The answer is not HTTP/1 (RFC 9112).
    Malformed,
    /// The answer's head is longer than [`Config::max_head`](crate::Config::max_head).
    TooLarge,
    /// The answer's head has more than this many fields: one for each 16 bytes of
    /// [`Config::max_head`](crate::Config::max_head), and at least 100.
    TooManyFields(usize),
    /// The answer is not HTTP/1.1.
    HttpVersion,
    /// The 101 has no `Upgrade`.
    MissingUpgrade,
    /// The 101 upgrades to this, not to `websocket`.
    WrongUpgrade(String),
    /// The 101 has no `Connection` with the token `Upgrade`.
    MissingConnection,
    /// The 101 has no `Sec-WebSocket-Accept`.
    MissingAccept,
    /// The 101 has more than one `Sec-WebSocket-Accept`.
    RepeatedAccept,
    /// The 101 has a `Sec-WebSocket-Accept` that does not answer the key: it may come from a cache.
    WrongAccept,
    /// The answer has these `Sec-WebSocket-Extensions`, though none was offered.
    UnexpectedExtension(String),
    /// The answer has these `Sec-WebSocket-Extensions`, which do not fit the `permessage-deflate` that was offered (RFC 7692
    /// §7.1).
    #[cfg(feature = "deflate")]
    InvalidExtension(String),
    /// The answer has more than one `Sec-WebSocket-Protocol`.
    RepeatedProtocol,
    /// The answer chooses this subprotocol, which was not offered.
    UnexpectedProtocol(String),
    /// The server takes an extended `CONNECT` over HTTP/2 for a malformed request: it does not speak RFC 8441.
    NoExtendedConnect,
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(response) => response.fmt_refusal(f),
            Self::Timeout => {
                f.write_str("the server did not answer the handshake in time: try again, or raise Config::open_timeout")
            }
            Self::Eof => f.write_str("the server closed the connection before it had answered the handshake"),
            Self::Malformed => {
                f.write_str("the server's answer is not HTTP: check host and port, and whether wss:// is meant")
            }
            Self::TooLarge => {
                f.write_str("the head of the server's answer is too large: raise Config::max_head if that is right")
            }
            Self::TooManyFields(most) => write!(
                f,
                "the server's answer has more than {most} header fields: if that is right, raise Config::max_head, which \
                 allows one for each 16 bytes"
            ),
            Self::HttpVersion => f.write_str("the server's answer is not HTTP/1.1"),
            Self::MissingUpgrade => f.write_str("the server's 101 lacks the header Upgrade"),
            Self::WrongUpgrade(upgrade) => write!(f, "the server's 101 upgrades to {upgrade:?}, not to websocket"),
            Self::MissingConnection => f.write_str("the server's 101 lacks the header Connection: Upgrade"),
            Self::MissingAccept => f.write_str("the server's 101 lacks the header Sec-WebSocket-Accept"),
            Self::RepeatedAccept => f.write_str("the server's 101 has more than one Sec-WebSocket-Accept"),
            Self::WrongAccept => f.write_str("the server's Sec-WebSocket-Accept does not answer the key that was sent"),
            Self::UnexpectedExtension(extensions) => {
                write!(f, "the server uses extensions that were not offered: {extensions:?}")
            }
            #[cfg(feature = "deflate")]
            Self::InvalidExtension(extensions) => write!(
                f,
                "the server's Sec-WebSocket-Extensions do not answer what was offered: {extensions:?}: \
                 change Config::deflate, or leave it out"
            ),
            Self::RepeatedProtocol => f.write_str("the server's answer has more than one Sec-WebSocket-Protocol"),
            Self::UnexpectedProtocol(protocol) => {
                write!(f, "the server chose the subprotocol {protocol:?}, which was not offered: offer it, or none")
            }
            Self::NoExtendedConnect => f.write_str(
                "the server has reset the request as malformed: it has no WebSockets over HTTP/2 (RFC 8441, \
                 SETTINGS_ENABLE_CONNECT_PROTOCOL), so connect over HTTP/1.1, or let the server enable them",
            ),
        }
    }
}

impl core::error::Error for HandshakeError {}

impl From<HeadError> for HandshakeError {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::Malformed | HeadError::Tls | HeadError::ProxyProtocol => Self::Malformed,
            HeadError::LineTooLong | HeadError::TooLarge => Self::TooLarge,
            HeadError::TooManyFields(most) => Self::TooManyFields(most),
            HeadError::Version => Self::HttpVersion,
        }
    }
}
