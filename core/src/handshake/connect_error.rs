//! Why a client has no connection.

use core::fmt;
#[cfg(feature = "std")]
use std::io;

use super::client::{HandshakeError, InvalidProxy, ProxyError, RedirectError, Response};
use super::target::{InvalidCredentials, InvalidProtocol};
use crate::config::InvalidConfig;
#[cfg(feature = "http")]
use crate::http::Shown;
use crate::http::{InvalidHeader, UriError};
use crate::tls::TlsError;

/// The reason why a client could not connect. No callback has run.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL is invalid.
    Url(UriError),
    /// A request of the crate `http` has this method, and not `GET`.
    #[cfg(feature = "http")]
    Method(alloc::string::String),
    /// A header cannot be sent.
    Header(InvalidHeader),
    /// A user name, a password, a token or a cookie cannot be sent.
    Credentials(InvalidCredentials),
    /// A subprotocol cannot be offered.
    Protocol(InvalidProtocol),
    /// The configuration is invalid.
    Config(InvalidConfig),
    /// TLS could not be agreed on, or is not built in.
    Tls(TlsError),
    /// The host's name could not be resolved.
    #[cfg(feature = "std")]
    Resolve(io::Error),
    /// None of the host's addresses could be connected to; the error names each of them.
    #[cfg(feature = "std")]
    Connect(io::Error),
    /// The proxy is invalid, or there is no connection through it.
    Proxy(ProxyError),
    /// Connecting took longer than [`Config::open_timeout`](crate::Config::open_timeout), and had come so far.
    Timeout(Phase),
    /// The server refused, or its answer is not that of a WebSocket server.
    Handshake(HandshakeError),
    /// The server redirects, and [`Target::redirects`](crate::Target::redirects) did not let the client follow.
    Redirect(RedirectError),
    /// The transport failed during the handshake.
    #[cfg(feature = "std")]
    Io(io::Error),
    /// No thread could be started for the connection.
    #[cfg(feature = "std")]
    Thread(io::Error),
}

/// What a client does until it has a connection, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// The host's name is looked up.
    Resolve,
    /// Its addresses are tried.
    Connect,
    /// A proxy is asked for the way.
    Proxy,
    /// TLS is agreed on, with the server or with a proxy.
    Tls,
    /// The opening handshake of WebSocket.
    Handshake,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "the host's name was still being looked up",
            Self::Connect => "none of the host's addresses had answered",
            Self::Proxy => "the proxy had not answered",
            Self::Tls => "TLS was not agreed on",
            Self::Handshake => "the server had not answered the request",
        })
    }
}

impl ConnectError {
    /// Says of what went wrong on the way to a proxy that it was the proxy's: for backends.
    #[cfg(feature = "std")]
    #[doc(hidden)]
    #[must_use]
    pub fn of_proxy(self) -> Self {
        match self {
            Self::Resolve(error) => Self::Proxy(ProxyError::Resolve(error)),
            Self::Connect(error) => Self::Proxy(ProxyError::Connect(error)),
            Self::Tls(error) => Self::Proxy(ProxyError::Tls(error)),
            Self::Io(error) => Self::Proxy(ProxyError::Io(error)),
            Self::Timeout(_) => Self::Timeout(Phase::Proxy),
            error => error,
        }
    }

    /// Returns the server's answer if it refused, with a status other than 101; of several that redirect, the last one's.
    ///
    /// ```
    /// # use bellwire_core as bellwire;
    /// use bellwire::{Request, Response, testing};
    ///
    /// let error = testing::connect(|_: &Request| Response::new(401)).unwrap_err();
    /// assert_eq!(error.response().map(|answer| answer.status()), Some(401));
    /// ```
    pub fn response(&self) -> Option<&Response> {
        match self {
            Self::Handshake(HandshakeError::Refused(response)) => Some(response),
            Self::Redirect(error) => Some(error.response()),
            _ => None,
        }
    }

    /// Returns `true` if the same might succeed later: the host or the proxy could not be resolved or reached, something
    /// took too long or broke off, or one of the two answered with 429, 500, 502, 503 or 504. Everything else is final:
    /// what is wrong with the target or a certificate, other refusals and redirects, an answer that breaks a rule.
    ///
    /// ```
    /// # use bellwire_core as bellwire;
    /// use bellwire::{Request, Response, testing};
    ///
    /// let answers = |status| testing::connect(move |_: &Request| Response::new(status)).unwrap_err();
    /// assert!(answers(503).is_retryable());
    /// assert!(!answers(401).is_retryable());
    /// ```
    pub fn is_retryable(&self) -> bool {
        match self {
            #[cfg(feature = "std")]
            Self::Resolve(_) | Self::Connect(_) | Self::Io(_) | Self::Thread(_) => true,
            Self::Timeout(_) | Self::Tls(TlsError::Eof) => true,
            Self::Handshake(HandshakeError::Timeout | HandshakeError::Eof) => true,
            Self::Handshake(HandshakeError::Refused(response)) => response.is_transient(),
            Self::Proxy(error) => error.is_retryable(),
            _ => false,
        }
    }
}

/// [`HandshakeError::Timeout`] becomes [`ConnectError::Timeout`].
impl From<HandshakeError> for ConnectError {
    fn from(error: HandshakeError) -> Self {
        match error {
            HandshakeError::Timeout => Self::Timeout(Phase::Handshake),
            error => Self::Handshake(error),
        }
    }
}

impl From<ProxyError> for ConnectError {
    fn from(error: ProxyError) -> Self {
        Self::Proxy(error)
    }
}

/// [`ConnectError::Proxy`] with [`ProxyError::Invalid`].
impl From<InvalidProxy> for ConnectError {
    fn from(error: InvalidProxy) -> Self {
        Self::Proxy(error.into())
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(error) => error.fmt(f),
            #[cfg(feature = "http")]
            Self::Method(method) => {
                write!(f, "the request's method is {}: a WebSocket is asked for with GET", Shown(method))
            }
            Self::Header(error) => error.fmt(f),
            Self::Credentials(error) => error.fmt(f),
            Self::Protocol(error) => error.fmt(f),
            Self::Config(error) => error.fmt(f),
            Self::Tls(error) => error.fmt(f),
            #[cfg(feature = "std")]
            Self::Resolve(error) => write!(f, "cannot resolve the host: {error}"),
            #[cfg(feature = "std")]
            Self::Connect(error) => write!(f, "cannot connect: {error}"),
            Self::Proxy(error) => error.fmt(f),
            Self::Timeout(phase) => write!(f, "connecting took longer than the open timeout: {phase}"),
            Self::Handshake(error) => error.fmt(f),
            Self::Redirect(error) => error.fmt(f),
            #[cfg(feature = "std")]
            Self::Io(error) => write!(f, "the transport failed during the handshake: {error}"),
            #[cfg(feature = "std")]
            Self::Thread(error) => write!(f, "cannot start a thread for the connection: {error}"),
        }
    }
}

/// The text includes that of the error inside, so the source is that error's source.
impl core::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            #[cfg(feature = "std")]
            Self::Resolve(error) | Self::Connect(error) | Self::Io(error) | Self::Thread(error) => error.source(),
            Self::Redirect(error) => error.source(),
            Self::Proxy(error) => error.source(),
            Self::Tls(error) => error.source(),
            // Those of bellwire's own have none.
            _ => None,
        }
    }
}
