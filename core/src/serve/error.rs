//! What goes wrong on a server outside of any listener.

use alloc::string::String;
use alloc::vec::Vec;
use core::error::Error;
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;
use std::io;

use super::proxy_protocol::ProxyProtocolError;
use crate::config::InvalidConfig;
use crate::handshake::server::Refused;
use crate::http::{InvalidHeader, Shown};
use crate::protocol::BoxError;
use crate::tls::TlsError;

/// A failure of a server outside of any listener: what `Server::on_error` is told.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServerError {
    /// Accepting a connection failed: out of descriptors, or the peer gave up. The server goes on.
    Accept(io::Error),
    /// A client could not agree with the server on TLS.
    #[non_exhaustive]
    Tls {
        /// Where it came from.
        peer: Option<SocketAddr>,
        /// Why.
        error: TlsError,
    },
    /// A proxy that has to announce its clients, by the PROXY protocol, has not done so; the connection was dropped.
    #[non_exhaustive]
    ProxyProtocol {
        /// Where the connection came from.
        peer: Option<SocketAddr>,
        /// What is wrong.
        error: ProxyProtocolError,
    },
    /// A request was refused before or after the handler had its say.
    #[non_exhaustive]
    Refused {
        /// Where it came from.
        peer: Option<SocketAddr>,
        /// Why, with which status, and what of the request tells more.
        refused: Refused,
    },
    /// The handler returned an error; the peer got 500. Or who talks on a connection did, on threads; it was closed with
    /// 1011.
    Handler(BoxError),
    /// The handler panicked with this message; the peer got 500, unless its responder answers.
    HandlerPanicked(String),
    /// The handler's [`Responder`](crate::Responder) was dropped without an answer; the peer got 500.
    NoAnswer,
    /// The handler has not answered within [`Config::handler_timeout`](crate::Config::handler_timeout), which this is;
    /// the peer got 503.
    HandlerTimeout(Duration),
    /// The handler chose a subprotocol that the client had not offered; the peer got 500.
    ProtocolNotOffered(String),
    /// A client has offered subprotocols, and the handler has accepted it without choosing one. The connection is open;
    /// Chromium, Node and others then fail it by themselves, with 1006. Told once per path and minute; choose with
    /// [`Response::select_protocol`](crate::Response::select_protocol).
    #[non_exhaustive]
    NoProtocolChosen {
        /// The path that was asked for, as it came.
        path: String,
        /// What was offered, in the client's order.
        offered: Vec<String>,
    },
    /// The handler's response has a header that cannot be sent, and was answered with 500: see
    /// [`Response::header`](crate::Response::header).
    #[non_exhaustive]
    Header {
        /// As the handler named it.
        name: String,
        /// What is wrong.
        error: InvalidHeader,
    },
    /// The server's configuration, or that of one upgrade, is not a good one; the peer got 500.
    Config(InvalidConfig),
    /// In a server of hyper's, hyper did not let go of a connection that was to become a WebSocket: the client has left, the
    /// server serves without upgrades, a middleware has sent another answer, or the upgrade was taken twice.
    Upgrade(BoxError),
    /// A listener panicked in `on_error` or `on_close`, where it cannot be told in any other way.
    ListenerPanicked(String),
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept(error) => write!(f, "cannot accept a connection: {error}"),
            Self::Tls { peer: Some(peer), error } => write!(f, "no TLS with {peer}: {error}"),
            Self::Tls { peer: None, error } => write!(f, "no TLS: {error}"),
            Self::ProxyProtocol { peer: Some(peer), error } => write!(f, "connection from {peer} dropped: {error}"),
            Self::ProxyProtocol { peer: None, error } => write!(f, "connection dropped: {error}"),
            Self::Refused { peer, refused } => {
                f.write_str("request")?;
                if let Some(peer) = peer {
                    write!(f, " from {peer}")?;
                }
                if let Some(path) = &refused.path {
                    write!(f, " for {}", Shown(path))?;
                }
                write!(f, " refused: {refused}")
            }
            Self::Handler(error) => write!(f, "the handler failed: {error}"),
            Self::HandlerPanicked(message) => write!(f, "the handler panicked: {message}"),
            Self::HandlerTimeout(timeout) => {
                write!(f, "the handler has not answered within {timeout:?}: make it faster, or raise handler_timeout")
            }
            Self::NoAnswer => f.write_str("the handler dropped its responder without an answer: call respond or raise"),
            Self::ProtocolNotOffered(protocol) => {
                write!(f, "the handler chose the subprotocol {protocol:?}, which the client did not offer")
            }
            Self::NoProtocolChosen { path, offered } => write!(
                f,
                "the client offers the subprotocols {} for {}, and the handler chose none: Chromium and Node fail such \
                 connections (1006), so choose one with Response::select_protocol, or refuse who offers none that you speak",
                Shown(&offered.join(", ")),
                Shown(path)
            ),
            Self::Header { name, error } => {
                write!(f, "the handler set the header {name:?}, which cannot be sent: {error}")
            }
            Self::Config(error) => error.fmt(f),
            Self::Upgrade(error) => write!(
                f,
                "a request was not upgraded: {error}. If this is not a client that has left, serve with upgrades (hyper: \
                 with_upgrades, serve_connection_with_upgrades), and let no middleware replace the answer"
            ),
            Self::ListenerPanicked(message) => write!(f, "a listener panicked in on_error or on_close: {message}"),
        }
    }
}

/// The text includes that of the error inside, so the source is that error's source.
impl Error for ServerError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Accept(error) => error.source(),
            Self::Handler(error) | Self::Upgrade(error) => error.source(),
            Self::Tls { error, .. } => error.source(),
            // Those of bellwire's own have none.
            _ => None,
        }
    }
}
