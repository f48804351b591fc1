//! Requests of the `http` crate, which frameworks have parsed.

use alloc::string::{String, ToString};

use ::http::request::Parts;
use ::http::uri::PathAndQuery;
use ::http::{HeaderMap, Method, Uri};

use super::{Request, Version, checked};
use crate::handshake::refusal::{Refusal, Refused, without_credentials};
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
        Head { method: &parts.method, uri: &parts.uri, version: parts.version, headers: &parts.headers }.check(protocol)
    }
}

/// As [`Request::from_http`], for what is not an extended `CONNECT`. The body is not looked at.
impl<B> TryFrom<&::http::Request<B>> for Request {
    type Error = Refused;

    fn try_from(request: &::http::Request<B>) -> Result<Self, Refused> {
        let (method, uri, headers) = (request.method(), request.uri(), request.headers());
        Head { method, uri, version: request.version(), headers }.check(None)
    }
}

/// As from a reference.
impl<B> TryFrom<::http::Request<B>> for Request {
    type Error = Refused;

    fn try_from(request: ::http::Request<B>) -> Result<Self, Refused> {
        Self::try_from(&request)
    }
}

/// Over HTTP/2 the URI is the path and the query, and the authority stays in `Host`. Not converted are
/// [`peer_addr`](Request::peer_addr) and [`connect_protocol`](Request::connect_protocol), for which `http` has no place.
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::Request;
///
/// let request = http::Request::try_from(&Request::upgrade("/chat?room=1"))?;
/// assert_eq!((request.uri().path(), &request.headers()["upgrade"]), ("/chat", &"websocket".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// It fails where `http` is narrower than what servers see: a target with an odd character (`<`, for example), and
/// headers for which a [`HeaderMap`] has no room.
impl TryFrom<&Request> for ::http::Request<()> {
    type Error = ::http::Error;

    fn try_from(request: &Request) -> Result<Self, ::http::Error> {
        let mut converted = Self::new(());
        *converted.method_mut() = Method::from_bytes(request.method.as_bytes())?;
        *converted.uri_mut() = Uri::try_from(request.target())?;
        *converted.headers_mut() = HeaderMap::try_from(&request.headers)?;
        *converted.version_mut() = match &request.version {
            Version::Http10 => ::http::Version::HTTP_10,
            Version::Http11 => ::http::Version::HTTP_11,
            Version::Http2(_) => ::http::Version::HTTP_2,
        };
        Ok(converted)
    }
}

/// As from a reference.
impl TryFrom<Request> for ::http::Request<()> {
    type Error = ::http::Error;

    fn try_from(request: Request) -> Result<Self, ::http::Error> {
        Self::try_from(&request)
    }
}

/// What a request has before its body.
struct Head<'h> {
    method: &'h Method,
    uri: &'h Uri,
    version: ::http::Version,
    headers: &'h HeaderMap,
}

impl Head<'_> {
    fn check(self, protocol: Option<&str>) -> Result<Request, Refused> {
        self.convert(protocol).map_err(|refusal| {
            let headers = self.headers();
            let value = |name| headers.value(name).map(|value| value.into_owned());
            let (origin, host) = (value("Origin"), value("Host").map(without_credentials));
            let path = Some(self.uri.path().into());
            let (is_head, is_http2) = (self.method == Method::HEAD, self.is_http2());
            Refused { origin, host, path, is_head, is_http2, ..Refused::from(refusal) }
        })
    }

    fn convert(&self, protocol: Option<&str>) -> Result<Request, Refusal> {
        let path = || self.uri.path_and_query().map_or("/", PathAndQuery::as_str).into();
        // Nearly no client of HTTP/1 has scheme and host in its target.
        let target = || if self.uri.authority().is_some() { self.uri.to_string() } else { path() };
        let (version, target) = match self.version {
            ::http::Version::HTTP_10 => (Version::Http10, target()),
            ::http::Version::HTTP_11 => (Version::Http11, target()),
            _ if self.is_http2() => (Version::Http2(protocol.map(String::from)), path()),
            _ => return Err(Refusal::HttpVersion),
        };
        checked(version, self.method.as_str(), target, self.headers())
    }

    /// Also what comes after it.
    fn is_http2(&self) -> bool {
        matches!(self.version, ::http::Version::HTTP_2 | ::http::Version::HTTP_3)
    }

    fn headers(&self) -> Headers {
        let mut headers = Headers::from(self.headers);
        // RFC 8441 §5: "The Host information is conveyed as part of the :authority pseudo-header field".
        if let Some(authority) = self.uri.authority().filter(|_| self.is_http2()) {
            headers.remove("Host");
            headers.push("Host", authority.as_str().as_bytes());
        }
        headers
    }
}
