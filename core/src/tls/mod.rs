//! TLS (RFC 8446) without sockets: rustls and native-tls as machines that take bytes and give bytes.
//!
//! A [`Session`] is one end of a connection. What runs it, on tasks or on threads, moves the bytes; so every runtime has
//! TLS, over TCP, through a proxy, and through a proxy that is spoken to over TLS itself. With neither feature on, a
//! session cannot be started, and says so.

// Both libraries are spoken to through these traits. What stands behind them here are buffers.
#![allow(clippy::disallowed_types, reason = "rustls and native-tls take readers and writers")]

mod config;
mod error;
#[cfg(feature = "native-tls")]
mod native;
#[cfg(feature = "__rustls")]
mod rustls;
#[cfg(feature = "__tls")]
mod session;
#[cfg(all(feature = "std", not(feature = "__tls")))]
#[path = "no_session.rs"]
mod session;

pub use self::config::{ClientTls, ServerTls};
pub use self::error::TlsError;
#[cfg(feature = "std")]
pub use self::session::Session;

/// RFC 7301: the one protocol that is offered and accepted. What is not HTTP/1.1 has no `Upgrade`.
#[cfg(feature = "__tls")]
const ALPN: &str = "http/1.1";

/// RFC 8446 §6.1: "Any data received after a closure alert has been received MUST be ignored"; an end without one may be
/// somebody else's doing, who has cut off the rest.
#[cfg(feature = "__tls")]
fn truncated() -> std::io::Error {
    std::io::Error::new(
        std::io::ErrorKind::UnexpectedEof,
        "the peer's stream ended without TLS's close_notify: it may be cut off",
    )
}
