//! A request that asks for a WebSocket, and how it gets one.

use std::fmt;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bellwire_core::backend::{Driver, Registration, Runtime, Service, Stage, Task, Timer};
use bellwire_core::listener::{AnyListener, IntoAnyListener, IntoAsyncResponse, IntoOutcome};
use bellwire_core::proto::Connection;
use bellwire_core::proto::server::Refused;
use bellwire_core::{AsyncResponse, BoxError, Config, MessageStream, Request, ServerError, stream_listener};
use bellwire_tokio::Tokio;
use http::request::Parts;
use hyper::ext::Protocol;
use hyper::upgrade::{OnUpgrade, Upgraded};

use crate::body::Sent;
use crate::rejection::plain;
use crate::transport::Transport;
use crate::upgradable::Upgradable;
use crate::{Body, Connections, Rejection, peer};

/// A request that asks for a WebSocket: with [`listener`](Self::listener) or [`on_upgrade`](Self::on_upgrade) it gets one,
/// dropped it does not.
#[must_use = "without a listener there is no WebSocket"]
pub struct WebSocketUpgrade {
    request: Request,
    upgradable: Upgradable,
    connections: Connections,
    config: Option<Config>,
    protocol: Option<String>,
    /// Never locked: so handlers can lend an upgrade to asynchronous functions.
    on_failed: Option<Mutex<OnFailed>>,
}

pub(crate) type OnFailed = Box<dyn FnOnce(BoxError) + Send>;

impl WebSocketUpgrade {
    /// Takes the upgrade out of a request: over HTTP/1.1 that of `GET` with `Upgrade`, over HTTP/2 that of an extended
    /// `CONNECT` (RFC 8441).
    ///
    /// # Errors
    /// [`Rejection`], which is also the answer to the client.
    pub fn from_request<B>(request: &mut http::Request<B>) -> Result<Self, Rejection> {
        // The body stays where it is.
        let (mut parts, ()) = http::Request::new(()).into_parts();
        std::mem::swap(&mut parts.method, request.method_mut());
        std::mem::swap(&mut parts.uri, request.uri_mut());
        std::mem::swap(&mut parts.version, request.version_mut());
        std::mem::swap(&mut parts.headers, request.headers_mut());
        std::mem::swap(&mut parts.extensions, request.extensions_mut());
        let result = Self::from_parts(&mut parts);
        *request.method_mut() = parts.method;
        *request.uri_mut() = parts.uri;
        *request.version_mut() = parts.version;
        *request.headers_mut() = parts.headers;
        *request.extensions_mut() = parts.extensions;
        result
    }

    /// As [`from_request`](Self::from_request), of a request that was taken apart.
    ///
    /// # Errors
    /// As [`from_request`](Self::from_request).
    pub fn from_parts(parts: &mut Parts) -> Result<Self, Rejection> {
        let connections = parts.extensions.get::<Connections>().cloned().unwrap_or_else(Connections::global);
        let request = request(parts, &connections)
            .map_err(|refused| refuse(&connections, peer::of(&parts.extensions), refused))?;
        Self::checked(request, connections, parts)
    }

    fn checked(request: Request, connections: Connections, parts: &mut Parts) -> Result<Self, Rejection> {
        if connections.is_closing() {
            return Err(Rejection::ShuttingDown);
        }
        request.check_upgrade().map_err(|refused| refuse(&connections, request.peer_addr(), refused))?;
        let upgradable = Upgradable::take(&mut parts.extensions).ok_or_else(|| {
            connections.0.report(&ServerError::Upgrade(Rejection::NotUpgradable.into()));
            Rejection::NotUpgradable
        })?;
        Ok(Self { request, upgradable, connections, config: None, protocol: None, on_failed: None })
    }

    /// Returns the request.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Sets the address that the request came from, which hyper does not know: it is
    /// [`WebSocket::peer_addr`](bellwire_core::WebSocket::peer_addr).
    pub fn peer_addr(mut self, addr: impl Into<Option<SocketAddr>>) -> Self {
        self.request.set_peer_addr(addr);
        self
    }

    /// Chooses the subprotocol: among these the one that the client prefers, or none if it offers none of them.
    pub fn protocols<P: AsRef<str>>(mut self, supported: impl IntoIterator<Item = P>) -> Self {
        let supported: Vec<P> = supported.into_iter().collect();
        let names: Vec<&str> = supported.iter().map(AsRef::as_ref).collect();
        self.protocol = self.request.select_protocol(&names).map(String::from);
        self
    }

    /// Returns the subprotocol that was chosen.
    pub fn selected_protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// Sets limits and deadlines of this connection, in place of those of its [`Connections`].
    pub fn config(mut self, config: Config) -> Self {
        self.config = Some(config);
        self
    }

    /// Sets what is called if the upgrade was accepted and then fails, since the client has left or hyper does not let go of its
    /// connection. By default it is told to [`Connections::on_error`].
    pub fn on_failed_upgrade(mut self, failed: impl FnOnce(BoxError) + Send + 'static) -> Self {
        self.on_failed = Some(Mutex::new(Box::new(failed)));
        self
    }

    /// Accepts: the listener receives the connection's events. Returns the answer, which the program must send; nothing happens
    /// before that. If the handshake is not valid, or its origin is not allowed, the answer says so, and the listener is
    /// dropped.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn listener(self, listener: impl IntoAnyListener) -> http::Response<Body> {
        self.respond(AsyncResponse::from(listener.into_any_listener()))
    }

    /// Gives the answer of a handler, as bellwire's own servers do: one with a listener accepts, any other refuses, and an `Err`
    /// becomes a 500. What was chosen with [`protocols`](Self::protocols) and [`config`](Self::config) holds, whatever the
    /// answer says.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn respond(mut self, response: impl IntoAsyncResponse) -> http::Response<Body> {
        let mut response = response.into_async_response().map_err(ServerError::Handler);
        if let Some(protocol) = self.protocol.take() {
            response = response.map(|response| response.protocol(protocol));
        }
        if let Some(config) = self.config.take() {
            response = response.map(|response| response.config(config));
        }
        self.answer(response)
    }

    /// Accepts: `talk` gets the open connection as a [`MessageStream`], as [`stream_listener`] does.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn on_upgrade<F>(self, talk: impl FnOnce(MessageStream) -> F + Send + 'static) -> http::Response<Body>
    where
        F: Future<Output: IntoOutcome> + Send + 'static,
    {
        self.listener(stream_listener(talk))
    }

    fn answer(self, answer: Result<AsyncResponse, ServerError>) -> http::Response<Body> {
        let Self { request, upgradable, connections, on_failed, .. } = self;
        let on_failed = on_failed.and_then(|on_failed| on_failed.into_inner().ok());
        answer_with(&request, Some(upgradable), connections, on_failed, answer)
    }
}

/// Makes a request of what hyper has parsed, with the address that it came from, and the proxies that are trusted.
pub(crate) fn request(parts: &Parts, connections: &Connections) -> Result<Request, Refused> {
    let protocol = parts.extensions.get::<Protocol>().map(Protocol::as_str);
    let mut request = Request::from_http(parts, protocol)?;
    request.set_peer_addr(peer::of(&parts.extensions));
    request.set_trusted_proxies(&*connections.0.config().trusted_proxies);
    Ok(request)
}

/// Gives a handler's answer, which may be an upgrade.
pub(crate) fn answer_with(
    request: &Request,
    upgradable: Option<Upgradable>,
    connections: Connections,
    on_failed: Option<OnFailed>,
    answer: Result<AsyncResponse, ServerError>,
) -> http::Response<Body> {
    let service = connections.0;
    let now = Tokio.timer().now();
    let (response, connection, listener) = match service.accept_http(request, answer, now) {
        Ok(accepted) => accepted,
        Err(response) => return plain(Some(request), &response),
    };
    let on_upgrade = match upgradable.map_or(Err(Rejection::NotUpgradable), Upgradable::claimed) {
        Ok(on_upgrade) => on_upgrade,
        Err(rejection) => {
            service.report(&ServerError::Upgrade(rejection.clone().into()));
            return rejection.to_response();
        }
    };
    // Over HTTP/2 hyper lets go of no stream that was refused.
    let (body, sent) = if request.is_http2() { Default::default() } else { Body::noticing() };
    let registration = Registration::new(service.registry().clone());
    let starting = Starting { service, on_upgrade, on_failed, sent, registration };
    tokio::spawn(Accepted::Waits(Box::pin(starting.opened(connection, listener))));
    response.map(|()| body)
}

/// The client broke a rule: the owner is told.
fn refuse(connections: &Connections, peer: Option<SocketAddr>, refused: Refused) -> Rejection {
    connections.0.refuse(peer, refused.clone());
    Rejection::Refused(refused)
}

/// An accepted upgrade that hyper has not let go of yet.
struct Starting {
    service: Arc<Service>,
    on_upgrade: OnUpgrade,
    on_failed: Option<OnFailed>,
    sent: Sent,
    /// Who shuts down waits for it.
    registration: Registration,
}

impl Starting {
    /// Opens the WebSocket, as soon as there is a connection for it.
    async fn opened(mut self, connection: Connection, listener: AnyListener) -> Option<Opened> {
        let upgraded = match self.upgraded().await {
            Ok(upgraded) => upgraded,
            Err(error) => {
                self.failed(error);
                return None;
            }
        };
        let Self { service, registration, .. } = self;
        let (transport, read) = Transport::new(upgraded);
        let registry = service.registry().clone();
        let driver = Driver::accepted(service, connection, listener);
        let mut task = Task::new(transport, driver, Tokio.timer(), &registry);
        drop(registration);
        task.start(&mut Vec::from(read));
        Some(task)
    }

    /// Waits for hyper to let go of the connection.
    async fn upgraded(&mut self) -> Result<Upgraded, BoxError> {
        // The client has as long as for its request.
        let timeout = self.service.config().open_timeout.unwrap_or(Duration::MAX);
        let Self { on_upgrade, sent, registration, .. } = self;
        let upgraded = poll_fn(|cx| {
            if registration.register(cx.waker()) >= Stage::Dropping {
                return Poll::Ready(Err("the server has shut down".into()));
            }
            match Pin::new(&mut *on_upgrade).poll(cx) {
                Poll::Ready(upgraded) => Poll::Ready(upgraded.map_err(BoxError::from)),
                Poll::Pending => sent.poll(cx).map_or_else(|error| Poll::Ready(Err(error)), |()| Poll::Pending),
            }
        });
        let in_time = tokio::time::timeout(timeout, upgraded).await;
        let upgraded = in_time.map_err(|_| "hyper has not let go of the connection within open_timeout")??;
        sent.check()?;
        Ok(upgraded)
    }

    fn failed(self, error: BoxError) {
        match self.on_failed {
            Some(on_failed) => on_failed(error),
            None => self.service.report(&ServerError::Upgrade(error)),
        }
    }
}

/// What drives an open WebSocket.
type Opened = Task<Transport, <Tokio as Runtime>::Timer>;

/// An upgrade from when it is accepted. As an `async` block it would take as much memory as its beginning does, for as long as
/// the connection lives.
enum Accepted {
    Waits(Pin<Box<dyn Future<Output = Option<Opened>> + Send>>),
    Runs(Opened),
}

impl Future for Accepted {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Self::Waits(opened) = &mut *self {
            let Some(task) = ready!(opened.as_mut().poll(cx)) else { return Poll::Ready(()) };
            *self = Self::Runs(task);
        }
        match &mut *self {
            Self::Waits(_) => Poll::Pending,
            Self::Runs(task) => Pin::new(task).poll(cx),
        }
    }
}

impl fmt::Debug for WebSocketUpgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketUpgrade").field("request", &self.request).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upgrade_can_be_lent_to_another_thread() {
        fn shared<T: Send + Sync>() {}
        shared::<WebSocketUpgrade>();
    }

    #[test]
    fn a_connection_takes_no_more_memory_than_one_of_bellwires_own_server() {
        let own = size_of::<Task<<Tokio as Runtime>::Stream, <Tokio as Runtime>::Timer>>();
        assert_eq!(size_of::<Accepted>(), own);
    }
}
