//! [`Connections`] as a layer around an application: its WebSockets are theirs, and handlers may return bellwire's responses.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::axum::response::{IntoResponse, Response};
use bellwire_core::AsyncResponse;
use bellwire_core::backend::Carried;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HOST, TRANSFER_ENCODING,
    UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, Method, Request};
use hyper::ext::Protocol;
use tower_layer::Layer;
use tower_service::Service;

use crate::rejection::plain;
use crate::upgradable::Upgradable;
use crate::upgrade::{answer_with, request};
use crate::{Connections, peer};

/// A service with [`Connections`] around it, made by `Router::layer(connections)`.
///
/// They are among the extensions of each request, where extractors find them. A [`Response`](bellwire_core::Response) or
/// [`AsyncResponse`] that a handler has returned is completed on its way out: a listener gets its WebSocket, if the request is
/// for one. Other responses pass unchanged.
#[derive(Debug, Clone)]
pub struct Layered<S> {
    inner: S,
    connections: Connections,
}

impl<S> Layer<S> for Connections {
    type Service = Layered<S>;

    fn layer(&self, inner: S) -> Layered<S> {
        Layered { inner, connections: self.clone() }
    }
}

impl<S, B> Service<Request<B>> for Layered<S>
where
    S: Service<Request<B>, Response: IntoResponse>,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Completing<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let kept = Box::new(Kept { parts: copy(&mut request), connections: self.connections.clone() });
        request.extensions_mut().insert(self.connections.clone());
        Completing { response: Box::pin(self.inner.call(request)), kept: Some(kept) }
    }
}

/// The response of a [`Layered`] service.
pub struct Completing<F> {
    response: Pin<Box<F>>,
    kept: Option<Box<Kept>>,
}

impl<F, R, E> Future for Completing<F>
where
    F: Future<Output = Result<R, E>>,
    R: IntoResponse,
{
    type Output = Result<Response, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut response = ready!(self.response.as_mut().poll(cx))?.into_response();
        Poll::Ready(Ok(match (Carried::take(response.extensions_mut()), self.kept.take()) {
            (Some(answer), Some(kept)) => kept.complete(answer, response),
            _ => response,
        }))
    }
}

/// Leaves out the request: it may have secrets in it.
impl<F> fmt::Debug for Completing<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completing").finish_non_exhaustive()
    }
}

/// What is needed of a request when its answer is an upgrade.
struct Kept {
    parts: Parts,
    connections: Connections,
}

/// Copies what an upgrade needs. A request that does not ask for one is refused, whatever else its headers say: of those only
/// `Host` is copied.
fn copy<B>(request: &mut Request<B>) -> Parts {
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = request.method().clone();
    parts.uri = request.uri().clone();
    parts.version = request.version();
    let extensions = request.extensions();
    if let Some(addr) = peer::of(extensions) {
        parts.extensions.insert(peer::PeerAddr(addr));
    }
    if request.method() == Method::CONNECT || request.headers().contains_key(UPGRADE) {
        parts.headers = request.headers().clone();
    } else {
        parts.headers.extend(request.headers().get(HOST).map(|host| (HOST, host.clone())));
    }
    if let Some(protocol) = extensions.get::<Protocol>() {
        parts.extensions.insert(protocol.clone());
    }
    Upgradable::share(request.extensions_mut(), &mut parts.extensions);
    parts
}

impl Kept {
    /// Makes the answer to the client of a handler's answer and of what the layers between have made of `carrier`.
    fn complete(self, answer: AsyncResponse, carrier: Response) -> Response {
        let Self { mut parts, connections } = self;
        let response = match request(&parts, &connections) {
            Ok(request) => {
                answer_with(&request, Upgradable::take(&mut parts.extensions), connections, None, Ok(answer))
            }
            Err(refused) => plain(None, &connections.0.refuse(peer::of(&parts.extensions), refused)),
        };
        with_headers_of(carrier, response.into_response())
    }
}

/// Adds what the layers between the handler and this one have added: cookies, say.
fn with_headers_of(carrier: Response, mut response: Response) -> Response {
    let (mut carrier, _) = carrier.into_parts();
    // A layer may have compressed its text, say.
    for of_its_body in
        [ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, TRANSFER_ENCODING]
    {
        carrier.headers.remove(of_its_body);
    }
    let own = std::mem::take(response.headers_mut());
    *response.headers_mut() = merged(carrier.headers, own);
    let own = std::mem::take(response.extensions_mut());
    carrier.extensions.extend(own);
    *response.extensions_mut() = carrier.extensions;
    response
}

/// Both fields of one name are kept: there may be several cookies.
fn merged(mut added: HeaderMap, own: HeaderMap) -> HeaderMap {
    let mut last = None;
    for (name, value) in own {
        last = name.or(last);
        if let Some(name) = &last {
            added.append(name, value);
        }
    }
    added
}
