//! The response that an asynchronous handler returns: as [`Response`], and an upgrade may carry an
//! [`AsyncListener`](crate::AsyncListener).
//!
//! It is a type of its own, so that a handler of a backend that cannot wait for callbacks cannot return it.

use core::fmt;

use super::any_listener::{AnyListener, Kind};
use super::async_listener::{BoxAsyncListener, IntoAsyncListener};
use super::builder::listener;
use super::listener::IntoListener;
use super::response::{IntoResponse, Response};
use crate::config::Config;
use crate::handshake::Request;
use crate::http::{Headers, InvalidHeader};
use crate::protocol::BoxError;

/// An asynchronous handler's response: any [`Response`], or an upgrade with an asynchronous listener
/// ([`websocket`](Self::websocket)).
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::{AsyncResponse, Request, Response, async_listener, is_upgrade_request};
///
/// async fn echo(request: Request) -> AsyncResponse {
///     if !is_upgrade_request(&request) {
///         return Response::upgrade_required().into();
///     }
///     AsyncResponse::websocket(
///         async_listener().on_message(async |socket, message| socket.send_and_wait(message).await),
///     )
/// }
/// ```
///
/// A [`Response`], which is all that a blocking server takes, cannot carry an asynchronous listener:
///
/// ```compile_fail,E0277
/// # use bellwire_core as bellwire;
/// use bellwire::{Response, async_listener};
///
/// let response = Response::websocket(async_listener());
/// ```
pub struct AsyncResponse {
    response: Response,
    /// Replaces the listener of the response.
    listener: Option<BoxAsyncListener>,
}

impl AsyncResponse {
    /// Accepts the upgrade: the listener receives the connection's events, as with
    /// [`Response::websocket`].
    pub fn websocket(listener_: impl IntoAsyncListener) -> Self {
        Self { response: Response::websocket(listener()), listener: Some(listener_.into_async_listener()) }
    }

    /// Adds a header, as [`Response::header`] does.
    #[must_use]
    pub fn header(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        Self { response: self.response.header(name, value), ..self }
    }

    /// Adds a header, as [`Response::try_header`] does.
    ///
    /// # Errors
    /// As [`Response::try_header`].
    pub fn try_header(self, name: &str, value: impl AsRef<[u8]>) -> Result<Self, InvalidHeader> {
        Ok(Self { response: self.response.try_header(name, value)?, ..self })
    }

    /// Chooses the subprotocol, as [`Response::protocol`] does.
    #[must_use]
    pub fn protocol(self, protocol: impl Into<alloc::string::String>) -> Self {
        Self { response: self.response.protocol(protocol), ..self }
    }

    /// Chooses the subprotocol, as [`Response::select_protocol`] does.
    #[must_use]
    pub fn select_protocol(self, request: &Request, supported: &[&str]) -> Self {
        Self { response: self.response.select_protocol(request, supported), ..self }
    }

    /// Sets limits and deadlines, as [`Response::config`] does.
    #[must_use]
    pub fn config(self, config: Config) -> Self {
        Self { response: self.response.config(config), ..self }
    }

    /// Wraps the listener of an upgrade, as [`Response::map_listener`] does; plain responses stay as they are. This is
    /// what middleware does, for listeners of all kinds: those of [`stream`](crate::stream()) are wrapped as any other,
    /// and a plain listener as an asynchronous one.
    ///
    /// ```
    /// # use bellwire_core as bellwire;
    /// use bellwire::{AsyncListener, AsyncResponse, Outcome, OwnedMessage, WebSocket};
    /// use bellwire::listener::BoxAsyncListener;
    ///
    /// /// Prints what comes. All other events go to the listener inside.
    /// struct Traced(BoxAsyncListener);
    ///
    /// impl AsyncListener for Traced {
    ///     fn inner(&mut self) -> Option<&mut BoxAsyncListener> {
    ///         Some(&mut self.0)
    ///     }
    ///
    ///     async fn on_message(&mut self, socket: &WebSocket, message: OwnedMessage) -> Outcome {
    ///         println!("{}: {message:?}", socket.id());
    ///         self.0.on_message(socket, message).await
    ///     }
    /// }
    ///
    /// fn traced(response: AsyncResponse) -> AsyncResponse {
    ///     response.map_listener(Traced)
    /// }
    /// ```
    #[must_use]
    pub fn map_listener<L: IntoAsyncListener>(mut self, wrap: impl FnOnce(BoxAsyncListener) -> L) -> Self {
        if let Some(inner) = self.listener {
            return Self { listener: Some(wrap(inner).into_async_listener()), ..self };
        }
        let mut plain = None;
        self.response = self.response.map_listener(|inner| {
            plain = Some(inner);
            listener().into_listener()
        });
        Self { listener: plain.map(|plain| wrap(plain.into()).into_async_listener()), ..self }
    }

    /// Returns `true` if this accepts an upgrade.
    pub fn is_websocket(&self) -> bool {
        self.response.is_websocket()
    }

    /// Returns the status code, as [`Response::status`] does.
    pub fn status(&self) -> u16 {
        self.response.status()
    }

    /// Returns the headers, as [`Response::headers`] does.
    pub fn headers(&self) -> &Headers {
        self.response.headers()
    }

    /// Returns the body, as [`Response::body`] does.
    pub fn body(&self) -> &[u8] {
        self.response.body()
    }

    /// Returns the first header that cannot be sent, as [`Response::invalid_header`] does.
    pub fn invalid_header(&self) -> Option<(&str, &InvalidHeader)> {
        self.response.invalid_header()
    }

    /// Returns the response, and the listener that replaces its own.
    pub(crate) fn into_parts(self) -> (Response, Option<BoxAsyncListener>) {
        (self.response, self.listener)
    }
}

/// Accepts the upgrade, as [`websocket`](AsyncResponse::websocket) does.
impl From<AnyListener> for AsyncResponse {
    fn from(listener: AnyListener) -> Self {
        match listener.0 {
            Kind::Plain(listener) => Response::boxed(listener).into(),
            Kind::Async(listener) => Self::websocket(listener),
        }
    }
}

impl From<Response> for AsyncResponse {
    fn from(response: Response) -> Self {
        Self { response, listener: None }
    }
}

impl fmt::Debug for AsyncResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AsyncResponse").field(&self.response).finish()
    }
}

/// What an asynchronous handler may return: an [`AsyncResponse`], a [`Response`], or a `Result` of one, whose error
/// becomes a 500.
#[diagnostic::on_unimplemented(
    message = "an asynchronous handler returns `AsyncResponse`, `Response` or a `Result` of one, not `{Self}`"
)]
pub trait IntoAsyncResponse {
    /// Returns the response.
    ///
    /// # Errors
    /// Returns the handler's error. It is reported to the server's owner, never to the client.
    fn into_async_response(self) -> Result<AsyncResponse, BoxError>;
}

impl IntoAsyncResponse for AsyncResponse {
    fn into_async_response(self) -> Result<AsyncResponse, BoxError> {
        Ok(self)
    }
}

impl IntoAsyncResponse for Response {
    fn into_async_response(self) -> Result<AsyncResponse, BoxError> {
        self.into_response().map(AsyncResponse::from)
    }
}

impl<R: IntoAsyncResponse, E: Into<BoxError>> IntoAsyncResponse for Result<R, E> {
    fn into_async_response(self) -> Result<AsyncResponse, BoxError> {
        self.map_err(Into::into)?.into_async_response()
    }
}
