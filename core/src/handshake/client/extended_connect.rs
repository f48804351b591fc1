//! The client's side of the opening handshake over HTTP/2 (RFC 8441), through a library that speaks HTTP/2.

use alloc::boxed::Box;

use ::http::uri::{Authority, PathAndQuery, Scheme};
use ::http::{HeaderMap, Method, Request, StatusCode, Uri, Version};
use bytes::Bytes;

use super::offer::Offer;
use super::{HandshakeError, Response};
use crate::config::Config;
use crate::entropy::Entropy;
use crate::handshake::connect_error::ConnectError;
use crate::handshake::target::Target;
use crate::http::{UriError, append, is_of_connection};
use crate::protocol::Connection;
use crate::time::Time;

/// An extended `CONNECT` (RFC 8441), which asks for a WebSocket over HTTP/2: send the [request](Self::request) with the
/// `:protocol` [`PROTOCOL`](Self::PROTOCOL), and give the answer to [`receive`](Self::receive).
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::Target;
/// use bellwire::proto::Time;
/// use bytes::Bytes;
///
/// let target = Target::new("wss://example.com/chat")?.protocol("mqtt")?;
/// let connect = target.extended_connect()?;
/// let request = connect.request();
/// assert_eq!((request.method(), request.uri().to_string()), (&http::Method::CONNECT, "https://example.com/chat".into()));
///
/// let answer = http::Response::builder().header("Sec-WebSocket-Protocol", "mqtt").body(Bytes::new())?;
/// let (connection, response) = connect.receive(answer, Time::ZERO)?;
/// assert_eq!(response.protocol(), Some("mqtt"));
/// # drop(connection);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The connection then runs RFC 6455 unchanged, masks included, "using the HTTP/2 stream from the CONNECT transaction as if
/// it were the TCP connection" (RFC 8441 §5).
pub struct ExtendedConnect {
    uri: Uri,
    headers: HeaderMap,
    offer: Offer,
}

impl ExtendedConnect {
    /// The value of `:protocol`.
    pub const PROTOCOL: &str = "websocket";

    /// Makes the request of a target. Its limits and deadlines, headers and subprotocols count; how its host is reached is
    /// the caller's affair.
    ///
    /// `entropy` moves on into the connection. With `std`, [`Target::extended_connect`] takes the system's.
    ///
    /// # Errors
    /// [`ConnectError::Url`] if HTTP/2 cannot carry the URL or the [request target](Target::request_target).
    pub fn new(target: &Target, mut entropy: Box<dyn Entropy>) -> Result<Self, ConnectError> {
        entropy.renew();
        let mut headers = HeaderMap::new();
        target.offer(|name, value| {
            if !is_of_connection(name) {
                append(&mut headers, name, value);
            }
        });
        let uri = uri(target).ok_or(ConnectError::Url(UriError::RequestTarget))?;
        Ok(Self { uri, headers, offer: Offer::new(target, entropy) })
    }

    /// Returns the request, whose `:protocol` is to be added as the library has it.
    pub fn request(&self) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() = Method::CONNECT;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }

    /// Returns the limits and deadlines.
    pub fn config(&self) -> &Config {
        self.offer.config()
    }

    /// Judges the answer. Its body is the start of a refusal's, of which [`MAX_BODY`](super::MAX_BODY) bytes are kept.
    ///
    /// # Errors
    /// [`HandshakeError::Refused`] for any status but 200; those that say what is wrong with a 200.
    pub fn receive(
        mut self,
        answer: ::http::Response<Bytes>,
        now: Time,
    ) -> Result<(Connection, Response), HandshakeError> {
        let agrees = answer.status() == StatusCode::OK;
        let response = Response::from_http(answer);
        if agrees { self.offer.establish(response, now) } else { Err(HandshakeError::Refused(Box::new(response))) }
    }
}

/// RFC 8441 §5: 'The scheme of the target URI (Section 5.1 of [RFC7230]) MUST be "https" for "wss"-schemed WebSockets and
/// "http" for "ws"-schemed WebSockets.'
fn uri(target: &Target) -> Option<Uri> {
    let mut parts = ::http::uri::Parts::default();
    parts.scheme = Some(if target.uri().is_secure() { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority = Some(Authority::try_from(target.uri().host_header()).ok()?);
    parts.path_and_query = Some(path(&target.resource())?);
    Uri::from_parts(parts).ok()
}

/// RFC 9113 §8.3.1: "This pseudo-header field MUST NOT be empty for "http" or "https" URIs; "http" or "https" URIs that do not
/// contain a path component MUST include a value of '/'."
fn path(resource: &str) -> Option<PathAndQuery> {
    let missing = if resource.is_empty() || resource.starts_with('?') { "/" } else { "" };
    let path = [missing, resource].concat();
    // A fragment would be left out without a word.
    PathAndQuery::try_from(&path).ok().filter(|parsed| path.starts_with('/') && parsed.as_str() == path)
}

debug!(ExtendedConnect => |this| uri: this.uri.path());
