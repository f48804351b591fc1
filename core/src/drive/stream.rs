//! A connection as a stream of owned messages, and a sink for them: what users of tokio and smol know.
//!
//! It is a listener like any other ([`StreamListener`]), which leaves the messages in a [`Channel`] for their reader:
//! up to 64 KiB or 256 of them. Then its `on_message` is pending until some are taken, and the peer is not read. The
//! messages of one read are all there at once, so that their answers leave in one write. A channel that held one
//! message at a time would need no rule about the close, below; but 32 messages in one read would cost 32 writes and
//! twice the instructions (measured), and a reader that is busy would leave pings unanswered.
//!
//! The peer's close is answered when the reader has taken the messages before it and asks for more, so that it can
//! still answer them, and at the latest after a second; until then the connection counts as open.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, ready};

use super::channel::{Channel, Lifeline, State, length};
use crate::api::{
    AnyListener, BoxAsyncListener, Call, Callbacks, IntoAnyListener, IntoAsyncListener, Pending, WebSocket, Writable,
    Written,
};
use crate::protocol::{CloseCode, Closed, ClosedBy, Error, Outgoing, OwnedMessage, SendError};

/// Creates a listener, and a future of the [`MessageStream`] that its connection becomes when it is open.
///
/// A handler returns the listener and hands the other end to the task that is to talk. If the upgrade is refused, the
/// listener is dropped, and what waits for the connection gets `None`.
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::{AsyncResponse, Request, stream};
/// # fn spawn(_: impl Future<Output = ()> + Send + 'static) {}
///
/// async fn handler(_: Request) -> AsyncResponse {
///     let (listener, opened) = stream();
///     // With the runtime's `spawn`.
///     spawn(async move {
///         let Some(mut messages) = opened.await else { return };
///         while let Some(Ok(message)) = messages.recv().await {
///             if messages.send(message).await.is_err() {
///                 return;
///             }
///         }
///     });
///     AsyncResponse::websocket(listener)
/// }
/// ```
pub fn stream() -> (StreamListener, Opened) {
    let channel = Arc::new(Channel::default());
    (StreamListener(channel.clone()), Opened(Some(channel)))
}

/// The listener's end of a [`stream`].
pub struct StreamListener(Arc<Channel>);

/// A connection that is not open yet: a future of its [`MessageStream`], or of `None` if it never opens.
///
/// # Cancel safety
/// Dropping it closes the connection as soon as it opens.
#[must_use = "futures do nothing unless they are polled"]
pub struct Opened(Option<Arc<Channel>>);

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
/// pings are answered. When that many messages wait the peer is not read until one is taken: its pings and its close
/// are not seen before.
///
/// **When the peer closes**, its close is answered after the messages before it: when they were taken and
/// [`recv`](Self::recv) is called again, at the latest after a second. Until then `send` sends, and
/// [`is_open`](WebSocket::is_open) is true.
///
/// Dropping it (both halves, if it was [split](Self::split)) closes the connection with 1000 "Normal Closure", after
/// what was sent. While the thread panics it is 1011 "Unexpected Error".
///
/// **Before the program ends**: what [`send`](Self::send) has sent is with the system, and arrives. What was only
/// [fed](Self::feed), and the closing handshake of a stream that is dropped, need the connection's task to go on:
/// [`close`](Self::close) waits for all of that.
pub struct MessageStream {
    sender: MessageSender,
    receiver: MessageReceiver,
}

/// The half of a [`MessageStream`] that sends.
pub struct MessageSender {
    lifeline: Arc<Lifeline>,
    /// A message that did not fit.
    left: Option<OwnedMessage>,
    /// What has to be waited for before the next message.
    writable: Option<Writable>,
    /// What has to be waited for until all is written.
    written: Option<Written>,
    /// What has to be waited for until the sink is closed.
    #[cfg(feature = "stream")]
    closing: Option<Written>,
}

/// The half of a [`MessageStream`] that receives.
pub struct MessageReceiver {
    lifeline: Arc<Lifeline>,
    channel: Arc<Channel>,
}

/// The reason why a stream of messages could not receive or send.
#[derive(Debug)]
#[non_exhaustive]
pub enum StreamError {
    /// The connection has failed: what `on_error` reports.
    Connection(Error),
    /// A message was refused. It was not sent.
    Send(SendError),
}

impl Callbacks for StreamListener {
    /// Messages may have been taken and not answered yet.
    fn answers_close_later(&self) -> bool {
        true
    }

    fn call(&mut self, socket: &WebSocket, call: Call) -> Pending {
        match call {
            Call::Closing => return self.closing(socket.clone()),
            Call::Open => self.0.open(socket),
            Call::Message(message) => self.0.tell(|state| {
                if !state.receiver_dropped {
                    state.bytes += length(&message);
                    state.messages.push_back(message);
                }
            }),
            Call::Ping(data) => socket.as_socket().answer_ping(&data),
            Call::Pong(_) => {}
        }
        let (channel, socket, open) = (self.0.clone(), socket.clone(), socket.is_open());
        Box::pin(core::future::poll_fn(move |cx| channel.poll_room(|| open && !socket.is_open(), cx).map(Ok)))
    }

    fn on_error(&mut self, _: &WebSocket, error: Error) {
        self.0.tell(|state| state.error = Some(error));
    }

    fn on_close(&mut self, _: &WebSocket, _: CloseCode, _: &str) {
        self.0.tell(|state| state.ended = true);
    }
}

impl StreamListener {
    /// Done when the reader has taken all and asks for more, having answered what it wants to; or when it has closed.
    fn closing(&self, socket: WebSocket) -> Pending {
        let channel = self.0.clone();
        Box::pin(core::future::poll_fn(move |cx| match socket.is_open() {
            true => channel.poll_hungry(cx).map(Ok),
            false => Poll::Ready(Ok(())),
        }))
    }
}

impl Drop for StreamListener {
    /// Dropped without `on_close`: the connection never opened.
    fn drop(&mut self) {
        self.0.tell(|state| state.ended = true);
    }
}

impl IntoAsyncListener for StreamListener {
    fn into_async_listener(self) -> BoxAsyncListener {
        BoxAsyncListener(Box::new(self))
    }
}

impl IntoAnyListener for StreamListener {
    fn into_any_listener(self) -> AnyListener {
        self.into_async_listener().into()
    }
}

impl Future for Opened {
    type Output = Option<MessageStream>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(channel) = &self.0 else { return Poll::Ready(None) };
        let opened = ready!(channel.poll(cx, |state| match state.opened.take() {
            Some(socket) => Some(Some(socket)),
            None => state.ended.then_some(None),
        }));
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
    }
}

impl MessageStream {
    fn new(socket: WebSocket, channel: Arc<Channel>) -> Self {
        let lifeline = Arc::new(Lifeline(socket));
        let receiver = MessageReceiver { lifeline: lifeline.clone(), channel };
        let sender = MessageSender::new(lifeline);
        Self { sender, receiver }
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
    pub async fn recv(&mut self) -> Option<Result<OwnedMessage, StreamError>> {
        self.receiver.recv().await
    }

    /// Sends a message, and waits until the transport has taken it: the system sends it on, even if the program ends
    /// then. As `SinkExt::send`, it is [`feed`](Self::feed) and a flush: a task that sends many messages in a row feeds
    /// all but the last.
    ///
    /// # Errors
    /// [`StreamError::Send`] if the connection is closed, or has ended before the transport has taken the message.
    ///
    /// # Cancel safety
    /// If the future is dropped while it waits for room, the message was not sent; if it is dropped later, the message
    /// is on its way already, and leaves. In a `select!` that would send again, use [`feed`](Self::feed).
    pub async fn send(&mut self, message: impl Into<OwnedMessage>) -> Result<(), StreamError> {
        self.sender.send(message).await
    }

    /// Queues a message when it is welcome: when what is queued has drained, as
    /// [`writable`](WebSocket::writable) says, and when it fits. It leaves without another call, as long as the
    /// connection's task runs.
    ///
    /// # Errors
    /// [`StreamError::Send`] if the connection is closed: the message was not sent.
    ///
    /// # Cancel safety
    /// If the future is dropped before it is done, the message was not sent.
    pub async fn feed(&mut self, message: impl Into<OwnedMessage>) -> Result<(), StreamError> {
        self.sender.feed(message).await
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
        (self.sender, self.receiver)
    }
}

impl MessageReceiver {
    /// Returns the connection's handle: for pings, closing with a code, and how it ended.
    pub fn socket(&self) -> &WebSocket {
        &self.lifeline.0
    }

    /// As [`MessageStream::recv`].
    ///
    /// # Errors
    /// As [`MessageStream::recv`].
    ///
    /// # Cancel safety
    /// As [`MessageStream::recv`].
    pub async fn recv(&mut self) -> Option<Result<OwnedMessage, StreamError>> {
        core::future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Returns how the connection ended, once it has.
    pub fn closed(&self) -> Option<Closed> {
        self.socket().closed()
    }

    pub(super) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<OwnedMessage, StreamError>>> {
        self.channel.poll(cx, State::next).map(|next| next.map(|item| item.map_err(StreamError::Connection)))
    }
}

impl MessageSender {
    fn new(lifeline: Arc<Lifeline>) -> Self {
        Self {
            lifeline,
            left: None,
            writable: None,
            written: None,
            #[cfg(feature = "stream")]
            closing: None,
        }
    }

    /// Returns the connection's handle: for pings, closing with a code, and sends that do not wait.
    pub fn socket(&self) -> &WebSocket {
        &self.lifeline.0
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
        // What a sink has taken before leaves before. If it cannot, it is closed already.
        let _ = core::future::poll_fn(|cx| self.poll_left(cx)).await;
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
    pub async fn send(&mut self, message: impl Into<OwnedMessage>) -> Result<(), StreamError> {
        self.feed(message).await?;
        core::future::poll_fn(|cx| self.poll_written(cx)).await
    }

    /// As [`MessageStream::feed`].
    ///
    /// # Errors
    /// As [`MessageStream::feed`].
    ///
    /// # Cancel safety
    /// As [`MessageStream::feed`].
    pub async fn feed(&mut self, message: impl Into<OwnedMessage>) -> Result<(), StreamError> {
        let message = message.into();
        loop {
            // What a sink has taken before leaves before.
            core::future::poll_fn(|cx| self.poll_left(cx)).await?;
            Writable::new(self.socket(), length(&message)).await?;
            match self.queue(Outgoing::from(&message)) {
                // Another handle was faster.
                Err(SendError::Full) => {}
                result => return Ok(result?),
            }
        }
    }

    fn queue(&mut self, message: Outgoing<'_>) -> Result<(), SendError> {
        let position = self.socket().as_socket().send(message)?;
        self.written = Some(Written::new(self.socket(), position));
        Ok(())
    }

    /// Ready when the transport has taken what was queued here.
    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        if let Some(written) = &mut self.written {
            ready!(written.poll(cx))?;
            self.written = None;
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when a message of this length is welcome.
    fn poll_welcome(&mut self, cx: &mut Context<'_>, length: usize) -> Poll<Result<(), SendError>> {
        let socket = &self.lifeline.0;
        ready!(Pin::new(self.writable.get_or_insert_with(|| Writable::new(socket, length))).poll(cx))?;
        self.writable = None;
        Poll::Ready(Ok(()))
    }

    /// Sends the message that did not fit, once it does.
    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        while let Some(message) = &self.left {
            let length = length(message);
            ready!(self.poll_welcome(cx, length))?;
            let Some(message) = self.left.take() else { break };
            match self.queue(Outgoing::from(&message)) {
                // Another handle was faster.
                Err(SendError::Full) => self.left = Some(message),
                result => result?,
            }
        }
        Poll::Ready(Ok(()))
    }
}

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
        }
    }
}

impl core::error::Error for StreamError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Connection(error) => error.source(),
            Self::Send(_) => None,
        }
    }
}

debug!(StreamListener);
debug!(Opened);
debug!(MessageStream);
debug!(MessageSender);
debug!(MessageReceiver);

/// The traits of the futures crates.
#[cfg(feature = "stream")]
mod traits {
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
            self.channel.lock().end_delivered
        }
    }

    impl Stream for MessageStream {
        type Item = Item;

        fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Item>> {
            self.receiver.poll_recv(cx)
        }
    }

    impl FusedStream for MessageStream {
        fn is_terminated(&self) -> bool {
            self.receiver.is_terminated()
        }
    }

    impl Sink<OwnedMessage> for MessageSender {
        type Error = StreamError;

        /// Ready when another message is welcome.
        fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
            ready!(self.poll_left(cx))?;
            ready!(self.poll_welcome(cx, 0))?;
            Poll::Ready(Ok(()))
        }

        /// Sends a message now, or as soon as it fits.
        fn start_send(mut self: Pin<&mut Self>, message: OwnedMessage) -> Result<(), StreamError> {
            if self.left.is_some() {
                // The caller has not asked whether it is welcome.
                return Err(SendError::Full.into());
            }
            if !self.socket().is_open() {
                return Err(SendError::Closed.into());
            }
            if self.socket().as_socket().room_at(length(&message)).is_none() {
                match self.queue(Outgoing::from(&message)) {
                    // Another handle was faster.
                    Err(SendError::Full) => {}
                    result => return Ok(result?),
                }
            }
            self.left = Some(message);
            Ok(())
        }

        /// Ready when the transport has taken everything.
        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
            ready!(self.poll_left(cx))?;
            self.poll_written(cx)
        }

        /// Closes with 1000 after what was sent. Ready when the transport has taken all of that, the close frame
        /// included: what the peer still says may be received meanwhile.
        fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
            let flushed = ready!(self.as_mut().poll_flush(cx));
            if self.closing.is_none() {
                // Closed already: that is what is wanted.
                let _ = self.socket().close();
                let queued = self.socket().as_socket().queued();
                self.closing = Some(Written::new(self.socket(), queued));
            }
            if let Some(closing) = &mut self.closing {
                // Ended already: that is, too.
                let _ = ready!(closing.poll(cx));
            }
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
