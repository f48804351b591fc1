//! Ring's socket: the [`Socket`] trait that connections, wrappers and recorders implement, and
//! [`WebSocket`], the handle that user code holds.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::net::{IpAddr, SocketAddr};
use core::task::{Poll, Waker};

#[cfg(feature = "deflate")]
use crate::context::Compression;
use crate::context::SocketId;
use crate::protocol::{CloseCode, Closed, Outgoing, SendError, Stats, StreamOffset};

/// The operations of an open connection: what a [`WebSocket`] stands on.
///
/// Programs call the methods of [`WebSocket`]; this trait is for wrappers around one. A wrapper names what it wraps in
/// [`inner`](Self::inner) and writes only the methods that it changes; identity survives wrapping.
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::proto::StreamOffset;
/// use bellwire::testing::{Recorder, Sent};
/// use bellwire::{Outgoing, SendError, Socket, WebSocket};
///
/// /// Shows what is sent.
/// struct Logged(WebSocket);
///
/// impl Socket for Logged {
///     fn inner(&self) -> Option<&dyn Socket> {
///         Some(self.0.as_socket())
///     }
///
///     fn send(&self, message: Outgoing<'_>) -> Result<StreamOffset, SendError> {
///         println!("{} sends {} bytes", self.id(), message.as_bytes().len());
///         self.0.as_socket().send(message)
///     }
/// }
///
/// let recorder = Recorder::new();
/// let socket = WebSocket::new(Logged(recorder.socket()));
/// socket.send("hello")?;
/// assert_eq!(recorder.sent(), [Sent::text("hello")]);
/// assert!(socket == recorder.socket());
/// # Ok::<(), SendError>(())
/// ```
pub trait Socket: Send + Sync + 'static {
    /// Returns what this socket wraps: methods that are not overridden go there.
    ///
    /// An implementation without an inner socket overrides every method.
    fn inner(&self) -> Option<&dyn Socket> {
        None
    }

    /// Returns which connection this is. An implementation without an inner socket keeps a [`SocketId::unique`] and
    /// returns it here; the default is its address, which may be used again when it is gone.
    fn id(&self) -> SocketId {
        self.inner().map_or_else(|| SocketId::of(self), Socket::id)
    }

    /// Returns the address of the other end of the transport, if it is known. A wrapper may know better, behind a
    /// proxy.
    fn peer_addr(&self) -> Option<SocketAddr> {
        self.inner().and_then(Socket::peer_addr)
    }

    /// Returns the address of the client, on a server, if it is known.
    fn client_ip(&self) -> Option<IpAddr> {
        self.inner().and_then(Socket::client_ip)
    }

    /// Returns the path of the request, without its query, if it is known.
    fn path(&self) -> Option<&str> {
        self.inner().and_then(Socket::path)
    }

    /// Returns the subprotocol that was chosen, if one was.
    fn protocol(&self) -> Option<&str> {
        self.inner().and_then(Socket::protocol)
    }

    /// Returns how both sides have agreed to compress messages, if they have.
    #[cfg(feature = "deflate")]
    fn compression(&self) -> Option<Compression> {
        self.inner().and_then(Socket::compression)
    }

    /// Queues a message. `Ok`: accepted, in order; it leaves without another call unless the connection
    /// fails first. The position is what [`when_written`](Self::when_written) takes.
    fn send(&self, message: Outgoing<'_>) -> Result<StreamOffset, SendError> {
        self.inner().map_or(Err(SendError::Closed), |inner| inner.send(message))
    }

    /// Sends a message if there [is room](Self::room_at) for it now; `None` if not.
    fn send_if_room(&self, message: Outgoing<'_>) -> Option<Result<StreamOffset, SendError>> {
        match self.room_at(message.as_bytes().len()) {
            None => Some(self.send(message)).filter(|sent| *sent != Err(SendError::Full)),
            Some(_) => None,
        }
    }

    /// Sends a message that was taken over before, right before a close: also above
    /// [`Config::max_queued`](crate::Config::max_queued).
    #[doc(hidden)]
    fn send_last(&self, message: Outgoing<'_>) -> Result<StreamOffset, SendError> {
        self.send(message)
    }

    /// Sends a ping with at most 125 bytes of data.
    fn ping(&self, data: &[u8]) -> Result<(), SendError> {
        self.inner().map_or(Err(SendError::Closed), |inner| inner.ping(data))
    }

    /// Sends a pong with at most 125 bytes of data.
    fn pong(&self, data: &[u8]) -> Result<(), SendError> {
        self.inner().map_or(Err(SendError::Closed), |inner| inner.pong(data))
    }

    /// Answers a ping, as a listener without a choice of its own does. Unlike [`pong`](Self::pong) it
    /// cannot fail: on a closing connection nothing is owed, and above the high watermark only the newest
    /// unsent answer is kept (RFC 6455 §5.5.3 allows both).
    fn answer_ping(&self, data: &[u8]) {
        if let Some(inner) = self.inner() {
            inner.answer_ping(data);
        } else {
            let _ = self.pong(data);
        }
    }

    /// Starts the closing handshake, after what is queued.
    fn close(&self, code: CloseCode, reason: &str) -> Result<(), SendError> {
        self.inner().map_or(Err(SendError::Closed), |inner| inner.close(code, reason))
    }

    /// Drops the connection and everything that is queued.
    fn abort(&self) {
        if let Some(inner) = self.inner() {
            inner.abort();
        }
    }

    /// Returns `true` if messages may be sent: the handshake is done, no close was sent, none was received (and
    /// answered, in the stream form), nothing failed.
    fn is_open(&self) -> bool {
        self.inner().is_some_and(Socket::is_open)
    }

    /// Returns the number of bytes that are queued and not yet handed to the transport.
    fn buffered(&self) -> usize {
        self.inner().map_or(0, Socket::buffered)
    }

    /// Returns the position up to which output is queued: it has all left when that is [written](Self::when_written).
    fn queued(&self) -> StreamOffset {
        self.inner().map_or(StreamOffset::new(0), Socket::queued)
    }

    /// Returns the position up to which output was handed to the transport. It stays what it is when the connection has
    /// ended.
    fn written(&self) -> StreamOffset {
        self.inner().map_or(StreamOffset::new(0), Socket::written)
    }

    /// Returns the position up to which output must have been written before there is room for a message of this many
    /// bytes: until it fits, and until output that is above the high watermark is below the low one (see
    /// [`Config`](crate::Config)). `None`: there is room now.
    fn room_at(&self, length: usize) -> Option<StreamOffset> {
        self.inner().and_then(|inner| inner.room_at(length))
    }

    /// Returns what the connection has done so far.
    fn stats(&self) -> Stats {
        self.inner().map_or_else(Stats::default, Socket::stats)
    }

    /// Returns how the connection ended, once it has.
    fn closed(&self) -> Option<Closed> {
        self.inner().and_then(Socket::closed)
    }

    /// Calls `done` once when the connection has ended, in whatever way, before `on_close` runs; at once if it has ended
    /// already. No lock is held while it runs; it may run before this returns, and on any thread.
    ///
    /// An implementation without an inner socket has to override it, to be a member of rooms: by default it counts as ended.
    fn when_closed(&self, done: AtEnd) {
        match self.inner() {
            Some(inner) => inner.when_closed(done),
            None => done(),
        }
    }

    /// Calls `done` once: with `Ok` when everything up to `position` was handed to the transport, with
    /// `Err` when the connection ended before. No lock is held while it runs; it may run before this returns.
    fn when_written(&self, position: StreamOffset, done: Done) {
        match self.inner() {
            Some(inner) => inner.when_written(position, done),
            None => done(Err(SendError::Closed)),
        }
    }

    /// As [`when_written`](Self::when_written), for tasks: the outcome, or `waker` is called when there is one, in
    /// place of the one that came with this `waiter` before.
    fn poll_written(&self, waiter: &mut WriteWaiter, waker: &Waker) -> Poll<Result<(), SendError>> {
        self.inner().map_or(Poll::Ready(Err(SendError::Closed)), |inner| inner.poll_written(waiter, waker))
    }

    /// Forgets this `waiter`, which was dropped.
    fn give_up(&self, waiter: &WriteWaiter) {
        if let Some(inner) = self.inner() {
            inner.give_up(waiter);
        }
    }
}

/// A function that is called once, when a connection has ended.
pub type AtEnd = Box<dyn FnOnce() + Send>;

/// A function that is called once, with the outcome of a send.
pub type Done = Box<dyn FnOnce(Result<(), SendError>) + Send>;

/// A task that waits for output to be written: for [`Socket::poll_written`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteWaiter {
    position: StreamOffset,
    id: u64,
}

impl WriteWaiter {
    /// Creates one that was not polled yet.
    pub fn new(position: StreamOffset) -> Self {
        Self { position, id: 0 }
    }

    /// Returns the position up to which everything is to be written.
    pub fn position(&self) -> StreamOffset {
        self.position
    }

    /// Returns the number by which its socket knows it: 0 before it was first polled.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Sets the number by which its socket knows it, for implementations of [`Socket`].
    pub fn set_id(&mut self, id: u64) {
        self.id = id;
    }
}

/// A handle to a connection, which sends, closes, and knows how it ended. Cheap to clone, and usable from any thread or
/// task.
///
/// Handles are equal if they belong to the same connection, so a set of them works as expected. A
/// connection does not stay open because handles exist.
#[derive(Clone)]
pub struct WebSocket(Arc<dyn Socket>);

impl WebSocket {
    /// Creates a handle to an implementation: a backend's, a wrapper, a recorder.
    pub fn new(socket: impl Socket) -> Self {
        Self(Arc::new(socket))
    }

    /// Creates a handle to an implementation that is shared already.
    pub fn from_arc(socket: Arc<dyn Socket>) -> Self {
        Self(socket)
    }

    /// Returns the implementation, for wrappers.
    pub fn as_socket(&self) -> &dyn Socket {
        &*self.0
    }

    /// Sends a text or binary message.
    ///
    /// `Ok` means accepted, in order: the bytes leave without another call unless the connection fails first, or the
    /// program ends: before that, end the connection with its client's `close`, a stream's
    /// [`close`](crate::MessageStream::close) or a server's `shutdown`, or wait with
    /// [`send_and_wait`](Self::send_and_wait). Messages that are sent while a callback runs leave together, in one
    /// write where possible.
    ///
    /// # Errors
    /// [`SendError::Closed`] after a close, [`SendError::Full`] above
    /// [`Config::max_queued`](crate::Config::max_queued).
    pub fn send<'m>(&self, message: impl Into<Outgoing<'m>>) -> Result<(), SendError> {
        self.0.send(message.into()).map(drop)
    }

    /// Sends a message and calls `done` once: with `Ok` when its bytes were handed to the transport, with `Err` if it
    /// was refused or the connection ended before.
    pub fn send_with<'m>(
        &self,
        message: impl Into<Outgoing<'m>>,
        done: impl FnOnce(Result<(), SendError>) + Send + 'static,
    ) {
        match self.0.send(message.into()) {
            Ok(position) => self.0.when_written(position, Box::new(done)),
            Err(error) => done(Err(error)),
        }
    }

    /// Sends a ping with at most 125 bytes of data; `[]` for none.
    ///
    /// # Errors
    /// As [`send`](Self::send), and [`SendError::ControlTooLong`].
    pub fn ping(&self, data: impl AsRef<[u8]>) -> Result<(), SendError> {
        self.0.ping(data.as_ref())
    }

    /// Sends an unsolicited pong, or the answer to a ping in a listener that overrides `on_ping`.
    ///
    /// # Errors
    /// As [`ping`](Self::ping).
    pub fn pong(&self, data: impl AsRef<[u8]>) -> Result<(), SendError> {
        self.0.pong(data.as_ref())
    }

    /// Closes with 1000 "Normal Closure", after what is queued.
    ///
    /// # Errors
    /// [`SendError::Closed`] if it was closed already; that is harmless.
    pub fn close(&self) -> Result<(), SendError> {
        self.close_with(CloseCode::NORMAL, "Normal Closure")
    }

    /// Closes with a code and a reason, after what is queued. A reason of more than 123 bytes is cut at
    /// a character.
    ///
    /// # Errors
    /// [`SendError::CloseCode`] for a code that must not be sent, and as [`close`](Self::close).
    pub fn close_with(&self, code: impl Into<CloseCode>, reason: &str) -> Result<(), SendError> {
        self.0.close(code.into(), reason)
    }

    /// Drops the connection and everything that is queued, without a closing handshake: `on_close` gets 1006.
    pub fn abort(&self) {
        self.0.abort();
    }

    /// Returns `true` if messages may be sent: false as soon as a close was sent or received. In the
    /// [stream form](crate::stream()) a close that was received counts when it is answered.
    pub fn is_open(&self) -> bool {
        self.0.is_open()
    }

    /// Returns the number of bytes that are queued and not yet handed to the transport.
    pub fn buffered(&self) -> usize {
        self.0.buffered()
    }

    /// Returns what the connection has done so far: messages and bytes in both directions, how long the last ping took,
    /// when it opened, what was negotiated. It locks the connection for a moment.
    pub fn stats(&self) -> Stats {
        self.0.stats()
    }

    /// Returns how the connection ended, once it has: code, reason, who began, and whether both sides said goodbye. Set
    /// when `on_close` runs, which can ask here.
    pub fn closed(&self) -> Option<Closed> {
        self.0.closed()
    }

    /// Calls `done` once when the connection has ended: after a closing handshake, when it is aborted, fails or times out,
    /// when a callback panics, and when what drives it is dropped. [`closed`](Self::closed) says by then how it has ended,
    /// and `on_close` runs afterwards: a room that forgets its members here has none there that is gone. If it has ended
    /// already, `done` is called at once.
    ///
    /// It may be called as often as there is someone to tell, from any thread; they are told in this order. They keep no
    /// connection open, and hold what they have captured until it ends.
    ///
    /// `done` runs on the thread or the task that drives the connection, or on this one, while nothing is locked. It
    /// should be quick, as a callback should. Its panic is caught.
    ///
    /// ```
    /// # use bellwire_core as bellwire;
    /// use std::collections::HashSet;
    /// use std::sync::{Arc, Mutex};
    ///
    /// use bellwire::WebSocket;
    ///
    /// #[derive(Clone, Default)]
    /// struct Room(Arc<Mutex<HashSet<WebSocket>>>);
    ///
    /// impl Room {
    ///     fn join(&self, socket: &WebSocket) {
    ///         self.0.lock().unwrap().insert(socket.clone());
    ///         let (room, member) = (self.clone(), socket.clone());
    ///         // Behind the insertion: it may have ended already.
    ///         socket.when_closed(move || {
    ///             room.0.lock().unwrap().remove(&member);
    ///         });
    ///     }
    /// }
    /// # let (recorder, room) = (bellwire::testing::Recorder::new(), Room::default());
    /// # room.join(&recorder.socket());
    /// # assert_eq!(room.0.lock().unwrap().len(), 1);
    /// # recorder.end();
    /// # assert!(room.0.lock().unwrap().is_empty());
    /// ```
    pub fn when_closed(&self, done: impl FnOnce() + Send + 'static) {
        self.0.when_closed(Box::new(done));
    }

    /// Returns which connection this is: a number that the process gives once and never again, which is printed as such
    /// ([`SocketId`]).
    pub fn id(&self) -> SocketId {
        self.0.id()
    }

    /// Returns the address of the other end of the transport: on a server where the request came from (a proxy's,
    /// behind one), on a client where it has connected to, or what [`Target::peer_addr`](crate::Target::peer_addr) has
    /// said. `None` where it is not known: on a stream that the caller has brought without saying, or that another
    /// library has upgraded.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.0.peer_addr()
    }

    /// Returns the address of the client, on a server: the peer's, or what a
    /// [trusted proxy](crate::Config::trusted_proxies) has said, as [`Request::client_ip`](crate::Request::client_ip)
    /// says it. `None` on a client, and where it is not known.
    pub fn client_ip(&self) -> Option<IpAddr> {
        self.0.client_ip()
    }

    /// Returns the path that was asked for, not decoded and without its query, as
    /// [`Request::path`](crate::Request::path) says it. `None` where it is not known: on a stream that another library
    /// has upgraded.
    pub fn path(&self) -> Option<&str> {
        self.0.path()
    }

    /// Returns the subprotocol that the server has chosen. `None` if it has chosen none, or if that is not known.
    pub fn protocol(&self) -> Option<&str> {
        self.0.protocol()
    }

    /// Returns how both sides have agreed to compress messages. `None` if they have not, or if that is not known.
    #[cfg(feature = "deflate")]
    pub fn compression(&self) -> Option<Compression> {
        self.0.compression()
    }
}

impl PartialEq for WebSocket {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl Eq for WebSocket {}

impl Hash for WebSocket {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WebSocket").field(&self.id()).finish()
    }
}
