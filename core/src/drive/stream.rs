//! A connection as a stream of owned messages, and a sink for them: what users of tokio and smol know.
//!
//! It is the other end of a listener (see `stream_listener`), from which it has its messages by way of a [`Channel`].

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll, ready};

use super::channel::{Batch, Channel};
use crate::api::{WebSocket, Written, poll_room};
use crate::protocol::{Closed, ClosedBy, Error, LARGE, Outgoing, OwnedMessage, SendError, StreamOffset};

/// A connection that is not open yet: a future of its [`MessageStream`], or of `None` if it never opens.
///
/// # Cancel safety
/// Dropping it closes the connection as soon as it opens.
#[must_use = "futures do nothing unless they are polled"]
pub struct Opened(pub(super) Option<Arc<Channel>>);

/// An open connection: a `Stream` of messages and a `Sink` for them, or [`recv`](Self::recv) and
/// [`send`](Self::send) without these traits.
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::{MessageStream, StreamError};
///
/// /// Answers each message with itself, until the peer closes.
/// async fn echo(mut messages: MessageStream) -> Result<(), StreamError> {
///     while let Some(message) = messages.recv().await {
///         messages.send(message?).await?;
///     }
///     if let Some(closed) = messages.closed() {
///         println!("{closed}");
///     }
///     Ok(())
/// }
/// ```
///
/// A client's is what `connect_stream` returns, a server's what [`stream`](crate::stream()) makes.
///
/// As a stream it ends once, after the last message, and after the error if there was one;
/// [`closed`](Self::closed) says with which code.
///
/// As a sink it has taken a message when that is queued; it is flushed when the transport has taken all of them, and
/// closed when the close frame has left, too. What the peer says until it answers can still be received.
///
/// **While nothing is received here** messages wait, up to 64 KiB or 256 of them. What is sent leaves all the same, and
/// pings are answered. When that many messages wait the peer is not read until some are taken: its pings and its
/// close are not seen before.
///
/// **When the peer closes**, its close is answered after the messages before it: when they were taken and
/// [`recv`](Self::recv) is called again, at the latest after a second. Until then `send` sends, and
/// [`is_open`](WebSocket::is_open) is true.
///
/// Dropping it (both halves, if it was [split](Self::split)) closes the connection with 1000 "Normal Closure", after
/// what was sent. While the thread panics it is 1011 "Unexpected Error".
///
/// **Before the program ends**: what was sent, and the closing handshake of a stream that is dropped, need the
/// connection's task to go on. [`flush`](Self::flush) waits until what was sent is with the system, and arrives;
/// [`close`](Self::close) waits for all of that.
pub struct MessageStream {
    /// With the receiver's end of the channel, too, until that is split off.
    sender: MessageSender,
    batch: Batch,
}

/// The half of a [`MessageStream`] that sends.
pub struct MessageSender {
    socket: WebSocket,
    channel: Arc<Channel>,
    /// Nothing, until there is something to wait for: most senders only send.
    waits: Option<Box<Waits>>,
    /// Where the last message ends that was queued here: it may be dropped from the queue before it is written.
    sent: StreamOffset,
    /// It is the sender of a whole [`MessageStream`].
    is_whole: bool,
}

/// What a sender waits for.
#[derive(Default)]
struct Waits {
    /// A message that a sink has taken, and that did not fit.
    left: Option<OwnedMessage>,
    /// What has to be written before the next message is welcome.
    room: Option<Written>,
    /// What has to be written until all is that was sent.
    written: Option<Written>,
    /// The sink was closed.
    #[cfg(feature = "stream")]
    closing: bool,
}

/// The half of a [`MessageStream`] that receives.
pub struct MessageReceiver {
    socket: WebSocket,
    channel: Arc<Channel>,
    /// What was taken out of the channel, and is next.
    batch: Batch,
}

/// The reason why a stream of messages could not receive or send.
#[derive(Debug)]
#[non_exhaustive]
pub enum StreamError {
    /// The connection has failed: what `on_error` reports.
    Connection(Error),
    /// A message was refused. It was not sent.
    Send(SendError),
    /// On threads, a call that may wait only so long: nothing was received, or not sent. The connection goes on.
    Timeout,
}

impl Future for Opened {
    type Output = Option<MessageStream>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(channel) = &self.0 else { return Poll::Ready(None) };
        let opened = ready!(channel.poll_opened(cx));
        let channel = self.0.take();
        Poll::Ready(opened.zip(channel).map(|(socket, channel)| MessageStream::new(socket, channel)))
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if let Some(channel) = &self.0 {
            channel.leave();
        }
    }
}

impl Drop for MessageReceiver {
    fn drop(&mut self) {
        self.channel.leave();
        self.channel.part(&self.socket);
    }
}

impl Drop for MessageSender {
    fn drop(&mut self) {
        if self.is_whole {
            self.channel.leave();
            self.channel.part(&self.socket);
        }
        self.channel.part(&self.socket);
    }
}

impl MessageStream {
    fn new(socket: WebSocket, channel: Arc<Channel>) -> Self {
        let (waits, sent) = (None, StreamOffset::new(0));
        Self { sender: MessageSender { socket, channel, waits, sent, is_whole: true }, batch: Batch::default() }
    }

    /// Returns the connection's handle: for pings, closing with a code, and sends that do not wait.
    pub fn socket(&self) -> &WebSocket {
        self.sender.socket()
    }

    /// Returns how the connection ended, once it has.
    pub fn closed(&self) -> Option<Closed> {
        self.socket().closed()
    }

    /// Receives the next message; `None` once the connection has ended, for good.
    ///
    /// # Errors
    /// Inside: [`StreamError::Connection`], once, after the last message, if the connection has failed. `None` follows.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: what it would have returned is returned by the next.
    pub fn recv(&mut self) -> impl Future<Output = Option<Result<OwnedMessage, StreamError>>> {
        core::future::poll_fn(|cx| self.poll_recv(cx))
    }

    pub(crate) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<OwnedMessage, StreamError>>> {
        poll_next(&mut self.batch, &self.sender.channel, cx)
    }

    /// Sends a message: queues it when it is welcome. That is at once, unless much is queued that the peer has not taken,
    /// as [`writable`](WebSocket::writable) says. It leaves without another call, as long as the connection's task runs;
    /// those that are sent one after the other leave together. To wait until it is written, [`flush`](Self::flush).
    ///
    /// # Errors
    /// [`StreamError::Send`] if the connection is closed: the message was not sent.
    ///
    /// # Cancel safety
    /// If the future is dropped before it is done, the message was not sent.
    pub fn send(&mut self, message: impl Into<OwnedMessage>) -> impl Future<Output = Result<(), StreamError>> {
        self.sender.send(message)
    }

    /// Waits until the transport has taken all that was sent here: the system sends it on, even if the program ends
    /// then.
    ///
    /// # Errors
    /// [`StreamError::Send`] if the connection has ended before.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing: what was sent leaves.
    pub fn flush(&mut self) -> impl Future<Output = Result<(), StreamError>> {
        self.sender.flush()
    }

    /// Closes with 1000 "Normal Closure" after what was sent, waits until both sides have said goodbye and the
    /// transport is closed, and says how it ended; at once if it has ended already. For another code, call
    /// [`WebSocket::close_with`] before. Messages that come meanwhile are dropped.
    ///
    /// It takes no longer than [`Config::close_timeout`](crate::Config::close_timeout) and
    /// [`Config::linger_timeout`](crate::Config::linger_timeout) say, from when the peer takes nothing any more.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the connection closing; it may be called again.
    pub async fn close(&mut self) -> Closed {
        self.sender.close().await
    }

    /// Splits it into two halves that may live in different tasks. The connection is closed when both are dropped.
    pub fn split(self) -> (MessageSender, MessageReceiver) {
        let Self { mut sender, batch } = self;
        sender.is_whole = false;
        let receiver = MessageReceiver { socket: sender.socket.clone(), channel: sender.channel.clone(), batch };
        (sender, receiver)
    }
}

impl MessageReceiver {
    /// Returns the connection's handle: for pings, closing with a code, and how it ended.
    pub fn socket(&self) -> &WebSocket {
        &self.socket
    }

    /// As [`MessageStream::recv`].
    ///
    /// # Errors
    /// As [`MessageStream::recv`].
    ///
    /// # Cancel safety
    /// As [`MessageStream::recv`].
    pub fn recv(&mut self) -> impl Future<Output = Option<Result<OwnedMessage, StreamError>>> {
        core::future::poll_fn(|cx| self.poll_recv(cx))
    }

    /// Returns how the connection ended, once it has.
    pub fn closed(&self) -> Option<Closed> {
        self.socket().closed()
    }

    pub(super) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<OwnedMessage, StreamError>>> {
        poll_next(&mut self.batch, &self.channel, cx)
    }
}

fn poll_next(
    batch: &mut Batch,
    channel: &Channel,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<OwnedMessage, StreamError>>> {
    if let Some(message) = batch.pop() {
        return Poll::Ready(Some(Ok(message)));
    }
    let next = channel.poll(cx, |state| state.next(batch));
    next.map(|next| next.map(|item| item.map_err(StreamError::Connection)))
}

impl MessageSender {
    /// Returns the connection's handle: for pings, closing with a code, and sends that do not wait.
    pub fn socket(&self) -> &WebSocket {
        &self.socket
    }

    /// Returns how the connection ended, once it has.
    pub fn closed(&self) -> Option<Closed> {
        self.socket().closed()
    }

    /// As [`MessageStream::close`]. The other half need not read meanwhile.
    ///
    /// # Cancel safety
    /// As [`MessageStream::close`].
    pub async fn close(&mut self) -> Closed {
        self.send_left();
        let _ = self.socket().close();
        Written::ended(self.socket()).await;
        self.closed().unwrap_or_else(|| Closed::abnormal(ClosedBy::Local))
    }

    /// As [`MessageStream::send`].
    ///
    /// # Errors
    /// As [`MessageStream::send`].
    ///
    /// # Cancel safety
    /// As [`MessageStream::send`].
    pub fn send(&mut self, message: impl Into<OwnedMessage>) -> impl Future<Output = Result<(), StreamError>> {
        let mut message = message.into();
        if let Some(waits) = self.waits.as_mut().filter(|waits| waits.left.is_none()) {
            // What another message has waited for is not what this one waits for.
            waits.room = None;
        }
        core::future::poll_fn(move |cx| self.poll_send(&mut message, cx).map_err(Into::into))
    }

    /// As [`MessageStream::flush`].
    ///
    /// # Errors
    /// As [`MessageStream::flush`].
    ///
    /// # Cancel safety
    /// As [`MessageStream::flush`].
    pub fn flush(&mut self) -> impl Future<Output = Result<(), StreamError>> {
        core::future::poll_fn(|cx| self.poll_written(cx).map_err(Into::into))
    }

    fn poll_send(&mut self, message: &mut OwnedMessage, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        // What a sink has taken before leaves before.
        ready!(self.poll_left(cx))?;
        self.poll_queue(message, cx)
    }

    /// Queues a message when there is room for it.
    fn poll_queue(&mut self, message: &mut OwnedMessage, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        loop {
            if self.waits.as_ref().is_none_or(|waits| waits.room.is_none()) {
                if let Some(result) = self.queue(message) {
                    return Poll::Ready(result);
                }
            }
            ready!(self.poll_room(message.as_bytes().len(), cx))?;
        }
    }

    /// Ready when there is room for a message of this length.
    fn poll_room(&mut self, length: usize, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        if self.waits.is_none() && self.socket.as_socket().room_at(length).is_none() {
            return Poll::Ready(Ok(()));
        }
        poll_room(&self.socket, length, &mut self.waits.get_or_insert_default().room, cx)
    }

    /// Queues a message. If there is no room for it, it is left as it is, and this returns `None`.
    fn queue(&mut self, message: &mut OwnedMessage) -> Option<Result<(), SendError>> {
        let socket = self.socket.as_socket();
        let sent = match message {
            OwnedMessage::Text(text) if text.len() >= LARGE => {
                // It goes without being copied, and comes back only if there is no room.
                let text = Outgoing::shared(mem::take(text));
                let sent = socket.send_if_room(text.again());
                if sent.is_none() {
                    *message = text.into_owned();
                }
                sent
            }
            _ => socket.send_if_room(Outgoing::from(&*message)),
        };
        if let Some(waits) = &mut self.waits {
            waits.written = None;
        }
        Some(sent?.map(|sent| self.sent = sent))
    }

    /// Sends the message that did not fit, once it does.
    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        let left = self.waits.as_mut().and_then(|waits| waits.left.take());
        let Some(mut message) = left else { return Poll::Ready(Ok(())) };
        let result = self.poll_queue(&mut message, cx);
        if result.is_pending() {
            self.waits.get_or_insert_default().left = Some(message);
        }
        result
    }

    /// Sends the message that did not fit: it leaves before a close, which waits for no room.
    fn send_left(&mut self) {
        if let Some(left) = self.waits.as_mut().and_then(|waits| waits.left.take()) {
            // If it cannot, the connection is closed already.
            let _ = self.socket.as_socket().send_last(left.into()).map(|sent| self.sent = sent);
        }
    }

    /// Ready when the transport has taken what was queued.
    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        ready!(self.poll_left(cx))?;
        let Self { socket, waits, sent, .. } = self;
        let queued = || Written::new(socket, socket.as_socket().queued().max(*sent));
        let waits = waits.get_or_insert_default();
        let outcome = ready!(waits.written.get_or_insert_with(queued).poll(cx));
        // Handles may send before the next flush.
        waits.written = None;
        Poll::Ready(outcome)
    }
}

/// How a timeout reads.
pub(super) const TIMEOUT: &str =
    "it took longer than the timeout: nothing was received or sent, the connection goes on";

impl From<SendError> for StreamError {
    fn from(error: SendError) -> Self {
        Self::Send(error)
    }
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(error) => error.fmt(f),
            Self::Send(error) => error.fmt(f),
            Self::Timeout => f.write_str(TIMEOUT),
        }
    }
}

impl core::error::Error for StreamError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Connection(error) => error.source(),
            Self::Send(_) | Self::Timeout => None,
        }
    }
}

debug!(Opened);
debug!(MessageStream);
debug!(MessageSender);
debug!(MessageReceiver);

/// The traits of the futures crates.
#[cfg(feature = "stream")]
mod traits {
    use core::mem;

    use futures_core::{FusedStream, Stream};
    use futures_sink::Sink;

    use super::*;

    type Item = Result<OwnedMessage, StreamError>;

    impl Stream for MessageReceiver {
        type Item = Item;

        fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Item>> {
            self.poll_recv(cx)
        }
    }

    impl FusedStream for MessageReceiver {
        fn is_terminated(&self) -> bool {
            // Not before: a `select!` would not poll it any more, and would never hear of the end.
            self.channel.has_delivered_end()
        }
    }

    impl Stream for MessageStream {
        type Item = Item;

        fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Item>> {
            MessageStream::poll_recv(&mut self, cx)
        }
    }

    impl FusedStream for MessageStream {
        fn is_terminated(&self) -> bool {
            self.sender.channel.has_delivered_end()
        }
    }

    impl Sink<OwnedMessage> for MessageSender {
        type Error = StreamError;

        /// Ready when another message is welcome.
        fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
            ready!(self.poll_left(cx))?;
            ready!(self.poll_room(0, cx))?;
            Poll::Ready(if self.socket.is_open() { Ok(()) } else { Err(SendError::Closed.into()) })
        }

        /// Sends a message now, or as soon as it fits.
        fn start_send(mut self: Pin<&mut Self>, mut message: OwnedMessage) -> Result<(), StreamError> {
            if self.waits.as_ref().is_some_and(|waits| waits.left.is_some()) {
                // The caller has not asked whether it is welcome.
                return Err(SendError::Full.into());
            }
            if !self.socket.is_open() {
                return Err(SendError::Closed.into());
            }
            match self.queue(&mut message) {
                Some(result) => Ok(result?),
                None => {
                    self.waits.get_or_insert_default().left = Some(message);
                    Ok(())
                }
            }
        }

        /// Ready when the transport has taken everything.
        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
            self.poll_written(cx).map_err(Into::into)
        }

        /// Closes with 1000 after what was sent. Ready when the transport has taken all of that, the close frame
        /// included: what the peer still says may be received meanwhile. As every flush it waits as long as the peer takes
        /// nothing; [`MessageSender::close`] does not.
        fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
            let flushed = ready!(self.as_mut().poll_flush(cx));
            let waits = self.waits.get_or_insert_default();
            if !mem::replace(&mut waits.closing, true) {
                waits.written = None;
                // Closed already: that is what is wanted.
                let _ = self.socket.close();
            }
            // Ended already: that is, too.
            let _ = ready!(self.poll_written(cx));
            Poll::Ready(flushed)
        }
    }

    impl Sink<OwnedMessage> for MessageStream {
        type Error = StreamError;

        fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
            Pin::new(&mut self.sender).poll_ready(cx)
        }

        fn start_send(mut self: Pin<&mut Self>, message: OwnedMessage) -> Result<(), StreamError> {
            Pin::new(&mut self.sender).start_send(message)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
            Pin::new(&mut self.sender).poll_flush(cx)
        }

        fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
            Pin::new(&mut self.sender).poll_close(cx)
        }
    }
}
