//! Why a request is not upgraded, as a response.

use std::error::Error;
use std::fmt;

use bellwire_core::Request;
use bellwire_core::proto::server::{PlainResponse, Refused};
use http::{HeaderValue, Response, StatusCode, header};

use crate::Body;

/// The reason why a request is not upgraded: the client has broken a rule, or the server cannot.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejection {
    /// The client broke a rule: the status and the text are those of [`Refused`].
    Refused(Refused),
    /// 500: hyper offers no upgrade of this request, or somebody else has taken it: another extractor, or a middleware.
    NotUpgradable,
    /// 500: it was upgraded by [`WebSocketUpgrade`](crate::WebSocketUpgrade), and the handler has returned a
    /// [`Response`](bellwire_core::Response) that would do so once more. The first one gets no connection either.
    UpgradedTwice,
    /// 503: the application's [`Connections`](crate::Connections) are shutting down.
    ShuttingDown,
}

impl Rejection {
    /// Returns the answer to the client.
    pub fn to_response(&self) -> Response<Body> {
        match self {
            Self::Refused(refused) => plain(None, &refused.to_response()),
            Self::NotUpgradable | Self::UpgradedTwice => text(StatusCode::INTERNAL_SERVER_ERROR, self),
            Self::ShuttingDown => text(StatusCode::SERVICE_UNAVAILABLE, self),
        }
    }
}

/// A plain response, with its content.
pub(crate) fn plain(request: Option<&Request>, response: &PlainResponse) -> Response<Body> {
    response.to_http(request).map(Body::from)
}

fn text(status: StatusCode, text: &impl fmt::Display) -> Response<Body> {
    let mut response = Response::new(Body::from(bytes::Bytes::from(format!("{text}\n"))));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refused) => refused.fmt(f),
            Self::NotUpgradable => f.write_str(
                "This request cannot be upgraded: it has no hyper::upgrade::OnUpgrade, so it does not come from hyper, or \
                 another extractor or a middleware has taken it: upgrade once",
            ),
            Self::UpgradedTwice => f.write_str(
                "This request was upgraded twice: by its WebSocketUpgrade, and by the Response that the handler has returned. \
                 Return what the WebSocketUpgrade makes, or do without it",
            ),
            Self::ShuttingDown => f.write_str("The server is shutting down: try again later"),
        }
    }
}

impl Error for Rejection {}

impl From<Refused> for Rejection {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}
