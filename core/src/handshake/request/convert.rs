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
        let mut headers = Headers::from(&parts.headers);
        convert(parts, protocol, &mut headers).map_err(|refusal| {
            let value = |name| headers.value(name).map(|value| value.into_owned());
            let (origin, host, path) = (value("Origin"), value("Host"), Some(parts.uri.path().into()));
            let is_head = parts.method == ::http::Method::HEAD;
            Refused { origin, host, path, is_head, ..Refused::from(refusal) }
        })
    }
}

fn convert(parts: &Parts, protocol: Option<&str>, headers: &mut Headers) -> Result<Request, Refusal> {
    let uri = &parts.uri;
    let (version, target) = match parts.version {
        ::http::Version::HTTP_10 => (Version::Http10, uri.to_string()),
        ::http::Version::HTTP_11 => (Version::Http11, uri.to_string()),
        ::http::Version::HTTP_2 | ::http::Version::HTTP_3 => {
            // RFC 8441 §5: "The Host information is conveyed as part of the :authority pseudo-header field".
            if let Some(authority) = uri.authority() {
                headers.remove("Host");
                headers.push("Host", authority.as_str().as_bytes());
            }
            let target = uri.path_and_query().map_or("/", PathAndQuery::as_str);
            (Version::Http2(protocol.map(String::from)), target.into())
        }
        _ => return Err(Refusal::HttpVersion),
    };
    checked(version, parts.method.as_str(), &target, headers.clone())
}
