//! What a connection is about: the peer's address, the path, the subprotocol. And its number.

use alloc::boxed::Box;
use core::fmt;
use core::net::SocketAddr;

/// What a connection is about, as far as it is known: what [`WebSocket::peer_addr`](crate::WebSocket::peer_addr),
/// [`path`](crate::WebSocket::path) and [`protocol`](crate::WebSocket::protocol) say. The handshakes fill it in;
/// whoever makes a [`Connection`](crate::proto::Connection) of a handshake of their own can
/// [set it](crate::proto::Connection::set_context), and a [`Recorder`](crate::testing::Recorder) can pretend.
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::backend::SocketContext;
/// use bellwire::testing::Recorder;
///
/// let recorder = Recorder::with_context(SocketContext::new().path("/chat").protocol("mqtt"));
/// assert_eq!(recorder.socket().path(), Some("/chat"));
/// assert_eq!(recorder.socket().peer_addr(), None);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SocketContext {
    pub(crate) peer_addr: Option<SocketAddr>,
    pub(crate) path: Option<Box<str>>,
    pub(crate) protocol: Option<Box<str>>,
}

impl SocketContext {
    /// Nothing is known.
    pub const fn new() -> Self {
        Self { peer_addr: None, path: None, protocol: None }
    }

    /// With the address of the other end of the transport.
    #[must_use]
    pub fn peer_addr(mut self, addr: impl Into<Option<SocketAddr>>) -> Self {
        self.peer_addr = addr.into();
        self
    }

    /// With the path of the request, without its query.
    #[must_use]
    pub fn path(mut self, path: impl Into<Box<str>>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// With the subprotocol that was chosen.
    #[must_use]
    pub fn protocol(mut self, protocol: impl Into<Box<str>>) -> Self {
        self.protocol = Some(protocol.into());
        self
    }
}

/// Which connection a socket belongs to: a number that the process gives once, and never again. It is printed as a
/// number, and so can be a key in logs, too.
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
    /// The next number, counted from 1: for whoever implements [`Socket`](crate::Socket) without an inner socket. To be
    /// called once for each connection, and kept.
    #[cfg(feature = "std")]
    pub fn unique() -> Self {
        Self(next())
    }

    /// The identity of a socket that keeps no number: its address, with the highest bit set to keep it apart from
    /// all numbers. Unlike those it may come again when the socket is gone.
    pub(crate) fn of<S: ?Sized>(socket: &S) -> Self {
        Self(core::ptr::from_ref(socket).cast::<()>().addr() as u64 | 1 << 63)
    }
}

/// 64 bits do not come around: a million connections a second take half a million years.
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

/// For those who keep numbers of their own, and to find a connection by the number from a log.
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
