//! Listeners whose callbacks are `async`: the [`AsyncListener`] trait. Closures as one are in `async_closures`.
//!
//! While a callback is pending its connection is not read, and no other callback of it runs; output is written and
//! deadlines are kept. So a callback may wait for its own sends.
//!
//! `on_error` and `on_close` are plain functions: they must also run when a driver is dropped, and then nothing
//! polls any more.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::any::Any;
use core::pin::Pin;

use bytes::Bytes;

use super::called::Called;
use super::listener::{Listener, Outcome};
use super::socket::WebSocket;
use crate::handshake::client;
use crate::protocol::{CloseCode, Error, OwnedMessage};
use crate::sync::Mutex;

/// As [`Listener`](crate::Listener), with `async` callbacks. Implement it with plain `async fn`.
///
/// Events come serially, as everywhere: the next one waits until the future of the one before is done. If the
/// connection's driver is dropped meanwhile (its runtime ends, its server gives up on it), the future is dropped where
/// it waits, and `on_close` runs.
///
/// A callback that panics fails its connection only. What an `async fn` holds is dropped while that unwinds: if one of these
/// drops panics, too, the process is aborted, as everywhere in Rust.
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::{AsyncListener, Outcome, OwnedMessage, WebSocket};
///
/// struct Echo;
///
/// impl AsyncListener for Echo {
///     async fn on_message(&mut self, socket: &WebSocket, message: OwnedMessage) -> Outcome {
///         socket.send_and_wait(message).await?;
///         Ok(())
///     }
/// }
/// ```
pub trait AsyncListener: Send {
    /// Returns what a wrapper wraps: the events that it does not override go there, the choice about pings included.
    /// [`AsyncResponse::map_listener`](crate::AsyncResponse::map_listener) is an example.
    fn inner(&mut self) -> Option<&mut BoxAsyncListener> {
        None
    }

    /// Called when the connection is open; messages may be sent.
    ///
    /// # Cancel safety
    /// Dropped where it waits if the connection's driver is dropped, as all callbacks.
    fn on_open(&mut self, socket: &WebSocket) -> impl Future<Output = Outcome> + Send {
        async move { passed_on(self.inner().map(|inner| inner.0.call(socket, Call::Open))).await }
    }

    /// Called for each whole message.
    ///
    /// # Cancel safety
    /// As [`on_open`](Self::on_open).
    fn on_message(&mut self, socket: &WebSocket, message: OwnedMessage) -> impl Future<Output = Outcome> + Send {
        async move { passed_on(self.inner().map(|inner| inner.0.call(socket, Call::Message(message)))).await }
    }

    /// Called for each ping. The default answers with a pong that carries the same data; a listener that overrides this
    /// takes that duty over.
    ///
    /// # Cancel safety
    /// As [`on_open`](Self::on_open).
    fn on_ping(&mut self, socket: &WebSocket, data: Bytes) -> impl Future<Output = Outcome> + Send {
        async move {
            passed_on(match self.inner() {
                Some(inner) => Some(inner.0.call(socket, Call::Ping(data))),
                None => {
                    socket.as_socket().answer_ping(&data);
                    None
                }
            })
            .await
        }
    }

    /// Called for each pong, asked for or not.
    ///
    /// # Cancel safety
    /// As [`on_open`](Self::on_open).
    fn on_pong(&mut self, socket: &WebSocket, data: Bytes) -> impl Future<Output = Outcome> + Send {
        async move { passed_on(self.inner().map(|inner| inner.0.call(socket, Call::Pong(data)))).await }
    }

    /// Called when the connection has failed; `on_close` is next.
    fn on_error(&mut self, socket: &WebSocket, error: &Error) {
        if let Some(inner) = self.inner() {
            inner.0.on_error(socket, error.clone());
        }
    }

    /// Called once, when the connection has ended. [`WebSocket::closed`] says more.
    fn on_close(&mut self, socket: &WebSocket, code: CloseCode, reason: &str) {
        if let Some(inner) = self.inner() {
            inner.0.on_close(socket, code, reason);
        }
    }
}

/// Returns the outcome of the listener inside, if there is one.
async fn passed_on(called: Option<Called>) -> Outcome {
    match called {
        Some(Called::Pending(mut pending)) => core::future::poll_fn(|cx| pending.poll(cx)).await,
        Some(Called::Done(outcome)) => outcome,
        None => Ok(()),
    }
}

/// What calls an asynchronous callback.
#[derive(Debug)]
pub(crate) enum Call {
    Open,
    Message(OwnedMessage),
    Ping(Bytes),
    Pong(Bytes),
    /// The peer has closed. Only for listeners that [ask for it](Callbacks::answers_close_later).
    Closing,
}

/// What is said beside the callbacks, by who has the connection as a stream. It is polled when it is woken.
pub(crate) type Conversation = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// An asynchronous listener without its type.
pub(crate) trait Callbacks: Send {
    fn call(&mut self, socket: &WebSocket, call: Call) -> Called;
    /// Called on a client before everything else: what the server has answered.
    fn answered(&mut self, _: &client::Response) {}
    /// Returns `true` if the peer's close is not to be answered before `Call::Closing` is done: for a listener that has
    /// handed its messages on, and whose answers to them are still to come.
    fn answers_close_later(&self) -> bool {
        false
    }
    /// Returns the place of what is said beside the callbacks, if there may be such.
    fn conversation(&mut self) -> Option<&mut Option<Conversation>> {
        None
    }
    fn on_error(&mut self, socket: &WebSocket, error: Error);
    fn on_close(&mut self, socket: &WebSocket, code: CloseCode, reason: &str);
}

/// Any asynchronous listener, ready to receive events: what [`IntoAsyncListener`] makes, and what wrappers wrap.
///
/// Its events may be called by hand, for tests:
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::testing::{Recorder, Sent, now_or_never};
/// use bellwire::{AsyncListener, async_listener};
/// use bellwire::listener::IntoAsyncListener;
///
/// let recorder = Recorder::new();
/// let mut echo = async_listener()
///     .on_message(async |socket, message| socket.send_and_wait(message).await)
///     .into_async_listener();
/// let outcome = now_or_never(echo.on_message(&recorder.socket(), "hello".into()));
/// assert!(matches!(outcome, Some(Ok(()))));
/// assert_eq!(recorder.sent(), [Sent::text("hello")]);
/// ```
pub struct BoxAsyncListener(pub(crate) Box<dyn Callbacks>);

/// It is its own inner listener: all events go there.
impl AsyncListener for BoxAsyncListener {
    fn inner(&mut self) -> Option<&mut BoxAsyncListener> {
        Some(self)
    }
}

/// A plain listener where an asynchronous one is wanted: its futures are done at once.
impl From<Box<dyn Listener>> for BoxAsyncListener {
    fn from(listener: Box<dyn Listener>) -> Self {
        Self(Box::new(Plain(listener)))
    }
}

struct Plain(Box<dyn Listener>);

impl Callbacks for Plain {
    fn call(&mut self, socket: &WebSocket, call: Call) -> Called {
        Called::Done(match call {
            Call::Open => self.0.on_open(socket),
            Call::Message(message) => self.0.on_message(socket, message.as_message()),
            Call::Ping(data) => self.0.on_ping(socket, &data),
            Call::Pong(data) => self.0.on_pong(socket, &data),
            Call::Closing => Ok(()),
        })
    }

    fn on_error(&mut self, socket: &WebSocket, error: Error) {
        self.0.on_error(socket, &error);
    }

    fn on_close(&mut self, socket: &WebSocket, code: CloseCode, reason: &str) {
        self.0.on_close(socket, code, reason);
    }
}

debug!(BoxAsyncListener);

/// What an asynchronous response can carry: every [`AsyncListener`], and the builder of
/// [`async_listener`](crate::async_listener()).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an asynchronous listener",
    note = "implement `AsyncListener` for it, or build one with `async_listener().on_message(async |socket, message| ..)`",
    note = "a plain `Listener` goes to `Response::websocket`, which `AsyncResponse` can be made from"
)]
pub trait IntoAsyncListener {
    /// Returns the listener, ready to receive events.
    fn into_async_listener(self) -> BoxAsyncListener;
}

impl<L: AsyncListener + 'static> IntoAsyncListener for L {
    fn into_async_listener(self) -> BoxAsyncListener {
        let mut this = Some(self);
        // One that is boxed already stays as it is.
        if let Some(boxed) = (&mut this as &mut dyn Any).downcast_mut::<Option<BoxAsyncListener>>() {
            if let Some(boxed) = boxed.take() {
                return boxed;
            }
        }
        let inner = this.as_mut().and_then(L::inner).map(|inner| &mut inner.0);
        let (later, conversation) = inner
            .map_or((false, None), |inner| (inner.answers_close_later(), inner.conversation().and_then(Option::take)));
        BoxAsyncListener(Box::new(Adapted { place: Arc::new(Mutex::new(this)), later, conversation }))
    }
}

/// A listener that its running callback takes out and puts back, also when that is dropped half-way: a future
/// cannot borrow what lies beside it.
struct Adapted<L> {
    place: Arc<Mutex<Option<L>>>,
    /// What is wrapped [answers later](Callbacks::answers_close_later).
    later: bool,
    /// That of what is wrapped.
    conversation: Option<Conversation>,
}

/// A listener while it is out.
struct Out<L> {
    listener: Option<L>,
    place: Arc<Mutex<Option<L>>>,
}

impl<L> Drop for Out<L> {
    fn drop(&mut self) {
        *self.place.lock() = self.listener.take();
    }
}

impl<L> Adapted<L> {
    fn take_out(&self) -> Out<L> {
        let listener = self.place.lock().take();
        Out { listener, place: self.place.clone() }
    }
}

impl<L: AsyncListener + 'static> Callbacks for Adapted<L> {
    fn call(&mut self, socket: &WebSocket, call: Call) -> Called {
        let (mut out, socket) = (self.take_out(), socket.clone());
        Called::of(async move {
            // One callback runs at a time, so it is never out already.
            let Some(listener) = &mut out.listener else { return Ok(()) };
            match call {
                Call::Open => listener.on_open(&socket).await,
                Call::Message(message) => listener.on_message(&socket, message).await,
                Call::Ping(data) => listener.on_ping(&socket, data).await,
                Call::Pong(data) => listener.on_pong(&socket, data).await,
                Call::Closing => passed_on(listener.inner().map(|inner| inner.0.call(&socket, call))).await,
            }
        })
    }

    fn answers_close_later(&self) -> bool {
        self.later
    }

    fn conversation(&mut self) -> Option<&mut Option<Conversation>> {
        Some(&mut self.conversation)
    }

    fn on_error(&mut self, socket: &WebSocket, error: Error) {
        if let Some(listener) = &mut self.take_out().listener {
            listener.on_error(socket, &error);
        }
    }

    fn on_close(&mut self, socket: &WebSocket, code: CloseCode, reason: &str) {
        if let Some(listener) = &mut self.take_out().listener {
            listener.on_close(socket, code, reason);
        }
    }
}
