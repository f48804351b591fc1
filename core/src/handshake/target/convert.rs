//! Targets of the `http` crate, as users of tungstenite have them.

use alloc::string::String;

use ::http::header::{HeaderName, HeaderValue};
use ::http::{HeaderMap, Method};

use super::{IntoTarget, InvalidProtocol, Target};
use crate::handshake::connect_error::ConnectError;
use crate::http::{Authority, Uri, elements};

/// What bellwire writes itself.
const OWN: [&str; 5] =
    ["connection", "upgrade", "sec-websocket-key", "sec-websocket-version", "sec-websocket-extensions"];

/// Takes the URI, the subprotocols in `Sec-WebSocket-Protocol`, and the other headers.
///
/// Requests that were made for tungstenite have headers in them that bellwire writes itself: `Connection`, `Upgrade`,
/// `Sec-WebSocket-Key`, `Sec-WebSocket-Version`, `Sec-WebSocket-Extensions` (see [`Config::deflate`]), and a `Host` that is
/// the URI's. They are left out. Version, extensions and body are not looked at.
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::Target;
///
/// let request = http::Request::get("wss://example.com/chat")
///     .header("Authorization", "Bearer 42")
///     .header("Sec-WebSocket-Protocol", "mqtt, soap")
///     .body(())?;
/// let target = Target::try_from(request)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// `connect` takes such a request, too. This fails with
///
/// - [`ConnectError::Url`] for a URI that is not one of `ws` or `wss`, with a host,
/// - [`ConnectError::Method`] for another method than `GET`,
/// - [`ConnectError::Protocol`] for subprotocols that are not different tokens,
/// - [`ConnectError::Header`] for another `Host`, another `Sec-WebSocket-*`, and for headers that frame a message: it names
///   the header.
///
/// [`Config::deflate`]: crate::Config
impl<B> TryFrom<::http::Request<B>> for Target {
    type Error = ConnectError;

    fn try_from(request: ::http::Request<B>) -> Result<Self, ConnectError> {
        if request.method() != Method::GET {
            return Err(ConnectError::Method(request.method().as_str().into()));
        }
        let target = request.uri().clone().into_target()?.offering(request.headers())?;
        request.headers().iter().try_fold(target, Target::taking)
    }
}

impl Target {
    /// Offers the subprotocols of a request.
    fn offering(self, headers: &HeaderMap) -> Result<Self, ConnectError> {
        let values = || headers.get_all("sec-websocket-protocol").iter().map(HeaderValue::as_bytes);
        let target =
            elements(values()).try_fold(self, |target, name| target.protocol(String::from_utf8_lossy(name)))?;
        // RFC 6455 §4.1: "The ABNF for the value of this header field is 1#token".
        let has_named_none = target.protocols.is_empty() && values().next().is_some();
        if has_named_none { Err(ConnectError::Protocol(InvalidProtocol::Name)) } else { Ok(target) }
    }

    /// Takes a header of a request over.
    fn taking(self, (name, value): (&HeaderName, &HeaderValue)) -> Result<Self, ConnectError> {
        let name = name.as_str();
        if OWN.contains(&name) || name == "sec-websocket-protocol" || (name == "host" && self.is_at(value)) {
            return Ok(self);
        }
        self.header(name, value)
    }

    /// Returns `true` if this is the value of the target's `Host`, with or without a default port.
    fn is_at(&self, host: &HeaderValue) -> bool {
        let default_port = if self.uri.is_secure() { 443 } else { 80 };
        let own = self.uri.host_header();
        let (Ok(host), Ok(own)) = (host.to_str(), Authority::parse(&own)) else { return false };
        Authority::parse(host).is_ok_and(|host| host.same(own, default_port))
    }
}

/// As `Target::try_from`.
impl<B> IntoTarget for ::http::Request<B> {
    fn into_target(self) -> Result<Target, ConnectError> {
        self.try_into()
    }
}

impl IntoTarget for ::http::Uri {
    fn into_target(self) -> Result<Target, ConnectError> {
        Uri::try_from(self).map(Target::from).map_err(ConnectError::Url)
    }
}
