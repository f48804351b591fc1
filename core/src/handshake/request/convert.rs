//! Requests of the `http` crate, which frameworks have parsed.

use alloc::string::{String, ToString};

use ::http::request::Parts;
use ::http::uri::PathAndQuery;

use super::{Request, Version, checked};
use crate::handshake::refusal::{Refusal, Refused};
use crate::http::Headers;

impl Request {
    /// Makes a request of what a framework has parsed, and checks it as [`Handshake`](crate::proto::server::Handshake)
    /// checks the bytes of one. `protocol` is the `:protocol` of an extended `CONNECT` (RFC 8441), which hyper has among the
    /// request's extensions.
    ///
    /// ```
    /// # use bellwire_core as bellwire;
    /// use bellwire::Request;
    ///
    /// let (parts, ()) = http::Request::get("/chat?room=1").header("Host", "example.com").body(())?.into_parts();
    /// let request = Request::from_http(&parts, None)?;
    /// assert_eq!((request.path(), request.query()), ("/chat", Some("room=1")));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The rule that the client broke.
    pub fn from_http(parts: &Parts, protocol: Option<&str>) -> Result<Self, Refused> {
        convert(parts, protocol).map_err(|refusal| {
            let headers = headers(parts);
            let value = |name| headers.value(name).map(|value| value.into_owned());
            let (origin, host, path) = (value("Origin"), value("Host"), Some(parts.uri.path().into()));
            let is_head = parts.method == ::http::Method::HEAD;
            Refused { origin, host, path, is_head, ..Refused::from(refusal) }
        })
    }
}

fn convert(parts: &Parts, protocol: Option<&str>) -> Result<Request, Refusal> {
    let path = || parts.uri.path_and_query().map_or("/", PathAndQuery::as_str).into();
    // Nearly no client of HTTP/1 has scheme and host in its target.
    let target = || if parts.uri.authority().is_some() { parts.uri.to_string() } else { path() };
    let (version, target) = match parts.version {
        ::http::Version::HTTP_10 => (Version::Http10, target()),
        ::http::Version::HTTP_11 => (Version::Http11, target()),
        _ if is_http2(parts) => (Version::Http2(protocol.map(String::from)), path()),
        _ => return Err(Refusal::HttpVersion),
    };
    checked(version, parts.method.as_str(), target, headers(parts))
}

/// Also what comes after it.
fn is_http2(parts: &Parts) -> bool {
    matches!(parts.version, ::http::Version::HTTP_2 | ::http::Version::HTTP_3)
}

fn headers(parts: &Parts) -> Headers {
    let mut headers = Headers::from(&parts.headers);
    // RFC 8441 §5: "The Host information is conveyed as part of the :authority pseudo-header field".
    if let Some(authority) = parts.uri.authority().filter(|_| is_http2(parts)) {
        headers.remove("Host");
        headers.push("Host", authority.as_str().as_bytes());
    }
    headers
}
