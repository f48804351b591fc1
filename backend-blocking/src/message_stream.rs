//! A connection as a stream of owned messages: what users of the standard library's channels know.
//!
//! It is core's stream, whose futures are waited for on the caller's thread. Who drives the connection is a thread of its
//! own, as with a listener.

use std::fmt;
use std::iter::FusedIterator;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bellwire_core::stream as polled;
use bellwire_core::{Closed, OwnedMessage, StreamError, WebSocket};

use crate::end::End;
use crate::wait::wait_until;

/// An open connection: [`recv`](Self::recv) and [`send`](Self::send), and an iterator of messages. What
/// [`connect_stream`](crate::connect_stream) and [`accept_stream`](crate::accept_stream) return.
///
/// ```no_run
/// # mod bellwire { pub use bellwire_core::*; pub mod blocking { pub use bellwire_blocking::*; } }
/// use bellwire::StreamError;
/// use bellwire::blocking::MessageStream;
///
/// /// Answers each message with itself, until the peer closes.
/// fn echo(mut messages: MessageStream) -> Result<(), StreamError> {
///     while let Some(message) = messages.recv() {
///         messages.send(message?)?;
///     }
///     if let Some(closed) = messages.closed() {
///         println!("{closed}");
///     }
///     Ok(())
/// }
/// ```
///
/// As an iterator it ends once, after the last message, and after the error if there was one:
/// `for message in &mut messages`.
///
/// **Who drives it**: a thread of its own, which answers pings and writes what was sent, whether or not anything is
/// received here. Messages wait meanwhile, up to 64 KiB or 256 of them. When that many wait the peer is not read until
/// some are taken: its pings and its close are not seen before.
///
/// **When the peer closes**, its close is answered after the messages before it: when they were taken and the next one is
/// asked for, at the latest after a second. Until then `send` sends, and [`is_open`](WebSocket::is_open) is true.
///
/// **Dropping it** (both halves, if it was [split](Self::split)) closes the connection with 1000 "Normal Closure", after
/// what was sent; while the thread panics it is 1011 "Unexpected Error". It waits until that is written, at most as long
/// as [`Config::close_timeout`](bellwire_core::Config::close_timeout) says (10 s if there is none), so that no last
/// message is lost when `main` returns. [`close`](Self::close) waits for the peer's goodbye besides, and says how that
/// went. [`std::process::exit`] waits for nothing.
pub struct MessageStream {
    sender: MessageSender,
    receiver: MessageReceiver,
}

/// The half of a [`MessageStream`] that sends.
pub struct MessageSender {
    inner: polled::MessageSender,
    // Dropped last: it waits until what was sent is written.
    goodbye: Arc<Goodbye>,
}

/// The half of a [`MessageStream`] that receives.
pub struct MessageReceiver {
    inner: polled::MessageReceiver,
    // Dropped last: it waits until what was sent is written.
    _goodbye: Arc<Goodbye>,
}

/// Dropped with the last half.
struct Goodbye(End);

impl Drop for Goodbye {
    fn drop(&mut self) {
        self.0.drain();
    }
}

impl MessageStream {
    pub(crate) fn new(messages: bellwire_core::MessageStream, end: End) -> Self {
        let (goodbye, (sender, receiver)) = (Arc::new(Goodbye(end)), messages.split());
        Self {
            sender: MessageSender { inner: sender, goodbye: goodbye.clone() },
            receiver: MessageReceiver { inner: receiver, _goodbye: goodbye },
        }
    }

    /// Returns the connection's handle: for closing with a code, and sends that do not wait.
    pub fn socket(&self) -> &WebSocket {
        self.sender.socket()
    }

    /// Returns how the connection ended, once it has.
    pub fn closed(&self) -> Option<Closed> {
        self.sender.closed()
    }

    /// Waits for the next message; `None` once the connection has ended, for good.
    ///
    /// # Errors
    /// Inside: [`StreamError::Connection`], once, after the last message, if the connection has failed. `None` follows.
    pub fn recv(&mut self) -> Option<Result<OwnedMessage, StreamError>> {
        self.receiver.recv()
    }

    /// As [`recv`](Self::recv), and waits so long at most.
    ///
    /// # Errors
    /// Inside: that of [`recv`](Self::recv), and [`StreamError::Timeout`] if no message has come in time. The connection
    /// goes on, and the next call may have it.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Option<Result<OwnedMessage, StreamError>> {
        self.receiver.recv_timeout(timeout)
    }

    /// As [`recv`](Self::recv), without waiting: for a program that has a loop of its own.
    ///
    /// ```no_run
    /// # mod bellwire { pub use bellwire_core::*; pub mod blocking { pub use bellwire_blocking::*; } }
    /// # let (mut messages, _) = bellwire::blocking::connect_stream("ws://127.0.0.1:9001/").unwrap();
    /// // In each frame of a game: all that has come since the last.
    /// while let Some(Ok(message)) = messages.try_recv() {
    ///     println!("{message:?}");
    /// }
    /// ```
    ///
    /// # Errors
    /// Inside: that of [`recv`](Self::recv), and [`StreamError::Timeout`] if there is no message now.
    pub fn try_recv(&mut self) -> Option<Result<OwnedMessage, StreamError>> {
        self.receiver.try_recv()
    }

    /// Sends a message: queues it, when it is welcome. That is at once, unless much is queued that the peer has not
    /// taken; then it waits until the peer has taken some, as [`writable`](WebSocket::writable) says. The message leaves
    /// without another call, unless the program ends: [`flush`](Self::flush) waits for that, and so does dropping the
    /// stream.
    ///
    /// # Errors
    /// [`StreamError::Send`] if the connection is closed: the message was not sent.
    pub fn send(&mut self, message: impl Into<OwnedMessage>) -> Result<(), StreamError> {
        self.sender.send(message)
    }

    /// As [`send`](Self::send), and waits so long at most.
    ///
    /// # Errors
    /// That of [`send`](Self::send), and [`StreamError::Timeout`] if the peer has taken too little in this time: the
    /// message was not sent.
    pub fn send_timeout(&mut self, message: impl Into<OwnedMessage>, timeout: Duration) -> Result<(), StreamError> {
        self.sender.send_timeout(message, timeout)
    }

    /// Waits until the transport has taken all that was sent here.
    ///
    /// # Errors
    /// [`StreamError::Send`] if the connection has ended before.
    pub fn flush(&mut self) -> Result<(), StreamError> {
        self.sender.flush()
    }

    /// As [`flush`](Self::flush), and waits so long at most.
    ///
    /// # Errors
    /// That of [`flush`](Self::flush), and [`StreamError::Timeout`] if something is left by then. It leaves later.
    pub fn flush_timeout(&mut self, timeout: Duration) -> Result<(), StreamError> {
        self.sender.flush_timeout(timeout)
    }

    /// Sends a ping with at most 125 bytes of data; `[]` for none. It does not wait. The pong is not shown here: a
    /// [listener](bellwire_core::listener()) has a callback for it. A peer that is gone is found out without this, as
    /// [`Config::keepalive_interval`](bellwire_core::Config::keepalive_interval) says.
    ///
    /// # Errors
    /// [`StreamError::Send`]: the connection is closed, too much is queued, or the data is too long.
    pub fn ping(&self, data: impl AsRef<[u8]>) -> Result<(), StreamError> {
        self.sender.ping(data)
    }

    /// Closes with 1000 "Normal Closure" after what was sent, waits until both sides have said goodbye and the transport
    /// is closed, and says how it ended; at once if it has ended already. For another code, call
    /// [`WebSocket::close_with`] before. Messages that come meanwhile are dropped.
    ///
    /// It takes no longer than [`Config::close_timeout`](bellwire_core::Config::close_timeout) and
    /// [`Config::linger_timeout`](bellwire_core::Config::linger_timeout) say, from when the peer takes nothing any more.
    pub fn close(&mut self) -> Closed {
        self.sender.close()
    }

    /// Splits it into two halves that may be used by two threads. The connection is closed when both are dropped.
    ///
    /// ```no_run
    /// # mod bellwire { pub use bellwire_core::*; pub mod blocking { pub use bellwire_blocking::*; } }
    /// use bellwire::blocking::connect_stream;
    /// use std::{io, thread};
    ///
    /// let (mut sender, receiver) = connect_stream("ws://127.0.0.1:9001/")?.0.split();
    /// thread::spawn(move || {
    ///     for message in receiver {
    ///         println!("{message:?}");
    ///     }
    /// });
    /// for line in io::stdin().lines() {
    ///     sender.send(line?)?;
    /// }
    /// println!("{}", sender.close());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn split(self) -> (MessageSender, MessageReceiver) {
        (self.sender, self.receiver)
    }
}

impl MessageSender {
    /// As [`MessageStream::socket`].
    pub fn socket(&self) -> &WebSocket {
        self.inner.socket()
    }

    /// Returns how the connection ended, once it has.
    pub fn closed(&self) -> Option<Closed> {
        self.inner.closed()
    }

    /// As [`MessageStream::send`].
    ///
    /// # Errors
    /// As [`MessageStream::send`].
    pub fn send(&mut self, message: impl Into<OwnedMessage>) -> Result<(), StreamError> {
        in_time(None, self.inner.send(message))
    }

    /// As [`MessageStream::send_timeout`].
    ///
    /// # Errors
    /// As [`MessageStream::send_timeout`].
    pub fn send_timeout(&mut self, message: impl Into<OwnedMessage>, timeout: Duration) -> Result<(), StreamError> {
        in_time(after(timeout), self.inner.send(message))
    }

    /// As [`MessageStream::flush`].
    ///
    /// # Errors
    /// As [`MessageStream::flush`].
    pub fn flush(&mut self) -> Result<(), StreamError> {
        in_time(None, self.inner.flush())
    }

    /// As [`MessageStream::flush_timeout`].
    ///
    /// # Errors
    /// As [`MessageStream::flush_timeout`].
    pub fn flush_timeout(&mut self, timeout: Duration) -> Result<(), StreamError> {
        in_time(after(timeout), self.inner.flush())
    }

    /// As [`MessageStream::ping`].
    ///
    /// # Errors
    /// As [`MessageStream::ping`].
    pub fn ping(&self, data: impl AsRef<[u8]>) -> Result<(), StreamError> {
        Ok(self.socket().ping(data)?)
    }

    /// As [`MessageStream::close`]. The other half need not read meanwhile.
    pub fn close(&mut self) -> Closed {
        wait_until(None, self.inner.close());
        self.goodbye.0.wait()
    }
}

impl MessageReceiver {
    /// As [`MessageStream::socket`].
    pub fn socket(&self) -> &WebSocket {
        self.inner.socket()
    }

    /// Returns how the connection ended, once it has.
    pub fn closed(&self) -> Option<Closed> {
        self.inner.closed()
    }

    /// As [`MessageStream::recv`].
    ///
    /// # Errors
    /// As [`MessageStream::recv`].
    pub fn recv(&mut self) -> Option<Result<OwnedMessage, StreamError>> {
        self.recv_by(None)
    }

    /// As [`MessageStream::recv_timeout`].
    ///
    /// # Errors
    /// As [`MessageStream::recv_timeout`].
    pub fn recv_timeout(&mut self, timeout: Duration) -> Option<Result<OwnedMessage, StreamError>> {
        self.recv_by(after(timeout))
    }

    /// As [`MessageStream::try_recv`].
    ///
    /// # Errors
    /// As [`MessageStream::try_recv`].
    pub fn try_recv(&mut self) -> Option<Result<OwnedMessage, StreamError>> {
        self.recv_timeout(Duration::ZERO)
    }

    fn recv_by(&mut self, deadline: Option<Instant>) -> Option<Result<OwnedMessage, StreamError>> {
        wait_until(deadline, self.inner.recv()).unwrap_or(Some(Err(StreamError::Timeout)))
    }
}

/// Returns when so much time has passed; `None` for longer than there is time.
fn after(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}

fn in_time<T>(
    deadline: Option<Instant>,
    future: impl Future<Output = Result<T, StreamError>>,
) -> Result<T, StreamError> {
    wait_until(deadline, future).unwrap_or(Err(StreamError::Timeout))
}

/// The messages, as [`recv`](Self::recv) returns them.
impl Iterator for MessageStream {
    type Item = Result<OwnedMessage, StreamError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.recv()
    }
}

impl FusedIterator for MessageStream {}

/// The messages, as [`recv`](Self::recv) returns them.
impl Iterator for MessageReceiver {
    type Item = Result<OwnedMessage, StreamError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.recv()
    }
}

impl FusedIterator for MessageReceiver {}

impl fmt::Debug for MessageStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageStream").field("socket", self.socket()).finish_non_exhaustive()
    }
}

impl fmt::Debug for MessageSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageSender").field("socket", self.socket()).finish_non_exhaustive()
    }
}

impl fmt::Debug for MessageReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageReceiver").field("socket", self.socket()).finish_non_exhaustive()
    }
}
