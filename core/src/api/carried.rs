//! Responses that handlers of axum return. One without a listener is a response like any other. Whether one with a listener
//! accepts depends on the request, which is not known here: it is carried to a layer that has kept the request.

use alloc::sync::Arc;
use core::fmt;

use axum_core::body::Body;
use axum_core::response::Response as Outgoing;

use super::async_response::AsyncResponse;
use super::response::Response;
use crate::handshake::PlainResponse;
use crate::sync::Mutex;

/// What the client reads if nothing on the way out knows what to do with a listener.
const NO_LAYER: &str = "A handler has accepted a WebSocket, and the layer is missing that opens it: add \
                        .layer(bellwire::axum::Connections::new()) to the router, or answer with the extractor \
                        bellwire::axum::WebSocketUpgrade\n";

/// A handler's response on its way out of a framework, among the extensions of the response that the framework sees: for
/// authors of layers.
///
/// Extensions can be cloned and shared, which a listener cannot.
#[derive(Clone)]
pub struct Carried(Arc<Mutex<Option<AsyncResponse>>>);

impl Carried {
    /// Takes what a response carries out of its extensions.
    pub fn take(extensions: &mut ::http::Extensions) -> Option<AsyncResponse> {
        extensions.remove::<Self>()?.0.lock().take()
    }
}

impl AsyncResponse {
    /// Returns `true` if a request is needed to tell what is sent, or an owner who is to be told of a mistake.
    fn has_to_be_carried(&self) -> bool {
        self.is_websocket() || self.invalid_header().is_some()
    }
}

/// A response without a listener becomes one of axum. One with a listener needs a layer around the handler, which opens the
/// WebSocket: `bellwire::axum::Connections`. Without it the client gets a 500 that says so.
impl axum_core::response::IntoResponse for AsyncResponse {
    fn into_response(self) -> Outgoing {
        if !self.has_to_be_carried() {
            let (response, _) = self.into_parts();
            let plain = response.into_upgrade().err().unwrap_or_else(PlainResponse::internal_error);
            return plain.to_http(None).map(Body::from);
        }
        let plain = match self.is_websocket() {
            true => PlainResponse::own_text(500, NO_LAYER),
            false => PlainResponse::internal_error(),
        };
        let mut response = plain.to_http(None).map(Body::from);
        response.extensions_mut().insert(Carried(Arc::new(Mutex::new(Some(self)))));
        response
    }
}

/// As that of [`AsyncResponse`].
impl axum_core::response::IntoResponse for Response {
    fn into_response(self) -> Outgoing {
        axum_core::response::IntoResponse::into_response(AsyncResponse::from(self))
    }
}

impl fmt::Debug for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Carried").field(&*self.0.lock()).finish()
    }
}
