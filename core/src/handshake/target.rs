//! Where a client connects, and how.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;

#[cfg(feature = "http")]
mod convert;
mod credentials;

pub use self::credentials::InvalidCredentials;
use super::connect_error::ConnectError;
#[cfg(feature = "deflate")]
use super::key::EXTENSIONS;
use super::key::{VERSION, check_reserved};
use super::proxy::{Proxy, ProxyRules};
use crate::config::Config;
use crate::http::{Headers, InvalidHeader, Uri, UriError, is_token, join_cookies, write_field};
#[cfg(feature = "std")]
use crate::sockets::Sockets;
use crate::tls::ClientTls;

/// The `User-Agent` that is sent unless the program sets another.
///
/// RFC 9110 §10.1.5: "A user agent SHOULD send a User-Agent header field in each request unless specifically configured
/// not to do so."
pub(super) const USER_AGENT: &str = concat!("bellwire/", env!("CARGO_PKG_VERSION"));

/// Headers that are set already, or would make no sense twice: the last value counts.
const SINGLE: [&str; 2] = ["User-Agent", "Authorization"];

/// Headers that were meant for the server that they were set for, and for no other.
const CREDENTIALS: [&str; 3] = ["Authorization", "Cookie", "Proxy-Authorization"];

/// Where a client connects, and how: a URL, headers, subprotocols, limits and deadlines.
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::{Config, Target};
///
/// let target = Target::new("ws://example.com/chat")?
///     .header("Authorization", "Bearer 42")?
///     .protocol("mqtt")?
///     .config(Config::default().max_message(64 * 1024));
/// # Ok::<(), bellwire::ConnectError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Target {
    uri: Uri,
    /// Sent in place of path and query of the URL.
    request_target: Option<Box<[u8]>>,
    headers: Headers,
    pub(super) protocols: Vec<String>,
    pub(super) config: Arc<Config>,
    pub(super) peer_addr: Option<SocketAddr>,
    /// How many redirects are followed.
    pub(super) redirects: u8,
    /// Asked again for each URL: a redirect may leave them.
    proxies: ProxyRules,
    tls: Option<ClientTls>,
    #[cfg(feature = "std")]
    sockets: Sockets,
}

/// What `connect` takes: a [`Target`], or the URL of one with the default configuration. With the feature `http` also the
/// `Uri` and the `Request` of the crate `http`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither the text of a URL nor a `Target`",
    note = "a type that is a text, as `url::Url` is, is borrowed: `&url`"
)]
pub trait IntoTarget {
    /// Converts into a target.
    ///
    /// # Errors
    /// [`ConnectError::Url`], which says what is wrong with the URL; [`ConnectError::Config`], which says what is wrong
    /// with the configuration.
    fn into_target(self) -> Result<Target, ConnectError>;
}

impl Target {
    /// Creates a target from a `ws://` or `wss://` URL, with the default configuration. The URL is read as browsers
    /// read it, and a user name and a password in it are sent as Basic credentials: see [`Uri`].
    ///
    /// # Errors
    /// [`ConnectError::Url`], which says what is wrong with it.
    pub fn new(url: impl AsRef<str>) -> Result<Self, ConnectError> {
        url.as_ref().parse().map(Uri::into).map_err(ConnectError::Url)
    }

    /// Adds a header to the request. A `User-Agent` replaces bellwire's own (`bellwire/` and its version), an
    /// `Authorization` the credentials in the URL; with an empty value neither is sent. Several `Cookie` headers become one.
    ///
    /// ```
    /// # use bellwire_core as bellwire;
    /// use bellwire::Target;
    ///
    /// let target = Target::new("ws://example.com/")?.header("User-Agent", "my-feed/2.1")?;
    /// let anonymous = Target::new("ws://example.com/")?.header("User-Agent", "")?;
    /// # Ok::<(), bellwire::ConnectError>(())
    /// ```
    ///
    /// # Errors
    /// [`ConnectError::Header`] for a malformed one, for those of the handshake itself (`Host`, `Connection`,
    /// `Upgrade`, `Sec-WebSocket-*`) and for those that frame a message.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Result<Self, ConnectError> {
        self.set_header(name, value.as_ref()).map_err(ConnectError::Header)?;
        Ok(self)
    }

    /// Offers a subprotocol; those that are offered first are preferred.
    ///
    /// # Errors
    /// [`ConnectError::Protocol`] for one that is not a token or was offered before. RFC 6455 §4.1: subprotocols "MUST
    /// be non-empty strings with characters in the range U+0021 to U+007E not including separator characters as defined
    /// in \[RFC2616\] and MUST all be unique strings."
    pub fn protocol(mut self, protocol: impl Into<String>) -> Result<Self, ConnectError> {
        let protocol = protocol.into();
        if !is_token(protocol.as_bytes()) {
            return Err(ConnectError::Protocol(InvalidProtocol::Name));
        }
        if self.protocols.contains(&protocol) {
            return Err(ConnectError::Protocol(InvalidProtocol::Repeated));
        }
        self.protocols.push(protocol);
        Ok(self)
    }

    /// Sets the request target, byte for byte, in place of path and query of the URL: for a service that expects what a
    /// URL cannot have, such as raw brackets or characters beyond ASCII. Nothing is encoded.
    ///
    /// ```
    /// # use bellwire_core as bellwire;
    /// use bellwire::Target;
    ///
    /// let target = Target::new("ws://example.com")?.request_target("/odd{path}?^raw`")?;
    /// # Ok::<(), bellwire::ConnectError>(())
    /// ```
    ///
    /// # Errors
    /// [`ConnectError::Url`] with [`UriError::RequestTarget`] if it is empty, or has a blank or a control character: a
    /// target cannot inject a header or another request.
    pub fn request_target(mut self, target: impl AsRef<[u8]>) -> Result<Self, ConnectError> {
        let target = target.as_ref();
        if target.is_empty() || target.iter().any(|byte| matches!(byte, 0..=b' ' | 0x7f)) {
            return Err(ConnectError::Url(UriError::RequestTarget));
        }
        self.request_target = Some(target.into());
        Ok(self)
    }

    /// Sets limits and deadlines.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = Arc::new(config);
        self
    }

    /// Sets the address of the other end of a stream that is handed to `connect_over` (TLS, for example), for
    /// [`WebSocket::peer_addr`](crate::WebSocket::peer_addr). `connect` finds it out by itself.
    #[must_use]
    pub fn peer_addr(mut self, addr: impl Into<Option<SocketAddr>>) -> Self {
        self.peer_addr = addr.into();
        self
    }

    /// Sets how many redirects `connect` follows, one after the other; by default none is, and the server's answer is a
    /// [`ConnectError::Handshake`]. Each is a new connection; all of it has to be done within
    /// [`Config::open_timeout`](crate::Config::open_timeout).
    ///
    /// Followed are 301, 302, 303, 307 and 308 with a `Location`, which is relative to the URL or is one of `http`, `https`,
    /// `ws` or `wss`. From `wss` to `ws` is never followed, nor is a `Location` with a user name in it, nor one where the
    /// client has been: all of them are a [`ConnectError::Redirect`], as is one too many.
    ///
    /// `Authorization`, `Cookie` and `Proxy-Authorization` are for the scheme, host and port that were set here: they are
    /// dropped when a redirect changes one of them, also from `ws` to `wss` on the same host, and do not come back. **All
    /// other headers and the subprotocols are sent on**, wherever the server points to. A
    /// [request target](Self::request_target) is for the first URL only. `connect_over` follows nothing: its stream leads to
    /// where it leads.
    ///
    /// ```
    /// # use bellwire_core as bellwire;
    /// use bellwire::Target;
    ///
    /// let target = Target::new("ws://example.com/chat")?.redirects(5);
    /// # Ok::<(), bellwire::ConnectError>(())
    /// ```
    #[must_use]
    pub fn redirects(mut self, most: u8) -> Self {
        self.redirects = most;
        self
    }

    /// Sets the proxy through which `connect` reaches the host, or the [rules](super::client::ProxyRules) that choose it;
    /// `None` for no proxy, which is the default. `connect_over` takes a stream that leads to the host already.
    ///
    /// ```
    /// # use bellwire_core as bellwire;
    /// use bellwire::{Proxy, Target};
    ///
    /// let target = Target::new("wss://example.com/")?.proxy(Proxy::new("socks5h://localhost:9050")?);
    /// # Ok::<(), bellwire::ConnectError>(())
    /// ```
    #[must_use]
    pub fn proxy(mut self, proxy: impl Into<ProxyRules>) -> Self {
        self.proxies = proxy.into();
        self
    }

    /// Sets the proxies that this process's environment names, in `HTTPS_PROXY`, `http_proxy`, `ALL_PROXY` and `NO_PROXY`:
    /// see [`ProxyRules`](super::client::ProxyRules).
    ///
    /// # Errors
    /// [`ConnectError::Proxy`] with [`ProxyError::Variable`](super::client::ProxyError::Variable), which names a variable
    /// that cannot be understood.
    #[cfg(feature = "std")]
    pub fn proxy_from_env(self) -> Result<Self, ConnectError> {
        Ok(self.proxy(ProxyRules::from_env().map_err(ConnectError::Proxy)?))
    }

    /// Returns the proxy through which the host is reached, if there is one.
    pub fn proxy_for(&self) -> Option<&Proxy> {
        self.proxies.proxy_for(&self.uri)
    }

    /// Sets with what TLS is spoken if the URL is `wss://`: private roots, a client certificate. Without this it is that
    /// of the [platform](ClientTls::platform).
    ///
    /// With the feature `rustls` this takes a `rustls::ClientConfig`, with `native-tls` a `native_tls::TlsConnector`.
    #[must_use]
    pub fn tls(mut self, tls: impl Into<ClientTls>) -> Self {
        self.tls = Some(tls.into());
        self
    }

    /// Returns with what TLS is spoken, if that was set.
    pub fn client_tls(&self) -> Option<&ClientTls> {
        self.tls.as_ref()
    }

    /// Sets what is done with each socket before it is connected: a local address, an interface, keepalive. It is called
    /// with the socket and the address that comes next, of the host or of a [proxy](Self::proxy), as often as addresses
    /// are tried. The socket is that of the crate socket2, 0.6; its feature `all` has what only some systems know.
    ///
    /// `TCP_NODELAY` is set before, as it is without a hook. An error of the hook is an address that cannot be connected
    /// to, [`ConnectError::Connect`]. The hook must not block, and leaves alone whether the socket does.
    ///
    /// ```
    /// # use bellwire_core as bellwire;
    /// use bellwire::Target;
    /// use socket2::TcpKeepalive;
    /// use std::net::{Ipv4Addr, SocketAddr};
    /// use std::time::Duration;
    ///
    /// let target = Target::new("ws://example.com/")?.socket(|socket, addr| {
    ///     if addr.is_ipv4() {
    ///         socket.bind(&SocketAddr::from((Ipv4Addr::new(192, 0, 2, 7), 0)).into())?;
    ///     }
    ///     socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(Duration::from_secs(60)))
    /// });
    /// # Ok::<(), bellwire::ConnectError>(())
    /// ```
    #[cfg(feature = "socket2")]
    #[must_use]
    pub fn socket(
        mut self,
        hook: impl Fn(&socket2::Socket, SocketAddr) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.sockets = Sockets::set_up_by(hook);
        self
    }

    /// Returns how sockets are made.
    #[cfg(feature = "std")]
    pub fn sockets(&self) -> &Sockets {
        &self.sockets
    }

    /// Returns where to connect.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Starts the opening handshake, with random bytes from the operating system.
    #[cfg(feature = "std")]
    pub fn handshake(&self, now: crate::time::Time) -> super::client::Handshake {
        super::client::Handshake::new(self, Box::new(crate::entropy::SystemEntropy), now)
    }

    /// Makes the request for a WebSocket over HTTP/2, with random bytes from the operating system.
    ///
    /// # Errors
    /// As [`ExtendedConnect::new`](super::client::ExtendedConnect::new).
    #[cfg(feature = "http")]
    pub fn extended_connect(&self) -> Result<super::client::ExtendedConnect, ConnectError> {
        super::client::ExtendedConnect::new(self, Box::new(crate::entropy::SystemEntropy))
    }

    fn set_header(&mut self, name: &str, value: &[u8]) -> Result<(), InvalidHeader> {
        check_reserved(name)?;
        if name.eq_ignore_ascii_case("Host") {
            return Err(InvalidHeader::Reserved(name.into()));
        }
        if SINGLE.iter().any(|single| single.eq_ignore_ascii_case(name)) {
            self.headers.remove(name);
            if value.trim_ascii().is_empty() {
                return Ok(());
            }
        }
        self.headers.append(name, value)?;
        join_cookies(&mut self.headers);
        Ok(())
    }

    /// Returns the path that is asked for, as a [server](crate::Request::path) sees it: without scheme and host, if the
    /// [request target](Self::request_target) has them.
    pub(super) fn path(&self) -> Box<str> {
        match self.resource().split('?').next() {
            None | Some("") => "/".into(),
            Some(path) => path.into(),
        }
    }

    /// The path and query that are asked for.
    pub(super) fn resource(&self) -> Cow<'_, str> {
        let Some(target) = &self.request_target else { return self.uri.resource().into() };
        let target = String::from_utf8_lossy(target);
        match target.split_once("://") {
            Some((scheme, rest)) if !scheme.contains(['/', '?']) => {
                let resource = rest.find(['/', '?']).and_then(|at| rest.get(at..)).unwrap_or_default();
                resource.to_string().into()
            }
            _ => target,
        }
    }

    /// Returns the URI of what is asked for, without credentials.
    pub(super) fn effective_uri(&self) -> Uri {
        self.uri.with_resource(&self.resource())
    }

    /// Returns the target that a redirect leads to.
    ///
    /// RFC 9110 §15.4: "Consider removing header fields that were not automatically generated by the implementation (i.e.,
    /// those present in the request because they were added by the calling context) where there are security implications;
    /// this includes but is not limited to Authorization and Cookie."
    pub(super) fn redirected(&self, uri: Uri) -> Self {
        let mut target = Self { request_target: None, ..self.clone() };
        if !self.uri.same_origin(&uri) {
            CREDENTIALS.iter().for_each(|name| target.headers.remove(name));
        }
        target.uri = uri;
        target
    }

    /// Encodes the request (RFC 6455 §4.1).
    pub(super) fn encode(&self, key: &str) -> Vec<u8> {
        let target = self.request_target.as_deref().unwrap_or(self.uri.resource().as_bytes());
        let mut head = [b"GET ", target, b" HTTP/1.1\r\n"].concat();
        write_field(&mut head, "Host", self.uri.host_header().as_bytes());
        write_field(&mut head, "Upgrade", b"websocket");
        write_field(&mut head, "Connection", b"Upgrade");
        write_field(&mut head, "Sec-WebSocket-Key", key.as_bytes());
        self.offer(|name, value| write_field(&mut head, name, value));
        head.extend_from_slice(b"\r\n");
        head
    }

    /// Calls `field` with the name and the value of each header that is sent over HTTP/1.1 and HTTP/2 alike, in order.
    pub(super) fn offer(&self, mut field: impl FnMut(&str, &[u8])) {
        field("Sec-WebSocket-Version", VERSION.as_bytes());
        if !self.protocols.is_empty() {
            field("Sec-WebSocket-Protocol", self.protocols.join(", ").as_bytes());
        }
        #[cfg(feature = "deflate")]
        if let Some(deflate) = &self.config.deflate {
            field(EXTENSIONS, crate::context::Compression::offer(deflate).as_bytes());
        }
        self.headers.iter().for_each(|(name, value)| field(name, value));
    }
}

impl From<Uri> for Target {
    fn from(uri: Uri) -> Self {
        let mut headers = Headers::new();
        headers.push("User-Agent", USER_AGENT.as_bytes());
        if let Some(credentials) = uri.credentials() {
            headers.push("Authorization", credentials.as_bytes());
        }
        Self {
            uri,
            request_target: None,
            headers,
            protocols: Vec::new(),
            config: Arc::default(),
            peer_addr: None,
            redirects: 0,
            proxies: ProxyRules::default(),
            tls: None,
            #[cfg(feature = "std")]
            sockets: Sockets::default(),
        }
    }
}

impl IntoTarget for Target {
    fn into_target(self) -> Result<Target, ConnectError> {
        self.config.check().map_err(ConnectError::Config)?;
        Ok(self)
    }
}

/// For a program that connects again.
impl IntoTarget for &Target {
    fn into_target(self) -> Result<Target, ConnectError> {
        self.clone().into_target()
    }
}

impl IntoTarget for Uri {
    fn into_target(self) -> Result<Target, ConnectError> {
        Ok(self.into())
    }
}

/// Any text that is borrowed: `&str`, `&String`, `&url::Url`.
impl<T: AsRef<str> + ?Sized> IntoTarget for &T {
    fn into_target(self) -> Result<Target, ConnectError> {
        Target::new(self)
    }
}

macro_rules! texts {
    ($($text:ty),*) => {$(
        impl IntoTarget for $text {
            fn into_target(self) -> Result<Target, ConnectError> {
                Target::new(self)
            }
        }
    )*};
}

texts!(String, Box<str>, Rc<str>, Arc<str>, Cow<'_, str>);

/// The reason why a subprotocol cannot be offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidProtocol {
    /// Its name is not a token (RFC 9110 §5.6.2).
    Name,
    /// It is offered already.
    Repeated,
}

impl fmt::Display for InvalidProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => {
                "the subprotocol's name is not a token: use letters, digits and !#$%&'*+-.^_`|~ only, and at least one"
            }
            Self::Repeated => "the subprotocol is offered already: offer each once",
        })
    }
}

impl core::error::Error for InvalidProtocol {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_is_a_target() {
        fn host(target: impl IntoTarget) -> String {
            target.into_target().unwrap().uri().host().into()
        }
        let text = String::from("ws://h/");
        assert_eq!([host("ws://h/"), host(&text), host(Arc::<str>::from("ws://h/")), host(text)], ["h"; 4]);
    }

    #[test]
    fn u1_u8_the_path_of_a_target_is_what_a_server_says_it_is() {
        for (target, path) in [
            ("/a?b", "/a"),
            ("/a%2Fb;c?d?e", "/a%2Fb;c"),
            ("//h/x", "//h/x"),
            ("/x?u=http://h/y", "/x"),
            ("/x://y", "/x://y"),
            ("http://h", "/"),
            ("http://h?q", "/"),
            ("HTTP://h:80/%41?q", "/%41"),
            ("http://user:secret@h/x", "/x"),
            ("?q", "/"),
            ("*", "*"),
        ] {
            let asked = Target::new("ws://h/other").unwrap().request_target(target).unwrap();
            assert_eq!(&*asked.path(), path, "{target}");
        }
    }
}
