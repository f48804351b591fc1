//! Responses of the `http` crate.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use super::{Content, IntoResponse, Response};
use crate::api::async_response::{AsyncResponse, IntoAsyncResponse};
use crate::handshake::PlainResponse;
use crate::http::{Headers, InvalidHeader};
use crate::protocol::BoxError;

/// The reason why a handler's [`Response`] is no `http::Response`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotPlain {
    /// It accepts a WebSocket, for which it needs the stream of the request.
    WebSocket,
    /// The header of this name cannot be sent: a mistake in the program.
    Header(String, InvalidHeader),
}

/// Only a plain response can be converted. One that accepts a WebSocket needs more than a response has: the stream under the
/// request. `bellwire::hyper::WebSocketUpgrade` takes a listener and the stream, and `bellwire::tower::service` a whole
/// handler.
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::{Response, listener};
///
/// let page = http::Response::try_from(Response::text("hello"))?;
/// assert_eq!((page.status(), &page.body()[..]), (http::StatusCode::OK, &b"hello"[..]));
/// assert!(http::Response::try_from(Response::websocket(listener())).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl TryFrom<Response> for ::http::Response<Bytes> {
    type Error = NotPlain;

    fn try_from(response: Response) -> Result<Self, NotPlain> {
        match response.0 {
            Content::Plain(plain) => Ok(plain.to_http(None)),
            Content::Upgrade(_) => Err(NotPlain::WebSocket),
            Content::Broken(name, error) => Err(NotPlain::Header(name, error)),
        }
    }
}

/// As a [`Response`].
impl TryFrom<AsyncResponse> for ::http::Response<Bytes> {
    type Error = NotPlain;

    fn try_from(response: AsyncResponse) -> Result<Self, NotPlain> {
        response.into_parts().0.try_into()
    }
}

/// As a response that the program has made with [`Response::new`], with all its headers but those that say where a message
/// ends and what becomes of the connection: the server writes them. A 1xx becomes a 500.
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::{Request, Response};
///
/// fn handler(_: &Request) -> Result<Response, http::Error> {
///     Ok(http::Response::builder().status(404).header("X-Why", "gone").body("Nothing here")?.into())
/// }
/// assert_eq!(handler(&Request::get("/"))?.headers().value("x-why").as_deref(), Some("gone"));
/// # Ok::<(), http::Error>(())
/// ```
impl<B: Into<Vec<u8>>> From<::http::Response<B>> for Response {
    fn from(response: ::http::Response<B>) -> Self {
        const FRAMING: [&str; 7] =
            ["connection", "keep-alive", "proxy-connection", "content-length", "transfer-encoding", "trailer", "te"];
        let (parts, body) = response.into_parts();
        let mut plain = PlainResponse::new(parts.status.as_u16());
        plain.body = body.into();
        plain.headers = Headers::from(&parts.headers);
        FRAMING.iter().for_each(|name| plain.headers.remove(name));
        plain.into()
    }
}

impl<B: Into<Vec<u8>>> IntoResponse for ::http::Response<B> {
    fn into_response(self) -> Result<Response, BoxError> {
        Ok(self.into())
    }
}

impl<B: Into<Vec<u8>>> IntoAsyncResponse for ::http::Response<B> {
    fn into_async_response(self) -> Result<AsyncResponse, BoxError> {
        Ok(Response::from(self).into())
    }
}

impl fmt::Display for NotPlain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WebSocket => f.write_str(
                "the response accepts a WebSocket, which needs the stream of its request: use \
                 bellwire::hyper::WebSocketUpgrade, or mount the handler with bellwire::tower::service",
            ),
            Self::Header(name, error) => write!(f, "the response's header {name:?} cannot be sent: {error}"),
        }
    }
}

impl core::error::Error for NotPlain {}
