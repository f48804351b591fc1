//! The handshake with a proxy, of either kind.

use alloc::borrow::Cow;
use alloc::format;
use core::net::{Ipv4Addr, Ipv6Addr};

use super::connect::Connect;
use super::socks5::Socks5;
use super::{Proxy, ProxyError};
use crate::http::Authority;
#[cfg(feature = "std")]
use crate::tls::TlsError;

/// The handshake with a proxy, which comes before the one with the server, and before its TLS.
///
/// Send [`output`](Self::output), report it with [`wrote`](Self::wrote), and give what comes back to
/// [`receive`](Self::receive); there may be more to send then. It has no clock: the caller's deadline ends it, and
/// [`timed_out`](Self::timed_out) says what is known then.
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::Proxy;
///
/// let mut tunnel = Proxy::new("http://proxy.example:3128")?.tunnel("example.com", 443, 16 * 1024)?;
/// assert!(tunnel.output().starts_with(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n"));
/// tunnel.wrote(tunnel.output().len());
///
/// let mut answer = *b"HTTP/1.1 200 Connection established\r\n\r\n";
/// assert!(matches!(tunnel.receive(&mut &mut answer[..]), Some(Ok(()))));
/// # Ok::<(), bellwire::ConnectError>(())
/// ```
pub struct Tunnel(Handshake);

enum Handshake {
    Connect(Connect),
    Socks5(Socks5),
}

/// Whom the proxy is to reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Host<'a> {
    Name(&'a str),
    V4(Ipv4Addr),
    V6(Ipv6Addr),
}

impl<'a> Host<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let address = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        // RFC 6874 §4: "An HTTP client, proxy, or other intermediary MUST remove any ZoneID attached to an outgoing
        // URI, as it has only local significance at the sending host."
        let address = address.split('%').next().unwrap_or_default();
        if let Ok(address) = address.parse() {
            return Some(Self::V6(address));
        }
        if let Ok(address) = text.parse() {
            return Some(Self::V4(address));
        }
        // It ends up in a head: nothing in it may end a line.
        let is_name = Authority::parse(text).is_ok_and(|parsed| parsed.host.len() == text.len());
        is_name.then_some(Self::Name(text))
    }

    /// Returns it as authorities have it.
    pub(super) fn bracketed(self) -> Cow<'a, str> {
        match self {
            Self::Name(name) => name.into(),
            Self::V4(address) => format!("{address}").into(),
            Self::V6(address) => format!("[{address}]").into(),
        }
    }
}

impl Tunnel {
    pub(super) fn new(proxy: &Proxy, host: &str, port: u16, max_head: usize) -> Result<Self, ProxyError> {
        let host = Host::parse(host).ok_or(ProxyError::Host)?;
        Ok(Self(if proxy.is_socks() {
            Handshake::Socks5(Socks5::new(proxy.credentials.clone(), host, port).ok_or(ProxyError::Host)?)
        } else {
            Handshake::Connect(Connect::new(&proxy.headers, host, port, max_head))
        }))
    }

    /// Returns the bytes that are still to be sent.
    pub fn output(&self) -> &[u8] {
        match &self.0 {
            Handshake::Connect(connect) => connect.output(),
            Handshake::Socks5(socks5) => socks5.output(),
        }
    }

    /// Reports that the first `n` bytes of the output were handed to the transport.
    pub fn wrote(&mut self, n: usize) {
        match &mut self.0 {
            Handshake::Connect(connect) => connect.wrote(n),
            Handshake::Socks5(socks5) => socks5.wrote(n),
        }
    }

    /// Takes bytes of the proxy's answers. Returns `None` if all were taken and more are needed, or there is more to
    /// [send](Self::output); `Ok` when the transport leads to the host. After a result it takes nothing more.
    ///
    /// After `Ok` nothing may be left in `input`, since a client speaks first, in TLS and in a WebSocket's handshake; nor
    /// in the output, which the proxy has answered before it was sent. Otherwise the connection fails with
    /// [`ProxyError::SpokeFirst`].
    ///
    /// A refusal is reported when its body is complete, or has [`MAX_BODY`](super::super::client::MAX_BODY) bytes.
    pub fn receive(&mut self, input: &mut &mut [u8]) -> Option<Result<(), ProxyError>> {
        match &mut self.0 {
            Handshake::Connect(connect) => connect.receive(input),
            Handshake::Socks5(socks5) => socks5.receive(input),
        }
    }

    /// Reports that the proxy has ended its side of the transport. Returns the refusal whose body was being read, or
    /// [`ProxyError::Eof`].
    pub fn receive_eof(&mut self) -> ProxyError {
        self.timed_out().unwrap_or(ProxyError::Eof)
    }

    /// Reports that the transport has failed. Returns the refusal whose body was being read, which tells more than the
    /// reset that cut it off, or else the failure.
    #[cfg(feature = "std")]
    pub fn transport_failed(&mut self, error: std::io::Error) -> ProxyError {
        match self.receive_eof() {
            // The end of TLS without a `close_notify` is an end.
            ProxyError::Eof if error.kind() != std::io::ErrorKind::UnexpectedEof => {
                TlsError::from_io(error).map_or_else(ProxyError::Io, ProxyError::Tls)
            }
            known => known,
        }
    }

    /// Gives up, since the caller's deadline has passed. Returns the refusal whose body was being read, which tells more
    /// than that.
    pub fn timed_out(&mut self) -> Option<ProxyError> {
        match &mut self.0 {
            Handshake::Connect(connect) => connect.finish(),
            Handshake::Socks5(socks5) => {
                socks5.finish();
                None
            }
        }
    }
}

debug!(Tunnel => |this| unsent: this.output().len());
