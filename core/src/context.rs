//! What a connection is about (the peer's address, the path, the subprotocol), and its number.

#[cfg(feature = "deflate")]
mod compression;
#[cfg(not(feature = "deflate"))]
#[path = "context/no_compression.rs"]
mod compression;

use alloc::boxed::Box;
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

#[cfg(feature = "deflate")]
pub use self::compression::Compression;
#[cfg(not(feature = "deflate"))]
pub(crate) use self::compression::Compression;
#[cfg(feature = "deflate")]
pub(crate) use self::compression::MAX_WINDOW_BITS;
pub(crate) use self::compression::Window;
use crate::time::Time;

/// What a connection is about, as far as it is known: what [`WebSocket::peer_addr`](crate::WebSocket::peer_addr),
/// [`client_ip`](crate::WebSocket::client_ip), [`path`](crate::WebSocket::path) and
/// [`protocol`](crate::WebSocket::protocol) say. The handshakes fill it in. After a handshake of your own,
/// [set it](crate::proto::Connection::set_context) on the [`Connection`](crate::proto::Connection); a
/// [`Recorder`](crate::testing::Recorder) can pretend.
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::proto::SocketContext;
/// use bellwire::testing::Recorder;
///
/// let recorder = Recorder::with_context(SocketContext::new().path("/chat").protocol("mqtt"));
/// assert_eq!(recorder.socket().path(), Some("/chat"));
/// assert_eq!(recorder.socket().peer_addr(), None);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SocketContext {
    addrs: Addrs,
    /// Whether the peer is the client.
    peer_is_client: bool,
    pub(crate) path: Option<Box<str>>,
    pub(crate) protocol: Option<Box<str>>,
    pub(crate) compression: Option<Compression>,
    /// When it opened, counted from the beginning of 1970.
    pub(crate) opened: Option<Time>,
}

/// The addresses of the peer and of the client. Most clients are the peer; so another is in a box.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Addrs {
    #[default]
    Unknown,
    Peer(SocketAddr),
    Both(Box<(Option<SocketAddr>, IpAddr)>),
}

impl SocketContext {
    /// Creates a context in which nothing is known.
    pub const fn new() -> Self {
        Self {
            addrs: Addrs::Unknown,
            peer_is_client: false,
            path: None,
            protocol: None,
            compression: None,
            opened: None,
        }
    }

    /// Sets the address of the other end of the transport.
    #[must_use]
    pub fn peer_addr(mut self, addr: impl Into<Option<SocketAddr>>) -> Self {
        self.set_peer_addr(addr.into());
        self
    }

    /// Sets the address of the client, on a server; it is the peer's, unless there are proxies in between.
    #[must_use]
    pub fn client_ip(mut self, ip: impl Into<Option<IpAddr>>) -> Self {
        self.set_client_ip(ip.into());
        self
    }

    /// Sets the path of the request, without its query.
    #[must_use]
    pub fn path(mut self, path: impl Into<Box<str>>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// Sets when the connection opened, as the time since the beginning of 1970.
    #[must_use]
    pub fn opened(mut self, unix_time: Duration) -> Self {
        self.opened = Some(Time::from_start(unix_time));
        self
    }

    /// Sets how both sides have agreed to compress messages.
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn compression(mut self, compression: impl Into<Option<Compression>>) -> Self {
        self.compression = compression.into();
        self
    }

    /// Sets the subprotocol that was chosen.
    #[must_use]
    pub fn protocol(mut self, protocol: impl Into<Box<str>>) -> Self {
        self.protocol = Some(protocol.into());
        self
    }
}

impl SocketContext {
    pub(crate) fn set_peer_addr(&mut self, addr: Option<SocketAddr>) {
        self.set_addrs(addr, self.get_client_ip());
    }

    pub(crate) fn get_peer_addr(&self) -> Option<SocketAddr> {
        match &self.addrs {
            Addrs::Unknown => None,
            Addrs::Peer(peer) => Some(*peer),
            Addrs::Both(both) => both.0,
        }
    }

    fn set_client_ip(&mut self, ip: Option<IpAddr>) {
        self.set_addrs(self.get_peer_addr(), ip);
    }

    fn set_addrs(&mut self, peer: Option<SocketAddr>, client: Option<IpAddr>) {
        self.peer_is_client = client.is_some() && client == peer.map(canonical_ip);
        self.addrs = match (peer, client) {
            (_, Some(client)) if !self.peer_is_client => Addrs::Both(Box::new((peer, client))),
            (Some(peer), _) => Addrs::Peer(peer),
            (None, _) => Addrs::Unknown,
        };
    }

    pub(crate) fn get_client_ip(&self) -> Option<IpAddr> {
        match &self.addrs {
            Addrs::Peer(peer) if self.peer_is_client => Some(canonical_ip(*peer)),
            Addrs::Unknown | Addrs::Peer(_) => None,
            Addrs::Both(both) => Some(both.1),
        }
    }
}

fn canonical_ip(addr: SocketAddr) -> IpAddr {
    addr.ip().to_canonical()
}

/// The identity of a connection: a number that the process gives only once. It is printed as a number, so it can also
/// be a key in logs.
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::testing::Recorder;
///
/// let (first, second) = (Recorder::new().socket().id(), Recorder::new().socket().id());
/// assert!(first < second, "{first} came before {second}");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(u64);

impl SocketId {
    /// Returns the next number, counted from 1, for an implementation of [`Socket`](crate::Socket) without an inner
    /// socket. Call it once for each connection, and keep the result.
    #[cfg(feature = "std")]
    pub fn unique() -> Self {
        Self(next())
    }

    /// Returns the identity of a socket that keeps no number: its address, with the highest bit set to keep it apart
    /// from all numbers. Unlike those it may come again once the socket is gone.
    pub(crate) fn of<S: ?Sized>(socket: &S) -> Self {
        Self(core::ptr::from_ref(socket).cast::<()>().addr() as u64 | 1 << 63)
    }
}

/// 64 bits do not wrap: at a million connections a second that takes half a million years.
#[cfg(all(feature = "std", target_has_atomic = "64"))]
fn next() -> u64 {
    use core::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Where there is no such atomic, a lock for each connection costs little.
#[cfg(all(feature = "std", not(target_has_atomic = "64")))]
fn next() -> u64 {
    static LAST: std::sync::Mutex<u64> = std::sync::Mutex::new(0);
    let mut last = LAST.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    *last += 1;
    *last
}

/// For programs that keep numbers of their own, or that look for a connection by the number in a log.
impl From<u64> for SocketId {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

impl From<SocketId> for u64 {
    fn from(id: SocketId) -> Self {
        id.0
    }
}

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
