//! Handlers of bellwire as services of tower.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bellwire_core::backend::{Runtime, Service, report};
use bellwire_core::listener::{IntoAsyncResponse, IntoResponse};
use bellwire_core::{Config, Request, Responder, ServerError};
use bellwire_tokio::Tokio;
use http::Response;
use http::request::Parts;

use crate::rejection::plain;
use crate::upgradable::Upgradable;
use crate::upgrade::{answer_with, request};
use crate::{Body, Connections, peer};

/// Makes a service of a handler: what `bellwire::tokio::serve` takes, in a server that is already there.
///
/// Frameworks mount it, and hyper serves it:
///
/// ```no_run
/// # mod bellwire { pub use bellwire_core::*; pub mod tower { pub use bellwire_hyper::tower::*; } }
/// use bellwire::{Request, Response, is_upgrade_request, listener};
///
/// fn echo(request: &Request) -> Response {
///     if !is_upgrade_request(request) {
///         return Response::text("There is a WebSocket here.\n");
///     }
///     Response::websocket(listener().on_message(|socket, message| socket.send(message)))
/// }
///
/// # #[cfg(feature = "axum")]
/// # fn router() {
/// let app: axum::Router = axum::Router::new().route_service("/echo", bellwire::tower::service(echo));
/// # }
/// ```
///
/// The handler sees the path that the service gets: a router that nests a service removes the prefix. Requests that
/// announce a body, and those with methods other than `GET`, `HEAD` and `OPTIONS`, are refused before the handler sees them, as on bellwire's own
/// servers.
pub fn service<R: IntoResponse>(
    handler: impl Fn(&Request) -> R + Send + Sync + 'static, // an `async` one goes to `service_async`
) -> HandlerService {
    HandlerService::of(Service::new(Config::default(), handler, printing()))
}

/// As [`service`], with an asynchronous handler, whose answer may carry an asynchronous listener. It has as long as
/// [`Config::handler_timeout`] says, and is dropped when the client leaves.
///
/// ```
/// # mod bellwire { pub use bellwire_core::*; pub mod tower { pub use bellwire_hyper::tower::*; } }
/// use bellwire::{AsyncResponse, stream_listener};
///
/// let echo = bellwire::tower::service_async(|_request| async {
///     AsyncResponse::websocket(stream_listener(|mut messages| async move {
///         while let Some(message) = messages.recv().await {
///             messages.send(message?).await?;
///         }
///         Ok::<_, bellwire::StreamError>(())
///     }))
/// });
/// # let _ = echo;
/// ```
pub fn service_async<F: Future<Output: IntoAsyncResponse> + Send + 'static>(
    handler: impl Fn(Request) -> F + Send + Sync + 'static, // one that is not `async` goes to `service`
) -> HandlerService {
    HandlerService::of(Service::asynchronous(Config::default(), handler, printing()))
}

/// As [`service`], with a handler that answers when it likes, and from where it likes.
pub fn service_with(handler: impl Fn(Request, Responder) + Send + Sync + 'static) -> HandlerService {
    HandlerService::of(Service::with_responder(Config::default(), handler, printing()))
}

fn printing() -> impl Fn(&ServerError) + Send + Sync + 'static {
    report::printing(Tokio::unix_time, Tokio::print)
}

/// A handler as a service, made by [`service`]. Clones are the same.
#[derive(Clone)]
pub struct HandlerService(Connections);

impl HandlerService {
    fn of(service: Service) -> Self {
        Self(Connections::from_service(service))
    }

    /// Sets limits, deadlines and policies of connections that do not bring their own.
    #[must_use]
    pub fn config(self, config: Config) -> Self {
        let registry = self.0.0.registry().clone();
        Self::of(self.0.0.with_config(config).with_registry(registry))
    }

    /// Sets what is told of failures outside of any listener, in place of stderr; `on_error(|_| ())` makes it quiet.
    #[must_use]
    pub fn on_error(self, hook: impl Fn(&ServerError) + Send + Sync + 'static) -> Self {
        let registry = self.0.0.registry().clone();
        Self::of(self.0.0.with_hook(hook).with_registry(registry))
    }

    /// Counts its WebSockets among these, so that they end together.
    #[must_use]
    pub fn join(self, connections: &Connections) -> Self {
        let config = Config::clone(self.0.0.config());
        Self::of(self.0.0.with_config(config).with_registry(connections.0.registry().clone()))
    }

    /// Returns its WebSockets: how many there are, and how they are ended.
    pub fn connections(&self) -> Connections {
        self.0.clone()
    }

    async fn answer(self, mut parts: Parts) -> Response<Body> {
        let service: &Arc<Service> = &self.0.0;
        let request = match request(&parts, &self.0) {
            Ok(request) => request,
            Err(refused) => return plain(None, &service.refuse(peer::of(&parts.extensions), refused)),
        };
        let answer = service.answer(&request, Tokio.timer()).await;
        answer_with(&request, Upgradable::take(&mut parts.extensions), self.0, None, answer)
    }
}

impl<B> tower_service::Service<http::Request<B>> for HandlerService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Answering {
        let (parts, _) = request.into_parts();
        Answering(Box::pin(self.clone().answer(parts)))
    }
}

/// The answer of a [`HandlerService`].
///
/// # Cancel safety
/// Dropping it drops what the handler does: the client has left.
pub struct Answering(Pin<Box<dyn Future<Output = Response<Body>> + Send>>);

impl Future for Answering {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx).map(Ok)
    }
}

impl fmt::Debug for HandlerService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HandlerService").field(&self.0).finish()
    }
}

impl fmt::Debug for Answering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answering").finish_non_exhaustive()
    }
}
