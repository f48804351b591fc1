//! Errors, grouped by whose fault they are, and the one place that maps each to its close code.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use core::fmt;

use super::close::CloseCode;

/// Any error, as callbacks return it.
pub type BoxError = Box<dyn core::error::Error + Send + Sync>;

/// An error as [`Error`] keeps it: shared, so that each listener around a listener can have it.
pub type SharedError = Arc<dyn core::error::Error + Send + Sync>;

/// What a panic says, for [`Error::Panicked`].
#[cfg(feature = "std")]
pub(crate) fn panic_message(payload: &(dyn core::any::Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_string())
}

/// What `on_error` is told: the reason why the connection failed, after which `on_close` follows, or a
/// [`Decode`](Self::Decode), which leaves it open.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Error {
    /// The peer broke a rule of the protocol or a limit.
    Violation(Violation),
    /// The peer let a deadline pass.
    Timeout(Timeout),
    /// The peer ended the transport without a close frame: with a FIN, with a reset, or over TLS without a
    /// `close_notify`.
    Vanished,
    /// The peer does not read what it is sent ([`SlowReader::Close`](crate::config::SlowReader::Close)).
    SlowReader,
    /// The transport failed otherwise: what its `read` or `write` returned.
    Transport(SharedError),
    /// A callback of the listener returned this error.
    Callback(SharedError),
    /// A callback of the listener panicked with this message.
    Panicked(String),
    /// A message is not of the format that the [`Codec`](crate::Codec) of a [typed](crate::typed()) listener expects.
    /// The connection stays open.
    Decode(SharedError),
    /// The connection is not driven any more: its future was dropped, its runtime shut down.
    Abandoned,
}

/// A rule of RFC 6455, or a configured limit, that the peer broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// §5.2: RSV1–3 "MUST be 0 unless an extension is negotiated".
    ReservedBits,
    /// §5.2: "If an unknown opcode is received, the receiving endpoint MUST _Fail the WebSocket Connection_."
    ReservedOpcode(u8),
    /// §5.1: "The server MUST close the connection upon receiving a frame that is not masked."
    NotMasked,
    /// §5.1: "A client MUST close a connection if it detects a masked frame."
    Masked,
    /// §5.2: "the minimal number of bytes MUST be used to encode the length".
    LengthNotMinimal,
    /// §5.2: of the 64-bit length "the most significant bit MUST be 0".
    LengthTooLarge,
    /// §5.5: control frames "MUST NOT be fragmented".
    ControlFragmented,
    /// §5.5: "All control frames MUST have a payload length of 125 bytes or less".
    ControlTooLong,
    /// §5.4: a continuation frame without a message to continue.
    NothingToContinue,
    /// §5.4: a new message inside a fragmented one.
    MessageUnfinished,
    /// §8.1: a text message that is not UTF-8.
    TextNotUtf8,
    /// §5.5.1: a close frame whose body has one byte.
    CloseTooShort,
    /// §7.4: a close code that must not be sent.
    CloseCode(CloseCode),
    /// §5.5.1: a close reason that is not UTF-8.
    CloseReasonUtf8,
    /// RFC 7692 §7.2.2: the payload of a compressed message is not DEFLATE: it refers to what was never sent, ends within
    /// a block, or has more than 16 blocks with BFINAL and one for each 64 of its bytes.
    #[cfg(feature = "deflate")]
    NotDeflate,
    /// [`Config::max_text`](crate::Config::max_text): the message would have at least `length` bytes.
    TextTooLarge {
        /// Length of the earlier fragments and the announced one of this frame.
        length: u64,
        /// The limit.
        max: usize,
    },
    /// [`Config::max_binary`](crate::Config::max_binary): the message would have at least `length` bytes.
    BinaryTooLarge {
        /// Length of the earlier fragments and the announced one of this frame.
        length: u64,
        /// The limit.
        max: usize,
    },
}

/// A deadline that passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Timeout {
    /// [`Config::pong_timeout`](crate::Config::pong_timeout).
    Keepalive,
    /// [`Config::idle_timeout`](crate::Config::idle_timeout).
    Idle,
    /// [`Config::close_timeout`](crate::Config::close_timeout).
    Close,
}

/// The reason why a `send`, `ping`, `pong` or `close` was refused. Nothing was queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The connection is closing or closed.
    Closed,
    /// The peer does not read fast enough: too much is queued ([`Config::max_queued`](crate::Config::max_queued)).
    Full,
    /// This close code must not be sent.
    CloseCode(CloseCode),
    /// The data of a ping or pong is longer than 125 bytes: here is its length.
    ControlTooLong(usize),
    /// There is no connection now, but there will be another try: what a client that [reconnects](crate::reconnect) says.
    Offline,
}

impl Error {
    /// Returns the close code and reason that tell the peer, or `None` if the peer cannot be told or the connection
    /// stays open.
    pub fn close_code(&self) -> Option<(CloseCode, String)> {
        Some(match self {
            Self::Violation(violation) => (violation.close_code(), violation.close_reason()),
            Self::Timeout(Timeout::Idle) => (CloseCode::GOING_AWAY, "Connection Idle Timeout".to_string()),
            // As Python websockets: the peer is not at fault by any rule, the connection cannot be kept.
            Self::Timeout(Timeout::Keepalive) => (CloseCode::INTERNAL_ERROR, "Keepalive Ping Timeout".to_string()),
            Self::SlowReader => (CloseCode::TRY_AGAIN_LATER, "Too much unread output".to_string()),
            // A fixed reason: the error's own text may tell a stranger about the inside of the program.
            Self::Callback(_) | Self::Panicked(_) => (CloseCode::INTERNAL_ERROR, "Unexpected Error".to_string()),
            Self::Timeout(Timeout::Close) | Self::Vanished | Self::Transport(_) | Self::Decode(_) | Self::Abandoned => {
                return None;
            }
        })
    }
}

impl Violation {
    /// Returns the close code that RFC 6455 §7.4.1 gives this violation.
    pub fn close_code(self) -> CloseCode {
        match self {
            Self::TextNotUtf8 | Self::CloseReasonUtf8 => CloseCode::INVALID_PAYLOAD,
            #[cfg(feature = "deflate")]
            Self::NotDeflate => CloseCode::INVALID_PAYLOAD,
            Self::TextTooLarge { .. } | Self::BinaryTooLarge { .. } => CloseCode::TOO_BIG,
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }

    /// Returns the close reason that tells the peer, which is at most 123 bytes long. Peers may know these words: the
    /// text of [`Display`](fmt::Display) may change, and they do not.
    pub fn close_reason(self) -> String {
        let reason = match self {
            Self::ReservedBits => "Reserved bits set",
            Self::ReservedOpcode(opcode) => return format!("Reserved opcode: {opcode:#x}"),
            Self::NotMasked => "Client frame not masked",
            Self::Masked => "Server frame masked",
            Self::LengthNotMinimal => "Payload length not minimally encoded",
            Self::LengthTooLarge => "Payload length above 2^63-1",
            Self::ControlFragmented => "Control frame fragmented",
            Self::ControlTooLong => "Control frame longer than 125 bytes",
            Self::NothingToContinue => "Continuation without a message to continue",
            Self::MessageUnfinished => "New message inside a fragmented one",
            Self::TextNotUtf8 => "Text message not UTF-8",
            Self::CloseTooShort => "Close frame with a body of one byte",
            Self::CloseCode(code) => return format!("Invalid close code: {code}"),
            Self::CloseReasonUtf8 => "Close reason not UTF-8",
            #[cfg(feature = "deflate")]
            Self::NotDeflate => "Compressed message not DEFLATE",
            Self::TextTooLarge { length, max } => return format!("Text message too large: {length} > {max}"),
            Self::BinaryTooLarge { length, max } => return format!("Binary message too large: {length} > {max}"),
        };
        reason.to_string()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Violation(violation) => violation.fmt(f),
            Self::Timeout(timeout) => timeout.fmt(f),
            Self::Vanished => f.write_str("the peer ended the transport without a close frame"),
            Self::SlowReader => f.write_str("too much unread output"),
            Self::Transport(error) => write!(f, "the transport failed: {error}"),
            Self::Callback(error) => write!(f, "a callback failed: {error}"),
            Self::Panicked(message) => write!(f, "a callback panicked: {message}"),
            Self::Decode(error) => write!(f, "a message could not be decoded: {error}"),
            Self::Abandoned => f.write_str("the connection's driver was dropped"),
        }
    }
}

/// The words of the close reason, as Rust writes errors.
impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = self.close_reason();
        let mut letters = reason.chars();
        letters.next().map_or(Ok(()), |first| write!(f, "{}{}", first.to_ascii_lowercase(), letters.as_str()))
    }
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keepalive => "keepalive ping timeout",
            Self::Idle => "connection idle timeout",
            Self::Close => "close timeout",
        })
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the connection is closed"),
            Self::Full => f.write_str(
                "the peer reads too slowly and the output queue is full: send less, or raise Config::max_queued",
            ),
            Self::CloseCode(code) => write!(
                f,
                "close code {code} must not be sent: use 1000, 1001–1003, 1007–1014, or one of your own from 3000 to 4999"
            ),
            Self::ControlTooLong(length) => {
                write!(f, "ping and pong carry at most 125 bytes, not {length}: send a message instead")
            }
            Self::Offline => f.write_str(
                "there is no connection now: send again when there is one, or have messages kept with Policy::offline",
            ),
        }
    }
}

/// An error's own text includes that of the error it wraps, so [`source`](core::error::Error::source) goes on with the
/// cause of that one: along the chain each text comes once.
impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Transport(error) | Self::Callback(error) | Self::Decode(error) => error.source(),
            _ => None,
        }
    }
}

impl core::error::Error for Violation {}
impl core::error::Error for Timeout {}
impl core::error::Error for SendError {}

impl From<Violation> for Error {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

impl From<Timeout> for Error {
    fn from(timeout: Timeout) -> Self {
        Self::Timeout(timeout)
    }
}
