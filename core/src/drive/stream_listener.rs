//! Listeners whose connection is a [stream](super::stream) for someone else: a task of the user's, or a future that the
//! connection's own task polls.
//!
//! They are listeners like any other, which leave the messages in a [`Channel`] for their reader: up to 64 KiB or 256 of
//! them. Then `on_message` is pending until some are taken, and the peer is not read. The messages of one read are all
//! there at once, so that their answers leave in one write. A channel that held one message at a time would need no rule
//! about the close, below; but 32 messages in one read would cost 32 writes and twice the instructions (measured), and a
//! reader that is busy would leave pings unanswered.
//!
//! The peer's close is answered when the reader has taken the messages before it and asks for more, so that it can
//! still answer them, and at the latest after a second; until then the connection counts as open.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::future::poll_fn;
use core::pin::pin;
use core::task::Poll;

use super::channel::Channel;
use super::stream::{MessageStream, Opened, StreamError};
use crate::api::{
    AnyListener, BoxAsyncListener, Call, Callbacks, Called, Conversation, IntoAnyListener, IntoAsyncListener,
    IntoOutcome, Outcome, WebSocket, outcome,
};
use crate::protocol::{CloseCode, Error, SendError};

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
    (StreamListener { channel: channel.clone(), conversation: None }, Opened(Some(channel)))
}

/// Creates a listener from a function that gets the open connection as a [`MessageStream`], to talk with the peer.
///
/// Its future needs no task of its own: the connection's polls it, which takes less time and memory than two tasks do. What
/// it sends leaves when it waits for something; if it computes for long, the connection waits, too.
///
/// The connection is closed when the stream is dropped, and so at the latest when the future is done: with 1000 "Normal
/// Closure". An error or a panic fails it with 1011, as one of a callback does; one that says how the connection has
/// ended ([`StreamError`]) changes nothing. The future may go on when the connection has ended: a server's shutdown waits for
/// it as for a connection, and a client's `close` until it is done. It is dropped where it waits if the connection's task is,
/// or if the upgrade is refused.
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::{AsyncResponse, MessageStream, Request, StreamError, stream_listener};
///
/// async fn handler(_: Request) -> AsyncResponse {
///     AsyncResponse::websocket(stream_listener(echo))
/// }
///
/// async fn echo(mut messages: MessageStream) -> Result<(), StreamError> {
///     while let Some(message) = messages.recv().await {
///         messages.send(message?).await?;
///     }
///     Ok(())
/// }
/// ```
pub fn stream_listener<F>(talk: impl FnOnce(MessageStream) -> F + Send + 'static) -> StreamListener
where
    F: Future<Output: IntoOutcome> + Send + 'static,
{
    let (mut listener, opened) = stream();
    let channel = listener.channel.clone();
    listener.conversation = Some(Box::pin(async move {
        // In one expression: a stream that has a name here keeps its place here, too.
        let Some((socket, talk)) = opened.await.map(|messages| (messages.socket().clone(), talk(messages))) else {
            return Ok(());
        };
        let mut talk = pin!(talk);
        let told = |returned| known(outcome(returned));
        poll_fn(|cx| channel.polling(&socket, || talk.as_mut().poll(cx).map(told))).await
    }));
    listener
}

/// The listener's end of a [`stream`](crate::stream()).
pub struct StreamListener {
    channel: Arc<Channel>,
    /// What is said on the other end, if it is the connection's task that says it.
    conversation: Option<Conversation>,
}

/// Ends a conversation that was not the connection's own task's, but a thread's: with 1011 if that has failed. Returns why,
/// if nobody knows yet. For backends.
///
/// # Errors
/// That of the conversation, unless it says how the connection has ended.
pub fn conclude(socket: &WebSocket, returned: impl IntoOutcome) -> Outcome {
    let Err(error) = known(outcome(returned)) else { return Ok(()) };
    if error.downcast_ref() == Some(&SendError::Closed) {
        return Ok(());
    }
    // It has ended already, perhaps.
    let _ = socket.close_with(CloseCode::INTERNAL_ERROR, "Unexpected Error");
    Err(error)
}

/// An error of the stream that is known already is none of who talks.
fn known(outcome: Outcome) -> Outcome {
    match outcome.map_err(|error| error.downcast::<StreamError>().map(|error| *error)) {
        Ok(()) | Err(Ok(StreamError::Connection(_))) => Ok(()),
        Err(Ok(StreamError::Send(error))) => Err(error.into()),
        Err(Ok(StreamError::Timeout)) => Err(StreamError::Timeout.into()),
        Err(Err(error)) => Err(error),
    }
}

impl Callbacks for StreamListener {
    /// Messages may have been taken and not answered yet.
    fn answers_close_later(&self) -> bool {
        true
    }

    fn call(&mut self, socket: &WebSocket, call: Call) -> Called {
        match call {
            Call::Closing => return self.closing(socket.clone()),
            Call::Open => self.channel.open(socket),
            Call::Message(message) => {
                if !self.channel.push(message) {
                    return self.full(socket.clone());
                }
            }
            Call::Ping(data) => socket.as_socket().answer_ping(&data),
            Call::Pong(_) => {}
        }
        Called::Done(Ok(()))
    }

    fn conversation(&mut self) -> Option<&mut Option<Conversation>> {
        Some(&mut self.conversation)
    }

    fn on_error(&mut self, _: &WebSocket, error: Error) {
        self.channel.tell(|state| state.error = Some(error));
    }

    fn on_close(&mut self, _: &WebSocket, _: CloseCode, _: &str) {
        self.channel.tell(|state| state.ended = true);
    }
}

impl StreamListener {
    /// Done when there is room for more.
    fn full(&self, socket: WebSocket) -> Called {
        let (channel, open) = (self.channel.clone(), socket.is_open());
        Called::of(poll_fn(move |cx| channel.poll_room(|| open && !socket.is_open(), cx)))
    }

    /// Done when the reader has taken all and asks for more, having answered what it wants to; or when it has closed.
    fn closing(&self, socket: WebSocket) -> Called {
        let channel = self.channel.clone();
        Called::of(poll_fn(move |cx| match socket.is_open() {
            true => channel.poll_hungry(cx),
            false => Poll::Ready(()),
        }))
    }
}

impl Drop for StreamListener {
    /// Dropped without `on_close`: the connection never opened.
    fn drop(&mut self) {
        self.channel.tell(|state| state.ended = true);
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

debug!(StreamListener);
