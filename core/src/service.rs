//! What a server needs to know to answer: its handler, its configuration, where to report what goes
//! wrong, and which connections are open.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::close::CloseCode;
use crate::config::Config;
use crate::error::BoxError;
use crate::request::Request;
use crate::response::{IntoResponse, Response};
use crate::server::Refusal;
use crate::socket::{SocketId, WebSocket};

/// A server without its transport: shared by all its connections' [drivers](crate::Driver).
pub struct Service {
    handler: Handler,
    on_error: OnError,
    config: Arc<Config>,
    connections: Mutex<Connections>,
}

type Handler = Box<dyn Fn(&Request) -> Result<Response, BoxError> + Send + Sync>;
type OnError = Box<dyn Fn(&ServerError) + Send + Sync>;

#[derive(Default)]
struct Connections {
    closing: bool,
    sockets: BTreeMap<SocketId, WebSocket>,
}

/// What goes wrong on a server outside of any listener: given to the hook that its owner sets.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServerError {
    /// Accepting a connection failed: out of descriptors, or the peer gave up. The server goes on.
    Accept(std::io::Error),
    /// A request was refused before or after the handler had its say.
    Refused {
        /// Where it came from.
        peer: Option<SocketAddr>,
        /// Why, and with which status.
        refusal: Refusal,
    },
    /// The handler returned an error; the peer got 500.
    Handler(BoxError),
    /// The handler panicked with this message; the peer got 500.
    HandlerPanicked(String),
    /// The handler chose a subprotocol that the client had not offered; the peer got 500.
    ProtocolNotOffered(String),
    /// A listener panicked in `on_error` or `on_close`, where nobody else can be told.
    ListenerPanicked(String),
}

impl Service {
    /// A service that answers requests with `handler`, reports to `on_error`, and gives its connections `config`.
    pub fn new<R: IntoResponse>(
        config: Config,
        handler: impl Fn(&Request) -> R + Send + Sync + 'static,
        on_error: impl Fn(&ServerError) + Send + Sync + 'static,
    ) -> Self {
        Self {
            handler: Box::new(move |request| handler(request).into_response()),
            on_error: Box::new(on_error),
            config: Arc::new(config),
            connections: Mutex::default(),
        }
    }

    /// The configuration of connections that do not bring their own.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// Tells the owner what went wrong. A hook that panics harms no connection.
    pub fn report(&self, error: &ServerError) {
        let _ = panic::catch_unwind(AssertUnwindSafe(|| (self.on_error)(error)));
    }

    /// Whether [`close_all`](Self::close_all) was called: no request is answered any more.
    pub fn is_closing(&self) -> bool {
        self.lock().closing
    }

    /// Closes every open connection with 1001, and refuses new ones with 503.
    pub fn close_all(&self) {
        let sockets: Vec<_> = {
            let mut connections = self.lock();
            connections.closing = true;
            connections.sockets.values().cloned().collect()
        };
        for socket in sockets {
            close(&socket);
        }
    }

    /// Drops every open connection without a closing handshake.
    pub fn abort_all(&self) {
        let sockets: Vec<_> = self.lock().sockets.values().cloned().collect();
        for socket in sockets {
            socket.abort();
        }
    }

    pub(crate) fn handle(&self, request: &Request) -> Result<Response, BoxError> {
        (self.handler)(request)
    }

    pub(crate) fn opened(&self, socket: &WebSocket) {
        let mut connections = self.lock();
        connections.sockets.insert(socket.id(), socket.clone());
        let closing = connections.closing;
        drop(connections);
        if closing {
            close(socket);
        }
    }

    pub(crate) fn ended(&self, socket: &WebSocket) {
        let removed = self.lock().sockets.remove(&socket.id());
        drop(removed);
    }

    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// RFC 6455 §7.4.1: "1001 indicates that an endpoint is "going away", such as a server going down".
fn close(socket: &WebSocket) {
    // Closed already: that is what is wanted.
    let _ = socket.close_with(CloseCode::GOING_AWAY, "Server Shutdown");
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept(error) => write!(f, "cannot accept a connection: {error}"),
            Self::Refused { peer: Some(peer), refusal } => write!(f, "request from {peer} refused: {refusal}"),
            Self::Refused { peer: None, refusal } => write!(f, "request refused: {refusal}"),
            Self::Handler(error) => write!(f, "the handler failed: {error}"),
            Self::HandlerPanicked(message) => write!(f, "the handler panicked: {message}"),
            Self::ProtocolNotOffered(protocol) => {
                write!(f, "the handler chose the subprotocol {protocol:?}, which the client did not offer")
            }
            Self::ListenerPanicked(message) => write!(f, "a listener panicked in on_error or on_close: {message}"),
        }
    }
}

impl core::error::Error for ServerError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Accept(error) => Some(error),
            Self::Handler(error) => Some(&**error),
            _ => None,
        }
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("config", &self.config).finish_non_exhaustive()
    }
}
