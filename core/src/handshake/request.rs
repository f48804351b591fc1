//! The request that a handler sees.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;

mod client;
#[cfg(feature = "http")]
mod convert;
mod credentials;

pub use self::credentials::{BasicAuth, Bearer};
use super::key::VERSION;
use super::refusal::{Refusal, Refused};
use crate::http::{Authority, Headers, InvalidHeader, as_token, cookies, default_port, elements, lists, parse_request};
use crate::network::Network;

/// An HTTP request: an upgrade to a WebSocket or not.
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::{Request, is_upgrade_request, request_protocols};
///
/// let request = Request::upgrade("/chat?room=1").with_header("Sec-WebSocket-Protocol", "soap, mqtt")?;
/// assert!(is_upgrade_request(&request));
/// assert_eq!(request_protocols(&request), ["soap", "mqtt"]);
/// assert_eq!((request.path(), request.query()), ("/chat", Some("room=1")));
/// # Ok::<(), bellwire::proto::InvalidHeader>(())
/// ```
#[derive(Debug, Clone)]
pub struct Request {
    method: Cow<'static, str>,
    target: String,
    /// The offset of path and query in the target: not 0 if scheme and host come first.
    resource: usize,
    headers: Headers,
    version: Version,
    peer_addr: Option<SocketAddr>,
    /// Who is believed about the client.
    trusted_proxies: Vec<Network>,
}

/// The version of HTTP, and with it the way in which a WebSocket is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Version {
    /// It has none.
    Http10,
    /// `GET` with `Upgrade` (RFC 6455 §4.1).
    Http11,
    /// An extended `CONNECT` with this `:protocol` (RFC 8441 §4); `None` for any other request.
    Http2(Option<String>),
}

impl Request {
    /// Creates a `GET` request of a path, maybe with a query, for tests of handlers. Its host is `localhost`.
    pub fn get(path: impl Into<String>) -> Self {
        let mut headers = Headers::new();
        headers.push("Host", b"localhost");
        let method = Cow::Borrowed("GET");
        let (version, trusted_proxies) = (Version::Http11, Vec::new());
        Self { method, target: path.into(), resource: 0, headers, version, peer_addr: None, trusted_proxies }
    }

    /// Creates a request to upgrade to a WebSocket, for tests of handlers. Its key is the example of RFC 6455 §1.3.
    pub fn upgrade(path: impl Into<String>) -> Self {
        let mut request = Self::get(path);
        request.headers.push("Connection", b"Upgrade");
        request.headers.push("Upgrade", b"websocket");
        request.headers.push("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ==");
        request.headers.push("Sec-WebSocket-Version", VERSION.as_bytes());
        request
    }

    /// Creates a request for a WebSocket over HTTP/2, an extended `CONNECT` (RFC 8441), for tests of handlers.
    pub fn extended_connect(path: impl Into<String>) -> Self {
        let mut request = Self::get(path).with_method("CONNECT");
        request.headers.push("Sec-WebSocket-Version", VERSION.as_bytes());
        Self { version: Version::Http2(Some("websocket".into())), ..request }
    }

    /// Sets the method, for tests of handlers.
    #[must_use]
    pub fn with_method(mut self, method: impl Into<String>) -> Self {
        self.method = Cow::Owned(method.into());
        self
    }

    /// Sets a header, in place of any of that name, for tests of handlers.
    /// [`Headers::append`] on [`headers_mut`](Self::headers_mut) adds one.
    ///
    /// # Errors
    /// As [`Headers::append`].
    pub fn with_header(mut self, name: &str, value: impl AsRef<[u8]>) -> Result<Self, InvalidHeader> {
        self.headers.remove(name);
        self.headers.append(name, value)?;
        Ok(self)
    }

    /// Returns the method: `GET`, `HEAD` or `OPTIONS`. A handler may answer `OPTIONS` as it answers `GET`: the server
    /// then sends [`Response::options`]. It answers other methods with 405 itself. A WebSocket over HTTP/2 is asked for with
    /// `CONNECT`: see [`connect_protocol`](Self::connect_protocol).
    ///
    /// [`Response::options`]: crate::Response::options
    pub fn method(&self) -> &str {
        &self.method
    }

    /// Returns `true` if this came as HTTP/1.0, which health checks and some proxies send. Such a request is served as
    /// plain HTTP: it never asks for an upgrade, since its `Upgrade` was dropped (RFC 9110 §7.8: a server "MUST ignore"
    /// it).
    pub fn is_http10(&self) -> bool {
        self.version == Version::Http10
    }

    /// Returns `true` if this came over HTTP/2, from a framework's server. A WebSocket is asked for otherwise there, and the
    /// handshake has no `Upgrade`, `Connection` and `Sec-WebSocket-Key`.
    pub fn is_http2(&self) -> bool {
        matches!(self.version, Version::Http2(_))
    }

    /// Returns the `:protocol` of an extended `CONNECT` over HTTP/2 (RFC 8441 §4): `websocket` for a WebSocket.
    pub fn connect_protocol(&self) -> Option<&str> {
        if let Version::Http2(Some(protocol)) = &self.version { Some(protocol) } else { None }
    }

    /// Returns the request target as it was received (RFC 9112 §3.2).
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Returns the path, not decoded, beginning with `/`.
    pub fn path(&self) -> &str {
        let resource = self.resource();
        match resource.split_once('?').map_or(resource, |(path, _)| path) {
            "" => "/",
            path => path,
        }
    }

    /// Returns what follows the first `?` of the target, not decoded.
    pub fn query(&self) -> Option<&str> {
        self.resource().split_once('?').map(|(_, query)| query)
    }

    /// Returns the names and values of the query, decoded, in order (`application/x-www-form-urlencoded`, as the URL Standard
    /// has it): `+` is a space, what is not UTF-8 becomes U+FFFD, and a name without `=` has an empty value. A name may come
    /// more than once.
    ///
    /// ```
    /// # use bellwire_core as bellwire;
    /// use bellwire::Request;
    ///
    /// let request = Request::upgrade("/chat?room=caf%C3%A9&name=Jane+Doe");
    /// let room = request.query_pairs().find(|(name, _)| name == "room").map(|(_, value)| value);
    /// assert_eq!(room.as_deref(), Some("café"));
    /// ```
    pub fn query_pairs(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        form_urlencoded::parse(self.query().unwrap_or_default().as_bytes())
    }

    /// Returns the names and values of all cookies, in order (RFC 6265 §4.2.1). Quotes around a value are removed; nothing
    /// else is decoded. What has no name or no `=`, or is not UTF-8, is left out.
    ///
    /// ```
    /// # use bellwire_core as bellwire;
    /// use bellwire::Request;
    ///
    /// let request = Request::upgrade("/").with_header("Cookie", "session=f00d; lang=\"en\"")?;
    /// assert_eq!(request.cookies().collect::<Vec<_>>(), [("session", "f00d"), ("lang", "en")]);
    /// # Ok::<(), bellwire::proto::InvalidHeader>(())
    /// ```
    pub fn cookies(&self) -> impl Iterator<Item = (&str, &str)> {
        cookies(&self.headers)
    }

    /// Returns the value of the first cookie of this name, in exactly this case. RFC 6265 §5.4: of those that have the same
    /// name, browsers send the one with the longest path first.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// Returns the headers. If the target names a host, that is the value of `Host`: RFC 9112 §3.2.2: the server
    /// "MUST ignore the received Host header field (if any) and instead use the host information of the
    /// request-target".
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// Returns the headers for changing, in tests of handlers and in middleware.
    pub fn headers_mut(&mut self) -> &mut Headers {
        &mut self.headers
    }

    /// Returns the value of a header, repeats joined with ", ", those of `Cookie` with "; " ([`Headers::value`]).
    pub fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        self.headers.value(name)
    }

    /// Returns the value of each header of this name, in order ([`Headers::texts`]).
    pub fn header_values(&self, name: &str) -> impl Iterator<Item = Cow<'_, str>> {
        self.headers.texts(name)
    }

    /// Returns the subprotocols that the client offers, in its order of preference. Elements that are not tokens are
    /// left out; the handshake refuses them.
    pub fn protocols(&self) -> Vec<&str> {
        elements(self.headers.values("Sec-WebSocket-Protocol")).filter_map(as_token).collect()
    }

    /// Returns the subprotocol that the client prefers among those that are supported: what
    /// [`Response::protocol`](crate::Response::protocol) takes.
    pub fn select_protocol<'r>(&'r self, supported: &[&str]) -> Option<&'r str> {
        self.protocols().into_iter().find(|offered| supported.contains(offered))
    }

    /// Returns the address of the other end of the transport, if the backend knows it: the client's, or a proxy's. See
    /// [`client_ip`](Self::client_ip).
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer_addr
    }

    /// Sets the address of the other end of the transport.
    pub fn set_peer_addr(&mut self, addr: impl Into<Option<SocketAddr>>) {
        self.peer_addr = addr.into();
    }

    /// Path and query.
    fn resource(&self) -> &str {
        self.target.get(self.resource..).unwrap_or_default()
    }
}

/// Returns `true` if a request asks for an upgrade to a WebSocket.
///
/// `Connection` has the token `upgrade` and `Upgrade` lists `websocket`, both in any case; over HTTP/2 it is an extended
/// `CONNECT` for the protocol `websocket` (RFC 8441). This is a hint for handlers: the handshake checks more, and refuses by
/// itself what is wrong.
pub fn is_upgrade_request(request: &Request) -> bool {
    if let Version::Http2(protocol) = &request.version {
        return protocol.as_deref().is_some_and(is_websocket);
    }
    let values = |name| request.headers.values(name);
    lists(values("Connection"), "upgrade") && lists(values("Upgrade"), "websocket")
}

/// Returns `true` for the `:protocol` of a WebSocket. RFC 8441 §4: the value is one of the "HTTP Upgrade Token Registry", whose
/// tokens are compared without regard to case (RFC 9110 §16.7).
pub(super) fn is_websocket(protocol: &str) -> bool {
    protocol.eq_ignore_ascii_case("websocket")
}

/// Returns the subprotocols that a request offers, in the client's order of preference: the same as
/// [`Request::protocols`].
pub fn request_protocols(request: &Request) -> Vec<&str> {
    request.protocols()
}

/// Parses a whole head, blank line included, and checks what does not depend on the handler.
pub(super) fn parse(mut head: Vec<u8>, max_head: usize) -> Result<Request, Refused> {
    parse_head(&mut head, max_head).map_err(|refusal| Refused::of_head(refusal, &head))
}

fn parse_head(head: &mut [u8], max_head: usize) -> Result<Request, Refusal> {
    let version = if check_version(head)? { Version::Http10 } else { Version::Http11 };
    let (method, target, headers) = parse_request(head, max_head)?;
    checked(version, method, target.into(), headers)
}

/// Checks what does not depend on the handler. Over HTTP/2 the headers have a `Host`: the `:authority`.
fn checked(version: Version, method: &str, target: String, mut headers: Headers) -> Result<Request, Refusal> {
    let method = parse_method(method, &version)?;
    check_host(&headers, version == Version::Http10)?;
    let (authority, resource) = split_target(method, &target).ok_or(Refusal::Target)?;
    if let Some(authority) = authority {
        headers.remove("Host");
        headers.push("Host", authority.as_bytes());
    }
    check_no_body(&headers)?;
    if version == Version::Http10 {
        // RFC 9110 §7.8: "A server that receives an Upgrade header field in an HTTP/1.0 request MUST ignore that
        // Upgrade field."
        headers.remove("Upgrade");
    }
    let (method, trusted_proxies) = (Cow::Borrowed(method), Vec::new());
    Ok(Request { method, target, resource, headers, version, peer_addr: None, trusted_proxies })
}

/// Returns `true` for HTTP/1.0. A later HTTP/1 becomes HTTP/1.1: RFC 9110 §6.2: a recipient of a "minor version number
/// higher than what it implements SHOULD process the message as if it was in the highest minor version within that
/// major version to which the recipient is conformant". RFC 9110 §15.6.6: 505 is for "the major version of HTTP".
fn check_version(head: &mut [u8]) -> Result<bool, Refusal> {
    let line = head.split_mut(|&byte| byte == b'\r').next().unwrap_or_default();
    match line.rsplit_mut(|&byte| byte == b' ').next() {
        Some([b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0']) => Ok(true),
        Some([b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ b'1'..=b'9']) => {
            *minor = b'1';
            Ok(false)
        }
        Some([b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9']) => Err(Refusal::HttpVersion),
        _ => Err(Refusal::Malformed),
    }
}

/// The methods that are allowed, as `Allow` has them. Others come with bodies, or mean nothing here.
pub(super) const METHODS: &str = "GET, HEAD, OPTIONS";

fn parse_method(method: &str, version: &Version) -> Result<&'static str, Refusal> {
    match (method, version) {
        ("CONNECT", Version::Http2(Some(protocol))) if is_websocket(protocol) => Ok("CONNECT"),
        // A handler that takes every request for a page would answer 200, which opens a tunnel.
        ("CONNECT", Version::Http2(Some(_))) => Err(Refusal::ConnectProtocol),
        _ => ["GET", "HEAD", "OPTIONS"].into_iter().find(|known| *known == method).ok_or(Refusal::Method),
    }
}

/// RFC 9112 §3.2: "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request
/// message that lacks a Host header field and to any request message that contains more than one Host
/// header field line or a Host header field with an invalid field value."
fn check_host(headers: &Headers, is_http10: bool) -> Result<(), Refusal> {
    let mut hosts = headers.values("Host");
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host,
        (None, None) if is_http10 => return Ok(()),
        _ => return Err(Refusal::Host),
    };
    // RFC 9112 §3.2: "If the authority component is missing or undefined for the target URI, then a client MUST send a
    // Host header field with an empty field value": over Unix sockets, for example.
    if host.is_empty() {
        return Ok(());
    }
    let host = core::str::from_utf8(host).map_err(|_| Refusal::Host)?;
    Authority::parse(host).map(drop).map_err(|_| Refusal::Host)
}

/// Returns the authority of a target in absolute form, and the offset of its path and query (RFC 9112 §3.2.1, §3.2.2).
///
/// Visible ASCII is accepted, even where RFC 3986 wants it percent-encoded: browsers send `|` and
/// `{` in queries. Not so `#`, which RFC 6455 §3 forbids.
fn split_target<'t>(method: &str, target: &'t str) -> Option<(Option<&'t str>, usize)> {
    if !target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return None;
    }
    // RFC 9112 §3.2.4: "The asterisk-form of request-target is only used for a server-wide OPTIONS request".
    if target.starts_with('/') || (target == "*" && method == "OPTIONS") {
        return Some((None, 0));
    }
    let (scheme, rest) = target.split_once("://")?;
    default_port(scheme)?;
    let authority = rest.get(..rest.find(['/', '?']).unwrap_or(rest.len()))?;
    Authority::parse(authority).ok()?;
    Some((Some(authority), scheme.len() + "://".len() + authority.len()))
}

/// Refuses a body: frames follow the head of an upgrade, and a body that is taken for them, or for the next request, is
/// an attack. RFC 9112 §6: "The presence of a message body in a request is
/// signaled by a Content-Length or Transfer-Encoding header field."
fn check_no_body(headers: &Headers) -> Result<(), Refusal> {
    let is_zero = |length: &[u8]| !length.is_empty() && length.iter().all(|&byte| byte == b'0');
    let has_length = headers.values("Content-Length").any(|value| !is_zero(value));
    let has_coding = headers.contains("Transfer-Encoding");
    if has_length || has_coding { Err(Refusal::Body) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    fn with(fields: &[(&str, &str)]) -> Request {
        let mut request = Request::get("/");
        for (name, value) in fields {
            request.headers_mut().append(name, value).unwrap();
        }
        request
    }

    #[test]
    fn c1_c2_c3_d22_upgrade_requests_are_told_by_two_token_lists() {
        assert!(!is_upgrade_request(&Request::get("/")));
        assert!(is_upgrade_request(&with(&[("Connection", "Upgrade"), ("Upgrade", "websocket")])));
        assert!(is_upgrade_request(&with(&[("Connection", "keep-alive, Upgrade"), ("Upgrade", "websocket")])));
        assert!(is_upgrade_request(&with(&[("connection", "x,UPGRADE"), ("upgrade", "h2c, WebSocket")])));
        assert!(is_upgrade_request(&with(&[
            ("Connection", "x"),
            ("Upgrade", "y"),
            ("Connection", "upgrade"),
            ("Upgrade", "websocket"),
        ])));
        assert!(!is_upgrade_request(&with(&[("Connection", "not-upgrade"), ("Upgrade", "websocket")])));
        assert!(!is_upgrade_request(&with(&[("Connection", "Upgrade"), ("Upgrade", "websockets")])));
        assert!(!is_upgrade_request(&with(&[("Connection", "Upgrade")])));
        assert!(!is_upgrade_request(&with(&[("Upgrade", "websocket")])));
        assert!(is_upgrade_request(&Request::upgrade("/")));
    }

    #[test]
    fn c4_c5_c6_protocols_are_listed_in_order() {
        assert!(request_protocols(&Request::get("/")).is_empty());
        assert_eq!(request_protocols(&with(&[("Sec-WebSocket-Protocol", "mqtt")])), ["mqtt"]);
        assert_eq!(request_protocols(&with(&[("Sec-WebSocket-Protocol", "mqtt, soap")])), ["mqtt", "soap"]);
        let request = with(&[("sec-websocket-protocol", "b ,,a"), ("Sec-WebSocket-Protocol", "(x), C")]);
        assert_eq!(request.protocols(), ["b", "a", "C"]);
        assert_eq!(request.select_protocol(&["a", "b"]), Some("b"));
        assert_eq!(request.select_protocol(&["c", "C"]), Some("C"));
        assert_eq!(request.select_protocol(&["c"]), None);
        assert_eq!(request.select_protocol(&[]), None);
    }

    #[test]
    fn targets_are_taken_apart() {
        for (target, path, query, host) in [
            ("/", "/", None, "h"),
            ("/a/b?c=d?e", "/a/b", Some("c=d?e"), "h"),
            ("/?", "/", Some(""), "h"),
            ("//x/y", "//x/y", None, "h"),
            ("/a?u=http://x/", "/a", Some("u=http://x/"), "h"),
            ("/a|b?{c}%zz", "/a|b", Some("{c}%zz"), "h"),
            ("http://other:81/a?b", "/a", Some("b"), "other:81"),
            ("HTTPS://other", "/", None, "other"),
            ("ws://other?b", "/", Some("b"), "other"),
            ("wss://[::1]:443/", "/", None, "[::1]:443"),
        ] {
            let request = parse(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n").into_bytes(), 1024).unwrap();
            assert_eq!((request.target(), request.path(), request.query()), (target, path, query));
            assert_eq!(request.header("host").unwrap(), host, "{target}");
        }
        for target in ["*", "h:80", "x", "/a#b", "ftp://h/", "http:///x", "http://u@h/", "/ä", "http://h:x/", "?a"] {
            let head = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
            assert_eq!(parse(head.into_bytes(), 1024).unwrap_err(), Refusal::Target, "{target}");
        }
    }

    #[test]
    fn u19_queries_are_decoded() {
        for (target, expected) in [
            ("/?a=1&b=2", &[("a", "1"), ("b", "2")][..]),
            ("/?caf%C3%A9=a+b%2Bc&a=1&a=", &[("café", "a b+c"), ("a", "1"), ("a", "")]),
            ("/?a&=b&&c=d=e?f", &[("a", ""), ("", "b"), ("c", "d=e?f")]),
            ("/?a=%FF%zz%", &[("a", "\u{fffd}%zz%")]),
            ("/?", &[]),
            ("/x", &[]),
        ] {
            let request = Request::get(target);
            let pairs: Vec<_> = request.query_pairs().collect();
            let pairs: Vec<_> = pairs.iter().map(|(name, value)| (&**name, &**value)).collect();
            assert_eq!(pairs, expected, "{target}");
        }
    }

    #[test]
    fn u19_a_cookie_is_the_first_of_its_name() {
        let request = with(&[("Cookie", "a=1; b=2"), ("cookie", "a=3; B=4")]);
        assert_eq!((request.cookie("a"), request.cookie("B"), request.cookie("c")), (Some("1"), Some("4"), None));
        assert_eq!(request.cookies().count(), 4);
    }

    #[test]
    fn a_test_request_can_be_changed() {
        let mut request = Request::upgrade("/x").with_header("host", "example.com").unwrap().with_method("POST");
        assert_eq!((request.method(), request.header("Host").unwrap().as_ref()), ("POST", "example.com"));
        assert_eq!(request.headers().values("host").count(), 1);
        assert_eq!(request.peer_addr(), None);
        let addr: SocketAddr = "[::1]:9".parse().unwrap();
        request.set_peer_addr(addr);
        assert_eq!(request.clone().peer_addr(), Some(addr));
        assert_eq!(request.with_header("x", "a\r\nb").unwrap_err(), InvalidHeader::Value);
    }

    #[test]
    fn requests_can_be_shared_between_threads() {
        fn shared<T: Send + Sync + Clone + 'static>(_: &T) {}
        shared(&Request::get("/"));
    }
}
