//! Why a server refuses a request: each rule that a client can break, with its status and its text.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use super::key::VERSION;
use super::plain::PlainResponse;
use super::request::{METHODS, Request};
use crate::http::{HeadError, Shown};

/// The reason why a server refuses a request: a rule that the client broke.
///
/// The text ([`Display`](fmt::Display)) says what to do, and is the body of the
/// [response](Self::to_response).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// 400: this is not HTTP/1.1 (RFC 9112).
    Malformed,
    /// 400: this is TLS, and the server expects plain HTTP.
    Tls,
    /// 400: a proxy has put a PROXY protocol header before the request.
    ProxyProtocol,
    /// 400: the request target is neither a path nor an absolute `http` URI (RFC 9112 §3.2).
    Target,
    /// 400: there is not exactly one valid `Host` (RFC 9112 §3.2).
    Host,
    /// 400: a body was announced.
    Body,
    /// 403: the origin is not allowed ([`Config::origins`](crate::Config::origins), RFC 6455 §10.2).
    Origin,
    /// 405: neither GET nor HEAD nor OPTIONS.
    Method,
    /// 405: an upgrade with a method other than GET (RFC 6455 §4.2.1).
    UpgradeMethod,
    /// 408: the request was not complete within [`Config::open_timeout`](crate::Config::open_timeout).
    Timeout,
    /// 414: the request line is longer than [`Config::max_head`](crate::Config::max_head).
    TargetTooLong,
    /// 431: the head is longer than [`Config::max_head`](crate::Config::max_head).
    HeadTooLarge,
    /// 431: the head has more fields than one for each 16 bytes of [`Config::max_head`](crate::Config::max_head), and
    /// more than 100.
    TooManyFields,
    /// 505: not HTTP/1 but, for example, HTTP/2 without TLS.
    HttpVersion,
    /// 426: an upgrade to a WebSocket was not asked for.
    NotAnUpgrade,
    /// 426: the handler accepted, but HTTP/1.0 has no upgrades (RFC 9110 §7.8).
    Http10,
    /// 400: there is `Upgrade` but no `upgrade` in `Connection` (RFC 6455 §4.2.1).
    Connection,
    /// 426: the version of the protocol is missing or not 13 (RFC 6455 §4.4).
    Version,
    /// 400: there is more than one `Sec-WebSocket-Version`.
    RepeatedVersion,
    /// 400: there is not exactly one `Sec-WebSocket-Key` of 16 bytes in Base64 (RFC 6455 §4.2.1).
    Key,
    /// 400: `Sec-WebSocket-Protocol` is not a list of different tokens (RFC 6455 §4.1).
    Protocols,
    /// 400: `Sec-WebSocket-Extensions` does not follow the grammar (RFC 6455 §9.1).
    Extensions,
    /// 405: a WebSocket over HTTP/2 that is not asked for with an extended `CONNECT` (RFC 8441 §4).
    ConnectMethod,
    /// 501: an extended `CONNECT` for another protocol than `websocket` (RFC 8441 §4).
    ConnectProtocol,
}

impl Refusal {
    /// Returns the status code of the answer.
    pub fn status(self) -> u16 {
        match self {
            Self::Origin => 403,
            Self::Method | Self::UpgradeMethod | Self::ConnectMethod => 405,
            Self::Timeout => 408,
            Self::TargetTooLong => 414,
            Self::NotAnUpgrade | Self::Http10 | Self::Version => 426,
            Self::HeadTooLarge | Self::TooManyFields => 431,
            Self::ConnectProtocol => 501,
            Self::HttpVersion => 505,
            _ => 400,
        }
    }

    /// Returns the answer to the client. [`Refused::to_response`] knows more of the request.
    pub fn to_response(self) -> PlainResponse {
        Refused::from(self).to_response()
    }

    fn headers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            // RFC 9110 §15.5.6: "The origin server MUST generate an Allow header field in a 405 response".
            Self::Method => &[("Allow", METHODS)],
            Self::UpgradeMethod => &[("Allow", "GET")],
            Self::ConnectMethod => &[("Allow", "CONNECT")],
            // RFC 9110 §15.5.22: "The server MUST send an Upgrade header field in a 426 response".
            Self::NotAnUpgrade | Self::Http10 => &[("Upgrade", "websocket")],
            // RFC 6455 §4.4: "it MUST respond with a |Sec-WebSocket-Version| header field (or multiple
            // |Sec-WebSocket-Version| header fields) containing all versions it is willing to use."
            Self::Version => &[("Upgrade", "websocket"), ("Sec-WebSocket-Version", VERSION)],
            _ => &[],
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "Malformed request: send HTTP/1.1, with CRLF at the end of each line",
            Self::Tls => {
                "This looks like TLS, and plain HTTP is spoken here: connect to ws:// or http://, or have the server, or a \
                 proxy in front of it, take TLS"
            }
            Self::ProxyProtocol => {
                "This begins as the PROXY protocol, which is not spoken with this address: name it in the server's \
                 proxy_protocol (feature proxy-protocol), or switch it off in the proxy (HAProxy: leave send-proxy and \
                 send-proxy-v2 out)"
            }
            Self::Target => "Invalid request target: send a path, such as /chat?room=1, without a fragment",
            Self::Host => "Invalid Host: send exactly one, with a host and maybe a port",
            Self::Body => "Requests must not have a body: send neither Content-Length nor Transfer-Encoding",
            Self::Origin => "Origin not allowed: connect from a page of this server, or have the server allow yours",
            Self::Method => "Method not allowed: use GET, HEAD or OPTIONS",
            Self::UpgradeMethod => "Method not allowed: a WebSocket is opened with GET",
            Self::Timeout => "The request did not arrive in time: send all of it at once",
            Self::TargetTooLong => "The request target is too long: shorten it",
            Self::HeadTooLarge => "The request's head is too large: send fewer or shorter headers",
            Self::TooManyFields => {
                "The request has too many header fields: send fewer, or let the server raise Config::max_head, which allows \
                 one for each 16 bytes"
            }
            Self::HttpVersion => "HTTP version not supported: use HTTP/1.1, also in a proxy in between",
            Self::NotAnUpgrade => {
                "This is a WebSocket endpoint: connect with a WebSocket client, which sends Upgrade: websocket"
            }
            Self::Http10 => {
                "This is a WebSocket endpoint, and HTTP/1.0 has no upgrades: use HTTP/1.1, also in a proxy in between \
                 (nginx: proxy_http_version 1.1)"
            }
            Self::Connection => "Connection lacks the token Upgrade: send Connection: Upgrade; a proxy may remove it",
            Self::Version => "WebSocket version missing or not supported: send Sec-WebSocket-Version: 13",
            Self::RepeatedVersion => "Sec-WebSocket-Version is there more than once: send it once",
            Self::Key => "Invalid Sec-WebSocket-Key: send exactly one, 16 random bytes in Base64",
            Self::Protocols => "Invalid Sec-WebSocket-Protocol: send a list of different tokens, or leave it out",
            Self::Extensions => "Malformed Sec-WebSocket-Extensions: follow RFC 6455 section 9.1, or leave it out",
            Self::ConnectMethod => {
                "This is a WebSocket endpoint: over HTTP/2 it is opened with an extended CONNECT and :protocol websocket \
                 (RFC 8441), or connect over HTTP/1.1"
            }
            Self::ConnectProtocol => {
                "Protocol not supported: send the :protocol websocket, which is the only one that is spoken here"
            }
        })
    }
}

impl core::error::Error for Refusal {}

/// A refused request: the [rule](Refusal), and those parts of the request that help to find out why.
///
/// Its text ([`Display`](fmt::Display)) says what to do, quotes what came, escaped and shortened, and is the body of
/// the [response](Self::to_response). The fields are as they came: escape them before you print them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refused {
    /// The rule that was broken.
    pub refusal: Refusal,
    /// The value of `Origin`, if there was one.
    pub origin: Option<String>,
    /// The host that was asked for: the value of `Host`, or what a [trusted proxy](crate::Config::trusted_proxies) says
    /// instead.
    pub host: Option<String>,
    /// The path that was asked for; the whole target if it is not a path.
    pub path: Option<String>,
    /// Whether it was a `HEAD` request, whose answer has no content.
    pub(crate) is_head: bool,
    /// Whether the page is at the host that was asked for, but came without TLS, and this is over TLS.
    pub(crate) is_insecure: bool,
    /// Whether it came over HTTP/2, where nothing is upgraded.
    pub(crate) is_http2: bool,
}

impl Refused {
    /// Returns the answer to the client: what is wrong, and what to do.
    pub fn to_response(&self) -> PlainResponse {
        let refusal = self.refusal;
        let mut response = PlainResponse::own_text(refusal.status(), format!("{self}\n"));
        response.to_head = self.is_head;
        // RFC 9113 §8.2.2: "An endpoint MUST NOT generate an HTTP/2 message containing connection-specific header fields."
        let headers = refusal.headers().iter().filter(|(name, _)| !(self.is_http2 && *name == "Upgrade"));
        headers.fold(response, |response, (name, value)| response.with_own_header(name, value))
    }

    /// Refuses a request that was read.
    pub(super) fn of(refusal: Refusal, request: &Request) -> Self {
        let value = |name| request.header(name).map(|value| value.into_owned());
        let (path, is_head) = (Some(request.path().into()), request.method() == "HEAD");
        let is_http2 = request.is_http2();
        let host = value("Host").map(without_credentials);
        Self { origin: value("Origin"), host, path, is_head, is_http2, ..Self::from(refusal) }
    }

    /// Refuses a request whose head is incomplete: reads its complete lines, or the first one as far as it came.
    pub(super) fn of_part(refusal: Refusal, part: &[u8]) -> Self {
        // The first line is the proxy's, not the request's.
        if refusal == Refusal::ProxyProtocol {
            return refusal.into();
        }
        let end = part.iter().rposition(|&byte| byte == b'\n').unwrap_or(part.len());
        Self::of_head(refusal, part.get(..end).unwrap_or_default())
    }

    /// Refuses a request whose head is malformed: reads whatever can be made out.
    pub(super) fn of_head(refusal: Refusal, head: &[u8]) -> Self {
        let mut lines = head.split(|&byte| byte == b'\n').map(|line| line.trim_ascii());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let target = lines.next().and_then(|line| line.split(|&byte| byte == b' ').nth(1));
        let path = target.and_then(|target| target.split(|&byte| byte == b'?').next()).map(text).map(without_user_info);
        let mut refused = Self { path, is_head: head.starts_with(b"HEAD "), ..Self::from(refusal) };
        for line in lines {
            let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
            let Some((name, value)) = line.split_at_checked(colon) else { continue };
            let field = match name {
                name if name.eq_ignore_ascii_case(b"Host") => &mut refused.host,
                name if name.eq_ignore_ascii_case(b"Origin") => &mut refused.origin,
                _ => continue,
            };
            let value = text(value.get(1..).unwrap_or_default().trim_ascii());
            *field = Some(match field.take() {
                Some(other) => other + ", " + &value,
                None => value,
            });
        }
        refused.host = refused.host.map(without_credentials);
        refused
    }
}

/// Removes user name and password from a target: they must not be there (RFC 9110 §4.2.4), nor in a log.
fn without_user_info(target: String) -> String {
    let absolute = target.split_once("://").filter(|(scheme, _)| !scheme.contains('/'));
    let Some((scheme, rest)) = absolute else { return target };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{host}{path}"),
        None => target,
    }
}

/// The same for a `Host`, or several, in which they have no place either.
pub(super) fn without_credentials(host: String) -> String {
    let bare = |host: &str| host.rsplit_once('@').map_or(host, |(_, host)| host).to_string();
    if host.contains('@') { host.split(", ").map(bare).collect::<Vec<_>>().join(", ") } else { host }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let (origin, host, path) = (None, None, None);
        Self { refusal, origin, host, path, is_head: false, is_http2: false, is_insecure: false }
    }
}

impl PartialEq<Refusal> for Refused {
    fn eq(&self, refusal: &Refusal) -> bool {
        self.refusal == *refusal
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.refusal, &self.origin, &self.host) {
            // WHATWG HTML: the serialization of an opaque origin is "null".
            (Refusal::Origin, Some(origin), _) if origin == "null" => f.write_str(
                "Origin not allowed: it is \"null\", so the page is a file, or in a frame with sandbox: have the page served \
                 by this server, or by one whose origin this server allows",
            ),
            (Refusal::Origin, Some(origin), _) if self.is_insecure => write!(
                f,
                "Origin not allowed: the page is from {}, without TLS, and the server was asked for over TLS: have the page \
                 come over https as well, or list its origin in the server's configuration (Config::origins)",
                Shown(origin)
            ),
            (Refusal::Origin, Some(origin), host) => {
                let host = Shown(host.as_deref().unwrap_or_default());
                write!(
                    f,
                    "Origin not allowed: the page is from {}, and the server was asked for as {host}. If a proxy in \
                     between has changed Host, let it pass on the client's (nginx: proxy_set_header Host $http_host), or \
                     list the page's origin or the public host in the server's configuration (Config::origins)",
                    Shown(origin)
                )
            }
            (Refusal::Host, _, Some(host)) => write!(
                f,
                "Invalid Host {}: send exactly one, with a host and maybe a port, an IPv6 address in brackets",
                Shown(host)
            ),
            (refusal, ..) => refusal.fmt(f),
        }
    }
}

impl core::error::Error for Refused {}

impl From<HeadError> for Refusal {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::Malformed => Self::Malformed,
            HeadError::Version => Self::HttpVersion,
            HeadError::Tls => Self::Tls,
            HeadError::ProxyProtocol => Self::ProxyProtocol,
            HeadError::LineTooLong => Self::TargetTooLong,
            HeadError::TooLarge => Self::HeadTooLarge,
            HeadError::TooManyFields(_) => Self::TooManyFields,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h4_a_refusal_does_not_name_the_password_of_a_target() {
        for (target, path) in [
            ("http://u:secret@h/x?y", "http://h/x"),
            ("http://u:se@cret@h", "http://h"),
            ("http://h/@x", "http://h/@x"),
            ("/a@b", "/a@b"),
            ("/a://b@c", "/a://b@c"),
        ] {
            let head = format!("GET {target} HTTP/1.1\r\nHost: h\r\n");
            let refused = Refused::of_head(Refusal::Target, head.as_bytes());
            assert_eq!(refused.path.as_deref(), Some(path));
        }
    }

    #[test]
    fn h4_a_refusal_does_not_name_the_password_of_a_host() {
        for (host, shown) in [("u:secret@h", "h"), ("u:se@cret@h:1", "h:1"), ("a\r\nHost: u:secret@h", "a, h")] {
            let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n");
            let refused = Refused::of_head(Refusal::Host, head.as_bytes());
            assert_eq!(refused.host.as_deref(), Some(shown));
        }
    }
}
