//! WebSockets in handlers of axum.

use std::fmt;
use std::net::SocketAddr;

use ::axum::extract::{FromRequestParts, OptionalFromRequestParts};
use ::axum::response::{IntoResponse, Response};
use bellwire_core::listener::{IntoAnyListener, IntoAsyncResponse, IntoOutcome};
use bellwire_core::{BoxError, Config, MessageStream, Request};
use http::header::UPGRADE;
use http::request::Parts;
use http::{Method, Version};

pub use crate::layer::Layered;
pub use crate::{Connections, PeerAddr, Rejection};

/// An extractor: the handler is asked for a WebSocket. It answers with [`on_upgrade`](Self::on_upgrade), as with axum's own, or
/// with [`listener`](Self::listener).
///
/// ```no_run
/// # mod bellwire { pub use bellwire_core::*; pub mod axum { pub use bellwire_hyper::axum::*; } }
/// use axum::Router;
/// use axum::response::Response;
/// use axum::routing::any;
/// use bellwire::axum::WebSocketUpgrade;
/// use bellwire::listener;
///
/// async fn stream(upgrade: WebSocketUpgrade) -> Response {
///     upgrade.on_upgrade(|mut messages| async move {
///         while let Some(message) = messages.recv().await {
///             messages.send(message?).await?;
///         }
///         Ok::<_, bellwire::StreamError>(())
///     })
/// }
///
/// async fn events(upgrade: WebSocketUpgrade) -> Response {
///     upgrade.listener(listener().on_message(|socket, message| socket.send(message)))
/// }
///
/// # async fn example() -> std::io::Result<()> {
/// let app = Router::new().route("/stream", any(stream)).route("/events", any(events));
/// axum::serve(tokio::net::TcpListener::bind("127.0.0.1:3000").await?, app).await
/// # }
/// ```
///
/// A request that breaks a rule of the handshake is answered with a [`Rejection`]. An `Option<WebSocketUpgrade>` is `None` for
/// requests that do not ask for a WebSocket, and still refuses those that ask for one in a wrong way.
///
/// Its connections are those of the [`Connections`] among the request's extensions, where the layer of that name puts them, and
/// otherwise [`Connections::global`]. Their address is that of axum's `ConnectInfo<SocketAddr>`, if the router was made a service
/// with it.
///
/// Over HTTP/2 a WebSocket is asked for with `CONNECT`: route with [`any`](::axum::routing::any), and turn on axum's feature
/// `http2`.
#[must_use = "without a listener there is no WebSocket"]
pub struct WebSocketUpgrade(crate::WebSocketUpgrade);

impl WebSocketUpgrade {
    /// Returns the request.
    pub fn request(&self) -> &Request {
        self.0.request()
    }

    /// Sets the address that the request came from, if there is no `ConnectInfo<SocketAddr>` that says it.
    pub fn peer_addr(self, addr: impl Into<Option<SocketAddr>>) -> Self {
        Self(self.0.peer_addr(addr))
    }

    /// Chooses the subprotocol: among these the one that the client prefers, or none if it offers none of them.
    pub fn protocols<P: AsRef<str>>(self, supported: impl IntoIterator<Item = P>) -> Self {
        Self(self.0.protocols(supported))
    }

    /// Returns the subprotocol that was chosen.
    pub fn selected_protocol(&self) -> Option<&str> {
        self.0.selected_protocol()
    }

    /// Sets limits and deadlines of this connection, in place of those of its [`Connections`].
    pub fn config(self, config: Config) -> Self {
        Self(self.0.config(config))
    }

    /// Sets what is called if the upgrade was accepted and then fails. By default it is told to [`Connections::on_error`].
    pub fn on_failed_upgrade(self, failed: impl FnOnce(BoxError) + Send + 'static) -> Self {
        Self(self.0.on_failed_upgrade(failed))
    }

    /// Accepts: `talk` gets the open connection as a [`MessageStream`], in a task of its own.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use = "the WebSocket is there when this response is sent"]
    pub fn on_upgrade<F>(self, talk: impl FnOnce(MessageStream) -> F + Send + 'static) -> Response
    where
        F: Future<Output: IntoOutcome> + Send + 'static,
    {
        self.0.on_upgrade(talk).into_response()
    }

    /// Accepts: the listener receives the connection's events.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use = "the WebSocket is there when this response is sent"]
    pub fn listener(self, listener: impl IntoAnyListener) -> Response {
        self.0.listener(listener).into_response()
    }

    /// Gives the answer of a handler of bellwire: one with a listener accepts, any other refuses.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use = "the WebSocket is there when this response is sent"]
    pub fn respond(self, response: impl IntoAsyncResponse) -> Response {
        self.0.respond(response).into_response()
    }

    /// Returns what servers of hyper have in its place.
    pub fn into_inner(self) -> crate::WebSocketUpgrade {
        self.0
    }
}

impl<S: Send + Sync> FromRequestParts<S> for WebSocketUpgrade {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        crate::WebSocketUpgrade::from_parts(parts).map(Self)
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for WebSocketUpgrade {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Rejection> {
        asks(parts).then(|| crate::WebSocketUpgrade::from_parts(parts).map(Self)).transpose()
    }
}

/// Returns `true` if a request is for a WebSocket, be it well-formed or not.
fn asks(parts: &Parts) -> bool {
    match parts.version {
        Version::HTTP_11 => {
            let upgrades = parts.headers.get_all(UPGRADE).into_iter();
            let mut tokens = upgrades.flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
            tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(b"websocket"))
        }
        Version::HTTP_2 => parts.method == Method::CONNECT,
        _ => false,
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        self.to_response().into_response()
    }
}

impl fmt::Debug for WebSocketUpgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WebSocketUpgrade").field(self.0.request()).finish()
    }
}
