//! Proxies: whom a client asks to reach the host, instead of connecting to it.
//!
//! RFC 6455 §4.1: "If the user configured the client to use a proxy when using the WebSocket Protocol to connect to host
//! /host/ and port /port/, then the client SHOULD connect to that proxy and ask it to open a TCP connection to the host
//! given by /host/ and the port given by /port/." For `ws://`, too: whatever forwards requests cannot forward what
//! comes after an upgrade.

mod challenge;
mod connect;
mod error;
mod rules;
mod socks5;
mod tunnel;
mod url;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

pub use self::error::{InvalidProxy, ProxyError, SocksFailure};
pub use self::rules::ProxyRules;
pub use self::tunnel::Tunnel;
use super::key::check_reserved;
use crate::http::{Headers, InvalidHeader};
use crate::tls::ClientTls;

/// A proxy through which a client connects: an HTTP proxy, which is asked with CONNECT (RFC 9110 §9.3.6), or a SOCKS5
/// proxy (RFC 1928).
///
/// | URL | how the proxy is spoken to | the host's name is resolved by | default port |
/// |---|---|---|---|
/// | `http://` | HTTP/1.1 | the proxy | 80 |
/// | `https://` | HTTP/1.1 over TLS | the proxy | 443 |
/// | `socks5://` | SOCKS5 | this machine | 1080 |
/// | `socks5h://` | SOCKS5 | the proxy | 1080 |
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::Proxy;
///
/// let proxy = Proxy::new("http://alice:s%40fe@proxy.example:3128")?;
/// assert_eq!((proxy.host(), proxy.port()), ("proxy.example", 3128));
/// assert_eq!(proxy.to_string(), "http://proxy.example:3128");
/// # Ok::<(), bellwire::ConnectError>(())
/// ```
///
/// A user name and a password before the host, percent-encoded where they have special characters, are sent to the proxy:
/// as Basic credentials, or by the rules of SOCKS5 (RFC 1929). They are never shown again, not by `Display`, `Debug` or
/// any error. Only `https://` keeps them from others on the way to the proxy.
#[derive(Clone)]
pub struct Proxy {
    kind: Kind,
    /// An IPv6 address has no brackets, and its zone after a `%`.
    host: String,
    port: u16,
    /// Of SOCKS5, encoded; those for HTTP are among the headers.
    credentials: Option<Vec<u8>>,
    /// Of CONNECT.
    headers: Headers,
    tls: Option<ClientTls>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Http,
    Https,
    /// Is given addresses.
    Socks5,
    /// Is given names.
    Socks5h,
}

/// Headers that are set already, or would make no sense twice: the last value counts.
const SINGLE: [&str; 2] = ["User-Agent", "Proxy-Authorization"];

impl Proxy {
    /// Creates a proxy from its URL: `http://`, `https://`, `socks5://` or `socks5h://`, maybe a user name and a
    /// password, the host, and maybe a port.
    ///
    /// # Errors
    /// [`InvalidProxy`], which says what is wrong with the URL, and quotes nothing of it.
    pub fn new(url: impl AsRef<str>) -> Result<Self, InvalidProxy> {
        url.as_ref().parse()
    }

    /// Adds a header to the CONNECT request. A `Proxy-Authorization` replaces the credentials in the URL, a `User-Agent`
    /// bellwire's own (`bellwire/` and its version); with an empty value neither is sent.
    ///
    /// ```
    /// # use bellwire_core as bellwire;
    /// use bellwire::Proxy;
    ///
    /// let proxy = Proxy::new("https://proxy.example")?.header("Proxy-Authorization", "Bearer 42")?;
    /// # Ok::<(), bellwire::ConnectError>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidProxy::Header`] for a malformed one, for `Host`, and for those that bellwire writes itself or that
    /// frame a message; [`InvalidProxy::NoHeaders`] for a SOCKS5 proxy, which knows no headers.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Result<Self, InvalidProxy> {
        if self.is_socks() {
            return Err(InvalidProxy::NoHeaders);
        }
        self.set_header(name, value.as_ref()).map_err(InvalidProxy::Header)?;
        Ok(self)
    }

    /// Sets with what TLS is spoken to an `https://` proxy. Without this it is what the target has
    /// ([`Target::tls`](crate::Target::tls)).
    #[must_use]
    pub fn tls(mut self, tls: impl Into<ClientTls>) -> Self {
        self.tls = Some(tls.into());
        self
    }

    /// Returns with what TLS is spoken to the proxy, if that was set.
    pub fn client_tls(&self) -> Option<&ClientTls> {
        self.tls.as_ref()
    }

    /// Returns the proxy's host, to connect to: a name, or an address. An IPv6 address comes without its brackets, and
    /// with its zone, as the system's resolver takes it: `fe80::1%eth0`. For TLS, remove the zone.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the proxy's port, to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns `true` if the proxy itself is spoken to over TLS (`https://`). That says nothing of what goes through it:
    /// `wss://` has its own TLS inside, from this machine to the server.
    pub fn is_secure(&self) -> bool {
        self.kind == Kind::Https
    }

    /// Returns `true` if this machine resolves the host's name, and gives the proxy an address (`socks5://`). Otherwise
    /// the proxy is given the name.
    pub fn resolves_locally(&self) -> bool {
        self.kind == Kind::Socks5
    }

    /// Starts the handshake that asks the proxy for a connection to a host. It is a name or an address: of IPv6 with or
    /// without brackets, and without its zone, which means nothing to another machine. An answer's head may have
    /// `max_head` bytes ([`Config::max_head`](crate::Config::max_head)).
    ///
    /// # Errors
    /// [`ProxyError::Host`] if this is neither a name nor an address, or longer than SOCKS5 can carry.
    pub fn tunnel(&self, host: &str, port: u16, max_head: usize) -> Result<Tunnel, ProxyError> {
        Tunnel::new(self, host, port, max_head)
    }

    fn is_socks(&self) -> bool {
        matches!(self.kind, Kind::Socks5 | Kind::Socks5h)
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
        self.headers.append(name, value)
    }
}

impl FromStr for Proxy {
    type Err = InvalidProxy;

    fn from_str(text: &str) -> Result<Self, InvalidProxy> {
        url::parse(text)
    }
}

/// The URL, without user name and password.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        url::fmt(self, f)
    }
}

/// Leaves out user name, password and headers: what is printed ends up in logs.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Proxy").field(&format_args!("{self}")).finish()
    }
}
